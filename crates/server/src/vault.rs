//! Everything that is sealed. One master key of 32 bytes lives in a file or in the environment, never
//! in the database; it opens the keyring of the record ([`crate::keyring`]), whose keys seal.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use countersign_core::{
    claim::IndexKey,
    factor::Pepper,
    id::AccountId,
    secret::{Blind, Secret},
    time::Timestamp,
};
use countersign_store::Store;
use hkdf::Hkdf;
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{
    customers::CustomerKey,
    keyring::{KeyringError, Master, Ring},
};

/// First byte of a sealed record: this cipher, by key number 0.
const SEAL_FIRST: u8 = 1;
/// First byte of a sealed record: this cipher, by the key whose number follows in four bytes.
const SEAL_NUMBERED: u8 = 2;
/// First byte of a sealed record: this cipher, by the key of the customer whose account follows.
const SEAL_CUSTOMER: u8 = 3;
pub(crate) const NONCE: usize = 24;

/// What can go wrong with keys and sealed records.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The key file cannot be read or written.
    #[error("key file {path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A new key would take the place of another file.
    #[error("{0} is there already, and a key is never written over another file: name a new one")]
    Taken(String),
    /// The folder for a new key is not there.
    #[error("there is no folder for {0}: make it first")]
    NoFolder(String),
    /// The key has the wrong shape.
    #[error("the master key is not 64 hexadecimal digits (32 bytes): make one with `countersign key new FILE`")]
    Shape,
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness: {0}")]
    Random(String),
    /// A record does not open under this key.
    #[error("a stored record does not open: it was changed, or the key file is not the one it was written with")]
    Sealed,
    /// A record was sealed with a key that is not in the keyring, or not yet.
    #[error("a stored record is sealed with data key {0}, which this node does not have: if it was just made, ask again in a second")]
    NoKey(u32),
    /// A record is sealed with the key of a customer who has none any more.
    #[error("a stored record is sealed with the key of a customer who was erased, or whose key is not in this key store: see docs/operations.md, Backup and restore")]
    NoCustomerKey,
    /// A record opened, but is not what it should be.
    #[error("a stored record has an unknown shape: {0}")]
    Json(#[from] serde_json::Error),
}

/// The keys in use.
pub struct Vault {
    seals: RwLock<Arc<Seals>>,
    /// What they are from; none: derived from a master key, for tests.
    ring: RwLock<Option<Arc<Ring>>>,
    /// For look-ups by personal values.
    pub index: IndexKey,
    /// For one-time codes and memorised secrets.
    pub pepper: Pepper,
    entropy: Box<dyn Fn() -> Result<[u8; 32], VaultError> + Send + Sync>,
}

struct Seals {
    ciphers: BTreeMap<u32, XChaCha20Poly1305>,
    current: u32,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("Vault(…)") }
}

impl Vault {
    /// Derives all keys from a master key, without a keyring: for tests, the demo and drills.
    pub fn new(master: &[u8; 32]) -> Self {
        let derive = |purpose: &str| -> [u8; 32] {
            let mut out = [0; 32];
            // 32 bytes are always a valid HKDF-SHA-256 output length.
            let _ = Hkdf::<Sha256>::new(Some(b"countersign/1"), master).expand(purpose.as_bytes(), &mut out);
            out
        };
        let ciphers = BTreeMap::from([(0, XChaCha20Poly1305::new(&derive("seal").into()))]);
        Self {
            seals: RwLock::new(Arc::new(Seals { ciphers, current: 0 })),
            ring: RwLock::default(),
            index: IndexKey::new(derive("index")),
            pepper: Pepper::new(derive("pepper")),
            entropy: Box::new(system_entropy),
        }
    }

