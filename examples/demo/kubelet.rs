//! What the kubelet does: volumes, the projected token, the init container as its own entry in the pod says.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;
use vault_emulator::ServiceAccountKey;

use crate::programs::Programs;
use crate::servers::put;
use crate::{Result, SOURCES};

/// The injected container's name.
const AGENT: &str = "keyvault-agent";
/// The demo cluster's issuer, as the emulator's configuration knows it.
const ISSUER: &str = "https://oidc.example.invalid/";
const PATIENCE: Duration = Duration::from_secs(40);

/// A pod on this machine: the agent's paths below a folder.
pub(crate) struct Started {
    pod: Value,
    root: PathBuf,
    /// The agent's exit code, log and termination message.
    pub(crate) code: Option<i32>,
    pub(crate) log: String,
    pub(crate) termination: String,
    /// The agent's command line.
    pub(crate) command: String,
}

/// A file as a container sees it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub(crate) file: String,
    pub(crate) mode: String,
    pub(crate) content: Vec<u8>,
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} \"{}\"", self.mode, self.file, self.content.escape_ascii())
    }
}

/// Runs the injected container of a pod to its end.
pub(crate) async fn start(pod: Value, programs: &Programs, root: PathBuf) -> Result<Started> {
    let agent = list(&pod["spec"]["initContainers"]).find(|container| container["name"] == AGENT).ok_or("the pod has no agent")?;
    for mount in list(&agent["volumeMounts"]) {
        let folder = below(&root, text(&mount["mountPath"])?);
        std::fs::create_dir_all(&folder)?;
        if let Some(source) = projected_token(&pod, text(&mount["name"])?) {
            put(&folder.join(text(&source["path"])?), &token(&pod, text(&source["audience"])?)?)?;
        }
    }
    std::fs::create_dir_all(root.join("dev"))?;
    put(&root.join("dev/termination-log"), "")?;

    let arguments = list(&agent["command"]).skip(1).chain(list(&agent["args"])).map(text).collect::<Result<Vec<_>>>()?;
    let mut command = Command::new(programs.path("keyvault-agent"));
    command.env_clear().args(&arguments).arg("--root").arg(&root).stdin(Stdio::null()).kill_on_drop(true);
    for variable in list(&agent["env"]) {
        command.env(text(&variable["name"])?, text(&variable["value"])?);
    }
    let output = timeout(PATIENCE, command.output()).await.map_err(|_| "the agent does not end")??;
    let termination = std::fs::read_to_string(root.join("dev/termination-log"))?;
    let command = format!("keyvault-agent {} --root {}", arguments.join(" "), root.display());
    Ok(Started { code: output.status.code(), log: String::from_utf8_lossy(&output.stderr).into_owned(), termination, command, root, pod })
}

impl Started {
    /// The containers that are given files, with where and from which volume, in the order they start in.
    pub(crate) fn consumers(&self) -> Result<Vec<(&str, &str, &str)>> {
        let spec = &self.pod["spec"];
        let mut consumers = Vec::new();
        for container in list(&spec["initContainers"]).chain(list(&spec["containers"])).filter(|container| container["name"] != AGENT) {
            for mount in list(&container["volumeMounts"]).filter(|mount| self.place(mount).is_some()) {
                consumers.push((text(&container["name"])?, text(&mount["mountPath"])?, text(&mount["name"])?));
            }
        }
        Ok(consumers)
    }

    /// Where the agent has the volume of a mount.
    fn place(&self, mount: &Value) -> Option<PathBuf> {
        let agent = list(&self.pod["spec"]["initContainers"]).find(|container| container["name"] == AGENT)?;
        let mount = list(&agent["volumeMounts"]).find(|own| own["name"] == mount["name"])?;
        Some(below(&self.root, mount["mountPath"].as_str()?))
    }

    /// The files of a volume, sorted.
    pub(crate) fn files(&self, volume: &str) -> Result<Vec<Seen>> {
        let folder = self.place(&serde_json::json!({ "name": volume })).ok_or_else(|| format!("the agent has no volume {volume}"))?;
        let mut files = Vec::new();
        walk(&folder, "", &mut files)?;
        files.sort();
        Ok(files)
    }
}

fn projected_token<'p>(pod: &'p Value, volume: &str) -> Option<&'p Value> {
    let volume = list(&pod["spec"]["volumes"]).find(|candidate| candidate["name"] == volume)?;
    list(&volume["projected"]["sources"]).find_map(|source| source.get("serviceAccountToken"))
}

/// Signed by the demo's cluster, which is a checked-in key.
fn token(pod: &Value, audience: &str) -> Result<String> {
    let key = ServiceAccountKey::from_pem(&std::fs::read(format!("{SOURCES}/tests/fixtures/sa.key.pem"))?)?;
    let subject = format!("system:serviceaccount:{}:{}", text(&pod["metadata"]["namespace"])?, text(&pod["spec"]["serviceAccountName"])?);
    let token = key.token(ISSUER, &subject, audience, Duration::from_secs(3600))?;
    Ok(std::str::from_utf8(token.expose())?.to_owned())
}

/// Follows links, as a reader does, and leaves out what the agent keeps for itself (`..data` and what it points to).
fn walk(folder: &Path, prefix: &str, files: &mut Vec<Seen>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().display());
        let found = std::fs::metadata(entry.path())?;
        if name.starts_with("..") {
            continue;
        }
        if found.is_dir() {
            walk(&entry.path(), &format!("{name}/"), files)?;
        } else {
            files.push(Seen { mode: format!("{:04o}", found.mode() & 0o7777), content: std::fs::read(entry.path())?, file: name });
        }
    }
    Ok(())
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().ok_or_else(|| format!("{value} is not text").into())
}
