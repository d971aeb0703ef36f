//! Cluster caches against an API server that answers from a script. Time is paused: pauses between attempts pass at once.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use futures::{StreamExt, future, stream};
use keyvault_injector::cluster::ClusterDefaults;
use keyvault_injector::webhook::{Defaults, LookupError, Metrics, PodDefaults};
use keyvault_mutation::inject::ServiceAccountDefaults;
use keyvault_mutation::nodes::{Answer, NodeAnswers, NodeFeature};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::time::{sleep, timeout};

/// What the API server says to one request.
enum Reply {
    /// A status and an object.
    Object(u16, Value),
    /// Events, and then silence on an open connection.
    Events(Vec<Value>),
    /// Events, those that the test sends later, and then silence.
    Following(Vec<Value>, broadcast::Receiver<Value>),
    /// Events, and then the end of the connection.
    Broken(Vec<Value>),
    /// A piece of an event, and then an error of the connection.
    Cut(String),
    /// Nothing.
    Silence,
    /// No connection.
    Away,
}

type Script = dyn Fn(&str, usize) -> Reply + Send + Sync;

#[derive(Clone)]
struct Api {
    asked: Arc<Mutex<Vec<String>>>,
    script: Arc<Script>,
}

impl Api {
    /// `script` is asked with path and query, and with how often that path has been asked for.
    fn new(script: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Api {
        Api { asked: Arc::default(), script: Arc::new(script) }
    }

    fn defaults(&self) -> Arc<ClusterDefaults> {
        Arc::new(self.unwatched())
    }

    fn unwatched(&self) -> ClusterDefaults {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| api.clone().answer(request));
        ClusterDefaults::new(kube::Client::new(service, "default"))
    }

    fn defaults_and_nodes(&self) -> (Arc<ClusterDefaults>, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::default());
        let defaults = Arc::new(self.unwatched().with_nodes());
        tokio::spawn(Arc::clone(&defaults).watch());
        tokio::spawn(Arc::clone(&defaults).watch_nodes(Arc::clone(&metrics)));
        (defaults, metrics)
    }

    fn watched(&self) -> Arc<ClusterDefaults> {
        let defaults = self.defaults();
        tokio::spawn(Arc::clone(&defaults).watch());
        defaults
    }

    async fn answer(self, request: Request<kube::client::Body>) -> io::Result<Response<Body>> {
        let accept = request.headers().get("accept").map(|accept| accept.to_str().unwrap()).unwrap_or_default();
        let target = request.uri().path_and_query().unwrap().as_str().to_owned();
        let whole = !accept.contains("as=PartialObjectMetadata");
        assert_eq!(whole, is_nodes(&target), "whole objects were asked for: {target} {accept}");
        let before = {
            let mut asked = self.asked.lock().unwrap();
            let path = |target: &str| target.split('?').next().unwrap().to_owned();
            let before = asked.iter().filter(|earlier| path(earlier) == path(&target)).count();
            asked.push(target.clone());
            before
        };
        let lines = |events: Vec<Value>| stream::iter(events.into_iter().map(line));
        let (status, body) = match (self.script)(&target, before) {
            Reply::Object(status, object) => (status, Body::from(object.to_string())),
            Reply::Events(events) => (200, Body::from_stream(lines(events).chain(stream::pending()))),
            Reply::Following(events, later) => {
                let later = stream::unfold(later, |mut later| async move { Some((line(later.recv().await.ok()?), later)) });
                (200, Body::from_stream(lines(events).chain(later).chain(stream::pending())))
            }
            Reply::Broken(events) => (200, Body::from_stream(lines(events))),
            Reply::Cut(piece) => {
                (200, Body::from_stream(stream::iter([Ok(Bytes::from(piece)), Err(io::Error::from(io::ErrorKind::ConnectionReset))])))
            }
            Reply::Silence => future::pending().await,
            Reply::Away => return Err(io::ErrorKind::ConnectionRefused.into()),
        };
        Ok(Response::builder().status(status).header("content-type", "application/json").body(body).unwrap())
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn line(event: Value) -> Result<Bytes, Infallible> {
    Ok(Bytes::from(format!("{event}\n")))
}

fn object(namespace: Option<&str>, name: &str, annotations: &Value) -> Value {
    let mut metadata = json!({"name": name, "resourceVersion": "7", "annotations": annotations});
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata})
}

