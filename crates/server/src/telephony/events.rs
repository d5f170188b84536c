//! What adapters over web requests share: an event on a call becomes an input, what was to be said
//! when a call was moved is kept until its telephone asks, and a refusal is a sentence.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use countersign_core::{
    call::{Call, Input, Stage},
    id::{AgentId, CallId},
    prompt::Directive,
    risk::Verstat,
    secret::{E164, Secret},
    speech::Heard,
    time::Span,
};

use super::{incoming, kept::Kept, unrecorded};
use crate::{
    App,
    recording::About,
    runner::{Line, Reply, RunError},
    stir::Signed,
};

/// Most keys of one entry; `Gather` never asks for more.
const MAX_KEYS: usize = 32;

/// A request that is turned away, in words for whoever reads the vendor's log. They repeat no value.
#[derive(Debug)]
pub struct Refused(pub StatusCode, pub String);

impl Refused {
    /// The adapter has no section in the configuration.
    pub fn not_configured(name: &str) -> Self { Self(StatusCode::NOT_FOUND, format!("{name} is not configured here")) }

    /// Something that this vendor does not send.
    pub fn malformed(app: &App, text: impl Into<String>) -> Self {
        app.runner.metrics.turn_away("form");
        Self(StatusCode::BAD_REQUEST, text.into())
    }

    /// Whoever sent it is not who they should be.
    pub fn stranger(app: &App, text: impl Into<String>) -> Self {
        app.runner.metrics.turn_away("signature");
        Self(StatusCode::FORBIDDEN, text.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let retry = (self.0 == StatusCode::SERVICE_UNAVAILABLE).then_some([(header::RETRY_AFTER, "1")]);
        (self.0, retry, self.1).into_response()
    }
}
impl From<RunError> for Refused {
    fn from(e: RunError) -> Self {
        match e {
            RunError::Busy => Self(StatusCode::SERVICE_UNAVAILABLE, "too busy: try again".into()),
            RunError::NoCall => Self(StatusCode::NOT_FOUND, "this call is not known: it has to be started here first".into()),
            RunError::Rejected(why) => Self(StatusCode::CONFLICT, why.to_string()),
            other => {
                tracing::error!(error = %other, "an event of a telephone could not be taken");
                Self(StatusCode::INTERNAL_SERVER_ERROR, "something of ours is broken: the operator finds the reason in the log".into())
            }
        }
    }
}

/// A call as one adapter names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The adapter.
    pub adapter: &'static str,
    /// The telephone system's own name for it. Not personal: it goes into command ids.
    pub reference: String,
    /// Ours.
    pub id: CallId,
    /// We rang: only our own name leads to the call.
    pub ours: bool,
}

impl Named {
    /// A call that came in. Our name for it is the same on every node, and not to be guessed.
    pub fn theirs(app: &App, adapter: &'static str, reference: &str) -> Self {
        Self { adapter, reference: reference.to_owned(), id: CallId(app.runner.vault.index.blind(adapter, reference).0), ours: false }
    }

