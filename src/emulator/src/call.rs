//! One HTTP request as the planes see it, and the answers they give.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt;
use serde::Serialize;
use std::net::IpAddr;

use super::host::Host;

/// The longest body that is taken. A secret's value has at most 25,600 characters.
pub(super) const BODY_LIMIT: usize = 1024 * 1024;
/// What is received of a body that is too long, so that its sender comes to read the answer.
const DISCARD_LIMIT: usize = 64 * BODY_LIMIT;

/// A body of more than [`BODY_LIMIT`] bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct TooLong;

/// Who is at the other end of the connection; the listener puts it into every request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// A request, received whole, with its query taken apart.
pub(super) struct Call {
    pub(super) method: Method,
    /// As it was sent, still percent-encoded.
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) peer: Option<IpAddr>,
    body: Result<Bytes, TooLong>,
}

impl Call {
    pub(super) async fn receive(request: Request) -> Call {
        let (head, body) = request.into_parts();
        Call {
            method: head.method,
            path: head.uri.path().to_owned(),
            query: form(head.uri.query().unwrap_or_default().as_bytes()),
            headers: head.headers,
            peer: head.extensions.get::<Peer>().map(|peer| peer.0),
            body: received(body).await,
        }
    }

    /// A query parameter; the first one counts.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        field(&self.query, name)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Host and port as the client wrote them.
    pub(super) fn host(&self) -> &str {
        self.header("host").unwrap_or("localhost")
    }

    /// What they say.
    pub(super) fn called(&self) -> Host<'_> {
        Host::new(self.host())
    }

    /// The body.
    pub(super) fn body(&self) -> Result<Bytes, TooLong> {
        self.body.clone()
    }
}

/// A body that breaks off ends where it does: nobody waits for the answer.
async fn received(mut body: Body) -> Result<Bytes, TooLong> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length <= BODY_LIMIT {
            bytes.extend_from_slice(&data);
        } else if length <= DISCARD_LIMIT {
            bytes.clear();
        } else {
            break;
        }
    }
    if length > BODY_LIMIT { Err(TooLong) } else { Ok(bytes.into()) }
}

/// The pairs of a query or a form.
pub(super) fn form(text: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(text).into_owned().collect()
}

/// The first value of `name`.
pub(super) fn field<'f>(form: &'f [(String, String)], name: &str) -> Option<&'f str> {
    form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// An answer with a JSON body.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    typed(status, "application/json; charset=utf-8", bytes)
}

/// An answer with a body of another type.
pub(super) fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
