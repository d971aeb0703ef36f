//! `kubectl apply -k manifests/base`: what is there then, what our ServiceAccount may do, and what people are told.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::cluster::{Cluster, Injector, OPTED_IN, Output, Setup, until};

pub(crate) const NAME: &str = "keyvault-injector";
pub(crate) const REGISTRATION: &str = "zz-keyvault-injector";
const ACCOUNT: &str = "system:serviceaccount:keyvault-injector:keyvault-injector";
const GUARDED: &str = "the webhook itself may change nothing of a MutatingWebhookConfiguration but caBundle";

/// A folder of `manifests`.
pub(crate) fn manifests(name: &str) -> String {
    format!("{}/manifests/{name}", keyvault_tests::REPOSITORY)
}

/// Our namespace and ServiceAccount with the rights of the base and nothing else of it; gives back a token.
pub(crate) async fn rights(cluster: &Cluster) -> String {
    cluster.kubectl(&["create", "namespace", NAME]).await.ok();
    cluster.kubectl(&["apply", "-f", &manifests("base/rbac.yaml")]).await.ok();
    until("default ServiceAccount", async || cluster.kubectl(&["-n", NAME, "get", "serviceaccount", "default"]).await.success.then_some(())).await;
    cluster.kubectl(&["-n", NAME, "create", "token", NAME]).await.ok().trim().to_owned()
}

/// A cluster with the base in it, for the tests of this file.
async fn installed() -> &'static Cluster {
    static INSTALLED: OnceCell<Cluster> = OnceCell::const_new();
    let install = async || {
        let cluster = Cluster::own().await;
        cluster.kubectl(&["apply", "-k", &manifests("base")]).await.ok();
        let registered = object(&cluster, "mutatingwebhookconfiguration", REGISTRATION).await;
        assert_eq!(registered["webhooks"][0]["clientConfig"].get("caBundle"), None, "{registered:#}");
        policies_hold(&cluster).await;
        cluster
    };
    INSTALLED.get_or_init(install).await
}

/// Waits until the API server follows both policies, which it does a moment after it has stored them.
async fn policies_hold(cluster: &Cluster) {
    let refused = async || patch_as_us(cluster, &json!([{"op": "replace", "path": "/webhooks/0/timeoutSeconds", "value": 4}]), true).await;
    until("guard", async || refused().await.stderr.contains(GUARDED).then_some(())).await;
    until("warning policy", async || dry_run(cluster, "default", &pod(asking())).await.stderr.contains("Warning").then_some(())).await;
}

pub(crate) async fn object(cluster: &Cluster, kind: &str, name: &str) -> Value {
    serde_json::from_str(&cluster.kubectl(&["-n", NAME, "get", kind, name, "-o", "json"]).await.ok()).unwrap()
}

/// Waits until the controllers have made the Deployment's pods, which Pod Security has then let through.
pub(crate) async fn pods_of_the_deployment(cluster: &Cluster) -> Vec<Value> {
    let pods = async || {
        let label = "app.kubernetes.io/name=keyvault-injector";
        let list: Value = serde_json::from_str(&cluster.kubectl(&["-n", NAME, "get", "pods", "-l", label, "-o", "json"]).await.ok()).unwrap();
        let pods = list["items"].as_array().unwrap().clone();
        (pods.len() == 2).then_some(pods)
    };
    until("two pods of the webhook", pods).await
}

#[tokio::test]
async fn the_base_installs_with_pods_that_restricted_admits() {
    let cluster = installed().await;
    let pods = pods_of_the_deployment(cluster).await;
    assert_eq!(pods[0]["spec"]["priority"], 2_000_000_000, "the built-in class may be used outside kube-system");
    let namespace = object(cluster, "namespace", NAME).await;
    let labels = &namespace["metadata"]["labels"];
    assert_eq!((&labels["pod-security.kubernetes.io/enforce"], labels.get(OPTED_IN.0)), (&json!("restricted"), None));
    let webhook = &object(cluster, "mutatingwebhookconfiguration", REGISTRATION).await["webhooks"][0];
    let expected = json!({"namespace": NAME, "name": NAME, "path": "/mutate", "port": 443});
    assert_eq!(webhook["clientConfig"]["service"], expected);
    let answers = ["failurePolicy", "sideEffects", "reinvocationPolicy", "matchPolicy"].map(|field| webhook[field].as_str().unwrap());
    assert_eq!(answers, ["Fail", "None", "IfNeeded", "Equivalent"]);
    assert_eq!(webhook["timeoutSeconds"], 5);
    assert_eq!(object(cluster, "pdb", NAME).await["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow");
    let service = &object(cluster, "service", NAME).await["spec"]["ports"][0];
    assert_eq!((&service["port"], &service["targetPort"]), (&json!(443), &json!("webhook")));
}

#[tokio::test]
async fn what_the_command_prints_for_another_namespace_is_accepted_too() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("elsewhere", &[]).await;
    let arguments = ["manifests", "--namespace", &namespace, "--image", "registry.example/other@sha256:00"];
    let printed = std::process::Command::new(keyvault_tests::program("keyvault-injector")).args(arguments).output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    cluster.kubectl_with(&["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"], &printed).await.ok();
}

