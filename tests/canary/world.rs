//! Emulator, webhook and agent as processes, and an ear at everything they say.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tempfile::TempDir;
use vault_emulator::ServiceAccountKey;

const PATIENCE: Duration = Duration::from_secs(60);

const EMULATOR: &str = r#"
tenants:
- id: aaaabbbb-1111-4222-8333-444455556666
  applications:
  - clientId: 0f1e2d3c-1111-4222-8333-444455556666
    secrets: [canary-client-secret]
    federatedCredentials:
    - {issuer: "https://oidc.example.invalid/", subject: "system:serviceaccount:payments:app", audience: "api://AzureADTokenExchange", jwksFile: FIXTURES/sa.jwks.json}
vaults:
- name: payments
  permissions: [{identity: 0f1e2d3c-1111-4222-8333-444455556666, allow: [secrets/get, secrets/list]}]
  secrets:
  - {name: value, value: canary-value}
  - {name: text, value: canary-value-text, tags: {team: canary-tag}, contentType: canary-type}
  - {name: config, value: '{"token": "canary-property"}'}
  - {name: disabled, value: canary-disabled, enabled: false}
- name: closed
  secrets: [{name: value, value: canary-forbidden}]
"#;

/// A pod with a text in every place that is not ours.
pub(crate) fn pod(secrets: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "app", "namespace": "payments", "labels": {"team": "canary-label"},
            "annotations": {"keyvault-injector.io/secrets": secrets, "keyvault-injector.io/deadline": "1s", "keyvault-injector.io/agent-log-level": "debug", "example.com/note": "canary-annotation"},
        },
        "spec": {
            "serviceAccountName": "app", "securityContext": {"runAsUser": 10001},
            "containers": [{
                "name": "app", "image": "registry.example/canary-image:1", "command": ["canary-command"], "args": ["--password=canary-argument"], "resources": {},
                "env": [{"name": "PASSWORD", "value": "canary-environment"}], "volumeMounts": [{"name": "data", "mountPath": "/canary-path"}],
            }],
            "volumes": [{"name": "data", "csi": {"driver": "x", "volumeAttributes": {"key": "canary-volume"}}}],
        },
    })
}

/// A server and everything it writes to standard error.
struct Server {
    child: Child,
    log: Option<JoinHandle<String>>,
}

/// What an agent left.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) log: String,
    pub(crate) termination: String,
    /// The contents, in the order of the names.
    pub(crate) files: Vec<String>,
}

/// The programs, and what was heard of them as place and text.
pub(crate) struct World {
    folder: TempDir,
    emulator: Server,
    webhook: Server,
    facts: Value,
    serving: Value,
    http: reqwest::Client,
    heard: Vec<(String, String)>,
}

