//! DER, as much as keys, certificates and PKCS#12 need: definite lengths, tags of one byte.

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const PRINTABLE_STRING: u8 = 0x13;
pub(crate) const IA5_STRING: u8 = 0x16;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const BMP_STRING: u8 = 0x1e;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
pub(crate) const NULL: [u8; 2] = [5, 0];

/// The tag `[number]` of a constructed value.
pub(crate) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// The tag `[number]` of a primitive value.
pub(crate) const fn primitive(number: u8) -> u8 {
    0x80 | number
}

/// One value.
pub(crate) fn write(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
    let mut value = vec![tag];
    if content.len() >= 0x80 {
        value.push(0x80 | u8::try_from(significant.len()).unwrap_or_default());
    }
    value.extend(significant);
    value.extend(content);
    value
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    write(SEQUENCE, &parts.concat())
}

/// An unsigned number, big-endian.
pub(crate) fn integer(number: &[u8]) -> Vec<u8> {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len().saturating_sub(1));
    let sign: &[u8] = if number.get(start).is_none_or(|byte| byte & 0x80 != 0) { &[0] } else { &[] };
    write(INTEGER, &[sign, &number[start..]].concat())
}

/// Whole bytes.
pub(crate) fn bits(content: &[u8]) -> Vec<u8> {
    write(BIT_STRING, &[&[0], content].concat())
}

/// Dotted numbers; those that are none are left out.
pub(crate) fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u32> = dotted.split('.').filter_map(|arc| arc.parse().ok()).collect();
    let first = arcs.first().copied().unwrap_or_default().saturating_mul(40).saturating_add(arcs.get(1).copied().unwrap_or_default());
    let base128 =
        |arc: u32| (0..5).rev().map(move |place| (place, (arc >> (7 * place)) & 0x7f)).skip_while(|(place, digit)| *place > 0 && *digit == 0);
    let numbers = std::iter::once(first).chain(arcs.into_iter().skip(2));
    let bytes = numbers.flat_map(base128).map(|(place, digit)| u8::try_from(digit).unwrap_or_default() | if place > 0 { 0x80 } else { 0 });
    write(OID, &bytes.collect::<Vec<u8>>())
}

/// The dotted form of an object identifier's content.
pub(crate) fn dotted(content: &[u8]) -> String {
    let mut arcs = Vec::new();
    let mut number: u64 = 0;
    for byte in content {
        number = (number << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            arcs.push(std::mem::take(&mut number));
        }
    }
    let Some((first, rest)) = arcs.split_first() else { return String::new() };
    let top = (*first / 40).min(2);
    let numbers = [top, first - 40 * top].into_iter().chain(rest.iter().copied());
    numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(".")
}

/// One value that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    /// With tag and length.
    pub(crate) whole: &'a [u8],
}

impl<'a> Value<'a> {
    /// The values inside.
    pub(crate) fn inner(self) -> Reader<'a> {
        Reader(self.content)
    }
}

/// Reads values one after the other. `None` means that the bytes are not what is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn next(&mut self) -> Option<Value<'a>> {
        let (tag, first) = (*self.0.first()?, *self.0.get(1)?);
        let (header, length) = match first {
            0..=0x7f => (2, usize::from(first)),
            0x81..=0x84 => {
                let digits = self.0.get(2..2 + usize::from(first & 0x7f))?;
                (2 + digits.len(), digits.iter().fold(0, |length, digit| (length << 8) | usize::from(*digit)))
            }
            _ => return None,
        };
        let whole = self.0.get(..header.checked_add(length)?)?;
        self.0 = &self.0[whole.len()..];
        Some(Value { tag, content: &whole[header..], whole })
    }

    /// The next value, which has this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<Value<'a>> {
        self.next().filter(|value| value.tag == tag)
    }

    /// The next value if it has this tag; else nothing is read.
    pub(crate) fn optional(&mut self, tag: u8) -> Option<Value<'a>> {
        if self.0.first() == Some(&tag) { self.next() } else { None }
    }

    /// The insides of the next value.
    pub(crate) fn enter(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.expect(tag).map(Value::inner)
    }

    /// An object identifier, dotted.
    pub(crate) fn oid(&mut self) -> Option<String> {
        self.expect(OID).map(|value| dotted(value.content))
    }

    /// Every value that is left; ends early at bytes that are none.
    pub(crate) fn values(mut self) -> impl Iterator<Item = Value<'a>> {
        std::iter::from_fn(move || self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        for (dots, bytes) in [("1.2.840.113549.1.1.11", "2a864886f70d01010b"), ("2.5.29.15", "551d0f"), ("1.3.132.0.35", "2b81040023")] {
            let written = oid(dots);
            let hex: String = written[2..].iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((hex.as_str(), Reader(&written).oid().unwrap().as_str()), (bytes, dots));
        }
        for length in [0, 1, 127, 128, 255, 256, 65_536] {
            let written = write(OCTET_STRING, &vec![7; length]);
            assert_eq!(Reader(&written).next().unwrap().content.len(), length);
        }
        assert_eq!(integer(&[0, 0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[0]), [2, 1, 0]);
        assert_eq!(integer(&[]), [2, 1, 0]);
    }

    #[test]
    fn hostile_lengths_are_no_value() {
        for bytes in [&[0x30][..], &[0x30, 0x80], &[0x30, 0x85, 1, 1, 1, 1, 1], &[0x30, 5, 1], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0]] {
            assert_eq!(Reader(bytes).next(), None, "{bytes:?}");
        }
    }
}
