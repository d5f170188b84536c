//! Risk as a weapon and as an oracle: keeping a customer out by calling in their name, and learning from
//! how one is treated.

use std::sync::Arc;

use countersign_core::{
    account::ContactKind,
    action::Role,
    call::Event,
    secret::E164,
    time::Span,
};
use countersign_server::intel::{Known, OnFailure, Sim, Use, file::Listed};

use crate::common::{
    Setup, World,
    people::{ANA, ANA_LINE, STRANGER},
    phone::Phone,
};

fn risk_of(events: &[Event]) -> u8 { events.iter().rev().find_map(|e| match e { Event::RiskScored { score, .. } => Some(*score), _ => None }).unwrap_or(0) }

/// Somebody who shows Ana's number calls all day, for other accounts and with wrong entries, and the lead
/// confirms fraud. Ana, with her PIN, still gets through to a person, proves, and changes her address.
#[tokio::test]
async fn nobody_is_locked_out_by_calls_in_their_name() {
    let world = World::new().await;
    let kim = world.kim().await;
    let mut last = None;
    for round in 0..12 {
        let mut call = world.call(ANA_LINE).await;
        call.presses(&["2", "1111", "1112", "1113"]).await;
        call.hang_up().await;
        let mut other = world.call(&format!("+120255501{:02}", 20 + round)).await;
        other.presses(&["1", "2", "10004711", "20500", "1111"]).await;
        other.hang_up().await;
        last = Some(call.id);
        world.pass(Span::minutes(16));
    }
    let fields = [("reason", "a stranger who shows her number")];
    crate::common::pages::post(&world.router, &format!("/admin/calls/{}/fraud", last.unwrap()), Some(&kim.cookie), &fields).await.is(303);

    world.pass(Span::minutes(20));
    let mut sam = world.sam().await;
    let mut ana = world.call(ANA_LINE).await;
    assert!(!ana.words().contains("cannot help"));
    ana.presses(&["4071", "1"]).await.hears("A specialist will be with you soon.");
    let risk = risk_of(&world.events(ana.id).await);
    assert!((50..75).contains(&risk), "{risk}");
    sam.take(&mut ana).await.shows("fraud from this line");
    sam.prove("sms_code", "change:address").await.ok();
    let code = world.letter().await.code();
    ana.listen().await.press(&code).await;
    sam.perform("change:address", &[("address", "1 New Street, Newtown"), ("postal_code", "10001")]).await.says("Done.");
    assert_eq!(world.profile(ANA).await.address.expose(), "1 New Street, Newtown");
}

/// What is known of the number is not to be heard: word for word the same call, up to the one bit that
/// routing by risk cannot hide, which is whether an agent or a specialist takes it.
#[tokio::test]
async fn a_caller_does_not_hear_what_is_known_of_their_number() {
    let clean = "+12025550171";
    let worst = "+12025550172";
    let known = Known { sim: Sim::At(countersign_core::time::Timestamp(crate::common::START.0 - 1000)), forwarded: true, ..Known::default() };
    let listed = Listed::of([(E164::parse(worst).unwrap(), known)]);
    let settings = Use { on_failure: OnFailure::Count, cache: Span::days(1), sim_lately: Span::hours(72) };
    let world = World::with(Setup { intel: Some((Arc::new(listed), settings)), ..Setup::default() }).await;
    let mut heard = Vec::new();
    for number in [clean, worst] {
        let mut call = world.call(number).await;
        let mut words = vec![call.words()];
        world.deliver().await;
        for keys in ["1", "2", "10004711", "99999"] {
            words.push(call.press(keys).await.words());
        }
        words.push(call.press("1").await.words().replace("A specialist", "An agent"));
        heard.push(words);
        assert_eq!(risk_of(&world.events(call.id).await) >= 50, number == worst);
    }
    assert_eq!(heard[0], heard[1]);
}

