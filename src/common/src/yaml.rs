//! YAML as a tree that remembers where each node stood and how it was written.
//!
//! Annotations and configuration files are read by hand from this tree, so that a message can name line and key path, so that
//! `0440` and `12345` keep their spelling, and so that anchors, merge keys and tags are refused instead of interpreted.

use std::fmt;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span};

/// One YAML node with the place where it starts (both 1-based).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Line of the first character.
    pub line: usize,
    /// Column of the first character.
    pub column: usize,
    /// What the node is.
    pub kind: Kind,
}

/// What a [`Node`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text. `plain` is false for quoted and block scalars, which are always text.
    Scalar {
        /// The text, after escapes.
        text: String,
        /// Whether it stood without quotes.
        plain: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order written. Keys are unique scalars.
    Map(Vec<(Node, Node)>),
}

/// Why a text is not YAML that we read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct YamlError {
    /// 1-based line.
    pub line: usize,
    /// 1-based column.
    pub column: usize,
    /// Reason and fix, in words.
    pub message: String,
}

/// How deep lists and maps may nest: deeper is hostile, not configuration.
const MAX_DEPTH: usize = 32;

impl Node {
    /// Parses a text that holds exactly one document; an empty text is a null scalar.
    ///
    /// # Errors
    /// Malformed YAML, a second document, an anchor, alias, merge key, tag, a key that is not text, and a key given twice.
    pub fn parse(text: &str) -> Result<Node, YamlError> {
        let mut reader = Reader { events: Parser::new_from_str(text), depth: 0 };
        reader.document()
    }

    /// The text of a scalar, whatever its style; `None` for null, lists and maps.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } if !self.is_null() => Some(text),
            Kind::Scalar { .. } | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// Whether this is an unquoted `null`, `~` or nothing.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// An unquoted `true` or `false`.
    #[must_use]
    pub fn bool(&self) -> Option<bool> {
        match &self.kind {
            Kind::Scalar { text, plain: true } => match text.as_str() {
                "true" | "True" | "TRUE" => Some(true),
                "false" | "False" | "FALSE" => Some(false),
                _ => None,
            },
            Kind::Scalar { .. } | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// Whether this is an unquoted scalar that a YAML reader would take for a number.
    #[must_use]
    pub fn is_bare_number(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if is_number(text))
    }

    /// What the node is, for a message.
    #[must_use]
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar { .. } if self.is_null() => "nothing",
            Kind::Scalar { .. } => "text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }

    /// An error at this node's place.
    pub fn error(&self, message: impl Into<String>) -> YamlError {
        YamlError { line: self.line, column: self.column, message: message.into() }
    }
}

impl fmt::Display for Node {
    /// The text of a scalar, and the kind of anything else.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().unwrap_or(self.describe()))
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && (digits.parse::<f64>().is_ok()
            || digits.strip_prefix("0x").is_some_and(|hex| u128::from_str_radix(hex, 16).is_ok())
            || digits.strip_prefix("0o").is_some_and(|octal| u128::from_str_radix(octal, 8).is_ok()))
}

struct Reader<'t, I: Iterator<Item = Result<(Event<'t>, Span), serde_saphyr::granit_parser::ScanError>>> {
    events: I,
    depth: usize,
}

