//! Receipts that customers fetch in the portal.

use countersign_core::{id::CallId, time::Span};
use countersign_server::ledger::receipt::{self, Receipt};

use crate::{
    common::{World, pages::{self, Page}, people::*, portal::Portal, record::{called, logged}},
    ledger::trust,
};

const ANA_NUMBER: &str = "10004711";
const NOWHERE: CallId = CallId([1; 16]);

fn path(call: CallId) -> String { format!("/me/calls/{call}/receipt") }

/// As if there were nothing: the same in every word.
#[track_caller]
fn like_nothing(page: &Page, nothing: &Page) {
    nothing.is(404).shows("Nothing here");
    assert_eq!((page.status, &page.body, &page.headers), (nothing.status, &nothing.body, &nothing.headers));
}

#[tokio::test]
async fn a_customer_keeps_a_receipt_that_holds_without_us() {
    let world = World::new().await;
    let portal = Portal::enter(&world, ANA_NUMBER).await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    let id = call.id;
    // Not while it goes on, also when all of it until now is in the log, and not before its end is.
    logged(&world).await;
    for over in [false, true] {
        if over {
            call.hang_up().await;
        }
        let page = portal.get(&path(id)).await;
        page.is(503).shows("It is there a minute after the end of the call");
        assert_eq!((page.header("retry-after"), page.header("cache-control")), ("60", "no-store"));
    }
    logged(&world).await;
    portal.home().await.ok().shows(&path(id)).shows("A receipt is a file with which you can show later");

    let page = portal.get(&path(id)).await;
    page.ok();
    assert_eq!(page.header("content-type"), "application/json; charset=utf-8");
    assert_eq!((page.header("content-disposition"), page.header("cache-control")), (format!("attachment; filename=\"receipt-{id}.json\"").as_str(), "no-store"));
    // What the operator gives to customers, and no more.
    let read = Receipt::parse(&page.body).unwrap();
    let whole = receipt::of(&world.app.runner, id).await.unwrap().unwrap();
    assert_eq!(read, whole.clone().for_customer());
    assert!(read.events.len() < whole.events.len());
    let story = read.check(&trust(&world).await).unwrap();
    assert_eq!(story.len(), read.events.len());
    assert!(story.iter().any(|(_, sentence)| sentence.starts_with("Asked for PIN")), "{story:?}");
    page.lacks("proved").hides(&ANA_PRIVATE);
    let mut changed = read.clone();
    changed.events[0].event.at += 1;
    assert!(changed.check(&trust(&world).await).is_err());
    assert!(!world.log().await.contains("downloaded"), "it is no copy of everything");
}

#[tokio::test]
async fn what_is_not_theirs_is_as_if_it_were_not_there() {
    let world = World::new().await;
    let (mut robin, call) = (world.robin().await, called(&world, ANA_LINE).await);
    // Somebody with her number on the line, who proved nothing.
    let mut claimed = world.call(ANA_LINE).await;
    claimed.presses(&["1", "0"]).await;
    claimed.hang_up().await;
    // And one that went on as somebody else's.
    let mut moved = world.call(ANA_LINE).await;
    moved.presses(&["1", "4071", "1"]).await;
    robin.take(&mut moved).await;
    robin.act("switch", &[("reason", "it is her neighbour")]).await.says("Started again from nothing.");
    robin.heard("account_number", "10004716").await;
    robin.end().await.ok();
    logged(&world).await;
    let (ana, tina) = (Portal::enter(&world, ANA_NUMBER).await, Portal::enter(&world, "10004716").await);
    let nothing = tina.get(&path(NOWHERE)).await;
    like_nothing(&tina.get(&path(call)).await, &nothing);
    like_nothing(&tina.get(&path(moved.id)).await, &nothing);
    for odd in ["/me/calls/call_x/receipt", "/me/calls/acct_a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1/receipt", "/me/calls/%22%3E/receipt"] {
        like_nothing(&tina.get(odd).await, &nothing);
    }
    ana.get(&path(call)).await.ok();
    for id in [claimed.id, moved.id] {
        like_nothing(&ana.get(&path(id)).await, &nothing);
    }
    // All three are on her page; the one has a receipt.
    let home = ana.home().await;
    home.shows(&path(call)).shows(&claimed.id.to_string()).shows(&moved.id.to_string()).lacks(&path(claimed.id)).lacks(&path(moved.id));
    let stranger = pages::get(&world.router, &path(call), None).await;
    stranger.is(303);
    assert_eq!(stranger.header("location"), "/me/sign-in");
}

