//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

use super::PATIENCE;

/// Asks again and again until there is something; fails by naming what was waited for.
#[track_caller]
pub(crate) fn until<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    within(PATIENCE, Duration::from_millis(25), what, ask)
}

/// The same with another patience, and with another pause between two questions.
#[track_caller]
pub(crate) fn within<T>(patience: Duration, pause: Duration, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    let (started, caller) = (Instant::now(), std::panic::Location::caller());
    async move {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            assert!(started.elapsed() < patience, "{caller}: still no {what} after {patience:?}");
            tokio::time::sleep(pause).await;
        }
    }
}
