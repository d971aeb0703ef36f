//! A Service on loopback: new connections go to replicas in turn that were ready when last asked, and stay where they are, as with kube-proxy.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::cluster::{Injector, until};

const PROBE_PERIOD: Duration = Duration::from_millis(50);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// In TLS 1.3 a peer that hangs up says so in 24 bytes; a request is longer.
const GOODBYE: usize = 24;

/// One address for many replicas. Its connections end with the value.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

#[derive(Default)]
struct Shared {
    replicas: Mutex<Vec<Arc<Replica>>>,
    next: AtomicUsize,
    accepted: AtomicUsize,
    refused: AtomicUsize,
}

struct Replica {
    https: String,
    health: String,
    ready: Mutex<bool>,
    /// Connections whose last bytes came from the API server: a review, or a handshake that leads to one.
    in_flight: AtomicUsize,
    /// Connections that ended in that state.
    unanswered: AtomicUsize,
}

impl Balancer {
    pub(crate) async fn start() -> Balancer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Balancer { address, shared, accepting }
    }

    /// Sends new connections to a replica from the moment it is seen to be ready, and waits for that.
    pub(crate) async fn add(&self, injector: &Injector) {
        let (https, health) = (injector.https.clone(), injector.health.clone());
        let replica = Replica { https, health, ready: Mutex::new(false), in_flight: AtomicUsize::new(0), unanswered: AtomicUsize::new(0) };
        let replica = Arc::new(replica);
        self.shared.replicas.lock().unwrap().push(Arc::clone(&replica));
        tokio::spawn(probe(Arc::downgrade(&replica)));
        until("ready replica", async || replica.is_ready().then_some(())).await;
    }

    /// Connections that the API server has opened.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Connections that found no replica, or one that was gone and not yet known to be.
    pub(crate) fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::SeqCst)
    }

    /// Reviews that a replica has not answered so far.
    pub(crate) fn in_flight(&self, injector: &Injector) -> usize {
        self.replica(injector).in_flight.load(Ordering::SeqCst)
    }

    /// Reviews on a replica whose connections ended before there was an answer.
    pub(crate) fn unanswered(&self, injector: &Injector) -> usize {
        self.replica(injector).unanswered.load(Ordering::SeqCst)
    }

    fn replica(&self, injector: &Injector) -> Arc<Replica> {
        self.shared.replicas.lock().unwrap().iter().find(|replica| replica.https == injector.https).expect("a replica of this balancer").clone()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Replica {
    fn is_ready(&self) -> bool {
        *self.ready.lock().unwrap()
    }

    /// Carries bytes both ways until either side has enough.
    async fn carry(&self, mut peer: TcpStream, mut replica: TcpStream) {
        let (mut asked, mut answered) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        let mut open = Open { replica: self, asking: false };
        loop {
            let (asking, read) = tokio::select! {
                read = peer.read(&mut asked) => (true, read),
                read = replica.read(&mut answered) => (false, read),
            };
            let Ok(length @ 1..) = read else {
                if !asking {
                    open.listen_on(&mut peer, &mut asked).await;
                }
                return;
            };
            if !(asking && length <= GOODBYE) {
                open.asking(asking);
            }
            let sent = if asking { replica.write_all(&asked[..length]).await } else { peer.write_all(&answered[..length]).await };
            if sent.is_err() {
                return;
            }
        }
    }
}

/// Whose turn it is on a connection.
struct Open<'a> {
    replica: &'a Replica,
    asking: bool,
}

impl Open<'_> {
    fn asking(&mut self, asking: bool) {
        if asking && !self.asking {
            self.replica.in_flight.fetch_add(1, Ordering::SeqCst);
        } else if self.asking && !asking {
            self.replica.in_flight.fetch_sub(1, Ordering::SeqCst);
        }
        self.asking = asking;
    }
}

impl Open<'_> {
    /// What the API server sends before it hears that the replica has hung up has no answer either.
    async fn listen_on(&mut self, peer: &mut TcpStream, asked: &mut [u8]) {
        let _ = peer.shutdown().await;
        while let Ok(length @ 1..) = peer.read(asked).await {
            if length > GOODBYE {
                self.asking(true);
            }
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.asking {
            self.replica.unanswered.fetch_add(1, Ordering::SeqCst);
        }
        self.asking(false);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let _ = stream.set_nodelay(true);
            let ready: Vec<_> = shared.replicas.lock().unwrap().iter().filter(|replica| replica.is_ready()).cloned().collect();
            let chosen = ready.get(shared.next.fetch_add(1, Ordering::SeqCst) % ready.len().max(1));
            if let Some(replica) = chosen
                && let Ok(there) = TcpStream::connect(&replica.https).await
            {
                let _ = there.set_nodelay(true);
                replica.carry(stream, there).await;
            } else {
                shared.refused.fetch_add(1, Ordering::SeqCst);
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// What the kubelet does, and the rest of Kubernetes passes on. It ends with its replica.
async fn probe(replica: std::sync::Weak<Replica>) {
    while let Some(replica) = replica.upgrade() {
        let ready = timeout(PROBE_TIMEOUT, says_ready(&replica.health)).await;
        *replica.ready.lock().unwrap() = matches!(ready, Ok(Ok(true)));
        drop(replica);
        sleep(PROBE_PERIOD).await;
    }
}

async fn says_ready(health: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(health).await?;
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text.starts_with("HTTP/1.1 200 "))
}
