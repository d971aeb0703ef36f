//! What tests and benchmarks share.

#![allow(clippy::expect_used, reason = "a test that cannot go on fails")]

mod programs;

pub use programs::program;

/// The folder of the whole project.
pub const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
