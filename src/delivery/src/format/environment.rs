//! Variables as the kubelet reads them from a file: `NAME='value'`, and nothing inside the quotes has a meaning, so nothing can be escaped.

use super::{FormatError, Object, Values, of_secret};
use keyvault_common::plan::Variable;
use keyvault_common::secret::SecretValue;

/// The kubelet's scanner takes no longer line.
const LONGEST_LINE: usize = 64 * 1024;

/// Why a value cannot be a variable of such a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The kubelet takes it for a missing one.
    #[error("it is empty, which the kubelet takes for missing")]
    Empty,
    /// Nothing can be escaped between single quotes.
    #[error("it has a single quote (byte {0}), and nothing can be escaped there")]
    Quote(usize),
    /// No environment has it.
    #[error("it has a NUL (byte {0}), which no variable can hold")]
    Nul(usize),
    /// The kubelet drops the carriage return.
    #[error("it has a line that ends in CR LF (byte {0}), and the kubelet drops the CR")]
    CrLf(usize),
    /// The kubelet wants text.
    #[error("it is not UTF-8 text (byte {0})")]
    NotText(usize),
    /// Longer than the kubelet reads.
    #[error("line {0} of it is longer than the 64 KiB that the kubelet reads")]
    Long(usize),
}

/// The whole file. Optional secrets that do not exist are left out.
pub(super) fn file(variables: &[Variable], values: &Values<'_>) -> Result<SecretValue, FormatError> {
    let mut lines: Vec<SecretValue> = Vec::new();
    for Variable { name, object, property, encoding } in variables {
        let Some(Object::Secret(secret)) = values.get(object.as_str()) else { continue };
        let within = |error| FormatError::Variable { name: name.clone(), id: object.clone(), error: Box::new(error) };
        let value = of_secret(secret, property.as_ref(), *encoding).map_err(within)?;
        if let Some(unfit) = unfit(name.as_str(), value.expose()) {
            return Err(within(FormatError::Unfit(unfit)));
        }
        lines.push(SecretValue::new([name.as_str().as_bytes(), b"='", value.expose(), b"'\n"].concat()));
    }
    let parts: Vec<&[u8]> = lines.iter().map(SecretValue::expose).collect();
    Ok(SecretValue::new(parts.concat()))
}

/// Positions are counted from 1.
fn unfit(name: &str, value: &[u8]) -> Option<Unfit> {
    let find = |wanted: &[u8]| value.windows(wanted.len()).position(|window| window == wanted).map(|position| position + 1);
    if value.is_empty() {
        return Some(Unfit::Empty);
    }
    let found = find(b"\0").map(Unfit::Nul).or_else(|| find(b"'").map(Unfit::Quote)).or_else(|| find(b"\r\n").map(Unfit::CrLf));
    let text = || std::str::from_utf8(value).err().map(|error| Unfit::NotText(error.valid_up_to() + 1));
    found.or_else(text).or_else(|| {
        // The first line also holds the name, the equals sign and a quote; the last one a quote. A line ends with a line feed.
        let lengths = value.split(|byte| *byte == b'\n').enumerate();
        let around = |index: usize| if index == 0 { name.len() + 2 } else { 0 } + 2;
        lengths
            .map(|(index, line)| (index + 1, line.len() + around(index)))
            .find(|(_, length)| *length > LONGEST_LINE)
            .map(|(line, _)| Unfit::Long(line))
    })
}

#[cfg(test)]
mod tests;
