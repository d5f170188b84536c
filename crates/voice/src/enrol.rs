//! From three good takes to a template, and a template as bytes.

use std::cmp::Ordering;

use sha2::{Digest as _, Sha256};

use crate::embed::{BUILT_IN_SHA256, Embedding};
use crate::frontend::{CEPSTRA, Cepstra, Frames};
use crate::phrase::{self, Distance};
use crate::plugin::MOST_ANSWERS;
use crate::quality::{Problem, Quality};
use crate::score::{Speech, Verdict, Verification};

/// Takes that make a template.
pub const TAKES: usize = 3;
/// Takes that are compared with at most: the first three, and the last three of what was added.
pub const MOST_TAKES: usize = TAKES + LATER;
/// Takes that were added and are compared with.
const LATER: usize = 3;
/// Takes that were added and are kept: those before the last three are not compared with any more. They
/// are there for [`Template::unlearn`], so that what is taken out leaves what was before it.
const MOST_ADDED: usize = 2 * LATER;
/// Frames of cepstra that are kept of a take: 20 s of speech.
pub const MOST_FRAMES: usize = 2000;

/// Further apart than this on average, takes at enrolment are different phrases. Of people who said
/// the same digits the furthest were 4.1 apart on a good line; half of other phrases are beyond it.
const OTHER_PHRASE: Distance = 4.25;
/// Embeddings less alike than this are different people, or very different lines. Of people who are
/// the same, the least alike were at 0.29; about half of others are below.
///
/// Measured with the network that is part of this crate: with another one nothing is refused by it.
const OTHER_VOICE: f32 = 0.25;

const MAGIC: &[u8; 4] = b"CSVT";
/// Version 1 does not say on which occasions takes were added.
const VERSION: u8 = 2;
/// Cepstra are kept in steps of 1/2048: less than a thousandth of their variance.
const STEPS: f32 = 2048.0;

/// One recording of a person, as far as it is kept. What was said cannot be heard from it, but it is
/// still personal: seal it like a secret.
#[derive(Clone, PartialEq)]
pub struct Take {
    embedding: Embedding,
    cepstra: Cepstra,
}

impl Take {
    /// Rounds to what is stored, so that a template scores the same before and after.
    pub(crate) fn new(embedding: Embedding, mut cepstra: Cepstra) -> Self {
        cepstra.0.truncate(MOST_FRAMES);
        round(&mut cepstra);
        Self { embedding, cepstra }
    }

    /// The voice.
    #[must_use]
    pub fn embedding(&self) -> &Embedding {
        &self.embedding
    }

    /// The words, as far as distances between them can tell.
    #[must_use]
    pub fn cepstra(&self) -> &Cepstra {
        &self.cepstra
    }
}

/// On which occasion a take was added to a template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occasion {
    /// A name of your own, such as that of the call.
    pub id: [u8; 16],
    /// When, in milliseconds since 1970.
    pub at: i64,
}

impl Occasion {
    /// Nobody knows: the template is from before occasions were kept.
    pub const UNKNOWN: Self = Self { id: [0; 16], at: 0 };
}

/// A take that was added.
#[derive(Clone, PartialEq)]
struct Added {
    take: Take,
    occasion: Occasion,
}

/// A voice does not belong into a log.
impl std::fmt::Debug for Take {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Take({} frames)", self.cepstra.len())
    }
}

/// What a caller can be told about a take that was not taken.
#[derive(Clone, Debug, PartialEq)]
pub enum Feedback {
    /// Say it again: what was heard was no speech, too short, too noisy or overdriven.
    Sound(Problem),
    /// Say the same words as before.
    PhrasesDiffer(Distance),
    /// Say it anew: this is a recording of a take that is already there.
    SameRecording(Distance),
    /// One person only, on one telephone: the voice differs from that of the takes before.
    VoicesDiffer(f32),
}

/// How far an enrolment is.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// So many takes are still needed.
    More(usize),
    /// Done.
    Complete(Box<Template>),
}

/// Takes that are being collected.
#[derive(Clone)]
pub struct Enrolment {
    speech: Speech,
    network: [u8; 32],
    takes: Vec<Take>,
}

