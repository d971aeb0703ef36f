//! The whole product on one machine, without a cluster and without Azure: `cargo run --release --example demo`.
//!
//! Everything that matters is real: the three programs, TLS, AdmissionReviews, tokens, files. Only the API server, the ReplicaSet controller and
//! the kubelet are played by this program. It ends with an error if anything is not as it should be. `-- --keep` leaves the servers running.

#![allow(clippy::print_stdout, reason = "a demo speaks to its reader")]

#[path = "demo/children.rs"]
mod children;
#[path = "demo/cluster.rs"]
mod cluster;
#[path = "demo/expected.rs"]
mod expected;
#[path = "demo/kubelet.rs"]
mod kubelet;
#[path = "demo/memory.rs"]
mod memory;
#[path = "demo/programs.rs"]
mod programs;
#[path = "demo/servers.rs"]
mod servers;
#[path = "demo/show.rs"]
mod show;
#[path = "demo/story.rs"]
mod story;

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let keep = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--keep"] => true,
        _ => {
            println!("usage: cargo run --release --example demo [-- --keep]\n\n  --keep   leave emulator and webhook running until Ctrl-C");
            return ExitCode::from(2);
        }
    };
    match run(keep) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\nThe demo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whatever ends the story, its servers, volumes and files go with it.
fn run(keep: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut interrupted, mut terminated) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            told = story::tell(keep) => told,
            _ = interrupted.recv() => stopped(keep),
            _ = terminated.recv() => stopped(keep),
        }
    })
}

fn stopped(keep: bool) -> Result<()> {
    println!("\nStopped: everything is taken down.");
    if keep { Ok(()) } else { Err("it was interrupted".into()) }
}
