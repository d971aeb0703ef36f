//! The filters that quote: text in, text out.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::{Environment, Error, ErrorKind};

use super::encoding;
use crate::plan::Encoding;
use crate::secret::SecretValue;

/// Why a filter of ours cannot work with a value; unlike the engine's details, this never shows one.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(pub(super) &'static str);

pub(super) fn add(environment: &mut Environment<'_>) {
    environment.add_filter("b64decode", b64decode);
    environment.add_filter("b64encode", |text: Cow<'_, str>| STANDARD.encode(text.as_bytes()));
    environment.add_filter("dotenv", |text: Cow<'_, str>| dotenv(&text));
    environment.add_filter("json", |text: Cow<'_, str>| serde_json::Value::from(text).to_string());
    environment.add_filter("properties", |text: Cow<'_, str>| properties(&text));
    environment.add_filter("shell", |text: Cow<'_, str>| format!("'{}'", text.replace('\'', r"'\''")));
    environment.add_filter("urlencode", |text: Cow<'_, str>| urlencode(&text));
}

fn b64decode(text: Cow<'_, str>) -> Result<String, Error> {
    let refused = |reason| Error::new(ErrorKind::InvalidOperation, "").with_source(Refused(reason));
    let bytes =
        encoding::decode(&SecretValue::from(text.into_owned()), Encoding::Base64).map_err(|_| refused("b64decode: the value is not base64"))?;
    String::from_utf8(bytes.expose().to_vec()).map_err(|_| refused("b64decode: the value is not text: take it as a file with encoding base64"))
}

/// In single quotes, which every reader takes literally, line breaks too; with a single quote inside, in double quotes with escapes.
fn dotenv(text: &str) -> String {
    if !text.contains('\'') {
        return format!("'{text}'");
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '\\' | '"' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
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
            (r#"{{ "a\"$b\nc" | dotenv }}{{ "it's \"$b\" `\\" | dotenv }}"#, "'a\"$b\nc'\"it's \\\"\\$b\\\" \\`\\\\\""),
            (r#"{{ "it's $HOME\n`x`" | shell }}{{ "" | shell }}"#, "'it'\\''s $HOME\n`x`'''"),
            (r#"{{ "a b/c+d@é~-._:" | urlencode }}"#, "a%20b%2Fc%2Bd%40%C3%A9~-._%3A"),
            (r#"{{ "  a=b:c#!\\d\te\né😀" | properties }}"#, r"\  a\=b\:c\#\!\\d\te\n\u00E9\uD83D\uDE00"),
        ] {
            assert_eq!(rendered(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_text_in_base64_is_refused_without_being_shown() {
        assert_eq!(rendered(r#"{{ "canary!" | b64decode }}"#).unwrap_err(), "b64decode: the value is not base64");
        let binary = "b64decode: the value is not text: take it as a file with encoding base64";
        assert_eq!(rendered(r#"{{ "//8=" | b64decode }}"#).unwrap_err(), binary);
    }
}
