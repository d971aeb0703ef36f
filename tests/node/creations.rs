//! Pods that are created all the time while something happens to the webhook.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::harness::{Namespace, STAY, TENANT, pod, shell, until};

/// The number of a creation: they begin in this order.
pub(crate) type Number = usize;

/// What has become of a creation: whether the pod was injected, or what the API server said.
pub(crate) type Answer = Result<bool, String>;

#[derive(Default)]
struct Seen {
    begun: Number,
    ended: BTreeMap<Number, Answer>,
}

/// Ten a second. The API server asks the webhook, and keeps nothing.
pub(crate) struct Creations {
    seen: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

/// A pod that is given a file and a variable. Its tenant is its own affair: a configuration without one is enough.
pub(crate) fn annotated() -> Value {
    let asked = [("secrets", "db-password"), ("env", "PASSWORD=db-password"), ("tenant-id", TENANT)];
    pod("web", &asked, json!({"containers": [shell("app", STAY)]}))
}

/// A pod that the webhook is not asked about.
pub(crate) fn plain() -> Value {
    let mut plain = pod("plain", &[], json!({"containers": [shell("app", STAY)]}));
    plain["metadata"]["annotations"] = json!({});
    plain
}

impl Creations {
    /// Begins, and waits until some have ended.
    pub(crate) async fn start(namespace: &Namespace<'_>, pod: Value) -> Creations {
        let pods: Api<Pod> = Api::namespaced(namespace.node.cluster.client().await, &namespace.name);
        let made: Pod = serde_json::from_value(pod).unwrap();
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            loop {
                ticks.tick().await;
                let (pods, made, seen) = (pods.clone(), made.clone(), Arc::clone(&shared));
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.begun += 1;
                    seen.begun
                };
                tokio::spawn(async move {
                    let answer = pods.create(&PostParams { dry_run: true, ..PostParams::default() }, &made).await;
                    let injected = answer.map(|pod| pod.spec.is_some_and(|spec| spec.init_containers.is_some()));
                    seen.lock().unwrap().ended.insert(number, injected.map_err(|error| error.to_string()));
                });
            }
        });
        let creations = Creations { seen, task };
        creations.more(20).await;
        creations
    }

    /// The next one's number.
    pub(crate) fn next(&self) -> Number {
        self.seen.lock().unwrap().begun + 1
    }

    /// Those that have begun and not ended.
    pub(crate) fn pending(&self) -> Vec<Number> {
        let seen = self.seen.lock().unwrap();
        (1..=seen.begun).filter(|number| !seen.ended.contains_key(number)).collect()
    }

    /// Those that wait while enough of the later ones have been answered: the replica that was asked about them does not answer.
    pub(crate) fn stuck(&self) -> Vec<Number> {
        let seen = self.seen.lock().unwrap();
        let overtaken = |number: &Number| seen.ended.range(number..).filter(|(_, answer)| answer.is_ok()).count() >= 5;
        (1..=seen.begun).filter(|number| !seen.ended.contains_key(number)).filter(overtaken).collect()
    }

    /// Waits until so many that begin from now on have ended, and all before them.
    pub(crate) async fn more(&self, count: usize) {
        let last = self.next() + count;
        until("end of more creations", async || {
            let seen = self.seen.lock().unwrap();
            (1..last).all(|number| seen.ended.contains_key(&number)).then_some(())
        })
        .await;
    }

    /// Begins no more, and gives the answers once all are there.
    pub(crate) async fn stop(self) -> BTreeMap<Number, Answer> {
        self.task.abort();
        assert!(self.task.await.is_err_and(|ended| ended.is_cancelled()));
        until("end of all creations", async || {
            let mut seen = self.seen.lock().unwrap();
            (seen.ended.len() == seen.begun).then(|| std::mem::take(&mut seen.ended))
        })
        .await
    }

    /// None has failed; gives which were injected.
    pub(crate) async fn none_failed(self) -> BTreeMap<Number, bool> {
        let answers = self.stop().await;
        let failed: Vec<_> = answers.iter().filter(|(_, answer)| answer.is_err()).collect();
        assert!(failed.is_empty(), "{} of {}: {failed:?}", failed.len(), answers.len());
        answers.into_iter().map(|(number, answer)| (number, answer.unwrap())).collect()
    }

    /// None has failed, and each was injected.
    pub(crate) async fn all_injected(self) {
        let not: Vec<Number> = self.none_failed().await.into_iter().filter(|(_, injected)| !injected).map(|(number, _)| number).collect();
        assert_eq!(not, Vec::<Number>::new(), "these were not injected");
    }
}
