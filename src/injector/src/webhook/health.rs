//! The plain port: alive, ready, counters.

use std::borrow::Cow;
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

/// What readiness depends on.
pub struct Health {
    /// Whether the process is on its way out.
    pub stop: watch::Receiver<Stop>,
    /// Whose caches must be filled first.
    pub defaults: Arc<dyn Defaults>,
    /// What the serving certificate waits for, in words; `None` once the API server was seen to trust it.
    pub awaited: watch::Receiver<Option<String>>,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
}

/// `GET /live`, `/ready` and `/metrics`.
pub fn health_router(health: Health) -> Router {
    Router::new().route("/live", get(|| async { "alive\n" })).route("/ready", get(ready)).route("/metrics", get(metrics)).with_state(Arc::new(health))
}

async fn ready(State(health): State<Arc<Health>>) -> (StatusCode, Cow<'static, str>) {
    let unready = |reason| (StatusCode::SERVICE_UNAVAILABLE, reason);
    if *health.stop.borrow() != Stop::No {
        unready("stopping\n".into())
    } else if !health.defaults.filled() {
        unready("namespaces and service accounts are still being read\n".into())
    } else if let Some(awaited) = &*health.awaited.borrow() {
        unready(format!("the serving certificate is not trusted yet: {awaited}\n").into())
    } else {
        (StatusCode::OK, "ready\n".into())
    }
}

async fn metrics(State(health): State<Arc<Health>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], health.metrics.text())
}
