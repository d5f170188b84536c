//! What agents do. Every command checks who has the call, asks policy, and records the answer.

use super::{
    Alert, Attempt, Closed, Command, Deny, Effect, Ending, Event, LevelCause, MAX_MISSES, Purpose, Queue, Rejected, Stage,
    Turn,
    ask::Ask,
};
use crate::{
    account::Brief,
    action::{Action, Field, Level, Outcome, Role, Verb, WayOut},
    claim::{Claim, ClaimKind, Via, normalise},
    factor::{Alphabet, FactorKind},
    id::{AgentId, ChangeId, NoteId},
    message::{Body, Change, OnFile, PermittedChange},
    prompt::Prompt,
    secret::Secret,
    time::Span,
    voice::Stopped,
};

impl Turn<'_, '_> {
    pub(super) fn desk(&mut self, agent: AgentId, role: Role, command: Command) -> Result<(), Rejected> {
        if let Command::Accept = command {
            return self.accept(agent, role);
        }
        // The role of the moment counts, not the one at acceptance: somebody demoted loses it at once.
        if self.call.agent != Some((agent, role)) {
            return Err(Rejected::NotYours);
        }
        // Nobody is there yet who could say or prove anything.
        if matches!(self.call.stage, Stage::Dialing | Stage::Confirming) && !matches!(command, Command::End) {
            return Err(Rejected::NotAnswered);
        }
        match command {
            Command::Accept => Ok(()),
            Command::Claim { kind, value } => self.agent_claim(kind, value),
            Command::Compare { field, value } => self.compare(field, value),
            Command::Reveal { field, reason } => self.reveal(agent, field, reason),
            Command::Request { action } => {
                writable(&action)?;
                self.request(agent, &action);
                Ok(())
            }
            Command::Prove { action, factors } => self.prove(agent, action, factors),
            Command::Word(word) => match self.call.challenge.as_ref().filter(|c| !c.spoken).map(|c| c.kind) {
                Some(FactorKind::VerbalPassword) => self.present(word),
                _ => Err(Rejected::NoChallenge),
            },
            Command::EnrolVoice => self.enrol_voice(agent),
            Command::CompareVoice => self.ask_voice(agent),
            Command::RemoveVoice => self.remove_voice(agent),
            Command::CancelChallenge => {
                if self.call.voice.is_going_on() {
                    self.stop_voice(Stopped::AgentLeft);
                    return Ok(());
                }
                if self.call.challenge.is_none() && self.call.link.is_some() {
                    self.close_link(Closed::AgentLeft);
                    return Ok(());
                }
                self.call.challenge.as_ref().ok_or(Rejected::NoChallenge)?;
                self.close_challenge(Closed::AgentLeft);
                Ok(())
            }
            Command::OpenLink => self.open_link(),
            Command::Perform { change, reason } => self.perform(agent, change, reason),
            Command::SpeakFor { account_number } => self.ask_speak_for(account_number),
            Command::Switch { reason } => self.switch(agent, reason),
            Command::HandOver { queue } => {
                self.call_off();
                self.emit(Event::HandedOver { agent, queue });
                self.say(match queue {
                    Queue::Agents => Prompt::Waiting,
                    Queue::Specialists => Prompt::WaitingSpecialist,
                });
                Ok(())
            }
            Command::End => {
                self.say(Prompt::Goodbye);
                self.end(Ending::Agent);
                Ok(())
            }
        }
    }

    fn accept(&mut self, agent: AgentId, role: Role) -> Result<(), Rejected> {
        let queue = self.call.queue.filter(|_| self.call.stage == Stage::Waiting).ok_or(Rejected::NotWaiting)?;
        if !queue.serves(role) {
            return Err(Rejected::Role);
        }
        self.emit(Event::Accepted { agent, role });
        self.say(Prompt::Connecting);
        Ok(())
    }

    fn tries_left(&self) -> Result<(), Rejected> {
        if self.call.misses >= MAX_MISSES { Err(Rejected::NoTriesLeft) } else { Ok(()) }
    }

    fn agent_claim(&mut self, kind: ClaimKind, value: Secret) -> Result<(), Rejected> {
        self.tries_left()?;
        normalise(kind, value.expose()).ok_or(Rejected::Unusable)?;
        // Somebody at the desk who fishes for customers does it over many calls.
        let agent = self.call.agent.map(|(agent, _)| agent).ok_or(Rejected::NotYours)?;
        if self.refused(Deny::Claims) {
            return Err(Rejected::NoTriesLeft);
        }
        self.count(format!("claims/{agent}"), Some(Span::hours(1)), self.cx.params.agent_claims, Attempt::Failed, Deny::Claims);
        let claim = Claim { kind, value, via: Via::Agent };
        self.out.ask = Some(Ask::Find { claim, purpose: Purpose::Identify });
        Ok(())
    }

