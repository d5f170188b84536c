//! `vanguard_voice` through Twilio: the caller is listened to over a media stream, in real frames of a real
//! WebSocket; everything else is webhooks as ever.

use countersign_core::{
    action::Level,
    call::{Event, Params, Stage},
    time::Span,
    voice::{Comparison, Fault, Outcome, Stopped},
};
use countersign_server::{telephony::twilio, voice::{TAKES, TEMPLATE}};
use countersign_voice::Audio;

use crate::{
    common::{Setup, World, desk::Desk, people::*, phone::Phone, stream::{self, Stream}},
    voice::{ana, calibrated, kept, settings},
    voices::{resent, said},
};

fn setup() -> Setup { Setup { params: Params { voice: Some(settings(&[twilio::NAME])), ..Params::default() }, ..Setup::default() } }

async fn world_with(setup: Setup) -> World {
    let world = World::with(setup).await;
    world.app.runner.listens(calibrated());
    world
}
async fn world() -> World { world_with(setup()).await }

pub fn samples(audio: &Audio) -> Vec<i16> { audio.samples().iter().map(|s| (s * 32_767.0) as i16).collect() }

/// Ana with her PIN, talking with somebody.
async fn at(world: &World, desk: &mut Desk) -> Phone {
    let mut phone = world.call(ANA_LINE).await;
    phone.presses(&["2", "4071", "1"]).await;
    desk.take(&mut phone).await;
    phone.is_bridged();
    phone
}

/// The same, strong.
async fn strong(world: &World, desk: &mut Desk) -> Phone {
    let mut phone = at(world, desk).await;
    desk.prove("sms_code", "change:phone").await.ok();
    let code = world.letter().await.code();
    phone.listen().await.press(&code).await.is_bridged();
    phone
}

/// The same, with consent, about to say the phrase for the first time.
async fn consenting(world: &World, desk: &mut Desk) -> Phone {
    let mut phone = strong(world, desk).await;
    desk.act("voice-enrol", &[]).await.ok();
    phone.listen().await.press("1").await.hears("After the tone, please say:");
    assert!(phone.is_listened_to());
    phone
}

async fn enrolled(world: &World, desk: &mut Desk) {
    let mut phone = consenting(world, desk).await;
    for seed in 1..=3 {
        phone.speaks(&samples(&ana(seed))).await;
    }
    phone.is_bridged();
    assert_eq!(kept(world, TEMPLATE).await, 1, "{:?}", world.story(phone.id).await);
    desk.end().await.ok();
    phone.hang_up().await;
    world.deliver().await;
}

async fn compared(world: &World, phone: &Phone) -> Option<Comparison> {
    world.events(phone.id).await.into_iter().rev().find_map(|e| if let Event::VoiceCompared { comparison, .. } = e { Some(comparison) } else { None })
}

async fn stopped(world: &World, phone: &Phone) -> Option<Stopped> {
    world.events(phone.id).await.into_iter().rev().find_map(|e| if let Event::VoiceStopped { why } = e { Some(why) } else { None })
}

async fn stage(world: &World, phone: &Phone) -> Stage { world.app.runner.call(phone.id).await.unwrap().unwrap().call.stage }

