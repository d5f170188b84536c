//! Sound as it comes from a telephone: G.711 in both laws, and WAV.
//!
//! Everything after this works on [`Audio`]: 8000 samples a second, one channel, finite numbers
//! from -1 to 1, and no longer than [`MAX_SECONDS`].

use std::collections::BTreeMap;

/// Samples a second. A telephone line carries nothing above half of this.
pub const SAMPLE_RATE: usize = 8000;

/// Longest sound that is looked at, in seconds. What is longer is refused before any work is done.
pub const MAX_SECONDS: usize = 60;

/// Longest sound in samples.
pub const MAX_SAMPLES: usize = MAX_SECONDS * SAMPLE_RATE;

/// Mono sound at [`SAMPLE_RATE`], checked: finite, within -1..=1, at most [`MAX_SAMPLES`].
#[derive(Clone, Default, PartialEq)]
pub struct Audio {
    samples: Vec<f32>,
}

/// Why something is not sound that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AudioError {
    /// More than [`MAX_SAMPLES`].
    #[error(
        "{samples} samples are more than {MAX_SECONDS} s: send the answer to one prompt, not a call"
    )]
    TooLong {
        /// How many there are.
        samples: usize,
    },
    /// A sample is not a number, or infinite.
    #[error("sample {at} is not a finite number: the decoder before this one is broken")]
    NotFinite {
        /// Which one, from 0.
        at: usize,
    },
    /// Not a RIFF/WAVE file, or cut short.
    #[error("not a WAV file: {0}")]
    NotWav(&'static str),
    /// A WAV file of another kind than [`Audio::from_wav`] reads.
    #[error(
        "WAV format {format}, {channels} channels, {rate} Hz, {bits} bits: convert it to mono, 16 bit PCM at 8000 to 48000 Hz or G.711 at 8000 Hz"
    )]
    OtherWav {
        /// The number of the format: 1 is PCM, 6 A-law, 7 mu-law.
        format: u16,
        /// How many channels.
        channels: u16,
        /// Samples a second.
        rate: u32,
        /// Bits a sample.
        bits: u16,
    },
}

impl Audio {
    /// From samples of -1 to 1; what is outside is clipped.
    ///
    /// # Errors
    /// [`AudioError::TooLong`], [`AudioError::NotFinite`].
    pub fn from_samples(samples: Vec<f32>) -> Result<Self, AudioError> {
        bounded(samples.len())?;
        if let Some(at) = samples.iter().position(|sample| !sample.is_finite()) {
            return Err(AudioError::NotFinite { at });
        }
        let samples = samples
            .into_iter()
            .map(|sample| sample.clamp(-1.0, 1.0))
            .collect();
        Ok(Self { samples })
    }

    /// From 16 bit linear samples.
    ///
    /// # Errors
    /// [`AudioError::TooLong`].
    pub fn from_pcm16(samples: &[i16]) -> Result<Self, AudioError> {
        bounded(samples.len())?;
        Ok(Self {
            samples: samples.iter().map(|&sample| unit(sample)).collect(),
        })
    }

    /// From G.711 mu-law, a byte a sample, without a header.
    ///
    /// # Errors
    /// [`AudioError::TooLong`].
    pub fn from_mulaw(bytes: &[u8]) -> Result<Self, AudioError> {
        bounded(bytes.len())?;
        Ok(Self {
            samples: bytes.iter().map(|&byte| unit(mulaw(byte))).collect(),
        })
    }

    /// From G.711 A-law, a byte a sample, without a header.
    ///
    /// # Errors
    /// [`AudioError::TooLong`].
    pub fn from_alaw(bytes: &[u8]) -> Result<Self, AudioError> {
        bounded(bytes.len())?;
        Ok(Self {
            samples: bytes.iter().map(|&byte| unit(alaw(byte))).collect(),
        })
    }

    /// From a WAV file: mono, as 16 bit PCM at 8000 to 48000 Hz, or as A-law or mu-law at 8000 Hz. What
    /// is above a telephone's 3.7 kHz is taken away from higher rates.
    ///
    /// # Errors
    /// [`AudioError::NotWav`], [`AudioError::OtherWav`], [`AudioError::TooLong`].
    pub fn from_wav(file: &[u8]) -> Result<Self, AudioError> {
        let (head, chunks) = file
            .split_at_checked(12)
            .ok_or(AudioError::NotWav("shorter than a header"))?;
        if !head.starts_with(b"RIFF") || !head.ends_with(b"WAVE") {
            return Err(AudioError::NotWav("no RIFF/WAVE at the start"));
        }
        let mut rest = chunks;
        let mut law = None;
        while let Some((name, body, after)) = chunk(rest) {
            match name {
                b"fmt " => law = Some(wav_law(body)?),
                b"data" => {
                    let law = law.ok_or(AudioError::NotWav("data before its format"))?;
                    return match law {
                        Law::Linear(rate) => {
                            let count = body.len() / 2;
                            bounded(count * SAMPLE_RATE / rate)?;
                            let samples = body
                                .as_chunks::<2>()
                                .0
                                .iter()
                                .map(|&pair| unit(i16::from_le_bytes(pair)))
                                .collect();
                            Ok(Self {
                                samples: at_telephone_rate(samples, rate),
                            })
                        }
                        Law::A => Self::from_alaw(body),
                        Law::Mu => Self::from_mulaw(body),
                    };
                }
                _ => {}
            }
            rest = after;
        }
        Err(AudioError::NotWav("no data"))
    }

