//! What would it take? The plans that the engine's decisions make.

use countersign_core::{
    action::{Action, Actor, Facts, Level, Policy, Role},
    factor::FactorKind::{self, Hotp, Pin, SmsCode, Totp, VerbalPassword, VoiceCode},
};
use countersign_policy::Engine;

use crate::support::{agent, caller};

fn plan(actor: Actor, action: &str, facts: &Facts, available: &[FactorKind]) -> Vec<Vec<FactorKind>> {
    let action: Action = action.parse().unwrap();
    Engine::shipped().plan(actor, &action, facts, available)
}

#[test]
fn a_change_takes_one_of_each_class() {
    let plans = plan(agent(Role::Agent), "change:phone", &caller(Level::Identified), &[SmsCode, Pin, Totp]);
    assert_eq!(plans, [vec![SmsCode, Pin], vec![Pin, Totp]]);
}

#[test]
fn what_was_proved_is_not_asked_again() {
    let texted = caller(Level::Authenticated);
    assert_eq!(plan(agent(Role::Agent), "change:phone", &texted, &[SmsCode, Pin, Totp]), [vec![Pin]]);
    let with_pin = Facts { proofs: vec![Pin], ..caller(Level::Authenticated) };
    assert_eq!(plan(agent(Role::Agent), "change:phone", &with_pin, &[Totp, SmsCode, Pin]), [vec![Totp], vec![SmsCode]]);
}

#[test]
fn one_proof_is_enough_to_see_orders() {
    let plans = plan(agent(Role::Agent), "view:orders", &caller(Level::Identified), &[Totp, VerbalPassword]);
    assert_eq!(plans, [vec![Totp], vec![VerbalPassword]]);
}

#[test]
fn one_class_alone_makes_no_plan_for_a_change() {
    assert!(plan(agent(Role::Lead), "change:password", &caller(Level::Identified), &[SmsCode, VoiceCode, Totp, Hotp]).is_empty());
    assert!(plan(agent(Role::Lead), "change:password", &caller(Level::Identified), &[Pin, VerbalPassword]).is_empty());
}

#[test]
fn nothing_makes_a_plan_for_what_is_refused() {
    let everything = FactorKind::ALL;
    for (actor, action) in [
        (agent(Role::Lead), "do:close_account"),
        (agent(Role::Agent), "change:factors"),
        (agent(Role::Lead), "view:date_of_birth"),
        (agent(Role::Lead), "speak:address"),
        (agent(Role::Admin), "view:upcoming"),
        (Actor::SelfService, "change:phone"),
        (agent(Role::Lead), "do:unheard_of"),
    ] {
        assert!(plan(actor, action, &caller(Level::Identified), &everything).is_empty(), "{action}");
    }
    let frozen = Facts { frozen: true, ..caller(Level::Identified) };
    assert!(plan(agent(Role::Lead), "change:phone", &frozen, &everything).is_empty());
    assert!(!plan(agent(Role::Lead), "do:end_freeze", &frozen, &everything).is_empty());
}

#[test]
fn levels_come_from_proofs_only() {
    let engine = Engine::shipped();
    let level = |proofs: &[FactorKind]| engine.level(Actor::SelfService, &Facts { proofs: proofs.to_vec(), ..caller(Level::Identified) });
    assert_eq!(level(&[]), (Level::Identified, vec![]));
    assert_eq!(level(&[Pin]), (Level::Authenticated, vec!["authenticated_by_one_proof".to_owned()]));
    assert_eq!(level(&[SmsCode, Totp]).0, Level::Authenticated);
    assert_eq!(level(&[SmsCode, VerbalPassword]), (Level::Strong, vec!["strong_by_two_classes".to_owned()]));
    let duress = Facts { proofs: vec![SmsCode, Pin], duress: true, ..caller(Level::Identified) };
    assert_eq!(engine.level(Actor::SelfService, &duress).0, Level::Strong, "it must look accepted");
}
