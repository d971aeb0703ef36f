//! What can be done with objects of every kind: list, delete, recover, purge, backup, restore.

use axum::body::Bytes;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::call::{self, Call, TooLong};
use crate::clock;
use keyvault_common::names::{ObjectKind, ObjectName};

use super::caller::Caller;
use super::contents::{Companions, Contents, Kept};
use super::page::Page;
use super::properties;
use super::refusal::{Action, Refusal};
use super::store::{Deleted, Object};
use super::wire::{Base, Shown};

/// The body of a request whose caller may do what it asks for: nobody else's is looked at.
pub(super) fn permitted(caller: &Caller<'_>, call: &Call, action: Action) -> Result<Bytes, Refusal> {
    caller.permit(action)?;
    call.body().map_err(|TooLong| Refusal::BodyTooLong)
}

/// What a method and a path ask for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Common {
    List,
    Versions(ObjectName),
    Delete(ObjectName),
    Backup(ObjectName),
    Restore,
    ListDeleted,
    GetDeleted(ObjectName),
    Purge(ObjectName),
    Recover(ObjectName),
}

impl Common {
    /// `None` for what is done with this kind only. The first segment is the collection.
    pub(super) fn of(method: &Method, segments: &[&str]) -> Result<Option<Common>, Refusal> {
        let is_deleted = segments.first().is_some_and(|collection| collection.starts_with("deleted"));
        let rest = segments.get(1..).unwrap_or_default();
        Ok(Some(match (is_deleted, rest, method.as_str()) {
            (false, [], "GET") => Common::List,
            (false, ["restore"], "POST") => Common::Restore,
            (false, [name], "DELETE") => Common::Delete(checked(name)?),
            (false, [name, "versions"], "GET") => Common::Versions(checked(name)?),
            (false, [name, "backup"], "POST") => Common::Backup(checked(name)?),
            (true, [], "GET") => Common::ListDeleted,
            (true, [name], "GET") => Common::GetDeleted(checked(name)?),
            (true, [name], "DELETE") => Common::Purge(checked(name)?),
            (true, [name, "recover"], "POST") => Common::Recover(checked(name)?),
            (true, [] | [_] | [_, "recover"], _) => return Err(Refusal::MethodNotAllowed(method.clone())),
            (true, _, _) => return Err(Refusal::NoSuchPath),
            (false, _, _) => return Ok(None),
        }))
    }

    pub(super) fn action(&self, kind: ObjectKind) -> Action {
        let metadata = if kind == ObjectKind::Secret { "readMetadata/action" } else { "read" };
        let (verb, rbac, name) = match self {
            Common::List | Common::ListDeleted => ("list", metadata, None),
            Common::Versions(name) => ("list", metadata, Some(name)),
            Common::GetDeleted(name) => ("get", metadata, Some(name)),
            Common::Delete(name) => ("delete", "delete", Some(name)),
            Common::Purge(name) => ("purge", "purge/action", Some(name)),
            Common::Recover(name) => ("recover", "recover/action", Some(name)),
            Common::Backup(name) => ("backup", "backup/action", Some(name)),
            Common::Restore => ("restore", "restore/action", None),
        };
        Action::on(kind, verb, rbac, name)
    }

    pub(super) fn run<C>(self, caller: &Caller<'_>, call: &Call, body: &[u8]) -> Result<Response, Refusal>
    where
        C: Kept + Shown + Serialize + DeserializeOwned,
    {
        let (now, base) = (clock::now(), Base(call.host()));
        let mut contents = caller.vault.contents();
        let contents = &mut *contents;
        Ok(match self {
            Common::List => ok(&Page::of(call)?.cut(C::store(contents).objects().map(|object| base.listed(object)), call)),
            Common::Versions(name) => ok(&Page::of(call)?.cut(C::store(contents).versions(&name).map(|found| base.version(found)), call)),
            Common::ListDeleted => ok(&Page::of(call)?.cut(C::store(contents).deleted().map(|deleted| base.listed_deleted(deleted)), call)),
            Common::GetDeleted(name) => ok(&base.deleted(C::store(contents).get_deleted(&name)?)),
            Common::Delete(name) => ok(&base.deleted(contents.delete::<C>(&name, now)?)),
            Common::Purge(name) => {
                contents.purge::<C>(&name)?;
                call::empty(StatusCode::NO_CONTENT)
            }
            Common::Recover(name) => {
                contents.recover::<C>(&name)?;
                let found = C::store(contents).get(&name, None)?;
                if C::KIND == ObjectKind::Secret { ok(&base.version(found)) } else { ok(&base.whole(found)) }
            }
            Common::Backup(name) => {
                let object = C::store(contents).get(&name, None)?.0.clone();
                ok(&Blob { value: backup(contents, object)? })
            }
            Common::Restore => {
                let saved: Saved<C> = open(&properties::read::<Blob>(body)?.value)?;
                let name = saved.object.name.clone();
                let address = base.id(C::KIND, &name, Some(&saved.object.latest().id));
                C::store(contents).restore(saved.object, &address)?;
                contents.restore_companions(saved.companions);
                let found = C::store(contents).get(&name, None)?;
                if C::KIND == ObjectKind::Secret { ok(&base.version(found)) } else { ok(&base.whole(found)) }
            }
        })
    }
}

impl Contents {
    fn delete<C: Kept>(&mut self, name: &ObjectName, now: u64) -> Result<&Deleted<C>, Refusal> {
        let (_, version) = C::store(self).get(name, None)?;
        if version.content.is_managed() {
            return Err(Refusal::Managed(C::KIND, "delete"));
        }
        if C::KIND == ObjectKind::Certificate {
            self.pending.remove(&name.into());
            let _ = (self.keys.delete(name, now), self.secrets.delete(name, now));
        }
        C::store(self).delete(name, now)
    }

