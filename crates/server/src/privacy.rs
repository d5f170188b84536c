//! What a customer may ask of whoever keeps data about them: everything that is kept, and that it is
//! destroyed. And what forbids the latter: a legal hold.
//!
//! Erasing destroys the customer's key, and with it everything about them in every copy of the record; the
//! profile with everything that names the customer, the notes of their calls, and the salts of their
//! leaves in the Merkle log. What stays are events under an account id that leads nowhere any more: that
//! there were calls, what was decided and by whom. The log still verifies.
//!
//! The record is first: its commit decides, against holds and other nodes, and says that the key has to go.
//! Whoever sees that later, after a crash, destroys it.

use countersign_core::{
    account::{ContactKind, Profile},
    call::{Call, Event, Recorded, Stage},
    claim::ClaimKind,
    id::{AccountId, CallId, NoteId},
    story::{self, Reader},
    time::{Span, Timestamp},
};
use countersign_store::{Commit, CommitError, DocWrite, Expect, Guard, IndexWrite, Note, Outcome, ReadError, Stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    amend::{Extra, Notify},
    calls::note,
    customers::{ERASED, KeyError},
    directory::{DirectoryError, Loaded},
    effects::{LINK, Link},
    ledger, record,
    record::AccountEvent,
    retention::PROGRESS,
    runner::{RunError, Runner},
    seen,
    vault::{Vault, VaultError},
};

/// The kind under which legal holds are kept, by account.
pub const HOLD: &str = "hold";
/// How many calls of one customer are looked at, at most.
pub(crate) const CALLS: usize = 100_000;
/// Downloads by the customer, and in what time.
const DOWNLOADS: u32 = 3;
const DOWNLOADS_WINDOW: Span = Span::days(1);
/// How often a change is tried again when somebody else was faster.
const TRIES: usize = 8;

/// A legal hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Why, in the words of whoever ordered it.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum PrivacyError {
    /// There is no such customer.
    #[error("no account has this number")]
    NoCustomer,
    /// Nothing of theirs may be destroyed.
    #[error("this customer is under a legal hold since {}: {}. Release it first (countersign privacy release)", .0.since, .0.reason)]
    Held(Hold),
    /// Not in the middle of a call.
    #[error("{0} is going on about this customer: wait until it has ended")]
    Live(CallId),
    /// Something below.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Errors of what the runner stands on are the runner's.
macro_rules! below {
    ($($error:ty),*) => {$(
        impl From<$error> for PrivacyError {
            fn from(e: $error) -> Self { Self::Run(e.into()) }
        }
    )*};
}
below!(ReadError, VaultError, DirectoryError, KeyError, serde_json::Error);

/// What was destroyed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erased {
    /// Calls whose notes and salts went.
    pub calls: usize,
    /// Documents that went.
    pub documents: usize,
    /// Keys of look-ups that lead nowhere any more.
    pub keys: usize,
}

impl Runner {
    /// The customer with this account number.
    pub async fn customer(&self, number: &str) -> Result<AccountId, PrivacyError> {
        let (found, _) = self.directory.find(ClaimKind::AccountNumber, number, self.now()).await?;
        match found.as_slice() {
            [one] => Ok(one.id),
            _ => Err(PrivacyError::NoCustomer),
        }
    }

    pub(crate) async fn calls_of(&self, account: AccountId) -> Result<Vec<(CallId, Vec<Recorded>)>, RunError> {
        let mut calls = Vec::new();
        for id in self.store.find("calls", account.0, CALLS).await? {
            calls.push((CallId(id), self.events(CallId(id)).await?));
        }
        Ok(calls)
    }

    /// The legal hold of a customer.
    pub async fn held(&self, account: AccountId) -> Result<Option<Hold>, RunError> {
        match self.store.doc(HOLD, &account.0).await? {
            Some(doc) => self.unseal_about(HOLD, &account.0, &doc.body).await,
            None => Ok(None),
        }
    }

