//! The customer's signed-in side: what is set up there, and how it counts on the phone.

use countersign_core::{
    account::Material,
    call::Event,
    factor::{Algorithm, FactorKind, Otp},
    secret::Secret,
    time::Span,
};

use crate::common::{
    World,
    authenticator::{self, Device},
    hides, pages,
    pages::Page,
    people::*,
    portal::Portal,
};

async fn has(world: &World, kind: FactorKind) -> bool { world.profile(ANA).await.authenticators.iter().any(|a| a.kind == kind) }

fn leads(page: &Page, to: &str) {
    page.is(303);
    assert_eq!(page.header("location"), to);
}

/// Added after the company's own sign-in, told to everybody on file, and from then on it signs in
/// without a name.
#[tokio::test]
async fn a_passkey_is_added_and_signs_in() {
    let world = World::new().await;
    let (portal, mut device) = (Portal::confirmed(&world, "10004711").await, Device::new(1));
    portal.get("/me/security").await.ok().shows("None yet.").shows("Add a passkey");
    let begun = authenticator::start(&world.router, "/me/security/passkey", Some(&portal.cookie)).await;
    assert_eq!(begun.options["authenticatorSelection"]["residentKey"], "required");
    assert_eq!(begun.options["authenticatorSelection"]["userVerification"], "required");
    assert_eq!(begun.options["rp"]["id"], "calls.example.com");
    authenticator::add(&world.router, &portal.cookie, &mut device).await.ok().shows("/me/security?say=added");
    portal.get("/me/security?say=added").await.ok().shows("It is set up.").shows("Passkey");

    let letters = world.deliver().await;
    assert_eq!(letters.len(), 2, "e-mail and telephone: {letters:#?}");
    assert!(letters.iter().all(|l| l.link().starts_with("/not-me/")));

    // The next one excludes the first, and needs its signature.
    world.pass(Span::seconds(1));
    let page = authenticator::post(&world.router, "/me/security/passkey/start", Some(&portal.cookie), &serde_json::json!({})).await;
    leads(&page, "/me/security?say=confirm");
    authenticator::confirm(&world.router, &portal.cookie, &mut device).await.ok();
    let begun = authenticator::start(&world.router, "/me/security/passkey", Some(&portal.cookie)).await;
    assert_eq!(begun.options["excludeCredentials"].as_array().unwrap().len(), 1);

    let page = authenticator::sign_in(&world.router, &mut device).await;
    page.ok().shows(r#"{"to":"/me"}"#);
    let mine = page.cookie();
    assert_ne!(mine, portal.cookie);
    pages::get(&world.router, "/me", Some(&mine)).await.ok().shows("Ana Torres");
    // A passkey signed: changes are open without another.
    pages::get(&world.router, "/me/security", Some(&mine)).await.ok().shows("Rename").shows("with a passkey");
    let profile = world.profile(ANA).await;
    assert!(profile.portal.is_some_and(|at| at <= world.now() && at.0 % Span::days(1).0 == 0));
    assert_eq!(profile.brief(world.now()).factors[0].kind, FactorKind::Passkey);
    let log = world.log().await;
    assert!(log.contains(r#""type":"authenticator_added""#) && log.contains(r#""how":"passkey""#), "{log}");
    hides(&log, &ANA_PRIVATE);
}

#[tokio::test]
async fn an_app_counts_after_one_right_code() {
    let world = World::new().await;
    let portal = Portal::confirmed(&world, "10004711").await;
    portal.get("/me/security/totp").await.is(303);
    leads(&portal.post("/me/security/totp/new", &[]).await, "/me/security/totp");
    let page = portal.get("/me/security/totp").await;
    let (_, rest) = page.ok().body.split_once("class=\"secret\">").unwrap();
    let key: String = rest.split('<').next().unwrap().chars().filter(|c| *c != ' ').collect();
    assert_eq!(key.len(), 32, "160 bits");
    let picture = portal.get("/me/security/totp.svg").await;
    picture.ok().shows("<svg").lacks(&key).lacks("style");
    assert_eq!((picture.header("content-type"), picture.header("cache-control")), ("image/svg+xml", "no-store"));
    assert!(!has(&world, FactorKind::Totp).await);

    let otp = Otp { key: Secret::new(hex::encode(unbase32(&key))), digits: 6, algorithm: Algorithm::Sha1, step: Some(30) };
    let code = totp(&otp, world.now());
    portal.post("/me/security/totp/confirm", &[("code", "000000")]).await.ok().shows("This is not the code");
    portal.post("/me/security/totp/confirm", &[]).await.ok().shows("This is not the code");
    leads(&portal.post("/me/security/totp/confirm", &[("code", code.expose())]).await, "/me/security?say=added");
    assert!(has(&world, FactorKind::Totp).await);
    portal.get("/me/security/totp").await.is(303);
    portal.get("/me/security/totp.svg").await.is(303);
    hides(&world.log().await, &[&key, &hex::encode(unbase32(&key)), code.expose()]);

    // The code that confirmed it is spent; the next one counts on the phone.
    world.edit(ANA, |p| p.preferred = None).await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", code.expose()]).await;
    assert!(!world.tells(call.id, "Proved").await, "{:?}", world.story(call.id).await);
    world.pass(Span::seconds(60));
    call.press(totp(&otp, world.now()).expose()).await.hears("Thank you");
    hides(&world.log().await, &[&key]);
}

fn unbase32(text: &str) -> Vec<u8> {
    let bits: String = text.chars().map(|c| format!("{:05b}", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".find(c).unwrap())).collect();
    bits.as_bytes().chunks_exact(8).map(|b| u8::from_str_radix(std::str::from_utf8(b).unwrap(), 2).unwrap()).collect()
}

/// A PIN of the customer's own choice, with another one for when somebody forces them.
#[tokio::test]
async fn a_pin_is_replaced_and_has_an_emergency_one() {
    let world = World::new().await;
    let portal = Portal::confirmed(&world, "10004711").await;
    let set = async |word: &str, again: &str, duress: &str| portal.post("/me/security/word", &[("kind", "pin"), ("word", word), ("again", again), ("duress", duress)]).await;
    set("1234", "1234", "").await.is(422).shows("This is one of the first that a stranger would try");
    set("12a4", "12a4", "").await.is(422).shows("A PIN has 4 to 12 digits.");
    set("6402", "6403", "").await.is(422).shows("The two entries differ.");
    set("6402", "6402", "6402").await.is(422).shows("must differ from the real one");
    set("6402", "6402", "1111").await.is(422).shows("For the emergency one");
    portal.post("/me/security/word", &[("kind", "totp"), ("word", "6402"), ("again", "6402")]).await.is(404);
    assert_eq!(world.deliver().await.len(), 0);
    leads(&set("6402", "6402", "6409").await, "/me/security?say=added");
    assert_eq!(world.deliver().await.len(), 2);
    assert_eq!(world.profile(ANA).await.authenticators.len(), 1, "one PIN");
    portal.get("/me/security").await.ok().hides(&["6402", "6409"]);
    hides(&world.log().await, &["6402", "6409", "duress"]);

    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071"]).await;
    assert!(!world.tells(call.id, "Proved").await, "the old one is gone");
    call.press("6402").await.hears("Thank you");
    let mut forced = world.call(ANA_LINE).await;
    forced.presses(&["1", "6409"]).await.hears("Thank you");
    assert!(world.log().await.contains(r#""duress":true"#));

    leads(&portal.post("/me/security/word", &[("kind", "verbal_password"), ("word", "Blue  Teapot"), ("again", "blue teapot")]).await, "/me/security?say=added");
    assert!(has(&world, FactorKind::VerbalPassword).await);
}

#[tokio::test]
async fn backup_codes_are_shown_once_and_work_once() {
    let world = World::new().await;
    let portal = Portal::confirmed(&world, "10004713").await;
    let page = portal.post("/me/security/codes", &[]).await;
    world.edit(CHIDI, |p| p.authenticators.retain(|a| a.kind == FactorKind::BackupCode)).await;
    assert_eq!(page.ok().header("cache-control"), "no-store");
    let (_, list) = page.body.split_once("class=\"paper\">").unwrap();
    let codes: Vec<String> = list.split("</ol>").next().unwrap().split("<li>").skip(1).map(|c| c.chars().filter(char::is_ascii_digit).collect()).collect();
    assert!(codes.len() == 10 && codes.iter().all(|c| c.len() == 10), "{codes:?}");
    let texts: Vec<&str> = codes.iter().map(String::as_str).collect();
    portal.get("/me/security").await.ok().shows("10 codes").hides(&texts);
    hides(&world.log().await, &texts);
    let profile = world.profile(CHIDI).await;
    let Material::Codes { codes: kept, .. } = &profile.authenticators[0].material else { panic!("no list") };
    hides(&serde_json::to_string(kept).unwrap(), &texts);

    // Keyed on the phone, once; two days later it is still spent, and another is not.
    world.edit(CHIDI, |p| p.preferred = Some(FactorKind::BackupCode)).await;
    let keyed = async |code: &str| {
        let mut call = world.call(CHIDI_LINE).await;
        call.presses(&["1", code]).await;
        let proved = world.events(call.id).await.iter().any(|e| matches!(e, Event::Proved { kind: FactorKind::BackupCode, .. }));
        call.hang_up().await;
        proved
    };
    assert!(keyed(&codes[3]).await);
    assert!(!keyed(&codes[3]).await);
    world.pass(Span::days(2));
    assert!(!keyed(&codes[3]).await);
    assert!(keyed(&codes[4]).await);
    assert!(!keyed("0000000000").await);

    // A new list ends the old one.
    // One of them confirms it, and is spent.
    let portal = Portal::enter(&world, "10004713").await;
    portal.get("/me/security").await.ok().shows("A backup code");
    assert_eq!(portal.confirm("backup_code", &codes[3]).await, "wrong");
    assert_eq!(portal.confirm("backup_code", &format!("{} {}", &codes[6][..5], &codes[6][5..])).await, "confirmed");
    assert!(!keyed(&codes[6]).await);
    portal.post("/me/security/codes", &[]).await.ok();
    assert!(!keyed(&codes[5]).await);
    assert_eq!(world.profile(CHIDI).await.authenticators.len(), 1);
}

/// What makes it harder for a thief is open at once; taking it away is not.
#[tokio::test]
async fn preferences_count_on_the_phone_and_locks_do_not_come_off_by_themselves() {
    let world = World::new().await;
    let portal = Portal::confirmed(&world, "10004711").await;
    portal.post("/me/security/preferences", &[]).await.is(422);
    world.pass(Span::minutes(15));
    let save = async |fields: &[(&str, &str)]| {
        let mut all = vec![("form", "preferences")];
        all.extend(fields);
        portal.post("/me/security/preferences", &all).await
    };
    leads(&save(&[("preferred", "pin"), ("never_sms", "on"), ("phone_lock", "on"), ("relay", "on")]).await, "/me/security?say=saved");
    let profile = world.profile(ANA).await;
    assert!(profile.never_sms && profile.phone_lock && profile.access.relay && !profile.access.text);
    assert!(profile.brief(world.now()).factors.iter().all(|f| f.kind != FactorKind::SmsCode));
    assert_eq!(world.deliver().await.len(), 0, "nothing was weakened");
    let page = portal.get("/me/security").await;
    page.ok().shows(r#"name="phone_lock" value="on" checked"#).shows(r#"name="unhurried" value="on">"#);

    // The session is older than ten minutes.
    leads(&save(&[("preferred", "pin"), ("never_sms", "on")]).await, "/me/security?say=confirm");
    leads(&save(&[("preferred", "pin"), ("phone_lock", "on")]).await, "/me/security?say=confirm");
    assert!(world.profile(ANA).await.access.relay, "nothing of it was done");
    let portal = Portal::confirmed(&world, "10004711").await;
    let page = portal.post("/me/security/preferences", &[("form", "preferences"), ("preferred", "sms_code"), ("relay", "on")]).await;
    leads(&page, "/me/security?say=saved");
    let profile = world.profile(ANA).await;
    assert!(!profile.never_sms && !profile.phone_lock);
    assert_eq!(world.deliver().await.len(), 2);
    portal.home().await.ok().shows("You allowed changes by phone again.");
    hides(&world.log().await, &["relay"]);
}

/// A thief at an open session adds a passkey; the notice undoes what can be undone.
#[tokio::test]
async fn whoever_it_was_not_freezes_and_signs_everybody_out() {
    let world = World::new().await;
    let (thief, mut device) = (Portal::confirmed(&world, "10004711").await, Device::new(9));
    let liam = Portal::confirmed(&world, "10004712").await;
    authenticator::add(&world.router, &thief.cookie, &mut device).await.ok();
    let letter = world.deliver().await.into_iter().find(|l| l.to == ANA_MAIL).unwrap();
    let link = letter.link();
    pages::get(&world.router, &link, None).await.ok().shows("changed how your account is protected").lacks("Ana");
    assert!(world.profile(ANA).await.frozen.is_none(), "opening alone does nothing");
    pages::post(&world.router, &link, None, &[("", ""); 0]).await.ok().shows("Your account is frozen");
    assert!(world.profile(ANA).await.frozen.is_some());
    leads(&thief.home().await, "/me/sign-in");
    liam.home().await.ok();
    // The passkey that was reported signs nobody in. Through the company's site the thief still
    // gets in, and changes nothing.
    authenticator::sign_in(&world.router, &mut device).await.is(422);
    let cookie = Portal::confirmed(&world, "10004711").await.cookie;
    let page = pages::post(&world.router, "/me/security/word", Some(&cookie), &[("kind", "pin"), ("word", "6402"), ("again", "6402")]).await;
    leads(&page, "/me/security?say=frozen");
    pages::get(&world.router, "/me/security", Some(&cookie)).await.ok().shows("Your account is frozen.").lacks("Add a passkey");
}

#[tokio::test]
async fn the_last_way_in_is_not_removed_without_a_warning() {
    let world = World::new().await;
    let (portal, mut device) = (Portal::confirmed(&world, "10004711").await, Device::new(1));
    authenticator::add(&world.router, &portal.cookie, &mut device).await.ok();
    let cookie = authenticator::sign_in(&world.router, &mut device).await.cookie();
    let find = async |kind: FactorKind| world.profile(ANA).await.authenticators.iter().find(|a| a.kind == kind).unwrap().id.to_string();
    let post = async |path: &str, fields: &[(&str, &str)]| pages::post(&world.router, path, Some(&cookie), fields).await;
    let passkey = find(FactorKind::Passkey).await;
    leads(&post("/me/security/rename", &[("authenticator", &passkey), ("name", "  My\n phone <b> ")]).await, "/me/security?say=saved");
    pages::get(&world.router, "/me/security", Some(&cookie)).await.ok().shows("My phone <b>");
    post("/me/security/rename", &[("authenticator", &find(FactorKind::Pin).await), ("name", "x")]).await.is(404);

    post("/me/security/remove", &[("authenticator", &passkey)]).await.ok().shows("the last way to sign in here").lacks("the last thing");
    assert!(has(&world, FactorKind::Passkey).await, "it only asked");
    post("/me/security/remove", &[("authenticator", &find(FactorKind::Pin).await)]).await.ok().lacks("the last way");
    post("/me/security/remove", &[("authenticator", "auth_00000000000000000000000000000001"), ("sure", "true")]).await.is(404);
    leads(&post("/me/security/remove", &[("authenticator", &passkey), ("sure", "true")]).await, "/me/security?say=removed");
    assert!(!has(&world, FactorKind::Passkey).await);
    authenticator::sign_in(&world.router, &mut device).await.is(422).shows("This passkey was not accepted.");
}
