//! The shipped packs: what each of them takes away, that its table is true, and that broken and
//! contradictory ones are refused with a reason. That they never weaken the base is proved in
//! `crates/prove/tests/proofs.rs`.

use std::fs;

use countersign_core::{
    action::{DelegateFacts, Facts, Level, Outcome, Role},
    call::Params,
    factor::FactorKind,
    time::Span,
};
use countersign_policy::{Engine, Pack, Sources, lint, matrix, table_faults};

use crate::support::{agent, caller, decide, policies};

fn under(names: &[&str]) -> Engine {
    let packs: Vec<Pack> = names.iter().map(|name| Pack::named(name).unwrap_or_else(|e| panic!("{e}"))).collect();
    let sources = Sources::shipped().with_packs(&packs).unwrap_or_else(|e| panic!("{e}"));
    Engine::load(sources.schema, sources.files).unwrap_or_else(|e| panic!("{e}"))
}

fn proved(level: Level, proofs: &[FactorKind]) -> Facts { Facts { proofs: proofs.to_vec(), ..caller(level) } }

fn permits(engine: &Engine, role: Role, action: &str, facts: &Facts) -> bool { decide(engine, agent(role), action, facts).permits() }

#[test]
fn cpni_call_detail() {
    use FactorKind::{Callback, Passkey, Pin, SmsCode, Totp, VerbalPassword};
    let (base, engine) = (Engine::shipped(), under(&["us-cpni"]));
    for (proofs, given) in [(&[SmsCode][..], false), (&[Totp], false), (&[Pin], true), (&[VerbalPassword], true), (&[Callback], true), (&[Passkey], true), (&[SmsCode, Pin], true)] {
        let facts = proved(Level::Authenticated, proofs);
        assert_eq!(permits(&engine, Role::Agent, "view:orders", &facts), given, "{proofs:?}");
        assert_eq!(permits(&engine, Role::Agent, "speak:orders", &facts), given, "{proofs:?}");
        assert!(permits(&base, Role::Agent, "view:orders", &facts) && permits(&engine, Role::Agent, "view:name", &facts));
    }
    // A lead with a reason sees the name, and no call detail.
    let reason = Facts { with_reason: true, ..caller(Level::Identified) };
    assert!(permits(&base, Role::Lead, "view:orders", &reason) && !permits(&engine, Role::Lead, "view:orders", &reason));
    // Whoever proved a texted code is told that a word is missing.
    let decision = decide(&engine, agent(Role::Agent), "view:orders", &proved(Level::Authenticated, &[SmsCode]));
    assert!(matches!(decision.outcome, Outcome::StepUp { .. }), "{decision:?}");
}

#[test]
fn ffiec_transactions() {
    let engine = under(&["us-ffiec"]);
    for action in ["do:request_refund", "do:cancel_order", "change:phone"] {
        assert!(!permits(&engine, Role::Lead, action, &caller(Level::Authenticated)), "{action}");
        assert!(permits(&engine, Role::Agent, action, &caller(Level::Strong)), "{action}");
    }
    assert!(!permits(&engine, Role::Agent, "change:password", &caller(Level::Strong)));
    assert!(permits(&engine, Role::Specialist, "change:password", &caller(Level::Strong)));
}

#[test]
fn hipaa_identity_and_authority() {
    let engine = under(&["us-hipaa"]);
    assert!(!permits(&engine, Role::Lead, "view:name", &Facts { with_reason: true, ..caller(Level::Identified) }));
    for (kind, may) in [("guardian", true), ("power_of_attorney", true), ("assistant", false), ("neighbour", false)] {
        for covers in [true, false] {
            let facts = Facts { delegate: Some(DelegateFacts { kind: kind.into(), covers }), ..caller(Level::Authenticated) };
            assert_eq!(permits(&engine, Role::Agent, "view:orders", &facts), may && covers, "{kind} {covers}");
        }
    }
}

