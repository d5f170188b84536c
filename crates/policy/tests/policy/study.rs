//! Scenarios of the field study, each under its name, for every state and not for an example.

use countersign_core::{
    action::{Action, DelegateFacts, Facts, Level, Outcome, Policy, Request, WayOut},
    claim::ClaimKind,
    factor::FactorKind,
};
use countersign_policy::Engine;

use crate::support::{EVERYBODY, caller, decide};

/// Every combination of everything that is not a proof, level or claim.
fn circumstances() -> Vec<Facts> {
    let mut delegates = vec![None];
    for kind in ["guardian", "assistant", "power_of_attorney"] {
        delegates.extend([true, false].map(|covers| Some(DelegateFacts { kind: kind.into(), covers })));
    }
    let mut out = Vec::new();
    for risk in [0, 60, 80] {
        for bits in 0..64u32 {
            let bit = |n: u32| bits & (1 << n) != 0;
            for delegate in &delegates {
                out.push(Facts {
                    risk,
                    opened: bit(0),
                    frozen: bit(1),
                    phone_lock: bit(2),
                    duress: bit(3),
                    with_reason: bit(4),
                    stronger_set_up: bit(5),
                    delegate: delegate.clone(),
                    ..caller(Level::Anonymous)
                });
            }
        }
    }
    out
}

/// All 128 sets of claims.
fn claim_sets() -> Vec<Vec<ClaimKind>> {
    (0..128usize).map(|bits| ClaimKind::ALL.into_iter().enumerate().filter(|(i, _)| bits & (1 << i) != 0).map(|(_, kind)| kind).collect()).collect()
}

/// Whoever knows whatever, with at most a code to the telephone: the password stays.
#[test]
fn password_by_phone_number() {
    let engine = Engine::shipped();
    let action: Action = "change:password".parse().unwrap();
    // Without proofs even a forged level; with a text, the level that it gives.
    let states = Level::ALL.map(|level| (level, vec![])).into_iter().chain([(Level::Authenticated, vec![FactorKind::SmsCode])]);
    let states: Vec<(Level, Vec<FactorKind>)> = states.collect();
    let (circumstances, claim_sets) = (circumstances(), claim_sets());
    let mut asked = 0;
    for circumstance in circumstances {
        let mut facts = circumstance;
        for (level, proofs) in &states {
            (facts.level, facts.proofs) = (*level, proofs.clone());
            for (who, actor) in EVERYBODY {
                for claims in &claim_sets {
                    facts.claims.clone_from(claims);
                    let decision = engine.decide(&Request { actor, action: &action, facts: &facts });
                    assert!(!decision.permits(), "{who} with {facts:?}: {decision:?}");
                    asked += 1;
                }
            }
        }
    }
    assert_eq!(asked, 3 * 64 * 7 * 5 * 5 * 128);
}

/// The address is spoken to nobody, whatever was proved.
#[test]
fn utility_reads_address() {
    let engine = Engine::shipped();
    for mut facts in circumstances() {
        for claims in [vec![], ClaimKind::ALL.to_vec()] {
            for level in Level::ALL {
                for (who, actor) in EVERYBODY {
                    facts = Facts { claims: claims.clone(), proofs: caller(level).proofs, level, ..facts };
                    for action in ["speak:address", "speak:postal_code", "speak:phone", "speak:email", "speak:account_number", "speak:date_of_birth"] {
                        let decision = decide(&engine, actor, action, &facts);
                        assert_eq!(decision.outcome, Outcome::Refuse { way_out: WayOut::None }, "{action} for {who} with {facts:?}");
                        assert!(decision.policies.contains(&"never_spoken".to_owned()));
                    }
                }
            }
        }
    }
}

/// At every level and in every state the answer is: online.
#[test]
fn ups_online_only() {
    let engine = Engine::shipped();
    for mut facts in circumstances() {
        for level in Level::ALL {
            facts = Facts { proofs: caller(level).proofs, level, ..facts };
            // An administrator is on no call, and has no customer to send anywhere.
            for (who, actor) in EVERYBODY {
                for action in ["do:close_account", "do:redirect_parcel"] {
                    let decision = decide(&engine, actor, action, &facts);
                    assert_eq!(decision.outcome, Outcome::Refuse { way_out: WayOut::Online }, "{action} for {who} with {facts:?}");
                }
            }
        }
    }
}

#[test]
fn amazon_honours_totp() {
    let engine = Engine::shipped();
    let usable = |kind: FactorKind, stronger_set_up| {
        let facts = Facts { stronger_set_up, ..caller(Level::Identified) };
        decide(&engine, EVERYBODY[1].1, &Action::use_factor(kind).to_string(), &facts).permits()
    };
    for kind in FactorKind::ALL {
        assert!(usable(kind, false), "{kind}");
        assert_eq!(usable(kind, true), !kind.is_sent(), "{kind}");
    }
}

/// A recognised number is told what is upcoming, and nothing that says who or where.
#[test]
fn united_recognition() {
    let engine = Engine::shipped();
    let recognised = Facts { claims: vec![ClaimKind::Number], opened: false, ..caller(Level::Identified) };
    for action in engine.actions().filter(|a| ["speak", "view", "mask"].iter().any(|verb| a.to_string().starts_with(verb))) {
        for (who, actor) in EVERYBODY {
            let permitted = engine.decide(&Request { actor, action, facts: &recognised }).permits();
            assert_eq!(permitted, action.object == "upcoming" && action.to_string().starts_with("speak") && who != "admin", "{action} for {who}");
        }
    }
}

#[test]
fn nobody_asks_for_what_the_schema_does_not_know() {
    let engine = Engine::shipped();
    for action in ["do:unheard_of", "view:ssn", "reach:identified", "reach:anonymous", "change:everything"] {
        for (who, actor) in EVERYBODY {
            let decision = decide(&engine, actor, action, &caller(Level::Strong));
            assert_eq!(decision.outcome, Outcome::Refuse { way_out: WayOut::None }, "{action} for {who}");
            assert!(decision.policies.is_empty());
        }
    }
}

#[test]
fn every_policy_explains_itself() {
    let engine = Engine::shipped();
    for id in engine.policy_ids() {
        let reason = engine.explain(id).unwrap_or_else(|| panic!("{id} has no @reason"));
        assert!(reason.ends_with('.') && reason.len() > 10, "{id}: {reason}");
    }
    assert_eq!(engine.explain("unheard_of"), None);
}
