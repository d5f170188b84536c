//! Digits after the phrase: a recording of an earlier call says others.

use countersign_core::{
    action::Role,
    call::{Command, Event, Queue, Rejected, Stage},
    factor::FactorKind::{Pin, SmsCode},
    prompt::{Directive, Prompt},
    time::Span,
    voice::{Fault, Likeness, Outcome, ROW_TRIES, ROWS, Row, Stopped},
};

use crate::{
    shell::{AGENT, Do, Shell},
    world::{DURESS, START, Who, voice},
};

fn opened() -> Shell {
    let mut shell = Shell::from(Who::Ana);
    shell.params.voice.as_mut().unwrap().digits = true;
    shell.reach_agent().open(Who::Ana);
    shell
}
fn strong() -> Shell {
    let mut shell = opened();
    shell.proves(SmsCode).proves(Pin);
    shell
}
fn enrolled() -> Shell {
    let mut shell = opened();
    shell.profile_mut(Who::Ana).voice = Some(voice(START));
    shell
}
/// A strong caller who has said the phrase three times.
fn learning() -> Shell {
    let mut shell = strong();
    shell.desk(Command::EnrolVoice);
    shell.keys("1");
    (0..3).for_each(|_| { shell.ok(good()); });
    shell
}
fn good() -> Do { heard(Outcome::Alike) }
fn heard(outcome: Outcome) -> Do { Do::Recorded(None, outcome) }
fn bad(fault: Fault) -> Do { Do::Recorded(Some(fault), Outcome::Alike) }
fn asked(shell: &Shell) -> Option<Row> {
    shell.directives().iter().find_map(|d| match d { Directive::Say { prompt: Prompt::VoiceDigits { row }, .. } => Some(*row), _ => None })
}
fn stopped(shell: &Shell) -> Option<Stopped> {
    shell.last.events.iter().find_map(|e| match e { Event::VoiceStopped { why } => Some(*why), _ => None })
}

#[test]
fn all_ten_digits_are_learnt_three_times_after_the_phrase() {
    let mut shell = learning();
    assert!(shell.last.has(|e| matches!(e, Event::VoiceEnrolled { held: false, .. })), "the voice is on file, whatever comes of the digits");
    let mut said = [0; 10];
    for n in 1..=ROWS {
        assert_eq!(shell.call.stage, Stage::VoiceDigits);
        assert!(matches!(shell.directives().last(), Some(Directive::Record { .. })));
        let row = asked(&shell).unwrap();
        row.digits().iter().for_each(|digit| said[usize::from(*digit)] += 1);
        // What cannot be used is told, and the same row asked for again.
        if n < 3 {
            assert_eq!(shell.ok(bad(Fault::NotApart)).say, [Prompt::VoiceNotApart]);
            assert_eq!(asked(&shell), Some(row));
        }
        shell.ok(good());
    }
    assert_eq!(said, [3; 10]);
    assert!(shell.last.has(|e| matches!(e, Event::DigitsKept { account, held: false } if *account == Who::Ana.id())));
    assert_eq!((&shell.last.say[..], shell.call.stage), (&[Prompt::VoiceKept, Prompt::BackToAgent][..], Stage::Talking));
}

#[test]
fn a_voice_is_on_file_without_its_digits_if_those_come_to_nothing() {
    for way in [Do::Keys("*".into()), Do::NoKeys, bad(Fault::Failed), Do::Freeze] {
        let mut shell = learning();
        let ends = way.clone();
        shell.ok(way);
        if matches!(ends, Do::Freeze) {
            shell.ok(good());
            assert_eq!(stopped(&shell), Some(Stopped::NotPermitted));
        }
        assert_eq!(shell.call.stage, Stage::Talking, "{ends:?}");
        // A frozen account has lost a voice that is so young.
        let told = if matches!(ends, Do::Freeze) { Prompt::VoiceNotNow } else { Prompt::VoiceKept };
        assert_eq!(shell.last.say, [told, Prompt::BackToAgent], "{ends:?}");
        assert!(!shell.last.has(|e| matches!(e, Event::DigitsKept { .. })));
    }
    let mut shell = learning();
    (0..=ROW_TRIES - ROWS).for_each(|_| { shell.ok(bad(Fault::NotApart)); });
    assert_eq!(stopped(&shell), Some(Stopped::Tries), "those that are left do not suffice");
    // Taken back in the middle of it, on the website.
    let mut shell = learning();
    shell.profile_mut(Who::Ana).voice = None;
    shell.ok(good());
    assert_eq!((stopped(&shell), &shell.last.say[..]), (Some(Stopped::NotPermitted), &[Prompt::VoiceNotNow, Prompt::BackToAgent][..]));
    let mut shell = learning();
    shell.wait(Span::minutes(31));
    shell.ok(good());
    assert_eq!(stopped(&shell), Some(Stopped::NotPermitted), "assurance is over");
}

