//! What is kept for how long.

use countersign_core::{id::CallId, time::Span};
use countersign_server::{ledger::verify, retention::Retention};
use countersign_store::{Commit, Redaction, Stream};

use crate::common::{Setup, World, hides, pages, people::*, portal::Portal, postgresql, record::{ORIGIN, logged}};

fn rules(text: &str) -> Retention { toml::from_str(text).unwrap() }

async fn verified(world: &World) -> verify::Report { verify::database(&world.app.runner, ORIGIN, |_| {}).await.unwrap() }

/// All that the rules take away now.
async fn retained(world: &World, rules: &Retention) -> usize {
    let mut n = 0;
    loop {
        match world.app.runner.retain(rules).await.unwrap() {
            0 => return n,
            some => n += some,
        }
    }
}

/// A call on which something was compared and a reason was written.
async fn called(world: &World, line: &str, pin: &str) -> CallId {
    let mut kim = world.kim().await;
    let mut call = world.call(line).await;
    call.presses(&["2", pin, "1"]).await;
    kim.take(&mut call).await;
    kim.heard("postal_code", "99999").await;
    kim.act("switch", &[("reason", "the caller named a neighbour, Otto Example")]).await;
    kim.end().await;
    call.id
}

#[tokio::test]
async fn a_call_goes_when_its_time_is_over_and_the_log_verifies() {
    for world in [Some(World::in_file().await), World::in_postgresql().await].into_iter().flatten() {
        let rules = rules("calls = 100");
        let old = called(&world, ANA_LINE, "4071").await;
        logged(&world).await;
        assert_eq!(retained(&world, &rules).await, 0, "nothing is over its time");
        world.pass(Span::days(60));
        let young = called(&world, ANA_LINE, "4071").await;
        world.pass(Span::days(41));
        assert_eq!(retained(&world, &rules).await, 1);
        // Of the old call stays that there was one, and when.
        let events = world.app.runner.events(old).await.unwrap();
        assert!(events.len() > 5);
        let story = world.story(old).await;
        assert!(story.iter().all(|line| line.starts_with("Taken away by a rule of retention: ")), "{story:?}");
        assert!(story[0].ends_with("started."));
        let log = world.log().await;
        let its: String = log.lines().filter(|line| line.contains(&hex::encode(old.0)) && line.starts_with("call ")).collect();
        hides(&its, &["acct_", "agent_", "postal_code", "note_"]);
        assert!(world.app.runner.store.docs("note", None, 10).await.unwrap().len() < 2, "its note is gone, the young one's is there");
        // It is on no list, and the pages go on.
        let kim = world.kim().await;
        kim.get("/admin").await.ok().shows(&young.to_string());
        let listed = world.app.runner.store.docs("ended", None, 10).await.unwrap();
        assert!(listed.len() == 1 && listed[0].0.ends_with(&young.0));
        kim.get(&format!("/admin/calls/{old}")).await.ok().shows("Taken away by a rule of retention");
        Portal::enter(&world, "10004711").await.home().await.lacks(&old.to_string());
        assert!(world.app.runner.call(old).await.unwrap().is_some_and(|live| live.call.stage == countersign_core::call::Stage::Ended));
        assert!(world.story(young).await.iter().any(|line| line.contains("Proved")));
        // The log says the same as before, and who took it away.
        logged(&world).await;
        let report = verified(&world).await;
        assert!(report.holds() && report.redacted == events.len() as u64, "{report:?}");
        assert!(log.contains("\"rule\":\"calls\""));
        assert_eq!(retained(&world, &rules).await, 0, "once");
    }
    assert!(postgresql().is_some() || std::env::var_os("CI").is_none());
}

#[tokio::test]
async fn single_kinds_of_events_and_notes_have_times_of_their_own() {
    let world = World::in_file().await;
    let call = called(&world, ANA_LINE, "4071").await;
    let rules = rules("notes = 30\nalerts = 30\n[events]\ncompared = 10\nclaimed = 20");
    world.pass(Span::days(11));
    assert_eq!(retained(&world, &rules).await, 1);
    let story = world.story(call).await;
    assert!(story.iter().any(|line| line.ends_with(": compared.")) && story.iter().any(|line| line.contains("Proved")), "{story:?}");
    assert!(!world.app.runner.store.docs("note", None, 10).await.unwrap().is_empty());
    assert!(!world.app.runner.store.docs("alert", None, 10).await.unwrap().is_empty());
    world.pass(Span::days(10));
    retained(&world, &rules).await;
    assert!(!world.log().await.contains("\"type\":\"claimed\""));
    world.pass(Span::days(10));
    retained(&world, &rules).await;
    assert!(world.app.runner.store.docs("note", None, 10).await.unwrap().is_empty());
    assert!(world.app.runner.store.docs("alert", None, 10).await.unwrap().is_empty());
    assert!(!world.app.runner.store.docs("ended", None, 10).await.unwrap().is_empty(), "the call itself stays");
    logged(&world).await;
    assert!(verified(&world).await.holds());
}

