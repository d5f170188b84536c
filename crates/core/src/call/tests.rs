//! What only the shell could get wrong. Whole calls are in `tests/machine`.

use super::*;
use crate::{
    account::Brief,
    action::{Decision, Policy, Role},
    claim::ClaimKind,
    factor::{FactorKind, Otp, Owner, Pepper, ServiceCode, Verdict, check_otp, hotp, redeem},
    id::{AgentId, AuthenticatorId, CallId},
    risk::Verstat,
    time::Span,
};

/// Permits everything: what holds here, no policy can undo.
struct Anything;

impl Policy for Anything {
    fn decide(&self, _: &Request<'_>) -> Decision { Decision { outcome: Outcome::Permit, policies: Vec::new() } }
    fn version(&self) -> &str { "anything" }
}

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const AGENT: AgentId = AgentId([7; 16]);

fn brief(n: u8) -> Brief {
    let factor = crate::account::Factor {
        authenticator: AuthenticatorId([n + 100; 16]), kind: FactorKind::Totp, contact: None, tail: String::new(), usable_from: Timestamp(0),
    };
    Brief {
        id: AccountId([n; 16]), language: None, factors: vec![factor], notices: Vec::new(), frozen: false, phone_lock: false,
        reachable: false, access: crate::account::Access::default(), changed: None, upcoming: None, delegations: Vec::new(), voice: None,
    }
}

fn take(call: Call, input: Input, out: &mut Outputs) -> Result<Call, Rejected> {
    let (pepper, params) = (Pepper::new([1; 32]), Params::default());
    let (principal, subject) = (call.principal.map(|id| brief(id.0[0])), call.subject.map(|id| brief(id.0[0])));
    let cx = Cx {
        now: NOW, seed: [9; 32], policy: &Anything, pepper: &pepper, params: &params, principal: principal.as_ref(),
        subject: subject.as_ref(), refused: &[],
    };
    let mut call = call.step(input, &cx, out)?;
    // Other calls have nothing to say here.
    if let Some(Ask::History { dialled, .. }) = out.ask {
        out.ask = None;
        call = call.step(Input::Answer(Answer::History { history: crate::risk::History::default(), dialled }), &cx, out)?;
    }
    Ok(call)
}

fn play(inputs: impl IntoIterator<Item = Input>) -> Call {
    inputs.into_iter().fold(Call::new(CallId([1; 16])), |call, input| take(call, input, &mut Outputs::default()).unwrap())
}

fn ring(accounts: Vec<Brief>) -> Input {
    Input::Incoming { adapter: "test".into(), number: Some(crate::secret::Blind([5; 16])), verstat: Verstat::PassedA, denied: false, accounts, dialled: false }
}
fn keys(text: &str) -> Input { Input::Keys(text.into()) }
fn desk(command: Command) -> Input { Input::Desk { agent: AGENT, role: Role::Agent, command } }

/// A proof that is genuine, for this account and authenticator.
fn proof(account: u8, authenticator: u8, kind: FactorKind) -> Verdict {
    let otp = Otp { key: "3132333435363738393031323334353637383930".into(), digits: 6, algorithm: crate::factor::Algorithm::Sha1, step: None };
    let owner = Owner { account: AccountId([account; 16]), authenticator: AuthenticatorId([authenticator; 16]) };
    check_otp(owner, kind, &otp, None, &hotp(&otp, 0).unwrap(), NOW)
}
fn redeemed(account: u8) -> Verdict {
    redeem(&ServiceCode { account: AccountId([account; 16]), expires: NOW + Span::minutes(1), dialled: false }, "slot", NOW)
}

/// Calls at several stages, account 1 recognised in most of them.
fn calls() -> Vec<Call> {
    let known = || ring(vec![brief(1)]);
    vec![
        play([known()]),
        play([known(), keys("1")]),
        play([ring(vec![]), keys("1")]),
        play([ring(vec![]), keys("1"), keys("1")]),
        play([ring(vec![]), keys("1"), keys("0"), keys("1")]),
        play([known(), keys("1"), keys("0"), keys("1"), desk(Command::Accept)]),
        play([known(), keys("1"), Input::HungUp]),
    ]
}

#[test]
fn a_genuine_proof_that_nobody_waits_for_changes_nothing() {
    for call in calls() {
        let open = call.challenge.is_some();
        for (account, authenticator, kind) in [(1, 101, FactorKind::Totp), (1, 101, FactorKind::Pin), (1, 102, FactorKind::Totp), (2, 101, FactorKind::Totp)] {
            let right = open && (account, authenticator, kind) == (1, 101, FactorKind::Totp);
            let mut out = Outputs::default();
            match take(call.clone(), Input::Answer(Answer::Verified(proof(account, authenticator, kind))), &mut out) {
                Ok(after) => assert_eq!(after.level == Level::Strong, right, "{account} {authenticator} {kind}"),
                Err(why) => assert!(!open && matches!(why, Rejected::OutOfTurn | Rejected::Ended)),
            }
        }
        let answer = Answer::Redeemed { verdict: redeemed(1), account: Some(brief(1)) };
        let awaited = call.stage == Stage::KeyingServiceCode;
        assert_eq!(take(call.clone(), Input::Answer(answer), &mut Outputs::default()).is_ok(), awaited);
        let found = Answer::Found { kind: ClaimKind::Name, via: Via::Network, purpose: Purpose::Identify, accounts: vec![brief(1)], look_alike: false };
        assert!(take(call, Input::Answer(found), &mut Outputs::default()).is_err(), "the network speaks once");
    }
}

/// The shell could not read the account, or read another one.
#[test]
fn a_service_code_without_its_account_is_a_wrong_one() {
    for account in [None, Some(brief(2))] {
        let call = play([ring(vec![]), keys("1"), keys("1")]);
        let after = take(call, Input::Answer(Answer::Redeemed { verdict: redeemed(1), account }), &mut Outputs::default()).unwrap();
        assert_eq!((after.subject, after.level, after.failures), (None, Level::Anonymous, 1));
    }
}

/// Even if policy permits everything.
#[test]
fn claims_alone_never_rise_above_identified() {
    let mut call = play([ring(vec![brief(1)]), keys("1"), keys("0"), keys("1"), desk(Command::Accept)]);
    for kind in ClaimKind::ALL {
        let found = Answer::Found { kind, via: Via::Agent, purpose: Purpose::Identify, accounts: vec![brief(1), brief(1)], look_alike: false };
        call = take(call, Input::Answer(found), &mut Outputs::default()).unwrap();
    }
    assert_eq!((call.level, call.agreed), (Level::Identified, true));
    assert_eq!(call.claims.iter().filter(|c| c.accounts.len() == 1).count(), 8, "one account is one account");
}

#[test]
fn outputs_are_added_to_and_left_alone_by_what_is_rejected() {
    let mut out = Outputs::default();
    let call = take(Call::new(CallId([1; 16])), ring(vec![brief(1)]), &mut out).unwrap();
    let (events, said) = (out.events.len(), out.say.len());
    assert!(take(call.clone(), desk(Command::End), &mut out).is_err());
    assert_eq!((out.events.len(), out.say.len()), (events, said));
    let after = take(call, Input::HungUp, &mut out).unwrap();
    assert_eq!(out.events.len() as u64, after.n);
    assert_eq!(Call::fold(after.id, &out.events), after);
}

#[test]
fn the_encoding_is_canonical_whatever_is_in_it() {
    let event = Event::SpeaksFor { subject: AccountId([1; 16]), delegation: crate::id::DelegationId([2; 16]), kind: "a\"b\u{1}ü\\".into(), actions: Vec::new() };
    let recorded = Recorded { v: 1, n: u64::MAX, at: Timestamp(i64::MIN), event };
    let text = Event::encode(&recorded).unwrap();
    assert!(text.starts_with(r#"{"actions":[],"at":-9223372036854775808,"delegation":"dlg_0202"#), "{text}");
    assert!(text.ends_with(r#""type":"speaks_for","v":1}"#), "{text}");
    assert_eq!(Event::decode(&text).unwrap(), recorded);
    assert_eq!(Event::encode(&Recorded { event: Event::Silence, ..recorded }).unwrap(), r#"{"at":-9223372036854775808,"n":18446744073709551615,"type":"silence","v":1}"#);
}

/// Every event takes effect on every state: a record can be read whatever it says.
#[test]
fn no_order_of_events_breaks_the_fold() {
    let samples = calls();
    let mut out = Outputs::default();
    let call = take(samples[1].clone(), Input::HungUp, &mut out).unwrap();
    for events in [out.events.iter().rev().collect::<Vec<_>>(), out.events.iter().chain(&out.events).collect()] {
        Call::fold(call.id, events);
    }
}
