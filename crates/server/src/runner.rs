//! The one loop that moves calls: load, step, answer what is asked, commit, and only then reply.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError, atomic::AtomicBool},
};

use async_trait::async_trait;
use countersign_core::{
    account::{Brief, Material},
    call::{
        Answer, Ask, Attempt, Call, Check, Cx, Deny, Effect, Event, Input, Outputs, Params, Recorded, Rejected, Stage,
        speakable_upcoming,
    },
    claim::Claim,
    factor::{self, Attested, FactorKind, Owner, ServiceCode, Transaction, Verdict},
    id::{AccountId, AuthenticatorId, CallId},
    prompt::Directive,
    risk::History,
    secret::{E164, Secret},
    time::Timestamp,
};
use countersign_store::{Append, Commit, CommitError, DocWrite, Expect, Guard, IndexWrite, NewEvent, Outcome, ReadError, Store, Stream, WriteError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::Semaphore;

use crate::{
    calls::{self, Calls, Consulted},
    customers::{Customers, KeyError, Standing},
    directory::{ChangeError, Directory, DirectoryError, Loaded, authenticator},
    effects,
    hub::{Hub, Notice},
    intel,
    metrics::Metrics,
    oauth::ping,
    policies::{Active, Policies},
    record, seen,
    vault::{Vault, VaultError},
    voice::{self, Voices},
    voice_digits, voice_undo,
    watch::Watch,
};

/// The index of calls that ask an account for an approval.
pub const APPROVALS: &str = "approvals";
/// How often a step is tried again when another node was faster, or a limit refused it.
const MAX_TRIES: usize = 16;
/// How long a spent code is remembered: far longer than any code lives.
const REMEMBER_ONCE: i64 = 24 * 3600 * 1000;
/// Password hashes computed at once: each takes 19 MiB and 20 ms of a core.
const HASHES_AT_ONCE: usize = 4;

/// Why an input could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no such call.
    #[error("there is no such call")]
    NoCall,
    /// Not possible now; nothing happened.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The change cannot be carried out; nothing happened.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// Too busy; nothing happened.
    #[error("too busy: try again in a moment")]
    Busy,
    /// What may be used once was used before; nothing happened.
    #[error("this was used before: open the page again")]
    Spent,
    /// The store may or may not have it: try again under the same command id.
    #[error("the record did not answer: {0}")]
    Store(String),
    /// Keys or stored records.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl From<ReadError> for RunError {
    fn from(e: ReadError) -> Self {
        match e {
            ReadError::Busy | ReadError::Closed => Self::Busy,
            ReadError::Damaged(_) | ReadError::Failed(_) => Self::Store(e.to_string()),
        }
    }
}
impl From<WriteError> for RunError {
    fn from(e: WriteError) -> Self { Self::Store(e.to_string()) }
}
impl From<DirectoryError> for RunError {
    fn from(e: DirectoryError) -> Self {
        match e {
            DirectoryError::Read(e) => e.into(),
            DirectoryError::Vault(e) => e.into(),
            DirectoryError::Key(e) => e.into(),
        }
    }
}
impl From<KeyError> for RunError {
    fn from(e: KeyError) -> Self {
        match e {
            KeyError::Read(e) => e.into(),
            KeyError::Vault(e) => e.into(),
            KeyError::Busy => Self::Busy,
            KeyError::Write(_) => Self::Store(e.to_string()),
        }
    }
}
impl From<serde_json::Error> for RunError {
    fn from(e: serde_json::Error) -> Self { Self::Store(e.to_string()) }
}

/// What is kept of a call beside its events, sealed: how to reach its telephone.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Line {
    /// The adapter's own name for the call.
    pub reference: String,
    /// The calling number, if one was signalled.
    pub number: Option<E164>,
}

/// A call in memory.
#[derive(Debug, Clone)]
pub struct Live {
    /// Its state.
    pub call: Call,
    /// Its telephone.
    pub line: Line,
    /// The sealed line, written with every commit.
    pub(crate) sealed: Vec<u8>,
}

/// Looks at a signed answer that came over another channel than the call.
#[async_trait]
pub trait Attestor: Send + Sync {
    /// What it shows, if it holds. `docs` are written in the commit of the proof, such as the end of
    /// a ceremony that must not be answered twice.
    async fn attest(&self, runner: &Runner, asked: &Transaction, presented: &Secret, docs: &mut Vec<DocWrite>) -> Result<Option<Attested>, RunError>;
}

