//! The network as it is: HTTP/1.1 over TLS on ring, with the built-in roots and the plan's own, or the token proxy's own CA alone.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Uri;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{CaptureConnection, HttpInfo, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::connect::{ConnectTimeout, Connector, ProxyVariables, Unreached};
use super::network::{Kind, Network, Request, Response, TransportError};
use super::resolve::{ResolveError, Resolver};
use super::server::{Server, Way};
use keyvault_common::plan::TokenProxy;
use keyvault_common::secret::SecretValue;

/// Connecting and shaking hands.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A whole request, connecting included.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);
/// No answer that we wait for is longer: a secret has at most 25,600 characters.
const LONGEST_BODY: usize = 1024 * 1024;

/// What the plan says of TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Certificates.
    #[error("the plan's {field} is not a list of PEM certificates: {reason}")]
    Ca {
        /// Where they are.
        field: &'static str,
        /// What is wrong with them.
        reason: String,
    },
    /// The name on the token proxy's certificate.
    #[error("the plan's tokenProxy.sniName {0:?} is not the name of a server")]
    Name(String),
    /// The library refuses its own defaults.
    #[error("TLS cannot be used: {0}")]
    Library(#[from] rustls::Error),
}

/// [`Network`] over real connections.
pub struct HttpsNetwork {
    outside: Pool,
    /// To the token proxy, where there is one.
    inside: Option<Pool>,
}

/// Connections of one kind.
struct Pool {
    connector: Connector,
    client: Client<Connector, Full<Bytes>>,
}

impl HttpsNetwork {
    /// `extra_ca` is PEM text whose certificates are trusted besides the built-in roots. To the `token_proxy` nothing leads but direct
    /// connections, and nothing is trusted there but its own CA.
    ///
    /// # Errors
    /// `extra_ca` or the proxy's CA holds no certificate or a broken one, or the proxy's name is none.
    pub fn new(
        extra_ca: Option<&str>,
        token_proxy: Option<&TokenProxy>,
        proxies: &ProxyVariables,
        resolver: &Resolver,
    ) -> Result<HttpsNetwork, TlsError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(pem) = extra_ca {
            add(pem, "extraCa", &mut roots)?;
        }
        let outside = Pool::new(Connector::new(resolver, proxies, tls(roots)?, CONNECT_LIMIT));
        Ok(HttpsNetwork { outside, inside: token_proxy.map(|proxy| inside(proxy, resolver)).transpose()? })
    }
}

fn inside(proxy: &TokenProxy, resolver: &Resolver) -> Result<Pool, TlsError> {
    let mut roots = RootCertStore::empty();
    add(&proxy.ca, "tokenProxy.ca", &mut roots)?;
    let name = ServerName::try_from(proxy.sni_name.clone()).map_err(|_| TlsError::Name(proxy.sni_name.clone()))?;
    Ok(Pool::new(Connector::inside(resolver, name, tls(roots)?, CONNECT_LIMIT)))
}

fn tls(roots: RootCertStore) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn add(pem: &str, field: &'static str, roots: &mut RootCertStore) -> Result<(), TlsError> {
    let unusable = |reason: String| TlsError::Ca { field, reason };
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.len() == before { Err(unusable("it holds none".to_owned())) } else { Ok(()) }
}

impl Network for HttpsNetwork {
    async fn send(&self, request: Request<'_>) -> Result<Response, TransportError> {
        let authority = request.url.split('/').nth(2).unwrap_or_default().to_owned();
        let pool = match (&request.kind, &self.inside) {
            (Kind::ProxiedSignIn { .. }, Some(inside)) => inside,
            (Kind::ProxiedSignIn { .. }, None) => {
                return Err(TransportError::Connect { server: authority.as_str().into(), reason: "no token proxy is configured".to_owned() });
            }
            _ => &self.outside,
        };
        let limit = REQUEST_LIMIT.min(request.deadline.saturating_duration_since(Instant::now()));
        let mut request = http_request(request)
            .map_err(|reason| TransportError::Connect { server: Server { authority: authority.clone(), way: Way::Unknown }, reason })?;
        let connection = capture_connection(&mut request);
        let uri = request.uri().clone();
        let server = || Server { authority: authority.clone(), way: pool.way(&uri, &connection) };
        let mut exchange = std::pin::pin!(pool.exchange(request, &server));
        // It is not dropped yet when we ask how far it has come.
        tokio::time::timeout(limit, exchange.as_mut()).await.unwrap_or_else(|_| {
            Err(match pool.connector.unresolved(&uri, limit) {
                Some(ResolveError { host, reason }) => TransportError::Dns { host, reason },
                None => TransportError::Timeout { server: server(), limit },
            })
        })
    }
}

