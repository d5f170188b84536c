//! Calls in memory: those that go on, whichever node moves them.
//!
//! A copy may be older than the record: another node has moved its call. That is no danger, because
//! every commit of a call says which events and which profiles it rests on, and whoever is told
//! nothing but what stands in memory is told so only after a look at the record. Notes of other nodes
//! keep the copies fresh; when notes are lost, everything is looked at again.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use countersign_core::{
    call::{Call, Event, Recorded, Stage},
    id::{AccountId, CallId},
    time::Span,
};
use countersign_store::{Commit, CommitError, Doc, DocWrite, Expect, Heard, Note, Stream};
use tokio::sync::OwnedMutexGuard;

use crate::{
    App,
    agents::Agents,
    hub::Notice,
    record,
    runner::{Line, Live, RunError, Runner},
    sentences::Sentences,
};

/// The kinds of notes between nodes.
pub mod note {
    /// A call moved.
    pub const CALL: &str = "call";
    /// A call is over.
    pub const OVER: &str = "over";
    /// Something happened to an account, or its profile changed.
    pub const ACCOUNT: &str = "account";
    /// Other policies decide.
    pub const POLICY: &str = "policy";
    /// Somebody at the desk is new, or not what they were.
    pub const AGENT: &str = "agent";
}

/// How long a node may go on with a chore without saying that it lives.
const LEASE: Span = Span::seconds(6);
/// The kind under which leases are kept.
const LEASES: &str = "lease";

type Slot = Arc<tokio::sync::Mutex<Option<Live>>>;
/// A call in memory, ours alone until it is dropped.
pub(crate) type Held = OwnedMutexGuard<Option<Live>>;

/// The calls in memory.
#[derive(Default)]
pub(crate) struct Calls {
    slots: Mutex<HashMap<CallId, Slot>>,
    /// Those that another node has moved since this one looked.
    stale: Mutex<HashSet<CallId>>,
    /// What this node is called on its leases.
    me: OnceLock<[u8; 16]>,
    /// What their records say.
    pub(crate) sentences: Sentences,
}

impl Calls {
    fn slots(&self) -> std::sync::MutexGuard<'_, HashMap<CallId, Slot>> { self.slots.lock().unwrap_or_else(PoisonError::into_inner) }
    fn stale(&self) -> std::sync::MutexGuard<'_, HashSet<CallId>> { self.stale.lock().unwrap_or_else(PoisonError::into_inner) }

    fn slot(&self, id: CallId) -> Slot { self.slots().entry(id).or_default().clone() }
    fn known(&self, id: CallId) -> Option<Slot> { self.slots().get(&id).cloned() }

    pub(crate) fn forget(&self, id: CallId) {
        self.slots().remove(&id);
        self.stale().remove(&id);
        self.sentences.forget(id);
    }

    /// A call was moved elsewhere. False: it is not in memory.
    fn moved(&self, id: CallId) -> bool {
        let known = self.slots().contains_key(&id);
        if known {
            self.stale().insert(id);
        }
        known
    }

    fn all(&self) -> Vec<(CallId, Slot)> { self.slots().iter().map(|(id, slot)| (*id, slot.clone())).collect() }
}

impl Runner {
    /// Takes calls up again after a restart: every call that had not ended is folded from its
    /// events and goes on where it was. Returns how many.
    pub async fn resume(self: &Arc<Self>) -> Result<usize, RunError> {
        let (mut after, mut n) = (None, 0);
        loop {
            let page = self.store.docs(record::CALL, after.clone(), 2000).await?;
            let Some((last, _)) = page.last() else { return Ok(n) };
            after = Some(last.clone());
            // Nobody is answered until all are back: every core and every reader of the store has a share.
            let mut shares = tokio::task::JoinSet::new();
            for share in page.chunks(125) {
                let (this, share) = (self.clone(), share.to_vec());
                shares.spawn(async move { this.take_up(&share).await });
            }
            while let Some(taken) = shares.join_next().await {
                n += taken.map_err(|e| RunError::Store(e.to_string()))??;
            }
        }
    }

    async fn take_up(&self, records: &[(Vec<u8>, Doc)]) -> Result<usize, RunError> {
        let mut n = 0;
        for (id, doc) in records {
            let Ok(id) = <[u8; 16]>::try_from(id.as_slice()).map(CallId) else { continue };
            let slot = self.calls.slot(id);
            let mut live = slot.lock().await;
            if live.is_none() {
                let line = self.vault.unseal(record::CALL, &id.0, &doc.body)?;
                *live = Some(Live { call: Call::fold(id, &self.events(id).await?), line, sealed: doc.body.clone() });
                n += 1;
            }
        }
        Ok(n)
    }

    /// A call for this task alone, as fresh as what other nodes have told. Empty: it is not in memory.
    pub(crate) async fn hold(&self, id: CallId) -> Result<Held, RunError> {
        let mut held = self.calls.slot(id).lock_owned().await;
        self.freshen(id, &mut held).await?;
        Ok(held)
    }

