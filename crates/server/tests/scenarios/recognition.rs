//! What a known number gets: a greeting, a guess what it is about, and music.

use countersign_core::{action::Role, call::Event, prompt::Music};

use crate::common::{START, World, desk::Desk, pages, people::*, phone::Phone};

#[tokio::test]
async fn united_recognition() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let mut call = world.call(ANA_LINE).await;
    // The day of something that is coming, and not a word about what, where or who.
    call.hears("Welcome to Juniper & Co.").hears("We know the number you are calling from.")
        .hears("If you are calling about the delivery due on Thursday, June 4, press 1.")
        .hears_nothing_of(&ANA_PRIVATE).hears_nothing_of(&["lamp", "Reading"]);
    call.press("1").await.hears("Please enter your PIN.").hears_nothing_of(&ANA_PRIVATE);
    call.press("0").await.press("1").await;
    let page = robin.take(&mut call).await;
    assert_eq!(page.level(), "identified");
    page.shows("about what is coming up").hides(&ANA_PRIVATE).hides(&["lamp"]);
    robin.page().await.hides(&ANA_PRIVATE).hides(&["lamp", "2026-06-04"]);
    for field in ["upcoming", "name", "orders", "address", "phone", "email"] {
        robin.reveal(field).await.says("not permitted now").hides(&ANA_PRIVATE);
    }
    // A second thing that fits opens the account: still nothing is proved.
    robin.heard("account_number", "1000 4711").await.says("Two things agree: the account is open. Nothing is proved yet.");
    let page = robin.reveal("upcoming").await;
    assert_eq!(page.level(), "identified");
    page.shows("2026-06-04").hides(&ANA_PRIVATE);
    for field in ["name", "orders", "address", "postal_code", "phone", "email", "date_of_birth", "account_number"] {
        robin.reveal(field).await.says("not permitted now").hides(&ANA_PRIVATE);
    }
    assert!(world.tells(call.id, "The caller is calling about what is upcoming.").await);
    assert!(!world.events(call.id).await.iter().any(|e| matches!(e, Event::Proved { .. })));
    assert!(world.deliver().await.is_empty());
}

/// Whatever level a caller has reached, the address is in no prompt, and below strong on no page.
#[tokio::test]
async fn utility_reads_address() {
    const ADDRESS: [&str; 5] = ["Juniper Lane", "12 Juniper", "Springfield", "20500", "12 Juniper Lane, Springfield"];
    for (name, role) in [("Robin", Role::Agent), ("Sam", Role::Specialist), ("Kim", Role::Lead)] {
        let world = World::new().await;
        let mut desk = world.agent(name, role).await;
        let mut call = world.call(ANA_LINE).await;
        call.hears_nothing_of(&ADDRESS);
        for keys in ["1", "0", "1"] {
            call.press(keys).await.hears_nothing_of(&ADDRESS);
        }
        desk.take(&mut call).await.hides(&ADDRESS);
        nothing_to_see(&desk, &ADDRESS).await;
        // Comparing is possible, and says nothing but yes or no. (The right answer is not echoed.)
        desk.heard("account_number", "10004711").await.hides(&ADDRESS);
        desk.heard("address", "12 Juniper Lane Springfield").await.says("Match.").hides(&ADDRESS);
        desk.heard("address", "12 Juniper Lane").await.says("No match.").hides(&ADDRESS);
        nothing_to_see(&desk, &ADDRESS).await;

        desk.prove("pin", "").await.hides(&ADDRESS);
        call.listen().await.press("4071").await.hears_nothing_of(&ADDRESS);
        assert_eq!(desk.panel().await.level(), "authenticated");
        nothing_to_see(&desk, &ADDRESS).await;

        desk.prove("sms_code", "change:address").await.hides(&ADDRESS);
        call.listen().await.hears_nothing_of(&ADDRESS);
        let letter = world.letter().await;
        crate::common::hides(&letter.text, &ADDRESS);
        call.press(&letter.code()).await.hears_nothing_of(&ADDRESS);
        // To work on it, and never to be said.
        let page = desk.panel().await;
        assert_eq!(page.level(), "strong");
        page.hides(&ADDRESS).shows("do not say");
        desk.reveal("address").await.shows("12 Juniper Lane, Springfield");
        desk.reveal("date_of_birth").await.says("not permitted now").hides(&["1984-03-09"]);
        // Whoever has it next has looked at nothing.
        desk.hand_over("specialists").await.hides(&ADDRESS);
        call.listen().await.hears_nothing_of(&ADDRESS);
    }
}

