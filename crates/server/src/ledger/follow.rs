//! What a serving node does for the log, again and again: sequences, shows the head to witnesses, and
//! refuses to sign where somebody remembers more than there is.

use std::{path::PathBuf, sync::{Mutex, PoisonError}, time::Duration};

use super::{Head, LedgerError, Sequencer, head, sequencer::intact, witness::{Witnesses, replaced}};
use crate::runner::{RunError, Runner};

/// Batches in a row before the witnesses have their turn.
const BATCHES: usize = 50;
/// How long a start waits for witnesses.
const PATIENCE: Duration = Duration::from_secs(5);

/// The chore.
pub struct Log {
    sequencer: Sequencer,
    witnesses: Witnesses,
    memory: Option<PathBuf>,
    /// Why nothing is signed any more.
    stopped: Mutex<Option<String>>,
}

impl Log {
    /// Over its parts. `memory`: a file beside the configuration that remembers the size of the log.
    pub fn new(sequencer: Sequencer, witnesses: Witnesses, memory: Option<PathBuf>) -> Self {
        Self { sequencer, witnesses, memory, stopped: Mutex::default() }
    }

    /// Before anything is served: whether somebody has seen more of the log than there is, and whether what is
    /// kept of it is what was signed. With an older backup, limits and spent codes are those of then.
    ///
    /// # Errors
    /// [`LedgerError::Behind`], [`LedgerError::Damaged`], and when the record does not answer.
    pub async fn check(&self, runner: &Runner) -> Result<(), LedgerError> {
        let latest = head(&runner.store).await?;
        intact(&runner.store, &latest).await?;
        self.not_behind(runner, self.remembered(latest.size)).await?;
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
    pub async fn follow(&self, runner: &Runner) -> Result<(), LedgerError> {
        if !runner.leads("log").await? {
            return Ok(());
        }
        if let Some(why) = self.stopped.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Err(LedgerError::Stopped(why));
        }
        match self.turn(runner).await {
            // Another node has gone on while this one looked: what was seen is what there is now.
            Err(LedgerError::Behind { here, .. }) if head(&runner.store).await?.size > here => Ok(()),
            Err(e @ (LedgerError::Behind { .. } | LedgerError::Damaged(_))) => {
                *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = Some(e.to_string());
                Err(e)
            }
            other => other,
        }
    }

    async fn turn(&self, runner: &Runner) -> Result<(), LedgerError> {
        self.remembered(head(&runner.store).await?.size)?;
        for _ in 0..BATCHES {
            let now = self.sequencer.run(runner).await?;
            let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            runner.metrics.log_entries.set(gauge(now.size));
            runner.metrics.log_behind.set(gauge(now.behind));
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of waiting are far below 2^52")]
            runner.metrics.log_waiting.set(now.waiting.0 as f64 / 1000.0);
            if now.added > 0 {
                self.remember(now.size)?;
            }
            if now.behind == 0 || now.added == 0 {
                break;
            }
        }
        let signed = if self.is_named(&head(&runner.store).await?) { self.witnesses.show(runner).await? } else { 0 };
        runner.metrics.log_witnesses.set(i64::try_from(signed).unwrap_or(i64::MAX));
        Ok(())
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
