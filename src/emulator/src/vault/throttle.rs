//! So many calls in each window.

use std::time::Instant;

use crate::config::ThrottleLimit;

/// Counts the calls of the window in progress.
#[derive(Debug)]
pub(super) struct Throttle {
    limit: ThrottleLimit,
    window: Option<(Instant, u32)>,
}

impl Throttle {
    pub(super) fn new(limit: ThrottleLimit) -> Throttle {
        Throttle { limit, window: None }
    }

    /// Whether a call at `now` is served. One that is not does not count. A window starts with its first call.
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        let (start, calls) = self.window.filter(|(start, _)| now.duration_since(*start) < self.limit.window).unwrap_or((now, 0));
        let admitted = calls < self.limit.calls;
        self.window = Some((start, calls + u32::from(admitted)));
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_window_admits_its_calls_and_the_next_one_starts_again() {
        let start = Instant::now();
        let mut throttle = Throttle::new(ThrottleLimit { calls: 2, window: Duration::from_secs(10) });
        let admitted: Vec<bool> = [0, 1, 2, 9, 10, 11, 12].map(|second| throttle.admit(start + Duration::from_secs(second))).to_vec();
        assert_eq!(admitted, [true, true, false, false, true, true, false]);
    }
}
