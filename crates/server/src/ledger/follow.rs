//! What a serving node does for the log, again and again: sequences, shows the head to witnesses, and
//! refuses to sign where somebody remembers more than there is.

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError, atomic::{AtomicBool, AtomicU64, Ordering}},
    time::Duration,
};

use countersign_core::time::Timestamp;
use countersign_store::{Commit, CommitError, DocWrite, Expect};
use serde::{Deserialize, Serialize};

use super::{Head, LedgerError, Sequencer, head, keys::Keys, put, sequencer::intact, survey::Survey, version, witness::{Witnesses, replaced}};
use crate::runner::{RunError, Runner};

/// Batches in a row before the witnesses have their turn.
const BATCHES: usize = 50;
/// Bundles of 256 entries that a start looks at (half a million entries, some seconds), and that are looked at in
/// each turn from then on.
const AT_START: usize = 2_000;
const EACH_TURN: usize = 32;
/// How far each log was, by its name: a document in the *key store*, which has a life and copies of its own.
const SEEN: &str = "log-seen";
/// Why nothing of a log is signed any more, by its name; there as well. Empty: it was mended.
const STOPPED: &str = "log-stopped";
/// How long a start waits for witnesses.
const PATIENCE: Duration = Duration::from_secs(5);

/// The chore.
pub struct Log {
    sequencer: Sequencer,
    witnesses: Witnesses,
    memory: Option<PathBuf>,
    survey: tokio::sync::Mutex<Survey>,
    /// Whether the turn before found something.
    doubt: Mutex<bool>,
    /// Why this node signs nothing any more, and whether the others know.
    stopped: Mutex<Option<Found>>,
    marked: AtomicBool,
    /// The version of the mark because of which the whole log is looked at.
    looks: AtomicU64,
}

/// What is wrong with a log.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Found {
    /// In words.
    why: String,
    /// How many entries somebody has seen, if that is what is wrong; 0 otherwise.
    seen: u64,
}

impl Log {
    /// Over its parts. `memory`: a file beside the configuration that remembers the size of the log.
    pub fn new(sequencer: Sequencer, witnesses: Witnesses, memory: Option<PathBuf>) -> Self {
        Self { sequencer, witnesses, memory, survey: Default::default(), doubt: Mutex::default(), stopped: Mutex::default(), marked: AtomicBool::new(false), looks: AtomicU64::new(0) }
    }

    /// Before anything is served: whether somebody has seen more of the log than there is, and whether what is
    /// kept of it is what was signed. With an older backup, limits and spent codes are those of then.
    ///
    /// # Errors
    /// [`LedgerError::Behind`], [`LedgerError::Damaged`], and when the record does not answer.
    pub async fn check(&self, runner: &Runner) -> Result<(), LedgerError> {
        let latest = head(&runner.store).await?;
        Keys::read(runner).await?.signed(&latest)?;
        intact(&runner.store, &latest).await?;
        self.not_behind(runner, self.remembered(latest.size)).await?;
        self.not_behind(runner, self.kept(runner, latest.size).await).await?;
        if let Some((found, _)) = self.mark(runner).await?
            && found.seen > latest.size
        {
            return Err(LedgerError::Stopped(found.why));
        }
        self.survey.lock().await.go_on(&runner.store, AT_START, runner.now()).await?;
        if self.is_named(&latest) {
            self.not_behind(runner, self.witnesses.seen_more(runner, PATIENCE).await).await?;
        }
        Ok(())
    }

    /// Another node may have gone on while this one looked: then what was seen is what there is now.
    async fn not_behind(&self, runner: &Runner, found: Result<(), LedgerError>) -> Result<(), LedgerError> {
        if let Err(LedgerError::Behind { seen, here, .. }) = &found {
            let now = head(&runner.store).await?.size;
            if now > *here && now >= *seen {
                return Ok(());
            }
        }
        found
    }

    /// Whether the head is of the log that is kept now. One of another name is shown to nobody: witnesses know
    /// it, and what became of it.
    fn is_named(&self, head: &Head) -> bool { head.origin.as_deref() == Some(self.sequencer.origin()) }

