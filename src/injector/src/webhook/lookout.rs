//! Looks after reviews that run on the threads of the runtime.
//!
//! A review runs on the thread that has read it, because waking another one costs more than most reviews. That thread may be the one that waits for
//! sockets and timers for all of them, and the runtime gives this task to another thread only when it wakes one. So while reviews run, one is woken
//! from time to time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;

/// For so long at most a review keeps its thread's sockets and timers waiting.
const PERIOD: Duration = Duration::from_millis(100);
/// After so many looks that found no review, it waits to be called.
const QUIET: usize = 20;
/// What its thread needs.
const STACK: usize = 64 << 10;

/// A separate thread, which ends with this value.
pub(super) struct Lookout {
    reviews: Arc<Reviews>,
    call: SyncSender<()>,
}

#[derive(Default)]
struct Reviews {
    running: AtomicUsize,
    /// Whether somebody looks.
    watched: AtomicBool,
}

impl Lookout {
    /// # Errors
    /// The system's, where it gives no thread.
    pub(super) fn start(runtime: Handle) -> io::Result<Lookout> {
        let (reviews, (call, calls)) = (Arc::new(Reviews::default()), sync_channel(1));
        let watched = Arc::clone(&reviews);
        thread::Builder::new().name("lookout".into()).stack_size(STACK).spawn(move || watched.look(&calls, &runtime))?;
        Ok(Lookout { reviews, call })
    }

    /// A review begins, and ends when this is dropped.
    pub(super) fn begin(&self) -> Running {
        self.reviews.running.fetch_add(1, Ordering::SeqCst);
        if !self.reviews.watched.swap(true, Ordering::SeqCst) {
            // Full, it holds a call already.
            let _ = self.call.try_send(());
        }
        Running(Arc::clone(&self.reviews))
    }
}

/// A review under way.
pub(super) struct Running(Arc<Reviews>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Reviews {
    fn look(&self, calls: &Receiver<()>, runtime: &Handle) {
        let mut quiet = QUIET;
        loop {
            if quiet < QUIET {
                if calls.recv_timeout(PERIOD) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            } else {
                self.watched.store(false, Ordering::SeqCst);
                // One that began before this line has called nobody.
                if !self.is_running() && calls.recv().is_err() {
                    return;
                }
                quiet = 0;
            }
            if self.is_running() {
                quiet = 0;
                // Whichever thread takes this looks for more to do.
                drop(runtime.spawn(async {}));
            } else {
                quiet += 1;
            }
        }
    }

    fn is_running(&self) -> bool {
        self.running.load(Ordering::SeqCst) > 0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    /// A runtime that nobody drives: it keeps each task that it is given.
    fn idle() -> Runtime {
        Builder::new_current_thread().build().unwrap()
    }

    fn wakes(runtime: &Runtime) -> usize {
        runtime.metrics().num_alive_tasks()
    }

    fn until(what: &str, holds: impl Fn() -> bool) {
        let started = Instant::now();
        while !holds() {
            assert!(started.elapsed() < Duration::from_secs(60), "{what}: not yet");
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    #[test]
    fn it_wakes_a_thread_again_and_again_while_a_review_runs_and_then_rests() {
        let runtime = idle();
        let lookout = Lookout::start(runtime.handle().clone()).unwrap();
        // It may begin with a look. The third time it certainly rests.
        for _ in 0..3 {
            let (before, review) = (wakes(&runtime), lookout.begin());
            until("three wakes", || wakes(&runtime) >= before + 3);
            drop(review);
            until("rest", || !lookout.reviews.watched.load(Ordering::SeqCst));
        }
        let before = wakes(&runtime);
        drop(lookout);
        assert_eq!(wakes(&runtime), before);
    }

    #[test]
    fn a_review_that_began_just_before_the_rest_is_seen_and_the_thread_ends_with_the_lookout() {
        for running in [0, 1] {
            let (runtime, reviews, (call, calls)) = (idle(), Arc::new(Reviews::default()), sync_channel(1));
            reviews.running.store(running, Ordering::SeqCst);
            reviews.watched.store(true, Ordering::SeqCst);
            let (looks, handle) = (Arc::clone(&reviews), runtime.handle().clone());
            let thread = thread::spawn(move || looks.look(&calls, &handle));
            until("rest", || !reviews.watched.load(Ordering::SeqCst));
            until("wakes", || wakes(&runtime) >= 2 * running);
            drop(call);
            until("end", || thread.is_finished());
        }
    }
}
