//! What customers may ask of whoever keeps data about them.

use countersign_server::{ledger::verify, privacy::PrivacyError};

use crate::common::{World, hides, people::*, portal::Portal, record::{ORIGIN, called, logged}};

const ANA_NUMBER: &str = "10004711";

#[tokio::test]
async fn a_customer_gets_everything_that_is_kept() {
    let world = World::new().await;
    let call = called(&world, ANA_LINE).await;
    let (runner, ana) = (&world.app.runner, world.app.runner.customer(ANA_NUMBER).await.unwrap());
    let text = runner.export_customer(ana).await.unwrap().to_string();
    for told in ["Ana Torres", ANA_LINE, ANA_MAIL, ANA_NUMBER, &call.to_string(), "Proved: PIN.", "\"pin\""] {
        assert!(text.contains(told), "{told}: {text}");
    }
    // What proves is not given out, nor what was thought of the caller, nor anybody else.
    hides(&text, &["4071", "argon2", "risk", LIAM_LINE, "Liam"]);
    assert!(world.log().await.contains("\"type\":\"exported\""));
    // Under duress it reads as it always does.
    let mut forced = world.call(SOFIA_LINE).await;
    forced.presses(&["1", "5099", "1"]).await;
    forced.hang_up().await;
    let text = runner.export_customer(SOFIA).await.unwrap().to_string();
    assert!(text.contains("Proved: PIN."));
    assert!(!text.to_lowercase().contains("duress"), "{text}");
}

#[tokio::test]
async fn a_customer_is_erased_and_the_log_verifies() {
    let world = World::in_file().await;
    let id = called(&world, ANA_LINE).await;
    Portal::enter(&world, ANA_NUMBER).await;
    logged(&world).await;
    let runner = world.app.runner.clone();
    let ana = runner.customer(ANA_NUMBER).await.unwrap();
    let erased = runner.erase(ana).await.unwrap();
    assert!(erased.calls == 1 && erased.keys > 3 && erased.documents > 3, "{erased:?}");
    assert!(matches!(runner.customer(ANA_NUMBER).await, Err(PrivacyError::NoCustomer)));
    assert!(runner.directory.load(ana).await.unwrap().is_none());
    // The record still tells that there was a call, and the log holds; who it was, nobody can tell.
    assert!(world.tells(id, "Proved").await);
    logged(&world).await;
    let report = verify::database(&runner, ORIGIN, |_| {}).await.unwrap();
    assert!(report.holds() && report.unsalted > 10, "{report:?}");
    // Her number is a stranger's now.
    let call = world.call(ANA_LINE).await;
    assert!(!world.tells(call.id, "Identified").await);
    // Nothing of hers in the file or beside it, and it could not be read with the key either.
    runner.store.close().await;
    let folder = world.file().parent().unwrap().to_owned();
    for file in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for value in ["Ana Torres", ANA_LINE, ANA_MAIL, ANA_NUMBER] {
            assert!(!bytes.windows(value.len()).any(|w| w == value.as_bytes()), "{value}");
        }
    }
}

#[tokio::test]
async fn the_same_person_may_come_again() {
    let world = World::new().await;
    called(&world, ANA_LINE).await;
    let ana = world.profile(ANA).await;
    world.app.runner.erase(ANA).await.unwrap();
    let mut again = ana.clone();
    (again.id, again.events) = (countersign_core::id::AccountId([0xee; 16]), 0);
    world.add(&again).await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    assert!(world.tells(call.id, "Proved").await);
}

/// Whoever is under a hold, or on the line, is not erased; a hold that comes in the same moment wins.
#[tokio::test]
async fn a_hold_and_a_call_stand_against_erasing() {
    let world = World::new().await;
    let runner = world.app.runner.clone();
    let ana = runner.customer(ANA_NUMBER).await.unwrap();
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    assert!(matches!(runner.erase(ana).await, Err(PrivacyError::Live(_))));
    call.hang_up().await;
    runner.set_hold(ana, Some("case 17".into())).await.unwrap();
    let refused = runner.erase(ana).await.unwrap_err().to_string();
    assert!(refused.contains("case 17") && refused.contains("release"), "{refused}");
    assert!(!world.log().await.contains("case 17"), "a reason may name somebody: it is sealed");
    runner.set_hold(ana, None).await.unwrap();
    runner.erase(ana).await.unwrap();
    assert!(matches!(runner.set_hold(ana, Some("late".into())).await, Err(PrivacyError::NoCustomer)));
    assert!(matches!(runner.erase(ana).await, Err(PrivacyError::NoCustomer)));
}

