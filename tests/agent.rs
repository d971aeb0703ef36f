//! The real agent as a process against the emulator over TLS. Every run is searched for values and tokens.

#[path = "agent/world.rs"]
mod world;

#[path = "agent/faults.rs"]
mod faults;
#[path = "agent/files.rs"]
mod files;
#[path = "agent/identities.rs"]
mod identities;
#[path = "agent/network.rs"]
mod network;
