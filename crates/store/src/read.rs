//! What comes out.

use std::fmt;

use crate::commit::{Hidden, Id};

/// A commit that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The sequence number of the last event in the log when this commit was in: its own last event
    /// if it appended any. 0: the log is empty.
    pub last_seq: u64,
    /// The version that each entry of [`crate::Commit::docs`] led to, in their order; 0 for a
    /// deletion.
    pub versions: Vec<u64>,
}

/// An event of a stream.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place in the log: 1, 2, 3… without gaps.
    pub seq: u64,
    /// Its place in the stream: 1, 2, 3… without gaps.
    pub n: u64,
    /// When it happened.
    pub at: i64,
    /// What happened.
    pub body: String,
}

/// An event of the log, which holds those of all streams in the order of their commits.
#[derive(Clone, PartialEq, Eq)]
pub struct LogRow {
    /// Its place in the log: 1, 2, 3… without gaps.
    pub seq: u64,
    /// The kind of its stream.
    pub stream_kind: String,
    /// The id of its stream.
    pub stream_id: Id,
    /// Its place in the stream: 1, 2, 3… without gaps.
    pub n: u64,
    /// When it happened.
    pub at: i64,
    /// What happened.
    pub body: String,
}

/// A document.
#[derive(Clone, PartialEq, Eq)]
pub struct Doc {
    /// 1 when new, one more with every write.
    pub version: u64,
    /// The content.
    pub body: Vec<u8>,
    /// When somebody should look at it.
    pub due: Option<i64>,
}

/// Something to send now, leased to whoever took it.
#[derive(Clone, PartialEq, Eq)]
pub struct OutboxItem {
    /// Names the row.
    pub id: Id,
    /// Which sender is meant.
    pub topic: String,
    /// The call that will want to know what came of it.
    pub owner: Id,
    /// The content.
    pub body: Vec<u8>,
    /// How often it was taken, this time included.
    pub attempts: u32,
    /// Somebody took it before, and the lease ran out without a word about what came of it: it may
    /// have been sent.
    pub interrupted: bool,
}

/// A row of the outbox as it stands, for audit.
#[derive(Clone, PartialEq, Eq)]
pub struct OutboxRecord {
    /// Which sender is meant.
    pub topic: String,
    /// The call that wants to know what came of it.
    pub owner: Id,
    /// The content; empty once settled.
    pub body: Vec<u8>,
    /// Where it stands.
    pub state: OutboxState,
    /// How often it was taken.
    pub attempts: u32,
    /// Waiting: not before; leased: until; settled: when its lease would have ended.
    pub due: i64,
}

/// Where a row of the outbox stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboxState {
    /// To be sent when due.
    Waiting,
    /// Somebody is sending it.
    Leased,
    /// Sent.
    Done,
    /// Given up.
    Dead,
}

/// What an attempt guard has counted, for display. Never decide on it: a guard does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Failures so far.
    pub count: u32,
    /// When they cease to count; `None`: not by themselves, or there are none.
    pub until: Option<i64>,
}

/// How many rows a sweep forgot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Commands older than 48 hours.
    pub commands: usize,
    /// Counts whose window has passed.
    pub attempts: usize,
    /// Once-keys that expired.
    pub once: usize,
    /// Outbox rows that were settled more than 7 days ago.
    pub outbox: usize,
}

impl Swept {
    /// All of them. Zero: there is nothing left to forget for now.
    #[must_use]
    pub fn total(self) -> usize {
        let Self {
            commands,
            attempts,
            once,
            outbox,
        } = self;
        commands
            .saturating_add(attempts)
            .saturating_add(once)
            .saturating_add(outbox)
    }
}

impl fmt::Debug for StoredEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seq, n, at, body } = self;
        f.debug_struct("StoredEvent")
            .field("seq", seq)
            .field("n", n)
            .field("at", at)
            .field("body", &Hidden(body.len()))
            .finish()
    }
}

impl fmt::Debug for LogRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seq,
            stream_kind,
            stream_id,
            n,
            at,
            body,
        } = self;
        f.debug_struct("LogRow")
            .field("seq", seq)
            .field("stream_kind", stream_kind)
            .field("stream_id", stream_id)
            .field("n", n)
            .field("at", at)
            .field("body", &Hidden(body.len()))
            .finish()
    }
}

impl fmt::Debug for Doc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, body, due } = self;
        f.debug_struct("Doc")
            .field("version", version)
            .field("body", &Hidden(body.len()))
            .field("due", due)
            .finish()
    }
}

impl fmt::Debug for OutboxItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            topic,
            owner,
            body,
            attempts,
            interrupted,
        } = self;
        f.debug_struct("OutboxItem")
            .field("id", id)
            .field("topic", topic)
            .field("owner", owner)
            .field("body", &Hidden(body.len()))
            .field("attempts", attempts)
            .field("interrupted", interrupted)
            .finish()
    }
}

impl fmt::Debug for OutboxRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            topic,
            owner,
            body,
            state,
            attempts,
            due,
        } = self;
        f.debug_struct("OutboxRecord")
            .field("topic", topic)
            .field("owner", owner)
            .field("body", &Hidden(body.len()))
            .field("state", state)
            .field("attempts", attempts)
            .field("due", due)
            .finish()
    }
}
