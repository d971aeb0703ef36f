//! One connection: HTTP/1.1 until the peer leaves, takes too long, or the server stops.
//!
//! The time limits are ours because hyper's header timer runs while a kept-alive connection is idle. The API server keeps idle connections for
//! 90 seconds and never repeats a POST: closing one early loses a pod. So idle time and the time for a request's head are distinguished, by its first byte.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::sleep_until;

use super::clock::{Clock, Phase};
use super::server::Handler;
use super::turns::Turns;

/// How far the server has gone on its way to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Course {
    /// Connections are kept alive.
    Serving,
    /// Each answer closes its connection.
    Closing,
    /// The port is closed, and idle connections are left to their peers: the side that closes one may lose what the other has just sent on it.
    Leaving,
    /// Nobody sends requests any more: what is idle is closed.
    Left,
}

/// In the extensions of a request that comes while the server stops: when its connection was opened.
///
/// The handler may ask the client to try again elsewhere, for the answer closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopping {
    /// Before the server was asked to stop: the client kept the connection in reserve.
    KeptConnection,
    /// After that: what sends clients here has not noticed yet.
    NewConnection,
}

/// Serves one connection to its end, from the moment after its handshake.
pub(super) async fn serve<IO, H>(io: IO, handler: H, clock: Arc<Clock>, course: watch::Receiver<Course>)
where
    IO: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    clock.enter(Phase::First);
    let stopping = if *course.borrow() == Course::Serving { Stopping::KeptConnection } else { Stopping::NewConnection };
    let handler = service_fn(|mut request| {
        clock.enter(Phase::Exchange);
        if *course.borrow() >= Course::Closing {
            request.extensions_mut().insert(stopping);
        }
        let answer = handler.clone().call(request);
        async {
            let mut answer = answer.await?;
            clock.enter(Phase::Idle);
            if answer.status().is_success() {
                clock.prove();
            }
            if *course.borrow() >= Course::Closing {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let io = TokioIo::new(Timed { io, clock: Arc::clone(&clock) });
    let mut connection = pin!(http1::Builder::new().header_read_timeout(None).max_buf_size(clock.limits().buffer).serve_connection(io, handler));
    let turns = Arc::new(Turns::default());
    let mut leaving = pin!(reached(Course::Leaving, course.clone()));
    let mut left = pin!(reached(Course::Left, course.clone()));
    let (mut timer, mut is_left) = (pin!(sleep_until(clock.deadline())), false);
    poll_fn(|cx| {
        if !clock.is_leaving() && leaving.as_mut().poll(cx).is_ready() {
            clock.leave(clock.limits().release);
        }
        if !is_left && left.as_mut().poll(cx).is_ready() {
            is_left = true;
            clock.leave(Duration::ZERO);
        }
        // A peer that breaks off or sends no HTTP concerns nobody: the result says nothing that the peer does not know.
        if turns.poll(connection.as_mut(), cx).is_ready() {
            return Poll::Ready(());
        }
        if timer.deadline() != clock.deadline() {
            timer.as_mut().reset(clock.deadline());
        }
        timer.as_mut().poll(cx)
    })
    .await;
}

async fn reached(least: Course, mut course: watch::Receiver<Course>) {
    // Without a sender there is no server: the same as leaving.
    let _ = course.wait_for(|course| *course >= least).await;
}

/// A stream that notifies the clock when bytes come in.
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
