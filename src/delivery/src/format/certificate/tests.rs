mod hostile;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::format::der::{self, OCTET_STRING, OID, Reader, SEQUENCE, context, sequence, unsigned};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/pfx")
}

fn file(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

fn read(text: &str) -> Result<Certificate, String> {
    Certificate::read(&SecretValue::from(text.to_owned())).map_err(|error| error.to_string())
}

fn vector(name: &str) -> Certificate {
    read(&file(&format!("{name}.b64"))).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every vector that can be read.
fn vectors() -> Vec<String> {
    let names = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter_map(|name| Some(name.strip_suffix(".b64")?.to_owned())).filter(|name| name != "ossl-rc2-40").collect();
    names.sort();
    assert_eq!(names.len(), 15);
    names
}

fn text(value: &SecretValue) -> String {
    String::from_utf8(value.expose().to_vec()).unwrap()
}

fn part(certificate: &Certificate, part: CertificatePart) -> Option<String> {
    certificate.part(part, None).unwrap().map(|bytes| text(&bytes))
}

fn blocks(text: &str) -> Vec<String> {
    text.split_inclusive("-----\n").collect::<Vec<_>>().chunks(2).map(|pair| pair.concat()).collect()
}

/// All vectors are valid then.
const THEN: Duration = Duration::from_secs(1_800_000_000);

fn remarks(certificate: &Certificate) -> Vec<(bool, String)> {
    certificate.remarks(SystemTime::UNIX_EPOCH + THEN).into_iter().map(|remark| (remark.is_warning, remark.text)).collect()
}

#[test]
fn every_file_that_key_vault_or_openssl_writes_gives_its_key_and_chain() {
    for name in vectors() {
        let expected = file(&format!("{name}.expected.pem"));
        let certificate = vector(&name);
        assert_eq!(text(&certificate.bundle()), expected, "{name}");
        let (key, chain) = expected.split_at(expected.find("-----BEGIN CERTIFICATE").unwrap());
        assert_eq!(part(&certificate, CertificatePart::Key).as_deref(), Some(key), "{name}");
        assert_eq!(part(&certificate, CertificatePart::Chain).as_deref(), Some(chain), "{name}");
        assert_eq!(part(&certificate, CertificatePart::Ca).as_ref(), blocks(chain).last(), "{name}: all of them end in a root");
        assert_eq!(remarks(&certificate), [], "{name}");
    }
}

#[test]
fn pem_that_key_vault_keeps_gives_the_same() {
    for name in ["kv-pem-chain3", "kv-pem-ec"] {
        let stored = file(&format!("{name}.secret.pem"));
        assert_eq!(text(&read(&stored).unwrap().bundle()), stored, "{name}");
    }
}

#[test]
fn rc2_is_refused_in_plain_words() {
    assert_eq!(
        read(&file("ossl-rc2-40.b64")).unwrap_err(),
        "the PKCS#12 file cannot be read: it is encrypted with RC2, which is not read: write it again with 3DES or AES"
    );
}

#[test]
fn a_chain_is_ordered_by_issuer_from_any_order() {
    let expected = file("kv-rsa-chain3.expected.pem");
    let parts = blocks(&expected);
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 2, 0], [3, 1, 0, 2], [2, 3, 0, 1]] {
        let shuffled: String = order.iter().map(|index| parts[*index].as_str()).collect();
        assert_eq!(text(&read(&shuffled).unwrap().bundle()), expected, "{order:?}");
        let twice = format!("{shuffled}{shuffled}");
        assert_eq!(text(&read(&twice).unwrap().bundle()), expected, "{order:?} twice");
    }
    // Without a key the leaf is the one that issued no other.
    let certificates: String = [3, 1, 2].iter().map(|index| parts[*index].as_str()).collect();
    let public = read(&certificates).unwrap();
    assert!(!public.has_key());
    assert_eq!(part(&public, CertificatePart::Chain).unwrap(), parts[1..].concat());
    assert_eq!((part(&public, CertificatePart::Key), text(&public.bundle())), (None, parts[1..].concat()));
}

