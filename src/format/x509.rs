//! What chains are made of: a certificate's names, key and key identifiers. Signatures are not verified; whoever uses the chain does that.

use super::der::{BIT_STRING, Damaged, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, SET, context, implicit};
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
}

impl X509 {
    /// Reads a certificate; what stands behind it is ignored.
    pub(super) fn read(der: &[u8]) -> Result<X509, Damaged> {
        let outer = Reader::new(der).expect(SEQUENCE)?;
        let mut fields = outer.reader().nested(SEQUENCE)?;
        fields.optional(context(0))?; // version
        fields.expect(INTEGER)?; // serial number
        fields.expect(SEQUENCE)?; // signature algorithm
        let issuer = fields.expect(SEQUENCE)?.whole.to_vec();
        fields.expect(SEQUENCE)?; // validity
        let subject = fields.expect(SEQUENCE)?.whole.to_vec();
        let key = PublicKey::from_spki(fields.expect(SEQUENCE)?.whole)?;
        fields.optional(implicit(1))?;
        fields.optional(implicit(2))?;
        let extensions = fields.optional(context(3))?.map(|element| element.reader());
        let extension = |oid| extensions.clone().and_then(|reader| extension(reader, oid).ok().flatten());
        let key_id = extension(SUBJECT_KEY_ID).and_then(|value| Some(Reader::new(value).expect(OCTET_STRING).ok()?.content.to_vec()));
        let issuer_key_id = extension(AUTHORITY_KEY_ID)
            .and_then(|value| Some(Reader::new(value).nested(SEQUENCE).ok()?.optional(implicit(0)).ok()??.content.to_vec()));
        Ok(X509 { der: outer.whole.to_vec(), subject, issuer, key, key_id, issuer_key_id })
    }

    /// Whether it may have issued `other`: the names agree, and so do the key identifiers as far as both are there.
    pub(super) fn may_have_issued(&self, other: &X509) -> bool {
        self.subject == other.issuer && agree(other.issuer_key_id.as_deref(), self.key_id.as_deref())
    }

    /// Whether it is its own issuer.
    pub(super) fn is_root(&self) -> bool {
        self.may_have_issued(self)
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
