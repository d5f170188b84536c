//! Moves a record from a SQLite file into a schema of PostgreSQL, and proves that it arrived.
//!
//! Three marks see to it that no record is served twice or half: the new one is `filling` until it is
//! whole, the old one is `moved` before the new one is let go. Whatever dies in between, neither is
//! served, and the same command goes on. A server that still runs on the old file takes no commit any
//! more from the moment it is marked.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::Value;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use crate::error::OpenError;
use crate::postgres::{Server, fill};
use crate::sql::{COMPATIBLE, FILLING, HEAD, META_CLEAR, META_PUT, MOVED, POSTGRES, RELEASE, SQLITE};
use crate::sqlite::source;

/// Rows at a time.
const PAGE: usize = 2_000;

#[derive(Clone, Copy)]
enum Of {
    Text,
    Number,
    Bytes,
}

struct Table {
    name: &'static str,
    columns: &'static [(&'static str, Of)],
    key: &'static str,
}

/// `event` first: it only grows, so that most of it can be brought over while a server runs.
const TABLES: &[Table] = &[
    Table {
        name: "event",
        columns: &[
            ("seq", Of::Number),
            ("kind", Of::Text),
            ("stream", Of::Bytes),
            ("n", Of::Number),
            ("at", Of::Number),
            ("body", Of::Text),
        ],
        key: "seq",
    },
    Table {
        name: "command",
        columns: &[("id", Of::Text), ("at", Of::Number), ("reply", Of::Bytes)],
        key: "id",
    },
    Table {
        name: "attempt",
        columns: &[
            ("key", Of::Text),
            ("count", Of::Number),
            ("since", Of::Number),
            ("until", Of::Number),
        ],
        key: "key",
    },
    Table {
        name: "step",
        columns: &[("key", Of::Text), ("value", Of::Number)],
        key: "key",
    },
    Table {
        name: "once",
        columns: &[("key", Of::Text), ("expires", Of::Number)],
        key: "key",
    },
    Table {
        name: "doc",
        columns: &[
            ("kind", Of::Text),
            ("id", Of::Bytes),
            ("version", Of::Number),
            ("due", Of::Number),
            ("body", Of::Bytes),
        ],
        key: "kind, id",
    },
    Table {
        name: "lookup",
        columns: &[("space", Of::Text), ("key", Of::Bytes), ("id", Of::Bytes)],
        key: "space, key, id",
    },
    Table {
        name: "outbox",
        columns: &[
            ("id", Of::Bytes),
            ("topic", Of::Text),
            ("owner", Of::Bytes),
            ("body", Of::Bytes),
            ("state", Of::Number),
            ("attempts", Of::Number),
            ("due", Of::Number),
        ],
        key: "id",
    },
];

/// What a move did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Rows that arrived and are the same on both sides, by table.
    pub rows: Vec<(&'static str, u64)>,
    /// The new record is the one to serve; without, it is filled only as far as it can be while a
    /// server runs.
    pub finished: bool,
}

/// Why a move did not come about. Nothing is lost: the old record is as it was, or marked as moved and
/// still whole.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// One of the two cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The old record.
    #[error("{}: {why}", path.display())]
    From {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The new record.
    #[error("{server}: {why}")]
    To {
        /// The server.
        server: String,
        /// Why.
        why: String,
    },
    /// What arrived is not what was sent.
    #[error("the table {table} is not the same on both sides: empty the schema and move again")]
    Differs {
        /// Which.
        table: &'static str,
    },
}

/// Moves everything. Without `finish` only the log is brought over, as far as it goes now, and a server
/// may go on meanwhile. With `finish` the old record takes no commit until the end, and none after it.
/// `progress` is told what is done: a word, rows, and of how many.
///
/// # Errors
/// See [`MoveError`]; the same command goes on.
pub async fn transfer(
    from: &Path,
    to: &Server,
    finish: bool,
    progress: impl FnMut(&str, u64, u64) + Send + 'static,
) -> Result<Moved, MoveError> {
    let (from, to) = (from.to_owned(), to.clone());
    let (client, ends) = fill(&to).await?;
    let handle = Handle::current();
    let moved = tokio::task::spawn_blocking(move || {
        let mut work = Work {
            from: source(&from)?,
            path: from,
            to: client,
            server: to.name(),
            handle,
            progress: Box::new(progress),
        };
        work.run(finish)
    });
    let moved = moved.await.unwrap_or_else(|_| {
        Err(MoveError::To {
            server: "the move".to_owned(),
            why: "it died".to_owned(),
        })
    });
    drop(ends);
    moved
}

type Column = Box<dyn ToSql + Sync + Send>;
type Progress = Box<dyn FnMut(&str, u64, u64) + Send>;

struct Work {
    from: Connection,
    path: PathBuf,
    to: Client,
    server: String,
    handle: Handle,
    progress: Progress,
}