/// A node that still has the profile in memory does not go on with it.
#[tokio::test]
async fn another_node_does_not_know_an_erased_customer() {
    let one = World::new().await;
    let two = one.sibling().await;
    called(&two, ANA_LINE).await;
    assert!(two.app.runner.directory.load(ANA).await.unwrap().is_some());
    one.app.runner.erase(ANA).await.unwrap();
    let mut call = two.call(ANA_LINE).await;
    call.press("1").await;
    assert!(!two.tells(call.id, "Asked for PIN").await);
}

/// The same file as the operator's, for the customer alone: confirmed, told, on record, and not too often.
#[tokio::test]
async fn a_customer_downloads_everything_that_is_kept() {
    let world = World::new().await;
    let call = called(&world, ANA_LINE).await;
    // Another call, on which an agent marked Ana's line and gave her up for somebody else.
    let (mut robin, kim) = (world.robin().await, world.kim().await);
    let mut second = world.call(ANA_LINE).await;
    second.presses(&["1", "4071", "1"]).await;
    robin.take(&mut second).await;
    robin.act("switch", &[("reason", "it is Mrs Torres's neighbour")]).await.says("Started again from nothing.");
    robin.heard("account_number", "10004716").await;
    robin.act("switch", &[("reason", "the neighbour is nobody's customer")]).await;
    second.hang_up().await;
    kim.post(&format!("/admin/calls/{call}/fraud"), &[("reason", "the same voice as last week")]).await.is(303);

    let portal = Portal::enter(&world, ANA_NUMBER).await;
    let path = "/me/security/download";
    let none: [(&str, &str); 0] = [];
    assert_eq!(portal.get(path).await.status, 405, "no link has it fetched");
    portal.post(path, &none).await.is(303);
    assert!(!world.log().await.contains("\"type\":\"downloaded\""), "not by an open session alone");
    portal.get("/me/security").await.shows("Your data").hides(&["Download everything"]);

    let portal = Portal::confirmed(&world, ANA_NUMBER).await;
    world.deliver().await;
    portal.get("/me/security").await.shows("Download everything");
    let page = portal.post(path, &none).await;
    page.ok();
    assert_eq!((page.header("content-disposition"), page.header("cache-control")), ("attachment; filename=\"my-data.json\"", "no-store"));
    let file: serde_json::Value = serde_json::from_str(&page.body).unwrap();
    assert!(file["about"][0].as_str().unwrap().contains("everything that Juniper & Co keeps about you"), "{file}");
    for told in ["Ana Torres", ANA_LINE, ANA_MAIL, ANA_NUMBER, &call.to_string(), "Proved: PIN.", "it is Mrs Torres's neighbour"] {
        assert!(page.body.contains(told), "{told}: {}", page.body);
    }
    hides(&page.body, &["4071", "argon2", "risk", "the same voice as last week", "nobody's customer", "Tina"]);
    // On record, told at every address, and nothing about her has changed.
    assert!(world.log().await.contains("\"type\":\"downloaded\""));
    let told = world.deliver().await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|letter| letter.text.contains("A copy of all your data was downloaded")), "{told:?}");
    told[0].link();
    portal.home().await.shows("Everything that we keep about you was downloaded here.");
    assert!(world.profile(ANA).await.changed.is_none());
    for _ in 0..2 {
        portal.post(path, &none).await.ok();
    }
    let page = portal.post(path, &none).await;
    page.is(303);
    assert_eq!(page.header("location"), "/me/security?say=enough");
    // In the language of whoever it is, also for whoever lost the account to a freeze: not at all.
    for (language, words) in [(countersign_core::prompt::Lang::De, "Das ist alles"), (countersign_core::prompt::Lang::Es, "Esto es todo")] {
        assert!(world.app.texts.about_download(language).contains(words));
    }
    world.edit(ANA, |profile| profile.frozen = Some(world.now())).await;
    world.pass(countersign_core::time::Span::days(2));
    let portal = Portal::enter(&world, ANA_NUMBER).await;
    assert_eq!(portal.post(path, &none).await.header("location"), "/me/security?say=frozen");
}
