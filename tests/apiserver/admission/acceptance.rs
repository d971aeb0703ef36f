//! Injected pods pass what pods without us pass, and stay what they were.

use serde_json::{Value, json};

use super::{RESTRICTED, Scene, assert_injected, opted_out, pod, workload};
use crate::cluster::until;

#[tokio::test]
async fn pods_of_every_kind_of_owner_are_injected_and_pass_restricted() {
    let scene = Scene::new("owners", &[RESTRICTED]).await;
    let mut unsafe_pod = pod("unsafe");
    unsafe_pod["spec"]["containers"][0]["securityContext"] = Value::Null;
    assert!(scene.create(&unsafe_pod).await.unwrap_err().contains(r#"violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false"#));

    assert_injected(&scene.create(&pod("bare")).await.unwrap(), &["app"]);
    let ours = |kind: &str| workload(kind, &kind.to_lowercase(), &pod(""));
    for kind in ["Deployment", "StatefulSet", "Job"] {
        scene.create_workload(&ours(kind)).await;
    }
    // The next pod of a StatefulSet waits for the first one to run, and nothing runs here.
    for (kind, count) in [("deployment", 2), ("statefulset", 1), ("job", 1)] {
        for pod in scene.pods_of(kind, count).await {
            assert_injected(&pod, &["app"]);
        }
    }
}

#[tokio::test]
async fn a_dry_run_answers_with_the_injected_pod_and_leaves_nothing() {
    let scene = Scene::new("dry-run", &[]).await;
    for verb in ["create", "apply"] {
        let made = scene.kubectl(&[verb, "--dry-run=server", "-o", "json", "-f", "-"], &pod(verb)).await.ok();
        assert_injected(&serde_json::from_str(&made).unwrap(), &["app"]);
    }
    assert_eq!(scene.get("api/v1/namespaces/NAMESPACE/pods").await["items"], json!([]));
    let line = scene.injector.line_with(r#""pod":"apply""#).await;
    assert_eq!((&line["dry_run"], &line["outcome"]), (&json!(true), &json!("injected")), "{line}");
}

// === amounts ===

fn with_resources(resources: Value) -> Value {
    let mut pod = pod("web");
    pod["spec"]["containers"][0]["resources"] = resources;
    pod
}

#[tokio::test]
async fn a_quota_that_demands_amounts_finds_them_on_our_container() {
    let scene = Scene::new("quota", &[]).await;
    // Kubernetes demands cpu and memory of every container; ephemeral storage it only adds up.
    let hard = json!({
        "requests.cpu": "1", "requests.memory": "1Gi", "limits.cpu": "1", "limits.memory": "1Gi",
        "requests.ephemeral-storage": "1Gi", "limits.ephemeral-storage": "1Gi",
    });
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "all"}, "spec": {"hard": hard}});
    scene.send("api/v1/namespaces/NAMESPACE/resourcequotas", "", &quota).await.unwrap();
    let demanded = "must specify limits.cpu for: app; limits.memory for: app; requests.cpu for: app; requests.memory for: app";
    let in_force = async || scene.dry_run(&opted_out(&pod("web"))).await.err()?.contains(demanded).then_some(());
    until("quota in force", in_force).await;
    for amounts in [json!({"cpu": "600m", "memory": "64Mi"}), json!({"cpu": "600m", "memory": "64Mi", "ephemeral-storage": "1Gi"})] {
        let made = scene.dry_run(&with_resources(json!({"requests": amounts, "limits": amounts}))).await.unwrap();
        assert_injected(&made, &["app"]);
    }
}

#[tokio::test]
async fn what_a_limit_range_demands_of_every_container_ours_has_too() {
    let scene = Scene::new("limit-range", &[]).await;
    let limits = json!([{"type": "Container", "default": {"cpu": "1", "memory": "256Mi"}, "min": {"ephemeral-storage": "64Mi"}}]);
    let range = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "all"}, "spec": {"limits": limits}});
    scene.send("api/v1/namespaces/NAMESPACE/limitranges", "", &range).await.unwrap();
    let in_force = async || (scene.dry_run(&opted_out(&pod("web"))).await.ok()?["status"]["qosClass"] == "Guaranteed").then_some(());
    until("limit range in force", in_force).await;
    let made = scene.dry_run(&pod("web")).await.unwrap();
    assert_injected(&made, &["app"]);
    let amounts = json!({"cpu": "500m", "memory": "32Mi"});
    let with_storage = json!({"cpu": "500m", "memory": "32Mi", "ephemeral-storage": "64Mi"});
    assert_eq!(made["spec"]["initContainers"][0]["resources"], json!({"requests": with_storage, "limits": amounts}));
    assert_eq!(made["status"]["qosClass"], "Guaranteed");
}

#[tokio::test]
async fn the_quality_of_service_of_a_pod_is_what_it_was() {
    let scene = Scene::new("qos", &[]).await;
    let pod_level = |resources: Value| {
        let mut pod = pod("web");
        pod["spec"]["resources"] = resources;
        pod
    };
    let exact = json!({"cpu": "500m", "memory": "256Mi"});
    for (class, pod) in [
        ("Guaranteed", with_resources(json!({"limits": exact}))),
        ("Guaranteed", with_resources(json!({"limits": {"cpu": "0.5", "memory": "256Mi"}, "requests": {"cpu": "500m", "memory": "268435456"}}))),
        ("Guaranteed", pod_level(json!({"limits": exact, "requests": exact}))),
        ("Burstable", with_resources(json!({"limits": exact, "requests": {"cpu": "100m"}}))),
        ("Burstable", with_resources(json!({"requests": {"memory": "1Mi"}}))),
        ("Burstable", pod_level(json!({"limits": {"memory": "256Mi"}}))),
        ("BestEffort", pod("web")),
        ("BestEffort", with_resources(json!({"requests": {"cpu": "0"}}))),
        ("BestEffort", with_resources(json!({"requests": {"ephemeral-storage": "1Mi"}}))),
    ] {
        let without = scene.dry_run(&opted_out(&pod)).await.unwrap();
        assert_eq!(without["status"]["qosClass"], class, "{without:#}");
        let with = scene.dry_run(&pod).await.unwrap();
        assert_injected(&with, &["app"]);
        assert_eq!(with["status"]["qosClass"], class, "{with:#}");
    }
}
