//! Calls that we make through Asterisk and FreeSWITCH that do not go as they should. Those that do are in
//! the suite of adapters (`walmart_call_me`). Both switches are scripts.

use countersign_core::{
    id::{CallId, MessageId},
    time::Span,
};
use countersign_server::{
    outbox::provider::{Outgoing, Provider as _, Sent, reason},
    telephony::sip::voice::Voice,
};
use tokio::time::timeout;

use crate::common::{
    World,
    asterisk::Rig,
    caller::Kind,
    freeswitch::{self, Commands, PASSWORD, PATIENCE, Peer, answered, data, listening},
    hides,
    people::*,
    portal::Portal,
    recordings,
};

/// Chidi asks in the portal to be rung: the order, as its carrier gets it.
async fn asked(world: &World) -> (Portal, Outgoing) {
    let chidi = Portal::enter(world, "10004713").await;
    let contact = chidi.home().await.body.split("name=\"contact\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    chidi.post("/me/call-me", &[("contact", &contact)]).await.is(303);
    let letter = world.letter().await;
    (chidi, world.ground.post.order(letter.text.parse().unwrap()))
}

fn call(order: &Outgoing) -> CallId { order.text.expose().parse().unwrap() }

async fn told(world: &World, order: &Outgoing, sentence: &str) {
    let mut notices = world.app.runner.hub.listen();
    while !world.tells(call(order), sentence).await {
        if timeout(PATIENCE, notices.recv()).await.is_err() {
            panic!("{sentence:?} is not in {:#?}", world.story(call(order)).await);
        }
    }
}

#[tokio::test]
async fn whoever_declines_by_asterisk_was_not_reached_and_is_not_rung_twice() {
    let world = World::with(Kind::Asterisk.setup()).await;
    let rig = Rig::open(&world).await;
    let (chidi, order) = asked(&world).await;
    assert!(matches!(rig.rings.send(&order).await, Sent::Accepted { .. }));
    rig.ari.decline();
    told(&world, &order, "the customer was not reached").await;
    // The same order once more, and one that nobody knows how it ended.
    assert_eq!(rig.rings.send(&order).await, Sent::Rejected { reason: reason::REFUSED });
    assert_eq!(rig.rings.send(&Outgoing { interrupted: true, ..order }).await, Sent::Unknown { reason: reason::INTERRUPTED });
    assert_eq!(rig.ari.rings(), None);
    chidi.home().await.ok();
}

#[tokio::test]
async fn whoever_asterisk_hung_up_on_while_we_were_gone_was_not_reached() {
    let world = World::with(Kind::Asterisk.setup()).await;
    let rig = Rig::open(&world).await;
    let (_chidi, order) = asked(&world).await;
    assert!(matches!(rig.rings.send(&order).await, Sent::Accepted { .. }));
    rig.ari.loses_us();
    rig.ari.pick_up_unheard();
    told(&world, &order, "the customer was not reached").await;
    assert_eq!(rig.rings.send(&order).await, Sent::Rejected { reason: reason::REFUSED });
}

/// It still rings when we are back: nobody was missed.
#[tokio::test]
async fn whoever_answers_by_asterisk_after_the_connection_was_lost_is_spoken_to() {
    let world = World::with(Kind::Asterisk.setup()).await;
    let rig = Rig::open(&world).await;
    let (_chidi, order) = asked(&world).await;
    assert!(matches!(rig.rings.send(&order).await, Sent::Accepted { .. }));
    let mut changed = rig.ari.changed.subscribe();
    rig.ari.loses_us();
    while !rig.ari.asked().contains("GET /channels/…") {
        timeout(PATIENCE, changed.changed()).await.expect("nobody asks whether it still rings").unwrap();
    }
    rig.ari.pick_up();
    told(&world, &order, "Somebody answered").await;
    assert!(!world.tells(call(&order), "the customer was not reached").await);
}

/// What is in the list of channels, and also told by an event that has waited, happened once.
#[tokio::test]
async fn whoever_answers_while_calls_are_taken_up_is_greeted_once() {
    let world = World::with(Kind::Asterisk.setup()).await;
    let rig = Rig::open(&world).await;
    let (_chidi, order) = asked(&world).await;
    assert!(matches!(rig.rings.send(&order).await, Sent::Accepted { .. }));
    let (leg, mut changed) = (rig.ari.rings().unwrap(), rig.ari.changed.subscribe());
    rig.ari.loses_us_until_answered();
    let mut heard = Vec::new();
    let mut pressed = false;
    loop {
        heard.extend(rig.ari.take(&leg));
        let words = recordings::text(&heard).into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" ");
        if !pressed && words.contains("website shows now") {
            // No key that is shown.
            rig.ari.key(&leg, '*');
            pressed = true;
        }
        if let Some((before, _)) = words.split_once("not accepted") {
            assert_eq!(before.matches("Hello").count(), 1, "{words}");
            break;
        }
        timeout(PATIENCE, changed.changed()).await.unwrap_or_else(|_| panic!("heard {words:?}")).unwrap();
    }
}

