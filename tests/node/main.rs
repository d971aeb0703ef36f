//! Ring 4: a real node. Kubernetes with scheduler and kubelet, containerd and runc; the product installed as the README says, and judged by what
//! containers see and what the API reports.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "files of tests hold no secrets")]

mod amounts;
#[path = "../apiserver/cluster/mod.rs"]
mod cluster;
mod controllers;
mod creations;
#[path = "../support/dns.rs"]
mod dns;
#[path = "../support/emulator.rs"]
mod emulator;
mod failing;
mod files;
mod following;
mod harness;
mod installing;
mod killed;
mod refreshing;
mod restarting;
mod rollouts;
mod variables;
