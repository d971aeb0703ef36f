//! How a process is told to end.

use tokio::sync::watch;

/// What has been asked of the process so far. It travels in a `watch` channel and only ever rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Nothing: serve.
    #[default]
    No,
    /// End in good order: unready at once, keep accepting for a while, finish what has begun.
    Drain,
    /// Nobody sends requests any more: end as soon as what has begun is finished.
    Leave,
    /// End now.
    Abort,
}

impl Stop {
    /// Waits until at least `level` has been asked for. A channel whose sender is gone asks for nothing more: this then waits for ever.
    pub async fn reached(level: Stop, mut stop: watch::Receiver<Stop>) {
        if stop.wait_for(|asked| *asked >= level).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
