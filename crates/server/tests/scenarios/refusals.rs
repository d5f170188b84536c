//! What never happens by phone, or not for these proofs.

use countersign_core::{
    account::ContactKind,
    action::{Outcome, Role, WayOut},
    call::Event,
    factor::FactorKind,
    id::AccountId,
};
use countersign_policy::{Engine, Severity, Sources, lint};
use countersign_server::outbox::provider::Channel;

use crate::common::{START, World, hides, people::*};

#[tokio::test]
async fn password_by_phone_number() {
    for (name, role) in [("Robin", Role::Agent), ("Sam", Role::Specialist), ("Kim", Role::Lead)] {
        let world = World::new().await;
        let mut desk = world.agent(name, role).await;
        // Their own line, with full attestation, and everything that anybody could know.
        let mut call = world.call(ANA_LINE).await;
        call.presses(&["1", "0", "1"]).await;
        desk.take(&mut call).await;
        for (what, value) in [
            ("account_number", "10004711"), ("order_number", "710004711"), ("email", ANA_MAIL), ("name", "Ana Torres"),
            ("date_of_birth", "1984-03-09"), ("postal_code", "20500"), ("number", ANA_LINE), ("address", "12 Juniper Lane, Springfield"),
        ] {
            let page = desk.heard(what, value).await;
            assert!(["Two things agree: the account is open. Nothing is proved yet.", "Match."].contains(&page.flash().as_str()), "{what}: {}", page.flash());
            assert_eq!(page.level(), "identified");
        }
        desk.request("change:password").await.says("Needs strong");
        for (action, fields) in [
            ("change:password", &[][..]), ("change:phone", &[("value", "+12025550150")]), ("change:email", &[("value", "x@example.com")]),
            ("change:address", &[("address", "1 New Street"), ("postal_code", "10001")]), ("change:factors", &[("kind", "pin"), ("value", "8027")]),
            ("do:cancel_order", &[]), ("do:request_refund", &[]), ("do:redirect_parcel", &[]), ("do:close_account", &[]), ("do:end_freeze", &[]),
        ] {
            desk.perform(action, fields).await.says("Not permitted now").hides(&ANA_PRIVATE);
            let reason = [fields, &[("reason", "the caller is in a great hurry")]].concat();
            desk.perform(action, &reason).await.says("Not permitted now").hides(&ANA_PRIVATE);
        }
        assert!(world.deliver().await.is_empty(), "{name}: nothing is sent");
        let events = world.events(call.id).await;
        assert!(!events.iter().any(|e| matches!(e, Event::Performed { .. } | Event::Proved { .. } | Event::Revealed { .. })));
        let refused = events.iter().filter(|e| matches!(e, Event::Decided { decision, .. } if decision.outcome != Outcome::Permit)).count();
        assert_eq!(refused, 21, "every refusal is on record");
        let after = world.profile(ANA).await;
        assert_eq!((after.events, after.changed), (0, None));
        // One proof is not enough either.
        desk.prove("pin", "change:password").await.ok();
        call.listen().await.press("4071").await;
        desk.perform("change:password", &[]).await.says("Not permitted now");
        assert!(world.deliver().await.is_empty());
    }
    // Administrators have no business with a customer: they get no call at all.
    let world = World::new().await;
    let mut alex = world.agent("Alex", Role::Admin).await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "0", "1"]).await;
    alex.call = call.id;
    alex.act("accept", &[]).await;
    assert!(!world.events(call.id).await.iter().any(|e| matches!(e, Event::Accepted { .. })));
    alex.panel().await.is(404);
}

/// With two proofs the password is still neither said nor heard: the customer gets the way.
#[tokio::test]
async fn a_password_is_set_signed_in() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    robin.take(&mut call).await;
    robin.prove("sms_code", "change:password").await.ok();
    call.listen().await.hears("To set a new password for your account, we need to check it is you.");
    let letter = world.letter().await;
    letter.reads("now to set a new password");
    call.press(&letter.code()).await;
    robin.perform("change:password", &[("value", "correct horse battery")]).await.says("Done.");
    let told = world.deliver().await;
    assert!(told.iter().all(|l| [ANA_MAIL, ANA_LINE].contains(&l.to.as_str())));
    assert!(told.iter().any(|l| l.to == ANA_MAIL && l.text.contains("You asked us by phone to set a new password")), "{told:#?}");
    for letter in &told {
        hides(&letter.text, &["horse", "Ana", "10004711"]);
    }
    hides(&world.log().await, &["horse"]);
}