async fn nothing_to_see(desk: &Desk, address: &[&str]) {
    for field in ["address", "postal_code"] {
        desk.reveal(field).await.says("not permitted now").hides(address);
        let reason = [("field", field), ("reason", "the caller sounds very nice to me")];
        desk.act("reveal", &reason).await.says("not permitted now").hides(address);
    }
    desk.page().await.hides(address);
    desk.panel().await.hides(address);
}

#[tokio::test]
async fn apple_hold_music() {
    let world = World::new().await;
    let chosen = |call: &mut Phone, music: &str| match music {
        "silence" => assert_eq!(call.does(), "[silence]"),
        music => call.plays(music),
    };
    for (key, music) in [("1", "calm"), ("2", "lively"), ("3", "classical"), ("4", "silence")] {
        let mut call = world.call(STRANGER).await;
        call.presses(&["1", "0"]).await.hears("Please choose what you hear while you wait.")
            .hears("For calm music, press 1. For lively music, press 2. For classical music, press 3. For silence, press 4.");
        call.press(key).await.hears("An agent will be with you soon.");
        chosen(&mut call, music);
        // While waiting it can be changed, as often as one likes; other keys change nothing.
        for (key, music) in [("4", "silence"), ("3", "classical"), ("2", "lively"), ("1", "calm")] {
            call.press(key).await;
            chosen(&mut call, music);
        }
        call.press("9").await.plays("calm");
        call.press("#").await.plays("calm");
        // The music is over: it begins again.
        call.listen().await.plays("calm");
        let chosen: Vec<Music> = world.events(call.id).await.iter().filter_map(|e| match e {
            Event::MusicChosen { music } => Some(*music),
            _ => None,
        }).collect();
        assert_eq!(chosen.len(), 5);
        call.hang_up().await;
    }
    // Nobody chooses: nobody waits in silence without having asked for it.
    let mut call = world.call(STRANGER).await;
    call.presses(&["1", "0"]).await.silent().await.plays("calm");
    // The agent sees what the caller hears.
    let mut robin = world.robin().await;
    robin.call = call.id;
    robin.panel().await.shows("The caller waits for an agent.");
    call.press("3").await;
    robin.panel().await.shows("The caller waits for an agent, with classical music.");
    robin.take(&mut call).await;
    // Handed over, the same music goes on.
    robin.hand_over("agents").await.ok();
    call.listen().await.plays("classical");
}

/// Every piece that TwiML names is there to be played.
#[tokio::test]
async fn the_music_is_served() {
    let world = World::new().await;
    for music in Music::ALL.into_iter().filter(|m| *m != Music::Silence) {
        let page = pages::get(&world.router, &format!("/assets/music/{}.wav", music.name()), None).await;
        page.ok();
        assert_eq!(page.header("content-type"), "audio/wav");
        assert!(page.body.starts_with("RIFF"), "{}", music.name());
    }
}

/// The hint is as old as its day: what is delivered or overdue is not mentioned.
#[tokio::test]
async fn only_what_is_coming_is_hinted_at() {
    let world = World::new().await;
    world.edit(ANA, |p| p.orders[0].due = Some(START)).await;
    let mut call = world.call(ANA_LINE).await;
    call.hears("We know the number you are calling from.").hears("Please enter your PIN.");
    assert!(!call.words().contains("delivery"));
}
