//! Objects are fetched, and become the bytes of files and variables.

pub mod fetch;
pub mod format;
