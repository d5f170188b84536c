//! Number intelligence: what somebody who knows telephone numbers says of a calling number
//! (`number_lookup`). Asked once per call after it came in, as an errand of the outbox: no answer to a
//! telephone ever waits for it. What comes back is an input of the call. Nothing of it proves anything.
//!
//! Where we ask is in the configuration alone: https, or http on this machine for tests; no redirects,
//! answers of 64 KiB at most, a short time. What makes no sense is a failure, and a failure counts as
//! the configuration says.

pub mod camara;
pub mod date;
pub mod file;
pub mod twilio;

use std::sync::{Arc, Mutex, PoisonError, atomic::Ordering};

use async_trait::async_trait;
use countersign_core::{
    call::{Call, Input},
    claim::ClaimKind,
    id::CallId,
    risk::{LineType, NumberFacts},
    secret::E164,
    time::{Span, Timestamp},
};
use countersign_store::{Commit, CommitError, DocWrite, Expect, OutboxItem};
use serde::{Deserialize, Serialize};

use crate::{
    effects::errand,
    outbox::{Carried, Courier},
    runner::{RunError, Runner},
};

/// The topic of the errands.
pub const NUMBER: &str = "number";
/// The kind under which answers are kept for a while, by the keyed hash of the number, sealed.
pub const CACHE: &str = "number-facts";
/// After so many failures in a row nobody is asked for [`REST`].
const FAILURES: u32 = 3;
const REST: Span = Span::seconds(30);

/// Why a number is not known. The texts go into the log: they hold no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IntelError {
    /// No connection, or no answer in time.
    #[error("it did not answer in time, or there is no connection")]
    NoAnswer,
    /// An answer that says no.
    #[error("it refused with status {0}")]
    Refused(u16),
    /// An answer that makes no sense, or is about something else.
    #[error("its answer makes no sense")]
    Nonsense,
}

/// What is known of a number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// What kind of line it is.
    pub line: Option<LineType>,
    /// Whether and when its SIM changed.
    pub sim: Sim,
    /// It was given to somebody else lately.
    pub reassigned: bool,
    /// Calls to it are forwarded.
    pub forwarded: bool,
}

/// Whether and when a SIM changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sim {
    /// Not lately, or not known.
    #[default]
    Quiet,
    /// At this time.
    At(Timestamp),
    /// At some time since then.
    Since(Timestamp),
}

/// Somebody who knows numbers.
#[async_trait]
pub trait NumberIntelligence: Send + Sync {
    /// Its name in logs.
    fn name(&self) -> &'static str;
    /// Asks once. `now` dates questions that look back.
    async fn ask(&self, number: &E164, now: Timestamp) -> Result<Known, IntelError>;
}

/// What a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Nothing.
    #[default]
    Ignore,
    /// The part `number_unknown` of the score.
    Count,
}

/// How answers are used.
#[derive(Debug, Clone, Copy)]
pub struct Use {
    /// What a failure means.
    pub on_failure: OnFailure,
    /// How long an answer is kept.
    pub cache: Span,
    /// How long a changed SIM counts.
    pub sim_lately: Span,
}

/// Carries the questions.
pub struct Intel {
    runner: Arc<Runner>,
    provider: Arc<dyn NumberIntelligence>,
    settings: Use,
    /// Failures in a row, and until when nobody is asked because of them.
    trouble: Mutex<(u32, Timestamp)>,
}

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    known: Known,
    until: Timestamp,
}

impl Intel {
    /// From now on every call with a number is asked about.
    pub fn new(runner: Arc<Runner>, provider: Arc<dyn NumberIntelligence>, settings: Use) -> Self {
        runner.looks_up.store(true, Ordering::Relaxed);
        Self { runner, provider, settings, trouble: Mutex::new((0, Timestamp(0))) }
    }

    async fn look_up(&self, item: &OutboxItem) -> Result<Carried, RunError> {
        let id = CallId(item.owner);
        // Over already: nothing is asked about somebody who is gone.
        let Some(live) = self.runner.call(id).await?.filter(|live| live.call.ended.is_none()) else { return Ok(Carried::Never) };
        let Some(number) = live.line.number else { return Ok(Carried::Never) };
        let Some(facts) = self.facts(&number).await? else { return Ok(Carried::Done) };
        match self.runner.run(id, format!("number/{id}"), || Input::Signals(facts.clone())).await {
            Ok(_) | Err(RunError::NoCall | RunError::Rejected(_)) => Ok(Carried::Done),
            Err(e) => Err(e),
        }
    }

