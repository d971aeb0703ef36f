//! An emulator on loopback and an agent's file system in a temporary folder.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use vault_emulator::{Config, Emulator, Options, ServiceAccountKey};

use crate::emulator::{read, trusting};

pub(crate) const TENANT: &str = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";
/// May read `demo`.
pub(crate) const APP: &str = "11111111-1111-1111-1111-111111111111";
/// Is known and may read nothing.
pub(crate) const STRANGER: &str = "22222222-2222-2222-2222-222222222222";
pub(crate) const MANAGED: &str = "33333333-3333-3333-3333-333333333333";
const ISSUER: &str = "https://oidc.example.invalid/";
const SUBJECT: &str = "system:serviceaccount:default:app";
pub(crate) const AUDIENCE: &str = "api://AzureADTokenExchange";
/// In every value, so that one search finds any leak.
pub(crate) const CANARY: &str = "canary";

const CONFIG: &str = r#"
tenants:
- id: aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee
  applications:
  - clientId: 11111111-1111-1111-1111-111111111111
    secrets: [canary-client-secret]
    certificateFiles: [CERTIFICATE]
    federatedCredentials:
    - {issuer: "https://oidc.example.invalid/", subject: "system:serviceaccount:default:app", audience: "api://AzureADTokenExchange", jwksFile: sa.jwks.json}
  - clientId: 22222222-2222-2222-2222-222222222222
    secrets: [canary-stranger-secret]
managedIdentities:
- {clientId: 33333333-3333-3333-3333-333333333333, objectId: 44444444-4444-4444-4444-444444444444, resourceId: /subscriptions/s/app, systemAssigned: true}
vaults:
- name: demo
  permissions:
  - {identity: 11111111-1111-1111-1111-111111111111, allow: ["*"]}
  - {identity: 33333333-3333-3333-3333-333333333333, allow: [secrets/get]}
  secrets:
  - {name: db-password, value: "correct horse canary staple"}
  - {name: exact, value: " canary\r\n"}
  - {name: empty, value: ""}
  - {name: binary, value: "Y2FuYXJ5AP8="}
  - {name: config, value: '{"sink": {"token": "canary-token", "port": 5432}, "hosts": ["canary-a", "canary-b"]}'}
  - {name: old-token, value: canary-disabled, enabled: false}
  - {name: quoted, value: "it's $HOME \"canary\" \\ `id`\n#x = é"}
  - {name: app-db, value: canary-app-db, tags: {team: web, tier: "1"}}
  - {name: App-token, value: '{"token": "canary-app-token"}', tags: {team: web}}
  - {name: app-old, value: canary-disabled, enabled: false}
"#;

/// Vaults that serve four calls: once, and in each second. Followed by secrets.
const NARROW: [&str; 2] = [
    r#"
- name: narrow
  throttle: {calls: 4, window: 1h}
  permissions: [{identity: 11111111-1111-1111-1111-111111111111, allow: ["*"]}]
  secrets:
"#,
    r#"
- name: brief
  throttle: {calls: 4, window: 1s}
  permissions: [{identity: 11111111-1111-1111-1111-111111111111, allow: ["*"]}]
  secrets:
"#,
];

/// Stands behind the secrets of `demo`. In `public` the managed identity may get certificates and no secrets.
const OBJECTS: &str = r#"
  certificates:
  - {name: cert-pfx, file: pfx/kv-pem-chain3.secret.pem, contentType: pfx}
  - {name: cert-pem, file: pfx/kv-pem-chain3.secret.pem, contentType: pem}
  - {name: cert-made, subject: CN=made.example, keyType: EC, curve: P-384}
  - {name: cert-kept, subject: CN=kept.example, keyType: EC, curve: P-256, exportable: false}
  keys:
  - {name: sign-rsa, file: sa.key.pem}
  - {name: sign-ec, keyType: EC, curve: P-521}
- name: public
  permissions:
  - {identity: 33333333-3333-3333-3333-333333333333, allow: [certificates/get]}
  certificates:
  - {name: cert-made, subject: CN=made.example, keyType: EC, curve: P-384}
  - {name: cert-kept, subject: CN=kept.example, keyType: EC, curve: P-256, exportable: false}
"#;

