//! Replicas come, go and die while pods are created.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::balancer::Balancer;
use crate::cluster::{Cluster, Injector, Loopback, OPTED_IN, Setup, registration, until};

/// Fifty creations a second, or what the machine sustains with so many under way: more than that would only show that it is overloaded.
const PERIOD: Duration = Duration::from_millis(20);
const UNDER_WAY: usize = 32;
/// Long enough for the balancer to hear that a replica is unready, also on a machine that does much else.
const DRAIN: &str = "  drainDelay: 3s\n";

/// One address, its registration for one namespace, and what serves there.
struct Service {
    cluster: &'static Cluster,
    namespace: String,
    registration: String,
    balancer: Balancer,
}

impl Service {
    /// A Service over a first replica, once the API server asks it.
    async fn over(replica: &Injector, loopback: &Loopback) -> Service {
        let cluster = Cluster::shared().await;
        let namespace = cluster.namespace("availability", &[OPTED_IN]).await;
        let registration_name = cluster.name("zz-availability");
        let balancer = Balancer::start().await;
        balancer.add(replica).await;
        let service = Service { cluster, namespace, registration: registration_name, balancer };
        let address = service.balancer.address.to_string();
        let mut registration = registration(&service.registration, &service.namespace, &address, Some(&loopback.ca));
        // The most there is: these tests count what replicas lose, not what a slow machine does.
        registration["webhooks"][0]["timeoutSeconds"] = json!(30);
        cluster.create_registration(&registration).await;
        let pods = service.pods().await;
        until("injected pod", async || create(&pods).await.ok()).await;
        service
    }

    async fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.cluster.client().await, &self.namespace)
    }

    /// Registers certificates to trust.
    async fn trust(&self, bundle: &str) {
        let api: Api<MutatingWebhookConfiguration> = Api::all(self.cluster.client().await);
        let patch: json_patch::Patch =
            serde_json::from_value(json!([{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": STANDARD.encode(bundle)}]))
                .unwrap();
        api.patch(&self.registration, &PatchParams::default(), &Patch::Json::<()>(patch)).await.unwrap();
    }
}

/// A ready replica that serves with `loopback`.
async fn replica(loopback: &Loopback) -> Injector {
    let cluster = Cluster::shared().await;
    let replica = Injector::start(cluster, &Setup { server: DRAIN, ..Setup::files("default", loopback) }).await;
    replica.ready().await;
    replica
}

fn template() -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}, "annotations": {
            "keyvault-injector.io/vault": "team-a",
            "keyvault-injector.io/secrets": "db-password",
            "keyvault-injector.io/client-id": "11111111-1111-1111-1111-111111111111",
            "keyvault-injector.io/tenant-id": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        }},
        "spec": {"containers": [{"name": "app", "image": "registry.example/app"}]},
    })
}

/// Creates a pod, for show. A pod without our container counts as a failure.
async fn create(pods: &Api<Pod>) -> Result<(), String> {
    let mut pod = template();
    pod["metadata"]["generateName"] = "web-".into();
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let pod = pods.create(&dry_run, &serde_json::from_value(pod).unwrap()).await.map_err(|error| error.to_string())?;
    if is_injected(&pod) { Ok(()) } else { Err("the pod was not injected".to_owned()) }
}

fn is_injected(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.init_containers.as_ref()).is_some_and(|containers| containers[0].name == "keyvault-agent")
}

/// Creations at a steady pace, whatever becomes of them.
struct Load {
    enough: Arc<AtomicBool>,
    created: Arc<AtomicUsize>,
    running: JoinHandle<Vec<Result<(), String>>>,
}

impl Load {
    async fn start(service: &Service) -> Load {
        let clients = [service.pods().await, service.pods().await, service.pods().await, service.pods().await];
        let enough = Arc::new(AtomicBool::new(false));
        let created = Arc::new(AtomicUsize::new(0));
        let (until_enough, count) = (Arc::clone(&enough), Arc::clone(&created));
        let running = tokio::spawn(async move {
            let mut ticks = interval(PERIOD);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            let (mut creations, places) = (JoinSet::new(), Arc::new(Semaphore::new(UNDER_WAY)));
            for pods in clients.into_iter().cycle() {
                ticks.tick().await;
                let place = Arc::clone(&places).acquire_owned().await.unwrap();
                if until_enough.load(Ordering::SeqCst) {
                    break;
                }
                let count = Arc::clone(&count);
                creations.spawn(async move {
                    let _place = place;
                    create(&pods).await.inspect(|()| _ = count.fetch_add(1, Ordering::SeqCst))
                });
            }
            creations.join_all().await
        });
        Load { enough, created, running }
    }

