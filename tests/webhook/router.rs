//! Every edge of HTTP and of the review, without a socket.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, StatusCode};
use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use keyvault_injector::tls::{Stop, Stopping};
use keyvault_injector::webhook::{
    Decide, Defaults, FixedDefaults, Health, Limits, LookupError, Metrics, PodDefaults, Reviewer, health_router, router, serve_health,
};
use keyvault_mutation::config::Config;
use keyvault_mutation::inject::{Denial, Injection, Outcome};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt;

use crate::common::{Answer, app, app_with, core, nothing, pod, review, review_of};

fn allow() -> Box<Decide> {
    core(|_, _| Ok(nothing()))
}

fn post(body: impl Into<Body>) -> Request<Body> {
    Request::post("/mutate?timeout=5s").header("content-type", "application/json").body(body.into()).unwrap()
}

async fn send(app: axum::Router, request: Request<Body>) -> (StatusCode, Bytes) {
    let answer = app.oneshot(request).await.unwrap();
    let status = answer.status();
    (status, to_bytes(answer.into_body(), usize::MAX).await.unwrap())
}

async fn refused(app: axum::Router, request: Request<Body>) -> (u16, String) {
    let (status, body) = send(app, request).await;
    (status.as_u16(), String::from_utf8(body.to_vec()).unwrap().trim_end().to_owned())
}

async fn answered(app: axum::Router, review: &Value) -> Answer {
    let (status, body) = send(app, post(review.to_string())).await;
    assert_eq!(status, StatusCode::OK);
    Answer::parse(&body)
}

#[tokio::test]
async fn an_injection_goes_out_as_a_base64_json_patch_with_everything_that_belongs_to_it() {
    let decide = core(|pod, defaults| {
        assert_eq!((pod.service_account_name(), defaults.namespace.name.as_str()), ("web", "payments"));
        let patch = serde_json::from_value(json!([{"op": "add", "path": "/spec/volumes/-", "value": {"name": "a\"\u{1}é"}}])).unwrap();
        Ok(Injection {
            patch,
            outcome: Outcome::Injected,
            warnings: vec!["mind the gap".to_owned()],
            audit: vec![("objects", "payments-prod/db".to_owned())],
            ..nothing()
        })
    });
    let answer = answered(app(decide), &review()).await;
    assert_eq!(answer.patch(), json!([{"op": "add", "path": "/spec/volumes/-", "value": {"name": "a\"\u{1}é"}}]));
    let mut rest = answer.0.clone();
    rest.as_object_mut().unwrap().remove("patch");
    assert_eq!(
        rest,
        json!({
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "allowed": true, "patchType": "JSONPatch",
            "warnings": ["mind the gap"], "auditAnnotations": {"objects": "payments-prod/db"},
        })
    );
}

