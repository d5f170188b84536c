//! The doors between the portal and the telephone, tried by somebody who should not get through.

use countersign_core::{call::{Event, Params}, id::CallId, time::Span};

use crate::common::{
    Setup, World,
    desk::Desk,
    pages::{self, FORM, own, send},
    people::*,
    phone::{Phone, webhook},
    portal::Portal,
};

/// Ana's call at an agent, who asks her for an approval: the call, the request, the code.
async fn asked(world: &World, robin: &mut Desk, portal: &Portal) -> (Phone, String, String) {
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["2", "*", "*", "0", "1"]).await;
    robin.take(&mut call).await;
    let code = robin.prove("approval", "change:phone").await.given();
    let challenge = portal.asked().await.unwrap();
    (call, challenge, code)
}

fn other(code: &str) -> String { format!("{:06}", (code.parse::<u32>().unwrap() + 1) % 1_000_000) }

#[tokio::test]
async fn a_request_of_somebody_else_cannot_be_answered() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let (ana, tina) = (Portal::enter(&world, "10004711").await, Portal::enter(&world, "10004716").await);
    let (call, challenge, code) = asked(&world, &mut robin, &ana).await;
    let before = world.events(call.id).await;
    assert_eq!(tina.asked().await, None, "not even seen");
    for how in ["type", "decline", "not-me"] {
        assert_eq!(tina.answer(&challenge, how, &code).await, "over");
    }
    // Nor is it a code for a call of nobody in particular.
    tina.post("/me/code", &[("code", &code)]).await.is(422);
    // Nor by name alone, without a session.
    let nobody = own("POST".parse().unwrap(), &format!("/me/approvals/{challenge}/type"), None, FORM, format!("code={code}"));
    assert!([303, 422].contains(&send(&world.router, nobody).await.status.as_u16()));
    assert_eq!(robin.panel().await.level(), "identified");
    assert_eq!(world.events(call.id).await, before, "nothing happened");
    assert_eq!(ana.answer(&challenge, "type", &code).await, "approved");
    // Answered: nothing more comes of it.
    for how in ["type", "decline", "not-me"] {
        assert_eq!(ana.answer(&challenge, how, &code).await, "over");
    }
    assert_eq!(robin.panel().await.level(), "authenticated");
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_none() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let ana = Portal::enter(&world, "10004711").await;
    let (call, challenge, code) = asked(&world, &mut robin, &ana).await;
    world.pass(Params::default().challenge_life);
    assert_eq!(ana.answer(&challenge, "type", &code).await, "over");
    assert_eq!(robin.panel().await.level(), "identified");
    assert!(world.tells(call.id, "its time ran out").await);
    // The code of one request is not that of the next.
    let next = robin.prove("approval", "change:phone").await.given();
    assert_ne!(next, code);
    let challenge = ana.asked().await.unwrap();
    assert_eq!(ana.answer(&challenge, "type", &code).await, "wrong");
}

/// A thousand codes typed at once, on three nodes: three are judged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_typed_codes_at_once() {
    for world in [World::new().await, World::in_file().await] {
        let nodes = [world.clone(), world.sibling().await, world.sibling().await];
        let mut robin = world.robin().await;
        let ana = Portal::enter(&world, "10004711").await;
        let (call, challenge, code) = asked(&world, &mut robin, &ana).await;
        let mut all = Vec::new();
        for guess in 0..1000_u32 {
            let (router, cookie) = (nodes[guess as usize % 3].router.clone(), ana.cookie.clone());
            let guess = format!("{:06}", guess * 7 % 1_000_000);
            let guess = if guess == code { other(&code) } else { guess };
            let path = format!("/me/approvals/{challenge}/type");
            all.push(tokio::spawn(async move { pages::post(&router, &path, Some(&cookie), &[("code", &guess)]).await.status.as_u16() }));
        }
        for one in all {
            let status = one.await.unwrap();
            assert!([303, 503].contains(&status), "{status}");
        }
        let wrong = world.events(call.id).await.iter().filter(|e| matches!(e, Event::ChallengeFailed { .. })).count();
        assert_eq!(wrong, 3);
        assert_eq!(ana.answer(&challenge, "type", &code).await, "over");
        assert!(world.tells(call.id, "no tries left").await);
    }
}

