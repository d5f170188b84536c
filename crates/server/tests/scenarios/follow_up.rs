//! After a sensitive call, and before a risky one.

use countersign_core::{account::NOTICE_PERIOD, call::Event, time::Span};
use countersign_server::outbox::provider::Channel;

use crate::common::{Setup, World, authenticator::{self, Device}, desk::Desk, hides, pages, people::*, phone::Phone, portal::Portal};

const NEW: &str = "+12025550150";
const NOTHING: [(&str, &str); 0] = [];

/// Ana at strong with whoever takes her call.
async fn strong(world: &World, desk: &mut Desk) -> Phone {
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    desk.take(&mut call).await;
    step_up(world, desk, &mut call, "change:phone").await;
    call
}

async fn step_up(world: &World, desk: &Desk, call: &mut Phone, action: &str) {
    desk.prove("sms_code", action).await.ok();
    call.listen().await;
    let code = world.letter().await.code();
    call.press(&code).await;
    assert_eq!(desk.panel().await.level(), "strong");
}

async fn follow_up(world: World) {
    let (mut robin, mut sam, kim) = (world.robin().await, world.sam().await, world.kim().await);
    let mut call = strong(&world, &mut robin).await;
    robin.change_phone(NEW).await.says("Done.");
    robin.perform("do:request_refund", &[]).await.says("Done.");
    assert_eq!(world.deliver().await.len(), 2, "the change is told at once");
    call.hang_up().await;
    assert!(world.tells(call.id, "A summary of change:phone, do:request_refund went to the contact on file.").await);
    let letters = world.deliver().await;
    let letter = letters.iter().find(|l| l.to == ANA_MAIL).unwrap();
    assert!(letters.iter().any(|l| l.to == ANA_LINE) && letters.len() == 2, "and to the number that was replaced a moment ago");
    letter.went_to(Channel::Email, ANA_MAIL)
        .reads("- The phone number on your account was changed\n- A refund was requested").reads("This wasn't you? Tell us here, and we freeze your account:")
        .reads("We only send you a code while you are on the phone with us.").reads("We never ask you to say it.");
    hides(&letter.text, &["Ana", NEW, ANA_LINE, "10004711"]);
    let link = letter.link();
    assert!(link.starts_with("/not-me/"));

    // Meanwhile somebody is on the line again in her name.
    let mut other = world.call(ANA_LINE).await;
    assert!(other.words().contains("For English"), "the old number means nobody any more");
    other.presses(&["1", "2", "10004711", "20500"]).await.hears("Please enter your PIN.");
    other.presses(&["4071", "1"]).await;
    let mut ola = world.agent("Ola", countersign_core::action::Role::Agent).await;
    assert_eq!(ola.take(&mut other).await.level(), "authenticated");
    ola.reveal("name").await.shows("Ana Torres");

    // Opening the link does nothing: mail scanners do that.
    for _ in 0..2 {
        pages::get(&world.router, &link, None).await.ok().shows("we freeze your account for everything by phone").hides(&ANA_PRIVATE);
    }
    assert!(world.profile(ANA).await.frozen.is_none());
    ola.reveal("name").await.shows("Ana Torres");

    // The button does.
    pages::post(&world.router, &link, None, &NOTHING).await.ok().shows("Your account is frozen for everything by phone.");
    assert!(world.profile(ANA).await.frozen.is_some());
    pages::post(&world.router, &link, None, &NOTHING).await.is(422).shows("This link was used");
    kim.get("/admin").await.shows("reported");
    let page = ola.panel().await;
    page.shows("Account frozen.").shows("account frozen <b>+60</b>").hides(&ANA_PRIVATE);
    ola.reveal("name").await.says("not permitted now").hides(&ANA_PRIVATE);
    ola.perform("do:request_refund", &[]).await.says("Not permitted now");
    ola.perform("do:end_freeze", &[]).await.says("Not permitted now");
    assert!(world.tells(other.id, "The account was frozen during the call.").await);
    assert!(world.deliver().await.is_empty());
    ola.end().await.ok();

    // The next call goes to a specialist, who ends the freeze, at strong and not before.
    let mut third = world.call(STRANGER).await;
    third.presses(&["1", "2", "10004711", "20500"]).await.hears("Please enter your PIN.");
    third.presses(&["4071", "1"]).await.hears("A specialist will be with you soon.");
    assert!(world.tells(third.id, "Waits for a specialist because of risk:").await);
    ola.call = third.id;
    ola.act("accept", &[]).await;
    ola.panel().await.is(404);
    sam.take(&mut third).await.shows("Account frozen.");
    sam.perform("do:end_freeze", &[]).await.says("Not permitted now");
    sam.reveal("name").await.says("not permitted now");
    // Her new number has not cooled off: there is nothing to prove the second thing with but the portal.
    sam.prove("sms_code", "do:end_freeze").await.says("this factor cannot be used on this call");
    world.pass(Span::days(8));
    let (mut sam, mut fourth) = (world.sam().await, world.call(NEW).await);
    fourth.presses(&["4071", "1"]).await;
    sam.take(&mut fourth).await.shows("Account frozen.");
    step_up(&world, &sam, &mut fourth, "do:end_freeze").await;
    sam.reveal("name").await.says("not permitted now").hides(&ANA_PRIVATE);
    sam.change_phone("+12025550152").await.says("Not permitted now");
    sam.perform("do:end_freeze", &[]).await.says("Done.");
    assert!(world.profile(ANA).await.frozen.is_none());
    sam.panel().await.lacks("Account frozen.");
    sam.reveal("name").await.shows("Ana Torres");
}

