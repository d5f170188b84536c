//! The score as a function: what it is made of, that it only rises, and that nobody can be locked out
//! by what others do.

use proptest::prelude::*;

use super::*;
use crate::{call::Origin, claim::ClaimKind, id::{AccountId, CallId}, identify::ClaimRecord, secret::Blind};

fn call() -> Call {
    let mut call = Call::new(CallId([1; 16]));
    call.number = Some(Blind([2; 16]));
    call.verstat = Verstat::PassedA;
    call
}

fn parts(scored: &Scored) -> Vec<(&str, u8)> { scored.parts.iter().map(|p| (p.name.as_str(), p.points)).collect() }

#[test]
fn a_calm_call_scores_nothing() {
    assert_eq!(Rules::default().score(&call(), OnFile::default()), Scored { score: 0, parts: Vec::new(), route: Route::Agent });
}

/// One call for every part, so that none is a name without a meaning.
#[test]
fn every_part_can_be_seen_weighed_and_told() {
    let account = AccountId([3; 16]);
    let claim = |accounts: Vec<AccountId>, look_alike| ClaimRecord { kind: ClaimKind::Name, via: Via::Agent, accounts, look_alike };
    let mut worst = call();
    worst.denied = true;
    worst.verstat = Verstat::Failed;
    worst.failures = 9;
    worst.contradictions = 2;
    worst.claims = vec![claim(vec![], false), claim(vec![account], true)];
    worst.disowned = true;
    let sim = NumberFacts { unknown: true, line: Some(LineType::NonFixedVoip), sim_changed_hours: Some(6), sim_within: false, reassigned: true, forwarded: true };
    worst.signals.number = Some(sim.clone());
    worst.signals.history = Some(History {
        accounts_on_line: 4, lines_on_account: 9, failed_on_line: 5, failed_on_account: 4, fraud_on_line: true, fraud_on_account: true, odd_hour: 9, odd_country: 12,
    });
    let file = OnFile { frozen: true, changed: true };
    let mut seen = observe(&worst, file);
    let unlike = Call { voice: crate::voice::State { last: Some(Outcome::Unlike), alarm: Some(Outcome::KnownRecording), ..Default::default() }, ..call() };
    let unheard = Call { voice: crate::voice::State { last: Some(Outcome::OtherWords), alarm: Some(Outcome::Synthetic), ..Default::default() }, ..call() };
    let unsigned = Call { verstat: Verstat::None, ..call() };
    let unchecked = Call { verstat: Verstat::Unchecked, ..call() };
    let gateway = Call { verstat: Verstat::PassedC, ..call() };
    let withheld = Call { number: None, ..call() };
    let odd = Call { signals: Signals { history: None, number: Some(NumberFacts { line: Some(LineType::NotCalledFrom), ..sim }) }, ..call() };
    assert_eq!(observe(&unchecked, OnFile::default()).iter().map(|s| s.part).collect::<Vec<_>>(), observe(&unsigned, OnFile::default()).iter().map(|s| s.part).collect::<Vec<_>>());
    for other in [unlike, unheard, unsigned, gateway, withheld, odd] {
        seen.extend(observe(&other, OnFile::default()));
    }
    // A freeze would stand for it.
    seen.extend(observe(&call(), OnFile { frozen: false, changed: true }));
    for part in Part::ALL {
        let found = seen.iter().find(|s| s.part == part).unwrap_or_else(|| panic!("nothing leads to {part}"));
        assert!(found.times >= 1 && u32::from(found.times) <= part.most(), "{found:?}");
        assert!(found.evidence.len() > 8 && !found.evidence.ends_with('.'), "{found:?}");
    }
    let said = |part: Part| seen.iter().find(|s| s.part == part).unwrap().evidence.clone();
    assert_eq!(said(Part::AccountsOnLine), "4 accounts from this line in 24 hours");
    assert_eq!(said(Part::SimChangedLately), "SIM changed 6 hours ago");
    assert_eq!(said(Part::FailedChallenges), "9 wrong entries on this call");
    assert_eq!(Rules::default().weigh(&seen).score, 100);
}

#[test]
fn names_are_unique_and_found_again() {
    for part in Part::ALL {
        assert_eq!(Part::parse(part.name()), Some(part));
    }
}

#[test]
fn a_household_and_a_bad_day_are_nothing() {
    let mut call = call();
    call.signals.history = Some(History { accounts_on_line: 2, lines_on_account: 2, failed_on_line: 3, failed_on_account: 3, ..History::default() });
    assert!(call.signals.history.as_ref().unwrap().is_quiet());
    assert_eq!(Rules::default().score(&call, OnFile::default()).parts, []);
}

#[test]
fn unknown_points_name_the_known_ones() {
    let error = Points::with([("sim_swaped".to_owned(), 30)]).unwrap_err().to_string();
    assert!(error.contains("there is no signal \"sim_swaped\"") && error.contains("sim_changed_lately") && error.contains("odd_hour"), "{error}");
    for points in [-1, 101] {
        assert!(matches!(Points::with([("odd_hour".to_owned(), points)]), Err(BadPoints::Range { .. })));
    }
}

