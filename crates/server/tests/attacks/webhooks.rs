//! Webhooks that Twilio did not send, or sends again.

use axum::{body::Body, http::{Request, header}};
use countersign_core::{call::Event, time::Span};
use countersign_server::telephony::twilio::signature::sign;

use crate::common::{
    TOKEN, URL, World,
    pages::{FORM, form, send},
    people::*,
    phone::{Fields, Phone, webhook},
};

fn signed_with(path: &str, fields: &Fields, signature: &str) -> Request<Body> {
    Request::post(path).header("x-twilio-signature", signature).header(header::CONTENT_TYPE, FORM).body(Body::from(form(fields))).unwrap()
}

const ROUTES: [&str; 7] = ["/twilio/voice", "/twilio/step?n=1", "/twilio/heard?take=1", "/twilio/resume?n=1", "/twilio/status", "/twilio/agent/call_00000000000000000000000000000001/agent_00000000000000000000000000000001", "/twilio/message?message=msg_00000000000000000000000000000001"];

#[tokio::test]
async fn without_a_signature_nothing_happens() {
    let world = World::new().await;
    let phone = Phone::new(&world, Some(ANA_LINE), "TN-Validation-Passed-A");
    for path in ROUTES {
        let fields = phone.fields(&[]);
        let right = sign(&TOKEN.into(), &format!("{URL}{path}"), &fields);
        let other_path = sign(&TOKEN.into(), &format!("{URL}/twilio/other"), &fields);
        let other_host = sign(&TOKEN.into(), &format!("https://evil.example{path}"), &fields);
        let other_token = sign(&"another token".into(), &format!("{URL}{path}"), &fields);
        let empty_token = sign(&"".into(), &format!("{URL}{path}"), &fields);
        for signature in ["", "x", &right[1..], &right.to_lowercase(), &other_path, &other_host, &other_token, &empty_token] {
            let page = send(&world.router, signed_with(path, &fields, signature)).await;
            page.is(403).shows("the signature does not fit");
        }
        let unsigned = Request::post(path).header(header::CONTENT_TYPE, FORM).header(header::HOST, "evil.example").body(Body::from(form(&fields))).unwrap();
        send(&world.router, unsigned).await.is(403);
        // The host header is the sender's word, and counts for nothing.
        let mut forged = signed_with(path, &fields, &other_host);
        forged.headers_mut().insert(header::HOST, "evil.example".parse().unwrap());
        forged.headers_mut().insert("x-forwarded-host", "evil.example".parse().unwrap());
        send(&world.router, forged).await.is(403);
    }
    assert_eq!(world.log().await, "", "nothing is on record");
    let metrics = world.metrics().await;
    assert!(metrics.contains("countersign_turned_away_total{name=\"signature\"} 70"), "{metrics}");
}

#[tokio::test]
async fn what_is_signed_cannot_be_changed() {
    let world = World::new().await;
    let mut call = world.call(ANA_LINE).await;
    call.press("1").await;
    let path = call.action();
    let fields = call.fields(&[("Digits", "1111")]);
    let signature = sign(&TOKEN.into(), &format!("{URL}{path}"), &fields);
    let before = world.events(call.id).await.len();
    for (name, value) in [("Digits", "4071"), ("From", LIAM_LINE), ("CallSid", "CA00000000000000000000000000000009"), ("StirVerstat", "TN-Validation-Passed-B")] {
        let changed: Fields = fields.iter().map(|(n, v)| (n.clone(), if n == name { value.to_owned() } else { v.clone() })).collect();
        send(&world.router, signed_with(&path, &changed, &signature)).await.is(403);
        let mut more = fields.clone();
        more.push((format!("{name}2"), value.to_owned()));
        send(&world.router, signed_with(&path, &more, &signature)).await.is(403);
    }
    let step = path.rsplit('=').next().unwrap();
    for other in [path.replace(&format!("n={step}"), "n=999"), format!("{path}&x=1"), path.replace("step", "resume"), "/twilio/step".into()] {
        send(&world.router, signed_with(&other, &fields, &signature)).await.is(403);
    }
    // Signed, but with a parameter twice: one reader might believe the first, another the second.
    let mut twice = fields.clone();
    twice.push(("Digits".into(), "4071".into()));
    let signature = sign(&TOKEN.into(), &format!("{URL}{path}"), &twice);
    send(&world.router, signed_with(&path, &twice, &signature)).await.is(400).shows("Digits more than once");
    assert_eq!(world.events(call.id).await.len(), before);
}

