//! The pure core: a pod and its defaults in, a patch or a denial out.

use crate::config::Config;
use crate::pod::PodView;

/// The annotations of the pod's Namespace that carry our prefix (keys without the prefix).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceDefaults {
    /// The namespace the pod is created in, from the request.
    pub name: String,
    /// Key without prefix, value.
    pub annotations: Vec<(String, String)>,
}

/// What the pod's ServiceAccount says of its Azure identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceAccountDefaults {
    /// `azure.workload.identity/client-id`.
    pub client_id: Option<String>,
    /// `azure.workload.identity/tenant-id`.
    pub tenant_id: Option<String>,
}

/// What a review ends in when it does not end in a denial.
#[derive(Clone, Debug)]
pub struct Injection {
    /// Explicit operations in a stable order; empty where nothing changes.
    pub patch: json_patch::Patch,
    /// Why the patch is what it is.
    pub outcome: Outcome,
    /// What is allowed but surprising, for the pod's author.
    pub warnings: Vec<String>,
    /// For the audit log: key, value; objects' names, never values.
    pub audit: Vec<(&'static str, String)>,
    /// Problems of the Namespace's own annotations that this pod does not use: a log line and a metric.
    pub namespace_problems: Vec<String>,
    /// What policy would have denied, had its mode been `enforce`: a counter.
    pub policy_findings: usize,
}

/// Why a patch is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The pod asked and was given.
    Injected,
    /// The pod already has everything: a second pass.
    Unchanged,
    /// Nothing under our prefix asks for anything.
    NotAsked,
    /// `inject: "false"`.
    OptedOut,
    /// A mirror pod: the kubelet runs it already.
    Mirror,
}

impl Outcome {
    /// The word for a log line or a metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Injected => "injected",
            Outcome::Unchanged => "unchanged",
            Outcome::NotAsked => "not-asked",
            Outcome::OptedOut => "opted-out",
            Outcome::Mirror => "mirror",
        }
    }
}

/// Why a pod is refused: every problem at once, in words for its author. `Display` is the whole text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("keyvault-injector: {}", problems.join("\n"))]
pub struct Denial {
    /// One line each.
    pub problems: Vec<String>,
    /// Whether a fresh look at the Namespace or ServiceAccount could lift the denial, because it rests on something absent there.
    pub rests_on_absence: bool,
}

/// Decides what happens to a pod.
///
/// # Errors
/// A [`Denial`] where anything that the pod asks for is wrong or forbidden.
pub fn inject(_pod: &PodView<'_>, _namespace: &NamespaceDefaults, _account: &ServiceAccountDefaults, _config: &Config) -> Result<Injection, Denial> {
    Ok(Injection {
        patch: json_patch::Patch(Vec::new()),
        outcome: Outcome::NotAsked,
        warnings: Vec::new(),
        audit: Vec::new(),
        namespace_problems: Vec::new(),
        policy_findings: 0,
    })
}
