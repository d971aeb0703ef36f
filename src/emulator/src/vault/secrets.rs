//! `/secrets` and `/deletedsecrets`.

use axum::http::Method;
use axum::response::Response;
use serde::Deserialize;

use crate::call::Call;
use crate::{clock, ids};
use keyvault_common::names::{ObjectKind, ObjectName};
use keyvault_common::secret::SecretValue;

use super::caller::Caller;
use super::common::{self, Common, checked, ok, permitted};
use super::contents::{Contents, Secret};
use super::limits;
use super::policy::{self, PEM, PFX};
use super::properties::{self, Properties, within};
use super::refusal::{Action, Refusal};
use super::store::Version;
use super::wire::Base;

/// What is done with secrets only.
#[derive(Debug, PartialEq, Eq)]
enum Operation {
    Set(ObjectName),
    Get(ObjectName, Option<String>),
    Update(ObjectName, Option<String>),
}

pub(super) fn serve(caller: &Caller<'_>, call: Call) -> Result<Response, Refusal> {
    let path = call.path.clone();
    let segments = common::segments(&path);
    if let Some(common) = Common::of(&call.method, &segments)? {
        let body = permitted(caller, &call, common.action(ObjectKind::Secret))?;
        return common.run::<Secret>(caller, &call, &body);
    }
    let operation = Operation::of(&call.method, &segments)?;
    let body = permitted(caller, &call, operation.action())?;
    operation.run(caller, &call, &body)
}

impl Operation {
    fn of(method: &Method, segments: &[&str]) -> Result<Operation, Refusal> {
        Ok(match (segments, method.as_str()) {
            ([_, name], "PUT") => Operation::Set(checked(name)?),
            ([_, name], "GET") => Operation::Get(checked(name)?, None),
            ([_, name], "PATCH") => Operation::Update(checked(name)?, None),
            ([_, name, version], "GET") => Operation::Get(checked(name)?, Some((*version).to_owned())),
            ([_, name, version], "PATCH") => Operation::Update(checked(name)?, Some((*version).to_owned())),
            _ => return Err(common::unknown(method, segments, 3)),
        })
    }

    fn action(&self) -> Action {
        let (verb, rbac, name) = match self {
            Operation::Get(name, _) => ("get", "getSecret/action", name),
            Operation::Set(name) => ("set", "setSecret/action", name),
            Operation::Update(name, _) => ("set", "update/action", name),
        };
        Action::on(ObjectKind::Secret, verb, rbac, Some(name))
    }

    fn run(self, caller: &Caller<'_>, call: &Call, body: &[u8]) -> Result<Response, Refusal> {
        let (now, base) = (clock::now(), Base(call.host()));
        let mut contents = caller.vault.contents();
        Ok(match self {
            Operation::Set(name) => {
                let (secret, properties) = read_set(body)?;
                if contents.secrets.get(&name, None).is_ok_and(|(_, version)| version.content.managed) {
                    return Err(Refusal::Managed(ObjectKind::Secret, "set"));
                }
                ok(&base.whole(contents.secrets.add(&name, Version::new(ids::hex(), secret, properties, now))?))
            }
            Operation::Get(name, version) => {
                let found = contents.secrets.get(&name, version.as_deref())?;
                if !found.1.enabled {
                    return Err(Refusal::Disabled(ObjectKind::Secret, "get"));
                }
                match call.query("outContentType").filter(|wanted| found.1.content.content_type.as_deref() != Some(wanted)) {
                    None => ok(&base.whole(found)),
                    Some(wanted) => {
                        let converted = Version { content: converted(&contents, &name, found.1, wanted)?, ..found.1.clone() };
                        ok(&base.whole((found.0, &converted)))
                    }
                }
            }
            Operation::Update(name, version) => {
                let update: Update = properties::read(body)?;
                check_content_type(update.content_type.as_deref())?;
                update.properties.check()?;
                let found = contents.secrets.update(&name, version.as_deref(), |version| {
                    version.apply(update.properties, now);
                    version.content.content_type = update.content_type.or(version.content.content_type.take());
                })?;
                ok(&base.version(found))
            }
        })
    }
}

/// The secret of a certificate as PEM in place of PKCS#12; there is no other way round.
fn converted(contents: &Contents, name: &ObjectName, version: &Version<Secret>, wanted: &str) -> Result<Secret, Refusal> {
    const UNKNOWN: Refusal = Refusal::InvalidParameter("outContentType");
    if wanted != PEM || version.content.content_type.as_deref() != Some(PFX) || !version.content.managed {
        return Err(UNKNOWN);
    }
    let (_, certificate) = contents.certificates.get(name, Some(&version.id)).map_err(|_| UNKNOWN)?;
    let (_, key) = contents.keys.get(name, Some(&version.id)).map_err(|_| UNKNOWN)?;
    let key = certificate.content.policy.is_exportable().then_some(&key.content.private);
    let value = policy::pem_text(key, &certificate.content.chain)?;
    Ok(Secret { value, content_type: Some(PEM.to_owned()), managed: true })
}

/// The body of a set.
#[derive(Deserialize)]
struct Set {
    value: Option<String>,
    #[serde(flatten)]
    update: Update,
}

/// The body of an update.
#[derive(Deserialize)]
struct Update {
    #[serde(rename = "contentType")]
    content_type: Option<String>,
    #[serde(flatten)]
    properties: Properties,
}

fn read_set(body: &[u8]) -> Result<(Secret, Properties), Refusal> {
    let Set { value, update } = properties::read(body)?;
    let value = value.ok_or(Refusal::InvalidProperty("value"))?;
    within(value.chars().count(), "value", limits::VALUE_CHARS)?;
    check_content_type(update.content_type.as_deref())?;
    update.properties.check()?;
    Ok((Secret { value: SecretValue::from(value), content_type: update.content_type, managed: false }, update.properties))
}

fn check_content_type(text: Option<&str>) -> Result<(), Refusal> {
    within(text.map_or(0, |text| text.chars().count()), "contentType", limits::CONTENT_TYPE_CHARS)
}
