//! An installation that goes, comes back, and changes its overlay, while pods are created all the time.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::creations::{Creations, annotated, plain};
use crate::harness::{Namespace, Node, PRODUCT, condition, until};

/// A stopping replica would drain for 115 s if it did not see that nobody asks any more.
const DRAIN: Duration = Duration::from_secs(100);

#[tokio::test]
async fn an_installation_goes_and_comes_back_at_once_and_blocks_no_pod() {
    let node = Node::alone().await;
    let namespace = node.namespace().await;
    let others = Creations::start(&namespace, plain()).await;
    let creations = Creations::start(&namespace, annotated()).await;
    let started = Instant::now();
    let mut command = tokio::process::Command::new(keyvault_tests::program("keyvault-injector"));
    command.args(["uninstall", "--yes", "--kubeconfig"]).arg(node.cluster.kubeconfig()).stdin(Stdio::null());
    let output = command.output().await.unwrap();
    let took = started.elapsed();
    assert!(output.status.success(), "{output:?}");
    assert!(took < DRAIN, "uninstalling took {took:?}");
    // Of those that begin now none is injected.
    creations.more(10).await;
    let injected: Vec<bool> = creations.none_failed().await.into_values().collect();
    assert!(injected.is_sorted_by(|earlier, later| earlier >= later) && injected[0] && !injected[injected.len() - 1], "{injected:?}");

    node.install().await;
    Creations::start(&namespace, annotated()).await.all_injected().await;
    assert!(others.none_failed().await.into_values().all(|injected| !injected));
    namespace.apply(&[annotated()]).await;
    assert!(namespace.ready("web").await["spec"]["initContainers"].is_array());
}

#[tokio::test]
async fn an_installation_changes_to_host_ports_and_back_and_no_creation_fails() {
    let node = Node::alone().await;
    let namespace = node.namespace().await;
    let creations = Creations::start(&namespace, annotated()).await;
    let overlay = |name: &str| format!("{}/manifests/{name}", keyvault_tests::REPOSITORY);
    // There is one node, and so one replica: its ports are taken.
    node.cluster.kubectl(&["apply", "-k", &overlay("overlays/hostnetwork")]).await.ok();
    let on_host = |replica: &Value| replica["spec"]["hostNetwork"] == true;
    until("replica on the host's network alone", async || {
        let replicas = node.replicas().await;
        (replicas.iter().any(|replica| on_host(replica) && condition(replica, "Ready")) && replicas.iter().all(on_host)).then_some(())
    })
    .await;
    creations.more(20).await;
    node.cluster.kubectl(&["apply", "-k", &overlay("base")]).await.ok();
    node.rolled_out().await;
    assert!(!node.replicas().await.iter().any(on_host));
    creations.more(20).await;
    creations.all_injected().await;
    node.configured("", "", "image").await;
    on_the_pods_network(&namespace).await;
}

/// The change back is whole: what is admitted runs.
async fn on_the_pods_network(namespace: &Namespace<'_>) {
    assert_eq!(namespace.node.replicas().await.len(), 2, "{PRODUCT}");
    namespace.apply(&[annotated()]).await;
    namespace.ready("web").await;
}
