//! Voices: consent before anything, and never a proof.

use countersign_core::{
    action::{Action, Level, Role, Verb},
    call::{Command, Effect, Event, Rejected, Stage},
    factor::FactorKind::{Pin, SmsCode},
    message::Change,
    prompt::{Directive, Lang, Prompt},
    time::Span,
    voice::{Fault, Likeness, MAX_COMPARISONS, Outcome, Stopped},
};

use crate::{
    shell::{Do, OTHER, Shell},
    world::{START, Who, voice},
};

fn opened() -> Shell {
    let mut shell = Shell::from(Who::Ana);
    shell.reach_agent().open(Who::Ana);
    shell
}
fn strong() -> Shell {
    let mut shell = opened();
    shell.proves(SmsCode).proves(Pin);
    assert_eq!(shell.call.level, Level::Strong);
    shell
}
fn enrolled() -> Shell {
    let mut shell = opened();
    shell.profile_mut(Who::Ana).voice = Some(voice(START));
    shell
}
fn good() -> Do { Do::Recorded(None, Outcome::Alike) }
fn heard(outcome: Outcome) -> Do { Do::Recorded(None, outcome) }
fn stopped(shell: &Shell) -> Option<Stopped> {
    shell.last.events.iter().find_map(|e| match e { Event::VoiceStopped { why } => Some(*why), _ => None })
}

/// `vanguard_voice`: consent by a key, three good takes, and the voice is on file.
#[test]
fn a_strong_caller_enrols_with_consent_and_three_good_takes() {
    let mut shell = strong();
    shell.desk(Command::EnrolVoice);
    assert_eq!(shell.call.stage, Stage::VoiceConsent);
    assert!(matches!(shell.directives().as_slice(), [Directive::Say { prompt: Prompt::VoiceConsent, .. }, Directive::Gather { max: 1, .. }]));
    let done = shell.keys("1");
    assert!(done.has(|e| matches!(e, Event::VoiceConsented { account, text, lang: Lang::En } if *account == Who::Ana.id() && text == "2026-05")));
    assert!(matches!(shell.directives().last(), Some(Directive::Record { .. })));
    shell.ok(good());
    // What is not good enough is told, and asked for again.
    for (fault, prompt) in [(Fault::TooShort, Prompt::VoiceTooShort), (Fault::TooNoisy, Prompt::VoiceTooNoisy)] {
        assert_eq!(shell.ok(Do::Recorded(Some(fault), Outcome::Alike)).say, [prompt]);
    }
    shell.ok(good());
    let done = shell.ok(good());
    let kept = done.effects.iter().find_map(|e| match e { Effect::Change(c) => Some(c.change.clone()), _ => None });
    assert!(matches!(&kept, Some(Change::Voice(v)) if v.until == v.since + Span::days(365)), "{kept:?}");
    assert_eq!((shell.call.stage, shell.call.level), (Stage::Talking, Level::Strong));
    let done = shell.desk(Command::End);
    assert!(done.has(|e| matches!(e, Event::SummarySent { actions } if actions.contains(&Action::new(Verb::Change, "voice")))));
}

#[test]
fn nobody_enrols_who_is_not_strong() {
    let mut shell = opened();
    assert_eq!(shell.no_desk(Command::EnrolVoice), Rejected::NotStrong);
    shell.proves(SmsCode);
    assert_eq!(shell.no_desk(Command::EnrolVoice), Rejected::NotStrong);
    // Nor who speaks for somebody else.
    let mut shell = Shell::from(Who::Grace);
    shell.reach_agent().open(Who::Grace);
    let first = shell.mine().factors[0];
    shell.proves(first);
    shell.desk(Command::SpeakFor { account_number: Who::Tina.number().into() });
    assert!(matches!(shell.no_desk(Command::EnrolVoice), Rejected::NoAccount | Rejected::NotPermitted));
}

