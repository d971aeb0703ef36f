//! PEM: blocks of base64 between two lines that say what they are. Text around them is passed over.

use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, Engine};
use zeroize::Zeroizing;

use crate::secret::SecretValue;

/// One block.
#[derive(Debug)]
pub struct Block {
    /// What its first line says it is, such as `CERTIFICATE`.
    pub label: String,
    /// What the base64 holds.
    pub der: SecretValue,
    /// Where it begins, counted from 1.
    pub line: usize,
}

/// Where a text is no PEM, and why. Lines are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct PemError {
    line: usize,
    reason: String,
}

impl PemError {
    /// For what is PEM, and in it not what its label says.
    #[must_use]
    pub fn damaged(block: &Block) -> PemError {
        PemError { line: block.line, reason: format!("the block {:?} does not hold one, or a damaged one", block.label) }
    }
}

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";
/// No chain is that long.
const MOST: usize = 100;
/// Some writers leave the padding out.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// Whether a text has a PEM block at all.
#[must_use]
pub fn is_pem(text: &[u8]) -> bool {
    text.windows(BEGIN.len()).any(|window| window == BEGIN.as_bytes())
}

/// The blocks of a text.
///
/// # Errors
///
/// The first line at which the text is not PEM, and why.
pub fn blocks(text: &[u8]) -> Result<Vec<Block>, PemError> {
    let text = std::str::from_utf8(text).map_err(|error| PemError {
        line: text[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1,
        reason: "the text is not UTF-8".to_owned(),
    })?;
    let mut lines = text.lines().enumerate();
    let mut blocks = Vec::new();
    while let Some((index, line)) = lines.next() {
        let Some(label) = line.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(DASHES)) else { continue };
        let error = |line: usize, reason: String| PemError { line: line + 1, reason };
        if blocks.len() == MOST {
            return Err(error(index, format!("more than {MOST} blocks")));
        }
        if label.contains(DASHES) {
            return Err(error(index, "a block is on one line: its line breaks have been lost".to_owned()));
        }
        let end = format!("-----END {label}-----");
        // Reserved whole: a buffer that grows leaves what it held.
        let mut body = Zeroizing::new(Vec::with_capacity(text.len()));
        let mut ends = Vec::new();
        loop {
            let Some((at, line)) = lines.next() else { return Err(error(index, format!("the block {label:?} has no end"))) };
            match line.trim() {
                line if line == end => break,
                line if line.starts_with(DASHES) => return Err(error(at, format!("the block {label:?} is not ended before this"))),
                line if line.contains(':') => return Err(error(at, format!("the block {label:?} is encrypted with a password"))),
                line => body.extend(line.bytes().filter(|byte| !byte.is_ascii_whitespace())),
            }
            ends.push(body.len());
        }
        let mut der = Zeroizing::new(Vec::with_capacity(body.len()));
        BASE64.decode_vec(&*body, &mut der).map_err(|problem| {
            let place = if let DecodeError::InvalidByte(at, _) = problem { ends.partition_point(|end| *end <= at) + 1 } else { ends.len() };
            error(index + place, format!("the block {label:?} is not base64, or is cut off"))
        })?;
        blocks.push(Block { label: label.to_owned(), der: SecretValue::new(std::mem::take(&mut *der)), line: index + 1 });
    }
    Ok(blocks)
}

/// Bytes of base64 text in a line.
const LINE: usize = 64;

/// Blocks as text, in the order given, as OpenSSL writes them.
pub fn text<'d>(blocks: impl IntoIterator<Item = (&'static str, &'d [u8])>) -> SecretValue {
    let blocks: Vec<_> = blocks.into_iter().collect();
    let length = |(label, der): &(&str, &[u8])| {
        let letters = der.len().div_ceil(3) * 4;
        2 * label.len() + BEGIN.len() + "-----END ".len() + 2 * DASHES.len() + 2 + letters + letters.div_ceil(LINE)
    };
    // Reserved whole: a buffer that grows leaves what it held.
    let mut text = Zeroizing::new(Vec::with_capacity(blocks.iter().map(length).sum()));
    for (label, der) in blocks {
        text.extend_from_slice(format!("{BEGIN}{label}{DASHES}\n").as_bytes());
        for chunk in der.chunks(LINE / 4 * 3) {
            let mut line = Zeroizing::new([0; LINE]);
            let written = STANDARD.encode_slice(chunk, &mut *line).unwrap_or_default();
            text.extend_from_slice(&line[..written]);
            text.push(b'\n');
        }
        text.extend_from_slice(format!("-----END {label}{DASHES}\n").as_bytes());
    }
    SecretValue::new(std::mem::take(&mut *text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_survive_a_round_trip_and_text_around_them_does_not_disturb() {
        for length in [0, 1, 47, 48, 49, 96, 1000] {
            let der: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let written = text([("PRIVATE KEY", der.as_slice()), ("CERTIFICATE", &der)]);
            let around = format!("Bag Attributes\r\n\r\n{}\nand more", String::from_utf8_lossy(written.expose()).replace('\n', "\r\n"));
            let blocks = blocks(around.as_bytes()).unwrap();
            let found: Vec<_> = blocks.iter().map(|block| (block.label.as_str(), block.der.expose())).collect();
            assert_eq!(found, [("PRIVATE KEY", der.as_slice()), ("CERTIFICATE", &der)]);
        }
    }

    #[test]
    fn what_is_no_pem_is_reported_with_its_line() {
        for (text, expected) in [
            ("-----BEGIN X----- AAAA -----END X-----", "line 1: a block is on one line: its line breaks have been lost"),
            ("\n-----BEGIN X-----\nAAAA\n", "line 2: the block \"X\" has no end"),
            ("-----BEGIN X-----\n-----END Y-----\n", "line 2: the block \"X\" is not ended before this"),
            ("-----BEGIN X-----\nAA\n\nAAAA\nA!\nAAAA\n-----END X-----\n", "line 5: the block \"X\" is not base64, or is cut off"),
            ("-----BEGIN X-----\n!AAA\n-----END X-----\n", "line 2: the block \"X\" is not base64, or is cut off"),
            ("-----BEGIN X-----\nAAAA\nAAAAA\n-----END X-----\n", "line 3: the block \"X\" is not base64, or is cut off"),
            ("-----BEGIN X-----\nA===\n-----END X-----\n", "line 2: the block \"X\" is not base64, or is cut off"),
            ("-----BEGIN X-----\nProc-Type: 4,ENCRYPTED\n", "line 2: the block \"X\" is encrypted with a password"),
        ] {
            assert_eq!(blocks(text.as_bytes()).unwrap_err().to_string(), expected);
        }
        assert_eq!(blocks(b"\n\n\xff").unwrap_err().to_string(), "line 3: the text is not UTF-8");
        assert!(blocks(b"nothing").unwrap().is_empty());
    }
}
