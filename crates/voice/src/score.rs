//! From comparisons to an answer, and what must be known about a threshold before it may say yes.

use serde::{Deserialize, Serialize};

use crate::drift::Reference;
use crate::embed::BUILT_IN_SHA256;
use crate::phrase::{Distance, Distances};
use crate::quality::{Problem, Quality};
use crate::spoof::{Measured, Threshold};

/// What is said at enrolment and at verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Speech {
    /// The same phrase every time. The phrase is checked too.
    SamePhrase,
    /// Whatever; nothing is known about the words. Much weaker.
    Free,
}

/// How a take compares with a template, before anything is made of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// Cosine between the embeddings, -1 to 1.
    pub embedding: f32,
    /// Log-likelihood ratio of the mixture, a frame; mostly -0.5 to 2.
    pub mixture: f32,
    /// Distances to the stored takes.
    pub distances: Distances,
}

/// Distances are infinite between takes of very different length; this is as far as any that differ.
const FARTHEST: Distance = 10.0;

/// Weights of a logistic regression: they make one number of [`Scores`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fusion {
    /// For each unit of [`Scores::embedding`].
    pub embedding: f32,
    /// For each unit of [`Scores::mixture`].
    pub mixture: f32,
    /// For each unit of the mean distance: negative.
    pub distance: f32,
    /// Added.
    pub offset: f32,
}

impl Fusion {
    /// The network alone: for one of which nobody knows how much it says beside the rest.
    pub const NETWORK_ALONE: Self = Self {
        embedding: 10.0,
        mixture: 0.0,
        distance: 0.0,
        offset: 0.0,
    };

    /// What is used with a network until a calibration brings weights of its own: ours were found for
    /// ours, and cosines of two networks do not mean the same.
    #[must_use]
    pub fn with(network: &[u8; 32], speech: Speech) -> Self {
        if *network == BUILT_IN_SHA256 {
            Self::of(speech)
        } else {
            Self::NETWORK_ALONE
        }
    }

    /// Learns weights from comparisons of which it is known whether it was the same person, rounded to
    /// three digits. Not from the people whom the threshold is then measured on: it would look better
    /// than it is.
    ///
    /// Mixture and distance resemble the network, so that beside it one of them may come out the wrong
    /// way round (likeness that speaks against a person, distance for one): that one is left out, and
    /// the rest learnt again. `None` where the network itself points the wrong way, as with too few
    /// people or a network that says nothing.
    #[must_use]
    pub fn learnt(speech: Speech, scores: &[Scores], genuine: &[bool]) -> Option<Self> {
        // Nearness, so that every weight has to be positive.
        let part = |scores: &Scores, place: usize| match place {
            0 => f64::from(scores.embedding),
            1 => f64::from(scores.mixture),
            _ => -f64::from(scores.distances.mean.min(FARTHEST)),
        };
        // Where words differ, mixture and distance are about the words.
        let mut parts = if speech == Speech::SamePhrase { vec![0, 1, 2] } else { vec![0] };
        loop {
            let rows: Vec<Vec<f64>> = scores.iter().map(|scores| parts.iter().map(|place| part(scores, *place)).collect()).collect();
            let found = crate::calibrate::logistic(&rows, genuine);
            let rounded = |exact: f64| ((exact * 1000.0).round() / 1000.0) as f32;
            let weight = |place: usize| parts.iter().zip(&found.weights).find(|(of, _)| **of == place).map_or(0.0, |(_, exact)| rounded(*exact));
            let fusion = Self {
                embedding: weight(0),
                mixture: weight(1),
                distance: -weight(2),
                offset: rounded(found.offset),
            };
            if fusion.holds() {
                return Some(fusion);
            }
            let (worst, _) = parts.iter().zip(&found.weights).filter(|(place, weight)| **place > 0 && **weight < 0.0).min_by(|a, b| a.1.total_cmp(b.1))?;
            let worst = *worst;
            parts.retain(|place| *place != worst);
        }
    }

    /// Whether more alike gives a higher score.
    pub(crate) fn holds(&self) -> bool {
        let finite = [self.embedding, self.mixture, self.distance, self.offset]
            .iter()
            .all(|weight| weight.is_finite());
        finite && self.embedding > 0.0 && self.mixture >= 0.0 && self.distance <= 0.0
    }

