//! Builds what is measured: static, in the profile of the image, without the dependencies of tests.
#![allow(dead_code)] // each benchmark uses its own part

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::BoxError;

pub(crate) struct Programs {
    pub(crate) agent: PathBuf,
    pub(crate) bare: PathBuf,
}

pub(crate) fn programs() -> Result<Programs, BoxError> {
    Ok(Programs { agent: agent()?, bare: program("bare-client")? })
}

pub(crate) fn agent() -> Result<PathBuf, BoxError> {
    program("keyvault-agent")
}

pub(crate) fn size(program: &Path) -> Result<u64, BoxError> {
    Ok(std::fs::metadata(program)?.len())
}

fn program(name: &str) -> Result<PathBuf, BoxError> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut build = Command::new(cargo);
    build.current_dir(keyvault_tests::REPOSITORY).env("RUSTFLAGS", "-C target-feature=+crt-static");
    build.args(["build", "--profile", "agent", "--message-format", "json", "--package", name]);
    // With a target named, the flags do not reach procedural macros, which cannot be static.
    let output = build.args(["--target", &host()?]).stderr(std::process::Stdio::inherit()).output()?;
    let messages = String::from_utf8(output.stdout)?;
    let executable = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find_map(|message| {
        let matches = message["target"]["name"] == name;
        message["executable"].as_str().filter(|_| matches).map(PathBuf::from)
    });
    executable.ok_or_else(|| format!("cargo did not build {name}").into())
}

fn host() -> Result<String, BoxError> {
    let output = Command::new("rustc").arg("-vV").output()?;
    let text = String::from_utf8(output.stdout)?;
    text.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned).ok_or_else(|| "rustc names no host".into())
}
