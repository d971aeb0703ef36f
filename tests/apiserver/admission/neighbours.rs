//! Other mutating webhooks, before and after ours: one injection, ours first, whatever they do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyvault_injector::tls::{Aborted, Bound, Certificates, Limits, Pair, Stop};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{AGENT, Scene, agent_of, annotations, assert_injected, container, our_mounts, pod};
use crate::cluster::{Loopback, registration, until};

/// What another webhook does to a pod: the operations of its patch. As a webhook should, it does nothing twice.
pub(super) type Change = fn(&Value) -> Value;

/// Another webhook, in this process.
pub(super) struct Neighbour {
    /// How often it was called for a pod of this name.
    calls: Calls,
    _stop: watch::Sender<Stop>,
    server: JoinHandle<Result<(), Aborted>>,
}

impl Neighbour {
    /// Serves, and registers for the pods of the scene's namespace. Webhooks are called in the order of their registrations' names.
    pub(super) async fn start(scene: &Scene, prefix: &str, change: Change) -> Neighbour {
        let loopback = Loopback::new();
        let pair = Pair::from_pem(loopback.certificate.as_bytes(), loopback.key.as_bytes()).unwrap();
        let bound = Bound::bind(([127, 0, 0, 1], 0).into(), Certificates::new(pair), None, Limits::default()).await.unwrap();
        let mut registration = registration(&scene.cluster.name(prefix), &scene.namespace, &bound.local_addr().to_string(), Some(&loopback.ca));
        registration["webhooks"][0]["name"] = json!("neighbour.example.com");
        registration["webhooks"][0]["matchConditions"] = json!([]);

        let calls = Calls::default();
        let router = Router::new().route("/mutate", post(answer)).with_state((Arc::clone(&calls), change));
        let (stop, stopping) = watch::channel(Stop::No);
        let server = tokio::spawn(bound.run(router, stopping));
        scene.cluster.create_registration(&registration).await;
        let neighbour = Neighbour { calls, _stop: stop, server };
        let probe = async || {
            scene.dry_run(&pod("probe")).await.unwrap();
            (neighbour.calls("probe") > 0).then_some(())
        };
        until("call of the neighbour", probe).await;
        neighbour
    }

    fn calls(&self, pod: &str) -> usize {
        self.calls.lock().unwrap().get(pod).copied().unwrap_or(0)
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.server.abort();
    }
}

type Calls = Arc<Mutex<HashMap<String, usize>>>;

