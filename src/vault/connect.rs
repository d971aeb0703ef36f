//! Connections: directly or through a proxy's tunnel, with TLS where the address says so, all within one time limit.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use super::resolve::{Lookup, Resolver};

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

/// Something went wrong between here and the far end of a proxy's tunnel.
#[derive(Debug, thiserror::Error)]
#[error("proxy {proxy}")]
pub(super) struct ThroughProxy {
    pub(super) proxy: Uri,
    source: BoxError,
}

type BoxError = Box<dyn Error + Send + Sync>;
type Tcp = HttpConnector<Lookup>;
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Makes the connections of [`super::HttpsNetwork`].
#[derive(Clone)]
pub(super) struct Connector {
    direct: Tcp,
    to_proxy: Tcp,
    proxies: Arc<Matcher>,
    tls: Arc<ClientConfig>,
    limit: Duration,
}

impl Connector {
    /// `limit` bounds resolving, connecting, the tunnel and the handshake together.
    pub(super) fn new(resolver: &Resolver, proxies: &ProxyVariables, tls: ClientConfig, limit: Duration) -> Connector {
        let tcp = |lookup| {
            let mut tcp = HttpConnector::new_with_resolver(lookup);
            tcp.enforce_http(false);
            tcp.set_nodelay(true);
            tcp
        };
        Connector {
            direct: tcp(resolver.complete()),
            to_proxy: tcp(resolver.searching()),
            // Nothing for plain http: that is the metadata address, which no proxy may see.
            proxies: Arc::new(Matcher::builder().https(proxies.https.clone()).no(proxies.none.clone()).build()),
            tls: Arc::new(tls),
            limit,
        }
    }

    async fn connect(self, uri: Uri) -> Result<Stream, BoxError> {
        let Some(proxy) = self.proxies.intercept(&uri) else {
            return HttpsConnector::from((self.direct, self.tls)).call(uri).await;
        };
        let tunnel = tunnel(&proxy, self.to_proxy)?;
        let stream = HttpsConnector::from((tunnel, self.tls)).call(uri).await;
        stream.map_err(|source| ThroughProxy { proxy: proxy.uri().clone(), source }.into())
    }
}

fn tunnel(proxy: &Intercept, tcp: Tcp) -> Result<Tunnel<Tcp>, BoxError> {
    if proxy.uri().scheme_str() != Some("http") {
        return Err(format!("proxy {}: only http:// proxies are supported", proxy.uri()).into());
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
        let limit = self.limit;
        let connecting = self.clone().connect(uri);
        Box::pin(async move { tokio::time::timeout(limit, connecting).await.unwrap_or_else(|_| Err(ConnectTimeout(limit).into())) })
    }
}
