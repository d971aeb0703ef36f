//! X.509 certificates: read, made and signed.

mod issue;
mod name;
mod read;

pub(crate) use issue::{Profile, certificate_request, self_signed};
pub(crate) use name::check as check_name;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::digest::Hash;

/// A certificate that was read.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) der: Vec<u8>,
    /// The issuer's name, DER.
    pub(crate) issuer: Vec<u8>,
    /// The subject's name, DER.
    pub(crate) subject: Vec<u8>,
    /// Seconds since 1970.
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    /// SubjectPublicKeyInfo, DER.
    pub(crate) spki: Vec<u8>,
    pub(crate) names: AlternativeNames,
    /// Dotted numbers.
    pub(crate) extended_usages: Vec<String>,
    /// Words of Key Vault: `digitalSignature`.
    pub(crate) usages: Vec<&'static str>,
    pub(crate) is_ca: bool,
}

/// Subject alternative names, each kind in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AlternativeNames {
    pub(crate) dns: Vec<String>,
    pub(crate) emails: Vec<String>,
    /// User principal names.
    pub(crate) upns: Vec<String>,
    pub(crate) uris: Vec<String>,
    pub(crate) addresses: Vec<String>,
}

impl Certificate {
    /// base64url of a hash of the certificate: `x5t` with SHA-1, `x5t#S256` with SHA-256.
    pub(crate) fn thumbprint(&self, hash: Hash) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(hash.of(&self.der))
    }

    /// The subject as text: `CN=web, O=Contoso`.
    pub(crate) fn subject_text(&self) -> String {
        name::text(&self.subject)
    }
}

/// The usages of a key by their bit, as Key Vault names them.
const USAGES: [&str; 9] = [
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
];

/// Whether Key Vault knows such a usage of a key.
pub(crate) fn is_usage(word: &str) -> bool {
    USAGES.contains(&word)
}

const SUBJECT_KEY: &str = "2.5.29.14";
const KEY_USAGE: &str = "2.5.29.15";
const ALTERNATIVE_NAMES: &str = "2.5.29.17";
const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const AUTHORITY_KEY: &str = "2.5.29.35";
const EXTENDED_USAGES: &str = "2.5.29.37";
/// An alternative name that is a user principal name.
const UPN: &str = "1.3.6.1.4.1.311.20.2.3";

/// The chain that begins with `leaf`: each certificate is followed by its issuer, as far as there is one. The rest follows in its order.
pub(crate) fn ordered(leaf: Certificate, mut others: Vec<Certificate>) -> Vec<Certificate> {
    let mut chain = vec![leaf];
    loop {
        let last = &chain[chain.len() - 1];
        let issuer = others.iter().position(|other| other.subject == last.issuer && last.issuer != last.subject);
        match issuer {
            Some(index) => chain.push(others.remove(index)),
            None => break,
        }
    }
    chain.extend(others);
    chain
}
