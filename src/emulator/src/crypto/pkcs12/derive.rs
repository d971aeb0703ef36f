//! Keys out of passwords (RFC 7292, appendix B), and the cipher and the MAC that use them.

use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use des::TdesEde3;
use ring::hmac;
use zeroize::Zeroizing;

use crate::crypto::digest::Hash;

/// What derived bytes are for.
#[derive(Clone, Copy)]
enum Purpose {
    Key = 1,
    Iv = 2,
    Mac = 3,
}

/// Salt and rounds of one derivation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameters<'a> {
    pub(super) salt: &'a [u8],
    pub(super) rounds: u32,
}

/// A password as bytes: UTF-16, big-endian, two zero bytes at the end.
pub(super) fn password_bytes(password: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(password.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect())
}

fn derive<const N: usize>(password: &[u8], parameters: Parameters<'_>, purpose: Purpose) -> Zeroizing<[u8; N]> {
    const BLOCK: usize = 64;
    let fill = |bytes: &[u8]| -> Vec<u8> { bytes.iter().copied().cycle().take(bytes.len().div_ceil(BLOCK) * BLOCK).collect() };
    let mut input = Zeroizing::new([fill(parameters.salt), fill(password)].concat());
    let mut derived = Zeroizing::new([0; N]);
    for part in derived.chunks_mut(20) {
        let mut hash = Zeroizing::new(Hash::Sha1.of(&[&[purpose as u8; BLOCK], input.as_slice()].concat()));
        for _ in 1..parameters.rounds {
            hash = Zeroizing::new(Hash::Sha1.of(&hash));
        }
        part.copy_from_slice(&hash[..part.len()]);
        for block in input.chunks_mut(BLOCK) {
            let mut carry = 1;
            for (index, byte) in block.iter_mut().enumerate().rev() {
                let sum = u16::from(*byte) + u16::from(hash[index % 20]) + carry;
                *byte = sum.to_le_bytes()[0];
                carry = sum >> 8;
            }
        }
    }
    derived
}

pub(super) fn encrypt(password: &[u8], parameters: Parameters<'_>, plain: &[u8]) -> Vec<u8> {
    let (key, iv) = (derive::<24>(password, parameters, Purpose::Key), derive::<8>(password, parameters, Purpose::Iv));
    cbc::Encryptor::<TdesEde3>::new(&(*key).into(), &(*iv).into()).encrypt_padded_vec::<Pkcs7>(plain)
}

/// `None` where the password is another one.
pub(super) fn decrypt(password: &[u8], parameters: Parameters<'_>, encrypted: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (key, iv) = (derive::<24>(password, parameters, Purpose::Key), derive::<8>(password, parameters, Purpose::Iv));
    cbc::Decryptor::<TdesEde3>::new(&(*key).into(), &(*iv).into()).decrypt_padded_vec::<Pkcs7>(encrypted).ok().map(Zeroizing::new)
}

/// The key of an HMAC with SHA-1.
pub(super) fn mac_key(password: &[u8], parameters: Parameters<'_>) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &*derive::<20>(password, parameters, Purpose::Mac))
}
