//! The pod's own containers, and in which ways they can be given something.

use super::reserved::is_our_container;
use crate::pod::{Container, PodView};

/// What a view is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Files below the mount path.
    Files,
    /// Variables that the wrapper sets: a file each.
    Exec,
    /// Variables that the kubelet reads: one file.
    Environment,
}

/// A container that is given something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Consumer<'p> {
    pub(super) place: Place,
    pub(super) container: &'p Container<'p>,
}

impl Consumer<'_> {
    /// Whether it runs beside the others, and so can learn of new values: an init container has ended by then.
    pub(super) fn runs_on(&self) -> bool {
        matches!(self.place, Place::Main(_)) || self.is_sidecar()
    }

    fn is_sidecar(&self) -> bool {
        matches!(self.place, Place::Init(_)) && self.container.restart_policy.as_ref().is_some_and(|policy| policy.as_str() == "Always")
    }
}

/// Where a container is in the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// Position in `spec.containers`.
    Main(usize),
    /// Position in `spec.initContainers`, as the pod came in.
    Init(usize),
}

/// Every container but ours, main containers first.
pub(super) fn containers<'p>(pod: &'p PodView<'p>) -> impl Iterator<Item = Consumer<'p>> {
    let main = pod.spec.containers.iter().enumerate().map(|(index, container)| Consumer { place: Place::Main(index), container });
    let init = pod.init_containers().enumerate().map(|(index, container)| Consumer { place: Place::Init(index), container });
    main.chain(init).filter(|consumer| !is_our_container(consumer.container.name.as_str()))
}
