//! Connections: TLS or plain, HTTP/1.1, each in a task of its own that cannot hold up another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use super::call::Peer;
use super::plane::Reset;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_TIMEOUT: Duration = Duration::from_secs(120);
/// Out of file descriptors: accepting again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until it is dropped; its connections end with it.
pub(super) async fn serve(listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>, router: Router) {
    let acceptor = tls.map(TlsAcceptor::from);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => { connections.spawn(connection(stream, peer, acceptor.clone(), router.clone())); }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, acceptor: Option<TlsAcceptor>, router: Router) {
    // Small answers must not wait for the client's acknowledgement.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = acceptor else { return http(TokioIo::new(stream), peer, router).await };
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => http(TokioIo::new(stream), peer, router).await,
        Ok(Err(error)) => tracing::warn!(%error, "TLS handshake failed; does the client trust ca.pem?"),
        Err(_) => tracing::warn!("TLS handshake timed out"),
    }
}

async fn http(stream: impl Read + Write + Unpin + Send + 'static, peer: SocketAddr, router: Router) {
    let service = service_fn(|request| answer(router.clone(), peer, request));
    let served = http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).serve_connection(stream, service).await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
}

/// A connection whose scripted end this is.
#[derive(Debug, thiserror::Error)]
#[error("reset as scripted")]
struct Dropped;

async fn answer(mut router: Router, peer: SocketAddr, request: hyper::Request<Incoming>) -> Result<Response, Dropped> {
    let mut request: Request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer.ip()));
    let Ok(response) = router.call(request).await;
    if response.extensions().get::<Reset>().is_some() { Err(Dropped) } else { Ok(response) }
}
