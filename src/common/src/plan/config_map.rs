//! Templates that are known only once the pod runs, and the objects that they may name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::value::of_kind;
use crate::names::{AbsolutePath, ObjectKind};

/// The most templates that one ConfigMap gives: volumes and memory are reserved for as many.
pub const MAX_CONFIG_MAP_TEMPLATES: usize = 16;

/// A mounted ConfigMap, each key of which is a file's name and holds its template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapTemplates {
    /// The ConfigMap's name, for messages.
    pub name: String,
    /// Where it is mounted in the agent's container.
    pub path: AbsolutePath,
    /// From the names that `secret("…")` may have to the [`Fetch::id`](super::Fetch::id)s of secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// The same for `certificate("…")`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub certificates: BTreeMap<String, String>,
    /// The same for `key("…")`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, String>,
}

impl ConfigMapTemplates {
    /// One that may name nothing yet.
    #[must_use]
    pub fn new(name: String, path: AbsolutePath) -> ConfigMapTemplates {
        ConfigMapTemplates { name, path, secrets: BTreeMap::new(), certificates: BTreeMap::new(), keys: BTreeMap::new() }
    }

    /// Says under which id an object is fetched.
    pub fn declare(&mut self, kind: ObjectKind, name: String, id: String) {
        of_kind(kind, &mut self.secrets, &mut self.certificates, &mut self.keys).insert(name, id);
    }

    /// The names and ids of one kind.
    #[must_use]
    pub fn objects(&self, kind: ObjectKind) -> &BTreeMap<String, String> {
        of_kind(kind, &self.secrets, &self.certificates, &self.keys)
    }

    /// Everything that may be named, and which kind of object each has to be.
    #[must_use]
    pub fn uses(&self) -> Vec<(&str, ObjectKind)> {
        ObjectKind::ALL.into_iter().flat_map(|kind| self.objects(kind).values().map(move |id| (id.as_str(), kind))).collect()
    }
}