async fn answer(State((calls, change)): State<(Calls, Change)>, review: Bytes) -> impl IntoResponse {
    let review: Value = serde_json::from_slice(&review).unwrap();
    let pod = &review["request"]["object"];
    *calls.lock().unwrap().entry(pod["metadata"]["name"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    let patch = STANDARD.encode(change(pod).to_string());
    let response = json!({"uid": review["request"]["uid"], "allowed": true, "patchType": "JSONPatch", "patch": patch});
    let answer = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    ([(CONTENT_TYPE, "application/json")], answer.to_string())
}

pub(super) const BEFORE: &str = "aa-neighbour";
pub(super) const AFTER: &str = "zzz-neighbour";

pub(super) fn has(pod: &Value, list: &str, name: &str) -> bool {
    pod["spec"][list].as_array().into_iter().flatten().any(|container| container["name"] == name)
}

/// A container at the end and an init container at the very front, as meshes do.
fn adds_containers(pod: &Value) -> Value {
    let mut patch = Vec::new();
    if !has(pod, "containers", "sidecar") {
        patch.push(json!({"op": "add", "path": "/spec/containers/-", "value": container("sidecar")}));
    }
    if !has(pod, "initContainers", "migrate") {
        let list = pod["spec"]["initContainers"].is_array();
        patch.push(match list {
            true => json!({"op": "add", "path": "/spec/initContainers/0", "value": container("migrate")}),
            false => json!({"op": "add", "path": "/spec/initContainers", "value": [container("migrate")]}),
        });
    }
    json!(patch)
}

/// Our annotations, for teams that cannot write them.
fn adds_our_annotation(pod: &Value) -> Value {
    if pod["metadata"]["annotations"]["keyvault-injector.io/secrets"].is_string() {
        return json!([]);
    }
    let mut annotations = pod["metadata"]["annotations"].clone();
    if !annotations.is_object() {
        annotations = json!({});
    }
    super::asking().as_object().unwrap().iter().for_each(|(key, value)| annotations[key] = value.clone());
    json!([{"op": "add", "path": "/metadata/annotations", "value": annotations}])
}

fn init_containers(pod: &Value) -> Vec<&str> {
    pod["spec"]["initContainers"].as_array().unwrap().iter().map(|container| container["name"].as_str().unwrap()).collect()
}

/// Ours is put right on every pass, and finds nothing to do on its own result.
async fn assert_settled(scene: &Scene, made: &Value, consumers: &[&str]) {
    assert_injected(made, consumers);
    let mut again = made.clone();
    again["metadata"]["name"] = json!("again");
    let again = scene.review(&again).await;
    assert_eq!((&again["allowed"], &again["patch"]), (&json!(true), &Value::Null), "{again:#}");
}

#[tokio::test]
async fn containers_that_another_webhook_adds_before_ours_are_given_files_at_once() {
    let scene = Scene::new("before", &[]).await;
    let neighbour = Neighbour::start(&scene, BEFORE, adds_containers).await;
    let made = scene.create(&pod("web")).await.unwrap();
    assert_settled(&scene, &made, &["migrate", "app", "sidecar"]).await;
    assert_eq!(init_containers(&made), [AGENT, "migrate"]);
    // The second round is for what admission inside the API server did to the neighbour's containers.
    assert_eq!((scene.reviews("web", 2).await, neighbour.calls("web")), (vec!["injected".to_owned(), "unchanged".to_owned()], 2));
}

#[tokio::test]
async fn containers_that_another_webhook_adds_after_ours_are_given_files_in_the_second_pass() {
    let scene = Scene::new("after", &[]).await;
    let neighbour = Neighbour::start(&scene, AFTER, adds_containers).await;
    let made = scene.create(&pod("web")).await.unwrap();
    assert_settled(&scene, &made, &["migrate", "app", "sidecar"]).await;
    assert_eq!(init_containers(&made), [AGENT, "migrate"]);
    assert_eq!((scene.reviews("web", 2).await, neighbour.calls("web")), (vec!["injected".to_owned(), "injected".to_owned()], 2));
}

#[tokio::test]
async fn a_webhook_before_ours_may_add_our_annotation_while_one_after_ours_adds_containers() {
    let scene = Scene::new("both", &[]).await;
    let before = Neighbour::start(&scene, BEFORE, adds_our_annotation).await;
    let after = Neighbour::start(&scene, AFTER, adds_containers).await;
    let mut plain = pod("web");
    plain["metadata"]["annotations"] = Value::Null;
    let made = scene.create(&plain).await.unwrap();
    assert_settled(&scene, &made, &["migrate", "app", "sidecar"]).await;
    assert_eq!(init_containers(&made), [AGENT, "migrate"]);
    assert_eq!(scene.reviews("web", 2).await, ["injected", "injected"]);
    assert_eq!((before.calls("web"), after.calls("web")), (2, 2));
}

#[tokio::test]
async fn an_annotation_that_comes_after_ours_was_passed_over_is_seen_only_where_ours_was_called() {
    let scene = Scene::new("too-late", &[]).await;
    let _neighbour = Neighbour::start(&scene, AFTER, adds_our_annotation).await;
    // Nothing under our prefix: the API server does not call us, and reinvocation never makes a first call.
    let mut plain = pod("plain");
    plain["metadata"]["annotations"] = Value::Null;
    let made = scene.create(&plain).await.unwrap();
    assert_eq!((&annotations(&made)["keyvault-injector.io/secrets"], agent_of(&made)), (&json!("db-password"), None));
    assert!(!annotations(&made).contains_key("keyvault-injector.io/status") && our_mounts(&made["spec"]["containers"][0]).is_empty(), "{made:#}");
    assert!(!scene.injector.log().contains(r#""pod":"plain""#));

    // An annotation of ours that asks for nothing is enough to be called, and called again.
    let mut known = pod("known");
    known["metadata"]["annotations"] = json!({"keyvault-injector.io/vault": "team-a"});
    let made = scene.create(&known).await.unwrap();
    assert_settled(&scene, &made, &["app"]).await;
    assert_eq!(scene.reviews("known", 2).await, ["not-asked", "injected"]);
}
