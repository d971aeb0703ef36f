//! The whole way of a secret: what an app team writes, the pod that a ReplicaSet makes of it, and the injected container run as that pod says, with a
//! token of the cluster's own, against an emulator that trusts the cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::cluster::{Cluster, Injector, Loopback, OPTED_IN, Setup, until};
use crate::emulator::Running;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

/// The Azure of examples/emulator.yaml, but for whose tokens it takes: those of this cluster.
async fn azure(cluster: &Cluster, folder: &Path) -> Running {
    let jwks = folder.join("jwks.json");
    fs::write(&jwks, cluster.kubectl(&["get", "--raw", "/openid/v1/jwks"]).await.ok()).unwrap();
    let example = fs::read_to_string(format!("{EXAMPLES}/emulator.yaml")).unwrap();
    let config = example.replace("https://oidc.example.invalid/", &cluster.url()).replace("../tests/fixtures/sa.jwks.json", jwks.to_str().unwrap());
    assert_ne!(config, example);
    Running::with(&config).await
}

/// The pod's own entry for its agent.
fn agent(pod: &Value) -> &Value {
    &pod["spec"]["initContainers"][0]
}

/// What a kubelet does for the agent, below a folder of this machine.
struct Kubelet {
    root: TempDir,
}

struct Ended {
    code: Option<i32>,
    termination: String,
}

impl Kubelet {
    /// Makes the volumes of the agent; a projected token is a real one, bound to the pod, and may be changed on its way.
    async fn prepare(cluster: &Cluster, pod: &Value, change: fn(String) -> String) -> Kubelet {
        let kubelet = Kubelet { root: tempfile::tempdir().unwrap() };
        for mount in agent(pod)["volumeMounts"].as_array().unwrap() {
            let folder = kubelet.path(&mount["mountPath"]);
            fs::create_dir_all(&folder).unwrap();
            let volume = pod["spec"]["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == mount["name"]).unwrap();
            // The API server mounts its own token into every container; ours has no use for it.
            let source = &volume["projected"]["sources"][0]["serviceAccountToken"];
            if let Some(audience) = source["audience"].as_str() {
                let token = token(cluster, pod, audience, &source["expirationSeconds"]).await;
                fs::write(folder.join(source["path"].as_str().unwrap()), change(token)).unwrap();
            }
        }
        fs::create_dir_all(kubelet.root.path().join("dev")).unwrap();
        fs::write(kubelet.root.path().join("dev/termination-log"), "").unwrap();
        kubelet
    }

    fn path(&self, path: &Value) -> PathBuf {
        self.root.path().join(path.as_str().unwrap().trim_start_matches('/'))
    }

    /// Runs the agent as its entry says: this binary stands for its image, and nothing of our own environment gets in.
    async fn run(&self, pod: &Value) -> Ended {
        let agent = agent(pod);
        let command = agent["command"].as_array().unwrap();
        assert_eq!(command[0], "/keyvault-agent");
        assert_eq!(agent["args"], Value::Null);
        let mut program = Command::new(keyvault_tests::program("keyvault-agent"));
        program.env_clear().args(command[1..].iter().map(|argument| argument.as_str().unwrap())).arg("--root").arg(self.root.path());
        for variable in agent["env"].as_array().unwrap() {
            program.env(variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap());
        }
        let status = program.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).status().await.unwrap();
        Ended { code: status.code(), termination: fs::read_to_string(self.root.path().join("dev/termination-log")).unwrap() }
    }

    /// What one container of the pod finds where it mounts our volume: every file with its content.
    fn files(&self, pod: &Value, container: &str) -> Value {
        let containers = pod["spec"]["containers"].as_array().unwrap();
        let container = containers.iter().find(|each| each["name"] == container).unwrap();
        let written: Vec<_> = agent(pod)["volumeMounts"].as_array().unwrap().iter().filter(|mount| mount["readOnly"] != true).collect();
        let place = |mount: &Value| written.iter().find(|ours| ours["name"] == mount["name"]).map(|ours| self.path(&ours["mountPath"]));
        let mounts: Vec<_> = container["volumeMounts"].as_array().unwrap().iter().filter(|mount| place(mount).is_some()).collect();
        assert_eq!(mounts.len(), 1, "{container}");
        assert_eq!((&mounts[0]["mountPath"], &mounts[0]["readOnly"]), (&json!("/keyvault"), &json!(true)));
        let folder = place(mounts[0]).unwrap();
        let mut files = serde_json::Map::new();
        collect(&folder, &folder.join("..data"), &mut files);
        Value::Object(files)
    }
}

