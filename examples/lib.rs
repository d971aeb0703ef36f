//! The demo is an example of this package: `cargo run --release --example demo`.
