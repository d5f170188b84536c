//! How calls begin, change and end.

use std::sync::Arc;
use std::time::Duration;

use countersign_sip::caller::{Line, Phone, PhoneSettings};
use countersign_sip::g711::Law;
use countersign_sip::{Answer, CallKey, Ended, Flow, Gateway, Incoming, Rate, RtpSource, Settings, Step, Steps};
use tokio::net::UdpSocket;

use crate::script::{LIMIT, Stage, Told, gather, phone, settings, tone};
use crate::wire::{Wire, sdp};

async fn music() -> Stage {
    Stage::playing(vec![Step::Hold(tone(500.0, 1000))], vec![]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_gives_up_is_gone() {
    let mut stage = Stage::with(settings(), Answer::Accept(Steps::new([])), vec![], true).await;
    let phone = phone().await;
    let mut dialled = phone.dial(&stage.uri(), vec![]).unwrap();
    stage.incoming().await;
    assert!(dialled.rings().await);
    assert_eq!(dialled.cancel().await, 487);
    stage.script.gate.as_ref().unwrap().add_permits(1);
    stage.expect(Told::HungUp(Ended::Cancelled)).await;
    stage.is_empty().await;
}

/// Nothing comes any more for so long, soon; what was under way may still.
async fn falls_silent(line: &Line, so_long: Duration) -> bool {
    let silence = async {
        line.forget();
        while line.until(so_long, |ear| ear.packets > 0).await {
            line.forget();
        }
    };
    tokio::time::timeout(Duration::from_secs(3), silence).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hold_and_resume_and_another_law() {
    let mut stage = music().await;
    let phone = phone().await;
    let line = phone.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    assert!(line.until(LIMIT, |ear| ear.hears(500.0)).await);
    for method in ["INVITE", "UPDATE"] {
        assert_eq!(line.request(method, Some(line.offer(Law::Mu, "sendonly").await)).await, 200);
        assert!(falls_silent(&line, Duration::from_millis(300)).await, "something comes while we hold");
        assert_eq!(line.request(method, Some(line.offer(Law::A, "sendrecv").await)).await, 200);
        assert!(line.until(LIMIT, |ear| ear.hears(500.0) && ear.law == Some(Law::A)).await);
    }
    // What cannot be agreed on changes nothing.
    assert_eq!(line.request("INVITE", Some(line.offer(Law::Mu, "sendrecv").await.replace("RTP/AVP", "RTP/SAVP"))).await, 488);
    assert_eq!(line.request("UPDATE", Some("nonsense".into())).await, 400);
    line.forget();
    assert!(line.until(LIMIT, |ear| ear.hears(500.0) && ear.law == Some(Law::A)).await);
    line.hang_up().await;
    stage.expect(Told::HungUp(Ended::Caller)).await;
    stage.is_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_waits_for_who_holds() {
    let mut stage = Stage::playing(vec![Step::Play(vec![tone(500.0, 4000)])], vec![]).await;
    let phone = phone().await;
    let line = phone.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    assert!(line.until(LIMIT, |ear| ear.hears(500.0)).await);
    assert_eq!(line.request("INVITE", Some(line.offer(Law::Mu, "inactive").await)).await, 200);
    assert!(falls_silent(&line, Duration::from_millis(1000)).await, "something comes while we hold");
    assert_eq!(line.request("INVITE", Some(line.offer(Law::Mu, "sendrecv").await)).await, 200);
    assert!(line.until(LIMIT, |ear| ear.hears(500.0)).await, "the rest of the prompt is lost");
    stage.expect(Told::Finished).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_ask_within_a_call_is_answered_and_not_obeyed() {
    let mut stage = music().await;
    let phone = phone().await;
    let line = phone.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    assert_eq!(line.request("OPTIONS", None).await, 200);
    assert_eq!(line.request("UPDATE", None).await, 200);
    assert_eq!(line.request("REFER", None).await, 603);
    assert!(line.until(LIMIT, |ear| ear.hears(500.0)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_that_comes_late_is_ours_and_the_answer_is_in_the_ack() {
    let mut stage = music().await;
    let (wire, audio) = (Wire::new(stage.gateway.address()).await, UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let offer = wire.ask(&wire.invite(1, "", "")).await;
    assert_eq!(offer.code(), 200);
    assert!(offer.body().contains("RTP/AVP 0 8 101"), "{}", offer.body());
    let answer = sdp(audio.local_addr().unwrap().port()).replace("RTP/AVP 0", "RTP/AVP 8");
    wire.send(&wire.request("ACK", 1, Some(&offer), "Content-Type: application/sdp\r\n", &answer)).await;
    stage.incoming().await;
    let mut packet = [0; 400];
    let length = tokio::time::timeout(LIMIT, audio.recv(&mut packet)).await.unwrap().unwrap();
    assert_eq!((length, packet[1] & 0x7f), (172, 8));
    // And once more in mid call.
    let offer = wire.ask(&wire.request("INVITE", 2, Some(&offer), "", "")).await;
    assert_eq!(offer.code(), 200);
    let answer = sdp(audio.local_addr().unwrap().port());
    wire.send(&wire.request("ACK", 2, Some(&offer), "Content-Type: application/sdp\r\n", &answer)).await;
    let in_mu = async {
        while packet[1] & 0x7f != 0 {
            audio.recv(&mut packet).await.unwrap();
        }
    };
    tokio::time::timeout(LIMIT, in_mu).await.unwrap();
    assert_eq!(wire.ask(&wire.request("BYE", 3, Some(&offer), "", "")).await.code(), 200);
    stage.expect(Told::HungUp(Ended::Caller)).await;
    stage.is_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_without_the_answer_that_is_due_ends_the_call() {
    let mut stage = music().await;
    let wire = Wire::new(stage.gateway.address()).await;
    let offer = wire.ask(&wire.invite(1, "", "")).await;
    wire.send(&wire.request("ACK", 1, Some(&offer), "", "")).await;
    stage.incoming().await;
    stage.expect(Told::HungUp(Ended::Lost)).await;
    let bye = wire.read().await.unwrap();
    assert!(bye.0.starts_with("BYE "), "{}", bye.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_that_is_lost_is_waited_for_and_then_the_call_ends() {
    let settings = Settings { t1: Duration::from_millis(20), ..settings() };
    let mut stage = Stage::with(settings, Answer::Accept(Steps::new([gather(1)])), vec![], false).await;
    let wire = Wire::new(stage.gateway.address()).await;
    assert_eq!(wire.ask(&wire.invite(1, "", &sdp(wire.port()))).await.code(), 200);
    stage.incoming().await;
    // It is sent again and again, then a BYE ends it.
    let (mut again, mut bye) = (0, None);
    while bye.is_none() {
        let message = wire.read().await.expect("no BYE");
        again += u32::from(message.code() == 200);
        bye = message.0.starts_with("BYE ").then_some(message);
    }
    assert!(again >= 1);
    stage.expect(Told::HungUp(Ended::Lost)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bye_before_the_ack_ends_the_call() {
    let mut stage = music().await;
    let wire = Wire::new(stage.gateway.address()).await;
    let answer = wire.ask(&wire.invite(1, "", &sdp(wire.port()))).await;
    stage.incoming().await;
    assert_eq!(wire.ask(&wire.request("BYE", 2, Some(&answer), "", "")).await.code(), 200);
    stage.expect(Told::HungUp(Ended::Caller)).await;
    stage.is_empty().await;
}

/// A packet with the first of a key.
fn key(code: u8) -> [u8; 16] {
    [0x80, 101, 0, code, 0, 0, 0, code, 0, 0, 0, 1, code, 0x0a, 0, 160]
}

/// A call whose audio is wanted at `audio`: where the gateway wants its own.
async fn up(stage: &mut Stage, wire: &Wire, audio: &UdpSocket) -> (&'static str, u16) {
    let answer = wire.ask(&wire.invite(1, "", &sdp(audio.local_addr().unwrap().port()))).await;
    wire.send(&wire.request("ACK", 1, Some(&answer), "", "")).await;
    stage.incoming().await;
    // The call is up: audio comes.
    frame(audio).await;
    ("127.0.0.1", answer.body().split("m=audio ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap())
}

async fn frame(audio: &UdpSocket) {
    tokio::time::timeout(LIMIT, audio.recv(&mut [0; 400])).await.unwrap().unwrap();
}

async fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audio_from_elsewhere_is_not_heard() {
    let mut stage = Stage::playing(vec![gather(1)], vec![]).await;
    let (wire, audio, thief) = (Wire::new(stage.gateway.address()).await, socket().await, socket().await);
    let to = up(&mut stage, &wire, &audio).await;
    for _ in 0..3 {
        thief.send_to(&key(9), to).await.unwrap();
    }
    frame(&audio).await;
    audio.send_to(&key(5), to).await.unwrap();
    stage.expect(Told::Digits("5".into())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_address_translation_the_first_who_sends_is_it_and_nobody_after() {
    let settings = Settings { rtp_source: RtpSource::Latch, ..settings() };
    let mut stage = Stage::with(settings, Answer::Accept(Steps::new([gather(2)])), vec![], false).await;
    let (wire, said, real, thief) = (Wire::new(stage.gateway.address()).await, socket().await, socket().await, socket().await);
    let to = up(&mut stage, &wire, &said).await;
    real.send_to(&key(5), to).await.unwrap();
    // From now on audio goes there.
    frame(&real).await;
    thief.send_to(&key(9), to).await.unwrap();
    said.send_to(&key(9), to).await.unwrap();
    for _ in 0..3 {
        frame(&real).await;
    }
    real.send_to(&key(6), to).await.unwrap();
    stage.expect(Told::Digits("56".into())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_of_whom_nothing_comes_is_let_go() {
    let settings = Settings { quiet: Duration::from_millis(300), ..settings() };
    let mut stage = Stage::with(settings, Answer::Accept(Steps::new([Step::Hold(tone(500.0, 1000))])), vec![], false).await;
    let wire = Wire::new(stage.gateway.address()).await;
    let answer = wire.ask(&wire.invite(1, "", &sdp(wire.port()))).await;
    wire.send(&wire.request("ACK", 1, Some(&answer), "", "")).await;
    stage.incoming().await;
    stage.expect(Told::HungUp(Ended::Lost)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_longer_than_was_set_and_a_gateway_that_stops_says_goodbye() {
    let long = Settings { longest: Duration::from_millis(500), ..settings() };
    let mut stage = Stage::with(long, Answer::Accept(Steps::new([gather(1)])), vec![], false).await;
    let phone = phone().await;
    let line = phone.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    stage.expect(Told::HungUp(Ended::TooLong)).await;
    assert!(line.ends(LIMIT).await);
    let mut stage = music().await;
    let line = phone.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    stage.gateway.stop().await;
    assert!(line.ends(LIMIT).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_come_over_streams_too() {
    let mut stage = music().await;
    let phone = phone().await;
    let line = phone.call(&format!("{};transport=tcp", stage.uri())).await.unwrap();
    stage.incoming().await;
    assert!(line.until(LIMIT, |ear| ear.hears(500.0)).await);
    stage.push(Steps::new([Step::HangUp]));
    assert!(line.ends(LIMIT).await);
    stage.expect(Told::HungUp(Ended::Us)).await;
    stage.is_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_on_the_wire_harms_nothing() {
    let many = Rate { per_second: 100_000, burst: 100_000 };
    let settings = Settings { calls: 5000, packets: many, new_calls: many, t1: Duration::from_millis(50), ..settings() };
    let mut stage = Stage::with(settings, Answer::Accept(Steps::new([Step::Hold(tone(500.0, 1000))])), vec![], false).await;
    let wire = Wire::new(stage.gateway.address()).await;
    let whole = wire.invite(1, "P-Asserted-Identity: <sip:+12025550142@example.com>\r\n", &sdp(wire.port()));
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for number in 0..2000 {
        let mut bytes = whole.replace("wire-", &format!("noise{number}-")).into_bytes();
        for _ in 0..=random(6) {
            let at = random(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match random(4) {
                0 => bytes[at] = random(256) as u8,
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, random(256) as u8),
                _ => bytes.truncate(at.max(20)),
            }
        }
        wire.send_bytes(&bytes).await;
    }
    let phone = phone().await;
    let line = phone.call(&stage.uri()).await.unwrap();
    while !matches!(stage.next().await, Told::Incoming { from, .. } if from == "+12025550123") {}
    assert!(line.until(LIMIT, |ear| ear.hears(500.0)).await);
    line.hang_up().await;
    // Those that were calls were never acknowledged.
    stage.is_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_come_over_the_newer_internet_too() {
    let here = std::net::IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);
    if std::net::UdpSocket::bind((here, 0)).is_err() {
        println!("skipped: this machine has no IPv6");
        return;
    }
    let settings = Settings { peers: vec!["::1".parse().unwrap()], ..Settings::new((here, 0).into()) };
    let mut stage = Stage::with(settings, Answer::Accept(Steps::new([gather(2)])), vec![], false).await;
    let phone = Phone::start(PhoneSettings::new(here, "+12025550123")).await.unwrap();
    let line = phone.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    assert!(line.press("42").await);
    stage.expect(Told::Digits("42".into())).await;
    line.hang_up().await;
    stage.expect(Told::HungUp(Ended::Caller)).await;
    stage.is_empty().await;
}

/// A flow that is broken.
struct Broken(tokio::sync::mpsc::UnboundedSender<Ended>);

#[async_trait::async_trait]
impl Flow for Broken {
    async fn incoming(&self, _: &Incoming) -> Answer {
        Answer::Accept(Steps::new([gather(1)]))
    }
    async fn digits(&self, _: &CallKey, _: &str) -> Option<Steps> {
        panic!("on purpose")
    }
    async fn no_keys(&self, _: &CallKey) -> Option<Steps> {
        None
    }
    async fn hung_up(&self, _: &CallKey, how: Ended) {
        let _ = self.0.send(how);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_that_panics_ends_its_call_and_no_other() {
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let gateway = Gateway::start(settings(), Arc::new(Broken(sender))).await.unwrap();
    let (phone, uri) = (phone().await, format!("sip:+12025550100@{}", gateway.address()));
    let (broken, other) = (phone.call(&uri).await.unwrap(), phone.call(&uri).await.unwrap());
    assert!(broken.press("1").await);
    assert_eq!(told.recv().await, Some(Ended::Us));
    assert!(broken.ends(LIMIT).await);
    assert!(other.until(LIMIT, |ear| ear.packets > 10).await && !other.said().ended);
}
