//! The writer of a node: takes what is queued, and carries a group of it out in one transaction: it
//! locks the head and fetches every row the group will be judged by, judges, writes and commits. What
//! was queued meanwhile is the next group, and its lock and its rows are asked for right behind the
//! commit: under load each group is one round trip. All nodes take turns at the lock.

use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::{join, join_all, join5};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row, Statement};

use super::link::{Link, PATIENCE, describe};
use super::server::Server;
use super::sheet::Sheet;
use super::write::write;
use crate::commit::{Id, Stream};
use crate::error::WriteError;
use crate::job::Job;
use crate::read::{OutboxItem, OutboxState};
use crate::rows::{AttemptRow, Keys, OnceRow, Stale, Wants, unsigned};
use crate::sql::HEAD;

/// How often a group is tried that provably did not happen.
const TRIES: usize = 3;

/// A piece of work with the rows it will ask for.
pub(super) struct Task {
    pub(super) wants: Wants,
    pub(super) job: Box<dyn Job>,
}

pub(super) struct Writer {
    pub(super) server: Server,
    pub(super) durable: bool,
    pub(super) batch: usize,
    pub(super) link: Option<Arc<Link>>,
}

/// What is to be done, in the order in which it came.
struct Queue {
    receiver: mpsc::Receiver<Task>,
    /// Taken from the channel, and in no group yet.
    waiting: VecDeque<Task>,
    batch: usize,
}

impl Queue {
    /// The next group, once there is one. `None` when nothing more will come.
    async fn next(&mut self) -> Option<Vec<Task>> {
        if self.waiting.is_empty() {
            let mut tasks = Vec::with_capacity(self.batch);
            self.receiver.recv_many(&mut tasks, self.batch).await;
            self.waiting.extend(tasks);
        }
        let group = self.leading();
        if group.is_empty() {
            // What it wants depends on what the others have written.
            return self.waiting.pop_front().map(|special| vec![special]);
        }
        Some(group)
    }

    /// Those that wait already and can make a group together.
    fn already(&mut self) -> Vec<Task> {
        while self.waiting.len() < self.batch
            && let Ok(task) = self.receiver.try_recv()
        {
            self.waiting.push_back(task);
        }
        self.leading()
    }

    fn leading(&mut self) -> Vec<Task> {
        let named = |task: &&Task| matches!(task.wants, Wants::Keys(_));
        let n = self.waiting.iter().take(self.batch).take_while(named).count();
        self.waiting.drain(..n).collect()
    }

    /// Puts back what was taken too early.
    fn again(&mut self, tasks: Vec<Task>) {
        for task in tasks.into_iter().rev() {
            self.waiting.push_front(task);
        }
    }
}

/// Tasks that share a transaction.
struct Group {
    tasks: Vec<Task>,
    /// What they want, if it was fetched behind the commit of the group before: the transaction is
    /// open then, and holds the lock.
    sheet: Option<Sheet>,
}

/// Why a group did not get through together.
enum Setback {
    /// The database did not answer, before it was told to commit. Nothing happened.
    Nothing(String),
    /// It refused part of the group, and nothing happened.
    Refused(String),
    /// It was told to commit, and did not answer.
    Unknown(String),
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

impl Writer {
    pub(super) async fn run(mut self, receiver: mpsc::Receiver<Task>) {
        let mut queue = Queue {
            receiver,
            waiting: VecDeque::new(),
            batch: self.batch,
        };
        let mut ahead = None;
        loop {
            let group = match ahead.take() {
                Some(group) => group,
                None => match queue.next().await {
                    Some(tasks) => Group { tasks, sheet: None },
                    None => return,
                },
            };
            ahead = self.serve(group, Some(&mut queue)).await;
        }
    }

    /// Carries a group out and answers it. What waits in the queue meanwhile is fetched on the way,
    /// and given back as the next group.
    async fn serve(&mut self, mut group: Group, queue: Option<&mut Queue>) -> Option<Group> {
        match self.persist(&mut group, queue).await {
            Ok(ahead) => return ahead,
            Err(Setback::Nothing(why)) => {
                tracing::warn!(why, "the database does not take commits; nothing is lost");
                answer(group.tasks, &Err(WriteError::Busy));
            }
            Err(Setback::Unknown(why)) => {
                tracing::warn!(why, "the database did not say whether it has committed");
                answer(group.tasks, &Err(WriteError::Unknown(why)));
            }
            Err(Setback::Refused(why)) if group.tasks.len() == 1 => {
                answer(group.tasks, &Err(WriteError::Unknown(why)));
            }
            // Rare: one bad job must not take its neighbours with it.
            Err(Setback::Refused(_)) => {
                for task in group.tasks {
                    let alone = Group {
                        tasks: vec![task],
                        sheet: None,
                    };
                    Box::pin(self.serve(alone, None)).await;
                }
            }
        }
        None
    }

