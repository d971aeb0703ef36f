//! The operator's file, read whole or not at all: every unknown key and bad value comes back with line, key path and reason.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::nodes::NodeFeature;
use crate::quantity::Quantity;
use crate::reference::VaultLocator;
use keyvault_common::cloud::{Cloud, MetadataEndpoint};
use keyvault_common::duration::Span;
use keyvault_common::names::{AbsolutePath, FileMode, Guid, LogLevel, NameError, VaultUrl};

mod parse;
mod texts;

pub(crate) use texts::{Deadline, MountPath};

/// The longest CA of the operator's, in bytes: it travels in every plan.
pub const MAX_CA_BYTES: usize = 32 * 1024;

/// Everything that the operator decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Which Azure.
    pub cloud: Cloud,
    /// `host` or `host:port` outside the cloud's suffix that annotations may name.
    pub allowed_vault_hosts: Vec<String>,
    /// Containers that get nothing unless they are named in `containers`.
    pub excluded_containers: Vec<String>,
    /// What not every kubelet can do.
    pub features: Features,
    /// The injected container.
    pub agent: AgentConfig,
    /// What holds where neither pod nor Namespace says anything.
    pub defaults: Defaults,
    /// The webhook's sockets.
    pub server: ServerConfig,
    /// What annotations may ask for.
    pub policy: Policy,
}

impl Config {
    /// A vault's address in the configured cloud. An address in full must be of that cloud or on the operator's list: a token is sent there.
    pub(crate) fn vault_address(&self, vault: &VaultLocator) -> Result<VaultUrl, String> {
        let suffix = &self.cloud.vault_suffix;
        match vault {
            VaultLocator::Name(name) => format!("https://{name}.{suffix}").parse().map_err(|error: NameError| error.to_string()),
            VaultLocator::Url(url) if self.cloud.is_vault(url) || self.allowed_vault_hosts.contains(&url.authority()) => Ok(url.clone()),
            VaultLocator::Url(url) => {
                let host = url.authority();
                Err(format!("{url} is not a vault here: name a host NAME.{suffix}, or ask the operator to list {host} in allowedVaultHosts"))
            }
        }
    }
}

/// What not every kubelet can do, and whether it is made use of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// `valueFrom.fileKeyRef`.
    pub env_files: Switch,
    /// Image volumes.
    pub image_volumes: Switch,
    /// `RestartAllContainers`.
    pub restart_in_place: Switch,
}

impl Features {
    /// The switch of one.
    #[must_use]
    pub fn get(&self, feature: NodeFeature) -> Switch {
        match feature {
            NodeFeature::EnvFiles => self.env_files,
            NodeFeature::ImageVolumes => self.image_volumes,
            NodeFeature::RestartInPlace => self.restart_in_place,
        }
    }

    /// Whether anything is left to the nodes to answer.
    #[must_use]
    pub fn follow_nodes(&self) -> bool {
        NodeFeature::ALL.into_iter().any(|feature| self.get(feature) == Switch::Auto)
    }
}

/// Whether the operator decides, or the nodes of the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch {
    /// Yes while every schedulable Linux node can do it.
    #[default]
    Auto,
    /// Yes.
    On,
    /// No.
    Off,
}

/// The injected container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentConfig {
    /// Its image.
    pub image: String,
    /// Under which prefixes other webhooks of the cluster may bring the image.
    pub image_mirrors: Vec<String>,
    /// `Always`, `IfNotPresent` or `Never`; `None` leaves it to Kubernetes.
    pub image_pull_policy: Option<String>,
    /// Where the extra CA is; the reader of the file sets [`AgentConfig::extra_ca`].
    pub extra_ca_file: Option<PathBuf>,
    /// PEM certificates carried in the plan.
    pub extra_ca: Option<String>,
    /// Another address than the node's metadata service.
    pub managed_identity_endpoint: Option<MetadataEndpoint>,
    /// What pods that ask for an AKS identity binding sign in through.
    pub token_proxy: Option<TokenProxyConfig>,
    /// What requests to vaults and to Entra go through.
    pub proxy: Option<ProxyConfig>,
    /// Its verbosity, where the pod does not set one.
    pub log_level: LogLevel,
}

/// The token proxy of AKS identity bindings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenProxyConfig {
    /// `https://host[:port]`.
    pub url: String,
    /// The name on its certificate.
    pub sni_name: String,
    /// Where its CA is; the reader of the file sets [`TokenProxyConfig::ca`].
    pub ca_file: PathBuf,
    /// PEM certificates carried in the plan.
    pub ca: String,
    /// The audience of the ServiceAccount's token.
    pub audience: String,
}

