//! Opening a database: whose it is, what it needs, and how connections to it are set up.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use crate::error::{Fault, OpenError};
use crate::sql::{
    COMPATIBLE, FILLING, HEAD, LOG_END, META_GET, META_PUT, MOVED, RELEASE, Release, SCHEMA, SQLITE,
    unfit,
};

/// Marks our files, so that no other program's database is taken for one: "Csgn".
const APPLICATION: i64 = 0x4373_676e;

/// How long to wait for another process, such as an operator's shell, that holds the file.
const PATIENCE: Duration = Duration::from_secs(5);

/// Creates or migrates the database and returns its absolute path.
pub(super) fn prepare(path: &Path) -> Result<PathBuf, OpenError> {
    prepare_for(&RELEASE, path)
}

/// The same for any release.
pub(super) fn prepare_for(release: &Release, path: &Path) -> Result<PathBuf, OpenError> {
    let path = locate(path)?;
    let problem = |error: rusqlite::Error| explain(&path, &error);
    let mut conn = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(problem)?;
    // Looks before it touches: a file that is refused stays as it was.
    schema(release, &conn, &path)?;
    if conn.is_readonly("main").map_err(problem)? {
        let reason = "the file is read-only: change its permissions".to_owned();
        return Err(OpenError::Unwritable { path, reason });
    }
    let mode: String = conn
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(problem)?;
    if mode != "wal" {
        let reason = "its file system cannot share memory between connections: \
                      use a local disk"
            .to_owned();
        return Err(OpenError::Failed { path, reason });
    }
    migrate(release, &mut conn, &path)?;
    Ok(path)
}

/// A record that is being moved: as for serving, but that it may be marked as moved.
pub(super) fn source(path: &Path) -> Result<Connection, OpenError> {
    let path = std::path::absolute(path).map_err(|error| OpenError::Failed {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    if !path.is_file() {
        let reason = "there is no such file".to_owned();
        return Err(OpenError::Failed { path, reason });
    }
    let problem = |error: rusqlite::Error| explain(&path, &error);
    let conn = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(problem)?;
    match schema(&RELEASE, &conn, &path) {
        Ok(schema) if schema == RELEASE.migrations.len() => Ok(conn),
        Ok(_) => Err(OpenError::Unfit {
            place: path.display().to_string(),
            reason: "it was written by an older release: start this one on it once, then move it"
                .to_owned(),
        }),
        Err(error) => {
            let moved = conn.query_row(&SQLITE.statement(META_GET), [MOVED], |_| Ok(()));
            if moved.is_ok() { Ok(conn) } else { Err(error) }
        }
    }
}

/// The writer's connection.
pub(super) fn writer(path: &Path, durable: bool) -> Result<Connection, Fault> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // synchronous: NORMAL keeps the file whole but may lose the last commits with the power.
    // fullfsync: on macOS a plain fsync stops at the disk's cache.
    // secure_delete: what is wiped leaves no trace in the file, once the write-ahead log, which keeps
    // old pages, has been used anew or was closed.
    // wal_autocheckpoint: every 32 MB, not every 4, so that a page that changes often is copied less
    // often. With a still longer log it is the reading through it that costs.
    let synchronous = if durable { "FULL" } else { "NORMAL" };
    conn.execute_batch(&format!(
        "PRAGMA synchronous = {synchronous};
         PRAGMA fullfsync = {durable};
         PRAGMA checkpoint_fullfsync = {durable};
         PRAGMA foreign_keys = ON;
         PRAGMA secure_delete = ON;
         PRAGMA cache_size = -65536;
         PRAGMA wal_autocheckpoint = 8000;
         PRAGMA journal_size_limit = 134217728;
         PRAGMA mmap_size = 134217728;"
    ))?;
    Ok(conn)
}

/// A connection that cannot write.
pub(super) fn reader(path: &Path) -> Result<Connection, Fault> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    conn.execute_batch("PRAGMA cache_size = -8192; PRAGMA mmap_size = 134217728;")?;
    Ok(conn)
}

