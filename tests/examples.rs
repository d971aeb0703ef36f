//! What users copy works: the samples, and every Deployment in README.md and docs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use keyvault_mutation::config::{Config, TlsSource};
use keyvault_mutation::inject::{Denial, Injection, NamespaceDefaults, Outcome, ServiceAccountDefaults, inject};
use keyvault_mutation::nodes::NodeAnswers;
use keyvault_mutation::pod::PodView;
use serde_json::Value;

fn path(name: &str) -> PathBuf {
    Path::new(keyvault_tests::REPOSITORY).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn operator() -> Config {
    Config::parse(&read("examples/config.yaml"), "config.yaml").unwrap_or_else(|error| panic!("{error}"))
}

/// The pod of a Deployment, or the pod itself, through the core.
fn decide(manifest: &Value) -> Result<Injection, Denial> {
    let pod = if manifest["kind"] == "Pod" { manifest } else { &manifest["spec"]["template"] }.to_string();
    let pod: PodView<'_> = serde_json::from_str(&pod).unwrap();
    let namespace = NamespaceDefaults { name: "payments".into(), annotations: vec![("vault".into(), "payments-prod".into())] };
    let account = ServiceAccountDefaults { found: true, client_id: Some("0f1e2d3c-1111-4222-8333-444455556666".into()), tenant_id: None };
    inject(&pod, &namespace, &account, &NodeAnswers::default(), &operator())
}

/// The pods and the makers of pods with our annotations among the documents of a YAML text.
fn annotated(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error} in:\n{text}"));
    let ours = |manifest: &Value| {
        let metadata = if manifest["kind"] == "Pod" { &manifest["metadata"] } else { &manifest["spec"]["template"]["metadata"] };
        metadata["annotations"].as_object().is_some_and(|map| map.keys().any(|key| key.starts_with("keyvault-injector.io/")))
    };
    documents.into_iter().filter(ours).collect()
}

/// The blocks of a page in a language, each with the line that it starts after.
fn blocks(page: &str, language: &str) -> Vec<(usize, String)> {
    let (mut blocks, mut open): (Vec<(usize, String)>, _) = (Vec::new(), false);
    for (index, line) in page.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(fence) if fence == language => {
                open = true;
                blocks.push((index + 1, String::new()));
            }
            Some(_) => open = false,
            None if open => blocks.last_mut().unwrap().1.push_str(&format!("{line}\n")),
            None => {}
        }
    }
    blocks
}

fn yaml_blocks(page: &str) -> Vec<(usize, String)> {
    blocks(page, "yaml")
}

#[test]
fn the_operators_sample_is_a_configuration_and_says_the_defaults() {
    let sample = operator();
    let files = TlsSource::Files { cert_file: "/certs/tls.crt".into(), key_file: "/certs/tls.key".into() };
    assert_eq!(sample.server.tls, files);
    let mut built_in = Config::default();
    built_in.server.tls = files;
    built_in.agent.image = "registry.example/keyvault-injector:0.1.0".into();
    built_in.agent.image_pull_policy = Some("IfNotPresent".into());
    built_in.defaults.tenant_id = Some("aaaabbbb-1111-4222-8333-444455556666".parse().unwrap());
    assert_eq!(sample, built_in);
}

