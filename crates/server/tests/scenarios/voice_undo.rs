//! A thief who was heard: what a call left in a voice is taken back when the call is not to be trusted.

use countersign_core::{call::Event, id::AccountId, time::Span};
use countersign_server::voice::{TAKES, TEMPLATE};

use super::voice::{Caller, ana, kept, world};
use crate::common::{World, desk::Desk, pages, people::*, portal::Portal};

/// What is kept of Ana's voice, opened.
async fn template(world: &World) -> serde_json::Value {
    let doc = world.app.runner.store.doc(TEMPLATE, &ANA.0).await.unwrap().expect("a template");
    world.app.runner.unseal_about(TEMPLATE, &ANA.0, &doc.body).await.unwrap().unwrap()
}

/// One comparison, from which the template learns.
async fn learns(world: &World, robin: &mut Desk, seed: u64) -> Caller {
    world.pass(Span::hours(2));
    *robin = world.robin().await;
    let mut call = Caller::at(world, robin).await;
    robin.act("voice-compare", &[]).await.ok();
    call.says(&ana(seed)).await;
    assert!(call.compared().await.learnt, "{:?}", call.compared().await);
    robin.end().await;
    world.deliver().await;
    call
}

async fn marks(world: &World, call: &Caller, what: &str) {
    world.kim().await.post(&format!("/admin/calls/{}/{what}", call.id), &[("reason", "she called and it was not her")]).await.is(303);
}

