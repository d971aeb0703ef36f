//! Ring 3: a real etcd, a real kube-apiserver, the controllers that make pods, and kubectl.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "files of tests hold no secrets")]

mod admission;
mod availability;
mod balancer;
mod caches;
mod certificates;
mod cluster;
mod control_plane;
#[path = "../support/emulator.rs"]
mod emulator;
mod journey;
mod nodes;
mod installation;
mod overlays;
mod slipped;
mod uninstall;
mod readiness;