/// An account that is known by one detail alone is not given away by how a risky call is treated.
#[tokio::test]
async fn a_risky_call_tells_nothing_about_an_account_number() {
    let rules = countersign_core::risk::Rules { routes: countersign_core::risk::Routes::new(Some(40), Some(50), None, Some(95)).unwrap(), ..Default::default() };
    let world = World::with(Setup { params: countersign_core::call::Params { risk: rules, ..Default::default() }, ..Setup::default() }).await;
    let mut heard = Vec::new();
    for account in ["10004711", "10009999"] {
        let mut call = Phone::dial(&world, Some(STRANGER), "TN-Validation-Failed").await;
        let mut words = Vec::new();
        for keys in ["1", "2", account, "0", "1"] {
            words.push(call.press(keys).await.words());
        }
        heard.push(words);
        call.hang_up().await;
    }
    assert_eq!(heard[0], heard[1]);
    world.pass(Span::minutes(1));
    assert!(world.deliver().await.is_empty(), "and nobody is rung");
}

/// A telephone does not ring all day because strangers call in its owner's name, and one that came on
/// file a minute ago is not rung at all.
#[tokio::test]
async fn calls_back_are_few_and_go_to_numbers_that_cooled_off() {
    let rules = countersign_core::risk::Rules { routes: countersign_core::risk::Routes::new(Some(40), Some(50), None, Some(95)).unwrap(), ..Default::default() };
    let world = World::with(Setup { params: countersign_core::call::Params { risk: rules, ..Default::default() }, ..Setup::default() }).await;
    let risky = async || {
        let mut call = Phone::dial(&world, Some(ANA_LINE), "TN-Validation-Failed").await;
        call.presses(&["0", "1"]).await;
        world.pass(Span::seconds(21));
        world.deliver().await;
        world.deliver().await;
        call
    };
    for _ in 0..6 {
        risky().await;
    }
    assert_eq!(world.ground.post.all().iter().filter(|l| l.to == ANA_LINE).count(), 2);
    world.edit(ANA, |profile| {
        let soon = profile.contacts[0].usable_from + Span::days(800);
        profile.contacts.iter_mut().filter(|c| c.kind == ContactKind::Mobile).for_each(|c| c.usable_from = soon);
    }).await;
    world.pass(Span::hours(2));
    let mut call = risky().await;
    call.listen().await;
    assert!(world.tells(call.id, "Waits for a specialist").await);
    assert_eq!(world.ground.post.all().iter().filter(|l| l.to == ANA_LINE).count(), 2);
}

/// A flood of calls makes none slow, and wraps no count around.
#[tokio::test]
async fn a_flood_of_calls_is_counted_up_to_a_bound() {
    let world = World::new().await;
    for n in 0..400 {
        let mut call = world.call(&format!("+1202556{n:04}")).await;
        call.presses(&["1", "2", "10004711", "20500"]).await;
        call.hang_up().await;
    }
    let call = world.call(ANA_LINE).await;
    let events = world.events(call.id).await;
    let lines = events.iter().find_map(|e| match e { Event::Signalled { history: Some(h), .. } => Some(h.lines_on_account), _ => None });
    assert!(lines.is_some_and(|n| (200..=301).contains(&n)), "{lines:?}");
    assert_eq!(risk_of(&events), 30, "the points of a part have an end");
}

/// The pages of the lead are no way around: what is not this call's cannot be frozen, a reason in markup
/// stays text, and nobody below a lead can mark or list.
#[tokio::test]
async fn only_a_lead_marks_and_lists() {
    let world = World::new().await;
    let call = world.call(STRANGER).await;
    for role in [Role::Agent, Role::Specialist, Role::Admin] {
        let desk = world.agent(&format!("A-{}", role.name()), role).await;
        for (path, fields) in [
            (format!("/admin/calls/{}/fraud", call.id), vec![("reason", "because I say so"), ("deny", "yes")]), (format!("/admin/calls/{}/not-fraud", call.id), vec![("reason", "because I say so")]),
            ("/admin/deny".to_owned(), vec![("number", STRANGER)]), ("/admin/deny/remove".to_owned(), vec![("line", "00000000000000000000000000000000")]),
        ] {
            crate::common::pages::post(&world.router, &path, Some(&desk.cookie), &fields).await.is(404);
        }
    }
    assert!(!world.log().await.lines().any(|l| l.starts_with("deny ") || l.contains("\"marked\"")));
    world.call(STRANGER).await.hears("For English");
}
