//! The threads that the webhook serves with.

use std::io;
use std::thread;

use axum::Router;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// Two: a handshake holds up neither the next one nor a review. Reviews are read and decided on threads of their own.
const THREADS: usize = 2;

/// A runtime for the webhook.
///
/// # Errors
/// The system's, where it gives no threads.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()
}

/// Serves the plain port on a thread of its own, until the process ends: the kubelet is answered whatever the others do.
///
/// # Errors
/// The system's, where it gives no thread.
pub fn serve_health(listener: std::net::TcpListener, router: Router) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _context = runtime.enter();
        TcpListener::from_std(listener)?
    };
    thread::Builder::new().name("health".into()).spawn(move || runtime.block_on(axum::serve(listener, router).into_future()))?;
    Ok(())
}
