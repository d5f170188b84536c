//! Digits after the phrase, drawn anew each time: a recording of an earlier call says others. The digits
//! here are ten words that are none, out of synthesised voices: what people's are told apart by is
//! measured in crates/voice.

use countersign_core::{
    action::Level,
    call::{Event, Params, Stage},
    prompt::Prompt,
    time::Span,
    voice::{Checked, Outcome, Row, Stopped},
};
use countersign_server::{telephony::sip, voice::{TAKES, TEMPLATE}};

use crate::{
    common::{Setup, World, desk::Desk, people::*},
    voice::{Caller, ana, calibrated, kept, settings},
    voices::{hiss, said},
};

async fn world() -> World {
    let voice = countersign_core::voice::Settings { digits: true, ..settings(&[sip::NAME]) };
    let world = World::with(Setup { params: Params { voice: Some(voice), ..Params::default() }, ..Setup::default() }).await;
    world.app.runner.listens(calibrated());
    world
}

fn row(prompts: &[Prompt]) -> Row { prompts.iter().find_map(|p| if let Prompt::VoiceDigits { row } = p { Some(*row) } else { None }).unwrap_or_else(|| panic!("no digits are asked for: {prompts:?}")) }

/// Says what is asked for until nothing is.
async fn says_all(caller: &mut Caller, mut prompts: Vec<Prompt>) -> Vec<Prompt> {
    for seed in 100.. {
        if !prompts.iter().any(|p| matches!(p, Prompt::VoiceDigits { .. })) {
            return prompts;
        }
        prompts = caller.says(&said(row(&prompts).digits(), seed)).await;
    }
    prompts
}

/// Ana, at the point where her voice is on file and digits are asked for.
async fn asked_for_digits(world: &World, desk: &mut Desk) -> (Caller, Vec<Prompt>) {
    let mut caller = Caller::strong(world, desk).await;
    desk.act("voice-enrol", &[]).await.ok();
    caller.press("1").await;
    let mut prompts = Vec::new();
    for seed in 1..=3 {
        prompts = caller.says(&ana(seed)).await;
    }
    (caller, prompts)
}

async fn checked(caller: &Caller) -> Option<Checked> {
    caller.events().await.into_iter().rev().find_map(|e| if let Event::DigitsChecked { checked, .. } = e { Some(checked) } else { None })
}

/// A call on which the voice is compared: the phrase, and then whatever these say.
async fn compared(world: &World, phrase: u64, digits: impl Fn(Row) -> countersign_voice::Audio) -> Caller {
    world.pass(Span::minutes(20));
    let mut desk = world.robin().await;
    let mut caller = Caller::at(world, &mut desk).await;
    desk.act("voice-compare", &[]).await.ok();
    let prompts = caller.says(&ana(phrase)).await;
    assert_eq!(prompts[0], Prompt::VoiceDigitsToo);
    desk.panel().await.hides(&["Voice: <b>"]).shows("saying digits. You hear nothing");
    let mut prompts = caller.says(&digits(row(&prompts))).await;
    // Not understood: others, once.
    if let [Prompt::VoiceOnceMore, Prompt::VoiceDigits { row }] = prompts[..] {
        desk.panel().await.hides(&["Voice: <b>"]);
        prompts = caller.says(&digits(row)).await;
    }
    assert_eq!(prompts, [Prompt::BackToAgent], "the caller does not hear what came of it");
    caller
}

#[tokio::test]
async fn digits_are_learnt_at_enrolment_and_asked_for_anew_on_every_call() {
    let world = world().await;
    let mut robin = world.robin().await;
    let (mut call, prompts) = asked_for_digits(&world, &mut robin).await;
    assert_eq!((prompts[0].clone(), kept(&world, TEMPLATE).await), (Prompt::VoiceDigitsToo, 1));
    // Fewer words than digits are told, and the same digits asked for again.
    let first = row(&prompts);
    let prompts = call.says(&said(&first.digits()[..4], 77)).await;
    assert_eq!(prompts, [Prompt::VoiceNotApart, Prompt::VoiceDigits { row: first }]);
    let prompts = call.says(&said(first.digits(), 99)).await;
    assert_eq!(prompts[0], Prompt::VoiceThanks);
    assert_eq!(says_all(&mut call, prompts).await, [Prompt::VoiceKept, Prompt::BackToAgent]);
    assert!(world.tells(call.id, "How the voice says digits is on file.").await);
    assert_eq!((call.stage().await, kept(&world, TEMPLATE).await), (Stage::Talking, 1), "in the template's own document");
    robin.end().await;
    world.deliver().await;

    // Another day: the phrase, and five digits that nobody knew before.
    let call = compared(&world, 50, |row| said(row.digits(), 200)).await;
    assert_eq!(call.compared().await.outcome, Outcome::Alike);
    assert!(matches!(checked(&call).await, Some(Checked { outcome: Outcome::Alike, nearer: Some(0), .. })));
    robin.call = call.id;
    robin.panel().await.shows("Voice: <b>alike</b>");
    assert_eq!(call.level().await, Level::Authenticated, "and nothing is proved by it");
    robin.end().await;
    // The template learnt on that call, and still has its digits.
    assert!(call.compared().await.learnt);
    // A recording of that call: the right voice and phrase, and the digits of then.
    let call = compared(&world, 51, |row| {
        let other: Vec<u8> = row.digits().iter().map(|digit| (digit + 3) % 10).collect();
        said(&other, 201)
    }).await;
    let Some(Checked { outcome, nearer, .. }) = checked(&call).await else { panic!("not checked") };
    assert_eq!((call.compared().await.outcome, outcome), (Outcome::Alike, Outcome::OtherDigits));
    assert!(nearer > Some(0));
    let asked = call.events().await.iter().filter(|e| matches!(e, Event::DigitsAsked { .. })).count();
    assert_eq!(asked, 2, "others, once, and no more");
    robin.call = call.id;
    robin.panel().await.shows("Voice: <b>could not be compared</b>");
    assert!(world.tells(call.id, "The digits were compared: OTHER digits").await);
    robin.end().await;
    // Hiss is no answer, for nobody and against nobody.
    let call = compared(&world, 52, |_| hiss(3.0, 0.05, 1)).await;
    assert_eq!(checked(&call).await.map(|c| c.outcome), Some(Outcome::NoSpeech));
    robin.call = call.id;
    robin.panel().await.shows("Voice: <b>could not be compared</b>");
    assert!(world.tells(call.id, "The digits were compared: not compared, no speech.").await);
}

