//! Digits that are asked for anew each time, against recordings of an earlier occasion.
//!
//! Who is enrolled has said every digit. From those the words that are asked for are put together, and
//! other digits, drawn at random; the answer has to be nearest to those that were asked for. A recording
//! of other digits is nearer to others. It says nothing about whose voice it is, and nothing against
//! somebody who has every digit of the person and joins them: see `docs/voice.md`.

use crate::audio::Audio;
use crate::engine::Engine;
use crate::enrol::{read_frames, round, with_sum, without_sum, write_frames};
use crate::frontend::{CEPSTRA, Cepstra, Frames};
use crate::phrase::{Distance, SAME_RECORDING, distance};
use crate::quality::{Problem, Quality, Requirements};

/// Takes of a digit that are kept, and asked for at enrolment.
pub const TAKES: usize = 3;
/// Sequences at random that an answer is compared with, besides the one that was asked for.
pub const OTHERS: usize = 39;
/// An answer may be so many times as far from what was asked for as the person's own takes are from one
/// another at most. Chosen on two people and tried on two others: `docs/voice.md` has the figures.
pub const FURTHER: f32 = 1.15;
/// What takes at enrolment are compared with is the same for everybody: nobody is kept out by it.
const SEED: u64 = 1;
/// Frames of a digit at most: two seconds of one word are several, or none.
const LONGEST: usize = 200;

const MAGIC: &[u8; 4] = b"CSVD";
const VERSION: u8 = 1;

/// Every digit as a person has said it.
#[derive(Clone, Default, PartialEq)]
pub struct Digits {
    said: [Vec<Cepstra>; 10],
}

/// What came of digits that were said at enrolment.
#[derive(Clone, Debug, PartialEq)]
pub enum DigitsTake {
    /// They are learnt.
    Learnt,
    /// What was heard was no speech, too short, too noisy or overdriven.
    Unusable(Problem),
    /// As many words as digits could not be told apart by the pauses between them.
    NotApart,
    /// A recording of a take that is already there.
    SameRecording,
    /// Other digits than those that were asked for, by the takes that are there already.
    Others,
}

/// What came of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum DigitsVerdict {
    /// Nothing else is nearer than the digits that were asked for, and they are about as near as the
    /// person's own takes are to one another. It says little about whose voice it is.
    AsAsked,
    /// Other digits are nearer, or nothing is near enough.
    Others,
    /// What was heard was no speech, too short, too noisy or overdriven.
    Unusable(Problem),
    /// Not every digit was learnt ([`Digits::is_complete`]), or what was asked for are none.
    NotLearnt,
}

/// An answer to digits that were asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct DigitsCheck {
    /// What came of it.
    pub verdict: DigitsVerdict,
    /// How many other sequences are nearer; `None` where nothing was compared.
    pub nearer: Option<usize>,
    /// Of how many.
    pub of: usize,
    /// How good the sound is.
    pub quality: Quality,
}