fn collect(shown: &Path, folder: &Path, files: &mut serde_json::Map<String, Value>) {
    // What begins with two dots is the agent's own.
    let is_shown = |entry: &fs::DirEntry| !entry.file_name().to_str().unwrap().starts_with("..");
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap).filter(is_shown) {
        if entry.file_type().unwrap().is_dir() {
            collect(shown, &entry.path(), files);
        } else {
            // The name under which an app opens it: through the links, without `..data`.
            let name = entry.path().to_str().unwrap().split_once("..data/").unwrap().1.to_owned();
            files.insert(name.clone(), Value::String(fs::read_to_string(shown.join(name)).unwrap()));
        }
    }
}

/// A token request as the kubelet makes it.
async fn token(cluster: &Cluster, pod: &Value, audience: &str, seconds: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (account, namespace) = (text(&pod["spec"]["serviceAccountName"]), text(&pod["metadata"]["namespace"]));
    let (duration, audience) = (format!("--duration={seconds}s"), format!("--audience={audience}"));
    let bound = [format!("--bound-object-name={}", text(&pod["metadata"]["name"])), format!("--bound-object-uid={}", text(&pod["metadata"]["uid"]))];
    let arguments = ["-n", &namespace, "create", "token", &account, &duration, &audience, "--bound-object-kind=Pod", &bound[0], &bound[1]];
    cluster.kubectl(&arguments).await.ok().trim().to_owned()
}

#[tokio::test]
async fn a_secret_reaches_the_pods_of_an_annotated_deployment() {
    let cluster = Cluster::shared().await;
    let folder = tempfile::tempdir().unwrap();
    let azure = azure(cluster, folder.path()).await;
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, &azure.ca_pem).unwrap();
    let suffix = azure.addresses.vault.replace("https://localhost", "vault.localhost");
    let authority = &azure.addresses.authority;

    // The names of the example: its application trusts one ServiceAccount of one namespace.
    let namespace = "payments";
    cluster.kubectl(&["create", "namespace", namespace]).await.ok();
    cluster
        .kubectl(&["label", "namespace", namespace, &format!("{}={}", OPTED_IN.0, OPTED_IN.1), "pod-security.kubernetes.io/enforce=restricted"])
        .await
        .ok();
    let loopback = Loopback::new();
    let setup = Setup {
        agent: &format!("extraCaFile: {}", ca.display()),
        config: &format!(
            "cloud: {{vaultSuffix: {suffix:?}, resource: https://vault.azure.net, authorityHost: {authority:?}, verifyChallenge: false}}\n\
             defaults: {{tenantId: aaaabbbb-1111-4222-8333-444455556666}}\n"
        ),
        ..Setup::files(namespace, &loopback)
    };
    let injector = Injector::start(cluster, &setup).await;
    injector.ready().await;
    cluster.register(namespace, &injector, &loopback).await;
    cluster.kubectl(&["apply", "-f", &format!("{EXAMPLES}/deployment.yaml")]).await.ok();

    let pods = async || {
        let pods: Value =
            serde_json::from_str(&cluster.kubectl(&["-n", namespace, "get", "pods", "-l", "app=api", "-o", "json"]).await.ok()).unwrap();
        pods["items"].as_array().filter(|pods| pods.len() == 2).cloned()
    };
    for pod in until("two pods of the Deployment", pods).await {
        let kubelet = Kubelet::prepare(cluster, &pod, |token| token).await;
        let ended = kubelet.run(&pod).await;
        assert_eq!((ended.code, ended.termination.as_str()), (Some(0), ""));
        let common = json!({"db-password": "correct horse battery staple", "stripe/api-key": "sk_demo_4eC39HqLyjWDarjtT1zdp7dc"});
        assert_eq!(kubelet.files(&pod, "api"), common);
        let mut audit = common.clone();
        audit["audit-token"] = json!("s3cr3t-sink");
        assert_eq!(kubelet.files(&pod, "audit"), audit);

        // What proves that the emulator looks at the cluster's keys: the same token with another signature opens nothing.
        let kubelet = Kubelet::prepare(cluster, &pod, |token| format!("{}.c2lnbmF0dXJl", token.rsplit_once('.').unwrap().0)).await;
        let ended = kubelet.run(&pod).await;
        assert_eq!(ended.code, Some(78), "{}", ended.termination);
        assert!(ended.termination.starts_with("auth payments-prod/db-password and 2 more: "), "{}", ended.termination);
        assert!(ended.termination.contains("AADSTS50013"), "{}", ended.termination);
    }
}
