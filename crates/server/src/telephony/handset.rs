//! The handset of the demo: a telephone in a web page, driven by the same directives as every
//! other. Mounted by `demo` alone.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response, Sse, sse::{Event as SseEvent, KeepAlive}},
    routing::{get, post},
};
use countersign_core::{
    call::{Call, Input},
    id::CallId,
    prompt::Directive,
    risk::Verstat,
    secret::{E164, Secret},
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::incoming;
use crate::{
    App,
    hub::Telephone,
    i18n::Texts,
    outbox::provider::{Channel, Outgoing, Provider, Sent},
    runner::{Line, Reply, RunError},
    web::WebError,
};

/// The adapter's name in the record.
pub const NAME: &str = "handset";

/// All handsets of the demo, and the texts and mails that reached them.
pub struct Handsets {
    texts: Arc<Texts>,
    calls: Mutex<HashMap<CallId, watch::Sender<String>>>,
    inbox: Mutex<Vec<Received>>,
    arrived: watch::Sender<usize>,
    microphone: OnceLock<Arc<dyn Microphone>>,
}

/// What carries a voice between a page and the telephone line.
#[async_trait]
pub trait Microphone: Send + Sync {
    /// Answers a page that offers its microphone.
    async fn offer(&self, sdp: &str) -> Result<Offered, NoMicrophone>;

    /// Calls, with a microphone that was offered before, and once. With no number it is withheld.
    async fn dial(&self, microphone: &str, number: Option<&E164>) -> Result<CallId, NoMicrophone>;
}

/// A microphone that was taken.
#[derive(Debug, Clone, Serialize)]
pub struct Offered {
    /// Its name, which only the page that offered it knows.
    pub microphone: String,
    /// The session description for the browser.
    pub sdp: String,
}

/// Why there is no microphone on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoMicrophone {
    /// The session description cannot be used.
    #[error("the browser's offer cannot be used: {0}")]
    Offer(&'static str),
    /// As many as there may be.
    #[error("too many calls with a microphone")]
    Busy,
    /// It was offered too long ago, or it has called already, or never was.
    #[error("this microphone is not there any more")]
    Gone,
    /// The line does not answer.
    #[error("the telephone line does not answer")]
    Line,
}

impl From<NoMicrophone> for WebError {
    fn from(e: NoMicrophone) -> Self {
        match e {
            NoMicrophone::Offer(_) => Self::Bad(e.to_string()),
            NoMicrophone::Busy => Self::Busy,
            NoMicrophone::Gone => Self::NotFound,
            NoMicrophone::Line => Self::Broken(e.to_string()),
        }
    }
}

/// A message that arrived.
#[derive(Debug, Clone, Serialize)]
pub struct Received {
    at: i64,
    channel: &'static str,
    to: String,
    text: String,
}

impl Handsets {
    /// No handset is off the hook.
    pub fn new(texts: Arc<Texts>) -> Self {
        Self { texts, calls: Mutex::default(), inbox: Mutex::default(), arrived: watch::channel(0).0, microphone: OnceLock::new() }
    }

    /// From now on pages may talk.
    pub fn talk_by(&self, microphone: Arc<dyn Microphone>) { let _ = self.microphone.set(microphone); }

    /// Whether pages may talk.
    pub fn talks(&self) -> bool { self.microphone.get().is_some() }

    /// What the caller of another adapter hears, for a page that looks on.
    pub fn mirror(&self, id: CallId, reply: &Reply) {
        if self.calls().contains_key(&id) {
            self.show(id, reply);
        }
    }

    fn calls(&self) -> std::sync::MutexGuard<'_, HashMap<CallId, watch::Sender<String>>> { self.calls.lock().unwrap_or_else(PoisonError::into_inner) }

    fn inbox(&self) -> std::sync::MutexGuard<'_, Vec<Received>> { self.inbox.lock().unwrap_or_else(PoisonError::into_inner) }

    fn show(&self, id: CallId, reply: &Reply) {
        let text = serde_json::to_string(&self.rendered(reply)).unwrap_or_default();
        let mut calls = self.calls();
        calls.entry(id).or_insert_with(|| watch::channel(String::new()).0).send_replace(text);
        if reply.directives.contains(&Directive::HangUp) {
            // Whoever listens has the last word already: a sender that is gone ends their stream.
            calls.remove(&id);
        }
    }

    fn rendered(&self, reply: &Reply) -> Vec<serde_json::Value> {
        let mut out = Vec::new();
        for directive in &reply.directives {
            match directive {
                Directive::Say { prompt, lang } => {
                    for (lang, text) in self.texts.spoken(*lang, prompt) {
                        out.push(serde_json::json!({"do": "say", "text": text, "lang": lang.code()}));
                    }
                }
                // Nobody is heard here: no key comes, and the call goes on as ever.
                Directive::Record { .. } => out.extend(serde_json::to_value(Directive::Gather { max: 1, timeout: 1, secret: false })),
                other => out.extend(serde_json::to_value(other)),
            }
        }
        out
    }
}

#[async_trait]
impl Telephone for Handsets {
    async fn push(&self, call: &Call, _line: &Line, reply: Reply) { self.show(call.id, &reply); }
}

/// The demo's inbox stands in for every provider.
pub struct Inbox {
    /// Where messages arrive.
    pub handsets: Arc<Handsets>,
    /// Now.
    pub now: crate::outbox::provider::Clock,
}

#[async_trait]
impl Provider for Inbox {
    fn name(&self) -> &'static str { "inbox" }
    fn channels(&self) -> &[Channel] { &[Channel::Sms, Channel::Voice, Channel::Email, Channel::Ring] }
    async fn send(&self, m: &Outgoing) -> Sent {
        let subject = m.subject.as_ref().map(|s| format!("{s}\n\n")).unwrap_or_default();
        let received = Received {
            at: (self.now)().0, channel: m.channel.name(), to: m.to.expose().to_owned(), text: format!("{subject}{}", m.text.expose()),
        };
        let mut inbox = self.handsets.inbox();
        inbox.push(received);
        self.handsets.arrived.send_replace(inbox.len());
        Sent::Accepted { reference: None }
    }
}

/// The routes of the handset.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/handset/calls", post(dial))
        .route("/handset/calls/{id}/answer", post(answer))
        .route("/handset/calls/{id}/events", get(events))
        .route("/handset/calls/{id}/keys", post(keys))
        .route("/handset/calls/{id}/silence", post(silence))
        .route("/handset/calls/{id}/hang-up", post(hang_up))
        .route("/handset/microphone", post(microphone))
        .route("/handset/microphone/{id}/dial", post(speak))
        .route("/handset/inbox/{person}/events", get(inbox))
}

