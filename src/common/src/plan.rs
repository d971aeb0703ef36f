//! The contract between webhook and agent: what to fetch as whom, and which files to write where. Holds no secret.
//!
//! Travels as JSON in the environment variable [`PLAN_VARIABLE`] of the injected container. Its version changes when an older agent would
//! misread it; an unknown field is an error, so that an agent older than its webhook says so instead of leaving something out.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::cloud::MetadataEndpoint;
use crate::duration::Span;
use crate::names::{AbsolutePath, FileMode, FilePath, FilePattern, Guid, LogLevel, ObjectKind, ObjectName, ObjectVersion, VaultUrl};
use crate::property::PropertyPath;

mod config_map;
mod exec;
mod json;
mod refresh;
mod select;
mod value;

pub use config_map::{ConfigMapTemplates, MAX_CONFIG_MAP_TEMPLATES};
pub use exec::{EXEC_VARIABLE, ExecPlan, OnChange, ReloadSignal, RestartPolicy};
pub use refresh::{RESTART_EXIT_CODE, Refresh, RestartAll};
pub use select::{MAX_SELECTED, Select, Selector};
pub use value::{CertificatePart, Encoding, KeyFormat, PlanTemplate, Value, Variable};

/// The environment variable that carries the plan.
pub const PLAN_VARIABLE: &str = "KEYVAULT_AGENT_PLAN";
/// The version that this build writes and reads.
pub const PLAN_VERSION: u32 = 1;
/// The longest plan, in bytes of JSON: the pod object must stay well under etcd's limit.
pub const MAX_PLAN_BYTES: usize = 100 * 1024;
/// More entries than this are longer than that: each has at least `{"file":"a","mode":"0400","value":{"object":"0"}}`.
pub const MAX_ENTRIES: usize = MAX_PLAN_BYTES / 50;

/// Everything an agent needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    version: u32,
    /// Where Entra is and what its tokens are for.
    pub cloud: PlanCloud,
    /// Whom the agent signs in as.
    pub identity: Identity,
    /// How long the agent tries before the pod's start fails.
    pub deadline: Span,
    /// Each object once.
    pub fetch: Vec<Fetch>,
    /// Secrets whose names come from the vaults.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub select: Vec<Select>,
    /// Templates that a ConfigMap holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapTemplates>,
    /// One per view.
    pub directories: Vec<Directory>,
    /// PEM certificates added to the built-in roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_ca: Option<String>,
    /// How much the agent says; absent means info.
    #[serde(default, skip_serializing_if = "is_default")]
    pub log_level: LogLevel,
    /// The directory that gets a copy of the agent, for containers that it wraps; absent means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<AbsolutePath>,
    /// How the files are kept up to date; absent means that they are fetched once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Refresh>,
    /// How many bytes of the agent's termination message the kubelet keeps; absent means 4,096.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination_message_bytes: Option<u16>,
}

/// The part of [`crate::cloud::Cloud`] that the agent needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanCloud {
    /// Entra's address, no slash at its end.
    pub authority_host: String,
    /// The token audience, no slash at its end.
    pub resource: String,
    /// Whether vault hosts must lie under `resource`'s host and challenges must name `resource`; absent means yes.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub verify_challenge: bool,
    /// Hosts (and ports) outside `resource`'s domain that the operator allows all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_vault_hosts: Vec<String>,
}

