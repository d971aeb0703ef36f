//! Paths into JSON and YAML values: `sink.token`, `hosts.0.name`, `labels."app.kubernetes.io/name"`.

use std::fmt;
use std::str::FromStr;

use crate::names::{NameError, serde_text};

/// A parsed path: one or more steps, each a map key or, in a list, a position counted from 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PropertyPath {
    text: String,
    steps: Vec<String>,
}

impl PropertyPath {
    /// The steps from the outside in.
    #[must_use]
    pub fn steps(&self) -> &[String] {
        &self.steps
    }
}

impl FromStr for PropertyPath {
    type Err = NameError;

    fn from_str(text: &str) -> Result<PropertyPath, NameError> {
        if text == "$" || text.starts_with("$.") || text.starts_with("$[") {
            return Err(NameError::new("a property path", text, "leave out $. at its beginning: a path begins with a key, such as sink.token"));
        }
        match steps(text) {
            Some(steps) => Ok(PropertyPath { text: text.to_owned(), steps }),
            None => Err(NameError::new(
                "a property path",
                text,
                "keys joined by dots, list positions as numbers, keys with dots in double quotes, such as sink.token, hosts.0 or labels.\"a.b\"",
            )),
        }
    }
}

fn steps(text: &str) -> Option<Vec<String>> {
    let (mut rest, mut steps) = (text, Vec::new());
    loop {
        let (step, tail) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        if step.is_empty() || (!rest.starts_with('"') && step.contains(['"', ' ', '[', ']'])) {
            return None;
        }
        steps.push(step.to_owned());
        if tail.is_empty() {
            return Some(steps);
        }
        rest = tail.strip_prefix('.')?;
    }
}

impl fmt::Display for PropertyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
serde_text!(PropertyPath);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_what_stands_between_dots() {
        for (text, expected) in [
            ("token", vec!["token"]),
            ("sink.token", vec!["sink", "token"]),
            ("hosts.0.name", vec!["hosts", "0", "name"]),
            ("labels.\"app.kubernetes.io/name\"", vec!["labels", "app.kubernetes.io/name"]),
            ("\"a b\".c", vec!["a b", "c"]),
            ("$ref", vec!["$ref"]),
            ("\"$\".a", vec!["$", "a"]),
        ] {
            assert_eq!(text.parse::<PropertyPath>().unwrap().steps(), expected, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", ".", "a.", ".a", "a..b", "\"a", "\"a\"b", "a[0]", "a b", "\"\""] {
            assert!(text.parse::<PropertyPath>().is_err(), "{text:?} was accepted");
        }
        for text in ["$.sink.token", "$", "$[0]"] {
            let expected = format!("{text:?} is not a property path: leave out $. at its beginning: a path begins with a key, such as sink.token");
            assert_eq!(text.parse::<PropertyPath>().unwrap_err().to_string(), expected);
        }
    }
}
