//! The shell around the machine: one call, a store of limits in memory, an outbox, and the loop.
//! After every commit the promises that must hold whatever happens are checked ([`Shell::holds`]).

mod holds;

use std::collections::{HashMap, HashSet};

use countersign_core::{
    account::{Brief, Material, Profile},
    action::{Level, Role},
    call::{
        Alert, Answer, Approval, Ask, Attempt, Call, Check, Command, Cx, Deny, Effect, Ending, Event, Guard, Input, LevelCause, Outputs,
        Params, Queue, Recorded, Rejected, Stage, speakable_upcoming,
    },
    claim::{Claim, ClaimKind},
    factor::{self, Alphabet, Attested, FactorKind, Owner, Pepper, ServiceCode, Verdict, hotp},
    id::{AccountId, AgentId, AuthenticatorId, CallId, ChallengeId, ContactId, MessageId},
    message::{Body, Change, Delivery, Message},
    prompt::{Directive, Prompt},
    risk::{History, NumberFacts, Verstat},
    secret::Secret,
    speech::Heard,
    time::{Span, Timestamp},
    view::{AgentView, Viewer, agent_view},
    voice::{Checked, Comparison, Fault, Likeness, Outcome, Quality, Sound},
};

use crate::{
    toy::Toy,
    world::{self, START, Who},
};

pub const AGENT: AgentId = AgentId([0xa1; 16]);
pub const OTHER: AgentId = AgentId([0xa2; 16]);
pub const LEAD: AgentId = AgentId([0xa3; 16]);

/// An input that can be given again.
#[derive(Debug, Clone)]
pub enum Do {
    Ring { number: Option<&'static str>, verstat: Verstat, denied: bool },
    Keys(String),
    /// What a recogniser heard, and how sure it is.
    Heard(String, u8),
    NoKeys,
    HungUp,
    /// The caller says something, and this comes of it when it is looked at.
    Recorded(Option<Fault>, Outcome),
    Tick,
    Freeze,
    Desk(AgentId, Role, Command),
    Delivered(MessageId, Delivery),
    /// A program asks for this customer, named by account number.
    Backchannel(&'static str, FactorKind),
    Device,
    CallOut { whom: Who, contact: ContactId, agent: Option<(AgentId, Role)> },
    Answered,
    /// The customer who is signed in answers whatever is asked.
    Approve(Who, Option<ChallengeId>, Reply),
    /// The customer who is signed in types the code of this call, or another.
    Linked(Who, bool),
    Provided(Option<Who>),
    Collected,
    Signals(NumberFacts),
    Mark(Role, bool),
    RingBack(Who, ContactId),
}

/// What a signed-in customer answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Right,
    Wrong,
    /// With their own passkey, over what is asked.
    Signed,
    /// With another's, or over something else.
    Forged,
    Declined,
    NotMe,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Done {
    pub events: Vec<Event>,
    pub effects: Vec<Effect>,
    pub guards: Vec<Guard>,
    pub say: Vec<Prompt>,
    /// The limits that refused it before it went through.
    pub refused: Vec<Deny>,
}

impl Done {
    pub fn has(&self, wanted: impl Fn(&Event) -> bool) -> bool { self.events.iter().any(wanted) }
    pub fn alerted(&self, alert: Alert) -> bool { self.effects.iter().any(|e| matches!(e, Effect::Alert(a) if *a == alert)) }
}

/// Counters, steps and things spent, changed all at once or not at all.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    attempts: HashMap<String, (Timestamp, u32)>,
    steps: HashMap<AuthenticatorId, u64>,
    once: HashSet<String>,
}

impl Limits {
    /// The limits after these guards, or the place of the one that refuses.
    fn judge(&self, guards: &[Guard], now: Timestamp) -> Result<Self, usize> {
        let mut next = self.clone();
        for (place, guard) in guards.iter().enumerate() {
            if !next.take(&guard.check, now) {
                return Err(place);
            }
        }
        Ok(next)
    }

