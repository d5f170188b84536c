//! What holds for all facts.

use countersign_core::{
    action::{Action, Actor, DelegateFacts, Facts, Level, Outcome, Policy, Request, Role, WayOut},
    claim::ClaimKind,
    factor::FactorKind,
    voice::Likeness,
};
use countersign_policy::Engine;
use proptest::{prelude::*, sample::subsequence};

use crate::support::{EVERYBODY, caller};

thread_local! {
    static ENGINE: Engine = Engine::shipped();
}

fn decide(actor: Actor, action: &Action, facts: &Facts) -> Outcome { ENGINE.with(|e| e.decide(&Request { actor, action, facts }).outcome) }

/// The facts as core would have them: the level is what the proofs give.
fn levelled(actor: Actor, mut facts: Facts) -> Facts {
    facts.level = ENGINE.with(|e| e.level(actor, &facts).0);
    facts.opened |= !facts.proofs.is_empty();
    facts
}

fn any_actor() -> impl Strategy<Value = Actor> { (0..EVERYBODY.len()).prop_map(|i| EVERYBODY[i].1) }

fn any_action() -> impl Strategy<Value = Action> {
    let all: Vec<Action> = Engine::shipped().actions().cloned().collect();
    proptest::sample::select(all)
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let delegate = prop_oneof![
        2 => Just(None),
        1 => ("(guardian|assistant|power_of_attorney|[a-z]{0,8})", any::<bool>()).prop_map(|(kind, covers)| Some(DelegateFacts { kind, covers })),
    ];
    let sets = (subsequence(ClaimKind::ALL.to_vec(), 0..=7), subsequence(FactorKind::ALL.to_vec(), 0..=4));
    let flags = proptest::array::uniform6(any::<bool>());
    let levels = proptest::sample::select(Level::ALL.to_vec());
    let voices = proptest::sample::select(Likeness::ALL.to_vec());
    (levels, sets, flags, -5i64..110, delegate, voices).prop_map(|(level, (claims, proofs), [opened, frozen, phone_lock, duress, stronger_set_up, with_reason], risk, delegate, voice)| Facts {
        level, opened, claims, proofs, risk, frozen, phone_lock, duress, delegate, stronger_set_up, with_reason, voice,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a voice is like: no level comes of it, and nothing more is permitted than without.
    #[test]
    fn a_voice_gives_nothing(actor in any_actor(), action in any_action(), facts in any_facts()) {
        let without = Facts { voice: Likeness::NotCompared, ..facts.clone() };
        prop_assert_eq!(ENGINE.with(|e| e.level(actor, &facts).0), ENGINE.with(|e| e.level(actor, &without).0));
        if decide(actor, &action, &without) != Outcome::Permit {
            prop_assert!(decide(actor, &action, &facts) != Outcome::Permit);
        }
    }

    /// More proofs, more permitted. (Duress is a fact of its own: a proof by the duress word sets it.)
    #[test]
    fn proofs_never_take_away(actor in any_actor(), action in any_action(), facts in any_facts(), more in subsequence(FactorKind::ALL.to_vec(), 1..=3)) {
        let before = levelled(actor, facts.clone());
        let mut after = facts;
        after.proofs.extend(more);
        let after = levelled(actor, after);
        prop_assert!(after.level >= before.level);
        if decide(actor, &action, &before) == Outcome::Permit {
            prop_assert_eq!(decide(actor, &action, &after), Outcome::Permit);
        }
    }

    #[test]
    fn risk_never_gives(actor in any_actor(), action in any_action(), facts in any_facts(), more in 0i64..100) {
        let riskier = Facts { risk: facts.risk.max(0) + more, ..facts.clone() };
        if decide(actor, &action, &riskier) == Outcome::Permit {
            let calmer = Facts { risk: facts.risk.max(0), ..facts };
            prop_assert_eq!(decide(actor, &action, &calmer), Outcome::Permit);
        }
    }

    /// Locks, freezes, duress and speaking for somebody else only ever take away.
    #[test]
    fn guards_never_give(actor in any_actor(), action in any_action(), facts in any_facts(), which in 0..4) {
        let mut guarded = facts.clone();
        match which {
            0 => guarded.frozen = true,
            1 => guarded.phone_lock = true,
            2 => guarded.duress = true,
            _ => guarded.delegate = Some(DelegateFacts { kind: "guardian".into(), covers: false }),
        }
        if decide(actor, &action, &guarded) == Outcome::Permit {
            let free = match which {
                0 => Facts { frozen: false, ..facts },
                1 => Facts { phone_lock: false, ..facts },
                2 => Facts { duress: false, ..facts },
                _ => Facts { delegate: None, ..facts },
            };
            prop_assert_eq!(decide(actor, &action, &free), Outcome::Permit);
        }
    }

    /// Identification is not authentication: claims change no answer at all.
    #[test]
    fn claims_change_nothing(actor in any_actor(), action in any_action(), facts in any_facts(), other in subsequence(ClaimKind::ALL.to_vec(), 0..=7)) {
        let before = decide(actor, &action, &facts);
        prop_assert_eq!(decide(actor, &action, &Facts { claims: other, ..facts }), before);
    }

    /// A remembered decision is the decision.
    #[test]
    fn memory_changes_nothing(actor in any_actor(), action in any_action(), facts in any_facts()) {
        let remembered = ENGINE.with(|e| { e.decide(&Request { actor, action: &action, facts: &facts }); e.decide(&Request { actor, action: &action, facts: &facts }) });
        thread_local! { static OTHER: Engine = Engine::shipped(); }
        let fresh = OTHER.with(|e| e.decide(&Request { actor, action: &action, facts: &facts }));
        prop_assert_eq!(remembered, fresh);
    }

    /// What a step-up promises is kept: some proofs give the level, and with them it is permitted.
    #[test]
    fn a_step_up_keeps_its_word(actor in any_actor(), action in any_action(), facts in any_facts()) {
        let facts = levelled(actor, facts);
        if let Outcome::StepUp { to } = decide(actor, &action, &facts)
            && to > Level::Identified
        {
            let mut proved = facts;
            proved.proofs.extend(caller(to).proofs);
            let proved = levelled(actor, proved);
            prop_assert!(proved.level >= to);
            prop_assert_eq!(decide(actor, &action, &proved), Outcome::Permit);
        }
    }

    #[test]
    fn held_only_under_duress(actor in any_actor(), action in any_action(), facts in any_facts()) {
        let held = decide(actor, &action, &facts) == Outcome::Refuse { way_out: WayOut::Held };
        prop_assert!(!held || (facts.duress && action.is_sensitive()));
    }

    #[test]
    fn admin_gets_nothing(action in any_action(), facts in any_facts()) {
        let outcome = decide(crate::support::agent(Role::Admin), &action, &facts);
        let refused = matches!(outcome, Outcome::Refuse { .. });
        prop_assert!(refused);
    }
}