#[tokio::test]
async fn ssn_asked() {
    // A policy that takes it for a proof is not taken into use, and the finding names the word.
    for word in ["ssn", "ssn_last4", "social_security_number", "date_of_birth", "mothers_maiden_name", "postal_code"] {
        let mut sources = Sources::shipped();
        let policy = format!(
            "@id(\"by_{word}\")\npermit (principal, action == Countersign::Action::\"reach:authenticated\", resource)\nwhen {{ context.proofs.contains(\"{word}\") }};\n"
        );
        sources.files.push(("own.cedar".into(), policy));
        let findings = lint::check(&sources.schema, &sources.files);
        assert!(findings.iter().any(|f| f.severity == Severity::Error && f.policy_id.as_deref() == Some(&*format!("by_{word}"))), "{word}: {findings:?}");
        assert!(Engine::load(sources.schema, sources.files).is_err(), "{word}");
    }
    // Nor one that asks for nothing at all once enough is known.
    let mut sources = Sources::shipped();
    let known = "@id(\"knows_a_lot\")\npermit (principal, action == Countersign::Action::\"reach:authenticated\", resource)\nwhen { context.claims.containsAll([\"date_of_birth\", \"postal_code\"]) };\n";
    sources.files.push(("own.cedar".into(), known.into()));
    assert!(Engine::load(sources.schema, sources.files).is_err());

    // And the desk has no place where it could be written.
    let world = World::new().await;
    let mut robin = world.robin().await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "0", "1"]).await;
    robin.take(&mut call).await.lacks("ocial");
    for what in ["ssn", "social_security_number", "mothers_maiden_name"] {
        robin.heard(what, "078-05-1120").await.says("choose what the caller said").hides(&["078-05-1120"]);
        robin.prove(what, "").await.says("there is no such factor");
        robin.reveal(what).await.says("there is no such field");
    }
    hides(&world.log().await, &["078-05-1120"]);
}

#[tokio::test]
async fn ups_online_only() {
    let world = World::new().await;
    let mut kim = world.kim().await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    kim.take(&mut call).await.shows("Send the way");
    // Not at any level, and not for anybody.
    kim.perform("do:close_account", &[]).await.says("Not permitted now");
    assert!(world.deliver().await.is_empty());
    let page = kim.request("do:close_account").await;
    page.says("Only online. The way was sent to the contact on file.").hides(&ANA_PRIVATE);
    let letter = world.letter().await;
    letter.went_to(Channel::Email, ANA_MAIL).reads("You asked us by phone to close your account.")
        .reads("https://calls.example.com").reads("If this was not you, please call +1 202 555 0100");
    hides(&letter.text, &["Ana", "10004711", ANA_LINE]);
    // Once.
    for _ in 0..3 {
        kim.request("do:close_account").await.says("Only online.");
    }
    assert!(world.deliver().await.is_empty());
    // Proving more does not help.
    kim.prove("sms_code", "do:close_account").await.ok();
    call.listen().await;
    let code = world.letter().await.code();
    call.press(&code).await;
    assert_eq!(kim.panel().await.level(), "strong");
    kim.perform("do:close_account", &[]).await.says("Not permitted now");
    let online = Outcome::Refuse { way_out: WayOut::Online };
    assert!(world.events(call.id).await.iter().any(|e| matches!(e, Event::Decided { decision, .. } if decision.outcome == online)));
    assert!(!world.tells(call.id, "carried out").await);
    // Five a day for an account, however many calls: nobody's mailbox is flooded.
    kim.end().await.ok();
    let mut sent = 0;
    for _ in 0..6 {
        let mut call = world.call(ANA_LINE).await;
        call.presses(&["1", "0", "1"]).await;
        kim.take(&mut call).await;
        kim.request("do:close_account").await.ok();
        sent += world.deliver().await.len();
        kim.end().await.ok();
    }
    assert_eq!(sent, 4, "five with the first");
}

/// The customer locked the phone for changes: only the signed-in customer can do this.
#[tokio::test]
async fn a_locked_phone_changes_nothing() {
    let world = World::new().await;
    world.edit(ANA, |p| p.phone_lock = true).await;
    let mut sam = world.sam().await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    sam.take(&mut call).await;
    sam.prove("sms_code", "change:phone").await.ok();
    call.listen().await;
    let code = world.letter().await.code();
    call.press(&code).await;
    assert_eq!(sam.panel().await.level(), "strong");
    sam.change_phone("+12025550150").await.says("Not permitted now");
    sam.panel().await.shows("The customer allows no changes by phone.");
    assert_eq!(world.profile(ANA).await.events, 0);
}

/// A customer who can be reached at nothing but a landline is rung with the notice: nobody changes
/// an account behind its holder's back.
#[tokio::test]
async fn a_change_is_told_on_a_landline() {
    let world = World::new().await;
    let id = AccountId([0x77; 16]);
    let profile = Somebody::new(id, "10004777", "Old Mill").contact(ContactKind::Landline, "+12025550177", START).word(FactorKind::Pin, "6402", None).0;
    world.add(&profile).await;
    let mut robin = world.robin().await;
    let mut call = world.call("+12025550177").await;
    let letter = world.letter().await;
    letter.went_to(Channel::Voice, "+12025550177");
    call.presses(&[&letter.code(), "1"]).await;
    robin.take(&mut call).await;
    robin.prove("pin", "change:address").await.ok();
    call.listen().await.press("6402").await;
    robin.perform("change:address", &[("address", "1 New Street"), ("postal_code", "10001")]).await.says("Done.");
    assert_eq!(world.letter().await.to, "+12025550177");
}
