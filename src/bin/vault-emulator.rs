//! The emulator as a program.

use std::process::ExitCode;

use clap::Parser;
use keyvault_injector::emulator::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