    /// The weights for a kind of speech: how they came about is in `docs/voice.md`.
    #[must_use]
    pub fn of(speech: Speech) -> Self {
        match speech {
            Speech::SamePhrase => Self {
                embedding: 10.0,
                mixture: 3.0,
                distance: -2.0,
                offset: 2.0,
            },
            // Where words differ, the mixture says little: see the figures in `docs/voice.md`.
            Speech::Free => Self {
                embedding: 13.0,
                mixture: 0.0,
                distance: 0.0,
                offset: -6.0,
            },
        }
    }

    /// One number; higher is more alike. It is not a probability and means nothing without a
    /// [`Calibration`].
    #[must_use]
    pub fn score(&self, scores: &Scores) -> f32 {
        // Takes too different in length to be compared are infinitely far apart.
        let distance = scores.distances.mean.min(FARTHEST);
        self.embedding * scores.embedding
            + self.mixture * scores.mixture
            + self.distance * distance
            + self.offset
    }
}

/// An estimate and the range in which 95 of 100 repetitions of the measurement would have it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// What was measured, 0 to 1.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What was measured where the engine is used. Without one there is no yes.
///
/// Made by [`crate::calibrate::calibrate`]. Kept as JSON, written and read here only: a person can read
/// what is relied on, and so can other programs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Version of this format: 2, or 3 with `spoof`. Version 1 has no `weights` and no `genuine`, and is
    /// still read.
    pub version: u32,
    /// For what it holds, in words: which line, which prompt.
    pub condition: String,
    /// The day on which it was made, as year-month-day. Whoever makes it says so: there is no clock here.
    pub made_on: String,
    /// For what kind of speech.
    pub speech: Speech,
    /// SHA-256 of the speaker network, in hexadecimal.
    pub network: String,
    /// The false accepts that were asked for, 0 to 1.
    pub target_false_accepts: f64,
    /// Scores from here on are taken as the same voice.
    pub threshold: f32,
    /// Where the threshold would have been with other recordings like these.
    pub threshold_range: [f32; 2],
    /// False accepts at the threshold, measured.
    pub false_accepts: Interval,
    /// False refusals at the threshold, measured.
    pub false_refusals: Interval,
    /// Trials of a person against their own template.
    pub genuine_trials: u32,
    /// Trials of a person against somebody else's.
    pub impostor_trials: u32,
    /// Speakers in the measurement.
    pub speakers: u32,
    /// Recordings in the measurement, those of enrolment among them.
    pub calls: u32,
    /// The log-likelihood ratio is `slope` times the score, plus `intercept`.
    pub slope: f32,
    /// See `slope`.
    pub intercept: f32,
    /// Mean distance up to which it is the same phrase. Needed for [`Speech::SamePhrase`].
    pub phrase_threshold: Option<Distance>,
    /// Spoof scores from here on are taken as synthetic, if a model for it is used.
    pub spoof_threshold: Option<f32>,
    /// How that came about, and for which model it holds. Without it somebody wrote the threshold by
    /// hand, for whatever model is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spoof: Option<Measured>,
    /// What the scores were made with, and are made with when it is used. Without, with those that
    /// come with the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Fusion>,
    /// How the genuine scored, for [`crate::drift`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub genuine: Option<Reference>,
}

/// Why a calibration cannot be relied on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalibrationError {
    /// Not JSON with these fields.
    #[error("cannot be read as a calibration: {0}")]
    Unreadable(String),
    /// A field that cannot be right.
    #[error("{0}")]
    Field(&'static str),
    /// Fewer trials than the target needs.
    #[error(
        "{found} trials of {kind} do not show false accepts of {target}: at least {needed} are needed"
    )]
    TooFew {
        /// Of what: "impostors" or "the genuine".
        kind: &'static str,
        /// How many there are.
        found: usize,
        /// How many there have to be.
        needed: usize,
        /// The target.
        target: String,
    },
    /// Fewer recordings of people than a ceiling of false alarms needs.
    #[error("{found} recordings of people do not show false alarms of {ceiling}: at least {needed} are needed")]
    FewPeople {
        /// How many there are.
        found: usize,
        /// How many there have to be.
        needed: usize,
        /// The ceiling.
        ceiling: String,
    },
}