    /// Tries again what provably did not happen: the primary may just have changed.
    async fn persist(
        &mut self,
        group: &mut Group,
        mut queue: Option<&mut Queue>,
    ) -> Result<Option<Group>, Setback> {
        let mut why = String::new();
        for _ in 0..TRIES {
            let link = match self.link.take().filter(|link| !link.client.is_closed()) {
                Some(link) => link,
                None => match Link::open(&self.server, self.durable).await {
                    Ok(link) => Arc::new(link),
                    Err(reason) => {
                        why = reason;
                        continue;
                    }
                },
            };
            match together(&link, group, queue.as_deref_mut()).await {
                Ok(ahead) => {
                    self.link = Some(link);
                    return Ok(ahead);
                }
                Err(Setback::Refused(why)) => {
                    self.link = Some(link);
                    return Err(Setback::Refused(why));
                }
                Err(Setback::Nothing(reason)) => why = reason,
                Err(unknown) => return Err(unknown),
            }
        }
        Err(Setback::Nothing(why))
    }
}

fn answer(group: Vec<Task>, ended: &Result<(), WriteError>) {
    for task in group {
        task.job.answer(ended.clone());
    }
}

fn wants(group: &[Task]) -> Vec<&Wants> {
    group.iter().map(|task| &task.wants).collect()
}

async fn together(
    link: &Link,
    group: &mut Group,
    mut queue: Option<&mut Queue>,
) -> Result<Option<Group>, Setback> {
    let mut sheet = match group.sheet.take() {
        Some(sheet) => sheet,
        None => match timeout(PATIENCE, fetch(link, &wants(&group.tasks))).await {
            Ok(Ok(sheet)) => sheet,
            Ok(Err(error)) if is_of_the_group(link, &error) => {
                roll_back(link).await?;
                return Err(Setback::Refused(describe(&error)));
            }
            Ok(Err(error)) => return Err(Setback::Nothing(describe(&error))),
            Err(_) => return Err(Setback::Nothing("no answer while reading".to_owned())),
        },
    };
    for task in &mut group.tasks {
        if let Err(fault) = task.job.run(&mut sheet) {
            roll_back(link).await?;
            return Err(Setback::Refused(fault.0));
        }
    }
    let next = queue.as_deref_mut().map(Queue::already).unwrap_or_default();
    let writes = std::mem::take(&mut sheet.writes);
    let written = async {
        match timeout(PATIENCE, write(link, &writes, sheet.head)).await {
            Ok(Ok(())) => {
                // At once: what is fetched for others may have to wait for another node's turn.
                answer(std::mem::take(&mut group.tasks), &Ok(()));
                Ok(())
            }
            Ok(Err(error)) => Err(refusal(link, &error)),
            Err(_) => Err(Setback::Unknown("no answer to a commit".to_owned())),
        }
    };
    if next.is_empty() {
        return written.await.map(|()| None);
    }
    // Polled in this order, so sent in this order: the next group sees what this one has written.
    let (written, fetched) = join(written, timeout(PATIENCE * 2, fetch(link, &wants(&next)))).await;
    let usable = match fetched {
        Ok(Ok(sheet)) if written.is_ok() => {
            return Ok(Some(Group {
                tasks: next,
                sheet: Some(sheet),
            }));
        }
        Ok(Ok(_)) => roll_back(link).await.is_ok(),
        Ok(Err(error)) => error.as_db_error().is_some() && roll_back(link).await.is_ok(),
        Err(_) => false,
    };
    if !usable {
        link.give_up();
    }
    if let Some(queue) = queue {
        queue.again(next);
    }
    written.map(|()| None)
}

/// Whether the database has refused something that one of the group wants, so that the others must not
/// suffer for it; rather than that it cannot serve anybody now.
fn is_of_the_group(link: &Link, error: &Error) -> bool {
    let Some(code) = error.code() else {
        return false;
    };
    // Data exceptions, violated constraints, syntax and access rules (PostgreSQL, appendix A).
    let classes = ["22", "23", "42"];
    !link.client.is_closed() && classes.iter().any(|class| code.code().starts_with(class))
}

/// What an error among the writes means. Once a statement was refused, the commit behind it rolls
/// back; but where the connection ended, the database may have committed before.
fn refusal(link: &Link, error: &Error) -> Setback {
    let why = describe(error);
    match error.as_db_error() {
        Some(_) if !link.client.is_closed() => Setback::Refused(why),
        _ => Setback::Unknown(why),
    }
}

async fn roll_back(link: &Link) -> Result<(), Setback> {
    match timeout(PATIENCE, link.client.batch_execute("ROLLBACK")).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Setback::Nothing(describe(&error))),
        Err(_) => Err(Setback::Nothing("no answer to a rollback".to_owned())),
    }
}

