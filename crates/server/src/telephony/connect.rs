//! Amazon Connect: the event of a Lambda function, handed on by a small forwarder
//! (`deploy/connect/forwarder.py`) that signs it, and answered with a flat map of strings, which is all
//! that a flow can read. `deploy/connect/flow.json` is the flow that does what the answers say.
//!
//! A flow waits eight seconds for its function and cannot be pushed. So an answer that takes too long is
//! "wait", while the work goes on; and a caller who waits is asked about again and again.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use async_trait::async_trait;
use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::HeaderMap,
    routing::post,
};
use countersign_core::{
    call::Call,
    id::AgentId,
    prompt::{Lang, Music},
    risk::Verstat,
    secret::{E164, Secret},
};
use serde::Deserialize;

use super::{
    events::{Happened, Named, Refused, Waiting, agent, begin, is_reference, keys, number, take},
    flat::{Next, Turn},
    http::secret,
    signed,
};
use crate::{
    App,
    config::Severity,
    hub::Telephone,
    outbox::provider::SetupError,
    runner::{Line, Reply, RunError},
};

/// The adapter's name in the record.
pub const NAME: &str = "connect";
/// The environment's name for the secret.
pub const SECRET: &str = "COUNTERSIGN_CONNECT_SECRET";
/// How long an answer may take: a second less than a flow waits.
pub const LIMIT: Duration = Duration::from_secs(7);
/// What a flow stores when nothing was keyed.
const NOTHING_KEYED: &str = "Timeout";

/// `[connect]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectSettings {
    /// A file with the secret that the forwarder signs with. `COUNTERSIGN_CONNECT_SECRET` comes first.
    pub secret_file: Option<PathBuf>,
    /// The ARN of the instance whose calls are taken. Without, any that the forwarder signs.
    pub instance: Option<String>,
    /// A number of its own that only the portal dials.
    pub app_number: Option<E164>,
    /// ARNs of agents, by sign-in name.
    #[serde(default)]
    pub agents: BTreeMap<String, String>,
    /// ARNs of prompts, by the name of the music: `calm`, `lively`, `classical`.
    #[serde(default)]
    pub music: BTreeMap<String, String>,
    /// Names of voices, by language.
    #[serde(default)]
    pub voices: BTreeMap<String, String>,
}

impl ConnectSettings {
    /// What is missing or unsafe.
    pub(crate) fn examine(&self, say: &mut impl FnMut(Severity, &str, String)) {
        secret(say, "connect.secret_file", self.secret_file.as_ref(), SECRET);
        for name in self.music.keys().filter(|name| !Music::ALL.iter().any(|music| music.name() == **name)) {
            say(Severity::Missing, "connect.music", format!("{name:?} is no music here: calm, lively, classical"));
        }
        for code in self.voices.keys().filter(|code| Lang::parse(code).is_none()) {
            say(Severity::Missing, "connect.voices", format!("{code:?} is no language here: en, es, de"));
        }
        if self.agents.is_empty() {
            say(Severity::Note, "connect.agents", "no agent has a place in Connect: callers who are taken hear silence".into());
        }
    }
}

/// What the adapter needs.
pub struct Connect {
    secret: Secret,
    settings: ConnectSettings,
    name_of: Box<dyn Fn(AgentId) -> String + Send + Sync>,
    limit: Duration,
    waiting: Waiting,
}

impl Connect {
    /// An adapter.
    ///
    /// # Errors
    /// A secret that is too short.
    pub fn new(settings: &ConnectSettings, secret: Secret, limit: Duration, name_of: impl Fn(AgentId) -> String + Send + Sync + 'static) -> Result<Self, SetupError> {
        if secret.expose().len() < signed::SECRET_LENGTH {
            return Err(SetupError::setting("connect.secret_file", "must hold at least 16 characters: openssl rand -hex 32"));
        }
        Ok(Self { secret, settings: settings.clone(), name_of: Box::new(name_of), limit, waiting: Waiting::default() })
    }

    fn voice(&self, lang: Lang) -> String {
        let usual = match lang { Lang::En => "Joanna", Lang::Es => "Lucia", Lang::De => "Vicki" };
        self.settings.voices.get(lang.code()).map_or(usual, String::as_str).to_owned()
    }

