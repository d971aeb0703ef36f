//! What a watch has seen of one kind of object, reduced to what reviews need.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// By namespace (empty for objects without one), then by name.
pub(super) type Seen<T> = HashMap<Box<str>, HashMap<Box<str>, T>>;

/// The last complete picture; `None` until there has been one.
pub(super) struct Cache<T>(RwLock<Option<Seen<T>>>);

impl<T> Default for Cache<T> {
    fn default() -> Cache<T> {
        Cache(RwLock::new(None))
    }
}

impl<T: Clone> Cache<T> {
    /// Whether there has been a complete picture. A broken watch does not take it away: old defaults are better than none.
    pub(super) fn filled(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref()?.get(namespace)?.get(name).cloned()
    }

    /// Takes over a complete picture.
    pub(super) fn fill(&self, seen: Seen<T>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }

    /// Changes the picture, if there is one.
    pub(super) fn change(&self, change: impl FnOnce(&mut Seen<T>)) {
        if let Some(seen) = self.0.write().unwrap_or_else(PoisonError::into_inner).as_mut() {
            change(seen);
        }
    }
}

pub(super) fn put<T>(seen: &mut Seen<T>, namespace: &str, name: &str, value: T) {
    seen.entry(namespace.into()).or_default().insert(name.into(), value);
}

pub(super) fn remove<T>(seen: &mut Seen<T>, namespace: &str, name: &str) {
    if let Some(names) = seen.get_mut(namespace) {
        names.remove(name);
        if names.is_empty() {
            seen.remove(namespace);
        }
    }
}
