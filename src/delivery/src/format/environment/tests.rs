use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use keyvault_client::Secret;
use keyvault_common::plan::Encoding;

/// What the kubelet does with such a file, in its own order: lines of at most 64 KiB that lose a carriage return before the line feed,
/// a name up to the first equals sign, and a value from one single quote to the next, over as many lines as it takes.
fn kubelet(file: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let text = std::str::from_utf8(file).map_err(|error| error.to_string())?;
    let mut variables = BTreeMap::new();
    let mut lines = Vec::new();
    for line in text.split_inclusive('\n') {
        if line.len() > 64 * 1024 {
            return Err("token too long".to_owned());
        }
        let line = line.strip_suffix('\n').unwrap_or(line);
        lines.push(line.strip_suffix('\r').unwrap_or(line));
    }
    let mut lines = lines.into_iter();
    while let Some(line) = lines.next() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, rest) = line.split_once('=').ok_or("no equals sign")?;
        if name.chars().any(char::is_whitespace) {
            return Err("white space in a name".to_owned());
        }
        let mut value = rest.strip_prefix('\'').ok_or("no quote")?.to_owned();
        let value = loop {
            if let Some((inside, after)) = value.split_once('\'') {
                if !after.is_empty() {
                    return Err("something after the quote".to_owned());
                }
                break inside.to_owned();
            }
            value = format!("{value}\n{}", lines.next().ok_or("no closing quote")?);
        };
        variables.insert(name.to_owned(), value);
    }
    Ok(variables)
}

fn variable(name: &str, object: &str) -> Variable {
    Variable { name: name.parse().unwrap(), object: object.to_owned(), property: None, encoding: Encoding::Utf8 }
}

fn secret(value: &[u8]) -> Object {
    let value = SecretValue::new(value.to_vec());
    Object::Secret(Secret { value, content_type: None, of_certificate: false, file_encoding: Encoding::Utf8, version: String::new() }.into())
}

fn written(value: &[u8]) -> Result<Vec<u8>, String> {
    let values = Values::from([("0", secret(value))]);
    file(&[variable("DB", "0")], &values).map(|file| file.expose().to_vec()).map_err(|error| error.to_string())
}

#[test]
fn what_is_written_is_what_the_kubelet_reads() {
    let values = Values::from([("0", secret(b"a\nb = \"c\" $d `e` #f\\\n")), ("1", secret("ü".as_bytes()))]);
    let file = file(&[variable("A", "0"), variable("_b2", "1"), variable("GONE", "2")], &values).unwrap();
    assert_eq!(file.expose(), "A='a\nb = \"c\" $d `e` #f\\\n'\n_b2='ü'\n".as_bytes());
    let read = kubelet(file.expose()).unwrap();
    assert_eq!(read, BTreeMap::from([("A".to_owned(), "a\nb = \"c\" $d `e` #f\\\n".to_owned()), ("_b2".to_owned(), "ü".to_owned())]));
}

#[test]
fn what_the_kubelet_would_misread_is_refused_by_name_and_place() {
    for (value, expected) in [
        (&b""[..], "it is empty"),
        (b"it's", "it has a single quote (byte 3)"),
        (b"a\0b", "it has a NUL (byte 2)"),
        (b"a\r\nb", "it has a line that ends in CR LF (byte 2)"),
        (b"a\xffb", "it is not UTF-8 text (byte 2)"),
        (&[b"\n", [b'x'; 65_536].as_slice()].concat(), "line 2 of it is longer"),
        (&[b'x'; 65_536], "line 1 of it is longer"),
    ] {
        let error = written(value).unwrap_err();
        assert!(error.starts_with("variable DB: the value cannot be delivered by a file: "), "{error}");
        assert!(error.contains(expected) && error.ends_with("set keyvault-injector.io/env-delivery to exec"), "{error}");
    }
    assert!(written(b"a\rb").is_ok());
}

#[test]
fn the_longest_line_that_fits_is_read() {
    let most = 65_536 - "DB=''\n".len();
    let file = written(&vec![b'x'; most]).unwrap();
    assert_eq!(kubelet(&file).unwrap()["DB"].len(), most);
    assert!(written(&vec![b'x'; most + 1]).is_err());
}

proptest! {
    #[test]
    fn every_text_is_either_read_back_to_the_byte_or_refused(value in "(?s).{0,40}|[a'\r\n\0=# ]{0,12}") {
        match written(value.as_bytes()) {
            Ok(file) => prop_assert_eq!(&kubelet(&file).unwrap()["DB"], &value),
            Err(_) => prop_assert!(value.is_empty() || value.contains(['\'', '\0']) || value.contains("\r\n")),
        }
    }
}
