//! The operators' command line.

mod config;
mod manifests;
mod inject;
mod webhook;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Brings Azure Key Vault secrets to annotated Kubernetes pods.
#[derive(Debug, Parser)]
#[command(name = "keyvault-injector", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what the webhook would do to manifests, without a cluster.
    Inject(inject::InjectArgs),
    /// Serve admission reviews.
    Webhook(webhook::WebhookArgs),
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Inject(args) => inject::run(&args),
        Command::Webhook(args) => webhook::run(args),
    }
}
