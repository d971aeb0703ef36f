//! From when until when a certificate is valid: the one field of X.509 that we read ourselves, in a dozen steps instead of a dozen dependencies.

/// A certificate's validity, both ends in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

/// The validity of a DER certificate; `None` where the bytes are not one.
pub(super) fn validity(certificate: &[u8]) -> Option<Validity> {
    let mut certificate = Der(certificate);
    let mut to_be_signed = Der(Der(certificate.expect(SEQUENCE)?).expect(SEQUENCE)?);
    if to_be_signed.0.first() == Some(&EXPLICIT_VERSION) {
        to_be_signed.next()?;
    }
    to_be_signed.expect(INTEGER)?; // serial number
    to_be_signed.expect(SEQUENCE)?; // signature algorithm
    to_be_signed.expect(SEQUENCE)?; // issuer
    let mut validity = Der(to_be_signed.expect(SEQUENCE)?);
    Some(Validity { not_before: time(validity.next()?)?, not_after: time(validity.next()?)? })
}

fn time((tag, text): (u8, &[u8])) -> Option<i64> {
    match tag {
        UTC_TIME => {
            let (year, rest) = digits(text, 2)?;
            seconds(if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits(text, 4)?;
            seconds(year, rest)
        }
        _ => None,
    }
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const EXPLICIT_VERSION: u8 = 0xa0;

/// What is left to read of a run of DER elements.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, length], rest) = self.0.split_first_chunk::<2>()?;
        let (length, rest) = match length {
            0..=0x7f => (usize::from(length), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(length - 0x80))?;
                (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }
}

fn digits(text: &[u8], count: usize) -> Option<(i64, &[u8])> {
    let (number, rest) = text.split_at_checked(count)?;
    let number = number.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))?;
    Some((number, rest))
}

/// The rest of either kind of time is `MMDDHHMMSSZ`.
fn seconds(year: i64, rest: &[u8]) -> Option<i64> {
    let (month, rest) = digits(rest, 2)?;
    let (day, rest) = digits(rest, 2)?;
    let (hour, rest) = digits(rest, 2)?;
    let (minute, rest) = digits(rest, 2)?;
    let (second, rest) = digits(rest, 2)?;
    let valid = rest == b"Z" && (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    valid.then(|| ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days from 1970-01-01 in the Gregorian calendar, counted in years that begin in March so that the leap day comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469
}

#[cfg(test)]
mod tests {
    use super::*;

    fn not_after(certificate: &[u8]) -> Option<i64> {
        validity(certificate).map(|validity| validity.not_after)
    }

    fn certificate_until(year: i32, month: u8, day: u8) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, month, day);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn both_spellings_of_time_are_read() {
        for (date, seconds) in [((2026, 11, 21), 1_795_219_200), ((2028, 2, 29), 1_835_395_200), ((2050, 1, 1), 2_524_608_000)] {
            assert_eq!(not_after(&certificate_until(date.0, date.1, date.2)), Some(seconds), "{date:?}");
        }
        assert_eq!(seconds(1970, b"0101000001Z"), Some(1));
    }

    #[test]
    fn no_truncation_of_a_certificate_is_one() {
        let certificate = certificate_until(2030, 1, 1);
        for length in 0..certificate.len() {
            assert_eq!(not_after(&certificate[..length]), None, "{length} bytes");
        }
    }
}
