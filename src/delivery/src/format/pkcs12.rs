//! PKCS#12 files (`.pfx`, `.p12`) as Key Vault keeps them: without a password, mostly in the form that Windows writes.
//!
//! "Without" has two spellings: Key Vault derives everything over zero bytes, OpenSSL over the two zeros that end an empty text.

mod derive;
mod oid;
mod write;

use zeroize::Zeroizing;

pub(super) use write::write;

use super::der::{Damaged, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, context, implicit};
use derive::{Password, Work};
use keyvault_common::secret::SecretValue;

/// No secret of Key Vault is a tenth of it.
const MAX_BYTES: usize = 1 << 20;
/// No chain is that long.
const MOST: usize = 100;

/// Why a PKCS#12 file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Pkcs12Error {
    /// Not the DER of such a file.
    #[error("it is damaged, or no PKCS#12 at all, at byte {at}")]
    Damaged {
        /// Counted from 0; inside what was encrypted, from its beginning.
        at: usize,
    },
    /// Too long to be one.
    #[error("it has {bytes} bytes, and {MAX_BYTES} are the most that are read")]
    Length {
        /// How long it is.
        bytes: usize,
    },
    /// Neither spelling of "no password" opens it.
    #[error("it has a password; Key Vault keeps certificates without one: import it as a certificate")]
    Password,
    /// A cipher that was weak in 1995.
    #[error("it is encrypted with RC2, which is not read: write it again with 3DES or AES")]
    Rc2,
    /// A cipher, hash or derivation beyond those that files in the field have.
    #[error("it uses an algorithm that is not read: write it again with 3DES, or AES and PBKDF2")]
    Algorithm,
    /// One derivation takes too long.
    #[error("it asks for {iterations} iterations, and 1 to {} are possible", derive::MAX_ITERATIONS)]
    Iterations {
        /// What it asks for.
        iterations: u32,
    },
    /// All derivations together take too long.
    #[error("it asks for too many derivations")]
    Work,
    /// More than a chain.
    #[error("it holds more than {MOST} certificates or keys")]
    Most,
}

impl From<Damaged> for Pkcs12Error {
    fn from(Damaged { at }: Damaged) -> Pkcs12Error {
        Pkcs12Error::Damaged { at }
    }
}

/// What a file holds, in its order.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// PKCS#8.
    pub(super) keys: Vec<SecretValue>,
    pub(super) certificates: Vec<Vec<u8>>,
}

/// "Without a password" in its two spellings.
const WITHOUT: [Password<'_>; 2] = [Password { bmp: &[], utf8: &[] }, Password { bmp: &[0, 0], utf8: &[] }];

/// Reads a file without a password.
pub(super) fn read(file: &[u8]) -> Result<Contents, Pkcs12Error> {
    read_with(file, WITHOUT)
}

fn read_with(file: &[u8], passwords: [Password<'_>; 2]) -> Result<Contents, Pkcs12Error> {
    if file.len() > MAX_BYTES {
        return Err(Pkcs12Error::Length { bytes: file.len() });
    }
    let mut fields = Reader::new(file).nested(SEQUENCE)?;
    fields.expect(INTEGER)?; // version
    let mut content = fields.nested(SEQUENCE)?;
    let kind = content.expect(OID)?;
    if kind.content != oid::DATA {
        return Err(kind.damaged().into());
    }
    let safes = content.nested(context(0))?.expect(OCTET_STRING)?.content;
    let mut work = Work::new();
    match fields.optional(SEQUENCE)? {
        Some(mac) => {
            let password = password_of(mac.reader(), safes, passwords, &mut work)?;
            read_safes(safes, password, &mut work)
        }
        None => match read_safes(safes, passwords[0], &mut work) {
            // A wrong key yields right padding once in 256 times.
            Err(Pkcs12Error::Password | Pkcs12Error::Damaged { .. }) => read_safes(safes, passwords[1], &mut work),
            result => result,
        },
    }
}

/// The password that the file's MAC was made with.
fn password_of<'p>(mut mac: Reader<'_>, safes: &[u8], passwords: [Password<'p>; 2], work: &mut Work) -> Result<Password<'p>, Pkcs12Error> {
    let mut digest = mac.nested(SEQUENCE)?;
    let hash = digest.nested(SEQUENCE)?.expect(OID)?.content;
    let expected = digest.expect(OCTET_STRING)?.content;
    let salt = mac.expect(OCTET_STRING)?.content;
    // DER leaves the default out: Key Vault of 2020 wrote it so.
    let iterations = mac.optional(INTEGER)?.map_or(Ok(1), |element| element.number())?;
    for password in passwords {
        work.charge(iterations)?;
        if derive::is_password(hash, password, salt, iterations, safes, expected)? {
            return Ok(password);
        }
    }
    Err(Pkcs12Error::Password)
}

fn read_safes(safes: &[u8], password: Password<'_>, work: &mut Work) -> Result<Contents, Pkcs12Error> {
    let mut contents = Contents::default();
    let mut safes = Reader::new(safes).nested(SEQUENCE)?;
    while !safes.is_empty() {
        let mut safe = safes.nested(SEQUENCE)?;
        let kind = safe.expect(OID)?.content;
        let mut safe = safe.nested(context(0))?;
        match kind {
            oid::DATA => read_bags(safe.expect(OCTET_STRING)?.content, password, work, &mut contents)?,
            oid::ENCRYPTED_DATA => {
                let bags = open_safe(safe, password, work)?;
                read_bags(&bags, password, work, &mut contents)?;
            }
            _ => return Err(Pkcs12Error::Algorithm),
        }
    }
    Ok(contents)
}

fn open_safe(mut safe: Reader<'_>, password: Password<'_>, work: &mut Work) -> Result<Zeroizing<Vec<u8>>, Pkcs12Error> {
    let mut fields = safe.nested(SEQUENCE)?;
    fields.expect(INTEGER)?; // version
    let mut info = fields.nested(SEQUENCE)?;
    info.expect(OID)?;
    let algorithm = info.nested(SEQUENCE)?;
    derive::decrypt(algorithm, password, info.expect(implicit(0))?.content, work)
}

fn read_bags(bags: &[u8], password: Password<'_>, work: &mut Work, contents: &mut Contents) -> Result<(), Pkcs12Error> {
    let mut bags = Reader::new(bags).nested(SEQUENCE)?;
    while !bags.is_empty() {
        let mut bag = bags.nested(SEQUENCE)?;
        let kind = bag.expect(OID)?.content;
        let mut value = bag.nested(context(0))?;
        match kind {
            oid::KEY_BAG => contents.keys.push(SecretValue::new(value.expect(SEQUENCE)?.whole.to_vec())),
            oid::SHROUDED_KEY_BAG => {
                let mut shrouded = value.nested(SEQUENCE)?;
                let algorithm = shrouded.nested(SEQUENCE)?;
                let mut key = derive::decrypt(algorithm, password, shrouded.expect(OCTET_STRING)?.content, work)?;
                contents.keys.push(SecretValue::new(std::mem::take(&mut *key)));
            }
            oid::CERTIFICATE_BAG => {
                let mut certificate = value.nested(SEQUENCE)?;
                if certificate.expect(OID)?.content == oid::X509_CERTIFICATE {
                    contents.certificates.push(certificate.nested(context(0))?.expect(OCTET_STRING)?.content.to_vec());
                }
            }
            // Revocation lists and the like.
            _ => {}
        }
        if contents.keys.len() + contents.certificates.len() > MOST {
            return Err(Pkcs12Error::Most);
        }
    }
    Ok(())
}

#[cfg(test)]
pub(in crate::format) mod tests;
