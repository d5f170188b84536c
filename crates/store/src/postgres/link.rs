//! A connection with its statements prepared.

use std::future::Future;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::error::Severity;
use tokio_postgres::{AsyncMessage, Client, Error, Statement};

use super::server::Server;
use crate::sql::{self, POSTGRES};

/// How long a connection may take to come about.
pub(super) const CONNECT: Duration = Duration::from_secs(5);
/// How long the database may take to answer. Longer than its own time-outs, which tell why.
pub(super) const PATIENCE: Duration = Duration::from_secs(12);

/// Waits for its turn to write. The head's row would do, but it promises no order: a node that asks
/// again right behind its commit may overtake whoever has waited. Here it is first come, first served.
const TURN: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
/// Locks the row of the head, and with it the right to write: whoever else wants it waits until this
/// transaction has ended, and then sees all that it did. The lock goes with the connection.
const HEAD_LOCK: &str = "SELECT value FROM meta WHERE name = $1 FOR UPDATE";
/// Begins a transaction that may write. Outside of one a session may not: a statement whose beginning was
/// refused must not be carried out by itself.
pub(super) const BEGIN: &str = "BEGIN READ WRITE";
const STANDBY: &str = "SELECT pg_is_in_recovery()";
const READ_ONLY: &str = "SET default_transaction_read_only = on";
/// Fails with a division by zero unless everything is so that a group has presumed: commands and
/// once-keys that are new, counts as remembered, steps below, streams as long, documents and messages as
/// named (where a value is null: no row). Behind the lock it sees what every commit before has done. Rows
/// are looked up one by one, by their keys: never by way of a whole table.
pub(super) const HOLDS: &str = "SELECT 1 / (NOT ( \
     EXISTS (SELECT FROM command WHERE id = ANY ($1::text[])) \
     OR EXISTS (SELECT FROM once WHERE key = ANY ($2::text[])) \
     OR EXISTS (SELECT FROM unnest($3::text[], $4::bigint[], $5::bigint[], $6::bigint[]) \
         AS given(key, count, since, until) \
         LEFT JOIN LATERAL (SELECT count, since, until FROM attempt \
             WHERE attempt.key = given.key OFFSET 0) AS stands ON true \
         WHERE (stands.count, stands.since, stands.until) IS DISTINCT FROM (given.count, given.since, given.until)) \
     OR EXISTS (SELECT FROM unnest($7::text[], $8::bigint[]) AS given(key, value) \
         WHERE (SELECT value FROM step WHERE step.key = given.key) >= given.value) \
     OR EXISTS (SELECT FROM unnest($9::text[], $10::bytea[], $11::bigint[]) AS given(kind, stream, n) \
         WHERE COALESCE((SELECT MAX(n) FROM event \
             WHERE event.kind = given.kind AND event.stream = given.stream), 0) <> given.n) \
     OR EXISTS (SELECT FROM unnest($12::text[], $13::bytea[], $14::bigint[]) AS given(kind, id, version) \
         WHERE (SELECT version FROM doc WHERE doc.kind = given.kind AND doc.id = given.id) \
             IS DISTINCT FROM given.version) \
     OR EXISTS (SELECT FROM unnest($15::bytea[], $16::bigint[]) AS given(id, state) \
         WHERE (SELECT state FROM outbox WHERE outbox.id = given.id) IS DISTINCT FROM given.state) \
     ))::int";
/// By the clock, and not by when a transaction began.
const TIME: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
const NOTIFY: &str = "SELECT pg_notify($1, $2)";

macro_rules! statements {
    ($($field:ident: $sql:expr,)*) => {
        pub(super) struct Statements { $(pub(super) $field: Statement,)* }

        impl Statements {
            /// All at once, in one round trip.
            async fn prepare(client: &Client) -> Result<Self, String> {
                let texts = [$(POSTGRES.statement($sql)),*];
                let all = try_join_all(texts.iter().map(|text| client.prepare(text)));
                let mut prepared = within(CONNECT, all).await?.into_iter();
                let missing = || "a statement was not prepared".to_owned();
                Ok(Self { $($field: prepared.next().ok_or_else(missing)?,)* })
            }
        }
    };
}

