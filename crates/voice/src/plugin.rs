//! Networks of somebody else's, by a manifest that says what they take and give.
//!
//! A manifest is TOML beside an ONNX file:
//!
//! ```toml
//! kind = "spoof"              # or "embedding", "vad"
//! name = "AASIST-L"
//! licence = "MIT"
//! sha256 = "…"                # of the ONNX file, 64 hexadecimal digits
//! features = "samples"        # or "log-mel-40"
//! sample_rate = 16000         # or 8000; log-mel-40 needs 8000
//! input = "wave"              # name in the file; 32 bit floats, shape [1, length] or [1, length, 40]
//! length = 64600              # exactly so many samples or frames: repeated or cut to fit
//! # longest = 2000            # instead of `length`: as many as there are, up to this
//! output = "logits"
//! size = 2                    # numbers in the output
//! genuine = 1                 # spoof only: which of them stands for a human voice
//!
//! [self_test]                 # on the signal of `self_test_signal`, 3 s long
//! expected = [-1.25, 2.5]     # the first numbers of the output
//! tolerance = 0.001
//! ```

use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::audio::{Audio, SAMPLE_RATE};
use crate::frontend::{Frontend, MELS};
use crate::onnx::{Extent, Limits, ModelError, Network, Port};
use crate::score::hex;

/// Longest manifest in bytes.
const LONGEST_MANIFEST: usize = 16 << 10;
/// Most numbers in an embedding or other answer.
pub const MOST_ANSWERS: usize = 1024;
/// Longest input: a minute of sound at 16000 Hz.
const LONGEST_INPUT: usize = 60 * 16_000;
/// Seconds of the signal for self-tests.
const SELF_TEST_SECONDS: usize = 3;

/// What a network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A voice as numbers.
    Embedding,
    /// Where there is speech.
    Vad,
    /// Synthetic speech and replay.
    Spoof,
}

/// What a network is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Features {
    /// Samples, -1 to 1.
    Samples,
    /// [`Frontend::log_mel`].
    #[serde(rename = "log-mel-40")]
    LogMel40,
}

/// What is written beside an ONNX file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What it is for.
    pub kind: Kind,
    /// What it is called.
    pub name: String,
    /// Under which licence it may be used. Not checked, but it has to be said.
    pub licence: String,
    /// SHA-256 of the ONNX file in hexadecimal.
    pub sha256: String,
    /// What it is given.
    pub features: Features,
    /// Samples a second: 8000 or 16000.
    pub sample_rate: u32,
    /// Name of the input.
    pub input: String,
    /// Exact length of the input, in samples or frames.
    pub length: Option<usize>,
    /// Largest length of the input, instead of `length`.
    pub longest: Option<usize>,
    /// Name of the output.
    pub output: String,
    /// Numbers in the output.
    pub size: usize,
    /// For [`Kind::Spoof`]: which number of the output stands for a human voice.
    pub genuine: Option<usize>,
    /// For networks that remember from block to block.
    pub state: Option<State>,
    /// What it answers to a known signal.
    pub self_test: SelfTest,
}

/// Memory that a network hands to itself. Blocks follow each other; each begins with the last samples
/// of the one before.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Name of the input for it.
    pub input: String,
    /// Name of the output for it.
    pub output: String,
    /// Its shape. It begins as zeros.
    pub shape: Vec<usize>,
    /// Samples that a block repeats from the one before.
    pub context: usize,
}

/// A known answer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfTest {
    /// The first numbers of the output for [`self_test_signal`].
    pub expected: Vec<f32>,
    /// How far each may be off.
    pub tolerance: f32,
}

/// Why a network of somebody else's is not used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PluginError {
    /// The manifest is not right.
    #[error("manifest: {0}")]
    Manifest(String),
    /// The file is another than the manifest is for.
    #[error("the file has the SHA-256 {found}, the manifest says {expected}")]
    OtherFile {
        /// As the manifest says.
        expected: String,
        /// As it is.
        found: String,
    },
    /// The network is not taken.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// It runs, but answers otherwise than its manifest says.
    #[error(
        "self-test: number {place} is {found}, the manifest says {expected}: wrong features, or another file"
    )]
    SelfTest {
        /// Which number, from 0.
        place: usize,
        /// As the manifest says.
        expected: f32,
        /// As it is.
        found: f32,
    },
}

