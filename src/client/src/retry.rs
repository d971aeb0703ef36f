//! Whether to try again and when: a decision from values alone.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::failure::{Class, Failure, Outlook};

/// The ceiling of the first wait; it doubles with every try.
const FIRST: Duration = Duration::from_millis(500);
/// No wait that we choose ourselves is longer.
const CEILING: Duration = Duration::from_secs(16);

/// The tries of one operation until a deadline.
#[derive(Clone, Debug)]
pub struct Retry {
    deadline: Instant,
    jitter: fn() -> f64,
    failed: u32,
    last: Option<Failure>,
}

impl Retry {
    /// Tries until `deadline`; `jitter` yields numbers from 0 to 1.
    #[must_use]
    pub fn new(deadline: Instant, jitter: fn() -> f64) -> Retry {
        Retry { deadline, jitter, failed: 0, last: None }
    }

    /// When the last try ends.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Where numbers from 0 to 1 come from.
    #[must_use]
    pub fn jitter(&self) -> fn() -> f64 {
        self.jitter
    }

    /// Tries until something comes of it. `subject` names the operation in the log.
    ///
    /// # Errors
    /// The last failure where another try would not help or would come too late; its text then says so.
    pub async fn run<T>(mut self, subject: &str, mut attempt: impl AsyncFnMut() -> Result<T, Failure>) -> Result<T, Failure> {
        loop {
            let failure = match timeout_at(self.deadline, attempt()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(failure)) => failure,
                Err(_) => return Err(self.overdue()),
            };
            let (what, outlook) = (failure.what.clone(), failure.outlook);
            let wait = self.next(failure, Instant::now())?;
            let line = format!("{subject}: {what}; next try in {} ms", wait.as_millis());
            // The gate that pauses a whole vault logs that once.
            if matches!(outlook, Outlook::Paused(_)) {
                tracing::debug!("{line}")
            } else {
                tracing::warn!("{line}")
            }
            tokio::time::sleep(wait).await;
        }
    }

    fn next(&mut self, failure: Failure, now: Instant) -> Result<Duration, Failure> {
        self.failed += 1;
        let deadline = failure.until.map_or(self.deadline, |until| until.min(self.deadline));
        let left = deadline.saturating_duration_since(now);
        match wait(self.failed, failure.outlook, left, (self.jitter)()) {
            Ok(wait) => {
                self.last = Some(failure);
                Ok(wait)
            }
            Err(GiveUp::Final) => Err(failure),
            Err(GiveUp::TooLong(asked)) => {
                let what = end(&failure);
                Err(late(failure, &format!("asks to wait {}s, but {what} is in {}s", asked.as_secs(), left.as_secs())))
            }
            // Where the deadline cut the last try short, what the try before it brought says more.
            Err(GiveUp::Deadline) => {
                let cut = failure.class == Class::Timeout && left.is_zero();
                let told = self.last.take().filter(|_| cut).unwrap_or(failure);
                Err(self.exhausted(told))
            }
        }
    }

    /// The deadline came in the middle of a try: what the try before it brought says more.
    fn overdue(mut self) -> Failure {
        match self.last.take() {
            Some(failure) => self.exhausted(failure),
            None => Failure::new(Class::Timeout, "no answer before the deadline"),
        }
    }

    fn exhausted(&self, failure: Failure) -> Failure {
        let end = end(&failure);
        match self.failed {
            1 => late(failure, &format!("no time for another try before {end}")),
            tries => late(failure, &format!("tried {tries} times until {end}")),
        }
    }
}

/// Until when a failure is tried again.
fn end(failure: &Failure) -> &'static str {
    if failure.until.is_some() { "the end of its share of the deadline" } else { "the deadline" }
}

fn late(failure: Failure, why: &str) -> Failure {
    Failure { what: format!("{} ({why})", failure.what), outlook: Outlook::Final, ..failure }
}

#[derive(Debug, PartialEq, Eq)]
enum GiveUp {
    Final,
    Deadline,
    TooLong(Duration),
}

