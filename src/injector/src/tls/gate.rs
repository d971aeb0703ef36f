//! When a new pair serves, and when the webhook may call itself ready: once the API server was seen to trust what is served.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use super::certificate::{Certificates, Pair};
use super::trust::{Distrust, Trust};

/// How long before its end, in seconds, a pair gives way to one that is not trusted yet.
const LAST_MOMENT: i64 = 60;

/// How long, in seconds, a pair must have been trusted before it serves: one API server has told us of a `caBundle`, others hear of it later.
const SETTLING: i64 = 10;

/// What became of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It serves already.
    Serving,
    /// It serves from now on.
    Replaced,
    /// It has to wait, and the one before it goes on.
    Waiting(Distrust),
}

/// Stands before [`Certificates`].
pub struct Gate {
    certificates: Certificates,
    awaited: watch::Sender<Option<String>>,
    registration: String,
    state: Mutex<Waiting>,
}

/// From when on the pair that serves gives way, what has been said about one that waits, and since when it is trusted.
struct Waiting {
    gives_way: i64,
    told: Option<Distrust>,
    trusted: Option<(Pair, i64)>,
}

impl Gate {
    /// `certificates` serve their first pair at once; `registration` is the name of the MutatingWebhookConfiguration, for messages. What readiness
    /// waits for goes to `awaited`, `None` once that is over: it never comes back.
    #[must_use]
    pub fn new(certificates: Certificates, registration: &str, awaited: watch::Sender<Option<String>>, now: i64) -> Gate {
        awaited.send_replace(Some(format!("MutatingWebhookConfiguration {registration}: {}", Distrust::Unknown)));
        let state = Mutex::new(Waiting { gives_way: gives_way(&certificates.pair(), now), told: None, trusted: None });
        Gate { certificates, awaited, registration: registration.to_owned(), state }
    }

    /// Offers the newest pair there is, at `now` in seconds since 1970.
    ///
    /// It serves if every entry of the registration takes it and has done so for a few seconds (or at once, where the pair that serves is not taken any more), if the pair that serves is about to expire, or while we are not ready: nobody asks us
    /// then. That no entry takes the pair that serves is no reason: this may have been set right since it was read.
    pub fn offer(&self, pair: Pair, trust: &Trust, now: i64) -> Offer {
        let ready = self.awaited.borrow().is_none();
        let offer = if self.certificates.serves(&pair) { Offer::Serving } else { self.replace(pair, trust, ready, now) };
        if !ready {
            let awaited = trust.accepts(&self.certificates.pair(), now).err();
            self.awaited.send_replace(awaited.map(|distrust| format!("MutatingWebhookConfiguration {}: {distrust}", self.registration)));
        }
        offer
    }

    /// When the leaf being served expires, in seconds since 1970.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.certificates.not_after()
    }

    fn replace(&self, pair: Pair, trust: &Trust, ready: bool, now: i64) -> Offer {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = trust.accepts(&pair, now).and_then(|()| {
            let settled = state.settled(&pair, now);
            let serves_nobody = trust.accepts(&self.certificates.pair(), now).is_err();
            if settled || serves_nobody || *trust == Trust::Absent { Ok(()) } else { Err(Distrust::Fresh) }
        });
        match verdict {
            Err(distrust) if ready && now < state.gives_way => {
                if state.told.as_ref() != Some(&distrust) {
                    tracing::info!(registration = self.registration, reason = %distrust, "a new certificate waits");
                    state.told = Some(distrust.clone());
                }
                return Offer::Waiting(distrust);
            }
            Err(reason) if ready => {
                tracing::error!(registration = self.registration, %reason, "a certificate serves before its time, because the one before it expires");
            }
            Err(_) | Ok(()) => {}
        }
        *state = Waiting { gives_way: gives_way(&pair, now), told: None, trusted: None };
        tracing::info!(expires = pair.not_after(), "a new certificate serves");
        self.certificates.replace(pair);
        Offer::Replaced
    }
}

impl Waiting {
    /// Whether a pair that is trusted now has been so for long enough.
    fn settled(&mut self, pair: &Pair, now: i64) -> bool {
        let since = match &self.trusted {
            Some((trusted, since)) if trusted.chain() == pair.chain() => *since,
            _ => now,
        };
        self.trusted = Some((pair.clone(), since));
        now - since >= ((pair.not_after() - now) / 10).clamp(0, SETTLING)
    }
}

/// Of a lifetime of seconds, even a second is much.
fn gives_way(pair: &Pair, now: i64) -> i64 {
    pair.not_after() - ((pair.not_after() - now) / 20).clamp(0, LAST_MOMENT)
}

#[cfg(test)]
mod tests;
