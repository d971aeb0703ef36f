//! PKCS#12 out: byte for byte in the layout of Windows' export, which is what Key Vault gives.

use ring::hmac;
use zeroize::Zeroizing;

use crate::crypto::Malformed;
use crate::crypto::der;
use crate::crypto::digest::random;
use crate::crypto::key::PrivateKey;
use crate::crypto::x509::Certificate;
use crate::ids;

use super::derive::{self, Parameters};
use super::{
    CERTIFICATE_BAG, DATA, ENCRYPTED_DATA, FRIENDLY_NAME, LOCAL_KEY_ID, PROVIDER_NAME, SHA1, SHROUDED_KEY_BAG, TRIPLE_DES, X509_CERTIFICATE,
};

const ROUNDS: u32 = 2000;
/// Not the empty text: no bytes.
const PASSWORD: &[u8] = b"";
const KEY_ID: [u8; 4] = [1, 0, 0, 0];
const PROVIDER: &str = "Microsoft Enhanced RSA and AES Cryptographic Provider";

/// The safe of the key first, in the clear around an encrypted key, then the safe of the certificates, encrypted as a whole.
pub(crate) fn write(key: Option<&PrivateKey>, chain: &[Certificate]) -> Result<Vec<u8>, Malformed> {
    let mut safes = Vec::new();
    if let Some(key) = key {
        safes.push(content_info(DATA, &der::write(der::OCTET_STRING, &key_safe(key)?)));
    }
    safes.push(content_info(ENCRYPTED_DATA, &certificate_safe(chain, key.is_some())?));
    let authenticated = der::write(der::SEQUENCE, &safes.concat());
    let salt = random::<20>()?;
    let mac = hmac::sign(&derive::mac_key(PASSWORD, Parameters { salt: &salt, rounds: ROUNDS }), &authenticated);
    let digest = der::sequence(&[&der::sequence(&[&der::oid(SHA1), &der::NULL]), &octets(mac.as_ref())]);
    let mac_data = der::sequence(&[&digest, &octets(&salt), &der::integer(&ROUNDS.to_be_bytes())]);
    Ok(der::sequence(&[&der::integer(&[3]), &content_info(DATA, &octets(&authenticated)), &mac_data]))
}

fn key_safe(key: &PrivateKey) -> Result<Vec<u8>, Malformed> {
    // Windows notes in the key itself what it may be used for: 0x10 is "exchange".
    let usage = attribute("2.5.29.15", &der::write(der::BIT_STRING, &[0, 0x10]));
    let (algorithm, encrypted) = encrypt(&key.to_pkcs8_with(&usage)?)?;
    let shrouded = der::sequence(&[&algorithm, &octets(&encrypted)]);
    let attributes =
        [attribute(LOCAL_KEY_ID, &octets(&KEY_ID)), attribute(FRIENDLY_NAME, &bmp(&ids::guid())), attribute(PROVIDER_NAME, &bmp(PROVIDER))];
    Ok(der::sequence(&[&bag(SHROUDED_KEY_BAG, &shrouded, &attributes.concat())]))
}

fn certificate_safe(chain: &[Certificate], with_key: bool) -> Result<Vec<u8>, Malformed> {
    let bags = chain.iter().enumerate().map(|(index, certificate)| {
        let value = der::sequence(&[&der::oid(X509_CERTIFICATE), &der::write(der::context(0), &octets(&certificate.der))]);
        let attributes = if index == 0 && with_key { attribute(LOCAL_KEY_ID, &octets(&KEY_ID)) } else { Vec::new() };
        bag(CERTIFICATE_BAG, &value, &attributes)
    });
    let (algorithm, encrypted) = encrypt(&der::write(der::SEQUENCE, &bags.collect::<Vec<_>>().concat()))?;
    let content = der::sequence(&[&der::oid(DATA), &algorithm, &der::write(der::primitive(0), &encrypted)]);
    Ok(der::sequence(&[&der::integer(&[0]), &content]))
}

fn encrypt(plain: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Malformed> {
    let salt = random::<8>()?;
    let parameters = der::sequence(&[&octets(&salt), &der::integer(&ROUNDS.to_be_bytes())]);
    let encrypted = derive::encrypt(PASSWORD, Parameters { salt: &salt, rounds: ROUNDS }, plain);
    Ok((der::sequence(&[&der::oid(TRIPLE_DES), &parameters]), encrypted))
}

fn content_info(kind: &str, content: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::oid(kind), &der::write(der::context(0), content)])
}

fn bag(kind: &str, value: &[u8], attributes: &[u8]) -> Vec<u8> {
    let attributes = if attributes.is_empty() { Vec::new() } else { der::write(der::SET, attributes) };
    der::sequence(&[&der::oid(kind), &der::write(der::context(0), value), &attributes])
}

fn attribute(kind: &str, value: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::oid(kind), &der::write(der::SET, value)])
}

fn octets(content: &[u8]) -> Vec<u8> {
    der::write(der::OCTET_STRING, content)
}

fn bmp(text: &str) -> Vec<u8> {
    let units: Zeroizing<Vec<u8>> = Zeroizing::new(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
    der::write(der::BMP_STRING, &units)
}
