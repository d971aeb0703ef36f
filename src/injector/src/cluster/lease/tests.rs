//! Candidates for one Lease, against an API server that keeps it in memory. Time is paused.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;

/// How often conditions are looked at.
const TICK: Duration = Duration::from_millis(50);

/// The API server: the Lease, its version, and who of the candidates cannot reach it.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<(Value, u64)>>);

/// One candidate's way to the server.
#[derive(Clone)]
struct Line {
    server: Server,
    cut: watch::Sender<bool>,
}

impl Server {
    fn lease(&self) -> Value {
        self.0.lock().unwrap().0.clone()
    }

    fn holder(&self) -> Option<String> {
        self.lease()["spec"]["holderIdentity"].as_str().map(str::to_owned)
    }

    fn answer(&self, method: &Method, body: &Bytes) -> (u16, Value) {
        let mut held = self.0.lock().unwrap();
        let failure = |code: u16, reason: &str| {
            (code, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": reason, "code": code}))
        };
        if *method == Method::GET {
            return if held.0.is_null() { failure(404, "NotFound") } else { (200, held.0.clone()) };
        }
        let mut lease: Value = serde_json::from_slice(body).unwrap();
        match *method {
            Method::POST if !held.0.is_null() => return failure(409, "AlreadyExists"),
            Method::PUT if lease["metadata"]["resourceVersion"] != held.0["metadata"]["resourceVersion"] => return failure(409, "Conflict"),
            _ => {}
        }
        held.1 += 1;
        lease["metadata"]["resourceVersion"] = json!(held.1.to_string());
        held.0 = lease.clone();
        (200, lease)
    }
}

impl Line {
    fn new(server: &Server) -> Line {
        Line { server: server.clone(), cut: watch::Sender::new(false) }
    }

    fn candidate(&self, identity: &str) -> Candidate {
        let line = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| line.clone().carry(request));
        Candidate::new(Client::new(service, "injector"), "keyvault-injector", identity.to_owned(), || Timestamp::UNIX_EPOCH)
    }

    async fn carry(self, request: Request<kube::client::Body>) -> Result<Response<Body>, Infallible> {
        assert!(request.uri().path().starts_with("/apis/coordination.k8s.io/v1/namespaces/injector/leases"), "{}", request.uri());
        let mut cut = self.cut.subscribe();
        cut.wait_for(|cut| !cut).await.unwrap();
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let (status, answer) = self.server.answer(&head.method, &body);
        Ok(Response::builder().status(status).body(Body::from(answer.to_string())).unwrap())
    }
}

/// Candidates at work, and how many of them are at the same time.
#[derive(Clone, Default)]
struct Workshop(Arc<AtomicUsize>);