/// Begins, locks the head and fetches what the group wants: statements on their way together.
async fn fetch(link: &Link, group: &[&Wants]) -> Result<Sheet, Error> {
    let (client, run) = (&link.client, &link.run);
    let mut keys = Unique::default();
    let mut special = None;
    for wants in group {
        match wants {
            Wants::Keys(wanted) => keys.add(wanted),
            other => special = Some(*other),
        }
    }
    let keys = keys;
    let commands: Vec<&str> = keys.commands.iter().copied().collect();
    let attempts: Vec<&str> = keys.attempts.iter().copied().collect();
    let steps: Vec<&str> = keys.steps.iter().copied().collect();
    let once: Vec<&str> = keys.once.iter().copied().collect();
    let (kinds, streams): (Vec<&str>, Vec<&[u8]>) =
        keys.lengths.iter().map(|(kind, id)| (*kind, *id)).unzip();
    let (doc_kinds, docs): (Vec<&str>, Vec<&[u8]>) =
        keys.versions.iter().map(|(kind, id)| (*kind, *id)).unzip();
    let outbox: Vec<&[u8]> = keys.outbox.iter().copied().collect();

    let begin = client.batch_execute("BEGIN");
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

    sheet.commands = none(&keys.commands, |key| (*key).to_owned());
    for row in next()? {
        sheet.commands.insert(row.get(0), Some(row.get(1)));
    }
    sheet.attempts = none(&keys.attempts, |key| (*key).to_owned());
    for row in next()? {
        let count: i64 = row.get(1);
        let attempt = AttemptRow {
            count: u32::try_from(count).unwrap_or(u32::MAX),
            since: row.get(2),
            until: row.get(3),
        };
        sheet.attempts.insert(row.get(0), Some(attempt));
    }
    sheet.steps = none(&keys.steps, |key| (*key).to_owned());
    for row in next()? {
        sheet.steps.insert(row.get(0), Some(unsigned(row.get(1))));
    }
    sheet.once = none(&keys.once, |key| (*key).to_owned());
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
    sheet.versions = none(&keys.versions, |(kind, id)| ((*kind).to_owned(), id.to_vec()));
    for row in next()? {
        let key = (row.get(0), row.get(1));
        sheet.versions.insert(key, Some(unsigned(row.get(2))));
    }
    sheet.outbox = none(&keys.outbox, |key| id(key));
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

fn none<K, O: Hash + Eq, V>(keys: &HashSet<K>, own: impl Fn(&K) -> O) -> super::sheet::Fetched<O, V> {
    keys.iter().map(|key| (own(key), None)).collect()
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

/// Every key once, however many of the group want it.
#[derive(Default)]
struct Unique<'a> {
    commands: HashSet<&'a str>,
    attempts: HashSet<&'a str>,
    steps: HashSet<&'a str>,
    once: HashSet<&'a str>,
    lengths: HashSet<(&'a str, &'a [u8])>,
    versions: HashSet<(&'a str, &'a [u8])>,
    outbox: HashSet<&'a [u8]>,
}

impl<'a> Unique<'a> {
    fn add(&mut self, keys: &'a Keys) {
        let Keys {
            commands,
            attempts,
            steps,
            once,
            lengths,
            versions,
            outbox,
        } = keys;
        self.commands.extend(commands.iter().map(String::as_str));
        self.attempts.extend(attempts.iter().map(String::as_str));
        self.steps.extend(steps.iter().map(String::as_str));
        self.once.extend(once.iter().map(String::as_str));
        let stream = |stream: &'a Stream| (stream.kind, stream.id.as_slice());
        self.lengths.extend(lengths.iter().map(stream));
        let versions = versions.iter().map(|(kind, id)| (*kind, id.as_slice()));
        self.versions.extend(versions);
        self.outbox.extend(outbox.iter().map(|id| id.as_slice()));
    }
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