/// Whoever speaks for somebody has a receipt of what they did; whom it was about has none of another's proofs.
#[tokio::test]
async fn a_receipt_is_for_whoever_spoke() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let mut call = world.call(LIAM_LINE).await;
    call.press(&liam_code(world.now())).await.press("1").await;
    robin.take(&mut call).await;
    robin.act("speak-for", &[("account_number", "10004713")]).await.says("The caller may speak for this account");
    robin.end().await.ok();
    logged(&world).await;
    let (liam, chidi) = (Portal::enter(&world, "10004712").await, Portal::enter(&world, "10004713").await);
    Receipt::parse(&liam.get(&path(call.id)).await.ok().body).unwrap().check(&trust(&world).await).unwrap();
    liam.home().await.shows(&path(call.id));
    like_nothing(&chidi.get(&path(call.id)).await, &chidi.get(&path(NOWHERE)).await);
    chidi.home().await.shows("The caller spoke for you as power of attorney.").lacks(&path(call.id));
}

/// Under duress the page and the receipt are as they always are, down to the places of the events.
#[tokio::test]
async fn a_receipt_in_the_portal_tells_nothing_of_an_emergency_word() {
    let fetched = async |pin: &str| {
        let world = World::new().await;
        let mut call = world.call(SOFIA_LINE).await;
        call.presses(&["1", pin, "1"]).await;
        call.hang_up().await;
        assert!(world.tells(call.id, "Proved").await);
        logged(&world).await;
        let portal = Portal::enter(&world, "10004714").await;
        // In her language, said to be in it.
        portal.home().await.shows(&path(call.id)).shows("lang=\"es\"").shows("Justificante").lacks("uress");
        let page = portal.get(&path(call.id)).await;
        page.ok().lacks("uress").lacks("proved").hides(&["5093", "5099"]);
        let events = Receipt::parse(&page.body).unwrap().events;
        let bodies = events.iter().map(|e| serde_json::from_str::<serde_json::Value>(&e.event.body).unwrap());
        bodies.map(|body| (body["type"].to_string(), body["n"].to_string())).collect::<Vec<_>>()
    };
    assert_eq!(fetched("5093").await, fetched("5099").await);
}

#[tokio::test]
async fn no_receipts_while_frozen_without_end_or_of_somebody_erased() {
    let world = World::new().await;
    let call = called(&world, ANA_LINE).await;
    logged(&world).await;
    let portal = Portal::enter(&world, ANA_NUMBER).await;
    world.edit(ANA, |profile| profile.frozen = Some(world.now())).await;
    let frozen = portal.get(&path(call)).await;
    frozen.is(403).shows("Your account is frozen.");
    assert_eq!(frozen.body, portal.get(&path(NOWHERE)).await.body, "whatever is asked for");
    portal.home().await.ok().lacks(&path(call));
    world.edit(ANA, |profile| profile.frozen = None).await;
    // Sixty an hour, whatever they are of.
    for _ in 0..59 {
        portal.get(&path(NOWHERE)).await.is(404);
    }
    portal.get(&path(call)).await.ok();
    let page = portal.get(&path(call)).await;
    page.is(429).shows("Please try again in an hour.");
    assert_eq!(page.header("retry-after"), "3600");
    assert_eq!(page.body, portal.get(&path(NOWHERE)).await.body);
    world.pass(Span::minutes(61));
    let portal = Portal::enter(&world, ANA_NUMBER).await;
    portal.get(&path(call)).await.ok();
    world.app.runner.erase(ANA).await.unwrap();
    like_nothing(&portal.get(&path(call)).await, &portal.get(&path(NOWHERE)).await);
}

/// A change that only looks carried out sends no summary, and the places of events would tell: so calls with changes
/// have no receipt here, whichever they are.
#[tokio::test]
async fn a_call_with_a_change_has_no_receipt_in_the_portal_held_or_not() {
    let fetched = async |pin: &str| {
        let world = World::new().await;
        let mut robin = world.robin().await;
        let mut call = world.call(SOFIA_LINE).await;
        call.presses(&["1", pin, "1"]).await;
        robin.take(&mut call).await;
        robin.perform("do:request_refund", &[]).await.ok();
        robin.end().await.ok();
        logged(&world).await;
        assert!(world.events(call.id).await.iter().any(|e| matches!(e, countersign_core::call::Event::Performed { .. })));
        let portal = Portal::enter(&world, "10004714").await;
        portal.home().await.lacks(&path(call.id));
        like_nothing(&portal.get(&path(call.id)).await, &portal.get(&path(NOWHERE)).await);
    };
    fetched("5093").await;
    fetched("5099").await;
}
