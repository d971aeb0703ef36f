//! Writes nasty values in every format as the agent does, for `tests/readers/run`: `write DIRECTORY STORED…`.
//!
//! `DIRECTORY/FORMAT/NAME` is a file with the keys BEFORE, KEY and AFTER (for `url` the value alone), `DIRECTORY/expected/NAME` the value of KEY,
//! `DIRECTORY/refused` a line for each value that a format cannot carry. Each `STORED` is what a vault keeps behind a certificate; its files go to
//! `DIRECTORY/certificates/NAME`.

#![allow(clippy::disallowed_methods, reason = "the values are made up, and the files are read by test programs")]

use std::error::Error;
use std::fs;
use std::path::Path;

use keyvault_client::{Secret, Stored, StoredCertificate};
use keyvault_common::plan::{CertificatePart, Encoding, PlanTemplate, Value};
use keyvault_common::secret::SecretValue;
use keyvault_delivery::format::{self, Object, Rendered, Values};
use keyvault_mutation::reference::{GroupFormat, Member};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The password of every PFX.
const PASSWORD: &str = "pass word 1$";

/// Readers that a refusal may blame.
const READERS: [&str; 6] = ["python-dotenv", "Node.js", "godotenv", "Docker Compose", "bash", "shell"];

fn main() -> Outcome<()> {
    let mut arguments = std::env::args_os().skip(1);
    let directory = arguments.next().ok_or("usage: write DIRECTORY STORED…")?;
    let directory = Path::new(&directory);
    write_values(directory)?;
    for stored in arguments {
        write_certificate(directory, Path::new(&stored))?;
    }
    Ok(())
}

/// Values that formats and their readers stumble over.
#[allow(clippy::too_many_lines, reason = "most of them are a table")]
fn values() -> Vec<(String, String)> {
    let plain = [
        ("empty", ""),
        ("ordinary", "correct horse battery staple"),
        ("space", " "),
        ("spaces-around", "  a b  "),
        ("tab-around", "\ta\t"),
        ("line-feed", "\n"),
        ("line-feed-at-end", "a\n"),
        ("line-feed-at-start", "\na"),
        ("lines", "a\n\n b\nBEFORE=forged\nAFTER='forged'\n"),
        ("carriage-return", "a\rb"),
        ("cr-lf", "a\r\nb\r\n"),
        ("nul", "a\0b"),
        ("single-quote", "it's"),
        ("single-quotes-around", "'a'"),
        ("single-quote-and-lines", "it's\n#a\nB=c\n"),
        ("single-quote-and-hash", "it's #1"),
        ("double-quote", "say \"a\""),
        ("double-quotes-around", "\"a\""),
        ("both-quotes", "it's \"a\""),
        ("all-quotes", "'\"`"),
        ("backtick", "`id`"),
        ("backtick-and-single-quote", "it's `id`"),
        ("command", "$(id)"),
        ("command-and-single-quote", "it's $(id)"),
        ("dollar", "pa$word$"),
        ("dollar-name", "$HOME"),
        ("dollar-at-end-and-single-quote", "it's 1$"),
        ("braces", "${HOME}"),
        ("braces-with-default", "${NOPE:-x}"),
        ("braces-open", "a${"),
        ("backslash", "a\\b"),
        ("backslash-letters", "C:\\new\\table\\road\\u0041\\x41"),
        ("backslash-at-end", "C:\\new\\"),
        ("backslashes", "\\\\host\\\\share"),
        ("backslash-line-feed", "a\\\nb"),
        ("backslash-quote", "a\\\"b"),
        ("backslash-dollar", "a\\$b"),
        ("backslash-and-single-quote", "it's\\n"),
        ("backslash-before-single-quote", "a\\'b"),
        ("hash", "#a #b"),
        ("hash-inside", "a#b"),
        ("equals", "a=b==c"),
        ("colon", "a: b"),
        ("exclamation", "a!b!!"),
        ("percent", "100% %s %41"),
        ("export", "export A=b"),
        ("document-start", "---"),
        ("document-end", "...\n---\n"),
        ("list", "- a"),
        ("flow", "{a: [b, c]}"),
        ("anchor", "&a *b !!str"),
        ("block", "|\n  a"),
        ("true", "true"),
        ("no", "no"),
        ("null", "null"),
        ("tilde", "~"),
        ("number", "0123"),
        ("exponent", "1e3"),
        ("sexagesimal", "12:30:45"),
        ("date", "2026-01-02"),
        ("merge", "<<"),
        ("json", "{\"a\": \"b\\n\", \"c\": [1, null]}"),
        ("url", "https://u:p@h/p?q=a&b=c+d#f"),
        ("template", "${ secret(\"x\") } {{ x }} {% x %}"),
        ("bom", "\u{feff}a\u{feff}"),
        ("next-line", "a\u{85}b"),
        ("separators", "a \u{2028} b \u{2029} c\u{2028}"),
        ("separators-and-single-quote", "it's\u{2028}\u{2029}\u{85}"),
        ("noncharacters", "\u{fffe}\u{ffff}\u{fdd0}"),
        ("last-characters", "\u{1fffe}\u{10ffff}"),
        ("private", "\u{e000}\u{f8ff}"),
        ("replacement", "\u{fffd}"),
        ("surrogate-neighbours", "\u{d7ff}\u{e000}"),
        ("emoji", "😀👩‍👩‍👧 é e\u{301}"),
        ("right-to-left", "\u{202e}abc\u{2066}\u{200f}"),
        ("wide-spaces", "\u{a0}a\u{3000}\u{2003}"),
        ("invisible", "a\u{200b}b\u{ad}c\u{200d}"),
        ("private-key", "-----BEGIN PRIVATE KEY-----\nMIG2AgEAMBAGByqGSM49AgEGBSuBBAAi\n-----END PRIVATE KEY-----\n"),
    ];
    let mut values: Vec<(String, String)> = plain.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    for code in (1..0x20u8).chain([0x7f]).filter(|code| !b"\t\n\r".contains(code)) {
        values.push((format!("control-{code:02x}"), format!("a{}b", char::from(code))));
    }
    for code in 0x80..0xa0u8 {
        values.push((format!("control-{code:02x}"), format!("a{}b", char::from(code))));
    }
    values.push(("all-ascii".to_owned(), (' '..='~').filter(|c| *c != '\'').collect()));
    values.push(("letters-of-every-byte".to_owned(), ('\u{a1}'..='\u{7ff}').collect()));
    values.push(("long".to_owned(), "0123456789 abcdefghijklmno".repeat(1_000)[..25_000].to_owned()));
    values.push(("long-lines".to_owned(), "# a 'b' = c\n".repeat(2_000)));
    values
}

