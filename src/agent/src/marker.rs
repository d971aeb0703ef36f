//! What the files of a directory were made of: a small file among them, so that it changes with them by the same rename. Holds no value.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::directory::{DATA, Staged, WriteError};
use keyvault_common::plan::Directory;

/// Its name. No file of a plan begins with two dots.
pub(super) const MARKER: &str = "..versions.json";

/// What one file was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Made {
    /// Versions by the plan's ids, empty where they are unknown. An optional object that did not exist is not here.
    pub(super) versions: BTreeMap<String, String>,
    /// Whether no file came of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) absent: bool,
}

/// By file.
pub(super) type Contents = BTreeMap<String, Made>;

#[derive(Serialize, Deserialize)]
struct Marker {
    plan: String,
    files: Contents,
}

/// Names a plan: the SHA-256 of its text.
pub(super) fn digest(plan: &str) -> String {
    ring::digest::digest(&ring::digest::SHA256, plan.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Says in `staged` what its files were made of, for readers of all of them.
pub(super) fn write(staged: &Staged, directory: &Directory, plan: &str, files: &Contents) -> Result<(), WriteError> {
    let marker = Marker { plan: plan.to_owned(), files: files.clone() };
    // Maps of strings are always JSON.
    staged.note(MARKER, mode(directory), &serde_json::to_vec(&marker).unwrap_or_default())
}

/// What the agent's own files in a directory may be read by: only those who may read every other file there.
pub(super) fn mode(directory: &Directory) -> u32 {
    directory.entries.iter().map(|entry| entry.mode.bits()).fold(0o444, |one, other| one & other) | 0o400
}

/// Whether the files of a directory are all there.
pub(super) fn is_whole(directory: &Directory) -> bool {
    whole(directory).is_some()
}

/// What the files of a directory were made of and since when they are in place, if they are all there and of this very plan.
pub(super) fn read(directory: &Directory, plan: &str) -> Option<(Contents, SystemTime)> {
    let (marker, since) = whole(directory)?;
    (marker.plan == plan).then_some((marker.files, since))
}

fn whole(directory: &Directory) -> Option<(Marker, SystemTime)> {
    let data = Path::new(directory.path.as_str()).join(DATA);
    let marker: Marker = serde_json::from_slice(&fs::read(data.join(MARKER)).ok()?).ok()?;
    let since = fs::metadata(data.join(MARKER)).and_then(|found| found.modified()).ok()?;
    let is_whole = directory.entries.iter().all(|entry| {
        let made = marker.files.get(entry.file.as_str());
        made.is_some_and(|made| made.absent || data.join(entry.file.as_str()).is_file())
    });
    is_whole.then_some((marker, since))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::File;
    use keyvault_common::secret::SecretValue;

    #[test]
    fn files_count_only_whole_and_of_this_plan_and_the_marker_is_read_by_no_one_else() {
        let root = tempfile::tempdir().unwrap();
        let entry = |file: &str, mode: &str| format!(r#"{{"file":"{file}","mode":"{mode}","value":{{"object":"0"}}}}"#);
        let text = format!(r#"{{"path":"{}","entries":[{},{}]}}"#, root.path().display(), entry("a", "0444"), entry("b/c", "0440"));
        let directory: Directory = serde_json::from_str(&text).unwrap();
        assert_eq!(read(&directory, "p"), None);

        let made = |absent| Made { versions: BTreeMap::from([("0".to_owned(), "v1".to_owned())]), absent };
        let contents = Contents::from([("a".to_owned(), made(false)), ("b/c".to_owned(), made(true))]);
        let file = File { path: &directory.entries[0].file, mode: directory.entries[0].mode, content: SecretValue::from("x".to_owned()) };
        let staged = Staged::new(root.path(), &[file], SystemTime::now()).unwrap();
        write(&staged, &directory, "p", &contents).unwrap();
        assert_eq!(read(&directory, "p"), None, "not published");
        staged.publish().unwrap();

        assert_eq!(read(&directory, "p").unwrap().0, contents);
        assert_eq!(read(&directory, "other plan"), None);
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(root.path().join(DATA).join(MARKER)).unwrap().permissions().mode() & 0o777, 0o440);
        assert!(!root.path().join(MARKER).exists(), "consumers have no link to it");
        fs::remove_file(root.path().join("..data/a")).unwrap();
        assert_eq!(read(&directory, "p"), None, "a file is gone");
    }
}
