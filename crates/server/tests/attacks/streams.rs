//! Media streams that Twilio did not open, or opens again, or opens for another call; and what a stream may
//! carry. Nobody's voice is needed for that.

use axum::{body::Body, http::Request};
use countersign_core::{
    call::{Event, Params},
    time::Span,
    voice::Settings,
};
use countersign_server::telephony::twilio::{self, signature::sign};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::common::{
    JUNIPER, Setup, World,
    desk::Desk,
    hides,
    pages::send,
    people::*,
    phone::{Phone, webhook},
    street::MAPLE,
    stream::{Stream, serve, url},
};

fn setup() -> Setup {
    let voice = Settings { text: "2026-05".into(), life: Span::days(730), tries: 6, adapters: vec![twilio::NAME.into()], digits: false };
    Setup { params: Params { voice: Some(voice), ..Params::default() }, ..Setup::default() }
}

/// A strong caller from this line with this PIN, who consented, and is to say the phrase.
async fn consenting(world: &World, desk: &mut Desk) -> Phone {
    let mut phone = world.call(ANA_LINE).await;
    phone.presses(&["2", "4071", "1"]).await;
    desk.take(&mut phone).await;
    desk.prove("sms_code", "change:phone").await.ok();
    let code = world.letter().await.code();
    phone.listen().await.press(&code).await;
    again(desk, &mut phone).await;
    phone
}

async fn again(desk: &Desk, phone: &mut Phone) {
    desk.act("voice-enrol", &[]).await.ok();
    phone.listen().await.press("1").await;
    assert!(phone.is_listened_to(), "{}", phone.twiml);
}

const OPENS: [(&str, &str); 4] = [("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Upgrade", "websocket"), ("Connection", "Upgrade")];

async fn with_signature(at: std::net::SocketAddr, path: &str, signature: &str) -> Result<Stream, u16> {
    let mut headers = OPENS.to_vec();
    headers.push(("X-Twilio-Signature", signature));
    Stream::open_with(at, path, &headers).await
}

async fn takes(world: &World, phone: &Phone) -> usize { world.events(phone.id).await.iter().filter(|e| matches!(e, Event::VoiceTake { .. })).count() }

#[tokio::test]
async fn a_stream_is_opened_by_twilio_and_by_nobody_else() {
    let world = World::with(setup()).await;
    let mut robin = world.robin().await;
    let phone = consenting(&world, &mut robin).await;
    let (at, path, before) = (serve(&world.router).await, phone.stream_path(), world.events(phone.id).await.len());
    let token = || JUNIPER.token.into();
    let right = sign(&token(), &url(&JUNIPER, &path), &[]);
    for forged in [
        "", "x", &right[1..], &right.to_lowercase(), &sign(&"another token".into(), &url(&JUNIPER, &path), &[]), &sign(&"".into(), &url(&JUNIPER, &path), &[]),
        // As webhooks are signed, which is another scheme; another address; with a form.
        &sign(&token(), &format!("{}{path}", JUNIPER.url), &[]), &sign(&token(), &url(&JUNIPER, "/twilio/stream/x"), &[]), &sign(&token(), &format!("wss://evil.example{path}"), &[]),
        &sign(&token(), &url(&JUNIPER, &path), &[("CallSid".into(), phone.sid.clone())]), &sign(&token(), &url(&JUNIPER, &format!("{path}/")), &[]),
    ] {
        assert_eq!(with_signature(at, &path, forged).await.err(), Some(403), "{forged}");
    }
    // A query is not part of what Twilio was told.
    assert_eq!(with_signature(at, &format!("{path}?x=1"), &right).await.err(), Some(403));
    assert_eq!(Stream::open_with(at, &path, &OPENS).await.err(), Some(403));
    // Signed, and no WebSocket.
    for missing in 0..OPENS.len() {
        let mut headers = OPENS.to_vec();
        headers.remove(missing);
        headers.push(("X-Twilio-Signature", &right));
        assert_eq!(Stream::open_with(at, &path, &headers).await.err(), Some(400), "{missing}");
    }
    // None of it has used the address up, and none is on record.
    assert_eq!(world.events(phone.id).await.len(), before);
    let mut stream = with_signature(at, &path, &right).await.unwrap();
    stream.begins(&phone.sid).await;
    stream.hears_the_tone().await;
    let metrics = world.metrics().await;
    assert!(metrics.contains("countersign_turned_away_total{name=\"signature\"} 13") && metrics.contains("countersign_turned_away_total{name=\"stream\"} 4"), "{metrics}");
}