    /// Waits for two seconds' worth of further pods.
    async fn goes_on(&self) {
        let created = self.created.load(Ordering::SeqCst);
        until("further pods", async || (self.created.load(Ordering::SeqCst) >= created + 100).then_some(())).await;
    }

    /// Ends the load once everything is answered: how many pods were created, and why others were not.
    async fn end(self) -> (usize, Vec<String>) {
        self.enough.store(true, Ordering::SeqCst);
        let results = self.running.await.unwrap();
        (results.len(), results.into_iter().filter_map(Result::err).collect())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replacing_all_replicas_and_their_ca_loses_no_creation() {
    let (before, after) = (Loopback::new(), Loopback::new());
    let mut replicas = [replica(&before).await, replica(&before).await, replica(&before).await];
    let service = Service::over(&replicas[0], &before).await;
    service.balancer.add(&replicas[1]).await;
    service.balancer.add(&replicas[2]).await;
    let (started, load) = (Instant::now(), Load::start(&service).await);

    let mut old = Vec::new();
    for place in &mut replicas {
        let new = replica(&before).await;
        service.balancer.add(&new).await;
        let replaced = std::mem::replace(place, new);
        replaced.signal("TERM");
        replaced.line_with("asked to stop").await;
        old.push(replaced);
    }
    // A CA comes into the bundle before its leaf serves, and the one before goes after its own has ended.
    service.trust(&format!("{}{}", before.ca, after.ca)).await;
    for replica in &replicas {
        fs::write(replica.file("tls.crt"), &after.certificate).unwrap();
        fs::write(replica.file("tls.key"), &after.key).unwrap();
    }
    for replica in &replicas {
        replica.line_with("a new certificate serves").await;
    }
    let connections = service.balancer.accepted();
    service.trust(&after.ca).await;
    until("connection by the new CA alone", async || (service.balancer.accepted() > connections).then_some(())).await;
    load.goes_on().await;

    let (creations, lost) = load.end().await;
    let connections = service.balancer.accepted();
    println!("{creations} creations in {:?} over {connections} connections", started.elapsed());
    assert!(lost.is_empty(), "{} of {creations} creations were lost: {}", lost.len(), lost[0]);
    assert_eq!(service.balancer.refused(), 0);
    assert!(connections * 10 < creations, "{connections} connections for {creations} creations: they are not reused");
    drop(service);
    for replica in &mut old {
        assert_eq!(replica.exit_code().await, Some(0), "{}", replica.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_replica_costs_its_reviews_in_flight_and_every_deployment_gets_its_pods() {
    const DEPLOYMENTS: usize = 6;
    const REPLICAS: usize = 3;
    let loopback = Loopback::new();
    let victim = replica(&loopback).await;
    let others = [replica(&loopback).await, replica(&loopback).await];
    let service = Service::over(&victim, &loopback).await;
    for other in &others {
        service.balancer.add(other).await;
    }
    let load = Load::start(&service).await;
    load.goes_on().await;
    let deployments: Api<Deployment> = Api::namespaced(service.cluster.client().await, &service.namespace);
    let deployed = tokio::spawn(async move {
        for number in 0..DEPLOYMENTS {
            let labels = json!({"app": format!("web-{number}")});
            let mut template = template();
            template["metadata"]["labels"] = labels.clone();
            let spec = json!({"replicas": REPLICAS, "selector": {"matchLabels": labels}, "template": template});
            let deployment = json!({"metadata": {"name": format!("web-{number}")}, "spec": spec});
            deployments.create(&PostParams::default(), &serde_json::from_value(deployment).unwrap()).await.unwrap();
        }
    });
    // All are halted for a moment, so that for certain there are reviews in flight; on one they stay without an answer. No longer than that: a replica
    // that finds a handshake or a review overdue when it goes on gives it up.
    [&victim, &others[0], &others[1]].into_iter().for_each(|replica| replica.signal("STOP"));
    until("reviews of the load in flight", async || (service.balancer.in_flight(&victim) >= 3).then_some(())).await;
    victim.signal("KILL");
    others.iter().for_each(|other| other.signal("CONT"));
    deployed.await.unwrap();

    let pods = service.pods().await;
    let all = async || {
        let pods = pods.list(&ListParams::default()).await.unwrap().items;
        assert!(pods.iter().all(is_injected));
        (pods.len() == DEPLOYMENTS * REPLICAS).then_some(())
    };
    until("pod of every Deployment", all).await;
    load.goes_on().await;
    let (creations, lost) = load.end().await;
    let (unanswered, refused) = (service.balancer.unanswered(&victim), service.balancer.refused());
    println!("{creations} creations, {} lost; {unanswered} in flight at the kill, {refused} refused", lost.len());
    assert!(unanswered >= 3 && !lost.is_empty(), "nothing was in flight: nothing is shown");
    // Whom a Service sends to a replica that is gone is as lost as what the replica had begun.
    assert!(lost.len() <= unanswered + refused, "{} lost, {unanswered} in flight, {refused} refused: {lost:#?}", lost.len());
    assert_eq!([&others[0], &others[1]].map(|other| service.balancer.unanswered(other)), [0, 0], "the others go on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_after_a_pause_succeeds_and_reuses_the_connection_for_as_long_as_the_api_server_keeps_it() {
    let loopback = Loopback::new();
    let replica = replica(&loopback).await;
    let pause = async |seconds, connections| {
        let service = Service::over(&replica, &loopback).await;
        let pods = service.pods().await;
        create(&pods).await.unwrap();
        sleep(Duration::from_secs(seconds)).await;
        create(&pods).await.unwrap_or_else(|error| panic!("after {seconds} s: {error}"));
        assert_eq!(service.balancer.accepted(), connections, "connections with a pause of {seconds} s");
    };
    // After 90 seconds the API server lets go by itself.
    tokio::join!(pause(5, 1), pause(35, 1), pause(95, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_asked_to_stop_judges_no_pod_and_costs_none() {
    let loopback = Loopback::new();
    let (mut old, new) = (replica(&loopback).await, replica(&loopback).await);
    let service = Service::over(&old, &loopback).await;
    let pods = service.pods().await;
    // The API server keeps some connections in reserve.
    let burst: JoinSet<_> = (0..2).map(|_| pods.clone()).map(|pods| async move { create(&pods).await }).collect();
    assert!(burst.join_all().await.iter().all(Result::is_ok));
    let kept = service.balancer.accepted();
    assert!((1..=5).contains(&kept), "{kept} connections: a replica that stops refers a review from five at most");
    service.balancer.add(&new).await;
    old.signal("TERM");
    old.line_with("asked to stop").await;
    // As when `kubectl rollout status` has just reported success: the Service may not have noticed that the old replica is unready.
    for _ in 0..kept + 2 {
        create(&pods).await.unwrap();
    }
    // The log is written behind the reviews.
    let reviews = |log: &str| log.matches(r#""message":"review""#).count();
    until("log of the reviews", async || (reviews(&new.log()) >= kept + 2).then_some(())).await;
    assert_eq!(reviews(&new.log()), kept + 2, "{}", new.log());
    // Connections in reserve are used up or let go: none is closed under the API server's hands.
    assert_eq!(old.exit_code().await, Some(0), "{}", old.log());
    let log = old.log();
    let (_, since) = log.split_once("asked to stop").unwrap();
    assert_eq!(reviews(since), 0, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_replica_that_is_the_only_one_answers_in_the_end() {
    let loopback = Loopback::new();
    let mut only = Injector::start(Cluster::shared().await, &Setup { server: "  drainDelay: 60s\n", ..Setup::files("default", &loopback) }).await;
    only.ready().await;
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("only", &[OPTED_IN]).await;
    cluster.register(&namespace, &only, &loopback).await;
    let pods: Api<Pod> = Api::namespaced(cluster.client().await, &namespace);
    until("injected pod", async || create(&pods).await.ok()).await;
    only.signal("TERM");
    only.line_with("asked to stop").await;
    create(&pods).await.unwrap();
    only.signal("TERM");
    assert_eq!(only.exit_code().await, Some(1), "{}", only.log());
}