    /// The keys of a record, by its keyring.
    ///
    /// # Errors
    /// Another master key is wanted, or the keyring is damaged.
    pub async fn of(master: &Master, store: &Store, now: Timestamp) -> Result<Self, KeyringError> {
        let vault = Self::new(master.bytes());
        if !Ring::is_there(store).await? {
            // A record from before there were keyrings must not be given one by another key than its own.
            for kind in ["agent", "account"] {
                if let Some((id, doc)) = store.docs(kind, None, 1).await?.pop().filter(|(_, doc)| Self::owner_of(&doc.body).is_none()) {
                    let opened = vault.unseal::<serde_json::Value>(kind, &id, &doc.body);
                    opened.map_err(|_| KeyringError::WrongKey(master.name(), "the key that it was written with".into()))?;
                }
            }
        }
        Ok(Self::over(vault, Ring::open(master, store, now).await?, now))
    }

    /// The keys that seal customers' keys: the keyring of the key store itself, so that it opens whatever
    /// copy of the record stands beside it.
    pub(crate) async fn of_keys(master: &Master, keys: &Store, now: Timestamp) -> Result<Self, KeyringError> {
        Ok(Self::over(Self::new(master.bytes()), Ring::open_keys(master, keys, now).await?, now))
    }

    fn over(vault: Self, ring: Ring, now: Timestamp) -> Self {
        let (index, pepper) = (*ring.secrets.index.0, *ring.secrets.pepper.0);
        let vault = Self { index: IndexKey::new(index), pepper: Pepper::new(pepper), ..vault };
        vault.take(ring, now);
        vault
    }

