//! Fields that few reviews look into.

use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A field that is kept as it stood in the request and read when somebody asks: most containers are given no variables.
#[derive(Clone, Copy, Debug)]
pub struct Lazy<'a, T> {
    raw: &'a RawValue,
    read: PhantomData<fn() -> T>,
}

impl<'de: 'a, 'a, T> Deserialize<'de> for Lazy<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Lazy<'a, T>, D::Error> {
        <&'de RawValue>::deserialize(deserializer).map(|raw| Lazy { raw, read: PhantomData })
    }
}

impl<'a, T: Deserialize<'a>> Lazy<'a, T> {
    /// What it holds; `None` where that is something else.
    #[must_use]
    pub fn read(&self) -> Option<T> {
        serde_json::from_str(self.raw.get()).ok()
    }

    /// Whether it may hold a word of letters and hyphens, without reading it. Never no if it does: escapes that may stand for such a character count as the word.
    #[must_use]
    pub fn mentions(&self, word: &str) -> bool {
        let raw = self.raw.get();
        raw.contains(word) || raw.match_indices('\\').any(|(at, _)| raw[at + 1..].strip_prefix('u').is_some_and(may_be_of_a_word))
    }
}

/// Whether the digits of a `\u` escape name one of U+0020 to U+007F, but for the three that Go escapes in every text: `<`, `>` and `&`.
fn may_be_of_a_word(digits: &str) -> bool {
    let code = digits.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    code.is_none_or(|code| (0x20..0x80).contains(&code) && ![0x3c, 0x3e, 0x26].contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_however_it_is_escaped() {
        let mentions = |json: &str| serde_json::from_str::<Lazy<'_, Vec<String>>>(json).unwrap().mentions("keyvault-");
        for json in [r#"["x keyvault-files"]"#, r#"["\u006beyvault-files"]"#, r#"["keyvault\u002dfiles"]"#, r#"["\u006B"]"#] {
            assert!(mentions(json), "{json}");
        }
        for json in [r#"["x"]"#, r#"["a \"quoted\" word\n"]"#, r#"["a \u0026\u0026 b \u003e c"]"#, r#"["\u00e4 \u2028"]"#] {
            assert!(!mentions(json), "{json}");
        }
    }
}
