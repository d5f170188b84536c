//! jambonz: webhooks whose signature and time are checked, answered with verbs; live calls are moved
//! and made over its REST API.
//!
//! The signature covers the body alone. So the addresses that we hand out carry a keyed tag over the
//! call and the step: a body that was signed for one question is no answer to another.

pub mod rest;
pub mod verbs;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, Uri},
    routing::post,
};
use countersign_core::{
    call::{Call, Stage},
    claim::IndexKey,
    id::{AgentId, CallId},
    message::Delivery,
    prompt::{Directive, Music},
    risk::Verstat,
    secret::{E164, Secret},
    speech::{Heard, SpeechRecognizer},
};
use serde::Deserialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use self::rest::Rest;
use super::{
    events::{Happened, Named, Refused, Waiting, agent as agent_of, keys, number, room, take, transcript},
    http::secret,
    kept::{Kept, RUNG},
    signed,
    twilio::form::verstat,
};
use crate::{
    App,
    config::{Severity, examine_hearing, least_confidence},
    hub::Telephone,
    outbox::{delivered, http::endpoint, provider::SetupError},
    runner::{Line, Reply},
    vault::Vault,
};

/// The adapter's name in the record.
pub const NAME: &str = "jambonz";
/// The environment's name for the secret of the webhooks.
pub const SECRET: &str = "COUNTERSIGN_JAMBONZ_SECRET";
/// The environment's name for the key of the API.
pub const KEY: &str = "COUNTERSIGN_JAMBONZ_KEY";
/// The header with jambonz's signature.
pub const SIGNATURE: &str = "jambonz-signature";

/// `[jambonz]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JambonzSettings {
    /// The account's id, as the portal shows it.
    pub account_sid: String,
    /// A file with the account's webhook secret. `COUNTERSIGN_JAMBONZ_SECRET` comes first.
    pub webhook_secret_file: Option<PathBuf>,
    /// A file with a key of the API. `COUNTERSIGN_JAMBONZ_KEY` comes first.
    pub api_key_file: Option<PathBuf>,
    /// Where the API is, if it is not the hosted service's.
    pub api_url: Option<String>,
    /// The number that calls to agents and customers come from.
    pub from: E164,
    /// A number of its own that only the portal dials.
    pub app_number: Option<E164>,
    /// The SIP header in which a trunk that can be believed says `verstat=…`. Without, no attestation is known.
    pub attestation_header: Option<String>,
    /// Verbal passwords are said to the application's recogniser first, and to the agent if that does not help.
    #[serde(default)]
    pub hear_verbal_passwords: bool,
    /// What the recogniser is less sure of than this, in percent, was not heard: 50 to 100.
    #[serde(default = "least_confidence")]
    pub least_confidence: u8,
    /// The telephones of agents, by sign-in name.
    #[serde(default)]
    pub agent_phones: BTreeMap<String, E164>,
}

impl JambonzSettings {
    /// What is missing or unsafe.
    pub(crate) fn examine(&self, say: &mut impl FnMut(Severity, &str, String)) {
        secret(say, "jambonz.webhook_secret_file", self.webhook_secret_file.as_ref(), SECRET);
        secret(say, "jambonz.api_key_file", self.api_key_file.as_ref(), KEY);
        if Sid::parse(&self.account_sid).is_none() {
            say(Severity::Missing, "jambonz.account_sid", "is not an account's id: copy it from the portal".into());
        }
        if let Some(Err(e)) = self.api_url.as_deref().map(|url| endpoint("jambonz.api_url", url)) {
            say(Severity::Missing, "jambonz.api_url", e.to_string());
        }
        examine_hearing(say, "jambonz", "jambonz and its speech vendor", self.hear_verbal_passwords, self.least_confidence);
        if self.attestation_header.is_some() {
            say(Severity::Note, "jambonz.attestation_header", "is believed as it comes: the trunk must set it itself and remove what callers send".into());
        }
    }
}

/// jambonz's name of a call or account: safe in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sid(String);

