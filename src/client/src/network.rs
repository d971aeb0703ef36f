//! The one place where bytes leave and come: a trait that tests answer with canned replies.

use std::future::Future;
use std::time::Duration;

use hyper::HeaderMap;
use tokio::time::Instant;

use super::server::Server;
use keyvault_common::secret::SecretValue;

/// Carries requests to Key Vault, Entra or the metadata address.
pub trait Network {
    /// Sends one request and brings the answer, whatever its status. Neither retries nor follows redirects.
    fn send(&self, request: Request<'_>) -> impl Future<Output = Result<Response, TransportError>>;
}

/// One request.
#[derive(Debug)]
pub struct Request<'a> {
    /// Absolute.
    pub url: String,
    /// What it asks.
    pub kind: Kind<'a>,
    /// When nobody waits for the answer any more.
    pub deadline: Instant,
}

/// What a request asks, with exactly what it has to carry.
#[derive(Debug)]
pub enum Kind<'a> {
    /// A GET of an object, with a bearer token.
    Object {
        /// The token.
        bearer: &'a SecretValue,
    },
    /// A GET of the metadata address, never through a proxy.
    Metadata,
    /// A POST of a form to Entra.
    SignIn {
        /// The encoded form.
        form: SecretValue,
    },
    /// The same POST to the token proxy of AKS identity bindings: directly, and trusting nothing but the proxy's own CA.
    ProxiedSignIn {
        /// The encoded form.
        form: SecretValue,
    },
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// As much of the body as came.
    pub body: SecretValue,
    /// Why the body is not whole, if it is not.
    pub cut: Option<String>,
    /// Who gave it.
    pub server: Server,
}

/// Why there was no answer at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The name has no address.
    #[error("the name {host} cannot be resolved: {reason}")]
    Dns {
        /// The name as asked, with the dot at its end.
        host: String,
        /// Why.
        reason: String,
    },
    /// No connection.
    #[error("no connection to {server}: {reason}")]
    Connect {
        /// To whom, with the addresses that were tried.
        server: Server,
        /// Why.
        reason: String,
    },
    /// The certificate or the handshake.
    #[error("no secure connection to {server}: {reason}")]
    Tls {
        /// To whom, with the addresses that were tried.
        server: Server,
        /// Why.
        reason: String,
    },
    /// No connection, or no answer, in time.
    #[error("{server} did not answer within {}", seconds(*limit))]
    Timeout {
        /// To whom, with the addresses that were tried.
        server: Server,
        /// How long was waited.
        limit: Duration,
    },
    /// The connection broke before an answer came.
    #[error("the connection to {server} broke: {reason}")]
    Broken {
        /// To whom, with the addresses that were tried.
        server: Server,
        /// Why.
        reason: String,
    },
}

/// Whole seconds where there are any: a deadline leaves odd rests.
pub(super) fn seconds(limit: Duration) -> String {
    if limit < Duration::from_secs(1) { format!("{}ms", limit.as_millis()) } else { format!("{}s", limit.as_secs_f64().round()) }
}