impl Work {
    fn run(&mut self, finish: bool) -> Result<Moved, MoveError> {
        let events = TABLES.first().map(|table| self.events(table)).transpose()?;
        if !finish {
            let rows = events.map(|count| ("event", count)).into_iter().collect();
            return Ok(Moved {
                rows,
                finished: false,
            });
        }
        // From here on the old record stands still.
        self.sqlite("BEGIN IMMEDIATE")?;
        let moved = self.finish();
        if moved.is_err() {
            // A transaction that has ended is as good.
            let _ = self.from.execute_batch("ROLLBACK");
        }
        moved
    }

    fn finish(&mut self) -> Result<Moved, MoveError> {
        self.postgres("BEGIN")?;
        let mut rows = Vec::new();
        for (place, table) in TABLES.iter().enumerate() {
            if place == 0 {
                self.events(table)?;
            } else {
                self.postgres(&format!("TRUNCATE {}", table.name))?;
                self.copy(table, "", &[])?;
            }
        }
        for table in TABLES {
            let (count, ours) = self.digest_of_file(table)?;
            let (arrived, theirs) = self.digest_of_server(table)?;
            if (count, ours) != (arrived, theirs) {
                return Err(MoveError::Differs { table: table.name });
            }
            rows.push((table.name, count));
        }
        let head: i64 = self
            .from
            .query_row("SELECT value FROM meta WHERE name = $1", [HEAD], |row| {
                row.get(0)
            })
            .map_err(|error| self.in_file(&error))?;
        let put = POSTGRES.statement(META_PUT);
        for (name, value) in [(HEAD, head), (COMPATIBLE, RELEASE.oldest)] {
            self.ask(&put, &[&name, &value])?;
        }
        self.postgres("COMMIT")?;
        // The old one is let go before the new one is taken: never two.
        self.from
            .execute(&SQLITE.statement(META_PUT), (MOVED, 1))
            .map_err(|error| self.in_file(&error))?;
        self.sqlite("COMMIT")?;
        self.ask(&POSTGRES.statement(META_CLEAR), &[&FILLING])?;
        Ok(Moved {
            rows,
            finished: true,
        })
    }

    /// Brings over the events that are not there yet; returns how many there are now.
    fn events(&mut self, table: &Table) -> Result<u64, MoveError> {
        let there = self.ask("SELECT COALESCE(MAX(seq), 0) FROM event", &[])?;
        let there: i64 = there.first().map_or(0, |row| row.get(0));
        self.copy(table, "WHERE seq > ?1", &[&there])
    }

    fn copy(
        &mut self,
        table: &Table,
        filter: &str,
        parameters: &[&dyn rusqlite::ToSql],
    ) -> Result<u64, MoveError> {
        let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        let (name, key) = (table.name, table.key);
        let path = self.path.clone();
        let failed = |error: rusqlite::Error| MoveError::From {
            path: path.clone(),
            why: error.to_string(),
        };
        let total: i64 = self
            .from
            .query_row(&format!("SELECT COUNT(*) FROM {name}"), [], |row| row.get(0))
            .map_err(failed)?;
        let total = total.unsigned_abs();
        let arrays: Vec<String> = table
            .columns
            .iter()
            .enumerate()
            .map(|(place, (_, of))| {
                let of = match of {
                    Of::Text => "text",
                    Of::Number => "bigint",
                    Of::Bytes => "bytea",
                };
                format!("${}::{of}[]", place + 1)
            })
            .collect();
        let insert = format!(
            "INSERT INTO {name} ({names}) SELECT * FROM unnest({})",
            arrays.join(", ")
        );
        let Self {
            from,
            to,
            handle,
            server,
            progress,
            ..
        } = self;
        let select = format!("SELECT {names} FROM {name} {filter} ORDER BY {key}");
        let mut statement = from.prepare(&select).map_err(failed)?;
        let mut rows = statement.query(parameters).map_err(failed)?;
        let mut page: Vec<Vec<Value>> = vec![Vec::new(); table.columns.len()];
        let mut done = 0;
        loop {
            let row = rows.next().map_err(failed)?;
            if let Some(row) = row {
                for (place, column) in page.iter_mut().enumerate() {
                    column.push(row.get(place).map_err(failed)?);
                }
            }
            let count = page.first().map_or(0, Vec::len);
            if count == PAGE || (row.is_none() && count > 0) {
                let columns: Vec<Column> = page
                    .iter_mut()
                    .zip(table.columns)
                    .map(|(column, (_, of))| array(std::mem::take(column), *of))
                    .collect();
                let columns: Vec<&(dyn ToSql + Sync)> =
                    columns.iter().map(|column| &**column as &(dyn ToSql + Sync)).collect();
                let sent = handle.block_on(to.execute(&insert, &columns));
                sent.map_err(|error| MoveError::To {
                    server: server.clone(),
                    why: crate::postgres::describe(&error),
                })?;
                done += count as u64;
                progress(name, done, total.max(done));
            }
            if row.is_none() {
                return Ok(total);
            }
        }
    }

