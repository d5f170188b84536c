//! Somebody at the desk who does more than they should.

use countersign_core::{action::Role, call::Event, id::AccountId};

use crate::common::{World, hides, people::*, phone::Phone};

const VERBS: [(&str, &[(&str, &str)]); 14] = [
    ("heard", &[("what", "email"), ("value", ANA_MAIL)]), ("reveal", &[("field", "name")]), ("request", &[("action", "change:phone")]),
    ("prove", &[("factors", "sms_code")]), ("word", &[("word", "x")]), ("cancel", &[]), ("perform", &[("action", "do:request_refund")]),
    ("voice-enrol", &[]), ("voice-compare", &[]), ("voice-remove", &[]), ("speak-for", &[("account_number", "10004713")]), ("switch", &[("reason", "I want this call for myself")]), ("hand-over", &[("queue", "agents")]), ("end", &[]),
];

#[tokio::test]
async fn one_agent_on_anothers_call() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    robin.take(&mut call).await;
    robin.reveal("name").await.shows("Ana Torres");
    let before = world.events(call.id).await.len();
    for (name, role) in [("Ola", Role::Agent), ("Sam", Role::Specialist), ("Kim", Role::Lead), ("Alex", Role::Admin)] {
        let mut other = world.agent(name, role).await;
        other.call = call.id;
        for (verb, fields) in VERBS.iter().chain(&[("accept", &[][..])]) {
            let page = other.act(verb, fields).await;
            page.hides(&ANA_PRIVATE);
            assert_ne!(page.flash(), "Match.", "{name} {verb}");
        }
        if role != Role::Lead {
            other.page().await.is(404);
            other.panel().await.is(404);
        } else {
            // A lead looks on, and sees nothing of the customer either.
            other.page().await.ok().hides(&ANA_PRIVATE).shows("You do not have this call, so the page shows nothing of the account.");
        }
        other.get("/desk").await.hides(&ANA_PRIVATE);
        other.queue().await.hides(&ANA_PRIVATE);
    }
    assert_eq!(world.events(call.id).await.len(), before);
    assert!(world.deliver().await.is_empty());
    robin.panel().await.ok().shows("Ana Torres");
    // A call that is nobody's, or not there at all.
    robin.call = countersign_core::id::CallId([9; 16]);
    for (verb, fields) in VERBS {
        robin.act(verb, fields).await.is(404);
    }
    // A call that is still with the machine is on nobody's list.
    let mut fresh = world.call(TINA_LINE).await;
    robin.call = fresh.id;
    robin.panel().await.is(404);
    robin.act("accept", &[]).await.hides(&TINA_PRIVATE);
    fresh.press("7318").await.hears("Thank you, that was accepted.");
    assert!(!world.events(fresh.id).await.iter().any(|e| matches!(e, Event::Accepted { .. })));
}

/// Who waits is on the list, with what is needed to choose and nothing of whom it is about.
#[tokio::test]
async fn the_queue_shows_no_customer() {
    let world = World::new().await;
    let (robin, mut sam) = (world.robin().await, world.sam().await);
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    for page in [robin.queue().await, robin.get("/desk").await, sam.queue().await] {
        page.ok().shows("authenticated").hides(&ANA_PRIVATE);
    }
    // Looking at it before taking it shows claims without values.
    sam.call = call.id;
    sam.panel().await.ok().shows("You do not have this call").hides(&ANA_PRIVATE);
    sam.reveal("name").await.hides(&ANA_PRIVATE);
    assert!(!world.events(call.id).await.iter().any(|e| matches!(e, Event::Revealed { .. })));
}