/// A network with its manifest, checked and ready.
pub struct Plugin {
    manifest: Manifest,
    sha256: [u8; 32],
    network: Network,
    frontend: Frontend,
}

impl Plugin {
    /// Reads a manifest and its network, checks both, and lets the network prove that it answers as it
    /// should.
    ///
    /// # Errors
    /// [`PluginError`]: what is wrong, in words for whoever wrote the manifest.
    pub fn load(manifest: &str, file: &[u8], limits: &Limits) -> Result<Arc<Self>, PluginError> {
        if manifest.len() > LONGEST_MANIFEST {
            return Err(PluginError::Manifest(format!(
                "longer than {LONGEST_MANIFEST} bytes"
            )));
        }
        let manifest: Manifest =
            toml::from_str(manifest).map_err(|error| PluginError::Manifest(error.to_string()))?;
        manifest.check()?;
        // Before hashing: somebody may have put a film there.
        if file.len() as u64 > limits.file_bytes {
            let (is, limit) = (file.len() as u64, limits.file_bytes);
            return Err(ModelError::TooLarge {
                what: "bytes in the file".into(),
                is,
                limit,
            }
            .into());
        }
        let sha256: [u8; 32] = Sha256::digest(file).into();
        let found = hex(&sha256);
        if !found.eq_ignore_ascii_case(&manifest.sha256) {
            return Err(PluginError::OtherFile {
                expected: manifest.sha256,
                found,
            });
        }
        let mut ports = vec![manifest.port()];
        let mut outputs = vec![manifest.output.as_str()];
        if let Some(state) = &manifest.state {
            let shape = state
                .shape
                .iter()
                .map(|extent| Extent::Fixed(*extent))
                .collect();
            ports.push(Port {
                name: state.input.clone(),
                shape,
            });
            outputs.push(&state.output);
        }
        let network = Network::load(file, &ports, &outputs, limits)?;
        let plugin = Self {
            manifest,
            sha256,
            network,
            frontend: Frontend::new(),
        };
        plugin.test()?;
        Ok(Arc::new(plugin))
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of the ONNX file.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// The voice as numbers; as many as the manifest says.
    ///
    /// # Errors
    /// [`ModelError`], also if this is a network of another kind.
    pub fn embedding(&self, audio: &Audio) -> Result<Vec<f32>, ModelError> {
        self.of_kind(Kind::Embedding)?;
        self.once(audio)
    }

    /// How synthetic it sounds: the best of the other classes less that of a human voice. The scale is
    /// the network's own.
    ///
    /// # Errors
    /// [`ModelError`], also if this is a network of another kind.
    pub fn spoof(&self, audio: &Audio) -> Result<f32, ModelError> {
        self.of_kind(Kind::Spoof)?;
        let answer = self.once(audio)?;
        let genuine = self.manifest.genuine.unwrap_or_default();
        let human = answer.get(genuine).copied().unwrap_or(f32::NEG_INFINITY);
        let others = answer
            .iter()
            .enumerate()
            .filter(|(place, _)| *place != genuine)
            .map(|(_, value)| *value);
        // With one number only, that is how human it sounds.
        Ok(others.max_by(f32::total_cmp).unwrap_or(0.0) - human)
    }

    /// How likely each block is speech, 0 to 1.
    ///
    /// # Errors
    /// [`ModelError`], also if this is a network of another kind.
    pub fn speech(&self, audio: &Audio) -> Result<Vec<f32>, ModelError> {
        self.of_kind(Kind::Vad)?;
        match &self.manifest.state {
            Some(state) => self.blocks(audio, state),
            None => self.once(audio),
        }
    }

    fn of_kind(&self, kind: Kind) -> Result<(), ModelError> {
        if self.manifest.kind == kind {
            return Ok(());
        }
        Err(ModelError::Ports(format!(
            "`{}` is a network for {:?}, not {kind:?}",
            self.manifest.name, self.manifest.kind
        )))
    }

    fn once(&self, audio: &Audio) -> Result<Vec<f32>, ModelError> {
        let values = self.features(audio);
        let unit = if self.manifest.features == Features::LogMel40 {
            MELS
        } else {
            1
        };
        let values = match (self.manifest.length, self.manifest.longest) {
            (Some(length), _) => values.iter().copied().cycle().take(length * unit).collect(),
            (None, Some(longest)) if values.len() > longest * unit => {
                values.into_iter().take(longest * unit).collect()
            }
            _ => values,
        };
        let answer = self
            .network
            .run(&[&values])?
            .into_iter()
            .next()
            .unwrap_or_default();
        self.sized(answer)
    }

    fn blocks(&self, audio: &Audio, state: &State) -> Result<Vec<f32>, ModelError> {
        let length = self.manifest.length.unwrap_or_default();
        let fresh = length.saturating_sub(state.context).max(1);
        let samples = self.features(audio);
        let mut memory = vec![0.0; state.shape.iter().product()];
        let mut block = vec![0.0; length];
        let mut answers = Vec::with_capacity(samples.len() / fresh + 1);
        for new in samples.chunks_exact(fresh) {
            block.rotate_left(fresh);
            block.truncate(state.context);
            block.extend(new);
            let mut outputs = self.network.run(&[&block, &memory])?.into_iter();
            answers.extend(self.sized(outputs.next().unwrap_or_default())?);
            memory = outputs.next().unwrap_or_default();
        }
        Ok(answers)
    }

    fn sized(&self, answer: Vec<f32>) -> Result<Vec<f32>, ModelError> {
        if answer.len() == self.manifest.size {
            return Ok(answer);
        }
        Err(ModelError::Answer {
            expected: self.manifest.size,
            found: answer.len(),
        })
    }

    fn features(&self, audio: &Audio) -> Vec<f32> {
        match (self.manifest.features, self.manifest.sample_rate) {
            (Features::LogMel40, _) => self.frontend.log_mel(audio).0.into_flattened(),
            (Features::Samples, 16_000) => doubled(audio.samples()),
            (Features::Samples, _) => audio.samples().to_vec(),
        }
    }

    fn test(&self) -> Result<(), PluginError> {
        let signal = self_test_signal();
        let answer = match &self.manifest.state {
            Some(state) => self.blocks(&signal, state)?,
            None => self.once(&signal)?,
        };
        for (place, &expected) in self.manifest.self_test.expected.iter().enumerate() {
            let found = answer.get(place).copied().unwrap_or(f32::NAN);
            // So that what is not a number fails.
            let near = (found - expected).abs() <= self.manifest.self_test.tolerance;
            if !near {
                return Err(PluginError::SelfTest {
                    place,
                    expected,
                    found,
                });
            }
        }
        Ok(())
    }
}

impl Manifest {
    fn check(&self) -> Result<(), PluginError> {
        let says = |right: bool, why: &str| {
            if right {
                Ok(())
            } else {
                Err(PluginError::Manifest(why.into()))
            }
        };
        let digits = self.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        says(
            self.sha256.len() == 64 && digits,
            "`sha256` is not 64 hexadecimal digits",
        )?;
        says(!self.licence.trim().is_empty(), "`licence` is empty")?;
        says(
            matches!(self.sample_rate, 8000 | 16_000),
            "`sample_rate` has to be 8000 or 16000",
        )?;
        let mel = self.features == Features::LogMel40;
        says(
            !mel || self.sample_rate == 8000,
            "`log-mel-40` is made from 8000 samples a second",
        )?;
        says(
            self.length.is_some() != self.longest.is_some(),
            "either `length` or `longest` has to be there",
        )?;
        let longest = self.length.or(self.longest).unwrap_or_default();
        says(
            (1..=LONGEST_INPUT).contains(&longest),
            "`length` or `longest` has to be 1 to 960000",
        )?;
        says(
            (1..=MOST_ANSWERS).contains(&self.size),
            "`size` has to be 1 to 1024",
        )?;
        let spoof = self.kind == Kind::Spoof;
        says(
            spoof == self.genuine.is_some(),
            "`genuine` is needed for spoof, and for nothing else",
        )?;
        says(
            self.genuine.is_none_or(|genuine| genuine < self.size),
            "`genuine` is beyond `size`",
        )?;
        if let Some(state) = &self.state {
            let fits = self.kind == Kind::Vad
                && !mel
                && self.length.is_some_and(|length| length > state.context);
            says(
                fits,
                "`state` is for vad from samples, with a `length` greater than its `context`",
            )?;
            let numbers = state
                .shape
                .iter()
                .try_fold(1usize, |product, extent| product.checked_mul(*extent));
            says(
                numbers.is_some_and(|numbers| (1..=65_536).contains(&numbers)),
                "`state.shape` is empty or too large",
            )?;
        }
        let test = &self.self_test;
        says(
            !test.expected.is_empty(),
            "`self_test.expected` is empty: an untested network is not used",
        )?;
        says(
            test.tolerance > 0.0 && test.tolerance <= 0.1,
            "`self_test.tolerance` has to be above 0, and 0.1 at most",
        )
    }