    fn digest_of_file(&self, table: &Table) -> Result<(u64, [u8; 32]), MoveError> {
        let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
        let select = format!(
            "SELECT {} FROM {} ORDER BY {}",
            names.join(", "),
            table.name,
            table.key
        );
        let failed = |error: rusqlite::Error| self.in_file(&error);
        let mut statement = self.from.prepare(&select).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        let (mut digest, mut count) = (Sha256::new(), 0);
        while let Some(row) = rows.next().map_err(failed)? {
            for place in 0..names.len() {
                match row.get(place).map_err(failed)? {
                    Value::Null => add(&mut digest, 0, &[]),
                    Value::Integer(number) => add(&mut digest, 1, &number.to_be_bytes()),
                    Value::Text(text) => add(&mut digest, 2, text.as_bytes()),
                    Value::Blob(bytes) => add(&mut digest, 3, &bytes),
                    Value::Real(_) => add(&mut digest, 4, &[]),
                }
            }
            count += 1;
        }
        Ok((count, digest.finalize().into()))
    }

    fn digest_of_server(&mut self, table: &Table) -> Result<(u64, [u8; 32]), MoveError> {
        let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
        let select = format!(
            "DECLARE arrived NO SCROLL CURSOR FOR SELECT {} FROM {} ORDER BY {}",
            names.join(", "),
            table.name,
            table.key
        );
        self.postgres(&select)?;
        let (mut digest, mut count) = (Sha256::new(), 0);
        loop {
            let rows = self.ask(&format!("FETCH {PAGE} FROM arrived"), &[])?;
            if rows.is_empty() {
                break;
            }
            for row in &rows {
                for (place, (_, of)) in table.columns.iter().enumerate() {
                    match of {
                        Of::Number => match row.get::<_, Option<i64>>(place) {
                            Some(number) => add(&mut digest, 1, &number.to_be_bytes()),
                            None => add(&mut digest, 0, &[]),
                        },
                        Of::Text => match row.get::<_, Option<&str>>(place) {
                            Some(text) => add(&mut digest, 2, text.as_bytes()),
                            None => add(&mut digest, 0, &[]),
                        },
                        Of::Bytes => match row.get::<_, Option<&[u8]>>(place) {
                            Some(bytes) => add(&mut digest, 3, bytes),
                            None => add(&mut digest, 0, &[]),
                        },
                    }
                }
            }
            count += rows.len() as u64;
            (self.progress)("verified", count, count);
        }
        self.postgres("CLOSE arrived")?;
        Ok((count, digest.finalize().into()))
    }

    fn sqlite(&self, sql: &str) -> Result<(), MoveError> {
        self.from
            .execute_batch(sql)
            .map_err(|error| self.in_file(&error))
    }

    fn in_file(&self, error: &rusqlite::Error) -> MoveError {
        MoveError::From {
            path: self.path.clone(),
            why: error.to_string(),
        }
    }

    fn in_server(&self, error: &tokio_postgres::Error) -> MoveError {
        MoveError::To {
            server: self.server.clone(),
            why: crate::postgres::describe(error),
        }
    }

    fn postgres(&self, sql: &str) -> Result<(), MoveError> {
        self.handle
            .block_on(self.to.batch_execute(sql))
            .map_err(|error| self.in_server(&error))
    }

    fn ask(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, MoveError> {
        self.handle
            .block_on(self.to.query(sql, parameters))
            .map_err(|error| self.in_server(&error))
    }
}

/// Each value with its sort and length before it: no two rows are written the same way.
fn add(digest: &mut Sha256, sort: u8, bytes: &[u8]) {
    digest.update([sort]);
    digest.update((bytes.len() as u64).to_be_bytes());
    digest.update(bytes);
}

fn array(column: Vec<Value>, of: Of) -> Column {
    match of {
        Of::Number => {
            let number = |value| match value {
                Value::Integer(number) => Some(number),
                _ => None,
            };
            Box::new(column.into_iter().map(number).collect::<Vec<Option<i64>>>())
        }
        Of::Text => {
            let text = |value| match value {
                Value::Text(text) => Some(text),
                _ => None,
            };
            Box::new(column.into_iter().map(text).collect::<Vec<Option<String>>>())
        }
        Of::Bytes => {
            let bytes = |value| match value {
                Value::Blob(bytes) => Some(bytes),
                _ => None,
            };
            Box::new(column.into_iter().map(bytes).collect::<Vec<Option<Vec<u8>>>>())
        }
    }
}
