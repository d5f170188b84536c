//! Digits that are drawn anew each time and said after the phrase, against recordings of an earlier
//! call. Learnt when a voice is enrolled, compared when one is compared. As with the phrase, nothing here
//! raises assurance: right digits leave the word of the comparison as it is, others take it away.

use super::{Call, Event, Rejected, Stage, Turn, ask::Ask};
use crate::{
    action::Level,
    id::AccountId,
    prompt::{Lang, Prompt},
    voice::{Checked, Fault, Learning, Outcome, Quality, ROW_TRIES, ROWS, Row, Saying, Sound, Stopped},
};

impl Call {
    /// What is about digits, as part of [`Call::apply`].
    pub(super) fn apply_digits(&mut self, event: &Event) {
        match event {
            Event::DigitsAsked { saying, .. } => {
                self.voice.saying = Some(saying.clone());
                self.stage = Stage::VoiceDigits;
            }
            Event::DigitsTake { fault, .. } => {
                if let Some(learning) = self.voice.saying.as_mut().and_then(|saying| saying.learning.as_mut()) {
                    learning.left = learning.left.saturating_sub(1);
                    learning.taken = learning.taken.saturating_add(u8::from(fault.is_none()));
                }
            }
            Event::DigitsChecked { again: true, .. } => {}
            Event::DigitsChecked { checked, .. } => {
                // Where the phrase was not alike, or could not be compared, that stays the word.
                if std::mem::take(&mut self.voice.phrase_alike) {
                    self.voice.settle(checked.outcome);
                }
                self.heard_out();
            }
            Event::DigitsKept { .. } => self.heard_out(),
            _ => {}
        }
    }
}

impl Turn<'_, '_> {
    pub(super) fn wants_digits(&self) -> bool { self.cx.params.voice.as_ref().is_some_and(|settings| settings.digits) }

    /// A voice was put on file: learns how it says digits, if that is set up. Says whether it does.
    pub(super) fn learn_digits(&mut self, account: AccountId, held: bool) -> bool {
        if !self.wants_digits() {
            return false;
        }
        let learning = Learning { taken: 0, left: ROW_TRIES, held };
        self.say(Prompt::VoiceDigitsToo);
        self.ask_both(account, self.call.language(), learning);
        true
    }

    fn ask_both(&mut self, account: AccountId, lang: Lang, learning: Learning) {
        let (row, next) = Row::both(&mut self.random);
        self.emit(Event::DigitsAsked { account, saying: Saying { row, next: Some(next), lang, learning: Some(learning), again: false } });
    }

    /// The phrase was said to be compared: asks for digits, whatever came of it. Whoever tries out a
    /// forgery would learn from not being asked.
    pub(super) fn ask_digits(&mut self, account: AccountId, lang: Lang) {
        let row = Row::drawn(&mut self.random);
        self.say(Prompt::VoiceDigitsToo);
        self.emit(Event::DigitsAsked { account, saying: Saying { row, next: None, lang, learning: None, again: false } });
    }

    /// The caller said digits, or something else.
    pub(super) fn said_digits(&mut self, account: Option<AccountId>, sound: Sound) {
        let asked = account.zip(self.call.voice.saying.clone());
        // Asked again at every answer: assurance may be over, the account frozen, or the voice taken back.
        let holds = |account: AccountId, saying: &Saying| match saying.learning {
            Some(Learning { held, .. }) => self.may_enrol().is_some() && (held || self.voice_on_file(account)),
            None => self.voice_on_file(account) && !self.call.frozen,
        };
        let Some((account, Saying { row, learning, .. })) = asked.filter(|(account, saying)| holds(*account, saying)) else {
            self.stop_voice(Stopped::NotPermitted);
            return;
        };
        let seed = self.random.block().iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte));
        self.out.ask = Some(Ask::VoiceDigits { call: self.call.id, account, row, learning, seed, sound });
    }

    /// An answer was learnt from, or not.
    pub(super) fn digits_taken(&mut self, fault: Option<Fault>, quality: Quality) -> Result<(), Rejected> {
        let account = self.call.principal.ok_or(Rejected::OutOfTurn)?;
        self.emit(Event::DigitsTake { fault, quality });
        let Some(saying) = self.call.voice.saying.clone() else { return Err(Rejected::OutOfTurn) };
        let Some(learning) = saying.learning else { return Err(Rejected::OutOfTurn) };
        if learning.taken >= ROWS {
            self.emit(Event::DigitsKept { account, held: learning.held });
            self.say(Prompt::VoiceKept);
            self.say(Prompt::BackToAgent);
            return Ok(());
        }
        if learning.left < ROWS - learning.taken || fault == Some(Fault::Failed) {
            self.stop_voice(Stopped::Tries);
            return Ok(());
        }
        match (fault, saying.next) {
            (None, Some(row)) => {
                self.say(Prompt::VoiceThanks);
                self.emit(Event::DigitsAsked { account, saying: Saying { row, next: None, ..saying } });
            }
            (None, None) => {
                self.say(Prompt::VoiceThanks);
                self.ask_both(account, saying.lang, learning);
            }
            (Some(fault), _) => self.say(Prompt::about(fault)),
        }
        Ok(())
    }

    /// Digits were compared. Of the right people one in some dozens is not understood, so that others are
    /// asked for once; apart from that the caller hears the same whatever came of it.
    pub(super) fn digits_checked(&mut self, checked: Checked) -> Result<(), Rejected> {
        let account = self.call.principal.ok_or(Rejected::OutOfTurn)?;
        let Some(saying) = self.call.voice.saying.clone() else { return Err(Rejected::OutOfTurn) };
        let again = !saying.again && !matches!(checked.outcome, Outcome::Alike | Outcome::Failed);
        let proved = self.call.level >= Level::Authenticated;
        self.emit(Event::DigitsChecked { account, checked, again, proved });
        if again {
            let row = Row::drawn(&mut self.random);
            self.say(Prompt::VoiceOnceMore);
            self.emit(Event::DigitsAsked { account, saying: Saying { row, again, ..saying } });
        } else {
            self.say(Prompt::BackToAgent);
        }
        Ok(())
    }
}