/// The right code typed a hundred times at once approves once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_code_counts_once() {
    let world = World::in_file().await;
    let nodes = [world.clone(), world.sibling().await];
    let mut robin = world.robin().await;
    let ana = Portal::enter(&world, "10004711").await;
    let (call, challenge, code) = asked(&world, &mut robin, &ana).await;
    let mut all = Vec::new();
    for n in 0..100 {
        let (router, cookie, code, path) = (nodes[n % 2].router.clone(), ana.cookie.clone(), code.clone(), format!("/me/approvals/{challenge}/type"));
        all.push(tokio::spawn(async move { pages::post(&router, &path, Some(&cookie), &[("code", &code)]).await }));
    }
    for one in all {
        one.await.unwrap();
    }
    assert_eq!(world.events(call.id).await.iter().filter(|e| matches!(e, Event::Proved { .. })).count(), 1);
}

/// Push bombing: from one line four requests in a quarter of an hour, from many sixteen in an hour.
#[tokio::test]
async fn asking_again_and_again_ends() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let ana = Portal::enter(&world, "10004711").await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["2", "*", "*", "0", "1"]).await;
    robin.take(&mut call).await;
    let mut asked = 0;
    for _ in 0..6 {
        if robin.prove("approval", "").await.body.contains("Code to read out") {
            asked += 1;
            robin.act("cancel", &[]).await.ok();
        }
    }
    assert_eq!(asked, 4);
    robin.prove("approval", "").await.says("too many messages or wrong entries lately");
    assert_eq!(ana.asked().await, None);
    robin.end().await.ok();

    // From other lines, who claim to be her.
    for line in 0..5 {
        let mut call = world.call(&format!("+1202555018{line}")).await;
        call.presses(&["1", "0", "1"]).await;
        robin.take(&mut call).await;
        robin.heard("account_number", "10004711").await.ok();
        robin.heard("postal_code", "20500").await.ok();
        for _ in 0..4 {
            if robin.prove("approval", "").await.body.contains("Code to read out") {
                asked += 1;
                robin.act("cancel", &[]).await.ok();
            }
        }
        robin.end().await.ok();
    }
    assert_eq!(asked, 16);
}

/// Somebody signed in types codes until one fits: five wrong ones, then not even the right one is
/// looked at, and all accounts together have a bound of their own.
#[tokio::test]
async fn codes_of_calls_cannot_be_guessed() {
    let world = World::with(Setup { params: Params { typed_codes: 3, ..Params::default() }, ..Setup::default() }).await;
    let (ana, tina) = (Portal::enter(&world, "10004711").await, Portal::enter(&world, "10004716").await);
    let mut call = world.call(STRANGER).await;
    call.presses(&["1", "3"]).await;
    let code = call.spoken_code();
    for guess in 0..3_u32 {
        let wrong = format!("{:08}", (code.parse::<u32>().unwrap() + guess + 1) % 100_000_000);
        ana.post("/me/code", &[("code", &wrong)]).await.is(422).shows("That is no code of a call");
    }
    ana.post("/me/code", &[("code", &code)]).await.is(422).shows("Too many codes were tried lately.");
    ana.post("/me/code/confirm", &[("code", &code), ("answer", "yes")]).await.is(422).shows("Too many codes were tried lately.");
    // What cannot be a code costs nothing and tells nothing.
    for odd in ["", "x", "'; drop table", "１２３４５６７８", &"9".repeat(400)] {
        tina.post("/me/code", &[("code", odd)]).await.is(422).shows("That is no code of a call");
    }
    assert_eq!(tina.links(&code).await.header("location"), "/me?done=approved");
}

