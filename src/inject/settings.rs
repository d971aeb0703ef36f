//! What a pod asks for, read from every source; all problems are found, none stops the reading.

use super::available::{Feature, not_yet, require};
use super::findings::Findings;
use super::planning::MAX_ENTRIES;
use super::sources::Sources;
use crate::annotations::Key;
use crate::config::{Config, Deadline, MountPath, Refresh, Resources};
use crate::duration::Span;
use crate::names::{AbsolutePath, ContainerName, FileMode, FilePath, LogLevel, VaultUrl};
use crate::reference::{self, Destination, Grammar, Reference, Target};
use crate::template::Template;
use crate::texts::{BindingName, EnvDelivery, Image, OnChange, SecretName};
use crate::yaml::{Kind, Node};

/// The answers to every question that annotations can put, but for the identity.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) files: Vec<FileReference>,
    pub(super) mount_path: AbsolutePath,
    pub(super) containers: Option<Vec<ContainerName>>,
    pub(super) file_mode: Option<FileMode>,
    /// Where that mode stands, in words.
    pub(super) file_mode_place: String,
    pub(super) deadline: Span,
    pub(super) resources: Resources,
    /// Whether the pod itself says anything of them.
    pub(super) resources_of_pod: bool,
    pub(super) log_level: LogLevel,
}

/// A reference with its vault's address and its file settled.
#[derive(Debug)]
pub(super) struct FileReference {
    pub(super) vault: VaultUrl,
    pub(super) file: FilePath,
    pub(super) reference: Reference,
}

pub(super) fn read(sources: &Sources<'_>, config: &Config, findings: &mut Findings) -> Settings {
    refuse_unavailable(sources, config, findings);
    let defaults = &config.defaults;
    Settings {
        files: files(sources, config, findings),
        mount_path: sources.get::<MountPath>(Key::MountPath, findings).map_or_else(|| defaults.mount_path.clone(), |path| path.0),
        containers: containers(sources, findings),
        file_mode: sources.get(Key::FileMode, findings).or(defaults.file_mode),
        file_mode_place: sources.place(Key::FileMode),
        deadline: sources.get::<Deadline>(Key::Deadline, findings).map_or(defaults.deadline, |deadline| deadline.0),
        resources: resources(sources, config, findings),
        resources_of_pod: sources.pod.get(Key::AgentResources).is_some(),
        log_level: sources.of_pod(Key::AgentLogLevel, findings).unwrap_or(config.agent.log_level),
    }
}

fn resources(sources: &Sources<'_>, config: &Config, findings: &mut Findings) -> Resources {
    let namespace = sources.of_namespace::<Resources>(Key::AgentResources, findings).unwrap_or_default().over(&config.defaults.agent_resources);
    sources.of_pod::<Resources>(Key::AgentResources, findings).unwrap_or_default().over(&namespace)
}

fn containers(sources: &Sources<'_>, findings: &mut Findings) -> Option<Vec<ContainerName>> {
    let text = sources.pod.get(Key::Containers)?;
    let problems = findings.count();
    let mut names = Vec::new();
    for name in text.split([',', '\n']).map(str::trim).filter(|name| !name.is_empty()) {
        match name.parse() {
            Ok(name) => names.push(name),
            Err(error) => findings.problem(format!("annotation {}: {error}", Key::Containers.annotation())),
        }
    }
    if names.is_empty() && findings.count() == problems {
        findings.problem(format!("annotation {}: it names no container: name one, or remove the annotation", Key::Containers.annotation()));
    }
    Some(names)
}

// === references ===

fn references(sources: &Sources<'_>, key: Key, grammar: Grammar, findings: &mut Findings) -> Vec<Reference> {
    let Some(text) = sources.pod.get(key) else { return Vec::new() };
    let (references, problems) = reference::parse(text, grammar);
    for problem in problems {
        findings.problem(format!("annotation {}: {problem}", key.annotation()));
    }
    references
}

fn files(sources: &Sources<'_>, config: &Config, findings: &mut Findings) -> Vec<FileReference> {
    let references = references(sources, Key::Secrets, Grammar::Secrets, findings);
    if references.len() > MAX_ENTRIES {
        let key = Key::Secrets.annotation();
        findings.problem(format!(
            "annotation {key}: it has {} references, and {MAX_ENTRIES} are the most that a plan can hold: name fewer",
            references.len()
        ));
        return Vec::new();
    }
    let default = default_vault(&references, sources, config, findings);
    references.into_iter().filter_map(|reference| file_reference(reference, default.as_ref(), config, findings)).collect()
}

