//! `/keys` and `/deletedkeys`.

mod rotation;
mod use_key;

use axum::http::Method;
use axum::response::Response;
use rsa::BigUint;
use serde::Deserialize;

use crate::call::Call;
use crate::crypto::jwk::PrivateJwk;
use crate::crypto::key::{KeyKind, PrivateKey};
use crate::{clock, ids};
use keyvault_common::names::{ObjectKind, ObjectName};

use super::caller::Caller;
use super::common::{self, Common, checked, ok, permitted};
use super::contents::{EC_OPERATIONS, Key, RSA_OPERATIONS};
use super::policy::key_kind;
use super::properties::{self, Properties};
use super::refusal::{Action, Refusal};
use super::store::Version;
use super::wire::Base;
use use_key::Use;

/// What is done with keys only.
#[derive(Debug, PartialEq, Eq)]
enum Operation {
    Create(ObjectName),
    Import(ObjectName),
    Get(ObjectName, Option<String>),
    Update(ObjectName, Option<String>),
    Use(ObjectName, Option<String>, Use),
    Rotate(ObjectName),
    GetRotationPolicy(ObjectName),
    SetRotationPolicy(ObjectName),
}

pub(super) async fn serve(caller: &Caller<'_>, call: Call) -> Result<Response, Refusal> {
    let path = call.path.clone();
    let segments = common::segments(&path);
    if let Some(common) = Common::of(&call.method, &segments)? {
        let body = permitted(caller, &call, common.action(ObjectKind::Key))?;
        return common.run::<Key>(caller, &call, &body);
    }
    let operation = Operation::of(&call.method, &segments)?;
    let body = permitted(caller, &call, operation.action())?;
    let base = Base(call.host());
    match operation {
        Operation::Create(name) => create(caller, base, name, &body).await,
        Operation::Rotate(name) => rotation::rotate(caller, base, name).await,
        Operation::Import(name) => import(caller, base, &name, &body),
        Operation::Get(name, version) => Ok(ok(&base.whole(caller.vault.contents().keys.get(&name, version.as_deref())?))),
        Operation::Update(name, version) => update(caller, base, &name, version.as_deref(), &body),
        Operation::Use(name, version, what) => what.run(caller, base, &name, version.as_deref(), &body),
        Operation::GetRotationPolicy(name) => rotation::get(caller, base, &name),
        Operation::SetRotationPolicy(name) => rotation::set(caller, base, &name, &body),
    }
}

impl Operation {
    fn of(method: &Method, segments: &[&str]) -> Result<Operation, Refusal> {
        let version = |version: &str| Some(version.to_owned());
        Ok(match (segments, method.as_str()) {
            ([_, name, "create"], "POST") => Operation::Create(checked(name)?),
            ([_, name, "rotate"], "POST") => Operation::Rotate(checked(name)?),
            ([_, name, "rotationpolicy"], "GET") => Operation::GetRotationPolicy(checked(name)?),
            ([_, name, "rotationpolicy"], "PUT") => Operation::SetRotationPolicy(checked(name)?),
            ([_, name], "PUT") => Operation::Import(checked(name)?),
            ([_, name], "GET") => Operation::Get(checked(name)?, None),
            ([_, name], "PATCH") => Operation::Update(checked(name)?, None),
            ([_, name, id], "GET") => Operation::Get(checked(name)?, version(id)),
            ([_, name, id], "PATCH") => Operation::Update(checked(name)?, version(id)),
            ([_, name, word], "POST") if Use::named(word).is_some() => {
                Operation::Use(checked(name)?, None, Use::named(word).ok_or(Refusal::NoSuchPath)?)
            }
            ([_, name, id, word], "POST") => Operation::Use(checked(name)?, version(id), Use::named(word).ok_or(Refusal::NoSuchPath)?),
            _ => return Err(common::unknown(method, segments, 3)),
        })
    }

    fn action(&self) -> Action {
        let (verb, rbac, name) = match self {
            Operation::Create(name) => ("create", "create/action", name),
            Operation::Import(name) => ("import", "import/action", name),
            Operation::Get(name, _) => ("get", "read", name),
            Operation::Update(name, _) => ("update", "update/action", name),
            Operation::Use(name, _, what) => (what.verb(), what.rbac(), name),
            Operation::Rotate(name) => ("rotate", "rotate/action", name),
            Operation::GetRotationPolicy(name) => ("getrotationpolicy", "rotationpolicy/read", name),
            Operation::SetRotationPolicy(name) => ("setrotationpolicy", "rotationpolicy/write", name),
        };
        Action::on(ObjectKind::Key, verb, rbac, Some(name))
    }
}

