//! A drill that cannot fail shows nothing: with one thing taken away, each gets through and says
//! what the attacker has.
#![allow(
    clippy::unwrap_used, clippy::panic, clippy::indexing_slicing,
    reason = "the helpers of this test crate are outside of #[test] functions, where clippy.toml does not reach"
)]

use std::sync::Arc;

use countersign_drill::{Part, Setting, Verdict, attacks, run};
use countersign_policy::{Engine, Sources};

const PERMIT: &str = r#"@id("weak") @reason("weak") permit (principal, action == Countersign::Action::"ACTION", resource) when { WHEN };"#;

/// The shipped policies with one more.
fn permitting(action: &str, when: &str) -> Setting {
    let mut sources = Sources::shipped();
    sources.files.push(("weak.cedar".into(), PERMIT.replace("ACTION", action).replace("WHEN", when)));
    under(sources)
}

/// The shipped policies without these.
fn without(ids: &[&str]) -> Sources {
    let mut sources = Sources::shipped();
    for id in ids {
        let mark = format!("@id(\"{id}\")");
        let (_, text) = sources.files.iter_mut().find(|(_, text)| text.contains(&mark)).unwrap_or_else(|| panic!("no policy {id}"));
        let at = text.find(&mark).unwrap();
        let end = text[at + 4..].find("@id(").map_or(text.len(), |next| at + 4 + next);
        text.replace_range(at..end, "");
    }
    sources
}

fn under(sources: Sources) -> Setting {
    let policy = Arc::new(Engine::as_written(sources.schema.clone(), sources.files.clone()).unwrap());
    Setting { policy, sources, ..Setting::shipped() }
}

fn limits(change: impl FnOnce(&mut countersign_core::call::Params)) -> Setting {
    let mut setting = Setting::shipped();
    change(&mut setting.params);
    setting
}