#[test]
fn a_gap_is_reported_with_the_issuer_that_is_missing() {
    let parts = blocks(&file("kv-rsa-chain3.expected.pem"));
    let (key, leaf, intermediate, root) = (&parts[0], &parts[1], &parts[2], &parts[3]);

    let alone = read(&[key.as_str(), leaf].concat()).unwrap();
    let gap = "the chain ends at CN=app.example.test: its issuer CN=kv vector intermediate is not stored with it";
    assert_eq!(remarks(&alone), [(true, gap.to_owned())]);
    assert_eq!(part(&alone, CertificatePart::Ca), None);

    let hole = read(&[key.as_str(), leaf, root].concat()).unwrap();
    assert_eq!(remarks(&hole), [(true, gap.to_owned())]);
    assert_eq!((part(&hole, CertificatePart::Chain).as_ref(), part(&hole, CertificatePart::Ca).as_ref()), (Some(leaf), Some(root)));

    let rootless = read(&[key.as_str(), leaf, intermediate].concat()).unwrap();
    let open = "the chain ends at CN=kv vector intermediate: its issuer CN=kv vector root is not stored with it";
    assert_eq!(remarks(&rootless), [(false, open.to_owned())]);
    assert_eq!(part(&rootless, CertificatePart::Ca).as_ref(), Some(intermediate));

    let stray = &blocks(&file("kv-ec-p256.expected.pem"))[1];
    let with_stray_root = read(&[key.as_str(), leaf, intermediate, root, stray].concat()).unwrap();
    assert_eq!((remarks(&with_stray_root), part(&with_stray_root, CertificatePart::Ca)), (vec![], Some([root.as_str(), stray].concat())));

    let other = blocks(&file("kv-ec-chain3.expected.pem"));
    let with_stray = read(&[key.as_str(), leaf, intermediate, root, &other[1]].concat()).unwrap();
    assert_eq!(remarks(&with_stray), [(true, "the certificate CN=ecapp.example.test is not part of the chain and is left out".to_owned())]);
}

/// An authority: what it signs with, and its own certificate, signed by itself.
fn authority(name: &str) -> (rcgen::CertifiedIssuer<'static, rcgen::KeyPair>, String) {
    let parameters = authority_parameters(name);
    let issuer = rcgen::CertifiedIssuer::self_signed(parameters, rcgen::KeyPair::generate().unwrap()).unwrap();
    let pem = issuer.pem().replace("\r\n", "\n");
    (issuer, pem)
}

#[test]
fn of_two_authorities_with_one_name_the_one_with_the_right_key_is_taken() {
    let ((_, old), (issuer, new)) = (authority("CA"), authority("CA"));
    for names_its_issuers_key in [true, false] {
        let mut parameters = rcgen::CertificateParams::new(vec!["app.example".to_owned()]).unwrap();
        parameters.use_authority_key_identifier_extension = names_its_issuers_key;
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = parameters.signed_by(&key, &issuer).unwrap().pem().replace("\r\n", "\n");
        for order in [[&old, &new], [&new, &old]] {
            let stored = read(&[&leaf, &key.serialize_pem(), order[0], order[1]].map(String::as_str).concat()).unwrap();
            // Without the identifier there is nothing to choose by.
            let expected = if names_its_issuers_key { &new } else { order[0] };
            assert_eq!(part(&stored, CertificatePart::Chain).unwrap(), [leaf.as_str(), expected].concat());
        }
    }
}

fn authority_parameters(name: &str) -> rcgen::CertificateParams {
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.use_authority_key_identifier_extension = true;
    parameters
}

#[test]
fn a_chain_with_a_cross_signed_intermediate_reaches_the_root_that_is_stored() {
    let ((root, root_pem), (elsewhere, elsewhere_pem)) = (authority("Root"), authority("Elsewhere"));
    let key = rcgen::KeyPair::generate().unwrap();
    let intermediate = authority_parameters("Intermediate");
    let [own, cross] = [&root, &elsewhere].map(|issuer| intermediate.signed_by(&key, issuer).unwrap().pem().replace("\r\n", "\n"));
    let issuer = rcgen::Issuer::new(intermediate, key);
    let leaf_key = rcgen::KeyPair::generate().unwrap();
    let mut leaf = rcgen::CertificateParams::new(vec!["app.example".to_owned()]).unwrap();
    leaf.use_authority_key_identifier_extension = true;
    let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap().pem().replace("\r\n", "\n");
    let leaf_key = leaf_key.serialize_pem();
    for order in [[&cross, &own, &root_pem], [&own, &cross, &root_pem], [&root_pem, &cross, &own]] {
        let stored = read(&[&leaf_key, &leaf, order[0], order[1], order[2]].map(String::as_str).concat()).unwrap();
        assert_eq!(part(&stored, CertificatePart::Chain).unwrap(), [leaf.as_str(), &own, &root_pem].concat());
        assert_eq!(part(&stored, CertificatePart::Ca).as_ref(), Some(&root_pem));
        assert_eq!(remarks(&stored), [(false, "the certificate CN=Intermediate is not part of the chain and is left out".to_owned())]);
    }
    // With both roots stored, both are trusted; the chain is one of the two.
    let both = read(&[&leaf_key, &leaf, &cross, &own, &elsewhere_pem, &root_pem].map(String::as_str).concat()).unwrap();
    assert_eq!(part(&both, CertificatePart::Chain).unwrap(), [leaf.as_str(), &cross, &elsewhere_pem].concat());
    assert_eq!(part(&both, CertificatePart::Ca).unwrap(), [elsewhere_pem.as_str(), &root_pem].concat());
}

