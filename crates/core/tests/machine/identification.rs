//! Who is meant: claims, agreement, contradiction, speaking for somebody else.

use countersign_core::{
    action::{Field, Level, Role},
    call::{Alert, Command, Event, MAX_MISSES, Rejected, Stage},
    claim::{ClaimKind::*, Via},
    factor::FactorKind,
    message::{Body, Change},
    time::Span,
};

use crate::{
    shell::{AGENT, Do, Shell},
    world::{SHARED, Who},
};

fn at_agent(number: Option<&'static str>) -> Shell {
    let mut shell = Shell::ring(number);
    shell.reach_agent();
    shell
}

#[test]
fn a_known_number_identifies_and_proves_nothing() {
    let shell = Shell::from(Who::Ana);
    assert_eq!((shell.call.subject, shell.call.level), (Some(Who::Ana.id()), Level::Identified));
    assert!(!shell.call.opened(), "one claim opens nothing");
    assert_eq!(shell.call.stage, Stage::Recognised);
}

#[test]
fn two_independent_claims_open_an_account_and_no_number_of_them_proves() {
    let mut shell = at_agent(None);
    shell.claim(AccountNumber, Who::Ana.number());
    assert_eq!((shell.call.subject, shell.call.opened()), (Some(Who::Ana.id()), false));
    shell.claim(AccountNumber, Who::Ana.number());
    assert!(!shell.call.opened(), "the same kind twice is one claim");
    shell.claim(Name, "torres, ana");
    assert!(shell.call.opened());
    for kind in [Email, DateOfBirth, PostalCode, Number, OrderNumber] {
        shell.claim(kind, Who::Ana.claim(kind));
    }
    assert_eq!(shell.call.level, Level::Identified);
    assert_eq!(shell.no_desk(Command::Reveal { field: Field::Name, reason: None }), Rejected::NotPermitted);
}

#[test]
fn a_look_alike_does_not_count() {
    let mut shell = at_agent(None);
    shell.claim(Email, Who::Dina.email());
    assert!(shell.call.claims[0].look_alike, "tina.bell and dina.bell are one slip apart");
    assert_eq!(shell.call.subject, None);
    shell.claim(PostalCode, Who::Dina.postal());
    assert_eq!((shell.call.subject, shell.call.opened()), (Some(Who::Dina.id()), false), "one claim that counts");
    shell.claim(DateOfBirth, Who::Dina.birth());
    assert!(shell.call.opened());
    assert!(shell.mine().claims.iter().any(|c| c.look_alike && c.kind == Email));
}

#[test]
fn several_customers_on_one_number_are_told_apart_by_one_more_claim() {
    let mut shell = Shell::ring(Some(SHARED));
    assert_eq!(shell.call.claims[0].accounts.len(), 2);
    assert_eq!((shell.call.subject, shell.call.level), (None, Level::Anonymous));
    shell.keys("1");
    assert_eq!(shell.call.stage, Stage::Menu);
    shell.keys("2");
    shell.keys(Who::Tina.number());
    assert_eq!((shell.call.subject, shell.call.opened()), (Some(Who::Tina.id()), true));
}

#[test]
fn the_caller_hears_the_same_whether_a_claim_fits_or_not() {
    let hear = |account: &str, postal: &str| {
        let mut shell = Shell::ring(None);
        shell.keys("1");
        shell.keys("2");
        let first = (shell.keys(account).say.clone(), shell.directives());
        (first, shell.keys(postal).say.clone(), shell.directives(), shell.codes_sent())
    };
    // Neither that an account exists nor what its holder proves with.
    let nobody = hear("99999999", "00000");
    assert_eq!(hear(Who::Dina.number(), "00000"), nobody);
    assert_eq!(hear("99999999", Who::Dina.postal()), nobody);
    assert_eq!(hear(Who::Dina.number(), Who::Ana.postal()), nobody);
    assert_ne!(hear(Who::Dina.number(), Who::Dina.postal()), nobody, "who knows both is asked for a proof");
}

#[test]
fn a_contradiction_after_opening_moves_nothing_and_raises_risk() {
    let mut shell = at_agent(None);
    shell.open(Who::Ana);
    let done = shell.claim(Email, Who::Liam.email());
    assert!(done.has(|e| matches!(e, Event::Contradicted { .. })));
    assert_eq!((shell.call.subject, shell.call.contradictions), (Some(Who::Ana.id()), 1));
    assert!(shell.call.risk >= 25);
    assert_eq!(shell.call.claims.len(), 2, "its accounts are not kept among the claims");
}

