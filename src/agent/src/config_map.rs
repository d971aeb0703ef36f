//! A mounted ConfigMap, read as one state of it.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;

use keyvault_client::{Class, Failure};
use keyvault_common::names::FilePath;
use keyvault_common::plan::{ConfigMapTemplates, MAX_CONFIG_MAP_TEMPLATES};

/// The longest template, in bytes.
const LONGEST: usize = 64 * 1024;

/// Every key and its text, in the order of the keys. What is not there yet may come: the kubelet mounts what it finds, and looks again later.
pub(super) fn read(ConfigMapTemplates { name, path, .. }: &ConfigMapTemplates) -> Result<Vec<(FilePath, String)>, Failure> {
    let unreadable = |error: std::io::Error| {
        let failure = Failure::new(Class::Volume, format!("the ConfigMap's volume cannot be read: {error}"));
        // The kubelet replaced the folder while we were in it.
        if error.kind() == ErrorKind::NotFound { failure.transient() } else { failure }
    };
    let keys = keys(Path::new(path.as_str())).map_err(unreadable)?;
    if keys.is_empty() {
        let what = format!("the pod's Namespace has no ConfigMap {name}, or it holds nothing");
        return Err(Failure::new(Class::NotFound, what).transient());
    }
    if keys.len() > MAX_CONFIG_MAP_TEMPLATES {
        let what =
            format!("it has {} keys, and {MAX_CONFIG_MAP_TEMPLATES} templates are the most that a ConfigMap gives: leave some out", keys.len());
        return Err(Failure::new(Class::Format, what));
    }
    keys.into_iter().map(|(key, file)| text(&file).map_err(unreadable)?.map(|text| (key.clone(), text)).map_err(|what| unfit(&key, what))).collect()
}

fn unfit(key: &FilePath, what: &str) -> Failure {
    Failure::new(Class::Format, format!("key {key}: {what}"))
}

/// The kubelet's `..data` is a link to a folder that never changes. What begins with `..` is its own bookkeeping; no key does.
fn keys(directory: &Path) -> std::io::Result<Vec<(FilePath, std::path::PathBuf)>> {
    let state = directory.join("..data").canonicalize().or_else(|_| directory.canonicalize())?;
    let mut keys = Vec::new();
    for entry in fs::read_dir(state)? {
        let path = entry?.path();
        let key = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        keys.extend(key.map(|key: FilePath| (key, path)));
    }
    keys.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
    Ok(keys)
}

fn text(file: &Path) -> std::io::Result<Result<String, &'static str>> {
    let mut bytes = Vec::new();
    fs::File::open(file)?.take(LONGEST as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > LONGEST {
        return Ok(Err("a template has at most 64 KiB"));
    }
    Ok(String::from_utf8(bytes).map_err(|_| "a template is UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn put(file: &Path, bytes: &[u8]) {
        std::io::Write::write_all(&mut fs::File::create(file).unwrap(), bytes).unwrap();
    }

    fn read_from(folder: &Path) -> Result<Vec<(String, String)>, String> {
        let templates = ConfigMapTemplates::new("texts".to_owned(), folder.to_str().unwrap().parse().unwrap());
        let texts = read(&templates).map_err(|failure| format!("{} {:?}: {failure}", failure.class, failure.outlook))?;
        Ok(texts.into_iter().map(|(file, text)| (file.to_string(), text)).collect())
    }

    #[test]
    fn keys_are_read_as_the_kubelet_mounts_them_and_its_bookkeeping_is_not() {
        let folder = tempfile::tempdir().unwrap();
        for state in ["..2026_11_20", "..2026_11_21"] {
            fs::create_dir(folder.path().join(state)).unwrap();
            put(&folder.path().join(state).join("b.conf"), state.as_bytes());
        }
        put(&folder.path().join("..2026_11_21/a"), "é".as_bytes());
        symlink("..2026_11_21", folder.path().join("..data")).unwrap();
        for key in ["a", "b.conf"] {
            symlink(format!("..data/{key}"), folder.path().join(key)).unwrap();
        }
        let expected = [("a".to_owned(), "é".to_owned()), ("b.conf".to_owned(), "..2026_11_21".to_owned())];
        assert_eq!(read_from(folder.path()).unwrap(), expected);
    }

    #[test]
    fn what_is_no_template_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let missing = "not-found Transient: the pod's Namespace has no ConfigMap texts, or it holds nothing";
        assert_eq!(read_from(folder.path()).unwrap_err(), missing);
        put(&path("a"), &[b'x'; LONGEST]);
        assert_eq!(read_from(folder.path()).unwrap().len(), 1);
        put(&path("a"), &[b'x'; LONGEST + 1]);
        assert_eq!(read_from(folder.path()).unwrap_err(), "format Final: key a: a template has at most 64 KiB");
        put(&path("a"), &[0xff]);
        assert_eq!(read_from(folder.path()).unwrap_err(), "format Final: key a: a template is UTF-8 text");
        (0..MAX_CONFIG_MAP_TEMPLATES).for_each(|number| put(&path(&format!("b{number}")), b""));
        let most = "format Final: it has 17 keys, and 16 templates are the most that a ConfigMap gives: leave some out";
        assert_eq!(read_from(folder.path()).unwrap_err(), most);
        assert!(read_from(&path("nosuch")).unwrap_err().starts_with("volume Transient: the ConfigMap's volume cannot be read: No such file"));
    }
}
