//! How often the API server asks about a pod, and what our container mounts where the API server's token would be.

use serde_json::{Value, json};

use super::neighbours::{AFTER, BEFORE, Neighbour, has};
use super::{AGENT, Scene, agent_of, annotate, annotations, container, pod};
use crate::cluster::{Cluster, Injector, Loopback, OPTED_IN, Setup};

const API_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A scene whose operator allows every identity.
async fn scene(prefix: &str) -> Scene {
    let (cluster, loopback) = (Cluster::shared().await, Loopback::new());
    let namespace = cluster.namespace(prefix, &[OPTED_IN]).await;
    let setup = Setup {
        agent: "tokenProxy: {url: 'https://10.0.0.1', caFile: FOLDER/tls.crt}",
        config: "policy: {allowSharedIdentities: true}\n",
        ..Setup::files(&namespace, &loopback)
    };
    let injector = Injector::start(cluster, &setup).await;
    let scene = Scene { cluster, client: cluster.client().await, namespace, injector, loopback };
    scene.injector.ready().await;
    scene.cluster.register(&scene.namespace, &scene.injector, &scene.loopback).await;
    scene.registered().await;
    scene
}

/// The pod as it was created, and how many reviews that took.
async fn created(scene: &Scene, pod: &Value) -> (Value, f64) {
    let count = async || scene.injector.metric("keyvault_injector_review_duration_seconds_count").await;
    let before = count().await;
    let made = scene.create(pod).await.unwrap();
    (made, count().await - before)
}

/// The volumes that a container mounts at the place of the API server's token.
fn at_api_token(container: &Value) -> Vec<&str> {
    let mounts = container["volumeMounts"].as_array().into_iter().flatten().filter(|mount| mount["mountPath"] == API_TOKEN);
    mounts.map(|mount| mount["name"].as_str().unwrap()).collect()
}

fn ours(pod: &Value) -> impl Iterator<Item = &Value> {
    let containers = pod["spec"]["initContainers"].as_array().into_iter().flatten();
    containers.filter(|container| container["name"].as_str().unwrap().starts_with(AGENT))
}

fn app(pod: &Value) -> &Value {
    &pod["spec"]["containers"][0]
}

/// A pod with another identity than a workload's.
fn pod_with(name: &str, identity: &[(&str, &str)]) -> Value {
    let mut pod = pod(name);
    pod["metadata"]["annotations"].as_object_mut().unwrap().retain(|key, _| !key.ends_with("-id"));
    identity.iter().for_each(|(key, value)| annotate(&mut pod, key, value));
    pod
}

fn pods_of_every_identity() -> Vec<(Value, &'static str)> {
    let mut proxied = pod("proxied");
    proxied["metadata"]["annotations"]["azure.workload.identity/use-identity-binding"] = json!("true");
    let principal = [("identity", "service-principal"), ("service-principal-secret", "web-sp")];
    vec![
        (pod("workload"), "keyvault-token"),
        (proxied, "keyvault-token"),
        (pod_with("principal", &principal), "keyvault-principal"),
        (pod_with("managed", &[("identity", "managed-identity")]), "keyvault-files"),
        (pod_with("bound", &[("identity", "pod-identity"), ("pod-identity-binding", "web")]), "keyvault-files"),
    ]
}

#[tokio::test]
async fn a_pod_is_reviewed_once_and_our_containers_have_no_token_of_the_api_server() {
    let scene = scene("once").await;
    for (plain, volume) in pods_of_every_identity() {
        for (suffix, refresh, policy) in [("fetch", false, "Always"), ("watch", true, "Always"), ("job", true, "Never")] {
            let mut pod = plain.clone();
            let name = format!("{}-{suffix}", plain["metadata"]["name"].as_str().unwrap());
            pod["metadata"]["name"] = json!(name);
            pod["spec"]["restartPolicy"] = json!(policy);
            if refresh {
                annotate(&mut pod, "refresh", "1m");
            }
            let (made, reviews) = created(&scene, &pod).await;
            assert_eq!(reviews, 1.0, "{name}");
            assert_eq!(ours(&made).count(), if suffix == "job" { 2 } else { 1 }, "{made:#}");
            assert!(ours(&made).all(|container| at_api_token(container) == [volume]), "{made:#}");
            assert!(at_api_token(app(&made))[0].starts_with("kube-api-access-"), "the app keeps its token: {made:#}");
        }
    }
}

