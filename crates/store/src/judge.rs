//! Whether a commit may happen, and which rows it then changes. Written once for every backend.
//!
//! First everything is judged against the rows, and against what the earlier parts of the same
//! commit would make of them; only then is anything written. A commit that is refused has touched
//! nothing.

use std::collections::{HashMap, HashSet};

use crate::commit::{Append, Commit, DocWrite, Expect, Guard, Id, IndexWrite, Outcome, Stream};
use crate::error::{CommitError, Fault};
use crate::read::Committed;
use crate::rows::{AttemptRow, Change, Keys, OnceRow, Rows, Wants};

/// Commits, or says why not. A [`Fault`] may leave part of the changes for the backend to roll back.
pub(crate) fn commit(
    rows: &mut dyn Rows,
    commit: &Commit,
) -> Result<Result<Committed, CommitError>, Fault> {
    let mut judge = Judge::new(rows, commit);
    let committed = match judge.commit(commit) {
        Ok(committed) => committed,
        Err(Halt::Refused(error)) => return Ok(Err(error)),
        Err(Halt::Fault(fault)) => return Err(fault),
    };
    let Judge { rows, changes, .. } = judge;
    for change in &changes {
        rows.apply(change)?;
    }
    Ok(Ok(committed))
}

/// The rows that a commit will be judged by: what [`commit`] asks [`Rows`] for, and nothing else; and
/// what has to stand there for it to go through.
pub(crate) fn wants(commit: &Commit) -> Wants {
    let Commit {
        command,
        guards,
        appends,
        docs,
        outbox,
        ..
    } = commit;
    let mut keys = Keys {
        commands: command.iter().cloned().collect(),
        lengths: appends.iter().map(|append| (append.stream, append.expected)).collect(),
        outbox: outbox.iter().map(|row| (row.id, None)).collect(),
        ..Keys::default()
    };
    for guard in guards {
        match guard {
            Guard::Attempt { key, .. } => keys.attempts.push(key.clone()),
            Guard::Step { key, value } => keys.steps.push((key.clone(), *value)),
            Guard::Once { key, .. } => keys.once.push(key.clone()),
        }
    }
    for write in docs {
        match write {
            DocWrite::Put {
                kind, id, expected, ..
            } => keys.versions.push((kind, id.clone(), *expected)),
            DocWrite::Still { kind, id, version } => {
                let expected = match version {
                    0 => Expect::New,
                    version => Expect::Version(*version),
                };
                keys.versions.push((kind, id.clone(), expected));
            }
            DocWrite::Delete { .. } => {}
        }
    }
    Wants::Keys(keys)
}

enum Halt {
    Refused(CommitError),
    Fault(Fault),
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The maps hold what this commit has changed so far, so that a second guard with the same key, or a
/// second write of the same document, sees the first.
struct Judge<'r, 'c> {
    rows: &'r mut dyn Rows,
    now: i64,
    head: u64,
    changes: Vec<Change<'c>>,
    attempts: HashMap<&'c str, Option<AttemptRow>>,
    steps: HashMap<&'c str, u64>,
    once: HashMap<&'c str, OnceRow>,
    lengths: HashMap<Stream, u64>,
    versions: HashMap<(&'static str, &'c [u8]), Option<u64>>,
    outbox: HashSet<&'c Id>,
}

impl<'r, 'c> Judge<'r, 'c> {
    fn new(rows: &'r mut dyn Rows, commit: &'c Commit) -> Self {
        Self {
            head: rows.head(),
            rows,
            now: commit.now,
            changes: Vec::new(),
            attempts: HashMap::new(),
            steps: HashMap::new(),
            once: HashMap::new(),
            lengths: HashMap::new(),
            versions: HashMap::new(),
            outbox: HashSet::new(),
        }
    }

    fn commit(&mut self, commit: &'c Commit) -> Result<Committed, Halt> {
        let Commit {
            now,
            command,
            reply,
            guards,
            appends,
            docs,
            redactions,
            index,
            outbox,
            notes: _,
        } = commit;
        if let Some(id) = command {
            if let Some(reply) = self.rows.reply(id)? {
                return Err(Halt::Refused(CommitError::Duplicate(reply)));
            }
            self.changes.push(Change::Command {
                id,
                at: *now,
                reply,
            });
        }
        for (place, guard) in guards.iter().enumerate() {
            if !self.guard(guard)? {
                return Err(Halt::Refused(CommitError::Denied(place)));
            }
        }
        for append in appends {
            self.append(append)?;
        }
        let mut versions = Vec::with_capacity(docs.len());
        for write in docs {
            versions.push(self.doc(write)?);
        }
        self.changes.extend(redactions.iter().map(Change::Redact));
        for write in index {
            self.changes.push(match write {
                IndexWrite::Add { space, key, id } => Change::IndexAdd { space, key, id },
                IndexWrite::Remove { space, key, id } => Change::IndexRemove { space, key, id },
                IndexWrite::Clear { id } => Change::IndexClear { id },
            });
        }
        for row in outbox {
            if !self.outbox.insert(&row.id) || self.rows.outbox_state(&row.id)?.is_some() {
                return Err(Halt::Refused(CommitError::Conflict));
            }
            self.changes.push(Change::OutboxAdd(row));
        }
        Ok(Committed {
            last_seq: self.head,
            versions,
        })
    }

