//! Everything in one vault. A certificate is three objects of one name: itself, its key and its secret.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::crypto::key::PrivateKey;
use crate::crypto::{Malformed, x509};
use keyvault_common::names::{ObjectKind, ObjectName};
use keyvault_common::secret::SecretValue;

use super::pending::Pending;
use super::policy::{Invalid, Policy};
use super::properties::{Attributes, Properties};
use super::refusal::Refusal;
use super::saved;
use super::store::{Content, Key as Name, Object, Store, Version};

/// One version of a secret.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Secret {
    #[serde(with = "saved::text")]
    pub(super) value: SecretValue,
    pub(super) content_type: Option<String>,
    /// Whether it belongs to a certificate.
    pub(super) managed: bool,
}

/// One version of a key.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Key {
    #[serde(with = "saved::private_key")]
    pub(super) private: PrivateKey,
    /// Whether it is said to live in a hardware module.
    pub(super) hsm: bool,
    pub(super) operations: Vec<String>,
    pub(super) exportable: bool,
    /// Whether it belongs to a certificate.
    pub(super) managed: bool,
}

/// One version of a certificate.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Certificate {
    pub(super) policy: Policy,
    /// The leaf first; empty as long as nobody has signed it.
    #[serde(with = "saved::chain")]
    pub(super) chain: Vec<x509::Certificate>,
    /// Whether it was made here and not imported.
    pub(super) created_here: bool,
}

impl Content for Secret {
    const KIND: ObjectKind = ObjectKind::Secret;
}

impl Content for Key {
    const KIND: ObjectKind = ObjectKind::Key;
}

impl Content for Certificate {
    const KIND: ObjectKind = ObjectKind::Certificate;

    fn is_ready(&self) -> bool {
        !self.chain.is_empty()
    }
}

/// The objects of a vault.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) secrets: Store<Secret>,
    pub(super) keys: Store<Key>,
    pub(super) certificates: Store<Certificate>,
    /// Certificates that are being made, or were.
    pub(super) pending: BTreeMap<Name, Pending>,
    pub(super) rotation_policies: BTreeMap<Name, serde_json::Value>,
    /// What `PUT /certificates/contacts` was given.
    pub(super) contacts: Option<serde_json::Value>,
    /// What `PUT /certificates/issuers/NAME` was given.
    pub(super) issuers: BTreeMap<String, serde_json::Value>,
}

/// A certificate with the key that belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) key: PrivateKey,
    pub(crate) chain: Vec<x509::Certificate>,
}

impl Contents {
    /// Completes what is due by now.
    pub(super) fn settle(&mut self, now: u64) {
        let due: Vec<Name> = self.pending.iter_mut().filter_map(|(name, pending)| pending.is_due(now).then(|| name.clone())).collect();
        for name in due {
            let Some(mut pending) = self.pending.remove(&name) else { continue };
            let outcome = pending.sign().map_err(|error| error.to_string());
            let outcome = outcome.and_then(|chain| self.complete(&mut pending, chain, now).map_err(|refusal| refusal.message()));
            pending.end(outcome.err());
            self.pending.insert(name, pending);
        }
    }

    /// Gives a pending certificate its chain.
    pub(super) fn complete(&mut self, pending: &mut Pending, chain: Vec<x509::Certificate>, now: u64) -> Result<(), Refusal> {
        let issued = Issued { key: pending.key.clone(), chain };
        self.issue(&pending.name, &pending.version, issued, pending.enabled, now)
    }

    /// Fills a version of a certificate, and adds its key and its secret.
    pub(super) fn issue(&mut self, name: &ObjectName, id: &str, issued: Issued, enabled: bool, now: u64) -> Result<(), Refusal> {
        let Issued { key, chain } = issued;
        let leaf = chain.first().ok_or(Refusal::InvalidProperty("value"))?;
        let attributes = Attributes { enabled: Some(enabled), nbf: Some(leaf.not_before), exp: Some(leaf.not_after) };
        let (_, version) = self.certificates.update(name, Some(id), |version| {
            version.apply(Properties { tags: None, attributes: Some(attributes) }, now);
            version.content.chain.clone_from(&chain);
        })?;
        let properties = Properties { tags: Some(version.tags.clone()), attributes: Some(attributes) };
        let policy = &version.content.policy;
        let secret = Secret { value: policy.secret(&key, &chain)?, content_type: Some(policy.content_type().to_owned()), managed: true };
        let exportable = policy.is_exportable();
        let operations = if policy.is_rsa() { RSA_OPERATIONS } else { EC_OPERATIONS };
        let operations = operations.iter().map(|operation| (*operation).to_owned()).collect();
        let key = Key { private: key, hsm: policy.is_hsm(), operations, exportable, managed: true };
        self.keys.add(name, Version::new(id.to_owned(), key, properties.clone(), now))?;
        self.secrets.add(name, Version::new(id.to_owned(), secret, properties, now))?;
        Ok(())
    }

