//! What pods inherit, through watches and questions to a real API server.

use serde_json::{Value, json};

use super::{Scene, agent_of, annotations, assert_injected, opted_out, plan_of, pod, without_ours};
use crate::cluster::{Cluster, OPTED_IN, registration, until};

const CLIENT_ID: &str = "22222222-2222-2222-2222-222222222222";
const TENANT_ID: &str = "bbbbbbbb-bbbb-cccc-dddd-eeeeeeeeeeee";

/// A pod that says only what it wants.
fn terse() -> Value {
    let mut pod = pod("web");
    pod["metadata"]["annotations"] = json!({"keyvault-injector.io/secrets": "db-password"});
    pod["spec"]["serviceAccountName"] = json!("api");
    pod
}

fn account() -> Value {
    let annotations = json!({"azure.workload.identity/client-id": CLIENT_ID});
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "api", "annotations": annotations}})
}

fn namespace_annotations() -> Value {
    json!({
        "keyvault-injector.io/vault": "team-of-the-namespace", "keyvault-injector.io/tenant-id": TENANT_ID,
        "keyvault-injector.io/deadline": "5m", "keyvault-injector.io/mount-path": "/secrets",
    })
}

#[track_caller]
fn assert_inherited(pod: &Value) {
    assert_injected(pod, &["app"]);
    let plan = plan_of(pod);
    let identity = &plan["identity"]["workloadIdentity"];
    assert_eq!((&identity["clientId"], &identity["tenantId"]), (&json!(CLIENT_ID), &json!(TENANT_ID)));
    assert_eq!((&plan["fetch"][0]["secret"]["vault"], &plan["deadline"]), (&json!("https://team-of-the-namespace.vault.azure.net"), &json!("5m")));
    let mount = |mount: &&Value| mount["name"] == "keyvault-files";
    let mounts = pod["spec"]["containers"][0]["volumeMounts"].as_array().unwrap();
    assert_eq!(mounts.iter().find(mount).unwrap()["mountPath"], "/secrets");
}

async fn lookups(scene: &Scene) -> f64 {
    scene.injector.metric("keyvault_injector_lookups_total{result=\"ok\"}").await
}

#[tokio::test]
async fn what_namespace_and_service_account_say_counts_at_once_and_then_comes_from_the_caches() {
    let scene = Scene::new("defaults", &[]).await;
    scene.send("api/v1/namespaces/NAMESPACE/serviceaccounts", "", &account()).await.unwrap();
    let refusal = scene.dry_run(&terse()).await.unwrap_err();
    assert!(refusal.contains("identity workload-identity has no tenant-id: annotate ServiceAccount"), "{refusal}");

    let merge = json!({"metadata": {"annotations": namespace_annotations()}}).to_string();
    scene.cluster.kubectl(&["patch", "namespace", &scene.namespace, "--type=merge", "-p", &merge]).await.ok();
    assert_inherited(&scene.dry_run(&terse()).await.unwrap());

    let from_caches = async || {
        let before = lookups(&scene).await;
        assert_inherited(&scene.dry_run(&terse()).await.unwrap());
        (lookups(&scene).await == before).then_some(())
    };
    until("review without a question", from_caches).await;

    // What the caches say is followed when it changes, without a question too.
    let merge = json!({"metadata": {"annotations": {"keyvault-injector.io/deadline": "7m"}}}).to_string();
    scene.cluster.kubectl(&["patch", "namespace", &scene.namespace, "--type=merge", "-p", &merge]).await.ok();
    let before = lookups(&scene).await;
    until("new deadline", async || (plan_of(&scene.dry_run(&terse()).await.unwrap())["deadline"] == "7m").then_some(())).await;
    assert_eq!(lookups(&scene).await, before);
}

/// Uses namespaces in the moment after their creation.
async fn assert_fresh_namespaces_count(scene: &Scene) {
    let fresh: Vec<String> = (0..5).map(|_| scene.cluster.name("just-created")).collect();
    let name = scene.cluster.name("zz-keyvault-injector");
    let mut registration = registration(&name, &scene.namespace, &scene.injector.https, Some(&scene.loopback.ca));
    let values = registration["webhooks"][0]["namespaceSelector"]["matchExpressions"][0]["values"].as_array_mut().unwrap();
    values.extend(fresh.iter().map(|name| json!(name)));
    scene.cluster.create_registration(&registration).await;
    scene.registered().await;

    for name in fresh {
        let metadata = json!({"name": name, "labels": {OPTED_IN.0: OPTED_IN.1}, "annotations": namespace_annotations()});
        scene.send("api/v1/namespaces", "", &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})).await.unwrap();
        scene.send(&format!("api/v1/namespaces/{name}/serviceaccounts"), "", &account()).await.unwrap();
        assert_inherited(&scene.send(&format!("api/v1/namespaces/{name}/pods"), "", &terse()).await.unwrap());
    }
}

#[tokio::test]
async fn a_namespace_just_created_is_used_at_once() {
    assert_fresh_namespaces_count(&Scene::unregistered("fresh", &[]).await).await;
}

#[tokio::test]
async fn what_no_watch_has_shown_is_asked_for() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("unwatched", &[OPTED_IN]).await;
    // Who may get, and neither list nor watch, never has anything in its caches.
    let role = cluster.name("only-get");
    cluster.kubectl(&["create", "clusterrole", &role, "--verb=get", "--resource=namespaces,serviceaccounts"]).await.ok();
    let subject = format!("--serviceaccount={namespace}:default");
    cluster.kubectl(&["create", "clusterrolebinding", &role, &format!("--clusterrole={role}"), &subject]).await.ok();
    let token = cluster.kubectl(&["-n", &namespace, "create", "token", "default"]).await.ok();

    let scene = Scene::started_as(namespace, Some(token.trim())).await;
    assert_fresh_namespaces_count(&scene).await;
    assert!(lookups(&scene).await >= 5.0);
}

#[tokio::test]
async fn a_pod_that_opts_out_is_what_it_would_be_without_us() {
    let scene = Scene::new("opted-out", &[]).await;
    let mut plain = pod("plain");
    plain["spec"]["automountServiceAccountToken"] = json!(false);
    let asking = scene.create(&opted_out(&plain)).await.unwrap();
    plain["metadata"]["annotations"] = json!({});
    plain["metadata"]["name"] = json!("unconcerned");
    let unconcerned = scene.create(&plain).await.unwrap();
    assert_eq!((agent_of(&asking), annotations(&asking).len()), (None, 5), "{asking:#}");
    assert_eq!(without_ours(&asking)["spec"], without_ours(&unconcerned)["spec"]);
    assert_eq!(scene.reviews("plain", 1).await, ["opted-out"]);
    assert!(!scene.injector.log().contains(r#""pod":"unconcerned""#), "no review of a pod without our annotations");
}
