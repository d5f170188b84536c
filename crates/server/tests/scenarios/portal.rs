//! The customer's side: codes that travel between the call and the signed-in portal, approvals,
//! calls that the portal begins.

use countersign_core::{account::{Authenticator, Material}, action::Role, factor::FactorKind, id::AuthenticatorId, time::Span};
use countersign_server::outbox::provider::Channel;

use crate::common::{World, authenticator::{self, Device}, hides, people::*, phone::Phone, portal::Portal};

/// From the call to the portal: the machine reads a code out to somebody of whom nothing is known.
async fn to_the_portal(world: World) {
    let mut robin = world.robin().await;
    let ana = Portal::enter(&world, "10004711").await;
    ana.home().await.ok().shows("No call with us is going on.");
    let mut call = world.call(STRANGER).await;
    call.press("1").await.hears("To hear a code that you type on our website, press 3.").press("3").await
        .hears("Please sign in on our website and choose: code from the phone.").hears("We are waiting.");
    let code = call.spoken_code();
    assert_eq!(code.len(), 8);
    // Who types has to key nothing, and hears it again meanwhile.
    call.silent().await.hears("Please sign in on our website");
    assert_eq!(call.spoken_code(), code);

    // A wrong one tells nothing, and the right one only what its owner would know.
    ana.post("/me/code", &[("code", "00000000")]).await.is(422).shows("That is no code of a call that is going on.");
    let page = ana.post("/me/code", &[("code", &code)]).await;
    page.ok().shows("Is this your call?").shows("from a number ending in 99 that is not on your file").lacks(STRANGER);
    assert_eq!(world.app.runner.call(call.id).await.unwrap().unwrap().call.subject, None, "looking is not saying yes");
    let page = ana.links(&code).await;
    assert_eq!(page.header("location"), "/me?done=approved");
    ana.get("/me?done=approved").await.ok().shows("Approved. You can go on with your call.").shows("The caller proved to be you.");
    call.listen().await.hears("Thank you, that was accepted.").press("1").await;
    let page = robin.take(&mut call).await;
    assert_eq!(page.level(), "authenticated");
    robin.reveal("name").await.shows("Ana Torres");
    assert!(world.tells(call.id, "Proved: portal approval.").await);

    // Once.
    ana.post("/me/code", &[("code", &code)]).await.is(422);
    hides(&world.log().await, &[&code]);
}

#[tokio::test]
async fn youtube_hybrid() { to_the_portal(World::new().await).await; }

#[tokio::test]
async fn youtube_hybrid_in_a_file() { to_the_portal(World::in_file().await).await; }

/// The same with an agent who knows nothing of the caller; and the other direction in the middle of
/// a call is `netflix_service_code`.
#[tokio::test]
async fn youtube_hybrid_at_the_desk() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let chidi = Portal::enter(&world, "10004713").await;
    let mut call = world.withheld().await;
    call.presses(&["1", "0", "1"]).await;
    robin.take(&mut call).await.shows("Give a code for the portal");
    let page = robin.act("link", &[]).await;
    page.ok().shows("The caller types it where they are signed in.");
    let code = page.given();
    chidi.post("/me/code", &[("code", &code)]).await.ok().shows("from a withheld number");
    chidi.links(&code).await.is(303);
    let page = robin.panel().await;
    assert_eq!(page.level(), "authenticated");
    page.lacks("Code to read out");
    robin.reveal("name").await.shows("Chidi Okafor");

    // Called off, it finds nothing any more; and once an account is settled, nobody can be slipped in.
    robin.act("link", &[]).await.says("the account of this call is settled");
}

