//! Connections: directly or through a proxy's tunnel, with TLS where the address says so. Once the name is resolved, all within one time limit.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use hyper::Uri;
use hyper_rustls::{DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, MaybeHttpsStream, ResolveServerName};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::dns::Addresses;
use super::race::race;
use super::resolve::{ResolveError, Resolver};
use super::server::{Notes, Way};

/// How long an attempt to connect has no other beside it (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);

/// The proxy variables as they are in the environment, read once by the program.
#[derive(Clone, Debug, Default)]
pub struct ProxyVariables {
    /// `HTTPS_PROXY`, or `ALL_PROXY`.
    pub https: String,
    /// `NO_PROXY`.
    pub none: String,
}

impl ProxyVariables {
    /// Picks them from an environment, in the spelling that is set.
    pub fn read(environment: &dyn Fn(&str) -> Option<String>) -> ProxyVariables {
        let first = |names: &[&str]| names.iter().filter_map(|name| environment(name)).find(|value| !value.is_empty()).unwrap_or_default();
        ProxyVariables { https: first(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]), none: first(&["NO_PROXY", "no_proxy"]) }
    }
}

/// A connection was not made in time.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {0:?}")]
pub(super) struct ConnectTimeout(pub(super) Duration);

/// A connection could not be made, and how far it came.
#[derive(Debug, thiserror::Error)]
#[error("no connection")]
pub(super) struct Unreached {
    pub(super) way: Way,
    source: BoxError,
}

type BoxError = Box<dyn Error + Send + Sync>;
type TcpConnection = TokioIo<TcpStream>;
type Stream = MaybeHttpsStream<TcpConnection>;

/// Makes the connections of [`super::HttpsNetwork`].
#[derive(Clone)]
pub(super) struct Connector {
    resolver: Resolver,
    /// Whether the search list may complete the servers' own names.
    search: bool,
    proxies: Arc<Matcher>,
    tls: Arc<ClientConfig>,
    names: Arc<dyn ResolveServerName + Send + Sync>,
    limit: Duration,
}

impl Connector {
    /// `limit` bounds connecting, the tunnel and the handshake together.
    pub(super) fn new(resolver: &Resolver, proxies: &ProxyVariables, tls: ClientConfig, limit: Duration) -> Connector {
        Connector {
            resolver: resolver.clone(),
            search: false,
            // Nothing for plain http: that is the metadata address, which no proxy may see.
            proxies: Arc::new(Matcher::builder().https(proxies.https.clone()).no(proxies.none.clone()).build()),
            tls: Arc::new(tls),
            names: Arc::new(DefaultServerNameResolver::default()),
            limit,
        }
    }

    /// For one server inside the cluster: never through a proxy, with `name` on its certificate whatever its address says.
    pub(super) fn inside(resolver: &Resolver, name: ServerName<'static>, tls: ClientConfig, limit: Duration) -> Connector {
        let direct = Connector::new(resolver, &ProxyVariables::default(), tls, limit);
        Connector { search: true, names: Arc::new(FixedServerNameResolver::new(name)), ..direct }
    }

    /// The proxy that an address is reached through, if it is; without its password.
    pub(super) fn proxy(&self, uri: &Uri) -> Option<String> {
        self.proxies.intercept(uri).map(|proxy| proxy.uri().to_string())
    }

    /// What to say of a server whose name is still being resolved after `limit`.
    pub(super) fn unresolved(&self, uri: &Uri, limit: Duration) -> Option<ResolveError> {
        let proxy = self.proxies.intercept(uri);
        let (target, search) = self.target(uri, proxy.as_ref());
        self.resolver.unanswered(target.host().unwrap_or_default(), search, limit)
    }

    /// Where the connection leads, and whether the search list may complete that name: a proxy's may be one inside the cluster.
    fn target<'u>(&self, uri: &'u Uri, proxy: Option<&'u Intercept>) -> (&'u Uri, bool) {
        proxy.map_or((uri, self.search), |proxy| (proxy.uri(), true))
    }

    async fn connect(self, uri: Uri, notes: Notes) -> Result<Stream, BoxError> {
        let proxy = self.proxies.intercept(&uri);
        let (target, search) = self.target(&uri, proxy.as_ref());
        let addresses = self.resolver.addresses(target.host().unwrap_or_default(), search).await?;
        let plain = if target.scheme_str() == Some("https") { 443 } else { 80 };
        let tcp = Tcp { addresses: Some(addresses), port: target.port_u16().unwrap_or(plain), notes };
        let connecting = match &proxy {
            None => HttpsConnector::new(tcp, self.tls, false, self.names).call(uri),
            Some(proxy) => HttpsConnector::new(tunnel(proxy, tcp)?, self.tls, false, self.names).call(uri),
        };
        timeout(self.limit, connecting).await.unwrap_or_else(|_| Err(ConnectTimeout(self.limit).into()))
    }
}

fn tunnel(proxy: &Intercept, tcp: Tcp) -> Result<Tunnel<Tcp>, BoxError> {
    if proxy.uri().scheme_str() != Some("http") {
        return Err("only http:// proxies are supported".into());
    }
    let tunnel = Tunnel::new(proxy.uri().clone(), tcp);
    Ok(match proxy.basic_auth() {
        Some(credentials) => tunnel.with_auth(credentials.clone()),
        None => tunnel,
    })
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (notes, proxy) = (Notes::default(), self.proxy(&uri));
        let connecting = self.clone().connect(uri, notes.clone());
        Box::pin(async move { connecting.await.map_err(|source| Unreached { way: proxy.map_or_else(|| notes.way(), Way::Proxy), source }.into()) })
    }
}

/// A plain connection to any of the addresses, whose far end is noted.
struct Tcp {
    /// Taken by the one call.
    addresses: Option<Addresses>,
    port: u16,
    notes: Notes,
}

impl Service<Uri> for Tcp {
    type Response = TcpConnection;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<TcpConnection, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (addresses, port, notes) = (self.addresses.take(), self.port, self.notes.clone());
        Box::pin(async move {
            let addresses = addresses.unwrap_or_else(|| Addresses { known: Vec::new(), late: None });
            Ok(TokioIo::new(dial(addresses, port, &notes).await?))
        })
    }
}

/// The first connection that comes about.
async fn dial(Addresses { known, late }: Addresses, port: u16, notes: &Notes) -> io::Result<TcpStream> {
    notes.replace(known.clone());
    let late = late.map(|late| late.inspect(|more| notes.add(more)).boxed());
    match race(known, late, HEAD_START, |address| TcpStream::connect((address, port))).await {
        Ok(stream) => {
            stream.set_nodelay(true)?;
            notes.replace(vec![stream.peer_addr()?.ip()]);
            Ok(stream)
        }
        // Where a family has no route, the other one says more.
        Err(failures) => {
            let telling = failures.into_iter().min_by_key(|error| error.kind() == io::ErrorKind::NetworkUnreachable);
            Err(telling.unwrap_or_else(|| io::Error::other("there is no address")))
        }
    }
}
