//! Whatever makes pods.

use serde_json::{Value, json};

use crate::harness::{Node, STAY, annotations, pod, shell, spec};

const ASKED: [(&str, &str); 1] = [("secrets", "db-password")];
const REFRESHED: [(&str, &str); 3] = [("secrets", "db-password"), ("env", "PASSWORD=db-password"), ("refresh", "30s")];
const READ: &str = "cat /keyvault/db-password; echo";

fn template(ours: &[(&str, &str)], given: Value) -> Value {
    json!({"metadata": {"labels": {"app": "test"}, "annotations": annotations(ours)}, "spec": spec(given)})
}

fn workload(kind: &str, more: Value) -> Value {
    let mut spec =
        json!({"selector": {"matchLabels": {"app": "test"}}, "template": template(&REFRESHED, json!({"containers": [shell("app", STAY)]}))});
    spec["selector"]["matchLabels"] = json!({"app": "test", "kind": kind.to_lowercase()});
    spec["template"]["metadata"]["labels"] = json!({"app": "test", "kind": kind.to_lowercase()});
    let Value::Object(more) = more else { panic!("not an object: {more}") };
    spec.as_object_mut().unwrap().extend(more);
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"}, "spec": spec})
}

fn job(name: &str, ours: &[(&str, &str)], script: &str) -> Value {
    let template = template(ours, json!({"restartPolicy": "Never", "containers": [shell("app", script)]}));
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": template}})
}

#[tokio::test]
async fn deployments_stateful_sets_and_daemon_sets_become_ready() {
    let node = Node::shared().await;
    let namespace = node.namespace().await;
    let all = [
        workload("Deployment", json!({"replicas": 2})),
        workload("StatefulSet", json!({"replicas": 2, "serviceName": "web"})),
        workload("DaemonSet", json!({})),
    ];
    namespace.apply(&all).await;
    for (object, count) in [("deployment/web", 2), ("statefulset/web", 2), ("daemonset/web", 1)] {
        let ready =
            |object: &Value| [&object["status"]["readyReplicas"], &object["status"]["numberReady"]].iter().any(|ready| **ready == json!(count));
        namespace.when(object, "ready", ready).await;
    }
}

#[tokio::test]
async fn jobs_end_with_a_sidecar_and_without() {
    let node = Node::shared().await;
    let namespace = node.namespace().await;
    let template = job("", &REFRESHED, READ)["spec"].clone();
    let often = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "often"}, "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": template}}});
    namespace.apply(&[job("once", &ASKED, READ), job("refreshed", &REFRESHED, READ), often]).await;
    for name in ["once", "refreshed"] {
        namespace.when(&format!("job/{name}"), "complete", |job| job["status"]["succeeded"] == 1).await;
        assert_eq!(namespace.logs(&format!("job/{name}"), "app").await, "correct horse battery staple\n", "{name}");
    }
    namespace.when("cronjob/often", "successful", |cron| cron["status"]["lastSuccessfulTime"].is_string()).await;
}

#[tokio::test]
async fn a_job_that_is_refused_fails_and_its_pod_says_why() {
    let node = Node::shared().await;
    let namespace = node.namespace().await;
    let refused = [("secrets", "missing"), ("refresh", "30s")];
    namespace.apply(&[job("refused", &refused, READ)]).await;
    namespace.when("job/refused", "failed", |job| job["status"]["failed"] == 1).await;
    let pods = namespace.get("pods").await;
    let name = pods["items"][0]["metadata"]["name"].as_str().unwrap();
    assert_eq!(namespace.message(name, "keyvault-agent").await, crate::failing::MISSING);
}

#[tokio::test]
async fn a_pod_that_opts_out_or_asks_for_nothing_is_left_alone() {
    let node = Node::shared().await;
    let namespace = node.namespace().await;
    let containers = json!({"containers": [shell("app", STAY)]});
    let out = pod("out", &[("secrets", "db-password"), ("inject", "false")], containers.clone());
    let mut plain = pod("plain", &[], containers);
    plain["metadata"]["annotations"] = json!({});
    namespace.apply(&[out, plain]).await;
    for name in ["out", "plain"] {
        let pod = namespace.ready(name).await;
        assert_eq!((&pod["spec"]["initContainers"], &pod["status"]["containerStatuses"][1]), (&Value::Null, &Value::Null), "{name}");
    }
}
