//! Sound as it comes in files, and as a telephone line wants it.

use countersign_sip::{clip::RATE, g711::Law};

/// Samples in 20 ms: what loudness is measured over.
const FRAME: usize = RATE / 50;
/// Loudness is measured over what is within 30 dB of the loudest 20 ms. Sound goes down to 50 dB below
/// it, as the s of "six" does on a telephone, or to 10 dB above the noise; and to -60 dBFS.
const LOUD: f64 = 30.0;
const SOUND: f64 = 50.0;
const ABOVE_NOISE: f64 = 10.0;
const FLOOR: f64 = -60.0;
/// Loudness of speech that recordings are brought to, and the highest that a sample may be, in dB of
/// full scale.
const SPEECH: f64 = -20.0;
const PEAK: f64 = -1.0;
/// What is left before the first sound and after the last, in samples: 20 ms.
const MARGIN: usize = RATE / 50;

/// Why a file is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaveError {
    /// Not a WAV file, or cut short.
    #[error("it is no whole WAV file")]
    NoWave,
    /// Not one of the kinds that are read.
    #[error("write it as PCM with 16 or 24 bits, or in mu-law or A-law")]
    Kind,
    /// Not 8 to 48 kHz.
    #[error("it has {0} samples a second: 8,000 to 48,000 are wanted")]
    Rate(u32),
    /// More than two channels.
    #[error("it has {0} channels: one is wanted")]
    Channels(u16),
    /// Nobody speaks in it.
    #[error("there is nothing to hear in it")]
    Silent,
    /// Too long.
    #[error("it is longer than two minutes")]
    Long,
}

/// The longest recording, in seconds.
const LONGEST: usize = 120;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave {
    /// Samples a second.
    pub rate: u32,
    /// Two channels were made one.
    pub mixed: bool,
    /// The law, and the bytes as they are, of a file that is as a telephone line has it.
    pub line: Option<(Law, Vec<u8>)>,
    /// 16 bits linear.
    pub samples: Vec<i16>,
}

impl Wave {
    /// Reads a WAV file. A length that was not filled in, as programs write it that do not know the end
    /// beforehand, is that of the file.
    ///
    /// # Errors
    /// See [`WaveError`].
    pub fn read(file: &[u8]) -> Result<Self, WaveError> {
        if file.get(..4) != Some(b"RIFF") || file.get(8..12) != Some(b"WAVE") {
            return Err(WaveError::NoWave);
        }
        let (mut at, mut format) = (12, None);
        loop {
            let head = file.get(at..at + 8).and_then(|head| head.first_chunk::<8>()).ok_or(WaveError::NoWave)?;
            let [a, b, c, d, length @ ..] = *head;
            let length = usize::try_from(u32::from_le_bytes(length)).map_err(|_| WaveError::NoWave)?;
            let body = file.get(at + 8..).unwrap_or_default();
            let body = body.get(..length).unwrap_or(body);
            match &[a, b, c, d] {
                b"fmt " => format = Some(Format::read(body)?),
                b"data" => return format.ok_or(WaveError::NoWave)?.samples(body),
                _ => {}
            }
            at = at.checked_add(8).and_then(|at| at.checked_add(length)?.checked_add(length & 1)).ok_or(WaveError::NoWave)?;
        }
    }

    /// As a telephone line wants it: one channel, 8,000 samples a second, without what a line cannot
    /// carry, without silence around it, as loud as every other recording.
    ///
    /// # Errors
    /// Nothing is heard in it.
    pub fn prepared(&self) -> Result<Vec<i16>, WaveError> {
        let samples = without_rumble(&resampled(&self.samples, self.rate));
        let heard = Heard::of(&samples);
        let (first, last) = heard.span.ok_or(WaveError::Silent)?;
        let kept = samples.get(first.saturating_sub(MARGIN)..(last + MARGIN).min(samples.len())).unwrap_or_default();
        Ok(faded(&levelled(kept, heard.speech, heard.peak)))
    }
}

