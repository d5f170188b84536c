//! Every statement, once. Placeholders are `$1..$N`; a backend rewrites what its database spells
//! otherwise, once at start, and nothing else. The statements run on SQLite and on PostgreSQL 15.
//!
//! Beginning and ending a transaction belongs to a backend: SQLite says `BEGIN IMMEDIATE`, PostgreSQL
//! will take an advisory lock. Between the two there is exactly one writer, so that reading a row and
//! then writing it, as [`crate::judge`] does, cannot race with anybody.

/// The numbered scripts that lead from an empty database to today's. Never edit one that was
/// released: add the next.
pub(crate) const MIGRATIONS: &[&str] = &[include_str!("../migrations/0001_start.sql")];

/// Names of rows in `meta`.
pub(crate) const SCHEMA: &str = "schema";
/// The sequence number of the last event. A counter of our own, not the database's: those leave gaps
/// and, with many writers, are seen out of order by whoever follows the log.
pub(crate) const HEAD: &str = "head";

pub(crate) const META_GET: &str = "SELECT value FROM meta WHERE name = $1";
pub(crate) const META_PUT: &str = "INSERT INTO meta (name, value) VALUES ($1, $2) \
     ON CONFLICT (name) DO UPDATE SET value = excluded.value";

pub(crate) const COMMAND_GET: &str = "SELECT reply FROM command WHERE id = $1";
pub(crate) const COMMAND_ADD: &str = "INSERT INTO command (id, at, reply) VALUES ($1, $2, $3)";
pub(crate) const COMMAND_FORGET: &str = "DELETE FROM command WHERE id IN \
     (SELECT id FROM command WHERE at < $1 ORDER BY at, id LIMIT $2)";

pub(crate) const ATTEMPT_GET: &str = "SELECT count, since, until FROM attempt WHERE key = $1";
pub(crate) const ATTEMPT_PUT: &str = "INSERT INTO attempt (key, count, since, until) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (key) DO UPDATE \
     SET count = excluded.count, since = excluded.since, until = excluded.until";
pub(crate) const ATTEMPT_CLEAR: &str = "DELETE FROM attempt WHERE key = $1";
pub(crate) const ATTEMPT_FORGET: &str = "DELETE FROM attempt WHERE key IN \
     (SELECT key FROM attempt WHERE until < $1 ORDER BY until, key LIMIT $2)";

pub(crate) const STEP_GET: &str = "SELECT value FROM step WHERE key = $1";
pub(crate) const STEP_PUT: &str = "INSERT INTO step (key, value) VALUES ($1, $2) \
     ON CONFLICT (key) DO UPDATE SET value = excluded.value";

pub(crate) const ONCE_GET: &str = "SELECT expires FROM once WHERE key = $1";
pub(crate) const ONCE_PUT: &str = "INSERT INTO once (key, expires) VALUES ($1, $2) \
     ON CONFLICT (key) DO UPDATE SET expires = excluded.expires";
pub(crate) const ONCE_FORGET: &str = "DELETE FROM once WHERE key IN \
     (SELECT key FROM once WHERE expires < $1 ORDER BY expires, key LIMIT $2)";

pub(crate) const STREAM_LENGTH: &str = "SELECT MAX(n) FROM event WHERE kind = $1 AND stream = $2";
pub(crate) const EVENT_ADD: &str = "INSERT INTO event (seq, kind, stream, n, at, body) \
     VALUES ($1, $2, $3, $4, $5, $6)";
pub(crate) const STREAM_EVENTS: &str = "SELECT seq, n, at, body FROM event \
     WHERE kind = $1 AND stream = $2 ORDER BY n";
pub(crate) const LOG: &str = "SELECT seq, kind, stream, n, at, body FROM event \
     WHERE seq > $1 ORDER BY seq LIMIT $2";
pub(crate) const LOG_EXTENT: &str = "SELECT COUNT(*), COALESCE(MAX(seq), 0) FROM event";

pub(crate) const DOC_VERSION: &str = "SELECT version FROM doc WHERE kind = $1 AND id = $2";
pub(crate) const DOC_PUT: &str = "INSERT INTO doc (kind, id, version, due, body) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (kind, id) DO UPDATE \
     SET version = excluded.version, due = excluded.due, body = excluded.body";
