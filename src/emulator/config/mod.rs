//! The emulator's file: tenants, managed identities and vaults, read whole or not at all.

mod identity;
mod vault;

use std::path::{Path, PathBuf};

use crate::duration::Span;
use crate::secret::SecretValue;
use crate::yaml::{Node, YamlError};
use crate::yaml_fields::{Field, FieldError, Fields};

pub(super) use identity::{Application, FederatedCredential, ManagedIdentity, Tenant};
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
    /// Key paths that are read but not served yet.
    pub(super) unserved: Vec<String>,
}

/// A certificate chain and its private key, PEM.
#[derive(Debug)]
pub(super) struct TlsFiles {
    pub(super) cert_file: PathBuf,
    pub(super) key_file: PathBuf,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text is not YAML that we read.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// A field is wrong.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The file itself cannot be read.
    #[error("{0}")]
    Read(std::io::Error),
}

impl Config {
    /// Reads a configuration; relative paths in it start at `base_dir`.
    ///
    /// # Errors
    /// The first problem, with line, key path and reason. A file that is named but cannot be read is a problem of its key.
    pub fn parse(text: &str, base_dir: &Path) -> Result<Config, ConfigError> {
        let node = Node::parse(text)?;
        let mut reader = Reader { base_dir, unserved: Vec::new() };
        let mut config = Field::root(&node).map(|top| reader.config(top))?;
        config.unserved = reader.unserved;
        Ok(config)
    }

    /// Reads a configuration file; relative paths in it start at its folder.
    ///
    /// # Errors
    /// As [`Config::parse`]; the message does not repeat `file`.
    pub fn load(file: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(ConfigError::Read)?;
        Config::parse(&text, file.parent().unwrap_or(Path::new(".")))
    }

    /// The certificate file that is served instead of one of the emulator's own.
    pub(super) fn tls_certificate(&self) -> Option<&Path> {
        self.tls.as_ref().map(|files| files.cert_file.as_path())
    }

    /// Key paths that are recognised but not served yet, for a line at start.
    #[must_use]
    pub fn unserved(&self) -> &[String] {
        &self.unserved
    }
}

/// Reads fields; the functions for each part stand in the part's file.
struct Reader<'d> {
    base_dir: &'d Path,
    unserved: Vec<String>,
}

impl Reader<'_> {
    fn config(&mut self, top: &mut Fields<'_>) -> Result<Config, FieldError> {
        let tls = top.take("tls").map(|field| field.map(|tls| self.tls(tls))).transpose()?.flatten();
        let token_lifetime = top.take("tokenLifetime").map(|field| field.parse()).transpose()?;
        let tenants = self.some(&top.required("tenants")?, Self::tenant)?;
        let managed_identities = self.items(top.take("managedIdentities"), Self::managed_identity)?;
        let vaults = self.vaults(&top.required("vaults")?, &tenants)?;
        Ok(Config { tls, token_lifetime, tenants, managed_identities, vaults, unserved: Vec::new() })
    }

    fn tls(&self, fields: &mut Fields<'_>) -> Result<Option<TlsFiles>, FieldError> {
        match (fields.take("certFile"), fields.take("keyFile")) {
            (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert_file: self.path(&cert)?, key_file: self.path(&key)? })),
            (None, None) => Ok(None),
            (Some(only), None) => Err(only.error("keyFile is missing beside it")),
            (None, Some(only)) => Err(only.error("certFile is missing beside it")),
        }
    }

    /// The items of an optional list of maps.
    fn items<T>(&mut self, list: Option<Field<'_>>, read: fn(&mut Self, &mut Fields<'_>) -> Result<T, FieldError>) -> Result<Vec<T>, FieldError> {
        let Some(list) = list else { return Ok(Vec::new()) };
        list.list()?.iter().map(|item| item.map(|fields| read(self, fields))).collect()
    }

    /// The items of a list of maps that must not be empty.
    fn some<T>(&mut self, list: &Field<'_>, read: fn(&mut Self, &mut Fields<'_>) -> Result<T, FieldError>) -> Result<Vec<T>, FieldError> {
        let items = self.items(Some(list.clone()), read)?;
        if items.is_empty() { Err(list.error("at least one is needed")) } else { Ok(items) }
    }

    fn path(&self, field: &Field<'_>) -> Result<PathBuf, FieldError> {
        Ok(self.base_dir.join(field.text()?))
    }

    fn file(&self, field: &Field<'_>) -> Result<Vec<u8>, FieldError> {
        let path = self.path(field)?;
        std::fs::read(&path).map_err(|error| field.error(format_args!("{}: {error}", path.display())))
    }

    /// Notes a key that later versions will serve. Its content is not looked at.
    fn not_served(&mut self, fields: &mut Fields<'_>, key: &'static str) {
        if let Some(field) = fields.take(key) {
            self.unserved.push(field.path().to_owned());
        }
    }
}

fn secret(field: &Field<'_>) -> Result<SecretValue, FieldError> {
    Ok(SecretValue::from(field.text()?.to_owned()))
}

/// Refuses a second item with the same key, compared without regard to case.
fn distinct<'n>(seen: &mut Vec<String>, key: &str, field: &Field<'n>) -> Result<(), FieldError> {
    let key = key.to_ascii_lowercase();
    if seen.contains(&key) {
        return Err(field.error(format_args!("{key} stands here twice")));
    }
    seen.push(key);
    Ok(())
}