    /// Sets a legal hold, or releases it. On record.
    pub async fn set_hold(&self, account: AccountId, hold: Option<String>) -> Result<(), PrivacyError> {
        for _ in 0..TRIES {
            let loaded = self.directory.load(account).await?.ok_or(PrivacyError::NoCustomer)?;
            let now = self.now();
            let (event, doc) = match &hold {
                Some(reason) => {
                    let hold = Hold { reason: reason.clone(), since: now };
                    let body = self.seal_about(HOLD, &account.0, account, &hold).await?.ok_or(PrivacyError::NoCustomer)?;
                    (AccountEvent::Held, DocWrite::Put { kind: HOLD, id: account.0.to_vec(), expected: Expect::Any, body, due: None })
                }
                None => (AccountEvent::Released, DocWrite::Delete { kind: HOLD, id: account.0.to_vec() }),
            };
            let mut docs = vec![doc];
            if hold.is_none() {
                // The rules of retention have gone past what was held: they begin anew.
                let rules = self.store.docs(PROGRESS, None, 1000).await?;
                docs.extend(rules.into_iter().map(|(id, _)| DocWrite::Delete { kind: PROGRESS, id }));
            }
            if self.on_record(&loaded, now, &event, docs).await? {
                return Ok(());
            }
        }
        Err(RunError::Busy.into())
    }

    /// An event of the account with the profile that counts it, and whatever belongs to it.
    async fn on_record(&self, loaded: &Loaded, now: Timestamp, event: &AccountEvent, mut docs: Vec<DocWrite>) -> Result<bool, PrivacyError> {
        let mut after = loaded.profile.clone();
        let account = after.id;
        let append = record::append(record::ACCOUNT, account.0, after.events, now, event)?;
        after.events += 1;
        let writes = self.directory.update(loaded, &after)?;
        docs.extend(writes.docs);
        let notes = vec![Note { kind: note::ACCOUNT, id: account.0 }];
        let commit = Commit { now: now.0, appends: vec![append], docs, index: writes.index, notes, ..Commit::default() };
        let result = self.store.commit(commit).await;
        self.directory.forget(account);
        committed(result)
    }

    /// Everything that is kept about a customer, for somebody who gives it to them. On record.
    pub async fn export_customer(&self, account: AccountId) -> Result<Value, PrivacyError> {
        let all = self.everything(account).await?;
        for _ in 0..TRIES {
            let again = loaded_again(self, account).await?;
            if self.on_record(&again, self.now(), &AccountEvent::Exported, Vec::new()).await? {
                return Ok(all);
            }
        }
        Err(RunError::Busy.into())
    }

    /// The same for the customer, signed in: on record, and told at all addresses on file, as it may be a
    /// thief who is signed in. [`RunError::Spent`]: enough for today.
    pub async fn download(&self, account: AccountId) -> Result<Value, PrivacyError> {
        let all = self.everything(account).await?;
        let limit = Guard::Attempt { key: format!("download/{account}"), window: Some(DOWNLOADS_WINDOW.0), max: DOWNLOADS, outcome: Outcome::Fail };
        let extra = Extra { guards: vec![limit], ..Extra::default() };
        self.amend::<PrivacyError>(account, Notify::Taken, extra, |_, _| Ok(vec![AccountEvent::Downloaded])).await?;
        Ok(all)
    }

    /// Everything that is kept about a customer, in plain words. Without secrets, which prove; without
    /// what a forced customer's emergency word did; and without what was thought of the risk, which
    /// would tell an attacker what to do better.
    async fn everything(&self, account: AccountId) -> Result<Value, PrivacyError> {
        let loaded = self.directory.load(account).await?.ok_or(PrivacyError::NoCustomer)?;
        let mut calls = Vec::new();
        for (id, events) in self.calls_of(account).await? {
            let own = own(account, id, &events, |r, speaks| (!is_about_risk(&r.event)).then_some((r, speaks)));
            let told: Vec<Value> = own.iter().map(|(r, speaks)| {
                let what = match &r.event {
                    // With what somebody else has proved is not this one's to read.
                    Event::Proved { .. } if !speaks => "The caller proved who they are.".to_owned(),
                    event => story::sentence(event, Reader::Anyone),
                };
                json!({ "at": r.at.to_string(), "what": what })
            }).collect();
            let mut notes = Vec::new();
            for id in own.iter().flat_map(|(r, _)| notes_in(std::slice::from_ref(r)).collect::<Vec<_>>()) {
                if let Some(doc) = self.store.doc("note", &id.0).await? {
                    notes.extend(self.unseal_about::<Value>("note", &id.0, &doc.body).await?);
                }
            }
            calls.push(json!({ "call": id.to_string(), "events": told, "notes": notes }));
        }
        let record = self.store.events(Stream { kind: record::ACCOUNT, id: account.0 }).await?;
        let record: Vec<Value> = record.iter().filter_map(|e| serde_json::from_str(&e.body).ok()).collect();
        let hold = self.held(account).await?.map(|hold| hold.since.to_string());
        Ok(json!({ "profile": about(&loaded.profile), "calls": calls, "account_record": record, "legal_hold_since": hold }))
    }