    fn take(&mut self, check: &Check, now: Timestamp) -> bool {
        match check {
            Check::Attempt { key, window, max, outcome } => {
                let row = self.attempts.entry(key.clone()).or_insert((now, 0));
                if window.is_some_and(|w| now - row.0 >= w) {
                    *row = (now, 0);
                }
                if row.1 >= *max {
                    return false;
                }
                match outcome {
                    Attempt::Failed => row.1 += 1,
                    Attempt::Succeeded => row.1 = 0,
                    Attempt::Neutral => {}
                }
                true
            }
            Check::Step { authenticator, value } => {
                let grown = self.steps.get(authenticator).is_none_or(|last| value > last);
                self.steps.insert(*authenticator, *value);
                grown
            }
            Check::Once { key, forever: _ } => self.once.insert(key.clone()),
        }
    }

    /// All failures that are counted anywhere.
    pub fn failures(&self) -> u32 { self.attempts.values().map(|(_, failures)| failures).sum() }

    /// Fills every counter whose key begins so.
    pub fn exhaust(&mut self, key: impl Into<String>, now: Timestamp) { self.attempts.insert(key.into(), (now, u32::MAX)); }
}

pub struct Shell {
    pub now: Timestamp,
    pub call: Call,
    pub params: Params,
    pub profiles: Vec<Profile>,
    pub limits: Limits,
    pub sent: Vec<Message>,
    pub log: Vec<String>,
    /// Memorised secrets are compared in the clear instead of by argon2.
    pub quick: bool,
    pub last: Done,
    seed: u64,
    service: Vec<(String, ServiceCode)>,
    pepper: Pepper,
    /// A code is right only as long as nobody else takes its step first.
    pub race: Option<u64>,
    /// What other calls say.
    pub history: History,
    proved_since: bool,
    ended: u32,
}

impl Shell {
    pub fn new() -> Self {
        Self {
            now: START, call: Call::new(CallId([0xca; 16])), params: Params { voice: Some(world::voices()), ..Params::default() }, profiles: world::profiles(),
            limits: Limits::default(), sent: Vec::new(), log: Vec::new(), quick: false, last: Done::default(), seed: 0,
            service: Vec::new(), pepper: world::pepper(), race: None, history: History::default(), proved_since: false, ended: 0,
        }
    }

    // ── Moving the call ──────────────────────────────────────────────────────────────────────

    /// A call begins; Ana's is greeted in her language, the others are asked.
    pub fn ring(number: Option<&'static str>) -> Self {
        let mut shell = Self::new();
        shell.ok(Do::Ring { number, verstat: Verstat::PassedA, denied: false });
        shell
    }
    pub fn from(who: Who) -> Self { Self::ring(Some(who.phone())) }

    pub fn ok(&mut self, what: Do) -> &Done {
        let shown = format!("{what:?}");
        self.put(what).unwrap_or_else(|why| panic!("{shown}: {why}"));
        &self.last
    }
    pub fn no(&mut self, what: Do) -> Rejected { self.put(what).expect_err("was accepted") }
    pub fn keys(&mut self, keys: &str) -> &Done { self.ok(Do::Keys(keys.into())) }
    pub fn desk(&mut self, command: Command) -> &Done { self.ok(Do::Desk(AGENT, Role::Agent, command)) }
    pub fn no_desk(&mut self, command: Command) -> Rejected { self.no(Do::Desk(AGENT, Role::Agent, command)) }
    pub fn claim(&mut self, kind: ClaimKind, value: &str) -> &Done { self.desk(Command::Claim { kind, value: value.into() }) }
    pub fn prove(&mut self, action: Option<&str>, factors: &[FactorKind]) -> &Done {
        self.desk(Command::Prove { action: action.map(|a| a.parse().unwrap()), factors: factors.to_vec() })
    }
    pub fn wait(&mut self, span: Span) { self.now = self.now + span; }
    pub fn tick_at_deadline(&mut self) -> &Done {
        self.now = self.call.deadline(&self.params).expect("a deadline");
        self.ok(Do::Tick)
    }

