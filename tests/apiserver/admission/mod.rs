//! What the API server makes of our answers.

mod acceptance;
mod defaults;
mod denials;
mod fields;
mod living;
mod neighbours;
mod reviews;

use axum::http::Request;
use kube::Client;
use serde_json::{Map, Value, json};

use crate::cluster::{Cluster, Injector, Loopback, OPTED_IN, Output, Setup, until};

const AGENT: &str = "keyvault-agent";
const PREFIX: &str = "keyvault-injector.io/";
const RESTRICTED: (&str, &str) = ("pod-security.kubernetes.io/enforce", "restricted");

/// A pod that passes `restricted`, with the annotations of [`asking`]. Nothing holds for the pod as a whole: ours has to be as good by itself.
fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "annotations": asking()},
        "spec": {"containers": [container("app")]},
    })
}

/// Annotations for one secret that need neither Namespace nor ServiceAccount.
fn asking() -> Value {
    json!({
        "keyvault-injector.io/vault": "team-a",
        "keyvault-injector.io/secrets": "db-password",
        "keyvault-injector.io/client-id": "11111111-1111-1111-1111-111111111111",
        "keyvault-injector.io/tenant-id": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    })
}

fn container(name: &str) -> Value {
    json!({
        "name": name, "image": "registry.example/app",
        "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true, "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    })
}

/// Sets one annotation of ours.
fn annotate(pod: &mut Value, key: &str, value: &str) {
    pod["metadata"]["annotations"][format!("{PREFIX}{key}")] = json!(value);
}

/// The same pod, opted out: what it is without us.
fn opted_out(pod: &Value) -> Value {
    let mut pod = pod.clone();
    annotate(&mut pod, "inject", "false");
    pod
}

