//! What is wrong with a set, and from where each thing that is said comes.

use std::collections::BTreeSet;

use countersign_core::prompt::Lang;
use countersign_sip::clip::RATE;

use super::{Row, Set, hash, wave::{Heard, Wave, resampled}};
use crate::i18n::{Line, key};

/// Limits, in samples and dB of full scale.
const EDGE: usize = RATE / 2;
const GAP: usize = RATE * 3 / 2;
const QUIET: f64 = -32.0;
const LOUD: f64 = -10.0;

/// Something to be put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The recording.
    pub id: String,
    /// Its language.
    pub lang: Lang,
    /// What is wrong, and what to do.
    pub text: String,
}

/// Whatever is wrong with the recordings of a set that shall say this.
pub fn check(set: &Set, script: &[Line]) -> Vec<Problem> {
    let mut out = Vec::new();
    let mut seen = BTreeSet::new();
    for row in &set.list.recordings {
        let mut say = |text: String| out.push(Problem { id: row.id.clone(), lang: row.lang, text });
        if !seen.insert((row.lang.code(), row.id.clone())) {
            say("is in the list twice".into());
        }
        match script.iter().find(|line| line.lang == row.lang && line.id == row.id) {
            None if !script.iter().any(|line| line.lang == row.lang && key(&line.text) == key(&row.text)) => {
                say(format!("is never said, and says {:?}: its text is gone or has another name now", row.text));
            }
            Some(line) if key(&line.text) != key(&row.text) => say(format!("says {:?}, and the text is {:?} now: record it anew", row.text, line.text)),
            _ => {}
        }
        sound(set, row, &mut say);
    }
    out
}

/// What is wrong with a file.
#[expect(clippy::cast_precision_loss, reason = "lengths of minutes")]
fn sound(set: &Set, row: &Row, say: &mut impl FnMut(String)) {
    let bytes = match set.bytes(row) {
        Ok(bytes) => bytes,
        Err(e) => return say(format!("cannot be read: {e}")),
    };
    if hash(&bytes) != row.sha256.to_ascii_lowercase() {
        return say("is not the file that the list speaks of: its SHA-256 is another. Import it again".into());
    }
    let wave = match Wave::read(&bytes) {
        Ok(wave) => wave,
        Err(e) => return say(e.to_string()),
    };
    if wave.mixed {
        say("has two channels: one is wanted".into());
    }
    if wave.rate as usize != RATE {
        say(format!("has {} samples a second, and is converted at every start: import it", wave.rate));
    }
    let samples = resampled(&wave.samples, wave.rate);
    let heard = Heard::of(&samples);
    let milliseconds = u64::try_from(samples.len() * 1_000 / RATE).unwrap_or_default();
    if milliseconds != row.milliseconds {
        say(format!("lasts {milliseconds} ms, and the list says {}", row.milliseconds));
    }
    if heard.span.is_none() {
        return say("has nothing to hear in it".into());
    }
    if heard.clipped > 0 {
        say(format!("is overdriven: {} samples are cut off. Record it softer", heard.clipped));
    }
    if heard.speech < QUIET || heard.speech > LOUD {
        say(format!("is at {:.0} dBFS, and should be near -20: import it, which levels it", heard.speech));
    }
    let [before, after, within] = heard.silence;
    for (length, most, what) in [(before, EDGE, "begins"), (after, EDGE, "ends")] {
        if length > most {
            say(format!("{what} with {:.1} s of silence: import it, which trims it", length as f64 / RATE as f64));
        }
    }
    if within > GAP {
        say(format!("is silent for {:.1} s in its middle: cut that out", within as f64 / RATE as f64));
    }
}

/// From where something that is said comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A recording of the company's own.
    Own,
    /// The program that speaks.
    Program,
    /// The set that comes with us.
    Shipped,
    /// Nothing says it: a greeting without the company's name is said in its place.
    Unnamed,
    /// Nothing says it: the whole message is said in our words.
    OurWords,
}

impl Source {
    /// In a word or three.
    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "yours",
            Self::Program => "program",
            Self::Shipped => "shipped",
            Self::Unnamed => "missing: said without the name",
            Self::OurWords => "missing: said in our words",
        }
    }
    /// Whether what is said is what is written.
    pub fn is_missing(self) -> bool { matches!(self, Self::Unnamed | Self::OurWords) }
}

/// From where each line comes.
pub fn sources(script: &[Line], own: Option<&Set>, program: bool) -> Vec<Source> {
    script.iter().map(|line| {
        if own.is_some_and(|own| own.has(line.lang, &line.text)) {
            Source::Own
        } else if program {
            Source::Program
        } else if Set::shipped().has(line.lang, &line.text) {
            Source::Shipped
        } else if line.named {
            Source::Unnamed
        } else {
            Source::OurWords
        }
    }).collect()
}
