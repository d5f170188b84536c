//! All of it together: from sound to a take, and from a take and a template to an answer.

use std::sync::Arc;

use crate::audio::Audio;
use crate::embed::{Embedder, Embedding};
use crate::enrol::{Enrolment, Take, Template};
use crate::frontend::Frontend;
use crate::gmm::{Adapted, Background, BadMixture};
use crate::onnx::ModelError;
use crate::phrase::{SAME_RECORDING, distances};
use crate::plugin::Plugin;
use crate::quality::{Problem, Quality, Requirements, measure};
use crate::score::{
    Calibration, Fusion, PhraseCheck, ReplayCheck, Scores, Speech, Verdict, Verification,
};

/// What is needed to compare voices. Made once, shared between threads.
pub struct Engine {
    frontend: Frontend,
    embedder: Embedder,
    background: Background,
    fusion: [Fusion; 2],
}

/// A template made ready for comparisons. Making it costs a few milliseconds.
pub struct Reference {
    template: Template,
    middle: Embedding,
    adapted: Adapted,
}

/// Why the engine cannot work.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EngineError {
    /// A network.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The mixture.
    #[error(transparent)]
    Mixture(#[from] BadMixture),
    /// The template was made with another network, so that nothing can be compared.
    #[error("the template was made with another speaker network: the person has to enrol again")]
    OtherNetwork,
    /// The takes of the template point in directions that cancel out.
    #[error("the takes of the template are not of one voice: the person has to enrol again")]
    NoVoice,
}

impl Engine {
    /// With the models that are part of this crate. Takes about a second: do it at the start.
    ///
    /// # Errors
    /// [`EngineError`], if the crate was built from damaged files.
    pub fn built_in() -> Result<Self, EngineError> {
        let (embedder, background) = (Embedder::built_in()?, Background::built_in()?);
        let fusion = [Fusion::of(Speech::SamePhrase), Fusion::of(Speech::Free)];
        Ok(Self {
            frontend: Frontend::new(),
            embedder,
            background,
            fusion,
        })
    }

    /// With another speaker network. Its score is the network alone ([`Fusion::NETWORK_ALONE`]), until
    /// [`Engine::weigh`] or a calibration brings weights that fit it: cosines of two networks do not
    /// mean the same.
    ///
    /// # Errors
    /// [`EngineError`], as [`Engine::built_in`].
    pub fn with_network(embedder: Embedder) -> Result<Self, EngineError> {
        let background = Background::built_in()?;
        let fusion = [Speech::SamePhrase, Speech::Free]
            .map(|speech| Fusion::with(embedder.sha256(), speech));
        Ok(Self {
            frontend: Frontend::new(),
            embedder,
            background,
            fusion,
        })
    }

    /// From now on scores are made with these weights, where no calibration says others.
    pub fn weigh(&mut self, speech: Speech, weights: Fusion) {
        let [same_phrase, free] = &mut self.fusion;
        *(if speech == Speech::SamePhrase {
            same_phrase
        } else {
            free
        }) = weights;
    }

    /// What scores are made with, where no calibration says otherwise.
    #[must_use]
    pub fn weights(&self, speech: Speech) -> &Fusion {
        let [same_phrase, free] = &self.fusion;
        if speech == Speech::SamePhrase {
            same_phrase
        } else {
            free
        }
    }

    /// SHA-256 of the speaker network, which templates and calibrations are bound to.
    #[must_use]
    pub fn network(&self) -> &[u8; 32] {
        self.embedder.sha256()
    }

    /// The front end, for measuring other things about the same sound.
    #[must_use]
    pub fn frontend(&self) -> &Frontend {
        &self.frontend
    }

    /// Begins an enrolment.
    #[must_use]
    pub fn enrol(&self, speech: Speech) -> Enrolment {
        Enrolment::new(speech, *self.network())
    }

    /// How good sound is.
    #[must_use]
    pub fn quality(&self, audio: &Audio) -> Quality {
        measure(&self.frontend, audio)
    }

    /// Makes a take of sound, if it is good enough.
    ///
    /// # Errors
    /// The outer one if the network fails, the inner one if the sound is not good enough.
    pub fn take(
        &self,
        audio: &Audio,
        asked: &Requirements,
    ) -> Result<Result<Take, Problem>, EngineError> {
        let quality = self.quality(audio);
        match quality.problem(asked) {
            Some(problem) => Ok(Err(problem)),
            None => self.take_of(audio, &quality),
        }
    }

    /// Makes a template ready.
    ///
    /// # Errors
    /// [`EngineError::OtherNetwork`], [`EngineError::NoVoice`].
    pub fn prepare(&self, template: Template) -> Result<Reference, EngineError> {
        if template.network() != self.network() {
            return Err(EngineError::OtherNetwork);
        }
        let middle = Embedding::middle(template.takes().map(Take::embedding));
        let middle = middle.ok_or(EngineError::NoVoice)?;
        let adapted = self.background.adapt(template.takes().map(Take::cepstra));
        Ok(Reference {
            template,
            middle,
            adapted,
        })
    }

