//! Whether scores still look as they did when the threshold was chosen.
//!
//! Lines change, telephones change, people age. A threshold that was right in January may refuse
//! everybody in June, and nobody notices until they call.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A month, by year and number from 1.
pub type Month = (u16, u8);

/// Parts that scores are sorted into, by custom.
pub const TENTHS: usize = 10;
/// How many scores lie in each tenth.
pub type Counts = [u32; TENTHS];

/// How the genuine scored when the threshold was chosen: as much of it as comparing takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Where one tenth ends and the next begins, from low to high.
    pub edges: [f32; TENTHS - 1],
    /// How many scores were in each. About as many everywhere, except where many were equal.
    pub counts: Counts,
}

impl Reference {
    /// Of scores. `None` of none, or with one that is not finite.
    #[must_use]
    pub fn of(scores: &[f32]) -> Option<Self> {
        if scores.is_empty() || scores.iter().any(|score| !score.is_finite()) {
            return None;
        }
        let mut edges = [0.0; TENTHS - 1];
        for (edge, tenth) in edges.iter_mut().zip(1u8..) {
            let exact = crate::frontend::percentile(scores, f32::from(tenth) / TENTHS as f32);
            // More digits would say that it is known better.
            *edge = (f64::from(exact) * 1000.0).round() as f32 / 1000.0;
        }
        let counts = [0; TENTHS];
        let mut reference = Self { edges, counts };
        let counts = reference.sorted(scores)?;
        reference.counts = counts;
        Some(reference)
    }

    /// In which tenth a score lies, from 0. `None` for what is not finite.
    #[must_use]
    pub fn tenth(&self, score: f32) -> Option<u8> {
        let tenth = self.edges.partition_point(|edge| *edge < score);
        score
            .is_finite()
            .then(|| u8::try_from(tenth).ok())
            .flatten()
    }

    /// How many scores lie in each tenth. `None` with one that is not finite.
    #[must_use]
    pub fn sorted(&self, scores: &[f32]) -> Option<Counts> {
        let mut counts = [0u32; TENTHS];
        for score in scores {
            let count = counts.get_mut(usize::from(self.tenth(*score)?))?;
            *count = count.saturating_add(1);
        }
        Some(counts)
    }

    /// How far scores of now have moved. `None` of none.
    #[must_use]
    pub fn moved(&self, now: &Counts) -> Option<Moved> {
        let (then, count) = (total(&self.counts), total(now));
        if then == 0 || count == 0 {
            return None;
        }
        let terms = shares(&self.counts).zip(shares(now));
        let stability_index = terms
            .map(|(then, now)| (now - then) * (now / then).ln())
            .sum();
        let chance = CHANCE * (1.0 / f64::from(then) + 1.0 / f64::from(count));
        Some(Moved {
            count,
            stability_index,
            chance,
        })
    }

    /// Whether it can be one.
    pub(crate) fn holds(&self) -> bool {
        let rising = self
            .edges
            .windows(2)
            .all(|pair| matches!(pair, [low, high] if low <= high));
        rising && self.edges.iter().all(|edge| edge.is_finite()) && total(&self.counts) > 0
    }
}

/// How far scores have moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moved {
    /// How many scores.
    pub count: u32,
    /// Population stability index over the tenths of the reference. By custom, below 0.1 nothing has
    /// changed, and from 0.25 on the threshold has to be measured again.
    pub stability_index: f64,
    /// What the index stays below in 95 of 100 cases although nothing has moved: with few scores it is
    /// large by itself. The scores of one person resemble each other, so that it is rather more.
    pub chance: f64,
}

/// Scores of a time against those of the calibration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// How many scores.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Their variance.
    pub variance: f64,
    /// How far they have moved.
    pub moved: Moved,
}

/// What to make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As it was.
    Stable,
    /// Watch it.
    Moving,
    /// Calibrate again.
    Moved,
    /// Fewer than [`FEWEST`] scores say nothing, nor do so few that chance alone may have moved them.
    TooFew,
}

/// Fewest scores of which anything is said.
pub const FEWEST: u32 = 50;
/// The 95% quantile of chi-square with nine degrees of freedom. Where nothing has moved, the index is
/// about chi-square times the sum of the inverse numbers of scores (Yurdakul and Naranjo 2020).
const CHANCE: f64 = 16.919;

impl Moved {
    /// What to make of it.
    #[must_use]
    pub fn level(&self) -> Level {
        match self.stability_index {
            _ if self.count < FEWEST => Level::TooFew,
            index if index < 0.1 => Level::Stable,
            index if index < 0.25 => Level::Moving,
            index if index < self.chance => Level::TooFew,
            _ => Level::Moved,
        }
    }
}

impl Drift {
    /// Compares. `None` if either is empty or has a score that is not finite.
    #[must_use]
    pub fn of(reference: &[f32], now: &[f32]) -> Option<Self> {
        Self::against(&Reference::of(reference)?, now)
    }

    fn against(reference: &Reference, now: &[f32]) -> Option<Self> {
        let moved = reference.moved(&reference.sorted(now)?)?;
        let count = now.len() as f64;
        let mean = now.iter().map(|score| f64::from(*score)).sum::<f64>() / count;
        let variance = now
            .iter()
            .map(|score| (f64::from(*score) - mean).powi(2))
            .sum::<f64>()
            / count;
        Some(Self {
            count: now.len(),
            mean,
            variance,
            moved,
        })
    }

    /// What to make of it.
    #[must_use]
    pub fn level(&self) -> Level {
        self.moved.level()
    }
}

/// Month by month.
#[must_use]
pub fn monthly(reference: &[f32], scores: &[(Month, f32)]) -> BTreeMap<Month, Drift> {
    let Some(reference) = Reference::of(reference) else {
        return BTreeMap::new();
    };
    let mut months: BTreeMap<Month, Vec<f32>> = BTreeMap::new();
    for (month, score) in scores {
        months.entry(*month).or_default().push(*score);
    }
    let drift =
        |(month, scores): (Month, Vec<f32>)| Some((month, Drift::against(&reference, &scores)?));
    months.into_iter().filter_map(drift).collect()
}

fn total(counts: &Counts) -> u32 {
    counts.iter().copied().fold(0, u32::saturating_add)
}

/// The share of scores in each tenth; half a score is added to each, so that none is zero.
fn shares(counts: &Counts) -> impl Iterator<Item = f64> {
    let all = f64::from(total(counts)) + 0.5 * TENTHS as f64;
    counts
        .iter()
        .map(move |count| (f64::from(*count) + 0.5) / all)
}
