use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

fn stage(root: &Path, files: &[(&str, &str, &str)]) -> Result<Staged, WriteError> {
    let paths: Vec<FilePath> = files.iter().map(|(path, ..)| path.parse().unwrap()).collect();
    let files: Vec<File<'_>> = paths
        .iter()
        .zip(files)
        .map(|(path, (_, mode, content))| File { path, mode: mode.parse().unwrap(), content: SecretValue::from((*content).to_owned()) })
        .collect();
    Staged::new(root, &files, SystemTime::now())
}

fn publish(root: &Path, files: &[(&str, &str, &str)]) {
    stage(root, files).unwrap().publish().unwrap();
}

/// What is in a directory, without the digits of time stamps.
fn listing(root: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.iter_mut().filter(|name| is_stamp(name)).for_each(|name| *name = "..time".to_owned());
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn files_have_their_content_and_mode_and_folders_let_everyone_through() {
    let root = tempfile::tempdir().unwrap();
    publish(root.path(), &[("a", "0400", "1"), ("tls/server/key", "0440", "2"), ("tls/ca", "0444", "")]);
    assert_eq!(listing(root.path()), ["..data", "..time", "a", "tls"]);
    for (path, bits, content) in [("a", 0o400, "1"), ("tls/server/key", 0o440, "2"), ("tls/ca", 0o444, "")] {
        let path = root.path().join(path);
        assert_eq!((mode(&path), fs::read_to_string(&path).unwrap().as_str()), (bits, content), "{}", path.display());
    }
    for folder in ["..data", "tls", "tls/server"] {
        assert_eq!(mode(&root.path().join(folder)), 0o755, "{folder}");
    }
    assert_eq!(fs::read_link(root.path().join("tls")).unwrap(), Path::new("..data/tls"));
}

#[test]
fn a_group_that_the_volume_hands_down_is_handed_on() {
    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), Permissions::from_mode(0o2777)).unwrap();
    publish(root.path(), &[("tls/key", "0440", "1")]);
    assert_eq!((mode(&root.path().join("..data")), mode(&root.path().join("tls"))), (0o2755, 0o2755));
}

#[test]
fn a_second_run_replaces_everything_and_removes_what_is_gone() {
    let root = tempfile::tempdir().unwrap();
    publish(root.path(), &[("a", "0400", "long old value"), ("gone", "0400", "x"), ("was-folder/x", "0400", "x")]);
    publish(root.path(), &[("a", "0444", "new"), ("b", "0400", "y"), ("was-folder", "0400", "z")]);
    assert_eq!(listing(root.path()), ["..data", "..time", "a", "b", "was-folder"]);
    assert_eq!(fs::read_to_string(root.path().join("a")).unwrap(), "new");
    assert_eq!(mode(&root.path().join("a")), 0o444);
    assert_eq!(fs::read_to_string(root.path().join("was-folder")).unwrap(), "z");
}

#[test]
fn what_is_staged_is_not_visible_and_leaves_no_trace_when_dropped() {
    let root = tempfile::tempdir().unwrap();
    publish(root.path(), &[("a", "0400", "old")]);
    let staged = stage(root.path(), &[("a", "0400", "new"), ("b", "0400", "new")]).unwrap();
    assert_eq!(fs::read_to_string(root.path().join("a")).unwrap(), "old");
    assert!(!root.path().join("b").exists());
    drop(staged);
    assert_eq!(listing(root.path()), ["..data", "..time", "a"]);
    assert_eq!(fs::read_to_string(root.path().join("a")).unwrap(), "old");
}

#[test]
fn what_killed_runs_have_left_is_removed_before_anything_is_written() {
    let root = tempfile::tempdir().unwrap();
    publish(root.path(), &[("a", "0400", "old")]);
    for _ in 0..3 {
        std::mem::forget(stage(root.path(), &[("a", "0400", "new"), ("b", "0400", "new")]).unwrap());
        assert_eq!(listing(root.path()), ["..data", "..data_tmp", "..time", "..time", "a", "b"]);
        assert_eq!(fs::read_to_string(root.path().join("a")).unwrap(), "old");
    }
    drop(stage(root.path(), &[("a", "0400", "new")]).unwrap());
    assert_eq!(listing(root.path()), ["..data", "..time", "a", "b"]);
    publish(root.path(), &[("a", "0400", "new")]);
    assert_eq!(listing(root.path()), ["..data", "..time", "a"]);
    assert_eq!(fs::read_to_string(root.path().join("a")).unwrap(), "new");
}

