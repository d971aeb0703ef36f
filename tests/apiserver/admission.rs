//! What the API server makes of our answers.

use serde_json::{Value, json};

use crate::cluster::{Cluster, Injector, Loopback, OPTED_IN, Setup, until};

/// A pod that passes `restricted` and asks for one secret.
fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "annotations": {
            "keyvault-injector.io/vault": "team-a",
            "keyvault-injector.io/secrets": "db-password",
            "keyvault-injector.io/client-id": "11111111-1111-1111-1111-111111111111",
            "keyvault-injector.io/tenant-id": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        }},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "app", "image": "registry.example/app",
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
}

#[tokio::test]
async fn an_annotated_pod_comes_back_injected() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("admission", &[OPTED_IN, ("pod-security.kubernetes.io/enforce", "restricted")]).await;
    let loopback = Loopback::new();
    let injector = Injector::start(cluster, &Setup::files(&namespace, &loopback)).await;
    injector.ready().await;
    cluster.register(&namespace, &injector, &loopback).await;
    let create = async || {
        let made = cluster.kubectl_with(&["-n", &namespace, "create", "--dry-run=server", "-o", "json", "-f", "-"], &pod("web").to_string()).await;
        let made: Value = serde_json::from_str(&made.ok()).unwrap();
        made["spec"]["initContainers"].is_array().then_some(made)
    };
    let made = until("injected pod", create).await;
    assert_eq!(made["spec"]["initContainers"][0]["name"], "keyvault-agent", "{made:#}");
}
