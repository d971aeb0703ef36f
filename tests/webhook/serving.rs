//! The server on real sockets: handshakes, certificates that change, the way to the end.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use keyvault_injector::tls::{Aborted, BindError, Bound, CertificateFiles, Certificates, FilesError, Gate, Limits, Offer, Pair, Stop, Trust};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::client::{Client, connector};
use crate::common::{Signed, app, core, nothing, review, signed, write};

struct Server {
    address: SocketAddr,
    signed: Signed,
    certificates: Certificates,
    stop: watch::Sender<Stop>,
    running: JoinHandle<Result<(), Aborted>>,
}

fn quick() -> Limits {
    Limits { drain: Duration::ZERO, release: Duration::ZERO, ..Limits::default() }
}

async fn start(router: Router, limits: Limits) -> Server {
    let signed = signed();
    let certificates = Certificates::new(Pair::from_pem(signed.certificate.as_bytes(), signed.key.as_bytes()).unwrap());
    let bound = Bound::bind(([127, 0, 0, 1], 0).into(), certificates.clone(), limits).await.unwrap();
    let address = bound.local_addr();
    let (stop, stopping) = watch::channel(Stop::No);
    Server { address, signed, certificates, stop, running: tokio::spawn(bound.run(router, stopping)) }
}

fn allowing() -> Router {
    app(core(|_, _| Ok(nothing())))
}

impl Server {
    async fn client(&self) -> Client {
        Client::connect(self.address, &self.signed.ca).await.unwrap()
    }

    async fn stops(self) -> Result<(), Aborted> {
        self.stop.send_replace(Stop::Drain);
        self.running.await.unwrap()
    }
}

