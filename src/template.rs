//! Templates: which objects they name, learnt without values, and what would fail later, refused now.
//!
//! Jinja with `${ … }` for values, `{% … %}` for blocks and `{# … #}` for comments. An object is named by a call with one literal name,
//! such as `secret("db-password")`, so that every object is known when the pod is admitted; for a renderer each such call, with the part
//! that it picks, becomes a variable.

use std::collections::HashSet;
use std::fmt::Write as _;

use minijinja::Environment;
use minijinja::machinery::{Span, Token, tokenize};
use minijinja::syntax::SyntaxConfig;

use crate::names::ObjectKind;
use crate::plan::{CertificatePart, Encoding, KeyFormat, Value};
use crate::property::PropertyPath;

/// A template that parses and names only what exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    references: Vec<TemplateReference>,
    source: String,
}

/// One call that names an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateReference {
    /// Its argument, as written: `[VAULT/]NAME[@VERSION]`.
    pub name: String,
    /// 1-based line of the template.
    pub line: usize,
    /// The function that was called, and what follows the call.
    part: Part,
    /// Where call and part stand, in bytes.
    span: (usize, usize),
}

/// What of an object a call stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Secret(Option<PropertyPath>),
    Certificate(CertificatePart),
    Key(KeyFormat),
}

impl TemplateReference {
    /// Which function was called.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        match self.part {
            Part::Secret(_) => ObjectKind::Secret,
            Part::Certificate(_) => ObjectKind::Certificate,
            Part::Key(_) => ObjectKind::Key,
        }
    }

    /// What the call stands for, where its object is fetched as `id`.
    #[must_use]
    pub fn value(&self, id: &str) -> Value {
        let id = id.to_owned();
        match &self.part {
            Part::Secret(property) => Value::Object { id, property: property.clone(), encoding: Encoding::Utf8 },
            Part::Certificate(part) => Value::Certificate { id, part: *part, password: None },
            Part::Key(format) => Value::Key { id, format: *format },
        }
    }
}

/// Why a template is refused, in words for the pod's author.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct TemplateError {
    /// 1-based line of the template.
    pub line: usize,
    /// Reason and fix.
    pub message: String,
}

/// Statements and names that lead to other templates.
const OF_OTHERS: &str = "block extends from import include";
const OTHERS: &str = "self super";

/// Functions besides those that name objects.
const FUNCTIONS: &str = "dict range";

const OUR_FILTERS: &str = "b64decode b64encode dotenv json properties shell urlencode";

const ENGINE_FILTERS: &str = "abs attr batch bool capitalize chain count d default dictsort e escape first float format groupby indent int items join last length \
     lines list lower map max min pprint reject rejectattr replace reverse round safe select selectattr slice sort split string sum title trim unique upper zip";

const ENGINE_TESTS: &str = "boolean defined divisibleby endingwith eq equalto escaped even false filter float ge greaterthan gt in int integer iterable le lessthan \
     lower lt mapping ne none number odd safe sameas sequence startingwith string test true undefined upper";

impl Template {
    /// Reads a template and finds every object that it names.
    ///
    /// # Errors
    /// The first problem: bad syntax, a name that is not one literal, a function, filter, test, method or variable that does not exist.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        let refuse = |error: minijinja::Error| explain(text, &error);
        let syntax = syntax().map_err(refuse)?;
        let tokens = tokenize(text, false, syntax.clone()).collect::<Result<Vec<_>, _>>().map_err(refuse)?;
        refuse_statements(&tokens)?;
        let text = &unfolded(text, &tokens);
        let tokens = tokenize(text, false, syntax.clone()).collect::<Result<Vec<_>, _>>().map_err(refuse)?;
        let mut environment = Environment::empty();
        environment.set_syntax(syntax);
        let mut undeclared = environment.template_from_str(text).map_err(refuse)?.undeclared_variables(false);
        // What a branch sets may be there after it, and is the renderer's business.
        for window in tokens.windows(3) {
            if let [(Token::BlockStart, _), (Token::Ident("set"), _), (Token::Ident(name), _)] = window {
                undeclared.remove(*name);
            }
        }
        let mut references = Vec::new();
        for at in 0..tokens.len() {
            references.extend(Word::at(&tokens, at).map_or(Ok(None), |word| word.check(&undeclared))?);
        }
        Ok(Template { source: with_variables(text, &references), references })
    }

    /// Every call that names an object, in the order written.
    #[must_use]
    pub fn references(&self) -> &[TemplateReference] {
        &self.references
    }

    /// The template for the engine: where the reference at `index` stood, there is the variable [`Template::variable`]; lines stay.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// A variable whose value is 1: every product in [`Template::source`] has it as a factor.
    pub const ONE: &'static str = "__one";

    /// The variable that stands for a reference.
    #[must_use]
    pub fn variable(index: usize) -> String {
        format!("__value_{index}")
    }
}

