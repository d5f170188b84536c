//! Calls that we make through a switch: the same flow as those that come in, once somebody answers.
//!
//! The leg's name tells which call it is, so that whichever node hears of it knows what to do, also after
//! a restart.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use countersign_core::{
    call::Stage,
    id::{CallId, MessageId},
    message::Delivery,
    secret::E164,
    time::Span,
};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast::{Receiver, error::RecvError}};

use super::over;
use crate::{
    App,
    config::Severity,
    hub::Notice,
    outbox::{
        delivered,
        provider::{Channel, Outgoing, Provider, SOON, Sent, reason},
    },
};

/// How calls go out through a switch.
#[derive(Debug, Clone)]
pub struct Out {
    /// What is dialled, with `{number}` in it: the number as `+12025550142` comes in its place.
    pub to: String,
    /// The number that is shown.
    pub from: E164,
    /// How long it may ring.
    pub ring: Duration,
}

impl Out {
    /// What is dialled for this number.
    pub fn endpoint(&self, number: &E164) -> String { self.to.replace("{number}", number.expose()) }
}

/// `[asterisk.out]` and `[sip.out]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutAt {
    /// What is dialled: `PJSIP/{number}@trunk`, `sip:{number}@trunk.example.com`; the number comes as
    /// `+12025550142`.
    pub to: String,
    /// The number that is shown.
    pub from: E164,
    /// Calls out at one time.
    #[serde(default = "at_once")]
    pub at_once: usize,
    /// How long it may ring, in milliseconds: shorter than most mailboxes take to answer.
    #[serde(default = "ring")]
    pub ring: Span,
}

/// Calls out at one time, if nobody says otherwise.
pub(crate) fn at_once() -> usize { 10 }
/// How long it may ring, if nobody says otherwise.
pub(crate) fn ring() -> Span { Span::seconds(25) }

impl OutAt {
    /// As it is rung.
    pub fn through(&self) -> Out { through(&self.to, &self.from, self.ring) }
}

/// As it is rung: from five seconds to two minutes.
pub(crate) fn through(to: &str, from: &E164, ring: Span) -> Out {
    Out { to: to.to_owned(), from: from.clone(), ring: Duration::from_millis(u64::try_from(ring.0).unwrap_or(0).clamp(5_000, 120_000)) }
}

/// What is missing or unsafe in the settings of this section.
pub(crate) fn examine(section: &str, to: &str, at_once: usize, ring: Span, say: &mut impl FnMut(Severity, &str, String)) {
    if !to.contains("{number}") {
        say(Severity::Missing, &format!("{section}.to"), "has no number in it: write {number} where it stands".into());
    }
    limits(section, at_once, ring, say);
}

/// The same of how many are rung, and for how long.
pub(crate) fn limits(section: &str, at_once: usize, ring: Span, say: &mut impl FnMut(Severity, &str, String)) {
    if at_once == 0 {
        say(Severity::Missing, &format!("{section}.at_once"), "is zero: nobody is ever rung".into());
    }
    if !(Span::seconds(5)..=Span::seconds(120)).contains(&ring) {
        say(Severity::Unsafe, &format!("{section}.ring"), "is not between 5 and 120 seconds; the nearer of the two is used".into());
    }
}

/// Why nobody is rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRung {
    /// Nothing has reached the switch.
    NotSent,
    /// It does not do it.
    Refused,
    /// It was asked, and has not answered: it may ring.
    Unknown,
}

/// A switch that rings.
#[async_trait]
pub trait Dials: Send + Sync {
    /// The name of a leg, for this call and the message that asks for it.
    fn leg(&self, call: CallId, message: MessageId) -> String;
    /// Rings a number on that leg, once. What comes of it is told by itself.
    async fn ring(&self, call: CallId, message: MessageId, number: &E164) -> Result<(), NotRung>;
    /// Rings no more. A leg that is gone is left alone.
    async fn call_off(&self, leg: &str);
}

/// A call that this node has made, until it ends.
struct Made {
    leg: String,
    ringing: bool,
    _room: OwnedSemaphorePermit,
}

/// Rings customers through a switch.
pub struct Rings {
    name: &'static str,
    dials: Arc<dyn Dials>,
    app: OnceLock<App>,
    room: Arc<Semaphore>,
    made: Mutex<HashMap<CallId, Made>>,
}

impl Rings {
    /// For this adapter, with so many calls at one time.
    pub fn new(name: &'static str, dials: Arc<dyn Dials>, at_once: usize) -> Self {
        Self { name, dials, app: OnceLock::new(), room: Arc::new(Semaphore::new(at_once.min(10_000))), made: Mutex::default() }
    }

