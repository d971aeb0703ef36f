//! Asks name servers for the addresses of a name, and has those of one family while the other is still missing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use tokio::time::timeout;

use super::race::race;

/// How long IPv4 addresses wait for IPv6 ones (RFC 8305).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// How long addresses of the other family are waited for if no connection comes about.
const LATE_ADDRESSES: Duration = Duration::from_secs(2);
/// How long one name server is asked alone.
const HEAD_START: Duration = Duration::from_millis(500);

/// The addresses of a name.
pub(super) struct Addresses {
    /// Those that are known; at least one.
    pub(super) known: Vec<IpAddr>,
    /// Those of the other family, if they are not known yet.
    pub(super) late: Option<BoxFuture<'static, Vec<IpAddr>>>,
}

/// The name servers of a `resolv.conf` and how it completes names.
pub(super) struct Dns {
    servers: Vec<Arc<Server>>,
    search: Vec<Name>,
    ndots: usize,
}

struct Server {
    name: String,
    resolver: TokioResolver,
}

/// Why there is no address.
enum Trouble {
    /// A server says so.
    Negative(String),
    /// The same, whatever the kind of address.
    NoSuchName(String),
    /// No server says anything of use.
    Unanswered(String),
}

impl Trouble {
    fn words(self) -> String {
        let (Trouble::Negative(words) | Trouble::NoSuchName(words) | Trouble::Unanswered(words)) = self;
        words
    }

    /// A server that does not answer is more than one that says no.
    fn or(self, other: Trouble) -> Trouble {
        if matches!((&self, &other), (Trouble::Negative(_) | Trouble::NoSuchName(_), Trouble::Unanswered(_))) { other } else { self }
    }
}

impl Dns {
    /// Reads a `resolv.conf`, whose servers listen at `port`.
    pub(super) fn new(resolv_conf: &[u8], port: u16) -> Result<Dns, NetError> {
        let (config, mut options) = parse_resolv_conf(resolv_conf)?;
        options.use_hosts_file = ResolveHosts::Never;
        // A name that appears while we try again is to be seen.
        options.negative_max_ttl = Some(Duration::ZERO);
        let (domain, search, servers) = config.into_parts();
        let server = |mut server: NameServerConfig| -> Result<Arc<Server>, NetError> {
            server.connections.iter_mut().for_each(|connection| connection.port = port);
            let name = if port == 53 { server.ip.to_string() } else { SocketAddr::new(server.ip, port).to_string() };
            let mut builder =
                TokioResolver::builder_with_config(ResolverConfig::from_parts(None, Vec::new(), vec![server]), TokioRuntimeProvider::default());
            *builder.options_mut() = options.clone();
            Ok(Arc::new(Server { name: format!("DNS server {name}"), resolver: builder.build()? }))
        };
        let servers = servers.into_iter().map(server).collect::<Result<Vec<_>, _>>()?;
        let search = if search.is_empty() { domain.into_iter().collect() } else { search };
        Ok(Dns { servers, search, ndots: options.ndots })
    }

    /// "DNS server 10.0.0.10 did not answer".
    pub(super) fn silence(&self) -> String {
        format!("{} did not answer", self.servers.iter().map(|server| server.name.as_str()).collect::<Vec<_>>().join(" and "))
    }

    /// Finds addresses of a name, which the search list completes if it has no dot at its end.
    pub(super) async fn lookup(self: Arc<Dns>, host: &str) -> Result<Addresses, String> {
        let mut trouble = None;
        for name in self.names(host).map_err(|error| error.to_string())? {
            match self.clone().addresses(&name).await {
                Ok(addresses) => return Ok(addresses),
                Err(other) => {
                    trouble = Some(match trouble {
                        Some(before) => Trouble::or(before, other),
                        None => other,
                    });
                }
            }
        }
        Err(trouble.map_or_else(|| "it is empty".to_owned(), Trouble::words))
    }

