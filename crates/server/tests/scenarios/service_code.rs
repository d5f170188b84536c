//! The code at the foot of every signed-in page.

use std::sync::atomic::Ordering;

use countersign_core::{call::Params, factor::FactorKind, time::Span};

use crate::common::{Setup, World, has_word, hides, people::*, phone::Phone, portal::Portal};

/// From a number that nobody has on file to where the code is keyed.
async fn asked(world: &World, from: &str) -> Phone {
    let mut call = world.call(from).await;
    call.hears("Welcome to Juniper & Co.").hears("For English, press 1.").press("1").await
        .hears("When you are signed in on our website, you see a code for the phone.").press("1").await
        .hears("Please enter the code for the phone.");
    call
}

async fn refused(world: &World, from: &str, code: &str) {
    asked(world, from).await.press(code).await.hears("No more tries are possible this way.").hears("Please enter your account number.");
}

async fn accepted(world: &World, from: &str, code: &str) -> Phone {
    let mut call = asked(world, from).await;
    call.press(code).await.hears("Thank you, that was accepted.").hears("Please choose what you hear while you wait.");
    call
}

async fn story(world: World) {
    let mut robin = world.robin().await;
    let portal = Portal::enter(&world, "10004711").await;
    let code = portal.code().await;
    assert_eq!(code.len(), 8);
    assert_eq!(code, portal.code().await, "every window shows the same");
    let seconds_left = |body: &str| body.contains(r#"<progress class="code-bar" max="60" value="60""#);
    assert!(seconds_left(&portal.get("/me/service-code").await.body));

    // One step: who is meant, and that it is them. From a stranger's telephone.
    let mut call = accepted(&world, STRANGER, &code).await;
    call.press("1").await.hears("You will not have to repeat anything you entered.");
    let page = robin.take(&mut call).await;
    assert_eq!(page.level(), "authenticated");
    page.hides(&[&code]).hides(&ANA_PRIVATE);
    robin.reveal("name").await.shows("Ana Torres");
    assert!(world.tells(call.id, "Proved: portal code.").await);
    assert!(world.tells(call.id, "Identified as acct_a1a1").await);

    // Once.
    refused(&world, STRANGER, &code).await;
    let next = portal.code().await;
    assert_ne!(next, code, "what was used is not shown any more");

    // It rotates, and what was shown a moment ago is still taken: people need time to key it.
    world.pass(Span::seconds(59));
    assert_eq!(portal.code().await, next);
    world.pass(Span::seconds(1));
    let rotated = portal.code().await;
    assert_ne!(rotated, next);
    world.pass(Span::seconds(59));
    accepted(&world, "+12025550171", &next).await;
    world.pass(Span::seconds(61));
    refused(&world, "+12025550171", &rotated).await;

    // On a line that belongs to somebody else it is the code that counts.
    let liams = Portal::enter(&world, "10004712").await.code().await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["2", "*", "*", "*"]).await.hears("Please enter the code for the phone.");
    call.press(&liams).await.hears("Thank you, that was accepted.").press("1").await;
    let page = robin_takes_another(&world, &mut call).await;
    page.shows("The calling number belongs to another account.").hides(&LIAM_PRIVATE);
    assert!(world.tells(call.id, "Identified as acct_b1b1").await);
    hides(&world.log().await, &[&code, &next, &rotated, &liams]);
}

async fn robin_takes_another(world: &World, call: &mut Phone) -> crate::common::pages::Page {
    let mut ola = world.agent("Ola", countersign_core::action::Role::Agent).await;
    let page = ola.take(call).await;
    assert_eq!(page.level(), "authenticated");
    page
}

#[tokio::test]
async fn netflix_service_code() { story(World::new().await).await; }

#[tokio::test]
async fn netflix_service_code_in_a_file() { story(World::in_file().await).await; }

/// Five wrong ones per line and quarter of an hour, however many calls they are spread over; then
/// not even the right one is looked at. Other lines do not suffer.
#[tokio::test]
async fn guesses_are_limited_per_line() {
    let world = World::new().await;
    let portal = Portal::enter(&world, "10004711").await;
    for guess in 0..5 {
        let code = portal.code().await;
        let wrong = format!("{:08}", (code.parse::<u64>().unwrap() + guess + 1) % 100_000_000);
        refused(&world, STRANGER, &wrong).await;
    }
    let code = portal.code().await;
    let mut call = asked(&world, STRANGER).await;
    call.press(&code).await.hears("No more tries are possible this way.");
    assert!(world.tells(call.id, "Too many wrong portal codes: none is taken now.").await);
    accepted(&world, "+12025550171", &code).await;
    world.pass(Span::minutes(15));
    accepted(&world, STRANGER, &portal.code().await).await;
}

/// And over all lines together: whoever has a thousand lines gets no thousand guesses.
#[tokio::test]
async fn guesses_are_limited_everywhere() {
    let world = World::with(Setup { params: Params { service_failures: 6, ..Params::default() }, ..Setup::default() }).await;
    let portal = Portal::enter(&world, "10004711").await;
    let code = portal.code().await;
    for line in 10..16 {
        let wrong = format!("{:08}", (code.parse::<u64>().unwrap() + line) % 100_000_000);
        refused(&world, &format!("+120255501{line}"), &wrong).await;
    }
    refused(&world, "+12025550116", &code).await;
    world.pass(Span::hours(1));
    let portal = Portal::enter(&world, "10004711").await;
    accepted(&world, "+12025550116", &portal.code().await).await;
}

/// Also when the randomness gives the same code twice, no two accounts show it at one time.
#[tokio::test]
async fn no_two_live_codes_are_equal() {
    let world = World::new().await;
    let numbers = ["10004711", "10004712", "10004713", "10004714", "10004715"];
    let mut portals = Vec::new();
    for number in numbers {
        portals.push(Portal::enter(&world, number).await);
    }
    world.ground.stuck.store(true, Ordering::SeqCst);
    let mut codes = Vec::new();
    for portal in &portals {
        codes.push(portal.code().await);
    }
    codes.sort();
    codes.dedup();
    assert_eq!(codes.len(), numbers.len(), "{codes:?}");
}

/// A code that policy would not let this account use is no better than a wrong one, and nothing
/// that was seen on the way is said.
#[tokio::test]
async fn a_code_says_nothing_on_its_way() {
    let world = World::new().await;
    let portal = Portal::enter(&world, "10004711").await;
    let mut call = asked(&world, STRANGER).await;
    call.press("1234567").await.hears_nothing_of(&ANA_PRIVATE);
    let metrics = world.metrics().await;
    assert!(metrics.contains(&format!("countersign_wrong_entries_total{{factor=\"{}\"}} 1", FactorKind::ServiceCode)), "{metrics}");
    assert!(!has_word(&metrics, &portal.code().await));
}