/// A proxy between the cluster and Azure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyConfig {
    /// `http://host[:port]`.
    pub https_proxy: String,
    /// Names and networks that are reached directly, separated by commas; may be empty.
    pub no_proxy: String,
}

/// What holds where neither pod nor Namespace says anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// The kind of identity.
    pub identity: IdentityKind,
    /// The identity's client id.
    pub client_id: Option<Guid>,
    /// Its tenant.
    pub tenant_id: Option<Guid>,
    /// The vault for references that name none.
    pub vault: Option<VaultLocator>,
    /// Where files appear.
    pub mount_path: AbsolutePath,
    /// Their permission bits; `None` computes them from the consumers.
    pub file_mode: Option<FileMode>,
    /// How long the agent tries.
    pub deadline: Span,
    /// How often files are kept up to date.
    pub refresh: Refresh,
    /// Requests and limits of the container that fetches and ends.
    pub agent_resources: Resources,
    /// Requests and limits of the sidecar that refreshes.
    pub sidecar_resources: Resources,
}

/// The kinds of Azure identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityKind {
    /// The pod's own ServiceAccount, federated.
    Workload,
    /// The node's managed identity: shared by all pods on it.
    Managed,
    /// AAD pod identity.
    Pod,
    /// An application with a secret or certificate.
    ServicePrincipal,
}

impl IdentityKind {
    /// As the annotation spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            IdentityKind::Workload => "workload-identity",
            IdentityKind::Managed => "managed-identity",
            IdentityKind::Pod => "pod-identity",
            IdentityKind::ServicePrincipal => "service-principal",
        }
    }
}

/// How often files are kept up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Fetched once.
    Off,
    /// Fetched again after this time.
    Every(Span),
}

/// What a container asks for and may use. Absent fields come from the next source: pod, Namespace, configuration, built-in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// What is reserved.
    pub requests: Amounts,
    /// What is the most.
    pub limits: Amounts,
}

/// One amount for each resource that we know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// In cores.
    pub cpu: Option<Quantity>,
    /// In bytes.
    pub memory: Option<Quantity>,
    /// In bytes.
    pub ephemeral_storage: Option<Quantity>,
}

/// The webhook's sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// HTTPS.
    pub listen: SocketAddr,
    /// Plain HTTP for `/live`, `/ready` and `/metrics`.
    pub health_listen: SocketAddr,
    /// How long a stopping server keeps accepting.
    pub drain_delay: Duration,
    /// The PEM file of the authorities that sign client certificates; without it nobody is asked for one.
    pub client_ca_file: Option<PathBuf>,
    /// Where the serving certificate comes from.
    pub tls: TlsSource,
    /// The name of our MutatingWebhookConfiguration.
    pub registration: String,
    /// The name of the Service in front of us, in our own namespace.
    pub service: String,
}

/// Where the serving certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsSource {
    /// Made and renewed by ourselves, kept in a Secret (in a cluster only).
    SelfManaged(SelfManaged),
    /// PEM files, re-read on a timer.
    Files {
        /// Leaf first, then its chain.
        cert_file: PathBuf,
        /// Its private key.
        key_file: PathBuf,
    },
}

/// How certificates of our own are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfManaged {
    /// Of a serving certificate; it is renewed at two thirds of it. Whole seconds.
    pub leaf_lifetime: Duration,
    /// Of a CA: at least three times that of a leaf. Whole seconds.
    pub ca_lifetime: Duration,
    /// DNS names and IP addresses beside the Service's, in their canonical spelling.
    pub names: Vec<String>,
}

impl Default for SelfManaged {
    /// Thirty days, a year, and the Service's name alone.
    fn default() -> SelfManaged {
        SelfManaged { leaf_lifetime: Duration::from_hours(30 * 24), ca_lifetime: Duration::from_hours(365 * 24), names: Vec::new() }
    }
}

/// What annotations may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether a forbidden request is denied or only reported.
    pub mode: PolicyMode,
    /// Whether identities that several pods share (managed identity, pod identity, service principal) may be used.
    pub allow_shared_identities: bool,
}

/// Whether a forbidden request is denied or only reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyMode {
    /// Denied.
    Enforce,
    /// Allowed, with a warning and a counter.
    Audit,
}

/// Why a file is not a configuration: every problem as `FILE:LINE:COLUMN: KEY.PATH: REASON`, one a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);
