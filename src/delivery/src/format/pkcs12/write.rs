//! Writes PKCS#12 files as OpenSSL 3 does: AES-256 and SHA-256, which Java, .NET and OpenSSL read.

use aes::Aes256;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeEncrypt, KeyIvInit};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

use super::derive::{self, Purpose};
use super::oid;
use crate::format::der::{NULL, OCTET_STRING, OID, SET, context, element, implicit, sequence, unsigned};
use keyvault_common::secret::SecretValue;

const ITERATIONS: std::num::NonZeroU32 = std::num::NonZeroU32::new(10_000).expect("it is not zero");
const BLOCK: usize = 16;

type Der = Zeroizing<Vec<u8>>;

/// A file with one key and its chain, leaf first. `None` if the system has no random numbers.
pub(in crate::format) fn write(pkcs8: &[u8], chain: &[&[u8]], password: &str) -> Option<SecretValue> {
    // Joins key and leaf: some programs find the one by the other.
    let id = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, chain.first()?);
    let attribute = sequence(&[&name(oid::LOCAL_KEY_ID), &element(SET, &[&element(OCTET_STRING, &[id.as_ref()])])]);
    let attributes = element(SET, &[&attribute]);
    let bags: Vec<Der> = chain.iter().enumerate().map(|(index, der)| certificate_bag(der, if index == 0 { &attributes } else { &[] })).collect();
    let bags: Vec<&[u8]> = bags.iter().map(|bag| bag.as_slice()).collect();
    let (algorithm, encrypted) = encrypt(password, &sequence(&bags))?;
    let certificates = sequence(&[&unsigned(&[0]), &sequence(&[&name(oid::DATA), &algorithm, &element(implicit(0), &[&encrypted])])]);
    let (algorithm, encrypted) = encrypt(password, pkcs8)?;
    let key = sequence(&[&algorithm, &element(OCTET_STRING, &[&encrypted])]);
    let key = sequence(&[&sequence(&[&name(oid::SHROUDED_KEY_BAG), &element(context(0), &[&key]), &attributes])]);
    let safes = sequence(&[&content(oid::ENCRYPTED_DATA, &certificates), &data(&key)]);
    let mut file = sequence(&[&unsigned(&[3]), &data(&safes), &mac(password, &safes)?]);
    Some(SecretValue::new(std::mem::take(&mut *file)))
}

fn name(oid: &[u8]) -> Der {
    element(OID, &[oid])
}

fn content(kind: &[u8], content: &[u8]) -> Der {
    sequence(&[&name(kind), &element(context(0), &[content])])
}

fn data(bytes: &[u8]) -> Der {
    content(oid::DATA, &element(OCTET_STRING, &[bytes]))
}

fn certificate_bag(der: &[u8], attributes: &[u8]) -> Der {
    let certificate = sequence(&[&name(oid::X509_CERTIFICATE), &element(context(0), &[&element(OCTET_STRING, &[der])])]);
    sequence(&[&name(oid::CERTIFICATE_BAG), &element(context(0), &[&certificate]), attributes])
}

/// The algorithm identifier, and what is encrypted.
fn encrypt(password: &str, plain: &[u8]) -> Option<(Der, Der)> {
    let (salt, iv) = (random()?, random()?);
    let mut key = Zeroizing::new([0; 32]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, &salt, password.as_bytes(), &mut *key);
    let mut bytes = Zeroizing::new(vec![0; plain.len() + BLOCK]);
    bytes[..plain.len()].copy_from_slice(plain);
    let length = cbc::Encryptor::<Aes256>::new_from_slices(&*key, &iv).ok()?.encrypt_padded::<Pkcs7>(&mut bytes, plain.len()).ok()?.len();
    bytes.truncate(length);
    let hash = sequence(&[&name(oid::HMAC_SHA256), &element(NULL, &[])]);
    let function = sequence(&[&name(oid::PBKDF2), &sequence(&[&element(OCTET_STRING, &[&salt]), &iterations(), &hash])]);
    let cipher = sequence(&[&name(oid::AES_256_CBC), &element(OCTET_STRING, &[&iv])]);
    Some((sequence(&[&name(oid::PBES2), &sequence(&[&function, &cipher])]), bytes))
}

fn mac(password: &str, safes: &[u8]) -> Option<Der> {
    let salt = random()?;
    let password = bmp(password);
    let mut key = Zeroizing::new([0; 32]);
    derive::pkcs12(&digest::SHA256, Purpose::Mac, &password, &salt, ITERATIONS.get(), &mut *key);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*key), safes);
    let hash = sequence(&[&name(oid::SHA256), &element(NULL, &[])]);
    Some(sequence(&[&sequence(&[&hash, &element(OCTET_STRING, &[tag.as_ref()])]), &element(OCTET_STRING, &[&salt]), &iterations()]))
}

/// UTF-16, big-endian, with two zeros at its end.
fn bmp(password: &str) -> Der {
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * password.len() + 2));
    password.encode_utf16().chain([0]).for_each(|unit| bytes.extend_from_slice(&unit.to_be_bytes()));
    bytes
}

fn iterations() -> Der {
    unsigned(&ITERATIONS.get().to_be_bytes())
}

fn random() -> Option<[u8; BLOCK]> {
    let mut bytes = [0; BLOCK];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes)
}
