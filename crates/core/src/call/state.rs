//! The state of a call: the fold of its events.

use serde::{Deserialize, Serialize};

use super::{event::{Event, LevelCause, Recorded}, stage::{Ending, Origin, Queue, Stage}};
use crate::{
    account::Brief,
    action::{Action, Actor, Decision, DelegateFacts, Facts, Field, Level, Policy, Role, Verb},
    claim::{ClaimKind, Via},
    factor::{Alphabet, CodeHash, FactorKind},
    id::{AccountId, AgentId, AuthenticatorId, CallId, ChallengeId, ContactId, DelegationId, MessageId},
    identify::ClaimRecord,
    message::Delivery,
    prompt::{Lang, Music},
    risk::{Band, Contribution, Route, Routes, Signals, Verstat},
    secret::Blind,
    time::Timestamp,
    voice,
};

/// A code that was given out on this call, for whoever types it in the portal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Names the code: see [`crate::factor::Pepper::travel_code`].
    pub id: ChallengeId,
    /// What it is written in.
    pub alphabet: Alphabet,
    /// From when on it is worth nothing.
    pub expires: Timestamp,
}

/// An open challenge: one use of one authenticator on this call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Which one.
    pub id: ChallengeId,
    /// What kind of factor.
    pub kind: FactorKind,
    /// Which authenticator.
    pub authenticator: AuthenticatorId,
    /// Where the code went, if one was sent.
    pub contact: Option<ContactId>,
    /// The code, hashed with the pepper.
    pub hash: Option<CodeHash>,
    /// The message that carries it.
    pub message: Option<MessageId>,
    /// No entry counts from then on.
    pub expires: Timestamp,
    /// Entries left.
    pub left: u8,
    /// What it is for.
    pub action: Option<Action>,
    /// Factors to ask for after this one.
    pub then: Vec<FactorKind>,
    /// The agent who asked and stays reserved; `None`: the caller is alone with the machine.
    pub agent: Option<AgentId>,
    /// It is said to a recogniser, not to the agent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spoken: bool,
}

impl Challenge {
    /// Whether it is answered to the telephone's machine, so that an agent neither hears nor types it.
    pub fn is_to_machine(&self) -> bool { self.kind.is_keyed() || self.spoken }
}

/// A proof as the call remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    /// What kind.
    pub kind: FactorKind,
    /// Which authenticator.
    pub authenticator: AuthenticatorId,
    /// When.
    pub at: Timestamp,
    /// What the challenge was for. A passkey signed this, and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
}

/// The caller speaks for somebody else by this permission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeaksFor {
    /// By which delegation.
    pub delegation: DelegationId,
    /// What kind.
    pub kind: String,
    /// For which actions.
    pub actions: Vec<Action>,
}

