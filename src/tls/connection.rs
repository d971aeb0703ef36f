//! One connection: HTTP/1.1 until the peer leaves, takes too long, or the server stops.
//!
//! The time limits are ours because hyper's header timer runs while a kept-alive connection is idle. The API server keeps idle connections for
//! 90 seconds and never repeats a POST: closing one early loses a pod. So idle time and the time for a request's head are told apart, by its first byte.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::server::{Handler, Limits};

/// How far the server has gone on its way to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Course {
    /// Connections are kept alive.
    Serving,
    /// Each answer closes its connection.
    Closing,
    /// The port is closed, and idle connections are left to their peers: whoever closes one may lose what the other has just sent on it.
    Leaving,
}

/// Serves one connection to its end.
pub(super) async fn serve<IO, H>(io: IO, handler: H, limits: Limits, course: watch::Receiver<Course>)
where
    IO: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    let clock = Arc::new(Clock::new(limits));
    let handler = service_fn(|request| {
        clock.enter(Phase::Exchange);
        let answer = handler.clone().call(request);
        async {
            let mut answer = answer.await?;
            clock.enter(Phase::Idle);
            if *course.borrow() >= Course::Closing {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let io = TokioIo::new(Timed { io, clock: Arc::clone(&clock) });
    let mut connection = pin!(http1::Builder::new().header_read_timeout(None).max_buf_size(limits.buffer).serve_connection(io, handler));
    let mut leaving = pin!(leaving(course.clone()));
    let mut timer = pin!(sleep_until(clock.deadline()));
    poll_fn(|cx| {
        if !clock.is_leaving() && leaving.as_mut().poll(cx).is_ready() {
            clock.leave();
        }
        // A peer that breaks off or sends no HTTP concerns nobody: the result says nothing that the peer does not know.
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if timer.deadline() != clock.deadline() {
            timer.as_mut().reset(clock.deadline());
        }
        timer.as_mut().poll(cx)
    })
    .await;
}

async fn leaving(mut course: watch::Receiver<Course>) {
    // Without a sender there is no server: the same as leaving.
    let _ = course.wait_for(|course| *course == Course::Leaving).await;
}

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing has been heard since the handshake or the last answer.
    Idle,
    /// A request has begun and its head is not complete.
    Head,
    /// A request is being read and answered.
    Exchange,
}

/// How long the present phase may last.
struct Clock {
    limits: Limits,
    now: Mutex<Now>,
}

/// What a connection is doing, since when, and whether the server is leaving.
#[derive(Clone, Copy)]
struct Now {
    phase: Phase,
    since: Instant,
    leaving: bool,
}

impl Clock {
    fn new(limits: Limits) -> Clock {
        Clock { limits, now: Mutex::new(Now { phase: Phase::Idle, since: Instant::now(), leaving: false }) }
    }

    fn enter(&self, phase: Phase) {
        let mut now = self.lock();
        (now.phase, now.since) = (phase, Instant::now());
    }

    fn bytes_came(&self) {
        if self.lock().phase == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    fn leave(&self) {
        self.lock().leaving = true;
    }

    fn is_leaving(&self) -> bool {
        self.lock().leaving
    }

    fn deadline(&self) -> Instant {
        let now = *self.lock();
        let limit = match now.phase {
            Phase::Idle if now.leaving => self.limits.release,
            Phase::Idle => self.limits.idle,
            Phase::Head => self.limits.head,
            Phase::Exchange => self.limits.exchange,
        };
        now.since + limit
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that tells the clock when bytes come in.
struct Timed<IO> {
    io: IO,
    clock: Arc<Clock>,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Timed<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.clock.bytes_came();
        }
        result
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Timed<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buffer)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffers: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
