//! The call machine. [`Call::step`] is the only way in which a call moves.
//!
//! A step never writes a field: it emits events, and each event is applied to the state the moment
//! it is emitted. So the state is the fold of the events by construction, and nothing can happen
//! that the record does not hold.

mod ask;
mod desk;
mod digits;
mod directives;
mod elsewhere;
mod event;
mod guard;
mod input;
mod ivr;
mod prove;
mod routing;
mod stage;
mod state;
mod tighten;
mod voice;
#[cfg(test)]
mod tests;

pub use self::{
    ask::{Answer, Ask, Purpose},
    event::{Closed, EVENT_VERSION, Event, LevelCause, Recorded, encode},
    guard::{Attempt, Check, Deny, Guard},
    input::{
        Alert, Approval, Command, Cx, Effect, Input, Outputs, Params, Rejected,
    },
    prove::usable_kinds,
    stage::{Ending, Origin, Queue, Stage},
    state::{Call, Challenge, Link, Proven, SpeaksFor},
};
use crate::{
    id::{AccountId, ContactId, MessageId},
    account::Brief,
    action::{Action, Actor, Decision, Field, Level, Outcome, Request, Verb, WayOut},
    claim::Via,
    identify::{self, Agreement, ClaimRecord},
    message::{Body, Message, OnFile},
    prompt::Prompt,
    random::Random,
    secret::Secret,
    time::Timestamp,
    voice::Stopped,
};

/// Claims and comparisons that fit nothing, per call, before no more are taken (`retailer_gives_email`).
pub const MAX_MISSES: u32 = 5;

impl Call {
    /// Takes one input and says what follows. Nothing is changed and nothing comes out when it is
    /// rejected.
    ///
    /// If `out.ask` is set, the step is not complete: answer it with [`Input::Answer`] on the state
    /// that was returned, and commit all that came out, in order, when nothing is asked any more.
    ///
    /// If the store refuses the commit because of a guard, nothing of it happened: the same input is
    /// taken again, from the state before it, with the guard's [`Deny`] added to [`Cx::refused`].
    pub fn step(self, input: Input, cx: &Cx<'_>, out: &mut Outputs) -> Result<Self, Rejected> {
        let mut new = Outputs::default();
        let (fresh, before) = (self.n == 0, self.subject);
        let over = self.patience(cx.params).is_some_and(|at| at <= cx.now);
        let mut turn = Turn {
            random: Random::new(cx.seed), principal: cx.principal.cloned(), subject: cx.subject.cloned(), call: self, cx, out: &mut new, over,
            life: cx.params.challenge_life,
        };
        turn.take(input)?;
        if turn.out.ask.is_none() {
            turn.rescore();
            turn.reroute();
            turn.out.ask = turn.wants_history(fresh, before);
        }
        let call = turn.call;
        out.events.append(&mut new.events);
        out.effects.append(&mut new.effects);
        out.guards.append(&mut new.guards);
        out.say.append(&mut new.say);
        out.ask = new.ask;
        Ok(call)
    }
}

/// One step under way.
struct Turn<'a, 'cx> {
    call: Call,
    cx: &'a Cx<'cx>,
    out: &'a mut Outputs,
    random: Random,
    principal: Option<Brief>,
    subject: Option<Brief>,
    /// The call had been left alone for too long before this step.
    over: bool,
    /// Life of a challenge that begins in this step.
    life: crate::time::Span,
}

