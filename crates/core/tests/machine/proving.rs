//! Challenges: chains, wrong and late entries, ways out, delivery, duress.

use countersign_core::{
    action::{Level, Role},
    call::{Alert, Closed, Command, Effect, Event, LevelCause, Rejected, Stage},
    claim::ClaimKind,
    factor::FactorKind::{self, *},
    message::{Change, Delivery},
    prompt::Prompt,
    time::Span,
};

use crate::{
    shell::{AGENT, Do, LEAD, Shell},
    world::{DURESS, Who},
};

/// Ana has said who she is to an agent and proved nothing.
fn ana() -> Shell {
    let mut shell = Shell::from(Who::Ana);
    shell.reach_agent().open(Who::Ana);
    shell
}

fn proving(who: Who) -> Shell {
    let mut shell = Shell::from(who);
    shell.keys("1");
    assert_eq!(shell.call.stage, Stage::Proving);
    shell
}

#[test]
fn a_chain_in_mid_call_comes_back_to_the_agent() {
    let mut shell = ana();
    let done = shell.prove(Some("change:phone"), &[SmsCode, Pin]);
    assert!(done.say.iter().any(|p| matches!(p, Prompt::StepUp { .. })));
    assert_eq!((shell.call.stage, shell.call.agent), (Stage::Proving, Some((AGENT, Role::Agent))));
    shell.answer_rightly();
    assert_eq!((shell.call.level, shell.call.challenge.as_ref().map(|c| c.kind)), (Level::Authenticated, Some(Pin)));
    let done = shell.answer_rightly();
    assert!(done.say.contains(&Prompt::BackToAgent));
    assert_eq!((shell.call.level, shell.call.stage), (Level::Strong, Stage::Talking));
    assert_eq!(shell.call.agent, Some((AGENT, Role::Agent)));
}

/// A word is said to the agent, so the caller must hear the agent.
#[test]
fn a_chain_from_keys_to_a_word_puts_the_caller_back_first() {
    let mut shell = ana();
    shell.prove(Some("change:phone"), &[SmsCode, VerbalPassword]);
    let done = shell.answer_rightly();
    assert!(done.say.contains(&Prompt::BackToAgent));
    assert_eq!((shell.call.stage, shell.call.challenge.as_ref().map(|c| c.kind)), (Stage::Talking, Some(VerbalPassword)));
    shell.desk(Command::Word("purple rhino".into()));
    assert_eq!(shell.call.challenge.as_ref().map(|c| c.left), Some(2));
    shell.answer_rightly();
    assert_eq!((shell.call.level, shell.call.stage), (Level::Strong, Stage::Talking));
}

#[test]
fn a_chain_from_a_word_to_keys_tells_the_caller_why() {
    let mut shell = ana();
    shell.prove(Some("change:phone"), &[VerbalPassword, SmsCode]);
    assert_eq!(shell.call.stage, Stage::Talking);
    let done = shell.answer_rightly();
    assert!(done.say.iter().any(|p| matches!(p, Prompt::StepUp { .. })));
    assert_eq!(shell.call.stage, Stage::Proving);
}

/// The second factor of a chain is gone by the time its turn comes: nobody hangs in between.
#[test]
fn a_chain_whose_next_factor_is_gone_ends_at_the_agent() {
    let mut shell = ana();
    shell.prove(None, &[SmsCode, Pin]);
    shell.profile_mut(Who::Ana).authenticators.clear();
    shell.answer_rightly();
    assert_eq!((shell.call.stage, shell.call.level), (Stage::Talking, Level::Authenticated));
}

#[test]
fn keys_are_not_heard_as_a_word() {
    let mut shell = ana();
    shell.prove(None, &[VerbalPassword]);
    assert!(shell.keys("1234").events.is_empty());
    assert_eq!(shell.call.challenge.as_ref().map(|c| c.left), Some(3));
}

