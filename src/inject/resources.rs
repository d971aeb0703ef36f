//! What the injected container asks for and may use, so that the pod keeps its quality of service and is neither evicted nor killed.

use super::consumers::containers;
use super::findings::Findings;
use super::settings::Settings;
use super::views::Views;
use crate::annotations::Key;
use crate::config::Resources;
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

/// `copies` says whether the agent leaves a copy of its program.
pub(super) fn of_agent(pod: &PodView<'_>, settings: &Settings, views: &Views<'_>, copies: bool, findings: &mut Findings) -> Resources {
    let files: u64 = views.views.iter().map(|view| volume_mebibytes(view.file_count)).sum();
    let volumes = files + if copies { PROGRAM_MEBIBYTES } else { 0 };
    warn_small_consumers(views, volumes, findings);
    let mut resources = settings.resources.clone();
    if !settings.resources_of_pod && is_best_effort(pod) {
        leave_out(&mut resources, true, true);
    }
    raise_memory(&mut resources, volumes, findings);
    limit_storage(pod, &mut resources, findings);
    check_order(&resources, findings);
    if is_guaranteed(pod) {
        resources.requests = resources.limits.clone();
    }
    leave_to_pod(pod, &mut resources);
    resources
}

/// What the agent writes is charged to its limit, and stays charged to the pod.
fn raise_memory(resources: &mut Resources, volumes: u64, findings: &mut Findings) {
    let needed = Quantity::mebibytes(WORKING_SET + volumes);
    if let Some(limit) = resources.limits.memory.as_ref().filter(|limit| **limit < needed) {
        findings.warning(format!("the injected container's memory limit is {needed} instead of {limit}, because it holds the files that it writes"));
        resources.limits.memory = Some(needed);
    }
}

/// A limit on our container alone would become the limit of the whole pod, which would then be evicted.
fn limit_storage(pod: &PodView<'_>, resources: &mut Resources, findings: &mut Findings) {
    let limits_storage = |container: &Container<'_>| limits(container).is_some_and(|limits| limits.ephemeral_storage.is_some());
    if pod.spec.containers.iter().all(limits_storage) {
        let limit = resources.limits.ephemeral_storage.get_or_insert_with(|| Quantity::mebibytes(LOGS)).clone();
        resources.requests.ephemeral_storage.get_or_insert(limit);
    } else if resources.limits.ephemeral_storage.take().is_some() {
        findings.warning("the injected container gets no ephemeral-storage limit, because not every container of the pod has one and ours would limit the whole pod");
    }
}

fn check_order(resources: &Resources, findings: &mut Findings) {
    for problem in resources.disorder() {
        let key = Key::AgentResources.annotation();
        findings.problem(format!("annotation {key}: with the amounts of Namespace and operator where it is silent, {problem}"));
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
