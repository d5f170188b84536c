//! The store without a disk, for tests and demonstrations: the same rules over ordered maps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use crate::commit::{Id, OutboxRow, Redaction, Stream};
use crate::error::{Fault, ReadError, WriteError};
use crate::read::{Attempts, Doc, LogRow, OutboxItem, OutboxRecord, OutboxState, StoredEvent};
use crate::rows::{AttemptRow, Change, DocPage, OnceRow, Reads, Rows, Stale};

/// `None` once closed.
pub(crate) struct Memory {
    tables: Mutex<Option<Tables>>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self {
            tables: Mutex::new(Some(Tables::default())),
        }
    }

    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&mut dyn Rows) -> Result<T, Fault>,
    ) -> Result<T, WriteError> {
        // Poisoned: a panic may have left half a change, and nobody can tell.
        let mut tables = self.tables.lock().map_err(|_| WriteError::Closed)?;
        let tables = tables.as_mut().ok_or(WriteError::Closed)?;
        work(tables).map_err(|Fault(why)| WriteError::Unknown(why))
    }

    pub(crate) fn read<T>(
        &self,
        ask: impl FnOnce(&mut dyn Reads) -> Result<T, Fault>,
    ) -> Result<T, ReadError> {
        let mut tables = self.tables.lock().map_err(|_| ReadError::Closed)?;
        let tables = tables.as_mut().ok_or(ReadError::Closed)?;
        Ok(ask(tables)?)
    }

    pub(crate) fn close(&self) {
        if let Ok(mut tables) = self.tables.lock() {
            *tables = None;
        }
    }
}

#[derive(Default)]
struct Tables {
    commands: BTreeMap<String, Command>,
    attempts: BTreeMap<String, AttemptRow>,
    steps: BTreeMap<String, u64>,
    once: BTreeMap<String, OnceRow>,
    log: Vec<LogRow>,
    streams: BTreeMap<Stream, Vec<StoredEvent>>,
    docs: BTreeMap<&'static str, BTreeMap<Vec<u8>, Doc>>,
    lookup: BTreeMap<&'static str, BTreeSet<(Id, Id)>>,
    outbox: BTreeMap<Id, OutboxRecord>,
}

struct Command {
    at: i64,
    reply: Vec<u8>,
}

impl Rows for Tables {
    fn head(&self) -> u64 {
        self.log.last().map_or(0, |row| row.seq)
    }

    fn mark(&mut self, _value: i64) -> Result<(), Fault> {
        Ok(())
    }

