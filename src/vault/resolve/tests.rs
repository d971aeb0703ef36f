use hickory_resolver::config::ResolverConfig;
use tokio::net::UdpSocket;

use super::*;

async fn lookup(resolver: &Resolver, name: &str, search: bool) -> Result<Vec<String>, String> {
    let found = resolver.addresses(name, search).await.map_err(|error| error.to_string())?;
    Ok(found.into_iter().map(|address| address.ip().to_string()).collect())
}

#[tokio::test]
async fn localhost_needs_no_configuration_and_other_names_say_that_it_is_missing() {
    let resolver = Resolver::new("/nonexistent/resolv.conf");
    for name in ["localhost", "demo.vault.localhost", "LOCALHOST."] {
        assert_eq!(lookup(&resolver, name, false).await.unwrap(), ["127.0.0.1", "::1"], "{name}");
    }
    assert_eq!(
        lookup(&resolver, "notlocalhost", false).await.unwrap_err(),
        "the name notlocalhost. cannot be resolved: /nonexistent/resolv.conf is unusable: No such file or directory (os error 2)"
    );
}

#[tokio::test]
async fn names_are_complete_unless_they_are_a_proxys() {
    let (resolver, asked) = with_name_server().await;
    assert_eq!(lookup(&resolver, "demo.vault.azure.net", false).await.unwrap(), ["192.0.2.7"]);
    assert_eq!(lookup(&resolver, "nosuch.example", false).await.unwrap_err(), "the name nosuch.example. cannot be resolved: there is no such name");
    assert_eq!(lookup(&resolver, "demo.proxies", true).await.unwrap(), ["192.0.2.7"]);
    let mut asked = asked.lock().unwrap().clone();
    asked.dedup();
    assert_eq!(asked, ["demo.vault.azure.net", "nosuch.example", "demo.proxies.svc.cluster.local"]);
}

type Asked = Arc<std::sync::Mutex<Vec<String>>>;

/// A name server on loopback that knows names beginning with `demo`, and a configuration as the kubelet writes it.
async fn with_name_server() -> (Resolver, Asked) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let asked = Asked::default();
    let names = asked.clone();
    tokio::spawn(async move {
        let mut query = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut query).await {
            let (name, answer) = answer(&query[..length]);
            names.lock().unwrap().push(name);
            socket.send_to(&answer, client).await.unwrap();
        }
    });
    let text = "nameserver 127.0.0.1\nsearch svc.cluster.local cluster.local\noptions ndots:5\n";
    let (servers, options) = parse_resolv_conf(text).unwrap();
    let (domain, search, mut name_servers) = servers.into_parts();
    // The file format has no ports.
    name_servers.iter_mut().flat_map(|server| &mut server.connections).for_each(|connection| connection.port = port);
    let servers = ResolverConfig::from_parts(domain, search, name_servers);
    let mut builder = TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    let dns = Arc::new(OnceCell::new_with(Some(builder.build().unwrap())));
    (Resolver { dns, ..Resolver::new("/nonexistent/resolv.conf") }, asked)
}

/// The name in a DNS query, and an answer: 192.0.2.7 for A of `demo…`, nothing for its AAAA, no such name for others.
fn answer(query: &[u8]) -> (String, Vec<u8>) {
    let (mut labels, mut at) = (Vec::new(), 12);
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    let (known, wants_v4) = (labels[0] == "demo", query[at + 2] == 1);
    let mut answer = vec![query[0], query[1], 0x81, if known { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(known && wants_v4), 0, 0, 0, 0];
    answer.extend_from_slice(&query[12..at + 5]);
    if known && wants_v4 {
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
    }
    (labels.join("."), answer)
}
