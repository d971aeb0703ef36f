//! Defaults without a cluster: from manifests, or none at all.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::future::{BoxFuture, ready};
use serde::Deserialize;

use super::defaults::{Defaults, LookupError, PodDefaults, account_defaults, namespace_defaults};
use keyvault_mutation::inject::{NamespaceDefaults, ServiceAccountDefaults};
use keyvault_mutation::nodes::{NodeAnswers, Obstacle};

/// Defaults that never change. Namespaces and ServiceAccounts that are not among them have none.
#[derive(Clone, Debug)]
pub struct FixedDefaults {
    /// Of ServiceAccounts that name none.
    namespace: String,
    namespaces: HashMap<String, NamespaceDefaults>,
    accounts: HashMap<(String, String), ServiceAccountDefaults>,
    nodes: Arc<NodeAnswers>,
}

/// Why a manifest gives no defaults.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not YAML, or not shaped like a Kubernetes object.
    #[error("not a manifest: {0}")]
    Yaml(String),
    /// Another kind of object.
    #[error("a {0} has no defaults to give: write a Namespace or a ServiceAccount")]
    Kind(String),
}

#[derive(Deserialize)]
struct Manifest {
    kind: String,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    namespace: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Default for FixedDefaults {
    fn default() -> FixedDefaults {
        FixedDefaults::in_namespace("default")
    }
}

impl FixedDefaults {
    /// None yet. ServiceAccounts that name no namespace are in `namespace`.
    #[must_use]
    pub fn in_namespace(namespace: &str) -> FixedDefaults {
        let nodes = Arc::new(NodeAnswers::no(&Obstacle::NoCluster));
        FixedDefaults { namespace: namespace.to_owned(), namespaces: HashMap::new(), accounts: HashMap::new(), nodes }
    }

    /// Adds the Namespaces and ServiceAccounts of a YAML text of one or many documents.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn add(&mut self, text: &str) -> Result<(), ManifestError> {
        let manifests: Vec<Manifest> = serde_saphyr::from_multiple(text).map_err(|error| ManifestError::Yaml(error.to_string()))?;
        for Manifest { kind, metadata } in manifests {
            let annotations = metadata.annotations.unwrap_or_default();
            let annotations = annotations.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            match kind.as_str() {
                "Namespace" => {
                    let defaults = namespace_defaults(&metadata.name, annotations);
                    self.namespaces.insert(metadata.name, defaults);
                }
                "ServiceAccount" => {
                    let namespace = metadata.namespace.unwrap_or_else(|| self.namespace.clone());
                    self.accounts.insert((namespace, metadata.name), account_defaults(annotations));
                }
                _ => return Err(ManifestError::Kind(kind)),
            }
        }
        Ok(())
    }

    /// What is known of a pod's namespace and ServiceAccount.
    #[must_use]
    pub fn get(&self, namespace: &str, account: &str) -> PodDefaults {
        let unknown = || namespace_defaults(namespace, []);
        PodDefaults {
            namespace: self.namespaces.get(namespace).cloned().unwrap_or_else(unknown),
            account: self.accounts.get(&(namespace.to_owned(), account.to_owned())).cloned().unwrap_or_default(),
            nodes: Arc::clone(&self.nodes),
        }
    }
}

impl Defaults for FixedDefaults {
    fn filled(&self) -> bool {
        true
    }

    fn cached(&self, namespace: &str, account: &str) -> Option<PodDefaults> {
        Some(self.get(namespace, account))
    }

    fn fresh<'a>(&'a self, namespace: &'a str, account: &'a str) -> BoxFuture<'a, Result<PodDefaults, LookupError>> {
        Box::pin(ready(Ok(self.get(namespace, account))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_ours_is_kept() {
        let mut fixed = FixedDefaults::default();
        fixed
            .add(concat!(
                "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: payments\n  labels: {a: b}\n  annotations:\n",
                "    keyvault-injector.io/vault: payments-prod\n    other.io/x: canary\n---\n",
                "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: web\n  namespace: payments\n  annotations:\n",
                "    azure.workload.identity/client-id: c\n    azure.workload.identity/tenant-id: ''\n"
            ))
            .unwrap();
        let defaults = fixed.get("payments", "web");
        assert_eq!(defaults.namespace.annotations, [("vault".to_owned(), "payments-prod".to_owned())]);
        assert_eq!(defaults.account, ServiceAccountDefaults { found: true, client_id: Some("c".into()), tenant_id: None });
        let unknown = fixed.get("elsewhere", "web");
        assert_eq!((unknown.namespace.name.as_str(), unknown.namespace.annotations.len()), ("elsewhere", 0));
        assert_eq!(unknown.account, ServiceAccountDefaults::default());
    }

    #[test]
    fn other_objects_are_refused_by_kind() {
        let refused = FixedDefaults::default().add("kind: Pod\nmetadata: {name: x}").unwrap_err();
        assert_eq!(refused.to_string(), "a Pod has no defaults to give: write a Namespace or a ServiceAccount");
    }
}
