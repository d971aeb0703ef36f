//! Templates: values in, text out. Errors name line and object, never a value: the engine's own details may quote one and are left out.

use std::collections::BTreeMap;
use std::io;

use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use zeroize::Zeroizing;

use super::{FormatError, Rendered, Values, filters};
use keyvault_common::plan::PlanTemplate;
use keyvault_common::secret::SecretValue;
use keyvault_common::template::{Template, TemplateReference, syntax};

/// The longest text that a template may become, in bytes: what a volume has room for.
pub const MAX_BYTES: usize = 64 * 1024;

/// Steps of the engine. A file of the greatest length takes a quarter of them, character by character.
const FUEL: u64 = 1_000_000;

/// The engine walks nested values recursively.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// What the engine answers to what no memory could hold.
const GAVE_UP: &str = "the template engine gave up: let it repeat, join, pad and nest less";

/// A template with the values that it names: all that rendering needs, so that another process can do it. Steps are limited, memory is not.
#[derive(Debug, PartialEq, Eq)]
pub struct Rendering {
    /// For the engine: each call that names an object is a variable.
    source: String,
    /// The variables, in their order.
    values: Vec<SecretValue>,
}

impl Rendering {
    /// Takes from `values` what a template names.
    ///
    /// # Errors
    /// The template is none, or an object or a part that it names does not exist or is no text.
    pub fn new(template: &PlanTemplate, values: &Values<'_>) -> Result<Rendering, FormatError> {
        let parsed = Template::parse(&template.text)?;
        let values = parsed.references().iter().map(|reference| value(template, reference, values)).collect::<Result<_, _>>()?;
        Ok(Rendering { source: parsed.source().to_owned(), values })
    }

    /// The text that the template becomes.
    ///
    /// # Errors
    /// What only the values show: something undefined, of the wrong kind, or too long.
    pub fn run(&self) -> Result<SecretValue, FormatError> {
        // A separate thread, because the stack of this one is not known.
        let failed = || FormatError::Unrendered(GAVE_UP.into());
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || render(self));
            thread.map_err(|_| failed())?.join().map_err(|_| failed())?
        })
    }

    /// For another process: each text after its length.
    #[must_use]
    pub fn to_bytes(&self) -> SecretValue {
        let texts = || std::iter::once(self.source.as_bytes()).chain(self.values.iter().map(SecretValue::expose));
        // Never grows: growing would leave an unwiped copy behind.
        let mut bytes = Vec::with_capacity(texts().map(|text| text.len() + size_of::<u64>()).sum());
        for text in texts() {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text);
        }
        SecretValue::new(bytes)
    }

    /// What [`Rendering::to_bytes`] gave.
    #[must_use]
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Rendering> {
        let mut texts = Vec::new();
        while let Some((length, rest)) = bytes.split_first_chunk::<8>() {
            let (text, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
            texts.push(SecretValue::new(text.to_vec()));
            bytes = rest;
        }
        let values = texts.split_off(texts.len().min(1));
        let source = String::from_utf8(texts.pop()?.expose().to_vec()).ok()?;
        bytes.is_empty().then_some(Rendering { source, values })
    }
}

fn value(template: &PlanTemplate, reference: &TemplateReference, values: &Values<'_>) -> Result<SecretValue, FormatError> {
    let kind = reference.kind();
    let id = template.objects(kind).get(&reference.name).ok_or_else(|| FormatError::Unplanned {
        line: reference.line,
        kind,
        name: reference.name.clone(),
    })?;
    let within = |error| FormatError::Within { line: reference.line, id: id.clone(), error: Box::new(error) };
    match super::render(&reference.value(id), values).map_err(within)? {
        Rendered::File(value) if std::str::from_utf8(value.expose()).is_ok() => Ok(value),
        Rendered::File(_) => Err(within(FormatError::NotText)),
        Rendered::Absent(reason) => Err(within(FormatError::NoPart(reason))),
    }
}

fn render(Rendering { source, values }: &Rendering) -> Result<SecretValue, FormatError> {
    let text = |value: &SecretValue| minijinja::Value::from(String::from_utf8_lossy(value.expose()));
    let mut variables: BTreeMap<String, minijinja::Value> =
        values.iter().enumerate().map(|(index, value)| (Template::variable(index), text(value))).collect();
    variables.insert(Template::ONE.to_owned(), 1.into());
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_syntax(syntax().map_err(|error| explain(&error))?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    // They make values that hold themselves; a template that names them has been refused already.
    environment.remove_global("namespace");
    environment.remove_global("debug");
    filters::add(&mut environment);
    let mut page = Page(Zeroizing::new(Vec::with_capacity(MAX_BYTES)));
    let template = environment.template_from_str(source).map_err(|error| explain(&error))?;
    template.render_captured_to(variables, &mut page).map_err(|error| explain(&error))?;
    Ok(SecretValue::new(std::mem::take(&mut *page.0)))
}

fn explain(error: &minijinja::Error) -> FormatError {
    // The engine forgets where it was.
    if error.kind() == ErrorKind::WriteFailure {
        return FormatError::Unrendered("the file would be longer than 64 KiB".into());
    }
    let line = error.line().unwrap_or(1);
    let own = std::error::Error::source(error).and_then(|source| source.downcast_ref::<filters::Refused>());
    let reason = own.map_or_else(|| in_words(error.kind()), |filters::Refused(reason)| reason);
    FormatError::Render { line, reason: reason.into() }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the engine adds kinds")]
fn in_words(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::OutOfFuel => "the template takes more than a million steps: let it repeat less",
        ErrorKind::UndefinedError => "the variable, or a part of it, is not defined",
        ErrorKind::TooManyArguments | ErrorKind::MissingArgument => "a filter, test or function has too many arguments, or too few",
        _ => "a filter, test, function or operator cannot work with this value",
    }
}

/// What has been written so far. It never grows, so that no copy of it stays behind.
struct Page(Zeroizing<Vec<u8>>);

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
