//! Puts events that are on record into the tree, a batch at a time, and signs what it comes to.

use std::collections::{BTreeMap, HashMap};

use countersign_core::time::{Span, Timestamp};
use countersign_store::{Commit, CommitError, DocWrite, Expect, LogRow, Store};
use countersign_tlog::{Checkpoint, Frontier, Hash, Note, tile, tree};

use super::{
    ENTRIES, Entry, HEAD, LedgerError, ONE, Read, Salt, TILE,
    entry::{SALT, salt_id},
    head,
    keys::Keys,
    put, tile_id, version,
};
use crate::runner::{RunError, Runner};

/// Events in one commit at most.
const BATCH: usize = 2000;

/// Follows the record.
pub struct Sequencer {
    origin: String,
}

/// How far the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequenced {
    /// Events that were added now.
    pub added: usize,
    /// Entries in the last checkpoint.
    pub size: u64,
    /// Events on record that are in no checkpoint yet.
    pub behind: u64,
    /// How long the oldest of them has waited.
    pub waiting: Span,
}

impl Sequencer {
    /// For the log of this name.
    pub fn new(origin: String) -> Self { Self { origin } }

    /// What the log is called.
    pub fn origin(&self) -> &str { &self.origin }

    /// Adds a batch, if there is one. Two nodes that do this at once do not fork the log: the commit of
    /// the slower one is refused, and it has added nothing.
    pub async fn run(&self, runner: &Runner) -> Result<Sequenced, LedgerError> { self.run_from(runner, 0).await }

    /// The same, unless the log has fewer entries than it had a moment ago: another database may have taken over,
    /// that knows less.
    pub(super) async fn run_from(&self, runner: &Runner, seen: u64) -> Result<Sequenced, LedgerError> {
        let before = head(&runner.store).await?;
        if before.size < seen {
            return Err(LedgerError::Behind { who: "this node".into(), seen, here: before.size });
        }
        let rows = runner.store.log(before.size, BATCH).await?;
        let on_record = runner.store.head().await?;
        if on_record < before.size {
            return Err(LedgerError::Damaged(format!("it has {} entries, and the record {on_record} events", before.size)));
        }
        let (Some(first), now) = (rows.first(), runner.now()) else {
            return Ok(Sequenced { added: 0, size: before.size, behind: 0, waiting: Span(0) });
        };
        let waiting = |since: i64| (now - Timestamp(since)).max(Span(0));
        let mut keys = Keys::for_log(runner, &self.origin).await?;
        keys.signed(&before)?;
        let mut docs = Vec::new();
        let salts = self.salts(runner, &rows, &mut docs).await?;
        let (frontier, tiles) = self.grow(runner, &before, &rows, &salts, &mut docs).await?;
        for ((level, index), (expected, hashes)) in tiles {
            docs.push(put(TILE, tile_id(level, index), expected, hashes.concat()));
        }
        let checkpoint = Checkpoint { origin: self.origin.clone(), size: frontier.size(), root: frontier.root() };
        let mut note: Option<Note> = None;
        for signer in keys.signers()? {
            match &mut note {
                Some(note) => note.add(&signer.sign(&checkpoint.text()))?,
                None => note = Some(Note::signed(&checkpoint.text(), &signer)),
            }
        }
        let note = note.ok_or_else(|| LedgerError::Damaged("it has no key".into()))?;
        docs.push(put(HEAD, ONE.to_vec(), before.expected, note.written().into_bytes()));
        match runner.store.commit(Commit { now: now.0, docs, ..Commit::default() }).await {
            Ok(_) => {
                keys.introduced(runner).await?;
                let next = runner.store.log(checkpoint.size, 1).await?;
                let behind = on_record.saturating_sub(checkpoint.size);
                Ok(Sequenced { added: rows.len(), size: checkpoint.size, behind, waiting: next.first().map_or(Span(0), |row| waiting(row.at)) })
            }
            // Another node was faster. What it has added is not ours to add again.
            Err(CommitError::Conflict) => Ok(Sequenced { added: 0, size: before.size, behind: on_record - before.size, waiting: waiting(first.at) }),
            Err(CommitError::Busy | CommitError::Closed) => Err(RunError::Busy.into()),
            Err(e) => Err(RunError::Store(e.to_string()).into()),
        }
    }

