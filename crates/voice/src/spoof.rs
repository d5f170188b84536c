//! From when on a model for synthetic speech is believed: a threshold from labelled recordings.
//!
//! The scale of such a model is its own, so that a threshold from somewhere else says nothing. What is
//! aimed at is a ceiling of false alarms: of people who speak, so many at most are taken for synthetic.
//! Recordings of one person resemble each other, and so do those of one synthesiser: people and makers
//! are drawn again for the intervals, not recordings.

use serde::{Deserialize, Serialize};

use crate::calibrate::{Random, interval, rounded, short};
use crate::score::{CalibrationError, Interval, hex};

/// What a model said of one recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heard {
    /// As [`crate::Plugin::spoof`]: higher is more synthetic.
    pub score: f32,
    /// Who speaks, or what made it, as a number of your own.
    pub of: u32,
}

/// What is aimed at.
#[derive(Clone, Debug, PartialEq)]
pub struct Ceiling {
    /// False alarms at most, above 0 and below 0.5. It takes three times its inverse in recordings of
    /// people to be measured at all: 300 for 1%.
    pub false_alarms: f64,
    /// SHA-256 of the model.
    pub model: [u8; 32],
    /// Starts the drawing; the same seed, the same intervals.
    pub seed: u64,
    /// How often people and makers are drawn again: 1000 is customary.
    pub repetitions: u32,
}

/// How a threshold came about, kept beside it in a [`crate::Calibration`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// SHA-256 of the model, in hexadecimal: for another the threshold says nothing.
    pub model: String,
    /// The false alarms that were the ceiling, 0 to 1.
    pub target_false_alarms: f64,
    /// Where the threshold would have been with other recordings like these.
    pub threshold_range: [f32; 2],
    /// People who are taken for synthetic, measured.
    pub false_alarms: Interval,
    /// Synthetic or replayed recordings that are found, measured. `None`: there were none, and nobody
    /// knows whether any is found.
    pub caught: Option<Interval>,
    /// Recordings of people.
    pub genuine: u32,
    /// People.
    pub people: u32,
    /// Recordings that are synthetic or replayed.
    pub spoofed: u32,
    /// By how many makers.
    pub makers: u32,
}

/// A threshold, and how it came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// Scores from here on are taken as synthetic.
    pub from: f32,
    /// How it came about.
    pub measured: Measured,
}

impl Measured {
    /// Whether it can be: somebody may have edited it.
    pub(crate) fn holds(&self) -> bool {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let rate = |rate: Interval| share(rate.value) && share(rate.low) && share(rate.high);
        let needed = (3.0 / self.target_false_alarms - 1e-9).ceil();
        self.target_false_alarms > 0.0
            && self.target_false_alarms < 0.5
            && f64::from(self.genuine) >= needed
            && self.threshold_range.iter().all(|end| end.is_finite())
            && rate(self.false_alarms)
            && self.caught.is_none_or(rate)
            && self.caught.is_some() == (self.spoofed > 0)
            && (1..=self.genuine).contains(&self.people)
            && self.makers <= self.spoofed
            && self.model.len() == 64
            && self.model.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }
}

/// Finds the threshold. With `spoofed` recordings it lies in the middle of the gap below the lowest of
/// them that can be found under the ceiling: raising it so far loses none and spares people. Without any
/// it is the lowest that keeps the ceiling, a quantile of people's scores.
///
/// # Errors
/// [`CalibrationError::TooFew`] where the ceiling cannot be shown with so few recordings of people,
/// [`CalibrationError::Field`] for a ceiling or a score that cannot be, and for a model that finds no more
/// of the synthetic than of people.
pub fn learn(genuine: &[Heard], spoofed: &[Heard], ceiling: &Ceiling) -> Result<Threshold, CalibrationError> {
    let most = ceiling.false_alarms;
    if !(most > 0.0 && most < 0.5) {
        return Err(CalibrationError::Field("the ceiling of false alarms has to be between 0 and 0.5"));
    }
    if genuine.iter().chain(spoofed).any(|heard| !heard.score.is_finite()) {
        return Err(CalibrationError::Field("a score for synthetic speech is not finite"));
    }
    let needed = (3.0 / most - 1e-9).ceil() as usize;
    if genuine.len() < needed {
        return Err(CalibrationError::FewPeople { found: genuine.len(), needed, ceiling: format!("{}%", most * 100.0) });
    }
    let (people, makers) = (Drawn::new(genuine), Drawn::new(spoofed));
    let (once, made) = (vec![1; people.groups], vec![1; makers.groups]);
    let from = threshold(&people, &once, &makers, &made, most);
    let (alarms, caught) = (people.share(&once, from), makers.share(&made, from));
    if !spoofed.is_empty() && caught <= alarms.max(most) {
        return Err(CalibrationError::Field("the model finds no more of the synthetic recordings than the ceiling permits of people: it says nothing here"));
    }
    let (mut thresholds, mut all_alarms, mut all_caught) = (Vec::new(), Vec::new(), Vec::new());
    let mut random = Random(ceiling.seed);
    for _ in 0..ceiling.repetitions {
        let (these, those) = (people.draw(&mut random), makers.draw(&mut random));
        thresholds.push(f64::from(threshold(&people, &these, &makers, &those, most)));
        all_alarms.push(people.share(&these, from));
        all_caught.push(makers.share(&those, from));
    }
    let range = interval(f64::from(from), thresholds, 0);
    // None missed says no more than none accepted.
    let missed = interval(1.0 - caught, all_caught.iter().map(|share| 1.0 - share).collect(), spoofed.len());
    let caught = short(Interval { value: caught, low: 1.0 - missed.high, high: 1.0 - missed.low });
    let measured = Measured {
        model: hex(&ceiling.model),
        target_false_alarms: most,
        threshold_range: [rounded(range.low, 3) as f32, rounded(range.high, 3) as f32],
        false_alarms: short(interval(alarms, all_alarms, genuine.len())),
        caught: (!spoofed.is_empty()).then_some(caught),
        genuine: genuine.len() as u32,
        people: people.groups as u32,
        spoofed: spoofed.len() as u32,
        makers: makers.groups as u32,
    };
    Ok(Threshold { from, measured })
}