impl Enrolment {
    /// Begins; `network` is the SHA-256 of the speaker network.
    #[must_use]
    pub fn new(speech: Speech, network: [u8; 32]) -> Self {
        Self {
            speech,
            network,
            takes: Vec::with_capacity(TAKES),
        }
    }

    /// SHA-256 of the speaker network its takes were made with.
    #[must_use]
    pub fn network(&self) -> &[u8; 32] {
        &self.network
    }

    /// As bytes, between one take and the next: as personal as a [`Template`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        written(self.speech, &self.network, &self.takes, &[])
    }

    /// Reads what [`Enrolment::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`BadTemplate`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadTemplate> {
        let (speech, network, takes, _) = read(bytes)?;
        if takes.len() >= TAKES {
            return Err(BadTemplate("another number of takes"));
        }
        Ok(Self {
            speech,
            network,
            takes,
        })
    }

    /// Takes one more, if it fits to those before.
    ///
    /// # Errors
    /// [`Feedback`], and the enrolment is as before.
    pub fn offer(&mut self, take: Take) -> Result<Progress, Feedback> {
        if let Some(distances) =
            phrase::distances(&take.cepstra, self.takes.iter().map(Take::cepstra))
        {
            if distances.least < phrase::SAME_RECORDING {
                return Err(Feedback::SameRecording(distances.least));
            }
            if self.speech == Speech::SamePhrase && distances.mean > OTHER_PHRASE {
                return Err(Feedback::PhrasesDiffer(distances.mean));
            }
        }
        let cosines = self
            .takes
            .iter()
            .map(|before| before.embedding.cosine(&take.embedding));
        let ours = self.network == BUILT_IN_SHA256;
        if let Some(least) = cosines
            .min_by(f32::total_cmp)
            .filter(|least| ours && *least < OTHER_VOICE)
        {
            return Err(Feedback::VoicesDiffer(least));
        }
        self.takes.push(take);
        if self.takes.len() < TAKES {
            return Ok(Progress::More(TAKES - self.takes.len()));
        }
        let takes = std::mem::take(&mut self.takes);
        Ok(Progress::Complete(Box::new(Template {
            speech: self.speech,
            network: self.network,
            takes,
            added: Vec::new(),
        })))
    }
}

/// A person's voice as it is kept.
#[derive(Clone, PartialEq)]
pub struct Template {
    speech: Speech,
    network: [u8; 32],
    /// Those of enrolment.
    takes: Vec<Take>,
    /// Those that were added, oldest first.
    added: Vec<Added>,
}

/// Why bytes are not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a voice template: {0}")]
pub struct BadTemplate(&'static str);

/// Why a take was not added to a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdapted {
    /// Only what was found alike may change a template.
    #[error("the take was not found alike")]
    NotAlike,
    /// Too near the threshold: it might be somebody else.
    #[error("the take is too near the threshold to learn from")]
    TooNear,
    /// Worse sound than enrolment asks for.
    #[error("the sound is not good enough to learn from")]
    Sound,
}

impl Template {
    /// What is said.
    #[must_use]
    pub fn speech(&self) -> Speech {
        self.speech
    }

    /// SHA-256 of the speaker network it was made with.
    #[must_use]
    pub fn network(&self) -> &[u8; 32] {
        &self.network
    }

    /// The takes that are compared with: three to [`MOST_TAKES`], those of enrolment first.
    pub fn takes(&self) -> impl Iterator<Item = &Take> {
        let old = self.added.len().saturating_sub(LATER);
        let added = self.added.iter().skip(old).map(|added| &added.take);
        self.takes.iter().chain(added)
    }

