//! What goes in: a [`Commit`] is one durable transaction.

use std::fmt;

/// Sixteen bytes that name a thing. The store gives them no meaning beyond their order.
pub type Id = [u8; 16];

/// Everything that one command changes, or nothing of it.
///
/// Inside the transaction the parts are judged in the order of these fields: a known `command` wins
/// over everything, then the guards in order, the appends, the documents, the index, the outbox.
#[derive(Default, Clone)]
pub struct Commit {
    /// Milliseconds since the epoch. Windows and expiries are judged against it: the store reads no
    /// clock.
    pub now: i64,
    /// The idempotency key. Known for 48 hours at least, see [`crate::Store::sweep`].
    pub command: Option<String>,
    /// What a duplicate of this command is answered with.
    pub reply: Vec<u8>,
    /// Conditions that count in the transaction that judges them.
    pub guards: Vec<Guard>,
    /// Events for streams.
    pub appends: Vec<Append>,
    /// Documents to write or delete.
    pub docs: Vec<DocWrite>,
    /// Events whose text is taken away by a rule of retention.
    pub redactions: Vec<Redaction>,
    /// Entries of the index to add or remove.
    pub index: Vec<IndexWrite>,
    /// What is to be sent once this commit is durable.
    pub outbox: Vec<OutboxRow>,
    /// Which things changed, for everybody who follows the store, on this node and on others, once
    /// this commit is durable. Not part of what is judged, and not kept.
    pub notes: Vec<Note>,
}

/// Puts another text in the place of an event's. Its place in the log and in its stream, and its time,
/// stay: nobody can say that there was nothing. An event that is not there, or that comes with the
/// same commit, is left as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redaction {
    /// The event's stream.
    pub stream: Stream,
    /// Its place there.
    pub n: u64,
    /// What stands there from now on.
    pub body: String,
}

/// Says that a thing changed, and not how: whoever hears it looks for themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Note {
    /// What sort of thing: letters, digits, `-`.
    pub kind: &'static str,
    /// Which one.
    pub id: Id,
}

/// A condition of a commit. Its key is shown in `Debug` output: hash what is personal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Counts attempts. Denied, whatever the outcome, once `max` failures count.
    Attempt {
        /// What the failures are counted for. Use one key with one window only.
        key: String,
        /// How long failures count, in milliseconds from the first of them; `None` (or nothing
        /// positive): until a success. A fixed window: failures at the end of one and at the
        /// beginning of the next can come to `2 * max - 1` within a span as long as the window.
        window: Option<i64>,
        /// How many failures count before all is denied.
        max: u32,
        /// What came of this attempt.
        outcome: Outcome,
    },
    /// A value that may only grow, such as a TOTP step or a HOTP counter. Denied unless `value` is
    /// above the last one that was let through. Above `i64::MAX` it is always denied.
    Step {
        /// What the value belongs to.
        key: String,
        /// The value.
        value: u64,
    },
    /// Something that counts once. Denied if it was seen and `now` is not after its expiry.
    Once {
        /// What counts once.
        key: String,
        /// When it may be forgotten; `None`: never.
        expires: Option<i64>,
    },
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// One more failure.
    Fail,
    /// Back to zero.
    Success,
    /// No change: only asks whether attempts are still let through.
    Check,
}

/// A sequence of events about one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream {
    /// What sort of thing.
    pub kind: &'static str,
    /// Which one.
    pub id: Id,
}

/// Events for one stream. Without events it only asserts that the stream has not grown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The stream.
    pub stream: Stream,
    /// How many events the stream is thought to have. If it has another number of them the commit is
    /// a [`crate::CommitError::Conflict`].
    pub expected: u64,
    /// The events, in order.
    pub events: Vec<NewEvent>,
}

/// An event to append.
#[derive(Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// When it happened, in milliseconds since the epoch.
    pub at: i64,
    /// What happened. Without the character NUL, which PostgreSQL does not keep in text.
    pub body: String,
}

