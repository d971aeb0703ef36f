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

    /// Whether it may hold a word, without reading it. If it does, the answer is yes, because an escape that may be a character of a word counts as
    /// the word. A word is of printable ASCII without `"` and `\`, which are always escaped, and without `<`, `>` and `&`, which Go escapes in every text.
    #[must_use]
    pub fn mentions(&self, word: &str) -> bool {
        debug_assert!(word.chars().all(|character| matches!(character, ' '..='~') && !"\"\\<>&".contains(character)), "{word:?}");
        let raw = self.raw.get();
        let escapes = || raw.match_indices('\\').map(|(at, _)| &raw[at + 1..]);
        raw.contains(word) || escapes().any(|escape| escape.starts_with('/') || escape.strip_prefix('u').is_some_and(may_be_of_a_word))
    }
}

/// Whether the digits of a `\u` escape name one of U+0020 to U+007F, but for `<`, `>` and `&`.
fn may_be_of_a_word(digits: &str) -> bool {
    let code = digits.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    code.is_none_or(|code| (0x20..0x80).contains(&code) && ![0x3c, 0x3e, 0x26].contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_however_it_is_escaped() {
        let about = |json: &str, word: &str| serde_json::from_str::<Lazy<'_, Vec<String>>>(json).unwrap().mentions(word);
        let mentions = |json: &str| about(json, "keyvault-");
        assert!(about(r#"["KEYVAULT\u005fAGENT_EXEC"]"#, "KEYVAULT_AGENT_EXEC") && !about(r#"["KEYVAULT-AGENT"]"#, "KEYVAULT_AGENT_EXEC"));
        assert!(about(r#"["\/bin\/app"]"#, "/bin/app") && !about(r#"["/bin"]"#, "/bin/app"));
        for json in [r#"["x keyvault-files"]"#, r#"["\u006beyvault-files"]"#, r#"["keyvault\u002dfiles"]"#, r#"["\u006B"]"#] {
            assert!(mentions(json), "{json}");
        }
        for json in [r#"["x"]"#, r#"["a \"quoted\" word\n"]"#, r#"["a \u0026\u0026 b \u003e c"]"#, r#"["\u00e4 \u2028"]"#] {
            assert!(!mentions(json), "{json}");
        }
    }
}
