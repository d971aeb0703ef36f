//! Manifests of pods, short enough for a test to be read.

use serde_json::{Map, Value, json};

use super::SHELL_IMAGE;

/// What a script ends with that is to stay until it is told to end.
pub(crate) const STAY: &str = "\ntrap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done";

/// What a pod says of itself, below our prefix. Its vault is `demo`.
pub(crate) fn annotations(ours: &[(&str, &str)]) -> Value {
    let all = std::iter::once(&("vault", "demo")).chain(ours);
    all.map(|(key, value)| (format!("keyvault-injector.io/{key}"), Value::from(*value))).collect::<Map<_, _>>().into()
}

/// The specification of a pod of ServiceAccount `app`. What is given wins.
pub(crate) fn spec(given: Value) -> Value {
    let mut spec = json!({"serviceAccountName": "app", "terminationGracePeriodSeconds": 2});
    let Value::Object(given) = given else { panic!("not an object: {given}") };
    spec.as_object_mut().unwrap().extend(given);
    spec
}

/// A pod with annotations below our prefix.
pub(crate) fn pod(name: &str, ours: &[(&str, &str)], given: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": annotations(ours)}, "spec": spec(given)})
}

/// A container that runs a script.
pub(crate) fn shell(name: &str, script: &str) -> Value {
    json!({"name": name, "image": SHELL_IMAGE, "command": ["/bin/sh", "-c", script]})
}

/// The same with more fields.
pub(crate) fn shell_with(name: &str, script: &str, more: Value) -> Value {
    let mut container = shell(name, script);
    let Value::Object(more) = more else { panic!("not an object: {more}") };
    container.as_object_mut().unwrap().extend(more);
    container
}
