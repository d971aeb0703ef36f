//! Connections: directly or through a proxy's tunnel, with TLS where the address says so, all within one time limit.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_rustls::{DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, MaybeHttpsStream, ResolveServerName};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tower_service::Service;

use super::resolve::{Lookup, Resolver};
use super::server::{Notes, Way};

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
    /// `limit` bounds resolving, connecting, the tunnel and the handshake together.
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

    async fn connect(self, uri: Uri, notes: Notes) -> Result<Stream, BoxError> {
        let Some(proxy) = self.proxies.intercept(&uri) else {
            let tcp = Tcp::new(self.resolver.lookup(self.search, notes.clone()), notes);
            return HttpsConnector::new(tcp, self.tls, false, self.names).call(uri).await;
        };
        // A proxy's name may be one inside the cluster.
        let tcp = Tcp::new(self.resolver.lookup(true, notes.clone()), notes);
        HttpsConnector::new(tunnel(&proxy, tcp)?, self.tls, false, self.names).call(uri).await
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
        let (limit, notes, proxy) = (self.limit, Notes::default(), self.proxy(&uri));
        let connecting = self.clone().connect(uri, notes.clone());
        Box::pin(async move {
            let connected = tokio::time::timeout(limit, connecting).await.unwrap_or_else(|_| Err(ConnectTimeout(limit).into()));
            connected.map_err(|source| Unreached { way: proxy.map_or_else(|| notes.way(), Way::Proxy), source }.into())
        })
    }
}

/// Plain connections, whose far end is noted.
#[derive(Clone)]
struct Tcp {
    connector: HttpConnector<Lookup>,
    notes: Notes,
}

impl Tcp {
    fn new(lookup: Lookup, notes: Notes) -> Tcp {
        let mut connector = HttpConnector::new_with_resolver(lookup);
        connector.enforce_http(false);
        connector.set_nodelay(true);
        Tcp { connector, notes }
    }
}

impl Service<Uri> for Tcp {
    type Response = TcpConnection;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<TcpConnection, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, notes) = (self.connector.call(uri), self.notes.clone());
        Box::pin(async move {
            let connection = connecting.await?;
            if let Ok(peer) = connection.inner().peer_addr() {
                notes.replace(vec![peer.ip()]);
            }
            Ok(connection)
        })
    }
}