/// A call. Every field is written by [`Call::apply`] alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Which one.
    pub id: CallId,
    /// How many events there are.
    pub n: u64,
    /// When it came in.
    pub started: Timestamp,
    /// When something last happened.
    pub updated: Timestamp,
    /// Which adapter holds the telephone.
    pub adapter: String,
    /// Keyed hash of the calling number.
    pub number: Option<Blind>,
    /// Who began it.
    #[serde(default)]
    pub origin: Origin,
    /// The network's word on it.
    pub verstat: Verstat,
    /// The number is on the deny list.
    pub denied: bool,
    /// Where the caller is.
    pub stage: Stage,
    /// The language in use, once chosen.
    pub lang: Option<Lang>,
    /// The hold music, once chosen.
    pub music: Option<Music>,
    /// How often in a row nothing was keyed.
    pub silences: u8,
    /// A recogniser was tried and did not help: from then on a word is said to the agent.
    #[serde(default)]
    pub words_to_agent: bool,
    /// The claims that count.
    pub claims: Vec<ClaimRecord>,
    /// How many claims pointed somewhere else.
    pub contradictions: u32,
    /// How many claims and comparisons fitted nothing, or somebody else while an account was open.
    pub misses: u32,
    /// Whose account this call is about.
    pub subject: Option<AccountId>,
    /// Who is speaking: the account whose authenticators are challenged.
    pub principal: Option<AccountId>,
    /// Two independent claims agree on whose account it is.
    pub agreed: bool,
    /// The account was open at some time, or something of it was seen or done. From then on only
    /// giving it up moves the call to another.
    pub settled: bool,
    /// The number pointed at another account, which was set aside.
    pub number_set_aside: bool,
    /// Set when the caller speaks for somebody else.
    pub delegate: Option<SpeaksFor>,
    /// The caller confirmed what was hinted at.
    pub intent: bool,
    /// The open challenge.
    pub challenge: Option<Challenge>,
    /// The code that was given out.
    pub link: Option<Link>,
    /// The message that rings the customer.
    pub ring: Option<MessageId>,
    /// The customer says that they are not on this call.
    pub disowned: bool,
    /// Kinds that were tried and not proved; not offered again by the machine.
    pub tried: Vec<FactorKind>,
    /// Proofs that are still fresh.
    pub proofs: Vec<Proven>,
    /// Present assurance.
    pub level: Level,
    /// Until when.
    pub level_expires: Option<Timestamp>,
    /// The policies that gave it.
    pub level_policies: Vec<String>,
    /// Wrong entries on this call.
    pub failures: u32,
    /// Risk, 0 to 100.
    pub risk: u8,
    /// What it is made of.
    pub risk_parts: Vec<Contribution>,
    /// Where it leads.
    #[serde(default)]
    pub route: Route,
    /// Nothing follows from it.
    #[serde(default)]
    pub shadow: bool,
    /// What came to be known from elsewhere.
    #[serde(default)]
    pub signals: Signals,
    /// What is known of the voice.
    #[serde(default)] pub voice: voice::State,
    /// The lead says that it was fraud.
    #[serde(default)]
    pub fraud: bool,
    /// In which queue the caller waits or waited last.
    pub queue: Option<Queue>,
    /// Since when the caller waits.
    pub waiting_since: Option<Timestamp>,
    /// Who has the call.
    pub agent: Option<(AgentId, Role)>,
    /// Somebody had the call and handed it on: the score alone does not end it any more.
    pub handed_over: bool,
    /// Comparisons on this call, oldest first.
    pub compared: Vec<(Field, bool)>,
    /// Fields the present agent has looked at.
    pub revealed: Vec<Field>,
    /// The last answer of policy for each action that was asked about.
    pub decisions: Vec<(Action, Decision)>,
    /// What was carried out, with whether it only looks so.
    pub performed: Vec<(Action, bool)>,
    /// Actions for which the way online was sent.
    pub sent_online: Vec<Action>,
    /// The account was frozen during the call.
    pub frozen: bool,
    /// The duress word was used.
    pub duress: bool,
    /// How the challenge's message fared.
    pub delivery: Option<Delivery>,
    /// Why the last challenge ended without a proof.
    pub last_closed: Option<super::event::Closed>,
    /// How and when it ended.
    pub ended: Option<(Ending, Timestamp)>,
}

impl Call {
    /// A call of which nothing has happened yet.
    pub fn new(id: CallId) -> Self {
        Self {
            id, n: 0, started: Timestamp(0), updated: Timestamp(0), adapter: String::new(), number: None, origin: Origin::Caller,
            verstat: Verstat::None, denied: false, stage: Stage::Ringing, lang: None, music: None, silences: 0, words_to_agent: false,
            claims: Vec::new(), contradictions: 0, misses: 0, subject: None, principal: None, agreed: false, settled: false,
            number_set_aside: false, delegate: None, intent: false, challenge: None, link: None, ring: None, disowned: false, tried: Vec::new(),
            proofs: Vec::new(), level: Level::Anonymous, level_expires: None, level_policies: Vec::new(), failures: 0,
            risk: 0, risk_parts: Vec::new(), route: Route::Agent, shadow: false, signals: Signals::default(), voice: voice::State::default(), fraud: false, queue: None, waiting_since: None, agent: None, handed_over: false, compared: Vec::new(),
            revealed: Vec::new(), decisions: Vec::new(), performed: Vec::new(), sent_online: Vec::new(),
            frozen: false, duress: false, delivery: None, last_closed: None, ended: None,
        }
    }

