//! What holds for every pod: nothing panics, the patch applies, only what is ours is touched, a second pass changes nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "support/core.rs"]
mod core;
#[path = "properties/corpus.rs"]
mod corpus;
#[path = "properties/pairs.rs"]
mod pairs;
#[path = "properties/scheduling.rs"]
mod scheduling;

use core::{World, apply, check_promises, review};
use keyvault_mutation::config::Config;
use keyvault_mutation::inject::{NamespaceDefaults, Outcome, ServiceAccountDefaults, inject};
use keyvault_mutation::nodes::NodeAnswers;
use keyvault_mutation::pod::PodView;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree as _;
use serde_json::{Map, Value, json};

const PREFIX: &str = "keyvault-injector.io/";

fn world() -> World {
    let config = "policy: {allowSharedIdentities: true}\nfeatures: {envFiles: \"on\"}\ndefaults: {tenantId: aaaabbbb-1111-4222-8333-444455556666}\n";
    World {
        namespace: NamespaceDefaults { name: "payments".into(), annotations: vec![("deadline".into(), "1m".into()), ("refresh".into(), "?".into())] },
        account: ServiceAccountDefaults { found: true, client_id: Some("0f1e2d3c-1111-4222-8333-444455556666".into()), tenant_id: None },
        nodes: NodeAnswers::default(),
        config: Config::parse(config, "config.yaml").unwrap(),
    }
}

// === pods ===

/// A field that nobody knows.
fn unknown() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<String>().prop_map(Value::from)
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            vec((any::<String>(), inner), 0..3).prop_map(|fields| Value::Object(fields.into_iter().collect()))
        ]
    })
}

/// Fields of an object, each of which may be absent; two unknown ones beside them.
fn object(fields: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let fields: Vec<_> =
        fields.into_iter().map(|(name, value)| option::of(value).prop_map(move |value| value.map(|value| (name.to_owned(), value)))).collect();
    (fields, option::weighted(0.3, unknown()))
        .prop_map(|(fields, future)| {
            let mut object: Map<String, Value> = fields.into_iter().flatten().collect();
            if let Some(future) = future {
                object.insert("futureField".to_owned(), future);
            }
            Value::Object(object)
        })
        .boxed()
}

/// A list that is there, empty or null.
fn list(item: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    prop_oneof![1 => Just(Value::Null), 4 => vec(item, 0..4).prop_map(Value::from)].boxed()
}

fn one_of(values: &'static [&'static str]) -> BoxedStrategy<Value> {
    select(values).prop_map(Value::from).boxed()
}

fn resources() -> BoxedStrategy<Value> {
    let amounts = || {
        object(vec![("cpu", one_of(&["1", "500m", "0.5"])), ("memory", one_of(&["16Mi", "1Gi", "128M"])), ("ephemeral-storage", one_of(&["1Gi"]))])
    };
    object(vec![("requests", amounts()), ("limits", amounts())])
}

fn uid() -> BoxedStrategy<Value> {
    select(vec![0, 1000, 65532]).prop_map(Value::from).boxed()
}

fn container() -> BoxedStrategy<Value> {
    let mount = object(vec![("name", one_of(&["data", "logs", "kube-api-access"])), ("mountPath", one_of(&["/data", "/keyvault-not", "/logs/"]))]);
    let fields = object(vec![
        ("image", one_of(&["registry.example/app:1"])),
        ("securityContext", object(vec![("runAsUser", uid()), ("privileged", any::<bool>().prop_map(Value::from).boxed())])),
        ("resources", resources()),
        ("volumeMounts", list(mount)),
        ("env", list(object(vec![("name", one_of(&["A", "KEYVAULT_AGENT_PLAN"])), ("value", one_of(&["$(B)", ""]))]))),
    ]);
    (select(&["api", "audit", "migrate", "istio-proxy"][..]), fields)
        .prop_map(|(name, mut container)| {
            container["name"] = json!(name);
            container
        })
        .boxed()
}