impl Turn<'_, '_> {
    fn take(&mut self, input: Input) -> Result<(), Rejected> {
        let begun = self.call.n > 0;
        self.lapse();
        match input {
            Input::Incoming { .. } | Input::Backchannel { .. } | Input::Device { .. } | Input::CallOut { .. } | Input::RingBack { .. } if begun => Err(Rejected::Begun),
            Input::Incoming { adapter, number, verstat, denied, accounts, dialled } => {
                self.begin(adapter, number, verstat, denied, accounts, dialled);
                Ok(())
            }
            Input::Backchannel { client, kind, accounts, factor, life } => {
                self.life = life.map_or(self.life, |life| life.min(self.life));
                self.begin_remote(client, kind, &accounts, factor);
                Ok(())
            }
            Input::Device { client } => {
                self.begin_device(client);
                Ok(())
            }
            Input::CallOut { adapter, account, contact, agent, matter } => self.begin_call_out(&adapter, account, contact, agent, matter),
            Input::RingBack { adapter, account, contact, of } => self.begin_ring_back(&adapter, account, contact, of),
            _ if !begun => Err(Rejected::OutOfTurn),
            // A report on a message may well come after the end, and a hang-up twice.
            Input::Delivered { message, delivery } => {
                self.delivered(message, delivery);
                Ok(())
            }
            Input::Marked { agent, role, fraud, reason } => self.marked(agent, role, fraud, reason),
            Input::HungUp if self.call.stage == Stage::Ended => Ok(()),
            _ if self.call.stage == Stage::Ended => Err(Rejected::Ended),
            Input::Keys(keys) => self.keys(&keys),
            Input::Heard(heard) => self.heard(&heard),
            Input::NoKeys => {
                self.no_keys();
                Ok(())
            }
            Input::Recorded(sound) => self.recorded(sound),
            Input::HungUp => {
                self.end(Ending::Caller);
                Ok(())
            }
            Input::Desk { agent, role, command } => self.desk(agent, role, command),
            Input::Tick => {
                self.tick();
                Ok(())
            }
            Input::AccountFrozen => {
                if !self.call.frozen {
                    self.emit(Event::AccountFrozen);
                }
                Ok(())
            }
            Input::Signals(number) => {
                self.signalled(number);
                Ok(())
            }
            Input::Answered => self.answered(),
            Input::Approval { account, challenge, reply } => self.approval(account, challenge, reply),
            Input::Linked { account, code } => self.linked(account, &code),
            Input::Provided { challenge, answer } => self.provided(challenge, answer),
            Input::Collected => {
                self.end(Ending::Collected);
                Ok(())
            }
            Input::Answer(answer) => self.answer(answer),
        }
    }

    /// Assurance ends with its time, whether or not the clock has come by.
    fn lapse(&mut self) {
        if self.call.stage != Stage::Ended && self.call.level_expires.is_some_and(|at| at <= self.now()) {
            let level = self.call.fallen();
            self.emit(Event::LevelChanged { level, expires: None, cause: LevelCause::Expiry, policies: Vec::new() });
        }
    }

    fn answer(&mut self, answer: Answer) -> Result<(), Rejected> {
        let (stage, desk) = (self.call.stage, self.call.agent.is_some());
        let awaited = match &answer {
            Answer::Found { via: Via::Keypad, .. } => matches!(stage, Stage::KeyingAccountNumber | Stage::KeyingPostalCode),
            Answer::Found { via, .. } => desk && *via == Via::Agent,
            Answer::Compared { .. } => desk,
            Answer::Verified(_) => self.call.challenge.as_ref().is_some_and(|c| c.hash.is_none()),
            Answer::Redeemed { .. } => matches!(stage, Stage::KeyingServiceCode | Stage::KeyingToken),
            Answer::VoiceTaken { .. } => stage == Stage::VoiceTaking,
            Answer::VoiceCompared { .. } => stage == Stage::VoiceSaying,
            Answer::DigitsTaken { .. } | Answer::DigitsChecked(_) => stage == Stage::VoiceDigits,
            Answer::History { .. } => true,
        };
        if !awaited {
            return Err(Rejected::OutOfTurn);
        }
        match answer {
            Answer::Found { kind, via, purpose: Purpose::Identify, accounts, look_alike } => {
                self.found(kind, via, accounts, look_alike);
                Ok(())
            }
            Answer::Found { purpose: Purpose::SpeakFor, accounts, .. } => self.speak_for(&accounts),
            Answer::Compared { field, matched } => self.compared(field, matched),
            Answer::Verified(verdict) => self.verified(verdict),
            Answer::Redeemed { verdict, account } => {
                self.redeemed(verdict, account);
                Ok(())
            }
            Answer::VoiceTaken { fault, quality, held } => self.voice_taken(fault, quality, held),
            Answer::VoiceCompared { comparison, digits } => self.voice_compared(comparison, digits),
            Answer::DigitsTaken { fault, quality } => self.digits_taken(fault, quality),
            Answer::DigitsChecked(checked) => self.digits_checked(checked),
            Answer::History { history, dialled } => {
                self.history(history);
                if self.call.stage == Stage::Ringing {
                    self.pick_up(dialled);
                }
                Ok(())
            }
        }
    }

    /// The only place where events come from.
    fn emit(&mut self, event: Event) {
        let recorded = Recorded { v: EVENT_VERSION, n: self.call.n + 1, at: self.cx.now, event };
        self.call.apply(&recorded);
        self.out.events.push(recorded);
    }

    fn say(&mut self, prompt: Prompt) { self.out.say.push(prompt); }

