//! Environment variables, as programs see them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::harness::{Namespace, Node, STAY, pod, shell, shell_with};

/// What has gone wrong somewhere on the way from a vault to a program. Key Vault keeps text of at most 25 KiB.
fn nasty() -> [String; 13] {
    let long = "0123456789abcdef".repeat(1600);
    let short = [
        " leading and trailing ",
        "#not a comment",
        "\"double\" quotes",
        "$(HOME) $HOME ${HOME}",
        "back\\slash\\n",
        "line\nbreak\n",
        "carriage\rreturn",
        "tab\tand\u{a0}space",
        "\u{feff}byte order mark",
        "Grüße, 世界 🔑",
        "NAME=value; export X",
        "`id` && exit 1",
    ];
    let mut all = short.map(str::to_owned).to_vec();
    all.push(long);
    all.try_into().unwrap()
}

/// Prints every variable in base64, a line each.
fn print_all(values: &[String]) -> String {
    (0..values.len()).map(|number| format!("printf %s \"$VALUE_{number}\" | base64 -w0; echo\n")).collect()
}

#[tokio::test]
async fn values_reach_programs_to_the_byte_by_the_wrapper_and_by_the_kubelet() {
    let node = Node::shared().await;
    let namespace = node.namespace().await;
    let values = nasty();
    let mut env = String::new();
    for (number, value) in values.iter().enumerate() {
        node.emulator.set(&format!("nasty-{number}"), value).await;
        env.push_str(&format!("VALUE_{number}=nasty-{number}\n"));
    }
    let containers = json!({"restartPolicy": "Never", "containers": [shell("app", &print_all(&values))]});
    let by = |delivery: &str| pod(delivery, &[("env", &env), ("env-delivery", delivery)], containers.clone());
    namespace.apply(&[by("exec"), by("file")]).await;
    for delivery in ["exec", "file"] {
        namespace.ended(delivery, "Succeeded").await;
        let log = namespace.logs(delivery, "app").await;
        let seen: Vec<String> = log.lines().map(|line| String::from_utf8(STANDARD.decode(line).unwrap()).unwrap()).collect();
        assert_eq!(seen.len(), values.len(), "{delivery}");
        for (number, (seen, value)) in seen.iter().zip(&values).enumerate() {
            assert_eq!(seen, value, "value {number} by {delivery}");
        }
    }
}

#[tokio::test]
async fn a_value_that_a_file_cannot_carry_is_told_by_describe() {
    let node = Node::shared().await;
    let namespace = node.namespace().await;
    node.emulator.set("quoted", "it's").await;
    let asked = [("env", "QUOTED=quoted"), ("env-delivery", "file")];
    namespace.apply(&[pod("quoted", &asked, json!({"restartPolicy": "Never", "containers": [shell("app", "true")]}))]).await;
    namespace.ended("quoted", "Failed").await;
    let message = namespace.message("quoted", "keyvault-agent").await;
    let words = "format demo/quoted: file env: variable QUOTED: the value cannot be delivered by a file: it has a single quote (byte 3), and nothing can be escaped there; \
        store another value, or give the container a command and set keyvault-injector.io/env-delivery to exec; ";
    assert!(message.starts_with(words), "{message}");
}

#[tokio::test]
async fn probes_and_hooks_see_what_the_program_sees() {
    let node = Node::shared().await;
    let namespace = node.namespace().await;
    let check = json!({"exec": {"command": ["/bin/sh", "-c", "test \"$PASSWORD\" = 'correct horse battery staple'"]}});
    let hook = json!({"exec": {"command": ["/bin/sh", "-c", "echo \"hook saw ${#PASSWORD}\" >/proc/1/fd/1"]}});
    let more = json!({"readinessProbe": check, "livenessProbe": check, "startupProbe": check, "lifecycle": {"postStart": hook}});
    let script = format!("echo \"program saw ${{#PASSWORD}}\" >/proc/1/fd/1{STAY}");
    let app = |user: u32| json!({"securityContext": {"runAsUser": user}, "containers": [shell_with("app", &script, more.clone())]});
    let supervised = [("env", "PASSWORD=db-password"), ("refresh", "1m"), ("on-change", "signal:SIGHUP")];
    let ways = |name: &str, user| [pod(name, &supervised[..1], app(user)), pod(&format!("{name}-supervised"), &supervised, app(user))];
    namespace.apply(&[ways("root", 0), ways("user", 1000)].concat()).await;
    for name in ["root", "root-supervised", "user", "user-supervised"] {
        let pod = namespace.ready(name).await;
        assert_eq!(restarts(&pod, "app"), 0, "{name}");
        // The hook and the program run beside each other.
        namespace.logged(name, "app", "hook saw 28\n").await;
        let log = namespace.logged(name, "app", "program saw 28\n").await;
        let mut lines: Vec<_> = log.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["hook saw 28", "program saw 28"], "{name}");
    }
}

fn restarts(pod: &Value, container: &str) -> u64 {
    Namespace::container(pod, container)["restartCount"].as_u64().unwrap()
}
