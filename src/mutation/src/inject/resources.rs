//! What the injected container asks for and may use, so that the pod keeps its quality of service and is neither evicted nor killed.

use std::collections::HashSet;

use super::consumers::containers;
use super::container::{Role, roles};
use super::findings::Findings;
use super::reserved::REFRESHER;
use super::settings::Settings;
use super::views::Views;
use crate::annotations::Key;
use crate::config::{Amounts, Resources};
use crate::pod::{AmountsView, AnyQuantity, Container, PodView, ResourceView};
use crate::quantity::Quantity;

/// What the agent itself needs, in MiB, beside the files that it writes.
const WORKING_SET: u64 = 16;
/// Ephemeral storage, in MiB, where the pod limits it: room for log lines.
const LOGS: u64 = 16;
/// What a file may be at most, in KiB; a volume holds two generations.
const FILE_KIB: u64 = 64;

/// The size of a memory volume with so many files, in MiB.
pub(super) fn volume_mebibytes(files: usize) -> u64 {
    (2 * FILE_KIB * files as u64).div_ceil(1024).max(1)
}

/// The agent's program is at most 8 MB; whole pages and a directory are beside it.
pub(super) const PROGRAM_MEBIBYTES: u64 = 8;

/// For each of our containers. `copies` says whether the agent leaves a copy of its program.
pub(super) fn of_agents(pod: &PodView<'_>, settings: &Settings, views: &Views<'_>, copies: bool, findings: &mut Findings) -> Vec<(Role, Resources)> {
    let files: u64 = views.views.iter().map(|view| volume_mebibytes(view.file_count)).sum();
    let volumes = files + if copies { PROGRAM_MEBIBYTES } else { 0 };
    warn_small_consumers(views, volumes, findings);
    let needed = Quantity::mebibytes(WORKING_SET + volumes);
    let mut warnings = Vec::new();
    let agents: Vec<_> = roles(pod, settings).iter().map(|role| (*role, of_agent(*role, pod, settings, &needed, &mut warnings))).collect();
    // Two containers of ours have mostly the same to say.
    let mut told = HashSet::new();
    for warning in warnings.into_iter().filter(|warning| told.insert(warning.clone())) {
        findings.warning(warning);
    }
    check_order(&agents, findings);
    agents.into_iter().map(|(role, resources)| (role, fit(role, resources, pod, settings, &needed, findings))).collect()
}

/// What annotations and operator give, as far as it can hold what the agent writes.
fn of_agent(role: Role, pod: &PodView<'_>, settings: &Settings, needed: &Quantity, warnings: &mut Vec<String>) -> Resources {
    let mut resources = match role {
        Role::Fetch => settings.resources.fetch.clone(),
        Role::Sidecar => settings.resources.sidecar.clone(),
    };
    if !settings.resources.of_pod && is_best_effort(pod) {
        leave_out(&mut resources, true, true);
    }
    raise_memory(&mut resources, needed, warnings);
    limit_storage(pod, &mut resources, warnings);
    resources
}

/// Keeps the pod's quality of service, and leaves what the scheduler counts as it is, where that can be.
fn fit(role: Role, mut resources: Resources, pod: &PodView<'_>, settings: &Settings, needed: &Quantity, findings: &mut Findings) -> Resources {
    let is_guaranteed = is_guaranteed(pod);
    if role == Role::Fetch && !settings.resources.of_annotation {
        lower(pod, is_guaranteed, &mut resources, needed);
    }
    if is_guaranteed {
        resources.requests = resources.limits.clone();
    }
    leave_to_pod(pod, &mut resources);
    match role {
        Role::Fetch if is_guaranteed => warn_of_memory(pod, &resources, findings),
        Role::Fetch => {}
        Role::Sidecar => warn_of_sidecar(&resources, findings),
    }
    resources
}

/// An init container has ended before the pod's own containers start: up to what these reserve, it reserves nothing more. A slice of a cpu is
/// enough for it; its memory must hold what it writes.
fn lower(pod: &PodView<'_>, is_guaranteed: bool, resources: &mut Resources, needed: &Quantity) {
    let cpu = reserved(pod, |amounts| amounts.cpu.as_ref());
    let memory = reserved(pod, |amounts| amounts.memory.as_ref()).max(needed.clone());
    let most = Amounts { cpu: Some(cpu), memory: Some(memory), ephemeral_storage: None };
    resources.requests.lower_to(&most);
    if is_guaranteed {
        resources.limits.lower_to(&most);
    }
}

/// A Guaranteed container reserves its whole limit.
fn warn_of_memory(pod: &PodView<'_>, resources: &Resources, findings: &mut Findings) {
    let memory = reserved(pod, |amounts| amounts.memory.as_ref());
    if let Some(limit) = resources.limits.memory.as_ref().filter(|limit| **limit > memory) {
        findings.warning(format!(
            "the injected container reserves {limit} of memory, more than the pod's own containers ({memory}), because it holds the files that it writes"
        ));
    }
}

/// What the main containers request; a limit alone is a request, too.
fn reserved(pod: &PodView<'_>, pick: fn(&AmountsView) -> Option<&AnyQuantity>) -> Quantity {
    let request = |container: &'_ Container<'_>| {
        let ResourceView { requests, limits } = container.resources.as_ref()?;
        let amount = [requests, limits].into_iter().flatten().find_map(pick)?;
        Some(amount.0.clone())
    };
    Quantity::sum(&pod.spec.containers.iter().filter_map(request).collect::<Vec<_>>())
}

