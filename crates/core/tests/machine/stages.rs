//! The caller alone with the machine: every stage, the end from each of them, time, risk.

use countersign_core::{
    action::{Level, Role},
    call::{Command, Ending, Event, Queue, Rejected, Stage},
    claim::ClaimKind,
    factor::FactorKind::*,
    message::{Body, Delivery},
    prompt::{Directive, Lang, Music, Prompt},
    risk::Verstat,
    time::Span,
};

use crate::{
    shell::{AGENT, Do, OTHER, Shell},
    world::{self, Who},
};

/// A call in every stage in which one can be.
fn everywhere() -> Vec<(Stage, Shell)> {
    let unknown = |keys: &[&str]| {
        let mut shell = Shell::ring(None);
        keys.iter().for_each(|k| { shell.keys(k); });
        shell
    };
    let mut proving = Shell::from(Who::Ana);
    proving.keys("1");
    let mut talking = Shell::from(Who::Ana);
    talking.reach_agent();
    let mut reserved = Shell::from(Who::Ana);
    reserved.reach_agent().open(Who::Ana).prove(None, &[SmsCode, Pin]);
    let mut said = Shell::from(Who::Ana);
    said.reach_agent().open(Who::Ana).prove(None, &[VerbalPassword]);
    vec![
        (Stage::Language, unknown(&[])),
        (Stage::Recognised, Shell::from(Who::Ana)),
        (Stage::Menu, unknown(&["1"])),
        (Stage::KeyingAccountNumber, unknown(&["1", "2"])),
        (Stage::KeyingPostalCode, unknown(&["1", "2", "123"])),
        (Stage::KeyingServiceCode, unknown(&["1", "1"])),
        (Stage::Proving, proving),
        (Stage::Music, unknown(&["1", "0"])),
        (Stage::Waiting, unknown(&["1", "0", "2"])),
        (Stage::Talking, talking),
        (Stage::Proving, reserved),
        (Stage::Talking, said),
    ]
}

#[test]
fn a_hang_up_ends_every_stage_and_ends_it_once() {
    for (stage, mut shell) in everywhere() {
        assert_eq!(shell.call.stage, stage);
        let done = shell.ok(Do::HungUp);
        assert!(done.has(|e| *e == Event::Ended { ending: Ending::Caller }));
        assert!(shell.ok(Do::HungUp).events.is_empty(), "hanging up twice is hanging up");
        for what in [Do::Keys("1".into()), Do::NoKeys, Do::Tick, Do::Freeze, Do::Desk(AGENT, Role::Agent, Command::Accept), Do::Desk(AGENT, Role::Agent, Command::End)] {
            assert_eq!(shell.no(what), Rejected::Ended);
        }
        assert_eq!(shell.no(Do::Ring { number: None, verstat: Verstat::None, denied: false }), Rejected::Begun);
        shell.ok(Do::Delivered(countersign_core::id::MessageId([1; 16]), Delivery::Delivered));
        shell.restart();
        assert_eq!(shell.directives(), [Directive::HangUp]);
    }
}

#[test]
fn every_stage_survives_a_restart_and_hostile_keys() {
    for (stage, mut shell) in everywhere() {
        let long = "9".repeat(10_000);
        for keys in ["", "#", "##", "\0", "\u{202e}١٢٣", "💥", "1 OR 1=1", "+1", "-1", "*#", "99999999999999999999999", &long] {
            shell.restart();
            let before = shell.directives();
            assert_eq!(before, shell.directives());
            shell.put(Do::Keys(keys.into())).ok();
        }
        assert!(shell.call.ended.is_none(), "{stage:?}");
    }
}

#[test]
fn nothing_happens_to_a_call_that_has_not_begun() {
    let message = countersign_core::id::MessageId([1; 16]);
    for what in [Do::Keys("1".into()), Do::NoKeys, Do::HungUp, Do::Tick, Do::Freeze, Do::Delivered(message, Delivery::Failed), Do::Desk(AGENT, Role::Agent, Command::Accept)] {
        let mut shell = Shell::new();
        let shown = format!("{what:?}");
        assert!(shell.put(what).is_err(), "{shown}");
        assert!(shell.log.is_empty());
    }
}

/// Left alone, every call comes to an end by itself, unless a person is on it.
#[test]
fn nobody_is_kept_for_ever() {
    for (stage, mut shell) in everywhere() {
        let mut woken = 0;
        while let Some(at) = shell.call.deadline(&shell.params) {
            assert!(at > shell.now, "{stage:?} would wake at once");
            shell.tick_at_deadline();
            woken += 1;
            assert!(woken < 10, "{stage:?}");
        }
        let person = shell.call.agent.is_some();
        assert_eq!(shell.call.ended.is_none(), person, "{stage:?}");
        if shell.call.ended.is_none() {
            assert_eq!(shell.call.stage, Stage::Talking);
        }
    }
}

