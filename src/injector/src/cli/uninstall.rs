//! `keyvault-injector uninstall`: the registration first, so that no pod waits for a webhook that is gone.

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cluster::{self, ConnectError, Installed, Place, Step, UninstallError};
use crate::webhook::runtime;
use keyvault_mutation::installation::{NAMESPACE, OPT_IN, REGISTRATION};

/// Arguments of `uninstall`.
#[derive(Args, Debug)]
pub(super) struct UninstallArgs {
    /// The webhook's namespace
    #[arg(long, value_name = "NAME", default_value = NAMESPACE, value_parser = super::namespace)]
    namespace: String,
    /// The MutatingWebhookConfiguration
    #[arg(long, value_name = "NAME", default_value = REGISTRATION)]
    registration: String,
    /// The kubeconfig [default: KUBECONFIG, ~/.kube/config, or the pod's ServiceAccount]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context [default: the current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask on a terminal
    #[arg(short, long)]
    yes: bool,
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
    #[error("nothing was removed: the answer was not y")]
    Declined,
}

/// Exit code 1 if something is still there against the user's will.
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
    let runtime = runtime()?;
    let (place, installed) = runtime.block_on(async {
        let (client, place) = cluster::connect_to(args.kubeconfig.as_deref(), args.context.as_deref()).await?;
        let installed = Installed::find(client, &args.namespace, &args.registration).await?;
        Ok::<_, Failure>((place, installed))
    })?;
    let _ = write!(io::stdout(), "{}", plan(&place, &installed));
    if args.dry_run {
        return Ok(());
    }
    let ask = !args.yes && !installed.removed.is_empty() && io::stdin().is_terminal();
    if ask && !confirmed(io::stdin().lock(), io::stderr()) {
        return Err(Failure::Declined);
    }
    // A closed pipe is the reader's business: half an uninstall would be nobody's.
    let report = |step: Step| drop(writeln!(io::stdout(), "{}", words(&step)));
    Ok(runtime.block_on(installed.uninstall(report))?)
}

/// The cluster, and what becomes of each object.
fn plan(place: &Place, installed: &Installed) -> String {
    let context = place.context.as_ref().map_or_else(|| "this pod's own cluster".to_owned(), |context| format!("context {context}"));
    let mut text = format!("cluster {} ({context})\n", place.server);
    if installed.removed.is_empty() {
        text += "nothing of an installation is there\n";
    }
    for object in &installed.removed {
        let _ = writeln!(text, "to remove: {object}");
    }
    for kept in &installed.kept {
        let _ = writeln!(text, "{kept}");
    }
    text
}

fn confirmed(mut input: impl BufRead, mut output: impl Write) -> bool {
    let mut answer = String::new();
    let asked = write!(output, "Remove these objects? [y/N] ").and_then(|()| output.flush());
    asked.and_then(|()| input.read_line(&mut answer)).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

fn words(step: &Step) -> String {
    let (label, value) = OPT_IN;
    match step {
        Step::Deleted(object) => format!("{object} deleted"),
        Step::Absent(object) => format!("{object} is not there"),
        Step::Settling(time) => format!("waiting {time:?}, in which every API server hears that nothing is to be asked any more"),
        Step::Kept(kept) => kept.to_string(),
        Step::Ending(object, time) => {
            format!("{object} has not ended after {time:?}; nothing can be installed in it before: kubectl wait --for=delete {object}")
        }
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

    #[test]
    fn a_namespace_that_does_not_end_is_told_with_the_command_that_waits_for_it() {
        let text = words(&Step::Ending("namespace/keyvault-injector".to_owned(), std::time::Duration::from_secs(150)));
        assert_eq!(
            text,
            "namespace/keyvault-injector has not ended after 150s; nothing can be installed in it before: kubectl wait --for=delete namespace/keyvault-injector"
        );
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        let answer = |text: &str| {
            let mut asked = Vec::new();
            let confirmed = confirmed(text.as_bytes(), &mut asked);
            assert_eq!(String::from_utf8(asked).unwrap(), "Remove these objects? [y/N] ");
            confirmed
        };
        for text in ["y\n", "Y\n", "yes\n", " y \n"] {
            assert!(answer(text), "{text:?}");
        }
        for text in ["", "\n", "n\n", "no\n", "yep\n"] {
            assert!(!answer(text), "{text:?}");
        }
    }
}
