//! Calls by FreeSWITCH's event socket. The other side is a script after recorded shapes of its messages:
//! it shows that we say what we mean to say, not that FreeSWITCH takes it so.

use std::{net::SocketAddr, sync::atomic::Ordering};

use countersign_core::{call::Event, id::CallId, risk::Verstat};
use countersign_server::telephony::{freeswitch::NAME, sip::voice::Voice};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::common::{World, freeswitch::{self, PATIENCE, Peer, SHOWN}, hides, pages};

const UUID: &str = "7f4de4bc-17d7-11dd-b7a0-db4edd065621";
const HERE: &str = "peers = [\"127.0.0.1\"]";

async fn listening(world: &World, more: &str) -> SocketAddr {
    freeswitch::listening(world, Voice::new(None, Vec::new()), &format!("{more}\n[agent_phones]\nRobin = \"user/robin\"")).await.0
}

fn call_id(world: &World) -> CallId { CallId(world.app.runner.vault.index.blind(NAME, UUID).0) }

fn data(number: &str, more: &str) -> String { freeswitch::data(UUID, number, "8005551212", more) }

async fn happened(world: &World, what: &str) {
    let wait = async {
        while !world.tells(call_id(world), what).await {
            tokio::task::yield_now().await;
        }
    };
    if timeout(PATIENCE, wait).await.is_err() {
        panic!("{what:?} is not in {:#?}", world.story(call_id(world)).await);
    }
}

#[tokio::test]
async fn a_whole_call() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let address = listening(&world, HERE).await;
    let mut peer = Peer::connect(address, UUID, data("2025550142", SHOWN)).await;
    peer.told(&format!("filter Unique-ID {UUID}")).await;
    peer.told("execute-app-name: answer").await;
    let clip = peer.told("execute-app-name: playback").await;
    let link = clip.split_once("execute-app-arg: http://127.0.0.1:8080").unwrap().1.lines().next().unwrap();
    let sound = pages::get(&world.router, link, None).await;
    assert_eq!((sound.header("content-type"), sound.header("cache-control")), ("audio/wav", "private, max-age=3600"));
    assert!(!clip.contains("2025550142"));
    // A key ends what is played. Then everything is quick.
    peer.key("2").await;
    peer.told(&format!("api uuid_break {UUID} all")).await;
    peer.quick.store(true, Ordering::SeqCst);
    happened(&world, "Asked for PIN").await;
    // Masked before the prompt, because a key may come while it is said.
    peer.told_before(&format!("api uuid_record {UUID} mask /rec/{UUID}.wav"), "playback").await;
    peer.key("4071#").await;
    happened(&world, "Proved: PIN").await;
    peer.told(&format!("api uuid_record {UUID} unmask")).await;
    peer.key("1").await;
    peer.told("execute-app-name: endless_playback\nexecute-app-arg: local_stream://moh").await;

    robin.call = call_id(&world);
    robin.act("accept", &[]).await.ok();
    let rung = peer.told("bgapi originate").await;
    assert!(rung.contains("}user/robin &park()") && rung.contains("anonymous") && !rung.contains("2025550142"));
    let agent = rung.split_once("origination_uuid=").unwrap().1.split(',').next().unwrap().to_owned();
    peer.event("CHANNEL_ANSWER", &agent, "").await;
    peer.told(&format!("api uuid_bridge {UUID} {agent}")).await;

    // Somebody else's channel, and keys of the agent's, are not the caller's.
    peer.event("CHANNEL_HANGUP", "00000000-0000-0000-0000-000000000000", "").await;
    robin.prove("pin", "").await.ok();
    peer.told_before(&format!("api uuid_park {agent}"), "playback").await;
    peer.event("DTMF", &agent, "DTMF-Digit: 1\n").await;
    peer.key("4071#").await;
    peer.told_before(&format!("api uuid_bridge {UUID} {agent}"), "uuid_kill").await;

    robin.end().await.ok();
    peer.told(&format!("api uuid_kill {agent}")).await;
    peer.told("call-command: hangup").await;
    peer.event("CHANNEL_HANGUP", UUID, "Hangup-Cause: NORMAL_CLEARING\n").await;
    // What was said is what the page shows.
    let (_, page) = include_str!("../../../../docs/freeswitch.md").split_once("## What we say").unwrap();
    assert!(peer.words.len() > 10 && peer.words.iter().all(|word| page.contains(word)), "{:?}", peer.words);
    let proofs = world.events(call_id(&world)).await.iter().filter(|e| matches!(e, Event::Proved { .. })).count();
    assert_eq!(proofs, 2);
}