#[tokio::test]
async fn reviews_are_answered_over_tls_1_2_and_1_3_by_http_1_1() {
    let server = start(allowing(), quick()).await;
    let mut client = server.client().await;
    for _ in 0..3 {
        let answer = client.post(review().to_string().as_bytes()).await;
        assert_eq!((answer.status(), answer.closes()), ("200", false));
    }
    assert_eq!(client.0.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(client.0.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    let only_h2 = Client::connect_by(server.address, &connector(&server.signed.ca, &["h2"])).await;
    assert!(only_h2.err().unwrap().to_string().contains("NoApplicationProtocol"));
    drop(client);
    server.stops().await.unwrap();
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_not_waited_for() {
    let server = start(allowing(), Limits { handshake: Duration::from_millis(50), ..quick() }).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let heard = timeout(Duration::from_secs(4), silent.read(&mut [0; 16])).await.expect("the server hangs up");
    assert_eq!(heard.unwrap(), 0);
    server.stops().await.unwrap();
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_room() {
    let server = start(allowing(), Limits { connections: 1, ..quick() }).await;
    let first = server.client().await;
    let (address, ca) = (server.address, server.signed.ca.clone());
    let mut second = tokio::spawn(async move { Client::connect(address, &ca).await.unwrap() });
    // A second handshake cannot end while the first connection lives; give it every chance.
    assert!(timeout(Duration::from_millis(100), &mut second).await.is_err(), "there were two connections at once");
    drop(first);
    let answer = second.await.unwrap().post(review().to_string().as_bytes()).await;
    assert_eq!(answer.status(), "200");
    server.stops().await.unwrap();
}

#[tokio::test]
async fn a_stopping_server_keeps_accepting_then_finishes_what_has_begun() {
    let gate = Arc::new(Notify::new());
    let waiting = Arc::clone(&gate);
    let router = allowing().route("/slow", post(async move || waiting.notified().await));
    let server = start(router, Limits { drain: Duration::from_secs(1), ..Limits::default() }).await;
    let body = review().to_string();
    let mut old = server.client().await;
    let mut idle = server.client().await;
    assert!(!idle.post(body.as_bytes()).await.closes());
    let mut slow = server.client().await;
    slow.send(b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
    assert!(!old.post(body.as_bytes()).await.closes());
    server.stop.send_replace(Stop::Drain);

    let mut new = server.client().await;
    for client in [&mut old, &mut new] {
        let answer = client.post(body.as_bytes()).await;
        assert_eq!((answer.status(), answer.closes()), ("200", true));
        client.is_hung_up_on().await;
    }
    // The port closes when the drain is over, while a request is still in flight.
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    // An idle connection is not ours to close: what it still brings is answered.
    let answer = idle.post(body.as_bytes()).await;
    assert_eq!((answer.status(), answer.closes()), ("200", true));
    assert!(!server.running.is_finished());
    gate.notify_one();
    let answer = slow.answer().await.unwrap();
    assert_eq!((answer.status(), answer.closes()), ("200", true));
    assert_eq!(server.running.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_stopping_server_answers_those_that_wait_to_be_accepted() {
    let server = start(allowing(), Limits { connections: 1, drain: Duration::ZERO, ..Limits::default() }).await;
    let first = server.client().await;
    // The one place is taken: to these the kernel alone has answered.
    let waiting = [(); 3].map(|()| TcpStream::connect(server.address));
    let waiting = futures::future::try_join_all(waiting).await.unwrap();
    server.stop.send_replace(Stop::Drain);
    for stream in waiting {
        let mut client = Client::over(stream, &connector(&server.signed.ca, &["http/1.1"])).await.unwrap();
        let answer = client.post(review().to_string().as_bytes()).await;
        assert_eq!((answer.status(), answer.closes()), ("200", true));
    }
    assert!(TcpStream::connect(server.address).await.is_err(), "the port is closed");
    drop(first);
    assert_eq!(server.running.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_stopping_server_waits_for_idle_peers_only_so_long() {
    let server = start(allowing(), Limits { drain: Duration::ZERO, release: Duration::from_millis(100), ..Limits::default() }).await;
    let mut client = server.client().await;
    assert_eq!(client.post(review().to_string().as_bytes()).await.status(), "200");
    assert_eq!(server.stops().await, Ok(()));
    client.is_hung_up_on().await;
}

#[tokio::test]
async fn a_second_wish_to_stop_ends_at_once_and_a_stuck_request_ends_in_time() {
    let stuck = || Router::new().route("/stuck", post(std::future::pending::<()>));
    let request = b"POST /stuck HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";

    let server = start(stuck(), Limits { drain: Duration::from_secs(3600), ..quick() }).await;
    let mut client = server.client().await;
    client.send(request).await;
    server.stop.send_replace(Stop::Drain);
    server.stop.send_replace(Stop::Abort);
    assert_eq!(server.running.await.unwrap(), Err(Aborted));
    client.is_hung_up_on().await;

    let server = start(stuck(), Limits { finish: Duration::from_millis(50), ..quick() }).await;
    let mut client = server.client().await;
    client.send(request).await;
    // The server has the request once it answers another one on a later connection.
    assert_eq!(server.client().await.post(b"").await.status(), "404");
    assert_eq!(server.stops().await, Err(Aborted));
    client.is_hung_up_on().await;
}

#[tokio::test]
async fn a_panicking_review_leaves_its_connection_and_the_others_alive() {
    let server = start(app(core(|_, _| panic!("on purpose"))), quick()).await;
    let mut client = server.client().await;
    for _ in 0..2 {
        assert_eq!(client.post(review().to_string().as_bytes()).await.status(), "500");
    }
    assert_eq!(server.client().await.post(b"").await.status(), "400");
    drop(client);
    server.stops().await.unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let server = start(allowing(), quick()).await;
    let taken = Bound::bind(server.address, server.certificates.clone(), quick()).await;
    let Err(BindError::Address { address, .. }) = taken else { panic!("the port was given twice") };
    assert_eq!(address, server.address);
    server.stops().await.unwrap();
}

/// A folder as the kubelet makes it: files are symlinks through `..data`, which is swapped as a whole.
fn kubelet_writes(volume: &Path, generation: &str, signed: &Signed) {
    let folder = volume.join(generation);
    std::fs::create_dir(&folder).unwrap();
    signed.write(&folder);
    symlink(generation, volume.join("..new")).unwrap();
    std::fs::rename(volume.join("..new"), volume.join("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        if !volume.join(name).exists() {
            symlink(PathBuf::from("..data").join(name), volume.join(name)).unwrap();
        }
    }
}

fn files_in(folder: &Path) -> CertificateFiles {
    CertificateFiles { cert_file: folder.join("tls.crt"), key_file: folder.join("tls.key") }
}

type Report = Result<Offer, FilesError>;

/// Follows files as fast as the clock goes, where nobody has to trust them first, and passes on what every tick found.
fn follow(files: CertificateFiles, certificates: Certificates) -> mpsc::UnboundedReceiver<Report> {
    let (report, reports) = mpsc::unbounded_channel();
    let gate = Gate::new(certificates, "none", watch::Sender::new(None), 0);
    let trust = watch::Sender::new(Trust::Absent).subscribe();
    tokio::spawn(async move { files.follow(gate, trust, Duration::from_millis(1), || 0, |found| drop(report.send(found))).await });
    reports
}

async fn next_news(reports: &mut mpsc::UnboundedReceiver<Report>) -> Report {
    loop {
        match reports.recv().await.unwrap() {
            Ok(Offer::Serving) => {}
            news => return news,
        }
    }
}

#[tokio::test]
async fn renewed_files_serve_new_connections_and_bad_ones_change_nothing() {
    let server = start(allowing(), quick()).await;
    let volume = tempfile::tempdir().unwrap();
    let (first, second, third) = (&server.signed, signed(), signed());
    kubelet_writes(volume.path(), "..1", first);
    let mut reports = follow(files_in(volume.path()), server.certificates.clone());
    let mut old = server.client().await;

    kubelet_writes(volume.path(), "..2", &second);
    assert!(matches!(next_news(&mut reports).await, Ok(Offer::Replaced)));
    assert!(Client::connect(server.address, &first.ca).await.is_err());
    assert!(Client::connect(server.address, &second.ca).await.is_ok());
    assert_eq!(old.post(review().to_string().as_bytes()).await.status(), "200", "open connections go on");

    // A key that is not the certificate's: the last good pair stays.
    kubelet_writes(volume.path(), "..3", &Signed { ca: String::new(), certificate: third.certificate.clone(), key: second.key.clone() });
    let Err(error) = next_news(&mut reports).await else { panic!("a key that does not match was taken") };
    assert!(error.to_string().contains("tls.key: the key cannot serve the first certificate of the certificate file: "), "{error}");
    assert!(Client::connect(server.address, &second.ca).await.is_ok());

    kubelet_writes(volume.path(), "..4", &third);
    while !matches!(next_news(&mut reports).await, Ok(Offer::Replaced)) {}
    assert!(Client::connect(server.address, &third.ca).await.is_ok());
    drop(old);
    server.stops().await.unwrap();
}

#[tokio::test]
async fn files_that_cannot_serve_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let files = files_in(folder.path());
    let reason =
        |files: &CertificateFiles| files.load().err().expect("nothing that serves").to_string().replace(&folder.path().display().to_string(), "");
    assert_eq!(reason(&files), "/tls.crt: No such file or directory (os error 2)");
    let signed = signed();
    signed.write(folder.path());
    assert_eq!(files.load().unwrap().not_after(), 2_208_988_800);
    write(&files.key_file, "canary");
    assert_eq!(reason(&files), "/tls.crt and /tls.key: no private key can be read from the key file: no items found");
    write(&files.cert_file, "");
    assert_eq!(reason(&files), "/tls.crt and /tls.key: no certificate can be read from the certificate file: it holds none");
}
