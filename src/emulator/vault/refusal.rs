//! Every way in which Key Vault says no, word for word.

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use crate::emulator::call;
use crate::emulator::config::RefusalWords;
use crate::names::ObjectKind;

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    MissingToken,
    UnknownKey,
    InvalidAudience {
        expected: String,
        found: String,
    },
    InvalidIssuer {
        expected: String,
        found: String,
    },
    TokenExpired,
    Forbidden(Box<Forbidden>),
    Throttled,
    NoApiVersion,
    UnknownApiVersion(String),
    InvalidName(String),
    InvalidParameter(&'static str),
    InvalidProperty(&'static str),
    TooLong {
        what: &'static str,
        limit: usize,
    },
    MethodNotAllowed(Method),
    NoSuchPath,
    NotServed(&'static str),
    SecretNotFound(String),
    DeletedSecretNotFound(String),
    SecretDisabled,
    DeletedButRecoverable(String),
    /// A scripted status.
    Scripted(StatusCode),
}

/// A 403 and what it says of caller, action and vault.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Forbidden {
    pub(super) why: Why,
    /// `appid=…;oid=…`
    pub(super) caller: String,
    /// `https://sts.windows.net/TENANT/`
    pub(super) issuer: String,
    pub(super) vault: String,
}

/// What a caller wants to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) kind: ObjectKind,
    /// The word of access policies: `get`.
    pub(super) verb: &'static str,
    /// The end of the RBAC data action: `getSecret/action`.
    pub(super) rbac: &'static str,
    /// `/secrets/NAME`, or empty for the whole vault.
    pub(super) object: String,
}

/// What stands between the caller and the vault.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// No permission for this action.
    Permission { words: RefusalWords, action: Action },
    /// This address may not come in.
    Firewall { address: String },
    /// Nobody may come in from a public network.
    Connection,
}

#[derive(Serialize)]
struct Body<'b> {
    error: Error<'b>,
}

#[derive(Serialize)]
struct Error<'b> {
    code: &'b str,
    message: &'b str,
    #[serde(skip_serializing_if = "Option::is_none")]
    innererror: Option<Inner<'b>>,
}

#[derive(Serialize)]
struct Inner<'b> {
    code: &'b str,
}

impl Refusal {
    /// The answer; `challenge` is what a 401 carries.
    pub(super) fn response(&self, challenge: &str) -> Response {
        let (status, code, inner) = self.codes();
        let body = Body { error: Error { code, message: &self.message(), innererror: inner.map(|code| Inner { code }) } };
        let mut response = call::json(status, &body);
        if let (StatusCode::UNAUTHORIZED, Ok(challenge)) = (status, HeaderValue::from_str(challenge)) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }

    fn codes(&self) -> (StatusCode, &'static str, Option<&'static str>) {
        match self {
            Refusal::MissingToken | Refusal::UnknownKey | Refusal::InvalidAudience { .. } | Refusal::InvalidIssuer { .. } | Refusal::TokenExpired => {
                (StatusCode::UNAUTHORIZED, "Unauthorized", None)
            }
            Refusal::Forbidden(forbidden) => (StatusCode::FORBIDDEN, "Forbidden", Some(forbidden.why.code())),
            Refusal::SecretDisabled => (StatusCode::FORBIDDEN, "Forbidden", Some("SecretDisabled")),
            Refusal::Throttled => (StatusCode::TOO_MANY_REQUESTS, "Throttled", None),
            Refusal::NoApiVersion
            | Refusal::UnknownApiVersion(_)
            | Refusal::InvalidName(_)
            | Refusal::InvalidParameter(_)
            | Refusal::InvalidProperty(_)
            | Refusal::TooLong { .. } => (StatusCode::BAD_REQUEST, "BadParameter", None),
            Refusal::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", None),
            Refusal::NoSuchPath => (StatusCode::NOT_FOUND, "NotFound", None),
            Refusal::NotServed(_) => (StatusCode::NOT_IMPLEMENTED, "NotImplemented", None),
            Refusal::SecretNotFound(_) | Refusal::DeletedSecretNotFound(_) => (StatusCode::NOT_FOUND, "SecretNotFound", None),
            Refusal::DeletedButRecoverable(_) => (StatusCode::CONFLICT, "Conflict", Some("ObjectIsDeletedButRecoverable")),
            Refusal::Scripted(StatusCode::UNAUTHORIZED) => (StatusCode::UNAUTHORIZED, "Unauthorized", None),
            Refusal::Scripted(status) => (*status, "Scripted", None),
        }
    }

