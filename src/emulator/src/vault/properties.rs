//! What a caller may set of every object: attributes and tags.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::limits;
use super::refusal::Refusal;

/// Absent fields stay as they are.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Properties {
    pub(super) tags: Option<BTreeMap<String, String>>,
    pub(super) attributes: Option<Attributes>,
}

/// The settable attributes; times are seconds since 1970.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Attributes {
    pub(super) enabled: Option<bool>,
    pub(super) nbf: Option<i64>,
    pub(super) exp: Option<i64>,
}

impl Properties {
    /// Refuses more or longer tags than Key Vault keeps.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let tags = self.tags.iter().flatten();
        within(tags.clone().count(), "number of tags", limits::TAGS)?;
        for (key, value) in tags {
            within(key.chars().count().max(value.chars().count()), "tag", limits::TAG_CHARS)?;
        }
        Ok(())
    }
}

pub(super) fn within(length: usize, what: &'static str, limit: usize) -> Result<(), Refusal> {
    if length > limit { Err(Refusal::TooLong { what, limit }) } else { Ok(()) }
}

/// The JSON body of a request.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|_| Refusal::InvalidProperty(""))
}

/// The same, of a request that may have none.
pub(super) fn read_optional<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Refusal> {
    if body.is_empty() { Ok(T::default()) } else { read(body) }
}
