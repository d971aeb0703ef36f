//! Objects as they travel in answers.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use crate::crypto::digest::Hash;
use crate::crypto::jwk::PublicJwk;
use crate::crypto::key::PrivateKey;
use keyvault_common::names::ObjectKind;

use super::contents::{Certificate, Key, Secret};
use super::limits::RECOVERABLE_DAYS;
use super::policy::Policy;
use super::store::{Content, Deleted, Found, Object};

/// Any object, with or without its version and its value.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Bundle {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x5t: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Jwk>,
    attributes: Attributes,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Policy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<Link>,
    #[serde(skip_serializing_if = "Option::is_none")]
    managed: Option<bool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(flatten)]
    deleted: Option<Deletion>,
}

#[derive(Default, Serialize)]
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
    #[serde(skip_serializing_if = "Option::is_none")]
    exportable: Option<bool>,
}

#[derive(Serialize)]
struct Jwk {
    kid: String,
    kty: &'static str,
    key_ops: Vec<String>,
    #[serde(flatten)]
    numbers: PublicJwk,
}

#[derive(Serialize)]
struct Link {
    id: String,
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
    /// `https://HOST/secrets/NAME`, with the version where one is given.
    pub(super) fn id(self, kind: ObjectKind, name: &impl std::fmt::Display, version: Option<&str>) -> String {
        let version = version.map_or_else(String::new, |version| format!("/{version}"));
        format!("https://{}/{}/{name}{version}", self.0, kind.collection())
    }

    /// With the version and everything that may be shown.
    pub(super) fn whole<C: Shown>(self, found: Found<'_, C>) -> Bundle {
        let mut bundle = self.attributes(found);
        C::show(self, found, &mut bundle);
        bundle
    }

    /// With the version, as lists of versions show it; for updated secrets too.
    pub(super) fn version<C: Shown>(self, found: Found<'_, C>) -> Bundle {
        let mut bundle = self.attributes(found);
        C::list(self, found, true, &mut bundle);
        bundle
    }

    /// The latest version as lists show it: without a version.
    pub(super) fn listed<C: Shown>(self, object: &Object<C>) -> Bundle {
        let mut bundle = self.attributes(object.found());
        C::list(self, object.found(), false, &mut bundle);
        bundle
    }

    /// Deleted, with the version.
    pub(super) fn deleted<C: Shown>(self, deleted: &Deleted<C>) -> Bundle {
        let found = deleted.object.found();
        let bundle = if C::KIND == ObjectKind::Secret { self.version(found) } else { self.whole(found) };
        Bundle { deleted: Some(self.deletion(deleted)), ..bundle }
    }

    /// Deleted, as lists show it.
    pub(super) fn listed_deleted<C: Shown>(self, deleted: &Deleted<C>) -> Bundle {
        Bundle { deleted: Some(self.deletion(deleted)), ..self.listed(&deleted.object) }
    }

    /// The policy of a certificate.
    pub(super) fn policy(self, name: &impl std::fmt::Display, policy: &Policy) -> Policy {
        policy.identified(self.id(ObjectKind::Certificate, name, Some("policy")))
    }

    fn attributes<C>(self, (_, version): Found<'_, C>) -> Bundle {
        let attributes = Attributes {
            enabled: version.enabled,
            nbf: version.nbf,
            exp: version.exp,
            created: version.created,
            updated: version.updated,
            recovery_level: "Recoverable+Purgeable",
            recoverable_days: RECOVERABLE_DAYS,
            exportable: None,
        };
        Bundle { attributes, tags: version.tags.clone(), ..Bundle::default() }
    }

    fn deletion<C: Content>(self, deleted: &Deleted<C>) -> Deletion {
        Deletion {
            recovery_id: format!("https://{}/deleted{}/{}", self.0, C::KIND.collection(), deleted.object.name),
            deleted_date: deleted.date,
            scheduled_purge_date: deleted.purge_date(),
        }
    }
}

/// How a kind of object is shown.
pub(super) trait Shown: Content + Sized {
    /// Whole, with the version.
    fn show(base: Base<'_>, found: Found<'_, Self>, bundle: &mut Bundle);

    /// In a list, with or without the version.
    fn list(base: Base<'_>, found: Found<'_, Self>, versioned: bool, bundle: &mut Bundle);
}

impl Shown for Secret {
    fn show(base: Base<'_>, (object, version): Found<'_, Secret>, bundle: &mut Bundle) {
        Secret::list(base, (object, version), true, bundle);
        bundle.value = Some(String::from_utf8_lossy(version.content.value.expose()).into_owned());
    }

    fn list(base: Base<'_>, (object, version): Found<'_, Secret>, versioned: bool, bundle: &mut Bundle) {
        bundle.content_type.clone_from(&version.content.content_type);
        bundle.id = Some(base.id(ObjectKind::Secret, &object.name, versioned.then_some(&version.id)));
        if version.content.managed {
            bundle.managed = Some(true);
            bundle.kid = versioned.then(|| base.id(ObjectKind::Key, &object.name, Some(&version.id)));
        }
    }
}

impl Shown for Key {
    fn show(base: Base<'_>, (object, version): Found<'_, Key>, bundle: &mut Bundle) {
        Key::list(base, (object, version), true, bundle);
        let content = &version.content;
        let kty = match (&content.private, content.hsm) {
            (PrivateKey::Rsa(_), false) => "RSA",
            (PrivateKey::Rsa(_), true) => "RSA-HSM",
            (PrivateKey::Ec(_), false) => "EC",
            (PrivateKey::Ec(_), true) => "EC-HSM",
        };
        let kid = bundle.kid.take().unwrap_or_default();
        bundle.key = Some(Jwk { kid, kty, key_ops: content.operations.clone(), numbers: PublicJwk::of(&content.private) });
    }

    fn list(base: Base<'_>, (object, version): Found<'_, Key>, versioned: bool, bundle: &mut Bundle) {
        bundle.kid = Some(base.id(ObjectKind::Key, &object.name, versioned.then_some(&version.id)));
        bundle.attributes.exportable = Some(version.content.exportable);
        bundle.managed = version.content.managed.then_some(true);
    }
}

impl Shown for Certificate {
    fn show(base: Base<'_>, (object, version): Found<'_, Certificate>, bundle: &mut Bundle) {
        Certificate::list(base, (object, version), true, bundle);
        let (content, id) = (&version.content, Some(version.id.as_str()));
        if let Some(leaf) = content.chain.first() {
            bundle.kid = Some(base.id(ObjectKind::Key, &object.name, id));
            bundle.sid = Some(base.id(ObjectKind::Secret, &object.name, id));
            bundle.cer = Some(BASE64_STANDARD.encode(&leaf.der));
            bundle.pending = content.created_here.then(|| Link { id: base.id(ObjectKind::Certificate, &object.name, Some("pending")) });
        }
        bundle.policy = Some(base.policy(&object.name, &content.policy));
    }

    fn list(base: Base<'_>, (object, version): Found<'_, Certificate>, versioned: bool, bundle: &mut Bundle) {
        bundle.id = Some(base.id(ObjectKind::Certificate, &object.name, versioned.then_some(&version.id)));
        bundle.x5t = version.content.chain.first().map(|leaf| leaf.thumbprint(Hash::Sha1));
    }
}
