//! Words as sound: recordings of the company's own, a program that speaks, and the recordings that come
//! with us, in this order.
//!
//! The company's recordings were made for these words. A program was named by the operator for what
//! nobody recorded, and says whole sentences, with the name, in one voice. Our set says the rest piece by
//! piece. A sentence with a code in it is always said piece by piece, so that no program is handed a
//! code: it may ask a service for its voice.

use std::{
    collections::HashMap,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use countersign_core::prompt::Lang;
use countersign_sip::Clip;
use tokio::{
    io::AsyncWriteExt as _,
    process::Command,
    time::{Instant, timeout},
};

use crate::{
    i18n::{Part, Said, Sentence, key},
    prompts::{PromptError, Set, wave::{Wave, resampled}},
};

/// How long a program may take for one text.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a program that failed is left alone: callers would wait for it at every sentence.
const REST: Duration = Duration::from_secs(30);
/// Texts that are kept. There are a few hundred in three languages; more are a company's own.
const KEPT: usize = 2_000;
/// The most that a program may say: two minutes at 48,000 samples a second.
const LARGEST: usize = 12 << 20;

/// Pauses, in milliseconds: between sentences, within one where a piece meets the next, between the digits
/// of a code, and between groups of them. All are whole packets of 20 ms.
const SENTENCE: u64 = 380;
const PIECE: u64 = 60;
const DIGIT: u64 = 200;
const GROUP: u64 = 560;

/// Speaks.
pub struct Voice {
    own: Option<Set>,
    /// The program and its arguments; `{lang}` stands for the language. The text comes on standard
    /// input, because others can read arguments; a WAV file is expected on standard output.
    command: Vec<String>,
    kept: Mutex<HashMap<(Lang, String), Arc<Clip>>>,
    /// When the program failed last.
    failed: Mutex<Option<Instant>>,
}

impl Voice {
    /// With these recordings of the company's own, and this program if one is named.
    pub fn new(own: Option<Set>, command: Vec<String>) -> Self { Self { own, command, kept: Mutex::default(), failed: Mutex::default() } }

    /// As the settings of an adapter say.
    ///
    /// # Errors
    /// The folder of recordings cannot be used.
    pub fn of(prompts: Option<&Path>, speech: &[String]) -> Result<Self, PromptError> { Ok(Self::new(prompts.map(Set::read).transpose()?, speech.to_vec())) }

    fn kept(&self) -> MutexGuard<'_, HashMap<(Lang, String), Arc<Clip>>> { self.kept.lock().unwrap_or_else(PoisonError::into_inner) }

    /// Has the program say every digit once, in their order: no code is the first to be said.
    pub async fn warm(&self) {
        for lang in Lang::ALL {
            for c in "0123456789".chars() {
                if self.own(lang, &c.to_string()).is_none() {
                    self.program(lang, &c.to_string()).await;
                }
            }
        }
    }

    /// A message as sound. What a company says in words of its own that nothing can say is said in ours:
    /// the keys and codes in it are the same.
    pub async fn say(&self, said: &Said) -> Vec<Arc<Clip>> {
        if let Some(clips) = self.sentences(said).await {
            return clips;
        }
        if let Some(ours) = &said.ours
            && let Some(clips) = self.sentences(ours).await
        {
            return clips;
        }
        // Only with a set that is not whole, which a test forbids.
        tracing::error!(language = said.lang.code(), "a prompt could not be said: run `countersign prompts check`");
        vec![Clip::tone(520.0, 0.2, Duration::from_millis(250), Duration::from_millis(250))]
    }

    async fn sentences(&self, said: &Said) -> Option<Vec<Arc<Clip>>> {
        let mut out = Vec::new();
        for sentence in &said.sentences {
            if !out.is_empty() {
                out.push(pause(SENTENCE));
            }
            out.extend(self.sentence(said.lang, sentence).await?);
        }
        Some(out)
    }

    async fn sentence(&self, lang: Lang, sentence: &Sentence) -> Option<Vec<Arc<Clip>>> {
        if let Some(clips) = pieces(sentence, |words| self.own(lang, words)) {
            return Some(clips);
        }
        if !sentence.secret && let Some(clip) = self.program(lang, &sentence.text).await {
            return Some(vec![clip]);
        }
        if sentence.secret {
            // In the program's voice, if there is one: the words here, the digits were said before.
            for part in &sentence.parts {
                if let Part::Words(words) = part
                    && self.own(lang, words).is_none()
                {
                    self.program(lang, words).await;
                }
            }
        }
        let known = |words: &str| self.kept().get(&(lang, key(words))).cloned();
        pieces(sentence, |words| self.own(lang, words).or_else(|| known(words)).or_else(|| Set::shipped().say(lang, words))).or_else(|| {
            let unnamed = sentence.unnamed.as_ref()?;
            Some(vec![self.own(lang, unnamed).or_else(|| Set::shipped().say(lang, unnamed))?])
        })
    }

    fn own(&self, lang: Lang, words: &str) -> Option<Arc<Clip>> { self.own.as_ref()?.say(lang, words) }

    /// In the program's voice. One that fails is told to the operator, and not asked again for a while.
    async fn program(&self, lang: Lang, text: &str) -> Option<Arc<Clip>> {
        if self.command.is_empty() {
            return None;
        }
        let key = (lang, key(text));
        if let Some(clip) = self.kept().get(&key) {
            return Some(clip.clone());
        }
        let resting = |at: &Option<Instant>| at.is_some_and(|at| at.elapsed() < REST);
        if resting(&self.failed.lock().unwrap_or_else(PoisonError::into_inner)) {
            return None;
        }
        match self.spoken(lang, &text.replace('…', "")).await {
            Ok(clip) => {
                let mut kept = self.kept();
                if kept.len() < KEPT {
                    kept.insert(key, clip.clone());
                }
                Some(clip)
            }
            Err(why) => {
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                tracing::error!(program = self.command.first(), error = why, "the program that speaks failed, and recordings speak for half a minute: look at sip.speech");
                None
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
        let text = text.trim().to_owned();
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
        let wave = Wave::read(&out.stdout).map_err(|e| format!("what it gave is no sound: {e}"))?;
        Clip::from_samples(resampled(&wave.samples, wave.rate)).map_err(|e| e.to_string())
    }
}

/// A sentence out of pieces, with pauses; nothing if one is missing.
fn pieces(sentence: &Sentence, say: impl Fn(&str) -> Option<Arc<Clip>>) -> Option<Vec<Arc<Clip>>> {
    let mut out: Vec<Arc<Clip>> = Vec::new();
    let mut gap = 0;
    let mut put = |gap: u64, clip: Arc<Clip>| {
        if gap > 0 {
            out.push(pause(gap));
        }
        out.push(clip);
    };
    for part in &sentence.parts {
        match part {
            Part::Rest => gap = SENTENCE,
            Part::Words(words) => {
                put(gap, say(words)?);
                gap = PIECE;
            }
            Part::Spelled(groups) => {
                // One key sits in its sentence; a code stands apart on both sides.
                let alone = groups.iter().map(Vec::len).sum::<usize>() == 1;
                for group in groups {
                    gap = if alone || gap == 0 { gap } else { GROUP };
                    for letter in group {
                        put(gap, say(letter)?);
                        gap = DIGIT;
                    }
                }
                gap = if alone { PIECE } else { GROUP };
            }
        }
    }
    (!out.is_empty()).then_some(out)
}

/// Made once for each length.
pub(super) fn pause(milliseconds: u64) -> Arc<Clip> {
    static PAUSES: OnceLock<Mutex<HashMap<u64, Arc<Clip>>>> = OnceLock::new();
    let mut pauses = PAUSES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    pauses.entry(milliseconds).or_insert_with(|| Clip::silence(Duration::from_millis(milliseconds))).clone()
}

/// The tone after which a caller is listened to, the same everywhere.
pub(crate) fn tone() -> Arc<Clip> {
    static TONE: OnceLock<Arc<Clip>> = OnceLock::new();
    TONE.get_or_init(|| Clip::tone(countersign_sip::caller::TONE, 0.2, Duration::from_millis(200), Duration::from_millis(100))).clone()
}

/// Between two messages.
pub(crate) fn rest() -> Arc<Clip> { pause(SENTENCE) }

#[cfg(test)]
mod tests;
