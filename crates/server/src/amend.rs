//! A change that a customer makes signed in: the profile, its record, and the notices, in one commit.

use countersign_core::{
    account::Profile,
    action::{Action, Verb},
    id::{AccountId, CallId, MessageId},
    message::{Body, Message, OnFile},
    time::Timestamp,
};
use countersign_store::{Append, Commit, CommitError, DocWrite, Guard, IndexWrite, Note};

use crate::{
    calls::note,
    effects::{Link, first_of_each_kind, link_doc, outbox_row},
    passkeys::Spent,
    record::{self, AccountEvent},
    runner::{RunError, Runner},
    voice_undo::Suspect,
};

/// How often a change is tried again when somebody else was faster.
const TRIES: usize = 8;
/// The owner of messages that no call asked for.
const NO_CALL: CallId = CallId([0; 16]);

/// Who hears of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notify {
    /// It takes nothing away.
    Nobody,
    /// Everybody who was on file before: a thief may be signed in, too.
    Everybody,
    /// The same, of something that was taken along and changed nothing.
    Taken,
}

/// What else belongs to the commit of a change.
#[derive(Debug, Default)]
pub struct Extra {
    /// Conditions.
    pub guards: Vec<Guard>,
    /// Writes.
    pub docs: Vec<DocWrite>,
    /// Names that lead to the account.
    pub index: Vec<IndexWrite>,
    /// What of the voice is taken back.
    pub suspect: Option<Suspect>,
}

impl From<Spent> for Extra {
    fn from(spent: Spent) -> Self { Self { guards: spent.guards, docs: spent.docs, ..Self::default() } }
}

impl Runner {
    /// Carries a change out. `edit` is asked again, on what is on file then, when somebody else was
    /// faster; it says what goes into the record. Nothing is written where it says nothing.
    pub async fn amend<E: From<RunError>>(
        &self, account: AccountId, notify: Notify, extra: Extra, edit: impl Fn(&mut Profile, Timestamp) -> Result<Vec<AccountEvent>, E> + Send + Sync,
    ) -> Result<(), E> {
        for _ in 0..TRIES {
            self.directory.forget(account);
            let before = self.directory.load(account).await.map_err(RunError::from)?.ok_or(RunError::NoCall)?;
            let (mut after, now) = (before.profile.clone(), self.now());
            let mut events = edit(&mut after, now)?;
            let mut docs = extra.docs.clone();
            if let Some(suspect) = &extra.suspect {
                let back = Box::pin(self.distrust(suspect, &mut after)).await?;
                events.extend(back.events);
                docs.extend(back.docs);
            }
            if events.is_empty() {
                return Ok(());
            }
            let mut commit = Commit { now: now.0, guards: extra.guards.clone(), docs, index: extra.index.clone(), ..Commit::default() };
            commit.appends.extend(entries(account, &mut after, now, &events)?);
            match notify {
                Notify::Nobody => {}
                Notify::Everybody => {
                    after.changed = Some(now);
                    self.notices(&before.profile, now, Action::new(Verb::Change, "factors"), &mut commit).await?;
                }
                Notify::Taken => self.notices(&before.profile, now, Action::new(Verb::Do, "download_data"), &mut commit).await?,
            }
            let writes = self.directory.update(&before, &after).map_err(RunError::from)?;
            commit.docs.extend(writes.docs);
            commit.index.extend(writes.index);
            commit.notes.push(Note { kind: note::ACCOUNT, id: account.0 });
            let result = self.store.commit(commit).await;
            self.directory.forget(account);
            match result {
                Ok(_) => {
                    self.hub.tell_account(account);
                    return Ok(());
                }
                Err(CommitError::Conflict) => {}
                Err(CommitError::Denied(_)) => return Err(RunError::Spent.into()),
                Err(CommitError::Busy | CommitError::Closed) => return Err(RunError::Busy.into()),
                Err(e) => return Err(RunError::Store(e.to_string()).into()),
            }
        }
        Err(RunError::Busy.into())
    }

    /// Tells the contacts that were on file before, with a link that says "this wasn't me".
    async fn notices(&self, before: &Profile, now: Timestamp, action: Action, commit: &mut Commit) -> Result<(), RunError> {
        let report = self.vault.token()?;
        let until = now + countersign_core::account::NOTICE_PERIOD;
        commit.docs.extend(link_doc(self, &report, &Link::Report { account: before.id, call: None }, Some(until.0)).await?);
        for contact in first_of_each_kind(&before.brief(now).notices) {
            let body = Body::ChangedOnline { action: action.clone(), report: report.clone() };
            let to = OnFile { account: before.id, contact };
            let message = Message { id: MessageId(self.vault.id()?), to, lang: before.language.unwrap_or_default(), body };
            commit.outbox.push(outbox_row(self, &message, NO_CALL)?);
        }
        Ok(())
    }
}

/// What goes into the account's record: entries that follow each other, in one append.
pub(crate) fn entries(account: AccountId, after: &mut Profile, now: Timestamp, events: &[AccountEvent]) -> Result<Option<Append>, RunError> {
    let mut append: Option<Append> = None;
    for event in events {
        let next = record::append(record::ACCOUNT, account.0, after.events, now, event)?;
        after.events += 1;
        match &mut append {
            Some(append) => append.events.extend(next.events),
            None => append = Some(next),
        }
    }
    Ok(append)
}
