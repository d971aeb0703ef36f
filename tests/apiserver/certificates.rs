//! Certificates with lifetimes of seconds: made, renewed and repaired by real replicas, while reviews go on all the time.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, Injector, Loopback, OPTED_IN, Setup, registration, until};

const SECRET: &str = "keyvault-injector-tls";
/// Everything happens within seconds.
const QUICK: &str = "{selfManaged: {leafLifetime: 10s, caLifetime: 30s, names: [127.0.0.1]}}";
const USUAL: &str = "{selfManaged: {names: [127.0.0.1]}}";

/// One address for several replicas, as a Service is: each connection goes to the next one.
pub(crate) struct Balancer {
    pub(crate) address: String,
    replicas: Arc<Mutex<Vec<SocketAddr>>>,
    accepting: JoinHandle<()>,
}

impl Balancer {
    pub(crate) async fn start() -> Balancer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let replicas: Arc<Mutex<Vec<SocketAddr>>> = Arc::default();
        let of = Arc::clone(&replicas);
        let accepting = tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let next = {
                    let mut replicas = of.lock().unwrap();
                    if replicas.is_empty() {
                        continue;
                    }
                    replicas.rotate_left(1);
                    replicas[0]
                };
                tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(next).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Balancer { address, replicas, accepting }
    }

    pub(crate) fn to(&self, injectors: &[&Injector]) {
        *self.replicas.lock().unwrap() = injectors.iter().map(|injector| injector.https.parse().unwrap()).collect();
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A registration of two entries for the pods of one namespace; without `caBundle`.
fn two_entries(name: &str, namespace: &str, address: &str) -> Value {
    let mut both = registration(name, namespace, address, None);
    let mut second = both["webhooks"][0].clone();
    second["name"] = json!("second.keyvault-injector.io");
    both["webhooks"].as_array_mut().unwrap().push(second);
    both
}

/// A namespace, a name for the registration, and how a replica is set up for both.
struct Place {
    cluster: &'static Cluster,
    client: Client,
    namespace: String,
    name: String,
    server: String,
}

impl Place {
    async fn new(prefix: &str) -> Place {
        let cluster = Cluster::shared().await;
        let (namespace, name) = (cluster.namespace(prefix, &[OPTED_IN]).await, cluster.name("zz-certificates"));
        Place { cluster, client: cluster.client().await, namespace, server: format!("  registration: {name}\n"), name }
    }

    async fn replica(&self, tls: &str) -> Injector {
        Injector::start(
            self.cluster,
            &Setup { namespace: &self.namespace, tls, loopback: None, agent: "", config: "", server: &self.server, token: None },
        )
        .await
    }

    fn registrations(&self) -> Api<MutatingWebhookConfiguration> {
        Api::all(self.client.clone())
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn secret(&self) -> Option<Secret> {
        self.secrets().get_opt(SECRET).await.unwrap()
    }

    async fn text(&self, key: &str) -> String {
        let secret = self.secret().await.expect("the Secret");
        secret.data.unwrap_or_default().get(key).map(|bytes| String::from_utf8(bytes.0.clone()).unwrap()).unwrap_or_default()
    }

    async fn bundles(&self) -> Vec<String> {
        let registration = self.registrations().get(&self.name).await.unwrap();
        let bundle =
            |client: k8s_openapi::api::admissionregistration::v1::WebhookClientConfig| client.ca_bundle.map(|bytes| bytes.0).unwrap_or_default();
        registration.webhooks.into_iter().flatten().map(|webhook| String::from_utf8(bundle(webhook.client_config)).unwrap()).collect()
    }

    async fn set_bundles(&self, bundle: &str) {
        use base64::Engine;
        let bundle = base64::engine::general_purpose::STANDARD.encode(bundle);
        let count = self.bundles().await.len();
        let set = |index: usize| json!({"op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": bundle});
        let patch = serde_json::from_value(json!((0..count).map(set).collect::<Vec<_>>())).unwrap();
        self.registrations().patch(&self.name, &PatchParams::default(), &Patch::Json::<()>(patch)).await.unwrap();
    }

    /// Creates a pod, in a dry run, that two reviews stand before.
    async fn review(client: &Client, namespace: &str) -> Result<(), String> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"generateName": "reviewed-", "annotations": {"keyvault-injector.io/inject": "false"}},
            "spec": {"containers": [{"name": "app", "image": "app"}]},
        }))
        .unwrap();
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        Api::<Pod>::namespaced(client.clone(), namespace).create(&dry, &pod).await.map(drop).map_err(|error| error.to_string())
    }

    /// Reviews without a pause until told to stop.
    fn reviews(&self) -> Reviews {
        let (stop, count, failures) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (client, namespace) = (self.client.clone(), self.namespace.clone());
        let (stopped, counted, failed) = (Arc::clone(&stop), Arc::clone(&count), Arc::clone(&failures));
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                if let Err(error) = Place::review(&client, &namespace).await {
                    failed.lock().unwrap().push(error);
                }
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        Reviews { stop, count, failures, task }
    }
}