/// A new key, made beside the requests that go on.
pub(super) async fn generate(kind: KeyKind, exponent: Option<BigUint>) -> Result<PrivateKey, Refusal> {
    let made = tokio::task::spawn_blocking(move || PrivateKey::generate(kind, exponent)).await;
    Ok(made.map_err(|_| Refusal::InvalidProperty("kty"))??)
}

#[derive(Deserialize)]
struct Create {
    #[serde(default)]
    kty: String,
    key_size: Option<usize>,
    public_exponent: Option<u64>,
    crv: Option<String>,
    key_ops: Option<Vec<String>>,
    #[serde(flatten)]
    properties: Properties,
}

async fn create(caller: &Caller<'_>, base: Base<'_>, name: ObjectName, body: &[u8]) -> Result<Response, Refusal> {
    let Create { kty, key_size, public_exponent, crv, key_ops, properties } = properties::read(body)?;
    properties.check()?;
    let kind = key_kind(&kty, key_size, crv.as_deref())?;
    let (operations, exponent) = (operations(key_ops, kind)?, exponent(public_exponent.unwrap_or_default())?);
    caller.vault.contents().keys.free(&name)?;
    let private = generate(kind, exponent).await?;
    add(caller, base, &name, Key { private, hsm: kty.ends_with("-HSM"), operations, exportable: false, managed: false }, properties)
}

/// 0 is none: the client for Java always sends a number. An even one has no inverse, so that the search for primes would never end.
fn exponent(number: u64) -> Result<Option<BigUint>, Refusal> {
    match number {
        0 => Ok(None),
        3..=0xFFFF_FFFF if number % 2 == 1 => Ok(Some(number.into())),
        _ => Err(Refusal::InvalidProperty("public_exponent")),
    }
}

#[derive(Deserialize)]
struct Import {
    key: PrivateJwk,
    #[serde(default, rename = "hsm", alias = "Hsm")]
    hsm: Option<bool>,
    #[serde(flatten)]
    properties: Properties,
}

fn import(caller: &Caller<'_>, base: Base<'_>, name: &ObjectName, body: &[u8]) -> Result<Response, Refusal> {
    let Import { key, hsm, properties } = properties::read(body)?;
    properties.check()?;
    let private = key.key()?;
    let operations = operations(key.key_ops.clone(), private.kind())?;
    let hsm = hsm.unwrap_or(false) || key.kty.as_deref().is_some_and(|kty| kty.ends_with("-HSM"));
    add(caller, base, name, Key { private, hsm, operations, exportable: false, managed: false }, properties)
}

fn add(caller: &Caller<'_>, base: Base<'_>, name: &ObjectName, key: Key, properties: Properties) -> Result<Response, Refusal> {
    let mut contents = caller.vault.contents();
    if contents.keys.get(name, None).is_ok_and(|(_, version)| version.content.managed) {
        return Err(Refusal::Managed(ObjectKind::Key, "create"));
    }
    Ok(ok(&base.whole(contents.keys.add(name, Version::new(ids::hex(), key, properties, clock::now()))?)))
}

#[derive(Default, Deserialize)]
struct Update {
    key_ops: Option<Vec<String>>,
    #[serde(flatten)]
    properties: Properties,
}

fn update(caller: &Caller<'_>, base: Base<'_>, name: &ObjectName, version: Option<&str>, body: &[u8]) -> Result<Response, Refusal> {
    let Update { key_ops, properties } = properties::read_optional(body)?;
    properties.check()?;
    let mut contents = caller.vault.contents();
    let kind = contents.keys.get(name, version)?.1.content.private.kind();
    let operations = key_ops.map(|words| operations(Some(words), kind)).transpose()?;
    let found = contents.keys.update(name, version, |version| {
        version.apply(properties, clock::now());
        version.content.operations = operations.unwrap_or(std::mem::take(&mut version.content.operations));
    })?;
    Ok(ok(&base.whole(found)))
}

/// The operations that a caller names, or all that this kind of key can do.
fn operations(words: Option<Vec<String>>, kind: KeyKind) -> Result<Vec<String>, Refusal> {
    let possible = match kind {
        KeyKind::Rsa(_) => RSA_OPERATIONS,
        KeyKind::Ec(_) => EC_OPERATIONS,
    };
    let Some(words) = words else { return Ok(possible.iter().map(|word| (*word).to_owned()).collect()) };
    let is_possible = |word: &String| possible.contains(&word.as_str()) || word == "import" || word == "export";
    if words.iter().all(is_possible) { Ok(words) } else { Err(Refusal::InvalidProperty("key_ops")) }
}
