//! Whoever opens connections and says little or nothing: others are answered all the same.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Bytes, response::sse::{Event, KeepAlive, Sse}, routing::{get, post}};
use countersign_server::connections::{Limits, serve};
use futures_util::{StreamExt as _, stream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Notify, watch},
    time::timeout,
};

/// Nothing takes longer than this, even on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);
/// Longer than a time limit of these tests, by much.
const SOON: Duration = Duration::from_secs(10);
/// Longer than any test.
const NEVER: Duration = Duration::from_secs(1000);

fn patient() -> Limits { Limits { connections: 8, spare: 2, head: NEVER, body: NEVER, idle: NEVER, stall: NEVER } }

struct Served {
    at: SocketAddr,
    /// Lets those go on who ask for `/slow`.
    go: Arc<Notify>,
    off: watch::Sender<bool>,
    over: tokio::task::JoinHandle<()>,
}

async fn served(limits: Limits) -> Served {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (at, go, (off, on)) = (listener.local_addr().unwrap(), Arc::<Notify>::default(), watch::channel(false));
    let gate = go.clone();
    let slow = move || {
        let gate = gate.clone();
        async move {
            gate.notified().await;
            "slow\n"
        }
    };
    let events = || async {
        let ticks = stream::once(async { Event::default().data("first") }).chain(stream::pending());
        Sse::new(ticks.map(Ok::<_, std::convert::Infallible>)).keep_alive(KeepAlive::new().interval(Duration::from_millis(50)))
    };
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok\n" })).route("/page", get(|| async { "page\n" })).route("/events", get(events)).route("/slow", get(slow.clone()).post(slow))
        .route("/form", post(|body: Bytes| async move { format!("{} bytes\n", body.len()) }))
        .route("/large", get(|| async { vec![0_u8; 64 << 20] }));
    let over = tokio::spawn(serve(listener, routes, limits, on));
    Served { at, go, off, over }
}

impl Served {
    /// A connection on which this was said.
    async fn says(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.at).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// What is answered, on a connection of its own; empty if it is closed.
    async fn answers(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.at).await.unwrap();
        let mut answer = String::new();
        let asked = stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").as_bytes()).await;
        if asked.is_ok() {
            let _ = timeout(LIMIT, stream.read_to_string(&mut answer)).await.expect("no answer");
        }
        answer
    }
}

/// Whether the other end closes within this time, whatever it says before.
async fn closes(stream: &mut TcpStream, within: Duration) -> bool {
    let mut buffer = [0; 4096];
    timeout(within, async { while !matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)) {} }).await.is_ok()
}

/// Until this was answered.
async fn until(stream: &mut TcpStream, text: &str) {
    let (mut all, mut buffer) = (String::new(), [0; 512]);
    while !all.contains(text) {
        let n = timeout(LIMIT, stream.read(&mut buffer)).await.expect("no answer").unwrap();
        assert!(n > 0, "closed after {all}");
        all.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
}

const HALF_HEAD: &str = "GET /page HTTP/1.1\r\nHost: h\r\n";
const HALF_BODY: &str = "POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_silent_connections_keeps_nobody_out() {
    let served = served(patient()).await;
    let mut flood = Vec::new();
    for n in 0..60 {
        flood.push(served.says(["", HALF_HEAD, HALF_BODY][n % 3]).await);
        if n % 10 == 9 {
            assert!(served.answers("/page").await.ends_with("page\n") && served.answers("/healthz").await.ends_with("ok\n"), "after {n}");
        }
    }
    // Those that waited longest made room.
    for stream in &mut flood[..40] {
        assert!(closes(stream, LIMIT).await);
    }
    served.over.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_and_a_body_have_a_time_and_drops_do_not_prolong_it() {
    let served = served(Limits { head: Duration::from_millis(300), body: Duration::from_millis(300), ..patient() }).await;
    for text in ["", HALF_HEAD, HALF_BODY] {
        assert!(closes(&mut served.says(text).await, SOON).await, "{text:?} is still open");
    }
    for text in [HALF_HEAD, HALF_BODY] {
        let mut stream = served.says(text).await;
        let dripping = async { while stream.write_all(b"x").await.is_ok() { tokio::time::sleep(Duration::from_millis(20)).await } };
        assert!(timeout(SOON, dripping).await.is_ok(), "{text:?}, drop by drop");
    }
    // A second request on a connection has the same time from its first byte, and not before.
    let mut kept = served.says("GET /page HTTP/1.1\r\nHost: h\r\n\r\n").await;
    until(&mut kept, "page\n").await;
    assert!(!closes(&mut kept, Duration::from_millis(1200)).await, "between two requests nobody has to hurry");
    kept.write_all(HALF_HEAD.as_bytes()).await.unwrap();
    assert!(closes(&mut kept, SOON).await);
    served.over.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_in_full_is_answered_however_long_it_takes() {
    let short = Duration::from_millis(200);
    let served = served(Limits { head: short, body: short, idle: NEVER, ..patient() }).await;
    let mut events = served.says("GET /events HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut slow = served.says("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut posted = served.says("POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").await;
    until(&mut events, "first").await;
    // Many that say nothing come and go meanwhile.
    for _ in 0..40 {
        served.says("").await;
    }
    assert!(!closes(&mut events, Duration::from_millis(1500)).await);
    served.go.notify_waiters();
    until(&mut slow, "slow\n").await;
    until(&mut posted, "slow\n").await;
    until(&mut events, ":").await;
    served.over.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_every_place_is_answered_there_is_room_to_look_at_us() {
    let served = served(patient()).await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        let mut events = served.says("GET /events HTTP/1.1\r\nHost: h\r\n\r\n").await;
        until(&mut events, "first").await;
        streams.push(events);
    }
    let busy = served.answers("/page").await;
    assert!(busy.starts_with("HTTP/1.1 503") && busy.to_lowercase().contains("retry-after: 1"), "{busy}");
    assert!(served.answers("/healthz").await.ends_with("ok\n"));
    // Silent ones in the spare places make room for who says something.
    let _silent = [served.says("").await, served.says("").await, served.says("").await];
    assert!(served.answers("/healthz").await.ends_with("ok\n"));
    streams.pop();
    let freed = async { while !served.answers("/page").await.ends_with("page\n") { tokio::task::yield_now().await } };
    timeout(LIMIT, freed).await.expect("a place that was given back is free");
    served.over.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_nothing_of_an_answer_is_let_go() {
    let served = served(Limits { stall: Duration::from_millis(300), ..patient() }).await;
    let mut greedy = Vec::new();
    for _ in 0..8 {
        greedy.push(served.says("GET /large HTTP/1.1\r\nHost: h\r\n\r\n").await);
    }
    let freed = async { while !served.answers("/page").await.ends_with("page\n") { tokio::task::yield_now().await } };
    timeout(SOON, freed).await.expect("they hold their places");
    served.over.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_is_finished_when_it_is_over() {
    let served = served(patient()).await;
    let mut slow = served.says("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut idle = served.says("GET /page HTTP/1.1\r\nHost: h\r\n\r\n").await;
    until(&mut idle, "page\n").await;
    served.off.send_replace(true);
    assert!(closes(&mut idle, SOON).await);
    assert!(!served.over.is_finished());
    served.go.notify_one();
    until(&mut slow, "slow\n").await;
    timeout(SOON, served.over).await.expect("it ends").unwrap();
}
