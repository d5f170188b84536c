//! Risk on a call: scored anew at every step, recorded when it changes, and where it leads before any
//! person has the call (`risky_call`, `number_lookup`).

use super::{Ask, Attempt, Deny, Effect, Ending, Event, Origin, Queue, Rejected, Stage, Turn};
use crate::{
    account::Brief,
    action::Role,
    claim::Via,
    factor::FactorKind,
    id::{AccountId, AgentId, CallId, ContactId},
    prompt::Prompt,
    risk::{History, NumberFacts, OnFile as File, Mode, Route},
    secret::Secret,
    time::Span,
};

/// Calls that we make to one customer in an hour because somebody's call in their name was too risky.
const RING_BACKS: u32 = 2;

impl Turn<'_, '_> {
    /// Scores the risk anew and records it if it changed. Above the last threshold the call ends,
    /// unless a person is or was on it: then the desk shows it, and people decide.
    pub(super) fn rescore(&mut self) {
        if self.call.stage == Stage::Ended {
            return;
        }
        let rules = &self.cx.params.risk;
        let scored = rules.score(&self.call, File::of(self.subject.as_ref(), self.now()));
        let shadow = rules.mode == Mode::Shadow;
        let calm = self.call.risk_parts.is_empty() && scored.parts.is_empty();
        let known = (self.call.risk, self.call.route, self.call.shadow) == (scored.score, scored.route, shadow) && scored.parts == self.call.risk_parts;
        if !known && !calm {
            self.emit(Event::RiskScored { score: scored.score, parts: scored.parts, route: Some(scored.route), shadow });
        }
        if self.call.acting_route() == Route::End && !self.call.with_people() {
            self.out.say.clear();
            self.say(Prompt::CannotHelp);
            self.end(Ending::Risk);
        }
    }

    /// Routes by risk before any agent answers.
    pub(super) fn enqueue(&mut self) {
        self.rescore();
        if self.call.stage == Stage::Ended {
            return;
        }
        let route = self.call.acting_route();
        if self.leave(route) {
            return;
        }
        let returned = matches!(self.call.origin, Origin::RingBack { .. });
        let risky = route >= Route::Specialist || returned;
        self.emit(Event::Queued { queue: queue(risky), because: self.because(risky) });
        self.say(if risky { Prompt::WaitingSpecialist } else { Prompt::Waiting });
    }

    /// What came in meanwhile may lead a waiting caller further, never back. They hear nothing of a
    /// change of queue, so that nobody can listen for what raises their score.
    pub(super) fn reroute(&mut self) {
        if self.call.stage != Stage::Waiting || self.call.with_people() {
            return;
        }
        let route = self.call.acting_route();
        if route >= Route::CallBack && self.leave(route) {
            return;
        }
        if route >= Route::Specialist && self.call.queue == Some(Queue::Agents) {
            self.emit(Event::Queued { queue: Queue::Specialists, because: self.because(true) });
        }
    }

    fn because(&self, risky: bool) -> Vec<String> {
        if risky { self.call.risk_parts.iter().map(|p| p.name.clone()).collect() } else { Vec::new() }
    }

    /// Ends the call where no person is to take it. `false`: a person takes it after all.
    fn leave(&mut self, route: Route) -> bool {
        if !self.call.origin.is_caller() || self.call.with_people() {
            return false;
        }
        match route {
            Route::CallBack => self.ring_back(),
            Route::SelfService => {
                self.say(Prompt::OnlineOnly);
                self.end(Ending::SelfService);
                true
            }
            Route::Agent | Route::Specialist | Route::End => false,
        }
    }

    /// Tells the caller that we ring at a number on file, and does. Only where the caller knows
    /// already that the account is known: anything else would tell that one detail was right. A frozen
    /// account, and one without a number past its cooling-off time, is a specialist's.
    fn ring_back(&mut self) -> bool {
        let Some(subject) = self.call.subject.filter(|_| self.call.delegate.is_none() && !self.call.disowned && !self.call.frozen) else { return false };
        let told = self.call.opened() || self.call.claims.iter().any(|c| c.via == Via::Network && c.accounts == [subject]);
        let brief = self.principal.as_ref().filter(|b| told && b.id == subject && !b.frozen);
        let contact = brief.and_then(|b| b.usable(self.cx.now).find(|f| f.kind == FactorKind::VoiceCode)).and_then(|f| f.contact);
        let Some(contact) = contact else { return false };
        self.out.effects.push(Effect::RingBack { account: subject, contact });
        self.say(Prompt::WeRingBack);
        self.end(Ending::CalledBack);
        true
    }

    /// We ring a customer back, because a call in their name was too risky to go on with.
    pub(super) fn begin_ring_back(&mut self, adapter: &str, account: Brief, contact: ContactId, of: CallId) -> Result<(), Rejected> {
        let id = account.id;
        if account.frozen || !account.usable(self.now()).any(|f| f.kind == FactorKind::VoiceCode && f.contact == Some(contact)) {
            return Err(Rejected::NoFactor);
        }
        if self.refused(Deny::CallOut) {
            return Err(Rejected::NoTriesLeft);
        }
        self.started(adapter, Origin::RingBack { contact, of });
        let lang = account.language;
        self.identified(id, false, None, Some(account));
        self.count(format!("ring/{id}/back"), Some(Span::hours(1)), RING_BACKS, Attempt::Failed, Deny::CallOut);
        self.count(format!("ring/{id}"), Some(Span::hours(1)), self.cx.params.call_backs * 3, Attempt::Failed, Deny::CallOut);
        self.ring(id, contact, lang);
        Ok(())
    }

    /// What other calls say, once it is known whose line and account this is.
    pub(super) fn wants_history(&self, fresh: bool, before: Option<AccountId>) -> Option<Ask> {
        let new = self.call.subject != before && self.call.subject.is_some();
        let asks = self.call.origin.is_caller() && self.call.stage != Stage::Ended && (new || (fresh && self.call.number.is_some()));
        asks.then(|| Ask::History { number: self.call.number, account: self.call.subject, started: self.call.started, dialled: false })
    }

    pub(super) fn history(&mut self, history: History) {
        let history = Some(history).filter(|h| !h.is_quiet());
        if history != self.call.signals.history {
            self.emit(Event::Signalled { history: Some(history.unwrap_or_default()), number: None });
        }
    }

    /// Number intelligence answered, perhaps long after the call began.
    pub(super) fn signalled(&mut self, number: NumberFacts) {
        if self.call.signals.number.as_ref() != Some(&number) {
            self.emit(Event::Signalled { history: None, number: Some(number) });
        }
    }

    /// The lead says that a call was fraud, or takes it back. The one thing besides reports on messages
    /// that can still happen to a call that is over.
    pub(super) fn marked(&mut self, agent: AgentId, role: Role, fraud: bool, reason: Secret) -> Result<(), Rejected> {
        if role != Role::Lead {
            return Err(Rejected::Role);
        }
        if self.call.fraud == fraud {
            return Err(Rejected::Marked);
        }
        let effect = self.note(Some(reason))?;
        let Effect::Note { id, .. } = &effect else { return Err(Rejected::NoReason) };
        let note = *id;
        self.out.effects.push(effect);
        self.emit(Event::Marked { agent, fraud, note });
        Ok(())
    }
}

fn queue(risky: bool) -> Queue { if risky { Queue::Specialists } else { Queue::Agents } }
