//! Twilio Voice: webhooks whose signature is checked over the public URL, answered with TwiML.
//!
//! A repeated webhook carries the same step number in its URL, is known by it, and gets the stored
//! answer: Twilio's signature has no time stamp, so a replay must change nothing.

pub mod form;
mod listen;
mod opt_out;
pub mod signature;
pub mod stream;
pub mod twiml;

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use axum::{
    Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use countersign_core::{
    call::{Call, Input, Stage},
    id::{AgentId, CallId, MessageId},
    message::Delivery,
    prompt::Directive,
    secret::{E164, Secret},
};

use self::form::VoiceEvent;
use super::{
    events::{Refused, Waiting, present, room},
    incoming,
    kept::{Kept, RUNG},
    unrecorded,
};
use crate::{
    App,
    hub::Telephone,
    outbox::{delivered, twilio::{CALL_PARAMETER, MESSAGE_PARAMETER, Twilio as Rest}},
    recording::About,
    runner::{Line, Reply, RunError},
};

/// The adapter's name in the record.
pub const NAME: &str = "twilio";

/// What the adapter needs.
pub struct Twilio {
    /// Signs their webhooks.
    pub token: Secret,
    /// Moves their calls.
    pub rest: Arc<Rest>,
    /// Where the world reaches us.
    pub public_url: String,
    /// The telephones of agents, by sign-in name.
    pub agent_phones: HashMap<String, E164>,
    /// Names of agents, for their telephones.
    pub name_of: Box<dyn Fn(AgentId) -> String + Send + Sync>,
    /// Callers are listened to over media streams, where the machine asks for it.
    streams: bool,
    /// What moved calls are to hear when Twilio asks.
    pending: Waiting,
    /// Whose telephone was rung for a call: once is enough, however often the caller comes back
    /// from keying a secret.
    rung: Kept<AgentId>,
}

impl Twilio {
    /// An adapter.
    pub fn new(
        token: Secret, rest: Arc<Rest>, public_url: String, agent_phones: HashMap<String, E164>,
        name_of: impl Fn(AgentId) -> String + Send + Sync + 'static,
    ) -> Self {
        Self { token, rest, public_url, agent_phones, name_of: Box::new(name_of), streams: false, pending: Waiting::default(), rung: Kept::new(RUNG) }
    }

    /// With callers who are listened to over media streams.
    #[must_use]
    pub fn streaming(mut self, streams: bool) -> Self {
        self.streams = streams;
        self
    }
}

#[async_trait]
impl Telephone for Twilio {
    async fn push(&self, call: &Call, line: &Line, reply: Reply) {
        if call.stage == Stage::Talking && reply.directives.contains(&Directive::Bridge) && call.challenge.is_none() {
            self.ring_agent(call).await;
        }
        self.pending.keep(call, reply.clone());
        let ours = if call.origin.is_ours() { format!("&{CALL_PARAMETER}={}", call.id) } else { String::new() };
        let url = format!("{}/twilio/resume?n={}{ours}", self.public_url, reply.n);
        if let Err(reason) = self.rest.redirect(&line.reference, &url).await {
            tracing::warn!(call = %call.id, reason = %reason, "Twilio did not move the call; it goes on when it next asks");
        }
    }
}

impl Twilio {
    async fn ring_agent(&self, call: &Call) {
        let Some((agent, _)) = call.agent else { return };
        if self.rung.keep(call.id, call.updated, agent) == Some(agent) {
            return;
        }
        let Some(phone) = self.agent_phones.get(&(self.name_of)(agent)) else { return };
        let url = format!("{}/twilio/agent/{}/{agent}", self.public_url, call.id);
        if let Err(reason) = self.rest.dial_agent(phone, &url).await {
            tracing::warn!(call = %call.id, reason = %reason, "the agent's telephone could not be rung");
        }
    }
}

/// The routes that Twilio calls.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/twilio/voice", post(voice))
        .route("/twilio/answered", post(answered))
        .route("/twilio/step", post(step))
        .route("/twilio/resume", post(resume))
        .route("/twilio/status", post(status))
        .route("/twilio/agent/{call}/{agent}", post(agent))
        .route("/twilio/message", post(message))
        .route("/twilio/inbound", post(opt_out::inbound))
        .route("/twilio/stream/{token}", get(listen::stream))
        .route("/twilio/heard", post(heard))
}

