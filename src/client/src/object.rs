//! What Key Vault says of its objects, as far as files are made of it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::failure::{Class, Failure};
use keyvault_common::names::ObjectName;
use keyvault_common::plan::Encoding;
use keyvault_common::secret::SecretValue;

/// An object as it was fetched.
#[derive(Debug)]
pub enum Stored {
    /// A secret.
    Secret(Secret),
    /// A certificate.
    Certificate(StoredCertificate),
    /// A key's public members.
    Key(Jwk),
}

impl Stored {
    /// Its version; empty where the answer does not say.
    #[must_use]
    pub fn version(&self) -> &str {
        match self {
            Stored::Secret(secret) | Stored::Certificate(StoredCertificate::Secret(secret)) => &secret.version,
            Stored::Certificate(StoredCertificate::Public { version, .. }) => version,
            Stored::Key(jwk) => version_in(&jwk.kid),
        }
    }
}

/// The last segment of `https://HOST/COLLECTION/NAME/VERSION`, or nothing if something else is there.
fn version_in(address: &str) -> &str {
    let version = address.split('/').nth(5).unwrap_or_default();
    if version.len() <= 64 && version.bytes().all(|byte| byte.is_ascii_alphanumeric()) { version } else { "" }
}

/// A secret's value and what it is.
#[derive(Debug, Deserialize)]
#[serde(from = "SecretBundle")]
pub struct Secret {
    /// To the byte.
    pub value: SecretValue,
    /// What it is according to its author.
    pub content_type: Option<String>,
    /// Whether Key Vault keeps it for a certificate.
    pub of_certificate: bool,
    /// What its tag `file-encoding` says of the value: [`Encoding::Utf8`] where there is none, or one that is no encoding of bytes.
    pub file_encoding: Encoding,
    /// Its version; empty where the answer does not say.
    pub version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecretBundle {
    value: String,
    content_type: Option<String>,
    #[serde(default)]
    managed: bool,
    #[serde(default)]
    id: String,
    tags: Option<Tags>,
}

#[derive(Deserialize)]
struct Tags {
    #[serde(rename = "file-encoding")]
    file_encoding: Option<String>,
}

impl From<SecretBundle> for Secret {
    fn from(bundle: SecretBundle) -> Secret {
        let tag = bundle.tags.and_then(|tags| tags.file_encoding).and_then(|text| text.to_ascii_lowercase().parse().ok());
        let version = version_in(&bundle.id).to_owned();
        Secret {
            value: bundle.value.into(),
            content_type: bundle.content_type,
            of_certificate: bundle.managed,
            file_encoding: tag.unwrap_or(Encoding::Utf8),
            version,
        }
    }
}

/// A part of a vault's list of secrets.
#[derive(Debug)]
pub struct SecretPage {
    /// May be empty even where there are more.
    pub items: Vec<SecretItem>,
    /// The address of the next page, if there is one.
    pub next: Option<String>,
}

/// A secret without its value.
#[derive(Debug)]
pub struct SecretItem {
    /// As its author has written it.
    pub name: ObjectName,
    /// Whether its latest version may be read.
    pub enabled: bool,
    /// Whether Key Vault keeps it for a certificate.
    pub of_certificate: bool,
    /// All of its latest version's.
    pub tags: BTreeMap<String, String>,
}

/// The answer about a list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listing {
    #[serde(default)]
    value: Option<Vec<Listed>>,
    next_link: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    #[serde(default)]
    attributes: Attributes,
    #[serde(default)]
    managed: bool,
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
struct Attributes {
    enabled: Option<bool>,
}

impl Listing {
    pub(super) fn page(self) -> Result<SecretPage, Failure> {
        let items = self.value.unwrap_or_default().into_iter().map(Listed::item).collect::<Result<_, _>>()?;
        Ok(SecretPage { items, next: self.next_link.filter(|link| !link.is_empty()) })
    }
}

impl Listed {
    fn item(self) -> Result<SecretItem, Failure> {
        let name = self.id.trim_end_matches('/').rsplit('/').next().and_then(|name| name.parse().ok());
        let name = name.ok_or_else(|| Failure::new(Class::Format, "Key Vault answered 200, but its list has an item that is not a secret"))?;
        let enabled = self.attributes.enabled.unwrap_or(true);
        Ok(SecretItem { name, enabled, of_certificate: self.managed, tags: self.tags.unwrap_or_default() })
    }
}

/// A certificate, as whole as it may be read.
#[derive(Debug)]
pub enum StoredCertificate {
    /// The secret behind it.
    Secret(Secret),
    /// The leaf alone, since its policy keeps the private key in the vault.
    Public {
        /// The leaf as DER.
        der: Vec<u8>,
        /// Its version; empty where the answer does not say.
        version: String,
    },
}

/// The answer about a certificate.
#[derive(Deserialize)]
pub(super) struct CertificateBundle {
    /// Absent until it is issued.
    cer: Option<String>,
    policy: Option<Policy>,
    #[serde(default)]
    id: String,
}

#[derive(Deserialize)]
struct Policy {
    key_props: Option<KeyProperties>,
}

#[derive(Deserialize)]
struct KeyProperties {
    exportable: Option<bool>,
}

impl CertificateBundle {
    pub(super) fn is_exportable(&self) -> bool {
        self.policy.as_ref().and_then(|policy| policy.key_props.as_ref()?.exportable).unwrap_or(true)
    }

    pub(super) fn is_issued(&self) -> bool {
        self.cer.is_some()
    }

    pub(super) fn leaf(&self) -> Result<StoredCertificate, Failure> {
        let not_base64 = |_| Failure::new(Class::Format, "Key Vault answered 200, but the certificate's cer is not base64");
        let der = STANDARD.decode(self.cer.as_deref().unwrap_or_default()).map_err(not_base64)?;
        Ok(StoredCertificate::Public { der, version: version_in(&self.id).to_owned() })
    }
}

#[derive(Deserialize)]
pub(super) struct KeyBundle {
    pub(super) key: Jwk,
}

/// Key Vault's answer about a key. Private members are not read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Jwk {
    /// The key's address with its version.
    pub kid: String,
    /// `RSA`, `RSA-HSM`, `EC`, `EC-HSM`, `oct` or `oct-HSM`.
    pub kty: String,
    /// RSA: modulus, base64url.
    pub n: String,
    /// RSA: public exponent, base64url.
    pub e: String,
    /// EC: curve.
    pub crv: String,
    /// EC: coordinate, base64url.
    pub x: String,
    /// EC: coordinate, base64url.
    pub y: String,
}
