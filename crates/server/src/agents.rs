//! People at the desk: password plus one-time code, sessions that can be taken away at any moment.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use countersign_core::{
    action::Role,
    factor::{Otp, WordHash, matching_counter},
    id::AgentId,
    secret::Secret,
    time::{Span, Timestamp},
};
use countersign_store::{Commit, CommitError, DocWrite, Expect, Guard, Note, Outcome};
use serde::{Deserialize, Serialize};

use crate::{
    calls::note,
    record::{self, AgentEvent},
    runner::{RunError, Runner},
    vault::Vault,
};

const AGENT: &str = "agent";
const SESSION: &str = "session";
/// Life of a session at the desk: one shift.
pub const SESSION_LIFE: Span = Span::hours(12);
/// Wrong sign-ins per name and address within [`WINDOW`].
const TRIES: u32 = 5;
const WINDOW: Span = Span::minutes(15);
/// NIST SP 800-63B-4 §3.1.1.2 asks for 8 within multi-factor; people at the desk open everybody's account.
const PASSWORD: usize = 12;

/// An agent as they are kept, sealed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Agent {
    /// Which one.
    pub id: AgentId,
    /// The name to sign in with and to show.
    pub name: String,
    /// As what.
    pub role: Role,
    /// Password, hashed.
    password: WordHash,
    /// One-time codes.
    totp: Otp,
    /// How many events their record has.
    events: u64,
    /// Other companies whose calls they take at this desk, and as what.
    #[serde(default)]
    pub serves: BTreeMap<String, Role>,
}

/// A session as it is kept, sealed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Session {
    name: String,
    expires: Timestamp,
}

/// Who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// Which agent.
    pub id: AgentId,
    /// Their name.
    pub name: String,
    /// As what.
    pub role: Role,
}

/// Why somebody is not signed in or not added.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Wrong name, password or code: which of them is not told.
    #[error("name, password or code is wrong, or there were too many tries: wait fifteen minutes")]
    Refused,
    /// The name is taken or has a wrong shape.
    #[error("a name has 2 to 40 letters, digits, dots or dashes, and is not taken: {0}")]
    Name(String),
    /// Nobody has this name.
    #[error("nobody at this desk is called {0}: `countersign agent add` adds them")]
    Nobody(String),
    /// Leads and administrators of a company are its own people.
    #[error("at another company's calls somebody can be agent or specialist: its leads and administrators are its own people")]
    Role,
    /// The password is too short.
    #[error("a password at the desk has at least 12 characters")]
    Password,
    /// Something below.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl<E: Into<RunErrorBox>> From<E> for AgentError {
    fn from(e: E) -> Self { Self::Run(e.into().0) }
}
/// Lets the errors of store and keys pass through.
pub struct RunErrorBox(RunError);
impl From<countersign_store::ReadError> for RunErrorBox {
    fn from(e: countersign_store::ReadError) -> Self { Self(e.into()) }
}
impl From<crate::vault::VaultError> for RunErrorBox {
    fn from(e: crate::vault::VaultError) -> Self { Self(e.into()) }
}
impl From<serde_json::Error> for RunErrorBox {
    fn from(e: serde_json::Error) -> Self { Self(e.into()) }
}

/// The people at the desk.
pub struct Agents {
    runner: Arc<Runner>,
    names: RwLock<BTreeMap<AgentId, (String, Role)>>,
    /// Those of the desk that takes this company's calls, and what this company is called there.
    shared: Option<(Arc<Agents>, String)>,
}

impl Agents {
    /// Over a runner's store and keys.
    pub fn new(runner: Arc<Runner>) -> Self { Self { runner, names: RwLock::default(), shared: None } }

    /// The same, where a shared desk takes calls as well that knows this company as `tenant`: its
    /// people have names here, and nothing else.
    pub fn beside(self, shared: Arc<Self>, tenant: &str) -> Self { Self { shared: Some((shared, tenant.into())), ..self } }

    fn vault(&self) -> &Vault { &self.runner.vault }

