//! Prompts and music: taken in once, held in both laws, shared by all calls.

use std::{fmt, sync::Arc, time::Duration};

use crate::g711::Law;

/// Samples in a second.
pub const RATE: usize = 8_000;
/// Samples, and bytes, in a packet of 20 ms (RFC 3551 §4.5).
pub const FRAME: usize = 160;
/// The longest clip that is taken, in samples: ten minutes.
const LONGEST: usize = 600 * RATE;

/// Why something is no clip.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClipError {
    /// No WAV file.
    #[error("not a WAV file: {0}")]
    Wav(&'static str),
    /// A WAV file of another kind.
    #[error("8,000 samples a second, one channel, 16 bits are wanted: convert it first")]
    Kind,
    /// Too long.
    #[error("longer than ten minutes")]
    Long,
}

/// A piece of audio, ready to be sent.
pub struct Clip {
    mu: Box<[u8]>,
    a: Box<[u8]>,
}

impl fmt::Debug for Clip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clip").field(&self.duration()).finish()
    }
}

impl Clip {
    /// From a WAV file with 8,000 samples a second, one channel, 16 bits linear.
    ///
    /// # Errors
    /// The file is cut short, or of another kind, or longer than ten minutes.
    pub fn from_wav(file: &[u8]) -> Result<Arc<Self>, ClipError> {
        let pcm = wav(file)?;
        let samples = pcm.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair));
        Self::from_samples(samples)
    }

    /// From samples, 16 bits linear, 8,000 a second.
    ///
    /// # Errors
    /// Longer than ten minutes.
    pub fn from_samples(samples: impl IntoIterator<Item = i16>) -> Result<Arc<Self>, ClipError> {
        let (mut mu, mut a) = (Vec::new(), Vec::new());
        for sample in samples {
            if mu.len() >= LONGEST {
                return Err(ClipError::Long);
            }
            mu.push(Law::Mu.encode(sample));
            a.push(Law::A.encode(sample));
        }
        Ok(Arc::new(Self { mu: mu.into(), a: a.into() }))
    }

    /// From bytes of this law, one a sample, 8,000 a second: they are sent as they are where that law is
    /// spoken.
    ///
    /// # Errors
    /// Longer than ten minutes.
    pub fn from_bytes(law: Law, bytes: &[u8]) -> Result<Arc<Self>, ClipError> {
        if bytes.len() > LONGEST {
            return Err(ClipError::Long);
        }
        let other = |to: Law| bytes.iter().map(|byte| if to == law { *byte } else { to.encode(law.decode(*byte)) }).collect();
        Ok(Arc::new(Self { mu: other(Law::Mu), a: other(Law::A) }))
    }

    /// A tone of `hertz` for `sound`, then nothing for `rest`; `level` from 0 to 1 of full scale. Cut
    /// at ten minutes.
    #[must_use]
    pub fn tone(hertz: f64, level: f64, sound: Duration, rest: Duration) -> Arc<Self> {
        let (sound, rest) = (samples(sound), samples(rest));
        let at = |n: usize| {
            let ramp = (n.min(sound - n) as f64 / 80.0).min(1.0); // no click at either end
            let wave = (n as f64 / RATE as f64 * hertz * std::f64::consts::TAU).sin();
            (wave * ramp * level.clamp(0.0, 1.0) * f64::from(i16::MAX)) as i16
        };
        let wave = (0..sound).map(at).chain(std::iter::repeat_n(0, rest));
        Self::from_samples(wave.take(LONGEST)).unwrap_or_else(|_| Self::silence(Duration::ZERO))
    }

    /// Nothing to hear, for this long. Cut at ten minutes.
    #[must_use]
    pub fn silence(length: Duration) -> Arc<Self> {
        let length = samples(length).min(LONGEST);
        Arc::new(Self {
            mu: vec![Law::Mu.silence(); length].into(),
            a: vec![Law::A.silence(); length].into(),
        })
    }

    /// The same, and then nothing to hear for this long. Cut at ten minutes.
    #[must_use]
    pub fn followed_by_silence(&self, length: Duration) -> Arc<Self> {
        let more = samples(length).min(LONGEST.saturating_sub(self.mu.len()));
        let with = |law: Law| self.bytes(law).iter().copied().chain(std::iter::repeat_n(law.silence(), more)).collect();
        Arc::new(Self { mu: with(Law::Mu), a: with(Law::A) })
    }

    /// How long it lasts.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_micros(self.mu.len() as u64 * 125)
    }

    /// Its bytes in this law, one a sample.
    #[must_use]
    pub fn bytes(&self, law: Law) -> &[u8] {
        match law {
            Law::Mu => &self.mu,
            Law::A => &self.a,
        }
    }
}

