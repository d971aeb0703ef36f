//! Two replicas may judge one pod: the first before a rollout, the second after it.

use keyvault_mutation::config::Config;
use keyvault_mutation::inject::{Injection, NamespaceDefaults};
use keyvault_mutation::nodes::{NodeAnswers, NodeFacts};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::core::{World, apply, as_stored, check_promises, is_agent, review};

/// An operator's file. A request of ephemeral storage that it leaves could be a LimitRange's, and stays.
fn configuration() -> impl Strategy<Value = String> {
    let agent = (
        select(&["0.1.0", "0.2.0", "latest"][..]),
        select(&["", ", imagePullPolicy: Always", ", imagePullPolicy: IfNotPresent", ", imagePullPolicy: Never"][..]),
        select(&["", ", proxy: {httpsProxy: 'http://a.example:3128'}", ", proxy: {httpsProxy: 'http://b.example:3128', noProxy: [.svc]}"][..]),
        select(&["", ", logLevel: debug"][..]),
    );
    let switch = || select(&["on", "off"][..]);
    let features = (switch(), switch(), switch());
    let defaults = (
        select(&["", ", mountPath: /secrets"][..]),
        select(&["", ", refresh: 5m"][..]),
        select(&["", ", deadline: 30s"][..]),
        select(&["", ", agentResources: {requests: {cpu: 20m}, limits: {memory: 64Mi, ephemeral-storage: 32Mi}}"][..]),
        select(&["", ", sidecarResources: {limits: {cpu: 50m}}"][..]),
    );
    (agent, features, defaults).prop_map(
        |((tag, pull, proxy, level), (env_files, image_volumes, restart), (path, refresh, deadline, agent, sidecar))| {
            format!(
                "agent: {{image: \"registry.example/keyvault-injector:{tag}\"{pull}{proxy}{level}}}\n\
             features: {{envFiles: \"{env_files}\", imageVolumes: \"{image_volumes}\", restartInPlace: \"{restart}\"}}\n\
             policy: {{allowSharedIdentities: true}}\n\
             defaults: {{tenantId: aaaabbbb-1111-4222-8333-444455556666{path}{refresh}{deadline}{agent}{sidecar}}}\n"
            )
        },
    )
}

fn world(configuration: &str) -> World {
    let namespace = NamespaceDefaults { name: "payments".into(), annotations: Vec::new() };
    World { namespace, config: Config::parse(configuration, "config.yaml").unwrap(), ..super::world() }
}

/// What a replica knows of the nodes: nothing yet, or some that can do more or less.
fn nodes() -> impl Strategy<Value = NodeAnswers> {
    const RESTART: &str = "RestartAllContainersOnContainerExits";
    let kinds = [
        NodeFacts::new("v1.36.3", "containerd://2.2.9", [RESTART]),
        NodeFacts::new("v1.36.3", "containerd://1.7.27", [RESTART]),
        NodeFacts::new("v1.35.0", "cri-o://1.33.1", []),
        NodeFacts::new("v1.34.2", "containerd://2.2.9", []),
    ];
    let seen = proptest::sample::subsequence(kinds.to_vec(), 0..3).prop_map(|nodes| NodeAnswers::of(nodes.iter().map(|facts| ("node", facts))));
    prop_oneof![4 => seen, 1 => Just(NodeAnswers::default())]
}

/// An operator's file that leaves every feature, or all but one, to the nodes.
fn following() -> impl Strategy<Value = String> {
    (configuration(), select(&["envFiles", "imageVolumes", "restartInPlace", "none"][..])).prop_map(|(text, decided)| {
        ["envFiles", "imageVolumes", "restartInPlace"].into_iter().filter(|key| *key != decided).fold(text, |text, key| {
            ["on", "off"].into_iter().fold(text, |text, word| text.replace(&format!("{key}: \"{word}\""), &format!("{key}: auto")))
        })
    })
}

/// A pod that may ask for variables, too, and whose containers can be wrapped.
fn pod() -> impl Strategy<Value = Value> {
    let more = [
        ("env", "DB=payments/x\nURL=payments/y"),
        ("env", "DB=payments/x, A=payments/z"),
        ("env-delivery", "exec"),
        ("env-delivery", "file"),
        ("on-change", "signal:SIGHUP"),
        ("on-change", "restart"),
        ("metrics-port", "9090"),
    ];
    let policies = ["Always", "OnFailure", "Never"];
    (super::pod(), proptest::sample::subsequence(more.to_vec(), 0..3), any::<bool>(), select(policies.to_vec())).prop_map(
        |(mut pod, more, command, policy)| {
            let annotations = pod["metadata"]["annotations"].as_object_mut().unwrap();
            annotations.shift_remove("keyvault-injector.io/refresh");
            annotations.extend(more.into_iter().map(|(key, value)| (format!("keyvault-injector.io/{key}"), json!(value))));
            if command {
                for list in ["containers", "initContainers"] {
                    for container in pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                        container["command"] = json!(["/app", "--serve"]);
                    }
                }
            }
            pod["spec"]["restartPolicy"] = json!(policy);
            pod
        },
    )
}

