//! Which files change: pure, from what they were made of and what a refresh has brought.

use crate::marker::Made;

/// What a refresh knows of something that a file is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen<'a> {
    /// Its version is the plan's, so nothing was asked.
    Pinned,
    /// This version; empty where the answer does not say.
    Version(&'a str),
    /// It does not exist, and need not.
    Missing,
    /// It could not be had, and another try does not help.
    Refused,
}

/// What becomes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing that it is made of changed.
    Keep,
    /// It is made again.
    Render,
    /// Something changed, and something else is not there: the last good one stays.
    HoldBack,
}

/// Judges a file by everything that it is made of.
pub(super) fn judge<'a>(made: &Made, inputs: &[(&'a str, Seen<'a>)]) -> Verdict {
    let is_new = |(id, seen): &(&str, Seen<'_>)| matches!(seen, Seen::Version(version) if !holds(made, id, version));
    let is_gone = |(id, seen): &(&str, Seen<'_>)| *seen == Seen::Refused || (*seen == Seen::Missing && made.versions.contains_key(*id));
    match (inputs.iter().any(is_new), inputs.iter().any(is_gone)) {
        (false, _) => Verdict::Keep,
        (true, true) => Verdict::HoldBack,
        (true, false) => Verdict::Render,
    }
}

/// Whether a file is made of this version. Of an unknown one nobody can tell.
pub(super) fn holds(made: &Made, id: &str, version: &str) -> bool {
    !version.is_empty() && made.versions.get(id).is_some_and(|held| held == version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_again_when_something_changed_and_everything_is_there() {
        let made =
            Made { versions: [("a", "1"), ("b", "1"), ("u", "")].map(|(id, version)| (id.to_owned(), version.to_owned())).into(), absent: false };
        for (inputs, expected) in [
            (&[("a", Seen::Version("1"))][..], Verdict::Keep),
            (&[("a", Seen::Version("2"))], Verdict::Render),
            (&[("a", Seen::Version("")), ("b", Seen::Version("1"))], Verdict::Render),
            (&[("u", Seen::Version(""))], Verdict::Render),
            (&[("u", Seen::Version("1"))], Verdict::Render),
            (&[("a", Seen::Pinned)], Verdict::Keep),
            (&[("a", Seen::Pinned), ("b", Seen::Version("2"))], Verdict::Render),
            (&[("a", Seen::Refused)], Verdict::Keep),
            (&[("a", Seen::Refused), ("b", Seen::Version("2"))], Verdict::HoldBack),
            (&[("a", Seen::Missing)], Verdict::Keep),
            (&[("a", Seen::Missing), ("b", Seen::Version("2"))], Verdict::HoldBack),
            (&[("never", Seen::Missing), ("b", Seen::Version("2"))], Verdict::Render),
            (&[("never", Seen::Missing)], Verdict::Keep),
            (&[("never", Seen::Version("1"))], Verdict::Render),
            (&[], Verdict::Keep),
        ] {
            assert_eq!(judge(&made, inputs), expected, "{inputs:?}");
        }
    }
}
