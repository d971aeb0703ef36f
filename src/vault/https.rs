//! The network as it is: HTTP/1.1 over TLS on ring, with the built-in roots and the plan's own.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use super::connect::{ConnectTimeout, Connector, ProxyVariables, ThroughProxy};
use super::network::{Kind, Network, Request, Response, TransportError};
use super::resolve::{ResolveError, Resolver};
use crate::secret::SecretValue;

/// Resolving, connecting and shaking hands.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A whole request, connecting included.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);
/// No answer that we wait for is longer: a secret has at most 25,600 characters.
const LONGEST_BODY: usize = 1024 * 1024;

/// The plan's extra CA certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the plan's extraCa is not a list of PEM certificates: {0}")]
pub struct CaError(String);

/// [`Network`] over real connections.
pub struct HttpsNetwork {
    client: Client<Connector, Full<Bytes>>,
}

impl HttpsNetwork {
    /// `extra_ca` is PEM text whose certificates are trusted besides the built-in roots.
    ///
    /// # Errors
    /// `extra_ca` holds no certificate or a broken one.
    pub fn new(extra_ca: Option<&str>, proxies: &ProxyVariables, resolver: &Resolver) -> Result<HttpsNetwork, CaError> {
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| CaError(error.to_string()))?
            .with_root_certificates(roots(extra_ca)?)
            .with_no_client_auth();
        let connector = Connector::new(resolver, proxies, tls, CONNECT_LIMIT);
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Ok(HttpsNetwork { client })
    }
}

fn roots(extra_ca: Option<&str>) -> Result<RootCertStore, CaError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let Some(pem) = extra_ca else { return Ok(roots) };
    let built_in = roots.len();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| CaError(error.to_string()))?;
        roots.add(certificate).map_err(|error| CaError(error.to_string()))?;
    }
    if roots.len() == built_in { Err(CaError("it holds none".to_owned())) } else { Ok(roots) }
}

impl Network for HttpsNetwork {
    async fn send(&self, request: Request<'_>) -> Result<Response, TransportError> {
        let authority = request.url.split('/').nth(2).unwrap_or_default().to_owned();
        let late = TransportError::Timeout { authority: authority.clone(), limit: REQUEST_LIMIT };
        tokio::time::timeout(REQUEST_LIMIT, self.exchange(request, &authority)).await.unwrap_or(Err(late))
    }
}

impl HttpsNetwork {
    async fn exchange(&self, request: Request<'_>, authority: &str) -> Result<Response, TransportError> {
        let request = http_request(request).map_err(|reason| TransportError::Connect { authority: authority.to_owned(), reason })?;
        let response = self.client.request(request).await.map_err(|error| transport_error(&error, error.is_connect(), authority))?;
        let (parts, incoming) = response.into_parts();
        let (body, cut) = collect(incoming).await;
        Ok(Response { status: parts.status.as_u16(), headers: parts.headers, body, cut })
    }
}

fn http_request(request: Request<'_>) -> Result<hyper::Request<Full<Bytes>>, String> {
    let builder = hyper::Request::builder().uri(request.url).header(USER_AGENT, concat!("keyvault-agent/", env!("CARGO_PKG_VERSION")));
    let (builder, body) = match request.kind {
        Kind::Object { bearer } => (builder.header(AUTHORIZATION, bearer_header(bearer)?), Bytes::new()),
        Kind::Metadata => (builder.header("metadata", "true"), Bytes::new()),
        Kind::SignIn { form } => (builder.method("POST").header(CONTENT_TYPE, "application/x-www-form-urlencoded"), Bytes::from_owner(Wiped(form))),
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

/// Finds the cause that says most in the chain that the layers below have wrapped around it.
fn transport_error(error: &(dyn Error + 'static), connecting: bool, authority: &str) -> TransportError {
    let authority = authority.to_owned();
    let mut proxy = String::new();
    for cause in chain(error) {
        if let Some(ResolveError { host, reason }) = cause.downcast_ref() {
            return TransportError::Dns { host: host.clone(), reason: reason.clone() };
        }
        if let Some(ConnectTimeout(limit)) = cause.downcast_ref() {
            return TransportError::Timeout { authority, limit: *limit };
        }
        if let Some(error) = tls_error(cause) {
            return TransportError::Tls { authority, reason: error.to_string() };
        }
        if let Some(through) = cause.downcast_ref::<ThroughProxy>() {
            proxy = format!("proxy {}: ", through.proxy);
        }
    }
    let reason = format!("{proxy}{}", root(error));
    if connecting { TransportError::Connect { authority, reason } } else { TransportError::Broken { authority, reason } }
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
