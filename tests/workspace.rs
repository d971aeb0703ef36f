//! The rules of the workspace that the compiler does not hold.

#![allow(clippy::unwrap_used, reason = "a source that cannot be read fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use keyvault_tests::REPOSITORY;
use serde_json::Value;

/// What each crate may use of ours.
const CRATES: [(&str, &[&str]); 7] = [
    ("keyvault-common", &[]),
    ("keyvault-mutation", &["keyvault-common"]),
    ("keyvault-injector", &["keyvault-common", "keyvault-mutation"]),
    ("keyvault-client", &["keyvault-common"]),
    ("keyvault-delivery", &["keyvault-client", "keyvault-common"]),
    ("keyvault-agent", &["keyvault-client", "keyvault-common", "keyvault-delivery"]),
    ("vault-emulator", &["keyvault-common"]),
];

/// What a crate must not use, through others neither.
const WALLS: [(&str, &[&str]); 4] = [
    ("keyvault-common", &["axum", "hyper", "jiff", "kube", "ring", "tokio"]),
    ("keyvault-mutation", &["axum", "hyper", "jiff", "kube", "tokio"]),
    ("keyvault-agent", &["axum", "k8s-openapi", "kube", "rcgen", "rsa"]),
    ("keyvault-injector", &["hickory-resolver", "rsa"]),
];

/// What the pure crates must not have of the standard library.
const WORLD: [&str; 17] = [
    "std::{",
    "std::env::",
    "std::fs",
    "std::future",
    "std::io::std",
    "std::net::Tcp",
    "std::net::Udp",
    "ToSocketAddrs",
    "std::os",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "ring::rand",
    "ring::signature",
    "async ",
    ".await",
];

const MAX_FILE_LINES: usize = 400;

/// The normal dependencies of every package, by name.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let mut cargo = Command::new(env!("CARGO"));
    let output = cargo.args(["metadata", "--format-version", "1", "--locked", "--all-features"]).current_dir(REPOSITORY).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let name_of = |id: &Value| packages.iter().find(|package| package["id"] == *id).unwrap()["name"].as_str().unwrap().to_owned();
    let is_normal = |dependency: &&Value| dependency["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null());
    let of = |node: &Value| node["deps"].as_array().unwrap().iter().filter(is_normal).map(|dependency| name_of(&dependency["pkg"])).collect();
    metadata["resolve"]["nodes"].as_array().unwrap().iter().map(|node| (name_of(&node["id"]), of(node))).collect()
}

fn reachable<'d>(name: &'d str, dependencies: &'d BTreeMap<String, BTreeSet<String>>, seen: &mut BTreeSet<&'d str>) {
    for dependency in &dependencies[name] {
        if seen.insert(dependency) {
            reachable(dependency, dependencies, seen);
        }
    }
}

#[test]
fn crates_use_only_what_they_may() {
    let dependencies = dependencies();
    for (name, allowed) in CRATES {
        let is_ours = |dependency: &&str| CRATES.iter().any(|(ours, _)| ours == dependency);
        let ours: Vec<&str> = dependencies[name].iter().map(String::as_str).filter(is_ours).collect();
        assert!(ours.iter().all(|dependency| allowed.contains(dependency)), "{name} uses {ours:?}, and may use {allowed:?}");
    }
    for (name, forbidden) in WALLS {
        let mut seen = BTreeSet::new();
        reachable(name, &dependencies, &mut seen);
        for crate_name in forbidden {
            assert!(!seen.contains(crate_name), "{name} must not use {crate_name}: cargo tree -p {name} -i {crate_name}");
        }
    }
}

/// The sources of a crate, with their text up to their tests.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() && !entry.ends_with("tests") {
            found.extend(sources(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "rs") && !entry.ends_with("tests.rs") {
            let text = fs::read_to_string(&entry).unwrap();
            found.push((entry, text.split("\n#[cfg(test)]\nmod tests {").next().unwrap().to_owned()));
        }
    }
    found
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| line.split("//").next().unwrap())
}

#[test]
fn common_and_mutation_are_values_and_pure_functions() {
    for (file, text) in ["common", "mutation"].iter().flat_map(|name| sources(&Path::new(REPOSITORY).join("src").join(name))) {
        for line in lines(&text) {
            assert!(!WORLD.iter().any(|word| line.contains(word)), "{}: the crate touches nothing of the world: {line}", file.display());
        }
    }
}

#[test]
fn the_injector_sees_no_secret_value() {
    for (file, text) in ["injector", "mutation"].iter().flat_map(|name| sources(&Path::new(REPOSITORY).join("src").join(name))) {
        for line in lines(&text) {
            let names = ["SecretValue", "keyvault_common::secret", "keyvault_common::pem"].iter().any(|word| line.contains(word));
            assert!(!names, "{}: values of secrets are the agent's alone: {line}", file.display());
        }
    }
}

#[test]
fn only_cluster_uses_kubernetes_crates() {
    for (file, text) in sources(&Path::new(REPOSITORY).join("src/injector")) {
        let is_cluster = file.to_str().unwrap().contains("/src/cluster");
        let names = |line: &str| line.contains("kube::") || line.contains("k8s_openapi::");
        assert!(is_cluster || !lines(&text).any(names), "{}: ask the cluster through a trait", file.display());
    }
}

#[test]
fn files_are_short() {
    for (file, text) in sources(&Path::new(REPOSITORY).join("src")) {
        let count = text.lines().count();
        assert!(count <= MAX_FILE_LINES, "{}: {count} lines without tests, {MAX_FILE_LINES} allowed: give each job a file", file.display());
    }
}
