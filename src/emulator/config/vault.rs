//! Vaults: who may do what in them, and what is in them at start.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::duration::Span;
use crate::emulator::vault::limits;
use crate::names::{Guid, ObjectKind, ObjectName, VaultName};
use crate::secret::SecretValue;
use crate::yaml_fields::{Field, FieldError, Fields, nearest};

use super::identity::guid;
use super::{Reader, Tenant, distinct};

/// One vault.
#[derive(Debug)]
pub(in crate::emulator) struct Vault {
    pub(in crate::emulator) name: VaultName,
    /// Whose tokens it takes.
    pub(in crate::emulator) tenant: Guid,
    pub(in crate::emulator) refusal: RefusalWords,
    pub(in crate::emulator) throttle: Option<ThrottleLimit>,
    pub(in crate::emulator) grants: Vec<Grant>,
    pub(in crate::emulator) secrets: Vec<SecretSeed>,
}

/// In which of Key Vault's three ways a forbidden request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emulator) enum RefusalWords {
    /// No role assignment.
    Rbac,
    /// In an access policy, but without this permission.
    Policy,
    /// In no access policy.
    Denied,
}

/// So many calls in each window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emulator) struct ThrottleLimit {
    pub(in crate::emulator) calls: u32,
    pub(in crate::emulator) window: Duration,
}

/// What one identity may do in the vault.
#[derive(Debug)]
pub(in crate::emulator) struct Grant {
    /// A client id.
    pub(in crate::emulator) identity: Guid,
    pub(in crate::emulator) allow: Vec<Permission>,
}

/// `*`, `secrets/*` or `secrets/get`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emulator) enum Permission {
    All,
    Kind(ObjectKind),
    One(ObjectKind, &'static str),
}

/// A secret that is there from the start.
#[derive(Debug)]
pub(in crate::emulator) struct SecretSeed {
    pub(in crate::emulator) name: ObjectName,
    pub(in crate::emulator) value: SecretValue,
    pub(in crate::emulator) enabled: bool,
    pub(in crate::emulator) content_type: Option<String>,
    pub(in crate::emulator) tags: BTreeMap<String, String>,
}

impl Reader<'_> {
    pub(super) fn vaults(&mut self, list: &Field<'_>, tenants: &[Tenant]) -> Result<Vec<Vault>, FieldError> {
        let mut seen = Vec::new();
        let read = |item: Field<'_>| {
            let vault = item.map(|fields| self.vault(fields, tenants))?;
            distinct(&mut seen, vault.name.as_str(), &item)?;
            Ok(vault)
        };
        let vaults: Vec<Vault> = list.list()?.into_iter().map(read).collect::<Result<_, _>>()?;
        if vaults.is_empty() { Err(list.error("at least one is needed")) } else { Ok(vaults) }
    }

    fn vault(&mut self, fields: &mut Fields<'_>, tenants: &[Tenant]) -> Result<Vault, FieldError> {
        let vault = Vault {
            name: fields.required("name")?.parse()?,
            tenant: fields.take("tenant").map_or(Ok(tenants[0].id.clone()), |field| known_tenant(&field, tenants))?,
            refusal: fields.take("refusal").map_or(Ok(RefusalWords::Rbac), |field| refusal(&field))?,
            throttle: fields.take("throttle").map(|field| field.map(throttle)).transpose()?,
            grants: self.items(fields.take("permissions"), Self::grant)?,
            secrets: self.secrets(fields.take("secrets"))?,
        };
        self.not_served(fields, "certificates");
        self.not_served(fields, "keys");
        Ok(vault)
    }

    fn grant(&mut self, fields: &mut Fields<'_>) -> Result<Grant, FieldError> {
        let identity = guid(&fields.required("identity")?)?;
        let allow = fields.required("allow")?.list()?.iter().map(permission).collect::<Result<_, _>>()?;
        Ok(Grant { identity, allow })
    }

    fn secrets(&mut self, list: Option<Field<'_>>) -> Result<Vec<SecretSeed>, FieldError> {
        let Some(list) = list else { return Ok(Vec::new()) };
        let mut seen = Vec::new();
        let read = |item: Field<'_>| {
            let seed = item.map(|fields| self.secret(fields))?;
            distinct(&mut seen, seed.name.as_str(), &item)?;
            Ok(seed)
        };
        list.list()?.into_iter().map(read).collect()
    }

    fn secret(&mut self, fields: &mut Fields<'_>) -> Result<SecretSeed, FieldError> {
        Ok(SecretSeed {
            name: fields.required("name")?.parse()?,
            value: self.secret_value(fields)?,
            enabled: fields.take("enabled").map_or(Ok(true), |field| field.bool())?,
            content_type: fields.take("contentType").map(|field| field.text().map(str::to_owned)).transpose()?,
            tags: fields.take("tags").map_or(Ok(BTreeMap::new()), |field| tags(&field))?,
        })
    }

    fn secret_value(&mut self, fields: &mut Fields<'_>) -> Result<SecretValue, FieldError> {
        let (field, bytes) = match (fields.take("value"), fields.take("valueFile")) {
            (Some(_), Some(second)) => return Err(second.error("value stands beside it: keep one")),
            (None, Some(file)) => (file.clone(), self.file(&file)?),
            (Some(value), None) => (value.clone(), value.text()?.as_bytes().to_vec()),
            (None, None) => {
                let missing = fields.required("value")?;
                return Err(missing.error("value is missing"));
            }
        };
        match std::str::from_utf8(&bytes) {
            Err(_) => Err(field.error("not UTF-8: a secret's value is text")),
            Ok(text) if text.chars().count() > limits::VALUE_CHARS => {
                Err(field.error(format_args!("longer than Key Vault takes: {} characters", limits::VALUE_CHARS)))
            }
            Ok(_) => Ok(SecretValue::new(bytes)),
        }
    }
}