type Fields = Vec<(String, String)>;

/// Checks the signature before any content is looked at; the form's shape has to be read for it.
fn checked<'a>(app: &'a App, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Result<(&'a Twilio, Fields), Refused> {
    let twilio = app.twilio.as_deref().ok_or_else(|| Refused(StatusCode::NOT_FOUND, "Twilio is not configured here".into()))?;
    let fields = form::parse(body).map_err(|e| {
        app.runner.metrics.turn_away("form");
        Refused(StatusCode::BAD_REQUEST, e.to_string())
    })?;
    let given = headers.get("x-twilio-signature").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let url = format!("{}{}", twilio.public_url, uri.path_and_query().map_or("/", |p| p.as_str()));
    if !signature::verify(&twilio.token, &url, &fields, given) {
        app.runner.metrics.turn_away("signature");
        let help = "the signature does not fit: is listen.public_url exactly what Twilio calls, and the auth token the account's own?";
        return Err(Refused(StatusCode::FORBIDDEN, help.into()));
    }
    if fields.iter().any(|(name, value)| name == "AccountSid" && value != twilio.rest.account()) {
        app.runner.metrics.turn_away("signature");
        return Err(Refused(StatusCode::FORBIDDEN, "AccountSid is another than twilio.account_sid".into()));
    }
    Ok((twilio, fields))
}

fn event(fields: &Fields) -> Result<VoiceEvent, Refused> {
    form::whole(fields).and_then(|()| VoiceEvent::from_fields(fields)).map_err(|e| Refused(StatusCode::BAD_REQUEST, e.to_string()))
}

/// Our id of their call: the same from every node, and not to be guessed from outside. A call of ours
/// has its name in the address, which the signature covers.
fn call_id(app: &App, event: &VoiceEvent, query: Option<&str>) -> CallId {
    let ours = query.into_iter().flat_map(|q| url::form_urlencoded::parse(q.as_bytes())).find(|(key, _)| key == CALL_PARAMETER);
    let ours = ours.and_then(|(_, id)| id.parse::<CallId>().ok());
    ours.unwrap_or_else(|| CallId(app.runner.vault.index.blind("twilio", event.call_sid.as_str()).0))
}

/// A call of ours was answered.
async fn answered(State(app): State<App>, uri: Uri, headers: HeaderMap, body: Bytes) -> Result<Response, Refused> {
    let (twilio, fields) = checked(&app, &uri, &headers, &body)?;
    let event = event(&fields)?;
    let id = call_id(&app, &event, uri.query());
    let line = Line { reference: event.call_sid.as_str().to_owned(), number: event.to.clone() };
    let reply = match app.runner.answer_out(id, format!("twilio/{}/answered", event.call_sid.as_str()), line).await {
        // Too late: nobody waits for it any more.
        Err(RunError::Rejected(_)) => Reply { n: 0, directives: vec![Directive::HangUp] },
        other => other?,
    };
    answer(&app, twilio, id, &reply).await
}

async fn voice(State(app): State<App>, uri: Uri, headers: HeaderMap, body: Bytes) -> Result<Response, Refused> {
    let (twilio, fields) = checked(&app, &uri, &headers, &body)?;
    let event = event(&fields)?;
    let id = call_id(&app, &event, None);
    let verstat = match (&app.stir, &event.passport, &event.from, &event.to) {
        (Some(stir), Some(token), Some(from), Some(to)) => {
            stir.lower(&app.runner, event.stir, token.expose(), format!("twilio/{}", event.call_sid.as_str()), from.expose(), to.expose()).await
        }
        _ => event.stir,
    };
    let first = incoming(&app, NAME, event.from.as_ref(), verstat, event.to.is_some() && event.to == app.app_number).await?;
    let line = Line { reference: event.call_sid.as_str().to_owned(), number: event.from.clone() };
    let reply = app.runner.begin(id, format!("twilio/{}/in", event.call_sid.as_str()), line, || first.input()).await?;
    answer(&app, twilio, id, &reply).await
}