    fn port(&self) -> Port {
        let length = match (self.length, self.longest) {
            (Some(length), _) => Extent::Fixed(length),
            (None, longest) => Extent::UpTo(longest.unwrap_or_default()),
        };
        let mut shape = vec![Extent::Fixed(1), length];
        if self.features == Features::LogMel40 {
            shape.push(Extent::Fixed(MELS));
        }
        Port {
            name: self.input.clone(),
            shape,
        }
    }
}

/// Three seconds that every network is tested on: a buzz whose pitch rises from 100 to 200 Hz and
/// swells three times a second, through G.711 mu-law's range, without anything random.
///
/// Sample `n` is `0.3 · (0.6 − 0.4 cos(2π · 3 n / 8000)) · Σ sin(k φ) / k` for `k` from 1 to 10, with
/// `φ = 2π (100 t + 50 t² / 3)`, `t = n / 8000`, divided by 1.6.
#[must_use]
pub fn self_test_signal() -> Audio {
    let turn = 2.0 * std::f64::consts::PI;
    let sample = |n: usize| {
        let t = n as f64 / SAMPLE_RATE as f64;
        let phase = turn * (100.0 * t + 50.0 * t * t / 3.0);
        let buzz: f64 = (1..=10)
            .map(|k| (f64::from(k) * phase).sin() / f64::from(k))
            .sum();
        (0.3 * (0.6 - 0.4 * (turn * 3.0 * t).cos()) * buzz / 1.6) as f32
    };
    // All of it is finite and short.
    Audio::from_samples((0..SELF_TEST_SECONDS * SAMPLE_RATE).map(sample).collect())
        .unwrap_or_default()
}

/// Twice as many samples a second: a windowed sinc of 32 taps for those in between.
fn doubled(samples: &[f32]) -> Vec<f32> {
    const HALF: usize = 16;
    let tap = |n: usize| {
        let at = std::f32::consts::PI * (n as f32 + 0.5);
        // A Hann window over the taps to either side.
        (at.sin() / at) * (0.5 + 0.5 * (at / (HALF as f32 + 0.5)).cos())
    };
    let taps: Vec<f32> = (0..HALF).map(tap).collect();
    let mut out = Vec::with_capacity(samples.len() * 2);
    for at in 0..samples.len() {
        let (before, after) = samples.split_at(at + 1);
        out.extend(before.last());
        let pairs = before
            .iter()
            .rev()
            .chain(std::iter::repeat(&0.0))
            .zip(after.iter().chain(std::iter::repeat(&0.0)));
        out.push(
            pairs
                .zip(&taps)
                .map(|((left, right), tap)| tap * (left + right))
                .sum(),
        );
    }
    out
}
