//! Programs that run beside the demo and end with it.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::Result;

const PATIENCE: Duration = Duration::from_secs(30);

/// A server that has said that it serves; it is ended when this is dropped.
pub(crate) struct Server(Child);

/// Where a server's ready line comes out, and the rest of its log goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadyOn {
    Stdout,
    Stderr,
}

impl Server {
    /// Starts a program and waits for its ready line, which is JSON and names an address. Its log goes to `log`.
    pub(crate) async fn start(mut command: Command, ready: ReadyOn, log: &Path) -> Result<(Server, Value)> {
        let name = format!("{:?}", command.as_std().get_program());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        if ready == ReadyOn::Stdout {
            command.stderr(std::fs::File::create(log)?);
        }
        let mut child = command.spawn().map_err(|error| format!("{name} cannot be started: {error}"))?;
        let line = match (ready, child.stdout.take(), child.stderr.take()) {
            (ReadyOn::Stdout, Some(stdout), _) => ready_line(stdout, "\"vault\"", None).await,
            (ReadyOn::Stderr, _, Some(stderr)) => ready_line(stderr, "\"https\"", Some(tokio::fs::File::create(log).await?)).await,
            (ReadyOn::Stdout, None, _) | (ReadyOn::Stderr, _, None) => Err("its output is not there".into()),
        };
        let line = line.map_err(|error| format!("{name} does not become ready: {error}"))?;
        let facts = serde_json::from_str(&line).map_err(|_| format!("{name} does not become ready, it says: {line}"))?;
        Ok((Server(child), facts))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let started = Instant::now();
        // Its volumes and files can only go once it has.
        while self.0.start_kill().is_ok() && matches!(self.0.try_wait(), Ok(None)) && started.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The first line that names `address`, or the last line of a program that ends without one. What follows is read on, so that the program never waits for us.
async fn ready_line(output: impl AsyncRead + Unpin + Send + 'static, address: &str, log: Option<tokio::fs::File>) -> Result<String> {
    let mut output = BufReader::new(output);
    let (mut line, mut next) = (String::new(), String::new());
    let ready = async {
        while !line.contains(address) && output.read_line(&mut next).await? > 0 {
            line = std::mem::take(&mut next);
        }
        Ok::<(), std::io::Error>(())
    };
    timeout(PATIENCE, ready).await.map_err(|_| "it does not say where it serves")??;
    tokio::spawn(async move {
        match log {
            Some(mut log) => tokio::io::copy_buf(&mut output, &mut log).await,
            None => tokio::io::copy_buf(&mut output, &mut tokio::io::sink()).await,
        }
    });
    Ok(line.trim_end().to_owned())
}
