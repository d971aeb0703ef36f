//! The webhook over TLS: reviews a second, what a review costs at a moderate rate, and what a hundred thousand leave behind in memory.
//!
//! The client is a second process: this program again, started as `--client`.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "a benchmark prints figures and stops where it cannot measure")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use keyvault_injector::tls::{Bound, Certificates, Limits, Pair, Stop};
use keyvault_injector::webhook::{router, runtime};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

mod support;

const CONNECTIONS: usize = 8;
const SAMPLES: usize = 7;
const SAMPLE: Duration = Duration::from_millis(1500);
const RATE_LIMIT: f64 = 0.3;
const REVIEWS: u64 = 100_000;
const MEMORY_LIMIT_MB: f64 = 15.0;
/// Reviews a second of a large cluster that is busy, and for how long.
const MODERATE: f64 = 250.0;
const MODERATE_TIME: Duration = Duration::from_secs(12);
/// Seconds of processor time for ten thousand reviews at that rate.
const MODERATE_LIMIT: f64 = 4.0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--client") {
        return client(&arguments[at + 1..]);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = make_certificate(folder.path());
    let fast_enough = rate(folder.path(), &key);
    let program = Program::start(folder.path());
    let cheap_enough = moderate(&program, folder.path());
    let small_enough = memory(&program, folder.path());
    if fast_enough && cheap_enough && small_enough { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Writes `tls.crt` and `tls.key`; the certificate is its own authority.
fn make_certificate(folder: &Path) -> Pair {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    write(&folder.join("tls.crt"), &certificate);
    write(&folder.join("tls.key"), &key);
    Pair::from_pem(certificate.as_bytes(), key.as_bytes()).expect("a pair that matches")
}

#[allow(clippy::disallowed_methods, reason = "a benchmark's files hold no secrets")]
fn write(file: &Path, text: &str) {
    std::fs::write(file, text).expect("a file in a temporary folder");
}

// === reviews a second ===

/// The real router and a handler that only reads and answers, on one listener; samples take turns.
fn rate(folder: &Path, pair: &Pair) -> bool {
    let answer = support::reviewer().respond(&support::review()).expect("the review is good");
    support::assert_injected(&answer);
    let address = serve(pair.clone(), Bytes::from(answer));
    let (mut reviews, mut constants) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        reviews.push(sample(address, folder, "/mutate"));
        constants.push(sample(address, folder, "/constant"));
    }
    let (reviews, constants) = (support::median(reviews), support::median(constants));
    println!("over TLS, {CONNECTIONS} connections: {reviews:.0} reviews/s; {constants:.0} constant answers/s");
    let ratio = reviews / constants;
    support::judge("webhook: reviews / constant answers", ratio, ratio >= RATE_LIMIT, "at least 0.3")
}

/// Starts the server on a separate thread, which ends with the process. It logs as the program does, to nowhere.
fn serve(pair: Pair, constant: Bytes) -> SocketAddr {
    let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null").expect("/dev/null");
    tracing_subscriber::fmt().json().flatten_event(true).with_writer(Arc::new(nowhere)).init();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime().expect("a runtime").block_on(async move {
            let reviewer = support::reviewer();
            let answer = async move |body: Bytes| {
                std::hint::black_box(body);
                constant.clone()
            };
            let app = router(reviewer, keyvault_injector::webhook::Limits::default()).merge(Router::new().route("/constant", post(answer)));
            let bound = Bound::bind(([127, 0, 0, 1], 0).into(), Certificates::new(pair), None, Limits::default()).await.expect("a port");
            tell.send(bound.local_addr()).expect("someone listens");
            let (_stop, stopping) = tokio::sync::watch::channel(Stop::No);
            bound.run(app, stopping).await.expect("the server serves");
        });
    });
    told.recv().expect("the server's address")
}

/// Answers a second, as a second process counts them.
fn sample(address: SocketAddr, folder: &Path, path: &str) -> f64 {
    let seconds = SAMPLE.as_secs_f64();
    run_client(address, folder, &Load { path, count: u64::MAX, seconds, rate: 0.0 }) / seconds
}

// === the program itself, with its files and its log ===

struct Program {
    process: Ended,
    address: SocketAddr,
}

impl Program {
    fn start(folder: &Path) -> Program {
        let file = |name: &str| folder.join(name).display().to_string();
        write(&folder.join("manifests.yaml"), support::MANIFESTS);
        let tls = format!("{{certFile: {}, keyFile: {}}}", file("tls.crt"), file("tls.key"));
        let server = format!("server:\n  listen: 127.0.0.1:0\n  healthListen: 127.0.0.1:0\n  tls: {tls}\n");
        write(&folder.join("config.yaml"), &format!("{}{server}", support::CONFIG));
        let mut program = Command::new(keyvault_tests::program("keyvault-injector"));
        program.args(["webhook", "--defaults", "files", "--config", &file("config.yaml"), "--namespace", &file("manifests.yaml")]);
        let mut process = Ended(program.stderr(Stdio::piped()).spawn().expect("the program starts"));
        let mut lines = BufReader::new(process.0.stderr.take().expect("a pipe"));
        let mut first = String::new();
        lines.read_line(&mut first).expect("a first line");
        let serving: serde_json::Value = serde_json::from_str(&first).expect("the first line is JSON");
        let address = serving["https"].as_str().expect("an address").parse().expect("an address");
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Program { process, address }
    }

    /// Sends reviews, and says what they have cost.
    fn cost(&self, folder: &Path, load: &Load<'_>) -> Cost {
        let (before, started) = (self.usage(), Instant::now());
        let answered = run_client(self.address, folder, load);
        let after = self.usage();
        Cost { answered, elapsed: started.elapsed(), seconds: after.0 - before.0, waits: after.1 - before.1 }
    }

