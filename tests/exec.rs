//! `keyvault-agent exec` with real programs.
#![allow(clippy::unwrap_used)] // clippy exempts test functions, not the helpers beside them

#[path = "exec/becoming.rs"]
mod becoming;
#[path = "exec/refusing.rs"]
mod refusing;
#[path = "exec/supervising.rs"]
mod supervising;
#[path = "exec/world.rs"]
mod world;