/// The vault of references that name none. A bad one of the pod is wrong even if no reference needs it; one of the Namespace hurts nobody else.
fn default_vault(references: &[Reference], sources: &Sources<'_>, config: &Config, findings: &mut Findings) -> Option<VaultUrl> {
    let needs = |reference: &&Reference| matches!(&reference.target, Target::Object { vault: None, .. });
    let first = references.iter().find(needs);
    let problems = findings.count();
    let vault = match first {
        Some(_) => sources.get(Key::Vault, findings).or_else(|| config.defaults.vault.clone()),
        None => sources.of_pod(Key::Vault, findings),
    };
    if let (None, Some(first), true) = (&vault, first, findings.count() == problems) {
        findings.absence(format!(
            "annotation {}: {}: no vault is named: write VAULT/NAME, or set {} on the pod or its Namespace",
            Key::Secrets.annotation(),
            first.label,
            Key::Vault.annotation()
        ));
    }
    config.vault_address(&vault?).map_err(|problem| sources.problem(Key::Vault, &problem, findings)).ok()
}

/// Stands for a vault that is missing or wrong, so that the other problems of its references are found too. The pod is denied already.
fn nowhere() -> Option<VaultUrl> {
    "https://vault.invalid".parse().ok()
}

fn file_reference(reference: Reference, default: Option<&VaultUrl>, config: &Config, findings: &mut Findings) -> Option<FileReference> {
    let place = format!("annotation {}: {}", Key::Secrets.annotation(), reference.label);
    let Target::Object { vault, name, .. } = &reference.target else {
        require(Feature::Select, &place, findings);
        return None;
    };
    let vault = match vault {
        Some(vault) => config.vault_address(vault).map_err(|problem| findings.problem(format!("{place}: {problem}"))).ok(),
        None => default.cloned(),
    };
    let file = match &reference.destination {
        Some(Destination::File(file)) => Some(file.clone()),
        // Every object name is a file name.
        Some(Destination::Env(_)) | None => name.as_str().parse().ok(),
    };
    Some(FileReference { vault: vault.or_else(nowhere)?, file: file?, reference })
}

// === what parses and is not carried out yet ===

fn refuse_unavailable(sources: &Sources<'_>, config: &Config, findings: &mut Findings) {
    for (key, grammar, feature) in [
        (Key::Certificates, Grammar::Certificates, Feature::Certificates),
        (Key::Keys, Grammar::Keys, Feature::Keys),
        (Key::Env, Grammar::Env, Feature::Env),
    ] {
        if sources.pod.get(key).is_some() {
            references(sources, key, grammar, findings);
            require(feature, &format!("annotation {}", key.annotation()), findings);
        }
    }
    if let Some(text) = sources.pod.get(Key::Templates) {
        templates(text, findings);
        require(Feature::Templates, &format!("annotation {}", Key::Templates.annotation()), findings);
    }
    if let Refresh::Every(span) = sources.get(Key::Refresh, findings).unwrap_or(config.defaults.refresh) {
        sources.problem(Key::Refresh, &format!("{span}: {}", not_yet(Feature::Refresh)), findings);
    }
    if let Some(OnChange::Signal | OnChange::Restart) = sources.of_pod(Key::OnChange, findings) {
        require(Feature::OnChange, &format!("annotation {}", Key::OnChange.annotation()), findings);
    }
    if sources.of_pod::<Image>(Key::AgentImage, findings).is_some() {
        require(Feature::AgentImage, &format!("annotation {}", Key::AgentImage.annotation()), findings);
    }
    sources.of_pod::<EnvDelivery>(Key::EnvDelivery, findings);
    sources.of_pod::<BindingName>(Key::PodIdentityBinding, findings);
    sources.of_pod::<SecretName>(Key::ServicePrincipalSecret, findings);
}

/// A YAML map from file to template.
fn templates(text: &str, findings: &mut Findings) {
    let place = format!("annotation {}", Key::Templates.annotation());
    let root = match Node::parse(text) {
        Ok(root) => root,
        Err(error) => return findings.problem(format!("{place}: {error}")),
    };
    let Kind::Map(entries) = &root.kind else {
        return findings.problem(format!("{place}: a YAML map from file to template is expected, not {}", root.describe()));
    };
    for (file, template) in entries {
        let file = file.to_string();
        if let Err(error) = file.parse::<FilePath>() {
            findings.problem(format!("{place}: {error}"));
        }
        match template.text() {
            None => findings.problem(format!("{place}: {file}: a template is text, not {}", template.describe())),
            Some(text) => {
                if let Err(error) = Template::parse(text) {
                    findings.problem(format!("{place}: {file}: {error}"));
                }
            }
        }
    }
}