/// The drill gets through, and says this.
async fn through(name: &str, setting: &Setting, loot: &str) {
    let drill = attacks::named(name).unwrap_or_else(|| panic!("no drill {name}"));
    let report = run(setting, &[Part::Shipped(drill)], 11, |_| {}).await;
    let drill = &report.drills[0];
    let Verdict::GotThrough { got } = &drill.verdict else { panic!("{name}: {:?}\n{:#?}", drill.verdict, drill.steps) };
    assert!(got.iter().any(|g| g.contains(loot)), "{name}: {got:?}");
    assert_eq!(report.exit_code(), 1);
    assert!(report.summary().contains("1 got through"), "{}", report.summary());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_policy_shows_for_nothing_is_seen() {
    through("wrong_account_opened", &permitting("view:phone", "context.level >= 1"), "Tina’s phone is on the screen").await;
    through("data_read_out", &permitting("view:address", "context.level >= 1"), "Ana’s address is on the screen").await;
    through("spoofed_number", &permitting("view:name", "context.level >= 1"), "Ana’s name is on the screen").await;
    through("insider_browsing", &permitting("view:address", "context.level >= 1"), "Tina’s address is on the screen").await;
    let mut spoken = without(&["never_spoken"]);
    spoken.files.push(("weak.cedar".into(), PERMIT.replace("ACTION", "speak:address").replace("WHEN", "context.level >= 2")));
    through("data_read_out", &under(spoken), "lets an agent read out: postal address").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_policy_permits_for_little_are_seen() {
    let phone = permitting("change:phone", "context.level >= 1");
    through("account_switch", &phone, "change:phone was carried out").await;
    through("wrong_account_opened", &phone, "change:phone: it is on Tina’s file").await;
    through("spoofed_number", &phone, "change:phone was carried out").await;
    let mut at_once = phone;
    at_once.params.cooling_off = countersign_core::time::Span(0);
    through("text_to_new_number", &at_once, "a message went to +12025550150").await;
    through("password_by_phone_number", &permitting("change:password", "context.level >= 1"), "change:password was carried out").await;
    let strong = permitting("reach:strong", "context.classes.contains(\"possession\")");
    through("sim_swapped_phone", &strong, "the call reached strong").await;
    through("relayed_code", &strong, "change:phone: it is on Ana’s file").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guards_that_are_missing_are_seen() {
    through("delegate_overreach", &under(without(&["delegate_not_covered", "delegate_never"])), "change:phone: it is on Chidi’s file").await;
    let mut closing = without(&["online_only"]);
    closing.files.push(("weak.cedar".into(), PERMIT.replace("ACTION", "do:close_account").replace("WHEN", "context.level >= 3")));
    through("online_only", &under(closing), "do:close_account was carried out").await;
    through("frozen_account", &under(without(&["frozen_nothing_changes"])), "change:phone: it is on Ana’s file").await;
    through("frozen_account", &under(without(&["frozen_nothing_shown"])), "Ana’s name is on the screen").await;
    through("duress", &under(without(&["duress_held"])), "change:phone: it is on Sofía’s file").await;
    through("duress", &under(without(&["duress_nothing_shown"])), "Sofía’s address is on the screen").await;
    through("too_risky", &under(without(&["risk_nothing_changes"])), "change:phone: it is on Tina’s file").await;
    through("sim_swapped_phone", &under(without(&["app_not_replaced_by_text"])), "the call reached authenticated").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_that_are_none_are_seen() {
    through("push_bombing", &limits(|p| p.approvals = 1000), "12 requests in a row from one line").await;
    through("verbal_password_guessing", &limits(|p| (p.tries, p.throttle) = (100, 1000)), "the call reached authenticated").await;
    through("agent_fishing", &limits(|p| p.compare_misses = 1000), "guessed Ana’s e-mail address").await;
    through("agent_fishing", &limits(|p| p.agent_claims = 1000), "found a customer").await;
    through("hybrid_code_guessing", &limits(|p| p.typed_codes = 1000), "the call reached authenticated").await;
    through("hybrid_code_guessing", &limits(|p| p.throttle = 1000), "the call reached authenticated").await;
    through("portal_thief", &limits(|p| p.cooling_off = countersign_core::time::Span(0)), "the call reached strong").await;
}

#[tokio::test]
async fn a_policy_that_takes_a_claim_for_a_proof_is_seen() {
    let mut setting = Setting::shipped();
    let planted = PERMIT.replace("ACTION", "reach:authenticated").replace("WHEN", "context.proofs.contains(\"ssn\")");
    setting.sources.files.push(("own.cedar".into(), planted));
    through("ssn_as_proof", &setting, "own.cedar:1").await;
}

/// A configuration without doors is no failure, and no success either.
#[tokio::test]
async fn a_door_that_is_missing_is_named() {
    let mut setting = Setting::shipped();
    (setting.telephone, setting.api) = (false, false);
    let parts: Vec<Part<'_>> = attacks::all().map(Part::Shipped).collect();
    let report = run(&setting, &parts, 3, |_| {}).await;
    for drill in &report.drills {
        match &drill.verdict {
            Verdict::NotApplicable { why } => assert!(why.contains("[twilio]"), "{why}"),
            other => assert!(drill.name == "ssn_as_proof" && matches!(other, Verdict::Stopped { .. }), "{}: {other:?}", drill.name),
        }
    }
    setting.telephone = true;
    let portal = run(&setting, &[Part::Shipped(attacks::named("portal_thief").unwrap())], 3, |_| {}).await;
    assert!(portal.drills[0].verdict.place().contains("[[api]]"), "{:?}", portal.drills[0].verdict);
    assert_eq!(portal.exit_code(), 0);
    // Customers who come from the company's provider have a portal as well.
    setting.sign_in = true;
    let portal = run(&setting, &[Part::Shipped(attacks::named("portal_thief").unwrap())], 3, |_| {}).await;
    assert!(matches!(portal.drills[0].verdict, Verdict::Stopped { .. }), "{:?}", portal.drills[0].verdict);
}
