//! What a tenant with `create pods` in one namespace, and a pod without any rights, have tried.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{Stage, create};

/// The largest review that the webhook reads.
const LARGEST: usize = 3 << 20;
/// How long a pod's author waits before the next try.
const BETWEEN_PODS: Duration = Duration::from_secs(2);

/// One way to disturb everybody else.
#[derive(Clone, Copy)]
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    means: Means,
}

#[derive(Clone, Copy)]
enum Means {
    /// So many authors of one pod, through the API server.
    Pods(u8, fn() -> Value),
    /// Connections of 32 attackers that say nothing.
    Silence,
    /// So many bodies of which only the beginning is sent, of so many bytes.
    Bodies(u8, usize),
    /// Reviews about made-up namespaces, by so many attackers.
    UnknownNames(u8),
}

pub(crate) const ATTACKS: [Attack; 10] = [
    Attack { name: "1000 bad modes in 1000 containers", means: Means::Pods(1, many_problems) },
    Attack { name: "2040 bad references, a name of 150 KB", means: Means::Pods(1, a_long_name) },
    Attack { name: "2 x 900,000 names for 3000 containers", means: Means::Pods(2, names_without_end) },
    Attack { name: "2 x templates of 1.2 MB", means: Means::Pods(2, large_templates) },
    Attack { name: "2 x 150,000 bad references", means: Means::Pods(2, bad_references) },
    Attack { name: "1024 idle connections", means: Means::Silence },
    Attack { name: "8 bodies of 3 MiB, of which 1 byte comes", means: Means::Bodies(8, 1) },
    Attack { name: "32 bodies of 3 MiB, of which 1 byte comes", means: Means::Bodies(32, 1) },
    Attack { name: "16 bodies of 3 MiB, of which 1 MiB comes", means: Means::Bodies(16, 1 << 20) },
    Attack { name: "60 connections that ask for unknown names", means: Means::UnknownNames(60) },
];

impl Attack {
    /// Attacks for so long, and then lets go of everything.
    pub(crate) async fn run(self, stage: &Arc<Stage>, length: Duration) {
        let until = Instant::now() + length;
        let mut attackers = JoinSet::new();
        let stage = || Arc::clone(stage);
        match self.means {
            Means::Pods(authors, pod) => (0..authors).for_each(|_| drop(attackers.spawn(creates_again_and_again(stage(), pod())))),
            Means::Silence => (0..32).for_each(|attacker| drop(attackers.spawn(stays_silent(stage(), attacker, 32)))),
            Means::Bodies(count, sent) => (0..count).for_each(|attacker| drop(attackers.spawn(announces(stage(), attacker, sent)))),
            Means::UnknownNames(count) => (0..count).for_each(|attacker| drop(attackers.spawn(asks_for_unknown_names(stage(), attacker)))),
        }
        sleep_until(until).await;
    }
}

fn containers(count: usize) -> Vec<Value> {
    (0..count).map(|number| json!({"name": format!("c{number}"), "image": "i"})).collect()
}

fn many_problems() -> Value {
    let secrets: String = (0..1000).map(|number| format!("- {{name: a{number}, mode: \"0400\"}}\n")).collect();
    pod(&[("secrets", secrets)], containers(1000))
}

fn a_long_name() -> Value {
    let secrets: String = (0..2040).map(|number| format!("- {{name: a{number}, containers: [x]}}\n")).collect();
    pod(&[("secrets", secrets)], vec![json!({"name": "n".repeat(150_000), "image": "i"})])
}

fn names_without_end() -> Value {
    pod(&[("secrets", "db-password".to_owned()), ("containers", vec!["b"; 900_000].join(","))], containers(3000))
}

fn large_templates() -> Value {
    pod(&[("templates", format!("a: \"{}\"", "${1}".repeat(300_000)))], containers(1))
}

fn bad_references() -> Value {
    pod(&[("secrets", "- {}\n".repeat(150_000))], containers(1))
}

/// A pod with these of our annotations.
fn pod(texts: &[(&str, String)], containers: Vec<Value>) -> Value {
    let mut annotations = json!({"keyvault-injector.io/vault": "team-a"});
    for (key, text) in texts {
        annotations[format!("keyvault-injector.io/{key}")] = text.as_str().into();
    }
    let metadata = json!({"generateName": "hostile-", "annotations": annotations});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}})
}

async fn creates_again_and_again(stage: Arc<Stage>, pod: Value) {
    let client = stage.client().await;
    loop {
        // It is refused, or the API server gave up: the author tries again either way.
        let _ = create(&client, &stage.pods, &pod).await;
        sleep(BETWEEN_PODS).await;
    }
}

/// The address of the attacker with this number.
fn address(attacker: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, attacker + 1)
}

/// Connects as often as that, says nothing, and comes again after it was sent away.
async fn stays_silent(stage: Arc<Stage>, attacker: u8, connections: usize) {
    let mut open = JoinSet::new();
    loop {
        while open.len() < connections {
            match stage.target.connect(address(attacker)).await {
                Ok(mut connection) => _ = open.spawn(async move { connection.is_hung_up_on().await }),
                Err(_) => break,
            }
        }
        if open.join_next().await.is_none() {
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Announces the largest body, sends only the beginning of it, and comes again after it was sent away.
async fn announces(stage: Arc<Stage>, attacker: u8, sent: usize) {
    let beginning = vec![b' '; sent];
    loop {
        if let Ok(mut connection) = stage.target.connect(address(attacker)).await {
            // It may be sent away at any time.
            let _ = connection.begin(LARGEST, &beginning).await;
            connection.is_hung_up_on().await;
        }
    }
}

/// Asks about one made-up namespace after the other.
async fn asks_for_unknown_names(stage: Arc<Stage>, attacker: u8) {
    let mut review: Value = serde_json::from_str(include_str!("../support/review.json")).unwrap();
    let mut number = 0_u64;
    loop {
        let Ok(mut connection) = stage.target.connect(address(attacker)).await else { continue };
        loop {
            number += 1;
            let namespace = Value::from(format!("unknown-{attacker}-{number}"));
            review["request"]["object"]["metadata"]["namespace"] = namespace.clone();
            review["request"]["namespace"] = namespace;
            if connection.ask(review.to_string().as_bytes()).await.is_err() {
                break;
            }
        }
    }
}