#[test]
fn wrong_entries_use_the_challenge_up_and_the_next_factor_is_asked() {
    let mut shell = proving(Who::Ana);
    assert_eq!(shell.call.challenge.as_ref().map(|c| c.kind), Some(SmsCode));
    for left in [2, 1] {
        let done = shell.keys("000000");
        assert_eq!(done.say, [Prompt::TryAgain]);
        assert_eq!(shell.call.challenge.as_ref().map(|c| c.left), Some(left));
    }
    let done = shell.keys("000000");
    assert!(done.has(|e| matches!(e, Event::ChallengeClosed { why: Closed::Exhausted, .. })));
    assert_eq!(shell.call.challenge.as_ref().map(|c| c.kind), Some(VoiceCode));
    assert_eq!((shell.call.level, shell.call.failures), (Level::Identified, 3));
}

#[test]
fn an_old_code_is_worth_nothing_for_a_new_challenge() {
    let mut shell = ana();
    shell.prove(None, &[SmsCode]);
    let old = shell.right().unwrap();
    shell.desk(Command::CancelChallenge);
    shell.prove(None, &[SmsCode]);
    shell.keys(&old);
    assert_eq!((shell.call.level, shell.call.failures), (Level::Identified, 1));
}

#[test]
fn a_right_code_after_its_time_proves_nothing() {
    let mut shell = ana();
    shell.prove(None, &[SmsCode]);
    let right = shell.right().unwrap();
    shell.wait(Span::minutes(5));
    let done = shell.keys(&right);
    assert!(done.has(|e| matches!(e, Event::ChallengeClosed { why: Closed::Expired, .. })));
    assert_eq!((shell.call.level, shell.call.stage), (Level::Identified, Stage::Talking));
    assert_eq!(shell.mine().last_closed, Some(Closed::Expired));
}

#[test]
fn the_clock_closes_an_open_challenge() {
    let mut shell = ana();
    shell.prove(None, &[SmsCode]);
    let done = shell.tick_at_deadline();
    assert!(done.has(|e| matches!(e, Event::ChallengeClosed { why: Closed::Expired, .. })));
    assert_eq!(shell.call.stage, Stage::Talking, "an agent is there: the call does not end");
}

#[test]
fn star_asks_for_another_way_and_zero_for_an_agent() {
    let mut shell = proving(Who::Ana);
    shell.keys("*");
    assert_eq!(shell.call.challenge.as_ref().map(|c| c.kind), Some(VoiceCode));
    shell.keys("*");
    assert_eq!(shell.call.challenge.as_ref().map(|c| c.kind), Some(Pin));
    shell.keys("*");
    assert_eq!(shell.call.stage, Stage::KeyingServiceCode);
    shell.keys("*");
    assert_eq!(shell.call.stage, Stage::Music);
    let mut shell = proving(Who::Ana);
    shell.keys("0");
    assert_eq!((shell.call.stage, shell.call.challenge.is_none()), (Stage::Music, true));
    // With an agent waiting, both lead back to them.
    for key in ["*", "0"] {
        let mut shell = ana();
        shell.prove(None, &[Pin, SmsCode]);
        let done = shell.keys(key);
        assert!(done.has(|e| matches!(e, Event::ChallengeClosed { why: Closed::CallerLeft, .. })));
        assert_eq!((shell.call.stage, shell.call.agent.is_some(), shell.call.failures), (Stage::Talking, true, 0));
    }
}

#[test]
fn silence_in_front_of_a_proof_moves_on() {
    let mut shell = proving(Who::Ana);
    shell.ok(Do::NoKeys);
    assert_eq!(shell.call.challenge.as_ref().map(|c| c.kind), Some(SmsCode));
    // A report from the provider is no sign of life from the caller.
    let message = shell.call.challenge.as_ref().and_then(|c| c.message).unwrap();
    shell.ok(Do::Delivered(message, Delivery::Sent));
    shell.keys("#");
    assert_eq!(shell.call.challenge.as_ref().map(|c| c.kind), Some(VoiceCode));
}

