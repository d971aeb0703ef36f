//! The emulator's file: tenants, managed identities and vaults, read whole or not at all.

mod identity;
mod objects;
mod reader;
mod vault;
mod warnings;

use std::path::{Path, PathBuf};

use keyvault_common::duration::Span;
use keyvault_common::yaml::Node;
use keyvault_common::yaml_fields::{Problem, Problems};

pub(super) use identity::{Application, FederatedCredential, ManagedIdentity, Tenant};
pub(super) use objects::{CertificateSeed, KeySeed, KeySource};
use reader::{Map, Reader};
pub(super) use vault::{Grant, Permission, RefusalWords, SecretSeed, ThrottleLimit, Vault};

/// Everything that the emulator serves.
#[derive(Debug)]
pub struct Config {
    pub(super) tls: Option<TlsFiles>,
    /// `None`: 3599 s for applications, 86399 s for managed identities, as Azure does.
    pub(super) token_lifetime: Option<Span>,
    /// Never empty.
    pub(super) tenants: Vec<Tenant>,
    pub(super) managed_identities: Vec<ManagedIdentity>,
    /// Never empty.
    pub(super) vaults: Vec<Vault>,
}

/// A certificate chain and its private key, PEM.
#[derive(Debug)]
pub(super) struct TlsFiles {
    pub(super) cert_file: PathBuf,
    pub(super) key_file: PathBuf,
}

/// Why a configuration cannot be used: every problem as `FILE:LINE:COLUMN: KEY.PATH: REASON`, one a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl Config {
    /// Reads a configuration; relative paths in it start at `base_dir`.
    ///
    /// # Errors
    /// Every problem at once. A file that is named but cannot be read is a problem of its key.
    pub fn parse(text: &str, base_dir: &Path) -> Result<Config, ConfigError> {
        Config::read(text, base_dir).map_err(|problems| ConfigError(problems.in_file("configuration")))
    }

    /// Reads a configuration file; relative paths in it start at its folder.
    ///
    /// # Errors
    /// As [`Config::parse`], or the file cannot be read.
    pub fn load(file: &Path) -> Result<Config, ConfigError> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|error| ConfigError(format!("{name}: {error}")))?;
        Config::read(&text, file.parent().unwrap_or(Path::new("."))).map_err(|problems| ConfigError(problems.in_file(&name)))
    }

    fn read(text: &str, base_dir: &Path) -> Result<Config, Problems> {
        let root = Node::parse(text).map_err(|error| Problems(vec![Problem::from(error)]))?;
        let mut reader = Reader::new(base_dir);
        let config = reader.map(&root, "", Reader::config);
        match config {
            Some(config) if reader.problems.0.is_empty() => Ok(config),
            Some(_) | None => Err(reader.problems),
        }
    }

    /// The certificate file that is served instead of one of the emulator's own.
    pub(super) fn tls_certificate(&self) -> Option<&Path> {
        self.tls.as_ref().map(|files| files.cert_file.as_path())
    }
}

impl Reader<'_> {
    fn config(&mut self, map: &mut Map<'_>) -> Option<Config> {
        let tls = map.fields.take("tls").and_then(|node| self.map(node, "tls", Reader::tls));
        let token_lifetime = map.fields.parse("tokenLifetime", &mut self.problems);
        let tenants: Option<Vec<Tenant>> = self.some(map, "tenants", Reader::tenant);
        let managed_identities = self.each(map, "managedIdentities", Reader::managed_identity);
        let vaults: Option<Vec<Vault>> = self.some(map, "vaults", Reader::vault);
        let (tenants, vaults) = (tenants?, vaults?);
        self.distinct(map, "vaults", vaults.iter().map(|vault| vault.name.as_str()));
        for unknown in vaults.iter().filter_map(|vault| vault.tenant.as_ref()).filter(|id| tenants.iter().all(|tenant| tenant.id != **id)) {
            self.problems.add(map.node, "vaults", format!("tenant {unknown} is not one of tenants"));
        }
        Some(Config { tls, token_lifetime, tenants, managed_identities, vaults })
    }

    fn tls(&mut self, map: &mut Map<'_>) -> Option<TlsFiles> {
        match (map.fields.take("certFile"), map.fields.take("keyFile")) {
            (None, None) => None,
            (cert, key) => {
                let cert_file = cert.and_then(|node| self.path(node, "tls.certFile"));
                let key_file = key.and_then(|node| self.path(node, "tls.keyFile"));
                if cert.is_none() || key.is_none() {
                    self.problems.add(map.node, &map.path, "set both certFile and keyFile, or neither");
                }
                Some(TlsFiles { cert_file: cert_file?, key_file: key_file? })
            }
        }
    }
}
