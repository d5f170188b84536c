//! A mixture of 128 Gaussians that stands for everybody, and the same mixture moved towards one
//! speaker: the classical way to compare voices, kept because it errs elsewhere than the network.
//!
//! Reynolds, Quatieri and Dunn, "Speaker Verification Using Adapted Gaussian Mixture Models" (2000):
//! only the means are adapted, with a relevance factor of 8.

use crate::frontend::{CEPSTRA, Cepstra};

/// How many frames weigh as much as what everybody sounds like.
const RELEVANCE: f32 = 8.0;
const MAGIC: &[u8; 8] = b"CSUBM\0\0\x01";
const MOST_COMPONENTS: usize = 1024;

/// The mixture for everybody.
#[derive(Clone)]
pub struct Background {
    components: Vec<Component>,
}

/// The means of the mixture, moved towards one speaker.
#[derive(Clone)]
pub struct Adapted {
    components: Vec<Component>,
}

/// Why bytes are not a mixture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a background mixture: {0}")]
pub struct BadMixture(&'static str);

impl Background {
    /// The mixture that is part of this crate.
    ///
    /// # Errors
    /// [`BadMixture`], if the crate was built from a damaged file.
    pub fn built_in() -> Result<Self, BadMixture> {
        Self::from_bytes(include_bytes!("../models/ubm128.bin"))
    }

    /// Reads the format of `models/ubm128.bin`: eight bytes of magic, the number of components and of
    /// dimensions as 32 bit integers, then weights, means and variances as 32 bit floats, all little
    /// endian.
    ///
    /// # Errors
    /// [`BadMixture`], if a size or a number is not what it should be.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadMixture> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(BadMixture("no magic"))?;
        let (words, []) = rest.as_chunks::<4>() else {
            return Err(BadMixture("cut within a number"));
        };
        let [count, width, numbers @ ..] = words else {
            return Err(BadMixture("no sizes"));
        };
        let count = u32::from_le_bytes(*count) as usize;
        if u32::from_le_bytes(*width) as usize != CEPSTRA {
            return Err(BadMixture("another number of dimensions"));
        }
        if count == 0 || count > MOST_COMPONENTS || numbers.len() != count * (1 + 2 * CEPSTRA) {
            return Err(BadMixture("another number of components than it says"));
        }
        let numbers: Vec<f32> = numbers
            .iter()
            .map(|word| f32::from_le_bytes(*word))
            .collect();
        let (weights, rest) = numbers.split_at(count);
        let (means, variances) = rest.split_at(count * CEPSTRA);
        if numbers.iter().any(|number| !number.is_finite()) {
            return Err(BadMixture("a number that is not finite"));
        }
        if weights.iter().chain(variances).any(|&number| number <= 0.0) {
            return Err(BadMixture("a weight or variance that is not positive"));
        }
        let (means, variances) = (means.as_chunks().0, variances.as_chunks().0);
        let components = weights
            .iter()
            .zip(means)
            .zip(variances)
            .map(|((weight, mean), variance)| Component::new(*weight, *mean, variance))
            .collect();
        Ok(Self { components })
    }

    /// Mean logarithm of the likelihood of a frame. `None` without frames.
    #[must_use]
    pub fn log_likelihood(&self, frames: &Cepstra) -> Option<f32> {
        average(frames, &self.components)
    }

    /// The mixture moved towards who spoke `takes`.
    #[must_use]
    pub fn adapt<'a>(&self, takes: impl IntoIterator<Item = &'a Cepstra>) -> Adapted {
        let mut counts = vec![0.0f32; self.components.len()];
        let mut sums = vec![[0.0f32; CEPSTRA]; self.components.len()];
        let mut logs = vec![0.0f32; self.components.len()];
        for frame in takes.into_iter().flat_map(|take| &take.0) {
            let total = log_sum(frame, &self.components, &mut logs);
            for ((log, count), sum) in logs.iter().zip(&mut counts).zip(&mut sums) {
                let share = (log - total).exp();
                *count += share;
                for (sum, value) in sum.iter_mut().zip(frame) {
                    *sum += share * value;
                }
            }
        }
        let moved = self.components.iter().zip(&counts).zip(&sums);
        Adapted {
            components: moved
                .map(|((component, count), sum)| component.moved(*count, sum))
                .collect(),
        }
    }

    /// How much likelier frames are from the adapted mixture than from everybody's, as the mean
    /// natural logarithm a frame; above 0 speaks for the speaker. `None` without frames.
    #[must_use]
    pub fn ratio(&self, speaker: &Adapted, frames: &Cepstra) -> Option<f32> {
        Some(average(frames, &speaker.components)? - self.log_likelihood(frames)?)
    }
}

#[derive(Clone)]
struct Component {
    mean: [f32; CEPSTRA],
    /// One divided by the variance, halved.
    half_precision: [f32; CEPSTRA],
    /// Logarithm of the weight and of what makes the density integrate to one.
    constant: f32,
}

impl Component {
    fn new(weight: f32, mean: [f32; CEPSTRA], variance: &[f32; CEPSTRA]) -> Self {
        let spread: f32 = variance
            .iter()
            .map(|value| (2.0 * std::f32::consts::PI * value).ln())
            .sum();
        Self {
            mean,
            half_precision: variance.map(|value| 0.5 / value),
            constant: weight.ln() - 0.5 * spread,
        }
    }

    fn moved(&self, count: f32, sum: &[f32; CEPSTRA]) -> Self {
        let share = count / (count + RELEVANCE);
        let mut mean = self.mean;
        for (mean, sum) in mean.iter_mut().zip(sum) {
            *mean = share * sum / (count + 1e-6) + (1.0 - share) * *mean;
        }
        Self {
            mean,
            ..self.clone()
        }
    }

    fn log_density(&self, frame: &[f32; CEPSTRA]) -> f32 {
        // In lanes, so that the compiler may use vectors: floats are not reordered otherwise.
        const LANES: usize = 2;
        let mut lanes = [0.0f32; CEPSTRA / LANES];
        let (values, _) = frame.as_chunks::<{ CEPSTRA / LANES }>();
        let (means, _) = self.mean.as_chunks::<{ CEPSTRA / LANES }>();
        let (precisions, _) = self.half_precision.as_chunks::<{ CEPSTRA / LANES }>();
        for ((values, means), precisions) in values.iter().zip(means).zip(precisions) {
            for (((lane, value), mean), precision) in
                lanes.iter_mut().zip(values).zip(means).zip(precisions)
            {
                let apart = value - mean;
                *lane += apart * apart * precision;
            }
        }
        self.constant - lanes.iter().sum::<f32>()
    }
}

fn average(frames: &Cepstra, components: &[Component]) -> Option<f32> {
    let mut logs = vec![0.0; components.len()];
    let total: f64 = frames
        .0
        .iter()
        .map(|frame| f64::from(log_sum(frame, components, &mut logs)))
        .sum();
    (!frames.is_empty()).then(|| (total / frames.len() as f64) as f32)
}

/// Logarithm of the density of a frame; `logs` takes that of each component.
fn log_sum(frame: &[f32; CEPSTRA], components: &[Component], logs: &mut [f32]) -> f32 {
    let mut most = f32::NEG_INFINITY;
    for (log, component) in logs.iter_mut().zip(components) {
        *log = component.log_density(frame);
        most = most.max(*log);
    }
    most + logs.iter().map(|log| (log - most).exp()).sum::<f32>().ln()
}
