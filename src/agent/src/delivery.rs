//! From values to the files of all directories: everything is rendered, then everything is staged, before the first directory changes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use super::directory::{File, Staged, WriteError};
use super::marker::{self, Contents, Made};
use super::{program, render};
use keyvault_client::{Class, Failure};
use keyvault_common::plan::{Directory, Entry, Plan, PlanTemplate, Value};
use keyvault_common::secret::SecretValue;
use keyvault_delivery::fetch::{Problem, Versions, label};
use keyvault_delivery::format::{self, FormatError, Rendered, Rendering, Values};

/// A directory, the files that it will hold, and what they are made of.
pub(super) struct View<'p> {
    pub(super) directory: &'p Directory,
    pub(super) files: Vec<File<'p>>,
    pub(super) made: Contents,
}

pub(super) fn copy_program(plan: &Plan) -> Result<(), Problem> {
    let Some(directory) = &plan.program else { return Ok(()) };
    let copied = program::copy(Path::new("/proc/self/exe"), Path::new(directory.as_str()));
    copied.map_err(|error| volume(directory.as_str(), &error))
}

/// A file or a directory that could not be written.
pub(super) fn volume(directory: &str, error: &dyn std::fmt::Display) -> Problem {
    Problem { object: directory.to_owned(), failure: Failure::new(Class::Volume, error.to_string()) }
}

/// Every directory of the plan.
pub(super) async fn render_all<'p>(plan: &'p Plan, values: &Values<'_>, versions: &Versions<'_>) -> Result<Vec<View<'p>>, Vec<Problem>> {
    let (mut views, mut problems) = (Vec::new(), Vec::new());
    for directory in &plan.directories {
        let mut view = View { directory, files: Vec::new(), made: Contents::new() };
        for entry in &directory.entries {
            let made = Made { versions: of_inputs(entry, |id| versions.get(id).cloned()), absent: false };
            match render_entry(plan, entry, values).await {
                Ok(content) => view.add(entry, content, made),
                Err(problem) => problems.push(problem),
            }
        }
        views.push(view);
    }
    if problems.is_empty() { Ok(views) } else { Err(problems) }
}

async fn from_template(template: &PlanTemplate, values: &Values<'_>) -> Result<Rendered, FormatError> {
    render::render(&Rendering::new(template, values)?).await.map(Rendered::File)
}

/// The versions of what a file is made of, as far as there are any.
pub(super) fn of_inputs(entry: &Entry, version: impl Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
    entry.value.uses().into_iter().filter_map(|(id, _)| Some((id.to_owned(), version(id)?))).collect()
}

/// The bytes of a file, or `None` where there is no file to write.
pub(super) async fn render_entry(plan: &Plan, entry: &Entry, values: &Values<'_>) -> Result<Option<SecretValue>, Problem> {
    let rendered =
        if let Value::Template(template) = &entry.value { from_template(template, values).await } else { format::render(&entry.value, values) };
    match rendered {
        Ok(Rendered::File(content)) => Ok(Some(content)),
        Ok(Rendered::Absent(why)) => {
            tracing::info!("{}: left out, because {why}", entry.file);
            Ok(None)
        }
        Err(error) => Err(unfit(plan, entry, &error)),
    }
}

impl<'p> View<'p> {
    pub(super) fn add(&mut self, entry: &'p Entry, content: Option<SecretValue>, made: Made) {
        self.made.insert(entry.file.to_string(), Made { absent: content.is_none(), ..made });
        self.files.extend(content.map(|content| File { path: &entry.file, mode: entry.mode, content }));
    }
}

fn unfit(plan: &Plan, entry: &Entry, error: &format::FormatError) -> Problem {
    let id = error.id().or(entry.value.id());
    match plan.fetch.iter().find(|fetch| Some(fetch.id.as_str()) == id) {
        Some(fetch) => Problem { object: label(&fetch.object), failure: Failure::new(Class::Format, format!("file {}: {error}", entry.file)) },
        None => Problem { object: format!("file {}", entry.file), failure: Failure::new(Class::Format, error.to_string()) },
    }
}

/// Stages every directory before the first one changes. `plan` is its [`marker::digest`].
pub(super) fn write(views: &[View<'_>], plan: &str, now: SystemTime) -> Result<(), Problem> {
    let problem = |directory: &Directory, error: WriteError| volume(directory.path.as_str(), &error);
    let stage = |view: &View<'_>| {
        let staged = Staged::new(Path::new(view.directory.path.as_str()), &view.files, now)?;
        marker::write(&staged, view.directory, plan, &view.made)?;
        Ok(staged)
    };
    let staged = views.iter().map(|view| stage(view).map_err(|error| problem(view.directory, error))).collect::<Result<Vec<_>, Problem>>()?;
    for (staged, view) in staged.into_iter().zip(views) {
        staged.publish().map_err(|error| problem(view.directory, error))?;
        tracing::info!("{}: files written: {}", view.directory.path, view.files.len());
    }
    Ok(())
}
