//! Reads a YAML map field by field and remembers every problem: all of them come at once, each with its place, key path and fix.

use std::fmt;
use std::str::FromStr;

use crate::yaml::{Kind, Node, YamlError};

/// What is wrong with one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// 1-based line of the node.
    pub line: usize,
    /// 1-based column of the node.
    pub column: usize,
    /// The keys from the root to the node, as in `server.tls.certFile`; empty at the root.
    pub path: String,
    /// Reason and fix, in words.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

impl From<YamlError> for Problem {
    fn from(error: YamlError) -> Problem {
        Problem { line: error.line, column: error.column, path: String::new(), message: error.message }
    }
}

/// Nobody reads more, and a hostile text could have hundreds of thousands.
const MAX_PROBLEMS: usize = 100;

/// The first problems of one text, in the order found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Adds what is wrong with `node`, which is at `path`.
    pub fn add(&mut self, node: &Node, path: &str, message: impl Into<String>) {
        if self.0.len() < MAX_PROBLEMS {
            self.0.push(Problem { line: node.line, column: node.column, path: path.to_owned(), message: message.into() });
        }
    }

    /// The problems as lines `FILE:LINE:COLUMN: PATH: MESSAGE`, as compilers write them.
    #[must_use]
    pub fn in_file(&self, file: &str) -> String {
        let line = |problem: &Problem| format!("{file}:{}:{}: {problem}", problem.line, problem.column);
        self.0.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// The fields of one map. Every key that is asked for is known; [`Fields::finish`] reports the others.
#[derive(Debug)]
pub struct Fields<'n> {
    path: String,
    entries: &'n [(Node, Node)],
    known: Vec<&'static str>,
    /// Known elsewhere, and refused here: nobody is to be pointed at them.
    refused: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// The fields of `node`; `None`, with a problem, where it is not a map. Null counts as an empty map.
    pub fn of(node: &'n Node, path: &str, problems: &mut Problems) -> Option<Fields<'n>> {
        let entries: &'n [(Node, Node)] = match &node.kind {
            Kind::Map(entries) => entries,
            Kind::Scalar { .. } if node.is_null() => &[],
            Kind::Scalar { .. } | Kind::List(_) => {
                problems.add(node, path, format!("a map is expected here, not {}", node.describe()));
                return None;
            }
        };
        Some(Fields { path: path.to_owned(), entries, known: Vec::new(), refused: Vec::new() })
    }

    /// The path of a field, for problems that a caller finds itself.
    #[must_use]
    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A field's node; `None` where it is absent or null.
    pub fn take(&mut self, key: &'static str) -> Option<&'n Node> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.entries.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value).filter(|value| !value.is_null())
    }

    /// A field that has its place elsewhere; a problem with this message where it is written.
    pub fn refuse(&mut self, key: &'static str, message: &str, problems: &mut Problems) {
        if let Some(node) = self.take(key) {
            problems.add(node, &self.path(key), message);
        }
        self.refused.push(key);
    }

    /// Keeps known fields out of lists of what is known.
    pub fn hide(&mut self, keys: &[&'static str]) {
        self.refused.extend(keys);
    }

    /// A field read as text and parsed; a problem where it is not text or does not parse.
    pub fn parse<T: FromStr<Err: fmt::Display>>(&mut self, key: &'static str, problems: &mut Problems) -> Option<T> {
        let node = self.take(key)?;
        let path = self.path(key);
        parse_node(node, &path, problems)
    }

    /// A field that is `true` or `false`, without quotes.
    pub fn bool(&mut self, key: &'static str, problems: &mut Problems) -> Option<bool> {
        let node = self.take(key)?;
        let value = node.bool();
        if value.is_none() {
            problems.add(node, &self.path(key), format!("{:?} is neither true nor false (without quotes)", node.to_string()));
        }
        value
    }

    /// A field that is a list; a problem where it is something else.
    pub fn list(&mut self, key: &'static str, problems: &mut Problems) -> Option<&'n [Node]> {
        let node = self.take(key)?;
        match &node.kind {
            Kind::List(items) => Some(items),
            Kind::Scalar { .. } | Kind::Map(_) => {
                problems.add(node, &self.path(key), format!("a list is expected here, not {}", node.describe()));
                None
            }
        }
    }

    /// A field that is a list of texts, each parsed.
    pub fn parse_list<T: FromStr<Err: fmt::Display>>(&mut self, key: &'static str, problems: &mut Problems) -> Option<Vec<T>> {
        let items = self.list(key, problems)?;
        let path = self.path(key);
        Some(items.iter().enumerate().filter_map(|(index, item)| parse_node(item, &format!("{path}[{index}]"), problems)).collect())
    }

    /// The fields of a map below this one.
    pub fn map(&mut self, key: &'static str, problems: &mut Problems) -> Option<Fields<'n>> {
        let node = self.take(key)?;
        Fields::of(node, &self.path(key), problems)
    }

    /// Reports every key that nobody asked for, with the nearest known one. All known ones are listed once.
    pub fn finish(self, problems: &mut Problems) {
        let known: Vec<&str> = self.known.iter().copied().filter(|key| !self.refused.contains(key)).collect();
        let mut listed = false;
        for (name, _) in self.entries {
            let written = name.to_string();
            if self.known.contains(&written.as_str()) {
                continue;
            }
            let message = match nearest(&written, &known) {
                Some(near) => format!("unknown key; did you mean {near}?"),
                None if listed => "unknown key".to_owned(),
                None => format!("unknown key; known are {}", by_nearness(&written, &known).join(", ")),
            };
            listed |= message.contains("; known are ");
            problems.add(name, &self.path(&written), message);
        }
    }
}

/// Parses a scalar node, or says why that cannot be done.
pub fn parse_node<T: FromStr<Err: fmt::Display>>(node: &Node, path: &str, problems: &mut Problems) -> Option<T> {
    let Some(text) = node.text() else {
        problems.add(node, path, format!("text is expected here, not {}", node.describe()));
        return None;
    };
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            problems.add(node, path, error.to_string());
            None
        }
    }
}

