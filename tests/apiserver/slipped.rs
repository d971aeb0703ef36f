//! Pods that were created while nothing injected them: who is told, and who is not.

use serde_json::{Value, json};

use crate::cluster::{Cluster, Injector, Loopback, OPTED_IN, Setup, until};
use crate::installation::{NAME, rights};

const FOUND: &str = "keyvault_injector_uninjected_pods_found_total";
const PRESENT: &str = "keyvault_injector_uninjected_pods";

fn pod(name: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": annotations},
        "spec": {"containers": [{"name": "app", "image": "registry.example/app"}]},
    })
}

fn asking(name: &str) -> Value {
    pod(name, &json!({"keyvault-injector.io/secrets": "db-password"}))
}

async fn create(cluster: &Cluster, namespace: &str, object: &Value) {
    cluster.kubectl_with(&["-n", namespace, "create", "-f", "-"], &object.to_string()).await.ok();
}

/// A Deployment of one pod, and what its ReplicaSet called that pod.
async fn deployment(cluster: &Cluster, namespace: &str) -> (String, String) {
    let template =
        json!({"metadata": {"labels": {"app": "web"}, "annotations": asking("x")["metadata"]["annotations"]}, "spec": asking("x")["spec"]});
    let spec = json!({"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template});
    create(cluster, namespace, &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})).await;
    let pods = ["-n", namespace, "get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].metadata.name}"];
    let name = until("pod of the Deployment", async || Some(cluster.kubectl(&pods).await.ok()).filter(|name| !name.is_empty())).await;
    let sets = ["-n", namespace, "get", "replicasets", "-o", "jsonpath={.items[*].metadata.name}"];
    (name, cluster.kubectl(&sets).await.ok())
}

/// One of each kind that is left out.
async fn left_out(cluster: &Cluster, namespace: &str) {
    let annotated = |name: &str, key: &str, value: &str| {
        let mut pod = asking(name);
        pod["metadata"]["annotations"][key] = json!(value);
        pod
    };
    create(cluster, namespace, &annotated("a-opted-out", "keyvault-injector.io/inject", "false")).await;
    create(cluster, namespace, &annotated("a-marked", "keyvault-injector.io/status", "sha256:1")).await;
    let mut mirror = annotated("a-mirror", "kubernetes.io/config.mirror", "1");
    mirror["spec"]["nodeName"] = json!("node-1");
    create(cluster, namespace, &mirror).await;
    create(cluster, namespace, &pod("a-idle", &json!({"keyvault-injector.io/vault": "team-a"}))).await;
    let mut with_ours = asking("a-with-ours");
    with_ours["spec"]["initContainers"] = json!([{"name": "keyvault-agent", "image": "registry.example/agent"}]);
    create(cluster, namespace, &with_ours).await;
    for phase in ["Succeeded", "Failed"] {
        let name = format!("a-{}", phase.to_lowercase());
        create(cluster, namespace, &asking(&name)).await;
        let status = json!({"status": {"phase": phase}}).to_string();
        cluster.kubectl(&["-n", namespace, "patch", "pod", &name, "--subresource=status", "-p", &status]).await.ok();
    }
    let mut deleting = asking("a-deleting");
    deleting["metadata"]["finalizers"] = json!(["test.example/stay"]);
    create(cluster, namespace, &deleting).await;
    cluster.kubectl(&["-n", namespace, "delete", "pod", "a-deleting", "--wait=false"]).await.ok();
}

/// The pods that Events of ours regard, one name for each Event, in order.
async fn told(cluster: &Cluster, namespace: &str) -> Vec<String> {
    let arguments = ["-n", namespace, "get", "events", "--field-selector", "reason=NotInjected", "-o", "json"];
    let events: Value = serde_json::from_str(&cluster.kubectl(&arguments).await.ok()).unwrap();
    let regarded = |event: &Value| event["involvedObject"]["name"].as_str().unwrap().to_owned();
    let mut names: Vec<String> = events["items"].as_array().unwrap().iter().map(regarded).collect();
    names.sort();
    names
}

/// Examinations are in the order of arrival: once the newest pod is told, all before it have been looked at.
async fn told_up_to(cluster: &Cluster, namespace: &str, newest: &str) -> Vec<String> {
    let wait = async || {
        let told = told(cluster, namespace).await;
        told.iter().any(|name| name == newest).then_some(told)
    };
    until("Event for the newest pod", wait).await
}