#[test]
fn a_key_that_belongs_to_no_certificate_is_an_error() {
    let (rsa, ec) = (blocks(&file("kv-rsa-chain3.expected.pem")), blocks(&file("kv-ec-p256.expected.pem")));
    let expected = |subjects: &str| {
        format!("the private key belongs to none of the certificates ({subjects}): store key and certificate that were made together")
    };
    let subjects = "CN=app.example.test; CN=kv vector intermediate; CN=kv vector root";
    assert_eq!(read(&[ec[0].as_str(), &rsa[1..].concat()].concat()).unwrap_err(), expected(subjects));
    assert_eq!(read(&[rsa[0].as_str(), &ec[1]].concat()).unwrap_err(), expected("CN=ec256.example.test"));
    assert_eq!(read(&rsa[0]).unwrap_err(), "the value holds no certificate");
}

#[test]
fn keys_are_read_in_their_older_forms_and_without_their_public_half() {
    for name in ["kv-rsa-selfsigned", "kv-ec-p256", "kv-ec-p384", "kv-ec-p521"] {
        let (expected, certificate) = (file(&format!("{name}.expected.pem")), vector(name));
        let pkcs8 = certificate.key.as_ref().unwrap().pkcs8.expose().to_vec();
        let mut fields = Reader::new(&pkcs8).nested(SEQUENCE).unwrap();
        fields.next().unwrap();
        let algorithm = fields.next().unwrap();
        let inner = fields.expect(OCTET_STRING).unwrap().content;
        let chain = part(&certificate, CertificatePart::Chain).unwrap();
        if name.starts_with("kv-rsa") {
            let older = text(&pem::text([("RSA PRIVATE KEY", inner)]));
            assert_eq!(text(&read(&(older + &chain)).unwrap().bundle()), expected, "{name}");
            continue;
        }
        let mut curve = algorithm.reader();
        curve.next().unwrap();
        let curve = curve.expect(OID).unwrap();
        let mut parts = Reader::new(inner).nested(SEQUENCE).unwrap();
        parts.next().unwrap();
        let scalar = parts.expect(OCTET_STRING).unwrap();
        let older = sequence(&[&unsigned(&[1]), scalar.whole, &der::element(context(0), &[curve.whole])]);
        let older = text(&pem::text([("EC PRIVATE KEY", older.as_slice())]));
        assert_eq!(part(&read(&(older + &chain)).unwrap(), CertificatePart::Chain).as_ref(), Some(&chain), "{name}: found by computing");
        // Java's form: neither curve nor public key inside, and leading zeros of the number left out.
        let short = der::element(OCTET_STRING, &[der::trim_zeros(scalar.content)]);
        let bare = sequence(&[&unsigned(&[0]), algorithm.whole, &der::element(OCTET_STRING, &[&sequence(&[&unsigned(&[1]), &short])])]);
        let bare = text(&pem::text([("PRIVATE KEY", bare.as_slice())]));
        assert_eq!(text(&read(&(bare.clone() + &chain)).unwrap().bundle()), bare + &chain, "{name}: kept as it is");
    }
}

#[test]
fn a_pfx_stays_as_it_is_stored_unless_a_password_or_pem_makes_a_new_one() {
    let stored = file("kv-ec-chain3.b64");
    let kept = read(&stored).unwrap().part(CertificatePart::Pfx, None).unwrap().unwrap();
    assert_eq!(kept, encoding::decode(&SecretValue::from(stored), Encoding::Base64).unwrap());
    let expected = file("kv-pem-chain3.secret.pem");
    let made = read(&expected).unwrap().part(CertificatePart::Pfx, None).unwrap().unwrap();
    let again = text(&SecretValue::new(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, made.expose()).into_bytes()));
    assert_eq!(text(&read(&again).unwrap().bundle()), expected);
    let locked = vector("kv-ec-chain3").part(CertificatePart::Pfx, Some(&SecretValue::from("pw".to_owned()))).unwrap().unwrap();
    let locked = text(&SecretValue::new(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, locked.expose()).into_bytes()));
    assert_eq!(
        read(&locked).unwrap_err(),
        "the PKCS#12 file cannot be read: it has a password; Key Vault keeps certificates without one: import it as a certificate"
    );
    let error = |certificate: &Certificate, password: &[u8]| {
        certificate.part(CertificatePart::Pfx, Some(&SecretValue::new(password.to_vec()))).unwrap_err().to_string()
    };
    assert_eq!(error(&vector("kv-ec-p256"), b"\xff"), "the password for the PFX is not UTF-8 text");
    let public = read(&blocks(&expected)[1..].concat()).unwrap();
    assert!(error(&public, b"pw").starts_with("it has no private key (its policy may say that the key is not exportable)"));
}