// === what our ServiceAccount may do ===

/// Verb, API group, resource, namespace (empty: none, or all of them), name.
type Access = (&'static str, &'static str, &'static str, &'static str, &'static str);

const REGISTRATIONS: (&str, &str) = ("admissionregistration.k8s.io", "mutatingwebhookconfigurations");

#[rustfmt::skip] // a table
const ALLOWED: [Access; 19] = [
    ("list", "", "namespaces", "", ""), ("watch", "", "namespaces", "", ""), ("get", "", "namespaces", "", "payments"),
    ("list", "", "serviceaccounts", "", ""), ("watch", "", "serviceaccounts", "", ""), ("get", "", "serviceaccounts", "payments", "web"),
    ("list", "", "pods", "", ""), ("watch", "", "pods", "", ""), ("get", "", "pods", "payments", "web"),
    ("get", REGISTRATIONS.0, REGISTRATIONS.1, "", REGISTRATION), ("watch", REGISTRATIONS.0, REGISTRATIONS.1, "", REGISTRATION),
    ("patch", REGISTRATIONS.0, REGISTRATIONS.1, "", REGISTRATION),
    ("get", "", "secrets", NAME, "keyvault-injector-tls"), ("watch", "", "secrets", NAME, "keyvault-injector-tls"),
    ("update", "", "secrets", NAME, "keyvault-injector-tls"), ("create", "", "secrets", NAME, ""),
    ("update", "coordination.k8s.io", "leases", NAME, NAME), ("create", "coordination.k8s.io", "leases", NAME, ""),
    ("create", "events.k8s.io", "events", "payments", ""),
];

#[rustfmt::skip] // a table
const FORBIDDEN: [Access; 22] = [
    ("get", "", "secrets", "payments", "db"), ("list", "", "secrets", "", ""), ("list", "", "secrets", NAME, ""), ("watch", "", "secrets", "", ""),
    ("get", "", "secrets", NAME, "another"), ("create", "", "secrets", "payments", ""), ("delete", "", "secrets", NAME, "keyvault-injector-tls"),
    ("get", "", "configmaps", "payments", "web"), ("create", "", "serviceaccounts/token", "payments", "web"), ("create", "", "pods", "payments", ""),
    ("create", "", "pods/exec", "payments", "web"), ("delete", "", "pods", "payments", "web"), ("patch", "", "namespaces", "", "payments"),
    ("update", REGISTRATIONS.0, REGISTRATIONS.1, "", REGISTRATION), ("delete", REGISTRATIONS.0, REGISTRATIONS.1, "", REGISTRATION),
    ("create", REGISTRATIONS.0, REGISTRATIONS.1, "", ""), ("patch", REGISTRATIONS.0, REGISTRATIONS.1, "", "another"),
    ("list", REGISTRATIONS.0, REGISTRATIONS.1, "", ""), ("get", REGISTRATIONS.0, "validatingadmissionpolicies", "", "keyvault-injector-guard"),
    ("patch", "rbac.authorization.k8s.io", "clusterroles", "", NAME), ("update", "coordination.k8s.io", "leases", "kube-system", NAME),
    ("patch", "apps", "deployments", NAME, NAME),
];

pub(crate) async fn may_we(cluster: &Cluster, (verb, group, resource, namespace, name): Access) -> bool {
    let (resource, subresource) = resource.split_once('/').map_or((resource, None), |(resource, sub)| (resource, Some(sub.to_owned())));
    let attributes = ResourceAttributes {
        verb: Some(verb.into()),
        group: Some(group.into()),
        resource: Some(resource.into()),
        subresource,
        namespace: Some(namespace.into()),
        name: Some(name.into()),
        ..ResourceAttributes::default()
    };
    let groups = ["system:serviceaccounts", "system:serviceaccounts:keyvault-injector", "system:authenticated"].map(str::to_owned).to_vec();
    let spec =
        SubjectAccessReviewSpec { user: Some(ACCOUNT.into()), groups: Some(groups), resource_attributes: Some(attributes), ..Default::default() };
    let reviews: Api<SubjectAccessReview> = Api::all(cluster.client().await);
    let review = reviews.create(&PostParams::default(), &SubjectAccessReview { spec, ..Default::default() }).await.unwrap();
    review.status.unwrap().allowed
}

#[tokio::test]
async fn our_service_account_may_do_what_it_needs_and_nothing_else() {
    let cluster = installed().await;
    for access in ALLOWED {
        assert!(may_we(cluster, access).await, "{access:?} is needed");
    }
    for access in FORBIDDEN {
        assert!(!may_we(cluster, access).await, "{access:?} is too much");
    }
}

/// A patch of the registration by our ServiceAccount.
async fn patch_as_us(cluster: &Cluster, patch: &Value, dry_run: bool) -> Output {
    let (patch, dry_run) = (patch.to_string(), format!("--dry-run={}", if dry_run { "server" } else { "none" }));
    cluster.kubectl(&["--as", ACCOUNT, "patch", "mutatingwebhookconfiguration", REGISTRATION, "--type=json", "-p", &patch, &dry_run]).await
}

/// A change for every field of a webhook in the API server's own schema, and for what people write in its metadata.
async fn changes(cluster: &Cluster) -> Vec<Value> {
    let schema: Value =
        serde_json::from_str(&cluster.kubectl(&["get", "--raw", "/openapi/v3/apis/admissionregistration.k8s.io/v1"]).await.ok()).unwrap();
    let fields = |name: &str| {
        let properties = &schema["components"]["schemas"][format!("io.k8s.api.admissionregistration.v1.{name}")]["properties"];
        properties.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "b"}]);
    let mut changes = vec![
        json!({"op": "add", "path": "/metadata/labels/a", "value": "b"}),
        json!({"op": "remove", "path": "/metadata/labels"}),
        json!({"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}}),
        json!({"op": "add", "path": "/metadata/ownerReferences", "value": owner}),
        json!({"op": "add", "path": "/metadata/finalizers", "value": ["a.example/b"]}),
        json!({"op": "remove", "path": "/webhooks"}),
        json!({"op": "copy", "from": "/webhooks/0", "path": "/webhooks/1"}),
    ];
    for field in fields("MutatingWebhook") {
        let (path, value) = match field.as_str() {
            "clientConfig" => continue,
            "rules" => ("rules/0/operations", json!(["CREATE", "UPDATE"])),
            "name" => ("name", json!("other.keyvault-injector.io")),
            "failurePolicy" => ("failurePolicy", json!("Ignore")),
            "matchPolicy" => ("matchPolicy", json!("Exact")),
            "namespaceSelector" => ("namespaceSelector", json!({})),
            "objectSelector" => ("objectSelector", json!({"matchLabels": {"a": "b"}})),
            "sideEffects" => ("sideEffects", json!("NoneOnDryRun")),
            "timeoutSeconds" => ("timeoutSeconds", json!(6)),
            "admissionReviewVersions" => ("admissionReviewVersions", json!(["v1", "v1beta1"])),
            "reinvocationPolicy" => ("reinvocationPolicy", json!("Never")),
            "matchConditions" => ("matchConditions", json!([])),
            new => panic!("Kubernetes has a new field of webhooks, {new}: the guard must compare it"),
        };
        changes.push(json!({"op": "replace", "path": format!("/webhooks/0/{path}"), "value": value}));
    }
    for field in fields("WebhookClientConfig") {
        changes.push(match field.as_str() {
            "caBundle" => continue,
            "service" => json!({"op": "replace", "path": "/webhooks/0/clientConfig/service/path", "value": "/other"}),
            "url" => json!({"op": "replace", "path": "/webhooks/0/clientConfig", "value": {"url": "https://elsewhere.example/mutate"}}),
            new => panic!("Kubernetes has a new field of clientConfig, {new}: the guard must compare it"),
        });
    }
    changes
}

#[tokio::test]
async fn our_service_account_changes_nothing_of_the_registration_but_ca_bundle() {
    let cluster = installed().await;
    for change in changes(cluster).await {
        // Two webhooks of one name are refused for that alone.
        let patch = if change["op"] == "copy" {
            json!([change, {"op": "replace", "path": "/webhooks/1/name", "value": "b.keyvault-injector.io"}])
        } else {
            json!([change])
        };
        let by_an_administrator =
            ["patch", "mutatingwebhookconfiguration", REGISTRATION, "--type=json", "-p", &patch.to_string(), "--dry-run=server"].map(str::to_owned);
        let by_an_administrator: Vec<&str> = by_an_administrator.iter().map(String::as_str).collect();
        cluster.kubectl(&by_an_administrator).await.ok();
        let refused = patch_as_us(cluster, &patch, true).await;
        assert!(!refused.success && refused.stderr.contains(GUARDED), "{patch}: {refused:?}");
    }
    // Whatever rights somebody gives it.
    let all_powerful = ["--as", ACCOUNT, "--as-group=system:masters"];
    let delete = [&all_powerful[..], &["delete", "--dry-run=server", "mutatingwebhookconfiguration", REGISTRATION]].concat();
    let refused = cluster.kubectl(&delete).await;
    assert!(refused.stderr.contains("may neither create nor delete"), "{refused:?}");
    let create = [&all_powerful[..], &["create", "--dry-run=server", "-f", "-"]].concat();
    let other = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": {"name": "other"}});
    let refused = cluster.kubectl_with(&create, &other.to_string()).await;
    assert!(refused.stderr.contains("may neither create nor delete"), "{refused:?}");
    // A registration of others that names no Service.
    let mut by_url = other;
    let client = json!({"url": "https://a.example/mutate"});
    by_url["webhooks"] =
        json!([{"name": "a.b.example", "clientConfig": client, "rules": [], "sideEffects": "None", "admissionReviewVersions": ["v1"]}]);
    cluster.kubectl_with(&["create", "-f", "-"], &by_url.to_string()).await.ok();
    let change = json!([{"op": "replace", "path": "/webhooks/0/clientConfig/url", "value": "https://b.example/mutate"}]).to_string();
    let patch = [&all_powerful[..], &["patch", "--dry-run=server", "mutatingwebhookconfiguration", "other", "--type=json", "-p", &change]].concat();
    let refused = cluster.kubectl(&patch).await;
    assert!(refused.stderr.contains(GUARDED), "{refused:?}");
}

#[tokio::test]
async fn our_service_account_writes_no_secret_but_its_own_and_none_that_becomes_a_token() {
    let cluster = installed().await;
    let secret = |name: &str, kind: &str| {
        let annotations = json!({"kubernetes.io/service-account.name": "default"});
        json!({"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": {"name": name, "annotations": annotations}, "stringData": {"tls.crt": "a", "tls.key": "b"}})
    };
    let create = async |who: &[&str], secret: Value| {
        let arguments = [who, &["-n", NAME, "create", "--dry-run=server", "-f", "-"]].concat();
        cluster.kubectl_with(&arguments, &secret.to_string()).await
    };
    let us = ["--as", ACCOUNT];
    let theirs = [
        secret("keyvault-injector-tls", "kubernetes.io/service-account-token"),
        secret("another", "Opaque"),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"generateName": "keyvault-injector-tls"}}),
    ];
    let expected = "the webhook itself may write no Secret but keyvault-injector-tls, of type Opaque or kubernetes.io/tls";
    for secret in theirs {
        create(&[], secret.clone()).await.ok();
        let refused = create(&us, secret).await;
        assert!(!refused.success && refused.stderr.trim().ends_with(expected), "{refused:?}");
    }
    // Whatever rights somebody gives it, it changes no Secret of others either.
    cluster.kubectl(&["-n", NAME, "create", "secret", "generic", "of-others"]).await.ok();
    let change = ["-n", NAME, "patch", "secret", "of-others", "--type=merge", "-p", "{\"stringData\":{\"a\":\"b\"}}", "--dry-run=server"];
    let refused = cluster.kubectl(&[&["--as", ACCOUNT, "--as-group=system:masters"], &change[..]].concat()).await;
    assert!(!refused.success && refused.stderr.trim().ends_with(expected), "{refused:?}");
    // The test of the replica below may have made it already.
    for kind in ["Opaque", "kubernetes.io/tls"] {
        let made = create(&us, secret("keyvault-injector-tls", kind)).await;
        assert!(made.success || made.stderr.contains("already exists"), "{made:?}");
    }
}

