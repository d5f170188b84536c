//! The writer: takes what is queued, puts it into one transaction, and answers when it is on disk.

use std::path::Path;

use rusqlite::{Connection, ErrorCode};
use super::crew::Ready;
use super::open;
use super::rows::Writer;
use crate::error::{Fault, WriteError};
use crate::job::Job;
use crate::queue::Queue;
use crate::rows::Rows;

pub(super) fn run(
    path: &Path,
    durable: bool,
    batch: usize,
    queue: &Queue<Box<dyn Job>>,
    ready: &Ready,
) -> Result<(), Fault> {
    let conn = open::writer(path, durable)?;
    let mut scribe = Scribe {
        conn: &conn,
        rows: Writer::prepare(&conn)?,
    };
    ready.tell();
    let mut jobs = Vec::with_capacity(batch);
    while queue.take(batch, &mut jobs) {
        scribe.serve(&mut jobs);
    }
    Ok(())
}

struct Scribe<'c> {
    conn: &'c Connection,
    rows: Writer<'c>,
}

/// Why a batch did not get through together.
enum Setback {
    /// One of the jobs failed, and all was rolled back.
    Job,
    /// The transaction could not begin or end.
    Transaction(WriteError),
}

impl Scribe<'_> {
    fn serve(&mut self, jobs: &mut Vec<Box<dyn Job>>) {
        let ended = match self.together(jobs) {
            Ok(()) => Ok(Vec::new()),
            // Rare, so that in the usual case nobody pays for savepoints: one bad job must not take
            // its neighbours with it.
            Err(Setback::Job) => self.apart(jobs),
            Err(Setback::Transaction(error)) => Err(error),
        };
        match ended {
            Ok(faults) => {
                let mut faults = faults.into_iter();
                for job in jobs.drain(..) {
                    let fault = faults.next().flatten();
                    job.answer(fault.map_or(Ok(()), |Fault(why)| Err(WriteError::Unknown(why))));
                }
            }
            Err(error) => {
                for job in jobs.drain(..) {
                    job.answer(Err(error.clone()));
                }
            }
        }
    }

    fn together(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), Setback> {
        self.begin().map_err(Setback::Transaction)?;
        for job in jobs {
            if job.run(&mut self.rows).is_err() {
                self.roll_back();
                return Err(Setback::Job);
            }
        }
        self.end().map_err(Setback::Transaction)
    }

    /// Each job in its own savepoint; what went wrong with each.
    fn apart(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<Vec<Option<Fault>>, WriteError> {
        self.begin()?;
        let mut faults = Vec::with_capacity(jobs.len());
        for job in jobs {
            match self.in_savepoint(job.as_mut()) {
                Ok(fault) => faults.push(fault),
                // A full disk, for one, ends the whole transaction.
                Err(Fault(why)) => {
                    self.roll_back();
                    return Err(WriteError::Unknown(why));
                }
            }
        }
        self.end()?;
        Ok(faults)
    }

    fn in_savepoint(&mut self, job: &mut dyn Job) -> Result<Option<Fault>, Fault> {
        self.conn.execute_batch("SAVEPOINT job")?;
        let head = self.rows.head();
        let fault = job.run(&mut self.rows).err();
        if fault.is_some() {
            self.conn.execute_batch("ROLLBACK TO job")?;
            self.rows.set_head(head);
        }
        self.conn.execute_batch("RELEASE job")?;
        Ok(fault)
    }

    fn begin(&mut self) -> Result<(), WriteError> {
        self.conn
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(|error| match error.sqlite_error_code() {
                // Another process holds the file. Nothing of this batch happened.
                Some(ErrorCode::DatabaseBusy) => WriteError::Busy,
                _ => WriteError::Unknown(error.to_string()),
            })?;
        match self.rows.load_head() {
            Ok(true) => Ok(()),
            // Moved to another database under our feet: nothing is taken here any more.
            Ok(false) => {
                self.roll_back();
                Err(WriteError::Closed)
            }
            Err(Fault(why)) => {
                self.roll_back();
                Err(WriteError::Unknown(why))
            }
        }
    }

    fn end(&mut self) -> Result<(), WriteError> {
        let ended = self
            .rows
            .save_head()
            .and_then(|()| Ok(self.conn.execute_batch("COMMIT")?));
        ended.map_err(|Fault(why)| {
            self.roll_back();
            WriteError::Unknown(why)
        })
    }

    fn roll_back(&self) {
        // Fails when SQLite has rolled back of its own accord, which is as good.
        let _ = self.conn.execute_batch("ROLLBACK");
    }
}