#[tokio::test]
async fn nothing_to_change_is_an_answer_without_a_patch() {
    let answer = answered(app(allow()), &review()).await;
    assert_eq!(answer.0, json!({"uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "allowed": true}));
}

#[tokio::test]
async fn a_denial_carries_its_whole_text() {
    let decide = core(|_, _| Err(Denial { problems: vec!["one".to_owned(), "two".to_owned()], more: 0, rests_on_absence: false }));
    let denial = Denial { problems: vec!["one".to_owned(), "two".to_owned()], more: 0, rests_on_absence: false }.to_string();
    let answer = answered(app(decide), &review()).await;
    assert_eq!(
        answer.0,
        json!({
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "allowed": false,
            "status": {"code": 403, "reason": "Forbidden", "message": denial},
        })
    );
}

#[tokio::test]
async fn what_is_not_the_creation_of_a_pod_passes_untouched() {
    for (pointer, value) in [
        ("/request/operation", json!("UPDATE")),
        ("/request/operation", json!("DELETE")),
        ("/request/kind/kind", json!("Binding")),
        ("/request/kind/group", json!("apps")),
        ("/request/subResource", json!("ephemeralcontainers")),
        ("/request/operation", json!("CONNECT")),
    ] {
        let mut review = review();
        if pointer == "/request/subResource" {
            review["request"]["subResource"] = value.clone();
        } else {
            *review.pointer_mut(pointer).unwrap() = value.clone();
        }
        for object in [pod(), json!(null), json!({"spec": 7})] {
            review["request"]["object"] = object;
            let answer = answered(app(core(|_, _| panic!("the core was asked"))), &review).await;
            assert_eq!(answer.0, json!({"uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "allowed": true}), "{pointer} {value}");
        }
    }
}

#[tokio::test]
async fn a_pod_that_cannot_be_read_is_denied_by_its_uid() {
    for (object, why) in [
        (json!(null), "it is absent"),
        (json!({"spec": 7}), "a field is absent or of the wrong type (line 1, column "),
        (json!("pod"), "a field is absent or of the wrong type (line 1, column "),
    ] {
        let answer = answered(app(allow()), &review_of(&object)).await;
        assert_eq!((&answer.0["uid"], &answer.0["allowed"]), (&json!("705ab4f5-6393-11e8-b7cc-42010a800002"), &json!(false)));
        assert_eq!((&answer.0["status"]["code"], &answer.0["status"]["reason"]), (&json!(400), &json!("BadRequest")));
        let message = answer.0["status"]["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("keyvault-injector: the pod cannot be read: {why}")), "{message}");
    }
    let mut nowhere = review();
    nowhere["request"]["namespace"] = json!("");
    let answer = answered(app(allow()), &nowhere).await;
    assert_eq!(answer.0["status"]["message"], "keyvault-injector: the pod cannot be read: the request names no namespace");
}

#[tokio::test]
async fn without_a_uid_there_is_only_http_400_and_a_reason() {
    let with = |pointer: &str, value: Value| {
        let mut review = review();
        *review.pointer_mut(pointer).unwrap() = value;
        review.to_string()
    };
    for (body, reason) in [
        (String::new(), "the body is empty: an AdmissionReview is expected"),
        (" \n".to_owned(), "the body is empty: an AdmissionReview is expected"),
        ("{\"kind\"".to_owned(), "the body is not an AdmissionReview: the end comes too early (line 1, column 7)"),
        ("{,canary}".to_owned(), "the body is not an AdmissionReview: a mistake in the JSON (line 1, column 2)"),
        ("\"canary\"".to_owned(), "the body is not an AdmissionReview: a field is absent or of the wrong type (line 1, column 8)"),
        ("{}".to_owned(), "\"\" \"\" is not read here: register the webhook with admissionReviewVersions [v1]"),
        (
            with("/apiVersion", json!("admission.k8s.io/v1beta1")),
            "\"admission.k8s.io/v1beta1\" \"AdmissionReview\" is not read here: register the webhook with admissionReviewVersions [v1]",
        ),
        (with("/kind", json!("Pod")), "\"admission.k8s.io/v1\" \"Pod\" is not read here: register the webhook with admissionReviewVersions [v1]"),
        (with("/request", json!(null)), "the AdmissionReview has no request"),
        (with("/request/uid", json!("")), "the AdmissionReview's request has no uid"),
    ] {
        assert_eq!(refused(app(allow()), post(body.clone())).await, (400, reason.to_owned()), "{body}");
    }
}

#[tokio::test]
async fn other_requests_learn_what_is_wrong_with_them() {
    let get = Request::get("/mutate").body(Body::empty()).unwrap();
    assert_eq!(refused(app(allow()), get).await, (405, "only POST is answered here".to_owned()));
    let elsewhere = Request::post("/validate").body(Body::empty()).unwrap();
    assert_eq!(refused(app(allow()), elsewhere).await, (404, "only POST /mutate is answered here".to_owned()));
    for kind in ["text/plain", "application/jsonish", "application/yaml"] {
        let request = Request::post("/mutate").header("content-type", kind).body(Body::from(review().to_string())).unwrap();
        assert_eq!(refused(app(allow()), request).await, (415, "send the AdmissionReview as application/json".to_owned()), "{kind}");
    }
    let request = Request::post("/mutate").header("content-type", "Application/JSON; charset=utf-8").body(Body::from(review().to_string())).unwrap();
    assert_eq!(send(app(allow()), request).await.0, StatusCode::OK);
}

#[tokio::test]
async fn three_mebibytes_are_read_and_not_one_byte_more() {
    let padded = |length: usize| {
        let mut body = review().to_string();
        body.push_str(&" ".repeat(length - body.len()));
        body
    };
    assert_eq!(send(app(allow()), post(padded(3 << 20))).await.0, StatusCode::OK);
    let reason = "the review is larger than 3145728 bytes".to_owned();
    assert_eq!(refused(app(allow()), post(padded((3 << 20) + 1))).await, (413, reason.clone()));
    // Nobody announces the length of a chunked body.
    let chunks = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from(vec![b' '; 1 << 16]))).take(49);
    assert_eq!(refused(app(allow()), post(Body::from_stream(chunks))).await, (413, reason));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_not_waited_for() {
    let body = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    assert_eq!(refused(app(allow()), post(body)).await, (408, "the body did not arrive within 5s".to_owned()));
    let broken = Body::from_stream(stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]));
    assert_eq!(refused(app(allow()), post(broken)).await, (400, "the body broke off".to_owned()));
}

/// A body of which one byte arrives.
fn stuck() -> Request<Body> {
    let first = stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"{")) });
    let mut request = post(Body::from_stream(first.chain(stream::pending())));
    request.headers_mut().insert("content-length", (3 << 20).into());
    request
}

