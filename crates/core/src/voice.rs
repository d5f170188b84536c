//! Voices on calls: consent, takes for enrolment, comparisons. What comes of listening is a *signal*:
//! numbers and words for the record, for risk and for policy. Nothing here can become a
//! [`crate::factor::Proof`], which only `factor` makes, and no [`crate::factor::FactorKind`] is a voice.
//!
//! What a person's voice is made of never comes here: templates and takes stay with whoever listens,
//! sealed. Numbers are whole: thousandths.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{id::AgentId, prompt::Lang, random::Random, time::{Span, Timestamp}};

/// Takes that make a template.
pub const TAKES: u8 = 3;
/// Comparisons that an agent may ask for on one call: nobody tries out clones.
pub const MAX_COMPARISONS: u8 = 3;
/// Digits that are asked for in a row.
pub const ROW: usize = 5;
/// Rows of digits that are learnt: two of them have all ten digits, and each digit is said three times.
pub const ROWS: u8 = 6;
/// Answers that may be given to learn [`ROWS`] of them, good and bad ones.
pub const ROW_TRIES: u8 = ROWS + 4;

/// How voices are asked for. `None` where a call wants one: nobody's voice is taken here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Which text of consent is read out: a name for the record.
    pub text: String,
    /// How long a template is kept.
    pub life: Span,
    /// Takes at enrolment, good and bad ones, before it is given up.
    pub tries: u8,
    /// The adapters that can hear. A call through another goes on as if voices were not set up.
    pub adapters: Vec<String>,
    /// Besides the phrase, digits are asked for that are drawn anew each time: a recording of an earlier
    /// call says others.
    pub digits: bool,
}

impl Settings {
    /// Whether a caller can be heard through this adapter.
    pub fn hears(&self, adapter: &str) -> bool { self.adapters.iter().any(|a| a == adapter) }
}

/// What an account's file says of a voice. The template is elsewhere, sealed, and goes with this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnFile {
    /// Since when.
    pub since: Timestamp,
    /// Not compared from then on, and taken away.
    pub until: Timestamp,
    /// Which text the customer consented to.
    pub text: String,
    /// In which language: the phrase is said in it.
    pub lang: Lang,
}

/// How sound came to us: what it was packed in on its last way (RFC 3551).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// G.711, mu-law.
    Pcmu,
    /// G.711, A-law.
    Pcma,
}

/// What the caller said, 8000 samples a second. Wiped when it is dropped.
#[derive(Clone)]
pub struct Sound {
    samples: Arc<Zeroizing<Vec<i16>>>,
    codec: Option<Codec>,
}

impl Sound {
    /// Samples as they came, and in which codec. `None`: it is not known, or nothing came.
    pub fn new(samples: Vec<i16>, codec: Option<Codec>) -> Self { Self { samples: Arc::new(Zeroizing::new(samples)), codec } }
    /// The samples. Every caller of this is a place to review.
    pub fn expose(&self) -> &[i16] { &self.samples }
    /// What they came in.
    pub fn codec(&self) -> Option<Codec> { self.codec }
}
impl fmt::Debug for Sound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "Sound({} samples)", self.samples.len()) }
}

/// How good sound was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Quality {
    /// Length, in milliseconds.
    pub length: u32,
    /// Net speech in it, in milliseconds.
    pub speech: u32,
    /// Speech above the background, in tenths of a decibel.
    pub snr: u16,
    /// Samples at the rail, in ten thousandths. 0 in events from before it was kept.
    #[serde(default)]
    pub clipped: u16,
    /// What the sound came in, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<Codec>,
}

/// Why a take is not good enough. The caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// No speech in it.
    NoSpeech,
    /// Too little speech.
    TooShort,
    /// Too much noise.
    TooNoisy,
    /// Overdriven.
    Overdriven,
    /// Other words than before.
    OtherWords,
    /// The recording of a take that is there already.
    SameRecording,
    /// Another voice than before, or another telephone.
    OtherVoice,
    /// Digits that run into each other, or not as many as were asked for.
    NotApart,
    /// Nobody could listen.
    Failed,
}

