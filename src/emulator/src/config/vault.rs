//! Vaults: who may do what in them, and what is in them at start.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use crate::vault::limits;
use keyvault_common::duration::Span;
use keyvault_common::names::{Guid, NameError, ObjectKind, ObjectName, VaultName};
use keyvault_common::secret::SecretValue;
use keyvault_common::yaml::{Kind, Node};
use keyvault_common::yaml_fields::{nearest, parse_node};

use super::objects::{CertificateSeed, KeySeed};
use super::reader::{LowerGuid, Map, Reader};

/// One vault.
#[derive(Debug)]
pub(crate) struct Vault {
    pub(crate) name: VaultName,
    /// Whose tokens it takes; `None`: the first tenant's.
    pub(crate) tenant: Option<Guid>,
    pub(crate) refusal: RefusalWords,
    pub(crate) throttle: Option<ThrottleLimit>,
    pub(crate) grants: Vec<Grant>,
    /// For how long a self-signed certificate is in progress.
    pub(crate) pending_for: Duration,
    pub(crate) secrets: Vec<SecretSeed>,
    pub(crate) certificates: Vec<CertificateSeed>,
    pub(crate) keys: Vec<KeySeed>,
}

/// In which of Key Vault's three ways a forbidden request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalWords {
    /// No role assignment.
    Rbac,
    /// In an access policy, but without this permission.
    Policy,
    /// In no access policy.
    Denied,
}

/// So many calls in each window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThrottleLimit {
    pub(crate) calls: u32,
    pub(crate) window: Duration,
}

/// What one identity may do in the vault.
#[derive(Debug)]
pub(crate) struct Grant {
    /// A client id.
    pub(crate) identity: Guid,
    pub(crate) allow: Vec<Permission>,
}

/// `*`, `secrets/*` or `secrets/get`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    All,
    Kind(ObjectKind),
    One(ObjectKind, &'static str),
}

/// A secret that is there from the start.
#[derive(Debug)]
pub(crate) struct SecretSeed {
    pub(crate) name: ObjectName,
    pub(crate) value: SecretValue,
    pub(crate) enabled: bool,
    pub(crate) content_type: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
}