#[test]
fn the_emulators_samples_can_be_served() {
    for name in ["examples/emulator.yaml", "examples/demo/emulator.yaml"] {
        vault_emulator::Config::load(&path(name)).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn the_sample_deployments_are_injected_without_warnings() {
    for name in ["examples/deployment.yaml", "examples/demo/plain.yaml", "examples/demo/two-views.yaml", "examples/demo/night.yaml"] {
        let manifests = annotated(&read(name));
        assert_eq!(manifests.len(), 1, "{name}");
        let injection = decide(&manifests[0]).unwrap_or_else(|denial| panic!("{name}: {denial}"));
        assert_eq!((injection.outcome, injection.warnings), (Outcome::Injected, Vec::<String>::new()), "{name}");
    }
}

#[test]
fn every_annotated_manifest_of_the_documentation_is_injected() {
    let mut tried = Vec::new();
    for page in ["README.md", "docs/annotations.md"] {
        for (line, block) in yaml_blocks(&read(page)) {
            for manifest in annotated(&block) {
                let injection = decide(&manifest).unwrap_or_else(|denial| panic!("{page}:{line}: {denial}"));
                assert_eq!((injection.outcome, injection.warnings), (Outcome::Injected, Vec::<String>::new()), "{page}:{line}");
                tried.push(page);
            }
        }
    }
    for page in ["README.md", "docs/annotations.md"] {
        assert!(tried.contains(&page), "{page} shows no annotated manifest: is the way in which this test finds them broken?");
    }
}

/// Comments and what stands for something left out (`…`) are the page's own.
#[test]
fn what_the_readme_says_becomes_of_its_deployment_does() {
    let readme = read("README.md");
    let manifest = yaml_blocks(&readme).iter().flat_map(|(_, block)| annotated(block)).next().unwrap();
    let mut pod = manifest["spec"]["template"].clone();
    json_patch::patch(&mut pod, &decide(&manifest).unwrap().patch).unwrap();
    let injected = serde_saphyr::to_string(&pod).unwrap();
    let injected: Vec<&str> = injected.lines().map(str::trim).collect();
    let (_, picture) = blocks(&readme, "diff").into_iter().next().expect("README.md shows an injected pod");
    let mut compared = 0;
    for line in picture.lines() {
        let text = line.trim_start_matches('+').split(" #").next().unwrap().trim();
        let text = text.split('…').next().unwrap().trim();
        let there = injected.iter().any(|real| *real == text || (line.contains('…') && real.starts_with(text)));
        assert!(there, "README.md shows {line:?}, and the pod is:\n{}", injected.join("\n"));
        compared += 1;
    }
    assert!(compared > 20, "only {compared} lines");
}

/// What the program says to `input`: exit code, standard output, standard error.
fn run(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(keyvault_tests::program("keyvault-injector"));
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn following_the_readme_to_the_letter_gives_injected_pods() {
    let readme = read("README.md");
    let line = readme.lines().find(|line| line.starts_with("    keyvault-injector manifests ")).expect("README.md installs");
    let (install, apply) = line.trim().split_once(" | ").unwrap();
    assert_eq!(apply, "kubectl apply -f -");
    let arguments: Vec<&str> = install.split_whitespace().skip(1).collect();
    let (code, installation, errors) = run(&arguments, "");
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let objects: Vec<Value> = serde_saphyr::from_multiple(&installation).unwrap();
    let configured = objects.iter().find(|object| object["kind"] == "ConfigMap").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    std::fs::File::create(&config).unwrap().write_all(configured["data"]["config.yaml"].as_str().unwrap().as_bytes()).unwrap();

    let manifests: Vec<String> = yaml_blocks(&readme).into_iter().map(|(_, block)| block).collect();
    let arguments = ["inject", "-f", "-", "--config", config.to_str().unwrap(), "-o", "json"];
    let (code, injected, errors) = run(&arguments, &manifests.join("---\n"));
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let mut kinds = Vec::new();
    for object in serde_json::Deserializer::from_str(&injected).into_iter::<Value>().map(Result::unwrap) {
        if object["kind"] == "Deployment" {
            assert_eq!(object["spec"]["template"]["spec"]["initContainers"][0]["name"], "keyvault-agent");
        }
        kinds.push(object["kind"].as_str().unwrap().to_owned());
    }
    assert_eq!(kinds, ["Deployment", "ServiceAccount"], "README.md shows both");
}

#[test]
fn every_configuration_of_the_documentation_is_one() {
    let blocks = yaml_blocks(&read("docs/configuration.md"));
    assert!(!blocks.is_empty());
    for (line, block) in blocks {
        Config::parse(&block, &format!("docs/configuration.md, block after line {line}")).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn every_annotation_is_in_the_documentation() {
    let (readme, contract) = (read("README.md"), read("docs/annotations.md"));
    for key in keyvault_mutation::annotations::Key::all() {
        let row = format!("| `{}` |", key.name());
        assert!(contract.contains(&row), "docs/annotations.md has no row {row}");
        assert!(readme.contains(&format!("`{}`", key.name())), "README.md does not mention {}", key.name());
    }
}

/// The first quoted word behind each of these.
fn quoted_behind<'s>(source: &'s str, begin: &str) -> Vec<&'s str> {
    source.split(begin).skip(1).map(|rest| rest.split('"').nth(1).unwrap()).collect()
}

/// Families without a sample are not served, so names come from the sources.
#[test]
fn every_metric_is_in_the_documentation_and_no_other() {
    let page = read("docs/operations.md");
    let (_, reference) = page.split_once("## Metrics\n").unwrap();
    let reference = reference.split("\n## ").next().unwrap();
    let webhook = read("src/injector/src/webhook/metrics.rs");
    let mut names: Vec<String> = quoted_behind(&webhook, "registry.register").iter().map(|name| format!("injector_{name}")).collect();
    let agent = read("src/agent/src/watch/status.rs");
    let types = agent.split("# TYPE keyvault_").skip(1);
    names.extend(types.map(|rest| rest.split(' ').next().unwrap().trim_end_matches("_total").to_owned()));
    assert!(names.len() >= 17, "{names:?}");
    for name in &names {
        let is_row = |suffix: &&str| reference.contains(&format!("\n| `keyvault_{name}{suffix}` |"));
        assert!(["", "_total", "_seconds"].iter().any(is_row), "docs/operations.md has no row for keyvault_{name}");
    }
    assert_eq!(reference.matches("\n| `keyvault_").count(), names.len(), "docs/operations.md lists a metric that nobody serves");
    // Counters end in _total, and units are part of the name.
    for line in keyvault_injector::webhook::Metrics::default().text().lines() {
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|family| family.split_once(' ')) else { continue };
        let total = if kind == "counter" { "_total" } else { "" };
        assert!(reference.contains(&format!("\n| `{name}{total}` | {kind} |")), "docs/operations.md has no row | `{name}{total}` | {kind} |");
    }
}
