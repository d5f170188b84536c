//! An Asterisk by script: its HTTP server and its WebSocket as we use them, after recorded shapes of its
//! messages. It keeps channels and bridges as Asterisk does, so an order that would not fit is refused;
//! what it would play it fetches and hears, and clips end at once. A real one is driven by
//! tests/browser/test_asterisk.py and its neighbours.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::Router;
use base64::{Engine, engine::general_purpose::STANDARD};
use countersign_server::telephony::{
    asterisk::{Asterisk, NAME, config::AsteriskSettings},
    switch::{Lines, Setup, clips::Clips, out::Rings},
};
use countersign_sip::caller::Recogniser;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::AbortHandle,
};
use tokio_tungstenite::{WebSocketStream, tungstenite::{Message, protocol::Role}};
use url::Url;

use super::{World, caller::Then, pages::sound, recordings::{self, Sound}};

const USER: &str = "countersign";
const PASSWORD: &str = "what ari.conf says";
/// Where it fetches what is said.
const MEDIA: &str = "http://127.0.0.1:8080";

/// One channel.
#[derive(Default)]
pub struct Channel {
    /// The calling number, as it was signalled.
    number: String,
    presentation: &'static str,
    exten: String,
    args: Vec<String>,
    up: bool,
    moh: Option<String>,
    silence: bool,
    /// What was heard on it.
    pub heard: Vec<Sound>,
}

#[derive(Default)]
struct State {
    channels: BTreeMap<String, Channel>,
    bridges: HashMap<String, Vec<String>>,
    /// Customers' telephones that ring.
    ringing: Vec<String>,
    /// What was asked that Asterisk would not have done.
    refused: Vec<String>,
    /// What was asked, without names.
    asked: BTreeSet<String>,
    events: Option<mpsc::UnboundedSender<String>>,
    /// Whoever rings is answered in the moment in which we are back.
    answers_then: bool,
}

/// The switch.
pub struct Ari {
    state: Mutex<State>,
    router: Router,
    ear: Mutex<Recogniser<Sound>>,
    /// Goes up whenever something has changed.
    pub changed: watch::Sender<u64>,
}

/// It, and our adapter that is connected to it. Both end when this is dropped.
pub struct Rig {
    pub ari: Arc<Ari>,
    /// Rings customers through it.
    pub rings: Arc<Rings>,
    tasks: [AbortHandle; 2],
}

impl Drop for Rig {
    fn drop(&mut self) { self.tasks.iter().for_each(AbortHandle::abort); }
}

impl Rig {
    pub async fn open(world: &World) -> Self {
        let ari = Arc::new(Ari { state: Mutex::default(), router: world.router.clone(), ear: Mutex::new(recordings::ear(&world.app.texts)), changed: watch::Sender::new(0) });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(ari.clone(), listener)).abort_handle();
        let adapter = Arc::new(adapter(world, address));
        let rings = Arc::new(Rings::new(NAME, adapter.clone(), 10));
        rings.start(world.app.clone());
        let running = tokio::spawn(adapter.run()).abort_handle();
        // Asterisk gives nobody a call who is not connected, and what is on record when we come back is taken
        // for calls of before.
        let mut changed = ari.changed.subscribe();
        let is_back = || {
            let state = ari.state();
            state.events.is_some() && state.asked.contains("GET /applications/…")
        };
        while !is_back() {
            changed.changed().await.unwrap();
        }
        Self { ari, rings, tasks: [serving, running] }
    }
}

fn adapter(world: &World, at: SocketAddr) -> Asterisk {
    let file = std::env::temp_dir().join(format!("countersign-ari-{}-{}", std::process::id(), at.port()));
    std::fs::write(&file, PASSWORD).unwrap();
    let phones = ["Robin", "Sam", "Kim"].map(|name| format!("{name} = \"PJSIP/{name}\"\n")).concat();
    let music = ["calm", "lively", "classical"].map(|name| format!("{name} = \"{name}\"\n")).concat();
    let settings = format!("url = \"http://{at}\"\nuser = \"{USER}\"\npassword_file = {file:?}\nnational = \"+1\"\n[agent_phones]\n{phones}[music]\n{music}[out]\nto = \"PJSIP/{{number}}@trunk\"\nfrom = \"+12025550100\"\n");
    let settings: AsteriskSettings = toml::from_str(&settings).unwrap();
    let names = world.app.agents.clone();
    let lines = Arc::new(Lines::new(Setup {
        name: NAME, clips: Clips::new(world.app.texts.clone(), recordings::voice(&world.app.texts), MEDIA, NAME),
        agent_phones: settings.agent_phones.clone().into_iter().collect(), national: settings.national.clone(), most: settings.calls,
        name_of: Box::new(move |id| names.name(id)),
    }));
    world.app.runner.hub.register(NAME, lines.clone());
    lines.start(world.app.clone());
    let adapter = Asterisk::new(settings, lines).unwrap();
    std::fs::remove_file(file).unwrap();
    adapter
}

