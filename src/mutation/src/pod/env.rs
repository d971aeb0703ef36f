//! Environment variables of containers.

use super::Text;

/// An environment variable.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar<'a> {
    /// Its name.
    #[serde(borrow, default)]
    pub name: Text<'a>,
    /// Its value, in which `$(NAME)` stands for variables before it.
    #[serde(borrow)]
    pub value: Option<Text<'a>>,
    /// Where its value comes from instead: rare, so it takes no room in the others.
    #[serde(borrow)]
    value_from: Option<Box<EnvSource<'a>>>,
}

/// `valueFrom`
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnvSource<'a> {
    /// A line of a file in a volume.
    #[serde(borrow)]
    file_key_ref: Option<FileKey<'a>>,
}

/// `valueFrom.fileKeyRef`
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileKey<'a> {
    /// The volume.
    #[serde(borrow, default)]
    pub volume_name: Text<'a>,
    /// The file in it.
    #[serde(borrow, default)]
    pub path: Text<'a>,
    /// The line of the file.
    #[serde(borrow, default)]
    pub key: Text<'a>,
    /// Whether a missing file or line is no error.
    pub optional: Option<bool>,
}

impl EnvVar<'_> {
    /// The line of a file in a volume that the value is, if it is one.
    #[must_use]
    pub fn file_key(&self) -> Option<&FileKey<'_>> {
        self.value_from.as_ref()?.file_key_ref.as_ref()
    }

    /// The volume that the value is read from, if it is.
    #[must_use]
    pub fn volume(&self) -> Option<&str> {
        Some(self.file_key()?.volume_name.as_str())
    }
}
