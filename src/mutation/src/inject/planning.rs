//! From settings and views to the plan that the agent carries out.

use std::collections::HashMap;

use super::config_map;
use super::consumers::{Consumer, Family};
use super::credential::Credential;
use super::findings::Findings;
use super::given::ENVIRONMENT_FILE;
use super::identity::SignIn;
use super::reaction::Reaction;
use super::settings::{Content, FileReference, Gives, Selected, Settings};
use super::views::{View, Views};
use crate::config::Config;
use crate::texts::{BindingName, ConfigMapName};
use keyvault_common::names::{AbsolutePath, FileMode, FilePath, ObjectKind, VaultUrl};
use keyvault_common::plan::{
    ConfigMapTemplates, Directory, Entry, Fetch, MAX_ENTRIES, MAX_PLAN_BYTES, Object, Plan, PlanCloud, PlanTemplate, Refresh, RestartAll, Select,
    SelectedEntry, Value, Variable,
};

/// A plan with everything that is derived from it.
#[derive(Debug)]
pub(super) struct Planned {
    /// Name of a view's volume, and where the agent writes it.
    pub(super) directories: Vec<(String, String)>,
    /// The plan as the environment variable carries it.
    pub(super) json: String,
    /// The `status` annotation.
    pub(super) status: String,
    /// The objects' addresses, for the audit log.
    pub(super) objects: String,
    /// What the agent needs to sign in.
    pub(super) credential: Credential,
    /// The value of the label for AAD pod identity.
    pub(super) binding: Option<BindingName>,
    /// The ConfigMap whose templates the agent renders.
    pub(super) config_map: Option<ConfigMapName>,
}

/// Where the agent leaves its program for containers that are wrapped.
pub(super) const PROGRAM: &str = "/keyvault/program";
/// Where the sidecar sees what the kubelet reports of the pod.
pub(super) const POD: &str = "/keyvault/pod";
/// The annotation that asks for a refresh, as a file there.
pub(super) const REFRESH_NOW: &str = "refresh-now";

/// What the plan is made of.
pub(super) struct Planning<'a> {
    pub(super) settings: &'a Settings,
    pub(super) views: &'a Views<'a>,
    pub(super) config: &'a Config,
    /// Whether the agent copies its program.
    pub(super) copies: bool,
    pub(super) reaction: Reaction,
    /// How many containers the pod has, ours included.
    pub(super) containers: usize,
}

/// `None` where the identity is missing: there is a problem already.
pub(super) fn plan(planning: &Planning<'_>, sign_in: Option<SignIn>, findings: &mut Findings) -> Option<Planned> {
    let Planning { settings, views, config, copies, reaction, containers } = planning;
    let entries = views.entries();
    if entries > MAX_ENTRIES {
        too_long(settings, &format!("at least {entries} files"), &format!("{MAX_ENTRIES}"), findings);
        return None;
    }
    let texts: usize = views.views.iter().flat_map(|view| &view.files).flat_map(|file| settings.files[*file].files()).map(length).sum();
    if texts > MAX_PLAN_BYTES {
        too_long(settings, &format!("{texts} bytes"), &format!("{MAX_PLAN_BYTES}"), findings);
        return None;
    }
    let SignIn { identity, credential, binding } = sign_in?;
    let mut plan = Plan::new(cloud(settings, config), identity, settings.deadline);
    plan.extra_ca.clone_from(&config.agent.extra_ca);
    plan.log_level = settings.log_level;
    plan.program = if *copies { Some(PROGRAM.parse().ok()?) } else { None };
    plan.refresh = refresh(settings, views, *reaction)?;
    plan.termination_message_bytes = termination_message_bytes(*containers);
    let ids = fetches(settings, views, &mut plan);
    let config_map = config_map(settings, views);
    if let Some(name) = config_map {
        plan.config_map = Some(templates(name, settings, &ids, findings)?);
    }
    for view in &views.views {
        plan.directories.push(directory(view, settings, &ids)?);
    }
    let json = plan.to_json().ok()?;
    if json.len() > MAX_PLAN_BYTES {
        too_long(settings, &format!("{} bytes", json.len()), &format!("{MAX_PLAN_BYTES}"), findings);
    }
    Some(Planned {
        directories: views.views.iter().map(|view| (view.volume(), view.agent_path())).collect(),
        status: format!("injected plan=sha256:{}", digest(&json)),
        json,
        objects: objects(&plan),
        credential,
        binding,
        config_map: config_map.cloned(),
    })
}

/// What a file surely adds to the plan: the text of a template, which each of its views carries.
fn length((_, content): &(FilePath, Content)) -> usize {
    if let Content::Template(text, _) = content { text.len() } else { 0 }
}

