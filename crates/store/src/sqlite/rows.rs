//! The statements, prepared once per connection, and what they make of rows.

use rusqlite::{Connection, OptionalExtension, Row, Statement};

use crate::commit::{Id, Redaction, Stream};
use crate::error::Fault;
use crate::read::{Attempts, Doc, LogRow, OutboxItem, OutboxRecord, OutboxState, StoredEvent};
use crate::rows::{
    AttemptRow, Change, DocPage, OnceRow, Reads, Rows, Stale, signed, unsigned,
};
use crate::sql::{self, SQLITE};

macro_rules! statements {
    ($name:ident { $($field:ident: $sql:ident,)* }) => {
        struct $name<'c> { $($field: Statement<'c>,)* }

        impl<'c> $name<'c> {
            fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
                Ok(Self { $($field: conn.prepare(&SQLITE.statement(sql::$sql))?,)* })
            }
        }
    };
}

statements!(Writing {
    meta_get: META_GET,
    meta_put: META_PUT,
    command_get: COMMAND_GET,
    command_add: COMMAND_ADD,
    command_forget: COMMAND_FORGET,
    attempt_get: ATTEMPT_GET,
    attempt_put: ATTEMPT_PUT,
    attempt_clear: ATTEMPT_CLEAR,
    attempt_forget: ATTEMPT_FORGET,
    step_get: STEP_GET,
    step_put: STEP_PUT,
    once_get: ONCE_GET,
    once_put: ONCE_PUT,
    once_forget: ONCE_FORGET,
    stream_length: STREAM_LENGTH,
    event_add: EVENT_ADD,
    event_redact: EVENT_REDACT,
    doc_version: DOC_VERSION,
    doc_put: DOC_PUT,
    doc_delete: DOC_DELETE,
    lookup_add: LOOKUP_ADD,
    lookup_remove: LOOKUP_REMOVE,
    lookup_clear: LOOKUP_CLEAR,
    outbox_state: OUTBOX_STATE,
    outbox_add: OUTBOX_ADD,
    outbox_ready: OUTBOX_READY,
    outbox_lease: OUTBOX_LEASE,
    outbox_retry: OUTBOX_RETRY,
    outbox_end: OUTBOX_END,
    outbox_forget: OUTBOX_FORGET,
});

statements!(Reading {
    meta_get: META_GET,
    attempt_get: ATTEMPT_GET,
    command_get: COMMAND_GET,
    step_get: STEP_GET,
    stream_length: STREAM_LENGTH,
    stream_events: STREAM_EVENTS,
    log: LOG,
    doc_get: DOC_GET,
    doc_page: DOC_PAGE,
    doc_due: DOC_DUE,
    lookup_find: LOOKUP_FIND,
    outbox_get: OUTBOX_GET,
});

pub(super) struct Writer<'c> {
    run: Writing<'c>,
    head: u64,
    /// What the database has for `head`.
    saved: u64,
}

impl<'c> Writer<'c> {
    pub(super) fn prepare(conn: &'c Connection) -> Result<Self, Fault> {
        Ok(Self {
            run: Writing::prepare(conn)?,
            head: 0,
            saved: 0,
        })
    }

    /// At the beginning of each transaction: another process may have written. False: it has moved the
    /// record away.
    pub(super) fn load_head(&mut self) -> Result<bool, Fault> {
        self.head = self
            .run
            .meta_get
            .query_row([sql::HEAD], |row| number(row, 0))?;
        self.saved = self.head;
        let moved = self.run.meta_get.query_row([sql::MOVED], |_| Ok(()));
        Ok(moved.optional()?.is_none())
    }

    /// At the end of each transaction: once for a batch, not once for an event.
    pub(super) fn save_head(&mut self) -> Result<(), Fault> {
        if self.head != self.saved {
            self.run.meta_put.execute((sql::HEAD, signed(self.head)))?;
        }
        Ok(())
    }

    pub(super) fn set_head(&mut self, head: u64) {
        self.head = head;
    }
}

