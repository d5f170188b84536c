//! What a step leads to besides its events, as writes of the same transaction.

use countersign_core::{
    account::Notified,
    action::Action,
    call::{Alert, Call, Effect, Outputs},
    id::{AccountId, AgentId, CallId, ChallengeId, ChangeId, ContactId, MessageId},
    message::{Body, Change, Message, OnFile, PermittedChange},
    secret::Secret,
    time::Timestamp,
};
use countersign_store::{Commit, DocWrite, Expect, Note, OutboxRow};
use serde::{Deserialize, Serialize};

use crate::{
    calls::note,
    directory::{Undo, apply_change},
    record,
    ring_back::{AFTER, RING_BACK, Wanted},
    runner::{RunError, Runner, newest_first},
    vault::Vault,
};

/// What a link does. Sealed under the hash of its token.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "link")]
pub enum Link {
    /// Undoes a change.
    Undo {
        /// Whose.
        account: AccountId,
        /// Which.
        change: ChangeId,
        /// What it was, for the page.
        action: Action,
        /// How.
        undo: Undo,
        /// From when on it is worth nothing.
        until: Timestamp,
    },
    /// Says "this wasn't me".
    Report {
        /// Whose.
        account: AccountId,
        /// Which call; none for what was done signed in.
        #[serde(default)]
        call: Option<CallId>,
    },
    /// Opens the portal once.
    Portal {
        /// Whose.
        account: AccountId,
        /// From when on it is worth nothing.
        until: Timestamp,
        /// The company's site saw two factors.
        #[serde(default)]
        two_factors: bool,
    },
}

impl Link {
    /// Whose.
    pub fn account(&self) -> AccountId {
        match self {
            Self::Undo { account, .. } | Self::Report { account, .. } | Self::Portal { account, .. } => *account,
        }
    }
}

/// The kind under which links are kept.
pub const LINK: &str = "link";

/// An alert as it is kept for the lead.
#[derive(Debug, Serialize, Deserialize)]
pub struct StoredAlert {
    /// What.
    pub alert: Alert,
    /// On which call.
    pub call: Option<CallId>,
    /// About which account, where there is no call that says it.
    #[serde(default)]
    pub account: Option<AccountId>,
    /// About which agent.
    #[serde(default)]
    pub agent: Option<AgentId>,
    /// When.
    pub at: Timestamp,
}

/// The topic of errands that wake a customer's devices.
pub const WAKE: &str = "wake";
/// The topic of errands to the company's sign-in provider.
pub const ASK_PROVIDER: &str = "ask-provider";
/// The kind under which codes are kept that were given out to calls of nobody in particular.
pub const LINK_CODE: &str = "link-code";

/// What an errand to another channel is about.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Asked {
    /// Whose answer is wanted.
    pub account: AccountId,
    /// To which request.
    pub challenge: ChallengeId,
    /// What for.
    pub action: Option<Action>,
}

impl Asked {
    fn new(account: AccountId, challenge: ChallengeId, action: &Option<Action>) -> Self { Self { account, challenge, action: action.clone() } }
}

/// A call that is found by its code.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct OpenLink {
    /// Which.
    pub call: CallId,
    /// From when on the code is worth nothing.
    pub expires: Timestamp,
}

/// Something to be carried by another than a provider of messages, sealed until it is.
pub fn errand<T: Serialize>(runner: &Runner, topic: &'static str, owner: CallId, body: &T) -> Result<OutboxRow, RunError> {
    let id = runner.vault.id()?;
    Ok(OutboxRow { id, topic, owner: owner.0, body: runner.vault.seal("outbox", &id, body)?, due: runner.now().0 })
}

/// Adds the writes of all effects to the commit.
pub async fn write(runner: &Runner, before: &Call, call: &Call, out: &Outputs, commit: &mut Commit) -> Result<(), RunError> {
    for effect in &out.effects {
        match effect {
            Effect::Send(message) => commit.outbox.push(outbox_row(runner, message, call.id)?),
            Effect::Change(change) => write_change(runner, call, change, commit).await?,
            Effect::Note { id, text } => {
                let body = match about(before, call) {
                    Some(account) => runner.seal_about("note", &id.0, account, text).await?,
                    None => Some(runner.vault.seal("note", &id.0, text)?),
                };
                // Who was erased in this moment has no notes.
                commit.docs.extend(body.map(|body| DocWrite::Put { kind: "note", id: id.0.to_vec(), expected: Expect::New, body, due: None }));
            }
            Effect::ReportLink { token, account } => {
                commit.docs.extend(link_doc(runner, token, &Link::Report { account: *account, call: Some(call.id) }, None).await?);
            }
            Effect::RingBack { account, contact } => {
                let row = errand(runner, RING_BACK, call.id, &Wanted { account: *account, contact: *contact })?;
                commit.outbox.push(OutboxRow { due: row.due + AFTER.0, ..row });
            }
            Effect::Alert(alert) => commit.docs.push(alert_doc(runner, *alert, Some(call.id), None)?),
            Effect::Wake { account, challenge, action } => commit.outbox.push(errand(runner, WAKE, call.id, &Asked::new(*account, *challenge, action))?),
            Effect::AskProvider { account, challenge, action } => {
                commit.outbox.push(errand(runner, ASK_PROVIDER, call.id, &Asked::new(*account, *challenge, action))?);
            }
            Effect::OpenLink { call, link, alphabet, expires } => {
                let id = runner.vault.link_slot(&runner.vault.pepper.travel_code(*link, *alphabet));
                let body = runner.vault.seal(LINK_CODE, &id, &OpenLink { call: *call, expires: *expires })?;
                commit.docs.push(DocWrite::Put { kind: LINK_CODE, id, expected: Expect::New, body, due: Some(expires.0) });
            }
            Effect::CloseLink { link, alphabet } => {
                let id = runner.vault.link_slot(&runner.vault.pepper.travel_code(*link, *alphabet));
                commit.docs.push(DocWrite::Delete { kind: LINK_CODE, id });
            }
        }
    }
    Ok(())
}