struct Format {
    kind: u16,
    channels: u16,
    rate: u32,
    bits: u16,
}

impl Format {
    fn read(body: &[u8]) -> Result<Self, WaveError> {
        let word = |at: usize| body.get(at..).and_then(|rest| rest.first_chunk()).map(|b| u16::from_le_bytes(*b)).ok_or(WaveError::NoWave);
        let rate = body.get(4..).and_then(|rest| rest.first_chunk()).map(|b| u32::from_le_bytes(*b)).ok_or(WaveError::NoWave)?;
        // The extensible kind names the kind again, further on.
        let kind = match word(0)? { 0xfffe => word(24)?, kind => kind };
        let format = Self { kind, channels: word(2)?, rate, bits: word(14)? };
        if !(8_000..=48_000).contains(&rate) {
            return Err(WaveError::Rate(rate));
        }
        if !(1..=2).contains(&format.channels) {
            return Err(WaveError::Channels(format.channels));
        }
        match (format.kind, format.bits) {
            (1, 16 | 24) | (6 | 7, 8) => Ok(format),
            _ => Err(WaveError::Kind),
        }
    }

    fn samples(&self, body: &[u8]) -> Result<Wave, WaveError> {
        let law = match self.kind { 6 => Some(Law::A), 7 => Some(Law::Mu), _ => None };
        let all: Vec<i16> = match (law, self.bits) {
            (Some(law), _) => body.iter().map(|byte| law.decode(*byte)).collect(),
            (None, 24) => body.as_chunks::<3>().0.iter().map(|[_, low, high]| i16::from_le_bytes([*low, *high])).collect(),
            (None, _) => body.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect(),
        };
        let mixed = self.channels == 2;
        let samples: Vec<i16> = if mixed { all.as_chunks::<2>().0.iter().map(|[left, right]| left.midpoint(*right)).collect() } else { all };
        if samples.len() > LONGEST * self.rate as usize {
            return Err(WaveError::Long);
        }
        let line = law.filter(|_| !mixed && self.rate as usize == RATE).map(|law| (law, body.to_vec()));
        Ok(Wave { rate: self.rate, mixed, line, samples })
    }
}

/// A WAV file of one channel and 8,000 samples a second: in mu-law, or with 16 bits.
pub fn written(samples: &[i16], mu_law: bool) -> Vec<u8> {
    let data: Vec<u8> = if mu_law { samples.iter().map(|s| Law::Mu.encode(*s)).collect() } else { samples.iter().flat_map(|s| s.to_le_bytes()).collect() };
    let (kind, width): (u16, u16) = if mu_law { (7, 1) } else { (1, 2) };
    let rate = u32::try_from(RATE).unwrap_or_default();
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut out = b"RIFF".to_vec();
    // What is no PCM tells how many bytes more its head has, which are none, and how many samples it is.
    let head: u32 = if mu_law { 18 } else { 16 };
    let fact: u32 = if mu_law { 12 } else { 0 };
    out.extend((4 + 8 + head + fact + 8 + length + (length & 1)).to_le_bytes());
    out.extend(b"WAVEfmt ");
    out.extend(head.to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend(1_u16.to_le_bytes());
    out.extend(rate.to_le_bytes());
    out.extend((rate * u32::from(width)).to_le_bytes());
    out.extend(width.to_le_bytes());
    out.extend((width * 8).to_le_bytes());
    if mu_law {
        out.extend([0, 0]);
        out.extend(b"fact\x04\0\0\0");
        out.extend(length.to_le_bytes());
    }
    out.extend(b"data");
    out.extend(length.to_le_bytes());
    out.extend(&data);
    if length & 1 == 1 {
        out.push(0);
    }
    out
}

/// What can be said about a recording of 8,000 samples a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heard {
    /// The first sample that is heard, and the one after the last.
    pub span: Option<(usize, usize)>,
    /// Loudness of what is speech in it, in dB of full scale.
    pub speech: f64,
    /// The highest sample, in dB of full scale.
    pub peak: f64,
    /// Samples that are at the end of the scale, three or more in a row.
    pub clipped: usize,
    /// Samples before the first sound, after the last, and of the longest silence between.
    pub silence: [usize; 3],
}