pub(crate) const DOC_DELETE: &str = "DELETE FROM doc WHERE kind = $1 AND id = $2";
pub(crate) const DOC_GET: &str = "SELECT version, due, body FROM doc WHERE kind = $1 AND id = $2";
pub(crate) const DOC_PAGE: &str = "SELECT id, version, due, body FROM doc \
     WHERE kind = $1 AND id >= $2 ORDER BY id LIMIT $3";
pub(crate) const DOC_DUE: &str = "SELECT id, version, due, body FROM doc \
     WHERE kind = $1 AND due <= $2 ORDER BY due, id LIMIT $3";

pub(crate) const LOOKUP_ADD: &str = "INSERT INTO lookup (space, key, id) VALUES ($1, $2, $3) \
     ON CONFLICT DO NOTHING";
pub(crate) const LOOKUP_REMOVE: &str =
    "DELETE FROM lookup WHERE space = $1 AND key = $2 AND id = $3";
pub(crate) const LOOKUP_FIND: &str =
    "SELECT id FROM lookup WHERE space = $1 AND key = $2 ORDER BY id LIMIT $3";

// The literal 2 is OutboxState::Done: the planner matches it against the partial indexes.
pub(crate) const OUTBOX_GET: &str =
    "SELECT topic, owner, body, state, attempts, due FROM outbox WHERE id = $1";
pub(crate) const OUTBOX_ADD: &str = "INSERT INTO outbox (id, topic, owner, body, state, attempts, due) \
     VALUES ($1, $2, $3, $4, 0, 0, $5)";
pub(crate) const OUTBOX_READY: &str = "SELECT id, topic, owner, body, state, attempts FROM outbox \
     WHERE state < 2 AND due <= $1 ORDER BY due, id LIMIT $2";
pub(crate) const OUTBOX_LEASE: &str =
    "UPDATE outbox SET state = 1, attempts = attempts + 1, due = $2 WHERE id = $1";
pub(crate) const OUTBOX_RETRY: &str = "UPDATE outbox SET state = 0, due = $2 WHERE id = $1";
pub(crate) const OUTBOX_END: &str = "UPDATE outbox SET state = $2, body = $3 WHERE id = $1";
pub(crate) const OUTBOX_FORGET: &str = "DELETE FROM outbox WHERE id IN \
     (SELECT id FROM outbox WHERE state >= 2 AND due < $1 ORDER BY due, id LIMIT $2)";

/// The few words in which databases differ.
pub(crate) struct Dialect {
    placeholder: char,
    bytes: &'static str,
    seq: &'static str,
    clustered: &'static str,
}

/// SQLite numbers `$1` by first appearance, so that `$2 .. $1` would be bound the wrong way round;
/// `?1` is numbered by its number. Its row id is spelled INTEGER, which PostgreSQL reads as 32 bits.
pub(crate) const SQLITE: Dialect = Dialect {
    placeholder: '?',
    bytes: "BLOB",
    seq: "INTEGER",
    clustered: " WITHOUT ROWID",
};

impl Dialect {
    /// A statement with this database's placeholders.
    pub(crate) fn statement(&self, sql: &str) -> String {
        sql.replace('$', self.placeholder.encode_utf8(&mut [0; 4]))
    }

    /// A migration script in this database's words.
    pub(crate) fn script(&self, sql: &str) -> String {
        sql.replace("{bytes}", self.bytes)
            .replace("{seq}", self.seq)
            .replace("{clustered}", self.clustered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_not_counted() {
        assert_eq!(SQLITE.statement("a = $2 AND b = $1"), "a = ?2 AND b = ?1");
    }

    #[test]
    fn sqlite_binds_by_number() {
        let conn = rusqlite::Connection::open_in_memory().unwrap();
        let sql = SQLITE.statement("SELECT $2, $1");
        let row: (i64, i64) = conn
            .query_row(&sql, [10, 20], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        assert_eq!(row, (20, 10));
    }

    /// A `$` or `?` with another meaning would be rewritten or counted.
    #[test]
    fn statements_use_the_dollar_for_placeholders_only() {
        let source = include_str!("sql.rs");
        let statements = source.split("pub(crate) struct Dialect").next().unwrap();
        for line in statements.lines().filter(|line| !line.starts_with("//")) {
            assert!(!line.contains('?'), "{line}");
            for after in line.split('$').skip(1) {
                assert!(after.starts_with(|c: char| c.is_ascii_digit()), "{line}");
            }
        }
    }
}
