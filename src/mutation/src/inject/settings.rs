//! What a pod asks for, read from every source; all problems are found, none stops the reading.

use std::collections::HashSet;

use super::available::{Feature, require};
use super::config_map;
use super::findings::Findings;
use super::references;
use super::sources::Sources;
use super::templates::{self, TemplateFile, TemplateObject};
use crate::annotations::Key;
use crate::config::{Config, Deadline, MountPath, Refresh, Resources};
use crate::reference::{Destination, Format, Grammar, GroupFormat, Member, NamedObject, Reference, Target, VaultLocator};
use crate::texts::{ConfigMapName, EnvDelivery, Image, Port, Reaction, Spread};
use keyvault_common::duration::Span;
use keyvault_common::names::{AbsolutePath, ContainerName, FileMode, FilePath, FilePattern, LogLevel, NameError, ObjectKind, VaultUrl};
use keyvault_common::plan::{CertificatePart, Encoding, KeyFormat, MAX_CONFIG_MAP_TEMPLATES, MAX_SELECTED, Object, OnChange, Selector};
use keyvault_common::property::PropertyPath;

/// The answers to every question that annotations can put, but for the identity.
#[derive(Debug)]
pub(super) struct Settings {
    /// One for each reference, template and ConfigMap of templates, in the order of the annotations.
    pub(super) files: Vec<FileReference>,
    pub(super) mount_path: AbsolutePath,
    pub(super) containers: Option<Vec<ContainerName>>,
    pub(super) file_mode: Option<FileMode>,
    /// Where that mode is, in words.
    pub(super) file_mode_place: String,
    pub(super) deadline: Span,
    pub(super) resources: AgentResources,
    pub(super) log_level: LogLevel,
    pub(super) env_delivery: EnvDelivery,
    /// `None` where files are fetched once.
    pub(super) refresh: Option<Span>,
    /// What containers learn of new values; without refresh there are none.
    pub(super) on_change: Option<OnChange>,
    pub(super) spread: Span,
    pub(super) metrics_port: Option<u16>,
}

/// What our containers ask for and may use, before the pod is looked at.
#[derive(Debug)]
pub(super) struct AgentResources {
    pub(super) fetch: Resources,
    pub(super) sidecar: Resources,
    /// Whether the pod itself says anything of them.
    pub(super) of_pod: bool,
    /// Whether the pod or its Namespace does.
    pub(super) of_annotation: bool,
}

/// A reference, template or ConfigMap of templates with its vaults' addresses settled.
#[derive(Debug)]
pub(super) struct FileReference {
    /// The annotation it is in.
    pub(super) key: Key,
    /// Where in the annotation, in words.
    pub(super) label: String,
    pub(super) gives: Gives,
    pub(super) mode: Option<FileMode>,
    pub(super) containers: Option<Vec<ContainerName>>,
    /// Whether a variable that the container sets itself may be replaced.
    pub(super) overrides: bool,
}

/// What becomes of a reference.
#[derive(Debug)]
pub(super) enum Gives {
    /// Files that are known now: more than one for the folder of a certificate.
    Files {
        /// What they are made of: the reference's object, and the secret of a PFX's password; or all that a template names.
        objects: Vec<ObjectSource>,
        files: Vec<(FilePath, Content)>,
    },
    /// A file for each secret that the vault turns out to have.
    Selected(Selected),
    /// A file for each key that the ConfigMap turns out to have.
    ConfigMap(ConfigMapName),
}

/// A selection with its vault's address settled.
#[derive(Debug)]
pub(super) struct Selected {
    pub(super) vault: VaultUrl,
    pub(super) selector: Selector,
    pub(super) optional: bool,
    pub(super) file: FilePattern,
    pub(super) property: Option<PropertyPath>,
    pub(super) encoding: Encoding,
}

/// An object with its vault's address settled.
#[derive(Debug)]
pub(super) struct ObjectSource {
    pub(super) kind: ObjectKind,
    pub(super) object: Object,
    /// What templates of a ConfigMap may call it, if they may use it.
    pub(super) declared: Option<String>,
}

/// What a file of a reference holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Secret(Option<PropertyPath>, Encoding),
    Certificate(CertificatePart),
    Key(KeyFormat),
    /// The text, and what is between its quotes for each of the objects.
    Template(String, Vec<String>),
}

impl FileReference {
    /// The variable's name, where it is no file.
    pub(super) fn variable(&self) -> Option<&str> {
        self.files().first().filter(|_| self.key == Key::Env).map(|(name, _)| name.as_str())
    }

    /// Where it is, in words.
    pub(super) fn place(&self) -> String {
        format!("annotation {}: {}", self.key.annotation(), self.label)
    }

