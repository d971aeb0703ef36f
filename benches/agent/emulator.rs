//! The emulator as a separate process, and the settings that both programs need to reach it.
#![allow(dead_code)] // each benchmark uses its own part

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use vault_emulator::ServiceAccountKey;

use crate::BoxError;

const TENANT: &str = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";
const APP: &str = "11111111-1111-1111-1111-111111111111";
const CONFIG: &str = r#"
tenants:
- id: aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee
  applications:
  - clientId: 11111111-1111-1111-1111-111111111111
    federatedCredentials: [{issuer: "https://oidc/", subject: "system:serviceaccount:default:app", audience: "api://AzureADTokenExchange", jwksFile: sa.jwks.json}]
vaults:
- name: demo
  # throttle
  permissions: [{identity: 11111111-1111-1111-1111-111111111111, allow: ["*"]}]
  secrets:
"#;

pub(crate) struct Emulator {
    child: Child,
    directory: tempfile::TempDir,
    ready: Value,
    ca: String,
    token: String,
}

impl Emulator {
    pub(crate) fn start() -> Result<Emulator, BoxError> {
        Emulator::configured(CONFIG)
    }

    /// Its vault serves so many calls in each window (`10s`).
    pub(crate) fn throttling(calls: u64, window: &str) -> Result<Emulator, BoxError> {
        Emulator::configured(&CONFIG.replace("# throttle", &format!("throttle: {{calls: {calls}, window: {window}}}")))
    }

    fn configured(config: &str) -> Result<Emulator, BoxError> {
        // Memory, as in a pod, where there is such a place.
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
        let put = |name: &str, text: &str| std::fs::File::create(directory.path().join(name)).and_then(|mut file| file.write_all(text.as_bytes()));
        std::fs::create_dir(directory.path().join("files"))?;
        let key = ServiceAccountKey::from_pem(include_bytes!("../../tests/fixtures/sa.key.pem"))?;
        let token = key.token("https://oidc/", "system:serviceaccount:default:app", "api://AzureADTokenExchange", Duration::from_secs(3_600))?;
        let token = std::str::from_utf8(token.expose())?.to_owned();
        put("token", &token)?;
        put("sa.jwks.json", &key.jwks())?;
        put("emulator.yaml", &(0..50).fold(config.to_owned(), |text, n| format!("{text}  - {{name: secret-{n}, value: {}}}\n", "v".repeat(100))))?;

        // As many connections as the system lets it hold.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "ulimit -S -n \"$(ulimit -H -n)\"; exec \"$0\" \"$@\"", &keyvault_tests::program("vault-emulator")]);
        command.args(["--listen", "127.0.0.1:0", "--imds-listen", "127.0.0.1:0", "--config"]).arg(directory.path().join("emulator.yaml"));
        let mut child = command.arg("--state-dir").arg(directory.path()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line)?;
        let ca = std::fs::read_to_string(ready["ca"].as_str().ok_or("no CA")?)?;
        Ok(Emulator { child, directory, ready, ca, token })
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// The agent's plan for so many secrets, in `/files`.
    pub(crate) fn plan(&self, secrets: usize) -> String {
        self.plan_into("/files", secrets, "1m")
    }

    /// The agent's plan for so many secrets.
    pub(crate) fn plan_into(&self, directory: &str, secrets: usize, deadline: &str) -> String {
        let fetch: Vec<Value> =
            (0..secrets).map(|n| json!({"id": n.to_string(), "secret": {"vault": self.vault(), "name": format!("secret-{n}")}})).collect();
        let entries: Vec<Value> =
            (0..secrets).map(|n| json!({"file": format!("secret-{n}"), "mode": "0400", "value": {"object": n.to_string()}})).collect();
        json!({
            "version": 1,
            "cloud": {"authorityHost": self.ready["authority"], "resource": "https://vault.azure.net", "verifyChallenge": false},
            "identity": {"workloadIdentity": {"clientId": APP, "tenantId": TENANT, "tokenFile": "/token"}},
            "deadline": deadline,
            "fetch": fetch,
            "directories": [{"path": directory, "entries": entries}],
            "extraCa": self.ca,
        })
        .to_string()
    }

    /// The bare client with the same calls.
    pub(crate) fn bare(&self, program: &Path, secrets: usize) -> Command {
        let form = format!(
            "grant_type=client_credentials&client_id={APP}&scope=https%3A%2F%2Fvault.azure.net%2F.default\
             &client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion={}",
            self.token
        );
        let mut command = Command::new(program);
        command.arg(format!("{}/{TENANT}/oauth2/v2.0/token", self.ready["authority"].as_str().unwrap_or_default())).arg(form);
        command.arg(self.ready["ca"].as_str().unwrap_or_default());
        command.args((0..secrets).map(|n| format!("{}/secrets/secret-{n}?api-version=7.4", self.vault())));
        command
    }

    /// Delays every answer from now on.
    pub(crate) fn delay(&self, milliseconds: u64) -> Result<(), BoxError> {
        for plane in ["vault", "entra"] {
            self.script(&json!({"plane": plane, "kind": "clear"}))?;
            self.script(&json!({"plane": plane, "kind": "delay", "delay_ms": milliseconds}))?;
        }
        Ok(())
    }

    fn vault(&self) -> String {
        let port = self.ready["vault"].as_str().unwrap_or_default().rsplit(':').next().unwrap_or_default();
        format!("https://demo.vault.localhost:{port}")
    }

    /// Calls by plane and status since the start: `{"vault":{"200":10}}`.
    pub(crate) fn calls(&self) -> Result<Value, BoxError> {
        let answer = self.control("GET", "requests", "")?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("no body")?;
        Ok(serde_json::from_str::<Value>(body)?["counts"].take())
    }

    fn script(&self, fault: &Value) -> Result<(), BoxError> {
        let answer = self.control("POST", "faults", &fault.to_string())?;
        if answer.starts_with("HTTP/1.1 204") { Ok(()) } else { Err(answer.into()) }
    }

    fn control(&self, method: &str, path: &str, body: &str) -> Result<String, BoxError> {
        let address = self.ready["imds"].as_str().and_then(|url| url.strip_prefix("http://")).ok_or("no address")?;
        let (mut stream, length) = (TcpStream::connect(address)?, body.len());
        write!(stream, "{method} /_emulator/{path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
