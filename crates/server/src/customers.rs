//! A key for each customer, kept apart from the record.
//!
//! Everything that is about one customer is sealed with keys derived from 32 random bytes of theirs. Those
//! lie in the *key store*: a file or a schema of its own, under a keyring of its own. Whoever destroys a
//! customer's key has destroyed what it sealed in every copy of the record at once, however old. That is
//! why the key store must not have copies as old as the record's: see docs/privacy.md.
//!
//! Where a key was destroyed its row stays, empty, and the account stands on the list of the erased. So an
//! older copy of the record is recognised, and nobody comes back with it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use countersign_core::{id::AccountId, time::{Span, Timestamp}};
use countersign_store::{Commit, CommitError, DocWrite, Expect, ReadError, Store};
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    keyring::{Key, KeyringError, LEAD, Master},
    vault::{Vault, VaultError, system_entropy},
};

/// How long a node goes on with what it knows of a customer without looking again. It hears of an erasing
/// at once; this bounds what it does when it hears nothing.
pub const FRESH: Span = Span::minutes(1);
/// The kind under which keys are kept in the key store, by account. Empty: it was destroyed.
pub const KEY: &str = "customer-key";
/// The kind under which those are kept who were erased, in the key store and in the record.
pub const ERASED: &str = "erased";
/// What the key store is called, in itself and in the record that belongs to it.
const BELONGS: &str = "customer-keys";
const ONE: &[u8] = b"1";
/// Where wrapping anew stands, in the key store.
const STATE: &str = "rewrap";
/// Everything sealed in the key store.
const KINDS: [&str; 2] = [KEY, ERASED];
const PAGE: usize = 500;
/// Keys in clear in memory, at most.
const CACHED: usize = 16_384;
/// How often a change is tried again when somebody else was faster.
const TRIES: usize = 8;

/// What a destroyed key leaves in its place.
const DESTROYED: &[u8] = &[0];

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The key store does not answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A key does not open, or there is none any more.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The key store has too much to do.
    #[error("the key store is too busy: try again in a moment")]
    Busy,
    /// The key store does not take it.
    #[error("the key store did not take it: {0}")]
    Write(String),
}

/// The key of one customer.
pub struct CustomerKey {
    account: AccountId,
    key: Zeroizing<[u8; 32]>,
}

impl CustomerKey {
    /// Whose.
    pub fn account(&self) -> AccountId { self.account }

    /// For one kind of record.
    pub(crate) fn cipher(&self, kind: &str) -> XChaCha20Poly1305 {
        let mut out = Zeroizing::new([0; 32]);
        // 32 bytes are always a valid HKDF-SHA-256 output length.
        let _ = Hkdf::<Sha256>::new(Some(b"countersign/customer/1"), self.key.as_ref()).expand_multi_info(&[&self.account.0, kind.as_bytes()], out.as_mut());
        XChaCha20Poly1305::new((&*out).into())
    }
}

impl std::fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "CustomerKey({}, …)", self.account) }
}

/// How the key store knows an account.
#[derive(Debug, Clone)]
pub enum Standing {
    /// It has none: the account is from before there were keys, or of another key store.
    Unknown,
    /// It has a key.
    Kept(Arc<CustomerKey>),
    /// The key was destroyed.
    Erased,
}

impl Standing {
    /// The key, if there is one.
    pub fn key(self) -> Option<Arc<CustomerKey>> { if let Self::Kept(key) = self { Some(key) } else { None } }
}

/// The customers' keys of a record.
pub struct Customers {
    /// The key store.
    pub keys: Store,
    /// Seals the keys.
    wraps: Vault,
    /// From when on records are sealed with them.
    from: Mutex<Option<Timestamp>>,
    known: Mutex<Known>,
}

/// Keys in clear, with the time at which they were read, and how often one was forgotten: what was read
/// before that is not kept.
#[derive(Default)]
struct Known {
    keys: HashMap<AccountId, (Arc<CustomerKey>, Timestamp)>,
    forgotten: u64,
}

/// Which key store belongs to a record.
#[derive(Clone, Serialize, Deserialize)]
struct Belongs {
    keys: String,
    /// From when on records are sealed with customers' keys. None: nodes of an older release may still
    /// be there, who could not open them.
    from: Option<Timestamp>,
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    key: u32,
    kind: usize,
    after: Option<String>,
}

impl std::fmt::Debug for Customers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("Customers(…)") }
}