fn too_long(settings: &Settings, length: &str, most: &str, findings: &mut Findings) {
    let mut annotations: Vec<String> = settings.files.iter().map(|file| file.key.annotation()).collect();
    annotations.dedup();
    findings.problem(format!(
        "the plan would be {length} long and {most} are possible: name fewer objects in {}, or give them to fewer containers",
        annotations.join(" and ")
    ));
}

fn cloud(settings: &Settings, config: &Config) -> PlanCloud {
    let cloud = &config.cloud;
    let domain = cloud.resource.strip_prefix("https://").unwrap_or(&cloud.resource);
    // The agent knows the resource's domain only; the suffix of a private cloud may be another.
    let is_outside = |vault: &VaultUrl| !vault.host().strip_suffix(domain).is_some_and(|name| name.ends_with('.'));
    let is_named = |vault: &VaultUrl| !cloud.is_vault(vault) || (cloud.verify_challenge && is_outside(vault));
    let vaults = settings.files.iter().flat_map(FileReference::vaults);
    let mut allowed: Vec<String> = vaults.filter(|vault| is_named(vault)).map(VaultUrl::authority).collect();
    allowed.sort();
    allowed.dedup();
    PlanCloud {
        authority_host: cloud.authority_host.clone(),
        resource: cloud.resource.clone(),
        verify_challenge: cloud.verify_challenge,
        allowed_vault_hosts: allowed,
    }
}

/// Adds each object and each selection once and says, for each reference, which fetches it is made of, or which selection.
fn fetches(settings: &Settings, views: &Views<'_>, plan: &mut Plan) -> Vec<Vec<String>> {
    let is_given = |index: usize| views.views.iter().any(|view| view.gives(index));
    let mut ids = vec![Vec::new(); settings.files.len()];
    let mut known = HashMap::new();
    for (index, file) in settings.files.iter().enumerate().filter(|(index, _)| is_given(*index)) {
        ids[index] = match &file.gives {
            Gives::Files { objects, .. } => objects.iter().map(|source| fetch(plan, &mut known, source.kind, source.object.clone())).collect(),
            Gives::Selected(selected) => vec![select(plan, selected)],
            Gives::ConfigMap(_) => Vec::new(),
        };
    }
    ids
}

/// What distinguishes objects. Key Vault compares names without regard to case.
type Identified = (ObjectKind, VaultUrl, String, Option<String>);

/// The id under which an object is fetched; `known` has its position in the plan.
fn fetch(plan: &mut Plan, known: &mut HashMap<Identified, usize>, kind: ObjectKind, object: Object) -> String {
    let version = object.version.as_ref().map(|version| version.as_str().to_ascii_lowercase());
    let next = plan.fetch.len();
    let position = *known.entry((kind, object.vault.clone(), object.name.as_str().to_ascii_lowercase(), version)).or_insert(next);
    if let Some(fetch) = plan.fetch.get_mut(position) {
        // One reference that needs the object is enough.
        fetch.object.optional &= object.optional;
        return fetch.id.clone();
    }
    let id = next.to_string();
    plan.fetch.push(Fetch { id: id.clone(), kind, object });
    id
}

/// The id of a selection.
fn select(plan: &mut Plan, Selected { vault, selector, optional, .. }: &Selected) -> String {
    if let Some(known) = plan.select.iter_mut().find(|known| known.vault == *vault && known.selector == *selector) {
        known.optional &= optional;
        return known.id.clone();
    }
    let id = plan.select.len().to_string();
    plan.select.push(Select { id: id.clone(), vault: vault.clone(), selector: selector.clone(), optional: *optional });
    id
}

/// The ConfigMap, if a container is given its files.
fn config_map<'s>(settings: &'s Settings, views: &Views<'_>) -> Option<&'s ConfigMapName> {
    let given = settings.files.iter().enumerate().filter(|(index, _)| views.views.iter().any(|view| view.gives(*index)));
    given.into_iter().find_map(|(_, file)| if let Gives::ConfigMap(name) = &file.gives { Some(name) } else { None })
}

/// What the templates of a ConfigMap may name: all that the pod's references name, as they are written.
fn templates(ConfigMapName(name): &ConfigMapName, settings: &Settings, ids: &[Vec<String>], findings: &mut Findings) -> Option<ConfigMapTemplates> {
    let mut templates = ConfigMapTemplates::new(name.clone(), config_map::DIRECTORY.parse().ok()?);
    for (file, ids) in settings.files.iter().zip(ids) {
        for (source, id) in file.objects().iter().zip(ids) {
            let Some(declared) = &source.declared else { continue };
            if templates.objects(source.kind).get(declared).is_some_and(|known| known != id) {
                findings.problem(format!(
                    "{}: templates of ConfigMap {name} could not distinguish two vaults whose names both begin with {:?}: name one of them by its name alone",
                    file.place(),
                    source.object.vault.name()
                ));
            }
            templates.declare(source.kind, declared.clone(), id.clone());
        }
    }
    Some(templates)
}

