//! An installation goes without blocking a pod; and until it goes, only annotated pods of opted-in namespaces meet it.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::cluster::{Cluster, Injector, Loopback, OPTED_IN, Setup, until};
use crate::installation::{NAME, REGISTRATION, dry_run, manifests, object, pod};

/// What an uninstall wrote, and whether it was content.
struct Uninstalled {
    success: bool,
    lines: Vec<String>,
    error: String,
}

async fn uninstall(kubeconfig: &Path, arguments: &[&str]) -> Uninstalled {
    let mut command = Command::new(keyvault_tests::program("keyvault-injector"));
    command.arg("uninstall").args(arguments).env("KUBECONFIG", kubeconfig).env_remove("KUBERNETES_SERVICE_HOST").stdin(Stdio::null());
    let output = command.output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let lines = text(&output.stdout).lines().map(str::to_owned).collect();
    Uninstalled { success: output.status.success(), lines, error: text(&output.stderr) }
}

/// A pod that is injected.
fn annotated() -> Value {
    let key = |name: &str| format!("keyvault-injector.io/{name}");
    pod(json!({
        key("vault"): "team-a", key("secrets"): "db-password",
        key("client-id"): "11111111-1111-1111-1111-111111111111", key("tenant-id"): "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    }))
}

/// The base, its registration led to a process by URL: there is no network for Services here.
async fn install(cluster: &Cluster, injector: &Injector, loopback: &Loopback, opted_in: &str) {
    cluster.kubectl(&["apply", "-k", &manifests("base")]).await.ok();
    let client = json!({"url": format!("https://{}/mutate", injector.https), "caBundle": STANDARD.encode(&loopback.ca)});
    let patch = json!([{"op": "replace", "path": "/webhooks/0/clientConfig", "value": client}]).to_string();
    cluster.kubectl(&["patch", "mutatingwebhookconfiguration", REGISTRATION, "--type=json", "-p", &patch]).await.ok();
    let reached = async || {
        dry_run(cluster, opted_in, &annotated()).await.ok();
        (reviews(injector).await > 0).then_some(())
    };
    until("registration that the API server follows", reached).await;
}

/// How many reviews it has answered, whatever the answer.
async fn reviews(injector: &Injector) -> u64 {
    let (_, text) = injector.get("/metrics").await.unwrap();
    let lines = text.lines().filter(|line| line.starts_with("keyvault_injector_reviews_total"));
    lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

#[tokio::test]
async fn only_annotated_pods_of_opted_in_namespaces_reach_the_webhook() {
    let cluster = Cluster::own().await;
    let opted_in = cluster.namespace("opted-in", &[OPTED_IN]).await;
    let loopback = Loopback::new();
    let injector = Injector::start(&cluster, &Setup::files(&opted_in, &loopback)).await;
    injector.ready().await;
    install(&cluster, &injector, &loopback, &opted_in).await;
    let other = cluster.namespace("other", &[]).await;
    let typo = cluster.namespace("typo", &[(OPTED_IN.0, "true")]).await;
    // Never asked about, whatever label they carry.
    for namespace in [NAME, "kube-system"] {
        cluster.kubectl(&["label", "namespace", namespace, &format!("{}={}", OPTED_IN.0, OPTED_IN.1)]).await.ok();
    }
    let before = reviews(&injector).await;
    let foreign = pod(json!({"example.com/secrets": "db-password", "keyvault-injector.io.example.com/secrets": "a"}));
    for (namespace, pod) in [
        (other.as_str(), annotated()),
        (&typo, annotated()),
        ("kube-system", annotated()),
        (&opted_in, pod(json!({}))),
        (&opted_in, pod(Value::Null)),
        (&opted_in, foreign),
    ] {
        let made = dry_run(&cluster, namespace, &pod).await;
        assert!(made.success, "{namespace} {pod}: {made:?}");
    }
    // Pod Security refuses this one, after mutation: the webhook would have been asked before.
    let made = dry_run(&cluster, NAME, &annotated()).await;
    assert!(made.stderr.contains("violates PodSecurity \"restricted:latest\""), "{made:?}");
    assert_eq!(reviews(&injector).await, before);

    let made = dry_run(&cluster, &opted_in, &annotated()).await;
    assert_eq!((made.success, made.stderr.contains("have no effect")), (true, false), "{made:?}");
    assert!(reviews(&injector).await > before, "and those do reach it");
}

/// Makes annotated pods, one after the other, until it is told to stop.
async fn create_all_the_time(cluster: &Cluster, namespace: &str, stop: &AtomicBool) -> Vec<Result<Pod, kube::Error>> {
    let pods: Api<Pod> = Api::namespaced(cluster.client().await, namespace);
    let mut pod = annotated();
    pod["metadata"]["name"] = Value::Null;
    pod["metadata"]["generateName"] = json!("web-");
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let mut made = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        made.push(pods.create(&PostParams::default(), &pod).await);
    }
    made
}

/// Worse than what a kubelet does to replicas whose Deployment is gone: no drain, so that every further call is refused.
async fn stop_with_the_deployment(cluster: &Cluster, injector: &mut Injector) {
    let gone = async || (!cluster.kubectl(&["-n", NAME, "get", "deployment", NAME]).await.success).then_some(());
    until("end of the Deployment", gone).await;
    injector.signal("KILL");
    assert_eq!(injector.exit_code().await, None);
}

#[tokio::test]
async fn no_pod_is_blocked_while_an_installation_is_removed() {
    let cluster = Cluster::own().await;
    let namespace = cluster.namespace("opted-in", &[OPTED_IN]).await;
    let loopback = Loopback::new();
    let mut injector = Injector::start(&cluster, &Setup::files(&namespace, &loopback)).await;
    injector.ready().await;
    install(&cluster, &injector, &loopback, &namespace).await;

    let (stop, kubeconfig) = (AtomicBool::new(false), cluster.kubeconfig());
    let uninstalling = async {
        until("creations under way", async || (reviews(&injector).await > 20).then_some(())).await;
        let (uninstalled, ()) = tokio::join!(uninstall(&kubeconfig, &[]), stop_with_the_deployment(&cluster, &mut injector));
        stop.store(true, Ordering::Relaxed);
        uninstalled
    };
    let (made, uninstalled) = tokio::join!(create_all_the_time(&cluster, &namespace, &stop), uninstalling);
    assert!(uninstalled.success, "{}", uninstalled.error);

    let pods: Vec<Pod> = made.into_iter().map(|made| made.expect("a pod is created at any time")).collect();
    let injected: Vec<bool> = pods.iter().map(|pod| pod.spec.as_ref().unwrap().init_containers.is_some()).collect();
    assert_eq!((injected.first(), injected.last()), (Some(&true), Some(&false)));
    // From one moment on, and for good.
    assert!(injected.is_sorted_by(|earlier, later| earlier >= later), "{injected:?}");
    let last = uninstalled.lines.last().unwrap();
    assert_eq!(
        last,
        &format!("Still labelled {}={}; to take the label off: kubectl label namespace {namespace} {}-", OPTED_IN.0, OPTED_IN.1, OPTED_IN.0)
    );
    assert_eq!(object(&cluster, "namespace", &namespace).await["metadata"]["labels"][OPTED_IN.0], OPTED_IN.1, "users' namespaces stay as they are");
}

#[tokio::test]
async fn a_replica_whose_registration_is_gone_ends_without_a_drain() {
    let cluster = Cluster::own().await;
    let namespace = cluster.namespace("opted-in", &[OPTED_IN]).await;
    let loopback = Loopback::new();
    let mut injector = Injector::start(&cluster, &Setup { server: "  drainDelay: 10m\n", ..Setup::files(&namespace, &loopback) }).await;
    injector.ready().await;
    // The API server keeps the connection of the last review.
    install(&cluster, &injector, &loopback, &namespace).await;
    let uninstalled = uninstall(&cluster.kubeconfig(), &[]).await;
    assert!(uninstalled.success, "{}", uninstalled.error);
    let stopped = Instant::now();
    injector.signal("TERM");
    assert_eq!(injector.exit_code().await, Some(0), "{}", injector.log());
    assert!(stopped.elapsed() < Duration::from_secs(10), "{:?}\n{}", stopped.elapsed(), injector.log());
}

/// All objects of the base, as uninstalling names them.
fn objects_of_the_base() -> Vec<String> {
    let mut objects = Vec::new();
    for entry in std::fs::read_dir(manifests("base")).unwrap() {
        let documents: Vec<Value> = serde_saphyr::from_multiple(&std::fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        objects.extend(
            documents.iter().filter_map(|object| Some(format!("{}/{}", text(&object["kind"])?.to_lowercase(), text(&object["metadata"]["name"])?))),
        );
    }
    objects
}

#[tokio::test]
async fn uninstalling_ends_what_a_webhook_that_is_gone_blocks_and_leaves_nothing_of_the_installation() {
    let cluster = Cluster::own().await;
    let namespace = cluster.namespace("opted-in", &[OPTED_IN]).await;
    cluster.kubectl(&["apply", "-k", &manifests("base")]).await.ok();
    let blocked = async || dry_run(&cluster, &namespace, &annotated()).await.stderr.contains("failed calling webhook").then_some(());
    until("pod that waits for a webhook in vain", blocked).await;

    let folder = tempfile::tempdir().unwrap();
    let token = cluster.kubectl(&["-n", &namespace, "create", "token", "default"]).await.ok();
    let nobody = cluster.kubeconfig_for(folder.path(), "default", Some(token.trim()));
    let refused = uninstall(&nobody, &[]).await;
    assert_eq!((refused.success, refused.lines.len()), (false, 0), "{:?}", refused.lines);
    assert!(refused.error.starts_with(&format!("error: mutatingwebhookconfiguration/{REGISTRATION}: ")), "{}", refused.error);
    assert!(refused.error.contains("cannot get resource") && refused.error.contains("a cluster administrator"), "{}", refused.error);
    object(&cluster, "deployment", NAME).await;

    let started = Instant::now();
    let uninstalled = uninstall(&cluster.kubeconfig(), &[]).await;
    assert!(uninstalled.success, "{}", uninstalled.error);
    assert!(started.elapsed() >= Duration::from_secs(5), "other API servers need a moment to hear of it");
    let made = dry_run(&cluster, &namespace, &annotated()).await;
    assert!(made.success, "{made:?}");
    assert_eq!(uninstalled.lines[0], place(&cluster), "{:?}", uninstalled.lines);
    let first = uninstalled.lines.iter().position(|line| line.ends_with(" deleted")).unwrap();
    assert_eq!(uninstalled.lines[first], format!("mutatingwebhookconfiguration/{REGISTRATION} deleted"));
    assert!(uninstalled.lines[first + 1].starts_with("waiting 5s"), "{:?}", uninstalled.lines);
    for object in objects_of_the_base() {
        assert!(uninstalled.lines[..first].contains(&format!("to remove: {object}")), "{object} is not shown: {:?}", uninstalled.lines);
        assert!(uninstalled.lines.contains(&format!("{object} deleted")), "{object} is left over: {:?}", uninstalled.lines);
    }
    let deleted = uninstalled.lines.iter().rposition(|line| line.ends_with(" deleted")).unwrap();
    assert_eq!(uninstalled.lines[deleted], format!("namespace/{NAME} deleted"), "the last");
    assert!(!cluster.kubectl(&["get", "namespace", NAME]).await.success, "an installation may follow at once");

    let again = uninstall(&cluster.kubeconfig(), &[]).await;
    assert!(again.success, "{}", again.error);
    assert_eq!(again.lines.iter().filter(|line| line.ends_with(" deleted")).count(), 0, "{:?}", again.lines);
    assert_eq!(again.lines[1], "nothing of an installation is there");

    let elsewhere = uninstall(&cluster.kubeconfig(), &["--namespace", &namespace]).await;
    let stays = format!(
        "namespace/{namespace} stays: it does not carry the annotation installation.keyvault-injector.io/created-by, so the manifests did not create it"
    );
    assert!(elsewhere.lines.contains(&stays), "{:?}", elsewhere.lines);
}

/// The first line of an uninstall.
fn place(cluster: &Cluster) -> String {
    let kubeconfig = kube::config::Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    format!("cluster {} (context {})", cluster.url(), kubeconfig.current_context.unwrap())
}

#[tokio::test]
async fn what_uninstalling_did_not_create_stays_and_is_named() {
    let cluster = Cluster::own().await;
    cluster.kubectl(&["apply", "-k", &manifests("base")]).await.ok();
    cluster.kubectl(&["-n", NAME, "create", "configmap", "mine"]).await.ok();
    cluster.kubectl(&["-n", NAME, "label", "networkpolicy", NAME, "app.kubernetes.io/part-of-"]).await.ok();
    let policy = "networkpolicy/keyvault-injector stays: it does not carry the label app.kubernetes.io/part-of=keyvault-injector of an installation";
    let inhabited = "namespace/keyvault-injector stays: it also holds configmap/mine, networkpolicy/keyvault-injector";

    let shown = uninstall(&cluster.kubeconfig(), &["--dry-run"]).await;
    assert!(shown.success, "{}", shown.error);
    assert_eq!(shown.lines[..2], [place(&cluster), format!("to remove: mutatingwebhookconfiguration/{REGISTRATION}")]);
    assert!(!shown.lines.contains(&format!("to remove: namespace/{NAME}")), "{:?}", shown.lines);
    assert_eq!(shown.lines[shown.lines.len() - 2..], [policy, inhabited]);
    object(&cluster, "mutatingwebhookconfiguration", REGISTRATION).await;
    object(&cluster, "deployment", NAME).await;

    let nowhere = uninstall(&cluster.kubeconfig(), &["--context", "production", "--yes"]).await;
    assert_eq!((nowhere.success, nowhere.error.as_str()), (false, "error: kubeconfig: failed to load current context: production\n"));

    let uninstalled = uninstall(Path::new("/nonexistent"), &["--kubeconfig", cluster.kubeconfig().to_str().unwrap(), "--yes"]).await;
    assert!(uninstalled.success, "{}", uninstalled.error);
    assert!(uninstalled.lines.contains(&format!("deployment/{NAME} deleted")), "{:?}", uninstalled.lines);
    assert_eq!(uninstalled.lines.iter().filter(|line| *line == policy || *line == inhabited).count(), 4, "before and after: {:?}", uninstalled.lines);
    object(&cluster, "configmap", "mine").await;
    object(&cluster, "networkpolicy", NAME).await;
    assert_eq!(object(&cluster, "namespace", NAME).await["metadata"].get("deletionTimestamp"), None);
}
