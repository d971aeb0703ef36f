use super::*;
use crate::format::der::{self, element, sequence, unsigned};

fn password(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect()
}

#[test]
fn what_is_written_can_be_read_with_its_password_and_with_no_other() {
    let (key, chain) = (vec![7; 300], [vec![1; 500], vec![2; 600]]);
    let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    for text in ["", "s3cret pässwörd €😀"] {
        let file = write(&key, &chain, text).unwrap();
        let bmp = password(text);
        let right = Password { bmp: &bmp, utf8: text.as_bytes() };
        let contents = read_with(file.expose(), [WITHOUT[0], right]).unwrap();
        assert_eq!(contents.certificates, chain);
        assert_eq!(contents.keys, [SecretValue::new(key.clone())]);
        let other = Password { bmp: &password("other"), utf8: b"other" };
        assert_eq!(read_with(file.expose(), [WITHOUT[0], other]).unwrap_err(), Pkcs12Error::Password);
    }
    let again = |password| write(&key, &chain, password).unwrap();
    assert_ne!(again(""), again(""), "salts are drawn anew");
}

/// An algorithm identifier as Key Vault writes it, but with this many iterations.
fn sha1_3des(iterations: &[u8]) -> Vec<u8> {
    let parameters = sequence(&[&element(OCTET_STRING, &[&[1; 8]]), &element(INTEGER, &[iterations])]);
    sequence(&[&element(OID, &[oid::SHA1_3DES]), &parameters]).to_vec()
}

#[test]
fn no_file_makes_us_work_for_ever() {
    let open = |algorithm: &[u8], work: &mut Work| {
        let reader = Reader::new(algorithm).nested(SEQUENCE).unwrap();
        derive::decrypt(reader, WITHOUT[0], &[0; 16], work).unwrap_err()
    };
    for (iterations, told) in [(&[0x7f, 0xff, 0xff, 0xff][..], 0x7fff_ffff), (&[0], 0), (&[0x09, 0x27, 0xc1], 600_001)] {
        let error = open(&sha1_3des(iterations), &mut Work::new());
        assert_eq!(error.to_string(), format!("it asks for {told} iterations, and 1 to 600000 are possible"));
    }
    assert!(matches!(open(&sha1_3des(&[1, 0, 0, 0, 0]), &mut Work::new()), Pkcs12Error::Damaged { .. }));
    let mut work = Work::new();
    (0..4).for_each(|_| work.charge(600_000).unwrap());
    assert_eq!(open(&sha1_3des(&[1]), &mut work), Pkcs12Error::Work);
    let mac_work = Work::new().charge(600_001);
    assert_eq!(mac_work.unwrap_err(), Pkcs12Error::Iterations { iterations: 600_001 });
}

#[test]
fn files_that_are_too_long_or_hold_too_much_are_refused() {
    assert_eq!(read(&vec![0x30; MAX_BYTES + 1]).unwrap_err(), Pkcs12Error::Length { bytes: MAX_BYTES + 1 });
    let bag = plain_bag(
        oid::CERTIFICATE_BAG,
        &sequence(&[&element(OID, &[oid::X509_CERTIFICATE]), &element(context(0), &[&element(OCTET_STRING, &[b"x"])])]),
    );
    let bags: Vec<&[u8]> = std::iter::repeat_n(bag.as_slice(), MOST + 1).collect();
    assert_eq!(read(&file(&sequence(&bags))).unwrap_err(), Pkcs12Error::Most);
    assert_eq!(read(&file(&sequence(&bags[..MOST]))).unwrap().certificates.len(), MOST);
}

#[test]
fn algorithms_that_are_not_read_are_distinguished_from_damage() {
    let open = |name: &[u8]| {
        let algorithm = sequence(&[&element(OID, &[name]), &sequence(&[])]);
        derive::decrypt(Reader::new(&algorithm).nested(SEQUENCE).unwrap(), WITHOUT[0], b"", &mut Work::new()).unwrap_err()
    };
    assert_eq!((open(oid::SHA1_RC2_40), open(oid::SHA1_RC2_128), open(oid::SHA256)), (Pkcs12Error::Rc2, Pkcs12Error::Rc2, Pkcs12Error::Algorithm));
    assert!(matches!(open(oid::SHA1_3DES), Pkcs12Error::Damaged { .. }));
}

fn plain_bag(kind: &[u8], value: &[u8]) -> Vec<u8> {
    sequence(&[&element(OID, &[kind]), &element(context(0), &[value])]).to_vec()
}

/// A file in which nothing is encrypted and nothing authenticated, so that a change anywhere gets as deep as it can.
fn file(bags: &[u8]) -> Vec<u8> {
    let data = |bytes: &[u8]| sequence(&[&element(OID, &[oid::DATA]), &element(context(0), &[&element(OCTET_STRING, &[bytes])])]);
    sequence(&[&unsigned(&[3]), &data(&sequence(&[&data(bags)]))]).to_vec()
}

/// The same contents as [`file`] has them.
pub(in crate::format) fn plain(contents: &Contents) -> Vec<u8> {
    let keys = contents.keys.iter().map(|key| plain_bag(oid::KEY_BAG, key.expose()));
    let certificates = contents.certificates.iter().map(|der| {
        let value = sequence(&[&element(OID, &[oid::X509_CERTIFICATE]), &element(context(0), &[&element(OCTET_STRING, &[der])])]);
        plain_bag(oid::CERTIFICATE_BAG, &value)
    });
    let bags: Vec<Vec<u8>> = keys.chain(certificates).collect();
    let bags: Vec<&[u8]> = bags.iter().map(Vec::as_slice).collect();
    file(&der::sequence(&bags))
}