async fn step(State(app): State<App>, uri: Uri, headers: HeaderMap, Query(query): Query<HashMap<String, String>>, body: Bytes) -> Result<Response, Refused> {
    let (twilio, fields) = checked(&app, &uri, &headers, &body)?;
    let event = event(&fields)?;
    let id = call_id(&app, &event, uri.query());
    let n: u64 = query.get("n").and_then(|n| n.parse().ok()).ok_or_else(|| Refused(StatusCode::BAD_REQUEST, "the query has no step number: use the address from our TwiML as it is".into()))?;
    let command = format!("twilio/{}/step/{n}", event.call_sid.as_str());
    let make = || match (&event.digits, &event.heard) {
        (Some(digits), _) => Input::Keys(digits.clone()),
        (None, Some(heard)) => Input::Heard(heard.clone()),
        (None, None) => Input::NoKeys,
    };
    if !app.runner.still_asks(id, n).await? {
        let reply = match app.runner.repeated(command).await? {
            Some(reply) => reply,
            None => present(&app, id).await?,
        };
        return answer(&app, twilio, id, &reply).await;
    }
    let reply = match app.runner.run(id, command, make).await {
        // The call is over: say so to the telephone instead of failing.
        Err(RunError::Rejected(_)) => Reply { n, directives: vec![Directive::HangUp] },
        other => other?,
    };
    answer(&app, twilio, id, &reply).await
}

/// A media stream is over, or never came: what the caller said is on record by then, or nobody was heard.
async fn heard(State(app): State<App>, uri: Uri, headers: HeaderMap, Query(query): Query<HashMap<String, String>>, body: Bytes) -> Result<Response, Refused> {
    let (twilio, fields) = checked(&app, &uri, &headers, &body)?;
    let event = event(&fields)?;
    let id = call_id(&app, &event, uri.query());
    let take: u64 = query.get("take").and_then(|n| n.parse().ok()).ok_or_else(|| Refused(StatusCode::BAD_REQUEST, "the query names no take: use the address from our TwiML as it is".into()))?;
    let command = listen::command(event.call_sid.as_str(), take);
    if listen::taking(&app.runner, id).await?.is_some_and(|now| now.number == take) {
        match app.runner.run(id, command.clone(), || Input::NoKeys).await {
            // It ended at this moment.
            Err(RunError::Rejected(_)) => {}
            other => return answer(&app, twilio, id, &other?).await,
        }
    }
    // The words that belong to it still fit if they lead to what is to be done now.
    let now = present(&app, id).await?;
    let reply = match app.runner.repeated(command).await?.filter(|reply| reply.directives.ends_with(&now.directives)) {
        Some(reply) => Reply { n: now.n, ..reply },
        None => twilio.pending.words(id, now),
    };
    answer(&app, twilio, id, &reply).await
}

/// Twilio asks what a moved or waiting call is to do.
async fn resume(State(app): State<App>, uri: Uri, headers: HeaderMap, body: Bytes) -> Result<Response, Refused> {
    let (twilio, fields) = checked(&app, &uri, &headers, &body)?;
    let id = call_id(&app, &event(&fields)?, uri.query());
    let reply = twilio.pending.words(id, present(&app, id).await?);
    answer(&app, twilio, id, &reply).await
}