fn known_tenant(field: &Field<'_>, tenants: &[Tenant]) -> Result<Guid, FieldError> {
    let id = guid(field)?;
    if tenants.iter().any(|tenant| tenant.id == id) { Ok(id) } else { Err(field.error("no tenant of this file has that id")) }
}

fn refusal(field: &Field<'_>) -> Result<RefusalWords, FieldError> {
    match field.text()? {
        "rbac" => Ok(RefusalWords::Rbac),
        "policy" => Ok(RefusalWords::Policy),
        "denied" => Ok(RefusalWords::Denied),
        other => Err(field.error(format_args!("{other:?} is not rbac, policy or denied"))),
    }
}

fn throttle(fields: &mut Fields<'_>) -> Result<ThrottleLimit, FieldError> {
    let window = fields.required("window")?;
    match window.parse::<Span>()?.get() {
        Duration::ZERO => Err(window.error("a window has a length")),
        length => Ok(ThrottleLimit { calls: fields.required("calls")?.parse()?, window: length }),
    }
}

fn tags(field: &Field<'_>) -> Result<BTreeMap<String, String>, FieldError> {
    field.entries()?.into_iter().map(|(key, value)| Ok((key.to_owned(), value.text()?.to_owned()))).collect()
}

const KINDS: [ObjectKind; 3] = [ObjectKind::Secret, ObjectKind::Certificate, ObjectKind::Key];

/// The words of Key Vault's access policies.
fn verbs(kind: ObjectKind) -> &'static [&'static str] {
    match kind {
        ObjectKind::Secret => &["get", "list", "set", "delete", "backup", "restore", "recover", "purge"],
        ObjectKind::Certificate => &[
            "get",
            "list",
            "create",
            "update",
            "import",
            "delete",
            "backup",
            "restore",
            "recover",
            "purge",
            "managecontacts",
            "getissuers",
            "listissuers",
            "setissuers",
            "deleteissuers",
            "manageissuers",
        ],
        ObjectKind::Key => &[
            "get",
            "list",
            "create",
            "update",
            "import",
            "delete",
            "backup",
            "restore",
            "recover",
            "purge",
            "encrypt",
            "decrypt",
            "wrapKey",
            "unwrapKey",
            "sign",
            "verify",
            "release",
            "rotate",
            "getrotationpolicy",
            "setrotationpolicy",
        ],
    }
}

fn permission(field: &Field<'_>) -> Result<Permission, FieldError> {
    let text = field.text()?;
    if text == "*" {
        return Ok(Permission::All);
    }
    let (collection, verb) = text.split_once('/').unwrap_or((text, ""));
    let Some(kind) = KINDS.into_iter().find(|kind| kind.collection() == collection) else {
        return Err(field.error(format_args!("{text:?} is not a permission: write *, secrets/*, secrets/get, certificates/get, keys/get …")));
    };
    if verb == "*" {
        return Ok(Permission::Kind(kind));
    }
    match verbs(kind).iter().find(|known| **known == verb) {
        Some(known) => Ok(Permission::One(kind, known)),
        None => {
            let hint = nearest(verb, verbs(kind)).map_or_else(|| verbs(kind).join(", "), |known| format!("did you mean {known}?"));
            Err(field.error(format_args!("{verb:?} is nothing that one can do with {collection}; {hint}")))
        }
    }
}
