//! The plain port: alive, ready, counters.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::sync::watch;

use super::defaults::Defaults;
use super::metrics::Metrics;
use crate::tls::Stop;

/// What readiness depends on. A certificate is not among it: without one there is no server to be ready.
pub struct Health {
    /// Whether the process is on its way out.
    pub stop: watch::Receiver<Stop>,
    /// Whose caches must be filled first.
    pub defaults: Arc<dyn Defaults>,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
}

/// `GET /live`, `/ready` and `/metrics`.
pub fn health_router(health: Health) -> Router {
    Router::new().route("/live", get(|| async { "alive\n" })).route("/ready", get(ready)).route("/metrics", get(metrics)).with_state(Arc::new(health))
}

async fn ready(State(health): State<Arc<Health>>) -> (StatusCode, &'static str) {
    if *health.stop.borrow() != Stop::No {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else if !health.defaults.filled() {
        (StatusCode::SERVICE_UNAVAILABLE, "namespaces and service accounts are still being read\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

async fn metrics(State(health): State<Arc<Health>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], health.metrics.text())
}
