//! A small durable store: one [`Commit`] is one durable transaction, and everything else stands on
//! that.
//!
//! It knows nothing about calls or callers. What it keeps are events in streams, documents with
//! versions, guards that count in the transaction that judges them, an index, and an outbox.
//!
//! # How it is made
//!
//! - `judge` decides whether a commit may happen, `work` leases and sweeps: once, over single
//!   rows (`rows`), for every backend.
//! - `sql` holds every statement, once, in words that SQLite and PostgreSQL share. `sqlite` runs
//!   them; `memory` does the same over maps. One contract suite is mounted on each.
//! - **One writer.** On SQLite a thread takes commits from a bounded queue (`queue`), puts as many
//!   as there are into one transaction, and answers them after its `COMMIT`: one `fsync` for
//!   hundreds of callers, and no two commits that could race. Reads go to a few threads of their
//!   own, which never wait for the writer.
//!
//! # Schema
//!
//! Times are milliseconds since the epoch. [`Store`] never updates or deletes a row of `event`.
//!
//! | table     | key                 | columns | holds |
//! |-----------|---------------------|---------|-------|
//! | `meta`    | `name`              | `value` | `schema`: the number of the last migration; `head`: the sequence number of the last event |
//! | `command` | `id`                | `at`, `reply` | commands that were committed, for 48 hours at least |
//! | `attempt` | `key`               | `count`, `since`, `until` | failures since the first that counts; `until`: when they cease to count, null: not by themselves |
//! | `step`    | `key`               | `value` | the last value that was let through |
//! | `once`    | `key`               | `expires` | what was seen; null: for ever |
//! | `event`   | `seq`; `kind`, `stream`, `n` | `at`, `body` | the log; `seq` and, within a stream, `n` are 1, 2, 3… without gaps |
//! | `doc`     | `kind`, `id`        | `version`, `due`, `body` | documents; `version` is 1, 2, 3… |
//! | `lookup`  | `space`, `key`, `id` | | the index |
//! | `outbox`  | `id`                | `topic`, `owner`, `body`, `state`, `attempts`, `due` | `state`: 0 waiting, 1 leased, 2 done, 3 dead; `due`: not before, or the end of the lease, which also dates a settled row |

mod board;
mod commit;
mod error;
mod job;
mod judge;
mod memory;
mod postgres;
mod queue;
mod read;
mod rows;
mod sql;
mod sqlite;
mod transfer;
mod work;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

pub use board::{Following, Heard};
pub use commit::{
    Append, Commit, DocWrite, Expect, Guard, Id, IndexWrite, NewEvent, Note, OutboxRow, Outcome,
    Redaction, Settle, Stream,
};
pub use error::{BackupError, CommitError, OpenError, ReadError, WriteError};
pub use read::{
    Attempts, Committed, Doc, LogRow, OutboxItem, OutboxRecord, OutboxState, StoredEvent, Swept,
};
pub use postgres::Server;
pub use sqlite::Options;
pub use transfer::{MoveError, Moved, transfer};
pub use work::{KEEP_COMMANDS, KEEP_SETTLED, SWEEP_ROWS};

use board::Board;
use error::Fault;
use memory::Memory;
use postgres::Postgres;
use rows::{Keys, Reads, Rows, Wants};
use sqlite::Sqlite;

/// A handle on a store. Cheap to clone; when the last one is dropped, what is queued is committed
/// and the threads end. That drop blocks until they have: where it matters, [`Store::close`] first.
#[derive(Clone)]
pub struct Store {
    backend: Backend,
    board: Board,
    node: u64,
}

#[derive(Clone)]
enum Backend {
    Memory(Arc<Memory>),
    Sqlite(Arc<Sqlite>),
    Postgres(Arc<Postgres>),
}

/// Asks the backend: PostgreSQL itself, the others through the rows that they hold.
macro_rules! ask {
    ($store:ident, $name:ident($($argument:expr),*)) => {
        match &$store.backend {
            Backend::Postgres(postgres) => postgres.$name($($argument),*).await,
            _ => $store.read(move |rows| rows.$name($($argument),*)).await,
        }
    };
}

impl Store {
    /// Opens the database at this path, and creates or migrates it first if need be. Blocks.
    pub fn sqlite(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let sqlite = Sqlite::open(path.as_ref(), &options)?;
        Ok(Self::over(Backend::Sqlite(Arc::new(sqlite)), Board::new()))
    }

    /// Opens a schema of a PostgreSQL database, and creates or migrates it first if need be. Other
    /// processes may have it open as well: they are nodes of one installation.
    pub async fn postgres(server: &Server, options: Options) -> Result<Self, OpenError> {
        let board = Board::new();
        let postgres = Postgres::open(server, &options, board.clone()).await?;
        Ok(Self::over(Backend::Postgres(Arc::new(postgres)), board))
    }

