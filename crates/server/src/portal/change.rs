//! A change that a customer makes signed in: the profile, its record, and the notices, in one commit.

use countersign_core::{
    account::Profile,
    action::{Action, Verb},
    id::{AccountId, CallId, MessageId},
    message::{Body, Message, OnFile},
    time::Timestamp,
};
use countersign_store::{Append, Commit, CommitError, DocWrite, Guard};

use crate::{
    App,
    effects::{Link, first_of_each_kind, link_doc, outbox_row},
    passkeys::Spent,
    record::{self, AccountEvent},
    web::WebError,
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
}

/// What else belongs to the commit of a change.
#[derive(Default)]
pub struct Extra {
    /// Conditions.
    pub guards: Vec<Guard>,
    /// Writes.
    pub docs: Vec<DocWrite>,
}

impl From<Spent> for Extra {
    fn from(spent: Spent) -> Self { Self { guards: spent.guards, docs: spent.docs } }
}

/// Carries a change out. `edit` may be asked again, on what is on file then; it says what goes into
/// the record. Nothing happens where it says nothing.
pub async fn change(
    app: &App, account: AccountId, notify: Notify, extra: Extra,
    edit: impl Fn(&mut Profile, Timestamp) -> Result<Vec<AccountEvent>, WebError> + Send + Sync,
) -> Result<(), WebError> {
    let runner = &app.runner;
    for _ in 0..TRIES {
        runner.directory.forget(account);
        let before = runner.directory.load(account).await?.ok_or(WebError::NotFound)?;
        let now = runner.now();
        let mut after = before.profile.clone();
        let events = edit(&mut after, now)?;
        if events.is_empty() {
            return Ok(());
        }
        let mut append: Option<Append> = None;
        for event in &events {
            let next = record::append(record::ACCOUNT, account.0, after.events, now, event)?;
            after.events += 1;
            match &mut append {
                Some(append) => append.events.extend(next.events),
                None => append = Some(next),
            }
        }
        let mut commit = Commit { now: now.0, guards: extra.guards.clone(), docs: extra.docs.clone(), appends: append.into_iter().collect(), ..Commit::default() };
        if notify == Notify::Everybody {
            after.changed = Some(now);
            notices(app, &before.profile, now, &mut commit)?;
        }
        let writes = runner.directory.update(&before, &after)?;
        commit.docs.extend(writes.docs);
        commit.index = writes.index;
        let result = runner.store.commit(commit).await;
        runner.directory.forget(account);
        match result {
            Ok(_) => return Ok(()),
            Err(CommitError::Conflict) => {}
            Err(CommitError::Denied(_)) => return Err(WebError::Bad("This was used before. Open the page again.".into())),
            Err(CommitError::Busy | CommitError::Closed) => return Err(WebError::Busy),
            Err(e) => return Err(WebError::Broken(e.to_string())),
        }
    }
    Err(WebError::Busy)
}

/// Tells the contacts that were on file before, with a link that says "this wasn't me".
fn notices(app: &App, before: &Profile, now: Timestamp, commit: &mut Commit) -> Result<(), WebError> {
    let runner = &app.runner;
    let report = runner.vault.token()?;
    let until = now + countersign_core::account::NOTICE_PERIOD;
    commit.docs.push(link_doc(&runner.vault, &report, &Link::Report { account: before.id, call: None }, Some(until.0))?);
    for contact in first_of_each_kind(&before.brief(now).notices) {
        let body = Body::ChangedOnline { action: Action::new(Verb::Change, "factors"), report: report.clone() };
        let to = OnFile { account: before.id, contact };
        let message = Message { id: MessageId(runner.vault.id()?), to, lang: before.language.unwrap_or_default(), body };
        commit.outbox.push(outbox_row(runner, &message, NO_CALL)?);
    }
    Ok(())
}
