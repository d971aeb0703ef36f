//! How values that serde does not know stand in a backup.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// A secret as text.
pub(super) mod text {
    use serde::{Deserialize, Deserializer, Serializer};

    use keyvault_common::secret::SecretValue;

    pub(in crate::vault) fn serialize<S: Serializer>(value: &SecretValue, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(value.expose()))
    }

    pub(in crate::vault) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretValue, D::Error> {
        String::deserialize(deserializer).map(SecretValue::from)
    }
}

/// A private key as PKCS#8.
pub(super) mod private_key {
    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    use crate::crypto::key::PrivateKey;

    pub(in crate::vault) fn serialize<S: Serializer>(key: &PrivateKey, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::encode(&key.to_pkcs8().map_err(ser::Error::custom)?))
    }

    pub(in crate::vault) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PrivateKey, D::Error> {
        let text = String::deserialize(deserializer)?;
        PrivateKey::from_der(&super::decode(&text).map_err(de::Error::custom)?).map_err(de::Error::custom)
    }
}

/// Certificates as DER.
pub(super) mod chain {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::crypto::x509::Certificate;

    pub(in crate::vault) fn serialize<S: Serializer>(chain: &[Certificate], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(chain.iter().map(|certificate| super::encode(&certificate.der)))
    }

    pub(in crate::vault) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Certificate>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let read = |text: String| Certificate::parse(&super::decode(&text).map_err(de::Error::custom)?).map_err(de::Error::custom);
        texts.into_iter().map(read).collect()
    }
}

fn encode(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

fn decode(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    BASE64_STANDARD.decode(text)
}
