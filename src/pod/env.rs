//! What an environment variable takes from a volume.

use super::Text;

/// An environment variable, as far as it can read a volume.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar<'a> {
    /// Where its value comes from.
    #[serde(borrow)]
    value_from: Option<EnvSource<'a>>,
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
struct FileKey<'a> {
    /// The volume.
    #[serde(borrow, default)]
    volume_name: Text<'a>,
}

impl EnvVar<'_> {
    /// The volume that the value is read from, if it is.
    #[must_use]
    pub fn volume(&self) -> Option<&str> {
        Some(self.value_from.as_ref()?.file_key_ref.as_ref()?.volume_name.as_str())
    }
}
