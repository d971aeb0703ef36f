//! The secrets of one vault, in memory: versions, soft delete, no HTTP.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::emulator::config::SecretSeed;
use crate::emulator::ids;
use crate::names::ObjectName;
use crate::secret::SecretValue;

use super::limits::RECOVERABLE_DAYS;
use super::refusal::Refusal;

/// One version of a secret.
#[derive(Clone)]
pub(super) struct Version {
    /// 32 hexadecimal digits.
    pub(super) id: String,
    pub(super) value: SecretValue,
    pub(super) content_type: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) enabled: bool,
    pub(super) nbf: Option<i64>,
    pub(super) exp: Option<i64>,
    pub(super) created: u64,
    pub(super) updated: u64,
}

/// A secret: its versions, oldest first, never none.
#[derive(Clone)]
pub(super) struct Secret {
    /// As it was first written.
    pub(super) name: ObjectName,
    pub(super) versions: Vec<Version>,
}

/// A secret that can still be recovered.
pub(super) struct Deleted {
    pub(super) secret: Secret,
    pub(super) date: u64,
}

impl Deleted {
    pub(super) fn purge_date(&self) -> u64 {
        self.date + RECOVERABLE_DAYS * 24 * 3600
    }
}

/// What a caller may set beside the value; absent fields stay as they are.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Properties {
    pub(super) content_type: Option<String>,
    pub(super) tags: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) attributes: Attributes,
}

/// The settable attributes.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Attributes {
    pub(super) enabled: Option<bool>,
    pub(super) nbf: Option<i64>,
    pub(super) exp: Option<i64>,
}

/// Names are compared without regard to case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key(String);

impl From<&ObjectName> for Key {
    fn from(name: &ObjectName) -> Key {
        Key(name.as_str().to_ascii_lowercase())
    }
}

/// All secrets of a vault, in the order of their names.
#[derive(Default)]
pub(super) struct SecretStore {
    live: BTreeMap<Key, Secret>,
    deleted: BTreeMap<Key, Deleted>,
}

impl SecretStore {
    pub(super) fn seeded(seeds: Vec<SecretSeed>, now: u64) -> SecretStore {
        let mut store = SecretStore::default();
        for seed in seeds {
            let attributes = Attributes { enabled: Some(seed.enabled), nbf: None, exp: None };
            let properties = Properties { content_type: seed.content_type, tags: Some(seed.tags), attributes };
            store.add_version(seed.name, Version::new(seed.value, properties, now));
        }
        store
    }

    /// Adds a version, and the secret if it is new.
    pub(super) fn set(&mut self, name: ObjectName, value: SecretValue, properties: Properties, now: u64) -> Result<(&Secret, &Version), Refusal> {
        if self.deleted.contains_key(&Key::from(&name)) {
            return Err(Refusal::DeletedButRecoverable(name.to_string()));
        }
        let secret = self.add_version(name, Version::new(value, properties, now));
        Ok((secret, secret.latest()))
    }

    fn add_version(&mut self, name: ObjectName, version: Version) -> &Secret {
        let secret = self.live.entry(Key::from(&name)).or_insert_with(|| Secret { name, versions: Vec::new() });
        secret.versions.push(version);
        secret
    }

    /// The version asked for, or the latest.
    pub(super) fn get(&self, name: &ObjectName, version: Option<&str>) -> Result<(&Secret, &Version), Refusal> {
        let found = self.live.get(&Key::from(name)).and_then(|secret| Some((secret, secret.find(version)?)));
        found.ok_or_else(|| not_found(name, version))
    }

    /// Changes what `properties` names of the version asked for, or of the latest.
    pub(super) fn update(
        &mut self,
        name: &ObjectName,
        version: Option<&str>,
        properties: Properties,
        now: u64,
    ) -> Result<(&Secret, &Version), Refusal> {
        let secret = self.live.get_mut(&Key::from(name)).ok_or_else(|| not_found(name, version))?;
        let index = secret.index(version).ok_or_else(|| not_found(name, version))?;
        secret.versions[index].apply(properties, now);
        Ok((secret, &secret.versions[index]))
    }

    pub(super) fn delete(&mut self, name: &ObjectName, now: u64) -> Result<&Deleted, Refusal> {
        let key = Key::from(name);
        let secret = self.live.remove(&key).ok_or_else(|| not_found(name, None))?;
        Ok(self.deleted.entry(key).insert_entry(Deleted { secret, date: now }).into_mut())
    }

    pub(super) fn get_deleted(&self, name: &ObjectName) -> Result<&Deleted, Refusal> {
        self.deleted.get(&Key::from(name)).ok_or_else(|| Refusal::DeletedSecretNotFound(name.to_string()))
    }

    pub(super) fn purge(&mut self, name: &ObjectName) -> Result<(), Refusal> {
        self.take_deleted(name).map(drop)
    }

    pub(super) fn recover(&mut self, name: &ObjectName) -> Result<(&Secret, &Version), Refusal> {
        let deleted = self.take_deleted(name)?;
        let secret = &*self.live.entry(Key::from(name)).insert_entry(deleted.secret).into_mut();
        Ok((secret, secret.latest()))
    }

    fn take_deleted(&mut self, name: &ObjectName) -> Result<Deleted, Refusal> {
        self.deleted.remove(&Key::from(name)).ok_or_else(|| Refusal::DeletedSecretNotFound(name.to_string()))
    }

    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.live.values()
    }

    pub(super) fn deleted(&self) -> impl Iterator<Item = &Deleted> {
        self.deleted.values()
    }

    /// The versions of a secret, oldest first; none where there is no such secret.
    pub(super) fn versions(&self, name: &ObjectName) -> impl Iterator<Item = (&Secret, &Version)> {
        self.live.get(&Key::from(name)).into_iter().flat_map(|secret| secret.versions.iter().map(move |version| (secret, version)))
    }
}

impl Secret {
    pub(super) fn latest(&self) -> &Version {
        &self.versions[self.versions.len() - 1]
    }

    fn find(&self, version: Option<&str>) -> Option<&Version> {
        self.index(version).map(|index| &self.versions[index])
    }

    fn index(&self, version: Option<&str>) -> Option<usize> {
        match version {
            None => self.versions.len().checked_sub(1),
            Some(id) => self.versions.iter().position(|version| version.id.eq_ignore_ascii_case(id)),
        }
    }
}

impl Version {
    fn new(value: SecretValue, properties: Properties, now: u64) -> Version {
        let blank = Version {
            id: ids::hex(),
            value,
            content_type: None,
            tags: BTreeMap::new(),
            enabled: true,
            nbf: None,
            exp: None,
            created: now,
            updated: now,
        };
        let mut version = blank;
        version.apply(properties, now);
        version
    }

    fn apply(&mut self, properties: Properties, now: u64) {
        let Properties { content_type, tags, attributes: Attributes { enabled, nbf, exp } } = properties;
        self.content_type = content_type.or(self.content_type.take());
        if let Some(tags) = tags {
            self.tags = tags;
        }
        self.enabled = enabled.unwrap_or(self.enabled);
        self.nbf = nbf.or(self.nbf);
        self.exp = exp.or(self.exp);
        self.updated = now;
    }
}

fn not_found(name: &ObjectName, version: Option<&str>) -> Refusal {
    Refusal::SecretNotFound(version.map_or_else(|| name.to_string(), |version| format!("{name}/{version}")))
}