fn payments(vault: &str) -> Value {
    object(None, "payments", &json!({"keyvault-injector.io/vault": vault, "other.io/secret": "canary"}))
}

fn web(client_id: &str) -> Value {
    object(Some("payments"), "web", &json!({"azure.workload.identity/client-id": client_id}))
}

fn event(kind: &str, object: &Value) -> Value {
    json!({"type": kind, "object": object})
}

/// What ends a streaming list.
fn end_of_list() -> Value {
    let metadata = json!({"resourceVersion": "8", "annotations": {"k8s.io/initial-events-end": "true"}});
    json!({"type": "BOOKMARK", "object": {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata}})
}

fn status(code: u16, reason: &str) -> Reply {
    let message = format!("{reason} for the test");
    Reply::Object(
        code,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code}),
    )
}

fn is_namespaces(target: &str) -> bool {
    target.starts_with("/api/v1/namespaces?")
}

fn is_nodes(target: &str) -> bool {
    target.starts_with("/api/v1/nodes?")
}

fn node(name: &str, kubelet: &str) -> Value {
    let info = json!({"kubeletVersion": kubelet, "containerRuntimeVersion": "containerd://2.2.9", "operatingSystem": "linux"});
    let status =
        json!({"nodeInfo": info, "declaredFeatures": ["RestartAllContainersOnContainerExits"], "images": [{"names": ["x"], "sizeBytes": 1}]});
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "resourceVersion": "7"}, "spec": {}, "status": status})
}

fn end_of_nodes() -> Value {
    let metadata = json!({"resourceVersion": "8", "annotations": {"k8s.io/initial-events-end": "true"}});
    json!({"type": "BOOKMARK", "object": {"apiVersion": "v1", "kind": "Node", "metadata": metadata}})
}

/// Waits, on the paused clock, until a condition holds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let held = async {
        while !condition() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(1200), held).await.unwrap_or_else(|_| panic!("{what} did not come about within twenty minutes"));
}

fn vault_of(defaults: &ClusterDefaults) -> Option<String> {
    Some(defaults.cached("payments", "web")?.namespace.annotations.first()?.1.clone())
}

#[tokio::test(start_paused = true)]
async fn caches_fill_from_streaming_lists_keep_only_ours_and_follow_changes() {
    let (later, _) = broadcast::channel(8);
    let changes = later.clone();
    let api = Api::new(move |target, _| {
        assert!(target.contains("sendInitialEvents=true"), "{target}");
        if is_namespaces(target) {
            Reply::Following(vec![event("ADDED", &payments("one")), end_of_list()], changes.subscribe())
        } else {
            Reply::Events(vec![event("ADDED", &web("c")), end_of_list()])
        }
    });
    let defaults = api.watched();
    assert!(!defaults.filled());
    assert_eq!(defaults.cached("payments", "web"), None);
    until("full caches", || defaults.filled()).await;
    let known = defaults.cached("payments", "web").unwrap();
    assert_eq!(known.namespace.annotations, [("vault".to_owned(), "one".to_owned())]);
    assert_eq!(known.account, ServiceAccountDefaults { found: true, client_id: Some("c".into()), tenant_id: None });
    assert_eq!(defaults.cached("payments", "other"), None, "a ServiceAccount that nobody has seen may exist all the same");

    later.send(event("MODIFIED", &payments("two"))).unwrap();
    until("the change", || vault_of(&defaults).as_deref() == Some("two")).await;
    later.send(event("DELETED", &payments("two"))).unwrap();
    until("the deletion", || defaults.cached("payments", "web").is_none()).await;
    assert!(defaults.filled());
}

