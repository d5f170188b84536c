//! What the models see of sound: log-mel energies for the network, cepstra for the mixture and for
//! comparing phrases.
//!
//! Both are the numbers the models were trained with. A change here makes every model and every
//! stored template worthless; `tests/reference.rs` holds the values.

use std::f64::consts::PI;
use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex, num_complex::Complex};

use crate::audio::{Audio, SAMPLE_RATE};

/// Samples in a frame: 25 ms.
pub const FRAME: usize = 200;
/// Samples from one frame to the next: 10 ms.
pub const HOP: usize = 80;
/// Bands of [`Frontend::log_mel`].
pub const MELS: usize = 40;
/// Numbers in a frame of [`Frontend::cepstra`]: 19 coefficients and 19 differences.
pub const CEPSTRA: usize = 38;

const FFT: usize = 256;
const BINS: usize = FFT / 2 + 1;
const COEFFICIENTS: usize = 19;
const CEPSTRAL_MELS: usize = 24;
/// With fewer loud frames than this, all frames are kept.
const FEWEST_LOUD: usize = 20;

/// Frames of `WIDTH` numbers each, 10 ms apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frames<const WIDTH: usize>(pub Vec<[f32; WIDTH]>);

/// Frames of log-mel energies: natural logarithm, the mean of each band removed.
pub type LogMel = Frames<MELS>;
/// Frames of cepstra and their differences: loud frames only, mean 0 and variance 1.
pub type Cepstra = Frames<CEPSTRA>;

impl<const WIDTH: usize> Frames<WIDTH> {
    /// How many frames.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The tables for both kinds of frames. Making one costs a millisecond, so keep it.
pub struct Frontend {
    fft: Arc<dyn RealToComplex<f32>>,
    hann: Vec<f32>,
    hamming: Vec<f32>,
    long_hann: Vec<f32>,
    mel: Vec<Band>,
    cepstral_mel: Vec<Band>,
    cosines: Vec<Vec<f32>>,
}

impl Frontend {
    /// Makes the tables.
    #[must_use]
    pub fn new() -> Self {
        let turn = |n: usize, of: usize| (2.0 * PI * n as f64 / of as f64).cos();
        Self {
            fft: RealFftPlanner::new().plan_fft_forward(FFT),
            hann: (0..FRAME)
                .map(|n| (0.5 - 0.5 * turn(n, FRAME)) as f32)
                .collect(),
            hamming: (0..FRAME)
                .map(|n| (0.54 - 0.46 * turn(n, FRAME - 1)) as f32)
                .collect(),
            long_hann: (0..FFT)
                .map(|n| (0.5 - 0.5 * turn(n, FFT)) as f32)
                .collect(),
            mel: bands(MELS, 120.0, 3700.0),
            cepstral_mel: bands(CEPSTRAL_MELS, 250.0, 3500.0),
            cosines: (1..=COEFFICIENTS).map(cosine).collect(),
        }
    }

    /// Log-mel energies, for the speaker network. No frames for less than 25 ms.
    #[must_use]
    pub fn log_mel(&self, audio: &Audio) -> LogMel {
        let mut frames = self.raw_log_mel(audio);
        remove_mean(&mut frames);
        Frames(frames)
    }

    /// As [`Frontend::log_mel`], before the means are removed.
    #[must_use]
    pub fn raw_log_mel(&self, audio: &Audio) -> Vec<[f32; MELS]> {
        let mut spectrum = Spectrum::new(&self.fft);
        let mut frames = Vec::with_capacity(audio.samples().len() / HOP);
        for window in windows(audio.samples()) {
            let power = spectrum.power(window, &self.hann);
            let mut frame = [0.0; MELS];
            for (out, band) in frame.iter_mut().zip(&self.mel) {
                *out = band.energy(power).max(1e-8).ln();
            }
            frames.push(frame);
        }
        frames
    }

    /// Power spectra of 32 ms every 10 ms, for telling speech from other sounds.
    pub(crate) fn spectra(&self, audio: &Audio) -> Vec<Vec<f32>> {
        let mut spectrum = Spectrum::new(&self.fft);
        let long = audio.samples().windows(FFT).step_by(HOP);
        long.map(|window| spectrum.power(window, &self.long_hann).to_vec())
            .collect()
    }

    /// Cepstra of the loud frames, for the mixture and for comparing phrases.
    #[must_use]
    pub fn cepstra(&self, audio: &Audio) -> Cepstra {
        let (frames, levels) = self.every_frame(audio);
        Frames(standardised(loud(frames, &levels)))
    }

