//! Verbal passwords that a recogniser hears: judged and counted as typed ones, never nearly right, never
//! the only way.

use std::num::ParseIntError;

use countersign_core::{
    action::{Level, Role},
    call::{Closed, Command, Event, Params, Rejected, Stage},
    factor::FactorKind::{Pin, SmsCode, VerbalPassword},
    prompt::{Directive, Prompt},
    speech::{Heard, Hearing, SpeechRecognizer},
};

use crate::{
    shell::{AGENT, Do, Shell},
    world::{VERBAL, Who},
};

pub fn hearing() -> Hearing { Hearing { adapter: "test".into(), floor: 80 } }

/// Ana talks to an agent, on a line that has a recogniser.
fn ana() -> Shell {
    let mut shell = Shell::from(Who::Ana);
    shell.params = Params { hearing: vec![hearing()], ..Params::default() };
    shell.reach_agent().open(Who::Ana);
    shell
}

/// She was asked for her word.
fn asked() -> Shell {
    let mut shell = ana();
    shell.prove(None, &[VerbalPassword]);
    shell
}

/// A recogniser for tests: "95 purple rhinoceros" was heard with 95%.
struct Script;

impl SpeechRecognizer for Script {
    type Answer = str;
    type Error = ParseIntError;

    fn heard(&self, line: &str) -> Result<Option<Heard>, ParseIntError> {
        let Some((confidence, text)) = line.split_once(' ') else { return Ok(None) };
        Ok(Some(Heard { text: text.into(), confidence: confidence.parse()? }))
    }
}

fn line(line: &str) -> Do { Script.heard(line).unwrap().map_or(Do::NoKeys, |heard| Do::Heard(heard.text.expose().into(), heard.confidence)) }

fn heard(text: &str) -> Do { line(&format!("95 {text}")) }

fn left(shell: &Shell) -> Option<u8> { shell.call.challenge.as_ref().map(|c| c.left) }

#[test]
fn a_word_is_said_to_the_machine_and_the_agent_hears_none_of_it() {
    let mut shell = asked();
    assert_eq!((shell.call.stage, shell.call.agent), (Stage::Proving, Some((AGENT, Role::Agent))));
    assert!(matches!(shell.directives().as_slice(), [Directive::Say { prompt: Prompt::SayVerbalPassword, .. }, Directive::Listen { .. }]));
    assert!(shell.mine().challenge.as_ref().is_some_and(|c| c.keyed), "nothing to type at the desk");
    assert_eq!(shell.no_desk(Command::Word(VERBAL.into())), Rejected::NoChallenge);
    let done = shell.ok(heard(" Purple RHINOCEROS."));
    assert!(done.say.contains(&Prompt::BackToAgent));
    assert_eq!((shell.call.level, shell.call.stage), (Level::Authenticated, Stage::Talking));
    assert!(!shell.log.iter().any(|line| line.to_lowercase().contains("rhino")), "nothing of it is kept");
}

#[test]
fn what_is_unsure_is_neither_right_nor_wrong_and_after_some_times_the_agent_asks() {
    let mut shell = asked();
    let before = shell.limits.failures();
    for _ in 0..8 {
        if shell.call.stage != Stage::Proving {
            break;
        }
        // The right word, not heard surely: it is as if nobody had said anything.
        let right = shell.ok(line(&format!("79 {VERBAL}"))).say.clone();
        assert!(right.contains(&Prompt::NotUnderstood) || right.contains(&Prompt::BackToAgent), "{right:?}");
        assert!(!shell.last.has(|e| matches!(e, Event::ChallengeFailed { .. } | Event::Proved { .. })));
    }
    assert_eq!((shell.call.stage, shell.call.last_closed), (Stage::Talking, Some(Closed::CallerLeft)));
    assert_eq!(shell.limits.failures(), before, "nothing was counted");
    shell.prove(None, &[VerbalPassword]);
    assert_eq!((shell.call.stage, shell.mine().challenge.as_ref().map(|c| c.keyed)), (Stage::Talking, Some(false)));
    shell.desk(Command::Word(VERBAL.into()));
    assert_eq!(shell.call.level, Level::Authenticated);
}

