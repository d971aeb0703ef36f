//! How many requests one vault gets at a time: one first, and with its answer up to 64; one after it throttles, then one more with each success.
//!
//! Key Vault counts 4,000 calls in a fixed window of ten seconds for all pods together, and does not say when the window ends. Whoever starts
//! after it is used up learns so from one call, not from as many as it has objects.

use std::time::Duration;

use tokio::time::Instant;

use keyvault_client::{Class, Failure, Outlook};

/// The most requests in flight to one vault: all of an ordinary pod's. Only one round trip then follows the first request.
pub(super) const MOST: usize = 64;
/// How long a vault that throttles without saying for how long is left alone. Shorter, and pods spend their calls on one window; longer, and
/// they leave the next one unused. The range is what spreads pods that were refused together.
const PAUSE: std::ops::Range<Duration> = Duration::from_secs(3)..Duration::from_secs(6);

/// What the answers of one vault have taught.
#[derive(Debug)]
pub(super) struct Pace {
    deadline: Instant,
    limit: usize,
    throttled: bool,
    closed_until: Option<Instant>,
}

/// When a request may go.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    At(Instant),
    /// When an answer has come.
    Later,
}

impl Pace {
    /// Nothing is worth a try after `deadline`.
    pub(super) fn new(deadline: Instant) -> Pace {
        Pace { deadline, limit: 1, throttled: false, closed_until: None }
    }

    /// Whether the vault has throttled and not recovered yet.
    pub(super) fn is_throttled(&self) -> bool {
        self.throttled
    }

    /// Whether no request may go, however few are in flight.
    pub(super) fn is_closed(&self, now: Instant) -> bool {
        self.closed_until.is_some_and(|until| now < until)
    }

    /// When a request may go while so many are in flight.
    pub(super) fn turn(&self, inside: usize, now: Instant) -> Turn {
        match self.closed_until {
            Some(until) if now < until => Turn::At(until),
            _ if inside < self.limit => Turn::Now,
            _ => Turn::Later,
        }
    }

    /// Takes an answer into account. `jitter` is from 0 to 1.
    ///
    /// Returns when to try again, if the vault throttles and leaves that to us: the same instant for all that it refuses before then.
    pub(super) fn learn(&mut self, failure: Option<&Failure>, now: Instant, jitter: f64) -> Option<Duration> {
        match failure.map(|failure| (failure.class, failure.outlook)) {
            Some((Class::Throttled, Outlook::After(asked))) => {
                // Open where nobody could wait that long: then each may learn at once what the vault asks.
                let until = Some(now + asked).filter(|until| *until < self.deadline);
                self.close(until);
                None
            }
            Some((Class::Throttled, Outlook::Transient)) => {
                let pause = PAUSE.start + (PAUSE.end - PAUSE.start).mul_f64(jitter);
                let until = self.closed_until.filter(|until| now < *until).unwrap_or(now + pause);
                self.close(Some(until));
                Some(until - now)
            }
            // Whatever else it says, it answers.
            _ if !self.throttled => {
                self.limit = MOST;
                None
            }
            None => {
                self.limit = (self.limit + 1).min(MOST);
                self.throttled = self.limit < MOST;
                None
            }
            Some(_) => None,
        }
    }

