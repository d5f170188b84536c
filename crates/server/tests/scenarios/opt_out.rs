//! Opt-out words by text, as the `us-tcpa` pack asks.

use countersign_core::factor::FactorKind;
use countersign_server::outbox::provider::Channel;

use crate::common::{
    World,
    pages::send,
    people::*,
    phone::webhook,
    portal::Portal,
};

async fn text(world: &World, from: &str, words: &str) -> String {
    let fields = vec![("Body".to_owned(), words.to_owned()), ("From".to_owned(), from.to_owned()), ("To".to_owned(), "+12025550100".to_owned())];
    send(&world.router, webhook("/twilio/inbound", &fields)).await.ok().body.clone()
}

async fn kinds(world: &World) -> Vec<FactorKind> {
    let now = world.now();
    world.profile(JONAS).await.brief(now).usable(now).map(|f| f.kind).collect()
}

/// STOP ends texts to that number at once, also of a code that was to be sent; the call offers
/// something else. START begins them again, and what the customer chose in the portal stays.
#[tokio::test]
async fn stop_ends_texts_and_another_factor_is_offered() {
    let world = World::new().await;
    assert!(kinds(&world).await.contains(&FactorKind::SmsCode));
    assert_eq!(text(&world, JONAS_LINE, "Wann kommt mein Paket?").await, "<Response/>");
    assert!(kinds(&world).await.contains(&FactorKind::SmsCode));
    // Nothing answers it: the one confirmation is the carrier's.
    assert_eq!(text(&world, JONAS_LINE, " Stop.").await, "<Response/>");
    assert_eq!(kinds(&world).await, [FactorKind::VoiceCode]);
    assert_eq!(world.deliver().await.len(), 0);

    let mut call = world.call(JONAS_LINE).await;
    call.press("1").await;
    let letters = world.deliver().await;
    assert_eq!(letters.len(), 1, "{letters:#?}");
    letters[0].went_to(Channel::Voice, JONAS_LINE);
    call.hang_up().await;

    let portal = Portal::enter(&world, "10004715").await;
    portal.home().await.ok().shows("A text with STOP came from your telephone");
    // Twice is once; somebody else's number changes nothing of theirs.
    let events = world.profile(JONAS).await.events;
    text(&world, JONAS_LINE, "STOP").await;
    text(&world, STRANGER, "START").await;
    assert_eq!(world.profile(JONAS).await.events, events);
    text(&world, JONAS_LINE, "start").await;
    assert!(kinds(&world).await.contains(&FactorKind::SmsCode));
    portal.post("/me/security/preferences", &[("form", "preferences"), ("never_sms", "on")]).await.is(303);
    text(&world, JONAS_LINE, "START").await;
    assert!(!kinds(&world).await.contains(&FactorKind::SmsCode), "what the customer chose signed in stays");
}