/// Whom the agent signs in as, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Identity {
    /// The pod's ServiceAccount token, exchanged for a token of an application or managed identity.
    #[serde(rename_all = "camelCase")]
    WorkloadIdentity {
        /// The application's (or user-assigned managed identity's) client id.
        client_id: Guid,
        /// The tenant it lives in.
        tenant_id: Guid,
        /// The projected token; read again for every exchange.
        token_file: AbsolutePath,
        /// AKS identity bindings: exchange through the cluster's proxy instead of with Entra directly.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token_proxy: Option<TokenProxy>,
    },
    /// The node's managed identity, by its metadata address.
    #[serde(rename_all = "camelCase")]
    ManagedIdentity {
        /// Which one; absent means the system-assigned one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        select: Option<ManagedIdentitySelector>,
        /// Another address than the node's own metadata service.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint: Option<MetadataEndpoint>,
    },
    /// AAD pod identity: the metadata address answers with the identity bound to the pod's label, slowly at first.
    #[serde(rename_all = "camelCase")]
    PodIdentity {
        /// Which one, where the label matches several.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<Guid>,
        /// Another address than the node's own metadata service.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint: Option<MetadataEndpoint>,
    },
    /// An application with a secret or certificate, taken from a mounted Kubernetes Secret.
    #[serde(rename_all = "camelCase")]
    ServicePrincipal {
        /// The folder with `client-id`, `tenant-id` and `client-secret` or `client-certificate`.
        directory: AbsolutePath,
        /// The Secret's name, for messages.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret: Option<String>,
    },
}

impl Identity {
    /// The token proxy of a workload identity, where there is one.
    #[must_use]
    pub fn token_proxy(&self) -> Option<&TokenProxy> {
        match self {
            Identity::WorkloadIdentity { token_proxy, .. } => token_proxy.as_ref(),
            Identity::ManagedIdentity { .. } | Identity::PodIdentity { .. } | Identity::ServicePrincipal { .. } => None,
        }
    }
}

/// How a managed identity is picked where a node has several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ManagedIdentitySelector {
    /// By client id.
    ClientId(Guid),
    /// By object (principal) id.
    ObjectId(Guid),
    /// By Azure resource id.
    ResourceId(String),
}

/// The token proxy of AKS identity bindings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenProxy {
    /// Its `https://` address.
    pub url: String,
    /// The name that its certificate carries.
    pub sni_name: String,
    /// PEM certificates that its certificate is verified against.
    pub ca: String,
}

/// An object to read, under an id that value expressions use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "json::FetchJson", into = "json::FetchJson")]
pub struct Fetch {
    /// Unique in the plan.
    pub id: String,
    /// Secret, certificate or key.
    pub kind: ObjectKind,
    /// Which one.
    pub object: Object,
}

/// Where an object lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Object {
    /// The vault's address.
    pub vault: VaultUrl,
    /// The object's name.
    pub name: ObjectName,
    /// A pinned version; absent means the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<ObjectVersion>,
    /// Whether its absence (404, nothing else) leaves its files out instead of failing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub optional: bool,
}

/// The files of one view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Directory {
    /// Where the volume is mounted in the agent's container.
    pub path: AbsolutePath,
    /// Its files, all old or all new.
    pub entries: Vec<Entry>,
    /// A file for each secret of a selection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selected: Vec<SelectedEntry>,
    /// The mode of files from the ConfigMap's templates; absent means that there are none here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_mode: Option<FileMode>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// Below the directory.
    pub file: FilePath,
    /// Its permission bits.
    pub mode: FileMode,
    /// What it holds.
    pub value: Value,
}

/// As many files as a selection has secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SelectedEntry {
    /// The [`Select::id`].
    pub select: String,
    /// Below the directory.
    pub file: FilePattern,
    /// Their permission bits.
    pub mode: FileMode,
    /// A part of each JSON or YAML value; absent means the whole values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<PropertyPath>,
    /// How the stored texts become bytes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub encoding: Encoding,
}