impl Reader<'_> {
    pub(super) fn vault(&mut self, map: &mut Map<'_>) -> Option<Vault> {
        let name = self.parsed(map, "name");
        let tenant = map.fields.parse::<LowerGuid>("tenant", &mut self.problems).map(|LowerGuid(guid)| guid);
        let refusal = map.fields.parse("refusal", &mut self.problems).unwrap_or(RefusalWords::Rbac);
        let throttle = map.fields.take("throttle").and_then(|node| self.map(node, &map.fields.path("throttle"), Reader::throttle));
        let grants = self.each(map, "permissions", Reader::grant);
        let secrets: Vec<SecretSeed> = self.each(map, "secrets", Reader::secret);
        let certificates: Vec<CertificateSeed> = self.each(map, "certificates", Reader::certificate);
        let keys: Vec<KeySeed> = self.each(map, "keys", Reader::key);
        // A certificate is also a key and a secret of its name.
        let of_certificates = || certificates.iter().map(|seed| seed.name.as_str());
        self.distinct(map, "secrets", secrets.iter().map(|seed| seed.name.as_str()).chain(of_certificates()));
        self.distinct(map, "keys", keys.iter().map(|seed| seed.name.as_str()).chain(of_certificates()));
        let pending_for = map.fields.parse::<Span>("pendingFor", &mut self.problems).map(Span::get).unwrap_or_default();
        Some(Vault { name: name?, tenant, refusal, throttle, pending_for, grants, secrets, certificates, keys })
    }

    fn throttle(&mut self, map: &mut Map<'_>) -> Option<ThrottleLimit> {
        let (calls, window) = (self.parsed(map, "calls"), self.parsed::<Span>(map, "window"));
        Some(ThrottleLimit { calls: calls?, window: window?.get() })
    }

    fn grant(&mut self, map: &mut Map<'_>) -> Option<Grant> {
        let identity = self.guid(map, "identity");
        let allow = map.fields.parse_list("allow", &mut self.problems);
        if allow.is_none() {
            self.problems.add(map.node, &map.path, "allow is missing: a list such as [secrets/get, secrets/list], or [\"*\"]");
        }
        Some(Grant { identity: identity?, allow: allow? })
    }

    fn secret(&mut self, map: &mut Map<'_>) -> Option<SecretSeed> {
        let name = self.parsed(map, "name");
        let value = self.secret_value(map);
        let enabled = map.fields.bool("enabled", &mut self.problems).unwrap_or(true);
        let content_type = map.fields.parse("contentType", &mut self.problems);
        let tags = self.tags(map);
        Some(SecretSeed { name: name?, value: value?, enabled, content_type, tags })
    }

    fn secret_value(&mut self, map: &mut Map<'_>) -> Option<SecretValue> {
        let (value, file) = (map.fields.take("value"), map.fields.take("valueFile"));
        let (node, key) = match (value, file) {
            (Some(node), None) => (node, "value"),
            (None, Some(node)) => (node, "valueFile"),
            (Some(_), Some(_)) | (None, None) => {
                self.problems.add(map.node, &map.path, "value or valueFile is needed, one of them");
                return None;
            }
        };
        let path = map.fields.path(key);
        let bytes = if key == "value" { parse_node::<String>(node, &path, &mut self.problems)?.into_bytes() } else { self.file(node, &path)? };
        match std::str::from_utf8(&bytes).map(|text| text.chars().count()) {
            Ok(length) if length <= limits::VALUE_CHARS => return Some(SecretValue::new(bytes)),
            Ok(_) => self.problems.add(node, &path, format!("longer than Key Vault takes: {} characters", limits::VALUE_CHARS)),
            Err(_) => self.problems.add(node, &path, "not UTF-8: a secret's value is text"),
        }
        None
    }

    pub(super) fn tags(&mut self, map: &mut Map<'_>) -> BTreeMap<String, String> {
        let (node, path) = (map.fields.take("tags"), map.fields.path("tags"));
        match node.map(|node| (node, &node.kind)) {
            None => BTreeMap::new(),
            Some((_, Kind::Map(entries))) => {
                let text = |(key, value): &(Node, Node)| Some((key.to_string(), parse_node(value, &format!("{path}.{key}"), &mut self.problems)?));
                entries.iter().filter_map(text).collect()
            }
            Some((node, Kind::Scalar { .. } | Kind::List(_))) => {
                self.problems.add(node, &path, format!("a map is expected here, not {}", node.describe()));
                BTreeMap::new()
            }
        }
    }
}

impl FromStr for RefusalWords {
    type Err = NameError;

    fn from_str(text: &str) -> Result<RefusalWords, NameError> {
        match text {
            "rbac" => Ok(RefusalWords::Rbac),
            "policy" => Ok(RefusalWords::Policy),
            "denied" => Ok(RefusalWords::Denied),
            _ => Err(NameError::new("a way to refuse", text, "rbac, policy or denied")),
        }
    }
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

/// Why a text is no permission.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PermissionError {
    #[error("{0:?} is not a permission: write *, secrets/*, secrets/get, certificates/get, keys/get …")]
    Form(String),
    #[error("{verb:?} is nothing that one can do with {collection}{hint}")]
    Verb { verb: String, collection: &'static str, hint: String },
}

impl FromStr for Permission {
    type Err = PermissionError;

    fn from_str(text: &str) -> Result<Permission, PermissionError> {
        if text == "*" {
            return Ok(Permission::All);
        }
        let form = || PermissionError::Form(text.to_owned());
        let (collection, verb) = text.split_once('/').ok_or_else(form)?;
        let kind = KINDS.into_iter().find(|kind| kind.collection() == collection).ok_or_else(form)?;
        match verbs(kind).iter().find(|known| **known == verb) {
            Some(known) => Ok(Permission::One(kind, known)),
            None if verb == "*" => Ok(Permission::Kind(kind)),
            None => {
                let hint = nearest(verb, verbs(kind)).map_or_else(String::new, |near| format!("; did you mean {near}?"));
                Err(PermissionError::Verb { verb: verb.to_owned(), collection: kind.collection(), hint })
            }
        }
    }
}
