//! Rotation: by hand it makes a new version; the policy is kept, and nothing acts on it.

use axum::response::Response;
use serde_json::{Value, json};

use crate::clock;
use crate::vault::caller::Caller;
use crate::vault::common::ok;
use crate::vault::contents::Key;
use crate::vault::properties::{self, Properties};
use crate::vault::refusal::Refusal;
use crate::vault::wire::Base;
use keyvault_common::names::{ObjectKind, ObjectName};

pub(super) async fn rotate(caller: &Caller<'_>, base: Base<'_>, name: ObjectName) -> Result<Response, Refusal> {
    let (old, tags) = {
        let contents = caller.vault.contents();
        let (_, version) = contents.keys.get(&name, None)?;
        (version.content.clone(), version.tags.clone())
    };
    let private = super::generate(old.private.kind(), old.private.exponent()).await?;
    super::add(caller, base, &name, Key { private, ..old }, Properties { tags: Some(tags), attributes: None })
}

pub(super) fn get(caller: &Caller<'_>, base: Base<'_>, name: &ObjectName) -> Result<Response, Refusal> {
    let contents = caller.vault.contents();
    let (object, _) = contents.keys.get(name, None)?;
    let kept = contents.rotation_policies.get(&name.into()).cloned();
    let usual = || json!({"lifetimeActions": [{"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}], "attributes": {}});
    Ok(ok(&with_id(kept.unwrap_or_else(usual), base, &object.name)))
}

pub(super) fn set(caller: &Caller<'_>, base: Base<'_>, name: &ObjectName, body: &[u8]) -> Result<Response, Refusal> {
    let mut policy: Value = properties::read(body)?;
    let mut contents = caller.vault.contents();
    let object = contents.keys.get(name, None)?.0.name.clone();
    let now = clock::now();
    let created = contents.rotation_policies.get(&name.into()).map_or(json!(now), |old| old["attributes"]["created"].clone());
    let attributes = policy.as_object_mut().ok_or(Refusal::InvalidProperty(""))?.entry("attributes").or_insert_with(|| json!({}));
    let attributes = attributes.as_object_mut().ok_or(Refusal::InvalidProperty("attributes"))?;
    attributes.insert("created".to_owned(), created);
    attributes.insert("updated".to_owned(), json!(now));
    contents.rotation_policies.insert(name.into(), policy.clone());
    Ok(ok(&with_id(policy, base, &object)))
}

fn with_id(mut policy: Value, base: Base<'_>, name: &ObjectName) -> Value {
    policy["id"] = json!(base.id(ObjectKind::Key, name, Some("rotationpolicy")));
    policy
}
