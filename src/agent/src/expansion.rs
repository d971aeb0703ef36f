//! From a plan with selections and templates of a ConfigMap to one whose every file is known.

use std::collections::{BTreeMap, BTreeSet};

use keyvault_client::{Class, Failure};
use keyvault_common::names::{FilePath, ObjectKind, ObjectName};
use keyvault_common::plan::{ConfigMapTemplates, Directory, Entry, Fetch, Object, Plan, PlanTemplate, Select, SelectedEntry, Value};
use keyvault_common::template::Template;
use keyvault_delivery::fetch::{Problem, label};

/// What was not known when the plan was made.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// For each of the plan's selections the names that it takes.
    pub(super) selected: Vec<Vec<ObjectName>>,
    /// Of the ConfigMap: file and template.
    pub(super) templates: Vec<(FilePath, String)>,
}

/// A plan that says the same without selections and without a ConfigMap.
pub(super) fn expand(mut plan: Plan, found: Found) -> Result<Plan, Vec<Problem>> {
    let templates = match plan.config_map.take() {
        Some(config_map) => templates(&config_map, found.templates)?,
        None => Vec::new(),
    };
    let selections = std::mem::take(&mut plan.select);
    let ids: BTreeMap<String, Vec<(ObjectName, String)>> =
        selections.iter().zip(found.selected).map(|(select, names)| (select.id.clone(), fetches(&mut plan.fetch, select, names))).collect();
    let mut problems = Vec::new();
    for directory in &mut plan.directories {
        for entry in std::mem::take(&mut directory.selected) {
            for (name, id) in ids.get(&entry.select).into_iter().flatten() {
                directory.entries.push(selected(&entry, name, id).map_err(|problem| vec![problem])?);
            }
        }
        if let Some(mode) = directory.config_map_mode.take() {
            problems.extend(beyond(directory, &templates, &plan.fetch));
            directory.entries.extend(templates.iter().map(|(file, value)| Entry { file: file.clone(), mode, value: value.clone() }));
        }
        problems.extend(conflicts(directory, &plan.fetch));
    }
    if problems.is_empty() { Ok(plan) } else { Err(problems) }
}

fn unfit(object: String, what: String) -> Problem {
    Problem { object, failure: Failure::new(Class::Format, what) }
}

// === selections ===

/// Fetches what a selection takes, unless it is fetched anyway.
fn fetches(fetches: &mut Vec<Fetch>, select: &Select, names: Vec<ObjectName>) -> Vec<(ObjectName, String)> {
    // One that is deleted right after it was listed matches no more. The only one has to be there, or nothing would be given without a word.
    let optional = select.optional || names.len() > 1;
    let mut ids = Vec::new();
    for name in names {
        let same = |fetch: &&Fetch| {
            let Object { vault, name: known, version, .. } = &fetch.object;
            fetch.kind == ObjectKind::Secret && *vault == select.vault && version.is_none() && known.as_str().eq_ignore_ascii_case(name.as_str())
        };
        let id = match fetches.iter().find(same) {
            Some(known) => known.id.clone(),
            None => {
                let id = format!("{}/{name}", select.id);
                let object = Object { vault: select.vault.clone(), name: name.clone(), version: None, optional };
                fetches.push(Fetch { id: id.clone(), kind: ObjectKind::Secret, object });
                id
            }
        };
        ids.push((name, id));
    }
    ids
}

fn selected(entry: &SelectedEntry, name: &ObjectName, id: &str) -> Result<Entry, Problem> {
    let file = entry.file.path(name).map_err(|error| unfit(name.to_string(), error.to_string()))?;
    let value = Value::Object { id: id.to_owned(), property: entry.property.clone(), encoding: entry.encoding };
    Ok(Entry { file, mode: entry.mode, value })
}

// === templates of a ConfigMap ===

/// What each template makes of the objects that it may use.
fn templates(config_map: &ConfigMapTemplates, texts: Vec<(FilePath, String)>) -> Result<Vec<(FilePath, Value)>, Vec<Problem>> {
    let (mut templates, mut problems) = (Vec::new(), Vec::new());
    for (file, text) in texts {
        match template(config_map, text) {
            Ok(value) => templates.push((file, value)),
            Err(what) => problems.extend(what.into_iter().map(|what| unfit(format!("ConfigMap {}", config_map.name), format!("key {file}: {what}")))),
        }
    }
    if problems.is_empty() { Ok(templates) } else { Err(problems) }
}

fn template(config_map: &ConfigMapTemplates, text: String) -> Result<Value, Vec<String>> {
    let parsed = Template::parse(&text).map_err(|error| vec![error.to_string()])?;
    let (mut template, mut problems) = (PlanTemplate { text, ..PlanTemplate::default() }, Vec::new());
    for reference in parsed.references() {
        let (kind, name) = (reference.kind(), &reference.name);
        match config_map.objects(kind).get(name) {
            Some(id) => template.name(kind, name.clone(), id.clone()),
            None => problems.push(format!(
                "line {}: {}({name:?}) is nothing that the pod declares: name it in the pod's annotation keyvault-injector.io/{}, spelt the same",
                reference.line,
                kind.noun(),
                kind.collection()
            )),
        }
    }
    problems.dedup();
    if problems.is_empty() { Ok(Value::Template(template)) } else { Err(problems) }
}

/// What templates name that the containers of a directory are not given. A ConfigMap may be changed by others than the pod's author.
fn beyond(directory: &Directory, templates: &[(FilePath, Value)], fetches: &[Fetch]) -> Vec<Problem> {
    let given: BTreeSet<&str> = directory.entries.iter().flat_map(|entry| entry.value.uses()).map(|(id, _)| id).collect();
    let named = templates.iter().flat_map(|(file, value)| value.uses().into_iter().map(move |(id, _)| (file, id)));
    let beyond = named.filter(|(_, id)| !given.contains(id)).filter_map(|(file, id)| Some((file, fetches.iter().find(|fetch| fetch.id == id)?)));
    let tell = |(file, fetch): (&FilePath, &Fetch)| {
        let what = format!("template {file} of the ConfigMap goes to containers that are not given it: add them to the containers of its reference");
        unfit(label(&fetch.object), what)
    };
    beyond.map(tell).collect()
}

// === two files at one place ===

/// Files in the way of each other. The webhook has looked for them among those that it knew.
fn conflicts(directory: &Directory, fetches: &[Fetch]) -> Vec<Problem> {
    let mut files: BTreeMap<&str, &Entry> = BTreeMap::new();
    let mut problems = Vec::new();
    for entry in &directory.entries {
        if let Some(other) = files.insert(entry.file.as_str(), entry) {
            let what = format!("it becomes the file {}, and so does {}: give one of them another file", entry.file, source(other, fetches));
            problems.push(unfit(source(entry, fetches), what));
        }
    }
    for entry in &directory.entries {
        let folders = entry.file.as_str().match_indices('/').map(|(end, _)| &entry.file.as_str()[..end]);
        for outer in folders.filter_map(|folder| files.get(folder)) {
            let other = source(entry, fetches);
            let what = format!("it becomes the file {}, where {other} needs a folder for {}: give one of them another file", outer.file, entry.file);
            problems.push(unfit(source(outer, fetches), what));
        }
    }
    problems
}

/// What a file comes from, for messages.
fn source(entry: &Entry, fetches: &[Fetch]) -> String {
    let fetched = entry.value.id().and_then(|id| fetches.iter().find(|fetch| fetch.id == id));
    fetched.map_or_else(|| format!("template {}", entry.file), |fetch| label(&fetch.object))
}

#[cfg(test)]
mod tests;
