//! A master key that never leaves a PKCS#11 token: an HSM, a TPM behind a PKCS#11 module, a smart card.
//!
//! The token holds a generic secret that may compute HMAC-SHA-256 and may not be read (PKCS #11 v2.40
//! §2.14, `CKM_SHA256_HMAC`). The master key of the record is the token's HMAC over a constant text: 32
//! bytes that whoever has the disk, the configuration and the backups cannot compute. It is asked for
//! once, at start, and is in the memory of the process from then on, as a key from a file is.

use std::path::PathBuf;

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism::Mechanism,
    object::{Attribute, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    types::AuthPin,
};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{
    config::{ConfigError, read_secret},
    keyring::Master,
};

/// What the token signs. Another text would be another key.
const PURPOSE: &[u8] = b"countersign master key 1";
/// The variable that holds the user's PIN.
pub const PIN: &str = "COUNTERSIGN_TOKEN_PIN";

/// `[keys.pkcs11]`: where the key is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenKey {
    /// The module of the token's maker, such as `/usr/lib/softhsm/libsofthsm2.so`.
    pub module: PathBuf,
    /// The label of the token.
    pub token: String,
    /// The label of the key on it.
    #[serde(default = "label")]
    pub key: String,
    /// A file with the user's PIN. `COUNTERSIGN_TOKEN_PIN` in the environment comes first.
    pub pin_file: Option<PathBuf>,
}

fn label() -> String { "countersign-master".into() }

/// Why a token gives no key.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The module cannot be used.
    #[error("keys.pkcs11.module {0}: {1}. Is it the PKCS#11 library of the token's maker?")]
    Module(String, String),
    /// The PIN cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no PIN.
    #[error("no PIN for the token: name keys.pkcs11.pin_file, or set {PIN}")]
    NoPin,
    /// The PIN is wrong; another wrong one may lock the token.
    #[error("the token {0} does not take this PIN; look before you try again, it locks after some wrong ones")]
    Pin(String),
    /// The token is locked.
    #[error("the token {0} has locked its PIN after wrong ones: its security officer sets a new one")]
    Locked(String),
    /// No token has this label.
    #[error("no token is called {0}; there are: {1}")]
    NoToken(String, String),
    /// Two tokens, or two keys, have this label.
    #[error("there are {0} of the name {1}: rename one, so that it is certain which is meant")]
    Twice(usize, String),
    /// The token has no such key.
    #[error("the token {0} has no key called {1}: `countersign key new-on-token` makes one")]
    NoKey(String, String),
    /// The token has such a key already.
    #[error("the token {0} has a key called {1} already, and it is not made anew: whatever it sealed would be lost")]
    Exists(String, String),
    /// Somebody may read the key.
    #[error("the key {0} can be read out of the token (CKA_EXTRACTABLE, or not CKA_SENSITIVE): make one that cannot with `countersign key new-on-token`")]
    Open(String),
    /// Something else.
    #[error("the token says: {0}")]
    Token(Error),
}

impl TokenKey {
    /// The master key, from the token.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn master(&self) -> Result<Master, TokenError> {
        self.with_session(false, |session| {
            let key = self.find(session)?.ok_or_else(|| TokenError::NoKey(self.token.clone(), self.key.clone()))?;
            let wanted = [cryptoki::object::AttributeType::Sensitive, cryptoki::object::AttributeType::Extractable];
            let attributes = session.get_attributes(key, &wanted).map_err(TokenError::Token)?;
            if !attributes.contains(&Attribute::Sensitive(true)) || !attributes.contains(&Attribute::Extractable(false)) {
                return Err(TokenError::Open(self.key.clone()));
            }
            let signed = Zeroizing::new(session.sign(&Mechanism::Sha256Hmac, key, PURPOSE).map_err(TokenError::Token)?);
            let bytes = <[u8; 32]>::try_from(signed.as_slice()).map_err(|_| TokenError::Token(Error::InvalidValue))?;
            Ok(Master::new(bytes))
        })
    }

    /// Makes a key on the token that signs and cannot be read.
    ///
    /// # Errors
    /// See [`TokenError`]; one that exists is never replaced.
    pub fn create(&self) -> Result<(), TokenError> {
        self.with_session(true, |session| {
            if self.find(session)?.is_some() {
                return Err(TokenError::Exists(self.token.clone(), self.key.clone()));
            }
            let template = [
                Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(KeyType::GENERIC_SECRET), Attribute::ValueLen(32.into()),
                Attribute::Label(self.key.clone().into_bytes()), Attribute::Token(true), Attribute::Private(true), Attribute::Sign(true),
                Attribute::Sensitive(true), Attribute::Extractable(false), Attribute::Modifiable(false),
            ];
            session.generate_key(&Mechanism::GenericSecretKeyGen, &template).map_err(TokenError::Token)?;
            Ok(())
        })
    }

    fn find(&self, session: &Session) -> Result<Option<ObjectHandle>, TokenError> {
        let wanted = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Label(self.key.clone().into_bytes())];
        let found = session.find_objects(&wanted).map_err(TokenError::Token)?;
        match found.as_slice() {
            [] => Ok(None),
            [key] => Ok(Some(*key)),
            several => Err(TokenError::Twice(several.len(), self.key.clone())),
        }
    }

    fn with_session<T>(&self, write: bool, work: impl FnOnce(&Session) -> Result<T, TokenError>) -> Result<T, TokenError> {
        let pin = read_secret(PIN, self.pin_file.as_deref())?.ok_or(TokenError::NoPin)?;
        let broken = |e: Error| TokenError::Module(self.module.display().to_string(), e.to_string());
        let module = Pkcs11::new(&self.module).map_err(broken)?;
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            // Another company's key in this process is on a token of the same maker.
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(e) => return Err(broken(e)),
        }
        let mut labels = Vec::new();
        for slot in module.get_slots_with_initialized_token().map_err(broken)? {
            labels.push((module.get_token_info(slot).map_err(TokenError::Token)?.label().trim_end().to_owned(), slot));
        }
        let found: Vec<_> = labels.iter().filter(|(label, _)| *label == self.token).map(|(_, slot)| *slot).collect();
        let slot = match found.as_slice() {
            [slot] => *slot,
            [] => {
                let known: Vec<&str> = labels.iter().map(|(label, _)| label.as_str()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(TokenError::NoToken(self.token.clone(), known));
            }
            several => return Err(TokenError::Twice(several.len(), self.token.clone())),
        };
        let session = if write { module.open_rw_session(slot) } else { module.open_ro_session(slot) }.map_err(TokenError::Token)?;
        session.login(UserType::User, Some(&AuthPin::new(pin.expose().into()))).map_err(|e| match e {
            Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => TokenError::Pin(self.token.clone()),
            Error::Pkcs11(RvError::PinLocked, _) => TokenError::Locked(self.token.clone()),
            other => TokenError::Token(other),
        })?;
        let done = work(&session);
        // What was signed in stays so for the whole process otherwise.
        if let Err(e) = session.logout() {
            tracing::warn!(error = %e, "the token did not take the log-out");
        }
        done
    }
}
