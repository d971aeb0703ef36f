//! What is beside a cluster in Azure: the API server's address in the cluster, names, and the vaults with Entra. All of it on a thread of its own, in the node's network.

use std::net::IpAddr;
use std::sync::mpsc;

use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use vault_emulator::{Config, Options};

use crate::cluster::Cluster;
use crate::dns::{NameServer, Record, Reply};
use crate::emulator::read;

/// The API server is at this address for pods.
const API_SERVER: (&str, u16) = ("10.96.0.1", 443);
const NAME_SERVER: &str = "10.96.0.10";
const VAULTS: &str = "10.96.0.20";

pub(crate) const TENANT: &str = "aaaabbbb-1111-4222-8333-444455556666";
/// Whose federated credentials name ServiceAccount `app` of every namespace.
pub(crate) const CLIENT: &str = "11111111-1111-4222-8333-444455556666";
/// Sets secrets, as an administrator would.
const WRITER: &str = "22222222-1111-4222-8333-444455556666";
const WRITER_SECRET: &str = "secret-of-a-test";

/// The names that pods find, and no others.
const NAMES: [&str; 3] = ["login.microsoftonline.com", "demo.vault.azure.net", "other.vault.azure.net"];

/// How many namespaces a run may have.
const NAMESPACES: usize = 150;

/// The way to the emulator.
pub(crate) struct Emulator {
    /// What pods must trust.
    pub(crate) ca_pem: String,
}

pub(super) async fn start(cluster: &Cluster) -> Emulator {
    // As one would tell Entra of a cluster.
    let keys = cluster.kubectl(&["get", "--raw", "/openid/v1/jwks"]).await.ok();
    let folder = cluster.folder().path().to_owned();
    std::fs::write(folder.join("jwks.json"), keys).unwrap();
    let (config, port) = (config(&cluster.url()), cluster.port());
    let (sender, started) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind(API_SERVER).await.unwrap();
            tokio::spawn(relay(listener, port));
            let _names = NameServer::start(NAME_SERVER, 53, |question| match NAMES.iter().find(|name| **name == question.name) {
                None => Reply::Code(3),
                Some(_) if question.v6 => Reply::Code(0),
                Some(name) => Reply::Records(vec![Record::Address(name, VAULTS.parse::<IpAddr>().unwrap())]),
            });
            let _names = _names.await.unwrap();
            let config = Config::parse(&config, &folder).unwrap_or_else(|error| panic!("{error}"));
            let at = |port: u16| format!("{VAULTS}:{port}").parse().unwrap();
            let options = Options { listen: at(443), imds_listen: Some(at(80)), state_dir: None };
            let bound = vault_emulator::Emulator::bind(config, options).await.unwrap();
            sender.send(bound.ca_pem().to_owned()).unwrap();
            bound.serve(std::future::pending()).await;
        });
    });
    Emulator { ca_pem: started.recv().expect("name server, relay and emulator start") }
}

async fn relay(listener: TcpListener, port: u16) {
    loop {
        let (mut from, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            if let Ok(mut to) = TcpStream::connect(("127.0.0.1", port)).await {
                let _ = copy_bidirectional(&mut from, &mut to).await;
            }
        });
    }
}

fn config(issuer: &str) -> String {
    let credential = |number| {
        let subject = format!("system:serviceaccount:{}:app", super::namespace::name(number));
        format!("    - {{issuer: {issuer:?}, subject: {subject:?}, audience: \"api://AzureADTokenExchange\", jwksFile: jwks.json}}\n")
    };
    let credentials: String = (0..NAMESPACES).map(credential).collect();
    format!(
        r#"
tenants:
- id: {TENANT}
  applications:
  - clientId: {CLIENT}
    federatedCredentials:
{credentials}
  - {{clientId: {WRITER}, secrets: [{WRITER_SECRET}]}}
vaults:
- name: demo
  permissions:
  - {{identity: {CLIENT}, allow: ["*"]}}
  - {{identity: {WRITER}, allow: ["*"]}}
  secrets:
  - {{name: db-password, value: "correct horse battery staple"}}
  - {{name: api-key, value: "k-123"}}
  - {{name: app-one, value: "1"}}
  - {{name: app-two, value: "2"}}
  - {{name: settings, value: '{{"sink":{{"token":"t-456"}}}}', contentType: application/json}}
  - {{name: disabled, value: x, enabled: false}}
  certificates: [{{name: web, subject: "CN=web.example.test", dnsNames: [web.example.test], keyType: EC}}]
  keys: [{{name: signing, keyType: EC}}]
- name: other
  permissions: [{{identity: {WRITER}, allow: ["*"]}}]
  secrets: [{{name: forbidden, value: x}}]
"#
    )
}

impl Emulator {
    /// Writes a new version of a secret of `demo`.
    pub(crate) async fn set(&self, name: &str, value: &str) {
        self.put(name, serde_json::json!({"value": value})).await;
    }

    /// Writes a new version that nobody may read. The next one ends that.
    pub(crate) async fn set_disabled(&self, name: &str, value: &str) {
        self.put(name, serde_json::json!({"value": value, "attributes": {"enabled": false}})).await;
    }

    async fn put(&self, name: &str, version: Value) {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", WRITER),
            ("client_secret", WRITER_SECRET),
            ("scope", "https://vault.azure.net/.default"),
        ];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.http().post(format!("https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token"));
        let answer = read(request.header("content-type", "application/x-www-form-urlencoded").body(body).send().await.unwrap()).await;
        let token = answer.json["access_token"].as_str().unwrap_or_else(|| panic!("{}", answer.json));
        let request = self.http().put(format!("https://demo.vault.azure.net/secrets/{name}?api-version=7.4")).bearer_auth(token);
        let request = request.header("content-type", "application/json").body(version.to_string());
        let answer = read(request.send().await.unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.json);
    }

    /// Scripts a fault, as docs/emulator.md has them.
    pub(crate) async fn fault(&self, fault: Value) {
        let request = self.http().post(format!("http://{VAULTS}/_emulator/faults")).body(fault.to_string());
        let answer = read(request.send().await.unwrap()).await;
        assert_eq!(answer.status, 204, "{}", answer.json);
    }

    fn http(&self) -> reqwest::Client {
        let socket = format!("{VAULTS}:443").parse().unwrap();
        let client = crate::emulator::trusting(&self.ca_pem, socket);
        client.resolve("login.microsoftonline.com", socket).build().unwrap()
    }
}
