//! Whether scores still look as they did when the threshold was chosen.
//!
//! Lines change, telephones change, people age. A threshold that was right in January may refuse
//! everybody in June, and nobody notices until they call.

use std::collections::BTreeMap;

/// A month, by year and number from 1.
pub type Month = (u16, u8);

/// Scores of a time against those of the calibration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// How many scores.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Their variance.
    pub variance: f64,
    /// Population stability index over the tenths of the reference. By custom, below 0.1 nothing has
    /// changed, and above 0.25 the threshold has to be measured again.
    pub stability_index: f64,
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
    /// Fewer than [`FEWEST`] scores say nothing.
    TooFew,
}

/// Fewest scores of which anything is said.
pub const FEWEST: usize = 50;
const TENTHS: usize = 10;

impl Drift {
    /// Compares. `None` if either is empty or has a score that is not finite.
    #[must_use]
    pub fn of(reference: &[f32], now: &[f32]) -> Option<Self> {
        if reference.is_empty()
            || now.is_empty()
            || reference.iter().chain(now).any(|score| !score.is_finite())
        {
            return None;
        }
        let edge =
            |tenth: usize| crate::frontend::percentile(reference, tenth as f32 / TENTHS as f32);
        let edges: Vec<f32> = (1..TENTHS).map(edge).collect();
        let count = now.len() as f64;
        let mean = now.iter().map(|score| f64::from(*score)).sum::<f64>() / count;
        let variance = now
            .iter()
            .map(|score| (f64::from(*score) - mean).powi(2))
            .sum::<f64>()
            / count;
        let then = shares(reference, &edges);
        let terms = then
            .iter()
            .zip(shares(now, &edges))
            .map(|(then, now)| (now - then) * (now / then).ln());
        Some(Self {
            count: now.len(),
            mean,
            variance,
            stability_index: terms.sum(),
        })
    }

    /// What to make of it.
    #[must_use]
    pub fn level(&self) -> Level {
        match self.stability_index {
            _ if self.count < FEWEST => Level::TooFew,
            index if index < 0.1 => Level::Stable,
            index if index < 0.25 => Level::Moving,
            _ => Level::Moved,
        }
    }
}

/// Month by month.
#[must_use]
pub fn monthly(reference: &[f32], scores: &[(Month, f32)]) -> BTreeMap<Month, Drift> {
    let mut months: BTreeMap<Month, Vec<f32>> = BTreeMap::new();
    for (month, score) in scores {
        months.entry(*month).or_default().push(*score);
    }
    let drift = |(month, scores): (Month, Vec<f32>)| Some((month, Drift::of(reference, &scores)?));
    months.into_iter().filter_map(drift).collect()
}

/// The share of scores between each two edges; half a score is added to each, so that none is zero.
fn shares(scores: &[f32], edges: &[f32]) -> Vec<f64> {
    let mut counts = vec![0.5f64; edges.len() + 1];
    for score in scores {
        if let Some(count) = counts.get_mut(edges.partition_point(|edge| edge < score)) {
            *count += 1.0;
        }
    }
    let total: f64 = counts.iter().sum();
    counts.into_iter().map(|count| count / total).collect()
}
