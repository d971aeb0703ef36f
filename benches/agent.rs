//! The agent against a bare client of the same profile that replays its calls; its size, its memory, its round trips, its wrapper.
//!
//! Ends with 1 if a limit is broken. Only ratios within one run mean anything: samples are interleaved, the emulator is another process.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "agent/build.rs"]
mod build;
#[path = "agent/emulator.rs"]
mod emulator;
#[path = "agent/sample.rs"]
mod sample;
#[path = "agent/wrapper.rs"]
mod wrapper;

use std::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use emulator::Emulator;
use sample::{Sample, median, run};

type BoxError = Box<dyn Error + Send + Sync>;

/// Alternated runs of agent and bare client.
const RUNS: usize = 50;
/// Agent over bare client, wall and CPU.
const RATIO: f64 = 1.5;
const SIZE: u64 = 8_000_000;
const MEMORY_KIB: u64 = 6_000_000 / 1024;
/// For fifty secrets.
const ROUND_TRIPS: f64 = 4.0;

fn main() -> Result<ExitCode, BoxError> {
    // `cargo test --all-targets` runs this as well, without the flag: there it only has to compile.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(ExitCode::SUCCESS);
    }
    let programs = build::programs()?;
    let emulator = Emulator::start()?;
    let mut limits = Limits { kept: true };

    limits.check("static agent, MB", build::size(&programs.agent)? as f64 / 1e6, SIZE as f64 / 1e6);
    wrapper::measure(&programs.agent, &mut limits)?;
    against_bare_client(&programs, &emulator, &mut limits)?;
    limits.check("agent, ten secrets, VmHWM, KiB", peak_memory(&programs.agent, &emulator)? as f64, MEMORY_KIB as f64);
    round_trips(&programs.agent, &emulator, &mut limits)?;
    Ok(if limits.kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Limits {
    kept: bool,
}

impl Limits {
    fn check(&mut self, what: &str, figure: f64, limit: f64) {
        let verdict = if figure <= limit { "ok" } else { "BROKEN" };
        println!("{what:<44} {figure:>9.2}   limit {limit:.2}   {verdict}");
        self.kept &= figure <= limit;
    }
}

fn against_bare_client(programs: &build::Programs, emulator: &Emulator, limits: &mut Limits) -> Result<(), BoxError> {
    let (mut agent, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        agent.push(run(agent_command(&programs.agent, emulator, 10))?);
        bare.push(run(emulator.bare(&programs.bare, 10))?);
    }
    for (what, pick) in [("wall", wall as fn(&Sample) -> Duration), ("CPU", |sample| sample.cpu)] {
        let (agent, bare) = (median(&agent, pick), median(&bare, pick));
        println!("ten secrets, {what}, median of {RUNS}: agent {:.1} ms, bare client {:.1} ms", ms(agent), ms(bare));
        limits.check(&format!("ten secrets, {what}, agent / bare client"), agent.as_secs_f64() / bare.as_secs_f64(), RATIO);
    }
    Ok(())
}

fn round_trips(agent: &Path, emulator: &Emulator, limits: &mut Limits) -> Result<(), BoxError> {
    const SHORT: u64 = 20;
    const LONG: u64 = 220;
    let wall_at = |delay| -> Result<Duration, BoxError> {
        emulator.delay(delay)?;
        let samples = (0..5).map(|_| run(agent_command(agent, emulator, 50))).collect::<Result<Vec<_>, _>>()?;
        Ok(median(&samples, wall))
    };
    let (short, long) = (wall_at(SHORT)?, wall_at(LONG)?);
    println!("fifty secrets, wall: {:.1} ms at {SHORT} ms of delay, {:.1} ms at {LONG} ms", ms(short), ms(long));
    limits.check("fifty secrets, round trips", (ms(long) - ms(short)) / (LONG - SHORT) as f64, ROUND_TRIPS);
    Ok(())
}

fn peak_memory(agent: &Path, emulator: &Emulator) -> Result<u64, BoxError> {
    let peaks = (0..10).map(|_| sample::peak_kib(agent_command(agent, emulator, 10))).collect::<Result<Vec<_>, _>>()?;
    peaks.into_iter().max().ok_or_else(|| "no runs".into())
}

fn agent_command(agent: &Path, emulator: &Emulator, secrets: usize) -> Command {
    let mut command = Command::new(agent);
    command.args(["fetch", "--root"]).arg(emulator.root()).env_clear().env("KEYVAULT_AGENT_PLAN", emulator.plan(secrets));
    command
}

fn wall(sample: &Sample) -> Duration {
    sample.wall
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
