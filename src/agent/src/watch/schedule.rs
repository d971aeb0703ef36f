//! When the next refresh comes: pure, jitter comes in as a number from 0 up to 1.

use std::time::Duration;

use tokio::time::Instant;

/// The first wait after a failure is this part of the interval, and not under [`LEAST`].
const PART: u32 = 10;
const LEAST: Duration = Duration::from_secs(5);
/// Longer intervals are as good as none, and clocks overflow.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Refreshes that somebody asks for are at least so far apart.
const APART: Duration = Duration::from_secs(10);

/// The waits between refreshes.
#[derive(Debug)]
pub(super) struct Schedule {
    every: Duration,
    failed: u32,
}

impl Schedule {
    pub(super) fn new(every: Duration) -> Schedule {
        Schedule { every: every.min(LONGEST), failed: 0 }
    }

    /// Between half of the interval and all of it, so that pods that start together part.
    pub(super) fn first(&self, random: f64) -> Duration {
        self.every.mul_f64(1.0 - random / 2.0)
    }

    /// The interval, a fifth more or less.
    pub(super) fn after_success(&mut self, random: f64) -> Duration {
        self.failed = 0;
        around(self.every, random)
    }

    /// Doubles from a tenth of the interval (but 5 s) up to the interval, a fifth more or less, and not before what the server asks for.
    pub(super) fn after_failure(&mut self, asked: Option<Duration>, random: f64) -> Duration {
        let first = (self.every / PART).max(LEAST);
        let wait = first.saturating_mul(2u32.saturating_pow(self.failed)).min(self.every);
        self.failed = self.failed.saturating_add(1);
        let floor = asked.unwrap_or_default().min(LONGEST).mul_f64(1.0 + random / 5.0);
        around(wait, random).max(floor)
    }
}

fn around(wait: Duration, random: f64) -> Duration {
    wait.mul_f64(0.8 + 0.4 * random)
}

/// Whether somebody asks for a refresh, by changing a text.
#[derive(Debug)]
pub(super) struct Asked {
    seen: Vec<u8>,
    pending: bool,
    last: Option<Instant>,
}

impl Asked {
    /// `text` is what is there at the start, and asks for nothing.
    pub(super) fn new(text: Vec<u8>) -> Asked {
        Asked { seen: text, pending: false, last: None }
    }

    /// Whether to refresh now. What comes too early is met when its time has come.
    pub(super) fn look(&mut self, text: Vec<u8>, now: Instant) -> bool {
        if text != self.seen {
            self.seen = text;
            self.pending = true;
        }
        let due = self.pending && self.last.is_none_or(|last| now >= last + APART);
        if due {
            self.pending = false;
            self.last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn the_first_comes_in_the_second_half_of_the_interval_and_the_others_around_it() {
        let mut schedule = Schedule::new(S(100));
        assert_eq!((schedule.first(0.0), schedule.first(0.5), schedule.first(1.0)), (S(100), S(75), S(50)));
        assert_eq!((schedule.after_success(0.0), schedule.after_success(0.5), schedule.after_success(1.0)), (S(80), S(100), S(120)));
    }

    #[test]
    fn failures_wait_longer_each_time_up_to_the_interval_and_a_success_forgets_them() {
        let mut schedule = Schedule::new(S(300));
        let waits: Vec<u64> = (0..7).map(|_| schedule.after_failure(None, 0.5).as_secs()).collect();
        assert_eq!(waits, [30, 60, 120, 240, 300, 300, 300]);
        schedule.after_success(0.5);
        assert_eq!(schedule.after_failure(None, 0.0), S(24));
        for (every, first) in [(S(30), S(5)), (S(1), S(1)), (S(3_600), S(360))] {
            assert_eq!(Schedule::new(every).after_failure(None, 0.5), first, "{every:?}");
        }
        assert_eq!(Schedule { every: S(30), failed: u32::MAX }.after_failure(None, 0.5), S(30));
    }

    #[test]
    fn what_the_server_asks_for_is_a_floor_with_jitter_on_top() {
        let mut schedule = Schedule::new(S(30));
        assert_eq!(schedule.after_failure(Some(S(600)), 0.0), S(600));
        assert_eq!(schedule.after_failure(Some(S(600)), 1.0), S(720));
        assert_eq!(schedule.after_failure(Some(S(1)), 0.5), S(20));
        assert!(Schedule::new(Duration::MAX).after_failure(Some(Duration::MAX), 1.0) <= LONGEST.mul_f64(1.3));
    }

    #[test]
    fn a_changed_text_asks_once_and_at_most_every_ten_seconds() {
        let start = Instant::now();
        let mut asked = Asked::new(b"1".to_vec());
        let mut look = |text: &str, seconds| asked.look(text.as_bytes().to_vec(), start + S(seconds));
        assert!(!look("1", 0), "what stood there at the start");
        assert!(look("2", 1) && !look("2", 2));
        assert!(!look("3", 5) && !look("4", 9) && !look("4", 10), "too early");
        assert!(look("4", 11) && !look("4", 30), "both are met by one");
    }
}