impl Customers {
    /// Over a key store that belongs to no record in particular: for tests, the demo and drills.
    pub fn over(keys: Store, wraps: Vault) -> Self { Self { keys, wraps, from: Mutex::new(Some(Timestamp(0))), known: Mutex::default() } }

    /// The keys of a record. The first start makes the key store.
    ///
    /// # Errors
    /// This key store is not the record's, or another master key is wanted.
    pub async fn open(master: &Master, record: &Store, keys: &Store, now: Timestamp) -> Result<Self, KeyringError> {
        let name = keys.doc(BELONGS, ONE).await?.map(|doc| hex::encode(doc.body));
        let stands = belongs(record).await?;
        match (&name, &stands) {
            (None, Some(_)) => return Err(missing()),
            (Some(name), Some(stands)) if *name != stands.keys => return Err(KeyringError::Refused(
                "the key store that [store] names belongs to another record: name the one that was made with this record".into(),
            )),
            _ => {}
        }
        let wraps = Vault::of_keys(master, keys, now).await?;
        let name = match name {
            Some(name) => name,
            None => {
                put(keys, BELONGS, ONE, Expect::New, system_entropy()?.to_vec(), now).await?;
                // Another node may have been faster: then it is called as that one said.
                keys.doc(BELONGS, ONE).await?.map(|doc| hex::encode(doc.body)).ok_or_else(|| KeyringError::Write("the key store forgot its name".into()))?
            }
        };
        let stands = match stands {
            Some(stands) => stands,
            None => {
                // Where nobody of an older release can be, nothing has to be waited for.
                let alone = !record.is_shared() || record.docs("account", None, 1).await?.is_empty();
                let made = Belongs { keys: name, from: alone.then_some(now) };
                put(record, BELONGS, ONE, Expect::New, serde_json::to_vec(&made).map_err(VaultError::from)?, now).await?;
                belongs(record).await?.ok_or_else(|| KeyringError::Write("the record forgot its key store".into()))?
            }
        };
        Ok(Self { keys: keys.clone(), wraps, from: Mutex::new(stands.from), known: Mutex::default() })
    }

    /// For a key store that is not there at all: nothing must be made in its place where the record has one.
    ///
    /// # Errors
    /// The record has one.
    pub async fn may_be_new(record: &Store) -> Result<(), KeyringError> { if belongs(record).await?.is_some() { Err(missing()) } else { Ok(()) } }

    /// From a minute from now on records are sealed with customers' keys: every node can open them. False:
    /// it was said before.
    pub async fn begin(&self, record: &Store, now: Timestamp) -> Result<bool, KeyringError> {
        for _ in 0..TRIES {
            let doc = record.doc(BELONGS, ONE).await?.ok_or_else(|| KeyringError::Refused("start the server once first".into()))?;
            let stands: Belongs = serde_json::from_slice(&doc.body).map_err(|_| KeyringError::Damaged)?;
            if stands.from.is_some() {
                return Ok(false);
            }
            let body = serde_json::to_vec(&Belongs { from: Some(now + LEAD), ..stands }).map_err(VaultError::from)?;
            if put(record, BELONGS, ONE, Expect::Version(doc.version), body, now).await? {
                return Ok(true);
            }
        }
        Err(KeyringError::Write("others change it all the time".into()))
    }

    /// Looks again: keys that wrap may have come, and the time of customers' keys.
    pub async fn refresh(&self, record: &Store, now: Timestamp) -> Result<(), KeyringError> {
        self.wraps.refresh(&self.keys, now).await?;
        if self.from.lock().unwrap_or_else(PoisonError::into_inner).is_none()
            && let Some(stands) = belongs(record).await?
        {
            *self.from.lock().unwrap_or_else(PoisonError::into_inner) = stands.from;
        }
        Ok(())
    }

