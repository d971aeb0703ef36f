//! From fetched objects to the bytes of a file: what a value expression of the plan says.

mod encoding;
mod property;

use std::collections::HashMap;

use crate::plan::Value;
use crate::property::PropertyPath;
use crate::secret::SecretValue;

/// Fetched values by the plan's ids; an optional object that does not exist is absent.
pub type Values<'p> = HashMap<&'p str, SecretValue>;

/// Why an object's value is not what the plan takes it for. Says where, never what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A character that base64 does not have.
    #[error("the value is not base64: character {position} is none of its letters")]
    Base64Letter {
        /// Counted from 1.
        position: usize,
    },
    /// The right letters in an impossible number or order.
    #[error("the value is not base64: it is cut off or wrongly padded")]
    Base64End,
    /// A character that is no hexadecimal digit.
    #[error("the value is not hexadecimal: character {position} is no digit")]
    HexDigit {
        /// Counted from 1.
        position: usize,
    },
    /// Half a byte at the end.
    #[error("the value is not hexadecimal: it has an odd number of digits")]
    HexEnd,
    /// A property is wanted of something that has none.
    #[error("property {path}: the value is neither JSON nor YAML (line {line}, column {column})")]
    Unstructured {
        /// The property.
        path: PropertyPath,
        /// Where reading as YAML stopped.
        line: usize,
        /// Where reading as YAML stopped.
        column: usize,
    },
    /// A step that leads nowhere.
    #[error("property {path}: there is nothing at {step:?}")]
    NoProperty {
        /// The property.
        path: PropertyPath,
        /// The step of it.
        step: String,
    },
    /// A property without a value.
    #[error("property {path} is null")]
    Null {
        /// The property.
        path: PropertyPath,
    },
}

/// The bytes that `value` stands for, or `None` where it needs an object that does not exist.
///
/// # Errors
/// An object's value does not have the encoding or the property that the plan says.
pub fn render(value: &Value, values: &Values<'_>) -> Result<Option<SecretValue>, FormatError> {
    let Value::Object { id, property, encoding } = value;
    let Some(stored) = values.get(id.as_str()) else { return Ok(None) };
    match property {
        Some(path) => encoding::decode(&property::select(stored, path)?, *encoding),
        None => encoding::decode(stored, *encoding),
    }
    .map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Encoding;

    #[test]
    fn a_property_is_picked_first_and_decoded_then() {
        let values = Values::from([("0", SecretValue::from(r#"{"key":"aGk="}"#.to_owned()))]);
        let value = |id: &str| Value::Object { id: id.to_owned(), property: Some("key".parse().unwrap()), encoding: Encoding::Base64 };
        assert_eq!(render(&value("0"), &values).unwrap().unwrap().expose(), b"hi");
        assert_eq!(render(&value("1"), &values).unwrap(), None);
    }
}