impl Sid {
    /// Parses strictly: 8-4-4-4-12 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let groups: Vec<&str> = text.split('-').collect();
        let fits = groups.iter().map(|g| g.len()).eq([8, 4, 4, 4, 12]) && groups.iter().all(|g| g.bytes().all(|b| b.is_ascii_hexdigit()));
        fits.then(|| Self(text.to_ascii_lowercase()))
    }
    /// As it stands in addresses.
    pub fn as_str(&self) -> &str { &self.0 }
}

/// What the adapter needs.
pub struct Jambonz {
    secret: Secret,
    account: Sid,
    rest: Arc<Rest>,
    hooks: Hooks,
    attestation_header: Option<String>,
    phones: BTreeMap<String, E164>,
    name_of: Box<dyn Fn(AgentId) -> String + Send + Sync>,
    waiting: Waiting,
    /// Whose telephone was rung for a call: once is enough.
    rung: Kept<AgentId>,
}

impl Jambonz {
    /// An adapter.
    ///
    /// # Errors
    /// A secret that is too short to be one, or an account that is none.
    pub fn new(
        settings: &JambonzSettings, secret: Secret, rest: Arc<Rest>, hooks: Hooks, name_of: impl Fn(AgentId) -> String + Send + Sync + 'static,
    ) -> Result<Self, SetupError> {
        if secret.expose().len() < signed::SECRET_LENGTH {
            return Err(SetupError::setting("jambonz.webhook_secret_file", "must hold the account's webhook secret, at least 16 characters: copy it from the portal"));
        }
        let account = Sid::parse(&settings.account_sid).ok_or_else(|| SetupError::setting("jambonz.account_sid", "is not an account's id: copy it from the portal"))?;
        Ok(Self {
            secret, account, rest, hooks, attestation_header: settings.attestation_header.as_ref().map(|name| name.to_ascii_lowercase()),
            phones: settings.agent_phones.clone(), name_of: Box::new(name_of), waiting: Waiting::default(), rung: Kept::new(RUNG),
        })
    }

    fn ring_agent(&self, call: &Call) {
        let Some((agent, _)) = call.agent else { return };
        if self.rung.keep(call.id, call.updated, agent) == Some(agent) {
            return;
        }
        let Some(phone) = self.phones.get(&(self.name_of)(agent)).cloned() else { return };
        let (rest, id) = (self.rest.clone(), call.id);
        let (url, status) = (self.hooks.agent(id, agent), format!("{}/jambonz/status", self.hooks.public_url));
        tokio::spawn(async move {
            if let Err(reason) = rest.dial_agent(&phone, &url, &status).await {
                tracing::warn!(call = %id, reason, "the agent's telephone could not be rung");
            }
        });
    }

    fn forget(&self, id: CallId) {
        self.waiting.forget(id);
        self.rung.take(id);
    }
}

#[async_trait]
impl Telephone for Jambonz {
    async fn push(&self, call: &Call, line: &Line, reply: Reply) {
        if call.stage == Stage::Talking && reply.directives.contains(&Directive::Bridge) && call.challenge.is_none() {
            self.ring_agent(call);
        }
        let url = self.hooks.of("now", call.id, reply.n, call.origin.is_ours());
        self.waiting.keep(call, reply);
        // Not on the line yet: it hears when it is answered.
        let Some(sid) = Sid::parse(&line.reference) else { return };
        let (rest, id) = (self.rest.clone(), call.id);
        // Whoever moved the call holds it until this returns, and need not wait for another's server.
        tokio::spawn(async move {
            if let Err(reason) = rest.redirect(&sid, &url).await {
                tracing::warn!(call = %id, reason, "jambonz did not move the call; it goes on when it next asks");
            }
        });
    }
}

/// The addresses that jambonz is told, with their tags.
#[derive(Clone)]
pub struct Hooks {
    public_url: String,
    vault: Arc<Vault>,
}

impl Hooks {
    /// Below this public address.
    pub fn new(public_url: String, vault: Arc<Vault>) -> Self { Self { public_url, vault } }

    fn key(&self) -> &IndexKey { &self.vault.index }

    fn tag(&self, text: &str) -> String { hex::encode(self.key().blind("jambonz-hook", text).0) }