    /// Whether records are sealed with customers' keys.
    pub fn in_force(&self, now: Timestamp) -> bool { self.from.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|from| from <= now) }

    fn known(&self) -> MutexGuard<'_, Known> { self.known.lock().unwrap_or_else(PoisonError::into_inner) }

    /// How the key store knows an account: from memory, or with one read.
    pub async fn standing(&self, account: AccountId, now: Timestamp) -> Result<Standing, KeyError> {
        let forgotten = {
            let known = self.known();
            if let Some((key, read)) = known.keys.get(&account)
                && now < *read + FRESH
            {
                return Ok(Standing::Kept(key.clone()));
            }
            known.forgotten
        };
        Box::pin(self.read(account, now, forgotten)).await
    }

    async fn read(&self, account: AccountId, now: Timestamp, forgotten: u64) -> Result<Standing, KeyError> {
        let Some(doc) = self.keys.doc(KEY, &account.0).await? else { return Ok(Standing::Unknown) };
        if doc.body == DESTROYED {
            self.known().keys.remove(&account);
            return Ok(Standing::Erased);
        }
        let Key(key) = self.wraps.unseal(KEY, &account.0, &doc.body)?;
        let key = Arc::new(CustomerKey { account, key });
        let mut known = self.known();
        if known.keys.len() >= CACHED {
            known.keys.clear();
        }
        // It may have been destroyed in between.
        if known.forgotten == forgotten {
            known.keys.insert(account, (key.clone(), now));
        }
        Ok(Standing::Kept(key))
    }

    /// The keys of these accounts, made where there are none. All new ones in one commit.
    ///
    /// # Errors
    /// One of them was erased: there is no key for that account any more.
    pub async fn keep(&self, accounts: &[AccountId], now: Timestamp) -> Result<HashMap<AccountId, Arc<CustomerKey>>, KeyError> {
        for n in 0..TRIES {
            let (mut found, mut docs) = (HashMap::new(), Vec::new());
            for account in accounts {
                if n > 0 {
                    self.forget(*account);
                }
                // As a rule they are new: nobody asks a hundred thousand times whether they are.
                match if n == 0 { Standing::Unknown } else { self.standing(*account, now).await? } {
                    Standing::Kept(key) => drop(found.insert(*account, key)),
                    Standing::Erased => return Err(VaultError::NoCustomerKey.into()),
                    Standing::Unknown => {
                        let key = Key(Zeroizing::new(system_entropy()?));
                        let body = self.wraps.seal(KEY, &account.0, &key)?;
                        docs.push(DocWrite::Put { kind: KEY, id: account.0.to_vec(), expected: Expect::New, body, due: None });
                        found.insert(*account, Arc::new(CustomerKey { account: *account, key: key.0 }));
                    }
                }
            }
            if docs.is_empty() || self.commit(docs, now).await? {
                return Ok(found);
            }
        }
        Err(KeyError::Busy)
    }

    /// Destroys the key of an account. Once and for ever: its place stays taken. Again is the same.
    pub async fn destroy(&self, account: AccountId, now: Timestamp) -> Result<(), KeyError> {
        for _ in 0..TRIES {
            let doc = self.keys.doc(KEY, &account.0).await?;
            let listed = self.keys.doc(ERASED, &account.0).await?.is_some();
            let gone = doc.as_ref().is_some_and(|doc| doc.body == DESTROYED);
            self.forget(account);
            if gone && listed {
                return Ok(());
            }
            let mut docs = Vec::new();
            if !gone {
                let expected = doc.map_or(Expect::New, |doc| Expect::Version(doc.version));
                docs.push(DocWrite::Put { kind: KEY, id: account.0.to_vec(), expected, body: DESTROYED.to_vec(), due: None });
            }
            if !listed {
                let body = self.wraps.seal(ERASED, &account.0, &now)?;
                docs.push(DocWrite::Put { kind: ERASED, id: account.0.to_vec(), expected: Expect::New, body, due: None });
            }
            let done = self.commit(docs, now).await;
            self.forget(account);
            if done? {
                return Ok(());
            }
        }
        Err(KeyError::Busy)
    }

    /// Whether the key of an account was destroyed, and it stands on the list.
    pub async fn is_destroyed(&self, account: AccountId) -> Result<bool, KeyError> {
        let (key, listed) = tokio::join!(self.keys.doc(KEY, &account.0), self.keys.doc(ERASED, &account.0));
        Ok(key?.is_some_and(|doc| doc.body == DESTROYED) && listed?.is_some())
    }

    /// Those who were erased, up to five hundred, and after what to go on. Whoever put somebody on the list
    /// without the keys is not believed.
    pub async fn erased(&self, after: Option<Vec<u8>>) -> Result<(Vec<AccountId>, Option<Vec<u8>>), KeyError> {
        let page = self.keys.docs(ERASED, after, PAGE).await?;
        let open = |(id, doc): &(Vec<u8>, countersign_store::Doc)| {
            let opened = self.wraps.unseal::<Timestamp>(ERASED, id, &doc.body);
            if let Err(e) = opened {
                tracing::error!(error = %e, "the list of erased customers has an entry that nobody with the keys has made: it is left out");
                return None;
            }
            Some(AccountId(id.as_slice().try_into().ok()?))
        };
        Ok((page.iter().filter_map(open).collect(), page.last().map(|(id, _)| id.clone())))
    }

    /// Forgets a key that was read.
    pub fn forget(&self, account: AccountId) {
        let mut known = self.known();
        known.keys.remove(&account);
        known.forgotten += 1;
    }

    /// Forgets all of them: nobody knows what other nodes have done.
    pub fn forget_all(&self) {
        let mut known = self.known();
        known.keys.clear();
        known.forgotten += 1;
    }

    /// Wraps some keys anew, after a new data key came. False: all are wrapped by the current one. What the
    /// keys have sealed stays as it is.
    pub async fn rewrap(&self, now: Timestamp) -> Result<bool, KeyError> {
        let key = self.wraps.current_key();
        let doc = self.keys.doc(STATE, ONE).await?;
        let mut state: State = match &doc {
            Some(doc) => serde_json::from_slice(&doc.body).map_err(VaultError::from)?,
            // The first keyring has one key, and everything is wrapped by it.
            None if key <= 1 => return Ok(false),
            None => State::default(),
        };
        if state.key != key {
            state = State { key, ..State::default() };
        }
        let Some(kind) = KINDS.get(state.kind).copied() else { return Ok(false) };
        let after = state.after.as_ref().and_then(|id| hex::decode(id).ok());
        let page = self.keys.docs(kind, after, PAGE).await?;
        let mut docs = Vec::new();
        for (id, doc) in &page {
            if doc.body == DESTROYED {
                continue;
            }
            if let Some(body) = self.wraps.reseal(kind, id, &doc.body)? {
                docs.push(DocWrite::Put { kind, id: id.clone(), expected: Expect::Version(doc.version), body, due: None });
            }
        }
        match page.last() {
            Some((last, _)) => state.after = Some(hex::encode(last)),
            None => state = State { key, kind: state.kind.saturating_add(1), after: None },
        }
        let expected = doc.map_or(Expect::New, |doc| Expect::Version(doc.version));
        docs.push(DocWrite::Put { kind: STATE, id: ONE.to_vec(), expected, body: serde_json::to_vec(&state).map_err(VaultError::from)?, due: None });
        // If one of them was destroyed in this moment, the page is looked at again.
        self.commit(docs, now).await?;
        Ok(true)
    }

    /// False: somebody else was faster.
    async fn commit(&self, docs: Vec<DocWrite>, now: Timestamp) -> Result<bool, KeyError> {
        match self.keys.commit(Commit { now: now.0, docs, ..Commit::default() }).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict) => Ok(false),
            Err(CommitError::Busy | CommitError::Closed) => Err(KeyError::Busy),
            Err(e) => Err(KeyError::Write(e.to_string())),
        }
    }
}

