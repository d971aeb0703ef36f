//! A fault as it is asked for: read field by field, so that what is wrong is said in our own words.

use serde_json::{Map, Value};

use keyvault_common::yaml_fields::nearest;

use super::Plane;

/// A fault as it is asked for.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) plane: Option<Plane>,
    pub(super) kind: WishKind,
    pub(super) pattern: Option<String>,
    pub(super) count: Option<u32>,
    pub(super) retry_after: Option<u64>,
    pub(super) status: Option<u16>,
    pub(super) delay_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WishKind {
    Throttle,
    Unavailable,
    Rbac,
    Policy,
    Denied,
    Firewall,
    Connection,
    Status,
    Delay,
    Clear,
    Truncate,
    Garbage,
    Reset,
}

/// Why a fault cannot be scripted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WishError {
    #[error("not JSON: {0}")]
    Json(String),
    #[error(r#"a fault is a JSON object such as {{"plane":"vault","kind":"throttle"}}"#)]
    NotAnObject,
    #[error("{field} {written:?} is not {known}{hint}")]
    Word { field: &'static str, written: String, known: String, hint: String },
    #[error("{0}")]
    UnknownField(String),
    #[error("{field} is {expected}, not {written}")]
    Type { field: &'static str, expected: &'static str, written: Value },
    #[error("{field} is at most {limit}")]
    TooLarge { field: &'static str, limit: u64 },
    #[error("kind is missing: {0}")]
    NoKind(String),
    #[error("plane is missing: vault, entra or imds")]
    NoPlane,
    #[error("this kind needs {0}")]
    Missing(&'static str),
    #[error("{0} means nothing for this kind")]
    Superfluous(&'static str),
    #[error("only the vault plane refuses in this way")]
    VaultOnly,
    #[error("status is a number from 200 to 599")]
    Status,
    #[error("count is at least 1; without it the fault stays until it is cleared")]
    Count,
    #[error("match is not a regular expression: {0}")]
    Pattern(String),
}

const FIELDS: [&str; 7] = ["plane", "kind", "match", "count", "retry_after", "status", "delay_ms"];

const PLANES: [(&str, Plane); 3] = [("vault", Plane::Vault), ("entra", Plane::Entra), ("imds", Plane::Imds)];

const KINDS: [(&str, WishKind); 13] = [
    ("throttle", WishKind::Throttle),
    ("unavailable", WishKind::Unavailable),
    ("rbac", WishKind::Rbac),
    ("policy", WishKind::Policy),
    ("denied", WishKind::Denied),
    ("firewall", WishKind::Firewall),
    ("connection", WishKind::Connection),
    ("status", WishKind::Status),
    ("delay", WishKind::Delay),
    ("clear", WishKind::Clear),
    ("truncate", WishKind::Truncate),
    ("garbage", WishKind::Garbage),
    ("reset", WishKind::Reset),
];

impl Wish {
    pub(super) fn read(json: &[u8]) -> Result<Wish, WishError> {
        let fields: Value = serde_json::from_slice(json).map_err(|error| WishError::Json(error.to_string()))?;
        let Value::Object(mut fields) = fields else { return Err(WishError::NotAnObject) };
        let wish = Wish {
            plane: word(&mut fields, "plane", &PLANES)?,
            kind: word(&mut fields, "kind", &KINDS)?.ok_or_else(|| WishError::NoKind(listed(&KINDS.map(|(word, _)| word))))?,
            pattern: text(&mut fields, "match")?,
            count: number(&mut fields, "count", u32::MAX.into())?,
            retry_after: number(&mut fields, "retry_after", u64::MAX)?,
            status: number(&mut fields, "status", u16::MAX.into())?,
            delay_ms: number(&mut fields, "delay_ms", u64::MAX)?,
        };
        match fields.keys().next() {
            None => Ok(wish),
            Some(unknown) => Err(WishError::UnknownField(match nearest(unknown, &FIELDS) {
                Some(near) => format!("{unknown} is not a field of a fault; did you mean {near}?"),
                None => format!("{unknown} is not a field of a fault: {}", listed(&FIELDS)),
            })),
        }
    }
}

fn text(fields: &mut Map<String, Value>, field: &'static str) -> Result<Option<String>, WishError> {
    match fields.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(written) => Err(WishError::Type { field, expected: "text", written }),
    }
}

fn number<N: TryFrom<u64>>(fields: &mut Map<String, Value>, field: &'static str, limit: u64) -> Result<Option<N>, WishError> {
    match fields.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(written) => match written.as_u64() {
            Some(number) => number.try_into().map(Some).map_err(|_| WishError::TooLarge { field, limit }),
            None => Err(WishError::Type { field, expected: "a whole number", written }),
        },
    }
}

fn word<T: Copy>(fields: &mut Map<String, Value>, field: &'static str, table: &[(&'static str, T)]) -> Result<Option<T>, WishError> {
    let Some(written) = text(fields, field)? else { return Ok(None) };
    if let Some((_, value)) = table.iter().find(|(word, _)| *word == written) {
        return Ok(Some(*value));
    }
    let words: Vec<&str> = table.iter().map(|(word, _)| *word).collect();
    let hint = nearest(&written, &words).map_or_else(String::new, |near| format!("; did you mean {near}?"));
    Err(WishError::Word { field, written, known: listed(&words), hint })
}

/// `a, b or c`.
fn listed(words: &[&str]) -> String {
    let Some((last, rest @ [_, ..])) = words.split_last() else { return words.concat() };
    format!("{} or {last}", rest.join(", "))
}
