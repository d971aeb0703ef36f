//! One run of a program: its time by the clock, its time on a processor, its memory. The kernel's own books are read.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::BoxError;

pub(crate) struct Sample {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

/// Runs a single-threaded program to its end.
pub(crate) fn run(mut command: Command) -> Result<Sample, BoxError> {
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // Its end closes the pipe; until it is waited for, its books stay open.
    let mut errors = String::new();
    child.stderr.take().ok_or("no stderr")?.read_to_string(&mut errors)?;
    while !is_over(&child)? {
        std::hint::spin_loop();
    }
    let wall = start.elapsed();
    let cpu = on_processor(&child)?;
    finish(child, &errors)?;
    Ok(Sample { wall, cpu })
}

/// The most memory that a run ever held, in KiB: the last value seen while it lived. Looking takes time, so this run is not timed.
pub(crate) fn peak_kib(mut command: Command) -> Result<u64, BoxError> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut peak = 0;
    while !is_over(&child)? {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.trim_end_matches("kB").trim().parse().ok()).unwrap_or(peak);
    }
    finish(child, "")?;
    Ok(peak)
}

pub(crate) fn median(samples: &[Sample], pick: impl Fn(&Sample) -> Duration) -> Duration {
    let mut values: Vec<Duration> = samples.iter().map(pick).collect();
    values.sort();
    values[values.len() / 2]
}

fn is_over(child: &Child) -> Result<bool, BoxError> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
    Ok(stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
}

/// Nanoseconds that the main thread ran.
fn on_processor(child: &Child) -> Result<Duration, BoxError> {
    let schedstat = std::fs::read_to_string(format!("/proc/{}/schedstat", child.id()))?;
    Ok(Duration::from_nanos(schedstat.split(' ').next().unwrap_or_default().parse()?))
}

fn finish(mut child: Child, errors: &str) -> Result<(), BoxError> {
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(format!("{status}: {errors}").into()) }
}
