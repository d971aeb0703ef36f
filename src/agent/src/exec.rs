//! Stands before a container's program: sets the values that an earlier container left as environment variables and becomes the program, or stays
//! its parent where it has to act on changes.

mod environment;
mod lookup;
mod reload;
mod signals;
mod supervise;
mod watched;

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use rustix::io::Errno;

use super::{report, termination};
use environment::{EnvironmentError, Variable};
use keyvault_common::plan::{EXEC_VARIABLE, ExecPlan, PlanError};
use lookup::{NotStarted, Obstacle};

/// Variables that begin so are the agent's own, and no program sees them.
const OUR_PREFIX: &[u8] = b"KEYVAULT_AGENT_";
/// Where Kubernetes has it unless the container says otherwise.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// The shortest there is, that of 32-bit programs.
const ELF_HEADER: u64 = 52;

/// Why no program runs.
#[derive(Debug, thiserror::Error)]
enum ExecError {
    #[error("the environment variable {EXEC_VARIABLE} is not set: the injector puts it there")]
    NoPlan,
    #[error("{EXEC_VARIABLE}: {0}")]
    Plan(#[from] PlanError),
    #[error("{0}")]
    Environment(#[from] EnvironmentError),
    #[error("{0}")]
    NotStarted(#[from] NotStarted),
    #[error("this machine cannot run the agent: {0}")]
    Machine(#[from] io::Error),
}

impl ExecError {
    fn exit_code(&self) -> u8 {
        match self {
            ExecError::NoPlan | ExecError::Plan(_) | ExecError::Machine(_) => report::UNUSABLE,
            ExecError::Environment(error) => error.exit_code(),
            ExecError::NotStarted(error) => error.exit_code(),
        }
    }
}

/// Becomes `program` with its arguments, or runs it as its parent. Returns where there is no program, or where it has ended.
pub(super) fn run(supervise: bool, program: &[OsString], environment: &dyn Fn(&str) -> Option<String>) -> ExitCode {
    let plan = environment(EXEC_VARIABLE).ok_or(ExecError::NoPlan).and_then(|text| Ok(ExecPlan::from_json(&text)?));
    let log = plan.as_ref().ok().and_then(|plan| plan.termination_message_path.as_ref());
    let log = PathBuf::from(log.map_or(TERMINATION_LOG, |path| path.as_str()));
    let room = plan.as_ref().ok().map(|plan| termination::room(plan.termination_message_bytes));
    let result = plan.and_then(|plan| if supervise { Ok(supervise::run(&plan, program, &log)?) } else { Err(become_program(&plan, program)) });
    ExitCode::from(result.unwrap_or_else(|error| {
        say(&error.to_string());
        termination::write_line(&log, &error.to_string(), room);
        error.exit_code()
    }))
}

/// One line among the program's own.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "keyvault-agent: {line}");
}

fn become_program(plan: &ExecPlan, program: &[OsString]) -> ExecError {
    let values = match plan.environment.as_ref().map(|directory| environment::read(Path::new(directory.as_str()))).transpose() {
        Ok(values) => values.unwrap_or_default(),
        Err(error) => return error.into(),
    };
    let (name, arguments) = program.split_first().map_or((OsStr::new(""), &[][..]), |(name, arguments)| (name.as_os_str(), arguments));
    let path = environment::of(&values, "PATH").or_else(|| std::env::var_os("PATH"));
    lookup::first(name, path.as_deref(), |file| attempt(file, name, arguments, &values)).into()
}

/// Returns only if the kernel refuses.
fn attempt(file: &Path, name: &OsStr, arguments: &[OsString], values: &[Variable]) -> Obstacle {
    if let Some(obstacle) = obstacle(file) {
        return obstacle;
    }
    let mut command = Command::new(file);
    command.arg0(name).args(arguments);
    for (ours, _) in std::env::vars_os().filter(|(name, _)| name.as_bytes().starts_with(OUR_PREFIX)) {
        command.env_remove(ours);
    }
    command.envs(values.iter().map(|variable| (&variable.name, OsStr::from_bytes(variable.value.expose()))));
    let error = command.exec();
    if error.kind() == ErrorKind::NotFound { Obstacle::NoInterpreter } else { refusal(error) }
}

/// What prevents a start already before the kernel is asked. A file without a known beginning is refused here, because the C library would hand
/// it to /bin/sh, and a container's runtime would not.
fn obstacle(file: &Path) -> Option<Obstacle> {
    let found = match std::fs::metadata(file) {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Some(Obstacle::Missing),
        Err(error) => return Some(refusal(error)),
    };
    if found.is_dir() {
        return Some(Obstacle::NotExecutable(Errno::ISDIR.into()));
    }
    if !found.is_file() || found.permissions().mode() & 0o111 == 0 {
        return Some(Obstacle::NotExecutable(Errno::ACCESS.into()));
    }
    let mut beginning = Vec::new();
    // A program that may be executed and not read is the kernel's to judge.
    std::fs::File::open(file).and_then(|handle| handle.take(ELF_HEADER).read_to_end(&mut beginning)).ok()?;
    let known = beginning.starts_with(b"#!") || (beginning.starts_with(b"\x7fELF") && beginning.len() as u64 == ELF_HEADER);
    (!known).then(|| Obstacle::Other(Errno::NOEXEC.into()))
}

/// Another directory may have one that may be executed; for the rest there is no remedy in looking further.
fn refusal(error: io::Error) -> Obstacle {
    if error.kind() == ErrorKind::PermissionDenied { Obstacle::NotExecutable(error) } else { Obstacle::Other(error) }
}
