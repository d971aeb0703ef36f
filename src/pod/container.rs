//! Containers, as far as they are read.

use super::{EnvVar, Raw, ResourceView, Text};

/// A container or init container.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container<'a> {
    /// Unique in the pod.
    #[serde(borrow, default)]
    pub name: Text<'a>,
    /// What holds for this container.
    pub security_context: Option<ContainerSecurity>,
    /// When its image is pulled.
    #[serde(borrow)]
    pub image_pull_policy: Option<Text<'a>>,
    /// Its amounts.
    pub resources: Option<ResourceView>,
    /// Its variables.
    #[serde(borrow)]
    pub env: Option<Vec<EnvVar<'a>>>,
    /// What it starts; `None` is the image's entry point.
    #[serde(borrow)]
    pub command: Option<Vec<Text<'a>>>,
    /// What its command is given.
    #[serde(borrow)]
    pub args: Option<Vec<Text<'a>>>,
    /// Its own, where it differs from the pod's; an init container with `Always` is a native sidecar.
    #[serde(borrow)]
    pub restart_policy: Option<Text<'a>>,
    /// Where its last words are read from; absent means `/dev/termination-log`.
    #[serde(borrow)]
    pub termination_message_path: Option<Text<'a>>,
    /// What is run in it to see whether it lives.
    #[serde(borrow)]
    liveness_probe: Option<Handler<'a>>,
    /// What is run in it to see whether it serves.
    #[serde(borrow)]
    readiness_probe: Option<Handler<'a>>,
    /// What is run in it to see whether it has started.
    #[serde(borrow)]
    startup_probe: Option<Handler<'a>>,
    /// What is run in it when it starts and before it ends.
    #[serde(borrow)]
    lifecycle: Option<Lifecycle<'a>>,
    /// `None` where there is no list to add to.
    #[serde(borrow)]
    pub volume_mounts: Option<Vec<Raw<'a, VolumeMount<'a>>>>,
}

/// `securityContext` of a container.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerSecurity {
    /// Its UID.
    pub run_as_user: Option<i64>,
}

/// A volume in a container.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount<'a> {
    /// The volume.
    #[serde(borrow, default)]
    pub name: Text<'a>,
    /// Where it appears.
    #[serde(borrow, default)]
    pub mount_path: Text<'a>,
    /// Whether it cannot be written.
    pub read_only: Option<bool>,
    /// A part of the volume.
    #[serde(borrow)]
    pub sub_path: Option<Text<'a>>,
    /// A part of the volume, with variables.
    #[serde(borrow)]
    pub sub_path_expr: Option<Text<'a>>,
}

/// A probe or hook, as far as it runs a program.
#[derive(Debug, serde::Deserialize)]
struct Handler<'a> {
    #[serde(borrow)]
    exec: Option<ExecAction<'a>>,
}

/// `exec` of a probe or hook.
#[derive(Debug, serde::Deserialize)]
struct ExecAction<'a> {
    #[serde(borrow)]
    command: Option<Vec<Text<'a>>>,
}

/// `lifecycle`
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lifecycle<'a> {
    #[serde(borrow)]
    post_start: Option<Handler<'a>>,
    #[serde(borrow)]
    pre_stop: Option<Handler<'a>>,
}

/// A program that a container runs: its own, or that of a probe or hook.
#[derive(Clone, Copy, Debug)]
pub struct Exec<'c> {
    /// Where its command stands below the container.
    pub path: &'static [&'static str],
    /// Whether the kubelet replaces `$(NAME)` in it.
    pub is_expanded: bool,
    /// The command.
    pub command: &'c [Text<'c>],
}

impl<'a> Container<'a> {
    /// The container's own command first, then those of its probes and hooks; empty commands are left out.
    pub fn programs<'c>(&'c self) -> impl Iterator<Item = Exec<'c>>
    where
        'a: 'c,
    {
        let lifecycle = self.lifecycle.as_ref();
        let handlers: [(&'static [&'static str], bool, Option<&'c Handler<'a>>); 5] = [
            (&["livenessProbe", "exec", "command"], true, self.liveness_probe.as_ref()),
            (&["readinessProbe", "exec", "command"], true, self.readiness_probe.as_ref()),
            (&["startupProbe", "exec", "command"], true, self.startup_probe.as_ref()),
            (&["lifecycle", "postStart", "exec", "command"], false, lifecycle.and_then(|lifecycle| lifecycle.post_start.as_ref())),
            (&["lifecycle", "preStop", "exec", "command"], false, lifecycle.and_then(|lifecycle| lifecycle.pre_stop.as_ref())),
        ];
        let own = self.command.as_deref().map(|command| Exec { path: &["command"], is_expanded: true, command });
        let of_handler = |(path, is_expanded, handler): (&'static [&'static str], bool, Option<&'c Handler<'a>>)| {
            let command = handler?.exec.as_ref()?.command.as_deref()?;
            Some(Exec { path, is_expanded, command })
        };
        own.into_iter().chain(handlers.into_iter().filter_map(of_handler)).filter(|exec| !exec.command.is_empty())
    }
}
