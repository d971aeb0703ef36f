//! The fields of a pod that we read, borrowed from the request.

use serde::Deserialize;

/// A pod as it stands in an admission request.
#[derive(Debug, Deserialize)]
pub struct PodView<'a> {
    /// `metadata.name`; empty where the API server has yet to make one.
    #[serde(default)]
    pub name: Option<&'a str>,
}
