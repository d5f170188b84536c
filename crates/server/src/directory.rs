//! The customer directory: sealed profiles, found by keyed hashes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use countersign_core::{
    account::{Authenticator, Brief, Contact, ContactKind, Material, Profile},
    action::Field,
    claim::{ClaimKind, normalise},
    factor::{FactorKind, WordHash, WordRule},
    id::{AccountId, AuthenticatorId, ContactId},
    identify::MAX_MATCHES,
    message::Change,
    secret::{Blind, E164, Secret},
    time::{Span, Timestamp},
};
use countersign_store::{DocWrite, Expect, IndexWrite, ReadError, Store, Stream};
use serde::{Deserialize, Serialize};

use crate::{
    customers::{CustomerKey, Customers, FRESH, KeyError, Standing},
    passkeys,
    record::{self, AccountEvent},
    vault::{Vault, VaultError},
    voice,
};

const KIND: &str = "account";
/// Profiles kept in clear in memory, at most.
const CACHED: usize = 4096;

/// Why the directory cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The store does not answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record does not open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The key store does not answer.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// A profile with the version of its record.
#[derive(Debug)]
pub struct Loaded {
    /// Version for the next write.
    pub version: u64,
    /// The profile.
    pub profile: Profile,
    /// The customer's key. None: the profile is from before customers had keys.
    pub key: Option<Arc<CustomerKey>>,
}

/// What time it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The directory.
pub struct Directory {
    store: Store,
    vault: Arc<Vault>,
    customers: Arc<Customers>,
    clock: Clock,
    cache: Mutex<Cache>,
}

/// Clear copies with the time at which they were read, and how often one was forgotten: what was read
/// before that is not kept.
#[derive(Default)]
struct Cache {
    known: HashMap<AccountId, (Arc<Loaded>, Timestamp)>,
    forgotten: u64,
}

/// The writes that bring a profile into the store.
#[derive(Debug, Default)]
pub struct Writes {
    /// The record.
    pub docs: Vec<DocWrite>,
    /// Its hashes.
    pub index: Vec<IndexWrite>,
}

impl Loaded {
    /// For a commit that rests on this profile: that it is still the same.
    pub fn still(&self) -> DocWrite { DocWrite::Still { kind: KIND, id: self.profile.id.0.to_vec(), version: self.version } }
}

impl Directory {
    /// A directory over a store.
    pub fn new(store: Store, vault: Arc<Vault>, customers: Arc<Customers>, clock: Clock) -> Self {
        Self { store, vault, customers, clock, cache: Mutex::default() }
    }

    /// The profile of an account. Nobody who was erased is found, whatever the record still holds.
    pub async fn load(&self, id: AccountId) -> Result<Option<Arc<Loaded>>, DirectoryError> {
        let now = (self.clock)();
        let forgotten = {
            let cache = self.cached();
            if let Some((found, read)) = cache.known.get(&id)
                && now < *read + FRESH
            {
                return Ok(Some(found.clone()));
            }
            cache.forgotten
        };
        // In a box: every step of a call asks here, and few of them have to read.
        Box::pin(self.read(id, now, forgotten)).await
    }

    async fn read(&self, id: AccountId, now: Timestamp, forgotten: u64) -> Result<Option<Arc<Loaded>>, DirectoryError> {
        let stream = Stream { kind: record::ACCOUNT, id: id.0 };
        // At once: a profile costs the time of one read.
        let (doc, standing, events) = tokio::join!(self.store.doc(KIND, &id.0), self.customers.standing(id, now), self.store.count(stream));
        let Some(doc) = doc? else { return Ok(None) };
        let key = match standing? {
            Standing::Erased => {
                tracing::warn!(account = %id, "the record holds a customer who was erased: it is an older copy");
                return Ok(None);
            }
            standing => standing.key(),
        };
        let profile: Profile = match (Vault::owner_of(&doc.body), &key) {
            (None, _) => self.vault.unseal(KIND, &id.0, &doc.body)?,
            (Some(_), Some(key)) => self.vault.unseal_for(key, KIND, &id.0, &doc.body)?,
            (Some(_), None) => return Err(VaultError::NoCustomerKey.into()),
        };
        if events? > profile.events && self.was_erased(stream, profile.events).await? {
            tracing::error!(account = %id, "the record holds a customer who was erased, with a key that was destroyed: somebody has put both back");
            return Ok(None);
        }
        // What is not sealed with it yet is not: see `reseal`.
        let key = key.filter(|_| Vault::owner_of(&doc.body).is_some());
        let loaded = Arc::new(Loaded { version: doc.version, profile, key });
        let mut cache = self.cached();
        if cache.known.len() >= CACHED {
            cache.known.clear();
        }
        // A write may have come in between: this copy would be its elder for ever.
        if cache.forgotten == forgotten {
            cache.known.insert(id, (loaded.clone(), now));
        }
        Ok(Some(loaded))
    }

