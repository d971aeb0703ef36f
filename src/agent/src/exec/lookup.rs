//! Which file a program's name means, as a shell's and a container runtime's search for it: pure, what the kernel says comes in.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What container runtimes take where a container has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a file did not become the program.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// There is no such file.
    Missing,
    /// It is there and may not be executed; the search goes on.
    NotExecutable(io::Error),
    /// It is there, and what it needs to run is not; the search goes on.
    NoInterpreter,
    /// Nothing that another directory could mend.
    Other(io::Error),
}

/// Why no program runs.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotStarted {
    #[error("{}: no such program in any directory of PATH ({})", name.display(), path.display())]
    NotInPath { name: OsString, path: OsString },
    #[error("{}: no such program", file.display())]
    Missing { file: PathBuf },
    #[error("{}: the interpreter that its first line names, or the loader that it was linked for, is not in the image", file.display())]
    NoInterpreter { file: PathBuf },
    #[error("{}: cannot be executed: {reason}", file.display())]
    Refused { file: PathBuf, reason: io::Error },
}

impl NotStarted {
    /// As shells have it: 127 for what is not found, 126 for what is found and cannot be executed.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            NotStarted::NotInPath { .. } | NotStarted::Missing { .. } | NotStarted::NoInterpreter { .. } => 127,
            NotStarted::Refused { .. } => 126,
        }
    }
}

/// Tries one file after the other. `attempt` returns only if the file did not become the program.
pub(super) fn first(name: &OsStr, path: Option<&OsStr>, mut attempt: impl FnMut(&Path) -> Obstacle) -> NotStarted {
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH));
    let (mut refused, mut dangling) = (None, None);
    for file in candidates(name, path) {
        match attempt(&file) {
            Obstacle::Missing => {}
            Obstacle::NotExecutable(reason) => refused = refused.or(Some(NotStarted::Refused { file, reason })),
            Obstacle::NoInterpreter => dangling = dangling.or(Some(NotStarted::NoInterpreter { file })),
            Obstacle::Other(reason) => return NotStarted::Refused { file, reason },
        }
    }
    refused.or(dangling).unwrap_or_else(|| {
        if is_path(name) { NotStarted::Missing { file: name.into() } } else { NotStarted::NotInPath { name: name.to_owned(), path: path.to_owned() } }
    })
}

fn is_path(name: &OsStr) -> bool {
    name.as_bytes().contains(&b'/')
}

/// A name with a slash is taken as it is; an empty directory of `PATH` is the working directory.
fn candidates(name: &OsStr, path: &OsStr) -> Vec<PathBuf> {
    if name.is_empty() {
        return Vec::new();
    }
    if is_path(name) {
        return vec![PathBuf::from(name)];
    }
    let directories = path.as_bytes().split(|byte| *byte == b':').map(|directory| if directory.is_empty() { b"." } else { directory });
    directories.map(|directory| Path::new(OsStr::from_bytes(directory)).join(name)).collect()
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    fn search(name: &str, path: Option<&str>, mut attempt: impl FnMut(&str) -> Obstacle) -> (Vec<String>, u8, String) {
        let mut tried = Vec::new();
        let outcome = first(OsStr::new(name), path.map(OsStr::new), |file| {
            tried.push(file.to_str().unwrap().to_owned());
            attempt(file.to_str().unwrap())
        });
        (tried, outcome.exit_code(), outcome.to_string())
    }

    #[test]
    fn files_are_tried_in_the_order_of_path() {
        for (name, path, expected) in [
            ("app", Some("/a:/b"), &["/a/app", "/b/app"][..]),
            ("app", Some(":/b:"), &["./app", "/b/app", "./app"]),
            ("app", Some(""), &["./app"]),
            ("app", Some("bin"), &["bin/app"]),
            ("./app", Some("/a"), &["./app"]),
            ("bin/app", Some("/a"), &["bin/app"]),
            ("/app", None, &["/app"]),
            ("", Some("/a"), &[]),
            ("app", None, &["/usr/local/sbin/app", "/usr/local/bin/app", "/usr/sbin/app", "/usr/bin/app", "/sbin/app", "/bin/app"]),
        ] {
            assert_eq!(search(name, path, |_| Obstacle::Missing).0, expected, "{name:?} in {path:?}");
        }
    }

    #[test]
    fn what_is_not_found_is_127_and_says_where_it_was_looked_for() {
        let missing = |name, path| search(name, path, |_| Obstacle::Missing);
        assert_eq!(missing("app", Some("/a:/b")).1, 127);
        assert_eq!(missing("app", Some("/a:/b")).2, "app: no such program in any directory of PATH (/a:/b)");
        assert_eq!((missing("/app", None).1, missing("/app", None).2), (127, "/app: no such program".to_owned()));
        let (_, code, text) = search("app", Some("/a:/b"), |file| if file == "/a/app" { Obstacle::NoInterpreter } else { Obstacle::Missing });
        assert_eq!((code, text.starts_with("/a/app: the interpreter that its first line names")), (127, true), "{text}");
    }

    #[test]
    fn what_may_not_be_executed_is_passed_over_and_remembered() {
        let (tried, code, text) = search("app", Some("/a:/b:/c"), |file| match file {
            "/a/app" => Obstacle::NoInterpreter,
            "/b/app" => Obstacle::NotExecutable(Errno::ACCESS.into()),
            _ => Obstacle::Missing,
        });
        assert_eq!((tried.len(), code), (3, 126));
        assert_eq!(text, "/b/app: cannot be executed: Permission denied (os error 13)");
    }

    #[test]
    fn anything_else_ends_the_search() {
        let (tried, code, text) = search("app", Some("/a:/b"), |_| Obstacle::Other(Errno::NOEXEC.into()));
        assert_eq!((tried, code), (vec!["/a/app".to_owned()], 126));
        assert_eq!(text, "/a/app: cannot be executed: Exec format error (os error 8)");
    }
}
