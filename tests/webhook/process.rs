//! The program itself, with its files, its ports and its signals.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use crate::client::Client;
use crate::common::{Answer, Signed, review, signed, write};

const PATIENCE: Duration = Duration::from_secs(30);

struct Webhook {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    log: String,
    https: SocketAddr,
    health: SocketAddr,
    signed: Signed,
    _folder: TempDir,
}

fn config(folder: &Path, tls: &str) -> std::path::PathBuf {
    let file = folder.join("config.yaml");
    let server = format!("server:\n  listen: 127.0.0.1:0\n  healthListen: 127.0.0.1:0\n  drainDelay: 500ms\n  tls: {tls}\n");
    write(&file, &format!("agent:\n  image: registry.example/keyvault-injector:0.1.0\n{server}"));
    file
}

fn files(folder: &Path) -> String {
    format!("{{certFile: {0}/tls.crt, keyFile: {0}/tls.key}}", folder.display())
}

/// The program as a shell starts it, so that a test may lower its limits first.
fn program(limits: &str, config: &Path) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{limits} exec \"$0\" \"$@\"")).arg(keyvault_tests::program("keyvault-injector"));
    command.arg("webhook").arg("--config").arg(config).env_remove("KUBERNETES_SERVICE_HOST");
    command.stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn start(limits: &str) -> Webhook {
    let folder = tempfile::tempdir().unwrap();
    let signed = signed();
    signed.write(folder.path());
    let mut child = program(limits, &config(folder.path(), &files(folder.path()))).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = timeout(PATIENCE, lines.next_line()).await.expect("a first line").unwrap().expect("a first line");
    let serving: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(serving["message"], "the webhook serves", "{first}");
    let address = |name: &str| serving[name].as_str().unwrap().parse().unwrap();
    Webhook { https: address("https"), health: address("health"), child, lines, log: first.clone(), signed, _folder: folder }
}

impl Webhook {
    async fn client(&self) -> Client {
        Client::connect(self.https, &self.signed.ca).await.unwrap()
    }

    async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.health).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    async fn signal(&self, name: &str) {
        let id = self.child.id().unwrap();
        assert!(Command::new("sh").arg("-c").arg(format!("kill -{name} {id}")).status().await.unwrap().success());
    }

    /// The next line that holds `part`.
    async fn line_with(&mut self, part: &str) -> String {
        loop {
            let line = timeout(PATIENCE, self.lines.next_line()).await.expect("another line").unwrap().expect("another line");
            self.log.push_str(&line);
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The exit code, and everything that was logged.
    async fn ends(mut self) -> (Option<i32>, String) {
        let status = timeout(PATIENCE, self.child.wait()).await.expect("an end").unwrap();
        while let Some(line) = self.lines.next_line().await.unwrap() {
            self.log.push_str(&line);
        }
        (status.code(), self.log)
    }
}

#[tokio::test]
async fn the_program_answers_reviews_and_drains_on_sigterm() {
    let mut webhook = start("").await;
    let mut client = webhook.client().await;
    let answer = client.post(review().to_string().as_bytes()).await;
    assert_eq!(answer.status(), "200");
    let answer = Answer::parse(&answer.body);
    assert_eq!((answer.0["uid"].as_str(), answer.0["allowed"].as_bool()), (Some("705ab4f5-6393-11e8-b7cc-42010a800002"), Some(true)));
    let line: Value = serde_json::from_str(&webhook.line_with("\"review\"").await).unwrap();
    assert_eq!((&line["namespace"], &line["pod"]), (&Value::from("payments"), &Value::from("ReplicaSet/web-7d9f")));
    let mut mistaken = review();
    mistaken["request"]["object"]["metadata"]["annotations"] = json!({"keyvault-injector.io/secrets": "not a name", "team": "canary-annotation"});
    assert_eq!(client.post(mistaken.to_string().as_bytes()).await.status(), "200");
    let line: Value = serde_json::from_str(&webhook.line_with("\"denied\"").await).unwrap();
    let problem = "annotation keyvault-injector.io/secrets: item 1 \"not a name\": \"not a name\" is not a Key Vault object name: ";
    assert!(line["problems"].as_str().is_some_and(|problems| problems.starts_with(problem)), "{line}");
    assert!(webhook.get("/ready").await.starts_with("HTTP/1.1 200 OK"));
    assert!(webhook.get("/metrics").await.contains("keyvault_injector_certificate_expiry_seconds 2208988800\n"));

    webhook.signal("TERM").await;
    webhook.line_with("asked to stop").await;
    assert!(webhook.get("/ready").await.starts_with("HTTP/1.1 503 "));
    assert!(webhook.get("/live").await.starts_with("HTTP/1.1 200 OK"));
    // Another replica should answer: in a second what is still sent here, at once what comes by a connection that the client kept.
    let mut new = webhook.client().await;
    let answer = new.post(review().to_string().as_bytes()).await;
    assert_eq!((answer.status(), answer.closes(), answer.retry_after()), ("503", true, Some("1")));
    while TcpStream::connect(webhook.https).await.is_ok() {
        tokio::task::yield_now().await;
    }
    // The port is closed; the connections that stand are their peers' to close.
    let answer = client.post(review().to_string().as_bytes()).await;
    assert_eq!((answer.status(), answer.closes(), answer.retry_after()), ("503", true, Some("0")));
    let (code, log) = webhook.ends().await;
    assert_eq!(code, Some(0), "{log}");
    // A denial's problems quote annotations of ours that are wrong; nothing else of a pod is logged.
    assert!(!log.contains("canary-"), "{log}");
}

#[tokio::test]
async fn a_second_signal_ends_the_program_at_once() {
    let mut webhook = start("").await;
    webhook.signal("INT").await;
    webhook.line_with("asked to stop").await;
    webhook.signal("TERM").await;
    let (code, log) = webhook.ends().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("stopped at once: requests in flight were dropped"), "{log}");
}

