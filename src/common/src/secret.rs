//! The one type that holds secret bytes.

use std::fmt;

use zeroize::Zeroizing;

/// Secret bytes: never printed, wiped when dropped. [`SecretValue::expose`] is the only way out, so that a search finds every exit.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Zeroizing<Vec<u8>>);

impl SecretValue {
    /// Takes the bytes over; the caller keeps no copy.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> SecretValue {
        SecretValue(Zeroizing::new(bytes))
    }

    /// The bytes themselves.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing inside. An empty secret is legal in Key Vault.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for SecretValue {
    fn from(text: String) -> SecretValue {
        SecretValue::new(text.into_bytes())
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_bytes_nor_length() {
        let value = SecretValue::from("canary".to_owned());
        assert_eq!(format!("{value:?}"), "SecretValue(redacted)");
        assert_eq!(format!("{:?}", Some(vec![value])), "Some([SecretValue(redacted)])");
    }
}