fn unlearnt(log: &str) -> usize { log.matches(r#""type":"voice_unlearnt""#).count() }

#[tokio::test]
async fn what_a_voice_learnt_on_a_fraud_call_is_taken_out() {
    let world = world().await;
    let mut robin = world.robin().await;
    let enrolling = Caller::enrolled(&world, &mut robin).await;
    robin.end().await;
    let first = learns(&world, &mut robin, 50).await;
    let before = template(&world).await;
    let fraud = learns(&world, &mut robin, 60).await;
    assert_ne!(template(&world).await, before, "it has learnt");
    // A later call learns as well: from a template with a thief in it.
    let later = learns(&world, &mut robin, 70).await;
    marks(&world, &fraud, "fraud").await;
    assert_eq!(template(&world).await, before, "as it was before the call that was fraud");
    assert!(world.profile(ANA).await.voice.is_some() && unlearnt(&world.log().await) == 1);
    // What is gone is gone, and the mark of a call that left nothing does nothing.
    marks(&world, &fraud, "not-fraud").await;
    marks(&world, &later, "fraud").await;
    assert_eq!((template(&world).await, unlearnt(&world.log().await)), (before, 1));
    // Sealed as ever: nothing of it opens in another's place.
    let doc = world.app.runner.store.doc(TEMPLATE, &ANA.0).await.unwrap().unwrap();
    assert_eq!(countersign_server::vault::Vault::owner_of(&doc.body), Some(ANA));
    // It is compared, and learns again. (While the mark stands, a specialist has her calls.)
    marks(&world, &later, "not-fraud").await;
    learns(&world, &mut robin, 80).await;
    marks(&world, &first, "fraud").await;
    assert_eq!(unlearnt(&world.log().await), 2);
    // Where it was enrolled it goes wholly.
    marks(&world, &enrolling, "fraud").await;
    assert_eq!((kept(&world, TEMPLATE).await, world.profile(ANA).await.voice), (0, None));
    // Her own page says what became of her voice, and not that somebody thinks of fraud.
    let page = Portal::enter(&world, "10004711").await.get("/me").await;
    page.shows("may not have been yours was taken off the file").shows("is again as it was before a call").hides(&["fraud", "Fraud"]);
}

#[tokio::test]
async fn an_enrolment_that_is_marked_while_it_goes_on_comes_to_nothing() {
    let world = world().await;
    let mut robin = world.robin().await;
    let mut call = Caller::strong(&world, &mut robin).await;
    robin.act("voice-enrol", &[]).await.ok();
    call.press("1").await;
    call.says(&ana(1)).await;
    marks(&world, &call, "fraud").await;
    call.says(&ana(2)).await;
    assert!(call.stopped().await.is_some());
    robin.act("voice-enrol", &[]).await;
    call.press("1").await;
    assert_eq!((kept(&world, TAKES).await, kept(&world, TEMPLATE).await), (0, 0));
    assert!(!call.events().await.iter().any(|e| matches!(e, Event::VoiceEnrolled { .. })));
    robin.end().await;
    marks(&world, &call, "not-fraud").await;
    // Nor does a voice that is on file learn on such a call.
    world.pass(Span::days(1));
    let mut robin = world.robin().await;
    Caller::enrolled(&world, &mut robin).await;
    robin.end().await;
    world.pass(Span::hours(2));
    let mut robin = world.robin().await;
    let mut call = Caller::at(&world, &mut robin).await;
    marks(&world, &call, "fraud").await;
    robin.act("voice-compare", &[]).await.ok();
    call.says(&ana(50)).await;
    assert!(!call.compared().await.learnt);
}

/// "This wasn't me": what came shortly before is not trusted, on whatever call.
#[tokio::test]
async fn a_freeze_takes_out_what_was_learnt_shortly_before() {
    let world = world().await;
    let mut robin = world.robin().await;
    Caller::enrolled(&world, &mut robin).await;
    robin.end().await;
    world.deliver().await;
    learns(&world, &mut robin, 50).await;
    world.pass(Span::days(30));
    let before = template(&world).await;
    learns(&world, &mut robin, 60).await;
    learns(&world, &mut robin, 70).await;
    let portal = Portal::enter(&world, "10004711").await;
    portal.post("/me/freeze", &[]).await.is(303);
    // The voice is older than a week and stays; what it learnt this week does not.
    assert!(world.profile(ANA).await.frozen.is_some() && world.profile(ANA).await.voice.is_some());
    assert_eq!((template(&world).await, unlearnt(&world.log().await)), (before, 1));
}

/// The notice of a change has a link that undoes it: whoever follows it says who was not on the call.
#[tokio::test]
async fn undoing_a_change_takes_back_what_the_voice_learnt_on_that_call() {
    let world = world().await;
    let mut robin = world.robin().await;
    Caller::enrolled(&world, &mut robin).await;
    robin.end().await;
    world.deliver().await;
    world.pass(Span::days(30));
    let before = template(&world).await;
    let mut robin = world.robin().await;
    let mut call = Caller::strong(&world, &mut robin).await;
    robin.act("voice-compare", &[]).await.ok();
    call.says(&ana(60)).await;
    assert!(call.compared().await.learnt);
    robin.change_phone("+12025550150").await.ok();
    let letters = world.deliver().await;
    let undo = letters.iter().find(|l| l.text.contains("https://")).expect("a notice with a link").link();
    pages::post::<&str, &str>(&world.router, &undo, None, &[]).await.ok();
    assert_eq!(template(&world).await, before);
}

/// Nothing is destroyed under a legal hold; and nothing that is not trusted is compared.
#[tokio::test]
async fn under_a_legal_hold_a_suspect_voice_stays_and_is_not_compared() {
    let world = world().await;
    let mut robin = world.robin().await;
    Caller::enrolled(&world, &mut robin).await;
    robin.end().await;
    world.deliver().await;
    let fraud = learns(&world, &mut robin, 60).await;
    let before = template(&world).await;
    world.app.runner.set_hold(ANA, Some("a court asked for it".into())).await.unwrap();
    marks(&world, &fraud, "fraud").await;
    assert_eq!(template(&world).await, before, "held");
    assert!(world.log().await.contains(r#""type":"voice_ended""#));
    world.pass(Span::hours(2));
    marks(&world, &fraud, "not-fraud").await;
    let mut robin = world.robin().await;
    Caller::at(&world, &mut robin).await;
    robin.act("voice-compare", &[]).await.says("cannot be compared on this call");
    robin.end().await;
    assert_eq!((world.app.runner.expire_voices().await.unwrap(), kept(&world, TEMPLATE).await), (0, 1));
    // With the hold it goes.
    world.app.runner.set_hold(ANA, None).await.unwrap();
    assert_eq!((world.app.runner.expire_voices().await.unwrap(), kept(&world, TEMPLATE).await), (1, 0));
    // Marking a call of somebody who was erased since finds nothing, and says so to nobody.
    Caller::enrolled(&world, &mut robin).await;
    robin.end().await;
    world.deliver().await;
    let last = learns(&world, &mut robin, 80).await;
    world.app.runner.erase(ANA).await.unwrap();
    marks(&world, &last, "fraud").await;
    assert_eq!(kept(&world, TEMPLATE).await, 0);
    assert!(world.app.runner.directory.load(AccountId(ANA.0)).await.unwrap().is_none());
}
