//! Keys on the NIST curves, and signatures with them.

use zeroize::Zeroizing;

use super::Malformed;
use super::digest::{Hash, random};

/// The curves of Key Vault that this emulator knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

pub(crate) const CURVES: [Curve; 3] = [Curve::P256, Curve::P384, Curve::P521];

impl Curve {
    /// As JSON Web Keys name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Curve::P256 => "P-256",
            Curve::P384 => "P-384",
            Curve::P521 => "P-521",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Curve> {
        CURVES.into_iter().find(|curve| curve.name() == name)
    }

    pub(crate) fn oid(self) -> &'static str {
        match self {
            Curve::P256 => "1.2.840.10045.3.1.7",
            Curve::P384 => "1.3.132.0.34",
            Curve::P521 => "1.3.132.0.35",
        }
    }

    /// Bytes of a coordinate.
    pub(crate) fn size(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }

    /// The hash of its signatures.
    pub(crate) fn hash(self) -> Hash {
        match self {
            Curve::P256 => Hash::Sha256,
            Curve::P384 => Hash::Sha384,
            Curve::P521 => Hash::Sha512,
        }
    }
}

/// Evaluates `$body` with `$crate_name` standing for the crate of the curve.
macro_rules! on_curve {
    ($curve:expr, $crate_name:ident => $body:expr) => {
        match $curve {
            Curve::P256 => {
                use p256 as $crate_name;
                $body
            }
            Curve::P384 => {
                use p384 as $crate_name;
                $body
            }
            Curve::P521 => {
                use p521 as $crate_name;
                $body
            }
        }
    };
}

/// A private key.
#[derive(Clone)]
pub(crate) struct EcKey {
    pub(crate) curve: Curve,
    scalar: Zeroizing<Vec<u8>>,
    point: Vec<u8>,
}

impl EcKey {
    pub(crate) fn generate(curve: Curve) -> Result<EcKey, Malformed> {
        loop {
            let mut bytes = random::<66>()?;
            // The order of P-521 has 521 bits: without this most candidates would be too large.
            bytes[0] &= 1;
            if let Ok(key) = EcKey::new(curve, &bytes[..curve.size()]) {
                return Ok(key);
            }
        }
    }

    /// From the private number, big-endian.
    pub(crate) fn new(curve: Curve, scalar: &[u8]) -> Result<EcKey, Malformed> {
        let start = scalar.len().saturating_sub(curve.size());
        let mut padded = Zeroizing::new(vec![0; curve.size().saturating_sub(scalar.len())]);
        padded.extend(&scalar[start..]);
        let point = on_curve!(curve, ec => {
            let key = ec::ecdsa::SigningKey::from_slice(&padded).map_err(|_| Malformed("not a private key of this curve"))?;
            key.verifying_key().to_sec1_point(false).as_bytes().to_vec()
        });
        if scalar[..start].iter().any(|byte| *byte != 0) {
            return Err(Malformed("not a private key of this curve"));
        }
        Ok(EcKey { curve, scalar: padded, point })
    }

    pub(crate) fn scalar(&self) -> &[u8] {
        &self.scalar
    }

    /// The public key: 4, x, y.
    pub(crate) fn point(&self) -> &[u8] {
        &self.point
    }

    /// A signature of a hash: r and s, each as long as a coordinate.
    pub(crate) fn sign(&self, digest: &[u8]) -> Result<Vec<u8>, Malformed> {
        let failed = |_| Malformed("this hash cannot be signed");
        Ok(on_curve!(self.curve, ec => {
            use ec::ecdsa::signature::hazmat::PrehashSigner;
            let key = ec::ecdsa::SigningKey::from_slice(&self.scalar).map_err(failed)?;
            let signature: ec::ecdsa::Signature = key.sign_prehash(digest).map_err(failed)?;
            signature.to_bytes().to_vec()
        }))
    }

    pub(crate) fn verify(&self, digest: &[u8], signature: &[u8]) -> bool {
        on_curve!(self.curve, ec => {
            use ec::ecdsa::signature::hazmat::PrehashVerifier;
            let key = ec::ecdsa::VerifyingKey::from_sec1_bytes(&self.point);
            let signature = ec::ecdsa::Signature::from_slice(signature);
            key.ok().zip(signature.ok()).is_some_and(|(key, signature)| key.verify_prehash(digest, &signature).is_ok())
        })
    }
}
