//! From annotations to files: the webhook's core makes the plan, and the agent carries out that very text.

use std::collections::BTreeMap;
use std::process::Command;

use keyvault_mutation::config::Config;
use keyvault_mutation::inject::{NamespaceDefaults, ServiceAccountDefaults};
use keyvault_mutation::nodes::NodeAnswers;
use serde_json::{Value, json};

use crate::config_map::mount;
use crate::webhook_core::{self, check_promises, plan_of, review};
use crate::world::{APP, Plan, Run, TENANT, World};

const SECRETS: &str = r#"
- {group: [PASSWORD=db-password, EMPTY=empty, CONFIG=demo/config], format: dotenv, file: app.env}
- {group: [exact, quoted, empty, config], format: json, file: conf/app.json}
- {group: [exact, quoted, empty, config], format: yaml, file: conf/app.yaml}
- {select: {prefix: app-, tags: {team: web}}, file: "app/${name}"}
- {select: {prefix: APP-T}, file: "tokens/${name}", property: token, containers: [audit], optional: true}
- {name: config, property: "hosts.1", file: host, mode: 0440, containers: [audit]}
- {name: nosuch, optional: true}
"#;

const TEMPLATES: &str = r#"
inline.properties: |
  quoted=${ secret("quoted") | properties }
inline.sh: |
  EXACT=${ secret("exact") | shell }
  QUOTED=${ secret("quoted") | shell }
"#;

/// A pod for the emulator's vault `demo`, with these annotations besides.
fn pod(annotations: &[(&str, &str)]) -> Value {
    let mut pod = json!({
        "metadata": {"generateName": "api-", "namespace": "shop", "annotations": {
            "keyvault-injector.io/vault": "demo", "keyvault-injector.io/client-id": APP, "keyvault-injector.io/deadline": "20s",
            "keyvault-injector.io/agent-log-level": "debug",
        }},
        "spec": {"serviceAccountName": "app", "securityContext": {"runAsUser": 10001}, "containers": [{"name": "api", "image": "api:1"}, {"name": "audit", "image": "audit:1"}]},
    });
    for (key, value) in annotations {
        pod["metadata"]["annotations"][format!("keyvault-injector.io/{key}")] = json!(value);
    }
    pod
}

/// The pod after the webhook, with all that must hold for every pod.
fn injected(world: &World, pod: &Value) -> Value {
    let (port, name) = (world.port, "shop".to_owned());
    let text = format!(
        "cloud: {{vaultSuffix: \"vault.localhost:{port}\", authorityHost: \"https://localhost:{port}\", verifyChallenge: false}}\n\
         agent: {{image: \"registry.example/keyvault-injector:0.1.0\"}}\ndefaults: {{tenantId: {TENANT}}}\n\
         features: {{envFiles: \"on\", imageVolumes: \"off\"}}\n"
    );
    let mut config = Config::parse(&text, "config.yaml").unwrap();
    config.agent.extra_ca = Some(world.ca.clone());
    let namespace = NamespaceDefaults { name, annotations: Vec::new() };
    let account = ServiceAccountDefaults { found: true, ..ServiceAccountDefaults::default() };
    let core = webhook_core::World { namespace, account, nodes: NodeAnswers::default(), config };
    let injection = review(pod, &core).unwrap_or_else(|denial| panic!("{denial}"));
    check_promises(pod, &core, &injection)
}

/// What the kubelet would do for the agent's container, and the agent.
fn run(world: &World, pod: &Value) -> Run {
    let agent = &pod["spec"]["initContainers"][0];
    for mount in agent["volumeMounts"].as_array().unwrap() {
        std::fs::create_dir_all(world.path(mount["mountPath"].as_str().unwrap().trim_start_matches('/'))).unwrap();
    }
    std::fs::copy(world.path("token/token"), world.path("var/run/secrets/kubernetes.io/serviceaccount/token")).unwrap();
    world.run_with(&Plan(Value::Null), "exec \"$0\" \"$@\"", &[("KEYVAULT_AGENT_PLAN", plan_of(pod).unwrap())])
}

