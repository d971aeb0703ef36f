//! Secrets as they travel in answers.

use std::collections::BTreeMap;

use serde::Serialize;

use super::limits::RECOVERABLE_DAYS;
use super::store::{Deleted, Secret, Version};

/// A secret, with or without its value and version.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Bundle {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    id: String,
    attributes: Attributes,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(flatten)]
    deleted: Option<Deletion>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    created: u64,
    updated: u64,
    recovery_level: &'static str,
    recoverable_days: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Deletion {
    recovery_id: String,
    deleted_date: u64,
    scheduled_purge_date: u64,
}

/// The address under which a client called the vault: ids and links begin with it.
#[derive(Clone, Copy)]
pub(super) struct Base<'h>(pub(super) &'h str);

impl Base<'_> {
    /// With value and version.
    pub(super) fn secret(self, (secret, version): (&Secret, &Version)) -> Bundle {
        let value = String::from_utf8_lossy(version.value.expose()).into_owned();
        Bundle { value: Some(value), ..self.version((secret, version)) }
    }

    /// With the version, without the value.
    pub(super) fn version(self, (secret, version): (&Secret, &Version)) -> Bundle {
        Bundle { id: format!("https://{}/secrets/{}/{}", self.0, secret.name, version.id), ..self.item(secret, version) }
    }

    /// The latest version as lists show it: neither version nor value.
    pub(super) fn listed(self, secret: &Secret) -> Bundle {
        self.item(secret, secret.latest())
    }

    /// Deleted, with the version.
    pub(super) fn deleted(self, deleted: &Deleted) -> Bundle {
        let secret = &deleted.secret;
        Bundle { deleted: Some(self.deletion(deleted)), ..self.version((secret, secret.latest())) }
    }

    /// Deleted, as lists show it.
    pub(super) fn listed_deleted(self, deleted: &Deleted) -> Bundle {
        Bundle { deleted: Some(self.deletion(deleted)), ..self.listed(&deleted.secret) }
    }

    fn item(self, secret: &Secret, version: &Version) -> Bundle {
        Bundle {
            value: None,
            content_type: version.content_type.clone(),
            id: format!("https://{}/secrets/{}", self.0, secret.name),
            attributes: Attributes {
                enabled: version.enabled,
                nbf: version.nbf,
                exp: version.exp,
                created: version.created,
                updated: version.updated,
                recovery_level: "Recoverable+Purgeable",
                recoverable_days: RECOVERABLE_DAYS,
            },
            tags: version.tags.clone(),
            deleted: None,
        }
    }

    fn deletion(self, deleted: &Deleted) -> Deletion {
        Deletion {
            recovery_id: format!("https://{}/deletedsecrets/{}", self.0, deleted.secret.name),
            deleted_date: deleted.date,
            scheduled_purge_date: deleted.purge_date(),
        }
    }
}
