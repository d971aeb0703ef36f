//! The pure core as tests call it, and what must hold for every pod that it answers.

use keyvault_common::plan::{PLAN_VARIABLE, Plan};
use keyvault_mutation::config::Config;
use keyvault_mutation::inject::{Denial, Injection, NamespaceDefaults, Outcome, ServiceAccountDefaults, inject};
use keyvault_mutation::nodes::NodeAnswers;
use keyvault_mutation::pod::PodView;
use serde_json::{Map, Value, json};

/// Everything that decides about a pod, but for the pod.
pub(crate) struct World {
    pub(crate) namespace: NamespaceDefaults,
    pub(crate) account: ServiceAccountDefaults,
    pub(crate) nodes: NodeAnswers,
    pub(crate) config: Config,
}

/// One review.
pub(crate) fn review(pod: &Value, world: &World) -> Result<Injection, Denial> {
    let text = pod.to_string();
    let view: PodView<'_> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("the pod cannot be read: {error}\n{text}"));
    inject(&view, &world.namespace, &world.account, &world.nodes, &world.config)
}

/// The pod that a patch makes.
pub(crate) fn apply(pod: &Value, injection: &Injection) -> Value {
    let mut result = pod.clone();
    json_patch::patch(&mut result, &injection.patch)
        .unwrap_or_else(|error| panic!("the patch does not apply: {error}\n{pod}\n{:?}", injection.patch));
    result
}

/// The promises that hold for every pod; gives back the pod after injection.
pub(crate) fn check_promises(pod: &Value, world: &World, injection: &Injection) -> Value {
    let result = apply(pod, injection);
    assert_eq!(without_ours(&result), without_ours(&without_overridden(pod, &result)), "only what is ours is touched");
    let again = review(pod, world).expect("the same input has the same outcome");
    assert_eq!(bytes(&again), bytes(injection), "the same input gives the same bytes");
    let second = review(&result, world).unwrap_or_else(|denial| panic!("a second pass denies: {denial}\n{result:#}"));
    assert_eq!(bytes(&second), "[]", "a second pass changes nothing");
    assert_eq!(second.warnings, injection.warnings, "a second pass warns of the same");
    let expected = if injection.outcome == Outcome::Injected { Outcome::Unchanged } else { injection.outcome };
    assert_eq!(second.outcome, expected);
    assert_eq!(injection.outcome == Outcome::Injected, !injection.patch.0.is_empty(), "a patch is an injection");
    if expected == Outcome::Unchanged {
        check_shape(&result);
        let stored = as_stored(&result);
        let third = review(&stored, world).unwrap_or_else(|denial| panic!("denied as the API server hands it on: {denial}\n{stored:#}"));
        assert_eq!(bytes(&third), "[]", "nothing changes as the API server hands it on");
        let pulled = with_images_always_pulled(&stored);
        let fourth = review(&pulled, world).unwrap_or_else(|denial| panic!("denied under AlwaysPullImages: {denial}\n{pulled:#}"));
        assert_eq!(bytes(&fourth), "[]", "nothing changes under AlwaysPullImages");
    }
    result
}

/// Where ServiceAccount admission mounts the API server's token, in every container that mounts nothing there.
const API_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What the agent alone may mount.
const AGENTS_OWN: [&str; 4] = ["keyvault-token", "keyvault-principal", "keyvault-templates", "keyvault-pod"];

