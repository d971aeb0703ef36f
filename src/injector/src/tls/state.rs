//! The Secret's content: the CA that signs, the one that comes next, those that still count, and the leaf.

use std::collections::BTreeMap;

use rustls::pki_types::CertificateDer;

use super::issue::{Issued, PrivateKey};
use super::trust::certificates;

/// The data of a Secret.
pub type Data = BTreeMap<String, Vec<u8>>;

const BUNDLE: &str = "ca.crt";
const SIGNER_KEY: &str = "ca.key";
const LEAF: &str = "tls.crt";
const LEAF_KEY: &str = "tls.key";
const NEXT: &str = "next-ca.crt";
const NEXT_KEY: &str = "next-ca.key";

/// Everything that replicas share about certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The CA that signs.
    pub signer: Issued,
    /// The CA that signs once every `caBundle` holds it.
    pub next: Option<Issued>,
    /// CAs that sign no more, and whose leaves may still be served.
    pub retired: Vec<Retired>,
    /// What is served. It need not be usable: its reader checks it.
    pub leaf: Issued,
}

/// A CA that signs no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retired {
    /// Its certificate, PEM.
    pub certificate: String,
    /// When its last leaf expires, in seconds since 1970.
    pub until: i64,
}

impl State {
    /// Reads a Secret's data; `None` where it holds no CA that can sign. A next CA that cannot is left out.
    #[must_use]
    pub fn read(data: &Data) -> Option<State> {
        let authority = |certificate, key| {
            let issued = issued(first_certificate(data.get(certificate)?)?, data.get(key)?)?;
            issued.is_authority().then_some(issued)
        };
        let (signer, next) = (authority(BUNDLE, SIGNER_KEY)?, authority(NEXT, NEXT_KEY));
        let text = |key| data.get(key).and_then(|bytes| String::from_utf8(bytes.clone()).ok()).unwrap_or_default();
        let leaf = Issued { certificate: text(LEAF), key: PrivateKey::new(text(LEAF_KEY)) };
        Some(State { signer, next, retired: data.iter().flat_map(|(key, bytes)| retired(key, bytes)).collect(), leaf })
    }

    /// The data that [`State::read`] reads, in place of what `data` held of it; keys that are not ours stay.
    pub fn write(&self, data: &mut Data) {
        data.retain(|key, _| retired_until(key).is_none() && ![NEXT, NEXT_KEY].contains(&key.as_str()));
        let mut put = |key: &str, text: &str| data.entry(key.to_owned()).or_default().extend_from_slice(text.as_bytes());
        self.retired.iter().for_each(|retired| put(&format!("retired-{}.crt", retired.until), &retired.certificate));
        if let Some(next) = &self.next {
            put(NEXT, &next.certificate);
            put(NEXT_KEY, next.key.expose());
        }
        for (key, text) in [
            (BUNDLE, self.bundle().as_str()),
            (SIGNER_KEY, self.signer.key.expose()),
            (LEAF, &self.leaf.certificate),
            (LEAF_KEY, self.leaf.key.expose()),
        ] {
            data.insert(key.to_owned(), text.as_bytes().to_vec());
        }
    }

    /// What every `caBundle` should hold: the CA that signs, the next one, and those that still count.
    #[must_use]
    pub fn bundle(&self) -> String {
        let authorities = [&self.signer].into_iter().chain(&self.next).map(|authority| &authority.certificate);
        authorities.chain(self.retired.iter().map(|retired| &retired.certificate)).map(String::as_str).collect()
    }
}

fn issued(certificate: String, key: &[u8]) -> Option<Issued> {
    Some(Issued { certificate, key: PrivateKey::new(String::from_utf8(key.to_vec()).ok()?) })
}

fn first_certificate(pem: &[u8]) -> Option<String> {
    certificates(pem).next().map(|certificate| pem_text(&certificate))
}

fn retired(key: &str, pem: &[u8]) -> Vec<Retired> {
    let Some(until) = retired_until(key) else { return Vec::new() };
    certificates(pem).map(|certificate| Retired { certificate: pem_text(&certificate), until }).collect()
}

fn retired_until(key: &str) -> Option<i64> {
    key.strip_prefix("retired-")?.strip_suffix(".crt")?.parse().ok()
}

/// A certificate as PEM, always in the same spelling: bundles are compared byte by byte.
pub(super) fn pem_text(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine;
    let base64 = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for (index, letter) in base64.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            text.push('\n');
        }
        text.push(letter);
    }
    text.push_str("\n-----END CERTIFICATE-----\n");
    text
}