fn with_variables(text: &str, references: &[TemplateReference]) -> String {
    let variables = references.iter().enumerate().map(|(index, reference)| (reference.span, format!(" {} ", Template::variable(index))));
    replaced(text, variables)
}

/// The engine multiplies constants while it parses, and `'x' * 99999999` would take 100 MB of whoever looks at the template.
fn unfolded(text: &str, tokens: &[(Token<'_>, Span)]) -> String {
    let is_product = |pair: &&[(Token<'_>, Span)]| matches!(pair[1].0, Token::Mul) && !matches!(pair[0].0, Token::ParenOpen | Token::Comma);
    let products = tokens.windows(2).filter(is_product).map(|pair| pair[1].1);
    replaced(text, products.map(|span| ((span.start_offset as usize, span.end_offset as usize), format!("* {} *", Template::ONE))))
}

/// Other words in places that follow each other. Lines stay.
fn replaced(text: &str, places: impl Iterator<Item = ((usize, usize), String)>) -> String {
    let (mut source, mut from) = (String::with_capacity(text.len()), 0);
    for ((start, end), words) in places {
        let lines = text.get(start..end).unwrap_or_default().matches('\n').count();
        let _ = write!(source, "{}{words}{}", text.get(from..start).unwrap_or_default(), "\n".repeat(lines));
        from = end;
    }
    source + text.get(from..).unwrap_or_default()
}

/// The delimiters and the treatment of white space.
///
/// # Errors
/// None that these delimiters can cause; the signature is the engine's.
pub fn syntax() -> Result<SyntaxConfig, minijinja::Error> {
    SyntaxConfig::builder().variable_delimiters("${", "}").keep_trailing_newline(true).trim_blocks(true).lstrip_blocks(true).build()
}

/// The engine walks `1+1+1+…` and each `elif` recursively, so a long chain would overflow the stack and end the process.
const MAX_TAG_TOKENS: usize = 400;
const MAX_ELIFS: usize = 100;

fn line_of(span: Span) -> usize {
    usize::from(span.start_line)
}

fn refuse_statements(tokens: &[(Token<'_>, Span)]) -> Result<(), TemplateError> {
    let statements = tokens.windows(2).filter(|pair| matches!(pair[0].0, Token::BlockStart)).map(|pair| &pair[1]);
    for (token, span) in statements {
        if let Token::Ident(name) = token
            && has(OF_OTHERS, name)
        {
            return Err(TemplateError { line: line_of(*span), message: format!("unknown statement {name}") });
        }
    }
    let mut tags = tokens.split(|(token, _)| matches!(token, Token::TemplateData(_) | Token::VariableStart | Token::BlockStart));
    if let Some(tag) = tags.find(|tag| tag.len() > MAX_TAG_TOKENS) {
        let message = format!("more than {MAX_TAG_TOKENS} words in one tag: split it with {{% set %}}");
        return Err(TemplateError { line: line_of(tag[0].1), message });
    }
    match tokens.iter().filter(|(token, _)| matches!(token, Token::Ident("elif"))).nth(MAX_ELIFS) {
        Some((_, span)) => Err(TemplateError { line: line_of(*span), message: format!("more than {MAX_ELIFS} elif branches") }),
        None => Ok(()),
    }
}

/// An identifier with its neighbours.
struct Word<'t> {
    text: &'t str,
    span: Span,
    before: &'t [(Token<'t>, Span)],
    after: &'t [(Token<'t>, Span)],
}

impl<'t> Word<'t> {
    fn at(tokens: &'t [(Token<'t>, Span)], at: usize) -> Option<Word<'t>> {
        let (Token::Ident(text), span) = &tokens[at] else { return None };
        Some(Word { text, span: *span, before: &tokens[..at], after: &tokens[at + 1..] })
    }

    fn check(&self, undeclared: &HashSet<String>) -> Result<Option<TemplateReference>, TemplateError> {
        let text = self.text;
        if let Some(key) = self.hyphenated().filter(|_| undeclared.contains(text)) {
            return Err(self.error(format!("a hyphen is minus here: write [\"{key}\"] instead of .{key}")));
        }
        match self.before {
            [.., (Token::Ident("loop"), _), (Token::Dot, _)] => Ok(()),
            [.., (Token::Dot, _)] => self.method(),
            [.., (Token::Pipe, _)] | [.., (Token::BlockStart, _), (Token::Ident("filter"), _)] => {
                self.known(&[OUR_FILTERS, ENGINE_FILTERS], "filter")
            }
            [.., (Token::Ident("is"), _)] if text == "not" => Ok(()),
            [.., (Token::Ident("is"), _)] | [.., (Token::Ident("is"), _), (Token::Ident("not"), _)] => self.known(&[ENGINE_TESTS], "test"),
            [.., (Token::ParenOpen | Token::Comma, _)] if matches!(self.after, [(Token::Assign, _), ..]) => Ok(()),
            _ => match object_kind(text) {
                Some(kind) => return self.reference(kind).map(Some),
                None if text == Template::ONE => Ok(()),
                None if has(OTHERS, text) || undeclared.contains(text) && !has(FUNCTIONS, text) => Err(self.unknown()),
                None => Ok(()),
            },
        }
        .map(|()| None)
    }

    /// The key that `.some-key` was meant to pick, if this is the word behind its first hyphen.
    fn hyphenated(&self) -> Option<String> {
        let [.., (Token::Dot, _), (Token::Ident(first), _), (Token::Minus, _)] = self.before else { return None };
        let mut key = format!("{first}-{}", self.text);
        let mut after = self.after;
        while let [(Token::Minus, _), (Token::Ident(word), _), rest @ ..] = after {
            key = format!("{key}-{word}");
            after = rest;
        }
        (!matches!(after, [(Token::ParenOpen, _), ..])).then_some(key)
    }

    fn reference(&self, kind: ObjectKind) -> Result<TemplateReference, TemplateError> {
        let text = self.text;
        let name = match self.after {
            [(Token::ParenOpen, _), (name, _), (Token::ParenClose, end), rest @ ..] => literal(name).map(|name| (name, end, rest)),
            [(Token::ParenOpen, _), ..] => None,
            _ => return Err(self.error(format!("{text} is a function: call it as {text}(\"NAME\"), or give your variable another name"))),
        };
        let Some((name, end, rest)) = name else {
            return Err(
                self.error(format!("{text}(…) takes one name in quotes, such as {text}(\"NAME\"): every object must be known before the pod starts"))
            );
        };
        let (steps, end) = steps(rest, *end);
        let part = part(kind, &steps).map_err(|problem| self.error(format!("{text}({name:?}){problem}")))?;
        Ok(TemplateReference { name, line: line_of(self.span), part, span: (self.span.start_offset as usize, end.end_offset as usize) })
    }

    fn known(&self, lists: &[&str], what: &str) -> Result<(), TemplateError> {
        if lists.iter().any(|list| has(list, self.text)) { Ok(()) } else { Err(self.error(format!("there is no {what} {:?}", self.text))) }
    }

    fn method(&self) -> Result<(), TemplateError> {
        match self.after {
            [(Token::ParenOpen, _), ..] => Err(self.error(format!("values have no method {:?}: use a filter, such as | upper", self.text))),
            _ => Ok(()),
        }
    }

    fn unknown(&self) -> TemplateError {
        let text = self.text;
        if let [(Token::ParenOpen, _), ..] = self.after {
            return self.error(format!("there is no function {text:?}: values come from secret(\"…\"), certificate(\"…\") and key(\"…\")"));
        }
        self.error(format!("there is no variable {text:?}: values come from secret(\"…\"), certificate(\"…\") and key(\"…\"). {SHELL}"))
    }

    fn error(&self, message: String) -> TemplateError {
        TemplateError { line: line_of(self.span), message }
    }
}

