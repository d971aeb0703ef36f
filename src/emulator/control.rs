//! `/_emulator/…`: how tests and developers steer the emulator.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::{Router, routing};
use serde_json::json;

use super::call::{self, Call};
use super::world::World;

/// The same on both listeners.
pub(super) fn routes() -> Router<Arc<World>> {
    Router::new().route("/_emulator/faults", routing::any(faults)).route("/_emulator/requests", routing::any(requests))
}

async fn faults(State(world): State<Arc<World>>, request: Request) -> Response {
    let mut call = Call::new(request);
    if call.method != Method::POST {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "faults are POSTed");
    }
    let Some(body) = call.body().await else { return refuse(StatusCode::BAD_REQUEST, "the body is too long or broke off") };
    match world.faults.script(&body) {
        Ok(()) => call::empty(StatusCode::NO_CONTENT),
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
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
