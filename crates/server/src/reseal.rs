//! Seals what is on record anew with the current data key, a little at a time, while calls go on.

use countersign_core::id::AccountId;
use countersign_store::{Commit, CommitError, Doc, DocWrite, Expect, Note, ReadError, Store};
use serde::{Deserialize, Serialize};

use crate::{
    calls::note,
    runner::{RunError, Runner},
    vault::Vault,
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
    kind: usize,
    after: Option<String>,
}

impl Runner {
    /// One turn. False: everything is sealed by the current key.
    pub async fn reseal(&self) -> Result<bool, RunError> {
        let key = self.vault.current_key();
        if key == 0 {
            return Ok(false);
        }
        let doc = self.store.doc(STATE, ONE).await?;
        let mut state: State = match &doc {
            Some(doc) => serde_json::from_slice(&doc.body)?,
            None => State::default(),
        };
        if state.key != key {
            state = State { key, ..State::default() };
        }
        let Some(kind) = KINDS.get(state.kind).copied() else { return Ok(false) };
        let after = state.after.as_ref().and_then(|id| hex::decode(id).ok());
        let page = self.store.docs(kind, after, PAGE).await?;
        match page.last() {
            Some((last, _)) => state.after = Some(hex::encode(last)),
            None => state = State { key, kind: state.kind.saturating_add(1), after: None },
        }
        let expected = doc.map_or(Expect::New, |doc| Expect::Version(doc.version));
        let moved = DocWrite::Put { kind: STATE, id: ONE.to_vec(), expected, body: serde_json::to_vec(&state)?, due: None };
        let writes = page.iter().filter_map(|(id, doc)| self.sealed_anew(kind, id, doc).transpose()).collect::<Result<Vec<_>, _>>()?;
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

    fn sealed_anew(&self, kind: &'static str, id: &[u8], doc: &Doc) -> Result<Option<DocWrite>, RunError> {
        let Some(body) = self.vault.reseal(kind, id, &doc.body)? else { return Ok(None) };
        Ok(Some(DocWrite::Put { kind, id: id.to_vec(), expected: Expect::Version(doc.version), body, due: doc.due }))
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