struct Worker {
    line: Line,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Workshop {
    fn start(&self, server: &Server, identity: &'static str) -> Worker {
        let line = Line::new(server);
        let candidate = line.candidate(identity);
        let (stop, mut stopping) = watch::channel(false);
        let at_work = Arc::clone(&self.0);
        let task = tokio::spawn(async move {
            let work = || {
                let alone = AtWork::begin(&at_work);
                async move {
                    let _alone = alone;
                    std::future::pending().await
                }
            };
            candidate.whenever_held(work, async move { drop(stopping.wait_for(|stop| *stop).await) }).await;
        });
        Worker { line, stop, task }
    }

    fn at_work(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

struct AtWork(Arc<AtomicUsize>);

impl AtWork {
    fn begin(at_work: &Arc<AtomicUsize>) -> AtWork {
        assert_eq!(at_work.fetch_add(1, Ordering::SeqCst), 0, "two are at work at the same time");
        AtWork(Arc::clone(at_work))
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// How long it takes, on the paused clock, until a condition holds.
async fn until(what: &str, condition: impl Fn() -> bool) -> Duration {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(120), "{what} did not come about within two minutes");
        sleep(TICK).await;
    }
    started.elapsed()
}

#[tokio::test(start_paused = true)]
async fn one_of_two_who_start_at_once_works_and_renews() {
    let (server, workshop) = (Server::default(), Workshop::default());
    let workers = [workshop.start(&server, "a"), workshop.start(&server, "b")];
    until("one at work", || workshop.at_work() == 1).await;
    let holder = server.holder().unwrap();
    sleep(Duration::from_secs(600)).await;
    assert_eq!((server.holder(), workshop.at_work()), (Some(holder), 1));
    let spec = &server.lease()["spec"];
    assert_eq!((&spec["leaseTransitions"], &spec["leaseDurationSeconds"]), (&json!(1), &json!(15)));
    let writes: u64 = server.lease()["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!((110..=130).contains(&writes), "{writes} writes in ten minutes, and nobody but the holder writes");
    drop(workers);
}

#[tokio::test(start_paused = true)]
async fn who_ends_in_good_order_makes_room_at_once() {
    let (server, workshop) = (Server::default(), Workshop::default());
    let first = workshop.start(&server, "a");
    until("the first at work", || server.holder().as_deref() == Some("a")).await;
    let _second = workshop.start(&server, "b");
    sleep(Duration::from_secs(30)).await;
    first.stop.send(true).unwrap();
    first.task.await.unwrap();
    assert_eq!(server.holder(), None);
    let waited = until("the second at work", || workshop.at_work() == 1).await;
    assert!(waited <= RETRY + TICK, "{waited:?}");
    assert_eq!(server.lease()["spec"]["leaseTransitions"], 2);
}

#[tokio::test(start_paused = true)]
async fn who_is_killed_is_replaced_when_the_lease_has_run_out() {
    let (server, workshop) = (Server::default(), Workshop::default());
    let first = workshop.start(&server, "a");
    until("the first at work", || workshop.at_work() == 1).await;
    let _second = workshop.start(&server, "b");
    sleep(Duration::from_secs(30)).await;
    first.task.abort();
    let waited = until("the second at work", || server.holder().as_deref() == Some("b") && workshop.at_work() == 1).await;
    assert!(waited > RENEWAL && waited <= DURATION + 2 * RETRY, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn who_cannot_renew_stops_before_another_begins_and_comes_back_later() {
    let (server, workshop) = (Server::default(), Workshop::default());
    let first = workshop.start(&server, "a");
    until("the first at work", || workshop.at_work() == 1).await;
    let second = workshop.start(&server, "b");
    sleep(Duration::from_secs(30)).await;
    // `AtWork` fails the test if both work at once.
    first.line.cut.send_replace(true);
    let stopped = until("an end of the work", || workshop.at_work() == 0).await;
    assert!(stopped <= DEADLINE + TICK, "{stopped:?}");
    until("the second at work", || server.holder().as_deref() == Some("b") && workshop.at_work() == 1).await;
    first.line.cut.send_replace(false);
    sleep(Duration::from_secs(60)).await;
    assert_eq!((server.holder().as_deref(), workshop.at_work()), (Some("b"), 1));
    second.task.abort();
    until("the first at work again", || server.holder().as_deref() == Some("a") && workshop.at_work() == 1).await;
    assert!(!first.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_lease_taken_away_by_hand_ends_the_work() {
    let (server, workshop) = (Server::default(), Workshop::default());
    let _worker = workshop.start(&server, "a");
    until("one at work", || workshop.at_work() == 1).await;
    {
        let mut held = server.0.lock().unwrap();
        held.1 += 1;
        let version = held.1.to_string();
        held.0["spec"]["holderIdentity"] = json!("somebody");
        held.0["metadata"]["resourceVersion"] = json!(version);
    }
    let stopped = until("an end of the work", || workshop.at_work() == 0).await;
    assert!(stopped <= RENEWAL + TICK, "{stopped:?}");
}

#[test]
fn a_lease_is_free_once_it_stood_still_for_as_long_as_it_lasts() {
    let lease = |version: &str, holder: Option<&str>, seconds: i32| -> Lease {
        serde_json::from_value(json!({"metadata": {"resourceVersion": version}, "spec": {"holderIdentity": holder, "leaseDurationSeconds": seconds}}))
            .unwrap()
    };
    let start = std::time::Instant::now();
    let at = |seconds| Instant::from_std(start + Duration::from_secs(seconds));
    let first = Sight::after(None, &lease("1", Some("b"), 15), at(0));
    assert_eq!((first.step("a", at(14)), first.step("a", at(15)), first.step("b", at(99))), (Step::Wait, Step::Take, Step::Renew));
    let same = Sight::after(Some(&first), &lease("1", Some("b"), 15), at(10));
    assert_eq!((same.since, same.step("a", at(15))), (at(0), Step::Take), "it counts from when it was first seen");
    let renewed = Sight::after(Some(&same), &lease("2", Some("b"), 15), at(14));
    assert_eq!((renewed.step("a", at(28)), renewed.step("a", at(29))), (Step::Wait, Step::Take));
    for free in [lease("3", None, 15), lease("3", Some(""), 15)] {
        assert_eq!(Sight::after(None, &free, at(0)).step("a", at(0)), Step::Take);
    }
}