#[test]
fn routes_are_in_order_or_refused() {
    let routes = Routes::new(Some(30), Some(50), Some(70), Some(90)).unwrap();
    let of: Vec<Route> = [0, 29, 30, 50, 69, 70, 90, 100].map(|score| routes.of(score)).to_vec();
    use Route::{Agent, CallBack, End, SelfService, Specialist};
    assert_eq!(of, [Agent, Agent, Specialist, CallBack, CallBack, SelfService, End, End]);
    assert_eq!(Routes::new(Some(50), Some(40), None, None), Err(BadRoutes::Order { calmer: "specialist", graver: "call_back" }));
    assert_eq!(Routes::new(None, None, Some(60), Some(50)), Err(BadRoutes::Order { calmer: "self_service", graver: "end" }));
    assert!(matches!(Routes::new(Some(0), None, None, None), Err(BadRoutes::Score { .. })));
    assert_eq!(Routes::new(None, None, None, None).unwrap().of(100), Agent);
    let read = |text: &str| serde_json::from_str::<Routes>(text);
    assert_eq!(read("{}").unwrap(), Routes::default());
    assert_eq!(read(r#"{"end":"never"}"#).unwrap().of(100), Specialist);
    for bad in [r#"{"end":"soon"}"#, r#"{"end":0}"#, r#"{"end":101}"#, r#"{"specialist":95}"#, r#"{"agents":1}"#] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

#[test]
fn calls_that_nobody_rang_are_not_held_against_them() {
    let call = Call { number: None, origin: Origin::Client("till".into()), ..call() };
    assert_eq!(observe(&call, OnFile::default()), []);
}

fn any_seen() -> impl Strategy<Value = Seen> {
    (prop::sample::select(Part::ALL.to_vec()), 1u32..=4).prop_map(|(part, n)| Seen { part, times: u8::try_from(n.min(part.most())).unwrap(), evidence: format!("seen: {part}") })
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let points = prop::collection::btree_map(prop::sample::select(Part::ALL.to_vec()), 0i64..=100, 0..6);
    let routes = prop::collection::vec(prop::option::of(1u8..=100), 4).prop_map(|mut r| {
        // Ordered by construction.
        let mut some: Vec<u8> = r.iter().flatten().copied().collect();
        some.sort_unstable();
        let mut next = some.into_iter();
        r.iter_mut().for_each(|slot| if slot.is_some() { *slot = next.next() });
        Routes::new(r[0], r[1], r[2], r[3]).unwrap()
    });
    (points, routes).prop_map(|(points, routes)| Rules {
        mode: Mode::Act, points: Points::with(points.into_iter().map(|(p, n)| (p.name().to_owned(), n))).unwrap(), routes,
    })
}

/// Whoever was taken over, has undone the change and frozen the account keys a PIN wrongly, more than once.
#[test]
fn a_frozen_account_waits_for_a_specialist_whatever_is_keyed() {
    let rules = Rules::default();
    let file = OnFile { frozen: true, changed: true };
    for failures in 0..=5 {
        let call = Call { failures, ..call() };
        let scored = rules.score(&call, file);
        assert_eq!(scored.route, Route::Specialist, "{failures}: {scored:?}");
        assert!(!scored.parts.iter().any(|p| p.name == Part::ContactChangedLately.name()), "{scored:?}");
    }
}

/// Each part once, as `observe` gives them.
fn any_sight() -> impl Strategy<Value = Vec<Seen>> {
    prop::collection::vec(any_seen(), 0..12).prop_map(|mut all| {
        all.sort_by_key(|s| s.part);
        all.dedup_by_key(|s| s.part);
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(0x5c0e), ..ProptestConfig::default() })]

    #[test]
    fn another_signal_never_lowers_the_score(rules in any_rules(), sight in any_sight(), more in any_seen()) {
        let before = rules.weigh(&sight);
        let mut after = sight;
        match after.iter_mut().find(|s| s.part == more.part) {
            Some(known) => known.times = known.times.max(more.times),
            None => after.push(more),
        }
        let after = rules.weigh(&after);
        prop_assert!(after.score >= before.score && after.route >= before.route, "{before:?} {after:?}");
    }

    #[test]
    fn the_score_is_the_sum_of_its_parts_and_each_has_evidence(rules in any_rules(), sight in any_sight()) {
        let scored = rules.weigh(&sight);
        let sum: u32 = scored.parts.iter().map(|p| u32::from(p.points)).sum();
        prop_assert_eq!(u32::from(scored.score), sum.min(100));
        prop_assert!(scored.parts.iter().all(|p| !p.evidence.is_empty() && Part::parse(&p.name).is_some()), "{:?}", parts(&scored));
        prop_assert_eq!(scored.route, rules.routes.of(scored.score));
    }

    /// Lockout is no weapon: what others do in a customer's name leads to a specialist at most, and so does
    /// a freeze.
    #[test]
    fn what_is_bounded_never_leads_further_than_to_a_specialist(rules in any_rules(), sight in any_sight()) {
        let own: Vec<Seen> = sight.iter().filter(|s| !s.part.is_bounded()).cloned().collect();
        let (alone, all) = (rules.weigh(&own), rules.weigh(&sight));
        prop_assert!(all.route <= Route::Specialist || all.route == alone.route, "{all:?}");
        prop_assert!(all.score < 75 || all.score == alone.score, "below the score at which nothing changes any more: {all:?}");
    }
}