/// Everything a step needs, shared by all of them.
pub struct Runner {
    /// The durable store.
    pub store: Store,
    /// The keys.
    pub vault: Arc<Vault>,
    /// A key for each customer.
    pub customers: Arc<Customers>,
    /// The customers.
    pub directory: Arc<Directory>,
    /// What decides: the one place.
    pub policies: Policies,
    /// Lengths and limits.
    pub params: Params,
    /// Who is told.
    pub hub: Arc<Hub>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What calls that ended come to.
    pub digests: crate::grade::Digests,
    clock: crate::directory::Clock,
    pub(crate) calls: Calls,
    hashing: Semaphore,
    attestors: Mutex<HashMap<FactorKind, Arc<dyn Attestor>>>,
    /// Who listens to voices, and how many at once.
    pub(crate) voices: OnceLock<(Arc<Voices>, Semaphore)>,
    /// Somebody can be asked about numbers.
    pub(crate) looks_up: AtomicBool,
    /// What agents do that their peers do not.
    pub watch: Watch,
}

/// What a telephone is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// How many events the call has: names the next step, so that a repeated webhook is known.
    pub n: u64,
    /// What to do.
    pub directives: Vec<Directive>,
}

/// Everything one input led to, before it is committed.
struct Turned {
    after: Call,
    out: Outputs,
    docs: Vec<DocWrite>,
    /// What decided.
    policies: Arc<Active>,
    /// What it rests on.
    consulted: Consulted,
}

impl Runner {
    /// A runner over its parts. The keys are the installation's and the customers'.
    pub fn new(
        store: Store, (vault, customers): (Arc<Vault>, Arc<Customers>), policies: impl Into<Policies>, params: Params, hub: Arc<Hub>, metrics: Arc<Metrics>,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        let clock: crate::directory::Clock = Arc::new(clock);
        let directory = Arc::new(Directory::new(store.clone(), vault.clone(), customers.clone(), clock.clone()));
        Self {
            store, vault, customers, directory, policies: policies.into(), params, hub, metrics, digests: Default::default(), clock, calls: Calls::default(),
            hashing: Semaphore::new(HASHES_AT_ONCE), attestors: Mutex::default(), voices: OnceLock::new(), looks_up: AtomicBool::new(false), watch: Watch::default(),
        }
    }

    /// From now on signed answers of this kind can be looked at; without, they count as wrong.
    pub fn attests(&self, kind: FactorKind, attestor: Arc<dyn Attestor>) {
        self.attestors.lock().unwrap_or_else(PoisonError::into_inner).insert(kind, attestor);
    }

    /// The clock that it goes by.
    pub fn clock(&self) -> crate::directory::Clock { self.clock.clone() }

    /// Now.
    pub fn now(&self) -> Timestamp { (self.clock)() }

    /// Whether the record and the key store read and write.
    pub async fn answers(&self) -> Result<(), ReadError> {
        self.store.check().await?;
        self.customers.keys.check().await
    }

    /// Seals what is about a customer, with their key. `None`: they were erased, and nothing of theirs is
    /// kept any more.
    pub async fn seal_about<T: Serialize + Sync>(&self, kind: &'static str, id: &[u8], account: AccountId, value: &T) -> Result<Option<Vec<u8>>, RunError> {
        let now = self.now();
        let standing = self.customers.standing(account, now).await?;
        Ok(match standing {
            Standing::Erased => None,
            Standing::Kept(key) if self.customers.in_force(now) => Some(self.vault.seal_for(&key, kind, id, value)?),
            Standing::Kept(_) | Standing::Unknown => Some(Vault::seal(&self.vault, kind, id, value)?),
        })
    }

    /// Opens what is about a customer, or what was sealed before customers had keys. `None`: they were erased.
    pub async fn unseal_about<T: DeserializeOwned>(&self, kind: &'static str, id: &[u8], sealed: &[u8]) -> Result<Option<T>, RunError> {
        let Some(account) = Vault::owner_of(sealed) else { return Ok(Some(self.vault.unseal(kind, id, sealed)?)) };
        match self.customers.standing(account, self.now()).await? {
            Standing::Kept(key) => Ok(Some(self.vault.unseal_for(&key, kind, id, sealed)?)),
            Standing::Erased => Ok(None),
            Standing::Unknown => Err(VaultError::NoCustomerKey.into()),
        }
    }

