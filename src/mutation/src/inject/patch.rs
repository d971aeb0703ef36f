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
    pub(super) given: Vec<Given<'a>>,
    pub(super) admission: Admission<'a>,
}

/// The operations that make the pod as it should be, but for its annotations.
pub(super) fn difference(pod: &PodView<'_>, ours: &Ours, wanted: Wanted<'_>) -> Operations {
    let Wanted { agents, volumes, mut given, admission } = wanted;
    let mut operations = Operations::default();
    set_mounts(ours, &mut given, &mut operations);
    for given in &given {
        variables::set(given, &mut operations);
        commands(given, &mut operations);
    }
    set_volumes(pod, ours, volumes, admission, &mut operations);
    set_agents(pod, ours, agents, admission, &mut operations);
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

    fn add(&mut self, path: PointerBuf, value: Value) {
        self.operations.push(PatchOperation::Add(AddOperation { path, value }));
    }

    fn replace(&mut self, path: PointerBuf, value: Value) {
        self.operations.push(PatchOperation::Replace(ReplaceOperation { path, value }));
    }

    fn remove(&mut self, path: PointerBuf) {
        self.operations.push(PatchOperation::Remove(RemoveOperation { path }));
    }

    /// Adds to the end of a list, which is made where there is none.
    fn append(&mut self, list: PointerBuf, exists: bool, values: Vec<Value>) {
        if values.is_empty() {
            return;
        }
        if !exists {
            return self.add(list, Value::Array(values));
        }
        let end = list.with_trailing_token("-");
        for value in values {
            self.add(end.clone(), value);
        }
    }
}

fn pointer<const N: usize>(path: [&str; N]) -> PointerBuf {
    PointerBuf::from_tokens(path)
}

/// An entry of a list.
fn entry<const N: usize>(list: [&str; N], index: usize) -> PointerBuf {
    PointerBuf::from_tokens(list.map(Token::new).into_iter().chain([Token::from(index)]))
}

// === volumes ===

fn set_volumes(pod: &PodView<'_>, ours: &Ours, wanted: Vec<Value>, admission: Admission<'_>, operations: &mut Operations) {
    let there: HashMap<&str, &(usize, Value)> = ours.volumes.iter().rev().map(|there| (name(&there.1), there)).collect();
    for volume in &wanted {
        let Some((index, there)) = there.get(name(volume)) else { continue };
        let volume = admission.volume(there, volume);
        if volume != *there {
            operations.replaces = true;
            operations.replace(entry(["spec", "volumes"], *index), volume);
        }
    }
    let names: HashSet<&str> = wanted.iter().map(name).collect();
    let stale = ours.volumes.iter().rev().filter(|(_, there)| !names.contains(name(there)));
    for (index, _) in stale {
        operations.replaces = true;
        operations.remove(entry(["spec", "volumes"], *index));
    }
    let missing = wanted.into_iter().filter(|volume| !there.contains_key(name(volume))).collect();
    operations.append(pointer(["spec", "volumes"]), pod.spec.volumes.is_some(), missing);
}

// === our containers ===

/// Puts ours first. Runs after what changes in other containers, whose paths count the init containers as they came in.
fn set_agents(pod: &PodView<'_>, ours: &Ours, wanted: Vec<Value>, admission: Admission<'_>, operations: &mut Operations) {
    let position = |index: usize| entry(["spec", "initContainers"], index);
    let current = |name: &Value| ours.agents.iter().find(|(_, current)| current["name"] == *name);
    let settled: Vec<Value> = wanted
        .into_iter()
        .map(|wanted| match current(&wanted["name"]) {
            Some((_, current)) => admission.container(current, &wanted),
            None => wanted,
        })
        .collect();
    operations.replaces |= ours.agents.iter().any(|(_, current)| !settled.contains(current));
    let stands = |(position, (index, current)): (usize, &(usize, Value))| *index == position && current["name"] == settled[position]["name"];
    if ours.agents.len() == settled.len() && ours.agents.iter().enumerate().all(stands) {
        for ((index, current), settled) in ours.agents.iter().zip(settled) {
            if settled != *current {
                operations.replace(position(*index), settled);
            }
        }
        return;
    }
    for (index, _) in ours.agents.iter().rev() {
        operations.remove(position(*index));
    }
    if pod.spec.init_containers.is_none() {
        return operations.add(pointer(["spec", "initContainers"]), Value::Array(settled));
    }
    for (index, container) in settled.into_iter().enumerate() {
        operations.add(position(index), container);
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
            operations.replace(container_path(given.consumer.place, program.path), wanted);
        }
    }
}

