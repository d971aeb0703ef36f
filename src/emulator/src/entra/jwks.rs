//! The public keys of a token issuer, and signatures made with them.

use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

use crate::jwt::{Jwt, decode};

/// A JSON Web Key Set. Keys that cannot check a token (other curves, symmetric keys) are left out.
#[derive(Debug)]
pub(crate) struct Jwks(Vec<Jwk>);

#[derive(Debug)]
struct Jwk {
    kid: Option<String>,
    key: PublicKey,
}

#[derive(Debug)]
enum PublicKey {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
}

/// Why a text is no usable key set.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JwksError {
    #[error("not a JSON Web Key Set: {0}")]
    Json(#[from] serde_json::Error),
    #[error("no RSA or P-256 key in it")]
    NoKey,
}

#[derive(Deserialize)]
struct WireSet {
    keys: Vec<WireKey>,
}

#[derive(Deserialize)]
struct WireKey {
    kty: String,
    kid: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwks {
    pub(crate) fn parse(json: &[u8]) -> Result<Jwks, JwksError> {
        let set: WireSet = serde_json::from_slice(json)?;
        let keys: Vec<Jwk> = set.keys.into_iter().filter_map(|wire| Some(Jwk { key: wire.public_key()?, kid: wire.kid })).collect();
        if keys.is_empty() { Err(JwksError::NoKey) } else { Ok(Jwks(keys)) }
    }

    /// Whether one of the keys made the token's signature (RS256, PS256 or ES256). A token that names a key must be signed by that one.
    pub(crate) fn signed<C>(&self, jwt: &Jwt<'_, C>) -> bool {
        let named = |key: &&Jwk| jwt.header.kid.is_none() || jwt.header.kid == key.kid;
        self.0.iter().filter(named).any(|jwk| jwk.key.verify(&jwt.header.alg, jwt.signed.as_bytes(), &jwt.signature))
    }
}

impl WireKey {
    fn public_key(&self) -> Option<PublicKey> {
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => Some(PublicKey::Rsa { n: decode(self.n.as_deref()?)?, e: decode(self.e.as_deref()?)? }),
            ("EC", Some("P-256")) => {
                let coordinates = [decode(self.x.as_deref()?)?, decode(self.y.as_deref()?)?].concat();
                Some(PublicKey::P256([vec![4], coordinates].concat()))
            }
            _ => None,
        }
    }
}

impl PublicKey {
    fn verify(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        let outcome = match (self, algorithm) {
            (PublicKey::Rsa { n, e }, "RS256") => RsaPublicKeyComponents { n, e }.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature),
            (PublicKey::Rsa { n, e }, "PS256") => RsaPublicKeyComponents { n, e }.verify(&signature::RSA_PSS_2048_8192_SHA256, message, signature),
            (PublicKey::P256(point), "ES256") => UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signature),
            _ => return false,
        };
        outcome.is_ok()
    }
}