    fn ask_for(&mut self, stage: Stage) { self.emit(Event::Asked { stage }); }

    fn guard(&mut self, check: Check, deny: Deny) { self.out.guards.push(Guard { check, deny }); }

    /// Whether the store refused this very input because of this limit.
    fn refused(&self, deny: Deny) -> bool { self.cx.refused.contains(&deny) }

    fn now(&self) -> Timestamp { self.cx.now }

    /// Who acts on this call now.
    fn actor(&self) -> Actor {
        match self.call.agent {
            Some((id, role)) => Actor::Agent { id, role },
            None => Actor::SelfService,
        }
    }

    /// Asks policy, without recording it.
    fn decide(&self, action: &Action, with_reason: bool) -> Decision {
        let mut facts = self.call.facts_for(self.cx.policy, self.actor(), self.subject.as_ref(), action);
        facts.with_reason = with_reason;
        let decision = self.cx.policy.decide(&Request { actor: self.actor(), action, facts: &facts });
        if decision.outcome != (Outcome::Refuse { way_out: WayOut::Held }) {
            return decision;
        }
        // Only what would have been permitted can look accepted: the rest is refused as ever.
        facts.duress = false;
        let calm = self.cx.policy.decide(&Request { actor: self.actor(), action, facts: &facts });
        if calm.permits() { decision } else { calm }
    }

    /// Where the call came from, for limits that must not be turned against the customer: a
    /// stranger's line has its own count.
    fn origin(&self) -> String {
        match (&self.call.origin, self.call.number) {
            (Origin::Client(name), _) => format!("client:{name}"),
            (_, Some(blind)) => hex::encode(blind.0),
            (Origin::CallBack(contact) | Origin::Desk { contact, .. } | Origin::RingBack { contact, .. }, None) => contact.to_string(),
            (Origin::Caller, None) => "withheld".to_owned(),
        }
    }

    /// Counts one attempt within a window, under a key that names what is protected.
    fn count(&mut self, key: String, window: Option<crate::time::Span>, max: u32, outcome: Attempt, deny: Deny) {
        self.guard(Check::Attempt { key, window, max, outcome }, deny);
    }

    /// Takes the claims together and settles whose account this is, by the house rule.
    fn settle(&mut self, found: &[Brief]) {
        // Claims say who is speaking, and about somebody who speaks for another that is settled.
        if self.call.delegate.is_some() {
            return;
        }
        let (id, agreed) = match identify::agree(&self.call.claims) {
            Agreement::Nobody => return,
            Agreement::Recognised(id) => (id, false),
            Agreement::Agreed(id) => (id, true),
            // The number's word alone does not stand against two things the caller said.
            Agreement::Unclear => match identify::agree(&self.said()) {
                Agreement::Agreed(id) => (id, true),
                Agreement::Nobody | Agreement::Unclear | Agreement::Recognised(_) => return,
            },
        };
        let brief = || found.iter().find(|b| b.id == id).cloned();
        match self.call.subject {
            None => self.identified(id, agreed, None, brief()),
            Some(subject) if subject == id => {
                if agreed && !self.call.agreed {
                    let known = self.subject.clone();
                    self.identified(id, true, None, known);
                }
            }
            // What was misheard was said again, and the call follows, as long as nothing was open.
            Some(subject) => {
                if !self.fixed() {
                    self.identified(id, agreed, Some(subject), brief());
                }
            }
        }
    }

    /// The claims that somebody made, as opposed to what the network signalled.
    fn said(&self) -> Vec<ClaimRecord> { self.call.claims.iter().filter(|c| c.via != Via::Network).cloned().collect() }

    /// Claims cannot move the call to another account any more.
    fn fixed(&self) -> bool { self.call.settled || self.call.challenge.is_some() }

    fn identified(&mut self, account: AccountId, agreed: bool, instead_of: Option<AccountId>, brief: Option<Brief>) {
        if instead_of.is_some() {
            self.follow_up();
        }
        self.emit(Event::Identified { account, agreed, instead_of });
        // Never the brief of the account before: what is not known is missing, and refused.
        let brief = brief.filter(|b| b.id == account);
        (self.principal, self.subject) = (brief.clone(), brief);
        if self.call.level < Level::Identified {
            self.emit(Event::LevelChanged { level: Level::Identified, expires: None, cause: LevelCause::Identification, policies: Vec::new() });
        }
    }

