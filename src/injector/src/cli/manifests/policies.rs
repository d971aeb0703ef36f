//! Two ValidatingAdmissionPolicies: what our own ServiceAccount may not do, and what people should know.

use super::labels;
use keyvault_mutation::annotations::{Key, PREFIX};
use keyvault_mutation::installation::{GUARD, NAME, OPT_IN, TLS_SECRET, WARNING};

/// What of an object's metadata people may change and we may not. The rest is the API server's own business.
const METADATA: [&str; 4] = ["labels", "annotations", "ownerReferences", "finalizers"];

/// Everything in a webhook but `clientConfig.caBundle`. A test compares it with what the API server knows.
const WEBHOOK_FIELDS: [&str; 13] = [
    "name",
    "clientConfig.url",
    "clientConfig.service",
    "rules",
    "failurePolicy",
    "matchPolicy",
    "namespaceSelector",
    "objectSelector",
    "sideEffects",
    "timeoutSeconds",
    "admissionReviewVersions",
    "reinvocationPolicy",
    "matchConditions",
];

/// A policy that lets our ServiceAccount change nothing of a registration but `caBundle`, and write no Secret but its own: RBAC cannot tell fields
/// apart, nor bind the creation of an object to a name.
pub(super) fn guard(namespace: &str) -> String {
    let labels = labels();
    let (after, before) = (compared("dyn(object)"), compared("dyn(oldObject)"));
    let policy = format!(
        "# RBAC cannot tell fields apart, nor bind the creation of an object to a name. This lets the webhook's ServiceAccount change caBundle of the
# registration and nothing else of any registration, and write the Secret {TLS_SECRET} and no other: a Secret of the type
# kubernetes.io/service-account-token would be filled with a token that never expires.
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {GUARD}
{labels}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - apiGroups: [admissionregistration.k8s.io]
        apiVersions: [\"*\"]
        resources: [mutatingwebhookconfigurations]
        operations: [CREATE, UPDATE, DELETE]
      - apiGroups: [\"\"]
        apiVersions: [v1]
        resources: [secrets]
        operations: [CREATE, UPDATE]
  matchConditions:
    - name: by-the-webhook
      expression: request.userInfo.username == \"system:serviceaccount:{namespace}:{NAME}\"
  variables:
    - name: registration
      expression: request.resource.resource == \"mutatingwebhookconfigurations\"
    - name: before
      expression: |-
        {before}
    - name: after
      expression: |-
        {after}
  validations:
    - expression: \"!variables.registration || request.operation == 'UPDATE'\"
      message: the webhook itself may neither create nor delete a MutatingWebhookConfiguration
      reason: Forbidden
    - expression: \"!variables.registration || request.operation != 'UPDATE' || variables.before == variables.after\"
      message: the webhook itself may change nothing of a MutatingWebhookConfiguration but caBundle
      reason: Forbidden
    - expression: |-
        variables.registration ||
        (dyn(object).metadata.?name.orValue(\"\") == \"{TLS_SECRET}\" && dyn(object).?type.orValue(\"Opaque\") in [\"Opaque\", \"kubernetes.io/tls\"])
      message: the webhook itself may write no Secret but {TLS_SECRET}, of type Opaque or kubernetes.io/tls
      reason: Forbidden
"
    );
    policy + "---\n" + &binding(GUARD, "Deny")
}

/// All that is compared, as a list in CEL. What is absent is left out, so that it differs from what is empty.
fn compared(object: &str) -> String {
    let metadata = map_of(&METADATA, &format!("{object}.metadata"));
    let webhook = map_of(&WEBHOOK_FIELDS, "webhook");
    format!("[{metadata}] + {object}.?webhooks.orValue([]).map(webhook, {webhook})")
}

fn map_of(paths: &[&str], of: &str) -> String {
    let entries: String = paths.iter().map(|path| format!("\n          ?\"{path}\": {of}.?{},", path.replace('.', ".?"))).collect();
    format!("{{{entries}\n        }}")
}

/// A policy that warns people who annotate pods, or objects that make pods, in a namespace without injection. It never refuses anything.
pub(super) fn warning(namespace: &str) -> String {
    let labels = labels();
    let (label, value) = OPT_IN;
    let opt_out = Key::Inject.annotation();
    let policy = format!(
        "# Warns people who annotate pods, or objects that make pods, in a namespace without injection. It never refuses anything.
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {WARNING}
{labels}
spec:
  failurePolicy: Ignore
  matchConstraints:
    resourceRules:
      - apiGroups: [\"\"]
        apiVersions: [v1]
        resources: [pods]
        operations: [CREATE]
      - apiGroups: [apps]
        apiVersions: [v1]
        resources: [deployments, statefulsets, daemonsets, replicasets]
        operations: [CREATE, UPDATE]
      - apiGroups: [batch]
        apiVersions: [v1]
        resources: [jobs, cronjobs]
        operations: [CREATE, UPDATE]
  # Controllers read no warnings, and whoever wrote the owner has had one.
  matchConditions:
    - name: written-by-people
      expression: \"!object.metadata.?ownerReferences.orValue([]).exists(owner, owner.?controller.orValue(false))\"
  variables:
    - name: pod
      expression: |-
        request.kind.kind == \"Pod\" ? dyn(object) :
        request.kind.kind == \"CronJob\" ? dyn(object).spec.jobTemplate.spec.template : dyn(object).spec.template
    - name: annotations
      expression: variables.pod.?metadata.?annotations.orValue({{}})
    - name: annotated
      expression: |-
        variables.annotations.exists(key, key.startsWith(\"{PREFIX}\")) && variables.annotations[?\"{opt_out}\"].orValue(\"\") != \"false\"
    - name: excluded
      expression: request.namespace in [\"kube-system\", \"{namespace}\"]
  validations:
    - expression: \"!variables.annotated || !variables.excluded\"
      messageExpression: |-
        \"annotations {PREFIX}… have no effect in namespace \" + request.namespace + \": nothing is injected there; use another namespace\"
    - expression: |-
        !variables.annotated || variables.excluded || namespaceObject.metadata.?labels[?\"{label}\"].orValue(\"\") == \"{value}\"
      messageExpression: |-
        \"annotations {PREFIX}… have no effect in namespace \" + request.namespace + \", which is not opted in: kubectl label namespace \" + request.namespace + \" {label}={value}\"
"
    );
    policy + "---\n" + &binding(WARNING, "Warn")
}

fn binding(policy: &str, action: &str) -> String {
    let labels = labels();
    format!(
        "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {policy}
{labels}
spec:
  policyName: {policy}
  validationActions: [{action}]
"
    )
}
