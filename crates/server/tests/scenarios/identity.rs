//! Whose account it is: misheard, guessed, given away.

use countersign_core::{call::Event, time::Span};
use countersign_server::outbox::provider::Channel;

use crate::common::{World, has_word, hides, pages, people::*, phone::Phone};

const NEW: &str = "+12025550151";
const DINA_PRIVATE: [&str; 6] = ["Dina", "10004717", "1990-10-01", "Quarry Hill", "Bethel", "06810"];

/// From a withheld number straight to an agent.
async fn unknown(world: &World) -> Phone {
    let mut call = world.withheld().await;
    call.presses(&["1", "0", "1"]).await;
    call
}

async fn hotelx(world: World) {
    let (mut robin, mut kim) = (world.robin().await, world.kim().await);
    let mut call = unknown(&world).await;
    robin.take(&mut call).await.shows("Shut. Nothing of any account is on this page.");
    assert_eq!(robin.panel().await.level(), "anonymous");

    // "tina.bell", heard as "dina.bell", which is another customer's.
    let page = robin.heard("email", "dina.bell@example.com").await;
    page.says("Noted.").shows("look-alike").shows("A detail is one slip of the ear away from another customer’s, and does not count.");
    page.hides(&DINA_PRIVATE).hides(&TINA_PRIVATE);
    assert_eq!(page.level(), "anonymous", "a look-alike opens nothing, and not even says whose account is meant");
    // The name is hers, and the two do not agree: nothing opens.
    let page = robin.heard("name", "Tina Bell").await;
    page.says("Noted.").shows("Shut. Nothing of any account is on this page.");
    assert_eq!(page.level(), "anonymous");
    // Spelled again, and right this time. Both are still one slip from somebody else's.
    let page = robin.heard("email", "tina.bell@example.com").await;
    page.says("Noted.");
    assert_eq!(page.level(), "anonymous");
    assert_eq!(robin.heard("postal_code", "06804").await.level(), "identified");
    let page = robin.heard("date_of_birth", "1995-02-14").await;
    page.says("Two things agree: the account is open. Nothing is proved yet.").hides(&TINA_PRIVATE).hides(&DINA_PRIVATE);

    // Her number cannot be read out: there is no way to see it.
    for field in ["phone", "email", "name", "address"] {
        robin.reveal(field).await.says("not permitted now").hides(&TINA_PRIVATE);
    }
    // From now on the same words are compared with this account and move nothing.
    robin.heard("email", "dina.bell@example.com").await.says("No match.").hides(&DINA_PRIVATE);
    assert!(world.tells(call.id, "compared email: no match.").await);
    assert_eq!(subject(&world, &call).await, Some(TINA));

    // And it cannot be overwritten: that takes two proofs.
    robin.change_phone(NEW).await.says("Not permitted now");
    robin.perform("change:email", &[("value", "new@example.com")]).await.says("Not permitted now");
    assert!(world.deliver().await.is_empty());
    robin.prove("pin,sms_code", "change:phone").await.ok();
    call.listen().await.press("7318").await.hears("Thank you, that was accepted.").hears("We have just texted a code");
    let code = world.letter().await;
    code.went_to(Channel::Sms, TINA_LINE);
    call.press(&code.code()).await;
    robin.change_phone(NEW).await.says("Done.");

    // Whoever was on file before is told, and can undo it.
    let told = world.deliver().await;
    assert_eq!(told.len(), 2);
    let old = told.iter().find(|l| l.to == TINA_LINE).expect("the old number is told");
    old.reads("The phone number on your account was changed").reads("Not you? Undo it:");
    hides(&old.text, &[NEW, "2025550151"]);
    assert!(told.iter().any(|l| l.to == "tina.bell@example.com"));
    assert_eq!(pages::get(&world.router, "/healthz", None).await.body, "ok\n");
    // The new one gets no code before it has cooled off.
    let mut second = world.call(NEW).await;
    second.hears("Please enter your PIN.").press("*").await.hears("Please enter the code for the phone.");
    assert!(world.deliver().await.is_empty());

    let link = old.link();
    // Mail scanners open links.
    let page = pages::get(&world.router, &link, None).await;
    page.ok().shows("The phone number on your account was changed, by phone").hides(&TINA_PRIVATE).hides(&[NEW, "2025550151"]);
    assert_eq!(numbers(&world).await, [NEW]);
    pages::post(&world.router, &link, None, &[("", ""); 0]).await.ok().shows("It is as it was before.");
    assert_eq!(numbers(&world).await, [TINA_LINE]);
    world.call(TINA_LINE).await.hears("We know the number you are calling from.");
    world.call(NEW).await.hears("For English, press 1.");
    pages::post(&world.router, &link, None, &[("", ""); 0]).await.is(422).shows("This link was used");

    // Giving the account up takes a written reason, starts from nothing, and the lead hears of it.
    let switched = robin.act("switch", &[("reason", "too short")]).await;
    switched.says("write a reason of at least ten characters");
    assert_eq!(subject(&world, &call).await, Some(TINA));
    let page = robin.act("switch", &[("reason", "this was Dina all along, she says")]).await;
    page.says("Started again from nothing.").hides(&["Dina"]);
    assert_eq!(page.level(), "anonymous");
    assert_eq!(subject(&world, &call).await, None);
    kim.get("/admin").await.shows("switched");
    kim.call = call.id;
    kim.panel().await.hides(&TINA_PRIVATE);
    assert!(!world.log().await.contains("all along"), "a reason is sealed, not in the log");
}

