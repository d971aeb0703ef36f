//! Whom the agent signs in as.

use super::ServiceAccountDefaults;
use super::available::{Feature, not_yet};
use super::findings::Findings;
use super::sources::Sources;
use crate::annotations::Key;
use crate::config::{Config, IdentityKind};
use crate::names::Guid;
use crate::plan::{Identity, ManagedIdentitySelector};
use crate::pod::PodView;

/// Where the projected ServiceAccount token is mounted in the agent's container.
pub(super) const TOKEN_DIRECTORY: &str = "/var/run/secrets/keyvault-injector";
/// The token's name there.
pub(super) const TOKEN_PATH: &str = "token";

/// Azure Workload Identity's own annotations of a ServiceAccount.
const ACCOUNT_CLIENT_ID: &str = "azure.workload.identity/client-id";
const ACCOUNT_TENANT_ID: &str = "azure.workload.identity/tenant-id";

pub(super) fn resolve(
    pod: &PodView<'_>,
    sources: &Sources<'_>,
    account: &ServiceAccountDefaults,
    config: &Config,
    findings: &mut Findings,
) -> Option<Identity> {
    let problems = findings.count();
    let kind = sources.get(Key::Identity, findings).unwrap_or(config.defaults.identity);
    if findings.count() > problems {
        // What else is missing depends on the kind that was meant.
        return None;
    }
    match kind {
        IdentityKind::Workload => workload(&Account { pod, sources, account }, config, findings),
        IdentityKind::Managed => {
            refuse_shared(kind, sources, config, findings);
            sources.of_pod::<Guid>(Key::TenantId, findings);
            let client_id = sources.get::<Guid>(Key::ClientId, findings).or_else(|| config.defaults.client_id.clone());
            let endpoint = config.agent.managed_identity_endpoint.clone();
            Some(Identity::ManagedIdentity { select: client_id.map(ManagedIdentitySelector::ClientId), endpoint })
        }
        IdentityKind::Pod => unavailable(kind, Feature::PodIdentity, sources, findings),
        IdentityKind::ServicePrincipal => unavailable(kind, Feature::ServicePrincipal, sources, findings),
    }
}

fn unavailable(kind: IdentityKind, feature: Feature, sources: &Sources<'_>, findings: &mut Findings) -> Option<Identity> {
    for key in [Key::ClientId, Key::TenantId] {
        sources.of_pod::<Guid>(key, findings);
    }
    sources.problem(Key::Identity, &format!("{}: {}", kind.as_str(), not_yet(feature)), findings);
    None
}

fn refuse_shared(kind: IdentityKind, sources: &Sources<'_>, config: &Config, findings: &mut Findings) {
    if !config.policy.allow_shared_identities {
        let text = format!(
            "{}: {}: every pod of a node shares that identity, and the operator does not allow it: use workload-identity, or ask the operator for policy.allowSharedIdentities",
            sources.place(Key::Identity),
            kind.as_str()
        );
        findings.forbidden(&config.policy, text);
    }
}

fn workload(account: &Account<'_>, config: &Config, findings: &mut Findings) -> Option<Identity> {
    let client_id = account.id(Key::ClientId, ACCOUNT_CLIENT_ID, account.account.client_id.as_deref(), config.defaults.client_id.as_ref(), findings);
    let tenant_id = account.id(Key::TenantId, ACCOUNT_TENANT_ID, account.account.tenant_id.as_deref(), config.defaults.tenant_id.as_ref(), findings);
    let token_file = format!("{TOKEN_DIRECTORY}/{TOKEN_PATH}").parse().ok()?;
    Some(Identity::WorkloadIdentity { client_id: client_id?, tenant_id: tenant_id?, token_file, token_proxy: None })
}

/// The sources of a workload identity's ids: pod, ServiceAccount, Namespace, configuration.
struct Account<'a> {
    pod: &'a PodView<'a>,
    sources: &'a Sources<'a>,
    account: &'a ServiceAccountDefaults,
}

impl Account<'_> {
    fn id(&self, key: Key, annotation: &str, of_account: Option<&str>, default: Option<&Guid>, findings: &mut Findings) -> Option<Guid> {
        if self.sources.pod.get(key).is_some() {
            return self.sources.of_pod(key, findings);
        }
        if let Some(text) = of_account {
            return text
                .trim()
                .parse()
                .map_err(|error| findings.absence(format!("annotation {annotation} of ServiceAccount {}: {error}", self.name())))
                .ok();
        }
        let problems = findings.count();
        let id = self.sources.of_namespace(key, findings).or_else(|| default.cloned());
        if id.is_none() && findings.count() == problems {
            self.report_absence(key, annotation, findings);
        }
        id
    }

    fn report_absence(&self, key: Key, annotation: &str, findings: &mut Findings) {
        let found = if self.account.found { "" } else { " (which was not found)" };
        findings.absence(format!(
            "identity workload-identity has no {}: annotate ServiceAccount {}{found} with {annotation}, or set {} on the pod or its Namespace",
            key.name(),
            self.name(),
            key.annotation()
        ));
    }

    fn name(&self) -> String {
        format!("{}/{}", self.sources.namespace_name(), self.pod.service_account_name())
    }
}