#[test]
fn psd2_two_elements() {
    let engine = under(&["eu-psd2"]);
    for action in ["do:request_refund", "view:orders", "speak:orders"] {
        assert!(!permits(&engine, Role::Agent, action, &caller(Level::Authenticated)), "{action}");
        assert!(permits(&engine, Role::Agent, action, &caller(Level::Strong)), "{action}");
    }
}

#[test]
fn pci_masking() {
    let engine = under(&["pci"]);
    assert!(!permits(&engine, Role::Agent, "view:account_number", &caller(Level::Strong)));
    assert!(permits(&engine, Role::Specialist, "view:account_number", &caller(Level::Strong)));
}

#[test]
fn biometrics_count_for_nothing() {
    // No policy that names one is loaded, in the base or in a pack.
    let mut sources = Sources::shipped();
    sources.files.push(("voice.cedar".into(), r#"@id("voice") permit(principal, action == Countersign::Action::"reach:authenticated", resource)
        when { context.proofs.contains("voice") };"#.into()));
    let findings = lint::check(&sources.schema, &sources.files);
    assert!(findings.iter().any(|f| f.message.contains("`voice` is no factor")), "{findings:#?}");
    let engine = under(&["biometric"]);
    assert!(permits(&engine, Role::Agent, "reach:authenticated", &caller(Level::Authenticated)));
}

#[test]
fn tcpa_texts() {
    let engine = under(&["us-tcpa"]);
    let facts = caller(Level::Identified);
    assert!(permits(&engine, Role::Agent, "use:sms_code", &facts));
    assert!(!permits(&engine, Role::Agent, "use:sms_code", &Facts { stronger_set_up: true, ..facts }));
}

#[test]
fn nist_knowledge_is_not_enough() {
    let (base, engine) = (Engine::shipped(), under(&["nist-800-63b-4"]));
    let known = proved(Level::Identified, &[FactorKind::Pin, FactorKind::VerbalPassword]);
    assert!(permits(&base, Role::Agent, "reach:authenticated", &known));
    assert!(!permits(&engine, Role::Agent, "reach:authenticated", &known));
    let both = proved(Level::Identified, &[FactorKind::Pin, FactorKind::SmsCode]);
    assert!(permits(&engine, Role::Agent, "reach:strong", &both));
}

#[test]
fn nist_no_voice() {
    let (base, engine) = (Engine::shipped(), under(&["nist-800-63b-4"]));
    for action in ["use:voice", "change:voice"] {
        for role in [Role::Agent, Role::Specialist, Role::Lead] {
            assert!(permits(&base, role, action, &caller(Level::Strong)), "{action}");
            assert!(!permits(&engine, role, action, &caller(Level::Strong)), "{action}");
        }
    }
}

/// A policy of your own may ask for a voice that is not another's, beside the proofs; none may give
/// something for it.
#[test]
fn a_voice_may_take_away_and_never_gives() {
    use countersign_core::voice::Likeness;
    let with = |text: &str| {
        let mut sources = Sources::shipped();
        sources.files.push(("voice.cedar".into(), text.into()));
        sources
    };
    for text in [
        r#"@id("v") permit(principal, action == Countersign::Action::"reach:authenticated", resource) when { context.voice == "alike" };"#,
        r#"@id("v") permit(principal, action == Countersign::Action::"view:orders", resource) when { context.level >= 2 && context.voice != "not_alike" };"#,
    ] {
        let sources = with(text);
        let findings = lint::check(&sources.schema, &sources.files);
        assert!(!findings.is_empty() && Engine::load(sources.schema, sources.files).is_err(), "{text}");
    }
    let sources = with(r#"@id("voice_not_another") @reason("The voice is not the one on file.") @wayout("specialist")
        forbid(principal, action == Countersign::Action::"do:request_refund", resource) when { context.voice == "not_alike" };"#);
    let engine = Engine::load(sources.schema, sources.files).unwrap_or_else(|e| panic!("{e}"));
    for (voice, may) in [(Likeness::NotCompared, true), (Likeness::Alike, true), (Likeness::NotAlike, false)] {
        assert_eq!(permits(&engine, Role::Agent, "do:request_refund", &Facts { voice, ..caller(Level::Authenticated) }), may);
    }
}

#[test]
fn nist_telephone() {
    let engine = under(&["nist-800-63b-4"]);
    for kind in ["use:sms_code", "use:voice_code"] {
        assert!(permits(&engine, Role::Agent, kind, &Facts { risk: 49, ..caller(Level::Identified) }));
        assert!(!permits(&engine, Role::Agent, kind, &Facts { risk: 50, ..caller(Level::Identified) }));
    }
}

/// Of all packs together and of the configuration, the strictest holds, in whatever order.
#[test]
fn limits_are_tightened() {
    let mut packs = Pack::shipped();
    let mut all: Vec<String> = Vec::new();
    for _ in 0..2 {
        let mut params = Params::default();
        for pack in &packs {
            pack.tighten(&mut params).unwrap();
        }
        assert_eq!((params.cooling_off, params.level_life), (Span::days(30), Span::minutes(5)), "us-cpni, eu-psd2");
        assert_eq!((params.lifetime_failures, params.throttle_window, params.sends), (5, Span::minutes(30), 3), "eu-psd2, pci, us-tcpa");
        let before = Params::default();
        assert!(params.tries <= before.tries && params.throttle <= before.throttle && params.challenge_life <= before.challenge_life && params.code_digits >= before.code_digits);
        all.push(format!("{params:?}"));
        packs.reverse();
    }
    assert_eq!(all[0], all[1]);
    // A configuration that is stricter already stays so.
    let mut strict = Params { tries: 1, cooling_off: Span::days(90), ..Params::default() };
    packs.iter().for_each(|pack| drop(pack.tighten(&mut strict).unwrap()));
    assert_eq!((strict.tries, strict.cooling_off), (1, Span::days(90)));
}

/// All packs together leave a way to everything that one of them does not shut on purpose.
#[test]
fn all_packs_together() {
    let names: Vec<String> = Pack::shipped().into_iter().map(|p| p.name).collect();
    assert_eq!(names.len(), 8);
    let engine = under(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for action in ["view:orders", "change:phone", "do:request_refund", "reach:strong", "view:account_number"] {
        assert!(permits(&engine, Role::Specialist, action, &caller(Level::Strong)), "{action}");
    }
    insta::with_settings!({
        snapshot_path => policies().join("cases"), prepend_module_to_snapshot => false, omit_expression => true,
        description => "What the base policies with all shipped packs answer to an ordinary caller. Review it like code.",
    }, { insta::assert_snapshot!("matrix-all-packs", matrix(&engine)) });
}

/// Each clause names rules and tests that exist, and every rule of a pack is there for a clause.
#[test]
fn every_clause_is_tied_to_a_rule_and_a_test() {
    let root = policies().join("..");
    let exists = |test: &str| {
        let Some((file, name)) = test.split_once("::") else { return false };
        fs::read_to_string(root.join(file)).is_ok_and(|text| text.contains(&format!("fn {name}(")))
    };
    let schema = Sources::shipped().schema;
    let faults: Vec<String> = Pack::shipped().iter().flat_map(|pack| table_faults(pack, &schema, exists)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // The check can fail.
    let mut pack = Pack::named("pci").unwrap();
    pack.about.clauses[1].rules.push("policy:nothing".into());
    pack.about.clauses[1].tests.push("crates/policy/tests/policy/packs.rs::nothing".into());
    assert_eq!(table_faults(&pack, &schema, exists).len(), 2);
}

#[test]
fn what_lies_in_the_folder_is_built_in() {
    let folder = policies().join("packs");
    let mut names: Vec<String> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, Pack::shipped().into_iter().map(|p| p.name).collect::<Vec<_>>());
    for name in names {
        let (built_in, lying) = (Pack::named(&name).unwrap(), Pack::from_dir(&folder.join(&name)).unwrap());
        assert_eq!((built_in.policies, built_in.invariants), (lying.policies, lying.invariants));
    }
}

fn pack(name: &str, policies: &str) -> Pack { Pack { name: name.into(), policies: policies.into(), ..Pack::named("pci").unwrap() } }

#[test]
fn broken_packs_are_refused_with_a_reason() {
    let refused = |packs: &[Pack]| Sources::shipped().with_packs(packs).unwrap_err().to_string();
    let generous = pack("generous", r#"@id("gift") permit(principal, action, resource);"#);
    let text = refused(&[generous]);
    assert!(text.contains("a pack only takes away, and this permits something") && text.contains("packs/generous/policies.cedar:1:1"), "{text}");
    let known = pack("known", r#"@id("known_only") forbid(principal, action in Countersign::Action::"reach", resource) unless { context.classes.contains("knowledge") };"#);
    let held = pack("held", r#"@id("nothing_known") forbid(principal, action in Countersign::Action::"reach", resource) when { context.classes.contains("knowledge") };"#);
    let text = refused(&[known.clone(), held]);
    assert!(text.contains("nobody can `reach:authenticated` any more") && text.contains("known and held"), "{text}");
    assert!(Sources::shipped().with_packs(std::slice::from_ref(&known)).is_ok());
    assert!(refused(&[known.clone(), known]).contains("this pack is named twice"));
    let shut = pack("shut", r#"@id("shut") forbid(principal, action in Countersign::Action::"reach", resource);"#);
    assert!(refused(&[shut]).contains("with shut nobody can `reach:authenticated` any more"));
    // What one pack shuts on purpose is its business.
    let quiet = pack("quiet", r#"@id("quiet") forbid(principal, action in Countersign::Action::"speak", resource);"#);
    assert!(Sources::shipped().with_packs(&[quiet]).is_ok());

    assert!(Pack::named("us-dream").unwrap_err().to_string().contains("there is no pack `us-dream`: shipped are biometric, eu-psd2"));
    assert!(Pack::named("./nowhere").unwrap_err().to_string().contains("nowhere/pack.toml"));
    let mut odd = Pack::named("pci").unwrap();
    odd.about.parameters.insert("luck".into(), 7);
    assert!(odd.tighten(&mut Params::default()).unwrap_err().to_string().contains("`luck = 7` is no limit that can be tightened"));
}

/// An invariant that speaks of what the schema does not know, permits, or does not say what it promises.
#[test]
fn broken_invariants_are_refused_with_a_reason() {
    let schema = Sources::shipped().schema;
    let refused = |text: &str| countersign_policy::invariant::read(&schema, &[("mine.cedar".into(), text.into())]).unwrap_err().to_string();
    let text = refused("\n@id(\"x\") @says(\"X.\")\nforbid(principal, action == Countersign::Action::\"eat:cake\", resource);");
    assert!(text.contains("eat:cake") && text.contains("mine.cedar:3"), "{text}");
    assert!(refused(r#"@id("x") @says("X.") permit(principal, action, resource);"#).contains("an invariant says what never happens"));
    assert!(refused(r#"@id("x") forbid(principal, action, resource);"#).contains("does not say what it promises"));
    assert!(refused(r#"@id("x") @says("X.") forbid(principal, action, resource) when { context.ssn == "1" };"#).contains("ssn"));
    assert!(refused("forbid(principal").contains("mine.cedar:1"));
    let good = countersign_policy::invariant::read(&schema, &Sources::shipped_invariants()).unwrap();
    assert!(good.len() >= 15 && good.iter().all(|i| i.says.ends_with('.') && i.place.0 == "invariants/base.cedar"));
    assert_eq!(Sources::invariants_from_dir(&policies()).unwrap(), Sources::shipped_invariants());
}
