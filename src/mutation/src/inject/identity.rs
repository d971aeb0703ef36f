//! Whom the agent signs in as.

use super::ServiceAccountDefaults;
use super::credential::{self, Credential, TOKEN_PATH};
use super::findings::Findings;
use super::sources::Sources;
use crate::annotations::Key;
use crate::config::{Config, IdentityKind, TokenProxyConfig};
use crate::pod::{IDENTITY_BINDING, POD_IDENTITY_LABEL, PodView, Text};
use crate::texts::{BindingName, ManagedIdentityId, SecretName};
use keyvault_common::names::Guid;
use keyvault_common::plan::{Identity, ManagedIdentitySelector, TokenProxy};

/// Whom the agent signs in as, and what the pod has to carry for it.
#[derive(Debug)]
pub(super) struct SignIn {
    pub(super) identity: Identity,
    pub(super) credential: Credential,
    /// The value of the label that AAD pod identity looks at.
    pub(super) binding: Option<BindingName>,
}

impl SignIn {
    fn new(identity: Identity, credential: Credential) -> SignIn {
        SignIn { identity, credential, binding: None }
    }
}

/// Azure Workload Identity's own annotations of a ServiceAccount.
const ACCOUNT_CLIENT_ID: &str = "azure.workload.identity/client-id";
const ACCOUNT_TENANT_ID: &str = "azure.workload.identity/tenant-id";

pub(super) fn resolve(
    pod: &PodView<'_>,
    sources: &Sources<'_>,
    account: &ServiceAccountDefaults,
    config: &Config,
    findings: &mut Findings,
) -> Option<SignIn> {
    let binding = sources.of_pod::<BindingName>(Key::PodIdentityBinding, findings);
    let secret = sources.of_pod::<SecretName>(Key::ServicePrincipalSecret, findings);
    let named = sources.of_pod::<ManagedIdentityId>(Key::ManagedIdentityId, findings);
    let problems = findings.count();
    let kind = sources.get(Key::Identity, findings).unwrap_or(config.defaults.identity);
    if findings.count() > problems {
        // What else is missing depends on the kind that was meant.
        return None;
    }
    warn_of_idle(kind, sources, findings);
    if kind != IdentityKind::Workload {
        refuse_shared(kind, sources, config, findings);
    }
    match kind {
        IdentityKind::Workload => workload(&Account { pod, sources, account }, config, findings),
        IdentityKind::Managed => {
            sources.of_pod::<Guid>(Key::TenantId, findings);
            let endpoint = config.agent.managed_identity_endpoint.clone();
            let identity = Identity::ManagedIdentity { select: of_the_node(named, sources, config, findings), endpoint };
            Some(SignIn::new(identity, Credential::Node))
        }
        IdentityKind::Pod => pod_identity(binding, pod, sources, config, findings),
        IdentityKind::ServicePrincipal => service_principal(secret, sources, findings),
    }
}

/// Annotations that belong to another kind of identity are most likely an oversight.
fn warn_of_idle(kind: IdentityKind, sources: &Sources<'_>, findings: &mut Findings) {
    let owned = [
        (Key::ManagedIdentityId, IdentityKind::Managed),
        (Key::PodIdentityBinding, IdentityKind::Pod),
        (Key::ServicePrincipalSecret, IdentityKind::ServicePrincipal),
    ];
    for (key, owner) in owned {
        if kind != owner && sources.pod.get(key).is_some() {
            findings.warning(format!(
                "annotation {} is not looked at: it belongs to identity {}, and this pod's is {}",
                key.annotation(),
                owner.as_str(),
                kind.as_str()
            ));
        }
    }
}

fn refuse_shared(kind: IdentityKind, sources: &Sources<'_>, config: &Config, findings: &mut Findings) {
    if !config.policy.allow_shared_identities {
        let text = format!(
            "{}: {}: {}, and the operator does not allow it: use workload-identity, or ask the operator for policy.allowSharedIdentities",
            sources.place(Key::Identity),
            kind.as_str(),
            shared_by(kind)
        );
        findings.forbidden(&config.policy, text);
    }
}

/// Who else can sign in as the same identity.
fn shared_by(kind: IdentityKind) -> &'static str {
    match kind {
        IdentityKind::ServicePrincipal => "every pod of the Namespace can mount that Secret",
        IdentityKind::Pod => "every pod that carries the label shares that identity",
        IdentityKind::Workload | IdentityKind::Managed => "every pod of a node shares that identity",
    }
}

/// Which of the node's identities; `None` is the system-assigned one.
fn of_the_node(named: Option<ManagedIdentityId>, sources: &Sources<'_>, config: &Config, findings: &mut Findings) -> Option<ManagedIdentitySelector> {
    let Some(ManagedIdentityId(selector)) = named else {
        let client_id = sources.get::<Guid>(Key::ClientId, findings).or_else(|| config.defaults.client_id.clone());
        return client_id.map(ManagedIdentitySelector::ClientId);
    };
    if sources.of_pod::<Guid>(Key::ClientId, findings).is_some() {
        let (one, other) = (Key::ClientId.annotation(), Key::ManagedIdentityId.annotation());
        findings.problem(format!("annotation {other}: {one} names an identity, too: keep one of them"));
    }
    Some(selector)
}