impl Rows for Writer<'_> {
    fn head(&self) -> u64 {
        self.head
    }

    fn mark(&mut self, value: i64) -> Result<(), Fault> {
        self.run.meta_put.execute((sql::CHECKED, value))?;
        Ok(())
    }

    fn reply(&mut self, command: &str) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self
            .run
            .command_get
            .query_row([command], |row| row.get(1))
            .optional()?)
    }

    fn attempt(&mut self, key: &str) -> Result<Option<AttemptRow>, Fault> {
        Ok(self.run.attempt_get.query_row([key], attempt).optional()?)
    }

    fn step(&mut self, key: &str) -> Result<Option<u64>, Fault> {
        Ok(self
            .run
            .step_get
            .query_row([key], |row| number(row, 1))
            .optional()?)
    }

    fn once(&mut self, key: &str) -> Result<Option<OnceRow>, Fault> {
        let row = self.run.once_get.query_row([key], |row| {
            Ok(OnceRow {
                expires: row.get(1)?,
            })
        });
        Ok(row.optional()?)
    }

    fn length(&mut self, stream: Stream) -> Result<u64, Fault> {
        let last: Option<i64> = self
            .run
            .stream_length
            .query_row((stream.kind, stream.id.as_slice()), |row| row.get(2))?;
        Ok(last.map_or(0, unsigned))
    }

    fn version(&mut self, kind: &str, id: &[u8]) -> Result<Option<u64>, Fault> {
        Ok(self
            .run
            .doc_version
            .query_row((kind, id), |row| number(row, 2))
            .optional()?)
    }

    fn outbox_state(&mut self, id: &Id) -> Result<Option<OutboxState>, Fault> {
        Ok(self
            .run
            .outbox_state
            .query_row([id.as_slice()], |row| state(row, 1))
            .optional()?)
    }

    fn outbox_ready(&mut self, now: i64, limit: usize) -> Result<Vec<OutboxItem>, Fault> {
        let ready = self.run.outbox_ready.query_map((now, rows(limit)), |row| {
            Ok(OutboxItem {
                id: row.get(0)?,
                topic: row.get(1)?,
                owner: row.get(2)?,
                body: row.get(3)?,
                interrupted: state(row, 4)? == OutboxState::Leased,
                attempts: small(row, 5)?,
            })
        })?;
        Ok(ready.collect::<Result<_, _>>()?)
    }

    fn apply(&mut self, change: &Change<'_>) -> Result<(), Fault> {
        let run = &mut self.run;
        match *change {
            Change::Command { id, at, reply } => run.command_add.execute((id, at, reply))?,
            Change::Attempt {
                key,
                row: Some(row),
            } => run
                .attempt_put
                .execute((key, row.count, row.since, row.until))?,
            Change::Attempt { key, row: None } => run.attempt_clear.execute([key])?,
            Change::Step { key, value } => run.step_put.execute((key, signed(value)))?,
            Change::Once { key, row } => run.once_put.execute((key, row.expires))?,
            Change::Event {
                seq,
                stream,
                n,
                event,
            } => {
                let (kind, id) = (stream.kind, stream.id.as_slice());
                let row = (
                    signed(seq),
                    kind,
                    id,
                    signed(n),
                    event.at,
                    event.body.as_str(),
                );
                let added = run.event_add.execute(row)?;
                self.head = seq;
                added
            }
            Change::Redact(redaction) => {
                let Redaction { stream, n, body } = redaction;
                let (kind, id) = (stream.kind, stream.id.as_slice());
                run.event_redact.execute((kind, id, signed(*n), body.as_str()))?
            }
            Change::DocPut {
                kind,
                id,
                version,
                due,
                body,
            } => run
                .doc_put
                .execute((kind, id, signed(version), due, body))?,
            Change::DocDelete { kind, id } => run.doc_delete.execute((kind, id))?,
            Change::IndexAdd { space, key, id } => {
                run.lookup_add
                    .execute((space, key.as_slice(), id.as_slice()))?
            }
            Change::IndexRemove { space, key, id } => {
                run.lookup_remove
                    .execute((space, key.as_slice(), id.as_slice()))?
            }
            Change::IndexClear { id } => run.lookup_clear.execute([id.as_slice()])?,
            Change::OutboxAdd(row) => {
                let (id, owner) = (row.id.as_slice(), row.owner.as_slice());
                run.outbox_add
                    .execute((id, row.topic, owner, row.body.as_slice(), row.due))?
            }
            Change::OutboxLease { id, until } => {
                run.outbox_lease.execute((id.as_slice(), until))?
            }
            Change::OutboxRetry { id, at } => run.outbox_retry.execute((id.as_slice(), at))?,
            Change::OutboxEnd { id, state } => {
                let wiped: &[u8] = &[];
                run.outbox_end
                    .execute((id.as_slice(), state.number(), wiped))?
            }
        };
        Ok(())
    }

    fn forget(&mut self, what: Stale, before: i64, limit: usize) -> Result<usize, Fault> {
        let statement = match what {
            Stale::Commands => &mut self.run.command_forget,
            Stale::Attempts => &mut self.run.attempt_forget,
            Stale::Once => &mut self.run.once_forget,
            Stale::Outbox => &mut self.run.outbox_forget,
        };
        Ok(statement.execute((before, rows(limit)))?)
    }
}

pub(super) struct Reader<'c> {
    conn: &'c Connection,
    run: Reading<'c>,
}

impl<'c> Reader<'c> {
    pub(super) fn prepare(conn: &'c Connection) -> Result<Self, Fault> {
        Ok(Self {
            conn,
            run: Reading::prepare(conn)?,
        })
    }
}