statements! {
    turn: TURN,
    head_lock: HEAD_LOCK,
    holds: HOLDS,
    notify: NOTIFY,
    time: TIME,
    meta_get: sql::META_GET,
    meta_put: sql::META_PUT,
    command_get: sql::COMMAND_GET,
    command_add: sql::COMMAND_ADD,
    command_forget: sql::COMMAND_FORGET,
    attempt_get: sql::ATTEMPT_GET,
    attempt_put: sql::ATTEMPT_PUT,
    attempt_clear: sql::ATTEMPT_CLEAR,
    attempt_forget: sql::ATTEMPT_FORGET,
    step_get: sql::STEP_GET,
    step_put: sql::STEP_PUT,
    once_get: sql::ONCE_GET,
    once_put: sql::ONCE_PUT,
    once_forget: sql::ONCE_FORGET,
    stream_length: sql::STREAM_LENGTH,
    stream_events: sql::STREAM_EVENTS,
    event_add: sql::EVENT_ADD,
    event_follow: sql::EVENT_FOLLOW,
    head_add: sql::HEAD_ADD,
    event_redact: sql::EVENT_REDACT,
    log: sql::LOG,
    doc_version: sql::DOC_VERSION,
    doc_get: sql::DOC_GET,
    doc_page: sql::DOC_PAGE,
    doc_due: sql::DOC_DUE,
    doc_put: sql::DOC_PUT,
    doc_grow: sql::DOC_GROW,
    doc_delete: sql::DOC_DELETE,
    lookup_add: sql::LOOKUP_ADD,
    lookup_remove: sql::LOOKUP_REMOVE,
    lookup_clear: sql::LOOKUP_CLEAR,
    lookup_find: sql::LOOKUP_FIND,
    outbox_get: sql::OUTBOX_GET,
    outbox_state: sql::OUTBOX_STATE,
    outbox_add: sql::OUTBOX_ADD,
    outbox_ready: sql::OUTBOX_READY,
    outbox_lease: sql::OUTBOX_LEASE,
    outbox_retry: sql::OUTBOX_RETRY,
    outbox_end: sql::OUTBOX_END,
    outbox_forget: sql::OUTBOX_FORGET,
}

/// A connection that can be used. It ends with its last handle, whatever state the network is in.
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) run: Statements,
    /// Where other nodes listen.
    pub(super) channel: String,
    driver: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    pub(super) async fn open(server: &Server, durable: bool) -> Result<Self, String> {
        let (client, driver) = connect(server, durable, |_| {}).await?;
        let prepared = async {
            let run = Statements::prepare(&client).await?;
            within(CONNECT, client.batch_execute(READ_ONLY)).await?;
            // What lags behind would be taken for what there is.
            if within(CONNECT, client.query_one(STANDBY, &[])).await?.get(0) {
                return Err("this server is a standby: name all hosts, with target_session_attrs=read-write".to_owned());
            }
            Ok(run)
        };
        match prepared.await {
            Ok(run) => Ok(Self {
                client,
                run,
                channel: server.channel(),
                driver,
            }),
            Err(why) => {
                driver.abort();
                Err(why)
            }
        }
    }
}

/// A connection without statements; `hear` is called with what the server says unasked.
pub(super) async fn connect(
    server: &Server,
    durable: bool,
    mut hear: impl FnMut(AsyncMessage) + Send + 'static,
) -> Result<(Client, AbortHandle), String> {
    let config = server.session(durable);
    let (client, mut connection) = within(CONNECT, config.connect(server.tls())).await?;
    let driver = tokio::spawn(async move {
        let mut messages =
            futures_util::stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(Ok(message)) = futures_util::StreamExt::next(&mut messages).await {
            hear(message);
        }
    });
    Ok((client, driver.abort_handle()))
}

async fn within<T>(
    time: Duration,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, String> {
    match timeout(time, answer).await {
        Ok(answered) => answered.map_err(|error| describe(&error)),
        Err(_) => Err(format!("no answer within {} seconds", time.as_secs())),
    }
}

/// Whether the error is an answer, after which the session goes on: whoever asked on it was refused, and
/// whatever it was, did not happen.
pub(super) fn is_refusal(link: &Link, error: &Error) -> bool {
    let last = |severity| matches!(severity, Severity::Fatal | Severity::Panic);
    let db = error.as_db_error();
    db.is_some_and(|db| !db.parsed_severity().is_some_and(last)) && !link.client.is_closed()
}

/// An error with its cause: by itself it says "db error".
pub(crate) fn describe(error: &Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} ({})", db.message(), db.code().code()),
        None => match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}
