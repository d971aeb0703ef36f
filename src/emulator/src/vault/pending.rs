//! Certificates that are being made.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use crate::crypto::key::PrivateKey;
use crate::crypto::{Malformed, x509};
use crate::ids;
use keyvault_common::names::ObjectName;

use super::policy::{Issuer, Policy};
use super::refusal::Refusal;

/// What has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Status {
    InProgress,
    Completed,
    Cancelled,
    Failed(String),
}

/// A certificate that is being made, or was.
pub(super) struct Pending {
    pub(super) name: ObjectName,
    /// The version that it will fill.
    pub(super) version: String,
    pub(super) key: PrivateKey,
    /// Whether the certificate will be enabled.
    pub(super) enabled: bool,
    policy: Policy,
    csr: Vec<u8>,
    request_id: String,
    status: Status,
    cancellation_requested: bool,
    /// When a self-signed one is done, in seconds since 1970.
    due: u64,
}

/// As it travels.
#[derive(Serialize)]
pub(super) struct Operation {
    id: String,
    issuer: Issuer,
    csr: String,
    cancellation_requested: bool,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_details: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<OperationError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    pub(super) request_id: String,
}

#[derive(Serialize)]
struct OperationError {
    code: &'static str,
    message: String,
}

impl Pending {
    /// A request for the key that the policy asks for; `takes` is for how many seconds a self-signed certificate is in progress.
    pub(super) fn new(name: ObjectName, policy: Policy, key: PrivateKey, enabled: bool, due: u64) -> Result<Pending, Malformed> {
        let csr = x509::certificate_request(&key, &policy.profile())?;
        let (version, request_id) = (ids::hex(), ids::hex());
        Ok(Pending { name, version, key, enabled, policy, csr, request_id, status: Status::InProgress, cancellation_requested: false, due })
    }

    pub(super) fn is_in_progress(&self) -> bool {
        self.status == Status::InProgress
    }

    /// Whether the emulator has to do something about it now.
    pub(super) fn is_due(&mut self, now: u64) -> bool {
        if self.is_in_progress() && self.cancellation_requested {
            self.status = Status::Cancelled;
        }
        self.is_in_progress() && self.policy.is_self_signed() && self.due <= now
    }

    /// Signs the certificate with its own key, as of the time at which it is due: a later look finds the same certificate.
    pub(super) fn sign(&self) -> Result<Vec<x509::Certificate>, Malformed> {
        let der = x509::self_signed(&self.key, &self.policy.profile(), i64::try_from(self.due).unwrap_or_default())?;
        Ok(vec![x509::Certificate::parse(&der)?])
    }

    pub(super) fn end(&mut self, error: Option<String>) {
        self.status = error.map_or(Status::Completed, Status::Failed);
    }

    pub(super) fn request_cancellation(&mut self) -> Result<(), Refusal> {
        if !self.is_in_progress() {
            return Err(Refusal::NotInProgress);
        }
        self.cancellation_requested = true;
        Ok(())
    }

    /// Whether a certificate from outside may complete it.
    pub(super) fn admits(&self, leaf: &x509::Certificate) -> Result<(), Refusal> {
        let issuer = self.policy.issuer.name.as_deref().unwrap_or("Unknown");
        if self.status == Status::Completed {
            return Err(Refusal::NotInProgress);
        }
        if issuer != "Unknown" && self.is_in_progress() {
            return Err(Refusal::MergeForbidden(issuer.to_owned()));
        }
        if leaf.spki == self.key.spki() { Ok(()) } else { Err(Refusal::Malformed(Malformed("the certificate is not for the key of this request"))) }
    }

    /// The operation for a client that calls the vault by `host`.
    pub(super) fn operation(&self, host: &str) -> Operation {
        let base = format!("https://{host}/certificates/{}", self.name);
        let (status, error) = match &self.status {
            Status::InProgress => ("inProgress", None),
            Status::Completed => ("completed", None),
            Status::Cancelled => ("cancelled", None),
            Status::Failed(message) => ("failed", Some(OperationError { code: "Request rejected", message: message.clone() })),
        };
        let details = if self.policy.issuer.name.as_deref() == Some("Unknown") {
            "Pending certificate created. Please Perform Merge to complete the request."
        } else {
            "Pending certificate created. Certificate request is in progress. This may take some time based on the issuer provider. Please check \
             again later."
        };
        Operation {
            issuer: self.policy.issuer.clone(),
            csr: BASE64_STANDARD.encode(&self.csr),
            cancellation_requested: self.cancellation_requested,
            status,
            status_details: self.is_in_progress().then_some(details),
            error,
            target: (self.status == Status::Completed).then(|| base.clone()),
            request_id: self.request_id.clone(),
            id: base + "/pending",
        }
    }
}
