//! Listens to voices for the machine: makes takes and templates, compares, and keeps both sealed. What
//! comes out is words and numbers for the record; see docs/voice.md for what they are worth.
//!
//! A template lies beside the customer's profile, which holds the consent. Whatever takes the voice off
//! the profile takes the template with it, in the same commit ([`crate::directory`]).

use std::{path::{Path, PathBuf}, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use countersign_core::{
    call::Answer,
    id::{AccountId, CallId},
    secret::Secret,
    time::{Span, Timestamp},
    voice::{self, Codec, Comparison, Fault, Outcome, Place, Sound},
};
use countersign_store::{DocWrite, Expect};
use countersign_voice::{
    Audio, Calibration, CalibrationError, Engine, EngineError, Feedback, Occasion, Plugin, PluginError, Problem, Progress, Quality, Requirements, Speech, Template,
    Verdict, Verification, drift, embed::Embedder, engine::Reference, enrol::Enrolment, onnx::Limits, plugin::Kind,
    score::{PhraseCheck, ReplayCheck},
};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::{
    amend::{Extra, Notify},
    record::AccountEvent,
    runner::{RunError, Runner},
    voice_digits,
};

/// The kind under which templates are kept, by account.
pub const TEMPLATE: &str = "voice";
/// The kind under which takes are kept between one and the next, by call.
pub const TAKES: &str = "voice-takes";
/// Takes of a call that nobody ended are swept after this.
pub(crate) const TAKES_LIFE: Span = Span::hours(1);
/// Voices that are listened to at once: each takes some 15 ms of a core, and a model for synthetic speech
/// up to a second and 260 MB.
const AT_ONCE: usize = 2;
/// Longest time that a template may be kept, in days (740 ILCS 14/15(a): three years).
const LONGEST: u32 = 1095;
/// Templates that are taken away in one go.
const EXPIRE: usize = 100;

/// `[voice]`: off without it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoiceSettings {
    /// What was measured here (`countersign voice calibrate`). Without it every answer is "not calibrated".
    pub calibration: Option<PathBuf>,
    /// The manifest of a speaker network to be used instead of ours; the network lies beside it, with `.onnx`
    /// at its end. What was enrolled or measured with another network says nothing from then on.
    pub speaker: Option<PathBuf>,
    /// The manifest of a model for synthetic speech; the model lies beside it, with `.onnx` at its end.
    pub synthetic: Option<PathBuf>,
    /// Which text of consent is read out: a name for the record. Give it another whenever the words change.
    pub consent_text: String,
    /// How many days a template is kept.
    #[serde(default = "two_years")]
    pub expires_days: u32,
    /// Takes at enrolment, good and bad ones.
    #[serde(default = "six")]
    pub tries: u8,
    /// Digits are asked for after the phrase, drawn anew each time, against recordings of an earlier call.
    #[serde(default)]
    pub digits: bool,
}

fn two_years() -> u32 { 730 }
fn six() -> u8 { 6 }

