//! The emulator as a program.

use std::process::ExitCode;

use clap::Parser;
use vault_emulator::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