#[tokio::test]
async fn an_address_that_we_did_not_make_leads_nowhere() {
    let world = World::with(setup()).await;
    let mut robin = world.robin().await;
    let phone = consenting(&world, &mut robin).await;
    let at = serve(&world.router).await;
    let path = phone.stream_path();
    let parts: Vec<&str> = path.strip_prefix("/twilio/stream/").unwrap().split('-').collect();
    let (id, take, mac) = (parts[0], parts[1], parts[2]);
    let n: u64 = take.parse().unwrap();
    let other = "00".repeat(16);
    let flipped = format!("{}{}", if mac.starts_with('0') { '1' } else { '0' }, &mac[1..]);
    for token in [
        format!("{id}-{}-{mac}", n + 1), format!("{id}-{}-{mac}", n - 1), format!("{id}-+{take}-{mac}"), format!("{id}-0{take}-{mac}"), format!("{other}-{take}-{mac}"),
        format!("{}-{take}-{mac}", id.to_uppercase()), format!("{id}-{take}-{flipped}"), format!("{id}-{take}-{}", &mac[1..]), format!("{id}-{take}-"), format!("{id}-{take}"),
        mac.into(), "-".into(), "--".into(), format!("{id}--{mac}"), "%2e%2e".into(), "x".repeat(5_000),
    ] {
        // Signed by Twilio all the same: whoever has its token has no key of ours.
        let refused = Stream::open(at, &JUNIPER, &format!("/twilio/stream/{token}")).await.err();
        assert_eq!(refused, Some(404), "{token:.200}");
    }
    // The sound of a call has no other way in than its own.
    assert!(Stream::open(at, &JUNIPER, &path).await.is_ok());
    // Another installation's addresses mean nothing here, and the other way round.
    let elsewhere = World::with(Setup { house: MAPLE, ..setup() }).await;
    let there = serve(&elsewhere.router).await;
    assert_eq!(Stream::open(there, &JUNIPER, &path).await.err(), Some(403));
    assert_eq!(Stream::open(there, &MAPLE, &path).await.err(), Some(404));
}

#[tokio::test]
async fn a_stream_is_opened_once_and_in_its_time() {
    let world = World::with(Setup { file: true, ..setup() }).await;
    let other = world.sibling().await;
    let mut robin = world.robin().await;
    let mut phone = consenting(&world, &mut robin).await;
    let (here, there) = (serve(&world.router).await, serve(&other.router).await);
    // On two nodes at once, many times: one is listened to.
    let path = phone.stream_path();
    let mut all = Vec::new();
    for n in 0..12 {
        let path = path.clone();
        let at = if n % 2 == 0 { here } else { there };
        all.push(tokio::spawn(async move { Stream::open(at, &JUNIPER, &path).await.err() }));
    }
    let mut answers = Vec::new();
    for one in all {
        answers.push(one.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|answer| answer.is_none()).count(), 1, "{answers:?}");
    assert!(answers.iter().flatten().all(|status| *status == 409), "{answers:?}");
    // Over, and asked for anew: the old address is another take's.
    phone.goes_on().await;
    again(&robin, &mut phone).await;
    assert_ne!(phone.stream_path(), path);
    for at in [here, there] {
        assert_eq!(Stream::open(at, &JUNIPER, &path).await.err(), Some(410));
    }
    // The words before it take seconds: after two minutes nobody listens.
    world.pass(Span::seconds(121));
    assert_eq!(Stream::open(here, &JUNIPER, &phone.stream_path()).await.err(), Some(410));
    phone.goes_on().await.is_bridged();
    // Not for a call that is over, and not for one that Twilio does not know.
    again(&robin, &mut phone).await;
    let path = phone.stream_path();
    phone.hang_up().await;
    assert_eq!(Stream::open(here, &JUNIPER, &path).await.err(), Some(410));
    assert_eq!(takes(&world, &phone).await, 0);
}

/// What is listened to is this call, and only while it is at this take.
#[tokio::test]
async fn another_calls_sound_is_nobodys_answer() {
    let world = World::with(setup()).await;
    let mut robin = world.robin().await;
    let mut phone = consenting(&world, &mut robin).await;
    let stranger = world.call(STRANGER).await;
    let at = serve(&world.router).await;
    let mut stream = Stream::open(at, &JUNIPER, &phone.stream_path()).await.unwrap();
    stream.begins(&stranger.sid).await;
    stream.is_closed().await;
    // It is used up: the call goes on as if nobody had been heard.
    phone.goes_on().await.is_bridged();
    assert_eq!(takes(&world, &phone).await, 0);
    // A webhook of another call, with this call's take, moves neither.
    again(&robin, &mut phone).await;
    let before = (world.events(phone.id).await.len(), world.events(stranger.id).await.len());
    let take = phone.stream_path().split('-').nth(1).unwrap().to_owned();
    let page = send(&world.router, webhook(&format!("/twilio/heard?take={take}"), &stranger.fields(&[]))).await;
    page.ok();
    for query in ["", "?take=", "?take=-1", "?take=x", "?n=1"] {
        send(&world.router, webhook(&format!("/twilio/heard{query}"), &phone.fields(&[]))).await.is(400);
    }
    assert_eq!((world.events(phone.id).await.len(), world.events(stranger.id).await.len()), before);
    // Nor does one for a take that is not asked for: a number is guessed in no time.
    for take in [0, 1, 10_000, u64::MAX] {
        send(&world.router, webhook(&format!("/twilio/heard?take={take}"), &phone.fields(&[]))).await.ok();
    }
    assert_eq!(world.events(phone.id).await.len(), before.0);
}

