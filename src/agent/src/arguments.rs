//! The command line.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::PathBuf;

use super::{render, report};
use keyvault_client::Class;
use keyvault_common::plan::RESTART_EXIT_CODE;

/// What the agent is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Carry out the plan once.
    Fetch {
        root: Option<PathBuf>,
    },
    /// Carry out the plan and keep its files up to date.
    Watch {
        root: Option<PathBuf>,
    },
    /// Say whether the plan's files are in place.
    Started {
        root: Option<PathBuf>,
    },
    /// Set the values and become a program, or stay its parent.
    Exec {
        supervise: bool,
        /// Its name and its arguments.
        program: Vec<OsString>,
    },
    /// Render a template for the agent that started this one.
    Render,
    Help,
    Version,
}

/// A command line that asks for nothing we do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UsageError {
    #[error("no command: write keyvault-agent fetch, or keyvault-agent --help")]
    NoCommand,
    #[error("{0:?} is not known here: see keyvault-agent --help")]
    Unknown(String),
    #[error("--root needs a directory")]
    NoRoot,
    #[error("exec needs -- and a program after it: keyvault-agent exec -- PROGRAM ARGS…")]
    NoProgram,
}

impl Command {
    pub(super) fn parse(arguments: &[OsString]) -> Result<Command, UsageError> {
        let words: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
        let words: Vec<&str> = words.iter().map(|word| &**word).collect();
        let program = |before: usize| arguments[before..].to_vec();
        match words.as_slice() {
            [] => Err(UsageError::NoCommand),
            // What comes after -- is the program's, --help too.
            ["exec", "--", _, ..] => Ok(Command::Exec { supervise: false, program: program(2) }),
            ["exec", "--supervise", "--", _, ..] => Ok(Command::Exec { supervise: true, program: program(3) }),
            [.., "--help" | "-h"] => Ok(Command::Help),
            ["--version" | "-V"] => Ok(Command::Version),
            [render::COMMAND] => Ok(Command::Render),
            ["fetch", rest @ ..] => root(rest).map(|root| Command::Fetch { root }),
            ["watch", rest @ ..] => root(rest).map(|root| Command::Watch { root }),
            ["started", rest @ ..] => root(rest).map(|root| Command::Started { root }),
            ["exec"] | ["exec", "--"] | ["exec", "--supervise"] | ["exec", "--supervise", "--"] => Err(UsageError::NoProgram),
            ["exec", "--supervise", other, ..] | ["exec", other, ..] | [other, ..] => Err(UsageError::Unknown((*other).to_owned())),
        }
    }
}

/// What comes after a command that works on a plan.
fn root(words: &[&str]) -> Result<Option<PathBuf>, UsageError> {
    match words {
        [] => Ok(None),
        ["--root"] => Err(UsageError::NoRoot),
        ["--root", root] => Ok(Some(root.into())),
        ["--root", _, other, ..] | [other, ..] => Err(UsageError::Unknown((*other).to_owned())),
    }
}

const EXEC_CODES: &str = "
Exit codes of exec, where they are not PROGRAM's own:
  64, 65, 73  as above: command line, a value that cannot be a variable, values that cannot be read
  80  ended for new values, so that the kubelet starts the container again
 126  PROGRAM cannot be executed
 127  PROGRAM is not found
 128 + n, with --supervise: signal n has ended PROGRAM
";

/// The text of `--help`.
pub(super) fn help() -> String {
    let mut text = "\
keyvault-agent: brings secrets, certificates and public keys from Azure Key Vault to a pod.

  fetch    reads the objects of a plan and writes them as files
  watch    the same, and keeps the files up to date until SIGTERM
  started  says whether the files are in place, without a network
  exec     sets what fetch has left as environment variables and becomes PROGRAM, without a network

Usage:
  keyvault-agent fetch [--root DIR]
  keyvault-agent watch [--root DIR]
  keyvault-agent started [--root DIR]
  keyvault-agent exec [--supervise] -- PROGRAM ARGS…
  keyvault-agent --help | --version

  --root DIR    take every path of the plan, and /dev/termination-log, below DIR
  --supervise   stay PROGRAM's parent: pass on signals, reap, signal or end it when values change

Environment:
  KEYVAULT_AGENT_PLAN                  the plan, as the injector writes it
  KEYVAULT_AGENT_EXEC                  the same for exec; PROGRAM does not see it
  HTTPS_PROXY, ALL_PROXY, NO_PROXY     as curl reads them; never for the metadata address

Exit codes:
   0  every file is written; for watch: SIGTERM came
   1  for started: not every file is in place
  64  the command line or the plan cannot be used
"
    .to_owned();
    for class in Class::ALL {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {}  {class}: {}", report::exit_code(class), report::meaning(class));
    }
    let _ = writeln!(text, "  {RESTART_EXIT_CODE}  for watch: values changed, so that the kubelet starts all containers of the pod again");
    let _ = writeln!(text, " {}  SIGTERM came first, to fetch", report::TOLD_TO_END);
    text.push_str(EXEC_CODES);
    text.push_str("\nEach class has a page in docs/errors of the project: docs/errors/rbac.md and so on.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        Command::parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>()).map_err(|error| error.to_string())
    }

    #[test]
    fn knows_its_commands() {
        for (line, expected) in [
            ("fetch", Command::Fetch { root: None }),
            ("fetch --root /tmp/x", Command::Fetch { root: Some("/tmp/x".into()) }),
            ("watch --root /tmp/x", Command::Watch { root: Some("/tmp/x".into()) }),
            ("started", Command::Started { root: None }),
            ("--help", Command::Help),
            ("fetch -h", Command::Help),
            ("--version", Command::Version),
            ("exec -h", Command::Help),
            ("exec -- app", Command::Exec { supervise: false, program: vec!["app".into()] }),
            ("exec -- app --help", Command::Exec { supervise: false, program: vec!["app".into(), "--help".into()] }),
            ("exec --supervise -- app -- -x", Command::Exec { supervise: true, program: vec!["app".into(), "--".into(), "-x".into()] }),
        ] {
            assert_eq!(parse(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn refuses_anything_else_by_name() {
        for (line, expected) in [
            ("", "no command: write keyvault-agent fetch, or keyvault-agent --help"),
            ("refresh", "\"refresh\" is not known here: see keyvault-agent --help"),
            ("watch --root", "--root needs a directory"),
            ("started now", "\"now\" is not known here: see keyvault-agent --help"),
            ("fetch now", "\"now\" is not known here: see keyvault-agent --help"),
            ("fetch --root", "--root needs a directory"),
            ("fetch --root /tmp now", "\"now\" is not known here: see keyvault-agent --help"),
            ("exec app", "\"app\" is not known here: see keyvault-agent --help"),
            ("exec --supervise app", "\"app\" is not known here: see keyvault-agent --help"),
            ("exec --", "exec needs -- and a program after it: keyvault-agent exec -- PROGRAM ARGS…"),
            ("exec --supervise", "exec needs -- and a program after it: keyvault-agent exec -- PROGRAM ARGS…"),
        ] {
            assert_eq!(parse(line), Err(expected.to_owned()), "{line}");
        }
    }

    #[test]
    fn help_lists_every_exit_code() {
        let help = help();
        for class in Class::ALL {
            assert!(help.contains(&format!("\n  {}  {class}: ", report::exit_code(class))), "{class}");
        }
    }
}
