//! Pods that slipped through: they ask for injection, and were created while nothing injected them (before the webhook was registered, or their
//! namespace labelled, or while it was away under `failurePolicy: Ignore`). The holder of a Lease looks for them and reports them to their authors.

mod event;
mod memory;
mod suspect;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event as Told;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Api, Client};
use ring::rand::SystemRandom;
use tokio::sync::Notify;
use tokio::sync::watch::Receiver;
use tokio::time::{sleep, timeout};

use super::lease::Candidate;
use super::{ClusterDefaults, watch};
use crate::webhook::Metrics;
use keyvault_mutation::installation;
use memory::{Memory, Suspect};
use suspect::{NOT_FINISHED, is_suspect, slipped_through};

/// Pods there are never sent to the webhook, whatever label the namespace bears; neither are those of our own namespace.
const SYSTEM: &str = "kube-system";

/// Between two examinations, each of at most two requests: ten thousand suspects keep the API server busy for half an hour, and no busier.
const PACE: Duration = Duration::from_millis(200);
/// What one examination may take.
const BOUND: Duration = Duration::from_secs(10);
/// After one that failed, or a list that did.
const PAUSE: Duration = Duration::from_secs(10);
/// The Event is there already.
const CONFLICT: u16 = 409;
const TOO_MANY_REQUESTS: u16 = 429;
/// Pods of a newly labelled namespace that are listed at once.
const PAGE: u32 = 100;

/// Of a replica's name, in its identity: an Event takes 128 bytes of whom it comes from.
const MAX_REPLICA: usize = 100;

/// The search for pods that slipped through.
pub struct SlippedThrough {
    client: Client,
    cluster: Arc<ClusterDefaults>,
    metrics: Arc<Metrics>,
    identity: String,
}

impl SlippedThrough {
    /// A search by the replica of this name (the pod's; a part at random makes it one of a kind).
    ///
    /// # Panics
    /// Where the system has no random numbers, and so no TLS.
    #[must_use]
    #[expect(clippy::expect_used, reason = "without random numbers nothing is served")]
    pub fn new(cluster: Arc<ClusterDefaults>, metrics: Arc<Metrics>, replica: &str) -> SlippedThrough {
        let short: String = replica.chars().take(MAX_REPLICA).collect();
        let random = ring::rand::generate::<[u8; 8]>(&SystemRandom::new()).expect("the system has random numbers: TLS is served by them");
        let identity = format!("{short}-{:016x}", u64::from_ne_bytes(random.expose()));
        SlippedThrough { client: cluster.client.clone(), cluster, metrics, identity }
    }

    /// Searches whenever this replica holds the Lease, until `stop`; then gives the Lease back. Namespaces must be watched meanwhile.
    pub async fn search(self, stop: impl Future<Output = ()>) {
        let candidate = Candidate::new(self.client.clone(), installation::NAME, self.identity.clone(), Timestamp::now);
        candidate.whenever_held(|| Term { search: &self, memory: Mutex::default(), news: Notify::new() }.run(), stop).await;
    }
}

/// The search while the Lease is held. What it knows ends with it.
struct Term<'s> {
    search: &'s SlippedThrough,
    memory: Mutex<Memory>,
    news: Notify,
}

impl Drop for Term<'_> {
    fn drop(&mut self) {
        self.search.metrics.uninjected_pods(0);
    }
}