    /// The objects that are known now.
    pub(super) fn objects(&self) -> &[ObjectSource] {
        if let Gives::Files { objects, .. } = &self.gives { objects } else { &[] }
    }

    /// The files that are known now.
    pub(super) fn files(&self) -> &[(FilePath, Content)] {
        if let Gives::Files { files, .. } = &self.gives { files } else { &[] }
    }

    /// How many files there may be.
    pub(super) fn count(&self) -> usize {
        match &self.gives {
            Gives::Files { files, .. } => files.len(),
            Gives::Selected(_) => MAX_SELECTED,
            Gives::ConfigMap(_) => MAX_CONFIG_MAP_TEMPLATES,
        }
    }

    /// Every vault that is asked for it.
    pub(super) fn vaults(&self) -> impl Iterator<Item = &VaultUrl> {
        let selected = if let Gives::Selected(selected) = &self.gives { Some(&selected.vault) } else { None };
        self.objects().iter().map(|source| &source.object.vault).chain(selected)
    }
}

fn place(key: Key, reference: &Reference) -> String {
    format!("annotation {}: {}", key.annotation(), reference.label)
}

pub(super) fn read(sources: &Sources<'_>, config: &Config, findings: &mut Findings) -> Settings {
    if sources.of_pod::<Image>(Key::AgentImage, findings).is_some() {
        require(Feature::AgentImage, &format!("annotation {}", Key::AgentImage.annotation()), findings);
    }
    let defaults = &config.defaults;
    let refresh = refresh(sources, config, findings);
    Settings {
        files: files(sources, config, findings),
        mount_path: sources.get::<MountPath>(Key::MountPath, findings).map_or_else(|| defaults.mount_path.clone(), |path| path.0),
        containers: containers(sources, findings),
        file_mode: sources.get(Key::FileMode, findings).or(defaults.file_mode),
        file_mode_place: sources.place(Key::FileMode),
        deadline: sources.get::<Deadline>(Key::Deadline, findings).map_or(defaults.deadline, |deadline| deadline.0),
        resources: resources(sources, config, findings),
        log_level: sources.of_pod(Key::AgentLogLevel, findings).unwrap_or(config.agent.log_level),
        env_delivery: sources.of_pod(Key::EnvDelivery, findings).unwrap_or(EnvDelivery::Auto),
        on_change: on_change(sources, refresh, findings),
        spread: sources.of_pod::<Spread>(Key::OnChangeSpread, findings).map_or(SPREAD, |spread| spread.0),
        metrics_port: sources.of_pod::<Port>(Key::MetricsPort, findings).map(|port| port.0),
        refresh,
    }
}

/// Over how long replicas act on a change where the pod does not say.
const SPREAD: Span = Span::seconds(300);

fn refresh(sources: &Sources<'_>, config: &Config, findings: &mut Findings) -> Option<Span> {
    match sources.get(Key::Refresh, findings).unwrap_or(config.defaults.refresh) {
        Refresh::Every(span) => return Some(span),
        Refresh::Off => {}
    }
    for key in [Key::OnChange, Key::OnChangeSpread, Key::MetricsPort, Key::RefreshNow] {
        if sources.pod.get(key).is_some_and(|text| text != "none") {
            let (name, refresh) = (key.annotation(), Key::Refresh.annotation());
            findings.warning(format!("annotation {name} is not looked at: nothing is refreshed; set {refresh}, or remove it"));
        }
    }
    None
}

/// A bad one is wrong even where nothing is refreshed.
fn on_change(sources: &Sources<'_>, refresh: Option<Span>, findings: &mut Findings) -> Option<OnChange> {
    let reaction = sources.of_pod::<Reaction>(Key::OnChange, findings)?;
    reaction.0.filter(|_| refresh.is_some())
}

fn resources(sources: &Sources<'_>, config: &Config, findings: &mut Findings) -> AgentResources {
    let namespace = sources.of_namespace::<Resources>(Key::AgentResources, findings);
    let of_pod = sources.pod.get(Key::AgentResources).is_some();
    let of_annotation = of_pod || namespace.is_some();
    let asked = sources.of_pod::<Resources>(Key::AgentResources, findings).unwrap_or_default().over(&namespace.unwrap_or_default());
    let (fetch, sidecar) = (asked.over(&config.defaults.agent_resources), asked.over(&config.defaults.sidecar_resources));
    AgentResources { fetch, sidecar, of_pod, of_annotation }
}

