//! The objects of one kind of one vault, in memory: versions, soft delete, no HTTP.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use keyvault_common::names::{ObjectKind, ObjectName};

use super::limits::RECOVERABLE_DAYS;
use super::properties::Properties;
use super::refusal::Refusal;

/// What one version of an object holds.
pub(super) trait Content {
    const KIND: ObjectKind;

    /// Whether the version can stand for the whole object. A certificate that nobody has signed yet cannot, where there is another one.
    fn is_ready(&self) -> bool {
        true
    }
}

/// One version of an object.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Version<C> {
    /// 32 hexadecimal digits.
    pub(super) id: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) enabled: bool,
    pub(super) nbf: Option<i64>,
    pub(super) exp: Option<i64>,
    pub(super) created: u64,
    pub(super) updated: u64,
    pub(super) content: C,
}

/// An object: its versions, oldest first, never none.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Object<C> {
    /// As it was first written.
    pub(super) name: ObjectName,
    pub(super) versions: Vec<Version<C>>,
}

/// An object and the version of it that is meant.
pub(super) type Found<'s, C> = (&'s Object<C>, &'s Version<C>);

/// An object that can still be recovered.
pub(super) struct Deleted<C> {
    pub(super) object: Object<C>,
    pub(super) date: u64,
}

impl<C> Deleted<C> {
    pub(super) fn purge_date(&self) -> u64 {
        self.date + RECOVERABLE_DAYS * 24 * 3600
    }
}

/// Names are compared without regard to case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(String);

impl From<&ObjectName> for Key {
    fn from(name: &ObjectName) -> Key {
        Key(name.as_str().to_ascii_lowercase())
    }
}

/// All objects of a kind, in the order of their names.
pub(super) struct Store<C> {
    live: BTreeMap<Key, Object<C>>,
    deleted: BTreeMap<Key, Deleted<C>>,
}

impl<C> Default for Store<C> {
    fn default() -> Store<C> {
        Store { live: BTreeMap::new(), deleted: BTreeMap::new() }
    }
}

impl<C: Content> Store<C> {
    /// Refuses a name that a deleted object holds.
    pub(super) fn free(&self, name: &ObjectName) -> Result<(), Refusal> {
        let taken = self.deleted.contains_key(&Key::from(name));
        if taken { Err(Refusal::DeletedButRecoverable(C::KIND, name.to_string())) } else { Ok(()) }
    }

    /// Adds a version, and the object if it is new.
    pub(super) fn add(&mut self, name: &ObjectName, version: Version<C>) -> Result<Found<'_, C>, Refusal> {
        self.free(name)?;
        let object = self.live.entry(Key::from(name)).or_insert_with(|| Object { name: name.clone(), versions: Vec::new() });
        object.versions.push(version);
        Ok((object, &object.versions[object.versions.len() - 1]))
    }

    /// The version asked for, or the latest.
    pub(super) fn get(&self, name: &ObjectName, version: Option<&str>) -> Result<Found<'_, C>, Refusal> {
        let object = self.live.get(&Key::from(name)).ok_or_else(|| not_found::<C>(name, version))?;
        let index = object.index(version).ok_or_else(|| not_found::<C>(name, version))?;
        Ok((object, &object.versions[index]))
    }

    /// Changes the version asked for, or the latest.
    pub(super) fn update(&mut self, name: &ObjectName, version: Option<&str>, change: impl FnOnce(&mut Version<C>)) -> Result<Found<'_, C>, Refusal> {
        let object = self.live.get_mut(&Key::from(name)).ok_or_else(|| not_found::<C>(name, version))?;
        let index = object.index(version).ok_or_else(|| not_found::<C>(name, version))?;
        change(&mut object.versions[index]);
        Ok((object, &object.versions[index]))
    }

    pub(super) fn delete(&mut self, name: &ObjectName, now: u64) -> Result<&Deleted<C>, Refusal> {
        let key = Key::from(name);
        let object = self.live.remove(&key).ok_or_else(|| not_found::<C>(name, None))?;
        Ok(self.deleted.entry(key).insert_entry(Deleted { object, date: now }).into_mut())
    }

    pub(super) fn get_deleted(&self, name: &ObjectName) -> Result<&Deleted<C>, Refusal> {
        self.deleted.get(&Key::from(name)).ok_or_else(|| Refusal::DeletedNotFound(C::KIND, name.to_string()))
    }

    /// Forgets a deleted object for good.
    pub(super) fn purge(&mut self, name: &ObjectName) -> Result<Object<C>, Refusal> {
        let deleted = self.deleted.remove(&Key::from(name)).ok_or_else(|| Refusal::DeletedNotFound(C::KIND, name.to_string()))?;
        Ok(deleted.object)
    }

    pub(super) fn recover(&mut self, name: &ObjectName) -> Result<Found<'_, C>, Refusal> {
        let object = self.purge(name)?;
        Ok(self.live.entry(Key::from(name)).insert_entry(object).into_mut().found())
    }

    /// Puts a saved object back, which must be new here; `address` is what a refusal calls it.
    pub(super) fn restore(&mut self, object: Object<C>, address: &str) -> Result<Found<'_, C>, Refusal> {
        let key = Key::from(&object.name);
        if self.live.contains_key(&key) || self.deleted.contains_key(&key) {
            return Err(Refusal::RestoreConflict(C::KIND, address.to_owned()));
        }
        Ok(self.live.entry(key).insert_entry(object).into_mut().found())
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = &Object<C>> {
        self.live.values()
    }

    pub(super) fn deleted(&self) -> impl Iterator<Item = &Deleted<C>> {
        self.deleted.values()
    }

    /// The versions of an object, oldest first; none where there is no such object.
    pub(super) fn versions(&self, name: &ObjectName) -> impl Iterator<Item = Found<'_, C>> {
        self.live.get(&Key::from(name)).into_iter().flat_map(|object| object.versions.iter().map(move |version| (object, version)))
    }
}

impl<C: Content> Object<C> {
    pub(super) fn latest(&self) -> &Version<C> {
        &self.versions[self.latest_index()]
    }

    /// With its latest version.
    pub(super) fn found(&self) -> Found<'_, C> {
        (self, self.latest())
    }

    fn latest_index(&self) -> usize {
        self.versions.iter().rposition(|version| version.content.is_ready()).unwrap_or(self.versions.len() - 1)
    }

    fn index(&self, version: Option<&str>) -> Option<usize> {
        match version {
            None => Some(self.latest_index()),
            Some(id) => self.versions.iter().position(|version| version.id.eq_ignore_ascii_case(id)),
        }
    }
}

impl<C> Version<C> {
    pub(super) fn new(id: String, content: C, properties: Properties, now: u64) -> Version<C> {
        let blank = Version { id, tags: BTreeMap::new(), enabled: true, nbf: None, exp: None, created: now, updated: now, content };
        let mut version = blank;
        version.apply(properties, now);
        version
    }

    /// Changes what `properties` names.
    pub(super) fn apply(&mut self, properties: Properties, now: u64) {
        if let Some(tags) = properties.tags {
            self.tags = tags;
        }
        let attributes = properties.attributes.unwrap_or_default();
        self.enabled = attributes.enabled.unwrap_or(self.enabled);
        self.nbf = attributes.nbf.or(self.nbf);
        self.exp = attributes.exp.or(self.exp);
        self.updated = now;
    }
}

fn not_found<C: Content>(name: &ObjectName, version: Option<&str>) -> Refusal {
    Refusal::NotFound(C::KIND, version.map_or_else(|| name.to_string(), |version| format!("{name}/{version}")))
}
