//! The connections of HTTP: how many there are, and how long one may take to say what it wants.
//!
//! A connection is a file, and files are shared with the database, with calls and with whatever else runs
//! here: whoever opens connections and says nothing must not take them all. So a request has to be said
//! within a time, head and body; and where connections get scarce, the one that has waited longest for
//! its other end makes room. Whatever has said all of its request is *answered*, however long that takes:
//! event streams, WebSockets and long polls are never cut here.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::Future as _,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{ConnectInfo, Request},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use hyper::{body::{Frame, Incoming, SizeHint}, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, Sleep},
};
use tower::ServiceExt as _;

/// What is answered when every place is taken by a request: somebody has to be able to look at us.
const ALWAYS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
/// How often we look who has taken too long.
const LOOK: Duration = Duration::from_millis(500);
/// How long we wait when the system has no connection to give, out of files for example.
const BREATH: Duration = Duration::from_millis(500);

/// How many, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections.
    pub connections: usize,
    /// More of them, for [`ALWAYS`] alone, when all others are being answered.
    pub spare: usize,
    /// How long the head of a request may take.
    pub head: Duration,
    /// How long its body may.
    pub body: Duration,
    /// How long a connection may be kept open between two requests: longer than proxies keep theirs, so
    /// that they close it and not we, while a request is on its way.
    pub idle: Duration,
    /// How long whoever is answered may take nothing of the answer.
    pub stall: Duration,
}

impl Limits {
    /// A quarter of the files that may be open, and no more than 4096: calls, the database and what we
    /// ask of others need theirs.
    pub fn fitting(open_files: u64) -> Self {
        let connections = usize::try_from(open_files / 4).unwrap_or(usize::MAX).clamp(64, 4096);
        let seconds = Duration::from_secs;
        Self { connections, spare: 32, head: seconds(10), body: seconds(30), idle: seconds(150), stall: seconds(30) }
    }
}

/// What all connections share.
struct Places {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Connections that nobody has been told to close.
    open: usize,
    next: u64,
    /// Those that wait for their other end, the longest first.
    waiting: BTreeMap<u64, (Instant, Arc<Notify>)>,
}

impl Places {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T { act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner)) }

    /// A place for a new connection, and whether it is one of the spare ones.
    fn enter(self: &Arc<Self>) -> Option<(Arc<Place>, bool)> {
        let Limits { connections, spare, head, .. } = self.limits;
        let close = Arc::<Notify>::default();
        let (turn, narrow) = self.with(|state| {
            // A few that wait may be on their way into the spare places; many are too many.
            if state.open >= connections && (state.waiting.len() > spare || state.open >= connections + spare)
                && let Some((_, (_, longest))) = state.waiting.pop_first()
            {
                longest.notify_one();
                state.open -= 1;
            }
            if state.open >= connections + spare {
                return None;
            }
            // Those that merely wait take no place from who says something.
            let narrow = state.open - state.waiting.len() >= connections;
            state.open += 1;
            Some((state.wait(head, close.clone()), narrow))
        })?;
        Some((Arc::new(Place { places: self.clone(), close, at: Mutex::new(At::Said(turn)) }), narrow))
    }

    /// Closes those that have taken too long.
    fn look(&self, now: Instant) {
        self.with(|state| {
            let late: Vec<u64> = state.waiting.iter().filter(|(_, (due, _))| *due <= now).map(|(turn, _)| *turn).collect();
            for turn in late {
                if let Some((_, close)) = state.waiting.remove(&turn) {
                    close.notify_one();
                    state.open -= 1;
                }
            }
        });
    }
}

impl State {
    fn wait(&mut self, within: Duration, close: Arc<Notify>) -> u64 {
        self.next += 1;
        self.waiting.insert(self.next, (Instant::now() + within, close));
        self.next
    }

    /// Whether it was told to close; since then it is not counted.
    fn told(&self, at: At) -> bool { matches!(at, At::Said(turn) | At::Idle(turn) if !self.waiting.contains_key(&turn)) }

    fn forget(&mut self, at: At) {
        if let At::Said(turn) | At::Idle(turn) = at {
            self.waiting.remove(&turn);
        }
    }
}

/// What a connection is at. The number is by which it is found among those that wait.
#[derive(Clone, Copy)]
enum At {
    /// A request is being said.
    Said(u64),
    /// Between two requests.
    Idle(u64),
    /// It is for us to answer.
    Answered,
}

/// The place of one connection; dropped, it is free.
struct Place {
    places: Arc<Places>,
    close: Arc<Notify>,
    at: Mutex<At>,
}

impl Place {
    /// Goes on to what `next` says, unless it was told to close: then it stays so.
    fn go_on(&self, next: impl FnOnce(At, &mut State) -> At) {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        self.places.with(|state| {
            if !state.told(*at) {
                *at = next(*at, state);
            }
        });
    }

    /// The head is said; the body has a time of its own.
    fn has_head(&self) {
        self.go_on(|at, state| {
            state.forget(at);
            At::Said(state.wait(self.places.limits.body, self.close.clone()))
        });
    }

