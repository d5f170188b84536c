//! Work for whoever writes, and whoever waits for it.

use tokio::sync::oneshot;

use crate::error::{Fault, WriteError};
use crate::rows::Rows;

/// Work for the writer's transaction, and whoever waits for it.
pub(crate) trait Job: Send {
    /// May be run twice, the first time rolled back.
    fn run(&mut self, rows: &mut dyn Rows) -> Result<(), Fault>;
    /// Told when the transaction has ended.
    fn answer(self: Box<Self>, ended: Result<(), WriteError>);
}

pub(crate) struct Pending<F, T> {
    work: F,
    outcome: Option<T>,
    answer: oneshot::Sender<Result<T, WriteError>>,
}

impl<F, T> Pending<F, T> {
    pub(crate) fn new(work: F, answer: oneshot::Sender<Result<T, WriteError>>) -> Self {
        Self {
            work,
            outcome: None,
            answer,
        }
    }
}

impl<F, T> Job for Pending<F, T>
where
    F: FnMut(&mut dyn Rows) -> Result<T, Fault> + Send,
    T: Send,
{
    fn run(&mut self, rows: &mut dyn Rows) -> Result<(), Fault> {
        self.outcome = Some((self.work)(rows)?);
        Ok(())
    }

    fn answer(self: Box<Self>, ended: Result<(), WriteError>) {
        let Self {
            outcome, answer, ..
        } = *self;
        let nothing = || WriteError::Unknown("the work had no outcome".into());
        // A caller that stopped waiting takes nothing back.
        let _ = answer.send(ended.and_then(|()| outcome.ok_or_else(nothing)));
    }
}
