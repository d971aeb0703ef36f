//! Time is paused: it moves only where nothing else can happen, so hours pass at once and to the millisecond.

use std::sync::Arc;
use std::time::Duration;

use axum::routing::{get, post};
use axum::{Extension, Router};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{Course, Stopping, serve};
use crate::tls::Limits;
use crate::tls::clock::Clock;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

struct Peer {
    stream: DuplexStream,
    course: watch::Sender<Course>,
    served: JoinHandle<()>,
}

fn connect(limits: Limits) -> Peer {
    connect_to(Course::Serving, limits)
}

fn connect_to(course: Course, limits: Limits) -> Peer {
    let (stream, ours) = duplex(1 << 20);
    let (course, following) = watch::channel(course);
    let router = Router::new()
        .route("/", get(|| async { "ok" }))
        .route(
            "/slow",
            get(|| async {
                sleep(Duration::from_secs(20)).await;
                "ok"
            }),
        )
        .route("/stopping", get(|stopping: Option<Extension<Stopping>>| async move { format!("{:?} ok", stopping.map(|Extension(at)| at)) }))
        .route("/never", get(std::future::pending::<()>))
        .route("/echo", post(|body: String| async { body }));
    Peer { stream, course, served: tokio::spawn(serve(ours, router, Arc::new(Clock::new(limits)), following)) }
}

impl Peer {
    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// An answer's head and body, once both are whole.
    async fn answer(&mut self) -> String {
        let mut text = String::new();
        while !text.ends_with("\r\n\r\nok") {
            let byte = timeout(Duration::from_secs(60), self.stream.read_u8()).await.expect("an answer within a minute");
            text.push(char::from(byte.expect("an open connection")));
        }
        text
    }

    async fn asks_and_is_answered(&mut self) {
        self.send(REQUEST).await;
        assert!(self.answer().await.starts_with("HTTP/1.1 200 OK"));
    }

    /// How many seconds pass before the server hangs up.
    async fn hangs_up_after(mut self) -> u64 {
        let started = tokio::time::Instant::now();
        self.stream.read_to_end(&mut Vec::new()).await.unwrap();
        self.served.await.unwrap();
        started.elapsed().as_secs()
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_outlives_the_api_servers_90_seconds_again_and_again() {
    let mut peer = connect(Limits::default());
    for _ in 0..3 {
        peer.asks_and_is_answered().await;
        sleep(Duration::from_secs(299)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_at_last() {
    let mut peer = connect(Limits::default());
    sleep(Duration::from_secs(10)).await;
    peer.asks_and_is_answered().await;
    assert_eq!(peer.hangs_up_after().await, 300);
}

#[tokio::test(start_paused = true)]
async fn the_time_for_a_head_begins_with_its_first_byte() {
    let mut peer = connect(Limits::default());
    peer.asks_and_is_answered().await;
    sleep(Duration::from_secs(200)).await;
    peer.send(&REQUEST[..1]).await;
    sleep(Duration::from_secs(9)).await;
    peer.send(&REQUEST[1..]).await;
    assert!(peer.answer().await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_in_gets_no_extra_time() {
    let mut peer = connect(Limits::default());
    for byte in &REQUEST[..8] {
        peer.send(&[*byte]).await;
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(peer.hangs_up_after().await, 2);
}

#[tokio::test(start_paused = true)]
async fn an_exchange_without_an_end_is_ended() {
    let mut peer = connect(Limits::default());
    peer.send(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(peer.hangs_up_after().await, 30);
    let mut peer = connect(Limits::default());
    peer.send(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf").await;
    assert_eq!(peer.hangs_up_after().await, 30);
}

#[tokio::test(start_paused = true)]
async fn a_draining_server_answers_and_closes() {
    let mut peer = connect(Limits::default());
    peer.asks_and_is_answered().await;
    peer.course.send_replace(Course::Closing);
    sleep(Duration::from_secs(100)).await;
    peer.send(REQUEST).await;
    assert!(peer.answer().await.contains("connection: close\r\n"));
    assert_eq!(peer.hangs_up_after().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_leaving_server_answers_what_an_idle_connection_still_brings() {
    for pause in [0, 1, 93] {
        let mut peer = connect(Limits::default());
        peer.asks_and_is_answered().await;
        peer.course.send_replace(Course::Closing);
        peer.course.send_replace(Course::Leaving);
        sleep(Duration::from_secs(pause)).await;
        peer.send(REQUEST).await;
        assert!(peer.answer().await.contains("connection: close\r\n"));
        assert_eq!(peer.hangs_up_after().await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_leaving_server_hangs_up_once_the_peer_must_have_given_up() {
    for (idle, left) in [(0, 95), (40, 55), (95, 0), (200, 0)] {
        let mut peer = connect(Limits::default());
        sleep(Duration::from_secs(7)).await;
        peer.asks_and_is_answered().await;
        sleep(Duration::from_secs(idle)).await;
        peer.course.send_replace(Course::Leaving);
        assert_eq!(peer.hangs_up_after().await, left, "idle for {idle} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_never_asks_ends_ten_seconds_after_its_handshake() {
    assert_eq!(connect(Limits::default()).hangs_up_after().await, 10);
    let peer = connect(Limits::default());
    sleep(Duration::from_secs(3)).await;
    peer.course.send_replace(Course::Leaving);
    assert_eq!(peer.hangs_up_after().await, 7);
    let mut peer = connect(Limits::default());
    sleep(Duration::from_secs(9)).await;
    peer.asks_and_is_answered().await;
    assert_eq!(peer.hangs_up_after().await, 300);
}

#[tokio::test(start_paused = true)]
async fn a_leaving_server_ends_exchanges_in_order() {
    let mut busy = connect(Limits::default());
    busy.send(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
    sleep(Duration::from_secs(1)).await;
    busy.course.send_replace(Course::Leaving);
    assert!(busy.answer().await.contains("connection: close\r\n"));
    assert_eq!(busy.hangs_up_after().await, 0);
}

#[tokio::test(start_paused = true)]
async fn if_nobody_asks_any_more_idle_connections_end_at_once_and_exchanges_in_order() {
    for asks in [false, true] {
        let mut peer = connect(Limits::default());
        if asks {
            peer.asks_and_is_answered().await;
        }
        sleep(Duration::from_secs(5)).await;
        peer.course.send_replace(Course::Leaving);
        sleep(Duration::from_secs(1)).await;
        peer.course.send_replace(Course::Left);
        assert_eq!(peer.hangs_up_after().await, 0);
    }
    let mut busy = connect(Limits::default());
    busy.send(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
    sleep(Duration::from_secs(1)).await;
    busy.course.send_replace(Course::Left);
    assert!(busy.answer().await.contains("connection: close\r\n"));
    assert_eq!(busy.hangs_up_after().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_handler_learns_that_the_server_stops_and_which_connections_the_client_kept() {
    let ask = async |mut peer: Peer, course| {
        peer.course.send_replace(course);
        peer.send(b"GET /stopping HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        let mut answer = String::new();
        peer.stream.read_to_string(&mut answer).await.unwrap();
        answer.lines().last().unwrap().to_owned()
    };
    assert_eq!(ask(connect(Limits::default()), Course::Serving).await, "None ok");
    for course in [Course::Closing, Course::Leaving] {
        let kept = connect(Limits::default());
        sleep(Duration::from_millis(1)).await;
        assert_eq!(ask(kept, course).await, "Some(KeptConnection) ok");
        assert_eq!(ask(connect_to(course, Limits::default()), course).await, "Some(NewConnection) ok");
    }
}