/// Annotations under our prefix that ask for something, most of them rightly.
fn asking() -> impl Strategy<Value = Map<String, Value>> {
    let secrets = select(vec![
        "payments/db-password",
        "a=payments/x, b/c=payments/y",
        "- {name: x, vault: payments, optional: true}\n- {name: y, vault: payments, file: \"$(HOME)/~\", property: '\"$\".a', encoding: hex}\n",
        "- {name: x, vault: payments, mode: 0444}\n- payments/x@00000000000000000000000000000001=\n",
        "- payments/a\n- {select: {prefix: app-, tags: {\"$(HOME)\": \"a b\"}}, vault: payments, file: \"x/${name}\", property: a, containers: [api]}\n- {select: {prefix: App-}, file: \"${name}\", optional: true}\n",
        "db-password",
    ]);
    let rest: Vec<(&str, &str)> = vec![
        ("vault", "payments"),
        ("vault", "https://evil.example"),
        ("mount-path", "/mnt/a b"),
        ("mount-path", "/etc"),
        ("file-mode", "0444"),
        ("file-mode", "0400"),
        ("identity", "managed-identity"),
        ("identity", "pod-identity"),
        ("pod-identity-binding", "Web_1"),
        ("identity", "service-principal"),
        ("service-principal-secret", "web.sp"),
        ("client-id", "99999999-1111-4222-8333-444455556666"),
        ("deadline", "30s"),
        ("agent-resources", "{limits: {memory: 8Mi}}"),
        ("agent-log-level", "debug"),
        ("refresh", "off"),
        ("templates", "app.env: P=${ secret(\"payments/p\") | shell } $(HOME)\nx/y: ${ certificate(\"payments/c\").crt }\n"),
        ("template-config-map", "app.templates"),
        ("inject", "true"),
        ("status", "forged"),
        ("warnings", "forged"),
        ("containers", "api"),
        ("certificates", "payments/web, tls/x=payments/web@00000000000000000000000000000001"),
        (
            "certificates",
            "- {name: web, vault: payments, format: pfx, file: w, passwordFrom: pw}\n- {name: web, vault: payments, format: bundle, file: b/c}\n",
        ),
        ("keys", "- {name: sign, vault: payments, format: jwk}\n- payments/wrap\n"),
    ];
    (secrets, subsequence(rest, 0..5), option::weighted(0.1, any::<(String, String)>())).prop_map(|(secrets, rest, any)| {
        let mut annotations = Map::from_iter([(format!("{PREFIX}refresh"), json!("off")), (format!("{PREFIX}secrets"), json!(secrets))]);
        annotations.extend(rest.into_iter().map(|(key, value)| (format!("{PREFIX}{key}"), json!(value))));
        annotations.extend(any.map(|(key, value)| (format!("{PREFIX}{key}"), json!(value))));
        annotations.insert("example.com/a~b".to_owned(), json!("\u{2028}<&>\\n"));
        annotations
    })
}

fn pod() -> impl Strategy<Value = Value> {
    let spec = object(vec![
        ("securityContext", object(vec![("runAsUser", uid()), ("fsGroup", uid())])),
        ("resources", resources()),
        ("volumes", list(object(vec![("name", one_of(&["data", "logs", "keyvault-files-"])), ("emptyDir", Just(json!({})).boxed())]))),
        ("initContainers", list(container())),
        ("serviceAccountName", one_of(&["api", ""])),
    ]);
    (asking(), spec, vec(container(), 1..4), unknown()).prop_map(|(annotations, mut spec, containers, future)| {
        spec["containers"] = json!(containers);
        json!({ "futureField": future, "metadata": { "generateName": "api-", "annotations": annotations }, "spec": spec })
    })
}

/// What may happen to an injected pod before it comes back.
#[derive(Clone, Debug)]
enum Change {
    InitContainerFirst(Value),
    Container(Value),
    Annotations(Map<String, Value>),
    Volume,
    Field(&'static str, Value),
    Plan(String),
    WithoutVolume,
    WithoutMount,
    Mount(&'static str, usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        container().prop_map(Change::InitContainerFirst),
        container().prop_map(Change::Container),
        asking().prop_map(Change::Annotations),
        Just(Change::Volume),
        (select(&["image", "resources", "terminationMessagePath", "futureField", "securityContext"][..]), unknown())
            .prop_map(|(name, value)| Change::Field(name, value)),
        any::<String>().prop_map(Change::Plan),
        Just(Change::WithoutVolume),
        Just(Change::WithoutMount),
        (select(&["keyvault-files", "keyvault-files-2"][..]), 0..3usize).prop_map(|(name, position)| Change::Mount(name, position)),
    ]
}

fn change_pod(pod: &mut Value, change: Change) {
    let agent = |pod: &mut Value, field: &str, value: Value| {
        let agent =
            pod["spec"]["initContainers"].as_array_mut().and_then(|list| list.iter_mut().find(|container| container["name"] == "keyvault-agent"));
        if let Some(agent) = agent {
            agent[field] = value;
        }
    };
    let pop = |list: &mut Value| drop(list.as_array_mut().and_then(Vec::pop));
    match change {
        Change::InitContainerFirst(container) => pod["spec"]["initContainers"].as_array_mut().unwrap().insert(0, container),
        Change::Container(container) => pod["spec"]["containers"].as_array_mut().unwrap().push(container),
        Change::Annotations(annotations) => pod["metadata"]["annotations"].as_object_mut().unwrap().extend(annotations),
        Change::Volume => pod["spec"]["volumes"].as_array_mut().unwrap().insert(0, json!({ "name": "new", "emptyDir": {} })),
        Change::Field(name, value) => agent(pod, name, value),
        Change::Plan(plan) => agent(pod, "env", json!([{ "name": "PATH", "value": "/" }, { "name": "KEYVAULT_AGENT_PLAN", "value": plan }])),
        Change::WithoutVolume => pop(&mut pod["spec"]["volumes"]),
        Change::Mount(name, position) => {
            let container = pod["spec"]["containers"].as_array_mut().unwrap().last_mut().unwrap();
            let mount = json!({ "name": name, "mountPath": "/elsewhere", "readOnly": true });
            match container["volumeMounts"].as_array_mut() {
                Some(mounts) => mounts.insert(position.min(mounts.len()), mount),
                None => container["volumeMounts"] = json!([mount]),
            }
        }
        Change::WithoutMount => pop(&mut pod["spec"]["containers"][0]["volumeMounts"]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_pod_the_promises_hold(pod in pod()) {
        let world = world();
        if let Ok(injection) = review(&pod, &world) {
            check_promises(&pod, &world, &injection);
        }
    }

    #[test]
    fn whatever_happens_to_an_injected_pod_the_promises_hold(pod in pod(), changes in vec(change(), 1..4)) {
        let world = world();
        let Ok(injection) = review(&pod, &world) else { return Ok(()) };
        let mut pod = apply(&pod, &injection);
        for change in changes {
            change_pod(&mut pod, change);
        }
        let text = pod.to_string();
        // What a stranger put into our container may be no container at all.
        if serde_json::from_str::<PodView<'_>>(&text).is_ok() && let Ok(injection) = review(&pod, &world) {
            check_promises(&pod, &world, &injection);
        }
    }

    #[test]
    fn no_annotation_makes_the_core_panic(annotations in vec((select(keys()), prop_oneof![any::<String>(), near_yaml()]), 1..5)) {
        let annotations: Map<String, Value> = annotations.into_iter().map(|(key, value)| (format!("{PREFIX}{key}"), json!(value))).collect();
        let pod = json!({ "metadata": { "annotations": annotations }, "spec": { "containers": [{ "name": "api" }] } });
        let world = world();
        if let Ok(injection) = review(&pod, &world) {
            check_promises(&pod, &world, &injection);
        }
    }

    #[test]
    fn no_json_makes_the_pod_reader_panic(value in unknown(), name in select(&["metadata", "spec", "annotations", "containers", "volumes", "resources"][..])) {
        let spec = json!({ name: value, "containers": [{ name: value, "name": "api" }], "volumes": [value] });
        for pod in [json!(value), json!({ name: value }), json!({ "metadata": { name: value }, "spec": spec })] {
            let text = pod.to_string();
            if let Ok(view) = serde_json::from_str::<PodView<'_>>(&text) {
                let world = world();
                let _ = inject(&view, &world.namespace, &world.account, &world.nodes, &world.config);
            }
        }
    }
}

fn keys() -> Vec<&'static str> {
    keyvault_mutation::annotations::Key::all().map(keyvault_mutation::annotations::Key::name).collect()
}