    /// A code for a caller of whom nothing is known, or too little.
    fn open_link(&mut self) -> Result<(), Rejected> {
        if self.call.disowned {
            return Err(Rejected::Disowned);
        }
        if self.call.link.is_some() || self.call.challenge.is_some() {
            return Err(Rejected::Challenge);
        }
        if self.fixed() {
            return Err(Rejected::Settled);
        }
        if self.link(Alphabet::Spoken) { Ok(()) } else { Err(Rejected::NoTriesLeft) }
    }

    fn compare(&mut self, field: Field, value: Secret) -> Result<(), Rejected> {
        let account = self.call.subject.ok_or(Rejected::NoAccount)?;
        self.tries_left()?;
        if value.expose().trim().is_empty() {
            return Err(Rejected::Unusable);
        }
        if !self.decide(&Action::on(Verb::Match, field), false).permits() {
            return Err(Rejected::NotPermitted);
        }
        if let (true, Some((agent, _))) = (self.refused(Deny::Compare), self.call.agent) {
            self.emit(Event::CompareThrottled { agent });
            return Ok(());
        }
        self.out.ask = Some(Ask::Compare { account, field, value });
        Ok(())
    }

    pub(super) fn compared(&mut self, field: Field, matched: bool) -> Result<(), Rejected> {
        let (account, (agent, _)) = self.call.subject.zip(self.call.agent).ok_or(Rejected::OutOfTurn)?;
        let outcome = if matched { Attempt::Neutral } else { Attempt::Failed };
        self.count(format!("compare/{account}"), Some(Span::hours(1)), self.cx.params.compare_misses, outcome, Deny::Compare);
        self.emit(Event::Compared { agent, field, matched });
        Ok(())
    }

    fn reveal(&mut self, agent: AgentId, field: Field, reason: Option<Secret>) -> Result<(), Rejected> {
        let action = Action::on(Verb::View, field);
        let decision = self.decide(&action, false);
        if decision.permits() {
            if !self.call.revealed.contains(&field) {
                self.emit(Event::Revealed { agent, field, policies: decision.policies });
            }
            return Ok(());
        }
        let exception = self.decide(&action, true);
        if !exception.permits() {
            return Err(Rejected::NotPermitted);
        }
        let note = self.note(reason)?;
        self.decided(Some(agent), &action, &exception);
        self.emit(Event::Revealed { agent, field, policies: exception.policies });
        self.out.effects.push(note);
        self.out.effects.push(Effect::Alert(Alert::Exception));
        Ok(())
    }

    /// A written reason, kept sealed outside the record.
    pub(super) fn note(&mut self, reason: Option<Secret>) -> Result<Effect, Rejected> {
        let text = reason.filter(|r| r.expose().trim().chars().count() >= 10).ok_or(Rejected::NoReason)?;
        Ok(Effect::Note { id: NoteId(self.random.id()), text })
    }

    fn decided(&mut self, agent: Option<AgentId>, action: &Action, decision: &crate::action::Decision) {
        let (level, policy) = (self.call.level, self.cx.policy.version().to_owned());
        self.emit(Event::Decided { agent, action: action.clone(), decision: decision.clone(), level, policy });
    }

    /// Asks policy on the record. An action that is only possible online sends the customer the
    /// way, to the contact on file (`ups_online_only`).
    fn request(&mut self, agent: AgentId, action: &Action) {
        let decision = self.decide(action, false);
        self.decided(Some(agent), action, &decision);
        let online = decision.outcome == Outcome::Refuse { way_out: WayOut::Online };
        let to = self.subject.as_ref().and_then(|b| b.notices.first().map(|n| OnFile { account: b.id, contact: n.contact }));
        let send = online && !self.call.sent_online.contains(action) && !self.refused(Deny::Online);
        if let (true, Some(to)) = (send, to) {
            let day = Some(Span::days(1));
            self.count(format!("online/{}", to.account), day, 5, Attempt::Failed, Deny::Online);
            self.send(to, Body::Online { action: action.clone() });
            self.emit(Event::SentOnline { action: action.clone() });
        }
    }

    /// Step-up in mid call: only along a plan that policy itself would accept.
    fn prove(&mut self, agent: AgentId, action: Option<Action>, factors: Vec<FactorKind>) -> Result<(), Rejected> {
        if self.call.disowned {
            return Err(Rejected::Disowned);
        }
        if self.call.challenge.is_some() || self.call.voice.is_going_on() {
            return Err(Rejected::Challenge);
        }
        self.call.principal.ok_or(Rejected::NoAccount)?;
        action.as_ref().map_or(Ok(()), writable)?;
        let usable = self.usable_kinds();
        let mut factors = factors.into_iter();
        let first = factors.next().ok_or(Rejected::NoFactor)?;
        let then: Vec<FactorKind> = factors.collect();
        if !usable.contains(&first) || then.iter().any(|k| !usable.contains(k)) || then.len() > 3 {
            return Err(Rejected::NoFactor);
        }
        self.challenge(first, action, then, Some(agent));
        Ok(())
    }

