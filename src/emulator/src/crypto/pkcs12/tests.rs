//! Against files with the byte layout of the real service, and files of OpenSSL.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::crypto::der::{self, Reader};
use crate::crypto::pem;
use crate::crypto::x509::ordered;

use super::derive::{self, Parameters};
use super::{Error, read, write};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/pfx");

fn fixture(name: &str) -> String {
    std::fs::read_to_string(format!("{FIXTURES}/{name}")).unwrap()
}

fn pfx(name: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(fixture(&format!("{name}.b64")).split_whitespace().collect::<String>()).unwrap()
}

const NAMES: [&str; 10] = [
    "kv-rsa-selfsigned",
    "kv-rsa-chain3",
    "kv-rsa-chain3-root-first",
    "kv-ec-p256",
    "kv-ec-p384",
    "kv-ec-p521",
    "kv-ec-chain3",
    "kv-mac1",
    "kv-bmp-empty-password",
    "ossl-3des",
];

#[test]
fn every_file_of_key_vault_gives_its_key_and_its_certificates() {
    for name in NAMES {
        let bundle = read(&pfx(name), "").unwrap();
        let mut certificates = bundle.certificates;
        let key = bundle.key.unwrap();
        let leaf = certificates.iter().position(|certificate| certificate.spki == key.spki()).unwrap();
        let chain = ordered(certificates.remove(leaf), certificates);
        let found: String = chain.iter().map(|certificate| pem::write("CERTIFICATE", &certificate.der)).collect();
        assert_eq!(pem::write("PRIVATE KEY", &key.to_pkcs8().unwrap()) + &found, fixture(&format!("{name}.expected.pem")), "{name}");
    }
}

/// Kinds, numbers and lengths of everything in a file, also of what is encrypted; no salts, keys or names.
fn layout(file: &[u8]) -> String {
    let mut text = String::new();
    let whole = Reader(file).next().unwrap();
    describe(whole, 0, &mut text);
    text
}

fn describe(value: der::Value<'_>, depth: usize, text: &mut String) {
    let content = match value.tag {
        der::OID => der::dotted(value.content),
        der::INTEGER if value.content.len() <= 2 => format!("{:?}", value.content),
        der::BIT_STRING if value.content.len() <= 2 => format!("{:?}", value.content),
        _ => String::new(),
    };
    writeln!(text, "{:depth$}{:02x} {content}", "", value.tag).unwrap();
    let (outer, mut inner) = (value, value.inner());
    if let Some((plain, rest)) = decrypted(outer) {
        describe(Reader(&plain).next().unwrap(), depth + 2, text);
        rest.into_iter().for_each(|value| describe(value, depth + 1, text));
    } else if value.tag == der::OCTET_STRING && value.content.first() == Some(&der::SEQUENCE) {
        // A salt may begin with the same byte by chance.
        inner.next().into_iter().for_each(|value| describe(value, depth + 1, text));
    } else if value.tag & 0x20 != 0 {
        inner.values().for_each(|value| describe(value, depth + 1, text));
    }
}

/// The plain text of an algorithm with its encrypted bytes, and the other values beside it.
fn decrypted(value: der::Value<'_>) -> Option<(Vec<u8>, Vec<der::Value<'_>>)> {
    let values: Vec<_> = if value.tag == der::SEQUENCE { value.inner().values().collect() } else { return None };
    let (encrypted, others) = values.split_last()?;
    let mut algorithm = others.last()?.inner();
    if algorithm.oid()? != super::TRIPLE_DES {
        return None;
    }
    let mut parameters = algorithm.enter(der::SEQUENCE)?;
    let salt = parameters.expect(der::OCTET_STRING)?.content;
    let plain = derive::decrypt(b"", Parameters { salt, rounds: 2000 }, encrypted.content)?;
    Some((plain.to_vec(), others.to_vec()))
}

#[test]
fn what_is_written_has_the_layout_of_the_real_service() {
    for name in ["kv-rsa-selfsigned", "kv-rsa-chain3"] {
        let original = pfx(name);
        let bundle = read(&original, "").unwrap();
        let written = write(bundle.key.as_ref(), &bundle.certificates).unwrap();
        let expected = layout(&original);
        assert!(expected.lines().count() > 100 && expected.contains("1.2.840.113549.1.12.10.1.3"), "{expected}");
        assert_eq!(layout(&written), expected, "{name}");
        assert_eq!(written.len(), original.len(), "{name}");
    }
}

#[test]
fn another_password_and_other_algorithms_are_distinguished() {
    assert_eq!(read(&pfx("kv-rsa-selfsigned"), "guess").err(), Some(Error::Password));
    assert_eq!(read(&pfx("ossl-aes256-pbes2"), "").err(), Some(Error::Format));
    assert_eq!(read(b"no file at all", "").err(), Some(Error::Format));
}

#[test]
fn a_broken_file_never_panics() {
    let original = pfx("kv-ec-p256");
    for index in (0..original.len()).step_by(13) {
        assert!(read(&original[..index], "").is_err());
        let mut broken = original.clone();
        broken[index] ^= 0x55;
        let _ = read(&broken, "");
    }
}
