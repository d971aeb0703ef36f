use super::*;

fn secret(value: &str, content_type: Option<&str>, of_certificate: bool) -> Object {
    let (value, content_type) = (SecretValue::from(value.to_owned()), content_type.map(str::to_owned));
    Object::Secret(Secret { value, content_type, of_certificate, file_encoding: Encoding::Utf8, version: String::new() }.into())
}

fn rendered(value: &Value, values: &Values<'_>) -> Result<Vec<u8>, String> {
    match render(value, values) {
        Ok(Rendered::File(bytes)) => Ok(bytes.expose().to_vec()),
        Ok(Rendered::Absent(why)) => Err(why.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn of_secret_value(id: &str, property: Option<&str>, encoding: Encoding) -> Value {
    Value::Object { id: id.to_owned(), property: property.map(|path| path.parse().unwrap()), encoding }
}

#[test]
fn a_property_is_picked_first_and_decoded_then() {
    let values = Values::from([("0", secret(r#"{"key":"aGk="}"#, None, false))]);
    assert_eq!(rendered(&of_secret_value("0", Some("key"), Encoding::Base64), &values).unwrap(), b"hi");
    assert_eq!(rendered(&of_secret_value("1", Some("key"), Encoding::Base64), &values).unwrap_err(), "its object does not exist");
}

#[test]
fn the_tag_that_was_stored_with_a_file_holds_if_the_reference_names_none() {
    let bundle = |tags: &str| serde_json::from_str::<Secret>(&format!(r#"{{"value":"6869","tags":{tags}}}"#)).unwrap();
    for (tags, encoding, expected) in [
        (r#"{"file-encoding":"hex"}"#, Encoding::AsTagged, &b"hi"[..]),
        (r#"{"file-encoding":"BASE64","team":"web"}"#, Encoding::AsTagged, b"\xeb\xce\xbd"),
        (r#"{"file-encoding":"hex"}"#, Encoding::Utf8, b"6869"),
        (r#"{"file-encoding":"hex"}"#, Encoding::Base64, b"\xeb\xce\xbd"),
        (r#"{"file-encoding":"utf-16le"}"#, Encoding::AsTagged, b"6869"),
        (r#"{"team":"hex"}"#, Encoding::AsTagged, b"6869"),
        ("null", Encoding::AsTagged, b"6869"),
    ] {
        let values = Values::from([("0", Object::Secret(bundle(tags).into()))]);
        assert_eq!(rendered(&of_secret_value("0", None, encoding), &values).unwrap(), expected, "{tags} {encoding:?}");
    }
}

const PFX: &str = include_str!("../../../../tests/fixtures/pfx/kv-ec-chain3.b64");
const PEM: &str = include_str!("../../../../tests/fixtures/pfx/kv-ec-chain3.expected.pem");

#[test]
fn the_secret_of_a_certificate_is_key_and_chain_as_pem_and_nothing_else_is_touched() {
    let values = Values::from([
        ("pfx", secret(PFX, Some("application/x-pkcs12"), true)),
        ("pem", secret(PEM, Some("application/x-pem-file"), true)),
        ("own", secret(PFX, Some("application/x-pkcs12"), false)),
        ("bad", secret("AAAA", Some("application/x-pkcs12"), true)),
    ]);
    let text = |id| rendered(&of_secret_value(id, None, Encoding::Utf8), &values);
    assert_eq!(text("pfx").unwrap(), PEM.as_bytes());
    assert_eq!(text("pem").unwrap(), PEM.as_bytes());
    assert_eq!(text("own").unwrap(), PFX.as_bytes(), "what somebody stored as a plain secret");
    assert_eq!(text("bad").unwrap_err(), "the PKCS#12 file cannot be read: it is damaged, or no PKCS#12 at all, at byte 0");
    let file = rendered(&of_secret_value("pfx", None, Encoding::Base64), &values).unwrap();
    assert_eq!(&file[..4], [0x30, 0x82, 0x0b, 0xd7], "the file itself");
    assert_eq!(rendered(&of_secret_value("bad", None, Encoding::Base64), &values).unwrap(), [0, 0, 0]);
}
