//! Asking the API server for what a watch has not shown yet: bounded in time and in number, and once for all who ask at the same time.
//!
//! Anyone who reaches the webhook's port can make up names that no watch has shown: the API server must not suffer from that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared, ready, try_join};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use super::{read_account, read_namespace};
use crate::webhook::{LookupError, PodDefaults, namespace_defaults};
use keyvault_mutation::inject::{NamespaceDefaults, ServiceAccountDefaults};

/// What a review can wait for: the API server waits 5 seconds for the whole review.
const BOUND: Duration = Duration::from_secs(1);

/// Questions in flight at one time. The others wait for their turn.
const IN_FLIGHT: usize = 16;

/// A turn takes at least this long: 160 questions a second.
const TURN: Duration = Duration::from_millis(100);

/// How long it is remembered that an object does not exist.
const ABSENCE: Duration = Duration::from_secs(2);

/// More than the turns within that time.
const MAX_ABSENT: usize = 1000;

type Answer = Result<PodDefaults, LookupError>;
type Flight = BoxFuture<'static, Answer>;
/// Namespace and ServiceAccount.
type Key = (String, String);

/// Questions to the API server.
pub(super) struct Lookups {
    client: Client,
    turns: Arc<Semaphore>,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// Questions in flight, with a number of their own. They live as long as someone waits for them.
    flights: HashMap<Key, (u64, WeakShared<Flight>)>,
    next: u64,
    /// What was not found, and when.
    absent: HashMap<Key, (Instant, PodDefaults)>,
}

/// Takes a question off the list, whether it was answered or nobody waits for it any more.
struct Landing {
    known: Arc<Mutex<Known>>,
    key: Key,
    number: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut known = lock(&self.known);
        if known.flights.get(&self.key).is_some_and(|(number, _)| *number == self.number) {
            known.flights.remove(&self.key);
        }
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lookups {
    pub(super) fn new(client: Client) -> Lookups {
        Lookups { client, turns: Arc::new(Semaphore::new(IN_FLIGHT)), known: Arc::default() }
    }

    /// The answer of the question in flight, or of a new one.
    pub(super) fn get(&self, namespace: &str, account: &str) -> BoxFuture<'static, Answer> {
        let key = (namespace.to_owned(), account.to_owned());
        let mut known = lock(&self.known);
        if let Some((since, answer)) = known.absent.get(&key)
            && since.elapsed() < ABSENCE
        {
            return ready(Ok(answer.clone())).boxed();
        }
        if let Some(flight) = known.flights.get(&key).and_then(|(_, flight)| flight.upgrade()) {
            return flight.boxed();
        }
        let number = known.next;
        known.next += 1;
        let landing = Landing { known: Arc::clone(&self.known), key: key.clone(), number };
        let flight: Shared<Flight> = fly(self.client.clone(), Arc::clone(&self.turns), landing).boxed().shared();
        if let Some(weak) = flight.downgrade() {
            known.flights.insert(key, (number, weak));
        }
        flight.boxed()
    }
}

async fn fly(client: Client, turns: Arc<Semaphore>, landing: Landing) -> Answer {
    let deadline = Instant::now() + BOUND;
    // A turn that comes with the deadline comes too late.
    let turn = match timeout_at(deadline, turns.acquire_owned()).await {
        Ok(Ok(turn)) if Instant::now() < deadline => Arc::new(turn),
        Ok(_) | Err(_) => return Err(LookupError::Busy(BOUND)),
    };
    let held = Arc::clone(&turn);
    tokio::spawn(async move {
        sleep(TURN).await;
        drop(held);
    });
    let (namespace, account) = &landing.key;
    let found = match timeout_at(deadline, ask(client, namespace, account)).await {
        Ok(found) => found.map_err(|error| LookupError::Refused(error.to_string()))?,
        Err(_) => return Err(LookupError::Timeout(BOUND)),
    };
    drop(turn);
    if let Found { namespace: None, .. } | Found { account: None, .. } = &found {
        lock(&landing.known).remember_absence(landing.key.clone(), found.defaults(namespace));
    }
    Ok(found.defaults(namespace))
}

impl Known {
    fn remember_absence(&mut self, key: Key, answer: PodDefaults) {
        if self.absent.len() >= MAX_ABSENT {
            self.absent.retain(|_, (since, _)| since.elapsed() < ABSENCE);
        }
        if self.absent.len() < MAX_ABSENT {
            self.absent.insert(key, (Instant::now(), answer));
        }
    }
}

/// What there is of the two objects.
struct Found {
    namespace: Option<NamespaceDefaults>,
    account: Option<ServiceAccountDefaults>,
}

impl Found {
    fn defaults(&self, namespace: &str) -> PodDefaults {
        PodDefaults {
            namespace: self.namespace.clone().unwrap_or_else(|| namespace_defaults(namespace, [])),
            account: self.account.clone().unwrap_or_default(),
            nodes: Arc::default(),
        }
    }
}

async fn ask(client: Client, namespace: &str, account: &str) -> Result<Found, kube::Error> {
    let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let accounts: Api<PartialObjectMeta<ServiceAccount>> = Api::namespaced(client, namespace);
    let (namespace, account) = try_join(namespaces.get_opt(namespace), accounts.get_opt(account)).await?;
    Ok(Found { namespace: namespace.map(|found| read_namespace(&found.metadata)), account: account.map(|found| read_account(&found.metadata)) })
}
