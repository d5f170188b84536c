//! What a state means for the telephone.

use super::{stage::{Origin, Stage}, state::Call};
use crate::{
    account::Access,
    factor::FactorKind,
    prompt::{Directive, Prompt},
    time::Timestamp,
};

/// Longest answer that is listened to, in seconds: the phrase takes three.
const RECORD: u8 = 8;

impl Call {
    /// What the telephone should do now. A function of the state alone, so that a caller is picked
    /// up where they were after a restart, and a repeated webhook gets the same answer.
    ///
    /// `access` is what the customer told us makes a call easier.
    pub fn directives(&self, upcoming: Option<Timestamp>, access: Access) -> Vec<Directive> {
        let lang = self.language();
        let say = |prompt| Directive::Say { prompt, lang };
        // A relay operator, a TTY or a slow hand takes two to three times as long.
        let patience: u8 = if access == Access::default() { 1 } else { 3 };
        let gather = |max, timeout: u8, secret| Directive::Gather { max, timeout: timeout.saturating_mul(patience), secret };
        match self.stage {
            Stage::Ringing => Vec::new(),
            Stage::Language => vec![say(Prompt::ChooseLanguage), gather(1, 8, false)],
            Stage::Recognised => vec![say(Prompt::Recognised { upcoming }), gather(1, 8, false)],
            Stage::Menu => vec![say(Prompt::Menu), gather(1, 8, false)],
            Stage::KeyingAccountNumber => vec![say(Prompt::EnterAccountNumber), gather(20, 10, false)],
            Stage::KeyingPostalCode => vec![say(Prompt::EnterPostalCode), gather(12, 10, false)],
            Stage::KeyingServiceCode => vec![say(Prompt::EnterServiceCode), gather(12, 15, true)],
            Stage::Proving if self.challenge.as_ref().is_some_and(|c| c.spoken) => {
                vec![say(Prompt::SayVerbalPassword), Directive::Listen { timeout: 10u8.saturating_mul(patience), lang }]
            }
            Stage::Proving => {
                let prompt = match self.challenge.as_ref().map(|c| c.kind) {
                    Some(FactorKind::SmsCode) => Prompt::EnterSmsCode,
                    Some(FactorKind::VoiceCode) => Prompt::EnterVoiceCode,
                    Some(FactorKind::Totp) => Prompt::EnterTotp,
                    Some(FactorKind::Hotp) => Prompt::EnterHotp,
                    Some(FactorKind::ServiceCode) => Prompt::EnterServiceCode,
                    Some(FactorKind::BackupCode) => Prompt::EnterBackupCode,
                    // The others are not keyed.
                    Some(
                        FactorKind::Pin | FactorKind::VerbalPassword | FactorKind::Passkey | FactorKind::Provider | FactorKind::AppCall
                        | FactorKind::Callback | FactorKind::Approval,
                    )
                    | None => Prompt::EnterPin,
                };
                vec![say(prompt), say(Prompt::ProofHelp), gather(12, 20, true)]
            }
            Stage::KeyingToken => vec![say(Prompt::OneMoment), gather(12, 6, true)],
            Stage::Approving => {
                let prompt = match &self.challenge {
                    Some(c) if c.kind == FactorKind::Provider => Prompt::ApproveAtProvider { code: c.id },
                    Some(c) if c.kind == FactorKind::Passkey => Prompt::ApproveWithPasskey,
                    Some(c) => Prompt::ApproveInPortal { code: c.id },
                    None => Prompt::NothingHeard,
                };
                vec![say(prompt), say(Prompt::ApproveHelp), gather(1, 30, false)]
            }
            Stage::Linking => match &self.link {
                Some(link) => vec![say(Prompt::TypeInPortal { code: link.id }), say(Prompt::ApproveHelp), gather(1, 30, false)],
                None => vec![gather(1, 30, false)],
            },
            Stage::Dialing | Stage::Remote => Vec::new(),
            Stage::Confirming if matches!(self.origin, Origin::Desk { .. }) => vec![say(Prompt::WeCall), gather(1, 12, false)],
            Stage::Confirming if matches!(self.origin, Origin::RingBack { .. }) => vec![say(Prompt::RingingBack), gather(1, 12, false)],
            Stage::Confirming => vec![say(Prompt::CallBack), gather(1, 12, true)],
            Stage::VoiceConsent => vec![say(Prompt::VoiceConsent), gather(1, 12, false)],
            Stage::VoiceTaking => vec![say(Prompt::VoiceSay), Directive::Record { seconds: RECORD }],
            Stage::VoiceSaying => {
                let lang = self.voice.asking.unwrap_or(lang);
                vec![Directive::Say { prompt: Prompt::VoiceSayAgain, lang }, Directive::Record { seconds: RECORD }]
            }
            Stage::VoiceDigits => match &self.voice.saying {
                Some(saying) => vec![Directive::Say { prompt: Prompt::VoiceDigits { row: saying.row }, lang: saying.lang }, Directive::Record { seconds: RECORD }],
                None => Vec::new(),
            },
            Stage::Music => vec![say(Prompt::ChooseMusic), gather(1, 8, false)],
            Stage::Waiting => vec![Directive::Hold { music: self.music.unwrap_or_default() }],
            Stage::Talking => vec![Directive::Bridge],
            Stage::Ended => vec![Directive::HangUp],
        }
    }
}