impl Calibration {
    /// More bytes than this are not a calibration.
    pub const MOST_BYTES: usize = 16 << 10;

    /// Reads what [`Calibration::to_json`] wrote, and checks it: somebody may have edited it.
    ///
    /// # Errors
    /// [`CalibrationError::Unreadable`], [`CalibrationError::Field`].
    pub fn from_json(text: &str) -> Result<Self, CalibrationError> {
        if text.len() > Self::MOST_BYTES {
            let why = format!("longer than {} bytes", Self::MOST_BYTES);
            return Err(CalibrationError::Unreadable(why));
        }
        let calibration: Self = serde_json::from_str(text)
            .map_err(|error| CalibrationError::Unreadable(error.to_string()))?;
        calibration.checked()
    }

    /// As JSON, indented, with a line end.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Of text and numbers only, so that it can always be written.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The log-likelihood ratio (natural) for a score: above 0 it is likelier the same person.
    #[must_use]
    pub fn log_likelihood_ratio(&self, score: f32) -> f32 {
        self.slope * score + self.intercept
    }

    /// Checks what the types do not.
    ///
    /// # Errors
    /// [`CalibrationError::Field`].
    pub fn checked(self) -> Result<Self, CalibrationError> {
        let field = |right: bool, why| {
            if right {
                Ok(())
            } else {
                Err(CalibrationError::Field(why))
            }
        };
        field(
            matches!(self.version, 1..=3),
            "`version` is neither 1 nor 2 nor 3: it was made by a newer program",
        )?;
        let newer = (self.weights.is_some(), self.genuine.is_some());
        field(
            newer == (self.version >= 2, self.version >= 2),
            "`weights` and `genuine` belong to version 2 or 3, both of them, and to no other",
        )?;
        field(
            self.spoof.is_some() == (self.version == 3),
            "`spoof` belongs to version 3, and to no other",
        )?;
        field(
            self.spoof.as_ref().is_none_or(|spoof| self.spoof_threshold.is_some() && spoof.holds()),
            "`spoof` has to have a `spoof_threshold`, and numbers that can be",
        )?;
        field(
            self.weights.is_none_or(|weights| weights.holds()),
            "`weights` have to be finite, and a higher score more alike",
        )?;
        field(
            self.genuine.is_none_or(|genuine| genuine.holds()),
            "`genuine` has to have nine edges that rise, and counts",
        )?;
        field(
            (1..=200).contains(&self.condition.len()),
            "`condition` has to have 1 to 200 characters",
        )?;
        field(
            is_day(&self.made_on),
            "`made_on` is not a day, as 2026-01-31",
        )?;
        field(
            self.network.len() == 64
                && self
                    .network
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
            "`network` is not a SHA-256 in hexadecimal",
        )?;
        field(
            self.speakers >= 2 && self.calls >= self.speakers,
            "`speakers` has to be 2 at least, and `calls` no fewer than those",
        )?;
        let numbers = [self.threshold, self.slope, self.intercept]
            .into_iter()
            .chain(self.threshold_range);
        let optional = [self.phrase_threshold, self.spoof_threshold]
            .into_iter()
            .flatten();
        field(
            numbers.chain(optional).all(f32::is_finite),
            "a threshold or slope is not finite",
        )?;
        field(
            self.slope > 0.0,
            "`slope` has to be positive: a higher score is more alike",
        )?;
        field(
            self.target_false_accepts > 0.0 && self.target_false_accepts < 0.5,
            "`target_false_accepts` has to be between 0 and 0.5",
        )?;
        let needed = (3.0 / self.target_false_accepts).ceil();
        field(
            f64::from(self.impostor_trials) >= needed,
            "`impostor_trials` are too few for `target_false_accepts`: three times its inverse are needed",
        )?;
        field(
            self.speech == Speech::Free
                || self
                    .phrase_threshold
                    .is_some_and(|threshold| threshold > 0.0),
            "the same phrase needs a `phrase_threshold`",
        )?;
        for rate in [self.false_accepts, self.false_refusals] {
            let share = |value: f64| (0.0..=1.0).contains(&value);
            field(
                share(rate.value) && share(rate.low) && share(rate.high),
                "a rate is not between 0 and 1",
            )?;
        }
        Ok(self)
    }