/// Digits are heard as the phrase is: each row is a take of its own, with an address of its own.
#[tokio::test]
async fn digits_through_twilio() {
    let mut setup = setup();
    setup.params.voice.as_mut().unwrap().digits = true;
    let world = world_with(setup).await;
    let mut robin = world.robin().await;
    let mut phone = consenting(&world, &mut robin).await;
    for seed in 1..=3 {
        phone.speaks(&samples(&ana(seed))).await;
    }
    let asked = async |phone: &Phone| world.events(phone.id).await.into_iter().rev().find_map(|e| if let Event::DigitsAsked { saying, .. } = e { Some(saying.row) } else { None }).unwrap();
    for seed in 0..6 {
        phone.hears("please say these digits");
        assert!(phone.is_listened_to());
        let row = asked(&phone).await;
        phone.hears(&row.digits().map(|digit| digit.to_string()).join(", "));
        phone.speaks(&samples(&said(row.digits(), 300 + seed))).await;
    }
    phone.is_bridged();
    assert!(world.events(phone.id).await.iter().any(|e| matches!(e, Event::DigitsKept { held: false, .. })));
    robin.end().await.ok();
    phone.hang_up().await;
    world.deliver().await;
    // Another day: the phrase, and digits that are not those that are asked for, twice.
    world.pass(Span::hours(30));
    let mut robin = world.robin().await;
    let mut phone = at(&world, &mut robin).await;
    robin.act("voice-compare", &[]).await.ok();
    phone.listen().await.speaks(&samples(&ana(50))).await;
    for seed in 0..2 {
        let other: Vec<u8> = asked(&phone).await.digits().iter().map(|digit| (digit + 3) % 10).collect();
        phone.speaks(&samples(&said(&other, 400 + seed))).await;
    }
    phone.is_bridged();
    robin.panel().await.shows("Voice: <b>could not be compared</b>");
}

#[tokio::test]
async fn vanguard_voice_through_twilio() {
    let world = world().await;
    let mut robin = world.robin().await;
    let mut phone = strong(&world, &mut robin).await;
    // Out of the conference: the agent hears nothing of what follows.
    robin.act("voice-enrol", &[]).await.shows("being asked whether the voice may be kept");
    phone.listen().await.hears("If you do not, press 2. Then everything goes on as before.");
    assert!(!phone.twiml.contains("<Conference") && !phone.is_listened_to(), "nobody listens before consent");
    phone.press("1").await.hears("After the tone, please say:");
    assert!(!phone.twiml.contains("<Conference") && phone.is_listened_to());
    // Too short is told, and another take of the same recording; three good takes are it.
    phone.speaks(&samples(&ana(9))[6_000..9_000]).await;
    assert!(phone.words().contains("too short") || phone.words().contains("could not hear you"), "{}", phone.words());
    phone.speaks(&samples(&ana(1))).await.hears("Once more, please.");
    assert_eq!((kept(&world, TAKES).await, kept(&world, TEMPLATE).await), (1, 0));
    phone.speaks(&samples(&resent(&ana(1), 3))).await.hears("did not sound like the time before");
    phone.speaks(&samples(&ana(2))).await.hears("Once more, please.");
    phone.speaks(&samples(&ana(3))).await.is_bridged();
    assert_eq!((kept(&world, TAKES).await, kept(&world, TEMPLATE).await), (0, 1));
    let faults: Vec<Option<Fault>> = world.events(phone.id).await.into_iter().filter_map(|e| if let Event::VoiceTake { fault, .. } = e { Some(fault) } else { None }).collect();
    assert_eq!((faults.len(), faults[2]), (5, Some(Fault::SameRecording)));
    robin.end().await.ok();
    phone.hang_up().await;
    world.deliver().await;

    // Another day.
    world.pass(Span::hours(30));
    let mut robin = world.robin().await;
    let mut phone = at(&world, &mut robin).await;
    robin.act("voice-compare", &[]).await.ok();
    phone.listen().await.hears("We compare your voice.");
    assert!(!phone.twiml.contains("<Conference"));
    phone.speaks(&samples(&ana(50))).await.hears("going back to your agent").is_bridged();
    let comparison = compared(&world, &phone).await.unwrap();
    assert_eq!((comparison.outcome, comparison.learnt), (Outcome::Alike, true));
    let panel = robin.panel().await;
    panel.shows("Voice: <b>alike</b>");
    // A signal, and no proof.
    assert_eq!(panel.level(), "authenticated");
    assert_eq!(world.events(phone.id).await.iter().filter(|e| matches!(e, Event::Proved { .. })).count(), 1, "the PIN, and nothing else");
    robin.change_phone("+12025550150").await.says("Not permitted now");
    // A recording of an enrolment, sent again over a stream.
    robin.act("voice-compare", &[]).await.ok();
    phone.listen().await.speaks(&samples(&resent(&ana(2), 7))).await.is_bridged();
    assert_eq!(compared(&world, &phone).await.unwrap().outcome, Outcome::KnownRecording);
    robin.panel().await.shows("Voice: <b>not alike</b>");
}

