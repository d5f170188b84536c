//! Calls by FreeSWITCH's event socket. The other side is a script after recorded shapes of its messages:
//! it shows that we say what we mean to say, not that FreeSWITCH takes it so.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::{AtomicBool, Ordering}},
    time::Duration,
};

use countersign_core::{call::Event, id::CallId, risk::Verstat};
use countersign_server::telephony::{
    freeswitch::{FreeSwitch, NAME},
    sip::voice::Voice,
    switch::{Lines, Setup, clips::Clips},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    sync::mpsc,
    time::timeout,
};

use crate::common::{World, hides, pages};

const UUID: &str = "7f4de4bc-17d7-11dd-b7a0-db4edd065621";
const PATIENCE: Duration = Duration::from_secs(20);

/// Where FreeSWITCH would connect to.
async fn listening(world: &World, more: &str) -> SocketAddr {
    let settings = format!("listen = \"127.0.0.1:0\"\n{more}\nnational = \"+1\"\nrecording = \"/rec/{{uuid}}.wav\"\n[agent_phones]\nRobin = \"user/robin\"\n");
    let settings: countersign_server::telephony::freeswitch::config::FreeSwitchSettings = toml::from_str(&settings).unwrap();
    let names = world.app.agents.clone();
    let lines = Arc::new(Lines::new(Setup {
        name: NAME, clips: Clips::new(world.app.texts.clone(), Voice::new(None, Vec::new()), "http://127.0.0.1:8080", NAME),
        agent_phones: settings.agent_phones.clone().into_iter().collect(), national: settings.national.clone(), most: settings.calls,
        name_of: Box::new(move |id| names.name(id)),
    }));
    world.app.runner.hub.register(NAME, lines.clone());
    lines.start(world.app.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(Arc::new(FreeSwitch::new(settings, lines).unwrap()).run(listener));
    address
}

const HERE: &str = "peers = [\"127.0.0.1\"]";

fn call_id(world: &World) -> CallId { CallId(world.app.runner.vault.index.blind(NAME, UUID).0) }

/// The data of a channel, as `connect` is answered.
fn data(number: &str, more: &str) -> String {
    format!(
        "Event-Name: CHANNEL_DATA\nCore-UUID: 1d0cc2ea-0c7b-4d35-94c5-a4f0e1a1a0c4\nFreeSWITCH-Hostname: pbx\nChannel-State: CS_EXECUTE\n\
         Channel-Name: sofia/external/{number}%40192.0.2.9\nUnique-ID: {UUID}\nCall-Direction: inbound\nAnswer-State: ringing\n\
         Caller-Caller-ID-Name: Ana\nCaller-Caller-ID-Number: {number}\nCaller-Destination-Number: 8005551212\nCaller-Privacy-Hide-Name: false\n\
         {more}variable_uuid: {UUID}\nContent-Type: command/reply\nReply-Text: %2BOK%0A\nSocket-Mode: async\nControl: full\n\n"
    )
}

const SHOWN: &str = "Caller-Privacy-Hide-Number: false\n";

/// A FreeSWITCH by script.
struct Peer {
    write: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    said: mpsc::UnboundedReceiver<String>,
    /// Clips end at once.
    quick: Arc<AtomicBool>,
}

impl Peer {
    async fn connect(address: SocketAddr, data: String) -> Self {
        let (mut read, write) = TcpStream::connect(address).await.unwrap().into_split();
        let (write, quick) = (Arc::new(tokio::sync::Mutex::new(write)), Arc::new(AtomicBool::new(false)));
        let (tell, said) = mpsc::unbounded_channel();
        let (answering, quickly) = (write.clone(), quick.clone());
        tokio::spawn(async move {
            let (mut text, mut buffer) = (String::new(), [0; 4096]);
            while let Ok(n @ 1..) = read.read(&mut buffer).await {
                text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
                while let Some((command, rest)) = text.split_once("\n\n") {
                    let (command, rest) = (command.to_owned(), rest.to_owned());
                    text = rest;
                    let answer = match command.split([' ', '\n']).next().unwrap() {
                        "connect" => data.clone(),
                        "api" => "Content-Type: api/response\nContent-Length: 4\n\n+OK\n".into(),
                        _ => "Content-Type: command/reply\nReply-Text: +OK\n\n".into(),
                    };
                    let _ = answering.lock().await.write_all(answer.as_bytes()).await;
                    let clip = command.split_once("Event-UUID: ").map(|(_, id)| id.to_owned());
                    if let Some(clip) = clip.filter(|_| quickly.load(Ordering::SeqCst)) {
                        let _ = answering.lock().await.write_all(event("CHANNEL_EXECUTE_COMPLETE", UUID, &format!("Application-UUID: {clip}\n")).as_bytes()).await;
                    }
                    let _ = tell.send(command);
                }
            }
        });
        Self { write, said, quick }
    }

    /// The next command that holds this; those before it went by.
    async fn told(&mut self, what: &str) -> String { self.told_before(what, "nothing like this").await }

    /// The same, and this was not among those before it.
    async fn told_before(&mut self, what: &str, not: &str) -> String {
        let mut before = Vec::new();
        loop {
            let command = timeout(PATIENCE, self.said.recv()).await.unwrap_or_else(|_| panic!("not told {what:?}, but {before:#?}")).unwrap_or_else(|| panic!("closed before {what:?}: {before:#?}"));
            if command.contains(what) {
                return command;
            }
            assert!(!command.contains(not), "{not:?} before {what:?}");
            before.push(command);
        }
    }

    async fn send(&self, text: &str) { self.write.lock().await.write_all(text.as_bytes()).await.unwrap(); }

    async fn event(&self, name: &str, whose: &str, more: &str) { self.send(&event(name, whose, more)).await; }

    async fn key(&self, keys: &str) {
        for key in keys.chars() {
            let key = if key == '#' { "%23".to_owned() } else { key.to_string() };
            self.event("DTMF", UUID, &format!("DTMF-Digit: {key}\nDTMF-Duration: 2000\nDTMF-Source: RTP\n")).await;
        }
    }
}

fn event(name: &str, whose: &str, more: &str) -> String {
    let body = format!("Event-Name: {name}\nCore-UUID: 1d0cc2ea-0c7b-4d35-94c5-a4f0e1a1a0c4\nUnique-ID: {whose}\n{more}\n");
    format!("Content-Length: {}\nContent-Type: text/event-plain\n\n{body}", body.len())
}

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
    let mut peer = Peer::connect(address, data("2025550142", SHOWN)).await;
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
    happened(&world, "Asked for pin").await;
    // Masked before the prompt, because a key may come while it is said.
    peer.told_before(&format!("api uuid_record {UUID} mask /rec/{UUID}.wav"), "playback").await;
    peer.key("4071#").await;
    happened(&world, "Proved: pin").await;
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
    let proofs = world.events(call_id(&world)).await.iter().filter(|e| matches!(e, Event::Proved { .. })).count();
    assert_eq!(proofs, 2);
}