async fn status(State(app): State<App>, uri: Uri, headers: HeaderMap, body: Bytes) -> Result<StatusCode, Refused> {
    let (twilio, fields) = checked(&app, &uri, &headers, &body)?;
    let event = event(&fields)?;
    let id = call_id(&app, &event, uri.query());
    if event.call_status.is_over() {
        if let Some(recorder) = &app.recorder {
            recorder.over(id);
        }
        twilio.pending.forget(id);
        twilio.rung.take(id);
        match app.runner.run(id, format!("twilio/{}/over", event.call_sid.as_str()), || Input::HungUp).await {
            Ok(_) | Err(RunError::NoCall | RunError::Rejected(_)) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The agent's telephone answered: into the conference of the call.
async fn agent(State(app): State<App>, uri: Uri, headers: HeaderMap, Path((call, agent)): Path<(CallId, AgentId)>, body: Bytes) -> Result<Response, Refused> {
    checked(&app, &uri, &headers, &body)?;
    Ok(xml(twiml::conference_for_agent(&room(call, Some(agent)), false)))
}

/// How a message fared.
async fn message(State(app): State<App>, uri: Uri, headers: HeaderMap, Query(query): Query<HashMap<String, String>>, body: Bytes) -> Result<StatusCode, Refused> {
    let (twilio, fields) = checked(&app, &uri, &headers, &body)?;
    let message: MessageId = query.get(MESSAGE_PARAMETER).and_then(|m| m.parse().ok())
        .ok_or_else(|| Refused(StatusCode::BAD_REQUEST, "the query names no message: use the status address that was given with it".into()))?;
    let Some(record) = app.runner.store.outbox_record(message.0).await.map_err(RunError::from)? else { return Ok(StatusCode::NO_CONTENT) };
    let call = CallId(record.owner);
    // Texts report a MessageStatus, calls that read a code out a CallStatus.
    let status = fields.iter().find(|(name, _)| name == "MessageStatus" || name == "CallStatus").map(|(_, v)| v.as_str());
    let delivery = match status {
        Some("delivered" | "read") => Delivery::Delivered,
        Some("failed" | "undelivered" | "busy" | "no-answer" | "canceled") => Delivery::Failed,
        // A call of ours is over.
        Some("completed") if app.runner.call(call).await?.is_some_and(|live| live.call.ring == Some(message)) => {
            if let Some(recorder) = &app.recorder {
                recorder.over(call);
            }
            twilio.pending.forget(call);
            twilio.rung.take(call);
            return match app.runner.run(call, format!("twilio/{message}/over"), || Input::HungUp).await {
                Ok(_) | Err(RunError::NoCall | RunError::Rejected(_)) => Ok(StatusCode::NO_CONTENT),
                Err(e) => Err(e.into()),
            };
        }
        _ => return Ok(StatusCode::NO_CONTENT),
    };
    app.runner.metrics.message(if delivery == Delivery::Failed { "failed" } else { "delivered" });
    delivered(&app.runner, call, message, delivery).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn answer(app: &App, twilio: &Twilio, id: CallId, reply: &Reply) -> Result<Response, Refused> {
    let reference = match &app.recorder {
        Some(_) => app.runner.call(id).await?.map(|live| live.line.reference.clone()).unwrap_or_default(),
        None => String::new(),
    };
    let about = About { call: id, adapter: NAME, reference: &reference };
    let reply = &unrecorded(app, about, reply.clone(), |n| format!("twilio/{id}/recorded/{n}")).await;
    let agent = match reply.directives.contains(&Directive::Bridge) {
        true => app.runner.call(id).await?.and_then(|live| live.call.agent).map(|(agent, _)| agent),
        false => None,
    };
    let url = &twilio.public_url;
    // A call of ours cannot be found by Twilio's name for it.
    let ours = match app.runner.call(id).await? {
        Some(live) if live.call.origin.is_ours() => format!("&{CALL_PARAMETER}={id}"),
        _ => String::new(),
    };
    let take = match twilio.streams && reply.directives.iter().any(|directive| matches!(directive, Directive::Record { .. })) {
        true => listen::taking(&app.runner, id).await?,
        false => None,
    };
    let stream = take.map(|take| (twilio.stream_url(&app.runner, id, take), format!("{url}/twilio/heard?take={}{ours}", take.number)));
    let ctx = twiml::Ctx {
        texts: &|lang, prompt| app.texts.spoken(lang, prompt),
        stream: stream.as_ref().map(|(stream, heard)| twiml::Stream { url: stream, heard_url: heard }),
        action_url: &format!("{url}/twilio/step?n={}{ours}", reply.n),
        wait_url: &format!("{url}/twilio/resume?n={}{ours}", reply.n),
        conference: &room(id, agent),
        music_url: &|music| (music != countersign_core::prompt::Music::Silence).then(|| format!("{url}/assets/music/{}.wav", music.name())),
        voices: &[],
    };
    Ok(xml(twiml::render(&reply.directives, &ctx)))
}

fn xml(text: String) -> Response { ([(header::CONTENT_TYPE, "text/xml; charset=utf-8")], text).into_response() }