async fn in_flight(metrics: &Metrics, reviews: usize) {
    while !metrics.text().contains(&format!("reviews_in_flight {reviews}\n")) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_that_are_announced_and_do_not_arrive_take_no_room() {
    let metrics = Arc::new(Metrics::default());
    let app = app_with(allow(), Arc::new(FixedDefaults::default()), Arc::clone(&metrics), Limits::default());
    let waiting: Vec<_> = (0..32).map(|_| tokio::spawn(refused(app.clone(), stuck()))).collect();
    in_flight(&metrics, 32).await;
    let started = tokio::time::Instant::now();
    assert_eq!(send(app, post(review().to_string())).await.0, StatusCode::OK);
    assert_eq!(started.elapsed(), Duration::ZERO);
    for refused in waiting {
        assert_eq!(refused.await.unwrap(), (408, "the body did not arrive within 5s".to_owned()));
    }
    assert!(metrics.text().contains("reviews_in_flight 0\n"));
}

#[tokio::test(start_paused = true)]
async fn if_room_is_short_a_body_that_does_not_arrive_gives_way() {
    let limits = Limits { memory: 128 << 10, ..Limits::default() };
    let metrics = Arc::new(Metrics::default());
    let app = app_with(allow(), Arc::new(FixedDefaults::default()), Arc::clone(&metrics), limits);
    let first = tokio::spawn(refused(app.clone(), stuck()));
    in_flight(&metrics, 1).await;
    let started = tokio::time::Instant::now();
    assert_eq!(send(app, post(review().to_string())).await.0, StatusCode::OK);
    assert!(started.elapsed() <= Duration::from_millis(60), "{:?}", started.elapsed());
    assert_eq!(first.await.unwrap(), (503, "too many reviews are in flight: try again, or give the webhook more replicas".to_owned()));
}

#[tokio::test]
async fn a_stopping_replica_refers_a_review_five_times_and_then_answers_it() {
    let metrics = Arc::new(Metrics::default());
    let app = app_with(allow(), Arc::new(FixedDefaults::default()), Arc::clone(&metrics), Limits::default());
    let ask = async |stopping: Option<Stopping>, body: String| {
        let mut request = post(body);
        if let Some(stopping) = stopping {
            request.extensions_mut().insert(stopping);
        }
        let answer = app.clone().oneshot(request).await.unwrap();
        (answer.status().as_u16(), answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned()))
    };
    let (kept, new) = (Some(Stopping::KeptConnection), Some(Stopping::NewConnection));
    assert_eq!(ask(None, review().to_string()).await, (200, None));
    for _ in 0..5 {
        assert_eq!(ask(kept, review().to_string()).await, (503, Some("0".to_owned())));
    }
    assert_eq!(ask(kept, review().to_string()).await, (200, None));
    assert_eq!(ask(new, review().to_string()).await, (503, Some("1".to_owned())));
    assert_eq!(ask(new, review().to_string()).await, (200, None));
    // Another review has its own count.
    assert_eq!(ask(kept, format!("{} ", review())).await, (503, Some("0".to_owned())));
    assert!(metrics.text().contains("keyvault_injector_reviews_total{outcome=\"stopping\"} 7\n"), "{}", metrics.text());
}

