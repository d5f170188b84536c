//! Every statement, once. Placeholders are `$1..$N`; a backend rewrites what its database spells
//! otherwise, once at start, and nothing else. The statements run on SQLite and on PostgreSQL 15.
//!
//! Most statements are about several rows. SQLite is handed one row at a time: it is in the same
//! process, and a statement costs little. PostgreSQL is handed all rows of a group of commits at once,
//! as one array for each column: there, what costs is each statement, and the way. So these three
//! stand for the rows, with `$1..$N` for their columns:
//!
//! | written | SQLite | PostgreSQL |
//! |---|---|---|
//! | `{in a text, b bytes}` | `a = ?1 AND b = ?2` | `(a, b) IN (SELECT * FROM unnest(…))` |
//! | `{rows a text, b bytes}` | `VALUES (?1, ?2)` | `SELECT * FROM unnest(…)` |
//! | `{given a text, b bytes}` | `(SELECT ?1 AS a, ?2 AS b) AS given` | `unnest(…) AS given(a, b)` |
//!
//! Beginning and ending a transaction belongs to a backend: SQLite says `BEGIN IMMEDIATE`, PostgreSQL
//! locks the row of the head. Between the two there is exactly one writer, so that reading a row and
//! then writing it, as [`crate::judge`] does, cannot race with anybody.

/// What a release knows of schemas.
pub(crate) struct Release {
    /// The numbered scripts that lead from an empty database to this release's. Never edit one that was
    /// released: add the next, and say in `oldest` whether a release that knows less can go on.
    pub(crate) migrations: &'static [&'static str],
    /// The oldest schema whose releases can still work on the database as it is then. A script that only
    /// adds (expand) leaves it where it is, so that old nodes go on while new ones start; the one that
    /// takes away (contract), a release later, raises it.
    pub(crate) oldest: i64,
}

/// This one.
pub(crate) const RELEASE: Release = Release {
    migrations: &[include_str!("../migrations/0001_start.sql")],
    oldest: 1,
};

impl Release {
    /// The number of its schema.
    pub(crate) fn known(&self) -> i64 {
        i64::try_from(self.migrations.len()).unwrap_or(i64::MAX)
    }
}

/// Names of rows in `meta`.
pub(crate) const SCHEMA: &str = "schema";
/// What [`Release::oldest`] was when this database was last migrated.
pub(crate) const COMPATIBLE: &str = "compatible";
/// The sequence number of the last event. A counter of our own, not the database's: those leave gaps
/// and, with many writers, are seen out of order by whoever follows the log.
pub(crate) const HEAD: &str = "head";
/// Changed by whoever asks whether the store takes writes.
pub(crate) const CHECKED: &str = "checked";
/// Present while a database is being filled from another: it is not to be served.
pub(crate) const FILLING: &str = "filling";
/// Present when a database was moved to another: it is not to be served any more.
pub(crate) const MOVED: &str = "moved";

pub(crate) const META_GET: &str = "SELECT value FROM meta WHERE name = $1";
pub(crate) const META_PUT: &str = "INSERT INTO meta (name, value) VALUES ($1, $2) \
     ON CONFLICT (name) DO UPDATE SET value = excluded.value";

pub(crate) const META_CLEAR: &str = "DELETE FROM meta WHERE name = $1";

pub(crate) const COMMAND_GET: &str = "SELECT id, reply FROM command WHERE {in id text}";
pub(crate) const COMMAND_ADD: &str = "INSERT INTO command (id, at, reply) \
     {rows id text, at bigint, reply bytes}";
pub(crate) const COMMAND_FORGET: &str = "DELETE FROM command WHERE id IN \
     (SELECT id FROM command WHERE at < $1 ORDER BY at, id LIMIT $2)";

pub(crate) const ATTEMPT_GET: &str = "SELECT key, count, since, until FROM attempt \
     WHERE {in key text}";
pub(crate) const ATTEMPT_PUT: &str = "INSERT INTO attempt (key, count, since, until) \
     {rows key text, count bigint, since bigint, until bigint} \
     ON CONFLICT (key) DO UPDATE \
     SET count = excluded.count, since = excluded.since, until = excluded.until";
pub(crate) const ATTEMPT_CLEAR: &str = "DELETE FROM attempt WHERE {in key text}";
pub(crate) const ATTEMPT_FORGET: &str = "DELETE FROM attempt WHERE key IN \
     (SELECT key FROM attempt WHERE until < $1 ORDER BY until, key LIMIT $2)";

pub(crate) const STEP_GET: &str = "SELECT key, value FROM step WHERE {in key text}";
pub(crate) const STEP_PUT: &str = "INSERT INTO step (key, value) \
     {rows key text, value bigint} \
     ON CONFLICT (key) DO UPDATE SET value = excluded.value";

