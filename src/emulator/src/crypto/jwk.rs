//! JSON Web Keys: public ones out, private ones in.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPrivateKey};
use serde::{Deserialize, Serialize};

use super::Malformed;
use super::curve::{Curve, EcKey};
use super::key::PrivateKey;

/// The public members of a key.
#[derive(Debug, Default, Serialize)]
pub(crate) struct PublicJwk {
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crv: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
}

impl PublicJwk {
    pub(crate) fn of(key: &PrivateKey) -> PublicJwk {
        match key {
            PrivateKey::Rsa(key) => {
                PublicJwk { n: Some(encode(&key.n().to_bytes_be())), e: Some(encode(&key.e().to_bytes_be())), ..PublicJwk::default() }
            }
            PrivateKey::Ec(key) => {
                let (x, y) = key.point()[1..].split_at(key.curve.size());
                PublicJwk { crv: Some(key.curve.name()), x: Some(encode(x)), y: Some(encode(y)), ..PublicJwk::default() }
            }
        }
    }
}

/// A key as it is imported. All numbers are base64url.
#[derive(Default, Deserialize)]
pub(crate) struct PrivateJwk {
    pub(crate) kty: Option<String>,
    pub(crate) key_ops: Option<Vec<String>>,
    n: Option<String>,
    e: Option<String>,
    d: Option<String>,
    p: Option<String>,
    q: Option<String>,
    crv: Option<String>,
}

impl PrivateJwk {
    /// The private key in it.
    pub(crate) fn key(&self) -> Result<PrivateKey, Malformed> {
        match self.kty.as_deref().unwrap_or_default() {
            "RSA" | "RSA-HSM" => {
                let [n, e, d] =
                    [member(self.n.as_ref())?, member(self.e.as_ref())?, member(self.d.as_ref())?].map(|number| BigUint::from_bytes_be(&number));
                let primes = match (&self.p, &self.q) {
                    (Some(_), Some(_)) => vec![BigUint::from_bytes_be(&member(self.p.as_ref())?), BigUint::from_bytes_be(&member(self.q.as_ref())?)],
                    _ => Vec::new(),
                };
                let key = RsaPrivateKey::from_components(n, e, d, primes).map_err(|_| Malformed("the numbers are not an RSA key"))?;
                Ok(PrivateKey::Rsa(Box::new(key)))
            }
            "EC" | "EC-HSM" => {
                let curve = self.crv.as_deref().and_then(Curve::named).ok_or(Malformed("crv is not P-256, P-384 or P-521"))?;
                EcKey::new(curve, &member(self.d.as_ref())?).map(PrivateKey::Ec)
            }
            _ => Err(Malformed("kty is not RSA or EC")),
        }
    }
}

fn member(text: Option<&String>) -> Result<Vec<u8>, Malformed> {
    let text = text.ok_or(Malformed("a number of the private key is missing"))?;
    BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| Malformed("a number is not base64url"))
}

fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