    fn fits(&self, text: &str, tag: &str) -> bool { self.tag(text).as_bytes().ct_eq(tag.as_bytes()).into() }

    fn of(&self, what: &str, id: CallId, n: u64, ours: bool) -> String {
        let ours = if ours { format!("&call={id}") } else { String::new() };
        format!("{}/jambonz/{what}?n={n}&k={}{ours}", self.public_url, self.tag(&format!("{id}/{n}")))
    }

    fn agent(&self, id: CallId, agent: AgentId) -> String {
        format!("{}/jambonz/agent/{id}/{agent}?n=0&k={}", self.public_url, self.tag(&format!("{id}/{agent}")))
    }

    /// The two addresses of a call of ours, by its name: when it is answered, and how it went.
    pub fn ours(&self, call: &str) -> Option<(String, String)> {
        let id = call.parse().ok()?;
        Some((self.of("answered", id, 0, true), self.of("status", id, 0, true)))
    }
}

/// The query of an address of ours.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hook {
    /// The step.
    n: u64,
    /// Binds call and step.
    k: String,
    /// A call of ours.
    call: Option<CallId>,
    /// Words follow if nothing is keyed.
    #[serde(default)]
    more: Option<u8>,
    /// The caller waits.
    #[serde(default)]
    hold: Option<u8>,
}

/// What jambonz says, once its signature holds. It says more; nothing else is read.
#[derive(Deserialize)]
struct Event {
    call_sid: String,
    account_sid: String,
    from: Option<String>,
    to: Option<String>,
    call_status: Option<String>,
    digits: Option<Secret>,
    speech: Option<Speech>,
    sip: Option<Sip>,
}

/// What was said into a `gather` that listens, in the form that jambonz gives to every vendor's.
#[derive(Deserialize)]
pub struct Speech {
    #[serde(default)]
    is_final: bool,
    #[serde(default)]
    alternatives: Vec<Alternative>,
}

#[derive(Deserialize)]
struct Alternative {
    transcript: Secret,
    confidence: Option<f64>,
}

/// The recogniser of a jambonz application. Of several transcripts the first counts, the likeliest: with all of
/// them, one answer would be several guesses. One that is not final is none.
pub struct Recogniser;

impl SpeechRecognizer for Recogniser {
    type Answer = Speech;
    type Error = &'static str;

    fn heard(&self, speech: &Speech) -> Result<Option<Heard>, &'static str> {
        match speech.alternatives.first() {
            Some(first) if speech.is_final => transcript(&first.transcript, first.confidence),
            _ => Ok(None),
        }
    }
}

#[derive(Deserialize)]
struct Sip {
    #[serde(default)]
    headers: serde_json::Map<String, Value>,
}

/// How far a call is: whether it is over, and whether it was answered at all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Going,
    Completed,
    Failed,
}

impl Event {
    fn status(&self) -> Option<Status> {
        Some(match self.call_status.as_deref() {
            None | Some("trying" | "ringing" | "early-media" | "in-progress" | "queued") => Status::Going,
            Some("completed") => Status::Completed,
            Some("failed" | "busy" | "no-answer") => Status::Failed,
            Some(_) => return None,
        })
    }

    /// The Identity headers of the INVITE, by their long or their short name. A header that stood there more than
    /// once is one text here, with commas between its values.
    fn identity(&self) -> Vec<String> {
        let headers = self.sip.iter().flat_map(|sip| &sip.headers).filter(|(key, _)| ["identity", "y"].iter().any(|name| key.eq_ignore_ascii_case(name)));
        let texts = headers.flat_map(|(_, value)| match value {
            Value::Array(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        });
        texts.filter_map(Value::as_str).flat_map(countersign_sip::header_values).map(|value| value.trim().to_owned()).collect()
    }

    /// The network's word, where a trunk that can be believed writes it. Said twice it is said by nobody.
    fn verstat(&self, header: Option<&String>) -> Verstat {
        let value = header.zip(self.sip.as_ref()).and_then(|(name, sip)| {
            let mut found = sip.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
            found.next().filter(|_| found.next().is_none()).and_then(Value::as_str)
        });
        let mut said = value.unwrap_or_default().split("verstat=").skip(1);
        match (said.next(), said.next()) {
            (Some(text), None) => verstat(text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).next().unwrap_or_default()),
            _ => Verstat::None,
        }
    }
}

