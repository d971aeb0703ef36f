//! Our own client of Key Vault, Entra and the metadata address: the few requests that an agent needs.
//!
//! All input and output goes through one narrow trait, [`Network`]; every answer through one checker (`check`), so that no status is
//! forgotten; whether to try again is decided by a value ([`Retry`]) that knows the deadline.

mod assertion;
mod certificate;
mod check;
mod client;
mod connect;
mod dns;
mod failure;
mod foreign;
mod https;
mod identity;
mod network;
mod object;
mod principal;
mod race;
mod resolve;
mod retry;
mod server;
mod token;

pub use client::Client;
pub use connect::ProxyVariables;
pub use failure::{Class, Failure, Outlook};
pub use https::{HttpsNetwork, TlsError};
pub use network::{Kind, Network, Request, Response, TransportError};
pub use object::{Jwk, Secret, SecretItem, SecretPage, Stored, StoredCertificate};
pub use resolve::Resolver;
pub use retry::Retry;
pub use server::{Server, Way};
