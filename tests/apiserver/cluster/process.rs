//! Programs as processes of their own, none of which outlives the test program.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{Output, PATIENCE};

/// A folder of a cluster's own, on a memory disk where there is one. It goes with the value, or with the test program if the value is never dropped.
pub(crate) struct Folder {
    path: PathBuf,
    remover: Child,
}

impl Folder {
    pub(crate) fn new() -> Folder {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = tempfile::Builder::new().prefix("keyvault-injector-test-").tempdir_in(parent).unwrap().keep();
        // The servers write until they are killed, and may do so for a moment longer than we live. A group of its own: Ctrl-C is not for it.
        let remove = r#"cat >/dev/null; for i in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$0" 2>/dev/null && sleep 0.2; [ -e "$0" ] || break; done"#;
        let remover = Command::new("sh").arg("-c").arg(remove).arg(&path).stdin(Stdio::piped()).process_group(0).spawn().unwrap();
        Folder { path, remover }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        let _ = self.remover.wait();
    }
}

/// A running server.
pub(crate) struct Server {
    child: Child,
}

impl Server {
    /// Starts a program and waits until `ready` answers 200; an error is the end of what it wrote.
    pub(crate) fn start(name: &str, command: Command, folder: &Folder, ready: &str) -> Result<Server, String> {
        Server::start_until(name, command, folder, || answers(ready))
    }

    /// The same for a program that has another way to say that it is ready.
    pub(crate) fn start_until(name: &str, mut command: Command, folder: &Folder, ready: impl Fn() -> bool) -> Result<Server, String> {
        let log = folder.path().join(format!("{name}.log"));
        let mut server = Server { child: command.stdin(Stdio::piped()).stdout(output(&log)).stderr(output(&log)).spawn().unwrap() };
        let started = Instant::now();
        while !ready() {
            if server.child.try_wait().unwrap().is_some() || started.elapsed() > PATIENCE {
                let text = fs::read_to_string(&log).unwrap_or_default();
                let end: Vec<&str> = text.lines().rev().take(15).collect();
                return Err(format!("{name} does not serve:\n{}", end.into_iter().rev().collect::<Vec<_>>().join("\n")));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// The process that was started.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn output(log: &Path) -> Stdio {
    File::options().create(true).append(true).open(log).unwrap().into()
}

/// Whether a URL answers 200 within a moment. curl-free: the client of the tests, without looking at certificates, which `kube` does later.
fn answers(url: &str) -> bool {
    let url = url.to_owned();
    let ask = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).timeout(Duration::from_secs(2)).no_proxy().build().unwrap();
            client.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
        })
    };
    thread::spawn(ask).join().unwrap()
}

/// The first of some attempts that lives.
pub(crate) fn first_to_live<P>(attempts: usize, mut start: impl FnMut() -> (Result<Server, String>, P)) -> (Server, P) {
    let mut errors = Vec::new();
    for _ in 0..attempts {
        match start() {
            (Ok(server), port) => return (server, port),
            (Err(error), _) => errors.push(error),
        }
    }
    panic!("{}", errors.join("\n"));
}

/// A port that nobody listens on; its user must be ready to find it taken.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Runs a program to its end.
pub(crate) fn run(mut command: Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // A program that does not want all of its input is not an error of ours.
    let writer = thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Output { success: output.status.success(), stdout: text(output.stdout), stderr: text(output.stderr) }
}
