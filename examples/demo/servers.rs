//! The two servers: the emulator in Azure's place, and the webhook.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::process::Command;

use crate::children::{ReadyOn, Server};
use crate::programs::Programs;
use crate::{Result, SOURCES};

/// The running emulator.
pub(crate) struct Azure {
    pub(crate) address: String,
    pub(crate) ca_file: PathBuf,
    _server: Server,
}

/// The running webhook.
pub(crate) struct Webhook {
    pub(crate) https: String,
    pub(crate) health: String,
    /// Trusts the webhook's certificate and nothing else.
    pub(crate) http: reqwest::Client,
    _server: Server,
}

impl Azure {
    pub(crate) async fn start(programs: &Programs, folder: &TempDir) -> Result<Azure> {
        let mut command = Command::new(programs.path("vault-emulator"));
        command.arg("--config").arg(format!("{SOURCES}/examples/demo/emulator.yaml"));
        command.args(["--listen", "127.0.0.1:0", "--imds-listen", "127.0.0.1:0", "--state-dir"]).arg(folder.path().join("emulator"));
        let (server, ready) = Server::start(command, ReadyOn::Stdout, &folder.path().join("emulator.log")).await?;
        let text = |name: &str| ready[name].as_str().map(str::to_owned).ok_or_else(|| format!("the emulator does not say its {name}: {ready}"));
        Ok(Azure { address: text("vault")?, ca_file: text("ca")?.into(), _server: server })
    }

    /// `localhost:PORT`, after the name of a vault.
    pub(crate) fn vault_suffix(&self) -> String {
        format!("vault.{}", self.address.trim_start_matches("https://"))
    }
}

impl Webhook {
    pub(crate) async fn start(programs: &Programs, azure: &Azure, folder: &TempDir) -> Result<Webhook> {
        let config = folder.path().join("config.yaml");
        let ca = certificate(folder.path())?;
        put(&config, &configuration(azure, folder.path()))?;
        let mut command = Command::new(programs.path("keyvault-injector"));
        let manifests = format!("{SOURCES}/examples/demo/namespace.yaml");
        command.args(["webhook", "--log-format=json", "--defaults=files", "--namespace", &manifests, "--config"]).arg(&config);
        let (server, ready) = Server::start(command, ReadyOn::Stderr, &folder.path().join("webhook.log")).await?;
        let address = |name: &str| ready[name].as_str().map(str::to_owned).ok_or_else(|| format!("the webhook does not serve: {ready}"));
        let port = address("https")?.rsplit(':').next().unwrap_or_default().to_owned();
        let (https, health) = (format!("https://localhost:{port}/mutate"), format!("http://{}", address("health")?));
        Ok(Webhook { https, health, http: client(&ca)?, _server: server })
    }
}

/// What an operator writes; the private cloud is the emulator.
fn configuration(azure: &Azure, folder: &Path) -> String {
    format!(
        "cloud:
  vaultSuffix: {suffix}
  resource: https://vault.azure.net
  authorityHost: {authority}
  verifyChallenge: false
agent:
  image: registry.example/keyvault-injector:{version}
  extraCaFile: {ca}
defaults:
  tenantId: aaaabbbb-1111-4222-8333-444455556666
server:
  listen: 127.0.0.1:0
  healthListen: 127.0.0.1:0
  tls: {{certFile: {folder}/tls.crt, keyFile: {folder}/tls.key}}
",
        suffix = azure.vault_suffix(),
        authority = azure.address,
        version = env!("CARGO_PKG_VERSION"),
        ca = azure.ca_file.display(),
        folder = folder.display(),
    )
}

/// Writes a certificate for `localhost` with its key, and returns it as PEM: it is its own CA, as far as this demo's client is concerned.
fn certificate(folder: &Path) -> Result<String> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    put(&folder.join("tls.crt"), &made.cert.pem())?;
    put(&folder.join("tls.key"), &made.signing_key.serialize_pem())?;
    Ok(made.cert.pem())
}

fn client(ca: &str) -> Result<reqwest::Client> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let tls = builder.with_root_certificates(roots).with_no_client_auth();
    Ok(reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls).build()?)
}

/// Writes a file of the demo.
#[allow(clippy::disallowed_methods, reason = "nothing in the demo's own files is worth protecting")]
pub(crate) fn put(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()).into())
}