    /// From anywhere before the queue to the agent.
    pub fn reach_agent(&mut self) -> &mut Self {
        for _ in 0..8 {
            match self.call.stage {
                Stage::Waiting | Stage::Talking | Stage::Ended => break,
                Stage::Language | Stage::Music => self.keys("1"),
                _ => self.keys("0"),
            };
        }
        let role = if self.call.queue == Some(Queue::Specialists) { Role::Specialist } else { Role::Agent };
        self.ok(Do::Desk(AGENT, role, Command::Accept));
        self
    }

    /// The agent opens the account by two things that the caller says.
    pub fn open(&mut self, who: Who) -> &mut Self {
        self.claim(ClaimKind::AccountNumber, who.number());
        self.claim(ClaimKind::Name, who.name());
        assert_eq!((self.call.subject, self.call.opened()), (Some(who.id()), true));
        self
    }

    /// The caller proves with this factor, asked by the agent.
    pub fn proves(&mut self, kind: FactorKind) -> &mut Self {
        self.prove(None, &[kind]);
        self.answer_rightly();
        self
    }

    /// The right answer to the open challenge.
    pub fn right(&self) -> Option<String> {
        let challenge = self.call.challenge.as_ref()?;
        let who = Who::of(self.call.principal?)?;
        match challenge.kind {
            FactorKind::SmsCode | FactorKind::VoiceCode => self.code_of(challenge.message?),
            FactorKind::Totp => Some(world::totp_at(self.now)),
            FactorKind::Hotp => {
                let next = self.limits.steps.get(&challenge.authenticator).map_or(0, |n| n + 1);
                Some(hotp(&world::otp(None), next)?.expose().to_owned())
            }
            FactorKind::Pin => who.pin().map(str::to_owned),
            FactorKind::VerbalPassword => Some(world::VERBAL.into()),
            FactorKind::BackupCode => Some(world::BACKUP[0].into()),
            FactorKind::ServiceCode | FactorKind::AppCall | FactorKind::Callback | FactorKind::Passkey | FactorKind::Approval | FactorKind::Provider => None,
        }
    }
    pub fn answer_rightly(&mut self) -> &Done {
        let who = self.call.principal.and_then(Who::of);
        match (self.call.challenge.as_ref().map(|c| c.kind), who) {
            (Some(FactorKind::Approval), Some(who)) => return self.ok(Do::Approve(who, None, Reply::Right)),
            (Some(FactorKind::Passkey), Some(who)) => return self.ok(Do::Approve(who, None, Reply::Signed)),
            (Some(FactorKind::Provider), Some(who)) => return self.ok(Do::Provided(Some(who))),
            _ => {}
        }
        let right = self.right().expect("an open challenge");
        if self.call.challenge.as_ref().unwrap().spoken {
            return self.ok(Do::Heard(right, 95));
        }
        if self.call.challenge.as_ref().unwrap().kind.is_keyed() { self.keys(&right) } else { self.desk(Command::Word(right.as_str().into())) }
    }

    /// The code that went out with this message.
    pub fn code_of(&self, message: MessageId) -> Option<String> {
        self.sent.iter().find(|m| m.id == message).and_then(|m| match &m.body {
            Body::Code { code, .. } => Some(code.expose().to_owned()),
            _ => None,
        })
    }
    pub fn codes_sent(&self) -> usize { self.sent.iter().filter(|m| matches!(m.body, Body::Code { .. })).count() }

    /// The portal shows a code to this customer for two minutes.
    pub fn portal_code(&mut self, who: Who) -> String {
        let code = format!("{:02}{:06}", 50 + who as u8, 700_000 + self.service.len() * 37);
        self.service.push((code.clone(), ServiceCode { account: who.id(), expires: self.now + Span::minutes(2), dialled: false }));
        code
    }

