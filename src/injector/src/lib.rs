//! The admission webhook and the command line of operators.

pub mod cli;
pub mod cluster;
pub mod tls;
pub mod webhook;
