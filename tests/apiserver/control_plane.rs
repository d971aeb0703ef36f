//! The harness itself: what the other tests take for granted.

use std::path::Path;

use crate::cluster::{Cluster, until};

#[tokio::test]
async fn controllers_make_pods_of_a_deployment() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("control-plane", &[]).await;
    cluster.kubectl(&["-n", &namespace, "create", "deployment", "web", "--image=registry.example/app", "--replicas=2"]).await.ok();
    let pods = async || {
        let names = cluster.kubectl(&["-n", &namespace, "get", "pods", "-o", "name"]).await.ok();
        (names.lines().filter(|name| name.starts_with("pod/web-")).count() == 2).then_some(())
    };
    until("two pods of the Deployment", pods).await;
    let version = cluster.kubectl(&["version"]).await.ok();
    assert!(version.contains("Server Version: v1.36."), "{version}");
}

#[tokio::test]
async fn a_cluster_of_a_test_s_own_comes_back_with_its_data_and_leaves_nothing() {
    let cluster = Cluster::own().await;
    let namespace = cluster.namespace("kept", &[]).await;
    cluster.stop_api_server();
    assert!(!cluster.kubectl(&["get", "namespaces"]).await.success);
    cluster.start_api_server();
    cluster.kubectl(&["get", "namespace", &namespace]).await.ok();
    let folder = cluster.kubeconfig().parent().map(Path::to_owned).unwrap();
    assert!(folder.exists());
    drop(cluster);
    assert!(!folder.exists(), "{} is left over", folder.display());
}