    fn take(&self, ring: Ring, now: Timestamp) {
        let seals = Seals { ciphers: ring.ciphers(), current: ring.current(now) };
        *self.seals.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(seals);
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(ring));
    }

    /// Looks at the keyring again: keys may have come, and the time of one may have come.
    pub async fn refresh(&self, store: &Store, now: Timestamp) -> Result<(), KeyringError> {
        let Some(ring) = self.ring.read().unwrap_or_else(PoisonError::into_inner).clone() else { return Ok(()) };
        if let Some(newer) = ring.newer(store).await? {
            self.take(newer, now);
            return Ok(());
        }
        let (is, was) = (ring.current(now), self.seals().current);
        if is != was {
            let seals = Seals { ciphers: ring.ciphers(), current: is };
            *self.seals.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(seals);
        }
        Ok(())
    }

    fn seals(&self) -> Arc<Seals> { self.seals.read().unwrap_or_else(PoisonError::into_inner).clone() }

    /// The number of the data key that seals now.
    pub fn current_key(&self) -> u32 { self.seals().current }

    /// The same, with randomness of the caller's choice: for tests that must repeat.
    pub fn with_entropy(master: &[u8; 32], entropy: impl Fn() -> [u8; 32] + Send + Sync + 'static) -> Self {
        Self { entropy: Box::new(move || Ok(entropy())), ..Self::new(master) }
    }

    /// Reads the master key from the environment's text or a file.
    pub fn master(file: Option<&Path>, text: Option<&str>) -> Result<Master, VaultError> {
        let text = match (text, file) {
            (Some(text), _) => Zeroizing::new(text.to_owned()),
            (None, Some(path)) => {
                let read = std::fs::read_to_string(path).map_err(|source| VaultError::File { path: path.display().to_string(), source })?;
                Zeroizing::new(read)
            }
            (None, None) => return Err(VaultError::Shape),
        };
        Master::parse(&text)
    }

    /// Writes a fresh master key to a file that only its owner may read; never over another.
    pub fn create_key(path: &Path) -> Result<(), VaultError> {
        use std::io::Write as _;
        let key = Zeroizing::new(hex::encode(system_entropy()?));
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options
            .open(path)
            .and_then(|mut file| file.write_all(key.as_bytes()))
            .map_err(|source| {
                let path = path.display().to_string();
                match source.kind() {
                    std::io::ErrorKind::AlreadyExists => VaultError::Taken(path),
                    std::io::ErrorKind::NotFound => VaultError::NoFolder(path),
                    _ => VaultError::File { path, source },
                }
            })
    }

    /// 32 fresh bytes.
    pub fn seed(&self) -> Result<[u8; 32], VaultError> { (self.entropy)() }

    /// A fresh token for a link or a session: 256 bits in hexadecimal.
    pub fn token(&self) -> Result<Secret, VaultError> { Ok(Secret::new(hex::encode(self.seed()?))) }

    /// A fresh identifier.
    pub fn id(&self) -> Result<[u8; 16], VaultError> {
        let mut id = [0; 16];
        id.iter_mut().zip(self.seed()?).for_each(|(to, from)| *to = from);
        Ok(id)
    }

    /// Under which name a token is kept: whoever reads the database cannot use it.
    pub fn token_id(token: &Secret) -> Vec<u8> { Sha256::digest(token.expose().as_bytes()).to_vec() }

    /// The keyed hash under which a service code is kept.
    pub fn service_slot(&self, code: &Secret) -> Blind { self.index.blind("service_code", code.expose()) }

    /// The keyed hash under which a code that was given out on a call is kept.
    pub fn link_slot(&self, code: &Secret) -> Vec<u8> { self.index.blind("link_code", code.expose()).0.to_vec() }

    /// Seals a value for one place: it does not open anywhere else.
    pub fn seal<T: Serialize>(&self, kind: &str, id: &[u8], value: &T) -> Result<Vec<u8>, VaultError> {
        self.seal_bytes(kind, id, &Zeroizing::new(serde_json::to_vec(value)?))
    }

    /// Seals a value for one place with the key of the customer whom it is about: once that key is
    /// destroyed, no copy of what this returns opens anywhere.
    pub fn seal_for<T: Serialize>(&self, key: &CustomerKey, kind: &str, id: &[u8], value: &T) -> Result<Vec<u8>, VaultError> {
        self.seal_bytes_for(key, kind, id, &Zeroizing::new(serde_json::to_vec(value)?))
    }

    fn seal_bytes_for(&self, key: &CustomerKey, kind: &str, id: &[u8], plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let account = key.account().0;
        let mut out = [&[SEAL_CUSTOMER], account.as_slice()].concat();
        let head = out.len();
        out.extend(self.seed()?.iter().take(NONCE));
        let nonce: [u8; NONCE] = out.get(head..).and_then(|n| n.try_into().ok()).ok_or(VaultError::Sealed)?;
        let aad = [account.as_slice(), &place(kind, id)].concat();
        out.extend(key.cipher(kind).encrypt(&nonce.into(), Payload { msg: plain, aad: &aad }).map_err(|_| VaultError::Sealed)?);
        Ok(out)
    }

    /// Whose key has sealed a record. `None`: no customer's.
    pub fn owner_of(sealed: &[u8]) -> Option<AccountId> {
        match sealed.split_first()? {
            (&SEAL_CUSTOMER, rest) => Some(AccountId(*rest.first_chunk()?)),
            _ => None,
        }
    }

    /// Opens what [`Vault::seal_for`] made for this place.
    pub fn unseal_for<T: DeserializeOwned>(&self, key: &CustomerKey, kind: &str, id: &[u8], sealed: &[u8]) -> Result<T, VaultError> {
        let account = Self::owner_of(sealed).filter(|owner| *owner == key.account()).ok_or(VaultError::Sealed)?;
        let (nonce, body) = sealed.get(1 + account.0.len()..).and_then(|rest| rest.split_first_chunk::<NONCE>()).ok_or(VaultError::Sealed)?;
        let aad = [account.0.as_slice(), &place(kind, id)].concat();
        let plain = key.cipher(kind).decrypt(&(*nonce).into(), Payload { msg: body, aad: &aad }).map_err(|_| VaultError::Sealed)?;
        Ok(serde_json::from_slice(&Zeroizing::new(plain))?)
    }

    /// The same record, sealed by a customer's key instead of the installation's. `None`: it is already.
    pub fn reseal_for(&self, key: &CustomerKey, kind: &str, id: &[u8], sealed: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        if Self::owner_of(sealed).is_some() {
            return Ok(None);
        }
        Ok(Some(self.seal_bytes_for(key, kind, id, &self.unseal_bytes(kind, id, sealed)?)?))
    }

    fn seal_bytes(&self, kind: &str, id: &[u8], plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let seals = self.seals();
        let number = seals.current;
        let mut out = if number == 0 { vec![SEAL_FIRST] } else { [&[SEAL_NUMBERED], number.to_be_bytes().as_slice()].concat() };
        let head = out.len();
        out.extend(self.seed()?.iter().take(NONCE));
        let nonce: [u8; NONCE] = out.get(head..).and_then(|n| n.try_into().ok()).ok_or(VaultError::Sealed)?;
        let cipher = seals.ciphers.get(&number).ok_or(VaultError::NoKey(number))?;
        out.extend(cipher.encrypt(&nonce.into(), Payload { msg: plain, aad: &place(kind, id) }).map_err(|_| VaultError::Sealed)?);
        Ok(out)
    }

    /// Which data key has sealed a record. `None`: it is none.
    pub fn key_of(sealed: &[u8]) -> Option<u32> {
        match sealed.split_first()? {
            (&SEAL_FIRST, _) => Some(0),
            (&SEAL_NUMBERED, rest) => Some(u32::from_be_bytes(*rest.first_chunk()?)),
            _ => None,
        }
    }

    /// Opens what [`Vault::seal`] made for this place.
    pub fn unseal<T: DeserializeOwned>(&self, kind: &str, id: &[u8], sealed: &[u8]) -> Result<T, VaultError> {
        Ok(serde_json::from_slice(&self.unseal_bytes(kind, id, sealed)?)?)
    }

    fn unseal_bytes(&self, kind: &str, id: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let number = Self::key_of(sealed).ok_or(VaultError::Sealed)?;
        let head = if number == 0 && sealed.first() == Some(&SEAL_FIRST) { 1 } else { 5 };
        let (nonce, body) = sealed.get(head..).and_then(|rest| rest.split_first_chunk::<NONCE>()).ok_or(VaultError::Sealed)?;
        let seals = self.seals();
        let cipher = seals.ciphers.get(&number).ok_or(VaultError::NoKey(number))?;
        let plain = cipher.decrypt(&(*nonce).into(), Payload { msg: body, aad: &place(kind, id) }).map_err(|_| VaultError::Sealed)?;
        Ok(Zeroizing::new(plain))
    }

    /// The same record, sealed by the current key. `None`: it is already, or by a customer's.
    pub fn reseal(&self, kind: &str, id: &[u8], sealed: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        if Self::owner_of(sealed).is_some() || Self::key_of(sealed) == Some(self.current_key()) {
            return Ok(None);
        }
        Ok(Some(self.seal_bytes(kind, id, &self.unseal_bytes(kind, id, sealed)?)?))
    }
}

