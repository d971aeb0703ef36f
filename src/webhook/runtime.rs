//! The threads that the webhook serves with.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// Two: a large review holds up neither the next one nor a probe. More work than that is for more replicas.
const THREADS: usize = 2;

/// A runtime for the webhook.
///
/// # Errors
/// The system's, where it gives no threads.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()
}
