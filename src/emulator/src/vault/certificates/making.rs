//! Certificates that are made here: create, poll, cancel, merge.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use crate::call::{self, Call};
use crate::clock;
use crate::crypto::x509;
use crate::vault::caller::Caller;
use crate::vault::common::ok;
use crate::vault::contents::Certificate;
use crate::vault::keys;
use crate::vault::pending::Pending;
use crate::vault::policy::Policy;
use crate::vault::properties::{self, Attributes, Properties};
use crate::vault::refusal::Refusal;
use crate::vault::store::Version;
use crate::vault::wire::Base;
use keyvault_common::names::{ObjectKind, ObjectName};

#[derive(Default, Deserialize)]
struct Create {
    policy: Option<Policy>,
    #[serde(flatten)]
    properties: Properties,
}

/// `api_version` is the request's own and goes into the address of the operation.
pub(super) async fn create(caller: &Caller<'_>, base: Base<'_>, api_version: &str, name: ObjectName, body: &[u8]) -> Result<Response, Refusal> {
    let Create { policy, properties } = properties::read_optional(body)?;
    properties.check()?;
    let now = clock::now();
    let (policy, reused) = {
        let contents = caller.vault.contents();
        contents.free_for_certificate(&name)?;
        let current = contents.certificates.get(&name, None).ok().map(|(_, version)| version.content.policy.clone());
        let policy = policy.or(current).ok_or(Refusal::InvalidProperty("policy"))?.completed(now)?;
        let reused = contents.keys.get(&name, None).ok().map(|(_, version)| version.content.private.clone());
        (policy, reused)
    };
    let kind = policy.kind()?;
    let reused = reused.filter(|key| policy.key_props.reuse_key == Some(true) && key.kind() == kind);
    let key = match reused {
        Some(key) => key,
        None => keys::generate(kind, None).await?,
    };
    let enabled = properties.attributes.and_then(|attributes| attributes.enabled).unwrap_or(true);
    let pending = Pending::new(name.clone(), policy.clone(), key, enabled, now + caller.vault.pending_for.as_secs())?;
    let mut contents = caller.vault.contents();
    contents.free_for_certificate(&name)?;
    // As in Azure the version is there at once, disabled and empty.
    let attributes = Attributes { enabled: Some(false), nbf: None, exp: None };
    let properties = Properties { attributes: Some(attributes), ..properties };
    let content = Certificate { policy, chain: Vec::new(), created_here: true };
    contents.certificates.add(&name, Version::new(pending.version.clone(), content, properties, now))?;
    let operation = pending.operation(base.0);
    contents.pending.insert((&name).into(), pending);
    let mut response = call::json(StatusCode::ACCEPTED, &operation);
    let pending = base.id(ObjectKind::Certificate, &name, Some("pending"));
    let location = format!("{pending}?api-version={api_version}&request_id={}", operation.request_id);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("0"));
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

pub(super) fn get(caller: &Caller<'_>, call: &Call, name: &ObjectName) -> Result<Response, Refusal> {
    let contents = caller.vault.contents();
    let pending = contents.pending.get(&name.into()).ok_or_else(|| Refusal::PendingNotFound(name.to_string()))?;
    let operation = pending.operation(call.host());
    if call.query("request_id").is_some_and(|id| id != operation.request_id) {
        return Err(Refusal::PendingNotFound(name.to_string()));
    }
    let mut response = ok(&operation);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("0"));
    Ok(response)
}

#[derive(Deserialize)]
struct Cancel {
    cancellation_requested: bool,
}

pub(super) fn cancel(caller: &Caller<'_>, call: &Call, name: &ObjectName, body: &[u8]) -> Result<Response, Refusal> {
    let wish: Cancel = properties::read(body)?;
    let mut contents = caller.vault.contents();
    let pending = contents.pending.get_mut(&name.into()).ok_or_else(|| Refusal::PendingNotFound(name.to_string()))?;
    if wish.cancellation_requested {
        pending.request_cancellation()?;
    }
    Ok(ok(&pending.operation(call.host())))
}

pub(super) fn delete(caller: &Caller<'_>, call: &Call, name: &ObjectName) -> Result<Response, Refusal> {
    let mut contents = caller.vault.contents();
    let pending = contents.pending.remove(&name.into()).ok_or_else(|| Refusal::PendingNotFound(name.to_string()))?;
    Ok(ok(&pending.operation(call.host())))
}

/// The body of a merge.
#[derive(Deserialize)]
struct Merge {
    x5c: Vec<String>,
    #[serde(flatten)]
    properties: Properties,
}

pub(super) fn merge(caller: &Caller<'_>, base: Base<'_>, name: &ObjectName, body: &[u8]) -> Result<Response, Refusal> {
    let Merge { x5c, properties } = properties::read(body)?;
    properties.check()?;
    let read = |text: &String| {
        let der = BASE64_STANDARD.decode(text).map_err(|_| Refusal::InvalidProperty("x5c"))?;
        x509::Certificate::parse(&der).map_err(|_| Refusal::InvalidProperty("x5c"))
    };
    let mut chain: Vec<x509::Certificate> = x5c.iter().map(read).collect::<Result<_, _>>()?;
    let now = clock::now();
    let mut contents = caller.vault.contents();
    let key = name.into();
    let mut pending = contents.pending.remove(&key).ok_or_else(|| Refusal::PendingNotFound(name.to_string()))?;
    let leaf = chain.iter().position(|certificate| pending.admits(certificate).is_ok()).unwrap_or(0);
    let merged = match chain.get(leaf) {
        None => Err(Refusal::InvalidProperty("x5c")),
        Some(certificate) => pending.admits(certificate).and_then(|()| {
            let leaf = chain.remove(leaf);
            contents.complete(&mut pending, x509::ordered(leaf, chain), now)
        }),
    };
    let version = pending.version.clone();
    if merged.is_ok() {
        pending.end(None);
    }
    contents.pending.insert(key, pending);
    merged?;
    let tags = Properties { attributes: None, ..properties };
    let found = contents.certificates.update(name, Some(&version), |version| version.apply(tags, now))?;
    Ok(call::json(StatusCode::CREATED, &base.whole(found)))
}