pub(crate) const ONCE_GET: &str = "SELECT key, expires FROM once WHERE {in key text}";
pub(crate) const ONCE_PUT: &str = "INSERT INTO once (key, expires) \
     {rows key text, expires bigint} \
     ON CONFLICT (key) DO UPDATE SET expires = excluded.expires";
pub(crate) const ONCE_FORGET: &str = "DELETE FROM once WHERE key IN \
     (SELECT key FROM once WHERE expires < $1 ORDER BY expires, key LIMIT $2)";

pub(crate) const STREAM_LENGTH: &str = "SELECT given.kind, given.stream, \
     (SELECT MAX(n) FROM event WHERE event.kind = given.kind AND event.stream = given.stream) \
     FROM {given kind text, stream bytes}";
pub(crate) const EVENT_ADD: &str = "INSERT INTO event (seq, kind, stream, n, at, body) \
     {rows seq bigint, kind text, stream bytes, n bigint, at bigint, body text}";
/// Numbers events from the head, whose row is `$7`; PostgreSQL only.
pub(crate) const EVENT_FOLLOW: &str = "INSERT INTO event (seq, kind, stream, n, at, body) \
     SELECT head.value + given.seq, given.kind, given.stream, given.n, given.at, given.body \
     FROM {given seq bigint, kind text, stream bytes, n bigint, at bigint, body text}, meta AS head \
     WHERE head.name = $7";
pub(crate) const HEAD_ADD: &str = "UPDATE meta SET value = value + $2 WHERE name = $1";
/// The only statement that touches an event again.
pub(crate) const EVENT_REDACT: &str = "UPDATE event SET body = given.text \
     FROM {given kind text, stream bytes, n bigint, text text} \
     WHERE event.kind = given.kind AND event.stream = given.stream AND event.n = given.n";
pub(crate) const STREAM_EVENTS: &str = "SELECT seq, n, at, body FROM event \
     WHERE kind = $1 AND stream = $2 AND n > $3 ORDER BY n";
pub(crate) const LOG: &str = "SELECT seq, kind, stream, n, at, body FROM event \
     WHERE seq > $1 ORDER BY seq LIMIT $2";
/// In one statement: others may be writing.
pub(crate) const LOG_END: &str = "SELECT (SELECT value FROM meta WHERE name = $1), \
     (SELECT COALESCE(MAX(seq), 0) FROM event)";
pub(crate) const LOG_EXTENT: &str = "SELECT COUNT(*), COALESCE(MAX(seq), 0) FROM event";

pub(crate) const DOC_VERSION: &str = "SELECT kind, id, version FROM doc \
     WHERE {in kind text, id bytes}";
pub(crate) const DOC_PUT: &str = "INSERT INTO doc (kind, id, version, due, body) \
     {rows kind text, id bytes, version bigint, due bigint, body bytes} \
     ON CONFLICT (kind, id) DO UPDATE \
     SET version = excluded.version, due = excluded.due, body = excluded.body";
/// `version` is by how much it grows.
pub(crate) const DOC_GROW: &str = "INSERT INTO doc (kind, id, version, due, body) \
     {rows kind text, id bytes, version bigint, due bigint, body bytes} \
     ON CONFLICT (kind, id) DO UPDATE \
     SET version = doc.version + excluded.version, due = excluded.due, body = excluded.body \
     RETURNING kind, id, version";
pub(crate) const DOC_DELETE: &str = "DELETE FROM doc WHERE {in kind text, id bytes}";
pub(crate) const DOC_GET: &str = "SELECT version, due, body FROM doc WHERE kind = $1 AND id = $2";
pub(crate) const DOC_PAGE: &str = "SELECT id, version, due, body FROM doc \
     WHERE kind = $1 AND id >= $2 ORDER BY id LIMIT $3";
pub(crate) const DOC_DUE: &str = "SELECT id, version, due, body FROM doc \
     WHERE kind = $1 AND due <= $2 ORDER BY due, id LIMIT $3";

pub(crate) const LOOKUP_ADD: &str = "INSERT INTO lookup (space, key, id) \
     {rows space text, key bytes, id bytes} \
     ON CONFLICT DO NOTHING";
pub(crate) const LOOKUP_REMOVE: &str = "DELETE FROM lookup \
     WHERE {in space text, key bytes, id bytes}";
pub(crate) const LOOKUP_CLEAR: &str = "DELETE FROM lookup WHERE {in id bytes}";
pub(crate) const LOOKUP_FIND: &str = "SELECT DISTINCT id FROM lookup \
     WHERE space = $2 AND {in key bytes} ORDER BY id LIMIT $3";