fn place(kind: &str, id: &[u8]) -> Vec<u8> { [kind.as_bytes(), b"\0", id].concat() }

pub(crate) fn system_entropy() -> Result<[u8; 32], VaultError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| VaultError::Random(e.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_opens_only_in_its_place_and_whole() {
        let vault = Vault::new(&[7; 32]);
        let sealed = vault.seal("account", b"1", &"Ana Torres").unwrap();
        assert!(!sealed.windows(3).any(|w| w == b"Ana"));
        assert_eq!(vault.unseal::<String>("account", b"1", &sealed).unwrap(), "Ana Torres");
        assert!(vault.unseal::<String>("account", b"2", &sealed).is_err());
        assert!(vault.unseal::<String>("note", b"1", &sealed).is_err());
        assert!(Vault::new(&[8; 32]).unseal::<String>("account", b"1", &sealed).is_err());
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert!(vault.unseal::<String>("account", b"1", &changed).is_err(), "byte {i}");
            assert!(vault.unseal::<String>("account", b"1", &sealed[..i]).is_err(), "cut at {i}");
        }
    }

    #[test]
    fn a_key_file_is_private_and_never_overwritten() {
        let dir = std::env::temp_dir().join(format!("countersign-key-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("k");
        let _ = std::fs::remove_file(&path);
        Vault::create_key(&path).unwrap();
        assert!(Vault::create_key(&path).is_err());
        assert!(Vault::master(Some(&path), None).is_ok());
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions()) & 0o777, 0o600);
        assert!(matches!(Vault::master(None, Some("abc")), Err(VaultError::Shape)));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