#[test]
fn right_digits_leave_the_word_of_the_phrase_and_others_take_it_away() {
    for (phrase, digits, word, points) in [
        (Outcome::Alike, Outcome::Alike, Likeness::Alike, 0), (Outcome::Alike, Outcome::OtherDigits, Likeness::NotCompared, 0),
        (Outcome::Alike, Outcome::TooNoisy, Likeness::NotCompared, 0), (Outcome::Alike, Outcome::NoSpeech, Likeness::NotCompared, 0),
        (Outcome::Unlike, Outcome::Alike, Likeness::NotAlike, 20), (Outcome::NotCalibrated, Outcome::Alike, Likeness::NotCompared, 0),
        (Outcome::KnownRecording, Outcome::Alike, Likeness::NotAlike, 60), (Outcome::OtherWords, Outcome::OtherDigits, Likeness::NotAlike, 10),
    ] {
        let mut shell = enrolled();
        let level = shell.call.level;
        shell.desk(Command::CompareVoice);
        shell.ok(heard(phrase));
        // Asked whatever came of the phrase. A good word waits for the digits, any other counts at once.
        let meanwhile = Some(phrase.likeness()).filter(|word| *word != Likeness::Alike);
        assert_eq!((shell.call.stage, &shell.last.say[..]), (Stage::VoiceDigits, &[Prompt::VoiceDigitsToo][..]), "{phrase:?}");
        assert_eq!((shell.mine().voice.word, shell.call.risk), (meanwhile, points));
        shell.ok(heard(digits));
        if digits != Outcome::Alike {
            // Others, once; what was said the first time is not told either.
            assert_eq!((shell.call.stage, &shell.last.say[..], shell.mine().voice.word), (Stage::VoiceDigits, &[Prompt::VoiceOnceMore][..], meanwhile));
            shell.ok(heard(digits));
        }
        assert_eq!((shell.mine().voice.word, shell.call.risk), (Some(word), points), "{phrase:?}, {digits:?}");
        assert_eq!((shell.call.level, shell.call.proofs.len(), &shell.last.say[..]), (level, 0, &[Prompt::BackToAgent][..]));
    }
}

#[test]
fn whoever_is_not_understood_is_asked_for_other_digits_once() {
    let mut shell = enrolled();
    shell.desk(Command::CompareVoice);
    shell.ok(good());
    let first = asked(&shell).unwrap();
    shell.ok(heard(Outcome::OtherDigits));
    assert_ne!(asked(&shell), Some(first));
    shell.ok(good());
    assert_eq!((shell.mine().voice.word, shell.call.voice.asked), (Some(Likeness::Alike), 1));
    // Nobody could listen: nothing is gained by asking again.
    shell.desk(Command::CompareVoice);
    shell.ok(good());
    shell.ok(heard(Outcome::Failed));
    assert_eq!((shell.mine().voice.word, shell.call.stage), (Some(Likeness::NotCompared), Stage::Talking));
}

/// A key in time does not undo that a voice was not alike, and makes nothing of one that was.
#[test]
fn leaving_before_the_digits_makes_nothing_better() {
    for (phrase, word, points) in [(Outcome::Alike, Likeness::NotCompared, 0), (Outcome::Unlike, Likeness::NotAlike, 20), (Outcome::Synthetic, Likeness::NotAlike, 50)] {
        for leave in [Do::Keys("*".into()), Do::NoKeys] {
            let mut shell = enrolled();
            shell.desk(Command::CompareVoice);
            shell.ok(heard(phrase));
            shell.ok(leave);
            assert_eq!((shell.mine().voice.word, shell.call.risk, shell.call.stage), (Some(word), points, Stage::Talking), "{phrase:?}");
        }
    }
}