/// An approval shown in the desk, typed in the portal (`flex_push`).
async fn push(world: World) {
    let mut robin = world.robin().await;
    let ana = Portal::enter(&world, "10004711").await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["2", "4071", "1"]).await;
    robin.take(&mut call).await;
    let page = robin.prove("approval", "change:phone").await;
    page.ok().shows("The customer types this code in the portal.");
    let code = page.given();
    assert_eq!(code.len(), 6);

    // The portal says who asks, from where, what for; the code is not on it.
    let page = ana.get("/me/live").await;
    page.ok().shows("Is this you on the phone?").shows("Robin asks whether you want to").shows("change the phone number on your account")
        .shows("from a number ending in 42 on your file").shows("Decline").shows("I am not on the phone").hides(&[&code]);
    let challenge = ana.asked().await.unwrap();

    // Typed, not pressed: a wrong code approves nothing, and both sides see it.
    assert_eq!(ana.answer(&challenge, "type", "nonsense").await, "no-code");
    assert_eq!(ana.answer(&challenge, "type", if code == "123456" { "654321" } else { "123456" }).await, "wrong");
    robin.panel().await.shows("2 tries left");
    assert_eq!(ana.answer(&challenge, "type", &format!("{} {}", &code[..3], &code[3..])).await, "approved");
    let page = robin.panel().await;
    assert_eq!(page.level(), "strong", "a PIN and an approval");
    page.shows("portal approval");
    robin.change_phone("+12025550150").await.says("Done.");
    assert_eq!(ana.asked().await, None);
    assert_eq!(ana.answer(&challenge, "type", &code).await, "over");
    let home = ana.home().await;
    home.shows("We asked for proof: portal approval.").shows("The caller proved to be you: portal approval.");
    hides(&world.log().await, &[&code]);

    // Declined: the desk learns it, and may ask another way.
    robin.prove("approval", "change:email").await.ok();
    let challenge = ana.asked().await.unwrap();
    assert_eq!(ana.answer(&challenge, "decline", "").await, "declined");
    robin.panel().await.shows("Not proved: the customer said no.");
}

#[tokio::test]
async fn flex_push() { push(World::new().await).await; }

#[tokio::test]
async fn flex_push_in_a_file() { push(World::in_file().await).await; }

/// The same with a passkey: nothing to read out, nothing that could be passed on, and "strong".
#[tokio::test]
async fn flex_push_by_passkey() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let (ana, mut device) = (Portal::confirmed(&world, "10004711").await, Device::new(1));
    authenticator::add(&world.router, &ana.cookie, &mut device).await.ok();
    world.deliver().await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["2", "*", "0", "1"]).await;
    robin.take(&mut call).await.shows("prove-passkey");
    let page = robin.prove("passkey", "change:phone").await;
    page.ok().shows("The customer signs in the portal. There is nothing to read out.").lacks("Code to read out");
    let challenge = ana.asked().await.unwrap();
    ana.get("/me/live").await.shows("Approve with my passkey").lacks("The code you hear on the call");
    // A code is not enough here, whatever it is.
    assert_eq!(ana.answer(&challenge, "type", "123456").await, "passkey");
    let base = format!("/me/approvals/{challenge}/passkey");
    let begun = authenticator::start(&world.router, &base, Some(&ana.cookie)).await;
    let credential = device.sign(&begun.options);
    authenticator::finish(&world.router, &base, Some(&ana.cookie), &begun, &credential).await.ok().shows("/me?done=approved");
    let page = robin.panel().await;
    assert_eq!(page.level(), "strong");
    page.shows("strong_by_passkey");
    // She signed that the number changes, and nothing else: neither another change, nor whatever
    // an agent finds useful.
    robin.perform("change:email", &[("value", "thief@example.com")]).await.says("Not permitted now");
    robin.perform("change:address", &[("address", "1 Elsewhere Street"), ("postal_code", "20500")]).await.says("Not permitted now");
    robin.change_phone("+12025550150").await.says("Done.");
    // The same answer once more is no answer.
    authenticator::finish(&world.router, &base, Some(&ana.cookie), &begun, &credential).await.ok().shows("/me?done=over");
}

/// A signature is for one request: not for the next one, not for another purpose, not from another's key.
#[tokio::test]
async fn a_signature_is_for_one_request() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let (ana, mut device) = (Portal::confirmed(&world, "10004711").await, Device::new(1));
    authenticator::add(&world.router, &ana.cookie, &mut device).await.ok();
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["2", "*", "0", "1"]).await;
    robin.take(&mut call).await;
    robin.prove("passkey", "view:orders").await.ok();
    let first = ana.asked().await.unwrap();
    let begun = authenticator::start(&world.router, &format!("/me/approvals/{first}/passkey"), Some(&ana.cookie)).await;
    let credential = device.sign(&begun.options);
    robin.act("cancel", &[]).await.ok();
    // She approved looking at orders. Now it is to be a new number.
    robin.prove("passkey", "change:phone").await.ok();
    let second = ana.asked().await.unwrap();
    let swapped = format!("/me/approvals/{second}/passkey");
    authenticator::finish(&world.router, &swapped, Some(&ana.cookie), &begun, &credential).await.ok().shows("/me?done=not-signed");
    assert_eq!(robin.panel().await.level(), "identified");
    // Another's key, over the right request, in her session.
    let (tina, mut theirs) = (Portal::confirmed(&world, "10004716").await, Device::new(2));
    authenticator::add(&world.router, &tina.cookie, &mut theirs).await.ok();
    let begun = authenticator::start(&world.router, &swapped, Some(&ana.cookie)).await;
    let key = theirs.keys[0].clone();
    let credential = theirs.sign_with(&key, &begun.options);
    authenticator::finish(&world.router, &swapped, Some(&ana.cookie), &begun, &credential).await.ok().shows("/me?done=not-signed");
    // Nor can she begin to sign what is not hers.
    authenticator::post(&world.router, &format!("{swapped}/start"), Some(&tina.cookie), &serde_json::json!({})).await.is(422).shows("That request is over.");
    let begun = authenticator::start(&world.router, &swapped, Some(&ana.cookie)).await;
    let credential = device.sign(&begun.options);
    authenticator::finish(&world.router, &swapped, Some(&ana.cookie), &begun, &credential).await.ok().shows("/me?done=approved");
    assert_eq!(robin.panel().await.level(), "strong");
}

