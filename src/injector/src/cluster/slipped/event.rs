//! What is reported about a pod that slipped through, where its author looks.

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;

use super::suspect::asking;
use keyvault_mutation::inject::AGENT;
use keyvault_mutation::installation::NAME;

const REASON: &str = "NotInjected";

/// The longest name that an object may have.
const MAX_NAME: usize = 253;

/// The Event of a pod. The same pod always has an Event of the same name, whichever replica writes it: the second one learns that it is reported already.
pub(super) fn event(pod: &Pod, reporter: &str, now: Timestamp) -> Event {
    let meta = &pod.metadata;
    Event {
        metadata: ObjectMeta { name: Some(name(meta)), namespace: meta.namespace.clone(), ..ObjectMeta::default() },
        event_time: Some(MicroTime(now)),
        type_: Some("Warning".to_owned()),
        reason: Some(REASON.to_owned()),
        action: Some("Inject".to_owned()),
        note: Some(note(meta)),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(NAME.to_owned()),
        reporting_instance: Some(reporter.to_owned()),
        ..Event::default()
    }
}

fn name(meta: &ObjectMeta) -> String {
    let (pod, uid) = (meta.name.as_deref().unwrap_or_default(), meta.uid.as_deref().unwrap_or_default());
    let room = MAX_NAME.saturating_sub(uid.len() + 1);
    // A name's label may end neither in a dot nor in a hyphen.
    let pod = pod.get(..room).unwrap_or(pod).trim_end_matches(['.', '-']);
    format!("{pod}.{uid}")
}

fn note(meta: &ObjectMeta) -> String {
    let asking: Vec<String> = asking(meta).into_iter().map(|key| key.annotation()).collect();
    let owner = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let remedy = owner.map_or_else(
        || "Delete the pod and create it again: no controller does.".to_owned(),
        |owner| format!("Delete the pod: its {} {} creates it again.", owner.kind, owner.name),
    );
    format!(
        "The pod was not injected: it asks by annotation ({}), and has no init container {AGENT}, so nothing from Key Vault reaches it. {remedy} \
         If the new pod is not injected either, pods of this namespace do not reach the webhook: contact the operators of keyvault-injector.",
        asking.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(metadata: &Value) -> Event {
        let pod: Pod = serde_json::from_value(json!({"metadata": metadata})).unwrap();
        event(&pod, "webhook-0", Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn the_event_regards_the_pod_and_says_what_to_do() {
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d9f", "uid": "2", "controller": true});
        let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "3"});
        let annotations = json!({"keyvault-injector.io/secrets": "db", "keyvault-injector.io/env": "A=db", "keyvault-injector.io/vault": "v"});
        let metadata =
            json!({"name": "web-7d9f-abcde", "namespace": "payments", "uid": "1", "annotations": annotations, "ownerReferences": [other, owner]});
        let event = serde_json::to_value(told(&metadata)).unwrap();
        let note = "The pod was not injected: it asks by annotation (keyvault-injector.io/secrets, keyvault-injector.io/env), and has no init \
                    container keyvault-agent, so nothing from Key Vault reaches it. Delete the pod: its ReplicaSet web-7d9f creates it again. If the \
                    new pod is not injected either, pods of this namespace do not reach the webhook: contact the operators of keyvault-injector.";
        assert_eq!(
            event,
            json!({
                "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "web-7d9f-abcde.1", "namespace": "payments"},
                "eventTime": "1970-01-01T00:00:00.000000Z", "type": "Warning", "reason": "NotInjected", "action": "Inject", "note": note,
                "regarding": {"apiVersion": "v1", "kind": "Pod", "name": "web-7d9f-abcde", "namespace": "payments", "uid": "1"},
                "reportingController": "keyvault-injector", "reportingInstance": "webhook-0",
            })
        );
    }

    #[test]
    fn a_bare_pod_is_to_be_made_by_hand() {
        let note = told(&json!({"name": "web", "uid": "1"})).note.unwrap();
        assert!(note.contains(" Delete the pod and create it again: no controller does. "), "{note}");
    }

    #[test]
    fn texts_of_any_pod_keep_the_bounds_of_an_event() {
        let keys = ["secrets", "certificates", "keys", "env", "templates", "template-config-map"];
        let annotations: serde_json::Map<_, _> = keys.iter().map(|key| (format!("keyvault-injector.io/{key}"), json!("x"))).collect();
        let long = format!("{}-{}", "a".repeat(215), "b".repeat(37));
        let uid = "0f1e2d3c-1111-4222-8333-444455556666";
        let owner = json!({"apiVersion": "x/v1", "kind": "K".repeat(63), "name": "n".repeat(253), "uid": "2", "controller": true});
        let event = told(&json!({"name": long, "uid": uid, "annotations": annotations, "ownerReferences": [owner]}));
        assert_eq!(event.metadata.name.unwrap(), format!("{}.{uid}", "a".repeat(215)));
        let note = event.note.unwrap();
        assert!(note.len() <= 1024, "{} bytes", note.len());
    }
}