/// How many keys each data key has wrapped, how many customers have one, and how many were erased.
pub async fn wrapped_by(keys: &Store) -> Result<(std::collections::BTreeMap<u32, u64>, u64, u64), ReadError> {
    let (mut counts, mut kept, mut erased) = (std::collections::BTreeMap::new(), 0, 0);
    for kind in KINDS {
        let mut after = None;
        loop {
            let page = keys.docs(kind, after, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (_, doc) in &page {
                let Some(key) = Vault::key_of(&doc.body) else { continue };
                *counts.entry(key).or_default() += 1;
                *(if kind == KEY { &mut kept } else { &mut erased }) += 1;
            }
        }
    }
    Ok((counts, kept, erased))
}

fn missing() -> KeyringError {
    KeyringError::Refused(
        "this record's customers are sealed with keys that lie in a key store of its own, and the one that [store] names is new and empty: put the latest copy of the key store in its place (docs/operations.md, Backup and restore)".into(),
    )
}

async fn belongs(record: &Store) -> Result<Option<Belongs>, KeyringError> {
    let doc = record.doc(BELONGS, ONE).await?;
    doc.map(|doc| serde_json::from_slice(&doc.body).map_err(|_| KeyringError::Damaged)).transpose()
}

/// False: somebody else was faster.
async fn put(store: &Store, kind: &'static str, id: &[u8], expected: Expect, body: Vec<u8>, now: Timestamp) -> Result<bool, KeyringError> {
    let docs = vec![DocWrite::Put { kind, id: id.to_vec(), expected, body, due: None }];
    match store.commit(Commit { now: now.0, docs, ..Commit::default() }).await {
        Ok(_) => Ok(true),
        Err(CommitError::Conflict) => Ok(false),
        Err(e) => Err(KeyringError::Write(e.to_string())),
    }
}
