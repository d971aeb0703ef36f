//! The webhook and the operators' command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    keyvault_injector::cli::run()
}