/// Two agents press "Take" at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_taken_once() {
    for world in [World::new().await, World::in_file().await] {
        let other = world.sibling().await;
        let mut desks = Vec::new();
        for (n, name) in ["Robin", "Ola", "Udo", "Eve"].into_iter().enumerate() {
            let desk = world.agent(name, Role::Agent).await;
            desks.push(if n % 2 == 0 { desk } else { desk.at(&other) });
        }
        let mut call = world.call(ANA_LINE).await;
        call.presses(&["1", "4071", "1"]).await;
        let id = call.id;
        let all: Vec<_> = desks.into_iter().map(|desk| tokio::spawn(async move { (desk.act_on(id, "accept", &[]).await, desk) })).collect();
        let mut have_it = 0;
        for one in all {
            let (_, mut desk) = one.await.unwrap();
            desk.call = id;
            have_it += usize::from(desk.panel().await.status == 200);
        }
        assert_eq!(have_it, 1);
        assert_eq!(world.events(id).await.iter().filter(|e| matches!(e, Event::Accepted { .. })).count(), 1);
    }
}

/// Somebody's role is lowered while they are on a call: from then on they have it no more.
#[tokio::test]
async fn a_role_that_is_taken_away() {
    let world = World::new().await;
    let mut kim = world.kim().await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    kim.take(&mut call).await;
    kim.prove("sms_code", "change:phone").await.ok();
    call.listen().await;
    let code = world.letter().await.code();
    call.press(&code).await;
    kim.reveal("phone").await.shows(ANA_LINE);
    demote(&world, "Kim").await;
    for (verb, fields) in VERBS {
        kim.act(verb, fields).await.hides(&ANA_PRIVATE);
    }
    kim.change_phone("+12025550150").await.hides(&ANA_PRIVATE);
    kim.panel().await.is(404);
    kim.get("/admin").await.is(404);
    assert_eq!(world.profile(ANA).await.events, 0);
    assert!(!world.events(call.id).await.iter().any(|e| matches!(e, Event::Performed { .. } | Event::Ended { .. })));
}

/// As an operator would, in the record itself.
async fn demote(world: &World, name: &str) {
    let (store, vault) = (&world.app.runner.store, &world.app.runner.vault);
    let id = name.to_lowercase().into_bytes();
    let doc = store.doc("agent", &id).await.unwrap().unwrap();
    let mut agent: serde_json::Value = vault.unseal("agent", &id, &doc.body).unwrap();
    agent["role"] = "agent".into();
    let body = vault.seal("agent", &id, &agent).unwrap();
    let put = countersign_store::DocWrite::Put { kind: "agent", id, expected: countersign_store::Expect::Version(doc.version), body, due: None };
    store.commit(countersign_store::Commit { now: world.now().0, docs: vec![put], ..Default::default() }).await.unwrap();
}

/// An agent who tries one account after the other by what they type: five misses and no more on a
/// call, and what fits is never said before two things agree.
#[tokio::test]
async fn accounts_cannot_be_collected_through_claims() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let waiting = async || -> Phone {
        let mut call = world.withheld().await;
        call.presses(&["1", "0", "1"]).await;
        call
    };
    let mut call = waiting().await;
    robin.take(&mut call).await;
    let mut tries = 0;
    for number in 10_009_000..10_009_020 {
        let page = robin.heard("account_number", &number.to_string()).await;
        page.hides(&ANA_PRIVATE);
        if page.flash() == "Noted." {
            tries += 1;
        } else {
            page.says("no more tries on this call");
        }
    }
    assert_eq!(tries, 5);
    // Neither "wrong account" nor a colleague gives new ones.
    robin.act("switch", &[("reason", "once more from the start please")]).await;
    robin.heard("account_number", "10004711").await.says("no more tries");
    robin.hand_over("specialists").await.ok();
    let mut sam = world.sam().await;
    call.listen().await;
    sam.take(&mut call).await;
    sam.heard("account_number", "10004711").await.says("no more tries");
    sam.panel().await.hides(&ANA_PRIVATE);

    // A claim that fits and one that does not: the same word, and no account on the page.
    let mut second = waiting().await;
    robin.take(&mut second).await;
    for (value, fits) in [("10004711", true), ("10009999", false)] {
        let page = robin.heard("account_number", value).await;
        page.says("Noted.").shows("noted").lacks("fits</span>").lacks("does not fit").hides(&ANA_PRIVATE);
        let _ = fits;
    }
    // Once an account is open, a try at another one is a comparison that fails.
    robin.heard("account_number", "10004711").await.ok();
    robin.heard("postal_code", "20500").await.says("Two things agree");
    robin.heard("account_number", "10004712").await.says("No match.");
    robin.heard("email", "liam.okafor@example.com").await.says("No match.").hides(&LIAM_PRIVATE);
    let subjects: Vec<AccountId> = world.events(second.id).await.iter().filter_map(|e| match e {
        Event::Identified { account, .. } => Some(*account),
        _ => None,
    }).collect();
    assert!(subjects.iter().all(|s| *s == ANA), "{subjects:?}");
    hides(&world.log().await, &["10004711", "10009999", "20500", "10004712"]);
}

