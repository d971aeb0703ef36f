//! The search against an API server whose pods have all slipped through. Time is paused.

use std::collections::HashMap;
use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, Response};
use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;

/// What was asked when, and what is said to the creation of an Event: by the pod's name and how many were attempted before.
#[derive(Clone)]
struct Server {
    pods: usize,
    asked: Arc<Mutex<HashMap<String, Vec<Duration>>>>,
    to_event: fn(&str, usize) -> u16,
    started: Instant,
}

impl Server {
    fn new(pods: usize, to_event: fn(&str, usize) -> u16) -> Server {
        Server { pods, asked: Arc::default(), to_event, started: Instant::now() }
    }

    /// Runs the search, as the holder of the Lease does.
    fn search(&self) -> (Arc<Metrics>, JoinHandle<()>) {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| server.clone().answer(request));
        let cluster = Arc::new(ClusterDefaults::new(Client::new(service, "injector")));
        tokio::spawn(Arc::clone(&cluster).watch());
        let metrics = Arc::new(Metrics::default());
        let search = SlippedThrough::new(cluster, Arc::clone(&metrics), "webhook-0");
        let task = tokio::spawn(async move { Term { search: &search, memory: Mutex::default(), news: Notify::new() }.run().await });
        (metrics, task)
    }

    async fn answer(self, request: Request<kube::client::Body>) -> Result<Response<Body>, Infallible> {
        let path = request.uri().path().to_owned();
        let (head, body) = request.into_parts();
        let (status, body) = if head.method == Method::POST {
            let event: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
            let pod = event["regarding"]["name"].as_str().unwrap();
            let before = self.count(&format!("POST {pod}"));
            self.note(format!("POST {pod}"));
            match (self.to_event)(pod, before) {
                201 => (201, Body::from(event.to_string())),
                code => {
                    (code, Body::from(json!({"kind": "Status", "status": "Failure", "reason": "X", "message": "refused", "code": code}).to_string()))
                }
            }
        } else if let Some(name) = path.strip_prefix("/api/v1/namespaces/payments/pods/") {
            self.note(format!("GET {name}"));
            (200, Body::from(pod(name).to_string()))
        } else {
            let added: Vec<Value> = match path.as_str() {
                "/api/v1/namespaces" => vec![json!({"metadata": {"name": "payments", "labels": {"keyvault-injector.io/injection": "enabled"}}})],
                "/api/v1/pods" => {
                    assert!(
                        head.uri.query().unwrap().contains("fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed"),
                        "{}",
                        head.uri
                    );
                    (0..self.pods).map(|index| pod(&format!("pod-{index}"))).collect()
                }
                "/api/v1/serviceaccounts" => Vec::new(),
                other => panic!("{other} was asked for"),
            };
            let end = json!({"type": "BOOKMARK", "object": {"apiVersion": "v1", "kind": "X",
                "metadata": {"resourceVersion": "8", "annotations": {"k8s.io/initial-events-end": "true"}}}});
            let events = added.into_iter().map(|object| json!({"type": "ADDED", "object": object})).chain([end]);
            let lines = events.map(|event| Ok::<_, Infallible>(Bytes::from(format!("{event}\n"))));
            (200, Body::from_stream(stream::iter(lines).chain(stream::pending())))
        };
        Ok(Response::builder().status(status).body(body).unwrap())
    }

    fn note(&self, what: String) {
        self.asked.lock().unwrap().entry(what).or_default().push(self.started.elapsed());
    }

    fn count(&self, what: &str) -> usize {
        self.asked.lock().unwrap().get(what).map_or(0, Vec::len)
    }

    fn requests(&self) -> usize {
        self.asked.lock().unwrap().values().map(Vec::len).sum()
    }
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "payments", "uid": format!("uid-of-{name}"), "resourceVersion": "7",
        "annotations": {"keyvault-injector.io/secrets": "db"}}, "spec": {"containers": []}})
}

fn line(metrics: &Metrics, name: &str) -> String {
    let text = metrics.text();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or_default().to_owned()
}

const FOUND: &str = "keyvault_injector_uninjected_pods_found_total";
const PRESENT: &str = "keyvault_injector_uninjected_pods";

#[tokio::test(start_paused = true)]
async fn a_flood_of_pods_is_reported_at_a_bounded_rate() {
    let server = Server::new(1000, |_, _| 201);
    let (metrics, _task) = server.search();
    sleep(Duration::from_secs(60)).await;
    let in_a_minute = server.requests();
    assert!((590..=602).contains(&in_a_minute), "{in_a_minute} requests, two for each of five pods a second");
    sleep(Duration::from_secs(600)).await;
    assert_eq!((line(&metrics, FOUND).as_str(), line(&metrics, PRESENT).as_str()), ("1000", "1000"));
    assert_eq!(server.requests(), 2000, "each is asked about once");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_reported_already_is_counted_as_present_only() {
    let server = Server::new(2, |pod, _| if pod == "pod-0" { 409 } else { 201 });
    let (metrics, task) = server.search();
    sleep(Duration::from_secs(60)).await;
    assert_eq!((line(&metrics, FOUND).as_str(), line(&metrics, PRESENT).as_str()), ("1", "2"));
    task.abort();
    assert!(task.await.is_err());
    assert_eq!(line(&metrics, PRESENT), "0", "who holds the lease no more knows of none");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_final_and_any_other_failure_passes() {
    let server = Server::new(3, |pod, before| match (pod, before) {
        ("pod-0", _) => 403,
        ("pod-1", 0) => 500,
        ("pod-1", 1) => 429,
        _ => 201,
    });
    let (metrics, _task) = server.search();
    sleep(Duration::from_secs(120)).await;
    assert_eq!([server.count("POST pod-0"), server.count("POST pod-1"), server.count("POST pod-2")], [1, 3, 1]);
    assert_eq!((line(&metrics, FOUND).as_str(), line(&metrics, PRESENT).as_str()), ("2", "3"));
    let asked = server.asked.lock().unwrap()["POST pod-1"].clone();
    assert!(asked.windows(2).all(|two| two[1] - two[0] >= PAUSE), "{asked:?}");
}
