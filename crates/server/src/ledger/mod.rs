//! The Merkle log over the record: every event is a leaf, so that nobody, not even whoever runs the
//! database, can change one later without it showing.
//!
//! A leaf is a commitment: SHA-256 over a secret salt and the event. It says nothing about the event,
//! and less than nothing once the salt is destroyed; so events can be redacted and customers erased,
//! and the log still verifies. The sequencer follows the record after its commits and never stands in
//! the way of a call.

mod entry;
pub mod export;
mod follow;
mod keys;
mod pages;
pub mod receipt;
mod sequencer;
mod survey;
pub mod verify;
pub mod witness;

use countersign_store::{Doc, DocWrite, Expect, ReadError, Store};
use countersign_tlog::{
    Checkpoint, Hash, Malformed, Note,
    tile::{self, Tile, Tiles},
    tree::{self, Nodes},
};
use std::collections::HashMap;

use crate::runner::{RunError, Runner};

pub use entry::{Entry, Salt, forget_salt};
pub use follow::Log;
pub use pages::routes;
pub use sequencer::{Sequencer, Sequenced};

/// Documents of the log.
const TILE: &str = "log-tile";
const ENTRIES: &str = "log-entries";
const HEAD: &str = "log-head";
const KEYS: &str = "log-keys";
/// There is one head, and one list of keys.
const ONE: &[u8] = b"1";

/// Why the log cannot go on, or does not hold.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The record does not answer.
    #[error(transparent)]
    Run(#[from] RunError),
    /// What is kept of the log is not what it should be.
    #[error("the log is damaged: {0}: restore a backup, and compare it with a checkpoint that somebody else has kept")]
    Damaged(String),
    /// Nothing was sequenced yet, or not what is asked for: a second later it is.
    #[error("not in the log yet: it is a second after it was recorded, while a server runs")]
    NotYet,
    /// There is no receipt any more.
    #[error("the salt of this call was destroyed, as when its customer is erased: there is no receipt of it any more")]
    Destroyed,
    /// A file or folder.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing is signed any more, for a reason of before.
    #[error("{0}")]
    Stopped(String),
    /// Somebody has seen more of this log than there is here.
    #[error(
        "{who} has seen this log with {seen} entries, and here it has {here}: this is an older backup, or another history. Nothing is signed. \
         Restore the latest backup; if there is none, begin a new log under another name ([log] origin), take away what [log] memory names if it is set, and say so to whoever keeps receipts"
    )]
    Behind {
        /// Who remembers.
        who: String,
        /// What they have seen.
        seen: u64,
        /// What there is.
        here: u64,
    },
}

impl From<ReadError> for LedgerError {
    fn from(e: ReadError) -> Self { Self::Run(e.into()) }
}
impl From<crate::vault::VaultError> for LedgerError {
    fn from(e: crate::vault::VaultError) -> Self { Self::Run(e.into()) }
}
impl From<Malformed> for LedgerError {
    fn from(e: Malformed) -> Self { Self::Damaged(e.to_string()) }
}

fn tile_id(level: u8, index: u64) -> Vec<u8> { [&[level][..], &index.to_be_bytes()].concat() }

/// The head as it is kept.
pub(crate) struct Head {
    /// For the next write of it.
    pub expected: Expect,
    /// What was signed; none: the log is empty.
    pub note: Option<Note>,
    /// The log's name when it was signed.
    pub origin: Option<String>,
    /// What it says.
    pub size: u64,
    /// The root.
    pub root: Hash,
}

/// Reads the head.
pub(crate) async fn head(store: &Store) -> Result<Head, LedgerError> {
    let Some(doc) = store.doc(HEAD, ONE).await? else {
        return Ok(Head { expected: Expect::New, note: None, origin: None, size: 0, root: tree::empty() });
    };
    let text = String::from_utf8(doc.body).map_err(|_| LedgerError::Damaged("its head is no text".into()))?;
    let note = Note::parse(&text)?;
    let Checkpoint { origin, size, root } = Checkpoint::parse(note.text())?;
    Ok(Head { expected: Expect::Version(doc.version), note: Some(note), origin: Some(origin), size, root })
}