/// The known words, the likeliest first.
fn by_nearness<'k>(written: &str, known: &[&'k str]) -> Vec<&'k str> {
    let mut known = known.to_vec();
    known.sort_by_cached_key(|word| distance(&written.to_lowercase(), word));
    known
}

/// No known word is nearly as long, and the comparison costs what the text is long.
const LONGEST_TYPO: usize = 80;

/// The known word nearest to a written one, if it is near enough for a typo.
#[must_use]
pub fn nearest<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    if written.len() > LONGEST_TYPO {
        return None;
    }
    let limit = (written.len() / 3).max(2);
    known
        .iter()
        .map(|word| (distance(&written.to_lowercase(), &word.to_lowercase()), *word))
        .min()
        .filter(|(far, _)| *far <= limit)
        .map(|(_, word)| word)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.chars().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Guid;

    #[test]
    fn all_problems_come_at_once_with_place_and_path() {
        let node = Node::parse("server:\n  listn: 1\n  tls: [1]\nid: nope\nflag: \"true\"\n").unwrap();
        let mut problems = Problems::default();
        let mut root = Fields::of(&node, "", &mut problems).unwrap();
        let mut server = root.map("server", &mut problems).unwrap();
        assert!(server.take("listen").is_none());
        assert!(server.map("tls", &mut problems).is_none());
        server.finish(&mut problems);
        assert_eq!(root.parse::<Guid>("id", &mut problems), None);
        assert_eq!(root.bool("flag", &mut problems), None);
        root.finish(&mut problems);
        assert_eq!(
            problems.in_file("c.yaml"),
            "c.yaml:3:8: server.tls: a map is expected here, not a list\n\
             c.yaml:2:3: server.listn: unknown key; did you mean listen?\n\
             c.yaml:4:5: id: \"nope\" is not a GUID: 32 hexadecimal digits in groups of 8-4-4-4-12\n\
             c.yaml:5:7: flag: \"true\" is neither true nor false (without quotes)"
        );
    }

    #[test]
    fn known_keys_are_listed_once_without_those_that_are_refused() {
        let node = Node::parse("format: pem\nobjectName: a\nobjectType: b\nnames: c\n").unwrap();
        let mut problems = Problems::default();
        let mut fields = Fields::of(&node, "", &mut problems).unwrap();
        for key in ["group", "name", "version", "name", "objects"] {
            fields.take(key);
        }
        fields.refuse("format", "a secret has no format", &mut problems);
        fields.finish(&mut problems);
        assert_eq!(
            problems.in_file("c"),
            "c:1:9: format: a secret has no format\n\
             c:2:1: objectName: unknown key; known are objects, name, version, group\n\
             c:3:1: objectType: unknown key\n\
             c:4:1: names: unknown key; did you mean name?"
        );
    }

    #[test]
    fn a_typo_finds_its_word_and_a_stranger_finds_none() {
        let known = ["secrets", "certificates", "mount-path"];
        assert_eq!(nearest("secret", &known), Some("secrets"));
        assert_eq!(nearest("mountPath", &known), Some("mount-path"));
        assert_eq!(nearest("banana", &known), None);
    }
}