/// A message for the outbox, sealed until it is sent.
pub fn outbox_row(runner: &Runner, message: &Message, owner: CallId) -> Result<OutboxRow, RunError> {
    let body = runner.vault.seal("outbox", &message.id.0, message)?;
    Ok(OutboxRow { id: message.id.0, topic: "message", owner: owner.0, body, due: runner.now().0 })
}

/// A link for the store. `None`: whose it would be was erased.
pub async fn link_doc(runner: &Runner, token: &Secret, link: &Link, due: Option<i64>) -> Result<Option<DocWrite>, RunError> {
    let id = Vault::token_id(token);
    let body = runner.seal_about(LINK, &id, link.account(), link).await?;
    Ok(body.map(|body| DocWrite::Put { kind: LINK, id, expected: Expect::New, body, due }))
}

/// An alert for the store.
pub fn alert_doc(runner: &Runner, alert: Alert, call: Option<CallId>, account: Option<AccountId>) -> Result<DocWrite, RunError> {
    let at = runner.now();
    let body = serde_json::to_vec(&StoredAlert { alert, call, account, agent: None, at })?;
    let id = newest_first(at, runner.vault.id()?);
    Ok(DocWrite::Put { kind: "alert", id, expected: Expect::New, body, due: None })
}

/// Whom a note of a step is about: also the one whom the step has given up.
pub(crate) fn about(before: &Call, after: &Call) -> Option<AccountId> { [after.subject, after.principal, before.subject, before.principal].into_iter().flatten().next() }

/// Carries a permitted change out: the profile, its look-up hashes, the account's own record, the
/// undo link, and a notice to everybody who was on file **before** (`hotelx_misheard`).
async fn write_change(runner: &Runner, call: &Call, permitted: &PermittedChange, commit: &mut Commit) -> Result<(), RunError> {
    let now = runner.now();
    let before = runner.directory.load(permitted.account).await?.ok_or(RunError::NoCall)?;
    let notices = before.profile.brief(now).notices;
    let mut after = before.profile.clone();
    let undo = apply_change(&mut after, &permitted.change, now, runner.params.cooling_off, &runner.vault)?;
    let event = record::changed(permitted, call.id);
    commit.appends.push(record::append(record::ACCOUNT, permitted.account.0, after.events, now, &event)?);
    after.events += 1;
    let writes = runner.directory.update(&before, &after)?;
    commit.docs.extend(writes.docs);
    commit.index.extend(writes.index);
    commit.notes.push(Note { kind: note::ACCOUNT, id: permitted.account.0 });
    let action = permitted.change.action();
    let token = match undo {
        Undo::Nothing => None,
        undo => {
            let token = runner.vault.token()?;
            let until = now + runner.params.undo;
            let link = Link::Undo { account: permitted.account, change: permitted.id, action: action.clone(), undo, until };
            commit.docs.extend(link_doc(runner, &token, &link, Some(until.0)).await?);
            Some(token)
        }
    };
    // Business actions are told in the summary after the call; only the account itself is told at once.
    if matches!(permitted.change, Change::Business(_) | Change::CancelOrder | Change::NoVoice) {
        return Ok(());
    }
    let lang = after.language.unwrap_or_else(|| call.language());
    if let (Change::Password, Some(first)) = (&permitted.change, notices.first()) {
        // Nobody at the desk ever sets or hears a web password: the customer gets the way.
        let to = OnFile { account: permitted.account, contact: first.contact };
        let message = Message { id: MessageId(runner.vault.id()?), to, lang, body: Body::Online { action: action.clone() } };
        commit.outbox.push(outbox_row(runner, &message, call.id)?);
    }
    for contact in first_of_each_kind(&notices) {
        let to = OnFile { account: permitted.account, contact };
        let body = Body::Changed { action: action.clone(), undo: token.clone() };
        let message = Message { id: MessageId(runner.vault.id()?), to, lang, body };
        commit.outbox.push(outbox_row(runner, &message, call.id)?);
    }
    Ok(())
}

/// One e-mail address and one telephone in force, and the same of what was replaced lately: enough
/// to be heard, too little to be a nuisance.
pub(crate) fn first_of_each_kind(notices: &[Notified]) -> Vec<ContactId> {
    let mut out: Vec<&Notified> = Vec::new();
    for n in notices {
        if !out.iter().any(|known| (known.kind, known.former) == (n.kind, n.former)) {
            out.push(n);
        }
    }
    out.into_iter().map(|n| n.contact).collect()
}
