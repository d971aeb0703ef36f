//! The way to the vault: names, certificates, proxies; and plans that cannot be used.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use serde_json::{Value, json};

use crate::world::World;

#[test]
fn a_vault_that_nobody_serves_is_a_connect_problem_with_its_address() {
    let world = World::new();
    // Bound and dropped: nothing listens there now.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let vault = format!("https://demo.vault.localhost:{port}");
    let run = world.run(&world.plan().file("a", &vault, "db-password", json!({})).with("/deadline", json!("1s")));
    assert_eq!(run.code, 71, "{}", run.log);
    let start =
        format!("connect demo/db-password: no connection to demo.vault.localhost:{port} (127.0.0.1, ::1): Connection refused (os error 111) (");
    assert!(run.termination.starts_with(&start), "{}", run.termination);
}

#[test]
fn a_name_that_does_not_exist_is_a_dns_problem() {
    let world = World::new();
    // RFC 6761: the resolver itself answers for .invalid, no server is asked.
    let run = world.run(&world.plan().file("a", "https://demo.nosuch.invalid", "db-password", json!({})).with("/deadline", json!("1s")));
    assert_eq!(run.code, 68, "{}", run.log);
    assert!(run.termination.starts_with("dns demo/db-password: the name demo.nosuch.invalid. cannot be resolved: "), "{}", run.termination);
    assert!(run.termination.ends_with("; check the name, the cluster's DNS and, for a private endpoint, its DNS zone\n"), "{}", run.termination);
}

#[test]
fn a_certificate_of_an_unknown_ca_is_refused_at_once() {
    let world = World::new();
    let run = world.run(&world.plan_for(&["db-password"]).with("/extraCa", Value::Null));
    assert_eq!(run.code, 72, "{}", run.log);
    assert_eq!(
        run.termination,
        format!(
            "tls demo/db-password: no secure connection to {}: invalid peer certificate: UnknownIssuer; \
             trust the CA in the injector's configuration, or remove what intercepts the connection\n",
            world.entra()
        )
    );
    assert!(!run.log.contains("next try"), "{}", run.log);
}

#[test]
fn a_proxy_carries_vault_and_entra_but_never_the_metadata_address() {
    let world = World::new();
    let proxy = Proxy::start(world.port);
    let plan = world.plan().file("a", "https://demo.vault.azure.net", "db-password", json!({})).with("/cloud/verifyChallenge", json!(true));
    let variable = [("HTTPS_PROXY", proxy.url.as_str()), ("HTTP_PROXY", proxy.url.as_str()), ("ALL_PROXY", proxy.url.as_str())];

    let run = world.run_with(&plan.with("/identity", world.system_assigned()), "exec \"$0\" \"$@\"", &variable);
    assert_eq!(run.code, 0, "{}", run.log);
    assert_eq!(proxy.seen(), ["CONNECT demo.vault.azure.net:443 HTTP/1.1, Basic dXNlcjpzZXNhbWU="]);

    let run = world.run_with(&world.plan_for(&["db-password"]), "exec \"$0\" \"$@\"", &[variable[0], ("no_proxy", ".vault.localhost")]);
    assert_eq!(run.code, 0, "{}", run.log);
    assert_eq!(proxy.seen(), [format!("CONNECT localhost:{} HTTP/1.1, Basic dXNlcjpzZXNhbWU=", world.port)]);
    assert!(!run.log.contains("sesame"));
}

#[test]
fn a_sovereign_cloud_is_asked_with_its_own_audience() {
    let world = World::new();
    let proxy = Proxy::start(world.port);
    let variable = [("HTTPS_PROXY", proxy.url.as_str())];
    let plan = |resource| {
        let plan = world.plan().file("a", "https://demo.vault.azure.cn", "db-password", json!({}));
        plan.with("/cloud/verifyChallenge", json!(true)).with("/cloud/resource", json!(resource))
    };
    let run = world.run_with(&plan("https://vault.azure.cn"), "exec \"$0\" \"$@\"", &variable);
    assert_eq!(run.code, 0, "{}", run.log);
    assert_eq!(proxy.seen().len(), 2, "the vault and Entra");

    // A vault of another cloud, allowed by name, wants a token that must not be given to it.
    let foreign = plan("https://vault.azure.net").with("/cloud/allowedVaultHosts", json!(["demo.vault.azure.cn"]));
    let run = world.run_with(&foreign, "exec \"$0\" \"$@\"", &variable);
    assert_eq!(run.code, 78, "{}", run.log);
    let server = format!("demo.vault.azure.cn (through proxy http://{})", proxy.url.rsplit('@').next().unwrap());
    let line = format!("{server} wants a token for https://vault.azure.cn, but the cloud's vaults take https://vault.azure.net; ");
    assert!(run.termination.starts_with(&format!("auth demo/db-password: {line}")), "{}", run.termination);
}