#[tokio::test]
async fn a_replay_gets_the_stored_answer_and_changes_nothing() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let mut call = Phone::dial(&world, Some(ANA_LINE), "TN-Validation-Passed-A").await;
    // Every request with its answer.
    let mut tape = vec![(call.last.clone(), call.twiml.clone())];
    for keys in ["1", "1111", "4071", "2"] {
        call.press(keys).await;
        tape.push((call.last.clone(), call.twiml.clone()));
    }
    let replay = async |tape: &[((String, Fields), String)], when: &str| {
        let (events, log, queued) = (world.events(call.id).await.len(), world.log().await.len(), world.metrics().await);
        // In order and out of order.
        for ((path, fields), answer) in tape.iter().chain(tape.iter().rev()) {
            let page = send(&world.router, webhook(path, fields)).await;
            page.ok();
            assert_eq!(&page.body, answer, "{when}: {path}");
        }
        assert_eq!((world.events(call.id).await.len(), world.log().await.len()), (events, log), "{when}");
        assert_eq!(world.metrics().await, queued, "{when}: not even counted twice");
    };
    replay(&tape, "waiting").await;
    let mut phone = call.clone();
    robin.take(&mut phone).await;
    replay(&tape, "talking").await;
    // With a challenge open, an old step brings no entry for it.
    robin.prove("sms_code", "change:phone").await.shows("3 tries left.");
    replay(&tape, "asked for a code").await;
    robin.panel().await.shows("3 tries left.");
    let code = world.letter().await.code();
    phone.listen().await.press(&code).await;
    tape.push((phone.last.clone(), phone.twiml.clone()));
    replay(&tape, "strong").await;
    robin.end().await.ok();
    world.deliver().await;
    replay(&tape, "over").await;
    // From another node and after a restart, too.
    let node = world.sibling().await;
    for ((path, fields), answer) in &tape {
        assert_eq!(&send(&node.router, webhook(path, fields)).await.body, answer);
    }
    // A replayed hang-up report ends nothing twice.
    for _ in 0..3 {
        phone.hang_up().await;
    }
    assert_eq!(world.events(call.id).await.iter().filter(|e| matches!(e, Event::Ended { .. })).count(), 1);
}

/// Keys that were on their way while the agent asked for something else are no answer to that.
#[tokio::test]
async fn a_key_for_an_earlier_question_is_no_answer() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "0", "1"]).await;
    // The caller changes the music at the moment when the agent takes the call and asks for the PIN.
    let mut late = call.clone();
    robin.take(&mut call).await;
    robin.prove("pin", "").await.shows("3 tries left.");
    late.press("2").await.hears("Please enter your PIN.");
    robin.panel().await.shows("3 tries left.");
    assert!(!world.events(call.id).await.iter().any(|e| matches!(e, Event::ChallengeFailed { .. })));
    // Nor is the PIN an answer to the question for a code that came in between.
    call.listen().await;
    let mut late = call.clone();
    robin.act("cancel", &[]).await.ok();
    robin.prove("sms_code", "").await.ok();
    late.press("4071").await.hears("We have just texted a code");
    assert!(!world.events(call.id).await.iter().any(|e| matches!(e, Event::ChallengeFailed { .. } | Event::Proved { .. })));
    // A report about the message in between changes no question.
    call.listen().await;
    let code = world.letter().await.code();
    call.press(&code).await.hears("Thank you, that was accepted.");
}

/// The same request twice at once, on two nodes: it happens once, and both get the same answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_webhook_on_two_nodes_at_once() {
    for world in [World::new().await, World::in_file().await] {
        let other = world.sibling().await;
        let mut call = world.call(ANA_LINE).await;
        call.press("1").await;
        let (path, fields) = (call.action(), call.fields(&[("Digits", "1111")]));
        let mut all = Vec::new();
        for n in 0..16 {
            let router = if n % 2 == 0 { world.router.clone() } else { other.router.clone() };
            let request = webhook(&path, &fields);
            all.push(tokio::spawn(async move { send(&router, request).await }));
        }
        let mut answers = Vec::new();
        for one in all {
            let page = one.await.unwrap();
            page.ok();
            answers.push(page.body);
        }
        answers.dedup();
        assert_eq!(answers.len(), 1);
        let wrong = world.events(call.id).await.iter().filter(|e| matches!(e, Event::ChallengeFailed { .. })).count();
        assert_eq!(wrong, 1);
    }
}

