//! Which threads reviews run on, and what one that never ends keeps from running: on the webhook's own runtime, over real sockets.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use keyvault_injector::tls::{Bound, Certificates, Limits, Pair, Stop};
use keyvault_injector::webhook::{Decide, runtime};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::common::{app, core, nothing, pod, review, review_of, signed};

/// Serves with this core on the webhook's runtime, while `test` asks from another one.
fn while_it_serves<F: Future<Output = ()>>(decide: Box<Decide>, test: impl FnOnce(SocketAddr, String) -> F) {
    let (signed, serving) = (signed(), runtime().unwrap());
    let certificates = Certificates::new(Pair::from_pem(signed.certificate.as_bytes(), signed.key.as_bytes()).unwrap());
    let bound = serving.block_on(Bound::bind(([127, 0, 0, 1], 0).into(), certificates, None, Limits::default())).unwrap();
    let address = bound.local_addr();
    let (_stop, stopping) = watch::channel(Stop::No);
    serving.spawn(bound.run(app(decide), stopping));
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test(address, signed.ca));
    serving.shutdown_background();
}

/// A core whose first reviews do not end before the sender is dropped, and how many have begun.
fn stuck(first: usize) -> (Box<Decide>, Arc<AtomicUsize>, mpsc::Sender<()>) {
    let begun = Arc::new(AtomicUsize::new(0));
    let ((end, ended), counted) = (mpsc::channel::<()>(), Arc::clone(&begun));
    let ended = Mutex::new(ended);
    let decide = core(move |_, _| {
        if counted.fetch_add(1, Ordering::SeqCst) < first {
            while ended.lock().unwrap().recv_timeout(Duration::from_millis(10)) == Err(mpsc::RecvTimeoutError::Timeout) {}
        }
        Ok(nothing())
    });
    (decide, begun, end)
}

async fn begin(address: SocketAddr, ca: &str) -> Client {
    let mut client = Client::connect(address, ca).await.unwrap();
    client.begin(review().to_string().as_bytes()).await;
    client
}

#[test]
fn reviews_that_never_end_are_given_up_and_keep_nobody_else_from_being_served() {
    let (decide, begun, end) = stuck(2);
    while_it_serves(decide, async |address, ca| {
        let started = Instant::now();
        // Connections that exist, and one that has to be accepted, are served while one and while two reviews are stuck.
        let mut kept = Client::connect(address, &ca).await.unwrap();
        let mut first = begin(address, &ca).await;
        while begun.load(Ordering::SeqCst) < 1 {
            tokio::task::yield_now().await;
        }
        let mut second = begin(address, &ca).await;
        while begun.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        for _ in 0..20 {
            kept.send(b"GET /elsewhere HTTP/1.1\r\nhost: x\r\n\r\n").await;
            assert_eq!(kept.answer().await.unwrap().status(), "404");
            let mut new = Client::connect(address, &ca).await.unwrap();
            new.send(b"GET /elsewhere HTTP/1.1\r\nhost: x\r\n\r\n").await;
            assert_eq!(new.answer().await.unwrap().status(), "404");
        }
        let served = started.elapsed();
        assert!(served < Duration::from_secs(3), "others waited for {served:?}");
        for client in [&mut first, &mut second] {
            let answer = client.answer().await.unwrap();
            assert_eq!(answer.status(), "503");
            assert!(answer.body.starts_with(b"the review took longer than 4s"), "{}", String::from_utf8_lossy(&answer.body));
        }
        let given_up = started.elapsed();
        assert!((Duration::from_secs(4)..Duration::from_secs(8)).contains(&given_up), "given up after {given_up:?}");
        drop(end);
        assert_eq!(kept.post(review().to_string().as_bytes()).await.status(), "200");
    });
}

#[test]
fn one_review_that_never_ends_costs_the_others_nothing() {
    let (decide, begun, end) = stuck(1);
    while_it_serves(decide, async |address, ca| {
        let _first = begin(address, &ca).await;
        while begun.load(Ordering::SeqCst) < 1 {
            tokio::task::yield_now().await;
        }
        let started = Instant::now();
        let mut others = JoinSet::new();
        for _ in 0..4 {
            let ca = ca.clone();
            others.spawn(async move {
                let mut client = Client::connect(address, &ca).await.unwrap();
                // Short and long ones.
                let mut long = pod();
                long["metadata"]["annotations"]["team"] = json!("x".repeat(100_000));
                for body in [review(), review_of(&long), review()] {
                    assert_eq!(client.post(body.to_string().as_bytes()).await.status(), "200");
                }
            });
        }
        others.join_all().await;
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        drop(end);
    });
}
