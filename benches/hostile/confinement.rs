//! Puts one process into a cgroup with the manifest's limits.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The limits of `manifests/base/deployment.yaml`: 256 MiB and one CPU. A change there needs the same change here.
const MEMORY: &str = "268435456";
const PERIOD: &str = "100000";

/// A process and its cgroups; they go with the value, after the process.
pub(crate) struct Confinement {
    process: u32,
    cgroups: Result<Vec<PathBuf>, io::Error>,
}

impl Confinement {
    pub(crate) fn of(process: u32) -> Confinement {
        let root = Path::new("/sys/fs/cgroup");
        let cgroups = if root.join("cgroup.controllers").exists() { unified(root, process) } else { by_controller(root, process) };
        Confinement { process, cgroups }
    }

    /// Measures the peak from now on.
    pub(crate) fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.process), "5").unwrap();
    }

    /// The most that the process had in memory, as far as the kernel says so. That of a process that ended is unknown.
    pub(crate) fn peak_megabytes(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process)).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        peak.map_or(f64::INFINITY, |kilobytes| kilobytes / 1024.0)
    }
}

fn name(process: u32) -> String {
    format!("keyvault-injector-hostile-{process}")
}

/// cgroup v2: one folder.
fn unified(root: &Path, process: u32) -> io::Result<Vec<PathBuf>> {
    fs::write(root.join("cgroup.subtree_control"), "+memory +cpu")?;
    let folder = root.join(name(process));
    make(folder, process, &[("memory.max", MEMORY), ("memory.swap.max", "0"), ("cpu.max", &format!("{PERIOD} {PERIOD}"))]).map(|folder| vec![folder])
}

/// cgroup v1: a folder for each controller.
fn by_controller(root: &Path, process: u32) -> io::Result<Vec<PathBuf>> {
    let memory = make(root.join("memory").join(name(process)), process, &[("memory.limit_in_bytes", MEMORY)])?;
    let cpu = make(root.join("cpu").join(name(process)), process, &[("cpu.cfs_period_us", PERIOD), ("cpu.cfs_quota_us", PERIOD)])?;
    Ok(vec![memory, cpu])
}

fn make(folder: PathBuf, process: u32, limits: &[(&str, &str)]) -> io::Result<PathBuf> {
    fs::create_dir_all(&folder)?;
    for (file, limit) in limits {
        fs::write(folder.join(file), limit)?;
    }
    fs::write(folder.join("cgroup.procs"), process.to_string())?;
    Ok(folder)
}

impl Drop for Confinement {
    fn drop(&mut self) {
        for folder in self.cgroups.iter().flatten() {
            // Nobody else uses the folder, and one that still holds a process stays until it is empty.
            let parent = folder.parent().map(|parent| parent.join("cgroup.procs"));
            let _ = parent.map(|procs| fs::write(procs, self.process.to_string()));
            let _ = fs::remove_dir(folder);
        }
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cgroups {
            Ok(_) => write!(f, "in a cgroup with 256 MiB and one CPU"),
            Err(error) => write!(f, "without a cgroup ({error}): nothing limits its memory and its CPU"),
        }
    }
}
