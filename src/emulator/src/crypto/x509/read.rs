//! Certificates out of DER.

use std::net::{Ipv4Addr, Ipv6Addr};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::crypto::Malformed;
use crate::crypto::der::{self, Reader, Value};

use super::{ALTERNATIVE_NAMES, AlternativeNames, BASIC_CONSTRAINTS, Certificate, EXTENDED_USAGES, KEY_USAGE, UPN, USAGES};

impl Certificate {
    /// Reads one certificate; its signature is not checked.
    pub(crate) fn parse(der: &[u8]) -> Result<Certificate, Malformed> {
        read(der).ok_or(Malformed("not an X.509 certificate"))
    }
}

fn read(bytes: &[u8]) -> Option<Certificate> {
    let mut outer = Reader(bytes);
    let whole = outer.expect(der::SEQUENCE)?;
    let mut body = whole.inner().enter(der::SEQUENCE)?;
    body.optional(der::context(0));
    body.expect(der::INTEGER)?;
    body.expect(der::SEQUENCE)?;
    let issuer = body.expect(der::SEQUENCE)?.whole.to_vec();
    let mut validity = body.enter(der::SEQUENCE)?;
    let (not_before, not_after) = (time(validity.next()?)?, time(validity.next()?)?);
    let subject = body.expect(der::SEQUENCE)?.whole.to_vec();
    let spki = body.expect(der::SEQUENCE)?.whole.to_vec();
    let mut certificate = Certificate {
        der: whole.whole.to_vec(),
        issuer,
        subject,
        not_before,
        not_after,
        spki,
        names: AlternativeNames::default(),
        extended_usages: Vec::new(),
        usages: Vec::new(),
        is_ca: false,
    };
    let extensions = body.values().find(|value| value.tag == der::context(3));
    for extension in extensions.and_then(|found| found.inner().enter(der::SEQUENCE)).into_iter().flat_map(Reader::values) {
        certificate.extend(extension.inner())?;
    }
    Some(certificate)
}

impl Certificate {
    fn extend(&mut self, mut extension: Reader<'_>) -> Option<()> {
        let oid = extension.oid()?;
        let content = extension.values().find(|value| value.tag == der::OCTET_STRING)?.inner();
        match oid.as_str() {
            KEY_USAGE => self.usages = usages(content)?,
            EXTENDED_USAGES => self.extended_usages = { content }.enter(der::SEQUENCE)?.values().map(|usage| der::dotted(usage.content)).collect(),
            BASIC_CONSTRAINTS => self.is_ca = { content }.enter(der::SEQUENCE)?.next().is_some_and(|value| value.tag == 1 && value.content != [0]),
            ALTERNATIVE_NAMES => { content }.enter(der::SEQUENCE)?.values().for_each(|name| self.names.add(name)),
            _ => {}
        }
        Some(())
    }
}

fn usages(mut content: Reader<'_>) -> Option<Vec<&'static str>> {
    let (_, bits) = content.expect(der::BIT_STRING)?.content.split_first()?;
    let is_set = |index: usize| bits.get(index / 8).is_some_and(|byte| byte & (0x80 >> (index % 8)) != 0);
    Some(USAGES.iter().enumerate().filter(|(index, _)| is_set(*index)).map(|(_, usage)| *usage).collect())
}

impl AlternativeNames {
    fn add(&mut self, name: Value<'_>) {
        let text = || String::from_utf8_lossy(name.content).into_owned();
        match name.tag {
            0x81 => self.emails.push(text()),
            0x82 => self.dns.push(text()),
            0x86 => self.uris.push(text()),
            0x87 => self.addresses.extend(address(name.content)),
            0xa0 => self.upns.extend(upn(name.inner())),
            _ => {}
        }
    }
}

fn address(content: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(content).map(|octets| Ipv4Addr::from(octets).to_string());
    v4.or_else(|_| <[u8; 16]>::try_from(content).map(|octets| Ipv6Addr::from(octets).to_string())).ok()
}

fn upn(mut name: Reader<'_>) -> Option<String> {
    let is_upn = name.oid()? == UPN;
    let value = name.enter(der::context(0))?.next()?;
    is_upn.then(|| String::from_utf8_lossy(value.content).into_owned())
}

fn time(value: Value<'_>) -> Option<i64> {
    let text = std::str::from_utf8(value.content).ok()?;
    let (year, rest) = match value.tag {
        der::UTC_TIME => (text.get(..2)?.parse::<i16>().ok()?, text.get(2..)?),
        der::GENERALIZED_TIME => (text.get(..4)?.parse::<i16>().ok()?, text.get(4..)?),
        _ => return None,
    };
    let year = match value.tag {
        der::UTC_TIME if year < 50 => year + 2000,
        der::UTC_TIME => year + 1900,
        _ => year,
    };
    let part = |index: usize| rest.get(2 * index..2 * index + 2)?.parse::<i8>().ok();
    let time = DateTime::new(year, part(0)?, part(1)?, part(2)?, part(3)?, part(4)?, 0).ok()?;
    time.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp().as_second())
}
