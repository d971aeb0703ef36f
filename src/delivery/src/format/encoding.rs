//! How the text that Key Vault stores becomes bytes.
//!
//! Base64 is the standard or the URL-safe alphabet, with or without padding. White space inside base64 and hexadecimal is skipped, since
//! tools wrap their output; in `utf-8` nothing is: bytes in are bytes out.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::FormatError;
use keyvault_common::plan::Encoding;
use keyvault_common::secret::SecretValue;

const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// The bytes that `stored` stands for.
pub(super) fn decode(stored: &SecretValue, encoding: Encoding) -> Result<SecretValue, FormatError> {
    match encoding {
        Encoding::Utf8 | Encoding::AsTagged => Ok(stored.clone()),
        Encoding::Base64 => base64(stored.expose()),
        Encoding::Hex => hex(stored.expose()),
    }
}

fn base64(stored: &[u8]) -> Result<SecretValue, FormatError> {
    let mut letters = Zeroizing::new(Vec::with_capacity(stored.len()));
    for (index, byte) in stored.iter().enumerate().filter(|(_, byte)| !byte.is_ascii_whitespace()) {
        letters.push(match byte {
            b'-' => b'+',
            b'_' => b'/',
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' | b'=' => *byte,
            _ => return Err(FormatError::Base64Letter { position: index + 1 }),
        });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(letters.len()));
    BASE64.decode_vec(&*letters, &mut bytes).map_err(|_| {
        let end = stored.trim_ascii_end();
        FormatError::Base64End { position: end.iter().position(|byte| *byte == b'=').map_or(end.len(), |at| at + 1) }
    })?;
    Ok(SecretValue::new(std::mem::take(&mut *bytes)))
}

fn hex(stored: &[u8]) -> Result<SecretValue, FormatError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(stored.len() / 2));
    let mut half = None;
    for (index, byte) in stored.iter().enumerate().filter(|(_, byte)| !byte.is_ascii_whitespace()) {
        let digit = digit(*byte).ok_or(FormatError::HexDigit { position: index + 1 })?;
        match half.take() {
            None => half = Some(digit << 4),
            Some(high) => bytes.push(high | digit),
        }
    }
    if half.is_some() {
        return Err(FormatError::HexEnd { position: stored.trim_ascii_end().len() });
    }
    Ok(SecretValue::new(std::mem::take(&mut *bytes)))
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str, encoding: Encoding) -> Result<Vec<u8>, String> {
        decode(&SecretValue::from(text.to_owned()), encoding).map(|value| value.expose().to_vec()).map_err(|error| error.to_string())
    }

    #[test]
    fn text_stays_as_it_is_to_the_byte() {
        for text in ["", "a\r\n", " \n", "ünï\u{0}", "aGk="] {
            assert_eq!(decoded(text, Encoding::Utf8).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn base64_is_read_in_every_common_spelling() {
        for text in ["+/8AaA==", "+/8AaA", "-_8AaA==", "-_8AaA", "-/8AaA", "+/8A\r\naA==\n", " +/8AaA== "] {
            assert_eq!(decoded(text, Encoding::Base64).as_deref(), Ok(&[0xfb, 0xff, 0, 0x68][..]), "{text:?}");
        }
        assert_eq!(decoded("", Encoding::Base64).as_deref(), Ok(&[][..]));
    }

    #[test]
    fn hexadecimal_is_read_in_either_case() {
        for text in ["00fFa5", "00 ff a5\n"] {
            assert_eq!(decoded(text, Encoding::Hex).as_deref(), Ok(&[0, 0xff, 0xa5][..]), "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_decoded_is_placed_and_not_shown() {
        for (encoding, text, expected) in [
            (Encoding::Base64, "aG!k", "the value is not base64: character 3 is none of its letters"),
            (Encoding::Base64, "aGk", ""),
            (Encoding::Base64, "aGk aa\n", "the value is not base64: it is cut off or wrongly padded at character 6"),
            (Encoding::Base64, "a=Gk", "the value is not base64: it is cut off or wrongly padded at character 2"),
            (Encoding::Base64, "aGl=", "the value is not base64: it is cut off or wrongly padded at character 4"),
            (Encoding::Hex, "0g", "the value is not hexadecimal: character 2 is not a digit"),
            (Encoding::Hex, "00 0\n", "the value is not hexadecimal: it has an odd number of digits, and ends after character 4"),
        ] {
            assert_eq!(decoded(text, encoding).err().unwrap_or_default(), expected, "{text:?}");
        }
    }
}
