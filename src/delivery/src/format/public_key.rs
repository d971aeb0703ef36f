//! Public keys: as certificates hold them, as Key Vault sends them, as files carry them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::der::{self, BIT_STRING, Damaged, INTEGER, NULL, OID, Reader, SEQUENCE, trim_zeros};
use keyvault_client::Jwk;
use keyvault_common::pem;
use keyvault_common::secret::SecretValue;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// What Azure has at most is 4096 bits.
const MAX_RSA_BYTES: usize = 2048;

/// A curve that Key Vault has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
    P256K,
}

impl Curve {
    const ALL: [Curve; 4] = [Curve::P256, Curve::P384, Curve::P521, Curve::P256K];

    fn oid(self) -> &'static [u8] {
        match self {
            Curve::P256 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            Curve::P384 => &[0x2b, 0x81, 0x04, 0x00, 0x22],
            Curve::P521 => &[0x2b, 0x81, 0x04, 0x00, 0x23],
            Curve::P256K => &[0x2b, 0x81, 0x04, 0x00, 0x0a],
        }
    }

    /// Bytes of a coordinate.
    pub(super) fn bytes(self) -> usize {
        match self {
            Curve::P256 | Curve::P256K => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }

    /// As RFC 7518 and RFC 8812 call it.
    fn name(self) -> &'static str {
        match self {
            Curve::P256 => "P-256",
            Curve::P384 => "P-384",
            Curve::P521 => "P-521",
            Curve::P256K => "secp256k1",
        }
    }

    /// Key Vault has its own name for one of them.
    fn named(name: &str) -> Option<Curve> {
        Curve::ALL.into_iter().find(|curve| curve.name() == name).or((name == "P-256K").then_some(Curve::P256K))
    }
}

/// What an algorithm identifier says.
pub(super) enum Algorithm {
    Rsa,
    Ec(Curve),
    Other,
}

impl Algorithm {
    pub(super) fn read(mut fields: Reader<'_>) -> Result<Algorithm, Damaged> {
        match fields.expect(OID)?.content {
            RSA | RSA_PSS => Ok(Algorithm::Rsa),
            EC => {
                let curve = fields.optional(OID)?.and_then(|oid| Curve::ALL.into_iter().find(|curve| curve.oid() == oid.content));
                Ok(curve.map_or(Algorithm::Other, Algorithm::Ec))
            }
            _ => Ok(Algorithm::Other),
        }
    }
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// Big-endian, without leading zeros.
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    /// Both coordinates, one after the other.
    Ec { curve: Curve, point: Vec<u8> },
}

impl PublicKey {
    /// From a SubjectPublicKeyInfo; `None` for kinds of keys that Key Vault does not have.
    pub(super) fn from_spki(spki: &[u8]) -> Result<Option<PublicKey>, Damaged> {
        let mut fields = Reader::new(spki).nested(SEQUENCE)?;
        let algorithm = Algorithm::read(fields.nested(SEQUENCE)?)?;
        let bits = fields.expect(BIT_STRING)?;
        match algorithm {
            Algorithm::Rsa => {
                let mut numbers = Reader::new(bits.bits()?).nested(SEQUENCE)?;
                let (modulus, exponent) = (numbers.expect(INTEGER)?.magnitude(), numbers.expect(INTEGER)?.magnitude());
                Ok(Some(PublicKey::Rsa { modulus: modulus.to_vec(), exponent: exponent.to_vec() }))
            }
            Algorithm::Ec(curve) => Ok(PublicKey::from_point(curve, bits.bits()?)),
            Algorithm::Other => Ok(None),
        }
    }

    /// From an uncompressed point.
    pub(super) fn from_point(curve: Curve, point: &[u8]) -> Option<PublicKey> {
        let coordinates = point.strip_prefix(&[4]).filter(|coordinates| coordinates.len() == 2 * curve.bytes())?;
        Some(PublicKey::Ec { curve, point: coordinates.to_vec() })
    }