fn containers(sources: &Sources<'_>, findings: &mut Findings) -> Option<Vec<ContainerName>> {
    let text = sources.pod.get(Key::Containers)?;
    let problems = findings.count();
    let (mut seen, mut names) = (HashSet::new(), Vec::new());
    for name in text.split([',', '\n']).map(str::trim).filter(|name| !name.is_empty() && seen.insert(*name)) {
        match name.parse() {
            Ok(name) => names.push(name),
            Err(error) => findings.problem(|| format!("annotation {}: {error}", Key::Containers.annotation())),
        }
    }
    if names.is_empty() && findings.count() == problems {
        findings.problem(format!("annotation {}: it names no container: name one, or remove the annotation", Key::Containers.annotation()));
    }
    Some(names)
}

// === references ===

/// The annotations whose references become files or variables.
const CONTENT: [(Key, Grammar); 4] =
    [(Key::Secrets, Grammar::Secrets), (Key::Certificates, Grammar::Certificates), (Key::Keys, Grammar::Keys), (Key::Env, Grammar::Env)];

fn files(sources: &Sources<'_>, config: &Config, findings: &mut Findings) -> Vec<FileReference> {
    let mut all = Vec::new();
    for (key, grammar) in CONTENT {
        all.extend(references::read(sources, key, grammar, findings).into_iter().map(|reference| (key, grammar, reference)));
    }
    let templates = templates::read(sources, findings);
    let default = default_vault(&all, &templates, sources, config, findings);
    let vaults = Vaults { default, config };
    let references: Vec<FileReference> =
        all.into_iter().filter_map(|(key, grammar, reference)| file_reference(key, grammar, reference, &vaults, findings)).collect();
    let templates: Vec<FileReference> = templates.into_iter().filter_map(|template| template_reference(template, &vaults, findings)).collect();
    let config_map = config_map::read(sources, findings);
    references.into_iter().chain(templates).chain(config_map).collect()
}

/// The vault of references that name none. A bad one of the pod is wrong even if no reference needs it; one of the Namespace hurts nobody else.
fn default_vault(
    references: &[(Key, Grammar, Reference)],
    templates: &[TemplateFile],
    sources: &Sources<'_>,
    config: &Config,
    findings: &mut Findings,
) -> Option<VaultUrl> {
    let needs = |(_, _, reference): &&(Key, Grammar, Reference)| reference.target.needs_default_vault();
    let fix = |reference: &Reference| if matches!(reference.target, Target::Select { .. }) { "add vault: VAULT" } else { "write VAULT/NAME" };
    let first = references.iter().find(needs).map(|(key, _, reference)| (place(*key, reference), fix(reference)));
    let needs = |template: &&TemplateFile| template.objects.iter().any(|object| object.object.vault.is_none());
    let first = first.or_else(|| templates.iter().find(needs).map(|template| (template.place(), "write VAULT/NAME")));
    let problems = findings.count();
    let vault = match first {
        Some(_) => sources.get(Key::Vault, findings).or_else(|| config.defaults.vault.clone()),
        None => sources.of_pod(Key::Vault, findings),
    };
    if let (None, Some((first, fix)), true) = (&vault, first, findings.count() == problems) {
        findings.absence(format!("{first}: no vault is named: {fix}, or set {} on the pod or its Namespace", Key::Vault.annotation()));
    }
    config.vault_address(&vault?).map_err(|problem| sources.problem(Key::Vault, &problem, findings)).ok()
}

/// Stands for a vault that is missing or wrong, so that the other problems of its references are found too. The pod is denied already.
fn nowhere() -> Option<VaultUrl> {
    "https://vault.invalid".parse().ok()
}

/// From what annotations name to addresses.
struct Vaults<'a> {
    default: Option<VaultUrl>,
    config: &'a Config,
}

impl Vaults<'_> {
    fn of(&self, vault: Option<&VaultLocator>, place: &str, findings: &mut Findings) -> Option<VaultUrl> {
        match vault {
            Some(vault) => self.config.vault_address(vault).map_err(|problem| findings.problem(format!("{place}: {problem}"))).ok(),
            None => self.default.clone(),
        }
        .or_else(nowhere)
    }

    fn named(&self, kind: ObjectKind, named: NamedObject, place: &str, findings: &mut Findings) -> Option<ObjectSource> {
        let vault = self.of(named.vault.map(VaultLocator::Name).as_ref(), place, findings)?;
        Some(ObjectSource { kind, object: Object { vault, name: named.name, version: named.version, optional: false }, declared: None })
    }
}

