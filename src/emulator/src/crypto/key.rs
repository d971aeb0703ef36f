//! A private key, and everything that follows from it.

use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPrivateKey};

use super::Malformed;
use super::curve::{Curve, EcKey};
use super::der;
use super::digest::Hash;

/// What kind of key is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// Bits of the modulus.
    Rsa(usize),
    Ec(Curve),
}

/// A private key.
#[derive(Clone)]
pub(crate) enum PrivateKey {
    Rsa(Box<RsaPrivateKey>),
    Ec(EcKey),
}

impl PrivateKey {
    /// Makes a new key; the public exponent of RSA is 65537 unless another one is given, which must be odd. RSA takes its time: tenths of a second
    /// for 2048 bits, seconds for 4096.
    pub(crate) fn generate(kind: KeyKind, exponent: Option<BigUint>) -> Result<PrivateKey, Malformed> {
        match kind {
            KeyKind::Ec(curve) => EcKey::generate(curve).map(PrivateKey::Ec),
            KeyKind::Rsa(bits) => {
                let exponent = exponent.unwrap_or_else(|| BigUint::from(65_537_u32));
                let key = RsaPrivateKey::new_with_exp(&mut rsa::rand_core::OsRng, bits, &exponent);
                Ok(PrivateKey::Rsa(Box::new(key.map_err(|_| Malformed("no RSA key of this size can be made"))?)))
            }
        }
    }

    pub(crate) fn kind(&self) -> KeyKind {
        match self {
            PrivateKey::Rsa(key) => KeyKind::Rsa(key.n().bits()),
            PrivateKey::Ec(key) => KeyKind::Ec(key.curve),
        }
    }

    /// The public exponent of an RSA key.
    pub(crate) fn exponent(&self) -> Option<BigUint> {
        match self {
            PrivateKey::Rsa(key) => Some(key.e().clone()),
            PrivateKey::Ec(_) => None,
        }
    }

    /// The SubjectPublicKeyInfo.
    pub(crate) fn spki(&self) -> Vec<u8> {
        let (algorithm, key) = match self {
            PrivateKey::Rsa(key) => (der::sequence(&[&der::oid(RSA), &der::NULL]), der::sequence(&[&integer(key.n()), &integer(key.e())])),
            PrivateKey::Ec(key) => (der::sequence(&[&der::oid(EC), &der::oid(key.curve.oid())]), key.point().to_vec()),
        };
        der::sequence(&[&algorithm, &der::bits(&key)])
    }

    /// The AlgorithmIdentifier of [`PrivateKey::sign_message`].
    pub(crate) fn signature_algorithm(&self) -> Vec<u8> {
        match self {
            PrivateKey::Rsa(_) => der::sequence(&[&der::oid("1.2.840.113549.1.1.11"), &der::NULL]),
            PrivateKey::Ec(key) => der::sequence(&[&der::oid(match key.curve {
                Curve::P256 => "1.2.840.10045.4.3.2",
                Curve::P384 => "1.2.840.10045.4.3.3",
                Curve::P521 => "1.2.840.10045.4.3.4",
            })]),
        }
    }

    /// A signature as certificates carry it.
    pub(crate) fn sign_message(&self, message: &[u8]) -> Result<Vec<u8>, Malformed> {
        match self {
            PrivateKey::Rsa(key) => {
                let padding = rsa::Pkcs1v15Sign::new::<rsa::sha2::Sha256>();
                key.sign(padding, &Hash::Sha256.of(message)).map_err(|_| Malformed("this RSA key is too short to sign"))
            }
            PrivateKey::Ec(key) => {
                let signature = key.sign(&key.curve.hash().of(message))?;
                let (r, s) = signature.split_at(key.curve.size());
                Ok(der::sequence(&[&der::integer(r), &der::integer(s)]))
            }
        }
    }
}

pub(crate) const RSA: &str = "1.2.840.113549.1.1.1";
pub(crate) const EC: &str = "1.2.840.10045.2.1";

fn integer(number: &BigUint) -> Vec<u8> {
    der::integer(&number.to_bytes_be())
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({:?}, redacted)", self.kind())
    }
}
