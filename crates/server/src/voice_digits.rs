//! Digits that are asked for after the phrase: learnt beside the template, and compared with what was
//! learnt. They lie in the template's own document, so that whatever takes a voice off the file takes
//! them with it.

use countersign_core::{
    call::Answer,
    id::AccountId,
    voice::{Checked, Fault, Learning, Outcome, Quality, Row, Sound},
};
use countersign_store::{DocWrite, Expect};
use countersign_voice::{Audio, Digits, DigitsTake, DigitsVerdict, Problem};

use crate::{
    runner::{RunError, Runner},
    voice::{Opened, TEMPLATE, Voices, fault, kept, told},
};

/// Whether every digit was learnt, so that any can be asked for.
pub(crate) fn are_whole(bytes: Option<&[u8]>) -> bool { bytes.and_then(|bytes| Digits::from_bytes(bytes).ok()).is_some_and(|digits| digits.is_complete()) }

impl Voices {
    /// Learns one row. Bytes come back if it was learnt.
    fn learn_row(&self, before: Option<&[u8]>, row: Row, sound: &Sound) -> (Result<Vec<u8>, Fault>, Quality) {
        let Ok(audio) = Audio::from_pcm16(sound.expose()) else { return (Err(Fault::Failed), Quality::default()) };
        let quality = told(&self.engine.quality(&audio));
        // What cannot be read is no better than nothing: it is learnt anew.
        let mut digits = before.and_then(|bytes| Digits::from_bytes(bytes).ok()).unwrap_or_default();
        let learnt = match self.engine.learn_digits(&mut digits, row.digits(), &audio) {
            DigitsTake::Learnt => Ok(digits.to_bytes()),
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
            DigitsVerdict::Unusable(Problem::NoSpeech(_)) => Outcome::NoSpeech,
            DigitsVerdict::Unusable(Problem::TooShort(_)) => Outcome::TooShort,
            DigitsVerdict::Unusable(Problem::TooNoisy(_)) => Outcome::TooNoisy,
            DigitsVerdict::Unusable(Problem::Clipped(_)) => Outcome::Overdriven,
            DigitsVerdict::NotLearnt => Outcome::Failed,
        };
        Checked { outcome, quality: told(&check.quality), nearer: check.nearer.map(|n| u16::try_from(n).unwrap_or(u16::MAX)) }
    }
}

fn failed() -> Checked { Checked { outcome: Outcome::Failed, quality: Quality::default(), nearer: None } }

impl Runner {
    /// Answers [`countersign_core::call::Ask::VoiceDigits`].
    pub(crate) async fn voice_digits(
        &self, account: AccountId, row: Row, learning: Option<Learning>, seed: u64, sound: Sound, docs: &mut Vec<DocWrite>,
    ) -> Result<Answer, RunError> {
        let doc = self.store.doc(TEMPLATE, &account.0).await?;
        let opened = match &doc {
            Some(doc) => self.opened(TEMPLATE, &account.0, account, &doc.body).await?,
            None => None,
        };
        let Some(Learning { taken, held, .. }) = learning else {
            let checked = match opened.and_then(|opened| opened.digits) {
                Some(digits) => self.listen(move |voices| voices.check_row(&digits, row, seed, &sound)).await?,
                None => None,
            };
            return Ok(Answer::DigitsChecked(checked.unwrap_or_else(failed)));
        };
        // What only looks kept is listened to as everything else, so that it takes as long.
        let before = opened.as_ref().and_then(|opened| opened.digits.clone()).filter(|_| taken > 0 && !held);
        let looked = self.listen(move |voices| voices.learn_row(before.as_ref().map(|it| it.as_slice()), row, &sound)).await?;
        let (learnt, quality) = looked.unwrap_or((Err(Fault::Failed), Quality::default()));
        let fault = match (learnt, doc, opened) {
            (Err(fault), ..) => Some(fault),
            _ if held => None,
            (Ok(digits), Some(doc), Some(Opened { bytes, .. })) => {
                let body = self.seal_about(TEMPLATE, &account.0, account, &kept(account, &bytes, Some(&digits))).await?;
                let erased = body.is_none().then_some(Fault::Failed);
                docs.extend(body.map(|body| DocWrite::Put { kind: TEMPLATE, id: account.0.to_vec(), expected: Expect::Version(doc.version), body, due: doc.due }));
                erased
            }
            // The voice was taken off the file meanwhile.
            _ => Some(Fault::Failed),
        };
        Ok(Answer::DigitsTaken { fault, quality })
    }
}