fn handsets(app: &App) -> Result<&Arc<Handsets>, WebError> { app.handsets.as_ref().ok_or(WebError::NotFound) }

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dial {
    person: Option<String>,
    number: Option<String>,
    /// What the number keys by itself once the call is answered: the portal's own number was dialled.
    token: Option<Secret>,
}

async fn dial(State(app): State<App>, Json(dial): Json<Dial>) -> Result<Json<serde_json::Value>, WebError> {
    let handsets = handsets(&app)?;
    let number = number_of(&app, dial.person.as_deref(), dial.number.as_deref())?;
    let id = CallId(app.runner.vault.id()?);
    let verstat = if number.is_some() { Verstat::PassedA } else { Verstat::None };
    let first = incoming(&app, NAME, number.as_ref(), verstat, dial.token.is_some()).await?;
    let line = Line { reference: id.to_string(), number };
    let mut reply = app.runner.begin(id, format!("handset/{id}/in"), line, || first.input()).await?;
    if let Some(token) = dial.token.filter(|t| t.expose().len() <= 32 && t.expose().bytes().all(|b| b.is_ascii_digit())) {
        reply = app.runner.run(id, format!("handset/{id}/token"), || Input::Keys(token.clone())).await?;
    }
    handsets.show(id, &reply);
    Ok(Json(serde_json::json!({"call": id})))
}