/// A request that came.
struct Asked {
    verb: String,
    path: Vec<String>,
    query: HashMap<String, String>,
    headers: HashMap<String, String>,
}

const NO_CONTENT: (u16, &str) = (204, "");
type Answer = (u16, String);

/// `POST /channels/…/play/…`
fn shape(verb: &str, path: &[&str]) -> String {
    const FIXED: [&str; 14] = [
        "channels", "applications", "bridges", "playbacks", "recordings", "live", "variable", "answer", "play", "moh", "silence", "addChannel", "removeChannel", "continue",
    ];
    path.iter().fold(format!("{verb} "), |shape, part| format!("{shape}/{}", if FIXED.contains(part) { part } else { "…" }))
}

async fn serve(ari: Arc<Ari>, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(ari.clone().connection(stream));
    }
}

/// The next request of a connection.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Asked> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head: Vec<u8> = buffer.drain(..end + 4).collect();
    let text = String::from_utf8(head).unwrap();
    let mut lines = text.lines();
    let (verb, target) = lines.next().unwrap().trim_end_matches(" HTTP/1.1").split_once(' ').unwrap();
    let headers: HashMap<String, String> = lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    assert!(headers.get("content-length").is_none_or(|length| length == "0"), "what is ordered stands in the address");
    let url = Url::parse("http://pbx").unwrap().join(target).unwrap();
    let path = url.path_segments().unwrap().map(str::to_owned).collect();
    Some(Asked { verb: verb.to_owned(), path, query: url.query_pairs().into_owned().collect(), headers })
}

impl Ari {
    fn state(&self) -> MutexGuard<'_, State> { self.state.lock().unwrap() }

    fn moved(&self) { self.changed.send_modify(|n| *n += 1); }