    /// Destroys everything about a customer.
    pub async fn erase(&self, account: AccountId) -> Result<Erased, PrivacyError> {
        for _ in 0..TRIES {
            let loaded = loaded_again(self, account).await?;
            if let Some(hold) = self.held(account).await? {
                return Err(PrivacyError::Held(hold));
            }
            let calls = self.calls_of(account).await?;
            let head = self.store.head().await?;
            let salt = |kind, id| ledger::forget_salt(&self.vault, kind, id, head);
            let mut docs = vec![
                // A hold that came in this moment: the profile has then another version.
                loaded.still(),
                DocWrite::Delete { kind: "service-shown", id: account.0.to_vec() },
                salt(record::ACCOUNT, &account.0)?,
                // Until the key is destroyed as well, it is due.
                DocWrite::Put { kind: ERASED, id: account.0.to_vec(), expected: Expect::Any, body: Vec::new(), due: Some(self.now().0) },
            ];
            for (id, events) in &calls {
                if Call::fold(*id, events).stage != Stage::Ended {
                    return Err(PrivacyError::Live(*id));
                }
                docs.push(salt(record::CALL, &id.0)?);
                docs.extend(notes_in(events).map(|note| DocWrite::Delete { kind: "note", id: note.0.to_vec() }));
            }
            docs.extend(self.links_of(account).await?);
            let lines = self.lines(&loaded.profile);
            docs.extend(seen::forget(self, account, &lines).await?);
            let writes = self.directory.remove(&loaded);
            docs.extend(writes.docs);
            let mut index = writes.index;
            let keys = index.len();
            // And what nobody knows any more under what it is found, such as a name at a provider.
            index.push(IndexWrite::Clear { id: account.0 });
            let now = self.now();
            let n = self.store.count(Stream { kind: record::ACCOUNT, id: account.0 }).await?;
            let append = record::append(record::ACCOUNT, account.0, n, now, &AccountEvent::Erased)?;
            let erased = Erased { calls: calls.len(), documents: docs.len().saturating_sub(2), keys };
            let notes = vec![Note { kind: note::ACCOUNT, id: account.0 }];
            let commit = Commit { now: now.0, appends: vec![append], docs, index, notes, ..Commit::default() };
            let result = self.store.commit(commit).await;
            self.directory.forget(account);
            if committed(result)? {
                self.destroy_key(account).await?;
                return Ok(erased);
            }
        }
        Err(RunError::Busy.into())
    }

    /// The keyed hashes of the numbers of a customer.
    fn lines(&self, profile: &Profile) -> Vec<[u8; 16]> {
        profile.contacts.iter().filter_map(|c| self.vault.index.exact(ClaimKind::Number, c.value.expose())).map(|b| b.0).collect()
    }

    /// Destroys the key of somebody whom the record has erased, and tells other nodes once more: one may
    /// have read it in between.
    async fn destroy_key(&self, account: AccountId) -> Result<(), PrivacyError> {
        let now = self.now();
        self.customers.destroy(account, now).await?;
        let done = DocWrite::Put { kind: ERASED, id: account.0.to_vec(), expected: Expect::Any, body: Vec::new(), due: None };
        let notes = vec![Note { kind: note::ACCOUNT, id: account.0 }];
        committed(self.store.commit(Commit { now: now.0, docs: vec![done], notes, ..Commit::default() }).await)?;
        Ok(())
    }

    /// Destroys the keys that an erasing did not come to. Returns how many.
    pub async fn finish_erasures(&self) -> Result<usize, PrivacyError> {
        let due = self.store.docs_due(ERASED, self.now().0, 1000).await?;
        for (id, _) in &due {
            if let Ok(id) = <[u8; 16]>::try_from(id.as_slice()) {
                self.destroy_key(AccountId(id)).await?;
            }
        }
        Ok(due.len())
    }