/// Why bytes are not somebody's digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the digits of a voice: {0}")]
pub struct BadDigits(&'static str);

impl Engine {
    /// Learns a row of digits, said with pauses between them, if the sound is as good as enrolment asks
    /// for. Nothing is learnt otherwise.
    pub fn learn_digits(&self, digits: &mut Digits, row: &[u8], audio: &Audio) -> DigitsTake {
        let quality = self.quality(audio);
        if let Some(problem) = quality.problem(&Requirements::enrolment()) {
            return DigitsTake::Unusable(problem);
        }
        let Some(speech) = spoken(audio, &quality) else {
            return DigitsTake::NotApart;
        };
        let Some(words) = self.frontend().words(&speech, row.len()) else {
            return DigitsTake::NotApart;
        };
        if digits.has_recording(row, &words) {
            return DigitsTake::SameRecording;
        }
        // Once every digit is there, another take of it has to be recognised by those before: what was
        // enrolled wrongly would turn its owner away for years.
        let said = self.frontend().cepstra(&speech);
        if digits.nearer(row, &said, OTHERS, SEED).is_some_and(|nearer| nearer > 0) {
            return DigitsTake::Others;
        }
        if digits.learn(row, &words) {
            DigitsTake::Learnt
        } else {
            DigitsTake::NotApart
        }
    }

    /// Whether an answer is nearer to the digits that were asked for than to [`OTHERS`] other sequences.
    /// These are drawn from `seed`: it has to be another one for every answer, and nothing a caller knows.
    #[must_use]
    pub fn check_digits(
        &self,
        digits: &Digits,
        row: &[u8],
        audio: &Audio,
        seed: u64,
    ) -> DigitsCheck {
        let quality = self.quality(audio);
        let problem = quality.problem(&Requirements::verification());
        let (verdict, nearer) = match (problem, spoken(audio, &quality)) {
            _ if !digits.is_complete() || row.is_empty() || row.iter().any(|digit| *digit > 9) => {
                (DigitsVerdict::NotLearnt, None)
            }
            (Some(problem), _) => (DigitsVerdict::Unusable(problem), None),
            (None, None) => {
                let problem = Problem::TooShort(quality.speech);
                (DigitsVerdict::Unusable(problem), None)
            }
            (None, Some(speech)) => {
                let answer = self.frontend().cepstra(&speech);
                match digits.nearer(row, &answer, OTHERS, seed) {
                    Some(0) if digits.near_enough(row, &answer) => {
                        (DigitsVerdict::AsAsked, Some(0))
                    }
                    nearer => (DigitsVerdict::Others, nearer),
                }
            }
        };
        DigitsCheck {
            verdict,
            nearer,
            of: OTHERS,
            quality,
        }
    }
}

/// Without what surrounds the speech: it would only be in the means.
fn spoken(audio: &Audio, quality: &Quality) -> Option<Audio> {
    let samples = audio.samples().get(quality.span.clone())?;
    Audio::from_samples(samples.to_vec()).ok()
}

/// A voice does not belong into a log.
impl std::fmt::Debug for Digits {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Digits({} takes)", self.takes())
    }
}

impl Digits {
    /// Learns digits from an utterance that was cut into them ([`crate::frontend::Frontend::words`]).
    /// Says whether there were as many words as digits, each from 0 to 9 and none of them endless; nothing
    /// is learnt otherwise. What is learnt is rounded to what is stored, so that it scores the same before
    /// and after.
    pub fn learn(&mut self, digits: &[u8], words: &[Cepstra]) -> bool {
        let no_word = |word: &Cepstra| word.is_empty() || word.len() > LONGEST;
        if digits.len() != words.len()
            || digits.iter().any(|digit| *digit > 9)
            || words.iter().any(no_word)
        {
            return false;
        }
        for (digit, word) in digits.iter().zip(words) {
            if let Some(said) = self.said.get_mut(usize::from(*digit))
                && said.len() < TAKES
            {
                let mut word = word.clone();
                round(&mut word);
                said.push(word);
            }
        }
        true
    }

    /// How many takes there are of the digit with the fewest.
    #[must_use]
    pub fn takes(&self) -> usize {
        self.said.iter().map(Vec::len).min().unwrap_or_default()
    }

