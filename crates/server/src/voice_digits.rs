//! Digits that are asked for after the phrase: learnt beside the template, and compared with what was
//! learnt. They lie in the template's own document, so that whatever takes a voice off the file takes
//! them with it. What only looks kept lies with the takes of its call instead, and goes with that.

use countersign_core::{
    call::Answer,
    id::{AccountId, CallId},
    voice::{Checked, Fault, Learning, Outcome, Quality, ROWS, Row, Sound},
};
use countersign_store::{DocWrite, Expect};
use countersign_voice::{Audio, Digits, DigitsTake, DigitsVerdict};
use zeroize::Zeroizing;

use crate::{
    runner::{RunError, Runner},
    voice::{Opened, TAKES, TAKES_LIFE, TEMPLATE, Voices, fault, kept, told, unusable},
};

/// What was said when digits were asked for.
pub(crate) struct Said {
    /// On which call.
    pub call: CallId,
    /// Whose voice it is about.
    pub account: AccountId,
    /// What was asked for.
    pub row: Row,
    /// They are learnt.
    pub learning: Option<Learning>,
    /// Draws what they are compared with.
    pub seed: u64,
    /// The answer.
    pub sound: Sound,
}

/// Whether every digit was learnt, so that any can be asked for.
pub(crate) fn are_whole(bytes: Option<&[u8]>) -> bool { bytes.and_then(|bytes| Digits::from_bytes(bytes).ok()).is_some_and(|digits| digits.is_complete()) }

impl Voices {
    /// Learns one row beside those before; the last one has to make them whole.
    fn learn_row(&self, before: Option<&[u8]>, row: Row, last: bool, sound: &Sound) -> (Result<Zeroizing<Vec<u8>>, Fault>, Quality) {
        let digits = before.map_or(Some(Digits::default()), |bytes| Digits::from_bytes(bytes).ok());
        let (Some(mut digits), Ok(audio)) = (digits, Audio::from_pcm16(sound.expose())) else { return (Err(Fault::Failed), Quality::default()) };
        let quality = told(&self.engine.quality(&audio), sound.codec());
        let learnt = match self.engine.learn_digits(&mut digits, row.digits(), &audio) {
            DigitsTake::Learnt if last && !digits.is_complete() => Err(Fault::Failed),
            DigitsTake::Learnt => Ok(Zeroizing::new(digits.to_bytes())),
            DigitsTake::Unusable(problem) => Err(fault(&problem)),
            DigitsTake::NotApart => Err(Fault::NotApart),
            DigitsTake::SameRecording => Err(Fault::SameRecording),
            DigitsTake::Others => Err(Fault::OtherWords),
        };
        (learnt, quality)
    }

    fn check_row(&self, digits: &[u8], row: Row, seed: u64, sound: &Sound) -> Checked {
        let (Ok(digits), Ok(audio)) = (Digits::from_bytes(digits), Audio::from_pcm16(sound.expose())) else { return failed() };
        let check = self.engine.check_digits(&digits, row.digits(), &audio, seed);
        let outcome = match &check.verdict {
            DigitsVerdict::AsAsked => Outcome::Alike,
            DigitsVerdict::Others => Outcome::OtherDigits,
            DigitsVerdict::Unusable(problem) => unusable(problem),
            DigitsVerdict::NotLearnt => Outcome::Failed,
        };
        Checked { outcome, quality: told(&check.quality, sound.codec()), nearer: check.nearer.map(|n| u16::try_from(n).unwrap_or(u16::MAX)) }
    }
}

fn failed() -> Checked { Checked { outcome: Outcome::Failed, quality: Quality::default(), nearer: None } }

impl Runner {
    /// Answers [`countersign_core::call::Ask::VoiceDigits`].
    pub(crate) async fn voice_digits(&self, said: Said, docs: &mut Vec<DocWrite>) -> Result<Answer, RunError> {
        match said.learning {
            Some(learning) => self.learn_digits(said, learning, docs).await,
            None => {
                let Said { account, row, seed, sound, .. } = said;
                let doc = self.store.doc(TEMPLATE, &account.0).await?;
                let opened = match &doc {
                    Some(doc) => self.opened(TEMPLATE, &account.0, account, &doc.body).await?,
                    None => None,
                };
                let checked = match opened.and_then(|opened| opened.digits) {
                    Some(digits) => self.listen(move |voices| voices.check_row(&digits, row, seed, &sound)).await?,
                    None => None,
                };
                Ok(Answer::DigitsChecked(checked.unwrap_or_else(failed)))
            }
        }
    }

    async fn learn_digits(&self, said: Said, Learning { taken, held, .. }: Learning, docs: &mut Vec<DocWrite>) -> Result<Answer, RunError> {
        let Said { call, account, row, sound, .. } = said;
        let nothing = |fault| Ok(Answer::DigitsTaken { fault: Some(fault), quality: Quality::default() });
        let (kind, id) = if held { (TAKES, call.0) } else { (TEMPLATE, account.0) };
        let doc = self.store.doc(kind, &id).await?;
        let opened = match &doc {
            Some(doc) => self.opened(kind, &id, account, &doc.body).await?,
            None => None,
        };
        let (voice, before) = match opened {
            // With the takes of the call, nothing but the digits lies there.
            Some(Opened { bytes, .. }) if held && taken > 0 => (Opened::only(Vec::new()), Some(bytes)),
            _ if held && taken == 0 => (Opened::only(Vec::new()), None),
            // Of this enrolment: another that came meanwhile, on another call, is not to be given these.
            Some(voice) if !held && voice.enrolled == Some(call) && (taken == 0 || voice.digits.is_some()) => {
                let before = voice.digits.clone().filter(|_| taken > 0);
                (voice, before)
            }
            // The voice was taken off the file meanwhile, or enrolled anew.
            _ => return nothing(Fault::Failed),
        };
        let last = taken.saturating_add(1) >= ROWS;
        let looked = self.listen(move |voices| voices.learn_row(before.as_ref().map(|it| it.as_slice()), row, last, &sound)).await?;
        let Some((learnt, quality)) = looked else { return nothing(Fault::Failed) };
        let fault = match learnt {
            Err(fault) => Some(fault),
            // These go with the step that ends it.
            Ok(_) if held && last => None,
            Ok(digits) => {
                let (voice, expected, due) = match doc {
                    Some(doc) if !held => (Opened { digits: Some(digits), ..voice }, Expect::Version(doc.version), doc.due),
                    _ => (Opened { bytes: digits, ..voice }, Expect::Any, Some((self.now() + TAKES_LIFE).0)),
                };
                let voice = kept(account, &voice);
                let body = if held { self.seal_about(TAKES, &id, account, &voice).await? } else { self.seal_about(TEMPLATE, &id, account, &voice).await? };
                let erased = body.is_none().then_some(Fault::Failed);
                docs.extend(body.map(|body| DocWrite::Put { kind, id: id.to_vec(), expected, body, due }));
                erased
            }
        };
        Ok(Answer::DigitsTaken { fault, quality })
    }
}