#[tokio::test]
async fn security_follow_up() { follow_up(World::new().await).await; }

#[tokio::test]
async fn security_follow_up_in_a_file() { follow_up(World::in_file().await).await; }

/// The same in the portal: the customer reads there who did what, and reports it.
async fn follow_up_in_the_portal(world: World) {
    let (mut robin, kim) = (world.robin().await, world.kim().await);
    let mut call = strong(&world, &mut robin).await;
    robin.change_phone(NEW).await.says("Done.");
    call.hang_up().await;
    let portal = Portal::enter(&world, "10004711").await;
    let home = portal.home().await;
    home.shows("Robin took the call.").shows("We asked for proof:").shows("The caller proved to be you:").shows("The phone number on your account was changed, by Robin.").shows("This wasn’t me");
    // Whoever names somebody else's call freezes their own account, and no more.
    let chidi = Portal::enter(&world, "10004713").await;
    chidi.home().await.lacks("Robin carried out");
    chidi.post("/me/freeze", &[("call", &call.id.to_string())]).await.is(303);
    assert!(world.profile(ANA).await.frozen.is_none());
    portal.post("/me/freeze", &[("call", &call.id.to_string())]).await.is(303);
    assert!(world.profile(ANA).await.frozen.is_some());
    kim.get("/admin").await.shows("reported");
    let mut next = world.call(STRANGER).await;
    next.presses(&["1", "2", "10004711", "20500"]).await;
    next.presses(&["4071", "1"]).await.hears("A specialist will be with you soon.");
}

#[tokio::test]
async fn security_follow_up_in_the_portal() { follow_up_in_the_portal(World::new().await).await; }

#[tokio::test]
async fn security_follow_up_in_the_portal_in_a_file() { follow_up_in_the_portal(World::in_file().await).await; }

/// Reported while the specialist is still talking: the same call can end the freeze, and goes on.
#[tokio::test]
async fn a_freeze_in_mid_call_can_end_on_it() {
    let world = World::new().await;
    let (mut sam, portal) = (world.sam().await, Portal::enter(&world, "10004711").await);
    let mut call = strong(&world, &mut sam).await;
    portal.post("/me/freeze", &[("call", &call.id.to_string())]).await.is(303);
    portal.home().await.ok().shows("Your account is frozen");
    sam.change_phone(NEW).await.says("Not permitted now");
    sam.perform("do:end_freeze", &[]).await.says("Done.");
    sam.panel().await.lacks("Account frozen.");
    sam.change_phone(NEW).await.says("Done.").lacks("account frozen <b>");
    call.hang_up().await;
    portal.home().await.ok().lacks("Your account is frozen");
}

/// What a thief set up before they were reported does not end the freeze.
#[tokio::test]
async fn a_reported_device_proves_nothing() {
    let world = World::new().await;
    let (mut sam, portal, mut theirs) = (world.sam().await, Portal::confirmed(&world, "10004711").await, Device::new(7));
    authenticator::add(&world.router, &portal.cookie, &mut theirs).await.ok();
    let notice = world.deliver().await.into_iter().find(|l| l.to == ANA_MAIL).unwrap().link();
    let mut before = world.call(ANA_LINE).await;
    before.presses(&["1", "4071", "1"]).await;
    sam.take(&mut before).await.shows("prove-passkey");
    sam.end().await.ok();
    pages::post(&world.router, &notice, None, &NOTHING).await.ok().shows("Your account is frozen");
    // Their passkey signs nobody in and is asked for on no call. The PIN was there before.
    authenticator::sign_in(&world.router, &mut theirs).await.is(422);
    // Nor does waiting help.
    world.pass(Span::days(15));
    let (mut sam, mut after) = (world.sam().await, world.call(STRANGER).await);
    after.presses(&["1", "2", "10004711", "20500", "4071", "1"]).await;
    let page = sam.take(&mut after).await;
    page.shows("Account frozen.").lacks("passkey");
    sam.prove("passkey", "do:end_freeze").await.says("this factor cannot be used on this call");
}

