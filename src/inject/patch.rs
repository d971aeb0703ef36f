//! Explicit operations in a stable order: only the difference between the pod as it came in and the pod as it should be.

use std::collections::{HashMap, HashSet};

use json_patch::jsonptr::{PointerBuf, Token};
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation};
use serde_json::{Map, Value, json};

use super::consumers::{Consumer, Place};
use super::given::Given;
use super::merge::{Admission, settled};
use super::ours::{OurMount, Ours};
use super::wrap::{WRAPPER, unwrapped, wrapped};
use crate::annotations::Key;
use crate::pod::{POD_IDENTITY_LABEL, PodView, Text};
use crate::texts::BindingName;

mod variables;

/// What should be in the pod.
pub(super) struct Wanted<'a> {
    /// First in `spec.initContainers`, in this order.
    pub(super) agents: Vec<Value>,
    pub(super) volumes: Vec<Value>,
    /// Every container but ours.
    pub(super) given: &'a [Given<'a>],
    pub(super) admission: Admission<'a>,
}

/// The operations that make the pod as it should be, but for its annotations.
pub(super) fn difference(pod: &PodView<'_>, ours: &Ours, wanted: &Wanted<'_>) -> Operations {
    let mut operations = Operations::default();
    mounts(ours, wanted, &mut operations);
    for given in wanted.given {
        variables::set(given, &mut operations);
        commands(given, &mut operations);
    }
    volumes(pod, ours, wanted, &mut operations);
    agents(pod, ours, wanted, &mut operations);
    operations
}

/// Operations under construction.
#[derive(Debug, Default)]
pub(super) struct Operations {
    operations: Vec<PatchOperation>,
    /// Whether something of our name was not what it should be.
    replaces: bool,
}

impl Operations {
    pub(super) fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    pub(super) fn replaces(&self) -> bool {
        self.replaces
    }

    pub(super) fn into_patch(self) -> Patch {
        Patch(self.operations)
    }

    fn add(&mut self, path: &[&str], value: Value) {
        self.operations.push(PatchOperation::Add(AddOperation { path: pointer(path), value }));
    }

    fn replace(&mut self, path: &[&str], value: Value) {
        self.operations.push(PatchOperation::Replace(ReplaceOperation { path: pointer(path), value }));
    }

    fn remove(&mut self, path: &[&str]) {
        self.operations.push(PatchOperation::Remove(RemoveOperation { path: pointer(path) }));
    }

    /// Adds to the end of a list, which is made where there is none.
    fn append(&mut self, list: &[&str], exists: bool, values: Vec<Value>) {
        if values.is_empty() {
            return;
        }
        if !exists {
            return self.add(list, Value::Array(values));
        }
        let end = [list, &["-"]].concat();
        for value in values {
            self.add(&end, value);
        }
    }
}

fn pointer(path: &[&str]) -> PointerBuf {
    PointerBuf::from_tokens(path.iter().map(|token| Token::new(*token)))
}

// === volumes ===

fn volumes(pod: &PodView<'_>, ours: &Ours, Wanted { volumes: wanted, admission, .. }: &Wanted<'_>, operations: &mut Operations) {
    let mut missing = Vec::new();
    let there: HashMap<&str, &(usize, Value)> = ours.volumes.iter().rev().map(|there| (name(&there.1), there)).collect();
    for volume in wanted {
        match there.get(name(volume)) {
            None => missing.push(volume.clone()),
            Some((index, there)) => {
                let volume = admission.volume(there, volume);
                if volume != *there {
                    operations.replaces = true;
                    operations.replace(&["spec", "volumes", &index.to_string()], volume);
                }
            }
        }
    }
    let names: HashSet<&str> = wanted.iter().map(name).collect();
    let stale = ours.volumes.iter().rev().filter(|(_, there)| !names.contains(name(there)));
    for (index, _) in stale {
        operations.replaces = true;
        operations.remove(&["spec", "volumes", &index.to_string()]);
    }
    operations.append(&["spec", "volumes"], pod.spec.volumes.is_some(), missing);
}

// === our containers ===

/// Puts ours first. Runs after what changes in other containers, whose paths count the init containers as they came in.
fn agents(pod: &PodView<'_>, ours: &Ours, Wanted { agents: wanted, admission, .. }: &Wanted<'_>, operations: &mut Operations) {
    let position = |index: usize| ["spec".to_owned(), "initContainers".to_owned(), index.to_string()];
    let current = |name: &Value| ours.agents.iter().find(|(_, current)| current["name"] == *name);
    let settled: Vec<Value> = wanted
        .iter()
        .map(|wanted| current(&wanted["name"]).map_or_else(|| wanted.clone(), |(_, current)| admission.container(current, wanted)))
        .collect();
    operations.replaces |= ours.agents.iter().any(|(_, current)| !settled.contains(current));
    let stands = |(position, (index, current)): (usize, &(usize, Value))| *index == position && current["name"] == settled[position]["name"];
    if ours.agents.len() == settled.len() && ours.agents.iter().enumerate().all(stands) {
        for ((index, current), settled) in ours.agents.iter().zip(settled) {
            if settled != *current {
                operations.replace(&borrow(&position(*index)), settled);
            }
        }
        return;
    }
    for (index, _) in ours.agents.iter().rev() {
        operations.remove(&borrow(&position(*index)));
    }
    if pod.spec.init_containers.is_none() {
        return operations.add(&["spec", "initContainers"], Value::Array(settled));
    }
    for (index, container) in settled.into_iter().enumerate() {
        operations.add(&borrow(&position(index)), container);
    }
}

