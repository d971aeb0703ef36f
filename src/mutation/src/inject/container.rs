//! The injected containers and their volumes, as JSON.

use serde_json::{Map, Value, json};

use super::config_map;
use super::planning::{self, Planned};
use super::reaction::Reaction;
use super::reserved::{AGENT, POD_VOLUME, PROGRAM_VOLUME, REFRESHER};
use super::resources::{PROGRAM_MEBIBYTES, volume_mebibytes};
use super::settings::Settings;
use super::views::Views;
use crate::annotations::Key;
use crate::config::{Amounts, Config, ProxyConfig, Resources};
use crate::pod::PodView;
use keyvault_common::plan::{PLAN_VARIABLE, RESTART_EXIT_CODE};

/// The containers that come before all others: one that fetches and ends, or the sidecar, which gates the next ones by its startup probe.
/// Where a pod is to end, a failing sidecar would leave it waiting for ever: there both, and the sidecar takes over what the first has fetched.
pub(super) fn roles(pod: &PodView<'_>, settings: &Settings) -> &'static [Role] {
    match (settings.refresh, ends(pod)) {
        (None, _) => &[Role::Fetch],
        (Some(_), true) => &[Role::Fetch, Role::Sidecar],
        (Some(_), false) => &[Role::Sidecar],
    }
}

/// Whether the pod is to end, as those of Jobs are.
pub(super) fn ends(pod: &PodView<'_>) -> bool {
    pod.spec.restart_policy.as_ref().is_some_and(|policy| policy.as_str() != "Always")
}

/// What one of our containers is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Fetches and ends.
    Fetch,
    /// Refreshes for as long as the pod runs.
    Sidecar,
}

/// The containers of these roles.
pub(super) fn agents(frame: &Frame<'_>) -> Vec<Value> {
    let container = |(role, resources): &(Role, Resources)| match role {
        Role::Fetch => agent(frame, AGENT, "fetch", resources),
        Role::Sidecar => sidecar(frame, resources),
    };
    frame.agents.iter().map(container).collect()
}

/// What our containers and volumes are made of.
pub(super) struct Frame<'a> {
    pub(super) plan: &'a Planned,
    pub(super) views: &'a Views<'a>,
    pub(super) settings: &'a Settings,
    pub(super) agents: &'a [(Role, Resources)],
    /// Whether a container is wrapped.
    pub(super) wraps: bool,
    /// Whether wrapped containers mount the agent's image.
    pub(super) image_volumes: bool,
    pub(super) reaction: Reaction,
    pub(super) config: &'a Config,
}

impl Frame<'_> {
    /// Whether the agent leaves a copy of its program on a volume.
    fn copies(&self) -> bool {
        self.wraps && !self.image_volumes
    }
}

fn sidecar(frame: &Frame<'_>, resources: &Resources) -> Value {
    let mut container = agent(frame, REFRESHER, "watch", resources);
    container["restartPolicy"] = json!("Always");
    if frame.reaction == Reaction::Kubelet {
        let exit_codes = json!({ "operator": "In", "values": [RESTART_EXIT_CODE] });
        container["restartPolicyRules"] = json!([{ "action": "RestartAllContainers", "exitCodes": exit_codes }]);
    }
    // A container that has fetched before leaves nothing to wait for.
    if frame.agents.iter().all(|(role, _)| *role == Role::Sidecar) {
        // The first fetch ends by its own deadline; the probe only has to outlive it.
        let threshold = frame.settings.deadline.get().as_secs() + PROBE_RESERVE;
        container["startupProbe"] = json!({ "exec": { "command": [PROGRAM, "started"] }, "periodSeconds": 1, "failureThreshold": threshold });
    }
    if let Some(port) = frame.settings.metrics_port {
        container["ports"] = json!([{ "name": "kv-metrics", "containerPort": port, "protocol": "TCP" }]);
    }
    container
}

/// The agent in its image.
const PROGRAM: &str = "/keyvault-agent";
/// Seconds beyond the deadline.
const PROBE_RESERVE: u64 = 30;

