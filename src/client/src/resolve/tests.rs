use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use self::dns::{NameServer, Question, Record, Reply};
use super::*;
use crate::{HttpsNetwork, Kind, Network, ProxyVariables, Request, Response, TransportError};

#[path = "../../../../tests/support/dns.rs"]
mod dns;

const NAME: &str = "demo.vault.azure.net";
/// Far less than a silent name server takes.
const SOON: Duration = Duration::from_secs(3);

async fn lookup(resolver: &Resolver, name: &str, search: bool) -> Result<Vec<String>, String> {
    let found = resolver.addresses(name, search).await.map_err(|error| error.to_string())?;
    Ok(found.known.into_iter().map(|address| address.to_string()).collect())
}

fn address(text: &str) -> Reply {
    Reply::Records(vec![Record::Address(NAME, text.parse().unwrap())])
}

/// 127.0.0.1 for IPv4, no address for IPv6.
fn healthy(question: &Question) -> Reply {
    if question.v6 { Reply::Code(0) } else { address("127.0.0.1") }
}

fn no_aaaa(question: &Question) -> Reply {
    if question.v6 { Reply::Silence } else { address("127.0.0.1") }
}

async fn one(answer: impl Fn(&Question) -> Reply + Send + Sync + 'static) -> NameServer {
    NameServer::start("127.0.0.1", 0, answer).await.unwrap()
}

/// Two at one port.
async fn two(first: fn(&Question) -> Reply, second: fn(&Question) -> Reply) -> (NameServer, NameServer) {
    loop {
        let one = one(first).await;
        if let Ok(two) = NameServer::start("127.0.0.2", one.address.port(), second).await {
            return (one, two);
        }
    }
}

/// A resolver as the kubelet would configure it for these servers.
fn resolver(servers: &[SocketAddr], options: &str) -> (tempfile::TempDir, Resolver) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resolv.conf");
    let lines: String = servers.iter().map(|server| format!("nameserver {}\n", server.ip())).collect();
    std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), format!("{lines}{options}").as_bytes()).unwrap();
    (directory, Resolver::new(path).with_hosts("/nonexistent").with_port(servers[0].port()))
}

async fn ask(server: &NameServer) -> Result<Vec<String>, String> {
    let (_directory, resolver) = resolver(&[server.address], "");
    lookup(&resolver, NAME, false).await
}

/// A GET over plain http.
async fn get(resolver: &Resolver, port: u16, patience: Duration) -> Result<Response, TransportError> {
    let network = HttpsNetwork::new(None, None, &ProxyVariables::default(), resolver).unwrap();
    network.send(Request { url: format!("http://{NAME}:{port}/x"), kind: Kind::Metadata, deadline: Instant::now() + patience }).await
}

#[tokio::test]
async fn localhost_needs_no_configuration_and_other_names_say_that_it_is_missing() {
    let resolver = Resolver::new("/nonexistent/resolv.conf");
    for name in ["localhost", "demo.vault.localhost", "LOCALHOST."] {
        assert_eq!(lookup(&resolver, name, false).await.unwrap(), ["127.0.0.1", "::1"], "{name}");
    }
    assert_eq!(lookup(&resolver, "[::1]", false).await.unwrap(), ["::1"]);
    assert_eq!(
        lookup(&resolver, "notlocalhost", false).await.unwrap_err(),
        "the name notlocalhost. cannot be resolved: /nonexistent/resolv.conf is unusable: No such file or directory (os error 2)"
    );
}

#[tokio::test]
async fn the_hosts_file_answers_for_both_families_and_no_name_server_is_asked() {
    let server = one(|_| Reply::Silence).await;
    let (directory, resolver) = resolver(&[server.address], "");
    let hosts = directory.path().join("hosts");
    let text = "# written by the kubelet\n127.0.0.1 localhost\n10.1.2.3\tdemo Demo.vault.azure.net # an alias\nfd00::3 v6.vault.azure.net\n";
    std::io::Write::write_all(&mut std::fs::File::create(&hosts).unwrap(), text.as_bytes()).unwrap();
    for resolver in [resolver.with_hosts(&hosts), Resolver::new("/nonexistent").with_hosts(&hosts)] {
        assert_eq!(lookup(&resolver, NAME, false).await.unwrap(), ["10.1.2.3"]);
        assert_eq!(lookup(&resolver, "demo", true).await.unwrap(), ["10.1.2.3"]);
        assert_eq!(lookup(&resolver, "v6.vault.azure.net", false).await.unwrap(), ["fd00::3"]);
    }
    assert_eq!(server.asked(), [""; 0]);
}