    /// A call that we made, by our name.
    pub fn ours(adapter: &'static str, reference: &str, id: CallId) -> Self { Self { adapter, reference: reference.to_owned(), id, ours: true } }

    fn command(&self, what: &str) -> String { format!("{}/{}/{what}", self.adapter, self.reference) }

    /// Whoever names a call of ours may know its name from a desk: another adapter's is not theirs.
    pub(super) async fn check(&self, app: &App) -> Result<(), RunError> {
        if !self.ours {
            return Ok(());
        }
        match app.runner.call(self.id).await? {
            Some(live) if live.call.origin.is_ours() && live.call.adapter == self.adapter => Ok(()),
            _ => Err(RunError::NoCall),
        }
    }
}

/// What happened on a call.
pub enum Happened {
    /// It came in.
    Started {
        /// The calling number. `None`: withheld, or not to be trusted as one.
        number: Option<E164>,
        /// The number that was called.
        to: Option<E164>,
        /// The network's word on the calling number, as the sender has it.
        verstat: Verstat,
        /// The Identity headers of the call (RFC 8224), where the sender passes them on.
        identity: Vec<String>,
    },
    /// A call of ours was answered.
    Answered,
    /// Keys, or none, for what was asked at this step.
    Keyed {
        /// The number that came with the question.
        step: u64,
        /// `None`: nothing was keyed in time.
        keys: Option<Secret>,
    },
    /// Words, as the telephone's recogniser understood them, for what was asked at this step.
    Said {
        /// The number that came with the question.
        step: u64,
        /// The words, and how sure it is.
        heard: Heard,
    },
    /// The caller hung up.
    HungUp,
    /// The telephone asks what to do.
    Now,
}

/// Takes an event. The same event again gets the same answer, and changes nothing.
///
/// # Errors
/// See [`RunError`]; a call that is over is no error, but an instruction to hang up.
pub async fn take(app: &App, call: &Named, waiting: &Waiting, happened: Happened) -> Result<Reply, RunError> {
    let ends = matches!(happened, Happened::HungUp);
    let reply = taken(app, call, waiting, happened).await?;
    match &app.recorder {
        Some(recorder) if ends => recorder.over(call.id),
        Some(_) => {
            let about = About { call: call.id, adapter: call.adapter, reference: &call.reference };
            return Ok(unrecorded(app, about, reply, |n| call.command(&format!("recorded/{n}"))).await);
        }
        None => {}
    }
    Ok(reply)
}

async fn taken(app: &App, call: &Named, waiting: &Waiting, happened: Happened) -> Result<Reply, RunError> {
    call.check(app).await?;
    let over = Reply { n: 0, directives: vec![Directive::HangUp] };
    match happened {
        Happened::Started { number, to, verstat, mut identity } => {
            identity.retain(|header| !header.trim().is_empty());
            let verstat = match (&app.stir, &number, &to) {
                (Some(stir), Some(number), Some(to)) if !identity.is_empty() => {
                    let of = format!("{}/{}", call.adapter, call.reference);
                    stir.beside(&app.runner, verstat, Signed { of, identity, orig: number.expose().to_owned(), dest: to.expose().to_owned() }).await
                }
                _ => verstat,
            };
            let dialled = to.is_some() && to == app.app_number;
            let first = incoming(app, call.adapter, number.as_ref(), verstat, dialled).await?;
            let line = Line { reference: call.reference.clone(), number };
            app.runner.begin(call.id, call.command("in"), line, || first.input()).await
        }
        Happened::Answered => {
            let line = Line { reference: call.reference.clone(), number: None };
            match app.runner.answer_out(call.id, call.command("answered"), line).await {
                // Too late: nobody waits for it any more.
                Err(RunError::Rejected(_)) => Ok(over),
                other => other,
            }
        }
        Happened::Keyed { step, keys } => entered(app, call, waiting, step, || keys.clone().map_or(Input::NoKeys, Input::Keys)).await,
        Happened::Said { step, heard } => entered(app, call, waiting, step, || Input::Heard(heard.clone())).await,
        Happened::HungUp => {
            waiting.forget(call.id);
            match app.runner.run(call.id, call.command("over"), || Input::HungUp).await {
                Ok(reply) => Ok(reply),
                Err(RunError::NoCall | RunError::Rejected(_)) => Ok(over),
                Err(e) => Err(e),
            }
        }
        Happened::Now => Ok(waiting.words(call.id, present(app, call.id).await?)),
    }
}

/// What a caller keyed or said at a step. A step is answered once, whatever comes twice, and one that was never
/// asked is not answered.
async fn entered(app: &App, call: &Named, waiting: &Waiting, step: u64, make: impl Fn() -> Input + Send) -> Result<Reply, RunError> {
    let command = call.command(&format!("step/{step}"));
    if !app.runner.has_come_to(call.id, step).await? || !app.runner.still_asks(call.id, step).await? {
        return match app.runner.repeated(command).await? {
            Some(reply) => Ok(reply),
            None => Ok(waiting.words(call.id, present(app, call.id).await?)),
        };
    }
    match app.runner.run(call.id, command, make).await {
        Err(RunError::Rejected(_)) => Ok(Reply { n: step, directives: vec![Directive::HangUp] }),
        other => other,
    }
}

/// What a recogniser of a telephone system said: one transcript, and from 0 to 1 how sure it is. Without that,
/// nobody is sure of anything. `Err`: no such number.
pub(super) fn transcript(text: &Secret, confidence: Option<f64>) -> Result<Option<Heard>, &'static str> {
    let confidence = confidence.unwrap_or(0.0);
    if !(0.0..=1.0).contains(&confidence) {
        return Err("confidence: a number from 0 to 1");
    }
    // Downwards: 79.9 is not 80.
    let percent = (confidence * 100.0 + 1e-6).floor() as u8;
    Ok((!text.expose().trim().is_empty()).then(|| Heard { text: text.clone(), confidence: percent }))
}