    /// Adds a take that was verified, so that the template ages with its owner. Only from well above
    /// the threshold: otherwise somebody nearly alike could move it towards themselves.
    ///
    /// # Errors
    /// [`NotAdapted`], and the template is as before.
    pub fn adapt(
        &mut self,
        take: Take,
        verification: &Verification,
        occasion: Occasion,
    ) -> Result<(), NotAdapted> {
        let (Verdict::Alike, Some(margin)) = (&verification.verdict, verification.margin) else {
            return Err(NotAdapted::NotAlike);
        };
        // More than seven times as likely as at the threshold. Also refused if it is not a number.
        if !matches!(
            margin.partial_cmp(&2.0),
            Some(Ordering::Greater | Ordering::Equal)
        ) {
            return Err(NotAdapted::TooNear);
        }
        if good_enough(&verification.quality).is_some() {
            return Err(NotAdapted::Sound);
        }
        if self.added.len() >= MOST_ADDED {
            self.added.remove(0);
        }
        self.added.push(Added { take, occasion });
        Ok(())
    }

    /// Takes out what was added on occasions that are not to be trusted, and everything that was added
    /// later: it was found alike while that was in. What is older comes to count again, so that the
    /// template is as it was before. Says whether there was anything.
    ///
    /// Takes of nobody knows when go too: they may be from there. What was added so long ago that it is
    /// not kept any more cannot be found; nothing is compared with it either.
    pub fn unlearn(&mut self, suspect: impl Fn(&Occasion) -> bool) -> bool {
        let first = self
            .added
            .iter()
            .position(|added| added.occasion == Occasion::UNKNOWN || suspect(&added.occasion));
        if let Some(first) = first {
            self.added.truncate(first);
        }
        first.is_some()
    }

    /// As bytes: at most [`Template::MOST_BYTES`]. They hold a person's voice: keep them sealed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        written(self.speech, &self.network, &self.takes, &self.added)
    }

    /// More bytes than this are not a template.
    pub const MOST_BYTES: usize = 4
        + 4
        + 32
        + (TAKES + MOST_ADDED) * (4 + 4 * MOST_ANSWERS + 2 * CEPSTRA * MOST_FRAMES)
        + MOST_ADDED * (16 + 8)
        + 32;

    /// Reads what [`Template::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`BadTemplate`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadTemplate> {
        let (speech, network, takes, added) = read(bytes)?;
        if takes.len() != TAKES || added.len() > MOST_ADDED {
            return Err(BadTemplate("another number of takes"));
        }
        Ok(Self {
            speech,
            network,
            takes,
            added,
        })
    }
}

/// A voice does not belong into a log.
impl std::fmt::Debug for Template {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "Template({:?}, {} takes)",
            self.speech,
            self.takes().count()
        )
    }
}

fn written(speech: Speech, network: &[u8; 32], takes: &[Take], added: &[Added]) -> Vec<u8> {
    let speech = match speech {
        Speech::SamePhrase => 0,
        Speech::Free => 1,
    };
    let mut bytes = Vec::new();
    bytes.extend(MAGIC);
    bytes.extend([VERSION, speech, takes.len() as u8, added.len() as u8]);
    bytes.extend(network);
    for take in takes {
        write_take(&mut bytes, take);
    }
    for Added { take, occasion } in added {
        bytes.extend(occasion.id);
        bytes.extend(occasion.at.to_le_bytes());
        write_take(&mut bytes, take);
    }
    with_sum(bytes)
}

fn write_take(bytes: &mut Vec<u8>, take: &Take) {
    bytes.extend((take.cepstra.len() as u16).to_le_bytes());
    bytes.extend((take.embedding.values().len() as u16).to_le_bytes());
    let values = take.embedding.values().iter();
    bytes.extend(values.flat_map(|value| value.to_le_bytes()));
    write_frames(bytes, &take.cepstra);
}

type Parts = (Speech, [u8; 32], Vec<Take>, Vec<Added>);

