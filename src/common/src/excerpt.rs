//! Foreign text in messages: cut to a length, lists cut to a number.

use std::borrow::Cow;

/// How many names a list in a message has.
const LISTED: usize = 10;
/// How long a name in a list may be, in bytes: no name of Kubernetes that we list is longer.
const NAME: usize = 80;

/// At most so many bytes of a text, cut between two characters. A cut text ends with `…`, which counts.
#[must_use]
pub fn excerpt(text: &str, most: usize) -> Cow<'_, str> {
    const MARK: &str = "…";
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(most.saturating_sub(MARK.len()));
    Cow::Owned(format!("{}{MARK}", &text[..end]))
}

/// The first ten names, with commas, and how many more there are.
#[must_use]
pub fn listed<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let mut names = names.into_iter();
    let shown: Vec<Cow<'_, str>> = names.by_ref().take(LISTED).map(|name| excerpt(name, NAME)).collect();
    match names.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters_and_marked() {
        assert_eq!(excerpt("short", 5), "short");
        assert_eq!(excerpt("longer", 5), "lo…");
        assert_eq!(excerpt("éééé", 7), "éé…");
        assert_eq!(excerpt(&"é".repeat(1000), 1024).len(), 1023);
    }

    #[test]
    fn a_list_has_ten_names_at_most() {
        assert_eq!(listed(["a", "b"]), "a, b");
        assert_eq!(listed(["a"; 10]).matches('a').count(), 10);
        assert_eq!(listed(["a"; 13]), "a, a, a, a, a, a, a, a, a, a and 3 more");
        assert_eq!(listed(["é".repeat(100).as_str()]), format!("{}…", "é".repeat(38)));
    }
}
