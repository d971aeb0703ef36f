//! The program itself, as its users start it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::emulator::{AUDIENCE, CONFIG, FIXTURES, ISSUER, OWNER, SUBJECT, TENANT, read, trusting};

/// How long a start or an end may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ends with the test, however the test ends.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> Command {
    Command::new(keyvault_tests::program("vault-emulator"))
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::File::create(folder.join(name)).unwrap().write_all(text.as_bytes()).unwrap();
}

fn configured(folder: &Path) -> Command {
    listening(folder, ["127.0.0.1:0", "127.0.0.1:0"])
}

fn listening(folder: &Path, [listen, imds]: [&str; 2]) -> Command {
    write(folder, "emulator.yaml", &CONFIG.replace("sa.jwks.json", &format!("{FIXTURES}/sa.jwks.json")));
    let mut command = program();
    command.args(["--listen", listen, "--imds-listen", imds, "--config"]).arg(folder.join("emulator.yaml"));
    command.arg("--state-dir").arg(folder.join("state")).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(folder: &Path) -> (Process, BufReader<ChildStdout>, Value) {
    let mut process = Process(configured(folder).spawn().unwrap());
    let (ready, stdout) = ready_line(&mut process);
    (process, stdout, ready)
}

fn ready_line(process: &mut Process) -> (Value, BufReader<ChildStdout>) {
    let mut stdout = BufReader::new(process.0.stdout.take().unwrap());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        sender.send((line, stdout))
    });
    let (line, stdout) = receiver.recv_timeout(PATIENCE).unwrap();
    (serde_json::from_str(&line).unwrap(), stdout)
}

fn stop(process: &mut Process, signal: &str) -> Option<i32> {
    assert!(Command::new("kill").args([signal, &process.0.id().to_string()]).status().unwrap().success());
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = process.0.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < deadline, "it still runs");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test]
async fn it_prints_one_ready_line_serves_and_ends_cleanly_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let (mut process, mut stdout, ready) = start(folder.path());
    let ca = folder.path().join("state/ca.pem");
    assert_eq!(ready["ca"], ca.to_str().unwrap());
    assert_eq!((&ready["vault"], ready.as_object().unwrap().len()), (&ready["authority"], 4));
    let port = ready["vault"].as_str().unwrap().strip_prefix("https://localhost:").unwrap();
    let http = trusting(&std::fs::read_to_string(ca).unwrap(), format!("127.0.0.1:{port}").parse().unwrap()).build().unwrap();

    let form = format!("grant_type=client_credentials&client_id={OWNER}&client_secret=lab-client-secret&scope=https://vault.azure.net/.default");
    let token = http.post(format!("https://localhost:{port}/{TENANT}/oauth2/v2.0/token")).body(form).send().await.unwrap();
    let token = read(token).await.json["access_token"].as_str().unwrap().to_owned();
    let secret = http.get(format!("https://127.0.0.1:{port}/secrets/db-password?api-version=7.4")).header("authorization", format!("Bearer {token}"));
    assert_eq!(read(secret.send().await.unwrap()).await.json["value"], "correct horse battery staple");

    assert_eq!(stop(&mut process, "-TERM"), Some(0));
    let (mut rest, mut log) = (String::new(), String::new());
    stdout.read_to_string(&mut rest).unwrap();
    process.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert_eq!(rest, "", "standard output carries the ready line alone");
    assert!(log.contains("plane=vault method=\"GET\" path=\"/secrets/db-password\" status=200"), "{log}");
    assert!(!log.contains("correct horse") && !log.contains(&token) && !log.contains("lab-client-secret"), "{log}");
}

#[test]
fn the_ca_survives_a_restart_and_its_key_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("state/ca.pem");
    let (mut first, _, _) = start(folder.path());
    let before = std::fs::read_to_string(&ca).unwrap();
    assert_eq!(stop(&mut first, "-INT"), Some(0));
    let (_second, _, _) = start(folder.path());
    assert_eq!(std::fs::read_to_string(&ca).unwrap(), before);
    let mode = std::fs::metadata(folder.path().join("state/ca.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn unusable_configuration_stops_it_with_every_problem() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = configured(folder.path());
    write(folder.path(), "emulator.yaml", "tenants: [{id: x}]\nvalts: []\n");
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let file = folder.path().join("emulator.yaml").display().to_string();
    let expected = format!(
        "vault-emulator: {file}:1:16: tenants[0].id: \"x\" is not a GUID: 32 hexadecimal digits in groups of 8-4-4-4-12\n{file}:1:1: vaults is \
         missing: at least one is needed\n{file}:2:1: valts: unknown key; did you mean vaults?\n"
    );
    assert_eq!((output.status.code(), stderr, output.stdout), (Some(2), expected, Vec::new()));
}

#[test]
fn without_a_configuration_it_does_not_start() {
    let output = program().output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--config <CONFIG>"));
}

#[tokio::test]
async fn it_serves_a_certificate_that_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    write(folder.path(), "tls.pem", &made.cert.pem());
    write(folder.path(), "tls.key", &made.signing_key.serialize_pem());
    let mut command = configured(folder.path());
    let tls = "tls: {certFile: tls.pem, keyFile: tls.key}\n";
    write(folder.path(), "emulator.yaml", &format!("{tls}tenants: [{{id: {TENANT}}}]\nvaults: [{{name: demo}}]\n"));
    let mut process = Process(command.spawn().unwrap());
    let (ready, _stdout) = ready_line(&mut process);
    assert_eq!(ready["ca"], folder.path().join("tls.pem").to_str().unwrap());
    let port = ready["vault"].as_str().unwrap().strip_prefix("https://localhost:").unwrap();
    let http = trusting(&made.cert.pem(), format!("127.0.0.1:{port}").parse().unwrap()).build().unwrap();
    assert_eq!(http.get(format!("https://localhost:{port}/secrets")).send().await.unwrap().status(), 401);
    assert!(!folder.path().join("state").exists(), "nothing is made");
}

