//! Guesses: a thousand at once, over many calls, over many nodes. What counts is how many of them
//! were judged at all.

use countersign_core::{call::{Event, Params}, factor::FactorKind, id::CallId, time::Span};
use countersign_server::telephony::handset;

use crate::common::{
    Setup, World,
    pages::{self, own, send},
    people::*,
    phone::{Phone, webhook},
};

/// How many entries for a factor were judged on a call, right or wrong.
async fn judged(world: &World, call: CallId, kind: FactorKind) -> (usize, usize) {
    let mut open = None;
    let (mut right, mut wrong) = (0, 0);
    for event in world.events(call).await {
        match event {
            Event::Challenged { challenge } => open = Some(challenge.kind),
            Event::ChallengeFailed { .. } if open == Some(kind) => wrong += 1,
            Event::Proved { kind: proved, .. } if proved == kind => right += 1,
            _ => {}
        }
    }
    (right, wrong)
}

/// One challenge, three nodes, a thousand different guesses at the same time: three are judged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_guesses_at_once() {
    for world in [World::new().await, World::in_file().await] {
        let nodes = [world.clone(), world.sibling().await, world.sibling().await];
        let mut call = world.call(LIAM_LINE).await;
        call.press("0").await.press("1").await;
        let mut robin = world.robin().await;
        robin.take(&mut call).await;
        // The agent asks, and nothing comes after it: every guess is for this one challenge.
        robin.prove("totp", "").await.ok();
        let mut all = Vec::new();
        for guess in 0..1000 {
            let router = nodes[guess % 3].router.clone();
            let code = format!("{:06}", guess * 7 % 1_000_000);
            assert_ne!(code, liam_code(world.now()));
            let request = webhook(&format!("/twilio/step?n={}", 10_000 + guess), &call.fields(&[("Digits", &code)]));
            all.push(tokio::spawn(async move { send(&router, request).await.status.as_u16() }));
        }
        let (mut fine, mut busy) = (0, 0);
        for one in all {
            match one.await.unwrap() {
                200 => fine += 1,
                503 => busy += 1,
                other => panic!("{other}"),
            }
        }
        assert_eq!(fine + busy, 1000);
        assert_eq!(judged(&world, call.id, FactorKind::Totp).await, (0, 3));
        assert!(world.tells(call.id, "no tries left").await);
    }
}

/// Many calls from one line against one customer: five entries a quarter of an hour, all in all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_from_one_line() {
    let world = World::with(Setup { params: Params { keyed_claims: 1000, ..Params::default() }, ..Setup::default() }).await;
    let nodes = [world.clone(), world.sibling().await, world.sibling().await];
    let mut all = Vec::new();
    for n in 0..12_usize {
        let world = nodes[n % 3].clone();
        all.push(tokio::spawn(async move {
            let mut call = world.call(STRANGER).await;
            call.presses(&["1", "2", "10004711", "20500"]).await;
            for guess in 0..3 {
                if call.words().contains("PIN") {
                    call.press(&format!("6{n:02}{guess}")).await;
                }
            }
            call.id
        }));
    }
    let mut wrong = 0;
    for one in all {
        let (right, judged) = judged(&world, one.await.unwrap(), FactorKind::Pin).await;
        assert_eq!(right, 0);
        wrong += judged;
    }
    assert_eq!(wrong, 5);
    // The right one is not looked at either, from there.
    let mut call = world.call(STRANGER).await;
    call.presses(&["1", "2", "10004711", "20500"]).await;
    assert!(!call.words().contains("PIN"), "{}", call.words());

    // The customer's own line has a count of its own: nobody locks anybody out.
    let mut call = world.call(ANA_LINE).await;
    call.press("1").await.hears("Please enter your PIN.").press("4071").await.hears("Thank you, that was accepted.");

    // And the stranger's texts to her are limited as well.
    let sent = world.deliver().await.into_iter().filter(|l| l.to == ANA_LINE).count();
    assert!(sent <= 4, "{sent}");
    world.pass(Span::minutes(15));
    let mut call = world.call(STRANGER).await;
    call.presses(&["1", "2", "10004711", "20500"]).await.hears("Please enter your PIN.");
}

/// Guesses from ever new lines end at the bound for the authenticator, until it is proved again or
/// bound anew; other ways to prove are still there.
#[tokio::test]
async fn many_lines_against_one_customer() {
    let world = World::with(Setup { params: Params { lifetime_failures: 8, ..Params::default() }, ..Setup::default() }).await;
    let mut wrong = 0;
    for line in 0..6 {
        let mut call = world.call(&format!("+120255502{line:02}")).await;
        call.presses(&["1", "2", "10004711", "20500"]).await;
        for _ in 0..3 {
            if call.words().contains("PIN") {
                call.press("6033").await;
            }
        }
        wrong += judged(&world, call.id, FactorKind::Pin).await.1;
    }
    assert_eq!(wrong, 8);
    world.deliver().await;
    let mut call = world.call(ANA_LINE).await;
    call.press("1").await.hears("We have just texted a code");
    let code = world.letter().await.code();
    call.press(&code).await.hears("Thank you, that was accepted.");
}

