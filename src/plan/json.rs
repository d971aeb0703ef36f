//! How fetches and value expressions look in JSON: one field says which kind they are.

use serde::{Deserialize, Serialize};

use super::{Encoding, Fetch, Object, Value, is_default};
use crate::names::ObjectKind;
use crate::property::PropertyPath;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FetchJson {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<Object>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<Object>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Object>,
}

impl From<Fetch> for FetchJson {
    fn from(fetch: Fetch) -> FetchJson {
        let mut json = FetchJson { id: fetch.id, secret: None, certificate: None, key: None };
        match fetch.kind {
            ObjectKind::Secret => json.secret = Some(fetch.object),
            ObjectKind::Certificate => json.certificate = Some(fetch.object),
            ObjectKind::Key => json.key = Some(fetch.object),
        }
        json
    }
}

impl TryFrom<FetchJson> for Fetch {
    type Error = &'static str;

    fn try_from(json: FetchJson) -> Result<Fetch, Self::Error> {
        let (kind, object) = match (json.secret, json.certificate, json.key) {
            (Some(object), None, None) => (ObjectKind::Secret, object),
            (None, Some(object), None) => (ObjectKind::Certificate, object),
            (None, None, Some(object)) => (ObjectKind::Key, object),
            _ => return Err("a fetch is exactly one of secret, certificate, key"),
        };
        Ok(Fetch { id: json.id, kind, object })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ValueJson {
    object: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    property: Option<PropertyPath>,
    #[serde(default, skip_serializing_if = "is_default")]
    encoding: Encoding,
}

impl From<Value> for ValueJson {
    fn from(value: Value) -> ValueJson {
        match value {
            Value::Object { id, property, encoding } => ValueJson { object: id, property, encoding },
        }
    }
}

impl From<ValueJson> for Value {
    fn from(json: ValueJson) -> Value {
        Value::Object { id: json.object, property: json.property, encoding: json.encoding }
    }
}
