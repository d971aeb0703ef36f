//! The AdmissionReview that comes in, read in one pass into borrowed fields.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;

use keyvault_common::excerpt::excerpt;
use keyvault_mutation::pod::{PodView, Text};

/// A review whose uid is known, so that it can be answered as a review.
pub(super) struct Request<'a> {
    pub(super) uid: Text<'a>,
    pub(super) namespace: Text<'a>,
    pub(super) dry_run: bool,
    pub(super) subject: Subject<'a>,
}

/// What a review is about.
pub(super) enum Subject<'a> {
    /// A pod that is about to be created.
    Pod(Box<PodView<'a>>),
    /// Anything else, which is no business of ours.
    NotOurs,
    /// A pod that is about to be created and cannot be read, and why.
    Unreadable(String),
}

/// A body that is no review: there is no uid to answer to, so the answer is HTTP 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Nothing at all.
    #[error("the body is empty: an AdmissionReview is expected")]
    Empty,
    /// Not JSON, or fields of the wrong type: what and where.
    #[error("the body is not an AdmissionReview: {0}")]
    Json(String),
    /// Another kind of object, or another version of this one.
    #[error("{api_version:?} {kind:?} is not read here: register the webhook with admissionReviewVersions [v1]")]
    Version {
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
    /// `request` is null or absent.
    #[error("the AdmissionReview has no request")]
    NoRequest,
    /// `request.uid` is empty or absent.
    #[error("the AdmissionReview's request has no uid")]
    NoUid,
}

impl<'a> Request<'a> {
    /// Reads a review. An object that cannot be read costs a second pass that leaves it out.
    pub(super) fn parse(body: &'a [u8]) -> Result<Request<'a>, Malformed> {
        if body.trim_ascii().is_empty() {
            return Err(Malformed::Empty);
        }
        // Checked once as a whole, and not again for each of its texts.
        let body = std::str::from_utf8(body).map_err(|error| Malformed::Json(format!("it is not UTF-8 (byte {})", error.valid_up_to() + 1)))?;
        if holds_too_many_values(body) {
            return Request::without_object(body, &format!("it holds more than {MAX_VALUES} values"));
        }
        match serde_json::from_str::<ReviewJson<'a, PodView<'a>>>(body) {
            Ok(review) => review.request(|pod| pod.map_or_else(|| Subject::Unreadable("it is absent".to_owned()), |pod| Subject::Pod(Box::new(pod)))),
            Err(error) => Request::without_object(body, &place(&error)),
        }
    }

    /// Reads a review whose object is not read, and says why.
    fn without_object(body: &'a str, why: &str) -> Result<Request<'a>, Malformed> {
        match serde_json::from_str::<ReviewJson<'a, IgnoredAny>>(body) {
            Ok(review) => review.request(|_| Subject::Unreadable(why.to_owned())),
            Err(error) => Err(Malformed::Json(place(&error))),
        }
    }
}

/// How many values a review may hold: more than any pod that etcd takes. A value of two bytes may take a hundred once it is read.
const MAX_VALUES: usize = 100_000;

/// Counts the commas between values, in bodies that are long enough to have so many.
fn holds_too_many_values(body: &str) -> bool {
    // No value between commas is shorter than a digit.
    if body.len() <= 2 * MAX_VALUES {
        return false;
    }
    let (mut count, mut in_text, mut is_escaped) = (0, false, false);
    for byte in body.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            b',' if !in_text => count += 1,
            _ => {}
        }
    }
    count >= MAX_VALUES
}

/// What is wrong and where. Only that: the words around the place may be anything, secrets of the pod's author too.
fn place(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Io | Category::Syntax => "a mistake in the JSON",
        Category::Data => "a field is absent or of the wrong type",
        Category::Eof => "the end comes too early",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

/// No name of Kubernetes is longer.
const LONGEST_NAME: usize = 253;

/// Names that nothing in a cluster has are not looked up.
fn too_long(namespace: &str, pod: &PodView<'_>) -> bool {
    namespace.len() > LONGEST_NAME || pod.service_account_name().len() > LONGEST_NAME
}

// === JSON shapes ===

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "O: Deserialize<'de>"))]
struct ReviewJson<'a, O> {
    #[serde(borrow, default)]
    api_version: Text<'a>,
    #[serde(borrow, default)]
    kind: Text<'a>,
    #[serde(borrow, default = "none")]
    request: Option<RequestJson<'a, O>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "O: Deserialize<'de>"))]
struct RequestJson<'a, O> {
    #[serde(borrow, default)]
    uid: Text<'a>,
    #[serde(borrow, default)]
    kind: KindJson<'a>,
    #[serde(borrow)]
    sub_resource: Option<Text<'a>>,
    #[serde(borrow, default)]
    operation: Text<'a>,
    #[serde(borrow)]
    namespace: Option<Text<'a>>,
    dry_run: Option<bool>,
    #[serde(default = "none")]
    object: Option<O>,
}

#[derive(Default, Deserialize)]
struct KindJson<'a> {
    #[serde(borrow, default)]
    group: Text<'a>,
    #[serde(borrow, default)]
    kind: Text<'a>,
}

fn none<T>() -> Option<T> {
    None
}

impl<'a, O> ReviewJson<'a, O> {
    fn request(self, subject: impl FnOnce(Option<O>) -> Subject<'a>) -> Result<Request<'a>, Malformed> {
        if self.api_version.as_str() != "admission.k8s.io/v1" || self.kind.as_str() != "AdmissionReview" {
            let short = |text: &Text<'_>| excerpt(text.as_str(), LONGEST_NAME).into_owned();
            return Err(Malformed::Version { api_version: short(&self.api_version), kind: short(&self.kind) });
        }
        let request = self.request.ok_or(Malformed::NoRequest)?;
        if request.uid.as_str().is_empty() {
            return Err(Malformed::NoUid);
        }
        let creates_a_pod = request.creates_a_pod();
        let namespace = request.namespace.unwrap_or_default();
        let subject = match creates_a_pod {
            false => Subject::NotOurs,
            true if namespace.as_str().is_empty() => Subject::Unreadable("the request names no namespace".to_owned()),
            true => match subject(request.object) {
                Subject::Pod(pod) if too_long(namespace.as_str(), &pod) => {
                    Subject::Unreadable(format!("the names of its namespace and its ServiceAccount have at most {LONGEST_NAME} characters"))
                }
                subject @ (Subject::Pod(_) | Subject::NotOurs | Subject::Unreadable(_)) => subject,
            },
        };
        Ok(Request { uid: request.uid, namespace, dry_run: request.dry_run.unwrap_or(false), subject })
    }
}

impl<O> RequestJson<'_, O> {
    fn creates_a_pod(&self) -> bool {
        let whole_object = self.sub_resource.as_ref().is_none_or(|part| part.as_str().is_empty());
        self.kind.group.as_str().is_empty() && self.kind.kind.as_str() == "Pod" && self.operation.as_str() == "CREATE" && whole_object
    }
}
