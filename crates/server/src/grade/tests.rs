use std::sync::Arc;

use countersign_core::{
    action::{Field, Level, Role},
    call::{Challenge, Closed, Ending, Event, LevelCause, Link, Origin, Queue, Recorded, Stage},
    claim::{ClaimKind, Via},
    factor::{Alphabet, Class, FactorKind},
    id::{AccountId, AgentId, AuthenticatorId, CallId, ChallengeId, ChangeId, ContactId},
    identify::ClaimRecord,
    risk::Verstat,
    time::{Span, Timestamp},
};
use countersign_survey::{Choice, Reached, Rule, Standing, Verdict};

use super::*;

const CALL: CallId = CallId([7; 16]);
const ANA: AccountId = AccountId([1; 16]);
const TINA: AccountId = AccountId([2; 16]);
const ROBIN: AgentId = AgentId([3; 16]);
/// Monday, 1 June 2026, 10:00 UTC.
const START: Timestamp = Timestamp(1_780_308_000_000);

/// Events with the second at which each happened.
fn record(events: Vec<(i64, Event)>) -> Vec<Recorded> {
    (1..).zip(events).map(|(n, (second, event))| Recorded { v: 1, n, at: START + Span::seconds(second), event }).collect()
}

fn digest(events: Vec<(i64, Event)>) -> Digest { Digest::of(CALL, &record(events)) }

fn began(origin: Origin) -> Event { Event::Started { adapter: "handset".into(), number: None, verstat: Verstat::None, denied: false, origin } }
fn claim(kind: ClaimKind, via: Via, whom: &[AccountId]) -> Event { Event::Claimed { claim: ClaimRecord { kind, via, accounts: whom.to_vec(), look_alike: false } } }
fn identified(account: AccountId) -> Event { Event::Identified { account, agreed: false, instead_of: None } }
fn level(level: Level) -> Event { Event::LevelChanged { level, expires: None, cause: LevelCause::Proof, policies: Vec::new() } }
fn asked(stage: Stage) -> Event { Event::Asked { stage } }
fn challenge(id: u8, kind: FactorKind) -> Event {
    Event::Challenged { challenge: Challenge {
        id: ChallengeId([id; 16]), kind, authenticator: AuthenticatorId([9; 16]), contact: None, hash: None, message: None, expires: START, left: 3, action: None, then: Vec::new(), agent: None, spoken: false,
    } }
}
fn wrong(id: u8) -> Event { Event::ChallengeFailed { challenge: ChallengeId([id; 16]), left: 2 } }
fn closed(id: u8, why: Closed) -> Event { Event::ChallengeClosed { challenge: ChallengeId([id; 16]), why } }
fn proved(id: Option<u8>, kind: FactorKind, account: AccountId) -> Event {
    Event::Proved { account, authenticator: AuthenticatorId([9; 16]), kind, class: Class::Possession, challenge: id.map(|id| ChallengeId([id; 16])), duress: false, fresh_from: START }
}
fn accepted() -> Event { Event::Accepted { agent: ROBIN, role: Role::Agent } }
fn looked(field: Field) -> Event { Event::Revealed { agent: ROBIN, field, policies: Vec::new() } }
fn did(action: &str, held: bool) -> Event { Event::Performed { agent: ROBIN, action: action.parse().unwrap(), change: ChangeId([5; 16]), held, note: None } }
fn over() -> Event { Event::Ended { ending: Ending::Caller } }

/// A known number, and what follows.
fn known(rest: Vec<(i64, Event)>) -> Digest {
    let mut events = vec![(0, began(Origin::Caller)), (0, claim(ClaimKind::Number, Via::Network, &[ANA])), (0, identified(ANA)), (0, level(Level::Identified))];
    events.extend(rest);
    digest(events)
}

#[track_caller]
fn is(digest: &Digest, verdict: Option<Verdict>, rules: &[Rule]) {
    let graded = grade(digest.note.as_ref().unwrap());
    assert_eq!(graded.verdict, verdict, "{graded:?}");
    assert_eq!(graded.deciding().map(|r| r.rule).collect::<Vec<_>>(), rules);
}

