//! What the caller hears and is asked for, as data. Adapters render it (TwiML, the handset page);
//! the words come from `locales/`.

use serde::{Deserialize, Serialize};

use crate::{action::Action, id::ChallengeId, time::Timestamp, voice::{Fault, Row}};

/// A language we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Spanish.
    Es,
    /// German.
    De,
}

impl Lang {
    /// All languages, in the order of their keys in the language menu.
    pub const ALL: [Self; 3] = [Self::En, Self::Es, Self::De];
    /// ISO 639-1 code.
    pub fn code(self) -> &'static str {
        match self { Self::En => "en", Self::Es => "es", Self::De => "de" }
    }
    /// The language with this ISO 639-1 code.
    pub fn parse(code: &str) -> Option<Self> { Self::ALL.into_iter().find(|l| l.code() == code) }
}

/// What plays while the caller waits (`apple_hold_music`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Music {
    /// Slow and soft.
    #[default]
    Calm,
    /// Quick and bright.
    Lively,
    /// A harpsichord, more or less.
    Classical,
    /// Nothing at all.
    Silence,
}

impl Music {
    /// All choices, in the order of their keys.
    pub const ALL: [Self; 4] = [Self::Calm, Self::Lively, Self::Classical, Self::Silence];
    /// The name used in events and pages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Lively => "lively",
            Self::Classical => "classical",
            Self::Silence => "silence",
        }
    }
}

/// Something said to the caller. Never carries a value from an account, except the day of
/// something upcoming when policy lets it be spoken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "prompt")]
pub enum Prompt {
    /// Greeting with the company's name.
    Welcome,
    /// "For English press 1" in each language.
    ChooseLanguage,
    /// "We know the number you call from", perhaps with the upcoming thing as choice 1.
    Recognised {
        /// The day of what is upcoming, if it may be spoken.
        upcoming: Option<Timestamp>,
    },
    /// Service code, account number, agent.
    Menu,
    /// "Key the code that the signed-in website shows".
    EnterServiceCode,
    /// "Key your account number".
    EnterAccountNumber,
    /// "Key your postal code".
    EnterPostalCode,
    /// Heard, and nothing more: the caller never learns whether it fitted.
    Noted,
    /// "We have just texted a code to the mobile number on file".
    EnterSmsCode,
    /// "We are ringing the number on file with a code".
    EnterVoiceCode,
    /// "Key the code from your app".
    EnterTotp,
    /// "Key the code from your token".
    EnterHotp,
    /// "Key your PIN".
    EnterPin,
    /// "Say your password for the phone; any key leads to another way".
    SayVerbalPassword,
    /// "Key a code from your printed list".
    EnterBackupCode,
    /// "One moment": a token follows by itself.
    OneMoment,
    /// "We have asked you in the portal: type this code there". It carries the name of the code;
    /// the code itself is derived when the words are made, so that no stored answer holds it.
    ApproveInPortal {
        /// Names the code: six digits.
        code: ChallengeId,
    },
    /// "We have asked you in the portal: approve with your passkey".
    ApproveWithPasskey,
    /// "The sign-in of our website asks you: compare this code".
    ApproveAtProvider {
        /// Names the code.
        code: ChallengeId,
    },
    /// "Sign in on our website, and type this code there".
    TypeInPortal {
        /// Names the code: eight digits.
        code: ChallengeId,
    },
    /// One to hear it again, star for another way, zero for an agent.
    ApproveHelp,
    /// "You asked us to ring: press the key that the website shows".
    CallBack,
    /// "This is us; one of our people wants to speak to you. Our website shows whether it is us."
    WeCall,
    /// Star for another way, zero for an agent.
    ProofHelp,
    /// Not accepted, try again.
    TryAgain,
    /// Not accepted, and no more tries here.
    NoMoreTries,
    /// Accepted.
    Verified,
    /// The agent asked for a proof in mid call, for this action, and cannot hear the keys.
    StepUp {
        /// What it is for.
        action: Action,
    },
    /// "You are being put back to the agent".
    BackToAgent,
    /// "Choose what you want to hear while you wait".
    ChooseMusic,
    /// "An agent will be with you".
    Waiting,
    /// "A specialist will be with you".
    WaitingSpecialist,
    /// "You are being connected".
    Connecting,
    /// Nothing was said, or nothing that a recogniser is sure of.
    NotUnderstood,
    /// Nothing was keyed.
    NothingHeard,
    /// A polite end.
    Goodbye,
    /// A polite end without a reason: this call is too risky.
    CannotHelp,
    /// "We ring you back at a number on file", and a polite end.
    WeRingBack,
    /// "We ring you back about a call to us: to talk, press 1".
    RingingBack,
    /// "Nobody can take this call; signed in on our website you can do everything", and a polite end.
    OnlineOnly,
    /// "May we take your voice?": what for, how long, how to say no and what then.
    VoiceConsent,
    /// "After the tone, say this", for the enrolment.
    VoiceSay,
    /// The same, to compare.
    VoiceSayAgain,
    /// A good take; the same once more.
    VoiceOnceMore,
    /// No speech was heard.
    VoiceNoSpeech,
    /// Too little speech.
    VoiceTooShort,
    /// Too noisy.
    VoiceTooNoisy,
    /// Too loud.
    VoiceTooLoud,
    /// Other words, another voice, or a recording: say it anew, the same words.
    VoiceNotTheSame,
    /// A good answer; another is asked for.
    VoiceThanks,
    /// "Thank you. Now some digits, so that no recording is of any use."
    VoiceDigitsToo,
    /// "After the tone, say these digits, with a pause after each".
    VoiceDigits {
        /// Which.
        row: Row,
    },
    /// The digits ran into each other: a longer pause after each.
    VoiceNotApart,
    /// The voice is on file.
    VoiceKept,
    /// "As you like: nothing changes", after a no.
    VoiceAsYouLike,
    /// It did not work out; things go on as ever.
    VoiceNotNow,
    /// Nobody is free; the customer will be rung at the number on file, or should call again.
    NobodyFree,
}

