//! HTTP: what is not a review is refused with a reason; what is one is read within bounds.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::referrals::Referrals;
use super::request::Malformed;
use super::reviewer::{NoAnswer, Reviewer};
use super::room::{NoRoom, Room, STEP, Share};
use crate::tls::Stopping;
use keyvault_mutation::installation::REVIEW_PATH;

/// What the router puts up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest review, in bytes: the API server's own limit for an object is half of this.
    pub body: u32,
    /// Bytes of reviews in memory at one time, counted as they arrive.
    pub memory: u32,
    /// How long a review waits for room. Short of the 5 seconds that the API server gives us, so that the reason reaches the pod's author.
    pub wait: Duration,
    /// How long a body may take.
    pub read: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { body: 3 << 20, memory: 8 << 20, wait: Duration::from_secs(2), read: Duration::from_secs(5) }
    }
}

struct Endpoint {
    reviewer: Arc<Reviewer>,
    room: Room,
    referrals: Referrals,
    limits: Limits,
}

/// `POST /mutate` and nothing else.
pub fn router(reviewer: Reviewer, limits: Limits) -> Router {
    let room = Room::new(limits.memory as usize, limits.body as usize, limits.wait);
    Router::new()
        .route(REVIEW_PATH, post(mutate))
        .method_not_allowed_fallback(|| async { Refusal::Method })
        .fallback(|| async { Refusal::Path })
        .with_state(Arc::new(Endpoint { reviewer: Arc::new(reviewer), room, referrals: Referrals::default(), limits }))
}

async fn mutate(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    let _in_flight = endpoint.reviewer.metrics().begin();
    match endpoint.answer(request).await {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(refusal) => {
            // A panic was counted and logged with its review.
            if !matches!(refusal, Refusal::Panicked) {
                endpoint.reviewer.metrics().answered(refusal.word());
            }
            if !matches!(refusal, Refusal::Panicked | Refusal::Stopping(_)) {
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
        let stopping = request.extensions().get().copied();
        let share = self.room.share();
        let body = match timeout(self.limits.read, self.read(request.into_body(), &share)).await {
            Ok(body) => body?,
            Err(_) => return Err(Refusal::Slow(self.limits.read)),
        };
        if let Some(seconds) = stopping.and_then(|stopping: Stopping| self.referrals.refer(stopping, &body)) {
            return Err(Refusal::Stopping(seconds));
        }
        self.reviewer.answer(body).await.map_err(Refusal::from)
    }

    /// Reads a body to its end, and takes room as it arrives.
    async fn read(&self, mut body: Body, share: &Share<'_>) -> Result<Vec<u8>, Refusal> {
        let limit = self.limits.body as usize;
        let too_large = |length: usize| if length > limit { Err(Refusal::TooLarge(self.limits.body)) } else { Ok(()) };
        let size = body.size_hint();
        too_large(usize::try_from(size.lower()).unwrap_or(usize::MAX))?;
        let announced = size.exact().and_then(|size| usize::try_from(size).ok());
        let mut bytes = Vec::new();
        while let Some(frame) = share.wait_for(body.frame()).await? {
            let frame = frame.map_err(|_| Refusal::Broken)?;
            let Some(data) = frame.data_ref() else { continue };
            let length = bytes.len() + data.len();
            too_large(length)?;
            share.hold(length).await?;
            // No more than was granted: a vector left to itself would double. Nor than was announced: large pieces cost the allocator much.
            let granted = length.next_multiple_of(STEP);
            let needed = announced.map_or(granted, |announced| announced.clamp(length, granted));
            bytes.reserve_exact(needed - bytes.len());
            bytes.extend_from_slice(data);
        }
        share.is_whole()?;
        Ok(bytes)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let essence = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()?.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// An answer that is not a review. The API server shows the text to the pod's creator.
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
    #[error("this replica stops: another one answers")]
    Stopping(u8),
    #[error("the body did not arrive within {0:?}")]
    Slow(Duration),
    #[error("the body broke off")]
    Broken,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("internal error while reviewing this pod; see the keyvault-injector log")]
    Panicked,
    #[error("the review took longer than {0:?}: try again, and if that does not help, ask the operator for the webhook's log")]
    Overdue(Duration),
}

impl From<NoRoom> for Refusal {
    fn from(NoRoom: NoRoom) -> Refusal {
        Refusal::Busy
    }
}

impl From<NoAnswer> for Refusal {
    fn from(no_answer: NoAnswer) -> Refusal {
        match no_answer {
            NoAnswer::Malformed(malformed) => Refusal::Malformed(malformed),
            NoAnswer::Panicked => Refusal::Panicked,
            NoAnswer::Busy => Refusal::Busy,
            NoAnswer::Overdue(limit) => Refusal::Overdue(limit),
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
            Refusal::Stopping(_) => ("stopping", StatusCode::SERVICE_UNAVAILABLE),
            Refusal::Slow(_) => ("slow", StatusCode::REQUEST_TIMEOUT),
            Refusal::Broken => ("broken", StatusCode::BAD_REQUEST),
            Refusal::Malformed(_) => ("malformed", StatusCode::BAD_REQUEST),
            Refusal::Panicked => ("panicked", StatusCode::INTERNAL_SERVER_ERROR),
            Refusal::Overdue(_) => ("overdue", StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    fn word(&self) -> &'static str {
        self.class().0
    }

    /// In how many seconds the API server should try again by itself. Without this it refuses the pod.
    fn retry_after(&self) -> Option<u8> {
        match self {
            Refusal::Stopping(seconds) => Some(*seconds),
            Refusal::Busy => Some(1),
            Refusal::Path
            | Refusal::Method
            | Refusal::ContentType
            | Refusal::TooLarge(_)
            | Refusal::Slow(_)
            | Refusal::Broken
            | Refusal::Malformed(_)
            | Refusal::Panicked
            | Refusal::Overdue(_) => None,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.class().1, format!("{self}\n")).into_response();
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, u16::from(seconds).into());
        }
        response
    }
}