/// What came of a comparison, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Above the threshold, with the right words.
    Alike,
    /// Below the threshold.
    Unlike,
    /// Other words than those of enrolment.
    OtherWords,
    /// Other digits than those that were asked for: perhaps a recording of an earlier call.
    OtherDigits,
    /// A recording that is stored, sent again.
    KnownRecording,
    /// A model for it says: synthetic.
    Synthetic,
    /// No speech.
    NoSpeech,
    /// Too little speech.
    TooShort,
    /// Too much noise.
    TooNoisy,
    /// Overdriven.
    Overdriven,
    /// Nobody measured what a score means here.
    NotCalibrated,
    /// The voice was enrolled with another speaker network than is used now: the customer has to enrol again.
    OtherNetwork,
    /// Nobody could listen, or there is no template.
    Failed,
}

impl Outcome {
    /// What policies and desks are told.
    pub fn likeness(self) -> Likeness {
        match self {
            Self::Alike => Likeness::Alike,
            Self::Unlike | Self::OtherWords | Self::KnownRecording | Self::Synthetic => Likeness::NotAlike,
            // "Not enough speech", "too noisy" and "not calibrated" are answers of their own, never a pass.
            // Nobody measured digits on calls of their own: they take a good word away, and accuse nobody.
            Self::OtherDigits | Self::NoSpeech | Self::TooShort | Self::TooNoisy | Self::Overdriven | Self::NotCalibrated | Self::OtherNetwork | Self::Failed => Likeness::NotCompared,
        }
    }
    /// Somebody is at work: no slip and no cold.
    pub fn is_alarm(self) -> bool { matches!(self, Self::KnownRecording | Self::Synthetic) }
}

/// What a comparison says, without any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Likeness {
    /// Nothing was compared, or nothing could be.
    #[default]
    NotCompared,
    /// The voice is like the one on file.
    Alike,
    /// It is not.
    NotAlike,
}

impl Likeness {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NotCompared, Self::Alike, Self::NotAlike];
    /// The name used in policies.
    pub fn name(self) -> &'static str {
        match self { Self::NotCompared => "not_compared", Self::Alike => "alike", Self::NotAlike => "not_alike" }
    }
    /// The one with this name.
    pub fn parse(name: &str) -> Option<Self> { Self::ALL.into_iter().find(|l| l.name() == name) }
}

/// Everything that is recorded of a comparison. None of it is biometric: no voice can be made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// In one word.
    pub outcome: Outcome,
    /// How good the sound was.
    #[serde(default)]
    pub quality: Quality,
    /// The fused score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<i64>,
    /// The threshold that it was compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<i64>,
    /// Calibrated log-likelihood ratio, natural.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub likelihood: Option<i64>,
    /// Whether the words were those of enrolment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phrase: Option<bool>,
    /// Whether it was a recording that is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<bool>,
    /// What a model for synthetic speech said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spoof: Option<i64>,
    /// The template took this answer in, so that it ages with its owner.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub learnt: bool,
    /// Where the score lies among those of the calibration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// Where a score lies among those of the genuine when the threshold was measured: by this it is seen
/// whether they move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Which calibration: scores of two are not to be mixed.
    pub calibration: String,
    /// In which tenth, from 0.
    pub tenth: u8,
}

impl Comparison {
    /// One of which there is nothing but the word.
    pub fn only(outcome: Outcome) -> Self {
        Self { outcome, quality: Quality::default(), score: None, threshold: None, likelihood: None, phrase: None, recording: None, spoof: None, learnt: false, place: None }
    }
}

/// Digits that a caller is asked to say. They are no secret: they are said aloud, and asked for once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Row([u8; ROW]);

impl Row {
    /// Each from 0 to 9.
    pub fn digits(&self) -> &[u8; ROW] { &self.0 }

    /// Five digits that differ from each other: equal ones would run together.
    pub(crate) fn drawn(random: &mut Random) -> Self { Self::both(random).0 }

