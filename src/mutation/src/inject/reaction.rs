//! Who acts when values change: a wrapper in each container, or the kubelet, which restarts all of them.

use super::abilities::Ability;
use super::consumers::Consumer;
use super::container::ends;
use super::delivery::{ENTRY_POINT, has_command};
use super::findings::Findings;
use super::settings::Settings;
use super::views::Views;
use crate::annotations::Key;
use crate::pod::PodView;
use keyvault_common::plan::OnChange;

/// What happens when values change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// Nothing.
    None,
    /// The wrapper of each container acts.
    Wrapper(OnChange),
    /// The sidecar ends, and the kubelet restarts all containers of the pod.
    Kubelet,
}

/// Decides for the pod. If no reaction is possible, reports each container that prevents it.
pub(super) fn choose(pod: &PodView<'_>, settings: &Settings, views: &Views<'_>, kubelet: Ability<'_>, findings: &mut Findings) -> Reaction {
    let Some(action) = settings.on_change else { return Reaction::None };
    let consumers = views.consumers().filter(Consumer::runs_on);
    let unwrappable: Vec<&str> =
        consumers.filter(|consumer| !has_command(consumer.container)).map(|consumer| consumer.container.name.as_str()).collect();
    let Some(first) = unwrappable.first() else { return Reaction::Wrapper(action) };
    let key = Key::OnChange.annotation();
    if action == OnChange::Restart && kubelet.is_there() && !ends(pod) {
        findings.warning(|| {
            format!(
                "{key} restart: the kubelet restarts all containers of the pod at once, each 2 seconds after SIGTERM and without its preStop hook (container {first} has no command that could be wrapped)"
            )
        });
        return Reaction::Kubelet;
    }
    let (reason, remedy) = match action {
        OnChange::Signal(_) => (String::new(), "name".to_owned()),
        OnChange::Restart if ends(pod) => {
            (", and the kubelet restarts all containers only if the pod's restartPolicy is Always".to_owned(), "name".to_owned())
        }
        OnChange::Restart => (format!(", and {}", kubelet.reason()), format!("{}, or name", kubelet.remedy())),
    };
    for name in unwrappable {
        findings.problem(|| {
            format!(
                "container {name}: {key}: it has no command that could be wrapped{reason}: {ENTRY_POINT}; or {remedy} other containers in {}",
                Key::Containers.annotation()
            )
        });
    }
    Reaction::Wrapper(action)
}
