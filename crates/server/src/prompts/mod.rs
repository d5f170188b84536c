//! Recordings of what callers hear: the set that comes with us, and those of a company's own.
//!
//! A set is a folder: `manifest.toml`, which says of each recording what it says, and the sounds. A
//! recording is found by its words and not by its name, so one whose text has changed is not played.

mod check;
mod import;
pub mod wave;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use countersign_core::prompt::Lang;
use countersign_sip::{Clip, clip::ClipError};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

pub use check::{Problem, Source, check, sources};
pub use import::{Given, Prepared, commit, find, prepare};

use crate::i18n::key;
use wave::{Wave, WaveError};

/// The name of the list in a set's folder.
pub const MANIFEST: &str = "manifest.toml";
/// The one kind of list there is.
const FORMAT: u8 = 1;

/// Why a set or a recording cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The list is none.
    #[error("{path}: {why}")]
    Manifest {
        /// Where.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A sound is not what the list says.
    #[error("{path} is not the file that {MANIFEST} speaks of: its SHA-256 is another. Import it again")]
    Hash {
        /// Where.
        path: String,
    },
    /// A sound that cannot be taken.
    #[error("{path}: {why}")]
    Wave {
        /// Where.
        path: String,
        /// What is wrong.
        why: WaveError,
    },
    /// A name that is none.
    #[error("{path}: {why}")]
    Name {
        /// Where.
        path: String,
        /// What is wrong.
        why: String,
    },
}

/// Who made recordings, and what may be done with them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// A person, or a program and its voice.
    pub made_by: String,
    /// An SPDX expression, or words.
    pub licence: String,
}

/// One recording.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its name: that of the message, and which part of it.
    pub id: String,
    /// In which language.
    pub lang: Lang,
    /// What it says.
    pub text: String,
    /// Of the file, in hexadecimal.
    pub sha256: String,
    /// How long it lasts.
    pub milliseconds: u64,
    /// Its key among the origins.
    pub origin: String,
}

impl Row {
    /// Where its sound is, below the folder. The hash is part of the name: a newer recording never
    /// overwrites the one that is spoken of.
    pub fn file(&self) -> String { format!("{}/{}.{}.wav", self.lang.code(), self.id, self.sha256.get(..8).unwrap_or_default()) }
}

/// The list of a set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What kind of list this is.
    pub format: u8,
    /// Who made what.
    #[serde(default)]
    pub origins: BTreeMap<String, Origin>,
    /// The recordings.
    #[serde(default)]
    pub recordings: Vec<Row>,
}

impl Manifest {
    /// Reads a list.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let list: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        if list.format != FORMAT {
            return Err(format!("format {} is not known here, only {FORMAT}", list.format));
        }
        for row in &list.recordings {
            // They become names of files.
            if !named(&row.id) {
                return Err(format!("{:?} is no name of a recording", row.id));
            }
            if row.sha256.len() != 64 || !row.sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(format!("{}: sha256 has to be 64 hexadecimal digits", row.id));
            }
            if !list.origins.contains_key(&row.origin) {
                return Err(format!("{}: there is no origin {:?}", row.id, row.origin));
            }
        }
        Ok(list)
    }

    /// One recording a line, in order: made to be compared.
    pub fn write(&self) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let mut out = format!("# Made by `countersign prompts import`.\nformat = {FORMAT}\n");
        let mut rows: Vec<_> = self.recordings.iter().collect();
        rows.sort_by_key(|row| (row.lang.code(), row.id.clone()));
        out.push_str("recordings = [\n");
        for row in rows {
            let (id, text, origin) = (quoted(&row.id), quoted(&row.text), quoted(&row.origin));
            let _ = writeln!(
                out, "  {{ lang = \"{}\", id = {id}, text = {text}, milliseconds = {}, origin = {origin}, sha256 = \"{}\" }},", row.lang.code(), row.milliseconds, row.sha256,
            );
        }
        out.push_str("]\n");
        for (name, origin) in &self.origins {
            let _ = writeln!(out, "\n[origins.{}]\nmade_by = {}\nlicence = {}", quoted(name), quoted(&origin.made_by), quoted(&origin.licence));
        }
        out
    }
}

/// Whether this can name a recording, and a file.
fn named(id: &str) -> bool {
    id.starts_with(|c: char| c.is_ascii_alphanumeric()) && id.len() <= 80 && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
}

/// Of a file, in hexadecimal.
fn hash(bytes: &[u8]) -> String { hex::encode(Sha256::digest(bytes)) }

#[derive(rust_embed::RustEmbed)]
#[folder = "prompts"]
struct Shipped;

/// A set of recordings. Sounds are decoded once, and shared.
pub struct Set {
    /// Where it is; nothing for ours.
    pub folder: Option<PathBuf>,
    /// What is in it.
    pub list: Manifest,
    by_words: HashMap<(Lang, String), usize>,
    clips: Vec<OnceLock<Arc<Clip>>>,
}

