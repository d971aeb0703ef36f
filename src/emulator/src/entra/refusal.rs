//! Every way in which Entra refuses a token, with its AADSTS number.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::{call, clock, ids};

/// Why there is no token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    UnknownTenant(String),
    TenantForm(String),
    MissingParameter(&'static str),
    GrantType(String),
    Scope(String),
    UnknownResource {
        resource: String,
        tenant: String,
    },
    UnknownApplication {
        client_id: String,
        tenant: String,
    },
    NoCredential,
    WrongSecret {
        client_id: String,
    },
    AssertionType(String),
    MalformedAssertion,
    NoFederation {
        client_id: String,
    },
    Issuer(String),
    Subject(String),
    Audience(String),
    Signature,
    /// The assertion is another application's.
    AssertionClient,
    AssertionAudience,
    Certificate {
        why: Unfit,
        /// Hexadecimal.
        thumbprint: String,
    },
    Time {
        now: u64,
        from: u64,
        until: u64,
    },
    Unavailable,
    Throttled,
    /// A scripted status.
    Scripted(StatusCode),
}

/// What is wrong with the certificate of an assertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    Unknown,
    Signature,
    Expired,
}

impl Refusal {
    /// The answer; `correlation` is the request's own id, if it sent one.
    pub(super) fn response(&self, correlation: Option<&str>) -> Response {
        let (status, error, number) = self.codes();
        let (trace, correlation, time) = (ids::guid(), correlation.map_or_else(ids::guid, str::to_owned), clock::timestamp(clock::now()));
        let description = format!("AADSTS{number}: {} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {time}", self.text());
        let body = json!({
            "error": error,
            "error_description": description,
            "error_codes": [number],
            "timestamp": time,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
        });
        call::json(status, &body)
    }

    fn codes(&self) -> (StatusCode, &'static str, u32) {
        use StatusCode as Status;
        match self {
            Refusal::UnknownTenant(_) => (Status::BAD_REQUEST, "invalid_request", 90002),
            Refusal::TenantForm(_) => (Status::BAD_REQUEST, "invalid_request", 900_023),
            Refusal::MissingParameter(_) => (Status::BAD_REQUEST, "invalid_request", 900_144),
            Refusal::GrantType(_) => (Status::BAD_REQUEST, "unsupported_grant_type", 70003),
            Refusal::Scope(_) => (Status::BAD_REQUEST, "invalid_scope", 1_002_012),
            Refusal::UnknownResource { .. } => (Status::BAD_REQUEST, "invalid_resource", 500_011),
            Refusal::UnknownApplication { .. } => (Status::BAD_REQUEST, "unauthorized_client", 700_016),
            Refusal::NoCredential => (Status::UNAUTHORIZED, "invalid_client", 7_000_216),
            Refusal::WrongSecret { .. } => (Status::UNAUTHORIZED, "invalid_client", 7_000_215),
            Refusal::AssertionType(_) => (Status::BAD_REQUEST, "invalid_request", 50027),
            Refusal::MalformedAssertion => (Status::BAD_REQUEST, "invalid_request", 50027),
            Refusal::NoFederation { .. } => (Status::UNAUTHORIZED, "invalid_client", 70025),
            Refusal::Issuer(_) => (Status::UNAUTHORIZED, "invalid_client", 700_211),
            Refusal::Audience(_) => (Status::UNAUTHORIZED, "invalid_client", 700_212),
            Refusal::Subject(_) => (Status::UNAUTHORIZED, "invalid_client", 700_213),
            Refusal::Signature => (Status::UNAUTHORIZED, "invalid_client", 50013),
            Refusal::AssertionClient => (Status::UNAUTHORIZED, "invalid_client", 700_021),
            Refusal::AssertionAudience => (Status::UNAUTHORIZED, "invalid_client", 700_023),
            Refusal::Certificate { .. } => (Status::UNAUTHORIZED, "invalid_client", 700_027),
            Refusal::Time { .. } => (Status::UNAUTHORIZED, "invalid_client", 700_024),
            Refusal::Unavailable => (Status::SERVICE_UNAVAILABLE, "temporarily_unavailable", 90033),
            Refusal::Throttled => (Status::TOO_MANY_REQUESTS, "temporarily_unavailable", 90033),
            Refusal::Scripted(status) => (*status, "scripted", 0),
        }
    }

