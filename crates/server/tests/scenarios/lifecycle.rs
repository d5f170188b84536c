//! Calls that end, at any moment, and a server that stops in their middle.

use countersign_core::{
    call::{Ending, Event, Stage},
    time::Span,
};

use crate::common::{World, people::*};

async fn restarts(world: World) {
    let mut robin = world.robin().await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "*"]).await.hears("We have just texted a code");

    // The server stops before the text went out. Afterwards it goes, once, and its code counts.
    let world = world.restart().await;
    let mut call = call.at(&world);
    let letter = world.letter().await;
    let wrong = if letter.code() == "111111" { "111112" } else { "111111" };
    call.press(wrong).await.hears("That was not accepted. Please try again.");
    let world = world.restart().await;
    let mut call = call.at(&world);
    // The webhook whose answer was lost is sent again: nothing happens twice.
    let n = world.events(call.id).await.len();
    call.again().await.ok().shows("That was not accepted. Please try again.");
    assert_eq!(world.events(call.id).await.len(), n);
    call.press(&letter.code()).await.hears("Thank you, that was accepted.").press("3").await;

    // Waiting, and another restart: still in the queue, still with their music, still signed in.
    let world = world.restart().await;
    let (mut call, mut desk) = (call.at(&world), robin.clone().at(&world));
    call.listen().await.plays("classical");
    desk.queue().await.shows(&format!(r#"id="take-{}""#, call.id));
    assert_eq!(desk.take(&mut call).await.level(), "authenticated");
    desk.prove("pin", "change:phone").await.ok();

    // Asked for a PIN, and the server stops before the telephone heard of it.
    let world = world.restart().await;
    let (mut call, desk) = (call.at(&world), desk.at(&world));
    desk.panel().await.shows("The caller is keying: PIN.");
    call.listen().await.hears("Please enter your PIN.").press("4071").await.hears("You are going back to your agent now.").is_bridged();
    assert_eq!(desk.panel().await.level(), "strong");
    desk.change_phone("+12025550150").await.says("Done.");

    let world = world.restart().await;
    let (mut call, desk) = (call.at(&world), desk.at(&world));
    assert_eq!(world.deliver().await.len(), 2, "notices survive");
    desk.panel().await.shows("done");
    call.hang_up().await;
    let world = world.restart().await;
    let summaries = world.deliver().await;
    assert!(summaries.iter().any(|l| l.to == ANA_MAIL) && summaries.len() == 2);
    assert!(world.deliver().await.is_empty());
    assert_eq!(world.app.runner.live().await.len(), 0);
    // What the state is, is what the events say.
    let live = world.app.runner.call(call.id).await.unwrap().unwrap();
    assert_eq!(live.call.ended.map(|(ending, _)| ending), Some(Ending::Caller));
    robin = robin.at(&world);
    robin.queue().await.shows("Nobody waits.");
}

#[tokio::test]
async fn a_call_survives_restarts() { restarts(World::new().await).await; }

#[tokio::test]
async fn a_call_survives_restarts_in_a_file() { restarts(World::in_file().await).await; }

#[tokio::test]
async fn hanging_up_at_any_moment() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let stages: [(&str, &[&str], Stage); 12] = [
        (STRANGER, &[], Stage::Language), (STRANGER, &["1"], Stage::Menu), (STRANGER, &["1", "1"], Stage::KeyingServiceCode),
        (STRANGER, &["1", "2"], Stage::KeyingAccountNumber), (STRANGER, &["1", "2", "10004711"], Stage::KeyingPostalCode),
        (STRANGER, &["1", "0"], Stage::Music), (STRANGER, &["1", "0", "1"], Stage::Waiting), (STRANGER, &["1", "0", "1", "take"], Stage::Talking),
        (ANA_LINE, &[], Stage::Recognised), (ANA_LINE, &["1"], Stage::Proving), (ANA_LINE, &["1", "*"], Stage::Proving),
        (ANA_LINE, &["1", "0", "1", "take", "prove"], Stage::Proving),
    ];
    for (from, keys, stage) in stages {
        let mut call = world.call(from).await;
        for keys in keys {
            match *keys {
                "take" => { robin.take(&mut call).await; }
                "prove" => { robin.prove("pin", "").await.ok(); call.listen().await; }
                keys => { call.press(keys).await; }
            }
        }
        let live = world.app.runner.call(call.id).await.unwrap().unwrap();
        assert_eq!(live.call.stage, stage);
        let before = call.clone();
        call.hang_up().await;
        let events = world.events(call.id).await;
        assert_eq!(events.last(), Some(&Event::Ended { ending: Ending::Caller }), "{stage:?}");
        let ended = world.app.runner.call(call.id).await.unwrap().unwrap().call;
        assert!(ended.challenge.is_none() && ended.stage == Stage::Ended, "{stage:?}");
        // Keys that were on their way, a second report, an agent who was about to take it: too late.
        if stage != Stage::Talking {
            let mut late = before;
            late.press("4071").await.is_cut();
        }
        call.hang_up().await;
        call.listen().await.is_cut();
        robin.call = call.id;
        for verb in ["accept", "cancel", "end"] {
            robin.act(verb, &[]).await;
        }
        world.wait(Span::hours(1)).await;
        assert_eq!(world.events(call.id).await.len(), events.len(), "{stage:?}: the record is closed");
        robin = world.robin().await;
    }
    world.deliver().await;
    assert_eq!(world.app.runner.live_count(), 0);
    assert!(world.app.runner.store.docs("call", None, 10).await.unwrap().is_empty());
    let metrics = world.metrics().await;
    assert!(metrics.contains("countersign_calls_ended_total{name=\"caller\"} 12"), "{metrics}");
}

