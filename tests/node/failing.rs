//! What people read when a pod cannot have its values.

use serde_json::json;

use crate::harness::{CLIENT, Namespace, Node, STAY, TENANT, pod, shell};

/// What becomes of a secret that does not exist.
pub(crate) const MISSING: &str = "not-found demo/missing: Key Vault at demo.vault.azure.net (10.96.0.20) answered 404 SecretNotFound: A secret with (name/id) missing was not found in this key vault. If you recently deleted this secret \
    you may be able to recover it using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182; create it, correct name or version, or mark the reference optional";

const FORBIDDEN: &str = "rbac other/forbidden: Key Vault at other.vault.azure.net (10.96.0.20) refused client CLIENT of tenant TENANT \
    with the ServiceAccount token of issuer ISSUER, subject system:serviceaccount:NAMESPACE:app, audience api://AzureADTokenExchange: 403 Forbidden ForbiddenByRbac: \
    Caller is not authorized to perform action on resource. If role assignments, deny assignments or role definitions were changed recently, please observe propagation time. \
    Caller: appid=CLIENT;oid=CLIENT;iss=https://sts.windows.net/TENANT/ Action: 'Microsoft.KeyVault/vaults/secrets/getSecret/action' Resource: '…; \
    give the identity the role Key Vault Secrets User (for certificates Key Vault Certificate User, for keys Key Vault Reader), or the permission get in the access policy";

const DISABLED: &str = "disabled demo/disabled: Key Vault at demo.vault.azure.net (10.96.0.20) answered 403 Forbidden SecretDisabled: \
    Operation get is not allowed on a disabled secret; enable it in the vault, or name another version";

#[tokio::test]
async fn describe_names_each_object_that_the_vault_refuses() {
    let node = Node::shared().await;
    let namespace = node.namespace().await;
    let asked = [("secrets", "other/forbidden, missing, disabled")];
    namespace.apply(&[pod("refused", &asked, json!({"restartPolicy": "Never", "containers": [shell("app", STAY)]}))]).await;
    namespace.ended("refused", "Failed").await;
    let message = namespace.message("refused", "keyvault-agent").await;
    let forbidden =
        FORBIDDEN.replace("CLIENT", CLIENT).replace("TENANT", TENANT).replace("ISSUER", &node.cluster.url()).replace("NAMESPACE", &namespace.name);
    assert_eq!(message, [&forbidden, MISSING, DISABLED].join("\n"));
    namespace.describes("refused", &message).await;
}

#[tokio::test]
async fn a_vault_that_hangs_is_told_and_the_pod_starts_once_it_answers() {
    let node = Node::shared().await;
    let namespace = node.namespace().await;
    node.emulator.set("hanging", "x").await;
    node.emulator.fault(json!({"plane": "vault", "kind": "delay", "delay_ms": 600_000, "match": "^/secrets/hanging", "count": 1})).await;
    namespace.apply(&[pod("hung", &[("secrets", "hanging"), ("deadline", "8s")], json!({"containers": [shell("app", STAY)]}))]).await;
    let pod = namespace.ready("hung").await;
    // A busy machine may need more than one try once the vault answers.
    assert!(Namespace::container(&pod, "keyvault-agent")["restartCount"].as_u64().unwrap() >= 1);
    let message = namespace.message("hung", "keyvault-agent").await;
    // What was left of the deadline when the question was asked.
    let (before, rest) = message.split_once("did not answer within ").unwrap_or_else(|| panic!("{message}"));
    let seconds = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    assert_eq!(before, "timeout demo/hanging: demo.vault.azure.net (10.96.0.20) ", "{message}");
    assert_eq!(
        seconds, "s (no time for another try before the deadline); check that the pod can reach the address, or raise the deadline",
        "{message}"
    );
    namespace.describes("hung", &message).await;
}

#[tokio::test]
async fn a_vault_that_comes_back_before_the_deadline_costs_no_restart() {
    let node = Node::shared().await;
    let namespace = node.namespace().await;
    node.emulator.set("absent", "x").await;
    node.emulator.fault(json!({"plane": "vault", "kind": "unavailable", "match": "^/secrets/absent", "count": 3})).await;
    namespace.apply(&[pod("patient", &[("secrets", "absent")], json!({"containers": [shell("app", STAY)]}))]).await;
    let pod = namespace.ready("patient").await;
    assert_eq!(Namespace::container(&pod, "keyvault-agent")["restartCount"], 0);
}

#[tokio::test]
async fn a_typo_stops_the_replica_set_and_its_event_says_how_to_go_on() {
    let node = Node::shared().await;
    let namespace = node.namespace().await;
    let template = json!({"metadata": {"labels": {"app": "typo"}, "annotations": {"keyvault-injector.io/secret": "db-password"}}, "spec": {"containers": [shell("app", STAY)]}});
    let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "typo"}, "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "typo"}}, "template": template}});
    namespace.apply(&[set]).await;
    let failed = |set: &serde_json::Value| crate::harness::condition(set, "ReplicaFailure");
    let set = namespace.when("replicaset/typo", "refused", failed).await;
    let denied = "admission webhook \"inject.keyvault-injector.io\" denied the request: keyvault-injector found 1 problem with this pod:\n\
        - annotation keyvault-injector.io/secret is unknown; did you mean keyvault-injector.io/secrets?";
    assert_eq!(set["status"]["conditions"][0]["message"], denied);
}
