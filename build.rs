//! A static program for glibc has some eight thousand relative relocations, and reads and writes all of them when it starts. Packed, they take 3 KB
//! of the file and of memory instead of 200 KB.

#![allow(clippy::print_stdout, reason = "cargo reads what a build script prints")]

use std::env::var;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=../../build.rs");
    let is = |name: &str, value: &str| var(name).is_ok_and(|values| values.split(',').any(|other| other == value));
    let is_native = var("HOST").is_ok() && var("HOST") == var("TARGET");
    if is_native && is("CARGO_CFG_TARGET_ENV", "gnu") && is("CARGO_CFG_TARGET_FEATURE", "crt-static") && glibc_unpacks() {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Whether this glibc knows packed relocations: since 2.36. A program that is linked with an older one would not start.
fn glibc_unpacks() -> bool {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let version = text.trim().strip_prefix("glibc ").and_then(|version| version.split_once('.'));
    version.and_then(|(major, minor)| Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))).is_some_and(|version| version >= (2, 36))
}
