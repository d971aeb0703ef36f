//! The operators' command line.

pub mod manifests;