impl Reads for Reader<'_> {
    fn events(&mut self, stream: Stream, after: u64) -> Result<Vec<StoredEvent>, Fault> {
        let key = (stream.kind, stream.id.as_slice(), signed(after));
        let events = self.run.stream_events.query_map(key, |row| {
            Ok(StoredEvent {
                seq: number(row, 0)?,
                n: number(row, 1)?,
                at: row.get(2)?,
                body: row.get(3)?,
            })
        })?;
        Ok(events.collect::<Result<_, _>>()?)
    }

    fn log(&mut self, after: u64, limit: usize) -> Result<Vec<LogRow>, Fault> {
        let log = self
            .run
            .log
            .query_map((signed(after), rows(limit)), |row| {
                Ok(LogRow {
                    seq: number(row, 0)?,
                    stream_kind: row.get(1)?,
                    stream_id: row.get(2)?,
                    n: number(row, 3)?,
                    at: row.get(4)?,
                    body: row.get(5)?,
                })
            })?;
        Ok(log.collect::<Result<_, _>>()?)
    }

    fn doc(&mut self, kind: &str, id: &[u8]) -> Result<Option<Doc>, Fault> {
        Ok(self
            .run
            .doc_get
            .query_row((kind, id), |row| doc(row, 0))
            .optional()?)
    }

    fn docs(&mut self, kind: &str, from: &[u8], limit: usize) -> Result<DocPage, Fault> {
        let page = self
            .run
            .doc_page
            .query_map((kind, from, rows(limit)), doc_with_id)?;
        Ok(page.collect::<Result<_, _>>()?)
    }

    fn docs_due(&mut self, kind: &str, before: i64, limit: usize) -> Result<DocPage, Fault> {
        let page = self
            .run
            .doc_due
            .query_map((kind, before, rows(limit)), doc_with_id)?;
        Ok(page.collect::<Result<_, _>>()?)
    }

    fn find(&mut self, space: &str, keys: &[Id], limit: usize) -> Result<Vec<Id>, Fault> {
        // Rolled back when dropped, which ends a read as well as a commit does.
        let snapshot = match keys {
            [] | [_] => None,
            _ => Some(self.conn.unchecked_transaction()?),
        };
        let mut found: Vec<Id> = Vec::new();
        for key in keys {
            let lookup = (key.as_slice(), space, rows(limit));
            for id in self.run.lookup_find.query_map(lookup, |row| row.get(0))? {
                found.push(id?);
            }
        }
        drop(snapshot);
        found.sort_unstable();
        found.dedup();
        found.truncate(limit);
        Ok(found)
    }

    fn outbox(&mut self, id: &Id) -> Result<Option<OutboxRecord>, Fault> {
        let record = self.run.outbox_get.query_row([id.as_slice()], |row| {
            Ok(OutboxRecord {
                topic: row.get(0)?,
                owner: row.get(1)?,
                body: row.get(2)?,
                state: state(row, 3)?,
                attempts: small(row, 4)?,
                due: row.get(5)?,
            })
        });
        Ok(record.optional()?)
    }

    fn attempts(&mut self, key: &str) -> Result<Attempts, Fault> {
        let row = self.run.attempt_get.query_row([key], attempt).optional()?;
        Ok(row.map_or_else(Attempts::default, |row| Attempts {
            count: row.count,
            until: row.until,
        }))
    }

    fn replied(&mut self, command: &str) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self
            .run
            .command_get
            .query_row([command], |row| row.get(1))
            .optional()?)
    }

    fn stepped(&mut self, key: &str) -> Result<Option<u64>, Fault> {
        Ok(self
            .run
            .step_get
            .query_row([key], |row| number(row, 1))
            .optional()?)
    }

    fn count(&mut self, stream: Stream) -> Result<u64, Fault> {
        let last: Option<i64> = self
            .run
            .stream_length
            .query_row((stream.kind, stream.id.as_slice()), |row| row.get(2))?;
        Ok(last.map_or(0, unsigned))
    }

    fn last(&mut self) -> Result<u64, Fault> {
        let meta = &mut self.run.meta_get;
        Ok(meta.query_row([sql::HEAD], |row| number(row, 0))?)
    }

    fn touch(&mut self) -> Result<(), Fault> {
        self.run.meta_get.query_row([sql::SCHEMA], |_| Ok(()))?;
        Ok(())
    }
}

fn attempt(row: &Row<'_>) -> rusqlite::Result<AttemptRow> {
    Ok(AttemptRow {
        count: small(row, 1)?,
        since: row.get(2)?,
        until: row.get(3)?,
    })
}

fn doc(row: &Row<'_>, first: usize) -> rusqlite::Result<Doc> {
    let version = number(row, first)?;
    Ok(Doc {
        version,
        due: row.get(first + 1)?,
        body: row.get(first + 2)?,
    })
}

fn doc_with_id(row: &Row<'_>) -> rusqlite::Result<(Vec<u8>, Doc)> {
    Ok((row.get(0)?, doc(row, 1)?))
}

fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<OutboxState> {
    row.get(column).map(OutboxState::of)
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(unsigned)
}

fn small(row: &Row<'_>, column: usize) -> rusqlite::Result<u32> {
    row.get(column)
}

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
