//! Words as sound: a program of the operator's choice speaks, and what it said is kept. Recordings of
//! your own, and a set that comes with us: not yet.

use std::{
    collections::HashMap,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use countersign_core::prompt::Lang;
use countersign_sip::Clip;
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

/// How long a program may take for one text.
const PATIENCE: Duration = Duration::from_secs(10);
/// Texts that are kept. There are a few hundred in three languages; more are a company's own.
const KEPT: usize = 2_000;
/// The most that a program may say: two minutes at 48,000 samples a second.
const LARGEST: usize = 12 << 20;

/// Speaks.
pub struct Voice {
    /// The program and its arguments; `{lang}` stands for the language. The text comes on standard
    /// input, because others can read arguments; a WAV file is expected on standard output.
    command: Vec<String>,
    kept: Mutex<HashMap<(Lang, String), Arc<Clip>>>,
}

impl Voice {
    /// With this program. Empty: nothing is said, and a tone stands for each text.
    pub fn new(command: Vec<String>) -> Self { Self { command, kept: Mutex::default() } }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<(Lang, String), Arc<Clip>>> { self.kept.lock().unwrap_or_else(PoisonError::into_inner) }

    /// A text as sound. A program that fails is told to the operator, and the caller hears a tone:
    /// the call goes on, and an agent can be reached.
    pub async fn clip(&self, lang: Lang, text: &str, keep: bool) -> Arc<Clip> {
        let key = (lang, text.to_owned());
        if let Some(clip) = self.kept().get(&key) {
            return clip.clone();
        }
        match self.spoken(lang, text).await {
            Ok(clip) => {
                let mut kept = self.kept();
                if keep && kept.len() < KEPT {
                    kept.insert(key, clip.clone());
                }
                clip
            }
            Err(why) => {
                if !self.command.is_empty() {
                    tracing::error!(program = self.command.first(), error = why, "a prompt could not be spoken: look at sip.speech");
                }
                Clip::tone(520.0, 0.2, Duration::from_millis(250), Duration::from_millis(250))
            }
        }
    }

    async fn spoken(&self, lang: Lang, text: &str) -> Result<Arc<Clip>, String> {
        let [program, arguments @ ..] = self.command.as_slice() else { return Err("no program is named".into()) };
        let arguments = arguments.iter().map(|argument| argument.replace("{lang}", lang.code()));
        // Our environment may hold keys; the program needs to be found, and no more.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut child = Command::new(program).args(arguments).env_clear().env("PATH", path).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true)
            .spawn().map_err(|e| format!("it does not start: {e}"))?;
        let mut input = child.stdin.take().ok_or("it takes no text")?;
        let text = text.to_owned();
        let said = async move {
            // A program that has heard enough closes its end; what it says then counts.
            let _ = input.write_all(text.as_bytes()).await;
            drop(input);
            child.wait_with_output().await.map_err(|e| e.to_string())
        };
        let out = timeout(PATIENCE, said).await.map_err(|_| "it took longer than ten seconds".to_owned())??;
        if !out.status.success() {
            return Err(format!("it ended with {}", out.status));
        }
        if out.stdout.len() > LARGEST {
            return Err("it said more than two minutes".into());
        }
        let (rate, samples) = wav(&out.stdout).ok_or("it gave no WAV file of 16 bits and one channel")?;
        Clip::from_samples(resampled(&samples, rate)).map_err(|e| e.to_string())
    }
}

/// Rate and samples of a WAV file with one channel of 16 bits. A length that was not filled in, as
/// programs write it that do not know the end beforehand, is that of the file.
fn wav(file: &[u8]) -> Option<(u32, Vec<i16>)> {
    if file.get(..4)? != b"RIFF" || file.get(8..12)? != b"WAVE" {
        return None;
    }
    let (mut at, mut rate) = (12, 0);
    loop {
        let head = file.get(at..at + 8)?;
        let length = usize::try_from(u32::from_le_bytes(head.get(4..8)?.try_into().ok()?)).ok()?;
        let body = file.get(at + 8..)?;
        let body = body.get(..length).unwrap_or(body);
        match head.get(..4)? {
            b"fmt " => {
                let word = |from: usize| body.get(from..from + 2).map(|b| u16::from_le_bytes([b.first().copied().unwrap_or(0), b.get(1).copied().unwrap_or(0)]));
                if (word(0)?, word(2)?, word(14)?) != (1, 1, 16) {
                    return None;
                }
                rate = u32::from_le_bytes(body.get(4..8)?.try_into().ok()?);
            }
            b"data" if (8_000..=48_000).contains(&rate) => {
                return Some((rate, body.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect()));
            }
            b"data" => return None,
            _ => {}
        }
        at = at.checked_add(8)?.checked_add(length)?.checked_add(length & 1)?;
    }
}

/// At 8,000 samples a second, with what a telephone line cannot carry taken away first: a low pass at
/// 3.6 kHz, 64 taps with a Hann window.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "two minutes of samples are far below 2^52")]
fn resampled(samples: &[i16], rate: u32) -> Vec<i16> {
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

    fn file(rate: u32, samples: &[i16], length: u32) -> Vec<u8> {
        let mut out = b"RIFF\xff\xff\xff\x7fWAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        out.extend(rate.to_le_bytes());
        out.extend((rate * 2).to_le_bytes());
        out.extend([2, 0, 16, 0]);
        out.extend(b"data");
        out.extend(length.to_le_bytes());
        out.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
        out
    }

    #[test]
    fn a_file_without_its_length_is_read_to_its_end() {
        assert_eq!(wav(&file(22_050, &[1, -2, 3], 0x7fff_f000)), Some((22_050, vec![1, -2, 3])));
        assert_eq!(wav(&file(22_050, &[1, -2, 3], 4)), Some((22_050, vec![1, -2])));
        assert_eq!(wav(&file(4_000, &[1], 2)), None);
        for cut in 0..44 {
            assert!(wav(&file(8_000, &[], 0)[..cut]).is_none());
        }
    }

    #[test]
    fn a_tone_keeps_its_pitch_and_what_is_too_high_goes() {
        let tone = |hertz: f64| (0..22_050).map(|n| ((f64::from(n) * hertz / 22_050.0 * std::f64::consts::TAU).sin() * 10_000.0) as i16).collect::<Vec<_>>();
        let loud = |samples: &[i16]| samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len() as f64;
        let low = resampled(&tone(1_000.0), 22_050);
        assert!((7_990..=8_000).contains(&low.len()));
        let crossings = low.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
        assert!((990..=1_010).contains(&crossings), "{crossings}");
        assert!(loud(&low) > 0.9 * 5e7 && loud(&low) < 1.1 * 5e7);
        assert!(loud(&resampled(&tone(6_000.0), 22_050)) < 0.001 * 5e7);
    }

    #[tokio::test]
    async fn a_program_that_fails_leaves_a_tone() {
        for command in [vec![], vec!["/nowhere/at/all".into()], vec!["false".into()], vec!["echo".into(), "no sound".into()]] {
            let voice = Voice::new(command);
            assert!(voice.clip(Lang::En, "Hello", true).await.duration() >= Duration::from_millis(500));
            assert!(voice.kept().is_empty(), "a failure is not kept");
        }
    }
}