#[test]
fn what_cannot_be_delivered_is_not_waited_for() {
    let mut shell = proving(Who::Ana);
    let message = shell.call.challenge.as_ref().and_then(|c| c.message).unwrap();
    shell.ok(Do::Delivered(message, Delivery::Sent));
    assert_eq!(shell.call.stage, Stage::Proving);
    let done = shell.ok(Do::Delivered(message, Delivery::Failed));
    assert!(done.has(|e| matches!(e, Event::ChallengeClosed { why: Closed::NotDelivered, .. })));
    assert_eq!(shell.call.challenge.as_ref().map(|c| c.kind), Some(VoiceCode));
    // The same report again is about a challenge that is gone.
    shell.ok(Do::Delivered(message, Delivery::Failed));
    assert_eq!(shell.call.challenge.as_ref().map(|c| c.kind), Some(VoiceCode));
    let mut shell = ana();
    shell.prove(None, &[SmsCode]);
    let message = shell.call.challenge.as_ref().and_then(|c| c.message).unwrap();
    shell.ok(Do::Delivered(message, Delivery::Failed));
    assert_eq!((shell.call.stage, shell.mine().last_closed), (Stage::Talking, Some(Closed::NotDelivered)));
}

#[test]
fn the_customers_own_app_comes_first_and_cannot_be_replaced_by_a_text() {
    let mut shell = Shell::from(Who::Liam);
    shell.keys("1");
    assert_eq!(shell.call.challenge.as_ref().map(|c| c.kind), Some(Totp));
    shell.keys("*");
    assert_eq!(shell.call.challenge.as_ref().map(|c| c.kind), Some(Pin), "never the text");
    shell.reach_agent();
    assert_eq!(shell.no_desk(Command::Prove { action: None, factors: vec![SmsCode] }), Rejected::NoFactor);
    assert_eq!(shell.codes_sent(), 0);
}

#[test]
fn a_number_that_cools_off_gets_no_code() {
    let mut shell = Shell::from(Who::Omar);
    shell.keys("1");
    let code = shell.sent.last().unwrap();
    assert_eq!(code.to.contact, countersign_core::id::ContactId([6 * 16 + 9; 16]), "the old mobile");
}

#[test]
fn only_one_challenge_at_a_time() {
    let mut shell = ana();
    shell.prove(None, &[SmsCode]);
    assert_eq!(shell.no_desk(Command::Prove { action: None, factors: vec![Pin] }), Rejected::Challenge);
    assert_eq!(shell.no_desk(Command::Word("purple rhinoceros".into())), Rejected::NoChallenge);
    assert_eq!(shell.no_desk(Command::Prove { action: None, factors: vec![] }), Rejected::Challenge);
    shell.desk(Command::CancelChallenge);
    assert_eq!(shell.no_desk(Command::CancelChallenge), Rejected::NoChallenge);
    assert_eq!(shell.no_desk(Command::Prove { action: None, factors: vec![] }), Rejected::NoFactor);
    assert_eq!(shell.no_desk(Command::Prove { action: None, factors: vec![Totp] }), Rejected::NoFactor);
}

#[test]
fn assurance_ends_with_its_time_even_if_nobody_woke_the_call() {
    let mut shell = ana();
    shell.proves(SmsCode);
    shell.desk(Command::Reveal { field: countersign_core::action::Field::Name, reason: None });
    assert!(shell.mine().fields.iter().any(|f| f.values.iter().any(|v| v == Who::Ana.name())));
    shell.wait(Span::minutes(30));
    // The clock has not come by yet: neither the screen nor the machine waits for it.
    assert!(shell.mine().fields.iter().all(|f| f.values.is_empty()), "stale assurance shows nothing");
    assert_eq!(shell.mine().level, Level::Identified);
    let done = shell.desk(Command::Perform { change: Change::CancelOrder, reason: None });
    assert!(!done.has(|e| matches!(e, Event::Performed { .. })));
    assert!(done.has(|e| matches!(e, Event::LevelChanged { cause: LevelCause::Expiry, .. })));
    assert_eq!(shell.call.level, Level::Identified);
}

#[test]
fn proofs_survive_a_handover_and_what_was_looked_at_does_not() {
    let mut shell = ana();
    shell.proves(SmsCode);
    shell.desk(Command::Reveal { field: countersign_core::action::Field::Name, reason: None });
    shell.prove(None, &[Pin]);
    let done = shell.desk(Command::HandOver { queue: countersign_core::call::Queue::Specialists });
    assert!(done.has(|e| matches!(e, Event::ChallengeClosed { why: Closed::CallMoved, .. })));
    assert!(shell.call.revealed.is_empty() && shell.call.agent.is_none());
    assert_eq!(shell.no(Do::Desk(AGENT, Role::Agent, Command::Accept)), Rejected::Role);
    shell.ok(Do::Desk(LEAD, Role::Specialist, Command::Accept));
    assert_eq!((shell.call.level, shell.mine().claims.len() >= 2), (Level::Authenticated, true));
    assert!(shell.mine().fields.iter().all(|f| !f.revealed));
}