    async fn load(&self, name: &str) -> Result<Option<(u64, Agent)>, AgentError> {
        let id = name.to_lowercase();
        let Some(doc) = self.runner.store.doc(AGENT, id.as_bytes()).await? else { return Ok(None) };
        Ok(Some((doc.version, self.vault().unseal(AGENT, id.as_bytes(), &doc.body)?)))
    }

    fn put(&self, agent: &Agent, expected: Expect) -> Result<DocWrite, AgentError> {
        let id = agent.name.to_lowercase().into_bytes();
        let body = self.vault().seal(AGENT, &id, agent)?;
        Ok(DocWrite::Put { kind: AGENT, id, expected, body, due: None })
    }

    /// Adds an agent. Returns the key for their authenticator app.
    pub async fn add(&self, name: &str, role: Role, password: &Secret) -> Result<Otp, AgentError> {
        let shape = (2..=40).contains(&name.chars().count()) && name.chars().all(|c| c.is_alphanumeric() || ".-".contains(c));
        if !shape || self.load(name).await?.is_some() {
            return Err(AgentError::Name(name.into()));
        }
        if password.expose().chars().count() < PASSWORD {
            return Err(AgentError::Password);
        }
        let key: Vec<u8> = self.vault().seed()?.into_iter().take(20).collect();
        let totp = Otp { key: Secret::new(hex::encode(key)), digits: 6, algorithm: countersign_core::factor::Algorithm::Sha1, step: Some(30) };
        let id = AgentId(self.vault().id()?);
        let password = WordHash::make(password, self.vault().id()?, &self.vault().pepper);
        let agent = Agent { id, name: name.into(), role, password, totp: totp.clone(), events: 1, serves: BTreeMap::new() };
        let now = self.runner.now();
        let commit = Commit {
            now: now.0,
            docs: vec![self.put(&agent, Expect::New)?],
            appends: vec![record::append(record::AGENT, id.0, 0, now, &AgentEvent::Added { role })?],
            notes: vec![Note { kind: note::AGENT, id: id.0 }],
            ..Commit::default()
        };
        self.commit(commit).await?;
        self.refresh().await?;
        Ok(totp)
    }

    /// Lets somebody take calls of another company at this desk, or not any more. From their next
    /// request on; what they see of it ends as well.
    pub async fn assign(&self, name: &str, tenant: &str, role: Option<Role>) -> Result<(), AgentError> {
        if !matches!(role, None | Some(Role::Agent | Role::Specialist)) {
            return Err(AgentError::Role);
        }
        let (version, mut agent) = self.load(name).await?.ok_or_else(|| AgentError::Nobody(name.into()))?;
        if agent.serves.get(tenant).copied() == role {
            return Ok(());
        }
        let tenant = tenant.to_owned();
        let event = match role {
            Some(role) => {
                agent.serves.insert(tenant.clone(), role);
                AgentEvent::Serves { tenant, role }
            }
            None => {
                agent.serves.remove(&tenant);
                AgentEvent::Left { tenant }
            }
        };
        let now = self.runner.now();
        let append = record::append(record::AGENT, agent.id.0, agent.events, now, &event)?;
        agent.events += 1;
        let docs = vec![self.put(&agent, Expect::Version(version))?];
        self.commit(Commit { now: now.0, docs, appends: vec![append], ..Commit::default() }).await
    }

    async fn commit(&self, commit: Commit) -> Result<(), AgentError> {
        match self.runner.store.commit(commit).await {
            Ok(_) => Ok(()),
            Err(CommitError::Denied(_)) => Err(AgentError::Refused),
            // A clash of two sign-ins passes as soon as it is tried again.
            Err(CommitError::Busy | CommitError::Closed | CommitError::Conflict) => Err(RunError::Busy.into()),
            Err(e) => Err(RunError::Store(e.to_string()).into()),
        }
    }