    /// The token in the number that the portal dials for this customer.
    pub fn dial_token(&mut self, who: Who) -> String {
        let token = format!("{:02}{:08}", 70 + who as u8, 800_000 + self.service.len() * 37);
        self.service.push((token.clone(), ServiceCode { account: who.id(), expires: self.now + Span::minutes(2), dialled: true }));
        token
    }

    /// The key that the portal shows for a call of ours.
    pub fn key_to_press(&self) -> String { self.pepper.callback_key(self.call.id).to_string() }

    /// The code that was given out on this call.
    pub fn given_code(&self) -> Option<String> {
        let of = |id, alphabet| self.pepper.travel_code(id, alphabet).expose().to_owned();
        let link = self.call.link.as_ref().map(|l| of(l.id, l.alphabet));
        link.or_else(|| self.call.challenge.as_ref().filter(|c| c.kind.is_elsewhere()).map(|c| of(c.id, Alphabet::Known)))
    }

    /// Everything forgotten but the record, as after a restart.
    pub fn restart(&mut self) {
        let events: Vec<Recorded> = self.log.iter().map(|text| Event::decode(text).unwrap()).collect();
        let folded = Call::fold(self.call.id, &events);
        assert_eq!(folded, self.call, "the fold of the record is the call");
        self.call = folded;
    }

    // ── The loop ─────────────────────────────────────────────────────────────────────────────

    fn input(&self, what: &Do) -> Input {
        match what.clone() {
            Do::Ring { number, verstat, denied } => Input::Incoming {
                dialled: number == Some(world::APP_CALL), adapter: "test".into(), number: number.and_then(|n| world::index_key().exact(ClaimKind::Number, n)), verstat, denied,
                accounts: number.map(|n| self.find(ClaimKind::Number, n).0).unwrap_or_default(),
            },
            Do::Keys(text) => Input::Keys(Secret::new(text)),
            Do::Heard(text, confidence) => Input::Heard(Heard { text: text.as_str().into(), confidence }),
            Do::NoKeys => Input::NoKeys,
            Do::HungUp => Input::HungUp,
            Do::Recorded(..) => Input::Recorded(Sound::new(vec![4071; 160], None)),
            Do::Tick => Input::Tick,
            Do::Freeze => Input::AccountFrozen,
            Do::Desk(agent, role, command) => Input::Desk { agent, role, command },
            Do::Delivered(message, delivery) => Input::Delivered { message, delivery },
            Do::Backchannel(number, factor) => Input::Backchannel {
                client: "till".into(), kind: ClaimKind::AccountNumber, accounts: self.find(ClaimKind::AccountNumber, number).0, factor, life: None,
            },
            Do::Device => Input::Device { client: "till".into() },
            Do::CallOut { whom, contact, agent } => Input::CallOut {
                adapter: "test".into(), account: self.brief(Some(whom.id())).unwrap(), contact, agent, matter: "do:cancel_order".parse().ok(),
            },
            Do::Answered => Input::Answered,
            Do::Approve(who, challenge, reply) => Input::Approval {
                account: who.id(),
                challenge: challenge.or_else(|| self.call.challenge.as_ref().map(|c| c.id)).unwrap_or(ChallengeId([0xcc; 16])),
                reply: match reply {
                    Reply::Right => Approval::Typed(self.given_code().unwrap_or_default().as_str().into()),
                    Reply::Wrong => Approval::Typed("000000".into()),
                    Reply::Signed => Approval::Signed(hex::encode(who.id().0).as_str().into()),
                    Reply::Forged => Approval::Signed("forged".into()),
                    Reply::Declined => Approval::Declined,
                    Reply::NotMe => Approval::NotMe,
                },
            },
            Do::Linked(who, right) => Input::Linked {
                account: self.brief(Some(who.id())).unwrap(),
                code: if right { self.given_code().unwrap_or_default().as_str().into() } else { "00000000".into() },
            },
            Do::Provided(who) => Input::Provided {
                challenge: self.call.challenge.as_ref().map_or(ChallengeId([0xcc; 16]), |c| c.id),
                answer: who.map(|who| hex::encode(who.id().0).as_str().into()),
            },
            Do::Collected => Input::Collected,
            Do::Signals(number) => Input::Signals(number),
            Do::Mark(role, fraud) => Input::Marked { agent: LEAD, role, fraud, reason: "the customer rang and said so".into() },
            Do::RingBack(who, contact) => Input::RingBack { adapter: "test".into(), account: self.brief(Some(who.id())).unwrap(), contact, of: CallId([0xcb; 16]) },
        }
    }

