//! Which policy set decides: versioned, activated on all nodes at once, and rolled back the same way.
//!
//! A set is *staged* first, with what the lint and the proofs said of it, sealed like everything else.
//! The lead activates it. The activations are a stream of the record, and every commit of a call
//! asserts that this stream has not grown since the policies were looked at: so no node commits a
//! decision of an older set after a newer one was activated. It conflicts, looks again, and decides
//! anew.

use std::sync::{Arc, PoisonError, RwLock};

use countersign_core::{action::Policy, call::Alert, id::AgentId, time::Timestamp};
use countersign_store::{Append, Commit, CommitError, DocWrite, Expect, Note, Store, Stream};
use serde::{Deserialize, Serialize};

use crate::{
    calls::note,
    effects::alert_doc,
    hub::Notice,
    record,
    runner::{RunError, Runner},
    vault::Vault,
};

/// The kind under which staged sets are kept, by version.
pub const SETS: &str = "policy-set";
/// The record of what was staged and activated.
const STREAM: Stream = Stream { kind: "policy", id: [0; 16] };
/// What other nodes are told.
const CHANGED: Note = Note { kind: note::POLICY, id: [0; 16] };
/// The shortest reason that is one.
const REASON: usize = 10;

/// A set as it was staged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Staged {
    /// Its version: a hash of its texts.
    pub version: String,
    /// The schema.
    pub schema: String,
    /// File names and texts, with those of packs.
    pub files: Vec<(String, String)>,
    /// What it comes to, as a table.
    pub matrix: String,
    /// When.
    pub at: Timestamp,
    /// What whoever staged it says of it.
    pub note: String,
    /// Promises: name, what it says, and `proved`, `broken: …` or `unknown: …`.
    pub promises: Vec<(String, String, String)>,
    /// Whether all of them are proved.
    pub holds: bool,
    /// What it newly permits and refuses against the set that was active then, in sentences.
    pub changes: Vec<String>,
}

/// What happened to policies. The record keeps these for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum PolicyEvent {
    /// A set was brought, linted and proved.
    Staged {
        /// Which.
        version: String,
        /// Whether its promises are proved.
        holds: bool,
    },
    /// A set decides from here on.
    Activated {
        /// Which.
        version: String,
        /// Instead of which.
        instead_of: String,
        /// By whom.
        by: AgentId,
        /// Whether its promises were proved.
        proved: bool,
        /// The written reason; never missing where they were not.
        reason: Option<String>,
    },
}

/// What decides now.
pub struct Active {
    /// The policies.
    pub policy: Arc<dyn Policy>,
    /// The schema they are written against.
    pub schema: String,
    /// Their texts.
    pub files: Vec<(String, String)>,
    /// What they come to.
    pub matrix: String,
    /// Since when, and by whom, if it was activated here.
    pub since: Option<(Timestamp, AgentId)>,
    /// How many entries the record of policies had then.
    n: u64,
}

/// Makes texts into something that decides.
pub type Loader = Box<dyn Fn(&str, Vec<(String, String)>) -> Result<Arc<dyn Policy>, String> + Send + Sync>;

/// The policy sets of an installation.
pub struct Policies {
    active: RwLock<Arc<Active>>,
    boot: Arc<Active>,
    loader: Option<Loader>,
}

impl<P: Policy + 'static> From<Arc<P>> for Policies {
    fn from(boot: Arc<P>) -> Self { Self::new(boot) }
}

impl Policies {
    /// With what decides until something else is activated.
    pub fn new(boot: Arc<dyn Policy>) -> Self {
        let boot = Arc::new(Active { policy: boot, schema: String::new(), files: Vec::new(), matrix: String::new(), since: None, n: 0 });
        Self { active: RwLock::new(boot.clone()), boot, loader: None }
    }

    /// The texts of what decides in the beginning, and how others are loaded.
    pub fn with(self, schema: String, files: Vec<(String, String)>, matrix: String, loader: Loader) -> Self {
        let boot = Arc::new(Active { policy: self.boot.policy.clone(), schema, files, matrix, since: None, n: 0 });
        Self { active: RwLock::new(boot.clone()), boot, loader: Some(loader) }
    }

    /// What decides now.
    pub fn active(&self) -> Arc<Active> { self.active.read().unwrap_or_else(PoisonError::into_inner).clone() }

    fn set(&self, active: Active) { *self.active.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(active); }
}

impl Active {
    /// What a commit asserts: that nothing was activated since.
    pub(crate) fn still(&self) -> Append { Append { stream: STREAM, expected: self.n, events: Vec::new() } }
}