/// Why voices cannot be listened to.
#[derive(Debug, thiserror::Error)]
pub enum VoiceError {
    /// A file cannot be read.
    #[error("voice.{setting}: {path} cannot be read: {source}")]
    File {
        /// Which setting.
        setting: &'static str,
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The calibration is none.
    #[error("voice.calibration: {path} {why}. Make one with `countersign voice calibrate`")]
    Calibration {
        /// Which file.
        path: String,
        /// Why.
        why: CalibrationError,
    },
    /// The calibration is for another network or another kind of speech.
    #[error("voice.calibration: {0} was measured with another speaker network, on free speech, or by an older program that does not say what it weighed: it says nothing here. Calibrate anew with the network of [voice] (`countersign voice calibrate`, with --speaker where voice.speaker names one)")]
    OtherCalibration(String),
    /// The threshold for synthetic speech was measured with another model.
    #[error("voice.calibration: {0} has a threshold for another model of synthetic speech than that of voice.synthetic: it says nothing here. Calibrate anew with `countersign voice calibrate --synthetic`")]
    OtherSynthetic(String),
    /// A network of somebody else's is not used.
    #[error("voice.{setting}: {path}: {why}")]
    Plugin {
        /// Which setting.
        setting: &'static str,
        /// Which file.
        path: String,
        /// Why.
        why: PluginError,
    },
    /// It is a model for something else.
    #[error("voice.{setting}: {path} is for something else: its manifest has to say kind = \"{kind}\"")]
    OtherKind {
        /// Which setting.
        setting: &'static str,
        /// Which file.
        path: String,
        /// What is needed.
        kind: &'static str,
    },
    /// The models that come with us.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, VoiceError> {
    std::fs::read(path).map_err(|source| VoiceError::File { setting, path: path.display().to_string(), source })
}

/// A network of somebody else's, by its manifest.
fn plugin(setting: &'static str, path: &Path, kind: Kind, word: &'static str) -> Result<Arc<Plugin>, VoiceError> {
    let told = path.display().to_string();
    let manifest = String::from_utf8_lossy(&read(setting, path)?).into_owned();
    let file = read(setting, &path.with_extension("onnx"))?;
    let plugin = Plugin::load(&manifest, &file, &Limits::default()).map_err(|why| VoiceError::Plugin { setting, path: told.clone(), why })?;
    if plugin.manifest().kind == kind { Ok(plugin) } else { Err(VoiceError::OtherKind { setting, path: told, kind: word }) }
}

impl VoiceSettings {
    /// As the machine takes them, for callers through these adapters.
    pub fn params(&self, adapters: Vec<String>) -> voice::Settings {
        let days = self.expires_days.clamp(1, LONGEST);
        voice::Settings { text: self.consent_text.clone(), life: Span::days(i64::from(days)), tries: self.tries, adapters, digits: self.digits }
    }

    /// What cannot be meant.
    pub(crate) fn faults(&self) -> Vec<(&'static str, String)> {
        let mut out = Vec::new();
        if self.consent_text.is_empty() || self.consent_text.len() > 40 {
            out.push(("voice.consent_text", "name the text that is read out, in 1 to 40 characters, such as \"2026-05\"".into()));
        }
        if !(1..=LONGEST).contains(&self.expires_days) {
            out.push(("voice.expires_days", format!("is not between 1 and {LONGEST}: what describes a voice is kept for three years at the longest")));
        }
        if !(3..=12).contains(&self.tries) {
            out.push(("voice.tries", "is not between 3 and 12: three good takes make a template".into()));
        }
        if self.calibration.is_none() {
            out.push(("voice.calibration", "no calibration: every comparison answers \"not calibrated\", which is never a pass. Make one with `countersign voice calibrate`".into()));
        }
        out
    }
}

/// The engine, and what was measured here.
pub struct Voices {
    pub(crate) engine: Engine,
    calibration: Option<Calibration>,
    /// Of the calibration: by it scores of two of them are kept apart.
    name: String,
    synthetic: Option<Arc<Plugin>>,
}

/// What came of a take.
enum Take {
    Faulty(Fault),
    More(Vec<u8>),
    Complete(Vec<u8>),
}

impl Voices {
    /// By the configuration. Takes about a tenth of a second.
    ///
    /// # Errors
    /// See [`VoiceError`].
    pub fn load(settings: &VoiceSettings) -> Result<Self, VoiceError> {
        let calibration = settings.calibration.as_deref().map(|path| {
            let told = path.display().to_string();
            let text = String::from_utf8_lossy(&read("calibration", path)?).into_owned();
            Calibration::from_json(&text).map(|calibration| (calibration, told.clone())).map_err(|why| VoiceError::Calibration { path: told, why })
        }).transpose()?;
        let speaker = settings.speaker.as_deref().map(|path| plugin("speaker", path, Kind::Embedding, "embedding")).transpose()?;
        let synthetic = settings.synthetic.as_deref().map(|path| plugin("synthetic", path, Kind::Spoof, "spoof")).transpose()?;
        let named = calibration.as_ref().map(|(_, path)| path.clone()).unwrap_or_default();
        Self::new(speaker, calibration.map(|(calibration, _)| calibration), synthetic)?.fitting(named)
    }

