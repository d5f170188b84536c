//! A caller who is listened to through Asterisk: a scripted REST interface after Asterisk's own description,
//! with real sound by RTP.

use std::{
    collections::VecDeque,
    net::{SocketAddr, UdpSocket},
    sync::{Arc, Mutex, atomic::{AtomicBool, AtomicU16, Ordering}},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use countersign_core::{
    call::{Event, Params, Stage},
    id::CallId,
    voice::{Outcome, Stopped},
};
use countersign_server::telephony::{
    asterisk::{Asterisk, NAME},
    sip::{self, voice::Voice},
    switch::{Lines, Setup as LinesSetup, clips::Clips},
};
use countersign_sip::{g711::Law, rtp::{Packet, Stream}};
use futures_util::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use tokio::{net::TcpListener, sync::broadcast, time::timeout};
use tokio_tungstenite::{WebSocketStream, tungstenite::{Message, protocol::Role}};

use crate::{
    common::{Setup, World, desk::Desk, people::*},
    streams::samples,
    voice::{ana, calibrated, settings, with_a_voice},
};

const CALLER: &str = "pbx-1780308000.12";
const PATIENCE: Duration = Duration::from_secs(20);

/// Asterisk, as far as its interface shows.
#[derive(Clone)]
struct Ari(Arc<Inner>);

struct Inner {
    /// What was asked: method, path and query.
    orders: Mutex<Vec<String>>,
    events: broadcast::Sender<String>,
    /// What is answered with an error instead.
    refuses: Mutex<Option<&'static str>>,
    /// Channels that are asked for never come.
    stuck: AtomicBool,
    /// Channels of the application.
    channels: Mutex<Vec<String>>,
    /// Where sound comes from.
    mouth: UdpSocket,
    /// Where it goes.
    ear: AtomicU16,
    /// What is said, in mu-law; silence without.
    words: Mutex<VecDeque<u8>>,
}

fn of(query: &str, name: &str) -> Option<String> { url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned()) }

