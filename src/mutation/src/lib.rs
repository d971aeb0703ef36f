//! The decision about a pod: its annotations and the operator's configuration become a patch or a denial. Values and pure functions.

pub mod annotations;
pub mod config;
pub mod inject;
pub mod installation;
pub mod nodes;
pub mod pod;
pub mod quantity;
pub mod reference;
pub mod texts;
