//! The emulator, driven over real TLS: by the official SDK, by plain requests that compare every refusal word for word, and as a process.
#![allow(clippy::unwrap_used)] // clippy exempts test functions, not the helpers beside them

#[path = "emulator/certificates.rs"]
mod certificates;
#[path = "emulator/client_certificates.rs"]
mod client_certificates;
#[path = "emulator/config.rs"]
mod config;
#[path = "support/emulator.rs"]
mod emulator;
#[path = "emulator/entra.rs"]
mod entra;
#[path = "emulator/faults.rs"]
mod faults;
#[path = "emulator/hosts.rs"]
mod hosts;
#[path = "emulator/imds.rs"]
mod imds;
#[path = "emulator/keys.rs"]
mod keys;
#[path = "emulator/process.rs"]
mod process;
#[path = "emulator/refusals.rs"]
mod refusals;
#[path = "support/sdk.rs"]
mod sdk;
#[path = "emulator/sdk_objects.rs"]
mod sdk_objects;
#[path = "emulator/sdk_scenarios.rs"]
mod sdk_scenarios;
#[path = "emulator/secrets.rs"]
mod secrets;
