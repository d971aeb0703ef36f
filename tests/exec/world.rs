//! A wrapped container: its values, its programs, its termination log.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

pub(crate) fn agent() -> String {
    keyvault_tests::program("keyvault-agent")
}
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// For what takes milliseconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    folder: tempfile::TempDir,
}

/// What a program left.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl World {
    /// With these variables.
    pub(crate) fn new(values: &[(&str, &[u8])]) -> World {
        let world = World { folder: tempfile::tempdir().unwrap() };
        std::fs::set_permissions(world.folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::create_dir(world.path("env")).unwrap();
        world.put("log", b"", 0o644);
        world.publish("..1", values);
        world
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub(crate) fn put(&self, below: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::io::copy(&mut &content[..], &mut std::fs::File::create(&path).unwrap()).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path
    }

    /// A file to execute. Another process writes it: a descriptor of this one would be in every child that another test is just about to start, and
    /// until then the kernel says "text file busy".
    pub(crate) fn put_program(&self, below: &str, content: &[u8], mode: u32) -> PathBuf {
        let (source, path) = (self.put(&format!("{below}.source"), content, 0o600), self.path(below));
        let copied = Command::new("install").arg(format!("--mode={mode:o}")).args([&source, &path]).status().unwrap();
        assert!(copied.success());
        path
    }

    /// Swaps the values as the agent does.
    pub(crate) fn publish(&self, version: &str, values: &[(&str, &[u8])]) {
        let folder = Path::new("env").join(version);
        std::fs::create_dir(self.folder.path().join(&folder)).unwrap();
        for (name, value) in values {
            self.put(folder.join(name).to_str().unwrap(), value, 0o400);
        }
        symlink(version, self.path("env/..data_tmp")).unwrap();
        std::fs::rename(self.path("env/..data_tmp"), self.path("env/..data")).unwrap();
    }

    pub(crate) fn termination(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }

    /// `keyvault-agent exec` as the webhook would have it, with more fields of its plan.
    pub(crate) fn exec(&self, extra: Value) -> Command {
        let mut plan = json!({"version": 1, "environment": self.path("env"), "terminationMessagePath": self.path("log")});
        plan.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let mut command = as_a_runtime_starts(&agent());
        command.arg("exec").env_clear().env("PATH", PATH).env("KEYVAULT_AGENT_EXEC", plan.to_string());
        command
    }

    /// Becomes the program and runs to its end.
    pub(crate) fn become_program<S: AsRef<OsStr>>(&self, program: &[S]) -> Run {
        run(self.exec(json!({})).arg("--").args(program))
    }

    /// Starts the program below the agent, which watches the values and looks at once.
    pub(crate) fn supervise(&self, extra: Value, program: &[&str]) -> Running {
        let mut plan = json!({"watch": [self.path("env")]});
        plan.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        Running::start(self.exec(plan).args(["--supervise", "--"]).args(program))
    }
}

/// A command that finds every signal as a container's runtime leaves it, whatever the tests were started with (`nohup`, `&`).
pub(crate) fn as_a_runtime_starts(program: &str) -> Command {
    with_signals(&["--default-signal"], program)
}

/// A command that begins with signals set as options of coreutils' `env` say.
pub(crate) fn with_signals(options: &[&str], program: &str) -> Command {
    let mut command = Command::new("/usr/bin/env");
    // The group that it has anyway: asked for one, the library forks. Its posix_spawn would leave signals 32 and 33 ignored.
    command.args(options).arg(program).gid(rustix::process::getgid().as_raw());
    command
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Run {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Run { status: output.status, stdout: output.stdout, stderr: String::from_utf8_lossy(&output.stderr).into_owned() }
}

/// Asks until there is an answer.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::yield_now();
    }
}

/// The variables of a process, as `/proc/PID/environ` has them.
pub(crate) fn variables(environ: &[u8]) -> Vec<(String, Vec<u8>)> {
    let pair = |text: &[u8]| {
        let at = text.iter().position(|byte| *byte == b'=').unwrap();
        (String::from_utf8(text[..at].to_vec()).unwrap(), text[at + 1..].to_vec())
    };
    let mut pairs: Vec<_> = environ.split(|byte| *byte == 0).filter(|text| !text.is_empty()).map(pair).collect();
    pairs.sort();
    pairs
}

/// A program that runs; it is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    stderr: ChildStderr,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Running {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout, stderr) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()), child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // Ends with the last process that writes there; waiting for a line is limited.
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Running { child, stdin, lines, stderr }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that the program writes.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    pub(crate) fn send(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends its stdin.
    pub(crate) fn close(&mut self) {
        drop(self.stdin.take());
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(&mut self) -> Run {
        let status = until("the end of the program", || self.child.try_wait().unwrap());
        self.close();
        let mut stderr = String::new();
        self.stderr.read_to_string(&mut stderr).unwrap();
        let stdout = self.lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
        Run { status, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A shell's program that answers signals at once and ends with its stdin.
pub(crate) fn shell(before: &str) -> [OsString; 3] {
    const WAIT: &str = "exec 3<&0\ncat <&3 >/dev/null & echo ready\nwait $!\nwhile [ $? -gt 128 ]; do wait $!; done";
    ["sh".into(), "-c".into(), format!("{before}\n{WAIT}").into()]
}
