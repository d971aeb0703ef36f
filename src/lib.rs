//! keyvault-injector brings Azure Key Vault secrets to annotated Kubernetes pods.
//!
//! Modules are in the order of their dependencies: each uses only those above it. `tests/layering.rs` holds the arrows.
//!
//! * Layer 0, words: values checked where they come in. No clock, disk, network or async.
//! * Layer 1, the pure core: `inject` turns a pod and its defaults into a patch or a denial.
//! * Layer 2, edges: everything that touches the world.

// layer 0: words
pub mod excerpt;
pub mod names;
pub mod cloud;
pub mod duration;
pub mod property;
pub mod plan;
pub mod quantity;
pub mod secret;
pub mod yaml;
pub mod yaml_fields;
#[cfg(any(feature = "webhook", feature = "agent"))]
pub mod template;
#[cfg(feature = "agent")]
pub mod pem;

#[cfg(feature = "webhook")]
pub mod annotations;
#[cfg(feature = "webhook")]
pub mod installation;
#[cfg(feature = "webhook")]
pub mod nodes;
#[cfg(feature = "webhook")]
pub mod reference;
#[cfg(feature = "webhook")]
pub mod texts;
#[cfg(feature = "webhook")]
pub mod config;
#[cfg(feature = "webhook")]
pub mod pod;

// layer 1: the pure core
#[cfg(feature = "webhook")]
pub mod inject;

// layer 2: edges
#[cfg(feature = "agent")]
pub mod vault;
#[cfg(feature = "agent")]
pub mod format;
#[cfg(feature = "agent")]
pub mod fetch;
#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "emulator")]
pub mod emulator;
#[cfg(feature = "webhook")]
pub mod tls;
#[cfg(feature = "webhook")]
pub mod webhook;
#[cfg(feature = "webhook")]
pub mod cluster;
#[cfg(feature = "webhook")]
pub mod cli;
