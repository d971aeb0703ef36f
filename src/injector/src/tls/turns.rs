//! A future that wakes itself while it is polled is polled again at once. The runtime would wake another thread for it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use futures::task::{ArcWake, AtomicWaker, waker_ref};

/// How often at most; then the others have their turn.
const MOST: usize = 16;

const WAITING: u8 = 0;
const POLLED: u8 = 1;
/// Woken since it was last polled.
const WOKEN: u8 = 2;

/// What is between one future and its task.
#[derive(Default)]
pub(super) struct Turns {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Turns {
    /// Polls the future until it waits for something else than itself.
    pub(super) fn poll<F: Future>(self: &Arc<Turns>, mut future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.task.register(cx.waker());
        let waker = waker_ref(self);
        for _ in 0..MOST {
            self.state.store(POLLED, Ordering::SeqCst);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(output);
            }
            if self.state.compare_exchange(POLLED, WAITING, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                return Poll::Pending;
            }
        }
        self.state.store(WAITING, Ordering::SeqCst);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl ArcWake for Turns {
    fn wake_by_ref(turns: &Arc<Turns>) {
        if turns.state.compare_exchange(POLLED, WOKEN, Ordering::SeqCst, Ordering::SeqCst) == Err(WAITING) {
            turns.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl ArcWake for Wakes {
        fn wake_by_ref(wakes: &Arc<Wakes>) {
            wakes.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_future_that_wakes_itself_is_polled_again_and_one_that_is_woken_later_wakes_its_task() {
        for (by_itself, polls, wakes) in [(0, 1, 0), (3, 4, 0), (usize::MAX, MOST, 1)] {
            let (task, turns, mut polled, mut waker) = (Arc::new(Wakes::default()), Arc::new(Turns::default()), 0, None);
            let mut future = pin!(poll_fn(|cx| {
                polled += 1;
                if polled <= by_itself {
                    cx.waker().wake_by_ref();
                }
                waker = Some(cx.waker().clone());
                Poll::<()>::Pending
            }));
            assert!(turns.poll(future.as_mut(), &mut Context::from_waker(&waker_ref(&task))).is_pending());
            assert_eq!((polled, task.0.load(Ordering::SeqCst)), (polls, wakes));
            waker.unwrap().wake();
            assert_eq!(task.0.load(Ordering::SeqCst), wakes + 1);
        }
    }
}