/// Nobody keys anything, nobody is free, a proof grows old: the clockwork goes on by itself.
#[tokio::test]
async fn time_runs_out() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    // A code that comes too late.
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "*"]).await;
    let code = world.letter().await.code();
    world.pass(Span::seconds(299));
    let on_time = call.clone();
    world.pass(Span::seconds(1));
    call.press(&code).await.hears("We are ringing the number on file");
    assert!(world.tells(call.id, "The challenge ended without a proof: its time ran out.").await);
    drop(on_time);
    call.hang_up().await;

    // Silence.
    let mut call = world.call(STRANGER).await;
    call.press("1").await;
    world.wait(Span::seconds(179)).await;
    assert!(!world.tells(call.id, "Ended").await);
    world.wait(Span::seconds(1)).await;
    call.listen().await.hears("Thank you for calling Juniper & Co. Goodbye.").is_cut();

    // Nobody is free for half an hour.
    let mut call = world.call(STRANGER).await;
    call.presses(&["1", "0", "1"]).await;
    world.wait(Span::minutes(29)).await;
    call.listen().await.plays("calm");
    world.wait(Span::minutes(1)).await;
    call.listen().await.hears("We are sorry, nobody is free right now.").is_cut();

    // Half an hour after the last proof it is worth nothing any more, on the page and in truth.
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    robin.take(&mut call).await;
    robin.reveal("name").await.shows("Ana Torres");
    world.pass(Span::minutes(30));
    let page = robin.panel().await;
    assert_eq!(page.level(), "identified", "before the clockwork came by");
    page.hides(&ANA_PRIVATE);
    robin.perform("do:request_refund", &[]).await.says("Not permitted now");
    world.wait(Span::seconds(1)).await;
    assert!(world.tells(call.id, "the proofs are too old").await);
    robin.prove("pin", "").await.ok();
    call.listen().await.press("4071").await;
    assert_eq!(robin.panel().await.level(), "authenticated");
    assert!(!world.deliver().await.iter().any(|l| l.text.contains("was cancelled")));
}

/// Many keys, then an agent who asks for the wrong things in the wrong order: nothing breaks, and
/// everything is refused with a reason in words.
#[tokio::test]
async fn commands_out_of_turn_are_refused_in_words() {
    let world = World::new().await;
    let (mut robin, mut sam) = (world.robin().await, world.sam().await);
    let mut call = world.call(STRANGER).await;
    call.presses(&["1", "0", "1"]).await;
    robin.take(&mut call).await;
    sam.call = call.id;
    robin.act("accept", &[]).await.says("the call is not waiting any more");
    robin.word("anything").await.says("no challenge is open");
    robin.act("cancel", &[]).await.says("no challenge is open");
    robin.prove("pin", "").await.says("no account is open on this call");
    robin.perform("change:password", &[]).await.says("no account is open on this call");
    robin.act("switch", &[("reason", "there is no account at all")]).await.says("no account is open on this call");
    robin.heard("email", "not an address").await.says("this cannot be compared: check how it is written");
    robin.act("hand-over", &[("queue", "lunch")]).await.says("there is no such queue");
    robin.act("perform", &[("action", "eat:cake")]).await.says("not an action");
    robin.act("perform", &[]).await.says("the field action is missing or empty");
    robin.change_phone("555").await.says("not a telephone number in E.164 form");
    robin.act("dance", &[]).await.is(404);
    sam.act("end", &[]).await;
    assert!(!world.tells(call.id, "Ended").await, "Sam does not have this call");
    call.listen().await.is_bridged();
}
