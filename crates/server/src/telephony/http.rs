//! Generic HTTP: for any telephone system that can send JSON and sign it. docs/http.md is the
//! contract in words, docs/http.openapi.json the same for programs.
//!
//! Nothing here decides anything: events go in, instructions come out. A repeat is known by the call
//! and the step, so it changes nothing; signatures have a time ([`super::signed`]).

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use countersign_core::{
    call::Call,
    id::{AgentId, CallId},
    prompt::{Directive, Music},
    risk::Verstat,
    secret::{E164, Secret},
    speech::{Heard, SpeechRecognizer},
    time::Span,
};
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{sync::broadcast::error::RecvError, time::{Instant, timeout_at}};

use super::{
    events::{Happened, Named, Refused, Waiting, agent, is_reference, keys, number, room, take, transcript},
    signed,
};
use crate::{
    App,
    config::{Severity, examine_hearing, least_confidence, private_file},
    hub::{Notice, Telephone},
    i18n::{Texts, prompt_id},
    outbox::{
        http::{client, endpoint, exchange, signature},
        provider::{Clock, SetupError},
    },
    runner::{Line, Reply},
};

/// The adapter's name in the record.
pub const NAME: &str = "http";
/// The environment's name for the secret.
pub const SECRET: &str = "COUNTERSIGN_HTTP_SECRET";
/// Longest that a question for news is held, in seconds.
const LONGEST_POLL: u64 = 25;
/// Longest time to tell a telephone system that a call moved.
const PUSH_TIMEOUT: Span = Span::seconds(5);

/// `[http]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// A file with the secret that signs in both directions. `COUNTERSIGN_HTTP_SECRET` comes first.
    pub secret_file: Option<PathBuf>,
    /// Where we say that a call moved, and ask to ring a customer. Without, the telephone system asks.
    pub push_url: Option<String>,
    /// A number of its own that only the portal dials.
    pub app_number: Option<E164>,
    /// Verbal passwords are said to your telephone system's recogniser first, and to the agent if that does not help.
    #[serde(default)]
    pub hear_verbal_passwords: bool,
    /// What the recogniser is less sure of than this, in percent, was not heard: 50 to 100.
    #[serde(default = "least_confidence")]
    pub least_confidence: u8,
    /// The telephones of agents, by sign-in name.
    #[serde(default)]
    pub agent_phones: BTreeMap<String, String>,
}

impl HttpSettings {
    /// What is missing or unsafe.
    pub(crate) fn examine(&self, say: &mut impl FnMut(Severity, &str, String)) {
        secret(say, "http.secret_file", self.secret_file.as_ref(), SECRET);
        examine_hearing(say, "http", "your telephone system", self.hear_verbal_passwords, self.least_confidence);
        match &self.push_url {
            None => say(Severity::Note, "http.push_url", "nobody is told when a call moves: the telephone system has to ask, and customers cannot be rung".into()),
            Some(url) => {
                if let Err(e) = endpoint("http.push_url", url) {
                    say(Severity::Missing, "http.push_url", e.to_string());
                }
            }
        }
    }
}

/// Whether a secret is there, in a file that is its owner's alone.
pub(crate) fn secret(say: &mut impl FnMut(Severity, &str, String), setting: &str, file: Option<&PathBuf>, variable: &str) {
    match (file, std::env::var_os(variable)) {
        (None, None) => say(Severity::Missing, setting, format!("no secret: nobody's requests can be believed. Name a file, or set {variable}")),
        (Some(path), None) => private_file(path, setting, say),
        _ => {}
    }
}

/// What the adapter needs.
pub struct Http {
    secret: Secret,
    push: Option<(Client, Url)>,
    phones: BTreeMap<String, String>,
    texts: Arc<Texts>,
    public_url: String,
    name_of: Box<dyn Fn(AgentId) -> String + Send + Sync>,
    now: Clock,
    waiting: Waiting,
}

