//! How a process is asked to end.

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_level_is_reached_once_as_much_or_more_is_asked_for_and_never_if_nobody_is_left_to_ask() {
        let (stop, asked) = watch::channel(Stop::No);
        let is_reached = async |level| timeout(Duration::from_secs(600), Stop::reached(level, asked.clone())).await.is_ok();
        for (level, expected) in
            [(Stop::No, [false; 3]), (Stop::Drain, [true, false, false]), (Stop::Leave, [true, true, false]), (Stop::Abort, [true; 3])]
        {
            stop.send_replace(level);
            assert_eq!([is_reached(Stop::Drain).await, is_reached(Stop::Leave).await, is_reached(Stop::Abort).await], expected, "{level:?}");
        }
        stop.send_replace(Stop::Drain);
        drop(stop);
        assert!(is_reached(Stop::Drain).await && !is_reached(Stop::Abort).await);
    }
}