/// After `failed` tries with `left` until the deadline. Own waits have full jitter; what the server asks for is a floor, and
/// jitter comes on top, so that many pods do not come back at the same instant. A server that asks for less than we would wait does not hasten
/// us. A pause of the whole vault is taken as it is: the waits of single objects must not come on top.
fn wait(failed: u32, outlook: Outlook, left: Duration, jitter: f64) -> Result<Duration, GiveUp> {
    let own = FIRST.saturating_mul(2u32.saturating_pow(failed.saturating_sub(1))).min(CEILING).mul_f64(jitter);
    match outlook {
        Outlook::Final => Err(GiveUp::Final),
        Outlook::After(asked) if asked >= left => Err(GiveUp::TooLong(asked)),
        Outlook::After(asked) => {
            let floor = asked + FIRST.mul_f64(jitter);
            // There is time for one more try if the server is taken at its word.
            let last = if asked < FIRST { Err(GiveUp::Deadline) } else { Ok(floor.min(left)) };
            Some(floor.max(own)).filter(|wait| *wait < left).map_or(last, Ok)
        }
        Outlook::Paused(wait) => Some(wait).filter(|wait| *wait < left).ok_or(GiveUp::Deadline),
        Outlook::Transient => Some(own).filter(|wait| *wait < left).ok_or(GiveUp::Deadline),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn waits_double_from_half_a_second_to_sixteen_with_full_jitter() {
        let left = MS(600_000);
        for (failed, jitter, expected) in
            [(1, 1.0, 500), (1, 0.5, 250), (1, 0.0, 0), (2, 1.0, 1_000), (4, 1.0, 4_000), (6, 1.0, 16_000), (7, 1.0, 16_000), (60, 0.25, 4_000)]
        {
            assert_eq!(wait(failed, Outlook::Transient, left, jitter), Ok(MS(expected)), "try {failed}, jitter {jitter}");
        }
    }

    #[test]
    fn what_the_server_asks_for_is_a_floor() {
        assert_eq!(wait(1, Outlook::After(MS(3_000)), MS(10_000), 0.0), Ok(MS(3_000)));
        assert_eq!(wait(3, Outlook::After(MS(3_000)), MS(10_000), 1.0), Ok(MS(3_500)));
        assert_eq!(wait(9, Outlook::After(MS(3_000)), MS(10_000), 1.0), Ok(MS(3_500)));
        assert_eq!(wait(1, Outlook::After(MS(3_000)), MS(3_100), 1.0), Ok(MS(3_100)));
    }

    #[test]
    fn a_server_that_asks_for_next_to_no_wait_does_not_switch_our_own_off() {
        for asked in [MS(0), MS(1), MS(499)] {
            assert_eq!(wait(6, Outlook::After(asked), MS(60_000), 0.5), Ok(MS(8_000)), "{asked:?}");
            assert_eq!(wait(6, Outlook::After(asked), MS(6_000), 0.5), Err(GiveUp::Deadline), "{asked:?}");
        }
        assert_eq!(wait(6, Outlook::After(MS(1_000)), MS(60_000), 0.5), Ok(MS(8_000)));
    }

    #[test]
    fn a_pause_is_taken_as_it_is_however_often_it_happened() {
        for (failed, jitter) in [(1, 0.0), (9, 1.0)] {
            assert_eq!(wait(failed, Outlook::Paused(MS(3_000)), MS(10_000), jitter), Ok(MS(3_000)));
        }
    }

    #[test]
    fn nothing_waits_past_the_deadline() {
        assert_eq!(wait(1, Outlook::After(MS(3_600_000)), MS(120_000), 0.5), Err(GiveUp::TooLong(MS(3_600_000))));
        assert_eq!(wait(1, Outlook::Paused(MS(3_000)), MS(3_000), 0.5), Err(GiveUp::Deadline));
        assert_eq!(wait(5, Outlook::Transient, MS(1_000), 1.0), Err(GiveUp::Deadline));
        assert_eq!(wait(1, Outlook::Transient, Duration::ZERO, 0.0), Err(GiveUp::Deadline));
        assert_eq!(wait(1, Outlook::Final, MS(1_000), 0.0), Err(GiveUp::Final));
    }

    #[test]
    fn the_text_says_why_no_other_try_was_made() {
        let now = Instant::now();
        let give_up = |outlook, failures: u32| {
            let mut retry = Retry { failed: failures, ..Retry::new(now + MS(1_500), || 1.0) };
            retry.next(Failure { outlook, ..Failure::new(Class::Throttled, "too many requests") }, now).unwrap_err().to_string()
        };
        assert_eq!(give_up(Outlook::Final, 0), "too many requests");
        assert_eq!(give_up(Outlook::After(MS(60_000)), 0), "too many requests (asks to wait 60s, but the deadline is in 1s)");
        assert_eq!(give_up(Outlook::Transient, 4), "too many requests (tried 5 times until the deadline)");
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_the_deadline_cuts_short_says_what_the_one_before_it_brought() {
        let deadline = Instant::now() + MS(10_000);
        let run = async |first: Class| {
            let mut tries = 0;
            let attempt = async || {
                tries += 1;
                if tries > 1 || first == Class::Timeout {
                    tokio::time::sleep_until(deadline).await;
                    return Err::<(), _>(Failure::new(Class::Timeout, "did not answer").transient());
                }
                Err(Failure::new(first, "answered 503").transient())
            };
            Retry::new(deadline, || 1.0).run("a", attempt).await.unwrap_err()
        };
        let cut = run(Class::Unavailable).await;
        assert_eq!((cut.class, cut.to_string().as_str()), (Class::Unavailable, "answered 503 (tried 2 times until the deadline)"));
        let deadline = run(Class::Timeout).await;
        assert_eq!(deadline.to_string(), "did not answer (no time for another try before the deadline)");
    }
}
