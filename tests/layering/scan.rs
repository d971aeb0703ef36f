//! Just enough of a reader of Rust to see which paths a source names and how long its functions are.

use std::path::Path;

/// A source file without comments, strings and test code.
pub(crate) struct Source {
    /// Path from the package's root, for messages.
    pub(crate) file: String,
    /// `["inject", "patch"]` for `src/inject/patch.rs`.
    pub(crate) module: Vec<String>,
    /// Lines of the file outside test code.
    pub(crate) lines: usize,
    pub(crate) tokens: Vec<Token>,
}

/// An identifier or number, `::`, or any other single character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// `a::b::c`, with groups of a `use` multiplied out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// From `fn` to the closing brace.
    pub(crate) lines: usize,
}

impl Source {
    /// `file` is the path from the package's root.
    pub(crate) fn new(file: &str, text: &str) -> Source {
        let (tokens, test_lines) = without_tests(tokens(&without_comments_and_strings(text)));
        Source { file: file.to_owned(), module: module_of(file), lines: text.lines().count() - test_lines, tokens }
    }

    /// Every file below `src/`, in a stable order; files that hold only tests are left out.
    pub(crate) fn all(package: &Path) -> Vec<Source> {
        let mut files = Vec::new();
        collect(&package.join("src"), &mut files);
        files.sort();
        let name = |file: &Path| file.strip_prefix(package).unwrap().to_str().unwrap().replace('\\', "/");
        files
            .iter()
            .map(|file| (name(file), file))
            .filter(|(name, _)| !is_test_file(name))
            .map(|(name, file)| Source::new(&name, &read(file)))
            .collect()
    }

    /// All paths of two names or more; a lone name after `use` counts as one with `self`.
    pub(crate) fn paths(&self) -> Vec<Named> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            at = if self.is_ident(at) { self.path(at, &[], &mut found) } else { at + 1 };
        }
        found
    }

    /// Functions that have a body.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let starts = (0..self.tokens.len()).filter(|&index| self.text(index) == "fn" && self.is_ident(index + 1));
        starts.filter_map(|index| self.function(index)).collect()
    }

    /// The lines where these tokens stand one after the other.
    pub(crate) fn occurrences(&self, words: &[&str]) -> Vec<usize> {
        self.tokens
            .windows(words.len())
            .filter(|window| window.iter().zip(words).all(|(token, word)| token.text == **word))
            .map(|window| window[0].line)
            .collect()
    }

    fn text(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| &token.text)
    }

    fn is_ident(&self, index: usize) -> bool {
        self.text(index).starts_with(|c: char| c.is_alphabetic() || c == '_')
    }

    /// Adds the paths that start at `at` below `prefix`; returns the index after them.
    fn path(&self, mut at: usize, prefix: &[String], found: &mut Vec<Named>) -> usize {
        let (start, mut segments) = (at, prefix.to_vec());
        while self.is_ident(at) {
            segments.push(self.text(at).to_owned());
            if self.text(at + 1) != "::" {
                at += 1;
                break;
            }
            at += 2;
        }
        if self.text(at) == "{" && self.text(at - 1) == "::" {
            return self.group(at + 1, &segments, found);
        }
        if segments.len() == 1 && start > 0 && self.text(start - 1) == "use" {
            segments.push("self".to_owned());
        }
        if segments.len() > 1 {
            found.push(Named { segments, line: self.tokens[start].line });
        }
        at
    }

    /// The rest of `{a, b::c as d}`; returns the index after the brace.
    fn group(&self, mut at: usize, prefix: &[String], found: &mut Vec<Named>) -> usize {
        while at < self.tokens.len() && self.text(at) != "}" {
            at = match self.text(at) {
                "as" => at + 2,
                _ if self.is_ident(at) => self.path(at, prefix, found),
                _ => at + 1,
            };
        }
        at + 1
    }

    fn function(&self, start: usize) -> Option<Function> {
        let mut depth = 0;
        let mut body = false;
        for token in &self.tokens[start..] {
            match token.text.as_str() {
                ";" if depth == 0 => return None,
                "{" | "(" | "[" => {
                    body |= token.text == "{" && depth == 0;
                    depth += 1;
                }
                "}" | ")" | "]" => {
                    depth -= 1;
                    if body && depth == 0 {
                        let line = self.tokens[start].line;
                        return Some(Function { name: self.text(start + 1).to_owned(), line, lines: token.line - line + 1 });
                    }
                }
                _ => {}
            }
        }
        None
    }
}

fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

fn is_test_file(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/")
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}

