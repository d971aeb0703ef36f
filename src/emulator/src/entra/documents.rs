//! The documents beside the token endpoint. Every address in them is one by which the client came.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::call::{self, Call};
use crate::config::Tenant;
use crate::tokens;
use crate::world::World;

/// The two generations of Entra's endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// `/oauth2/token`, for a resource.
    One,
    /// `/oauth2/v2.0/token`, for a scope.
    Two,
}

/// Where a client of `authority` finds what of this tenant.
pub(super) fn openid_configuration(version: Version, authority: &str, tenant: &Tenant) -> Response {
    let base = format!("{authority}/{}", tenant.id);
    let (issuer, path) = match version {
        Version::One => (tokens::issuer(&tenant.id), ""),
        Version::Two => (format!("{base}/v2.0"), "v2.0/"),
    };
    let document = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{base}/oauth2/{path}authorize"),
        "token_endpoint": format!("{base}/oauth2/{path}token"),
        "jwks_uri": format!("{base}/discovery/{path}keys"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        "response_types_supported": ["token"],
        "subject_types_supported": ["pairwise"],
    });
    call::json(StatusCode::OK, &document)
}

/// Tells every authority that is asked about that it is a good one.
pub(super) fn instances(world: &World, call: &Call) -> Response {
    let (own, first) = (call.called().authority(), world.tenants[0].id.as_str());
    let asked = call.query("authorization_endpoint").and_then(|endpoint| endpoint.strip_prefix("https://")?.split_once('/'));
    let (host, path) = asked.unwrap_or((own.trim_start_matches("https://"), first));
    let tenant = path.split('/').next().unwrap_or(first);
    let endpoint = format!("https://{host}/{tenant}/v2.0/.well-known/openid-configuration");
    let metadata = json!([{"preferred_network": host, "preferred_cache": host, "aliases": [host]}]);
    call::json(StatusCode::OK, &json!({"tenant_discovery_endpoint": endpoint, "api-version": "1.1", "metadata": metadata}))
}