impl Http {
    /// Checks the settings; connects to nothing.
    ///
    /// # Errors
    /// A secret that is too short, or an address that is none.
    pub fn new(
        settings: &HttpSettings, secret: Secret, texts: Arc<Texts>, public_url: String, now: Clock, name_of: impl Fn(AgentId) -> String + Send + Sync + 'static,
    ) -> Result<Self, SetupError> {
        if secret.expose().len() < signed::SECRET_LENGTH {
            return Err(SetupError::setting("http.secret_file", "must hold at least 16 characters: openssl rand -hex 32"));
        }
        let push = match &settings.push_url {
            Some(url) => {
                let url = endpoint("http.push_url", url)?;
                Some((client(&url, PUSH_TIMEOUT)?, url))
            }
            None => None,
        };
        Ok(Self { secret, push, phones: settings.agent_phones.clone(), texts, public_url, name_of: Box::new(name_of), now, waiting: Waiting::default() })
    }

    /// The instructions as the telephone system reads them.
    fn answer(&self, call: &str, id: CallId, agent: Option<AgentId>, reply: &Reply) -> Answer {
        Answer { call: call.to_owned(), step: reply.n, instructions: reply.directives.iter().flat_map(|directive| self.instructions(id, agent, directive)).collect() }
    }

    fn instructions(&self, id: CallId, agent: Option<AgentId>, directive: &Directive) -> Vec<Value> {
        match directive {
            Directive::Say { prompt, lang } => {
                let said = self.texts.spoken(*lang, prompt).into_iter();
                said.map(|(lang, text)| json!({ "do": "say", "prompt": prompt_id(prompt), "lang": lang.code(), "text": text })).collect()
            }
            Directive::Gather { max, timeout, secret } => vec![gather(*max, *timeout, *secret)],
            Directive::Listen { timeout, lang } => vec![json!({ "do": "listen", "lang": lang.code(), "timeout": timeout, "secret": true })],
            // Nobody listens here; a key leads on, and so does none.
            Directive::Record { .. } => vec![gather(1, 1, true)],
            Directive::Hold { music } => {
                let url = (*music != Music::Silence).then(|| format!("{}/assets/music/{}.wav", self.public_url, music.name()));
                vec![json!({ "do": "hold", "music": music.name(), "url": url })]
            }
            Directive::Bridge => {
                let name = agent.map(&self.name_of);
                let phone = name.as_ref().and_then(|name| self.phones.get(name));
                vec![json!({ "do": "bridge", "room": room(id, agent), "agent": name, "phone": phone })]
            }
            Directive::HangUp => vec![json!({ "do": "hang_up" })],
        }
    }
}

/// An event of a call, as it is sent to us.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Event {
    /// It came in.
    Started {
        /// The sender's own name for the call.
        call: String,
        /// The calling number in E.164 form.
        from: Option<String>,
        /// The number that was called.
        to: Option<String>,
        /// What the network's signature over the number is worth.
        attestation: Option<Attestation>,
        /// The signatures themselves: the values of the Identity headers.
        identity: Option<Vec<String>>,
    },
    /// A call that we asked for was answered.
    Answered {
        /// Our name for it.
        call: String,
    },
    /// Keys.
    Keys {
        /// The call.
        call: String,
        /// The step of the answer that asked for them.
        step: u64,
        /// Without the `#` that ended them.
        keys: Secret,
    },
    /// Nothing was keyed in time.
    NoKeys {
        /// The call.
        call: String,
        /// The step of the answer that asked.
        step: u64,
    },
    /// Words, as a recogniser understood them.
    Said {
        /// The call.
        call: String,
        /// The step of the answer that asked for them.
        step: u64,
        /// One transcript.
        text: Secret,
        /// How sure the recogniser is, from 0 to 1.
        confidence: Option<f64>,
    },
    /// The caller hung up.
    HungUp {
        /// The call.
        call: String,
    },
    /// What now?
    Now {
        /// The call.
        call: String,
        /// The step of the last answer; with `wait`.
        step: Option<u64>,
        /// Seconds to wait for news.
        wait: Option<u64>,
    },
}