#[test]
fn a_call_is_a_note() {
    let proof = vec![(3, asked(Stage::Recognised)), (5, challenge(1, FactorKind::Pin)), (12, proved(Some(1), FactorKind::Pin, ANA)), (12, level(Level::Authenticated)), (30, accepted())];
    let passes = known(proof.clone());
    is(&passes, Some(Verdict::Good), &[Rule::RealSecret, Rule::ReadsNothingOut]);
    let note = passes.note.unwrap();
    assert_eq!((note.center.as_str(), note.date.to_string().as_str(), note.reached, note.offered), (CALL.to_string().as_str(), "2026-06-01", Reached::Inbound, true));
    // What is looked at and done after the proof is no fault of anybody's.
    let mut more = proof.clone();
    more.extend([(40, looked(Field::Name)), (50, did("change:address", false)), (60, did("do:close_account", true))]);
    let done = known(more);
    is(&done, Some(Verdict::Good), &[Rule::RealSecret, Rule::ReadsNothingOut]);
    assert_eq!(done.note.unwrap().changed.iter().map(|(c, s)| (c.name(), *s)).collect::<Vec<_>>(), [("address", Standing::Authenticated), ("other", Standing::Authenticated)]);
    // To be recognised, offered the delivery, and hung up on: `united_recognition`.
    is(&known(vec![(3, asked(Stage::Recognised)), (9, over())]), Some(Verdict::Okay), &[Rule::NoRealSecret, Rule::RecognisesNumber, Rule::OffersActions]);
    // An agent who talks to a number alone, and one who has asked for more.
    is(&known(vec![(20, accepted())]), Some(Verdict::Bad), &[Rule::SingleIdentifier]);
    let more = vec![(20, accepted()), (30, claim(ClaimKind::Name, Via::Agent, &[ANA])), (31, Event::Compared { agent: ROBIN, field: Field::DateOfBirth, matched: true })];
    let note = known(more).note.unwrap();
    assert_eq!((grade(&note).verdict, note.identifiers.len(), note.identified_by.len()), (Some(Verdict::Okay), 2, 2));
}

#[test]
fn what_must_not_happen_would_be_seen() {
    // No policy of ours lets these happen: the grade says so if one ever does.
    is(&known(vec![(20, accepted()), (25, looked(Field::Address))]), Some(Verdict::OhNo), &[Rule::GivesIdentityData]);
    is(&known(vec![(20, accepted()), (25, did("change:password", false))]), Some(Verdict::Bad), &[Rule::PasswordByPhoneNumber, Rule::SingleIdentifier]);
    is(&known(vec![(20, accepted()), (25, did("change:email", true))]), Some(Verdict::OhNo), &[Rule::ChangesWithoutProof]);
    // Before the proof, whatever came later.
    let early = vec![(20, accepted()), (25, looked(Field::Email)), (30, challenge(1, FactorKind::SmsCode)), (40, proved(Some(1), FactorKind::SmsCode, ANA)), (40, level(Level::Authenticated))];
    is(&known(early), Some(Verdict::OhNo), &[Rule::GivesIdentityData]);
    // After a proof has run out it is nothing to stand on.
    let late = vec![(5, proved(None, FactorKind::ServiceCode, ANA)), (5, level(Level::Authenticated)), (20, accepted()), (900, level(Level::Identified)), (910, did("change:phone", false))];
    is(&known(late), Some(Verdict::OhNo), &[Rule::ChangesWithoutProof]);
    // The customer was not on the phone: what was proved was nothing.
    let stolen = vec![(5, proved(None, FactorKind::Approval, ANA)), (5, level(Level::Authenticated)), (20, accepted()), (25, did("do:request_refund", false)), (60, Event::Disowned { account: ANA })];
    let stolen = known(stolen);
    is(&stolen, Some(Verdict::OhNo), &[Rule::ChangesWithoutProof]);
    assert!(stolen.attempts.iter().all(|a| a.proved.is_none()));
}

#[test]
fn who_hangs_up_early_is_not_graded_and_a_program_is_no_call() {
    for rest in [vec![], vec![(5, challenge(1, FactorKind::Pin)), (9, wrong(1)), (15, over())], vec![(5, Event::Queued { queue: Queue::Agents, because: Vec::new() }), (9, over())]] {
        is(&known(rest), None, &[Rule::NothingToGrade]);
    }
    // A stranger whom an agent asks in vain.
    is(&digest(vec![(0, began(Origin::Caller)), (9, claim(ClaimKind::AccountNumber, Via::Keypad, &[])), (20, accepted()), (30, claim(ClaimKind::Name, Via::Agent, &[]))]), None, &[Rule::NothingToGrade]);
    let program = digest(vec![(0, began(Origin::Client("app".into()))), (1, challenge(1, FactorKind::Approval)), (9, proved(Some(1), FactorKind::Approval, ANA))]);
    assert_eq!((program.note, program.attempts.len()), (None, 1));
    assert_eq!(Digest::of(CALL, &[]).note.map(|n| n.is_blank()), Some(true));
}

