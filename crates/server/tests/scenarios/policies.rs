//! Other policies in force: staged, activated by the lead, on every node at once, and taken back.

use countersign_core::{action::{Policy, Role}, call::Event};
use countersign_policy::{Engine, Sources};
use countersign_server::policies::{PolicyEvent, Staged};

use crate::common::{World, people::*};

/// The shipped policies, and one more.
fn set(world: &World, extra: &str, holds: bool) -> Staged {
    let mut sources = Sources::shipped();
    sources.files.push(("own.cedar".into(), extra.into()));
    let engine = Engine::load(sources.schema.clone(), sources.files.clone()).unwrap_or_else(|e| panic!("{e}"));
    let verdict = if holds { "proved" } else { "unknown: the solver did not answer within 12 s" };
    Staged {
        version: engine.version().to_owned(), schema: sources.schema, files: sources.files, matrix: "who may what".into(), at: world.now(),
        note: "No refunds this week".into(), promises: vec![("risky_changes_nothing".into(), "Risky calls change nothing.".into(), verdict.into())], holds,
        changes: vec!["newly refuses do:request_refund to an agent".into()],
    }
}

const NO_REFUNDS: &str = r#"@id("no_refunds") @reason("Not this week.") forbid(principal, action == Countersign::Action::"do:request_refund", resource);"#;
const NO_CANCELLING: &str = r#"@id("no_cancelling") forbid(principal, action == Countersign::Action::"do:cancel_order", resource);"#;

#[tokio::test]
async fn a_policy_set_is_activated_by_the_lead_and_taken_back() {
    let world = World::new().await;
    let (kim, mut robin) = (world.kim().await, world.robin().await);
    let alex = world.agent("Alex", Role::Admin).await;
    let shipped = world.app.runner.policy().version().to_owned();
    let staged = set(&world, NO_REFUNDS, true);
    kim.get("/admin/policy").await.ok().shows("countersign policy stage").shows(&shipped);
    kim.post("/admin/policy/activate", &[("version", &staged.version)]).await.is(422).shows("no policy set with this version was staged");
    world.app.runner.stage(&staged).await.unwrap();
    kim.get("/admin/policy").await.ok().shows("No refunds this week").shows("newly refuses do:request_refund").shows("Activate on all nodes");
    // Whoever runs the installation sees it, and does not decide; for an agent there is nothing.
    alex.get("/admin/policy").await.ok().shows("No refunds this week").lacks("Activate on all nodes");
    alex.post("/admin/policy/activate", &[("version", &staged.version)]).await.is(404);
    robin.post("/admin/policy/activate", &[("version", &staged.version)]).await.is(404);
    assert_eq!(world.app.runner.policy().version(), shipped);

    // In mid call: what was permitted is not any more, and the record says under which set.
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    robin.take(&mut call).await;
    robin.perform("do:request_refund", &[]).await.says("Done.");
    kim.post("/admin/policy/activate", &[("version", &staged.version)]).await.is(303);
    robin.perform("do:request_refund", &[]).await.says("Not permitted now");
    let decided: Vec<String> = world.events(call.id).await.into_iter().filter_map(|e| match e {
        Event::Decided { policy, .. } => Some(policy),
        _ => None,
    }).collect();
    assert_eq!((decided.first(), decided.last()), (Some(&shipped), Some(&staged.version)), "{decided:?}");
    kim.get("/admin/policy").await.ok().shows("activated by Kim").shows("in force").shows("who may what");

    // Back again: the set that was there in the beginning was never staged here, so it is staged first.
    let mut before = set(&world, "", true);
    before.files.pop();
    before.version.clone_from(&shipped);
    world.app.runner.stage(&before).await.unwrap();
    kim.post("/admin/policy/activate", &[("version", &shipped)]).await.is(303);
    robin.perform("do:request_refund", &[]).await.says("Done.");
    let events: Vec<PolicyEvent> = world.app.runner.policy_events().await.unwrap().into_iter().map(|(_, e)| e).collect();
    assert_eq!(events.iter().filter(|e| matches!(e, PolicyEvent::Activated { .. })).count(), 2, "{events:#?}");
}

/// Without proofs only with a reason, which is on record and alerts.
#[tokio::test]
async fn what_is_not_proved_needs_a_reason() {
    let world = World::new().await;
    let kim = world.kim().await;
    let staged = set(&world, NO_REFUNDS, false);
    world.app.runner.stage(&staged).await.unwrap();
    kim.get("/admin/policy").await.ok().shows("not proved").shows("the solver did not answer within 12 s").shows("Activate although not proved");
    for reason in ["", "because", "          "] {
        let page = kim.post("/admin/policy/activate", &[("version", &staged.version), ("reason", reason)]).await;
        page.is(422).shows("write down why it is to be used all the same");
    }
    kim.get("/admin").await.ok().shows("No alerts.");
    kim.post("/admin/policy/activate", &[("version", &staged.version), ("reason", "refunds are being abused at this very hour <b>")]).await.is(303);
    kim.get("/admin/policy").await.ok().shows("Its promises were not proved. Reason: refunds are being abused at this very hour <b>");
    kim.get("/admin").await.ok().shows("exception");
}

/// A node that has not heard of it yet commits nothing of the old set.
#[tokio::test]
async fn all_nodes_decide_by_the_new_set_at_once() {
    let world = World::new().await;
    let other = world.sibling().await;
    let (kim, mut robin) = (world.kim().await, other.robin().await);
    let mut call = other.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    robin.take(&mut call).await;
    let staged = set(&world, NO_REFUNDS, true);
    world.app.runner.stage(&staged).await.unwrap();
    kim.post("/admin/policy/activate", &[("version", &staged.version)]).await.is(303);
    assert_ne!(other.app.runner.policy().version(), staged.version, "nobody told this node");
    robin.perform("do:request_refund", &[]).await.says("Not permitted now");
    assert_eq!(other.app.runner.policy().version(), staged.version);
    // Two leads at once: one is told to look again, and the other's holds.
    let second = set(&world, NO_CANCELLING, true);
    world.app.runner.stage(&second).await.unwrap();
    let (one, two) = ([("version", second.version.as_str())], [("version", staged.version.as_str())]);
    let (a, b) = tokio::join!(kim.post("/admin/policy/activate", &one), kim.post("/admin/policy/activate", &two));
    assert!([a.status.as_u16(), b.status.as_u16()].contains(&303));
    let active = world.app.runner.policy().version().to_owned();
    other.app.runner.refresh_policies().await.unwrap();
    assert_eq!(other.app.runner.policy().version(), active);
}

/// What is on record is what decides after a restart; a set whose text was tampered with decides nothing.
#[tokio::test]
async fn the_active_set_survives_and_cannot_be_swapped() {
    let world = World::in_file().await;
    let kim = world.kim().await;
    let staged = set(&world, NO_REFUNDS, true);
    world.app.runner.stage(&staged).await.unwrap();
    kim.post("/admin/policy/activate", &[("version", &staged.version)]).await.is(303);
    let world = world.restart().await;
    world.app.runner.refresh_policies().await.unwrap();
    assert_eq!(world.app.runner.policy().version(), staged.version);

    // Another text under the same version: sealed by somebody who has the keys, and still not used.
    let swapped = Staged { version: "0123456789abcdef".into(), ..staged.clone() };
    world.app.runner.stage(&swapped).await.unwrap();
    let kim = world.kim().await;
    kim.post("/admin/policy/activate", &[("version", "0123456789abcdef")]).await.is(422).shows("the text on record is that of");
    assert_eq!(world.app.runner.policy().version(), staged.version);
}
