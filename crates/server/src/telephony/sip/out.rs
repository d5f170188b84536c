//! Calls that we make by SIP: the same flow as those that come in, once somebody answers.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use countersign_core::{
    call::Stage,
    id::{CallId, MessageId},
    message::Delivery,
    secret::E164,
};
use countersign_sip::{CallKey, NotRung, Outgoing as Dial, Rung, Step, Steps};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Ours, Sip};
use crate::{
    App,
    outbox::{
        delivered,
        provider::{Channel, Outgoing, Provider, SOON, Sent, reason},
    },
    runner::{Line, Reply},
    stir::config::Signs,
};

/// How calls go out.
pub struct Out {
    /// Where to: a SIP URI with `{number}` in it.
    pub to: String,
    /// The number that is shown.
    pub from: E164,
    /// How long it may ring.
    pub ring: Duration,
    /// Signs them, if the number is ours.
    pub signs: Option<Signs>,
    /// Calls out at one time, until they end.
    pub room: Arc<Semaphore>,
}

/// A call that we make, until it ends.
pub(super) struct Made {
    pub id: CallId,
    number: E164,
    reference: String,
    _room: OwnedSemaphorePermit,
}

impl Out {
    /// For a number, in E.164.
    fn uri(&self, number: &E164) -> String { self.to.replace("{number}", number.expose()) }

    /// Ours, at the host that we call by.
    fn from(&self) -> String {
        let host = self.to.split_once('@').map_or("localhost", |(_, host)| host.split([';', '?']).next().unwrap_or(host));
        format!("sip:{}@{host}", self.from.expose())
    }
}

/// Rings customers through the gateway.
pub struct Rings(pub Arc<Sip>);

#[async_trait]
impl Provider for Rings {
    fn name(&self) -> &'static str { super::NAME }
    fn channels(&self) -> &[Channel] { &[Channel::Ring] }

    /// One INVITE at most: what went out is never sent again, whatever becomes of it.
    async fn send(&self, m: &Outgoing) -> Sent {
        let sip = &self.0;
        let again = |reason| Sent::Retry { after: SOON, reason };
        if m.channel != Channel::Ring {
            return Sent::Rejected { reason: reason::WRONG_CHANNEL };
        }
        if m.interrupted {
            return Sent::Unknown { reason: reason::INTERRUPTED };
        }
        let (Some(out), Ok(id)) = (&sip.out, m.text.expose().parse::<CallId>()) else { return Sent::Rejected { reason: reason::MALFORMED } };
        let Ok(number) = E164::parse(m.to.expose()) else { return Sent::Rejected { reason: reason::INVALID_NUMBER } };
        // Nothing has gone yet, in all of these.
        let (Some(app), Some(handle)) = (sip.app.get(), sip.handle.get()) else { return again(reason::BUSY) };
        match app.runner.call(id).await {
            Ok(Some(live)) if live.call.stage == Stage::Dialing => {}
            // Nobody waits for it any more: a telephone that rings for nothing only frightens.
            Ok(_) => return Sent::Rejected { reason: reason::REFUSED },
            Err(_) => return again(reason::BUSY),
        }
        let Ok(room) = out.room.clone().try_acquire_owned() else { return again(reason::BUSY) };
        let (key, reference) = (CallKey::random(), CallKey::random().as_str().to_owned());
        let identity = out.signs.as_ref().and_then(|signs| signs.identity(&out.from, &number, app.runner.now()));
        let dial = Dial { to: out.uri(&number), from: out.from(), call_id: reference.clone(), identity, ring: out.ring };
        // Before it rings: somebody may answer at once.
        sip.calls().made.insert(key.clone(), Made { id, number, reference, _room: room });
        match handle.ring(key.clone(), &dial) {
            Ok(rung) => {
                tokio::spawn(follow(sip.clone(), app.clone(), key.clone(), id, m.id, rung));
                Sent::Accepted { reference: Some(key.as_str().to_owned()) }
            }
            Err(why) => {
                sip.calls().made.remove(&key);
                match why {
                    NotRung::Busy => again(reason::BUSY),
                    NotRung::NotSent => again(reason::NO_CONNECTION),
                    NotRung::Uri => Sent::Rejected { reason: reason::MALFORMED },
                }
            }
        }
    }
}

/// Puts on record what came of a call that nobody answered.
async fn follow(sip: Arc<Sip>, app: App, key: CallKey, id: CallId, message: MessageId, rung: tokio::sync::oneshot::Receiver<Rung>) {
    let (delivery, why) = match rung.await {
        Ok(Rung::Answered) => return,
        Ok(Rung::Refused(code)) => (Delivery::Failed, code),
        Ok(Rung::Unanswered) => (Delivery::Failed, 408),
        // Nobody said anything: it may have rung.
        Ok(Rung::Silent) | Err(_) => (Delivery::Unknown, 0),
    };
    sip.calls().made.remove(&key);
    tracing::info!(call = %id, code = why, "a customer was not reached");
    app.runner.metrics.message(if delivery == Delivery::Failed { "failed" } else { "unknown" });
    if let Err(e) = delivered(&app.runner, id, message, delivery).await {
        tracing::error!(call = %id, error = %e, "that a customer was not reached could not be put on record; the call ends by its time");
    }
}

impl Sip {
    /// Somebody answered.
    pub(super) async fn answered_out(&self, key: &CallKey) -> Option<Steps> {
        let over = || Some(Steps::new([Step::HangUp]));
        let made = self.calls().made.get(key).map(|made| (made.id, made.number.clone(), made.reference.clone()));
        let (Some((id, number, reference)), Some(app)) = (made, self.app.get()) else { return over() };
        let line = Line { reference: key.as_str().to_owned(), number: Some(number) };
        let reply: Reply = match app.runner.answer_out(id, format!("sip/{}/answered", key.as_str()), line).await {
            Ok(reply) => reply,
            Err(e) => {
                // Too late, most of the time: nobody waits for it any more.
                tracing::warn!(call = %id, error = %e, "a customer answered a call that cannot go on");
                return over();
            }
        };
        self.enter(key, Ours { id, n: reply.n, told: reply.directives.clone(), reference });
        match self.told(key, id, &reply).await {
            Some(steps) => Some(steps),
            None => over(),
        }
    }

    /// A call of ours that still rings and is over: the telephone stops ringing.
    pub(super) async fn call_off(&self, id: CallId) {
        let ringing = {
            let calls = self.calls();
            calls.made.iter().find(|(key, made)| made.id == id && !calls.by_key.contains_key(*key)).map(|(key, _)| key.clone())
        };
        let (Some(key), Some(app), Some(handle)) = (ringing, self.app.get(), self.handle.get()) else { return };
        // A call that is over has left memory.
        if matches!(app.runner.call(id).await, Ok(live) if live.as_ref().is_none_or(|live| live.call.stage == Stage::Ended)) {
            handle.push(&key, Steps::new([Step::HangUp]));
        }
    }
}
