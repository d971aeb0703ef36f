//! The parent of a container's program: what is expected of a first process, and reports of new values to the program.
//!
//! It never holds a value: its child is `keyvault-agent exec` once more, which reads them and becomes the program. So nothing of it has to be hidden,
//! and its container may open `/proc/1/fd/1`.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior};

use super::reload::{Act, Reload};
use super::signals::{self, Signals};
use super::watched::Watched;
use super::{say, termination};
use keyvault_common::plan::{ExecPlan, ReloadSignal};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs the program to its end and returns the exit code.
pub(super) fn run(plan: &ExecPlan, program: &[OsString], termination_log: &Path) -> io::Result<u8> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(supervise(plan, program, termination_log))
}

async fn supervise(plan: &ExecPlan, program: &[OsString], termination_log: &Path) -> io::Result<u8> {
    // All of this before there is a child: no signal is lost, no change overlooked, no orphan left to others.
    let mut signals = Signals::catch()?;
    let mut ended = signal(SignalKind::child())?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut watched = Watched::new(&plan.watch);
    let mut reload = Reload::new(plan);
    let (child, start) = (start(program)?, Instant::now());
    signals.catch_ignored()?;

    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ended.recv() => {
                if let Some(status) = reap(child)? {
                    return Ok(reload.exit_code(exit_code(status)));
                }
            }
            signal = signals.next() => {
                // Others may mean an end as well, or a thread dump; SIGTERM is what the kubelet sends.
                if (signal != Signal::TERM || reload.leave()) && !signals::reached_program(signal) {
                    send(child, signal)?;
                }
            }
            _ = look.tick() => {
                if watched.changed() {
                    reload.changed(start.elapsed(), fastrand::f64());
                }
                if let Some(act) = reload.act(start.elapsed()) {
                    carry_out(act, child, termination_log)?;
                }
            }
        }
    }
}

fn start(program: &[OsString]) -> io::Result<Pid> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("keyvault-agent").args(["exec", "--"]).args(program);
    // The group that it has anyway: asked for one, the library forks. Its posix_spawn would leave signals 32 and 33 ignored.
    command.gid(rustix::process::getgid().as_raw());
    let child = command.spawn()?;
    Ok(Pid::from_child(&child))
}

fn carry_out(act: Act, child: Pid, termination_log: &Path) -> io::Result<()> {
    match act {
        Act::Signal(signal) => {
            say(&format!("values changed: {signal} sent to the program"));
            send(child, raw(signal))
        }
        Act::End => {
            const LINE: &str = "values changed: the program is ended, so that its container starts again with the new ones";
            say(LINE);
            termination::write(termination_log, &format!("{LINE}\n"));
            send(child, Signal::TERM)
        }
        Act::Kill => {
            say("the program did not end in time: it is killed");
            send(child, Signal::KILL)
        }
    }
}

fn raw(signal: ReloadSignal) -> Signal {
    match signal {
        ReloadSignal::Hup => Signal::HUP,
        ReloadSignal::Int => Signal::INT,
        ReloadSignal::Quit => Signal::QUIT,
        ReloadSignal::Usr1 => Signal::USR1,
        ReloadSignal::Usr2 => Signal::USR2,
        ReloadSignal::Term => Signal::TERM,
        ReloadSignal::Winch => Signal::WINCH,
    }
}

fn send(child: Pid, signal: Signal) -> io::Result<()> {
    // A program may become another user's, and then its signals are no longer ours to send.
    match rustix::process::kill_process(child, signal) {
        Err(Errno::PERM) => say(&format!("no permission to send signal {} to the program", signal.as_raw())),
        result => result?,
    }
    Ok(())
}

/// Takes leave of every process that has ended, whatever started it. Returns how the program ended, if it has.
fn reap(child: Pid) -> io::Result<Option<WaitStatus>> {
    let mut of_child = None;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == child => of_child = Some(status),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(Errno::CHILD) => return Ok(of_child),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The program's own, or what a shell says of one that a signal has ended.
fn exit_code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