    fn spki(&self) -> Vec<u8> {
        let (algorithm, key) = match self {
            PublicKey::Rsa { modulus, exponent } => (
                der::sequence(&[&der::element(OID, &[RSA]), &der::element(NULL, &[])]),
                der::sequence(&[&der::unsigned(modulus), &der::unsigned(exponent)]),
            ),
            PublicKey::Ec { curve, point } => {
                (der::sequence(&[&der::element(OID, &[EC]), &der::element(OID, &[curve.oid()])]), [&[4], point.as_slice()].concat().into())
            }
        };
        der::sequence(&[&algorithm, &der::element(BIT_STRING, &[&[0], &key])]).to_vec()
    }
}

/// Why a key has no public part that could be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// `oct` and whatever comes later.
    #[error("a key of type {0:?} has no public part: only RSA and EC keys have one")]
    Type(String),
    /// A curve that Key Vault did not have when this was written.
    #[error("the curve {0:?} is not known: P-256, P-384, P-521 and P-256K are")]
    Curve(String),
    /// A number that is not base64url, or impossibly long.
    #[error("member {0:?} of the key is not a number that such a key can have")]
    Number(&'static str),
}

/// A key's public part with its identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    id: String,
    key: PublicKey,
}

impl Key {
    /// Checks what Key Vault sent.
    ///
    /// # Errors
    /// A type or curve without a public part, or members that are no numbers.
    pub fn read(jwk: &Jwk) -> Result<Key, KeyError> {
        let key = match jwk.kty.as_str() {
            "RSA" | "RSA-HSM" => PublicKey::Rsa { modulus: rsa_number("n", &jwk.n)?, exponent: rsa_number("e", &jwk.e)? },
            "EC" | "EC-HSM" => {
                let curve = Curve::named(&jwk.crv).ok_or_else(|| KeyError::Curve(jwk.crv.chars().take(40).collect()))?;
                PublicKey::Ec { curve, point: [coordinate(curve, "x", &jwk.x)?, coordinate(curve, "y", &jwk.y)?].concat() }
            }
            other => return Err(KeyError::Type(other.chars().take(40).collect())),
        };
        Ok(Key { id: jwk.kid.clone(), key })
    }

    /// `PUBLIC KEY` as PEM.
    #[must_use]
    pub fn pem(&self) -> SecretValue {
        pem::text([("PUBLIC KEY", self.key.spki().as_slice())])
    }

    /// A JSON Web Key with the standard's names, members in the order of the alphabet, no white space.
    #[must_use]
    pub fn jwk(&self) -> SecretValue {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let kid = serde_json::Value::from(self.id.as_str());
        match &self.key {
            PublicKey::Rsa { modulus, exponent } => format!(r#"{{"e":"{}","kid":{kid},"kty":"RSA","n":"{}"}}"#, text(exponent), text(modulus)),
            PublicKey::Ec { curve, point } => {
                let (x, y) = point.split_at(curve.bytes());
                format!(r#"{{"crv":"{}","kid":{kid},"kty":"EC","x":"{}","y":"{}"}}"#, curve.name(), text(x), text(y))
            }
        }
        .into()
    }
}

fn number(member: &'static str, text: &str, longest: usize) -> Result<Vec<u8>, KeyError> {
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| KeyError::Number(member))?;
    let bytes = trim_zeros(&bytes);
    if bytes.is_empty() || bytes.len() > longest { Err(KeyError::Number(member)) } else { Ok(bytes.to_vec()) }
}

fn rsa_number(member: &'static str, text: &str) -> Result<Vec<u8>, KeyError> {
    number(member, text, MAX_RSA_BYTES)
}

/// Of full length, whatever came.
fn coordinate(curve: Curve, member: &'static str, text: &str) -> Result<Vec<u8>, KeyError> {
    let bytes = number(member, text, curve.bytes())?;
    Ok([vec![0; curve.bytes() - bytes.len()], bytes].concat())
}

#[cfg(test)]
mod tests;
