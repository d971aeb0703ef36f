//! `/certificates` and `/deletedcertificates`.

mod administration;
pub(crate) mod import;
mod making;

use axum::http::Method;
use axum::response::Response;
use serde::Deserialize;

use crate::call::Call;
use crate::clock;
use keyvault_common::names::{ObjectKind, ObjectName};

use super::caller::Caller;
use super::common::{self, Common, checked, ok, permitted};
use super::contents::Certificate;
use super::policy::Policy;
use super::properties::{self, Properties};
use super::refusal::{Action, Refusal};
use super::wire::Base;
use administration::Administration;

/// What is done with certificates only.
#[derive(Debug, PartialEq, Eq)]
enum Operation {
    Create(ObjectName),
    Import(ObjectName),
    Get(ObjectName, Option<String>),
    Update(ObjectName, Option<String>),
    GetPolicy(ObjectName),
    UpdatePolicy(ObjectName),
    GetPending(ObjectName),
    CancelPending(ObjectName),
    DeletePending(ObjectName),
    Merge(ObjectName),
}

pub(super) async fn serve(caller: &Caller<'_>, call: Call) -> Result<Response, Refusal> {
    let path = call.path.clone();
    let segments = common::segments(&path);
    if let Some(administration) = Administration::of(&call.method, &segments)? {
        let body = permitted(caller, &call, administration.action())?;
        return administration.run(caller, &call, &body);
    }
    if let Some(common) = Common::of(&call.method, &segments)? {
        let body = permitted(caller, &call, common.action(ObjectKind::Certificate))?;
        return common.run::<Certificate>(caller, &call, &body);
    }
    let operation = Operation::of(&call.method, &segments)?;
    let body = permitted(caller, &call, operation.action())?;
    let base = Base(call.host());
    match operation {
        Operation::Create(name) => making::create(caller, base, call.query("api-version").unwrap_or_default(), name, &body).await,
        Operation::GetPending(name) => making::get(caller, &call, &name),
        Operation::CancelPending(name) => making::cancel(caller, &call, &name, &body),
        Operation::DeletePending(name) => making::delete(caller, &call, &name),
        Operation::Merge(name) => making::merge(caller, base, &name, &body),
        Operation::Import(name) => import::serve(caller, base, name, &body),
        Operation::Get(name, version) => Ok(ok(&base.whole(caller.vault.contents().certificates.get(&name, version.as_deref())?))),
        Operation::Update(name, version) => update(caller, base, &name, version.as_deref(), &body),
        Operation::GetPolicy(name) => policy(caller, base, &name, None),
        Operation::UpdatePolicy(name) => policy(caller, base, &name, Some(properties::read(&body)?)),
    }
}

impl Operation {
    fn of(method: &Method, segments: &[&str]) -> Result<Operation, Refusal> {
        let version = |version: &str| Some(version.to_owned());
        Ok(match (segments, method.as_str()) {
            ([_, name, "create"], "POST") => Operation::Create(checked(name)?),
            ([_, name, "import"], "POST") => Operation::Import(checked(name)?),
            ([_, name, "policy"], "GET") => Operation::GetPolicy(checked(name)?),
            ([_, name, "policy"], "PATCH") => Operation::UpdatePolicy(checked(name)?),
            ([_, name, "pending"], "GET") => Operation::GetPending(checked(name)?),
            ([_, name, "pending"], "PATCH") => Operation::CancelPending(checked(name)?),
            ([_, name, "pending"], "DELETE") => Operation::DeletePending(checked(name)?),
            ([_, name, "pending", "merge"], "POST") => Operation::Merge(checked(name)?),
            ([_, name], "GET") => Operation::Get(checked(name)?, None),
            ([_, name], "PATCH") => Operation::Update(checked(name)?, None),
            ([_, name, id], "GET") => Operation::Get(checked(name)?, version(id)),
            ([_, name, id], "PATCH") => Operation::Update(checked(name)?, version(id)),
            _ => return Err(common::unknown(method, segments, 3)),
        })
    }

    fn action(&self) -> Action {
        let (verb, rbac, name) = match self {
            Operation::Create(name) => ("create", "create/action", name),
            Operation::Merge(name) => ("create", "create/action", name),
            Operation::Import(name) => ("import", "import/action", name),
            Operation::Get(name, _) | Operation::GetPolicy(name) | Operation::GetPending(name) => ("get", "read", name),
            Operation::Update(name, _) | Operation::UpdatePolicy(name) | Operation::CancelPending(name) => ("update", "update/action", name),
            Operation::DeletePending(name) => ("delete", "delete", name),
        };
        Action::on(ObjectKind::Certificate, verb, rbac, Some(name))
    }
}

/// The body of an update; a policy in it counts for the certificates to come.
#[derive(Default, Deserialize)]
struct Update {
    policy: Option<Policy>,
    #[serde(flatten)]
    properties: Properties,
}

fn update(caller: &Caller<'_>, base: Base<'_>, name: &ObjectName, version: Option<&str>, body: &[u8]) -> Result<Response, Refusal> {
    let Update { policy, mut properties } = properties::read_optional(body)?;
    properties.check()?;
    // When it is good stands in the certificate itself.
    for attributes in properties.attributes.iter_mut() {
        (attributes.nbf, attributes.exp) = (None, None);
    }
    let now = clock::now();
    let mut contents = caller.vault.contents();
    let old = &contents.certificates.get(name, version)?.1.content.policy;
    let policy = policy.map(|policy| old.updated(policy, now)).transpose()?;
    let (_, changed) = contents.certificates.update(name, version, |version| {
        version.apply(properties.clone(), now);
        version.content.policy = policy.unwrap_or(version.content.policy.clone());
    })?;
    let id = changed.id.clone();
    // Key and secret are enabled and disabled with their certificate.
    let companion = Properties { tags: None, attributes: properties.attributes };
    let _ = contents.keys.update(name, Some(&id), |version| version.apply(companion.clone(), now)).is_ok();
    let _ = contents.secrets.update(name, Some(&id), |version| version.apply(companion, now)).is_ok();
    Ok(ok(&base.whole(contents.certificates.get(name, Some(&id))?)))
}

/// The policy of the latest version; `changes` are made first.
fn policy(caller: &Caller<'_>, base: Base<'_>, name: &ObjectName, changes: Option<Policy>) -> Result<Response, Refusal> {
    let mut contents = caller.vault.contents();
    if let Some(changes) = changes {
        let policy = contents.certificates.get(name, None)?.1.content.policy.updated(changes, clock::now())?;
        contents.certificates.update(name, None, |version| version.content.policy = policy)?;
    }
    let (object, version) = contents.certificates.get(name, None)?;
    Ok(ok(&base.policy(&object.name, &version.content.policy)))
}
