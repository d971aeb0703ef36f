//! Whether directories have been swapped: a look at each `..data`, which costs nothing and asks nothing of the volume.

use std::path::PathBuf;

use crate::directory::DATA;
use keyvault_common::names::AbsolutePath;

#[derive(Debug)]
pub(super) struct Watched {
    /// Each link, and where it was last seen to point.
    links: Vec<(PathBuf, Option<PathBuf>)>,
}

impl Watched {
    pub(super) fn new(directories: &[AbsolutePath]) -> Watched {
        let link = |directory: &AbsolutePath| PathBuf::from(directory.as_str()).join(DATA);
        Watched { links: directories.iter().map(link).map(|link| (link.clone(), link.read_link().ok())).collect() }
    }

    /// Whether one of them changed since the last look. One that cannot be read has not.
    pub(super) fn changed(&mut self) -> bool {
        let mut changed = false;
        for (link, last) in &mut self.links {
            let now = link.read_link().ok();
            if now.is_some() && now != *last {
                *last = now;
                changed = true;
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_swap_is_seen_once_and_a_missing_link_is_none() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let point = |folder: &tempfile::TempDir, target: &str| {
            symlink(target, folder.path().join("tmp")).unwrap();
            std::fs::rename(folder.path().join("tmp"), folder.path().join(DATA)).unwrap();
        };
        point(&folders[0], "..1");
        let paths: Vec<_> = folders.iter().map(|folder| folder.path().to_str().unwrap().parse().unwrap()).collect();
        let mut watched = Watched::new(&paths);
        assert!(!watched.changed());
        point(&folders[0], "..2");
        assert_eq!((watched.changed(), watched.changed()), (true, false));
        std::fs::remove_file(folders[0].path().join(DATA)).unwrap();
        assert!(!watched.changed());
        point(&folders[0], "..2");
        assert!(!watched.changed(), "the same content as before");
        point(&folders[1], "..1");
        assert_eq!((watched.changed(), watched.changed()), (true, false));
    }
}
