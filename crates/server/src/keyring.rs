//! The keyring of a record: envelope encryption, and how keys are changed while servers run.
//!
//! The master key seals one thing, a *root* key of 32 random bytes, and may be changed for another
//! without touching a record: for a while both open the root. The root seals the keyring. The keyring
//! holds the keys that seal records (*data keys*, one of which is current), the key of look-ups and the
//! pepper. A record says in its header which data key has sealed it.
//!
//! A new data key is in the keyring for a while before anybody seals with it, so that no node meets a
//! record that it cannot open.

use std::collections::BTreeMap;

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use countersign_core::time::{Span, Timestamp};
use countersign_store::{Commit, CommitError, DocWrite, Expect, ReadError, Store};
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::vault::{NONCE, VaultError, system_entropy};

/// The kind under which the keyring is kept: there is one.
pub(crate) const KEYRING: &str = "keyring";
const ONE: &[u8] = b"1";
/// How long every node knows a new data key before it is used. Nodes look every second.
pub const LEAD: Span = Span::minutes(1);
/// How often a change of the keyring is tried again when somebody else was faster.
const TRIES: usize = 8;

/// Why there is no keyring.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The record does not answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The master key has the wrong shape, or there is no randomness.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Another master key is wanted.
    #[error("this master key ({0}) does not open this record: name the key file it was made with, or the one that it was changed to. It opens with {1}")]
    WrongKey(String, String),
    /// The keyring is not whole.
    #[error("the keyring of this record is damaged: restore a backup. Without it nothing can be opened")]
    Damaged,
    /// Nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// The record does not take it.
    #[error("the keyring could not be written: {0}")]
    Write(String),
}

/// A master key, as it stands in a file or in the environment.
pub struct Master(Zeroizing<[u8; 32]>);

impl Master {
    /// From its bytes.
    pub fn new(bytes: [u8; 32]) -> Self { Self(Zeroizing::new(bytes)) }

    /// From 64 hexadecimal digits.
    ///
    /// # Errors
    /// They are none.
    pub fn parse(text: &str) -> Result<Self, VaultError> {
        let mut master = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), master.as_mut()).map_err(|_| VaultError::Shape)?;
        Ok(Self(master))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] { &self.0 }

    /// Whether two are one key.
    pub fn is(&self, other: &Self) -> bool { bool::from(subtle::ConstantTimeEq::ct_eq(&self.0[..], &other.0[..])) }

    fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let mut out = Zeroizing::new([0; 32]);
        // 32 bytes are always a valid HKDF-SHA-256 output length.
        let _ = Hkdf::<Sha256>::new(Some(b"countersign/1"), self.0.as_ref()).expand(purpose.as_bytes(), out.as_mut());
        out
    }

    /// What it is called, so that a wrong one is recognised: tells nothing about it.
    pub fn name(&self) -> String { hex::encode(Sha256::digest(self.derive("name").as_ref())).chars().take(12).collect() }

    fn wrap(&self, root: &[u8; 32]) -> Result<Wrap, VaultError> { Ok(Wrap { master: self.name(), sealed: seal(&self.derive("wrap"), root, b"root")? }) }
}

impl std::fmt::Debug for Master {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("Master(…)") }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    /// The root, once for each master key that may open it.
    wraps: Vec<Wrap>,
    /// [`Secrets`], sealed by the root.
    secrets: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Wrap {
    master: String,
    sealed: String,
}

/// What the keyring holds.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Secrets {
    pub(crate) index: Key,
    pub(crate) pepper: Key,
    keys: BTreeMap<u32, DataKey>,
}

#[derive(Clone, Serialize, Deserialize)]
struct DataKey {
    key: Key,
    /// From when on it seals; the latest that does is current.
    from: Timestamp,
}

/// 32 bytes, in hexadecimal when they are written.
#[derive(Clone)]
pub(crate) struct Key(pub(crate) Zeroizing<[u8; 32]>);

impl Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.serialize_str(&Zeroizing::new(hex::encode(self.0.as_ref()))) }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(d)?);
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.as_bytes(), key.as_mut()).map_err(serde::de::Error::custom)?;
        Ok(Self(key))
    }
}

impl Key {
    fn fresh() -> Result<Self, VaultError> { Ok(Self(Zeroizing::new(system_entropy()?))) }
}

/// A keyring as it was opened.
pub(crate) struct Ring {
    pub(crate) secrets: Secrets,
    root: Zeroizing<[u8; 32]>,
    wraps: Vec<Wrap>,
    pub(crate) version: u64,
}

/// One data key, for whoever looks after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its number.
    pub id: u32,
    /// From when on it seals.
    pub from: Timestamp,
    /// Records are sealed with it now.
    pub current: bool,
}