    /// Whether the guard lets the commit pass.
    fn guard(&mut self, guard: &'c Guard) -> Result<bool, Fault> {
        match guard {
            Guard::Attempt {
                key,
                window,
                max,
                outcome,
            } => self.attempt(key, *window, *max, *outcome),
            Guard::Step { key, value } => self.step(key, *value),
            Guard::Once { key, expires } => self.once(key, *expires),
        }
    }

    fn attempt(
        &mut self,
        key: &'c str,
        window: Option<i64>,
        max: u32,
        outcome: Outcome,
    ) -> Result<bool, Fault> {
        // A window that is not positive would reset at once and let everybody guess for ever.
        let window = window.filter(|window| *window > 0);
        let stored = match self.attempts.get(key) {
            Some(staged) => *staged,
            None => self.rows.attempt(key)?,
        };
        let lapsed = |row: &AttemptRow| {
            window.is_some_and(|window| self.now.saturating_sub(row.since) >= window)
        };
        let current = stored.filter(|row| !lapsed(row));
        let count = current.map_or(0, |row| row.count);
        if count >= max {
            return Ok(false);
        }
        let row = match outcome {
            Outcome::Check => return Ok(true),
            Outcome::Success if stored.is_none() => return Ok(true),
            Outcome::Success => None,
            Outcome::Fail => {
                let since = current.map_or(self.now, |row| row.since);
                let until = window.map(|window| since.saturating_add(window));
                Some(AttemptRow {
                    count: count.saturating_add(1),
                    since,
                    until,
                })
            }
        };
        self.attempts.insert(key, row);
        self.changes.push(Change::Attempt { key, row });
        Ok(true)
    }

    fn step(&mut self, key: &'c str, value: u64) -> Result<bool, Fault> {
        let stored = match self.steps.get(key) {
            Some(staged) => Some(*staged),
            None => self.rows.step(key)?,
        };
        // Databases count to i64::MAX: what cannot be remembered cannot be let through.
        if i64::try_from(value).is_err() || stored.is_some_and(|stored| value <= stored) {
            return Ok(false);
        }
        self.steps.insert(key, value);
        self.changes.push(Change::Step { key, value });
        Ok(true)
    }

    fn once(&mut self, key: &'c str, expires: Option<i64>) -> Result<bool, Fault> {
        let stored = match self.once.get(key) {
            Some(staged) => Some(*staged),
            None => self.rows.once(key)?,
        };
        if stored.is_some_and(|row| row.expires.is_none_or(|expires| self.now <= expires)) {
            return Ok(false);
        }
        let row = OnceRow { expires };
        self.once.insert(key, row);
        self.changes.push(Change::Once { key, row });
        Ok(true)
    }

    fn append(&mut self, append: &'c Append) -> Result<(), Halt> {
        let Append {
            stream,
            expected,
            events,
        } = append;
        let length = match self.lengths.get(stream) {
            Some(staged) => *staged,
            None => self.rows.length(*stream)?,
        };
        if length != *expected {
            return Err(Halt::Refused(CommitError::Conflict));
        }
        let mut n = length;
        for event in events {
            n = n.saturating_add(1);
            self.head = self.head.saturating_add(1);
            self.changes.push(Change::Event {
                seq: self.head,
                stream: *stream,
                n,
                event,
            });
        }
        self.lengths.insert(*stream, n);
        Ok(())
    }

    /// The version of a document, as the parts before have left it.
    fn version(&mut self, kind: &'static str, id: &'c [u8]) -> Result<Option<u64>, Fault> {
        match self.versions.get(&(kind, id)) {
            Some(staged) => Ok(*staged),
            None => self.rows.version(kind, id),
        }
    }

    /// The version that the write leads to.
    fn doc(&mut self, write: &'c DocWrite) -> Result<u64, Halt> {
        match write {
            DocWrite::Put {
                kind,
                id,
                expected,
                body,
                due,
            } => {
                let stored = self.version(kind, id)?;
                let fits = match expected {
                    Expect::New => stored.is_none(),
                    Expect::Version(version) => stored == Some(*version),
                    Expect::Any => true,
                };
                if !fits {
                    return Err(Halt::Refused(CommitError::Conflict));
                }
                let version = stored.unwrap_or(0).saturating_add(1);
                self.versions.insert((*kind, id.as_slice()), Some(version));
                self.changes.push(Change::DocPut {
                    kind,
                    id,
                    version,
                    due: *due,
                    body,
                });
                Ok(version)
            }
            DocWrite::Delete { kind, id } => {
                self.versions.insert((*kind, id.as_slice()), None);
                self.changes.push(Change::DocDelete { kind, id });
                Ok(0)
            }
            DocWrite::Still { kind, id, version } => {
                if self.version(kind, id)?.unwrap_or(0) != *version {
                    return Err(Halt::Refused(CommitError::Conflict));
                }
                Ok(*version)
            }
        }
    }
}