/// "I am not on the phone": whatever was proved counts no more, the desk and the lead are told, and
/// nobody asks that customer again from that line.
#[tokio::test]
async fn a_customer_who_is_not_on_the_phone() {
    let world = World::new().await;
    let (mut robin, kim) = (world.robin().await, world.kim().await);
    let ana = Portal::enter(&world, "10004711").await;
    // Somebody shows her number and knows her PIN.
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["2", "4071", "1"]).await;
    assert_eq!(robin.take(&mut call).await.level(), "authenticated");
    robin.reveal("name").await.shows("Ana Torres");
    robin.prove("approval", "change:phone").await.ok();
    let challenge = ana.asked().await.unwrap();
    assert_eq!(ana.answer(&challenge, "not-me", "").await, "not-me");
    let page = robin.panel().await;
    assert_eq!(page.level(), "identified");
    page.shows("Not the customer.").shows("customer says that they are not on the phone <b>+90</b>").hides(&ANA_PRIVATE);
    robin.change_phone("+12025550150").await.says("Not permitted now");
    robin.prove("approval", "").await.says("nothing more can be asked of them");
    robin.prove("pin", "").await.says("nothing more can be asked of them");
    kim.get("/admin").await.shows("disowned");
    ana.home().await.shows("You told us that you were not on the phone.");
    robin.end().await.ok();

    // From the same line she is asked for nothing in the portal for a day.
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["2", "*", "*", "0", "1"]).await;
    let mut sam = world.sam().await;
    sam.take(&mut call).await;
    sam.prove("approval", "").await.says("This factor cannot be used now");
    assert_eq!(ana.asked().await, None);
}

