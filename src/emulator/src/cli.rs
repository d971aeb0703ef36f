//! `vault-emulator`: the command line around the library.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use keyvault_common::duration::Span;

use super::{BindError, Bound, Config, ConfigError, Emulator, KeyError, Options, ServiceAccountKey};

/// An in-memory Azure Key Vault, Entra token endpoint and managed-identity endpoint. Not for production: it keeps secrets in plain memory and
/// gives them to whom the configuration file names.
#[derive(Debug, Parser)]
#[command(name = "vault-emulator", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Option<Serve>,
}

#[derive(Debug, Args)]
struct Serve {
    /// Tenants, identities, vaults and secrets (YAML).
    #[arg(long)]
    config: PathBuf,
    /// HTTPS: vaults and token endpoint. A port alone is one of 127.0.0.1; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443", value_parser = address)]
    listen: SocketAddr,
    /// Plain HTTP: managed-identity endpoint, health and ca.pem; off does without them.
    #[arg(long, value_name = "ADDRESS|off", default_value = "127.0.0.1:8080")]
    imds_listen: Plain,
    /// Keeps ca.pem, which clients must trust, and the CA's key, so that both survive a restart.
    #[arg(long, default_value = "vault-emulator-state")]
    state_dir: PathBuf,
}

/// Where the plain listener is, if there is one.
#[derive(Clone, Copy, Debug)]
struct Plain(Option<SocketAddr>);

impl FromStr for Plain {
    type Err = String;

    fn from_str(text: &str) -> Result<Plain, String> {
        if text == "off" {
            return Ok(Plain(None));
        }
        address(text).map(|address| Plain(Some(address))).map_err(|error| format!("{error}, nor off"))
    }
}

/// An address with a port, or a port of 127.0.0.1.
fn address(text: &str) -> Result<SocketAddr, String> {
    let port = || text.parse().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let neither = || format!("{text:?} is neither an address with a port, such as 127.0.0.1:8443, nor a port alone");
    text.parse().or_else(|_| port()).map_err(|_| neither())
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints a ServiceAccount token as a cluster would issue it, for a federated credential.
    Token {
        /// An RSA key, PKCS#8 PEM (openssl genpkey -algorithm RSA).
        #[arg(long)]
        key: PathBuf,
        /// The credential's issuer.
        #[arg(long)]
        issuer: String,
        /// The credential's subject: system:serviceaccount:NAMESPACE:NAME.
        #[arg(long)]
        subject: String,
        /// The credential's audience.
        #[arg(long, default_value = "api://AzureADTokenExchange")]
        audience: String,
        /// How long it is good.
        #[arg(long, default_value = "1h")]
        lifetime: Span,
    },
    /// Prints the key set (JWKS) of an RSA key, for a credential's jwksFile.
    Jwks {
        /// An RSA key, PKCS#8 PEM.
        #[arg(long)]
        key: PathBuf,
    },
}

/// Why the program ends.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error("--config FILE is missing; see --help")]
    NoConfig,
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{}: {source}", file.display())]
    Key { file: PathBuf, source: KeyError },
    #[error("{}: {source}", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("cannot write to standard output, or cannot listen for signals: {0}")]
    Io(#[from] io::Error),
}

impl Cli {
    /// Runs the command: 0 when it ended as asked, 2 with one line on standard error when it could not start.
    #[must_use]
    pub fn run(self) -> ExitCode {
        tracing_subscriber::fmt().with_writer(io::stderr).with_target(false).init();
        let outcome = match (self.command, self.serve) {
            (Some(Command::Token { key, issuer, subject, audience, lifetime }), _) => print_token(&key, [&issuer, &subject, &audience], lifetime),
            (Some(Command::Jwks { key }), _) => read_key(&key).and_then(|key| Ok(writeln!(io::stdout(), "{}", key.jwks())?)),
            (None, Some(serve)) => serve.run(),
            (None, None) => Err(CliError::NoConfig),
        };
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(io::stderr(), "vault-emulator: {error}");
                ExitCode::from(2)
            }
        }
    }
}

impl Serve {
    fn run(self) -> Result<(), CliError> {
        let config = Config::load(&self.config)?;
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let given_certificate = config.tls_certificate().map(Path::to_owned);
        let ca = given_certificate.unwrap_or_else(|| self.state_dir.join("ca.pem"));
        let options = Options { listen: self.listen, imds_listen: self.imds_listen.0, state_dir: Some(self.state_dir) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            let bound = Emulator::bind(config, options).await?;
            announce(&bound, &ca)?;
            let shutdown = async {
                tokio::select! { _ = terminated.recv() => {} _ = interrupted.recv() => {} }
            };
            bound.serve(shutdown).await;
            Ok(())
        })
    }
}

/// The ready line: the only thing that is ever written to standard output.
fn announce(bound: &Bound, ca: &Path) -> io::Result<()> {
    let addresses = bound.addresses();
    let line = json!({"vault": addresses.vault, "authority": addresses.authority, "imds": addresses.imds, "ca": ca});
    let mut stdout = io::stdout();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

fn print_token(file: &Path, [issuer, subject, audience]: [&str; 3], lifetime: Span) -> Result<(), CliError> {
    let token = read_key(file)?.token(issuer, subject, audience, lifetime.get());
    let token = token.map_err(|source| CliError::Key { file: file.to_owned(), source })?;
    let mut stdout = io::stdout();
    // No newline: clients send a token file's content as it is.
    stdout.write_all(token.expose())?;
    Ok(stdout.flush()?)
}

fn read_key(file: &Path) -> Result<ServiceAccountKey, CliError> {
    let pem = std::fs::read(file).map_err(|source| CliError::Read { file: file.to_owned(), source })?;
    ServiceAccountKey::from_pem(&pem).map_err(|source| CliError::Key { file: file.to_owned(), source })
}