    /// Adds what other nodes have appended.
    async fn freshen(&self, id: CallId, held: &mut Option<Live>) -> Result<(), RunError> {
        // Forgotten first: what is told while we read is looked at the next time.
        if !self.calls.stale().remove(&id) {
            return Ok(());
        }
        let Some(live) = held else { return Ok(()) };
        let fresh = async {
            for recorded in self.events_after(id, live.call.n).await? {
                live.call.apply(&recorded);
            }
            // Which telephone it has may be newer as well.
            if let Some(doc) = self.store.doc(record::CALL, &id.0).await?.filter(|doc| doc.body != live.sealed) {
                live.line = self.vault.unseal(record::CALL, &id.0, &doc.body)?;
                live.sealed = doc.body;
            }
            Ok(())
        };
        let fresh = fresh.await;
        if fresh.is_err() {
            self.calls.stale().insert(id);
        }
        fresh
    }

    /// Whether the record of a call ends where this copy does.
    pub(crate) async fn is_current(&self, call: &Call) -> Result<bool, RunError> {
        if !self.store.is_shared() {
            return Ok(true);
        }
        Ok(self.store.count(Stream { kind: record::CALL, id: call.id.0 }).await? == call.n)
    }

    /// The calls that are going on, for lists.
    pub async fn live(&self) -> Vec<Call> { self.live_map(|call| Some(call.clone())).await }

    /// What is wanted of each of them: nothing is copied but that.
    pub async fn live_map<T>(&self, want: impl Fn(&Call) -> Option<T>) -> Vec<T> {
        let slots = self.calls.all();
        let mut calls = Vec::with_capacity(slots.len());
        for (id, slot) in slots {
            let mut held = slot.lock().await;
            if let Err(e) = self.freshen(id, &mut held).await {
                tracing::warn!(call = %id, error = %e, "a call that another node moved cannot be read; shown as it was");
            }
            match held.as_ref() {
                Some(live) if live.call.stage == Stage::Ended => {
                    drop(held.take());
                    self.calls.forget(id);
                }
                Some(live) if live.call.n > 0 => calls.extend(want(&live.call)),
                _ => {}
            }
        }
        calls
    }

    /// How many calls are in memory.
    pub fn live_count(&self) -> usize { self.calls.slots().len() }

    /// One call as it is on record, from memory or from its events.
    pub async fn call(&self, id: CallId) -> Result<Option<Live>, RunError> {
        match self.in_memory(id).await? {
            Some(live) if self.is_current(&live.call).await? => Ok(Some(live)),
            Some(_) => {
                self.calls.moved(id);
                Ok(self.in_memory(id).await?)
            }
            None => self.load(id).await,
        }
    }

    /// A call that is going on, as this node knows it: for lists.
    pub async fn in_memory(&self, id: CallId) -> Result<Option<Live>, RunError> {
        let Some(slot) = self.calls.known(id) else { return Ok(None) };
        let mut held = slot.lock().await;
        self.freshen(id, &mut held).await?;
        Ok(held.clone().filter(|live| live.call.n > 0))
    }

    /// The events of a call.
    pub async fn events(&self, id: CallId) -> Result<Vec<Recorded>, RunError> { self.events_after(id, 0).await }

    pub(crate) async fn events_after(&self, id: CallId, n: u64) -> Result<Vec<Recorded>, RunError> {
        let stored = self.store.events_after(Stream { kind: record::CALL, id: id.0 }, n).await?;
        stored.iter().map(|e| Event::decode(&e.body).map_err(RunError::from)).collect()
    }

    /// A call from the record.
    pub(crate) async fn load(&self, id: CallId) -> Result<Option<Live>, RunError> {
        let events = self.events(id).await?;
        if events.is_empty() {
            return Ok(None);
        }
        let (line, sealed) = match self.store.doc(record::CALL, &id.0).await? {
            Some(doc) => (self.vault.unseal(record::CALL, &id.0, &doc.body)?, doc.body),
            None => (Line::default(), Vec::new()),
        };
        Ok(Some(Live { call: Call::fold(id, &events), line, sealed }))
    }

    /// What other nodes have to look at again after a step.
    pub(crate) fn notes(before: &Call, after: &Call) -> Vec<Note> {
        let kind = if after.stage == Stage::Ended { note::OVER } else { note::CALL };
        let mut notes = vec![Note { kind, id: after.id.0 }];
        for account in accounts(before, after) {
            notes.push(Note { kind: note::ACCOUNT, id: account.0 });
        }
        notes
    }

