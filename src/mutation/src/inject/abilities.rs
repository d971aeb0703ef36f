//! What the kubelet of this pod can be relied on for: the operator's word, else what the pod was given before, else what the nodes answer.

use super::delivery::is_ours;
use super::ours::Ours;
use super::reserved::{PROGRAM_VOLUME, REFRESHER};
use crate::config::{Config, Switch};
use crate::nodes::{Answer, NodeAnswers, NodeFeature, Obstacle};
use crate::pod::{Lazy, PodView};

/// One word for each feature.
#[derive(Debug)]
pub(super) struct Abilities<'a> {
    pub(super) env_files: Ability<'a>,
    pub(super) image_volumes: bool,
    pub(super) restart_in_place: Ability<'a>,
}

/// Whether a feature is there, and why not.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ability<'a> {
    Yes,
    /// The operator says no.
    Off(NodeFeature),
    /// The nodes do.
    No(NodeFeature, &'a Obstacle),
}

impl Ability<'_> {
    pub(super) fn is_there(self) -> bool {
        matches!(self, Ability::Yes)
    }

    /// Why it is not there.
    pub(super) fn reason(self) -> String {
        match self {
            Ability::Yes => String::new(),
            Ability::Off(feature) => format!("the operator has set features.{} to off", feature.key()),
            Ability::No(_, obstacle) => obstacle.to_string(),
        }
    }

    /// What would help.
    pub(super) fn remedy(self) -> String {
        match self {
            Ability::Yes => String::new(),
            Ability::Off(feature) => format!("ask the operator to set features.{} to auto", feature.key()),
            Ability::No(feature, obstacle) => obstacle.remedy(feature),
        }
    }
}

/// Settles each feature. Two replicas may see the nodes differently: what one has given, the other does not take away.
pub(super) fn settle<'a>(config: &Config, answers: &'a NodeAnswers, pod: &PodView<'_>, ours: &Ours) -> Abilities<'a> {
    let ability = |feature: NodeFeature, given: &dyn Fn() -> Option<bool>| match config.features.get(feature) {
        Switch::On => Ability::Yes,
        Switch::Off => Ability::Off(feature),
        Switch::Auto => match (given(), answers.get(feature)) {
            (Some(true), _) | (None, Answer::Yes) => Ability::Yes,
            // What was not given counts for image volumes alone, and these have no denial to explain.
            (Some(false), _) => Ability::Off(feature),
            (None, Answer::No(obstacle)) => Ability::No(feature, obstacle),
        },
    };
    Abilities {
        env_files: ability(NodeFeature::EnvFiles, &|| reads_files(pod, ours).then_some(true)),
        image_volumes: ability(NodeFeature::ImageVolumes, &|| mounts_image(ours)).is_there(),
        restart_in_place: ability(NodeFeature::RestartInPlace, &|| restarts_in_place(ours).then_some(true)),
    }
}

/// Whether an earlier pass gave a container variables from a file.
fn reads_files(pod: &PodView<'_>, ours: &Ours) -> bool {
    let lists = pod.spec.containers.iter().chain(pod.init_containers()).filter_map(|container| container.env.as_ref());
    let reads = |variables: Vec<_>| variables.iter().any(is_ours);
    !ours.agents.is_empty() && lists.filter(|env| env.mentions("fileKeyRef")).filter_map(Lazy::read).any(reads)
}

/// Whether an earlier pass mounted the agent's image, if it wrapped a container at all.
fn mounts_image(ours: &Ours) -> Option<bool> {
    let (_, program) = ours.volumes.iter().find(|(_, volume)| volume["name"] == PROGRAM_VOLUME)?;
    Some(program["image"].is_object())
}

/// Whether an earlier pass gave the sidecar the rule that restarts the pod's containers.
fn restarts_in_place(ours: &Ours) -> bool {
    let has_rule = |rule: &serde_json::Value| rule["action"] == "RestartAllContainers";
    let sidecar = ours.agents.iter().find(|(_, container)| container["name"] == REFRESHER);
    sidecar.is_some_and(|(_, sidecar)| sidecar["restartPolicyRules"].as_array().is_some_and(|rules| rules.iter().any(has_rule)))
}
