//! The real agent as a process against the emulator over TLS. Every run is searched for values and tokens.
#![allow(clippy::unwrap_used, clippy::expect_used)] // clippy exempts test functions, not the helpers beside them

#[path = "agent/certificates.rs"]
mod certificates;
#[path = "agent/config_map.rs"]
mod config_map;
#[path = "support/emulator.rs"]
mod emulator;
#[path = "agent/faults.rs"]
mod faults;
#[path = "agent/files.rs"]
mod files;
#[path = "agent/formats.rs"]
mod formats;
#[path = "agent/identities.rs"]
mod identities;
#[path = "agent/journey.rs"]
mod journey;
#[path = "agent/network.rs"]
mod network;
#[path = "agent/refresh.rs"]
mod refresh;
#[path = "agent/sidecar.rs"]
mod sidecar;
#[path = "agent/templates.rs"]
mod templates;
#[path = "agent/objects.rs"]
mod objects;
#[path = "agent/refusals.rs"]
mod refusals;
#[path = "agent/selection.rs"]
mod selection;
#[path = "agent/token_proxy.rs"]
mod token_proxy;
#[path = "support/core.rs"]
mod webhook_core;
#[path = "agent/world.rs"]
mod world;
