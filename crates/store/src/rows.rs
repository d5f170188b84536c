//! What a backend must be able to do: find and write single rows. The rules of a commit, a lease and
//! a sweep stand above it, once, in [`crate::judge`] and [`crate::work`].

use crate::commit::{Expect, Id, NewEvent, Note, OutboxRow, Redaction, Stream};
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
    /// Writes this number where it means nothing, so that the transaction has to reach the disk.
    fn mark(&mut self, value: i64) -> Result<(), Fault>;
    /// Whom to tell what changed, once the transaction is durable. Where there is nobody but this
    /// process, [`crate::board`] does it.
    fn tell(&mut self, _node: u64, _notes: &[Note]) {}
    /// Deletes up to `limit` rows from before `before`, oldest first, and says how many.
    fn forget(&mut self, what: Stale, before: i64, limit: usize) -> Result<usize, Fault>;
}

/// The rows that a piece of work will ask for, told before it runs.
pub(crate) enum Wants {
    /// Rows by their keys, and whatever it writes: it can share a transaction.
    Keys(Keys),
    /// What of the outbox is due.
    Ready { now: i64, limit: usize },
    /// What is of no more use, from before these times, at most so many rows of each.
    Stale {
        before: [(Stale, i64); 4],
        limit: usize,
    },
}

impl Wants {
    pub(crate) fn nothing() -> Self {
        Self::Keys(Keys::default())
    }
}

/// Keys of rows, for [`Wants`], each with what has to stand there for the work to go through: a backend
/// across a network can take that for true and have it checked where the rows are.
#[derive(Default)]
pub(crate) struct Keys {
    pub(crate) commands: Vec<String>,
    pub(crate) attempts: Vec<String>,
    /// With the value that has to be above what is stored.
    pub(crate) steps: Vec<(String, u64)>,
    pub(crate) once: Vec<String>,
    /// With the length of the stream.
    pub(crate) lengths: Vec<(Stream, u64)>,
    pub(crate) versions: Vec<(&'static str, Vec<u8>, Expect)>,
    /// With the state, `None` where there must be no row.
    pub(crate) outbox: Vec<(Id, Option<OutboxState>)>,
}

/// What anybody may ask, outside the writer's transaction.
pub(crate) trait Reads {
    /// Those after the one with this number.
    fn events(&mut self, stream: Stream, after: u64) -> Result<Vec<StoredEvent>, Fault>;
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
    /// The sequence number of the last event.
    fn last(&mut self) -> Result<u64, Fault>;
    /// Reads anything at all.
    fn touch(&mut self) -> Result<(), Fault>;
}

pub(crate) type DocPage = Vec<(Vec<u8>, Doc)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    Redact(&'a Redaction),
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
    IndexClear {
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

/// Databases count to `i64::MAX`: more than that is more than anything that is stored.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Nothing negative is ever stored where this is used.
pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// What a sweep forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stale {
    Commands,
    Attempts,
    Once,
    Outbox,
}

impl OutboxState {
    /// Whatever else stands there: it is not to be sent.
    pub(crate) fn of(number: i64) -> Self {
        match number {
            0 => Self::Waiting,
            1 => Self::Leased,
            2 => Self::Done,
            _ => Self::Dead,
        }
    }

    pub(crate) fn number(self) -> i64 {
        match self {
            Self::Waiting => 0,
            Self::Leased => 1,
            Self::Done => 2,
            Self::Dead => 3,
        }
    }

    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Leased)
    }
}
