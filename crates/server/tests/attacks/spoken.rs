//! Verbal passwords that a recogniser hears, Twilio's, jambonz's or another: what it is not sure of, what sounds alike, what is no
//! word at all, and webhooks that come again.

use countersign_core::{call::{Event, Params}, factor::FactorKind, speech::Hearing};

use serde_json::{Value, json};

use crate::common::{
    Setup, World,
    caller::{Caller, Http, Jambonz, Kind, Then, from},
    desk::Desk,
    hides,
    pages::send,
    people::*,
    phone::{Phone, webhook},
};

const WORDS: [&str; 4] = ["rhinoceros", "Rhinoceros", "RHINOCEROS", "unicorn"];

async fn world() -> World {
    let hearing = ["twilio", "jambonz", "http"].map(|adapter| Hearing { adapter: adapter.into(), floor: 80 }).into();
    World::with(Setup { params: Params { hearing, ..Params::default() }, ..Setup::default() }).await
}

/// Liam talks to Robin, who asked for his word.
async fn asked(world: &World) -> (Desk, Phone) {
    let mut robin = world.robin().await;
    let mut call = world.call(LIAM_LINE).await;
    call.press("0").await.press("1").await;
    robin.take(&mut call).await;
    robin.prove("verbal_password", "").await.shows("You hear nothing of it").hides(&["Word the caller says"]);
    call.listen().await.hears("Please say your password for the phone.").hears("press any key");
    (robin, call)
}

/// Right and wrong entries that were judged.
async fn judged(world: &World, call: &Phone) -> (usize, usize) {
    let events = world.events(call.id).await;
    let right = events.iter().filter(|e| matches!(e, Event::Proved { kind: FactorKind::VerbalPassword, .. })).count();
    (right, events.iter().filter(|e| matches!(e, Event::ChallengeFailed { .. })).count())
}

#[tokio::test]
async fn a_word_that_is_said_is_judged_once_and_seen_by_nobody() {
    let world = world().await;
    let (robin, mut call) = asked(&world).await;
    assert!(call.twiml.contains("input=\"dtmf speech\"") && !call.twiml.contains("hints"), "{}", call.twiml);
    call.says("Purple unicorn.", "0.97").await.hears("That was not accepted. Please try again.").hears_nothing_of(&WORDS);
    call.says("Purple rhinoceros.", "0.97").await.hears("Thank you, that was accepted.").is_bridged();
    assert_eq!(robin.panel().await.level(), "authenticated");
    robin.page().await.hides(&WORDS);
    assert_eq!(judged(&world, &call).await, (1, 1));
    // The webhook comes again, and once more after an hour: the answer is the stored one, and nothing is judged.
    let before = world.log().await;
    let again = call.again().await;
    again.ok();
    assert_eq!((again.body == call.twiml, world.log().await == before), (true, true));
    hides(&before, &WORDS);
    hides(&world.metrics().await, &WORDS);
    assert!(world.tells(call.id, "Proved: verbal password.").await);
}

#[tokio::test]
async fn who_is_not_sure_does_not_judge() {
    let world = world().await;
    let (robin, mut call) = asked(&world).await;
    call.says("Purple rhinoceros", "0.79").await.hears("That was not understood.").hears("press any key");
    for (text, confidence) in [("Purple rhinoceros", "NaN"), ("Purple rhinoceros", "1.5"), ("Purple rhinoceros", "-0")] {
        let fields = call.fields(&[("SpeechResult", text), ("Confidence", confidence)]);
        let page = send(&world.router, webhook(&call.action(), &fields)).await;
        if confidence != "-0" {
            page.is(400).hides(&WORDS);
        }
    }
    assert_eq!(judged(&world, &call).await, (0, 0));
    assert!(!world.tells(call.id, "Proved: verbal password.").await);
    // Any key, and the agent asks as always.
    call.listen().await;
    if !call.twiml.contains("<Conference") {
        call.press("5").await.is_bridged();
    }
    robin.prove("verbal_password", "").await.shows("Word the caller says");
    call.listen().await.is_bridged();
    robin.word("purple rhinoceros").await.says("Match.");
}

