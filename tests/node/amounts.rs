//! What a pod asks of the node: its class of service, and what quotas, ranges and the scheduler count.

use serde_json::{Value, json};

use crate::harness::{Node, STAY, pod, shell_with};

/// What one container asks, and the class of its pod.
const CLASSES: [(&str, &str, &str); 3] = [
    ("besteffort", r#"{}"#, "BestEffort"),
    ("burstable", r#"{"requests": {"cpu": "20m", "memory": "32Mi"}}"#, "Burstable"),
    ("guaranteed", r#"{"limits": {"cpu": "50m", "memory": "64Mi"}}"#, "Guaranteed"),
];

fn asking(name: &str, resources: &str, ours: &[(&str, &str)]) -> Value {
    let resources: Value = serde_json::from_str(resources).unwrap();
    pod(name, ours, json!({"containers": [shell_with("app", STAY, json!({"resources": resources}))]}))
}

#[tokio::test]
async fn a_pod_keeps_its_class_and_the_node_counts_what_the_documents_say() {
    let node = Node::shared().await;
    let namespace = node.namespace().await;
    let ways: [(&str, &[(&str, &str)]); 3] =
        [("plain", &[]), ("fetched", &[("secrets", "db-password")]), ("refreshed", &[("secrets", "db-password"), ("refresh", "1h")])];
    let named = |way: &str, class: &str| format!("{way}-{class}");
    let pods: Vec<Value> =
        ways.iter().flat_map(|(way, ours)| CLASSES.map(|(name, resources, _)| asking(&named(way, name), resources, ours))).collect();
    namespace.apply(&pods).await;
    for (way, _) in ways {
        for (name, _, class) in CLASSES {
            assert_eq!(namespace.ready(&named(way, name)).await["status"]["qosClass"], class, "{way} {name}");
        }
    }
    // Requests and limits of cpu, then of memory, as the scheduler adds them up.
    let counted = namespace.kubectl(&["describe", "node", crate::harness::NODE]).await.ok();
    let of = |pod: &str| {
        let line = counted.lines().find(|line| line.contains(&namespace.name) && line.contains(pod)).unwrap_or_else(|| panic!("{pod}: {counted}"));
        let words: Vec<&str> = line.split_whitespace().filter(|word| !word.starts_with('(')).collect();
        words[2..6].join(" ")
    };
    let seen: Vec<String> =
        ways.iter().flat_map(|(way, _)| CLASSES.map(|(name, ..)| named(way, name))).map(|name| format!("{name}: {}", of(&name))).collect();
    assert_eq!(
        seen,
        [
            "plain-besteffort: 0 0 0 0",
            "plain-burstable: 20m 0 32Mi 0",
            "plain-guaranteed: 50m 50m 64Mi 64Mi",
            "fetched-besteffort: 0 0 0 0",
            "fetched-burstable: 20m 500m 32Mi 32Mi",
            "fetched-guaranteed: 50m 50m 64Mi 64Mi",
            "refreshed-besteffort: 0 0 0 0",
            "refreshed-burstable: 30m 100m 48Mi 32Mi",
            "refreshed-guaranteed: 150m 150m 96Mi 96Mi",
        ]
    );
}

#[tokio::test]
async fn a_limit_range_refuses_the_pod_until_its_namespace_says_what_the_agent_asks() {
    let node = Node::shared().await;
    let namespace = node.namespace().await;
    let limits = json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "10"}});
    namespace.apply(&[json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "ratio"}, "spec": {"limits": [limits]}})]).await;
    let resources = r#"{"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}"#;
    let asked = [("secrets", "db-password")];
    let refused = namespace.try_to_apply(&[asking("web", resources, &asked)]).await;
    assert!(refused.stderr.contains("cpu max limit to request ratio per Container is 10, but provided ratio is 50"), "{refused:?}");
    namespace.kubectl(&["annotate", "namespace", &namespace.name, "keyvault-injector.io/agent-resources={limits: {cpu: 100m}}"]).await.ok();
    // The webhook sees Namespaces by a watch.
    crate::harness::until("pod that the range takes", async || {
        namespace.try_to_apply(&[asking("web", resources, &asked)]).await.success.then_some(())
    })
    .await;
    namespace.ready("web").await;
}

#[tokio::test]
async fn a_quota_counts_the_agent_and_has_room_for_the_pod() {
    let node = Node::shared().await;
    let namespace = node.namespace().await;
    let hard = json!({"requests.cpu": "100m", "requests.memory": "200Mi", "limits.cpu": "2", "limits.memory": "1Gi"});
    namespace.apply(&[json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "all"}, "spec": {"hard": hard}})]).await;
    namespace.when("resourcequota/all", "in force", |quota| quota["status"]["used"].is_object()).await;
    let resources = r#"{"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}"#;
    namespace.apply(&[asking("fetched", resources, &[("secrets", "db-password")])]).await;
    namespace.apply(&[asking("refreshed", resources, &[("secrets", "db-password"), ("refresh", "1h")])]).await;
    namespace.ready("fetched").await;
    namespace.ready("refreshed").await;
    assert_eq!(
        namespace.get("resourcequota/all").await["status"]["used"],
        json!({"requests.cpu": "50m", "requests.memory": "80Mi", "limits.cpu": "800m", "limits.memory": "160Mi"})
    );
}

