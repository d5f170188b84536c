//! Risk, through the whole server: what is known of numbers, what other calls say, where scores lead,
//! and what the lead does about it.

use std::{collections::VecDeque, sync::{Arc, Mutex}};

use async_trait::async_trait;
use countersign_core::{
    call::{Event, Params, Queue},
    risk::{Mode, Routes, Rules},
    secret::E164,
    time::{Span, Timestamp},
};
use countersign_server::{
    intel::{IntelError, Known, NumberIntelligence, OnFailure, Sim, Use},
    outbox::provider::Channel,
    ring_back,
    watch::AgentLimits,
};

use crate::common::{
    Setup, World, hides,
    people::{ANA, ANA_LINE, ANA_PRIVATE, LIAM, LIAM_LINE, STRANGER},
    phone::Phone,
};

/// Answers what it was told to, and counts who asks.
#[derive(Default)]
pub struct Oracle {
    answers: Mutex<VecDeque<Result<Known, IntelError>>>,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl NumberIntelligence for Oracle {
    fn name(&self) -> &'static str { "oracle" }
    async fn ask(&self, number: &E164, _: Timestamp) -> Result<Known, IntelError> {
        self.asked.lock().unwrap().push(number.expose().to_owned());
        self.answers.lock().unwrap().pop_front().unwrap_or_else(|| Ok(Known::default()))
    }
}

impl Oracle {
    pub fn answers(self: &Arc<Self>, answers: impl IntoIterator<Item = Result<Known, IntelError>>) { self.answers.lock().unwrap().extend(answers) }
    fn asked(&self) -> usize { self.asked.lock().unwrap().len() }
}

async fn asking(on_failure: OnFailure) -> (World, Arc<Oracle>) {
    let oracle = Arc::new(Oracle::default());
    let settings = Use { on_failure, cache: Span::days(1), sim_lately: Span::hours(72) };
    let world = World::with(Setup { intel: Some((oracle.clone(), settings)), ..Setup::default() }).await;
    (world, oracle)
}

async fn ruled(rules: Rules) -> World { World::with(Setup { params: Params { risk: rules, ..Params::default() }, ..Setup::default() }).await }

fn routes(specialist: u8, call_back: Option<u8>, self_service: Option<u8>) -> Rules {
    Rules { routes: Routes::new(Some(specialist), call_back, self_service, Some(95)).unwrap(), ..Rules::default() }
}

#[tokio::test]
async fn number_lookup() {
    let (world, oracle) = asking(OnFailure::Ignore).await;
    let (mut robin, mut sam) = (world.robin().await, world.sam().await);
    oracle.answers([Ok(Known { sim: Sim::At(world.now() - Span::hours(6)), ..Known::default() })]);
    // The caller is answered at once: nobody waits for whoever knows numbers.
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["0", "1"]).await.hears("An agent will be with you soon.");
    assert_eq!(oracle.asked(), 0);
    robin.queue().await.shows(&format!(r#"id="take-{}""#, call.id));

    // The answer comes while she waits: it leads her to a specialist, without a word to her.
    world.deliver().await;
    assert_eq!(*oracle.asked.lock().unwrap(), [ANA_LINE]);
    robin.queue().await.lacks(&format!(r#"id="take-{}""#, call.id));
    robin.call = call.id;
    robin.act("accept", &[]).await;
    assert!(!world.events(call.id).await.iter().any(|e| matches!(e, Event::Accepted { .. })));
    assert!(!call.listen().await.words().contains("specialist"));
    sam.take(&mut call).await.shows("SIM changed lately <b>+50</b>").shows("SIM changed 6 hours ago").hides(&ANA_PRIVATE);
    assert!(world.tells(call.id, "Heard from number intelligence.").await);
    assert!(world.tells(call.id, "sim changed lately +50 (SIM changed 6 hours ago)").await);
    sam.end().await.ok();

    // Asked once per call, and kept for a day: the second call of the day asks nobody, and hours go on.
    world.pass(Span::hours(2));
    world.deliver().await;
    let second = world.call(ANA_LINE).await;
    world.deliver().await;
    assert_eq!(oracle.asked(), 1);
    assert!(world.tells(second.id, "SIM changed 8 hours ago").await);
    // Whoever hides their number cannot be looked up.
    world.withheld().await;
    world.deliver().await;
    assert_eq!(oracle.asked(), 1);
    // Neither the record nor the cache holds the number.
    hides(&world.log().await, &["2025550142", ANA_LINE]);
}

#[tokio::test]
async fn a_number_that_is_not_known_counts_as_the_configuration_says() {
    for (on_failure, counts) in [(OnFailure::Ignore, false), (OnFailure::Count, true)] {
        let (world, oracle) = asking(on_failure).await;
        oracle.answers([Err(IntelError::NoAnswer), Err(IntelError::Nonsense), Err(IntelError::Refused(401)), Ok(Known::default())]);
        for _ in 0..3 {
            let call = world.call(STRANGER).await;
            world.deliver().await;
            assert_eq!(world.tells(call.id, "number unknown +10 (nothing could be learnt about the number)").await, counts);
        }
        // Down three times in a row: nobody is asked for half a minute, and callers' codes do not wait for it.
        let call = world.call(STRANGER).await;
        world.deliver().await;
        assert_eq!(oracle.asked(), 3);
        assert_eq!(world.tells(call.id, "number unknown").await, counts);
        world.pass(Span::seconds(31));
        world.call(STRANGER).await;
        world.deliver().await;
        assert_eq!(oracle.asked(), 4);
    }
}

#[tokio::test]
async fn an_answer_after_the_call_changes_nothing() {
    let (world, oracle) = asking(OnFailure::Count).await;
    let mut call = world.call(ANA_LINE).await;
    call.hang_up().await;
    let before = world.events(call.id).await.len();
    world.deliver().await;
    assert_eq!((oracle.asked(), world.events(call.id).await.len()), (0, before));
}

#[tokio::test]
async fn one_line_for_many_accounts_is_seen() {
    let world = World::new().await;
    for (account, postal) in [("10004711", "20500"), ("10004712", "14770"), ("10004713", "14770")] {
        let mut call = world.call(STRANGER).await;
        call.presses(&["1", "2", account, postal]).await;
        call.hang_up().await;
    }
    let mut fourth = world.call(STRANGER).await;
    fourth.presses(&["1", "2", "10004716", "06804"]).await;
    assert!(world.tells(fourth.id, "accounts on line +30 (4 accounts from this line in 24 hours)").await, "{:#?}", world.story(fourth.id).await);
    fourth.hang_up().await;
    // A household is two, and a day is over after a day.
    world.pass(Span::hours(25));
    let fifth = world.call(STRANGER).await;
    assert!(!world.tells(fifth.id, "accounts on line").await);
}

#[tokio::test]
async fn one_account_from_many_lines_is_seen() {
    let world = World::new().await;
    for line in ["+12025550191", "+12025550192", "+12025550193"] {
        let mut call = world.call(line).await;
        call.presses(&["1", "2", "10004711", "20500", "1111", "1112"]).await;
        call.hang_up().await;
    }
    let call = world.call(ANA_LINE).await;
    assert!(world.tells(call.id, "lines on account +20 (4 lines for this account in 24 hours)").await, "{:#?}", world.story(call.id).await);
    assert!(world.tells(call.id, "failed lately on account +10 (6 wrong entries on other calls about this account in 24 hours)").await);
}

#[tokio::test]
async fn an_odd_hour_and_an_odd_country_are_told_from_the_customers_own_habit() {
    let world = World::new().await;
    let prove = async |from: &str, keys: &[&str]| {
        let mut call = world.call(from).await;
        call.presses(keys).await;
        call.hang_up().await;
        call.id
    };
    // With too few calls on record nothing is odd.
    let odd = prove("+4930555010", &["1", "2", "10004711", "20500", "4071"]).await;
    assert!(!world.tells(odd, "odd").await);
    for _ in 0..8 {
        world.pass(Span::days(1));
        let usual = prove(ANA_LINE, &["2", "4071"]).await;
        assert!(!world.tells(usual, "odd hour").await);
    }
    // Calls that prove nothing make no habit, however many there are.
    world.pass(Span::hours(12));
    for _ in 0..4 {
        prove("+33155501000", &["1", "2", "10004711", "20500"]).await;
    }
    let night = prove("+33155501000", &["1", "2", "10004711", "20500"]).await;
    assert!(world.tells(night, "odd hour +5 (none of 9 proved calls of this customer came at this time of day)").await, "{:#?}", world.story(night).await);
    assert!(world.tells(night, "odd country +15 (none of 9 proved calls of this customer came from this country)").await);
    hides(&world.log().await, &["33155501000", "4930555010"]);
}

#[tokio::test]
async fn a_risky_caller_is_rung_back_at_the_number_on_file() {
    let world = ruled(routes(40, Some(50), None)).await;
    let mut sam = world.sam().await;
    let mut call = Phone::dial(&world, Some(ANA_LINE), "TN-Validation-Failed").await;
    call.presses(&["0", "1"]).await.hears("we are going to ring you at a number on file").is_cut();
    assert!(world.tells(call.id, "the customer is rung back at a number on file").await);
    // Not at once: the line would be busy.
    assert!(world.deliver().await.is_empty());
    world.pass(ring_back::AFTER);
    world.deliver().await;
    let ring = world.letter().await;
    ring.went_to(Channel::Ring, ANA_LINE);
    // Once, however often the outbox runs.
    assert!(world.deliver().await.is_empty());
    let mut back = Phone::answer(&world, ring_back::call_back_of(&world.app.runner, call.id)).await;
    back.hears("There was a call to us about your account, and we are ringing you back.");
    back.press("1").await.hears("A specialist will be with you soon.");
    let page = sam.take(&mut back).await;
    assert_eq!(page.level(), "identified", "being reached proves nothing by itself");
    assert!(world.tells(back.id, "We ring the customer back").await);
}

#[tokio::test]
async fn the_machine_alone_serves_a_risky_caller() {
    let world = ruled(routes(40, None, Some(50))).await;
    let mut call = Phone::dial(&world, Some(ANA_LINE), "TN-Validation-Failed").await;
    call.hears("Please enter your PIN.").presses(&["0", "1"]).await.hears("nobody can take this call").is_cut();
    assert!(!world.events(call.id).await.iter().any(|e| matches!(e, Event::Queued { .. })));
}

#[tokio::test]
async fn in_shadow_everything_goes_on_as_if_there_were_no_score() {
    let world = ruled(Rules { mode: Mode::Shadow, ..Rules::default() }).await;
    let mut robin = world.robin().await;
    let mut call = Phone::dial(&world, Some(ANA_LINE), "TN-Validation-Failed").await;
    call.hears("If you are calling about the delivery").presses(&["2", "4071", "1"]).await.hears("An agent will be with you soon.");
    robin.take(&mut call).await.shows("on trial: nothing follows").shows("+55");
    assert!(world.tells(call.id, "Risk 55 (shadow: nothing follows; it would lead to: specialist): attestation failed +55").await);
    assert!(world.events(call.id).await.iter().any(|e| matches!(e, Event::Queued { queue: Queue::Agents, because } if because.is_empty())));
}

#[tokio::test]
async fn a_line_on_the_leads_list_is_answered_by_nobody() {
    let world = World::new().await;
    let kim = world.kim().await;
    let post = async |path: &str, fields: &[(&str, &str)]| crate::common::pages::post(&world.router, path, Some(&kim.cookie), fields).await;
    post("/admin/deny", &[("number", "202 555 0199")]).await.is(422);
    post("/admin/deny", &[("number", "+1 (202) 555-0199")]).await.is(303);
    post("/admin/deny", &[("number", STRANGER)]).await.is(303);
    let page = kim.get("/admin/risk").await;
    page.ok().shows("Deny list <span class=\"count\">1</span>").shows("Kim").hides(&["2025550199", STRANGER]);
    world.call(STRANGER).await.hears("We are sorry, we cannot help you on this call.").is_cut();
    world.call(ANA_LINE).await.hears("We know the number");
    let log = world.log().await;
    assert_eq!(log.lines().filter(|l| l.starts_with("deny ") && l.contains("\"listed\"")).count(), 1, "{log}");
    hides(&log, &["2025550199", STRANGER]);
    let line = page.body.split("name=\"line\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    post("/admin/deny/remove", &[("line", &line)]).await.is(303);
    post("/admin/deny/remove", &[("line", &line)]).await.is(303);
    let mut again = world.call(STRANGER).await;
    again.hears("For English");
    assert_eq!(world.log().await.lines().filter(|l| l.contains("\"unlisted\"")).count(), 1);
}

#[tokio::test]
async fn confirmed_fraud_looks_back() {
    let world = World::new().await;
    let (mut robin, kim) = (world.robin().await, world.kim().await);
    let mut first = world.call(STRANGER).await;
    first.presses(&["1", "2", "10004711", "20500", "4071", "1"]).await;
    robin.take(&mut first).await;
    robin.end().await.ok();
    let mut same_line = world.call(STRANGER).await;
    same_line.presses(&["1", "2", "10004712", "14770"]).await;
    same_line.hang_up().await;
    let mut same_account = world.call(ANA_LINE).await;
    same_account.presses(&["2", "4071"]).await;
    same_account.hang_up().await;
    let mut same_agent = world.call(LIAM_LINE).await;
    same_agent.presses(&["0", "1"]).await;
    robin.take(&mut same_agent).await;
    robin.end().await.ok();

    let record = format!("/admin/calls/{}", first.id);
    let page = kim.get(&record).await;
    page.ok().shows("Mark as fraud").shows("same line").shows("same account").shows("same agent, within a day").hides(&ANA_PRIVATE);
    let post = async |what: &str, fields: &[(&str, &str)]| crate::common::pages::post(&world.router, &format!("{record}/{what}"), Some(&kim.cookie), fields).await;
    // A reason is written, by the lead.
    post("fraud", &[("reason", "short")]).await.is(422).shows("write a reason of at least ten characters");
    crate::common::pages::post(&world.router, &format!("{record}/fraud"), Some(&robin.cookie), &[("reason", "because I say so")]).await.is(404);
    let (ana, liam) = (ANA.to_string(), LIAM.to_string());
    post("fraud", &[("reason", "the customer rang and said it was not her"), ("deny", "yes"), ("freeze", &ana), ("freeze", &liam)]).await.is(303);
    assert!(world.profile(ANA).await.frozen.is_some());
    assert!(world.profile(LIAM).await.frozen.is_none(), "only what this call touched");
    world.call(STRANGER).await.is_cut();
    assert!(world.tells(first.id, "marked this call as FRAUD").await);
    kim.get(&record).await.shows("marked as fraud").shows("look at this").shows("on the deny list").shows("frozen").lacks("not her");
    kim.get(&format!("/admin/calls/{}", same_line.id)).await.shows("1 related call is marked as fraud.");
    post("fraud", &[("reason", "once more, with feeling")]).await.is(422).shows("marked so already");
    hides(&world.log().await, &["said it was not her"]);

    // It bears on what comes next from that line, once somebody answers it again.
    let page = kim.get("/admin/risk").await;
    let line = page.body.split("name=\"line\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    crate::common::pages::post(&world.router, "/admin/deny/remove", Some(&kim.cookie), &[("line", &line)]).await.is(303);
    let next = world.call(STRANGER).await;
    assert!(world.tells(next.id, "fraud on line +50 (a call from this line was confirmed as fraud)").await);

    // A mistake is taken back, on record, and no longer counts.
    post("not-fraud", &[("reason", "it was her after all, on her new phone")]).await.is(303);
    assert!(world.tells(first.id, "took the mark of fraud back").await);
    let after = world.call(STRANGER).await;
    assert!(!world.tells(after.id, "fraud on line").await);
    assert!(world.profile(ANA).await.frozen.is_some(), "a freeze has its own way back");
}

#[tokio::test]
async fn the_lead_sees_what_an_agent_does_that_peers_do_not() {
    let world = World::new().await;
    let limits = AgentLimits { misses: 4, look_ups: 3, ..AgentLimits::default() };
    world.app.runner.watch.limit(limits);
    let (mut robin, mut ola, kim) = (world.robin().await, world.agent("Ola", countersign_core::action::Role::Agent).await, world.kim().await);
    for (desk, misses) in [(&mut robin, 4), (&mut ola, 1)] {
        let mut call = world.call(ANA_LINE).await;
        call.presses(&["2", "4071", "1"]).await;
        desk.take(&mut call).await;
        for _ in 0..misses {
            desk.heard("email", "somebody.else@example.com").await.shows("No match.");
        }
        desk.end().await.ok();
    }
    // Customers looked up by number, with nobody on the line.
    for number in ["10009991", "10009992", "10009993"] {
        crate::common::pages::post(&world.router, "/desk/call-out", Some(&ola.cookie), &[("account_number", number)]).await.is(422);
    }
    let page = kim.get("/admin/risk").await;
    page.ok().shows("4 comparisons that missed; the middle of 1 others is 1").shows("3 look-ups without a call; the middle of 1 others is 0");
    kim.get("/admin").await.shows("unusual: Robin").shows("unusual: Ola").shows("/admin/risk");
    assert_eq!(world.log().await.matches("\"looked_up\"").count(), 3);

    // Told once, whoever reads and whichever server counts.
    let other = world.sibling().await;
    other.app.runner.watch.limit(limits);
    kim.clone().at(&other).get("/admin/risk").await.shows("4 comparisons that missed");
    let alerts = kim.get("/admin").await.body.matches("unusual: Robin").count();
    assert_eq!(alerts, 1);
    // The agent sees nothing of it, and neither does the operator.
    let alex = world.agent("Alex", countersign_core::action::Role::Admin).await;
    for desk in [&robin, &ola] {
        desk.get("/admin/risk").await.is(404);
        desk.get("/desk").await.lacks("unusual");
    }
    alex.get("/admin/risk").await.is(404);
    alex.get("/admin").await.lacks("unusual").lacks("/admin/risk");
    // Tomorrow is another day.
    world.pass(Span::days(1));
    let kim = world.kim().await;
    kim.get("/admin/risk").await.shows("Nobody took a call yet.");
}
