//! The cluster, as far as reviews need it: annotations of Namespaces and ServiceAccounts, watched and remembered. The only user of kube.

mod cache;
mod lookup;
mod watch;

use std::sync::Arc;

use futures::future::{BoxFuture, join};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::{Api, Client};

use crate::inject::{NamespaceDefaults, ServiceAccountDefaults};
use crate::webhook::{Defaults, LookupError, PodDefaults, account_defaults, namespace_defaults};
use cache::Cache;
use lookup::Lookups;

/// Why the cluster cannot be reached at all.
#[derive(Debug, thiserror::Error)]
#[error("no cluster to read namespaces and service accounts from: {0}")]
pub struct ConnectError(#[from] kube::Error);

/// Defaults from a cluster: two watches that keep our annotations only, and a question to the API server for what they have not seen yet.
pub struct ClusterDefaults {
    client: Client,
    namespaces: Cache<NamespaceDefaults>,
    accounts: Cache<ServiceAccountDefaults>,
    lookups: Lookups,
}

/// A client as the surroundings have it: the pod's ServiceAccount, or a kubeconfig.
///
/// # Errors
/// [`ConnectError`] where there is neither.
pub async fn connect() -> Result<Client, ConnectError> {
    Ok(Client::try_default().await?)
}

impl ClusterDefaults {
    /// Caches that fill once [`ClusterDefaults::watch`] runs.
    #[must_use]
    pub fn new(client: Client) -> ClusterDefaults {
        let lookups = Lookups::new(client.clone());
        ClusterDefaults { client, namespaces: Cache::default(), accounts: Cache::default(), lookups }
    }

    /// Follows Namespaces and ServiceAccounts, for ever.
    pub async fn watch(self: Arc<Self>) {
        let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(self.client.clone());
        let accounts: Api<PartialObjectMeta<ServiceAccount>> = Api::all(self.client.clone());
        join(watch::follow(namespaces, &self.namespaces, read_namespace), watch::follow(accounts, &self.accounts, read_account)).await;
    }
}

impl Defaults for ClusterDefaults {
    fn filled(&self) -> bool {
        self.namespaces.filled() && self.accounts.filled()
    }

    fn cached(&self, namespace: &str, account: &str) -> Option<PodDefaults> {
        Some(PodDefaults { namespace: self.namespaces.get("", namespace)?, account: self.accounts.get(namespace, account)? })
    }

    fn fresh<'a>(&'a self, namespace: &'a str, account: &'a str) -> BoxFuture<'a, Result<PodDefaults, LookupError>> {
        self.lookups.get(namespace, account)
    }
}

fn read_namespace(meta: &ObjectMeta) -> NamespaceDefaults {
    namespace_defaults(meta.name.as_deref().unwrap_or_default(), annotations(meta))
}

fn read_account(meta: &ObjectMeta) -> ServiceAccountDefaults {
    account_defaults(annotations(meta))
}

fn annotations(meta: &ObjectMeta) -> impl Iterator<Item = (&str, &str)> {
    meta.annotations.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()))
}