#[tokio::test]
async fn a_pod_without_the_token_or_with_a_mount_of_its_own_there_keeps_that() {
    let scene = scene("own-mount").await;
    let mut without = pod("without");
    without["spec"]["automountServiceAccountToken"] = json!(false);
    let (made, reviews) = created(&scene, &without).await;
    assert_eq!((at_api_token(app(&made)), at_api_token(agent_of(&made).unwrap()), reviews), (vec![], vec!["keyvault-token"], 1.0), "{made:#}");

    let mut own = pod("own");
    own["spec"]["volumes"] = json!([{"name": "mine", "projected": {"sources": [{"serviceAccountToken": {"path": "token", "audience": "mine"}}]}}]);
    own["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "mine", "mountPath": API_TOKEN, "readOnly": true}]);
    let (made, reviews) = created(&scene, &own).await;
    assert_eq!((at_api_token(app(&made)), at_api_token(agent_of(&made).unwrap()), reviews), (vec!["mine"], vec!["keyvault-token"], 1.0), "{made:#}");
}

#[tokio::test]
async fn a_pod_injected_by_an_older_version_is_rebuilt_in_one_review() {
    let scene = scene("older").await;
    let (mut older, _) = created(&scene, &pod("web")).await;
    older["metadata"] = json!({"name": "older", "annotations": annotations(&older)});
    let api_token = json!({"name": at_api_token(app(&older))[0], "mountPath": API_TOKEN, "readOnly": true});
    let agent = &mut older["spec"]["initContainers"][0];
    agent["env"][0]["value"] = json!(agent["env"][0]["value"].as_str().unwrap().replace(API_TOKEN, "/var/run/secrets/keyvault-injector"));
    let mounts = agent["volumeMounts"].as_array_mut().unwrap();
    let token = mounts.iter_mut().find(|mount| mount["name"] == "keyvault-token").unwrap();
    token["mountPath"] = json!("/var/run/secrets/keyvault-injector");
    mounts.push(api_token);
    let (made, reviews) = created(&scene, &older).await;
    assert_eq!((at_api_token(agent_of(&made).unwrap()), reviews), (vec!["keyvault-token"], 1.0), "{made:#}");
}

/// What azure-workload-identity's webhook does to every container, ours included.
fn adds_azure_identity(pod: &Value) -> Value {
    const VOLUME: &str = "azure-identity-token";
    let mut patch = Vec::new();
    if !has(pod, "volumes", VOLUME) {
        let source =
            json!({"serviceAccountToken": {"path": "azure-identity-token", "audience": "api://AzureADTokenExchange", "expirationSeconds": 3600}});
        patch.push(json!({"op": "add", "path": "/spec/volumes/-", "value": {"name": VOLUME, "projected": {"sources": [source]}}}));
    }
    for list in ["containers", "initContainers"] {
        for (index, container) in pod["spec"][list].as_array().into_iter().flatten().enumerate() {
            let mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
            if mounts.iter().any(|mount| mount["name"] == VOLUME) {
                continue;
            }
            let mount = json!({"name": VOLUME, "mountPath": "/var/run/secrets/azure/tokens", "readOnly": true});
            let all: Vec<Value> = mounts.into_iter().chain([mount]).collect();
            patch.push(json!({"op": "add", "path": format!("/spec/{list}/{index}/volumeMounts"), "value": all}));
        }
    }
    json!(patch)
}

/// A container at the end.
fn adds_a_container(pod: &Value) -> Value {
    if has(pod, "containers", "sidecar") {
        return json!([]);
    }
    json!([{"op": "add", "path": "/spec/containers/-", "value": container("sidecar")}])
}

#[tokio::test]
async fn beside_azure_workload_identity_our_container_has_our_token_alone() {
    let scene = scene("azwi").await;
    // Its registration is azure-wi-webhook-mutating-webhook-configuration, before ours. What ours adds it is asked about again.
    let _azure = Neighbour::start(&scene, BEFORE, adds_azure_identity).await;
    let (made, reviews) = created(&scene, &pod("web")).await;
    let agent = agent_of(&made).unwrap();
    let mounts: Vec<&str> = agent["volumeMounts"].as_array().unwrap().iter().map(|mount| mount["name"].as_str().unwrap()).collect();
    assert_eq!((mounts, reviews), (vec!["keyvault-files", "keyvault-token"], 2.0), "{made:#}");
    assert!(app(&made)["volumeMounts"].as_array().unwrap().iter().any(|mount| mount["name"] == "azure-identity-token"), "{made:#}");
}

#[tokio::test]
async fn a_container_that_a_later_webhook_adds_costs_a_second_review() {
    let scene = scene("twice").await;
    let _later = Neighbour::start(&scene, AFTER, adds_a_container).await;
    let (made, reviews) = created(&scene, &pod("web")).await;
    assert_eq!((reviews, at_api_token(agent_of(&made).unwrap())), (2.0, vec!["keyvault-token"]), "{made:#}");
    super::assert_injected(&made, &["app", "sidecar"]);
}
