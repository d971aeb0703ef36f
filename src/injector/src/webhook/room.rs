//! Memory for bodies. It is granted as they arrive, and taken back from peers that keep us waiting while others need it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// What is granted at one time, and so the least that a review counts for: small ones are bounded in number too.
pub(super) const STEP: usize = 64 << 10;

/// How long a peer may keep us waiting before it has to give back what its body holds. An API server sends a whole body in milliseconds.
const PATIENCE: Duration = Duration::from_millis(50);

/// How often a body that waits for room looks for such peers.
const LOOK: Duration = Duration::from_millis(10);

/// The memory that all bodies share.
pub(super) struct Room {
    /// The last room there is, for the body that has been arriving for longest: bodies that all wait for each other's room would never end.
    reserve: usize,
    /// Room that large bodies leave to the first steps of others: nearly every review needs no more than one step.
    first_steps: usize,
    wait: Duration,
    state: Mutex<State>,
    freed: Notify,
}

struct State {
    free: usize,
    /// In the order of their arrival.
    bodies: BTreeMap<u64, Held>,
    next: u64,
}

/// What one body holds.
struct Held {
    bytes: usize,
    arriving: bool,
    /// How long its peer has kept us waiting, and since when it does so again.
    waited: Duration,
    waiting: Option<Instant>,
    lost: Arc<Notify>,
}

impl Held {
    /// How long the peer has kept us waiting, if it does so now.
    fn delay(&self, now: Instant) -> Option<Duration> {
        self.waiting.map(|since| self.waited + (now - since))
    }
}

/// There is no room, or another body needed it more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

/// One body's part of the room, until it is dropped.
pub(super) struct Share<'a> {
    room: &'a Room,
    ticket: u64,
    lost: Arc<Notify>,
}

impl Room {
    /// `memory` bytes for bodies of at most `largest`; one that finds no room waits for `wait`.
    pub(super) fn new(memory: usize, largest: usize, wait: Duration) -> Room {
        let state = State { free: memory, bodies: BTreeMap::new(), next: 0 };
        Room { reserve: largest.min(memory / 2), first_steps: memory / 4, wait, state: Mutex::new(state), freed: Notify::new() }
    }

    /// For a body of which nothing has arrived.
    pub(super) fn share(&self) -> Share<'_> {
        let mut state = self.lock();
        let (ticket, lost) = (state.next, Arc::new(Notify::new()));
        state.next += 1;
        let held = Held { bytes: 0, arriving: true, waited: Duration::ZERO, waiting: None, lost: Arc::clone(&lost) };
        state.bodies.insert(ticket, held);
        Share { room: self, ticket, lost }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether the body holds `bytes` now.
    fn grant(&mut self, ticket: u64, bytes: usize, room: &Room) -> Result<bool, NoRoom> {
        let held = self.bodies.get(&ticket).ok_or(NoRoom)?.bytes;
        let more = bytes.next_multiple_of(STEP).saturating_sub(held);
        let is_oldest = !self.bodies.range(..ticket).any(|(_, body)| body.arriving && body.bytes > 0);
        let others = if is_oldest {
            0
        } else if bytes <= STEP {
            room.reserve
        } else {
            room.reserve + room.first_steps
        };
        let needed = more + others;
        while more > 0 && self.free < needed {
            if !self.slowest_gives_way() {
                return Ok(false);
            }
        }
        self.free -= more;
        self.bodies.entry(ticket).and_modify(|body| body.bytes += more);
        Ok(true)
    }

    fn slowest_gives_way(&mut self) -> bool {
        let now = Instant::now();
        let delays = self.bodies.iter().filter(|(_, body)| body.bytes > 0).filter_map(|(ticket, body)| Some((body.delay(now)?, *ticket)));
        let Some((_, slowest)) = delays.filter(|(delay, _)| *delay >= PATIENCE).max() else { return false };
        if let Some(body) = self.bodies.remove(&slowest) {
            self.free += body.bytes;
            body.lost.notify_one();
        }
        true
    }
}

impl Share<'_> {
    /// Waits for the peer.
    pub(super) async fn wait_for<T>(&self, what: impl Future<Output = T>) -> Result<T, NoRoom> {
        self.change(|body| body.waiting = Some(Instant::now()))?;
        tokio::select! {
            biased;
            () = self.lost.notified() => Err(NoRoom),
            came = what => {
                self.change(|body| body.waited += body.waiting.take().map_or(Duration::ZERO, |since| since.elapsed()))?;
                Ok(came)
            }
        }
    }

    /// Takes room for `bytes` in all, and waits for it.
    pub(super) async fn hold(&self, bytes: usize) -> Result<(), NoRoom> {
        let granted = async {
            loop {
                let freed = self.room.freed.notified();
                if self.room.lock().grant(self.ticket, bytes, self.room)? {
                    return Ok(());
                }
                // Either way it looks again.
                let _ = timeout(LOOK, freed).await;
            }
        };
        timeout(self.room.wait, granted).await.unwrap_or(Err(NoRoom))
    }

    /// The whole body is there: nobody takes its room away any more.
    pub(super) fn is_whole(&self) -> Result<(), NoRoom> {
        self.change(|body| body.arriving = false)?;
        self.room.freed.notify_waiters();
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Held)) -> Result<(), NoRoom> {
        self.room.lock().bodies.get_mut(&self.ticket).map(change).ok_or(NoRoom)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut state = self.room.lock();
        if let Some(body) = state.bodies.remove(&self.ticket) {
            state.free += body.bytes;
        }
        drop(state);
        self.room.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