fn read(bytes: &[u8]) -> Result<Parts, BadTemplate> {
    if bytes.len() > Template::MOST_BYTES {
        return Err(BadTemplate("longer than any"));
    }
    let body = without_sum(bytes).map_err(BadTemplate)?;
    let rest = body.strip_prefix(MAGIC).ok_or(BadTemplate("no magic"))?;
    let (&[version, speech, count, later], rest) =
        rest.split_first_chunk().ok_or(BadTemplate("no header"))?;
    let speech = match speech {
        0 => Speech::SamePhrase,
        1 => Speech::Free,
        _ => return Err(BadTemplate("of another kind of speech")),
    };
    let (first, later) = match version {
        // One number for all of them, and what was added does not say when.
        1 => (
            usize::from(count).min(TAKES),
            usize::from(count).saturating_sub(TAKES),
        ),
        VERSION => (usize::from(count), usize::from(later)),
        _ => {
            return Err(BadTemplate(
                "of another version: the person has to enrol again",
            ));
        }
    };
    let (&network, mut rest) = rest.split_first_chunk().ok_or(BadTemplate("no network"))?;
    let (mut takes, mut added) = (Vec::new(), Vec::new());
    for _ in 0..first {
        let (take, after) = read_take(rest).ok_or(BadTemplate("a take is not as it should be"))?;
        takes.push(take);
        rest = after;
    }
    for _ in 0..later {
        let mut occasion = Occasion::UNKNOWN;
        if version == VERSION {
            let cut = BadTemplate("a take does not say when it was added");
            let (id, after) = rest.split_first_chunk().ok_or(cut.clone())?;
            let (at, after) = after.split_first_chunk().ok_or(cut)?;
            occasion = Occasion {
                id: *id,
                at: i64::from_le_bytes(*at),
            };
            rest = after;
        }
        let (take, after) = read_take(rest).ok_or(BadTemplate("a take is not as it should be"))?;
        added.push(Added { take, occasion });
        rest = after;
    }
    if !rest.is_empty() {
        return Err(BadTemplate("another number of takes"));
    }
    Ok((speech, network, takes, added))
}

fn good_enough(quality: &Quality) -> Option<Problem> {
    quality.problem(&crate::quality::Requirements::enrolment())
}

/// Closes bytes with their SHA-256.
pub(crate) fn with_sum(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = Sha256::digest(&bytes);
    bytes.extend(sum);
    bytes
}

/// What [`with_sum`] closed, or why it is not that.
pub(crate) fn without_sum(bytes: &[u8]) -> Result<&[u8], &'static str> {
    let (body, sum) = bytes.split_last_chunk::<32>().ok_or("too short")?;
    if Sha256::digest(body).as_slice() == sum {
        Ok(body)
    } else {
        Err("damaged, or cut short")
    }
}

fn stored(value: f32) -> i16 {
    // Numbers as of `as`: what is too large becomes the largest.
    (value * STEPS).round() as i16
}

/// Rounds cepstra to what [`write_frames`] keeps of them.
pub(crate) fn round(cepstra: &mut Cepstra) {
    for value in cepstra.0.as_flattened_mut() {
        *value = f32::from(stored(*value)) / STEPS;
    }
}

pub(crate) fn write_frames(bytes: &mut Vec<u8>, cepstra: &Cepstra) {
    let values = cepstra.0.as_flattened().iter();
    bytes.extend(values.flat_map(|value| stored(*value).to_le_bytes()));
}

/// So many frames, and what comes after them.
pub(crate) fn read_frames(bytes: &[u8], count: usize) -> Option<(Cepstra, &[u8])> {
    let (frames, rest) = bytes.split_at_checked(2 * CEPSTRA * count)?;
    let values: Vec<f32> = frames
        .as_chunks::<2>()
        .0
        .iter()
        .map(|bytes| f32::from(i16::from_le_bytes(*bytes)) / STEPS)
        .collect();
    let (frames, _) = values.as_chunks::<CEPSTRA>();
    Some((Frames(frames.to_vec()), rest))
}

fn read_take(bytes: &[u8]) -> Option<(Take, &[u8])> {
    let (&[a, b, c, d], rest) = bytes.split_first_chunk::<4>()?;
    let (count, size) = (
        usize::from(u16::from_le_bytes([a, b])),
        usize::from(u16::from_le_bytes([c, d])),
    );
    if count == 0 || count > MOST_FRAMES || size > MOST_ANSWERS {
        return None;
    }
    let (embedding, rest) = rest.split_at_checked(4 * size)?;
    let values = embedding
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    let embedding = Embedding::from_stored(values)?;
    let (cepstra, rest) = read_frames(rest, count)?;
    Some((Take { embedding, cepstra }, rest))
}