    /// The tree with these events.
    async fn grow(&self, runner: &Runner, before: &super::Head, rows: &[LogRow], salts: &HashMap<Vec<u8>, Salt>, docs: &mut Vec<DocWrite>) -> Result<Grown, LedgerError> {
        let damaged = || LedgerError::Damaged("a tile is missing".into());
        let (read, mut frontier) = intact(&runner.store, before).await?;
        let mut tiles: BTreeMap<(u8, u64), (Expect, Vec<Hash>)> = BTreeMap::new();
        let mut bundles: BTreeMap<u64, (Expect, Vec<u8>)> = BTreeMap::new();
        if !before.size.is_multiple_of(tile::WIDTH) {
            let index = before.size / tile::WIDTH;
            let doc = runner.store.doc(ENTRIES, &index.to_be_bytes()).await?.ok_or_else(damaged)?;
            bundles.insert(index, (version(Some(&doc)), doc.body));
        }
        for row in rows {
            let entry = Entry::from(row);
            if entry.seq != frontier.size() + 1 {
                return Err(LedgerError::Damaged(format!("after event {} comes event {}", frontier.size(), entry.seq)));
            }
            let salt = salts.get(&salt_id(entry.kind, entry.id)).ok_or_else(damaged)?;
            let leaf = entry.leaf(&salt.any(entry.seq));
            let bundle = bundles.entry(frontier.size() / tile::WIDTH).or_insert((Expect::New, Vec::new()));
            bundle.1.extend(tile::bundle([leaf.as_slice()]));
            frontier.add(tree::leaf(&leaf), |level, index, hash| {
                if level.is_multiple_of(tile::HEIGHT) {
                    let place = (level / tile::HEIGHT, index / tile::WIDTH);
                    let old = || {
                        let hashes = read.tile(place.0, place.1).cloned().unwrap_or_default();
                        (if hashes.is_empty() { Expect::New } else { Expect::Any }, hashes)
                    };
                    tiles.entry(place).or_insert_with(old).1.push(hash);
                }
            });
        }
        for (index, (expected, body)) in bundles {
            docs.push(put(ENTRIES, index.to_be_bytes().to_vec(), expected, body));
        }
        Ok((frontier, tiles))
    }

    /// The salts of the streams of these events; new ones are written with the batch. Read anew each time,
    /// after the events: one may have been destroyed meanwhile, and must not be used for what came later.
    async fn salts(&self, runner: &Runner, rows: &[LogRow], docs: &mut Vec<DocWrite>) -> Result<HashMap<Vec<u8>, Salt>, LedgerError> {
        let mut wanted: Vec<Vec<u8>> = rows.iter().map(|row| salt_id(&row.stream_kind, &row.stream_id)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut salts = HashMap::new();
        for ids in wanted.chunks(64) {
            let reads = ids.iter().map(|id| async move { (id, runner.store.doc(SALT, id).await) });
            for (id, doc) in futures_util::future::join_all(reads).await {
                let salt = match doc? {
                    Some(doc) => runner.vault.unseal(SALT, id, &doc.body)?,
                    None => {
                        let salt = Salt::fresh(&runner.vault)?;
                        docs.push(put(SALT, id.clone(), Expect::New, runner.vault.seal(SALT, id, &salt)?));
                        salt
                    }
                };
                salts.insert(id.clone(), salt);
            }
        }
        Ok(salts)
    }
}

/// The right edge of the tree, if it is the one that was signed.
pub(super) async fn intact(store: &Store, head: &super::Head) -> Result<(Read, Frontier), LedgerError> {
    let read = Read::around(store, &[], head.size).await?;
    let frontier = Frontier::of(&read.nodes(), head.size).ok_or_else(|| LedgerError::Damaged("a tile is missing, or cut off".into()))?;
    if frontier.root() != head.root {
        return Err(LedgerError::Damaged("its tiles are not those that were signed".into()));
    }
    Ok((read, frontier))
}

type Grown = (Frontier, BTreeMap<(u8, u64), (Expect, Vec<Hash>)>);