async fn subject(world: &World, call: &Phone) -> Option<countersign_core::id::AccountId> {
    world.app.runner.call(call.id).await.unwrap().unwrap().call.subject
}

async fn numbers(world: &World) -> Vec<String> {
    world.profile(TINA).await.field(countersign_core::action::Field::Phone).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn hotelx_misheard() { hotelx(World::new().await).await; }

#[tokio::test]
async fn hotelx_misheard_in_a_file() { hotelx(World::in_file().await).await; }

/// The undo is worth nothing after its time.
#[tokio::test]
async fn an_undo_has_its_time() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let mut call = world.call(TINA_LINE).await;
    call.presses(&["7318", "1"]).await;
    robin.take(&mut call).await;
    robin.prove("sms_code", "change:phone").await.ok();
    call.listen().await;
    let code = world.letter().await.code();
    call.press(&code).await;
    robin.change_phone(NEW).await.says("Done.");
    let link = world.deliver().await[0].link();
    world.pass(Span::days(3));
    pages::get(&world.router, &link, None).await.is(422);
    pages::post(&world.router, &link, None, &[("", ""); 0]).await.is(422).shows("its time is over");
    assert_eq!(numbers(&world).await, [NEW]);
}

/// Every contact that is on file is told of a change: the present one, and those that were
/// replaced a short while ago.
#[tokio::test]
async fn a_second_change_is_told_to_the_present_contact() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    for (n, (to, expected)) in [("tb@example.com", vec!["tina.bell@example.com"]), ("tb2@example.com", vec!["tb@example.com", "tina.bell@example.com"])].into_iter().enumerate() {
        let mut call = world.call(TINA_LINE).await;
        call.presses(&["7318", "1"]).await;
        robin.take(&mut call).await;
        robin.prove("sms_code", "change:email").await.ok();
        call.listen().await;
        let code = world.letter().await.code();
        call.press(&code).await;
        robin.perform("change:email", &[("value", to)]).await.says("Done.");
        let mut told: Vec<String> = world.deliver().await.into_iter().filter(|l| l.channel == Channel::Email).map(|l| l.to).collect();
        told.sort();
        assert_eq!(told, expected, "change {n}");
        robin.end().await.ok();
        world.deliver().await;
        // Long enough for the new address to count, too short for the old one to be forgotten.
        world.pass(Span::days(30));
        robin = world.agent("Robin", countersign_core::action::Role::Agent).await;
    }
}

#[tokio::test]
async fn retailer_gives_email() {
    // The right name at the wrong domain, the wrong name at the right domain, and nonsense are one
    // answer, to the byte.
    let mut answers = Vec::new();
    for wrong in ["ana.torres@example.org", "ana.torre@example.com", "someone.else@example.net", "ana.torres@example.con"] {
        let world = World::new().await;
        let mut robin = world.robin().await;
        let mut call = world.call(ANA_LINE).await;
        call.presses(&["1", "0", "1"]).await;
        robin.take(&mut call).await;
        robin.heard("account_number", "10004711").await.ok();
        let page = robin.heard("email", wrong).await;
        page.says("No match.").shows("4 misses left").hides(&ANA_PRIVATE);
        answers.push(page.body);
        // The whole domain is never given away, not even when more is shown.
        robin.prove("pin", "").await.ok();
        call.listen().await.press("4071").await;
        robin.panel().await.shows("a•••@e•••").lacks("example").hides(&ANA_PRIVATE);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
}

/// Five misses on a call, ten an hour on an account: then not even the right answer is looked at.
#[tokio::test]
async fn comparing_is_limited_per_call_and_per_account() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let opened = async |robin: &mut crate::common::desk::Desk| {
        let mut call = world.call(ANA_LINE).await;
        call.presses(&["1", "0", "1"]).await;
        robin.take(&mut call).await;
        robin.heard("account_number", "10004711").await.says("Two things agree");
        call
    };
    let mut evaluated = 0;
    for n in 0..2 {
        let mut call = opened(&mut robin).await;
        for left in (0..5).rev() {
            let page = robin.heard("email", &format!("guess{left}@example.com")).await;
            page.says("No match.").hides(&ANA_PRIVATE);
            evaluated += 1;
        }
        robin.heard("email", ANA_MAIL).await.says("no more tries on this call");
        robin.heard("name", "Ana Torres").await.says("no more tries on this call");
        robin.panel().await.shows("No more details are taken on this call.").hides(&ANA_PRIVATE);
        // Handed to a colleague, the call keeps its count.
        if n == 0 {
            robin.hand_over("agents").await.ok();
            call.listen().await;
            let mut ola = world.agent("Ola", countersign_core::action::Role::Agent).await;
            ola.take(&mut call).await;
            ola.heard("email", ANA_MAIL).await.says("no more tries on this call");
            ola.end().await.ok();
        } else {
            robin.end().await.ok();
        }
    }
    assert_eq!(evaluated, 10);
    let call = opened(&mut robin).await;
    robin.heard("email", ANA_MAIL).await.says("Too many comparisons for this account lately. Ask for a proof.");
    assert!(world.tells(call.id, "too many comparisons for this account").await);
    let compared = world.events(call.id).await.iter().filter(|e| matches!(e, Event::Compared { .. })).count();
    assert_eq!(compared, 0);
    // The customer is not locked out: a proof is still possible.
    robin.prove("pin", "").await.shows("The caller is keying");
    world.pass(Span::hours(1));
    assert!(!has_word(&world.log().await, ANA_MAIL));
}