    fn answer(&self, turn: &Turn, agent: Option<AgentId>) -> Answer {
        let place = agent.and_then(|agent| self.settings.agents.get(&(self.name_of)(agent)));
        let (mut prompt, mut secret) = (String::new(), false);
        let next = match turn.next {
            Next::Keys { max, timeout, secret: hidden } => {
                secret = hidden;
                // Lengths and times of a block are fixed when the flow is saved: it has one for each kind.
                match (max, timeout) {
                    (0..=1, 0..=12) => "key_short",
                    (0..=1, _) => "key_long",
                    (2..=12, 0..=20) => "code_short",
                    (2..=12, _) => "code_long",
                    (_, 0..=15) => "number_short",
                    _ => "number_long",
                }
            }
            Next::Hold(music) => match self.settings.music.get(music.name()) {
                Some(arn) => {
                    prompt.clone_from(arn);
                    "hold_music"
                }
                None => "hold_silence",
            },
            // Nobody there: silence until the desk does something else.
            Next::Agent if place.is_none() => "hold_silence",
            Next::Say | Next::Agent | Next::HangUp => turn.next.name(),
        };
        [
            ("next", next.to_owned()), ("step", turn.step.to_string()), ("ssml", ssml(&turn.words)), ("voice", self.voice(turn.lang())), ("prompt", prompt),
            ("secret", secret.to_string()), ("agent", place.cloned().unwrap_or_default()),
        ].into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Nobody can be told: the flow asks.
#[async_trait]
impl Telephone for Connect {
    async fn push(&self, call: &Call, _line: &Line, reply: Reply) { self.waiting.keep(call, reply); }
}

/// Names and values are strings, or a flow does not take them.
type Answer = BTreeMap<String, String>;

/// A Lambda event, as far as it is read.
#[derive(Deserialize)]
struct Lambda {
    #[serde(rename = "Details")]
    details: Details,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Details {
    contact_data: Contact,
    parameters: Parameters,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contact {
    contact_id: String,
    initial_contact_id: Option<String>,
    customer_endpoint: Option<Endpoint>,
    system_endpoint: Option<Endpoint>,
    #[serde(rename = "InstanceARN")]
    instance_arn: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    address: Option<String>,
    #[serde(rename = "Type")]
    kind: Option<String>,
}

impl Endpoint {
    fn number(&self) -> Option<E164> {
        let telephone = self.kind.as_deref() == Some("TELEPHONE_NUMBER");
        self.address.as_deref().filter(|_| telephone).and_then(number)
    }
}

/// What the flow's block says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    #[serde(rename = "do")]
    what: What,
    keys: Option<Secret>,
    step: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Start,
    Keys,
    Now,
    Over,
}

impl What {
    fn name(self) -> &'static str {
        match self { Self::Start => "start", Self::Keys => "keys", Self::Now => "now", Self::Over => "over" }
    }
}

/// The route.
pub fn routes() -> Router<App> {
    Router::new().route("/connect/event", post(event))
}

async fn event(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Json<Answer>, Refused> {
    let connect = app.lines.connect.clone().ok_or_else(|| Refused::not_configured("[connect]"))?;
    signed::check(&connect.secret, signed::HEADER, &headers, &body, app.runner.now()).map_err(|e| Refused::stranger(&app, e.to_string()))?;
    let Lambda { details: Details { contact_data: contact, parameters } } = serde_json::from_slice(&body)
        .map_err(|_| Refused::malformed(&app, "the body is no event of Amazon Connect with our parameters: use the flow and the forwarder as they are"))?;
    if connect.settings.instance.is_some() && connect.settings.instance != contact.instance_arn {
        return Err(Refused::stranger(&app, "the call is of another instance than connect.instance"));
    }
    // Whoever is transferred gets a new name; the first one stays with the caller.
    let reference = contact.initial_contact_id.as_ref().unwrap_or(&contact.contact_id);
    if !is_reference(reference) {
        return Err(Refused::malformed(&app, "ContactId is not of Amazon Connect's form"));
    }
    let call = Named::theirs(&app, NAME, reference);
    let what = parameters.what;
    let step = parameters.step.as_deref().map(str::parse::<u64>).transpose().map_err(|_| Refused::malformed(&app, "step is not a number: pass on $.External.step"))?;
    let happened = match what {
        What::Start => Happened::Started {
            number: contact.customer_endpoint.as_ref().and_then(Endpoint::number), to: contact.system_endpoint.as_ref().and_then(Endpoint::number),
            // Connect says nothing of signatures.
            verstat: Verstat::None, identity: Vec::new(),
        },
        What::Keys => {
            let step = step.ok_or_else(|| Refused::malformed(&app, "step is missing: pass on $.External.step"))?;
            let text = parameters.keys.as_ref().map(Secret::expose).filter(|text| *text != NOTHING_KEYED).unwrap_or_default();
            let keys = keys(text).ok_or_else(|| Refused::malformed(&app, "keys is not what a telephone has: pass on $.StoredCustomerInput"))?;
            Happened::Keyed { step, keys: (!keys.is_empty()).then_some(keys) }
        }
        What::Now => Happened::Now,
        What::Over => Happened::HungUp,
    };
    // On its own: it goes on when nobody waits for it any more, and is found by its name.
    let limit = connect.limit;
    let work = tokio::spawn(async move {
        let reply = match happened {
            Happened::Started { .. } => begin(&app, &call, &connect.waiting, happened).await?,
            other => take(&app, &call, &connect.waiting, other).await?,
        };
        let agent = agent(&app, call.id, &reply).await?;
        Ok::<_, RunError>(connect.answer(&Turn::of(&reply, &app.texts), agent))
    });
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(Ok(answer))) => Ok(Json(answer)),
        Err(_) | Ok(Ok(Err(RunError::Busy))) => Ok(Json(wait(what, step))),
        Ok(Ok(Err(e))) => Err(e.into()),
        Ok(Err(e)) => Err(RunError::Store(e.to_string()).into()),
    }
}

/// Come again in a second with the same.
fn wait(what: What, step: Option<u64>) -> Answer {
    let step = step.map(|step| step.to_string()).unwrap_or_default();
    [("next", "wait"), ("after", what.name()), ("step", &step)].into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The words as SSML. What is not in the language of the first is marked: one voice speaks all of it.
fn ssml(words: &[(Lang, String)]) -> String {
    let mut out = String::from("<speak>");
    for (lang, text) in words {
        let text = escaped(text);
        if words.first().is_some_and(|(first, _)| first == lang) {
            out.push_str(&text);
        } else {
            out.push_str(&format!("<lang xml:lang=\"{}\">{text}</lang>", tag(*lang)));
        }
        out.push(' ');
    }
    out.truncate(out.trim_end().len());
    out.push_str("</speak>");
    out
}

fn escaped(text: &str) -> String {
    text.chars().map(|c| match c {
        '&' => "&amp;".into(),
        '<' => "&lt;".into(),
        '>' => "&gt;".into(),
        '"' => "&quot;".into(),
        '\'' => "&apos;".into(),
        // A flow reads $.… as the name of something.
        '$' | '\u{fffe}' | '\u{ffff}' => String::new(),
        c if c.is_control() => " ".into(),
        c => c.to_string(),
    }).collect()
}

fn tag(lang: Lang) -> &'static str {
    match lang { Lang::En => "en-US", Lang::Es => "es-ES", Lang::De => "de-DE" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let words = vec![(Lang::En, "Tom & <break time='9s'/> \"$.Attributes.pin\"\u{7}".to_owned()), (Lang::De, "</lang></speak>".to_owned())];
        assert_eq!(ssml(&words), "<speak>Tom &amp; &lt;break time=&apos;9s&apos;/&gt; &quot;.Attributes.pin&quot;  <lang xml:lang=\"de-DE\">&lt;/lang&gt;&lt;/speak&gt;</lang></speak>");
        assert_eq!(ssml(&[]), "<speak></speak>");
    }

    #[test]
    fn only_telephone_numbers_are_numbers() {
        let endpoint = |address: &str, kind: &str| Endpoint { address: Some(address.into()), kind: Some(kind.into()) }.number().is_some();
        assert!(endpoint("+12025550142", "TELEPHONE_NUMBER"));
        for (address, kind) in [("anonymous", "TELEPHONE_NUMBER"), ("", "TELEPHONE_NUMBER"), ("+12025550142", "EMAIL_ADDRESS"), ("sip:+12025550142@x", "TELEPHONE_NUMBER")] {
            assert!(!endpoint(address, kind), "{address} {kind}");
        }
    }
}
