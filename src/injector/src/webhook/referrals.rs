//! Reviews that a stopping replica refers to another one.
//!
//! The API server keeps connections in reserve and would go on using them after everybody was told that the replica stops: its old policy would
//! answer. Closing them is not safe, because the API server never repeats a POST that crossed with the close. It does repeat one that is answered with
//! `Retry-After`, at most ten times for one review.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use crate::tls::Stopping;

/// How often one review is referred from a connection in reserve, whose successor may be another of those. Two replicas that stop at the same time, each
/// with so many connections in reserve, leave the API server the last of its attempts.
const FROM_KEPT: u8 = 5;

/// How often from a new connection. Each time costs a second of the five that a review has.
const FROM_NEW: u8 = 1;

/// How many reviews are remembered; after so many, all may be referred again.
const MAX_REVIEWS: usize = 10_000;

/// How often each review was referred, by a hash of its body: the API server sends the same bytes again.
#[derive(Default)]
pub(super) struct Referrals(Mutex<HashMap<u64, Times>>);

#[derive(Default)]
struct Times {
    from_kept: u8,
    from_new: u8,
}

impl Referrals {
    /// In how many seconds the API server should try again, if this review can be referred once more. If not, it must be answered here.
    pub(super) fn refer(&self, stopping: Stopping, body: &[u8]) -> Option<u8> {
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let mut reviews = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if reviews.len() >= MAX_REVIEWS {
            reviews.clear();
        }
        let times = reviews.entry(hasher.finish()).or_default();
        let (times, most, seconds) = match stopping {
            Stopping::KeptConnection => (&mut times.from_kept, FROM_KEPT, 0),
            // Whatever sends reviews here needs a moment to notice.
            Stopping::NewConnection => (&mut times.from_new, FROM_NEW, 1),
        };
        if *times == most {
            return None;
        }
        *times += 1;
        Some(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_is_referred_so_often_and_then_answered() {
        let referrals = Referrals::default();
        let refer = |stopping, body: &[u8]| referrals.refer(stopping, body);
        for seconds in [[Some(0); 5].as_slice(), &[None; 2]].concat() {
            assert_eq!(refer(Stopping::KeptConnection, b"one"), seconds);
        }
        assert_eq!(refer(Stopping::KeptConnection, b"two"), Some(0));
        for seconds in [Some(1), None] {
            assert_eq!(refer(Stopping::NewConnection, b"one"), seconds);
        }
    }
}