    pub fn put(&mut self, what: Do) -> Result<&Done, Rejected> {
        let before = self.call.clone();
        let mut refused: Vec<Deny> = Vec::new();
        loop {
            let (after, out, right) = self.turn(before.clone(), &what, &refused)?;
            match self.limits.judge(&out.guards, self.now) {
                Ok(limits) => {
                    self.limits = limits;
                    self.commit(&before, after, out, refused, right, &what);
                    return Ok(&self.last);
                }
                Err(place) => {
                    let deny = out.guards[place].deny;
                    assert!(!refused.contains(&deny), "{deny:?} was refused and is tried again");
                    refused.push(deny);
                }
            }
        }
    }

    /// Steps until nothing is asked any more.
    fn turn(&mut self, mut call: Call, what: &Do, refused: &[Deny]) -> Result<(Call, Outputs, Vec<FactorKind>), Rejected> {
        let (mut whole, mut right) = (Outputs::default(), Vec::new());
        let mut input = self.input(what);
        if let (Do::Keys(keys), Some(code)) = (what, call.challenge.as_ref().and_then(|c| c.message).and_then(|m| self.code_of(m)))
            && keys.trim_end_matches('#') == code
        {
            right.extend(call.challenge.as_ref().filter(|c| c.expires > self.now).map(|c| c.kind));
        }
        // What was given out on the call and comes back as it should, from the portal of whoever is asked.
        match what {
            Do::Approve(who, None, Reply::Right) if call.principal == Some(who.id()) => right.extend(call.challenge.as_ref().filter(|c| c.expires > self.now).map(|c| c.kind)),
            Do::Linked(_, true) if call.link.as_ref().is_some_and(|l| l.expires > self.now) => right.push(FactorKind::Approval),
            Do::Keys(keys) if call.stage == Stage::Confirming && *keys == self.pepper.callback_key(call.id).to_string() => right.push(FactorKind::Callback),
            _ => {}
        }
        loop {
            // What other calls say draws nothing.
            self.seed += u64::from(!matches!(input, Input::Answer(Answer::History { .. })));
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&self.seed.to_be_bytes());
            let (principal, subject) = (self.brief(call.principal), self.brief(call.subject));
            let cx = Cx {
                now: self.now, seed, policy: &Toy, pepper: &self.pepper, params: &self.params,
                principal: principal.as_ref(), subject: subject.as_ref(), refused,
            };
            let mut out = Outputs::default();
            let stepped = call.step(input, &cx, &mut out);
            if stepped.is_err() {
                assert!(out.events.is_empty() && out.effects.is_empty() && out.guards.is_empty() && out.say.is_empty() && out.ask.is_none(), "rejected, and yet: {out:?}");
            }
            call = stepped?;
            whole.events.append(&mut out.events);
            whole.effects.append(&mut out.effects);
            whole.guards.append(&mut out.guards);
            whole.say.append(&mut out.say);
            let Some(ask) = out.ask else { return Ok((call, whole, right)) };
            let answer = match (ask, what) {
                (Ask::VoiceTake { held, .. }, Do::Recorded(fault, _)) => Answer::VoiceTaken { fault: *fault, quality: Quality::default(), held },
                (Ask::VoiceCompare { .. }, Do::Recorded(_, outcome)) => {
                    Answer::VoiceCompared { comparison: Comparison::only(*outcome), digits: self.params.voice.as_ref().is_some_and(|v| v.digits) }
                }
                (Ask::VoiceDigits { learning: Some(_), .. }, Do::Recorded(fault, _)) => Answer::DigitsTaken { fault: *fault, quality: Quality::default() },
                (Ask::VoiceDigits { .. }, Do::Recorded(_, outcome)) => Answer::DigitsChecked(Checked { outcome: *outcome, quality: Quality::default(), nearer: None }),
                (ask, _) => self.answer(ask),
            };
            if let Answer::Verified(Verdict::Proven { proof, .. }) | Answer::Redeemed { verdict: Verdict::Proven { proof, .. }, .. } = &answer {
                right.push(proof.kind());
            }
            input = Input::Answer(answer);
        }
    }

