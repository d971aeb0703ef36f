//! What reviews know of Namespaces and ServiceAccounts, while the API server is there and while it is not.

use base64::Engine;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Injector, Loopback, OPTED_IN, Setup, until};
use crate::installation::{NAME, rights};

const LOOKUPS: &str = "keyvault_injector_lookups_total{result=\"ok\"}";
const FAILED: &str = "keyvault_injector_lookups_total{result=\"failed\"}";

/// Whoever asks as the API server does.
pub(crate) struct Asker {
    client: reqwest::Client,
    url: String,
}

impl Asker {
    pub(crate) fn new(injector: &Injector, loopback: &Loopback) -> Asker {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca = reqwest::Certificate::from_pem(loopback.ca.as_bytes()).unwrap();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([ca]).build().unwrap();
        Asker { client, url: format!("https://{}/mutate", injector.https) }
    }

    /// The answer to the creation of a pod that names neither a vault nor an identity.
    async fn ask(&self, namespace: &str) -> Value {
        self.ask_for(namespace, &json!({"keyvault-injector.io/secrets": "db-password"})).await
    }

    /// The answer to the creation of a pod with these annotations, whose container has no command.
    pub(crate) async fn ask_for(&self, namespace: &str, annotations: &Value) -> Value {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web", "namespace": namespace, "annotations": annotations},
            "spec": {"serviceAccountName": "default", "containers": [{"name": "app", "image": "registry.example/app"}]},
        });
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "operation": "CREATE", "namespace": namespace, "name": "web",
                "kind": {"group": "", "version": "v1", "kind": "Pod"}, "resource": {"group": "", "version": "v1", "resource": "pods"},
                "requestKind": {"group": "", "version": "v1", "kind": "Pod"}, "requestResource": {"group": "", "version": "v1", "resource": "pods"},
                "userInfo": {"username": "test"}, "object": pod, "oldObject": null, "dryRun": false,
            },
        });
        let answer = self.client.post(&self.url).header("content-type", "application/json").body(review.to_string()).send().await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        answer["response"].clone()
    }

    /// The patch of an answer that must have one.
    async fn patch(&self, namespace: &str) -> String {
        let answer = self.ask(namespace).await;
        let patch = answer["patch"].as_str().unwrap_or_else(|| panic!("no patch: {answer:#}"));
        String::from_utf8(base64::engine::general_purpose::STANDARD.decode(patch).unwrap()).unwrap()
    }
}

/// What pods inherit there: the vault of the Namespace, the identity of the ServiceAccount.
async fn annotate(cluster: &Cluster, namespace: &str, vault: &str) {
    cluster.kubectl(&["annotate", "--overwrite", "namespace", namespace, &format!("keyvault-injector.io/vault={vault}")]).await.ok();
    let client = "azure.workload.identity/client-id=11111111-1111-1111-1111-111111111111";
    let tenant = "azure.workload.identity/tenant-id=aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";
    cluster.kubectl(&["-n", namespace, "annotate", "--overwrite", "serviceaccount", "default", client, tenant]).await.ok();
}

#[tokio::test]
async fn reviews_that_need_nothing_new_are_answered_while_the_api_server_is_away() {
    let cluster = Cluster::own().await;
    let token = rights(&cluster).await;
    let payments = cluster.namespace("payments", &[OPTED_IN]).await;
    annotate(&cluster, &payments, "team-a").await;
    let loopback = Loopback::new();
    let injector = Injector::start(&cluster, &Setup { token: Some(&token), ..Setup::files(NAME, &loopback) }).await;
    injector.ready().await;
    let asker = Asker::new(&injector, &loopback);
    assert!(asker.patch(&payments).await.contains("https://team-a.vault.azure.net"));

    cluster.stop_api_server();
    injector.line_with("a watch was interrupted").await;
    for _ in 0..5 {
        assert!(asker.patch(&payments).await.contains("https://team-a.vault.azure.net"));
    }
    assert_eq!(injector.get("/ready").await.map(|(status, _)| status), Some(200), "what it knew is better than nothing");
    assert_eq!((injector.metric(LOOKUPS).await, injector.metric(FAILED).await), (0.0, 0.0), "nobody had to be asked");
    let unknown = asker.ask("unknown").await;
    assert_eq!(unknown["allowed"], false, "{unknown:#}");
    assert_eq!(injector.metric(FAILED).await, 1.0);

    cluster.start_api_server();
    annotate(&cluster, &payments, "team-b").await;
    until("the new vault", async || asker.patch(&payments).await.contains("https://team-b.vault.azure.net").then_some(())).await;
}

#[tokio::test]
async fn a_namespace_that_is_used_at_once_is_looked_up_and_only_at_first() {
    let cluster = Cluster::shared().await;
    let home = cluster.namespace("injector", &[]).await;
    let loopback = Loopback::new();
    let config = "defaults: {clientId: 11111111-1111-1111-1111-111111111111, tenantId: aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee}\n";
    let injector = Injector::start(cluster, &Setup { config, ..Setup::files(&home, &loopback) }).await;
    injector.ready().await;
    let asker = Asker::new(&injector, &loopback);
    let names: Vec<String> = (0..5).map(|_| cluster.name("fresh")).collect();
    for name in &names {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "annotations": {"keyvault-injector.io/vault": name}}});
        cluster.kubectl_with(&["create", "-f", "-"], &namespace.to_string()).await.ok();
        let before = injector.metric(LOOKUPS).await;
        assert!(asker.patch(name).await.contains(&format!("https://{name}.vault.azure.net")));
        let asked = injector.metric(LOOKUPS).await - before;
        assert!(asked <= 1.0, "{asked} questions for one review");
    }
    let without_asking = async || {
        let before = injector.metric(LOOKUPS).await;
        for name in &names {
            asker.patch(name).await;
        }
        (injector.metric(LOOKUPS).await == before).then_some(())
    };
    until("caches that know the new namespaces", without_asking).await;
    assert_eq!(injector.metric(FAILED).await, 0.0);
}
