//! As much of DER as certificates, keys and PKCS#12 files need. What is read borrows from the input, so that no copy of a key is left behind.

use zeroize::Zeroizing;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// The tag `[number]` of an element that holds elements.
pub(super) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// The tag `[number]` of an element that holds bytes.
pub(super) const fn implicit(number: u8) -> u8 {
    0x80 | number
}

/// Something else is in the place of DER of a certain shape. `at` counts bytes from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged {
    pub(super) at: usize,
}

/// One element: a tag and what it holds.
#[derive(Clone, Copy)]
pub(super) struct Element<'d> {
    pub(super) tag: u8,
    pub(super) content: &'d [u8],
    /// With tag and length.
    pub(super) whole: &'d [u8],
    at: usize,
}

/// Elements, one after the other.
#[derive(Clone)]
pub(super) struct Reader<'d> {
    rest: &'d [u8],
    at: usize,
}

impl<'d> Reader<'d> {
    pub(super) fn new(der: &'d [u8]) -> Reader<'d> {
        Reader { rest: der, at: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element, whatever it is. Lengths are definite and fit in four bytes, tags in one.
    pub(super) fn next(&mut self) -> Result<Element<'d>, Damaged> {
        let damaged = Damaged { at: self.at };
        let (&tag, &first) = (self.rest.first().ok_or(damaged)?, self.rest.get(1).ok_or(damaged)?);
        let (length, header) = match usize::from(first) {
            short @ ..=0x7f => (short, 2),
            long @ 0x81..=0x84 => {
                let bytes = self.rest.get(2..2 + long - 0x80).ok_or(damaged)?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), 2 + bytes.len())
            }
            _ => return Err(damaged),
        };
        let whole = header.checked_add(length).and_then(|end| self.rest.get(..end)).ok_or(damaged)?;
        let element = Element { tag, content: &whole[header..], whole, at: self.at + header };
        self.rest = &self.rest[whole.len()..];
        self.at += whole.len();
        Ok(element)
    }

    /// The next element, which has to have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Result<Element<'d>, Damaged> {
        let at = self.at;
        self.next().ok().filter(|element| element.tag == tag).ok_or(Damaged { at })
    }

    /// The next element, if there is one with this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<Element<'d>>, Damaged> {
        if self.rest.first() == Some(&tag) { self.next().map(Some) } else { Ok(None) }
    }

    /// The elements of the next element.
    pub(super) fn nested(&mut self, tag: u8) -> Result<Reader<'d>, Damaged> {
        self.expect(tag).map(|element| element.reader())
    }
}

impl<'d> Element<'d> {
    /// The elements that it holds.
    pub(super) fn reader(&self) -> Reader<'d> {
        Reader { rest: self.content, at: self.at }
    }

    pub(super) fn damaged(&self) -> Damaged {
        Damaged { at: self.at }
    }

    /// A positive number without its leading zeros.
    pub(super) fn magnitude(&self) -> &'d [u8] {
        trim_zeros(self.content)
    }

    /// A small number, as counts are.
    pub(super) fn number(&self) -> Result<u32, Damaged> {
        match self.magnitude() {
            bytes if bytes.len() <= 4 && self.tag == INTEGER => Ok(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))),
            _ => Err(self.damaged()),
        }
    }

    /// A bit string of whole bytes.
    pub(super) fn bits(&self) -> Result<&'d [u8], Damaged> {
        match self.content {
            [0, bytes @ ..] if self.tag == BIT_STRING => Ok(bytes),
            _ => Err(self.damaged()),
        }
    }
}

pub(super) fn trim_zeros(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..]
}

/// An element of these parts.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    // Reserved whole: a buffer that grows leaves what it held.
    let mut der = Zeroizing::new(Vec::with_capacity(length + 6));
    der.push(tag);
    match length {
        0..0x80 => der.push(length as u8),
        _ => {
            let bytes = length.to_be_bytes();
            let bytes = trim_zeros(&bytes);
            der.push(0x80 | bytes.len() as u8);
            der.extend_from_slice(bytes);
        }
    }
    parts.iter().for_each(|part| der.extend_from_slice(part));
    der
}

pub(super) fn sequence(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    element(SEQUENCE, parts)
}

/// A positive number from its big-endian bytes.
pub(super) fn unsigned(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let bytes = trim_zeros(bytes);
    let sign: &[u8] = if bytes.first().is_none_or(|byte| byte & 0x80 != 0) { &[0] } else { &[] };
    element(INTEGER, &[sign, bytes])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_at_every_length_form() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000] {
            let bytes = vec![7; length];
            let der = sequence(&[&element(OCTET_STRING, &[&bytes]), &unsigned(&[0, 0, 0x80, 1])]);
            let mut reader = Reader::new(&der).nested(SEQUENCE).unwrap();
            assert_eq!(reader.expect(OCTET_STRING).unwrap().content, bytes);
            assert_eq!(reader.expect(INTEGER).unwrap().number(), Ok(0x8001));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn what_is_cut_off_indefinite_or_endless_is_damaged_where_it_begins() {
        for der in [&[0x30][..], &[0x30, 0x80, 0, 0], &[0x30, 0x85, 0, 0, 0, 0, 0], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 2, 0]] {
            assert_eq!(Reader::new(der).next().err(), Some(Damaged { at: 0 }), "{der:?}");
        }
        let mut reader = Reader::new(&[0x30, 3, 4, 1, 0]).nested(SEQUENCE).unwrap();
        assert_eq!(reader.expect(INTEGER).err(), Some(Damaged { at: 2 }));
        assert_eq!(unsigned(&[]).as_slice(), [2, 1, 0]);
    }
}