    fn perform(&mut self, agent: AgentId, change: Change, reason: Option<Secret>) -> Result<(), Rejected> {
        let account = self.call.subject.ok_or(Rejected::NoAccount)?;
        // Consent is given with a key of the caller's telephone, and by nobody at the desk.
        if matches!(change, Change::Voice(_) | Change::NoVoice) {
            return Err(Rejected::NotPermitted);
        }
        let action = change.action();
        writable(&action)?;
        let mut decision = self.decide(&action, false);
        let mut note = None;
        if !decision.permits() && reason.is_some() {
            let exception = self.decide(&action, true);
            if exception.permits() {
                note = Some(self.note(reason)?);
                decision = exception;
            }
        }
        self.decided(Some(agent), &action, &decision);
        let held = decision.outcome == Outcome::Refuse { way_out: WayOut::Held };
        if !decision.permits() && !held {
            return Ok(());
        }
        let id = ChangeId(self.random.id());
        let note_id = match &note {
            Some(Effect::Note { id, .. }) => Some(*id),
            _ => None,
        };
        if note.is_some() {
            self.out.effects.push(Effect::Alert(Alert::Exception));
        }
        self.out.effects.extend(note);
        if !held {
            self.out.effects.push(Effect::Change(PermittedChange { id, account, change }));
        }
        self.emit(Event::Performed { agent, action, change: id, held, note: note_id });
        Ok(())
    }

    fn ask_speak_for(&mut self, account_number: Secret) -> Result<(), Rejected> {
        if self.call.level < Level::Authenticated || self.call.delegate.is_some() {
            return Err(Rejected::NotProved);
        }
        if self.call.voice.is_going_on() {
            return Err(Rejected::Challenge);
        }
        self.tries_left()?;
        normalise(ClaimKind::AccountNumber, account_number.expose()).ok_or(Rejected::Unusable)?;
        let claim = Claim { kind: ClaimKind::AccountNumber, value: account_number, via: Via::Agent };
        self.out.ask = Some(Ask::Find { claim, purpose: Purpose::SpeakFor });
        Ok(())
    }

    /// The account that the caller wants to speak for was looked up. Whether it exists is not
    /// told: no delegation and no account are the same answer.
    pub(super) fn speak_for(&mut self, accounts: &[Brief]) -> Result<(), Rejected> {
        let (principal, (agent, _)) = self.call.principal.zip(self.call.agent).ok_or(Rejected::OutOfTurn)?;
        let now = self.now();
        // Whoever reported that a call was not theirs is not helped by another in their name.
        let frozen = self.call.frozen || self.principal.as_ref().is_none_or(|b| b.frozen);
        let delegation = accounts.iter().flat_map(|b| &b.delegations).find(|d| d.delegate == principal && d.until > now && !frozen).cloned();
        match delegation {
            Some(d) => {
                let subject = accounts.iter().find(|b| b.id == d.subject).cloned();
                self.follow_up();
                self.emit(Event::SpeaksFor { subject: d.subject, delegation: d.id, kind: d.kind, actions: d.actions });
                self.subject = subject;
            }
            None => self.emit(Event::SpeakRefused { agent }),
        }
        Ok(())
    }

    /// Starts again from nothing: claims, proofs and level go with the account.
    fn switch(&mut self, agent: AgentId, reason: Secret) -> Result<(), Rejected> {
        self.call.subject.ok_or(Rejected::NoAccount)?;
        let note = self.note(Some(reason))?;
        let Effect::Note { id, .. } = &note else { return Err(Rejected::NoReason) };
        let id = *id;
        self.call_off();
        self.follow_up();
        self.out.effects.push(note);
        self.out.effects.push(Effect::Alert(Alert::Switched));
        self.emit(Event::Switched { agent, note: id });
        self.emit(Event::LevelChanged { level: Level::Anonymous, expires: None, cause: LevelCause::Switch, policies: Vec::new() });
        (self.principal, self.subject) = (None, None);
        if self.call.stage == Stage::Proving {
            self.ask_for(Stage::Talking);
        }
        Ok(())
    }
}

/// What is asked about is kept for ever: only what has a spelling, and cannot hold what a person says.
fn writable(action: &Action) -> Result<(), Rejected> {
    if action.to_string().parse::<Action>().as_ref() == Ok(action) { Ok(()) } else { Err(Rejected::Unusable) }
}
