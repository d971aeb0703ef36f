//! The operator's file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::cloud::Cloud;
use crate::names::LogLevel;

/// Everything that the operator decides. `Config::parse` reads it whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Which Azure.
    pub cloud: Cloud,
    /// `host` or `host:port` outside the cloud's suffix that annotations may name.
    pub allowed_vault_hosts: Vec<String>,
    /// Containers that get nothing unless they are named in `containers`.
    pub excluded_containers: Vec<String>,
    /// The injected container.
    pub agent: AgentConfig,
    /// The webhook's sockets.
    pub server: ServerConfig,
    /// What annotations may ask for.
    pub policy: Policy,
}

/// The injected container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentConfig {
    /// Its image.
    pub image: String,
    /// PEM certificates carried in the plan.
    pub extra_ca: Option<String>,
    /// Its verbosity.
    pub log_level: LogLevel,
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
    /// Where the serving certificate comes from.
    pub tls: TlsSource,
}

/// Where the serving certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsSource {
    /// Made and renewed by ourselves, kept in a Secret (in a cluster only).
    SelfManaged,
    /// PEM files, re-read on a timer.
    Files {
        /// Leaf first, then its chain.
        cert_file: PathBuf,
        /// Its private key.
        key_file: PathBuf,
    },
}

/// What annotations may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether a forbidden request is denied or only reported.
    pub mode: PolicyMode,
    /// Whether identities that several pods share (managed identity, service principal) may be used.
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