/// A workload of apps/v1 or batch/v1 that makes pods like `pod`, labelled `app: NAME`.
fn workload(kind: &str, name: &str, pod: &Value) -> Value {
    let labels = json!({"app": name});
    let template = json!({"metadata": {"labels": labels, "annotations": pod["metadata"]["annotations"]}, "spec": pod["spec"]});
    let mut workload = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": {"template": template}});
    if kind == "Job" {
        workload["apiVersion"] = json!("batch/v1");
        workload["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
        return workload;
    }
    workload["spec"]["replicas"] = json!(2);
    workload["spec"]["selector"] = json!({"matchLabels": labels});
    if kind == "StatefulSet" {
        workload["spec"]["serviceName"] = json!(name);
    }
    workload
}

/// An opted-in namespace whose annotated pods go to a webhook of its own.
struct Scene {
    cluster: &'static Cluster,
    client: Client,
    namespace: String,
    injector: Injector,
    loopback: Loopback,
}

impl Scene {
    /// A scene in which the API server is seen to call the webhook.
    async fn new(prefix: &str, labels: &[(&str, &str)]) -> Scene {
        let scene = Scene::unregistered(prefix, labels).await;
        scene.cluster.register(&scene.namespace, &scene.injector, &scene.loopback).await;
        scene.registered().await;
        scene
    }

    /// A scene whose webhook has more lines of configuration.
    async fn configured(prefix: &str, labels: &[(&str, &str)], config: &str) -> Scene {
        let (cluster, loopback) = (Cluster::shared().await, Loopback::new());
        let namespace = cluster.namespace(prefix, &[&[OPTED_IN], labels].concat()).await;
        let injector = Injector::start(cluster, &Setup { config, ..Setup::files(&namespace, &loopback) }).await;
        let scene = Scene { cluster, client: cluster.client().await, namespace, injector, loopback };
        scene.injector.ready().await;
        scene.cluster.register(&scene.namespace, &scene.injector, &scene.loopback).await;
        scene.registered().await;
        scene
    }

    /// A scene with all but the registration.
    async fn unregistered(prefix: &str, labels: &[(&str, &str)]) -> Scene {
        let namespace = Cluster::shared().await.namespace(prefix, &[&[OPTED_IN], labels].concat()).await;
        let scene = Scene::started_as(namespace, None).await;
        scene.injector.ready().await;
        scene
    }

    /// A scene whose webhook is someone in the cluster, and perhaps not ready.
    async fn started_as(namespace: String, token: Option<&str>) -> Scene {
        let cluster = Cluster::shared().await;
        let loopback = Loopback::new();
        let injector = Injector::start(cluster, &Setup { token, ..Setup::files(&namespace, &loopback) }).await;
        Scene { cluster, client: cluster.client().await, namespace, injector, loopback }
    }

    /// Waits until the API server follows the registration.
    async fn registered(&self) {
        let called = async || {
            self.dry_run(&pod("probe")).await.ok();
            self.injector.log().contains(r#""pod":"probe""#).then_some(())
        };
        until("review of a pod", called).await;
    }

    /// Sends an object to the API server, in the namespace of the scene, and gives back what it made of it or the message of its refusal.
    async fn send(&self, path: &str, query: &str, object: &Value) -> Result<Value, String> {
        let uri = format!("/{path}{query}").replace("NAMESPACE", &self.namespace);
        let request = Request::post(uri).header("content-type", "application/json").body(object.to_string().into_bytes()).unwrap();
        let answer = self.client.request(request).await;
        answer.map_err(|error| if let kube::Error::Api(status) = error { status.message } else { panic!("{error}") })
    }

    async fn create(&self, pod: &Value) -> Result<Value, String> {
        self.send("api/v1/namespaces/NAMESPACE/pods", "", pod).await
    }

    async fn dry_run(&self, pod: &Value) -> Result<Value, String> {
        self.send("api/v1/namespaces/NAMESPACE/pods", "?dryRun=All", pod).await
    }

    /// Asks the webhook itself, without an API server that reads and writes the pod: the response of the review.
    async fn review(&self, pod: &Value) -> Value {
        let request = json!({
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"}, "namespace": self.namespace, "operation": "CREATE", "object": pod,
        });
        let review = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}).to_string();
        let ca = reqwest::Certificate::from_pem(self.loopback.ca.as_bytes()).unwrap();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([ca]).build().unwrap();
        let url = format!("https://{}/mutate", self.injector.https);
        let answer = client.post(url).header("content-type", "application/json").body(review).send().await.unwrap();
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        answer["response"].clone()
    }

    /// Creates a workload of [`workload`].
    async fn create_workload(&self, workload: &Value) {
        let plural = workload["kind"].as_str().unwrap().to_lowercase();
        let group = workload["apiVersion"].as_str().unwrap();
        self.send(&format!("apis/{group}/namespaces/NAMESPACE/{plural}s"), "", workload).await.unwrap();
    }

    async fn get(&self, path: &str) -> Value {
        let uri = format!("/{path}").replace("NAMESPACE", &self.namespace);
        self.client.request(Request::get(uri).body(Vec::new()).unwrap()).await.unwrap()
    }

    /// The pods of a workload, once it has so many.
    async fn pods_of(&self, name: &str, count: usize) -> Vec<Value> {
        let path = format!("api/v1/namespaces/NAMESPACE/pods?labelSelector=app%3D{name}");
        let pods = async || self.get(&path).await["items"].as_array().filter(|pods| pods.len() == count).cloned();
        until(&format!("{count} pods of {name}"), pods).await
    }

    /// kubectl in the namespace of the scene.
    async fn kubectl(&self, arguments: &[&str], input: &Value) -> Output {
        self.cluster.kubectl_with(&[&["-n", &self.namespace], arguments].concat(), &input.to_string()).await
    }

    /// How the webhook answered the reviews of one pod, in order. `name` is a pod's, or `KIND/NAME` of its owner.
    async fn reviews(&self, name: &str, count: usize) -> Vec<String> {
        let of_pod = |line: &Value| line["message"] == "review" && line["pod"] == name;
        let outcomes = async || {
            let log = self.injector.log();
            let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).filter(of_pod);
            let outcomes: Vec<String> = lines.map(|line| line["outcome"].as_str().unwrap().to_owned()).collect();
            (outcomes.len() >= count).then_some(outcomes)
        };
        until("reviews in the log", outcomes).await
    }
}

