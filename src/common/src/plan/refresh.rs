//! How a sidecar keeps files up to date.

use serde::{Deserialize, Serialize};

use super::exec::{default_apart, is_default_apart, is_no_time, no_time};
use crate::duration::Span;
use crate::names::AbsolutePath;

/// The exit code with which a restart for new values is asked of the kubelet: of a container by the wrapper, of the whole pod by the sidecar.
pub const RESTART_EXIT_CODE: u8 = 80;

/// How the files are kept up to date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refresh {
    /// How long after one refresh the next comes, but for jitter.
    pub every: Span,
    /// Where health and metrics are served; absent means nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// A file whose change asks for a refresh at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now_file: Option<AbsolutePath>,
    /// Whether the pod's containers are restarted when files change; absent means no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartAll>,
}

/// When the sidecar ends so that the kubelet restarts all containers of the pod: it has a rule for [`RESTART_EXIT_CODE`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestartAll {
    /// The directories of containers that keep running. A change in any other directory does not trigger a restart.
    pub watch: Vec<AbsolutePath>,
    /// A change is acted upon after a random part of this, so that not all replicas meet a bad value at once; absent means at once.
    #[serde(default = "no_time", skip_serializing_if = "is_no_time")]
    pub spread: Span,
    /// How long after one restart, or the pod's start, the next comes at the earliest; absent means 10 minutes.
    #[serde(default = "default_apart", skip_serializing_if = "is_default_apart")]
    pub restarts_apart: Span,
}

impl RestartAll {
    /// At most every ten minutes.
    #[must_use]
    pub fn new(watch: Vec<AbsolutePath>, spread: Span) -> RestartAll {
        RestartAll { watch, spread, restarts_apart: default_apart() }
    }
}
