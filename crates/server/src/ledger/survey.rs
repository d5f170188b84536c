//! Goes through the whole log by and by: every tile is computed anew from the entries, and all of them against
//! what was signed. What is served is looked at anyway; this is so that damage in a part that nobody asks for is
//! known while there are still backups from before it.

use countersign_core::time::{Span, Timestamp};
use countersign_store::Store;
use countersign_tlog::{Frontier, Hash, tile, tree};
use futures_util::future::join_all;

use super::{ENTRIES, Head, LedgerError, TILE, head, tile_id};

/// Bundles of 256 entries that are read at a time.
const AT_ONCE: usize = 16;
/// After a whole round, the next one begins this much later.
const REST: Span = Span::hours(24);

/// One round, and how far it is.
#[derive(Clone, Default)]
pub(super) struct Survey {
    frontier: Frontier,
    /// The tiles that are being filled, by level.
    open: Vec<Vec<Hash>>,
    /// When the last round was over.
    done: Option<Timestamp>,
    /// What was found once may have been a look at another database: it is looked at again before a new round.
    doubted: bool,
}

impl Survey {
    /// Whether the round that goes on is over.
    pub(super) fn is_done(&self) -> bool { self.done.is_some() }

    /// Looks at so many bundles; returns how many entries of this round are done.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`]; the round begins anew if that is found twice. When the record does not answer it goes
    /// on from there.
    pub(super) async fn go_on(&mut self, store: &Store, bundles: usize, now: Timestamp) -> Result<u64, LedgerError> {
        if self.done.is_some_and(|done| now - done < REST) {
            return Ok(self.frontier.size());
        }
        if self.done.take().is_some() {
            *self = Self::default();
        }
        let latest = head(store).await?;
        if latest.size < self.frontier.size() {
            let (size, here) = (self.frontier.size(), latest.size);
            *self = Self::default();
            return Err(LedgerError::Damaged(format!("it had {size} entries, and has {here}")));
        }
        let before = self.clone();
        match self.look(store, &latest, bundles, now).await {
            Ok(()) => {
                self.doubted = false;
                Ok(self.frontier.size())
            }
            Err(e) => {
                let damaged = matches!(e, LedgerError::Damaged(_));
                *self = if damaged && before.doubted { Self::default() } else { Self { doubted: damaged, ..before } };
                Err(e)
            }
        }
    }

    async fn look(&mut self, store: &Store, latest: &Head, bundles: usize, now: Timestamp) -> Result<(), LedgerError> {
        let all = latest.size.div_ceil(tile::WIDTH);
        let first = self.frontier.size() / tile::WIDTH;
        let last = all.min(first.saturating_add(u64::try_from(bundles).unwrap_or(u64::MAX)));
        for from in (first..last).step_by(AT_ONCE) {
            let numbers = from..last.min(from + AT_ONCE as u64);
            let read = join_all(numbers.map(|index| async move { (index, store.doc(ENTRIES, &index.to_be_bytes()).await) })).await;
            for (index, doc) in read {
                let body = doc?.map(|doc| doc.body).unwrap_or_default();
                // Only as many as are signed: the bundle at the end grows while it is looked at.
                let width = usize::try_from((latest.size - index * tile::WIDTH).min(tile::WIDTH)).unwrap_or(0);
                let damaged = || LedgerError::Damaged(format!("its entries from {} on are missing, or cut off", index * tile::WIDTH));
                let entries = tile::entries(&body).map_err(|_| damaged())?;
                for entry in entries.get(..width).ok_or_else(damaged)? {
                    self.add(store, tree::leaf(entry)).await?;
                }
            }
        }
        if last == all {
            self.end(store, latest, now).await?;
        }
        Ok(())
    }

    /// One more leaf, and each tile that it fills.
    async fn add(&mut self, store: &Store, leaf: Hash) -> Result<(), LedgerError> {
        let mut full = Vec::new();
        let open = &mut self.open;
        self.frontier.add(leaf, |level, index, hash| {
            if !level.is_multiple_of(tile::HEIGHT) {
                return;
            }
            let level = level / tile::HEIGHT;
            let slot = usize::from(level);
            if open.len() <= slot {
                open.resize(slot + 1, Vec::new());
            }
            let Some(hashes) = open.get_mut(slot) else { return };
            hashes.push(hash);
            if (index + 1).is_multiple_of(tile::WIDTH) {
                full.push((level, index / tile::WIDTH, std::mem::take(hashes)));
            }
        });
        for (level, index, hashes) in full {
            compare(store, level, index, &hashes).await?;
        }
        Ok(())
    }

    /// The tiles that are not full, and the root.
    async fn end(&mut self, store: &Store, latest: &Head, now: Timestamp) -> Result<(), LedgerError> {
        for (level, hashes) in (0..).zip(&self.open) {
            if !hashes.is_empty() {
                compare(store, level, (tile::count(level, latest.size) - 1) / tile::WIDTH, hashes).await?;
            }
        }
        if (self.frontier.size(), self.frontier.root()) != (latest.size, latest.root) {
            return Err(LedgerError::Damaged(format!("its {} entries are not those that were signed", latest.size)));
        }
        self.done = Some(now);
        Ok(())
    }
}

/// Whether a tile that is kept begins with these hashes.
async fn compare(store: &Store, level: u8, index: u64, hashes: &[Hash]) -> Result<(), LedgerError> {
    let kept = store.doc(TILE, &tile_id(level, index)).await?.map(|doc| doc.body).unwrap_or_default();
    if kept.get(..hashes.len() * 32) == Some(hashes.as_flattened()) {
        return Ok(());
    }
    Err(LedgerError::Damaged(format!("tile {index} of level {level} is not what its entries come to")))
}
