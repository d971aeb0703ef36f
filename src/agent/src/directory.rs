//! A directory whose files are all old or all new, written as the kubelet writes ConfigMaps.
//!
//! ```text
//! DIR/..2026_11_21_10_00_00.123456789/db-password   the files, in a directory that nobody has seen before
//! DIR/..data -> ..2026_11_21_10_00_00.123456789     changed by one rename
//! DIR/db-password -> ..data/db-password             what consumers open
//! ```

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::clock::rfc3339;
use keyvault_common::names::{FileMode, FilePath};
use keyvault_common::secret::SecretValue;

pub(super) const DATA: &str = "..data";
const DATA_TEMPORARY: &str = "..data_tmp";
const LINK_TEMPORARY: &str = "..link_tmp";

/// A file to write.
#[derive(Debug)]
pub(super) struct File<'p> {
    pub(super) path: &'p FilePath,
    pub(super) mode: FileMode,
    pub(super) content: SecretValue,
}

/// Why a directory could not be written. What was there before still is.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("the directory does not exist, so the volume is not mounted")]
    NotMounted,
    #[error("{name} is a directory that the agent has not made")]
    InTheWay { name: String },
    #[error("the volume is full: {name} does not fit")]
    Full { name: String },
    #[error("{name} cannot be written: {reason}")]
    Io { name: String, reason: io::Error },
}

impl WriteError {
    fn new(name: &str, reason: io::Error) -> WriteError {
        let name = name.to_owned();
        if is_full(&reason) { WriteError::Full { name } } else { WriteError::Io { name, reason } }
    }
}

/// Whether a write failed for want of room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

/// A directory's next content, complete on disk and not yet visible. Dropped unpublished, it leaves no trace.
#[derive(Debug)]
pub(super) struct Staged {
    root: PathBuf,
    fresh: String,
    names: BTreeSet<String>,
    new_links: Vec<String>,
    published: bool,
}

impl Staged {
    /// Writes `files` below `root`, beside what is there.
    pub(super) fn new(root: &Path, files: &[File<'_>], now: SystemTime) -> Result<Staged, WriteError> {
        if !root.is_dir() {
            return Err(WriteError::NotMounted);
        }
        if let Err(error) = remove_leftovers(root) {
            // There may be room enough without them.
            tracing::warn!("{}: what a killed run has left cannot be removed: {error}", root.display());
        }
        let names = files.iter().filter_map(|file| file.path.as_str().split('/').next()).map(str::to_owned).collect();
        let fresh = stamp(now);
        make_directory(&root.join(&fresh)).map_err(|error| WriteError::new(&fresh, error))?;
        let mut staged = Staged { root: root.to_owned(), fresh, names, new_links: Vec::new(), published: false };
        for file in files {
            staged.write(file).map_err(|error| WriteError::new(file.path.as_str(), error))?;
        }
        staged.link_names()?;
        staged.link(DATA_TEMPORARY, &staged.fresh).map_err(|error| WriteError::new(DATA_TEMPORARY, error))?;
        Ok(staged)
    }

    /// Makes the content visible by one rename, then removes what it replaces.
    pub(super) fn publish(mut self) -> Result<(), WriteError> {
        fs::rename(self.root.join(DATA_TEMPORARY), self.root.join(DATA)).map_err(|error| WriteError::new(DATA, error))?;
        self.published = true;
        if let Err(error) = self.prune() {
            // Consumers see the new content all the same.
            tracing::warn!("{}: old files are left behind: {error}", self.root.display());
        }
        Ok(())
    }

    /// Adds a file that consumers get no link to.
    pub(super) fn note(&self, name: &str, mode: u32, content: &[u8]) -> Result<(), WriteError> {
        write_new(&self.root.join(&self.fresh).join(name), mode, content).map_err(|error| WriteError::new(name, error))
    }

    fn write(&self, file: &File<'_>) -> io::Result<()> {
        let path = self.root.join(&self.fresh).join(file.path.as_str());
        for (slash, _) in file.path.as_str().match_indices('/') {
            make_directory(&self.root.join(&self.fresh).join(&file.path.as_str()[..slash])).or_else(already_exists)?;
        }
        write_new(&path, file.mode.bits(), file.content.expose())
    }

    /// Names that consumers open. They lead nowhere until the content is published, just as if they were not there.
    fn link_names(&mut self) -> Result<(), WriteError> {
        for name in self.names.clone() {
            let (path, target) = (self.root.join(&name), format!("{DATA}/{name}"));
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => return Err(WriteError::InTheWay { name }),
                Ok(_) if points_to(&path, &target) => continue,
                Ok(_) | Err(_) => {}
            }
            self.link(LINK_TEMPORARY, &target)
                .and_then(|()| fs::rename(self.root.join(LINK_TEMPORARY), &path))
                .map_err(|error| WriteError::new(&name, error))?;
            self.new_links.push(name);
        }
        Ok(())
    }