    /// Whether every digit has as many takes as are asked for.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.takes() >= TAKES
    }

    /// How far the takes are from one another at most, all ten digits in a row: the person's own scale.
    /// `None` before there are two of every digit.
    #[must_use]
    pub fn own_scale(&self) -> Option<Distance> {
        let all: Vec<u8> = (0..10).collect();
        let takes: Vec<_> = (0..self.takes())
            .filter_map(|take| self.put_together(&all, take))
            .collect();
        let pairs = takes
            .iter()
            .zip(1..)
            .flat_map(|(one, next)| takes.iter().skip(next).map(move |two| distance(one, two)));
        pairs.max_by(f32::total_cmp)
    }

    /// Whether an answer is about as near to these digits as the person's takes are to one another.
    fn near_enough(&self, digits: &[u8], answer: &Cepstra) -> bool {
        match (self.own_scale(), self.distance(digits, answer)) {
            (Some(own), Some(far)) => own.is_finite() && far <= FURTHER * own,
            _ => false,
        }
    }

    /// Whether these words are, one after the other, what was learnt once: nobody says them twice so alike.
    /// Found where a row is asked for as it was before, as enrolment does; not if the digits of one recording
    /// have come to lie among different takes.
    fn has_recording(&self, digits: &[u8], words: &[Cepstra]) -> bool {
        let all: Vec<_> = words.iter().flat_map(|word| &word.0).copied().collect();
        let all = Frames(all);
        (0..TAKES)
            .filter_map(|take| self.put_together(digits, take))
            .any(|before| distance(&before, &all) < SAME_RECORDING)
    }

    /// As bytes: at most [`Digits::MOST_BYTES`]. They hold a person's voice: keep them sealed. Digits that
    /// are not complete can be kept, too.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(MAGIC);
        bytes.push(VERSION);
        bytes.extend(self.said.iter().map(|said| said.len() as u8));
        for word in self.said.iter().flatten() {
            bytes.extend((word.len() as u16).to_le_bytes());
            write_frames(&mut bytes, word);
        }
        with_sum(bytes)
    }

    /// More bytes than this are nobody's digits.
    pub const MOST_BYTES: usize = 4 + 1 + 10 + 10 * TAKES * (2 + 2 * CEPSTRA * LONGEST) + 32;

    /// Reads what [`Digits::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`BadDigits`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadDigits> {
        if bytes.len() > Self::MOST_BYTES {
            return Err(BadDigits("longer than any"));
        }
        let body = without_sum(bytes).map_err(BadDigits)?;
        let rest = body.strip_prefix(MAGIC).ok_or(BadDigits("no magic"))?;
        let (&[version], rest) = rest.split_first_chunk().ok_or(BadDigits("no header"))?;
        if version != VERSION {
            return Err(BadDigits(
                "of another version: the person has to say them again",
            ));
        }
        let (counts, mut rest) = rest
            .split_first_chunk::<10>()
            .ok_or(BadDigits("no header"))?;
        let mut digits = Self::default();
        for (said, count) in digits.said.iter_mut().zip(counts) {
            if usize::from(*count) > TAKES {
                return Err(BadDigits("more takes than are kept"));
            }
            for _ in 0..*count {
                let (word, after) =
                    read_word(rest).ok_or(BadDigits("a digit is not as it should be"))?;
                said.push(word);
                rest = after;
            }
        }
        if !rest.is_empty() {
            return Err(BadDigits("more than digits"));
        }
        Ok(digits)
    }

    /// How far an answer is from these digits, put together from each take. `None` before every digit was
    /// learnt, or for what is no digit.
    #[must_use]
    pub fn distance(&self, digits: &[u8], answer: &Cepstra) -> Option<Distance> {
        let takes = self.takes();
        let mut sum = 0.0;
        for take in 0..takes {
            sum += distance(&self.put_together(digits, take)?, answer).min(10.0);
        }
        (takes > 0).then(|| sum / takes as f32)
    }

    /// How many of `others` sequences, as long and drawn at random, are nearer to the answer than what was
    /// asked for; no two of them agree in more than half of their places. By chance alone it is zero in one
    /// of `others` plus one. `None` as [`Digits::distance`].
    #[must_use]
    pub fn nearer(
        &self,
        asked: &[u8],
        answer: &Cepstra,
        others: usize,
        seed: u64,
    ) -> Option<usize> {
        let right = self.distance(asked, answer)?;
        let mut random = crate::calibrate::Random(seed);
        let (mut nearer, mut drawn) = (0, 0);
        // Of digits at random one in ten places agrees: hardly any is drawn in vain.
        for _ in 0..others.saturating_mul(10) {
            if drawn == others {
                break;
            }
            let other: Vec<u8> = asked.iter().map(|_| random.below(10) as u8).collect();
            let agree = other.iter().zip(asked).filter(|(a, b)| a == b).count();
            if agree * 2 > asked.len() {
                continue;
            }
            drawn += 1;
            // What cannot be compared is not further away.
            let is_nearer = self.distance(&other, answer).is_none_or(|it| it <= right);
            nearer += usize::from(is_nearer);
        }
        Some(nearer)
    }

    fn put_together(&self, digits: &[u8], take: usize) -> Option<Cepstra> {
        let mut frames = Vec::new();
        for digit in digits {
            frames.extend_from_slice(&self.said.get(usize::from(*digit))?.get(take)?.0);
        }
        Some(Frames(frames))
    }
}

fn read_word(bytes: &[u8]) -> Option<(Cepstra, &[u8])> {
    let (count, rest) = bytes.split_first_chunk::<2>()?;
    let count = usize::from(u16::from_le_bytes(*count));
    if count == 0 || count > LONGEST {
        return None;
    }
    read_frames(rest, count)
}
