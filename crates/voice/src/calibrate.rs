//! From labelled trials to a threshold, and how sure one can be of it.
//!
//! Trials of one person resemble each other, so that people are drawn again for the intervals, not
//! trials (a bootstrap by speaker). With few speakers the intervals are wide, and that is the truth.

use crate::drift::Reference;
use crate::embed::BUILT_IN_SHA256;
use crate::phrase::Distance;
use crate::score::{Calibration, CalibrationError, Fusion, Interval, Speech, hex};

/// One comparison of which it is known who spoke.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// The fused score.
    pub score: f32,
    /// Whether it was the person of the template.
    pub genuine: bool,
    /// Whose template it was, as a number of your own.
    pub speaker: u32,
}

/// What a calibration is made for.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// False accepts to aim at, above 0 and below 0.5. It takes three times its inverse in trials of
    /// impostors to be measured at all: 300 for 1%.
    pub false_accepts: f64,
    /// For what it holds, in words.
    pub condition: String,
    /// The day, as year-month-day.
    pub made_on: String,
    /// Recordings that the trials were made of.
    pub calls: u32,
    /// What is said.
    pub speech: Speech,
    /// SHA-256 of the speaker network.
    pub network: [u8; 32],
    /// What the scores of the trials were made with.
    pub weights: Fusion,
    /// See [`phrase_threshold`].
    pub phrase_threshold: Option<Distance>,
    /// Starts the drawing; the same seed, the same intervals.
    pub seed: u64,
    /// How often people are drawn again: 1000 is customary.
    pub repetitions: u32,
}

impl Goal {
    /// For the network that is part of this crate and its weights, with 1000 repetitions.
    #[must_use]
    pub fn new(
        false_accepts: f64,
        condition: &str,
        speech: Speech,
        made_on: &str,
        calls: u32,
    ) -> Self {
        Self {
            false_accepts,
            condition: condition.into(),
            made_on: made_on.into(),
            calls,
            speech,
            network: BUILT_IN_SHA256,
            weights: Fusion::of(speech),
            phrase_threshold: None,
            seed: 1,
            repetitions: 1000,
        }
    }
}

/// How well scores tell people apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Where false accepts and false refusals are equally many.
    pub equal_error: Interval,
    /// False refusals at 1% false accepts. `None` with fewer than 100 impostors.
    pub refusals_at_1_percent: Option<Interval>,
    /// False refusals at 0.1% false accepts. `None` with fewer than 1000 impostors.
    pub refusals_at_1_permille: Option<Interval>,
    /// False accepts and false refusals at every threshold, from low to high.
    pub curve: Vec<(f64, f64)>,
    /// Trials of a person against their own template.
    pub genuine_trials: usize,
    /// Trials against somebody else's.
    pub impostor_trials: usize,
}

/// Fewest genuine trials for a calibration.
pub const FEWEST_GENUINE: usize = 30;

