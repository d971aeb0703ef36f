//! What happens to the webhook while pods are created all the time.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use crate::harness::{Namespace, Node, PRODUCT, STAY, pod, processes, shell, until};

/// Creations of annotated pods, ten a second. The API server asks the webhook and keeps nothing.
struct Creations {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Vec<Result<bool, String>>>,
}

impl Creations {
    async fn start(namespace: &Namespace<'_>) -> Creations {
        let pods: Api<Pod> = Api::namespaced(namespace.node.cluster.client().await, &namespace.name);
        let made: Pod = serde_json::from_value(pod("web", &[("secrets", "db-password")], json!({"containers": [shell("app", STAY)]}))).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            let mut creations = tokio::task::JoinSet::new();
            let mut answers = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                ticks.tick().await;
                let (pods, made) = (pods.clone(), made.clone());
                creations.spawn(async move {
                    let answer = pods.create(&PostParams { dry_run: true, ..PostParams::default() }, &made).await;
                    answer.map(|pod| pod.spec.is_some_and(|spec| spec.init_containers.is_some())).map_err(|error| error.to_string())
                });
                while let Some(answer) = creations.try_join_next() {
                    answers.push(answer.unwrap());
                }
            }
            answers.extend(creations.join_all().await);
            answers
        });
        Creations { stop, task }
    }

    /// How many there were, and those that failed.
    async fn stop(self) -> (Vec<bool>, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let answers = self.task.await.unwrap();
        let (injected, failed): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        (injected.into_iter().flatten().collect(), failed.into_iter().filter_map(Result::err).collect())
    }

    /// None has failed, and each was injected.
    async fn all_injected(self) {
        let (injected, failed) = self.stop().await;
        assert_eq!(failed, Vec::<String>::new(), "of {}", injected.len());
        assert!(
            injected.len() > 20 && injected.iter().all(|injected| *injected),
            "{} of {}",
            injected.iter().filter(|injected| **injected).count(),
            injected.len()
        );
    }
}

#[tokio::test]
async fn no_creation_fails_while_replicas_are_replaced_and_configured() {
    let node = Node::alone().await;
    let namespace = node.namespace().await;
    let creations = Creations::start(&namespace).await;
    node.product(&["rollout", "restart", "deployment", PRODUCT]).await.ok();
    node.rolled_out().await;
    node.configure("logLevel: debug").await;
    node.rolled_out().await;
    creations.all_injected().await;
    node.configure("").await;
    node.rolled_out().await;
}

#[tokio::test]
async fn a_killed_replica_costs_only_the_reviews_that_it_had() {
    let node = Node::alone().await;
    let namespace = node.namespace().await;
    let creations = Creations::start(&namespace).await;
    let pods: serde_json::Value =
        serde_json::from_str(&node.product(&["get", "pods", "-l", "app.kubernetes.io/name=keyvault-injector", "-o", "json"]).await.ok()).unwrap();
    let victim = pods["items"].as_array().unwrap().iter().find(|pod| pod["metadata"]["deletionTimestamp"].is_null()).unwrap();
    processes::of_container(victim, "webhook")[0].kill();
    let name = victim["metadata"]["name"].as_str().unwrap();
    until("restarted replica", async || {
        let restarts = node
            .product(&["get", "pod", name, "-o", "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}"])
            .await;
        (restarts.stdout == "1 true").then_some(())
    })
    .await;
    let (injected, failed) = creations.stop().await;
    assert!(injected.len() > 5 && failed.len() <= 10, "{} of {}: {failed:?}", failed.len(), injected.len());
    assert!(failed.iter().all(|error| error.contains("inject.keyvault-injector.io")), "{failed:?}");
}

#[tokio::test]
async fn without_replicas_annotated_pods_wait_and_others_do_not() {
    let node = Node::alone().await;
    let namespace = node.namespace().await;
    node.product(&["scale", "deployment", PRODUCT, "--replicas=0"]).await.ok();
    let none = async || {
        let endpoints = node.product(&["get", "endpointslices", "-o", "jsonpath={.items[*].endpoints[?(@.conditions.ready==true)].addresses}"]).await;
        endpoints.stdout.is_empty().then_some(())
    };
    until("Service without endpoints", none).await;
    let mut plain = pod("plain", &[], json!({"containers": [shell("app", STAY)]}));
    plain["metadata"]["annotations"] = json!({});
    namespace.apply(&[plain]).await;
    let refused = namespace.try_to_apply(&[pod("web", &[("secrets", "db-password")], json!({"containers": [shell("app", STAY)]}))]).await;
    assert!(refused.stderr.contains("no endpoints available for service \"keyvault-injector\""), "{refused:?}");
    node.product(&["scale", "deployment", PRODUCT, "--replicas=2"]).await.ok();
    node.rolled_out().await;
    let web = pod("web", &[("secrets", "db-password")], json!({"containers": [shell("app", STAY)]}));
    until("pod that is admitted", async || namespace.try_to_apply(std::slice::from_ref(&web)).await.success.then_some(())).await;
    namespace.ready("web").await;
}

#[tokio::test]
async fn an_installation_goes_and_comes_back_and_blocks_no_pod() {
    let node = Node::alone().await;
    let namespace = node.namespace().await;
    let creations = Creations::start(&namespace).await;
    let mut command = tokio::process::Command::new(keyvault_tests::program("keyvault-injector"));
    command.args(["uninstall", "--yes", "--kubeconfig"]).arg(node.cluster.kubeconfig()).stdin(Stdio::null());
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let (injected, failed) = creations.stop().await;
    assert_eq!(failed, Vec::<String>::new(), "of {}", injected.len());
    assert!(injected.contains(&true) && !injected.last().unwrap(), "{injected:?}");
    until("namespace that has gone", async || (!node.cluster.kubectl(&["get", "namespace", PRODUCT]).await.success).then_some(())).await;
    node.install().await;
    let web = pod("web", &[("secrets", "db-password")], json!({"containers": [shell("app", STAY)]}));
    namespace.apply(&[web]).await;
    assert!(namespace.ready("web").await["spec"]["initContainers"].is_array());
}
