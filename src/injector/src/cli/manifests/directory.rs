//! Writes a kustomization into a folder. Each upgrade rewrites it, except for files that the operator edited.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::{CONFIG, kustomization};

/// What became of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Written,
    Unchanged,
    Kept,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Done::Written => "written",
            Done::Unchanged => "unchanged",
            Done::Kept => {
                "kept as it is: it was edited, or written with other options (set agent.image to the new image; --force overwrites the file)"
            }
        })
    }
}

/// Writes the files. The operator's file is kept if it holds something else; `force` overwrites it.
pub(super) fn write(
    directory: &Path,
    files: &[(&str, String)],
    force: bool,
    mut report: impl FnMut(&Path, Done),
) -> Result<(), (PathBuf, io::Error)> {
    std::fs::create_dir_all(directory).map_err(|error| (directory.to_owned(), error))?;
    let kustomization = ("kustomization.yaml", kustomization(files));
    for (name, text) in files.iter().chain([&kustomization]) {
        let file = directory.join(name);
        let done = write_file(&file, text, *name == CONFIG && !force).map_err(|error| (file.clone(), error))?;
        report(&file, done);
    }
    Ok(())
}

fn write_file(file: &Path, text: &str, keep: bool) -> io::Result<Done> {
    match std::fs::read(file) {
        Ok(there) if there == text.as_bytes() => return Ok(Done::Unchanged),
        Ok(_) if keep => return Ok(Done::Kept),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    std::fs::File::create(file)?.write_all(text.as_bytes())?;
    Ok(Done::Written)
}
