//! Somebody who speaks for somebody else.

use countersign_core::time::Span;
use countersign_server::outbox::provider::Channel;

use crate::common::{World, desk::Desk, people::*, phone::Phone, portal::Portal};

const CHIDI_PRIVATE: [&str; 8] = ["Chidi", "10004713", "1948-05-02", "7 Harbour", "2025550144", CHIDI_LINE, CHIDI_MAIL, "8264"];

/// Liam, proved by his app, with whoever takes the call.
async fn liam(world: &World, desk: &mut Desk) -> Phone {
    world.pass(Span::seconds(60));
    let mut call = world.call(LIAM_LINE).await;
    call.press(&liam_code(world.now())).await.hears("Thank you, that was accepted.").press("1").await;
    desk.take(&mut call).await;
    call
}

async fn speak_for(desk: &Desk, number: &str) -> crate::common::pages::Page { desk.act("speak-for", &[("account_number", number)]).await }

#[tokio::test]
async fn a_power_of_attorney() {
    let world = World::new().await;
    let mut robin = world.robin().await;

    // Knowing the number is nothing, and neither is being known.
    let mut call = world.call(LIAM_LINE).await;
    call.presses(&["0", "1"]).await;
    robin.take(&mut call).await;
    speak_for(&robin, "10004713").await.says("the caller must prove who they are before they can speak for somebody else");
    robin.end().await.ok();

    let mut call = liam(&world, &mut robin).await;
    // No such account, an account without a permission: one answer.
    let nobody = speak_for(&robin, "10009999").await;
    nobody.says("No: the caller may not speak for that account.").shows("4 misses left");
    let ana = speak_for(&robin, "10004711").await;
    ana.says("No: the caller may not speak for that account.").shows("3 misses left").hides(&ANA_PRIVATE);

    let page = speak_for(&robin, "10004713").await;
    page.says("The caller may speak for this account, within what is listed.").shows("Speaks for somebody else.").shows("Proofs are the caller’s own.");
    page.hides(&CHIDI_PRIVATE).hides(&["Liam"]);
    assert_eq!(page.level(), "authenticated");
    robin.reveal("orders").await.shows("Reading lamp").hides(&["Chidi"]);
    robin.reveal("name").await.shows("Chidi Okafor");
    // What is not listed is not for him.
    for field in ["address", "phone", "email"] {
        robin.reveal(field).await.says("not permitted now").hides(&["7 Harbour", CHIDI_LINE, CHIDI_MAIL]);
    }
    robin.perform("do:cancel_order", &[]).await.says("Done.");
    robin.perform("do:redirect_parcel", &[]).await.says("Not permitted now");
    // A change that is listed takes what it takes everybody: two proofs, his own.
    robin.perform("change:address", &[("address", "9 Harbour Street"), ("postal_code", "14770")]).await.says("Not permitted now");
    robin.prove("verbal_password", "change:address").await.ok();
    let page = robin.word(LIAM_WORD).await;
    page.says("Match.");
    assert_eq!(page.level(), "strong");
    for (action, fields) in [
        ("change:phone", &[("value", "+12025550150")][..]), ("change:email", &[("value", "l@example.com")]), ("change:password", &[]),
        ("change:factors", &[("kind", "pin"), ("value", "8027")]),
    ] {
        robin.perform(action, fields).await.says("Not permitted now");
    }
    assert!(world.deliver().await.is_empty());
    robin.perform("change:address", &[("address", "9 Harbour Street, Portville"), ("postal_code", "14771")]).await.says("Done.");
    // The holder is told, not the one who speaks.
    world.letter().await.went_to(Channel::Email, CHIDI_MAIL).reads("The postal address on your account was changed");
    robin.end().await.ok();
    call.listen().await.is_cut();
    let summary = world.letter().await;
    summary.went_to(Channel::Email, CHIDI_MAIL).reads("- An order was cancelled\n- The postal address on your account was changed");
    assert!(world.tells(call.id, "The caller speaks for acct_c1c1").await);
    assert!(world.tells(call.id, "power of attorney").await);

    // Both find the call in their portal: one as the one who called, one as the one it was about.
    let chidis = Portal::enter(&world, "10004713").await.home().await;
    chidis.shows("The caller spoke for you as power of attorney.").shows("The postal address on your account was changed, by Robin.").lacks("app code");
    Portal::enter(&world, "10004712").await.home().await.shows("The caller proved to be you: app code.").shows("The postal address on your account was changed, by Robin.");
    let undo = world.ground.post.all().iter().find(|l| l.text.contains("/undo/")).unwrap().link();
    crate::common::pages::post(&world.router, &undo, None, &[("", ""); 0]).await.ok();
    assert_eq!(world.profile(CHIDI).await.address.expose(), "7 Harbour Street, Portville");
}

/// A permission ends with its day, with the proof that it rests on, and with a freeze on either side.
#[tokio::test]
async fn a_permission_ends() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let _call = liam(&world, &mut robin).await;
    speak_for(&robin, "10004713").await.says("The caller may speak for this account");
    robin.reveal("name").await.shows("Chidi Okafor");
    world.wait(Span::minutes(31)).await;
    robin.panel().await.hides(&CHIDI_PRIVATE);
    robin.reveal("name").await.says("not permitted now").hides(&CHIDI_PRIVATE);
    robin.end().await.ok();

    world.edit(LIAM, |p| p.frozen = Some(p.contacts[0].usable_from)).await;
    let mut sam = world.sam().await;
    let _call = liam(&world, &mut sam).await;
    speak_for(&sam, "10004713").await.says("No: the caller may not speak for that account.");
    sam.end().await.ok();
    world.edit(LIAM, |p| p.frozen = None).await;
    world.edit(CHIDI, |p| p.frozen = Some(p.contacts[0].usable_from)).await;
    let _call = liam(&world, &mut sam).await;
    speak_for(&sam, "10004713").await.says("The caller may speak for this account");
    sam.perform("do:cancel_order", &[]).await.says("Not permitted now");
    sam.reveal("name").await.says("not permitted now").hides(&CHIDI_PRIVATE);
    sam.end().await.ok();
    world.edit(CHIDI, |p| p.frozen = None).await;
    world.pass(Span::days(366));
    let mut robin = world.robin().await;
    let _call = liam(&world, &mut robin).await;
    speak_for(&robin, "10004713").await.says("No: the caller may not speak for that account.");
}

/// Whoever speaks for another is still on the phone as themselves: their own freeze reaches the
/// call, and the words by which both sides know each other are theirs.
#[tokio::test]
async fn a_call_for_another_is_still_its_callers_own() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let (liams, chidis) = (Portal::enter(&world, "10004712").await, Portal::enter(&world, "10004713").await);
    let _call = liam(&world, &mut robin).await;
    speak_for(&robin, "10004713").await.says("The caller may speak for this account");
    let word = |page: &crate::common::pages::Page| page.body.split("class=\"word\">").nth(1).and_then(|rest| rest.split('<').next()).map(str::to_owned);
    let his = word(&liams.get("/me/live").await).unwrap();
    robin.panel().await.shows(&his);
    let page = chidis.get("/me/live").await;
    page.ok().shows("on your behalf").shows("somebody whom you allowed to speak for you").lacks("with us as you").lacks(&his);
    assert_eq!(word(&page), None);
    // It was not Liam at all.
    liams.post("/me/freeze", &[]).await.is(303);
    robin.reveal("name").await.says("not permitted now").hides(&CHIDI_PRIVATE);
    robin.perform("do:cancel_order", &[]).await.says("Not permitted now");
}