/// An e-mail address that belongs to somebody else is an answer, too: tries must run out.
#[test]
fn contradictions_cannot_be_used_to_ask_who_else_is_a_customer() {
    let mut shell = at_agent(None);
    shell.open(Who::Ana);
    for _ in 0..MAX_MISSES {
        shell.claim(Email, Who::Liam.email());
    }
    assert_eq!(shell.no_desk(Command::Claim { kind: Email, value: Who::Grace.email().into() }), Rejected::NoTriesLeft);
}

#[test]
fn what_is_said_twice_sets_the_number_aside() {
    let mut shell = at_agent(Some(Who::Ana.phone()));
    assert_eq!(shell.call.subject, Some(Who::Ana.id()));
    shell.claim(AccountNumber, Who::Liam.number());
    assert_eq!(shell.call.subject, Some(Who::Ana.id()), "one word against the number's");
    let done = shell.claim(Name, Who::Liam.name());
    assert!(done.has(|e| matches!(e, Event::Identified { instead_of: Some(_), .. })));
    assert_eq!((shell.call.subject, shell.call.number_set_aside), (Some(Who::Liam.id()), true));
    assert_eq!(shell.call.level, Level::Identified);
}

/// What was compared with the account that was meant before says nothing about the next.
#[test]
fn what_was_learned_of_the_account_set_aside_is_forgotten() {
    let mut shell = at_agent(Some(Who::Ana.phone()));
    shell.desk(Command::Compare { field: Field::PostalCode, value: Who::Ana.postal().into() });
    shell.desk(Command::Request { action: "change:phone".parse().unwrap() });
    assert_eq!(shell.call.compared, [(Field::PostalCode, true)]);
    shell.open(Who::Liam);
    assert!(shell.call.compared.is_empty() && shell.call.decisions.is_empty());
}

/// `hotelx_misheard`: the agent hears wrong, the caller says it again, and the call follows.
#[test]
fn a_misheard_claim_can_be_corrected_as_long_as_nothing_is_open() {
    let mut shell = at_agent(None);
    shell.claim(AccountNumber, Who::Liam.number());
    assert_eq!(shell.call.subject, Some(Who::Liam.id()));
    shell.claim(AccountNumber, Who::Ana.number());
    assert_eq!(shell.call.subject, Some(Who::Ana.id()), "the latest word counts");
    shell.claim(Name, Who::Ana.name());
    assert!(shell.call.opened());
    assert!(!shell.call.number_set_aside, "there was no number");
}

#[test]
fn a_number_that_is_said_does_not_replace_the_one_that_is_signalled() {
    let mut shell = at_agent(Some(Who::Ana.phone()));
    shell.claim(Number, Who::Liam.phone());
    assert!(shell.call.claims.iter().any(|c| c.via == Via::Network && c.accounts == [Who::Ana.id()]));
    assert_eq!(shell.call.subject, Some(Who::Ana.id()));
    shell.claim(Name, Who::Liam.name());
    assert_eq!((shell.call.subject, shell.call.number_set_aside), (Some(Who::Liam.id()), true), "two things said against one signalled");
    let mut same = at_agent(Some(Who::Ana.phone()));
    same.claim(Number, Who::Ana.phone());
    assert!(!same.call.opened(), "the number twice is one claim");
}

/// The shared landline of two others does not stand against two things that the caller says.
#[test]
fn a_number_of_others_is_set_aside_as_well() {
    let mut shell = at_agent(Some(SHARED));
    shell.claim(AccountNumber, Who::Liam.number());
    assert_eq!(shell.call.subject, None);
    shell.open(Who::Liam);
    assert!(shell.call.number_set_aside);
}

#[test]
fn tries_run_out_and_come_back_with_nothing() {
    let mut shell = at_agent(None);
    for _ in 0..MAX_MISSES {
        shell.claim(Name, "Nobody Atall");
    }
    assert_eq!(shell.no_desk(Command::Claim { kind: Name, value: Who::Ana.name().into() }), Rejected::NoTriesLeft);
    assert_eq!(shell.mine().misses_left, 0);
    assert!(shell.call.risk >= 10);
}

#[test]
fn values_without_content_cost_no_try() {
    let mut shell = at_agent(None);
    for (kind, text) in [(DateOfBirth, "19841309"), (Name, "--"), (Email, "ana"), (Number, "555"), (AccountNumber, "\0\0")] {
        assert_eq!(shell.no_desk(Command::Claim { kind, value: text.into() }), Rejected::Unusable);
    }
    assert_eq!(shell.call.misses, 0);
}

