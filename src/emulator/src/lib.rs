//! An in-memory Key Vault, Entra token endpoint and managed-identity endpoint, for laptops and tests.
//!
//! [`Config::parse`] → [`Emulator::bind`] → [`Bound::serve`]. Port 0 is fine: [`Bound::addresses`] says which ports were taken.

mod call;
pub mod cli;
mod clock;
mod config;
mod control;
mod crypto;
mod entra;
mod faults;
mod host;
mod ids;
mod imds;
mod journal;
mod jwt;
mod listen;
mod plane;
mod service_account;
mod tls;
mod tokens;
mod vault;
mod world;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use axum::{Router, routing};
use tokio::net::TcpListener;

pub use config::{Config, ConfigError};
pub use service_account::{KeyError, ServiceAccountKey};
pub use tls::TlsError;

use tls::Identity;
use tokens::TokenKey;
use world::World;

/// Where to listen, and where to keep the CA.
#[derive(Clone, Debug)]
pub struct Options {
    /// HTTPS: vaults and token endpoint.
    pub listen: SocketAddr,
    /// Plain HTTP: managed-identity endpoint; `None` does without it.
    pub imds_listen: Option<SocketAddr>,
    /// Holds `ca.pem` and the CA's key; `None` writes nothing and makes a new CA.
    pub state_dir: Option<PathBuf>,
}

impl Default for Options {
    /// Free ports of 127.0.0.1, nothing on disk: what a test wants.
    fn default() -> Options {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Options { listen: free, imds_listen: Some(free), state_dir: None }
    }
}

/// Why the emulator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An address is taken or not ours.
    #[error("{option}: cannot listen on {address}: {source}; 0 takes a free port{}", also(option))]
    Listen {
        /// What the program calls this address.
        option: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// No certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// A key or a certificate that the configuration asks for cannot be made; names vault and object.
    #[error("{0}")]
    Seed(String),
}

/// Where the running emulator is found. None of the addresses has a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Addresses {
    /// `https://localhost:PORT`: the first vault. Another one is `https://NAME.vault.localhost:PORT`.
    pub vault: String,
    /// `https://localhost:PORT`: for `AZURE_AUTHORITY_HOST`.
    pub authority: String,
    /// `http://127.0.0.1:PORT`: for `AZURE_POD_IDENTITY_AUTHORITY_HOST`. `None` where there is no such listener.
    pub imds: Option<String>,
}

/// The way to a running emulator.
#[derive(Debug)]
pub struct Emulator;

impl Emulator {
    /// Makes the certificate and takes the ports; nothing is answered until [`Bound::serve`].
    ///
    /// # Errors
    /// A port is taken, or there is no certificate to serve with.
    pub async fn bind(config: Config, options: Options) -> Result<Bound, BindError> {
        let identity = match &config.tls {
            Some(files) => tls::given(files)?,
            None => tls::made(options.state_dir.as_deref(), options.listen.ip())?,
        };
        let (secure, secure_address) = listen_on("--listen", options.listen).await?;
        let imds = match options.imds_listen {
            Some(address) => Some(listen_on(IMDS_LISTEN, address).await?),
            None => None,
        };
        let authority = format!("https://localhost:{}", secure_address.port());
        let imds_address = imds.as_ref().map(|(_, address)| format!("http://{address}"));
        let addresses = Addresses { vault: authority.clone(), authority, imds: imds_address };
        let imds = imds.map(|(listener, _)| listener);
        let world = World::new(config, TokenKey::generate().ok_or(BindError::Random)?, identity.ca_pem.clone()).map_err(BindError::Seed)?;
        Ok(Bound { secure, secure_address, imds, identity, addresses, world: Arc::new(world) })
    }
}

const IMDS_LISTEN: &str = "--imds-listen";

/// What else this option can be.
fn also(option: &str) -> &'static str {
    if option == IMDS_LISTEN { ", off does without this listener" } else { "" }
}

async fn listen_on(option: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    let failed = |source| BindError::Listen { option, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener, local))
}

/// An emulator that holds its ports.
pub struct Bound {
    secure: TcpListener,
    secure_address: SocketAddr,
    imds: Option<TcpListener>,
    identity: Identity,
    addresses: Addresses,
    world: Arc<World>,
}

impl Bound {
    /// Where clients find it.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The socket of the HTTPS listener, for clients that resolve `*.vault.azure.net` to it.
    #[must_use]
    pub fn socket(&self) -> SocketAddr {
        self.secure_address
    }

    /// The PEM certificate that clients must trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.identity.ca_pem
    }

    /// Answers until `shutdown` is ready, then drops what is still open.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let secure = Router::new().merge(entra::routes()).fallback(routing::any(vault::handle)).merge(control::routes());
        let secure = listen::serve(self.secure, Some(self.identity.server), secure.with_state(self.world.clone()));
        let routes = imds::routes().merge(control::routes()).with_state(self.world);
        let imds = async {
            match self.imds {
                Some(listener) => listen::serve(listener, None, routes).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = secure => {}
            () = imds => {}
            () = shutdown => {}
        }
    }
}
