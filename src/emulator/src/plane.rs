//! What every request passes, whichever service it is for: scripted faults and the journal.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::Response;
use hyper::body::Frame;

use super::call::{self, Call};
use super::faults::{Answer, Outage, Plane};
use super::journal::Entry;
use super::world::World;

/// Tells the listener to drop the connection instead of answering.
#[derive(Clone, Copy)]
pub(super) struct Reset;

/// Receives a request, lets `handler` answer it and writes it down.
pub(super) async fn serve<F>(world: Arc<World>, plane: Plane, request: Request, handler: fn(Arc<World>, Call) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let call = Call::receive(request).await;
    let entry = Entry::new(plane, &call);
    let arrival = world.faults.arrival(plane, &call.path);
    if !arrival.delay.is_zero() {
        tokio::time::sleep(arrival.delay).await;
    }
    if arrival.reset {
        world.journal.note(entry, None);
        let mut response = call::empty(StatusCode::INTERNAL_SERVER_ERROR);
        response.extensions_mut().insert(Reset);
        return response;
    }
    let response = handler(world.clone(), call).await;
    world.journal.note(entry, Some(response.status()));
    response
}

/// The answer, or the scripted one in its place; `word` is how the service itself speaks of an outage. A vault's 403 is the vault's business.
pub(super) async fn scripted(fault: Option<Answer>, word: impl FnOnce(Outage) -> Response, answer: impl Future<Output = Response>) -> Response {
    match fault {
        None | Some(Answer::Forbid(_)) => answer.await,
        Some(Answer::Truncate) => truncate(answer.await).await,
        Some(Answer::Garbage) => call::typed(StatusCode::OK, "text/html", "<html><body>Sign in to the network</body></html>"),
        Some(Answer::Outage(outage)) => {
            let mut response = word(outage);
            if let Some(seconds) = outage.retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            }
            response
        }
    }
}

/// Announces the whole body and sends half of it.
async fn truncate(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    let whole = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    head.headers.insert(header::CONTENT_LENGTH, whole.len().max(1).into());
    Response::from_parts(head, Body::new(Half::Bytes(whole.slice(..whole.len() / 2))))
}

/// Gives its bytes, waits until they are on their way, then breaks off. Does not know its length, so that the announced one stands.
enum Half {
    Bytes(Bytes),
    Sent,
    Over,
}

impl HttpBody for Half {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match std::mem::replace(&mut *self, Half::Over) {
            Half::Bytes(bytes) => {
                *self = Half::Sent;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Half::Sent => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Half::Over => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
        }
    }
}
