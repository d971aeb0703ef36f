//! Asking the API server for what a watch has not shown yet: bounded in time, and once for all who ask at the same time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared, try_join};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::core::PartialObjectMeta;
use kube::{Api, Client};

use super::{read_account, read_namespace};
use crate::webhook::{LookupError, PodDefaults, namespace_defaults};

/// What a review can wait for: the API server waits 5 seconds for the whole review.
const BOUND: Duration = Duration::from_secs(1);

type Answer = Result<PodDefaults, LookupError>;
type Flight = BoxFuture<'static, Answer>;

/// Questions in flight, by namespace and ServiceAccount. They live as long as someone waits for them.
pub(super) struct Lookups {
    client: Client,
    flights: Mutex<HashMap<(String, String), WeakShared<Flight>>>,
}

impl Lookups {
    pub(super) fn new(client: Client) -> Lookups {
        Lookups { client, flights: Mutex::default() }
    }

    /// The answer of the question in flight, or of a new one.
    pub(super) fn get(&self, namespace: &str, account: &str) -> BoxFuture<'static, Answer> {
        self.join(namespace, account).boxed()
    }

    fn join(&self, namespace: &str, account: &str) -> Shared<Flight> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        // A flight that has landed or that nobody waits for any more has nothing new to tell.
        flights.retain(|_, flight| flight.upgrade().is_some_and(|flight| flight.peek().is_none()));
        let key = (namespace.to_owned(), account.to_owned());
        if let Some(flight) = flights.get(&key).and_then(WeakShared::upgrade) {
            return flight;
        }
        let flight = bounded(ask(self.client.clone(), key.0.clone(), key.1.clone())).boxed().shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert(key, weak);
        }
        flight
    }
}

async fn bounded(question: impl Future<Output = Result<PodDefaults, kube::Error>>) -> Answer {
    match tokio::time::timeout(BOUND, question).await {
        Ok(answer) => answer.map_err(|error| LookupError::Refused(error.to_string())),
        Err(_) => Err(LookupError::Timeout(BOUND)),
    }
}

async fn ask(client: Client, namespace: String, account: String) -> Result<PodDefaults, kube::Error> {
    let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let accounts: Api<PartialObjectMeta<ServiceAccount>> = Api::namespaced(client, &namespace);
    let (found, account) = try_join(namespaces.get_opt(&namespace), accounts.get_opt(&account)).await?;
    Ok(PodDefaults {
        namespace: found.map_or_else(|| namespace_defaults(&namespace, []), |found| read_namespace(&found.metadata)),
        account: account.map(|account| read_account(&account.metadata)).unwrap_or_default(),
    })
}