    pub fn profile(&self, id: AccountId) -> Option<&Profile> { self.profiles.iter().find(|p| p.id == id) }
    pub fn profile_mut(&mut self, who: Who) -> &mut Profile { self.profiles.iter_mut().find(|p| p.id == who.id()).unwrap() }
    pub fn brief(&self, id: Option<AccountId>) -> Option<Brief> { Some(self.profile(id?)?.brief(self.now)) }

    fn find(&self, kind: ClaimKind, value: &str) -> (Vec<Brief>, bool) {
        let (ids, look_alike) = world::find(kind, value);
        (ids.into_iter().filter_map(|id| self.brief(Some(id))).collect(), look_alike)
    }

    fn answer(&self, ask: Ask) -> Answer {
        match ask {
            Ask::Find { claim: Claim { kind, value, via }, purpose } => {
                let (accounts, look_alike) = self.find(kind, value.expose());
                Answer::Found { kind, via, purpose, accounts, look_alike }
            }
            Ask::Compare { account, field, value } => {
                Answer::Compared { field, matched: self.profile(account).is_some_and(|p| world::equals(p, field, value.expose())) }
            }
            Ask::Verify { account, authenticator, kind, presented } => Answer::Verified(self.verify(account, authenticator, kind, &presented)),
            Ask::Redeem { code } => match self.service.iter().find(|(shown, _)| shown == code.expose()) {
                Some((shown, live)) => Answer::Redeemed { verdict: factor::redeem(live, shown, self.now), account: self.brief(Some(live.account)) },
                None => Answer::Redeemed { verdict: Verdict::Wrong, account: None },
            },
            Ask::VoiceTake { .. } | Ask::VoiceCompare { .. } | Ask::VoiceDigits { .. } => panic!("nobody said anything"),
            Ask::History { dialled, .. } => Answer::History { history: self.history.clone(), dialled },
            Ask::Attest { transaction, kind, presented } => {
                let signer = world::ALL.into_iter().map(Who::id).find(|id| hex::encode(id.0) == presented.expose());
                let attested = signer.map(|account| Attested {
                    transaction: transaction.hash(), account, authenticator: world::auth(Who::of(account).unwrap(), 6), kind, counter: 0,
                });
                Answer::Verified(factor::check_attested(&transaction, attested))
            }
        }
    }

    fn verify(&self, account: AccountId, id: AuthenticatorId, kind: FactorKind, presented: &Secret) -> Verdict {
        let Some(found) = self.profile(account).and_then(|p| p.authenticators.iter().find(|a| a.id == id && a.kind == kind)) else { return Verdict::Wrong };
        let owner = Owner { account, authenticator: id };
        match &found.material {
            Material::Otp(otp) => {
                // Another node may take a step between this look and the commit.
                let last = if self.race.is_some() { self.race } else { self.limits.steps.get(&id).copied() };
                factor::check_otp(owner, kind, otp, last, presented, self.now)
            }
            // Only `factor` makes proofs: the quick one comes from a code that is right by construction.
            Material::Word { .. } if self.quick => match world::knows(Who::of(account).unwrap(), kind, presented) {
                Some(false) => match factor::check_otp(owner, kind, &world::otp(None), None, &hotp(&world::otp(None), 0).unwrap(), self.now) {
                    Verdict::Proven { proof, .. } => Verdict::Proven { proof, once: None },
                    Verdict::Wrong => Verdict::Wrong,
                },
                _ => Verdict::Wrong,
            },
            Material::Word { real, duress } => factor::check_word(owner, kind, real, duress, presented, &self.pepper),
            Material::Codes { codes, .. } => factor::check_backup(owner, codes, presented, &self.pepper),
            Material::Passkey { .. } | Material::Provider { .. } => Verdict::Wrong,
        }
    }

