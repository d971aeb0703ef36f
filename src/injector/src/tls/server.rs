//! The listener: bounded, patient with accept errors, and stopped in good order.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::{Request, Response};
use rustls::crypto::ring;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use super::certificate::Certificates;
use super::clients::Clients;
use super::clock::Clock;
use super::connection::{self, Course};
use super::crowd::Crowd;
use super::gulps::Gulps;
use super::stop::Stop;

/// How long and how much a server puts up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections. The next one takes the place of the one that has been idle for longest.
    pub connections: usize,
    /// Open connections of one address. The next one takes the place of that address's own idle connection; if all are busy, it comes in all the same.
    pub per_peer: usize,
    /// From the TCP connection to the end of the TLS handshake.
    pub handshake: Duration,
    /// From the end of the handshake to the first request's first byte.
    pub first: Duration,
    /// Between an answer and the next request's first byte. The API server keeps idle connections for 90 seconds: never less than twice that.
    pub idle: Duration,
    /// From a request's first byte to the end of its head.
    pub head: Duration,
    /// From the end of a request's head to its answer.
    pub exchange: Duration,
    /// What a connection may buffer of a request, in bytes.
    pub buffer: usize,
    /// The pause after an accept error: out of file descriptors, trying again at once only burns a core.
    pub accept_pause: Duration,
    /// How long a stopping server keeps accepting, until all have heard that it is no longer ready.
    pub drain: Duration,
    /// How long a server that accepts no more leaves an idle connection to its peer, from the last answer. The API server keeps
    /// idle connections for 90 seconds: with more than that it is always the peer that closes, and no request is lost on its way to us.
    pub release: Duration,
    /// How long a request that came in at the last moment may take after that.
    pub finish: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 1024,
            per_peer: 64,
            handshake: Duration::from_secs(5),
            first: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            head: Duration::from_secs(10),
            exchange: Duration::from_secs(30),
            buffer: 16 * 1024,
            accept_pause: Duration::from_millis(100),
            drain: Duration::from_secs(10),
            release: Duration::from_secs(95),
            finish: Duration::from_secs(10),
        }
    }
}

/// What answers requests: an axum router, or anything shaped like one.
pub trait Handler:
    Service<Request<Incoming>, Response = Response<Self::Answer>, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static
{
    /// The body of an answer.
    type Answer: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;
}

impl<S, B> Handler for S
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    type Answer = B;
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {error}")]
    Address {
        /// What was asked for.
        address: SocketAddr,
        /// The system's reason.
        error: io::Error,
    },
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// A stop in good order was cut short by a second request to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stopped at once: requests in flight were dropped")]
pub struct Aborted;

/// A server that has its certificate and its port, and does not serve yet.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    limits: Limits,
}

impl Bound {
    /// Takes the port. TLS 1.2 and later, HTTP/1.1 only: the API server negotiates HTTP/2 with webhooks on loopback otherwise.
    /// With `clients`, a handshake without one of their certificates fails.
    ///
    /// # Errors
    /// See [`BindError`].
    pub async fn bind(address: SocketAddr, certificates: Certificates, clients: Option<Clients>, limits: Limits) -> Result<Bound, BindError> {
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions()?;
        let asks = clients.is_some();
        let config = match clients {
            Some(clients) => config.with_client_cert_verifier(Arc::new(clients)),
            None => config.with_no_client_auth(),
        };
        let mut config = config.with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if asks {
            // A session that is resumed would not ask for the client's certificate again.
            config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        }
        let failed = |error| BindError::Address { address, error };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Bound { listener, address, acceptor: TlsAcceptor::from(Arc::new(config)), limits })
    }

    /// The port as it was given, which matters where 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` says `Drain` and every peer has let go or been idle for long enough, until it says `Leave` and no request is being answered,
    /// or until it says `Abort`.
    ///
    /// # Errors
    /// [`Aborted`] where requests in flight were dropped.
    pub async fn run<H: Handler>(self, handler: H, stop: watch::Receiver<Stop>) -> Result<(), Aborted> {
        let (course, limits) = (watch::channel(Course::Serving).0, self.limits);
        let mut crowd = Crowd::new(self.limits);
        let in_good_order = async {
            self.accept_until_drained(handler, stop.clone(), &course, &mut crowd).await;
            course.send_replace(Course::Leaving);
            tokio::select! {
                ended = timeout(limits.release + limits.finish, crowd.all_end()) => return ended.map_err(|_| Aborted),
                () = Stop::reached(Stop::Leave, stop.clone()) => drop(course.send_replace(Course::Left)),
            }
            timeout(limits.finish, crowd.all_end()).await.map_err(|_| Aborted)
        };
        tokio::select! {
            biased;
            () = Stop::reached(Stop::Abort, stop.clone()) => Err(Aborted),
            ended = in_good_order => ended,
        }
    }

    /// Consumes the listener: when this returns, the port is closed.
    async fn accept_until_drained<H: Handler>(self, handler: H, stop: watch::Receiver<Stop>, course: &watch::Sender<Course>, crowd: &mut Crowd) {
        let admit = |crowd: &mut Crowd, (stream, peer): (TcpStream, SocketAddr)| {
            crowd.admit(peer.ip(), |clock| serve(stream, self.acceptor.clone(), handler.clone(), clock, course.subscribe()));
        };
        let mut drained = pin!(async {
            Stop::reached(Stop::Drain, stop.clone()).await;
            course.send_replace(Course::Closing);
            // Either way it is over.
            let _ = timeout(self.limits.drain, Stop::reached(Stop::Leave, stop)).await;
        });
        loop {
            tokio::select! {
                biased;
                () = &mut drained => break,
                () = crowd.one_ends() => {}
                connection = self.accept() => admit(crowd, connection),
            }
        }
        for connection in backlog(self.listener) {
            admit(crowd, connection);
        }
    }

    async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(connection) => return connection,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(self.limits.accept_pause).await;
                }
            }
        }
    }
}

/// Closes the port, and hands out the connections that wait there: the kernel has told their peers that they are open, and would reset them.
fn backlog(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let mut waiting = Vec::new();
    let emptied = listener.into_std().and_then(|listener| {
        loop {
            match listener.accept() {
                Ok((stream, peer)) => {
                    stream.set_nonblocking(true)?;
                    waiting.push((TcpStream::from_std(stream)?, peer));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // This one has left again.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    });
    if let Err(error) = emptied {
        tracing::warn!(%error, "connections that waited to be accepted are lost");
    }
    waiting
}

async fn serve<H: Handler>(stream: TcpStream, acceptor: TlsAcceptor, handler: H, clock: Arc<Clock>, course: watch::Receiver<Course>) {
    // An answer is small and ends an exchange: waiting to fill a packet only delays it. A socket that refuses the option still works.
    let _ = stream.set_nodelay(true);
    match timeout_at(clock.deadline(), acceptor.accept(Gulps::new(stream))).await {
        Ok(Ok(stream)) => connection::serve(stream, handler, clock, course).await,
        // A peer that does not trust our certificate says so here, and nowhere else.
        Ok(Err(error)) if error.kind() != io::ErrorKind::UnexpectedEof => tracing::info!(%error, "a TLS handshake failed"),
        Ok(Err(_)) | Err(_) => {}
    }
}