struct Reviews {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Reviews {
    async fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        (self.count.load(Ordering::Relaxed), self.failures.lock().unwrap().clone())
    }
}

fn count_in(log: &str, message: &str) -> usize {
    log.lines().filter(|line| line.contains(message)).count()
}

const PROMOTED: &str = "it signs from now on";

#[tokio::test]
async fn rotations_of_leaves_and_cas_fail_no_review() {
    let place = Place::new("rotations").await;
    let balancer = Balancer::start().await;
    place.cluster.create_registration(&two_entries(&place.name, &place.namespace, &balancer.address)).await;
    let (one, two) = tokio::join!(place.replica(QUICK), place.replica(QUICK));
    one.ready().await;
    two.ready().await;
    balancer.to(&[&one, &two]);
    until("first review", async || Place::review(&place.client, &place.namespace).await.ok()).await;

    let reviews = place.reviews();
    let both = |message: &str| count_in(&one.log(), message) + count_in(&two.log(), message);
    until("three CAs and what they sign", async || (both(PROMOTED) >= 2 && both("was dropped") >= 1).then_some(())).await;
    let renewed = both("a new serving certificate was made");
    let (count, failures) = reviews.end().await;
    println!("{count} pods with two reviews each, {renewed} leaves, {} CAs", both(PROMOTED) + 1);
    assert_eq!(failures, Vec::<String>::new(), "of {count}\n{}\n{}", one.log(), two.log());
    assert!(count >= 100 && renewed >= 5, "{count} reviews, {renewed} leaves");
    for log in [one.log(), two.log()] {
        assert!(count_in(&log, "a new certificate serves") >= 3 && !log.contains("PRIVATE") && !log.contains("before its time"), "{log}");
    }
}

#[tokio::test]
async fn replicas_that_start_at_once_end_with_one_ca() {
    let place = Place::new("at-once").await;
    place.cluster.create_registration(&two_entries(&place.name, &place.namespace, "127.0.0.1:1")).await;
    let (one, two, three) = tokio::join!(place.replica(USUAL), place.replica(USUAL), place.replica(USUAL));
    for replica in [&one, &two, &three] {
        replica.ready().await;
    }
    let ca = place.text("ca.crt").await;
    assert_eq!(ca.matches("BEGIN CERTIFICATE").count(), 1, "{ca}");
    assert_eq!(place.bundles().await, [ca.clone(), ca]);
    let logs = format!("{}{}{}", one.log(), two.log(), three.log());
    assert_eq!(count_in(&logs, "a new CA was made"), 1, "{logs}");
    assert_eq!(count_in(&logs, "caBundle of the registration was set"), 1, "{logs}");
}