    /// What comes now is ours to do.
    fn answers(&self) {
        self.go_on(|at, state| {
            state.forget(at);
            At::Answered
        });
    }

    /// The other end may ask again.
    fn answered(&self) {
        self.go_on(|at, state| {
            state.forget(at);
            At::Idle(state.wait(self.places.limits.idle, self.close.clone()))
        });
    }

    /// Something came: between two requests it is the beginning of a head.
    fn came(&self) {
        self.go_on(|at, state| match at {
            At::Idle(_) => {
                state.forget(at);
                At::Said(state.wait(self.places.limits.head, self.close.clone()))
            }
            other => other,
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let at = *self.at.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.places.with(|state| {
            if !state.told(at) {
                state.forget(at);
                state.open -= 1;
            }
        });
    }
}

/// Answers requests until `closing` says so; then no connection is taken, and what is under way is finished.
pub async fn serve(listener: TcpListener, routes: Router, limits: Limits, mut closing: watch::Receiver<bool>) {
    let places = Arc::new(Places { limits, state: Mutex::default() });
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut lines, told) = (JoinSet::new(), closing.clone());
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    if let Some((place, narrow)) = places.enter() {
                        lines.spawn(line(stream, from, place, narrow, routes.clone(), told.clone()));
                    }
                    // Those that were told to close do so before more are let in.
                    tokio::task::yield_now().await;
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection could be taken: is the limit of open files reached?");
                    tokio::time::sleep(BREATH).await;
                }
            },
            _ = look.tick() => places.look(Instant::now()),
            Some(_) = lines.join_next() => {}
            () = over(&mut closing) => break,
        }
    }
    drop(listener);
    loop {
        tokio::select! {
            _ = look.tick() => places.look(Instant::now()),
            over = lines.join_next() => if over.is_none() { return },
        }
    }
}

/// Until it is said that it is over.
async fn over(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|off| *off).await;
}

/// One connection, to its end.
async fn line(stream: TcpStream, from: SocketAddr, place: Arc<Place>, narrow: bool, routes: Router, mut closing: watch::Receiver<bool>) {
    let close = place.close.clone();
    let io = TokioIo::new(Line { stream, place: place.clone(), stall: None });
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (routes, place) = (routes.clone(), place.clone());
        async move { Ok::<_, Infallible>(answer(request, from, place, narrow, routes).await) }
    });
    let mut builder = http1::Builder::new();
    // Ours tells an idle connection from one that has begun to say something.
    builder.header_read_timeout(None::<Duration>);
    let mut connection = pin!(builder.serve_connection(io, service).with_upgrades());
    tokio::select! {
        _ = connection.as_mut() => return,
        () = close.notified() => return,
        () = over(&mut closing) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection => {}
        () = close.notified() => {}
    }
}

async fn answer(request: hyper::Request<Incoming>, from: SocketAddr, place: Arc<Place>, narrow: bool, routes: Router) -> Response {
    let body = request.body();
    if body.is_end_stream() { place.answers() } else { place.has_head() }
    let (mut head, body) = request.into_parts();
    head.extensions.insert(ConnectInfo(from));
    let response = if narrow && !ALWAYS.contains(&head.uri.path()) {
        let headers = [(header::RETRY_AFTER, HeaderValue::from_static("1")), (header::CONNECTION, HeaderValue::from_static("close"))];
        (StatusCode::SERVICE_UNAVAILABLE, headers, "busy\n").into_response()
    } else {
        let request = Request::from_parts(head, Body::new(Said { body, place: place.clone() }));
        routes.oneshot(request).await.unwrap_or_else(|never| match never {})
    };
    // A connection that is taken over is the business of whoever took it.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        place.answers();
        return response;
    }
    response.map(|body| Body::new(Answered { body, place }))
}

/// The body of a request. Once it is said, it is for us to answer.
struct Said {
    body: Incoming,
    place: Arc<Place>,
}

impl HttpBody for Said {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.place.answers();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool { self.body.is_end_stream() }

    fn size_hint(&self) -> SizeHint { self.body.size_hint() }
}

/// The body of an answer. Once it is written, it is for the other end to ask again.
struct Answered {
    body: Body,
    place: Arc<Place>,
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> { Pin::new(&mut self.body).poll_frame(cx) }

    fn is_end_stream(&self) -> bool { self.body.is_end_stream() }

    fn size_hint(&self) -> SizeHint { self.body.size_hint() }
}

impl Drop for Answered {
    fn drop(&mut self) { self.place.answered() }
}

/// A connection that holds its place for as long as it is open, by whoever holds it.
struct Line {
    stream: TcpStream,
    place: Arc<Place>,
    /// When the other end, which takes nothing, has taken too long.
    stall: Option<Pin<Box<Sleep>>>,
}

impl Line {
    fn written<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stall = None;
            return result;
        }
        let within = self.place.places.limits.stall;
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(within)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.place.came();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, result)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool { self.stream.is_write_vectored() }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> { Pin::new(&mut self.stream).poll_flush(cx) }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> { Pin::new(&mut self.stream).poll_shutdown(cx) }
}