// The literal 2 is OutboxState::Done: the planner matches it against the partial indexes.
pub(crate) const OUTBOX_GET: &str =
    "SELECT topic, owner, body, state, attempts, due FROM outbox WHERE id = $1";
pub(crate) const OUTBOX_STATE: &str = "SELECT id, state FROM outbox WHERE {in id bytes}";
pub(crate) const OUTBOX_ADD: &str = "INSERT INTO outbox (id, topic, owner, body, due, state, attempts) \
     SELECT given.*, 0, 0 FROM {given id bytes, topic text, owner bytes, body bytes, due bigint}";
pub(crate) const OUTBOX_READY: &str = "SELECT id, topic, owner, body, state, attempts FROM outbox \
     WHERE state < 2 AND due <= $1 ORDER BY due, id LIMIT $2";
pub(crate) const OUTBOX_LEASE: &str = "UPDATE outbox \
     SET state = 1, attempts = attempts + 1, due = given.until \
     FROM {given id bytes, until bigint} WHERE outbox.id = given.id";
pub(crate) const OUTBOX_RETRY: &str = "UPDATE outbox SET state = 0, due = given.at \
     FROM {given id bytes, at bigint} WHERE outbox.id = given.id";
pub(crate) const OUTBOX_END: &str = "UPDATE outbox SET state = given.ended, body = given.wiped \
     FROM {given id bytes, ended bigint, wiped bytes} WHERE outbox.id = given.id";
pub(crate) const OUTBOX_FORGET: &str = "DELETE FROM outbox WHERE id IN \
     (SELECT id FROM outbox WHERE state >= 2 AND due < $1 ORDER BY due, id LIMIT $2)";

/// The few words in which databases differ.
pub(crate) struct Dialect {
    placeholder: char,
    /// Rows come as arrays, one for each column.
    arrays: bool,
    text: &'static str,
    bytes: &'static str,
    seq: &'static str,
    clustered: &'static str,
}

/// SQLite numbers `$1` by first appearance, so that `$2 .. $1` would be bound the wrong way round;
/// `?1` is numbered by its number. Its row id is spelled INTEGER, which PostgreSQL reads as 32 bits.
pub(crate) const SQLITE: Dialect = Dialect {
    placeholder: '?',
    arrays: false,
    text: "TEXT",
    bytes: "BLOB",
    seq: "INTEGER",
    clustered: " WITHOUT ROWID",
};

/// Text is compared byte by byte, as SQLite does, whatever the language of the database.
pub(crate) const POSTGRES: Dialect = Dialect {
    placeholder: '$',
    arrays: true,
    text: "TEXT COLLATE \"C\"",
    bytes: "BYTEA",
    seq: "BIGINT",
    clustered: "",
};

impl Dialect {
    /// A statement in this database's words.
    pub(crate) fn statement(&self, sql: &str) -> String {
        let mut out = String::with_capacity(sql.len());
        let mut rest = sql;
        while let Some((before, found)) = rest.split_once('{') {
            let (token, after) = found.split_once('}').unwrap_or((found, ""));
            out.push_str(before);
            out.push_str(&self.rows(token));
            rest = after;
        }
        out.push_str(rest);
        out.replace('$', self.placeholder.encode_utf8(&mut [0; 4]))
    }

    /// The rows that a statement is about.
    fn rows(&self, token: &str) -> String {
        let (form, columns) = token.split_once(' ').unwrap_or((token, ""));
        let columns = columns.split(", ").filter_map(|column| column.split_once(' '));
        let columns: Vec<(usize, &str, &str)> = columns
            .enumerate()
            .map(|(place, (name, of))| (place.saturating_add(1), name, of))
            .collect();
        let each = |write: &dyn Fn(usize, &str, &str) -> String, between: &str| {
            let written = columns.iter().map(|(number, name, of)| write(*number, name, of));
            written.collect::<Vec<_>>().join(between)
        };
        let names = each(&|_, name, _| name.to_owned(), ", ");
        if self.arrays {
            let array = |number, _: &str, of: &str| {
                let of = if of == "bytes" { "bytea" } else { of };
                format!("${number}::{of}[]")
            };
            let unnest = format!("unnest({})", each(&array, ", "));
            match form {
                "in" => format!("({names}) IN (SELECT * FROM {unnest})"),
                "rows" => format!("SELECT * FROM {unnest}"),
                _ => format!("{unnest} AS given({names})"),
            }
        } else {
            match form {
                "in" => each(&|number, name, _| format!("{name} = ${number}"), " AND "),
                "rows" => format!("VALUES ({})", each(&|number, _, _| format!("${number}"), ", ")),
                _ => {
                    let named = each(&|number, name, _| format!("${number} AS {name}"), ", ");
                    format!("(SELECT {named}) AS given")
                }
            }
        }
    }

