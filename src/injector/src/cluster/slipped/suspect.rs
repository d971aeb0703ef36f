//! Which pods slipped through: what their metadata and then the pods themselves say.

use k8s_openapi::api::core::v1::Pod;
use kube::api::ObjectMeta;

use crate::cluster::annotations;
use keyvault_mutation::annotations::{Annotations, Key, PREFIX};
use keyvault_mutation::inject::{AGENT, REFRESHER};
use keyvault_mutation::pod::MIRROR;

/// Leaves out what has ended. The API server applies it, so that such a pod looks deleted to a watch.
pub(super) const NOT_FINISHED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// Whether a pod asks for injection and bears no mark of it. Its namespace is another matter.
pub(super) fn is_suspect(meta: &ObjectMeta) -> bool {
    let ours = ours(meta);
    meta.deletion_timestamp.is_none()
        && !meta.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(MIRROR))
        && ours.get(Key::Inject) != Some("false")
        && ours.get(Key::Status).is_none()
        && ours.keys().any(Key::asks)
}

/// Whether a suspect runs, or will, without what it asks for.
pub(super) fn slipped_through(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let mut containers = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    is_suspect(&pod.metadata)
        && !matches!(phase, Some("Succeeded" | "Failed"))
        && !containers.any(|container| [AGENT, REFRESHER].contains(&container.name.as_str()))
}

/// The annotations by which a pod asks.
pub(super) fn asking(meta: &ObjectMeta) -> Vec<Key> {
    ours(meta).keys().filter(|key| key.asks()).collect()
}

fn ours(meta: &ObjectMeta) -> Annotations<'_> {
    let (ours, _unknown) = Annotations::read(annotations(meta).filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value))));
    ours
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(changes: &Value) -> Pod {
        let mut pod = json!({
            "metadata": {"name": "web", "uid": "1", "annotations": {"keyvault-injector.io/secrets": "db", "other.io/x": "y"}},
            "spec": {"containers": [{"name": "app"}], "initContainers": [{"name": "migrate"}]},
            "status": {"phase": "Pending"},
        });
        json_patch::merge(&mut pod, changes);
        serde_json::from_value(pod).unwrap()
    }

    fn annotated(name: &str, value: &str) -> Value {
        json!({"metadata": {"annotations": {(name): value}}})
    }

    #[test]
    fn a_pod_that_asks_and_bears_no_mark_slipped_through() {
        assert!(slipped_through(&pod(&json!({}))));
        assert!(slipped_through(&pod(&json!({"status": {"phase": "Running"}}))));
        assert!(slipped_through(&pod(&annotated("keyvault-injector.io/inject", "true"))));
        for key in ["certificates", "keys", "env", "templates", "template-config-map"] {
            let name = format!("keyvault-injector.io/{key}");
            assert!(slipped_through(&pod(&json!({"metadata": {"annotations": {"keyvault-injector.io/secrets": null, (name): "x"}}}))), "{key}");
        }
    }

    #[test]
    fn what_is_no_suspect_is_left_out_by_its_metadata() {
        for changes in [
            annotated("keyvault-injector.io/inject", "false"),
            annotated("keyvault-injector.io/status", "sha256:x"),
            annotated("kubernetes.io/config.mirror", "x"),
            json!({"metadata": {"deletionTimestamp": "2026-01-02T03:04:05Z"}}),
            json!({"metadata": {"annotations": {"keyvault-injector.io/secrets": null, "keyvault-injector.io/vault": "v"}}}),
            json!({"metadata": {"annotations": null}}),
        ] {
            assert!(!is_suspect(&pod(&changes).metadata), "{changes}");
            assert!(!slipped_through(&pod(&changes)), "{changes}");
        }
    }

    #[test]
    fn a_suspect_that_has_our_container_or_has_ended_is_cleared_by_the_pod_itself() {
        for changes in [
            json!({"spec": {"initContainers": [{"name": "migrate"}, {"name": "keyvault-agent"}]}}),
            json!({"spec": {"initContainers": [{"name": "keyvault-agent-watch", "restartPolicy": "Always"}]}}),
            json!({"status": {"phase": "Succeeded"}}),
            json!({"status": {"phase": "Failed"}}),
        ] {
            let pod = pod(&changes);
            assert!(is_suspect(&pod.metadata) && !slipped_through(&pod), "{changes}");
        }
        assert!(slipped_through(&pod(&json!({"spec": {"containers": [{"name": "keyvault-agent"}]}}))), "ours is an init container");
    }
}