#[tokio::test]
async fn bundles_overwritten_by_hand_are_repaired_and_nothing_else_is_touched() {
    let place = Place::new("overwritten").await;
    place.cluster.create_registration(&two_entries(&place.name, &place.namespace, "127.0.0.1:1")).await;
    let replica = place.replica(USUAL).await;
    replica.ready().await;
    let right = place.bundles().await;
    let bare = |mut registration: MutatingWebhookConfiguration| {
        registration.metadata.managed_fields = None;
        registration.metadata.resource_version = None;
        registration.metadata.generation = None;
        registration
    };
    let before = bare(place.registrations().get(&place.name).await.unwrap());
    for bundle in [Loopback::new().ca, String::new()] {
        place.set_bundles(&bundle).await;
        let started = std::time::Instant::now();
        until("repair", async || (place.bundles().await == right).then_some(())).await;
        println!("repaired after {:?}", started.elapsed());
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
    assert_eq!(bare(place.registrations().get(&place.name).await.unwrap()), before);
    assert!((3.0..=4.0).contains(&replica.metric("keyvault_injector_ca_bundle_repairs_total").await));
    assert_eq!(replica.get("/ready").await.unwrap().0, 200, "readiness never comes back to what it waited for");
}

#[tokio::test]
async fn to_delete_the_secret_is_to_ask_for_another_ca() {
    let place = Place::new("deleted").await;
    let balancer = Balancer::start().await;
    place.cluster.create_registration(&two_entries(&place.name, &place.namespace, &balancer.address)).await;
    let (one, two) = tokio::join!(place.replica(USUAL), place.replica(USUAL));
    one.ready().await;
    two.ready().await;
    balancer.to(&[&one, &two]);
    until("first review", async || Place::review(&place.client, &place.namespace).await.ok()).await;
    let old = place.text("ca.crt").await;
    let reviews = place.reviews();
    place.secrets().delete(SECRET, &DeleteParams::default()).await.unwrap();
    one.line_with("a new certificate serves").await;
    two.line_with("a new certificate serves").await;
    let (count, failures) = reviews.end().await;
    assert_eq!(failures, Vec::<String>::new(), "of {count}\n{}\n{}", one.log(), two.log());
    let new = place.text("ca.crt").await;
    assert!(new.ends_with(&old) && new.matches("BEGIN CERTIFICATE").count() == 2, "the old CA stays until its last leaf has expired: {new}");
    assert_eq!(place.bundles().await, [new.clone(), new]);
}

#[tokio::test]
async fn a_renewed_pair_in_files_waits_for_the_bundle_that_others_inject() {
    let place = Place::new("injected").await;
    let (first, second) = (Loopback::new(), Loopback::new());
    let mut one_entry = registration(&place.name, &place.namespace, "127.0.0.1:1", None);
    one_entry["metadata"]["annotations"] = json!({"cert-manager.io/inject-ca-from": "x/y"});
    place.cluster.create_registration(&one_entry).await;
    let setup = Setup { server: &place.server, ..Setup::files(&place.namespace, &first) };
    let replica = Injector::start(place.cluster, &setup).await;
    let waits = async |part: &str| {
        until("reason to wait", async || replica.get("/ready").await.filter(|(code, text)| *code == 503 && text.contains(part))).await
    };
    let name = &place.name;
    let (_, text) = waits("no certificate that is valid now").await;
    assert_eq!(
        text,
        format!(
            "the serving certificate is not trusted yet: MutatingWebhookConfiguration {name}: caBundle of webhook \"inject.keyvault-injector.io\" does not \
             verify the certificate for 127.0.0.1: it holds no certificate that is valid now\n"
        )
    );
    place.set_bundles(&second.ca).await;
    waits("no certificate in it has signed ours").await;
    place.set_bundles(&first.ca).await;
    replica.ready().await;

    std::fs::write(replica.file("tls.crt"), &second.certificate).unwrap();
    std::fs::write(replica.file("tls.key"), &second.key).unwrap();
    place.set_bundles(&format!("{0}{0}", first.ca)).await;
    replica.line_with("a new certificate waits").await;
    assert_eq!(count_in(&replica.log(), "a new certificate serves"), 0);
    place.set_bundles(&format!("{}{}", first.ca, second.ca)).await;
    replica.line_with("a new certificate serves").await;
    assert_eq!(place.bundles().await, [format!("{}{}", first.ca, second.ca)], "what others inject is theirs");
    assert!(!replica.log().contains("cert-manager sets caBundle here too"));
}

#[tokio::test]
async fn who_else_sets_the_bundle_is_named_with_both_remedies() {
    let place = Place::new("two-masters").await;
    let mut annotated = two_entries(&place.name, &place.namespace, "127.0.0.1:1");
    annotated["metadata"]["annotations"] = json!({"cert-manager.io/inject-ca-from": "x/y"});
    place.cluster.create_registration(&annotated).await;
    let replica = place.replica(USUAL).await;
    let line = replica.line_with("cert-manager sets caBundle here too").await;
    assert_eq!(line["level"], "WARN");
    assert!(
        line["message"]
            .as_str()
            .unwrap()
            .contains("remove the annotation cert-manager.io/inject-ca-from, or serve cert-manager's certificate with server.tls")
    );
}

#[tokio::test]
async fn with_a_client_ca_only_an_api_server_that_presents_its_certificate_is_answered() {
    let cluster = Cluster::shared().await;
    let (loopback, stranger) = (Loopback::new(), Loopback::new());
    let trusting = async |ca: &std::path::Path| {
        let server = format!("  clientCaFile: {}\n", ca.display());
        let injector = Injector::start(cluster, &Setup { server: &server, ..Setup::files("default", &loopback) }).await;
        let namespace = cluster.namespace("client-certificate", &[OPTED_IN]).await;
        cluster.register(&namespace, &injector, &loopback).await;
        (injector, namespace)
    };
    let create = async |namespace: &str| {
        let asking = json!({"keyvault-injector.io/secrets": "db-password", "keyvault-injector.io/inject": "false"});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "web-", "annotations": asking},
            "spec": {"containers": [{"name": "app", "image": "registry.example/app"}]}});
        cluster.kubectl_with(&["-n", namespace, "create", "--dry-run=server", "-f", "-"], &pod.to_string()).await
    };
    let (injector, namespace) = trusting(&cluster.client_ca()).await;
    let asked = async || {
        assert!(create(&namespace).await.success);
        (injector.metric("keyvault_injector_reviews_total{outcome=\"opted-out\"}").await > 0.0).then_some(())
    };
    until("review by the API server", asked).await;

    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("ca.crt");
    fs::write(&other, &stranger.ca).unwrap();
    let (injector, namespace) = trusting(&other).await;
    let refused = async || Some(create(&namespace).await).filter(|output| !output.success);
    let refused = until("refused review", refused).await;
    assert!(refused.stderr.contains("failed calling webhook \"inject.keyvault-injector.io\""), "{refused:?}");
    let line = injector.line_with("a TLS handshake failed").await;
    assert_eq!(line["error"], "invalid peer certificate: UnknownIssuer");
}
