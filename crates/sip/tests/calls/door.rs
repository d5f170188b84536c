//! Who gets in, and what is turned away.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_sip::caller::{CallError, Phone, PhoneSettings};
use countersign_sip::digest::Algorithm;
use countersign_sip::{Answer, Digest, Ended, Gateway, GatewayError, Rate, Registered, Settings, Step, Steps, Trunk};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::script::{HERE, LIMIT, Script, Stage, Told, gather, phone, settings, tone};
use crate::wire::{Wire, sdp};

async fn stage(settings: Settings) -> Stage {
    Stage::with(settings, Answer::Accept(Steps::new([Step::Hold(tone(500.0, 1000))])), vec![], false).await
}

fn code(result: Result<countersign_sip::caller::Line, CallError>) -> (u16, Vec<(String, String)>) {
    match result {
        Err(CallError::Refused { code, headers }) => (code, headers),
        Err(other) => panic!("{other}"),
        Ok(_) => (200, vec![]),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_would_let_everybody_in_does_not_start() {
    let flow = Stage::playing(vec![], vec![]).await.script;
    let started = Gateway::start(Settings::new((HERE, 0).into()), flow as std::sync::Arc<Script>).await;
    assert!(matches!(started, Err(GatewayError::Open)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_call_too_many_is_told_when_to_come_again() {
    let mut stage = stage(Settings { calls: 1, ..settings() }).await;
    let phone = phone().await;
    let first = phone.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    let (refused, headers) = code(phone.call(&stage.uri()).await);
    assert_eq!(refused, 503);
    assert!(headers.iter().any(|(name, value)| name == "Retry-After" && value == "5"), "{headers:?}");
    first.hang_up().await;
    stage.expect(Told::HungUp(Ended::Caller)).await;
    stage.is_empty().await;
    // The slot was given back.
    phone.call(&stage.uri()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_that_rejects_is_the_code_that_the_caller_gets() {
    let mut stage = Stage::with(settings(), Answer::Reject(486), vec![], false).await;
    assert_eq!(code(phone().await.call(&stage.uri()).await).0, 486);
    stage.incoming().await;
    stage.is_empty().await;
}

fn with_digest(algorithm: Algorithm) -> Settings {
    let users = BTreeMap::from([("desk".to_owned(), "open sesame".to_owned())]);
    Settings { peers: vec![], digest: Some(Digest { realm: "example.com".into(), users, algorithm }), ..settings() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_password_is_not_let_in() {
    // The telephone knows MD5 only; the other hash has the vectors of its standard.
    let mut stage = stage(with_digest(Algorithm::Md5)).await;
    let with = |password: &str| PhoneSettings { password: Some(("desk".into(), password.into())), ..PhoneSettings::new(HERE, "desk") };
    assert_eq!(code(phone().await.call(&stage.uri()).await).0, 401);
    let wrong = Phone::start(with("wrong")).await.unwrap();
    assert_eq!(code(wrong.call(&stage.uri()).await).0, 401);
    let right = Phone::start(with("open sesame")).await.unwrap();
    let line = right.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    assert!(line.until(LIMIT, |ear| ear.hears(500.0)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_a_challenge_is_good_once() {
    let mut stage = stage(with_digest(Algorithm::Md5)).await;
    let wire = Wire::new(stage.gateway.address()).await;
    let challenge = wire.ask(&wire.invite(1, "", &sdp(wire.port()))).await;
    assert_eq!(challenge.code(), 401);
    let offered = challenge.header("WWW-Authenticate").unwrap().to_owned();
    let nonce = offered.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap();
    let hash = |text: String| {
        use md5::{Digest as _, Md5};
        Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let (who, what) = (hash("desk:example.com:open sesame".into()), hash("INVITE:sip:x@example.com".into()));
    let response = hash(format!("{who}:{nonce}:00000001:abc:auth:{what}"));
    let header = format!(
        "Authorization: Digest username=\"desk\", realm=\"example.com\", nonce=\"{nonce}\", uri=\"sip:x@example.com\", response=\"{response}\", \
         algorithm=MD5, cnonce=\"abc\", qop=auth, nc=00000001\r\n"
    );
    assert_eq!(wire.ask(&wire.invite(2, &header, &sdp(wire.port()))).await.code(), 200);
    stage.incoming().await;
    let thief = Wire::new(stage.gateway.address()).await;
    let refused = thief.ask(&thief.invite(3, &header, &sdp(thief.port()))).await;
    assert_eq!(refused.code(), 401);
    assert!(refused.header("WWW-Authenticate").unwrap().contains("stale=true"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_or_asks_too_much_is_refused() {
    let stage = stage(settings()).await;
    let wire = Wire::new(stage.gateway.address()).await;
    let (body, port) = (sdp(wire.port()), wire.port());
    let required = wire.ask(&wire.invite(1, "Require: 100rel, foo\r\n", &body)).await;
    assert_eq!((required.code(), required.header("Unsupported")), (420, Some("100rel, foo")));
    let mut number = 1;
    let mut ask = async |text: String| {
        number += 1;
        let text = text.replace("wire-", &format!("wire{number}-"));
        wire.ask(&text).await.code()
    };
    assert_eq!(ask(wire.invite(2, "", &body).replace(" SIP/2.0\r\nVia", " SIP/7.0\r\nVia")).await, 505);
    assert_eq!(ask(wire.invite(3, "", &body).replace(&format!("Content-Length: {}", body.len()), "Content-Length: 9000")).await, 400);
    assert_eq!(ask(wire.invite(4, "", &body).replace(&format!("Content-Length: {}\r\n", body.len()), "")).await, 411);
    assert_eq!(ask(wire.invite(5, "", "v=0\r\nnonsense\r\n")).await, 400);
    assert_eq!(ask(wire.invite(6, "", &body.replace("RTP/AVP 0 101", "RTP/AVP 18"))).await, 488);
    assert_eq!(ask(wire.invite(7, "", &body.replace("RTP/AVP", "RTP/SAVP"))).await, 488);
    assert_eq!(ask(wire.invite(8, "", &body).replace("application/sdp", "text/plain")).await, 415);
    assert_eq!(ask(wire.invite(9, "", &"x".repeat(7000))).await, 400);
    assert_eq!(ask(wire.request("OPTIONS", 10, None, "", "")).await, 200);
    assert_eq!(ask(wire.request("REGISTER", 11, None, "", "")).await, 405);
    assert_eq!(ask(wire.request("BYE", 12, None, "", "")).await, 481);
    assert_eq!(ask(wire.request("INFO", 13, None, "", "").replace("example.com>\r\nCall", "example.com>;tag=x\r\nCall")).await, 481);
    let _ = port;
    stage.is_empty().await;
    assert!(stage.gateway.figures().malformed >= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_and_floods_get_no_answer() {
    let mut settings = Settings { new_calls: Rate { per_second: 1, burst: 2 }, ..settings() };
    let wire = {
        let stage = stage(Settings { peers: vec!["192.0.2.0/24".parse().unwrap()], ..settings.clone() }).await;
        let wire = Wire::new(stage.gateway.address()).await;
        wire.send(&wire.invite(1, "", &sdp(wire.port()))).await;
        stage.counts(|figures| figures.strangers == 1).await;
        assert!(wire.read_within(Duration::from_millis(300)).await.is_none());
        settings.calls = 10;
        wire
    };
    drop(wire);
    let stage = stage(settings).await;
    let wire = Wire::new(stage.gateway.address()).await;
    for number in 0..5 {
        wire.send(&wire.invite(number, "", "").replace("wire-", &format!("wire{number}-"))).await;
    }
    stage.counts(|figures| figures.over_rate == 3).await;
    let mut calls = std::collections::BTreeSet::new();
    while calls.len() < 2 {
        calls.insert(wire.read().await.expect("an answer").header("Call-ID").unwrap().to_owned());
    }
    // And no third.
    while let Some(reply) = wire.read_within(Duration::from_millis(300)).await {
        assert!(calls.contains(reply.header("Call-ID").unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_network_says_of_the_caller_is_handed_over() {
    let mut stage = Stage::playing(vec![gather(1)], vec![]).await;
    let phone = Phone::start(PhoneSettings::new(HERE, "anonymous")).await.unwrap();
    let headers = vec![
        ("P-Asserted-Identity".to_owned(), "\"A\" <sip:+12025550142@example.com>, <tel:+12025550143>".to_owned()),
        ("Identity".to_owned(), "a.b.c;info=<https://example.com/c>".to_owned()),
    ];
    let _line = phone.dial(&stage.uri(), headers).unwrap().answered().await.unwrap();
    let told = stage.incoming().await;
    let wanted = Told::Incoming {
        from: String::new(),
        asserted: vec!["+12025550142".into(), "+12025550143".into()],
        to: "+12025550100".into(),
        identity: vec!["a.b.c;info=<https://example.com/c>".into()],
    };
    assert_eq!(told, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_that_asks_for_the_password_gets_it_and_knows_us() {
    let registrar = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let trunk = Trunk {
        registrar: format!("sip:{}", registrar.local_addr().unwrap()),
        user: "center".into(),
        password: "open sesame".into(),
        expires: Duration::from_secs(600),
    };
    assert!(!format!("{trunk:?}").contains("sesame"));
    let stage = stage(Settings { trunk: Some(trunk), ..settings() }).await;
    let mut buffer = vec![0; 4096];
    let mut answer = async |status: &str, extra: &str| {
        let (length, from) = tokio::time::timeout(LIMIT, registrar.recv_from(&mut buffer)).await.unwrap().unwrap();
        let asked = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let copied = ["Via: ", "From: ", "To: ", "Call-ID: ", "CSeq: ", "Contact: "];
        let copied: Vec<&str> = asked.lines().filter(|line| copied.iter().any(|name| line.starts_with(name))).collect();
        let text = format!("SIP/2.0 {status}\r\n{}\r\n{extra}Content-Length: 0\r\n\r\n", copied.join("\r\n"));
        registrar.send_to(text.as_bytes(), from).await.unwrap();
        asked
    };
    let mut registered = stage.gateway.registered();
    let first = answer("401 Unauthorized", "WWW-Authenticate: Digest realm=\"example.com\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"\r\n").await;
    assert!(first.starts_with("REGISTER ") && !first.contains("Authorization"));
    let second = answer("200 OK", "Expires: 300\r\n").await;
    assert!(second.contains("username=\"center\"") && second.contains("nonce=\"n1\""), "{second}");
    let known = tokio::time::timeout(LIMIT, registered.wait_for(|now| matches!(now, Registered::For(_)))).await.unwrap().unwrap();
    assert_eq!(*known, Registered::For(Duration::from_secs(300)));
    drop(known);
    // Whoever stops says so.
    let (last, ()) = tokio::join!(answer("200 OK", ""), stage.gateway.stop());
    assert!(last.contains("Expires: 0\r\n"), "{last}");
}

/// Whether the other end closes within this time, whatever it says before.
async fn closes(stream: &mut TcpStream, within: Duration) -> bool {
    let mut buffer = [0; 4096];
    let over = async {
        while !matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)) {}
    };
    tokio::time::timeout(within, over).await.is_ok()
}

/// A connection to the gateway from this address of loopback.
async fn connection(stage: &Stage, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(stage.gateway.address()).await.unwrap()
}

/// Longer than 64 × T1 of a quick gateway, and shorter than nothing else here.
const SOON: Duration = Duration::from_secs(8);

fn quick() -> Settings {
    Settings { peers: vec!["127.0.0.1".parse().unwrap()], t1: Duration::from_millis(10), calls: 4, ..settings() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_connection_is_closed_at_once_and_while_there_are_calls_soon() {
    let mut stage = stage(quick()).await;
    for _ in 0..100 {
        assert!(closes(&mut connection(&stage, [127, 0, 0, 2]).await, LIMIT).await);
    }
    assert_eq!((stage.gateway.figures().strangers, stage.gateway.figures().connections), (100, 0));
    // An agent's telephone may be one of them: it is heard, for as long as a transaction takes.
    let _line = phone().await.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    let mut agents = [connection(&stage, [127, 0, 0, 2]).await, connection(&stage, [127, 0, 0, 2]).await];
    let bye = Wire::new(stage.gateway.address()).await.request("BYE", 2, None, "", "").replace("example.com>\r\nCall", "example.com>;tag=x\r\nCall").replace("/UDP", "/TCP");
    agents[0].write_all(bye.as_bytes()).await.unwrap();
    let mut answer = [0; 11];
    agents[0].read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"SIP/2.0 481");
    assert!(closes(&mut connection(&stage, [127, 0, 0, 2]).await, LIMIT).await, "a third of one stranger");
    for stream in &mut agents {
        assert!(closes(stream, SOON).await, "nothing keeps it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_says_nothing_is_closed_and_one_of_a_peer_that_speaks_is_not() {
    let stage = stage(quick()).await;
    let (mut silent, mut half, mut drips, mut speaks) = (connection(&stage, [127, 0, 0, 1]).await, connection(&stage, [127, 0, 0, 1]).await, connection(&stage, [127, 0, 0, 1]).await, connection(&stage, [127, 0, 0, 1]).await);
    let options = Wire::new(stage.gateway.address()).await.request("OPTIONS", 1, None, "", "").replace("/UDP", "/TCP");
    half.write_all(&options.as_bytes()[..60]).await.unwrap();
    speaks.write_all(options.as_bytes()).await.unwrap();
    let dripping = async {
        // The keep-alive of RFC 5626 §4.4.1 is no request.
        while drips.write_all(b"\r\n\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (silent, half, dripping) = tokio::join!(closes(&mut silent, SOON), closes(&mut half, SOON), tokio::time::timeout(SOON, dripping));
    assert!(silent && half && dripping.is_ok());
    assert!(!closes(&mut speaks, Duration::from_millis(700)).await, "a peer that speaks stays");
    assert_eq!(stage.gateway.figures().connections, 1);
    drop(speaks);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_peer_takes_all_connections_and_without_a_list_nobody_takes_many() {
    let open = async |settings: Settings, from: [u8; 4]| {
        let stage = stage(settings).await;
        let mut streams = Vec::new();
        for _ in 0..100 {
            streams.push(connection(&stage, from).await);
        }
        let judged = async {
            loop {
                let now = stage.gateway.figures();
                if now.connections as u64 + now.over_connections == 100 {
                    return now.connections;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, judged).await.unwrap()
    };
    // 64 beside one for each of four calls, less sixteen for the others.
    assert_eq!(open(Settings { t1: Duration::from_secs(5), ..quick() }, [127, 0, 0, 1]).await, 52);
    assert_eq!(open(Settings { calls: 4, ..with_digest(Algorithm::Md5) }, [127, 0, 0, 1]).await, 16);
}