    /// One turn. One node has it at a time; two do no harm.
    ///
    /// # Errors
    /// Whatever is in the way. What is wrong with the log itself counts when two turns in a row find it: then this
    /// node stops until it is started again, and leaves a mark for all.
    pub async fn follow(&self, runner: &Runner) -> Result<(), LedgerError> {
        if let Some(found) = self.found() {
            // Others may have the chore: what was seen here may be mended since.
            self.shows(runner, true).await;
            self.leave_mark(runner, &found).await?;
            return Err(LedgerError::Stopped(found.why));
        }
        if !runner.leads("log").await? {
            for gauge in [&runner.metrics.log_stopped, &runner.metrics.log_behind] {
                gauge.set(0);
            }
            runner.metrics.log_waiting.set(0.0);
            return Ok(());
        }
        let turned = match self.barred(runner).await {
            Ok(None) => self.turn(runner).await,
            Ok(Some(why)) => Err(LedgerError::Stopped(why)),
            Err(e) => Err(e),
        };
        let turned = match turned {
            // Another node has gone on while this one looked: what was seen is what there is now.
            Err(LedgerError::Behind { seen, here, .. }) if here < seen && head(&runner.store).await?.size >= seen => Ok(()),
            other => other,
        };
        match &turned {
            Ok(()) => *self.doubt() = false,
            Err(e @ (LedgerError::Behind { .. } | LedgerError::Damaged(_))) => {
                // Once may have been a look at a database that was not the right one any more.
                if std::mem::replace(&mut *self.doubt(), true) {
                    let seen = if let LedgerError::Behind { seen, .. } = e { *seen } else { 0 };
                    *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = Some(Found { why: e.to_string(), seen });
                }
            }
            Err(_) => {}
        }
        match self.found() {
            Some(found) => {
                self.shows(runner, true).await;
                self.leave_mark(runner, &found).await?;
            }
            None if turned.is_err() => self.shows(runner, matches!(turned, Err(LedgerError::Stopped(_)))).await,
            None => {
                runner.metrics.log_stopped.set(0);
            }
        }
        turned
    }

    fn found(&self) -> Option<Found> { self.stopped.lock().unwrap_or_else(PoisonError::into_inner).clone() }

    fn doubt(&self) -> MutexGuard<'_, bool> { self.doubt.lock().unwrap_or_else(PoisonError::into_inner) }

    /// What some node has found, and which version of the mark says so.
    async fn mark(&self, runner: &Runner) -> Result<Option<(Found, u64)>, LedgerError> {
        match runner.customers.keys.doc(STOPPED, self.sequencer.origin().as_bytes()).await? {
            Some(doc) if !doc.body.is_empty() => Ok(Some((serde_json::from_slice(&doc.body).map_err(RunError::from)?, doc.version))),
            _ => Ok(None),
        }
    }

