//! Where the requests to one vault wait for their turn.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::pace::{Pace, Turn};
use keyvault_client::{Class, Failure, Outlook};

/// Lets requests to one vault through, as its pace allows.
#[derive(Debug)]
pub(super) struct Gate {
    jitter: fn() -> f64,
    state: Mutex<State>,
    opened: Notify,
}

#[derive(Debug)]
struct State {
    pace: Pace,
    inside: usize,
}

/// A request in flight; leaves when dropped.
#[derive(Debug)]
pub(super) struct Pass<'g>(&'g Gate);

impl Gate {
    /// Nothing is worth a try after `deadline`; `jitter` yields numbers from 0 to 1.
    pub(super) fn new(deadline: Instant, jitter: fn() -> f64) -> Gate {
        Gate { jitter, state: Mutex::new(State { pace: Pace::new(deadline), inside: 0 }), opened: Notify::new() }
    }

    /// Waits for a turn.
    pub(super) async fn enter(&self) -> Pass<'_> {
        loop {
            let opened = self.opened.notified();
            match self.try_enter(Instant::now()) {
                Turn::Now => return Pass(self),
                Turn::At(instant) => tokio::time::sleep_until(instant).await,
                Turn::Later => opened.await,
            }
        }
    }

    fn try_enter(&self, now: Instant) -> Turn {
        let mut state = self.state();
        let turn = state.pace.turn(state.inside, now);
        if turn == Turn::Now {
            state.inside += 1;
        }
        turn
    }

    /// Takes the vault's answer into account, and says when to try again where the vault leaves that to us.
    pub(super) fn learn<T>(&self, result: Result<T, Failure>, now: Instant) -> Result<T, Failure> {
        let mut state = self.state();
        let was_closed = state.pace.is_closed(now);
        let pause = state.pace.learn(result.as_ref().err(), now, (self.jitter)());
        drop(state);
        self.opened.notify_waiters();
        if let (Some(pause), Err(failure), false) = (pause, &result, was_closed) {
            tracing::warn!("{failure}; no request goes to this vault for {} ms", pause.as_millis());
        }
        match pause {
            Some(pause) => result.map_err(|failure| Failure { outlook: Outlook::Paused(pause), ..failure }),
            None => result,
        }
    }

    /// Says why a request never had its turn.
    pub(super) fn explain(&self, failure: Failure) -> Failure {
        if failure.class == Class::Timeout && self.state().pace.is_throttled() {
            Failure { class: Class::Throttled, what: format!("{}, because Key Vault throttles", failure.what), ..failure }
        } else {
            failure
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.state().inside -= 1;
        self.0.opened.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn who_waits_is_let_in_when_another_leaves() {
        let gate = Gate::new(Instant::now() + Duration::from_secs(60), || 0.5);
        let pass = gate.enter().await;
        assert_eq!(gate.try_enter(Instant::now()), Turn::Later);
        let (second, ()) = tokio::join!(gate.enter(), async { drop(pass) });
        drop(second);
        assert_eq!(gate.state().inside, 0);
    }

    #[tokio::test]
    async fn who_waits_is_let_in_when_an_answer_opens_the_gate() {
        let gate = Gate::new(Instant::now() + Duration::from_secs(60), || 0.5);
        let first = gate.enter().await;
        let (second, answer) = tokio::join!(gate.enter(), async { gate.learn(Ok(()), Instant::now()) });
        assert_eq!((gate.state().inside, answer), (2, Ok(())));
        drop((first, second));
    }
}