#[tokio::test(start_paused = true)]
async fn one_kind_alone_does_not_make_the_caches_full() {
    let api = Api::new(|target, _| if is_namespaces(target) { Reply::Events(vec![end_of_list()]) } else { status(403, "Forbidden") });
    let defaults = api.watched();
    let accounts_asked = || api.asked().iter().filter(|target| !is_namespaces(target)).count();
    until("three attempts", || accounts_asked() >= 3).await;
    assert!(!defaults.filled());
}

#[tokio::test(start_paused = true)]
async fn an_api_server_without_streaming_lists_is_listed() {
    let api = Api::new(|target, _| {
        if target.contains("sendInitialEvents") {
            return status(422, "Invalid");
        }
        if target.contains("watch=true") {
            return Reply::Events(Vec::new());
        }
        let item = if is_namespaces(target) { payments("listed") } else { web("c") };
        Reply::Object(
            200,
            json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": "7"}, "items": [item]}),
        )
    });
    let defaults = api.watched();
    until("full caches", || defaults.filled()).await;
    assert_eq!(vault_of(&defaults).as_deref(), Some("listed"));
}

#[tokio::test(start_paused = true)]
async fn a_broken_watch_keeps_what_it_knew_and_recovers() {
    let (later, _) = broadcast::channel(8);
    let rest = later.clone();
    let api = Api::new(move |target, before| match (is_namespaces(target), before) {
        (false, _) => Reply::Events(vec![event("ADDED", &web("c")), end_of_list()]),
        (true, 0) => Reply::Broken(vec![event("ADDED", &payments("old")), end_of_list()]),
        (true, 1..4) => status(500, "InternalError"),
        // What the watch wants to resume from is gone: everything comes again.
        (true, 4) => Reply::Events(vec![
            json!({"type": "ERROR", "object": {"kind": "Status", "status": "Failure", "message": "gone", "reason": "Expired", "code": 410}}),
        ]),
        (true, _) => Reply::Following(vec![event("ADDED", &payments("new"))], rest.subscribe()),
    });
    let defaults = api.watched();
    until("full caches", || defaults.filled()).await;
    for attempt in 2..=6 {
        until("the next attempt", || api.asked().iter().filter(|target| is_namespaces(target)).count() >= attempt).await;
        assert_eq!(vault_of(&defaults).as_deref(), Some("old"), "attempt {attempt}");
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(vault_of(&defaults).as_deref(), Some("old"), "half a list is none");
    later.send(end_of_list()).unwrap();
    until("the new state", || vault_of(&defaults).as_deref() == Some("new")).await;
}

/// A watch that is cut, and cannot go on from where it was.
async fn recovers_from(how: impl Fn(usize) -> Option<Reply> + Send + Sync + 'static) {
    let api = Api::new(move |target, before| match (is_namespaces(target), before) {
        (false, _) => Reply::Events(vec![event("ADDED", &web("c")), end_of_list()]),
        (true, 0) => Reply::Broken(vec![event("ADDED", &payments("old")), event("ADDED", &object(None, "gone", &json!({}))), end_of_list()]),
        (true, _) => how(before).unwrap_or_else(|| {
            assert!(target.contains("sendInitialEvents=true"), "everything comes anew: {target}");
            Reply::Events(vec![event("ADDED", &payments("new")), end_of_list()])
        }),
    });
    let defaults = api.watched();
    until("full caches", || defaults.filled()).await;
    assert_eq!(vault_of(&defaults).as_deref(), Some("old"));
    until("the new state", || vault_of(&defaults).as_deref() == Some("new")).await;
    assert!(defaults.cached("gone", "web").is_none(), "what vanished meanwhile is forgotten");
    assert!(api.asked().len() < 20, "it does not ask without pausing: {:?}", api.asked());
}

#[tokio::test(start_paused = true)]
async fn a_watch_starts_over_when_the_api_server_comes_back_with_another_history() {
    // For more than five minutes nobody answers; then the answer itself, not an event in it, is 410.
    recovers_from(|before| match before {
        1..14 => Some(Reply::Away),
        14 => Some(status(410, "Expired")),
        _ => None,
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_cut_within_a_line_and_within_a_list_is_no_end() {
    let gone = json!({"type": "ERROR", "object": {"kind": "Status", "status": "Failure", "message": "gone", "reason": "Expired", "code": 410}});
    recovers_from(move |before| match before {
        1 => Some(Reply::Cut("{\"type\":\"MODIFIED\",\"object\":{\"meta".to_owned())),
        2 => Some(Reply::Broken(vec![gone.clone()])),
        3 => Some(Reply::Broken(vec![event("ADDED", &payments("half"))])),
        _ => None,
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn objects_without_anything_of_ours_are_known_to_exist() {
    let api = Api::new(|target, _| {
        let bare =
            if is_namespaces(target) { object(None, "payments", &json!({"other.io/x": "y"})) } else { object(Some("payments"), "web", &json!({})) };
        Reply::Events(vec![event("ADDED", &bare), end_of_list()])
    });
    let defaults = api.watched();
    until("full caches", || defaults.filled()).await;
    let known = defaults.cached("payments", "web").unwrap();
    assert_eq!((known.namespace.name.as_str(), known.namespace.annotations.len()), ("payments", 0));
    assert_eq!(known.account, ServiceAccountDefaults { found: true, ..ServiceAccountDefaults::default() });
}

#[tokio::test(start_paused = true)]
async fn all_who_ask_at_once_share_one_question() {
    let api = Api::new(|target, _| match target {
        "/api/v1/namespaces/payments?" | "/api/v1/namespaces/payments" => Reply::Object(200, payments("fresh")),
        _ => Reply::Object(200, web("c")),
    });
    let defaults = api.defaults();
    let answers = future::join_all((0..10).map(|_| defaults.fresh("payments", "web"))).await;
    for answer in answers {
        assert_eq!(answer.unwrap().namespace.annotations, [("vault".to_owned(), "fresh".to_owned())]);
    }
    assert_eq!(api.asked().len(), 2, "one for each object: {:?}", api.asked());
    let _slow_to_hear = defaults.fresh("payments", "web");
    for asked in [4, 6] {
        defaults.fresh("payments", "web").await.unwrap();
        assert_eq!(api.asked().len(), asked, "an answer is fresh for those only who waited for it");
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_has_no_defaults() {
    let api = Api::new(|_, _| status(404, "NotFound"));
    let answer = api.defaults().fresh("payments", "web").await.unwrap();
    assert_eq!((answer.namespace.name.as_str(), answer.namespace.annotations.len()), ("payments", 0));
    assert_eq!(answer.account, ServiceAccountDefaults::default());
}

#[tokio::test(start_paused = true)]
async fn a_question_ends_within_a_second_and_a_refusal_says_why() {
    let api = Api::new(|_, _| Reply::Silence);
    let started = tokio::time::Instant::now();
    assert_eq!(api.defaults().fresh("payments", "web").await, Err(LookupError::Timeout(Duration::from_secs(1))));
    assert_eq!(started.elapsed(), Duration::from_secs(1));

    let api = Api::new(|_, _| status(403, "Forbidden"));
    let Err(LookupError::Refused(reason)) = api.defaults().fresh("payments", "web").await else { panic!("a refusal became an answer") };
    assert!(reason.contains("Forbidden for the test"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_question_that_nobody_waits_for_any_more_is_asked_again() {
    let api = Api::new(|_, before| if before == 0 { Reply::Silence } else { Reply::Object(200, web("c")) });
    let defaults = api.defaults();
    assert!(timeout(Duration::from_millis(10), defaults.fresh("payments", "web")).await.is_err());
    sleep(Duration::from_secs(5)).await;
    assert!(defaults.fresh("payments", "web").await.is_ok());
}

/// A question about each of so many namespaces, all at once.
async fn ask_about(defaults: &Arc<ClusterDefaults>, namespaces: usize) -> Vec<Result<PodDefaults, LookupError>> {
    let ask = async |number| defaults.fresh(&format!("namespace-{number}"), "web").await;
    future::join_all((0..namespaces).map(ask)).await
}

#[tokio::test(start_paused = true)]
async fn only_so_many_questions_are_in_flight_and_the_others_are_refused_with_that_reason() {
    let api = Api::new(|_, _| Reply::Silence);
    let defaults = api.defaults();
    let answers = ask_about(&defaults, 60).await;
    let busy = LookupError::Busy(Duration::from_secs(1));
    assert_eq!(answers.iter().filter(|answer| answer.as_ref() == Err(&busy)).count(), 44);
    assert_eq!(answers.iter().filter(|answer| **answer == Err(LookupError::Timeout(Duration::from_secs(1)))).count(), 16);
    assert_eq!(api.asked().len(), 2 * 16);
    assert_eq!(busy.to_string(), "too many lookups are in flight: the API server could not be asked within 1s");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_answers_at_once_is_asked_no_more_than_160_times_a_second() {
    let api = Api::new(|target, _| if target.contains("serviceaccounts") { Reply::Object(200, web("c")) } else { Reply::Object(200, payments("v")) });
    let started = tokio::time::Instant::now();
    let answers = ask_about(&api.defaults(), 150).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(started.elapsed() >= Duration::from_millis(900), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn absence_is_remembered_for_two_seconds_and_presence_is_not() {
    let exists = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let there = Arc::clone(&exists);
    let api = Api::new(move |target, _| match (there.load(std::sync::atomic::Ordering::SeqCst), is_namespace(target)) {
        (false, false) => status(404, "NotFound"),
        (true, false) => Reply::Object(200, web("c")),
        (_, true) => Reply::Object(200, payments("fresh")),
    });
    let defaults = api.defaults();
    for _ in 0..5 {
        let answer = defaults.fresh("payments", "web").await.unwrap();
        assert!(!answer.account.found);
        assert_eq!(answer.namespace.annotations, [("vault".to_owned(), "fresh".to_owned())]);
        assert_eq!(api.asked().len(), 2);
        sleep(Duration::from_millis(399)).await;
    }
    exists.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(!defaults.fresh("payments", "web").await.unwrap().account.found);
    sleep(Duration::from_millis(10)).await;
    for asked in [4, 6] {
        assert!(defaults.fresh("payments", "web").await.unwrap().account.found);
        assert_eq!(api.asked().len(), asked);
    }
}

fn is_namespace(target: &str) -> bool {
    !target.contains("/serviceaccounts/")
}

fn files_can(defaults: &ClusterDefaults) -> bool {
    let known = defaults.cached("payments", "web").unwrap();
    *known.nodes.get(NodeFeature::EnvFiles) == Answer::Yes
}

#[tokio::test(start_paused = true)]
async fn every_review_is_given_what_the_nodes_can_do_now() {
    let (later, _) = broadcast::channel(8);
    let changes = later.clone();
    let api = Api::new(move |target, _| match () {
        () if is_nodes(target) && target.contains("sendInitialEvents=true") => {
            Reply::Following(vec![event("ADDED", &node("new", "v1.36.3")), end_of_nodes()], changes.subscribe())
        }
        () if is_namespaces(target) => Reply::Events(vec![event("ADDED", &payments("one")), end_of_list()]),
        () if target.contains("watch=true") => Reply::Events(vec![event("ADDED", &web("c")), end_of_list()]),
        () if target.contains("serviceaccounts/") => Reply::Object(200, web("c")),
        () => Reply::Object(200, payments("one")),
    });
    let (defaults, metrics) = api.defaults_and_nodes();
    assert!(!defaults.filled());
    until("full caches", || defaults.filled()).await;
    assert!(files_can(&defaults));
    let fresh = defaults.fresh("payments", "other").await.unwrap();
    assert_eq!(*fresh.nodes.get(NodeFeature::EnvFiles), Answer::Yes, "a lookup knows it, too");

    later.send(event("ADDED", &node("old", "v1.34.1"))).unwrap();
    until("the old node", || !files_can(&defaults)).await;
    assert!(metrics.text().contains("keyvault_injector_nodes_can{feature=\"envFiles\"} 0\n"), "{}", metrics.text());
    let known = defaults.cached("payments", "web").unwrap();
    let Answer::No(obstacle) = known.nodes.get(NodeFeature::EnvFiles) else { panic!("{known:?}") };
    assert_eq!(obstacle.to_string(), "node old runs kubelet v1.34.1, and variables from files need 1.35 or later");
    let mut cordoned = node("old", "v1.34.1");
    cordoned["spec"]["unschedulable"] = json!(true);
    later.send(event("MODIFIED", &cordoned)).unwrap();
    until("the cordon", || files_can(&defaults)).await;
    later.send(event("DELETED", &node("new", "v1.36.3"))).unwrap();
    until("no node", || !files_can(&defaults)).await;
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_read_nodes_the_webhook_serves_and_answers_no() {
    let api = Api::new(|target, _| match () {
        () if is_nodes(target) => status(403, "Forbidden"),
        () if is_namespaces(target) => Reply::Events(vec![event("ADDED", &payments("one")), end_of_list()]),
        () => Reply::Events(vec![event("ADDED", &web("c")), end_of_list()]),
    });
    let (defaults, metrics) = api.defaults_and_nodes();
    until("full caches", || defaults.filled()).await;
    assert_eq!(*defaults.cached("payments", "web").unwrap().nodes, NodeAnswers::default());
    assert!(!metrics.text().contains("nodes_can{"), "{}", metrics.text());
}

#[tokio::test(start_paused = true)]
async fn an_error_that_passes_is_no_refusal_to_read_nodes() {
    for lists in [false, true] {
        let (later, _) = broadcast::channel(8);
        let rest = later.clone();
        let api = Api::new(move |target, before| match (is_nodes(target), before) {
            (true, 0) => status(500, "InternalError"),
            (true, 1) => Reply::Away,
            (true, 2) => status(401, "Unauthorized"),
            (true, _) if lists && target.contains("sendInitialEvents") => status(422, "Invalid"),
            (true, 4) => status(503, "ServiceUnavailable"),
            (true, _) if lists => status(403, "Forbidden"),
            (true, _) => Reply::Following(vec![event("ADDED", &node("new", "v1.36.3"))], rest.subscribe()),
            (false, _) => Reply::Events(vec![event("ADDED", &if is_namespaces(target) { payments("one") } else { web("c") }), end_of_list()]),
        });
        let (defaults, _) = api.defaults_and_nodes();
        for attempt in 1..=4 {
            until("an attempt", || api.asked().iter().filter(|target| is_nodes(target)).count() >= attempt).await;
            assert!(!defaults.filled(), "after attempt {attempt}");
        }
        if !lists {
            sleep(Duration::from_secs(600)).await;
            assert!(!defaults.filled(), "half a list is none");
            later.send(end_of_nodes()).unwrap();
        }
        until("full caches", || defaults.filled()).await;
        assert_eq!(files_can(&defaults), !lists, "lists: {lists}");
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_are_read_only_if_something_depends_on_them() {
    let api = Api::new(|target, _| {
        let object = if is_namespaces(target) { payments("one") } else { web("c") };
        Reply::Events(vec![event("ADDED", &object), end_of_list()])
    });
    let defaults = api.watched();
    tokio::spawn(Arc::clone(&defaults).watch_nodes(Arc::default()));
    until("full caches", || defaults.filled()).await;
    assert!(!api.asked().iter().any(|target| is_nodes(target)), "{:?}", api.asked());
}
