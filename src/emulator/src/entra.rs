//! The Entra plane: the token endpoint and the documents that clients look for beside it.

mod assertion;
mod certificate;
mod documents;
pub(super) mod jwks;
mod refusal;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::{Router, routing};
use serde_json::json;

use super::call::{self, Call, field};
use super::clock;
use super::config::{Application, Tenant};
use super::faults::{Outage, Plane};
use super::plane;
use super::world::{self, World};
use documents::{Version, instances, openid_configuration};
use refusal::Refusal;

/// The lifetime of an application's token, in seconds.
const LIFETIME: u64 = 3599;

pub(super) fn routes() -> Router<Arc<World>> {
    Router::new()
        .route("/{tenant}/oauth2/v2.0/token", routing::any(handle))
        .route("/{tenant}/oauth2/token", routing::any(handle))
        .route("/{tenant}/v2.0/.well-known/openid-configuration", routing::any(handle))
        .route("/{tenant}/.well-known/openid-configuration", routing::any(handle))
        .route("/{tenant}/discovery/v2.0/keys", routing::any(handle))
        .route("/{tenant}/discovery/keys", routing::any(handle))
        .route("/common/discovery/instance", routing::any(handle))
}

async fn handle(State(world): State<Arc<World>>, request: Request) -> Response {
    plane::serve(world, Plane::Entra, request, answer).await
}

async fn answer(world: Arc<World>, call: Call) -> Response {
    let correlation = call.header("client-request-id").or(call.query("client-request-id")).map(str::to_owned);
    let refuse = |refusal: Refusal| uncached(refusal.response(correlation.as_deref()));
    let fault = world.faults.answer(Plane::Entra, &call.path);
    let served = async { serve(&world, &call).unwrap_or_else(refuse) };
    plane::scripted(fault, |outage| refuse(bad_day(outage)), served).await
}

fn serve(world: &World, call: &Call) -> Result<Response, Refusal> {
    let (tenant, rest) = call.path.trim_start_matches('/').split_once('/').unwrap_or((call.path.as_str(), ""));
    let authority = call.called().authority();
    let document = |version: Version| find_tenant(world, tenant).map(|tenant| openid_configuration(version, &authority, tenant));
    match (rest, &call.method) {
        ("discovery/instance", &Method::GET) => Ok(instances(world, call)),
        // Access tokens are nobody's business but the vaults': there is no public key to check them with.
        ("discovery/v2.0/keys" | "discovery/keys", &Method::GET) => Ok(call::json(StatusCode::OK, &json!({"keys": []}))),
        ("v2.0/.well-known/openid-configuration", &Method::GET) => document(Version::Two),
        (".well-known/openid-configuration", &Method::GET) => document(Version::One),
        ("oauth2/v2.0/token", &Method::POST) => token(world, Version::Two, tenant, call),
        ("oauth2/token", &Method::POST) => token(world, Version::One, tenant, call),
        _ => Ok(call::empty(StatusCode::METHOD_NOT_ALLOWED)),
    }
}

fn token(world: &World, version: Version, tenant: &str, call: &Call) -> Result<Response, Refusal> {
    let tenant = find_tenant(world, tenant)?;
    let Ok(body) = call.body() else { return Ok(call::empty(StatusCode::PAYLOAD_TOO_LARGE)) };
    let form = &call::form(&body);
    let required = |name| field(form, name).filter(|value| !value.is_empty()).ok_or(Refusal::MissingParameter(name));
    let grant_type = required("grant_type")?;
    if grant_type != "client_credentials" {
        return Err(Refusal::GrantType(grant_type.to_owned()));
    }
    let application = find_application(tenant, required("client_id")?)?;
    let resource = match version {
        Version::One => required("resource")?,
        Version::Two => resource_of(required("scope")?)?,
    };
    authenticate(tenant, application, form)?;
    if !world::is_known_resource(resource) {
        return Err(Refusal::UnknownResource { resource: resource.to_owned(), tenant: tenant.id.to_string() });
    }
    let (token, claims) = world.token(resource, &tenant.id, &application.client_id, &application.object_id, LIFETIME);
    let lifetime = claims.exp - claims.iat;
    let body = match version {
        Version::Two => json!({"token_type": "Bearer", "expires_in": lifetime, "ext_expires_in": lifetime, "access_token": token}),
        // Every number is a string.
        Version::One => json!({
            "token_type": "Bearer",
            "expires_in": lifetime.to_string(),
            "ext_expires_in": lifetime.to_string(),
            "expires_on": claims.exp.to_string(),
            "not_before": claims.nbf.to_string(),
            "resource": resource,
            "access_token": token,
        }),
    };
    Ok(uncached(call::json(StatusCode::OK, &body)))
}

/// The resource of a scope. MSAL for Go and Java always asks for a sign-in as well; an application on its own gets none.
fn resource_of(scope: &str) -> Result<&str, Refusal> {
    let is_sign_in = |word: &&str| ["openid", "profile", "offline_access", "email"].contains(word);
    let mut resources = scope.split_whitespace().filter(|word| !is_sign_in(word)).map(|word| word.strip_suffix("/.default"));
    match (resources.next().flatten(), resources.next()) {
        (Some(resource), None) => Ok(resource),
        (None | Some(_), _) => Err(Refusal::Scope(scope.to_owned())),
    }
}

/// No cache keeps a token, nor the refusal of one.
fn uncached(mut response: Response) -> Response {
    for (name, value) in [(header::CACHE_CONTROL, "no-store, no-cache"), (header::PRAGMA, "no-cache"), (header::EXPIRES, "-1")] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn authenticate(tenant: &Tenant, application: &Application, form: &[(String, String)]) -> Result<(), Refusal> {
    const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    match (field(form, "client_assertion"), field(form, "client_secret")) {
        (Some(assertion), _) => match field(form, "client_assertion_type") {
            None => Err(Refusal::MissingParameter("client_assertion_type")),
            Some(JWT_BEARER) if certificate::is_meant(assertion) => certificate::check(application, tenant, assertion, clock::now()),
            Some(JWT_BEARER) => assertion::check(application, assertion, clock::now()),
            Some(other) => Err(Refusal::AssertionType(other.to_owned())),
        },
        (None, Some(secret)) if application.secrets.iter().any(|known| known.expose() == secret.as_bytes()) => Ok(()),
        (None, Some(_)) => Err(Refusal::WrongSecret { client_id: application.client_id.to_string() }),
        (None, None) => Err(Refusal::NoCredential),
    }
}

fn find_tenant<'w>(world: &'w World, id: &str) -> Result<&'w Tenant, Refusal> {
    let is_name = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
    let refusal = if is_name { Refusal::UnknownTenant } else { Refusal::TenantForm };
    let found = world.tenants.iter().find(|tenant| tenant.id.as_str().eq_ignore_ascii_case(id));
    found.ok_or_else(|| refusal(id.replace("%20", " ")))
}

fn find_application<'t>(tenant: &'t Tenant, client_id: &str) -> Result<&'t Application, Refusal> {
    let found = tenant.applications.iter().find(|application| application.client_id.as_str().eq_ignore_ascii_case(client_id));
    found.ok_or_else(|| Refusal::UnknownApplication { client_id: client_id.to_owned(), tenant: tenant.id.to_string() })
}

fn bad_day(outage: Outage) -> Refusal {
    match outage.status {
        StatusCode::TOO_MANY_REQUESTS => Refusal::Throttled,
        StatusCode::SERVICE_UNAVAILABLE => Refusal::Unavailable,
        status => Refusal::Scripted(status),
    }
}
