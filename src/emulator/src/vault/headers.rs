//! The headers that every answer of Key Vault carries.

use axum::http::{HeaderMap, HeaderValue};

use crate::ids;

const SAME_FOR_ALL: [(&str, &str); 8] = [
    ("cache-control", "no-cache"),
    ("pragma", "no-cache"),
    ("expires", "-1"),
    ("x-ms-keyvault-region", "westus2"),
    ("x-ms-keyvault-service-version", "1.9.331.5"),
    ("x-ms-keyvault-network-info", "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=InterNetwork;"),
    ("strict-transport-security", "max-age=31536000;includeSubDomains"),
    ("x-content-type-options", "nosniff"),
];

/// Adds them; `client_request_id` is the request's own and goes back to it.
pub(super) fn add(headers: &mut HeaderMap, client_request_id: Option<HeaderValue>) {
    for (name, value) in SAME_FOR_ALL {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(&ids::guid()) {
        headers.insert("x-ms-request-id", id);
    }
    if let Some(id) = client_request_id {
        headers.insert("x-ms-client-request-id", id);
    }
}