    fn reply(&mut self, command: &str) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self
            .commands
            .get(command)
            .map(|command| command.reply.clone()))
    }

    fn attempt(&mut self, key: &str) -> Result<Option<AttemptRow>, Fault> {
        Ok(self.attempts.get(key).copied())
    }

    fn step(&mut self, key: &str) -> Result<Option<u64>, Fault> {
        Ok(self.steps.get(key).copied())
    }

    fn once(&mut self, key: &str) -> Result<Option<OnceRow>, Fault> {
        Ok(self.once.get(key).copied())
    }

    fn length(&mut self, stream: Stream) -> Result<u64, Fault> {
        Ok(self
            .streams
            .get(&stream)
            .and_then(|events| events.last())
            .map_or(0, |event| event.n))
    }

    fn version(&mut self, kind: &str, id: &[u8]) -> Result<Option<u64>, Fault> {
        Ok(self
            .docs
            .get(kind)
            .and_then(|docs| docs.get(id))
            .map(|doc| doc.version))
    }

    fn outbox_state(&mut self, id: &Id) -> Result<Option<OutboxState>, Fault> {
        Ok(self.outbox.get(id).map(|row| row.state))
    }

    fn outbox_ready(&mut self, now: i64, limit: usize) -> Result<Vec<OutboxItem>, Fault> {
        let ready = self
            .outbox
            .iter()
            .filter(|(_, row)| row.state.is_open() && row.due <= now);
        let ready = earliest(ready.map(|(id, row)| (row.due, *id)), limit);
        Ok(ready
            .into_iter()
            .filter_map(|id| Some(item(id, self.outbox.get(&id)?)))
            .collect())
    }

    fn apply(&mut self, change: &Change<'_>) -> Result<(), Fault> {
        match *change {
            Change::Command { id, at, reply } => {
                self.commands.insert(
                    id.to_owned(),
                    Command {
                        at,
                        reply: reply.to_vec(),
                    },
                );
            }
            Change::Attempt {
                key,
                row: Some(row),
            } => {
                self.attempts.insert(key.to_owned(), row);
            }
            Change::Attempt { key, row: None } => {
                self.attempts.remove(key);
            }
            Change::Step { key, value } => {
                self.steps.insert(key.to_owned(), value);
            }
            Change::Once { key, row } => {
                self.once.insert(key.to_owned(), row);
            }
            Change::Event {
                seq,
                stream,
                n,
                event,
            } => {
                let (at, body) = (event.at, event.body.clone());
                let events = self.streams.entry(stream).or_default();
                events.push(StoredEvent {
                    seq,
                    n,
                    at,
                    body: body.clone(),
                });
                let (stream_kind, stream_id) = (stream.kind.to_owned(), stream.id);
                self.log.push(LogRow {
                    seq,
                    stream_kind,
                    stream_id,
                    n,
                    at,
                    body,
                });
            }
            Change::Redact(Redaction { stream, n, body }) => {
                let found = self.streams.get_mut(stream).and_then(|events| events.iter_mut().find(|event| event.n == *n));
                if let Some(event) = found {
                    event.body.clone_from(body);
                    if let Some(row) = self.log.iter_mut().find(|row| row.seq == event.seq) {
                        row.body.clone_from(body);
                    }
                }
            }
            Change::DocPut {
                kind,
                id,
                version,
                due,
                body,
            } => {
                let doc = Doc {
                    version,
                    body: body.to_vec(),
                    due,
                };
                self.docs.entry(kind).or_default().insert(id.to_vec(), doc);
            }
            Change::DocDelete { kind, id } => {
                self.docs.entry(kind).or_default().remove(id);
            }
            Change::IndexAdd { space, key, id } => {
                self.lookup.entry(space).or_default().insert((*key, *id));
            }
            Change::IndexRemove { space, key, id } => {
                self.lookup.entry(space).or_default().remove(&(*key, *id));
            }
            Change::IndexClear { id } => {
                for entries in self.lookup.values_mut() {
                    entries.retain(|(_, found)| found != id);
                }
            }
            Change::OutboxAdd(row) => {
                self.outbox.insert(row.id, record(row));
            }
            Change::OutboxLease { id, until } => {
                if let Some(row) = self.outbox.get_mut(id) {
                    row.state = OutboxState::Leased;
                    row.attempts = row.attempts.saturating_add(1);
                    row.due = until;
                }
            }
            Change::OutboxRetry { id, at } => {
                if let Some(row) = self.outbox.get_mut(id) {
                    row.state = OutboxState::Waiting;
                    row.due = at;
                }
            }
            Change::OutboxEnd { id, state } => {
                if let Some(row) = self.outbox.get_mut(id) {
                    row.state = state;
                    row.body = Vec::new();
                }
            }
        }
        Ok(())
    }

    fn forget(&mut self, what: Stale, before: i64, limit: usize) -> Result<usize, Fault> {
        Ok(match what {
            Stale::Commands => forget(&mut self.commands, before, limit, |row| Some(row.at)),
            Stale::Attempts => forget(&mut self.attempts, before, limit, |row| row.until),
            Stale::Once => forget(&mut self.once, before, limit, |row| row.expires),
            Stale::Outbox => forget(&mut self.outbox, before, limit, |row| {
                (!row.state.is_open()).then_some(row.due)
            }),
        })
    }
}

impl Reads for Tables {
    fn events(&mut self, stream: Stream, after: u64) -> Result<Vec<StoredEvent>, Fault> {
        let events = self.streams.get(&stream).into_iter().flatten();
        Ok(events.filter(|event| event.n > after).cloned().collect())
    }

