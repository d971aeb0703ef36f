//! The AdmissionReview that goes out.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::ser::SerializeMap;

use super::defaults::LookupError;
use super::warnings;
use keyvault_mutation::inject::{Denial, Injection};

/// What a review comes to.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The core let the pod pass, with a patch or without.
    Allowed(Injection),
    /// The core refused the pod.
    Denied(Denial),
    /// Not the creation of a pod.
    NotOurs,
    /// The creation of a pod that cannot be read.
    Unreadable(String),
    /// The pod cannot be judged, because its defaults are not known.
    NoDefaults {
        /// The pod's namespace.
        namespace: String,
        /// Why.
        error: LookupError,
    },
}

impl From<Result<Injection, Denial>> for Verdict {
    fn from(decision: Result<Injection, Denial>) -> Verdict {
        decision.map_or_else(Verdict::Denied, Verdict::Allowed)
    }
}

impl Verdict {
    /// One word for logs and metrics.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Verdict::Allowed(injection) => injection.outcome.as_str(),
            Verdict::Denied(_) => "denied",
            Verdict::NotOurs => "not-a-pod",
            Verdict::Unreadable(_) => "unreadable",
            Verdict::NoDefaults { .. } => "no-defaults",
        }
    }

    /// The answer as the API server reads it.
    pub(super) fn to_json(&self, uid: &str) -> Vec<u8> {
        let allowed = || Response { uid, allowed: true, ..Response::default() };
        let refused = |code, reason, message| Response { uid, status: Some(Status { code, message, reason }), ..Response::default() };
        let response = match self {
            Verdict::Allowed(injection) => Response {
                patch_type: (!injection.patch.is_empty()).then_some("JSONPatch"),
                warnings: warnings::fit(&injection.warnings),
                audit_annotations: Audit(&injection.audit),
                ..allowed()
            },
            Verdict::NotOurs => allowed(),
            Verdict::Denied(denial) => refused(403, "Forbidden", denial.to_string()),
            Verdict::Unreadable(why) => refused(400, "BadRequest", format!("keyvault-injector: the pod cannot be read: {why}")),
            Verdict::NoDefaults { namespace, error } => refused(503, "ServiceUnavailable", no_defaults(namespace, error)),
        };
        let mut answer = json(&Answer { api_version: "admission.k8s.io/v1", kind: "AdmissionReview", response });
        if let Verdict::Allowed(injection) = self
            && !injection.patch.is_empty()
        {
            append_patch(&mut answer, &json(&injection.patch));
        }
        answer
    }
}

/// Writes the patch behind the other fields of the response. Base64 has nothing to escape: it needs no second look and no copy.
fn append_patch(answer: &mut Vec<u8>, patch: &[u8]) {
    const END: &[u8] = b"}}";
    answer.truncate(answer.len() - END.len());
    answer.extend_from_slice(br#","patch":""#);
    let start = answer.len();
    answer.resize(start + patch.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(patch, &mut answer[start..]);
    debug_assert_eq!(written, Ok(answer.len() - start), "base64 makes four characters of three bytes");
    answer.push(b'"');
    answer.extend_from_slice(END);
}

fn no_defaults(namespace: &str, error: &LookupError) -> String {
    format!(
        "keyvault-injector: the annotations of namespace {namespace} and of the pod's ServiceAccount are not known yet, and {error}; try again, and if \
         that does not help, ask the operator whether the webhook may get, list and watch namespaces and serviceaccounts"
    )
}

#[expect(clippy::expect_used, reason = "only maps with keys other than text cannot be written, and these types have none")]
fn json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8192);
    serde_json::to_writer(&mut bytes, value).expect("answers and patches are plain JSON");
    bytes
}

// === JSON shapes ===

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Audit::is_empty")]
    audit_annotations: Audit<'a>,
}

#[derive(Serialize)]
struct Status {
    code: u16,
    message: String,
    reason: &'static str,
}

#[derive(Default)]
struct Audit<'a>(&'a [(&'static str, String)]);

impl Audit<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Audit<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}