    /// Compares a take with a template: numbers, no verdict.
    #[must_use]
    pub fn compare(&self, reference: &Reference, take: &Take) -> Option<Scores> {
        let stored = reference.template.takes().map(Take::cepstra);
        Some(Scores {
            embedding: reference.middle.cosine(take.embedding()),
            mixture: self.background.ratio(&reference.adapted, take.cepstra())?,
            distances: distances(take.cepstra(), stored)?,
        })
    }

    /// One number of several, as [`Fusion::score`].
    #[must_use]
    pub fn score(&self, speech: Speech, scores: &Scores) -> f32 {
        self.weights(speech).score(scores)
    }

    /// Looks at an answer: is it speech, is it a recording that is stored, are the words right, is the
    /// voice alike? The take comes along if there is one, for [`Template::adapt`].
    ///
    /// `spoof` is a model for synthetic speech, if there is one.
    ///
    /// # Errors
    /// [`EngineError`], if a network fails. That is no answer about the caller.
    pub fn verify(
        &self,
        reference: &Reference,
        audio: &Audio,
        calibration: Option<&Calibration>,
        spoof: Option<&Arc<Plugin>>,
    ) -> Result<(Verification, Option<Take>), EngineError> {
        let quality = self.quality(audio);
        let problem = quality.problem(&Requirements::verification());
        let take = match problem {
            Some(problem) => Err(problem),
            None => self.take_of(audio, &quality)?,
        };
        let take = match take {
            Ok(take) => take,
            Err(problem) => return Ok((unusable(quality, problem), None)),
        };
        let Some(scores) = self.compare(reference, &take) else {
            let problem = Problem::TooShort(quality.speech);
            return Ok((unusable(quality, problem), None));
        };
        let model = spoof.map(|plugin| *plugin.sha256());
        let spoof = match spoof {
            Some(plugin) => Some(plugin.spoof(audio)?),
            None => None,
        };
        let speech = reference.template.speech();
        let calibration =
            calibration.filter(|calibration| calibration.is_for(speech, self.network()));
        // A threshold holds for the weights that it was measured with.
        let weights = calibration.and_then(|calibration| calibration.weights);
        let score = weights.unwrap_or(*self.weights(speech)).score(&scores);
        Ok((
            judge(speech, score, scores, quality, spoof.zip(model), calibration),
            Some(take),
        ))
    }

    fn take_of(
        &self,
        audio: &Audio,
        quality: &Quality,
    ) -> Result<Result<Take, Problem>, EngineError> {
        // What surrounds the speech would only be in the means.
        let samples = audio
            .samples()
            .get(quality.span.clone())
            .unwrap_or_default();
        let Ok(speech) = Audio::from_samples(samples.to_vec()) else {
            return Ok(Err(Problem::TooShort(0.0)));
        };
        let cepstra = self.frontend.cepstra(&speech);
        Ok(match self.embedder.embed(&self.frontend, &speech)? {
            Some(embedding) => Ok(Take::new(embedding, cepstra)),
            None => Err(Problem::TooShort(quality.speech)),
        })
    }
}

fn unusable(quality: Quality, problem: Problem) -> Verification {
    Verification {
        verdict: Verdict::Unusable(problem),
        score: None,
        parts: None,
        quality,
        phrase: PhraseCheck::NotChecked,
        replay: ReplayCheck::NotChecked,
        spoof: None,
        log_likelihood_ratio: None,
        threshold: None,
        margin: None,
    }
}

/// The gates one after the other. What refuses needs no calibration where it has a limit of its own;
/// what accepts always does.
fn judge(
    speech: Speech,
    score: f32,
    scores: Scores,
    quality: Quality,
    spoof: Option<(f32, [u8; 32])>,
    calibration: Option<&Calibration>,
) -> Verification {
    let Scores { distances, .. } = scores;
    let replay = if distances.least < SAME_RECORDING {
        ReplayCheck::Stored(distances.least)
    } else {
        ReplayCheck::NotStored(distances.least)
    };
    let phrase = match calibration.and_then(|calibration| calibration.phrase_threshold) {
        Some(most) if speech == Speech::SamePhrase && distances.mean <= most => {
            PhraseCheck::Same(distances.mean)
        }
        Some(_) if speech == Speech::SamePhrase => PhraseCheck::Other(distances.mean),
        _ => PhraseCheck::NotChecked,
    };
    let synthetic = |calibration: &Calibration| {
        spoof.is_some_and(|(is, model)| calibration.synthetic_from(&model).is_some_and(|from| is >= from))
    };
    let verdict = match calibration {
        _ if matches!(replay, ReplayCheck::Stored(_)) => Verdict::KnownRecording,
        None => Verdict::NotCalibrated,
        Some(calibration) if synthetic(calibration) => Verdict::Synthetic,
        Some(_) if matches!(phrase, PhraseCheck::Other(_)) => Verdict::OtherPhrase,
        Some(calibration) if score >= calibration.threshold => Verdict::Alike,
        // Also where the score is not a number.
        Some(_) => Verdict::Unlike,
    };
    Verification {
        verdict,
        score: Some(score),
        parts: Some(scores),
        quality,
        phrase,
        replay,
        spoof: spoof.map(|(is, _)| is),
        log_likelihood_ratio: calibration
            .map(|calibration| calibration.log_likelihood_ratio(score)),
        threshold: calibration.map(|calibration| calibration.threshold),
        margin: calibration.map(|calibration| calibration.slope * (score - calibration.threshold)),
    }
}