#[test]
fn switching_starts_from_nothing_and_tells_the_lead() {
    let mut shell = at_agent(Some(Who::Ana.phone()));
    shell.open(Who::Ana).proves(FactorKind::Pin);
    shell.desk(Command::Reveal { field: Field::Name, reason: None });
    assert_eq!(shell.no_desk(Command::Switch { reason: "oops".into() }), Rejected::NoReason);
    let done = shell.desk(Command::Switch { reason: "the wrong customer was opened".into() });
    assert!(done.alerted(Alert::Switched));
    assert_eq!((shell.call.subject, shell.call.level, shell.call.opened()), (None, Level::Anonymous, false));
    assert!(shell.call.proofs.is_empty() && shell.call.revealed.is_empty() && shell.call.claims.is_empty());
    shell.open(Who::Liam);
    assert_eq!(shell.call.level, Level::Identified);
}

/// What was done for an account is told to that account's holder and to nobody else.
#[test]
fn the_summary_goes_to_the_account_it_is_about() {
    let mut shell = at_agent(None);
    shell.open(Who::Ana).proves(FactorKind::SmsCode);
    shell.desk(Command::Perform { change: Change::CancelOrder, reason: None });
    shell.desk(Command::Switch { reason: "the wrong customer was opened".into() });
    shell.open(Who::Liam);
    shell.ok(Do::HungUp);
    let summaries: Vec<_> = shell.sent.iter().filter(|m| matches!(m.body, Body::Summary { .. })).map(|m| m.to.account).collect();
    assert_eq!(summaries, [Who::Ana.id()]);
}

/// A freeze belongs to the account, not to the telephone call.
#[test]
fn a_freeze_does_not_follow_the_call_to_another_account() {
    let mut shell = at_agent(None);
    shell.open(Who::Ana);
    shell.ok(Do::Freeze);
    shell.desk(Command::Switch { reason: "the wrong customer was opened".into() });
    shell.open(Who::Liam);
    assert!(!shell.mine().frozen);
}

/// After the proofs have gone stale the account is still the account of this call.
#[test]
fn an_account_that_was_open_is_not_switched_silently_after_its_proofs_expire() {
    let mut shell = Shell::ring(None);
    shell.keys("1");
    shell.keys("1");
    let code = shell.portal_code(Who::Ana);
    shell.keys(&code);
    shell.reach_agent();
    assert_eq!((shell.call.subject, shell.call.agreed), (Some(Who::Ana.id()), false));
    shell.desk(Command::Perform { change: Change::CancelOrder, reason: None });
    shell.wait(Span::minutes(31));
    shell.ok(Do::Tick);
    assert_eq!((shell.call.level, shell.call.opened()), (Level::Identified, false));
    shell.claim(AccountNumber, Who::Liam.number());
    shell.claim(Name, Who::Liam.name());
    assert_eq!(shell.call.subject, Some(Who::Ana.id()));
    assert_eq!(shell.call.contradictions, 2);
}

// ── Speaking for somebody else ───────────────────────────────────────────────────────────────

fn grace() -> Shell {
    let mut shell = at_agent(Some(Who::Grace.phone()));
    shell.proves(FactorKind::Pin);
    shell
}
fn speak_for(who: Who) -> Command { Command::SpeakFor { account_number: who.number().into() } }

#[test]
fn a_delegate_does_what_the_delegation_covers_and_nothing_else() {
    let mut shell = grace();
    assert!(shell.desk(speak_for(Who::Tina)).has(|e| matches!(e, Event::SpeaksFor { .. })));
    assert_eq!((shell.call.subject, shell.call.principal), (Some(Who::Tina.id()), Some(Who::Grace.id())));
    shell.desk(Command::Reveal { field: Field::Orders, reason: None });
    let view = shell.mine();
    assert!(view.fields.iter().any(|f| f.field == Field::Orders && f.values.iter().any(|v| v.contains("Red lamp"))));
    assert_eq!(shell.no_desk(Command::Reveal { field: Field::Name, reason: None }), Rejected::NotPermitted);
    shell.desk(Command::Perform { change: Change::CancelOrder, reason: None });
    shell.desk(Command::Perform { change: Change::Business("request_refund".into()), reason: None });
    assert_eq!(shell.call.performed.len(), 1, "not covered");
    assert_eq!(shell.no_desk(speak_for(Who::Tina)), Rejected::NotProved, "no chains of delegation");
}

