//! What is in a vault from the start.

use crate::config::{CertificateSeed, KeySeed, KeySource, SecretSeed, Vault};
use crate::crypto::key::{KeyKind, PrivateKey};
use crate::crypto::{Malformed, x509};
use crate::ids;

use super::certificates::import::Imported;
use super::contents::{Contents, EC_OPERATIONS, Issued, Key, RSA_OPERATIONS, Secret};
use super::policy::PFX;
use super::properties::{Attributes, Properties};
use super::refusal::Refusal;
use super::store::Version;

impl Contents {
    /// Takes the objects out of `vault`; keys are made where the configuration asks for new ones.
    pub(super) fn seeded(vault: &mut Vault, now: u64) -> Result<Contents, String> {
        let mut contents = Contents::default();
        let failed = |name: &str, refusal: Refusal| format!("vault {}: {name} cannot be made: {}", vault.name, refusal.message());
        for seed in std::mem::take(&mut vault.secrets) {
            let name = seed.name.clone();
            contents.seed_secret(seed, now).map_err(|refusal| failed(name.as_str(), refusal))?;
        }
        for seed in std::mem::take(&mut vault.keys) {
            let name = seed.name.clone();
            contents.seed_key(seed, now).map_err(|refusal| failed(name.as_str(), refusal))?;
        }
        for seed in std::mem::take(&mut vault.certificates) {
            let name = seed.name.clone();
            contents.seed_certificate(seed, now).map_err(|refusal| failed(name.as_str(), refusal))?;
        }
        Ok(contents)
    }

    fn seed_secret(&mut self, seed: SecretSeed, now: u64) -> Result<(), Refusal> {
        let properties = Properties { tags: Some(seed.tags), attributes: enabled(seed.enabled) };
        let secret = Secret { value: seed.value, content_type: seed.content_type, managed: false };
        self.secrets.add(&seed.name, Version::new(ids::hex(), secret, properties, now)).map(drop)
    }

    fn seed_key(&mut self, seed: KeySeed, now: u64) -> Result<(), Refusal> {
        let private = match seed.source {
            KeySource::File(key) => key,
            KeySource::Made(kind) => PrivateKey::generate(kind, None)?,
        };
        let possible = match private.kind() {
            KeyKind::Rsa(_) => RSA_OPERATIONS,
            KeyKind::Ec(_) => EC_OPERATIONS,
        };
        let operations = seed.operations.unwrap_or_else(|| possible.iter().map(|word| (*word).to_owned()).collect());
        let key = Key { private, hsm: false, operations, exportable: false, managed: false };
        let properties = Properties { tags: Some(seed.tags), attributes: enabled(seed.enabled) };
        self.keys.add(&seed.name, Version::new(ids::hex(), key, properties, now)).map(drop)
    }

    fn seed_certificate(&mut self, seed: CertificateSeed, now: u64) -> Result<(), Refusal> {
        let properties = Properties { tags: Some(seed.tags), attributes: enabled(seed.enabled) };
        let imported = match seed.imported {
            Some(imported) => imported,
            None => {
                let key = PrivateKey::generate(seed.policy.kind()?, None)?;
                let now = i64::try_from(now).map_err(|_| Malformed("the clock is wrong"))?;
                let leaf = x509::Certificate::parse(&x509::self_signed(&key, &seed.policy.profile(), now)?)?;
                Imported { issued: Issued { key, chain: vec![leaf] }, content_type: PFX }
            }
        };
        self.import(&seed.name, imported, seed.policy, properties, now).map(drop)
    }
}

fn enabled(enabled: bool) -> Option<Attributes> {
    Some(Attributes { enabled: Some(enabled), nbf: None, exp: None })
}
