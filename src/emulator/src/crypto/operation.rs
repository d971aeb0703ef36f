//! What a key does: encrypt, decrypt, sign, verify.

use rsa::rand_core::OsRng;
use rsa::sha2::{Sha256, Sha384, Sha512};
use rsa::{Oaep, Pkcs1v15Encrypt, Pkcs1v15Sign, Pss, RsaPrivateKey};
use sha1::Sha1;

use super::Malformed;
use super::curve::Curve;
use super::digest::Hash;
use super::key::PrivateKey;

/// How a small secret is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encryption {
    Rsa15,
    OaepSha1,
    OaepSha256,
}

impl Encryption {
    pub(crate) fn named(name: &str) -> Option<Encryption> {
        match name {
            "RSA1_5" => Some(Encryption::Rsa15),
            "RSA-OAEP" => Some(Encryption::OaepSha1),
            "RSA-OAEP-256" => Some(Encryption::OaepSha256),
            _ => None,
        }
    }
}

/// How a hash is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signing {
    Pkcs1(Hash),
    Pss(Hash),
    Ecdsa(Curve),
}

impl Signing {
    pub(crate) fn named(name: &str) -> Option<Signing> {
        let hash = match name.get(2..)? {
            "256" => (Hash::Sha256, Curve::P256),
            "384" => (Hash::Sha384, Curve::P384),
            "512" => (Hash::Sha512, Curve::P521),
            _ => return None,
        };
        match name.get(..2)? {
            "RS" => Some(Signing::Pkcs1(hash.0)),
            "PS" => Some(Signing::Pss(hash.0)),
            "ES" => Some(Signing::Ecdsa(hash.1)),
            _ => None,
        }
    }

    fn hash(self) -> Hash {
        match self {
            Signing::Pkcs1(hash) | Signing::Pss(hash) => hash,
            Signing::Ecdsa(curve) => curve.hash(),
        }
    }
}

const WRONG_KEY: Malformed = Malformed("this algorithm is not for this key");

impl PrivateKey {
    pub(crate) fn encrypt(&self, how: Encryption, plain: &[u8]) -> Result<Vec<u8>, Malformed> {
        let key = self.rsa()?.to_public_key();
        let encrypted = match how {
            Encryption::Rsa15 => key.encrypt(&mut OsRng, Pkcs1v15Encrypt, plain),
            Encryption::OaepSha1 => key.encrypt(&mut OsRng, Oaep::new::<Sha1>(), plain),
            Encryption::OaepSha256 => key.encrypt(&mut OsRng, Oaep::new::<Sha256>(), plain),
        };
        encrypted.map_err(|_| Malformed("too long for this key"))
    }

    pub(crate) fn decrypt(&self, how: Encryption, encrypted: &[u8]) -> Result<Vec<u8>, Malformed> {
        let key = self.rsa()?;
        let plain = match how {
            Encryption::Rsa15 => key.decrypt_blinded(&mut OsRng, Pkcs1v15Encrypt, encrypted),
            Encryption::OaepSha1 => key.decrypt_blinded(&mut OsRng, Oaep::new::<Sha1>(), encrypted),
            Encryption::OaepSha256 => key.decrypt_blinded(&mut OsRng, Oaep::new::<Sha256>(), encrypted),
        };
        plain.map_err(|_| Malformed("not encrypted with this key in this way"))
    }

    /// Signs a hash of the algorithm's own length.
    pub(crate) fn sign(&self, how: Signing, digest: &[u8]) -> Result<Vec<u8>, Malformed> {
        if digest.len() != how.hash().length() {
            return Err(Malformed("the digest is not as long as this algorithm's"));
        }
        let too_short = |_| Malformed("this key is too short for this algorithm");
        match (self, how) {
            (PrivateKey::Rsa(key), Signing::Pkcs1(hash)) => key.sign(pkcs1(hash), digest).map_err(too_short),
            (PrivateKey::Rsa(key), Signing::Pss(hash)) => key.sign_with_rng(&mut OsRng, pss(hash), digest).map_err(too_short),
            (PrivateKey::Ec(key), Signing::Ecdsa(curve)) if key.curve == curve => key.sign(digest),
            (PrivateKey::Rsa(_) | PrivateKey::Ec(_), _) => Err(WRONG_KEY),
        }
    }

    pub(crate) fn verify(&self, how: Signing, digest: &[u8], signature: &[u8]) -> Result<bool, Malformed> {
        match (self, how) {
            (PrivateKey::Rsa(key), Signing::Pkcs1(hash)) => Ok(key.to_public_key().verify(pkcs1(hash), digest, signature).is_ok()),
            (PrivateKey::Rsa(key), Signing::Pss(hash)) => Ok(key.to_public_key().verify(pss(hash), digest, signature).is_ok()),
            (PrivateKey::Ec(key), Signing::Ecdsa(curve)) if key.curve == curve => Ok(key.verify(digest, signature)),
            (PrivateKey::Rsa(_) | PrivateKey::Ec(_), _) => Err(WRONG_KEY),
        }
    }

    fn rsa(&self) -> Result<&RsaPrivateKey, Malformed> {
        match self {
            PrivateKey::Rsa(key) => Ok(key),
            PrivateKey::Ec(_) => Err(WRONG_KEY),
        }
    }
}

fn pkcs1(hash: Hash) -> Pkcs1v15Sign {
    match hash {
        Hash::Sha1 => Pkcs1v15Sign::new::<Sha1>(),
        Hash::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
        Hash::Sha384 => Pkcs1v15Sign::new::<Sha384>(),
        Hash::Sha512 => Pkcs1v15Sign::new::<Sha512>(),
    }
}

fn pss(hash: Hash) -> Pss {
    match hash {
        Hash::Sha1 => Pss::new_blinded::<Sha1>(),
        Hash::Sha256 => Pss::new_blinded::<Sha256>(),
        Hash::Sha384 => Pss::new_blinded::<Sha384>(),
        Hash::Sha512 => Pss::new_blinded::<Sha512>(),
    }
}