    fn close(&mut self, until: Option<Instant>) {
        self.limit = 1;
        self.throttled = true;
        self.closed_until = self.closed_until.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn refusal(outlook: Outlook) -> Failure {
        Failure { status: Some(429), outlook, ..Failure::new(Class::Throttled, "too many") }
    }

    /// How many more may go now.
    fn room(pace: &Pace, inside: usize, now: Instant) -> usize {
        (inside..).take_while(|inside| pace.turn(*inside, now) == Turn::Now).count()
    }

    #[test]
    fn one_request_goes_first_and_its_answer_opens_for_64() {
        let now = Instant::now();
        let not_found = Failure { class: Class::NotFound, outlook: Outlook::Final, ..refusal(Outlook::Final) };
        let broken = Failure { class: Class::Connect, outlook: Outlook::Transient, ..refusal(Outlook::Final) };
        for answer in [None, Some(&not_found), Some(&broken)] {
            let mut pace = Pace::new(now + 60 * SECOND);
            assert_eq!(room(&pace, 0, now), 1);
            assert_eq!(pace.learn(answer, now, 0.0), None);
            assert_eq!(room(&pace, 0, now), 64, "{answer:?}");
            assert!(!pace.is_throttled());
        }
    }

    #[test]
    fn a_used_up_window_is_left_alone_for_three_to_six_seconds_then_one_goes_and_one_more_with_each_success() {
        for (jitter, pause) in [(0.0, 3 * SECOND), (0.5, Duration::from_millis(4_500)), (1.0, 6 * SECOND)] {
            let now = Instant::now();
            let mut pace = Pace::new(now + 60 * SECOND);
            assert_eq!(pace.learn(Some(&refusal(Outlook::Transient)), now, jitter), Some(pause));
            assert_eq!(pace.turn(0, now + pause - Duration::from_nanos(1)), Turn::At(now + pause));
            let later = now + pause;
            for expected in [1, 2, 3] {
                assert!(pace.is_throttled());
                assert_eq!(room(&pace, 0, later), expected);
                pace.learn(None, later, 0.0);
            }
            for _ in 0..100 {
                pace.learn(None, later, 0.0);
            }
            assert_eq!((room(&pace, 0, later), pace.is_throttled()), (64, false));
        }
    }

    #[test]
    fn what_is_refused_together_comes_back_together_and_does_not_wait_longer() {
        let now = Instant::now();
        let mut pace = Pace::new(now + 60 * SECOND);
        pace.learn(None, now, 0.0);
        assert_eq!(pace.learn(Some(&refusal(Outlook::Transient)), now, 0.0), Some(3 * SECOND));
        assert_eq!(pace.learn(Some(&refusal(Outlook::Transient)), now + SECOND, 1.0), Some(2 * SECOND));
        assert_eq!(room(&pace, 0, now + 3 * SECOND), 1);
        assert_eq!(pace.learn(Some(&refusal(Outlook::Transient)), now + 3 * SECOND, 1.0), Some(6 * SECOND), "a new refusal, a new pause");
    }

    #[test]
    fn what_the_vault_asks_for_is_kept_and_a_success_from_before_does_not_open_it() {
        let now = Instant::now();
        let mut pace = Pace::new(now + 60 * SECOND);
        assert_eq!(pace.learn(Some(&refusal(Outlook::After(20 * SECOND))), now, 1.0), None);
        pace.learn(None, now, 0.0);
        assert_eq!(pace.learn(Some(&refusal(Outlook::Transient)), now, 0.0), Some(20 * SECOND));
        assert_eq!(pace.turn(0, now + 19 * SECOND), Turn::At(now + 20 * SECOND));
        assert_eq!(room(&pace, 0, now + 20 * SECOND), 1);
    }

    #[test]
    fn requests_in_flight_count_against_the_narrowed_limit() {
        let now = Instant::now();
        let mut pace = Pace::new(now + 60 * SECOND);
        pace.learn(None, now, 0.0);
        pace.learn(Some(&refusal(Outlook::After(Duration::ZERO))), now, 0.0);
        assert_eq!(pace.turn(1, now), Turn::Later);
        assert_eq!(pace.turn(0, now), Turn::Now);
    }

    #[test]
    fn without_time_for_another_try_a_vault_is_asked_no_more_unless_it_says_itself_for_how_long() {
        let now = Instant::now();
        for (outlook, expected) in [(Outlook::Transient, 0), (Outlook::After(3600 * SECOND), 1)] {
            let mut pace = Pace::new(now + 2 * SECOND);
            pace.learn(Some(&refusal(outlook)), now, 0.0);
            assert_eq!(room(&pace, 0, now), expected, "{outlook:?}");
        }
    }
}
