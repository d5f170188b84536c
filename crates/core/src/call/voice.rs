//! Voices on a call: consent, takes, comparisons. A signal: nothing here raises assurance, and nothing
//! here holds or makes a proof.

use super::{Call, Effect, Event, Rejected, Stage, Turn, ask::Ask};
use crate::{
    action::{Action, Level, Outcome as Decided, Request, Verb, WayOut},
    id::{AccountId, AgentId, ChangeId},
    message::{Change, PermittedChange},
    prompt::Prompt,
    voice::{Comparison, Enrolling, Fault, Learning, MAX_COMPARISONS, OnFile, Outcome, Quality, Settings, Sound, Stopped, TAKES},
};

impl Stage {
    /// Whether the caller is with the machine because of their voice.
    pub fn is_voice(self) -> bool { matches!(self, Self::VoiceConsent) || self.is_listening() }
    /// Whether the caller is asked to say something that is listened to.
    pub fn is_listening(self) -> bool { matches!(self, Self::VoiceTaking | Self::VoiceSaying | Self::VoiceDigits) }
}

impl Call {
    /// What is about voices, as part of [`Call::apply`].
    pub(super) fn apply_voice(&mut self, event: &Event) {
        match event {
            Event::VoiceOffered { agent, text, tries } => {
                self.voice.enrolling = Some(Enrolling { agent: *agent, text: text.clone(), consented: false, taken: 0, left: *tries });
                self.stage = Stage::VoiceConsent;
            }
            Event::VoiceConsented { .. } => {
                if let Some(enrolling) = &mut self.voice.enrolling {
                    enrolling.consented = true;
                }
                self.stage = Stage::VoiceTaking;
            }
            Event::VoiceTake { fault, .. } => {
                if let Some(enrolling) = &mut self.voice.enrolling {
                    enrolling.left = enrolling.left.saturating_sub(1);
                    enrolling.taken += u8::from(fault.is_none());
                }
            }
            Event::VoiceEnrolled { held, .. } => {
                self.settled = true;
                self.performed.push((Action::new(Verb::Change, "voice"), *held));
                self.heard_out();
            }
            Event::VoiceAsked { lang, .. } => {
                self.voice.asking = Some(*lang);
                self.voice.asked = self.voice.asked.saturating_add(1);
                self.voice.stopped = false;
                self.stage = Stage::VoiceSaying;
            }
            Event::VoiceCompared { comparison, digits, .. } => {
                // A good word is none before the digits were said. Any other counts at once.
                match comparison.outcome {
                    Outcome::Alike if *digits => self.voice.phrase_alike = true,
                    outcome => self.voice.settle(outcome),
                }
                if comparison.outcome.is_alarm() {
                    self.voice.alarm = Some(comparison.outcome);
                }
                self.heard_out();
            }
            Event::VoiceStopped { .. } => {
                let compares = self.voice.saying.as_ref().is_some_and(|saying| saying.learning.is_none());
                if self.voice.asking.is_some() || compares {
                    self.voice.leave();
                } else {
                    self.voice.stopped = false;
                }
                self.heard_out();
            }
            Event::VoiceRemoved { .. } => self.settled = true,
            _ => {}
        }
    }

    /// Under duress a voice only looks kept, and goes on looking so until the end of the call.
    pub(crate) fn voice_looks_kept(&self) -> bool { self.performed.iter().any(|(action, held)| *held && action.object == "voice") }

    /// Another account is meant, or nobody's: what was compared says nothing about it.
    pub(super) fn forget_voice(&mut self) {
        self.heard_out();
        self.voice.forget();
    }

    /// Nobody listens any more: the caller is with their agent again.
    pub(super) fn heard_out(&mut self) {
        (self.voice.enrolling, self.voice.asking, self.voice.saying) = (None, None, None);
        if self.stage.is_voice() {
            self.stage = Stage::Talking;
        }
    }
}

impl Turn<'_, '_> {
    /// The caller can be heard, speaks for themselves, and is with the agent and nothing else.
    fn listening(&self) -> Result<(&Settings, AccountId), Rejected> {
        let settings = self.cx.params.voice.as_ref().filter(|s| s.hears(&self.call.adapter)).ok_or(Rejected::NoVoice)?;
        if self.call.disowned {
            return Err(Rejected::Disowned);
        }
        if self.call.stage != Stage::Talking || self.call.challenge.is_some() {
            return Err(Rejected::Challenge);
        }
        let account = self.call.principal.filter(|id| self.call.subject == Some(*id)).ok_or(Rejected::NoAccount)?;
        if self.call.delegate.is_some() { Err(Rejected::NotPermitted) } else { Ok((settings, account)) }
    }