fn warn_of_sidecar(resources: &Resources, findings: &mut Findings) {
    let named = [("cpu", &resources.requests.cpu), ("memory", &resources.requests.memory)];
    let amounts: Vec<String> = named.into_iter().filter_map(|(name, amount)| Some(format!("{} {name}", amount.as_ref()?))).collect();
    if !amounts.is_empty() {
        let key = Key::AgentResources.annotation();
        findings.warning(format!("container {REFRESHER} adds {} to what the pod reserves; set {key} for other amounts", amounts.join(" and ")));
    }
}

/// What the agent writes is charged to its limit, and stays charged to the pod.
fn raise_memory(resources: &mut Resources, needed: &Quantity, warnings: &mut Vec<String>) {
    if let Some(limit) = resources.limits.memory.as_ref().filter(|limit| *limit < needed) {
        warnings.push(format!("the injected container's memory limit is {needed} instead of {limit}, because it holds the files that it writes"));
        resources.limits.memory = Some(needed.clone());
    }
}

/// A limit on our container alone would become the limit of the whole pod, which would then be evicted.
fn limit_storage(pod: &PodView<'_>, resources: &mut Resources, warnings: &mut Vec<String>) {
    let limits_storage = |container: &Container<'_>| limits(container).is_some_and(|limits| limits.ephemeral_storage.is_some());
    if pod.spec.containers.iter().all(limits_storage) {
        let limit = resources.limits.ephemeral_storage.get_or_insert_with(|| Quantity::mebibytes(LOGS)).clone();
        resources.requests.ephemeral_storage.get_or_insert(limit);
    } else if resources.limits.ephemeral_storage.take().is_some() {
        let text = "the injected container gets no ephemeral-storage limit, because not every container of the pod has one and ours would limit the whole pod";
        warnings.push(text.to_owned());
    }
}

fn check_order(agents: &[(Role, Resources)], findings: &mut Findings) {
    let mut told = Vec::new();
    for problem in agents.iter().flat_map(|(_, resources)| resources.disorder()) {
        if !told.contains(&problem) {
            let key = Key::AgentResources.annotation();
            findings.problem(format!("annotation {key}: with the amounts of Namespace and operator where it is silent, {problem}"));
            told.push(problem);
        }
    }
}

/// A resource that the pod limits as a whole is left to it: an amount of ours would have to fit into it.
fn leave_to_pod(pod: &PodView<'_>, resources: &mut Resources) {
    let Some(whole) = &pod.spec.resources else { return };
    let sets = |pick: fn(&AmountsView) -> &Option<AnyQuantity>| {
        [&whole.requests, &whole.limits].into_iter().flatten().any(|amounts| pick(amounts).is_some())
    };
    let (cpu, memory) = (sets(|amounts| &amounts.cpu), sets(|amounts| &amounts.memory));
    leave_out(resources, cpu, memory);
}

fn leave_out(resources: &mut Resources, cpu: bool, memory: bool) {
    for amounts in [&mut resources.requests, &mut resources.limits] {
        if cpu {
            amounts.cpu = None;
        }
        if memory {
            amounts.memory = None;
        }
    }
}

/// Whether nothing in the pod but ours asks for cpu or memory: an amount of ours would make it Burstable. Kubernetes counts 0 as nothing.
fn is_best_effort(pod: &PodView<'_>) -> bool {
    let sets = |amounts: &AmountsView| [&amounts.cpu, &amounts.memory].into_iter().flatten().any(|amount| amount.0.units() > 0);
    let asks = |resources: &ResourceView| [&resources.requests, &resources.limits].into_iter().flatten().any(sets);
    let of_containers = containers(pod).filter_map(|consumer| consumer.container.resources.as_ref());
    !of_containers.chain(&pod.spec.resources).any(asks)
}

/// Whether every container but ours limits cpu and memory and requests as much.
fn is_guaranteed(pod: &PodView<'_>) -> bool {
    let exact = |request: Option<&AnyQuantity>, limit: Option<&AnyQuantity>| match (request, limit) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(request), Some(limit)) => request.0 == limit.0,
    };
    containers(pod).all(|consumer| {
        let Some(ResourceView { requests, limits: Some(limits) }) = &consumer.container.resources else { return false };
        let requests = requests.as_ref();
        exact(requests.and_then(|requests| requests.cpu.as_ref()), limits.cpu.as_ref())
            && exact(requests.and_then(|requests| requests.memory.as_ref()), limits.memory.as_ref())
    })
}

fn limits<'c>(container: &'c Container<'_>) -> Option<&'c AmountsView> {
    container.resources.as_ref()?.limits.as_ref()
}

/// The volumes stay charged to the pod, so a container with a small limit has less for itself.
fn warn_small_consumers(views: &Views<'_>, volumes: u64, findings: &mut Findings) {
    for container in views.views.iter().flat_map(|view| &view.consumers).map(|consumer| consumer.container) {
        let Some(limit) = limits(container).and_then(|limits| limits.memory.as_ref()) else { continue };
        if volumes * (1 << 20) * 20 > limit.0.units() {
            findings.warning(format!(
                "container {}: the memory volumes with the secrets ({volumes}Mi at most) count against the pod and are more than 5 % of its memory limit ({}); raise the limit if memory is tight",
                container.name.as_str(),
                limit.0
            ));
        }
    }
}
