//! Where risk leads before a person has the call: what comes in meanwhile, calls that we ring back,
//! the machine alone, the shadow, and the lead's mark afterwards.

use countersign_core::{
    action::Role,
    call::{Command, Deny, Effect, Ending, Event, Origin, Queue, Rejected, Stage},
    id::{CallId, ContactId},
    prompt::Prompt,
    risk::{History, Mode, NumberFacts, Route, Routes, Verstat},
    time::Span,
};

use crate::{
    shell::{AGENT, Do, LEAD, Shell},
    world::Who,
};

fn swapped() -> NumberFacts { NumberFacts { sim_changed_hours: Some(6), ..NumberFacts::default() } }

fn bad(shell: &mut Shell, number: Option<&'static str>) { shell.ok(Do::Ring { number, verstat: Verstat::Failed, denied: false }); }

/// A shell whose bad signatures (55) lead to a call back.
fn ringing_back() -> Shell {
    let mut shell = Shell::new();
    shell.params.risk.routes = Routes::new(Some(40), Some(50), None, Some(95)).unwrap();
    shell
}

fn contact(shell: &Shell, who: Who) -> ContactId { shell.brief(Some(who.id())).unwrap().factors.iter().find_map(|f| f.contact).unwrap() }

/// The first that gets a call back: a voice code can go to their number.
fn ring_backs(shell: &Shell) -> usize { shell.last.effects.iter().filter(|e| matches!(e, Effect::RingBack { .. })).count() }

// ── What other calls say ─────────────────────────────────────────────────────────────────────

#[test]
fn what_other_calls_say_is_on_record_and_leads_to_a_specialist() {
    let mut shell = Shell::new();
    shell.history = History { accounts_on_line: 5, fraud_on_line: true, ..History::default() };
    shell.ok(Do::Ring { number: Some(Who::Dina.phone()), verstat: Verstat::PassedA, denied: false });
    assert!(shell.last.has(|e| matches!(e, Event::Signalled { history: Some(h), .. } if h.accounts_on_line == 5)));
    let parts = shell.call.risk_parts.clone();
    assert!(parts.iter().any(|p| p.evidence == "5 accounts from this line in 24 hours") && parts.iter().any(|p| p.name == "fraud_on_line"), "{parts:?}");
    for key in ["1", "0"] {
        shell.keys(key);
    }
    assert_eq!(shell.keys("1").say, [Prompt::WaitingSpecialist]);
    shell.restart();
}

/// Whoever rings in a customer's name all day cannot have them turned away: not even with wrong
/// entries of the customer's own on top does it get further than without.
#[test]
fn what_others_did_ends_no_call() {
    let worst = History {
        accounts_on_line: 99, lines_on_account: 99, failed_on_line: 99, failed_on_account: 99, fraud_on_line: true, fraud_on_account: true, odd_hour: 9, odd_country: 9,
    };
    let mut shell = Shell::new();
    shell.history = worst;
    shell.ok(Do::Ring { number: Some(Who::Ana.phone()), verstat: Verstat::PassedA, denied: false });
    assert_eq!((shell.call.risk, shell.call.route, shell.call.ended), (74, Route::Specialist, None));
    shell.keys("2");
    for _ in 0..2 {
        shell.keys("0000");
    }
    assert_eq!((shell.call.risk, shell.call.ended), (74, None), "and below the score at which nothing can be changed any more");
    shell.reach_agent();
    assert_eq!(shell.call.agent, Some((AGENT, Role::Specialist)));
}

// ── What comes in late ───────────────────────────────────────────────────────────────────────

#[test]
fn number_intelligence_that_comes_late_moves_a_waiting_caller_without_a_word() {
    let mut shell = Shell::from(Who::Dina);
    for key in ["1", "0", "1"] {
        shell.keys(key);
    }
    let since = shell.call.waiting_since;
    assert_eq!((shell.call.stage, shell.call.queue), (Stage::Waiting, Some(Queue::Agents)));
    shell.wait(Span::seconds(20));
    let done = shell.ok(Do::Signals(swapped()));
    assert!(done.say.is_empty(), "nobody can listen for what raises their score");
    assert!(done.has(|e| *e == Event::Queued { queue: Queue::Specialists, because: vec!["sim_changed_lately".into()] }));
    assert_eq!((shell.call.stage, shell.call.waiting_since), (Stage::Waiting, since), "and does not go to the end of another queue");
    assert_eq!(shell.no(Do::Desk(AGENT, Role::Agent, Command::Accept)), Rejected::Role);
    // The same answer again changes nothing, and good news does not lead back.
    assert!(shell.ok(Do::Signals(swapped())).events.is_empty());
    shell.ok(Do::Signals(NumberFacts::default()));
    assert_eq!((shell.call.risk, shell.call.queue), (0, Some(Queue::Specialists)));
}

#[test]
fn what_comes_in_when_an_agent_has_the_call_is_shown_and_moves_nothing() {
    let mut shell = Shell::from(Who::Dina);
    shell.reach_agent();
    let done = shell.ok(Do::Signals(swapped()));
    assert!(!done.has(|e| matches!(e, Event::Queued { .. } | Event::Ended { .. })));
    assert_eq!((shell.call.stage, shell.mine().risk), (Stage::Talking, 50));
    assert!(shell.mine().risk_parts.iter().any(|p| p.evidence == "SIM changed 6 hours ago"));
}

// ── The shadow ───────────────────────────────────────────────────────────────────────────────

#[test]
fn in_shadow_a_score_is_recorded_and_nothing_follows() {
    let mut shell = Shell::new();
    shell.params.risk.mode = Mode::Shadow;
    bad(&mut shell, Some(Who::Dina.phone()));
    assert!(shell.last.has(|e| matches!(e, Event::RiskScored { score: 55, shadow: true, route: Some(Route::Specialist), .. })));
    for key in ["1", "0"] {
        shell.keys(key);
    }
    let done = shell.keys("1");
    assert!(done.has(|e| *e == Event::Queued { queue: Queue::Agents, because: vec![] }));
    assert_eq!(shell.call.facts(None, &"change:phone".parse().unwrap()).risk, 0);
    let view = shell.view(AGENT, Role::Agent);
    assert!(view.shadow && view.risk == 55);
    shell.restart();
}

#[test]
fn a_deny_list_is_a_decision_and_no_score() {
    let mut shell = Shell::new();
    shell.params.risk.mode = Mode::Shadow;
    let done = shell.ok(Do::Ring { number: Some(Who::Ana.phone()), verstat: Verstat::PassedA, denied: true });
    assert!(done.has(|e| *e == Event::Ended { ending: Ending::Risk }));
}

// ── Calls back ───────────────────────────────────────────────────────────────────────────────

#[test]
fn a_risky_caller_is_told_that_we_ring_the_number_on_file_and_we_do() {
    let mut shell = ringing_back();
    bad(&mut shell, Some(Who::Ana.phone()));
    shell.keys("0");
    let done = shell.keys("1");
    assert_eq!(done.say, [Prompt::WeRingBack]);
    assert!(done.has(|e| *e == Event::Ended { ending: Ending::CalledBack }));
    assert_eq!(ring_backs(&shell), 1);
    assert_eq!(shell.call.stage, Stage::Ended);
}

/// "We ring you at the number on file" would tell whoever keyed an account number that it is one.
#[test]
fn nobody_learns_from_a_call_back_that_one_detail_was_right() {
    for number in [Some("+12025559999"), None] {
        let mut shell = ringing_back();
        bad(&mut shell, number);
        let mut heard = Vec::new();
        for keys in ["1", "2", Who::Ana.number(), "0", "1"] {
            heard.extend(shell.keys(keys).say.clone());
        }
        assert_eq!(shell.call.subject, Some(Who::Ana.id()));
        assert_eq!((ring_backs(&shell), shell.call.queue), (0, Some(Queue::Specialists)), "{heard:?}");
    }
}

#[test]
fn a_frozen_account_and_one_without_a_number_are_a_specialists() {
    let mut shell = ringing_back();
    shell.profile_mut(Who::Ana).contacts.clear();
    bad(&mut shell, Some(Who::Ana.phone()));
    shell.reach_agent();
    assert_eq!(shell.call.agent, Some((AGENT, Role::Specialist)));
    let mut shell = ringing_back();
    let now = shell.now;
    shell.profile_mut(Who::Ana).frozen = Some(now);
    shell.params.risk.routes = Routes::new(Some(40), Some(50), None, None).unwrap();
    bad(&mut shell, Some(Who::Ana.phone()));
    shell.reach_agent();
    assert_eq!(shell.call.agent, Some((AGENT, Role::Specialist)));
}

#[test]
fn whoever_answers_a_call_back_goes_to_a_specialist_with_nothing_proved() {
    let mut shell = Shell::new();
    let contact = contact(&shell, Who::Ana);
    shell.ok(Do::RingBack(Who::Ana, contact));
    assert!(matches!(&shell.call.origin, Origin::RingBack { of, .. } if *of == CallId([0xcb; 16])));
    shell.ok(Do::Answered);
    assert_eq!(shell.call.stage, Stage::Confirming);
    let done = shell.keys("1");
    assert!(done.has(|e| matches!(e, Event::Queued { queue: Queue::Specialists, .. })));
    assert!(shell.call.proofs.is_empty() && shell.call.level == countersign_core::action::Level::Identified);
    // A mailbox, or somebody who presses something else.
    let mut shell = Shell::new();
    shell.ok(Do::RingBack(Who::Ana, contact));
    shell.ok(Do::Answered);
    assert!(shell.keys("7").has(|e| *e == Event::Ended { ending: Ending::NotReached }));
}

#[test]
fn nobody_makes_a_customers_telephone_ring_all_day() {
    let mut shell = Shell::new();
    let contact = contact(&shell, Who::Ana);
    let limits = {
        for _ in 0..2 {
            shell.ok(Do::RingBack(Who::Ana, contact));
            let limits = shell.limits.clone();
            shell = Shell::new();
            shell.limits = limits;
        }
        shell.limits.clone()
    };
    shell.limits = limits;
    assert_eq!(shell.no(Do::RingBack(Who::Ana, contact)), Rejected::NoTriesLeft);
    assert!(!shell.last.refused.contains(&Deny::Claims));
    // A number that cools off is not rung.
    assert_eq!(Shell::new().no(Do::RingBack(Who::Ana, ContactId([0x77; 16]))), Rejected::NoFactor);
}

// ── The machine alone ────────────────────────────────────────────────────────────────────────

#[test]
fn the_machine_alone_serves_and_nobody_is_put_through() {
    let mut shell = Shell::new();
    shell.params.risk.routes = Routes::new(Some(40), None, Some(50), Some(95)).unwrap();
    bad(&mut shell, Some(Who::Ana.phone()));
    // The machine goes on: it asks for a proof as ever.
    shell.keys("2");
    assert_eq!(shell.call.stage, Stage::Proving);
    shell.keys("0");
    let done = shell.keys("1");
    assert_eq!(done.say, [Prompt::OnlineOnly]);
    assert!(done.has(|e| *e == Event::Ended { ending: Ending::SelfService }));
}

#[test]
fn people_decide_once_a_person_had_the_call() {
    let mut shell = Shell::from(Who::Ana);
    shell.reach_agent();
    shell.params.risk.routes = Routes::new(Some(10), Some(15), Some(20), Some(40)).unwrap();
    shell.desk(Command::HandOver { queue: Queue::Agents });
    let done = shell.ok(Do::Signals(swapped()));
    assert!(!done.has(|e| matches!(e, Event::Ended { .. } | Event::Queued { .. })), "{done:?}");
    assert_eq!(shell.call.queue, Some(Queue::Agents));
}

// ── Afterwards ───────────────────────────────────────────────────────────────────────────────

#[test]
fn the_lead_marks_fraud_after_the_end_and_takes_it_back() {
    let mut shell = Shell::from(Who::Ana);
    shell.keys("2");
    shell.keys(Who::Ana.pin().unwrap_or("4071"));
    shell.ok(Do::HungUp);
    let level = shell.call.level;
    for role in [Role::Agent, Role::Specialist, Role::Admin] {
        assert_eq!(shell.no(Do::Mark(role, true)), Rejected::Role);
    }
    assert_eq!(shell.no(Do::Mark(Role::Lead, false)), Rejected::Marked);
    let done = shell.ok(Do::Mark(Role::Lead, true));
    assert!(done.has(|e| matches!(e, Event::Marked { agent, fraud: true, .. } if *agent == LEAD)));
    assert!(done.effects.iter().any(|e| matches!(e, Effect::Note { .. })));
    assert!(shell.call.fraud && shell.call.ended.is_some() && shell.call.level == level);
    assert_eq!(shell.no(Do::Mark(Role::Lead, true)), Rejected::Marked);
    shell.ok(Do::Mark(Role::Lead, false));
    assert!(!shell.call.fraud);
    assert_eq!(shell.no(Do::Signals(swapped())), Rejected::Ended);
    shell.restart();
}
