//! Random calls. What must hold is in [`Shell::holds`], checked after every commit; here are the
//! ways in which callers, agents, clocks and networks behave.

use std::{cell::RefCell, collections::BTreeSet};

use countersign_core::{
    action::{Action, Field, Role, Verb},
    call::{Command, Event, Origin, Queue, Rejected, Stage},
    claim::ClaimKind,
    factor::FactorKind,
    id::{ContactId, MessageId},
    message::{Change, Delivery},
    risk::{History, LineType, Mode, NumberFacts, Routes, Verstat},
    time::Span,
    voice::{Fault, Outcome},
};
use proptest::{prelude::*, test_runner::{RngSeed, TestRunner}};

use crate::{
    shell::{AGENT, Do, LEAD, OTHER, Reply, Shell},
    world::{ALL, APP_CALL, SHARED, START, Who},
};

/// Something that happens, in words that mean something in every state.
#[derive(Debug, Clone)]
enum Op {
    Key(u8),
    /// What brings the caller on: the right answer, or the usual key.
    Onward,
    WrongCode,
    ServiceCode(Who),
    Said(Who, bool),
    Hostile(String),
    /// From now on words are said to a recogniser.
    Hearing,
    /// It hears something: the right word or another, more or less surely.
    Heard(Option<String>, u8),
    NoKeys,
    HungUp,
    Tick,
    TickAtDeadline,
    Wait(u32),
    Freeze,
    Restart,
    Report(u8, Delivery),
    /// Whoever may take or has the call does this.
    Holder(Desk),
    /// Somebody does this, whether they have the call or not.
    Somebody(u8, Role, Desk),
    /// The customer's data changes elsewhere in the meantime.
    Elsewhere(Who, u8),
    /// Some counter is full.
    Exhaust(u8),
    /// Somebody who is signed in answers what is asked in the portal.
    Approve(Option<Who>, Reply),
    /// Somebody who is signed in types a code.
    Linked(Who, bool),
    /// The sign-in provider answers.
    Provided(bool),
    Answered,
    Collected,
    /// Number intelligence answers.
    Signals(u8),
    /// Other calls say this from now on.
    History(u8),
    /// The lead marks the call.
    Mark(Role, bool),
    /// The operator decided otherwise.
    Rules(u8),
    /// The caller says something.
    Speaks(u8),
}

#[derive(Debug, Clone)]
enum Desk {
    Accept,
    Claim(ClaimKind, Who),
    Wrong(ClaimKind),
    Compare(Field, Who),
    Reveal(Field, bool),
    Request(u8),
    Prove(Vec<FactorKind>),
    Offered(u8),
    Word(bool),
    Link,
    Cancel,
    Voice(u8),
    Perform(u8, bool),
    SpeakFor(Who),
    Switch(bool),
    HandOver(Queue),
    End,
}

const FAULTS: [Fault; 9] = [
    Fault::NoSpeech, Fault::TooShort, Fault::TooNoisy, Fault::Overdriven, Fault::OtherWords, Fault::SameRecording, Fault::OtherVoice, Fault::NotApart, Fault::Failed,
];
const OUTCOMES: [Outcome; 13] = [
    Outcome::Alike, Outcome::Unlike, Outcome::OtherWords, Outcome::OtherDigits, Outcome::KnownRecording, Outcome::Synthetic, Outcome::NoSpeech, Outcome::TooShort,
    Outcome::TooNoisy, Outcome::Overdriven, Outcome::NotCalibrated, Outcome::OtherNetwork, Outcome::Failed,
];

const ACTIONS: [&str; 8] = [
    "change:phone", "change:password", "do:cancel_order", "do:close_account", "view:orders", "change:factors", "do:end_freeze", "do:request_refund",
];

fn who() -> impl Strategy<Value = Who> { prop::sample::select(ALL.to_vec()) }
fn kind() -> impl Strategy<Value = ClaimKind> { prop::sample::select(ClaimKind::ALL.to_vec()) }
fn field() -> impl Strategy<Value = Field> { prop::sample::select(Field::ALL.to_vec()) }
fn factor() -> impl Strategy<Value = FactorKind> { prop::sample::select(FactorKind::ALL.to_vec()) }
fn queue() -> impl Strategy<Value = Queue> { prop::sample::select(vec![Queue::Agents, Queue::Specialists]) }

