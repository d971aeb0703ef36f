//! The registration: for which pods the API server asks, and which Service.

use super::labels;
use keyvault_mutation::annotations::PREFIX;
use keyvault_mutation::installation::{NAME, OPT_IN, REGISTRATION, REVIEW_PATH, WEBHOOK};

/// The registration, without `caBundle`: the webhook, or cert-manager, fills it in, and `kubectl apply` leaves it alone.
pub(super) fn registration(namespace: &str) -> String {
    let (label, value) = OPT_IN;
    let labels = labels();
    format!(
        "# Only annotated pods, and only those of namespaces that are opted in, wait for the webhook. No caBundle: the webhook keeps it.
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata:
  name: {REGISTRATION}
{labels}
webhooks:
  - name: {WEBHOOK}
    clientConfig:
      service:
        namespace: {namespace}
        name: {NAME}
        path: {REVIEW_PATH}
        port: 443
    namespaceSelector:
      matchLabels:
        {label}: {value}
      matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: NotIn
          values: [kube-system, {namespace}]
    matchConditions:
      - name: annotated
        expression: has(object.metadata.annotations) && object.metadata.annotations.exists(key, key.startsWith(\"{PREFIX}\"))
    rules:
      - apiGroups: [\"\"]
        apiVersions: [v1]
        resources: [pods]
        operations: [CREATE]
        scope: Namespaced
    failurePolicy: Fail
    matchPolicy: Equivalent
    reinvocationPolicy: IfNeeded
    sideEffects: None
    timeoutSeconds: 5
    admissionReviewVersions: [v1]
"
    )
}
