//! The keys that sign checkpoints: made here, sealed, never derived from anything, replaced by each
//! other in the open.

use countersign_store::{Commit, CommitError, Expect};
use countersign_tlog::{Signer, Verifier, note::Kind};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Head, KEYS, LedgerError, ONE, put};
use crate::runner::{RunError, Runner};

/// All keys that this log ever had, the current one last.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Keys {
    keys: Vec<Key>,
    /// The old key has still to sign beside the new one.
    #[serde(default)]
    introducing: bool,
    #[serde(skip)]
    version: u64,
}

#[derive(Serialize, Deserialize)]
struct Key {
    name: String,
    seed: Zeroizing<String>,
}

impl Key {
    fn signer(&self) -> Result<Signer, LedgerError> {
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(self.seed.as_bytes(), seed.as_mut()).map_err(|_| LedgerError::Damaged("its key has another shape".into()))?;
        Ok(Signer::new(&self.name, Kind::Note, &seed)?)
    }
}

impl Keys {
    pub(super) async fn read(runner: &Runner) -> Result<Self, LedgerError> {
        let Some(doc) = runner.store.doc(KEYS, ONE).await? else { return Ok(Self::default()) };
        let keys: Self = runner.vault.unseal(KEYS, ONE, &doc.body)?;
        Ok(Self { version: doc.version, ..keys })
    }

    /// The keys; the first is made if there is none yet.
    pub(super) async fn for_log(runner: &Runner, origin: &str) -> Result<Self, LedgerError> {
        let mut keys = Self::read(runner).await?;
        if keys.keys.is_empty() {
            keys.add(runner, origin)?;
            // Another node may just have made it: then that one counts.
            keys.write(runner).await?;
            keys = Self::read(runner).await?;
        }
        Ok(keys)
    }

    fn add(&mut self, runner: &Runner, origin: &str) -> Result<(), LedgerError> {
        let seed = Zeroizing::new(hex::encode(runner.vault.seed()?));
        self.keys.push(Key { name: origin.to_owned(), seed });
        Ok(())
    }

    async fn write(&self, runner: &Runner) -> Result<bool, LedgerError> {
        let expected = if self.version == 0 { Expect::New } else { Expect::Version(self.version) };
        let docs = vec![put(KEYS, ONE.to_vec(), expected, runner.vault.seal(KEYS, ONE, self)?)];
        match runner.store.commit(Commit { now: runner.now().0, docs, ..Commit::default() }).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict) => Ok(false),
            Err(CommitError::Busy | CommitError::Closed) => Err(RunError::Busy.into()),
            Err(e) => Err(RunError::Store(e.to_string()).into()),
        }
    }

    /// Whoever signs the next checkpoint.
    pub(super) fn signers(&self) -> Result<Vec<Signer>, LedgerError> {
        let count = if self.introducing { 2 } else { 1 };
        self.keys.iter().rev().take(count).map(Key::signer).collect()
    }

    pub(super) fn public(&self) -> Result<Vec<Verifier>, LedgerError> { self.keys.iter().map(|key| Ok(key.signer()?.verifier())).collect() }

    /// Whether a head is one that this log has signed. Whoever can only write the database can make none: what opens
    /// the keys is not in it.
    pub(super) fn signed(&self, head: &Head) -> Result<(), LedgerError> {
        let Some(note) = &head.note else { return Ok(()) };
        if self.public()?.iter().any(|key| note.signed_by(key).is_some()) {
            return Ok(());
        }
        Err(LedgerError::Damaged("its head carries no signature of this log's keys: somebody else has put it there".into()))
    }

    /// A checkpoint with both signatures is out.
    pub(super) async fn introduced(&mut self, runner: &Runner) -> Result<(), LedgerError> {
        if std::mem::take(&mut self.introducing) {
            // If somebody else rotates just now, both sign once more: no harm.
            self.write(runner).await?;
        }
        Ok(())
    }
}

pub(super) async fn rotate(runner: &Runner, origin: &str) -> Result<Verifier, LedgerError> {
    for _ in 0..8 {
        let mut keys = Keys::for_log(runner, origin).await?;
        keys.add(runner, origin)?;
        keys.introducing = true;
        if keys.write(runner).await? {
            let mut public = keys.public()?;
            return public.pop().ok_or_else(|| LedgerError::Damaged("it has no key".into()));
        }
    }
    Err(RunError::Busy.into())
}
