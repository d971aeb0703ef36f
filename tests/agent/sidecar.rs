//! The agent while it keeps files up to date, and what a person does in the vault meanwhile.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{CANARY, Plan, World};

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until it is so.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A running `keyvault-agent watch`; killed when dropped, and its log searched for values.
pub(crate) struct Sidecar {
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Sidecar {
    pub(crate) fn start(world: &World, plan: &Plan) -> Sidecar {
        let mut child = agent(world, plan, "watch").stderr(Stdio::piped()).spawn().unwrap();
        let (log, stderr) = (Arc::new(Mutex::new(String::new())), BufReader::new(child.stderr.take().unwrap()));
        let lines = log.clone();
        let reader = std::thread::spawn(move || stderr.lines().for_each(|line| *lines.lock().unwrap() += &(line.unwrap() + "\n")));
        Sidecar { child, log, reader: Some(reader) }
    }

    /// The same, once every file is in place.
    pub(crate) fn started(world: &World, plan: &Plan) -> Sidecar {
        let sidecar = Sidecar::start(world, plan);
        eventually("started", || (started(world, plan) == 0).then_some(()));
        eventually("the status", || world.path("keyvault/files/..status.json").exists().then_some(()));
        sidecar
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn says(&self, text: &str) -> String {
        eventually(text, || self.log().lines().find(|line| line.contains(text)).map(str::to_owned))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let killed = Command::new("/bin/sh").args(["-c", &format!("kill -{name} $0")]).arg(self.child.id().to_string()).status();
        assert!(killed.unwrap().success());
    }

    /// The exit code; `None` after a signal.
    pub(crate) fn end(&mut self) -> Option<i32> {
        eventually("the end", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.reader.take().map(JoinHandle::join);
        let log = self.log();
        if !std::thread::panicking() {
            assert!(!log.contains(CANARY) && !log.contains("eyJ") && !log.contains("PRIVATE KEY"), "a value is in the log: {log}");
        } else {
            // What a failed test is understood by.
            let _ = write!(std::io::stderr(), "{log}");
        }
    }
}

fn agent(world: &World, plan: &Plan, command: &str) -> Command {
    let mut agent = Command::new(keyvault_tests::program("keyvault-agent"));
    agent.args([command, "--root"]).arg(world.root.path()).env_clear().env("KEYVAULT_AGENT_PLAN", plan.0.to_string());
    agent.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    agent
}

/// The exit code of `keyvault-agent started`.
pub(crate) fn started(world: &World, plan: &Plan) -> i32 {
    agent(world, plan, "started").status().unwrap().code().unwrap()
}

impl World {
    /// A plan that is refreshed.
    pub(crate) fn refreshed(&self, plan: Plan, every: &str) -> Plan {
        plan.with("/refresh", json!({"every": every, "nowFile": "/pod/refresh-now"}))
    }

    /// Does something in the vault `demo`, as its administrator. Brings the version that came of it.
    pub(crate) fn manage(&self, method: &str, path: &str, body: &Value) -> String {
        let answer = self.call(method, path, body);
        let id = answer["id"].as_str().unwrap_or_else(|| panic!("{answer}"));
        id.rsplit('/').next().unwrap().to_owned()
    }

    pub(crate) fn rotate(&self, name: &str, value: &str) -> String {
        self.manage("PUT", &format!("/secrets/{name}"), &json!({"value": value}))
    }

    /// Deletes a secret.
    pub(crate) fn call_off(&self, name: &str) {
        self.manage("DELETE", &format!("/secrets/{name}"), &json!({}));
    }

    /// The text of a file of the last directory.
    pub(crate) fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.path("keyvault/files").join(file)).unwrap()
    }

    /// What `..data` points to.
    pub(crate) fn data(&self) -> String {
        std::fs::read_link(self.path("keyvault/files/..data")).unwrap().display().to_string()
    }

    pub(crate) fn status(&self) -> Value {
        let text = self.text("..status.json");
        assert!(!text.contains(CANARY) && !text.contains("eyJ") && !text.contains("PRIVATE KEY"), "a value is in the status: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until so many refreshes more have ended well.
    pub(crate) fn refreshes(&self, more: u64) {
        let refreshed = || self.status()["refreshed"].as_u64().unwrap();
        let before = refreshed();
        eventually("refreshed", || (refreshed() >= before + more).then_some(()));
    }
}