#[tokio::test]
async fn a_program_out_of_file_descriptors_pauses_between_attempts_and_comes_back() {
    let mut webhook = start("ulimit -n 24;").await;
    let mut crowd = Vec::new();
    for _ in 0..40 {
        crowd.push(TcpStream::connect(webhook.https).await.unwrap());
    }
    webhook.line_with("a connection could not be accepted").await;
    let started = Instant::now();
    for _ in 0..4 {
        webhook.line_with("a connection could not be accepted").await;
    }
    assert!(started.elapsed() >= Duration::from_millis(300), "four attempts within {:?}", started.elapsed());
    drop(crowd);
    assert_eq!(webhook.client().await.post(review().to_string().as_bytes()).await.status(), "200");
}

/// Exit code and log of a program that does not start.
async fn refusal(config: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = timeout(PATIENCE, program("", config).args(arguments).arg("--log-format=text").output()).await.expect("an end").unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn what_cannot_serve_ends_before_the_port_is_taken_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let good = config(folder.path(), &files(folder.path()));
    for (config, arguments, code, reason) in [
        (good.clone(), vec![], 1, format!("{path}/tls.crt: No such file or directory (os error 2)")),
        (folder.path().join("none.yaml"), vec![], 2, format!("{path}/none.yaml: No such file or directory (os error 2)")),
        (good.clone(), vec!["--namespace", "/nowhere.yaml"], 2, "/nowhere.yaml: No such file or directory (os error 2)".to_owned()),
        (
            good.clone(),
            vec!["--defaults=none", "--namespace=x"],
            2,
            "--namespace and --service-account are read with --defaults files only".to_owned(),
        ),
    ] {
        let (ended, log) = refusal(&config, &arguments).await;
        assert_eq!(ended, Some(code), "{log}");
        assert!(log.contains(&reason), "{log}");
    }
    signed().write(folder.path());
    let asking = config(folder.path(), &format!("{}\n  clientCaFile: {path}/ca.crt", files(folder.path())));
    let (ended, log) = refusal(&asking, &[]).await;
    assert_eq!(ended, Some(1), "{log}");
    assert!(log.contains(&format!("server.clientCaFile: {path}/ca.crt: No such file or directory (os error 2)")), "{log}");
    let self_managed = config(folder.path(), "selfManaged");
    let (ended, log) = refusal(&self_managed, &[]).await;
    assert_eq!(ended, Some(2), "{log}");
    assert!(
        log.contains("server.tls: selfManaged keeps certificates in a Secret of a cluster: set certFile and keyFile, or run with --defaults cluster"),
        "{log}"
    );
}

#[tokio::test]
async fn each_problem_of_a_configuration_is_a_separate_log_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.yaml");
    std::fs::File::create(&file).and_then(|mut file| std::io::Write::write_all(&mut file, b"servr: {}\ndefaults: {deadline: 2h}\n")).unwrap();
    let (ended, log) = refusal(&file, &[]).await;
    assert_eq!(ended, Some(2), "{log}");
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines[0].contains(r#"bad.yaml:2:22: defaults.deadline: "2h" is not a deadline: from 1s to 1h"#), "{log}");
    assert!(lines[1].contains("bad.yaml:1:1: servr: unknown key; did you mean server?"), "{log}");
}
