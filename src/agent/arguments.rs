//! The command line.

use std::fmt::Write;
use std::path::PathBuf;

use super::report;
use crate::vault::Class;

/// What the agent is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Carry out the plan once.
    Fetch {
        root: Option<PathBuf>,
    },
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
}

impl Command {
    pub(super) fn parse(arguments: &[String]) -> Result<Command, UsageError> {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match words.as_slice() {
            [] => Err(UsageError::NoCommand),
            [.., "--help" | "-h"] => Ok(Command::Help),
            ["--version" | "-V"] => Ok(Command::Version),
            ["fetch"] => Ok(Command::Fetch { root: None }),
            ["fetch", "--root"] => Err(UsageError::NoRoot),
            ["fetch", "--root", root] => Ok(Command::Fetch { root: Some(root.into()) }),
            ["fetch", other, ..] if *other != "--root" => Err(UsageError::Unknown((*other).to_owned())),
            ["fetch", _, _, other, ..] | [other, ..] => Err(UsageError::Unknown((*other).to_owned())),
        }
    }
}

/// The text of `--help`.
pub(super) fn help() -> String {
    let mut text = "\
keyvault-agent: fetches the secrets, certificates and public keys of a plan from Azure Key Vault and writes them as files.

Usage:
  keyvault-agent fetch [--root DIR]
  keyvault-agent --help | --version

  --root DIR   take every path of the plan, and /dev/termination-log, below DIR

Environment:
  KEYVAULT_AGENT_PLAN                  the plan, as the injector writes it
  HTTPS_PROXY, ALL_PROXY, NO_PROXY     as curl reads them; never for the metadata address

Exit codes:
   0  every file is written
  64  the command line or the plan cannot be used
"
    .to_owned();
    for class in Class::ALL {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {}  {class}: {}", report::exit_code(class), report::meaning(class));
    }
    let _ = writeln!(text, " {}  SIGTERM came first", report::TOLD_TO_END);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        Command::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).map_err(|error| error.to_string())
    }

    #[test]
    fn knows_its_commands() {
        for (line, expected) in [
            ("fetch", Command::Fetch { root: None }),
            ("fetch --root /tmp/x", Command::Fetch { root: Some("/tmp/x".into()) }),
            ("--help", Command::Help),
            ("fetch -h", Command::Help),
            ("--version", Command::Version),
        ] {
            assert_eq!(parse(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn refuses_anything_else_by_name() {
        for (line, expected) in [
            ("", "no command: write keyvault-agent fetch, or keyvault-agent --help"),
            ("watch", "\"watch\" is not known here: see keyvault-agent --help"),
            ("fetch now", "\"now\" is not known here: see keyvault-agent --help"),
            ("fetch --root", "--root needs a directory"),
            ("fetch --root /tmp now", "\"now\" is not known here: see keyvault-agent --help"),
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
