//! The same scenarios through the official SDK and through our own client: the same values, the same refusals.
#![allow(clippy::unwrap_used)] // clippy exempts test functions, not the helpers beside them

#[path = "support/emulator.rs"]
mod emulator;
#[path = "support/sdk.rs"]
mod sdk;

use std::io::Write;
use std::time::Duration;

use azure_security_keyvault_secrets::models::SecretClientGetSecretOptions;
use keyvault_client::{Client, HttpsNetwork, ProxyVariables, Resolver, Retry};
use keyvault_common::plan::{Identity, Object, PlanCloud};
use serde_json::json;
use tokio::time::Instant;

use emulator::{OWNER, OWNER_SECRET, READER, RESOURCE, Running, STRANGER, TENANT};

/// A value, or the HTTP status and the words of the refusal.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Value(String),
    Refused(Option<u16>, &'static str),
}

/// One secret as one identity.
struct Scenario {
    client_id: &'static str,
    secret: &'static str,
    vault: &'static str,
    name: &'static str,
    version: Option<&'static str>,
}

const SCENARIO: Scenario = Scenario { client_id: OWNER, secret: OWNER_SECRET, vault: "demo", name: "db-password", version: None };

/// What tells the refusals of this file apart; looked up in either client's words. The SDK drops the inner code.
const WORDS: [&str; 7] = [
    "AADSTS7000215",
    "AADSTS700016",
    "is not allowed on a disabled secret",
    "Caller is not authorized to perform action on resource",
    "does not have secrets get permission",
    "Client address is not authorized",
    "was not found in this key vault",
];

fn refused(status: Option<u16>, words: &str) -> Outcome {
    Outcome::Refused(status, WORDS.into_iter().find(|known| words.contains(known)).unwrap_or("other words"))
}

impl Scenario {
    async fn through_the_sdk(&self, running: &Running) -> Outcome {
        let credential = sdk::client_secret(running, self.client_id, self.secret);
        // Its transport leads the vaults of Azure to the emulator; ours finds them under localhost.
        let client = sdk::secret_client(running, &format!("https://{}.vault.azure.net", self.vault), credential);
        let options = SecretClientGetSecretOptions { secret_version: self.version.map(str::to_owned), ..Default::default() };
        match client.get_secret(self.name, Some(options)).await {
            Ok(response) => Outcome::Value(response.into_model().unwrap().value.unwrap()),
            Err(error) => refused(error.http_status().map(u16::from), &format!("{error:?}")),
        }
    }

    async fn through_ours(&self, running: &Running) -> Outcome {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [("client-id", self.client_id), ("tenant-id", TENANT), ("client-secret", self.secret)] {
            std::fs::File::create(directory.path().join(name)).unwrap().write_all(text.as_bytes()).unwrap();
        }
        let identity = Identity::ServicePrincipal { directory: directory.path().to_str().unwrap().parse().unwrap(), secret: None };
        let cloud = PlanCloud {
            authority_host: running.addresses.authority.clone(),
            resource: RESOURCE.to_owned(),
            verify_challenge: false,
            allowed_vault_hosts: Vec::new(),
        };
        let network = HttpsNetwork::new(Some(&running.ca_pem), None, &ProxyVariables::default(), &Resolver::new("/nonexistent")).unwrap();
        let retry = Retry::new(Instant::now() + Duration::from_secs(30), || 0.0);
        let client = Client::new(network, &cloud, &identity, retry.clone());
        let object = Object {
            vault: format!("https://{}.vault.localhost:{}", self.vault, running.socket.port()).parse().unwrap(),
            name: self.name.parse().unwrap(),
            version: self.version.map(|version| version.parse().unwrap()),
            optional: false,
        };
        match retry.run("test", async || client.secret(&object).await).await {
            Ok(secret) => Outcome::Value(String::from_utf8(secret.value.expose().to_vec()).unwrap()),
            Err(failure) => refused(failure.status, &failure.what),
        }
    }

