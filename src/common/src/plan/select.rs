//! Many secrets by what they have in common.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::is_default;
use crate::names::{NamePrefix, ObjectName, VaultUrl};

/// The most secrets that one selection gives: volumes and memory are reserved for as many.
pub const MAX_SELECTED: usize = 100;

/// Secrets of one vault, under an id that [`SelectedEntry::select`](super::SelectedEntry::select) uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Select {
    /// Unique among the plan's selections.
    pub id: String,
    /// The vault.
    pub vault: VaultUrl,
    /// Which of its secrets.
    pub selector: Selector,
    /// Whether there may be none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub optional: bool,
}

/// What secrets have in common: how their names begin, tags, or both. Displayed as a pattern, `app-*?tags=team=web`, without white space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SelectorJson", into = "SelectorJson")]
pub struct Selector {
    prefix: Option<NamePrefix>,
    tags: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SelectorJson {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<NamePrefix>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
}

impl From<Selector> for SelectorJson {
    fn from(Selector { prefix, tags }: Selector) -> SelectorJson {
        SelectorJson { prefix, tags }
    }
}

impl TryFrom<SelectorJson> for Selector {
    type Error = &'static str;

    fn try_from(SelectorJson { prefix, tags }: SelectorJson) -> Result<Selector, Self::Error> {
        Selector::new(prefix, tags).ok_or("a selector has a prefix or tags")
    }
}

impl Selector {
    /// `None` where nothing is asked for: every secret of a vault is never meant.
    #[must_use]
    pub fn new(prefix: Option<NamePrefix>, tags: BTreeMap<String, String>) -> Option<Selector> {
        if prefix.is_none() && tags.is_empty() { None } else { Some(Selector { prefix, tags }) }
    }

    /// Whether a secret with this name and these tags is one of them. Names are compared without regard to case, as Key Vault does; tags to the letter.
    #[must_use]
    pub fn takes(&self, name: &ObjectName, tags: &BTreeMap<String, String>) -> bool {
        let begins = |prefix: &NamePrefix| {
            let start = name.as_str().get(..prefix.as_str().len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_str()))
        };
        self.prefix.as_ref().is_none_or(begins) && self.tags.iter().all(|(tag, value)| tags.get(tag) == Some(value))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}*", self.prefix.as_ref().map_or("", NamePrefix::as_str))?;
        for (index, (tag, value)) in self.tags.iter().enumerate() {
            f.write_str(if index == 0 { "?tags=" } else { "," })?;
            encode(tag, f)?;
            f.write_str("=")?;
            encode(value, f)?;
        }
        Ok(())
    }
}

/// As in URLs, since tags may hold anything.
fn encode(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    text.bytes().try_for_each(|byte| match byte {
        b'-' | b'.' | b'_' | b'~' => write!(f, "{}", char::from(byte)),
        _ if byte.is_ascii_alphanumeric() => write!(f, "{}", char::from(byte)),
        _ => write!(f, "%{byte:02X}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(prefix: &str, tags: &[(&str, &str)]) -> Selector {
        let tags = tags.iter().map(|(tag, value)| ((*tag).to_owned(), (*value).to_owned())).collect();
        Selector::new(Some(prefix).filter(|prefix| !prefix.is_empty()).map(|prefix| prefix.parse().unwrap()), tags).unwrap()
    }

    #[test]
    fn names_are_compared_without_regard_to_case_and_tags_to_the_letter() {
        let tags = |tags: &[(&str, &str)]| -> BTreeMap<String, String> { tags.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect() };
        let web = tags(&[("team", "web"), ("tier", "1")]);
        for (selector, name, tags, expected) in [
            (selector("app-", &[]), "app-a", &web, true),
            (selector("app-", &[]), "APP-a", &web, true),
            (selector("App-", &[]), "app-", &web, true),
            (selector("app-", &[]), "app", &web, false),
            (selector("app-", &[]), "my-app-a", &web, false),
            (selector("", &[("team", "web")]), "x", &web, true),
            (selector("app-", &[("team", "web"), ("tier", "1")]), "app-x", &web, true),
            (selector("", &[("team", "web"), ("tier", "2")]), "x", &web, false),
            (selector("", &[("Team", "web")]), "x", &web, false),
            (selector("", &[("team", "Web")]), "x", &web, false),
            (selector("app-", &[("team", "web")]), "app-x", &BTreeMap::new(), false),
        ] {
            assert_eq!(selector.takes(&name.parse().unwrap(), tags), expected, "{selector} {name}");
        }
    }

    #[test]
    fn a_pattern_has_no_white_space_whatever_the_tags() {
        assert_eq!(selector("app-", &[]).to_string(), "app-*");
        assert_eq!(selector("", &[("a b", "c,d=é\n"), ("team", "web")]).to_string(), "*?tags=a%20b=c%2Cd%3D%C3%A9%0A,team=web");
    }

    #[test]
    fn every_secret_of_a_vault_cannot_be_said() {
        assert_eq!(Selector::new(None, BTreeMap::new()), None);
        for text in ["{}", r#"{"prefix":""}"#, r#"{"tags":{}}"#, r#"{"prefix":"a_b"}"#, r#"{"prefix":"a","novel":1}"#, r#"{"tags":{"a":1}}"#] {
            assert!(serde_json::from_str::<Selector>(text).is_err(), "{text}");
        }
    }
}
