//! The processes of containers, as the machine sees them.

use std::fs;
use std::process::Command;

use serde_json::Value;

/// One process in a container.
#[derive(Debug)]
pub(crate) struct Process {
    outside: u32,
    /// Its number in its container: 1 is the first.
    pub(crate) inside: u32,
    pub(crate) name: String,
}

impl Process {
    /// SIGKILL, as the kernel sends it when memory runs out.
    pub(crate) fn kill(&self) {
        self.signal("-KILL");
    }

    /// SIGSTOP: it lives, keeps its connections, and does nothing.
    pub(crate) fn stop(&self) {
        self.signal("-STOP");
    }

    /// Whether nothing of it is left but its number.
    pub(crate) fn has_ended(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.outside));
        status.is_err() || status.is_ok_and(|status| status.lines().any(|line| line.starts_with("State:") && line.contains(['Z', 'X'])))
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.outside.to_string()]).status().unwrap().success(), "{self:?}");
    }
}

/// What runs in a container of a pod, the first process first.
pub(crate) fn of_container(pod: &Value, container: &str) -> Vec<Process> {
    let id = super::Namespace::container(pod, container)["containerID"].as_str().unwrap().trim_start_matches("containerd://");
    processes(|groups| groups.contains(id))
}

/// The first process of a pod's sandbox, which is in none of its containers.
pub(crate) fn of_sandbox(pod: &Value) -> Process {
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let text = pod["status"].to_string();
    let mine = |groups: &str| {
        let container = groups.lines().find_map(|line| line.split_once(uid)).map(|(_, rest)| rest.trim_matches('/'));
        container.is_some_and(|container| !container.is_empty() && !text.contains(container))
    };
    processes(mine).into_iter().find(|process| process.inside == 1).expect("a sandbox")
}

fn processes(wanted: impl Fn(&str) -> bool) -> Vec<Process> {
    let numbers = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok());
    let process = |outside: u32| {
        let read = |file: &str| fs::read_to_string(format!("/proc/{outside}/{file}")).ok();
        let groups = read("cgroup")?;
        let status = wanted(&groups).then(|| read("status"))??;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let inside = field("NSpid:")?.split_whitespace().last()?.parse().ok()?;
        Some(Process { outside, inside, name: field("Name:")?.to_owned() })
    };
    let mut all: Vec<Process> = numbers.filter_map(process).collect();
    all.sort_by_key(|process| process.inside);
    all
}