/// The tiles that a proof needs, read beforehand: the arithmetic of proofs waits for nothing.
pub(crate) struct Read(HashMap<(u8, u64), Vec<Hash>>);

impl Read {
    /// All tiles on the way from these leaves to the root of a log of this size, and its right edge.
    pub(crate) async fn around(store: &Store, leaves: &[u64], size: u64) -> Result<Self, LedgerError> {
        let mut wanted = Vec::new();
        for level in 0..8u8 {
            let count = tile::count(level, size);
            if count == 0 {
                break;
            }
            let shift = u32::from(level) * u32::from(tile::HEIGHT);
            let edge = (count - 1) / tile::WIDTH;
            wanted.push((level, edge));
            for leaf in leaves {
                let index = (leaf >> shift).min(count - 1) / tile::WIDTH;
                wanted.extend([(level, index), (level, index.saturating_sub(1))]);
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        let reads = wanted.iter().map(|(level, index)| async move { (*level, *index, store.doc(TILE, &tile_id(*level, *index)).await) });
        let mut read = HashMap::new();
        for (level, index, doc) in futures_util::future::join_all(reads).await {
            if let Some(doc) = doc? {
                read.insert((level, index), tile::hashes(&doc.body)?);
            }
        }
        Ok(Self(read))
    }

    pub(crate) fn nodes(&self) -> impl Nodes + '_ { Tiles { read: |level, index| self.0.get(&(level, index)).cloned() } }

    fn tile(&self, level: u8, index: u64) -> Option<&Vec<Hash>> { self.0.get(&(level, index)) }
}

/// A tile or bundle as it is served: as much of it as is asked for. `None`: there is not that much. What there
/// has to be and is not is damage, and not a log that is shorter.
pub(crate) async fn served(store: &Store, wanted: Tile) -> Result<Option<Vec<u8>>, LedgerError> {
    let width = usize::from(wanted.width);
    let signed = tile::count(wanted.level.unwrap_or(0), head(store).await?.size);
    if wanted.index.saturating_mul(tile::WIDTH).saturating_add(u64::from(wanted.width)) > signed {
        return Ok(None);
    }
    let damaged = || LedgerError::Damaged(format!("{} is missing, or cut off", wanted.path()));
    match wanted.level {
        Some(level) => {
            let doc = store.doc(TILE, &tile_id(level, wanted.index)).await?.ok_or_else(damaged)?;
            Ok(Some(doc.body.get(..width * 32).ok_or_else(damaged)?.to_vec()))
        }
        None => {
            let doc = store.doc(ENTRIES, &wanted.index.to_be_bytes()).await?.ok_or_else(damaged)?;
            let entries = tile::entries(&doc.body).map_err(|_| damaged())?;
            Ok(Some(tile::bundle(entries.get(..width).ok_or_else(damaged)?.iter().copied())))
        }
    }
}

fn put(kind: &'static str, id: Vec<u8>, expected: Expect, body: Vec<u8>) -> DocWrite { DocWrite::Put { kind, id, expected, body, due: None } }

fn version(doc: Option<&Doc>) -> Expect { doc.map_or(Expect::New, |doc| Expect::Version(doc.version)) }

/// The public keys of the log, the one that signs now last.
pub async fn public_keys(runner: &Runner) -> Result<Vec<countersign_tlog::Verifier>, LedgerError> { keys::Keys::read(runner).await?.public() }

/// Introduces a new key: the next checkpoint is signed by the old one and the new one, those after it
/// by the new one alone.
pub async fn rotate(runner: &Runner, origin: &str) -> Result<countersign_tlog::Verifier, LedgerError> { keys::rotate(runner, origin).await }