/// The same for a flow that may begin again on a call that goes on, because an agent sent the caller
/// back to it: what is to be done now, not what was said at the first ring.
///
/// # Errors
/// See [`RunError`].
pub async fn begin(app: &App, call: &Named, waiting: &Waiting, started: Happened) -> Result<Reply, RunError> {
    if let (Some(live), Some(first)) = (app.runner.call(call.id).await?, app.runner.repeated(call.command("in")).await?)
        && live.call.n != first.n
    {
        return take(app, call, waiting, Happened::Now).await;
    }
    take(app, call, waiting, started).await
}

/// What a call's telephone should be doing now.
///
/// # Errors
/// See [`RunError`].
pub async fn present(app: &App, id: CallId) -> Result<Reply, RunError> {
    let live = app.runner.call(id).await?.ok_or(RunError::NoCall)?;
    Ok(Reply { n: live.call.n, directives: app.runner.directives(&live.call).await? })
}

/// Who has the call, if it is to be bridged.
///
/// # Errors
/// See [`RunError`].
pub async fn agent(app: &App, id: CallId, reply: &Reply) -> Result<Option<AgentId>, RunError> {
    if !reply.directives.contains(&Directive::Bridge) {
        return Ok(None);
    }
    Ok(app.runner.call(id).await?.filter(|live| live.call.stage == Stage::Talking).and_then(|live| live.call.agent).map(|(agent, _)| agent))
}

/// Where a caller and one agent talk. A name for each of the two: an agent who handed the call
/// over and does not hang up stays behind alone.
pub fn room(call: CallId, agent: Option<AgentId>) -> String { agent.map_or_else(|| call.to_string(), |agent| format!("{call}/{agent}")) }

/// Keys as a telephone has them. `None`: something else.
pub fn keys(text: &str) -> Option<Secret> {
    let fits = text.len() <= MAX_KEYS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'*' | b'#' | b'A'..=b'D'));
    fits.then(|| Secret::new(text))
}

/// A telephone number in E.164 form, also as `tel:`; `None` for everything that merely stands where one would be.
pub fn number(text: &str) -> Option<E164> { E164::parse(text.strip_prefix("tel:").unwrap_or(text)).ok() }

/// Whether a text can be a telephone system's name for a call.
pub fn is_reference(text: &str) -> bool { crate::outbox::http::is_name(text) }

/// How long words wait for a telephone that asks for them. One that asks at all asks every second or so.
const PATIENCE: Span = Span::minutes(10);

/// What moved calls are to hear when their telephone asks; kept until it asked, or until it is clear that
/// it never will. A call whose words are gone still does what its state says.
pub struct Waiting(Kept<Reply>);

impl Default for Waiting {
    fn default() -> Self { Self(Kept::new(PATIENCE)) }
}

fn with(words: Option<Reply>, now: Reply) -> Reply {
    match words.filter(|reply| reply.directives.ends_with(&now.directives)) {
        Some(reply) => Reply { n: now.n, ..reply },
        None => now,
    }
}

impl Waiting {
    /// A call was moved.
    pub fn keep(&self, call: &Call, reply: Reply) { self.0.keep(call.id, call.updated, reply); }

    /// A call is over, or was told.
    pub fn forget(&self, id: CallId) { self.0.take(id); }

    /// Whether there is something to be said.
    pub fn has(&self, id: CallId) -> bool { self.0.has(id) }

    /// The words that go with a move still fit if they lead to what is to be done now. The number tells
    /// nothing: the report that a text went comes in between more often than not.
    pub fn words(&self, id: CallId, now: Reply) -> Reply { with(self.0.take(id), now) }

    /// The same, and they stay until they are [said](Self::said): where several look at once, whoever says
    /// something first says these.
    pub fn still(&self, id: CallId, now: Reply) -> Reply { with(self.0.get(id), now) }

    /// The caller is told this.
    pub fn said(&self, id: CallId, reply: &Reply) { self.0.take_if(id, |kept| kept.directives == reply.directives); }
}
