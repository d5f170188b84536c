//! What can go wrong, one enum per thing that can be asked for.

use std::fmt;
use std::path::PathBuf;

use crate::commit::Hidden;

/// Why a commit did not happen, or why nobody knows.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A stream, the version of a document or the id of an outbox row did not fit.
    #[error("somebody else was faster: load again and decide again")]
    Conflict,
    /// The guard with this index in [`crate::Commit::guards`] said no.
    #[error("guard {0} denied the commit")]
    Denied(usize),
    /// The command was committed before, with this reply.
    #[error("this command was committed before")]
    Duplicate(Vec<u8>),
    /// Nothing happened: the writer has too much to do.
    #[error("the writer is busy: try again later")]
    Busy,
    /// Nothing happened: the store is closed, or its writer has died.
    #[error("the store is closed")]
    Closed,
    /// It may have happened or not: retry under the same command.
    #[error("the outcome is unknown, retry under the same command: {0}")]
    Unknown(String),
}

/// Why a change other than a commit did not happen, or why nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Nothing happened: the writer has too much to do.
    #[error("the writer is busy: try again later")]
    Busy,
    /// Nothing happened: the store is closed, or its writer has died.
    #[error("the store is closed")]
    Closed,
    /// It may have happened or not.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
}

/// Why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Too many readers are waiting already.
    #[error("the store is busy: try again later")]
    Busy,
    /// The store is closed, or its writer has died.
    #[error("the store is closed")]
    Closed,
    /// [`crate::Store::verify`] found damage.
    #[error("the database is damaged, restore a backup: {0}")]
    Damaged(String),
    /// The database could not answer.
    #[error("the database could not answer: {0}")]
    Failed(String),
}

/// Why there is no backup.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// This store has nothing on disk.
    #[error("this store is in memory only and cannot be backed up")]
    Unsupported,
    /// The database makes its own.
    #[error("PostgreSQL makes its own backups: use pg_basebackup with an archive of its log, see docs/high-availability.md")]
    Elsewhere,
    /// There is a file already, and a backup overwrites nothing.
    #[error("{} exists already: name another file, or remove it first", .0.display())]
    Exists(PathBuf),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// The copy could not be written.
    #[error("the backup failed: {0}")]
    Failed(String),
}

/// Why a store could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A newer release has written this database.
    #[error(
        "{} has schema {found}, and this release knows schemas up to {known}: \
         start the newer release again, or restore the backup made before the upgrade",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: u64,
        /// The last schema that this release knows.
        known: u64,
    },
    /// The file is not a SQLite database.
    #[error("{} is not a SQLite database: check the path, or move the file away", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// A SQLite database, but another program's.
    #[error("{} belongs to another program: give Countersign a file of its own", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// Neither the file nor the two that SQLite puts beside it (`-wal`, `-shm`) can do without.
    #[error("{} cannot be written: {reason}", path.display())]
    Unwritable {
        /// The database.
        path: PathBuf,
        /// What stands in the way, and what to do about it.
        reason: String,
    },
    /// The database server cannot be reached, or does not let us in.
    #[error("the database {server} cannot be used: {reason}")]
    Server {
        /// Which one, without a password.
        server: String,
        /// What stands in the way, and what to do about it.
        reason: String,
    },
    /// The record is not whole, or not here any more.
    #[error("{place} is not to be served: {reason}")]
    Unfit {
        /// The database.
        place: String,
        /// Why, and what to do about it.
        reason: String,
    },
    /// Anything else.
    #[error("{} cannot be opened: {reason}", path.display())]
    Failed {
        /// The database.
        path: PathBuf,
        /// What stands in the way.
        reason: String,
    },
}

/// A row could not be read or written. What it means is for the caller to say.
#[derive(Debug)]
pub(crate) struct Fault(pub(crate) String);

impl fmt::Debug for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict => f.write_str("Conflict"),
            Self::Denied(guard) => f.debug_tuple("Denied").field(guard).finish(),
            Self::Duplicate(reply) => f
                .debug_tuple("Duplicate")
                .field(&Hidden(reply.len()))
                .finish(),
            Self::Busy => f.write_str("Busy"),
            Self::Closed => f.write_str("Closed"),
            Self::Unknown(why) => f.debug_tuple("Unknown").field(why).finish(),
        }
    }
}

impl From<WriteError> for CommitError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Busy => Self::Busy,
            WriteError::Closed => Self::Closed,
            WriteError::Unknown(why) => Self::Unknown(why),
        }
    }
}

impl From<WriteError> for ReadError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Busy => Self::Busy,
            WriteError::Closed => Self::Closed,
            WriteError::Unknown(why) => Self::Failed(why),
        }
    }
}

impl From<Fault> for ReadError {
    fn from(Fault(why): Fault) -> Self {
        Self::Failed(why)
    }
}