    /// Whether the account's own record says so: it goes on where the profile ends.
    async fn was_erased(&self, stream: Stream, after: u64) -> Result<bool, DirectoryError> {
        let later = self.store.events_after(stream, after).await?;
        let erased = |body: &str| serde_json::from_str::<AccountEvent>(body).is_ok_and(|event| event == AccountEvent::Erased);
        Ok(later.iter().any(|event| erased(&event.body)))
    }

    /// What the machine may know of an account.
    pub async fn brief(&self, id: Option<AccountId>, now: Timestamp) -> Result<Option<Brief>, DirectoryError> {
        match id {
            Some(id) => Ok(self.load(id).await?.map(|l| l.profile.brief(now))),
            None => Ok(None),
        }
    }

    /// Forgets the clear copy after a write, or when a write did not fit.
    pub fn forget(&self, id: AccountId) {
        let mut cache = self.cached();
        cache.known.remove(&id);
        cache.forgotten += 1;
    }

    fn cached(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all clear copies: nobody knows what other nodes have written.
    pub fn forget_all(&self) {
        let mut cache = self.cached();
        cache.known.clear();
        cache.forgotten += 1;
    }

    /// The accounts that a claim fits, and whether it is one slip away from somebody else's.
    pub async fn find(&self, kind: ClaimKind, value: &str, now: Timestamp) -> Result<(Vec<Brief>, bool), DirectoryError> {
        let (found, look_alike) = self.find_loaded(kind, value).await?;
        Ok((found.into_iter().map(|l| l.profile.brief(now)).collect(), look_alike))
    }

    /// The same, with the versions of their records.
    pub async fn find_loaded(&self, kind: ClaimKind, value: &str) -> Result<(Vec<Arc<Loaded>>, bool), DirectoryError> {
        let Some(key) = self.vault.index.exact(kind, value) else { return Ok((Vec::new(), false)) };
        let ids = self.store.find(kind.name(), key.0, MAX_MATCHES + 1).await?;
        let near: Vec<[u8; 16]> = self.vault.index.near(kind, value).into_iter().map(|b| b.0).collect();
        let near = if near.is_empty() { Vec::new() } else { self.store.find_any("near", &near, MAX_MATCHES * 4).await? };
        let look_alike = near.iter().any(|id| !ids.contains(id));
        let mut found = Vec::new();
        for id in ids {
            found.extend(self.load(AccountId(id)).await?);
        }
        Ok((found, look_alike))
    }

    /// Whether what was said equals a field, by the spelling rules of its kind.
    pub fn equals(profile: &Profile, field: Field, said: &str) -> bool {
        let kind = match field {
            Field::Name => ClaimKind::Name,
            Field::Email => ClaimKind::Email,
            Field::Phone => ClaimKind::Number,
            Field::PostalCode => ClaimKind::PostalCode,
            Field::DateOfBirth => ClaimKind::DateOfBirth,
            Field::AccountNumber => ClaimKind::AccountNumber,
            Field::Orders | Field::Upcoming => ClaimKind::OrderNumber,
            // An address is compared word by word, as names are: order and commas do not count.
            Field::Address => ClaimKind::Name,
        };
        let said = normalise(kind, said).map(Secret::new);
        profile.field(field).into_iter().any(|value| match (&said, normalise(kind, value)) {
            (Some(said), Some(value)) => said.ct_eq(&Secret::new(value)),
            _ => false,
        })
    }

    /// The writes for a new account. Its key is made first: one that seals nothing does no harm.
    pub async fn insert(&self, profile: &Profile) -> Result<Writes, DirectoryError> { self.insert_all(std::slice::from_ref(profile)).await }

    /// The writes for new accounts.
    pub async fn insert_all(&self, profiles: &[Profile]) -> Result<Writes, DirectoryError> {
        let now = (self.clock)();
        let keys = match self.customers.in_force(now) {
            true => self.customers.keep(&profiles.iter().map(|profile| profile.id).collect::<Vec<_>>(), now).await?,
            false => HashMap::new(),
        };
        let mut writes = Writes::default();
        for profile in profiles {
            writes.index.extend(self.hashes(profile).into_iter().map(|(space, key)| IndexWrite::Add { space, key: key.0, id: profile.id.0 }));
            writes.docs.push(self.put(profile, keys.get(&profile.id).map(|key| &**key), Expect::New)?);
        }
        Ok(writes)
    }

    /// The writes for a changed account: only the hashes that differ.
    pub fn update(&self, before: &Loaded, after: &Profile) -> Result<Writes, VaultError> {
        let (old, new) = (self.hashes(&before.profile), self.hashes(after));
        let id = after.id.0;
        let gone = old.iter().filter(|e| !new.contains(e)).map(|(space, key)| IndexWrite::Remove { space, key: key.0, id });
        let came = new.iter().filter(|e| !old.contains(e)).map(|(space, key)| IndexWrite::Add { space, key: key.0, id });
        let mut docs = vec![self.put(after, before.key.as_deref(), Expect::Version(before.version))?];
        // Whoever takes a voice off the file, and why: the template goes with it.
        if before.profile.voice.is_some() && after.voice.is_none() {
            docs.push(voice::forget(after.id));
        }
        Ok(Writes { docs, index: gone.chain(came).collect() })
    }

    /// The writes that take an account away.
    pub fn remove(&self, loaded: &Loaded) -> Writes {
        let id = loaded.profile.id.0;
        let index = self.hashes(&loaded.profile).into_iter().map(|(space, key)| IndexWrite::Remove { space, key: key.0, id }).collect();
        Writes { docs: vec![DocWrite::Delete { kind: KIND, id: id.to_vec() }, voice::forget(loaded.profile.id)], index }
    }

    /// By what is claimed, and by the passkeys that sign in without a name.
    fn hashes(&self, profile: &Profile) -> Vec<(&'static str, Blind)> {
        let mut hashes = profile.index(&self.vault.index);
        hashes.extend(passkeys::index(&profile.authenticators, &self.vault));
        hashes
    }

    fn put(&self, profile: &Profile, key: Option<&CustomerKey>, expected: Expect) -> Result<DocWrite, VaultError> {
        let body = match key {
            Some(key) => self.vault.seal_for(key, KIND, &profile.id.0, profile)?,
            None => self.vault.seal(KIND, &profile.id.0, profile)?,
        };
        Ok(DocWrite::Put { kind: KIND, id: profile.id.0.to_vec(), expected, body, due: None })
    }
}

/// What an undo puts back.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "undo")]
pub enum Undo {
    /// The old contact point comes back, the new one goes.
    Contact {
        /// The one that was replaced, if there was one.
        old: Option<ContactId>,
        /// The one that came.
        new: ContactId,
    },
    /// The old address.
    Address {
        /// Street and town.
        address: Secret,
        /// Postal code.
        postal_code: Secret,
    },
    /// The old authenticators.
    Factors {
        /// All of them.
        authenticators: Vec<Authenticator>,
    },
    /// No voice.
    Voice,
    /// Nothing was changed here.
    Nothing,
}

/// Why a value cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    /// Not a telephone number.
    #[error("{0}")]
    Number(#[from] countersign_core::secret::BadNumber),
    /// Not an e-mail address.
    #[error("this is not an e-mail address: it needs a name, an @ and a domain with a dot")]
    Email,
    /// Nothing was written.
    #[error("write the new address, with the postal code in its own field")]
    Address,
    /// A word or PIN that is too weak.
    #[error(transparent)]
    Word(#[from] countersign_core::factor::WordTooWeak),
    /// It is there already.
    #[error("this is what is on file already")]
    Same,
    /// There is nothing of this kind.
    #[error("the customer has none of these")]
    Missing,
}

/// An e-mail address as it is kept: one that mail can be sent to. Nothing that would need quotes, and
/// nothing that a page, a header or a list of addresses could take for its own.
///
/// # Errors
/// It is none.
pub fn mailbox(value: &Secret) -> Result<Secret, BadValue> {
    let text = value.expose().trim();
    let strange = |c: char| c.is_whitespace() || c.is_control() || "\"<>()[]{},;:\\`|".contains(c);
    let sendable = !text.contains(strange) && normalise(ClaimKind::Email, text).is_some() && text.parse::<lettre::Address>().is_ok();
    if sendable { Ok(Secret::new(text)) } else { Err(BadValue::Email) }
}

/// Checks a change before anybody asks policy, so that a slip of the pen is not a refusal.
pub fn check_change(change: &Change) -> Result<(), BadValue> {
    match change {
        Change::Phone(value) => E164::parse(value.expose()).map(|_| ())?,
        Change::Email(value) => mailbox(value).map(|_| ())?,
        Change::Address { address, postal_code } if address.expose().trim().is_empty() || postal_code.expose().trim().is_empty() => {
            return Err(BadValue::Address);
        }
        Change::Word { kind, word } => WordRule::of(*kind).check(word).map(|_| ())?,
        _ => {}
    }
    Ok(())
}

/// Carries a permitted change out on a profile and says how to undo it.
pub fn apply_change(profile: &mut Profile, change: &Change, now: Timestamp, cooling_off: Span, vault: &Vault) -> Result<Undo, ChangeError> {
    check_change(change)?;
    let undo = match change {
        Change::Phone(value) => replace_contact(profile, value, false, now, cooling_off, vault)?,
        Change::Email(value) => replace_contact(profile, &mailbox(value)?, true, now, cooling_off, vault)?,
        Change::Address { address, postal_code } => Undo::Address {
            address: std::mem::replace(&mut profile.address, address.clone()),
            postal_code: std::mem::replace(&mut profile.postal_code, postal_code.clone()),
        },
        Change::Word { kind, word } => {
            let before = profile.authenticators.clone();
            let word = WordRule::of(*kind).check(word).map_err(BadValue::from)?;
            let material = Material::Word { real: WordHash::make(&word, vault.id()?, &vault.pepper), duress: WordHash::decoy() };
            profile.authenticators.retain(|a| a.kind != *kind);
            profile.authenticators.push(Authenticator { id: AuthenticatorId(vault.id()?), kind: *kind, material, added: now, usable_from: Timestamp(0) });
            Undo::Factors { authenticators: before }
        }
        Change::RemoveFactor(kind) => {
            let before = profile.authenticators.clone();
            profile.authenticators.retain(|a| a.kind != *kind);
            if before.len() == profile.authenticators.len() {
                return Err(BadValue::Missing.into());
            }
            Undo::Factors { authenticators: before }
        }
        // No contact data and no factor: nothing is riskier for it, and nothing is told but once.
        Change::Voice(on_file) => {
            profile.voice = Some(on_file.clone());
            return Ok(Undo::Voice);
        }
        Change::NoVoice => {
            profile.voice = None;
            return Ok(Undo::Nothing);
        }
        Change::EndFreeze => {
            profile.frozen = None;
            return Ok(Undo::Nothing);
        }
        // Done in the company's own systems; here they are recorded and told to the customer.
        Change::Password | Change::CancelOrder | Change::Business(_) => return Ok(Undo::Nothing),
    };
    profile.changed = Some(now);
    Ok(undo)
}

/// Why a change cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The value cannot be taken.
    #[error(transparent)]
    Value(#[from] BadValue),
    /// No keys or no randomness.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

fn replace_contact(profile: &mut Profile, value: &Secret, email: bool, now: Timestamp, cooling_off: Span, vault: &Vault) -> Result<Undo, ChangeError> {
    let of_kind = |c: &Contact| (c.kind == ContactKind::Email) == email;
    if profile.present_contacts().any(|c| of_kind(c) && c.value.ct_eq(value)) {
        return Err(BadValue::Same.into());
    }
    let old = profile.contacts.iter_mut().find(|c| c.retired.is_none() && of_kind(c));
    let old = old.map(|c| {
        c.retired = Some(now);
        c.id
    });
    let new = ContactId(vault.id()?);
    let kind = if email { ContactKind::Email } else { ContactKind::Mobile };
    profile.contacts.push(Contact { id: new, kind, value: value.clone(), usable_from: now + cooling_off, no_texts: false, retired: None });
    Ok(Undo::Contact { old, new })
}

/// Puts back what a change took away.
pub fn apply_undo(profile: &mut Profile, undo: &Undo, now: Timestamp) {
    match undo {
        Undo::Contact { old, new } => {
            profile.contacts.retain(|c| c.id != *new);
            for contact in profile.contacts.iter_mut().filter(|c| Some(c.id) == *old) {
                contact.retired = None;
            }
        }
        Undo::Address { address, postal_code } => {
            profile.address = address.clone();
            profile.postal_code = postal_code.clone();
        }
        Undo::Factors { authenticators } => profile.authenticators.clone_from(authenticators),
        Undo::Voice => {
            profile.voice = None;
            return;
        }
        Undo::Nothing => return,
    }
    profile.changed = Some(now);
}

/// The authenticator of a profile, if it has it.
pub fn authenticator(profile: &Profile, id: AuthenticatorId, kind: FactorKind) -> Option<&Authenticator> {
    profile.authenticators.iter().find(|a| a.id == id && a.kind == kind)
}
