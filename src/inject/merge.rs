//! An entry of ours as it stands, brought to what we set: our fields hold, fields that others added are kept.

use serde_json::{Map, Value};

use super::reserved::is_our_volume;
use crate::quantity::Quantity;

/// `there` with every field of `wanted`.
pub(super) fn merge(there: &Value, wanted: &Value) -> Value {
    field("", there, wanted)
}

/// Fields that nobody adds to an init container of others but to change what it does, where they are not ours: `restartPolicy: Always` would start the app before
/// its secrets are there, `args` would make the agent refuse its own command line.
const NEVER_KEPT: [&str; 5] = ["args", "restartPolicy", "restartPolicyRules", "lifecycle", "startupProbe"];

/// As [`merge`], for the agent: an amount that we leave out on purpose would bind the whole pod, whoever wrote it. Only a request of ephemeral
/// storage binds nobody; a LimitRange adds it, and refuses the pod where it was taken away.
pub(super) fn merge_agent(there: &Value, wanted: &Value) -> Value {
    let mut merged = merge(there, wanted);
    if let Some(fields) = merged.as_object_mut() {
        fields.retain(|name, _| !NEVER_KEPT.contains(&name.as_str()) || !wanted[name.as_str()].is_null());
        // No API server sends amounts that are no map, and none takes them.
        if fields.get("resources").is_some_and(|amounts| !amounts.is_object()) {
            fields.shift_remove("resources");
        }
    }
    for side in ["requests", "limits"] {
        let Some(amounts) = merged.get_mut("resources").and_then(|sides| sides.get_mut(side)).and_then(Value::as_object_mut) else { continue };
        let before = amounts.len();
        let binds = |name: &str| matches!((side, name), (_, "cpu" | "memory") | ("limits", "ephemeral-storage"));
        amounts.retain(|name, _| !binds(name) || !wanted["resources"][side][name].is_null());
        if amounts.is_empty() && before > 0 {
            merged["resources"].as_object_mut().and_then(|sides| sides.shift_remove(side));
        }
    }
    merged
}

fn field(name: &str, there: &Value, wanted: &Value) -> Value {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => Value::Object(object(there, wanted)),
        (Value::Array(there), Value::Array(wanted)) if matches!(name, "env" | "volumeMounts") => Value::Array(named(there, wanted)),
        // The API server adds defaults to each.
        (Value::Array(there), Value::Array(wanted)) if name == "items" && there.len() == wanted.len() => {
            Value::Array(there.iter().zip(wanted).map(|(there, wanted)| field("", there, wanted)).collect())
        }
        (Value::String(there), Value::String(wanted)) if is_same(name, there, wanted) => Value::String(there.clone()),
        _ => wanted.clone(),
    }
}

fn object(there: &Map<String, Value>, wanted: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = there.clone();
    for (name, wanted) in wanted {
        let value = there.get(name).map_or_else(|| wanted.clone(), |there| field(name, there, wanted));
        merged.insert(name.clone(), value);
    }
    merged
}

/// Lists of named entries: ours by name, those of others kept, mounts of volumes that are ours no more dropped.
fn named(there: &[Value], wanted: &[Value]) -> Vec<Value> {
    let find = |list: &'_ [Value], entry: &Value| list.iter().position(|other| other["name"] == entry["name"]);
    let stale = |entry: &Value| entry["name"].as_str().is_some_and(is_our_volume);
    let mut merged: Vec<Value> = Vec::new();
    for entry in there {
        match find(wanted, entry) {
            Some(index) if find(&merged, entry).is_none() => merged.push(field("", entry, &wanted[index])),
            Some(_) => {}
            None if stale(entry) => {}
            None => merged.push(entry.clone()),
        }
    }
    let missing: Vec<Value> = wanted.iter().filter(|entry| find(&merged, entry).is_none()).cloned().collect();
    merged.extend(missing);
    merged
}