#[tokio::test]
async fn what_sounds_alike_or_is_no_word_is_wrong_and_counts_with_what_is_typed() {
    let world = world().await;
    let (robin, mut call) = asked(&world).await;
    call.says("purple rhinoceroses", "0.99").await.hears("That was not accepted.");
    call.says("<Say>purple</Say> rhinoceros & <Hangup/> {{ }} %s", "0.99").await.hears("That was not accepted.").hears_nothing_of(&["Hangup", "%s", "{{"]);
    call.says("lila Nashorn", "0.99").await.hears("No more tries").hears_nothing_of(&WORDS);
    assert_eq!(judged(&world, &call).await, (0, 3));
    // Two by hand fill the line's count; then the right one is not looked at.
    robin.prove("verbal_password", "").await.shows("Word the caller says");
    robin.word("purple unicorn").await.says("No match.");
    robin.word("purple unicorn").await;
    robin.word("purple rhinoceros").await.hides(&["Match."]);
    assert_eq!(judged(&world, &call).await.0, 0);
}

#[tokio::test]
async fn words_are_no_answer_where_digits_are_asked_and_a_long_story_is_none() {
    let world = world().await;
    let mut call = world.call(ANA_LINE).await;
    call.press("1").await;
    // What was asked is a code or a PIN; the right one, said, is not heard.
    let n = world.events(call.id).await.len();
    call.says("4071", "0.99").await;
    assert!(world.events(call.id).await[n..].iter().all(|e| matches!(e, Event::Silence | Event::Asked { .. })));
    let (_, mut call) = asked(&world).await;
    call.says(&"purple rhinoceros ".repeat(200), "0.99").await.hears("That was not understood.");
    assert_eq!(judged(&world, &call).await, (0, 0));
    // A form that is too large is refused before anything is read.
    let fields = call.fields(&[("SpeechResult", &"x".repeat(20_000)), ("Confidence", "0.9")]);
    send(&world.router, webhook(&call.action(), &fields)).await.is(400);
}

#[tokio::test]
async fn switched_off_nothing_is_heard() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let mut call = world.call(LIAM_LINE).await;
    call.press("0").await.press("1").await;
    robin.take(&mut call).await;
    robin.prove("verbal_password", "").await.shows("Word the caller says");
    call.listen().await.is_bridged();
    let fields = call.fields(&[("SpeechResult", "purple rhinoceros"), ("Confidence", "1")]);
    for n in 0..40 {
        send(&world.router, webhook(&format!("/twilio/step?n={n}"), &fields)).await.ok();
    }
    assert_eq!(judged(&world, &call).await, (0, 0));
}

/// Liam, put through to Robin over another telephony, who asks for his word.
async fn asked_through(world: &World, kind: Kind) -> (Desk, Box<dyn Caller>) {
    let mut robin = world.robin().await;
    let mut call = kind.dial(world, from(LIAM_LINE)).await;
    call.all(&["0", "1"]).await;
    robin.call = call.id();
    robin.act("accept", &[]).await.ok();
    call.listen().await;
    call.then(Then::Agent);
    robin.prove("verbal_password", "").await.shows("You hear nothing of it").hides(&["Word the caller says"]);
    call.listen().await;
    call.hears("Please say your password for the phone.");
    call.then(Then::Words("en".into()));
    (robin, call)
}

async fn judged_on(world: &World, call: &dyn Caller) -> (usize, usize) {
    let events = world.events(call.id()).await;
    let right = events.iter().filter(|e| matches!(e, Event::Proved { kind: FactorKind::VerbalPassword, .. })).count();
    (right, events.iter().filter(|e| matches!(e, Event::ChallengeFailed { .. })).count())
}

