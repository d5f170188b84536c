//! A thief with the customer's web sign-in, who wants something of their own on file.

use countersign_core::{factor::FactorKind, time::Span};
use serde_json::json;

use crate::common::{
    API_KEY, URL, World,
    authenticator::{self, Device, add},
    hides,
    pages::{self, Page},
    people::*,
    portal::Portal,
};

const NEW_PIN: [(&str, &str); 3] = [("kind", "pin"), ("word", "6402"), ("again", "6402")];

fn leads(page: &Page, to: &str) {
    page.is(303);
    assert_eq!(page.header("location"), to);
}

/// Whether the PIN opens anything on a call from the account's own line.
async fn keyed(world: &World, line: &str, pin: &str) -> bool {
    let mut call = world.call(line).await;
    call.presses(&["1", pin]).await;
    let proved = world.tells(call.id, "Proved").await;
    call.hang_up().await;
    proved
}

/// A fresh sign-in alone changes nothing where something on file can confirm it.
#[tokio::test]
async fn a_web_sign_in_alone_sets_nothing_up() {
    let world = World::new().await;
    let thief = Portal::enter(&world, "10004711").await;
    let page = thief.get("/me/security").await;
    page.ok().shows("Your PIN for the phone").lacks("Set a PIN").lacks("Set up an app").lacks("Make a list").lacks("Add a passkey");
    leads(&thief.post("/me/security/word", &NEW_PIN).await, "/me/security?say=confirm");
    // Kinds that are not on file, that do not exist, or nothing at all.
    for (kind, entry) in [("totp", "123456"), ("passkey", "4071"), ("sms_code", "4071"), ("", "4071")] {
        thief.post("/me/security/confirm", &[("kind", kind), ("entry", entry)]).await.is(404);
    }
    for nothing in ["", "  ", &"4".repeat(65)] {
        assert_eq!(thief.confirm("pin", nothing).await, "wrong");
    }
    thief.post("/me/security/confirm", &[]).await.is(404);
    assert_eq!(world.profile(ANA).await.authenticators.len(), 1);
    assert_eq!(thief.confirm("pin", " 40 71 ").await, "confirmed", "spaces are for the eye");
    leads(&thief.post("/me/security/word", &NEW_PIN).await, "/me/security?say=added");
    assert!(keyed(&world, ANA_LINE, "6402").await, "confirmed with what was on file: it counts at once");
}

/// Ten wrong entries a day, however many at once; the right one is not looked at then, and another
/// session changes nothing about that. The customer reads of each.
#[tokio::test]
async fn the_pin_is_not_guessed_in_the_portal() {
    let world = World::new().await;
    let thief = Portal::enter(&world, "10004711").await;
    let answers: Vec<String> = futures_of(&thief, 40).await;
    let count = |what: &str| answers.iter().filter(|a| *a == what).count();
    assert_eq!((count("wrong"), count("not-now")), (10, 30), "{answers:?}");
    assert_eq!(thief.confirm("pin", "4071").await, "not-now");
    let again = Portal::enter(&world, "10004711").await;
    assert_eq!(again.confirm("pin", "4071").await, "not-now");
    again.home().await.ok().shows("tried to confirm a change with a PIN for the phone, and it was wrong.");
    // The phone has counts of its own: whoever guesses here does not shut the customer out there.
    assert!(keyed(&world, ANA_LINE, "4071").await);
    world.pass(Span::days(1));
    let later = Portal::enter(&world, "10004711").await;
    assert_eq!(later.confirm("pin", "4071").await, "confirmed");
    hides(&world.log().await, &["4071", "0001"]);
}

async fn futures_of(portal: &Portal, n: usize) -> Vec<String> {
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..n {
        let portal = portal.clone();
        tasks.spawn(async move { portal.confirm("pin", &format!("{i:04}")).await });
    }
    tasks.join_all().await
}

/// A code of an app counts once, there or here.
#[tokio::test]
async fn a_code_that_was_seen_confirms_nothing() {
    let world = World::new().await;
    let liam = Portal::enter(&world, "10004712").await;
    let code = liam_code(world.now());
    let mut call = world.call(LIAM_LINE).await;
    call.presses(&["1", &code]).await;
    assert!(world.tells(call.id, "Proved").await);
    assert_eq!(liam.confirm("totp", &code).await, "wrong", "it was keyed on the phone");
    world.pass(Span::seconds(60));
    let code = liam_code(world.now());
    assert_eq!(liam.confirm("totp", &code).await, "confirmed");
    let thief = Portal::enter(&world, "10004712").await;
    assert_eq!(thief.confirm("totp", &code).await, "wrong");
    let mut other = world.call(LIAM_LINE).await;
    other.presses(&["1", &code]).await;
    assert!(!world.tells(other.id, "Proved").await);
}

/// Forced at the screen: it looks as if the door were shut for today, and the lead knows.
#[tokio::test]
async fn the_emergency_pin_opens_nothing_and_is_heard() {
    let world = World::new().await;
    let (kim, sofia) = (world.kim().await, Portal::enter(&world, "10004714").await);
    assert_eq!(sofia.confirm("pin", "5099").await, "not-now");
    leads(&sofia.post("/me/security/word", &NEW_PIN).await, "/me/security?say=confirm");
    let page = sofia.get("/me/security?say=not-now").await;
    page.ok().shows("Try again tomorrow, or call us.");
    sofia.home().await.ok().lacks("tried to confirm");
    let admin = kim.get("/admin").await;
    admin.ok().shows("duress").shows(&SOFIA.to_string());
    hides(&world.log().await, &["5099"]);
}

