//! The cluster, as far as reviews need it: annotations of Namespaces and ServiceAccounts and what nodes can do, watched and remembered. The only user of kube.

mod cache;
mod certificates;
mod connect;
mod lease;
mod lookup;
mod nodes;
mod objects;
mod registration;
mod slipped;
mod uninstall;
mod watch;

use std::collections::HashSet;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, join};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::Api;
use kube::api::ObjectMeta;
use kube::core::PartialObjectMeta;
use tokio::sync::watch::Receiver;

use crate::webhook::{Defaults, LookupError, Metrics, PodDefaults, account_defaults, namespace_defaults};
use cache::{Cache, key};
use keyvault_mutation::inject::{NamespaceDefaults, ServiceAccountDefaults};
use keyvault_mutation::installation::OPT_IN;
use keyvault_mutation::nodes::NodeAnswers;
use lookup::Lookups;
use nodes::Nodes;
use watch::Keeper;

pub use certificates::SelfManagedCertificates;
pub use connect::{ConnectError, Place, connect, connect_to};
pub use kube::Client;
pub use registration::follow_registration;
pub use slipped::SlippedThrough;
pub use uninstall::{Installed, Kept, Step, UninstallError};

/// What is kept of a Namespace that carries something of ours.
#[derive(Clone, PartialEq, Eq)]
struct KnownNamespace {
    opted_in: bool,
    defaults: NamespaceDefaults,
}

/// Defaults from a cluster: two watches that keep what is ours only, and a question to the API server for what they have not seen yet.
pub struct ClusterDefaults {
    client: Client,
    namespaces: Cache<KnownNamespace>,
    accounts: Cache<ServiceAccountDefaults>,
    lookups: Lookups,
    nodes: Option<Nodes>,
}

impl ClusterDefaults {
    /// Caches that fill once [`ClusterDefaults::watch`] runs.
    #[must_use]
    pub fn new(client: Client) -> ClusterDefaults {
        let lookups = Lookups::new(client.clone());
        ClusterDefaults { client, namespaces: Cache::default(), accounts: Cache::default(), lookups, nodes: None }
    }

    /// The same, with what the nodes can do; nobody knows that until [`ClusterDefaults::watch_nodes`] runs.
    #[must_use]
    pub fn with_nodes(self) -> ClusterDefaults {
        ClusterDefaults { nodes: Some(Nodes::default()), ..self }
    }

    /// Follows Namespaces and ServiceAccounts, for ever.
    pub async fn watch(self: Arc<Self>) {
        let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(self.client.clone());
        let accounts: Api<PartialObjectMeta<ServiceAccount>> = Api::all(self.client.clone());
        let mut keeps_namespaces = Keeper::new(&self.namespaces, keep_namespace);
        let mut keeps_accounts = Keeper::new(&self.accounts, keep_account);
        let see_namespace = |event| _ = keeps_namespaces.see(event);
        let see_account = |event| _ = keeps_accounts.see(event);
        join(watch::follow(namespaces, watch::all(), see_namespace), watch::follow(accounts, watch::all(), see_account)).await;
    }

    /// Follows the nodes, for ever, if anything depends on them.
    pub async fn watch_nodes(self: Arc<Self>, metrics: Arc<Metrics>) {
        if let Some(nodes) = &self.nodes {
            nodes.follow(self.client.clone(), &metrics).await;
        }
    }

    fn node_answers(&self) -> Arc<NodeAnswers> {
        self.nodes.as_ref().map(Nodes::answers).unwrap_or_default()
    }

    /// The namespaces that are opted in, so far as is known; `None` until the caches have been filled once.
    fn opted_in(&self) -> Option<HashSet<Box<str>>> {
        let is = |known: &Option<Box<KnownNamespace>>| known.as_ref().is_some_and(|known| known.opted_in);
        self.namespaces.read(|seen| seen.iter().filter(|(_, known)| is(known)).map(|(name, _)| name.clone()).collect())
    }

    /// Learns of every later change of a Namespace.
    fn changes(&self) -> Receiver<()> {
        self.namespaces.changes()
    }

    fn is_opted_in(&self, namespace: &str) -> bool {
        self.namespaces.get(namespace).flatten().is_some_and(|known| known.opted_in)
    }
}

impl Defaults for ClusterDefaults {
    fn filled(&self) -> bool {
        self.namespaces.filled() && self.accounts.filled() && self.nodes.as_ref().is_none_or(Nodes::settled)
    }

    fn cached(&self, namespace: &str, account: &str) -> Option<PodDefaults> {
        let known = self.namespaces.get(namespace)?;
        let account = self.accounts.get(&key(Some(namespace), account))?;
        Some(PodDefaults {
            namespace: known.map_or_else(|| namespace_defaults(namespace, []), |known| known.defaults),
            account: account.unwrap_or_else(|| account_defaults([])),
            nodes: self.node_answers(),
        })
    }

    fn fresh<'a>(&'a self, namespace: &'a str, account: &'a str) -> BoxFuture<'a, Result<PodDefaults, LookupError>> {
        let asked = self.lookups.get(namespace, account);
        async move { asked.await.map(|found| PodDefaults { nodes: self.node_answers(), ..found }) }.boxed()
    }
}

fn keep_namespace(object: &PartialObjectMeta<Namespace>) -> Option<KnownNamespace> {
    let meta = &object.metadata;
    let (label, value) = OPT_IN;
    let opted_in = meta.labels.as_ref().and_then(|labels| labels.get(label)).is_some_and(|text| text == value);
    let defaults = read_namespace(meta);
    (opted_in || !defaults.annotations.is_empty()).then_some(KnownNamespace { opted_in, defaults })
}

fn keep_account(object: &PartialObjectMeta<ServiceAccount>) -> Option<ServiceAccountDefaults> {
    Some(read_account(&object.metadata)).filter(|account| *account != account_defaults([]))
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