/// The one of two who holds the lease, and the other.
async fn holder_first<'r>(one: &'r Injector, two: &'r Injector) -> [&'r Injector; 2] {
    let holds = |replica: &Injector| replica.log().contains("this replica holds the lease");
    until("a holder of the lease", async || [[one, two], [two, one]].into_iter().find(|[first, _]| holds(first))).await
}

async fn shows(injector: &Injector, metric: &str, value: f64) {
    until(&format!("{metric} {value}"), async || (injector.metric(metric).await == value).then_some(())).await;
}

#[tokio::test]
async fn pods_that_slipped_through_are_reported_once_with_any_holder_of_the_lease() {
    let cluster = Cluster::own().await;
    let token = rights(&cluster).await;
    let (label, value) = OPTED_IN;
    cluster.kubectl(&["label", "namespace", NAME, &format!("{label}={value}")]).await.ok();
    let (payments, later) = (cluster.namespace("payments", &[OPTED_IN]).await, cluster.namespace("later", &[]).await);
    left_out(&cluster, &payments).await;
    create(&cluster, NAME, &asking("b-elsewhere")).await;
    create(&cluster, &later, &asking("b-before-the-label")).await;
    create(&cluster, &payments, &asking("b-bare")).await;
    let (of_deployment, set) = deployment(&cluster, &payments).await;

    let loopback = Loopback::new();
    let setup = Setup { token: Some(&token), ..Setup::files(NAME, &loopback) };
    let (first, second) = (Injector::start(&cluster, &setup).await, Injector::start(&cluster, &setup).await);
    let [holder, other] = holder_first(&first, &second).await;
    told_up_to(&cluster, &payments, &of_deployment).await;
    create(&cluster, &payments, &asking("c-while-watched")).await;
    let expected = ["b-bare", "c-while-watched", of_deployment.as_str()];
    assert_eq!(told_up_to(&cluster, &payments, "c-while-watched").await, expected);
    assert!(told(&cluster, NAME).await.is_empty() && told(&cluster, &later).await.is_empty());
    shows(holder, PRESENT, 3.0).await;
    assert_eq!((holder.metric(FOUND).await, other.metric(FOUND).await, other.metric(PRESENT).await), (3.0, 0.0, 0.0));

    let text = cluster.kubectl(&["-n", &payments, "describe", "pod", &of_deployment]).await.ok();
    assert!(text.contains("NotInjected") && text.contains(&format!("Delete the pod: its ReplicaSet {set} creates it again.")), "{text}");
    let text = cluster.kubectl(&["-n", &payments, "get", "events"]).await.ok();
    assert!(text.contains("pod/b-bare") && text.contains("Delete the pod and create it again: no controller does."), "{text}");

    cluster.kubectl(&["label", "namespace", &later, &format!("{label}={value}")]).await.ok();
    assert_eq!(told_up_to(&cluster, &later, "b-before-the-label").await, ["b-before-the-label"]);
    cluster.kubectl(&["-n", &payments, "delete", "pod", "b-bare", "--grace-period=0", "--force"]).await.ok();
    shows(holder, PRESENT, 3.0).await;

    // Killed, it gives nothing back: the other waits until the lease has run out, and knows nothing of what was told.
    holder.signal("KILL");
    create(&cluster, &payments, &asking("d-after-the-end")).await;
    other.line_with("this replica holds the lease").await;
    assert_eq!(told_up_to(&cluster, &payments, "d-after-the-end").await, ["b-bare", "c-while-watched", "d-after-the-end", of_deployment.as_str()]);
    shows(other, PRESENT, 4.0).await;
    assert_eq!(other.metric(FOUND).await, 1.0, "what was told is not found again");
}

#[tokio::test]
async fn a_replica_that_ends_in_good_order_gives_the_lease_back() {
    let cluster = Cluster::shared().await;
    let home = cluster.namespace("lease", &[]).await;
    let loopback = Loopback::new();
    let setup = Setup::files(&home, &loopback);
    let mut first = Injector::start(cluster, &setup).await;
    first.line_with("this replica holds the lease").await;
    first.signal("TERM");
    assert_eq!(first.exit_code().await, Some(0));
    let lease = ["-n", &home, "get", "lease", "keyvault-injector", "-o", "jsonpath={.spec.holderIdentity}/{.spec.leaseTransitions}"];
    assert_eq!(cluster.kubectl(&lease).await.ok(), "/1");
    let second = Injector::start(cluster, &setup).await;
    second.line_with("this replica holds the lease").await;
    assert!(cluster.kubectl(&lease).await.ok().ends_with("/2"));
}