    /// The same, cut into so many words at the longest pauses. `None` if that many words are not apart by
    /// 50 ms, or are too short to be any.
    #[must_use]
    pub fn words(&self, audio: &Audio, count: usize) -> Option<Vec<Cepstra>> {
        /// Frames between two words.
        const PAUSE: usize = 5;
        /// Frames of a word.
        const SHORTEST: usize = 8;
        let (frames, levels) = self.every_frame(audio);
        let threshold = loudness(&levels);
        let places: Vec<usize> = (0..levels.len())
            .filter(|place| levels.get(*place).is_some_and(|level| *level > threshold))
            .collect();
        let frames = standardised(loud(frames, &levels));
        if frames.len() != places.len() || count == 0 {
            return None;
        }
        let gaps: Vec<(usize, usize)> = places
            .windows(2)
            .zip(1..)
            .filter_map(|(pair, at)| match pair {
                [before, after] => Some((after - before, at)),
                _ => None,
            })
            .filter(|(pause, _)| *pause > PAUSE)
            .collect();
        // What is too short to be a word is the end of the one before: the stop of "eight" is released after
        // a pause that may be as long as that between two words. At the very beginning it is a click.
        let ends = gaps.iter().skip(1).map(|(_, at)| *at);
        let mut pauses: Vec<(usize, usize)> = gaps
            .iter()
            .copied()
            .zip(ends.chain([frames.len()]))
            .filter(|((_, at), end)| *at >= SHORTEST && end - at >= SHORTEST)
            .map(|(gap, _)| gap)
            .collect();
        pauses.sort_by(|a, b| b.cmp(a));
        if pauses.len() + 1 < count {
            return None;
        }
        let mut cuts: Vec<usize> = pauses.iter().take(count - 1).map(|(_, at)| *at).collect();
        cuts.sort_unstable();
        cuts.push(frames.len());
        let (mut words, mut begin) = (Vec::with_capacity(count), 0);
        for end in cuts {
            let word = frames.get(begin..end)?.to_vec();
            if word.len() < SHORTEST {
                return None;
            }
            words.push(Frames(word));
            begin = end;
        }
        Some(words)
    }

    /// Cepstra with differences of every frame, and how loud each is.
    fn every_frame(&self, audio: &Audio) -> (Vec<[f32; CEPSTRA]>, Vec<f32>) {
        let emphasised: Vec<f32> =
            std::iter::once(audio.samples().first().copied().unwrap_or_default())
                .chain(audio.samples().windows(2).filter_map(|pair| match pair {
                    [before, now] => Some(now - 0.97 * before),
                    _ => None,
                }))
                .collect();
        let mut spectrum = Spectrum::new(&self.fft);
        let mut levels = Vec::new();
        let mut plain = Vec::new();
        for window in windows(&emphasised) {
            let power = spectrum.power(window, &self.hamming);
            levels.push(10.0 * (power.iter().sum::<f32>() + 1e-10).log10());
            plain.push(self.coefficients(power));
        }
        (with_differences(&plain), levels)
    }

    fn coefficients(&self, power: &[f32]) -> [f32; COEFFICIENTS] {
        let mut logs = [0.0; CEPSTRAL_MELS];
        for (log, band) in logs.iter_mut().zip(&self.cepstral_mel) {
            *log = (band.energy(power) + 1e-8).ln();
        }
        let mut out = [0.0; COEFFICIENTS];
        for (value, cosines) in out.iter_mut().zip(&self.cosines) {
            *value = cosines
                .iter()
                .zip(&logs)
                .map(|(cosine, log)| cosine * log)
                .sum();
        }
        out
    }
}

impl Default for Frontend {
    fn default() -> Self {
        Self::new()
    }
}

/// The value below which `part` (0 to 1) of the values lie, between the two nearest.
pub(crate) fn percentile(values: &[f32], part: f32) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    let place = part * sorted.len().saturating_sub(1) as f32;
    let below = sorted
        .get(place.floor() as usize)
        .copied()
        .unwrap_or_default();
    let above = sorted.get(place.ceil() as usize).copied().unwrap_or(below);
    below + (above - below) * place.fract()
}

/// A triangle of the mel scale, without its zeros.
struct Band {
    first: usize,
    weights: Vec<f32>,
}

impl Band {
    fn energy(&self, power: &[f32]) -> f32 {
        power
            .iter()
            .skip(self.first)
            .zip(&self.weights)
            .map(|(power, weight)| power * weight)
            .sum()
    }
}

/// `count` triangles between two frequencies in Hz, on the mel scale of HTK.
fn bands(count: usize, low: f64, high: f64) -> Vec<Band> {
    let mel = |hertz: f64| 2595.0 * (1.0 + hertz / 700.0).log10();
    let hertz = |mel: f64| 700.0 * (10f64.powf(mel / 2595.0) - 1.0);
    let (bottom, top) = (mel(low), mel(high));
    let point = |n: usize| hertz(bottom + (top - bottom) * n as f64 / (count + 1) as f64);
    let band = |n: usize| {
        let (left, middle, right) = (point(n), point(n + 1), point(n + 2));
        let weight = |bin: usize| {
            let hertz = (bin * SAMPLE_RATE) as f64 / FFT as f64;
            let (up, down) = (
                (hertz - left) / (middle - left),
                (right - hertz) / (right - middle),
            );
            up.min(down).max(0.0) as f32
        };
        let first = (0..BINS).find(|&bin| weight(bin) > 0.0).unwrap_or(BINS);
        let weights = (first..BINS)
            .map(weight)
            .take_while(|&weight| weight > 0.0)
            .collect();
        Band { first, weights }
    };
    (0..count).map(band).collect()
}