#[tokio::test]
async fn these_rights_make_a_replica_ready_and_its_ca_bundle_stays_when_the_manifests_are_applied_again() {
    let cluster = installed().await;
    let token = cluster.kubectl(&["-n", NAME, "create", "token", NAME]).await.ok();
    let setup = Setup { namespace: NAME, tls: "selfManaged", loopback: None, agent: "", config: "", server: "", token: Some(token.trim()) };
    let injector = Injector::start(cluster, &setup).await;
    injector.ready().await;
    let bundle = async || object(cluster, "mutatingwebhookconfiguration", REGISTRATION).await["webhooks"][0]["clientConfig"]["caBundle"].clone();
    let secret = object(cluster, "secret", "keyvault-injector-tls").await;
    assert_eq!((bundle().await, secret["data"]["ca.crt"].is_string()), (secret["data"]["ca.crt"].clone(), true));
    let log = injector.log();
    assert!(!log.contains("\"WARN\"") && !log.contains("\"ERROR\""), "{log}");

    // A replica would repair it.
    drop(injector);
    for how in [&["apply", "-k"][..], &["apply", "--server-side", "--force-conflicts", "-k"]] {
        cluster.kubectl(&[how, &[&manifests("base")]].concat()).await.ok();
        assert_eq!(bundle().await, secret["data"]["ca.crt"], "{how:?}");
    }
}