    fn text(&self) -> String {
        match self {
            Refusal::UnknownTenant(tenant) => format!(
                "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with \
                 your subscription administrator, this may happen if there are no active subscriptions for the tenant."
            ),
            Refusal::TenantForm(tenant) => {
                format!("Specified tenant identifier '{tenant}' is neither a valid DNS name, nor a valid external domain.")
            }
            Refusal::MissingParameter(name) => format!("The request body must contain the following parameter: '{name}'."),
            Refusal::GrantType(grant) => format!("The app requested an unsupported grant type '{grant}'."),
            Refusal::Scope(scope) => format!(
                "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with /.default suffixed to the \
                 resource identifier (application ID URI)."
            ),
            Refusal::UnknownResource { resource, tenant } => {
                format!("The resource principal named {resource} was not found in the tenant named {tenant}.")
            }
            Refusal::UnknownApplication { client_id, tenant } => format!(
                "Application with identifier '{client_id}' was not found in the directory '{tenant}'. This can happen if the application has not \
                 been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication \
                 request to the wrong tenant."
            ),
            Refusal::NoCredential => "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.".into(),
            Refusal::WrongSecret { client_id } => format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, \
                 for a secret added to app '{client_id}'."
            ),
            Refusal::AssertionType(kind) => format!("JWT token is invalid or malformed. The client_assertion_type '{kind}' is not supported."),
            Refusal::MalformedAssertion => "JWT token is invalid or malformed.".into(),
            Refusal::NoFederation { client_id } => format!("The client '{client_id}' has no configured federated identity credentials."),
            Refusal::Issuer(found) => unmatched("issuer", found),
            Refusal::Audience(found) => unmatched("audience", found),
            Refusal::Subject(found) => unmatched("subject", found),
            Refusal::Signature => "Assertion failed signature validation. [Reason - The key was not found.]".into(),
            Refusal::AssertionClient => "Client assertion application identifier doesn't match 'client_id' parameter.".into(),
            Refusal::AssertionAudience => "Client assertion audience claim does not match Realm issuer.".into(),
            Refusal::Certificate { why, thumbprint } => why.text(thumbprint),
            Refusal::Time { now, from, until } => format!(
                "Client assertion is not within its valid time range. Current time: {}, assertion valid from {}, expiry time of assertion {}. Review \
                 the documentation at https://learn.microsoft.com/entra/identity-platform/certificate-credentials .",
                clock::timestamp(*now),
                clock::timestamp(*from),
                clock::timestamp(*until)
            ),
            Refusal::Unavailable | Refusal::Throttled => "A transient error has occurred. Please try again.".into(),
            Refusal::Scripted(status) => format!("The emulator was told to answer {}.", status.as_u16()),
        }
    }
}

impl Unfit {
    fn text(self, thumbprint: &str) -> String {
        let (what, reason) = match self {
            Unfit::Unknown => {
                ("The certificate with identifier used to sign the client assertion is not registered on application.", "The key was not found.")
            }
            Unfit::Signature => {
                ("Client assertion contains an invalid signature.", "The key was found but use of the key to verify the signature failed.")
            }
            Unfit::Expired => ("Client assertion contains an invalid signature.", "The key used is expired."),
        };
        format!("{what} [Reason - {reason}, Thumbprint of key used by client: '{thumbprint}']")
    }
}

fn unmatched(what: &str, found: &str) -> String {
    format!(
        "No matching federated identity record found for presented assertion {what} '{found}'. Check your federated identity credential Subject, \
         Audience and Issuer against the presented assertion. https://learn.microsoft.com/entra/workload-id/workload-identity-federation"
    )
}
