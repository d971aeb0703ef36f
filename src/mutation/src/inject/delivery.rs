//! How a container is given its variables: its command is wrapped, or the kubelet reads them from a file.

use std::collections::{HashMap, HashSet};

use super::abilities::Abilities;
use super::consumers::{Consumer, Family};
use super::findings::Findings;
use super::reserved::is_our_volume;
use super::settings::Settings;
use super::wrap::{expanded, unwrapped};
use crate::annotations::Key;
use crate::pod::{Container, EnvVar, Lazy};
use crate::texts::EnvDelivery;
use keyvault_common::excerpt::listed;

/// The webhook asks no registry, so it cannot see the entry point.
pub(super) const ENTRY_POINT: &str =
    "write the image's entry point as command and args (Config.Entrypoint and Config.Cmd in docker image inspect IMAGE)";

/// Decides for one container. Where no way works there is a problem.
pub(super) fn choose(
    consumer: &Consumer<'_>,
    variables: &[usize],
    settings: &Settings,
    abilities: &Abilities<'_>,
    findings: &mut Findings,
) -> Family {
    let container = consumer.container;
    refuse_unreadable(container, findings);
    let family = family(container, variables, settings, abilities, findings);
    refuse_set_already(container, variables, settings, findings);
    if family == Family::Exec {
        refuse_expansion(container, variables, settings, findings);
    }
    family
}

/// What is wrapped, or given variables, must be read whole before it is changed.
pub(super) fn refuse_unreadable(container: &Container<'_>, findings: &mut Findings) {
    if let Some(field) = container.unreadable() {
        findings.problem(|| format!("container {}: its {field} is not what Kubernetes has there: correct it", container.name.as_str()));
    }
}

/// Whether the pod's author wrote a command.
pub(super) fn has_command(container: &Container<'_>) -> bool {
    container.command().is_some_and(|command| !unwrapped(&command).is_empty())
}

fn family(container: &Container<'_>, variables: &[usize], settings: &Settings, abilities: &Abilities<'_>, findings: &mut Findings) -> Family {
    let name = container.name.as_str();
    let names = || listed(names(variables, settings));
    let key = Key::EnvDelivery.annotation();
    let has_command = has_command(container);
    let files = abilities.env_files;
    match (settings.env_delivery, has_command, files.is_there()) {
        (EnvDelivery::Exec, true, _) => Family::Exec,
        (EnvDelivery::File, _, true) => Family::Environment,
        (EnvDelivery::Auto, true, _) => {
            findings.warning(|| {
                format!("container {name}: {}: set by keyvault-agent exec, which starts its command ({key} auto: it has a command)", names())
            });
            Family::Exec
        }
        (EnvDelivery::Auto, false, true) => {
            findings.warning(|| {
                format!("container {name}: {}: read from a file by the kubelet ({key} auto: it has no command that could be wrapped)", names())
            });
            Family::Environment
        }
        (EnvDelivery::Auto, false, false) => {
            findings.problem(|| format!(
                "container {name}: {}: it has no command that could be wrapped, and {}: {ENTRY_POINT}; or {}, or take files by {}, or name other containers in {}",
                names(),
                files.reason(),
                files.remedy(),
                Key::Secrets.annotation(),
                Key::Containers.annotation()
            ));
            Family::Exec
        }
        (EnvDelivery::Exec, false, _) => {
            findings.problem(|| format!("container {name}: {}: {key} is exec, and it has no command: {ENTRY_POINT}", names()));
            Family::Exec
        }
        (EnvDelivery::File, _, false) => {
            findings.problem(|| {
                format!(
                    "container {name}: {}: {key} is file, and {}: {}, or write exec, with a command in the container",
                    names(),
                    files.reason(),
                    files.remedy()
                )
            });
            Family::Environment
        }
    }
}

fn names<'s>(variables: &'s [usize], settings: &'s Settings) -> impl Iterator<Item = &'s str> {
    variables.iter().filter_map(|index| settings.files[*index].variable())
}

/// Whether a variable is one that an earlier pass has set.
pub(super) fn is_ours(variable: &EnvVar<'_>) -> bool {
    variable.volume().is_some_and(is_our_volume)
}

fn refuse_set_already(container: &Container<'_>, variables: &[usize], settings: &Settings, findings: &mut Findings) {
    let env = container.env.as_ref().and_then(Lazy::read).unwrap_or_default();
    let set: HashSet<&str> = env.iter().filter(|there| !is_ours(there)).map(|there| there.name.as_str()).collect();
    for reference in variables.iter().map(|index| &settings.files[*index]).filter(|reference| !reference.overrides) {
        if let Some(name) = reference.variable().filter(|name| set.contains(name)) {
            findings.problem(|| {
                let container = container.name.as_str();
                format!("{}: container {container} sets {name} itself: remove it there, or write override: true", reference.place())
            });
        }
    }
}

/// The kubelet replaces `$(NAME)` before any program of ours runs, and does not know our variables.
fn refuse_expansion(container: &Container<'_>, variables: &[usize], settings: &Settings, findings: &mut Findings) {
    let (programs, args, env) = (container.programs(), container.args.as_ref().and_then(Lazy::read), container.env.as_ref().and_then(Lazy::read));
    let commands = programs.iter().filter(|program| program.is_expanded).flat_map(|program| unwrapped(&program.command));
    let of_commands = commands.map(|text| ("a command", text));
    let of_arguments = args.iter().flatten().map(|text| ("its args", text));
    let of_variables = env.iter().flatten().filter_map(|variable| Some(("its env", variable.value.as_ref()?)));
    let mut uses: HashMap<&str, Option<&str>> = names(variables, settings).map(|name| (name, None)).collect();
    for (place, text) in of_commands.chain(of_arguments).chain(of_variables) {
        for name in expanded(text.as_str()) {
            if let Some(first) = uses.get_mut(name) {
                first.get_or_insert(place);
            }
        }
    }
    for name in names(variables, settings) {
        if let Some(Some(place)) = uses.get(name) {
            findings.problem(|| format!(
                "container {}: $({name}) in {place} cannot work: the kubelet replaces it before the value is there; let the program read the variable, or set {} to file",
                container.name.as_str(),
                Key::EnvDelivery.annotation()
            ));
        }
    }
}