/// Why a text is not a plan that this build can carry out.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Not JSON, a missing field, or one that this build does not know.
    #[error(
        "the plan cannot be read ({0}); webhook and agent are probably of different versions: use the agent image that the webhook was released with"
    )]
    Json(#[from] serde_json::Error),
    /// A version from the future or the past.
    #[error("the plan has version {0}, this agent reads version {PLAN_VERSION}: use the agent image that the webhook was released with")]
    Version(u32),
    /// Two fetches with one id.
    #[error("the plan fetches id {0:?} twice")]
    DuplicateId(String),
    /// Something over nothing.
    #[error("the plan's {user} uses id {id:?}, which it does not fetch")]
    UnknownId {
        /// A file, or the ConfigMap.
        user: String,
        /// The missing id.
        id: String,
    },
    /// Something over an object of another kind.
    #[error("the plan's {user} takes id {id:?} for a {kind}, and it is none", kind = kind.noun())]
    WrongKind {
        /// A file, or the ConfigMap.
        user: String,
        /// The id.
        id: String,
        /// What it is taken for.
        kind: ObjectKind,
    },
    /// Files of a ConfigMap that the plan does not name.
    #[error("the plan's directory {0} has files of a ConfigMap, and the plan names none")]
    NoConfigMap(AbsolutePath),
}

impl Plan {
    /// A plan with nothing to do yet.
    #[must_use]
    pub fn new(cloud: PlanCloud, identity: Identity, deadline: Span) -> Plan {
        Plan {
            version: PLAN_VERSION,
            cloud,
            identity,
            deadline,
            fetch: Vec::new(),
            select: Vec::new(),
            config_map: None,
            directories: Vec::new(),
            extra_ca: None,
            log_level: LogLevel::Info,
            program: None,
            refresh: None,
            termination_message_bytes: None,
        }
    }

    /// Reads and checks a plan.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn from_json(text: &str) -> Result<Plan, PlanError> {
        check_version(text)?;
        let plan: Plan = serde_json::from_str(text)?;
        plan.check_ids()?;
        Ok(plan)
    }

    fn check_ids(&self) -> Result<(), PlanError> {
        let mut kinds = HashMap::new();
        if let Some(twice) = self.fetch.iter().find(|fetch| kinds.insert(fetch.id.as_str(), fetch.kind).is_some()) {
            return Err(PlanError::DuplicateId(twice.id.clone()));
        }
        let mut selections = HashSet::new();
        if let Some(twice) = self.select.iter().find(|select| !selections.insert(select.id.as_str())) {
            return Err(PlanError::DuplicateId(twice.id.clone()));
        }
        let check = |user: &dyn Fn() -> String, id: &str, kind: ObjectKind| match kinds.get(id) {
            None => Err(PlanError::UnknownId { user: user(), id: id.to_owned() }),
            Some(fetched) if *fetched != kind => Err(PlanError::WrongKind { user: user(), id: id.to_owned(), kind }),
            Some(_) => Ok(()),
        };
        for directory in &self.directories {
            for entry in &directory.entries {
                entry.value.uses().into_iter().try_for_each(|(id, kind)| check(&|| format!("file {}", entry.file), id, kind))?;
            }
            if let Some(SelectedEntry { select: id, file, .. }) = directory.selected.iter().find(|entry| !selections.contains(entry.select.as_str()))
            {
                return Err(PlanError::UnknownId { user: format!("file {file}"), id: id.clone() });
            }
            if directory.config_map_mode.is_some() && self.config_map.is_none() {
                return Err(PlanError::NoConfigMap(directory.path.clone()));
            }
        }
        self.config_map.iter().try_for_each(|templates| {
            templates.uses().into_iter().try_for_each(|(id, kind)| check(&|| format!("ConfigMap {}", templates.name), id, kind))
        })
    }

    /// Writes the plan as one line in which every `$` is `\u0024`, so that the kubelet's `$(VAR)` expansion cannot touch it.
    ///
    /// # Errors
    /// None that these types can cause; the signature is serde's.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        one_line(self)
    }
}

/// The version is judged first, so that a newer plan says "newer" and not "unknown field".
fn check_version(text: &str) -> Result<(), PlanError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Version { version } = serde_json::from_str(text)?;
    if version == PLAN_VERSION { Ok(()) } else { Err(PlanError::Version(version)) }
}

fn one_line(plan: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string(plan).map(|text| if text.contains('$') { text.replace('$', "\\u0024") } else { text })
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_true(value: &bool) -> bool {
    *value
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
