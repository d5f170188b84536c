//! Digits that are asked for anew each time, against recordings of an earlier occasion.
//!
//! Who is enrolled has said every digit. From those the words that are asked for are put together, and
//! other digits, drawn at random; the answer has to be nearest to those that were asked for. A recording
//! of other digits is nearer to others. It says nothing about whose voice it is, and nothing against
//! somebody who has every digit of the person and joins them: see `docs/voice.md`.

use crate::frontend::{Cepstra, Frames};
use crate::phrase::{Distance, distance};

/// Takes of a digit that are kept.
pub const TAKES: usize = 3;

/// Every digit as a person has said it.
#[derive(Clone, Default)]
pub struct Digits {
    said: [Vec<Cepstra>; 10],
}

/// A voice does not belong into a log.
impl std::fmt::Debug for Digits {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Digits({} takes)", self.takes())
    }
}

impl Digits {
    /// Learns digits from an utterance that was cut into them ([`crate::frontend::Frontend::words`]).
    /// Says whether there were as many words as digits, each from 0 to 9; nothing is learnt otherwise.
    pub fn learn(&mut self, digits: &[u8], words: &[Cepstra]) -> bool {
        if digits.len() != words.len() || digits.iter().any(|digit| *digit > 9) {
            return false;
        }
        for (digit, word) in digits.iter().zip(words) {
            if let Some(said) = self.said.get_mut(usize::from(*digit))
                && said.len() < TAKES
            {
                said.push(word.clone());
            }
        }
        true
    }

    /// How many takes there are of the digit with the fewest.
    #[must_use]
    pub fn takes(&self) -> usize {
        self.said.iter().map(Vec::len).min().unwrap_or_default()
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