/// What a version that does not exist yet, or no longer, would make differently of our containers.
fn of_another_version(pod: &mut Value) {
    for agent in pod["spec"]["initContainers"].as_array_mut().into_iter().flatten().filter(|container| is_agent(container)) {
        agent["command"] = json!(["/agent", "run"]);
        agent["args"] = json!(["--once"]);
        agent["workingDir"] = json!("/");
        agent["env"] = json!([{ "name": "KEYVAULT_AGENT_PLAN_2", "value": "{}" }]);
        agent["securityContext"] = json!({ "runAsNonRoot": true, "runAsGroup": 65532, "capabilities": { "drop": ["NET_RAW"] } });
        agent["livenessProbe"] = json!({ "exec": { "command": ["/agent", "live"] } });
        agent["volumeMounts"] = json!([{ "name": "keyvault-pod", "mountPath": "/pod" }]);
    }
}

/// Where the order means nothing it is the names'; a list that is empty is none; a digest stands beside its tag.
fn normal(mut pod: Value) -> Value {
    let spec = pod["spec"].as_object_mut().unwrap();
    tidy(spec, "volumes");
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut) {
            tidy(container, "volumeMounts");
            if container.get("env").is_some_and(|env| env.is_null() || env.as_array().is_some_and(Vec::is_empty)) {
                container.shift_remove("env");
            }
        }
    }
    pod
}

fn tidy(parent: &mut Map<String, Value>, key: &str) {
    match parent.get_mut(key).and_then(Value::as_array_mut) {
        Some(list) if !list.is_empty() => list.sort_by_key(|entry| format!("{} {}", entry["name"], entry["mountPath"])),
        _ => drop(parent.shift_remove(key)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_replica_that_sees_the_nodes_differently_changes_nothing(
        pod in pod(), configuration in following(), seen in (nodes(), nodes()), stored in any::<bool>()
    ) {
        let (before, after) = (World { nodes: seen.0, ..world(&configuration) }, World { nodes: seen.1, ..world(&configuration) });
        let Ok(first) = review(&pod, &before) else { return Ok(()) };
        let mut left = check_promises(&pod, &before, &first);
        if stored {
            left = as_stored(&left);
        }
        match review(&left, &after) {
            Ok(second) => {
                prop_assert!(second.patch.0.is_empty(), "{:?}", second.patch);
                prop_assert_eq!(&second.warnings, &first.warnings);
            }
            Err(denial) => return Err(TestCaseError::fail(format!("{denial}\n{left:#}"))),
        }
    }

    #[test]
    fn what_another_configuration_or_version_left_ends_as_if_it_had_never_been(
        pod in pod(), configurations in (prop_oneof![configuration(), following()], configuration()), nodes in nodes(), stored in any::<bool>(),
        other_version in any::<bool>()
    ) {
        let (before, after) = (World { nodes, ..world(&configurations.0) }, world(&configurations.1));
        let Ok(injection) = review(&pod, &before) else { return Ok(()) };
        let mut left = apply(&pod, &injection);
        if stored {
            left = as_stored(&left);
        }
        if other_version {
            of_another_version(&mut left);
        }
        match (review(&left, &after), review(&pod, &after)) {
            (Err(second), Err(fresh)) => prop_assert_eq!(second.problems, fresh.problems),
            (Ok(second), Ok(fresh)) => {
                prop_assert_eq!(&second.warnings, &fresh.warnings);
                // What the API server makes of both: a default that another configuration wrote out is no difference.
                let made = |pod: &Value, injection: &Injection| normal(as_stored(&apply(pod, injection)));
                let (second, fresh) = (made(&left, &second), made(&pod, &fresh));
                prop_assert!(second == fresh, "{}", similar::TextDiff::from_lines(format!("{fresh:#}"), format!("{second:#}")).unified_diff());
            }
            (second, fresh) => return Err(TestCaseError::fail(format!("the second pass ends in {second:#?}, a fresh injection in {fresh:#?}"))),
        }
    }
}