/// Three digits, upwards: more would say that it is known better, and downwards the ceiling might not hold.
fn threshold(people: &Drawn, these: &[u32], makers: &Drawn, those: &[u32], most: f64) -> f32 {
    let lowest = people.lowest(these, most);
    let found = makers.scores(those).filter(|score| *score >= lowest).fold(f32::INFINITY, f32::min);
    let exact = if found.is_finite() {
        // Of people below it, the one that is nearest: as much room on one side as on the other.
        let below = people.scores(these).filter(|score| *score < found).fold(f32::NEG_INFINITY, f32::max);
        lowest.max(if below.is_finite() { below + (found - below) / 2.0 } else { found })
    } else {
        lowest
    };
    let up = ((f64::from(exact) * 1000.0).ceil() / 1000.0) as f32;
    if up >= exact && up <= found { up } else { exact }
}

/// Recordings with their groups numbered from 0.
struct Drawn {
    sorted: Vec<(f32, usize)>,
    groups: usize,
}

impl Drawn {
    fn new(heard: &[Heard]) -> Self {
        let mut names: Vec<u32> = heard.iter().map(|heard| heard.of).collect();
        names.sort_unstable();
        names.dedup();
        let number = |of: u32| names.binary_search(&of).unwrap_or_default();
        let mut sorted: Vec<_> = heard.iter().map(|heard| (heard.score, number(heard.of))).collect();
        sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
        Self { sorted, groups: names.len() }
    }

    /// How often each group is drawn.
    fn draw(&self, random: &mut Random) -> Vec<u32> {
        let mut drawn = vec![0; self.groups];
        for _ in 0..self.groups {
            if let Some(times) = drawn.get_mut(random.below(self.groups)) {
                *times += 1;
            }
        }
        drawn
    }

    /// Scores of those that were drawn, from high to low, with how often.
    fn weighted<'a>(&'a self, drawn: &'a [u32]) -> impl Iterator<Item = (f32, f64)> + 'a {
        let weight = |group: usize| f64::from(drawn.get(group).copied().unwrap_or_default());
        self.sorted.iter().map(move |(score, group)| (*score, weight(*group))).filter(|(_, weight)| *weight > 0.0)
    }

    fn scores<'a>(&'a self, drawn: &'a [u32]) -> impl Iterator<Item = f32> + 'a { self.weighted(drawn).map(|(score, _)| score) }

    /// Which share has this score or a higher one.
    fn share(&self, drawn: &[u32], from: f32) -> f64 {
        let (mut all, mut above) = (0.0, 0.0);
        for (score, weight) in self.weighted(drawn) {
            all += weight;
            above += if score >= from { weight } else { 0.0 };
        }
        if all > 0.0 { above / all } else { 0.0 }
    }

    /// The lowest threshold at which so many at most are above it: just over the first score that would be
    /// one too many.
    fn lowest(&self, drawn: &[u32], most: f64) -> f32 {
        let all: f64 = self.weighted(drawn).map(|(_, weight)| weight).sum();
        let mut above = 0.0;
        for (score, weight) in self.weighted(drawn) {
            above += weight;
            if above > most * all + 1e-9 {
                return score.next_up();
            }
        }
        f32::NEG_INFINITY
    }
}
