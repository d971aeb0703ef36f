use serde_json::{Value, json};

use super::*;

fn known() -> Vec<Value> {
    serde_json::from_str(include_str!("../../../../../tests/fixtures/jwk.json")).unwrap()
}

fn key(jwk: &Value) -> Result<Key, String> {
    Key::read(&serde_json::from_value(jwk.clone()).unwrap()).map_err(|error| error.to_string())
}

fn text(value: &SecretValue) -> String {
    String::from_utf8(value.expose().to_vec()).unwrap()
}

#[test]
fn every_kind_of_key_gives_the_pem_that_openssl_writes() {
    let known = known();
    assert_eq!(known.len(), 5);
    for jwk in &known {
        assert_eq!(text(&key(jwk).unwrap().pem()), jwk["pem"].as_str().unwrap(), "{jwk}");
    }
    let spki = pem::blocks(known[1]["pem"].as_str().unwrap().as_bytes()).unwrap().remove(0).der;
    assert_eq!(PublicKey::from_spki(spki.expose()).unwrap(), Some(key(&known[1]).unwrap().key), "read back");
}

#[test]
fn a_jwk_has_the_standards_names_in_the_order_of_the_alphabet() {
    let known = known();
    for (jwk, kty, crv) in
        [(&known[0], "RSA", None), (&known[1], "EC", Some("P-256")), (&known[3], "EC", Some("P-521")), (&known[4], "EC", Some("secp256k1"))]
    {
        let mut jwk = jwk.clone();
        jwk["kid"] = json!("https://p.vault.azure.net/keys/a/1\"");
        let written = text(&key(&jwk).unwrap().jwk());
        let read: serde_json::Map<String, Value> = serde_json::from_str(&written).unwrap();
        let mut expected = json!({"kid": jwk["kid"], "kty": kty});
        for (name, value) in jwk.as_object().unwrap().iter().filter(|(name, _)| ["n", "e", "x", "y"].contains(&name.as_str())) {
            expected[name] = value.clone();
        }
        if let Some(crv) = crv {
            expected["crv"] = json!(crv);
        }
        assert_eq!(Value::Object(read.clone()), expected);
        let mut members: Vec<&String> = read.keys().collect();
        members.sort();
        let places: Vec<usize> = members.iter().map(|name| written.find(&format!("\"{name}\":")).unwrap()).collect();
        assert!(places.is_sorted() && !written.contains(' '), "{written}");
    }
}

#[test]
fn numbers_may_be_padded_and_short_and_come_out_in_full() {
    let jwk = &known()[1];
    let mut other = jwk.clone();
    // The first byte is a zero; some writers leave it out.
    let bytes = URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap();
    assert_eq!(bytes[0], 0);
    other["x"] = json!(format!("{}==", URL_SAFE_NO_PAD.encode(&bytes[1..])));
    assert_eq!(key(&other), key(jwk));
    let rsa = &known()[0];
    let mut other = rsa.clone();
    other["e"] = json!("AAABAAE=");
    assert_eq!(key(&other), key(rsa));
}

#[test]
fn what_has_no_public_part_or_is_no_key_is_refused_in_words() {
    let (rsa, ec) = (&known()[0], &known()[1]);
    let long = "A".repeat(1_000_000);
    for (from, member, value, expected) in [
        (rsa, "kty", "oct-HSM", "a key of type \"oct-HSM\" has no public part: only RSA and EC keys have one"),
        (ec, "crv", "P-999", "the curve \"P-999\" is not known: P-256, P-384, P-521 and P-256K are"),
        (ec, "x", "", "member \"x\" of the key is not a number that such a key can have"),
        (ec, "y", "!", "member \"y\" of the key is not a number that such a key can have"),
        (ec, "crv", "P-384", ""),
        (rsa, "n", "AAAA", "member \"n\" of the key is not a number that such a key can have"),
        (rsa, "e", "", "member \"e\" of the key is not a number that such a key can have"),
        (rsa, "kty", "EC", "the curve \"\" is not known: P-256, P-384, P-521 and P-256K are"),
    ] {
        let mut jwk = from.clone();
        jwk[member] = json!(value);
        assert_eq!(key(&jwk).err().unwrap_or_default(), expected, "{member} {value}");
    }
    for (from, member) in [(rsa, "n"), (ec, "x")] {
        let mut jwk = from.clone();
        jwk[member] = json!(format!("B{long}"));
        assert_eq!(key(&jwk).unwrap_err(), format!("member \"{member}\" of the key is not a number that such a key can have"));
    }
}
