//! Names to addresses without the C library, whose resolver would load foreign code into a static binary.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::dns::{Addresses, Dns};

/// For one name, with all that the search list makes of it.
const RESOLVE_LIMIT: Duration = Duration::from_secs(10);

/// A resolver that reads its configuration only when a name really has to be looked up.
#[derive(Clone)]
pub struct Resolver {
    resolv_conf: PathBuf,
    hosts: PathBuf,
    port: u16,
    dns: Arc<OnceCell<Arc<Dns>>>,
    /// The names that name servers are being asked for.
    asking: Arc<Mutex<Vec<String>>>,
}

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name {host} cannot be resolved: {reason}")]
pub(super) struct ResolveError {
    pub(super) host: String,
    pub(super) reason: String,
}

impl Resolver {
    /// Uses the name servers of a `resolv.conf`, and `/etc/hosts`.
    #[must_use]
    pub fn new(resolv_conf: impl Into<PathBuf>) -> Resolver {
        Resolver { resolv_conf: resolv_conf.into(), hosts: PathBuf::from("/etc/hosts"), port: 53, dns: Arc::default(), asking: Arc::default() }
    }

    /// Takes another file for `/etc/hosts`.
    #[must_use]
    pub fn with_hosts(self, hosts: impl Into<PathBuf>) -> Resolver {
        Resolver { hosts: hosts.into(), ..self }
    }

    /// Asks the name servers at another port, for which a `resolv.conf` has no place.
    #[must_use]
    pub fn with_port(self, port: u16) -> Resolver {
        Resolver { port, ..self }
    }

    /// The addresses of a host. The search list completes names only where `search` says so, as for those of proxies in a cluster.
    pub(super) async fn addresses(&self, host: &str, search: bool) -> Result<Addresses, ResolveError> {
        let known = |known| Ok(Addresses { known, late: None });
        if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse() {
            return known(vec![address]);
        }
        if is_localhost(host) {
            return known(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        // Read every time: the kubelet replaces it.
        let listed = listed(&std::fs::read(&self.hosts).unwrap_or_default(), host);
        if !listed.is_empty() {
            return known(listed);
        }
        let host = name(host, search);
        let error = |reason| ResolveError { host: host.clone(), reason };
        let dns = self.dns.get_or_try_init(|| self.configure()).await.map_err(error)?.clone();
        let _asking = Asking::begin(self, &host);
        match timeout(RESOLVE_LIMIT, dns.lookup(&host)).await {
            Ok(found) => found.map_err(error),
            Err(_) => Err(self.silence(host, RESOLVE_LIMIT)),
        }
    }

    /// What to say of a host if name servers are being asked for it and nobody waits any longer.
    pub(super) fn unanswered(&self, host: &str, search: bool, limit: Duration) -> Option<ResolveError> {
        let host = name(host, search);
        let asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner).contains(&host);
        asking.then(|| self.silence(host, limit))
    }

    fn silence(&self, host: String, limit: Duration) -> ResolveError {
        let silence = self.dns.get().map(|dns| dns.silence()).unwrap_or_default();
        ResolveError { host, reason: format!("{silence} within {}", super::network::seconds(limit)) }
    }

    async fn configure(&self) -> Result<Arc<Dns>, String> {
        let unusable = |reason: String| format!("{} is unusable: {reason}", self.resolv_conf.display());
        let text = std::fs::read(&self.resolv_conf).map_err(|error| unusable(error.to_string()))?;
        Dns::new(&text, self.port).map(Arc::new).map_err(|error| unusable(error.to_string()))
    }
}

/// Notes that a host is being asked for, until it is dropped.
struct Asking<'r>(&'r Resolver, String);

impl Asking<'_> {
    fn begin<'r>(resolver: &'r Resolver, host: &str) -> Asking<'r> {
        resolver.asking.lock().unwrap_or_else(PoisonError::into_inner).push(host.to_owned());
        Asking(resolver, host.to_owned())
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut asking = self.0.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = asking.iter().position(|host| *host == self.1) {
            asking.swap_remove(index);
        }
    }
}

/// With the dot, the search domains of `ndots:5` are not tried first.
fn name(host: &str, search: bool) -> String {
    if search || host.ends_with('.') { host.to_owned() } else { format!("{host}.") }
}

/// RFC 6761: these are this machine, and no name server is asked.
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// The addresses that a hosts file has for a name, of whichever family: no name server is asked for the other one.
fn listed(hosts: &[u8], host: &str) -> Vec<IpAddr> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let address = |line: &str| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
    };
    String::from_utf8_lossy(hosts).lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests;