#[tokio::test(start_paused = true)]
async fn a_review_that_takes_too_long_is_given_up_and_keeps_its_worker_until_it_ends() {
    let (entered, entries) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (entered, released) = (Mutex::new(entered), Mutex::new(released));
    let decide = core(move |_, _| {
        entered.lock().unwrap().send(()).unwrap();
        let _ = released.lock().unwrap().recv();
        Ok(nothing())
    });
    let app = app(decide);
    let send = || tokio::spawn(refused(app.clone(), post(review().to_string())));
    let (first, second) = (send(), send());
    for _ in 0..2 {
        while entries.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
    }
    // No worker is left for the third one, and none comes free: the others go on.
    let third = send();
    tokio::task::yield_now().await;
    tokio::time::advance(Duration::from_millis(4001)).await;
    let overdue = "the review took longer than 4s: try again, and if that does not help, ask the operator for the webhook's log".to_owned();
    let busy = "too many reviews are in flight: try again, or give the webhook more replicas".to_owned();
    assert_eq!((first.await.unwrap(), second.await.unwrap()), ((503, overdue.clone()), (503, overdue)));
    tokio::time::advance(Duration::from_millis(4001)).await;
    assert_eq!(third.await.unwrap(), (503, busy));
    drop(release);
    assert_eq!(answered(app, &review()).await.0["allowed"], true);
}

#[tokio::test]
async fn health_is_served_whatever_reviews_and_their_runtime_do() {
    let (_stop, stopping) = watch::channel(Stop::No);
    let defaults = Arc::new(FixedDefaults::default());
    let health = Health { stop: stopping, defaults, awaited: watch::Sender::new(None).subscribe(), metrics: Arc::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().into_std().unwrap();
    let address = listener.local_addr().unwrap();
    serve_health(listener, health_router(health)).unwrap();
    // On the only thread of this runtime: nothing else runs on it meanwhile.
    let mut connection = std::net::TcpStream::connect(address).unwrap();
    connection.write_all(b"GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nalive\n"), "{answer}");
}

#[tokio::test]
async fn a_panic_costs_one_review_and_no_more() {
    let count = AtomicUsize::new(0);
    let decide = core(move |_, _| if count.fetch_add(1, Ordering::Relaxed) == 0 { panic!("canary-panic") } else { Ok(nothing()) });
    let metrics = Arc::new(Metrics::default());
    let app = app_with(decide, Arc::new(FixedDefaults::default()), Arc::clone(&metrics), Limits::default());
    let (status, text) = refused(app.clone(), post(review().to_string())).await;
    assert_eq!((status, text.as_str()), (500, "internal error while reviewing this pod; see the keyvault-injector log"));
    assert_eq!(answered(app, &review()).await.0["allowed"], true);
    let text = metrics.text();
    assert!(text.contains("keyvault_injector_reviews_total{outcome=\"panicked\"} 1\n"), "{text}");
    assert!(text.contains("keyvault_injector_reviews_total{outcome=\"not-asked\"} 1\n"), "{text}");
}

/// A source of defaults that counts how often it is asked, and knows more when it is asked afresh.
struct Source {
    cached: Option<PodDefaults>,
    fresh: Result<PodDefaults, LookupError>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Defaults for Source {
    fn filled(&self) -> bool {
        self.cached.is_some()
    }

    fn cached(&self, _namespace: &str, _account: &str) -> Option<PodDefaults> {
        self.cached.clone()
    }

    fn fresh<'a>(&'a self, namespace: &'a str, account: &'a str) -> BoxFuture<'a, Result<PodDefaults, LookupError>> {
        self.asked.lock().unwrap().push(format!("{namespace}/{account}"));
        Box::pin(std::future::ready(self.fresh.clone()))
    }
}