/// Nobody listens: however many reports on silence come, the caller moves on to people.
#[test]
fn silence_leads_to_people() {
    for (stage, mut shell) in everywhere() {
        for _ in 0..20 {
            shell.ok(Do::NoKeys);
        }
        assert!(matches!(shell.call.stage, Stage::Waiting | Stage::Talking), "{stage:?} → {:?}", shell.call.stage);
    }
}

#[test]
fn a_tick_before_the_time_does_nothing() {
    for (_, mut shell) in everywhere() {
        let n = shell.call.n;
        shell.ok(Do::Tick);
        assert_eq!(shell.call.n, n);
    }
}

/// The clock comes late, after a restart: a caller who is long gone is not sent another code.
#[test]
fn a_late_tick_ends_a_silent_call_instead_of_sending_more_codes() {
    let mut shell = Shell::from(Who::Ana);
    shell.keys("1");
    let sent = shell.codes_sent();
    shell.wait(Span::hours(1));
    shell.ok(Do::Tick);
    assert_eq!((shell.call.stage, shell.codes_sent()), (Stage::Ended, sent));
}

/// The agent waits for the caller's proof: the caller is not cut off over the agent's head.
#[test]
fn a_caller_who_is_slow_for_an_agent_is_not_hung_up_on() {
    let mut shell = Shell::from(Who::Ana);
    shell.reach_agent().open(Who::Ana).prove(None, &[SmsCode]);
    shell.wait(Span::minutes(4));
    shell.ok(Do::Tick);
    assert_eq!(shell.call.stage, Stage::Proving);
    shell.wait(Span::hours(1));
    shell.ok(Do::Tick);
    assert_eq!(shell.call.stage, Stage::Talking);
}

#[test]
fn nobody_free_in_time_is_said_and_recorded() {
    let mut shell = Shell::ring(None);
    for key in ["1", "0", "4"] {
        shell.keys(key);
    }
    assert_eq!(shell.directives(), [Directive::Hold { music: Music::Silence }]);
    let done = shell.tick_at_deadline();
    assert_eq!(done.say, [Prompt::NobodyFree]);
    assert!(done.has(|e| *e == Event::Ended { ending: Ending::NobodyFree }));
}

#[test]
fn the_caller_picks_the_music_and_may_change_it_while_waiting() {
    for (key, music) in [("1", Music::Calm), ("2", Music::Lively), ("3", Music::Classical), ("4", Music::Silence), ("9", Music::Calm), ("*", Music::Calm)] {
        let mut shell = Shell::ring(None);
        shell.keys("1");
        shell.keys("0");
        assert!(shell.directives().contains(&Directive::Say { prompt: Prompt::ChooseMusic, lang: Lang::En }));
        shell.keys(key);
        assert_eq!((shell.call.music, shell.directives()), (Some(music), vec![Directive::Hold { music }]));
        shell.keys("2");
        assert_eq!(shell.directives(), [Directive::Hold { music: Music::Lively }]);
        assert!(shell.keys("7").events.is_empty());
        // Asked once: after a hand-over the choice is kept.
        shell.ok(Do::Desk(AGENT, Role::Agent, Command::Accept));
        shell.desk(Command::HandOver { queue: Queue::Agents });
        assert_eq!(shell.directives(), [Directive::Hold { music: Music::Lively }]);
        shell.ok(Do::Desk(OTHER, Role::Agent, Command::Accept));
    }
}

#[test]
fn the_upcoming_thing_is_offered_to_a_recognised_number_and_nothing_else() {
    let mut shell = Shell::from(Who::Ana);
    let upcoming = Some(world::START + Span::days(2));
    assert!(shell.directives().contains(&Directive::Say { prompt: Prompt::Recognised { upcoming }, lang: Lang::En }));
    assert!(shell.keys("1").has(|e| *e == Event::IntentConfirmed));
    let mut shell = Shell::from(Who::Liam);
    shell.keys("1");
    assert_eq!(shell.call.stage, Stage::Proving, "nothing upcoming: no question");
    let mut frozen = Shell::from(Who::Omar);
    frozen.keys("1");
    assert_ne!(frozen.call.stage, Stage::Recognised);
}