    /// Makes a symlink, replacing one that a killed run has left.
    fn link(&self, name: &str, target: &str) -> io::Result<()> {
        let path = self.root.join(name);
        fs::remove_file(&path).or_else(not_found)?;
        symlink(target, path)
    }

    fn prune(&self) -> io::Result<()> {
        remove_leftovers(&self.root)?;
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !self.names.contains(&name) && points_to(&entry.path(), &format!("{DATA}/{name}")) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Removes every generation that consumers do not see, and links that lead nowhere yet. A volume has one writer and room for two generations.
fn remove_leftovers(root: &Path) -> io::Result<()> {
    let current = fs::read_link(root.join(DATA)).ok();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        match name.to_str() {
            Some(DATA_TEMPORARY | LINK_TEMPORARY) => fs::remove_file(entry.path())?,
            Some(stamp) if is_stamp(stamp) && current.as_deref() != Some(Path::new(stamp)) => fs::remove_dir_all(entry.path())?,
            Some(_) | None => {}
        }
    }
    Ok(())
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.published {
            // Nothing more can be done about what cannot be removed, and the reason for the drop is being reported.
            let _ = fs::remove_dir_all(self.root.join(&self.fresh));
            for name in self.new_links.iter().map(String::as_str).chain([DATA_TEMPORARY, LINK_TEMPORARY]) {
                let _ = fs::remove_file(self.root.join(name));
            }
        }
    }
}

/// A directory that every consumer may enter, whatever the umask. A group that the volume hands down (`fsGroup`) is kept.
fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o755).create(path)?;
    let inherited = fs::symlink_metadata(path)?.permissions().mode() & 0o2000;
    fs::set_permissions(path, Permissions::from_mode(0o755 | inherited))
}

fn write_new(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    let mut handle = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // Whatever the umask has taken away.
    handle.set_permissions(Permissions::from_mode(mode))?;
    handle.write_all(content)
}

/// Puts a file beside [`DATA`], or replaces it by one rename.
pub(super) fn replace(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    fs::remove_file(&temporary).or_else(not_found)?;
    write_new(&temporary, mode, content)?;
    fs::rename(&temporary, path)
}

fn points_to(path: &Path, target: &str) -> bool {
    fs::read_link(path).is_ok_and(|found| found == Path::new(target))
}

fn already_exists(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

fn not_found(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// `..2026_11_21_10_00_00.123456789`, after the kubelet's habit.
fn stamp(now: SystemTime) -> String {
    let nanoseconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    format!("..{}.{nanoseconds:09}", rfc3339(now).trim_end_matches('Z').replace(['-', 'T', ':'], "_"))
}

fn is_stamp(name: &str) -> bool {
    name.strip_prefix("..").is_some_and(|rest| rest.len() > 20 && rest.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'_' | b'.')))
}

#[cfg(test)]
mod tests;
