//! Distinguished names: `CN=web, O=Contoso`. As in Windows, the text begins with what stands last in the certificate.

use crate::crypto::Malformed;
use crate::crypto::der::{self, Reader};

const TYPES: [(&str, &str); 13] = [
    ("CN", "2.5.4.3"),
    ("C", "2.5.4.6"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("S", "2.5.4.8"),
    ("STREET", "2.5.4.9"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("SERIALNUMBER", "2.5.4.5"),
    ("T", "2.5.4.12"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("E", "1.2.840.113549.1.9.1"),
];

/// Whether a text is a name.
pub(crate) fn check(text: &str) -> Result<(), Malformed> {
    parts(text).map(drop)
}

/// The DER of a name.
pub(super) fn write(text: &str) -> Result<Vec<u8>, Malformed> {
    let sets = parts(text)?.into_iter().rev().map(|(oid, value)| {
        let tag = match oid {
            "2.5.4.6" | "2.5.4.5" => der::PRINTABLE_STRING,
            "0.9.2342.19200300.100.1.25" | "1.2.840.113549.1.9.1" => der::IA5_STRING,
            _ if is_printable(&value) => der::PRINTABLE_STRING,
            _ => der::UTF8_STRING,
        };
        der::write(der::SET, &der::sequence(&[&der::oid(oid), &der::write(tag, value.as_bytes())]))
    });
    Ok(der::write(der::SEQUENCE, &sets.collect::<Vec<_>>().concat()))
}

fn is_printable(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte))
}

/// The text of a name.
pub(super) fn text(name: &[u8]) -> String {
    let Some(sets) = Reader(name).enter(der::SEQUENCE) else { return String::new() };
    let attributes = sets.values().flat_map(|set| set.inner().values().collect::<Vec<_>>());
    let mut parts: Vec<String> = attributes.filter_map(|attribute| part(attribute.inner())).collect();
    parts.reverse();
    parts.join(", ")
}

fn part(mut attribute: Reader<'_>) -> Option<String> {
    let oid = attribute.oid()?;
    let value = attribute.next()?;
    let text = match value.tag {
        der::BMP_STRING => char::decode_utf16(value.content.chunks(2).map(|unit| unit.iter().fold(0, |sum, byte| (sum << 8) | u16::from(*byte))))
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect(),
        _ => String::from_utf8_lossy(value.content).into_owned(),
    };
    let name = TYPES.iter().find(|(_, known)| *known == oid).map_or_else(|| format!("OID.{oid}"), |(name, _)| (*name).to_owned());
    let quoted = if text.contains([',', '=', '+', '"', ';']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text };
    Some(format!("{name}={quoted}"))
}

/// Object identifiers and values, as written.
fn parts(text: &str) -> Result<Vec<(&'static str, String)>, Malformed> {
    const NO_NAME: Malformed = Malformed("the subject is not a distinguished name such as CN=web, O=Contoso");
    let mut parts = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (kind, after) = rest.split_once('=').ok_or(NO_NAME)?;
        let oid = TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(kind.trim())).ok_or(NO_NAME)?.1;
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => {
                let (value, next) = quoted.split_once('"').ok_or(NO_NAME)?;
                (value, next.trim_start().strip_prefix([',', ';']).unwrap_or(next))
            }
            None => after.split_once([',', ';']).unwrap_or((after, "")),
        };
        parts.push((oid, value.trim().to_owned()));
        rest = next.trim_start();
    }
    if parts.is_empty() { Err(NO_NAME) } else { Ok(parts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_way_there_and_back() {
        for (written, read) in [
            ("CN=web", "CN=web"),
            ("cn=MyCert", "CN=MyCert"),
            ("CN=web,O=Contoso, C=DE", "CN=web, O=Contoso, C=DE"),
            ("CN=\"Contoso, Inc.\", DC=example", "CN=\"Contoso, Inc.\", DC=example"),
            ("CN=Zoë", "CN=Zoë"),
        ] {
            assert_eq!(text(&write(written).unwrap()), read);
        }
        for wrong in ["", "web", "XY=1", "CN=\"open", "CN=a,,"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