    /// With a threshold for a model of synthetic speech.
    #[must_use]
    pub fn with_spoof(self, threshold: Threshold) -> Self {
        let Threshold { from, measured } = threshold;
        Self { version: 3, spoof_threshold: Some(from), spoof: Some(measured), ..self }
    }

    /// From which score on this model's answers are taken as synthetic. `None` where that was not
    /// measured, or for another model.
    #[must_use]
    pub fn synthetic_from(&self, model: &[u8; 32]) -> Option<f32> {
        let fits = self.spoof.as_ref().is_none_or(|spoof| spoof.model == hex(model));
        self.spoof_threshold.filter(|_| fits)
    }

    /// Which one it is, in 16 hexadecimal digits: scores of two calibrations are not to be mixed.
    #[must_use]
    pub fn name(&self) -> String {
        use sha2::Digest as _;
        let sum: [u8; 32] = sha2::Sha256::digest(self.to_json()).into();
        hex(&sum).chars().take(16).collect()
    }

    /// Whether it was made for this kind of speech and this network. For another network than ours it
    /// has to say what the scores were made with.
    #[must_use]
    pub fn is_for(&self, speech: Speech, network: &[u8; 32]) -> bool {
        let known = self.weights.is_some() || *network == BUILT_IN_SHA256;
        self.speech == speech && self.network == hex(network) && known
    }
}

/// The answer in one word. Only [`Verdict::Alike`] speaks for the caller, and none is a proof.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Above the threshold, the phrase is right, and it is no recording that is known.
    Alike,
    /// Below the threshold.
    Unlike,
    /// The words are others than at enrolment.
    OtherPhrase,
    /// The very recording that is stored, sent again.
    KnownRecording,
    /// A model for it says: synthetic.
    Synthetic,
    /// Not good enough to say anything.
    Unusable(Problem),
    /// Nobody measured what a score means here, or measured it for something else.
    NotCalibrated,
}

/// What the phrase gate says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PhraseCheck {
    /// The same words, at this distance.
    Same(Distance),
    /// Other words, at this distance.
    Other(Distance),
    /// No threshold for it, or words are free.
    NotChecked,
}

/// What comparing with stored recordings says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ReplayCheck {
    /// None of them. It may still be a recording of another occasion.
    NotStored(Distance),
    /// One of them, sent again.
    Stored(Distance),
    /// There was nothing to compare.
    NotChecked,
}

/// Everything that came out of looking at one answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Verification {
    /// In one word.
    pub verdict: Verdict,
    /// The fused score, where there was enough to compare.
    pub score: Option<f32>,
    /// What it was made of.
    pub parts: Option<Scores>,
    /// How good the sound was.
    pub quality: Quality,
    /// The phrase gate.
    pub phrase: PhraseCheck,
    /// The comparison with stored recordings.
    pub replay: ReplayCheck,
    /// What a model for synthetic speech said; higher is more synthetic.
    pub spoof: Option<f32>,
    /// Calibrated log-likelihood ratio, natural.
    pub log_likelihood_ratio: Option<f32>,
    /// The threshold that the score was compared with.
    pub threshold: Option<f32>,
    /// How far the log-likelihood ratio is above that at the threshold.
    pub margin: Option<f32>,
}

/// Whether this is a day, as `2026-01-31`.
fn is_day(text: &str) -> bool {
    let numbers = |range: std::ops::Range<usize>, least: u16, most: u16| {
        let digits = text
            .get(range)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        digits
            .and_then(|digits| digits.parse().ok())
            .is_some_and(|number: u16| (least..=most).contains(&number))
    };
    let dashes = text.get(4..5) == Some("-") && text.get(7..8) == Some("-");
    text.len() == 10
        && dashes
        && numbers(0..4, 2000, 9999)
        && numbers(5..7, 1, 12)
        && numbers(8..10, 1, 31)
}

/// In lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