/// Nothing sensitive was done: nobody is bothered.
#[tokio::test]
async fn a_harmless_call_has_no_summary() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    robin.take(&mut call).await;
    robin.reveal("orders").await.shows("Reading lamp");
    robin.change_phone(NEW).await.says("Not permitted now");
    robin.end().await.ok();
    assert!(world.deliver().await.is_empty());
}

/// Messages go to what counts: never to a new address before it has cooled off, never to an old one
/// when there is another.
#[tokio::test]
async fn messages_follow_the_customer() {
    let world = World::new().await;
    let mut kim = world.kim().await;
    world.edit(ANA, |p| {
        let (changed, mut new) = (p.contacts[1].usable_from + Span::days(400), p.contacts[1].clone());
        p.contacts[1].retired = Some(changed);
        (new.id.0[0], new.value, new.usable_from) = (0x55, "ana.new@example.com".into(), changed + Span::days(7));
        p.contacts.push(new);
    }).await;
    for (after, to) in [(Span::days(6), ANA_LINE), (Span::days(2), "ana.new@example.com"), (NOTICE_PERIOD, "ana.new@example.com")] {
        world.pass(after);
        kim = world.agent(&kim.name.clone(), countersign_core::action::Role::Lead).await;
        let mut call = world.call(ANA_LINE).await;
        call.presses(&["0", "1"]).await;
        kim.take(&mut call).await;
        kim.request("do:close_account").await.says("Only online.");
        assert_eq!(world.letter().await.to, to);
        kim.end().await.ok();
    }
}

#[tokio::test]
async fn risky_call() {
    let world = World::with(Setup { deny: vec!["+12025550188"], ..Setup::default() }).await;
    let (mut robin, mut sam) = (world.robin().await, world.sam().await);

    // A known number whose signature does not hold: perhaps somebody else shows it.
    let mut call = Phone::dial(&world, Some(ANA_LINE), "TN-Validation-Failed").await;
    assert!(!call.words().contains("delivery"), "nothing is hinted at");
    call.hears("Please enter your PIN.").presses(&["0", "1"]).await.hears("A specialist will be with you soon.");
    assert!(world.tells(call.id, "Waits for a specialist because of risk: attestation failed.").await);
    robin.queue().await.lacks(&format!(r#"id="take-{}""#, call.id));
    robin.call = call.id;
    robin.act("accept", &[]).await;
    assert!(!world.events(call.id).await.iter().any(|e| matches!(e, Event::Accepted { .. })));
    sam.take(&mut call).await.shows("the number's signature does not hold").shows("+55").hides(&ANA_PRIVATE);

    // With wrong entries on top it is too much for anybody: a polite end that explains nothing.
    let mut call = Phone::dial(&world, Some(ANA_LINE), "TN-Validation-Failed-C-Diverted").await;
    call.presses(&["1111", "1112"]).await.hears("That was not accepted. Please try again.");
    call.press("1113").await.hears("We are sorry, we cannot help you on this call.").is_cut();
    assert!(!call.words().contains("risk") && !call.words().contains("PIN"), "{}", call.words());
    assert!(world.tells(call.id, "Ended politely: too risky.").await);
    // Nothing went to the customer because of it: a code at this moment would be the caller's.
    assert!(world.deliver().await.is_empty());

    // On the deny list: nobody answers, nobody is asked, no agent sees it.
    let mut call = world.call("+12025550188").await;
    call.hears("We are sorry, we cannot help you on this call. Thank you for calling, and goodbye.").is_cut();
    assert!(!call.words().contains("Welcome"));
    let story = world.story(call.id).await;
    assert!(story.iter().any(|s| s.contains("number on deny list +100")), "{story:#?}");
    sam.queue().await.lacks(&call.id.to_string());

    // A calm call still goes to everybody.
    let mut call = world.call(STRANGER).await;
    call.presses(&["1", "0", "1"]).await.hears("An agent will be with you soon.");
    robin.queue().await.shows(&format!(r#"id="take-{}""#, call.id));
}