    async fn assert_both(&self, running: &Running, expected: &Outcome) {
        assert_eq!(&self.through_the_sdk(running).await, expected, "the SDK");
        assert_eq!(&self.through_ours(running).await, expected, "our client");
    }
}

#[tokio::test]
async fn both_clients_see_the_same_values() {
    let running = Running::start().await;
    for (name, value) in [("db-password", "correct horse battery staple"), ("DB-Password", "correct horse battery staple"), ("settings", "{}")] {
        Scenario { name, ..SCENARIO }.assert_both(&running, &Outcome::Value(value.to_owned())).await;
    }
}

#[tokio::test]
async fn both_clients_see_the_same_refusals() {
    let running = Running::start().await;
    let nobody = "88888888-8888-8888-8888-888888888888";
    for (scenario, status, words) in [
        (Scenario { name: "nothing-there", ..SCENARIO }, Some(404), "was not found in this key vault"),
        (Scenario { version: Some("fa30baf29582406ca154583060b42e39"), ..SCENARIO }, Some(404), "was not found in this key vault"),
        (Scenario { name: "old-token", ..SCENARIO }, Some(403), "is not allowed on a disabled secret"),
        (Scenario { name: "old-token", client_id: READER, secret: "reader-secret", ..SCENARIO }, Some(403), "is not allowed on a disabled secret"),
        (
            Scenario { client_id: STRANGER, secret: "denied-client-secret", ..SCENARIO },
            Some(403),
            "Caller is not authorized to perform action on resource",
        ),
        (
            Scenario { vault: "closed", client_id: STRANGER, secret: "denied-client-secret", ..SCENARIO },
            Some(403),
            "does not have secrets get permission",
        ),
    ] {
        scenario.assert_both(&running, &Outcome::Refused(status, words)).await;
    }
    // The SDK keeps no status of a refused sign-in.
    for (scenario, code) in
        [(Scenario { secret: "guess", ..SCENARIO }, "AADSTS7000215"), (Scenario { client_id: nobody, ..SCENARIO }, "AADSTS700016")]
    {
        for outcome in [scenario.through_the_sdk(&running).await, scenario.through_ours(&running).await] {
            assert!(matches!(outcome, Outcome::Refused(_, found) if found == code), "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn both_clients_meet_the_same_faults_in_the_same_way() {
    let running = Running::start().await;
    let value = || Outcome::Value("correct horse battery staple".to_owned());
    for (fault, expected) in [
        (json!({"plane": "vault", "kind": "firewall"}), Outcome::Refused(Some(403), "Client address is not authorized")),
        (json!({"plane": "vault", "kind": "policy"}), Outcome::Refused(Some(403), "does not have secrets get permission")),
        (json!({"plane": "vault", "kind": "throttle", "count": 2}), value()),
        (json!({"plane": "vault", "kind": "unavailable", "count": 2}), value()),
        (json!({"plane": "entra", "kind": "unavailable", "count": 2}), value()),
    ] {
        for client in ["the SDK", "our client"] {
            for plane in ["vault", "entra"] {
                running.fault(json!({"plane": plane, "kind": "clear"})).await;
            }
            running.fault(fault.clone()).await;
            let outcome = if client == "the SDK" { SCENARIO.through_the_sdk(&running).await } else { SCENARIO.through_ours(&running).await };
            assert_eq!(outcome, expected, "{client}: {fault}");
        }
    }
}

#[tokio::test]
async fn ours_spares_the_call_without_a_token() {
    let running = Running::start().await;
    SCENARIO.through_the_sdk(&running).await;
    assert_eq!(running.requests().await["counts"]["vault"], json!({"200": 1, "401": 1}));
    SCENARIO.through_ours(&running).await;
    assert_eq!(running.requests().await["counts"]["vault"], json!({"200": 2, "401": 1}));
}