/// Makes a calibration.
///
/// # Errors
/// [`CalibrationError::TooFew`] where the target cannot be shown with these trials,
/// [`CalibrationError::Field`] for a target or condition that cannot be.
pub fn calibrate(trials: &[Trial], goal: &Goal) -> Result<Calibration, CalibrationError> {
    if !(goal.false_accepts > 0.0 && goal.false_accepts < 0.5) {
        return Err(CalibrationError::Field(
            "the target has to be between 0 and 0.5",
        ));
    }
    if trials.iter().any(|trial| !trial.score.is_finite()) {
        return Err(CalibrationError::Field("a score is not finite"));
    }
    let sample = Sample::new(trials);
    let target = || format!("{}%", goal.false_accepts * 100.0);
    for (kind, found, needed) in [
        (
            "impostors",
            sample.impostors,
            (3.0 / goal.false_accepts).ceil() as usize,
        ),
        ("the genuine", sample.genuine, FEWEST_GENUINE),
    ] {
        if found < needed {
            return Err(CalibrationError::TooFew {
                kind,
                found,
                needed,
                target: target(),
            });
        }
    }
    let once = vec![1; sample.speakers];
    let exact = sample.threshold(&once, goal.false_accepts);
    // Upwards, so that the target still holds: more digits would say that it is known better.
    let threshold = ((f64::from(exact) * 1000.0).ceil() / 1000.0) as f32;
    let threshold = threshold.max(exact);
    let (accepts, refusals) = sample.rates(&once, threshold);
    let (mut thresholds, mut all_accepts, mut all_refusals) = (Vec::new(), Vec::new(), Vec::new());
    let mut random = Random(goal.seed);
    for _ in 0..goal.repetitions {
        let drawn = sample.draw(&mut random);
        thresholds.push(f64::from(sample.threshold(&drawn, goal.false_accepts)));
        let (accepts, refusals) = sample.rates(&drawn, threshold);
        all_accepts.push(accepts);
        all_refusals.push(refusals);
    }
    let range = interval(f64::from(threshold), thresholds, 0);
    let features: Vec<Vec<f64>> = trials
        .iter()
        .map(|trial| vec![f64::from(trial.score)])
        .collect();
    let labels: Vec<bool> = trials.iter().map(|trial| trial.genuine).collect();
    let line = logistic(&features, &labels);
    let genuine: Vec<f32> = trials
        .iter()
        .filter(|trial| trial.genuine)
        .map(|trial| trial.score)
        .collect();
    let calibration = Calibration {
        version: 2,
        condition: goal.condition.clone(),
        made_on: goal.made_on.clone(),
        speech: goal.speech,
        network: hex(&goal.network),
        target_false_accepts: goal.false_accepts,
        threshold,
        threshold_range: [rounded(range.low, 3) as f32, rounded(range.high, 3) as f32],
        false_accepts: short(interval(accepts, all_accepts, sample.impostors)),
        false_refusals: short(interval(refusals, all_refusals, sample.genuine)),
        genuine_trials: sample.genuine as u32,
        impostor_trials: sample.impostors as u32,
        speakers: sample.speakers as u32,
        calls: goal.calls,
        slope: rounded(line.weights.first().copied().unwrap_or_default(), 4) as f32,
        intercept: rounded(line.offset, 4) as f32,
        phrase_threshold: goal.phrase_threshold,
        spoof_threshold: None,
        spoof: None,
        weights: Some(goal.weights),
        genuine: Reference::of(&genuine),
    };
    calibration.checked()
}

/// Distance up to which two takes are the same phrase, so that `refused` (0 to 1) of the right phrases
/// would be turned away. `None` without distances.
///
/// The distances are means to a template, of people who say their own phrase.
#[must_use]
pub fn phrase_threshold(right: &[Distance], refused: f32) -> Option<Distance> {
    (!right.is_empty()).then(|| crate::frontend::percentile(right, 1.0 - refused.clamp(0.0, 1.0)))
}

/// How well these scores tell people apart, with intervals. `None` unless there are trials of both
/// kinds, all of them finite.
#[must_use]
pub fn evaluate(trials: &[Trial], seed: u64, repetitions: u32) -> Option<Evaluation> {
    let sample = Sample::new(trials);
    let finite = trials.iter().all(|trial| trial.score.is_finite());
    if sample.genuine == 0 || sample.impostors == 0 || !finite {
        return None;
    }
    let once = vec![1; sample.speakers];
    let refusals =
        |weights: &[u32], accepts: f64| sample.rates(weights, sample.threshold(weights, accepts)).1;
    let (mut equal, mut at_1_percent, mut at_1_permille) = (Vec::new(), Vec::new(), Vec::new());
    let mut random = Random(seed);
    for _ in 0..repetitions {
        let drawn = sample.draw(&mut random);
        equal.push(sample.equal_error(&drawn));
        at_1_percent.push(refusals(&drawn, 0.01));
        at_1_permille.push(refusals(&drawn, 0.001));
    }
    let measured = |least: usize, accepts: f64, drawn: Vec<f64>| {
        (sample.impostors >= least)
            .then(|| interval(refusals(&once, accepts), drawn, sample.genuine))
    };
    Some(Evaluation {
        equal_error: interval(
            sample.equal_error(&once),
            equal,
            sample.genuine.min(sample.impostors),
        ),
        refusals_at_1_percent: measured(100, 0.01, at_1_percent),
        refusals_at_1_permille: measured(1000, 0.001, at_1_permille),
        curve: sample
            .curve(&once)
            .into_iter()
            .map(|(_, accepts, refusals)| (accepts, refusals))
            .collect(),
        genuine_trials: sample.genuine,
        impostor_trials: sample.impostors,
    })
}