    /// Signs somebody in by password and one-time code; both are always judged, so that neither
    /// the answer nor its time tells which was wrong or whether the name exists.
    pub async fn sign_in(&self, name: &str, password: &Secret, code: &Secret, from: &str) -> Result<(Who, Secret), AgentError> {
        let now = self.runner.now();
        let key = format!("sign-in/{}/{from}", name.to_lowercase().chars().filter(|c| !c.is_control()).take(40).collect::<String>());
        // A password hash costs 20 ms and 19 MiB: none is computed for what would be refused anyway.
        let so_far = self.runner.store.attempts(&key).await?;
        if so_far.count >= TRIES && so_far.until.is_none_or(|until| now.0 < until) {
            return Err(AgentError::Refused);
        }
        let found = self.load(name).await?;
        let hash = found.as_ref().map_or_else(WordHash::decoy, |(_, a)| a.password.clone());
        let vault = self.runner.vault.clone();
        let password = password.clone();
        let right = self.runner.hash(move || hash.matches(&password, &vault.pepper)).await?;
        let step = found.as_ref().and_then(|(_, a)| matching_counter(&a.totp, None, code, now));
        let attempt = |outcome| Guard::Attempt { key: key.clone(), window: Some(WINDOW.0), max: TRIES, outcome };
        let (Some((version, mut agent)), true, Some(step)) = (found, right, step) else {
            self.commit(Commit { now: now.0, guards: vec![attempt(Outcome::Fail)], ..Commit::default() }).await?;
            return Err(AgentError::Refused);
        };
        let guards = vec![attempt(Outcome::Success), Guard::Step { key: format!("agent-step/{}", agent.id), value: step }];
        let token = self.session(&mut agent, version, guards, now).await?;
        Ok((Who { id: agent.id, name: agent.name, role: agent.role }, token))
    }

    /// Opens a session without asking for anything: for the demo's one-click sign-in alone.
    pub(crate) async fn sign_in_for_demo(&self, name: &str) -> Result<Option<Secret>, AgentError> {
        let Some((version, mut agent)) = self.load(name).await? else { return Ok(None) };
        let now = self.runner.now();
        self.session(&mut agent, version, Vec::new(), now).await.map(Some)
    }

    async fn session(&self, agent: &mut Agent, version: u64, guards: Vec<Guard>, now: Timestamp) -> Result<Secret, AgentError> {
        let token = self.vault().token()?;
        let id = Vault::token_id(&token);
        let session = Session { name: agent.name.clone(), expires: now + SESSION_LIFE };
        let body = self.vault().seal(SESSION, &id, &session)?;
        let append = record::append(record::AGENT, agent.id.0, agent.events, now, &AgentEvent::SignedIn)?;
        agent.events += 1;
        let docs = vec![
            DocWrite::Put { kind: SESSION, id, expected: Expect::New, body, due: Some(session.expires.0) },
            self.put(agent, Expect::Version(version))?,
        ];
        self.commit(Commit { now: now.0, guards, appends: vec![append], docs, ..Commit::default() }).await?;
        Ok(token)
    }

    /// Who a session belongs to. Read anew for every request: a session taken away is gone at once,
    /// and a role taken away as well.
    pub async fn who(&self, token: &Secret) -> Result<Option<Who>, AgentError> { Ok(self.at_desk(token).await?.map(|(who, _)| who)) }

    /// The same, with the other companies whose calls they take.
    pub async fn at_desk(&self, token: &Secret) -> Result<Option<(Who, BTreeMap<String, Role>)>, AgentError> {
        let id = Vault::token_id(token);
        let Some(doc) = self.runner.store.doc(SESSION, &id).await? else { return Ok(None) };
        let session: Session = self.vault().unseal(SESSION, &id, &doc.body)?;
        if session.expires <= self.runner.now() {
            return Ok(None);
        }
        let found = self.load(&session.name).await?;
        if let Some((_, agent)) = &found {
            // Added by a command while we run: their name is known from their first request on.
            let known = self.names.read().unwrap_or_else(PoisonError::into_inner).contains_key(&agent.id);
            if !known {
                self.names.write().unwrap_or_else(PoisonError::into_inner).insert(agent.id, (agent.name.clone(), agent.role));
            }
        }
        Ok(found.map(|(_, a)| (Who { id: a.id, name: a.name, role: a.role }, a.serves)))
    }