fn seal(key: &[u8; 32], plain: &[u8], place: &[u8]) -> Result<String, VaultError> {
    let mut out: Vec<u8> = system_entropy()?.into_iter().take(NONCE).collect();
    let nonce: [u8; NONCE] = out.as_slice().try_into().map_err(|_| VaultError::Sealed)?;
    let sealed = XChaCha20Poly1305::new(key.into()).encrypt(&nonce.into(), Payload { msg: plain, aad: place }).map_err(|_| VaultError::Sealed)?;
    out.extend(sealed);
    Ok(hex::encode(out))
}

fn open(key: &[u8; 32], sealed: &str, place: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let bytes = hex::decode(sealed).ok()?;
    let (nonce, body) = bytes.split_first_chunk::<NONCE>()?;
    let plain = XChaCha20Poly1305::new(key.into()).decrypt(&(*nonce).into(), Payload { msg: body, aad: place }).ok()?;
    Some(Zeroizing::new(plain))
}

impl Ring {
    /// The keyring of a record. The first start makes it; a record from before there were keyrings goes
    /// on with the keys that its master key was derived into, under number 0.
    pub(crate) async fn open(master: &Master, store: &Store, now: Timestamp) -> Result<Self, KeyringError> {
        Self::open_or(master, store, now, || {
            let derived = |purpose| Key(master.derive(purpose));
            let old = DataKey { key: derived("seal"), from: Timestamp(0) };
            let keys = BTreeMap::from([(0, old), (1, DataKey { key: Key::fresh()?, from: now })]);
            Ok(Secrets { index: derived("index"), pepper: derived("pepper"), keys })
        })
        .await
    }

    /// The keyring of a key store: nothing in it is derived from a master key, and it is no other's.
    pub(crate) async fn open_keys(master: &Master, keys: &Store, now: Timestamp) -> Result<Self, KeyringError> {
        Self::open_or(master, keys, now, || {
            let keys = BTreeMap::from([(1, DataKey { key: Key::fresh()?, from: now })]);
            Ok(Secrets { index: Key::fresh()?, pepper: Key::fresh()?, keys })
        })
        .await
    }

    async fn open_or(master: &Master, store: &Store, now: Timestamp, fresh: impl Fn() -> Result<Secrets, VaultError>) -> Result<Self, KeyringError> {
        for _ in 0..TRIES {
            if let Some(ring) = Self::read(master, store).await? {
                return Ok(ring);
            }
            let secrets = fresh()?;
            let root = Key::fresh()?.0;
            let ring = Self { wraps: vec![master.wrap(&root)?], secrets, root, version: 0 };
            // If another node was faster, its keyring counts.
            ring.write(store, now).await?;
        }
        Err(KeyringError::Write("others change it all the time".into()))
    }

    /// Whether the record has a keyring.
    pub(crate) async fn is_there(store: &Store) -> Result<bool, ReadError> { Ok(store.doc(KEYRING, ONE).await?.is_some()) }

    async fn read(master: &Master, store: &Store) -> Result<Option<Self>, KeyringError> {
        let Some(doc) = store.doc(KEYRING, ONE).await? else { return Ok(None) };
        let kept: Kept = serde_json::from_slice(&doc.body).map_err(|_| KeyringError::Damaged)?;
        let name = master.name();
        let Some(wrap) = kept.wraps.iter().find(|wrap| wrap.master == name) else {
            let known: Vec<&str> = kept.wraps.iter().map(|wrap| wrap.master.as_str()).collect();
            return Err(KeyringError::WrongKey(name, known.join(" or ")));
        };
        let mut plain = open(&master.derive("wrap"), &wrap.sealed, b"root").ok_or(KeyringError::Damaged)?;
        let root = Zeroizing::new(<[u8; 32]>::try_from(plain.as_slice()).map_err(|_| KeyringError::Damaged)?);
        plain.zeroize();
        Ok(Some(Self::with_root(kept, root, doc.version)?))
    }

    fn with_root(kept: Kept, root: Zeroizing<[u8; 32]>, version: u64) -> Result<Self, KeyringError> {
        let secrets = open(&root, &kept.secrets, b"secrets").ok_or(KeyringError::Damaged)?;
        let secrets = serde_json::from_slice(&secrets).map_err(|_| KeyringError::Damaged)?;
        Ok(Self { secrets, root, wraps: kept.wraps, version })
    }

    /// What it is now, if that is newer.
    pub(crate) async fn newer(&self, store: &Store) -> Result<Option<Self>, KeyringError> {
        let Some(doc) = store.doc(KEYRING, ONE).await? else { return Ok(None) };
        if doc.version == self.version {
            return Ok(None);
        }
        let kept = serde_json::from_slice(&doc.body).map_err(|_| KeyringError::Damaged)?;
        Ok(Some(Self::with_root(kept, self.root.clone(), doc.version)?))
    }