/// The network's word on a number.
#[derive(Deserialize)]
pub(super) enum Attestation {
    /// Full.
    A,
    /// Partial.
    B,
    /// Gateway.
    C,
    /// A signature that does not hold.
    #[serde(rename = "failed")]
    Failed,
}

/// The same in our scale. Nobody's word is nothing, never a pass.
fn verstat(attestation: Option<Attestation>) -> Verstat {
    match attestation {
        Some(Attestation::A) => Verstat::PassedA,
        Some(Attestation::B) => Verstat::PassedB,
        Some(Attestation::C) => Verstat::PassedC,
        Some(Attestation::Failed) => Verstat::Failed,
        None => Verstat::None,
    }
}

impl Event {
    /// The call it is about, as the sender names it.
    fn call(&self) -> &str {
        match self {
            Self::Started { call, .. } | Self::Answered { call } | Self::Keys { call, .. } | Self::NoKeys { call, .. } | Self::Said { call, .. } | Self::HungUp { call } | Self::Now { call, .. } => call,
        }
    }

    /// Which call it is, and what happened. `Err`: why it cannot be used.
    pub(super) fn read(self, app: &App, adapter: &'static str) -> Result<(Named, Happened), &'static str> {
        let reference = self.call().to_owned();
        if !is_reference(&reference) {
            return Err("call: a name of 1 to 100 letters, digits, dots, dashes, colons or underscores");
        }
        // Names of this form are ours, and only calls that we made go by them.
        let call = match reference.parse::<CallId>() {
            Ok(id) => Named::ours(adapter, &reference, id),
            Err(_) => Named::theirs(app, adapter, &reference),
        };
        let happened = match self {
            Self::Started { .. } if call.ours => return Err("call: a name that begins with call_ is ours; give calls that come in a name of your own"),
            Self::Started { identity: Some(identity), .. } if identity.len() > countersign_stir::MOST_HEADERS => return Err("identity: up to 12 of the call's Identity headers"),
            Self::Started { from, to, attestation, identity, .. } => Happened::Started {
                number: from.as_deref().and_then(number), to: to.as_deref().and_then(number),
                verstat: verstat(attestation), identity: identity.unwrap_or_default(),
            },
            Self::Answered { .. } => Happened::Answered,
            Self::Keys { step, keys: text, .. } => {
                let keys = keys(text.expose()).ok_or("keys: up to 32 of 0 to 9, star, hash and A to D")?;
                Happened::Keyed { step, keys: (!keys.is_empty()).then_some(keys) }
            }
            Self::NoKeys { step, .. } => Happened::Keyed { step, keys: None },
            Self::Said { step, text, confidence, .. } => match Said.heard(&(text, confidence))? {
                Some(heard) => Happened::Said { step, heard },
                None => Happened::Keyed { step, keys: None },
            },
            Self::HungUp { .. } => Happened::HungUp,
            Self::Now { .. } => Happened::Now,
        };
        Ok((call, happened))
    }
}

/// The recogniser of whoever speaks this contract: one transcript, and how sure it is.
pub(super) struct Said;

impl SpeechRecognizer for Said {
    type Answer = (Secret, Option<f64>);
    type Error = &'static str;

