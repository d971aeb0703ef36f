//! Keys from passwords, and what they open: RFC 7292 and PBES2 of RFC 8018.

use std::num::NonZeroU32;

use aes::{Aes128, Aes192, Aes256};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
use des::TdesEde3;
use ring::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

use super::{Pkcs12Error, oid};
use crate::format::der::{INTEGER, OCTET_STRING, OID, Reader, SEQUENCE};

/// A password in the two spellings that a file may want.
#[derive(Clone, Copy)]
pub(super) struct Password<'p> {
    /// For RFC 7292: UTF-16 with two zeros at its end. Nothing at all is not the same as the two zeros alone.
    pub(super) bmp: &'p [u8],
    /// For PBES2.
    pub(super) utf8: &'p [u8],
}

/// What a key is for, as RFC 7292 counts.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Encryption = 1,
    Iv = 2,
    Mac = 3,
}

/// The most iterations of one derivation.
pub(super) const MAX_ITERATIONS: u32 = 600_000;
/// The most iterations of all derivations of a file.
const MAX_WORK: u32 = 4 * MAX_ITERATIONS;

/// How much deriving a file may still demand, since it says itself how long each derivation takes.
#[derive(Debug)]
pub(super) struct Work(u32);

impl Work {
    pub(super) fn new() -> Work {
        Work(MAX_WORK)
    }

    pub(super) fn charge(&mut self, iterations: u32) -> Result<(), Pkcs12Error> {
        if iterations == 0 || iterations > MAX_ITERATIONS {
            return Err(Pkcs12Error::Iterations { iterations });
        }
        self.0 = self.0.checked_sub(iterations).ok_or(Pkcs12Error::Work)?;
        Ok(())
    }
}

/// Appendix B.2 of RFC 7292, over [`Password::bmp`].
pub(super) fn pkcs12(hash: &'static digest::Algorithm, purpose: Purpose, password: &[u8], salt: &[u8], iterations: u32, out: &mut [u8]) {
    let block = hash.block_len();
    let filled = |bytes: &[u8]| bytes.iter().copied().cycle().take(bytes.len().div_ceil(block) * block).collect::<Vec<u8>>();
    let mut input = Zeroizing::new([filled(salt), filled(password)].concat());
    for part in out.chunks_mut(hash.output_len()) {
        let mut context = digest::Context::new(hash);
        context.update(&vec![purpose as u8; block]);
        context.update(&input);
        let mut result = context.finish();
        for _ in 1..iterations {
            result = digest::digest(hash, result.as_ref());
        }
        part.copy_from_slice(&result.as_ref()[..part.len()]);
        add(&mut input, result.as_ref(), block);
    }
}

