//! Memory in place of disk for the pods' volumes, as `emptyDir: {medium: Memory}` gives it, where this machine allows that.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::Result;

/// A folder for volumes; what it is made of goes when this is dropped.
pub(crate) struct Memory {
    pub(crate) folder: PathBuf,
    /// What a person should know about it.
    pub(crate) kind: &'static str,
    mounted: bool,
    _below: TempDir,
}

impl Memory {
    pub(crate) fn new() -> Result<Memory> {
        let below = tempfile::Builder::new().prefix("keyvault-demo-pods-").tempdir()?;
        if run("mount", &["-t", "tmpfs", "-o", "size=8m,mode=0700", "keyvault-demo"], below.path()) {
            return Ok(Memory { folder: below.path().to_owned(), kind: "a tmpfs of its own", mounted: true, _below: below });
        }
        let shared = Path::new("/dev/shm");
        match tempfile::Builder::new().prefix("keyvault-demo-pods-").tempdir_in(shared) {
            Ok(below) if is_tmpfs(shared) => Ok(Memory { folder: below.path().to_owned(), kind: "/dev/shm, a tmpfs", mounted: false, _below: below }),
            Ok(_) | Err(_) => Ok(Memory {
                folder: below.path().to_owned(),
                kind: "a plain folder, because this machine lets us have no tmpfs; a pod's volume is always memory",
                mounted: false,
                _below: below,
            }),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // An agent that was interrupted may still be on its way out of the volume.
        if self.mounted && !run("umount", &[], &self.folder) {
            run("umount", &["--lazy"], &self.folder);
        }
    }
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).arg(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn is_tmpfs(folder: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1).is_some_and(|place| Path::new(place) == folder) && line.split(' ').nth(2) == Some("tmpfs"))
}
