//! Guards: what happens when the store refuses a step.

use countersign_core::{
    action::Level,
    call::{Closed, Command, Deny, Event, Stage},
    claim::ClaimKind,
    factor::FactorKind::{self, *},
    message::Body,
    prompt::{Lang, Prompt},
    risk::Verstat,
    time::Span,
};

use crate::{
    shell::{Do, Shell},
    world::{self, Who},
};

fn send_key(who: Who) -> String { format!("send/{}", who.id()) }
fn entry_key(who: Who, n: u8, kind: FactorKind) -> String { format!("entry/{}/{}/{kind}", who.id(), world::auth(who, n)) }

#[test]
fn too_many_wrong_entries_lately_close_the_challenge_even_for_a_right_one() {
    let mut shell = Shell::from(Who::Liam);
    shell.keys("1");
    shell.limits.exhaust(entry_key(Who::Liam, 2, Totp), shell.now);
    let done = shell.answer_rightly();
    assert_eq!(done.refused.first(), Some(&Deny::Challenge));
    assert!(done.say.contains(&Prompt::NoMoreTries));
    assert!(done.has(|e| matches!(e, Event::ChallengeClosed { why: Closed::Throttled, .. })));
    assert!(!done.has(|e| matches!(e, Event::Proved { .. })));
    assert_eq!(shell.call.challenge.as_ref().map(|c| c.kind), Some(Pin), "the next factor");
    assert_eq!(shell.call.level, Level::Identified);
}

/// A thousand guesses get exactly the allowed number of evaluations, over as many challenges as it takes.
#[test]
fn the_row_of_failures_goes_on_over_challenges() {
    let mut shell = Shell::from(Who::Ana);
    shell.reach_agent().open(Who::Ana);
    let mut judged = 0;
    for _ in 0..8 {
        if !shell.prove(None, &[Pin]).has(|e| matches!(e, Event::Challenged { .. })) {
            break;
        }
        while shell.call.challenge.is_some() {
            judged += u32::from(shell.keys("0000").has(|e| matches!(e, Event::ChallengeFailed { .. })));
        }
    }
    assert_eq!(judged, shell.params.throttle);
    let done = shell.prove(None, &[Pin]);
    assert!(done.has(|e| *e == Event::FactorUnavailable { kind: Pin }), "the desk is told: {:?}", done.events);
    assert_eq!((shell.call.stage, shell.call.challenge.is_none()), (Stage::Talking, true));
    shell.wait(Span::minutes(15));
    shell.prove(None, &[Pin]);
    shell.answer_rightly();
    assert_eq!(shell.call.level, Level::Authenticated, "locked for this line and a while, not for ever");
}

/// A stranger locks out only the line they call from.
#[test]
fn the_lock_is_on_the_line_of_origin() {
    let mut stranger = Shell::ring(Some("+12025559999"));
    stranger.reach_agent().open(Who::Ana);
    stranger.prove(None, &[Pin]);
    for _ in 0..3 {
        stranger.keys("0000");
    }
    stranger.prove(None, &[Pin]);
    for _ in 0..3 {
        stranger.keys("0000");
    }
    let mut ana = Shell::from(Who::Ana);
    ana.limits = stranger.limits.clone();
    ana.reach_agent().proves(Pin);
    assert_eq!(ana.call.level, Level::Authenticated);
}

/// Everything that Ana could be asked for is locked: she still gets to a person, in her language.
#[test]
fn a_caller_whose_factors_are_all_locked_reaches_an_agent() {
    for language in [Some(Lang::Es), None] {
        let mut shell = Shell::new();
        let profile = shell.profile_mut(Who::Ana);
        profile.language = language;
        profile.orders.clear();
        let now = shell.now;
        shell.limits.exhaust(send_key(Who::Ana), now);
        shell.limits.exhaust(entry_key(Who::Ana, 1, Pin), now);
        shell.ok(Do::Ring { number: Some(Who::Ana.phone()), verstat: Verstat::PassedA, denied: false });
        if language.is_none() {
            shell.keys("2");
        }
        assert!(shell.log[0].contains("started"), "the call itself is on record: {}", shell.log[0]);
        assert_eq!((shell.call.subject, shell.call.lang), (Some(Who::Ana.id()), Some(Lang::Es)));
        assert_eq!(shell.call.stage, Stage::KeyingServiceCode);
        shell.reach_agent();
        assert_eq!(shell.call.stage, Stage::Talking);
        assert_eq!(shell.codes_sent(), 0);
    }
}