#[tokio::test]
async fn a_name_server_that_drops_aaaa_questions_costs_no_time() {
    let server = one(no_aaaa).await;
    let (_directory, resolver) = resolver(&[server.address], "search svc.cluster.local cluster.local\noptions ndots:5\n");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    });
    let start = Instant::now();
    let response = get(&resolver, port, Duration::from_secs(60)).await.unwrap();
    assert_eq!((response.status, response.server.to_string()), (204, format!("{NAME}:{port} (127.0.0.1)")));
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_refused_connection_is_not_hidden_by_an_aaaa_question_without_an_answer() {
    let server = one(no_aaaa).await;
    let (_directory, resolver) = resolver(&[server.address], "");
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = get(&resolver, port, Duration::from_secs(60)).await.unwrap_err().to_string();
    assert_eq!(error, format!("no connection to {NAME}:{port} (127.0.0.1): Connection refused (os error 111)"));
}

#[tokio::test]
async fn addresses_of_both_families_are_tried_in_turn() {
    let server = one(|question| match question.v6 {
        true => Reply::Records(["fd00::1", "fd00::2"].map(|text| Record::Address(NAME, text.parse().unwrap())).into()),
        false => address("10.0.0.1"),
    });
    let server = server.await;
    let (_directory, resolver) = resolver(&[server.address], "");
    let found = resolver.addresses(NAME, false).await.unwrap();
    // Which of the two answers came first is chance.
    let mut all = found.known;
    match found.late {
        None => assert_eq!(all, ["fd00::1", "10.0.0.1", "fd00::2"].map(|text| text.parse::<IpAddr>().unwrap())),
        Some(late) => {
            all.extend(late.await);
            all.sort();
            assert_eq!(all, ["10.0.0.1", "fd00::1", "fd00::2"].map(|text| text.parse::<IpAddr>().unwrap()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn name_servers_that_do_not_answer_are_named_in_time() {
    let silent: fn(&Question) -> Reply = |_| Reply::Silence;
    let (first, second) = two(silent, silent).await;
    let closed = one(silent).await.address;
    // Nothing listens there any more.
    let closed = SocketAddr::new("127.0.0.3".parse().unwrap(), closed.port());
    for (servers, options, seconds, expected) in [
        (&[first.address][..], "", 10, format!("DNS server {} did not answer within 10s", first.address)),
        (&[first.address], "options timeout:1 attempts:1", 2, format!("DNS server {} did not answer", first.address)),
        (&[first.address], "search a.example b.example\noptions ndots:5", 10, format!("DNS server {} did not answer within 10s", first.address)),
        (&[closed], "", 10, format!("DNS server {closed} did not answer within 10s")),
        (
            &[first.address, second.address],
            "",
            10,
            format!("DNS server {} and DNS server {} did not answer within 10s", first.address, second.address),
        ),
    ] {
        let (_directory, resolver) = resolver(servers, options);
        let start = Instant::now();
        let error = get(&resolver, 80, Duration::from_secs(60)).await.unwrap_err();
        assert!(matches!(error, TransportError::Dns { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("the name {NAME}. cannot be resolved: {expected}"));
        assert_eq!(start.elapsed().as_secs(), seconds, "{expected}");
        let start = Instant::now();
        let error = get(&resolver, 80, Duration::from_millis(1_500)).await.unwrap_err().to_string();
        let named = format!("the name {NAME}. cannot be resolved: DNS server {} ", servers[0]);
        assert!(error.starts_with(&named) && error.ends_with("did not answer within 2s"), "{error}");
        assert_eq!(start.elapsed().as_millis() / 100, 15);
    }
}

#[tokio::test]
async fn a_name_server_is_quoted_with_what_it_says() {
    for (code, expected) in
        [(0, "answered that it has no address"), (2, "answered SERVFAIL"), (3, "answered that the name does not exist"), (5, "answered REFUSED")]
    {
        let server = one(move |_| Reply::Code(code)).await;
        let named = format!("DNS server {}", server.address);
        let reason = if expected.starts_with("answered") { format!("{named} {expected}") } else { format!("{expected} {named}") };
        assert_eq!(ask(&server).await.unwrap_err(), format!("the name {NAME}. cannot be resolved: {reason}"));
    }
}

#[tokio::test]
async fn a_name_without_ipv4_addresses_is_reached_over_ipv6() {
    let server = one(|question| if question.v6 { address("fd00::7") } else { Reply::Code(0) }).await;
    assert_eq!(ask(&server).await.unwrap(), ["fd00::7"]);
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let server = one(|question| match question {
        Question { tcp: false, .. } => Reply::Truncated,
        question => healthy(question),
    });
    let server = server.await;
    assert_eq!(ask(&server).await.unwrap(), ["127.0.0.1"]);
    assert!(server.asked().contains(&format!("tcp A {NAME}")), "{:?}", server.asked());
}

#[tokio::test]
async fn the_aliases_of_a_private_endpoint_lead_to_its_address() {
    const LINK: &str = "demo.privatelink.vaultcore.azure.net";
    const ZONE: &str = "demo.vault-int.azure-int.net";
    let server = one(|question| {
        let aliases = [Record::Alias(NAME, LINK), Record::Alias(LINK, ZONE)];
        let address = (!question.v6).then(|| Record::Address(ZONE, "10.0.0.4".parse().unwrap()));
        Reply::Records(aliases.into_iter().chain(address).collect())
    });
    assert_eq!(ask(&server.await).await.unwrap(), ["10.0.0.4"]);
}

#[tokio::test]
async fn a_server_that_fails_or_is_silent_does_not_use_up_the_time_of_the_next() {
    let silent: fn(&Question) -> Reply = |_| Reply::Silence;
    for first in [silent, |_| Reply::Code(2), |_| Reply::Code(5)] {
        let (first, second) = two(first, healthy).await;
        let (_directory, resolver) = resolver(&[first.address, second.address], "");
        let start = Instant::now();
        assert_eq!(lookup(&resolver, NAME, false).await.unwrap(), ["127.0.0.1"]);
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        assert!(first.asked().contains(&format!("A {NAME}")), "{:?}", first.asked());
    }
}

#[tokio::test]
async fn names_are_complete_unless_they_are_a_proxys() {
    const KNOWN: &str = "proxy.infra.svc.cluster.local";
    let server = one(|question| match question {
        Question { name, v6: false, .. } if name == KNOWN => Reply::Records(vec![Record::Address(KNOWN, "10.0.0.9".parse().unwrap())]),
        Question { name, v6: false, .. } if name == NAME => address("127.0.0.1"),
        // As some do: the other family of a name that exists.
        _ => Reply::Code(3),
    });
    let server = server.await;
    let search = "search payments.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";
    let (_directory, resolver) = resolver(&[server.address], search);
    let a_questions = || server.asked().into_iter().filter_map(|line| line.strip_prefix("A ").map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(lookup(&resolver, NAME, false).await.unwrap(), ["127.0.0.1"]);
    assert_eq!(a_questions(), [NAME]);
    assert_eq!(lookup(&resolver, "proxy.infra", true).await.unwrap(), ["10.0.0.9"]);
    assert_eq!(a_questions()[1..], ["proxy.infra.payments.svc.cluster.local", KNOWN]);
    assert_eq!(lookup(&resolver, NAME, true).await.unwrap(), ["127.0.0.1"]);
    let completed = ["payments.svc.cluster.local", "svc.cluster.local", "cluster.local"].map(|domain| format!("{NAME}.{domain}"));
    assert_eq!(a_questions()[3..6], completed);
    assert_eq!(
        lookup(&resolver, "nosuch", true).await.unwrap_err(),
        format!("the name nosuch cannot be resolved: DNS server {} answered that the name does not exist", server.address)
    );
}
