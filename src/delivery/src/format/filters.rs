//! The filters that quote: text in, text out.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::{Environment, Error, ErrorKind};

use super::encoding;
use keyvault_common::plan::Encoding;
use keyvault_common::secret::SecretValue;

/// Why a filter of ours cannot work with a value; unlike the engine's details, this never shows one.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(pub(super) &'static str);

pub(super) fn add(environment: &mut Environment<'_>) {
    environment.add_filter("b64decode", b64decode);
    environment.add_filter("b64encode", |text: Cow<'_, str>| STANDARD.encode(text.as_bytes()));
    environment.add_filter("dotenv", |text: Cow<'_, str>| dotenv(&text));
    environment.add_filter("json", json);
    environment.add_filter("properties", |text: Cow<'_, str>| properties(&text));
    environment.add_filter("shell", |text: Cow<'_, str>| shell(&text));
    environment.add_filter("urlencode", |text: Cow<'_, str>| urlencode(&text));
}

fn refused(reason: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, "").with_source(Refused(reason))
}

fn b64decode(text: Cow<'_, str>) -> Result<String, Error> {
    let bytes =
        encoding::decode(&SecretValue::from(text.into_owned()), Encoding::Base64).map_err(|_| refused("b64decode: the value is not base64"))?;
    String::from_utf8(bytes.expose().to_vec()).map_err(|_| refused("b64decode: the value is not text: take it as a file with encoding base64"))
}

/// In single quotes; a value that holds one itself, in double quotes. Shells, python-dotenv, dotenv and `parseEnv` of Node.js, godotenv and Docker
/// Compose do not agree on escapes, so none is written: what only an escape could carry is refused.
fn dotenv(text: &str) -> Result<String, Error> {
    match dotenv_misreading(text) {
        Some(reason) => Err(refused(reason)),
        None if text.contains('\'') => Ok(format!("\"{text}\"")),
        None => Ok(format!("'{text}'")),
    }
}

/// The reader that would read another value, and what of this one it misreads.
fn dotenv_misreading(text: &str) -> Option<&'static str> {
    macro_rules! misreading {
        ($reason:literal) => {
            Some(concat!("dotenv: ", $reason, "; write the value as JSON or YAML, or with the filter shell if only a shell reads it"))
        };
    }
    let has_single = text.contains('\'');
    if text.contains('\0') {
        Some("dotenv: the value has a NUL, which bash drops and no variable can hold; write it as JSON or YAML")
    } else if text.contains('\r') {
        misreading!("python-dotenv and Node.js do not read a carriage return as it is")
    } else if text.contains("${") {
        misreading!("python-dotenv replaces ${…} even in quotes")
    } else if has_single && text.contains('"') {
        misreading!("dotenv for Node.js reads no value that has both kinds of quotes")
    } else if has_single && text.contains('\\') {
        misreading!("python-dotenv and godotenv read a backslash as an escape in a value that has a single quote")
    } else if has_single && text.contains(['$', '`']) {
        misreading!("bash expands $ and ` in a value that has a single quote")
    } else if text.contains(r"\\") || text.ends_with('\\') {
        misreading!("python-dotenv reads a backslash before a backslash or at the end as an escape")
    } else {
        None
    }
}

/// A string of JSON and of YAML: what a reader of YAML refuses or folds is escaped.
fn json(text: Cow<'_, str>) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    let mut escaped = String::with_capacity(quoted.len());
    for c in quoted.chars() {
        if matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') {
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

fn shell(text: &str) -> Result<String, Error> {
    if text.contains('\0') {
        return Err(refused("shell: the value has a NUL, which no shell can hold; write it as JSON or YAML"));
    }
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn urlencode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// As `java.util.Properties` stores the value of a property.
fn properties(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut leads = true;
    for c in text.chars() {
        match c {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '\\' | '=' | ':' | '#' | '!' => escaped.extend(['\\', c]),
            ' ' if leads => escaped.push_str("\\ "),
            ' '..='~' => escaped.push(c),
            _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                let _ = write!(escaped, "\\u{unit:04X}");
            }),
        }
        leads = false;
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> Result<String, String> {
        let mut environment = Environment::empty();
        add(&mut environment);
        let shown = |error: Error| std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        environment.render_str(text, ()).map_err(shown)
    }

    #[test]
    fn each_filter_quotes_as_its_reader_expects() {
        for (text, expected) in [
            (r#"{{ "héllo" | b64encode }}"#, "aMOpbGxv"),
            (r#"{{ "aMOp bGxv" | b64decode }}{{ "_-8=" | b64encode }}"#, "hélloXy04PQ=="),
            (r#"{{ "a\"b\\\n</é" | json }}{{ 1 | json }}"#, r#""a\"b\\\n</é""1""#),
            (r#"{{ "a\"$b\nc" | dotenv }}{{ "it's\n#a b" | dotenv }}{{ "" | dotenv }}"#, "'a\"$b\nc'\"it's\n#a b\"''"),
            (r#"{{ "it's $HOME\n`x`" | shell }}{{ "" | shell }}"#, "'it'\\''s $HOME\n`x`'''"),
            (r#"{{ "a b/c+d@é~-._:" | urlencode }}"#, "a%20b%2Fc%2Bd%40%C3%A9~-._%3A"),
            (r#"{{ "  a=b:c#!\\d\te\né😀" | properties }}"#, r"\  a\=b\:c\#\!\\d\te\n\u00E9\uD83D\uDE00"),
        ] {
            assert_eq!(rendered(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_readers_of_yaml_refuse_or_fold_is_escaped_in_json() {
        let text = "\u{7e}\u{7f}\u{85}\u{9f}\u{a0}\u{2028}\u{2029}\u{feff}\u{fffd}\u{fffe}\u{ffff}😀\0";
        let written = json(text.into());
        assert_eq!(written, "\"~\\u007f\\u0085\\u009f\u{a0}\\u2028\\u2029\\ufeff\u{fffd}\\ufffe\\uffff😀\\u0000\"");
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
    }

    #[test]
    fn what_a_reader_of_dotenv_files_would_misread_is_refused_with_its_name() {
        for (value, reader) in [
            ("a\0b", "bash drops"),
            ("a\rb", "python-dotenv and Node.js do not read a carriage return"),
            ("a\r\nb", "python-dotenv and Node.js do not read a carriage return"),
            ("a${HOME}", "python-dotenv replaces ${…}"),
            ("it's \"x\"", "dotenv for Node.js reads no value that has both kinds of quotes"),
            ("it's C:\\x", "python-dotenv and godotenv read a backslash as an escape"),
            ("it's $HOME", "bash expands $"),
            ("it's `id`", "bash expands $ and `"),
            (r"C:\new\", "python-dotenv reads a backslash before a backslash or at the end"),
            (r"\\host\share", "python-dotenv reads a backslash before a backslash or at the end"),
        ] {
            let error = dotenv(value).unwrap_err();
            let reason = std::error::Error::source(&error).unwrap().to_string();
            assert!(reason.starts_with("dotenv: ") && reason.contains(reader), "{value:?}: {reason}");
        }
        for value in [r"C:\new", "$HOME $(id) `id` \"x\"", "#a = b", " a ", "a\nB='".trim_end_matches('\''), "\u{2028}\u{85}\u{feff}"] {
            assert_eq!(dotenv(value).unwrap(), format!("'{value}'"));
        }
        assert!(shell("a\0b").is_err());
    }

    #[test]
    fn what_is_no_text_in_base64_is_refused_without_being_shown() {
        assert_eq!(rendered(r#"{{ "canary!" | b64decode }}"#).unwrap_err(), "b64decode: the value is not base64");
        let binary = "b64decode: the value is not text: take it as a file with encoding base64";
        assert_eq!(rendered(r#"{{ "//8=" | b64decode }}"#).unwrap_err(), binary);
    }
}
