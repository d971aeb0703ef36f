//! Templates: which objects they name, learnt without values, and what would fail later, refused now.
//!
//! Jinja with `${ … }` for values, `{% … %}` for blocks and `{# … #}` for comments. An object is named by a call with one literal name,
//! such as `secret("db-password")`, so that every object is known when the pod is admitted; for a renderer each such call, with the part
//! that it picks, becomes a variable.

mod words;

use std::fmt::Write as _;

use minijinja::Environment;
use minijinja::machinery::{Span, Token, tokenize};
use minijinja::syntax::SyntaxConfig;

use crate::names::ObjectKind;
use crate::plan::{CertificatePart, Encoding, KeyFormat, Value};
use crate::property::PropertyPath;
use words::Word;

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
    /// Where call and part are, in bytes.
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

/// Statements that lead to other templates.
const OF_OTHERS: &str = "block extends from import include";

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

/// The engine multiplies constants while it parses, and `'x' * 99999999` would take 100 MB of the program that looks at the template.
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
mod tests;
