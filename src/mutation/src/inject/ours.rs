//! What an earlier pass left in a pod: recognised by name and shape, never believed.

use serde_json::Value;

use super::consumers::{Place, containers};
use super::findings::Findings;
use super::image::is_trusted;
use super::reserved::{POD_VOLUME, PRINCIPAL_VOLUME, PROGRAM_VOLUME, TEMPLATES_VOLUME, TOKEN_VOLUME, is_our_container, is_our_volume, is_view};
use crate::annotations::Key;
use crate::config::AgentConfig;
use crate::pod::{Container, EnvVar, Lazy, PodView, Raw, VolumeMount};
use keyvault_common::plan::PLAN_VARIABLE;

/// Everything of ours in a pod as it came in.
#[derive(Debug, Default)]
pub(super) struct Ours {
    /// Positions in `spec.initContainers`, and the containers as they are.
    pub(super) agents: Vec<(usize, Value)>,
    /// Position in `spec.volumes`, and the volume as it is.
    pub(super) volumes: Vec<(usize, Value)>,
    /// Mounts in containers that are not ours.
    pub(super) mounts: Vec<OurMount>,
}

/// A mount of one of our volumes in a container that is not ours.
#[derive(Debug)]
pub(super) struct OurMount {
    pub(super) place: Place,
    /// Position in `volumeMounts`.
    pub(super) index: usize,
    pub(super) value: Value,
}

/// Finds what is ours. An entry with our name that is not of our shape is somebody else's, and a problem.
pub(super) fn find(pod: &PodView<'_>, agent: &AgentConfig, findings: &mut Findings) -> Ours {
    let mut ours = Ours { agents: agents(pod, agent, findings), ..Ours::default() };
    let injected = !ours.agents.is_empty();
    for (index, volume) in pod.spec.volumes.iter().flatten().enumerate() {
        let name = volume.view.name.as_str();
        if !is_our_volume(name) {
            continue;
        }
        match value(volume) {
            Some(value) if injected && is_volume_shape(name, &value) => ours.volumes.push((index, value)),
            _ => findings.problem(format!(
                "the pod has a volume {name}, a name that belongs to keyvault-injector: rename it, or remove it if it is left from a copied pod"
            )),
        }
    }
    for consumer in containers(pod) {
        if !injected {
            foreign_variables(consumer.container, findings);
        }
        for (index, mount) in consumer.container.volume_mounts.iter().flatten().enumerate() {
            let name = mount.view.name.as_str();
            if !is_our_volume(name) {
                continue;
            }
            match value(mount) {
                Some(value) if injected && is_mount_shape(&mount.view) => ours.mounts.push(OurMount { place: consumer.place, index, value }),
                _ => findings.problem(format!(
                    "container {} mounts volume {name}, which belongs to keyvault-injector: remove the mount (containers are given files by {})",
                    consumer.container.name.as_str(),
                    Key::Containers.annotation()
                )),
            }
        }
    }
    ours
}

/// The kubelet reads `fileKeyRef` from a volume that the container need not mount.
fn foreign_variables(container: &Container<'_>, findings: &mut Findings) {
    let variables = container.env.as_ref().filter(|env| env.mentions("fileKeyRef")).and_then(Lazy::read).unwrap_or_default();
    for name in variables.iter().filter_map(EnvVar::volume).filter(|name| is_our_volume(name)) {
        findings.problem(format!(
            "container {} takes a variable from volume {name}, which belongs to keyvault-injector: remove the variable's fileKeyRef",
            container.name.as_str()
        ));
    }
}

fn agents(pod: &PodView<'_>, agent: &AgentConfig, findings: &mut Findings) -> Vec<(usize, Value)> {
    for name in pod.spec.containers.iter().map(|container| container.name.as_str()).filter(|name| is_our_container(name)) {
        findings.problem(format!("the pod has a container {name}, a name that belongs to keyvault-injector: rename the container"));
    }
    let is_ours = |container: &Value| container["image"].as_str().is_some_and(|image| is_trusted(image, agent)) || is_agent_shape(container);
    let mut agents = Vec::new();
    for (index, container) in pod.spec.init_containers.iter().flatten().enumerate() {
        let name = container.view.name.as_str();
        if !is_our_container(name) {
            continue;
        }
        match value(container).filter(is_ours) {
            Some(value) => agents.push((index, value)),
            None => findings.problem(format!(
                "the pod has an init container {name} that keyvault-injector did not make: rename it, or remove it if it is left from a copied pod"
            )),
        }
    }
    agents
}

fn value<T>(entry: &Raw<'_, T>) -> Option<Value> {
    serde_json::from_str(entry.raw.get()).ok()
}

/// Whoever made the image: every field that we set whatever the pod (amounts may all be left to the pod). Their values are overwritten anyway.
fn is_agent_shape(container: &Value) -> bool {
    let security = &container["securityContext"];
    let plan = |variable: &Value| variable["name"] == PLAN_VARIABLE && variable["value"].is_string();
    container["image"].is_string()
        && container["command"][0] == "/keyvault-agent"
        && container["env"].as_array().is_some_and(|variables| variables.iter().any(plan))
        && ["allowPrivilegeEscalation", "readOnlyRootFilesystem", "runAsNonRoot"].iter().all(|field| security[field].is_boolean())
        && security["capabilities"]["drop"].is_array()
        && security["seccompProfile"]["type"].is_string()
        && container["terminationMessagePolicy"].is_string()
        && container["volumeMounts"].is_array()
}

fn is_volume_shape(name: &str, volume: &Value) -> bool {
    let has_one_source = volume.as_object().is_some_and(|fields| fields.values().filter(|field| !field.is_null()).count() == 2);
    has_one_source
        && match name {
            TOKEN_VOLUME => {
                let sources = volume["projected"]["sources"].as_array();
                sources.is_some_and(|sources| sources.len() == 1 && sources[0]["serviceAccountToken"]["path"].is_string())
            }
            POD_VOLUME => volume["downwardAPI"]["items"].is_array(),
            PROGRAM_VOLUME if volume["image"].is_object() => volume["image"]["reference"].is_string(),
            PRINCIPAL_VOLUME => volume["secret"]["secretName"].is_string() && volume["secret"]["items"].is_array(),
            // All keys, under their own names.
            TEMPLATES_VOLUME => volume["configMap"]["name"].is_string() && volume["configMap"]["items"].is_null(),
            _ => volume["emptyDir"]["medium"] == "Memory" && volume["emptyDir"]["sizeLimit"].is_string(),
        }
}

/// What the agent signs in with, what it renders, and what it learns of the pod, is mounted in no container but ours.
fn is_mount_shape(mount: &VolumeMount<'_>) -> bool {
    let name = mount.name.as_str();
    (is_view(name) || name == PROGRAM_VOLUME) && mount.read_only == Some(true) && mount.sub_path.is_none() && mount.sub_path_expr.is_none()
}
