//! What the caches of Namespaces and ServiceAccounts cost in memory, in a cluster with ten thousand of the one and fifty thousand of the other.
//!
//! The API server is this program again, started as `--api`; each way of listing is measured by one started as `--measure`.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "a benchmark prints figures and stops where it cannot measure")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::{ACCOUNTS, NAMESPACES, Server};
use keyvault_injector::cluster::ClusterDefaults;
use keyvault_injector::webhook::{Defaults, runtime};

#[path = "caches/api.rs"]
mod api;
#[allow(dead_code, reason = "the other benchmarks use the rest")]
mod support;

const ENTRIES: usize = NAMESPACES * (1 + ACCOUNTS);

/// Resident bytes for each object, at rest.
const REST_LIMIT: f64 = 200.0;
/// Above what was there before, at the worst moment of the first list.
const FILL_LIMIT_MB: f64 = 12.0;
/// The same, of a list that replaces a full picture: both are there for a moment.
const REFILL_LIMIT_MB: f64 = 16.0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("--api") => {
            api::serve(&arguments[2..]);
            ExitCode::SUCCESS
        }
        Some("--measure") => measure(arguments[2].parse().expect("an address"), arguments[3].parse().expect("an address")),
        _ => {
            let keeps: Vec<bool> = [("streamed", true), ("in pages", false)].into_iter().map(|(way, streams)| judge(way, streams)).collect();
            if keeps.iter().all(|keeps| *keeps) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

fn judge(way: &str, streams: bool) -> bool {
    let (empty, full) = (Server::start(0, streams), Server::start(NAMESPACES, streams));
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program).args(["--measure".to_owned(), empty.address.to_string(), full.address.to_string()]).output();
    let output = output.expect("this program runs");
    assert!(output.status.success(), "the measurement failed: {}", String::from_utf8_lossy(&output.stderr));
    let figures: Vec<f64> = String::from_utf8_lossy(&output.stdout).split_whitespace().map(|figure| figure.parse().expect("a number")).collect();
    let [before, rest, peak, peak_again, seconds] = figures[..] else { panic!("five figures are expected") };
    println!(
        "{way}: {NAMESPACES} namespaces and {} service accounts in {seconds:.1} s; {before:.0} kB before, {rest:.0} kB at rest",
        NAMESPACES * ACCOUNTS
    );
    let each = (rest - before) * 1024.0 / ENTRIES as f64;
    let (fill, refill) = ((peak - before) / 1024.0, (peak_again - before) / 1024.0);
    let keeps = [
        support::judge(&format!("{way}: bytes for each object"), each, each <= REST_LIMIT, &format!("at most {REST_LIMIT}")),
        support::judge(&format!("{way}: MB added at most while the caches fill"), fill, fill <= FILL_LIMIT_MB, &format!("at most {FILL_LIMIT_MB}")),
        support::judge(
            &format!("{way}: MB added at most while all is read anew"),
            refill,
            refill <= REFILL_LIMIT_MB,
            &format!("at most {REFILL_LIMIT_MB}"),
        ),
    ];
    keeps.iter().all(|keeps| *keeps)
}

/// Prints kB resident before, at rest, and at most twice; then the seconds that the first fill took.
fn measure(empty: SocketAddr, full: SocketAddr) -> ExitCode {
    runtime().expect("a runtime").block_on(async {
        // What the code itself takes is there before anything is measured.
        let defaults = caches(empty);
        until(|| defaults.filled()).await;
        let before = status("VmRSS:");

        let started = Instant::now();
        let defaults = caches(full);
        until(|| defaults.filled()).await;
        let seconds = started.elapsed().as_secs_f64();
        let (rest, peak) = (status("VmRSS:"), status("VmHWM:"));
        assert_eq!(vault_of(&defaults), "payments-0");
        let account = defaults.cached(&format!("team-{:05}", NAMESPACES - 1), &format!("service-{}", ACCOUNTS - 1));
        assert!(
            account.is_some_and(|known| known.account.found && known.account.client_id.is_none()),
            "the last account is known, with nothing of ours"
        );

        forget_peak();
        expire(full);
        until(|| vault_of(&defaults) == "payments-1").await;
        println!("{before} {rest} {peak} {} {seconds}", status("VmHWM:"));
    });
    ExitCode::SUCCESS
}

fn caches(address: SocketAddr) -> Arc<ClusterDefaults> {
    let uri = format!("http://{address}").parse().expect("a URI");
    let client = kube::Client::try_from(kube::Config::new(uri)).expect("a client");
    let defaults = Arc::new(ClusterDefaults::new(client));
    tokio::spawn(Arc::clone(&defaults).watch());
    defaults
}

fn vault_of(defaults: &ClusterDefaults) -> String {
    let known = defaults.cached("team-00000", "default").expect("it is cached");
    known.namespace.annotations[0].1.clone()
}

async fn until(holds: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(120);
    while !holds() {
        assert!(Instant::now() < limit, "the caches do not fill");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn expire(address: SocketAddr) {
    let mut socket = TcpStream::connect(address).expect("a connection");
    socket.write_all(b"POST /expire HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// The high-water mark starts again.
#[allow(clippy::disallowed_methods, reason = "it holds no secrets, and it is no file")]
fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("a process may forget its own peak");
}

/// A figure of this process in kB.
fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process has a status");
    status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse().ok()).expect("the field is there")
}