/// A code is for one challenge on one call, and once.
#[tokio::test]
async fn codes_do_not_travel() {
    let world = World::new().await;
    let mut first = world.call(ANA_LINE).await;
    first.presses(&["1", "*"]).await.hears("We have just texted a code");
    let code = world.letter().await.code();
    // Another call, another code.
    let mut second = world.call(ANA_LINE).await;
    second.presses(&["1", "*"]).await;
    let other = world.letter().await.code();
    assert_ne!(code, other);
    second.press(&code).await.hears("That was not accepted.");
    first.press(&code).await.hears("Thank you, that was accepted.");
    second.press(&code).await.hears("That was not accepted.");
    second.press(&other).await.hears("Thank you, that was accepted.");
    // Another challenge on the same call.
    let mut robin = world.robin().await;
    first.press("1").await;
    robin.take(&mut first).await;
    robin.prove("sms_code", "change:phone").await.ok();
    first.listen().await.press(&code).await.hears("That was not accepted.");
    let fresh = world.letter().await.code();
    // Called off: the code that is still on its way is worth nothing.
    robin.act("cancel", &[]).await.ok();
    robin.prove("sms_code", "change:phone").await.ok();
    first.listen().await.press(&fresh).await.hears("That was not accepted.");
    assert_eq!(judged(&world, first.id, FactorKind::SmsCode).await.0, 1);
}

/// One code of an app on two calls at the same time: one of them succeeds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_app_code_on_two_calls() {
    for round in 0..4 {
        let world = if round == 0 { World::in_file().await } else { World::new().await };
        let nodes = [world.clone(), world.sibling().await];
        let mut all = Vec::new();
        for n in 0..6_usize {
            let world = nodes[n % 2].clone();
            let mut call = Phone::dial(&world, Some(LIAM_LINE), "TN-Validation-Passed-A").await;
            let code = liam_code(world.now());
            all.push(tokio::spawn(async move {
                call.press(&code).await;
                (call.id, call.words().contains("Thank you, that was accepted."))
            }));
        }
        let mut accepted = 0;
        for one in all {
            let (id, yes) = one.await.unwrap();
            accepted += usize::from(yes);
            assert_eq!(judged(&world, id, FactorKind::Totp).await, (usize::from(yes), usize::from(!yes)));
        }
        assert_eq!(accepted, 1);
        // Nor does an older one count after a newer one, although one step of drift is allowed.
        world.pass(Span::minutes(15));
        let (old, new) = (liam_code(world.now() - Span::seconds(30)), liam_code(world.now()));
        world.call(LIAM_LINE).await.press(&new).await.hears("Thank you, that was accepted.");
        world.call(LIAM_LINE).await.press(&old).await.hears("That was not accepted.");
    }
}

/// The keypad tells nobody which account numbers exist: the words are the same, and the line is
/// asked no more than a dozen times an hour.
#[tokio::test]
async fn account_numbers_cannot_be_probed_by_keypad() {
    let world = World::new().await;
    let mut heard = Vec::new();
    for number in ["10004711", "10009999", "10004712"] {
        let mut call = world.call(&format!("+1202555030{}", heard.len())).await;
        call.presses(&["1", "2", number]).await;
        let first = call.words();
        call.press("99999").await;
        heard.push((first, call.words()));
        assert_eq!(judged(&world, call.id, FactorKind::Pin).await, (0, 0));
    }
    heard.dedup();
    assert_eq!(heard.len(), 1, "{heard:?}");
    let mut claims = 0;
    for n in 0..8 {
        let mut call = world.call(STRANGER).await;
        call.presses(&["1", "2", &format!("2000471{n}")]).await;
        if call.words().contains("postal code") {
            call.press("20500").await;
        }
        claims += world.events(call.id).await.iter().filter(|e| matches!(e, Event::Claimed { claim } if claim.via == countersign_core::claim::Via::Keypad)).count();
    }
    assert_eq!(claims, 12);
    assert!(world.deliver().await.is_empty());
}

/// The handset of the demo stands under the same limits as every telephone.
#[tokio::test]
async fn the_handset_guesses_no_better() {
    let world = World::with(Setup { demo: true, ..Setup::default() }).await;
    let json = async |path: String, body: serde_json::Value| send(&world.router, own(axum::http::Method::POST, &path, None, "application/json", body.to_string())).await;
    let page = json("/handset/calls".into(), serde_json::json!({ "number": ANA_LINE })).await;
    let answer: serde_json::Value = serde_json::from_str(&page.ok().body).unwrap();
    let call: CallId = answer["call"].as_str().unwrap().parse().unwrap();
    json(format!("/handset/calls/{call}/keys"), serde_json::json!({ "keys": "1", "command": "go" })).await.ok();
    for n in 0..20 {
        json(format!("/handset/calls/{call}/keys"), serde_json::json!({ "keys": "6033", "command": format!("{n}") })).await.ok();
        json(format!("/handset/calls/{call}/keys"), serde_json::json!({ "keys": "6033", "command": format!("{n}") })).await.ok();
    }
    assert_eq!(judged(&world, call, FactorKind::Pin).await, (0, 3));
    json(format!("/handset/calls/{call}/keys"), serde_json::json!({ "keys": "12a", "command": "x" })).await.is(422);
    json(format!("/handset/calls/{call}/keys"), serde_json::json!({ "keys": "1", "command": "" })).await.is(422);
    assert_eq!(world.app.runner.call(call).await.unwrap().unwrap().call.adapter, handset::NAME);
    pages::get(&world.router, "/handset/calls/call_00000000000000000000000000000001/events", None).await.is(404);
}