    /// A store that is gone with its last handle.
    #[must_use]
    pub fn memory() -> Self {
        Self::over(Backend::Memory(Arc::new(Memory::new())), Board::new())
    }

    fn over(backend: Backend, board: Board) -> Self {
        Self {
            backend,
            board,
            node: new_node(),
        }
    }

    /// Another node on the same store: it follows what this one does, and the other way round.
    #[must_use]
    pub fn node(&self) -> Self {
        self.board.share();
        Self {
            node: new_node(),
            ..self.clone()
        }
    }

    /// Whether somebody else may write: another process, or another node of this one. Where not, what
    /// this node has in memory is what is on record.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.backend, Backend::Postgres(_)) || self.board.is_shared()
    }

    /// Hears from now on of what other nodes change, see [`Commit::notes`].
    ///
    /// Notes are for freshness, never for correctness: they come after the commit, and those that
    /// are lost are reported as [`Heard::Missed`] at some time only.
    #[must_use]
    pub fn follow(&self) -> Following {
        self.board.follow(self.node)
    }

    /// One durable transaction: when this returns `Ok`, it is on disk.
    ///
    /// A caller that stops waiting takes nothing back: the commit may still happen.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let node = self.node;
        if let Backend::Postgres(postgres) = &self.backend {
            let wants = judge::wants(&commit);
            let work = move |rows: &mut dyn Rows| {
                let committed = judge::commit(rows, &commit)?;
                if committed.is_ok() {
                    rows.tell(node, &commit.notes);
                }
                Ok(committed)
            };
            return postgres.write(wants, work).await?;
        }
        let notes = commit.notes.clone();
        let committed = self
            .write(Wants::nothing, move |rows| judge::commit(rows, &commit))
            .await??;
        if !notes.is_empty() {
            self.board.tell(node, &notes);
        }
        Ok(committed)
    }

    /// The events of a stream, in order.
    pub async fn events(&self, stream: Stream) -> Result<Vec<StoredEvent>, ReadError> {
        self.events_after(stream, 0).await
    }

    /// The events of a stream after the one with this number, in order.
    pub async fn events_after(
        &self,
        stream: Stream,
        n: u64,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        ask!(self, events(stream, n))
    }

    /// The events of all streams after this sequence number, in order.
    ///
    /// Whoever follows the log with the last sequence number it has seen misses nothing: a number
    /// never becomes visible before a lower one.
    pub async fn log(&self, after_seq: u64, limit: usize) -> Result<Vec<LogRow>, ReadError> {
        ask!(self, log(after_seq, limit))
    }

    /// A document.
    pub async fn doc(&self, kind: &'static str, id: &[u8]) -> Result<Option<Doc>, ReadError> {
        let id = id.to_vec();
        ask!(self, doc(kind, &id))
    }

    /// The documents of a kind in the order of their ids, after this one if one is given.
    pub async fn docs(
        &self,
        kind: &'static str,
        after_id: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Doc)>, ReadError> {
        let mut from = Vec::new();
        if let Some(after) = after_id {
            from = after;
            // The next string of bytes after x is x followed by a zero.
            from.push(0);
        }
        ask!(self, docs(kind, &from, limit))
    }

    /// The documents of a kind whose `due` is not after `before`, earliest first.
    pub async fn docs_due(
        &self,
        kind: &'static str,
        before: i64,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Doc)>, ReadError> {
        ask!(self, docs_due(kind, before, limit))
    }

    /// The ids under a key, lowest first.
    pub async fn find(&self, space: &str, key: Id, limit: usize) -> Result<Vec<Id>, ReadError> {
        self.find_any(space, &[key], limit).await
    }

    /// The ids under any of these keys, each once, lowest first, all as of one moment.
    pub async fn find_any(
        &self,
        space: &str,
        keys: &[Id],
        limit: usize,
    ) -> Result<Vec<Id>, ReadError> {
        let (space, keys) = (space.to_owned(), keys.to_vec());
        ask!(self, find(&space, &keys, limit))
    }

    /// Leases what is due until `lease_until`, earliest first. Durable before anybody sends.
    ///
    /// When this is [`WriteError::Unknown`], or the caller stops waiting, rows may be leased that
    /// nobody will send: they come back, marked as interrupted, when the lease has run out.
    pub async fn outbox_take(
        &self,
        now: i64,
        lease_until: i64,
        limit: usize,
    ) -> Result<Vec<OutboxItem>, WriteError> {
        let ready = || Wants::Ready { now, limit };
        self.write(ready, move |rows| work::take(rows, now, lease_until, limit))
            .await
    }

    /// Says what came of a row. False: there is none, or it was settled before.
    pub async fn outbox_settle(&self, id: Id, settle: Settle) -> Result<bool, WriteError> {
        let row = || {
            Wants::Keys(Keys {
                outbox: vec![(id, Some(OutboxState::Leased))],
                ..Keys::default()
            })
        };
        self.write(row, move |rows| work::settle(rows, &id, settle))
            .await
    }

    /// A row of the outbox as it stands, for audit.
    pub async fn outbox_record(&self, id: Id) -> Result<Option<OutboxRecord>, ReadError> {
        ask!(self, outbox(&id))
    }

    /// What an attempt guard has counted under this key, for display.
    pub async fn attempts(&self, key: &str) -> Result<Attempts, ReadError> {
        let key = key.to_owned();
        ask!(self, attempts(&key))
    }

    /// What this command was answered with, if it was taken.
    pub async fn reply(&self, command: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let command = command.to_owned();
        ask!(self, replied(&command))
    }

    /// The last value that a step guard let pass under this key.
    pub async fn step(&self, key: &str) -> Result<Option<u64>, ReadError> {
        let key = key.to_owned();
        ask!(self, stepped(&key))
    }

    /// How many events the log has: the sequence number of its last.
    pub async fn head(&self) -> Result<u64, ReadError> {
        ask!(self, last())
    }

    /// How many events a stream has.
    pub async fn count(&self, stream: Stream) -> Result<u64, ReadError> {
        ask!(self, count(stream))
    }

    /// Forgets up to [`SWEEP_ROWS`] rows each of what is of no more use: counts whose window has
    /// passed, once-keys that expired, commands older than [`KEEP_COMMANDS`], outbox rows settled
    /// more than [`KEEP_SETTLED`] ago. Call it again until [`Swept::total`] is zero.
    pub async fn sweep(&self, now: i64) -> Result<Swept, WriteError> {
        let stale = || Wants::Stale {
            before: work::stale(now),
            limit: SWEEP_ROWS,
        };
        self.write(stale, move |rows| work::sweep(rows, now)).await
    }

    /// Writes a whole and consistent copy to a new file, while the store goes on. To restore it, put
    /// it in the database's place while no server is running.
    pub async fn backup(&self, to: &Path) -> Result<(), BackupError> {
        match &self.backend {
            Backend::Memory(_) => Err(BackupError::Unsupported),
            Backend::Postgres(_) => Err(BackupError::Elsewhere),
            Backend::Sqlite(sqlite) => sqlite.backup(to).await,
        }
    }

    /// Reads the whole database and looks for damage. Takes long on a large one.
    pub async fn verify(&self) -> Result<(), ReadError> {
        match &self.backend {
            Backend::Memory(memory) => memory.read(|rows| rows.touch()),
            Backend::Sqlite(sqlite) => sqlite.verify().await,
            Backend::Postgres(postgres) => postgres.verify().await,
        }
    }

    /// Whether the store can serve: reads something, and commits something. A transaction without a
    /// write would succeed on a full disk.
    pub async fn check(&self) -> Result<(), ReadError> {
        // SQLite leaves a page alone whose content stays the same.
        static MARK: AtomicI64 = AtomicI64::new(0);
        ask!(self, touch())?;
        let mark = MARK.fetch_add(1, Ordering::Relaxed);
        Ok(self.write(Wants::nothing, move |rows| rows.mark(mark)).await?)
    }

    /// The database's time, in milliseconds since the epoch. `None`: the store is this process's own, and its
    /// machine's clock is as good.
    pub async fn time(&self) -> Result<Option<i64>, ReadError> {
        match &self.backend {
            Backend::Postgres(postgres) => postgres.time().await.map(Some),
            _ => Ok(None),
        }
    }

    /// How many jobs wait for the writer.
    #[must_use]
    pub fn queued(&self) -> usize {
        match &self.backend {
            Backend::Memory(_) => 0,
            Backend::Sqlite(sqlite) => sqlite.queued(),
            Backend::Postgres(postgres) => postgres.queued(),
        }
    }

    /// Takes nothing more in, for this handle and all others; returns when what was queued is
    /// committed and the files are closed.
    pub async fn close(&self) {
        match &self.backend {
            Backend::Memory(memory) => memory.close(),
            Backend::Sqlite(sqlite) => sqlite.close().await,
            Backend::Postgres(postgres) => postgres.close().await,
        }
    }

    async fn write<T: Send + 'static>(
        &self,
        wants: impl FnOnce() -> Wants,
        work: impl FnMut(&mut dyn Rows) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, WriteError> {
        match &self.backend {
            Backend::Memory(memory) => memory.write(work),
            Backend::Sqlite(sqlite) => sqlite.write(work).await,
            Backend::Postgres(postgres) => postgres.write(wants(), work).await,
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut dyn Reads) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, ReadError> {
        match &self.backend {
            Backend::Memory(memory) => memory.read(ask),
            Backend::Sqlite(sqlite) => sqlite.read(ask).await,
            // Answered where it is asked: see `ask!`.
            Backend::Postgres(_) => Err(ReadError::Closed),
        }
    }
}

/// Tells nodes apart, so that none is told what it did itself.
fn new_node() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