fn literal(token: &Token<'_>) -> Option<String> {
    if let Token::Str(text) = token {
        return Some((*text).to_owned());
    }
    if let Token::String(text) = token { Some(text.to_string()) } else { None }
}

/// The literal steps that follow a call, as in `.hosts[0]["a b"]`, and where they end.
fn steps(mut rest: &[(Token<'_>, Span)], mut end: Span) -> (Vec<String>, Span) {
    let mut steps = Vec::new();
    loop {
        let (step, last, tail) = match rest {
            [(Token::Dot, _), (Token::Ident(step), last), tail @ ..] => ((*step).to_owned(), last, tail),
            [(Token::Dot, _), (Token::Int(step), last), tail @ ..]
            | [(Token::BracketOpen, _), (Token::Int(step), _), (Token::BracketClose, last), tail @ ..] => (step.to_string(), last, tail),
            [(Token::BracketOpen, _), (step, _), (Token::BracketClose, last), tail @ ..] => match literal(step) {
                Some(step) => (step, last, tail),
                None => return (steps, end),
            },
            _ => return (steps, end),
        };
        steps.push(step);
        (rest, end) = (tail, *last);
    }
}

fn part(kind: ObjectKind, steps: &[String]) -> Result<Part, String> {
    let step = (steps.len() == 1).then(|| steps[0].as_str());
    match (kind, step) {
        (ObjectKind::Secret, _) => property(steps).map(Part::Secret),
        (ObjectKind::Certificate, Some("crt")) => Ok(Part::Certificate(CertificatePart::Chain)),
        (ObjectKind::Certificate, Some("key")) => Ok(Part::Certificate(CertificatePart::Key)),
        (ObjectKind::Certificate, Some("ca")) => Ok(Part::Certificate(CertificatePart::Ca)),
        (ObjectKind::Certificate, Some("bundle")) => Ok(Part::Certificate(CertificatePart::Bundle)),
        (ObjectKind::Certificate, _) => Err(" is no text by itself: write .crt, .key, .ca or .bundle after it".to_owned()),
        (ObjectKind::Key, Some("pem")) => Ok(Part::Key(KeyFormat::Pem)),
        (ObjectKind::Key, Some("jwk")) => Ok(Part::Key(KeyFormat::Jwk)),
        (ObjectKind::Key, None) if steps.is_empty() => Ok(Part::Key(KeyFormat::Pem)),
        (ObjectKind::Key, _) => Err(" is followed by .pem or .jwk, or by nothing".to_owned()),
    }
}

fn property(steps: &[String]) -> Result<Option<PropertyPath>, String> {
    let is_plain = |step: &&String| step.parse::<PropertyPath>().is_ok_and(|path| path.steps() == [step.as_str()]);
    let quoted = |step: &String| if is_plain(&step) { step.clone() } else { format!("\"{step}\"") };
    let path = steps.iter().map(quoted).collect::<Vec<_>>().join(".");
    if steps.is_empty() { Ok(None) } else { path.parse().map(Some).map_err(|error| format!(": {error}")) }
}

const SHELL: &str = "If it is meant for a shell, as in ${HOME}, put that part between {% raw %} and {% endraw %}";

fn has(list: &str, name: &str) -> bool {
    list.split(' ').any(|listed| listed == name)
}

fn object_kind(function: &str) -> Option<ObjectKind> {
    [ObjectKind::Secret, ObjectKind::Certificate, ObjectKind::Key].into_iter().find(|kind| kind.noun() == function)
}

/// The engine's own words, and a hint where the line looks like a shell's.
fn explain(text: &str, error: &minijinja::Error) -> TemplateError {
    let line = error.line().unwrap_or(1);
    let reason = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let is_shell = text.lines().nth(line - 1).is_some_and(has_shell_variable);
    TemplateError { line, message: if is_shell { format!("{reason}. {SHELL}") } else { reason } }
}

/// `${NAME` with anything but a call after it, or `${#`, `${!` and their like.
fn has_shell_variable(line: &str) -> bool {
    line.split("${").skip(1).any(|rest| {
        let name = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if name == 0 { rest.starts_with(['#', '!', '@', '*', '?']) } else { !rest[name..].trim_start().starts_with('(') }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let template = Template::parse(text).unwrap();
        template.references().iter().map(|reference| format!("{} {} {}", reference.line, reference.kind().noun(), reference.name)).collect()
    }

    #[test]
    fn every_call_that_names_an_object_is_found() {
        for (text, references) in [
            ("plain {{ helm }} $HOME $(x) $1", &[][..]),
            ("password=${ secret(\"db-password\") }\n", &["1 secret db-password"]),
            ("${secret('a')|shell}\n\n${ certificate(\"v/tls\").crt }${ key('k\\u0031') }", &["1 secret a", "3 certificate v/tls", "3 key k1"]),
            ("{% if secret('a') == 'x' %}\n{% set s = secret('b') | upper | trim %}${ s }\n{% endif %}", &["1 secret a", "2 secret b"]),
            ("{% for n in [secret('a'), secret('a')] %}${ loop.index }${ loop.cycle(1, 2) }${ n }{% endfor %}", &["1 secret a", "1 secret a"]),
            ("{% macro m(x, y=1) %}${ x ~ y }{% endmacro %}${ m(secret('a'), y=secret('b')) }", &["1 secret a", "1 secret b"]),
            ("{% filter upper %}${ dict(key=secret('a')).key }{% endfilter %}", &["1 secret a"]),
            ("{% if 1 %}{% set x = secret('a') %}{% else %}{% set x = 2 %}{% endif %}${ x }", &["1 secret a"]),
            ("{# ${ secret('a') } #}{% raw %}${HOME} ${ secret(x) }{% endraw %}", &[]),
            ("${ secret('a').count - secret('b').count }", &["1 secret a", "1 secret b"]),
            ("${ secret('a') is not startingwith('x') and 1 is odd }${ range(3) | sum }", &["1 secret a"]),
        ] {
            assert_eq!(found(text), references, "{text}");
        }
    }

    #[test]
    fn what_would_fail_later_is_refused_with_line_and_remedy() {
        let literal = "takes one name in quotes, such as";
        let known = "before the pod starts";
        let sources = "values come from secret(\"…\"), certificate(\"…\") and key(\"…\")";
        let table = [
            ("\n${ secret(name) }", format!("line 2: secret(…) {literal} secret(\"NAME\"): every object must be known {known}")),
            ("${ key('a' ~ 'b') }", format!("line 1: key(…) {literal} key(\"NAME\"): every object must be known {known}")),
            ("${ secret() }", format!("line 1: secret(…) {literal} secret(\"NAME\"): every object must be known {known}")),
            ("${ secret('a', 'b') }", format!("line 1: secret(…) {literal} secret(\"NAME\"): every object must be known {known}")),
            (
                "{% set s = certificate %}${ s('a') }",
                "line 1: certificate is a function: call it as certificate(\"NAME\"), or give your variable another name".into(),
            ),
            ("{% for key in [1] %}{% endfor %}", "line 1: key is a function: call it as key(\"NAME\"), or give your variable another name".into()),
            ("${ secrets('a') }", format!("line 1: there is no function \"secrets\": {sources}")),
            ("${ super() }", format!("line 1: there is no function \"super\": {sources}")),
            ("${ self.a() }", format!("line 1: there is no variable \"self\": {sources}. {SHELL}")),
            ("${ debug() }", format!("line 1: there is no function \"debug\": {sources}")),
            ("${ env.HOME }", format!("line 1: there is no variable \"env\": {sources}. {SHELL}")),
            ("#!/bin/sh\ncd ${HOME}\n", format!("line 2: there is no variable \"HOME\": {sources}. {SHELL}")),
            ("${ secret('db').some-key }", "line 1: a hyphen is minus here: write [\"some-key\"] instead of .some-key".into()),
            ("${ secret('db').a-b-c | upper }", "line 1: a hyphen is minus here: write [\"a-b-c\"] instead of .a-b-c".into()),
            ("${ 'a' | base64 }", "line 1: there is no filter \"base64\"".into()),
            ("{% filter shout %}{% endfilter %}", "line 1: there is no filter \"shout\"".into()),
            ("${ 1 is prime }${ 1 is not prime }", "line 1: there is no test \"prime\"".into()),
            ("${ 'a'.upper() }", "line 1: values have no method \"upper\": use a filter, such as | upper".into()),
        ];
        for (text, message) in table {
            assert_eq!(Template::parse(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn bad_syntax_is_explained_and_shell_syntax_is_recognised() {
        let shell = |reason: &str| format!("{reason}. {SHELL}");
        let table = [
            ("a\n${ secret( }", "line 2: unexpected `}`".to_owned()),
            ("{% include 'x' %}", "line 1: unknown statement include".into()),
            ("\n{%- from 'x' import y %}", "line 2: unknown statement from".into()),
            ("{% import 'x' as y %}", "line 1: unknown statement import".into()),
            ("{% extends 'x' %}", "line 1: unknown statement extends".into()),
            ("{% block a %}{% endblock %}", "line 1: unknown statement block".into()),
            ("\n{% raw %}x", "line 2: unexpected end of raw block".into()),
            ("${ secret('a')", "line 1: unexpected end of input, expected end of variable block".into()),
            ("{% if 1 %}", "line 1: unexpected end of input, expected end of block".into()),
            ("\n${HOME:-/root}", shell("line 2: unexpected `:`, expected end of variable block")),
            ("${#list}", shell("line 1: unexpected character")),
        ];
        for (text, message) in table {
            assert_eq!(Template::parse(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn products_are_no_constants() {
        for (text, source) in [
            (
                "${ 'x' * 99999999 }*\n${ 2\n* (3 * a) }{% set a = 1 %}",
                "${ 'x' * __one * 99999999 }*\n${ 2\n* __one * (3 * __one * a) }{% set a = 1 %}",
            ),
            ("${ range(*[3]) }${ dict(1, *[2] * 3) }${ 2 ** 3 }", "${ range(*[3]) }${ dict(1, *[2] * __one * 3) }${ 2 ** 3 }"),
        ] {
            assert_eq!(Template::parse(text).unwrap().source(), source);
        }
        // 19 GB, were they made.
        Template::parse(&format!("${{ {} }}", vec!["'x' * 99999999"; 100].join(" ~ "))).unwrap();
    }

    #[test]
    fn hostile_depth_is_refused_before_it_overflows_the_stack() {
        for (open, link, close, message) in [
            ("${ 1", "+1", " }", "line 1: more than 400 words in one tag: split it with {% set %}"),
            ("${ 1", "|upper", " }", "line 1: more than 400 words in one tag: split it with {% set %}"),
            ("${ ", "(", "", "line 1: more than 400 words in one tag: split it with {% set %}"),
            ("${ ", "not ", "1 }", "line 1: more than 400 words in one tag: split it with {% set %}"),
            ("{% if 1 %}", "{% elif 1 %}", "{% endif %}", "line 1: more than 100 elif branches"),
            ("", "{% if 1 %}", "", "line 1: template exceeds maximum recursion limits"),
        ] {
            let text = format!("{open}{}{close}", link.repeat(100_000));
            assert_eq!(Template::parse(&text).unwrap_err().to_string(), message);
        }
        let widest = format!("{}{}${{ 1{} }}{}", "{% if 1 %}".repeat(140), "{% elif 1 %}".repeat(100), "+1".repeat(190), "{% endif %}".repeat(140));
        assert_eq!(found(&widest), [""; 0]);
        assert_eq!(found(&("x\n".repeat(70_000) + "${ secret('a') }")), ["65535 secret a"]);
    }

    #[test]
    fn the_listed_filters_and_tests_are_the_engines_own() {
        let environment = Environment::new();
        let knows = |name: &str, what: &str| environment.compile_expression(&format!("{name:?} is {what}")).unwrap().eval(()).unwrap().is_true();
        for name in ENGINE_FILTERS.split(' ') {
            assert!(knows(name, "filter"), "{name}");
        }
        for name in ENGINE_TESTS.split(' ') {
            assert!(knows(name, "test"), "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*", parts in proptest::collection::vec("(\\$\\{|\\}|\\{%|%\\}| |secret|key|\\(|\\)|'a'|x|=|\\||upper|if|endif|for|in|set|is|not|\\.|,|\n|\\{#|#\\}|-|\\{|raw)", 0..40)) {
            let _ = Template::parse(&text);
            let _ = Template::parse(&parts.concat());
        }
    }
}