/// What the API server makes of an injected pod before the next webhook, or ours again, sees it.
pub(crate) fn as_stored(pod: &Value) -> Value {
    let mut pod = pod.clone();
    for volume in pod["spec"]["volumes"].as_array_mut().into_iter().flatten() {
        for source in ["projected", "secret", "configMap"] {
            if volume[source].is_object() {
                volume[source]["defaultMode"] = json!(420);
            }
        }
    }
    for volume in pod["spec"]["volumes"].as_array_mut().into_iter().flatten().filter(|volume| volume["downwardAPI"].is_object()) {
        volume["downwardAPI"]["defaultMode"] = json!(420);
        volume["downwardAPI"]["items"][0]["fieldRef"]["apiVersion"] = json!("v1");
    }
    for volume in pod["spec"]["volumes"].as_array_mut().into_iter().flatten().filter(|volume| volume["image"].is_object()) {
        if volume["image"]["pullPolicy"].is_null() {
            let is_latest = volume["image"]["reference"].as_str().is_some_and(|image| image.ends_with(":latest"));
            volume["image"]["pullPolicy"] = json!(if is_latest { "Always" } else { "IfNotPresent" });
        }
    }
    for agent in pod["spec"]["initContainers"].as_array_mut().into_iter().flatten().filter(|container| is_agent(container)) {
        if agent["imagePullPolicy"].is_null() {
            let is_latest = agent["image"].as_str().is_some_and(|image| image.ends_with(":latest"));
            agent["imagePullPolicy"] = json!(if is_latest { "Always" } else { "IfNotPresent" });
        }
        agent["terminationMessagePath"] = json!("/dev/termination-log");
        if agent["startupProbe"].is_object() {
            agent["startupProbe"]["timeoutSeconds"] = json!(1);
            agent["startupProbe"]["successThreshold"] = json!(1);
        }
        if agent["resources"].is_null() {
            agent["resources"] = json!({});
        }
        for side in ["requests", "limits"] {
            if agent["resources"][side].as_object().is_none_or(Map::is_empty) {
                agent["resources"].as_object_mut().expect("resources are a map").shift_remove(side);
            }
        }
        let mount = json!({ "name": "kube-api-access-x7k2p", "mountPath": API_TOKEN, "readOnly": true });
        let mounts = agent["volumeMounts"].as_array_mut().expect("there are mounts");
        if !mounts.iter().any(|there| there["mountPath"] == mount["mountPath"]) {
            mounts.push(mount);
        }
    }
    pod
}

/// What the AlwaysPullImages admission makes of a pod.
fn with_images_always_pulled(pod: &Value) -> Value {
    let mut pod = pod.clone();
    for list in ["containers", "initContainers"] {
        for container in pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            container["imagePullPolicy"] = json!("Always");
        }
    }
    for volume in pod["spec"]["volumes"].as_array_mut().into_iter().flatten().filter(|volume| volume["image"].is_object()) {
        volume["image"]["pullPolicy"] = json!("Always");
    }
    pod
}

/// What every injected pod looks like.
fn check_shape(pod: &Value) {
    let plan = plan_of(pod).expect("there is a plan");
    assert!(!plan.contains('$'), "the kubelet would expand {plan}");
    Plan::from_json(plan).expect("the agent reads the plan");
    let spec = &pod["spec"];
    assert!(is_agent(&spec["initContainers"][0]), "ours is first");
    let volumes = our_names(&spec["volumes"]);
    let is_image =
        |name: &&str| spec["volumes"].as_array().into_iter().flatten().any(|volume| volume["name"] == **name && volume["image"].is_object());
    let mounted: Vec<&str> = volumes.iter().copied().filter(|name| !is_image(name)).collect();
    for agent in spec["initContainers"].as_array().into_iter().flatten().filter(|container| is_agent(container)) {
        let mounts: Vec<&Value> = agent["volumeMounts"].as_array().into_iter().flatten().filter(|mount| mount["mountPath"] == API_TOKEN).collect();
        assert!(mounts.len() == 1 && mounts[0]["readOnly"] == true && is_ours(mounts[0]["name"].as_str().unwrap_or_default()), "{agent}");
        let mut names = our_names(&agent["volumeMounts"]);
        names.dedup();
        assert_eq!(names, mounted, "the agent mounts what there is of ours, and nothing stale is left");
    }
    let mut given = Vec::new();
    for container in [&spec["containers"], &spec["initContainers"]].into_iter().flat_map(|list| list.as_array().into_iter().flatten()) {
        if is_agent(container) {
            continue;
        }
        let mut names = our_names(&container["volumeMounts"]);
        assert!(!names.iter().any(|name| AGENTS_OWN.contains(name)), "{names:?} in {container}");
        let families = |family: &str| names.iter().filter(|name| name.starts_with(family)).count();
        assert!(families("keyvault-files") <= 1 && families("keyvault-env") <= 1, "{names:?} in {container}");
        assert_eq!(families("keyvault-program") == 1, container["command"][1] == "exec", "{container}");
        let variables = container["env"].as_array().into_iter().flatten();
        names.extend(variables.filter_map(|variable| variable["valueFrom"]["fileKeyRef"]["volumeName"].as_str()).filter(|name| is_ours(name)));
        let mounts = container["volumeMounts"].as_array().into_iter().flatten();
        let writable = mounts.filter(|mount| mount["name"].as_str().is_some_and(is_ours) && mount["readOnly"] != true);
        assert_eq!(writable.count(), 0, "{container}");
        given.extend(names);
    }
    given.sort_unstable();
    given.dedup();
    let views: Vec<&str> = volumes.into_iter().filter(|name| !AGENTS_OWN.contains(name)).collect();
    assert_eq!(given, views, "every view is given to somebody");
}