    fn heard(&self, (text, confidence): &(Secret, Option<f64>)) -> Result<Option<Heard>, &'static str> { transcript(text, *confidence) }
}

/// What to do, in order.
#[derive(Serialize)]
struct Answer {
    call: String,
    step: u64,
    #[serde(rename = "do")]
    instructions: Vec<Value>,
}

fn gather(max: u8, timeout: u8, secret: bool) -> Value { json!({ "do": "gather", "max": max, "timeout": timeout, "finish": "#", "secret": secret }) }

/// The route.
pub fn routes() -> Router<App> {
    Router::new().route("/http/event", post(event))
}

async fn event(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Json<Value>, Refused> {
    let http = app.lines.http.as_deref().ok_or_else(|| Refused::not_configured("[http]"))?;
    signed::check(&http.secret, signed::HEADER, &headers, &body, app.runner.now()).map_err(|e| Refused::stranger(&app, e.to_string()))?;
    let event: Event = serde_json::from_slice(&body).map_err(|_| Refused::malformed(&app, "the body is no event of docs/http.md: look at its fields and their types"))?;
    let poll = match &event {
        Event::Now { step: Some(step), wait: Some(wait), .. } => Some((*step, (*wait).min(LONGEST_POLL))),
        _ => None,
    };
    let (call, happened) = event.read(&app, NAME).map_err(|text| Refused::malformed(&app, text))?;
    if matches!(happened, Happened::HungUp) {
        take(&app, &call, &http.waiting, happened).await?;
        return Ok(Json(json!({ "call": call.reference, "do": [] })));
    }
    call.check(&app).await?;
    if let Some((step, wait)) = poll
        && !moved(&app, http, call.id, step, wait).await?
    {
        return Ok(Json(json!({ "call": call.reference, "step": step, "do": [] })));
    }
    let reply = take(&app, &call, &http.waiting, happened).await?;
    let agent = agent(&app, call.id, &reply).await?;
    serde_json::to_value(http.answer(&call.reference, call.id, agent, &reply)).map(Json)
        .map_err(|_| Refused(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written".into()))
}

/// Whether something else is to be done than at this step, now or within so many seconds.
async fn moved(app: &App, http: &Http, id: CallId, step: u64, wait: u64) -> Result<bool, Refused> {
    let until = Instant::now() + Duration::from_secs(wait);
    // Listened to before looking, so that nothing is missed in between.
    let mut notices = app.runner.hub.listen();
    loop {
        let known = app.runner.call(id).await?.is_some();
        if !known || http.waiting.has(id) || !app.runner.still_asks(id, step).await? {
            return Ok(true);
        }
        loop {
            match timeout_at(until, notices.recv()).await {
                Err(_) => return Ok(false),
                Ok(Ok(Notice::Call(other))) if other != id => {}
                Ok(Ok(Notice::Alert | Notice::Policy)) => {}
                Ok(Ok(Notice::Call(_)) | Err(RecvError::Lagged(_))) => break,
                Ok(Err(RecvError::Closed)) => return Ok(false),
            }
        }
    }
}

#[async_trait]
impl Telephone for Http {
    async fn push(&self, call: &Call, line: &Line, reply: Reply) {
        self.waiting.keep(call, reply.clone());
        let Some((client, url)) = self.push.clone() else { return };
        let agent = call.agent.filter(|_| reply.directives.contains(&Directive::Bridge)).map(|(agent, _)| agent);
        let mut answer = self.answer(&line.reference, call.id, agent, &reply);
        // What asks for a secret is told only to whoever asks: by then a recorder has been told to pause.
        if reply.directives.iter().any(|directive| matches!(directive, Directive::Gather { secret: true, .. } | Directive::Listen { .. })) {
            answer.instructions.clear();
        }
        let moved = Moved { event: "moved", answer };
        let Ok(body) = serde_json::to_vec(&moved) else { return };
        let Some(signature) = signature(&self.secret, (self.now)(), &body) else { return };
        let request = client.post(url).header("content-type", "application/json").header(signed::HEADER, signature).body(body);
        let id = call.id;
        // Whoever moved the call holds it until this returns, and need not wait for somebody's server.
        tokio::spawn(async move {
            match exchange(request).await {
                Ok(answer) if answer.status.is_success() => {}
                _ => tracing::warn!(call = %id, "the telephone system was not told that a call moved; it goes on when it next asks"),
            }
        });
    }
}

/// A call moved, and what to do now.
#[derive(Serialize)]
struct Moved {
    event: &'static str,
    #[serde(flatten)]
    answer: Answer,
}
