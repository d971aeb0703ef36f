//! Value expressions: what a file holds, in terms of fetched objects.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::{EnvName, ObjectKind};
use crate::property::PropertyPath;

/// What a file holds, in terms of fetched objects. Later kinds of expression are new variants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "super::json::ValueJson", into = "super::json::ValueJson")]
pub enum Value {
    /// A secret's value or a part of it.
    Object {
        /// The [`Fetch::id`](super::Fetch::id).
        id: String,
        /// A part of a JSON or YAML value; absent means the whole value.
        property: Option<PropertyPath>,
        /// How the stored text becomes bytes.
        encoding: Encoding,
    },
    /// A file of a certificate.
    Certificate {
        /// The [`Fetch::id`](super::Fetch::id) of a certificate.
        id: String,
        /// Which file.
        part: CertificatePart,
        /// The [`Fetch::id`](super::Fetch::id) of the secret whose value is the password of a [`CertificatePart::Pfx`].
        password: Option<String>,
    },
    /// A key's public part.
    Key {
        /// The [`Fetch::id`](super::Fetch::id) of a key.
        id: String,
        /// How it is written.
        format: KeyFormat,
    },
    /// A text around values.
    Template(PlanTemplate),
    /// Variables as the kubelet reads them from a file: a line `NAME='value'` each.
    Environment(Vec<Variable>),
}

/// A variable of [`Value::Environment`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Variable {
    /// Its name.
    pub name: EnvName,
    /// The [`Fetch::id`](super::Fetch::id) of the secret that its value is.
    pub object: String,
    /// A part of a JSON or YAML value; absent means the whole value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<PropertyPath>,
    /// How the stored text becomes bytes.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub encoding: Encoding,
}

/// A template and the fetches of the objects that it names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanTemplate {
    /// The template, as `crate::template` reads it.
    pub text: String,
    /// From the names in `secret("…")` to the [`Fetch::id`](super::Fetch::id)s of secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// The same for `certificate("…")`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub certificates: BTreeMap<String, String>,
    /// The same for `key("…")`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, String>,
}

impl PlanTemplate {
    /// The names and ids of one kind.
    #[must_use]
    pub fn objects(&self, kind: ObjectKind) -> &BTreeMap<String, String> {
        of_kind(kind, &self.secrets, &self.certificates, &self.keys)
    }

    /// Says under which id an object is fetched.
    pub fn name(&mut self, kind: ObjectKind, name: String, id: String) {
        of_kind(kind, &mut self.secrets, &mut self.certificates, &mut self.keys).insert(name, id);
    }
}

/// The one of three that belongs to a kind.
pub(super) fn of_kind<T>(kind: ObjectKind, secret: T, certificate: T, key: T) -> T {
    match kind {
        ObjectKind::Secret => secret,
        ObjectKind::Certificate => certificate,
        ObjectKind::Key => key,
    }
}

impl Value {
    /// What it fetches above all: messages about the value name this object. A template and a file of variables have none.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        match self {
            Value::Object { id, .. } | Value::Certificate { id, .. } | Value::Key { id, .. } => Some(id),
            Value::Template(_) | Value::Environment(_) => None,
        }
    }

    /// Everything it uses, and which kind of object each has to be.
    #[must_use]
    pub fn uses(&self) -> Vec<(&str, ObjectKind)> {
        match self {
            Value::Object { id, .. } => vec![(id, ObjectKind::Secret)],
            Value::Certificate { id, password, .. } => {
                std::iter::once((id.as_str(), ObjectKind::Certificate)).chain(password.iter().map(|id| (id.as_str(), ObjectKind::Secret))).collect()
            }
            Value::Key { id, .. } => vec![(id, ObjectKind::Key)],
            Value::Environment(variables) => variables.iter().map(|variable| (variable.object.as_str(), ObjectKind::Secret)).collect(),
            Value::Template(template) => {
                ObjectKind::ALL.into_iter().flat_map(|kind| template.objects(kind).values().map(move |id| (id.as_str(), kind))).collect()
            }
        }
    }
}

/// A file of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CertificatePart {
    /// Leaf and issuers as PEM, leaf first.
    Chain,
    /// The private key as PKCS#8 in PEM.
    Key,
    /// What a peer may trust, as PEM: the roots, or the topmost issuer.
    Ca,
    /// Key, then chain, in one PEM text.
    Bundle,
    /// PKCS#12.
    Pfx,
}

/// How a public key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KeyFormat {
    /// `PUBLIC KEY` as PEM.
    #[default]
    Pem,
    /// A JSON Web Key.
    Jwk,
}

/// How the text that Key Vault stores becomes bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Encoding {
    /// As the secret's tag `file-encoding` says, which `az keyvault secret set --file` sets; without one as it is.
    #[default]
    #[serde(rename = "as-tagged")]
    AsTagged,
    /// As it is.
    #[serde(rename = "utf-8")]
    Utf8,
    /// Decoded from base64.
    #[serde(rename = "base64")]
    Base64,
    /// Decoded from hexadecimal digits.
    #[serde(rename = "hex")]
    Hex,
}

impl std::str::FromStr for Encoding {
    type Err = crate::names::NameError;

    fn from_str(text: &str) -> Result<Encoding, Self::Err> {
        match text {
            "utf-8" => Ok(Encoding::Utf8),
            "base64" => Ok(Encoding::Base64),
            "hex" => Ok(Encoding::Hex),
            _ => Err(crate::names::NameError::new("an encoding", text, "utf-8, base64 or hex")),
        }
    }
}
