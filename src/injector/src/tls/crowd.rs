//! The open connections, and which of them gives way to the next.
//!
//! Nobody is kept waiting at the door: a client that opens connections and says nothing would lock everybody else out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::task::{AbortHandle, Id, JoinSet};

use super::clock::Clock;
use super::server::Limits;

/// Open connections, each a task.
pub(super) struct Crowd {
    limits: Limits,
    tasks: JoinSet<()>,
    open: HashMap<Id, Open>,
}

/// One of them.
struct Open {
    peer: IpAddr,
    clock: Arc<Clock>,
    task: AbortHandle,
}

impl Crowd {
    pub(super) fn new(limits: Limits) -> Crowd {
        Crowd { limits, tasks: JoinSet::new(), open: HashMap::new() }
    }

    /// Takes a connection in. If there is no room, another one gives way: first of those on which nothing has ever succeeded, then of those that
    /// are idle, the one that has been so for longest.
    pub(super) fn admit<F: Future<Output = ()> + Send + 'static>(&mut self, peer: IpAddr, serve: impl FnOnce(Arc<Clock>) -> F) {
        let of_peer = self.open.values().filter(|open| open.peer == peer).count();
        if of_peer >= self.limits.per_peer {
            self.one_gives_way(|open| open.peer == peer && !open.clock.standing().busy);
        }
        if self.open.len() >= self.limits.connections {
            self.one_gives_way(|_| true);
        }
        let clock = Arc::new(Clock::new(self.limits));
        let task = self.tasks.spawn(serve(Arc::clone(&clock)));
        self.open.insert(task.id(), Open { peer, clock, task });
    }

    fn one_gives_way(&mut self, may: impl Fn(&Open) -> bool) {
        let least = self.open.iter().filter(|(_, open)| may(open)).min_by_key(|(_, open)| open.clock.standing());
        if let Some(open) = least.map(|(id, _)| *id).and_then(|id| self.open.remove(&id)) {
            open.task.abort();
        }
    }

    /// Waits for the end of a connection; for ever if there is none.
    pub(super) async fn one_ends(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => drop(self.open.remove(&id)),
            Some(Err(failed)) => drop(self.open.remove(&failed.id())),
            None => std::future::pending().await,
        }
    }

    /// Waits for the end of all.
    pub(super) async fn all_end(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}