#[tokio::test]
async fn a_telephone_that_rings_for_nothing_stops_by_asterisk() {
    let world = World::with(Kind::Asterisk.setup()).await;
    let rig = Rig::open(&world).await;
    let (_chidi, order) = asked(&world).await;
    assert!(matches!(rig.rings.send(&order).await, Sent::Accepted { .. }));
    let mut changed = rig.ari.changed.subscribe();
    assert!(rig.ari.rings().is_some());
    world.wait(Span::minutes(10)).await;
    while rig.ari.rings().is_some() {
        timeout(PATIENCE, changed.changed()).await.expect("it rings on and on").unwrap();
    }
    assert!(world.events(call(&order)).await.last().is_some_and(|event| matches!(event, countersign_core::call::Event::Ended { .. })));
}

#[tokio::test]
async fn a_switch_that_cannot_be_reached_has_rung_nobody() {
    let world = World::with(Kind::FreeSwitch.setup()).await;
    let (address, lines, _) = listening(&world, Voice::new(None, Vec::new()), "peers = [\"127.0.0.1\"]").await;
    let (_chidi, order) = asked(&world).await;
    // Nobody there, and a password that is none.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rings = freeswitch::rings(&world, lines.clone(), address, nobody, PASSWORD);
    assert!(matches!(rings.send(&order).await, Sent::Retry { reason: reason::NO_CONNECTION, .. }));
    let mut commands = Commands::open().await;
    let rings = freeswitch::rings(&world, lines.clone(), address, commands.address, "wrong");
    assert!(matches!(rings.send(&order).await, Sent::Retry { reason: reason::NO_CONNECTION, .. }));
    assert!(commands.told.try_recv().is_err(), "something was ordered without a password");
    // With the right one it rings, and Chidi's line is busy.
    let rings = freeswitch::rings(&world, lines, address, commands.address, PASSWORD);
    assert!(matches!(rings.send(&order).await, Sent::Accepted { .. }));
    commands.became.send("-ERR USER_BUSY\n".into()).unwrap();
    told(&world, &order, "the customer was not reached").await;
    assert_eq!(rings.send(&order).await, Sent::Rejected { reason: reason::REFUSED });
    hides(&world.metrics().await, &[&CHIDI_LINE[1..]]);
}

#[tokio::test]
async fn a_telephone_that_rings_for_nothing_stops_by_freeswitch() {
    let world = World::with(Kind::FreeSwitch.setup()).await;
    let (address, lines, _) = listening(&world, Voice::new(None, Vec::new()), "peers = [\"127.0.0.1\"]").await;
    let mut commands = Commands::open().await;
    let rings = freeswitch::rings(&world, lines, address, commands.address, PASSWORD);
    let (_chidi, order) = asked(&world).await;
    assert!(matches!(rings.send(&order).await, Sent::Accepted { .. }));
    world.wait(Span::minutes(10)).await;
    loop {
        let command = timeout(PATIENCE, commands.told.recv()).await.expect("it rings on and on").unwrap();
        if command.starts_with("api uuid_kill") {
            break assert!(command.contains(&hex::encode(call(&order).0)[..8]), "{command}");
        }
    }
}

/// Whoever can bring a channel names a call: one that we do not make by this switch, or none at all.
#[tokio::test]
async fn a_channel_that_names_anothers_call_gets_nothing_of_it() {
    // Twilio rings here.
    let world = World::new().await;
    let (address, ..) = listening(&world, Voice::new(None, Vec::new()), "peers = [\"127.0.0.1\"]").await;
    let (_chidi, order) = asked(&world).await;
    let uuid = |id: CallId| {
        let hex = hex::encode(id.0);
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    };
    let theirs = uuid(call(&order));
    let before = world.events(call(&order)).await.len();
    let mut liar = Peer::connect(address, &theirs, answered(&theirs, CHIDI_LINE)).await;
    liar.told_before("exit", "execute-app-name: playback").await;
    assert_eq!(world.events(call(&order)).await.len(), before, "the call has moved");
    // A call that comes in and says that it is ours is one that comes in.
    let mut liar = Peer::quick(address, &theirs, data(&theirs, STRANGER, "8005551212", "Caller-Privacy-Hide-Number: false\nvariable_countersign_ours: true\n")).await;
    liar.told("execute-app-name: playback").await;
    assert_eq!(world.events(call(&order)).await.len(), before);
    // Of no call at all.
    let none = uuid(CallId(MessageId([7; 16]).0));
    let mut liar = Peer::connect(address, &none, answered(&none, CHIDI_LINE)).await;
    liar.told_before("call-command: hangup", "execute-app-name: playback").await;
    assert!(world.app.runner.call(CallId([7; 16])).await.unwrap().is_none());
}