#[test]
fn a_delegate_proves_with_their_own_factors() {
    let mut shell = grace();
    shell.desk(speak_for(Who::Tina));
    shell.proves(FactorKind::Hotp);
    assert_eq!((shell.call.level, shell.call.principal), (Level::Strong, Some(Who::Grace.id())));
    assert_eq!(shell.no_desk(Command::Prove { action: None, factors: vec![FactorKind::VoiceCode] }), Rejected::NoFactor, "not Tina's landline");
}

#[test]
fn no_delegation_an_expired_one_and_no_account_are_one_answer() {
    for (delegate, subject) in [(Who::Grace, Who::Ana), (Who::Liam, Who::Tina)] {
        let mut shell = at_agent(Some(delegate.phone()));
        shell.proves(FactorKind::Pin);
        assert_eq!(shell.desk(speak_for(subject)).events, [Event::SpeakRefused { agent: AGENT }]);
        assert_eq!((shell.call.subject, shell.call.misses), (Some(delegate.id()), 1));
    }
    let mut shell = grace();
    assert_eq!(shell.desk(Command::SpeakFor { account_number: "XX-1".into() }).events, [Event::SpeakRefused { agent: AGENT }]);
    let mut unproved = at_agent(Some(Who::Grace.phone()));
    assert_eq!(unproved.no_desk(speak_for(Who::Tina)), Rejected::NotProved);
}

/// Grace said "this wasn't me": whoever has her telephone and PIN does not get at Tina's account.
#[test]
fn a_frozen_delegate_speaks_for_nobody() {
    let mut shell = grace();
    shell.profile_mut(Who::Grace).frozen = Some(shell.now);
    assert!(!shell.desk(speak_for(Who::Tina)).has(|e| matches!(e, Event::SpeaksFor { .. })));
    let mut during = grace();
    during.ok(Do::Freeze);
    assert!(!during.desk(speak_for(Who::Tina)).has(|e| matches!(e, Event::SpeaksFor { .. })));
}

/// Two claims about Tina, whom the delegate knows well, do not make the caller Tina.
#[test]
fn claims_do_not_turn_a_delegate_into_the_customer() {
    let mut shell = Shell::ring(None);
    // No token: the toy policy takes no portal code beside a stronger thing held.
    shell.profile_mut(Who::Grace).authenticators.retain(|a| a.kind == FactorKind::Pin);
    shell.keys("1");
    shell.keys("1");
    let code = shell.portal_code(Who::Grace);
    shell.keys(&code);
    shell.reach_agent();
    shell.desk(speak_for(Who::Tina));
    shell.claim(AccountNumber, Who::Tina.number());
    shell.claim(Name, Who::Tina.name());
    assert_eq!((shell.call.principal, shell.call.subject), (Some(Who::Grace.id()), Some(Who::Tina.id())));
}

/// The two claims were about the delegate, so when the proofs are gone nothing holds Tina's account open.
#[test]
fn a_delegate_whose_proofs_expired_has_nothing_open() {
    let mut shell = at_agent(None);
    shell.open(Who::Grace).proves(FactorKind::Pin);
    shell.desk(speak_for(Who::Tina));
    assert!(shell.call.opened());
    shell.wait(Span::minutes(31));
    shell.ok(Do::Tick);
    assert!(!shell.call.opened());
    shell.proves(FactorKind::Pin);
    assert!(shell.call.opened(), "and a fresh proof opens it again");
}

#[test]
fn what_was_done_for_oneself_is_not_told_to_the_customer_spoken_for() {
    let mut shell = grace();
    shell.desk(Command::Perform { change: Change::CancelOrder, reason: None });
    shell.desk(speak_for(Who::Tina));
    shell.ok(Do::HungUp);
    let summaries: Vec<_> = shell.sent.iter().filter(|m| matches!(m.body, Body::Summary { .. })).map(|m| m.to.account).collect();
    assert_eq!(summaries, [Who::Grace.id()]);
}

#[test]
fn somebody_else_at_the_desk_can_do_nothing() {
    let mut shell = at_agent(None);
    for (agent, role) in [(crate::shell::OTHER, Role::Agent), (crate::shell::LEAD, Role::Lead), (AGENT, Role::Lead)] {
        for command in [Command::End, Command::Claim { kind: Name, value: Who::Ana.name().into() }, Command::CancelChallenge] {
            assert_eq!(shell.no(Do::Desk(agent, role, command)), Rejected::NotYours);
        }
        assert_eq!(shell.no(Do::Desk(agent, role, Command::Accept)), Rejected::NotWaiting);
    }
}