fn agent(frame: &Frame<'_>, name: &str, command: &str, resources: &Resources) -> Value {
    let Frame { plan, config, .. } = frame;
    let mut container = json!({ "name": name, "image": config.agent.image });
    if let Some(policy) = &config.agent.image_pull_policy {
        container["imagePullPolicy"] = json!(policy);
    }
    container["command"] = json!([PROGRAM, command]);
    container["env"] = Value::Array(environment(plan, config));
    container["securityContext"] = security_context(frame.views.run_as_user);
    // The API server leaves empty maps out: written here, they would come back as a difference in a second pass.
    let sides = [("requests", amounts(&resources.requests)), ("limits", amounts(&resources.limits))];
    let sides: Map<_, _> =
        sides.into_iter().filter(|(_, amounts)| !amounts.is_empty()).map(|(side, amounts)| (side.to_owned(), Value::Object(amounts))).collect();
    if !sides.is_empty() {
        container["resources"] = Value::Object(sides);
    }
    container["terminationMessagePolicy"] = json!("File");
    container["volumeMounts"] = Value::Array(mounts(frame));
    container
}

/// The agent reads no other variables.
fn environment(plan: &Planned, config: &Config) -> Vec<Value> {
    let mut environment = vec![json!({ "name": PLAN_VARIABLE, "value": plan.json })];
    if let Some(ProxyConfig { https_proxy, no_proxy }) = &config.agent.proxy {
        // The API server leaves empty values out.
        let set = [("HTTPS_PROXY", https_proxy), ("NO_PROXY", no_proxy)].into_iter().filter(|(_, value)| !value.is_empty());
        environment.extend(set.map(|(name, value)| json!({ "name": name, "value": value })));
    }
    environment
}

fn security_context(run_as_user: Option<i64>) -> Value {
    let mut context = json!({ "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true });
    if let Some(uid) = run_as_user {
        context["runAsUser"] = json!(uid);
    }
    context["capabilities"] = json!({ "drop": ["ALL"] });
    context["seccompProfile"] = json!({ "type": "RuntimeDefault" });
    context
}

fn amounts(amounts: &Amounts) -> Map<String, Value> {
    let named = [("cpu", &amounts.cpu), ("memory", &amounts.memory), ("ephemeral-storage", &amounts.ephemeral_storage)];
    let present = named.into_iter().filter_map(|(name, amount)| Some((name.to_owned(), json!(amount.as_ref()?.to_string()))));
    present.collect()
}

fn mounts(frame: &Frame<'_>) -> Vec<Value> {
    let views = frame.plan.directories.iter().map(|(volume, path)| json!({ "name": volume, "mountPath": path }));
    let program = frame.copies().then(|| json!({ "name": PROGRAM_VOLUME, "mountPath": planning::PROGRAM }));
    let pod = frame.settings.refresh.map(|_| json!({ "name": POD_VOLUME, "mountPath": planning::POD, "readOnly": true }));
    let templates = frame.plan.config_map.as_ref().map(|_| config_map::mount());
    // A view is what every agent has.
    let credential = frame.plan.directories.first().map(|(view, _)| frame.plan.credential.mount(view));
    views.chain(program).chain(pod).chain(credential).chain(templates).collect()
}

/// One memory volume for each view, what wrapped containers start, what the sidecar learns, what the agent signs in with, and what it renders.
pub(super) fn volumes(frame: &Frame<'_>) -> Vec<Value> {
    let memory = |name: &str, mebibytes: u64| json!({ "name": name, "emptyDir": { "medium": "Memory", "sizeLimit": format!("{mebibytes}Mi") } });
    let views = frame.views.views.iter().map(|view| memory(&view.volume(), volume_mebibytes(view.file_count)));
    let agent = &frame.config.agent;
    let program = frame.wraps.then(|| {
        if frame.copies() {
            return memory(PROGRAM_VOLUME, PROGRAM_MEBIBYTES);
        }
        let mut image = json!({ "reference": agent.image });
        if let Some(policy) = &agent.image_pull_policy {
            image["pullPolicy"] = json!(policy);
        }
        json!({ "name": PROGRAM_VOLUME, "image": image })
    });
    let pod = frame.settings.refresh.map(|_| {
        let path = format!("metadata.annotations['{}']", Key::RefreshNow.annotation());
        let item = json!({ "path": planning::REFRESH_NOW, "fieldRef": { "fieldPath": path } });
        json!({ "name": POD_VOLUME, "downwardAPI": { "items": [item] } })
    });
    let templates = frame.plan.config_map.as_ref().map(config_map::volume);
    views.chain(program).chain(pod).chain(frame.plan.credential.volume()).chain(templates).collect()
}