    /// A migration script in this database's words.
    pub(crate) fn script(&self, sql: &str) -> String {
        sql.replace("{bytes}", self.bytes)
            .replace("{seq}", self.seq)
            .replace("{clustered}", self.clustered)
            .replace(" TEXT ", &format!(" {} ", self.text))
    }
}

/// Why a record is not to be served, if it is not: what is looked at whenever it is opened.
pub(crate) fn unfit(filling: bool, moved: bool, head: Option<i64>, last: i64) -> Option<String> {
    if filling {
        return Some(
            "a move into it was begun and not finished: run `countersign migrate` again".to_owned(),
        );
    }
    if moved {
        return Some(
            "its record was moved to another database, which is the one to serve".to_owned(),
        );
    }
    (head != Some(last)).then(|| {
        let head = head.unwrap_or(0);
        format!("its log ends with event {last}, and should end with {head}: restore a backup")
    })
}

/// What is wrong with a log that has this many events, ends with this number, and should end with
/// that.
pub(crate) fn gap(count: i64, last: i64, head: i64) -> String {
    format!("the log has {count} events, the last is number {last}, and it should be {head}")
}

/// The statements that must find their rows by an index, on every backend.
#[cfg(test)]
pub(crate) const BY_KEY: &[&str] = &[
    META_GET,
    COMMAND_GET,
    COMMAND_FORGET,
    ATTEMPT_GET,
    ATTEMPT_CLEAR,
    ATTEMPT_FORGET,
    STEP_GET,
    ONCE_GET,
    ONCE_FORGET,
    STREAM_LENGTH,
    STREAM_EVENTS,
    LOG,
    DOC_VERSION,
    DOC_DELETE,
    DOC_GET,
    DOC_PAGE,
    DOC_DUE,
    LOOKUP_REMOVE,
    LOOKUP_FIND,
    OUTBOX_GET,
    OUTBOX_READY,
    OUTBOX_LEASE,
    OUTBOX_RETRY,
    OUTBOX_END,
    OUTBOX_FORGET,
    LOG_END,
    OUTBOX_STATE,
];

/// Releases that are to come, for tests of upgrades.
#[cfg(test)]
pub(crate) mod releases {
    use super::{RELEASE, Release};

    const FIRST: &str = RELEASE.migrations[0];
    const EXPAND: &str = "CREATE TABLE more (name TEXT PRIMARY KEY, value BIGINT NOT NULL);";

    /// Adds something.
    pub(crate) const NEXT: Release = Release { migrations: &[FIRST, EXPAND], oldest: 1 };
    /// Takes away what the first one cannot go on without.
    pub(crate) const AFTER: Release = Release {
        migrations: &[FIRST, EXPAND, "ALTER TABLE meta RENAME COLUMN value TO content; ALTER TABLE meta RENAME COLUMN content TO value;"],
        oldest: 2,
    };
    /// Fails half-way.
    pub(crate) const BROKEN: Release = Release {
        migrations: &[FIRST, "CREATE TABLE half (name TEXT PRIMARY KEY); INSERT INTO nowhere VALUES (1);"],
        oldest: 1,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_not_counted() {
        assert_eq!(SQLITE.statement("a = $2 AND b = $1"), "a = ?2 AND b = ?1");
    }

    #[test]
    fn rows_are_values_or_arrays() {
        for (written, sqlite, postgres) in [
            (
                "WHERE {in a text, b bytes} AND c = $3",
                "WHERE a = ?1 AND b = ?2 AND c = ?3",
                "WHERE (a, b) IN (SELECT * FROM unnest($1::text[], $2::bytea[])) AND c = $3",
            ),
            (
                "INSERT INTO t (a) {rows a bigint}",
                "INSERT INTO t (a) VALUES (?1)",
                "INSERT INTO t (a) SELECT * FROM unnest($1::bigint[])",
            ),
            (
                "UPDATE t SET a = given.a FROM {given id bytes, a text} WHERE t.id = given.id",
                "UPDATE t SET a = given.a FROM (SELECT ?1 AS id, ?2 AS a) AS given WHERE t.id = given.id",
                "UPDATE t SET a = given.a FROM unnest($1::bytea[], $2::text[]) AS given(id, a) \
                 WHERE t.id = given.id",
            ),
        ] {
            assert_eq!(SQLITE.statement(written), sqlite);
            assert_eq!(POSTGRES.statement(written), postgres);
        }
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