#[tokio::test]
async fn what_is_not_a_stream_of_twilios_is_closed_and_leaves_nothing() {
    let world = World::with(setup()).await;
    let mut robin = world.robin().await;
    let mut phone = consenting(&world, &mut robin).await;
    let at = serve(&world.router).await;
    let text = |text: &str| vec![Message::text(text.to_owned())];
    let start = |format: serde_json::Value| Message::text(json!({ "event": "start", "start": { "streamSid": "MZ", "callSid": phone.sid, "mediaFormat": format } }).to_string());
    let l16 = start(json!({ "encoding": "audio/l16", "sampleRate": 16_000, "channels": 1 }));
    let mulaw = || start(json!({ "encoding": "audio/x-mulaw", "sampleRate": 8_000, "channels": 1 }));
    let media = |chunk: &str| Message::text(json!({ "event": "media", "streamSid": "MZ", "media": { "track": "inbound", "chunk": chunk, "payload": "fn5+fg==" } }).to_string());
    let hostile: Vec<(&str, Vec<Message>)> = vec![
        ("no JSON", text("\u{202e}<Response/>")),
        ("deep", text(&"[".repeat(10_000))),
        ("sound before a start", vec![media("1")]),
        ("bytes", vec![Message::binary(vec![0x7f; 160])]),
        ("far too much at once", text(&format!("\"{}\"", "x".repeat(17 * 1024)))),
        ("another format", vec![l16]),
        ("begins twice", vec![mulaw(), mulaw()]),
        ("the same piece twice", vec![mulaw(), media("1"), media("1")]),
        ("backwards", vec![mulaw(), media("7"), media("3")]),
        ("no base64", vec![mulaw(), Message::text(json!({ "event": "media", "streamSid": "MZ", "media": { "track": "inbound", "chunk": "1", "payload": "\"; DROP" } }).to_string())]),
        ("another stream", vec![mulaw(), Message::text(json!({ "event": "stop", "streamSid": "MZ2" }).to_string())]),
        ("endless nothing", std::iter::once(mulaw()).chain(std::iter::repeat_n(Message::text("{\"event\":\"else\"}"), 5_000)).collect()),
    ];
    for (what, messages) in hostile {
        let mut stream = Stream::open(at, &JUNIPER, &phone.stream_path()).await.unwrap_or_else(|status| panic!("{what}: {status}"));
        for message in messages {
            if !stream.raw(message).await {
                break;
            }
        }
        // Whatever was said to us first.
        while stream.reads().await.is_some() {}
        phone.goes_on().await.is_bridged();
        assert_eq!(takes(&world, &phone).await, 0, "{what}");
        again(&robin, &mut phone).await;
    }
    assert!(!world.log().await.contains("DROP"));
}

/// Off is off, and sound is in no record.
#[tokio::test]
async fn without_the_operators_word_nobody_is_listened_to() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let mut phone = world.call(ANA_LINE).await;
    phone.presses(&["2", "4071", "1"]).await;
    robin.take(&mut phone).await.hides(&["voice-enrol", "voice-compare"]);
    let path = format!("/twilio/stream/{}-1-{}", hex::encode(phone.id.0), "00".repeat(16));
    assert_eq!(Stream::open(serve(&world.router).await, &JUNIPER, &path).await.err(), Some(404));
    // On, without a socket behind the request: the answer is a promise that nobody keeps, and the call goes on.
    let world = World::with(setup()).await;
    let mut robin = world.robin().await;
    let mut phone = consenting(&world, &mut robin).await;
    let path = phone.stream_path();
    let mut request = Request::get(&path).header("x-twilio-signature", sign(&JUNIPER.token.into(), &url(&JUNIPER, &path), &[]));
    for (name, value) in OPENS {
        request = request.header(name, value);
    }
    send(&world.router, request.body(Body::empty()).unwrap()).await.is(101);
    phone.goes_on().await.is_bridged();
    hides(&world.log().await, &["MZ11111111111111111111111111111111"]);
}