    fn log(&mut self, after: u64, limit: usize) -> Result<Vec<LogRow>, Fault> {
        // Sequence numbers begin at 1 and have no gaps, so that `after` rows are to be skipped.
        let skip = usize::try_from(after).unwrap_or(usize::MAX);
        Ok(self.log.iter().skip(skip).take(limit).cloned().collect())
    }

    fn doc(&mut self, kind: &str, id: &[u8]) -> Result<Option<Doc>, Fault> {
        Ok(self.docs.get(kind).and_then(|docs| docs.get(id)).cloned())
    }

    fn docs(&mut self, kind: &str, from: &[u8], limit: usize) -> Result<DocPage, Fault> {
        let docs = self
            .docs
            .get(kind)
            .into_iter()
            .flat_map(|docs| docs.range(from.to_vec()..));
        Ok(docs
            .take(limit)
            .map(|(id, doc)| (id.clone(), doc.clone()))
            .collect())
    }

    fn docs_due(&mut self, kind: &str, before: i64, limit: usize) -> Result<DocPage, Fault> {
        let Some(docs) = self.docs.get(kind) else {
            return Ok(Vec::new());
        };
        let due = docs.iter().filter_map(|(id, doc)| Some((doc.due?, id)));
        let due = earliest(due.filter(|(due, _)| *due <= before), limit);
        Ok(due
            .into_iter()
            .filter_map(|id| Some((id.clone(), docs.get(id)?.clone())))
            .collect())
    }

    fn find(&mut self, space: &str, keys: &[Id], limit: usize) -> Result<Vec<Id>, Fault> {
        let entries = self.lookup.get(space).into_iter().flatten();
        let found: BTreeSet<Id> = entries
            .filter(|(key, _)| keys.contains(key))
            .map(|(_, id)| *id)
            .collect();
        Ok(found.into_iter().take(limit).collect())
    }

    fn outbox(&mut self, id: &Id) -> Result<Option<OutboxRecord>, Fault> {
        Ok(self.outbox.get(id).cloned())
    }

    fn attempts(&mut self, key: &str) -> Result<Attempts, Fault> {
        let row = self.attempts.get(key);
        Ok(row.map_or_else(Attempts::default, |row| Attempts {
            count: row.count,
            until: row.until,
        }))
    }

    fn replied(&mut self, command: &str) -> Result<Option<Vec<u8>>, Fault> {
        self.reply(command)
    }

    fn stepped(&mut self, key: &str) -> Result<Option<u64>, Fault> {
        self.step(key)
    }

    fn count(&mut self, stream: Stream) -> Result<u64, Fault> {
        self.length(stream)
    }

    fn last(&mut self) -> Result<u64, Fault> {
        Ok(self.head())
    }

    fn touch(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

fn item(id: Id, row: &OutboxRecord) -> OutboxItem {
    OutboxItem {
        id,
        topic: row.topic.clone(),
        owner: row.owner,
        body: row.body.clone(),
        attempts: row.attempts,
        interrupted: row.state == OutboxState::Leased,
    }
}

fn record(row: &OutboxRow) -> OutboxRecord {
    OutboxRecord {
        topic: row.topic.to_owned(),
        owner: row.owner,
        body: row.body.clone(),
        state: OutboxState::Waiting,
        attempts: 0,
        due: row.due,
    }
}

/// The keys of the earliest rows, those of the same time in the order of their keys.
fn earliest<K: Ord>(rows: impl Iterator<Item = (i64, K)>, limit: usize) -> Vec<K> {
    let mut rows: Vec<(i64, K)> = rows.collect();
    rows.sort_unstable();
    rows.into_iter().take(limit).map(|(_, key)| key).collect()
}

fn forget<K: Ord + Clone, V>(
    table: &mut BTreeMap<K, V>,
    before: i64,
    limit: usize,
    age: impl Fn(&V) -> Option<i64>,
) -> usize {
    let old = table
        .iter()
        .filter_map(|(key, row)| Some((age(row)?, key.clone())));
    let old = earliest(old.filter(|(at, _)| *at < before), limit);
    for key in &old {
        table.remove(key);
    }
    old.len()
}
