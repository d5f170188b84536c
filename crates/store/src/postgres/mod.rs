//! The store in a schema of PostgreSQL, which several processes share.
//!
//! - **One writer at a time.** Whoever wants to write locks the row of the head (`link`, `writer`). So
//!   the judging is the same as on SQLite, and events are numbered without gaps, in the order in which
//!   they become visible.
//! - **A group at a time, in one round trip.** A node puts what is queued into one transaction. All rows
//!   that the group will be judged by can be told from it beforehand (`wanted`), and what has to stand in
//!   them for it to go through. So it is judged in memory (`sheet`) as if that were so, and sent whole:
//!   the lock, a statement that fails unless it is so, one statement for each table, the commit
//!   (`presume`, `write`). If it is not so, nothing has happened; the rows are fetched (`fetch`), and it
//!   is judged by them.
//! - **Followers.** What changed is told with `NOTIFY`, in the same transaction, as ids only (`follow`).

mod fetch;
mod follow;
mod link;
mod open;
mod presume;
mod server;
mod sheet;
#[cfg(test)]
mod tests;
mod wanted;
mod write;
mod writer;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

pub use server::Server;

pub(crate) use link::describe;

use crate::board::Board;
use crate::commit::{Id, Stream};
use crate::error::{Fault, OpenError, ReadError, WriteError};
use crate::job::Pending;
use crate::read::{Attempts, Doc, LogRow, OutboxRecord, OutboxState, StoredEvent};
use crate::rows::{DocPage, Rows, Wants, signed, unsigned};
use crate::sql::{HEAD, SCHEMA};
use crate::sqlite::Options;
use link::{Link, PATIENCE, Statements};
use fetch::id;
use presume::Known;
use writer::{Task, Writer};

pub(crate) struct Postgres {
    server: Server,
    durable: bool,
    /// `None` once closed.
    queue: Mutex<Option<mpsc::Sender<Task>>>,
    writer: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    readers: Vec<tokio::sync::Mutex<Option<Arc<Link>>>>,
    next: AtomicUsize,
    follower: AbortHandle,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The writer ends by itself, when it has served what is queued.
        self.follower.abort();
    }
}

/// A connection to a schema that is being filled, without time-outs, and what ends it.
pub(crate) async fn fill(server: &Server) -> Result<(tokio_postgres::Client, Ends), OpenError> {
    open::prepare(server, true).await?;
    let failed = |reason| OpenError::Server {
        server: server.name(),
        reason,
    };
    let (client, driver) = link::connect(server, true, |_| {}).await.map_err(failed)?;
    let ends = Ends(driver);
    client
        .batch_execute(
            "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
             SET lock_timeout = 0; SET enable_seqscan = on",
        )
        .await
        .map_err(|error| failed(describe(&error)))?;
    Ok((client, ends))
}

/// Ends a connection when it is dropped.
pub(crate) struct Ends(AbortHandle);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Postgres {
    pub(crate) async fn open(
        server: &Server,
        options: &Options,
        board: Board,
    ) -> Result<Self, OpenError> {
        open::prepare(server, false).await?;
        let Options {
            queue,
            batch,
            readers,
            durable,
        } = *options;
        let link = Link::open(server, durable)
            .await
            .map_err(|reason| OpenError::Server {
                server: server.name(),
                reason,
            })?;
        let (sender, receiver) = mpsc::channel(queue.max(1));
        let writer = Writer {
            server: server.clone(),
            durable,
            batch: batch.max(1),
            link: Some(Arc::new(link)),
            known: Known::default(),
        };
        let follower = tokio::spawn(follow::run(server.clone(), board)).abort_handle();
        Ok(Self {
            server: server.clone(),
            durable,
            queue: Mutex::new(Some(sender)),
            writer: tokio::sync::Mutex::new(Some(tokio::spawn(writer.run(receiver)))),
            readers: (0..readers.max(1)).map(|_| tokio::sync::Mutex::default()).collect(),
            next: AtomicUsize::new(0),
            follower,
        })
    }

