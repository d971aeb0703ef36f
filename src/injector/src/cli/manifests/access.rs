//! What the webhook may do in the cluster: read what reviews need, keep its own certificate and registration, report what slipped through.

use super::labels;
use keyvault_mutation::installation::{NAME, REGISTRATION, TLS_SECRET};

/// The ServiceAccount, its roles and their bindings.
pub(super) fn rbac(namespace: &str) -> String {
    [
        account(namespace),
        cluster_role(),
        cluster_binding(namespace),
        role(namespace, TLS_SECRET, &secret_rules()),
        binding(namespace, TLS_SECRET),
        role(namespace, NAME, &lease_rules()),
        binding(namespace, NAME),
    ]
    .join("---\n")
}

fn account(namespace: &str) -> String {
    let labels = labels();
    format!(
        "# What the webhook may do. No Secret outside its own namespace, and nothing that changes a workload.
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {NAME}
  namespace: {namespace}
{labels}
automountServiceAccountToken: false
"
    )
}

fn cluster_role() -> String {
    let labels = labels();
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {NAME}
{labels}
rules:
  # Defaults of reviews, and pods that slipped through.
  - apiGroups: [\"\"]
    resources: [namespaces, serviceaccounts, pods]
    verbs: [get, list, watch]
  # Versions and declared features, as long as anything in `features` of the configuration is auto.
  - apiGroups: [\"\"]
    resources: [nodes]
    verbs: [list, watch]
  - apiGroups: [events.k8s.io]
    resources: [events]
    verbs: [create]
  - apiGroups: [admissionregistration.k8s.io]
    resources: [mutatingwebhookconfigurations]
    resourceNames: [{REGISTRATION}]
    verbs: [get, list, watch]
  # Its caBundle; guard-policy.yaml refuses everything else. The last rule: overlays take it away by its place.
  - apiGroups: [admissionregistration.k8s.io]
    resources: [mutatingwebhookconfigurations]
    resourceNames: [{REGISTRATION}]
    verbs: [patch]
"
    )
}

fn cluster_binding(namespace: &str) -> String {
    let labels = labels();
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {NAME}
{labels}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {NAME}
subjects:
  - kind: ServiceAccount
    name: {NAME}
    namespace: {namespace}
"
    )
}

fn secret_rules() -> String {
    named_rules("CA and certificate, shared by all replicas.", "\"\"", "secrets", TLS_SECRET, "get, list, watch, update")
}

fn lease_rules() -> String {
    named_rules("Which replica writes Events.", "coordination.k8s.io", "leases", NAME, "get, update")
}

/// One object by its name, and its creation, which RBAC cannot tie to a name.
fn named_rules(why: &str, group: &str, resource: &str, name: &str, verbs: &str) -> String {
    format!(
        "  # {why}
  - apiGroups: [{group}]
    resources: [{resource}]
    resourceNames: [{name}]
    verbs: [{verbs}]
  - apiGroups: [{group}]
    resources: [{resource}]
    verbs: [create]
"
    )
}

fn role(namespace: &str, name: &str, rules: &str) -> String {
    let labels = labels();
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {name}
  namespace: {namespace}
{labels}
rules:
{rules}"
    )
}

fn binding(namespace: &str, name: &str) -> String {
    let labels = labels();
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {name}
  namespace: {namespace}
{labels}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {name}
subjects:
  - kind: ServiceAccount
    name: {NAME}
    namespace: {namespace}
"
    )
}
