//! A voice as 128 numbers: two takes of one person point the same way.
//!
//! The network and what it was trained on are described in `models/MODEL_CARD.md`.

use std::sync::Arc;

use crate::audio::Audio;
use crate::frontend::{FRAME, Frontend, HOP, MELS};
use crate::onnx::{Extent, Limits, ModelError, Network, Port};
use crate::plugin::{Kind, MOST_ANSWERS, Plugin};

/// Numbers in an embedding of the network that is part of this crate.
pub const EMBEDDING: usize = 128;
/// Fewest frames that are embedded: 0.3 s. What is shorter has no voice in it.
pub const FEWEST_FRAMES: usize = 30;
/// Most frames that are embedded: 20 s. What follows is not looked at.
pub const MOST_FRAMES: usize = 2000;

/// The network that is part of this crate.
pub const BUILT_IN: &[u8] = include_bytes!("../models/speaker.onnx");
/// SHA-256 of [`BUILT_IN`].
pub const BUILT_IN_SHA256: [u8; 32] = [
    0x93, 0x61, 0xd1, 0x79, 0x88, 0xf1, 0xa3, 0x98, 0x8b, 0xee, 0x08, 0x78, 0xb0, 0x16, 0x4c, 0x3c,
    0xe1, 0x08, 0xca, 0x44, 0x39, 0xc2, 0x07, 0x7e, 0x86, 0x76, 0xb9, 0xb9, 0x13, 0x7f, 0x74, 0x46,
];

/// A direction: numbers whose squares add up to one. [`EMBEDDING`] of them from the network that is
/// part of this crate, others from others.
#[derive(Clone, PartialEq)]
pub struct Embedding(Box<[f32]>);

impl Embedding {
    /// From any numbers. `None` if they have no direction, or are more than [`MOST_ANSWERS`].
    #[must_use]
    pub fn new(mut values: Vec<f32>) -> Option<Self> {
        let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
        if !length.is_finite() || length < 1e-6 || values.len() > MOST_ANSWERS {
            return None;
        }
        for value in &mut values {
            *value /= length;
        }
        Some(Self(values.into()))
    }

    /// Numbers that were an embedding before: of length one already, so not changed.
    pub(crate) fn from_stored(values: Vec<f32>) -> Option<Self> {
        let length = values.iter().map(|value| value * value).sum::<f32>();
        ((length - 1.0).abs() < 1e-3).then(|| Self(values.into()))
    }

    /// The direction between several. `None` for none, or if they cancel out.
    #[must_use]
    pub fn middle<'a>(of: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let mut sum = Vec::new();
        for embedding in of {
            sum.resize(embedding.0.len().max(sum.len()), 0.0);
            for (sum, value) in sum.iter_mut().zip(&embedding.0) {
                *sum += value;
            }
        }
        Self::new(sum)
    }

    /// The cosine of the angle between two, -1 to 1: 1 is the same direction.
    #[must_use]
    pub fn cosine(&self, other: &Self) -> f32 {
        self.0.iter().zip(&other.0).map(|(a, b)| a * b).sum()
    }

    /// The numbers.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.0
    }
}

/// What a person's voice is like does not belong into a log.
impl std::fmt::Debug for Embedding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Embedding(…)")
    }
}

/// A speaker network, ready to run.
pub struct Embedder {
    source: Source,
    sha256: [u8; 32],
}

enum Source {
    BuiltIn(Network),
    Plugin(Arc<Plugin>),
}

impl Embedder {
    /// The network that is part of this crate.
    ///
    /// # Errors
    /// [`ModelError`], if the crate was built from a damaged file.
    pub fn built_in() -> Result<Self, ModelError> {
        let shape = vec![
            Extent::Fixed(1),
            Extent::UpTo(MOST_FRAMES),
            Extent::Fixed(MELS),
        ];
        let port = Port {
            name: "feats".into(),
            shape,
        };
        let network = Network::load(BUILT_IN, &[port], &["embedding"], &Limits::default())?;
        Ok(Self {
            source: Source::BuiltIn(network),
            sha256: BUILT_IN_SHA256,
        })
    }

    /// Somebody else's.
    ///
    /// # Errors
    /// [`ModelError::Ports`], if it is not for embeddings.
    pub fn plugin(plugin: Arc<Plugin>) -> Result<Self, ModelError> {
        if plugin.manifest().kind != Kind::Embedding {
            return Err(ModelError::Ports(format!(
                "`{}` is no network for embeddings",
                plugin.manifest().name
            )));
        }
        Ok(Self {
            sha256: *plugin.sha256(),
            source: Source::Plugin(plugin),
        })
    }

    /// SHA-256 of the network's file. Templates carry it: those of another cannot be compared.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Embeds sound. `None` for less than [`FEWEST_FRAMES`]; what is after [`MOST_FRAMES`] is not
    /// looked at.
    ///
    /// # Errors
    /// [`ModelError`], if the network does not answer as it should.
    pub fn embed(
        &self,
        frontend: &Frontend,
        audio: &Audio,
    ) -> Result<Option<Embedding>, ModelError> {
        if audio.samples().len() < FRAME + HOP * (FEWEST_FRAMES - 1) {
            return Ok(None);
        }
        let values = match &self.source {
            Source::BuiltIn(network) => {
                let frames = frontend.log_mel(audio);
                let frames = frames.0.get(..MOST_FRAMES).unwrap_or(&frames.0);
                let answer = network
                    .run(&[frames.as_flattened()])?
                    .into_iter()
                    .next()
                    .unwrap_or_default();
                if answer.len() != EMBEDDING {
                    return Err(ModelError::Answer {
                        expected: EMBEDDING,
                        found: answer.len(),
                    });
                }
                answer
            }
            Source::Plugin(plugin) => plugin.embedding(audio)?,
        };
        Ok(Embedding::new(values))
    }
}
