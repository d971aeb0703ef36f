//! `/secrets` and `/deletedsecrets`.

use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use crate::emulator::call::{self, Call};
use crate::emulator::clock;
use crate::names::{ObjectKind, ObjectName};
use crate::secret::SecretValue;

use super::caller::Caller;
use super::limits;
use super::page::Page;
use super::refusal::{Action, Refusal};
use super::store::Properties;
use super::wire::Base;

/// What a method and a path ask for.
#[derive(Debug, PartialEq, Eq)]
enum Operation {
    List,
    Versions(ObjectName),
    Set(ObjectName),
    Get(ObjectName, Option<String>),
    Update(ObjectName, Option<String>),
    Delete(ObjectName),
    ListDeleted,
    GetDeleted(ObjectName),
    Purge(ObjectName),
    Recover(ObjectName),
}

pub(super) async fn serve(caller: &Caller<'_>, mut call: Call) -> Result<Response, Refusal> {
    let operation = Operation::of(&call.method, &call.path)?;
    caller.permit(operation.action())?;
    let body = call.body().await.ok_or(Refusal::InvalidProperty(""))?;
    operation.run(caller, &call, &body)
}

impl Operation {
    fn of(method: &Method, path: &str) -> Result<Operation, Refusal> {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let not_allowed = || Refusal::MethodNotAllowed(method.clone());
        Ok(match (segments.as_slice(), method.as_str()) {
            (["secrets"], "GET") => Operation::List,
            (["secrets", "restore"], "POST") | (["secrets", _, "backup"], "POST") => return Err(Refusal::NotServed("backup and restore")),
            (["secrets", name], "PUT") => Operation::Set(checked(name)?),
            (["secrets", name], "GET") => Operation::Get(checked(name)?, None),
            (["secrets", name], "PATCH") => Operation::Update(checked(name)?, None),
            (["secrets", name], "DELETE") => Operation::Delete(checked(name)?),
            (["secrets", name, "versions"], "GET") => Operation::Versions(checked(name)?),
            (["secrets", name, version], "GET") => Operation::Get(checked(name)?, Some((*version).to_owned())),
            (["secrets", name, version], "PATCH") => Operation::Update(checked(name)?, Some((*version).to_owned())),
            (["deletedsecrets"], "GET") => Operation::ListDeleted,
            (["deletedsecrets", name], "GET") => Operation::GetDeleted(checked(name)?),
            (["deletedsecrets", name], "DELETE") => Operation::Purge(checked(name)?),
            (["deletedsecrets", name, "recover"], "POST") => Operation::Recover(checked(name)?),
            (["secrets" | "deletedsecrets"] | ["secrets" | "deletedsecrets", _] | ["secrets", _, _] | ["deletedsecrets", _, "recover"], _) => {
                return Err(not_allowed());
            }
            _ => return Err(Refusal::NoSuchPath),
        })
    }

    fn action(&self) -> Action {
        let (verb, rbac) = match self {
            Operation::List | Operation::Versions(_) | Operation::ListDeleted => ("list", "readMetadata/action"),
            Operation::Get(..) => ("get", "getSecret/action"),
            Operation::GetDeleted(_) => ("get", "readMetadata/action"),
            Operation::Set(_) => ("set", "setSecret/action"),
            Operation::Update(..) => ("set", "update/action"),
            Operation::Delete(_) => ("delete", "delete"),
            Operation::Purge(_) => ("purge", "purge/action"),
            Operation::Recover(_) => ("recover", "recover/action"),
        };
        Action { kind: ObjectKind::Secret, verb, rbac, object: self.name().map_or_else(String::new, |name| format!("/secrets/{name}")) }
    }

    fn name(&self) -> Option<&ObjectName> {
        match self {
            Operation::List | Operation::ListDeleted => None,
            Operation::Versions(name)
            | Operation::Set(name)
            | Operation::Get(name, _)
            | Operation::Update(name, _)
            | Operation::Delete(name)
            | Operation::GetDeleted(name)
            | Operation::Purge(name)
            | Operation::Recover(name) => Some(name),
        }
    }

    fn run(self, caller: &Caller<'_>, call: &Call, body: &[u8]) -> Result<Response, Refusal> {
        let (now, base) = (clock::now(), Base(call.host()));
        let mut store = caller.vault.secrets();
        Ok(match self {
            Operation::List => ok(&Page::of(call)?.cut(store.secrets().map(|secret| base.listed(secret)), call)),
            Operation::Versions(name) => ok(&Page::of(call)?.cut(store.versions(&name).map(|version| base.version(version)), call)),
            Operation::Set(name) => {
                let (value, properties) = read_set(body)?;
                ok(&base.secret(store.set(name, value, properties, now)?))
            }
            Operation::Get(name, version) => {
                let found = store.get(&name, version.as_deref())?;
                if !found.1.enabled {
                    return Err(Refusal::SecretDisabled);
                }
                ok(&base.secret(found))
            }
            Operation::Update(name, version) => ok(&base.version(store.update(&name, version.as_deref(), read_update(body)?, now)?)),
            Operation::Delete(name) => ok(&base.deleted(store.delete(&name, now)?)),
            Operation::ListDeleted => ok(&Page::of(call)?.cut(store.deleted().map(|deleted| base.listed_deleted(deleted)), call)),
            Operation::GetDeleted(name) => ok(&base.deleted(store.get_deleted(&name)?)),
            Operation::Purge(name) => {
                store.purge(&name)?;
                call::empty(StatusCode::NO_CONTENT)
            }
            Operation::Recover(name) => ok(&base.version(store.recover(&name)?)),
        })
    }
}

/// The body of a set.
#[derive(Deserialize)]
struct Set {
    value: Option<String>,
    #[serde(flatten)]
    properties: Properties,
}

fn read_set(body: &[u8]) -> Result<(SecretValue, Properties), Refusal> {
    let set: Set = serde_json::from_slice(body).map_err(|_| Refusal::InvalidProperty(""))?;
    let value = set.value.ok_or(Refusal::InvalidProperty("value"))?;
    within(value.chars().count(), "value", limits::VALUE_CHARS)?;
    Ok((SecretValue::from(value), checked_properties(set.properties)?))
}

fn read_update(body: &[u8]) -> Result<Properties, Refusal> {
    checked_properties(serde_json::from_slice(body).map_err(|_| Refusal::InvalidProperty(""))?)
}

fn checked_properties(properties: Properties) -> Result<Properties, Refusal> {
    within(properties.content_type.iter().map(|text| text.chars().count()).sum(), "contentType", limits::CONTENT_TYPE_CHARS)?;
    let tags = properties.tags.iter().flatten();
    within(tags.clone().count(), "number of tags", limits::TAGS)?;
    for (key, value) in tags {
        within(key.chars().count().max(value.chars().count()), "tag", limits::TAG_CHARS)?;
    }
    Ok(properties)
}

fn within(length: usize, what: &'static str, limit: usize) -> Result<(), Refusal> {
    if length > limit { Err(Refusal::TooLong { what, limit }) } else { Ok(()) }
}

fn checked(name: &str) -> Result<ObjectName, Refusal> {
    name.parse().map_err(|_| Refusal::InvalidName(name.to_owned()))
}

fn ok(body: &impl Serialize) -> Response {
    call::json(StatusCode::OK, body)
}
