//! HTTPS without Kubernetes: a certificate that can be replaced while serving, and a listener that knows when to give up on a peer and how to stop.
//!
//! The life of a server is a chain of types: [`Certificates`] exists only once a pair has been loaded, [`Bound`] only once there are certificates
//! and a port, and [`Bound::run`] consumes it.

mod certificate;
mod connection;
mod files;
mod server;
mod stop;
mod validity;

pub use certificate::{Certificates, Pair, PairError};
pub use files::{CertificateFiles, FilesError, Reload};
pub use server::{Aborted, BindError, Bound, Handler, Limits};
pub use stop::Stop;
