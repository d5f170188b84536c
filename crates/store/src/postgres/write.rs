//! What a group has changed, as statements: each table once, with all its rows.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;

use futures_util::future::join_all;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row, Statement};

use super::link::Link;
use super::sheet::{Versions, Writes};
use crate::rows::{signed, unsigned};
use crate::sql::{CHECKED, HEAD};

/// The longest text that PostgreSQL carries in one notification, less some.
const NOTIFICATION: usize = 7_500;

pub(super) type Column<'a> = Box<dyn ToSql + Sync + Send + 'a>;
type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>, Error>> + Send + 'a>>;

/// How the events of a group are numbered.
#[derive(Clone, Copy)]
pub(super) enum Numbers {
    /// As they say, up to this one, which is the head then.
    Upto(u64),
    /// From 1: by so many more than the head is.
    More(u64),
}

/// All values of one column.
pub(super) fn column<'a, T: ToSql + Sync + Send + 'a>(values: impl Iterator<Item = T>) -> Column<'a> {
    Box::new(values.collect::<Vec<T>>())
}

/// Writes all rows, then commits: statements on their way together. When this is `Ok`, all of them
/// were carried out and the transaction is durable; with the versions of documents that grew.
pub(super) async fn write(link: &Link, writes: &Writes, numbers: Numbers) -> Result<Versions, Error> {
    let changes = changes(link, writes, numbers);
    let mut answers: Vec<Answer<'_>> = Vec::new();
    for (statement, columns) in &changes {
        answers.push(Box::pin(async move {
            let columns = columns.iter().map(|column| &**column as &(dyn ToSql + Sync));
            let columns: Vec<_> = columns.collect();
            link.client.query(*statement, &columns).await
        }));
    }
    answers.push(Box::pin(async {
        link.client.batch_execute("COMMIT").await?;
        Ok(Vec::new())
    }));
    // Polled in this order, so sent in this order. A commit after a failed statement is answered as
    // if all were well, and rolls back: every answer counts.
    let answers: Vec<Vec<Row>> = join_all(answers).await.into_iter().collect::<Result<_, _>>()?;
    // Of statements that say something, only one says three things.
    let grown = |row: &Row| ((row.get(0), row.get(1)), unsigned(row.get(2)));
    Ok(answers.iter().flatten().filter(|row| row.len() == 3).map(grown).collect())
}

