//! Those who do nothing wrong, and what they notice.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::{Stage, create};

const CREATIONS: Duration = Duration::from_millis(100);
const REVIEWS: Duration = Duration::from_millis(50);
const LIVE: Duration = Duration::from_millis(50);
/// What the API server waits for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which container a pod has that went through the webhook.
pub(crate) const MARK: &str = r#""name":"keyvault-agent""#;

/// What they noticed; times in milliseconds, infinite if there was no answer.
pub(crate) struct Figures {
    pub(crate) creations: usize,
    pub(crate) lost: Vec<String>,
    pub(crate) reviews: Vec<f64>,
    pub(crate) live: Vec<f64>,
}

/// Honest people at work.
pub(crate) struct Honest {
    enough: Arc<AtomicBool>,
    creations: JoinHandle<Vec<Result<(), String>>>,
    reviews: JoinHandle<Vec<f64>>,
    live: JoinHandle<Vec<f64>>,
}

/// The review of the other benchmarks.
fn review() -> Value {
    serde_json::from_str(include_str!("../support/review.json")).unwrap()
}

/// Its pod as a ReplicaSet sends it.
pub(crate) fn pod() -> Value {
    let mut pod = review()["request"]["object"].take();
    for (part, names) in
        [("metadata", &["namespace", "uid", "creationTimestamp", "managedFields"][..]), ("spec", &["priorityClassName", "priority"][..])]
    {
        names.iter().for_each(|name| _ = pod[part].as_object_mut().unwrap().remove(*name));
    }
    pod
}

impl Honest {
    pub(crate) async fn start(stage: Arc<Stage>) -> Honest {
        let enough = Arc::new(AtomicBool::new(false));
        let client = stage.client().await;
        let (pod, honest) = (Arc::new(pod()), Arc::clone(&stage));
        let creations = at_a_pace(CREATIONS, &enough, move || {
            let (client, pod, stage) = (client.clone(), Arc::clone(&pod), Arc::clone(&honest));
            async move {
                let made = create(&client, &stage.pods, &pod).await?;
                if made.contains(MARK) { Ok(()) } else { Err("a pod was not injected".to_owned()) }
            }
        });
        let mut review = review();
        let namespace = Value::from(stage.pods.split('/').nth(4).unwrap());
        review["request"]["object"]["metadata"]["namespace"] = namespace.clone();
        review["request"]["namespace"] = namespace;
        let (body, target) = (Arc::new(review.to_string().into_bytes()), stage.target.clone());
        let reviews = at_a_pace(REVIEWS, &enough, move || {
            let (body, target) = (Arc::clone(&body), target.clone());
            timed(async move {
                let mut connection = target.connect(Ipv4Addr::LOCALHOST).await.ok()?;
                connection.ask(&body).await.ok().filter(|(status, body)| *status == 200 && body.windows(7).any(|part| part == b"\"patch\""))
            })
        });
        let address = stage.injector.health.clone();
        let live = at_a_pace(LIVE, &enough, move || {
            let address = address.clone();
            timed(async move {
                let mut stream = TcpStream::connect(address).await.ok()?;
                stream.write_all(b"GET /live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.ok()?;
                let mut text = String::new();
                stream.read_to_string(&mut text).await.ok()?;
                text.starts_with("HTTP/1.1 200 ").then_some(())
            })
        });
        Honest { enough, creations, reviews, live }
    }

    pub(crate) async fn end(self) -> Figures {
        self.enough.store(true, Ordering::SeqCst);
        let creations = self.creations.await.unwrap();
        let (count, lost) = (creations.len(), creations.into_iter().filter_map(Result::err).collect());
        Figures { creations: count, lost, reviews: self.reviews.await.unwrap(), live: self.live.await.unwrap() }
    }
}

/// Milliseconds from being due to an answer.
async fn timed<T>(work: impl Future<Output = Option<T>>) -> f64 {
    let started = Instant::now();
    match timeout(PATIENCE, work).await {
        Ok(Some(_)) => started.elapsed().as_secs_f64() * 1e3,
        Ok(None) | Err(_) => f64::INFINITY,
    }
}

/// Begins a work at every tick, whatever became of those before, until there is enough.
fn at_a_pace<T, F>(period: Duration, enough: &Arc<AtomicBool>, work: impl Fn() -> F + Send + 'static) -> JoinHandle<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let enough = Arc::clone(enough);
    tokio::spawn(async move {
        let (mut ticks, mut running) = (interval(period), JoinSet::new());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while !enough.load(Ordering::SeqCst) {
            ticks.tick().await;
            running.spawn(work());
        }
        running.join_all().await
    })
}