// === commands of the consumers ===

/// Puts the wrapper before the commands of a container, or takes an earlier one away.
fn commands(given: &Given<'_>, operations: &mut Operations) {
    let container = given.consumer.container;
    if given.wrapper.is_none() && !container.programs_mention(WRAPPER) {
        return;
    }
    for program in container.programs() {
        let is_own = program.path == ["command"];
        let wanted = match &given.wrapper {
            Some(wrapper) => wrapped(&program.command, wrapper.supervises && is_own),
            None => json!(unwrapped(&program.command).iter().map(Text::as_str).collect::<Vec<_>>()),
        };
        let there = program.command.iter().map(Text::as_str);
        if !wanted.as_array().is_some_and(|wanted| wanted.iter().map(Value::as_str).eq(there.map(Some))) {
            let path: Vec<&str> = program.path.to_vec();
            operations.replace(&borrow(&container_path(given.consumer.place, &path)), wanted);
        }
    }
}

// === mounts of the consumers ===

fn mounts(ours: &Ours, wanted: &Wanted<'_>, operations: &mut Operations) {
    let given: Vec<(Consumer<'_>, &Value)> = wanted.given.iter().flat_map(|given| given.mounts.iter().map(|mount| (given.consumer, mount))).collect();
    let mut by_place: HashMap<(Place, &str), &OurMount> = HashMap::new();
    for mount in ours.mounts.iter().rev() {
        // The first of a name, in the end.
        by_place.insert((mount.place, name(&mount.value)), mount);
    }
    let there = |consumer: &Consumer<'_>, mount: &Value| by_place.get(&(consumer.place, name(mount))).copied();
    let mut kept: HashSet<(Place, usize)> = HashSet::new();
    for (consumer, mount) in &given {
        let Some(there) = there(consumer, mount) else { continue };
        kept.insert((there.place, there.index));
        let mount = settled(&there.value, mount);
        if mount != there.value {
            operations.replaces = true;
            operations.replace(&borrow(&mount_path(there.place, Some(there.index))), mount);
        }
    }
    for stale in ours.mounts.iter().rev().filter(|mount| !kept.contains(&(mount.place, mount.index))) {
        operations.replaces = true;
        operations.remove(&borrow(&mount_path(stale.place, Some(stale.index))));
    }
    for given in wanted.given {
        let missing = given.mounts.iter().filter(|mount| there(&given.consumer, mount).is_none()).cloned().collect();
        operations.append(&borrow(&mount_path(given.consumer.place, None)), given.consumer.container.volume_mounts.is_some(), missing);
    }
}

fn name(entry: &Value) -> &str {
    entry["name"].as_str().unwrap_or_default()
}

fn borrow(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

fn mount_path(place: Place, mount: Option<usize>) -> Vec<String> {
    container_path(place, &["volumeMounts"]).into_iter().chain(mount.map(|index| index.to_string())).collect()
}

/// A field of a container.
fn container_path(place: Place, field: &[&str]) -> Vec<String> {
    let (list, index) = match place {
        Place::Main(index) => ("containers", index),
        Place::Init(index) => ("initContainers", index),
    };
    let path = ["spec".to_owned(), list.to_owned(), index.to_string()];
    path.into_iter().chain(field.iter().map(|name| (*name).to_owned())).collect()
}

// === the label of AAD pod identity ===

/// Sets the label where it is missing. Another value has been denied by now.
pub(super) fn bind(pod: &PodView<'_>, binding: Option<&BindingName>, operations: &mut Operations) {
    let Some(BindingName(name)) = binding else { return };
    match &pod.metadata.labels {
        None => operations.add(&["metadata", "labels"], json!({ POD_IDENTITY_LABEL: name })),
        Some(labels) if labels.pod_identity_binding.is_none() => operations.add(&["metadata", "labels", POD_IDENTITY_LABEL], json!(name)),
        Some(_) => {}
    }
}

// === annotations ===

/// Writes `status` and `warnings`, and takes an old `warnings` away where nothing is surprising any more.
pub(super) fn annotate(pod: &PodView<'_>, status: &str, warnings: &[String], operations: &mut Operations) {
    let text = warnings.join("\n");
    let wanted = [(Key::Status, Some(status)), (Key::Warnings, Some(text.as_str()).filter(|text| !text.is_empty()))];
    if pod.metadata.annotations.is_none() {
        let present = wanted.iter().filter_map(|(key, text)| Some((key.annotation(), json!((*text)?))));
        return operations.add(&["metadata", "annotations"], Value::Object(present.collect::<Map<_, _>>()));
    }
    for (key, wanted) in wanted {
        let there = pod.our_annotations().find(|(name, _)| *name == key.name()).map(|(_, text)| text);
        let annotation = key.annotation();
        let path = ["metadata", "annotations", annotation.as_str()];
        match (there, wanted) {
            (Some(there), Some(wanted)) if there == wanted => {}
            (Some(_), Some(wanted)) => operations.replace(&path, json!(wanted)),
            (None, Some(wanted)) => operations.add(&path, json!(wanted)),
            (Some(_), None) => operations.remove(&path),
            (None, None) => {}
        }
    }
}
