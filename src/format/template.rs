//! Templates: values in, text out. Errors name line and object, never a value: the engine's own details may quote one and are left out.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc;
use std::time::Duration;

use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use zeroize::Zeroizing;

use super::{FormatError, Rendered, Values, filters};
use crate::plan::PlanTemplate;
use crate::secret::SecretValue;
use crate::template::{Template, TemplateReference, syntax};

/// The longest text that a template may become, in bytes: what a volume has room for.
pub(super) const MAX_BYTES: usize = 64 * 1024;

/// A template that takes longer than this never ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// The engine walks nested values recursively. Memory that it never touches costs nothing.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// The variables of a template's source.
type Variables = BTreeMap<String, minijinja::Value>;

/// The text that a template becomes.
pub(super) fn render(template: &PlanTemplate, values: &Values<'_>) -> Result<SecretValue, FormatError> {
    render_within(template, values, PATIENCE)
}

fn render_within(template: &PlanTemplate, values: &Values<'_>, patience: Duration) -> Result<SecretValue, FormatError> {
    let parsed = Template::parse(&template.text)?;
    let variable = |(index, reference)| Ok((Template::variable(index), value(template, reference, values)?));
    let variables = parsed.references().iter().enumerate().map(variable).collect::<Result<Variables, FormatError>>()?;
    let (done, when_done) = mpsc::sync_channel(1);
    let work = move || drop(done.send(run(parsed.source(), variables)));
    // A thread of its own: the engine can be left behind, and an overflow of its stack is far away.
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work);
    thread.map_err(|_| FormatError::Unrendered("the system has no thread for it"))?;
    when_done.recv_timeout(patience).unwrap_or_else(|end| {
        Err(FormatError::Unrendered(match end {
            mpsc::RecvTimeoutError::Timeout => "it takes too long: let it repeat less",
            mpsc::RecvTimeoutError::Disconnected => "the template engine failed",
        }))
    })
}

fn value(template: &PlanTemplate, reference: &TemplateReference, values: &Values<'_>) -> Result<minijinja::Value, FormatError> {
    let kind = reference.kind();
    let id = template.objects(kind).get(&reference.name).ok_or_else(|| FormatError::Unplanned {
        line: reference.line,
        kind,
        name: reference.name.clone(),
    })?;
    let within = |error| FormatError::Within { line: reference.line, id: id.clone(), error: Box::new(error) };
    match super::render(&reference.value(id), values).map_err(within)? {
        Rendered::File(value) => match std::str::from_utf8(value.expose()) {
            Ok(text) => Ok(text.into()),
            Err(_) => Err(within(FormatError::NotText)),
        },
        Rendered::Absent(reason) => Err(within(FormatError::NoPart(reason))),
    }
}

fn run(source: &str, variables: Variables) -> Result<SecretValue, FormatError> {
    let mut environment = Environment::new();
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
        return FormatError::Unrendered("the file would be longer than 64 KiB");
    }
    let line = error.line().unwrap_or(1);
    let own = std::error::Error::source(error).and_then(|source| source.downcast_ref::<filters::Refused>());
    let reason = own.map_or_else(|| in_words(error.kind()), |filters::Refused(reason)| reason);
    FormatError::Render { line, reason }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the engine adds kinds")]
fn in_words(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::UndefinedError => "there is no such variable, or no such part of one",
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