#[test]
fn what_sounds_alike_is_wrong_and_counts_with_what_is_typed() {
    let mut shell = asked();
    for (n, word) in ["purple rhinoceroses", "purple rhino", "porpoise rhinoceros"].into_iter().enumerate() {
        let done = shell.ok(heard(word));
        assert!(!done.has(|e| matches!(e, Event::Proved { .. })));
        assert_eq!(left(&shell), (n < 2).then(|| 2 - u8::try_from(n).unwrap()));
    }
    assert_eq!((shell.call.stage, shell.call.last_closed), (Stage::Talking, Some(Closed::Exhausted)));
    // Two more by hand, and the line is shut for right ones too.
    shell.prove(None, &[VerbalPassword]);
    shell.desk(Command::Word("purple hippo".into()));
    shell.desk(Command::Word("purple hippo".into()));
    shell.desk(Command::Word(VERBAL.into()));
    assert!(shell.call.level < Level::Authenticated);
}

#[test]
fn any_key_leads_to_another_way() {
    for key in ["1", "7", "*", "0", "#", "4071"] {
        let mut shell = asked();
        shell.keys(key);
        assert_eq!((shell.call.stage, shell.call.last_closed), (Stage::Talking, Some(Closed::CallerLeft)), "{key}");
        assert!(!shell.last.has(|e| matches!(e, Event::ChallengeFailed { .. })), "{key} is not judged");
    }
}

#[test]
fn words_where_digits_are_asked_are_not_judged() {
    for kind in [Pin, SmsCode] {
        let mut shell = ana();
        shell.prove(None, &[kind]);
        let (right, before) = (shell.right().unwrap(), left(&shell));
        shell.ok(heard(&right));
        assert_eq!((left(&shell), shell.call.level < Level::Authenticated), (before, true), "{kind}");
        shell.answer_rightly();
        assert_eq!(shell.call.level, Level::Authenticated);
    }
}

#[test]
fn words_at_any_other_time_prove_nothing() {
    let mut shell = Shell::from(Who::Ana);
    shell.params.hearing = vec![hearing()];
    for _ in 0..12 {
        shell.ok(heard(VERBAL));
        assert!(shell.call.level < Level::Authenticated || shell.call.proofs.is_empty(), "{:?}", shell.call.stage);
        if shell.call.stage == Stage::Proving && shell.call.challenge.as_ref().is_some_and(|c| c.spoken) {
            return;
        }
        if matches!(shell.call.stage, Stage::Waiting) {
            break;
        }
    }
    shell.reach_agent().open(Who::Ana);
    shell.ok(heard(VERBAL));
    assert_eq!(shell.call.stage, Stage::Talking);
    assert!(shell.call.proofs.is_empty());
}

#[test]
fn a_telephone_without_a_recogniser_is_as_before() {
    for params in [Params::default(), Params { hearing: vec![Hearing { adapter: "another".into(), floor: 80 }], ..Params::default() }] {
        let mut shell = ana();
        shell.params = params;
        shell.prove(None, &[VerbalPassword]);
        assert_eq!(shell.call.stage, Stage::Talking);
        shell.ok(heard(VERBAL));
        assert!(shell.call.proofs.is_empty(), "it is for the agent to hear");
        shell.desk(Command::Word(VERBAL.into()));
        assert_eq!(shell.call.level, Level::Authenticated);
    }
}

#[test]
fn a_chain_goes_on_from_keys_to_words_at_the_machine() {
    let mut shell = ana();
    shell.prove(Some("change:phone"), &[SmsCode, VerbalPassword]);
    let done = shell.answer_rightly();
    assert!(!done.say.contains(&Prompt::BackToAgent));
    assert!(shell.call.challenge.as_ref().is_some_and(|c| c.spoken && c.kind == VerbalPassword));
    shell.answer_rightly();
    assert_eq!((shell.call.level, shell.call.stage), (Level::Strong, Stage::Talking));
}
