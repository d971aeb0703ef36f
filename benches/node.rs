//! From the creation of a pod to the first line of its app, on a real node: what each way of delivery adds to a pod that asks for nothing.
//!
//! `cargo bench --features node-tests --bench node`, as root, on a quiet machine; `-- --quick` only shows that it runs. The ways take turns, one pod at a time.

#![allow(clippy::print_stdout, reason = "a benchmark prints figures")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark stops where it cannot measure")]
#![allow(clippy::disallowed_methods, reason = "files of a benchmark hold no secrets")]

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

#[path = "../tests/apiserver/cluster/mod.rs"]
mod cluster;
#[path = "../tests/support/dns.rs"]
mod dns;
#[path = "../tests/support/emulator.rs"]
mod emulator;
#[path = "../tests/node/harness/mod.rs"]
mod harness;

use harness::{Namespace, Node, STAY, annotations, shell, spec, until};

const FILES: (&str, &str) = ("secrets", "db-password");
const VARIABLE: (&str, &str) = ("env", "PASSWORD=db-password");
const REFRESH: (&str, &str) = ("refresh", "1h");

type Annotation = (&'static str, &'static str);

/// What is measured, what the pod asks for, and whether a Job makes it.
const WAYS: [(&str, &[Annotation], bool); 5] = [
    ("plain", &[], false),
    ("fetch", &[FILES], false),
    ("env", &[VARIABLE], false),
    ("refresh", &[FILES, REFRESH], false),
    ("Job with refresh", &[FILES, REFRESH], true),
];

fn main() {
    let given = |flag: &str| std::env::args().any(|argument| argument == flag);
    // `cargo test --all-targets` runs this as well, without the flag: there it only has to compile.
    if given("--bench") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(measure(if given("--quick") { 2 } else { 20 }));
    }
}

async fn measure(times: usize) {
    let node = Node::alone().await;
    let namespace = node.namespace().await;
    let mut seen: [Vec<f64>; WAYS.len()] = Default::default();
    // The first of each way only warms up.
    for time in 0..=times {
        for (number, (_, ours, job)) in WAYS.iter().enumerate() {
            let seconds = first_line(&namespace, &format!("pod-{time}-{number}"), ours, *job).await;
            if time > 0 {
                seen[number].push(seconds);
            }
        }
    }
    println!("from the creation of a pod to its app's first line, in seconds, {times} of each:");
    for ((name, ..), mut seconds) in WAYS.iter().zip(seen) {
        seconds.sort_by(f64::total_cmp);
        let (middle, last) = (seconds.len() / 2, seconds.len() - 1);
        println!("  {name:<17} median {:.2}  from {:.2} to {:.2}", seconds[middle], seconds[0], seconds[last]);
    }
}

/// Creates a pod, waits until its app has written a line, and removes the pod. The end is when containerd has read the line.
async fn first_line(namespace: &Namespace<'_>, name: &str, ours: &[(&str, &str)], job: bool) -> f64 {
    let script = if job { "echo started".to_owned() } else { format!("echo started{STAY}") };
    let more =
        json!({"containers": [shell("app", &script)], "restartPolicy": if job { "Never" } else { "Always" }, "terminationGracePeriodSeconds": 0});
    let metadata = json!({"name": name, "labels": {"measured": name}, "annotations": if ours.is_empty() { json!({}) } else { annotations(ours) }});
    let (path, kind, object) = if job {
        let template = json!({"metadata": metadata, "spec": spec(more)});
        ("apis/batch/v1", "jobs", json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": template}}))
    } else {
        ("api/v1", "pods", json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec(more)}))
    };
    let client = namespace.node.cluster.client().await;
    let request = hyper::Request::post(format!("/{path}/namespaces/{}/{kind}", namespace.name)).header("content-type", "application/json");
    let request = request.body(object.to_string().into_bytes()).unwrap();
    let created = Timestamp::now();
    let _: Value = client.request(request).await.unwrap();
    let line = until("first line of the app", async || {
        let log = namespace.kubectl(&["logs", "-l", &format!("measured={name}"), "-c", "app", "--timestamps"]).await.stdout;
        log.split_once(" started").map(|(at, _)| at.parse::<Timestamp>().unwrap())
    });
    let seconds = line.await.duration_since(created).as_secs_f64();
    namespace.kubectl(&["delete", &format!("{kind}/{name}"), "--cascade=foreground", "--timeout=60s"]).await.ok();
    until("end of the pod", async || namespace.get("pods").await["items"].as_array().unwrap().is_empty().then_some(())).await;
    assert!(seconds < Duration::from_secs(60).as_secs_f64(), "{name}: {seconds} s");
    seconds
}