/// A new and empty file that only its owner may read.
pub(super) fn create(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn connect(path: &Path, mode: OpenFlags) -> rusqlite::Result<Connection> {
    // Each connection stays on one thread: no mutex. Never CREATE: `create` sets the permissions.
    let conn = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(PATIENCE)?;
    Ok(conn)
}

/// The absolute path of a file that exists, if need be an empty one.
fn locate(path: &Path) -> Result<PathBuf, OpenError> {
    let unwritable = |path: &Path, reason: String| OpenError::Unwritable {
        path: path.to_owned(),
        reason,
    };
    // Absolute, so that ":memory:" and "file:…" are names of files like any other.
    let path = std::path::absolute(path).map_err(|error| unwritable(path, error.to_string()))?;
    if path.is_dir() {
        return Err(unwritable(
            &path,
            "it is a directory: name a file in it".to_owned(),
        ));
    }
    match create(&path) {
        Ok(()) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(path),
        Err(error) => {
            let parent = path.parent().unwrap_or(&path);
            let parent_exists = fs::metadata(parent).is_ok_and(|parent| parent.is_dir());
            let advice = if parent_exists {
                "give the user of this process the right to write in"
            } else {
                "create the directory"
            };
            Err(unwritable(
                &path,
                format!("{error}: {advice} {}", parent.display()),
            ))
        }
    }
}

/// The schema of the database; 0: it is new.
fn schema(release: &Release, conn: &Connection, path: &Path) -> Result<usize, OpenError> {
    let problem = |error: rusqlite::Error| explain(path, &error);
    let pragma = |name: &str| {
        conn.query_row(name, [], |row| row.get::<_, i64>(0))
            .map_err(problem)
    };
    let application = pragma("PRAGMA application_id")?;
    if application == 0 && pragma("SELECT COUNT(*) FROM sqlite_schema")? == 0 {
        return Ok(0);
    }
    if application != APPLICATION {
        return Err(OpenError::Foreign {
            path: path.to_owned(),
        });
    }
    let meta = |name: &str| {
        let value = conn.query_row(&SQLITE.statement(META_GET), [name], |row| {
            row.get::<_, i64>(0)
        });
        value.optional().map_err(problem)
    };
    let found = meta(SCHEMA)?.unwrap_or(0);
    let known = release.migrations.len();
    let schema = match usize::try_from(found) {
        Ok(schema) if schema <= known => schema,
        // It only has more than this release knows of, which does no harm.
        Ok(_) if meta(COMPATIBLE)?.is_some_and(|oldest| oldest <= known as i64) => known,
        _ => {
            return Err(OpenError::Newer {
                path: path.to_owned(),
                found: found.unsigned_abs(),
                known: known as u64,
            });
        }
    };
    let end = conn.query_row(&SQLITE.statement(LOG_END), [HEAD], |row| {
        Ok((row.get(0)?, row.get(1)?))
    });
    let (head, last): (Option<i64>, i64) = end.map_err(problem)?;
    let (filling, moved) = (meta(FILLING)?.is_some(), meta(MOVED)?.is_some());
    match unfit(filling, moved, head, last) {
        Some(reason) => Err(OpenError::Unfit {
            place: path.display().to_string(),
            reason,
        }),
        None => Ok(schema),
    }
}

fn migrate(release: &Release, conn: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let problem = |error: rusqlite::Error| explain(path, &error);
    let change = conn
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .map_err(problem)?;
    // Again, now that nobody else can be migrating.
    let schema = schema(release, &change, path)?;
    if schema == release.migrations.len() {
        return Ok(());
    }
    for script in release.migrations.iter().skip(schema) {
        change
            .execute_batch(&SQLITE.script(script))
            .map_err(problem)?;
    }
    let put = SQLITE.statement(META_PUT);
    if schema == 0 {
        change.execute(&put, (HEAD, 0)).map_err(problem)?;
        change
            .pragma_update(None, "application_id", APPLICATION)
            .map_err(problem)?;
    }
    for (name, value) in [(SCHEMA, release.known()), (COMPATIBLE, release.oldest)] {
        change.execute(&put, (name, value)).map_err(problem)?;
    }
    change.commit().map_err(problem)
}

fn explain(path: &Path, error: &rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotADatabase { path },
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            let reason = format!(
                "{error}: give the user of this process the right to write the file and \
                 to create others in its directory"
            );
            OpenError::Unwritable { path, reason }
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            let reason = format!("{error}: another process holds it, stop that first");
            OpenError::Failed { path, reason }
        }
        _ => OpenError::Failed {
            path,
            reason: error.to_string(),
        },
    }
}
