//! PKCS#12 in.

use ring::hmac;
use zeroize::Zeroizing;

use crate::crypto::der::{self, Reader};
use crate::crypto::key::PrivateKey;
use crate::crypto::pem::Bundle;
use crate::crypto::x509::Certificate;

use super::derive::{self, Parameters};
use super::{CERTIFICATE_BAG, DATA, ENCRYPTED_DATA, KEY_BAG, SHA1, SHROUDED_KEY_BAG, TRIPLE_DES, X509_CERTIFICATE};

/// Why a file cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// The MAC does not fit.
    #[error("the password is another one")]
    Password,
    /// Not PKCS#12, or not what Key Vault takes.
    #[error(
        "not a PKCS#12 file with triple DES and SHA-1, which is what Key Vault takes: openssl pkcs12 -export -keypbe PBE-SHA1-3DES -certpbe \
         PBE-SHA1-3DES -macalg sha1"
    )]
    Format,
}

/// More rounds are an attack, not a file.
const MAX_ROUNDS: u32 = 600_000;

/// The private key and the certificates, in the order of the file. No password is tried as no bytes and as an empty text.
pub(crate) fn read(bytes: &[u8], password: &str) -> Result<Bundle, Error> {
    let mut passwords = vec![derive::password_bytes(password)];
    if password.is_empty() {
        passwords.insert(0, Zeroizing::new(Vec::new()));
    }
    let outcomes = passwords.iter().map(|password| file(bytes, password).unwrap_or(Err(Error::Format)));
    let mut outcomes = outcomes.skip_while(|outcome| outcome.as_ref().err() == Some(&Error::Password));
    outcomes.next().unwrap_or(Err(Error::Password))
}

/// `None` where a part is missing or of another kind.
fn file(bytes: &[u8], password: &[u8]) -> Option<Result<Bundle, Error>> {
    let mut file = Reader(bytes).enter(der::SEQUENCE)?;
    file.expect(der::INTEGER)?;
    let authenticated = octets(content(file.enter(der::SEQUENCE)?, DATA)?)?;
    if let Some(mut mac) = file.enter(der::SEQUENCE) {
        let mut digest = mac.enter(der::SEQUENCE)?;
        let is_sha1 = digest.enter(der::SEQUENCE)?.oid()? == SHA1;
        let expected = digest.expect(der::OCTET_STRING)?.content;
        let parameters = Parameters { salt: mac.expect(der::OCTET_STRING)?.content, rounds: rounds(mac.optional(der::INTEGER))? };
        if !is_sha1 || parameters.salt.is_empty() {
            return None;
        }
        if hmac::verify(&derive::mac_key(password, parameters), authenticated, expected).is_err() {
            return Some(Err(Error::Password));
        }
    }
    let mut bundle = Bundle { key: None, certificates: Vec::new() };
    for safe in Reader(authenticated).enter(der::SEQUENCE)?.values() {
        read_safe(safe.inner(), password, &mut bundle)?;
    }
    Some(Ok(bundle))
}

/// The rounds that a file names; 1 where it names none.
fn rounds(value: Option<der::Value<'_>>) -> Option<u32> {
    let Some(value) = value else { return Some(1) };
    let number = value.content.iter().try_fold(0_u32, |sum, byte| sum.checked_mul(256)?.checked_add(u32::from(*byte)))?;
    (1..=MAX_ROUNDS).contains(&number).then_some(number)
}

/// The content of a ContentInfo of this kind.
fn content<'a>(mut info: Reader<'a>, kind: &str) -> Option<Reader<'a>> {
    if info.oid()? == kind { info.enter(der::context(0)) } else { None }
}

fn octets(mut content: Reader<'_>) -> Option<&[u8]> {
    content.expect(der::OCTET_STRING).map(|value| value.content)
}

fn read_safe(info: Reader<'_>, password: &[u8], bundle: &mut Bundle) -> Option<()> {
    if let Some(plain) = content(info, DATA) {
        return read_bags(octets(plain)?, password, bundle);
    }
    let mut data = content(info, ENCRYPTED_DATA)?.enter(der::SEQUENCE)?;
    data.expect(der::INTEGER)?;
    let mut encrypted = data.enter(der::SEQUENCE)?;
    encrypted.expect(der::OID)?;
    let algorithm = encrypted.enter(der::SEQUENCE)?;
    let plain = decrypt(algorithm, encrypted.expect(der::primitive(0))?.content, password)?;
    read_bags(&plain, password, bundle)
}

fn read_bags(safe: &[u8], password: &[u8], bundle: &mut Bundle) -> Option<()> {
    for bag in Reader(safe).enter(der::SEQUENCE)?.values() {
        let mut bag = bag.inner();
        let kind = bag.oid()?;
        let value = bag.enter(der::context(0))?;
        match kind.as_str() {
            KEY_BAG => bundle.key = Some(PrivateKey::from_der(value.0).ok()?),
            SHROUDED_KEY_BAG => {
                let mut shrouded = { value }.enter(der::SEQUENCE)?;
                let algorithm = shrouded.enter(der::SEQUENCE)?;
                let plain = decrypt(algorithm, octets(shrouded)?, password)?;
                bundle.key = Some(PrivateKey::from_der(&plain).ok()?);
            }
            CERTIFICATE_BAG => {
                let mut certificate = { value }.enter(der::SEQUENCE)?;
                if certificate.oid()? == X509_CERTIFICATE {
                    bundle.certificates.push(Certificate::parse(octets(certificate.enter(der::context(0))?)?).ok()?);
                }
            }
            _ => {}
        }
    }
    Some(())
}

fn decrypt(mut algorithm: Reader<'_>, encrypted: &[u8], password: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if algorithm.oid()? != TRIPLE_DES {
        return None;
    }
    let mut parameters = algorithm.enter(der::SEQUENCE)?;
    let salt = parameters.expect(der::OCTET_STRING)?.content;
    let rounds = rounds(parameters.optional(der::INTEGER))?;
    if salt.is_empty() { None } else { derive::decrypt(password, Parameters { salt, rounds }, encrypted) }
}
