//! Features that follow the cluster's nodes: Node objects of a real API server, and no kubelet.

use serde_json::{Value, json};

use crate::caches::Asker;
use crate::cluster::{Cluster, Injector, Loopback, OPTED_IN, Setup, until};
use crate::installation::{NAME, rights};

const IDS: &str = "defaults: {vault: team-a, clientId: 11111111-1111-1111-1111-111111111111, tenantId: aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee}\n";
const FEATURES: [&str; 3] = ["envFiles", "imageVolumes", "restartInPlace"];

fn node(name: &str, kubelet: &str, runtime: &str, declared: &[&str]) -> Value {
    let info = json!({
        "kubeletVersion": kubelet, "containerRuntimeVersion": runtime, "architecture": "amd64", "bootID": "x", "kernelVersion": "6.1", "kubeProxyVersion": "",
        "machineID": "x", "operatingSystem": "linux", "osImage": "x", "systemUUID": "x",
    });
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}},
        "status": {"nodeInfo": info, "declaredFeatures": declared},
    })
}

async fn create(cluster: &Cluster, node: &Value) {
    cluster.kubectl_with(&["create", "-f", "-"], &node.to_string()).await.ok();
}

/// Waits until the replica says this of its features, in their order.
async fn answers(injector: &Injector, expected: [f64; 3]) {
    let agree = async || {
        for (feature, expected) in FEATURES.iter().zip(expected) {
            if injector.metric(&format!("keyvault_injector_nodes_can{{feature=\"{feature}\"}}")).await != expected {
                return None;
            }
        }
        Some(())
    };
    until(&format!("answers {expected:?}"), agree).await;
}

fn asking() -> Value {
    json!({
        "keyvault-injector.io/env": "DB=db-password", "keyvault-injector.io/refresh": "5m", "keyvault-injector.io/on-change": "restart",
    })
}

#[tokio::test]
async fn answers_follow_the_nodes_and_the_rights_of_the_base_are_enough() {
    let cluster = Cluster::own().await;
    let token = rights(&cluster).await;
    let payments = cluster.namespace("payments", &[OPTED_IN]).await;
    let loopback = Loopback::new();
    let injector = Injector::start(&cluster, &Setup { token: Some(&token), config: IDS, ..Setup::files(NAME, &loopback) }).await;
    injector.ready().await;
    let asker = Asker::new(&injector, &loopback);
    let denial = async || {
        let answer = asker.ask_for(&payments, &asking()).await;
        assert_eq!(answer["allowed"], false, "{answer:#}");
        answer["status"]["message"].as_str().unwrap().to_owned()
    };
    answers(&injector, [0.0; 3]).await;
    assert!(denial().await.contains("and the cluster has no schedulable Linux node: "), "{}", denial().await);

    create(&cluster, &node("new", "v1.36.3", "containerd://2.2.9", &["RestartAllContainersOnContainerExits"])).await;
    answers(&injector, [1.0; 3]).await;
    let line = injector.line_with("every node can do what a feature needs").await;
    assert_eq!((line["answer"].as_str(), line["level"].as_str()), (Some("yes"), Some("INFO")), "{line}");
    assert_eq!(asker.ask_for(&payments, &asking()).await["allowed"], true);

    create(&cluster, &node("a-older", "v1.34.2", "containerd://1.7.27", &[])).await;
    answers(&injector, [0.0; 3]).await;
    let text = denial().await;
    assert!(text.contains("node a-older runs kubelet v1.34.2, and variables from files need 1.35 or later: write the image's entry point"), "{text}");
    assert!(text.contains("or ask the operator to upgrade or cordon node a-older, "), "{text}");
    assert!(text.contains("node a-older runs kubelet v1.34.2 and does not declare the feature RestartAllContainersOnContainerExits"), "{text}");

    cluster.kubectl(&["cordon", "a-older"]).await.ok();
    answers(&injector, [1.0; 3]).await;
    cluster.kubectl(&["uncordon", "a-older"]).await.ok();
    answers(&injector, [0.0; 3]).await;
    cluster.kubectl(&["label", "--overwrite", "node", "a-older", "kubernetes.io/os=windows"]).await.ok();
    answers(&injector, [1.0; 3]).await;
    create(&cluster, &node("b-older", "v1.35.0-eks-113cf36", "cri-o://1.32.1", &[])).await;
    answers(&injector, [1.0, 0.0, 0.0]).await;
    cluster.kubectl(&["delete", "node", "b-older"]).await.ok();
    answers(&injector, [1.0; 3]).await;

    // Another replica, by whose time everything has been there before.
    let second = Injector::start(&cluster, &Setup { token: Some(&token), config: IDS, ..Setup::files(NAME, &loopback) }).await;
    second.ready().await;
    answers(&second, [1.0; 3]).await;
    for log in [injector.log(), second.log()] {
        assert!(!log.contains("\"WARN\"") && !log.contains("\"ERROR\""), "{log}");
    }
}

#[tokio::test]
async fn the_api_server_takes_variables_from_files_and_the_rule_that_restarts_all_containers() {
    let cluster = Cluster::own().await;
    create(&cluster, &node("new", "v1.36.3", "containerd://2.2.9", &["RestartAllContainersOnContainerExits"])).await;
    let payments = cluster.namespace("payments", &[OPTED_IN]).await;
    let loopback = Loopback::new();
    let injector = Injector::start(&cluster, &Setup { config: IDS, ..Setup::files(&payments, &loopback) }).await;
    injector.ready().await;
    cluster.register(&payments, &injector, &loopback).await;
    let containers =
        json!([{"name": "app", "image": "registry.example/app"}, {"name": "second", "image": "registry.example/app", "command": ["/app"]}]);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "annotations": asking()}, "spec": {"containers": containers}});
    let create = ["-n", &payments, "create", "--dry-run=server", "-o", "json", "-f", "-"];
    let injected = async || {
        let made: Value = serde_json::from_str(&cluster.kubectl_with(&create, &pod.to_string()).await.ok()).unwrap();
        made["spec"]["initContainers"].is_array().then_some(made)
    };
    let made = until("an injected pod", injected).await;
    let rule = json!([{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [80]}}]);
    assert_eq!(made["spec"]["initContainers"][0]["restartPolicyRules"], rule, "{made:#}");
    assert_eq!(made["spec"]["containers"][0]["env"][0]["valueFrom"]["fileKeyRef"]["key"], "DB", "{made:#}");
    assert_eq!(made["spec"]["containers"][1]["command"], json!(["/keyvault-injector/bin/keyvault-agent", "exec", "--", "/app"]), "{made:#}");
    let program = made["spec"]["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "keyvault-program").unwrap();
    assert_eq!(program["image"]["reference"], "registry.example/keyvault-injector:0.1.0", "{program}");

    // As stored, and reviewed again by a replica that sees other nodes: nothing changes.
    cluster.kubectl(&["delete", "node", "new"]).await.ok();
    answers(&injector, [0.0; 3]).await;
    let mut again = made.clone();
    for given in ["uid", "creationTimestamp", "resourceVersion", "managedFields", "generation"] {
        again["metadata"].as_object_mut().unwrap().remove(given);
    }
    let kept: Value = serde_json::from_str(&cluster.kubectl_with(&create, &again.to_string()).await.ok()).unwrap();
    assert_eq!((&kept["spec"], &kept["metadata"]["annotations"]), (&made["spec"], &made["metadata"]["annotations"]));
}