#[test]
fn handing_over_says_who_comes_next() {
    use countersign_core::call::Queue;
    for (queue, prompt) in [(Queue::Agents, Prompt::Waiting), (Queue::Specialists, Prompt::WaitingSpecialist)] {
        assert_eq!(ana().desk(Command::HandOver { queue }).say, [prompt]);
    }
}

// ── Duress ───────────────────────────────────────────────────────────────────────────────────

/// The screen of the agent, as text, without the message ids that differ anyway.
fn screen(shell: &Shell) -> serde_json::Value { serde_json::to_value(shell.mine()).unwrap() }

#[test]
fn under_duress_the_agent_sees_what_policy_shows_and_the_lead_is_told() {
    let run = |pin: &str| {
        let mut shell = ana();
        shell.proves(SmsCode);
        shell.prove(Some("change:phone"), &[Pin]);
        let alerted = shell.keys(pin).alerted(Alert::Duress);
        (shell, alerted)
    };
    let ((mut calm, no), (mut forced, yes)) = (run("4071"), run(DURESS));
    assert_eq!((no, yes), (false, true));
    assert!(forced.view(LEAD, Role::Lead).duress && !calm.view(LEAD, Role::Lead).duress);
    let same = |calm: &Shell, forced: &Shell| {
        let (calm, forced) = (screen(calm), screen(forced));
        for (key, value) in calm.as_object().unwrap() {
            if key != "fields" {
                assert_eq!(value, &forced[key], "{key} differs");
            }
        }
    };
    same(&calm, &forced);
    let change = || Command::Perform { change: Change::Phone("+12025550100".into()), reason: None };
    let performed = |shell: &mut Shell| {
        let done = shell.desk(change());
        (done.has(|e| matches!(e, Event::Performed { .. })), done.effects.iter().any(|e| matches!(e, Effect::Change(_))))
    };
    assert_eq!(performed(&mut calm), (true, true));
    assert_eq!(performed(&mut forced), (true, false), "accepted, and held");
    same(&calm, &forced);
}

/// Whatever would not have been possible without duress does not look possible with it.
#[test]
fn under_duress_nothing_looks_easier_than_it_was() {
    let mut shell = ana();
    shell.prove(None, &[Pin]);
    shell.keys(DURESS);
    let mut calm = ana();
    calm.proves(Pin);
    assert_eq!(screen(&calm)["actions"], screen(&shell)["actions"]);
    let done = shell.desk(Command::Perform { change: Change::Phone("+12025550100".into()), reason: None });
    assert!(!done.has(|e| matches!(e, Event::Performed { .. })), "needs one more proof, as it always did");
}

#[test]
fn the_story_for_everybody_does_not_give_duress_away() {
    use countersign_core::{call::Event as E, story::{Reader, sentence}};
    let tell = |pin: &str| {
        let mut shell = ana();
        shell.proves(SmsCode);
        shell.prove(Some("change:phone"), &[Pin]);
        shell.keys(pin);
        let mut events = shell.desk(Command::Request { action: "change:phone".parse().unwrap() }).events.clone();
        events.extend(shell.desk(Command::Perform { change: Change::Phone("+12025550100".into()), reason: None }).events.clone());
        events.iter().filter(|e| matches!(e, E::Decided { .. })).map(|e| sentence(e, Reader::Anyone)).collect::<Vec<_>>()
    };
    assert_eq!(tell("4071"), tell(DURESS));
}

#[test]
fn a_proof_of_another_kind_on_the_same_account_does_not_answer_the_challenge() {
    let mut shell = ana();
    shell.prove(None, &[Pin]);
    shell.keys("purple rhinoceros");
    assert_eq!(shell.call.level, Level::Identified);
    shell.claim(ClaimKind::Email, Who::Ana.email());
    assert_eq!(shell.call.challenge.as_ref().map(|c| c.kind), Some(FactorKind::Pin));
}