/// File by file what a container finds below its mount path.
fn seen(world: &World, pod: &Value, container: usize) -> BTreeMap<String, String> {
    let mounted = |mounts: &Value, key: &str, value: &Value, wanted: &str| {
        mounts.as_array().unwrap().iter().find(|mount| mount[key] == *value).unwrap()[wanted].clone()
    };
    let volume = mounted(&pod["spec"]["containers"][container]["volumeMounts"], "mountPath", &json!("/keyvault"), "name");
    let folder = mounted(&pod["spec"]["initContainers"][0]["volumeMounts"], "name", &volume, "mountPath");
    let files = world.files(folder.as_str().unwrap().trim_start_matches('/')).into_iter();
    files.map(|(file, (mode, bytes))| (format!("{mode} {file}"), String::from_utf8(bytes).unwrap())).collect()
}

/// What a shell that reads the file hands on to its programs.
fn sourced(world: &World, file: &str, names: &[&str]) -> Vec<String> {
    let script = names.iter().map(|name| format!("printf '%s\\0' \"$(printenv {name}; printf .)\"; ")).collect::<String>();
    let script = format!("set -a; . \"$0\"; {script}");
    let output = Command::new("/bin/sh").args(["-c", &script]).arg(world.path(file)).env("HOME", "/wrong").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_terminator('\0').map(|value| value.strip_suffix("\n.").unwrap().to_owned()).collect()
}

#[test]
fn groups_selections_templates_and_certificates_reach_the_files_that_the_annotations_name() {
    let world = World::new();
    let template = "{% for line in [secret('exact'), secret('demo/config').sink.token] %}\n${ line | trim | shell }\n{% endfor %}\n${ certificate('cert-pem').crt[:27] }\n";
    mount(&world, "..2026_11_21", &[("run.sh", template)]);
    let secrets = format!("{SECRETS}- {{name: demo/config, file: config.json}}\n");
    let pod = pod(&[
        ("secrets", &secrets),
        ("certificates", "cert-pem"),
        ("keys", "- {name: sign-ec, format: jwk}"),
        ("templates", TEMPLATES),
        ("template-config-map", "app-templates"),
    ]);
    let pod = injected(&world, &pod);
    let run = run(&world, &pod);
    assert_eq!(run.code, 0, "{}{}", run.log, run.termination);

    let (exact, quoted, config) = (
        " canary\r\n",
        "it's $HOME \"canary\" \\ `id`\n#x = é",
        r#"{"sink": {"token": "canary-token", "port": 5432}, "hosts": ["canary-a", "canary-b"]}"#,
    );
    let (api, audit) = (seen(&world, &pod, 0), seen(&world, &pod, 1));
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    let common = [
        "0400 app.env",
        "0400 app/App-token",
        "0400 app/app-db",
        "0400 cert-pem/ca.crt",
        "0400 cert-pem/tls.crt",
        "0400 cert-pem/tls.key",
        "0400 conf/app.json",
        "0400 conf/app.yaml",
        "0400 config.json",
        "0400 inline.properties",
        "0400 inline.sh",
        "0400 run.sh",
        "0400 sign-ec",
    ];
    assert_eq!(names(&api), common);

    let read: Value = serde_json::from_str(&api["0400 conf/app.json"]).unwrap();
    assert_eq!(read, json!({"exact": exact, "quoted": quoted, "empty": "", "config": config}));
    assert_eq!(serde_saphyr::from_str::<Value>(&api["0400 conf/app.yaml"]).unwrap(), read);
    let password = "correct horse canary staple";
    assert_eq!(sourced(&world, "keyvault/files/app.env", &["PASSWORD", "EMPTY", "CONFIG"]), [password, "", config]);
    assert_eq!(sourced(&world, "keyvault/files/inline.sh", &["EXACT", "QUOTED"]), [exact, quoted]);
    assert_eq!(api["0400 app/app-db"], "canary-app-db");
    assert_eq!(api["0400 inline.properties"], "quoted=it's $HOME \"canary\" \\\\ `id`\\n\\#x \\= \\u00E9\n");
    assert_eq!(api["0400 run.sh"], "'canary'\n'canary-token'\n-----BEGIN CERTIFICATE-----\n");
    assert_eq!(names(&audit).iter().filter(|name| !common.contains(&name.as_str())).collect::<Vec<_>>(), ["0400 tokens/App-token", "0440 host"]);
    assert_eq!((audit["0400 tokens/App-token"].as_str(), audit["0440 host"].as_str()), ("canary-app-token", "canary-b"));
    assert_eq!(world.calls("vault")["404"], 1, "the optional one");
}