    /// Runs inside the writer's transaction; answers when it is durable. The work may be run more
    /// than once, all but the last time without effect.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        wants: Wants,
        work: impl FnMut(&mut dyn Rows) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, WriteError> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(Pending::new(work, answer));
        self.queue()
            .ok_or(WriteError::Closed)?
            .try_send(Task { wants, job })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => WriteError::Busy,
                mpsc::error::TrySendError::Closed(_) => WriteError::Closed,
            })?;
        answered
            .await
            .unwrap_or_else(|_| Err(WriteError::Unknown("the writer has died".into())))
    }

    fn queue(&self) -> Option<mpsc::Sender<Task>> {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue()
            .map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    pub(crate) async fn close(&self) {
        let queue = self
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(queue);
        self.follower.abort();
        if let Some(writer) = self.writer.lock().await.take() {
            // It panicked: then it has said so, and nobody can be answered any more.
            let _ = writer.await;
        }
        for reader in &self.readers {
            *reader.lock().await = None;
        }
    }

    pub(crate) async fn verify(&self) -> Result<(), ReadError> {
        self.queue().ok_or(ReadError::Closed)?;
        match open::verify(&self.server).await {
            Ok(None) => Ok(()),
            Ok(Some(damage)) => Err(ReadError::Damaged(damage)),
            Err(why) => Err(ReadError::Failed(why)),
        }
    }

    /// Asks on one of the connections for reading. What was not answered is asked once more, on a new
    /// connection: the primary may have changed.
    async fn ask(
        &self,
        statement: impl Fn(&Statements) -> &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, ReadError> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.readers.len().max(1);
        let reader = self.readers.get(turn).ok_or(ReadError::Closed)?;
        let mut failure = None;
        for _ in 0..2 {
            if self.queue().is_none() {
                return Err(ReadError::Closed);
            }
            let link = {
                let mut reader = reader.lock().await;
                match reader.as_ref().filter(|link| !link.client.is_closed()) {
                    Some(link) => link.clone(),
                    None => match Link::open(&self.server, self.durable).await {
                        Ok(link) => reader.insert(Arc::new(link)).clone(),
                        Err(why) => {
                            tracing::warn!(why, "the database cannot be read");
                            failure = Some(ReadError::Busy);
                            continue;
                        }
                    },
                }
            };
            match timeout(PATIENCE, link.client.query(statement(&link.run), parameters)).await {
                Ok(Ok(rows)) => return Ok(rows),
                Ok(Err(error)) => {
                    let refused = link::is_refusal(&link, &error);
                    failure = Some(ReadError::Failed(describe(&error)));
                    if refused {
                        break;
                    }
                }
                Err(_) => failure = Some(ReadError::Busy),
            }
            *reader.lock().await = None;
        }
        Err(failure.unwrap_or(ReadError::Busy))
    }

    pub(crate) async fn events(
        &self,
        stream: Stream,
        after: u64,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        let (id, after) = (stream.id.as_slice(), signed(after));
        let rows = self
            .ask(|run| &run.stream_events, &[&stream.kind, &id, &after])
            .await?;
        let event = |row: &Row| StoredEvent {
            seq: unsigned(row.get(0)),
            n: unsigned(row.get(1)),
            at: row.get(2),
            body: row.get(3),
        };
        Ok(rows.iter().map(event).collect())
    }

    pub(crate) async fn log(&self, after: u64, limit: usize) -> Result<Vec<LogRow>, ReadError> {
        let rows = self
            .ask(|run| &run.log, &[&signed(after), &count(limit)])
            .await?;
        let entry = |row: &Row| LogRow {
            seq: unsigned(row.get(0)),
            stream_kind: row.get(1),
            stream_id: id(row.get(2)),
            n: unsigned(row.get(3)),
            at: row.get(4),
            body: row.get(5),
        };
        Ok(rows.iter().map(entry).collect())
    }

    pub(crate) async fn doc(&self, kind: &str, id: &[u8]) -> Result<Option<Doc>, ReadError> {
        let rows = self.ask(|run| &run.doc_get, &[&kind, &id]).await?;
        Ok(rows.first().map(|row| doc(row, 0)))
    }

    pub(crate) async fn docs(
        &self,
        kind: &str,
        from: &[u8],
        limit: usize,
    ) -> Result<DocPage, ReadError> {
        let rows = self
            .ask(|run| &run.doc_page, &[&kind, &from, &count(limit)])
            .await?;
        Ok(rows.iter().map(|row| (row.get(0), doc(row, 1))).collect())
    }

    pub(crate) async fn docs_due(
        &self,
        kind: &str,
        before: i64,
        limit: usize,
    ) -> Result<DocPage, ReadError> {
        let rows = self
            .ask(|run| &run.doc_due, &[&kind, &before, &count(limit)])
            .await?;
        Ok(rows.iter().map(|row| (row.get(0), doc(row, 1))).collect())
    }

    pub(crate) async fn find(
        &self,
        space: &str,
        keys: &[Id],
        limit: usize,
    ) -> Result<Vec<Id>, ReadError> {
        let keys: Vec<&[u8]> = keys.iter().map(Id::as_slice).collect();
        let rows = self
            .ask(|run| &run.lookup_find, &[&keys, &space, &count(limit)])
            .await?;
        Ok(rows.iter().map(|row| id(row.get(0))).collect())
    }

    pub(crate) async fn outbox(&self, id: &Id) -> Result<Option<OutboxRecord>, ReadError> {
        let rows = self.ask(|run| &run.outbox_get, &[&id.as_slice()]).await?;
        Ok(rows.first().map(|row| OutboxRecord {
            topic: row.get(0),
            owner: fetch::id(row.get(1)),
            body: row.get(2),
            state: OutboxState::of(row.get(3)),
            attempts: small(row.get(4)),
            due: row.get(5),
        }))
    }

    pub(crate) async fn attempts(&self, key: &str) -> Result<Attempts, ReadError> {
        let rows = self.ask(|run| &run.attempt_get, &[&vec![key]]).await?;
        Ok(rows.first().map_or_else(Attempts::default, |row| Attempts {
            count: small(row.get(1)),
            until: row.get(3),
        }))
    }

    pub(crate) async fn replied(&self, command: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let rows = self.ask(|run| &run.command_get, &[&vec![command]]).await?;
        Ok(rows.first().map(|row| row.get(1)))
    }

    pub(crate) async fn stepped(&self, key: &str) -> Result<Option<u64>, ReadError> {
        let rows = self.ask(|run| &run.step_get, &[&vec![key]]).await?;
        Ok(rows.first().map(|row| unsigned(row.get(1))))
    }

    pub(crate) async fn count(&self, stream: Stream) -> Result<u64, ReadError> {
        let (kinds, ids) = (vec![stream.kind], vec![stream.id.as_slice()]);
        let rows = self.ask(|run| &run.stream_length, &[&kinds, &ids]).await?;
        let last: Option<i64> = rows.first().and_then(|row| row.get(2));
        Ok(last.map_or(0, unsigned))
    }

    pub(crate) async fn last(&self) -> Result<u64, ReadError> {
        let rows = self.ask(|run| &run.meta_get, &[&HEAD]).await?;
        Ok(rows.first().map_or(0, |row| unsigned(row.get(0))))
    }

    pub(crate) async fn time(&self) -> Result<i64, ReadError> {
        let rows = self.ask(|run| &run.time, &[]).await?;
        Ok(rows.first().ok_or_else(|| ReadError::Failed("the database does not say what time it is".into()))?.get(0))
    }

    pub(crate) async fn touch(&self) -> Result<(), ReadError> {
        self.ask(|run| &run.meta_get, &[&SCHEMA]).await.map(drop)
    }
}

fn doc(row: &Row, first: usize) -> Doc {
    Doc {
        version: unsigned(row.get(first)),
        due: row.get(first + 1),
        body: row.get(first + 2),
    }
}

fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn small(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
