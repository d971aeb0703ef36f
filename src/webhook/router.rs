//! HTTP: what is not a review is refused with a reason; what is one is read within bounds.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::request::Malformed;
use super::reviewer::{NoAnswer, Reviewer};
use crate::installation::REVIEW_PATH;

/// What the router puts up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest review, in bytes: the API server's own limit for an object is half of this.
    pub body: u32,
    /// Bytes of reviews in memory at one time. A review waits for room before its body is read.
    pub memory: u32,
    /// How long it waits. Short of the 5 seconds that the API server gives us, so that the reason reaches the pod's author.
    pub wait: Duration,
    /// How long a body may take.
    pub read: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { body: 3 << 20, memory: 24 << 20, wait: Duration::from_secs(2), read: Duration::from_secs(5) }
    }
}

/// The least that a review counts for, so that small ones are bounded in number too.
const LEAST: u32 = 64 << 10;

struct Endpoint {
    reviewer: Reviewer,
    room: Semaphore,
    limits: Limits,
}

/// `POST /mutate` and nothing else.
pub fn router(reviewer: Reviewer, limits: Limits) -> Router {
    let room = Semaphore::new(limits.memory as usize);
    Router::new()
        .route(REVIEW_PATH, post(mutate))
        .method_not_allowed_fallback(|| async { Refusal::Method })
        .fallback(|| async { Refusal::Path })
        .with_state(Arc::new(Endpoint { reviewer, room, limits }))
}

async fn mutate(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    let _in_flight = endpoint.reviewer.metrics().begin();
    match endpoint.answer(request).await {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(refusal) => {
            // A panic was counted and logged with its review.
            if !matches!(refusal, Refusal::Panicked) {
                endpoint.reviewer.metrics().answered(refusal.word());
                tracing::warn!(outcome = refusal.word(), reason = %refusal, "a request was refused");
            }
            refusal.into_response()
        }
    }
}

impl Endpoint {
    async fn answer(&self, request: Request) -> Result<Vec<u8>, Refusal> {
        if !is_json(request.headers()) {
            return Err(Refusal::ContentType);
        }
        let body = request.into_body();
        let _room = self.room_for(body.size_hint().upper()).await?;
        let body = self.read(body).await?;
        self.reviewer.answer(&body).await.map_err(Refusal::from)
    }

    /// A body that does not tell its length counts as the largest.
    async fn room_for(&self, length: Option<u64>) -> Result<SemaphorePermit<'_>, Refusal> {
        let length = length.unwrap_or(u64::from(self.limits.body));
        let length = u32::try_from(length).ok().filter(|length| *length <= self.limits.body).ok_or(Refusal::TooLarge(self.limits.body))?;
        match timeout(self.limits.wait, self.room.acquire_many(length.max(LEAST).min(self.limits.memory))).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Refusal::Busy),
        }
    }

    async fn read(&self, body: Body) -> Result<Bytes, Refusal> {
        match timeout(self.limits.read, Limited::new(body, self.limits.body as usize).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if is_length_limit(&*error) => Err(Refusal::TooLarge(self.limits.body)),
            Ok(Err(_)) => Err(Refusal::Broken),
            Err(_) => Err(Refusal::Slow(self.limits.read)),
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let essence = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()?.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

fn is_length_limit(error: &(dyn Error + 'static)) -> bool {
    error.is::<LengthLimitError>()
}

/// An answer that is not a review. The API server shows the text to whoever creates the pod.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("only POST /mutate is answered here")]
    Path,
    #[error("only POST is answered here")]
    Method,
    #[error("send the AdmissionReview as application/json")]
    ContentType,
    #[error("the review is larger than {0} bytes")]
    TooLarge(u32),
    #[error("too many reviews are in flight: try again, or give the webhook more replicas")]
    Busy,
    #[error("the body did not arrive within {0:?}")]
    Slow(Duration),
    #[error("the body broke off")]
    Broken,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("keyvault-injector met a defect of its own while it judged this pod; its log says where")]
    Panicked,
}

impl From<NoAnswer> for Refusal {
    fn from(no_answer: NoAnswer) -> Refusal {
        match no_answer {
            NoAnswer::Malformed(malformed) => Refusal::Malformed(malformed),
            NoAnswer::Panicked => Refusal::Panicked,
        }
    }
}

impl Refusal {
    /// One word for logs and metrics, and the status.
    fn class(&self) -> (&'static str, StatusCode) {
        match self {
            Refusal::Path => ("not-found", StatusCode::NOT_FOUND),
            Refusal::Method => ("wrong-method", StatusCode::METHOD_NOT_ALLOWED),
            Refusal::ContentType => ("wrong-content-type", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Refusal::TooLarge(_) => ("too-large", StatusCode::PAYLOAD_TOO_LARGE),
            Refusal::Busy => ("busy", StatusCode::SERVICE_UNAVAILABLE),
            Refusal::Slow(_) => ("slow", StatusCode::REQUEST_TIMEOUT),
            Refusal::Broken => ("broken", StatusCode::BAD_REQUEST),
            Refusal::Malformed(_) => ("malformed", StatusCode::BAD_REQUEST),
            Refusal::Panicked => ("panicked", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    fn word(&self) -> &'static str {
        self.class().0
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.class().1, format!("{self}\n")).into_response()
    }
}