    /// What the call is told; `None`: nothing.
    async fn facts(&self, number: &E164) -> Result<Option<NumberFacts>, RunError> {
        let now = self.runner.now();
        let Some(key) = self.runner.vault.index.exact(ClaimKind::Number, number.expose()).map(|blind| blind.0.to_vec()) else { return Ok(None) };
        if let Some(doc) = self.runner.store.doc(CACHE, &key).await? {
            let kept: Kept = self.runner.vault.unseal(CACHE, &key, &doc.body)?;
            if kept.until > now {
                return Ok(Some(self.read(&kept.known, now)));
            }
        }
        let answer = if self.rests(now) { Err(IntelError::NoAnswer) } else { self.provider.ask(number, now).await };
        self.note(answer.is_ok(), now);
        match answer {
            Ok(known) => {
                let facts = self.read(&known, now);
                if self.settings.cache.0 > 0 {
                    let until = now + self.settings.cache;
                    let body = self.runner.vault.seal(CACHE, &key, &Kept { known, until })?;
                    let docs = vec![DocWrite::Put { kind: CACHE, id: key, expected: Expect::Any, body, due: Some(until.0) }];
                    match self.runner.store.commit(Commit { now: now.0, docs, ..Commit::default() }).await {
                        Ok(_) | Err(CommitError::Conflict) => {}
                        Err(CommitError::Busy | CommitError::Closed) => return Err(RunError::Busy),
                        Err(e) => return Err(RunError::Store(e.to_string())),
                    }
                }
                Ok(Some(facts))
            }
            Err(e) => {
                tracing::warn!(provider = self.provider.name(), error = %e, "a number is not known");
                Ok((self.settings.on_failure == OnFailure::Count).then(|| NumberFacts { unknown: true, ..NumberFacts::default() }))
            }
        }
    }

    fn read(&self, known: &Known, now: Timestamp) -> NumberFacts {
        let hours = |at: Timestamp| u32::try_from((now - at).0.max(0).div_euclid(Span::hours(1).0) + 1).unwrap_or(u32::MAX);
        let lately = |at: &Timestamp| now - *at < self.settings.sim_lately;
        let (sim_changed_hours, sim_within) = match known.sim {
            Sim::Quiet => (None, false),
            // Whole hours: "6 hours ago" from the end of the sixth on.
            Sim::At(at) => (Some(at).filter(lately).map(|at| hours(at).saturating_sub(1)), false),
            Sim::Since(at) => (Some(at).filter(|at| now - *at <= self.settings.sim_lately).map(|at| hours(at).saturating_sub(1)), true),
        };
        NumberFacts { unknown: false, line: known.line, sim_changed_hours, sim_within, reassigned: known.reassigned, forwarded: known.forwarded }
    }

    fn rests(&self, now: Timestamp) -> bool { self.trouble.lock().unwrap_or_else(PoisonError::into_inner).1 > now }

    /// A provider that is down must not hold up the codes of other callers, who share the outbox with it.
    fn note(&self, good: bool, now: Timestamp) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        *trouble = match (good, *trouble) {
            (true, _) => (0, Timestamp(0)),
            (false, (_, until)) if until > now => (0, until),
            (false, (n, _)) if n + 1 >= FAILURES => (0, now + REST),
            (false, (n, _)) => (n + 1, Timestamp(0)),
        };
    }
}

#[async_trait]
impl Courier for Intel {
    fn topic(&self) -> &'static str { NUMBER }

    async fn carry(&self, item: &OutboxItem) -> Carried {
        match self.look_up(item).await {
            Ok(carried) => carried,
            Err(RunError::Busy) => Carried::Again(Span::seconds(1)),
            Err(e) => {
                tracing::error!(error = %e, "a number could not be looked up");
                Carried::Never
            }
        }
    }
}

/// A call that has just come in is asked about. The errand holds nothing: the number is in the call's
/// own sealed record.
pub(crate) fn write(runner: &Runner, events_before: u64, call: &Call, commit: &mut Commit) -> Result<(), RunError> {
    let asks = events_before == 0 && call.number.is_some() && call.origin.is_caller() && call.ended.is_none();
    if asks && runner.looks_up.load(Ordering::Relaxed) {
        commit.outbox.push(errand(runner, NUMBER, call.id, &())?);
    }
    Ok(())
}