/// Adds the repeated hash and one to each block, as big-endian numbers.
fn add(input: &mut [u8], hash: &[u8], block: usize) {
    for chunk in input.chunks_mut(block) {
        let mut carry = 1;
        for (index, byte) in chunk.iter_mut().enumerate().rev() {
            let sum = u16::from(*byte) + u16::from(hash[index % hash.len()]) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
    }
}

/// Opens what is encrypted as its algorithm identifier says.
pub(super) fn decrypt(
    mut algorithm: Reader<'_>,
    password: Password<'_>,
    encrypted: &[u8],
    work: &mut Work,
) -> Result<Zeroizing<Vec<u8>>, Pkcs12Error> {
    let name = algorithm.expect(OID)?.content;
    let mut parameters = algorithm.nested(SEQUENCE)?;
    let mut bytes = Zeroizing::new(encrypted.to_vec());
    let length = match name {
        oid::SHA1_3DES => {
            let salt = parameters.expect(OCTET_STRING)?.content;
            let iterations = parameters.expect(INTEGER)?.number()?;
            work.charge(iterations)?;
            let (mut key, mut iv) = (Zeroizing::new([0; 24]), [0; 8]);
            pkcs12(&digest::SHA1_FOR_LEGACY_USE_ONLY, Purpose::Encryption, password.bmp, salt, iterations, &mut *key);
            pkcs12(&digest::SHA1_FOR_LEGACY_USE_ONLY, Purpose::Iv, password.bmp, salt, iterations, &mut iv);
            open::<cbc::Decryptor<TdesEde3>>(&*key, &iv, &mut bytes)
        }
        oid::PBES2 => pbes2(parameters, password, &mut bytes, work)?,
        oid::SHA1_RC2_128 | oid::SHA1_RC2_40 => return Err(Pkcs12Error::Rc2),
        _ => return Err(Pkcs12Error::Algorithm),
    };
    bytes.truncate(length.ok_or(Pkcs12Error::Password)?);
    Ok(bytes)
}

fn pbes2(mut parameters: Reader<'_>, password: Password<'_>, bytes: &mut [u8], work: &mut Work) -> Result<Option<usize>, Pkcs12Error> {
    let mut function = parameters.nested(SEQUENCE)?;
    if function.expect(OID)?.content != oid::PBKDF2 {
        return Err(Pkcs12Error::Algorithm);
    }
    let mut fields = function.nested(SEQUENCE)?;
    let salt = fields.expect(OCTET_STRING)?.content;
    let iterations = fields.expect(INTEGER)?.number()?;
    fields.optional(INTEGER)?; // key length, which the cipher says too
    let pseudorandom = match fields.optional(SEQUENCE)?.map(|element| element.reader().expect(OID)).transpose()?.map(|element| element.content) {
        None | Some(oid::HMAC_SHA1) => pbkdf2::PBKDF2_HMAC_SHA1,
        Some(oid::HMAC_SHA256) => pbkdf2::PBKDF2_HMAC_SHA256,
        Some(oid::HMAC_SHA384) => pbkdf2::PBKDF2_HMAC_SHA384,
        Some(oid::HMAC_SHA512) => pbkdf2::PBKDF2_HMAC_SHA512,
        Some(_) => return Err(Pkcs12Error::Algorithm),
    };
    let mut cipher = parameters.nested(SEQUENCE)?;
    let name = cipher.expect(OID)?.content;
    let iv = cipher.expect(OCTET_STRING)?.content;
    work.charge(iterations)?;
    let rounds = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
    let derive = |key: &mut [u8]| pbkdf2::derive(pseudorandom, rounds, salt, password.utf8, key);
    let mut key = Zeroizing::new([0; 32]);
    match name {
        oid::AES_128_CBC => {
            derive(&mut key[..16]);
            Ok(open::<cbc::Decryptor<Aes128>>(&key[..16], iv, bytes))
        }
        oid::AES_192_CBC => {
            derive(&mut key[..24]);
            Ok(open::<cbc::Decryptor<Aes192>>(&key[..24], iv, bytes))
        }
        oid::AES_256_CBC => {
            derive(&mut key[..]);
            Ok(open::<cbc::Decryptor<Aes256>>(&key[..], iv, bytes))
        }
        oid::DES_EDE3_CBC => {
            derive(&mut key[..24]);
            Ok(open::<cbc::Decryptor<TdesEde3>>(&key[..24], iv, bytes))
        }
        _ => Err(Pkcs12Error::Algorithm),
    }
}

/// Decrypts in place and says how many bytes are left without the padding; `None` if the key is not the right one.
fn open<C: KeyIvInit + BlockModeDecrypt>(key: &[u8], iv: &[u8], bytes: &mut [u8]) -> Option<usize> {
    C::new_from_slices(key, iv).ok()?.decrypt_padded::<Pkcs7>(bytes).ok().map(<[u8]>::len)
}

/// Whether a file's MAC was made with this password.
pub(super) fn is_password(
    hash: &[u8],
    password: Password<'_>,
    salt: &[u8],
    iterations: u32,
    content: &[u8],
    mac: &[u8],
) -> Result<bool, Pkcs12Error> {
    let (hash, algorithm) = match hash {
        oid::SHA1 => (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        oid::SHA256 => (&digest::SHA256, hmac::HMAC_SHA256),
        oid::SHA384 => (&digest::SHA384, hmac::HMAC_SHA384),
        oid::SHA512 => (&digest::SHA512, hmac::HMAC_SHA512),
        _ => return Err(Pkcs12Error::Algorithm),
    };
    let mut key = Zeroizing::new(vec![0; hash.output_len()]);
    pkcs12(hash, Purpose::Mac, password.bmp, salt, iterations, &mut key);
    Ok(hmac::verify(&hmac::Key::new(algorithm, &key), content, mac).is_ok())
}
