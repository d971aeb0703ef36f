//! AKS identity bindings: the ServiceAccount's token goes to a proxy in the cluster instead of to Entra.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, mpsc};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use crate::network::Proxy;
use crate::world::{APP, TENANT, World};

const NAME: &str = "0123.ests.aks";

#[test]
fn the_token_is_exchanged_at_the_proxy_directly_and_the_vault_is_read_as_ever() {
    let world = World::new();
    let proxy = TokenProxy::start(&world);
    let corporate = Proxy::start(world.port);
    // Entra itself cannot be reached: nobody listens there.
    let plan = world.plan_for(&["db-password"]).with("/cloud/authorityHost", json!("https://login.invalid"));
    let plan = plan.with("/identity/workloadIdentity/tokenProxy", proxy.plan(NAME, &proxy.ca));
    let run = world.run_with(&plan, "exec \"$0\" \"$@\"", &[("HTTPS_PROXY", corporate.url.as_str())]);
    assert_eq!(run.code, 0, "{}", run.log);
    assert_eq!(proxy.seen.try_iter().collect::<Vec<_>>(), [(NAME.to_owned(), format!("POST /{TENANT}/oauth2/v2.0/token HTTP/1.1"))]);
    assert_eq!((world.calls("entra"), world.calls("vault")), (json!({"200": 1}), json!({"200": 1})));
    let tunnels = corporate.seen();
    assert!(tunnels.len() == 1 && tunnels[0].starts_with("CONNECT demo.vault.localhost:"), "{tunnels:?}");
}

#[test]
fn a_token_proxy_is_trusted_by_its_own_ca_and_name_alone() {
    let world = World::new();
    let proxy = TokenProxy::start(&world);
    for (name, ca, reason) in [(NAME, &world.ca, "invalid peer certificate: "), ("other.aks", &proxy.ca, "invalid peer certificate: ")] {
        let plan = world.plan_for(&["db-password"]).with("/identity/workloadIdentity/tokenProxy", proxy.plan(name, ca));
        // What the operator trusts for vaults does not count here.
        let run = world.run(&plan.with("/extraCa", json!(format!("{}{}", world.ca, proxy.ca))));
        assert_eq!(run.code, 72, "{}", run.log);
        let start = format!("tls demo/db-password: no secure connection to localhost:{} (127.0.0.1): {reason}", proxy.port);
        assert!(run.termination.starts_with(&start), "{}", run.termination);
    }
    assert_eq!(world.calls("entra"), Value::Null);
}

#[test]
fn a_refusal_of_the_token_proxy_names_it_and_who_was_refused() {
    let world = World::new();
    let proxy = TokenProxy::start(&world);
    world.put_token("system:serviceaccount:default:other", "api://AKSIdentityBinding");
    let plan = world.plan_for(&["db-password"]).with("/identity/workloadIdentity/tokenProxy", proxy.plan(NAME, &proxy.ca));
    let run = world.run(&plan.with("/deadline", json!("2s")));
    assert_eq!(run.code, 78, "{}", run.log);
    let start = format!(
        "auth demo/db-password: the token proxy at localhost:{} (127.0.0.1) refused client {APP} of tenant {TENANT} with the ServiceAccount token of issuer \
         https://oidc.example.invalid/, subject system:serviceaccount:default:other, audience api://AKSIdentityBinding: AADSTS70021",
        proxy.port
    );
    assert!(run.termination.starts_with(&start), "{}", run.termination);
}

/// A TLS server with a CA of its own that hands requests on to the emulator's Entra.
struct TokenProxy {
    port: u16,
    ca: String,
    /// The name that was asked for, and the request line.
    seen: mpsc::Receiver<(String, String)>,
}

impl TokenProxy {
    fn start(world: &World) -> TokenProxy {
        let (ca, tls) = certificates();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (report, seen) = mpsc::channel();
        let entra = Entra::new(world);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut connection = rustls::ServerConnection::new(tls.clone()).unwrap();
                let mut stream = stream.unwrap();
                let mut tls = rustls::Stream::new(&mut connection, &mut stream);
                // A client that refuses the certificate sends no request.
                let Some(request) = read_request(&mut tls) else { continue };
                let answer = entra.ask(&request);
                tls.write_all(&answer).unwrap();
                tls.conn.send_close_notify();
                tls.flush().unwrap();
                let line = request.lines().next().unwrap_or_default().to_owned();
                if report.send((tls.conn.server_name().unwrap_or_default().to_owned(), line)).is_err() {
                    return;
                }
            }
        });
        TokenProxy { port, ca, seen }
    }

    fn plan(&self, name: &str, ca: &str) -> Value {
        json!({"url": format!("https://localhost:{}", self.port), "sniName": name, "ca": ca})
    }
}

fn certificates() -> (String, Arc<rustls::ServerConfig>) {
    let (ca_key, key) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = parameters.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(parameters, ca_key);
    let leaf = rcgen::CertificateParams::new(vec![NAME.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    (ca.pem(), Arc::new(builder.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap()))
}

/// The emulator, as the stand-in reaches it.
struct Entra {
    port: u16,
    tls: Arc<rustls::ClientConfig>,
}

impl Entra {
    fn new(world: &World) -> Entra {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(world.ca.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Entra { port: world.port, tls: Arc::new(builder.with_root_certificates(roots).with_no_client_auth()) }
    }

    fn ask(&self, request: &str) -> Vec<u8> {
        let mut connection = rustls::ClientConnection::new(self.tls.clone(), "localhost".try_into().unwrap()).unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let mut tls = rustls::Stream::new(&mut connection, &mut stream);
        tls.write_all(request.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes()).unwrap();
        let mut answer = Vec::new();
        // The emulator may close without saying goodbye; what came is whole.
        let _ = tls.read_to_end(&mut answer);
        answer
    }
}

/// Head and body, by its length.
fn read_request(stream: &mut impl Read) -> Option<String> {
    let mut request = Vec::new();
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte).ok()?;
        request.push(byte[0]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some(text.into_owned());
        }
    }
}
