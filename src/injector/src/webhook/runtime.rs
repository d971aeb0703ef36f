//! The threads that the webhook serves with.

use std::io;
use std::thread;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::time::interval;

use super::reviewer::WORKERS;

/// One more than reviews may occupy, whatever becomes of them: connections are always served.
const THREADS: usize = WORKERS + 1;

/// The runtime wakes a thread for each timer that is due before all others, as those of a review would be. With this one none of them is.
const TICK: Duration = Duration::from_secs(1);

/// A runtime for the webhook.
///
/// # Errors
/// The system's, where it gives no threads.
pub fn runtime() -> io::Result<Runtime> {
    let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    runtime.spawn(async {
        let mut ticks = interval(TICK);
        loop {
            ticks.tick().await;
        }
    });
    Ok(runtime)
}

/// Serves the plain port on a separate thread, until the process ends: the kubelet is answered whatever the others do.
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