#[tokio::test]
async fn bodies_that_no_carrier_sends() {
    let world = World::new().await;
    let phone = Phone::new(&world, Some(ANA_LINE), "TN-Validation-Passed-A");
    let path = "/twilio/voice";
    // Too large for anybody, and too large for a webhook.
    let huge = form(&[("Body", "x".repeat(40 * 1024))]);
    send(&world.router, Request::post(path).header(header::CONTENT_TYPE, FORM).body(Body::from(huge.clone())).unwrap()).await.is(413);
    let large = vec![("Body".to_owned(), "x".repeat(20 * 1024))];
    send(&world.router, webhook(path, &large)).await.is(400).shows("larger than 16 KiB");
    let many: Fields = (0..101).map(|n| (format!("f{n}"), "1".to_owned())).collect();
    send(&world.router, webhook(path, &many)).await.is(400).shows("more than 100 fields");
    // Other types, read as what they are not.
    for (kind, body) in [
        ("application/json", r#"{"CallSid":"CA1"}"#), ("text/plain", "hello there"), (FORM, "CallSid"), (FORM, "a=%zz"), (FORM, "a=\u{e9}"),
        ("multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"CallSid\"\r\n\r\nCA1\r\n--x--\r\n"),
    ] {
        let page = send(&world.router, Request::post(path).header(header::CONTENT_TYPE, kind).body(Body::from(body)).unwrap()).await;
        page.is(400);
    }
    // Signed, and still not a voice webhook.
    for (name, value) in [("CallSid", "CA1/../../x"), ("CallSid", ""), ("CallStatus", "sleeping"), ("Digits", "12;34"), ("Digits", "123456789012345678901234567890123")] {
        send(&world.router, webhook(path, &phone.fields(&[(name, value)]))).await.is(400).shows("not of Twilio's form");
    }
    for missing in ["AccountSid", "CallSid", "CallStatus", "From", "To"] {
        let fields: Fields = phone.fields(&[]).into_iter().filter(|(n, _)| n != missing).collect();
        send(&world.router, webhook(path, &fields)).await.is(400).shows(missing);
    }
    // Pages have the same limit.
    for path in ["/desk/sign-in", "/me/sign-out", "/api/v1/portal-sessions"] {
        let mut request = crate::common::pages::own(axum::http::Method::POST, path, None, FORM, huge.clone());
        request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {}", crate::common::API_KEY).parse().unwrap());
        let page = send(&world.router, request).await;
        assert!(page.status == 413 || path == "/me/sign-out" || page.status == 415 || page.status == 422, "{path}: {}", page.status);
    }
    assert_eq!(world.log().await, "");
    // A form that is no form at the desk.
    let json = crate::common::pages::own(axum::http::Method::POST, "/desk/sign-in", None, "application/json", "{}");
    send(&world.router, json).await.is(415);
    send(&world.router, webhook("/twilio/step", &phone.fields(&[]))).await.is(400).shows("no step number");
    send(&world.router, webhook("/twilio/step?n=x", &phone.fields(&[]))).await.is(400);
    send(&world.router, webhook("/twilio/step?n=1", &phone.fields(&[("Digits", "1")]))).await.is(404).shows("this call is not known");
}

/// The signature is over names and values in a row: what one request says can be cut in another way.
#[tokio::test]
async fn a_signature_that_fits_a_form_without_its_caller_is_not_enough() {
    let world = World::new().await;
    let phone = Phone::new(&world, Some(ANA_LINE), "TN-Validation-Passed-A");
    let whole = phone.fields(&[]);
    let mut joined: Fields = whole.iter().filter(|(name, _)| name != "From").cloned().collect();
    for (name, value) in &mut joined {
        if name == "Direction" {
            *value = format!("inboundFrom{ANA_LINE}");
        }
    }
    let signature = webhook("/twilio/voice", &whole).headers().get("x-twilio-signature").unwrap().clone();
    let request = webhook("/twilio/voice", &joined);
    assert_eq!(request.headers().get("x-twilio-signature"), Some(&signature), "the signature does not tell them apart");
    send(&world.router, request).await.is(400);
    // A call of another account of the same token.
    let other = format!("AC{}", "1".repeat(32));
    send(&world.router, webhook("/twilio/voice", &phone.fields(&[("AccountSid", other.as_str())]))).await.is(403).shows("AccountSid");
    assert_eq!(world.log().await, "");
    send(&world.router, webhook("/twilio/voice", &whole)).await.ok();
}

/// A report about a message moves only the call whose message it was.
#[tokio::test]
async fn delivery_reports_are_bound_to_their_message() {
    let world = World::new().await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "*"]).await;
    let letter = world.letter().await;
    let other = world.call(LIAM_LINE).await;
    let report = async |message: &str, status: &str, phone: &Phone| {
        let fields = vec![("MessageSid".to_owned(), "SM1".to_owned()), ("MessageStatus".into(), status.into()), ("CallSid".into(), phone.sid.clone())];
        send(&world.router, webhook(&format!("/twilio/message?message={message}"), &fields)).await.status.as_u16()
    };
    assert_eq!(report("msg_00000000000000000000000000000000", "failed", &call).await, 204);
    assert_eq!(report("nonsense", "failed", &call).await, 400);
    assert_eq!(report(&letter.id.to_string(), "sending", &other).await, 204);
    let before = (world.events(call.id).await.len(), world.events(other.id).await.len());
    assert_eq!(report(&letter.id.to_string(), "delivered", &other).await, 204);
    assert_eq!((world.events(call.id).await.len(), world.events(other.id).await.len()), (before.0 + 1, before.1));
    // It did not arrive after all: the caller is asked for something else.
    assert_eq!(report(&letter.id.to_string(), "undelivered", &call).await, 204);
    assert_eq!(report(&letter.id.to_string(), "undelivered", &call).await, 204);
    assert_eq!(world.story(call.id).await.iter().filter(|s| s.contains("the message did not arrive")).count(), 1);
    call.listen().await.hears("We are ringing the number on file");
    world.pass(Span::seconds(1));
}
