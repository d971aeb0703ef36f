//! What the caches cost in memory: of Namespaces and ServiceAccounts, in a cluster with ten thousand of the one and fifty thousand of the other, and of
//! Nodes, in one with five thousand.
//!
//! The API server is this program again, started as `--api`; each way of listing is measured by one started as `--measure`.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "a benchmark prints figures and stops where it cannot measure")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::{ACCOUNTS, Server, Size};
use keyvault_injector::cluster::ClusterDefaults;
use keyvault_injector::webhook::{Defaults, Metrics, runtime};
use keyvault_mutation::nodes::{Answer, NodeFeature, Obstacle};

#[path = "caches/api.rs"]
mod api;
#[allow(dead_code, reason = "the other benchmarks use the rest")]
mod support;

/// A cluster, and what it may cost.
struct Case {
    name: &'static str,
    size: Size,
    /// What is counted.
    objects: usize,
    /// Resident bytes for each object, at rest.
    rest_limit: f64,
    /// MB above what was there before, at the worst moment of the first list.
    fill_limit: f64,
    /// The same, of a list that replaces a full picture: both are there for a moment.
    refill_limit: f64,
}

const NAMESPACES: usize = 10_000;
const NODES: usize = 5_000;

const CASES: [Case; 2] = [
    Case {
        name: "namespaces and service accounts",
        size: Size { namespaces: NAMESPACES, nodes: 0 },
        objects: NAMESPACES * (1 + ACCOUNTS),
        rest_limit: 200.0,
        fill_limit: 12.0,
        refill_limit: 16.0,
    },
    Case {
        name: "nodes",
        size: Size { namespaces: 1, nodes: NODES },
        objects: NODES,
        // What the allocator keeps of a list that was read in pages is many times what we keep of a node.
        rest_limit: 3500.0,
        fill_limit: 16.0,
        refill_limit: 18.0,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("--api") => {
            api::serve(&arguments[2..]);
            ExitCode::SUCCESS
        }
        Some("--measure") => measure(arguments[2].parse().expect("an address"), arguments[3].parse().expect("an address"), arguments[4] == "nodes"),
        _ => {
            let ways = CASES.iter().flat_map(|case| [(case, "streamed", true), (case, "in pages", false)]);
            let keeps: Vec<bool> = ways.map(|(case, way, streams)| judge(case, way, streams)).collect();
            if keeps.iter().all(|keeps| *keeps) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

fn judge(case: &Case, way: &str, streams: bool) -> bool {
    let nothing = Size { namespaces: 0, nodes: 0 };
    let (empty, full) = (Server::start(nothing, streams), Server::start(case.size, streams));
    let program = std::env::current_exe().expect("this program");
    let arguments = ["--measure".to_owned(), empty.address.to_string(), full.address.to_string(), case.name.to_owned()];
    let output = Command::new(program).args(arguments).output().expect("this program runs");
    assert!(output.status.success(), "the measurement failed: {}", String::from_utf8_lossy(&output.stderr));
    let figures: Vec<f64> = String::from_utf8_lossy(&output.stdout).split_whitespace().map(|figure| figure.parse().expect("a number")).collect();
    let [before, rest, peak, peak_again, seconds] = figures[..] else { panic!("five figures are expected") };
    let Case { name, objects, .. } = case;
    println!("{objects} {name}, {way}: {seconds:.1} s; {before:.0} kB before, {rest:.0} kB at rest");
    let each = (rest - before) * 1024.0 / *objects as f64;
    let (fill, refill) = ((peak - before) / 1024.0, (peak_again - before) / 1024.0);
    let keeps = [
        ("bytes for each object", each, case.rest_limit),
        ("MB added at most while the caches fill", fill, case.fill_limit),
        ("MB added at most while all is read again", refill, case.refill_limit),
    ]
    .map(|(figure, value, limit)| support::judge(&format!("{name}, {way}: {figure}"), value, value <= limit, &format!("at most {limit}")));
    keeps.iter().all(|keeps| *keeps)
}

/// Prints kB resident before, at rest, and at most twice; then the seconds that the first fill took.
fn measure(empty: SocketAddr, full: SocketAddr, of_nodes: bool) -> ExitCode {
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
        let shows = if of_nodes { shows_nodes } else { shows_objects };
        assert!(shows(&defaults, 0));

        forget_peak();
        expire(full);
        until(|| shows(&defaults, 1)).await;
        println!("{before} {rest} {peak} {} {seconds}", status("VmHWM:"));
    });
    ExitCode::SUCCESS
}

fn caches(address: SocketAddr) -> Arc<ClusterDefaults> {
    let uri = format!("http://{address}").parse().expect("a URI");
    let client = kube::Client::try_from(kube::Config::new(uri)).expect("a client");
    let defaults = Arc::new(ClusterDefaults::new(client).with_nodes());
    tokio::spawn(Arc::clone(&defaults).watch());
    tokio::spawn(Arc::clone(&defaults).watch_nodes(Arc::new(Metrics::default())));
    defaults
}

/// Whether the caches hold all Namespaces and ServiceAccounts as they are in this generation.
fn shows_objects(defaults: &ClusterDefaults, generation: usize) -> bool {
    let first = defaults.cached("team-00000", "default").expect("it is cached");
    let last = defaults.cached(&format!("team-{:05}", NAMESPACES - 1), &format!("service-{}", ACCOUNTS - 1)).expect("it is cached");
    assert!(last.account.found && last.account.client_id.is_none(), "the last account is known, with nothing of ours");
    first.namespace.annotations[0].1 == format!("payments-{generation}")
}

/// Whether the answer is the one of the Nodes of this generation.
fn shows_nodes(defaults: &ClusterDefaults, generation: usize) -> bool {
    let known = defaults.cached("team-00000", "default").expect("it is cached");
    let Answer::No(Obstacle::Node { lack, .. }) = known.nodes.get(NodeFeature::EnvFiles) else { panic!("{:?}", known.nodes) };
    lack.contains(&format!("v1.34.{generation},"))
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
