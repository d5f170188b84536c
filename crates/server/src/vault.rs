//! Keys, and everything that is sealed with them. One master key of 32 bytes lives in a file or in
//! the environment, never in the database; every use has its own key derived from it (HKDF,
//! RFC 5869).

use std::path::Path;

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use countersign_core::{
    claim::IndexKey,
    factor::Pepper,
    secret::{Blind, Secret},
};
use hkdf::Hkdf;
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// First byte of every sealed record: which key and cipher made it.
const SEAL_VERSION: u8 = 1;
const NONCE: usize = 24;

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
    /// The key has the wrong shape.
    #[error("the master key is not 64 hexadecimal digits (32 bytes): make one with `countersign key new FILE`")]
    Shape,
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness: {0}")]
    Random(String),
    /// A record does not open under this key.
    #[error("a stored record does not open: it was changed, or the key file is not the one it was written with")]
    Sealed,
    /// A record opened, but is not what it should be.
    #[error("a stored record has an unknown shape: {0}")]
    Json(#[from] serde_json::Error),
}

/// The keys in use.
pub struct Vault {
    cipher: XChaCha20Poly1305,
    /// For look-ups by personal values.
    pub index: IndexKey,
    /// For one-time codes and memorised secrets.
    pub pepper: Pepper,
    entropy: Box<dyn Fn() -> Result<[u8; 32], VaultError> + Send + Sync>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("Vault(…)") }
}

impl Vault {
    /// Derives all keys from a master key.
    pub fn new(master: &[u8; 32]) -> Self {
        let derive = |purpose: &str| -> [u8; 32] {
            let mut out = [0; 32];
            // 32 bytes are always a valid HKDF-SHA-256 output length.
            let _ = Hkdf::<Sha256>::new(Some(b"countersign/1"), master).expand(purpose.as_bytes(), &mut out);
            out
        };
        Self {
            cipher: XChaCha20Poly1305::new(&derive("seal").into()),
            index: IndexKey::new(derive("index")),
            pepper: Pepper::new(derive("pepper")),
            entropy: Box::new(system_entropy),
        }
    }

    /// The same, with randomness of the caller's choice: for tests that must repeat.
    pub fn with_entropy(master: &[u8; 32], entropy: impl Fn() -> [u8; 32] + Send + Sync + 'static) -> Self {
        Self { entropy: Box::new(move || Ok(entropy())), ..Self::new(master) }
    }

    /// Reads the master key from the environment's text or a file.
    pub fn open(file: Option<&Path>, text: Option<&str>) -> Result<Self, VaultError> {
        let text = match (text, file) {
            (Some(text), _) => Zeroizing::new(text.to_owned()),
            (None, Some(path)) => {
                let read = std::fs::read_to_string(path).map_err(|source| VaultError::File { path: path.display().to_string(), source })?;
                Zeroizing::new(read)
            }
            (None, None) => return Err(VaultError::Shape),
        };
        let mut master = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), master.as_mut()).map_err(|_| VaultError::Shape)?;
        Ok(Self::new(&master))
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
            .map_err(|source| VaultError::File { path: path.display().to_string(), source })
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
        let plain = Zeroizing::new(serde_json::to_vec(value)?);
        let mut out = vec![SEAL_VERSION];
        out.extend(self.seed()?.iter().take(NONCE));
        let nonce: [u8; NONCE] = out.get(1..).and_then(|n| n.try_into().ok()).ok_or(VaultError::Sealed)?;
        let sealed = self.cipher.encrypt(&nonce.into(), Payload { msg: &plain, aad: &place(kind, id) }).map_err(|_| VaultError::Sealed)?;
        out.extend(sealed);
        Ok(out)
    }

    /// Opens what [`Vault::seal`] made for this place.
    pub fn unseal<T: DeserializeOwned>(&self, kind: &str, id: &[u8], sealed: &[u8]) -> Result<T, VaultError> {
        let (head, body) = sealed.split_at_checked(1 + NONCE).ok_or(VaultError::Sealed)?;
        let (&[SEAL_VERSION], nonce) = head.split_at_checked(1).and_then(|(v, n)| Some((<&[u8; 1]>::try_from(v).ok()?, n))).ok_or(VaultError::Sealed)? else {
            return Err(VaultError::Sealed);
        };
        let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| VaultError::Sealed)?;
        let plain = self.cipher.decrypt(&nonce.into(), Payload { msg: body, aad: &place(kind, id) }).map_err(|_| VaultError::Sealed)?;
        Ok(serde_json::from_slice(&Zeroizing::new(plain))?)
    }
}

fn place(kind: &str, id: &[u8]) -> Vec<u8> { [kind.as_bytes(), b"\0", id].concat() }

fn system_entropy() -> Result<[u8; 32], VaultError> {
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
        assert!(Vault::open(Some(&path), None).is_ok());
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions()) & 0o777, 0o600);
        assert!(matches!(Vault::open(None, Some("abc")), Err(VaultError::Shape)));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