    /// Until it is there.
    async fn leave_mark(&self, runner: &Runner, found: &Found) -> Result<(), LedgerError> {
        if self.marked.load(Ordering::Relaxed) {
            return Ok(());
        }
        let body = serde_json::to_vec(found).map_err(RunError::from)?;
        remembers(runner, put(STOPPED, self.sequencer.origin().into(), Expect::Any, body)).await?;
        self.marked.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Why nothing may be signed, because some node has found something. Whoever leads looks at the whole log then,
    /// and takes the mark away if all of it is as it should be.
    async fn barred(&self, runner: &Runner) -> Result<Option<String>, LedgerError> {
        let Some((found, of)) = self.mark(runner).await? else { return Ok(None) };
        if found.seen > head(&runner.store).await?.size {
            return Ok(Some(found.why));
        }
        let mut survey = self.survey.lock().await;
        if self.looks.swap(of, Ordering::Relaxed) != of {
            *survey = Survey::default();
        }
        survey.go_on(&runner.store, AT_START, runner.now()).await?;
        if !survey.is_done() {
            return Ok(Some(found.why));
        }
        // Unless somebody has left another one meanwhile.
        remembers(runner, put(STOPPED, self.sequencer.origin().into(), Expect::Version(of), Vec::new())).await?;
        Ok(None)
    }

    /// Whoever watches how long events wait has to see that they do. What goes wrong here is told by what went wrong
    /// before.
    async fn shows(&self, runner: &Runner, stopped: bool) {
        runner.metrics.log_stopped.set(i64::from(stopped));
        let Ok(size) = head(&runner.store).await.map(|head| head.size) else { return };
        let (Ok(events), Ok(waiting)) = (runner.store.head().await, runner.store.log(size, 1).await) else { return };
        runner.metrics.log_behind.set(i64::try_from(events.saturating_sub(size)).unwrap_or(i64::MAX));
        let oldest = waiting.first().map(|row| runner.now() - Timestamp(row.at));
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of waiting are far below 2^52")]
        runner.metrics.log_waiting.set(oldest.map_or(0.0, |span| span.0.max(0) as f64 / 1000.0));
    }

    async fn turn(&self, runner: &Runner) -> Result<(), LedgerError> {
        let size = head(&runner.store).await?.size;
        self.remembered(size)?;
        self.kept(runner, size).await?;
        let mut seen = size;
        for _ in 0..BATCHES {
            let now = self.sequencer.run_from(runner, seen).await?;
            seen = now.size;
            let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            runner.metrics.log_entries.set(gauge(now.size));
            runner.metrics.log_behind.set(gauge(now.behind));
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of waiting are far below 2^52")]
            runner.metrics.log_waiting.set(now.waiting.0 as f64 / 1000.0);
            if now.added > 0 {
                self.remember(now.size)?;
                self.keep(runner, now.size).await?;
            }
            if now.behind == 0 || now.added == 0 {
                break;
            }
        }
        let signed = if self.is_named(&head(&runner.store).await?) { self.witnesses.show(runner).await? } else { 0 };
        runner.metrics.log_witnesses.set(i64::try_from(signed).unwrap_or(i64::MAX));
        let surveyed = self.survey.lock().await.go_on(&runner.store, EACH_TURN, runner.now()).await?;
        runner.metrics.log_surveyed.set(i64::try_from(surveyed).unwrap_or(i64::MAX));
        Ok(())
    }

    /// What the key store remembers of the log of this name. An older copy of the record that is put beside the key
    /// store of today is recognised by it, without anything that has to be set up.
    async fn kept(&self, runner: &Runner, here: u64) -> Result<(), LedgerError> {
        let Some(doc) = runner.customers.keys.doc(SEEN, self.sequencer.origin().as_bytes()).await? else { return Ok(()) };
        let seen = std::str::from_utf8(&doc.body).ok().and_then(|text| text.parse::<u64>().ok());
        match seen.ok_or_else(|| LedgerError::Damaged("the key store does not say how far it was".into()))? {
            seen if seen > here => Err(LedgerError::Behind { who: "the key store".into(), seen, here }),
            _ => Ok(()),
        }
    }

    /// Never less than was kept before: a node that comes late writes nothing.
    async fn keep(&self, runner: &Runner, size: u64) -> Result<(), LedgerError> {
        let id = self.sequencer.origin().as_bytes();
        let before = runner.customers.keys.doc(SEEN, id).await?;
        let seen = before.as_ref().and_then(|doc| std::str::from_utf8(&doc.body).ok()?.parse::<u64>().ok());
        if seen.is_some_and(|seen| seen >= size) {
            return Ok(());
        }
        remembers(runner, put(SEEN, id.to_vec(), version(before.as_ref()), size.to_string().into_bytes())).await
    }

    fn remembered(&self, here: u64) -> Result<(), LedgerError> {
        let Some(file) = &self.memory else { return Ok(()) };
        let broken = |why: String| LedgerError::Run(RunError::Store(format!("log.memory {}: {why}", file.display())));
        match std::fs::read_to_string(file) {
            Ok(text) => {
                let seen: u64 = text.trim().parse().map_err(|_| broken("it should hold one number: restore it, or remove it once you know why".into()))?;
                if seen > here { Err(LedgerError::Behind { who: file.display().to_string(), seen, here }) } else { Ok(()) }
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(broken(e.to_string())),
        }
    }

    /// Whole or as it was; that it may lag behind by one is no harm.
    fn remember(&self, size: u64) -> Result<(), LedgerError> {
        let Some(file) = &self.memory else { return Ok(()) };
        replaced(file, format!("{size}\n").as_bytes()).map_err(|e| RunError::Store(format!("log.memory {}: {e}", file.display())).into())
    }
}

/// Writes into the key store. Somebody who was faster knows as much.
async fn remembers(runner: &Runner, doc: DocWrite) -> Result<(), LedgerError> {
    match runner.customers.keys.commit(Commit { now: runner.now().0, docs: vec![doc], ..Commit::default() }).await {
        Ok(_) | Err(CommitError::Conflict) => Ok(()),
        Err(CommitError::Busy | CommitError::Closed) => Err(RunError::Busy.into()),
        Err(e) => Err(RunError::Store(format!("the key store: {e}")).into()),
    }
}