#[test]
fn token_and_jwks_fit_together_as_a_cluster_and_its_issuer_do() {
    let key = format!("{FIXTURES}/sa.key.pem");
    let jwks = program().args(["jwks", "--key", &key]).output().unwrap();
    assert_eq!(String::from_utf8(jwks.stdout).unwrap(), std::fs::read_to_string(format!("{FIXTURES}/sa.jwks.json")).unwrap());
    let token = program().args(["token", "--key", &key, "--issuer", ISSUER, "--subject", SUBJECT, "--lifetime", "90s"]).output().unwrap();
    let token = String::from_utf8(token.stdout).unwrap();
    let claims: Value = {
        use base64::Engine;
        let part = token.split('.').nth(1).unwrap();
        serde_json::from_slice(&base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    assert_eq!((&claims["iss"], &claims["sub"], &claims["aud"][0]), (&ISSUER.into(), &SUBJECT.into(), &AUDIENCE.into()));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 90);
    assert!(!token.ends_with('\n'), "a token file is sent as it is");
    let wrong = program().args(["jwks", "--key", &format!("{FIXTURES}/sa.jwks.json")]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("sa.jwks.json: no PKCS#8 private key (BEGIN PRIVATE KEY) in it"));
}

#[test]
fn an_address_that_is_taken_is_named_with_its_option() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let address = address.to_string();
    for (listen, option, hint) in [([&*address, "0"], "--listen", ""), (["0", &*address], "--imds-listen", ", off does without this listener")] {
        let output = listening(folder.path(), listen).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let expected =
            format!("vault-emulator: {option}: cannot listen on {address}: Address already in use (os error 98); 0 takes a free port{hint}");
        assert_eq!((output.status.code(), stderr.lines().last()), (Some(2), Some(expected.as_str())));
    }
}

#[test]
fn an_address_may_be_a_port_alone_and_the_plain_listener_may_be_off() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process(listening(folder.path(), ["0", "off"]).spawn().unwrap());
    let (ready, _stdout) = ready_line(&mut process);
    assert_eq!(ready["imds"], Value::Null);
    assert!(ready["vault"].as_str().unwrap().starts_with("https://localhost:"), "{ready}");
    for (option, value, expected) in [
        ("--listen", "local", "\"local\" is neither an address with a port, such as 127.0.0.1:8443, nor a port alone"),
        ("--listen", "off", "\"off\" is neither an address with a port, such as 127.0.0.1:8443, nor a port alone"),
        ("--imds-listen", "70000", "\"70000\" is neither an address with a port, such as 127.0.0.1:8443, nor a port alone, nor off"),
    ] {
        let output = program().args(["--config", "emulator.yaml", option, value]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(&format!(": {expected}\n")), "{stderr}");
    }
}

#[test]
fn permissions_that_can_never_matter_are_warned_of_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = configured(folder.path());
    let text = format!(
        "tenants:\n- id: {TENANT}\n  applications: [{{clientId: {OWNER}, objectId: 12121212-0000-0000-0000-000000000000}}]\n- id: \
         99999999-bbbb-cccc-dddd-eeeeeeeeeeee\nvaults:\n- name: demo\n  permissions:\n  - {{identity: {OWNER}, allow: [\"*\"]}}\n  - {{identity: \
         34343434-0000-0000-0000-000000000000, allow: [\"*\"]}}\n  - {{identity: 12121212-0000-0000-0000-000000000000, allow: [\"*\"]}}\n- {{name: \
         empty}}\n- {{name: foreign, tenant: 99999999-bbbb-cccc-dddd-eeeeeeeeeeee, permissions: [{{identity: {OWNER}, allow: [\"*\"]}}]}}\n"
    );
    write(folder.path(), "emulator.yaml", &text);
    let mut process = Process(command.spawn().unwrap());
    let _ready = ready_line(&mut process);
    assert_eq!(stop(&mut process, "-TERM"), Some(0));
    let mut log = String::new();
    process.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    let warnings: Vec<&str> = log.lines().filter_map(|line| line.split_once(" WARN ")).map(|(_, text)| text).collect();
    assert_eq!(
        warnings,
        [
            "vault demo: nobody can use the permissions of 34343434-0000-0000-0000-000000000000: no application and no managed identity of tenant \
             aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee has this client id"
                .to_owned(),
            format!(
                "vault demo: nobody can use the permissions of 12121212-0000-0000-0000-000000000000: it is an object id; write the client id {OWNER}"
            ),
            "vault empty has no permissions: every request gets 403".to_owned(),
            format!(
                "vault foreign: nobody can use the permissions of {OWNER}: it belongs to tenant {TENANT}, and the vault takes tokens of tenant \
                 99999999-bbbb-cccc-dddd-eeeeeeeeeeee"
            ),
        ]
    );
}
