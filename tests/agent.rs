//! The real agent as a process against the emulator over TLS. Every run is searched for values and tokens.

// `cfg(test)` tells the linter that helpers may unwrap as tests do.
#[cfg(test)]
#[path = "agent/world.rs"]
mod world;

#[cfg(test)]
#[path = "agent/faults.rs"]
mod faults;
#[cfg(test)]
#[path = "agent/files.rs"]
mod files;
#[cfg(test)]
#[path = "agent/identities.rs"]
mod identities;
#[cfg(test)]
#[path = "agent/network.rs"]
mod network;