    fn tick(&mut self) {
        // First of all: a caller who is long gone is asked for nothing more.
        if self.over {
            let ending = match self.call.stage {
                Stage::Waiting => Ending::NobodyFree,
                Stage::Dialing | Stage::Confirming => Ending::NotReached,
                Stage::Remote => Ending::Unanswered,
                _ => Ending::Silence,
            };
            self.say(if ending == Ending::NobodyFree { Prompt::NobodyFree } else { Prompt::Goodbye });
            self.end(ending);
        } else if self.call.challenge.as_ref().is_some_and(|c| c.expires <= self.now()) {
            self.close_challenge(Closed::Expired);
        } else if self.call.link.as_ref().is_some_and(|l| l.expires <= self.now()) {
            self.close_link(Closed::Expired);
            match self.call.stage {
                Stage::Remote => self.end(Ending::Unanswered),
                Stage::Linking => self.after_service_code(),
                _ => {}
            }
        }
    }

    fn delivered(&mut self, message: MessageId, delivery: crate::message::Delivery) {
        use crate::message::Delivery;
        self.emit(Event::Delivered { message, delivery });
        let ours = self.call.challenge.as_ref().is_some_and(|c| c.message == Some(message));
        if ours && delivery == Delivery::Failed {
            self.close_challenge(Closed::NotDelivered);
        }
        // Nobody knows whether it rang: nobody answers either way, and it is not rung twice.
        if self.call.ring == Some(message) && self.call.stage == Stage::Dialing && matches!(delivery, Delivery::Failed | Delivery::Unknown) {
            self.end(Ending::NotReached);
        }
    }

    fn end(&mut self, ending: Ending) {
        self.call_off();
        self.follow_up();
        self.emit(Event::Ended { ending });
    }

    /// Tells the customer what was done for this account, if anything sensitive was
    /// (`security_follow_up`): before the call ends or moves on to another account.
    fn follow_up(&mut self) {
        // What only looks carried out is not told as done.
        let actions: Vec<Action> = self.call.performed.iter().filter(|(_, held)| !held).map(|(action, _)| action.clone()).collect();
        let subject = self.subject.as_ref().filter(|b| self.call.subject == Some(b.id));
        let Some((account, notices)) = subject.map(|b| (b.id, b.notices.clone())) else { return };
        // The contact point in force, and the one before it if it was replaced lately.
        let present = notices.iter().find(|n| !n.former);
        let to: Vec<ContactId> = present.into_iter().chain(notices.iter().find(|n| n.former)).map(|n| n.contact).collect();
        if to.is_empty() || !actions.iter().any(Action::is_sensitive) {
            return;
        }
        let token = Secret::new(hex::encode(self.random.block()));
        self.out.effects.push(Effect::ReportLink { token: token.clone(), account });
        for contact in to {
            let body = Body::Summary { actions: actions.clone(), report: token.clone() };
            self.send(OnFile { account, contact }, body);
        }
        self.emit(Event::SummarySent { actions });
    }

    /// An open challenge does not survive that the call ends or changes hands.
    fn call_off(&mut self) {
        self.stop_voice(Stopped::CallMoved);
        if let Some(id) = self.call.challenge.as_ref().map(|c| c.id) {
            self.emit(Event::ChallengeClosed { challenge: id, why: Closed::CallMoved });
        }
        self.close_link(Closed::CallMoved);
    }

    fn send(&mut self, to: OnFile, body: Body) -> MessageId {
        let id = MessageId(self.random.id());
        let lang = self.subject.as_ref().and_then(|b| b.language).unwrap_or_else(|| self.call.language());
        self.out.effects.push(Effect::Send(Message { id, to, lang, body }));
        id
    }

    /// The day of the upcoming thing, if policy lets it be spoken now.
    fn upcoming(&self) -> Option<Timestamp> {
        let action = Action::on(Verb::Speak, Field::Upcoming);
        let day = self.subject.as_ref()?.upcoming?;
        self.decide(&action, false).permits().then_some(day)
    }
}

/// The day of what is upcoming, if policy lets it be spoken to this caller: what
/// [`Call::directives`] needs beside the state.
pub fn speakable_upcoming(call: &Call, subject: Option<&Brief>, policy: &dyn crate::action::Policy) -> Option<Timestamp> {
    let action = Action::on(Verb::Speak, Field::Upcoming);
    let day = subject?.upcoming?;
    let facts = call.facts(subject, &action);
    policy.decide(&Request { actor: Actor::SelfService, action: &action, facts: &facts }).permits().then_some(day)
}
