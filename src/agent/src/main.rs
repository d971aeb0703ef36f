//! The program that brings a pod its secrets. All of it is in [`keyvault_agent`].

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    keyvault_agent::main(&arguments, &|name| std::env::var(name).ok())
}