impl Prompt {
    /// What a caller is told about an answer that is not good enough.
    pub(crate) fn about(fault: Fault) -> Self {
        match fault {
            Fault::NoSpeech | Fault::Failed => Self::VoiceNoSpeech,
            Fault::TooShort => Self::VoiceTooShort,
            Fault::TooNoisy => Self::VoiceTooNoisy,
            Fault::Overdriven => Self::VoiceTooLoud,
            Fault::OtherWords | Fault::SameRecording | Fault::OtherVoice => Self::VoiceNotTheSame,
            Fault::NotApart => Self::VoiceNotApart,
        }
    }
}

/// One instruction to the telephone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Directive {
    /// Say something.
    Say {
        /// What.
        prompt: Prompt,
        /// In which language.
        lang: Lang,
    },
    /// Collect keys; `#` ends the entry.
    Gather {
        /// At most so many.
        max: u8,
        /// Seconds without a key before giving up.
        timeout: u8,
        /// The keys are a secret: pause recordings, mask displays, keep the agent deaf.
        secret: bool,
    },
    /// Let a recogniser hear a secret; a key ends it. Hints for the recogniser are not given: they would
    /// hold the secret.
    Listen {
        /// Seconds until somebody has to speak.
        timeout: u8,
        /// What is spoken.
        lang: Lang,
    },
    /// Listen to what the caller says, after a tone. An adapter that cannot hear reports that no key
    /// came. Nothing of it reaches an agent.
    Record {
        /// At most so many seconds.
        seconds: u8,
    },
    /// Play the caller's choice until something else happens.
    Hold {
        /// The choice.
        music: Music,
    },
    /// Connect with the agent who took the call.
    Bridge,
    /// End the call.
    HangUp,
}
