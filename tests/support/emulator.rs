//! A running emulator for a test: in process, over real TLS, on free ports. It ends with the value.
#![allow(dead_code)] // each test program uses its own part

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use keyvault_common::secret::SecretValue;
use reqwest::{Client, ClientBuilder};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::task::JoinHandle;
use vault_emulator::{Addresses, Config, Emulator, Options, ServiceAccountKey};

pub(crate) const TENANT: &str = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";
pub(crate) const OTHER_TENANT: &str = "99999999-bbbb-cccc-dddd-eeeeeeeeeeee";
/// May do everything in `demo` and `other`.
pub(crate) const OWNER: &str = "11111111-1111-1111-1111-111111111111";
pub(crate) const OWNER_SECRET: &str = "lab-client-secret";
/// May read secrets of `demo`, not list or write them.
pub(crate) const READER: &str = "55555555-5555-5555-5555-555555555555";
/// May do nothing.
pub(crate) const STRANGER: &str = "22222222-2222-2222-2222-222222222222";
pub(crate) const ISSUER: &str = "https://oidc.example.invalid/";
pub(crate) const SUBJECT: &str = "system:serviceaccount:default:app";
pub(crate) const AUDIENCE: &str = "api://AzureADTokenExchange";
pub(crate) const RESOURCE: &str = "https://vault.azure.net";
pub(crate) const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");

/// A configuration with one of everything.
pub(crate) const CONFIG: &str = r#"
tenants:
- id: AAAAAAAA-bbbb-cccc-dddd-eeeeeeeeeeee
  applications:
  - clientId: 11111111-1111-1111-1111-111111111111
    objectId: 32a7c1b3-c4d6-484e-92da-a22260a272c5
    secrets: [lab-client-secret]
    federatedCredentials:
    - {issuer: "https://oidc.example.invalid/", subject: "system:serviceaccount:default:app", audience: "api://AzureADTokenExchange", jwksFile: sa.jwks.json}
  - {clientId: 22222222-2222-2222-2222-222222222222, secrets: [denied-client-secret]}
  - {clientId: 55555555-5555-5555-5555-555555555555, secrets: [reader-secret]}
- id: 99999999-bbbb-cccc-dddd-eeeeeeeeeeee
  applications:
  - {clientId: 66666666-6666-6666-6666-666666666666, secrets: [foreign-secret]}
managedIdentities:
- {clientId: 33333333-3333-3333-3333-333333333333, objectId: 44444444-4444-4444-4444-444444444444, resourceId: /subscriptions/s/app, systemAssigned: true}
- {clientId: 77777777-7777-7777-7777-777777777777}
vaults:
- name: demo
  permissions:
  - {identity: 11111111-1111-1111-1111-111111111111, allow: ["*"]}
  - {identity: 33333333-3333-3333-3333-333333333333, allow: ["secrets/*"]}
  - {identity: 55555555-5555-5555-5555-555555555555, allow: [secrets/get, certificates/get, keys/get]}
  secrets:
  - {name: db-password, value: "correct horse battery staple"}
  - {name: old-token, value: x, enabled: false}
  - {name: Settings, value: "{}", contentType: application/json, tags: {team: payments}}
- name: other
  refusal: policy
  permissions: [{identity: 11111111-1111-1111-1111-111111111111, allow: ["*"]}]
- name: closed
  refusal: denied
- name: slow
  throttle: {calls: 2, window: 1h}
  permissions: [{identity: 11111111-1111-1111-1111-111111111111, allow: ["*"]}]
  secrets: [{name: a, value: b}]
"#;

/// A running emulator.
pub(crate) struct Running {
    pub(crate) addresses: Addresses,
    pub(crate) socket: SocketAddr,
    pub(crate) ca_pem: String,
    /// Trusts the emulator, and finds every `*.vault.azure.net` of [`CONFIG`] there.
    pub(crate) http: Client,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    /// Null where the body is not JSON.
    pub(crate) json: Value,
}

impl Running {
    pub(crate) async fn start() -> Running {
        Running::with(CONFIG).await
    }