#[tokio::test]
async fn a_no_ends_it_with_one_key_at_any_time() {
    let world = world().await;
    let mut robin = world.robin().await;
    // While the words are said.
    let mut phone = consenting(&world, &mut robin).await;
    phone.press("*").await.is_bridged();
    assert_eq!(stopped(&world, &phone).await, Some(Stopped::Declined));
    // While somebody listens.
    robin.act("voice-enrol", &[]).await.ok();
    phone.listen().await.press("1").await;
    let mut stream = phone.stream(&world.router).await;
    stream.sound(&samples(&ana(1))[..8_000]).await;
    stream.key('*').await;
    stream.is_closed().await;
    phone.goes_on().await.is_bridged();
    assert_eq!(stopped(&world, &phone).await, Some(Stopped::Declined));
    assert!(!world.events(phone.id).await.iter().any(|e| matches!(e, Event::VoiceTake { .. })), "what was said before the key is nothing");
    assert_eq!((kept(&world, TAKES).await, kept(&world, TEMPLATE).await), (0, 0));
    // It is held against nobody.
    let live = world.app.runner.call(phone.id).await.unwrap().unwrap().call;
    assert_eq!((live.level, live.risk), (Level::Strong, 0));
}

#[tokio::test]
async fn a_key_that_is_no_answer_begins_the_take_anew() {
    let world = world().await;
    let mut robin = world.robin().await;
    let mut phone = consenting(&world, &mut robin).await;
    // While the words are said: they are said again.
    phone.press("7").await.hears("After the tone, please say:");
    let mut stream = phone.stream(&world.router).await;
    stream.sound(&samples(&ana(1))[..8_000]).await;
    stream.key('7').await;
    stream.hears_the_tone().await;
    stream.sound(&samples(&ana(1))).await;
    stream.sound(&[0; 16_000]).await;
    stream.is_closed().await;
    phone.goes_on().await.hears("Once more, please.");
}

/// Twilio cannot reach us, or its network fails: nobody is kept waiting, and nothing is held against anybody.
#[tokio::test]
async fn a_stream_that_never_comes_is_nobody_heard() {
    let world = world().await;
    let mut robin = world.robin().await;
    let mut phone = consenting(&world, &mut robin).await;
    let late = phone.clone();
    phone.goes_on().await.is_bridged();
    assert_eq!(stopped(&world, &phone).await, Some(Stopped::NotHeard));
    // It comes all the same, when nobody listens any more.
    let at = stream::serve(&world.router).await;
    assert_eq!(Stream::open(at, &world.house(), &late.stream_path()).await.err(), Some(410));
    // One that breaks off in the middle is no answer either: half a phrase would be another's.
    robin.act("voice-enrol", &[]).await.ok();
    phone.listen().await.press("1").await;
    let mut stream = phone.stream(&world.router).await;
    stream.sound(&samples(&ana(1))[..12_000]).await;
    drop(stream);
    phone.goes_on().await.is_bridged();
    assert!(!world.events(phone.id).await.iter().any(|e| matches!(e, Event::VoiceTake { .. })));
    assert_eq!(robin.panel().await.level(), "strong");
}