/// The proof that was given is not lost because the next factor of the plan cannot be asked for.
#[test]
fn a_locked_second_factor_does_not_undo_the_first() {
    let mut shell = Shell::from(Who::Ana);
    shell.reach_agent().open(Who::Ana);
    shell.prove(Some("change:phone"), &[SmsCode, Pin]);
    shell.limits.exhaust(entry_key(Who::Ana, 1, Pin), shell.now);
    let done = shell.answer_rightly();
    assert!(done.has(|e| matches!(e, Event::Proved { kind: SmsCode, .. })));
    assert!(done.has(|e| *e == Event::FactorUnavailable { kind: Pin }));
    assert_eq!((shell.call.level, shell.call.stage), (Level::Authenticated, Stage::Talking));
}

#[test]
fn too_many_texts_lead_to_another_factor_not_to_a_loop() {
    let mut shell = Shell::from(Who::Ana);
    shell.limits.exhaust(send_key(Who::Ana), shell.now);
    let done = shell.keys("1");
    assert_eq!(done.refused, [Deny::Send(SmsCode), Deny::Send(VoiceCode)]);
    assert!(done.has(|e| matches!(e, Event::IntentConfirmed)), "the key that was pressed counts");
    assert_eq!(shell.call.challenge.as_ref().map(|c| c.kind), Some(Pin));
    let mut shell = Shell::from(Who::Ana);
    shell.reach_agent().open(Who::Ana);
    shell.limits.exhaust(send_key(Who::Ana), shell.now);
    let done = shell.prove(None, &[SmsCode]);
    assert!(done.has(|e| *e == Event::FactorUnavailable { kind: SmsCode }));
    assert_eq!((shell.call.stage, shell.call.challenge.is_none()), (Stage::Talking, true));
    assert_eq!(shell.mine().last_closed, Some(Closed::Throttled), "and the desk knows why");
}

#[test]
fn a_spent_time_step_counts_as_wrong() {
    let mut shell = Shell::from(Who::Liam);
    shell.reach_agent().open(Who::Liam);
    shell.proves(Totp);
    let code = world::totp_at(shell.now);
    // Another node looked before the step was taken.
    shell.race = Some(0);
    shell.prove(None, &[Totp]);
    let done = shell.keys(&code);
    assert_eq!(done.refused, [Deny::Spent]);
    assert!(done.has(|e| matches!(e, Event::ChallengeFailed { left: 2, .. })));
    assert_eq!(done.say, [Prompt::TryAgain], "told apart by nobody");
    assert_eq!((shell.call.level, shell.call.failures), (Level::Authenticated, 1));
}

#[test]
fn a_spent_entry_on_a_locked_line_is_both() {
    let mut shell = Shell::from(Who::Liam);
    shell.reach_agent().open(Who::Liam);
    shell.proves(Totp);
    shell.race = Some(0);
    shell.prove(None, &[Totp]);
    shell.limits.exhaust(entry_key(Who::Liam, 2, Totp), shell.now);
    let code = world::totp_at(shell.now);
    assert!(shell.keys(&code).has(|e| matches!(e, Event::ChallengeClosed { why: Closed::Throttled, .. })));
}

// ── Service codes ────────────────────────────────────────────────────────────────────────────

fn at_service_code(number: Option<&'static str>) -> Shell {
    let mut shell = Shell::ring(number);
    shell.keys("1");
    shell.keys("1");
    assert_eq!(shell.call.stage, Stage::KeyingServiceCode);
    shell
}

#[test]
fn a_service_code_identifies_and_proves_once() {
    let mut shell = at_service_code(None);
    let code = shell.portal_code(Who::Ana);
    shell.keys(&code);
    assert_eq!((shell.call.subject, shell.call.level, shell.call.stage), (Some(Who::Ana.id()), Level::Authenticated, Stage::Music));
    let mut again = at_service_code(None);
    again.limits = shell.limits.clone();
    let same = again.portal_code(Who::Ana);
    assert_eq!(same, code);
    let done = again.keys(&code);
    assert_eq!(done.refused, [Deny::Spent]);
    assert!(done.has(|e| *e == Event::ServiceCodeFailed));
    assert_eq!((again.call.subject, again.call.level, again.call.stage), (None, Level::Anonymous, Stage::KeyingAccountNumber));
}

#[test]
fn a_service_code_is_worth_nothing_after_its_time() {
    let mut shell = at_service_code(None);
    let code = shell.portal_code(Who::Ana);
    shell.wait(Span::minutes(2));
    shell.keys(&code);
    assert_eq!((shell.call.level, shell.call.failures), (Level::Anonymous, 1));
}

#[test]
fn a_service_code_sets_a_recognised_number_aside() {
    let mut shell = Shell::from(Who::Ana);
    shell.keys("1");
    for _ in 0..3 {
        shell.keys("*");
    }
    assert_eq!(shell.call.stage, Stage::KeyingServiceCode);
    let code = shell.portal_code(Who::Dina);
    shell.keys(&code);
    assert_eq!((shell.call.subject, shell.call.principal, shell.call.level), (Some(Who::Dina.id()), Some(Who::Dina.id()), Level::Authenticated));
    assert!(shell.call.number_set_aside);
}