impl Ari {
    async fn start() -> (Self, SocketAddr) {
        let mouth = UdpSocket::bind("127.0.0.1:0").unwrap();
        let ari = Self(Arc::new(Inner {
            orders: Mutex::default(), events: broadcast::channel(256).0, refuses: Mutex::default(), stuck: AtomicBool::new(false), channels: Mutex::default(), mouth,
            ear: AtomicU16::new(0), words: Mutex::default(),
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(asked).with_state(ari.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let speaks = ari.clone();
        tokio::spawn(async move { speaks.speak().await });
        (ari, address)
    }

    /// A packet every 20 ms to whoever listens, as Asterisk sends it.
    async fn speak(&self) {
        let (mut stream, mut buffer, mut tick) = (Stream::new(), Vec::new(), tokio::time::interval(Duration::from_millis(20)));
        for now in (0..).step_by(20) {
            tick.tick().await;
            let port = self.0.ear.load(Ordering::SeqCst);
            if port == 0 {
                continue;
            }
            let mut payload = [Law::Mu.silence(); 160];
            let mut words = self.0.words.lock().unwrap();
            payload.iter_mut().for_each(|byte| *byte = words.pop_front().unwrap_or(Law::Mu.silence()));
            let (sequence, timestamp, marker) = stream.own(now, 160);
            Packet { payload_type: 0, marker, sequence, timestamp, ssrc: stream.ssrc(), payload: &payload }.write(&mut buffer);
            let _ = self.0.mouth.send_to(&buffer, ("127.0.0.1", port));
        }
    }

    fn says(&self, samples: &[i16]) { self.0.words.lock().unwrap().extend(std::iter::repeat_n(0, 4_000).chain(samples.iter().copied()).map(|sample| Law::Mu.encode(sample))); }

    fn tells(&self, event: &Value) { let _ = self.0.events.send(event.to_string()); }

    fn key(&self, keys: &str) {
        for key in keys.chars() {
            self.tells(&json!({ "type": "ChannelDtmfReceived", "digit": key.to_string(), "channel": { "id": CALLER } }));
        }
    }

    fn rings(&self, number: &str) {
        self.0.channels.lock().unwrap().push(CALLER.into());
        self.tells(&json!({ "type": "StasisStart", "args": [], "channel": { "id": CALLER, "caller": { "number": number } } }));
    }

    fn hangs_up(&self) {
        self.0.channels.lock().unwrap().retain(|channel| channel != CALLER);
        self.tells(&json!({ "type": "StasisEnd", "channel": { "id": CALLER } }));
    }

    fn orders(&self) -> Vec<String> { self.0.orders.lock().unwrap().clone() }

    /// Waits until so many orders have begun like this.
    async fn until(&self, start: &str, count: usize) {
        let there = async {
            while self.orders().iter().filter(|order| order.starts_with(start)).count() < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, there).await.unwrap_or_else(|_| panic!("never {count} × {start:?}: {:#?}", self.orders()));
    }

    /// Nothing is there any more that a caller was listened to with, and it was there once or more.
    async fn is_taken_down(&self, takes: usize) {
        for what in ["DELETE /ari/bridges/countersign-hears.", "DELETE /ari/channels/countersign-sends.", "DELETE /ari/channels/countersign-ear."] {
            self.until(what, takes).await;
        }
        let left = || self.0.channels.lock().unwrap().iter().filter(|channel| *channel != CALLER).cloned().collect::<Vec<_>>();
        let gone = async {
            while !left().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, gone).await.unwrap_or_else(|_| panic!("still there: {:?}", left()));
    }
}

async fn asked(State(ari): State<Ari>, request: Request) -> Response {
    let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
    let method = request.method().clone();
    assert_eq!(request.headers().get(header::AUTHORIZATION).unwrap(), &format!("Basic {}", STANDARD.encode("countersign:a-password-of-ari")));
    if path == "/ari/events" {
        return events(ari, request);
    }
    ari.0.orders.lock().unwrap().push(format!("{method} {path}?{query}"));
    if ari.0.refuses.lock().unwrap().is_some_and(|what| path.contains(what)) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let parts: Vec<&str> = path.split('/').skip(2).collect();
    let starts = |id: &str| {
        ari.0.channels.lock().unwrap().push(id.to_owned());
        if !ari.0.stuck.load(Ordering::SeqCst) {
            ari.tells(&json!({ "type": "StasisStart", "args": [], "channel": { "id": id } }));
        }
    };
    match (method, parts.as_slice()) {
        (Method::GET, ["applications", _]) => axum::Json(json!({ "channel_ids": *ari.0.channels.lock().unwrap() })).into_response(),
        (Method::GET, ["channels", _, "variable"]) => {
            let value = match of(&query, "variable").unwrap().as_str() {
                "CALLERID(num-pres)" => "allowed".to_owned(),
                "UNICASTRTP_LOCAL_ADDRESS" => "127.0.0.1".into(),
                "UNICASTRTP_LOCAL_PORT" => ari.0.mouth.local_addr().unwrap().port().to_string(),
                other => panic!("{other}"),
            };
            axum::Json(json!({ "value": value })).into_response()
        }
        // Played in no time.
        (Method::POST, ["channels", _, "play", clip]) => {
            ari.tells(&json!({ "type": "PlaybackFinished", "playback": { "id": clip, "state": "done" } }));
            axum::Json(json!({ "id": clip })).into_response()
        }
        (Method::POST, ["channels", CALLER, "snoop", ear]) => {
            assert_eq!((of(&query, "spy").as_deref(), of(&query, "whisper").as_deref()), (Some("in"), Some("none")), "the caller alone");
            starts(ear);
            axum::Json(json!({ "id": ear })).into_response()
        }
        (Method::POST, ["channels", "externalMedia"]) => {
            let host: SocketAddr = of(&query, "external_host").unwrap().parse().unwrap();
            assert_eq!((host.ip().to_string().as_str(), of(&query, "format").as_deref()), ("127.0.0.1", Some("ulaw")));
            ari.0.ear.store(host.port(), Ordering::SeqCst);
            let id = of(&query, "channelId").unwrap();
            starts(&id);
            axum::Json(json!({ "id": id })).into_response()
        }
        (Method::DELETE, ["channels", id]) => {
            let mut channels = ari.0.channels.lock().unwrap();
            let before = channels.len();
            channels.retain(|channel| channel != id);
            if channels.len() < before { StatusCode::NO_CONTENT.into_response() } else { StatusCode::NOT_FOUND.into_response() }
        }
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}

fn events(ari: Ari, request: Request) -> Response {
    let key = request.headers()["sec-websocket-key"].to_str().unwrap().to_owned();
    let accepted = STANDARD.encode(Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));
    let mut told = ari.0.events.subscribe();
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgrade.await.unwrap()), Role::Server, None).await;
        loop {
            tokio::select! {
                event = told.recv() => match event {
                    // The connection is lost, and Asterisk is not.
                    Ok(text) if text == "lost" => return,
                    Ok(text) => socket.send(Message::text(text)).await.unwrap(),
                    Err(_) => return,
                },
                message = socket.next() => if !matches!(message, Some(Ok(_))) { return },
            }
        }
    });
    (StatusCode::SWITCHING_PROTOCOLS, [(header::CONNECTION, "Upgrade"), (header::UPGRADE, "websocket"), (header::SEC_WEBSOCKET_ACCEPT, accepted.as_str())], Body::empty()).into_response()
}

