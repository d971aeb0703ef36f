//! The core alone: JSON review in, JSON answer out, against parsing the same bytes into a tree and doing nothing with it.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "a benchmark prints figures and stops where it cannot measure")]

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::time::Instant;

use keyvault_injector::webhook::Reviewer;

mod support;

const LIMIT: f64 = 0.6;
const SAMPLES: usize = 301;
const CALLS: u32 = 20;

struct Work {
    review: Vec<u8>,
    reviewer: Reviewer,
}

impl Work {
    fn respond(&self) {
        black_box(self.reviewer.respond(black_box(&self.review)).expect("the review is good"));
    }

    fn parse(&self) {
        black_box(serde_json::from_slice::<serde_json::Value>(black_box(&self.review)).expect("the review is JSON"));
    }
}

fn main() -> ExitCode {
    let work = Work { review: support::review(), reviewer: support::reviewer() };
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--calls") {
        return calls(&work, &arguments[at + 1], arguments[at + 2].parse().expect("a number"));
    }
    support::assert_injected(&work.reviewer.respond(&work.review).expect("the review is good"));

    let (mut ours, mut baseline) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        ours.push(microseconds(|| work.respond()));
        baseline.push(microseconds(|| work.parse()));
    }
    let (ours, baseline) = (support::median(ours), support::median(baseline));
    println!("review of {} bytes: {ours:.1} µs; parsing it into a Value: {baseline:.1} µs", work.review.len());
    instructions();
    let ratio = ours / baseline;
    if support::judge("core: review / parse into Value", ratio, ratio <= LIMIT, "limit 0.6") { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn microseconds(call: impl Fn()) -> f64 {
    let started = Instant::now();
    for _ in 0..CALLS {
        call();
    }
    started.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS)
}

/// What runs under valgrind: so many calls of one kind.
fn calls(work: &Work, kind: &str, count: usize) -> ExitCode {
    for _ in 0..count {
        if kind == "respond" { work.respond() } else { work.parse() }
    }
    ExitCode::SUCCESS
}

/// For information: instructions per call, from the difference between many calls and none. Silent without valgrind.
fn instructions() {
    let count = |kind: &str, calls: &str| -> Option<f64> {
        let program = std::env::current_exe().ok()?;
        let run = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(program)
            .args(["--calls", kind, calls])
            .output()
            .ok()?;
        let log = String::from_utf8_lossy(&run.stderr).into_owned();
        log.lines().find_map(|line| line.split("Collected : ").nth(1)?.trim().parse().ok())
    };
    let per_call = |kind| Some((count(kind, "100")? - count(kind, "0")?) / 100.0);
    if let (Some(ours), Some(baseline)) = (per_call("respond"), per_call("parse")) {
        println!("instructions: {ours:.0} for a review, {baseline:.0} for the parse ({:.3})", ours / baseline);
    }
}
