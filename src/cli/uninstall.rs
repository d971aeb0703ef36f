//! `keyvault-injector uninstall`: the registration first, so that no pod waits for a webhook that is gone.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use crate::cluster::{self, ConnectError, Step, UninstallError};
use crate::installation::{NAMESPACE, OPT_IN, REGISTRATION};
use crate::webhook::runtime;

/// Arguments of `uninstall`.
#[derive(Args, Debug)]
pub(super) struct UninstallArgs {
    /// Where the webhook lives
    #[arg(long, value_name = "NAME", default_value = NAMESPACE, value_parser = super::namespace)]
    namespace: String,
    /// The MutatingWebhookConfiguration
    #[arg(long, value_name = "NAME", default_value = REGISTRATION)]
    registration: String,
}

/// Why something is still there.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the process cannot be set up: {0}")]
    System(#[from] io::Error),
    #[error(transparent)]
    Cluster(#[from] ConnectError),
    #[error(transparent)]
    Uninstall(#[from] UninstallError),
}

/// Exit code 1 where something is still there.
pub(super) fn run(args: &UninstallArgs) -> ExitCode {
    match uninstall(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn uninstall(args: &UninstallArgs) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let client = cluster::connect().await?;
        // A closed pipe is the reader's business: half an uninstall would be nobody's.
        let report = |step: Step| drop(writeln!(io::stdout(), "{}", words(&step)));
        Ok(cluster::uninstall(client, &args.namespace, &args.registration, report).await?)
    })
}

fn words(step: &Step) -> String {
    let (label, value) = OPT_IN;
    match step {
        Step::Deleted(object) => format!("{object} deleted"),
        Step::Absent(object) => format!("{object} is not there"),
        Step::Settling(time) => format!("waiting {time:?}, in which every API server hears that nothing is to be asked any more"),
        Step::Kept(object) => format!("{object} stays: it was not made by these manifests, and may hold more than the webhook"),
        Step::OptedIn(namespaces) => {
            let mut text = "uninstalled. Running pods keep the secrets that they were given; new ones get none.".to_owned();
            if !namespaces.is_empty() {
                let names = namespaces.join(" ");
                text += &format!("\nStill labelled {label}={value}; to take the label off: kubectl label namespace {names} {label}-");
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_name_the_namespaces_that_are_still_opted_in() {
        assert!(words(&Step::OptedIn(Vec::new())).ends_with("new ones get none."));
        let text = words(&Step::OptedIn(vec!["a".into(), "b".into()]));
        assert!(text.ends_with("kubectl label namespace a b keyvault-injector.io/injection-"), "{text}");
    }
}
