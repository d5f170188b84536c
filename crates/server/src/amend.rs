//! Changes of a profile that its own holder makes in the portal: the profile, and an event in the
//! account's record, in one commit.

use countersign_core::{account::Profile, id::AccountId};
use countersign_store::{Commit, CommitError, DocWrite, IndexWrite};

use crate::{
    record::{self, AccountEvent},
    runner::{RunError, Runner},
};

/// How often somebody else may have been faster.
const TRIES: usize = 8;

impl Runner {
    /// Changes a profile. `change` says what happened; `None`: nothing, and nothing is written. It is
    /// called again on a fresh profile when somebody else was faster.
    pub async fn amend(&self, account: AccountId, change: impl Fn(&mut Profile) -> Option<AccountEvent> + Send) -> Result<(), RunError> {
        self.amend_with(account, Vec::new(), Vec::new(), change).await
    }

    /// The same, with other writes of the same commit.
    pub async fn amend_with(
        &self, account: AccountId, docs: Vec<DocWrite>, index: Vec<IndexWrite>, change: impl Fn(&mut Profile) -> Option<AccountEvent> + Send,
    ) -> Result<(), RunError> {
        for _ in 0..TRIES {
            let before = self.directory.load(account).await?.ok_or(RunError::NoCall)?;
            let (mut after, now) = (before.profile.clone(), self.now());
            let Some(event) = change(&mut after) else { return Ok(()) };
            let append = record::append(record::ACCOUNT, account.0, after.events, now, &event)?;
            after.events += 1;
            let mut writes = self.directory.update(&before, &after)?;
            writes.docs.extend(docs.clone());
            writes.index.extend(index.clone());
            let result = self.store.commit(Commit { now: now.0, appends: vec![append], docs: writes.docs, index: writes.index, ..Commit::default() }).await;
            self.directory.forget(account);
            match result {
                Ok(_) => {
                    self.hub.tell_account(account);
                    return Ok(());
                }
                Err(CommitError::Conflict) => {}
                Err(CommitError::Busy | CommitError::Closed) => return Err(RunError::Busy),
                Err(e) => return Err(RunError::Store(e.to_string())),
            }
        }
        Err(RunError::Busy)
    }
}