    /// Begins to follow the calls of this application.
    pub fn start(self: &Arc<Self>, app: App) {
        let notices = app.runner.hub.listen();
        if self.app.set(app).is_ok() {
            tokio::spawn(follow(self.clone(), notices));
        }
    }

    fn made(&self) -> MutexGuard<'_, HashMap<CallId, Made>> { self.made.lock().unwrap_or_else(PoisonError::into_inner) }

    /// A call has moved. One that is over and still rings stops ringing.
    async fn look(&self, id: CallId) {
        let Some(app) = self.app.get() else { return };
        if !self.made().contains_key(&id) {
            return;
        }
        let stage = match app.runner.call(id).await {
            Ok(live) => live.map_or(Stage::Ended, |live| live.call.stage),
            Err(_) => return,
        };
        let off = {
            let mut made = self.made();
            match stage {
                Stage::Dialing => None,
                Stage::Ended => made.remove(&id).filter(|made| made.ringing).map(|made| made.leg),
                _ => {
                    if let Some(made) = made.get_mut(&id) {
                        made.ringing = false;
                    }
                    None
                }
            }
        };
        if let Some(leg) = off {
            self.dials.call_off(&leg).await;
        }
    }
}

async fn follow(rings: Arc<Rings>, mut notices: Receiver<Notice>) {
    loop {
        let ids: Vec<CallId> = match notices.recv().await {
            Ok(Notice::Call(id)) => vec![id],
            Ok(_) => continue,
            Err(RecvError::Lagged(_)) => rings.made().keys().copied().collect(),
            Err(RecvError::Closed) => return,
        };
        for id in ids {
            rings.look(id).await;
        }
    }
}

#[async_trait]
impl Provider for Rings {
    fn name(&self) -> &'static str { self.name }
    fn channels(&self) -> &[Channel] { &[Channel::Ring] }

    /// One order at most: what went out is never sent again, whatever becomes of it.
    async fn send(&self, m: &Outgoing) -> Sent {
        let again = |reason| Sent::Retry { after: SOON, reason };
        if m.channel != Channel::Ring {
            return Sent::Rejected { reason: reason::WRONG_CHANNEL };
        }
        if m.interrupted {
            return Sent::Unknown { reason: reason::INTERRUPTED };
        }
        let Ok(id) = m.text.expose().parse::<CallId>() else { return Sent::Rejected { reason: reason::MALFORMED } };
        let Ok(number) = E164::parse(m.to.expose()) else { return Sent::Rejected { reason: reason::INVALID_NUMBER } };
        let Some(app) = self.app.get() else { return again(reason::BUSY) };
        match app.runner.call(id).await {
            Ok(Some(live)) if live.call.stage == Stage::Dialing && live.call.adapter == self.name => {}
            // Nobody waits for it any more: a telephone that rings for nothing only frightens.
            Ok(_) => return Sent::Rejected { reason: reason::REFUSED },
            Err(_) => return again(reason::BUSY),
        }
        let Ok(room) = self.room.clone().try_acquire_owned() else { return again(reason::BUSY) };
        let leg = self.dials.leg(id, m.id);
        // Before it rings: somebody may answer at once.
        self.made().insert(id, Made { leg: leg.clone(), ringing: true, _room: room });
        let why = match self.dials.ring(id, m.id, &number).await {
            Ok(()) => return Sent::Accepted { reference: Some(leg) },
            // What may ring keeps its room until the call is over.
            Err(NotRung::Unknown) => return Sent::Unknown { reason: reason::NO_ANSWER },
            Err(why) => why,
        };
        self.made().remove(&id);
        match why {
            NotRung::NotSent => again(reason::NO_CONNECTION),
            NotRung::Refused | NotRung::Unknown => Sent::Rejected { reason: reason::REFUSED },
        }
    }
}

/// A leg of ours that nobody serves is gone: whoever was rung did not answer, or hung up meanwhile.
pub async fn ended(app: &App, name: &str, id: CallId, message: MessageId, leg: &str) {
    match app.runner.call(id).await {
        Ok(Some(live)) if live.call.adapter != name || live.call.stage == Stage::Ended => {}
        Ok(Some(live)) if live.call.stage == Stage::Dialing => {
            tracing::info!(call = %id, "a customer was not reached");
            app.runner.metrics.message("failed");
            if let Err(e) = delivered(&app.runner, id, message, Delivery::Failed).await {
                tracing::error!(call = %id, error = %e, "that a customer was not reached could not be put on record; the call ends by its time");
            }
        }
        Ok(Some(_)) => over(app, name, id, leg).await,
        Ok(None) | Err(_) => {}
    }
}
