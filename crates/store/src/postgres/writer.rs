//! The writer of a node: takes what is queued, and carries a group of it out in one transaction and one
//! round trip: it locks the head, has checked what the group takes for true, writes and commits
//! (`presume`). A group that takes something for true that is not so is told by the database and has
//! changed nothing; then every row that it will be judged by is fetched, and it takes two (`fetch`).
//! What was queued meanwhile is the next group. All nodes take turns at the lock.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::Error;

use super::fetch::fetch;
use super::link::{Link, PATIENCE, describe, is_refusal};
use super::presume::{Known, at_once};
use super::server::Server;
use super::wanted::Wanted;
use super::write::{Numbers, write};
use crate::error::WriteError;
use crate::job::Job;
use crate::rows::Wants;

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
    pub(super) known: Known,
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
    async fn next(&mut self) -> Option<Group> {
        if self.waiting.is_empty() {
            let mut tasks = Vec::with_capacity(self.batch);
            self.receiver.recv_many(&mut tasks, self.batch).await;
            self.waiting.extend(tasks);
        }
        let named = |task: &&Task| matches!(task.wants, Wants::Keys(_));
        let n = self.waiting.iter().take_while(named).count();
        // What the first wants depends on what the others have written: it is a group of its own.
        let n = n.max(1).min(self.waiting.len());
        (n > 0).then(|| Group::of(self.waiting.drain(..n)))
    }
}

/// Tasks that share a transaction, the wants of each beside its job.
#[derive(Default)]
struct Group {
    wants: Vec<Wants>,
    jobs: Vec<Box<dyn Job>>,
}

impl Group {
    fn of(tasks: impl Iterator<Item = Task>) -> Self {
        let (wants, jobs) = tasks.map(|task| (task.wants, task.job)).unzip();
        Self { wants, jobs }
    }

    fn answer(&mut self, ended: &Result<(), WriteError>) {
        for job in self.jobs.drain(..) {
            job.answer(ended.clone());
        }
    }
}

/// Why a group did not get through together.
pub(super) enum Setback {
    /// The database did not answer, before it was told to commit. Nothing happened.
    Nothing(String),
    /// It refused part of the group, and nothing happened.
    Refused(String),
    /// It was told to commit, and did not answer.
    Unknown(String),
}

impl Writer {
    pub(super) async fn run(mut self, receiver: mpsc::Receiver<Task>) {
        let mut queue = Queue {
            receiver,
            waiting: VecDeque::new(),
            batch: self.batch,
        };
        while let Some(group) = queue.next().await {
            self.serve(group).await;
        }
    }

    /// Carries a group out and answers it.
    async fn serve(&mut self, mut group: Group) {
        match self.persist(&mut group).await {
            Ok(()) => group.answer(&Ok(())),
            Err(Setback::Nothing(why)) => {
                tracing::warn!(why, "the database does not take commits; nothing is lost");
                group.answer(&Err(WriteError::Busy));
            }
            Err(Setback::Unknown(why)) => {
                tracing::warn!(why, "the database did not say whether it has committed");
                group.answer(&Err(WriteError::Unknown(why)));
            }
            Err(Setback::Refused(why)) if group.jobs.len() == 1 => {
                group.answer(&Err(WriteError::Unknown(why)));
            }
            // Rare: one bad job must not take its neighbours with it.
            Err(Setback::Refused(_)) => {
                for (wants, job) in group.wants.into_iter().zip(group.jobs) {
                    let alone = Group {
                        wants: vec![wants],
                        jobs: vec![job],
                    };
                    Box::pin(self.serve(alone)).await;
                }
            }
        }
    }

    /// Tries again what provably did not happen: the primary may just have changed.
    async fn persist(&mut self, group: &mut Group) -> Result<(), Setback> {
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
            let ended = self.together(&link, group).await;
            if matches!(ended, Ok(()) | Err(Setback::Refused(_))) {
                self.link = Some(link);
            }
            match ended {
                Err(Setback::Nothing(reason)) => why = reason,
                other => return other,
            }
        }
        Err(Setback::Nothing(why))
    }

    async fn together(&mut self, link: &Link, group: &mut Group) -> Result<(), Setback> {
        let (wanted, special) = Wanted::of(&group.wants);
        if special.is_none()
            && self.known.is_trusted()
            && at_once(link, &wanted, &mut self.known, &mut group.jobs).await?
        {
            return Ok(());
        }
        let mut sheet = match timeout(PATIENCE, fetch(link, &wanted, special)).await {
            Ok(Ok(sheet)) => sheet,
            Ok(Err(error)) if is_of_the_group(link, &error) => {
                roll_back(link).await?;
                return Err(Setback::Refused(describe(&error)));
            }
            Ok(Err(error)) => return Err(Setback::Nothing(describe(&error))),
            Err(_) => return Err(Setback::Nothing("no answer while reading".to_owned())),
        };
        self.known.learn(&sheet.attempts);
        for job in &mut group.jobs {
            if let Err(fault) = job.run(&mut sheet) {
                roll_back(link).await?;
                return Err(Setback::Refused(fault.0));
            }
        }
        match timeout(PATIENCE, write(link, &sheet.writes, Numbers::Upto(sheet.head))).await {
            Ok(Ok(_)) => {
                self.known.learn(&sheet.writes.attempts);
                Ok(())
            }
            Ok(Err(error)) => Err(refusal(link, &error)),
            Err(_) => Err(Setback::Unknown("no answer to a commit".to_owned())),
        }
    }
}

/// Whether the database has refused something that one of the group wants, so that the others must not
/// suffer for it; rather than that it cannot serve anybody now.
fn is_of_the_group(link: &Link, error: &Error) -> bool {
    let Some(code) = error.code() else {
        return false;
    };
    // Data exceptions, violated constraints, syntax and access rules (PostgreSQL, appendix A).
    let classes = ["22", "23", "42"];
    is_refusal(link, error) && classes.iter().any(|class| code.code().starts_with(class))
}

/// What an error among the writes means. Once a statement was refused, the commit behind it rolls
/// back; but where the connection ended, the database may have committed before.
pub(super) fn refusal(link: &Link, error: &Error) -> Setback {
    let why = describe(error);
    if is_refusal(link, error) {
        Setback::Refused(why)
    } else {
        Setback::Unknown(why)
    }
}

async fn roll_back(link: &Link) -> Result<(), Setback> {
    match timeout(PATIENCE, link.client.batch_execute("ROLLBACK")).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Setback::Nothing(describe(&error))),
        Err(_) => Err(Setback::Nothing("no answer to a rollback".to_owned())),
    }
}