fn our_names(list: &Value) -> Vec<&str> {
    let mut names: Vec<&str> =
        list.as_array().into_iter().flatten().filter_map(|entry| entry["name"].as_str()).filter(|name| is_ours(name)).collect();
    names.sort_unstable();
    names
}

fn bytes(injection: &Injection) -> String {
    serde_json::to_string(&injection.patch).expect("a patch is JSON")
}

/// The plan in a pod.
pub(crate) fn plan_of(pod: &Value) -> Option<&str> {
    let containers = pod["spec"]["initContainers"].as_array()?;
    let agent = containers.iter().find(|container| is_agent(container))?;
    agent["env"].as_array()?.iter().find(|variable| variable["name"] == PLAN_VARIABLE)?["value"].as_str()
}

pub(crate) fn is_agent(container: &Value) -> bool {
    container["name"] == "keyvault-agent" || container["name"] == "keyvault-agent-watch"
}

/// Whether a volume's name is ours, said in other words than the product's.
fn is_ours(name: &str) -> bool {
    let family = name.trim_end_matches(|c: char| c.is_ascii_digit());
    AGENTS_OWN.contains(&name)
        || matches!(name, "keyvault-files" | "keyvault-env" | "keyvault-program")
        || (matches!(family, "keyvault-files-" | "keyvault-env-") && family != name)
}

/// A pod with everything of ours taken away; lists that hold nothing else are gone with it.
pub(crate) fn without_ours(pod: &Value) -> Value {
    let mut pod = pod.clone();
    if let Some(annotations) = pod.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| !matches!(key.as_str(), "keyvault-injector.io/status" | "keyvault-injector.io/warnings"));
    }
    if let Some(metadata) = pod.get_mut("metadata") {
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            labels.shift_remove("aadpodidbinding");
        }
        if metadata.get("labels").is_some_and(|labels| labels.as_object().is_none_or(Map::is_empty)) {
            metadata.as_object_mut().expect("metadata are a map").shift_remove("labels");
        }
    }
    prune(&mut pod["spec"], "initContainers", |container| !is_agent(container));
    prune(&mut pod["spec"], "volumes", |volume| !volume["name"].as_str().is_some_and(is_ours));
    for list in ["containers", "initContainers"] {
        for container in pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            prune(container, "volumeMounts", |mount| !mount["name"].as_str().is_some_and(is_ours));
            prune(container, "env", |variable| {
                variable["name"] != "KEYVAULT_AGENT_EXEC" && !variable["valueFrom"]["fileKeyRef"]["volumeName"].as_str().is_some_and(is_ours)
            });
            for path in COMMANDS {
                unwrap(container.pointer_mut(path));
            }
        }
    }
    pod
}

/// A pod without the variables of its own that `override: true` lets ours take the place of.
fn without_overridden(pod: &Value, result: &Value) -> Value {
    let mut pod = pod.clone();
    let variables = |container: &Value| container["env"].as_array().cloned().unwrap_or_default();
    let is_read = |variable: &Value| variable["valueFrom"]["fileKeyRef"]["volumeName"].as_str().is_some_and(is_ours);
    for list in ["containers", "initContainers"] {
        for container in pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let after = result["spec"][list].as_array().into_iter().flatten().find(|other| other["name"] == container["name"]).cloned();
            let ours: Vec<Value> =
                variables(&after.unwrap_or_default()).into_iter().filter(is_read).map(|variable| variable["name"].clone()).collect();
            prune(container, "env", |variable| !ours.contains(&variable["name"]) || is_read(variable));
        }
    }
    pod
}

const COMMANDS: [&str; 6] = [
    "/command",
    "/livenessProbe/exec/command",
    "/readinessProbe/exec/command",
    "/startupProbe/exec/command",
    "/lifecycle/postStart/exec/command",
    "/lifecycle/preStop/exec/command",
];

fn unwrap(command: Option<&mut Value>) {
    let Some(words) = command.and_then(Value::as_array_mut) else { return };
    if words.first().is_some_and(|word| word == "/keyvault-injector/bin/keyvault-agent") {
        let end = words.iter().position(|word| word == "--").expect("the wrapper's own words end");
        words.drain(..=end);
    }
}

fn prune(parent: &mut Value, key: &str, keep: impl Fn(&Value) -> bool) {
    let Some(parent) = parent.as_object_mut() else { return };
    if let Some(list) = parent.get_mut(key).and_then(Value::as_array_mut) {
        list.retain(keep);
    }
    if parent.get(key).is_some_and(|list| list.is_null() || list.as_array().is_some_and(Vec::is_empty)) {
        parent.shift_remove(key);
    }
}