#[test]
fn keys_in_the_first_menus() {
    for (keys, stage) in [
        (&["2", "*"][..], Stage::Language), (&["8"], Stage::Menu), (&["1", "7"], Stage::Menu), (&["1", "7", "7"], Stage::Music),
        (&["1", "2", "0"], Stage::Music), (&["1", "2", "*"], Stage::Music), (&["1", "1", "0"], Stage::Music),
        (&["1", "2", "123", "0"], Stage::Music),
    ] {
        let mut shell = Shell::ring(None);
        keys.iter().for_each(|k| { shell.keys(k); });
        assert_eq!(shell.call.stage, stage, "{keys:?}");
    }
    let mut shell = Shell::ring(None);
    shell.keys("3");
    assert_eq!(shell.call.lang, Some(Lang::De));
}

#[test]
fn an_authenticated_caller_is_not_asked_again() {
    let mut shell = Shell::from(Who::Ana);
    shell.keys("1");
    shell.answer_rightly();
    assert_eq!((shell.call.level, shell.call.stage), (Level::Authenticated, Stage::Music));
}

// ── Risk ─────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_number_on_the_deny_list_is_ended_before_anybody_answers() {
    let mut shell = Shell::new();
    let done = shell.ok(Do::Ring { number: Some(Who::Ana.phone()), verstat: Verstat::Failed, denied: true });
    assert_eq!(done.say, [Prompt::CannotHelp]);
    assert!(done.has(|e| matches!(e, Event::RiskScored { .. })) && done.has(|e| *e == Event::Ended { ending: Ending::Risk }));
}

#[test]
fn a_bad_signature_goes_to_a_specialist_with_the_reasons() {
    let mut shell = Shell::new();
    shell.ok(Do::Ring { number: Some(Who::Dina.phone()), verstat: Verstat::Failed, denied: false });
    for key in ["1", "0"] {
        shell.keys(key);
    }
    let done = shell.keys("1");
    assert!(done.has(|e| *e == Event::Queued { queue: Queue::Specialists, because: vec!["attestation_failed".into()] }));
    assert_eq!(done.say, [Prompt::WaitingSpecialist]);
}

/// The third wrong entry makes it too risky: nothing more is asked for and no code goes out.
#[test]
fn a_call_that_ends_for_risk_sends_no_code_first() {
    let mut shell = Shell::new();
    shell.ok(Do::Ring { number: Some(Who::Ana.phone()), verstat: Verstat::Failed, denied: false });
    shell.keys("1");
    for _ in 0..2 {
        shell.keys("00");
    }
    let done = shell.keys("00");
    assert!(done.has(|e| *e == Event::Ended { ending: Ending::Risk }));
    assert_eq!(done.say, [Prompt::CannotHelp]);
    assert!(!done.effects.iter().any(|e| matches!(e, countersign_core::call::Effect::Send(m) if matches!(m.body, Body::Code { .. }))));
    assert!(done.guards.iter().all(|g| !matches!(g.deny, countersign_core::call::Deny::Send(_))), "and none is counted");
}

/// A person decides once a person is there: an open challenge of theirs is not cut off.
#[test]
fn risk_does_not_end_a_call_that_an_agent_has() {
    let mut shell = Shell::new();
    shell.ok(Do::Ring { number: Some(Who::Ana.phone()), verstat: Verstat::Failed, denied: false });
    shell.reach_agent();
    let desk = |command| Do::Desk(AGENT, Role::Specialist, command);
    for (kind, value) in [(ClaimKind::AccountNumber, Who::Ana.number()), (ClaimKind::Name, Who::Ana.name())] {
        shell.ok(desk(Command::Claim { kind, value: value.into() }));
    }
    shell.ok(desk(Command::Prove { action: None, factors: vec![SmsCode, Pin] }));
    for _ in 0..3 {
        shell.keys("000000");
    }
    assert!(shell.call.risk >= 90);
    assert_eq!(shell.call.stage, Stage::Talking);
    shell.ok(desk(Command::Prove { action: None, factors: vec![Pin] }));
    shell.ok(Do::Delivered(countersign_core::id::MessageId([7; 16]), Delivery::Sent));
    assert_eq!((shell.call.stage, shell.call.ended), (Stage::Proving, None));
    // Nor by handing it to whoever is there for risky calls.
    let done = shell.ok(desk(Command::HandOver { queue: Queue::Specialists }));
    assert_eq!(done.say, [Prompt::WaitingSpecialist]);
    shell.keys("2");
    assert_eq!((shell.call.stage, shell.call.ended), (Stage::Waiting, None));
}