/// The routes that jambonz calls.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/jambonz/call", post(call))
        .route("/jambonz/answered", post(answered))
        .route("/jambonz/step", post(step))
        .route("/jambonz/now", post(now))
        .route("/jambonz/status", post(status))
        .route("/jambonz/agent/{call}/{agent}", post(agent))
}

type Verbs = Result<Json<Value>, Refused>;

/// Checks the signature before any content is looked at.
fn checked<'a>(app: &'a App, headers: &HeaderMap, body: &[u8]) -> Result<(&'a Jambonz, Event, Sid, Status), Refused> {
    let jambonz = app.lines.jambonz.as_deref().ok_or_else(|| Refused::not_configured("jambonz"))?;
    signed::check(&jambonz.secret, SIGNATURE, headers, body, app.runner.now()).map_err(|e| Refused::stranger(app, e.to_string()))?;
    let event: Event = serde_json::from_slice(body).map_err(|_| Refused::malformed(app, "the body is no webhook of jambonz: set the hook's method to POST, and pass its body on unchanged"))?;
    if Sid::parse(&event.account_sid).as_ref() != Some(&jambonz.account) {
        return Err(Refused::stranger(app, "the call is of another account than jambonz.account_sid"));
    }
    let sid = Sid::parse(&event.call_sid).ok_or_else(|| Refused::malformed(app, "call_sid is not of jambonz's form"))?;
    let status = event.status().ok_or_else(|| Refused::malformed(app, "call_status is none that jambonz sends"))?;
    Ok((jambonz, event, sid, status))
}

/// The call and the step that an address is for, if its tag fits.
fn hooked(app: &App, jambonz: &Jambonz, uri: &Uri, sid: &Sid) -> Result<(Named, Hook), Refused> {
    let Ok(Query(hook)) = Query::<Hook>::try_from_uri(uri) else {
        return Err(Refused::malformed(app, "the query is not ours: use the addresses from our verbs as they are"));
    };
    let call = match hook.call {
        Some(id) => Named::ours(NAME, sid.as_str(), id),
        None => Named::theirs(app, NAME, sid.as_str()),
    };
    if !jambonz.hooks.fits(&format!("{}/{}", call.id, hook.n), &hook.k) {
        return Err(Refused::stranger(app, "this address is for another call or step: use the addresses from our verbs as they are"));
    }
    Ok((call, hook))
}