fn with_client_id(id: Option<&str>) -> PodDefaults {
    let mut defaults = PodDefaults::default();
    defaults.account.client_id = id.map(str::to_owned);
    defaults
}

/// Denies for want of a client id, as the core does.
fn wants_a_client_id() -> Box<Decide> {
    core(|_, defaults| match defaults.account.client_id {
        Some(_) => Ok(nothing()),
        None => Err(Denial { problems: vec!["no client id".to_owned()], more: 0, rests_on_absence: true }),
    })
}

async fn ask(decide: Box<Decide>, cached: Option<PodDefaults>, fresh: Result<PodDefaults, LookupError>) -> (Answer, Vec<String>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let source = Source { cached, fresh, asked: Arc::clone(&asked) };
    let answer = answered(app_with(decide, Arc::new(source), Arc::default(), Limits::default()), &review()).await;
    let asked = asked.lock().unwrap().clone();
    (answer, asked)
}

#[tokio::test]
async fn what_is_cached_is_not_asked_for() {
    let (answer, asked) = ask(wants_a_client_id(), Some(with_client_id(Some("c"))), Err(LookupError::Timeout(Duration::ZERO))).await;
    assert_eq!((&answer.0["allowed"], asked.len()), (&json!(true), 0));
    let flatly = core(|_, _| Err(Denial { problems: vec!["no".to_owned()], more: 0, rests_on_absence: false }));
    let (answer, asked) = ask(flatly, Some(with_client_id(None)), Ok(with_client_id(Some("c")))).await;
    assert_eq!((&answer.0["allowed"], asked.len()), (&json!(false), 0));
}

#[tokio::test]
async fn what_is_not_cached_is_asked_for_once() {
    let (answer, asked) = ask(wants_a_client_id(), None, Ok(with_client_id(Some("c")))).await;
    assert_eq!((&answer.0["allowed"], asked), (&json!(true), vec!["payments/web".to_owned()]));
    let (answer, asked) = ask(wants_a_client_id(), None, Ok(with_client_id(None))).await;
    assert_eq!((&answer.0["allowed"], asked.len()), (&json!(false), 1));
}

#[tokio::test]
async fn a_denial_for_something_absent_waits_for_a_fresh_look() {
    let (answer, asked) = ask(wants_a_client_id(), Some(with_client_id(None)), Ok(with_client_id(Some("c")))).await;
    assert_eq!((&answer.0["allowed"], asked), (&json!(true), vec!["payments/web".to_owned()]));
    let (answer, asked) = ask(wants_a_client_id(), Some(with_client_id(None)), Err(LookupError::Timeout(Duration::from_secs(1)))).await;
    assert_eq!((&answer.0["status"]["code"], asked.len()), (&json!(403), 1));
}

#[tokio::test]
async fn nothing_known_and_nobody_to_ask_is_a_refusal_that_says_what_to_do() {
    let (answer, _) = ask(wants_a_client_id(), None, Err(LookupError::Timeout(Duration::from_secs(1)))).await;
    assert_eq!(
        (&answer.0["allowed"], &answer.0["status"]["code"], &answer.0["status"]["reason"]),
        (&json!(false), &json!(503), &json!("ServiceUnavailable"))
    );
    assert_eq!(
        answer.0["status"]["message"],
        "keyvault-injector: the annotations of namespace payments and of the pod's ServiceAccount are not known yet, and the API server did not answer \
         within 1s; try again, and if that does not help, ask the operator whether the webhook may get, list and watch namespaces and serviceaccounts"
    );
}