#[tokio::test]
async fn a_legal_hold_keeps_what_a_rule_would_take() {
    let world = World::in_file().await;
    let rules = rules("calls = 10");
    let (held, other) = (called(&world, ANA_LINE, "4071").await, called(&world, TINA_LINE, "7318").await);
    world.app.runner.set_hold(ANA, Some("case 17".into())).await.unwrap();
    world.pass(Span::days(11));
    assert_eq!(retained(&world, &rules).await, 1);
    assert!(world.tells(held, "Proved").await && !world.tells(other, "Proved").await);
    // The list has gone past it; once it is released, the rules begin anew.
    world.pass(Span::days(30));
    assert_eq!(retained(&world, &rules).await, 0);
    world.app.runner.set_hold(ANA, None).await.unwrap();
    assert_eq!(retained(&world, &rules).await, 1);
    assert!(!world.tells(held, "Proved").await);
    logged(&world).await;
    assert!(verified(&world).await.holds());
}

#[tokio::test]
async fn what_somebody_took_away_by_hand_is_told_from_a_rule() {
    let world = World::in_file().await;
    let (call, rules) = (called(&world, ANA_LINE, "4071").await, rules("[events]\ncompared = 10"));
    world.pass(Span::days(11));
    retained(&world, &rules).await;
    logged(&world).await;
    assert!(verified(&world).await.holds());
    let stream = Stream { kind: "call", id: call.0 };
    let body = "{\"at\":\"2026-06-01T10:00:00.000Z\",\"n\":3,\"type\":\"redacted\",\"v\":1,\"was\":\"revealed\"}".to_owned();
    let by_hand = Commit { now: world.now().0, redactions: vec![Redaction { stream, n: 3, body }], ..Commit::default() };
    world.app.runner.store.commit(by_hand).await.unwrap();
    let report = verified(&world).await;
    assert!(report.faults.iter().any(|fault| fault.contains("somebody took the others away")), "{report:?}");
}

#[tokio::test]
async fn a_contact_that_was_replaced_long_ago_is_forgotten() {
    let world = World::in_file().await;
    let rules = rules("replaced_contacts = 100");
    world.edit(ANA, |profile| profile.contacts[1].retired = Some(crate::common::START)).await;
    let before = world.profile(ANA).await.contacts.len();
    world.pass(Span::days(99));
    assert_eq!(retained(&world, &rules).await, 0);
    world.pass(Span::days(2));
    world.app.runner.set_hold(ANA, Some("case 17".into())).await.unwrap();
    assert_eq!(retained(&world, &rules).await, 0, "not while it is held");
    world.app.runner.set_hold(ANA, None).await.unwrap();
    assert_eq!(retained(&world, &rules).await, 1);
    let profile = world.profile(ANA).await;
    assert_eq!(profile.contacts.len(), before - 1);
    assert!(profile.contacts.iter().all(|c| c.retired.is_none()));
    assert!(world.log().await.contains("contacts_forgotten"));
}

/// More calls than one go looks at, and a server that is stopped in between.
#[tokio::test]
async fn a_rule_goes_on_where_it_was() {
    let world = World::with(Setup { file: true, ..Setup::default() }).await;
    let mut calls = Vec::new();
    for _ in 0..230 {
        let call = world.call(STRANGER).await;
        let (id, mut call) = (call.id, call);
        call.hang_up().await;
        calls.push(id);
    }
    world.pass(Span::days(11));
    let rules = rules("[events]\nlanguage_chosen = 10\nstarted_by = 10");
    assert!(!rules.faults().is_empty(), "a name that is none is told at start");
    let rules = self::rules("calls = 10");
    assert_eq!(world.app.runner.retain(&rules).await.unwrap(), 200);
    let world = world.restart().await;
    assert_eq!(retained(&world, &rules).await, 30);
    for call in calls {
        assert!(world.story(call).await.iter().all(|line| line.starts_with("Taken away")));
    }
    pages::get(&world.router, "/readyz", None).await.ok();
}
