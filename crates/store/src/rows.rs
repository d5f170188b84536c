//! What a backend must be able to do: find and write single rows. The rules of a commit, a lease and
//! a sweep stand above it, once, in [`crate::judge`] and [`crate::work`].

use crate::commit::{Id, NewEvent, OutboxRow, Stream};
use crate::error::Fault;
use crate::read::{Attempts, Doc, LogRow, OutboxItem, OutboxRecord, OutboxState, StoredEvent};

/// The rows as the one writer sees them, inside a transaction.
///
/// What a commit will ask for can be told from the commit alone, so that a backend across a network
/// can fetch all of it in one round trip and answer from there.
///
/// Whoever uses it reads first and writes when nothing can be refused any more: then a refusal
/// leaves nothing behind without the price of a savepoint.
pub(crate) trait Rows {
    /// The sequence number of the last event.
    fn head(&self) -> u64;
    fn reply(&mut self, command: &str) -> Result<Option<Vec<u8>>, Fault>;
    fn attempt(&mut self, key: &str) -> Result<Option<AttemptRow>, Fault>;
    fn step(&mut self, key: &str) -> Result<Option<u64>, Fault>;
    fn once(&mut self, key: &str) -> Result<Option<OnceRow>, Fault>;
    /// How many events a stream has.
    fn length(&mut self, stream: Stream) -> Result<u64, Fault>;
    fn version(&mut self, kind: &str, id: &[u8]) -> Result<Option<u64>, Fault>;
    fn outbox_state(&mut self, id: &Id) -> Result<Option<OutboxState>, Fault>;
    /// Open rows that are due, as they are before they are leased, earliest first.
    fn outbox_ready(&mut self, now: i64, limit: usize) -> Result<Vec<OutboxItem>, Fault>;
    fn apply(&mut self, change: &Change<'_>) -> Result<(), Fault>;
    /// Deletes up to `limit` rows from before `before`, oldest first, and says how many.
    fn forget(&mut self, what: Stale, before: i64, limit: usize) -> Result<usize, Fault>;
}

/// What anybody may ask, outside the writer's transaction.
pub(crate) trait Reads {
    fn events(&mut self, stream: Stream) -> Result<Vec<StoredEvent>, Fault>;
    fn log(&mut self, after: u64, limit: usize) -> Result<Vec<LogRow>, Fault>;
    fn doc(&mut self, kind: &str, id: &[u8]) -> Result<Option<Doc>, Fault>;
    fn docs(&mut self, kind: &str, from: &[u8], limit: usize) -> Result<DocPage, Fault>;
    fn docs_due(&mut self, kind: &str, before: i64, limit: usize) -> Result<DocPage, Fault>;
    /// The lowest `limit` ids under any of the keys, each once, from one moment.
    fn find(&mut self, space: &str, keys: &[Id], limit: usize) -> Result<Vec<Id>, Fault>;
    fn outbox(&mut self, id: &Id) -> Result<Option<OutboxRecord>, Fault>;
    fn attempts(&mut self, key: &str) -> Result<Attempts, Fault>;
    fn replied(&mut self, command: &str) -> Result<Option<Vec<u8>>, Fault>;
    fn stepped(&mut self, key: &str) -> Result<Option<u64>, Fault>;
    fn count(&mut self, stream: Stream) -> Result<u64, Fault>;
    /// Reads anything at all.
    fn touch(&mut self) -> Result<(), Fault>;
}

pub(crate) type DocPage = Vec<(Vec<u8>, Doc)>;

#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptRow {
    pub(crate) count: u32,
    pub(crate) since: i64,
    pub(crate) until: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct OnceRow {
    pub(crate) expires: Option<i64>,
}

/// One row's change. It was judged: a backend applies it without asking.
pub(crate) enum Change<'a> {
    Command {
        id: &'a str,
        at: i64,
        reply: &'a [u8],
    },
    Attempt {
        key: &'a str,
        row: Option<AttemptRow>,
    },
    Step {
        key: &'a str,
        value: u64,
    },
    Once {
        key: &'a str,
        row: OnceRow,
    },
    Event {
        seq: u64,
        stream: Stream,
        n: u64,
        event: &'a NewEvent,
    },
    DocPut {
        kind: &'static str,
        id: &'a [u8],
        version: u64,
        due: Option<i64>,
        body: &'a [u8],
    },
    DocDelete {
        kind: &'static str,
        id: &'a [u8],
    },
    IndexAdd {
        space: &'static str,
        key: &'a Id,
        id: &'a Id,
    },
    IndexRemove {
        space: &'static str,
        key: &'a Id,
        id: &'a Id,
    },
    OutboxAdd(&'a OutboxRow),
    OutboxLease {
        id: &'a Id,
        until: i64,
    },
    OutboxRetry {
        id: &'a Id,
        at: i64,
    },
    /// Wipes the body.
    OutboxEnd {
        id: &'a Id,
        state: OutboxState,
    },
}

/// What a sweep forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stale {
    Commands,
    Attempts,
    Once,
    Outbox,
}

impl OutboxState {
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Leased)
    }
}