impl Pool {
    fn new(connector: Connector) -> Pool {
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector.clone());
        Pool { connector, client }
    }

    async fn exchange(&self, request: hyper::Request<Full<Bytes>>, server: &impl Fn() -> Server) -> Result<Response, TransportError> {
        let response = self.client.request(request).await.map_err(|error| transport_error(&error, error.is_connect(), server()))?;
        let (parts, incoming) = response.into_parts();
        let (body, cut) = collect(incoming).await;
        Ok(Response { status: parts.status.as_u16(), headers: parts.headers, body, cut, server: server() })
    }

    /// What is known of the way once there is a connection.
    fn way(&self, uri: &Uri, connection: &CaptureConnection) -> Way {
        if let Some(proxy) = self.connector.proxy(uri) {
            return Way::Proxy(proxy);
        }
        let mut extras = hyper::http::Extensions::new();
        if let Some(connected) = connection.connection_metadata().as_ref() {
            connected.get_extras(&mut extras);
        }
        extras.get::<HttpInfo>().map_or(Way::Unknown, |info| Way::Addresses(vec![info.remote_addr().ip()]))
    }
}

fn http_request(request: Request<'_>) -> Result<hyper::Request<Full<Bytes>>, String> {
    let builder = hyper::Request::builder().uri(request.url).header(USER_AGENT, concat!("keyvault-agent/", env!("CARGO_PKG_VERSION")));
    let (builder, body) = match request.kind {
        Kind::Object { bearer } => (builder.header(AUTHORIZATION, bearer_header(bearer)?), Bytes::new()),
        Kind::Metadata => (builder.header("metadata", "true"), Bytes::new()),
        Kind::SignIn { form } | Kind::ProxiedSignIn { form } => {
            (builder.method("POST").header(CONTENT_TYPE, "application/x-www-form-urlencoded"), Bytes::from_owner(Wiped(form)))
        }
    };
    builder.body(Full::new(body)).map_err(|error| error.to_string())
}

fn bearer_header(token: &SecretValue) -> Result<HeaderValue, String> {
    let bytes = Bytes::from_owner(Wiped(SecretValue::new([b"Bearer ", token.expose()].concat())));
    let mut header = HeaderValue::from_maybe_shared(bytes).map_err(|_| "the token has characters that no header may have".to_owned())?;
    header.set_sensitive(true);
    Ok(header)
}

/// Lends a secret to hyper and wipes it when hyper lets go.
struct Wiped(SecretValue);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}

/// As much of the body as comes, and why it is not whole.
async fn collect(mut incoming: Incoming) -> (SecretValue, Option<String>) {
    let mut body = Zeroizing::new(Vec::with_capacity(4096));
    let cut = loop {
        match incoming.frame().await {
            None => break None,
            Some(Err(error)) => break Some(root(&error).to_string()),
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                if body.len() + data.len() > LONGEST_BODY {
                    break Some(format!("it is longer than {LONGEST_BODY} bytes"));
                }
                append(&mut body, &data);
            }
        }
    };
    (SecretValue::new(std::mem::take(&mut *body)), cut)
}

/// Grows by hand, so that the old copy is wiped.
fn append(body: &mut Zeroizing<Vec<u8>>, data: &[u8]) {
    if body.capacity() - body.len() < data.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity(2 * (body.len() + data.len())));
        larger.extend_from_slice(body);
        *body = larger;
    }
    body.extend_from_slice(data);
}

/// Finds the cause that says most in the chain that the layers below have wrapped around it. `server` is what is known where no connection was
/// to be made.
fn transport_error(error: &(dyn Error + 'static), connecting: bool, mut server: Server) -> TransportError {
    for cause in chain(error) {
        if let Some(Unreached { way, .. }) = cause.downcast_ref() {
            server.way = way.clone();
        }
        if let Some(ResolveError { host, reason }) = cause.downcast_ref() {
            return TransportError::Dns { host: host.clone(), reason: reason.clone() };
        }
        if let Some(ConnectTimeout(limit)) = cause.downcast_ref() {
            return TransportError::Timeout { server, limit: *limit };
        }
        if let Some(error) = tls_error(cause) {
            return TransportError::Tls { server, reason: error.to_string() };
        }
    }
    let reason = root(error).to_string();
    if connecting { TransportError::Connect { server, reason } } else { TransportError::Broken { server, reason } }
}

fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The innermost cause, which says what happened.
fn root<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    chain(error).last().unwrap_or(error)
}

/// `io::Error` shows what it wraps only by `get_ref`, not as its source.
fn tls_error<'e>(cause: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(inner) => tls_error(inner),
        None => cause.downcast_ref(),
    }
}

#[cfg(test)]
mod tests;