fn directory(view: &View<'_>, settings: &Settings, ids: &[Vec<String>]) -> Option<Directory> {
    let path = view.agent_path().parse::<AbsolutePath>().ok()?;
    let mut directory = Directory { path, entries: Vec::new(), selected: Vec::new(), config_map_mode: None };
    if view.family == Family::Environment {
        directory.entries.push(environment(view, settings, ids)?);
        return Some(directory);
    }
    for (file, ids) in view.files.iter().map(|index| (&settings.files[*index], &ids[*index])) {
        // A variable's file has the mode of its view, whatever mode files have.
        let mode = file.mode.or(settings.file_mode).filter(|_| view.family == Family::Files).unwrap_or(view.mode);
        match &file.gives {
            Gives::Files { files, .. } => {
                directory.entries.extend(files.iter().map(|(path, content)| Entry { file: path.clone(), mode, value: value(content, file, ids) }));
            }
            Gives::Selected(selected) => directory.selected.extend(ids.iter().map(|id| selected_entry(id, selected, mode))),
            Gives::ConfigMap(_) => directory.config_map_mode = Some(mode),
        }
    }
    Some(directory)
}

fn selected_entry(id: &str, Selected { file, property, encoding, .. }: &Selected, mode: FileMode) -> SelectedEntry {
    SelectedEntry { select: id.to_owned(), file: file.clone(), mode, property: property.clone(), encoding: *encoding }
}

/// All variables in the one file that the kubelet reads.
fn environment(view: &View<'_>, settings: &Settings, ids: &[Vec<String>]) -> Option<Entry> {
    let variable = |index: &usize| {
        let (name, content) = settings.files[*index].files().first()?;
        let Content::Secret(property, encoding) = content else { return None };
        let object = ids[*index].first()?.clone();
        Some(Variable { name: name.as_str().parse().ok()?, object, property: property.clone(), encoding: *encoding })
    };
    let variables = view.files.iter().map(variable).collect::<Option<Vec<_>>>()?;
    Some(Entry { file: ENVIRONMENT_FILE.parse().ok()?, mode: view.mode, value: Value::Environment(variables) })
}

/// The kubelet keeps 4,096 bytes of a termination message, and divides 12,288 evenly among all containers of a pod.
pub(super) fn termination_message_bytes(containers: usize) -> Option<u16> {
    let share = 12_288 / containers.max(1);
    if share < 4_096 { u16::try_from(share).ok() } else { None }
}

fn refresh(settings: &Settings, views: &Views<'_>, reaction: Reaction) -> Option<Option<Refresh>> {
    let Some(every) = settings.refresh else { return Some(None) };
    let now_file = format!("{POD}/{REFRESH_NOW}").parse().ok()?;
    let restart = if reaction == Reaction::Kubelet { Some(restart(settings, views)?) } else { None };
    Some(Some(Refresh { every, port: settings.metrics_port, now_file: Some(now_file), restart }))
}

/// Files that only init containers use do not trigger a restart, because these containers have ended.
fn restart(settings: &Settings, views: &Views<'_>) -> Option<RestartAll> {
    let in_use = views.views.iter().filter(|view| view.consumers.iter().any(Consumer::runs_on));
    let watch = in_use.map(|view| view.agent_path().parse().ok()).collect::<Option<Vec<AbsolutePath>>>()?;
    Some(RestartAll::new(watch, settings.spread))
}

fn value(content: &Content, file: &FileReference, ids: &[String]) -> Value {
    let id = ids.first().cloned().unwrap_or_default();
    match content {
        Content::Secret(property, encoding) => Value::Object { id, property: property.clone(), encoding: *encoding },
        Content::Certificate(part) => Value::Certificate { id, part: *part, password: ids.get(1).cloned() },
        Content::Key(format) => Value::Key { id, format: *format },
        Content::Template(text, names) => {
            let mut template = PlanTemplate { text: text.clone(), ..PlanTemplate::default() };
            for ((name, id), source) in names.iter().zip(ids).zip(file.objects()) {
                template.name(source.kind, name.clone(), id.clone());
            }
            Value::Template(template)
        }
    }
}

fn objects(plan: &Plan) -> String {
    let address = |fetch: &Fetch| {
        let version = fetch.object.version.as_ref().map(|version| format!("/{version}")).unwrap_or_default();
        format!("{}/{}/{}{version}", fetch.object.vault, fetch.kind.collection(), fetch.object.name)
    };
    let pattern = |select: &Select| format!("{}/{}/{}", select.vault, ObjectKind::Secret.collection(), select.selector);
    plan.fetch.iter().map(address).chain(plan.select.iter().map(pattern)).collect::<Vec<_>>().join(" ")
}

/// The first eight hexadecimal digits of SHA-256: enough to distinguish plans.
fn digest(json: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, json.as_bytes());
    digest.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}