/// A world with this Asterisk, and a voice of Ana's on file.
async fn world() -> (World, Ari) {
    let world = World::with(Setup { params: Params { voice: Some(settings(&[NAME, sip::NAME])), ..Params::default() }, ..Setup::default() }).await;
    world.app.runner.listens(calibrated());
    let mut robin = world.robin().await;
    with_a_voice(&world, &mut robin).await;
    let (ari, address) = Ari::start().await;
    static FILES: AtomicU16 = AtomicU16::new(0);
    let file = std::env::temp_dir().join(format!("countersign-media-{}-{}", std::process::id(), FILES.fetch_add(1, Ordering::SeqCst)));
    std::fs::write(&file, "a-password-of-ari\n").unwrap();
    let settings = format!("url = \"http://{address}\"\nuser = \"countersign\"\npassword_file = {file:?}\nsound_address = \"127.0.0.1\"\n");
    let clips = Clips::new(world.app.texts.clone(), Voice::new(None, Vec::new()), "http://127.0.0.1:8080", NAME);
    let lines = Arc::new(Lines::new(LinesSetup { name: NAME, clips, agent_phones: Default::default(), national: None, most: 10, name_of: Box::new(|id| id.to_string()) }));
    world.app.runner.hub.register(NAME, lines.clone());
    lines.start(world.app.clone());
    let asterisk = Arc::new(Asterisk::new(toml::from_str(&settings).unwrap(), lines).unwrap());
    std::fs::remove_file(&file).unwrap();
    tokio::spawn(asterisk.run());
    ari.until("GET /ari/applications/", 1).await;
    (world, ari)
}

async fn until(world: &World, id: CallId, stage: Stage) {
    let there = async {
        while world.app.runner.call(id).await.unwrap().is_none_or(|live| live.call.stage != stage) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, there).await.unwrap_or_else(|_| panic!("never {stage:?}"));
}

/// Ana with her PIN at this desk, which asks for her voice.
async fn asked_for(world: &World, ari: &Ari, desk: &mut Desk) -> CallId {
    ari.rings(ANA_LINE);
    let id = CallId(world.app.runner.vault.index.blind(NAME, CALLER).0);
    for (keys, stage) in [("", Stage::Recognised), ("1", Stage::Proving), ("4071#", Stage::Music), ("2", Stage::Waiting)] {
        ari.key(keys);
        until(world, id, stage).await;
    }
    desk.call = id;
    desk.act("accept", &[]).await.ok();
    desk.act("voice-compare", &[]).await.ok();
    until(world, id, Stage::VoiceSaying).await;
    // The words, and the tone behind them.
    ari.until("POST /ari/bridges/countersign-hears.", 2).await;
    id
}

async fn outcome(world: &World, id: CallId) -> Option<Outcome> {
    world.events(id).await.into_iter().rev().find_map(|e| if let Event::VoiceCompared { comparison, .. } = e { Some(comparison.outcome) } else { None })
}