/// The number of a person of the demo, or one that was typed.
fn number_of(app: &App, person: Option<&str>, number: Option<&str>) -> Result<Option<E164>, WebError> {
    match (person, number) {
        (Some(id), _) => Ok(app.demo_people.iter().find(|p| p.id == id).and_then(|p| E164::parse(&p.number).ok())),
        (None, Some(text)) if !text.is_empty() => Ok(Some(E164::parse(text).map_err(|e| WebError::Bad(e.to_string()))?)),
        _ => Ok(None),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Offer {
    sdp: String,
}

async fn microphone(State(app): State<App>, Json(Offer { sdp }): Json<Offer>) -> Result<Json<Offered>, WebError> {
    let microphone = handsets(&app)?.microphone.get().ok_or(WebError::NotFound)?;
    Ok(Json(microphone.offer(&sdp).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Speak {
    person: Option<String>,
    number: Option<String>,
}

/// The same as dialling by keys, by the telephone line: the call has the adapter of that.
async fn speak(State(app): State<App>, Path(id): Path<String>, Json(dial): Json<Speak>) -> Result<Json<serde_json::Value>, WebError> {
    let microphone = handsets(&app)?.microphone.get().ok_or(WebError::NotFound)?;
    let number = number_of(&app, dial.person.as_deref(), dial.number.as_deref())?;
    Ok(Json(serde_json::json!({"call": microphone.dial(&id, number.as_ref()).await?})))
}

/// A call of ours is answered here.
async fn answer(State(app): State<App>, Path(id): Path<CallId>) -> Result<Json<serde_json::Value>, WebError> {
    let handsets = handsets(&app)?;
    let line = Line { reference: id.to_string(), number: None };
    let reply = app.runner.answer_out(id, format!("handset/{id}/answered"), line).await?;
    handsets.show(id, &reply);
    Ok(Json(serde_json::json!({"call": id})))
}

async fn events(State(app): State<App>, Path(id): Path<CallId>) -> Result<Response, WebError> {
    let handsets = handsets(&app)?.clone();
    let watched = handsets.calls().get(&id).map(watch::Sender::subscribe);
    let mut watched = match watched {
        Some(watched) => watched,
        // After a restart: pick the caller up where they were.
        None => {
            let live = app.runner.call(id).await?.ok_or(WebError::NotFound)?;
            let reply = Reply { n: live.call.n, directives: app.runner.directives(&live.call).await? };
            let text = serde_json::to_string(&handsets.rendered(&reply))?;
            handsets.calls().entry(id).or_insert_with(|| watch::channel(text).0).subscribe()
        }
    };
    watched.mark_changed();
    let stream = stream::unfold(watched, |mut watched| async move {
        watched.changed().await.ok()?;
        let text = watched.borrow_and_update().clone();
        Some((Ok::<_, Infallible>(SseEvent::default().event("directives").data(text)), watched))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(20))).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    keys: Secret,
    command: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Only {
    command: String,
}

async fn keys(State(app): State<App>, Path(id): Path<CallId>, Json(Keys { keys, command }): Json<Keys>) -> Result<(), WebError> {
    if keys.expose().len() > 32 || !keys.expose().bytes().all(|b| b.is_ascii_digit() || b"*#".contains(&b)) {
        return Err(WebError::Bad("a telephone has the keys 0 to 9, star and hash".into()));
    }
    moved(&app, id, &command, || Input::Keys(keys.clone())).await
}

async fn silence(State(app): State<App>, Path(id): Path<CallId>, Json(Only { command }): Json<Only>) -> Result<(), WebError> {
    moved(&app, id, &command, || Input::NoKeys).await
}

async fn hang_up(State(app): State<App>, Path(id): Path<CallId>) -> Result<(), WebError> { moved(&app, id, "over", || Input::HungUp).await }

async fn moved(app: &App, id: CallId, command: &str, make: impl Fn() -> Input + Send) -> Result<(), WebError> {
    if command.is_empty() || command.len() > 64 {
        return Err(WebError::Bad("a command has an id of 1 to 64 characters".into()));
    }
    match app.runner.run(id, format!("handset/{id}/{command}"), make).await {
        Ok(reply) => handsets(app)?.show(id, &reply),
        Err(RunError::Rejected(_)) => {}
        Err(e) => return Err(e.into()),
    }
    Ok(())
}

async fn inbox(State(app): State<App>, Path(person): Path<String>) -> Result<Response, WebError> {
    let handsets = handsets(&app)?.clone();
    let person = app.demo_people.iter().find(|p| p.id == person).ok_or(WebError::NotFound)?;
    let account = person.account;
    let arrived = handsets.arrived.subscribe();
    let state = (app.clone(), handsets, arrived, 0_usize);
    let stream = stream::unfold(state, move |(app, handsets, mut arrived, seen)| async move {
        let mut seen = seen;
        loop {
            let next = handsets.inbox().get(seen).cloned();
            match next {
                Some(message) => {
                    seen += 1;
                    // What belongs to the person is asked each time: contact points change.
                    let loaded = app.runner.directory.load(account).await.ok().flatten();
                    let theirs = loaded.is_some_and(|l| l.profile.contacts.iter().any(|c| c.value.expose() == message.to));
                    if theirs {
                        let data = serde_json::to_string(&message).unwrap_or_default();
                        let event = Ok::<_, Infallible>(SseEvent::default().event("message").data(data));
                        return Some((event, (app, handsets, arrived, seen)));
                    }
                }
                None => arrived.changed().await.ok()?,
            }
        }
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(20))).into_response())
}