/// The pod may have the label already, if its author comes from AAD pod identity.
fn pod_identity(binding: Option<BindingName>, pod: &PodView<'_>, sources: &Sources<'_>, config: &Config, findings: &mut Findings) -> Option<SignIn> {
    let client_id = sources.of_pod::<Guid>(Key::ClientId, findings);
    sources.of_pod::<Guid>(Key::TenantId, findings);
    let label = pod.metadata.labels.as_ref().and_then(|labels| labels.pod_identity_binding.as_ref()).map(Text::as_str);
    let annotation = Key::PodIdentityBinding.annotation();
    match (&binding, label) {
        (Some(BindingName(wanted)), Some(there)) if wanted != there => findings.problem(format!(
            "annotation {annotation}: {wanted:?} is not what the pod's label {POD_IDENTITY_LABEL} says ({there:?}): remove one of them"
        )),
        (None, None | Some("")) if sources.pod.get(Key::PodIdentityBinding).is_none() => {
            sources.problem(Key::Identity, &format!("pod-identity: no binding is named: set {annotation} on the pod"), findings);
        }
        _ => {}
    }
    let identity = Identity::PodIdentity { client_id, endpoint: config.agent.managed_identity_endpoint.clone() };
    Some(SignIn { binding, ..SignIn::new(identity, Credential::Node) })
}

/// The Secret names client and tenant; annotations that name others would be passed over without a word.
fn service_principal(secret: Option<SecretName>, sources: &Sources<'_>, findings: &mut Findings) -> Option<SignIn> {
    for key in [Key::ClientId, Key::TenantId] {
        if sources.of_pod::<Guid>(key, findings).is_some() {
            findings.warning(format!(
                "annotation {} is not looked at: a service principal's {} comes from the Secret's key {}",
                key.annotation(),
                key.name(),
                key.name()
            ));
        }
    }
    if sources.pod.get(Key::ServicePrincipalSecret).is_none() {
        let problem = format!("service-principal: no Secret is named: set {} on the pod", Key::ServicePrincipalSecret.annotation());
        sources.problem(Key::Identity, &problem, findings);
    }
    let secret = secret?;
    let identity = Identity::ServicePrincipal { directory: credential::DIRECTORY.parse().ok()?, secret: Some(secret.0.clone()) };
    Some(SignIn::new(identity, Credential::Secret(secret)))
}

fn workload(account: &Account<'_>, config: &Config, findings: &mut Findings) -> Option<SignIn> {
    let client_id = account.id(Key::ClientId, ACCOUNT_CLIENT_ID, account.account.client_id.as_deref(), config.defaults.client_id.as_ref(), findings);
    let tenant_id = account.id(Key::TenantId, ACCOUNT_TENANT_ID, account.account.tenant_id.as_deref(), config.defaults.tenant_id.as_ref(), findings);
    let token_file = format!("{}/{TOKEN_PATH}", credential::DIRECTORY).parse().ok()?;
    let binding = account.pod.metadata.annotations.as_ref().is_some_and(|annotations| annotations.identity_binding);
    let proxy = config.agent.token_proxy.as_ref().filter(|_| binding);
    if binding && proxy.is_none() {
        findings.problem(format!(
            "annotation {IDENTITY_BINDING}: the operator's configuration names no token proxy for identity bindings: ask the operator for agent.tokenProxy, or remove the annotation"
        ));
    }
    let audience = proxy.map_or(&config.cloud.federation_audience, |proxy| &proxy.audience).clone();
    let token_proxy =
        proxy.map(|TokenProxyConfig { url, sni_name, ca, .. }| TokenProxy { url: url.clone(), sni_name: sni_name.clone(), ca: ca.clone() });
    let identity = Identity::WorkloadIdentity { client_id: client_id?, tenant_id: tenant_id?, token_file, token_proxy };
    Some(SignIn::new(identity, Credential::Token(audience)))
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
        let (account, found) = (self.name(), if self.account.found { "" } else { " (which was not found)" });
        let fix = match self.pod.service_account_name() {
            "default" => format!(
                "the pod runs as ServiceAccount {account}, because it names no other: set serviceAccountName to the one that carries {annotation}"
            ),
            _ => format!("annotate ServiceAccount {account}{found} with {annotation}"),
        };
        let (id, annotation) = (key.name(), key.annotation());
        findings.absence(format!("identity workload-identity has no {id}: {fix}, or set {annotation} on the pod or its Namespace"));
    }

    fn name(&self) -> String {
        format!("{}/{}", self.sources.namespace_name(), self.pod.service_account_name())
    }
}
