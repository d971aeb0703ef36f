//! The operators' command line.

mod config;
mod documents;
mod inject;
mod limit_range;
mod manifests;
mod uninstall;
mod webhook;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use keyvault_common::names::is_dns_label;

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
    /// Print the manifests of an installation, ready for `kubectl apply -f -`.
    Manifests(manifests::ManifestsArgs),
    /// Remove an installation from the cluster, what would block pods first.
    Uninstall(uninstall::UninstallArgs),
    /// Serve admission reviews.
    Webhook(webhook::WebhookArgs),
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Inject(args) => inject::run(&args),
        Command::Manifests(args) => manifests::run(&args),
        Command::Uninstall(args) => uninstall::run(&args),
        Command::Webhook(args) => webhook::run(args),
    }
}

/// A namespace's name on the command line.
fn namespace(text: &str) -> Result<String, String> {
    let legal = (1..=63).contains(&text.len()) && is_dns_label(text);
    if legal { Ok(text.to_owned()) } else { Err("not a namespace: lower-case letters, digits and inner hyphens, at most 63".to_owned()) }
}