#[test]
fn a_proxy_that_refuses_is_named_without_its_password() {
    let world = World::new();
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = refusing.local_addr().unwrap();
    // Ends when the agent connects no more: the test binary's end closes the socket.
    std::thread::spawn(move || {
        for stream in refusing.incoming() {
            let mut stream = stream.unwrap();
            let _ = read_head(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let proxy = format!("http://user:sesame@{address}");
    let plan = world.plan_for(&["db-password"]).with("/deadline", json!("1s"));
    let run = world.run_with(&plan, "exec \"$0\" \"$@\"", &[("https_proxy", proxy.as_str())]);
    assert_eq!(run.code, 71, "{}", run.log);
    let start = format!(
        "connect demo/db-password: no connection to localhost:{} (through proxy http://{address}): tunnel error: proxy authorization required (",
        world.port
    );
    assert!(run.termination.starts_with(&start), "{}", run.termination);
    assert!(!run.log.contains("sesame"), "{}", run.log);
}

#[test]
fn a_plan_that_cannot_be_used_ends_with_64_and_a_reason() {
    let world = World::new();
    for (plan, expected) in [
        (
            world.plan().with("/version", json!(2)),
            "the plan has version 2, this agent reads version 1: use the agent image that the webhook was released with",
        ),
        (
            world.plan().with("/cloud/authorityHost", json!("http://localhost")),
            "the plan's authorityHost \"http://localhost\" does not begin with https://",
        ),
        (
            world.plan_for(&["a"]).with("/fetch", json!([{"id": "0", "key": {"vault": "https://a.vault.azure.net", "name": "signing"}}])),
            "the plan's file a takes id \"0\" for a secret, and it is none",
        ),
        (world.plan().with("/extraCa", json!("nothing")), "the plan's extraCa is not a list of PEM certificates: it holds none"),
    ] {
        let run = world.run(&plan);
        assert_eq!((run.code, run.log), (64, format!("keyvault-agent: {expected}\n")));
        assert_eq!(run.termination, format!("plan: {expected}\n"));
    }
    let run = world.run(&world.plan().with("/identity", json!({"podIdentity": {"endpoint": "https://localhost"}})));
    let reason =
        "\"https://localhost\" is not the address of a metadata service: http:// (never https://), a host and perhaps a port: no path or query";
    assert_eq!(run.code, 64);
    assert!(run.termination.starts_with(&format!("plan: the plan cannot be read ({reason}")), "{}", run.termination);
}

#[test]
fn a_volume_that_is_not_mounted_is_named() {
    let world = World::new();
    let run = world.run(&world.plan_for(&["db-password"]).with("/directories/0/path", json!("/keyvault/nosuch")));
    assert_eq!(run.code, 73, "{}", run.log);
    assert!(run.termination.contains("/keyvault/nosuch: the directory does not exist, so the volume is not mounted; "), "{}", run.termination);
}

/// A CONNECT proxy that leads every tunnel to the emulator.
pub(crate) struct Proxy {
    pub(crate) url: String,
    seen: mpsc::Receiver<String>,
}

impl Proxy {
    pub(crate) fn start(target: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://user:sesame@{}", listener.local_addr().unwrap());
        let (report, seen) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut client, report) = (stream.unwrap(), report.clone());
                let head = read_head(&mut client);
                let authorization = head.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: ")).unwrap_or_default();
                if report.send(format!("{}, {authorization}", head.lines().next().unwrap_or_default())).is_err() {
                    return;
                }
                let mut server = TcpStream::connect(("127.0.0.1", target)).unwrap();
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                let (mut from_client, mut to_client) = (client.try_clone().unwrap(), client);
                let mut to_server = server.try_clone().unwrap();
                std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
                std::thread::spawn(move || std::io::copy(&mut server, &mut to_client));
            }
        });
        Proxy { url, seen }
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.try_iter().collect()
    }
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}