/// The same rule wherever a recogniser is: unsure is not heard, alike is wrong, right is right once.
#[tokio::test]
async fn other_telephonies_hear_by_the_same_rule() {
    for kind in [Kind::Http, Kind::Jambonz] {
        let world = world().await;
        for (text, confidence) in [("Purple rhinoceros", None), ("Purple rhinoceros", Some(0.799)), ("  ", Some(1.0))] {
            let (_, mut call) = asked_through(&world, kind).await;
            call.understood(text, confidence).await;
            call.hears("That was not understood.");
            assert_eq!(judged_on(&world, &*call).await, (0, 0), "{kind:?} {confidence:?}");
        }
        let (robin, mut call) = asked_through(&world, kind).await;
        call.understood("purple unicorn", Some(0.97)).await;
        call.hears("That was not accepted. Please try again.");
        call.understood("Purple rhinoceros.", Some(0.8)).await;
        call.hears("Thank you, that was accepted.");
        assert_eq!((judged_on(&world, &*call).await, robin.panel().await.level()), ((1, 1), "authenticated"));
        robin.page().await.hides(&WORDS);
        hides(&world.log().await, &WORDS);
    }
}

/// One answer is one guess, and words that nobody asked for are none.
#[tokio::test]
async fn a_recogniser_guesses_once_and_only_when_it_is_asked() {
    let world = world().await;
    let mut robin = world.robin().await;
    let mut call = Jambonz::dial(&world, from(LIAM_LINE)).await;
    // The menu asked for a key.
    call.understood("purple rhinoceros", Some(1.0)).await;
    for key in ["0", "1"] {
        call.keys(key).await;
    }
    robin.call = call.id();
    robin.act("accept", &[]).await.ok();
    call.listen().await;
    robin.prove("verbal_password", "").await.ok();
    call.listen().await;
    assert_eq!(call.heard().then, Then::Words("en".into()));
    let speech = |is_final: Option<bool>, alternatives: Value| {
        let mut speech = json!({ "alternatives": alternatives });
        if let Some(is_final) = is_final {
            speech["is_final"] = json!(is_final);
        }
        json!({ "reason": "speechDetected", "speech": speech })
    };
    let right = json!([{ "transcript": "purple rhinoceros", "confidence": 0.99 }]);
    for wrong in [json!([{ "transcript": "purple rhinoceros", "confidence": 1.5 }]), json!([{ "transcript": "purple rhinoceros", "confidence": -0.1 }]), json!([{ "transcript": 7 }])] {
        call.post(&call.hook(), &call.event(speech(Some(true), wrong))).await.is(400).hides(&WORDS);
    }
    // The second of two is not looked at, and what is not final or nothing was not said.
    let two = json!([{ "transcript": "purple rhino", "confidence": 0.9 }, { "transcript": "purple rhinoceros", "confidence": 0.9 }]);
    call.post(&call.hook(), &call.event(speech(Some(true), two))).await.ok().hides(&WORDS);
    assert_eq!(judged_on(&world, &call).await, (0, 1));
    call.listen().await;
    for unsaid in [speech(Some(false), right.clone()), speech(None, right.clone()), speech(Some(true), json!([]))] {
        call.post(&call.hook(), &call.event(unsaid)).await.ok();
        assert_eq!(judged_on(&world, &call).await, (0, 1));
    }
    // With generic HTTP: a step that was never asked, and a number that is none.
    let mut call = Http::dial(&world, from(LIAM_LINE)).await;
    let said = |step: u64, confidence: Value| json!({ "event": "said", "call": call.call, "step": step, "text": "purple rhinoceros", "confidence": confidence });
    for step in [call.step, call.step + 5] {
        call.send(&said(step, json!(1.0))).await.ok();
    }
    for confidence in [json!(1.01), json!("1"), json!(-1)] {
        call.send(&said(call.step, confidence)).await.is(400).hides(&WORDS);
    }
    call.hang_up().await;
    assert!(!world.tells(call.id(), "Proved: verbal password.").await);
}