/// A vault of `m-000` to `m-100`. The managed identity may get them and not list them.
const MANY: &str = r#"
- name: many
  permissions:
  - {identity: 11111111-1111-1111-1111-111111111111, allow: ["*"]}
  - {identity: 33333333-3333-3333-3333-333333333333, allow: [secrets/get]}
  secrets:
"#;

/// A running emulator; it stops when this is dropped.
pub(crate) struct World {
    pub(crate) root: tempfile::TempDir,
    pub(crate) port: u16,
    imds: String,
    pub(crate) ca: String,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What an agent left.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) log: String,
    pub(crate) termination: String,
}

impl World {
    pub(crate) fn new() -> World {
        let root = tempfile::tempdir().unwrap();
        let certificate = root.path().join("application.pem");
        std::fs::File::create(&certificate).unwrap().write_all(application_certificate().as_bytes()).unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let listed = secrets().map(|(name, value)| format!("  - {{name: {name}, value: {value}}}\n")).collect::<String>();
        let text = format!("{CONFIG}{listed}");
        let text = format!("{text}  - {{name: large, value: {}}}\n", CANARY.repeat(500));
        let many: String = (0..101).map(|n| format!("  - {{name: m-{n:03}, value: canary-m-{n:03}}}\n")).collect();
        let narrow = NARROW.map(|vault| format!("{vault}{listed}")).concat();
        let text = format!("{text}{}{OBJECTS}{MANY}{many}{narrow}", certificates());
        let text = text.replace("CERTIFICATE]", &format!("{}]", certificate.display()));
        let config = Config::parse(&text, &fixtures).unwrap();
        let (ready, when_ready) = mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                let bound = Emulator::bind(config, Options::default()).await.unwrap();
                ready.send((bound.socket().port(), bound.addresses().imds.clone().unwrap(), bound.ca_pem().to_owned())).unwrap();
                bound.serve(async { drop(stopped.await) }).await;
            });
        });
        let (port, imds, ca) = when_ready.recv().unwrap();
        let world = World { root, port, imds, ca, stop: Some(stop), thread: Some(thread) };
        for folder in ["dev", "keyvault/files", "token", "principal", "pod"] {
            std::fs::create_dir_all(world.path(folder)).unwrap();
        }
        world.put("dev/termination-log", "");
        world.put_token(SUBJECT, AUDIENCE);
        world
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    pub(crate) fn put(&self, below: &str, text: &str) {
        std::fs::File::create(self.path(below)).unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// A ServiceAccount token as the kubelet projects it.
    pub(crate) fn put_token(&self, subject: &str, audience: &str) {
        let key = ServiceAccountKey::from_pem(include_bytes!("../fixtures/sa.key.pem")).unwrap();
        let token = key.token(ISSUER, subject, audience, Duration::from_secs(600)).unwrap();
        self.put("token/token", std::str::from_utf8(token.expose()).unwrap());
    }

    /// How messages name the vault `demo`.
    pub(crate) fn demo(&self) -> String {
        format!("demo.vault.localhost:{} (127.0.0.1)", self.port)
    }

    /// How messages name Entra.
    pub(crate) fn entra(&self) -> String {
        format!("localhost:{} (127.0.0.1)", self.port)
    }

    pub(crate) fn vault(&self, name: &str) -> String {
        format!("https://{name}.vault.localhost:{}", self.port)
    }

    /// A plan that fetches nothing; tests add one fact each.
    pub(crate) fn plan(&self) -> Plan {
        Plan(json!({
            "version": 1,
            "cloud": {"authorityHost": format!("https://localhost:{}", self.port), "resource": "https://vault.azure.net", "verifyChallenge": false},
            "identity": {"workloadIdentity": {"clientId": APP, "tenantId": TENANT, "tokenFile": "/token/token"}},
            "deadline": "20s",
            "fetch": [],
            "directories": [{"path": "/keyvault/files", "entries": []}],
            "extraCa": self.ca,
            "logLevel": "debug",
        }))
    }

    /// A plan for secrets of the vault `demo`, each in a file of its name.
    pub(crate) fn plan_for(&self, names: &[&str]) -> Plan {
        names.iter().fold(self.plan(), |plan, name| plan.file(name, &self.vault("demo"), name, json!({})))
    }

    pub(crate) fn managed(&self, select: Value) -> Value {
        json!({"managedIdentity": {"select": select, "endpoint": self.imds}})
    }

    pub(crate) fn system_assigned(&self) -> Value {
        json!({"managedIdentity": {"endpoint": self.imds}})
    }

    pub(crate) fn run(&self, plan: &Plan) -> Run {
        self.run_with(plan, "exec \"$0\" \"$@\"", &[])
    }

    /// Runs the agent from a shell that first does what `script` says.
    pub(crate) fn run_with(&self, plan: &Plan, script: &str, environment: &[(&str, &str)]) -> Run {
        let (code, output) = bounded(self.command(plan, script, environment));
        let termination = std::fs::read_to_string(self.path("dev/termination-log")).unwrap();
        for (place, text) in [("log", &output), ("termination message", &termination)] {
            assert!(!text.contains(CANARY), "a value is in the {place}: {text}");
            assert!(!text.contains("eyJ"), "a token is in the {place}: {text}");
            assert!(!text.contains("-----BEGIN") && !text.contains("MII"), "a key is in the {place}: {text}");
        }
        Run { code, log: output, termination }
    }

    pub(crate) fn command(&self, plan: &Plan, script: &str, environment: &[(&str, &str)]) -> Command {
        self.put("dev/termination-log", "");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, &keyvault_tests::program("keyvault-agent"), "fetch", "--root"]).arg(self.root.path());
        command.env_clear().env("KEYVAULT_AGENT_PLAN", plan.0.to_string()).env("AZURE_CLIENT_ID", "ignored").envs(environment.iter().copied());
        command
    }

    /// A call of the vault `demo`, as the application that may do everything there.
    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let http = trusting(&self.ca, ([127, 0, 0, 1], self.port).into()).build().unwrap();
        let form = format!(
            "grant_type=client_credentials&client_id={APP}&client_secret=canary-client-secret&scope=https%3A%2F%2Fvault.azure.net%2F.default"
        );
        let token = http.post(format!("https://localhost:{}/{TENANT}/oauth2/v2.0/token", self.port));
        let token = token.header("content-type", "application/x-www-form-urlencoded").body(form);
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let token = read(token.send().await.unwrap()).await.json["access_token"].as_str().unwrap().to_owned();
            let request = http.request(method.parse().unwrap(), format!("https://demo.vault.azure.net{path}?api-version=7.6"));
            let request = request.bearer_auth(token).header("content-type", "application/json").body(body.to_string());
            let answer = read(request.send().await.unwrap()).await;
            assert!(matches!(answer.status, 200 | 202), "{}", answer.json);
            answer.json
        })
    }

    /// Scripts a fault.
    pub(crate) fn fault(&self, fault: Value) {
        let (status, body) = self.control("POST", "faults", &fault.to_string());
        assert_eq!(status, "204", "{body}");
    }

    /// The paths of the vault that were asked for, in order.
    pub(crate) fn paths(&self) -> Vec<String> {
        let (_, body) = self.control("GET", "requests", "");
        let entries = serde_json::from_str::<Value>(&body).unwrap()["requests"].take();
        let of_vault = entries.as_array().unwrap().iter().filter(|entry| entry["plane"] == "vault" && entry["method"] == "GET");
        of_vault.map(|entry| entry["path"].as_str().unwrap().to_owned()).collect()
    }

    /// Calls of a plane by status, such as `{"200": 2}`.
    pub(crate) fn calls(&self, plane: &str) -> Value {
        let (_, body) = self.control("GET", "requests", "");
        serde_json::from_str::<Value>(&body).unwrap()["counts"][plane].clone()
    }

    pub(crate) fn reset_calls(&self) {
        self.control("DELETE", "requests", "");
    }

    fn control(&self, method: &str, path: &str, body: &str) -> (String, String) {
        let address = self.imds.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        let length = body.len();
        write!(stream, "{method} /_emulator/{path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
    }

    /// Mode and content of every file that a consumer sees below `directory`.
    pub(crate) fn files(&self, directory: &str) -> BTreeMap<String, (String, Vec<u8>)> {
        let mut files = BTreeMap::new();
        let root = self.path(directory);
        walk(&root, &root, &mut files);
        files
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// The private key of the application's certificate.
pub(crate) const APPLICATION_KEY: &str = include_str!("../fixtures/stranger.key.pem");

/// The certificate that the application may sign in with.
pub(crate) fn application_certificate() -> String {
    let key = rcgen::KeyPair::from_pem(APPLICATION_KEY).unwrap();
    rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem()
}

/// `s-00` to `s-49`.
pub(crate) fn secrets() -> impl Iterator<Item = (String, String)> {
    (0..50).map(|n| (format!("s-{n:02}"), format!("canary-{n:02}")))
}

/// What Key Vault keeps behind certificates, as secrets: the agent asks for nothing else where the key may be read.
fn certificates() -> String {
    let fixture = |name: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/pfx").join(name)).unwrap();
    let certificates = |text: &str| text[text.find("-----BEGIN CERTIFICATE").unwrap()..].to_owned();
    let chain = fixture("kv-rsa-chain3.expected.pem");
    let (key, public) = (chain.replace(&certificates(&chain), ""), certificates(&chain));
    let leaf_and_root = {
        let blocks: Vec<&str> = public.split_inclusive("-----END CERTIFICATE-----\n").collect();
        [blocks[0], blocks[2]].concat()
    };
    let seeds = [
        ("tls-root-first", "application/x-pkcs12", fixture("kv-rsa-chain3-root-first.b64")),
        ("tls-ec", "application/x-pkcs12", fixture("kv-ec-p521.b64")),
        ("tls-rc2", "application/x-pkcs12", fixture("ossl-rc2-40.b64")),
        ("tls-pem", "application/x-pem-file", fixture("kv-pem-chain3.secret.pem")),
        ("tls-public", "application/x-pem-file", public),
        ("tls-gap", "application/x-pem-file", key.clone() + &leaf_and_root),
        ("tls-mismatch", "application/x-pem-file", key + &certificates(&fixture("kv-ec-p256.expected.pem"))),
    ];
    seeds.iter().map(|(name, kind, value)| format!("  - {{name: {name}, contentType: {kind}, value: {}}}\n", json!(value))).collect()
}

/// A plan under construction.
pub(crate) struct Plan(pub(crate) Value);

impl Plan {
    /// Fetches `object` (unless it already is fetched) and writes it to `file` of the last directory. `extra` goes into the value expression,
    /// but `optional` and `version` into the fetch, and `mode` into the entry.
    pub(crate) fn file(mut self, file: &str, vault: &str, object: &str, extra: Value) -> Plan {
        let id = self.0["fetch"].as_array().unwrap().len().to_string();
        let (mut secret, mut value) = (json!({"vault": vault, "name": object}), json!({"object": id}));
        let mut mode = json!("0400");
        for (key, extra) in extra.as_object().unwrap() {
            match key.as_str() {
                "optional" | "version" => secret[key] = extra.clone(),
                "mode" => mode = extra.clone(),
                _ => value[key] = extra.clone(),
            }
        }
        self.0["fetch"].as_array_mut().unwrap().push(json!({"id": id, "secret": secret}));
        let entries = self.0["directories"].as_array_mut().unwrap().last_mut().unwrap()["entries"].as_array_mut().unwrap();
        entries.push(json!({"file": file, "mode": mode, "value": value}));
        self
    }

    pub(crate) fn with(mut self, pointer: &str, value: Value) -> Plan {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = self.0.pointer_mut(parent).unwrap();
        if let Value::Array(items) = parent {
            items.push(value);
        } else {
            parent[key] = value;
        }
        self
    }
}

fn walk(root: &Path, directory: &Path, files: &mut BTreeMap<String, (String, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        if name.starts_with("..") {
            continue;
        }
        let found = std::fs::metadata(&path).unwrap();
        if found.is_dir() {
            walk(root, &path, files);
        } else {
            files.insert(name, (format!("{:04o}", found.mode() & 0o7777), std::fs::read(&path).unwrap()));
        }
    }
}

/// Runs a command to its end, with stdout and stderr together, but not for ever.
fn bounded(mut command: Command) -> (i32, String) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (done, when_done) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        stdout.read_to_string(&mut text).unwrap();
        done.send(()).unwrap();
        text
    });
    if when_done.recv_timeout(Duration::from_secs(60)).is_err() {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    (status.code().unwrap_or(-1), reader.join().unwrap())
}
