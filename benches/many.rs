//! A thousand agents start together, each a process with ten secrets, and the vault allows 4,000 calls in a fixed window of ten seconds.
//!
//! Ends with 1 if a limit is broken. Calls are counted by the emulator, which is another process; time counts from before the first start.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "agent/build.rs"]
mod build;
#[path = "agent/emulator.rs"]
mod emulator;

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use emulator::Emulator;
use serde_json::Value;

type BoxError = Box<dyn Error + Send + Sync>;

const AGENTS: u64 = 1_000;
const SECRETS: u64 = 10;
const DEADLINE: &str = "5m";
/// What the vault serves in one window. Challenges and refusals do not count.
const CALLS: u64 = 4_000;
const WINDOW: Duration = Duration::from_secs(10);
/// Everything that was sent over one sign-in and ten reads for each agent.
const CALL_RATIO: f64 = 1.3;
/// Time over what the limit permits.
const TIME_RATIO: f64 = 1.5;

fn main() -> Result<ExitCode, BoxError> {
    // `cargo test --all-targets` runs this as well, without the flag: there it only has to compile.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(ExitCode::SUCCESS);
    }
    let agent = build::agent()?;
    let emulator = Emulator::throttling(CALLS, &format!("{}s", WINDOW.as_secs()))?;
    yield_to_the_emulator()?;
    let run = run(&agent, &emulator)?;
    println!("{AGENTS} agents with {SECRETS} secrets each, deadline {DEADLINE}; the vault serves {CALLS} calls in each window of {WINDOW:?}");
    println!("started within {:.1} s, one after the other as fast as the machine could", run.starting.as_secs_f64());

    let calls = emulator.calls()?;
    println!("calls that reached the emulator, by service and status: {calls}");
    let (sent, needed) = (total(&calls), AGENTS * (1 + SECRETS));
    // The first window starts with the first call, so the last reads may go when so many windows are over.
    let permitted = WINDOW * u32::try_from((AGENTS * SECRETS - 1) / CALLS)?;
    println!("calls: sent {sent}, needed {needed}");
    println!("time: taken {:.1} s, permitted {:.1} s", run.all.as_secs_f64(), permitted.as_secs_f64());

    let kept = [
        check("agents that failed", run.failed as f64, 0.0),
        check("calls, sent / needed", sent as f64 / needed as f64, CALL_RATIO),
        check("time, taken / permitted", run.all.as_secs_f64() / permitted.as_secs_f64(), TIME_RATIO),
    ];
    Ok(if kept == [true; 3] { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(what: &str, figure: f64, limit: f64) -> bool {
    let verdict = if figure <= limit { "ok" } else { "BROKEN" };
    println!("{what:<44} {figure:>9.2}   limit {limit:.2}   {verdict}");
    figure <= limit
}

/// Key Vault is not on the pods' machine: their start must not keep it from answering.
fn yield_to_the_emulator() -> Result<(), BoxError> {
    let status = Command::new("renice").args(["-n", "10", "-p", &std::process::id().to_string()]).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err("renice does not work here".into()) }
}

struct Run {
    starting: Duration,
    all: Duration,
    failed: usize,
}

fn run(agent: &Path, emulator: &Emulator) -> Result<Run, BoxError> {
    for n in 0..AGENTS {
        std::fs::create_dir(emulator.root().join(format!("files-{n}")))?;
    }
    let start = Instant::now();
    let agents = (0..AGENTS).map(|n| spawn(agent, emulator, n)).collect::<Result<Vec<_>, _>>()?;
    let starting = start.elapsed();
    let mut failed = 0;
    for (mut child, log) in agents {
        let status = child.wait()?;
        if !status.success() {
            failed += 1;
            println!("{status}: {}", std::fs::read_to_string(log)?);
        }
    }
    Ok(Run { starting, all: start.elapsed(), failed })
}

fn spawn(agent: &Path, emulator: &Emulator, n: u64) -> Result<(Child, PathBuf), BoxError> {
    let log = emulator.root().join(format!("log-{n}"));
    let mut command = Command::new(agent);
    command.args(["fetch", "--root"]).arg(emulator.root()).env_clear();
    command.env("KEYVAULT_AGENT_PLAN", emulator.plan_into(&format!("/files-{n}"), usize::try_from(SECRETS)?, DEADLINE));
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?).spawn()?;
    Ok((child, log))
}

fn total(calls: &Value) -> u64 {
    let planes = calls.as_object().into_iter().flatten();
    planes.flat_map(|(_, statuses)| statuses.as_object().into_iter().flatten()).filter_map(|(_, count)| count.as_u64()).sum()
}