#[tokio::test]
async fn who_ends_before_the_digits_has_a_voice_on_file_without_them() {
    let world = world().await;
    let mut robin = world.robin().await;
    let (mut call, prompts) = asked_for_digits(&world, &mut robin).await;
    call.says(&said(row(&prompts).digits(), 90)).await;
    assert_eq!(call.press("*").await, [Prompt::VoiceKept, Prompt::BackToAgent]);
    assert_eq!((call.stopped().await, kept(&world, TEMPLATE).await), (Some(Stopped::Declined), 1));
    robin.end().await;
    world.deliver().await;
    // The phrase alone is compared: not all digits are known.
    let mut call = Caller::at(&world, &mut robin).await;
    robin.act("voice-compare", &[]).await.ok();
    assert_eq!(call.says(&ana(50)).await, [Prompt::BackToAgent]);
    robin.panel().await.shows("Voice: <b>alike</b>");
}

/// The voice is taken off the file while its digits are learnt: nothing of them stays.
#[tokio::test]
async fn digits_go_with_the_voice() {
    let world = world().await;
    let mut robin = world.robin().await;
    let (mut call, prompts) = asked_for_digits(&world, &mut robin).await;
    let prompts = call.says(&said(row(&prompts).digits(), 90)).await;
    world.app.runner.take_voice_away(ANA, "test").await.unwrap();
    assert_eq!(kept(&world, TEMPLATE).await, 0);
    call.says(&said(row(&prompts).digits(), 91)).await;
    assert_eq!((call.stopped().await, kept(&world, TEMPLATE).await), (Some(Stopped::NotPermitted), 0));
}

/// The same answers, and what is said to them, on a call of a customer who keys this PIN.
async fn answers(pin: &str) -> (World, Caller, Vec<Option<Prompt>>) {
    let world = world().await;
    let (_desk, mut caller) = Caller::sofia_consents(&world, pin).await;
    let mut prompts = Vec::new();
    for seed in 1..=3 {
        prompts = caller.says(&ana(seed)).await;
    }
    let mut said = Vec::new();
    for seed in 0..8 {
        let asked = row(&prompts);
        // In between a row of other digits than those that are asked for, and one too few.
        let digits: Vec<u8> = match seed {
            2 => asked.digits().iter().map(|digit| (digit + 3) % 10).collect(),
            5 => asked.digits()[..4].to_vec(),
            _ => asked.digits().to_vec(),
        };
        prompts = caller.says(&crate::voices::said(&digits, 100 + seed)).await;
        said.push(prompts.iter().find(|p| !matches!(p, Prompt::VoiceDigits { .. })).cloned());
    }
    (world, caller, said)
}

/// Whoever forces her to enrol hears nothing of it, whatever they have her say; and nothing of it is kept.
#[tokio::test]
async fn under_duress_digits_are_heard_as_ever_and_nothing_is_kept() {
    let (calm_world, calm, heard) = answers("5093").await;
    assert_eq!((&heard[2], &heard[5]), (&Some(Prompt::VoiceNotTheSame), &Some(Prompt::VoiceNotApart)));
    let (world, forced, under) = answers("5099").await;
    assert_eq!(under, heard);
    let kept_of = |events: Vec<Event>| events.into_iter().find_map(|e| if let Event::DigitsKept { held, .. } = e { Some(held) } else { None });
    assert_eq!((kept_of(calm.events().await), kept_of(forced.events().await)), (Some(false), Some(true)));
    assert_eq!((kept(&calm_world, TEMPLATE).await, kept(&world, TEMPLATE).await, kept(&world, TAKES).await), (1, 0, 0));
}

/// Digits belong to the enrolment that they were learnt for: a voice that was enrolled anew on another call
/// meanwhile is not given them.
#[tokio::test]
async fn digits_are_not_given_to_another_enrolment() {
    let world = world().await;
    let mut robin = world.robin().await;
    let (mut thief, prompts) = asked_for_digits(&world, &mut robin).await;
    let prompts = thief.says(&said(row(&prompts).digits(), 90)).await;
    world.deliver().await;
    let mut sam = world.sam().await;
    let (mut owner, asked) = asked_for_digits(&world, &mut sam).await;
    thief.says(&said(row(&prompts).digits(), 91)).await;
    assert_eq!(thief.stopped().await, Some(Stopped::Tries), "it could not be kept");
    assert!(!thief.events().await.iter().any(|e| matches!(e, Event::DigitsKept { .. })));
    // The owner's go on.
    assert_eq!(says_all(&mut owner, asked).await, [Prompt::VoiceKept, Prompt::BackToAgent]);
}