    /// The samples, -1 to 1.
    #[must_use]
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// How long it is.
    #[must_use]
    pub fn seconds(&self) -> f32 {
        self.samples.len() as f32 / SAMPLE_RATE as f32
    }
}

/// A voice is personal: what it sounds like does not belong into a log.
impl std::fmt::Debug for Audio {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Audio({:.2} s)", self.seconds())
    }
}

/// One byte of mu-law as 16 bit linear (ITU-T G.711, table 2a).
#[must_use]
pub fn mulaw(byte: u8) -> i16 {
    let byte = !byte;
    let exponent = (byte >> 4) & 7;
    let mantissa = i16::from(byte & 15);
    let magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84;
    if byte & 0x80 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// One byte of A-law as 16 bit linear (ITU-T G.711, table 1a).
#[must_use]
pub fn alaw(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let exponent = (byte >> 4) & 7;
    let mantissa = i16::from(byte & 15) << 4;
    let magnitude = match exponent {
        0 => mantissa + 8,
        _ => (mantissa + 0x108) << (exponent - 1),
    };
    // In A-law a set bit is the positive half.
    if byte & 0x80 == 0 {
        -magnitude
    } else {
        magnitude
    }
}

#[derive(Clone, Copy)]
enum Law {
    /// With its samples a second.
    Linear(usize),
    A,
    Mu,
}

fn bounded(samples: usize) -> Result<(), AudioError> {
    if samples > MAX_SAMPLES {
        Err(AudioError::TooLong { samples })
    } else {
        Ok(())
    }
}

/// [`SAMPLE_RATE`] of `rate` samples a second, which is no less. A windowed sinc: it has as many
/// different sets of taps as there are places between two samples, and each is made once.
fn at_telephone_rate(samples: Vec<f32>, rate: usize) -> Vec<f32> {
    /// What a telephone lets through.
    const HIGHEST: f32 = 3700.0;
    /// Length of the window to either side, in samples of the result.
    const SIDE: usize = 24;
    if rate == SAMPLE_RATE {
        return samples;
    }
    let side = SIDE * rate / SAMPLE_RATE;
    let tap = |away: f32| {
        let turn = std::f32::consts::TAU * HIGHEST / rate as f32 * away;
        let sinc = if turn.abs() < 1e-6 {
            1.0
        } else {
            turn.sin() / turn
        };
        let window = 0.5 + 0.5 * (std::f32::consts::PI * away / (side + 1) as f32).cos();
        2.0 * HIGHEST / rate as f32 * sinc * window
    };
    let mut sets = BTreeMap::new();
    let result = (0..samples.len() * SAMPLE_RATE / rate).map(|place| {
        let (whole, between) = (place * rate / SAMPLE_RATE, place * rate % SAMPLE_RATE);
        let taps: &Vec<f32> = sets.entry(between).or_insert_with(|| {
            let between = between as f32 / SAMPLE_RATE as f32;
            let away = |n: usize| n as f32 - side as f32 - between;
            (0..=2 * side).map(|n| tap(away(n))).collect()
        });
        let (first, skipped) = (whole.saturating_sub(side), side.saturating_sub(whole));
        let near = samples.get(first..).unwrap_or_default();
        near.iter()
            .zip(taps.iter().skip(skipped))
            .map(|(sample, tap)| sample * tap)
            .sum::<f32>()
            .clamp(-1.0, 1.0)
    });
    result.collect()
}

fn unit(sample: i16) -> f32 {
    f32::from(sample) / 32768.0
}

/// Name, body and what follows of the first chunk; a body that is cut short counts as far as it goes.
fn chunk(bytes: &[u8]) -> Option<(&[u8; 4], &[u8], &[u8])> {
    let (name, rest) = bytes.split_first_chunk::<4>()?;
    let (size, rest) = rest.split_first_chunk::<4>()?;
    let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
    let body = rest.get(..size).unwrap_or(rest);
    // Chunks start at even places.
    let after = rest.get(size.checked_add(size & 1)?..).unwrap_or_default();
    Some((name, body, after))
}

fn wav_law(format: &[u8]) -> Result<Law, AudioError> {
    let short = AudioError::NotWav("the format is cut short");
    let word = |at: usize| {
        format
            .get(at..at + 2)?
            .try_into()
            .ok()
            .map(u16::from_le_bytes)
    };
    let long = |at: usize| {
        format
            .get(at..at + 4)?
            .try_into()
            .ok()
            .map(u32::from_le_bytes)
    };
    let (Some(kind), Some(channels), Some(rate), Some(bits)) =
        (word(0), word(2), long(4), word(14))
    else {
        return Err(short);
    };
    match (kind, channels, rate, bits) {
        (1, 1, rate @ 8000..=48_000, 16) => Ok(Law::Linear(rate as usize)),
        (6, 1, 8000, 8) => Ok(Law::A),
        (7, 1, 8000, 8) => Ok(Law::Mu),
        _ => Err(AudioError::OtherWav {
            format: kind,
            channels,
            rate,
            bits,
        }),
    }
}