    fn message(&self) -> String {
        match self {
            Refusal::MissingToken => "AKV10000: Request is missing a Bearer or PoP token.".into(),
            Refusal::UnknownKey => "AKV10046: Unable to resolve the key used for signature validation.".into(),
            Refusal::InvalidAudience { expected, found } => format!("AKV10022: Invalid audience. Expected {expected}, found: {found}."),
            Refusal::InvalidIssuer { expected, found } => format!("AKV10032: Invalid issuer. Expected one of {expected}, found {found}."),
            Refusal::TokenExpired => "[TokenExpired] Error validating token: 'S2S12086'.".into(),
            Refusal::Forbidden(forbidden) => forbidden.message(),
            Refusal::Throttled => "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached".into(),
            Refusal::NoApiVersion => "api-version must be specified".into(),
            Refusal::UnknownApiVersion(version) => {
                format!("The specified version ({version}) is not recognized. Consider using the latest supported version (2026-04-01).")
            }
            Refusal::InvalidName(name) => format!("The request URI contains an invalid name: {name}"),
            Refusal::InvalidParameter(name) => format!("The request URI contains an invalid parameter: {name}"),
            Refusal::InvalidProperty(name) => format!("Property {name} has invalid value\r\n"),
            Refusal::TooLong { what, limit } => format!("The secret's {what} is longer than {limit}."),
            Refusal::MethodNotAllowed(method) => format!("HTTP {method} not allowed"),
            Refusal::NoSuchPath => "The requested path does not exist.".into(),
            Refusal::NotServed(what) => format!("This emulator does not serve {what} yet."),
            Refusal::SecretNotFound(id) => format!(
                "A secret with (name/id) {id} was not found in this key vault. If you recently deleted this secret you may be able to recover it \
                 using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"
            ),
            Refusal::DeletedSecretNotFound(name) => format!("Deleted Secret not found: {name}"),
            Refusal::SecretDisabled => "Operation get is not allowed on a disabled secret.".into(),
            Refusal::DeletedButRecoverable(name) => format!(
                "Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the secret can only \
                 be recovered or purged."
            ),
            Refusal::Scripted(status) => format!("The emulator was told to answer {}.", status.as_u16()),
        }
    }
}

impl Why {
    fn code(&self) -> &'static str {
        match self {
            Why::Permission { words: RefusalWords::Rbac, .. } => "ForbiddenByRbac",
            Why::Permission { words: RefusalWords::Policy, .. } => "ForbiddenByPolicy",
            Why::Permission { words: RefusalWords::Denied, .. } => "AccessDenied",
            Why::Firewall { .. } => "ForbiddenByFirewall",
            Why::Connection => "ForbiddenByConnection",
        }
    }
}

impl Forbidden {
    fn message(&self) -> String {
        let Forbidden { caller, issuer, vault, .. } = self;
        match &self.why {
            Why::Permission { words: RefusalWords::Rbac, action: Action { kind, rbac, object, .. } } => format!(
                "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role definitions were changed \
                 recently, please observe propagation time.\r\nCaller: {caller};iss={issuer}\r\nAction: 'Microsoft.KeyVault/vaults/{}/{rbac}'\r\nResource: \
                 '/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/emulator/providers/microsoft.keyvault/vaults/{vault}{object}'\r\n\
                 Assignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: 'DeniedWithNoValidRBAC' \r\nVault: {vault};location=westus2\r\n",
                kind.collection()
            ),
            Why::Permission { words: RefusalWords::Policy | RefusalWords::Denied, action: Action { kind, verb, .. } } => format!(
                "The user, group or application '{caller};numgroups=0;iss={issuer}' does not have {} {verb} permission on key vault \
                 '{vault};location=westus2'. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287",
                kind.collection()
            ),
            Why::Firewall { address } => format!(
                "Client address is not authorized and caller is not a trusted service.\r\nClient address: {address}\r\nCaller: \
                 {caller};iss={issuer}\r\nVault: {vault};location=westus2"
            ),
            Why::Connection => format!(
                "Public network access is disabled and request is not from a trusted service nor via an approved private link.\r\nCaller: \
                 {caller};iss={issuer}\r\nVault: {vault};location=westus2"
            ),
        }
    }
}
