//! The contract between the webhook and `keyvault-agent exec`, which starts before a container's program. Holds no secret.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{PLAN_VERSION, PlanError, check_version, is_default, one_line};
use crate::duration::Span;
use crate::names::{AbsolutePath, NameError, serde_text};

/// The environment variable of a wrapped container that carries the [`ExecPlan`].
pub const EXEC_VARIABLE: &str = "KEYVAULT_AGENT_EXEC";

/// What `keyvault-agent exec` does before and beside the program that it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecPlan {
    /// The version of the contract, of which a build knows one.
    pub version: u32,
    /// A directory as the agent writes it: each file's name is a variable's name, its bytes the value. Absent means no variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<AbsolutePath>,
    /// What happens when a watched directory changed; needs `--supervise`. Absent means nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_change: Option<OnChange>,
    /// Directories as the agent writes them, whose `..data` is watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watch: Vec<AbsolutePath>,
    /// A change is acted upon after a random part of this, so that not all replicas meet a bad value at once; absent means at once.
    #[serde(default = "no_time", skip_serializing_if = "is_no_time")]
    pub spread: Span,
    /// How long a program that is restarted may take to end before it is killed; absent means 30 s, as for a pod.
    #[serde(default = "default_grace", skip_serializing_if = "is_default_grace")]
    pub grace: Span,
    /// How long the program runs at least before it is restarted; absent means 10 minutes, after which the kubelet forgets its back-off.
    #[serde(default = "default_apart", skip_serializing_if = "is_default_apart")]
    pub restarts_apart: Span,
    /// Of the container, since it decides with which exit code the kubelet starts it again; absent means Always.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restart_policy: RestartPolicy,
    /// The container's own, where it sets one; absent means Kubernetes' default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination_message_path: Option<AbsolutePath>,
    /// How many bytes of its termination message the kubelet keeps; absent means 4,096.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination_message_bytes: Option<u16>,
}

/// What happens to a running program when its values changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnChange {
    /// It gets a signal.
    Signal(ReloadSignal),
    /// It is ended, and the kubelet starts its container with the new values.
    Restart,
}

/// When the kubelet starts a container again. Under `Never` there is no restart to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Whatever its exit code.
    #[default]
    Always,
    /// If its exit code is not 0.
    OnFailure,
}

/// A signal that programs take for "read your files again".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadSignal {
    /// `SIGHUP`, the usual one.
    Hup,
    /// `SIGINT`.
    Int,
    /// `SIGQUIT`.
    Quit,
    /// `SIGUSR1`.
    Usr1,
    /// `SIGUSR2`.
    Usr2,
    /// `SIGTERM`.
    Term,
    /// `SIGWINCH`.
    Winch,
}

impl ReloadSignal {
    const ALL: [ReloadSignal; 7] = [Self::Hup, Self::Int, Self::Quit, Self::Usr1, Self::Usr2, Self::Term, Self::Winch];

    /// As it is written: `SIGHUP`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ReloadSignal::Hup => "SIGHUP",
            ReloadSignal::Int => "SIGINT",
            ReloadSignal::Quit => "SIGQUIT",
            ReloadSignal::Usr1 => "SIGUSR1",
            ReloadSignal::Usr2 => "SIGUSR2",
            ReloadSignal::Term => "SIGTERM",
            ReloadSignal::Winch => "SIGWINCH",
        }
    }
}

impl FromStr for ReloadSignal {
    type Err = NameError;

    fn from_str(text: &str) -> Result<ReloadSignal, NameError> {
        let found = ReloadSignal::ALL.into_iter().find(|signal| signal.name() == text);
        found.ok_or_else(|| NameError::new("a signal to reload by", text, "one of SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM, SIGWINCH"))
    }
}

impl fmt::Display for ReloadSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
serde_text!(ReloadSignal);

impl Default for ExecPlan {
    /// A wrapper that does nothing yet.
    fn default() -> ExecPlan {
        ExecPlan {
            version: PLAN_VERSION,
            environment: None,
            on_change: None,
            watch: Vec::new(),
            spread: no_time(),
            grace: default_grace(),
            restarts_apart: default_apart(),
            restart_policy: RestartPolicy::Always,
            termination_message_path: None,
            termination_message_bytes: None,
        }
    }
}

impl ExecPlan {
    /// Reads what [`ExecPlan::to_json`] wrote.
    ///
    /// # Errors
    /// [`PlanError::Json`] and [`PlanError::Version`].
    pub fn from_json(text: &str) -> Result<ExecPlan, PlanError> {
        check_version(text)?;
        Ok(serde_json::from_str(text)?)
    }

    /// One line in which every `$` is `\u0024`, as [`super::Plan::to_json`] writes it.
    ///
    /// # Errors
    /// None that these types can cause; the signature is serde's.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        one_line(self)
    }
}

pub(super) const fn no_time() -> Span {
    Span::seconds(0)
}

const fn default_grace() -> Span {
    Span::seconds(30)
}

pub(super) const fn default_apart() -> Span {
    Span::seconds(600)
}

pub(super) fn is_no_time(span: &Span) -> bool {
    *span == no_time()
}

fn is_default_grace(span: &Span) -> bool {
    *span == default_grace()
}

pub(super) fn is_default_apart(span: &Span) -> bool {
    *span == default_apart()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_webhook_writes_survives_a_round_trip_byte_for_byte() {
        for text in [
            r#"{"version":1}"#,
            r#"{"version":1,"environment":"/keyvault-injector/env"}"#,
            r#"{"version":1,"environment":"/env","onChange":{"signal":"SIGHUP"},"watch":["/keyvault"],"spread":"5m"}"#,
            r#"{"version":1,"onChange":"restart","watch":["/a","/b"],"grace":"1m","restartsApart":"1h","restartPolicy":"OnFailure","terminationMessagePath":"/log","terminationMessageBytes":1365}"#,
        ] {
            assert_eq!(ExecPlan::from_json(text).unwrap().to_json().unwrap(), text);
        }
        assert_eq!(ExecPlan::from_json(r#"{"version":1}"#).unwrap(), ExecPlan::default());
    }

    #[test]
    fn the_kubelet_finds_nothing_to_expand() {
        let plan = ExecPlan { environment: Some("/a/$(HOME)".parse().unwrap()), ..ExecPlan::default() };
        assert_eq!(plan.to_json().unwrap(), r#"{"version":1,"environment":"/a/\u0024(HOME)"}"#);
        assert_eq!(ExecPlan::from_json(&plan.to_json().unwrap()).unwrap(), plan);
    }

    #[test]
    fn what_this_build_does_not_know_is_refused() {
        let error = |text: &str| ExecPlan::from_json(text).unwrap_err().to_string();
        assert!(error(r#"{"version":2,"novel":1}"#).starts_with("the plan has version 2, this agent reads version 1"));
        assert!(error(r#"{"version":1,"novel":1}"#).contains("unknown field `novel`"));
        assert!(error(r#"{"version":1,"onChange":{"signal":"SIGKILL"}}"#).contains("\"SIGKILL\" is not a signal to reload by: one of SIGHUP"));
        assert!(error(r#"{"version":1,"onChange":"novel"}"#).contains("unknown variant `novel`"));
        assert!(error(r#"{"version":1,"environment":"env"}"#).contains("\"env\" is not"));
    }
}