    /// With this speaker network instead of ours, this calibration and this model for synthetic speech.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn new(speaker: Option<Arc<Plugin>>, calibration: Option<Calibration>, synthetic: Option<Arc<Plugin>>) -> Result<Self, VoiceError> {
        let engine = match speaker {
            Some(plugin) => Engine::with_network(Embedder::plugin(plugin).map_err(EngineError::from)?)?,
            None => Engine::built_in()?,
        };
        let name = calibration.as_ref().map(Calibration::name).unwrap_or_default();
        Ok(Self { engine, calibration, name, synthetic })
    }

    fn fitting(self, path: String) -> Result<Self, VoiceError> {
        match &self.calibration {
            Some(calibration) if !calibration.is_for(Speech::SamePhrase, self.engine.network()) => Err(VoiceError::OtherCalibration(path)),
            _ => match (&self.calibration, &self.synthetic) {
                // Its name is in the file, and the model is another.
                (Some(calibration), Some(model)) if calibration.spoof.is_some() && calibration.synthetic_from(model.sha256()).is_none() => Err(VoiceError::OtherSynthetic(path)),
                (calibration, Some(model)) if calibration.as_ref().is_none_or(|calibration| calibration.synthetic_from(model.sha256()).is_none()) => {
                    tracing::warn!("voice.synthetic names a model, and the calibration no threshold for it: it is never believed. `countersign voice calibrate --synthetic` finds one");
                    Ok(self)
                }
                _ => Ok(self),
            },
        }
    }

    /// By which scores of now are looked at for drift: the name of the calibration, and how the genuine
    /// scored in it, if it says so.
    pub fn measured(&self) -> Option<(&str, Option<drift::Reference>)> { self.calibration.as_ref().map(|calibration| (self.name.as_str(), calibration.genuine)) }

    /// Where a score lies among those of the calibration.
    fn place(&self, verification: &Verification) -> Option<Place> {
        let genuine = self.calibration.as_ref()?.genuine?;
        let tenth = genuine.tenth(verification.score.filter(|_| verification.threshold.is_some())?)?;
        Some(Place { calibration: self.name.clone(), tenth })
    }

    /// Looks at one take. `before` are those that are there.
    fn take(&self, before: Option<&[u8]>, sound: &Sound) -> (Take, voice::Quality) {
        let Ok(audio) = Audio::from_pcm16(sound.expose()) else { return (Take::Faulty(Fault::Failed), voice::Quality::default()) };
        let quality = told(&self.engine.quality(&audio), sound.codec());
        let enrolment = match before {
            None => Some(self.engine.enrol(Speech::SamePhrase)),
            // A node that uses another network took the takes before: they are not to be mixed.
            Some(bytes) => Enrolment::from_bytes(bytes).ok().filter(|before| before.network() == self.engine.network()),
        };
        let (Some(mut enrolment), Ok(take)) = (enrolment, self.engine.take(&audio, &Requirements::enrolment())) else {
            return (Take::Faulty(Fault::Failed), quality);
        };
        let taken = match take {
            Err(problem) => Take::Faulty(fault(&problem)),
            Ok(take) => match enrolment.offer(take) {
                Err(Feedback::Sound(problem)) => Take::Faulty(fault(&problem)),
                Err(Feedback::PhrasesDiffer(_)) => Take::Faulty(Fault::OtherWords),
                Err(Feedback::SameRecording(_)) => Take::Faulty(Fault::SameRecording),
                Err(Feedback::VoicesDiffer(_)) => Take::Faulty(Fault::OtherVoice),
                Ok(Progress::More(_)) => Take::More(enrolment.to_bytes()),
                // What cannot be compared with later is no template.
                Ok(Progress::Complete(template)) => match self.engine.prepare((*template).clone()) {
                    Ok(_) => Take::Complete(template.to_bytes()),
                    Err(_) => Take::Faulty(Fault::Failed),
                },
            },
        };
        (taken, quality)
    }