impl Set {
    fn new(folder: Option<PathBuf>, list: Manifest) -> Self {
        // The first of two with the same words.
        let by_words = list.recordings.iter().enumerate().rev().map(|(at, row)| ((row.lang, key(&row.text)), at)).collect();
        let clips = list.recordings.iter().map(|_| OnceLock::new()).collect();
        Self { folder, list, by_words, clips }
    }

    /// The set that comes with us.
    pub fn shipped() -> &'static Self {
        static SHIPPED: OnceLock<Set> = OnceLock::new();
        SHIPPED.get_or_init(|| {
            let text = Shipped::get(MANIFEST).map(|file| String::from_utf8_lossy(&file.data).into_owned()).unwrap_or_default();
            let list = Manifest::parse(&text).unwrap_or_else(|why| {
                tracing::error!(error = why, "the recordings that come with us cannot be used");
                Manifest::default()
            });
            Self::new(None, list)
        })
    }

    /// The list in a folder, and no sound.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn list(folder: &Path) -> Result<Self, PromptError> {
        let path = folder.join(MANIFEST);
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(&path).map_err(|source| PromptError::File { path: shown.clone(), source })?;
        let list = Manifest::parse(&text).map_err(|why| PromptError::Manifest { path: shown, why })?;
        Ok(Self::new(Some(folder.to_owned()), list))
    }

    /// A set in a folder, with all that it says: a file that is changed later changes nothing.
    ///
    /// # Errors
    /// Something in it cannot be read, or is not what its list says.
    pub fn read(folder: &Path) -> Result<Self, PromptError> {
        let set = Self::list(folder)?;
        for at in 0..set.list.recordings.len() {
            set.at(at)?;
        }
        Ok(set)
    }

    /// The recording of these words.
    pub fn say(&self, lang: Lang, words: &str) -> Option<Arc<Clip>> {
        let at = *self.by_words.get(&(lang, key(words)))?;
        self.at(at).inspect_err(|e| tracing::error!(error = %e, "a recording cannot be played")).ok()
    }

    /// Every recording, with what it says.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn all(&self) -> Result<Vec<(Row, Arc<Clip>)>, PromptError> {
        self.list.recordings.iter().enumerate().map(|(at, row)| Ok((row.clone(), self.at(at)?))).collect()
    }

    /// How long the recording of these words lasts.
    pub fn length(&self, lang: Lang, words: &str) -> Option<Duration> {
        let row = self.list.recordings.get(*self.by_words.get(&(lang, key(words)))?)?;
        Some(Duration::from_millis(row.milliseconds))
    }

    fn has(&self, lang: Lang, words: &str) -> bool { self.by_words.contains_key(&(lang, key(words))) }

    fn at(&self, at: usize) -> Result<Arc<Clip>, PromptError> {
        let missing = || PromptError::Name { path: MANIFEST.into(), why: "no such recording".into() };
        let (row, kept) = self.list.recordings.get(at).zip(self.clips.get(at)).ok_or_else(missing)?;
        if let Some(clip) = kept.get() {
            return Ok(clip.clone());
        }
        let (path, bytes) = (self.path(row), self.bytes(row)?);
        if hash(&bytes) != row.sha256.to_ascii_lowercase() {
            return Err(PromptError::Hash { path });
        }
        let clip = clip(&bytes).map_err(|why| PromptError::Wave { path, why })?;
        Ok(kept.get_or_init(|| clip).clone())
    }

    fn path(&self, row: &Row) -> String {
        self.folder.as_ref().map_or_else(|| row.file(), |folder| folder.join(row.file()).display().to_string())
    }

    /// The file of a recording.
    fn bytes(&self, row: &Row) -> Result<Cow<'static, [u8]>, PromptError> {
        let fail = |source| PromptError::File { path: self.path(row), source };
        match &self.folder {
            Some(folder) => std::fs::read(folder.join(row.file())).map(Cow::Owned).map_err(fail),
            None => Shipped::get(&row.file()).map(|file| file.data).ok_or_else(|| fail(std::io::ErrorKind::NotFound.into())),
        }
    }

    /// Copies the set into a new folder.
    ///
    /// # Errors
    /// The folder is there already, or cannot be written.
    pub fn export(&self, to: &Path) -> Result<(), PromptError> {
        let fail = |path: &Path, source| PromptError::File { path: path.display().to_string(), source };
        std::fs::create_dir(to).map_err(|e| fail(to, e))?;
        for row in &self.list.recordings {
            let path = to.join(row.file());
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(|e| fail(folder, e))?;
            }
            std::fs::write(&path, self.bytes(row)?).map_err(|e| fail(&path, e))?;
        }
        let path = to.join(MANIFEST);
        std::fs::write(&path, self.list.write()).map_err(|e| fail(&path, e))
    }
}

/// A file as a clip: what is in a law already is sent as it is.
fn clip(file: &[u8]) -> Result<Arc<Clip>, WaveError> {
    let wave = Wave::read(file)?;
    let long = |_: ClipError| WaveError::Long;
    match wave.line {
        Some((law, bytes)) => Clip::from_bytes(law, &bytes).map_err(long),
        None => Clip::from_samples(wave::resampled(&wave.samples, wave.rate)).map_err(long),
    }
}

#[cfg(test)]
mod tests;
