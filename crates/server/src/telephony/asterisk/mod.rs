//! Asterisk, by its REST interface (ARI): it answers telephones and trunks, and gives us the calls that
//! its dialplan sends to our Stasis application. See docs/asterisk.md.
//!
//! One connection for events, opened by us; orders are requests. Whichever node of ours holds the lease
//! is connected. Nothing of a call is kept here that is not on record or asked again: after a loss of the
//! connection, of this process or of the node, the channels are listed, and every call goes on.

pub mod config;
mod ear;
pub mod events;
mod rest;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use countersign_core::{
    call::Stage,
    id::{CallId, MessageId},
    message::Delivery,
    prompt::Music,
    secret::E164,
};
use futures_util::{SinkExt, StreamExt};
use reqwest::{Client, Method, StatusCode, header, redirect};
use serde::Deserialize;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::{Role, WebSocketConfig}},
};

use self::{
    config::{AsteriskConfigError, AsteriskSettings},
    ear::Ears,
    events::{Channel, Event, is_name, verstat},
    rest::Rest,
};
use super::switch::{
    Arrival, Lines, Switch, SwitchError,
    line::{Heard, Order, RING},
    out::{self, Dials, NotRung},
};
use super::websocket;
use crate::{App, outbox::provider::is_loopback};

/// The adapter's name in the record, and of the chore to be connected.
pub const NAME: &str = "asterisk";

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the other side is asked whether it lives, and how long it may be silent.
const PING: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(30);
/// The waits before the connection is tried again: from the first to the last, twice as long each time.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LAST_WAIT: Duration = Duration::from_secs(10);
/// The largest event that is read.
const LARGEST: usize = 256 * 1024;

/// What the names of our own channels, bridges and clips begin with.
const OURS: &str = "countersign-";
const AGENT: &str = "countersign-agent.";
const BRIDGE: &str = "countersign-bridge.";
const CLIP: &str = "countersign-clip.";
const TONE: &str = "countersign-tone.";
const OUT: &str = "countersign-out.";

/// The switch.
pub struct Asterisk {
    rest: Arc<Rest>,
    events: Client,
    settings: AsteriskSettings,
    lines: Arc<Lines>,
    /// Who listens to callers, if the operator wants it.
    ears: Option<Arc<Ears>>,
    /// Our life: names of clips and legs are never used twice.
    life: String,
    channels: Mutex<HashMap<String, Ours>>,
}

/// What we made beside a caller's channel.
#[derive(Default)]
struct Ours {
    /// The agent's channel.
    agent: Option<String>,
    /// Agents' channels that there have been.
    legs: u64,
    /// The caller hears silence, not music. `None`: nobody knows what.
    silence: Option<bool>,
}

/// Why there are no events.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("it cannot be reached: is asterisk.url its HTTP server, and is that enabled in http.conf?")]
    NoConnection,
    #[error("it does not know our name and password: compare asterisk.user and the password with ari.conf")]
    Refused,
    #[error("it answered {0} instead of opening a WebSocket: is res_ari loaded?")]
    Status(u16),
    #[error("the connection was closed")]
    Closed,
    #[error("it is silent")]
    Silent,
    #[error("another program has taken the Stasis application: give each one of its own")]
    Replaced,
    #[error("another node of ours is connected now")]
    Elsewhere,
    #[error("its channels cannot be listed: {0}")]
    Listing(SwitchError),
}

