//! What a connection is doing, and for how long it may.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::server::Limits;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The TLS handshake.
    Handshake,
    /// Nothing has been heard since the handshake.
    First,
    /// Nothing has been heard since the last answer.
    Idle,
    /// A request has begun and its head is not complete.
    Head,
    /// A request is being read and answered.
    Exchange,
}

/// Which of two connections gives way if there is room for one only: the lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Standing {
    /// Whether a request on it has ever succeeded.
    pub(super) proven: bool,
    /// Whether a request is being read or answered.
    pub(super) busy: bool,
    /// When it began to do what it does.
    since: Instant,
}

/// How long the present phase may last.
pub(super) struct Clock {
    limits: Limits,
    now: Mutex<Now>,
}

/// What a connection is doing, since when, and how long a server that leaves lets it be idle.
#[derive(Clone, Copy)]
struct Now {
    phase: Phase,
    since: Instant,
    proven: bool,
    leaving: Option<Duration>,
}

impl Clock {
    /// Starts with the handshake.
    pub(super) fn new(limits: Limits) -> Clock {
        Clock { limits, now: Mutex::new(Now { phase: Phase::Handshake, since: Instant::now(), proven: false, leaving: None }) }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn enter(&self, phase: Phase) {
        let mut now = self.lock();
        (now.phase, now.since) = (phase, Instant::now());
    }

    pub(super) fn bytes_came(&self) {
        let phase = self.lock().phase;
        if matches!(phase, Phase::First | Phase::Idle) {
            self.enter(Phase::Head);
        }
    }

    /// A request on this connection has succeeded.
    pub(super) fn prove(&self) {
        self.lock().proven = true;
    }

    /// The server leaves, and lets idle connections be for so long.
    pub(super) fn leave(&self, release: Duration) {
        self.lock().leaving = Some(release);
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.lock().leaving.is_some()
    }

    pub(super) fn standing(&self) -> Standing {
        let now = self.lock();
        Standing { proven: now.proven, busy: now.phase == Phase::Exchange, since: now.since }
    }

    pub(super) fn deadline(&self) -> Instant {
        let now = *self.lock();
        let limit = match now.phase {
            Phase::Handshake => self.limits.handshake,
            Phase::First => self.limits.first.min(now.leaving.unwrap_or(self.limits.first)),
            Phase::Idle => now.leaving.unwrap_or(self.limits.idle),
            Phase::Head => self.limits.head,
            Phase::Exchange => self.limits.exchange,
        };
        now.since + limit
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