/// Asked for in the portal, rung at the number on file, answered with the key that the portal shows.
async fn rung(world: World) {
    let mut robin = world.robin().await;
    let chidi = Portal::enter(&world, "10004713").await;
    let home = chidi.home().await;
    home.ok().shows("Ring the number ending in 44").lacks("name=\"number\"");
    let contact = home.body.split("name=\"contact\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(chidi.post("/me/call-me", &[("contact", &contact)]).await.header("location"), "/me?done=rings");
    let letter = world.letter().await;
    letter.went_to(Channel::Ring, CHIDI_LINE);
    let id = letter.text.parse().unwrap();
    let live = chidi.get("/me/live").await;
    live.ok().shows("Your telephone ending in 44 rings");
    let key = live.body.split("Press the key </span>").nth(1).unwrap().split('<').next().unwrap().to_owned();

    // Somebody else in the house answers, and does not know the key.
    let mut call = Phone::answer(&world, id).await;
    call.hears("You asked us to ring you. Press the key that our website shows now.").press(if key == "5" { "6" } else { "5" }).await
        .hears("That was not accepted. Please try again.");
    chidi.get("/me/live").await.shows("You answered: press this key now");
    call.press(&key).await.hears("Thank you, that was accepted.").hears("Please choose what you hear while you wait.").press("2").await;
    assert_eq!(robin.take(&mut call).await.level(), "authenticated");
    robin.reveal("name").await.shows("Chidi Okafor");
    robin.panel().await.shows("we rang them");
    assert!(world.tells(id, "Proved: rung back.").await);
    chidi.get("/me/live").await.shows("We are calling you").shows("Robin");
    call.hang_up().await;
    chidi.home().await.shows("We rang you, as you asked here.");
}

#[tokio::test]
async fn walmart_call_me() { rung(World::new().await).await; }

#[tokio::test]
async fn walmart_call_me_in_a_file() { rung(World::in_file().await).await; }

/// A mailbox answers, or nobody, or a stranger: it ends, and is on record.
#[tokio::test]
async fn a_call_that_does_not_reach_its_customer() {
    let world = World::new().await;
    let chidi = Portal::enter(&world, "10004713").await;
    let contact = chidi.home().await.body.split("name=\"contact\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let ring = async || -> countersign_core::id::CallId {
        assert_eq!(chidi.post("/me/call-me", &[("contact", &contact)]).await.header("location"), "/me?done=rings");
        world.letter().await.text.parse().unwrap()
    };
    // A mailbox keys nothing.
    let id = ring().await;
    let mut call = Phone::answer(&world, id).await;
    call.silent().await.silent().await.is_cut();
    assert!(world.tells(id, "Ended: the customer was not reached.").await);
    // Nobody answers.
    let id = ring().await;
    world.wait(Span::minutes(3)).await;
    assert!(world.tells(id, "Ended: the customer was not reached.").await);
    // Answered after that: too late.
    Phone::answer(&world, id).await.is_cut();
    // It rings four times an hour, not more.
    ring().await;
    ring().await;
    chidi.post("/me/call-me", &[("contact", &contact)]).await.is(422).shows("You asked to be rung several times");
    // A contact of somebody else, or an address, is not rung.
    for other in ["cont_b1b1b1b1b1b1b1b1b1b1b1b1b1b1b101", "+12025550150", ""] {
        let page = chidi.post("/me/call-me", &[("contact", other)]).await;
        assert!([404, 422].contains(&page.status.as_u16()), "{other}: {}", page.status);
    }
    assert!(world.deliver().await.is_empty());
}

/// The number that the portal dials tells who calls before anybody asks.
async fn silent(world: World) {
    let mut robin = world.robin().await;
    let liam = Portal::enter(&world, "10004712").await;
    let page = liam.post("/me/dial", &[("", "")]).await;
    let link = page.ok().body.split("href=\"tel:").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let (number, token) = link.strip_suffix("%23").unwrap().split_once(",,").unwrap();
    assert_eq!((number, token.len()), ("+12025550101", 10));
    // From whatever telephone: it is the token that counts.
    let mut call = Phone::dial_with_token(&world, Some(STRANGER), token).await;
    call.hears("Thank you, that was accepted.").hears("Please choose what you hear while you wait.").press("1").await;
    assert_eq!(robin.take(&mut call).await.level(), "authenticated");
    robin.reveal("name").await.shows("Liam Okafor");
    assert!(world.tells(call.id, "Proved: call from the portal.").await);
    hides(&world.log().await, &[token]);

    // Once; then it is a call like any other, and nobody is told of a token.
    let mut again = Phone::dial_with_token(&world, Some(STRANGER), token).await;
    again.hears("For English, press 1.").hears_nothing_of(&[token]);
    assert_eq!(world.app.runner.call(again.id).await.unwrap().unwrap().call.subject, None);

    // And not for long.
    let page = liam.post("/me/dial", &[("", "")]).await;
    let late = page.body.split(",,").nth(1).unwrap().split('%').next().unwrap().to_owned();
    world.pass(Span::minutes(3));
    Phone::dial_with_token(&world, Some(STRANGER), &late).await.hears("For English, press 1.");
}

#[tokio::test]
async fn silent_authentication() { silent(World::new().await).await; }

#[tokio::test]
async fn silent_authentication_in_a_file() { silent(World::in_file().await).await; }

/// What the customer chose holds on the phone, passkeys included.
#[tokio::test]
async fn amazon_honours_totp_and_passkeys() {
    let world = World::new().await;
    let passkey = |id: u8| Authenticator {
        id: AuthenticatorId([id; 16]), kind: FactorKind::Passkey,
        material: Material::Passkey { name: "Phone".into(), credential: "{}".into(), added: world.now() },
        added: world.now(), usable_from: world.now(),
    };
    world.edit(JONAS, |p| p.authenticators.push(passkey(0x71))).await;
    let mut robin = world.robin().await;
    let mut call = world.call(JONAS_LINE).await;
    // A text was all that Jonas had. Now he has more, and the machine no longer offers it.
    call.press("2").await;
    assert!(!call.words().contains("per SMS") && world.deliver().await.is_empty(), "{}", call.words());
    call.presses(&["0", "1"]).await;
    let page = robin.take(&mut call).await;
    page.shows("prove-passkey").shows("prove-approval").lacks("prove-sms_code");
    robin.prove("sms_code", "").await.says("this factor cannot be used on this call");

    // "Never by SMS" leaves the landline voice, the app leaves neither.
    world.edit(ANA, |p| p.never_sms = true).await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["2", "0", "1"]).await;
    let mut ola = world.agent("Ola", Role::Agent).await;
    ola.take(&mut call).await.shows("prove-voice_code").lacks("prove-sms_code");
}

