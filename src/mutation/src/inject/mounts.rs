//! Where a container mounts its own volumes, beside the places where ours are to appear.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::consumers::Consumer;
use super::findings::Findings;
use super::reserved::is_our_volume;
use crate::pod::{PodView, VolumeMount};

/// The sources of a volume that the kubelet mounts read-only, whatever the mount says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadOnlySources {
    config_map: Option<IgnoredAny>,
    secret: Option<IgnoredAny>,
    #[serde(rename = "downwardAPI")]
    downward_api: Option<IgnoredAny>,
    projected: Option<IgnoredAny>,
    image: Option<IgnoredAny>,
}

/// What the mounts of a pod's containers lead to.
pub(super) struct Mounts<'p> {
    pod: &'p PodView<'p>,
    /// Whether each volume is read-only. Few pods ask.
    volumes: OnceCell<HashMap<&'p str, bool>>,
}

impl<'p> Mounts<'p> {
    pub(super) fn new(pod: &'p PodView<'p>) -> Mounts<'p> {
        Mounts { pod, volumes: OnceCell::new() }
    }

    fn is_read_only(&self, volume: &str) -> bool {
        let volumes = self.volumes.get_or_init(|| {
            let all = self.pod.spec.volumes.iter().flatten();
            all.map(|volume| (volume.view.name.as_str(), is_read_only(volume.raw.get()))).collect()
        });
        volumes.get(volume).copied().unwrap_or(false)
    }

    /// Refuses a mount at or below `path`, and one that leaves the container runtime no way to make `path`.
    pub(super) fn check(&self, consumer: &Consumer<'_>, path: &str, remedy: &str, findings: &mut Findings) {
        let name = consumer.container.name.as_str();
        let mounts = consumer.container.volume_mounts.iter().flatten().map(|mount| &mount.view);
        let placed: Vec<(Cow<'_, str>, &VolumeMount<'_>)> =
            mounts.filter(|mount| !is_our_volume(mount.name.as_str())).map(|mount| (normal(mount.mount_path.as_str()), mount)).collect();
        for (used, mount) in placed.iter().filter(|(used, _)| is_within(used, path)) {
            let volume = mount.name.as_str();
            findings.problem(|| format!("container {name} already mounts volume {volume} at {used}, where the secrets would appear: {remedy}"));
        }
        let above = placed.iter().filter(|(used, _)| *used != path && is_within(path, used)).max_by_key(|(used, _)| used.len());
        if let Some((used, mount)) = above.filter(|(_, mount)| mount.read_only == Some(true) || self.is_read_only(mount.name.as_str())) {
            let volume = mount.name.as_str();
            findings.problem(|| {
                format!("container {name} mounts volume {volume} at {used} read-only, where no directory can be made for {path}: {remedy}")
            });
        }
    }
}

fn is_read_only(volume: &str) -> bool {
    let Ok(sources) = serde_json::from_str::<ReadOnlySources>(volume) else { return false };
    let ReadOnlySources { config_map, secret, downward_api, projected, image } = sources;
    [config_map, secret, downward_api, projected, image].iter().any(Option::is_some)
}

fn is_within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || outer.ends_with('/'))
}

/// A path as the container runtime reads it. A mount path may be relative, to the root.
fn normal(path: &str) -> Cow<'_, str> {
    if path.strip_prefix('/').is_some_and(|parts| parts.split('/').all(|part| !matches!(part, "" | "." | ".."))) {
        return Cow::Borrowed(path);
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Cow::Owned(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::consumers::containers;

    /// The problems of a container with one mount: its path, its other fields, and the source of its volume.
    fn problems(path: &str, mount: &str, source: &str) -> Vec<String> {
        let text = format!(
            r#"{{"spec":{{"volumes":[{{"name":"data",{source}}}],"containers":[{{"name":"app","volumeMounts":[{{"name":"data","mountPath":"{path}"{mount}}}]}}]}}}}"#
        );
        let pod: PodView<'_> = serde_json::from_str(&text).unwrap();
        let mut findings = Findings::default();
        for consumer in containers(&pod) {
            Mounts::new(&pod).check(&consumer, "/keyvault/app", "mount it elsewhere", &mut findings);
        }
        findings.deny().map(|denial| denial.problems).unwrap_or_default()
    }

    #[test]
    fn a_place_is_the_same_however_it_is_spelt() {
        for path in
            ["/keyvault/app", "/keyvault/app/", "//keyvault/app", "/x/../keyvault/./app", "keyvault/app", "/../keyvault/app", "/keyvault/app/x/.."]
        {
            let expected = "container app already mounts volume data at /keyvault/app, where the secrets would appear: mount it elsewhere";
            assert_eq!(problems(path, "", r#""emptyDir":{}"#), [expected], "{path}");
        }
        assert_eq!(
            problems("/keyvault/app/x", "", r#""emptyDir":{}"#),
            ["container app already mounts volume data at /keyvault/app/x, where the secrets would appear: mount it elsewhere"]
        );
        for path in ["/keyvault/application", "/keyvault/app/../x", "/keyvault", "/", "/data"] {
            assert_eq!(problems(path, "", r#""emptyDir":{}"#), [""; 0], "{path}");
        }
    }

    #[test]
    fn nothing_is_mounted_below_what_cannot_be_written() {
        let expected =
            "container app mounts volume data at /keyvault read-only, where no directory can be made for /keyvault/app: mount it elsewhere";
        assert_eq!(problems("/keyvault/", r#","readOnly":true"#, r#""emptyDir":{}"#), [expected]);
        for source in
            [r#""configMap":{"name":"x"}"#, r#""secret":{"secretName":"x"}"#, r#""projected":{"sources":[]}"#, r#""image":{"reference":"x"}"#]
        {
            assert_eq!(problems("/keyvault", "", source), [expected], "{source}");
        }
        assert_eq!(problems("/keyvaul", r#","readOnly":true"#, r#""emptyDir":{}"#), [""; 0]);
    }

    #[test]
    fn the_nearest_mount_above_decides() {
        let text = r#"{"spec":{"containers":[{"name":"app","volumeMounts":[
            {"name":"a","mountPath":"/keyvault","readOnly":false},{"name":"b","mountPath":"/","readOnly":true}]}]}}"#;
        let pod: PodView<'_> = serde_json::from_str(text).unwrap();
        let mut findings = Findings::default();
        containers(&pod).for_each(|consumer| Mounts::new(&pod).check(&consumer, "/keyvault/app", "mount it elsewhere", &mut findings));
        assert_eq!(findings.deny(), None);
    }
}
