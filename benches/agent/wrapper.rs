//! What the wrapper adds to the start of a program. The program does nothing, is static and as large as the agent; each side is timed from before the
//! process is made to after its end.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{BoxError, Limits, ms};

/// Alternated runs of the program alone and behind the wrapper.
const RUNS: usize = 300;
/// What the wrapper adds, over one start of the program alone.
const OVERHEAD: f64 = 1.5;
const VALUES: usize = 10;

pub(crate) fn measure(agent: &Path, limits: &mut Limits) -> Result<(), BoxError> {
    let folder = tempfile::tempdir()?;
    let nothing = nothing(folder.path(), std::fs::metadata(agent)?.len())?;
    let plan = values(folder.path())?;
    let wrapped = |supervise: &[&str]| {
        let mut command = Command::new(agent);
        command.arg("exec").args(supervise).arg("--").arg(&nothing).env_clear().env("KEYVAULT_AGENT_EXEC", &plan);
        command
    };
    let alone = || {
        let mut command = Command::new(&nothing);
        command.env_clear();
        command
    };
    let (mut direct, mut behind, mut below) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        direct.push(time(alone())?);
        behind.push(time(wrapped(&[]))?);
        below.push(time(wrapped(&["--supervise"]))?);
    }
    let (direct, behind, below) = (median(direct), median(behind), median(below));
    println!(
        "static program that does nothing, wall, median of {RUNS}: alone {:.2} ms, behind the wrapper with {VALUES} values {:.2} ms, with a parent {:.2} ms",
        ms(direct),
        ms(behind),
        ms(below)
    );
    limits.check("wrapper, added / program alone", (ms(behind) - ms(direct)) / ms(direct), OVERHEAD);
    Ok(())
}

/// From before the process is made until it has been waited for, and nothing between: looking at it would be longer than what is measured.
fn time(mut command: Command) -> Result<Duration, BoxError> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status()?;
    let wall = start.elapsed();
    if status.success() { Ok(wall) } else { Err(format!("{status}: {command:?}").into()) }
}

fn median(mut samples: Vec<Duration>) -> Duration {
    samples.sort();
    samples[samples.len() / 2]
}

/// Bytes at its end make it as large; the kernel reads none of them, which is to the wrapper's disadvantage.
fn nothing(folder: &Path, size: u64) -> Result<PathBuf, BoxError> {
    let (source, program) = (folder.join("nothing.rs"), folder.join("nothing"));
    File::create(&source)?.write_all(b"fn main() {}")?;
    let built = Command::new("rustc").args(["-O", "-C", "target-feature=+crt-static", "-o"]).arg(&program).arg(&source).status()?;
    if !built.success() {
        return Err("rustc did not build the program that does nothing".into());
    }
    File::options().write(true).open(&program)?.set_len(size)?;
    Ok(program)
}

/// As the agent leaves them. Returns the wrapper's plan.
fn values(folder: &Path) -> Result<String, BoxError> {
    let directory = folder.join("env");
    std::fs::create_dir_all(directory.join("..1"))?;
    for number in 0..VALUES {
        File::create(directory.join("..1").join(format!("SECRET_{number}")))?.write_all(b"correct horse battery staple")?;
    }
    symlink("..1", directory.join("..data"))?;
    Ok(serde_json::json!({"version": 1, "environment": directory}).to_string())
}
