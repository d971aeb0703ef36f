//! HTTPS without Kubernetes: a certificate that can be replaced while serving, and a listener that knows when to give up on a peer and how to stop.
//!
//! The life of a server is a chain of types: [`Certificates`] exists only once a pair has been loaded, [`Bound`] only once there are certificates
//! and a port, and [`Bound::run`] consumes it.

mod certificate;
mod clients;
mod clock;
mod connection;
mod crowd;
mod files;
mod gate;
mod gulps;
mod issue;
mod keeper;
mod rotation;
mod server;
mod state;
mod stop;
mod trust;
mod turns;
mod validity;

pub use certificate::{Certificates, Pair, PairError};
pub use clients::{Clients, ClientsError};
pub use connection::Stopping;
pub use files::{CertificateFiles, FilesError};
pub use gate::{Gate, Offer};
pub use issue::{IssueError, Issued, PrivateKey};
pub use keeper::{KeepError, Keeper, Kept, Objects, Stored, View};
pub use rotation::{Change, Step, Terms, step};
pub use server::{Aborted, BindError, Bound, Handler, Limits};
pub use state::{Data, Retired, State};
pub use stop::Stop;
pub use trust::{Distrust, Entry, Trust};