/// A format's folder and the template of a file in it.
fn formats() -> Outcome<Vec<(&'static str, String)>> {
    let members: Vec<Member> = ["BEFORE=before", "KEY=key", "AFTER=after"].iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    let lines = |filter: &str| members.iter().map(|Member { key, written, .. }| format!("{key}=${{ secret(\"{written}\") | {filter} }}\n")).collect();
    Ok(vec![
        ("dotenv", GroupFormat::Dotenv.template(&members)),
        ("json", GroupFormat::Json.template(&members)),
        ("yaml", GroupFormat::Yaml.template(&members)),
        ("shell", lines("shell")),
        ("properties", lines("properties")),
        ("url", "${ secret(\"key\") | urlencode }".to_owned()),
    ])
}

fn write_values(directory: &Path) -> Outcome<()> {
    fs::create_dir_all(directory.join("expected"))?;
    let mut refused = String::new();
    for (format, template) in formats()? {
        fs::create_dir_all(directory.join(format))?;
        for (name, value) in values() {
            fs::write(directory.join("expected").join(&name), &value)?;
            match render(&template, value) {
                Ok(file) => fs::write(directory.join(format).join(&name), file)?,
                Err(reason) if READERS.iter().any(|reader| reason.contains(reader)) => refused += &format!("{format} {name}: {reason}\n"),
                Err(reason) => return Err(format!("{format} {name}: the refusal names no reader: {reason}").into()),
            }
        }
    }
    Ok(fs::write(directory.join("refused"), refused)?)
}

fn render(template: &str, value: String) -> Result<Vec<u8>, String> {
    let (before, after) = ("before".to_owned(), "after".to_owned());
    let values = Values::from([("before", secret(before)), ("key", secret(value)), ("after", secret(after))]);
    let secrets = ["before", "key", "after"].map(|id| (id.to_owned(), id.to_owned())).into();
    rendered(&Value::Template(PlanTemplate { text: template.to_owned(), secrets, ..PlanTemplate::default() }), &values)
}

fn rendered(value: &Value, values: &Values<'_>) -> Result<Vec<u8>, String> {
    match format::render(value, values) {
        Ok(Rendered::File(file)) => Ok(file.expose().to_vec()),
        Ok(Rendered::Absent(reason)) => Err(reason.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn secret(value: String) -> Object {
    Object::Secret(stored(value).into())
}

fn stored(value: String) -> Secret {
    Secret { value: SecretValue::from(value), content_type: None, of_certificate: false, file_encoding: Encoding::Utf8, version: String::new() }
}

fn write_certificate(directory: &Path, path: &Path) -> Outcome<()> {
    let name = path.file_stem().ok_or("a file has a name")?;
    let directory = directory.join("certificates").join(name);
    fs::create_dir_all(&directory)?;
    let certificate = Object::read(Stored::Certificate(StoredCertificate::Secret(stored(fs::read_to_string(path)?))))?;
    let values = Values::from([("certificate", certificate), ("password", secret(PASSWORD.to_owned()))]);
    let parts = [
        ("tls.crt", CertificatePart::Chain),
        ("tls.key", CertificatePart::Key),
        ("ca.crt", CertificatePart::Ca),
        ("bundle.pem", CertificatePart::Bundle),
        ("keystore.pfx", CertificatePart::Pfx),
    ];
    for (file, part) in parts {
        let password = (part == CertificatePart::Pfx).then(|| "password".to_owned());
        fs::write(directory.join(file), rendered(&Value::Certificate { id: "certificate".to_owned(), part, password }, &values)?)?;
    }
    Ok(fs::write(directory.join("password"), PASSWORD)?)
}
