//! Every way in which Key Vault says no, word for word.

mod forbidden;
mod words;

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use crate::call;
use crate::config::RefusalWords;
use crate::crypto::Malformed;
use keyvault_common::names::{ObjectKind, ObjectName};

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
    /// The host names none of the vaults.
    NoVault {
        name: String,
        vaults: String,
    },
    BodyTooLong,
    /// Name, or name and version.
    NotFound(ObjectKind, String),
    DeletedNotFound(ObjectKind, String),
    /// The operation that a disabled object does not do.
    Disabled(ObjectKind, &'static str),
    DeletedButRecoverable(ObjectKind, String),
    /// The address of the object that is there already.
    RestoreConflict(ObjectKind, String),
    /// An operation that only the certificate around a key or secret may do.
    Managed(ObjectKind, &'static str),
    /// A certificate cannot have this name: an object without a certificate has it.
    NameTaken(ObjectKind, String),
    /// An operation that is not among the key's own.
    KeyOperation(&'static str),
    /// Outside the time of the key.
    KeyTime {
        operation: &'static str,
        expired: bool,
    },
    UnknownAlgorithm(String),
    /// Values that fit neither key nor algorithm.
    Malformed(Malformed),
    /// A certificate that cannot be imported.
    Import(String),
    PendingNotFound(String),
    PendingInProgress,
    NotInProgress,
    /// The issuer's name.
    MergeForbidden(String),
    ContactsNotFound,
    IssuerNotFound(String),
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

impl Action {
    pub(super) fn on(kind: ObjectKind, verb: &'static str, rbac: &'static str, name: Option<&ObjectName>) -> Action {
        Action { kind, verb, rbac, object: name.map_or_else(String::new, |name| format!("/{}/{name}", kind.collection())) }
    }
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
            Refusal::Disabled(kind, _) => (StatusCode::FORBIDDEN, "Forbidden", Some(disabled(*kind))),
            Refusal::Managed(..) | Refusal::MergeForbidden(_) => (StatusCode::FORBIDDEN, "Forbidden", None),
            Refusal::KeyOperation(_) => (StatusCode::FORBIDDEN, "Forbidden", Some("KeyOperationForbidden")),
            Refusal::KeyTime { expired, .. } => (StatusCode::FORBIDDEN, "Forbidden", Some(if *expired { "KeyExpired" } else { "KeyNotYetValid" })),
            Refusal::Throttled => (StatusCode::TOO_MANY_REQUESTS, "Throttled", None),
            Refusal::NoApiVersion
            | Refusal::UnknownApiVersion(_)
            | Refusal::InvalidName(_)
            | Refusal::InvalidParameter(_)
            | Refusal::InvalidProperty(_)
            | Refusal::UnknownAlgorithm(_)
            | Refusal::Malformed(_)
            | Refusal::Import(_)
            | Refusal::NotInProgress
            | Refusal::TooLong { .. } => (StatusCode::BAD_REQUEST, "BadParameter", None),
            Refusal::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", None),
            Refusal::NoSuchPath => (StatusCode::NOT_FOUND, "NotFound", None),
            Refusal::NoVault { .. } => (StatusCode::NOT_FOUND, "VaultNotFound", None),
            Refusal::BodyTooLong => (StatusCode::PAYLOAD_TOO_LARGE, "RequestBodyTooLarge", None),
            Refusal::NotFound(kind, _) | Refusal::DeletedNotFound(kind, _) => (StatusCode::NOT_FOUND, not_found(*kind), None),
            Refusal::PendingNotFound(_) => (StatusCode::NOT_FOUND, "PendingCertificateNotFound", None),
            Refusal::ContactsNotFound => (StatusCode::NOT_FOUND, "CertificateContactsNotFound", None),
            Refusal::IssuerNotFound(_) => (StatusCode::NOT_FOUND, "CertificateIssuerNotFound", None),
            Refusal::DeletedButRecoverable(..) => (StatusCode::CONFLICT, "Conflict", Some("ObjectIsDeletedButRecoverable")),
            Refusal::RestoreConflict(..) | Refusal::NameTaken(..) => (StatusCode::CONFLICT, "Conflict", None),
            // As documented: the status of a conflict, the code of a refusal.
            Refusal::PendingInProgress => (StatusCode::CONFLICT, "Forbidden", None),
            Refusal::Scripted(StatusCode::UNAUTHORIZED) => (StatusCode::UNAUTHORIZED, "Unauthorized", None),
            Refusal::Scripted(status) => (*status, "Scripted", None),
        }
    }

    pub(super) fn message(&self) -> String {
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
            Refusal::NoVault { name, vaults } => format!("There is no vault {name} here. The first label of the host names the vault: {vaults}."),
            Refusal::BodyTooLong => format!("The request body is longer than {} bytes.", call::BODY_LIMIT),
            Refusal::UnknownAlgorithm(name) => format!("Property alg has invalid value {name}\r\n"),
            Refusal::Malformed(reason) => format!("The parameter is incorrect.\r\n {reason}."),
            Refusal::Import(reason) => {
                format!(
                    "The specified X.509 certificate content can not be read. Please check if certificate is in valid PKCS#12 or PEM format. ({reason})"
                )
            }
            Refusal::NotFound(kind, id) => words::not_found(*kind, id),
            Refusal::DeletedNotFound(kind, name) => format!("Deleted {} not found: {name}", words::title(*kind)),
            Refusal::PendingNotFound(name) => format!("Pending certificate not found: {name}"),
            Refusal::ContactsNotFound => "Contacts not found".into(),
            Refusal::IssuerNotFound(name) => format!("Issuer not found: {name}"),
            Refusal::Disabled(kind, operation) => format!("Operation {operation} is not allowed on a disabled {}.", kind.noun()),
            Refusal::KeyOperation(operation) => format!("Operation {operation} is not permitted on this key."),
            Refusal::KeyTime { operation, expired: true } => format!("Operation {operation} is not allowed on an expired key."),
            Refusal::KeyTime { operation, expired: false } => format!("Operation {operation} is not allowed on a key that is not yet valid."),
            Refusal::Managed(kind, operation) => {
                format!("Operation {operation} is not allowed on a {} that belongs to a certificate: use the certificate.", kind.noun())
            }
            Refusal::MergeForbidden(issuer) => format!("Merge is forbidden on pending object created with issuer : {issuer} while it is in progess."),
            Refusal::NotInProgress => "The pending certificate is not in progress.".into(),
            Refusal::DeletedButRecoverable(kind, name) => words::deleted_but_recoverable(*kind, name),
            Refusal::RestoreConflict(kind, id) => words::restore_conflict(*kind, id),
            Refusal::NameTaken(kind, name) => format!("A {} with the name {name} exists that belongs to no certificate.", kind.noun()),
            Refusal::PendingInProgress => {
                "A new key vault certificate can not be created or imported while a pending key vault certificate's status is inProgress.".into()
            }
            Refusal::Scripted(status) => format!("The emulator was told to answer {}.", status.as_u16()),
        }
    }
}

fn not_found(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Secret => "SecretNotFound",
        ObjectKind::Certificate => "CertificateNotFound",
        ObjectKind::Key => "KeyNotFound",
    }
}

fn disabled(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Secret => "SecretDisabled",
        ObjectKind::Certificate => "CertificateDisabled",
        ObjectKind::Key => "KeyDisabled",
    }
}
