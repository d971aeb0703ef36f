//! Self-signed certificates and certificate requests.

use std::net::IpAddr;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

use crate::crypto::Malformed;
use crate::crypto::der;
use crate::crypto::digest::{Hash, random};
use crate::crypto::key::PrivateKey;

use super::{ALTERNATIVE_NAMES, AUTHORITY_KEY, AlternativeNames, BASIC_CONSTRAINTS, EXTENDED_USAGES, KEY_USAGE, SUBJECT_KEY, UPN, USAGES, name};

/// What a certificate is to say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Profile {
    /// `CN=web, O=Contoso`
    pub(crate) subject: String,
    pub(crate) names: AlternativeNames,
    pub(crate) extended_usages: Vec<String>,
    pub(crate) usages: Vec<String>,
    pub(crate) is_ca: bool,
    pub(crate) months: i32,
}

/// Key Vault's certificates are good from ten minutes before they were made.
const BACKDATED: i64 = 600;

/// A certificate that `key` signs for itself; `now` is in seconds since 1970.
pub(crate) fn self_signed(key: &PrivateKey, profile: &Profile, now: i64) -> Result<Vec<u8>, Malformed> {
    const NO_TIME: Malformed = Malformed("the validity ends beyond all calendars");
    let (from, until) = period(profile.months, now).ok_or(NO_TIME)?;
    let mut serial = random::<16>()?;
    serial[0] &= 0x7f;
    let (name, spki, algorithm) = (name::write(&profile.subject)?, key.spki(), key.signature_algorithm());
    let key_id = der::write(der::OCTET_STRING, &Hash::Sha1.of(&spki));
    let authority = der::sequence(&[&der::write(der::primitive(0), &Hash::Sha1.of(&spki))]);
    let own = [extension(SUBJECT_KEY, false, &key_id), extension(AUTHORITY_KEY, false, &authority)].concat();
    let extensions = der::write(der::SEQUENCE, &[extensions(profile)?, own].concat());
    let validity = der::sequence(&[&time(&from), &time(&until)]);
    let version = der::write(der::context(0), &der::integer(&[2]));
    let body =
        der::sequence(&[&version, &der::integer(&serial), &algorithm, &name, &validity, &name, &spki, &der::write(der::context(3), &extensions)]);
    signed(key, &body)
}

/// A PKCS#10 request.
pub(crate) fn certificate_request(key: &PrivateKey, profile: &Profile) -> Result<Vec<u8>, Malformed> {
    let extensions = der::write(der::SEQUENCE, &extensions(profile)?);
    let attribute = der::sequence(&[&der::oid("1.2.840.113549.1.9.14"), &der::write(der::SET, &extensions)]);
    let body = der::sequence(&[&der::integer(&[0]), &name::write(&profile.subject)?, &key.spki(), &der::write(der::context(0), &attribute)]);
    signed(key, &body)
}

fn signed(key: &PrivateKey, body: &[u8]) -> Result<Vec<u8>, Malformed> {
    Ok(der::sequence(&[body, &key.signature_algorithm(), &der::bits(&key.sign_message(body)?)]))
}

fn period(months: i32, now: i64) -> Option<(Zoned, Zoned)> {
    let from = Timestamp::from_second(now.checked_sub(BACKDATED)?).ok()?.to_zoned(TimeZone::UTC);
    let until = from.checked_add(months.months()).ok()?;
    Some((from, until))
}

/// Two digits for years before 2050, as certificates want it.
fn time(time: &Zoned) -> Vec<u8> {
    if time.year() < 2050 {
        der::write(der::UTC_TIME, time.strftime("%y%m%d%H%M%SZ").to_string().as_bytes())
    } else {
        der::write(der::GENERALIZED_TIME, time.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes())
    }
}

fn extension(oid: &str, critical: bool, content: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    der::sequence(&[&der::oid(oid), critical, &der::write(der::OCTET_STRING, content)])
}

fn extensions(profile: &Profile) -> Result<Vec<u8>, Malformed> {
    let mut found = Vec::new();
    if !profile.usages.is_empty() {
        found.push(extension(KEY_USAGE, true, &usages(&profile.usages)));
    }
    if !profile.extended_usages.is_empty() {
        let usages: Vec<u8> = profile.extended_usages.iter().flat_map(|usage| der::oid(usage)).collect();
        found.push(extension(EXTENDED_USAGES, false, &der::write(der::SEQUENCE, &usages)));
    }
    if profile.names != AlternativeNames::default() {
        found.push(extension(ALTERNATIVE_NAMES, false, &der::write(der::SEQUENCE, &profile.names.write()?)));
    }
    let constraints = der::write(der::SEQUENCE, if profile.is_ca { &[1, 1, 0xff] } else { &[] });
    found.push(extension(BASIC_CONSTRAINTS, profile.is_ca, &constraints));
    Ok(found.concat())
}

/// A bit string without the zeros at its end.
fn usages(words: &[String]) -> Vec<u8> {
    let places = words.iter().filter_map(|word| USAGES.iter().position(|usage| usage == word));
    let bits = places.fold(0_u16, |bits, place| bits | (0x8000 >> place));
    let [first, second] = bits.to_be_bytes();
    let bytes: &[u8] = if second == 0 { &[first] } else { &[first, second] };
    let unused = u8::try_from(bytes.last().map_or(0, |byte| byte.trailing_zeros().min(7))).unwrap_or_default();
    der::write(der::BIT_STRING, &[&[unused], bytes].concat())
}

impl AlternativeNames {
    fn write(&self) -> Result<Vec<u8>, Malformed> {
        let texts = [(1, &self.emails), (2, &self.dns), (6, &self.uris)];
        let mut names: Vec<Vec<u8>> =
            texts.iter().flat_map(|(number, texts)| texts.iter().map(|text| der::write(der::primitive(*number), text.as_bytes()))).collect();
        for address in &self.addresses {
            let address: IpAddr = address.parse().map_err(|_| Malformed("an alternative name is not an IP address"))?;
            names.push(match address {
                IpAddr::V4(address) => der::write(der::primitive(7), &address.octets()),
                IpAddr::V6(address) => der::write(der::primitive(7), &address.octets()),
            });
        }
        for upn in &self.upns {
            let value = der::write(der::context(0), &der::write(der::UTF8_STRING, upn.as_bytes()));
            names.push(der::write(der::context(0), &[der::oid(UPN), value].concat()));
        }
        Ok(names.concat())
    }
}