    /// Refuses a certificate of a name that something else has.
    pub(super) fn free_for_certificate(&self, name: &ObjectName) -> Result<(), Refusal> {
        self.certificates.free(name)?;
        self.keys.free(name)?;
        self.secrets.free(name)?;
        if self.pending.get(&Name::from(name)).is_some_and(Pending::is_in_progress) {
            return Err(Refusal::PendingInProgress);
        }
        let alone = self.certificates.get(name, None).is_err();
        for (taken, kind) in [(self.keys.get(name, None).is_ok(), ObjectKind::Key), (self.secrets.get(name, None).is_ok(), ObjectKind::Secret)] {
            if taken && alone {
                return Err(Refusal::NameTaken(kind, name.to_string()));
            }
        }
        Ok(())
    }
}

pub(super) const RSA_OPERATIONS: &[&str] = &["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"];
pub(super) const EC_OPERATIONS: &[&str] = &["sign", "verify"];

/// A kind of object that has a store here.
pub(super) trait Kept: Content + Clone + Sized {
    fn store(contents: &mut Contents) -> &mut Store<Self>;

    /// Whether it belongs to a certificate, which alone may delete it.
    fn is_managed(&self) -> bool {
        false
    }
}

impl Kept for Secret {
    fn store(contents: &mut Contents) -> &mut Store<Secret> {
        &mut contents.secrets
    }

    fn is_managed(&self) -> bool {
        self.managed
    }
}

impl Kept for Key {
    fn store(contents: &mut Contents) -> &mut Store<Key> {
        &mut contents.keys
    }

    fn is_managed(&self) -> bool {
        self.managed
    }
}

impl Kept for Certificate {
    fn store(contents: &mut Contents) -> &mut Store<Certificate> {
        &mut contents.certificates
    }
}

impl From<Invalid> for Refusal {
    fn from(Invalid(property): Invalid) -> Refusal {
        Refusal::InvalidProperty(property)
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Refusal {
        Refusal::Malformed(malformed)
    }
}

/// The key and the secret of a certificate, as its backup carries them.
#[derive(Serialize, Deserialize)]
pub(super) struct Companions {
    pub(super) key: Option<Object<Key>>,
    pub(super) secret: Option<Object<Secret>>,
}

#[cfg(test)]
mod tests {
    use crate::crypto::curve::Curve;
    use crate::crypto::key::KeyKind;

    use super::*;

    #[test]
    fn a_certificate_begins_ten_minutes_before_it_was_due_however_late_anybody_looks() {
        let created = 1_000_000;
        let name: ObjectName = "web".parse().unwrap();
        let policy: Policy =
            serde_json::from_str(r#"{"issuer":{"name":"Self"},"key_props":{"kty":"EC"},"x509_props":{"subject":"CN=web"}}"#).unwrap();
        let policy = policy.completed(created).ok().unwrap();
        let key = PrivateKey::generate(KeyKind::Ec(Curve::P256), None).unwrap();
        let pending = Pending::new(name.clone(), policy.clone(), key, true, created).unwrap();
        let mut contents = Contents::default();
        let content = Certificate { policy, chain: Vec::new(), created_here: true };
        let version = Version::new(pending.version.clone(), content, Properties::default(), created);
        contents.certificates.add(&name, version).ok().unwrap();
        contents.pending.insert((&name).into(), pending);
        contents.settle(created + 2);
        let (_, version) = contents.certificates.get(&name, None).ok().unwrap();
        assert_eq!((version.created, version.nbf), (created, Some(999_400)));
    }
}
