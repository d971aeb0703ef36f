//! What each container of the pod is given beside its files: a wrapper before its command, variables, mounts.

use serde_json::{Value, json};

use super::consumers::{Consumer, Family, containers};
use super::delivery::{ENTRY_POINT, has_command, refuse_unreadable};
use super::findings::Findings;
use super::mounts::Mounts;
use super::planning::termination_message_bytes;
use super::reserved::PROGRAM_VOLUME;
use super::settings::Settings;
use super::views::{View, Views};
use super::wrap::{DIRECTORY, ENVIRONMENT_DIRECTORY, PROGRAM_DIRECTORY};
use crate::annotations::Key;
use crate::names::AbsolutePath;
use crate::plan::{EXEC_VARIABLE, ExecPlan, OnChange, RestartPolicy};
use crate::pod::{PodView, Text};

/// Kubernetes' default, which the API server writes out.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// The file of variables in a view that the kubelet reads.
pub(super) const ENVIRONMENT_FILE: &str = "env";

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

/// What stands before a container's command.
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

/// Every container but ours, in the order of [`containers`], those that are given nothing among them. `count` is how many the pod will have.
pub(super) fn given<'p>(pod: &'p PodView<'p>, settings: &Settings, views: &Views<'_>, count: usize, findings: &mut Findings) -> Vec<Given<'p>> {
    let mut given: Vec<_> = containers(pod).map(|consumer| of(pod, consumer, settings, views, findings)).collect();
    let mounts = Mounts::new(pod);
    for given in &mut given {
        if let Some(wrapper) = &mut given.wrapper {
            wrapper.plan.termination_message_bytes = termination_message_bytes(count);
        }
        check_mounts(&mounts, given, settings, findings);
    }
    given
}

fn of<'p>(pod: &'p PodView<'p>, consumer: Consumer<'p>, settings: &Settings, views: &Views<'_>, findings: &mut Findings) -> Given<'p> {
    let has = |view: &&View<'_>| view.consumers.iter().any(|other| other.place == consumer.place);
    let its: Vec<&View<'_>> = views.views.iter().filter(has).collect();
    let reaction = settings.on_change.filter(|_| !its.is_empty() && consumer.runs_on()).and_then(|action| {
        let policy = restart_policy(pod, &consumer, action, findings)?;
        refuse_unreadable(consumer.container, findings);
        if !has_command(consumer.container) {
            findings.problem(format!(
                "container {}: {}: it has no command that could be wrapped: {ENTRY_POINT}; or name other containers in {}",
                consumer.container.name.as_str(),
                Key::OnChange.annotation(),
                Key::Containers.annotation()
            ));
        }
        Some((action, policy))
    });
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
