//! Ring 3: a real etcd, a real kube-apiserver, the controllers that make pods, and kubectl.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod cluster;
mod control_plane;