#[test]
fn a_group_that_some_reader_would_misread_is_refused_with_that_reader() {
    let world = World::new();
    for (object, reason) in [
        ("exact", "python-dotenv and Node.js do not read a carriage return as it is"),
        ("quoted", "dotenv for Node.js reads no value that has both kinds of quotes"),
    ] {
        let secrets = format!("- {{group: [PASSWORD=db-password, VALUE={object}], format: dotenv, file: app.env}}");
        let run = run(&world, &injected(&world, &pod(&[("secrets", &secrets)])));
        assert_eq!(run.code, 65, "{}", run.log);
        let remedy = "write the value as JSON or YAML, or with the filter shell if only a shell reads it";
        let line = format!("format file app.env: line 2: dotenv: {reason}; {remedy}; ");
        assert!(run.termination.starts_with(&line), "{}", run.termination);
    }
}

/// What a runtime would start for a container whose volumes are where the agent has written them, and what that prints.
fn started(world: &World, container: &Value, command: &Value) -> String {
    let inside = |text: &str| match text {
        "/keyvault-injector/bin/keyvault-agent" => world.path("keyvault/program/keyvault-agent").display().to_string(),
        _ => text.replace("/keyvault-injector/env", &world.path("keyvault/env").display().to_string()),
    };
    let words: Vec<String> = command.as_array().unwrap().iter().map(|word| inside(word.as_str().unwrap())).collect();
    let own = |variable: &Value| Some((variable["name"].as_str()?.to_owned(), inside(variable["value"].as_str()?)));
    let variables = container["env"].as_array().unwrap().iter().filter_map(own);
    let output = Command::new(&words[0]).args(&words[1..]).env_clear().envs(variables).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn variables_reach_a_wrapped_program_its_probe_and_the_file_that_the_kubelet_reads() {
    let world = World::new();
    let mut pod = pod(&[(
        "env",
        "- {name: quoted, env: QUOTED, containers: [api]}\n- {name: config, property: sink.token, env: TOKEN}\n- {name: nosuch, env: GONE, optional: true}",
    )]);
    let shown = r#"printf '%s|%s|%s|%s' "$QUOTED" "$TOKEN" "${GONE-unset}" "$MODE""#;
    pod["spec"]["containers"][0]["command"] = json!(["/bin/sh", "-c", shown]);
    pod["spec"]["containers"][0]["env"] = json!([{"name": "MODE", "value": "prod"}]);
    pod["spec"]["containers"][0]["livenessProbe"] = json!({"exec": {"command": ["/bin/sh", "-c", "env | sort"]}});
    let pod = injected(&world, &pod);
    let run = run(&world, &pod);
    assert_eq!(run.code, 0, "{}{}", run.log, run.termination);

    let api = &pod["spec"]["containers"][0];
    let quoted = "it's $HOME \"canary\" \\ `id`\n#x = é";
    assert_eq!(started(&world, api, &api["command"]), format!("{quoted}|canary-token|unset|prod"));
    let probed = started(&world, api, &api["livenessProbe"]["exec"]["command"]);
    assert!(probed.contains("TOKEN=canary-token\n") && !probed.contains("KEYVAULT_AGENT_"), "{probed}");
    // The second container has no command: the kubelet reads what only it is given.
    let read = world.files("keyvault/env-2");
    assert_eq!(read.iter().map(|(file, (mode, _))| format!("{mode} {file}")).collect::<Vec<_>>(), ["0400 env"]);
    assert_eq!(read["env"].1, b"TOKEN='canary-token'\n");
    assert!(!pod.to_string().contains("canary"), "no value in the pod");
}

#[test]
fn a_variable_that_the_kubelets_file_cannot_carry_ends_the_fetch_by_its_name() {
    let world = World::new();
    let pod = injected(&world, &pod(&[("env", "QUOTED=quoted")]));
    let run = run(&world, &pod);
    assert_eq!(run.code, 65, "{}", run.log);
    let expected = "format demo/quoted: file env: variable QUOTED: the value cannot be delivered by a file: it has a single quote (byte 3), and nothing can be escaped there; store another value, or give the container a command and set keyvault-injector.io/env-delivery to exec";
    assert!(run.termination.starts_with(expected), "{}", run.termination);
    assert!(world.files("keyvault/env").is_empty() && !run.log.contains("canary"), "{}", run.log);
}