impl Heard {
    /// Measures.
    #[expect(clippy::cast_precision_loss, reason = "lengths of minutes are far below 2^52")]
    pub fn of(samples: &[i16]) -> Self {
        let loudness: Vec<f64> = samples.chunks(FRAME).map(|frame| decibel(frame.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / frame.len() as f64)).collect();
        let loudest = loudness.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut quietest = loudness.clone();
        quietest.sort_unstable_by(f64::total_cmp);
        let noise = quietest.get(quietest.len() / 20).copied().unwrap_or(f64::NEG_INFINITY);
        let least = (noise + ABOVE_NOISE).clamp(loudest - SOUND, loudest - LOUD).max(FLOOR);
        let spoken: Vec<usize> = loudness.iter().enumerate().filter(|(_, level)| **level >= least).map(|(n, _)| n).collect();
        let powers: Vec<f64> = loudness.iter().filter(|level| **level >= loudest - LOUD).map(|level| 10_f64.powf(level / 10.0)).collect();
        let speech = 10.0 * (powers.iter().sum::<f64>() / powers.len().max(1) as f64).log10();
        let peak = decibel(samples.iter().map(|s| f64::from(s.unsigned_abs()).powi(2)).fold(0.0, f64::max));
        let span = spoken.first().zip(spoken.last()).map(|(first, last)| (first * FRAME, ((last + 1) * FRAME).min(samples.len())));
        let inner = spoken.windows(2).map(|pair| pair.last().unwrap_or(&0).saturating_sub(pair.first().unwrap_or(&0) + 1)).max().unwrap_or(0) * FRAME;
        let silence = span.map_or([samples.len(), 0, 0], |(first, last)| [first, samples.len() - last, inner]);
        Self { span, speech, peak, clipped: clipped(samples), silence }
    }
}

fn decibel(power: f64) -> f64 { 10.0 * (power / 32_768_f64.powi(2)).log10() }

fn clipped(samples: &[i16]) -> usize {
    let (mut all, mut run) = (0, 0);
    for sample in samples {
        // The highest step of mu-law is 32,124.
        if sample.unsigned_abs() >= 32_124 {
            run += 1;
            all += match run { 3 => 3, 4.. => 1, _ => 0 };
        } else {
            run = 0;
        }
    }
    all
}

#[expect(clippy::cast_possible_truncation, reason = "held within the scale before")]
fn whole(sample: f64) -> i16 { sample.round().clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16 }

/// Louder or softer, so that speech is at [`SPEECH`] and no sample above [`PEAK`].
fn levelled(samples: &[i16], speech: f64, peak: f64) -> Vec<i16> {
    let gain = 10_f64.powf((SPEECH - speech).min(PEAK - peak) / 20.0);
    samples.iter().map(|sample| whole(f64::from(*sample) * gain)).collect()
}

/// No click at either end: 5 ms.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn faded(samples: &[i16]) -> Vec<i16> {
    const EDGE: usize = RATE / 200;
    let n = samples.len();
    samples.iter().enumerate().map(|(at, sample)| whole(f64::from(*sample) * ((at.min(n - 1 - at) as f64 / EDGE as f64).min(1.0)))).collect()
}