impl<'t, I: Iterator<Item = Result<(Event<'t>, Span), serde_saphyr::granit_parser::ScanError>>> Reader<'t, I> {
    #[allow(clippy::wildcard_enum_match_arm)] // the parser's enum is foreign and may grow
    fn document(&mut self) -> Result<Node, YamlError> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root.unwrap_or_else(|| null(&span))),
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => return Err(at(&span, "only one YAML document is expected here")),
                Event::DocumentStart(..) => {
                    let (event, span) = self.next()?;
                    root = Some(self.node(event, &span)?);
                }
                _ => return Err(at(&span, "unexpected content")),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), YamlError> {
        loop {
            match self.events.next() {
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok(pair)) => return Ok(pair),
                Some(Err(error)) => {
                    return Err(YamlError { line: error.marker().line(), column: error.marker().col() + 1, message: error.info() });
                }
                None => return Err(YamlError { line: 1, column: 1, message: "the text ends too early".into() }),
            }
        }
    }

    #[allow(clippy::wildcard_enum_match_arm)] // the parser's enum is foreign and may grow
    fn node(&mut self, event: Event<'t>, span: &Span) -> Result<Node, YamlError> {
        refuse_extras(&event, span)?;
        let kind = match event {
            Event::Scalar(text, style, ..) => Kind::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain },
            Event::SequenceStart(..) => Kind::List(self.nested(span, Self::list)?),
            Event::MappingStart(..) => Kind::Map(self.nested(span, Self::map)?),
            _ => return Err(at(span, "unexpected content")),
        };
        Ok(Node { line: span.start.line(), column: span.start.col() + 1, kind })
    }

    fn nested<T>(&mut self, span: &Span, read: impl FnOnce(&mut Self) -> Result<T, YamlError>) -> Result<T, YamlError> {
        if self.depth == MAX_DEPTH {
            return Err(at(span, "lists and maps are nested too deeply"));
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn list(&mut self) -> Result<Vec<Node>, YamlError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, &span)?),
            }
        }
    }

    fn map(&mut self) -> Result<Vec<(Node, Node)>, YamlError> {
        let mut entries: Vec<(Node, Node)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(entries);
            }
            let key = self.node(event, &span)?;
            let Some(name) = key.text() else { return Err(key.error("a key must be text")) };
            if name == "<<" {
                return Err(key.error("merge keys (<<) are not read: write the fields out"));
            }
            if !seen.insert(name.to_owned()) {
                return Err(key.error(format!("the key {name:?} appears here twice: keep one")));
            }
            let (event, span) = self.next()?;
            let value = self.node(event, &span)?;
            entries.push((key, value));
        }
    }
}

fn refuse_extras(event: &Event<'_>, span: &Span) -> Result<(), YamlError> {
    if event.is_alias() || event.anchor_id().is_some() {
        return Err(at(span, "YAML anchors and aliases are not read: write the value out"));
    }
    if event.tag().is_some() {
        return Err(at(span, "YAML tags (!…) are not read: remove the tag"));
    }
    Ok(())
}

fn null(span: &Span) -> Node {
    Node { line: span.start.line(), column: span.start.col() + 1, kind: Kind::Scalar { text: String::new(), plain: true } }
}

fn at(span: &Span, message: &str) -> YamlError {
    YamlError { line: span.start.line(), column: span.start.col() + 1, message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_spelling_and_place() {
        let node = Node::parse("# a comment\nmode: 0440\nname: '12345'\n").unwrap();
        let Kind::Map(entries) = node.kind else { panic!("not a map") };
        assert_eq!(entries[0].1.text(), Some("0440"));
        assert!(entries[0].1.is_bare_number());
        assert!(!entries[1].1.is_bare_number());
        assert_eq!((entries[1].0.line, entries[1].0.column), (3, 1));
    }

    #[test]
    fn refuses_what_we_do_not_read() {
        for (text, reason) in [
            ("a: &x 1\nb: *x", "line 1, column 7: YAML anchors and aliases are not read: write the value out"),
            ("<<: {a: 1}", "line 1, column 1: merge keys (<<) are not read: write the fields out"),
            ("a: !!str 1", "line 1, column 10: YAML tags (!…) are not read: remove the tag"),
            ("a: 1\na: 2", "line 2, column 1: the key \"a\" appears here twice: keep one"),
            ("a: 1\n---\nb: 1", "line 2, column 1: only one YAML document is expected here"),
            ("[a]: 1", "line 1, column 1: a key must be text"),
        ] {
            assert_eq!(Node::parse(text).unwrap_err().to_string(), reason, "{text}");
        }
        let deep = format!("{}x", "- ".repeat(40));
        assert!(Node::parse(&deep).unwrap_err().message.contains("nested too deeply"));
    }

    #[test]
    fn an_empty_text_is_null() {
        assert!(Node::parse("").unwrap().is_null());
        assert!(Node::parse("# only a comment\n").unwrap().is_null());
    }

    #[test]
    fn numbers_are_what_yaml_readers_take_for_numbers() {
        for text in ["1", "-1", "6e10", "0x1f", "0440", "1.5", "+3"] {
            assert!(is_number(text), "{text}");
        }
        for text in ["a1", "1a", "1-2", "", "-", "db", "infinity"] {
            assert!(!is_number(text), "{text}");
        }
    }
}