/// A change of a document.
#[derive(Clone, PartialEq, Eq)]
pub enum DocWrite {
    /// Writes the document whole.
    Put {
        /// What sort of document.
        kind: &'static str,
        /// Which one.
        id: Vec<u8>,
        /// What must be there before.
        expected: Expect,
        /// The content.
        body: Vec<u8>,
        /// When somebody should look at it, for [`crate::Store::docs_due`].
        due: Option<i64>,
    },
    /// Deletes the document; nothing happens if there is none. A later one under the same id begins
    /// at version 1 again.
    Delete {
        /// What sort of document.
        kind: &'static str,
        /// Which one.
        id: Vec<u8>,
    },
    /// Writes nothing, and asserts that the document is as it was when it was read.
    Still {
        /// What sort of document.
        kind: &'static str,
        /// Which one.
        id: Vec<u8>,
        /// The version it had; 0: there was none.
        version: u64,
    },
}

/// What must be there before a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    New,
    /// This version.
    Version(u64),
    /// Anything or nothing.
    Any,
}

/// A change of the index, which answers: which ids go with this key?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexWrite {
    /// Nothing happens if the entry is there.
    Add {
        /// The part of the index.
        space: &'static str,
        /// What is looked for, such as the keyed hash of a telephone number.
        key: Id,
        /// What is found.
        id: Id,
    },
    /// Nothing happens if the entry is not there.
    Remove {
        /// The part of the index.
        space: &'static str,
        /// What is looked for.
        key: Id,
        /// What is no longer found.
        id: Id,
    },
    /// Takes away every entry that finds this, in all parts of the index: a look at all of it. For
    /// whoever does not know any more under what something was found.
    Clear {
        /// What is no longer found.
        id: Id,
    },
}

/// Something to send once the commit is durable. An id that was used before is a
/// [`crate::CommitError::Conflict`].
#[derive(Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Names the row; also fit as the idempotency key towards whoever carries the message.
    pub id: Id,
    /// Which sender is meant.
    pub topic: &'static str,
    /// The call that will want to know what came of it.
    pub owner: Id,
    /// The content. Wiped when the row is settled.
    pub body: Vec<u8>,
    /// Not before, in milliseconds since the epoch.
    pub due: i64,
}

/// What came of a row of the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// Sent.
    Done,
    /// Not sent: again at this time.
    Retry(i64),
    /// Not sent, and not to be tried again.
    Dead,
}

/// Stands for content in `Debug` output: bodies and replies may hold codes and names.
pub(crate) struct Hidden(pub(crate) usize);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0)
    }
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            now,
            command,
            reply,
            guards,
            appends,
            docs,
            redactions,
            index,
            outbox,
            notes,
        } = self;
        f.debug_struct("Commit")
            .field("now", now)
            .field("command", command)
            .field("reply", &Hidden(reply.len()))
            .field("guards", guards)
            .field("appends", appends)
            .field("docs", docs)
            .field("redactions", redactions)
            .field("index", index)
            .field("outbox", outbox)
            .field("notes", notes)
            .finish()
    }
}

impl fmt::Debug for NewEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, body } = self;
        f.debug_struct("NewEvent")
            .field("at", at)
            .field("body", &Hidden(body.len()))
            .finish()
    }
}

impl fmt::Debug for DocWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put {
                kind,
                id,
                expected,
                body,
                due,
            } => f
                .debug_struct("Put")
                .field("kind", kind)
                .field("id", id)
                .field("expected", expected)
                .field("body", &Hidden(body.len()))
                .field("due", due)
                .finish(),
            Self::Delete { kind, id } => f
                .debug_struct("Delete")
                .field("kind", kind)
                .field("id", id)
                .finish(),
            Self::Still { kind, id, version } => f
                .debug_struct("Still")
                .field("kind", kind)
                .field("id", id)
                .field("version", version)
                .finish(),
        }
    }
}

impl fmt::Debug for OutboxRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            topic,
            owner,
            body,
            due,
        } = self;
        f.debug_struct("OutboxRow")
            .field("id", id)
            .field("topic", topic)
            .field("owner", owner)
            .field("body", &Hidden(body.len()))
            .field("due", due)
            .finish()
    }
}
