//! What a pod inherits from its Namespace, its ServiceAccount and its cluster's nodes, and the narrow way to ask for it.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use keyvault_mutation::annotations::PREFIX;
use keyvault_mutation::inject::{NamespaceDefaults, ServiceAccountDefaults};
use keyvault_mutation::nodes::NodeAnswers;

/// What one pod inherits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodDefaults {
    /// From the Namespace it is created in.
    pub namespace: NamespaceDefaults,
    /// From the ServiceAccount it runs as.
    pub account: ServiceAccountDefaults,
    /// What the nodes that it may run on can do.
    pub nodes: Arc<NodeAnswers>,
}

/// A source of defaults. Names are a namespace and a ServiceAccount in it.
pub trait Defaults: Send + Sync {
    /// Whether [`Defaults::cached`] knows what there is to know; until then the webhook is not ready.
    fn filled(&self) -> bool;

    /// What is known without asking anybody; `None` where either object is unknown.
    fn cached(&self, namespace: &str, account: &str) -> Option<PodDefaults>;

    /// Asks the best source, once and within a bound. An object that does not exist has no defaults: the result is empty, not an error.
    fn fresh<'a>(&'a self, namespace: &'a str, account: &'a str) -> BoxFuture<'a, Result<PodDefaults, LookupError>>;
}

/// Why nobody could be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No answer in time.
    #[error("the API server did not answer within {0:?}")]
    Timeout(Duration),
    /// So many others ask that this question had no turn.
    #[error("too many lookups are in flight: the API server could not be asked within {0:?}")]
    Busy(Duration),
    /// The API server refuses us or is not there.
    #[error("the API server could not be asked: {0}")]
    Refused(String),
}

/// Keeps of a Namespace's annotations what is ours, without the prefix, in the order of their keys.
#[must_use]
pub fn namespace_defaults<'a>(name: &str, annotations: impl IntoIterator<Item = (&'a str, &'a str)>) -> NamespaceDefaults {
    let ours = annotations.into_iter().filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?.to_owned(), value.to_owned())));
    let mut annotations: Vec<_> = ours.collect();
    annotations.sort();
    NamespaceDefaults { name: name.to_owned(), annotations }
}

/// Keeps of the annotations of a ServiceAccount that was found its Azure identity. An empty value is none.
#[must_use]
pub fn account_defaults<'a>(annotations: impl IntoIterator<Item = (&'a str, &'a str)>) -> ServiceAccountDefaults {
    let mut account = ServiceAccountDefaults { found: true, ..ServiceAccountDefaults::default() };
    for (key, value) in annotations.into_iter().filter(|(_, value)| !value.is_empty()) {
        match key {
            "azure.workload.identity/client-id" => account.client_id = Some(value.to_owned()),
            "azure.workload.identity/tenant-id" => account.tenant_id = Some(value.to_owned()),
            _ => {}
        }
    }
    account
}
