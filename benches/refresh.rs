//! The watching sidecar with fifty objects: its peak memory, the processor time of a refresh, and whether anything grows.
//!
//! Ends with 1 if a limit is broken. The emulator is another process, and an interval far shorter than the webhook allows forces the refreshes.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "agent/build.rs"]
mod build;
#[path = "agent/emulator.rs"]
mod emulator;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use emulator::Emulator;
use serde_json::{Value, json};

type BoxError = Box<dyn Error + Send + Sync>;

const OBJECTS: usize = 50;
/// Before anything is compared, so that every buffer has its size.
const WARM: u64 = 10;
const CYCLES: u64 = 100;
const PEAK_KIB: f64 = 6_000_000.0 / 1024.0;
const CPU_MS: f64 = 30.0;
/// Pages that the allocator may take back and forth.
const GROWTH_KIB: f64 = 64.0;
const PATIENCE: Duration = Duration::from_secs(300);

fn main() -> Result<ExitCode, BoxError> {
    // `cargo test --all-targets` runs this as well, without the flag: there it only has to compile.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(ExitCode::SUCCESS);
    }
    let agent = build::agent()?;
    let emulator = Emulator::start()?;
    let sidecar = Sidecar::start(&agent, &emulator)?;
    let warm = sidecar.after(WARM)?;
    let end = sidecar.after(WARM + CYCLES)?;

    let cycles = (end.refreshed - warm.refreshed) as f64;
    println!("fifty objects, {cycles} refreshes");
    let kept = [
        check("peak memory (VmHWM), KiB", end.peak_kib, PEAK_KIB),
        check("processor time of a refresh, ms", (end.cpu - warm.cpu).as_secs_f64() * 1e3 / cycles, CPU_MS),
        check("growth of memory, KiB", end.resident_kib - warm.resident_kib, GROWTH_KIB),
        check("growth of descriptors", end.descriptors - warm.descriptors, 0.0),
    ];
    Ok(if kept.iter().all(|kept| *kept) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(what: &str, figure: f64, limit: f64) -> bool {
    let verdict = if figure <= limit { "ok" } else { "BROKEN" };
    println!("{what:<44} {figure:>9.2}   limit {limit:.2}   {verdict}");
    figure <= limit
}

struct Sidecar {
    child: Child,
    status: PathBuf,
}

/// What the kernel's books say after so many refreshes.
struct Books {
    refreshed: u64,
    cpu: Duration,
    peak_kib: f64,
    resident_kib: f64,
    descriptors: f64,
}

impl Sidecar {
    fn start(agent: &Path, emulator: &Emulator) -> Result<Sidecar, BoxError> {
        let mut plan: Value = serde_json::from_str(&emulator.plan(OBJECTS))?;
        plan["refresh"] = json!({"every": "100ms", "port": 0});
        let mut command = Command::new(agent);
        command.args(["watch", "--root"]).arg(emulator.root()).env_clear().env("KEYVAULT_AGENT_PLAN", plan.to_string());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Sidecar { child, status: emulator.root().join("files/..status.json") })
    }

    /// Waits for the end of a refresh.
    fn after(&self, refreshes: u64) -> Result<Books, BoxError> {
        let end = Instant::now() + PATIENCE;
        let refreshed = loop {
            let status: Value = std::fs::read(&self.status).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
            match status["refreshed"].as_u64() {
                Some(refreshed) if refreshed >= refreshes => break refreshed,
                _ if Instant::now() > end => return Err(format!("no {refreshes} refreshes: {status}").into()),
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let proc = PathBuf::from(format!("/proc/{}", self.child.id()));
        let text = std::fs::read_to_string(proc.join("status"))?;
        let field = |name: &str| -> Result<f64, BoxError> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such field")?;
            Ok(line.trim_end_matches("kB").trim().parse()?)
        };
        // One thread. The agent may not be looked into, so its descriptors are root's to count; the size of their table is anybody's.
        let cpu = Duration::from_nanos(std::fs::read_to_string(proc.join("schedstat"))?.split(' ').next().unwrap_or_default().parse()?);
        let descriptors = std::fs::read_dir(proc.join("fd")).map_or_else(|_| field("FDSize:"), |entries| Ok(entries.count() as f64))?;
        Ok(Books { refreshed, cpu, peak_kib: field("VmHWM:")?, resident_kib: field("VmRSS:")?, descriptors })
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
