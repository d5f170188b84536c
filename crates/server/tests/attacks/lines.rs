//! Telephone systems beside Twilio: requests that they did not send, send again, or would never send.

use std::{sync::{Arc, Mutex}, time::Duration};

use axum::{Router, body::{Body, Bytes}, extract::State, http::{HeaderMap, Request, header}, routing::post};
use countersign_core::{call::Event, secret::Secret, time::{Span, Timestamp}};
use countersign_server::{runner::{Line, Reply}, telephony::signed::verify};
use serde_json::{Value, json};

use crate::common::{
    JUNIPER, Setup, World,
    caller::{Caller, Http, Jambonz, Kind, Then, from},
    lines::{ACCOUNT, INSTANCE, connect_event, jambonz_event, of_connect, of_genesys, of_http, of_jambonz, secret, signed},
    pages::send,
    people::*,
    street::MAPLE,
};

/// Those that sign: where, under which header, and an event that begins a call.
fn signers() -> [(&'static str, &'static str, &'static str, Value); 3] {
    [
        ("http", "/http/event", "countersign-signature", json!({ "event": "started", "call": "x1", "from": ANA_LINE })),
        ("jambonz", "/jambonz/call", "jambonz-signature", jambonz_event("0a1b2c3d-0000-4000-8000-0000000000c1", &json!({}))),
        ("connect", "/connect/event", "countersign-signature", connect_event("x1", "x1", Some(ANA_LINE), "+12025550100", &json!({ "do": "start" }))),
    ]
}

#[tokio::test]
async fn without_a_signature_of_now_nothing_happens() {
    let world = World::new().await;
    let now = world.now();
    let mut refused = 0;
    for (adapter, path, name, event) in signers() {
        let (body, right) = (event.to_string(), secret(&JUNIPER, adapter));
        let wrong = [
            // Nobody's, an empty secret's, another adapter's, another company's.
            signed(path, name, &"a secret that nobody has".into(), now, &body), signed(path, name, &Secret::default(), now, &body),
            signed(path, name, &secret(&JUNIPER, "genesys"), now, &body), signed(path, name, &secret(&MAPLE, adapter), now, &body),
            // Too old, and from the future, by a second.
            signed(path, name, &right, Timestamp(now.0 - 301_000), &body), signed(path, name, &right, Timestamp(now.0 + 31_000), &body),
            // None, another name, twice.
            Request::post(path).body(Body::from(body.clone())).unwrap(), signed(path, "x-twilio-signature", &right, now, &body),
        ];
        for request in wrong {
            send(&world.router, request).await.is(403);
            refused += 1;
        }
        let mut twice = signed(path, name, &right, now, &body);
        let value = twice.headers().get(name).unwrap().clone();
        twice.headers_mut().append(header::HeaderName::try_from(name).unwrap(), value);
        send(&world.router, twice).await.is(403);
        // The right signature, and one byte of the body changed.
        let mut changed = signed(path, name, &right, now, &body);
        *changed.body_mut() = Body::from(body.replace("2025550142", "2025550143"));
        send(&world.router, changed).await.is(403);
        refused += 2;
    }
    assert_eq!(world.log().await, "", "nothing is on record");
    let metrics = world.metrics().await;
    assert!(metrics.contains(&format!("countersign_turned_away_total{{name=\"signature\"}} {refused}")), "{metrics}");
    // At the edges of the window they hold.
    for (at, call) in [(now.0 - 300_000, "x2"), (now.0 + 30_000, "x3")] {
        send(&world.router, of_http(&JUNIPER, Timestamp(at), &json!({ "event": "started", "call": call }))).await.ok();
    }
}

#[tokio::test]
async fn a_key_of_genesys_is_whole_or_none() {
    let world = World::new().await;
    let right = secret(&JUNIPER, "genesys");
    let event = json!({ "event": "started", "call": "x1", "from": ANA_LINE }).to_string();
    let with = |values: &[String]| {
        let mut request = Request::post("/genesys/event").header(header::CONTENT_TYPE, "application/json");
        for value in values {
            request = request.header(header::AUTHORIZATION, value);
        }
        request.body(Body::from(event.clone())).unwrap()
    };
    let (key, bearer) = (right.expose().to_owned(), format!("Bearer {}", right.expose()));
    for values in [
        vec![], vec!["Bearer ".to_owned()], vec![key.clone()], vec![format!("Bearer {}", &key[1..])], vec![format!("{bearer}x")], vec![bearer.to_lowercase()],
        vec![format!("Bearer  {key}")], vec![format!("Basic {key}")], vec![bearer.clone(), bearer.clone()], vec![format!("Bearer {}", secret(&MAPLE, "genesys").expose())],
        vec![format!("Bearer {}", secret(&JUNIPER, "http").expose())],
    ] {
        send(&world.router, with(&values)).await.is(403);
    }
    assert_eq!(world.log().await, "");
    send(&world.router, with(&[bearer])).await.ok();
}

#[tokio::test]
async fn bodies_that_no_vendor_sends() {
    let world = World::new().await;
    let now = world.now();
    let sign = |path: &str, body: &str| match path {
        "/jambonz/call" | "/jambonz/status" => signed(path, "jambonz-signature", &secret(&JUNIPER, "jambonz"), now, body),
        "/connect/event" => signed(path, "countersign-signature", &secret(&JUNIPER, "connect"), now, body),
        "/http/event" => signed(path, "countersign-signature", &secret(&JUNIPER, "http"), now, body),
        path => {
            let mut request = of_genesys(&JUNIPER, &Value::Null);
            *request.uri_mut() = path.parse().unwrap();
            *request.body_mut() = Body::from(body.to_owned());
            request
        }
    };
    let paths = ["/http/event", "/jambonz/call", "/connect/event", "/genesys/event"];
    for path in paths {
        let huge = format!("{{\"x\":\"{}\"}}", "x".repeat(40 * 1024));
        send(&world.router, sign(path, &huge)).await.is(413);
        let (deep, list) = (format!("{}{}", "[".repeat(5000), "]".repeat(5000)), "[".repeat(9000));
        for body in ["", "null", "[]", "{}", "7", "\"x\"", "{\"event\":", "event=started&call=x1", "{\"event\":\"started\",\"call\":\"x\u{0}\"}", &deep, &list] {
            let page = send(&world.router, sign(path, body)).await;
            page.is(400).lacks("x1");
        }
    }
    // A field twice: one reader might believe the first, another the second.
    let jambonz = jambonz_event("0a1b2c3d-0000-4000-8000-0000000000c1", &json!({ "digits": "1" })).to_string();
    let connect = connect_event("x1", "x1", Some(ANA_LINE), "+12025550100", &json!({ "do": "keys", "step": "1", "keys": "1" })).to_string();
    for (path, body) in [
        ("/http/event", r#"{"event":"keys","call":"x1","step":1,"keys":"1","keys":"4071"}"#.to_owned()), ("/http/event", r#"{"event":"keys","event":"now","call":"x1"}"#.into()),
        ("/genesys/event", r#"{"event":"now","call":"x1","call":"x2"}"#.into()), ("/jambonz/call", jambonz.replace("{", "{\"from\":\"+12025550143\",")),
        ("/jambonz/call", jambonz.replacen('{', "{\"digits\":\"4071\",", 1)), ("/connect/event", connect.replace("\"keys\":\"1\"", "\"keys\":\"1\",\"keys\":\"4071\"")),
        ("/connect/event", connect.replace("\"ContactId\":", "\"ContactId\":\"x2\",\"ContactId\":")),
    ] {
        send(&world.router, sign(path, &body)).await.is(400);
    }
    // What is not in anybody's contract, or has no form of theirs.
    let sid = "0a1b2c3d-0000-4000-8000-0000000000c1";
    for request in [
        of_http(&JUNIPER, now, &json!({ "event": "started", "call": "../x" })), of_http(&JUNIPER, now, &json!({ "event": "started", "call": "" })),
        of_http(&JUNIPER, now, &json!({ "event": "started", "call": "x".repeat(101) })), of_http(&JUNIPER, now, &json!({ "event": "started", "call": format!("call_{}", "0".repeat(32)) })),
        of_http(&JUNIPER, now, &json!({ "event": "keys", "call": "x1", "step": 1, "keys": "12;34" })), of_http(&JUNIPER, now, &json!({ "event": "keys", "call": "x1", "step": 1, "keys": "1".repeat(33) })),
        of_http(&JUNIPER, now, &json!({ "event": "started", "call": "x1", "attestation": "passed" })),
        of_genesys(&JUNIPER, &json!({ "event": "keys", "call": "x1", "step": 1, "keys": "１" })),
        of_jambonz(&JUNIPER, now, "/jambonz/call", &jambonz_event(sid, &json!({ "call_status": "napping" }))),
        of_jambonz(&JUNIPER, now, "/jambonz/call", &jambonz_event("../../x", &json!({}))), of_jambonz(&JUNIPER, now, "/jambonz/status", &jambonz_event(sid, &json!({ "call_status": "gone" }))),
        of_connect(&JUNIPER, now, &connect_event("x/1", "x/1", None, "", &json!({ "do": "start" }))), of_connect(&JUNIPER, now, &connect_event("x1", "x1", None, "", &json!({ "do": "delete" }))),
        of_connect(&JUNIPER, now, &connect_event("x1", "x1", None, "", &json!({ "do": "keys", "keys": "1" }))), of_connect(&JUNIPER, now, &connect_event("x1", "x1", None, "", &json!({ "do": "keys", "step": "1e3" }))),
        of_connect(&JUNIPER, now, &connect_event("x1", "x1", None, "", &json!({ "do": "keys", "step": "1", "keys": "$.Attributes" }))),
        of_connect(&JUNIPER, now, &connect_event("x1", "x1", None, "", &json!({ "do": "start", "number": LIAM_LINE }))),
    ] {
        send(&world.router, request).await.is(400);
    }
    // Another account, another instance: not ours, whoever signs.
    let account = jambonz_event(sid, &json!({ "account_sid": "0a1b2c3d-0000-4000-8000-00000000000b" }));
    send(&world.router, of_jambonz(&JUNIPER, now, "/jambonz/call", &account)).await.is(403);
    let mut instance = connect_event("x1", "x1", None, "", &json!({ "do": "start" }));
    for other in [json!(format!("{INSTANCE}e")), Value::Null] {
        instance["Details"]["ContactData"]["InstanceARN"] = other;
        send(&world.router, of_connect(&JUNIPER, now, &instance)).await.is(403);
    }
    assert_eq!(world.log().await, "", "nothing is on record");
}

/// What stands in place of a withheld number is no number, and a number that nobody signed is not signed.
#[tokio::test]
async fn a_withheld_number_is_nobodys() {
    let world = World::new().await;
    let now = world.now();
    for (n, number) in ["anonymous", "Anonymous", "", "unknown", "2025550142", "+1 202 555 0142", "sip:+12025550142@x", "+12025550142;x=1", "00012025550142"].into_iter().enumerate() {
        let (http, sid) = (format!("w{n}"), format!("0a1b2c3d-0000-4000-8000-0000000000{n:02}"));
        for request in [
            of_http(&JUNIPER, now, &json!({ "event": "started", "call": http, "from": number })), of_genesys(&JUNIPER, &json!({ "event": "started", "call": http, "from": number })),
            of_jambonz(&JUNIPER, now, "/jambonz/call", &jambonz_event(&sid, &json!({ "from": number }))), of_connect(&JUNIPER, now, &connect_event(&http, &http, Some(number), "", &json!({ "do": "start" }))),
        ] {
            send(&world.router, request).await.ok().shows("For English").lacks("We know the number");
        }
    }
    // The header of a trunk counts if it says one thing.
    for (headers, want) in [
        (json!({ "P-Asserted-Identity": "<sip:x>;verstat=TN-Validation-Passed-A" }), "passed_a"), (json!({ "p-asserted-identity": "verstat=TN-Validation-Failed" }), "failed"),
        (json!({ "P-Asserted-Identity": "verstat=TN-Validation-Passed-A;verstat=TN-Validation-Failed" }), "none"), (json!({ "X-Verstat": "verstat=TN-Validation-Passed-A" }), "none"),
        (json!({ "P-Asserted-Identity": "a", "p-asserted-identity": "verstat=TN-Validation-Passed-A" }), "none"), (json!({ "P-Asserted-Identity": ["verstat=TN-Validation-Passed-A"] }), "none"),
        (json!({}), "none"),
    ] {
        let sid = format!("0a1b2c3d-0000-4000-9000-{}", &world.call_sid()[22..]);
        send(&world.router, of_jambonz(&JUNIPER, now, "/jambonz/call", &jambonz_event(&sid, &json!({ "sip": { "headers": headers } })))).await.ok();
        let log = world.log().await;
        let last = log.lines().rfind(|line| line.contains("\"type\":\"started\"")).unwrap();
        assert!(last.contains(&format!("\"verstat\":\"{want}\"")), "{headers}: {last}");
    }
}

/// Whoever has the secret and counts steps by himself has no more tries than were asked for.
#[tokio::test]
async fn a_step_that_was_never_asked_takes_no_keys() {
    let world = World::new().await;
    let mut http = Http::dial(&world, from(ANA_LINE)).await;
    http.keys("1").await;
    let (asked, step) = (http.answer.clone(), http.answer["step"].as_u64().unwrap());
    let events = world.log().await;
    let other = world.sibling().await;
    for never in [step + 1, step + 100, 1 << 60, u64::MAX] {
        for router in [&world.router, &other.router] {
            for event in [json!({ "event": "keys", "call": http.call, "step": never, "keys": "1111" }), json!({ "event": "no_keys", "call": http.call, "step": never })] {
                let page = send(router, of_http(&JUNIPER, world.now(), &event)).await;
                let told: Value = serde_json::from_str(&page.ok().body).unwrap();
                assert_eq!(told["step"], asked["step"], "{event}");
            }
        }
    }
    assert_eq!(world.log().await, events, "a try was counted");
    // The step that was asked still takes them, on a node that has seen nothing of the call yet.
    let right = json!({ "event": "keys", "call": http.call, "step": step, "keys": "4071" });
    send(&world.sibling().await.router, of_http(&JUNIPER, world.now(), &right)).await.ok();
    assert!(world.events(http.id()).await.iter().any(|e| matches!(e, Event::Proved { .. })));
}

/// Every request again, in order and out of order, on this node and another: nothing moves, and the
/// answers are those of the first time.
#[tokio::test]
async fn a_replay_changes_nothing() {
    let world = World::new().await;
    let now = world.now();
    let mut http = Http::dial(&world, from(ANA_LINE)).await;
    let mut tape = vec![(http.last.clone(), http.answer.clone())];
    for keys in ["1", "1111", "4071", "2"] {
        http.keys(keys).await;
        tape.push((http.last.clone(), http.answer.clone()));
    }
    let (events, metrics) = (world.log().await, world.metrics().await);
    let other = world.sibling().await;
    for (event, answer) in tape.iter().chain(tape.iter().rev()) {
        for router in [&world.router, &other.router] {
            let page = send(router, of_http(&JUNIPER, now, event)).await;
            assert_eq!(&serde_json::from_str::<Value>(&page.ok().body).unwrap(), answer, "{event}");
        }
    }
    // Other keys for a step that was answered are no keys.
    let mut changed = tape[2].0.clone();
    changed["keys"] = json!("2222");
    let page = send(&world.router, of_http(&JUNIPER, now, &changed)).await;
    assert_eq!(serde_json::from_str::<Value>(&page.ok().body).unwrap(), tape[2].1);
    assert_eq!(world.log().await, events);
    assert_eq!(world.metrics().await, metrics, "not even counted twice");
    assert_eq!(world.events(http.id()).await.iter().filter(|e| matches!(e, Event::ChallengeFailed { .. })).count(), 1);
    http.hang_up().await;
    let events = world.log().await;
    for _ in 0..3 {
        http.hang_up().await;
    }
    assert_eq!(world.log().await, events);
}

/// The same entry many times at once, on two nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_entry_at_once() {
    let world = World::new().await;
    let other = world.sibling().await;
    for kind in [Kind::Http, Kind::Jambonz, Kind::Connect, Kind::Genesys] {
        let mut caller = kind.dial(&world, from(ANA_LINE)).await;
        caller.keys("1").await;
        let id = caller.id();
        // The last answer's step, as the record has it.
        let step = world.app.runner.call(id).await.unwrap().unwrap().call.n;
        let reference = world.app.runner.call(id).await.unwrap().unwrap().line.reference;
        let request = || match kind {
            Kind::Http => of_http(&JUNIPER, world.now(), &json!({ "event": "keys", "call": reference, "step": step, "keys": "1111" })),
            Kind::Genesys => of_genesys(&JUNIPER, &json!({ "event": "keys", "call": reference, "step": step, "keys": "1111" })),
            Kind::Connect => of_connect(&JUNIPER, world.now(), &connect_event(&reference, &reference, Some(ANA_LINE), "", &json!({ "do": "keys", "step": step.to_string(), "keys": "1111" }))),
            _ => {
                let tag = hex::encode(world.app.runner.vault.index.blind("jambonz-hook", &format!("{id}/{step}")).0);
                of_jambonz(&JUNIPER, world.now(), &format!("/jambonz/step?n={step}&k={tag}"), &jambonz_event(&reference, &json!({ "digits": "1111" })))
            }
        };
        let mut all = Vec::new();
        for n in 0..8 {
            let (router, request) = (if n % 2 == 0 { world.router.clone() } else { other.router.clone() }, request());
            all.push(tokio::spawn(async move { send(&router, request).await }));
        }
        let mut answers = Vec::new();
        for one in all {
            answers.push(one.await.unwrap().ok().body.clone());
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{kind:?}");
        assert_eq!(world.events(id).await.iter().filter(|e| matches!(e, Event::ChallengeFailed { .. })).count(), 1, "{kind:?}");
    }
}

/// jambonz signs the body alone: the address has a seal of its own.
#[tokio::test]
async fn an_address_is_for_one_call_and_step() {
    let world = World::new().await;
    let mut call = Jambonz::dial(&world, from(ANA_LINE)).await;
    let mut other = Jambonz::dial(&world, from(LIAM_LINE)).await;
    call.keys("1").await;
    let first = call.hook();
    call.keys("1111").await;
    let (second, events) = (call.hook(), world.log().await);
    let event = call.event(json!({ "digits": "4071" }));
    let of = |hook: &str, part: &str| hook.split(&format!("{part}=")).nth(1).unwrap().split('&').next().unwrap().to_owned();
    let (n, k) = (of(&second, "n"), of(&second, "k"));
    assert_ne!(of(&first, "k"), k);
    for path in [
        "/jambonz/step".to_owned(), format!("/jambonz/step?n={n}"), format!("/jambonz/step?n={n}&k="), format!("/jambonz/step?n={n}&k={}", "0".repeat(32)),
        format!("/jambonz/step?n={n}&k={}", of(&first, "k")), format!("/jambonz/step?n=999&k={k}"), format!("/jambonz/step?n={n}&k={}", of(&other.hook(), "k")),
        format!("/jambonz/step?n={n}&k={k}&call={}", other.id()), format!("/jambonz/now?n=1&k={k}"), format!("/jambonz/status?n=1&k={k}"), format!("/jambonz/answered?n=0&k={k}&call={}", call.id()),
        format!("/jambonz/step?n={n}&n={n}&k={k}"), format!("/jambonz/step?n={n}&k={k}&x=1"), format!("/jambonz/step?n=-1&k={k}"),
        format!("/jambonz/agent/{}/agent_00000000000000000000000000000001?n=0&k={k}", call.id()), format!("/jambonz/agent/{}/agent_00000000000000000000000000000001", call.id()),
    ] {
        let page = call.post(&path, &event).await;
        assert!([400, 403].contains(&page.status.as_u16()), "{path}: {}", page.status);
    }
    // The body of another call at this call's address.
    assert_eq!(call.post(&second, &other.event(json!({ "digits": "4071" }))).await.status, 403);
    // The account in place of a call.
    assert_eq!(call.post(&second, &jambonz_event(ACCOUNT, &json!({ "digits": "4071" }))).await.status, 403);
    assert_eq!(world.log().await, events);
    other.hang_up().await;
    call.keys("4071").await;
    assert!(world.tells(call.id(), "Proved: PIN.").await);
}

/// Whoever may speak for one telephone system has no hand on the calls of another.
#[tokio::test]
async fn calls_of_another_adapter_are_not_there() {
    let world = World::new().await;
    let chidi = crate::common::portal::Portal::enter(&world, "10004713").await;
    let contact = chidi.home().await.body.split("name=\"contact\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    chidi.post("/me/call-me", &[("contact", &contact)]).await.is(303);
    // Twilio rings it; its name is on the desk.
    let ours = world.letter().await.text;
    let inbound = world.call(ANA_LINE).await;
    let events = world.log().await;
    for id in [ours, inbound.id.to_string()] {
        for event in ["answered", "now", "hung_up"] {
            for request in [of_http(&JUNIPER, world.now(), &json!({ "event": event, "call": id })), of_genesys(&JUNIPER, &json!({ "event": event, "call": id }))] {
                send(&world.router, request).await.is(404);
            }
        }
        for request in [of_http(&JUNIPER, world.now(), &json!({ "event": "keys", "call": id, "step": 1, "keys": "5" })), of_http(&JUNIPER, world.now(), &json!({ "event": "now", "call": id, "step": 1, "wait": 20 }))] {
            send(&world.router, request).await.is(404);
        }
        let tag = hex::encode(world.app.runner.vault.index.blind("jambonz-hook", &format!("{id}/0")).0);
        let page = send(&world.router, of_jambonz(&JUNIPER, world.now(), &format!("/jambonz/answered?n=0&k={tag}&call={id}"), &jambonz_event(ACCOUNT, &json!({})))).await;
        page.is(404);
    }
    // The same name at two systems is two calls.
    for (request, name) in [(of_http(&JUNIPER, world.now(), &json!({ "event": "started", "call": "same" })), "http"), (of_genesys(&JUNIPER, &json!({ "event": "started", "call": "same" })), "genesys")] {
        send(&world.router, request).await.ok();
        let id = countersign_core::id::CallId(world.app.runner.vault.index.blind(name, "same").0);
        assert_eq!(world.app.runner.call(id).await.unwrap().unwrap().call.adapter, name);
    }
    assert!(world.log().await.starts_with(&events));
    // A call that never began.
    send(&world.router, of_http(&JUNIPER, world.now(), &json!({ "event": "now", "call": "never", "step": 1, "wait": 20 }))).await.is(404);
    send(&world.router, of_http(&JUNIPER, world.now(), &json!({ "event": "keys", "call": "never", "step": 1, "keys": "1" }))).await.is(404);
}

/// Keys that were on their way when the agent asked for something else are no answer to that, over
/// whichever adapter, and the question is heard.
#[tokio::test]
async fn a_key_for_an_earlier_question_is_no_answer() {
    for kind in [Kind::Http, Kind::Jambonz, Kind::Connect, Kind::Genesys] {
        let world = World::new().await;
        let mut robin = world.robin().await;
        let mut caller = kind.dial(&world, from(ANA_LINE)).await;
        caller.all(&["1", "0", "1"]).await;
        // The caller changes the music when the agent takes the call and asks for the PIN.
        robin.call = caller.id();
        robin.act("accept", &[]).await.ok();
        robin.prove("pin", "").await.shows("3 tries left.");
        caller.keys("2").await;
        caller.hears("Please enter your PIN.");
        caller.then(Then::Keys(12));
        robin.panel().await.shows("3 tries left.");
        // Nor is the PIN an answer to the code that is asked for in between.
        robin.act("cancel", &[]).await.ok();
        robin.prove("sms_code", "").await.ok();
        caller.keys("4071").await;
        caller.hears("We have just texted a code");
        assert!(!world.events(caller.id()).await.iter().any(|e| matches!(e, Event::ChallengeFailed { .. } | Event::Proved { .. })), "{kind:?}");
    }
}

/// What is not configured is not there.
#[tokio::test]
async fn without_a_section_there_is_no_route() {
    let world = World::with(Setup { twilio_alone: true, ..Setup::default() }).await;
    for (adapter, path, name, event) in signers() {
        send(&world.router, signed(path, name, &secret(&JUNIPER, adapter), world.now(), &event.to_string())).await.is(404);
    }
    send(&world.router, of_genesys(&JUNIPER, &json!({ "event": "now", "call": "x1" }))).await.is(404);
}

/// Amazon Connect waits eight seconds. An answer that is late is "wait", nothing is lost, and nothing is
/// done twice however often the flow comes again.
#[tokio::test]
async fn a_late_answer_is_wait() {
    let world = World::with(Setup { connect_limit: Duration::ZERO, ..Setup::default() }).await;
    let event = |parameters: Value| connect_event("late", "late", Some(ANA_LINE), "+12025550100", &parameters);
    let id = countersign_core::id::CallId(world.app.runner.vault.index.blind("connect", "late").0);
    let settled = async |count: usize| {
        for _ in 0..10_000 {
            if world.events(id).await.len() >= count {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("the work did not go on");
    };
    // What comes again may find the work done, and then has its answer.
    let mut answers = Vec::new();
    for _ in 0..3 {
        let page = send(&world.router, of_connect(&JUNIPER, world.now(), &event(json!({ "do": "start" })))).await;
        answers.push(serde_json::from_str::<Value>(&page.ok().body).unwrap());
    }
    // A timer has its grain, so which of them are late is not certain; what they say is.
    for answer in &answers {
        assert!(*answer == json!({ "next": "wait", "after": "start", "step": "" }) || answer["next"] == "key_short", "{answer}");
    }
    settled(1).await;
    assert_eq!(world.events(id).await.iter().filter(|e| matches!(e, Event::Started { .. })).count(), 1);
    let step = world.app.runner.call(id).await.unwrap().unwrap().call.n.to_string();
    let before = world.events(id).await.len();
    answers.clear();
    for _ in 0..3 {
        let page = send(&world.router, of_connect(&JUNIPER, world.now(), &event(json!({ "do": "keys", "step": step, "keys": "1" })))).await;
        answers.push(serde_json::from_str::<Value>(&page.ok().body).unwrap());
    }
    for answer in &answers {
        assert!(*answer == json!({ "next": "wait", "after": "keys", "step": step }) || answer["next"] == "code_short", "{answer}");
    }
    settled(before + 1).await;
    let after = world.events(id).await.len();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.events(id).await.len(), after, "once");
}

/// What was posted to a telephone system: the signature, and the body.
type Posted = Arc<Mutex<Vec<(String, String)>>>;

async fn listening() -> (String, Posted) {
    async fn take(State(posted): State<Posted>, headers: HeaderMap, body: Bytes) {
        let signature = headers["countersign-signature"].to_str().unwrap().to_owned();
        posted.lock().unwrap().push((signature, String::from_utf8(body.to_vec()).unwrap()));
    }
    let posted = Posted::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/moved", post(take)).with_state(posted.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}/moved"), posted)
}

/// A telephone system that is told when the desk moves a call, by a request that it can check; what it is
/// told has the step under which keys come back.
#[tokio::test]
async fn a_moved_call_is_told_and_signed() {
    let (url, posted) = listening().await;
    let world = World::with(Setup { http_push: Some(url), ..Setup::default() }).await;
    let mut robin = world.robin().await;
    let mut http = Http::dial(&world, from(ANA_LINE)).await;
    for keys in ["2", "4071", "1"] {
        http.keys(keys).await;
    }
    let told = async |count: usize| -> Value {
        for _ in 0..1000 {
            if let Some((signature, body)) = posted.lock().unwrap().get(count - 1).cloned() {
                verify(&secret(&JUNIPER, "http"), &signature, body.as_bytes(), world.now()).unwrap();
                assert!(verify(&secret(&MAPLE, "http"), &signature, body.as_bytes(), world.now()).is_err());
                return serde_json::from_str(&body).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("nobody told");
    };
    robin.call = http.id();
    robin.act("accept", &[]).await.ok();
    let moved = told(1).await;
    assert_eq!((&moved["event"], &moved["call"], &moved["do"][1]["agent"], &moved["do"][1]["phone"]), (&json!("moved"), &json!(http.call), &json!("Robin"), &json!("+12025550190")), "{moved}");
    robin.prove("sms_code", "change:phone").await.ok();
    http.pushed(&told(2).await);
    http.keys(&world.letter().await.code()).await;
    assert_eq!(robin.panel().await.level(), "strong");
    // What we send cannot be sent back to us as something else.
    let (signature, body) = posted.lock().unwrap()[0].clone();
    let mirrored = Request::post("/http/event").header("countersign-signature", signature).body(Body::from(body)).unwrap();
    send(&world.router, mirrored).await.is(400);
}

/// A question for news is answered when there is some, and only then.
#[tokio::test]
async fn a_question_for_news_is_held() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let mut http = Http::dial(&world, from(ANA_LINE)).await;
    for keys in ["2", "4071", "1"] {
        http.keys(keys).await;
    }
    let ask = |wait: u64| of_http(&JUNIPER, world.now(), &json!({ "event": "now", "call": http.call, "step": http.step, "wait": wait }));
    let page = send(&world.router, ask(0)).await;
    assert_eq!(serde_json::from_str::<Value>(&page.ok().body).unwrap(), json!({ "call": http.call, "step": http.step, "do": [] }));
    // Another call's news are none.
    let (router, held) = (world.router.clone(), ask(25));
    let held = tokio::spawn(async move { send(&router, held).await });
    tokio::task::yield_now().await;
    Http::dial(&world, from(STRANGER)).await;
    tokio::task::yield_now().await;
    assert!(!held.is_finished());
    robin.call = http.id();
    robin.act("accept", &[]).await.ok();
    let page = held.await.unwrap();
    page.ok().shows("You are being connected").shows("\"agent\":\"Robin\"");
    world.pass(Span::seconds(1));
}

/// Codes, PINs and numbers that go through these adapters are in no log of ours.
#[tokio::test]
async fn nothing_keyed_is_on_record() {
    let world = World::new().await;
    for kind in [Kind::Http, Kind::Jambonz, Kind::Connect, Kind::Genesys] {
        let mut caller = kind.dial(&world, from(ANA_LINE)).await;
        caller.all(&["2", "4071", "1"]).await;
    }
    crate::common::hides(&world.log().await, &["4071", "2025550142", ANA_LINE]);
    crate::common::hides(&world.metrics().await, &["4071", "2025550142", ANA_LINE]);
}

/// A telephone that is moved and never asks again leaves words behind. Ten thousand of them are not all
/// kept, and cost whoever does ask a sentence at most: what to do is told by the state of the call.
#[tokio::test]
async fn calls_that_never_ask_again_take_no_instruction_from_one_that_does() {
    for kind in [Kind::Connect, Kind::Genesys, Kind::Http, Kind::Jambonz] {
        let world = World::new().await;
        let (runner, mut robin) = (&world.app.runner, world.robin().await);
        let mut caller = kind.dial(&world, from(ANA_LINE)).await;
        caller.all(&["1", "0", "1"]).await;
        robin.call = caller.id();
        robin.act("accept", &[]).await.ok();
        robin.prove("pin", "").await.ok();
        let live = runner.call(caller.id()).await.unwrap().unwrap();
        let telephone = runner.hub.telephone(kind.adapter()).unwrap();
        let reply = Reply { n: live.call.n, directives: runner.directives(&live.call).await.unwrap() };
        for n in 0..10_000_u32 {
            let mut call = live.call.clone();
            call.id.0[..4].copy_from_slice(&n.to_be_bytes());
            // Nobody's telephone is to be moved by this: a line that jambonz would not know.
            telephone.push(&call, &Line { reference: String::new(), number: None }, reply.clone()).await;
        }
        caller.listen().await;
        caller.hears("Please enter your PIN.");
        caller.then(Then::Keys(12));
        caller.keys("4071").await;
        assert!(world.tells(caller.id(), "Proved: PIN.").await, "{kind:?}");
    }
}
