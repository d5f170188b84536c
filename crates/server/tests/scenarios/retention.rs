//! What is kept for how long.

use countersign_core::{
    account::{Access, Order, Profile, PushSubscription},
    claim::ClaimKind,
    id::{AccountId, CallId},
    time::Span,
};
use countersign_server::{ledger::verify, record::{self, AccountEvent}, retention::Retention};
use countersign_store::{Commit, Redaction, Stream};

use crate::common::{START, Setup, World, hides, pages, people::*, portal::Portal, postgresql, record::{ORIGIN, logged}};

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

/// How many customers a look-up leads to: by the index alone, whatever their profiles hold.
async fn led_to(world: &World, kind: ClaimKind, value: &str) -> usize {
    let key = world.app.runner.vault.index.exact(kind, value).unwrap();
    world.app.runner.store.find(kind.name(), key.0, 10).await.unwrap().len()
}

#[tokio::test]
async fn fields_of_a_profile_have_times_of_their_own() {
    for world in [Some(World::in_file().await), World::in_postgresql().await].into_iter().flatten() {
        let rules = rules("[fields]\naddress = 100\ndate_of_birth = 100\npostal_code = 200\norders = 30");
        assert_eq!(rules.faults(), Vec::<String>::new());
        called(&world, ANA_LINE, "4071").await;
        let node = world.sibling().await;
        assert_eq!(node.app.runner.directory.load(ANA).await.unwrap().unwrap().profile.address.expose(), "12 Juniper Lane, Springfield");
        assert_eq!((led_to(&world, ClaimKind::OrderNumber, "710004711").await, led_to(&world, ClaimKind::DateOfBirth, "1984-03-09").await), (1, 1));
        assert_eq!(retained(&world, &rules).await, 0, "nothing is over its time");
        world.pass(Span::days(99));
        assert_eq!(retained(&world, &rules).await, 3, "three have an order, each with its day");
        let profile = world.profile(ANA).await;
        assert!(profile.orders.is_empty() && !profile.address.is_empty() && !profile.date_of_birth.is_empty());
        assert_eq!(led_to(&world, ClaimKind::OrderNumber, "710004711").await, 0);
        world.pass(Span::days(2));
        assert_eq!(retained(&world, &rules).await, 1, "of the others nobody knows when they were heard of");
        let profile = world.profile(ANA).await;
        assert!(profile.address.is_empty() && profile.date_of_birth.is_empty() && !profile.postal_code.is_empty());
        assert_eq!((led_to(&world, ClaimKind::DateOfBirth, "1984-03-09").await, led_to(&world, ClaimKind::PostalCode, "20500").await), (0, 1));
        assert!(!world.profile(LIAM).await.address.is_empty());
        assert!(node.profile(ANA).await.address.is_empty());
        // She calls as before, and an agent compares with nothing.
        let mut kim = world.kim().await;
        let mut call = world.call(ANA_LINE).await;
        call.presses(&["2", "4071", "1"]).await;
        kim.take(&mut call).await;
        kim.heard("date_of_birth", "1984-03-09").await.lacks("1984-03-09");
        kim.reveal("address").await.lacks("Juniper Lane");
        kim.end().await;
        // On record by their names alone, and told.
        let log = world.log().await;
        assert!(log.contains("\"fields\":[\"address\",\"date_of_birth\"]") && log.contains("\"fields\":[\"orders\"]"), "{log}");
        hides(&log, &ANA_PRIVATE);
        Portal::enter(&world, "10004711").await.home().await.shows("Taken off the file, as it was kept for long enough: your address, your date of birth.");
        assert_eq!(retained(&world, &rules).await, 0, "once");
        logged(&world).await;
        assert!(verified(&world).await.holds());
    }
    assert!(postgresql().is_some() || std::env::var_os("CI").is_none());
}

/// Days count from the last call, sign-in or change, and from the import.
#[tokio::test]
async fn whoever_was_heard_of_keeps_what_waits_for_silence() {
    let world = World::new().await;
    let rules = rules("[fields]\naddress = 100\naccess = 100\norders = 50");
    world.edit(ANA, |profile| profile.access = Access { relay: true, ..Access::default() }).await;
    // From a file, with an order that has no day.
    let imported = Profile {
        orders: vec![Order { number: "900417".into(), what: "Bookcase".into(), status: "packed".into(), due: None }], events: 1,
        ..Somebody::new(AccountId([0x77; 16]), "10004777", "Maya Lindqvist").at("44 Orchard Road", "02719", "1987-06-21").0
    };
    let writes = world.app.runner.directory.insert(&imported).await.unwrap();
    let append = record::append(record::ACCOUNT, imported.id.0, 0, world.now(), &AccountEvent::Imported).unwrap();
    let commit = Commit { now: world.now().0, appends: vec![append], docs: writes.docs, index: writes.index, ..Commit::default() };
    world.app.runner.store.commit(commit).await.unwrap();

    let has = async |account: AccountId| !world.profile(account).await.address.is_empty();
    called(&world, ANA_LINE, "4071").await;
    called(&world, TINA_LINE, "7318").await;
    world.pass(Span::days(51));
    // Ana signs in, Tina calls, and of Maya nothing is heard.
    Portal::enter(&world, "10004711").await;
    called(&world, TINA_LINE, "7318").await;
    retained(&world, &rules).await;
    assert!(world.profile(imported.id).await.orders.is_empty(), "an order without a day came with the import");
    world.pass(Span::days(52));
    retained(&world, &rules).await;
    assert!(has(ANA).await && has(TINA).await && !has(imported.id).await);
    assert!(world.profile(ANA).await.access.relay);
    // A call that goes on is a sign of life as well.
    world.pass(Span::days(47));
    let mut call = world.call(TINA_LINE).await;
    world.pass(Span::days(2));
    retained(&world, &rules).await;
    assert!(!has(ANA).await && has(TINA).await);
    assert_eq!(world.profile(ANA).await.access, Access::default());
    call.hang_up().await;
    // What we do by ourselves, and an export, is none.
    world.app.runner.export_customer(TINA).await.unwrap();
    world.pass(Span::days(101));
    retained(&world, &rules).await;
    assert!(!has(TINA).await);
}