    /// Whether this node is the one that does a chore now. Another takes over some seconds after it
    /// has fallen silent. For chores that do no harm when two do them, only cost twice.
    pub async fn leads(&self, chore: &'static str) -> Result<bool, RunError> {
        // Nobody else is there, and the lease of its life before is none.
        if !self.store.is_shared() {
            return Ok(true);
        }
        let me = match self.calls.me.get() {
            Some(me) => *me,
            None => {
                let fresh = self.vault.id()?;
                *self.calls.me.get_or_init(|| fresh)
            }
        };
        let now = self.now();
        let held = self.store.doc(LEASES, chore.as_bytes()).await?;
        let (mine, until) = match &held {
            Some(doc) => (doc.body == me, doc.due.unwrap_or(0)),
            None => (false, 0),
        };
        // A time beyond any lease is no lease, but a clock that was wrong.
        if !mine && until > now.0 && until <= (now + LEASE + LEASE).0 {
            return Ok(false);
        }
        if mine && until > (now + Span(LEASE.0 / 2)).0 {
            return Ok(true);
        }
        let expected = held.map_or(Expect::New, |doc| Expect::Version(doc.version));
        let lease = DocWrite::Put { kind: LEASES, id: chore.as_bytes().to_vec(), expected, body: me.to_vec(), due: Some((now + LEASE).0) };
        match self.store.commit(Commit { now: now.0, docs: vec![lease], ..Commit::default() }).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict) => Ok(false),
            Err(CommitError::Busy | CommitError::Closed) => Err(RunError::Busy),
            Err(e) => Err(RunError::Store(e.to_string())),
        }
    }

    /// Takes in what another node has told.
    pub async fn heard(self: &Arc<Self>, heard: &Heard, agents: &Agents) -> Result<(), RunError> {
        let (kind, id) = match heard {
            Heard::Note { kind, id } => (kind.as_str(), *id),
            Heard::Missed => {
                self.directory.forget_all();
                self.customers.forget_all();
                for (id, _) in self.calls.all() {
                    self.calls.moved(id);
                }
                self.resume().await?;
                self.refresh_policies().await?;
                refresh(agents).await?;
                for call in self.live().await {
                    self.hub.tell(Notice::Call(call.id));
                }
                self.hub.tell_accounts();
                return Ok(());
            }
        };
        match kind {
            note::CALL => {
                // A new one is taken up, so that it stands on this node's lists.
                if !self.calls.moved(CallId(id)) {
                    let mut held = self.calls.slot(CallId(id)).lock_owned().await;
                    if held.is_none() {
                        *held = self.load(CallId(id)).await?.filter(|live| live.call.stage != Stage::Ended);
                    }
                    if held.is_none() {
                        self.calls.forget(CallId(id));
                    }
                }
                self.hub.tell(Notice::Call(CallId(id)));
            }
            note::OVER => {
                self.calls.forget(CallId(id));
                self.hub.tell(Notice::Call(CallId(id)));
            }
            note::ACCOUNT => {
                self.directory.forget(AccountId(id));
                // It may have been the last that is heard of them.
                self.customers.forget(AccountId(id));
                self.hub.tell_account(AccountId(id));
            }
            note::POLICY => {
                self.refresh_policies().await?;
            }
            note::AGENT => refresh(agents).await?,
            // A newer release has more to tell.
            _ => {}
        }
        Ok(())
    }
}

async fn refresh(agents: &Agents) -> Result<(), RunError> {
    agents.refresh().await.map_err(|e| match e {
        crate::agents::AgentError::Run(e) => e,
        other => RunError::Store(other.to_string()),
    })
}

/// The accounts that a step is about.
pub(crate) fn accounts(before: &Call, after: &Call) -> Vec<AccountId> {
    let mut accounts: Vec<AccountId> = [before.subject, before.principal, after.subject, after.principal].into_iter().flatten().collect();
    accounts.sort_unstable();
    accounts.dedup();
    accounts
}

/// Listens to the other nodes for as long as this one serves.
pub async fn follow(app: App) {
    let mut following = app.runner.store.follow();
    loop {
        let heard = following.next().await;
        if let Err(e) = app.runner.heard(&heard, &app.agents).await {
            tracing::warn!(error = %e, "what another node told cannot be looked at; it is looked at when it is needed");
        }
    }
}

/// Profiles that a step has looked at, with the versions they had. The commit asserts that they are
/// still the same: what is decided rests on them.
#[derive(Debug, Default)]
pub(crate) struct Consulted(HashMap<AccountId, u64>);

impl Consulted {
    /// One more. The first look counts: if a later one saw another version, the commit is refused.
    pub(crate) fn add(&mut self, account: AccountId, version: u64) {
        if let Entry::Vacant(entry) = self.0.entry(account) {
            entry.insert(version);
        }
    }

    pub(crate) fn still(&self) -> impl Iterator<Item = DocWrite> {
        let mut all: Vec<(AccountId, u64)> = self.0.iter().map(|(account, version)| (*account, *version)).collect();
        // The same order every time, for tests and logs.
        all.sort_unstable();
        all.into_iter().map(|(account, version)| DocWrite::Still { kind: record::ACCOUNT, id: account.0.to_vec(), version })
    }

    pub(crate) fn accounts(&self) -> impl Iterator<Item = AccountId> { self.0.keys().copied() }
}
