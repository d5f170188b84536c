//! What agents may do and see.

use countersign_core::{
    action::{Action, Field, Level, Role, Verb},
    call::{Alert, Command, Effect, Event, Queue, Rejected, Stage},
    factor::FactorKind::{self, *},
    message::Change,
    view::{Disclosure, Offer, Viewer, queue_item},
};

use crate::{
    shell::{AGENT, Do, LEAD, OTHER, Shell},
    world::Who,
};

fn ana() -> Shell {
    let mut shell = Shell::from(Who::Ana);
    shell.reach_agent().open(Who::Ana);
    shell
}
fn strong() -> Shell {
    let mut shell = ana();
    shell.proves(SmsCode).proves(Pin);
    assert_eq!(shell.call.level, Level::Strong);
    shell
}
fn perform(change: Change) -> Command { Command::Perform { change, reason: None } }
fn reveal(field: Field) -> Command { Command::Reveal { field, reason: None } }
fn values(shell: &Shell, field: Field) -> Vec<String> {
    shell.mine().fields.into_iter().find(|f| f.field == field).map(|f| f.values).unwrap_or_default()
}

/// `password_by_phone_number`: as often as it is asked, at every level below strong.
#[test]
fn nothing_changes_on_a_number_and_a_name() {
    for level in 0..3 {
        let mut shell = ana();
        if level > 0 {
            shell.proves(if level == 1 { SmsCode } else { Pin });
        }
        for change in [Change::Password, Change::Phone("+12025550100".into()), Change::Email("x@example.com".into())] {
            let done = shell.desk(perform(change));
            assert!(done.effects.is_empty() && !done.has(|e| matches!(e, Event::Performed { .. })));
        }
    }
}

#[test]
fn a_strong_caller_changes_their_number_and_is_told_where_it_was() {
    let mut shell = strong();
    let done = shell.desk(perform(Change::Phone("+12025550100".into())));
    assert!(done.effects.iter().any(|e| matches!(e, Effect::Change(c) if c.account == Who::Ana.id())));
    let done = shell.desk(Command::End);
    assert!(done.has(|e| matches!(e, Event::SummarySent { .. })));
    assert!(done.effects.iter().any(|e| matches!(e, Effect::ReportLink { .. })));
}

#[test]
fn a_summary_is_only_sent_if_something_was_done() {
    let mut shell = strong();
    shell.desk(reveal(Field::Name));
    assert!(!shell.desk(Command::End).has(|e| matches!(e, Event::SummarySent { .. })));
}

#[test]
fn looking_needs_policy_or_a_reason_and_only_shows_what_was_asked_for() {
    let mut shell = ana();
    assert_eq!(shell.no_desk(reveal(Field::Name)), Rejected::NotPermitted);
    shell.proves(SmsCode);
    let view = shell.mine();
    let of = |field| view.fields.iter().find(|f| f.field == field).unwrap();
    assert_eq!(of(Field::Name).disclosure, Disclosure::Speakable);
    assert!(of(Field::Name).values.is_empty(), "not before the agent asks to look");
    assert_eq!(of(Field::Phone).values, ["••• 42"]);
    assert_eq!(of(Field::Email).values, ["a•••@e•••"], "never the whole domain");
    assert_eq!((of(Field::DateOfBirth).disclosure, of(Field::DateOfBirth).values.len()), (Disclosure::CompareOnly, 0));
    shell.desk(reveal(Field::Name));
    assert_eq!(values(&shell, Field::Name), ["Ana Torres"]);
    assert!(values(&shell, Field::Orders).is_empty());
    assert!(shell.desk(reveal(Field::Name)).events.is_empty(), "looking twice is one look");
}

#[test]
fn a_lead_looks_with_a_reason_and_the_exception_is_on_record() {
    let mut shell = Shell::from(Who::Ana);
    shell.reach_agent().open(Who::Ana);
    shell.desk(Command::HandOver { queue: Queue::Agents });
    shell.ok(Do::Desk(LEAD, Role::Lead, Command::Accept));
    let look = |reason: Option<&str>| Do::Desk(LEAD, Role::Lead, Command::Reveal { field: Field::Name, reason: reason.map(Into::into) });
    assert_eq!(shell.no(look(None)), Rejected::NoReason);
    assert_eq!(shell.no(look(Some("    short    "))), Rejected::NoReason);
    let done = shell.ok(look(Some("the police asked, see the ticket")));
    assert!(done.alerted(Alert::Exception) && done.has(|e| matches!(e, Event::Decided { .. })));
    assert!(done.effects.iter().any(|e| matches!(e, Effect::Note { .. })));
    assert_eq!(values(&shell, Field::Name), ["Ana Torres"]);
    shell.ok(Do::Desk(LEAD, Role::Lead, Command::HandOver { queue: Queue::Agents }));
    shell.ok(Do::Desk(OTHER, Role::Agent, Command::Accept));
    assert!(values(&shell, Field::Name).is_empty());
}

/// What is asked about ends up in the record for ever: only actions that have one spelling.
#[test]
fn an_action_that_cannot_be_written_down_is_refused() {
    let hostile = ["Refund 50 for Ana Torres", "", "a:b", "ümlaut", "cancel order", &"x".repeat(41)];
    for object in hostile {
        let mut shell = strong();
        let action = Action::new(Verb::Do, object);
        assert_eq!(shell.no_desk(Command::Request { action: action.clone() }), Rejected::Unusable, "{object}");
        assert_eq!(shell.no_desk(perform(Change::Business(object.into()))), Rejected::Unusable, "{object}");
        assert_eq!(shell.no_desk(Command::Prove { action: Some(action), factors: vec![SmsCode] }), Rejected::Unusable, "{object}");
        shell.restart();
    }
}