    /// Compares, and says what the template is from then on, if it learnt.
    fn compare(&self, template: &[u8], learn: Option<Occasion>, sound: &Sound) -> (Comparison, Option<Vec<u8>>) {
        let failed = || (Comparison::only(Outcome::Failed), None);
        let (Ok(mut template), Ok(audio)) = (Template::from_bytes(template), Audio::from_pcm16(sound.expose())) else { return failed() };
        let reference: Reference = match self.engine.prepare(template.clone()) {
            Ok(reference) => reference,
            Err(EngineError::OtherNetwork) => return (Comparison::only(Outcome::OtherNetwork), None),
            Err(e) => {
                tracing::warn!(error = %e, "a voice cannot be compared");
                return failed();
            }
        };
        match self.engine.verify(&reference, &audio, self.calibration.as_ref(), self.synthetic.as_ref()) {
            Ok((verification, take)) => {
                let learnt = match (learn, take) {
                    (Some(occasion), Some(take)) => template.adapt(take, &verification, occasion).is_ok(),
                    _ => false,
                };
                (Comparison { learnt, place: self.place(&verification), ..compared(&verification, sound.codec()) }, learnt.then(|| template.to_bytes()))
            }
            Err(e) => {
                tracing::error!(error = %e, "a voice could not be compared");
                failed()
            }
        }
    }
}

pub(crate) fn fault(problem: &Problem) -> Fault {
    match problem {
        Problem::NoSpeech(_) => Fault::NoSpeech,
        Problem::TooShort(_) => Fault::TooShort,
        Problem::TooNoisy(_) => Fault::TooNoisy,
        Problem::Clipped(_) => Fault::Overdriven,
    }
}

/// The same of an answer that is to be compared.
pub(crate) fn unusable(problem: &Problem) -> Outcome {
    match problem {
        Problem::NoSpeech(_) => Outcome::NoSpeech,
        Problem::TooShort(_) => Outcome::TooShort,
        Problem::TooNoisy(_) => Outcome::TooNoisy,
        Problem::Clipped(_) => Outcome::Overdriven,
    }
}

/// Whole numbers for the record: a number that is none, or beyond all sense, becomes a bound.
#[expect(clippy::cast_possible_truncation, reason = "numbers as of `as`: what is too large becomes the largest, what is none becomes 0")]
fn thousandths(value: f32) -> i64 { (f64::from(value) * 1000.0).round() as i64 }

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers as of `as`: what is too large becomes the largest, what is negative becomes 0")]
pub(crate) fn told(quality: &Quality, codec: Option<Codec>) -> voice::Quality {
    voice::Quality {
        length: (quality.seconds * 1000.0) as u32, speech: (quality.speech * 1000.0) as u32, snr: (quality.snr * 10.0) as u16,
        clipped: (quality.clipped * 10_000.0) as u16, codec,
    }
}

fn compared(v: &Verification, codec: Option<Codec>) -> Comparison {
    let outcome = match &v.verdict {
        Verdict::Alike => Outcome::Alike,
        Verdict::Unlike => Outcome::Unlike,
        Verdict::OtherPhrase => Outcome::OtherWords,
        Verdict::KnownRecording => Outcome::KnownRecording,
        Verdict::Synthetic => Outcome::Synthetic,
        Verdict::Unusable(problem) => unusable(problem),
        Verdict::NotCalibrated => Outcome::NotCalibrated,
    };
    Comparison {
        outcome, quality: told(&v.quality, codec), score: v.score.map(thousandths), threshold: v.threshold.map(thousandths),
        likelihood: v.log_likelihood_ratio.map(thousandths),
        phrase: match v.phrase { PhraseCheck::Same(_) => Some(true), PhraseCheck::Other(_) => Some(false), PhraseCheck::NotChecked => None },
        recording: match v.replay { ReplayCheck::Stored(_) => Some(true), ReplayCheck::NotStored(_) => Some(false), ReplayCheck::NotChecked => None },
        spoof: v.spoof.map(thousandths), learnt: false, place: None,
    }
}

