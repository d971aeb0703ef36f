//! What a namespace holds that is neither ours nor made by Kubernetes itself.

use std::collections::HashSet;

use kube::api::ListParams;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::discovery::{ApiCapabilities, ApiResource, Discovery, Scope, verbs};
use kube::{Api, Client, ResourceExt};

use keyvault_mutation::installation::PART_OF;

/// Groups that show other groups' objects, or those of every namespace, a second time.
const VIEWS: [&str; 3] = ["events.k8s.io", "metrics.k8s.io", "packages.operators.coreos.com"];

/// What every namespace holds, on Kubernetes or OpenShift.
const EVERYWHERE: [&str; 5] = [
    "configmap/kube-root-ca.crt",
    "configmap/openshift-service-ca.crt",
    "serviceaccount/builder",
    "serviceaccount/default",
    "serviceaccount/deployer",
];

/// Annotations of Secrets that belong to a ServiceAccount.
const OF_ACCOUNTS: [&str; 2] = ["kubernetes.io/service-account.name", "openshift.io/internal-registry-auth-token.service-account"];

/// How many objects a message names.
const SHOWN: usize = 10;

/// The objects of others, as `KIND/NAME`.
pub(super) async fn of_others(client: &Client, namespace: &str, ours: &HashSet<&str>) -> Result<Vec<String>, kube::Error> {
    let discovery = Discovery::new(client.clone()).exclude(&VIEWS).run_aggregated().await?;
    let mut others = Vec::new();
    for (resource, _) in discovery.groups().flat_map(kube::discovery::ApiGroup::resources_by_stability).filter(is_listed) {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        for found in api.list_metadata(&ListParams::default()).await?.items {
            let object = format!("{}/{}", resource.kind.to_lowercase(), found.name_any());
            if !ours.contains(object.as_str()) && !comes_along(&object, &found) {
                others.push(object);
            }
        }
    }
    others.sort();
    Ok(others)
}

fn is_listed((resource, can): &(ApiResource, ApiCapabilities)) -> bool {
    can.scope == Scope::Namespaced && can.supports_operation(verbs::LIST) && resource.kind != "Event"
}

/// Whether an object goes with something else: with its owner, with the installation, or with any namespace.
fn comes_along(object: &str, found: &PartialObjectMeta<DynamicObject>) -> bool {
    let (label, value) = PART_OF;
    found.metadata.deletion_timestamp.is_some()
        || !found.owner_references().is_empty()
        || found.labels().get(label).is_some_and(|text| text == value)
        || EVERYWHERE.contains(&object)
        || object.starts_with("rolebinding/system:")
        || OF_ACCOUNTS.iter().any(|annotation| found.annotations().contains_key(*annotation))
}

/// The first of them, for a message.
pub(super) fn some_of(objects: &[String]) -> String {
    let shown = objects.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match objects.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(metadata: serde_json::Value) -> PartialObjectMeta<DynamicObject> {
        serde_json::from_value(serde_json::json!({"apiVersion": "v1", "kind": "X", "metadata": metadata})).unwrap()
    }

    #[test]
    fn what_goes_with_something_else_keeps_no_namespace() {
        let plain = || found(serde_json::json!({"name": "x"}));
        for (object, goes) in [
            ("serviceaccount/default", true),
            ("configmap/kube-root-ca.crt", true),
            ("rolebinding/system:deployers", true),
            ("configmap/x", false),
            ("serviceaccount/x", false),
        ] {
            assert_eq!(comes_along(object, &plain()), goes, "{object}");
        }
        for metadata in [
            serde_json::json!({"labels": {"app.kubernetes.io/part-of": "keyvault-injector"}}),
            serde_json::json!({"ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u"}]}),
            serde_json::json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}),
            serde_json::json!({"annotations": {"kubernetes.io/service-account.name": "default"}}),
        ] {
            assert!(comes_along("secret/x", &found(metadata.clone())), "{metadata}");
        }
        assert!(!comes_along("secret/x", &found(serde_json::json!({"labels": {"app.kubernetes.io/part-of": "shop"}}))));
    }

    #[test]
    fn a_message_names_ten_objects() {
        let objects: Vec<String> = (0..12).map(|number| format!("secret/{number}")).collect();
        assert_eq!(some_of(&objects[..1]), "secret/0");
        assert_eq!(some_of(&objects[..10]).matches(", ").count(), 9);
        assert!(some_of(&objects).ends_with("secret/9 and 2 more"));
    }
}
