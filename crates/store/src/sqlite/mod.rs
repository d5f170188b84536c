//! The store in a SQLite file: one writer thread, a few reader threads, and queues before them.

mod copy;
mod crew;
mod open;
mod reader;
mod rows;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};

use tokio::sync::oneshot;

use crate::error::{BackupError, Fault, OpenError, ReadError, WriteError};
use crate::job::{Job, Pending};
use crate::queue::Refused;
use crate::rows::{Reads, Rows};
use crew::Crew;
use reader::Question;

/// How a database is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many jobs may wait for the writer, and how many for the readers. One more: busy.
    pub queue: usize,
    /// How many jobs share a transaction at most.
    pub batch: usize,
    /// How many threads read.
    pub readers: usize,
    /// Whether a commit survives the loss of power, not only the end of the process.
    pub durable: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queue: 4096,
            batch: 512,
            readers: 4,
            durable: true,
        }
    }
}

/// A record to be moved elsewhere, which may have been marked as moved already.
pub(crate) fn source(path: &Path) -> Result<rusqlite::Connection, OpenError> {
    open::source(path)
}

pub(crate) struct Sqlite {
    path: PathBuf,
    // Dropped in this order: the last connection to close should be the writer's, which can tidy up.
    readers: Crew<Question>,
    writer: Crew<Box<dyn Job>>,
}

impl Sqlite {
    pub(crate) fn open(path: &Path, options: &Options) -> Result<Self, OpenError> {
        let path = open::prepare(path)?;
        let failed = |Fault(reason)| OpenError::Failed {
            path: path.clone(),
            reason,
        };
        let Options {
            queue,
            batch,
            readers,
            durable,
        } = *options;

        let file = path.clone();
        let writer = Crew::start("store-writer", 1, queue, move |queue, ready| {
            writer::run(&file, durable, batch.max(1), queue, ready)
        })
        .map_err(failed)?;

        let file = path.clone();
        let readers = Crew::start(
            "store-reader",
            readers.max(1),
            queue,
            move |queue, ready| reader::run(&file, queue, ready),
        )
        .map_err(failed)?;

        Ok(Self {
            path,
            readers,
            writer,
        })
    }

    /// Runs in the writer's transaction; answers when it is durable. The work may be run twice, the
    /// first time rolled back.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut dyn Rows) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, WriteError> {
        let (answer, answered) = oneshot::channel();
        self.writer
            .queue
            .push(Box::new(Pending::new(work, answer)))
            .map_err(|why| match why {
                Refused::Full => WriteError::Busy,
                Refused::Closed => WriteError::Closed,
            })?;
        answered
            .await
            .unwrap_or_else(|_| Err(WriteError::Unknown("the writer has died".into())))
    }

    pub(crate) async fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut dyn Reads) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (answer, answered) = oneshot::channel();
        let question: Question = Box::new(move |rows| {
            // Nobody waits any more: not an error.
            let _ = answer.send(ask(rows));
        });
        self.readers.queue.push(question).map_err(|why| match why {
            Refused::Full => ReadError::Busy,
            Refused::Closed => ReadError::Closed,
        })?;
        let answer = answered
            .await
            .map_err(|_| ReadError::Failed("the reader has died".into()))?;
        Ok(answer?)
    }

    pub(crate) async fn backup(&self, to: &Path) -> Result<(), BackupError> {
        if !self.writer.queue.is_open() {
            return Err(BackupError::Closed);
        }
        let (from, to) = (self.path.clone(), to.to_owned());
        aside("store-backup", move || copy::backup(&from, &to))
            .await
            .unwrap_or_else(|Fault(why)| Err(BackupError::Failed(why)))
    }

    pub(crate) async fn verify(&self) -> Result<(), ReadError> {
        if !self.writer.queue.is_open() {
            return Err(ReadError::Closed);
        }
        let path = self.path.clone();
        aside("store-verify", move || copy::verify(&path)).await?
    }

    pub(crate) fn queued(&self) -> usize {
        self.writer.queue.len()
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Runs on a thread of its own what takes long and must not hold up the readers.
async fn aside<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    let (answer, answered) = oneshot::channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _ = answer.send(work());
        })
        .map_err(|error| Fault(format!("no thread for it: {error}")))?;
    answered
        .await
        .map_err(|_| Fault(format!("{name} has died")))
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}
