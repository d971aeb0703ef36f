//! Features that are `auto`: what the webhook learns from a real node, and what pods get of it.

use serde_json::{Value, json};

use crate::harness::{NODE, Node, PRODUCT_IMAGE, STAY, pod, shell, until};

const FEATURES: [&str; 3] = ["envFiles", "imageVolumes", "restartInPlace"];

#[tokio::test]
async fn the_webhook_reads_from_the_node_what_it_can_do_and_says_so() {
    let node = Node::shared().await;
    let reported: Value = serde_json::from_str(&node.cluster.kubectl(&["get", "node", NODE, "-o", "json"]).await.ok()).unwrap();
    let declared = reported["status"]["declaredFeatures"].as_array().expect("a node that declares features");
    assert!(declared.iter().any(|feature| feature == "RestartAllContainersOnContainerExits"), "{declared:?}");
    let replicas = node.replicas().await;
    assert_eq!(replicas.len(), 2);
    for replica in &replicas {
        let name = replica["metadata"]["name"].as_str().unwrap();
        let metrics = node.metrics(replica).await;
        for feature in FEATURES {
            let line = format!("keyvault_injector_nodes_can{{feature=\"{feature}\"}} 1\n");
            assert!(metrics.contains(&line), "{line}{metrics}");
        }
        // Lines of the log are written together with others, and reach the kubelet a little later.
        let said = async || {
            let log = node.product(&["logs", name]).await.stdout;
            let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}")));
            let answers: Vec<Value> = lines.filter(|line| line["answer"].is_string()).collect();
            (answers.len() == FEATURES.len()).then_some(answers)
        };
        for (feature, line) in FEATURES.iter().zip(until("lines of the answers", said).await) {
            let told = [&line["feature"], &line["answer"], &line["message"]];
            assert_eq!(told, [&json!(feature), &json!("yes"), &json!("every node can do what a feature needs")], "{line}");
        }
    }
}

#[tokio::test]
async fn a_wrapped_container_runs_the_agent_from_its_image() {
    let node = Node::shared().await;
    let namespace = node.namespace().await;
    let script = format!("echo \"it is $PASSWORD\"{STAY}");
    let security = json!({"runAsUser": 1000, "runAsNonRoot": true});
    namespace
        .apply(&[pod("web", &[("env", "PASSWORD=db-password")], json!({"securityContext": security, "containers": [shell("app", &script)]}))])
        .await;
    let pod = namespace.ready("web").await;
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    let program = volumes.iter().find(|volume| volume["name"] == "keyvault-program").unwrap_or_else(|| panic!("{volumes:?}"));
    assert_eq!(program["image"]["reference"], PRODUCT_IMAGE, "{program}");
    namespace.says("web", "app", "it is correct horse battery staple\n").await;
    let mount = namespace.sh("web", "app", "grep ' /keyvault-injector/bin ' /proc/mounts").await;
    assert!(mount.contains(" ro,") && !mount.starts_with("tmpfs"), "{mount}");
    // The image is the whole of it: both programs.
    assert_eq!(namespace.sh("web", "app", "ls /keyvault-injector/bin").await, "keyvault-agent\nkeyvault-injector\n");
}
