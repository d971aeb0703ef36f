//! Environment variables from a directory as [`crate`] writes it: a file is a variable.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::directory::DATA;
use crate::marker::MARKER;
use crate::report;
use keyvault_client::Class;
use keyvault_common::secret::SecretValue;

/// Each swap takes one more look, and they are half a minute apart.
const MOST_LOOKS: usize = 10;

/// A variable to set.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: OsString,
    pub(super) value: SecretValue,
}

/// Why the values cannot be set.
#[derive(Debug, thiserror::Error)]
pub(super) enum EnvironmentError {
    #[error("volume {path}: the values for the environment cannot be read: {reason}; they are left by the container keyvault-agent, look at its log")]
    Unreadable { path: String, reason: io::Error },
    #[error("volume {path}: the values for the environment change faster than they can be read")]
    Unsteady { path: String },
    #[error("format {name}: the value has a NUL byte, which no environment variable can hold; deliver it as a file instead")]
    Nul { name: String },
}

impl EnvironmentError {
    pub(super) fn exit_code(&self) -> u8 {
        report::exit_code(match self {
            EnvironmentError::Unreadable { .. } | EnvironmentError::Unsteady { .. } => Class::Volume,
            EnvironmentError::Nul { .. } => Class::Format,
        })
    }
}

/// All variables of one moment, by name.
pub(super) fn read(directory: &Path) -> Result<Vec<Variable>, EnvironmentError> {
    look(directory, &mut || {})
}

/// The value of a variable among these.
pub(super) fn of(variables: &[Variable], name: &str) -> Option<OsString> {
    variables.iter().find(|variable| variable.name == name).map(|variable| OsStr::from_bytes(variable.value.expose()).to_owned())
}

/// `meanwhile` is what happens between finding the files and reading them.
fn look(directory: &Path, meanwhile: &mut dyn FnMut()) -> Result<Vec<Variable>, EnvironmentError> {
    let link = directory.join(DATA);
    let current = || fs::read_link(&link).map_err(|reason| unreadable(&link, reason));
    let mut target = current()?;
    for _ in 0..MOST_LOOKS {
        meanwhile();
        let variables = files(&directory.join(&target));
        // The files of before are removed one by one after a swap: what was read meanwhile may be only some of them.
        let now = current()?;
        if now == target {
            return variables;
        }
        target = now;
    }
    Err(EnvironmentError::Unsteady { path: directory.display().to_string() })
}

fn files(directory: &PathBuf) -> Result<Vec<Variable>, EnvironmentError> {
    let mut variables = Vec::new();
    for entry in fs::read_dir(directory).map_err(|reason| unreadable(directory, reason))? {
        let entry = entry.map_err(|reason| unreadable(directory, reason))?;
        if entry.file_name() == MARKER {
            continue;
        }
        let value = SecretValue::new(fs::read(entry.path()).map_err(|reason| unreadable(&entry.path(), reason))?);
        let name = entry.file_name();
        if value.expose().contains(&0) {
            return Err(EnvironmentError::Nul { name: name.to_string_lossy().into_owned() });
        }
        variables.push(Variable { name, value });
    }
    variables.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(variables)
}

fn unreadable(path: &Path, reason: io::Error) -> EnvironmentError {
    EnvironmentError::Unreadable { path: path.display().to_string(), reason }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::directory::{File, Staged};

    fn publish(directory: &Path, second: u64, files: &[(&str, &[u8])]) {
        let paths: Vec<_> = files.iter().map(|(name, _)| name.parse().unwrap()).collect();
        let file =
            |(path, (_, content)): (_, &(&str, &[u8]))| File { path, mode: "0400".parse().unwrap(), content: SecretValue::new(content.to_vec()) };
        let files: Vec<_> = paths.iter().zip(files).map(file).collect();
        let staged = Staged::new(directory, &files, UNIX_EPOCH + Duration::from_secs(second)).unwrap();
        // Stands in every directory, and is no variable.
        staged.note(MARKER, 0o400, b"{}").unwrap();
        staged.publish().unwrap();
    }

    fn pairs(variables: Vec<Variable>) -> Vec<(String, Vec<u8>)> {
        variables.into_iter().map(|variable| (variable.name.into_string().unwrap(), variable.value.expose().to_vec())).collect()
    }

    #[test]
    fn every_file_is_a_variable_to_the_byte() {
        let directory = tempfile::tempdir().unwrap();
        publish(directory.path(), 1, &[("B", b" \xff\r\n"), ("A", b""), ("PATH", b"/x")]);
        let variables = read(directory.path()).unwrap();
        assert_eq!((of(&variables, "PATH"), of(&variables, "C")), (Some("/x".into()), None));
        assert_eq!(pairs(variables), [("A".to_owned(), vec![]), ("B".to_owned(), b" \xff\r\n".to_vec()), ("PATH".to_owned(), b"/x".to_vec())]);
    }

    #[test]
    fn a_swap_in_between_gives_all_new_values_and_never_some_of_the_old() {
        let directory = tempfile::tempdir().unwrap();
        publish(directory.path(), 1, &[("A", b"old"), ("B", b"old")]);
        let mut swaps = 0;
        let variables = look(directory.path(), &mut || {
            swaps += 1;
            if swaps <= 2 {
                publish(directory.path(), 1 + swaps, &[("A", format!("new {swaps}").as_bytes()), ("B", format!("new {swaps}").as_bytes())]);
            }
        });
        assert_eq!(pairs(variables.unwrap()), [("A".to_owned(), b"new 2".to_vec()), ("B".to_owned(), b"new 2".to_vec())]);
    }

    #[test]
    fn files_that_are_being_removed_are_not_taken_for_all_there_are() {
        let directory = tempfile::tempdir().unwrap();
        publish(directory.path(), 1, &[("A", b"old"), ("B", b"old")]);
        let old = directory.path().join(fs::read_link(directory.path().join(DATA)).unwrap());
        let mut first = true;
        let variables = look(directory.path(), &mut || {
            if std::mem::take(&mut first) {
                publish(directory.path(), 3, &[("A", b"newer"), ("B", b"newer")]);
                fs::create_dir(&old).unwrap();
                fs::File::create(old.join("A")).unwrap();
            }
        });
        assert_eq!(pairs(variables.unwrap()), [("A".to_owned(), b"newer".to_vec()), ("B".to_owned(), b"newer".to_vec())]);
    }

    #[test]
    fn endless_swaps_come_to_an_end() {
        let directory = tempfile::tempdir().unwrap();
        publish(directory.path(), 1, &[("A", b"")]);
        let mut second = 1;
        let error = look(directory.path(), &mut || {
            second += 1;
            publish(directory.path(), second, &[("A", b"")]);
        });
        assert!(error.unwrap_err().to_string().ends_with("change faster than they can be read"));
    }

    #[test]
    fn what_cannot_be_set_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let error = read(directory.path()).unwrap_err();
        assert_eq!(error.exit_code(), 73);
        let expected = format!("volume {}/..data: the values for the environment cannot be read: No such file", directory.path().display());
        assert!(error.to_string().starts_with(&expected), "{error}");
        publish(directory.path(), 1, &[("GOOD", b"canary"), ("BAD", b"canary\0")]);
        let error = read(directory.path()).unwrap_err();
        assert_eq!(error.exit_code(), 65);
        assert_eq!(error.to_string(), "format BAD: the value has a NUL byte, which no environment variable can hold; deliver it as a file instead");
    }
}