fn file_reference(key: Key, grammar: Grammar, reference: Reference, vaults: &Vaults<'_>, findings: &mut Findings) -> Option<FileReference> {
    let place = place(key, &reference);
    let (vault, name, version) = match &reference.target {
        Target::Object { vault, name, version } => (vault, name, version),
        Target::Group { format, members } => return group_reference(key, *format, members, &reference, vaults, findings),
        Target::Select { vault, selector, file } => {
            let vault = vaults.of(vault.as_ref(), &place, findings)?;
            return Some(selection(key, vault, selector, file, &reference));
        }
    };
    let declared = config_map::name_of(vault.as_ref(), name, version.as_ref());
    let vault = vaults.of(vault.as_ref(), &place, findings)?;
    let object = Object { vault: vault.clone(), name: name.clone(), version: version.clone(), optional: reference.optional };
    let mut objects = vec![ObjectSource { kind: grammar.kind(), object, declared: Some(declared).filter(|_| grammar != Grammar::Env) }];
    if let Some(password) = &reference.password {
        let mut source = vaults.named(ObjectKind::Secret, password.clone(), &place, findings)?;
        if password.vault.is_none() {
            source.object.vault = vault;
        }
        objects.push(source);
    }
    let file = match &reference.destination {
        Some(Destination::File(file)) => file.clone(),
        // Every object name is a file name.
        // So is every variable's.
        Some(Destination::Env(variable)) => variable.as_str().parse().ok()?,
        None => name.as_str().parse().ok()?,
    };
    let files = outputs(grammar, &reference, file).map_err(|error| findings.problem(format!("{place}: {error}"))).ok()?;
    let gives = Gives::Files { objects, files };
    let Reference { label, mode, containers, overrides, .. } = reference;
    Some(FileReference { key, label, gives, mode, containers, overrides })
}

fn selection(key: Key, vault: VaultUrl, selector: &Selector, file: &FilePattern, reference: &Reference) -> FileReference {
    let selected = Selected {
        vault,
        selector: selector.clone(),
        optional: reference.optional,
        file: file.clone(),
        property: reference.property.clone(),
        encoding: reference.encoding,
    };
    let (label, containers) = (reference.label.clone(), reference.containers.clone());
    FileReference { key, label, gives: Gives::Selected(selected), mode: reference.mode, containers, overrides: false }
}

fn group_reference(
    key: Key,
    format: GroupFormat,
    members: &[Member],
    reference: &Reference,
    vaults: &Vaults<'_>,
    findings: &mut Findings,
) -> Option<FileReference> {
    let Some(Destination::File(file)) = &reference.destination else { return None };
    let place = place(key, reference);
    let source = |member: &Member| {
        let source = vaults.named(ObjectKind::Secret, member.object.clone(), &place, findings)?;
        Some(ObjectSource { declared: Some(member.written.clone()), ..source })
    };
    let objects = members.iter().map(source).collect::<Option<Vec<_>>>()?;
    let names = members.iter().map(|member| member.written.clone()).collect();
    let files = vec![(file.clone(), Content::Template(format.template(members), names))];
    let (label, containers) = (reference.label.clone(), reference.containers.clone());
    Some(FileReference { key, label, gives: Gives::Files { objects, files }, mode: reference.mode, containers, overrides: false })
}

fn template_reference(template: TemplateFile, vaults: &Vaults<'_>, findings: &mut Findings) -> Option<FileReference> {
    let place = template.place();
    let label = template.file.to_string();
    let (mut objects, mut names) = (Vec::new(), Vec::new());
    for TemplateObject { kind, written, line, object } in template.objects {
        objects.push(vaults.named(kind, object, &format!("{place}: line {line}"), findings)?);
        names.push(written);
    }
    let files = vec![(template.file, Content::Template(template.text, names))];
    Some(FileReference { key: Key::Templates, label, gives: Gives::Files { objects, files }, mode: None, containers: None, overrides: false })
}

/// The files of a reference. The names in a certificate's folder are those of Kubernetes' TLS Secrets.
fn outputs(grammar: Grammar, reference: &Reference, file: FilePath) -> Result<Vec<(FilePath, Content)>, NameError> {
    let certificate = |part| Ok(vec![(file.clone(), Content::Certificate(part))]);
    match (grammar, reference.format.unwrap_or(Format::Pem)) {
        (Grammar::Certificates, Format::Bundle) => certificate(CertificatePart::Bundle),
        (Grammar::Certificates, Format::Pfx) => certificate(CertificatePart::Pfx),
        (Grammar::Certificates, Format::Pem | Format::Jwk) => {
            let parts = [("tls.crt", CertificatePart::Chain), ("tls.key", CertificatePart::Key), ("ca.crt", CertificatePart::Ca)];
            parts.into_iter().map(|(name, part)| Ok((format!("{file}/{name}").parse()?, Content::Certificate(part)))).collect()
        }
        (Grammar::Keys, Format::Jwk) => Ok(vec![(file, Content::Key(KeyFormat::Jwk))]),
        (Grammar::Keys, _) => Ok(vec![(file, Content::Key(KeyFormat::Pem))]),
        (Grammar::Secrets | Grammar::Env, _) => Ok(vec![(file, Content::Secret(reference.property.clone(), reference.encoding))]),
    }
}