#[tokio::test]
async fn devices_and_permissions_go_when_they_are_long_out_of_use() {
    let world = World::new().await;
    let rules = rules("[fields]\ndevices = 90\ndelegations = 10");
    let device = |n: u8, days: i64| PushSubscription { endpoint: format!("https://push.example.com/{n}").as_str().into(), p256dh: "AA".into(), auth: "AA".into(), added: START + Span::days(days) };
    world.edit(ANA, |profile| profile.push = vec![device(1, 0), device(2, 60)]).await;
    world.edit(TINA, |profile| profile.push = vec![device(3, 0)]).await;
    world.pass(Span::days(50));
    Portal::enter(&world, "10004716").await;
    world.pass(Span::days(41));
    assert_eq!(retained(&world, &rules).await, 1);
    let left = world.profile(ANA).await.push;
    assert!(left.len() == 1 && left[0].endpoint.expose().ends_with("/2"));
    assert_eq!(world.profile(TINA).await.push.len(), 1, "she signed in since");
    world.pass(Span::days(270));
    assert_eq!(retained(&world, &rules).await, 2);
    assert!(world.profile(TINA).await.push.is_empty() && world.profile(CHIDI).await.delegations.len() == 1);
    // Liam's permission ended after a year. He is under a hold, and it says something about him.
    world.app.runner.set_hold(LIAM, Some("case 17".into())).await.unwrap();
    world.pass(Span::days(15));
    assert_eq!(retained(&world, &rules).await, 0);
    world.app.runner.set_hold(LIAM, None).await.unwrap();
    assert_eq!(retained(&world, &rules).await, 1);
    assert!(world.profile(CHIDI).await.delegations.is_empty());
}

#[tokio::test]
async fn a_legal_hold_keeps_the_fields_of_a_profile() {
    let world = World::in_file().await;
    let rules = rules("[fields]\naddress = 100\norders = 30");
    called(&world, ANA_LINE, "4071").await;
    world.app.runner.set_hold(ANA, Some("case 17".into())).await.unwrap();
    world.pass(Span::days(200));
    retained(&world, &rules).await;
    let profile = world.profile(ANA).await;
    assert!(!profile.address.is_empty() && profile.orders.len() == 1, "not while it is held");
    world.app.runner.set_hold(ANA, None).await.unwrap();
    assert_eq!(retained(&world, &rules).await, 1, "neither the hold nor its end is a sign of life");
    let profile = world.profile(ANA).await;
    assert!(profile.address.is_empty() && profile.orders.is_empty());
    assert!(world.log().await.contains("\"fields\":[\"address\",\"orders\"]"));
}

/// A rule that cannot be meant is told at start, and takes nothing away meanwhile.
#[tokio::test]
async fn a_field_that_time_may_not_take_stays() {
    let world = World::new().await;
    called(&world, ANA_LINE, "4071").await;
    let before = world.profile(ANA).await;
    world.pass(Span::days(1000));
    for text in ["email = 1", "authenticators = 1", "name = 1", "devices = 1", "shoe_size = 1"] {
        let rules = rules(&format!("[fields]\n{text}"));
        assert!(!rules.faults().is_empty(), "{text}");
        assert_eq!(retained(&world, &rules).await, 0, "{text}");
    }
    let rules = self::rules("calls = 900\n[fields]\naddress = 950");
    assert!(!rules.faults().is_empty(), "the calls that say when are gone by then");
    retained(&world, &rules).await;
    let after = world.profile(ANA).await;
    assert_eq!(serde_json::to_string(&after).unwrap(), serde_json::to_string(&before).unwrap());
}

/// More profiles than one go looks at, and a server that is stopped in between.
#[tokio::test]
async fn a_round_over_profiles_goes_on_where_it_was() {
    let world = World::with(Setup { file: true, people: false, ..Setup::default() }).await;
    let runner = &world.app.runner;
    let many: Vec<Profile> = (0..230u8).map(|n| {
        let profile = Somebody::new(AccountId([n; 16]), &format!("3000{n:04}"), "Somebody Else").at("1 Long Road", "10001", "1980-01-01").0;
        Profile { events: 1, ..profile }
    }).collect();
    let writes = runner.directory.insert_all(&many).await.unwrap();
    let appends = many.iter().map(|profile| record::append(record::ACCOUNT, profile.id.0, 0, world.now(), &AccountEvent::Imported).unwrap()).collect();
    runner.store.commit(Commit { now: world.now().0, appends, docs: writes.docs, index: writes.index, ..Commit::default() }).await.unwrap();
    world.pass(Span::days(31));
    let rules = rules("[fields]\ndate_of_birth = 30");
    assert_eq!(runner.retain(&rules).await.unwrap(), 200);
    let world = world.restart().await;
    assert_eq!(retained(&world, &rules).await, 30);
    assert_eq!(led_to(&world, ClaimKind::DateOfBirth, "1980-01-01").await, 0);
    for profile in &many {
        let after = world.profile(profile.id).await;
        assert!(after.date_of_birth.is_empty() && !after.address.is_empty() && after.events == 2);
    }
}
