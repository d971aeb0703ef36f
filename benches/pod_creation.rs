//! How much longer the creation of a pod takes with the webhook than without it, in front of a real API server.
//!
//! `cargo bench --features kube-tests --bench pod_creation`, for figures on a quiet machine; `-- --quick` only shows that it runs. Open loop: creations
//! are sent by the clock, and latency counts from when one was due, so that a stall is not hidden by requests that were never sent.

#![allow(clippy::print_stdout, reason = "a benchmark prints figures")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark stops where it cannot measure")]
#![allow(clippy::disallowed_methods, reason = "files of a benchmark hold no secrets")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keyvault_injector::webhook::runtime;
use kube::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

#[path = "../tests/apiserver/cluster/mod.rs"]
mod cluster;

use cluster::{Cluster, Injector, Loopback, OPTED_IN, Setup, until};

/// How many creations are under way while the machine's own rate is looked for.
const WORKERS: [usize; 3] = [8, 16, 32];

/// How long to measure.
struct Effort {
    /// Of one block, all with the webhook or all without.
    block: Duration,
    /// Blocks of each kind at each rate; they take turns.
    pairs: usize,
}

const FULL: Effort = Effort { block: Duration::from_secs(6), pairs: 10 };
const QUICK: Effort = Effort { block: Duration::from_millis(500), pairs: 1 };

fn main() {
    let given = |flag: &str| std::env::args().any(|argument| argument == flag);
    // `cargo test --all-targets` runs this as well, without the flag: there it only has to compile.
    if given("--bench") {
        runtime().unwrap().block_on(measure(if given("--quick") { QUICK } else { FULL }));
    }
}

async fn measure(effort: Effort) {
    let cluster = Cluster::own().await;
    let loopback = Loopback::new();
    let (without, with) = (cluster.namespace("without", &[]).await, cluster.namespace("with", &[OPTED_IN]).await);
    for namespace in [&without, &with] {
        cluster.kubectl_with(&["-n", namespace, "create", "-f", "-"], &service_account().to_string()).await.ok();
    }
    let config = "defaults: {tenantId: aaaabbbb-1111-4222-8333-444455556666}\n";
    let injector = Injector::start(&cluster, &Setup { config, ..Setup::files("default", &loopback) }).await;
    injector.ready().await;
    cluster.register(&with, &injector, &loopback).await;
    let without = Arc::new(Side { client: cluster.client().await, path: path(&without), pod: pod(), injected: false, sent: AtomicU64::new(0) });
    let with = Arc::new(Side { client: cluster.client().await, path: path(&with), pod: pod(), injected: true, sent: AtomicU64::new(0) });
    until("injected pod", async || with.create().await.unwrap().contains(MARK).then_some(())).await;

    let reviews_before = injector.metric("keyvault_injector_review_duration_seconds_count").await;
    let sent_before = with.sent.load(Ordering::Relaxed);
    println!("{}; {}", machine(), cluster.kubectl(&["version"]).await.ok().lines().last().unwrap_or_default());
    let (plain, injected) = (sustained(&without, &effort).await, sustained(&with, &effort).await);
    println!(
        "this machine sustains {plain:.0} creations/s without the webhook, {injected:.0} with it: {:.2} of the rate (goal: 0.6)",
        injected / plain
    );
    at("a quarter", plain / 4.0, &without, &with, &effort).await;
    at("half", plain / 2.0, &without, &with, &effort).await;

    let (seconds, reviews) = ("keyvault_injector_review_duration_seconds_sum", "keyvault_injector_review_duration_seconds_count");
    let (seconds, reviews) = (injector.metric(seconds).await, injector.metric(reviews).await - reviews_before);
    let per_pod = reviews / (with.sent.load(Ordering::Relaxed) - sent_before) as f64;
    println!("in the webhook itself: {:.3} ms a review; {reviews:.0} reviews, {per_pod:.3} for each pod", seconds / reviews * 1e3);
    // A creation that fails half-way may leave a review without a pod.
    assert!((0.99..1.01).contains(&per_pod), "the API server should ask once about each pod");
}

/// What figures from elsewhere are compared with.
fn machine() -> String {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    let after = |text: String, key| text.lines().find_map(|line| Some(line.strip_prefix(key)?.trim_matches([':', '=', '"', ' ', '\t']).to_owned()));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = after(read("/proc/cpuinfo"), "model name").unwrap_or_default();
    let memory = after(read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    let system = after(read("/etc/os-release"), "PRETTY_NAME").unwrap_or_default();
    format!("{cores} cores ({processor}), {memory}, {system}, Linux {}", read("/proc/sys/kernel/osrelease").trim())
}

/// Which container a pod has that went through the webhook.
const MARK: &str = r#""name":"keyvault-agent""#;

fn service_account() -> Value {
    let annotations = json!({"azure.workload.identity/client-id": "0f1e2d3c-1111-4222-8333-444455556666"});
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "checkout", "annotations": annotations}})
}

