//! The rows that a group of commits is judged by, fetched beforehand, and what the group makes of
//! them, written afterwards.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::commit::{Id, Note, Redaction, Stream};
use crate::error::Fault;
use crate::read::{OutboxItem, OutboxState};
use crate::rows::{AttemptRow, Change, OnceRow, Rows, Stale};

/// A row that was fetched, or that there is none.
pub(super) type Fetched<K, V> = HashMap<K, Option<V>>;

/// Documents with their versions.
pub(super) type Versions = HashMap<(String, Vec<u8>), u64>;

/// What was fetched or presumed, kept up to date with what the group did so far.
#[derive(Default)]
pub(super) struct Sheet {
    pub(super) head: u64,
    pub(super) commands: Fetched<String, Vec<u8>>,
    pub(super) attempts: Fetched<String, AttemptRow>,
    pub(super) steps: Fetched<String, u64>,
    pub(super) once: Fetched<String, OnceRow>,
    pub(super) lengths: HashMap<(String, Id), u64>,
    pub(super) versions: Fetched<(String, Vec<u8>), u64>,
    /// Documents whose version nobody has asked the database for: what is counted from nothing here has
    /// to be added to what stands there.
    pub(super) any: HashSet<(String, Vec<u8>)>,
    pub(super) outbox: Fetched<Id, OutboxState>,
    pub(super) ready: Vec<OutboxItem>,
    pub(super) forgotten: HashMap<Stale, usize>,
    pub(super) writes: Writes,
}

