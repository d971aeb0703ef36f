//! Contacts and issuers: kept and given back; nobody is written to, and no issuer is called.

use axum::http::Method;
use axum::response::Response;
use serde_json::{Value, json};

use crate::call::Call;
use crate::clock;
use crate::vault::caller::Caller;
use crate::vault::common::{self, ok};
use crate::vault::page::Page;
use crate::vault::properties;
use crate::vault::refusal::{Action, Refusal};
use keyvault_common::names::ObjectKind;

/// What a method and a path ask for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Administration {
    GetContacts,
    SetContacts,
    DeleteContacts,
    ListIssuers,
    GetIssuer(String),
    SetIssuer(String),
    UpdateIssuer(String),
    DeleteIssuer(String),
}

impl Administration {
    pub(super) fn of(method: &Method, segments: &[&str]) -> Result<Option<Administration>, Refusal> {
        let name = |name: &str| common::checked(name).map(|name| name.to_string());
        Ok(Some(match (segments, method.as_str()) {
            (["certificates", "contacts"], "GET") => Administration::GetContacts,
            (["certificates", "contacts"], "PUT") => Administration::SetContacts,
            (["certificates", "contacts"], "DELETE") => Administration::DeleteContacts,
            (["certificates", "issuers"], "GET") => Administration::ListIssuers,
            (["certificates", "issuers", issuer], "GET") => Administration::GetIssuer(name(issuer)?),
            (["certificates", "issuers", issuer], "PUT") => Administration::SetIssuer(name(issuer)?),
            (["certificates", "issuers", issuer], "PATCH") => Administration::UpdateIssuer(name(issuer)?),
            (["certificates", "issuers", issuer], "DELETE") => Administration::DeleteIssuer(name(issuer)?),
            _ => return Ok(None),
        }))
    }

    pub(super) fn action(&self) -> Action {
        let (verb, rbac) = match self {
            Administration::GetContacts | Administration::SetContacts | Administration::DeleteContacts => ("managecontacts", "contacts/write"),
            Administration::ListIssuers => ("listissuers", "certificatecas/read"),
            Administration::GetIssuer(_) => ("getissuers", "certificatecas/read"),
            Administration::SetIssuer(_) | Administration::UpdateIssuer(_) => ("setissuers", "certificatecas/write"),
            Administration::DeleteIssuer(_) => ("deleteissuers", "certificatecas/delete"),
        };
        Action::on(ObjectKind::Certificate, verb, rbac, None)
    }

    pub(super) fn run(self, caller: &Caller<'_>, call: &Call, body: &[u8]) -> Result<Response, Refusal> {
        let mut contents = caller.vault.contents();
        let base = format!("https://{}/certificates", call.host());
        let issuer_id = |name: &str| json!(format!("{base}/issuers/{name}"));
        let none = || Refusal::ContactsNotFound;
        let unknown = |name: &str| Refusal::IssuerNotFound(name.to_owned());
        Ok(match self {
            Administration::GetContacts => ok(contents.contacts.as_ref().ok_or_else(none)?),
            Administration::DeleteContacts => ok(&contents.contacts.take().ok_or_else(none)?),
            Administration::SetContacts => {
                let mut contacts: Value = object(body)?;
                contacts["id"] = json!(base + "/contacts");
                ok(contents.contacts.insert(contacts))
            }
            Administration::ListIssuers => {
                let items = contents.issuers.iter().map(|(name, issuer)| json!({"id": issuer_id(name), "provider": issuer["provider"]}));
                ok(&Page::of(call)?.cut(items, call))
            }
            Administration::GetIssuer(name) => ok(contents.issuers.get(&name).ok_or_else(|| unknown(&name))?),
            Administration::DeleteIssuer(name) => ok(&contents.issuers.remove(&name).ok_or_else(|| unknown(&name))?),
            Administration::SetIssuer(name) => {
                let issuer = issuer(object(body)?, issuer_id(&name), None);
                contents.issuers.insert(name, issuer.clone());
                ok(&issuer)
            }
            Administration::UpdateIssuer(name) => {
                let old = contents.issuers.get(&name).ok_or_else(|| unknown(&name))?.clone();
                let issuer = issuer(object(body)?, issuer_id(&name), Some(old));
                contents.issuers.insert(name, issuer.clone());
                ok(&issuer)
            }
        })
    }
}

fn object(body: &[u8]) -> Result<Value, Refusal> {
    properties::read(body).and_then(|value: Value| if value.is_object() { Ok(value) } else { Err(Refusal::InvalidProperty("")) })
}

/// What was given over what was there; the password of an account is never given back.
fn issuer(given: Value, id: Value, old: Option<Value>) -> Value {
    let now = json!(clock::now());
    let mut issuer = old.unwrap_or_else(|| json!({"attributes": {"enabled": true, "created": now}}));
    for (key, value) in given.as_object().into_iter().flatten() {
        match (key.as_str(), value) {
            ("attributes", Value::Object(attributes)) => attributes.iter().for_each(|(key, value)| issuer["attributes"][key] = value.clone()),
            (_, Value::Null) => {}
            _ => issuer[key] = value.clone(),
        }
    }
    if let Some(credentials) = issuer["credentials"].as_object_mut() {
        credentials.remove("pwd");
    }
    issuer["attributes"]["updated"] = now;
    issuer["id"] = id;
    issuer
}
