//! Private keys as bytes: PKCS#8 out; PKCS#8, PKCS#1 and SEC 1 in.

use rsa::RsaPrivateKey;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey};
use zeroize::Zeroizing;

use super::Malformed;
use super::curve::{CURVES, Curve, EcKey};
use super::der::{self, Reader};
use super::key::{EC, PrivateKey, RSA};

const NO_KEY: Malformed = Malformed("not a private key: PKCS#8, PKCS#1 or SEC 1 is expected");

impl PrivateKey {
    /// PKCS#8, without attributes.
    pub(crate) fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, Malformed> {
        self.to_pkcs8_with(&[])
    }

    /// PKCS#8 with `attributes`, the content of `[0]`, where they are not empty.
    pub(crate) fn to_pkcs8_with(&self, attributes: &[u8]) -> Result<Zeroizing<Vec<u8>>, Malformed> {
        let (algorithm, key) = match self {
            PrivateKey::Rsa(key) => {
                let key = key.to_pkcs1_der().map_err(|_| Malformed("this RSA key cannot be written"))?;
                (der::sequence(&[&der::oid(RSA), &der::NULL]), Zeroizing::new(key.as_bytes().to_vec()))
            }
            PrivateKey::Ec(key) => {
                let public = der::write(der::context(1), &der::bits(key.point()));
                let body = der::sequence(&[&der::integer(&[1]), &der::write(der::OCTET_STRING, key.scalar()), &public]);
                (der::sequence(&[&der::oid(EC), &der::oid(key.curve.oid())]), Zeroizing::new(body))
            }
        };
        let attributes = if attributes.is_empty() { Vec::new() } else { der::write(der::context(0), attributes) };
        Ok(Zeroizing::new(der::sequence(&[&der::integer(&[0]), &algorithm, &der::write(der::OCTET_STRING, &key), &attributes])))
    }

    /// Any of the three forms.
    pub(crate) fn from_der(bytes: &[u8]) -> Result<PrivateKey, Malformed> {
        from_pkcs8(bytes).or_else(|| from_pkcs1(bytes)).or_else(|| from_sec1(bytes, None)).ok_or(NO_KEY)
    }
}

fn from_pkcs8(bytes: &[u8]) -> Option<PrivateKey> {
    let mut info = Reader(bytes).enter(der::SEQUENCE)?;
    info.expect(der::INTEGER)?;
    let mut algorithm = info.enter(der::SEQUENCE)?;
    let key = info.expect(der::OCTET_STRING)?.content;
    match algorithm.oid()?.as_str() {
        RSA => from_pkcs1(key),
        EC => from_sec1(key, algorithm.oid()),
        _ => None,
    }
}

fn from_pkcs1(bytes: &[u8]) -> Option<PrivateKey> {
    RsaPrivateKey::from_pkcs1_der(bytes).ok().map(|key| PrivateKey::Rsa(Box::new(key)))
}

/// `curve` is what stands around the key; a key that stands alone names its own.
fn from_sec1(bytes: &[u8], curve: Option<String>) -> Option<PrivateKey> {
    let mut body = Reader(bytes).enter(der::SEQUENCE)?;
    body.expect(der::INTEGER)?;
    let scalar = body.expect(der::OCTET_STRING)?.content;
    let named = body.optional(der::context(0)).and_then(|parameters| parameters.inner().oid());
    let oid = curve.or(named)?;
    let curve: Curve = CURVES.into_iter().find(|curve| curve.oid() == oid)?;
    EcKey::new(curve, scalar).ok().map(PrivateKey::Ec)
}