#[tokio::test]
async fn a_connection_that_is_lost_takes_no_call_with_it() {
    let world = World::new().await;
    let address = listening(&world, HERE).await;
    let mut peer = Peer::connect(address, UUID, data("+12025550142", SHOWN)).await;
    peer.quick.store(true, Ordering::SeqCst);
    peer.told("execute-app-name: answer").await;
    peer.key("2").await;
    happened(&world, "Asked for PIN").await;
    drop(peer);
    // The dialplan comes again with the same call.
    let mut peer = Peer::connect(address, UUID, data("+12025550142", SHOWN)).await;
    peer.told("execute-app-name: playback").await;
    peer.key("4071#").await;
    happened(&world, "Proved: PIN").await;
    peer.event("CHANNEL_HANGUP", UUID, "").await;
    happened(&world, "The caller hung up").await;
}

/// What is on record of the calling number and its signature.
async fn begun(more: &str, data: String) -> (bool, Verstat) {
    let world = World::new().await;
    let address = listening(&world, &format!("{HERE}\n{more}")).await;
    let mut peer = Peer::connect(address, UUID, data).await;
    peer.told("execute-app-name: answer").await;
    let events = world.events(call_id(&world)).await;
    let Some(Event::Started { number, verstat, .. }) = events.first() else { panic!("{events:?}") };
    (number.is_some(), *verstat)
}

#[tokio::test]
async fn what_is_believed_of_a_caller() {
    let signed = |text: &str| format!("{SHOWN}variable_sip_verstat_detailed: {text}\n");
    let configured = "verstat_variable = \"sip_verstat_detailed\"";
    assert_eq!(begun(configured, data("2025550142", &signed("TN-Validation-Passed-A"))).await, (true, Verstat::PassedA));
    assert_eq!(begun(configured, data("2025550142", &signed("TN-Validation-Failed-A"))).await, (true, Verstat::Failed));
    assert_eq!(begun("", data("2025550142", &signed("TN-Validation-Passed-A"))).await, (true, Verstat::None), "nobody said that this variable counts");
    // Twice is no word at all, and what a caller wrote into a header of theirs stays there.
    assert_eq!(begun(configured, data("2025550142", &format!("{}variable_sip_verstat_detailed: TN-Validation-Passed-A\n", signed("No-TN-Validation")))).await, (true, Verstat::None));
    let written = format!("{SHOWN}variable_sip_h_X-Note: x%0Avariable_sip_verstat_detailed%3A%20TN-Validation-Passed-A\n");
    assert_eq!(begun(configured, data("2025550142", &written)).await, (true, Verstat::None));
    // Withheld, or nobody says that it is not.
    assert_eq!(begun("", data("2025550142", "Caller-Privacy-Hide-Number: true\n")).await, (false, Verstat::None));
    assert_eq!(begun("", data("2025550142", "")).await, (false, Verstat::None));
    assert_eq!(begun("", data("anonymous", SHOWN)).await, (false, Verstat::None));
}

#[tokio::test]
async fn strangers_and_liars_get_nothing_and_break_nothing() {
    let world = World::new().await;
    let address = listening(&world, "peers = [\"192.0.2.0/24\"]").await;
    let mut stranger = TcpStream::connect(address).await.unwrap();
    let mut heard = Vec::new();
    let _ = timeout(PATIENCE, stranger.read_to_end(&mut heard)).await.expect("it is closed");
    assert_eq!(heard, b"", "a stranger is not even asked");

    let address = listening(&world, HERE).await;
    let nameless = data("2025550142", SHOWN).replace(UUID, "x");
    let command = data("2025550142", SHOWN).replace(UUID, "7f4de4bc-17d7-11dd-b7a0-db4edd065621%0A%0Aapi%20shutdown");
    let twice = data("2025550142", &format!("{SHOWN}Unique-ID: 00000000-0000-0000-0000-000000000000\nChannel-Unique-ID: x\n"));
    for lie in ["Content-Length: -5\n\n", "Content-Length: 5\nContent-Length: 6\n\nabcdef", "no header\n\n", "Content-Length: 999999999\n\n", &nameless, &command, &twice, "\u{0}\n\n"] {
        let mut liar = TcpStream::connect(address).await.unwrap();
        liar.write_all(lie.as_bytes()).await.unwrap();
        let mut heard = String::new();
        let _ = timeout(PATIENCE, liar.read_to_string(&mut heard)).await.unwrap_or_else(|_| panic!("{lie:?} is not closed"));
        assert!(heard.is_empty() || heard == "connect\n\n", "{lie:?}: {heard:?}");
    }
    assert_eq!(world.log().await, "", "nothing is on record");
    // A call that goes on is not harmed by an event that lies within it.
    let mut peer = Peer::connect(address, UUID, data("2025550142", SHOWN)).await;
    peer.told("execute-app-name: answer").await;
    peer.send("Content-Length: 40\nContent-Type: text/event-plain\n\nEvent-Name: DTMF\nContent-Length: 9999999\n\n").await;
    while peer.said.recv().await.is_some() {}
    assert!(world.app.runner.call(call_id(&world)).await.unwrap().is_some_and(|live| live.call.ended.is_none()));
    hides(&world.metrics().await, &["2025550142"]);
}
