//! The three programs, as `cargo build` makes them for the profile of the running test.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The path of a program that is up to date.
///
/// # Panics
///
/// If cargo cannot build it.
#[must_use]
pub fn program(name: &str) -> String {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(build).join(name).display().to_string()
}

/// Builds the programs and returns their folder.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    // TARGET/PROFILE/deps/TEST
    let [_, _, folder, target, ..] = test.ancestors().collect::<Vec<_>>()[..] else { panic!("{} is not where cargo puts tests", test.display()) };
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut cargo = Command::new(env!("CARGO"));
    // With a test among the targets, the dependencies are those that `cargo test` has built already.
    cargo.args(["build", "--quiet", "--workspace", "--bins", "--test", "workspace", "--profile", profile]).arg("--target-dir").arg(target);
    // Build scripts that see what cargo tells a test of its package believe that it changed.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            cargo.env_remove(name);
        }
    }
    let status = cargo.current_dir(crate::REPOSITORY).status().expect("cargo starts");
    assert!(status.success(), "the programs cannot be built");
    folder.to_owned()
}