/// What is to be written: each row once, as the last of the group has left it.
#[derive(Default)]
pub(super) struct Writes {
    pub(super) commands: Vec<(String, i64, Vec<u8>)>,
    pub(super) attempts: BTreeMap<String, Option<AttemptRow>>,
    pub(super) steps: BTreeMap<String, u64>,
    pub(super) once: BTreeMap<String, OnceRow>,
    pub(super) events: Vec<Event>,
    pub(super) redactions: BTreeMap<(&'static str, Id, u64), String>,
    pub(super) docs: BTreeMap<(&'static str, Vec<u8>), Option<Doc>>,
    /// Before what is added to the index or taken out of it.
    pub(super) cleared: BTreeSet<Id>,
    pub(super) lookup: BTreeMap<(&'static str, Id, Id), bool>,
    pub(super) sends: Vec<Send>,
    pub(super) leases: BTreeMap<Id, i64>,
    pub(super) retries: BTreeMap<Id, i64>,
    pub(super) ends: BTreeMap<Id, OutboxState>,
    pub(super) notes: Vec<(u64, Note)>,
    pub(super) mark: Option<i64>,
}

pub(super) struct Event {
    pub(super) seq: u64,
    pub(super) stream: Stream,
    pub(super) n: u64,
    pub(super) at: i64,
    pub(super) body: String,
}

pub(super) struct Doc {
    pub(super) version: u64,
    /// The version is by how much it grows.
    pub(super) grows: bool,
    pub(super) due: Option<i64>,
    pub(super) body: Vec<u8>,
}

pub(super) struct Send {
    pub(super) id: Id,
    pub(super) topic: &'static str,
    pub(super) owner: Id,
    pub(super) body: Vec<u8>,
    pub(super) due: i64,
}

/// A row that nobody said would be asked for: the group is taken apart, and the one that asks fails
/// alone. A fault of ours, which the contract suite looks for.
fn unforeseen(what: &str) -> Fault {
    Fault(format!("a {what} was not fetched"))
}

fn of<K, Q, V>(rows: &HashMap<K, V>, key: &Q, what: &str) -> Result<V, Fault>
where
    K: std::borrow::Borrow<Q> + std::hash::Hash + Eq,
    Q: std::hash::Hash + Eq + ?Sized,
    V: Clone,
{
    rows.get(key).cloned().ok_or_else(|| unforeseen(what))
}

impl Rows for Sheet {
    fn head(&self) -> u64 {
        self.head
    }

    fn reply(&mut self, command: &str) -> Result<Option<Vec<u8>>, Fault> {
        of(&self.commands, command, "command")
    }

    fn attempt(&mut self, key: &str) -> Result<Option<AttemptRow>, Fault> {
        of(&self.attempts, key, "count")
    }

    fn step(&mut self, key: &str) -> Result<Option<u64>, Fault> {
        of(&self.steps, key, "step")
    }

    fn once(&mut self, key: &str) -> Result<Option<OnceRow>, Fault> {
        of(&self.once, key, "once-key")
    }

    fn length(&mut self, stream: Stream) -> Result<u64, Fault> {
        of(&self.lengths, &(stream.kind.to_owned(), stream.id), "length")
    }

    fn version(&mut self, kind: &str, id: &[u8]) -> Result<Option<u64>, Fault> {
        of(&self.versions, &(kind.to_owned(), id.to_vec()), "version")
    }

    fn outbox_state(&mut self, id: &Id) -> Result<Option<OutboxState>, Fault> {
        of(&self.outbox, id, "message")
    }

    fn outbox_ready(&mut self, _now: i64, _limit: usize) -> Result<Vec<OutboxItem>, Fault> {
        Ok(std::mem::take(&mut self.ready))
    }

    fn apply(&mut self, change: &Change<'_>) -> Result<(), Fault> {
        let writes = &mut self.writes;
        match *change {
            Change::Command { id, at, reply } => {
                self.commands.insert(id.to_owned(), Some(reply.to_vec()));
                writes.commands.push((id.to_owned(), at, reply.to_vec()));
            }
            Change::Attempt { key, row } => {
                self.attempts.insert(key.to_owned(), row);
                writes.attempts.insert(key.to_owned(), row);
            }
            Change::Step { key, value } => {
                self.steps.insert(key.to_owned(), Some(value));
                writes.steps.insert(key.to_owned(), value);
            }
            Change::Once { key, row } => {
                self.once.insert(key.to_owned(), Some(row));
                writes.once.insert(key.to_owned(), row);
            }
            Change::Event {
                seq,
                stream,
                n,
                event,
            } => {
                self.head = seq;
                self.lengths.insert((stream.kind.to_owned(), stream.id), n);
                writes.events.push(Event {
                    seq,
                    stream,
                    n,
                    at: event.at,
                    body: event.body.clone(),
                });
            }
            Change::Redact(Redaction { stream, n, body }) => {
                writes.redactions.insert((stream.kind, stream.id, *n), body.clone());
            }
            Change::DocPut {
                kind,
                id,
                version,
                due,
                body,
            } => {
                let key = (kind.to_owned(), id.to_vec());
                let doc = Doc {
                    version,
                    grows: self.any.contains(&key),
                    due,
                    body: body.to_vec(),
                };
                self.versions.insert(key, Some(version));
                writes.docs.insert((kind, id.to_vec()), Some(doc));
            }
            Change::DocDelete { kind, id } => {
                let key = (kind.to_owned(), id.to_vec());
                self.any.remove(&key);
                self.versions.insert(key, None);
                writes.docs.insert((kind, id.to_vec()), None);
            }
            Change::IndexAdd { space, key, id } => {
                writes.lookup.insert((space, *key, *id), true);
            }
            Change::IndexRemove { space, key, id } => {
                writes.lookup.insert((space, *key, *id), false);
            }
            Change::IndexClear { id } => {
                writes.lookup.retain(|(_, _, found), _| found != id);
                writes.cleared.insert(*id);
            }
            Change::OutboxAdd(row) => {
                self.outbox.insert(row.id, Some(OutboxState::Waiting));
                writes.sends.push(Send {
                    id: row.id,
                    topic: row.topic,
                    owner: row.owner,
                    body: row.body.clone(),
                    due: row.due,
                });
            }
            Change::OutboxLease { id, until } => {
                writes.leases.insert(*id, until);
            }
            Change::OutboxRetry { id, at } => {
                self.on_its_own(id)?;
                self.outbox.insert(*id, Some(OutboxState::Waiting));
                self.writes.retries.insert(*id, at);
            }
            Change::OutboxEnd { id, state } => {
                self.on_its_own(id)?;
                self.outbox.insert(*id, Some(state));
                self.writes.ends.insert(*id, state);
            }
        }
        Ok(())
    }

    fn mark(&mut self, value: i64) -> Result<(), Fault> {
        self.writes.mark = Some(value);
        Ok(())
    }

    fn tell(&mut self, node: u64, notes: &[Note]) {
        let notes = notes.iter().map(|note| (node, *note));
        self.writes.notes.extend(notes);
    }

    fn forget(&mut self, what: Stale, _before: i64, _limit: usize) -> Result<usize, Fault> {
        of(&self.forgotten, &what, "sweep")
    }
}

impl Sheet {
    /// A message is changed once in a group: the statements of a group have no order among them. Who
    /// changes it a second time has to wait for a group of its own.
    fn on_its_own(&self, id: &Id) -> Result<(), Fault> {
        let Writes {
            sends,
            retries,
            ends,
            ..
        } = &self.writes;
        if retries.contains_key(id)
            || ends.contains_key(id)
            || sends.iter().any(|send| send.id == *id)
        {
            return Err(unforeseen("message that changes twice"));
        }
        Ok(())
    }
}
