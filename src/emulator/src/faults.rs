//! Scripted faults: what tests and developers tell the emulator to do wrong.

mod wish;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use regex::bytes::{Regex, RegexBuilder};
use serde::Serialize;

use super::config::RefusalWords;
use wish::{Wish, WishError, WishKind};

/// The three services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Plane {
    Vault,
    Entra,
    Imds,
}

impl Plane {
    /// As it is written everywhere.
    pub(super) fn name(self) -> &'static str {
        match self {
            Plane::Vault => "vault",
            Plane::Entra => "entra",
            Plane::Imds => "imds",
        }
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Delay(Duration),
    Reset,
    Answer(Answer),
}

/// A wrong answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// This status, in the plane's own words.
    Outage(Outage),
    /// A vault's 403.
    Forbid(Forbid),
    /// The right answer, broken off in the middle.
    Truncate,
    /// A 200 that is not JSON.
    Garbage,
}

/// What forbids a vault's caller to come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forbid {
    /// A missing permission, in these words.
    Permission(RefusalWords),
    /// The vault's firewall.
    Firewall,
    /// The vault takes private connections only.
    Connection,
}

/// A status that the service would answer on a bad day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outage {
    pub(super) status: StatusCode,
    /// In seconds.
    pub(super) retry_after: Option<u64>,
}

/// What happens to a request before anything looks at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) delay: Duration,
    /// Whether the connection is dropped without an answer.
    pub(super) reset: bool,
}

struct Scripted {
    plane: Plane,
    pattern: Option<Regex>,
    /// How many requests are still to be hit; `None`: all.
    left: Option<u32>,
    fault: Fault,
}

/// The faults in force, in the order in which they were asked for.
#[derive(Default)]
pub(super) struct Faults(Mutex<Vec<Scripted>>);

impl Faults {
    /// Adds a fault, or clears those of one plane or of all.
    pub(super) fn script(&self, json: &[u8]) -> Result<(), WishError> {
        let wish = Wish::read(json)?;
        wish.check()?;
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match wish.fault()? {
            None => faults.retain(|scripted| wish.plane.is_some_and(|plane| plane != scripted.plane)),
            Some(fault) => faults.push(Scripted {
                plane: wish.plane.ok_or(WishError::NoPlane)?,
                pattern: wish.pattern.as_deref().map(pattern).transpose()?,
                left: wish.count,
                fault,
            }),
        }
        Ok(())
    }

    /// What meets every request: all delays that match, added up, and a reset.
    pub(super) fn arrival(&self, plane: Plane, path: &str) -> Arrival {
        let mut arrival = Arrival::default();
        self.take(plane, path, |fault| match fault {
            Fault::Delay(delay) => {
                arrival.delay += delay;
                Some(Next::Continue)
            }
            Fault::Reset => {
                arrival.reset = true;
                Some(Next::Stop)
            }
            Fault::Answer(_) => None,
        });
        arrival
    }

    /// The first wrong answer for a request that the service would work on.
    pub(super) fn answer(&self, plane: Plane, path: &str) -> Option<Answer> {
        let mut found = None;
        self.take(plane, path, |fault| match fault {
            Fault::Answer(answer) => {
                found = Some(answer);
                Some(Next::Stop)
            }
            Fault::Delay(_) | Fault::Reset => None,
        });
        found
    }

    /// Offers each fault that matches to `choose`; those it takes (`Some`) are counted.
    fn take(&self, plane: Plane, path: &str, mut choose: impl FnMut(Fault) -> Option<Next>) {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hit =
            |scripted: &&mut Scripted| scripted.plane == plane && scripted.pattern.as_ref().is_none_or(|pattern| pattern.is_match(path.as_bytes()));
        for scripted in faults.iter_mut().filter(hit) {
            let Some(next) = choose(scripted.fault) else { continue };
            scripted.left = scripted.left.map(|left| left - 1);
            if next == Next::Stop {
                break;
            }
        }
        faults.retain(|scripted| scripted.left != Some(0));
    }
}

#[derive(PartialEq, Eq)]
enum Next {
    Continue,
    Stop,
}

impl Wish {
    /// Refuses what would silently mean something else than was meant.
    fn check(&self) -> Result<(), WishError> {
        use WishKind::{Clear, Connection, Delay, Denied, Firewall, Policy, Rbac, Status, Throttle, Unavailable};
        let vault_only = matches!(self.kind, Rbac | Policy | Denied | Firewall | Connection);
        if vault_only && self.plane.is_some_and(|plane| plane != Plane::Vault) {
            return Err(WishError::VaultOnly);
        }
        for (name, given, allowed) in [
            ("retry_after", self.retry_after.is_some(), matches!(self.kind, Throttle | Unavailable | Status)),
            ("status", self.status.is_some(), self.kind == Status),
            ("delay_ms", self.delay_ms.is_some(), self.kind == Delay),
            ("count", self.count.is_some(), self.kind != Clear),
            ("match", self.pattern.is_some(), self.kind != Clear),
        ] {
            if given && !allowed {
                return Err(WishError::Superfluous(name));
            }
        }
        if self.count == Some(0) { Err(WishError::Count) } else { Ok(()) }
    }

    /// `None` is: clear.
    fn fault(&self) -> Result<Option<Fault>, WishError> {
        let outage = |status| Answer::Outage(Outage { status, retry_after: self.retry_after });
        Ok(Some(match self.kind {
            WishKind::Clear => return Ok(None),
            WishKind::Delay => Fault::Delay(Duration::from_millis(self.delay_ms.ok_or(WishError::Missing("delay_ms"))?)),
            WishKind::Reset => Fault::Reset,
            WishKind::Throttle => Fault::Answer(outage(StatusCode::TOO_MANY_REQUESTS)),
            WishKind::Unavailable => Fault::Answer(outage(StatusCode::SERVICE_UNAVAILABLE)),
            WishKind::Status => Fault::Answer(outage(status(self.status)?)),
            WishKind::Rbac => Fault::Answer(Answer::Forbid(Forbid::Permission(RefusalWords::Rbac))),
            WishKind::Policy => Fault::Answer(Answer::Forbid(Forbid::Permission(RefusalWords::Policy))),
            WishKind::Denied => Fault::Answer(Answer::Forbid(Forbid::Permission(RefusalWords::Denied))),
            WishKind::Firewall => Fault::Answer(Answer::Forbid(Forbid::Firewall)),
            WishKind::Connection => Fault::Answer(Answer::Forbid(Forbid::Connection)),
            WishKind::Truncate => Fault::Answer(Answer::Truncate),
            WishKind::Garbage => Fault::Answer(Answer::Garbage),
        }))
    }
}

fn status(code: Option<u16>) -> Result<StatusCode, WishError> {
    let code = code.ok_or(WishError::Missing("status"))?;
    StatusCode::from_u16(code).ok().filter(|_| (200..600).contains(&code)).ok_or(WishError::Status)
}

/// Paths are ASCII, so the small, byte-wise engine is enough.
fn pattern(text: &str) -> Result<Regex, WishError> {
    RegexBuilder::new(text).unicode(false).build().map_err(|error| WishError::Pattern(error.to_string()))
}
