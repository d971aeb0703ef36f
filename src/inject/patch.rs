//! Explicit operations in a stable order: only the difference between the pod as it came in and the pod as it should be.

use json_patch::jsonptr::{PointerBuf, Token};
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation};
use serde_json::{Map, Value, json};

use super::container::consumer_mount;
use super::merge::{merge, merge_agent};
use super::ours::{OurMount, Ours};
use super::views::{Consumer, Place, Views};
use crate::annotations::Key;
use crate::names::AbsolutePath;
use crate::pod::{POD_IDENTITY_LABEL, PodView};
use crate::texts::BindingName;

/// What should be in the pod.
pub(super) struct Wanted<'a> {
    pub(super) agent: Value,
    pub(super) volumes: Vec<Value>,
    pub(super) views: &'a Views<'a>,
    pub(super) mount_path: &'a AbsolutePath,
}

/// The operations that make the pod as it should be, but for its annotations.
pub(super) fn difference(pod: &PodView<'_>, ours: &Ours, wanted: &Wanted<'_>) -> Operations {
    let mut operations = Operations::default();
    mounts(ours, wanted, &mut operations);
    volumes(pod, ours, &wanted.volumes, &mut operations);
    agent(pod, ours, &wanted.agent, &mut operations);
    operations
}

/// Operations under construction.
#[derive(Debug, Default)]
pub(super) struct Operations(Vec<PatchOperation>);

impl Operations {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_patch(self) -> Patch {
        Patch(self.0)
    }

    fn add(&mut self, path: &[&str], value: Value) {
        self.0.push(PatchOperation::Add(AddOperation { path: pointer(path), value }));
    }

    fn replace(&mut self, path: &[&str], value: Value) {
        self.0.push(PatchOperation::Replace(ReplaceOperation { path: pointer(path), value }));
    }

    fn remove(&mut self, path: &[&str]) {
        self.0.push(PatchOperation::Remove(RemoveOperation { path: pointer(path) }));
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

fn volumes(pod: &PodView<'_>, ours: &Ours, wanted: &[Value], operations: &mut Operations) {
    let mut missing = Vec::new();
    for volume in wanted {
        match ours.volumes.iter().find(|(_, there)| there["name"] == volume["name"]) {
            None => missing.push(volume.clone()),
            Some((index, there)) => {
                let merged = merge(there, volume);
                if merged != *there {
                    operations.replace(&["spec", "volumes", &index.to_string()], merged);
                }
            }
        }
    }
    let stale = ours.volumes.iter().rev().filter(|(_, there)| wanted.iter().all(|volume| volume["name"] != there["name"]));
    for (index, _) in stale {
        operations.remove(&["spec", "volumes", &index.to_string()]);
    }
    operations.append(&["spec", "volumes"], pod.spec.volumes.is_some(), missing);
}

// === the agent ===

/// Puts the agent first. Runs after the mounts, whose paths count the init containers as they came in.
fn agent(pod: &PodView<'_>, ours: &Ours, wanted: &Value, operations: &mut Operations) {
    let first = ["spec", "initContainers", "0"];
    match &ours.agent {
        None if pod.spec.init_containers.is_some() => operations.add(&first, wanted.clone()),
        None => operations.add(&["spec", "initContainers"], json!([wanted])),
        Some((0, there)) => {
            let merged = merge_agent(there, wanted);
            if merged != *there {
                operations.replace(&first, merged);
            }
        }
        Some((index, there)) => {
            operations.remove(&["spec", "initContainers", &index.to_string()]);
            operations.add(&first, merge_agent(there, wanted));
        }
    }
}

// === mounts of the consumers ===

fn mounts(ours: &Ours, wanted: &Wanted<'_>, operations: &mut Operations) {
    let given: Vec<(Consumer<'_>, Value)> = wanted
        .views
        .views
        .iter()
        .enumerate()
        .flat_map(|(index, view)| view.consumers.iter().map(move |consumer| (*consumer, consumer_mount(index, wanted.mount_path.as_str()))))
        .collect();
    let there = |consumer: &Consumer<'_>, mount: &Value| {
        ours.mounts.iter().find(|there| there.place == consumer.place && there.value["name"] == mount["name"])
    };
    let mut kept: Vec<&OurMount> = Vec::new();
    for (consumer, mount) in &given {
        let Some(there) = there(consumer, mount) else { continue };
        kept.push(there);
        let merged = merge(&there.value, mount);
        if merged != there.value {
            operations.replace(&borrow(&mount_path(there.place, Some(there.index))), merged);
        }
    }
    for stale in ours.mounts.iter().rev().filter(|mount| !kept.iter().any(|kept| std::ptr::eq(*kept, *mount))) {
        operations.remove(&borrow(&mount_path(stale.place, Some(stale.index))));
    }
    for (consumer, mount) in given.into_iter().filter(|(consumer, mount)| there(consumer, mount).is_none()) {
        operations.append(&borrow(&mount_path(consumer.place, None)), consumer.container.volume_mounts.is_some(), vec![mount]);
    }
}

fn borrow(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

fn mount_path(place: Place, mount: Option<usize>) -> Vec<String> {
    let (list, index) = match place {
        Place::Main(index) => ("containers", index),
        Place::Init(index) => ("initContainers", index),
    };
    let path = ["spec".to_owned(), list.to_owned(), index.to_string(), "volumeMounts".to_owned()];
    path.into_iter().chain(mount.map(|index| index.to_string())).collect()
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
