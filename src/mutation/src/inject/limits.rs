//! What is refused before any of it is read, so that no pod costs a review more than Kubernetes lets it hold.

use super::consumers::containers;
use crate::pod::{MAX_CONTAINERS, PodView};
use keyvault_common::excerpt::excerpt;

/// What Kubernetes lets the annotations of one object hold, keys and values together.
const MAX_ANNOTATIONS: usize = 256 << 10;
/// What Kubernetes lets the name of a container or volume have.
const MAX_NAME: usize = 63;

/// Why the annotations are not read.
pub(super) fn annotations(pod: &PodView<'_>) -> Option<String> {
    const PREFIX: usize = crate::annotations::PREFIX.len();
    let bytes: usize = pod.our_annotations().map(|(name, value)| PREFIX + name.len() + value.len()).sum();
    (bytes > MAX_ANNOTATIONS).then(|| {
        format!("the pod's keyvault-injector.io annotations hold {bytes} bytes, and Kubernetes allows {MAX_ANNOTATIONS} for all annotations of a pod: shorten them")
    })
}

/// Why the containers are not looked at.
pub(super) fn containers_of(pod: &PodView<'_>) -> Option<String> {
    if pod.spec.containers.len() + pod.spec.init_containers.as_ref().map_or(0, Vec::len) > MAX_CONTAINERS {
        return Some(format!("the pod has more than {MAX_CONTAINERS} containers and init containers: divide it into several pods"));
    }
    let names = containers(pod).map(|consumer| consumer.container.name.as_str());
    names.into_iter().find(|name| name.len() > MAX_NAME).map(|name| {
        let shown = excerpt(name, MAX_NAME);
        format!("container {shown}: its name has {} characters, and Kubernetes allows {MAX_NAME}: shorten it", name.chars().count())
    })
}