/// What a logistic regression found: the logarithm of the odds is `weights` times the features, plus
/// `offset`, with both labels equally likely beforehand.
#[derive(Clone, Debug, PartialEq)]
pub struct Logistic {
    /// One for each feature.
    pub weights: Vec<f64>,
    /// Added.
    pub offset: f64,
}

/// Fits a logistic regression, both labels weighing the same, with a little damping so that labels
/// that can be told apart without error give finite weights.
#[must_use]
pub fn logistic(features: &[Vec<f64>], labels: &[bool]) -> Logistic {
    const STEPS: usize = 4000;
    let width = features.first().map_or(0, Vec::len);
    let count = features.len().max(1) as f64;
    // Less the more is known: the customary strength of a tenth for all labels together.
    let damping = 0.1 / count;
    let mean = |column: usize, of: &dyn Fn(f64) -> f64| {
        features
            .iter()
            .filter_map(|row| row.get(column))
            .map(|value| of(*value))
            .sum::<f64>()
            / count
    };
    let means: Vec<f64> = (0..width)
        .map(|column| mean(column, &|value| value))
        .collect();
    let spread = |(column, middle): (usize, &f64)| {
        mean(column, &|value| (value - middle).powi(2))
            .sqrt()
            .max(1e-9)
    };
    let spreads: Vec<f64> = means.iter().enumerate().map(spread).collect();
    let yes = labels.iter().filter(|label| **label).count().max(1) as f64;
    let no = (count - yes).max(1.0);
    let rows: Vec<(Vec<f64>, f64, f64)> = features
        .iter()
        .zip(labels)
        .map(|(row, label)| {
            let scaled = row
                .iter()
                .zip(&means)
                .zip(&spreads)
                .map(|((value, mean), spread)| (value - mean) / spread);
            (
                scaled.collect(),
                f64::from(u8::from(*label)),
                0.5 / if *label { yes } else { no },
            )
        })
        .collect();
    let (mut weights, mut offset) = (vec![0.0; width], 0.0);
    // With scaled features the curvature is at most a quarter of their number and one for the offset.
    let step = 4.0 / (1.0 + width as f64 + 4.0 * damping);
    let (mut ahead, mut ahead_offset) = (weights.clone(), offset);
    for round in 0..STEPS {
        let mut slopes: Vec<f64> = ahead.iter().map(|weight| damping * weight).collect();
        let mut slope_offset = 0.0;
        for (row, label, share) in &rows {
            let sum = ahead_offset
                + row
                    .iter()
                    .zip(&ahead)
                    .map(|(value, weight)| value * weight)
                    .sum::<f64>();
            let error = share * (1.0 / (1.0 + (-sum).exp()) - label);
            slope_offset += error;
            for (slope, value) in slopes.iter_mut().zip(row) {
                *slope += error * value;
            }
        }
        // Nesterov's acceleration.
        let push = round as f64 / (round as f64 + 3.0);
        for ((weight, ahead), slope) in weights.iter_mut().zip(&mut ahead).zip(&slopes) {
            let next = *ahead - step * slope;
            *ahead = next + push * (next - *weight);
            *weight = next;
        }
        let next = ahead_offset - step * slope_offset;
        ahead_offset = next + push * (next - offset);
        offset = next;
    }
    let weights: Vec<f64> = weights
        .iter()
        .zip(&spreads)
        .map(|(weight, spread)| weight / spread)
        .collect();
    let shift: f64 = weights
        .iter()
        .zip(&means)
        .map(|(weight, mean)| weight * mean)
        .sum();
    Logistic {
        weights,
        offset: offset - shift,
    }
}

/// Trials from low to high scores, speakers numbered from 0.
struct Sample {
    sorted: Vec<(f32, bool, usize)>,
    speakers: usize,
    genuine: usize,
    impostors: usize,
}

impl Sample {
    fn new(trials: &[Trial]) -> Self {
        let mut names: Vec<u32> = trials.iter().map(|trial| trial.speaker).collect();
        names.sort_unstable();
        names.dedup();
        let number = |speaker: u32| names.binary_search(&speaker).unwrap_or_default();
        let mut sorted: Vec<_> = trials
            .iter()
            .map(|trial| (trial.score, trial.genuine, number(trial.speaker)))
            .collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let genuine = trials.iter().filter(|trial| trial.genuine).count();
        Self {
            sorted,
            speakers: names.len(),
            genuine,
            impostors: trials.len() - genuine,
        }
    }

