//! What each container of the pod is given beside its files: a wrapper before its command, variables, mounts.

use serde_json::{Value, json};

use super::consumers::{Consumer, Family, containers};
use super::delivery::refuse_unreadable;
use super::findings::Findings;
use super::mounts::Mounts;
use super::planning::termination_message_bytes;
use super::reaction::Reaction;
use super::reserved::PROGRAM_VOLUME;
use super::settings::Settings;
use super::views::{View, Views};
use super::wrap::{DIRECTORY, ENVIRONMENT_DIRECTORY, PROGRAM_DIRECTORY};
use crate::annotations::Key;
use crate::pod::{PodView, Text};
use keyvault_common::names::AbsolutePath;
use keyvault_common::plan::{EXEC_VARIABLE, ExecPlan, OnChange, RestartPolicy};

/// Kubernetes' default, which the API server writes out.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// The file of variables in a view that the kubelet reads.
pub(super) const ENVIRONMENT_FILE: &str = "env";

/// What decides about it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) settings: &'a Settings,
    pub(super) views: &'a Views<'a>,
    pub(super) reaction: Reaction,
    /// How many containers the pod will have.
    pub(super) count: usize,
}

/// What one container is given.
pub(super) struct Given<'p> {
    pub(super) consumer: Consumer<'p>,
    pub(super) mounts: Vec<Value>,
    /// Its first variables.
    pub(super) variables: Vec<FileVariable>,
    pub(super) wrapper: Option<Wrapper>,
}

/// A variable that the kubelet reads from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileVariable {
    pub(super) name: String,
    pub(super) volume: String,
    pub(super) optional: bool,
}

/// What comes before a container's command.
pub(super) struct Wrapper {
    /// What it is to do.
    plan: ExecPlan,
    /// Whether it stays as the parent of the container's own program.
    pub(super) supervises: bool,
}

impl Wrapper {
    /// The variable that holds its plan.
    pub(super) fn variable(&self) -> Value {
        self.plan.to_json().map(|json| json!({ "name": EXEC_VARIABLE, "value": json })).unwrap_or_default()
    }
}

impl FileVariable {
    pub(super) fn value(&self) -> Value {
        let mut key = json!({ "volumeName": self.volume, "path": ENVIRONMENT_FILE, "key": self.name });
        if self.optional {
            key["optional"] = json!(true);
        }
        json!({ "name": self.name, "valueFrom": { "fileKeyRef": key } })
    }
}

/// Every container but ours, in the order of [`containers`], those that are given nothing among them.
pub(super) fn given<'p>(pod: &'p PodView<'p>, asked: &Asked<'_>, findings: &mut Findings) -> Vec<Given<'p>> {
    let mut given: Vec<_> = containers(pod).map(|consumer| of(pod, consumer, asked, findings)).collect();
    let mounts = Mounts::new(pod);
    for given in &mut given {
        if let Some(wrapper) = &mut given.wrapper {
            wrapper.plan.termination_message_bytes = termination_message_bytes(asked.count);
        }
        check_mounts(&mounts, given, asked.settings, findings);
    }
    given
}

fn of<'p>(pod: &'p PodView<'p>, consumer: Consumer<'p>, asked: &Asked<'_>, findings: &mut Findings) -> Given<'p> {
    let Asked { settings, views, reaction, .. } = *asked;
    let has = |view: &&View<'_>| view.consumers.iter().any(|other| other.place == consumer.place);
    let its: Vec<&View<'_>> = views.views.iter().filter(has).collect();
    let reacts = !its.is_empty() && consumer.runs_on();
    let reaction = match reaction {
        Reaction::Wrapper(action) if reacts => {
            refuse_unreadable(consumer.container, findings);
            restart_policy(pod, &consumer, action, findings).map(|policy| (action, policy))
        }
        Reaction::Kubelet if reacts => {
            refuse_unreadable(consumer.container, findings);
            restart_policy(pod, &consumer, OnChange::Restart, findings);
            None
        }
        Reaction::Wrapper(_) | Reaction::Kubelet | Reaction::None => None,
    };
    let mut given = Given { consumer, mounts: Vec::new(), variables: Vec::new(), wrapper: None };
    let mut plan = ExecPlan::default();
    for view in &its {
        let place = match view.family {
            Family::Files => settings.mount_path.as_str(),
            Family::Exec => ENVIRONMENT_DIRECTORY,
            Family::Environment => {
                given.variables = variables(view, settings);
                // Mounted only so that the wrapper sees when it changes.
                if reaction.is_none() {
                    continue;
                }
                ENVIRONMENT_DIRECTORY
            }
        };
        given.mounts.push(json!({ "name": view.volume(), "mountPath": place, "readOnly": true }));
        let Ok(place) = place.parse::<AbsolutePath>() else { continue };
        if view.family == Family::Exec {
            plan.environment = Some(place.clone());
        }
        if reaction.is_some() {
            plan.watch.push(place);
        }
    }
    if let Some((action, policy)) = reaction {
        plan.on_change = Some(action);
        plan.spread = settings.spread;
        plan.restart_policy = policy;
        let elsewhere = consumer.container.termination_message_path.as_ref().map(Text::as_str).filter(|path| *path != TERMINATION_LOG);
        plan.termination_message_path = elsewhere.and_then(|path| path.parse().ok());
    }
    if plan != ExecPlan::default() {
        given.mounts.push(json!({ "name": PROGRAM_VOLUME, "mountPath": PROGRAM_DIRECTORY, "readOnly": true }));
        given.wrapper = Some(Wrapper { plan, supervises: reaction.is_some() });
    }
    given
}

/// Refuses mounts of the container that are in the way of ours.
fn check_mounts(mounts: &Mounts<'_>, given: &Given<'_>, settings: &Settings, findings: &mut Findings) {
    let path = settings.mount_path.as_str();
    if given.mounts.iter().any(|mount| mount["mountPath"] == path) {
        mounts.check(&given.consumer, path, &format!("set {} to a free path", Key::MountPath.annotation()), findings);
    }
    if given.wrapper.is_some() {
        mounts.check(&given.consumer, DIRECTORY, "that place belongs to keyvault-injector; mount it elsewhere", findings);
    }
}

fn variables(view: &View<'_>, settings: &Settings) -> Vec<FileVariable> {
    let variable = |index: &usize| {
        let reference = &settings.files[*index];
        let optional = reference.objects().first().is_some_and(|source| source.object.optional);
        Some(FileVariable { name: reference.variable()?.to_owned(), volume: view.volume(), optional })
    };
    view.files.iter().filter_map(variable).collect()
}

/// `None` is a problem: nobody would start the container again.
fn restart_policy(pod: &PodView<'_>, consumer: &Consumer<'_>, action: OnChange, findings: &mut Findings) -> Option<RestartPolicy> {
    let of_pod = pod.spec.restart_policy.as_ref();
    match consumer.container.restart_policy.as_ref().or(of_pod).map(Text::as_str) {
        Some("OnFailure") => Some(RestartPolicy::OnFailure),
        Some("Never") if action == OnChange::Restart => {
            findings.problem(format!(
                "container {}: {} is restart, and its restartPolicy is Never: nobody would start it again; write signal: with a signal's name, or none",
                consumer.container.name.as_str(),
                Key::OnChange.annotation()
            ));
            None
        }
        _ => Some(RestartPolicy::Always),
    }
}
