//! Names to addresses without the C library, whose resolver would load foreign code into a static binary.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::parse_resolv_conf;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::OnceCell;
use tower_service::Service;

use super::server::Notes;

/// A resolver that reads its configuration only when a name really has to be looked up.
#[derive(Clone)]
pub struct Resolver {
    configuration: PathBuf,
    dns: Arc<OnceCell<TokioResolver>>,
}

/// A resolver as connectors want it.
#[derive(Clone)]
pub(super) struct Lookup {
    resolver: Resolver,
    search: bool,
    notes: Notes,
}

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name {host} cannot be resolved: {reason}")]
pub(super) struct ResolveError {
    pub(super) host: String,
    pub(super) reason: String,
}

impl Resolver {
    /// Uses the name servers of a `resolv.conf`.
    #[must_use]
    pub fn new(resolv_conf: impl Into<PathBuf>) -> Resolver {
        Resolver { configuration: resolv_conf.into(), dns: Arc::default() }
    }

    /// A lookup that notes what it finds. The search list completes names only where `search` says so, as for those of proxies in a cluster.
    pub(super) fn lookup(&self, search: bool, notes: Notes) -> Lookup {
        Lookup { resolver: self.clone(), search, notes }
    }

    async fn addresses(&self, name: &str, search: bool) -> Result<Vec<SocketAddr>, ResolveError> {
        if is_localhost(name) {
            return Ok(vec![socket(Ipv4Addr::LOCALHOST.into()), socket(Ipv6Addr::LOCALHOST.into())]);
        }
        // With the dot, the search domains of `ndots:5` are not tried first.
        let host = if search || name.ends_with('.') { name.to_owned() } else { format!("{name}.") };
        let error = |reason| ResolveError { host: host.clone(), reason };
        let dns = self.dns.get_or_try_init(|| self.configure()).await.map_err(error)?;
        let addresses = dns.lookup_ip(host.as_str()).await.map_err(|failure| error(reason(&failure)))?;
        Ok(addresses.iter().map(socket).collect())
    }

    async fn configure(&self) -> Result<TokioResolver, String> {
        let unusable = |reason: String| format!("{} is unusable: {reason}", self.configuration.display());
        let text = std::fs::read(&self.configuration).map_err(|error| unusable(error.to_string()))?;
        let (servers, options) = parse_resolv_conf(text).map_err(|error| unusable(error.to_string()))?;
        let mut builder = TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        builder.build().map_err(|error| unusable(error.to_string()))
    }
}

/// RFC 6761: these are this machine, and no name server is asked.
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// The connector puts the port in.
fn socket(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, 0)
}

fn reason(error: &NetError) -> String {
    if error.is_nx_domain() {
        "there is no such name".to_owned()
    } else if error.is_no_records_found() {
        "it has no address".to_owned()
    } else {
        error.to_string()
    }
}

impl Service<Name> for Lookup {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = ResolveError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ResolveError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ResolveError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Lookup { resolver, search, notes } = self.clone();
        Box::pin(async move {
            let addresses = resolver.addresses(name.as_str(), search).await?;
            notes.replace(addresses.iter().map(SocketAddr::ip).collect());
            Ok(addresses.into_iter())
        })
    }
}

#[cfg(test)]
mod tests;
