//! Templates are rendered by a process of their own. Whatever a template is made to do, it is that process that runs out of memory, stack or time;
//! its memory goes with it, values included, and meanwhile the agent answers.

use std::io::{self, Read, Write};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use zeroize::Zeroizing;

use keyvault_common::secret::SecretValue;
use keyvault_delivery::format::{FormatError, MAX_RENDERED_BYTES, Rendering};

/// The agent's own word for it, which nobody else has a use for.
pub(super) const COMMAND: &str = "render";
/// What the process may take beside what every program takes: its stack, which it hardly touches, and as much again.
const MEMORY: u64 = 28 * 1024 * 1024;
/// Steps are limited, but some take long.
const PATIENCE: Duration = Duration::from_secs(10);
/// The template is refused, and stdout says why.
const REFUSED: u8 = 1;

/// Has a template rendered.
pub(super) async fn render(rendering: &Rendering) -> Result<SecretValue, FormatError> {
    let child = Command::new("/proc/self/exe")
        .args([COMMAND])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // What a program says of itself when it dies may quote a value.
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let answered = timeout(PATIENCE, ask(child.map_err(unrendered)?, rendering));
    let late = |_| Err(FormatError::Unrendered("it takes longer than ten seconds: let it repeat less".into()));
    answered.await.map_or_else(late, |answer| judge(&answer.map_err(unrendered)?))
}

fn unrendered(error: io::Error) -> FormatError {
    FormatError::Unrendered(format!("the agent cannot start another process: {error}").into())
}

async fn ask(mut child: Child, rendering: &Rendering) -> io::Result<(ExitStatus, SecretValue)> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    if let Some(mut stdin) = stdin {
        // One that dies before it has read everything says more by how it ends.
        let _ = stdin.write_all(rendering.to_bytes().expose()).await;
    }
    let mut answer = Zeroizing::new(Vec::with_capacity(MAX_RENDERED_BYTES));
    if let Some(stdout) = stdout {
        let mut part = Zeroizing::new([0_u8; 4096]);
        let mut stdout = stdout.take(MAX_RENDERED_BYTES as u64);
        loop {
            let length = stdout.read(&mut part[..]).await?;
            if length == 0 {
                break;
            }
            answer.extend_from_slice(&part[..length]);
        }
    }
    Ok((child.wait().await?, SecretValue::new(std::mem::take(&mut *answer))))
}

fn judge((status, answer): &(ExitStatus, SecretValue)) -> Result<SecretValue, FormatError> {
    match status.code() {
        Some(0) => Ok(answer.clone()),
        Some(code) if code == i32::from(REFUSED) => {
            let text = String::from_utf8_lossy(answer.expose());
            let (line, reason) = text.split_once(' ').unwrap_or_default();
            let reason = reason.to_owned().into();
            Err(match line.parse() {
                Ok(line) => FormatError::Render { line, reason },
                Err(_) => FormatError::Unrendered(reason),
            })
        }
        // Out of memory or out of stack, it is ended by a signal.
        Some(_) | None => Err(FormatError::Unrendered("it takes more memory than it may: let it repeat, join, pad and nest less".into())),
    }
}

/// The other process: a template and its values from stdin, its text to stdout.
pub(super) fn serve() -> io::Result<ExitCode> {
    let most = Some(memory_in_use()? + MEMORY);
    rustix::process::setrlimit(Resource::Data, Rlimit { current: most, maximum: most })?;
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    let rendering = Rendering::from_bytes(&bytes).ok_or(io::ErrorKind::InvalidData)?;
    match rendering.run() {
        Ok(text) => io::stdout().write_all(text.expose()).map(|()| ExitCode::SUCCESS),
        Err(error) => {
            let told = if let FormatError::Render { line, reason } = &error {
                format!("{line} {reason}")
            } else if let FormatError::Unrendered(reason) = &error {
                format!("- {reason}")
            } else {
                format!("- {error}")
            };
            io::stdout().write_all(told.as_bytes()).map(|()| ExitCode::from(REFUSED))
        }
    }
}

/// What counts against the limit already.
fn memory_in_use() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let data = status.lines().find_map(|line| line.strip_prefix("VmData:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(data.unwrap_or_default() * 1024)
}