    /// Begins a call. The same command id gets the same answer.
    pub async fn begin(&self, id: CallId, command: String, line: Line, incoming: impl Fn() -> Input + Send) -> Result<Reply, RunError> {
        let sealed = self.vault.seal(record::CALL, &id.0, &line)?;
        let mut guard = self.hold(id).await?;
        if guard.is_none() {
            *guard = Some(self.load(id).await?.unwrap_or(Live { call: Call::new(id), line, sealed }));
        }
        let result = Box::pin(self.drive(id, command, &mut guard, &incoming)).await;
        if guard.as_ref().is_none_or(|l| l.call.n == 0 || l.call.stage == Stage::Ended) {
            *guard = None;
            self.calls.forget(id);
        }
        result
    }

    /// A call of ours was answered; only now its telephone has a name.
    pub async fn answer_out(&self, id: CallId, command: String, line: Line) -> Result<Reply, RunError> {
        let sealed = self.vault.seal(record::CALL, &id.0, &line)?;
        let mut guard = self.hold(id).await?;
        if guard.is_none() {
            *guard = self.load(id).await?;
        }
        match guard.as_mut() {
            Some(live) if live.call.origin.is_ours() => {
                (live.line, live.sealed) = (line, sealed);
                Box::pin(self.drive(id, command, &mut guard, &|| Input::Answered)).await
            }
            _ => {
                self.calls.forget(id);
                Err(RunError::NoCall)
            }
        }
    }

    /// Moves a call. `make` is called again if the step has to be tried again.
    pub async fn run(&self, id: CallId, command: String, make: impl Fn() -> Input + Send) -> Result<Reply, RunError> {
        Ok(self.run_then(id, command, make, |_| ()).await?.0)
    }

    /// The same, with a look at the call as it is then: an ended call leaves memory.
    pub async fn run_then<T>(&self, id: CallId, command: String, make: impl Fn() -> Input + Send, look: impl FnOnce(&Call) -> T) -> Result<(Reply, T), RunError> {
        let mut guard = self.hold(id).await?;
        if guard.is_none() {
            *guard = self.load(id).await?;
        }
        let reply = if guard.is_none() { Err(RunError::NoCall) } else { Box::pin(self.drive(id, command, &mut guard, &make)).await };
        let result = reply.and_then(|reply| Ok((reply, look(&guard.as_ref().ok_or(RunError::NoCall)?.call))));
        // Ended calls leave memory; a late report loads them again.
        if guard.as_ref().is_none_or(|l| l.call.stage == Stage::Ended) {
            *guard = None;
            self.calls.forget(id);
        }
        result
    }