    /// The names that a host may mean, in order: with fewer dots than `ndots`, those of the search list come first.
    fn names(&self, host: &str) -> Result<Vec<Name>, NetError> {
        let name = Name::from_utf8(host)?;
        if name.is_fqdn() {
            return Ok(vec![name]);
        }
        let mut whole = name.clone();
        whole.set_fqdn(true);
        let mut names: Vec<Name> = self.search.iter().filter_map(|domain| name.clone().append_domain(domain).ok()).collect();
        let dots = usize::from(name.num_labels()).saturating_sub(1);
        names.insert(if dots >= self.ndots { 0 } else { names.len() }, whole);
        Ok(names)
    }

    /// Both families are asked for at once; the one that is there first is used.
    async fn addresses(self: Arc<Dns>, name: &Name) -> Result<Addresses, Trouble> {
        let mut v4 = self.clone().ask(name.clone(), RecordType::A).boxed();
        let mut v6 = self.ask(name.clone(), RecordType::AAAA).boxed();
        let known = |known| Addresses { known, late: None };
        tokio::select! {
            found = &mut v4 => match found {
                Ok(found) => match timeout(RESOLUTION_DELAY, &mut v6).await {
                    Ok(others) => Ok(known(alternate(others.unwrap_or_default(), found))),
                    Err(_) => Ok(Addresses { known: found, late: Some(late(v6)) }),
                },
                Err(trouble @ Trouble::NoSuchName(_)) => Err(trouble),
                Err(trouble) => v6.await.map(known).map_err(|other| trouble.or(other)),
            },
            found = &mut v6 => match found {
                Ok(found) => Ok(Addresses { known: found, late: Some(late(v4)) }),
                Err(other) => v4.await.map(known).map_err(|trouble| trouble.or(other)),
            },
        }
    }

    /// Asks the servers one after another, the next before the one before has used up its time.
    async fn ask(self: Arc<Dns>, name: Name, family: RecordType) -> Result<Vec<IpAddr>, Trouble> {
        let answer = race(self.servers.clone(), None, HEAD_START, |server| server.ask(name.clone(), family)).await;
        answer.unwrap_or_else(|reasons| Err(Trouble::Unanswered(reasons.join(", "))))
    }
}

impl Server {
    /// What the server says, be it that there is nothing; or why it says nothing.
    async fn ask(self: Arc<Server>, name: Name, family: RecordType) -> Result<Result<Vec<IpAddr>, Trouble>, String> {
        let server = &self.name;
        let none = || Trouble::Negative(format!("{server} answered that it has no address"));
        match self.resolver.lookup(name, family).await {
            Ok(lookup) => {
                let found: Vec<IpAddr> = lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect();
                Ok(if found.is_empty() { Err(none()) } else { Ok(found) })
            }
            Err(error) if error.is_nx_domain() => Ok(Err(Trouble::NoSuchName(format!("{server} answered that the name does not exist")))),
            Err(error) if error.is_no_records_found() => Ok(Err(none())),
            Err(NetError::Timeout) => Err(format!("{server} did not answer")),
            Err(NetError::Dns(DnsError::ResponseCode(code))) => Err(format!("{server} answered {}", format!("{code:?}").to_uppercase())),
            Err(error) => Err(format!("{server} cannot be asked: {error}")),
        }
    }
}

/// Addresses of both families in turn, IPv6 first.
fn alternate(v6: Vec<IpAddr>, v4: Vec<IpAddr>) -> Vec<IpAddr> {
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    std::iter::from_fn(|| Some([v6.next(), v4.next()])).take_while(|pair| pair.iter().any(Option::is_some)).flatten().flatten().collect()
}

fn late(family: BoxFuture<'static, Result<Vec<IpAddr>, Trouble>>) -> BoxFuture<'static, Vec<IpAddr>> {
    timeout(LATE_ADDRESSES, family).map(|found| found.ok().and_then(Result::ok).unwrap_or_default()).boxed()
}