#[test]
fn a_key_on_p256k_is_matched_by_the_public_key_that_it_carries() {
    let stored = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/seeds/certificate/p256k")).unwrap();
    assert_eq!(text(&read(&stored).unwrap().bundle()), stored);
    let [key, certificate] = &pem::blocks(stored.as_bytes()).unwrap()[..] else { panic!("one key, one certificate") };
    let mut fields = Reader::new(key.der.expose()).nested(SEQUENCE).unwrap();
    fields.next().unwrap();
    let algorithm = fields.next().unwrap();
    let mut inner = fields.nested(OCTET_STRING).unwrap().nested(SEQUENCE).unwrap();
    let (version, scalar) = (inner.next().unwrap(), inner.next().unwrap());
    let bare = der::element(OCTET_STRING, &[&sequence(&[version.whole, scalar.whole])]);
    let bare = sequence(&[&unsigned(&[0]), algorithm.whole, &bare]);
    let error = read(&text(&pem::text([("CERTIFICATE", certificate.der.expose()), ("PRIVATE KEY", &bare)]))).unwrap_err();
    assert!(error.contains(": the private key is on the curve P-256K, and without its public key"), "{error}");
}

#[test]
fn the_public_part_alone_is_a_chain_without_a_key() {
    let certificate = vector("kv-rsa-chain3");
    let public = Certificate::public(&certificate.chain[0].der).unwrap();
    assert_eq!(part(&public, CertificatePart::Chain).as_ref(), Some(&blocks(&file("kv-rsa-chain3.expected.pem"))[1]));
    assert_eq!((part(&public, CertificatePart::Key), part(&public, CertificatePart::Ca)), (None, None));
    assert_eq!(Certificate::public(b"x").unwrap_err().to_string(), "certificate 1 of the value is damaged at byte 0");
}

#[test]
fn certificates_that_have_ended_and_keys_that_did_not_come_are_reported() {
    let certificate = vector("kv-rsa-chain3");
    let ends = certificate.chain.iter().filter_map(|certificate| certificate.not_after).min().unwrap();
    let told = |certificate: &Certificate, now: u64| {
        let remarks = certificate.remarks(SystemTime::UNIX_EPOCH + Duration::from_secs(now));
        remarks.into_iter().map(|remark| (remark.is_warning, remark.text)).collect::<Vec<_>>()
    };
    assert_eq!(told(&certificate, ends - 1), []);
    assert!(told(&certificate, ends + 3 * 86_400 + 1).contains(&(true, "CN=app.example.test expired 3 days ago".to_owned())));
    let public = read(&part(&certificate, CertificatePart::Chain).unwrap()).unwrap();
    let line = "it came without its private key, as one does whose policy says that it is not exportable: only the public part is written";
    assert_eq!(told(&public, ends - 1), [(false, line.to_owned())]);
}

#[test]
fn what_is_no_certificate_is_reported_with_its_place_and_never_shown() {
    let canary = "canary";
    for (stored, expected) in [
        ("", "the PKCS#12 file cannot be read: it is damaged, or no PKCS#12 at all, at byte 0"),
        ("correct horse", "the PKCS#12 file cannot be read: it is damaged, or no PKCS#12 at all, at byte 0"),
        (
            "canary!",
            "the value is neither PEM nor a PKCS#12 file in base64, as the secret of a certificate is (the value is not base64: character 7 is none of its letters)",
        ),
        (
            "\n-----BEGIN CERTIFICATE-----\ncanaryAA\n-----END CERTIFICATE-----\n",
            "the PEM text cannot be read: line 2: the block \"CERTIFICATE\" does not hold one, or a damaged one",
        ),
        (
            "-----BEGIN PRIVATE KEY-----\ncanaryAA\n-----END PRIVATE KEY-----\n",
            "the PEM text cannot be read: line 1: the block \"PRIVATE KEY\" does not hold one, or a damaged one",
        ),
        (
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "line 1: the private key has a password; Key Vault keeps keys without one: import it as a certificate",
        ),
        (
            "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-----END PRIVATE KEY-----\n",
            "line 1: the private key is of a kind that is not read: RSA, P-256, P-384, P-521 and P-256K are",
        ),
    ] {
        let error = read(stored).unwrap_err();
        assert_eq!(error, expected, "{stored}");
        assert!(!error.contains(canary));
    }
    let debug = format!("{:?}", vector("kv-ec-p256"));
    assert!(debug.contains("pkcs8: SecretValue(redacted)") && debug.contains("pfx: Some(SecretValue(redacted))"), "{debug}");
}