/// And all accounts together, within an hour.
#[tokio::test]
async fn codes_of_calls_cannot_be_guessed_by_many() {
    let world = World::with(Setup { params: Params { typed_codes: 2, typed_everywhere: 32, ..Params::default() }, ..Setup::default() }).await;
    let mut portals = Vec::new();
    for account in ["10004711", "10004712", "10004713", "10004714", "10004715", "10004716", "10004717", "10004718"] {
        portals.push(Portal::enter(&world, account).await);
    }
    for _ in 0..2 {
        for portal in &portals {
            for guess in ["00000001", "00000002"] {
                portal.post("/me/code", &[("code", guess)]).await.is(422).shows("That is no code of a call");
            }
        }
        world.pass(Span::minutes(15));
    }
    let mut call = world.call(STRANGER).await;
    call.presses(&["1", "3"]).await;
    let code = call.spoken_code();
    portals[0].post("/me/code", &[("code", &code)]).await.is(422).shows("Too many codes were tried lately.");
    world.pass(Span::minutes(30));
    let mut call = world.call(STRANGER).await;
    call.presses(&["1", "3"]).await;
    let portal = Portal::enter(&world, "10004711").await;
    assert_eq!(portal.links(&call.spoken_code()).await.header("location"), "/me?done=approved");
}

/// Nobody but the telephony says that a call of ours was answered, and nothing else is answered that way.
#[tokio::test]
async fn a_call_of_ours_cannot_be_answered_by_anybody() {
    let world = World::new().await;
    let chidi = Portal::enter(&world, "10004713").await;
    let contact = chidi.home().await.body.split("name=\"contact\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    chidi.post("/me/call-me", &[("contact", &contact)]).await.is(303);
    let id: CallId = world.letter().await.text.parse().unwrap();
    let path = format!("/twilio/answered?call={id}");
    pages::post(&world.router, &path, None, &[("CallSid", world.call_sid().as_str()), ("CallStatus", "in-progress")]).await.is(403);
    // Signed for another call, moved to this one.
    let phone = Phone::new(&world, Some(CHIDI_LINE), "No-TN-Validation");
    let mut request = webhook("/twilio/answered?call=call_00000000000000000000000000000001", &phone.fields(&[]));
    *request.uri_mut() = path.parse().unwrap();
    send(&world.router, request).await.is(403);
    // A call of somebody else's cannot be taken over by saying that it is ours.
    let call = world.call(ANA_LINE).await;
    send(&world.router, webhook(&format!("/twilio/answered?call={}", call.id), &phone.fields(&[]))).await.is(404);
    send(&world.router, webhook("/twilio/answered?call=call_00000000000000000000000000000001", &phone.fields(&[]))).await.is(404);
    assert!(!world.tells(id, "Somebody answered.").await);
    // Answered once; the same webhook again gets the same answer.
    let call = Phone::answer(&world, id).await;
    let again = call.again().await;
    assert_eq!(again.body, call.twiml);
    assert_eq!(world.events(id).await.iter().filter(|e| matches!(e, Event::Answered)).count(), 1);
}

/// An agent rings nobody but customers, and cannot find out who is one by ringing.
#[tokio::test]
async fn an_agent_rings_only_what_is_on_file() {
    let world = World::with(Setup { params: Params { agent_claims: 4, ..Params::default() }, ..Setup::default() }).await;
    let robin = world.robin().await;
    let ring = async |number: &str| pages::post(&world.router, "/desk/call-out", Some(&robin.cookie), &[("account_number", number), ("to", "+12025550150")]).await;
    // No such customer, and a customer without a telephone: one answer.
    let (nobody, silent) = (ring("99999999").await, ring("10004717").await);
    nobody.is(422).shows("no customer can be rung by this account number");
    assert_eq!(nobody.body, silent.body);
    ring("10004711").await.is(303);
    let letters = world.deliver().await;
    assert_eq!((letters.len(), letters[0].to.as_str()), (1, ANA_LINE), "and never where the form says");
    ring("10004711").await.is(303);
    ring("10004711").await.is(422).shows("too many customers in the last hour");
    // An administrator rings nobody.
    let alex = world.agent("Alex", countersign_core::action::Role::Admin).await;
    pages::post(&world.router, "/desk/call-out", Some(&alex.cookie), &[("account_number", "10004711")]).await.is(422);
}