    /// A large future: whoever awaits it boxes it, or each of its callers would hold it by value.
    async fn drive(&self, id: CallId, command: String, slot: &mut Option<Live>, make: &(impl Fn() -> Input + Send)) -> Result<Reply, RunError> {
        // The limits that refused this input so far: the machine takes it again, knowing them.
        let mut refused: Vec<Deny> = Vec::new();
        let mut unsure = false;
        for _ in 0..MAX_TRIES {
            let live = slot.as_ref().ok_or(RunError::NoCall)?;
            let before = &live.call;
            let input = make();
            // What the telephone itself did is answered to it; everything else it has to be told.
            let elsewhere = !matches!(input, Input::Incoming { .. } | Input::Keys(_) | Input::NoKeys | Input::Heard(_) | Input::Recorded(_) | Input::HungUp | Input::Answered);
            let turned = match self.turn(before.clone(), input, &refused, &live.line).await {
                Ok(turned) => turned,
                // A repeated command often finds the call moved on: the log knows its answer.
                Err(RunError::Rejected(why)) => match self.repeated(command.clone()).await? {
                    Some(reply) => return Ok(reply),
                    None if self.is_current(before).await? => return Err(RunError::Rejected(why)),
                    None => {
                        *slot = Some(self.load(id).await?.ok_or(RunError::NoCall)?);
                        continue;
                    }
                },
                Err(other) => return Err(other),
            };
            let reply = self.reply(&turned).await?;
            if turned.out.events.is_empty() && turned.out.guards.is_empty() {
                if let Some(reply) = self.repeated(command.clone()).await? {
                    return Ok(reply);
                }
                // No commit will say that another node has moved the call.
                if before.n == 0 || self.is_current(before).await? {
                    return Ok(reply);
                }
                *slot = Some(self.load(id).await?.ok_or(RunError::NoCall)?);
                continue;
            }
            let (commit, denials) = match self.commit_of(live, &turned, command.clone(), &reply).await {
                // What it would change is changed already, perhaps by this very command.
                Err(RunError::Change(why)) => return self.repeated(command).await?.ok_or(RunError::Change(why)),
                other => other?,
            };
            match self.store.commit(commit).await {
                Ok(_) => {
                    let said = !turned.out.say.is_empty();
                    self.committed(before, &turned).await;
                    if elsewhere && (said || before.stage != turned.after.stage) {
                        self.push(&turned.after, &live.line, reply.clone()).await;
                    }
                    if let Some(live) = slot {
                        live.call = turned.after;
                    }
                    return Ok(reply);
                }
                Err(CommitError::Duplicate(stored)) => return Ok(serde_json::from_slice(&stored)?),
                Err(CommitError::Denied(i)) => {
                    let Some(deny) = denials.get(i) else { return Err(RunError::Store("a limit without a name".into())) };
                    self.metrics.denied(*deny);
                    refused.push(*deny);
                }
                Err(CommitError::Conflict) => {
                    // Another node was faster, or other policies decide: look again at what there is now.
                    self.refresh_policies().await?;
                    for account in [before.subject, before.principal].into_iter().flatten().chain(turned.consulted.accounts()) {
                        self.directory.forget(account);
                    }
                    if let Some(now) = self.load(id).await? {
                        *slot = Some(now);
                    }
                }
                Err(CommitError::Busy | CommitError::Closed) => return Err(RunError::Busy),
                // The connection ended under it. The record knows whether it has happened, and under the
                // same command it happens once.
                Err(CommitError::Unknown(why)) => match self.load(id).await {
                    Ok(now) if !unsure => {
                        unsure = true;
                        if now.is_some() {
                            *slot = now;
                        }
                    }
                    _ => {
                        *slot = None;
                        return Err(RunError::Store(why));
                    }
                },
            }
        }
        Err(RunError::Busy)
    }

    /// Whether what was asked when the call had `n` events is what is asked now: keys that were on
    /// their way when somebody asked for something else are no answer to that.
    pub async fn still_asks(&self, id: CallId, n: u64) -> Result<bool, RunError> {
        let Some(live) = self.call(id).await?.filter(|live| live.call.n > n) else { return Ok(true) };
        let events = self.events(id).await?;
        let then = Call::fold(id, events.iter().take_while(|r| r.n <= n));
        let asked = |call: &Call| (call.stage, call.challenge.as_ref().map(|c| c.id));
        Ok(asked(&then) == asked(&live.call))
    }

    /// Whether a call has come as far as this step: what was never asked cannot be answered.
    pub async fn has_come_to(&self, id: CallId, n: u64) -> Result<bool, RunError> {
        // Another node may be ahead of this one; of the record nobody is.
        match self.call(id).await? {
            Some(live) if live.call.n < n => Ok(self.events(id).await?.last().is_some_and(|last| last.n >= n)),
            _ => Ok(true),
        }
    }