/// Without what is below 100 Hz: no voice, and a telephone does not carry it. A high pass of the second
/// order (Butterworth).
fn without_rumble(samples: &[i16]) -> Vec<i16> {
    let turn = std::f64::consts::TAU * 100.0 / 8_000.0;
    let alpha = turn.sin() * std::f64::consts::FRAC_1_SQRT_2;
    let (cos, scale) = (turn.cos(), 1.0 + alpha);
    let (b0, b1, a1, a2) = (f64::midpoint(1.0, cos) / scale, -(1.0 + cos) / scale, -2.0 * cos / scale, (1.0 - alpha) / scale);
    let (mut x1, mut x2, mut y1, mut y2) = (0.0, 0.0, 0.0, 0.0);
    samples.iter().map(|sample| {
        let x = f64::from(*sample);
        let y = b0 * x + b1 * x1 + b0 * x2 - a1 * y1 - a2 * y2;
        (x2, x1, y2, y1) = (x1, x, y1, y);
        whole(y)
    }).collect()
}

/// At 8,000 samples a second, with what a telephone line cannot carry taken away first: a low pass at
/// 3.6 kHz, 64 taps with a Hann window.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "two minutes of samples are far below 2^52")]
pub fn resampled(samples: &[i16], rate: u32) -> Vec<i16> {
    const OUT: f64 = 8_000.0;
    const HALF: i64 = 32;
    if rate == 8_000 {
        return samples.to_vec();
    }
    let step = f64::from(rate) / OUT;
    let cut = 2.0 * 3_600.0 / f64::from(rate);
    let n = (samples.len() as f64 / step) as usize;
    let weight = |x: f64| {
        let sinc = if x == 0.0 { cut } else { (std::f64::consts::PI * cut * x).sin() / (std::f64::consts::PI * x) };
        sinc * (0.5 + 0.5 * (std::f64::consts::PI * x / HALF as f64).cos())
    };
    (0..n).map(|place| {
        let at = place as f64 * step;
        let middle = at as i64;
        let sum: f64 = (middle - HALF + 1..=middle + HALF).filter_map(|near| {
            let sample = samples.get(usize::try_from(near).ok()?)?;
            Some(f64::from(*sample) * weight(near as f64 - at))
        }).sum();
        sum.clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16
    }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(kind: u16, channels: u16, rate: u32, bits: u16, data: &[u8], length: u32) -> Vec<u8> {
        let mut out = b"RIFF\xff\xff\xff\x7fWAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
        out.extend(kind.to_le_bytes());
        out.extend(channels.to_le_bytes());
        out.extend(rate.to_le_bytes());
        out.extend((rate * 2).to_le_bytes());
        out.extend([2, 0]);
        out.extend(bits.to_le_bytes());
        out.extend(b"data");
        out.extend(length.to_le_bytes());
        out.extend(data);
        out
    }

    fn pcm(rate: u32, samples: &[i16]) -> Vec<u8> { file(1, 1, rate, 16, &samples.iter().flat_map(|s| s.to_le_bytes()).collect::<Vec<_>>(), u32::MAX) }

    fn tone(hertz: f64, rate: u32, height: f64) -> Vec<i16> {
        (0..rate).map(|n| whole((f64::from(n) * hertz / f64::from(rate) * std::f64::consts::TAU).sin() * height)).collect()
    }

    #[test]
    fn a_file_without_its_length_is_read_to_its_end() {
        assert_eq!(Wave::read(&pcm(22_050, &[1, -2, 3])).unwrap().samples, [1, -2, 3]);
        let short = file(1, 1, 22_050, 16, &[1, 0, 2, 0, 3, 0], 4);
        assert_eq!(Wave::read(&short).unwrap().samples, [1, 2]);
        for cut in 0..56 {
            assert_eq!(Wave::read(&pcm(8_000, &[])[..cut]), Err(WaveError::NoWave), "{cut}");
        }
    }

    #[test]
    fn the_kinds_that_studios_and_telephones_write_are_read_and_others_are_named() {
        assert_eq!(Wave::read(&file(1, 1, 48_000, 24, &[9, 1, 0, 9, 0xff, 0xff], 6)).unwrap().samples, [1, -1]);
        let stereo = Wave::read(&file(1, 2, 44_100, 16, &[10, 0, 20, 0], 4)).unwrap();
        assert!(stereo.mixed && stereo.samples == [15]);
        let mu = Wave::read(&file(7, 1, 8_000, 8, &[0x80, 0xff], 2)).unwrap();
        assert_eq!((mu.samples, mu.line), (vec![32_124, 0], Some((Law::Mu, vec![0x80, 0xff]))));
        assert_eq!(Wave::read(&file(3, 1, 48_000, 32, &[], 0)), Err(WaveError::Kind));
        assert_eq!(Wave::read(&file(1, 1, 96_000, 24, &[], 0)), Err(WaveError::Rate(96_000)));
        assert_eq!(Wave::read(&file(1, 6, 48_000, 16, &[], 0)), Err(WaveError::Channels(6)));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let samples = tone(500.0, 8_000, 8_000.0);
        assert_eq!(Wave::read(&written(&samples, false)).unwrap().samples, samples);
        let (law, bytes) = Wave::read(&written(&samples[..4_001], true)).unwrap().line.unwrap();
        assert_eq!((law, bytes), (Law::Mu, samples[..4_001].iter().map(|s| Law::Mu.encode(*s)).collect()));
    }

    #[test]
    fn a_tone_keeps_its_pitch_and_what_is_too_high_or_too_low_goes() {
        let loud = |samples: &[i16]| samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len() as f64;
        let low = resampled(&tone(1_000.0, 22_050, 10_000.0), 22_050);
        assert!((7_990..=8_000).contains(&low.len()));
        let crossings = low.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
        assert!((990..=1_010).contains(&crossings), "{crossings}");
        assert!(loud(&low) > 0.9 * 5e7 && loud(&low) < 1.1 * 5e7);
        assert!(loud(&resampled(&tone(6_000.0, 22_050, 10_000.0), 22_050)) < 0.001 * 5e7);
        assert!(loud(&without_rumble(&tone(25.0, 8_000, 10_000.0))) < 0.01 * 5e7);
        assert!(loud(&without_rumble(&tone(300.0, 8_000, 10_000.0))) > 0.95 * 5e7);
    }

    #[test]
    fn a_recording_is_trimmed_and_as_loud_as_any_other() {
        for height in [300.0, 3_000.0, 30_000.0] {
            let mut samples = vec![0; 16_000];
            samples.extend(tone(400.0, 16_000, height));
            samples.extend(vec![3; 8_000]);
            let prepared = Wave { rate: 16_000, mixed: false, line: None, samples }.prepared().unwrap();
            let heard = Heard::of(&prepared);
            assert!((heard.speech - SPEECH).abs() < 0.5 && heard.clipped == 0, "{heard:?}");
            assert!((8_000..8_900).contains(&prepared.len()), "{}", prepared.len());
        }
        let spiky: Vec<i16> = (0..8_000).map(|n| if n % 400 == 0 { 30_000 } else { n % 7 }).collect();
        assert!(Heard::of(&Wave { rate: 8_000, mixed: false, line: None, samples: spiky }.prepared().unwrap()).peak < PEAK + 0.1);
        assert_eq!(Wave { rate: 8_000, mixed: false, line: None, samples: vec![1; 8_000] }.prepared(), Err(WaveError::Silent));
        assert_eq!(Wave { rate: 8_000, mixed: false, line: None, samples: vec![] }.prepared(), Err(WaveError::Silent));
    }

    #[test]
    fn clipping_and_silence_are_seen() {
        let mut samples = vec![0; 4_000];
        samples.extend(tone(300.0, 8_000, 60_000.0));
        samples.extend(vec![0; 8_000]);
        samples.extend(tone(300.0, 8_000, 3_000.0));
        samples.extend(vec![0; 1_600]);
        let heard = Heard::of(&samples);
        assert!(heard.clipped > 1_000);
        assert_eq!(heard.silence, [4_000, 1_600, 8_000]);
        assert_eq!(Heard::of(&[0; 80]).span, None);
    }
}
