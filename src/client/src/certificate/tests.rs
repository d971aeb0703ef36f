use std::time::UNIX_EPOCH;

use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use ring::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::Value;

use super::*;

const KEY: &str = include_str!("../../../../tests/fixtures/sa.key.pem");
const OTHER: &str = include_str!("../../../../tests/fixtures/stranger.key.pem");
const CLIENT: &str = "0f1e2d3c-1111-4222-8333-444455556666";
const ENDPOINT: &str = "https://login.microsoftonline.com/aaaabbbb-1111-4222-8333-444455556666/oauth2/v2.0/token";

fn certificate_of(key: &str) -> rcgen::Certificate {
    CertificateParams::new(Vec::new()).unwrap().self_signed(&KeyPair::from_pem(key).unwrap()).unwrap()
}

fn json(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[test]
fn an_assertion_is_what_entra_asks_for_and_signed_by_the_certificates_key() {
    let leaf = certificate_of(KEY);
    let certificate = Certificate::from_pem(&format!("{KEY}{}", leaf.pem())).unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let assertion = certificate.assertion(CLIENT, ENDPOINT, now).unwrap();

    let [header, claims, signature] = assertion.split('.').collect::<Vec<_>>()[..] else { panic!("{}", *assertion) };
    let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, leaf.der()));
    assert_eq!(json(header), json!({"alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint}));
    let mut told = json(claims);
    let id = told.as_object_mut().unwrap().remove("jti").unwrap();
    assert_eq!(URL_SAFE_NO_PAD.decode(id.as_str().unwrap()).unwrap().len(), 16);
    assert_eq!(told, json!({"aud": ENDPOINT, "iss": CLIENT, "sub": CLIENT, "iat": 1_800_000_000, "nbf": 1_800_000_000, "exp": 1_800_000_600}));
    let key = KeyPair::from_pem(KEY).unwrap();
    let verify = |message: &str| {
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key.public_key_raw()).verify(message.as_bytes(), &signature)
    };
    assert!(verify(&format!("{header}.{claims}")).is_ok());
    assert!(verify(&format!("{header}.{claims}x")).is_err());

    let again = certificate.assertion(CLIENT, ENDPOINT, now).unwrap();
    assert_ne!(json(again.split('.').nth(1).unwrap())["jti"], id, "no two assertions are one");
}

#[test]
fn key_and_certificates_stand_in_any_order_and_the_keys_own_certificate_counts() {
    let (leaf, issuer) = (certificate_of(KEY).pem(), certificate_of(OTHER).pem());
    let expected = Certificate::from_pem(&format!("{KEY}{leaf}")).unwrap().thumbprint;
    let pkcs1 = {
        // The key without its PKCS#8 wrapping.
        let der = STANDARD.decode(KEY.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap();
        format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n", STANDARD.encode(&der[26..]))
    };
    for text in [
        format!("{leaf}{KEY}"),
        format!("{issuer}{leaf}{KEY}"),
        format!("Bag Attributes\n    friendlyName: app\n{KEY}subject=CN = app\n{leaf}{issuer}"),
        format!("{KEY}{leaf}").replace('\n', "\r\n"),
        format!("{pkcs1}{leaf}"),
    ] {
        assert_eq!(Certificate::from_pem(&text).map(|certificate| certificate.thumbprint), Ok(expected.clone()), "{text}");
    }
}

#[test]
fn what_is_no_client_certificate_is_distinguished() {
    let leaf = certificate_of(KEY).pem();
    let ec = KeyPair::generate().unwrap().serialize_pem();
    let block = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    let no_key = "it has no private key: write the key's PEM and the certificate's PEM into it, one after the other";
    let unread = "its private key cannot be read: an RSA key as PKCS#8 or PKCS#1 is expected";
    let no_match = |count: usize| format!("none of its certificates ({count}) belongs to its private key");
    for (text, expected) in [
        (String::new(), no_key),
        ("-----BEGIN PRIVATE KEY-----\nAA==".to_owned(), "it is not PEM text: line 1: the block \"PRIVATE KEY\" has no end"),
        (block("PRIVATE KEY", "*"), "it is not PEM text: line 2: the block \"PRIVATE KEY\" is not base64, or is cut off"),
        (leaf.clone(), no_key),
        (block("ENCRYPTED PRIVATE KEY", "AA=="), "its private key is encrypted: write it without a password"),
        (
            block("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\n\nAA=="),
            "it is not PEM text: line 2: the block \"RSA PRIVATE KEY\" is encrypted with a password",
        ),
        (block("PRIVATE KEY", "AA=="), unread),
        (block("DSA PRIVATE KEY", "AA=="), unread),
        (format!("{ec}{leaf}"), "its private key is not RSA: Entra takes RSA keys only"),
        (KEY.to_owned(), &no_match(0)),
        (format!("{KEY}{}", certificate_of(OTHER).pem()), &no_match(1)),
        (format!("{KEY}{}", block("CERTIFICATE", "AA==")), &no_match(1)),
    ] {
        assert_eq!(Certificate::from_pem(&text).err().map(|error| error.to_string()).as_deref(), Some(expected), "{text}");
    }
}
