//! Genesys Cloud: data actions (`deploy/genesys`) that an Architect flow calls. They send the events of
//! [`super::http`] and read a flat answer.
//!
//! A data action cannot sign: a bearer key over TLS stands in for it, and has no time. So a repeat has to
//! be harmless, and is: call and step name it, as everywhere.

use std::{collections::BTreeMap, path::PathBuf};

use async_trait::async_trait;
use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, header},
    routing::post,
};
use countersign_core::{
    call::Call,
    id::AgentId,
    secret::{E164, Secret},
};
use serde::{Deserialize, Serialize};

use super::{
    events::{Happened, Refused, Waiting, agent, begin, take},
    flat::{Next, Turn},
    http::{Event, secret},
};
use crate::{
    App,
    config::Severity,
    hub::Telephone,
    outbox::provider::SetupError,
    runner::{Line, Reply},
};

/// The adapter's name in the record.
pub const NAME: &str = "genesys";
/// The environment's name for the key.
pub const TOKEN: &str = "COUNTERSIGN_GENESYS_TOKEN";
/// Fewest characters of the key: nothing but its length keeps it from being guessed.
const KEY_LENGTH: usize = 32;

/// `[genesys]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesysSettings {
    /// A file with the bearer key of the data actions. `COUNTERSIGN_GENESYS_TOKEN` comes first.
    pub token_file: Option<PathBuf>,
    /// A number of its own that only the portal dials.
    pub app_number: Option<E164>,
    /// Users in Genesys, by sign-in name: what *Transfer to User* takes.
    #[serde(default)]
    pub agents: BTreeMap<String, String>,
}

impl GenesysSettings {
    /// What is missing or unsafe.
    pub(crate) fn examine(&self, say: &mut impl FnMut(Severity, &str, String)) {
        secret(say, "genesys.token_file", self.token_file.as_ref(), TOKEN);
        if self.agents.is_empty() {
            say(Severity::Note, "genesys.agents", "no agent has a place in Genesys: callers who are taken hear silence".into());
        }
    }
}

/// What the adapter needs.
pub struct Genesys {
    token: Secret,
    agents: BTreeMap<String, String>,
    name_of: Box<dyn Fn(AgentId) -> String + Send + Sync>,
    waiting: Waiting,
}

impl Genesys {
    /// An adapter.
    ///
    /// # Errors
    /// A key that is too short.
    pub fn new(settings: &GenesysSettings, token: Secret, name_of: impl Fn(AgentId) -> String + Send + Sync + 'static) -> Result<Self, SetupError> {
        if token.expose().len() < KEY_LENGTH {
            return Err(SetupError::setting("genesys.token_file", "must hold at least 32 characters: openssl rand -hex 32"));
        }
        Ok(Self { token, agents: settings.agents.clone(), name_of: Box::new(name_of), waiting: Waiting::default() })
    }

    /// Whether a request has our key: one header, and nothing else in it.
    fn knows(&self, headers: &HeaderMap) -> bool {
        let mut all = headers.get_all(header::AUTHORIZATION).iter();
        let (first, second) = (all.next().and_then(|value| value.to_str().ok()), all.next());
        let key = first.filter(|_| second.is_none()).and_then(|value| value.strip_prefix("Bearer "));
        key.is_some_and(|key| Secret::new(key).ct_eq(&self.token))
    }

    fn answer(&self, turn: &Turn, agent: Option<AgentId>) -> Answer {
        let place = agent.and_then(|agent| self.agents.get(&(self.name_of)(agent)));
        let mut answer = Answer {
            step: turn.step, next: turn.next.name(), text: turn.text(), language: turn.lang().code(), max: 0, timeout: 0, secret: false, music: "",
            agent: place.cloned().unwrap_or_default(),
        };
        match turn.next {
            Next::Keys { max, timeout, secret } => (answer.max, answer.timeout, answer.secret) = (max, timeout, secret),
            Next::Hold(music) => answer.music = music.name(),
            // Nobody there: silence until the desk does something else.
            Next::Agent if place.is_none() => answer.next = "hold",
            Next::Agent | Next::Say | Next::HangUp => {}
        }
        answer
    }
}

/// Nobody can be told: the flow asks.
#[async_trait]
impl Telephone for Genesys {
    async fn push(&self, call: &Call, _line: &Line, reply: Reply) { self.waiting.keep(call, reply); }
}

/// Every field is always there: a data action fails on one that is missing.
#[derive(Serialize)]
struct Answer {
    step: u64,
    next: &'static str,
    text: String,
    language: &'static str,
    max: u8,
    timeout: u8,
    secret: bool,
    music: &'static str,
    agent: String,
}

/// The route.
pub fn routes() -> Router<App> {
    Router::new().route("/genesys/event", post(event))
}

async fn event(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Json<Answer>, Refused> {
    let genesys = app.lines.genesys.as_deref().ok_or_else(|| Refused::not_configured("[genesys]"))?;
    if !genesys.knows(&headers) {
        return Err(Refused::stranger(&app, "the key is not ours: is the credential of the integration the one in genesys.token_file?"));
    }
    let event: Event = serde_json::from_slice(&body).map_err(|_| Refused::malformed(&app, "the body is no event of docs/http.md: import the data actions again"))?;
    let (call, happened) = event.read(&app, NAME).map_err(|text| Refused::malformed(&app, text))?;
    let reply = match happened {
        Happened::Started { .. } => begin(&app, &call, &genesys.waiting, happened).await?,
        other => take(&app, &call, &genesys.waiting, other).await?,
    };
    let agent = agent(&app, call.id, &reply).await?;
    Ok(Json(genesys.answer(&Turn::of(&reply, &app.texts), agent)))
}
