//! How many of the manifests that people write get variables and restarts, by the shapes of real ones.

use keyvault_mutation::config::Config;
use keyvault_mutation::inject::NamespaceDefaults;
use keyvault_mutation::nodes::{KubernetesVersion, NodeAnswers, NodeFacts};
use serde_json::{Map, Value, json};

use super::core::{World, check_promises, review};

/// So many files, and the pod that they make.
struct Shape {
    files: usize,
    spec: Value,
}

fn shapes() -> Vec<Shape> {
    let table = include_str!("../fixtures/manifest-shapes.tsv");
    table.lines().filter(|line| !line.starts_with('#')).map(shape).collect()
}

fn shape(line: &str) -> Shape {
    let fields: Vec<&str> = line.split('\t').collect();
    let [files, containers, init, probes, policy, sets] = fields.as_slice() else { panic!("{line}") };
    let list = |words: &str, name: &str| -> Vec<Value> {
        let words = words.split(',').filter(|word| !word.is_empty()).enumerate();
        words.map(|(index, word)| container(&format!("{name}-{index}"), word)).collect()
    };
    let mut spec = json!({ "containers": list(containers, "app"), "initContainers": list(init, "init"), "restartPolicy": policy });
    let app = &mut spec["containers"][0];
    match *probes {
        "none" => {}
        "http" => app["livenessProbe"] = json!({ "httpGet": { "path": "/", "port": 80 } }),
        "exec" => {
            app["readinessProbe"] = json!({ "exec": { "command": ["/ready"] } });
            app["lifecycle"] = json!({ "preStop": { "exec": { "command": ["/stop"] } } });
        }
        other => panic!("{other}"),
    }
    if *sets == "yes" {
        app["env"] = json!([{ "name": "DB", "value": "x" }]);
    }
    Shape { files: files.parse().unwrap(), spec }
}

fn container(name: &str, word: &str) -> Value {
    let mut container = json!({ "name": name, "image": "registry.example/app:1" });
    if word.contains("command") {
        container["command"] = json!(["/app"]);
    }
    if word.contains("args") {
        container["args"] = json!(["--serve"]);
    }
    container
}

/// Of how many files the pods are refused, and of how many there are, with these annotations on nodes that answer so.
fn refused(annotations: &[(&str, &str)], nodes: &NodeAnswers) -> (usize, usize) {
    let config = "defaults: {tenantId: aaaabbbb-1111-4222-8333-444455556666}\n";
    let namespace = NamespaceDefaults { name: "payments".into(), annotations: Vec::new() };
    let world = World { namespace, nodes: nodes.clone(), config: Config::parse(config, "config.yaml").unwrap(), ..super::world() };
    let annotations: Map<String, Value> = annotations.iter().map(|(key, value)| (format!("{}{key}", super::PREFIX), json!(value))).collect();
    let (mut refused, mut all) = (0, 0);
    for Shape { files, spec } in shapes() {
        let pod = json!({ "metadata": { "generateName": "api-", "annotations": annotations }, "spec": spec });
        all += files;
        match review(&pod, &world) {
            Ok(injection) => drop(check_promises(&pod, &world, &injection)),
            Err(_) => refused += files,
        }
    }
    (refused, all)
}

/// Hundredths, rounded.
fn share((refused, all): (usize, usize)) -> usize {
    (refused * 100 + all / 2) / all
}

#[test]
fn on_able_nodes_few_manifests_are_refused_variables_or_restarts() {
    let old = NodeFacts::new("v1.34.9", "containerd://2.2.9", []);
    let (old, able) = (NodeAnswers::of([("old", &old)]), NodeAnswers::of_version(KubernetesVersion::NEWEST));
    let files = [("secrets", "payments/db")];
    let variables = [("env", "DB=payments/db")];
    let restarts = [("secrets", "payments/db"), ("refresh", "5m"), ("on-change", "restart")];
    for (what, annotations, before) in [("files", &files[..], 0), ("variables", &variables, 98), ("restarts", &restarts, 98)] {
        let (on_old, on_able) = (refused(annotations, &old), refused(annotations, &able));
        println!("{what}: refused for {} % of {} manifests, on able nodes for {} %", share(on_old), on_old.1, share(on_able));
        assert_eq!(on_old, (before, 121), "{what}");
        assert!(share(on_able) < 3, "{what}: {on_able:?}");
    }
}
