//! Where the programs are: a folder as envtest's users have it, or our own build.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Ends a program when standard input closes, whoever held the other end and however that ended.
pub(crate) const UNTIL_STDIN_CLOSES: &str = r#""$@" </dev/null & child=$!; cat >/dev/null; kill -9 $child 2>/dev/null; wait"#;

/// The four programs.
pub(super) enum Programs {
    /// `KUBEBUILDER_ASSETS`: one file for each. envtest's folder has no controllers; the second is our own build for those, where they are missing.
    Assets(PathBuf, Option<PathBuf>),
    /// What `tests/kube/build` made: one for all, with subcommands.
    Built(PathBuf),
}

const CONTROLLERS: &str = "kube-controller-manager";

/// The names in a folder of assets, and as subcommands of our own binary.
const NAMES: [(&str, &str); 4] = [("etcd", "etcd"), ("kube-apiserver", "apiserver"), (CONTROLLERS, "controllers"), ("kubectl", "kubectl")];

impl Programs {
    /// Builds them if nothing else provides them. The error is one line that says what to install.
    pub(super) fn find() -> Result<Programs, String> {
        let Some(folder) = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from) else { return Ok(Programs::Built(build()?)) };
        let missing: Vec<&str> = NAMES.map(|(name, _)| name).into_iter().filter(|name| !folder.join(name).is_file()).collect();
        match &missing[..] {
            [] => Ok(Programs::Assets(folder, None)),
            [CONTROLLERS] => match build() {
                Ok(built) => Ok(Programs::Assets(folder, Some(built))),
                Err(reason) => Err(format!("KUBEBUILDER_ASSETS={} lacks {CONTROLLERS}, and {reason}", folder.display())),
            },
            missing => Err(format!(
                "KUBEBUILDER_ASSETS={} lacks {}: put them there from the same Kubernetes release, or unset it and install Go",
                folder.display(),
                missing.join(", ")
            )),
        }
    }

    /// A server, by its name in a folder of assets. It ends when its standard input closes.
    pub(super) fn server(&self, name: &str) -> Command {
        match self.path(name) {
            Program::Asset(file) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", UNTIL_STDIN_CLOSES, "sh"]).arg(file);
                shell
            }
            Program::Built(command) => command,
        }
    }

    /// A program that ends by itself.
    pub(super) fn program(&self, name: &str) -> Command {
        match self.path(name) {
            Program::Asset(file) => Command::new(file),
            Program::Built(command) => command,
        }
    }

    fn path(&self, name: &str) -> Program {
        let built = match self {
            Programs::Assets(_, Some(built)) if name == CONTROLLERS => built,
            Programs::Assets(folder, _) => return Program::Asset(folder.join(name)),
            Programs::Built(built) => built,
        };
        let (_, subcommand) = NAMES.iter().find(|(asset, _)| *asset == name).expect("one of the four");
        let mut command = Command::new(built);
        command.arg(subcommand);
        Program::Built(command)
    }
}

/// One of the four. Only ours watches its standard input.
enum Program {
    Asset(PathBuf),
    Built(Command),
}

/// Our own build, with subcommands for every program of a cluster.
pub(crate) fn build() -> Result<PathBuf, String> {
    let build = concat!(env!("CARGO_MANIFEST_DIR"), "/kube/build");
    let output = Command::new(build).stdin(Stdio::null()).output().map_err(|error| format!("{build}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout).into()) } else { Err(text(&output.stderr)) }
}