/// Where pods are created, for show.
fn path(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods?dryRun=All")
}

/// The pod of the other benchmarks as its ReplicaSet sends it: five containers, two references.
fn pod() -> Vec<u8> {
    let mut pod: Value = serde_json::from_str::<Value>(include_str!("support/review.json")).unwrap()["request"]["object"].take();
    // What the API server adds by itself, or what this cluster does not have.
    for (part, names) in
        [("metadata", &["namespace", "uid", "creationTimestamp", "managedFields"][..]), ("spec", &["priorityClassName", "priority"][..])]
    {
        names.iter().for_each(|name| _ = pod[part].as_object_mut().unwrap().remove(*name));
    }
    pod.to_string().into_bytes()
}

/// One of the two that are compared.
struct Side {
    client: Client,
    path: String,
    pod: Vec<u8>,
    injected: bool,
    /// How many pods were sent.
    sent: AtomicU64,
}

impl Side {
    /// Sends a pod and returns what the API server made of it, or why it did not. Nothing is stored.
    async fn create(&self) -> kube::Result<String> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let request = hyper::Request::post(&self.path).header("content-type", "application/json").body(self.pod.clone()).unwrap();
        self.client.request_text(request).await
    }

    /// Whether a pod was created. One with our container where none belongs, or without, ends the benchmark.
    async fn creates(&self) -> bool {
        let created = self.create().await;
        created.inspect(|pod| assert_eq!(pod.contains(MARK), self.injected, "{pod}")).is_ok()
    }
}

/// Creations a second that the machine has room for, each worker sending the next when it has the answer.
async fn sustained(side: &Arc<Side>, effort: &Effort) -> f64 {
    let mut best = 0.0_f64;
    for workers in WORKERS {
        let until = Instant::now() + effort.block;
        let mut running = JoinSet::new();
        for _ in 0..workers {
            let side = Arc::clone(side);
            running.spawn(async move {
                let mut created = 0;
                while Instant::now() < until {
                    created += u32::from(side.creates().await);
                }
                created
            });
        }
        let created: u32 = running.join_all().await.into_iter().sum();
        best = best.max(f64::from(created) / effort.block.as_secs_f64());
    }
    best
}

/// Measures both sides in turn and prints one line for each percentile. What failed took for ever: it counts among the slowest.
async fn at(name: &str, rate: f64, without: &Arc<Side>, with: &Arc<Side>, effort: &Effort) {
    let (mut plain, mut injected) = (Vec::new(), Vec::new());
    for pair in 0..effort.pairs {
        // Whoever goes first finds the machine as the other has left it.
        if pair % 2 == 0 {
            plain.extend(block(without, rate, effort.block).await);
            injected.extend(block(with, rate, effort.block).await);
        } else {
            injected.extend(block(with, rate, effort.block).await);
            plain.extend(block(without, rate, effort.block).await);
        }
    }
    println!("at {name} of the first, {rate:.0} creations/s, {} of each:", plain.len());
    for (side, values) in [("without", &plain), ("with", &injected)] {
        match values.iter().filter(|value| value.is_infinite()).count() {
            0 => {}
            failed => println!("  {failed} failed {side} it: this is more than the machine sustains"),
        }
    }
    for (percent, share) in [("p50", 0.50), ("p99", 0.99)] {
        let (plain, injected) = (percentile(&mut plain, share), percentile(&mut injected, share));
        println!("  {percent}: {plain:.2} ms without, {injected:.2} ms with, {:.2} ms added", injected - plain);
    }
}

/// Creations at a steady rate: the latency of each in milliseconds, from when it was due. A thread keeps time better than a runtime's timer does.
async fn block(side: &Arc<Side>, rate: f64, duration: Duration) -> Vec<f64> {
    let (side, runtime) = (Arc::clone(side), tokio::runtime::Handle::current());
    let pace = move || {
        let (started, mut creations) = (Instant::now(), JoinSet::new());
        let dues = (0..).map(|number| Duration::from_secs_f64(f64::from(number) / rate)).take_while(|due| *due < duration);
        for due in dues.map(|due| started + due) {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let side = Arc::clone(&side);
            let creation = async move { if side.creates().await { due.elapsed().as_secs_f64() * 1e3 } else { f64::INFINITY } };
            creations.spawn_on(creation, &runtime);
        }
        creations
    };
    tokio::task::spawn_blocking(pace).await.unwrap().join_all().await
}

/// The smallest value that this share of all does not exceed.
fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * share).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}
