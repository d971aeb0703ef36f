//! Which requests came in: enough to count calls, never a value, a token or a query.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use axum::http::StatusCode;
use serde::Serialize;

use super::call::Call;
use super::faults::Plane;

/// How many requests are listed; counters go on.
const LISTED: usize = 10_000;

/// One request and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    plane: Plane,
    method: String,
    host: String,
    path: String,
    /// Whether it carried an `Authorization` header.
    authorized: bool,
    /// 0 where the connection was dropped instead.
    status: u16,
}

impl Entry {
    pub(super) fn new(plane: Plane, call: &Call) -> Entry {
        let authorized = call.headers.contains_key("authorization");
        Entry { plane, method: call.method.to_string(), host: call.host().to_owned(), path: call.path.clone(), authorized, status: 0 }
    }
}

#[derive(Debug, Default, Serialize)]
struct Pages {
    /// Requests of each plane by status.
    counts: BTreeMap<Plane, BTreeMap<u16, u64>>,
    /// The last ones, oldest first.
    requests: VecDeque<Entry>,
}

/// What came in since the start or the last reset.
#[derive(Debug, Default)]
pub(super) struct Journal(Mutex<Pages>);

impl Journal {
    pub(super) fn note(&self, mut entry: Entry, status: Option<StatusCode>) {
        entry.status = status.map_or(0, |status| status.as_u16());
        tracing::info!(plane = %entry.plane.name(), method = entry.method, path = entry.path, status = entry.status, "request");
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *pages.counts.entry(entry.plane).or_default().entry(entry.status).or_default() += 1;
        pages.requests.push_back(entry);
        if pages.requests.len() > LISTED {
            pages.requests.pop_front();
        }
    }

    /// `{"counts":{"vault":{"200":3}},"requests":[…]}`.
    pub(super) fn json(&self) -> Vec<u8> {
        serde_json::to_vec(&*self.0.lock().unwrap_or_else(PoisonError::into_inner)).unwrap_or_default()
    }

    pub(super) fn reset(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Pages::default();
    }
}
