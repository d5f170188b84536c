//! Seals what is on record anew with the current data key, a little at a time, while calls go on. What is
//! about a customer, and is from before customers had keys, is sealed with theirs.

use std::sync::Arc;

use countersign_core::{call::{Call, Recorded}, id::{AccountId, CallId}};
use countersign_store::{Commit, CommitError, Doc, DocWrite, Expect, Note, ReadError, Store};
use serde::{Deserialize, Serialize};

use crate::{
    calls::note,
    customers::{CustomerKey, KeyError, Standing},
    effects::{self, LINK, Link},
    privacy::{self, HOLD},
    runner::{RunError, Runner},
    vault::Vault,
    voice::TEMPLATE,
};

/// Every kind of sealed document. Messages on their way out are sealed as well, and gone within hours.
pub const KINDS: [&str; 26] = [
    "account", "note", "agent", "policy-set", "log-keys", "salt", "field-note", "oauth-key", "vapid", "drill-report", "watch", "link", "link-code", "session",
    "portal-session", "service", "service-shown", "number-facts", "upstream", "oauth-request", "call", "hold", "webauthn", "totp-pending",
    "voice", "voice-takes",
];
/// Where the chore stands.
const STATE: &str = "reseal";
const ONE: &[u8] = b"1";
/// Documents looked at in one turn.
const PAGE: usize = 100;

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    key: u32,
    /// Customers had keys when it began.
    #[serde(default)]
    customers: bool,
    kind: usize,
    after: Option<String>,
}

impl Runner {
    /// One turn. False: everything is sealed by the current key.
    pub async fn reseal(&self) -> Result<bool, RunError> {
        let (key, customers) = (self.vault.current_key(), self.customers.in_force(self.now()));
        if key == 0 {
            return Ok(false);
        }
        let doc = self.store.doc(STATE, ONE).await?;
        let mut state: State = match &doc {
            Some(doc) => serde_json::from_slice(&doc.body)?,
            None => State::default(),
        };
        if (state.key, state.customers) != (key, customers) {
            state = State { key, customers, ..State::default() };
        }
        let Some(kind) = KINDS.get(state.kind).copied() else { return Ok(false) };
        let after = state.after.as_ref().and_then(|id| hex::decode(id).ok());
        let page = self.store.docs(kind, after, PAGE).await?;
        match page.last() {
            Some((last, _)) => state.after = Some(hex::encode(last)),
            None => state = State { key, customers, kind: state.kind.saturating_add(1), after: None },
        }
        let expected = doc.map_or(Expect::New, |doc| Expect::Version(doc.version));
        let moved = DocWrite::Put { kind: STATE, id: ONE.to_vec(), expected, body: serde_json::to_vec(&state)?, due: None };
        let mut writes = Vec::new();
        for (id, doc) in &page {
            writes.extend(self.sealed_anew(kind, id, doc, customers).await?);
        }
        let mut all: Vec<DocWrite> = writes.clone();
        all.push(moved.clone());
        if !self.put(kind, all).await? {
            // Somebody has written one of them meanwhile, with the current key: the others one by one.
            for write in writes {
                self.put(kind, vec![write]).await?;
            }
            self.put(STATE, vec![moved]).await?;
        }
        Ok(true)
    }

    async fn sealed_anew(&self, kind: &'static str, id: &[u8], doc: &Doc, customers: bool) -> Result<Option<DocWrite>, RunError> {
        let account = match kind {
            // Nothing of anybody's any more: a customer's key, or none of ours.
            _ if !customers || Vault::owner_of(&doc.body).is_some() => None,
            "account" | HOLD | TEMPLATE => id.try_into().ok().map(AccountId),
            LINK => Some(self.vault.unseal::<Link>(LINK, id, &doc.body)?.account()),
            _ => None,
        };
        let key = match account {
            Some(account) => self.key_for(account).await?,
            None => None,
        };
        let body = match &key {
            Some(key) => {
                if kind == "account" {
                    self.notes_anew(key).await?;
                }
                self.vault.reseal_for(key, kind, id, &doc.body)?
            }
            None => self.vault.reseal(kind, id, &doc.body)?,
        };
        Ok(body.map(|body| DocWrite::Put { kind, id: id.to_vec(), expected: Expect::Version(doc.version), body, due: doc.due }))
    }

    /// The key of a customer from before there were keys. `None`: they were erased, and this is what an
    /// older copy of the record still has of them.
    async fn key_for(&self, account: AccountId) -> Result<Option<Arc<CustomerKey>>, RunError> {
        let now = self.now();
        match self.customers.standing(account, now).await? {
            Standing::Kept(key) => Ok(Some(key)),
            Standing::Erased => Ok(None),
            Standing::Unknown => match self.customers.keep(&[account], now).await {
                Ok(made) => Ok(made.into_values().next()),
                Err(KeyError::Vault(crate::vault::VaultError::NoCustomerKey)) => Ok(None),
                Err(e) => Err(e.into()),
            },
        }
    }

    /// The notes of the calls that were about a customer, before their profile: whoever finds that sealed
    /// anew finds everything of theirs.
    async fn notes_anew(&self, key: &CustomerKey) -> Result<(), RunError> {
        for call in self.calls_of(key.account()).await? {
            let (id, events): (CallId, Vec<Recorded>) = call;
            let mut call = Call::new(id);
            for recorded in &events {
                let before = call.clone();
                call.apply(recorded);
                for note in privacy::notes_in(std::slice::from_ref(recorded)) {
                    let doc = if effects::about(&before, &call) == Some(key.account()) { self.store.doc("note", &note.0).await? } else { None };
                    let Some(doc) = doc else { continue };
                    if let Some(body) = self.vault.reseal_for(key, "note", &note.0, &doc.body)? {
                        self.put("note", vec![DocWrite::Put { kind: "note", id: note.0.to_vec(), expected: Expect::Version(doc.version), body, due: doc.due }]).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn put(&self, kind: &str, docs: Vec<DocWrite>) -> Result<bool, RunError> {
        let accounts: Vec<[u8; 16]> = match kind {
            "account" => docs.iter().filter_map(|write| if let DocWrite::Put { kind: "account", id, .. } = write { id.as_slice().try_into().ok() } else { None }).collect(),
            _ => Vec::new(),
        };
        let notes = accounts.iter().map(|id| Note { kind: note::ACCOUNT, id: *id }).collect();
        let committed = self.store.commit(Commit { now: self.now().0, docs, notes, ..Commit::default() }).await;
        for id in accounts {
            self.directory.forget(AccountId(id));
        }
        match committed {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict) => Ok(false),
            Err(CommitError::Busy | CommitError::Closed) => Err(RunError::Busy),
            Err(e) => Err(RunError::Store(e.to_string())),
        }
    }
}

/// How many documents each data key has sealed. `progress` is told how many were looked at.
pub async fn sealed_by(store: &Store, mut progress: impl FnMut(u64)) -> Result<std::collections::BTreeMap<u32, u64>, ReadError> {
    let (mut counts, mut seen) = (std::collections::BTreeMap::new(), 0);
    for kind in KINDS {
        let mut after = None;
        loop {
            let page = store.docs(kind, after, 1000).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (_, doc) in &page {
                if let Some(key) = Vault::key_of(&doc.body) {
                    *counts.entry(key).or_default() += 1;
                }
            }
            seen += page.len() as u64;
            progress(seen);
        }
    }
    Ok(counts)
}