/// The same lines with comments, strings and character literals blanked.
pub(crate) fn without_comments_and_strings(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut clean = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let length = blank_length(&chars, at);
        if length == 0 {
            clean.push(chars[at]);
            at += 1;
        } else {
            let end = (at + length).min(chars.len());
            clean.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    clean
}

/// How many characters from here are a comment or a literal; 0 where none begins.
pub(crate) fn blank_length(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match rest {
        ['/', '/', ..] => rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => block_comment(rest),
        ['"', ..] => quoted(rest, '"'),
        ['r', '#' | '"', ..] if !in_word => raw_string(rest, 1),
        ['b' | 'c', 'r', '#' | '"', ..] if !in_word => raw_string(rest, 2),
        ['\'', '\\', ..] => quoted(rest, '\''),
        ['\'', _, '\'', ..] => 3,
        _ => 0,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => depth += 1,
            ['*', '/', ..] => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char], end: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != end {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// 0 for a raw identifier such as `r#type`.
fn raw_string(rest: &[char], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|&&c| c == '#').count();
    if rest.get(prefix + hashes) != Some(&'"') {
        return 0;
    }
    let mut end = vec!['"'];
    end.resize(hashes + 1, '#');
    let start = prefix + hashes + 1;
    rest[start..].windows(end.len()).position(|window| window == end).map_or(rest.len(), |at| start + at + end.len())
}

fn tokens(clean: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (number, line) in clean.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = if word > 0 {
                word
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            tokens.push(Token { text: rest[..length].to_owned(), line: number + 1 });
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// The tokens outside `#[cfg(test)]` items, and how many lines those items took.
fn without_tests(tokens: Vec<Token>) -> (Vec<Token>, usize) {
    let mut kept = Vec::new();
    let (mut at, mut lines) = (0, 0);
    while at < tokens.len() {
        if is_test_attribute(&tokens[at..]) {
            let end = item_end(&tokens, at);
            lines += tokens[end - 1].line - tokens[at].line + 1;
            at = end;
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    (kept, lines)
}

fn is_test_attribute(tokens: &[Token]) -> bool {
    let words: Vec<&str> = tokens.iter().take_while(|token| token.text != "]").map(|token| token.text.as_str()).collect();
    words.starts_with(&["#", "[", "cfg", "("]) && words.contains(&"test") && !words.contains(&"not") && !words.contains(&"any")
}

/// The index after the item whose attributes begin here.
fn item_end(tokens: &[Token], start: usize) -> usize {
    let (mut depth, mut attribute) = (0, false);
    for (index, token) in tokens.iter().enumerate().skip(start) {
        match token.text.as_str() {
            "#" if depth == 0 => attribute = true,
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth -= 1;
                if depth == 0 && token.text == "}" {
                    return index + 1;
                }
                attribute &= !(depth == 0 && token.text == "]");
            }
            ";" if depth == 0 && !attribute => return index + 1,
            _ => {}
        }
    }
    tokens.len()
}

#[test]
fn comments_strings_and_characters_are_not_code() {
    for text in [
        "// use crate::x;",
        "/* crate::x /* nested */ crate::x */",
        "\"crate::x\\\" crate::x\"",
        "r#\"crate::x \" crate::x\"#",
        "br\"crate::x\\\"",
        "'\"' // crate::x",
        "'\\'' // crate::x",
        "/// see [`crate::x`]",
    ] {
        assert_eq!(without_comments_and_strings(text).trim(), "", "{text}");
    }
    assert_eq!(
        without_comments_and_strings("fn a<'a>(b: &'a str) { r#type(\"x\\\"\", b'\"') } // c\nd"),
        "fn a<'a>(b: &'a str) { r#type(     , b   ) }     \nd"
    );
}

#[test]
fn paths_are_found_in_uses_groups_attributes_and_expressions() {
    let text = "use crate::a::{self, b::{C as vault, D}, *};\npub(crate) use tokio;\n#[tokio::main]\nfn x() -> std::fs::File { ::kube::y::<crate::z::T>(v.hyper.w); $crate::q!() }";
    let source = Source::new("src/m.rs", text);
    let found: Vec<String> = source.paths().iter().map(|path| format!("{} {}", path.line, path.segments.join("::"))).collect();
    let expected = [
        "1 crate::a::self",
        "1 crate::a::b::C",
        "1 crate::a::b::D",
        "2 tokio::self",
        "3 tokio::main",
        "4 std::fs::File",
        "4 kube::y",
        "4 crate::z::T",
        "4 crate::q",
    ];
    assert_eq!(found, expected);
}

#[test]
fn test_code_is_left_out_and_does_not_count() {
    let text = "fn a() {}\n#[cfg(test)]\n#[rustfmt::skip]\nmod tests {\n  use tokio::x;\n}\n#[cfg(test)]\nuse kube::y;\n#[cfg(not(test))]\nuse hyper::z;\n#[cfg(feature = \"test\")]\nmod b;\n";
    let source = Source::new("src/m.rs", text);
    assert_eq!(source.paths().iter().map(|path| path.segments.join("::")).collect::<Vec<_>>(), ["hyper::z"]);
    assert_eq!((source.lines, text.lines().count()), (5, 12));
    assert!(is_test_file("src/a/tests.rs") && !is_test_file("src/tests_of_speed.rs"));
}

#[test]
fn functions_are_measured_from_fn_to_the_closing_brace() {
    let text = "trait T { fn none(&self) -> [u8; 4]; }\ntype F = fn(u8) -> u8;\nfn one() { if a { \"}\" } }\nfn three(\n  f: impl Fn() -> [u8; 2],\n) where F: Sized { }\n";
    let found = Source::new("src/m.rs", text).functions();
    let function = |name: &str, line, lines| Function { name: name.into(), line, lines };
    assert_eq!(found, [function("one", 3, 1), function("three", 4, 3)]);
}

#[test]
fn a_file_is_a_module() {
    for (file, module) in [
        ("src/lib.rs", ""),
        ("src/names.rs", "names"),
        ("src/inject/mod.rs", "inject"),
        ("src/inject/patch.rs", "inject patch"),
        ("src/bin/x.rs", "bin x"),
    ] {
        assert_eq!(module_of(file).join(" "), module);
    }
}