/// Spellings that mean the same: Kubernetes rewrites quantities, mirrors rewrite registries.
fn is_same(name: &str, there: &str, wanted: &str) -> bool {
    match name {
        "cpu" | "memory" | "ephemeral-storage" | "sizeLimit" => {
            matches!((there.parse::<Quantity>(), wanted.parse::<Quantity>()), (Ok(there), Ok(wanted)) if there == wanted)
        }
        "image" => is_mirrored(there, wanted),
        // The AlwaysPullImages admission sets this on every container and refuses a pod where it was set back.
        "imagePullPolicy" => there == wanted || there == "Always",
        _ => there == wanted,
    }
}

/// Whether `there` is `wanted` under another registry or path, perhaps pinned by digest: what image-rewriting webhooks do between two passes.
pub(super) fn is_mirrored(there: &str, wanted: &str) -> bool {
    let (there, wanted) = (ImageName::of(there), ImageName::of(wanted));
    let digest = wanted.digest.is_none() || there.digest == wanted.digest;
    let tag = there.tag == wanted.tag || (there.tag.is_none() && there.digest.is_some());
    there.name == wanted.name && digest && tag
}

/// The last component of an image reference.
struct ImageName<'a> {
    name: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl ImageName<'_> {
    fn of(reference: &str) -> ImageName<'_> {
        let (rest, digest) = match reference.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (reference, None),
        };
        let last = rest.rsplit('/').next().unwrap_or(rest);
        match last.split_once(':') {
            Some((name, tag)) => ImageName { name, tag: Some(tag), digest },
            None => ImageName { name: last, tag: None, digest },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mirrored_image_is_still_ours_and_another_is_not() {
        let ours = "registry.example/keyvault-injector:0.1.0";
        for (image, expected) in [
            ("mirror.example:5000/registry.example/keyvault-injector:0.1.0", true),
            ("registry.example/keyvault-injector@sha256:abc", true),
            ("registry.example/keyvault-injector:0.1.0@sha256:abc", true),
            ("registry.example/keyvault-injector:0.0.9", false),
            ("registry.example/keyvault-injector", false),
            ("evil.example/agent:0.1.0", false),
        ] {
            assert_eq!(is_mirrored(image, ours), expected, "{image}");
        }
        assert!(!is_mirrored("registry.example/keyvault-injector:0.1.0", "registry.example/keyvault-injector:0.1.0@sha256:abc"));
    }

    #[test]
    fn what_would_change_the_agents_doing_is_not_kept() {
        let there = json!({"name": "x", "args": ["--help"], "restartPolicy": "Always", "terminationMessagePath": "/dev/termination-log"});
        assert_eq!(merge_agent(&there, &json!({"name": "x"})), json!({"name": "x", "terminationMessagePath": "/dev/termination-log"}));
    }

    #[test]
    fn amounts_that_are_no_map_are_taken_away() {
        assert_eq!(merge_agent(&json!({"name": "x", "resources": [null]}), &json!({"name": "x"})), json!({"name": "x"}));
    }

    #[test]
    fn what_others_added_is_kept_and_what_is_ours_holds() {
        let there = json!({"name": "x", "securityContext": {"privileged": false, "runAsNonRoot": false}, "resources": {"limits": {"memory": "1Gi", "cpu": "500m"}},
            "env": [{"name": "HTTP_PROXY", "value": "p"}, {"name": "PLAN", "value": "old"}],
            "volumeMounts": [{"name": "keyvault-files-2", "mountPath": "/old"}, {"name": "kube-api-access", "mountPath": "/sa"}]});
        let wanted = json!({"name": "x", "securityContext": {"runAsNonRoot": true}, "resources": {"limits": {"memory": "1024Mi", "cpu": "1"}},
            "env": [{"name": "PLAN", "value": "new"}], "volumeMounts": [{"name": "keyvault-files", "mountPath": "/f"}]});
        assert_eq!(
            merge(&there, &wanted),
            json!({"name": "x", "securityContext": {"privileged": false, "runAsNonRoot": true}, "resources": {"limits": {"memory": "1Gi", "cpu": "1"}},
                "env": [{"name": "HTTP_PROXY", "value": "p"}, {"name": "PLAN", "value": "new"}],
                "volumeMounts": [{"name": "kube-api-access", "mountPath": "/sa"}, {"name": "keyvault-files", "mountPath": "/f"}]})
        );
    }
}
