//! How fetches and value expressions look in JSON: one field says which kind they are.

use serde::{Deserialize, Serialize};

use super::{CertificatePart, Encoding, Fetch, KeyFormat, Object, PlanTemplate, Value, Variable, is_default};
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

/// Each kind of expression has a field that names what it is over, and its own fields.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ValueJson {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    property: Option<PropertyPath>,
    #[serde(default, skip_serializing_if = "is_default")]
    encoding: Encoding,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    part: Option<CertificatePart>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    format: KeyFormat,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    template: Option<PlanTemplate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    environment: Option<Vec<Variable>>,
}

impl From<Value> for ValueJson {
    fn from(value: Value) -> ValueJson {
        let json = ValueJson::default();
        match value {
            Value::Object { id, property, encoding } => ValueJson { object: Some(id), property, encoding, ..json },
            Value::Certificate { id, part, password } => ValueJson { certificate: Some(id), part: Some(part), password, ..json },
            Value::Key { id, format } => ValueJson { key: Some(id), format, ..json },
            Value::Template(template) => ValueJson { template: Some(template), ..json },
            Value::Environment(variables) => ValueJson { environment: Some(variables), ..json },
        }
    }
}

impl TryFrom<ValueJson> for Value {
    type Error = &'static str;

    fn try_from(json: ValueJson) -> Result<Value, Self::Error> {
        let of_secret = json.property.is_some() || json.encoding != Encoding::default();
        let of_certificate = json.part.is_some() || json.password.is_some();
        let of_key = json.format != KeyFormat::default();
        match (json.object, json.certificate, json.key, json.template, json.environment) {
            (Some(id), None, None, None, None) if !of_certificate && !of_key => {
                Ok(Value::Object { id, property: json.property, encoding: json.encoding })
            }
            (None, Some(id), None, None, None) if !of_secret && !of_key => {
                let part = json.part.ok_or("a value of a certificate needs part")?;
                if json.password.is_some() && part != CertificatePart::Pfx {
                    return Err("only the part pfx has a password");
                }
                Ok(Value::Certificate { id, part, password: json.password })
            }
            (None, None, Some(id), None, None) if !of_secret && !of_certificate => Ok(Value::Key { id, format: json.format }),
            (None, None, None, Some(template), None) if !of_secret && !of_certificate && !of_key => Ok(Value::Template(template)),
            (None, None, None, None, Some(variables)) if !of_secret && !of_certificate && !of_key => Ok(Value::Environment(variables)),
            _ => Err("a value is exactly one of object, certificate, key, template, environment, with fields of that kind only"),
        }
    }
}