    /// All ten digits, in two rows.
    pub(crate) fn both(random: &mut Random) -> (Self, Self) {
        let order = random.order();
        let (first, second) = order.split_at(ROW);
        let row = |half: &[u8]| Self(std::array::from_fn(|n| half.get(n).copied().unwrap_or_default()));
        (row(first), row(second))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.iter().try_for_each(|digit| write!(f, "{digit}")) }
}

impl From<Row> for String {
    fn from(row: Row) -> Self { row.to_string() }
}

impl TryFrom<String> for Row {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_digit).map(|byte| byte - b'0').collect();
        if digits.len() != text.len() {
            return Err("not a row of digits");
        }
        digits.try_into().map(Self).map_err(|_| "not a row of five digits")
    }
}

/// A caller is asked to say digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saying {
    /// Which.
    pub row: Row,
    /// The other half of the ten, which is asked for next while they are learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Row>,
    /// In which language.
    pub lang: Lang,
    /// They are learnt, and not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning: Option<Learning>,
    /// Others were asked for before and not recognised: it is the last time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
}

/// How far learning digits is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learning {
    /// Rows that were learnt.
    pub taken: u8,
    /// Answers that are left, good and bad ones.
    pub left: u8,
    /// It only looks so: nothing is kept.
    pub held: bool,
}

/// What came of checking digits. A signal, never a proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// [`Outcome::Alike`]: those that were asked for. [`Outcome::OtherDigits`]: not those.
    pub outcome: Outcome,
    /// How good the sound was.
    #[serde(default)]
    pub quality: Quality,
    /// How many other rows were nearer to the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearer: Option<u16>,
}

/// Why listening ended without a template or a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopped {
    /// The caller said no, or wanted another way. Nothing worse follows from it.
    Declined,
    /// Nothing came from the telephone: it cannot be heard here.
    NotHeard,
    /// Too many takes that were not good enough.
    Tries,
    /// The agent called it off.
    AgentLeft,
    /// The call ended, changed hands, or is about somebody else now.
    CallMoved,
    /// Policy does not permit it any more.
    NotPermitted,
}

/// An enrolment under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolling {
    /// Who asked.
    pub agent: AgentId,
    /// Which text is read out.
    pub text: String,
    /// The customer consented.
    pub consented: bool,
    /// Good takes so far.
    pub taken: u8,
    /// Takes that are left, good and bad ones.
    pub left: u8,
}

/// What a call knows of voices.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// An enrolment under way.
    pub enrolling: Option<Enrolling>,
    /// A comparison under way: in which language the phrase is said.
    pub asking: Option<Lang>,
    /// Digits that are to be said, after the phrase.
    #[serde(default)]
    pub saying: Option<Saying>,
    /// The phrase was alike, and its digits have not been said yet.
    #[serde(default)]
    pub phrase_alike: bool,
    /// Comparisons that were asked for.
    pub asked: u8,
    /// What came of the last one.
    pub last: Option<Outcome>,
    /// A recording or synthetic speech, at any time: a good answer afterwards does not take it back.
    pub alarm: Option<Outcome>,
    /// A comparison was asked for and came to nothing.
    pub stopped: bool,
}

impl State {
    /// Whether the caller is with the machine because of it.
    pub fn is_going_on(&self) -> bool { self.enrolling.is_some() || self.asking.is_some() || self.saying.is_some() }

    /// What a comparison came to. One that says nothing does not undo that a voice was not alike: somebody
    /// else would have themselves compared once more, and say nothing.
    pub(crate) fn settle(&mut self, outcome: Outcome) {
        let not_alike = self.last.is_some_and(|last| last.likeness() == Likeness::NotAlike);
        if !(not_alike && outcome.likeness() == Likeness::NotCompared) {
            self.last = Some(outcome);
        }
    }

    /// A comparison was left before its end: it is none, and nothing is better by it.
    pub(crate) fn leave(&mut self) {
        self.phrase_alike = false;
        self.stopped = true;
        self.last = self.last.filter(|last| last.likeness() != Likeness::Alike);
    }

    /// Another account is meant: what was compared with the one before says nothing about it. That
    /// somebody played recordings goes on being true.
    pub(crate) fn forget(&mut self) {
        (self.last, self.phrase_alike, self.stopped) = (None, false, false);
    }
}
