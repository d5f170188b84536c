//! One round trip for a group. Nearly always what a commit needs to stand in the database does stand
//! there: its streams are as long as it says, its documents have the versions that it names, its command
//! is new. So the group is judged as if that were so, and what it writes goes out together with the
//! lock and a statement that fails unless it is so; then nothing of it has happened.
//!
//! Numbers that only the database knows are written as additions: events are numbered from the head that
//! it has locked, and documents of any version grow by what the group adds.

use std::collections::HashMap;

use futures_util::future::join5;
use tokio::time::timeout;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::fetch::id;
use super::link::{BEGIN, Link, PATIENCE};
use super::sheet::{Sheet, Versions};
use super::wanted::{Wanted, none};
use super::write::{Column, Numbers, column, write};
use super::writer::{Setback, refusal};
use crate::commit::Expect;
use crate::job::Job;
use crate::rows::{AttemptRow, signed, unsigned};
use crate::sql::HEAD;

/// How many counts are remembered. Those of a lively day are fewer; if not, all are learnt again.
const REMEMBERED: usize = 20_000;
/// After this many wrong presumptions in a row it does not get worse.
const WORST: u32 = 5;

/// What a node remembers of the rows that a commit does not name a value for: counts of failures. It is
/// never relied upon, only presumed.
#[derive(Default)]
pub(super) struct Known {
    attempts: HashMap<String, AttemptRow>,
    /// Wrong presumptions in a row, and how many groups are yet to be fetched for them: where nodes
    /// struggle for the same rows, presuming is a round trip in vain.
    wrong: u32,
    wary: u32,
}

impl Known {
    /// Counts as they stand, or that there are none.
    pub(super) fn learn<'a>(&mut self, attempts: impl IntoIterator<Item = (&'a String, &'a Option<AttemptRow>)>) {
        for (key, row) in attempts {
            match row {
                Some(row) => {
                    if self.attempts.len() >= REMEMBERED {
                        self.attempts.clear();
                    }
                    self.attempts.insert(key.clone(), *row);
                }
                None => {
                    self.attempts.remove(key);
                }
            }
        }
    }

    /// Whether the next group is to be presumed. Asked once for each group.
    pub(super) fn is_trusted(&mut self) -> bool {
        let wary = self.wary > 0;
        self.wary = self.wary.saturating_sub(1);
        !wary
    }

    fn was_wrong(&mut self) {
        self.wrong = self.wrong.saturating_add(1).min(WORST);
        self.wary = (1 << self.wrong) - 1;
    }
}

/// Tries a group in one round trip. `false`: something was presumed that is not so, or the database
/// refused; nothing has happened.
pub(super) async fn at_once(
    link: &Link,
    wanted: &Wanted<'_>,
    known: &mut Known,
    jobs: &mut [Box<dyn Job>],
) -> Result<bool, Setback> {
    let mut sheet = presumed(wanted, known);
    if run(jobs, &mut sheet).is_err() {
        // Whoever is at fault is found when the group is judged by what was fetched.
        return Ok(false);
    }
    let sent = timeout(PATIENCE, send(link, &claims(wanted, known), &sheet)).await;
    let (head, grown) = match sent {
        Ok(Ok(told)) => told,
        Ok(Err(error)) => {
            if error.code() == Some(&SqlState::DIVISION_BY_ZERO) {
                known.was_wrong();
            }
            return match refusal(link, &error) {
                Setback::Refused(_) => Ok(false),
                other => Err(other),
            };
        }
        Err(_) => return Err(Setback::Unknown("no answer to a commit".to_owned())),
    };
    // It is done, as it was judged. Once more, by the numbers as they are, for those who asked.
    let mut actual = presumed(wanted, known);
    actual.head = head;
    for ((kind, doc), written) in &sheet.writes.docs {
        let key = ((*kind).to_owned(), doc.clone());
        if let (Some(written), Some(version)) = (written, grown.get(&key)) {
            let before = version.saturating_sub(written.version);
            actual.versions.insert(key, (before > 0).then_some(before));
        }
    }
    known.wrong = 0;
    known.learn(&sheet.writes.attempts);
    run(jobs, &mut actual).map_err(Setback::Unknown)?;
    Ok(true)
}

