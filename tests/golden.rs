//! Golden files of the core: each folder of `tests/golden/` is a pod as it is in an admission request, and `expected.yaml` what becomes of it.
//!
//! `UPDATE_GOLDEN=1 cargo test --test golden` writes the expected files; read every change before you commit it.
//! `nodes.yaml` lists what nodes report; without it there is no node.
//! A case without its own `namespace.yaml`, `serviceaccount.yaml` or `config.yaml` takes the one beside the cases; `serviceaccount.yaml` without metadata means that there is none.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "support/core.rs"]
mod core;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use core::{World, apply, check_promises, plan_of, review};
use keyvault_mutation::config::Config;
use keyvault_mutation::inject::{Denial, Injection, NamespaceDefaults, ServiceAccountDefaults};
use keyvault_mutation::nodes::{NodeAnswers, NodeFacts};
use serde_json::{Map, Value, json};

const PREFIX: &str = "keyvault-injector.io/";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A file of the case, else the one that all cases share.
fn text(case: &Path, name: &str) -> String {
    fs::read_to_string(case.join(name)).or_else(|_| fs::read_to_string(root().join(name))).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn world(case: &Path) -> World {
    let mut config = Config::parse(&text(case, "config.yaml"), "config.yaml").unwrap();
    if let Ok(ca) = fs::read_to_string(case.join("extra-ca.pem")) {
        config.agent.extra_ca = Some(ca);
    }
    if let (Some(proxy), Ok(ca)) = (&mut config.agent.token_proxy, fs::read_to_string(case.join("token-proxy-ca.pem"))) {
        proxy.ca = ca;
    }
    let namespace = yaml(&text(case, "namespace.yaml"));
    let annotations = namespace["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    let ours = |(key, value): (&String, &Value)| Some((key.strip_prefix(PREFIX)?.to_owned(), value.as_str()?.to_owned()));
    let account = yaml(&text(case, "serviceaccount.yaml"));
    let of_account = |key: &str| account["metadata"]["annotations"][key].as_str().map(str::to_owned);
    World {
        namespace: NamespaceDefaults {
            name: namespace["metadata"]["name"].as_str().unwrap().to_owned(),
            annotations: annotations.iter().filter_map(ours).collect(),
        },
        account: ServiceAccountDefaults {
            found: account["metadata"].is_object(),
            client_id: of_account("azure.workload.identity/client-id"),
            tenant_id: of_account("azure.workload.identity/tenant-id"),
        },
        nodes: nodes(case),
        config,
    }
}

/// What the nodes of `nodes.yaml` answer; without that file there are none.
fn nodes(case: &Path) -> NodeAnswers {
    let list = fs::read_to_string(case.join("nodes.yaml")).map(|text| yaml(&text)).unwrap_or_default();
    let word = |node: &Value, field: &str| node[field].as_str().unwrap_or_default().to_owned();
    let facts = |node: &Value| {
        let features = node["features"].as_array().into_iter().flatten().filter_map(Value::as_str);
        (word(node, "name"), NodeFacts::new(&word(node, "kubelet"), &word(node, "runtime"), features))
    };
    let nodes: Vec<(String, NodeFacts)> = list.as_array().into_iter().flatten().map(facts).collect();
    NodeAnswers::of(nodes.iter().map(|(name, facts)| (name.as_str(), facts)))
}

// === what a case looks like ===

fn denied(denial: &Denial) -> Value {
    json!({ "outcome": "denied", "restsOnAbsence": denial.rests_on_absence, "text": denial.to_string() })
}

/// The patch as it is, the plan as a tree, and the pod with a word where its plan stands.
fn injected(injection: &Injection, mut pod: Value) -> Value {
    let mut told = json!({ "outcome": injection.outcome.as_str(), "warnings": injection.warnings });
    told["audit"] = Value::Object(injection.audit.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect::<Map<_, _>>());
    told["namespaceProblems"] = json!(injection.namespace_problems);
    told["policyFindings"] = json!(injection.policy_findings);
    if injection.replaced {
        told["replaced"] = json!(true);
    }
    told["patch"] = json!(injection.patch);
    if injection.patch.0.is_empty() {
        return told;
    }
    if let Some(plan) = plan_of(&pod).map(str::to_owned) {
        told["plan"] = serde_json::from_str(&plan).unwrap();
        let plan = json!(plan);
        replace(&mut pod, &plan, &json!("(the plan above)"));
    }
    told["pod"] = pod;
    told
}

fn replace(value: &mut Value, from: &Value, to: &Value) {
    match value {
        _ if value == from => *value = to.clone(),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, from, to)),
        Value::Object(fields) => fields.values_mut().for_each(|field| replace(field, from, to)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn actual(case: &Path) -> String {
    let (pod, world) = (yaml(&text(case, "pod.yaml")), world(case));
    let told = match review(&pod, &world) {
        Err(denial) => {
            assert_eq!(review(&pod, &world).unwrap_err(), denial, "the same input is denied alike");
            denied(&denial)
        }
        Ok(injection) => {
            check_promises(&pod, &world, &injection);
            injected(&injection, apply(&pod, &injection))
        }
    };
    let mut text = String::new();
    emit(&told, 0, &mut text);
    text
}

// === YAML that is easy to read and to compare ===

fn emit(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (index, (key, field)) in fields.iter().enumerate() {
                let _ = write!(out, "{}{}:", if index == 0 { String::new() } else { "  ".repeat(depth) }, scalar(key));
                nested(field, depth, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                let _ = write!(out, "{}- ", if index == 0 { String::new() } else { "  ".repeat(depth) });
                emit(item, depth + 1, out);
            }
        }
        Value::String(text) => {
            let _ = writeln!(out, "{}", scalar(text));
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            let _ = writeln!(out, "{other}");
        }
    }
}

fn nested(field: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth + 1);
    match field {
        Value::Object(fields) if !fields.is_empty() => out.push_str(&format!("\n{indent}")),
        Value::Array(items) if !items.is_empty() => out.push_str(&format!("\n{indent}")),
        Value::String(text) if text.contains('\n') && text.lines().all(|line| !line.is_empty() && !line.starts_with(' ')) => {
            out.push_str(if text.ends_with('\n') { " |\n" } else { " |-\n" });
            return text.lines().for_each(|line| out.push_str(&format!("{indent}{line}\n")));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => out.push(' '),
    }
    emit(field, depth + 1, out);
}

/// Plain where every YAML reader agrees that it is text, else as JSON has it.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '(')
        && !text.ends_with([':', ' '])
        && !text.contains([':', '#', '\n', '\r', '\t', '"', '\\'])
        && !text.chars().any(char::is_control)
        && !matches!(text, "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n");
    if plain { text.to_owned() } else { json!(text).to_string() }
}

// === tests ===

#[test]
fn every_case_is_as_expected() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut cases: Vec<PathBuf> = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    cases.sort();
    assert!(cases.len() > 50, "cases are missing");
    let mut wrong = String::new();
    for case in &cases {
        let name = case.file_name().unwrap().to_string_lossy();
        let Ok(actual) = std::panic::catch_unwind(|| actual(case)) else {
            let _ = writeln!(wrong, "{name}: a promise is broken, see above");
            continue;
        };
        let file = case.join("expected.yaml");
        let expected = fs::read_to_string(&file).unwrap_or_else(|_| "(there is no expected.yaml)\n".to_owned());
        if actual == expected {
            continue;
        }
        if update {
            fs::File::create(&file).and_then(|mut file| std::io::Write::write_all(&mut file, actual.as_bytes())).unwrap();
            continue;
        }
        let diff = similar::TextDiff::from_lines(expected.as_str(), actual.as_str());
        let _ = writeln!(wrong, "{name}:\n{}", diff.unified_diff().context_radius(3));
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn the_contracts_example_is_met_to_the_letter() {
    let case = root().join("example");
    let contract = yaml(&text(&case, "injected.yaml"));
    let (pod, world) = (yaml(&text(&case, "pod.yaml")), world(&case));
    let result = apply(&pod, &review(&pod, &world).unwrap());
    let canonical = |pod: &Value| {
        let plan: Value = serde_json::from_str(plan_of(pod).unwrap()).unwrap();
        let mut pod = pod.clone();
        let from = json!(plan_of(&pod).unwrap());
        replace(&mut pod, &from, &json!(plan.to_string()));
        pod["metadata"]["annotations"]["keyvault-injector.io/status"] = json!("injected plan=sha256:…");
        pod
    };
    let (mut contract, mut result) = (canonical(&contract), canonical(&result));
    // The order of fields holds too, in everything that is ours.
    for part in ["/spec/initContainers", "/spec/volumes", "/spec/containers/0/volumeMounts", "/spec/containers/1/volumeMounts", "/metadata"] {
        assert_eq!(result.pointer(part).unwrap().to_string(), contract.pointer(part).unwrap().to_string(), "{part}");
    }
    assert_eq!(result.take(), contract.take());
}
