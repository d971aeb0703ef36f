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

/// A thread of its own, which ends with this value.
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
