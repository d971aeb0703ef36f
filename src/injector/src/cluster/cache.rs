//! What a watch has seen of one kind of object, reduced to what reviews need.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use tokio::sync::watch;

/// By key. Most objects carry nothing of ours and are kept as their key alone: that they exist is worth knowing, because a denial that rests on
/// absence asks the API server first.
pub(super) type Seen<T> = HashMap<Box<str>, Option<Box<T>>>;

/// One key for an object: namespace and name, or the name of an object without a namespace. No name has a slash in it.
pub(super) fn key(namespace: Option<&str>, name: &str) -> Box<str> {
    match namespace {
        Some(namespace) => [namespace, "/", name].concat().into(),
        None => name.into(),
    }
}

/// The last complete picture; `None` until there has been one.
pub(super) struct Cache<T> {
    seen: RwLock<Option<Seen<T>>>,
    changed: watch::Sender<()>,
}

impl<T> Default for Cache<T> {
    fn default() -> Cache<T> {
        Cache { seen: RwLock::new(None), changed: watch::Sender::new(()) }
    }
}

impl<T> Cache<T> {
    /// Whether there has been a complete picture. A broken watch does not take it away: old defaults are better than none.
    pub(super) fn filled(&self) -> bool {
        self.read(|_| ()).is_some()
    }

    /// What `look` makes of the picture, if there is one.
    pub(super) fn read<R>(&self, look: impl FnOnce(&Seen<T>) -> R) -> Option<R> {
        self.seen.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(look)
    }

    /// What is kept of one object: `None` where there is no such object, `Some(None)` where it carries nothing of ours.
    pub(super) fn get(&self, key: &str) -> Option<Option<T>>
    where
        T: Clone,
    {
        self.read(|seen| seen.get(key).map(Option::as_deref).map(Option::<&T>::cloned)).flatten()
    }

    /// Takes over a complete picture.
    pub(super) fn fill(&self, mut seen: Seen<T>) {
        seen.shrink_to_fit();
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        self.changed.send_replace(());
    }

    /// Changes the picture, if there is one. `change` returns whether it did; most updates of an object touch nothing that is kept.
    pub(super) fn change(&self, change: impl FnOnce(&mut Seen<T>) -> bool) -> bool {
        let changed = self.seen.write().unwrap_or_else(PoisonError::into_inner).as_mut().is_some_and(change);
        if changed {
            self.changed.send_replace(());
        }
        changed
    }

    /// Learns of every later change.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