    fn commit(&mut self, before: &Call, after: Call, out: Outputs, refused: Vec<Deny>, right: Vec<FactorKind>, what: &Do) {
        let mut folded = before.clone();
        for recorded in &out.events {
            let text = Event::encode(recorded).unwrap();
            assert_canonical(&text);
            let read = Event::decode(&text).unwrap_or_else(|e| panic!("cannot be read back: {e}: {text}"));
            assert_eq!(&read, recorded);
            assert_eq!(read.n, folded.n + 1, "numbered without gaps");
            folded.apply(&read);
            self.log.push(text);
        }
        assert_eq!(folded, after, "the state is the fold of its events");
        self.sent.extend(out.effects.iter().filter_map(|e| match e { Effect::Send(m) => Some(m.clone()), _ => None }));
        for effect in &out.effects {
            if let Effect::Change(c) = effect
                && let Some(profile) = self.profiles.iter_mut().find(|p| p.id == c.account)
            {
                match &c.change {
                    Change::Voice(on_file) => profile.voice = Some(on_file.clone()),
                    Change::NoVoice => profile.voice = None,
                    _ => {}
                }
            }
        }
        self.call = after;
        let done = Done { events: out.events.into_iter().map(|r| r.event).collect(), effects: out.effects, guards: out.guards, say: out.say, refused };
        self.holds(before, &done, &right, what);
        self.last = done;
    }

    // ── What the caller hears ────────────────────────────────────────────────────────────────

    pub fn directives(&self) -> Vec<Directive> {
        let subject = self.brief(self.call.subject);
        self.call.directives(speakable_upcoming(&self.call, subject.as_ref(), &Toy), subject.map(|b| b.access).unwrap_or_default())
    }
}

/// Every personal value of every customer.
pub fn personal() -> impl Iterator<Item = (Who, countersign_core::action::Field, &'static str)> {
    use countersign_core::action::Field;
    world::ALL.into_iter().flat_map(|who| {
        [
            (who, Field::AccountNumber, who.number()), (who, Field::Name, who.name()), (who, Field::Email, who.email()),
            (who, Field::DateOfBirth, who.birth()), (who, Field::Address, who.address()), (who, Field::PostalCode, who.postal()),
            (who, Field::Phone, who.phone()),
        ]
    }).chain([(Who::Ana, Field::Orders, "ORD-ANA-1"), (Who::Ana, Field::Orders, "Blue kettle"), (Who::Tina, Field::Orders, "Red lamp")])
}

/// Sorted keys, no floating point, no white space.
fn assert_canonical(text: &str) {
    fn write(value: &serde_json::Value) -> String {
        use serde_json::Value;
        match value {
            Value::Object(map) => {
                let mut keys: Vec<&String> = map.keys().collect();
                keys.sort();
                let parts: Vec<String> = keys.into_iter().map(|k| format!("{}:{}", Value::String(k.clone()), write(&map[k]))).collect();
                format!("{{{}}}", parts.join(","))
            }
            Value::Array(items) => format!("[{}]", items.iter().map(write).collect::<Vec<_>>().join(",")),
            Value::Number(n) => {
                assert!(n.is_i64() || n.is_u64(), "a float");
                n.to_string()
            }
            other => other.to_string(),
        }
    }
    assert_eq!(write(&serde_json::from_str(text).unwrap()), text);
}