/// A code for another account must not move a call whose account is open, and guessing one counts.
#[test]
fn a_service_code_for_another_account_is_wrong_on_an_open_one() {
    let mut shell = Shell::ring(None);
    shell.keys("1");
    shell.keys("2");
    shell.keys(Who::Dina.number());
    shell.keys(Who::Dina.postal());
    assert!(shell.call.opened());
    while shell.call.stage != Stage::KeyingServiceCode {
        shell.keys("*");
    }
    let code = shell.portal_code(Who::Ana);
    let done = shell.keys(&code);
    assert!(done.has(|e| *e == Event::ServiceCodeFailed));
    assert!(done.guards.iter().all(|g| matches!(&g.check, countersign_core::call::Check::Attempt { outcome: countersign_core::call::Attempt::Failed, .. })), "{:?}", done.guards);
    assert_eq!((shell.call.subject, shell.call.level), (Some(Who::Dina.id()), Level::Identified));
}

#[test]
fn too_many_wrong_service_codes_and_none_is_looked_at() {
    let mut shell = at_service_code(None);
    let code = shell.portal_code(Who::Ana);
    shell.limits.exhaust("service/withheld", shell.now);
    let done = shell.keys(&code);
    assert!(done.has(|e| *e == Event::ServiceCodeThrottled));
    assert_eq!((shell.call.subject, shell.call.stage), (None, Stage::KeyingAccountNumber));
}

/// `use:service_code` is asked like every other factor.
#[test]
fn a_service_code_that_policy_refuses_is_neither_asked_for_nor_taken() {
    // Liam has an app: the toy policy refuses every weaker thing held.
    let mut shell = Shell::from(Who::Liam);
    shell.keys("1");
    shell.keys("*");
    shell.keys("*");
    assert_eq!(shell.call.stage, Stage::Music, "not asked for");
    let mut shell = at_service_code(None);
    let code = shell.portal_code(Who::Liam);
    shell.keys(&code);
    assert_eq!((shell.call.subject, shell.call.level), (None, Level::Anonymous), "not taken");
}

// ── Claims, comparisons, links ───────────────────────────────────────────────────────────────

#[test]
fn too_many_keyed_claims_lead_to_an_agent() {
    let mut shell = Shell::ring(None);
    shell.keys("1");
    shell.keys("2");
    shell.limits.exhaust("claims/withheld", shell.now);
    let done = shell.keys(Who::Ana.number());
    assert_eq!((done.refused.as_slice(), done.say.as_slice()), (&[Deny::Claims][..], &[Prompt::Noted][..]));
    assert_eq!((shell.call.subject, shell.call.stage), (None, Stage::Music));
}

#[test]
fn too_many_comparisons_of_an_account_end_them_on_this_call() {
    let mut shell = Shell::from(Who::Ana);
    shell.reach_agent().open(Who::Ana);
    let key = format!("compare/{}", Who::Ana.id());
    shell.limits.exhaust(key, shell.now);
    let compare = || Command::Compare { field: countersign_core::action::Field::Email, value: Who::Ana.email().into() };
    let done = shell.desk(compare());
    assert!(done.has(|e| matches!(e, Event::CompareThrottled { .. })) && !done.has(|e| matches!(e, Event::Compared { .. })));
    assert_eq!(shell.no_desk(compare()), countersign_core::call::Rejected::NoTriesLeft);
    assert_eq!(shell.no_desk(Command::Claim { kind: ClaimKind::Email, value: Who::Ana.email().into() }), countersign_core::call::Rejected::NoTriesLeft);
}

#[test]
fn the_way_online_is_sent_once_and_not_for_ever() {
    let mut shell = Shell::from(Who::Ana);
    shell.reach_agent().open(Who::Ana).proves(SmsCode);
    let request = || Command::Request { action: "do:close_account".parse().unwrap() };
    let done = shell.desk(request());
    assert!(done.has(|e| matches!(e, Event::SentOnline { .. })));
    assert!(shell.sent.iter().any(|m| matches!(m.body, Body::Online { .. })));
    assert!(!shell.desk(request()).has(|e| matches!(e, Event::SentOnline { .. })));
    let mut shell = Shell::from(Who::Ana);
    shell.reach_agent().open(Who::Ana).proves(SmsCode);
    shell.limits.exhaust(format!("online/{}", Who::Ana.id()), shell.now);
    let done = shell.desk(request());
    assert!(done.has(|e| matches!(e, Event::Decided { .. })), "asked and answered all the same");
    assert!(!done.has(|e| matches!(e, Event::SentOnline { .. })));
}
