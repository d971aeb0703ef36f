//! The agent's own program on a volume, for containers of other images.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::directory::is_full;

/// What the webhook calls it in a wrapped container's command.
const NAME: &str = "keyvault-agent";
const TEMPORARY: &str = "..keyvault-agent_tmp";
/// Everyone executes it, nobody changes it.
const MODE: u32 = 0o555;

/// Why there is no program on the volume.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    #[error("the directory does not exist, so the volume is not mounted")]
    NotMounted,
    #[error("the volume is full: the agent's program of {bytes} bytes does not fit")]
    Full { bytes: u64 },
    #[error("the agent's program cannot be copied there: {0}")]
    Io(#[from] io::Error),
}

/// Puts a copy of `executable` into `directory`, in one rename. The same one that is there already stays: it may be running.
pub(super) fn copy(executable: &Path, directory: &Path) -> Result<(), CopyError> {
    if !directory.is_dir() {
        return Err(CopyError::NotMounted);
    }
    let (place, temporary) = (directory.join(NAME), directory.join(TEMPORARY));
    if is_copy(executable, &place).unwrap_or(false) {
        return Ok(());
    }
    write(executable, &temporary).and_then(|()| fs::rename(&temporary, &place)).map_err(|error| {
        let bytes = fs::metadata(executable).map_or(0, |found| found.len());
        // What is half there takes room from the next try; that it may not be there at all is no news.
        let _ = fs::remove_file(&temporary);
        if is_full(&error) { CopyError::Full { bytes } } else { CopyError::Io(error) }
    })
}

fn write(executable: &Path, to: &Path) -> io::Result<()> {
    match fs::remove_file(to) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Err(_) | Ok(()) => {}
    }
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(MODE).open(to)?;
    io::copy(&mut File::open(executable)?, &mut copy)?;
    // Whatever the umask has taken away.
    copy.set_permissions(Permissions::from_mode(MODE))
}

fn is_copy(executable: &Path, place: &Path) -> io::Result<bool> {
    let found = fs::symlink_metadata(place)?;
    if !found.is_file() || found.permissions().mode() & 0o7777 != MODE || found.len() != fs::metadata(executable)?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (BufReader::new(File::open(executable)?), BufReader::new(File::open(place)?));
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let length = left.len().min(right.len());
        if length == 0 || left[..length] != right[..length] {
            return Ok(left.is_empty() && right.is_empty());
        }
        one.consume(length);
        other.consume(length);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn put(path: &Path, bytes: &[u8]) {
        io::copy(&mut &bytes[..], &mut File::create(path).unwrap()).unwrap();
    }

    fn inode(path: &Path) -> u64 {
        fs::metadata(path).unwrap().ino()
    }

    #[test]
    fn the_copy_can_be_executed_and_an_equal_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (source, place) = (folder.path().join("source"), folder.path().join(NAME));
        let mut bytes = vec![7; 20_000];
        put(&source, &bytes);
        copy(&source, folder.path()).unwrap();
        assert_eq!((fs::read(&place).unwrap(), fs::metadata(&place).unwrap().mode() & 0o7777), (bytes.clone(), 0o555));
        let first = File::open(&place).unwrap();
        copy(&source, folder.path()).unwrap();
        assert_eq!(first.metadata().unwrap().ino(), inode(&place));
        // The same size and other content, to the last byte.
        *bytes.last_mut().unwrap() = 8;
        put(&source, &bytes);
        copy(&source, folder.path()).unwrap();
        assert_eq!(fs::read(&place).unwrap(), bytes);
        assert_ne!(first.metadata().unwrap().ino(), inode(&place), "a program that runs is never written to");
    }

    #[test]
    fn leftovers_of_a_killed_run_are_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        put(&source, b"program");
        put(&folder.path().join(TEMPORARY), b"prog");
        put(&folder.path().join(NAME), b"program");
        copy(&source, folder.path()).unwrap();
        assert_eq!(fs::metadata(folder.path().join(NAME)).unwrap().mode() & 0o7777, 0o555, "the same content that nobody may execute is no copy");
        assert!(!folder.path().join(TEMPORARY).exists());
    }

    #[test]
    fn what_is_in_the_way_is_reported_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let error = copy(Path::new("/proc/self/exe"), &folder.path().join("absent")).unwrap_err();
        assert_eq!(error.to_string(), "the directory does not exist, so the volume is not mounted");
        fs::create_dir_all(folder.path().join(NAME).join("x")).unwrap();
        let error = copy(Path::new("/proc/self/exe"), folder.path()).unwrap_err();
        assert!(error.to_string().starts_with("the agent's program cannot be copied there: "), "{error}");
        assert!(!folder.path().join(TEMPORARY).exists());
    }
}