    /// Puts on record that somebody looked a customer up without a call, and counts it against a limit.
    pub async fn looked_up(&self, who: &Who, found: bool, guard: Guard) -> Result<(), AgentError> {
        let (version, mut agent) = self.load(&who.name).await?.ok_or(AgentError::Refused)?;
        let now = self.runner.now();
        let append = record::append(record::AGENT, agent.id.0, agent.events, now, &AgentEvent::LookedUp { found })?;
        agent.events += 1;
        let docs = vec![self.put(&agent, Expect::Version(version))?];
        self.commit(Commit { now: now.0, guards: vec![guard], appends: vec![append], docs, ..Commit::default() }).await
    }

    /// Ends one session.
    pub async fn sign_out(&self, token: &Secret) -> Result<(), AgentError> {
        let docs = vec![DocWrite::Delete { kind: SESSION, id: Vault::token_id(token) }];
        self.commit(Commit { now: self.runner.now().0, docs, ..Commit::default() }).await
    }

    /// Ends all sessions of an agent, on the record.
    pub async fn sign_out_all(&self, agent: AgentId, by: AgentId) -> Result<usize, AgentError> {
        let name = self.name(agent);
        let Some((version, mut found)) = self.load(&name).await? else { return Ok(0) };
        let mut docs = Vec::new();
        for (id, session) in self.sessions().await? {
            if session.name.eq_ignore_ascii_case(&found.name) {
                docs.push(DocWrite::Delete { kind: SESSION, id });
            }
        }
        let (n, now) = (docs.len(), self.runner.now());
        let append = record::append(record::AGENT, found.id.0, found.events, now, &AgentEvent::SignedOut { by: Some(by) })?;
        found.events += 1;
        docs.push(self.put(&found, Expect::Version(version))?);
        self.commit(Commit { now: now.0, docs, appends: vec![append], ..Commit::default() }).await?;
        Ok(n)
    }

    async fn sessions(&self) -> Result<Vec<(Vec<u8>, Session)>, AgentError> {
        let mut out = Vec::new();
        for (id, doc) in self.runner.store.docs(SESSION, None, 10_000).await? {
            let session = self.vault().unseal(SESSION, &id, &doc.body)?;
            out.push((id, session));
        }
        Ok(out)
    }

    /// Everybody, with whether they are signed in.
    pub async fn list(&self) -> Result<Vec<(Agent, bool)>, AgentError> {
        let (sessions, now) = (self.sessions().await?, self.runner.now());
        let mut out = Vec::new();
        for (id, doc) in self.runner.store.docs(AGENT, None, 10_000).await? {
            let agent: Agent = self.vault().unseal(AGENT, &id, &doc.body)?;
            let signed_in = sessions.iter().any(|(_, s)| s.name == agent.name && s.expires > now);
            out.push((agent, signed_in));
        }
        Ok(out)
    }

    /// Reads the names again; at start and after a change.
    pub async fn refresh(&self) -> Result<(), AgentError> {
        let names = self.list().await?.into_iter().map(|(a, _)| (a.id, (a.name, a.role))).collect();
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = names;
        Ok(())
    }

    /// Names for lists.
    pub fn names(&self) -> BTreeMap<AgentId, String> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.iter().map(|(id, (name, _))| (*id, name.clone())).collect()
    }

    /// What an agent is called, here or at the shared desk.
    pub fn known(&self, id: AgentId) -> Option<String> {
        let mine = self.names.read().unwrap_or_else(PoisonError::into_inner).get(&id).map(|(name, _)| name.clone());
        mine.or_else(|| self.shared.as_ref()?.0.known(id))
    }

    /// The name of one agent, or their id.
    pub fn name(&self, id: AgentId) -> String { self.known(id).unwrap_or_else(|| id.to_string()) }

    /// Who of a shared desk takes calls here.
    pub async fn of_shared_desk(&self) -> Result<Vec<(String, Role)>, AgentError> {
        let Some((shared, tenant)) = &self.shared else { return Ok(Vec::new()) };
        Ok(shared.list().await?.into_iter().filter_map(|(agent, _)| agent.serves.get(tenant).map(|role| (agent.name.clone(), *role))).collect())
    }
}
