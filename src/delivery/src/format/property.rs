//! A part of a JSON or YAML value. Text comes without quotes, numbers and booleans as they are spelt, maps and lists as compact JSON.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::{Zeroize, Zeroizing};

use super::FormatError;
use keyvault_common::property::PropertyPath;
use keyvault_common::secret::SecretValue;
use keyvault_common::yaml::{Kind, Node};

/// The property at `path`. What is JSON is read as JSON, anything else as YAML.
pub(super) fn select(stored: &SecretValue, path: &PropertyPath) -> Result<SecretValue, FormatError> {
    let text = std::str::from_utf8(stored.expose()).map_err(|_| FormatError::PropertyOfBytes { path: path.clone() })?;
    let not_json = match serde_json::from_str::<&RawValue>(text) {
        Ok(root) => return from_json(root, path),
        Err(error) => error,
    };
    let mut root = Node::parse(text).map_err(|error| {
        // Of what was meant to be JSON, a YAML reader says only where the first bracket is.
        let is_meant_as_json = text.trim_start().starts_with(['{', '[']);
        let (line, column) = if is_meant_as_json { (not_json.line(), not_json.column()) } else { (error.line, error.column) };
        FormatError::Unstructured { path: path.clone(), line, column }
    })?;
    let result = from_yaml(&root, path);
    wipe(&mut root);
    result
}

fn nothing_at(path: &PropertyPath, step: &str) -> FormatError {
    FormatError::NoProperty { path: path.clone(), step: step.to_owned() }
}

// === JSON ===

fn from_json(root: &RawValue, path: &PropertyPath) -> Result<SecretValue, FormatError> {
    // The text is JSON already: only half of a surrogate pair keeps its strings from being read.
    let surrogate = |_| FormatError::Surrogate { path: path.clone() };
    let step = |value, step: &String| json_step(value, step).map_err(surrogate)?.ok_or_else(|| nothing_at(path, step));
    let found = path.steps().iter().try_fold(root, step)?;
    match found.get() {
        "null" => Err(FormatError::Null { path: path.clone() }),
        text if text.starts_with('"') => serde_json::from_str::<String>(text).map(SecretValue::from).map_err(surrogate),
        text => Ok(compact(text)),
    }
}

fn json_step<'v>(value: &'v RawValue, step: &str) -> Result<Option<&'v RawValue>, serde_json::Error> {
    /// A key is borrowed unless it has escapes.
    #[derive(Deserialize, PartialEq, Eq, Hash)]
    struct Key<'v>(#[serde(borrow)] Cow<'v, str>);

    Ok(match value.get().as_bytes().first() {
        Some(b'{') => serde_json::from_str::<HashMap<Key<'v>, &'v RawValue>>(value.get())?.get(&Key(step.into())).copied(),
        Some(b'[') => {
            let items = serde_json::from_str::<Vec<&'v RawValue>>(value.get())?;
            step.parse::<usize>().ok().and_then(|index| items.get(index).copied())
        }
        _ => None,
    })
}

/// Leaves out the white space between tokens; order and spelling stay.
fn compact(json: &str) -> SecretValue {
    let mut bytes = Vec::with_capacity(json.len());
    let (mut quoted, mut escaped) = (false, false);
    for byte in json.bytes() {
        if quoted || !byte.is_ascii_whitespace() {
            bytes.push(byte);
        }
        quoted ^= byte == b'"' && !escaped;
        escaped = quoted && byte == b'\\' && !escaped;
    }
    SecretValue::new(bytes)
}

// === YAML ===

fn from_yaml(root: &Node, path: &PropertyPath) -> Result<SecretValue, FormatError> {
    let found = path.steps().iter().try_fold(root, |node, step| yaml_step(node, step).ok_or_else(|| nothing_at(path, step)))?;
    if found.is_null() {
        return Err(FormatError::Null { path: path.clone() });
    }
    Ok(match found.text() {
        Some(text) => text.to_owned().into(),
        None => {
            let mut json = Zeroizing::new(String::new());
            write_json(found, &mut json);
            std::mem::take(&mut *json).into()
        }
    })
}

fn yaml_step<'n>(node: &'n Node, step: &str) -> Option<&'n Node> {
    match &node.kind {
        Kind::Map(entries) => entries.iter().find(|(key, _)| key.text() == Some(step)).map(|(_, value)| value),
        Kind::List(items) => items.get(step.parse::<usize>().ok()?),
        Kind::Scalar { .. } => None,
    }
}

fn write_json(node: &Node, json: &mut String) {
    match &node.kind {
        Kind::Scalar { text, .. } => write_scalar(node, text, json),
        Kind::List(items) => {
            json.push('[');
            for (index, item) in items.iter().enumerate() {
                json.push_str(if index > 0 { "," } else { "" });
                write_json(item, json);
            }
            json.push(']');
        }
        Kind::Map(entries) => {
            json.push('{');
            for (index, (key, value)) in entries.iter().enumerate() {
                json.push_str(if index > 0 { "," } else { "" });
                json.push_str(&quoted(key.text().unwrap_or_default()));
                json.push(':');
                write_json(value, json);
            }
            json.push('}');
        }
    }
}

