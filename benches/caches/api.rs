//! An API server that has Namespaces, ServiceAccounts and Nodes and nothing else: lists in pages, streaming lists, watches.

use std::convert::Infallible;
use std::io::{BufRead, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::{StreamExt, stream};
use keyvault_injector::webhook::runtime;
use serde_json::{Value, json};
use tokio::sync::watch;

/// ServiceAccounts in each Namespace.
pub(crate) const ACCOUNTS: usize = 5;

/// What a cluster has.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) namespaces: usize,
    pub(crate) nodes: usize,
}

/// One in so many objects carries something of ours.
const OURS: usize = 10;

/// What the server is made of: how much there is, and whether it can stream lists.
#[derive(Clone)]
struct Api {
    size: Size,
    streams: bool,
    generation: watch::Sender<usize>,
}

/// A server in a separate process, which ends with this value.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn start(size: Size, streams: bool) -> Server {
        let program = std::env::current_exe().expect("this program");
        let arguments = ["--api".to_owned(), size.namespaces.to_string(), size.nodes.to_string(), streams.to_string()];
        let mut process = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("this program runs");
        let mut line = String::new();
        std::io::BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut line).expect("the server says where it is");
        Server { process, address: line.trim().parse().expect("an address") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `NAMESPACES NODES STREAMS`: serves on a free port, which it prints, until standard input ends.
pub(crate) fn serve(arguments: &[String]) {
    let count = |index: usize| arguments[index].parse().expect("a number");
    let size = Size { namespaces: count(0), nodes: count(1) };
    let api = Api { size, streams: arguments[2] == "true", generation: watch::Sender::new(0) };
    let router = Router::new()
        .route("/api/v1/{kind}", get(objects))
        .route("/expire", post(async |State(api): State<Arc<Api>>| api.generation.send_modify(|generation| *generation += 1)))
        .with_state(Arc::new(api));
    let runtime = runtime().expect("a runtime");
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    runtime.spawn(axum::serve(listener, router).into_future());
    std::io::stdin().read_to_end(&mut Vec::new()).expect("a pipe");
}

async fn objects(State(api): State<Arc<Api>>, Path(kind): Path<String>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let field = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=').map(str::to_owned));
    let count = match kind.as_str() {
        "namespaces" => api.size.namespaces,
        "serviceaccounts" => api.size.namespaces * ACCOUNTS,
        _ => api.size.nodes,
    };
    let generation = *api.generation.borrow();
    let object = move |index: usize| if kind == "nodes" { node(index, generation) } else { object(&kind, index, generation) };
    let initial = field("sendInitialEvents").is_some();
    if initial && !api.streams {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "forbidden", "reason": "Invalid", "code": 422});
        return (StatusCode::UNPROCESSABLE_ENTITY, status.to_string()).into_response();
    }
    if field("watch").is_none() {
        let from: usize = field("continue").map_or(0, |from| from.parse().expect("a number"));
        let limit: usize = field("limit").expect("pages are asked for").parse().expect("a number");
        let until = count.min(from + limit);
        let more = if until < count { json!(until.to_string()) } else { Value::Null };
        let metadata = json!({"resourceVersion": "7", "continue": more});
        let items: Vec<Value> = (from..until).map(object).collect();
        return json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items})
            .to_string()
            .into_response();
    }
    let added = (0..if initial { count } else { 0 }).map(move |index| line(&json!({"type": "ADDED", "object": object(index)})));
    let end = initial.then(|| {
        let metadata = json!({"resourceVersion": "8", "annotations": {"k8s.io/initial-events-end": "true"}});
        line(&json!({"type": "BOOKMARK", "object": {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata}}))
    });
    let expired = stream::once(async move {
        let mut changes = api.generation.subscribe();
        changes.wait_for(|now| *now > generation).await.expect("the server holds the sender");
        line(
            &json!({"type": "ERROR", "object": {"kind": "Status", "status": "Failure", "message": "too old", "reason": "Expired", "code": 410, "metadata": {}}}),
        )
    });
    Body::from_stream(stream::iter(added.chain(end)).chain(expired)).into_response()
}

fn line(event: &Value) -> Result<Bytes, Infallible> {
    Ok(Bytes::from(format!("{event}\n")))
}