/// Nothing is on file, so a fresh sign-in sets up what it likes: it counts a week later. Until then
/// it confirms nothing either, so that a thief cannot vouch for themselves.
#[tokio::test]
async fn what_nothing_vouched_for_waits() {
    let world = World::new().await;
    let (thief, mut device) = (Portal::enter(&world, "10004715").await, Device::new(9));
    let page = add(&world.router, &thief.cookie, &mut device).await;
    page.ok().shows("/me/security?say=later");
    leads(&thief.post("/me/security/word", &NEW_PIN).await, "/me/security?say=later");
    thief.post("/me/security/codes", &[]).await.ok().shows("They count from").shows("say=later");
    thief.get("/me/security?say=later").await.ok().shows("It counts on the phone from the time shown below").shows("counts from");
    world.edit(JONAS, |p| p.preferred = Some(FactorKind::Pin)).await;
    let profile = world.profile(JONAS).await;
    assert_eq!(profile.authenticators.len(), 3);
    assert!(profile.authenticators.iter().all(|a| a.usable_from == world.now() + Span::days(7)), "the cooling-off time of contacts");
    assert!(!world.deliver().await.is_empty(), "the addresses on file are told");

    let usable = |world: &World, profile: &countersign_core::account::Profile| -> Vec<FactorKind> {
        profile.brief(world.now()).usable(world.now()).map(|f| f.kind).collect()
    };
    let now = usable(&world, &profile);
    assert!(!now.contains(&FactorKind::Pin) && !now.contains(&FactorKind::Passkey) && !now.contains(&FactorKind::BackupCode), "{now:?}");
    assert!(!keyed(&world, JONAS_LINE, "6402").await);
    // The passkey signs in, and that session is no better than the first.
    let again = authenticator::sign_in(&world.router, &mut device).await;
    let cookie = again.ok().cookie();
    leads(&pages::post(&world.router, "/me/security/word", Some(&cookie), &NEW_PIN).await, "/me/security?say=later");
    let start = authenticator::post(&world.router, "/me/security/confirm/start", Some(&cookie), &json!({})).await;
    start.is(422).shows("no passkey on this account that counts already");
    thief.post("/me/security/confirm", &[("kind", "pin"), ("entry", "6402")]).await.is(404);
    world.pass(Span::minutes(11));
    leads(&pages::post(&world.router, "/me/security/word", Some(&cookie), &NEW_PIN).await, "/me/security?say=confirm");

    // A week later it is the customer's, as nobody said otherwise: from now on it confirms.
    world.pass(Span::days(7));
    assert!(usable(&world, &world.profile(JONAS).await).contains(&FactorKind::Passkey));
    let cookie = authenticator::sign_in(&world.router, &mut device).await.ok().cookie();
    leads(&pages::post(&world.router, "/me/security/word", Some(&cookie), &NEW_PIN).await, "/me/security?say=added");
    assert!(keyed(&world, JONAS_LINE, "6402").await);
}

/// The company's site saw two factors: what the customer sets up first counts at once.
#[tokio::test]
async fn the_company_may_vouch_for_two_factors() {
    let world = World::new().await;
    let body = json!({ "account_number": "10004715", "two_factors": true });
    let page = pages::api(&world.router, "/api/v1/portal-sessions", API_KEY, &body).await;
    page.is(201);
    let answer: serde_json::Value = serde_json::from_str(&page.body).unwrap();
    let link = answer["url"].as_str().unwrap().strip_prefix(URL).unwrap().to_owned();
    let portal = Portal { router: world.router.clone(), cookie: pages::get(&world.router, &link, None).await.ok().cookie() };
    leads(&portal.post("/me/security/word", &NEW_PIN).await, "/me/security?say=added");
    world.edit(JONAS, |p| p.preferred = Some(FactorKind::Pin)).await;
    assert!(keyed(&world, JONAS_LINE, "6402").await);
    // It does not stand in for what is on file.
    let body = json!({ "account_number": "10004711", "two_factors": true });
    let page = pages::api(&world.router, "/api/v1/portal-sessions", API_KEY, &body).await;
    let answer: serde_json::Value = serde_json::from_str(&page.body).unwrap();
    let link = answer["url"].as_str().unwrap().strip_prefix(URL).unwrap().to_owned();
    let ana = Portal { router: world.router.clone(), cookie: pages::get(&world.router, &link, None).await.ok().cookie() };
    leads(&ana.post("/me/security/word", &NEW_PIN).await, "/me/security?say=confirm");
}

/// A passkey that does not count yet signs no approval, whatever the page offers.
#[tokio::test]
async fn a_passkey_that_waits_approves_nothing() {
    let world = World::new().await;
    let (portal, mut device) = (Portal::confirmed(&world, "10004711").await, Device::new(1));
    add(&world.router, &portal.cookie, &mut device).await.ok();
    let asked = super::passkeys::transaction(ANA);
    let session = authenticator::binding(&portal.cookie);
    let (token, options) = countersign_server::passkeys::begin_approval(&world.app, &asked, &session).await.unwrap();
    let presented = countersign_server::passkeys::presented(&session, token.expose(), &device.sign(&options));
    let later = world.now() + Span::days(1);
    world.edit(ANA, |p| p.authenticators.iter_mut().filter(|a| a.kind == FactorKind::Passkey).for_each(|a| a.usable_from = later)).await;
    assert!(!super::passkeys::attested(&world, &asked, &presented).await.0);
    assert!(countersign_server::passkeys::begin_approval(&world.app, &asked, &session).await.is_err());
    world.edit(ANA, |p| p.authenticators.iter_mut().for_each(|a| a.usable_from = countersign_core::time::Timestamp(0))).await;
    assert!(super::passkeys::attested(&world, &asked, &presented).await.0, "it was the waiting that refused it");
}