#[tokio::test]
async fn a_connection_that_is_lost_takes_no_call_with_it() {
    let world = World::new().await;
    let address = listening(&world, HERE).await;
    let mut peer = Peer::connect(address, data("+12025550142", SHOWN)).await;
    peer.quick.store(true, Ordering::SeqCst);
    peer.told("execute-app-name: answer").await;
    peer.key("2").await;
    happened(&world, "Asked for pin").await;
    drop(peer);
    // The dialplan comes again with the same call.
    let mut peer = Peer::connect(address, data("+12025550142", SHOWN)).await;
    peer.told("execute-app-name: playback").await;
    peer.key("4071#").await;
    happened(&world, "Proved: pin").await;
    peer.event("CHANNEL_HANGUP", UUID, "").await;
    happened(&world, "The caller hung up").await;
}

/// What is on record of the calling number and its signature.
async fn begun(more: &str, data: String) -> (bool, Verstat) {
    let world = World::new().await;
    let address = listening(&world, &format!("{HERE}\n{more}")).await;
    let mut peer = Peer::connect(address, data).await;
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
    let mut peer = Peer::connect(address, data("2025550142", SHOWN)).await;
    peer.told("execute-app-name: answer").await;
    peer.send("Content-Length: 40\nContent-Type: text/event-plain\n\nEvent-Name: DTMF\nContent-Length: 9999999\n\n").await;
    while peer.said.recv().await.is_some() {}
    assert!(world.app.runner.call(call_id(&world)).await.unwrap().is_some_and(|live| live.call.ended.is_none()));
    hides(&world.metrics().await, &["2025550142"]);
}