/// A command that is sent again, by a browser or a proxy, is done once.
#[tokio::test]
async fn a_command_sent_twice_is_done_once() {
    let world = World::new().await;
    let mut sam = world.sam().await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    sam.take(&mut call).await;
    sam.prove("sms_code", "change:phone").await.ok();
    call.listen().await;
    let code = world.letter().await.code();
    call.press(&code).await;
    for (action, value) in [("change:phone", "+12025550150"), ("do:request_refund", "x"), ("change:email", "new@example.com")] {
        for _ in 0..3 {
            let page = sam.perform(action, &[("value", value), ("command", &format!("once-{action}"))]).await;
            page.ok().lacks("on file already");
        }
    }
    let done = world.events(call.id).await.iter().filter(|e| matches!(e, Event::Performed { .. })).count();
    assert_eq!(done, 3);
    assert_eq!(world.deliver().await.iter().filter(|l| l.text.contains("/undo/")).count(), 2 + 2, "each change is told once to each contact");
    // The same name from another agent, or on another call of theirs, is another command.
    let mut robin = world.robin().await;
    sam.hand_over("agents").await.ok();
    call.listen().await;
    robin.take(&mut call).await;
    robin.perform("do:request_refund", &[("command", "once-do:request_refund")]).await.says("Done.");
}

/// What an agent looked at goes with them; nobody finds an opened page.
#[tokio::test]
async fn an_opened_field_is_shut_for_the_next() {
    let world = World::new().await;
    let (mut robin, mut sam) = (world.robin().await, world.sam().await);
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    robin.take(&mut call).await;
    robin.reveal("orders").await.shows("Reading lamp");
    robin.hand_over("specialists").await.ok();
    call.listen().await;
    sam.take(&mut call).await.lacks("Reading lamp").hides(&ANA_PRIVATE);
    sam.reveal("orders").await.shows("Reading lamp");
    sam.end().await.ok();
    sam.page().await.ok().lacks("Reading lamp").hides(&ANA_PRIVATE).shows("The call is over, and the page shows nothing of the account any more.");
    robin.page().await.is(404);
}

/// A lead's exception: a written reason of some length, on record, sealed, and an alert.
#[tokio::test]
async fn an_exception_is_written_down() {
    let world = World::new().await;
    let (mut kim, other) = (world.kim().await, world.agent("Lee", Role::Lead).await);
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "0", "1"]).await;
    kim.take(&mut call).await;
    let reason = "police asked, file 2026-118";
    let with = async |field: &str, reason: &str| kim.act("reveal", &[("field", field), ("reason", reason)]).await;
    with("name", reason).await.says("not permitted now").hides(&ANA_PRIVATE);
    kim.heard("account_number", "10004711").await.says("Two things agree");
    kim.reveal("name").await.says("write a reason of at least ten characters");
    with("name", "short").await.says("write a reason of at least ten characters");
    with("address", reason).await.says("not permitted now").hides(&ANA_PRIVATE);
    with("name", reason).await.shows("Ana Torres");
    other.get("/admin").await.shows("exception");
    assert!(world.tells(call.id, "looked at name [lead_with_reason]").await);
    hides(&world.log().await, &["police", "118"]);
    // Nobody below has that.
    let mut sam = world.sam().await;
    kim.hand_over("specialists").await.ok();
    call.listen().await;
    sam.take(&mut call).await;
    sam.act("reveal", &[("field", "name"), ("reason", reason)]).await.says("not permitted now").hides(&ANA_PRIVATE);
}