/// The requests of cpu on the node, in thousandths.
async fn reserved(node: &Node) -> i64 {
    let described = node.cluster.kubectl(&["describe", "node", crate::harness::NODE]).await.ok();
    let (_, allocated) = described.split_once("Allocated resources:").unwrap_or_else(|| panic!("{described}"));
    let cpu = allocated.lines().find_map(|line| line.trim().strip_prefix("cpu ")).unwrap_or_else(|| panic!("{described}"));
    thousandths(cpu.split_whitespace().next().unwrap())
}

fn thousandths(cpu: &str) -> i64 {
    cpu.strip_suffix('m').map_or_else(|| cpu.parse::<i64>().unwrap() * 1000, |number| number.parse().unwrap())
}

#[tokio::test]
async fn a_pod_that_just_fits_the_node_fits_with_its_files_and_one_whose_sidecar_does_not_is_told() {
    let node = Node::alone().await;
    let namespace = node.namespace().await;
    // Replicas that still drain reserve what they did, and what goes later would leave room that nobody has counted.
    for replica in node.replicas_that(|replica| !replica["metadata"]["deletionTimestamp"].is_null()).await {
        node.product(&["delete", "pod", "--ignore-not-found", "--grace-period=1", "--timeout=120s", replica["metadata"]["name"].as_str().unwrap()])
            .await
            .ok();
    }
    let other_tests = async || {
        let pods: Value = serde_json::from_str(&node.cluster.kubectl(&["get", "pods", "--all-namespaces", "-o", "json"]).await.ok()).unwrap();
        let others = pods["items"].as_array().unwrap().iter().filter(|pod| pod["metadata"]["namespace"] != crate::harness::PRODUCT);
        (others.count() == 0).then_some(())
    };
    crate::harness::until("node without pods of other tests", other_tests).await;

    let room = 60;
    let allocatable: Value = serde_json::from_str(&node.cluster.kubectl(&["get", "node", crate::harness::NODE, "-o", "json"]).await.ok()).unwrap();
    let free = thousandths(allocatable["status"]["allocatable"]["cpu"].as_str().unwrap()) - reserved(&node).await;
    let plain = |name: &str, resources: &str| {
        let mut pod = asking(name, resources, &[]);
        pod["metadata"]["annotations"] = json!({});
        pod
    };
    namespace.apply(&[plain("ballast", &format!(r#"{{"requests": {{"cpu": "{}m"}}}}"#, free - room))]).await;
    namespace.ready("ballast").await;

    // Guaranteed: its agent requests its limits, too.
    let fits = format!(r#"{{"limits": {{"cpu": "{room}m", "memory": "64Mi"}}}}"#);
    namespace.apply(&[asking("fits", &fits, &[("secrets", "db-password")])]).await;
    let pod = namespace.ready("fits").await;
    assert_eq!(pod["status"]["qosClass"], "Guaranteed");
    namespace.kubectl(&["delete", "pod", "fits"]).await.ok();

    let warned = namespace.apply(&[asking("larger", &fits, &[("secrets", "db-password"), ("refresh", "1h")])]).await;
    let words = "container keyvault-agent-watch adds 100m cpu and 32Mi memory to what the pod reserves; set keyvault-injector.io/agent-resources for other amounts";
    assert!(warned.contains(words), "{warned}");
    let unschedulable =
        |pod: &Value| pod["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(|one| one["reason"] == "Unschedulable"));
    let pod = namespace.when("pod/larger", "unschedulable", unschedulable).await;
    let condition = pod["status"]["conditions"].as_array().unwrap().iter().find(|one| one["type"] == "PodScheduled").unwrap();
    assert!(condition["message"].as_str().unwrap().starts_with("0/1 nodes are available: 1 Insufficient cpu."), "{condition}");
    // And the remedy that the warning names is one.
    namespace.kubectl(&["delete", "pod", "larger"]).await.ok();
    namespace.kubectl(&["delete", "pod", "ballast"]).await.ok();
    namespace.apply(&[plain("ballast-2", &format!(r#"{{"requests": {{"cpu": "{}m"}}}}"#, free - room - 10))]).await;
    namespace.ready("ballast-2").await;
    let amounts = "{requests: {cpu: 10m}, limits: {cpu: 10m}}";
    namespace.apply(&[asking("smaller", &fits, &[("secrets", "db-password"), ("refresh", "1h"), ("agent-resources", amounts)])]).await;
    namespace.ready("smaller").await;
}