    fn purge<C: Kept>(&mut self, name: &ObjectName) -> Result<(), Refusal> {
        self.check_deleted::<C>(name, "purge")?;
        if C::KIND == ObjectKind::Certificate {
            let _ = (self.keys.purge(name), self.secrets.purge(name));
        }
        C::store(self).purge(name).map(drop)
    }

    fn recover<C: Kept>(&mut self, name: &ObjectName) -> Result<(), Refusal> {
        self.check_deleted::<C>(name, "recover")?;
        if C::KIND == ObjectKind::Certificate {
            let _ = (self.keys.recover(name).is_ok(), self.secrets.recover(name).is_ok());
        }
        C::store(self).recover(name).map(drop)
    }

    /// What belongs to a certificate comes and goes with it.
    fn check_deleted<C: Kept>(&mut self, name: &ObjectName, operation: &'static str) -> Result<(), Refusal> {
        let deleted = C::store(self).get_deleted(name)?;
        if deleted.object.latest().content.is_managed() { Err(Refusal::Managed(C::KIND, operation)) } else { Ok(()) }
    }

    fn restore_companions(&mut self, companions: Companions) {
        let Companions { key, secret } = companions;
        let _ = (key.map(|key| self.keys.restore(key, "").is_ok()), secret.map(|secret| self.secrets.restore(secret, "").is_ok()));
    }
}

/// What a backup is, and what a restore sends.
#[derive(Serialize, Deserialize)]
struct Blob {
    value: String,
}

/// The inside of a backup. Azure encrypts it; here it is plain.
#[derive(Serialize, Deserialize)]
struct Saved<C> {
    kind: String,
    object: Object<C>,
    companions: Companions,
}

fn backup<C: Kept + Serialize>(contents: &Contents, object: Object<C>) -> Result<String, Refusal> {
    let is_certificate = C::KIND == ObjectKind::Certificate;
    let (key, secret) = (contents.keys.get(&object.name, None).ok(), contents.secrets.get(&object.name, None).ok());
    let companions = Companions {
        key: key.filter(|_| is_certificate).map(|(object, _)| object.clone()),
        secret: secret.filter(|_| is_certificate).map(|(object, _)| object.clone()),
    };
    let saved = Saved { kind: C::KIND.noun().to_owned(), object, companions };
    serde_json::to_vec(&saved).map(|json| BASE64_URL_SAFE_NO_PAD.encode(json)).map_err(|_| Refusal::InvalidProperty("value"))
}

fn open<C: Kept + DeserializeOwned>(blob: &str) -> Result<Saved<C>, Refusal> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(blob.trim_end_matches('=')).map_err(|_| Refusal::InvalidProperty("value"))?;
    let saved: Option<Saved<C>> = serde_json::from_slice(&json).ok();
    saved.filter(|saved| saved.kind == C::KIND.noun() && !saved.object.versions.is_empty()).ok_or(Refusal::InvalidProperty("value"))
}

/// The parts of a path between its slashes.
pub(super) fn segments(path: &str) -> Vec<&str> {
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}

/// The refusal of a path that is nothing, or not with this method.
pub(super) fn unknown(method: &Method, segments: &[&str], longest: usize) -> Refusal {
    if segments.len() <= longest { Refusal::MethodNotAllowed(method.clone()) } else { Refusal::NoSuchPath }
}

pub(super) fn checked(name: &str) -> Result<ObjectName, Refusal> {
    name.parse().map_err(|_| Refusal::InvalidName(name.to_owned()))
}

pub(super) fn ok(body: &impl Serialize) -> Response {
    call::json(StatusCode::OK, body)
}
