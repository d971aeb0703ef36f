//! Replicas of the webhook as processes, and their registration by URL: the API server of the tests has no network for Services.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Api;
use kube::api::PostParams;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Cluster, until};

/// The label that opts a namespace in.
pub(crate) const OPTED_IN: (&str, &str) = ("keyvault-injector.io/injection", "enabled");

/// A certificate for loopback, of a CA of its own.
pub(crate) struct Loopback {
    pub(crate) ca: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Loopback {
    pub(crate) fn new() -> Loopback {
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        Loopback {
            ca: ca.self_signed(&ca_key).unwrap().pem(),
            certificate: leaf.signed_by(&key, &Issuer::from_params(&ca, &ca_key)).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A running `keyvault-injector webhook`; it ends with the value.
pub(crate) struct Injector {
    child: Child,
    /// `127.0.0.1:PORT`, where reviews are answered.
    pub(crate) https: String,
    /// `127.0.0.1:PORT`, where `/ready` and `/metrics` are.
    pub(crate) health: String,
    log: Arc<Mutex<String>>,
    folder: TempDir,
}

/// What a test may set of a replica. The rest is loopback, free ports, a short drain.
pub(crate) struct Setup<'a> {
    /// The namespace that it runs in, as a pod would.
    pub(crate) namespace: &'a str,
    /// `server.tls`, as YAML in one line. `FOLDER` stands for where `loopback` is.
    pub(crate) tls: &'a str,
    /// Written as `tls.crt` and `tls.key`.
    pub(crate) loopback: Option<&'a Loopback>,
    /// More of `agent`, in one line, with `FOLDER` as above.
    pub(crate) agent: &'a str,
    /// More lines of the configuration.
    pub(crate) config: &'a str,
    /// More lines under `server`, indented by two. A `drainDelay` there replaces the short one.
    pub(crate) server: &'a str,
    /// Whom it is in the cluster; `None` is the administrator.
    pub(crate) token: Option<&'a str>,
}

impl<'a> Setup<'a> {
    /// Serves with `loopback` from files.
    pub(crate) fn files(namespace: &'a str, loopback: &'a Loopback) -> Setup<'a> {
        let tls = "{certFile: FOLDER/tls.crt, keyFile: FOLDER/tls.key}";
        Setup { namespace, tls, loopback: Some(loopback), agent: "", config: "", server: "", token: None }
    }
}

impl Injector {
    /// Starts a replica and waits until it listens; whether it is ready is another question.
    pub(crate) async fn start(cluster: &Cluster, setup: &Setup<'_>) -> Injector {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        if let Some(loopback) = setup.loopback {
            fs::write(file("tls.crt"), &loopback.certificate).unwrap();
            fs::write(file("tls.key"), &loopback.key).unwrap();
        }
        let placed = |text: &str| text.replace("FOLDER", &folder.path().display().to_string());
        let tls = placed(setup.tls);
        let drain = if setup.server.contains("drainDelay") { "" } else { "  drainDelay: 500ms\n" };
        let server = format!("server:\n  listen: 127.0.0.1:0\n  healthListen: 127.0.0.1:0\n{drain}  tls: {tls}\n{}", setup.server);
        let agent = format!("agent: {{image: registry.example/keyvault-injector:0.1.0, {}}}\n", placed(setup.agent));
        fs::write(file("config.yaml"), format!("{agent}{server}{}", setup.config)).unwrap();
        let kubeconfig = cluster.kubeconfig_for(folder.path(), setup.namespace, setup.token);

        let mut command = Command::new(keyvault_tests::program("keyvault-injector"));
        command.arg("webhook").arg("--config").arg(file("config.yaml")).args(["--defaults", "cluster", "--log-format", "json"]);
        command.env("KUBECONFIG", kubeconfig).env_remove("KUBERNETES_SERVICE_HOST").stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let to = Arc::clone(&log);
        thread::spawn(move || lines.map_while(Result::ok).for_each(|line| to.lock().unwrap().push_str(&format!("{line}\n"))));
        let mut injector = Injector { child, https: String::new(), health: String::new(), log, folder };
        let serving = injector.line_with("the webhook serves").await;
        let address = |name: &str| serving[name].as_str().unwrap().to_owned();
        (injector.https, injector.health) = (address("https"), address("health"));
        injector
    }

    /// The first log line with this message or part of it, once it is there.
    pub(crate) async fn line_with(&self, part: &str) -> Value {
        let line = async || {
            let log = self.log();
            let found = log.lines().find(|line| line.contains(part)).map(|line| serde_json::from_str(line).unwrap());
            assert!(found.is_some() || !self.ended(), "it ended without a line with {part:?}:\n{log}");
            found
        };
        until("line in the log", line).await
    }

    /// Everything logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Where its files are.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Status and text of a path of the plain port; `None` where nobody answers.
    pub(crate) async fn get(&self, path: &str) -> Option<(u16, String)> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("http://{}{path}", self.health)).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// Waits for `/ready`.
    pub(crate) async fn ready(&self) {
        until("ready webhook", async || self.get("/ready").await.filter(|(status, _)| *status == 200)).await;
    }

    /// The value of one line of `/metrics`, by its name with its labels; 0 where there is none.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics").await.expect("metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// The exit code, once there is one.
    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        until("end of the webhook", async || self.child.try_wait().unwrap()).await.code()
    }

    /// Whether it runs no more, for whatever reason.
    pub(crate) fn ended(&self) -> bool {
        // A zombie is still there until we have waited; its folder in /proc says so.
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        status.is_empty() || status.contains("State:\tZ")
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A registration under a separate name, for one namespace only, so that tests do not meet each other's pods.
pub(crate) fn registration(name: &str, namespace: &str, address: &str, ca: Option<&str>) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": {"name": name},
        "webhooks": [{
            "name": "inject.keyvault-injector.io",
            "clientConfig": {"url": format!("https://{address}/mutate"), "caBundle": ca.map(|ca| STANDARD.encode(ca))},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "scope": "Namespaced"}],
            "namespaceSelector": {
                "matchLabels": {OPTED_IN.0: OPTED_IN.1},
                "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": [namespace]}],
            },
            "matchConditions": [{
                "name": "asks",
                "expression": "has(object.metadata.annotations) && object.metadata.annotations.exists(k, k.startsWith('keyvault-injector.io/'))",
            }],
            "failurePolicy": "Fail", "sideEffects": "None", "reinvocationPolicy": "IfNeeded", "admissionReviewVersions": ["v1"], "timeoutSeconds": 5,
        }],
    })
}

impl Cluster {
    /// An opted-in namespace whose annotated pods go to `injector`, which serves with `loopback`.
    pub(crate) async fn register(&self, namespace: &str, injector: &Injector, loopback: &Loopback) -> String {
        let name = self.name("zz-keyvault-injector");
        self.create_registration(&registration(&name, namespace, &injector.https, Some(&loopback.ca))).await;
        name
    }

    /// Creates a registration. The API server follows it a moment later: it learns of its own changes by a watch.
    pub(crate) async fn create_registration(&self, registration: &Value) {
        let api: Api<MutatingWebhookConfiguration> = Api::all(self.client().await);
        api.create(&PostParams::default(), &serde_json::from_value(registration.clone()).unwrap()).await.unwrap();
    }
}