async fn stopped(world: &World, id: CallId) -> Option<Stopped> {
    world.events(id).await.into_iter().rev().find_map(|e| if let Event::VoiceStopped { why } = e { Some(why) } else { None })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_through_asterisk_is_heard() {
    let (world, ari) = world().await;
    let mut robin = world.robin().await;
    let id = asked_for(&world, &ari, &mut robin).await;
    ari.says(&samples(&ana(50)));
    until(&world, id, Stage::Talking).await;
    assert_eq!(outcome(&world, id).await, Some(Outcome::Alike), "{:?}", world.story(id).await);
    robin.panel().await.shows("Voice: <b>alike</b>");
    // All of it was for one take.
    ari.is_taken_down(1).await;
    // Somebody else's packets, and those of another kind, are no sound of the caller's.
    robin.act("voice-compare", &[]).await.ok();
    ari.until("POST /ari/bridges/countersign-hears.", 4).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut forged = Vec::new();
    Packet { payload_type: 0, marker: true, sequence: 1, timestamp: 0, ssrc: 1, payload: &[0x02; 160] }.write(&mut forged);
    for _ in 0..400 {
        stranger.send_to(&forged, ("127.0.0.1", ari.0.ear.load(Ordering::SeqCst))).unwrap();
    }
    until(&world, id, Stage::Talking).await;
    assert_eq!(outcome(&world, id).await, Some(Outcome::NoSpeech), "what a stranger sends is not heard");
    ari.is_taken_down(2).await;
    assert!(!ari.orders().iter().any(|order| order.contains("2025550142")), "no number in an order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_comes_in_between_it_is_taken_down() {
    let (world, ari) = world().await;
    let mut robin = world.robin().await;
    // A no, by a key.
    let id = asked_for(&world, &ari, &mut robin).await;
    ari.key("*");
    until(&world, id, Stage::Talking).await;
    assert_eq!(stopped(&world, id).await, Some(Stopped::Declined));
    ari.is_taken_down(1).await;
    // The desk calls it off.
    robin.act("voice-compare", &[]).await.ok();
    ari.until("POST /ari/bridges/countersign-hears.", 4).await;
    robin.act("cancel", &[]).await.ok();
    until(&world, id, Stage::Talking).await;
    assert_eq!(stopped(&world, id).await, Some(Stopped::AgentLeft));
    ari.is_taken_down(2).await;
    // The connection is lost and comes again: the phrase is asked for anew, with another ear.
    robin.act("voice-compare", &[]).await.ok();
    ari.until("POST /ari/bridges/countersign-hears.", 6).await;
    ari.0.channels.lock().unwrap().push("countersign-ear.00000000-0.pbx-1".into());
    let _ = ari.0.events.send("lost".into());
    ari.until("GET /ari/applications/", 2).await;
    ari.until("DELETE /ari/channels/countersign-ear.00000000-0.pbx-1", 1).await;
    ari.until("POST /ari/bridges/countersign-hears.", 8).await;
    // The caller hangs up.
    ari.hangs_up();
    until(&world, id, Stage::Ended).await;
    ari.is_taken_down(4).await;
    assert_eq!(outcome(&world, id).await, None);
}

/// Asterisk cannot do it, or does not: nobody is kept waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asterisk_that_cannot_listen_is_nobody_heard() {
    let (world, ari) = world().await;
    let mut robin = world.robin().await;
    ari.rings(ANA_LINE);
    let id = CallId(world.app.runner.vault.index.blind(NAME, CALLER).0);
    for (keys, stage) in [("", Stage::Recognised), ("1", Stage::Proving), ("4071#", Stage::Music), ("2", Stage::Waiting)] {
        ari.key(keys);
        until(&world, id, stage).await;
    }
    robin.call = id;
    robin.act("accept", &[]).await.ok();
    // The last time its channels never come.
    for (n, refused) in [Some("/snoop/"), Some("addChannel"), None].into_iter().enumerate() {
        *ari.0.refuses.lock().unwrap() = refused;
        ari.0.stuck.store(refused.is_none(), Ordering::SeqCst);
        robin.act("voice-compare", &[]).await.ok();
        let there = async {
            while world.events(id).await.iter().filter(|e| matches!(e, Event::VoiceStopped { why: Stopped::NotHeard })).count() <= n {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, there).await.unwrap_or_else(|_| panic!("{refused:?}"));
        ari.is_taken_down(n + 1).await;
    }
    assert_eq!(robin.panel().await.level(), "authenticated");
}