/// The one injected container of a pod, if it stands where it belongs.
fn agent_of(pod: &Value) -> Option<&Value> {
    let agents = pod["spec"]["initContainers"].as_array()?.iter().filter(|container| container["name"] == AGENT).count();
    let first = &pod["spec"]["initContainers"][0];
    (agents == 1 && first["name"] == AGENT).then_some(first)
}

/// The agent's plan.
fn plan_of(pod: &Value) -> Value {
    let agent = agent_of(pod).unwrap_or_else(|| panic!("no agent in {pod:#}"));
    let plan = agent["env"].as_array().unwrap().iter().find(|variable| variable["name"] == "KEYVAULT_AGENT_PLAN").unwrap();
    serde_json::from_str(plan["value"].as_str().unwrap()).unwrap()
}

/// The names of the volumes of ours that a container mounts.
fn our_mounts(container: &Value) -> Vec<&str> {
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    mounts.filter_map(|mount| mount["name"].as_str()).filter(|name| name.starts_with("keyvault-")).collect()
}

/// An injected pod is whole: the agent first and once, its volumes there, each container named here given the files, the plan's digest noted.
#[track_caller]
fn assert_injected(pod: &Value, consumers: &[&str]) {
    assert_eq!(plan_of(pod)["fetch"][0]["secret"]["name"], "db-password", "{pod:#}");
    let volumes: Vec<&Value> = pod["spec"]["volumes"].as_array().unwrap().iter().map(|volume| &volume["name"]).collect();
    for name in ["keyvault-files", "keyvault-token"] {
        assert_eq!(volumes.iter().filter(|volume| **volume == name).count(), 1, "{name} in {volumes:?}");
    }
    let containers = ["initContainers", "containers"].into_iter().flat_map(|list| pod["spec"][list].as_array().into_iter().flatten());
    let given: Vec<&str> = containers.filter(|container| our_mounts(container) == ["keyvault-files"]).map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(given, consumers, "{pod:#}");
    assert!(annotations(pod)[&format!("{PREFIX}status")].as_str().unwrap().starts_with("injected plan=sha256:"), "{pod:#}");
}

fn annotations(pod: &Value) -> &Map<String, Value> {
    pod["metadata"]["annotations"].as_object().unwrap()
}

/// A pod without anything of ours, and without what the API server makes up for each pod.
fn without_ours(pod: &Value) -> Value {
    let mut pod = pod.clone();
    let keep = |list: &mut Value, keep: fn(&str) -> bool| {
        if let Some(entries) = list.as_array_mut() {
            entries.retain(|entry| keep(entry["name"].as_str().unwrap()));
            if entries.is_empty() {
                list.take();
            }
        }
    };
    let foreign = |name: &str| !name.starts_with("keyvault-");
    keep(&mut pod["spec"]["initContainers"], foreign);
    keep(&mut pod["spec"]["volumes"], foreign);
    for list in ["initContainers", "containers"] {
        pod["spec"][list].as_array_mut().into_iter().flatten().for_each(|container| keep(&mut container["volumeMounts"], foreign));
    }
    for made_up in ["uid", "creationTimestamp", "resourceVersion", "managedFields", "generation"] {
        pod["metadata"].as_object_mut().unwrap().remove(made_up);
    }
    // Conditions say when.
    if let Some(status) = pod["status"].as_object_mut() {
        status.remove("conditions");
    }
    if let Some(annotations) = pod["metadata"]["annotations"].as_object_mut() {
        annotations.retain(|key, _| !key.starts_with(PREFIX));
    }
    pod
}