impl World {
    pub(crate) async fn start() -> World {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        put(&file("emulator.yaml"), &EMULATOR.replace("FIXTURES", concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures")));
        let mut command = Command::new(keyvault_tests::program("vault-emulator"));
        command.arg("--config").arg(file("emulator.yaml")).args(["--listen=127.0.0.1:0", "--imds-listen=127.0.0.1:0", "--state-dir"]);
        let (emulator, facts) = Server::start(command.arg(file("state")), false);

        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        put(&file("tls.crt"), &made.cert.pem());
        put(&file("tls.key"), &made.signing_key.serialize_pem());
        put(&file("config.yaml"), &configuration(&facts, folder.path()));
        let mut command = Command::new(keyvault_tests::program("keyvault-injector"));
        command.args(["webhook", "--log-format=json", "--defaults=none", "--config"]).arg(file("config.yaml"));
        let (webhook, serving) = Server::start(&mut command, true);
        let http = client(&[&made.cert.pem(), &std::fs::read_to_string(facts["ca"].as_str().unwrap()).unwrap()]);
        World { folder, emulator, webhook, facts, serving, http, heard: Vec::new() }
    }

    fn hear(&mut self, place: &str, text: impl Into<String>) {
        self.heard.push((place.to_owned(), text.into()));
    }

    // === the webhook ===

    /// Posts a body to the webhook; the status.
    pub(crate) async fn post(&mut self, body: String) -> u16 {
        self.answer(body).await.0
    }

    async fn answer(&mut self, body: String) -> (u16, String) {
        let port = self.serving["https"].as_str().unwrap().rsplit(':').next().unwrap();
        let request = self.http.post(format!("https://localhost:{port}/mutate")).header("content-type", "application/json").body(body);
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        // Base64 may look like a token: the patch is heard decoded.
        let answer = serde_json::from_str::<Value>(&text).unwrap_or_default();
        match answer["response"]["patch"].as_str() {
            Some(patch) => {
                self.hear("webhook's answer", text.replace(patch, ""));
                self.hear("patch", String::from_utf8(BASE64_STANDARD.decode(patch).unwrap()).unwrap());
            }
            None => self.hear("webhook's answer", text.clone()),
        }
        (status, text)
    }

    /// The response to a review of a pod's creation.
    pub(crate) async fn review(&mut self, pod: &Value) -> Value {
        let kind = json!({"group": "", "version": "v1", "kind": "Pod"});
        let resource = json!({"group": "", "version": "v1", "resource": "pods"});
        let request = json!({
            "uid": "u", "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource, "namespace": "payments", "operation": "CREATE",
            "userInfo": {"username": "canary-user", "extra": {"x": ["canary-extra"]}}, "object": pod, "oldObject": null, "options": null, "dryRun": false,
        });
        let body = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        let (status, text) = self.answer(body.to_string()).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str::<Value>(&text).unwrap()["response"].clone()
    }

    /// The plan that the webhook puts into a pod with these secrets.
    pub(crate) async fn plan(&mut self, secrets: &str) -> String {
        let response = self.review(&pod(secrets)).await;
        let patch = BASE64_STANDARD.decode(response["patch"].as_str().unwrap_or_else(|| panic!("no patch: {response}"))).unwrap();
        let patch: Value = serde_json::from_slice(&patch).unwrap();
        let agents = patch.as_array().unwrap().iter().find(|operation| operation["path"] == "/spec/initContainers").unwrap();
        agents["value"][0]["env"][0]["value"].as_str().unwrap().to_owned()
    }

    // === the emulator ===

    pub(crate) async fn fault(&mut self, plane: &str, mut fault: Value) {
        fault["plane"] = json!(plane);
        let request = self.http.post(format!("{}/_emulator/faults", self.facts["imds"].as_str().unwrap())).body(fault.to_string());
        assert_eq!(request.send().await.unwrap().status().as_u16(), 204, "{fault}");
    }

    // === the agent ===

    pub(crate) fn put_principal(&self, secret: &str) {
        let folder = self.folder.path().join("principal");
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in
            [("client-id", "0f1e2d3c-1111-4222-8333-444455556666"), ("tenant-id", "aaaabbbb-1111-4222-8333-444455556666"), ("client-secret", secret)]
        {
            put(&folder.join(name), text);
        }
    }

    /// Runs the agent with a ServiceAccount token for `subject`.
    pub(crate) async fn agent(&mut self, plan: &str, subject: &str) -> Run {
        let root = self.folder.path().to_owned();
        let (files, token, log) =
            (root.join("keyvault/files"), root.join("var/run/secrets/kubernetes.io/serviceaccount"), root.join("dev/termination-log"));
        let _ = std::fs::remove_dir_all(&files);
        for folder in [&files, &token, log.parent().unwrap()] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let key = ServiceAccountKey::from_pem(include_bytes!("../fixtures/sa.key.pem")).unwrap();
        let signed = key.token("https://oidc.example.invalid/", subject, "api://AzureADTokenExchange", PATIENCE).unwrap();
        put(&token.join("token"), std::str::from_utf8(signed.expose()).unwrap());
        put(&log, "");
        let mut command = tokio::process::Command::new(keyvault_tests::program("keyvault-agent"));
        command.env_clear().env("KEYVAULT_AGENT_PLAN", plan).args(["fetch", "--root"]).arg(&root).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("the agent ends").unwrap();
        let text = format!("{}{}", String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        let termination = std::fs::read_to_string(&log).unwrap();
        self.hear("agent's log", text.clone());
        self.hear("termination message", termination.clone());
        Run { code: output.status.code(), log: text, termination, files: contents(&files) }
    }

    /// Ends the programs; everything that was heard.
    pub(crate) async fn end(mut self) -> Vec<(String, String)> {
        let page = |url: String| self.http.get(url).send();
        let health = self.serving["health"].as_str().unwrap();
        let metrics = page(format!("http://{health}/metrics")).await.unwrap().text().await.unwrap();
        let requests = page(format!("{}/_emulator/requests", self.facts["imds"].as_str().unwrap())).await.unwrap().text().await.unwrap();
        self.hear("webhook's metrics", metrics);
        self.hear("emulator's requests", requests);
        let logs = [("webhook's log", self.webhook.end()), ("emulator's log", self.emulator.end())];
        logs.into_iter().for_each(|(place, log)| self.hear(place, log));
        self.heard
    }
}

impl Server {
    /// Starts a program; its ready line is on standard error, or the first on standard output.
    fn start(command: &mut Command, ready_on_stderr: bool) -> (Server, Value) {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stdout, mut stderr) = (BufReader::new(child.stdout.take().unwrap()), BufReader::new(child.stderr.take().unwrap()));
        let (ready, when_ready) = mpsc::channel();
        let log = std::thread::spawn(move || {
            let (mut log, mut line) = (String::new(), String::new());
            if ready_on_stderr {
                // Others may come before it.
                while !line.contains("\"https\"") {
                    line.clear();
                    assert!(stderr.read_line(&mut line).unwrap() > 0, "the program ends: {log}");
                    log.push_str(&line);
                }
            } else {
                stdout.read_line(&mut line).unwrap();
                log.push_str(&line);
            }
            ready.send(line).unwrap();
            stderr.read_to_string(&mut log).unwrap();
            log
        });
        let server = Server { child, log: Some(log) };
        let line = when_ready.recv_timeout(PATIENCE).expect("the program says that it serves");
        let facts = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the program does not serve: {line}"));
        (server, facts)
    }

    fn end(&mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log.take().unwrap().join().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(facts: &Value, folder: &Path) -> String {
    let (authority, ca, folder) = (facts["authority"].as_str().unwrap(), facts["ca"].as_str().unwrap(), folder.display());
    let suffix = authority.replace("https://", "vault.");
    format!(
        "cloud: {{vaultSuffix: \"{suffix}\", authorityHost: \"{authority}\", verifyChallenge: false}}\n\
         agent: {{image: \"registry.example/keyvault-injector:0.1.0\", extraCaFile: {ca}}}\n\
         defaults: {{vault: payments, clientId: 0f1e2d3c-1111-4222-8333-444455556666, tenantId: aaaabbbb-1111-4222-8333-444455556666}}\n\
         server: {{listen: \"127.0.0.1:0\", healthListen: \"127.0.0.1:0\", tls: {{certFile: {folder}/tls.crt, keyFile: {folder}/tls.key}}}}\n"
    )
}

fn client(roots: &[&str]) -> reqwest::Client {
    let mut store = rustls::RootCertStore::empty();
    roots.iter().for_each(|pem| store.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let tls = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(store).with_no_client_auth();
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls).build().unwrap()
}

fn put(file: &PathBuf, text: &str) {
    std::fs::File::create(file).unwrap().write_all(text.as_bytes()).unwrap();
}

/// What a container finds, in the order of the names.
fn contents(folder: &Path) -> Vec<String> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names.iter().filter(|path| path.is_file()).map(|path| std::fs::read_to_string(path).unwrap()).collect()
}