/// The agent who asks cannot consent, and nothing that an agent types is a voice.
#[test]
fn no_agent_enrols_anybody() {
    let mut shell = strong();
    shell.desk(Command::EnrolVoice);
    assert_eq!(shell.no(good()), Rejected::OutOfTurn, "before consent nothing is listened to");
    let forged = Change::Voice(voice(START));
    assert_eq!(shell.no_desk(Command::Perform { change: forged, reason: Some("it is me, I promise".into()) }), Rejected::NotPermitted);
    assert_eq!(shell.no(Do::Desk(OTHER, Role::Agent, Command::EnrolVoice)), Rejected::NotYours);
    assert_eq!(shell.no_desk(Command::EnrolVoice), Rejected::Challenge);
    shell.desk(Command::CancelChallenge);
    assert_eq!((stopped(&shell), shell.call.stage), (Some(Stopped::AgentLeft), Stage::Talking));
}

#[test]
fn a_no_and_silence_end_it_and_nothing_worse_follows() {
    for keys in ["2", "0", "*"] {
        let mut shell = strong();
        let risk = shell.call.risk;
        shell.desk(Command::EnrolVoice);
        shell.keys(keys);
        assert_eq!((stopped(&shell), shell.call.stage), (Some(Stopped::Declined), Stage::Talking));
        assert_eq!((shell.call.level, shell.call.risk), (Level::Strong, risk));
        // It may be asked again, another day or now: nothing is held against anybody.
        assert!(shell.mine().voice.may_enrol);
    }
    let mut shell = strong();
    shell.desk(Command::EnrolVoice);
    shell.ok(Do::NoKeys);
    shell.ok(Do::NoKeys);
    assert_eq!(stopped(&shell), Some(Stopped::Declined));
}

#[test]
fn takes_come_to_an_end() {
    let mut shell = strong();
    shell.desk(Command::EnrolVoice);
    shell.keys("1");
    shell.ok(Do::Recorded(Some(Fault::NoSpeech), Outcome::Alike));
    shell.ok(Do::Recorded(Some(Fault::OtherWords), Outcome::Alike));
    shell.ok(Do::Recorded(Some(Fault::SameRecording), Outcome::Alike));
    assert_eq!(stopped(&shell), Some(Stopped::Tries), "two that are left make no three");
}

#[test]
fn assurance_that_is_over_ends_an_enrolment() {
    let mut shell = strong();
    shell.desk(Command::EnrolVoice);
    shell.keys("1");
    shell.ok(good());
    shell.wait(Span::minutes(31));
    shell.ok(good());
    assert_eq!(stopped(&shell), Some(Stopped::NotPermitted));
    let mut shell = strong();
    shell.desk(Command::EnrolVoice);
    shell.keys("1");
    shell.ok(Do::Freeze);
    shell.ok(good());
    assert_eq!(stopped(&shell), Some(Stopped::NotPermitted), "frozen in the middle of it");
}

#[test]
fn nothing_is_compared_without_consent() {
    let mut shell = opened();
    assert_eq!(shell.no_desk(Command::CompareVoice), Rejected::NoVoice);
    let mut shell = enrolled();
    // Its time is over, whether or not somebody came by to take it away.
    shell.profile_mut(Who::Ana).voice.as_mut().unwrap().until = START;
    assert_eq!(shell.no_desk(Command::CompareVoice), Rejected::NoVoice);
    // Nothing is listened to unless the caller was asked to speak.
    let mut shell = enrolled();
    assert_eq!(shell.no(heard(Outcome::Alike)), Rejected::OutOfTurn);
    // Withdrawn in the middle of it.
    shell.desk(Command::CompareVoice);
    shell.profile_mut(Who::Ana).voice = None;
    shell.ok(heard(Outcome::Alike));
    assert_eq!((stopped(&shell), shell.call.voice.last), (Some(Stopped::NotPermitted), None));
}

