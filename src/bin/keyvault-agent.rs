//! The program that brings a pod its secrets. All of it is in [`keyvault_injector::agent`].

use std::process::ExitCode;

use keyvault_injector::agent;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    agent::main(&arguments, &|name| std::env::var(name).ok())
}