    /// Looks whether the record and the key store agree on who was erased. If one of them is an older copy
    /// it does not: what came back with it is destroyed again. Returns how many customers that were.
    ///
    /// Nobody meets them before this was done: their keys are gone, or the record's own events say so.
    pub async fn reconcile(&self) -> Result<usize, PrivacyError> {
        let (mut n, mut after) = (0, None);
        // Of the record, and of an older key store.
        loop {
            let page = self.store.docs(ERASED, after, 1000).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (id, _) in &page {
                let Ok(account) = <[u8; 16]>::try_from(id.as_slice()).map(AccountId) else { continue };
                if !self.customers.is_destroyed(account).await? {
                    self.destroy_key(account).await?;
                    n += 1;
                }
            }
        }
        // Of the key store, and of an older record.
        let mut after = None;
        loop {
            let (page, last) = self.customers.erased(after).await?;
            for account in page {
                n += usize::from(self.erase_restored(account).await?);
            }
            match last {
                Some(last) => after = Some(last),
                None => return Ok(n),
            }
        }
    }

    /// Erases somebody whom an older copy of the record brought back. A hold of then stands against nothing:
    /// what it protected cannot be opened any more.
    async fn erase_restored(&self, account: AccountId) -> Result<bool, PrivacyError> {
        for _ in 0..TRIES {
            let Some(doc) = self.store.doc(record::ACCOUNT, &account.0).await? else { return Ok(false) };
            let (now, head) = (self.now(), self.store.head().await?);
            let delete = |kind| DocWrite::Delete { kind, id: account.0.to_vec() };
            let mut docs = vec![
                DocWrite::Still { kind: record::ACCOUNT, id: account.0.to_vec(), version: doc.version },
                delete(record::ACCOUNT), delete(HOLD), delete("service-shown"),
                ledger::forget_salt(&self.vault, record::ACCOUNT, &account.0, head)?,
                DocWrite::Put { kind: ERASED, id: account.0.to_vec(), expected: Expect::Any, body: Vec::new(), due: None },
            ];
            for (id, events) in self.calls_of(account).await? {
                docs.push(ledger::forget_salt(&self.vault, record::CALL, &id.0, head)?);
                docs.extend(notes_in(&events).map(|note| DocWrite::Delete { kind: "note", id: note.0.to_vec() }));
            }
            docs.extend(self.links_of(account).await?);
            // A copy from before customers had keys still says which lines were theirs.
            let profile = self.vault.unseal::<Profile>(record::ACCOUNT, &account.0, &doc.body).ok();
            let lines = profile.as_ref().map(|profile| self.lines(profile)).unwrap_or_default();
            docs.extend(seen::forget(self, account, &lines).await?);
            let n = self.store.count(Stream { kind: record::ACCOUNT, id: account.0 }).await?;
            let append = record::append(record::ACCOUNT, account.0, n, now, &AccountEvent::Erased)?;
            let index = vec![IndexWrite::Clear { id: account.0 }];
            let notes = vec![Note { kind: note::ACCOUNT, id: account.0 }];
            let result = self.store.commit(Commit { now: now.0, appends: vec![append], docs, index, notes, ..Commit::default() }).await;
            self.directory.forget(account);
            if committed(result)? {
                return Ok(true);
            }
        }
        Err(RunError::Busy.into())
    }

    /// Links that act for this customer: an undo holds what was on file before.
    async fn links_of(&self, of: AccountId) -> Result<Vec<DocWrite>, PrivacyError> {
        let (mut links, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.docs(LINK, after, 1000).await?;
            let Some((last, _)) = page.last() else { return Ok(links) };
            after = Some(last.clone());
            for (id, doc) in &page {
                let account = match Vault::owner_of(&doc.body) {
                    Some(account) => account,
                    None => self.vault.unseal::<Link>(LINK, id, &doc.body)?.account(),
                };
                if account == of {
                    links.push(DocWrite::Delete { kind: LINK, id: id.clone() });
                }
            }
        }
    }
}

async fn loaded_again(runner: &Runner, account: AccountId) -> Result<std::sync::Arc<Loaded>, PrivacyError> {
    runner.directory.forget(account);
    runner.directory.load(account).await?.ok_or(PrivacyError::NoCustomer)
}

