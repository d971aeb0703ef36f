//! Annotation `template-config-map`: templates that a ConfigMap holds, unknown until the pod runs.

use serde_json::{Value, json};

use super::findings::Findings;
use super::reserved::TEMPLATES_VOLUME;
use super::settings::{FileReference, Gives};
use super::sources::Sources;
use crate::annotations::Key;
use crate::reference::VaultLocator;
use crate::texts::ConfigMapName;
use keyvault_common::names::{ObjectName, ObjectVersion};

/// Where the ConfigMap is mounted in the agent's container.
pub(super) const DIRECTORY: &str = "/keyvault/templates";

/// What such templates call an object: as its reference is written in the short form.
pub(super) fn name_of(vault: Option<&VaultLocator>, name: &ObjectName, version: Option<&ObjectVersion>) -> String {
    let vault = match vault {
        None => String::new(),
        Some(VaultLocator::Name(vault)) => format!("{vault}/"),
        Some(VaultLocator::Url(vault)) => format!("{}/", vault.name()),
    };
    format!("{vault}{name}{}", version.map(|version| format!("@{version}")).unwrap_or_default())
}

/// The ConfigMap that the pod names.
pub(super) fn read(sources: &Sources<'_>, findings: &mut Findings) -> Option<FileReference> {
    let key = Key::TemplateConfigMap;
    let name = sources.of_pod::<ConfigMapName>(key, findings)?;
    if [Key::Secrets, Key::Certificates, Key::Keys].iter().all(|key| sources.pod.get(*key).is_none()) {
        findings.problem(format!(
            "annotation {}: its templates may use only what the pod names in secrets, certificates and keys, and it has none of these: name each object there",
            key.annotation()
        ));
    }
    let label = name.0.clone();
    Some(FileReference { key, label, gives: Gives::ConfigMap(name), mode: None, containers: None, overrides: false })
}

/// The volume that only the agent mounts.
pub(super) fn volume(ConfigMapName(name): &ConfigMapName) -> Value {
    // Optional, or a missing ConfigMap would leave the pod waiting without a word.
    json!({ "name": TEMPLATES_VOLUME, "configMap": { "name": name, "optional": true } })
}

/// Its mount in the agent's container.
pub(super) fn mount() -> Value {
    json!({ "name": TEMPLATES_VOLUME, "mountPath": DIRECTORY, "readOnly": true })
}
