//! The Entra plane: the token endpoint and the documents that clients look for beside it.

mod assertion;
mod certificate;
pub(super) mod jwks;
mod refusal;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::{Router, routing};
use serde_json::json;

use super::call::{self, Call, field};
use super::clock;
use super::config::{Application, Tenant};
use super::faults::{Outage, Plane};
use super::plane;
use super::world::{self, World};
use refusal::Refusal;

/// The lifetime of an application's token, in seconds.
const LIFETIME: u64 = 3599;

pub(super) fn routes() -> Router<Arc<World>> {
    Router::new()
        .route("/{tenant}/oauth2/v2.0/token", routing::any(handle))
        .route("/{tenant}/v2.0/.well-known/openid-configuration", routing::any(handle))
        .route("/{tenant}/discovery/v2.0/keys", routing::any(handle))
        .route("/common/discovery/instance", routing::any(handle))
}

async fn handle(State(world): State<Arc<World>>, request: Request) -> Response {
    plane::serve(world, Plane::Entra, request, answer).await
}

async fn answer(world: Arc<World>, call: Call) -> Response {
    let correlation = call.header("client-request-id").or(call.query("client-request-id")).map(str::to_owned);
    let refuse = |refusal: Refusal| refusal.response(correlation.as_deref());
    let fault = world.faults.answer(Plane::Entra, &call.path);
    let served = async { serve(&world, call).await.unwrap_or_else(refuse) };
    plane::scripted(fault, |outage| refuse(bad_day(outage)), served).await
}

async fn serve(world: &World, mut call: Call) -> Result<Response, Refusal> {
    let path = call.path.clone();
    let (tenant, rest) = path.trim_start_matches('/').split_once('/').unwrap_or((path.as_str(), ""));
    match (rest, &call.method) {
        ("discovery/instance", &Method::GET) => Ok(instances(world)),
        // Access tokens are nobody's business but the vaults': there is no public key to check them with.
        ("discovery/v2.0/keys", &Method::GET) => Ok(call::json(StatusCode::OK, &json!({"keys": []}))),
        ("v2.0/.well-known/openid-configuration", &Method::GET) => find_tenant(world, tenant).map(|tenant| openid_configuration(world, tenant)),
        ("oauth2/v2.0/token", &Method::POST) => {
            let body = call.body().await.unwrap_or_default();
            token(world, find_tenant(world, tenant)?, &call::form(&body))
        }
        _ => Ok(call::empty(StatusCode::METHOD_NOT_ALLOWED)),
    }
}

fn token(world: &World, tenant: &Tenant, form: &[(String, String)]) -> Result<Response, Refusal> {
    let required = |name| field(form, name).filter(|value| !value.is_empty()).ok_or(Refusal::MissingParameter(name));
    let grant_type = required("grant_type")?;
    if grant_type != "client_credentials" {
        return Err(Refusal::GrantType(grant_type.to_owned()));
    }
    let application = find_application(tenant, required("client_id")?)?;
    let scope = required("scope")?;
    let resource = scope.strip_suffix("/.default").ok_or_else(|| Refusal::Scope(scope.to_owned()))?;
    authenticate(tenant, application, form)?;
    if !world::is_known_resource(resource) {
        return Err(Refusal::UnknownResource { resource: resource.to_owned(), tenant: tenant.id.to_string() });
    }
    let (token, claims) = world.token(resource, &tenant.id, &application.client_id, &application.object_id, LIFETIME);
    let expires_in = claims.exp - claims.iat;
    let body = json!({"token_type": "Bearer", "expires_in": expires_in, "ext_expires_in": expires_in, "access_token": token});
    Ok(call::json(StatusCode::OK, &body))
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

fn openid_configuration(world: &World, tenant: &Tenant) -> Response {
    let base = format!("{}/{}", world.authority, tenant.id);
    let document = json!({
        "issuer": format!("{base}/v2.0"),
        "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
        "token_endpoint": format!("{base}/oauth2/v2.0/token"),
        "jwks_uri": format!("{base}/discovery/v2.0/keys"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        "response_types_supported": ["token"],
        "subject_types_supported": ["pairwise"],
    });
    call::json(StatusCode::OK, &document)
}

/// Tells every authority that asks that it is a good one.
fn instances(world: &World) -> Response {
    let endpoint = format!("{}/{}/v2.0/.well-known/openid-configuration", world.authority, world.tenants[0].id);
    let host = world.authority.trim_start_matches("https://");
    let metadata = json!([{"preferred_network": host, "preferred_cache": host, "aliases": [host]}]);
    call::json(StatusCode::OK, &json!({"tenant_discovery_endpoint": endpoint, "api-version": "1.1", "metadata": metadata}))
}

fn bad_day(outage: Outage) -> Refusal {
    match outage.status {
        StatusCode::TOO_MANY_REQUESTS => Refusal::Throttled,
        StatusCode::SERVICE_UNAVAILABLE => Refusal::Unavailable,
        status => Refusal::Scripted(status),
    }
}
