//! How many requests one vault gets at a time: up to 32, one after it throttles, then one more with each success.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::vault::{Class, Failure, Outlook};

/// The most requests in flight to one vault.
const MOST: usize = 32;
/// How long a vault that throttles without saying for how long is left alone.
const PAUSE: Duration = Duration::from_millis(500);

/// Lets requests to one vault through.
#[derive(Debug)]
pub(super) struct Gate {
    deadline: Instant,
    state: Mutex<State>,
    opened: Notify,
}

#[derive(Debug)]
struct State {
    limit: usize,
    inside: usize,
    closed_until: Option<Instant>,
}

/// A request in flight; leaves when dropped.
#[derive(Debug)]
pub(super) struct Pass<'g>(&'g Gate);

impl Gate {
    /// Never stays closed until after `deadline`.
    pub(super) fn new(deadline: Instant) -> Gate {
        Gate { deadline, state: Mutex::new(State { limit: MOST, inside: 0, closed_until: None }), opened: Notify::new() }
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
        match state.closed_until {
            Some(until) if now < until => Turn::At(until),
            _ if state.inside >= state.limit => Turn::Later,
            _ => {
                state.inside += 1;
                Turn::Now
            }
        }
    }

    /// Takes the vault's answer into account.
    pub(super) fn learn<T>(&self, result: &Result<T, Failure>, now: Instant) {
        match result {
            Ok(_) => self.widen(),
            Err(Failure { class: Class::Throttled, outlook, .. }) => self.narrow(match outlook {
                Outlook::After(asked) => now + *asked,
                Outlook::Transient | Outlook::Final => now + PAUSE,
            }),
            Err(_) => {}
        }
    }

    /// Says why a request never had its turn.
    pub(super) fn explain(&self, failure: Failure) -> Failure {
        if failure.class == Class::Timeout && self.state().limit < MOST {
            Failure { class: Class::Throttled, what: format!("{}, because Key Vault throttles", failure.what), ..failure }
        } else {
            failure
        }
    }

    fn widen(&self) {
        let mut state = self.state();
        state.limit = (state.limit + 1).min(MOST);
        drop(state);
        self.opened.notify_waiters();
    }

    /// Closes as well, unless nobody could wait that long: then each may learn at once what the vault asks.
    fn narrow(&self, until: Instant) {
        let mut state = self.state();
        state.limit = 1;
        if until < self.deadline {
            state.closed_until = state.closed_until.max(Some(until));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Turn {
    Now,
    At(Instant),
    Later,
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

    fn enter_all(gate: &Gate, now: Instant) -> Vec<Pass<'_>> {
        std::iter::from_fn(|| matches!(gate.try_enter(now), Turn::Now).then(|| Pass(gate))).collect()
    }

    #[test]
    fn lets_32_in_then_one_after_throttling_then_one_more_with_each_success() {
        let now = Instant::now();
        let gate = Gate::new(now + Duration::from_secs(60));
        assert_eq!(enter_all(&gate, now).len(), 32);

        gate.narrow(now + Duration::from_secs(2));
        assert_eq!(enter_all(&gate, now).len(), 0);
        let later = now + Duration::from_secs(2);
        assert_eq!(enter_all(&gate, later).len(), 1);

        for expected in [2, 3, 4] {
            gate.widen();
            assert_eq!(enter_all(&gate, later).len(), expected);
        }
        (0..100).for_each(|_| gate.widen());
        assert_eq!(enter_all(&gate, later).len(), 32);
    }

    #[test]
    fn requests_in_flight_count_against_the_narrowed_limit() {
        let now = Instant::now();
        let gate = Gate::new(now + Duration::from_secs(60));
        let mut inside = enter_all(&gate, now);
        gate.narrow(now);
        inside.truncate(1);
        assert!(matches!(gate.try_enter(now), Turn::Later));
        inside.clear();
        assert!(matches!(gate.try_enter(now), Turn::Now));
    }

    #[tokio::test]
    async fn who_waits_is_let_in_when_another_leaves() {
        let gate = Gate::new(Instant::now());
        gate.narrow(Instant::now());
        let pass = gate.enter().await;
        let (second, ()) = tokio::join!(gate.enter(), async { drop(pass) });
        drop(second);
        assert_eq!(gate.state().inside, 0);
    }
}