    /// The stored answer of a command that was taken before.
    pub async fn repeated(&self, command: String) -> Result<Option<Reply>, RunError> {
        let stored = self.store.reply(&command).await?;
        Ok(stored.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
    }

    /// Steps until nothing is asked any more.
    async fn turn(&self, mut call: Call, first: Input, refused: &[Deny], line: &Line) -> Result<Turned, RunError> {
        let mut whole = Outputs::default();
        let (mut docs, mut consulted) = (Vec::new(), Consulted::default());
        let mut input = first;
        // One set for the whole turn; the commit asserts that it is still the active one.
        let policies = self.policies.active();
        loop {
            let now = self.now();
            let (principal, subject) = self.briefs(&call, now, &mut consulted).await?;
            let cx = Cx {
                now, seed: self.vault.seed()?, policy: policies.policy.as_ref(), pepper: &self.vault.pepper, params: &self.params,
                principal: principal.as_ref(), subject: subject.as_ref(), refused,
            };
            let mut out = Outputs::default();
            call = call.step(input, &cx, &mut out)?;
            whole.events.append(&mut out.events);
            whole.effects.append(&mut out.effects);
            whole.guards.append(&mut out.guards);
            whole.say.append(&mut out.say);
            match out.ask {
                None => {
                    // Found before the first step, by whoever took the call.
                    for account in [call.subject, call.principal] {
                        self.consult(account, &mut consulted).await?;
                    }
                    return Ok(Turned { after: call, out: whole, docs, policies, consulted });
                }
                Some(Ask::History { number, account, started, dialled }) => {
                    let history = seen::history(self, call.id, number, account, started, line).await?;
                    input = Input::Answer(Answer::History { history, dialled });
                }
                Some(ask) => input = Input::Answer(self.answer(ask, now, &mut docs, &mut consulted).await?),
            }
        }
    }

    async fn briefs(&self, call: &Call, now: Timestamp, consulted: &mut Consulted) -> Result<(Option<Brief>, Option<Brief>), RunError> {
        let principal = self.consult(call.principal, consulted).await?.map(|l| l.profile.brief(now));
        let subject = if call.subject == call.principal { principal.clone() } else { self.consult(call.subject, consulted).await?.map(|l| l.profile.brief(now)) };
        Ok((principal, subject))
    }

    /// A profile that the step will rest on.
    async fn consult(&self, account: Option<AccountId>, consulted: &mut Consulted) -> Result<Option<Arc<Loaded>>, RunError> {
        let Some(account) = account else { return Ok(None) };
        let loaded = self.directory.load(account).await?;
        consulted.add(account, loaded.as_ref().map_or(0, |l| l.version));
        Ok(loaded)
    }

    async fn answer(&self, ask: Ask, now: Timestamp, docs: &mut Vec<DocWrite>, consulted: &mut Consulted) -> Result<Answer, RunError> {
        Ok(match ask {
            Ask::Find { claim: Claim { kind, value, via }, purpose } => {
                let (found, look_alike) = self.directory.find_loaded(kind, value.expose()).await?;
                let accounts = found.into_iter().map(|l| {
                    consulted.add(l.profile.id, l.version);
                    l.profile.brief(now)
                }).collect();
                Answer::Found { kind, via, purpose, accounts, look_alike }
            }
            Ask::Compare { account, field, value } => {
                let loaded = self.consult(Some(account), consulted).await?;
                Answer::Compared { field, matched: loaded.is_some_and(|l| Directory::equals(&l.profile, field, value.expose())) }
            }
            Ask::Verify { account, authenticator, kind, presented } => Answer::Verified(match self.consult(Some(account), consulted).await? {
                Some(loaded) => self.verify(&loaded, authenticator, kind, presented, now).await?,
                None => Verdict::Wrong,
            }),
            Ask::Redeem { code } => {
                let slot = self.vault.service_slot(&code).0;
                let found = self.store.doc("service", &slot).await?;
                let Some(doc) = found else { return Ok(Answer::Redeemed { verdict: Verdict::Wrong, account: None }) };
                let live: ServiceCode = self.vault.unseal("service", &slot, &doc.body)?;
                let verdict = factor::redeem(&live, &hex::encode(slot), now);
                if matches!(verdict, Verdict::Proven { .. }) {
                    docs.push(DocWrite::Delete { kind: "service", id: slot.to_vec() });
                    docs.push(DocWrite::Delete { kind: "service-shown", id: live.account.0.to_vec() });
                }
                Answer::Redeemed { verdict, account: self.consult(Some(live.account), consulted).await?.map(|l| l.profile.brief(now)) }
            }
            Ask::VoiceTake { call, account, taken, held, until, sound } => self.voice_take(voice::Taken { call, account, taken, held, until, sound }, docs).await?,
            Ask::VoiceCompare { call, account, learn, sound } => self.voice_compare(call, account, learn, sound, docs).await?,
            Ask::VoiceDigits { call, account, row, learning, seed, sound } => self.voice_digits(voice_digits::Said { call, account, row, learning, seed, sound }, docs).await?,
            // Answered where the line is known.
            Ask::History { dialled, .. } => Answer::History { history: History::default(), dialled },
            Ask::Attest { transaction, kind, presented } => {
                let attestor = self.attestors.lock().unwrap_or_else(PoisonError::into_inner).get(&kind).cloned();
                let attested = match attestor {
                    Some(attestor) => attestor.attest(self, &transaction, &presented, docs).await?,
                    None => None,
                };
                Answer::Verified(factor::check_attested(&transaction, attested))
            }
        })
    }

    /// Judges a secret against an authenticator of an account.
    pub async fn verify(&self, loaded: &Loaded, id: AuthenticatorId, kind: FactorKind, presented: Secret, now: Timestamp) -> Result<Verdict, RunError> {
        let account = loaded.profile.id;
        let Some(found) = authenticator(&loaded.profile, id, kind) else { return Ok(Verdict::Wrong) };
        let owner = Owner { account, authenticator: id };
        match found.material.clone() {
            Material::Otp(otp) => {
                let last = self.store.step(&step_key(id)).await?;
                Ok(factor::check_otp(owner, kind, &otp, last, &presented, now))
            }
            Material::Word { real, duress } => {
                let vault = self.vault.clone();
                self.hash(move || factor::check_word(owner, kind, &real, &duress, &presented, &vault.pepper)).await
            }
            Material::Codes { codes, .. } => Ok(factor::check_backup(owner, &codes, &presented, &self.vault.pepper)),
            // They sign; nothing that is keyed or said is one of them.
            Material::Passkey { .. } | Material::Provider { .. } => Ok(Verdict::Wrong),
        }
    }

    /// Computes password hashes aside, a few at a time: a flood waits instead of taking the machine.
    pub(crate) async fn hash<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, RunError> {
        let _permit = self.hashing.acquire().await.map_err(|_| RunError::Busy)?;
        tokio::task::spawn_blocking(job).await.map_err(|_| RunError::Busy)
    }

    async fn reply(&self, turned: &Turned) -> Result<Reply, RunError> {
        let call = &turned.after;
        let lang = call.language();
        let mut directives: Vec<Directive> = turned.out.say.iter().cloned().map(|prompt| Directive::Say { prompt, lang }).collect();
        directives.extend(self.directives(call).await?);
        Ok(Reply { n: call.n, directives })
    }

    /// What the telephone of a call should be doing now.
    pub async fn directives(&self, call: &Call) -> Result<Vec<Directive>, RunError> {
        let subject = self.directory.brief(call.subject, self.now()).await?;
        let access = subject.as_ref().map(|b| b.access).unwrap_or_default();
        Ok(call.directives(speakable_upcoming(call, subject.as_ref(), self.policy().as_ref()), access))
    }

    async fn commit_of(&self, live: &Live, turned: &Turned, command: String, reply: &Reply) -> Result<(Commit, Vec<Deny>), RunError> {
        let (now, call) = (self.now(), &turned.after);
        let mut commit = Commit { now: now.0, command: Some(command), reply: serde_json::to_vec(reply)?, ..Commit::default() };
        // Before any of them is written by this very commit.
        commit.docs.extend(turned.consulted.still());
        commit.docs.extend(turned.docs.iter().cloned());
        commit.notes = Self::notes(&live.call, call);
        let mut denials = Vec::new();
        for guard in &turned.out.guards {
            denials.push(guard.deny);
            commit.guards.push(stored_guard(&guard.check, now));
        }
        if !turned.out.events.is_empty() {
            let encode = |r: &Recorded| Event::encode(r).map(|body| NewEvent { at: r.at.0, body });
            let events = turned.out.events.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
            commit.appends.push(Append { stream: Stream { kind: record::CALL, id: call.id.0 }, expected: live.call.n, events });
            self.keep_line(live, call, &mut commit);
            // Takes are kept from one to the next, and not a moment longer.
            let takes = |call: &Call| call.voice.enrolling.is_some() || call.voice.saying.is_some();
            if takes(&live.call) && (!takes(call) || live.call.voice.enrolling.is_some() && call.voice.enrolling.is_none()) {
                commit.docs.push(voice::forget_takes(call.id));
            }
        }
        // In a box: every step of a call comes by, and hardly any marks it.
        Box::pin(voice_undo::write(self, &live.call, call, &mut commit)).await?;
        seen::write(self, &live.call, call, &live.line, &mut commit);
        intel::write(self, live.call.n, call, &mut commit)?;
        commit.appends.push(turned.policies.still());
        effects::write(self, &live.call, call, &turned.out, &mut commit).await?;
        ping::write(self, call, &turned.out.events, &mut commit).await?;
        Ok((commit, denials))
    }

    /// The call's own record: present and due while it lives, in the lists when it is over.
    fn keep_line(&self, live: &Live, call: &Call, commit: &mut Commit) {
        let id = call.id.0.to_vec();
        match call.ended {
            None => {
                let due = call.deadline(&self.params).map(|at| at.0);
                commit.docs.push(DocWrite::Put { kind: record::CALL, id, expected: Expect::Any, body: live.sealed.clone(), due });
            }
            Some((_, at)) if live.call.ended.is_none() => {
                commit.docs.push(DocWrite::Delete { kind: record::CALL, id });
                commit.docs.push(DocWrite::Put { kind: "ended", id: newest_first(at, call.id.0), expected: Expect::Any, body: Vec::new(), due: None });
            }
            Some(_) => {}
        }
        // Which calls ask an account for an approval, for its portal.
        let asks = |call: &Call| call.principal.filter(|_| call.challenge.as_ref().is_some_and(|c| c.kind.is_portal()));
        let (was, is) = (asks(&live.call), asks(call));
        if was != is {
            commit.index.extend(was.map(|account| IndexWrite::Remove { space: APPROVALS, key: account.0, id: call.id.0 }));
            commit.index.extend(is.map(|account| IndexWrite::Add { space: APPROVALS, key: account.0, id: call.id.0 }));
        }
        for account in [call.subject, call.principal].into_iter().flatten() {
            if live.call.subject != Some(account) && live.call.principal != Some(account) {
                commit.index.push(IndexWrite::Add { space: "calls", key: account.0, id: call.id.0 });
            }
        }
    }

    async fn committed(&self, before: &Call, turned: &Turned) {
        for effect in &turned.out.effects {
            if let Effect::Change(change) = effect {
                self.directory.forget(change.account);
            }
            if let Effect::Alert(_) = effect {
                self.hub.tell(Notice::Alert);
            }
        }
        if before.fraud != turned.after.fraud {
            // Whoever it touched, at any time of the call.
            self.directory.forget_all();
        }
        self.metrics.took(before, &turned.after, &turned.out.events);
        if !turned.out.events.is_empty() {
            for account in calls::accounts(before, &turned.after) {
                self.hub.tell_account(account);
            }
        }
        self.hub.tell(Notice::Call(turned.after.id));
    }

    async fn push(&self, call: &Call, line: &Line, reply: Reply) {
        if let Some(telephone) = self.hub.telephone(&call.adapter) {
            telephone.push(call, line, reply).await;
        }
    }

    /// Wakes the calls whose time has come. Returns how many moved.
    pub async fn tick(&self) -> Result<usize, RunError> {
        let now = self.now();
        let due = self.store.docs_due(record::CALL, now.0, 200).await?;
        let mut moved = 0;
        for (id, doc) in due {
            let Ok(id) = <[u8; 16]>::try_from(id.as_slice()) else { continue };
            let command = format!("tick/{}/{}", CallId(id), doc.version);
            match self.run(CallId(id), command, || Input::Tick).await {
                Ok(_) => moved += 1,
                Err(e) => tracing::warn!(call = %CallId(id), error = %e, "a call could not be woken"),
            }
        }
        Ok(moved)
    }
}

/// Sorts newest first under a store that pages upwards.
pub fn newest_first(at: Timestamp, id: [u8; 16]) -> Vec<u8> {
    let inverted = u64::MAX - u64::try_from(at.0).unwrap_or(0);
    [&inverted.to_be_bytes()[..], &id].concat()
}

/// Under which name the count or time step of an authenticator is kept.
pub fn step_key(id: AuthenticatorId) -> String { format!("step/{id}") }

/// A guard of the machine in the words of the store.
pub fn stored_guard(check: &Check, now: Timestamp) -> Guard {
    match check {
        Check::Attempt { key, window, max, outcome } => Guard::Attempt {
            key: key.clone(), window: window.map(|w| w.0), max: *max,
            outcome: match outcome {
                Attempt::Failed => Outcome::Fail,
                Attempt::Succeeded => Outcome::Success,
                Attempt::Neutral => Outcome::Check,
            },
        },
        Check::Step { authenticator, value } => Guard::Step { key: step_key(*authenticator), value: *value },
        Check::Once { key, forever } => Guard::Once { key: key.clone(), expires: (!forever).then(|| now.0 + REMEMBER_ONCE) },
    }
}
