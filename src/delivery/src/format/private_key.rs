//! Private keys, in whatever form they come: kept as PKCS#8 without attributes, beside the public key that they belong to.

use zeroize::Zeroizing;

use super::der::{self, BIT_STRING, Damaged, INTEGER, NULL, OCTET_STRING, OID, Reader, SEQUENCE, context, trim_zeros};
use super::public_key::{Algorithm, Curve, PublicKey};
use keyvault_common::secret::SecretValue;

/// Why a private key is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PrivateKeyError {
    Damaged(Damaged),
    Unsupported,
    WithoutPublic,
}

impl From<Damaged> for PrivateKeyError {
    fn from(damaged: Damaged) -> PrivateKeyError {
        PrivateKeyError::Damaged(damaged)
    }
}

/// A private key and its public one.
#[derive(Clone, Debug)]
pub(super) struct PrivateKey {
    pub(super) pkcs8: SecretValue,
    pub(super) public: PublicKey,
}

impl PrivateKey {
    /// From PKCS#8. Attributes (Windows writes one) are left out, since some programs refuse them.
    pub(super) fn from_pkcs8(der: &[u8]) -> Result<PrivateKey, PrivateKeyError> {
        let mut fields = Reader::new(der).nested(SEQUENCE)?;
        fields.expect(INTEGER)?; // version
        let algorithm = fields.expect(SEQUENCE)?;
        let key = fields.expect(OCTET_STRING)?;
        let public = match Algorithm::read(algorithm.reader())? {
            Algorithm::Rsa => rsa_public(key.content)?,
            Algorithm::Ec(curve) => ec_public(curve, key.content)?,
            Algorithm::Other => return Err(PrivateKeyError::Unsupported),
        };
        let mut pkcs8 = der::sequence(&[&der::unsigned(&[0]), algorithm.whole, key.whole]);
        Ok(PrivateKey { pkcs8: SecretValue::new(std::mem::take(&mut *pkcs8)), public })
    }

    /// From the older form of RSA keys, `RSA PRIVATE KEY`.
    pub(super) fn from_pkcs1(der: &[u8]) -> Result<PrivateKey, PrivateKeyError> {
        const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
        PrivateKey::wrap(&der::sequence(&[&der::element(OID, &[RSA]), &der::element(NULL, &[])]), der)
    }

    /// From the older form of EC keys, `EC PRIVATE KEY`.
    pub(super) fn from_sec1(der: &[u8]) -> Result<PrivateKey, PrivateKeyError> {
        const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
        let mut fields = Reader::new(der).nested(SEQUENCE)?;
        fields.expect(INTEGER)?;
        fields.expect(OCTET_STRING)?;
        let curve = fields.nested(context(0))?.expect(OID)?;
        PrivateKey::wrap(&der::sequence(&[&der::element(OID, &[EC]), curve.whole]), der)
    }

    fn wrap(algorithm: &[u8], key: &[u8]) -> Result<PrivateKey, PrivateKeyError> {
        PrivateKey::from_pkcs8(&der::sequence(&[&der::unsigned(&[0]), algorithm, &der::element(OCTET_STRING, &[key])]))
    }
}

fn rsa_public(key: &[u8]) -> Result<PublicKey, PrivateKeyError> {
    let mut numbers = Reader::new(key).nested(SEQUENCE)?;
    numbers.expect(INTEGER)?; // version
    let (modulus, exponent) = (numbers.expect(INTEGER)?.magnitude(), numbers.expect(INTEGER)?.magnitude());
    Ok(PublicKey::Rsa { modulus: modulus.to_vec(), exponent: exponent.to_vec() })
}

/// Computed where we can, because the public key inside a private one may be missing (Java leaves it out).
fn ec_public(curve: Curve, key: &[u8]) -> Result<PublicKey, PrivateKeyError> {
    let mut fields = Reader::new(key).nested(SEQUENCE)?;
    fields.expect(INTEGER)?; // version
    let secret = fields.expect(OCTET_STRING)?;
    let mut scalar = Zeroizing::new(vec![0; curve.bytes()]);
    let significant = trim_zeros(secret.content);
    let start = scalar.len().checked_sub(significant.len()).ok_or(secret.damaged())?;
    scalar[start..].copy_from_slice(significant);
    let point = match curve {
        Curve::P256 => p256::SecretKey::from_slice(&scalar).map(|key| key.public_key().to_sec1_bytes()).ok(),
        Curve::P384 => p384::SecretKey::from_slice(&scalar).map(|key| key.public_key().to_sec1_bytes()).ok(),
        Curve::P521 => p521::SecretKey::from_slice(&scalar).map(|key| key.public_key().to_sec1_bytes()).ok(),
        Curve::P256K => {
            fields.optional(context(0))?;
            let point = fields.optional(context(1))?.ok_or(PrivateKeyError::WithoutPublic)?;
            Some(point.reader().expect(BIT_STRING)?.bits()?.into())
        }
    };
    point.and_then(|point| PublicKey::from_point(curve, &point)).ok_or(PrivateKeyError::Damaged(secret.damaged()))
}
