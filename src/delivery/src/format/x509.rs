//! What chains are made of: a certificate's names, key and key identifiers. Signatures are not verified; the user of the chain does that.

use super::der::{BIT_STRING, Damaged, Element, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, SET, context, implicit};
use super::public_key::PublicKey;

const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 0x0e];
const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 0x23];

/// A certificate; everything in it is public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct X509 {
    pub(super) der: Vec<u8>,
    subject: Vec<u8>,
    issuer: Vec<u8>,
    /// `None` for kinds of keys that Key Vault does not have.
    pub(super) key: Option<PublicKey>,
    key_id: Option<Vec<u8>>,
    issuer_key_id: Option<Vec<u8>>,
    /// When it ends, in seconds since 1970; `None` where that cannot be read.
    pub(super) not_after: Option<u64>,
}

impl X509 {
    /// Reads a certificate; what comes after it is ignored.
    pub(super) fn read(der: &[u8]) -> Result<X509, Damaged> {
        let outer = Reader::new(der).expect(SEQUENCE)?;
        let mut fields = outer.reader().nested(SEQUENCE)?;
        fields.optional(context(0))?; // version
        fields.expect(INTEGER)?; // serial number
        fields.expect(SEQUENCE)?; // signature algorithm
        let issuer = fields.expect(SEQUENCE)?.whole.to_vec();
        let mut validity = fields.nested(SEQUENCE)?;
        validity.next()?;
        let not_after = seconds(validity.next()?);
        let subject = fields.expect(SEQUENCE)?.whole.to_vec();
        let key = PublicKey::from_spki(fields.expect(SEQUENCE)?.whole)?;
        fields.optional(implicit(1))?;
        fields.optional(implicit(2))?;
        let extensions = fields.optional(context(3))?.map(|element| element.reader());
        let extension = |oid| extensions.clone().and_then(|reader| extension(reader, oid).ok().flatten());
        let key_id = extension(SUBJECT_KEY_ID).and_then(|value| Some(Reader::new(value).expect(OCTET_STRING).ok()?.content.to_vec()));
        let issuer_key_id = extension(AUTHORITY_KEY_ID)
            .and_then(|value| Some(Reader::new(value).nested(SEQUENCE).ok()?.optional(implicit(0)).ok()??.content.to_vec()));
        Ok(X509 { der: outer.whole.to_vec(), subject, issuer, key, key_id, issuer_key_id, not_after })
    }

    /// Whether it may have issued `other`: the names agree, and so do the key identifiers as far as both are there.
    pub(super) fn may_have_issued(&self, other: &X509) -> bool {
        self.subject == other.issuer && agree(other.issuer_key_id.as_deref(), self.key_id.as_deref())
    }

    /// Whether it is its own issuer.
    pub(super) fn is_root(&self) -> bool {
        self.may_have_issued(self)
    }

    /// Whether both are of one authority: name and key are the same, issuers may differ.
    pub(super) fn is_twin_of(&self, other: &X509) -> bool {
        self.subject == other.subject && self.key.is_some() && self.key == other.key
    }

    pub(super) fn subject(&self) -> String {
        name(&self.subject)
    }

    pub(super) fn issuer(&self) -> String {
        name(&self.issuer)
    }
}

/// What one of them does not know is no contradiction.
fn agree(one: Option<&[u8]>, other: Option<&[u8]>) -> bool {
    one.is_none() || other.is_none() || one == other
}

/// UTCTime (two digits of the year) or GeneralizedTime (four), both always in UTC.
fn seconds(time: Element<'_>) -> Option<u64> {
    let text = std::str::from_utf8(time.content).ok()?;
    let (year, rest): (u64, _) = match time.tag {
        0x17 => (text.get(..2)?.parse().ok()?, text.get(2..)?),
        0x18 => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    let year = match time.tag {
        0x17 if year < 50 => year + 2000,
        0x17 => year + 1900,
        _ => year,
    };
    let number = |at: usize| rest.get(at..at + 2)?.parse::<u64>().ok();
    let (month, day, hour, minute, second) = (number(0)?, number(2)?, number(4)?, number(6)?, number(8)?);
    if year < 1970 || !(1..=12).contains(&month) {
        return None;
    }
    // Counted in years that begin in March, leap days come last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some((days.checked_sub(719_468)? * 24 + hour) * 3600 + minute * 60 + second)
}

fn extension<'d>(mut extensions: Reader<'d>, oid: &[u8]) -> Result<Option<&'d [u8]>, Damaged> {
    let mut list = extensions.nested(SEQUENCE)?;
    while !list.is_empty() {
        let mut fields = list.nested(SEQUENCE)?;
        let found = fields.expect(OID)?.content == oid;
        fields.optional(0x01)?; // critical
        let value = fields.expect(OCTET_STRING)?.content;
        if found {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// A name as people write it, `CN=app.example, O=Example`; fit for a log line.
fn name(der: &[u8]) -> String {
    const LONGEST: usize = 200;
    let text = attributes(der).unwrap_or_default().join(", ");
    let shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    if shown.is_empty() { "(no name)".to_owned() } else { shown }
}

fn attributes(der: &[u8]) -> Result<Vec<String>, Damaged> {
    let mut names = Vec::new();
    let mut sets = Reader::new(der).nested(SEQUENCE)?;
    while !sets.is_empty() {
        let mut set = sets.nested(SET)?;
        while !set.is_empty() {
            let mut attribute = set.nested(SEQUENCE)?;
            let key = attribute_name(attribute.expect(OID)?.content);
            let value = attribute.next()?;
            // BMPString is UTF-16; the other string types are ASCII or UTF-8, or near enough for a message.
            let text = match value.tag {
                0x1e => String::from_utf16_lossy(&value.content.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect::<Vec<_>>()),
                BIT_STRING => continue,
                _ => String::from_utf8_lossy(value.content).into_owned(),
            };
            names.push(format!("{key}={text}"));
        }
    }
    Ok(names)
}

fn attribute_name(oid: &[u8]) -> String {
    match oid {
        [0x55, 0x04, 3] => "CN".to_owned(),
        [0x55, 0x04, 6] => "C".to_owned(),
        [0x55, 0x04, 7] => "L".to_owned(),
        [0x55, 0x04, 8] => "ST".to_owned(),
        [0x55, 0x04, 10] => "O".to_owned(),
        [0x55, 0x04, 11] => "OU".to_owned(),
        [0x55, 0x04, number] => format!("2.5.4.{number}"),
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 25] => "DC".to_owned(),
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::der::element;

    #[test]
    fn times_are_read_in_both_spellings() {
        for (tag, text, expected) in [
            (0x18, "19700101000000Z", Some(0)),
            (0x17, "700102000001Z", Some(86_401)),
            (0x18, "20000229235959Z", Some(951_868_799)),
            (0x18, "20000301000000Z", Some(951_868_800)),
            (0x17, "361118014943Z", Some(2_110_585_783)),
            (0x17, "491231235959Z", Some(2_524_607_999)),
            (0x18, "99991231235959Z", Some(253_402_300_799)),
            (0x17, "991231235959Z", Some(946_684_799)),
            (0x17, "500101000000Z", None),
            (0x18, "20001301000000Z", None),
            (0x18, "2000", None),
            (0x18, "2000010100é", None),
            (0x04, "20000101000000Z", None),
        ] {
            let der = element(tag, &[text.as_bytes()]);
            assert_eq!(seconds(Reader::new(&der).next().unwrap()), expected, "{text}");
        }
    }
}
