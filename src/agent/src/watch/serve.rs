//! Health and metrics over plain HTTP: one request per connection, few connections, little time.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;

use super::status::Status;

/// Connections at a time; the oldest gives way to the next.
const MOST: usize = 16;
/// The time limit of a whole connection: a probe sends its request at once.
const LIMIT: Duration = Duration::from_secs(1);

/// The port cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("port {port}, for health and metrics, cannot be had: {reason}; name another one in keyvault-injector.io/metrics-port")]
pub(crate) struct PortError {
    port: u16,
    reason: io::Error,
}

/// Takes the port on all addresses of the pod.
pub(crate) fn listen(port: u16) -> Result<TcpListener, PortError> {
    let addresses = [SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))];
    let listening = TcpListener::bind(&addresses[..]).and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    listening.map_err(|reason| PortError { port, reason })
}

/// Answers until it is dropped.
pub(super) async fn serve(listener: TcpListener, status: Arc<Mutex<Status>>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("health and metrics are not served: {error}"),
    };
    if let Ok(address) = listener.local_addr() {
        tracing::info!("health and metrics on port {}", address.port());
    }
    let mut open = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                open.retain(|connection: &AbortHandle| !connection.is_finished());
                if open.len() == MOST {
                    open.pop_front().iter().for_each(AbortHandle::abort);
                }
                // A client that is slow or disconnects gets no other answer.
                let connection = tokio::spawn(tokio::time::timeout(LIMIT, answer_one(stream, status.clone())));
                open.push_back(connection.abort_handle());
                // A request that came with the connection is answered before the next one is taken.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                tracing::warn!("health and metrics: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn answer_one(stream: tokio::net::TcpStream, status: Arc<Mutex<Status>>) -> hyper::Result<()> {
    let service = service_fn(move |request| {
        let answer = answer(request.method(), request.uri().path(), &status.lock().unwrap_or_else(PoisonError::into_inner));
        async move { Ok::<_, Infallible>(answer) }
    });
    http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service).await
}

fn answer(method: &Method, path: &str, status: &Status) -> Response<Full<Bytes>> {
    let (code, kind, text) = match (method, path) {
        (&Method::GET | &Method::HEAD, "/live") => (StatusCode::OK, "text/plain", "alive\n".to_owned()),
        (&Method::GET | &Method::HEAD, "/ready") if status.ready => (StatusCode::OK, "text/plain", "ready\n".to_owned()),
        (&Method::GET | &Method::HEAD, "/ready") => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", "the first fetch is not done\n".to_owned()),
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", status.metrics(SystemTime::now())),
        (_, "/live" | "/ready" | "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "/live, /ready or /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn idle_connections_give_way_to_new_requests() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, Arc::default()));
        let mut idle = Vec::new();
        for _ in 0..300 {
            idle.push(tokio::net::TcpStream::connect(address).await.unwrap());
        }
        let asked = tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            io::Write::write_all(&mut stream, b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            io::read_to_string(stream).unwrap()
        });
        let answer = tokio::time::timeout(Duration::from_secs(15), asked).await.expect("an answer beside 300 idle connections").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        drop(idle);
        server.abort();
    }
}