    /// Files named in `config` are looked for in `tests/fixtures`.
    pub(crate) async fn with(config: &str) -> Running {
        let config = Config::parse(config, Path::new(FIXTURES)).unwrap_or_else(|error| panic!("{error}"));
        let bound = Emulator::bind(config, Options::default()).await.unwrap();
        let (addresses, socket, ca_pem) = (bound.addresses().clone(), bound.socket(), bound.ca_pem().to_owned());
        let task = tokio::spawn(bound.serve(std::future::pending()));
        let http = trusting(&ca_pem, socket).build().unwrap();
        Running { addresses, socket, ca_pem, http, task }
    }

    /// `https://VAULT.vault.azure.net/PATH`, with a token unless it is empty.
    pub(crate) async fn call(&self, method: &str, vault: &str, path: &str, token: &str, body: Option<Value>) -> Answer {
        let url = format!("https://{vault}.vault.azure.net{path}");
        let mut request = self.http.request(method.parse().unwrap(), url);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        read(request.send().await.unwrap()).await
    }

    /// A GET of the vault `demo`.
    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.call("GET", "demo", path, token, None).await
    }

    /// A token request of a tenant.
    pub(crate) async fn ask_token(&self, tenant: &str, form: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.http.post(format!("{}/{tenant}/oauth2/v2.0/token", self.addresses.authority));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        read(request.send().await.unwrap()).await
    }

    /// A token of a client secret.
    pub(crate) async fn token(&self, client_id: &str, secret: &str) -> String {
        self.token_for(TENANT, client_id, secret, RESOURCE).await
    }

    pub(crate) async fn token_for(&self, tenant: &str, client_id: &str, secret: &str, resource: &str) -> String {
        let scope = format!("{resource}/.default");
        let form = [("grant_type", "client_credentials"), ("client_id", client_id), ("client_secret", secret), ("scope", &scope)];
        let answer = self.ask_token(tenant, &form).await;
        assert_eq!(answer.status, 200, "{}", answer.json);
        answer.json["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn owner(&self) -> String {
        self.token(OWNER, OWNER_SECRET).await
    }

    /// The plain listener's address.
    pub(crate) fn plain(&self) -> &str {
        self.addresses.imds.as_deref().unwrap()
    }

    /// A request to the managed-identity endpoint.
    pub(crate) async fn imds(&self, path_and_query: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.http.get(format!("{}{path_and_query}", self.plain()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request.send().await.unwrap()).await
    }

    /// Scripts a fault, which must be a good one.
    pub(crate) async fn fault(&self, fault: Value) {
        let answer = self.ask_fault(fault).await;
        assert_eq!(answer.status, 204, "{}", answer.json);
    }

    pub(crate) async fn ask_fault(&self, fault: Value) -> Answer {
        let request = self.http.post(format!("{}/_emulator/faults", self.addresses.vault)).body(fault.to_string());
        read(request.send().await.unwrap()).await
    }

    /// `{"counts":{"vault":{"200":1}},"requests":[…]}`.
    pub(crate) async fn requests(&self) -> Value {
        read(self.http.get(format!("{}/_emulator/requests", self.plain())).send().await.unwrap()).await.json
    }
}

/// A client that trusts `ca_pem` and takes the vaults of [`CONFIG`] to be at `socket`.
pub(crate) fn trusting(ca_pem: &str, socket: SocketAddr) -> ClientBuilder {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = builder.with_root_certificates(roots).with_no_client_auth();
    let client = Client::builder().no_proxy().tls_backend_preconfigured(tls).resolve("localhost", socket);
    ["demo", "other", "closed", "slow"].iter().fold(client, |client, vault| client.resolve(&format!("{vault}.vault.azure.net"), socket))
}

pub(crate) async fn read(response: reqwest::Response) -> Answer {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let json = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default();
    Answer { status, headers, json }
}

/// A key of `tests/fixtures`: `sa` is in `sa.jwks.json`, `stranger` is not.
pub(crate) fn signer(name: &str) -> ServiceAccountKey {
    ServiceAccountKey::from_pem(&std::fs::read(format!("{FIXTURES}/{name}.key.pem")).unwrap()).unwrap()
}

/// A token of the ServiceAccount that [`OWNER`] is federated with.
pub(crate) fn service_account_token() -> SecretValue {
    signer("sa").token(ISSUER, SUBJECT, AUDIENCE, std::time::Duration::from_secs(600)).unwrap()
}