    /// Seconds of processor time so far, and how often a thread went to sleep.
    fn usage(&self) -> (f64, f64) {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", self.process.0.id())).expect("the program is alive");
        let stat = read("stat");
        // User and system time, in hundredths: the 12th and 13th field behind the name.
        let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
        let ticks: f64 = fields[11..13].iter().map(|ticks| ticks.parse::<f64>().expect("a number")).sum();
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.process.0.id())).expect("threads");
        let sleeps = |thread: std::io::Result<std::fs::DirEntry>| {
            let status = std::fs::read_to_string(thread.ok()?.path().join("status")).ok()?;
            status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<f64>().ok())
        };
        (ticks / 100.0, threads.filter_map(sleeps).sum())
    }

    /// The most memory it has ever had, in MB.
    fn peak(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).expect("the program is alive");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        peak.expect("VmHWM") / 1024.0
    }
}

struct Cost {
    answered: f64,
    elapsed: Duration,
    seconds: f64,
    /// How often a thread went to sleep.
    waits: f64,
}

impl Cost {
    /// Processor time for ten thousand reviews, in seconds.
    fn show(&self, name: &str) -> f64 {
        let cost = self.seconds / self.answered * 1e4;
        let (rate, waits) = (self.answered / self.elapsed.as_secs_f64(), self.waits / self.answered);
        println!("{name}: {rate:.0} reviews/s, {cost:.2} s of processor time for 10,000 reviews, {waits:.2} sleeps of a thread for each");
        cost
    }
}

fn moderate(program: &Program, folder: &Path) -> bool {
    // Connections that exist, caches that are warm.
    run_client(program.address, folder, &Load { path: "/mutate", count: 200, seconds: 10.0, rate: 0.0 });
    let load = Load { path: "/mutate", count: u64::MAX, seconds: MODERATE_TIME.as_secs_f64(), rate: MODERATE };
    let cost = program.cost(folder, &load).show("at a moderate rate");
    support::judge("webhook: CPU seconds for 10,000 reviews at 250/s", cost, cost <= MODERATE_LIMIT, "at most 4")
}

/// After a hundred thousand reviews.
fn memory(program: &Program, folder: &Path) -> bool {
    program.cost(folder, &Load { path: "/mutate", count: REVIEWS, seconds: 600.0, rate: 0.0 }).show("saturated");
    let megabytes = program.peak();
    support::judge("webhook: peak resident memory in MB", megabytes, megabytes <= MEMORY_LIMIT_MB, "at most 15")
}

/// A process that ends with its owner.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// === the client ===

/// What a client asks for.
struct Load<'a> {
    path: &'a str,
    /// It ends after so many answers,
    count: u64,
    /// or after this time.
    seconds: f64,
    /// Requests a second in all, sent by the clock; 0 for as many as there are answers.
    rate: f64,
}

/// Runs this program as a client and returns how many answers it had.
fn run_client(address: SocketAddr, folder: &Path, Load { path, count, seconds, rate }: &Load<'_>) -> f64 {
    let program = std::env::current_exe().expect("this program");
    let ca = folder.join("tls.crt").display().to_string();
    let arguments = [address.to_string(), ca, (*path).to_owned(), count.to_string(), seconds.to_string(), rate.to_string()];
    let output = Command::new(program).arg("--client").args(arguments).stderr(Stdio::inherit()).output().expect("the client runs");
    assert!(output.status.success(), "the client failed");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("the client prints a number")
}

/// `ADDRESS CA PATH COUNT SECONDS RATE`: asks on eight connections until either is reached, and prints the number of answers.
fn client(arguments: &[String]) -> ExitCode {
    let address: SocketAddr = arguments[0].parse().expect("an address");
    let (path, count) = (arguments[2].clone(), arguments[3].parse::<u64>().expect("a number"));
    let number = |index: usize| arguments[index].parse::<f64>().expect("a number");
    let (started, rate) = (Instant::now(), number(5));
    let until = started + Duration::from_secs_f64(number(4));
    let config = client_config(&arguments[1]);
    let answered = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut connection = Connection::open(address, &config, &path);
                while Instant::now() < until {
                    let number = answered.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    if rate > 0.0 {
                        std::thread::sleep((started + Duration::from_secs_f64(number as f64 / rate)).saturating_duration_since(Instant::now()));
                    }
                    connection.ask();
                }
            });
        }
    });
    println!("{}", answered.into_inner().min(count));
    ExitCode::SUCCESS
}

fn client_config(ca: &str) -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("a certificate")).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr, config: &Arc<ClientConfig>, path: &str) -> Connection {
        let socket = TcpStream::connect(address).expect("a connection");
        socket.set_nodelay(true).expect("an option");
        let tls = ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost").expect("a name")).expect("a TLS client");
        let body = support::review();
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        Connection { stream: StreamOwned::new(tls, socket), request: [head.as_bytes(), &body].concat(), answer: vec![0; 64 << 10] }
    }

    fn ask(&mut self) {
        self.stream.write_all(&self.request).expect("a request goes out");
        let mut held = 0;
        loop {
            held += self.stream.read(&mut self.answer[held..]).expect("an answer comes in");
            if let Some(length) = whole_length(&self.answer[..held]).filter(|length| *length <= held) {
                assert_eq!((&self.answer[..15], length), (&b"HTTP/1.1 200 OK"[..], held));
                return;
            }
        }
    }
}

/// How long head and body are together, once the head is there.
fn whole_length(held: &[u8]) -> Option<usize> {
    let end = held.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&held[..end]).expect("a head is text");
    let body: usize = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).expect("a length");
    Some(end + body)
}