/// Texts made of what the grammars treat specially.
fn near_yaml() -> impl Strategy<Value = String> {
    let pieces = [
        "- ",
        "{name: a",
        ", ",
        "}",
        "]",
        "[",
        ": ",
        "\n",
        "@",
        "=",
        "/",
        "a",
        "vault",
        "é",
        "..",
        "'",
        "\"",
        "#",
        "&x ",
        "*x",
        "!!str ",
        "0440",
        "30s",
        "~",
        "${ secret(\"a\") }",
        "{% if %}",
        "|\n  ",
        "\t",
        "select: {prefix: a}",
        "file: x",
        "\u{0}",
    ];
    vec(select(pieces.to_vec()), 0..12).prop_map(|pieces| pieces.concat())
}

/// What the author of a pod can write at most, 256 KiB, must not keep a replica busy.
#[test]
fn hostile_annotations_are_answered_soon() {
    let many = |piece: &str| piece.repeat((256 << 10) / piece.len());
    let texts = [
        many("a,"),
        many("a_,"),
        many("- a\n"),
        many("["),
        many("- "),
        many("{a: "),
        many("${ ("),
        format!("${{ {}", many("(")),
        many("{% if a %}"),
        many("&a "),
        many("- [a]\n"),
        format!("a: {}", many("${key('k')}")),
        format!("a: {}", (0..14_000).map(|number| format!("${{key('k{number}')}}")).collect::<String>()),
    ];
    let containers: Vec<Value> = (0..500).map(|number| json!({ "name": format!("container-{number}") })).collect();
    for key in keys().into_iter().filter(|key| *key != "inject") {
        for text in &texts {
            let annotations = json!({ format!("{PREFIX}secrets"): "payments/a", format!("{PREFIX}refresh"): "off", format!("{PREFIX}{key}"): text });
            let pod = json!({ "metadata": { "annotations": annotations }, "spec": { "containers": containers } });
            let start = std::time::Instant::now();
            let length = review(&pod, &world()).map_or_else(|denial| denial.to_string().len(), |injection| injection.patch.0.len());
            assert!(start.elapsed().as_secs() < 5, "{key} took {:?}: {}", start.elapsed(), &text[..20]);
            assert!(length < 1 << 20, "{key} answered {length} bytes: {}", &text[..20]);
        }
    }
}

/// The properties above would hold for a core that denied everything.
#[test]
fn a_fair_part_of_the_pods_is_injected() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let injected = (0..200).filter(|_| {
        let pod = pod().new_tree(&mut runner).unwrap().current();
        review(&pod, &world()).is_ok_and(|injection| injection.outcome == Outcome::Injected)
    });
    let injected = injected.count();
    assert!(injected > 30, "only {injected} of 200");
}
