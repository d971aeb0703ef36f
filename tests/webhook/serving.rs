//! The server on real sockets: handshakes, certificates that change, the way to the end.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use keyvault_injector::tls::{
    Aborted, BindError, Bound, CertificateFiles, Certificates, Clients, FilesError, Gate, Limits, Offer, Pair, Stop, Trust,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::client::{Client, connector, presenting};
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
    start_asking(router, limits, None).await
}

async fn start_asking(router: Router, limits: Limits, clients: Option<Clients>) -> Server {
    let signed = signed();
    let certificates = Certificates::new(Pair::from_pem(signed.certificate.as_bytes(), signed.key.as_bytes()).unwrap());
    let bound = Bound::bind(([127, 0, 0, 1], 0).into(), certificates.clone(), clients, limits).await.unwrap();
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
async fn a_first_request_that_does_not_come_is_not_waited_for() {
    assert_eq!(Limits::default().first, Duration::from_secs(10), "an API server asks as soon as it has connected");
    let server = start(allowing(), Limits { first: Duration::from_millis(50), ..quick() }).await;
    server.client().await.is_hung_up_on().await;
    // A head that has begun has its own limit, and so has a connection that has been used.
    let mut slow = server.client().await;
    slow.send(b"GET /").await;
    let mut used = server.client().await;
    assert_eq!(used.post(review().to_string().as_bytes()).await.status(), "200");
    server.client().await.is_hung_up_on().await;
    assert_eq!(used.post(review().to_string().as_bytes()).await.status(), "200");
    slow.send(b"nothing HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(slow.answer().await.expect("an answer").status(), "404");
    server.stops().await.unwrap();
}

#[tokio::test]
async fn when_all_places_are_taken_the_connection_that_never_asked_for_longest_gives_way() {
    let server = start(allowing(), Limits { connections: 3, ..quick() }).await;
    let body = review().to_string();
    let (mut used, mut first, mut second) = (server.client().await, server.client().await, server.client().await);
    assert_eq!(used.post(body.as_bytes()).await.status(), "200");
    let mut next = server.client().await;
    first.is_hung_up_on().await;
    for client in [&mut used, &mut second, &mut next] {
        assert_eq!(client.post(body.as_bytes()).await.status(), "200");
    }
    // All have asked now: the one that has been idle for longest.
    assert_eq!(server.client().await.post(body.as_bytes()).await.status(), "200");
    used.is_hung_up_on().await;
    assert_eq!(second.post(body.as_bytes()).await.status(), "200");
    drop((second, next));
    server.stops().await.unwrap();
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let server = start(allowing(), Limits { connections: 16, ..quick() }).await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let mut tls = Vec::new();
    for _ in 0..64 {
        tls.push(server.client().await);
    }
    assert_eq!(server.client().await.post(review().to_string().as_bytes()).await.status(), "200");
    drop((silent, tls));
    server.stops().await.unwrap();
}

/// A connection from another of loopback's addresses.
async fn client_from(source: [u8; 4], server: &Server) -> Client {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    Client::over(socket.connect(server.address).await.unwrap(), &connector(&server.signed.ca, &["http/1.1"])).await.unwrap()
}

#[tokio::test]
async fn a_peer_with_many_connections_loses_its_own_and_none_that_is_busy() {
    let gate = Arc::new(Notify::new());
    let waiting = Arc::clone(&gate);
    let (begin, mut begun) = mpsc::unbounded_channel();
    let slow = async move || {
        begin.send(()).unwrap();
        waiting.notified().await;
    };
    let router = allowing().route("/slow", post(slow));
    let server = start(router, Limits { per_peer: 2, ..quick() }).await;
    let body = review().to_string();
    let mut other = client_from([127, 0, 0, 2], &server).await;
    let (mut idle, mut used) = (client_from([127, 0, 0, 3], &server).await, client_from([127, 0, 0, 3], &server).await);
    assert_eq!(used.post(body.as_bytes()).await.status(), "200");
    let mut third = client_from([127, 0, 0, 3], &server).await;
    idle.is_hung_up_on().await;
    for client in [&mut used, &mut third] {
        client.send(b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
        begun.recv().await.unwrap();
    }
    // The others are at work: a further one is answered although it is one too many.
    let mut fourth = client_from([127, 0, 0, 3], &server).await;
    assert_eq!(fourth.post(body.as_bytes()).await.status(), "200");
    for client in [&mut used, &mut third] {
        gate.notify_one();
        assert_eq!(client.answer().await.unwrap().status(), "200");
    }
    assert_eq!(other.post(body.as_bytes()).await.status(), "200");
    drop((other, used, third, fourth));
    server.stops().await.unwrap();
}

// === client certificates ===

/// A client's certificate, and the CA of this name that signed it.
fn client_identity(ca_name: &str) -> Signed {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, ca_name);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut leaf = rcgen::CertificateParams::new(["kube-apiserver".to_owned()]).unwrap();
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = leaf.signed_by(&key, &rcgen::Issuer::from_params(&ca, &ca_key)).unwrap().pem();
    Signed { ca: ca.self_signed(&ca_key).unwrap().pem(), certificate, key: key.serialize_pem() }
}

#[tokio::test]
async fn with_a_client_ca_only_clients_with_its_certificate_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("client-ca.crt");
    let (first, second) = (client_identity("first"), client_identity("second"));
    write(&file, &first.ca);
    let clients = Clients::load(&file).unwrap();
    let server = start_asking(allowing(), quick(), Some(clients.clone())).await;
    let body = review().to_string();
    let ask = async |identity: Option<&Signed>| {
        let connector = presenting(&server.signed.ca, identity);
        // In TLS 1.3 a client has ended its handshake before the server refuses it.
        let mut client = Client::connect_by(server.address, &connector).await.map_err(|error| error.to_string())?;
        let head = format!(
            "POST /mutate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        // A server that refuses the certificate may have hung up by now; what it says is read below.
        let _ = client.0.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await;
        let mut answer = Vec::new();
        match client.0.read_to_end(&mut answer).await {
            Ok(_) if answer.starts_with(b"HTTP/1.1 200 ") => Ok(()),
            Ok(_) => Err(String::from_utf8(answer).unwrap()),
            Err(error) => Err(error.to_string()),
        }
    };
    let (no_certificate, unknown) = ("received fatal alert: CertificateRequired", "received fatal alert: UnknownCA");
    assert_eq!(ask(None).await, Err(no_certificate.to_owned()));
    assert_eq!(ask(Some(&first)).await, Ok(()));
    assert_eq!(ask(Some(&second)).await, Err(unknown.to_owned()));

    write(&file, &second.ca);
    clients.reload(&file).unwrap();
    assert_eq!(ask(Some(&first)).await, Err(unknown.to_owned()));
    assert_eq!(ask(Some(&second)).await, Ok(()));

    // What cannot be read changes nothing.
    write(&file, "-----BEGIN CERTIFICATE-----\ncanary\n-----END CERTIFICATE-----\n");
    assert!(clients.reload(&file).is_err());
    assert_eq!(ask(Some(&second)).await, Ok(()));
    server.stops().await.unwrap();
}

#[test]
fn a_client_ca_that_cannot_be_used_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.crt");
    let reason = || Clients::load(&file).unwrap_err().to_string().replace(&folder.path().display().to_string(), "");
    assert_eq!(reason(), "/ca.crt: No such file or directory (os error 2)");
    write(&file, "");
    let wanted = "it must hold the PEM certificates of the CAs that sign the API server's client certificate";
    assert_eq!(reason(), format!("/ca.crt: it holds no certificate: {wanted}"));
    write(&file, &client_identity("first").key);
    assert_eq!(reason(), format!("/ca.crt: it holds no certificate: {wanted}"));
    write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert!(reason().starts_with("/ca.crt: ") && reason().ends_with(wanted), "{}", reason());
}

// === the way to the end ===

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
    // Another replica should answer: at once what comes by a connection that the client kept, in a second what is still sent here.
    for (client, seconds) in [(&mut old, "0"), (&mut new, "1")] {
        let answer = client.post(body.as_bytes()).await;
        assert_eq!((answer.status(), answer.closes(), answer.retry_after()), ("503", true, Some(seconds)));
        assert_eq!(answer.body, b"this replica stops: another one answers\n");
        client.is_hung_up_on().await;
    }
    // What comes again all the same is answered.
    let answer = server.client().await.post(body.as_bytes()).await;
    assert_eq!((answer.status(), answer.closes()), ("200", true));
    // The port closes when the drain is over, while a request is still in flight.
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    // An idle connection is not ours to close: what it still brings is answered, here with the advice to go elsewhere.
    let answer = idle.post(body.as_bytes()).await;
    assert_eq!((answer.status(), answer.closes(), answer.retry_after()), ("503", true, Some("0")));
    assert!(!server.running.is_finished());
    gate.notify_one();
    let answer = slow.answer().await.unwrap();
    assert_eq!((answer.status(), answer.closes()), ("200", true));
    assert_eq!(server.running.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_stopping_server_answers_those_that_wait_to_be_accepted() {
    let server = start(allowing(), Limits { drain: Duration::ZERO, ..Limits::default() }).await;
    // These connect without letting the server run: to them the kernel alone has answered.
    let waiting = [(); 3].map(|()| std::net::TcpStream::connect(server.address).unwrap());
    server.stop.send_replace(Stop::Drain);
    for (number, stream) in waiting.into_iter().enumerate() {
        stream.set_nonblocking(true).unwrap();
        let stream = TcpStream::from_std(stream).unwrap();
        let mut client = Client::over(stream, &connector(&server.signed.ca, &["http/1.1"])).await.unwrap();
        let answer = client.post(review().to_string().as_bytes()).await;
        assert_eq!((answer.status(), answer.closes()), (if number == 0 { "503" } else { "200" }, true));
    }
    assert!(TcpStream::connect(server.address).await.is_err(), "the port is closed");
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
async fn a_server_that_nobody_asks_any_more_closes_what_is_idle_and_ends() {
    let gate = Arc::new(Notify::new());
    let waiting = Arc::clone(&gate);
    let router = allowing().route("/slow", post(async move || waiting.notified().await));
    let server = start(router, Limits { drain: Duration::from_secs(3600), ..Limits::default() }).await;
    let (mut idle, mut slow) = (server.client().await, server.client().await);
    slow.send(b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
    // The server has the slow request once it answers another one on a later connection.
    assert_eq!(idle.post(review().to_string().as_bytes()).await.status(), "200");
    server.stop.send_replace(Stop::Drain);
    server.stop.send_replace(Stop::Leave);
    idle.is_hung_up_on().await;
    assert!(!server.running.is_finished());
    gate.notify_one();
    assert_eq!(slow.answer().await.unwrap().status(), "200");
    assert_eq!(timeout(Duration::from_secs(5), server.running).await.expect("the end").unwrap(), Ok(()));
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
    let taken = Bound::bind(server.address, server.certificates.clone(), None, quick()).await;
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