// === mounts of the consumers ===

fn set_mounts(ours: &Ours, given: &mut [Given<'_>], operations: &mut Operations) {
    let mut by_place: HashMap<(Place, &str), &OurMount> = HashMap::new();
    for mount in ours.mounts.iter().rev() {
        // The first of a name, in the end.
        by_place.insert((mount.place, name(&mount.value)), mount);
    }
    let there = |consumer: &Consumer<'_>, mount: &Value| by_place.get(&(consumer.place, name(mount))).copied();
    let mut kept: HashSet<(Place, usize)> = HashSet::new();
    for (consumer, mount) in given.iter().flat_map(|given| given.mounts.iter().map(|mount| (given.consumer, mount))) {
        let Some(there) = there(&consumer, mount) else { continue };
        kept.insert((there.place, there.index));
        let mount = settled(&there.value, mount);
        if mount != there.value {
            operations.replaces = true;
            operations.replace(mount_path(there.place, there.index), mount);
        }
    }
    for stale in ours.mounts.iter().rev().filter(|mount| !kept.contains(&(mount.place, mount.index))) {
        operations.replaces = true;
        operations.remove(mount_path(stale.place, stale.index));
    }
    for given in given {
        let missing = std::mem::take(&mut given.mounts).into_iter().filter(|mount| there(&given.consumer, mount).is_none()).collect();
        let list = container_path(given.consumer.place, &["volumeMounts"]);
        operations.append(list, given.consumer.container.volume_mounts.is_some(), missing);
    }
}

fn name(entry: &Value) -> &str {
    entry["name"].as_str().unwrap_or_default()
}

fn mount_path(place: Place, index: usize) -> PointerBuf {
    container_path(place, &["volumeMounts"]).with_trailing_token(index)
}

/// A field of a container.
fn container_path(place: Place, field: &[&str]) -> PointerBuf {
    let mut path = match place {
        Place::Main(index) => entry(["spec", "containers"], index),
        Place::Init(index) => entry(["spec", "initContainers"], index),
    };
    field.iter().for_each(|name| path.push_back(*name));
    path
}

// === the label of AAD pod identity ===

/// Sets the label where it is missing. Another value has been denied by now.
pub(super) fn bind(pod: &PodView<'_>, binding: Option<&BindingName>, operations: &mut Operations) {
    let Some(BindingName(name)) = binding else { return };
    match &pod.metadata.labels {
        None => operations.add(pointer(["metadata", "labels"]), json!({ POD_IDENTITY_LABEL: name })),
        Some(labels) if labels.pod_identity_binding.is_none() => operations.add(pointer(["metadata", "labels", POD_IDENTITY_LABEL]), json!(name)),
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
        return operations.add(pointer(["metadata", "annotations"]), Value::Object(present.collect::<Map<_, _>>()));
    }
    for (key, wanted) in wanted {
        let there = pod.our_annotations().find(|(name, _)| *name == key.name()).map(|(_, text)| text);
        let annotation = key.annotation();
        let path = || pointer(["metadata", "annotations", annotation.as_str()]);
        match (there, wanted) {
            (Some(there), Some(wanted)) if there == wanted => {}
            (Some(_), Some(wanted)) => operations.replace(path(), json!(wanted)),
            (None, Some(wanted)) => operations.add(path(), json!(wanted)),
            (Some(_), None) => operations.remove(path()),
            (None, None) => {}
        }
    }
}
