//! The namespaces that a node runs in: mounts, network and processes of its own. They end when this program ends, however it ends.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/node/space");
const CGROUPS: &str = "/sys/fs/cgroup";
const PREFIX: &str = "keyvault-injector-node-";

/// Removes the control groups of a name, which must be empty by then: all that ran in them ends with its namespace.
const REMOVE: &str = r#"cat >/dev/null
for i in $(seq 100); do
    left=
    for folder in /sys/fs/cgroup/"$0" /sys/fs/cgroup/*/"$0"; do
        [ -d "$folder" ] || continue
        find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null
        [ ! -d "$folder" ] || left=1
    done
    [ -n "$left" ] || break
    sleep 0.1
done"#;

pub(crate) struct Space {
    /// The first process in it, as this program sees it.
    first: u32,
    cgroup: String,
    // Their standard inputs close with this program.
    _first: Child,
    _remover: Child,
}

impl Space {
    /// Needs root.
    pub(super) fn start(busybox: &Path) -> Space {
        remove_leftovers();
        let cgroup = format!("{PREFIX}{}", std::process::id());
        make_cgroups(&cgroup);
        let remover = Command::new("sh").args(["-c", REMOVE, &cgroup]).stdin(Stdio::piped()).process_group(0).spawn().unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--pid", "--fork", "--kill-child"]).arg(SCRIPT).arg(busybox).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let first = line
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("{SCRIPT} made no namespaces: it needs root, with the right to mount and to make networks"));
        Space { first, cgroup, _first: child, _remover: remover }
    }

    /// A program that runs in there. It is a child of the one that is started.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.first)).args(["--mount", "--net", "--pid", "--"]).arg(program);
        command
    }

    /// Moves this thread, and all threads and processes that it starts from now on, to the network in there.
    pub(crate) fn enter(&self) {
        let network = File::open(format!("/proc/{}/ns/net", self.first)).unwrap();
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// The control group of everything that pods run, as the kubelet names it.
    pub(super) fn cgroup(&self) -> String {
        format!("/{}", self.cgroup)
    }
}

/// One in each hierarchy of version 1, or the one of version 2.
fn make_cgroups(name: &str) {
    if Path::new(CGROUPS).join("cgroup.controllers").exists() {
        fs::create_dir(Path::new(CGROUPS).join(name)).unwrap();
        return;
    }
    for hierarchy in hierarchies() {
        let folder = Path::new(CGROUPS).join(&hierarchy).join(name);
        // `cpu` and `cpu,cpuacct` may be one.
        fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let machine = Path::new(CGROUPS).join(&hierarchy).join(file);
            if let Ok(text) = fs::read_to_string(machine) {
                fs::write(folder.join(file), text).unwrap();
            }
        }
    }
}

/// The folders below [`CGROUPS`] that are hierarchies of version 1.
fn hierarchies() -> Vec<String> {
    let names = fs::read_dir(CGROUPS).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| Path::new(CGROUPS).join(name).join("tasks").exists()).collect()
}

/// What a run has left whose last helper was killed: control groups that bear the number of a process that is no more.
fn remove_leftovers() {
    let folders = std::iter::once(CGROUPS.into()).chain(hierarchies().into_iter().map(|name| Path::new(CGROUPS).join(name)));
    let names = folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let dead = |name: &String| name.strip_prefix(PREFIX).is_some_and(|number| !Path::new("/proc").join(number).exists());
    for name in names.filter(dead).collect::<std::collections::BTreeSet<_>>() {
        Command::new("sh").args(["-c", REMOVE, &name]).stdin(Stdio::null()).status().unwrap();
    }
}
