//! The managed-identity endpoints of Azure's instance metadata service and of App Service.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::json;

use super::call::{self, Call};
use super::config::ManagedIdentity;
use super::faults::{Outage, Plane};
use super::plane;
use super::world::{self, World};

/// The lifetime of a managed identity's token, in seconds.
const LIFETIME: u64 = 86_399;

/// Why there is no token: status, `error`, `error_description`.
struct Refusal(StatusCode, &'static str, String);

/// Every path: some clients begin with two slashes.
pub(super) fn routes() -> Router<Arc<World>> {
    Router::new().fallback(handle)
}

async fn handle(State(world): State<Arc<World>>, request: Request) -> Response {
    plane::serve(world, Plane::Imds, request, answer).await
}

async fn answer(world: Arc<World>, call: Call) -> Response {
    let fault = world.faults.answer(Plane::Imds, &call.path);
    let served = async move { token(&world, &call).unwrap_or_else(Refusal::response) };
    plane::scripted(fault, |outage| bad_day(outage).response(), served).await
}

fn token(world: &World, call: &Call) -> Result<Response, Refusal> {
    check(call)?;
    let resource =
        call.query("resource").filter(|resource| !resource.is_empty()).ok_or_else(|| bad("Required query variable 'resource' is missing"))?;
    if !world::is_known_resource(resource) {
        let text = format!("AADSTS500011: The resource principal named {resource} was not found in the tenant named {}.", world.tenants[0].id);
        return Err(Refusal(StatusCode::BAD_REQUEST, "invalid_resource", text));
    }
    let identity = select(&world.managed_identities, call)?;
    let (token, claims) = world.token(resource, &world.tenants[0].id, &identity.client_id, &identity.object_id, LIFETIME);
    let lifetime = (claims.exp - claims.iat).to_string();
    // Every number is a string, as in the real service.
    let body = json!({
        "access_token": token,
        "client_id": identity.client_id,
        "expires_in": lifetime,
        "expires_on": claims.exp.to_string(),
        "ext_expires_in": lifetime,
        "not_before": claims.nbf.to_string(),
        "resource": resource,
        "token_type": "Bearer",
    });
    Ok(call::json(StatusCode::OK, &body))
}

/// What protects the endpoint from requests that were tricked out of somebody.
fn check(call: &Call) -> Result<(), Refusal> {
    let is_virtual_machine = match call.path.trim_matches('/') {
        "metadata/identity/oauth2/token" => true,
        "msi/token" => false,
        _ => return Err(Refusal(StatusCode::NOT_FOUND, "not_found", "The requested path does not exist".into())),
    };
    if call.method != Method::GET {
        return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Only GET is allowed".into()));
    }
    if call.headers.contains_key("x-forwarded-for") {
        return Err(bad("Requests with an X-Forwarded-For header are not served"));
    }
    if is_virtual_machine && !call.header("metadata").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err(bad("Required metadata header not specified"));
    }
    if !is_virtual_machine && call.header("x-identity-header").is_none_or(str::is_empty) {
        return Err(bad("Required X-IDENTITY-HEADER header not specified"));
    }
    if call.query("api-version").is_none_or(str::is_empty) {
        return Err(bad("api-version was not specified in the request"));
    }
    Ok(())
}

/// The identity that is asked for; else the system-assigned one; else the only one.
fn select<'w>(identities: &'w [ManagedIdentity], call: &Call) -> Result<&'w ManagedIdentity, Refusal> {
    let resource_id = call.query("msi_res_id").or(call.query("mi_res_id"));
    let found = match (call.query("client_id"), call.query("object_id"), resource_id) {
        (Some(id), _, _) => identities.iter().find(|identity| identity.client_id.as_str().eq_ignore_ascii_case(id)),
        (None, Some(id), _) => identities.iter().find(|identity| identity.object_id.as_str().eq_ignore_ascii_case(id)),
        (None, None, Some(id)) => {
            identities.iter().find(|identity| identity.resource_id.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(id)))
        }
        (None, None, None) => return default_identity(identities),
    };
    found.ok_or_else(|| bad("Identity not found"))
}

fn default_identity(identities: &[ManagedIdentity]) -> Result<&ManagedIdentity, Refusal> {
    match (identities.iter().find(|identity| identity.system_assigned), identities) {
        (Some(identity), _) | (None, [identity]) => Ok(identity),
        (None, []) => Err(bad("Identity not found")),
        (None, _) => {
            Err(bad("Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request"))
        }
    }
}

fn bad(description: &str) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, "invalid_request", description.to_owned())
}

fn bad_day(outage: Outage) -> Refusal {
    match outage.status {
        StatusCode::TOO_MANY_REQUESTS => Refusal(outage.status, "too_many_requests", "Too many requests".into()),
        StatusCode::SERVICE_UNAVAILABLE => Refusal(outage.status, "service_unavailable", "The service is unavailable".into()),
        status => Refusal(status, "scripted", format!("The emulator was told to answer {}.", status.as_u16())),
    }
}

impl Refusal {
    fn response(self) -> Response {
        let Refusal(status, error, description) = self;
        call::json(status, &json!({"error": error, "error_description": description}))
    }
}