impl Term<'_> {
    async fn run(self) {
        let mut changes = self.search.cluster.changes();
        let served = loop {
            match self.served() {
                Some(served) => break served,
                // Fails only once the caches are gone, and they live as long as the search.
                None => drop(changes.changed().await),
            }
        };
        join(self.follow_namespaces(changes, served), self.follow_pods()).await;
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) {
        self.search.metrics.uninjected_pods(self.memory().present());
    }

    /// The namespaces whose pods are sent to the webhook.
    fn served(&self) -> Option<HashSet<Box<str>>> {
        let mut served = self.search.cluster.opted_in()?;
        served.retain(|namespace| !self.is_left_out(namespace));
        Some(served)
    }

    fn is_left_out(&self, namespace: &str) -> bool {
        namespace == SYSTEM || namespace == self.search.client.default_namespace()
    }

    // === seeing ===

    async fn follow_pods(&self) {
        loop {
            let pods: Api<PartialObjectMeta<Pod>> = Api::all(self.search.client.clone());
            tokio::select! {
                () = watch::follow(pods, watch::all().fields(NOT_FINISHED), |event| self.see(event)) => {}
                () = self.examine_all() => tracing::info!("there is room for more pods that were not injected: all pods are read again"),
            }
        }
    }

    fn see(&self, event: Event<PartialObjectMeta<Pod>>) {
        match event {
            Event::Init => self.memory().list_begins(),
            Event::InitApply(pod) | Event::Apply(pod) => self.look_at(&pod.metadata),
            Event::InitDone => {
                self.memory().list_ends();
                self.count();
            }
            Event::Delete(pod) => self.forget(&pod.metadata),
        }
    }

    fn look_at(&self, meta: &ObjectMeta) {
        let served = |namespace: &str| self.search.cluster.is_opted_in(namespace) && !self.is_left_out(namespace);
        if !is_suspect(meta) {
            self.forget(meta);
        } else if meta.namespace.as_deref().is_some_and(served) {
            self.memory().add(meta);
            self.news.notify_one();
        }
    }

    fn forget(&self, meta: &ObjectMeta) {
        if self.memory().forget(meta.uid.as_deref().unwrap_or_default()) {
            self.count();
            self.news.notify_one();
        }
    }

    /// Pods that were there before their namespace was opted in are not seen again by the watch: they are listed, once.
    async fn follow_namespaces(&self, mut changes: Receiver<()>, mut known: HashSet<Box<str>>) {
        loop {
            let served = self.served().unwrap_or_default();
            self.memory().keep_namespaces(&served);
            self.count();
            known.retain(|namespace| served.contains(namespace));
            let mut all = true;
            for namespace in served {
                if !known.contains(&namespace) {
                    match self.look_into(&namespace).await {
                        Ok(()) => drop(known.insert(namespace)),
                        Err(error) => {
                            tracing::warn!(%namespace, %error, "the pods of a namespace that was opted in cannot be listed");
                            all = false;
                        }
                    }
                }
            }
            let patience = if all { Duration::MAX } else { PAUSE };
            // Either may end it.
            let _ = timeout(patience, changes.changed()).await;
        }
    }

    async fn look_into(&self, namespace: &str) -> Result<(), kube::Error> {
        let pods: Api<PartialObjectMeta<Pod>> = Api::namespaced(self.search.client.clone(), namespace);
        let mut page = ListParams::default().limit(PAGE).fields(NOT_FINISHED);
        loop {
            let list = pods.list(&page).await?;
            for pod in &list.items {
                self.look_at(&pod.metadata);
            }
            page.continue_token = list.metadata.continue_.filter(|token| !token.is_empty());
            if page.continue_token.is_none() {
                return Ok(());
            }
        }
    }

    // === examining ===

    /// Examines the pods that wait, one after the other, until there is room for those who were turned away.
    async fn examine_all(&self) {
        loop {
            let next = self.memory().next();
            match next {
                Some(suspect) => sleep(self.examine(suspect).await).await,
                None if self.memory().has_room_again() => return,
                None => self.news.notified().await,
            }
        }
    }

    /// Gives back how long to wait before the next.
    async fn examine(&self, suspect: Suspect) -> Duration {
        let problem = match timeout(BOUND, self.question(&suspect)).await {
            Ok(Ok(slipped_through)) => {
                self.memory().settle(&suspect, slipped_through);
                self.count();
                return PACE;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {BOUND:?}"),
        };
        tracing::warn!(namespace = %suspect.namespace, pod = %suspect.name, problem, "a pod cannot be examined for now");
        self.memory().postpone(suspect);
        PAUSE
    }

    /// Whether the pod is there and slipped through; if so, it is reported.
    async fn question(&self, suspect: &Suspect) -> Result<bool, kube::Error> {
        let pods: Api<Pod> = Api::namespaced(self.search.client.clone(), &suspect.namespace);
        let pod = match pods.get_opt(&suspect.name).await {
            Ok(pod) => pod.filter(|pod| pod.metadata.uid.as_deref() == Some(&suspect.uid)),
            Err(error) => return self.give_up(suspect, error).map(|()| false),
        };
        let Some(pod) = pod.filter(slipped_through) else { return Ok(false) };
        let events: Api<Told> = Api::namespaced(self.search.client.clone(), &suspect.namespace);
        let told = events.create(&PostParams::default(), &event::event(&pod, &self.search.identity, Timestamp::now())).await;
        match told {
            Ok(_) => {
                self.search.metrics.uninjected_pod_found();
                tracing::warn!(namespace = %suspect.namespace, pod = %suspect.name, "a pod asks for injection and was not injected");
            }
            Err(kube::Error::Api(status)) if status.code == CONFLICT => {}
            Err(error) => self.give_up(suspect, error)?,
        }
        Ok(true)
    }

    /// What the API server refuses (a namespace that is being deleted takes no Events) it would refuse again; other failures pass.
    fn give_up(&self, suspect: &Suspect, error: kube::Error) -> Result<(), kube::Error> {
        let kube::Error::Api(status) = &error else { return Err(error) };
        if !(400..500).contains(&status.code) || status.code == TOO_MANY_REQUESTS {
            return Err(error);
        }
        tracing::warn!(namespace = %suspect.namespace, pod = %suspect.name, %error, "the API server refuses what is asked about a pod");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