impl Asterisk {
    /// Checks the settings; connects to nothing.
    ///
    /// # Errors
    /// See [`AsteriskConfigError`].
    pub fn new(settings: AsteriskSettings, lines: Arc<Lines>) -> Result<Self, AsteriskConfigError> {
        settings.names()?;
        let (url, password) = (settings.address()?, settings.password()?);
        let client = |whole: Option<Duration>| {
            let mut builder = Client::builder()
                .redirect(redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .http1_only()
                .connect_timeout(PATIENCE)
                .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")));
            if let Some(whole) = whole {
                builder = builder.timeout(whole);
            }
            // What is in clear is so because the settings say so, and goes nowhere by a proxy.
            builder = if url.scheme() == "https" && !url.host_str().is_some_and(is_loopback) { builder.https_only(true) } else { builder.no_proxy() };
            builder.build().map_err(|_| AsteriskConfigError::Tls)
        };
        let mut life = [0; 4];
        getrandom::fill(&mut life).map_err(|_| AsteriskConfigError::Tls)?;
        let (life, events) = (hex::encode(life), client(None)?);
        let rest = Arc::new(Rest { client: client(Some(PATIENCE))?, user: settings.user.clone(), password, url });
        let ears = settings.sound()?.map(|at| Arc::new(Ears::new(rest.clone(), lines.clone(), settings.app.clone(), life.clone(), at)));
        Ok(Self { rest, events, settings, lines, ears, life, channels: Mutex::default() })
    }

    /// Takes calls from now on, for ever.
    pub async fn run(self: Arc<Self>) {
        let mut wait = FIRST_WAIT;
        let mut said = String::new();
        loop {
            if !self.leads().await {
                sleep(Duration::from_secs(1)).await;
                continue;
            }
            let began = Instant::now();
            let why = self.connected().await;
            // Whoever was connected for a while begins anew.
            if began.elapsed() > SILENCE {
                (wait, said) = (FIRST_WAIT, String::new());
            }
            let text = why.to_string();
            if text != said {
                tracing::warn!(reason = %text, "Asterisk is not connected; it is tried again");
                said = text;
            }
            sleep(wait).await;
            wait = (wait * 2).min(LAST_WAIT);
        }
    }

    async fn leads(&self) -> bool {
        match self.lines.app() {
            Some(app) => app.runner.leads(NAME).await.unwrap_or(false),
            None => false,
        }
    }

    fn channels(&self) -> std::sync::MutexGuard<'_, HashMap<String, Ours>> { self.channels.lock().unwrap_or_else(PoisonError::into_inner) }

    /// Opens the connection and takes what comes, until it ends.
    async fn connected(self: &Arc<Self>) -> Lost {
        let mut events = match timeout(PATIENCE, self.open()).await {
            Ok(Ok(events)) => events,
            Ok(Err(why)) => return why,
            Err(_) => return Lost::NoConnection,
        };
        // Events wait in the connection meanwhile.
        if let Err(e) = self.take_up().await {
            return Lost::Listing(e);
        }
        let (mut ping, mut lease, mut heard) = (interval(PING), interval(Duration::from_secs(1)), Instant::now());
        loop {
            tokio::select! {
                message = events.next() => {
                    heard = Instant::now();
                    match message {
                        Some(Ok(Message::Text(text))) => match serde_json::from_str(text.as_str()) {
                            Ok(Event::ApplicationReplaced {}) => return Lost::Replaced,
                            Ok(event) => self.take(event),
                            // Of a kind that we know, and of another shape. What is in it is not told.
                            Err(_) => tracing::warn!("an event of Asterisk was not understood"),
                        },
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return Lost::Closed,
                        Some(Ok(_)) => {}
                    }
                }
                _ = ping.tick() => {
                    if heard.elapsed() > SILENCE {
                        return Lost::Silent;
                    }
                    if events.send(Message::Ping(Vec::new().into())).await.is_err() {
                        return Lost::Closed;
                    }
                }
                _ = lease.tick() => if !self.leads().await {
                    return Lost::Elsewhere;
                },
            }
        }
    }

    /// The connection for events (RFC 6455 §4.1).
    async fn open(&self) -> Result<WebSocketStream<reqwest::Upgraded>, Lost> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|_| Lost::NoConnection)?;
        let nonce = STANDARD.encode(nonce);
        let url = self.rest.at(&["events"], &[("app", &self.settings.app)]);
        let answer = self.events.get(url).basic_auth(&self.rest.user, Some(self.rest.password.expose()))
            .header(header::CONNECTION, "Upgrade").header(header::UPGRADE, "websocket").header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", &nonce)
            .send().await.map_err(|_| Lost::NoConnection)?;
        match answer.status() {
            StatusCode::SWITCHING_PROTOCOLS => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(Lost::Refused),
            other => return Err(Lost::Status(other.as_u16())),
        }
        let accepted = websocket::accept(&nonce);
        if answer.headers().get("sec-websocket-accept").is_none_or(|value| value.as_bytes() != accepted.as_bytes()) {
            return Err(Lost::Status(101));
        }
        let stream = answer.upgrade().await.map_err(|_| Lost::Closed)?;
        let limits = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
        Ok(WebSocketStream::from_raw_socket(stream, Role::Client, Some(limits)).await)
    }

    /// What went on while we were not connected: calls go on that are there, and those that are not are over.
    async fn take_up(self: &Arc<Self>) -> Result<(), SwitchError> {
        #[derive(Deserialize)]
        struct Listed {
            #[serde(default)]
            channel_ids: Vec<String>,
        }
        let Some(app) = self.lines.app() else { return Ok(()) };
        // Asked first: a call that begins meanwhile is not one that was lost.
        let on_record: Vec<CallId> = app.runner.live_map(|call| (call.adapter == NAME).then_some(call.id)).await;
        let on_line = self.lines.channels();
        let body = self.ask(Method::GET, &["applications", &self.settings.app], &[]).await?;
        let there = serde_json::from_slice::<Listed>(&body).map_err(|_| SwitchError::Failed("no list of channels".into()))?.channel_ids;
        let there: HashSet<&str> = there.iter().map(String::as_str).filter(|id| is_name(id)).collect();
        for (channel, agent) in there.iter().filter_map(|id| Some((callers(id)?, *id))).filter(|(channel, _)| there.contains(channel)) {
            self.channels().entry(channel.to_owned()).or_default().agent.get_or_insert_with(|| agent.to_owned());
        }
        for channel in on_line.iter().filter(|channel| !there.contains(channel.as_str())) {
            self.over(channel);
        }
        let mut known = HashSet::new();
        for id in on_record {
            let Ok(Some(live)) = app.runner.in_memory(id).await else { continue };
            let channel = live.line.reference;
            if there.contains(channel.as_str()) {
                let agent = self.channels().get(&channel).is_some_and(|ours| ours.agent.is_some());
                let arrival = Arrival { channel: channel.clone(), number: live.line.number, to: None, verstat: Default::default(), ours: live.call.origin.is_ours().then_some(id), agent, switch: self.clone() };
                if on_line.contains(&channel) {
                    self.agent_meanwhile(&channel, &there).await;
                    self.lines.again(&channel);
                } else {
                    self.lines.arrived(arrival);
                }
                known.insert(channel);
            } else if !on_line.contains(&channel) {
                match (live.call.stage, live.call.ring, live.call.delivery) {
                    (Stage::Dialing, Some(message), Some(Delivery::Sent)) => self.rung_out(app, id, message).await,
                    // One that waits to be rung has no line yet.
                    (Stage::Dialing, ..) => {}
                    _ => self.lines.lost(id, &channel).await,
                }
            }
        }
        for leg in there.iter().filter(|leg| !known.contains(**leg)) {
            if let Some((call, _)) = out_of(leg) {
                self.rung_meanwhile(leg, call).await;
            }
        }
        // Telephones of agents whose callers are gone.
        for agent in there.iter().filter(|id| callers(id).is_some_and(|channel| !known.contains(channel))) {
            let _ = self.ask(Method::DELETE, &["channels", agent], &[]).await;
        }
        // What another life of ours has listened with.
        for name in there.iter().filter_map(|id| ear::name(id)).filter(|name| self.ears.as_ref().is_none_or(|ears| !ears.has(name))).collect::<HashSet<_>>() {
            ear::take_down(&self.rest, name).await;
        }
        tracing::info!(calls = known.len(), "Asterisk is connected");
        Ok(())
    }

    /// What became of the agent's telephone of a call while nobody listened.
    async fn agent_meanwhile(&self, channel: &str, there: &HashSet<&str>) {
        let Some(agent) = self.agent(channel) else { return };
        if !there.contains(agent.as_str()) {
            return self.lines.heard(channel, Heard::AgentGone);
        }
        let state = self.ask(Method::GET, &["channels", &agent], &[]).await.ok().and_then(|body| serde_json::from_slice::<serde_json::Value>(&body).ok());
        if state.is_some_and(|channel| channel.get("state").is_some_and(|state| state == "Up")) {
            self.lines.heard(channel, Heard::AgentUp);
        }
    }

    /// Somebody may have answered a call of ours while nobody listened.
    async fn rung_meanwhile(self: &Arc<Self>, leg: &str, call: CallId) {
        let state = self.ask(Method::GET, &["channels", leg], &[]).await.ok().and_then(|body| serde_json::from_slice::<serde_json::Value>(&body).ok());
        if state.is_some_and(|channel| channel.get("state").is_some_and(|state| state == "Up")) {
            self.picked_up(leg.to_owned(), call);
        }
    }

    /// A telephone that we have had rung may ring no more. Asterisk also hangs up on whoever answers while
    /// nobody takes the application's calls.
    async fn rung_out(&self, app: &App, call: CallId, message: MessageId) {
        let leg = self.leg(call, message);
        if self.ask(Method::GET, &["channels", &leg], &[]).await == Err(SwitchError::Gone) {
            out::ended(app, NAME, call, message, &leg).await;
        }
    }

    /// Somebody has answered a call of ours. While calls are taken up, that is seen in the list, and is told
    /// again by the event that has waited: whoever is being spoken to is not greeted anew, with their keys
    /// lost.
    fn picked_up(self: &Arc<Self>, leg: String, call: CallId) {
        if self.lines.has(&leg) {
            return;
        }
        self.lines.arrived(Arrival { channel: leg, number: None, to: None, verstat: Default::default(), ours: Some(call), agent: false, switch: self.clone() });
    }

    fn take(self: &Arc<Self>, event: Event) {
        match event {
            Event::StasisStart { channel, args } if is_name(&channel.id) => {
                if let Some(caller) = callers(&channel.id) {
                    if self.is_agent(caller, &channel.id) {
                        self.lines.heard(caller, Heard::AgentUp);
                    }
                } else if ear::name(&channel.id).is_some() {
                    if let Some(ears) = &self.ears {
                        ears.started(&channel.id);
                    }
                } else if let Some((call, _)) = out_of(&channel.id) {
                    self.picked_up(channel.id, call);
                } else if !channel.id.starts_with(OURS) {
                    let this = self.clone();
                    tokio::spawn(async move { this.arrive(channel, &args).await });
                }
            }
            Event::StasisEnd { channel } | Event::ChannelDestroyed { channel } => match callers(&channel.id) {
                Some(caller) if self.is_agent(caller, &channel.id) => self.lines.heard(caller, Heard::AgentGone),
                Some(_) => {}
                None => match (out_of(&channel.id), self.lines.app().cloned()) {
                    (Some((call, message)), Some(app)) if !self.lines.has(&channel.id) => drop(tokio::spawn(async move { out::ended(&app, NAME, call, message, &channel.id).await })),
                    _ => self.over(&channel.id),
                },
            },
            Event::ChannelDtmfReceived { channel, digit } => {
                let mut keys = digit.chars().filter(|key| key.is_ascii_digit() || "*#".contains(*key));
                if let (Some(key), None) = (keys.next(), keys.next()) {
                    self.lines.heard(&channel.id, Heard::Key(key));
                }
            }
            Event::PlaybackFinished { playback } => {
                let clip = playback.id.strip_prefix(CLIP).and_then(|rest| rest.strip_prefix(&format!("{}.", self.life)));
                let Some((clip, channel)) = clip.and_then(|rest| rest.split_once('.')) else { return };
                if playback.state == "failed" {
                    tracing::warn!("Asterisk could not play a clip: is asterisk.media_url reached from there, and is res_http_media_cache loaded?");
                }
                if let Ok(clip) = clip.parse() {
                    self.lines.heard(channel, Heard::Played(clip));
                }
            }
            Event::StasisStart { .. } | Event::ApplicationReplaced {} | Event::Other => {}
        }
    }

    fn is_agent(&self, caller: &str, channel: &str) -> bool { self.channels().get(caller).is_some_and(|ours| ours.agent.as_deref() == Some(channel)) }

    fn over(&self, channel: &str) { self.lines.gone(channel); }

    /// A new call.
    async fn arrive(self: Arc<Self>, Channel { id: channel, caller, dialplan }: Channel, args: &[String]) {
        // A network may tell who it is who does not want to be known: then they are not known. Nor if
        // nobody can say.
        let shown = match self.ask(Method::GET, &["channels", &channel, "variable"], &[("variable", "CALLERID(num-pres)")]).await {
            Ok(body) => serde_json::from_slice::<serde_json::Value>(&body).ok().and_then(|v| v.get("value").and_then(|v| v.as_str()).map(|v| v.starts_with("allowed"))).unwrap_or(false),
            Err(SwitchError::Gone) => return,
            Err(_) => false,
        };
        let number = if shown { self.lines.number(&caller.number) } else { None };
        let to = self.lines.number(&dialplan.exten);
        self.lines.arrived(Arrival { channel, number, to, verstat: verstat(args), ours: None, agent: false, switch: self.clone() });
    }

    async fn ask(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> Result<Vec<u8>, SwitchError> { self.rest.ask(method, path, query).await }
    async fn post(&self, path: &[&str], query: &[(&str, &str)]) -> Result<(), SwitchError> { self.rest.post(path, query).await }
    async fn delete(&self, path: &[&str]) -> Result<(), SwitchError> { self.rest.delete(path).await }

    fn clip(&self, channel: &str, clip: u64) -> String { format!("{CLIP}{}.{clip}.{channel}", self.life) }

    fn agent(&self, channel: &str) -> Option<String> { self.channels().get(channel)?.agent.clone() }

    async fn dial(&self, channel: &str, to: &str) -> Result<(), SwitchError> {
        let agent = {
            let mut channels = self.channels();
            let ours = channels.entry(channel.to_owned()).or_default();
            ours.legs += 1;
            let agent = format!("{AGENT}{}-{}.{channel}", self.life, ours.legs);
            ours.agent = Some(agent.clone());
            agent
        };
        let ring = RING.as_secs().to_string();
        // The caller's codecs, so that nothing has to be translated; and who calls is not shown.
        let query = [("endpoint", to), ("app", &self.settings.app), ("appArgs", "agent"), ("timeout", &ring), ("callerId", "anonymous"), ("originator", channel)];
        self.post(&["channels", &agent], &query).await.map_err(|e| SwitchError::Failed(e.to_string()))
    }

    async fn join(&self, channel: &str) -> Result<(), SwitchError> {
        let agent = self.agent(channel).ok_or(SwitchError::Failed("nobody to join with".into()))?;
        let bridge = bridge(&agent);
        let _ = self.delete(&["playbacks", &tone(&agent)]).await;
        // That it is there already is told as a failure.
        let _ = self.post(&["bridges", &bridge], &[("type", "mixing")]).await;
        self.post(&["bridges", &bridge, "addChannel"], &[("channel", &agent)]).await?;
        // No key of the caller is the agent's.
        self.post(&["bridges", &bridge, "addChannel"], &[("channel", channel), ("absorbDTMF", "true")]).await
    }

    /// The caller leaves the bridge; the agent stays in it, with a soft tone.
    async fn part(&self, channel: &str) -> Result<(), SwitchError> {
        let Some(agent) = self.agent(channel) else { return Ok(()) };
        let bridge = bridge(&agent);
        if self.post(&["bridges", &bridge, "removeChannel"], &[("channel", channel)]).await.is_err() {
            // Then nobody is in it. If that fails as well, the agent goes.
            match self.delete(&["bridges", &bridge]).await {
                Ok(()) | Err(SwitchError::Gone) => {}
                Err(e) => return Err(e),
            }
        } else if self.post(&["bridges", &bridge, "play", &tone(&agent)], &[("media", "tone:record")]).await.is_err() {
            tracing::debug!("the agent hears nothing while a secret is keyed: is chan_bridge_media loaded?");
        }
        Ok(())
    }

    async fn drop_agent(&self, channel: &str) -> Result<(), SwitchError> {
        let agent = self.channels().get_mut(channel).and_then(|ours| ours.agent.take());
        let Some(agent) = agent else { return Ok(()) };
        // The bridge first: nobody hears anybody from here on.
        let _ = self.delete(&["bridges", &bridge(&agent)]).await;
        self.delete(&["channels", &agent]).await
    }

    async fn music(&self, channel: &str, music: Music) -> Result<(), SwitchError> {
        let silence = music == Music::Silence;
        self.channels().entry(channel.to_owned()).or_default().silence = Some(silence);
        match silence {
            true => self.post(&["channels", channel, "silence"], &[]).await,
            false => self.post(&["channels", channel, "moh"], &[("mohClass", self.settings.class(music))]).await,
        }
    }

    async fn mute(&self, channel: &str, verb: Method) -> Result<(), SwitchError> {
        let Some(name) = &self.settings.recording else { return Ok(()) };
        match self.ask(verb, &["recordings", "live", &name.replace("{channel}", channel), "mute"], &[]).await {
            // Not every call is recorded.
            Ok(_) | Err(SwitchError::Gone) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// The caller's channel of an agent's.
fn callers(channel: &str) -> Option<&str> { channel.strip_prefix(AGENT).filter(|rest| !rest.contains(';'))?.split_once('.').map(|(_, caller)| caller) }

/// The call that we make on this channel, and the message that asked for it.
fn out_of(channel: &str) -> Option<(CallId, MessageId)> {
    let (call, message) = channel.strip_prefix(OUT).filter(|rest| !rest.contains(';'))?.split_once('.')?;
    Some((call.parse().ok()?, message.parse().ok()?))
}

fn bridge(agent: &str) -> String { agent.replacen(AGENT, BRIDGE, 1) }
fn tone(agent: &str) -> String { agent.replacen(AGENT, TONE, 1) }

#[async_trait]
impl Dials for Asterisk {
    fn leg(&self, call: CallId, message: MessageId) -> String { format!("{OUT}{call}.{message}") }

    async fn ring(&self, call: CallId, message: MessageId, number: &E164) -> Result<(), NotRung> {
        let Some(out) = &self.settings.out else { return Err(NotRung::Refused) };
        let out = out.through();
        let (endpoint, ring) = (out.endpoint(number), out.ring.as_secs().to_string());
        let query = [("endpoint", endpoint.as_str()), ("app", &self.settings.app), ("appArgs", "out"), ("timeout", &ring), ("callerId", out.from.expose())];
        let request = self.rest.client.post(self.rest.at(&["channels", &self.leg(call, message)], &query)).basic_auth(&self.rest.user, Some(self.rest.password.expose()));
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(_) => Err(NotRung::Refused),
            Err(e) if e.is_connect() => Err(NotRung::NotSent),
            Err(_) => Err(NotRung::Unknown),
        }
    }

    async fn call_off(&self, leg: &str) { let _ = self.delete(&["channels", leg]).await; }
}

#[async_trait]
impl Switch for Asterisk {
    async fn answer(&self, channel: &str) -> Result<(), SwitchError> { self.post(&["channels", channel, "answer"], &[]).await }

    async fn decline(&self, channel: &str) -> Result<(), SwitchError> { self.post(&["channels", channel, "continue"], &[]).await }

    async fn order(&self, channel: &str, order: &Order) -> Result<(), SwitchError> {
        match order {
            Order::Play(clip, address) => self.post(&["channels", channel, "play", &self.clip(channel, *clip)], &[("media", &format!("sound:{address}"))]).await,
            Order::Stop(clip) => self.delete(&["playbacks", &self.clip(channel, *clip)]).await,
            Order::Music(music) => self.music(channel, *music).await,
            Order::Quiet => {
                let silence = self.channels().get(channel).and_then(|ours| ours.silence);
                if silence != Some(true) {
                    self.delete(&["channels", channel, "moh"]).await?;
                }
                if silence != Some(false) {
                    self.delete(&["channels", channel, "silence"]).await?;
                }
                Ok(())
            }
            Order::Dial(to) => self.dial(channel, to).await,
            Order::Ear => {
                if let Some(ears) = &self.ears {
                    ears.open(channel);
                }
                Ok(())
            }
            Order::Listen(answer, longest) => match &self.ears {
                Some(ears) if ears.listen(channel, *answer, *longest) => Ok(()),
                _ => Err(SwitchError::Failed("nobody is ready to listen".into())),
            },
            Order::Deaf => {
                if let Some(ears) = &self.ears {
                    ears.close(channel);
                }
                Ok(())
            }
            Order::Join => self.join(channel).await,
            Order::Part => self.part(channel).await,
            Order::Drop => self.drop_agent(channel).await,
            Order::Mask => self.mute(channel, Method::POST).await,
            Order::Unmask => self.mute(channel, Method::DELETE).await,
            Order::HangUp => self.delete(&["channels", channel]).await,
        }
    }

    fn forget(&self, channel: &str) { self.channels().remove(channel); }

    fn listens(&self) -> bool { self.ears.is_some() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        i18n::{Company, Texts},
        outbox::http::testing::{Reply, Server, nobody, reply},
        telephony::{sip::voice::Voice, switch::{Setup, clips::Clips}},
    };

    fn asterisk(address: &str) -> Asterisk {
        let company = Company { name: "Juniper & Co".into(), fraud_line: "+1 202 555 0100".into(), link_base: "https://calls.example.com".into() };
        let clips = Clips::new(Arc::new(Texts::load(company).unwrap()), Voice::new(None, Vec::new()), "http://127.0.0.1:8080", NAME);
        let lines = Lines::new(Setup { name: NAME, clips, agent_phones: HashMap::new(), national: None, most: 10, name_of: Box::new(|id| id.to_string()) });
        let file = std::env::temp_dir().join(format!("countersign-ari-{}-{}", std::process::id(), address.replace(':', "-")));
        std::fs::write(&file, "a-password-of-ari\n").unwrap();
        let settings = format!("url = \"http://{address}/pbx\"\nuser = \"countersign\"\npassword_file = {file:?}");
        let asterisk = Asterisk::new(toml::from_str(&settings).unwrap(), Arc::new(lines)).unwrap();
        std::fs::remove_file(&file).unwrap();
        asterisk
    }

    #[tokio::test]
    async fn what_is_no_asterisk_is_not_spoken_to() {
        let accepted = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        for (answer, why) in [
            (reply("401 Unauthorized", ""), "does not know our name"), (reply("403 Forbidden", ""), "does not know our name"), (reply("200 OK", "{}"), "answered 200"),
            (reply("302 Found\r\nLocation: http://192.0.2.1/", ""), "answered 302"), (Reply::Raw(accepted.into()), "answered 101"), (Reply::Cut, "cannot be reached"), (Reply::Garbage, "cannot be reached"),
        ] {
            let server = Server::start(vec![answer]);
            let lost = asterisk(&server.address).open().await.err().unwrap().to_string();
            assert!(lost.contains(why), "{lost:?} instead of {why:?}");
            assert!(!lost.contains("password-of-ari") && !lost.contains(&server.address));
        }
        assert!(matches!(asterisk(&nobody()).open().await, Err(Lost::NoConnection)));
    }

    #[tokio::test]
    async fn a_password_goes_in_the_header_and_names_stay_in_their_place() {
        let server = Server::start(vec![reply("404 Not Found", "{}"), reply("204 No Content", "")]);
        let asterisk = asterisk(&server.address);
        assert_eq!(asterisk.post(&["channels", "1/../../asterisk/modules", "answer"], &[("a&b", "c=d")]).await, Err(SwitchError::Gone));
        assert_eq!(asterisk.delete(&["channels", "1780308000.12"]).await, Ok(()));
        let requests = server.requests.lock().unwrap();
        assert!(requests[0].starts_with("POST /pbx/ari/channels/1%2F..%2F..%2Fasterisk%2Fmodules/answer?a%26b=c%3Dd HTTP/1.1"), "{}", requests[0]);
        let basic = format!("Basic {}", STANDARD.encode("countersign:a-password-of-ari"));
        assert!(requests.iter().all(|request| request.contains(&basic)));
    }

    #[test]
    fn channels_of_agents_name_their_callers() {
        let agent = format!("{AGENT}00aabbcc-2.pbx-1780308000.12");
        assert_eq!(callers(&agent), Some("pbx-1780308000.12"));
        assert_eq!((bridge(&agent).as_str(), tone(&agent).as_str()), ("countersign-bridge.00aabbcc-2.pbx-1780308000.12", "countersign-tone.00aabbcc-2.pbx-1780308000.12"));
        for other in ["1780308000.12", "countersign-agent.", "countersign-agent.1", &format!("{agent};2"), "countersign-clip.1.2"] {
            assert_eq!(callers(other), None, "{other}");
        }
    }
}
