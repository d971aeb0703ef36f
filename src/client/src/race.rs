//! Attempts that overlap: each has a head start, and the first that succeeds ends the others.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

/// Makes an attempt with each item in turn. The next one starts after `head_start`, or as soon as one fails. `late` brings items that are not
/// known yet.
///
/// # Errors
/// Every failure, in the order in which they came, if no attempt succeeds.
pub(super) async fn race<I, T, E, F: Future<Output = Result<T, E>>>(
    items: Vec<I>,
    mut late: Option<BoxFuture<'_, Vec<I>>>,
    head_start: Duration,
    attempt: impl Fn(I) -> F,
) -> Result<T, Vec<E>> {
    let (mut waiting, mut running, mut failures) = (VecDeque::from(items), FuturesUnordered::new(), Vec::new());
    let mut start = Instant::now();
    while late.is_some() || !waiting.is_empty() || !running.is_empty() {
        tokio::select! {
            biased;
            Some(result) = running.next(), if !running.is_empty() => match result {
                Ok(success) => return Ok(success),
                Err(failure) => {
                    failures.push(failure);
                    start = Instant::now();
                }
            },
            more = arrival(&mut late), if late.is_some() => {
                late = None;
                waiting.extend(more);
            }
            () = tokio::time::sleep_until(start), if !waiting.is_empty() => {
                running.extend(waiting.pop_front().map(&attempt));
                start = Instant::now() + head_start;
            }
        }
    }
    Err(failures)
}

async fn arrival<I>(late: &mut Option<BoxFuture<'_, Vec<I>>>) -> Vec<I> {
    match late {
        Some(late) => late.await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::time::sleep;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// Each item is how long its attempt takes and whether it succeeds; the result is what came of it and when.
    async fn run(items: &[(u64, bool)], late: Option<(u64, (u64, bool))>) -> (Result<u64, Vec<u64>>, u64) {
        let begin = Instant::now();
        let late = late.map(|(after, item)| sleep(MS(after)).map(move |()| vec![item]).boxed());
        let result = race(items.to_vec(), late, MS(250), |(takes, succeeds)| async move {
            sleep(MS(takes)).await;
            if succeeds { Ok(takes) } else { Err(takes) }
        });
        (result.await, u64::try_from(begin.elapsed().as_millis()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_success_ends_the_race_and_a_failure_starts_the_next_at_once() {
        for (items, late, expected) in [
            (&[(10, true), (1, true)][..], None, (Ok(10), 10)),
            (&[(9_000, true), (20, true)], None, (Ok(20), 270)),
            (&[(9_000, false), (9_000, false), (30, true)], None, (Ok(30), 530)),
            (&[(5, false), (20, true)], None, (Ok(20), 25)),
            (&[(300, true), (9_000, true)], None, (Ok(300), 300)),
            (&[(5, false), (6, false)], None, (Err(vec![5, 6]), 11)),
            (&[], None, (Err(vec![]), 0)),
            (&[(9_000, false)], Some((100, (7, true))), (Ok(7), 257)),
            (&[(9_000, false)], Some((400, (7, true))), (Ok(7), 407)),
            (&[(5, false)], Some((100, (7, false))), (Err(vec![5, 7]), 107)),
            (&[(40, true)], Some((9_000, (7, true))), (Ok(40), 40)),
        ] {
            assert_eq!(run(items, late).await, expected, "{items:?} {late:?}");
        }
    }
}
