//! The real agent as a process against the emulator over TLS. Every run is searched for values and tokens.
#![allow(clippy::unwrap_used)] // clippy exempts test functions, not the helpers beside them

#[path = "agent/certificates.rs"]
mod certificates;
#[path = "agent/faults.rs"]
mod faults;
#[path = "agent/files.rs"]
mod files;
#[path = "agent/identities.rs"]
mod identities;
#[path = "agent/network.rs"]
mod network;
#[path = "agent/templates.rs"]
mod templates;
#[path = "agent/objects.rs"]
mod objects;
#[path = "agent/refusals.rs"]
mod refusals;
#[path = "agent/token_proxy.rs"]
mod token_proxy;
#[path = "agent/world.rs"]
mod world;