/// Row `k` of the orthonormal cosine transform.
fn cosine(k: usize) -> Vec<f32> {
    let size = CEPSTRAL_MELS as f64;
    let value = |n: usize| {
        (2.0 / size).sqrt() * (PI * k as f64 * (2.0 * n as f64 + 1.0) / (2.0 * size)).cos()
    };
    (0..CEPSTRAL_MELS).map(|n| value(n) as f32).collect()
}

struct Spectrum<'a> {
    fft: &'a Arc<dyn RealToComplex<f32>>,
    input: Vec<f32>,
    output: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    power: Vec<f32>,
}

impl<'a> Spectrum<'a> {
    fn new(fft: &'a Arc<dyn RealToComplex<f32>>) -> Self {
        Self {
            fft,
            input: fft.make_input_vec(),
            output: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            power: vec![0.0; BINS],
        }
    }

    fn power(&mut self, samples: &[f32], window: &[f32]) -> &[f32] {
        self.input.fill(0.0);
        for ((input, sample), weight) in self.input.iter_mut().zip(samples).zip(window) {
            *input = sample * weight;
        }
        // The sizes are the plan's own, so this cannot fail; if it did, there would be no energy.
        if self
            .fft
            .process_with_scratch(&mut self.input, &mut self.output, &mut self.scratch)
            .is_err()
        {
            self.output.fill(Complex::default());
        }
        for (power, value) in self.power.iter_mut().zip(&self.output) {
            *power = value.norm_sqr();
        }
        &self.power
    }
}

fn windows(samples: &[f32]) -> impl Iterator<Item = &[f32]> {
    samples.windows(FRAME).step_by(HOP)
}

fn remove_mean<const WIDTH: usize>(frames: &mut [[f32; WIDTH]]) {
    let means = means(frames);
    for frame in frames {
        for (value, mean) in frame.iter_mut().zip(&means) {
            *value -= mean;
        }
    }
}

fn means<const WIDTH: usize>(frames: &[[f32; WIDTH]]) -> [f32; WIDTH] {
    let mut sums = [0.0f64; WIDTH];
    for frame in frames {
        for (sum, value) in sums.iter_mut().zip(frame) {
            *sum += f64::from(*value);
        }
    }
    sums.map(|sum| (sum / frames.len().max(1) as f64) as f32)
}

/// Each frame with the slope over the two before and the two after; the ends are repeated.
fn with_differences(plain: &[[f32; COEFFICIENTS]]) -> Vec<[f32; CEPSTRA]> {
    let last = plain.len().saturating_sub(1);
    let near = |at: usize, by: isize| plain.get(at.saturating_add_signed(by).min(last));
    let mut frames = Vec::with_capacity(plain.len());
    for (at, now) in plain.iter().enumerate() {
        let mut frame = [0.0; CEPSTRA];
        let (coefficients, slopes) = frame.split_at_mut(COEFFICIENTS);
        coefficients.copy_from_slice(now);
        if let (Some(a), Some(b), Some(c), Some(d)) =
            (near(at, -2), near(at, -1), near(at, 1), near(at, 2))
        {
            for ((((slope, a), b), c), d) in slopes.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *slope = (c - b + 2.0 * (d - a)) / 10.0;
            }
        }
        frames.push(frame);
    }
    frames
}

/// From which level on a frame is loud.
fn loudness(levels: &[f32]) -> f32 {
    (percentile(levels, 0.95) - 25.0).max(percentile(levels, 0.10) + 3.0)
}

fn loud(frames: Vec<[f32; CEPSTRA]>, levels: &[f32]) -> Vec<[f32; CEPSTRA]> {
    let threshold = loudness(levels);
    let count = levels.iter().filter(|&&level| level > threshold).count();
    if count <= FEWEST_LOUD {
        return frames;
    }
    frames
        .into_iter()
        .zip(levels)
        .filter(|(_, level)| **level > threshold)
        .map(|(frame, _)| frame)
        .collect()
}

fn standardised(mut frames: Vec<[f32; CEPSTRA]>) -> Vec<[f32; CEPSTRA]> {
    remove_mean(&mut frames);
    let mut squares = [0.0f64; CEPSTRA];
    for frame in &frames {
        for (sum, value) in squares.iter_mut().zip(frame) {
            *sum += f64::from(*value) * f64::from(*value);
        }
    }
    let count = frames.len().max(1) as f64;
    let scales = squares.map(|sum| 1.0 / ((sum / count).sqrt() as f32 + 1e-6));
    for frame in &mut frames {
        for (value, scale) in frame.iter_mut().zip(&scales) {
            *value *= scale;
        }
    }
    frames
}