    /// How often each speaker is drawn.
    fn draw(&self, random: &mut Random) -> Vec<u32> {
        let mut drawn = vec![0; self.speakers];
        for _ in 0..self.speakers {
            if let Some(times) = drawn.get_mut(random.below(self.speakers)) {
                *times += 1;
            }
        }
        drawn
    }

    /// Threshold, false accepts and false refusals, for a threshold at each score and one above all.
    fn curve(&self, weights: &[u32]) -> Vec<(f32, f64, f64)> {
        let weight = |speaker: usize| f64::from(weights.get(speaker).copied().unwrap_or_default());
        let total = |kind: bool| {
            let these = self
                .sorted
                .iter()
                .filter(|(_, genuine, _)| *genuine == kind);
            these
                .map(|(.., speaker)| weight(*speaker))
                .sum::<f64>()
                .max(1e-12)
        };
        let (genuine, impostors) = (total(true), total(false));
        let (mut refused, mut accepted) = (0.0, impostors);
        let mut curve = Vec::with_capacity(self.sorted.len() + 1);
        let mut last = f32::NEG_INFINITY;
        for (score, is_genuine, speaker) in &self.sorted {
            // Equal scores are on the same side of every threshold.
            if *score > last {
                curve.push((*score, (accepted / impostors).max(0.0), refused / genuine));
                last = *score;
            }
            if *is_genuine {
                refused += weight(*speaker)
            } else {
                accepted -= weight(*speaker)
            }
        }
        curve.push((
            last.next_up(),
            (accepted / impostors).max(0.0),
            refused / genuine,
        ));
        curve
    }

    /// The lowest threshold with at most so many false accepts.
    fn threshold(&self, weights: &[u32], accepts: f64) -> f32 {
        let curve = self.curve(weights);
        let found = curve
            .iter()
            .find(|(_, accepted, _)| *accepted <= accepts + 1e-12);
        found.map_or(f32::INFINITY, |(threshold, ..)| *threshold)
    }

    /// False accepts and false refusals at a threshold.
    fn rates(&self, weights: &[u32], threshold: f32) -> (f64, f64) {
        let curve = self.curve(weights);
        let found = curve.iter().find(|(at, ..)| *at >= threshold);
        found.map_or((0.0, 1.0), |(_, accepts, refusals)| (*accepts, *refusals))
    }

    fn equal_error(&self, weights: &[u32]) -> f64 {
        let curve = self.curve(weights);
        let crossing = curve.windows(2).find_map(|pair| match pair {
            [(_, a, r), (_, next_a, next_r)] if next_r >= next_a => {
                // On the line between the two thresholds.
                let (gap, next_gap) = (a - r, next_r - next_a);
                let part = if gap + next_gap > 0.0 {
                    gap.max(0.0) / (gap.max(0.0) + next_gap)
                } else {
                    0.0
                };
                Some(0.5 * (a + part * (next_a - a) + r + part * (next_r - r)))
            }
            _ => None,
        });
        crossing.unwrap_or(0.5)
    }
}

/// The middle 95% of what was drawn. Where nothing was wrong in `trials`, drawing people again finds
/// nothing wrong either; up to three in as many could be, at 95% (the "rule of three").
pub(crate) fn interval(value: f64, mut drawn: Vec<f64>, trials: usize) -> Interval {
    drawn.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let place = (part * drawn.len().saturating_sub(1) as f64).round() as usize;
        drawn.get(place).copied().unwrap_or(value)
    };
    let (low, mut high) = (at(0.025), at(0.975));
    if value == 0.0 && trials > 0 {
        high = high.max((3.0 / trials as f64).min(1.0));
    }
    Interval { value, low, high }
}

/// As many digits as are worth writing down.
pub(crate) fn short(interval: Interval) -> Interval {
    let Interval { value, low, high } = interval;
    Interval {
        value: rounded(value, 4),
        low: rounded(low, 4),
        high: rounded(high, 4),
    }
}

pub(crate) fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

/// SplitMix64 (Steele, Lea and Flood 2014): for drawing people again, not for secrets.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * bound as u128) >> 64) as usize
    }
}