#[test]
fn a_failure_in_the_middle_names_the_file_and_leaves_the_old_ones() {
    let root = tempfile::tempdir().unwrap();
    publish(root.path(), &[("a", "0400", "old")]);
    let error = stage(root.path(), &[("a", "0400", "new"), ("x", "0400", "1"), ("x/y", "0400", "1")]).unwrap_err();
    assert_eq!(error.to_string(), "x/y cannot be written: Not a directory (os error 20)");
    let error = stage(root.path(), &[("a", "0400", "new"), ("a", "0400", "newer")]).unwrap_err();
    assert_eq!(error.to_string(), "a cannot be written: File exists (os error 17)");
    assert_eq!(listing(root.path()), ["..data", "..time", "a"]);
    assert_eq!(fs::read_to_string(root.path().join("a")).unwrap(), "old");
}

#[test]
fn a_reader_sees_all_old_or_all_new() {
    let root = tempfile::tempdir().unwrap();
    let files = |generation: &'static str| [("a", "0444", generation), ("d/b", "0444", generation)];
    publish(root.path(), &files("even"));
    let (done, seen_both) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !done.load(Ordering::Acquire) {
                // As a consumer does that wants both: it follows ..data once.
                let data = root.path().join(fs::read_link(root.path().join(DATA)).unwrap());
                // Either may be gone by now, with its whole directory.
                if let (Ok(a), Ok(b)) = (fs::read_to_string(data.join("a")), fs::read_to_string(data.join("d/b"))) {
                    assert_eq!(a, b);
                }
                seen.extend(fs::read_to_string(root.path().join("a")));
                seen_both.store(seen == BTreeSet::from(["even".to_owned(), "odd".to_owned()]), Ordering::Release);
            }
        });
        for round in 0..100_000 {
            publish(root.path(), &files(if round % 2 == 0 { "odd" } else { "even" }));
            if round > 300 && seen_both.load(Ordering::Acquire) {
                break;
            }
        }
        done.store(true, Ordering::Release);
    });
    assert!(seen_both.into_inner(), "the reader saw nothing, or what nobody wrote");
}

#[test]
fn no_symlink_leads_the_writer_out_of_the_directory() {
    let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    publish(outside.path(), &[("a", "0600", "foreign")]);
    let before = (listing(outside.path()), fs::read_to_string(outside.path().join("a")).unwrap());
    for name in [DATA, DATA_TEMPORARY, LINK_TEMPORARY, "a", "..2020_01_01_00_00_00.000000001"] {
        symlink(outside.path(), root.path().join(name)).unwrap();
    }
    symlink(outside.path().join("a"), root.path().join("b")).unwrap();
    publish(root.path(), &[("a/x", "0400", "mine"), ("b", "0400", "mine")]);

    assert_eq!((listing(outside.path()), fs::read_to_string(outside.path().join("a")).unwrap()), before);
    assert_eq!(listing(root.path()), ["..data", "..time", "a", "b"]);
    assert_eq!(fs::read_to_string(root.path().join("b")).unwrap(), "mine");
    assert_eq!(fs::read_link(root.path().join("a")).unwrap(), Path::new("..data/a"));
}

#[test]
fn foreign_things_stay_and_a_foreign_directory_in_the_way_is_named() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("a")).unwrap();
    fs::create_dir(root.path().join("theirs")).unwrap();
    assert_eq!(stage(root.path(), &[("a", "0400", "x")]).unwrap_err().to_string(), "a is a directory that the agent has not made");
    publish(root.path(), &[("b", "0400", "x")]);
    assert_eq!(listing(root.path()), ["..data", "..time", "a", "b", "theirs"]);
}

#[test]
fn a_directory_that_is_not_there_is_not_made() {
    let root = tempfile::tempdir().unwrap();
    let missing = root.path().join("files");
    assert_eq!(stage(&missing, &[]).unwrap_err().to_string(), "the directory does not exist, so the volume is not mounted");
    assert!(!missing.exists());
}

#[test]
fn every_way_of_being_full_is_reported_as_full() {
    for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge] {
        assert_eq!(WriteError::new("tls/key", kind.into()).to_string(), "the volume is full: tls/key does not fit");
    }
    assert_eq!(WriteError::new("a", ErrorKind::PermissionDenied.into()).to_string(), "a cannot be written: permission denied");
}

#[test]
fn a_stamp_is_a_date_and_nothing_else_is_a_stamp() {
    let time = UNIX_EPOCH + std::time::Duration::new(784_111_777, 42);
    assert_eq!(stamp(time), "..1994_11_06_08_49_37.000000042");
    assert!(is_stamp(&stamp(time)));
    for name in [DATA, DATA_TEMPORARY, LINK_TEMPORARY, "a", "..", "2026_11_21_10_00_00.123456789", "..2026"] {
        assert!(!is_stamp(name), "{name}");
    }
}