/// What is kept of a voice. The one place where it is sealed and opened: for one account, in one place.
#[derive(Serialize, Deserialize)]
pub(crate) struct Kept {
    account: AccountId,
    bytes: Secret,
    /// How the voice says digits: beside the template, so that whatever takes one away takes both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digits: Option<Secret>,
    /// On which call the template came: its digits are learnt there and nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    enrolled: Option<CallId>,
}

/// As it is sealed.
pub(crate) fn kept(account: AccountId, voice: &Opened) -> Kept {
    let sealed = |bytes: &Zeroizing<Vec<u8>>| Secret::new(BASE64.encode(bytes));
    Kept { account, bytes: sealed(&voice.bytes), digits: voice.digits.as_ref().map(sealed), enrolled: voice.enrolled }
}

/// What is kept of a voice, opened. Wiped when it is dropped.
pub(crate) struct Opened {
    /// The takes, or the template.
    pub bytes: Zeroizing<Vec<u8>>,
    /// The digits, if some were learnt.
    pub digits: Option<Zeroizing<Vec<u8>>>,
    /// On which call the template came.
    pub enrolled: Option<CallId>,
}

impl Opened {
    /// Nothing but this.
    pub fn only(bytes: Vec<u8>) -> Self { Self { bytes: Zeroizing::new(bytes), digits: None, enrolled: None } }
}

/// Takes of a call away.
pub fn forget_takes(call: CallId) -> DocWrite { DocWrite::Delete { kind: TAKES, id: call.0.to_vec() } }

/// The template of an account away.
pub fn forget(account: AccountId) -> DocWrite { DocWrite::Delete { kind: TEMPLATE, id: account.0.to_vec() } }

/// A take that the machine asks about.
pub(crate) struct Taken {
    /// On which call.
    pub call: CallId,
    /// Whose.
    pub account: AccountId,
    /// Good takes so far.
    pub taken: u8,
    /// It only looks kept.
    pub held: bool,
    /// Until when the template is kept.
    pub until: Timestamp,
    /// What was said.
    pub sound: Sound,
}

impl Runner {
    /// From now on voices are listened to; without, every answer is that nobody could.
    pub fn listens(&self, voices: Arc<Voices>) {
        let _ = self.voices.set((voices, Semaphore::new(AT_ONCE)));
    }