#[test]
fn calls_of_ours_and_codes_that_identify() {
    let back = digest(vec![
        (0, began(Origin::CallBack(ContactId([4; 16])))), (0, identified(ANA)), (10, Event::Answered), (12, Event::ChallengeFailed { challenge: ChallengeId(CALL.0), left: 1 }),
        (15, proved(None, FactorKind::Callback, ANA)), (15, level(Level::Authenticated)),
    ]);
    is(&back, Some(Verdict::Good), &[Rule::RealSecret, Rule::ReadsNothingOut]);
    assert_eq!(back.note.as_ref().unwrap().reached, Reached::CallMe);
    assert!(back.refused_falsely(&back.attempts[0]) && back.attempts.len() == 1);
    // The portal's code is asked for, wrong, then the account number, then the PIN.
    let code = digest(vec![
        (0, began(Origin::Caller)), (4, asked(Stage::KeyingServiceCode)), (9, asked(Stage::KeyingServiceCode)), (14, Event::ServiceCodeFailed),
        (15, claim(ClaimKind::AccountNumber, Via::Keypad, &[ANA])), (15, identified(ANA)), (16, level(Level::Identified)), (20, challenge(1, FactorKind::Pin)), (29, proved(Some(1), FactorKind::Pin, ANA)),
    ]);
    let [service, pin] = code.attempts.as_slice() else { panic!("{:?}", code.attempts) };
    assert_eq!((service.kind, service.refused, service.proved, pin.proved), (FactorKind::ServiceCode, true, None, Some(START + Span::seconds(29))));
    assert!(code.fell_back(service) && code.refused_falsely(service) && !code.fell_back(pin) && !code.refused_falsely(pin));
    // Asked for a typed code, signed with a passkey: it is the passkey's.
    let signed = known(vec![(5, challenge(1, FactorKind::Approval)), (11, proved(Some(1), FactorKind::Passkey, ANA))]);
    assert_eq!(signed.attempts.iter().map(|a| (a.kind, a.proved.is_some())).collect::<Vec<_>>(), [(FactorKind::Passkey, true)]);
    // A code that was given out and typed by nobody.
    let link = known(vec![(5, Event::LinkOpened { link: Link { id: ChallengeId([8; 16]), alphabet: Alphabet::Spoken, expires: START } }), (99, Event::LinkClosed { why: Closed::Expired }), (100, challenge(1, FactorKind::Pin))]);
    assert!(link.fell_back(&link.attempts[0]) && !link.refused_falsely(&link.attempts[0]));
}

#[test]
fn how_factors_fared() {
    let slow = known(vec![(0, challenge(1, FactorKind::Pin)), (10, wrong(1)), (20, wrong(1)), (40, proved(Some(1), FactorKind::Pin, ANA))]);
    let quick = known(vec![(0, challenge(1, FactorKind::Pin)), (6, proved(Some(1), FactorKind::Pin, ANA)), (60, challenge(2, FactorKind::SmsCode)), (71, proved(Some(2), FactorKind::SmsCode, ANA))]);
    // Shut by wrong entries, and then a stranger proves to be somebody else: nobody was refused falsely.
    let thief = known(vec![(0, challenge(1, FactorKind::Pin)), (5, wrong(1)), (9, closed(1, Closed::Exhausted)), (20, challenge(2, FactorKind::SmsCode)), (60, closed(2, Closed::CallerLeft)), (90, proved(None, FactorKind::ServiceCode, TINA))]);
    let left = known(vec![(0, challenge(1, FactorKind::Pin)), (9, closed(1, Closed::CallerLeft)), (12, over())]);
    let report = Report { calls: [slow, quick, thief, left].into_iter().enumerate().map(|(i, d)| (CallId([i as u8; 16]), Arc::new(d))).collect() };
    let fared = report.factors();
    assert_eq!(fared.len(), FactorKind::ALL.len());
    let of = |kind| fared.iter().find(|f| f.kind == kind).unwrap().clone();
    assert_eq!(of(FactorKind::Pin), Fared { kind: FactorKind::Pin, asked: 4, proved: 2, median: Some(Span::seconds(6)), fell_back: 1, refused_falsely: 1 });
    assert_eq!(of(FactorKind::SmsCode), Fared { kind: FactorKind::SmsCode, asked: 2, proved: 1, median: Some(Span::seconds(11)), fell_back: 1, refused_falsely: 0 });
    assert_eq!(of(FactorKind::Totp), Fared { kind: FactorKind::Totp, asked: 0, proved: 0, median: None, fell_back: 0, refused_falsely: 0 });
    assert_eq!(report.stats().iter().find(|s| s.name == "PIN").map(|s| (s.asked, s.proved)), Some((4, 2)));
    assert_eq!((report.tally().notes, report.tally().graded()), (4, 3));
}