fn samples(length: Duration) -> usize {
    usize::try_from(length.as_millis()).unwrap_or(usize::MAX).saturating_mul(RATE / 1000)
}

/// The samples of a WAV file of the one kind that is taken.
fn wav(file: &[u8]) -> Result<&[u8], ClipError> {
    let word = |at: usize| file.get(at..at + 4);
    if word(0) != Some(b"RIFF") || word(8) != Some(b"WAVE") {
        return Err(ClipError::Wav("no RIFF head"));
    }
    let (mut at, mut kind_fits) = (12, false);
    while let Some(head) = file.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let [name @ .., a, b, c, d] = head;
        let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        let body = file.get(at + 8..).unwrap_or_default();
        // A recorder that was stopped leaves a length that is too long: what is there counts.
        let body = body.get(..length).unwrap_or(body);
        match name {
            b"fmt " => {
                let wanted = [1, 0, 1, 0, 0x40, 0x1f, 0, 0];
                kind_fits = body.starts_with(&wanted) && body.get(14..16) == Some(&[16, 0]);
            }
            b"data" if kind_fits => return Ok(body),
            b"data" => return Err(ClipError::Kind),
            _ => {}
        }
        // Chunks begin at even places.
        at = at.saturating_add(8).saturating_add(length).saturating_add(length & 1);
    }
    Err(ClipError::Wav("no samples in it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(rate: u32, channels: u16, samples: &[i16]) -> Vec<u8> {
        let data: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        let mut out = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0\x01\0".to_vec();
        out.extend(channels.to_le_bytes());
        out.extend(rate.to_le_bytes());
        out.extend([0, 0, 0, 0, 2, 0, 16, 0]);
        out.extend(b"data");
        out.extend((data.len() as u32).to_le_bytes());
        out.extend(data);
        out
    }

    #[test]
    fn a_wav_file_is_taken_in_both_laws() {
        let clip = Clip::from_wav(&file(8000, 1, &[0, 1000, -1000])).unwrap();
        assert_eq!(clip.bytes(Law::Mu), [0, 1000, -1000].map(|s| Law::Mu.encode(s)));
        assert_eq!(clip.bytes(Law::A), [0, 1000, -1000].map(|s| Law::A.encode(s)));
    }

    #[test]
    fn bytes_of_a_law_are_kept_in_it() {
        let bytes: Vec<u8> = (0..=255).collect();
        for law in Law::ALL {
            assert_eq!(Clip::from_bytes(law, &bytes).unwrap().bytes(law), bytes);
        }
        let clip = Clip::from_bytes(Law::Mu, &[Law::Mu.encode(1000)]).unwrap();
        assert_eq!(clip.bytes(Law::A), [Law::A.encode(Law::Mu.decode(Law::Mu.encode(1000)))]);
        assert_eq!(Clip::from_bytes(Law::A, &vec![0; LONGEST + 1]).unwrap_err(), ClipError::Long);
    }

    #[test]
    fn another_rate_or_a_second_channel_is_refused() {
        assert_eq!(Clip::from_wav(&file(16_000, 1, &[0])).unwrap_err(), ClipError::Kind);
        assert_eq!(Clip::from_wav(&file(8000, 2, &[0])).unwrap_err(), ClipError::Kind);
        assert!(matches!(Clip::from_wav(b"RIFF").unwrap_err(), ClipError::Wav(_)));
    }

    #[test]
    fn a_tone_lasts_as_long_as_said() {
        let tone = Clip::tone(440.0, 0.1, Duration::from_millis(100), Duration::from_millis(50));
        assert_eq!(tone.duration(), Duration::from_millis(150));
        assert!(tone.bytes(Law::Mu).iter().any(|b| Law::Mu.decode(*b) > 2000));
        assert_eq!(Clip::tone(440.0, 0.1, Duration::ZERO, Duration::ZERO).duration(), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), valid in any::<bool>()) {
            let mut bytes = bytes;
            if valid { bytes.splice(..0, *b"RIFF\0\0\0\0WAVE"); }
            let _ = Clip::from_wav(&bytes);
        }
    }
}
