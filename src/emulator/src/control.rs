//! `/_emulator/…`: how tests and developers steer the emulator.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::{Router, routing};
use serde_json::json;

use super::call::{self, BODY_LIMIT, Call, TooLong};
use super::world::World;

/// The same on both listeners.
pub(super) fn routes() -> Router<Arc<World>> {
    Router::new()
        .route("/_emulator/faults", routing::any(faults))
        .route("/_emulator/requests", routing::any(requests))
        .route("/_emulator/health", routing::get(|| async { "ok\n" }))
        .route("/_emulator/ca.pem", routing::get(ca))
}

/// What clients must trust, for those who cannot read the state directory.
async fn ca(State(world): State<Arc<World>>) -> Response {
    call::typed(StatusCode::OK, "application/x-pem-file", world.ca_pem.clone())
}

async fn faults(State(world): State<Arc<World>>, request: Request) -> Response {
    let call = Call::receive(request).await;
    if call.method != Method::POST {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "faults are POSTed");
    }
    match call.body().map(|body| world.faults.script(&body)) {
        Ok(Ok(())) => call::empty(StatusCode::NO_CONTENT),
        Ok(Err(error)) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
        Err(TooLong) => refuse(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body is longer than {BODY_LIMIT} bytes")),
    }
}

async fn requests(State(world): State<Arc<World>>, request: Request) -> Response {
    match *request.method() {
        Method::GET => call::typed(StatusCode::OK, "application/json", world.journal.json()),
        Method::DELETE => {
            world.journal.reset();
            call::empty(StatusCode::NO_CONTENT)
        }
        _ => refuse(StatusCode::METHOD_NOT_ALLOWED, "requests are read with GET and forgotten with DELETE"),
    }
}

fn refuse(status: StatusCode, reason: &str) -> Response {
    call::json(status, &json!({ "error": reason }))
}