    /// False: somebody else was faster, and nothing was written.
    async fn write(&self, store: &Store, now: Timestamp) -> Result<bool, KeyringError> {
        let plain = Zeroizing::new(serde_json::to_vec(&self.secrets).map_err(VaultError::from)?);
        let kept = Kept { wraps: self.wraps.clone(), secrets: seal(&self.root, &plain, b"secrets")? };
        let expected = if self.version == 0 { Expect::New } else { Expect::Version(self.version) };
        let body = serde_json::to_vec(&kept).map_err(VaultError::from)?;
        let docs = vec![DocWrite::Put { kind: KEYRING, id: ONE.to_vec(), expected, body, due: None }];
        match store.commit(Commit { now: now.0, docs, ..Commit::default() }).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict) => Ok(false),
            Err(e) => Err(KeyringError::Write(e.to_string())),
        }
    }

    /// The number of the key that seals now.
    pub(crate) fn current(&self, now: Timestamp) -> u32 {
        let sealing = self.secrets.keys.iter().filter(|(_, key)| key.from <= now);
        sealing.map(|(id, _)| *id).next_back().unwrap_or(0)
    }

    pub(crate) fn ciphers(&self) -> BTreeMap<u32, XChaCha20Poly1305> {
        self.secrets.keys.iter().map(|(id, data)| (*id, XChaCha20Poly1305::new((&*data.key.0).into()))).collect()
    }

    fn info(&self, now: Timestamp) -> Vec<KeyInfo> {
        let current = self.current(now);
        self.secrets.keys.iter().map(|(id, data)| KeyInfo { id: *id, from: data.from, current: *id == current }).collect()
    }
}

/// Whether a store has a keyring.
pub async fn is_there(store: &Store) -> Result<bool, ReadError> { Ring::is_there(store).await }

/// Whether this master key opens a store's keyring.
pub async fn opens(master: &Master, store: &Store) -> Result<bool, KeyringError> {
    match Ring::read(master, store).await {
        Ok(ring) => Ok(ring.is_some()),
        Err(KeyringError::WrongKey(..)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// The data keys of a record, and the names of the master keys that open it.
pub async fn status(master: &Master, store: &Store, now: Timestamp) -> Result<(Vec<KeyInfo>, Vec<String>), KeyringError> {
    let ring = Ring::read(master, store).await?.ok_or_else(|| KeyringError::Refused("there is no keyring yet: start the server once".into()))?;
    Ok((ring.info(now), ring.wraps.iter().map(|wrap| wrap.master.clone()).collect()))
}

async fn change(master: &Master, store: &Store, now: Timestamp, change: impl Fn(&mut Ring) -> Result<(), KeyringError>) -> Result<(), KeyringError> {
    for _ in 0..TRIES {
        let mut ring = Ring::open(master, store, now).await?;
        change(&mut ring)?;
        if ring.write(store, now).await? {
            return Ok(());
        }
    }
    Err(KeyringError::Write("others change it all the time".into()))
}

/// Lets another master key open the record as well.
pub async fn add_master(old: &Master, new: &Master, store: &Store, now: Timestamp) -> Result<(), KeyringError> {
    change(old, store, now, |ring| {
        if ring.wraps.iter().any(|wrap| wrap.master == new.name()) {
            return Err(KeyringError::Refused("that key opens this record already".into()));
        }
        ring.wraps.push(new.wrap(&ring.root)?);
        Ok(())
    })
    .await
}

/// From now on only this master key opens the record. Returns how many others did.
pub async fn retire_masters(only: &Master, store: &Store, now: Timestamp) -> Result<usize, KeyringError> {
    let (_, before) = status(only, store, now).await?;
    change(only, store, now, |ring| {
        // A new root: whoever has kept the old one, sealed by a key that leaked, opens nothing new.
        ring.root = Key::fresh()?.0;
        ring.wraps = vec![only.wrap(&ring.root)?];
        Ok(())
    })
    .await?;
    Ok(before.len().saturating_sub(1))
}

/// A new data key, which seals from [`LEAD`] on. Returns its number.
pub async fn add_data_key(master: &Master, store: &Store, now: Timestamp) -> Result<u32, KeyringError> {
    let id = std::sync::atomic::AtomicU32::new(0);
    change(master, store, now, |ring| {
        let next = ring.secrets.keys.keys().next_back().map_or(1, |id| id.saturating_add(1));
        id.store(next, std::sync::atomic::Ordering::Relaxed);
        ring.secrets.keys.insert(next, DataKey { key: Key::fresh()?, from: now + LEAD });
        Ok(())
    })
    .await?;
    Ok(id.into_inner())
}

/// Destroys data keys that seal nothing any more: everything of before the current one.
pub async fn drop_old_keys(master: &Master, store: &Store, now: Timestamp) -> Result<usize, KeyringError> {
    let dropped = std::sync::atomic::AtomicUsize::new(0);
    change(master, store, now, |ring| {
        let (current, before) = (ring.current(now), ring.secrets.keys.len());
        ring.secrets.keys.retain(|id, _| *id >= current);
        dropped.store(before.saturating_sub(ring.secrets.keys.len()), std::sync::atomic::Ordering::Relaxed);
        Ok(())
    })
    .await?;
    Ok(dropped.into_inner())
}
