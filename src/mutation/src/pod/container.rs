//! Containers, as far as they are read.

use super::lazy::Lazy;
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
    pub env: Option<Lazy<'a, Vec<EnvVar<'a>>>>,
    /// What it starts; `None` is the image's entry point.
    #[serde(borrow)]
    command: Option<Lazy<'a, Vec<Text<'a>>>>,
    /// What its command is given.
    #[serde(borrow)]
    pub args: Option<Lazy<'a, Vec<Text<'a>>>>,
    /// Its own, where it differs from the pod's; an init container with `Always` is a native sidecar.
    #[serde(borrow)]
    pub restart_policy: Option<Text<'a>>,
    /// Where its last words are read from; absent means `/dev/termination-log`.
    #[serde(borrow)]
    pub termination_message_path: Option<Text<'a>>,
    /// What is run in it to see whether it lives.
    #[serde(borrow)]
    liveness_probe: Option<Lazy<'a, Handler<'a>>>,
    /// What is run in it to see whether it serves.
    #[serde(borrow)]
    readiness_probe: Option<Lazy<'a, Handler<'a>>>,
    /// What is run in it to see whether it has started.
    #[serde(borrow)]
    startup_probe: Option<Lazy<'a, Handler<'a>>>,
    /// What is run in it when it starts and before it ends.
    #[serde(borrow)]
    lifecycle: Option<Lazy<'a, Lifecycle<'a>>>,
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
#[derive(Clone, Debug)]
pub struct Exec<'a> {
    /// Where its command is below the container.
    pub path: &'static [&'static str],
    /// Whether the kubelet replaces `$(NAME)` in it.
    pub is_expanded: bool,
    /// The command.
    pub command: Vec<Text<'a>>,
}

impl<'a> Container<'a> {
    /// The container's own command; `None` is the image's entry point.
    #[must_use]
    pub fn command(&self) -> Option<Vec<Text<'a>>> {
        self.command.as_ref()?.read()
    }

    /// The container's own command first, then those of its probes and hooks; empty commands are left out.
    #[must_use]
    pub fn programs(&self) -> Vec<Exec<'a>> {
        let lifecycle = self.lifecycle.as_ref().and_then(Lazy::read);
        let (post_start, pre_stop) = lifecycle.map(|lifecycle| (lifecycle.post_start, lifecycle.pre_stop)).unwrap_or_default();
        let probe = |probe: &Option<Lazy<'a, Handler<'a>>>| probe.as_ref()?.read();
        let command = |handler: Option<Handler<'a>>| handler?.exec?.command;
        let exec = |path: &'static [&'static str], is_expanded, command: Option<Vec<Text<'a>>>| {
            command.filter(|command| !command.is_empty()).map(|command| Exec { path, is_expanded, command })
        };
        let all = [
            exec(&["command"], true, self.command()),
            exec(&["livenessProbe", "exec", "command"], true, command(probe(&self.liveness_probe))),
            exec(&["readinessProbe", "exec", "command"], true, command(probe(&self.readiness_probe))),
            exec(&["startupProbe", "exec", "command"], true, command(probe(&self.startup_probe))),
            exec(&["lifecycle", "postStart", "exec", "command"], false, command(post_start)),
            exec(&["lifecycle", "preStop", "exec", "command"], false, command(pre_stop)),
        ];
        all.into_iter().flatten().collect()
    }

    /// Whether one of these programs may hold a word. Never no where it does.
    #[must_use]
    pub fn programs_mention(&self, word: &str) -> bool {
        let probes = [&self.liveness_probe, &self.readiness_probe, &self.startup_probe];
        self.command.as_ref().is_some_and(|command| command.mentions(word))
            || probes.into_iter().flatten().any(|probe| probe.mentions(word))
            || self.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.mentions(word))
    }

    /// A field of those that are read late that is not what Kubernetes has there.
    #[must_use]
    pub fn unreadable(&self) -> Option<&'static str> {
        let is_bad = |probe: &Option<Lazy<'a, Handler<'a>>>| probe.as_ref().is_some_and(|probe| probe.read().is_none());
        let is_bad_list = |list: &Option<Lazy<'a, Vec<Text<'a>>>>| list.as_ref().is_some_and(|list| list.read().is_none());
        let fields = [
            ("env", self.env.as_ref().is_some_and(|env| env.read().is_none())),
            ("command", is_bad_list(&self.command)),
            ("args", is_bad_list(&self.args)),
            ("livenessProbe", is_bad(&self.liveness_probe)),
            ("readinessProbe", is_bad(&self.readiness_probe)),
            ("startupProbe", is_bad(&self.startup_probe)),
            ("lifecycle", self.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.read().is_none())),
        ];
        fields.into_iter().find(|(_, is_bad)| *is_bad).map(|(field, _)| field)
    }
}
