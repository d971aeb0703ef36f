//! What makes the webhook stop: signals, and a registration that is gone while it stops.

use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::tls::{Stop, Trust};

/// How long the registration must have been gone: other API servers learn of it by their own watch, mostly within a second, and give a call 5 seconds.
const SETTLE: Duration = Duration::from_secs(5);

/// The first signal drains, the second ends at once.
pub(super) async fn raise_at_signals(stop: watch::Sender<Stop>, mut terminate: Signal, mut interrupt: Signal) {
    for level in [Stop::Drain, Stop::Abort] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!(stop = ?level, "asked to stop");
        stop.send_replace(level);
    }
}

/// Ends the drain once the registration is deleted: the API server sends no more reviews.
pub(super) async fn leave_once_unregistered(stop: watch::Sender<Stop>, mut registration: watch::Receiver<Trust>) {
    let mut gone = None;
    loop {
        gone = is_gone(&registration.borrow_and_update()).then(|| gone.unwrap_or_else(Instant::now));
        let settled = async {
            match gone {
                Some(since) => {
                    Stop::reached(Stop::Drain, stop.subscribe()).await;
                    sleep_until(since + SETTLE).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = settled => {
                let raises = stop.send_if_modified(|level| {
                    let raises = *level < Stop::Leave;
                    *level = Stop::Leave.max(*level);
                    raises
                });
                if raises {
                    tracing::info!("the registration is deleted, so no more reviews come: the drain ends");
                }
                return;
            }
            changed = registration.changed() => if changed.is_err() { return },
        }
    }
}

fn is_gone(registration: &Trust) -> bool {
    match registration {
        Trust::Absent => true,
        Trust::Entries(entries) => entries.is_empty(),
        Trust::Unknown => false,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{sleep, timeout};

    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    fn start() -> (watch::Sender<Stop>, watch::Sender<Trust>) {
        let (stop, registration) = (watch::Sender::new(Stop::No), watch::Sender::new(Trust::Unknown));
        tokio::spawn(leave_once_unregistered(stop.clone(), registration.subscribe()));
        (stop, registration)
    }

    async fn seconds_until_leave(stop: &watch::Sender<Stop>) -> Option<u64> {
        let started = Instant::now();
        timeout(Duration::from_secs(600), Stop::reached(Stop::Leave, stop.subscribe())).await.ok()?;
        Some(started.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_once_the_registration_has_been_gone_for_five_seconds() {
        for (gone, seconds) in [(0, 4), (3, 1), (5, 0), (60, 0)] {
            let (stop, registration) = start();
            registration.send_replace(Trust::Absent);
            sleep(Duration::from_secs(gone) + MOMENT).await;
            assert_eq!(*stop.borrow(), Stop::No, "without a signal nothing ends");
            stop.send_replace(Stop::Drain);
            assert_eq!(seconds_until_leave(&stop).await, Some(seconds), "gone for {gone} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_goes_on_while_a_registration_is_there_or_nothing_is_known_of_it() {
        let entry = crate::tls::Entry { webhook: "x".to_owned(), server_name: "x".to_owned(), ca_bundle: Vec::new() };
        for seen in [Trust::Unknown, Trust::Entries(vec![entry.clone()])] {
            let (stop, registration) = start();
            registration.send_replace(seen);
            stop.send_replace(Stop::Drain);
            assert_eq!(seconds_until_leave(&stop).await, None);
            // It goes while the replica drains, comes back, and goes for good.
            registration.send_replace(Trust::Absent);
            sleep(Duration::from_secs(4)).await;
            registration.send_replace(Trust::Entries(vec![entry.clone()]));
            sleep(Duration::from_secs(4)).await;
            assert_eq!(*stop.borrow(), Stop::Drain);
            registration.send_replace(Trust::Entries(Vec::new()));
            assert_eq!(seconds_until_leave(&stop).await, Some(5));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_abort_stays_one() {
        let (stop, registration) = start();
        registration.send_replace(Trust::Absent);
        stop.send_replace(Stop::Abort);
        sleep(SETTLE * 2).await;
        assert_eq!(*stop.borrow(), Stop::Abort);
    }
}