fn committed(result: Result<countersign_store::Committed, CommitError>) -> Result<bool, PrivacyError> {
    match result {
        Ok(_) => Ok(true),
        Err(CommitError::Conflict) => Ok(false),
        Err(CommitError::Busy | CommitError::Closed) => Err(RunError::Busy.into()),
        Err(e) => Err(RunError::Store(e.to_string()).into()),
    }
}

/// What happened on a call while it was about this account, or while its holder was speaking, as `say`
/// has it; it hears whether the holder is who speaks. What was done for another customer on the same call
/// is not this one's to read.
pub(crate) fn own<'a, T>(account: AccountId, id: CallId, events: &'a [Recorded], say: impl Fn(&'a Recorded, bool) -> Option<T>) -> Vec<T> {
    let mut call = Call::new(id);
    // From the ring until somebody is meant: it belongs to whoever is meant first.
    let (mut before, mut lines) = (Vec::new(), Vec::new());
    for recorded in events {
        let gave_up = call.subject;
        call.apply(recorded);
        let (speaks, meant) = (call.principal == Some(account), call.subject == Some(account));
        let hidden = match &recorded.event {
            // The proofs are the speaker's, what is looked at is the subject's.
            Event::Challenged { .. } | Event::ChallengeFailed { .. } | Event::ServiceCodeFailed => call.principal.is_some() && !speaks,
            Event::Compared { .. } | Event::Revealed { .. } | Event::SpeaksFor { .. } => !meant,
            _ => false,
        };
        let line = if hidden { None } else { say(recorded, speaks) };
        match call.subject {
            _ if speaks || meant => {
                lines.append(&mut before);
                lines.extend(line);
            }
            // Why somebody was given up is theirs.
            None if matches!(recorded.event, Event::Switched { .. }) => {
                before.clear();
                lines.extend(line.filter(|_| gave_up == Some(account)));
            }
            None => before.extend(line),
            _ => before.clear(),
        }
    }
    lines
}

fn is_about_risk(event: &Event) -> bool { matches!(event, Event::RiskScored { .. } | Event::Signalled { .. } | Event::Marked { .. }) }

/// The notes that the events of a call name, wherever they do.
pub(crate) fn notes_in(events: &[Recorded]) -> impl Iterator<Item = NoteId> + '_ {
    events.iter().filter_map(|recorded| Event::encode(recorded).ok()).flat_map(|text| {
        let ids = text.split("\"note_").skip(1).filter_map(|rest| format!("note_{}", rest.get(..32)?).parse().ok());
        ids.collect::<Vec<NoteId>>()
    })
}

fn about(profile: &Profile) -> Value {
    let kind = |kind: ContactKind| match kind {
        ContactKind::Mobile => "mobile",
        ContactKind::Landline => "landline",
        ContactKind::Email => "e-mail",
    };
    let contacts: Vec<Value> = profile.contacts.iter()
        .map(|c| json!({ "kind": kind(c.kind), "value": c.value.expose(), "replaced": c.retired.map(|at| at.to_string()), "texts": !c.no_texts })).collect();
    let orders: Vec<Value> = profile.orders.iter().map(|o| json!({ "number": o.number.expose(), "what": o.what.expose(), "status": o.status })).collect();
    let authenticators: Vec<Value> = profile.authenticators.iter()
        .map(|a| json!({ "kind": a.kind.name(), "since": (a.added.0 > 0).then(|| a.added.to_string()) })).collect();
    json!({
        "account_number": profile.number.expose(), "name": profile.name.expose(), "date_of_birth": profile.date_of_birth.expose(),
        "address": profile.address.expose(), "postal_code": profile.postal_code.expose(), "language": profile.language.map(|l| l.code()),
        "contacts": contacts, "orders": orders, "authenticators": authenticators, "people_who_may_speak_for_the_account": profile.delegations.len(),
        "devices_that_are_woken": profile.push.len(), "frozen_since": profile.frozen.map(|at| at.to_string()), "phone_lock": profile.phone_lock,
        "voice_on_file": profile.voice.as_ref().map(|v| json!({ "since": v.since.to_string(), "until": v.until.to_string(), "consent_text": v.text, "language": v.lang.code() })),
        "never_codes_by_text": profile.never_sms, "last_portal_sign_in": profile.portal.map(|at| at.to_string()),
    })
}