// === what people are told ===

/// Annotations of a pod that asks.
pub(crate) fn asking() -> Value {
    json!({"keyvault-injector.io/secrets": "db-password"})
}

pub(crate) fn pod(annotations: Value) -> Value {
    let containers = json!([{"name": "app", "image": "registry.example/app"}]);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "annotations": annotations}, "spec": {"containers": containers}})
}

fn workload(kind: &str) -> Value {
    let template = |policy: &str| {
        let spec = json!({"restartPolicy": policy, "containers": [{"name": "app", "image": "registry.example/app"}]});
        json!({"metadata": {"labels": {"app": "web"}, "annotations": asking()}, "spec": spec})
    };
    let selector = json!({"matchLabels": {"app": "web"}});
    let (version, spec) = match kind {
        "Job" => ("batch/v1", json!({"template": template("Never")})),
        "CronJob" => ("batch/v1", json!({"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template("Never")}}})),
        _ => ("apps/v1", json!({"selector": selector, "template": template("Always")})),
    };
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": "web"}, "spec": spec})
}

const WORKLOADS: [&str; 6] = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"];

pub(crate) async fn dry_run(cluster: &Cluster, namespace: &str, object: &Value) -> Output {
    cluster.kubectl_with(&["-n", namespace, "create", "--dry-run=server", "-f", "-"], &object.to_string()).await
}

#[tokio::test]
async fn people_who_annotate_where_nothing_is_injected_get_the_command_that_changes_it() {
    let cluster = installed().await;
    let namespace = cluster.namespace("not-opted-in", &[(OPTED_IN.0, "enable")]).await;
    let expected = format!(
        "annotations keyvault-injector.io/… have no effect in namespace {namespace}, which is not opted in: \
         kubectl label namespace {namespace} keyvault-injector.io/injection=enabled\n"
    );
    for object in WORKLOADS.map(workload).into_iter().chain([pod(asking()), pod(json!({"keyvault-injector.io/vault": "team-a"}))]) {
        let made = dry_run(cluster, &namespace, &object).await;
        assert!(made.success && made.stderr.starts_with("Warning: ") && made.stderr.ends_with(&expected), "{object}: {made:?}");
    }
    let made = dry_run(cluster, "kube-system", &workload("Deployment")).await;
    assert!(made.stderr.ends_with("in namespace kube-system: nothing is injected there; use another namespace\n"), "{made:?}");
}

#[tokio::test]
async fn people_who_need_no_warning_get_none() {
    let cluster = installed().await;
    let other = cluster.namespace("not-opted-in", &[]).await;
    let opted_in = cluster.namespace("opted-in", &[OPTED_IN]).await;
    let mut owned = workload("ReplicaSet");
    owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "1", "controller": true}]);
    let quiet = [
        (&other, pod(json!({"example.com/secrets": "a"}))),
        (&other, pod(json!({"keyvault-injector.io/secrets": "a", "keyvault-injector.io/inject": "false"}))),
        (&other, pod(json!({}))),
        (&other, owned),
    ];
    for (namespace, object) in WORKLOADS.map(|kind| (&opted_in, workload(kind))).into_iter().chain(quiet) {
        let made = dry_run(cluster, namespace, &object).await;
        assert_eq!((made.success, made.stderr.as_str()), (true, ""), "{object}");
    }
}
