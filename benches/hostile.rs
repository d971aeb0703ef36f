//! One replica under attack, within the manifest's limits, in front of a real API server: what honest pods notice of it.
//!
//! `cargo bench --features kube-tests --bench hostile`, about two minutes. Each attack has the replica for a while; meanwhile ten honest pods a second are
//! created, twenty honest reviews a second come on connections of their own, and `/live` is asked twenty times a second.

#![allow(clippy::print_stdout, reason = "a benchmark prints figures")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark stops where it cannot measure")]
#![allow(clippy::disallowed_methods, reason = "files of a benchmark hold no secrets")]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use serde_json::{Value, json};
use tokio::runtime::Builder;

#[path = "hostile/attacks.rs"]
mod attacks;
#[path = "../tests/apiserver/cluster/mod.rs"]
mod cluster;
#[path = "hostile/connection.rs"]
mod connection;
#[path = "hostile/confinement.rs"]
mod confinement;
#[path = "hostile/honest.rs"]
mod honest;

use attacks::ATTACKS;
use cluster::{Cluster, Injector, Loopback, OPTED_IN, Setup, until};
use confinement::Confinement;
use connection::Target;
use honest::{Figures, Honest};

/// How long each attack goes on.
const LENGTH: Duration = Duration::from_secs(9);
/// How long the replica has to recover from one before the next.
const PAUSE: Duration = Duration::from_secs(1);

/// What honest pods may notice.
const REVIEW_LIMIT_MS: f64 = 100.0;
const LIVE_LIMIT_MS: f64 = 50.0;
const MEMORY_LIMIT_MB: f64 = 64.0;

fn main() -> ExitCode {
    // `cargo test --all-targets` runs this as well, without the flag: there it only has to compile.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let only = std::env::args().skip_while(|argument| argument != "--only").nth(1);
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if runtime.block_on(measure(only.as_deref())) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The replica, and everything that reaches it.
struct Stage {
    cluster: Cluster,
    injector: Injector,
    /// Where tenants and honest people create pods, for show.
    pods: String,
    target: Target,
}

async fn measure(only: Option<&str>) -> bool {
    let stage = Arc::new(Stage::set().await);
    let confinement = Confinement::of(stage.injector.pid());
    println!("one replica, {confinement}");
    println!("{:<44} {:>9} {:>6} {:>8} {:>8} {:>8} {:>8}", "attack", "creations", "failed", "p50 ms", "p99 ms", "live ms", "peak MB");
    let mut keeps = true;
    for attack in ATTACKS.into_iter().filter(|attack| only.is_none_or(|only| attack.name.contains(only))) {
        confinement.forget_peak();
        let honest = Honest::start(Arc::clone(&stage)).await;
        attack.run(&stage, LENGTH).await;
        let figures = honest.end().await;
        if stage.injector.ended() {
            println!("{:<44} BROKEN: the process died", attack.name);
            return false;
        }
        keeps &= judge(attack.name, &figures, confinement.peak_megabytes());
        tokio::time::sleep(PAUSE).await;
    }
    println!("limits: no creation fails, p99 of reviews {REVIEW_LIMIT_MS} ms, /live {LIVE_LIMIT_MS} ms, {MEMORY_LIMIT_MB} MB, and the process lives");
    keeps
}

/// Prints a line, and says whether it keeps the limits.
fn judge(name: &str, figures: &Figures, peak: f64) -> bool {
    let Figures { creations, lost, reviews, live } = figures;
    let (half, most, slowest) = (percentile(reviews, 0.5), percentile(reviews, 0.99), percentile(live, 1.0));
    let keeps = lost.is_empty() && most < REVIEW_LIMIT_MS && slowest <= LIVE_LIMIT_MS && peak < MEMORY_LIMIT_MB;
    let failed = lost.len();
    let verdict = if keeps { "" } else { "  BROKEN" };
    println!("{name:<44} {creations:>9} {failed:>6} {half:>8.1} {most:>8.1} {slowest:>8.1} {peak:>8.1}{verdict}");
    if let Some(first) = lost.first() {
        println!("  the first creation that failed: {first}");
    }
    keeps
}

/// The smallest value that this share of all does not exceed.
fn percentile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.clamp(1, values.len().max(1)) - 1).copied().unwrap_or(f64::INFINITY)
}

impl Stage {
    async fn set() -> Stage {
        let (cluster, loopback) = (Cluster::own().await, Loopback::new());
        let namespace = cluster.namespace("payments", &[OPTED_IN]).await;
        let annotations = json!({"azure.workload.identity/client-id": "0f1e2d3c-1111-4222-8333-444455556666"});
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "checkout", "annotations": annotations}});
        cluster.kubectl_with(&["-n", &namespace, "create", "-f", "-"], &account.to_string()).await.ok();
        let config = "defaults: {tenantId: aaaabbbb-1111-4222-8333-444455556666}\n";
        let injector = Injector::start(&cluster, &Setup { config, ..Setup::files("default", &loopback) }).await;
        injector.ready().await;
        cluster.register(&namespace, &injector, &loopback).await;
        let target = Target::new(&injector.https, &loopback.ca);
        let stage = Stage { pods: format!("/api/v1/namespaces/{namespace}/pods?dryRun=All"), cluster, injector, target };
        let client = stage.client().await;
        until("injected pod", async || create(&client, &stage.pods, &honest::pod()).await.ok().filter(|pod| pod.contains(honest::MARK))).await;
        stage
    }

    /// A separate connection pool to the API server.
    async fn client(&self) -> Client {
        self.cluster.client().await
    }
}

/// Sends a pod and returns what the API server made of it, or why it did not.
async fn create(client: &Client, path: &str, pod: &Value) -> Result<String, String> {
    let request = hyper::Request::post(path).header("content-type", "application/json").body(pod.to_string().into_bytes()).unwrap();
    client.request_text(request).await.map_err(|error| error.to_string())
}
