//! Annotation `templates`: a YAML map from file to template.

use super::findings::Findings;
use super::sources::Sources;
use crate::annotations::Key;
use crate::reference::NamedObject;
use keyvault_common::names::{FilePath, ObjectKind};
use keyvault_common::plan::{MAX_ENTRIES, MAX_PLAN_BYTES};
use keyvault_common::template::Template;
use keyvault_common::yaml::{Kind, Node};

/// A file and the template that it is rendered from.
#[derive(Debug)]
pub(super) struct TemplateFile {
    pub(super) file: FilePath,
    pub(super) text: String,
    /// Each that the template names, once.
    pub(super) objects: Vec<TemplateObject>,
}

/// An object that a template names.
#[derive(Debug)]
pub(super) struct TemplateObject {
    pub(super) kind: ObjectKind,
    /// Between the quotes.
    pub(super) written: String,
    /// Of its first mention.
    pub(super) line: usize,
    pub(super) object: NamedObject,
}

impl TemplateFile {
    /// Where it is, in words.
    pub(super) fn place(&self) -> String {
        format!("{}: {}", place(), self.file)
    }
}

fn place() -> String {
    format!("annotation {}", Key::Templates.annotation())
}

/// Every template that can be read; the others are problems.
pub(super) fn read(sources: &Sources<'_>, findings: &mut Findings) -> Vec<TemplateFile> {
    let Some(text) = sources.pod.get(Key::Templates) else { return Vec::new() };
    let place = place();
    if text.len() > MAX_PLAN_BYTES {
        findings
            .problem(format!("{place}: it has {} bytes, and {MAX_PLAN_BYTES} are the most that a plan can hold: shorten the templates", text.len()));
        return Vec::new();
    }
    let root = match Node::parse(text) {
        Ok(root) => root,
        Err(error) => {
            findings.problem(format!("{place}: {error}"));
            return Vec::new();
        }
    };
    let Kind::Map(entries) = &root.kind else {
        findings.problem(format!("{place}: a YAML map from file to template is expected, not {}", root.describe()));
        return Vec::new();
    };
    if entries.is_empty() {
        findings.problem(format!("{place}: it has no template: write FILE: TEMPLATE, or remove the annotation"));
    }
    if entries.len() > MAX_ENTRIES {
        findings.problem(format!("{place}: it has {} templates, and {MAX_ENTRIES} are the most that a plan can hold: write fewer", entries.len()));
        return Vec::new();
    }
    let files: Vec<TemplateFile> = entries.iter().filter_map(|(file, template)| template_file(file, template, &place, findings)).collect();
    let objects: usize = files.iter().map(|file| file.objects.len()).sum();
    if objects > MAX_ENTRIES {
        findings.problem(format!("{place}: it names {objects} objects, and {MAX_ENTRIES} are the most that a plan can hold: name fewer"));
        return Vec::new();
    }
    files
}

fn template_file(file: &Node, template: &Node, place: &str, findings: &mut Findings) -> Option<TemplateFile> {
    let name = file.to_string();
    let path = name.parse::<FilePath>().map_err(|error| findings.problem(|| format!("{place}: {error}"))).ok();
    let Some(text) = template.text() else {
        findings.problem(format!("{place}: {name}: a template is text, not {}", template.describe()));
        return None;
    };
    let parsed = Template::parse(text).map_err(|error| findings.problem(|| format!("{place}: {name}: {error}"))).ok()?;
    let mut seen = std::collections::HashSet::new();
    let mut objects = Vec::new();
    for reference in parsed.references().iter().filter(|reference| seen.insert((reference.kind(), reference.name.as_str()))) {
        match reference.name.parse() {
            Ok(object) => {
                objects.push(TemplateObject { kind: reference.kind(), written: reference.name.clone(), line: reference.line, object });
            }
            Err(error) => findings.problem(|| format!("{place}: {name}: line {}: {error}", reference.line)),
        }
    }
    Some(TemplateFile { file: path?, text: text.to_owned(), objects })
}
