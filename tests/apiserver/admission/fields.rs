//! What we know nothing of stays as it was: fields of this Kubernetes that we do not read, and fields of one to come.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Scene, asking, assert_injected, container, opted_out, pod, without_ours};

/// The pods of `every_field.yaml`, asking.
fn full_pods() -> Vec<Value> {
    let mut pods: Vec<Value> = serde_saphyr::from_str(include_str!("every_field.yaml")).unwrap();
    for pod in &mut pods {
        pod["metadata"]["annotations"] = asking();
    }
    let mut init = pods[0]["spec"]["containers"][0].clone();
    init["name"] = json!("init");
    // These are for what keeps running.
    for field in ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy", "restartPolicy", "restartPolicyRules"] {
        init.as_object_mut().unwrap().remove(field);
    }
    pods[0]["spec"]["initContainers"] = json!([init]);
    pods
}

/// Fields that no pod of these tests comes back with, and why.
const LEFT_OUT: [&str; 6] = [
    // Not at creation.
    "PodSpec.ephemeralContainers",
    // Needs a RuntimeClass, which sets both.
    "PodSpec.overhead",
    "PodSpec.runtimeClassName",
    // Behind a gate that is closed by default.
    "PodSpec.schedulingGroup",
    // Only for Windows, whose pods are denied.
    "PodSecurityContext.windowsOptions",
    "SecurityContext.windowsOptions",
];

/// `TYPE.FIELD` for everything in `objects`.
fn fields_of<'a>(kind: &str, objects: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    objects.into_iter().filter_map(Value::as_object).flat_map(|object| object.keys()).map(|field| format!("{kind}.{field}")).collect()
}

#[tokio::test]
async fn every_field_of_this_kubernetes_is_the_same_with_us_and_without() {
    let scene = Scene::new("fields", &[]).await;
    let mut seen = BTreeSet::from(LEFT_OUT.map(str::to_owned));
    for pod in full_pods() {
        let without = scene.dry_run(&opted_out(&pod)).await.unwrap();
        let with = scene.dry_run(&pod).await.unwrap();
        assert_injected(&with, &if pod["spec"]["initContainers"].is_array() { vec!["init", "app"] } else { vec!["app"] });
        assert_eq!(without_ours(&with), without_ours(&without));

        let spec = &without["spec"];
        let app = &spec["containers"][0];
        seen.extend(fields_of("PodSpec", [spec]));
        seen.extend(fields_of("PodSecurityContext", [&spec["securityContext"]]));
        seen.extend(fields_of("Container", [app]));
        seen.extend(fields_of("SecurityContext", [&app["securityContext"]]));
        seen.extend(fields_of("VolumeMount", app["volumeMounts"].as_array().into_iter().flatten()));
    }
    let schemas = &scene.get("openapi/v3/api/v1").await["components"]["schemas"];
    let known = |kind: &str| fields_of(kind, [&schemas[format!("io.k8s.api.core.v1.{kind}")]["properties"]]);
    let known: BTreeSet<String> =
        ["PodSpec", "PodSecurityContext", "Container", "SecurityContext", "VolumeMount"].into_iter().flat_map(known).collect();
    assert!(known.len() > 90 && LEFT_OUT.iter().all(|field| known.contains(*field)), "{known:?}");
    assert_eq!(known.difference(&seen).collect::<Vec<_>>(), [] as [&String; 0], "new in this Kubernetes: set them in this test");
}

#[tokio::test]
async fn fields_of_a_kubernetes_to_come_survive() {
    let scene = Scene::new("unknown", &[]).await;
    let new = json!({"of": ["a", {"newer": "Kubernetes"}], "number": 1.5e300});
    let mut pod = pod("web");
    pod["spec"]["securityContext"] = json!({"runAsGroup": 1000});
    pod["spec"]["volumes"] = json!([{"name": "cache", "emptyDir": {}}]);
    pod["spec"]["initContainers"] = json!([container("init")]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "cache", "mountPath": "/cache"}]);
    pod["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "1Gi"}});
    for place in [
        "",
        "/metadata",
        "/spec",
        "/spec/securityContext",
        "/spec/volumes/0",
        "/spec/volumes/0/emptyDir",
        "/spec/initContainers/0",
        "/spec/containers/0",
        "/spec/containers/0/securityContext",
        "/spec/containers/0/volumeMounts/0",
        "/spec/containers/0/resources",
    ] {
        pod.pointer_mut(place).unwrap()["fieldToCome"] = new.clone();
    }
    // The API server drops what it does not know before it asks: a newer one will ask with it.
    let made = scene.create(&pod).await.unwrap();
    assert_injected(&made, &["init", "app"]);
    assert!(!made.to_string().contains("fieldToCome"));

    let response = scene.review(&pod).await;
    let patch = STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
    let mut patched = pod.clone();
    let operations: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    json_patch::patch(&mut patched, &operations).unwrap();
    assert_injected(&patched, &["init", "app"]);
    assert_eq!(without_ours(&patched), without_ours(&pod));
    assert!(!String::from_utf8(patch).unwrap().contains("fieldToCome"), "the patch names only what is ours");
}
