//! What reads the whole file: the backup and the search for damage.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::open;
use crate::error::{BackupError, Fault, ReadError};
use crate::sql::{HEAD, LOG_EXTENT, META_GET, SQLITE};

/// Writes beside the target and renames at the end: a file of that name is always a whole backup.
pub(super) fn backup(from: &Path, to: &Path) -> Result<(), BackupError> {
    let to = std::path::absolute(to).map_err(|error| failed(to, &error))?;
    if to.exists() {
        return Err(BackupError::Exists(to));
    }
    let partial = beside(&to);
    open::create(&partial).map_err(|error| match error.kind() {
        // Another backup is under way, or one has died: only its operator can tell.
        io::ErrorKind::AlreadyExists => BackupError::Exists(partial.clone()),
        _ => failed(&partial, &error),
    })?;
    let copied = copy(from, &partial).and_then(|()| finish(&partial, &to));
    if copied.is_err() {
        // The first error is the one that tells; what is left over shows as `Exists` next time.
        let _ = fs::remove_file(&partial);
    }
    copied
}

pub(super) fn verify(path: &Path) -> Result<(), ReadError> {
    let conn = open::reader(path)?;
    let found: String = conn
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| ReadError::Damaged(error.to_string()))?;
    if found != "ok" {
        return Err(ReadError::Damaged(found));
    }
    // One transaction: a writer may be at work.
    let snapshot = conn.unchecked_transaction().map_err(Fault::from)?;
    let (count, last): (i64, i64) = snapshot
        .query_row(&SQLITE.statement(LOG_EXTENT), [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .map_err(Fault::from)?;
    let head: i64 = snapshot
        .query_row(&SQLITE.statement(META_GET), [HEAD], |row| row.get(0))
        .map_err(Fault::from)?;
    if count != last || last != head {
        return Err(ReadError::Damaged(crate::sql::gap(count, last, head)));
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), BackupError> {
    let sqlite = |error: rusqlite::Error| BackupError::Failed(error.to_string());
    let source = open::reader(from).map_err(|Fault(why)| BackupError::Failed(why))?;
    let mut target = Connection::open(to).map_err(sqlite)?;
    let backup = Backup::new(&source, &mut target).map_err(sqlite)?;
    // All pages in one step, hence from one moment: in steps it would begin again with every commit.
    // A long read holds up no writer; only the write-ahead log grows meanwhile.
    match backup.step(-1).map_err(sqlite)? {
        StepResult::Done => {}
        other => return Err(BackupError::Failed(format!("the copy stopped: {other:?}"))),
    }
    drop(backup);
    // One file, whole without a log beside it.
    let mode: Result<String, _> =
        target.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0));
    mode.map_err(sqlite)?;
    target.close().map_err(|(_, error)| sqlite(error))
}

fn finish(partial: &Path, to: &Path) -> Result<(), BackupError> {
    let sync = |path: &Path| File::open(path).and_then(|file| file.sync_all());
    sync(partial).map_err(|error| failed(partial, &error))?;
    fs::rename(partial, to).map_err(|error| failed(to, &error))?;
    // The name is durable with its directory. Where directories cannot be opened there is no more
    // to be done.
    let _ = to.parent().map(sync);
    Ok(())
}

fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".partial");
    PathBuf::from(name)
}

fn failed(path: &Path, error: &io::Error) -> BackupError {
    BackupError::Failed(format!("{}: {error}", path.display()))
}
