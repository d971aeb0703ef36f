//! The words of a template's expressions: what each names, and whether that exists.

use std::collections::HashSet;

use minijinja::machinery::{Span, Token};

use super::{Part, SHELL, Template, TemplateError, TemplateReference, has, line_of, object_kind};
use crate::names::ObjectKind;
use crate::plan::{CertificatePart, KeyFormat};
use crate::property::PropertyPath;

/// Names that lead to other templates.
const OTHERS: &str = "self super";

/// Functions besides those that name objects.
const FUNCTIONS: &str = "dict range";

const OUR_FILTERS: &str = "b64decode b64encode dotenv json properties shell urlencode";

pub(super) const ENGINE_FILTERS: &str = "abs attr batch bool capitalize chain count d default dictsort e escape first float format groupby indent int items join last length \
     lines list lower map max min pprint reject rejectattr replace reverse round safe select selectattr slice sort split string sum title trim unique upper zip";

pub(super) const ENGINE_TESTS: &str = "boolean defined divisibleby endingwith eq equalto escaped even false filter float ge greaterthan gt in int integer iterable le lessthan \
     lower lt mapping ne none number odd safe sameas sequence startingwith string test true undefined upper";

/// An identifier with its neighbours.
pub(super) struct Word<'t> {
    text: &'t str,
    span: Span,
    before: &'t [(Token<'t>, Span)],
    after: &'t [(Token<'t>, Span)],
}

impl<'t> Word<'t> {
    pub(super) fn at(tokens: &'t [(Token<'t>, Span)], at: usize) -> Option<Word<'t>> {
        let (Token::Ident(text), span) = &tokens[at] else { return None };
        Some(Word { text, span: *span, before: &tokens[..at], after: &tokens[at + 1..] })
    }

    pub(super) fn check(&self, undeclared: &HashSet<String>) -> Result<Option<TemplateReference>, TemplateError> {
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
            return self.error(format!("function {text:?} does not exist: values come from secret(\"…\"), certificate(\"…\") and key(\"…\")"));
        }
        self.error(format!("variable {text:?} does not exist: values come from secret(\"…\"), certificate(\"…\") and key(\"…\"). {SHELL}"))
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
        (ObjectKind::Certificate, _) => Err(" is not text by itself: write .crt, .key, .ca or .bundle after it".to_owned()),
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
