//! The webhook from its socket to its log line, with a core that the test chooses or the real one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod client;
mod cluster;
mod common;
mod log;
mod process;
mod router;
mod serving;
mod threads;