    /// Whether a voice may come on file now. `Some(true)`: it only looks so.
    pub(super) fn may_enrol(&self) -> Option<bool> {
        // Who has defrauded somebody may have proved everything.
        if self.call.level < Level::Strong || self.call.principal != self.call.subject || self.call.fraud {
            return None;
        }
        match self.decide(&Action::new(Verb::Change, "voice"), false).outcome {
            Decided::Permit => Some(false),
            Decided::Refuse { way_out: WayOut::Held } => Some(true),
            Decided::StepUp { .. } | Decided::Refuse { .. } => None,
        }
    }

    /// Whether this speaker's voice is on file now.
    pub(super) fn voice_on_file(&self, account: AccountId) -> bool { self.principal.as_ref().is_some_and(|b| b.id == account && b.voice.is_some()) }

    /// Has the text of consent read out. Only a caller who proved who they are with two kinds of proofs
    /// is asked at all: whoever enrols in another's name is heard as them for years.
    pub(super) fn enrol_voice(&mut self, agent: AgentId) -> Result<(), Rejected> {
        let (settings, _) = self.listening()?;
        let (text, tries) = (settings.text.clone(), settings.tries.max(TAKES));
        if self.call.level < Level::Strong {
            return Err(Rejected::NotStrong);
        }
        self.may_enrol().ok_or(Rejected::NotPermitted)?;
        self.emit(Event::VoiceOffered { agent, text, tries });
        Ok(())
    }

    /// Has the caller say the phrase. Never without consent: without a voice on file there is nothing to
    /// compare with, and it came there by consent alone.
    pub(super) fn ask_voice(&mut self, agent: AgentId) -> Result<(), Rejected> {
        let (_, account) = self.listening()?;
        // Whom it is compared with is settled by two things that were said, or by a proof: nobody looks a
        // voice up.
        if !self.call.opened() {
            return Err(Rejected::NoAccount);
        }
        let looks = self.call.voice_looks_kept().then(|| self.call.language());
        let lang = self.principal.as_ref().filter(|b| b.id == account).and_then(|b| b.voice).or(looks).ok_or(Rejected::NoVoice)?;
        if self.call.voice.asked >= MAX_COMPARISONS {
            return Err(Rejected::NoTriesLeft);
        }
        let action = Action::new(Verb::Use, "voice");
        let facts = self.call.facts(self.subject.as_ref(), &action);
        if !self.cx.policy.decide(&Request { actor: self.actor(), action: &action, facts: &facts }).permits() {
            return Err(Rejected::NotPermitted);
        }
        self.emit(Event::VoiceAsked { agent, account, lang });
        Ok(())
    }

    /// Consent withdrawn: as easy as it was given, so that no proof is asked for. Whoever has this done
    /// in another's name takes a signal away that opens nothing.
    pub(super) fn remove_voice(&mut self, agent: AgentId) -> Result<(), Rejected> {
        let account = self.call.subject.filter(|_| self.call.opened() && self.call.delegate.is_none()).ok_or(Rejected::NoAccount)?;
        if self.call.voice.is_going_on() {
            return Err(Rejected::Challenge);
        }
        if self.subject.as_ref().is_some_and(|b| b.id == account && b.voice.is_some()) {
            let id = ChangeId(self.random.id());
            self.out.effects.push(Effect::Change(PermittedChange { id, account, change: Change::NoVoice }));
        } else if !self.call.voice_looks_kept() {
            return Err(Rejected::NoVoice);
        }
        self.emit(Event::VoiceRemoved { agent, account });
        Ok(())
    }

    /// Keys of the caller while they are with the machine because of their voice.
    pub(super) fn voice_keys(&mut self, text: &str) {
        match (self.call.stage, text) {
            (Stage::VoiceConsent, "1") => match (self.call.principal, self.call.voice.enrolling.clone()) {
                (Some(account), Some(enrolling)) => {
                    let lang = self.call.language();
                    self.emit(Event::VoiceConsented { account, text: enrolling.text, lang });
                }
                _ => self.stop_voice(Stopped::CallMoved),
            },
            // The alternative is what there was before: the agent asks for something else, or for nothing.
            (Stage::VoiceConsent, "2" | "0" | "*") | (_, "*" | "0") => self.stop_voice(Stopped::Declined),
            (Stage::VoiceConsent, _) => self.no_keys(),
            // Keys are no speech: the phrase is asked for again.
            _ => {}
        }
    }