fn write_scalar(node: &Node, text: &str, json: &mut String) {
    match node.bool() {
        Some(value) => json.push_str(if value { "true" } else { "false" }),
        None if node.is_null() => json.push_str("null"),
        // Only spellings that JSON has too: 0x1f stays text.
        None if node.is_bare_number() && serde_json::from_str::<serde_json::Number>(text).is_ok() => json.push_str(text),
        None => json.push_str(&quoted(text)),
    }
}

fn quoted(text: &str) -> Zeroizing<String> {
    Zeroizing::new(serde_json::Value::from(text).to_string())
}

fn wipe(node: &mut Node) {
    match &mut node.kind {
        Kind::Scalar { text, .. } => text.zeroize(),
        Kind::List(items) => items.iter_mut().for_each(wipe),
        Kind::Map(entries) => entries.iter_mut().for_each(|(key, value)| {
            wipe(key);
            wipe(value);
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property(stored: &str, path: &str) -> Result<String, String> {
        select(&SecretValue::from(stored.to_owned()), &path.parse().unwrap())
            .map(|value| String::from_utf8(value.expose().to_vec()).unwrap())
            .map_err(|error| error.to_string())
    }

    const JSON: &str = r#"{"sink": {"token": "a\n\"b\"", "port": 1.50, "big": 123456789012345678901234567890, "on": true, "off": null},
        "hosts": [ {"name": "db 1"}, {"name": "x \" y", "a b": [ 1, 2 ]} ], "app.io/name": "n", "ké\u0079": "e", "": "empty"}"#;

    #[test]
    fn json_gives_text_numbers_booleans_and_compact_json() {
        for (path, expected) in [
            ("sink.token", "a\n\"b\""),
            ("sink.port", "1.50"),
            ("sink.big", "123456789012345678901234567890"),
            ("sink.on", "true"),
            ("hosts.0.name", "db 1"),
            ("hosts", r#"[{"name":"db 1"},{"name":"x \" y","a b":[1,2]}]"#),
            ("hosts.1.\"a b\".1", "2"),
            ("\"app.io/name\"", "n"),
            ("kéy", "e"),
        ] {
            assert_eq!(property(JSON, path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn half_of_a_surrogate_pair_is_an_error_and_no_empty_text() {
        let message =
            |path: &str| Err(format!("property {path}: its text has half of a surrogate pair, such as \\ud83d alone, which is not a character"));
        assert_eq!(property(r#"{"a": "x\ud83d"}"#, "a"), message("a"));
        assert_eq!(property(r#"{"a": {"\udc00": 1, "b": 2}}"#, "a.b"), message("a.b"), "in a key");
        assert_eq!(property(r#"{"a": "x", "b": "\ud83d"}"#, "a").as_deref(), Ok("x"), "elsewhere");
        assert_eq!(property(r#"{"a": "\ud83d\ude00"}"#, "a").as_deref(), Ok("😀"));
        assert_eq!(property(r#"{"a": {"b": "\ud83d"}}"#, "a").as_deref(), Ok(r#"{"b":"\ud83d"}"#), "JSON stays as it is spelt");
    }

    #[test]
    fn a_property_of_bytes_says_that_the_value_is_not_text() {
        let error = select(&SecretValue::new(vec![0xff]), &"a".parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "property a: the value is not UTF-8 text");
    }

    #[test]
    fn yaml_gives_the_same() {
        let yaml = "sink:\n  token: a 'b'\n  port: 1.50\n  quoted: \"1.50\"\n  hex: 0x1f\n  on: true\n  off: ~\nhosts:\n- name: db 1\n- {name: 'x \" y', list: [1, two, '3', null, false, 0x1f]}\n";
        for (path, expected) in [
            ("sink.token", "a 'b'"),
            ("sink.port", "1.50"),
            ("sink.quoted", "1.50"),
            ("sink.hex", "0x1f"),
            ("sink.on", "true"),
            ("hosts.1", r#"{"name":"x \" y","list":[1,"two","3",null,false,"0x1f"]}"#),
            ("hosts.0.name", "db 1"),
        ] {
            assert_eq!(property(yaml, path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn what_is_not_there_is_named_by_path_and_never_shown() {
        for (stored, path, expected) in [
            (JSON, "sink.off", "property sink.off is null"),
            (JSON, "sink.none", "property sink.none: there is nothing at \"none\""),
            (JSON, "sink.token.x", "property sink.token.x: there is nothing at \"x\""),
            (JSON, "hosts.2", "property hosts.2: there is nothing at \"2\""),
            (JSON, "hosts.name", "property hosts.name: there is nothing at \"name\""),
            ("just text", "a", "property a: there is nothing at \"a\""),
            ("", "a", "property a: there is nothing at \"a\""),
            ("a: ~", "a", "property a is null"),
            ("a: [canary", "a", "property a: the value is neither JSON nor YAML (line 1, column 4)"),
            ("canary: 1\ncanary: 2", "canary", "property canary: the value is neither JSON nor YAML (line 2, column 1)"),
        ] {
            assert_eq!(property(stored, path), Err(expected.to_owned()), "{stored}");
        }
    }
}
