//! Hold music for telephones that fetch a file: three short tunes, written here and made once per
//! process, so that no recording and no licence is needed. 8 kHz mono G.711 mu-law in a WAV file:
//! what a telephone line carries anyway.

use std::sync::OnceLock;

use countersign_core::prompt::Music;

const RATE: u32 = 8000;

/// A tune: length of a beat in samples, how long a note rings in beats, and its notes as MIDI
/// numbers (0 rests).
struct Tune {
    beat: u32,
    ring: f64,
    notes: &'static [u8],
}

const CALM: Tune = Tune { beat: 4000, ring: 3.0, notes: &[60, 64, 67, 71, 69, 67, 64, 0, 57, 60, 64, 67, 65, 64, 60, 0, 53, 57, 60, 64, 62, 60, 57, 0, 55, 59, 62, 67, 65, 62, 59, 0] };
const LIVELY: Tune = Tune { beat: 1600, ring: 1.0, notes: &[67, 0, 71, 74, 0, 71, 67, 0, 69, 72, 0, 76, 74, 72, 69, 0, 65, 0, 69, 72, 0, 69, 65, 0, 67, 71, 74, 79, 77, 74, 71, 0] };
const CLASSICAL: Tune = Tune { beat: 2000, ring: 1.6, notes: &[60, 64, 67, 72, 76, 67, 72, 76, 60, 62, 69, 74, 77, 69, 74, 77, 59, 62, 67, 74, 77, 67, 74, 77, 60, 64, 67, 72, 76, 67, 72, 76] };

/// The WAV file of a piece, `None` for silence.
pub fn wav(music: Music) -> Option<&'static [u8]> {
    static FILES: OnceLock<[Vec<u8>; 3]> = OnceLock::new();
    let [calm, lively, classical] = FILES.get_or_init(|| [CALM, LIVELY, CLASSICAL].map(|tune| file(&tune)));
    match music {
        Music::Calm => Some(calm),
        Music::Lively => Some(lively),
        Music::Classical => Some(classical),
        Music::Silence => None,
    }
}

/// RIFF/WAVE with format 7 (mu-law), 8 bits, one channel.
fn file(tune: &Tune) -> Vec<u8> {
    let samples: Vec<u8> = play(tune).into_iter().map(mulaw).collect();
    let len = u32::try_from(samples.len()).unwrap_or(0);
    let mut out = Vec::with_capacity(samples.len() + 58);
    out.extend(b"RIFF");
    out.extend((len + 50).to_le_bytes());
    out.extend(b"WAVEfmt ");
    out.extend(18u32.to_le_bytes());
    out.extend([7, 0, 1, 0]);
    out.extend(RATE.to_le_bytes());
    out.extend(RATE.to_le_bytes());
    out.extend([1, 0, 8, 0, 0, 0]);
    out.extend(b"fact");
    out.extend(4u32.to_le_bytes());
    out.extend(len.to_le_bytes());
    out.extend(b"data");
    out.extend(len.to_le_bytes());
    out.extend(samples);
    out
}

/// The samples of a piece, 16 bits linear, 8,000 a second; `None` for silence.
pub fn samples(music: Music) -> Option<Vec<i16>> {
    match music {
        Music::Calm => Some(play(&CALM)),
        Music::Lively => Some(play(&LIVELY)),
        Music::Classical => Some(play(&CLASSICAL)),
        Music::Silence => None,
    }
}

fn play(tune: &Tune) -> Vec<i16> {
    let total = tune.beat as usize * tune.notes.len();
    let mut mix = vec![0.0f64; total];
    let ring = f64::from(tune.beat) * tune.ring;
    for (i, note) in tune.notes.iter().enumerate().filter(|(_, note)| **note > 0) {
        let frequency = 440.0 * 2f64.powf((f64::from(*note) - 69.0) / 12.0);
        let start = i * tune.beat as usize;
        for t in 0..(ring * 2.0) as u32 {
            let x = f64::from(t) / f64::from(RATE) * frequency * std::f64::consts::TAU;
            // A plucked string, roughly: overtones that fade faster than their note.
            let fade = (-f64::from(t) / ring * 3.0).exp();
            let tone = x.sin() + 0.4 * fade * (2.0 * x).sin() + 0.2 * fade * fade * (3.0 * x).sin();
            // Around the end, so that the tune loops without a gap.
            if let Some(sample) = mix.get_mut((start + t as usize) % total) {
                *sample += tone * fade * 4200.0;
            }
        }
    }
    mix.into_iter().map(|s| s.clamp(-30_000.0, 30_000.0) as i16).collect()
}

/// One sample in G.711 mu-law (ITU-T G.711, table 2a).
fn mulaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = sample.unsigned_abs().min(32_635) + 132;
    let exponent = 7 - (magnitude.leading_zeros().saturating_sub(1)).min(7);
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    !(sign | (u8::try_from(exponent).unwrap_or(7) << 4) | u8::try_from(mantissa).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mulaw_reference_points() {
        // ITU-T G.711: the ends, and zero.
        for (sample, code) in [(0, 0xff), (32_635, 0x80), (-32_635, 0x00), (132, 0xef), (-132, 0x6f)] {
            assert_eq!(mulaw(sample), code, "{sample}");
        }
    }

    #[test]
    fn every_piece_but_silence_is_a_wave_file() {
        for music in Music::ALL {
            match wav(music) {
                Some(file) => {
                    let len = u32::from_le_bytes(file[54..58].try_into().unwrap()) as usize;
                    assert_eq!((&file[..4], &file[8..16], file.len()), (&b"RIFF"[..], &b"WAVEfmt "[..], 58 + len));
                    assert!(file[58..].iter().any(|b| *b != 0xff), "not silent");
                }
                None => assert_eq!(music, Music::Silence),
            }
        }
    }
}