    /// The caller said something, when they were asked to.
    pub(super) fn recorded(&mut self, sound: Sound) -> Result<(), Rejected> {
        let account = self.call.principal.filter(|id| self.call.subject == Some(*id));
        match self.call.stage {
            Stage::VoiceTaking => {
                // Asked again at every take: assurance may be over, or the account frozen by now.
                let (Some(account), Some(held), Some(enrolling)) = (account, self.may_enrol(), self.call.voice.enrolling.as_ref().filter(|e| e.consented)) else {
                    self.stop_voice(Stopped::NotPermitted);
                    return Ok(());
                };
                let until = self.until();
                self.out.ask = Some(Ask::VoiceTake { call: self.call.id, account, taken: enrolling.taken, held, until, sound });
            }
            Stage::VoiceSaying => {
                let Some(account) = account.filter(|account| self.voice_on_file(*account) && !self.call.frozen) else {
                    self.stop_voice(Stopped::NotPermitted);
                    return Ok(());
                };
                // What somebody says under threat, on a frozen account or in a fraud is nothing to learn from.
                let calm = !self.call.duress && !self.call.disowned && !self.call.fraud && self.principal.as_ref().is_some_and(|b| !b.frozen);
                let heard_otherwise = self.call.voice.alarm.is_some() || self.call.voice.last == Some(Outcome::OtherDigits);
                let learn = calm && self.call.level >= Level::Authenticated && !heard_otherwise;
                self.out.ask = Some(Ask::VoiceCompare { call: self.call.id, account, learn, sound });
            }
            Stage::VoiceDigits => self.said_digits(account, sound),
            _ => return Err(Rejected::OutOfTurn),
        }
        Ok(())
    }

    fn until(&self) -> crate::time::Timestamp {
        let life = self.cx.params.voice.as_ref().map(|s| s.life).unwrap_or_default();
        self.now() + life
    }

    /// A take was looked at.
    pub(super) fn voice_taken(&mut self, fault: Option<Fault>, quality: Quality, held: bool) -> Result<(), Rejected> {
        let account = self.call.principal.ok_or(Rejected::OutOfTurn)?;
        self.emit(Event::VoiceTake { fault, quality });
        let Some(enrolling) = self.call.voice.enrolling.clone() else { return Err(Rejected::OutOfTurn) };
        if enrolling.taken >= TAKES {
            let (until, change, lang) = (self.until(), ChangeId(self.random.id()), self.call.language());
            if !held {
                let on_file = OnFile { since: self.now(), until, text: enrolling.text, lang };
                self.out.effects.push(Effect::Change(PermittedChange { id: change, account, change: Change::Voice(on_file) }));
            }
            self.emit(Event::VoiceEnrolled { account, change, until, held });
            if !self.learn_digits(account, held) {
                self.say(Prompt::VoiceKept);
                self.say(Prompt::BackToAgent);
            }
            return Ok(());
        }
        if enrolling.left < TAKES - enrolling.taken || fault == Some(Fault::Failed) {
            self.stop_voice(Stopped::Tries);
            return Ok(());
        }
        self.say(match fault {
            None => Prompt::VoiceOnceMore,
            Some(fault) => Prompt::about(fault),
        });
        Ok(())
    }

    /// A voice was compared. The caller hears the same whatever came of it.
    pub(super) fn voice_compared(&mut self, comparison: Comparison, digits: bool) -> Result<(), Rejected> {
        let account = self.call.principal.ok_or(Rejected::OutOfTurn)?;
        let lang = self.call.voice.asking.unwrap_or_else(|| self.call.language());
        let proved = self.call.level >= Level::Authenticated;
        let digits = digits && self.wants_digits();
        self.emit(Event::VoiceCompared { account, comparison, proved, digits });
        if digits {
            self.ask_digits(account, lang);
        } else {
            self.say(Prompt::BackToAgent);
        }
        Ok(())
    }

    /// Nobody listens any more, and there is nothing of it.
    pub(super) fn stop_voice(&mut self, why: Stopped) {
        if !self.call.voice.is_going_on() {
            return;
        }
        let learning = self.call.voice.saying.as_ref().and_then(|saying| saying.learning);
        let on_file = self.principal.as_ref().is_some_and(|brief| brief.voice.is_some()) && !self.call.frozen;
        self.emit(Event::VoiceStopped { why });
        match why {
            Stopped::CallMoved => return,
            // The voice is on file; only its digits are not.
            _ if learning.is_some_and(|Learning { held, .. }| held || on_file) => self.say(Prompt::VoiceKept),
            Stopped::Declined => self.say(Prompt::VoiceAsYouLike),
            Stopped::NotHeard | Stopped::Tries | Stopped::AgentLeft | Stopped::NotPermitted => self.say(Prompt::VoiceNotNow),
        }
        self.say(Prompt::BackToAgent);
    }
}