/// Metadata as clusters have it: labels, what others annotate, and who manages which field.
fn object(kind: &str, index: usize, generation: usize) -> Value {
    let (namespace, name) = match kind {
        "namespaces" => (None, format!("team-{index:05}")),
        _ => (
            Some(format!("team-{:05}", index / ACCOUNTS)),
            if index.is_multiple_of(ACCOUNTS) { "default".to_owned() } else { format!("service-{}", index % ACCOUNTS) },
        ),
    };
    let last = json!({"apiVersion": "v1", "kind": "Whatever", "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "Helm"}}});
    let mut annotations = json!({
        "kubectl.kubernetes.io/last-applied-configuration": last.to_string(), "meta.helm.sh/release-name": "platform",
        "meta.helm.sh/release-namespace": "platform-system", "openshift.io/sa.scc.uid-range": "1000680000/10000", "team.example/generation": generation.to_string(),
    });
    let mut labels = json!({"app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "platform-4.11.2", "team.example/cost-center": "4711"});
    if index.is_multiple_of(OURS) {
        if namespace.is_none() {
            labels["keyvault-injector.io/injection"] = json!("enabled");
            annotations["keyvault-injector.io/vault"] = json!(format!("payments-{generation}"));
        } else {
            annotations["azure.workload.identity/client-id"] = json!("0f1e2d3c-1111-4222-8333-444455556666");
            annotations["azure.workload.identity/tenant-id"] = json!("aaaabbbb-1111-4222-8333-444455556666");
        }
    }
    let fields = json!({"f:metadata": {"f:annotations": {".": {}, "f:meta.helm.sh/release-name": {}, "f:meta.helm.sh/release-namespace": {},
        "f:kubectl.kubernetes.io/last-applied-configuration": {}}, "f:labels": {".": {}, "f:app.kubernetes.io/managed-by": {}, "f:helm.sh/chart": {}}}});
    let managed: Vec<Value> = ["helm", "kubectl-client-side-apply", "platform-operator"]
        .iter()
        .map(|manager| json!({"manager": manager, "operation": "Update", "apiVersion": "v1", "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1", "fieldsV1": fields}))
        .collect();
    let mut metadata = json!({
        "name": name, "uid": format!("0f1e2d3c-1111-4222-8333-{index:012}"), "resourceVersion": "7", "creationTimestamp": "2026-01-02T03:04:05Z",
        "labels": labels, "annotations": annotations, "managedFields": managed,
    });
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata})
}

/// A Node as kubelets report it, with the fifty images that they list at most. The first one is of a release that lacks something, and says its generation.
fn node(index: usize, generation: usize) -> Value {
    let name = format!("aks-nodepool{}-12345678-vmss{index:06}", index % 10);
    let kubelet = if index == 0 { format!("v1.34.{generation}") } else { "v1.36.3".to_owned() };
    let labels = json!({"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": name, "kubernetes.azure.com/agentpool": "nodepool1",
        "topology.kubernetes.io/region": "westeurope", "topology.kubernetes.io/zone": "westeurope-1", "node.kubernetes.io/instance-type": "Standard_D4s_v5"});
    let image = |image: usize| {
        let repository = format!("registry.example/platform/team-{}/service-{image}", image % 7);
        json!({"names": [format!("{repository}@sha256:{:064x}", image * 7919), format!("{repository}:1.{image}.0")], "sizeBytes": 12_345_678 + image})
    };
    let condition = |kind: &str| {
        json!({"type": kind, "status": "False", "lastHeartbeatTime": "2026-01-02T03:04:05Z", "lastTransitionTime": "2026-01-02T03:04:05Z",
            "reason": format!("KubeletHasNo{kind}"), "message": format!("kubelet has no {kind}")})
    };
    let conditions = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"].map(condition);
    json!({
        "kind": "Node", "apiVersion": "v1",
        "metadata": {"name": name, "uid": format!("0f1e2d3c-1111-4222-8333-{index:012}"), "resourceVersion": "7", "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": labels, "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}},
        "spec": {"podCIDR": "10.244.0.0/24", "providerID": format!("azure:///subscriptions/x/virtualMachines/{index}")},
        "status": {
            "capacity": {"cpu": "4", "memory": "16393292Ki", "pods": "250"}, "allocatable": {"cpu": "3860m", "memory": "14117964Ki", "pods": "250"},
            "conditions": conditions,
            "addresses": [{"type": "InternalIP", "address": "10.224.0.4"}, {"type": "Hostname", "address": name}],
            "nodeInfo": {"machineID": "0f1e2d3c111142228333444455556666", "kernelVersion": "6.8.0", "osImage": "Ubuntu 24.04", "operatingSystem": "linux",
                "architecture": "amd64", "containerRuntimeVersion": "containerd://2.2.9", "kubeletVersion": kubelet},
            "images": (0..50).map(image).collect::<Vec<_>>(),
            "declaredFeatures": ["InPlacePodVerticalScaling", "RestartAllContainersOnContainerExits"],
        },
    })
}