async fn probe(app: axum::Router, path: &str) -> (u16, String) {
    refused(app, Request::get(path).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn readiness_waits_for_caches_and_trust_and_ends_with_the_first_wish_to_stop() {
    let (stop, stopping) = watch::channel(Stop::No);
    let awaited = watch::Sender::new(Some("MutatingWebhookConfiguration x: it has not been read yet".to_owned()));
    let health = |cached: Option<PodDefaults>| {
        let source = Source { cached, fresh: Ok(PodDefaults::default()), asked: Arc::default() };
        health_router(Health { stop: stopping.clone(), defaults: Arc::new(source), awaited: awaited.subscribe(), metrics: Arc::default() })
    };
    assert_eq!(probe(health(None), "/ready").await, (503, "namespaces and service accounts are still being read".to_owned()));
    let filled = health(Some(PodDefaults::default()));
    let untrusted = "the serving certificate is not trusted yet: MutatingWebhookConfiguration x: it has not been read yet";
    assert_eq!(probe(filled.clone(), "/ready").await, (503, untrusted.to_owned()));
    awaited.send_replace(None);
    assert_eq!(probe(filled.clone(), "/ready").await, (200, "ready".to_owned()));
    stop.send_replace(Stop::Drain);
    assert_eq!(probe(filled.clone(), "/ready").await, (503, "stopping".to_owned()));
    assert_eq!(probe(filled, "/live").await, (200, "alive".to_owned()));
}

#[tokio::test]
async fn every_review_is_counted_by_its_outcome() {
    let metrics = Arc::new(Metrics::default());
    let decide =
        core(|_, _| Ok(Injection { warnings: vec!["w".to_owned(); 2], namespace_problems: vec!["p".to_owned()], policy_findings: 3, ..nothing() }));
    let app = app_with(decide, Arc::new(FixedDefaults::default()), Arc::clone(&metrics), Limits::default());
    answered(app.clone(), &review()).await;
    refused(app, post("")).await;
    metrics.certificate_expires(7);
    let text = metrics.text();
    for line in [
        "keyvault_injector_reviews_total{outcome=\"not-asked\"} 1",
        "keyvault_injector_reviews_total{outcome=\"malformed\"} 1",
        "keyvault_injector_warnings_total 2",
        "keyvault_injector_namespace_problems_total 1",
        "keyvault_injector_policy_findings_total 3",
        "keyvault_injector_review_duration_seconds_count 1",
        "keyvault_injector_certificate_reload_failures_total 0",
        "keyvault_injector_certificate_expiry_seconds 7",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn the_real_core_answers_a_real_review_with_a_patch_that_applies() {
    let review: Value = serde_json::from_str(include_str!("../../benches/support/review.json")).unwrap();
    let config =
        Config::parse("agent: {image: registry.example/injector:1}\ndefaults: {tenantId: aaaabbbb-1111-4222-8333-444455556666}\n", "config.yaml");
    let mut fixed = FixedDefaults::default();
    let account = "kind: ServiceAccount\nmetadata:\n  name: checkout\n  namespace: payments\n  annotations:\n    azure.workload.identity/client-id: ";
    fixed.add(&format!("{account}0f1e2d3c-1111-4222-8333-444455556666\n")).unwrap();
    let reviewer = Reviewer::new(config.unwrap(), Arc::new(fixed), Arc::default());
    let answer = answered(router(reviewer, Limits::default()), &review).await;
    let mut pod = review["request"]["object"].clone();
    json_patch::patch(&mut pod, &serde_json::from_value::<json_patch::Patch>(answer.patch()).unwrap()).unwrap();
    assert_eq!(
        (&pod["spec"]["initContainers"][0]["image"], &pod["spec"]["initContainers"][1]["name"]),
        (&json!("registry.example/injector:1"), &json!("migrate"))
    );

    // Without the ServiceAccount's client id there is nobody to sign in as.
    let config = Config::parse("agent: {image: registry.example/injector:1}\n", "config.yaml").unwrap();
    let reviewer = Reviewer::new(config, Arc::new(FixedDefaults::default()), Arc::default());
    let answer = answered(router(reviewer, Limits::default()), &review).await;
    assert_eq!((&answer.0["allowed"], &answer.0["status"]["code"]), (&json!(false), &json!(403)));
    let message = answer.0["status"]["message"].as_str().unwrap();
    assert!(message.contains("ServiceAccount payments/checkout (which was not found) with azure.workload.identity/client-id"), "{message}");
}