/// Why a set is not activated.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    /// There is no such set.
    #[error("no policy set with this version was staged: run `countersign policy stage`")]
    Unknown,
    /// It cannot be loaded here.
    #[error("this policy set cannot be used by this program: {0}")]
    Unusable(String),
    /// Its promises are not proved, and nobody says why it should be used all the same.
    #[error("the promises of this policy set are not proved: write down why it is to be used all the same, in at least {REASON} characters")]
    Unproved,
    /// Somebody was faster.
    #[error("somebody else changed the policies at this moment: look again")]
    Raced,
    /// The store.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl Runner {
    /// What decides now.
    pub fn policy(&self) -> Arc<dyn Policy> { self.policies.active().policy.clone() }

    /// Looks at the record of policies, and takes what is active into use. `true`: it is another.
    pub async fn refresh_policies(&self) -> Result<bool, RunError> {
        let before = self.policies.active();
        if self.store.count(STREAM).await? == before.n {
            return Ok(false);
        }
        let events = self.store.events(STREAM).await?;
        let n = u64::try_from(events.len()).unwrap_or(u64::MAX);
        let last = events.iter().rev().find_map(|e| match serde_json::from_str(&e.body) {
            Ok(PolicyEvent::Activated { version, by, .. }) => Some((version, Timestamp(e.at), by)),
            _ => None,
        });
        let Some((version, at, by)) = last else {
            let Active { policy, schema, files, matrix, .. } = &*self.policies.boot;
            self.policies.set(Active { policy: policy.clone(), schema: schema.clone(), files: files.clone(), matrix: matrix.clone(), since: None, n });
            return Ok(false);
        };
        if version == before.policy.version() {
            self.policies.set(Active { policy: before.policy.clone(), schema: before.schema.clone(), files: before.files.clone(), matrix: before.matrix.clone(), since: Some((at, by)), n });
            return Ok(false);
        }
        // Without the set that is active nothing is decided here: better no answer than an older one.
        let staged = staged(&self.store, &self.vault, &version).await?
            .ok_or_else(|| RunError::Store(format!("policy set {version} is active, and its text is not on record")))?;
        let policy = self.load_policy(&staged).map_err(RunError::Store)?;
        self.policies.set(Active { policy, schema: staged.schema, files: staged.files, matrix: staged.matrix, since: Some((at, by)), n });
        self.hub.tell(Notice::Policy);
        Ok(true)
    }

    fn load_policy(&self, staged: &Staged) -> Result<Arc<dyn Policy>, String> {
        let loader = self.policies.loader.as_ref().ok_or("this program was not built to load policies")?;
        let policy = loader(&staged.schema, staged.files.clone())?;
        if policy.version() == staged.version { Ok(policy) } else { Err(format!("the text on record is that of {}", policy.version())) }
    }

    /// Keeps a set, so that the lead can look at it and activate it. A set of the same version is
    /// replaced: its proofs may be newer.
    pub async fn stage(&self, set: &Staged) -> Result<(), RunError> {
        let id = set.version.clone().into_bytes();
        let event = PolicyEvent::Staged { version: set.version.clone(), holds: set.holds };
        for _ in 0..8 {
            let n = self.store.count(STREAM).await?;
            let body = self.vault.seal(SETS, &id, set)?;
            let docs = vec![DocWrite::Put { kind: SETS, id: id.clone(), expected: Expect::Any, body, due: None }];
            let appends = vec![record::append(STREAM.kind, STREAM.id, n, set.at, &event)?];
            match self.store.commit(Commit { now: set.at.0, appends, docs, notes: vec![CHANGED], ..Commit::default() }).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Conflict) => {}
                Err(CommitError::Busy | CommitError::Closed) => return Err(RunError::Busy),
                Err(e) => return Err(RunError::Store(e.to_string())),
            }
        }
        Err(RunError::Busy)
    }

    /// The sets that were staged, newest first.
    pub async fn staged(&self) -> Result<Vec<Staged>, RunError> {
        let docs = self.store.docs(SETS, None, 1000).await?;
        let mut out = docs.into_iter().map(|(id, doc)| self.vault.unseal::<Staged>(SETS, &id, &doc.body)).collect::<Result<Vec<_>, _>>()?;
        out.sort_by_key(|set| std::cmp::Reverse(set.at));
        Ok(out)
    }

    /// What happened to policies, latest first.
    pub async fn policy_events(&self) -> Result<Vec<(Timestamp, PolicyEvent)>, RunError> {
        let events = self.store.events(STREAM).await?;
        Ok(events.iter().rev().map(|e| serde_json::from_str(&e.body).map(|event| (Timestamp(e.at), event))).collect::<Result<_, _>>()?)
    }

    /// Lets a set decide from now on, on all nodes. For rolling back, an earlier one is activated again.
    ///
    /// # Errors
    /// Promises that are not proved need a written reason, which is on record and raises an alert.
    pub async fn activate(&self, version: &str, by: AgentId, reason: &str) -> Result<(), ActivateError> {
        let set = staged(&self.store, &self.vault, version).await?.ok_or(ActivateError::Unknown)?;
        self.load_policy(&set).map_err(ActivateError::Unusable)?;
        let reason = Some(reason.trim()).filter(|r| r.chars().count() >= REASON).map(str::to_owned);
        if !set.holds && reason.is_none() {
            return Err(ActivateError::Unproved);
        }
        let (n, now) = (self.store.count(STREAM).await.map_err(RunError::from)?, self.now());
        let instead_of = self.policies.active().policy.version().to_owned();
        let event = PolicyEvent::Activated { version: version.to_owned(), instead_of, by, proved: set.holds, reason };
        let appends = vec![record::append(STREAM.kind, STREAM.id, n, now, &event).map_err(RunError::from)?];
        let docs = if set.holds { Vec::new() } else { vec![alert_doc(self, Alert::Exception, None, None)?] };
        match self.store.commit(Commit { now: now.0, appends, docs, notes: vec![CHANGED], ..Commit::default() }).await {
            Ok(_) => {}
            Err(CommitError::Conflict) => return Err(ActivateError::Raced),
            Err(CommitError::Busy | CommitError::Closed) => return Err(RunError::Busy.into()),
            Err(e) => return Err(RunError::Store(e.to_string()).into()),
        }
        if !set.holds {
            self.hub.tell(Notice::Alert);
        }
        self.refresh_policies().await?;
        Ok(())
    }
}

async fn staged(store: &Store, vault: &Vault, version: &str) -> Result<Option<Staged>, RunError> {
    let id = version.as_bytes();
    let Some(doc) = store.doc(SETS, id).await? else { return Ok(None) };
    Ok(Some(vault.unseal(SETS, id, &doc.body)?))
}
