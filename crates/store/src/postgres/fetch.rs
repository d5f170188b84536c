//! The rows that a group will be judged by, from the database: two round trips, one to fetch and one to
//! write. For groups that want what cannot be presumed, and for those that presumed wrongly.

use std::future::Future;
use std::pin::Pin;

use futures_util::future::{join_all, join5};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row, Statement};

use super::link::{BEGIN, Link};
use super::sheet::Sheet;
use super::wanted::{Wanted, none};
use crate::commit::Id;
use crate::read::{OutboxItem, OutboxState};
use crate::rows::{AttemptRow, OnceRow, Stale, Wants, unsigned};
use crate::sql::HEAD;

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Begins, locks the head and fetches what the group wants: statements on their way together.
pub(super) async fn fetch(
    link: &Link,
    wanted: &Wanted<'_>,
    special: Option<&Wants>,
) -> Result<Sheet, Error> {
    let (client, run) = (&link.client, &link.run);
    let commands: Vec<&str> = wanted.commands.iter().copied().collect();
    let attempts: Vec<&str> = wanted.attempts.iter().copied().collect();
    let steps: Vec<&str> = wanted.steps.keys().copied().collect();
    let once: Vec<&str> = wanted.once.iter().copied().collect();
    let (kinds, streams): (Vec<&str>, Vec<&[u8]>) =
        wanted.lengths.keys().map(|(kind, id)| (*kind, *id)).unzip();
    let (doc_kinds, docs): (Vec<&str>, Vec<&[u8]>) =
        wanted.versions.keys().map(|(kind, id)| (*kind, *id)).unzip();
    let outbox: Vec<&[u8]> = wanted.outbox.keys().copied().collect();

    let begin = client.batch_execute(BEGIN);
    let of: [&(dyn ToSql + Sync); 1] = [&link.channel];
    let turn = client.execute(&run.turn, &of);
    let head = client.query_one(&run.head_lock, &[&HEAD]);
    let questions: Vec<Answer<'_, Vec<Row>>> = vec![
        rows(link, &run.command_get, commands.is_empty(), vec![&commands]),
        rows(link, &run.attempt_get, attempts.is_empty(), vec![&attempts]),
        rows(link, &run.step_get, steps.is_empty(), vec![&steps]),
        rows(link, &run.once_get, once.is_empty(), vec![&once]),
        rows(link, &run.stream_length, kinds.is_empty(), vec![&kinds, &streams]),
        rows(link, &run.doc_version, docs.is_empty(), vec![&doc_kinds, &docs]),
        rows(link, &run.outbox_state, outbox.is_empty(), vec![&outbox]),
    ];
    let special = async {
        match special {
            Some(Wants::Ready { now, limit }) => {
                let limit = i64::try_from(*limit).unwrap_or(i64::MAX);
                let ready = client.query(&run.outbox_ready, &[now, &limit]).await?;
                Ok(Special::Ready(ready))
            }
            Some(Wants::Stale { before, limit }) => {
                let limit = i64::try_from(*limit).unwrap_or(i64::MAX);
                let mut forgotten = Vec::new();
                for (what, before) in before {
                    let statement = match what {
                        Stale::Commands => &run.command_forget,
                        Stale::Attempts => &run.attempt_forget,
                        Stale::Once => &run.once_forget,
                        Stale::Outbox => &run.outbox_forget,
                    };
                    let n = client.execute(statement, &[before, &limit]).await?;
                    forgotten.push((*what, usize::try_from(n).unwrap_or(usize::MAX)));
                }
                Ok(Special::Forgotten(forgotten))
            }
            _ => Ok(Special::None),
        }
    };
    // Polled in this order, so sent in this order.
    let (begun, turn, head, found, special) =
        join5(begin, turn, head, join_all(questions), special).await;
    begun?;
    turn?;
    let mut sheet = Sheet {
        head: unsigned(head?.get(0)),
        ..Sheet::default()
    };
    let mut found = found.into_iter();
    let mut next = || found.next().unwrap_or_else(|| Ok(Vec::new()));

    sheet.commands = none(&wanted.commands, |key| (*key).to_owned());
    for row in next()? {
        sheet.commands.insert(row.get(0), Some(row.get(1)));
    }
    sheet.attempts = none(&wanted.attempts, |key| (*key).to_owned());
    for row in next()? {
        let count: i64 = row.get(1);
        let attempt = AttemptRow {
            count: u32::try_from(count).unwrap_or(u32::MAX),
            since: row.get(2),
            until: row.get(3),
        };
        sheet.attempts.insert(row.get(0), Some(attempt));
    }
    sheet.steps = none(wanted.steps.keys(), |key| (*key).to_owned());
    for row in next()? {
        sheet.steps.insert(row.get(0), Some(unsigned(row.get(1))));
    }
    sheet.once = none(&wanted.once, |key| (*key).to_owned());
    for row in next()? {
        let once = OnceRow {
            expires: row.get(1),
        };
        sheet.once.insert(row.get(0), Some(once));
    }
    for row in next()? {
        let last: Option<i64> = row.get(2);
        let key = (row.get::<_, String>(0), id(row.get(1)));
        sheet.lengths.insert(key, last.map_or(0, unsigned));
    }
    sheet.versions = none(wanted.versions.keys(), |(kind, id)| ((*kind).to_owned(), id.to_vec()));
    for row in next()? {
        let key = (row.get(0), row.get(1));
        sheet.versions.insert(key, Some(unsigned(row.get(2))));
    }
    sheet.outbox = none(wanted.outbox.keys(), |key| id(key));
    for row in next()? {
        let state = OutboxState::of(row.get(1));
        sheet.outbox.insert(id(row.get(0)), Some(state));
    }
    match special? {
        Special::None => {}
        Special::Ready(rows) => sheet.ready = rows.iter().map(item).collect(),
        Special::Forgotten(forgotten) => sheet.forgotten = forgotten.into_iter().collect(),
    }
    Ok(sheet)
}

enum Special {
    None,
    Ready(Vec<Row>),
    Forgotten(Vec<(Stale, usize)>),
}

/// A question that is not asked where there is nothing to ask.
fn rows<'a>(
    link: &'a Link,
    statement: &'a Statement,
    empty: bool,
    parameters: Vec<&'a (dyn ToSql + Sync)>,
) -> Answer<'a, Vec<Row>> {
    Box::pin(async move {
        if empty {
            return Ok(Vec::new());
        }
        link.client.query(statement, &parameters).await
    })
}

fn item(row: &Row) -> OutboxItem {
    let attempts: i64 = row.get(5);
    OutboxItem {
        id: id(row.get(0)),
        topic: row.get(1),
        owner: id(row.get(2)),
        body: row.get(3),
        interrupted: OutboxState::of(row.get(4)) == OutboxState::Leased,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
    }
}

/// Sixteen bytes, which is what stands in these columns.
pub(super) fn id(bytes: &[u8]) -> Id {
    bytes.try_into().unwrap_or_default()
}