fn desk() -> impl Strategy<Value = Desk> {
    prop_oneof![
        4 => Just(Desk::Accept),
        8 => (kind(), who()).prop_map(|(k, w)| Desk::Claim(k, w)),
        1 => kind().prop_map(Desk::Wrong),
        3 => (field(), who()).prop_map(|(f, w)| Desk::Compare(f, w)),
        3 => (field(), any::<bool>()).prop_map(|(f, r)| Desk::Reveal(f, r)),
        2 => any::<u8>().prop_map(Desk::Request),
        3 => prop::collection::vec(factor(), 0..3).prop_map(Desk::Prove),
        6 => any::<u8>().prop_map(Desk::Offered),
        4 => any::<bool>().prop_map(Desk::Word),
        1 => Just(Desk::Cancel),
        1 => Just(Desk::Link),
        5 => any::<u8>().prop_map(Desk::Voice),
        4 => (any::<u8>(), any::<bool>()).prop_map(|(a, r)| Desk::Perform(a, r)),
        2 => prop_oneof![3 => Just(Who::Tina), 1 => who()].prop_map(Desk::SpeakFor),
        1 => any::<bool>().prop_map(Desk::Switch),
        1 => queue().prop_map(Desk::HandOver),
        1 => prop::bool::weighted(0.2).prop_map(|end| if end { Desk::End } else { Desk::Accept }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0u8..12).prop_map(Op::Key),
        14 => Just(Op::Onward),
        3 => Just(Op::WrongCode),
        2 => who().prop_map(Op::ServiceCode),
        3 => (who(), any::<bool>()).prop_map(|(w, n)| Op::Said(w, n)),
        1 => prop_oneof!["\\PC{0,40}", "[0-9*#\\x00]{0,300}"].prop_map(Op::Hostile),
        3 => Just(Op::NoKeys),
        1 => prop::bool::weighted(0.3).prop_map(|h| if h { Op::HungUp } else { Op::Restart }),
        1 => Just(Op::Tick),
        2 => Just(Op::TickAtDeadline),
        4 => prop_oneof![0u32..90, 0u32..4_000].prop_map(Op::Wait),
        1 => prop::bool::weighted(0.3).prop_map(|f| if f { Op::Freeze } else { Op::Onward }),
        1 => Just(Op::Restart),
        2 => (any::<u8>(), prop::sample::select(vec![Delivery::Sent, Delivery::Delivered, Delivery::Failed, Delivery::Unknown])).prop_map(|(n, d)| Op::Report(n, d)),
        30 => desk().prop_map(Op::Holder),
        3 => (0u8..3, prop::sample::select(Role::ALL.to_vec()), desk()).prop_map(|(a, r, d)| Op::Somebody(a, r, d)),
        1 => (who(), any::<u8>()).prop_map(|(w, n)| Op::Elsewhere(w, n)),
        1 => any::<u8>().prop_map(Op::Exhaust),
        3 => (prop::option::weighted(0.2, who()), reply()).prop_map(|(w, r)| Op::Approve(w, r)),
        1 => (who(), any::<bool>()).prop_map(|(w, r)| Op::Linked(w, r)),
        1 => any::<bool>().prop_map(Op::Provided),
        1 => prop::bool::weighted(0.7).prop_map(|a| if a { Op::Answered } else { Op::Collected }),
        1 => any::<u8>().prop_map(Op::Signals),
        1 => any::<u8>().prop_map(Op::History),
        1 => (prop::sample::select(vec![Role::Lead, Role::Lead, Role::Agent, Role::Admin]), any::<bool>()).prop_map(|(r, f)| Op::Mark(r, f)),
        1 => any::<u8>().prop_map(Op::Rules),
        6 => any::<u8>().prop_map(Op::Speaks),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    prop::sample::select(vec![Reply::Right, Reply::Wrong, Reply::Signed, Reply::Forged, Reply::Declined, Reply::NotMe])
}

/// A call that nobody's telephone began.
fn begin_elsewhere() -> impl Strategy<Value = Do> {
    let contact = |who: Who| Shell::new().brief(Some(who.id())).unwrap().factors.iter().find_map(|f| f.contact).unwrap_or(ContactId([9; 16]));
    let kind = prop::sample::select(vec![FactorKind::Approval, FactorKind::Passkey, FactorKind::Provider, FactorKind::Pin]);
    prop_oneof![
        3 => (prop_oneof![2 => Just(Who::Pia), 1 => who()], kind).prop_map(|(w, k)| Do::Backchannel(w.number(), k)),
        1 => Just(Do::Device),
        1 => who().prop_map(move |w| Do::RingBack(w, contact(w))),
        3 => (who(), any::<bool>()).prop_map(move |(w, desk)| Do::CallOut { whom: w, contact: contact(w), agent: desk.then_some((AGENT, Role::Agent)) }),
    ]
}

fn begin() -> impl Strategy<Value = Do> {
    let number = prop_oneof![
        1 => Just(None), 1 => Just(Some("+12025559999")), 1 => Just(Some(SHARED)), 1 => Just(Some(APP_CALL)), 4 => who().prop_map(|w| Some(w.phone())),
    ];
    let verstat = prop::sample::select(vec![Verstat::PassedA, Verstat::None, Verstat::PassedA, Verstat::Failed]);
    (number, verstat, prop::bool::weighted(0.02)).prop_map(|(number, verstat, denied)| Do::Ring { number, verstat, denied })
}

fn change(n: u8) -> Change {
    match n % 9 {
        8 => Change::NoVoice,
        0 => Change::Phone("+12025550100".into()),
        1 => Change::Email("new@example.com".into()),
        2 => Change::Address { address: "9 New Street".into(), postal_code: "ZZ1 1ZZ".into() },
        3 => Change::Password,
        4 => Change::Word { kind: FactorKind::Pin, word: "6802".into() },
        5 => Change::CancelOrder,
        6 => Change::EndFreeze,
        _ => Change::Business(if n < 128 { "close_account".into() } else { format!("Pay {n} to Ana Torres") }),
    }
}

fn reason(given: bool) -> Option<countersign_core::secret::Secret> { given.then(|| "asked for by the caller, see ticket".into()) }

fn command(shell: &Shell, desk: Desk) -> Command {
    match desk {
        Desk::Accept => Command::Accept,
        Desk::Claim(kind, who) => Command::Claim { kind, value: who.claim(kind).into() },
        Desk::Wrong(kind) => Command::Claim { kind, value: "nobody at all 1999-02-02 x@y.zz".into() },
        Desk::Compare(field, who) => Command::Compare { field, value: who.email().into() },
        Desk::Reveal(field, given) => Command::Reveal { field, reason: reason(given) },
        Desk::Request(n) if n > 250 => Command::Request { action: Action::new(Verb::Do, "Tell Ana Torres") },
        Desk::Request(n) => Command::Request { action: ACTIONS[usize::from(n) % ACTIONS.len()].parse().unwrap() },
        Desk::Prove(factors) => Command::Prove { action: None, factors },
        Desk::Offered(n) => {
            let usable = if shell.call.agent.is_some() { shell.mine().factors } else { Vec::new() };
            let pick = |n: usize| usable.get(n % usable.len().max(1)).copied();
            let second = if n.is_multiple_of(3) { pick(usize::from(n) / 3) } else { None };
            Command::Prove { action: Some("change:phone".parse().unwrap()), factors: pick(usize::from(n)).into_iter().chain(second).collect() }
        }
        Desk::Word(right) => Command::Word(if right { crate::world::VERBAL.into() } else { "purple hippopotamus".into() }),
        Desk::Link => Command::OpenLink,
        Desk::Cancel => Command::CancelChallenge,
        Desk::Voice(n) => match n % 8 { 0..3 => Command::EnrolVoice, 3..6 => Command::CompareVoice, _ => Command::RemoveVoice },
        Desk::Perform(n, given) => Command::Perform { change: change(n), reason: reason(given) },
        Desk::SpeakFor(who) => Command::SpeakFor { account_number: who.number().into() },
        Desk::Switch(given) => Command::Switch { reason: reason(given).unwrap_or_default() },
        Desk::HandOver(queue) => Command::HandOver { queue },
        Desk::End => Command::End,
    }
}

/// The input that an operation means now, if it is one.
fn input(shell: &mut Shell, op: Op) -> Option<Do> {
    Some(match op {
        Op::Key(n) => Do::Keys(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#"][usize::from(n) % 12].into()),
        Op::Onward => Do::Keys(match (shell.right(), shell.call.stage) {
            (Some(right), Stage::Proving) => right,
            (_, Stage::Menu) if shell.call.n.is_multiple_of(2) => "1".into(),
            (_, Stage::Menu) if shell.call.n.is_multiple_of(3) => "3".into(),
            (_, Stage::KeyingToken) => shell.dial_token(Who::Pia),
            (_, Stage::Confirming) if matches!(shell.call.origin, Origin::RingBack { .. }) => "1".into(),
            (_, Stage::Confirming) if shell.call.origin.contact().is_some() && shell.call.agent.is_none() => shell.key_to_press(),
            (_, Stage::Approving) => return Some(onward_elsewhere(shell)),
            (_, Stage::Linking) => return Some(Do::Linked(Who::Pia, true)),
            (_, Stage::Dialing) => return Some(Do::Answered),
            (_, Stage::VoiceTaking | Stage::VoiceSaying | Stage::VoiceDigits) => return Some(Do::Recorded(None, Outcome::Alike)),
            (_, Stage::Remote) => return Some(if shell.call.link.is_some() { Do::Linked(Who::Liam, true) } else { onward_elsewhere(shell) }),
            (_, Stage::Menu) => "0".into(),
            (_, Stage::KeyingServiceCode) => shell.portal_code(Who::Dina),
            (_, Stage::KeyingAccountNumber) => Who::Dina.number().into(),
            (_, Stage::KeyingPostalCode) => Who::Dina.postal().into(),
            _ => "1".into(),
        }),
        Op::WrongCode => Do::Keys("31415926".into()),
        Op::ServiceCode(who) => Do::Keys(shell.portal_code(who)),
        Op::Said(who, number) => Do::Keys(if number { who.number() } else { who.postal() }.into()),
        Op::Hostile(text) => Do::Keys(text),
        Op::Heard(text, confidence) => Do::Heard(text.or_else(|| shell.right()).unwrap_or_else(|| crate::world::VERBAL.into()), confidence),
        Op::NoKeys => Do::NoKeys,
        Op::HungUp => Do::HungUp,
        Op::Speaks(n) => Do::Recorded(FAULTS.get(usize::from(n) % 24).copied(), OUTCOMES[usize::from(n) % OUTCOMES.len()]),
        Op::Tick => Do::Tick,
        Op::TickAtDeadline => {
            shell.now = shell.call.deadline(&shell.params).unwrap_or(shell.now).max(shell.now);
            Do::Tick
        }
        Op::Freeze => Do::Freeze,
        Op::Report(n, delivery) => {
            let known = shell.sent.get(usize::from(n) % shell.sent.len().max(1)).map(|m| m.id);
            let open = shell.call.challenge.as_ref().and_then(|c| c.message).filter(|_| n.is_multiple_of(2));
            Do::Delivered(open.or(known).unwrap_or(MessageId([n; 16])), delivery)
        }
        Op::Holder(desk) => {
            let specialist = if shell.call.queue == Some(Queue::Specialists) { Role::Specialist } else { Role::Agent };
            let (agent, role) = shell.call.agent.unwrap_or((AGENT, specialist));
            Do::Desk(agent, role, command(shell, desk))
        }
        Op::Somebody(n, role, desk) => Do::Desk([AGENT, OTHER, LEAD][usize::from(n) % 3], role, command(shell, desk)),
        Op::Approve(who, reply) => {
            let principal = shell.call.principal.and_then(Who::of).unwrap_or(Who::Pia);
            Do::Approve(who.unwrap_or(principal), None, reply)
        }
        Op::Linked(who, right) => Do::Linked(who, right),
        Op::Provided(right) => Do::Provided(if right { shell.call.principal.and_then(Who::of) } else { None }),
        Op::Answered => Do::Answered,
        Op::Collected => Do::Collected,
        Op::Signals(n) => Do::Signals(facts(n)),
        Op::Mark(role, fraud) => Do::Mark(role, fraud),
        Op::Hearing | Op::Wait(_) | Op::Restart | Op::Elsewhere(..) | Op::Exhaust(_) | Op::History(_) | Op::Rules(_) => return None,
    })
}

/// The right answer from where the customer is asked.
fn onward_elsewhere(shell: &Shell) -> Do {
    let who = shell.call.principal.and_then(Who::of).unwrap_or(Who::Pia);
    match shell.call.challenge.as_ref().map(|c| c.kind) {
        Some(FactorKind::Provider) => Do::Provided(Some(who)),
        Some(FactorKind::Passkey) => Do::Approve(who, None, Reply::Signed),
        Some(_) if shell.call.n.is_multiple_of(5) => Do::Approve(who, None, Reply::NotMe),
        Some(_) => Do::Approve(who, None, Reply::Right),
        None => Do::Collected,
    }
}

fn elsewhere(shell: &mut Shell, who: Who, n: u8) {
    let now = shell.now;
    let profile = shell.profile_mut(who);
    match n % 7 {
        5 => profile.voice = Some(crate::world::voice(now)),
        6 => profile.voice = None,
        0 => profile.frozen = Some(now),
        1 => profile.frozen = None,
        2 => profile.authenticators.clear(),
        3 => profile.contacts.retain(|c| c.kind == countersign_core::account::ContactKind::Email),
        _ => profile.changed = Some(now),
    }
}

fn facts(n: u8) -> NumberFacts {
    let line = [None, Some(LineType::Mobile), Some(LineType::NonFixedVoip), Some(LineType::NotCalledFrom)][usize::from(n % 4)];
    NumberFacts { unknown: n & 4 > 0, line, sim_changed_hours: (n & 8 > 0).then_some(u32::from(n)), sim_within: n & 64 > 0, reassigned: n & 16 > 0, forwarded: n & 32 > 0 }
}

fn history(n: u8) -> History {
    let some = |bit: u8| u32::from(n >> bit & 3) * 3;
    History {
        accounts_on_line: some(0), lines_on_account: some(2), failed_on_line: some(4), failed_on_account: some(5), fraud_on_line: n & 64 > 0,
        fraud_on_account: n & 128 > 0, odd_hour: some(3), odd_country: some(1),
    }
}

fn rules(shell: &mut Shell, n: u8) {
    let risk = &mut shell.params.risk;
    risk.mode = if n.is_multiple_of(3) { Mode::Shadow } else { Mode::Act };
    risk.routes = match n % 4 {
        0 => Routes::default(),
        1 => Routes::new(Some(40), Some(50), None, Some(90)).unwrap(),
        2 => Routes::new(Some(10), None, Some(20), None).unwrap(),
        _ => Routes::new(None, Some(1), Some(60), Some(60)).unwrap(),
    };
}

fn exhaust(shell: &mut Shell, n: u8) {
    let now = shell.now;
    if matches!(n % 5, 0 | 2) {
        shell.limits.exhaust("service/everywhere", now);
    }
    if let (4, Some(account)) = (n % 7, shell.call.principal) {
        shell.limits.exhaust(format!("approval/{account}"), now);
    }
    let Some(account) = shell.call.principal.or(shell.call.subject) else { return };
    let authenticators: Vec<_> = shell.brief(Some(account)).unwrap().factors;
    match n % 5 {
        0 => shell.limits.exhaust(format!("send/{account}"), now),
        1 => shell.limits.exhaust(format!("compare/{account}"), now),
        2 => {}
        3 => shell.limits.exhaust(format!("online/{account}"), now),
        _ => {
            if let Some(f) = authenticators.get(usize::from(n) % authenticators.len().max(1)) {
                shell.limits.exhaust(format!("entry/{account}/{}/{}", f.authenticator, f.kind), now);
            }
        }
    }
}

/// How far the call has come before chance takes over.
#[derive(Debug, Clone)]
enum Start { Cold(Do), AtAgent(Do), Opened(Who), Proved(Who, Option<Who>), Listening(bool, bool) }

fn start() -> impl Strategy<Value = Start> {
    let known = || prop::sample::select(vec![Who::Ana, Who::Liam, Who::Grace, Who::Dina, Who::Pia]);
    prop_oneof![
        5 => begin().prop_map(Start::Cold), 2 => begin_elsewhere().prop_map(Start::Cold), 2 => begin().prop_map(Start::AtAgent), 2 => who().prop_map(Start::Opened),
        2 => any::<(bool, bool)>().prop_map(|(compares, digits)| Start::Listening(compares, digits)),
        4 => (known(), prop_oneof![2 => Just(None), 1 => Just(Some(Who::Tina))]).prop_map(|(w, s)| Start::Proved(w, s)),
    ]
}

impl Start {
    fn shell(self) -> Shell {
        let mut shell = Shell::new();
        shell.quick = true;
        let from = |who: Who| Do::Ring { number: Some(who.phone()), verstat: Verstat::PassedA, denied: false };
        match self {
            // A customer with no such telephone or factor is not rung or asked.
            Self::Cold(begin) => if shell.put(begin).is_err() { shell.ok(Do::Device); },
            Self::AtAgent(begin) => {
                shell.ok(begin);
                if shell.call.ended.is_none() { shell.reach_agent(); }
            }
            Self::Opened(who) => {
                shell.profile_mut(who).voice = Some(crate::world::voice(START));
                shell.ok(from(who));
                shell.reach_agent();
                for kind in [ClaimKind::AccountNumber, ClaimKind::Name] {
                    let (agent, role) = shell.call.agent.unwrap();
                    shell.ok(Do::Desk(agent, role, Command::Claim { kind, value: who.claim(kind).into() }));
                }
            }
            // A strong caller who is asked for consent, or for the phrase; and for digits after it.
            Self::Listening(compares, digits) => {
                shell.params.voice.as_mut().unwrap().digits = digits;
                if compares {
                    shell.profile_mut(Who::Ana).voice = Some(crate::world::voice(START));
                }
                shell.ok(from(Who::Ana));
                shell.reach_agent().open(Who::Ana).proves(FactorKind::SmsCode).proves(FactorKind::Pin);
                shell.desk(if compares { Command::CompareVoice } else { Command::EnrolVoice });
            }
            Self::Proved(who, subject) => {
                shell.ok(from(who));
                shell.reach_agent().open(who);
                let first = shell.mine().factors[0];
                shell.proves(first);
                if let Some(subject) = subject {
                    shell.desk(Command::SpeakFor { account_number: subject.number().into() });
                }
            }
        }
        shell
    }
}

/// Plays a whole call, and lets it come to its end.
fn play(start: Start, ops: impl IntoIterator<Item = Op>, seen: &RefCell<BTreeSet<String>>) {
    let mut shell = start.shell();
    let note = |shell: &Shell| {
        for event in &shell.last.events {
            let name: String = format!("{event:?}").chars().take_while(char::is_ascii_alphanumeric).collect();
            seen.borrow_mut().insert(name);
        }
    };
    for text in &shell.log {
        let event = countersign_core::call::Event::decode(text).unwrap().event;
        seen.borrow_mut().insert(format!("{event:?}").chars().take_while(char::is_ascii_alphanumeric).collect());
    }
    for op in ops {
        match op.clone() {
            Op::Wait(seconds) => shell.wait(Span::seconds(seconds.into())),
            Op::Restart => shell.restart(),
            Op::Hearing => shell.params.hearing = vec![crate::spoken::hearing()],
            Op::Elsewhere(who, n) => elsewhere(&mut shell, who, n),
            Op::Exhaust(n) => exhaust(&mut shell, n),
            Op::History(n) => shell.history = history(n),
            Op::Rules(n) => rules(&mut shell, n),
            _ => {}
        }
        let Some(what) = input(&mut shell, op) else { continue };
        let before = (shell.call.clone(), shell.limits.clone(), shell.sent.len());
        let over = before.0.ended.is_some();
        let allowed_after_end = matches!(what, Do::Delivered(..) | Do::HungUp | Do::Mark(..));
        let marks = matches!(what, Do::Mark(..));
        match shell.put(what) {
            Ok(_) => {
                assert!(!over || allowed_after_end, "accepted after the end");
                note(&shell);
            }
            Err(why) => {
                assert_eq!((before.0, before.2), (shell.call.clone(), shell.sent.len()));
                assert!(marks || over == (why == Rejected::Ended));
            }
        }
    }
    shell.restart();
    for _ in 0..12 {
        let Some(at) = shell.call.deadline(&shell.params) else { break };
        shell.now = shell.now.max(at);
        shell.ok(Do::Tick);
    }
    assert_eq!(shell.call.deadline(&shell.params), None, "comes to rest: {:?}", shell.call.stage);
    if shell.call.ended.is_none() {
        shell.ok(Do::HungUp);
    }
    shell.restart();
    assert!(shell.now > START || shell.call.n > 0);
}

fn runner(cases: u32, seed: u64) -> TestRunner {
    TestRunner::new(ProptestConfig { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, max_shrink_iters: 4_000, ..ProptestConfig::default() })
}

const EVENTS: [&str; 53] = [
    "Started", "Asked", "Silence", "LanguageChosen", "MusicChosen", "IntentConfirmed", "Claimed", "Contradicted", "Identified",
    "Switched", "SpeaksFor", "SpeakRefused", "Challenged", "ChallengeFailed", "ChallengeClosed", "FactorUnavailable",
    "ServiceCodeFailed", "ServiceCodeThrottled", "Proved", "LevelChanged", "Delivered", "RiskScored", "Queued", "Accepted",
    "Compared", "CompareThrottled", "Revealed", "Decided", "Performed", "SentOnline", "HandedOver", "AccountFrozen", "SummarySent", "Ended",
    "LinkOpened", "LinkClosed", "Disowned", "Rang", "Answered", "Signalled", "Marked", "VoiceOffered",
    "VoiceConsented", "VoiceTake", "VoiceEnrolled", "VoiceAsked", "VoiceCompared", "VoiceStopped", "VoiceRemoved",
    "DigitsAsked", "DigitsTake", "DigitsKept", "DigitsChecked",
];

/// Whatever callers, agents, clocks, networks and other nodes do.
#[test]
fn no_sequence_of_inputs_breaks_a_promise() {
    let seen = RefCell::new(BTreeSet::new());
    // Often some counter is full from the beginning.
    let full = prop::option::weighted(0.4, any::<u8>().prop_map(Op::Exhaust));
    let calls = (start(), full, prop::collection::vec(op(), 1..80));
    runner(320, 0xc0de).run(&calls, |(start, full, ops)| { play(start, full.into_iter().chain(ops), &seen); Ok(()) }).unwrap();
    let missing: Vec<&str> = EVENTS.into_iter().filter(|name| !seen.borrow().contains(*name)).collect();
    assert!(missing.is_empty(), "the walk never comes by {missing:?}: it proves less than it says");
}

/// Words said to a recogniser, at every time and of every kind, beside everything else.
#[test]
fn no_words_break_a_promise() {
    let words = prop_oneof![3 => Just(None), 2 => "(purple|rhino|4|<b>|\u{202e}| ){1,6}".prop_map(Some), 1 => "\\PC{0,300}".prop_map(Some)];
    let heard = (words, prop_oneof![0u8..=100, Just(95)]).prop_map(|(words, confidence)| Op::Heard(words, confidence));
    let prove = prop_oneof![2 => Just(vec![FactorKind::VerbalPassword]), 1 => Just(vec![FactorKind::SmsCode, FactorKind::VerbalPassword]), 1 => Just(vec![FactorKind::VerbalPassword, FactorKind::Pin])];
    let ops = prop::collection::vec(prop_oneof![6 => heard, 4 => prove.prop_map(|factors| Op::Holder(Desk::Prove(factors))), 6 => op()], 1..60);
    let seen = RefCell::new(BTreeSet::new());
    let starts = prop_oneof![2 => Just(Start::Opened(Who::Ana)), 1 => Just(Start::Proved(Who::Ana, None)), 2 => start()];
    runner(120, 0x3a9d).run(&(starts, ops), |(start, ops)| { play(start, [Op::Hearing].into_iter().chain(ops), &seen); Ok(()) }).unwrap();
    for name in ["Challenged", "ChallengeFailed", "Proved", "Silence"] {
        assert!(seen.borrow().contains(name), "the walk never comes by {name}");
    }
}

/// The caller alone: more of what keys can do.
#[test]
fn no_keys_break_a_promise() {
    let key = prop_oneof![
        8 => (0u8..12).prop_map(Op::Key), 6 => Just(Op::Onward), 3 => Just(Op::WrongCode), 3 => who().prop_map(Op::ServiceCode),
        3 => (who(), any::<bool>()).prop_map(|(w, n)| Op::Said(w, n)), 1 => "\\PC{0,60}".prop_map(Op::Hostile), 3 => Just(Op::NoKeys),
        1 => Just(Op::TickAtDeadline), 1 => (0u32..300).prop_map(Op::Wait), 1 => Just(Op::Restart),
        1 => (any::<u8>(), Just(Delivery::Failed)).prop_map(|(n, d)| Op::Report(n, d)), 1 => any::<u8>().prop_map(Op::Exhaust),
    ];
    let seen = RefCell::new(BTreeSet::new());
    runner(100, 7).run(&(begin(), prop::collection::vec(key, 1..40)), |(begin, ops)| { play(Start::Cold(begin), ops, &seen); Ok(()) }).unwrap();
}

/// `password_by_phone_number`: without a proof, nothing that anybody types changes or shows anything.
#[test]
fn without_a_proof_nothing_is_shown_and_nothing_changes() {
    let desk = prop_oneof![
        8 => (kind(), who()).prop_map(|(k, w)| Desk::Claim(k, w)), 2 => (field(), who()).prop_map(|(f, w)| Desk::Compare(f, w)),
        3 => (field(), any::<bool>()).prop_map(|(f, r)| Desk::Reveal(f, r)), 2 => any::<u8>().prop_map(Desk::Request),
        2 => any::<u8>().prop_map(Desk::Offered), 4 => (any::<u8>(), any::<bool>()).prop_map(|(a, r)| Desk::Perform(a, r)),
        1 => who().prop_map(Desk::SpeakFor), 1 => Just(Desk::Cancel),
    ];
    let op = prop_oneof![6 => desk.prop_map(Op::Holder), 1 => Just(Op::WrongCode), 1 => Just(Op::Key(0))];
    runner(60, 11).run(&(begin(), prop::collection::vec(op, 1..60)), |(begin, ops)| {
        let mut shell = Shell::new();
        shell.quick = true;
        shell.ok(begin);
        if shell.call.ended.is_none() {
            shell.reach_agent();
        }
        for op in ops {
            let Some(what) = input(&mut shell, op) else { continue };
            if shell.put(what).is_ok() {
                // Exceptions with a written reason are policy's own; the toy makes them for leads only.
                assert!(!shell.last.has(|e| matches!(e, Event::Revealed { field, .. } if *field != Field::Upcoming) || matches!(e, Event::Performed { .. } | Event::SpeaksFor { .. })));
            }
        }
        Ok(())
    }).unwrap();
}