    /// Listens aside, two at a time: a flood waits instead of taking the machine.
    pub(crate) async fn listen<T: Send + 'static>(&self, job: impl FnOnce(&Voices) -> T + Send + 'static) -> Result<Option<T>, RunError> {
        let Some((voices, at_once)) = self.voices.get() else { return Ok(None) };
        let _permit = at_once.acquire().await.map_err(|_| RunError::Busy)?;
        let voices = voices.clone();
        tokio::task::spawn_blocking(move || job(&voices)).await.map(Some).map_err(|_| RunError::Busy)
    }

    /// By what scores are measured here, for the drift; see [`Voices::measured`].
    pub fn voices_measured(&self) -> Option<(String, Option<drift::Reference>)> {
        let (voices, _) = self.voices.get()?;
        voices.measured().map(|(name, genuine)| (name.to_owned(), genuine))
    }

    /// `None`: it is another account's, damaged, or of a customer who was erased.
    pub(crate) async fn opened(&self, kind: &'static str, id: &[u8], account: AccountId, body: &[u8]) -> Result<Option<Opened>, RunError> {
        let kept: Option<Kept> = self.unseal_about(kind, id, body).await?;
        let open = |sealed: &Secret| BASE64.decode(sealed.expose()).ok().map(Zeroizing::new);
        Ok(kept.filter(|kept| kept.account == account).and_then(|kept| Some(Opened { bytes: open(&kept.bytes)?, digits: kept.digits.as_ref().and_then(open), enrolled: kept.enrolled })))
    }

    /// Answers [`countersign_core::call::Ask::VoiceTake`].
    pub(crate) async fn voice_take(&self, asked: Taken, docs: &mut Vec<DocWrite>) -> Result<Answer, RunError> {
        let Taken { call, account, taken, held, until, sound } = asked;
        let mut before = None;
        if taken > 0 {
            let doc = self.store.doc(TAKES, &call.0).await?;
            before = match doc {
                Some(doc) => self.opened(TAKES, &call.0, account, &doc.body).await?,
                None => None,
            };
            if before.is_none() {
                return Ok(Answer::VoiceTaken { fault: Some(Fault::Failed), quality: voice::Quality::default(), held });
            }
        }
        let looked = self.listen(move |voices| voices.take(before.as_ref().map(|b| b.bytes.as_slice()), &sound)).await?;
        let (take, quality) = looked.unwrap_or((Take::Faulty(Fault::Failed), voice::Quality::default()));
        let fault = match take {
            Take::Faulty(fault) => Some(fault),
            Take::More(bytes) => {
                let body = self.seal_about(TAKES, &call.0, account, &kept(account, &Opened::only(bytes))).await?;
                let erased = body.is_none().then_some(Fault::Failed);
                docs.extend(body.map(|body| DocWrite::Put { kind: TAKES, id: call.0.to_vec(), expected: Expect::Any, body, due: Some((self.now() + TAKES_LIFE).0) }));
                erased
            }
            Take::Complete(_) if held => None,
            Take::Complete(bytes) => {
                let body = self.seal_about(TEMPLATE, &account.0, account, &kept(account, &Opened { enrolled: Some(call), ..Opened::only(bytes) })).await?;
                let erased = body.is_none().then_some(Fault::Failed);
                docs.extend(body.map(|body| DocWrite::Put { kind: TEMPLATE, id: account.0.to_vec(), expected: Expect::Any, body, due: Some(until.0) }));
                erased
            }
        };
        Ok(Answer::VoiceTaken { fault, quality, held })
    }

    /// Answers [`countersign_core::call::Ask::VoiceCompare`].
    pub(crate) async fn voice_compare(&self, call: CallId, account: AccountId, learn: bool, sound: Sound, docs: &mut Vec<DocWrite>) -> Result<Answer, RunError> {
        let learn = learn.then(|| Occasion { id: call.0, at: self.now().0 });
        let failed = Answer::VoiceCompared { comparison: Comparison::only(Outcome::Failed), digits: false };
        let Some(doc) = self.store.doc(TEMPLATE, &account.0).await? else { return Ok(failed) };
        let Some(Opened { bytes, digits, enrolled }) = self.opened(TEMPLATE, &account.0, account, &doc.body).await? else { return Ok(failed) };
        let Some((comparison, learnt)) = self.listen(move |voices| voices.compare(&bytes, learn, &sound)).await? else { return Ok(failed) };
        if let Some(bytes) = learnt
            && let Some(body) = self.seal_about(TEMPLATE, &account.0, account, &kept(account, &Opened { bytes: Zeroizing::new(bytes), digits: digits.clone(), enrolled })).await?
        {
            docs.push(DocWrite::Put { kind: TEMPLATE, id: account.0.to_vec(), expected: Expect::Version(doc.version), body, due: doc.due });
        }
        Ok(Answer::VoiceCompared { comparison, digits: voice_digits::are_whole(digits.as_ref().map(|d| d.as_slice())) })
    }

    /// Takes a voice off the file, outside of a call.
    pub async fn take_voice_away(&self, account: AccountId, why: &str) -> Result<(), RunError> {
        self.amend::<RunError>(account, Notify::Nobody, Extra::default(), |profile, _| {
            Ok(profile.voice.take().map(|_| AccountEvent::VoiceRemoved { why: why.to_owned() }).into_iter().collect())
        }).await
    }

    /// Takes away what is over its time. Returns how many went. What is under a legal hold stays, and is
    /// not compared any more.
    pub async fn expire_voices(&self) -> Result<usize, RunError> {
        let now = self.now();
        let mut n = 0;
        for (id, _) in self.store.docs_due(TEMPLATE, now.0, EXPIRE).await? {
            let Ok(account) = <[u8; 16]>::try_from(id.as_slice()).map(AccountId) else { continue };
            if self.held(account).await?.is_some() {
                continue;
            }
            self.take_voice_away(account, "expired").await?;
            n += 1;
        }
        Ok(n)
    }
}