    /// The state after these events: the only way to read a call back from the store.
    pub fn fold<'a>(id: CallId, events: impl IntoIterator<Item = &'a Recorded>) -> Self {
        events.into_iter().fold(Self::new(id), |mut call, recorded| {
            call.apply(recorded);
            call
        })
    }

    /// Takes one event in. Total: every event has an effect on every state.
    pub fn apply(&mut self, recorded: &Recorded) {
        self.n = recorded.n;
        self.updated = recorded.at;
        // What is no sign of life from the caller does not break a row of silences.
        if !matches!(recorded.event, Event::Silence | Event::RiskScored { .. } | Event::Signalled { .. } | Event::Marked { .. } | Event::Asked { .. } | Event::Delivered { .. } | Event::AccountFrozen | Event::LevelChanged { .. }) {
            self.silences = 0;
        }
        match &recorded.event {
            Event::Started { adapter, number, verstat, denied, origin } => {
                self.started = recorded.at;
                self.origin.clone_from(origin);
                self.adapter.clone_from(adapter);
                self.number = *number;
                self.verstat = *verstat;
                self.denied = *denied;
                match origin {
                    Origin::Caller => {}
                    Origin::Client(_) => self.stage = Stage::Remote,
                    Origin::CallBack(_) | Origin::RingBack { .. } => self.stage = Stage::Dialing,
                    Origin::Desk { agent, role, .. } => {
                        self.agent = Some((*agent, *role));
                        self.stage = Stage::Dialing;
                    }
                }
            }
            Event::Asked { stage } => self.stage = *stage,
            Event::Silence => self.silences = self.silences.saturating_add(1),
            Event::LanguageChosen { lang } => self.lang = Some(*lang),
            Event::MusicChosen { music } => self.music = Some(*music),
            Event::IntentConfirmed => self.intent = true,
            Event::Claimed { claim } => self.claimed(claim),
            Event::Contradicted { .. } => {
                // It tells that somebody else is a customer: as good a guess as one that fits nobody.
                self.contradictions += 1;
                self.misses += 1;
            }
            Event::Identified { account, agreed, instead_of } => {
                (self.subject, self.principal, self.agreed) = (Some(*account), Some(*account), *agreed);
                self.settled |= *agreed;
                let elsewhere = |c: &ClaimRecord| !c.accounts.is_empty() && !c.accounts.contains(account);
                self.number_set_aside |= self.claims.iter().any(|c| c.via == Via::Network && elsewhere(c));
                self.claims.retain(|c| !elsewhere(c));
                if instead_of.is_some() {
                    self.forget();
                    self.tried.clear();
                    self.intent = false;
                }
            }
            Event::Switched { .. } => {
                self.claims.retain(|c| c.kind == ClaimKind::Number && c.accounts.is_empty());
                (self.subject, self.principal, self.agreed, self.delegate) = (None, None, false, None);
                // Both belong to the account that is given up; the next one is looked at afresh.
                (self.settled, self.frozen) = (false, false);
                self.proofs.clear();
                self.forget();
                self.tried.clear();
                self.intent = false;
            }
            Event::SpeaksFor { subject, delegation, kind, actions } => {
                self.subject = Some(*subject);
                self.delegate = Some(SpeaksFor { delegation: *delegation, kind: kind.clone(), actions: actions.clone() });
                // The claims agree on who is speaking. What opens this account is the proof.
                self.agreed = false;
                self.forget();
            }
            Event::SpeakRefused { .. } => self.misses += 1,
            Event::Challenged { challenge } => {
                if challenge.is_to_machine() {
                    self.stage = Stage::Proving;
                } else if challenge.kind.is_elsewhere() && self.stage != Stage::Remote && self.agent.is_none() {
                    self.stage = Stage::Approving;
                }
                self.challenge = Some(challenge.clone());
                (self.delivery, self.last_closed) = (None, None);
            }
            Event::LinkOpened { link } => {
                self.link = Some(link.clone());
                if self.stage != Stage::Remote && self.agent.is_none() {
                    self.stage = Stage::Linking;
                }
            }
            Event::LinkClosed { why } => {
                self.link = None;
                self.last_closed = Some(*why);
            }
            Event::Disowned { .. } => {
                self.disowned = true;
                self.proofs.clear();
                self.revealed.clear();
                self.decisions.clear();
            }
            Event::Rang { message } => self.ring = Some(*message),
            Event::Answered => self.stage = Stage::Confirming,
            Event::ChallengeFailed { left, .. } => {
                self.failures += 1;
                if let Some(challenge) = &mut self.challenge {
                    challenge.left = *left;
                }
            }
            Event::ChallengeClosed { why, .. } => {
                if let Some(challenge) = self.challenge.take() {
                    self.words_to_agent |= challenge.spoken;
                    self.tried.push(challenge.kind);
                }
                self.last_closed = Some(*why);
            }
            Event::FactorUnavailable { kind } => {
                self.tried.push(*kind);
                self.last_closed = Some(super::event::Closed::Throttled);
            }
            Event::ServiceCodeFailed => {
                self.failures += 1;
                self.tried.push(FactorKind::ServiceCode);
            }
            Event::ServiceCodeThrottled => self.tried.push(FactorKind::ServiceCode),
            Event::Proved { authenticator, kind, duress, fresh_from, challenge, .. } => {
                let action = self.challenge.take().filter(|c| Some(c.id) == *challenge).and_then(|c| c.action);
                self.link = None;
                self.settled = true;
                self.duress |= *duress;
                self.proofs.retain(|p| p.at >= *fresh_from && (p.authenticator != *authenticator || p.kind != *kind));
                self.proofs.push(Proven { kind: *kind, authenticator: *authenticator, at: recorded.at, action });
            }
            Event::LevelChanged { level, expires, cause, policies } => {
                (self.level, self.level_expires) = (*level, *expires);
                self.level_policies.clone_from(policies);
                if *cause == LevelCause::Expiry {
                    self.proofs.clear();
                    self.revealed.clear();
                    self.decisions.clear();
                }
            }
            Event::Delivered { message, delivery } => {
                if self.challenge.as_ref().is_some_and(|c| c.message == Some(*message)) || self.ring == Some(*message) {
                    self.delivery = Some(*delivery);
                }
            }
            Event::RiskScored { score, parts, route, shadow } => {
                (self.risk, self.shadow) = (*score, *shadow);
                self.route = route.unwrap_or_else(|| Routes::default().of(*score));
                self.risk_parts.clone_from(parts);
            }
            Event::Signalled { history, number } => {
                if let Some(history) = history {
                    self.signals.history = Some(history.clone()).filter(|h| !h.is_quiet());
                }
                if let Some(number) = number {
                    self.signals.number = Some(number.clone());
                }
            }
            voice @ (Event::VoiceOffered { .. } | Event::VoiceConsented { .. } | Event::VoiceTake { .. } | Event::VoiceEnrolled { .. } | Event::VoiceAsked { .. }
            | Event::VoiceCompared { .. } | Event::VoiceStopped { .. } | Event::VoiceRemoved { .. }) => self.apply_voice(voice),
            digits @ (Event::DigitsAsked { .. } | Event::DigitsTake { .. } | Event::DigitsKept { .. } | Event::DigitsChecked { .. }) => self.apply_digits(digits),
            Event::Marked { fraud, .. } => self.fraud = *fraud,
            Event::Queued { queue, .. } => self.wait(*queue, recorded.at),
            Event::Accepted { agent, role } => {
                self.agent = Some((*agent, *role));
                self.stage = Stage::Talking;
                self.waiting_since = None;
            }
            Event::Compared { field, matched, .. } => {
                self.compared.push((*field, *matched));
                self.misses += u32::from(!*matched);
            }
            Event::CompareThrottled { .. } => self.misses = super::MAX_MISSES,
            Event::Revealed { field, .. } => {
                self.settled = true;
                self.revealed.push(*field);
            }
            Event::Decided { action, decision, .. } => {
                self.decisions.retain(|(known, _)| known != action);
                self.decisions.push((action.clone(), decision.clone()));
            }
            Event::Performed { action, held, .. } => {
                self.settled = true;
                // The freeze that came in mid call ends with the account's.
                self.frozen &= *held || action.object != "end_freeze";
                self.performed.push((action.clone(), *held));
            }
            Event::SentOnline { action } => self.sent_online.push(action.clone()),
            Event::HandedOver { queue, .. } => {
                self.handed_over = true;
                self.wait(*queue, recorded.at);
            }
            Event::AccountFrozen => self.frozen = true,
            Event::SummarySent { .. } => {}
            Event::Ended { ending } => {
                self.stage = Stage::Ended;
                self.challenge = None;
                self.link = None;
                self.revealed.clear();
                self.ended = Some((*ending, recorded.at));
            }
            // Nobody goes on with a call of which something was taken away.
            Event::Redacted { .. } => self.stage = Stage::Ended,
        }
    }

    fn claimed(&mut self, claim: &ClaimRecord) {
        let fits = !claim.accounts.is_empty();
        if !fits && claim.via != Via::Network {
            self.misses += 1;
        }
        if let Some(subject) = self.subject
            && fits
            && !claim.accounts.contains(&subject)
        {
            self.contradictions += 1;
        }
        // The latest word on each kind counts: saying it again is a correction, not a second claim.
        // What the network signalled is nobody's word, and is not corrected by saying another number.
        let network = |via| via == Via::Network;
        self.claims.retain(|known| known.kind != claim.kind || network(known.via) != network(claim.via));
        self.claims.push(claim.clone());
    }

    /// The call moved to another account: what was seen, asked and done belongs to the one before.
    fn forget(&mut self) {
        self.forget_voice();
        self.revealed.clear();
        self.decisions.clear();
        self.compared.clear();
        self.performed.clear();
        self.sent_online.clear();
    }

    fn wait(&mut self, queue: Queue, at: Timestamp) {
        // Whoever waits already does not go to the end of another queue.
        let since = self.waiting_since.filter(|_| self.stage == Stage::Waiting).unwrap_or(at);
        (self.queue, self.waiting_since) = (Some(queue), Some(since));
        self.stage = Stage::Waiting;
        self.agent = None;
        // What one agent may see is not what the next has looked at.
        self.revealed.clear();
    }

    /// Whether the account may be opened at all: two independent claims agree, or the caller
    /// proved to be its holder.
    pub fn opened(&self) -> bool { self.subject.is_some() && (self.agreed || self.level >= Level::Authenticated) }

    /// The score that routes and policy go by: none in shadow mode, unless the number is on the deny
    /// list, which is somebody's decision.
    pub fn acting_risk(&self) -> u8 { if self.shadow && !self.denied { 0 } else { self.risk } }

    /// Where the score leads, as far as anything follows from it.
    pub fn acting_route(&self) -> Route { if self.shadow && !self.denied { Route::Agent } else { self.route } }

    /// How a screen shows where the score leads.
    pub fn band(&self) -> Band { self.route.into() }

    /// A person has it, or had it and handed it on: people decide from then on.
    pub(super) fn with_people(&self) -> bool { self.agent.is_some() || self.handed_over }

    /// The language to speak.
    pub fn language(&self) -> Lang { self.lang.unwrap_or_default() }

    /// What policy may know of this call when asked about `action`.
    pub fn facts(&self, subject: Option<&Brief>, action: &Action) -> Facts {
        Facts {
            level: self.level,
            opened: self.opened(),
            claims: self.claims.iter().filter(|c| self.subject.is_some_and(|s| c.accounts.contains(&s))).map(|c| c.kind).collect(),
            proofs: self.proof_kinds(),
            risk: i64::from(self.acting_risk()),
            frozen: self.frozen || subject.is_some_and(|b| b.frozen),
            phone_lock: subject.is_some_and(|b| b.phone_lock),
            duress: self.duress,
            delegate: self.delegate.as_ref().map(|d| DelegateFacts { kind: d.kind.clone(), covers: d.actions.contains(action) }),
            stronger_set_up: false, with_reason: false,
            voice: self.voice.last.map(voice::Outcome::likeness).unwrap_or_default(),
        }
    }

    /// The same for a decision about `action`. A signature is over one action: for a change, or
    /// anything else that is done, a passkey counts only if it signed this very one. Whoever had
    /// the customer sign something harmless has not got the rest signed with it.
    pub fn facts_for(&self, policy: &dyn Policy, actor: Actor, subject: Option<&Brief>, action: &Action) -> Facts {
        let facts = self.facts(subject, action);
        let counts = |p: &Proven| p.kind != FactorKind::Passkey || p.action.as_ref() == Some(action);
        if facts.level < Level::Strong || !matches!(action.verb, Verb::Change | Verb::Do) || self.proofs.iter().all(counts) {
            return facts;
        }
        let facts = Facts { proofs: kinds(self.proofs.iter().filter(|p| counts(p))), ..facts };
        // Who proves is the caller themselves, whoever they speak for.
        let (level, _) = policy.level(actor, &Facts { delegate: None, ..facts.clone() });
        Facts { level: level.max(Level::Authenticated), ..facts }
    }

    /// Kinds of factors proved and still fresh, each once.
    pub fn proof_kinds(&self) -> Vec<FactorKind> { kinds(self.proofs.iter()) }

    /// When the machine wants to be woken: the earliest time at which something ends by itself.
    pub fn deadline(&self, params: &super::Params) -> Option<Timestamp> {
        if self.stage == Stage::Ended {
            return None;
        }
        let open = [self.challenge.as_ref().map(|c| c.expires), self.link.as_ref().map(|l| l.expires)];
        [self.patience(params), self.level_expires].into_iter().chain(open).flatten().min()
    }

    /// When the call itself ends if nothing happens. Never over the head of an agent who has it.
    pub(super) fn patience(&self, params: &super::Params) -> Option<Timestamp> {
        match self.stage {
            Stage::Waiting => self.waiting_since.map(|since| since + params.longest_wait),
            Stage::Talking | Stage::Ended => None,
            Stage::Dialing | Stage::Confirming => Some(self.updated + params.longest_silence),
            // Who is asked elsewhere has until the question's own end.
            Stage::Approving | Stage::Linking | Stage::Remote if self.challenge.is_some() || self.link.is_some() => None,
            _ if self.agent.is_some() => None,
            _ => Some(self.updated + params.longest_silence),
        }
    }

    /// The level that an expired one falls back to.
    pub(super) fn fallen(&self) -> Level {
        if self.subject.is_some() { Level::Identified } else { Level::Anonymous }
    }

    /// The call as it is at `now`: assurance ends with its time, whether or not the clock has come by.
    pub(crate) fn as_of(&self, now: Timestamp) -> std::borrow::Cow<'_, Self> {
        if self.ended.is_some() || self.level_expires.is_none_or(|at| at > now) {
            return std::borrow::Cow::Borrowed(self);
        }
        let mut call = self.clone();
        let event = Event::LevelChanged { level: self.fallen(), expires: None, cause: LevelCause::Expiry, policies: Vec::new() };
        call.apply(&Recorded { v: super::EVENT_VERSION, n: self.n, at: self.updated, event });
        std::borrow::Cow::Owned(call)
    }
}

fn kinds<'a>(proofs: impl Iterator<Item = &'a Proven>) -> Vec<FactorKind> {
    let mut kinds: Vec<FactorKind> = proofs.map(|p| p.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}