async fn call(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Verbs {
    let (jambonz, event, sid, _) = checked(&app, &headers, &body)?;
    let (number, to) = (event.from.as_deref().and_then(number), event.to.as_deref().and_then(number));
    let started = Happened::Started { number, to, verstat: event.verstat(jambonz.attestation_header.as_ref()), identity: event.identity() };
    let call = Named::theirs(&app, NAME, sid.as_str());
    let reply = take(&app, &call, &jambonz.waiting, started).await?;
    answer(&app, jambonz, &call, &reply).await
}

/// A call of ours was answered.
async fn answered(State(app): State<App>, uri: Uri, headers: HeaderMap, body: Bytes) -> Verbs {
    let (jambonz, _, sid, _) = checked(&app, &headers, &body)?;
    let (call, _) = hooked(&app, jambonz, &uri, &sid)?;
    let reply = take(&app, &call, &jambonz.waiting, Happened::Answered).await?;
    answer(&app, jambonz, &call, &reply).await
}

async fn step(State(app): State<App>, uri: Uri, headers: HeaderMap, body: Bytes) -> Verbs {
    let (jambonz, event, sid, status) = checked(&app, &headers, &body)?;
    let (call, hook) = hooked(&app, jambonz, &uri, &sid)?;
    let keyed = event.digits.as_ref().map(|digits| keys(digits.expose()).ok_or_else(|| Refused::malformed(&app, "digits is not of jambonz's form"))).transpose()?;
    let keyed = keyed.filter(|keys| !keys.is_empty());
    let said = event.speech.as_ref().map(|speech| Recogniser.heard(speech)).transpose().map_err(|text| Refused::malformed(&app, text))?.flatten();
    let happened = match keyed {
        // Nobody is there to hear an answer; the status hook says the same.
        None if status != Status::Going => Happened::HungUp,
        // The next words begin by themselves.
        None if hook.more.is_some() => return Ok(Json(json!([]))),
        None if hook.hold.is_some() => Happened::Now,
        None => said.map_or(Happened::Keyed { step: hook.n, keys: None }, |heard| Happened::Said { step: hook.n, heard }),
        keys => Happened::Keyed { step: hook.n, keys },
    };
    let reply = take(&app, &call, &jambonz.waiting, happened).await?;
    answer(&app, jambonz, &call, &reply).await
}

/// jambonz asks what a moved or waiting call is to do.
async fn now(State(app): State<App>, uri: Uri, headers: HeaderMap, body: Bytes) -> Verbs {
    let (jambonz, _, sid, _) = checked(&app, &headers, &body)?;
    let (call, _) = hooked(&app, jambonz, &uri, &sid)?;
    let reply = take(&app, &call, &jambonz.waiting, Happened::Now).await?;
    answer(&app, jambonz, &call, &reply).await
}

async fn status(State(app): State<App>, uri: Uri, headers: HeaderMap, body: Bytes) -> Result<StatusCode, Refused> {
    let (jambonz, _, sid, status) = checked(&app, &headers, &body)?;
    // The status address of the application carries nothing of ours.
    let call = match uri.query() {
        None | Some("") => Named::theirs(&app, NAME, sid.as_str()),
        Some(_) => hooked(&app, jambonz, &uri, &sid)?.0,
    };
    if status == Status::Going {
        return Ok(StatusCode::NO_CONTENT);
    }
    jambonz.forget(call.id);
    if call.ours && status == Status::Failed {
        // Nobody answered: the customer was not reached.
        call.check(&app).await?;
        let ring = app.runner.call(call.id).await?.and_then(|live| live.call.ring);
        if let Some(message) = ring {
            delivered(&app.runner, call.id, message, Delivery::Failed).await?;
        }
        return Ok(StatusCode::NO_CONTENT);
    }
    take(&app, &call, &jambonz.waiting, Happened::HungUp).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The agent's telephone answered: into the conference of the call.
async fn agent(State(app): State<App>, uri: Uri, headers: HeaderMap, Path((call, agent)): Path<(CallId, AgentId)>, body: Bytes) -> Verbs {
    let (jambonz, ..) = checked(&app, &headers, &body)?;
    let fits = Query::<Hook>::try_from_uri(&uri).is_ok_and(|Query(hook)| jambonz.hooks.fits(&format!("{call}/{agent}"), &hook.k));
    if !fits {
        return Err(Refused::stranger(&app, "this address is for another call or agent"));
    }
    Ok(Json(verbs::agent(&conference(call, Some(agent)))))
}

/// A conference's name goes through more than one program: no slash in it.
fn conference(call: CallId, agent: Option<AgentId>) -> String { room(call, agent).replace('/', "-") }

async fn answer(app: &App, jambonz: &Jambonz, call: &Named, reply: &Reply) -> Verbs {
    let agent = agent_of(app, call.id, reply).await?;
    let hook = |what: &str| jambonz.hooks.of(what, call.id, reply.n, call.ours);
    let step = hook("step");
    let ctx = verbs::Ctx {
        texts: &|lang, prompt| app.texts.spoken(lang, prompt),
        step: &step, more: &format!("{step}&more=1"), hold: &format!("{step}&hold=1"), now: &hook("now"),
        room: &conference(call.id, agent),
        music: &|music| (music != Music::Silence).then(|| format!("{}/assets/music/{}.wav", jambonz.hooks.public_url, music.name())),
    };
    Ok(Json(verbs::render(&reply.directives, &ctx)))
}