fn run(jobs: &mut [Box<dyn Job>], sheet: &mut Sheet) -> Result<(), String> {
    jobs.iter_mut().try_for_each(|job| job.run(sheet)).map_err(|fault| fault.0)
}

/// The rows of a group as it expects them; the head is 0, and so is a version that may be any.
fn presumed(wanted: &Wanted<'_>, known: &Known) -> Sheet {
    let mut sheet = Sheet {
        commands: none(&wanted.commands, |key| (*key).to_owned()),
        steps: none(wanted.steps.keys(), |key| (*key).to_owned()),
        once: none(&wanted.once, |key| (*key).to_owned()),
        ..Sheet::default()
    };
    for key in &wanted.attempts {
        let row = known.attempts.get(*key).copied();
        sheet.attempts.insert((*key).to_owned(), row);
    }
    for ((kind, stream), n) in &wanted.lengths {
        sheet.lengths.insert(((*kind).to_owned(), id(stream)), *n);
    }
    for ((kind, doc), expected) in &wanted.versions {
        let key = ((*kind).to_owned(), doc.to_vec());
        if *expected == Expect::Any {
            sheet.any.insert(key.clone());
        }
        sheet.versions.insert(key, version(*expected));
    }
    for (message, state) in &wanted.outbox {
        sheet.outbox.insert(id(message), *state);
    }
    sheet
}

fn version(expected: Expect) -> Option<u64> {
    match expected {
        Expect::Version(version) => Some(version),
        Expect::New | Expect::Any => None,
    }
}

/// What was presumed, as the parameters of [`super::link::HOLDS`].
fn claims<'a>(wanted: &'a Wanted<'_>, known: &'a Known) -> Vec<Column<'a>> {
    let attempts = || wanted.attempts.iter().map(|key| (*key, known.attempts.get(*key)));
    let named = || {
        let named = |expected: &Expect| *expected != Expect::Any;
        wanted.versions.iter().filter(move |(_, expected)| named(expected))
    };
    vec![
        column(wanted.commands.iter().copied()),
        column(wanted.once.iter().copied()),
        column(attempts().map(|(key, _)| key)),
        column(attempts().map(|(_, row)| row.map(|row| i64::from(row.count)))),
        column(attempts().map(|(_, row)| row.map(|row| row.since))),
        column(attempts().map(|(_, row)| row.and_then(|row| row.until))),
        column(wanted.steps.keys().copied()),
        column(wanted.steps.values().map(|value| signed(*value))),
        column(wanted.lengths.keys().map(|(kind, _)| *kind)),
        column(wanted.lengths.keys().map(|(_, stream)| *stream)),
        column(wanted.lengths.values().map(|n| signed(*n))),
        column(named().map(|((kind, _), _)| *kind)),
        column(named().map(|((_, id), _)| *id)),
        column(named().map(|(_, expected)| version(*expected).map(signed))),
        column(wanted.outbox.keys().copied()),
        column(wanted.outbox.values().map(|state| state.map(|state| state.number()))),
    ]
}

/// The whole transaction, on its way together: the head that was locked, and the versions that documents
/// have grown to.
async fn send(
    link: &Link,
    claims: &[Column<'_>],
    sheet: &Sheet,
) -> Result<(u64, Versions), Error> {
    let (client, run) = (&link.client, &link.run);
    let channel: [&(dyn ToSql + Sync); 1] = [&link.channel];
    let claims: Vec<&(dyn ToSql + Sync)> = claims.iter().map(|column| &**column as _).collect();
    // Polled in this order, so sent in this order. Once one has failed, those behind it fail with it, and
    // the commit rolls back; if it is the beginning that failed, they find that nothing may be written.
    let (begun, turn, head, held, written) = join5(
        client.batch_execute(BEGIN),
        client.execute(&run.turn, &channel),
        client.query_one(&run.head_lock, &[&HEAD]),
        client.execute(&run.holds, &claims),
        write(link, &sheet.writes, Numbers::More(sheet.head)),
    )
    .await;
    begun?;
    turn?;
    let head = unsigned(head?.get(0));
    held?;
    let grown = written?;
    Ok((head, grown))
}