#[test]
fn comparing_answers_match_or_no_match_and_nothing_else() {
    let mut shell = Shell::from(Who::Ana);
    shell.reach_agent();
    let compare = |field, value: &str| Command::Compare { field, value: value.into() };
    let done = shell.desk(compare(Field::Email, " ANA.Torres@example.com "));
    assert_eq!(done.events, [Event::Compared { agent: AGENT, field: Field::Email, matched: true }]);
    let done = shell.desk(compare(Field::Email, "ana.torres@example.org"));
    assert!(done.has(|e| *e == Event::Compared { agent: AGENT, field: Field::Email, matched: false }));
    assert_eq!(shell.no_desk(compare(Field::Email, "  ")), Rejected::Unusable);
    assert_eq!(shell.call.misses, 1);
    let mut nobody = Shell::ring(None);
    nobody.reach_agent();
    assert_eq!(nobody.no_desk(compare(Field::Email, "x@example.com")), Rejected::NoAccount);
}

#[test]
fn the_plan_offered_is_one_that_works() {
    let mut shell = ana();
    let view = shell.mine();
    let phone = view.actions.iter().find(|a| a.action.object == "phone").unwrap();
    assert_eq!((phone.offer, phone.needs), (Offer::StepUp, Some(Level::Strong)));
    assert!(phone.plans.contains(&vec![SmsCode, VerbalPassword]) && phone.plans.contains(&vec![SmsCode, Pin]), "{:?}", phone.plans);
    for plan in phone.plans.clone() {
        let mut shell = ana();
        shell.prove(Some("change:phone"), &plan);
        for _ in &plan {
            shell.answer_rightly();
        }
        assert_eq!((shell.call.level, shell.call.stage), (Level::Strong, Stage::Talking), "{plan:?}");
    }
    shell.proves(Pin);
    let phone = shell.mine().actions.into_iter().find(|a| a.action.object == "phone").unwrap();
    assert_eq!(phone.plans, [[SmsCode], [VoiceCode]], "what is proved is not asked for again");
}

#[test]
fn who_does_not_have_the_call_sees_nothing_of_the_account() {
    let mut shell = strong();
    shell.desk(reveal(Field::Name));
    for (agent, role) in [(OTHER, Role::Agent), (LEAD, Role::Lead), (AGENT, Role::Specialist), (OTHER, Role::Admin)] {
        let view = shell.view(agent, role);
        assert!(!view.mine && view.fields.is_empty() && view.actions.is_empty() && view.factors.is_empty());
    }
    let mut locked = Shell::from(Who::Omar);
    locked.keys("1");
    assert_eq!((locked.view(OTHER, Role::Agent).phone_lock, locked.view(OTHER, Role::Agent).frozen), (false, false));
}

#[test]
fn whoever_changes_role_loses_the_call() {
    let mut shell = strong();
    assert_eq!(shell.no(Do::Desk(AGENT, Role::Admin, reveal(Field::Name))), Rejected::NotYours);
    assert!(shell.view(AGENT, Role::Specialist).fields.is_empty());
}

#[test]
fn after_the_end_the_screen_is_empty() {
    let mut shell = strong();
    shell.desk(reveal(Field::Name));
    shell.ok(Do::HungUp);
    let view = shell.view(AGENT, Role::Agent);
    assert!(view.fields.is_empty() && view.actions.is_empty() && view.ended.is_some());
    assert_eq!(shell.no_desk(reveal(Field::Name)), Rejected::Ended);
}

/// The runner hands the profile in; one that is not of this call must not be drawn.
#[test]
fn a_profile_of_another_account_is_not_shown() {
    let mut shell = strong();
    shell.desk(reveal(Field::Name));
    let viewer = Viewer { agent: AGENT, role: Role::Agent };
    let view = countersign_core::view::agent_view(&shell.call, None, shell.profile(Who::Liam.id()), viewer, &crate::toy::Toy, &crate::world::pepper(), None, shell.now);
    assert!(view.fields.is_empty() && view.actions.is_empty());
}

#[test]
fn the_list_shows_that_a_call_exists_and_who_may_take_it() {
    let mut shell = Shell::from(Who::Omar);
    shell.keys("1");
    shell.keys("0");
    shell.keys("3");
    // A frozen account: to a specialist.
    assert_eq!((shell.call.stage, shell.call.queue), (Stage::Waiting, Some(Queue::Specialists)));
    let item = |role| queue_item(&shell.call, Viewer { agent: OTHER, role });
    assert_eq!([Role::Agent, Role::Specialist, Role::Lead, Role::Admin].map(|r| item(r).may_take), [false, true, true, false]);
    assert!(!serde_json::to_string(&item(Role::Lead)).unwrap().contains("Omar"));
    assert_eq!(shell.no(Do::Desk(AGENT, Role::Agent, Command::Accept)), Rejected::Role);
}

#[test]
fn a_factor_is_only_asked_for_if_the_caller_has_it_and_policy_lets_it() {
    let mut shell = ana();
    let kinds: Vec<FactorKind> = shell.mine().factors;
    assert_eq!(kinds, [SmsCode, VoiceCode, VerbalPassword, Pin]);
    for factors in [vec![Hotp], vec![SmsCode, Hotp], vec![ServiceCode], vec![SmsCode; 6]] {
        assert_eq!(shell.no_desk(Command::Prove { action: None, factors }), Rejected::NoFactor);
    }
    let mut nobody = Shell::ring(None);
    nobody.reach_agent();
    assert_eq!(nobody.no_desk(Command::Prove { action: None, factors: vec![SmsCode] }), Rejected::NoAccount);
}