/// Both sides can know each other, on calls of either direction.
#[tokio::test]
async fn both_sides_know_each_other() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let ana = Portal::enter(&world, "10004711").await;
    let tina = Portal::enter(&world, "10004716").await;
    // Robin rings Ana, by her account number and never by a telephone number.
    let page = crate::common::pages::post(&world.router, "/desk/call-out", Some(&robin.cookie), &[("account_number", "10004711"), ("action", "do:cancel_order")]).await;
    page.is(303);
    robin.call = page.header("location").strip_prefix("/desk/call/").unwrap().parse().unwrap();
    let letter = world.letter().await;
    letter.went_to(Channel::Ring, ANA_LINE);
    robin.panel().await.ok().shows("telephone rings").hides(&ANA_PRIVATE);
    robin.prove("approval", "").await.says("has not answered yet");
    let mut call = Phone::answer(&world, robin.call).await;
    call.hears("One of our people would like to speak to you.").press("1").await;
    call.listen().await.is_bridged();

    let live = ana.get("/me/live").await;
    live.ok().shows("We are calling you").shows("Robin").shows("cancel an order");
    let words: Vec<String> = live.body.split("<b class=\"word\">").skip(1).map(|p| p.split('<').next().unwrap().to_owned()).collect();
    assert_eq!(words.len(), 2);
    robin.panel().await.shows(&format!("they say <b>{}</b>, you say <b>{}</b>", words[0], words[1]));
    assert_eq!(robin.panel().await.level(), "identified", "that somebody answers there proves nothing");
    // Nobody else's portal knows of it.
    tina.get("/me/live").await.ok().shows("No call with us is going on.").lacks(&words[0]);
    call.hang_up().await;
    ana.get("/me/live").await.shows("No call with us is going on.");
    ana.home().await.shows("Robin rang you.");
}

/// Who hears badly, types slowly or speaks through an operator is helped, and not suspected.
#[tokio::test]
async fn a_call_takes_the_time_it_takes() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    world.edit(CHIDI, |p| (p.access.relay, p.access.unhurried) = (true, true)).await;
    let quick = world.call(ANA_LINE).await;
    let mut call = world.call(CHIDI_LINE).await;
    let seconds = |phone: &Phone| phone.twiml.split("timeout=\"").nth(1).unwrap().split('"').next().unwrap().parse::<u32>().unwrap();
    assert_eq!(seconds(&call), seconds(&quick) * 3);
    call.presses(&["2", "*", "8264", "1"]).await;
    robin.take(&mut call).await.shows("Relay service.").shows("More time.");
}

/// A printed list: each code once, for ever.
#[tokio::test]
async fn a_backup_code_counts_once() {
    let world = World::new().await;
    let id = AuthenticatorId([0x77; 16]);
    let list = ["4829103746", "5710293847"].map(countersign_core::secret::Secret::from);
    let codes = countersign_core::factor::BackupCodes::make(id, &list, &world.app.runner.vault.pepper);
    let added = world.now();
    world.edit(JONAS, |p| {
        p.contacts.retain(|c| c.kind != countersign_core::account::ContactKind::Mobile);
        p.contacts.push(countersign_core::account::Contact {
            id: countersign_core::id::ContactId([0x78; 16]), kind: countersign_core::account::ContactKind::Landline, value: JONAS_LINE.into(),
            usable_from: added + Span::days(9), no_texts: false, retired: None,
        });
        p.authenticators.push(Authenticator { id, kind: FactorKind::BackupCode, material: Material::Codes { codes, added }, added, usable_from: added });
    }).await;
    let enter = async |code: &str| {
        let mut call = world.call(JONAS_LINE).await;
        call.press("2").await;
        call.hears("Bitte geben Sie einen unbenutzten Code von Ihrer ausgedruckten Liste ein.");
        call.press(code).await;
        call
    };
    enter("4829103746").await.hears("Vielen Dank, das wurde angenommen.");
    world.pass(Span::days(3));
    enter("4829103746").await.hears("Das wurde nicht angenommen.");
    enter("5710293847").await.hears("Vielen Dank, das wurde angenommen.");
    hides(&world.log().await, &["4829103746", "5710293847"]);
}
