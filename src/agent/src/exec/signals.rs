//! Signals that are passed on to the program.

use std::io;
use std::task::Poll;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};

/// All that can be caught but those that the kernel sends for what a process itself did (or its child), and those with which a terminal stops a
/// group: the program is in the same group and is stopped with it. Real-time signals have no name that the safe call takes.
const PASSED_ON: [Signal; 18] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::ABORT,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::TERM,
    Signal::STKFLT,
    Signal::URG,
    Signal::XCPU,
    Signal::XFSZ,
    Signal::VTALARM,
    Signal::PROF,
    Signal::WINCH,
    Signal::IO,
    Signal::POWER,
    Signal::SYS,
];

/// Signals since the last one asked for.
pub(super) struct Signals {
    caught: Vec<(Signal, unix::Signal)>,
    ignored: Vec<Signal>,
}

impl Signals {
    /// From now on they are kept instead of ending this process. Those that it ignores do it no harm.
    pub(super) fn catch() -> io::Result<Signals> {
        let bits = ignored(&std::fs::read_to_string("/proc/self/status")?);
        let (ignored, others): (Vec<_>, Vec<_>) = PASSED_ON.into_iter().partition(|signal| (bits >> (signal.as_raw() - 1)) & 1 == 1);
        let mut signals = Signals { caught: Vec::new(), ignored: Vec::new() };
        signals.add(others)?;
        Ok(Signals { ignored, ..signals })
    }

    /// The rest, once the program has started: it begins as this process did, ignoring them, and may come to listen.
    pub(super) fn catch_ignored(&mut self) -> io::Result<()> {
        let ignored = std::mem::take(&mut self.ignored);
        self.add(ignored)
    }

    fn add(&mut self, signals: Vec<Signal>) -> io::Result<()> {
        for signal in signals {
            self.caught.push((signal, unix::signal(SignalKind::from_raw(signal.as_raw()))?));
        }
        Ok(())
    }

    pub(super) async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            let came = self.caught.iter_mut().find_map(|(signal, stream)| stream.poll_recv(context).is_ready().then_some(*signal));
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// The bits of the ignored signals in `/proc/PID/status`.
fn ignored(status: &str) -> u64 {
    let bits = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or_default()
}

/// Whether the program has it already: a terminal's Ctrl-C goes to every process of the group in its foreground, and twice means "at once" to some.
pub(super) fn reached_program(signal: Signal) -> bool {
    matches!(signal, Signal::INT | Signal::QUIT) && std::fs::read_to_string("/proc/self/stat").is_ok_and(|stat| is_in_foreground(&stat))
}

/// From `pid (name) state ppid pgrp session tty tpgid …`: whether the process's group is the one in the foreground of its terminal, if it has one.
fn is_in_foreground(stat: &str) -> bool {
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    matches!(fields[..], [_, _, group, _, _, foreground, ..] if group == foreground)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_in_the_foreground_of_its_own_terminal_or_of_none() {
        assert!(is_in_foreground("7 (a) b) S 1 7 7 34816 7 4194560 1"));
        assert!(!is_in_foreground("7 (a) b) S 1 7 7 34816 9 4194560 1"));
        assert!(!is_in_foreground("1 (x) S 0 1 1 0 -1 4194560 1"));
        assert!(!is_in_foreground(""));
    }
}