fn changes<'a>(
    link: &'a Link,
    writes: &'a Writes,
    numbers: Numbers,
) -> Vec<(&'a Statement, Vec<Column<'a>>)> {
    let run = &link.run;
    let Writes {
        commands,
        attempts,
        steps,
        once,
        events,
        redactions,
        docs,
        cleared: unfound,
        lookup,
        sends,
        leases,
        retries,
        ends,
        notes: _,
        mark,
    } = writes;
    let mut all: Vec<(&Statement, Vec<Column<'a>>)> = Vec::new();
    if !commands.is_empty() {
        let columns = vec![
            column(commands.iter().map(|(id, _, _)| id.as_str())),
            column(commands.iter().map(|(_, at, _)| *at)),
            column(commands.iter().map(|(_, _, reply)| reply.as_slice())),
        ];
        all.push((&run.command_add, columns));
    }
    let kept = || {
        let kept = |(key, row): (&'a String, &Option<_>)| Some((key, (*row)?));
        attempts.iter().filter_map(kept)
    };
    if kept().next().is_some() {
        let columns = vec![
            column(kept().map(|(key, _)| key.as_str())),
            column(kept().map(|(_, row)| i64::from(row.count))),
            column(kept().map(|(_, row)| row.since)),
            column(kept().map(|(_, row)| row.until)),
        ];
        all.push((&run.attempt_put, columns));
    }
    let cleared: Vec<&str> = attempts
        .iter()
        .filter(|(_, row)| row.is_none())
        .map(|(key, _)| key.as_str())
        .collect();
    if !cleared.is_empty() {
        all.push((&run.attempt_clear, vec![Box::new(cleared)]));
    }
    if !steps.is_empty() {
        let columns = vec![
            column(steps.keys().map(String::as_str)),
            column(steps.values().map(|value| signed(*value))),
        ];
        all.push((&run.step_put, columns));
    }
    if !once.is_empty() {
        let columns = vec![
            column(once.keys().map(String::as_str)),
            column(once.values().map(|row| row.expires)),
        ];
        all.push((&run.once_put, columns));
    }
    if !events.is_empty() {
        let mut columns = vec![
            column(events.iter().map(|event| signed(event.seq))),
            column(events.iter().map(|event| event.stream.kind)),
            column(events.iter().map(|event| event.stream.id.as_slice())),
            column(events.iter().map(|event| signed(event.n))),
            column(events.iter().map(|event| event.at)),
            column(events.iter().map(|event| event.body.as_str())),
        ];
        let (add, put, by) = match numbers {
            Numbers::Upto(head) => (&run.event_add, &run.meta_put, head),
            Numbers::More(by) => {
                columns.push(Box::new(HEAD));
                (&run.event_follow, &run.head_add, by)
            }
        };
        all.push((add, columns));
        all.push((put, vec![Box::new(HEAD), Box::new(signed(by))]));
    }
    if !redactions.is_empty() {
        let columns = vec![
            column(redactions.keys().map(|(kind, _, _)| *kind)),
            column(redactions.keys().map(|(_, id, _)| id.as_slice())),
            column(redactions.keys().map(|(_, _, n)| signed(*n))),
            column(redactions.values().map(String::as_str)),
        ];
        all.push((&run.event_redact, columns));
    }
    documents(link, docs, &mut all);
    if !unfound.is_empty() {
        all.push((&run.lookup_clear, vec![column(unfound.iter().map(|id| id.as_slice()))]));
    }
    let found = |there: bool| lookup.iter().filter(move |(_, is)| **is == there);
    for (there, statement) in [(true, &run.lookup_add), (false, &run.lookup_remove)] {
        if found(there).next().is_some() {
            let columns = vec![
                column(found(there).map(|((space, _, _), _)| *space)),
                column(found(there).map(|((_, key, _), _)| key.as_slice())),
                column(found(there).map(|((_, _, id), _)| id.as_slice())),
            ];
            all.push((statement, columns));
        }
    }
    if !sends.is_empty() {
        let columns = vec![
            column(sends.iter().map(|send| send.id.as_slice())),
            column(sends.iter().map(|send| send.topic)),
            column(sends.iter().map(|send| send.owner.as_slice())),
            column(sends.iter().map(|send| send.body.as_slice())),
            column(sends.iter().map(|send| send.due)),
        ];
        all.push((&run.outbox_add, columns));
    }
    for (rows, statement) in [(leases, &run.outbox_lease), (retries, &run.outbox_retry)] {
        if !rows.is_empty() {
            let columns = vec![
                column(rows.keys().map(|id| id.as_slice())),
                column(rows.values().copied()),
            ];
            all.push((statement, columns));
        }
    }
    if !ends.is_empty() {
        let wiped: &[u8] = &[];
        let columns = vec![
            column(ends.keys().map(|id| id.as_slice())),
            column(ends.values().map(|state| state.number())),
            column(ends.iter().map(|_| wiped)),
        ];
        all.push((&run.outbox_end, columns));
    }
    if let Some(mark) = mark {
        let columns: Vec<Column<'a>> = vec![Box::new(CHECKED), Box::new(*mark)];
        all.push((&run.meta_put, columns));
    }
    for notice in notices(writes) {
        let channel = link.channel.as_str();
        let columns: Vec<Column<'a>> = vec![Box::new(channel), Box::new(notice)];
        all.push((&run.notify, columns));
    }
    all
}

type Docs = std::collections::BTreeMap<(&'static str, Vec<u8>), Option<super::sheet::Doc>>;

fn documents<'a>(link: &'a Link, docs: &'a Docs, all: &mut Vec<(&'a Statement, Vec<Column<'a>>)>) {
    for (grows, statement) in [(false, &link.run.doc_put), (true, &link.run.doc_grow)] {
        let put = || {
            let put = docs.iter().filter_map(|(key, doc)| Some((key, doc.as_ref()?)));
            put.filter(move |(_, doc)| doc.grows == grows)
        };
        if put().next().is_some() {
            let columns = vec![
                column(put().map(|((kind, _), _)| *kind)),
                column(put().map(|((_, id), _)| id.as_slice())),
                column(put().map(|(_, doc)| signed(doc.version))),
                column(put().map(|(_, doc)| doc.due)),
                column(put().map(|(_, doc)| doc.body.as_slice())),
            ];
            all.push((statement, columns));
        }
    }
    let gone = || docs.iter().filter(|(_, doc)| doc.is_none());
    if gone().next().is_some() {
        let columns = vec![
            column(gone().map(|((kind, _), _)| *kind)),
            column(gone().map(|((_, id), _)| id.as_slice())),
        ];
        all.push((&link.run.doc_delete, columns));
    }
}

/// What other nodes are told, in as few notifications as it fits in: `node;kind:id,kind:id`.
fn notices(writes: &Writes) -> Vec<String> {
    let mut notices: Vec<String> = Vec::new();
    let mut told = std::collections::HashSet::new();
    let mut of = None;
    for (node, note) in &writes.notes {
        if !told.insert((node, note)) {
            continue;
        }
        let mut entry = format!("{}:", note.kind);
        for byte in note.id {
            // Writing to a string cannot fail.
            let _ = write!(entry, "{byte:02x}");
        }
        match notices.last_mut() {
            Some(last) if of == Some(node) && last.len() + entry.len() < NOTIFICATION => {
                last.push(',');
                last.push_str(&entry);
            }
            _ => {
                notices.push(format!("{node:016x};{entry}"));
                of = Some(node);
            }
        }
    }
    notices
}

/// Reads a notification back.
pub(super) fn heard(text: &str) -> Option<(u64, Vec<(String, crate::commit::Id)>)> {
    let (node, notes) = text.split_once(';')?;
    let node = u64::from_str_radix(node, 16).ok()?;
    let note = |text: &str| {
        let (kind, id) = text.split_once(':')?;
        if id.len() != 32 || !id.is_ascii() {
            return None;
        }
        let id = u128::from_str_radix(id, 16).ok()?;
        Some((kind.to_owned(), id.to_be_bytes()))
    };
    Some((node, notes.split(',').map(note).collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::Note;

    #[test]
    fn notices_are_split_by_length_and_read_back() {
        let note = |n: u128| Note {
            kind: "call",
            id: n.to_be_bytes(),
        };
        let writes = Writes {
            notes: (0..600).flat_map(|n| [(7, note(n)), (7, note(n))]).chain([(8, note(1))]).collect(),
            ..Writes::default()
        };
        let notices = notices(&writes);
        assert!(notices.iter().all(|notice| notice.len() < 8000));
        let read: Vec<_> = notices.iter().map(|notice| heard(notice).unwrap()).collect();
        let of = |node| read.iter().filter(|(of, _)| *of == node).map(|(_, notes)| notes.len()).sum::<usize>();
        assert_eq!((of(7), of(8)), (600, 1));
        assert_eq!(read[0].1[1], ("call".to_owned(), note(1).id));
    }

    #[test]
    fn nonsense_is_no_notice() {
        for text in ["", "7", "7;", "7;call", "x;call:00", "7;call:zz", "7;call:00,", "7;ä:ä"] {
            assert_eq!(heard(text), None, "{text}");
        }
    }
}