    async fn connection(self: Arc<Self>, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        while let Some(asked) = request(&mut stream, &mut buffer).await {
            let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
            let known = asked.headers.get("authorization") == Some(&basic);
            let path: Vec<&str> = asked.path.iter().map(String::as_str).collect();
            if known && path == ["ari", "events"] {
                return self.events(stream, &asked).await;
            }
            let (status, body) = if known && path.first() == Some(&"ari") { self.clone().answer(&asked.verb, &path[1..], &asked.query).await } else { (401, String::new()) };
            self.moved();
            let answer = format!("HTTP/1.1 {status} So\r\nServer: Asterisk\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    /// The WebSocket (RFC 6455 §4.2.2), until the other side is gone.
    async fn events(self: Arc<Self>, mut stream: TcpStream, asked: &Asked) {
        assert_eq!((asked.query["app"].as_str(), asked.headers["upgrade"].as_str()), ("countersign", "websocket"));
        let accept = STANDARD.encode(Sha1::digest(format!("{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11", asked.headers["sec-websocket-key"])));
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        let (sender, mut events) = mpsc::unbounded_channel();
        let then = {
            let mut state = self.state();
            state.events = Some(sender);
            std::mem::take(&mut state.answers_then)
        };
        if then {
            self.pick_up();
        }
        self.moved();
        loop {
            tokio::select! {
                event = events.recv() => {
                    let Some(event) = event else { return };
                    if socket.send(Message::text(event)).await.is_err() {
                        return;
                    }
                }
                // A ping is answered by itself.
                message = socket.next() => if !matches!(message, Some(Ok(_))) {
                    return;
                },
            }
        }
    }

    fn tell(state: &State, kind: &str, more: Value) {
        let mut event = json!({ "type": kind, "timestamp": "2026-06-01T10:00:00.000+0000", "asterisk_id": "02:42:0a", "application": "countersign" });
        for (name, value) in more.as_object().unwrap() {
            event[name] = value.clone();
        }
        if let Some(events) = &state.events {
            let _ = events.send(event.to_string());
        }
    }

    fn shown(state: &State, id: &str) -> Value {
        let channel = &state.channels[id];
        json!({
            "id": id, "name": "PJSIP/trunk-0000000c", "state": if channel.up { "Up" } else { "Ring" }, "caller": { "name": "", "number": channel.number },
            "connected": { "name": "", "number": "" }, "accountcode": "", "language": "en", "creationtime": "2026-06-01T10:00:00.000+0000",
            "dialplan": { "context": "in", "exten": channel.exten, "priority": 1, "app_name": "Stasis", "app_data": "countersign" },
        })
    }

    async fn answer(self: Arc<Self>, verb: &str, path: &[&str], query: &HashMap<String, String>) -> Answer {
        let query = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
        let mut state = self.state();
        state.asked.insert(shape(verb, path));
        let answer = match (verb, path) {
            ("GET", ["applications", "countersign"]) => Some((200, json!({ "name": "countersign", "channel_ids": state.channels.keys().collect::<Vec<_>>() }).to_string())),
            ("POST", ["channels", id]) => Self::originate(&mut state, id, query("endpoint"), query("app"), query("originator")),
            ("DELETE", ["channels", id]) => state.channels.contains_key(*id).then(|| {
                Self::gone(&mut state, id);
                (NO_CONTENT.0, String::new())
            }),
            (verb, ["channels", id, rest @ ..]) => {
                let id = (*id).to_owned();
                if state.channels.contains_key(&id) { self.on_channel(&mut state, verb, &id, rest, &query) } else { Some((404, String::new())) }
            }
            // It has ended by itself.
            ("DELETE", ["playbacks", _]) => Some((404, String::new())),
            (verb, ["bridges", id, rest @ ..]) => Self::on_bridge(&mut state, verb, id, rest, &query),
            _ => None,
        };
        answer.unwrap_or_else(|| {
            state.refused.push(format!("{verb} {}", path.join("/")));
            (400, String::new())
        })
    }

    fn originate(state: &mut State, id: &str, endpoint: &str, app: &str, originator: &str) -> Option<Answer> {
        if !endpoint.starts_with("PJSIP/") || app != "countersign" || state.channels.contains_key(id) {
            return None;
        }
        if endpoint.ends_with("@trunk") {
            state.channels.insert(id.to_owned(), Channel { args: vec!["out".into()], ..Channel::default() });
            state.ringing.push(id.to_owned());
            return Some((200, Self::shown(state, id).to_string()));
        }
        if !state.channels.contains_key(originator) {
            return None;
        }
        // Whoever sits there answers at once.
        state.channels.insert(id.to_owned(), Channel { up: true, args: vec!["agent".into()], ..Channel::default() });
        let shown = Self::shown(state, id);
        Self::tell(state, "StasisStart", json!({ "args": ["agent"], "channel": shown }));
        Some((200, shown.to_string()))
    }

    fn gone(state: &mut State, id: &str) {
        let shown = Self::shown(state, id);
        state.ringing.retain(|ringing| ringing != id);
        state.bridges.values_mut().for_each(|bridge| bridge.retain(|inside| inside != id));
        state.channels.remove(id);
        Self::tell(state, "StasisEnd", json!({ "channel": shown }));
        Self::tell(state, "ChannelDestroyed", json!({ "channel": shown, "cause": 16, "cause_txt": "Normal Clearing" }));
    }

    fn on_channel<'a>(self: &Arc<Self>, state: &mut State, verb: &str, id: &str, rest: &[&str], query: &impl Fn(&str) -> &'a str) -> Option<Answer> {
        let shown = Self::shown(state, id);
        let channel = state.channels.get_mut(id)?;
        match (verb, rest) {
            ("GET", []) => return Some((200, shown.to_string())),
            ("GET", ["variable"]) if query("variable") == "CALLERID(num-pres)" => return Some((200, json!({ "value": channel.presentation }).to_string())),
            ("POST", ["answer"]) => channel.up = true,
            ("POST", ["moh"]) => channel.moh = Some(query("mohClass").to_owned()),
            ("DELETE", ["moh"]) => channel.moh = None,
            ("POST", ["silence"]) => channel.silence = true,
            ("DELETE", ["silence"]) => channel.silence = false,
            ("POST", ["play", clip]) if channel.up => {
                let address = query("media").strip_prefix("sound:")?.to_owned();
                tokio::spawn(self.clone().play(id.to_owned(), (*clip).to_owned(), address));
                return Some((201, json!({ "id": clip, "state": "queued" }).to_string()));
            }
            _ => return None,
        }
        Some((NO_CONTENT.0, String::new()))
    }

    fn on_bridge<'a>(state: &mut State, verb: &str, id: &str, rest: &[&str], query: &impl Fn(&str) -> &'a str) -> Option<Answer> {
        if let ("POST", []) = (verb, rest) {
            // One that is there already is told as a failure.
            let new = !state.bridges.contains_key(id);
            state.bridges.entry(id.to_owned()).or_default();
            return Some((if new { 200 } else { 500 }, "{}".into()));
        }
        let Some(bridge) = state.bridges.get_mut(id) else { return Some((404, String::new())) };
        let channel = query("channel").to_owned();
        match (verb, rest) {
            ("DELETE", []) => drop(state.bridges.remove(id)),
            ("POST", ["addChannel"]) if state.channels.contains_key(&channel) => {
                if !bridge.contains(&channel) {
                    bridge.push(channel);
                }
            }
            ("POST", ["removeChannel"]) if bridge.contains(&channel) => bridge.retain(|inside| *inside != channel),
            ("POST", ["play", _]) if query("media") == "tone:record" => return Some((201, "{}".into())),
            _ => return None,
        }
        Some((NO_CONTENT.0, String::new()))
    }

    /// Fetches a clip, hears it, and tells that it has ended.
    async fn play(self: Arc<Self>, id: String, clip: String, address: String) {
        let wav = sound(&self.router, address.strip_prefix(MEDIA).unwrap_or_else(|| panic!("{address} is none of ours"))).await;
        let heard = recordings::heard(&mut self.ear.lock().unwrap(), &wav);
        let mut state = self.state();
        if let Some(channel) = state.channels.get_mut(&id) {
            channel.heard.extend(heard);
        }
        Self::tell(&state, "PlaybackFinished", json!({ "playback": { "id": clip, "media_uri": format!("sound:{address}"), "target_uri": format!("channel:{id}"), "language": "en", "state": "done" } }));
        drop(state);
        self.moved();
    }

    // ── At the caller's end ──────────────────────────────────────────────────────────────────

    /// A call comes in, and its dialplan gives it to us. `args`: what stands behind the application.
    pub fn call(&self, id: &str, from: Option<&str>, exten: &str, args: [&str; 2]) {
        let presentation = if from.is_some() { "allowed_not_screened" } else { "prohib_not_screened" };
        let args = args.map(str::to_owned).to_vec();
        let channel = Channel { number: from.unwrap_or_default().to_owned(), presentation, exten: exten.to_owned(), args: args.clone(), ..Channel::default() };
        let mut state = self.state();
        state.channels.insert(id.to_owned(), channel);
        let shown = Self::shown(&state, id);
        Self::tell(&state, "StasisStart", json!({ "args": args, "channel": shown }));
    }

    /// The telephone that rings now, if one does.
    pub fn rings(&self) -> Option<String> { self.state().ringing.first().cloned() }

    /// Whoever is rung answers.
    pub fn pick_up(&self) -> String {
        let mut state = self.state();
        let id = state.ringing.remove(0);
        state.channels.get_mut(&id).unwrap().up = true;
        Self::tell(&state, "StasisStart", json!({ "args": ["out"], "channel": Self::shown(&state, &id) }));
        id
    }

    /// Whoever is rung declines: the channel was never the application's.
    pub fn decline(&self) {
        let mut state = self.state();
        let id = state.ringing.remove(0);
        let shown = Self::shown(&state, &id);
        state.channels.remove(&id);
        Self::tell(&state, "ChannelDestroyed", json!({ "channel": shown, "cause": 17, "cause_txt": "User busy" }));
    }

    /// The connection for events is lost. It comes back by itself.
    pub fn loses_us(&self) { self.state().events = None; }

    /// The same, and whoever is rung answers before we have asked what there is.
    pub fn loses_us_until_answered(&self) {
        let mut state = self.state();
        (state.events, state.answers_then) = (None, true);
    }

    /// Somebody answers while nobody takes the application's calls, and is hung up: nobody is told.
    pub fn pick_up_unheard(&self) {
        let mut state = self.state();
        assert!(state.events.is_none());
        let id = state.ringing.remove(0);
        state.channels.remove(&id);
    }

    pub fn key(&self, id: &str, key: char) {
        let state = self.state();
        Self::tell(&state, "ChannelDtmfReceived", json!({ "digit": key, "duration_ms": 100, "channel": Self::shown(&state, id) }));
    }

    pub fn hang_up(&self, id: &str) { Self::gone(&mut self.state(), id); }

    /// What was asked so far, as `POST /channels/…/play/…`.
    pub fn asked(&self) -> BTreeSet<String> { self.state().asked.clone() }

    /// What was heard on a channel since this was asked for last.
    pub fn take(&self, id: &str) -> Vec<Sound> { self.state().channels.get_mut(id).map(|channel| std::mem::take(&mut channel.heard)).unwrap_or_default() }

    /// What goes on there.
    pub fn goes_on(&self, id: &str) -> Then {
        let state = self.state();
        assert!(state.refused.is_empty(), "Asterisk would have refused {:?}", state.refused);
        let Some(channel) = state.channels.get(id) else { return Then::HangUp };
        let company = state.bridges.values().any(|bridge| bridge.len() == 2 && bridge.iter().any(|inside| inside == id));
        match (company, &channel.moh, channel.silence) {
            (true, None, false) => Then::Agent,
            (false, Some(class), false) => Then::Hold(class.clone()),
            (false, None, true) => Then::Hold("silence".into()),
            (false, None, false) => Then::Nothing,
            both => panic!("{both:?} at once"),
        }
    }
}