/// The law: the best score there is opens nothing, changes nothing and shows nothing.
#[test]
fn a_voice_that_is_alike_is_no_proof() {
    let mut shell = enrolled();
    let before = shell.mine();
    shell.desk(Command::CompareVoice);
    assert_eq!(shell.call.stage, Stage::VoiceSaying);
    let done = shell.ok(heard(Outcome::Alike));
    assert!(!done.has(|e| matches!(e, Event::Proved { .. } | Event::LevelChanged { .. })));
    assert_eq!((shell.call.level, shell.call.proofs.len()), (Level::Identified, 0));
    let after = shell.mine();
    assert_eq!((after.voice.word, after.level, after.proofs.len()), (Some(Likeness::Alike), before.level, 0));
    let offers = |v: &countersign_core::view::AgentView| v.actions.iter().map(|a| a.offer).collect::<Vec<_>>();
    assert_eq!(offers(&after), offers(&before));
    assert_eq!(shell.no_desk(Command::EnrolVoice), Rejected::NotStrong, "a voice does not vouch for another");
}

#[test]
fn what_could_not_be_compared_is_never_a_pass() {
    for (outcome, word, points) in [
        (Outcome::Unlike, Likeness::NotAlike, 20), (Outcome::OtherWords, Likeness::NotAlike, 10), (Outcome::KnownRecording, Likeness::NotAlike, 60),
        (Outcome::Synthetic, Likeness::NotAlike, 50), (Outcome::NoSpeech, Likeness::NotCompared, 0), (Outcome::TooShort, Likeness::NotCompared, 0),
        (Outcome::TooNoisy, Likeness::NotCompared, 0), (Outcome::NotCalibrated, Likeness::NotCompared, 0), (Outcome::OtherNetwork, Likeness::NotCompared, 0),
        (Outcome::Failed, Likeness::NotCompared, 0),
    ] {
        let mut shell = enrolled();
        shell.desk(Command::CompareVoice);
        shell.ok(heard(outcome));
        assert_eq!((shell.mine().voice.word, shell.call.risk), (Some(word), points), "{outcome:?}");
        // The caller hears the same whatever came of it.
        assert_eq!(shell.last.say, [Prompt::BackToAgent]);
    }
}

#[test]
fn a_recording_is_not_taken_back_by_a_good_answer() {
    let mut shell = enrolled();
    for outcome in [Outcome::KnownRecording, Outcome::Alike] {
        shell.desk(Command::CompareVoice);
        shell.ok(heard(outcome));
    }
    assert_eq!((shell.call.risk, shell.mine().voice.word), (60, Some(Likeness::Alike)));
    shell.desk(Command::CompareVoice);
    shell.ok(heard(Outcome::Unlike));
    assert_eq!(shell.call.voice.asked, MAX_COMPARISONS);
    assert_eq!(shell.no_desk(Command::CompareVoice), Rejected::NoTriesLeft);
}

#[test]
fn a_line_that_cannot_be_heard_goes_on_as_ever() {
    let mut shell = strong();
    shell.params.voice = None;
    assert_eq!(shell.no_desk(Command::EnrolVoice), Rejected::NoVoice);
    let mut shell = enrolled();
    shell.desk(Command::CompareVoice);
    shell.ok(Do::NoKeys);
    assert_eq!((stopped(&shell), shell.mine().voice.word), (Some(Stopped::NotHeard), Some(Likeness::NotCompared)));
    assert_eq!(shell.call.risk, 0);
    shell.proves(SmsCode);
}

#[test]
fn consent_is_withdrawn_at_the_desk() {
    let mut shell = enrolled();
    assert!(shell.mine().voice.may_remove);
    let done = shell.desk(Command::RemoveVoice);
    assert!(done.effects.iter().any(|e| matches!(e, Effect::Change(c) if matches!(c.change, Change::NoVoice) && c.account == Who::Ana.id())));
    assert_eq!(shell.no_desk(Command::CompareVoice), Rejected::NoVoice);
    assert_eq!(shell.no_desk(Command::RemoveVoice), Rejected::NoVoice);
}