/// The webhook may come to any node, before or after the stream's own is done.
#[tokio::test]
async fn any_node_has_the_stream_and_any_other_the_webhook() {
    let world = world_with(Setup { file: true, ..setup() }).await;
    let other = world.sibling().await;
    other.app.runner.listens(calibrated());
    let mut robin = world.robin().await;
    let mut phone = consenting(&world, &mut robin).await;
    for (seed, words) in [(1, "Once more, please."), (2, "Once more, please."), (3, "Thank you.")] {
        let mut stream = phone.stream(&other.router).await;
        stream.sound(&samples(&ana(seed))).await;
        stream.sound(&[0; 16_000]).await;
        stream.is_closed().await;
        phone.goes_on().await.hears(words);
        // Twilio sends a webhook again that it got no answer to.
        let (answer, before) = (phone.twiml.clone(), world.events(phone.id).await.len());
        assert_eq!(phone.again().await.body, answer);
        assert_eq!(world.events(phone.id).await.len(), before);
    }
    phone.is_bridged();
    assert_eq!(kept(&other, TEMPLATE).await, 1);
}

/// Twilio closes early and asks, while a node still listens: the first of the two counts.
#[tokio::test]
async fn a_webhook_that_overtakes_its_stream_is_the_answer() {
    let world = world_with(Setup { file: true, ..setup() }).await;
    let other = world.sibling().await;
    other.app.runner.listens(calibrated());
    let mut robin = world.robin().await;
    let mut phone = consenting(&world, &mut robin).await;
    let mut stream = phone.stream(&other.router).await;
    stream.sound(&samples(&ana(1))).await;
    phone.goes_on().await.is_bridged();
    stream.sound(&[0; 16_000]).await;
    stream.is_closed().await;
    let events = world.events(phone.id).await;
    assert!(events.iter().any(|e| matches!(e, Event::VoiceStopped { why: Stopped::NotHeard })) && !events.iter().any(|e| matches!(e, Event::VoiceTake { .. })));
    assert_eq!(stage(&world, &phone).await, Stage::Talking);
}

#[tokio::test]
async fn the_desk_and_the_caller_can_end_it_in_the_middle() {
    let world = world().await;
    let mut robin = world.robin().await;
    let mut phone = consenting(&world, &mut robin).await;
    let mut stream = phone.stream(&world.router).await;
    stream.sound(&samples(&ana(1))[..12_000]).await;
    // The agent calls it off: nobody listens a moment longer, and Twilio is told where the caller goes.
    robin.act("cancel", &[]).await.ok();
    stream.is_closed().await;
    phone.listen().await.is_bridged();
    assert_eq!(stopped(&world, &phone).await, Some(Stopped::AgentLeft));
    // The caller hangs up: Twilio stops the stream and tells the end of the call, in any order.
    robin.act("voice-enrol", &[]).await.ok();
    phone.listen().await.press("1").await;
    let mut stream = phone.stream(&world.router).await;
    stream.sound(&samples(&ana(1))).await;
    stream.stops(&phone.sid).await;
    stream.is_closed().await;
    phone.hang_up().await;
    let events = world.events(phone.id).await;
    assert!(matches!(events.last(), Some(Event::Ended { .. })) && !events.iter().any(|e| matches!(e, Event::VoiceTake { .. })), "{:?}", world.story(phone.id).await);
    assert_eq!((kept(&world, TAKES).await, kept(&world, TEMPLATE).await), (0, 0));
}

/// Silence for the whole time is an answer of its own, and asked for again.
#[tokio::test]
async fn who_says_nothing_is_asked_again() {
    let world = world().await;
    let mut robin = world.robin().await;
    enrolled(&world, &mut robin).await;
    world.pass(Span::hours(1));
    let mut robin = world.robin().await;
    let mut phone = consenting(&world, &mut robin).await;
    phone.speaks(&[]).await.hears("We could not hear you.");
    assert!(phone.is_listened_to());
    // At a comparison it is the answer.
    phone.press("*").await.is_bridged();
    robin.act("voice-compare", &[]).await.ok();
    phone.listen().await.speaks(&[]).await.is_bridged();
    assert_eq!(compared(&world, &phone).await.unwrap().outcome, Outcome::NoSpeech);
    robin.panel().await.shows("Voice: <b>could not be compared</b>");
}