/// Nobody gets rid of a voice that was not alike by being compared once more and leaving, by saying
/// nothing, or while that comparison is going on. Nor with no digits to be asked for at all.
#[test]
fn what_was_not_alike_stays_so_until_a_comparison_is_wholly_alike() {
    let leave = [
        Do::Keys("*".into()), Do::NoKeys, heard(Outcome::OtherDigits), heard(Outcome::NoSpeech), Do::Desk(AGENT, Role::Agent, Command::CancelChallenge),
    ];
    for leave in leave {
        let mut shell = enrolled();
        shell.desk(Command::CompareVoice);
        shell.ok(heard(Outcome::Unlike));
        shell.ok(good());
        assert_eq!((shell.mine().voice.word, shell.call.risk), (Some(Likeness::NotAlike), 20));
        shell.desk(Command::CompareVoice);
        shell.ok(good());
        // In the middle of it.
        assert_eq!((shell.mine().voice.word, shell.call.risk), (Some(Likeness::NotAlike), 20));
        shell.ok(leave.clone());
        if shell.call.stage == Stage::VoiceDigits {
            assert_eq!(shell.call.risk, 20);
            shell.ok(leave.clone());
        }
        assert_eq!((shell.mine().voice.word, shell.call.risk, shell.call.stage), (Some(Likeness::NotAlike), 20, Stage::Talking), "{leave:?}");
        // Wholly alike.
        shell.desk(Command::CompareVoice);
        shell.ok(good());
        shell.ok(good());
        assert_eq!((shell.mine().voice.word, shell.call.risk), (Some(Likeness::Alike), 0));
    }
    let mut shell = enrolled();
    shell.params.voice.as_mut().unwrap().digits = false;
    for (outcome, word) in [(Outcome::Unlike, Likeness::NotAlike), (Outcome::NoSpeech, Likeness::NotAlike), (Outcome::Alike, Likeness::Alike)] {
        shell.desk(Command::CompareVoice);
        shell.ok(heard(outcome));
        assert_eq!(shell.mine().voice.word, Some(word));
    }
}

/// Whoever hangs up, or is handed on, between phrase and digits leaves the score that they have earned.
#[test]
fn hanging_up_before_the_digits_does_not_lower_the_score() {
    for end in [Do::HungUp, Do::Desk(AGENT, Role::Agent, Command::End), Do::Desk(AGENT, Role::Agent, Command::HandOver { queue: Queue::Specialists })] {
        let mut shell = enrolled();
        shell.desk(Command::CompareVoice);
        shell.ok(heard(Outcome::Synthetic));
        let _ = shell.put(end);
        assert_eq!(shell.call.risk, 50);
    }
}

/// Under duress it looks as ever, to the end.
#[test]
fn under_duress_digits_only_look_learnt() {
    let said = |held: bool| {
        let mut shell = opened();
        shell.proves(SmsCode);
        shell.prove(None, &[Pin]);
        shell.keys(if held { DURESS } else { "4071" });
        shell.desk(Command::EnrolVoice);
        shell.keys("1");
        let mut said = Vec::new();
        for answer in [good(), good(), good(), good(), bad(Fault::OtherWords), good(), good(), good(), good(), good()] {
            said.push((shell.ok(answer).say.clone(), shell.call.stage));
        }
        assert_eq!(shell.last.has(|e| matches!(e, Event::DigitsKept { held: true, .. })), held);
        assert_eq!(shell.profile(Who::Ana.id()).unwrap().voice.is_none(), held);
        said
    };
    assert_eq!(said(true), said(false));
}

#[test]
fn rows_are_drawn_anew_and_no_digit_is_there_twice() {
    let mut rows = Vec::new();
    let mut shell = enrolled();
    for _ in 0..3 {
        shell.desk(Command::CompareVoice);
        shell.ok(good());
        let row = asked(&shell).unwrap();
        let mut digits = *row.digits();
        digits.sort_unstable();
        assert!(digits.windows(2).all(|pair| pair[0] < pair[1]) && digits[4] < 10);
        rows.push(row);
        shell.ok(good());
    }
    assert!(rows[0] != rows[1] && rows[1] != rows[2] && rows[0] != rows[2]);
    assert_eq!(shell.no_desk(Command::CompareVoice), Rejected::NoTriesLeft);
    for wrong in ["1234", "123456", "12a45", "", "１２３４５"] {
        assert!(Row::try_from(String::from(wrong)).is_err(), "{wrong}");
    }
    assert_eq!(Row::try_from(String::from("90210")).map(String::from), Ok("90210".into()));
}
