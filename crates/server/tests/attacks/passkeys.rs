//! Passkeys against whoever copies, replays, mixes up or races them.

use countersign_core::{
    factor::Transaction,
    id::{AccountId, CallId, ChallengeId},
    secret::Secret,
    time::Span,
};
use countersign_server::{passkeys, passkeys::Passkeys, runner::Attestor};
use serde_json::{Value, json};

use crate::common::{
    World,
    authenticator::{Begun, Device, add, binding, confirm, finish, post, sign_in, start},
    hides, pages,
    people::*,
    portal::Portal,
};

const SIGN_IN: &str = "/me/sign-in/passkey";
const REFUSED: &str = "This passkey was not accepted.";

/// What is wrong, and what makes it so.
type Lie = (&'static str, fn(&mut Device));

/// Ana has a passkey.
async fn ana() -> (World, Portal, Device) {
    let world = World::new().await;
    let (portal, mut device) = (Portal::confirmed(&world, "10004711").await, Device::new(1));
    add(&world.router, &portal.cookie, &mut device).await.ok();
    (world, portal, device)
}

async fn begin(world: &World) -> Begun { start(&world.router, SIGN_IN, None).await }
async fn end(world: &World, begun: &Begun, credential: &Value) -> pages::Page { finish(&world.router, SIGN_IN, Some(&begun.cookie), begun, credential).await }

#[tokio::test]
async fn a_lying_browser_or_device_does_not_sign_in() {
    let (world, _, device) = ana().await;
    let lies: [Lie; 5] = [
        ("another website", |d| d.origin = "https://calls.example.com.evil.example".into()),
        ("not TLS", |d| d.origin = "http://calls.example.com".into()),
        ("a subdomain", |d| d.origin = "https://evil.calls.example.com".into()),
        ("another relying party", |d| d.rp = "example.com".into()),
        ("nobody was verified", |d| d.verified = false),
    ];
    for (what, lie) in lies {
        let mut device = device.clone();
        lie(&mut device);
        let page = sign_in(&world.router, &mut device).await;
        page.is(422).shows(REFUSED);
        assert!(page.header("set-cookie").is_empty(), "{what}");
    }
    for spoil in ["signature", "authenticatorData", "clientDataJSON", "userHandle"] {
        let (mut device, begun) = (device.clone(), begin(&world).await);
        let mut credential = device.sign(&begun.options);
        credential["response"][spoil] = "AAAA".into();
        end(&world, &begun, &credential).await.is(422).shows(REFUSED);
    }
    let (mut device, begun) = (device, begin(&world).await);
    let mut credential = device.sign(&begun.options);
    credential["response"]["userHandle"] = Value::Null;
    end(&world, &begun, &credential).await.is(422).shows(REFUSED);
    sign_in(&world.router, &mut device).await.ok();
}

/// A challenge is answered once, in time, in the browser that asked, and with its own answer.
#[tokio::test]
async fn an_answer_counts_once_and_where_it_was_asked_for() {
    let (world, portal, mut device) = ana().await;
    let begun = begin(&world).await;
    let credential = device.sign(&begun.options);
    // Another browser, or none.
    let other = begin(&world).await;
    finish(&world.router, SIGN_IN, Some(&other.cookie), &begun, &credential).await.is(422);
    finish(&world.router, SIGN_IN, None, &begun, &credential).await.is(422);
    finish(&world.router, SIGN_IN, Some(&portal.cookie), &begun, &credential).await.is(422);
    // Another challenge.
    end(&world, &other, &credential).await.is(422).shows(REFUSED);
    // It was spent by that.
    let right = device.sign(&other.options);
    end(&world, &other, &right).await.is(422).shows("was answered already");
    // What nobody answered is open still.
    let begun = begin(&world).await;
    let credential = device.sign(&begun.options);
    end(&world, &begun, &credential).await.ok();
    end(&world, &begun, &credential).await.is(422).shows("was answered already");
    // Too late.
    let begun = begin(&world).await;
    let credential = device.sign(&begun.options);
    world.pass(Span::minutes(5));
    end(&world, &begun, &credential).await.is(422).shows("took too long");
    // For something else: a confirmation is no sign-in, and a registration is neither.
    let confirming = start(&world.router, "/me/security/confirm", Some(&portal.cookie)).await;
    let credential = device.sign(&confirming.options);
    finish(&world.router, SIGN_IN, Some(&portal.cookie), &confirming, &credential).await.is(422);
    let begun = begin(&world).await;
    let credential = device.sign(&begun.options);
    finish(&world.router, "/me/security/confirm", Some(&format!("{}; {}", portal.cookie, begun.cookie)), &begun, &credential).await.is(422);
}

/// Two keys that count from the same number: a copy. And one that lost its count is one as well.
#[tokio::test]
async fn a_copied_key_is_noticed() {
    let (world, _, mut device) = ana().await;
    let mut copy = device.clone();
    sign_in(&world.router, &mut device).await.ok();
    sign_in(&world.router, &mut copy).await.is(422).shows(REFUSED);
    copy.counter = None;
    sign_in(&world.router, &mut copy).await.is(422).shows(REFUSED);
    device.counter = Some(40);
    sign_in(&world.router, &mut device).await.ok();
    // A device that keeps no count at all is good.
    let (portal, mut plain) = (Portal::confirmed(&world, "10004712").await, Device { counter: None, ..Device::new(2) });
    add(&world.router, &portal.cookie, &mut plain).await.ok();
    for _ in 0..2 {
        sign_in(&world.router, &mut plain).await.ok();
    }
    hides(&world.log().await, &ANA_PRIVATE);
}

#[tokio::test]
async fn one_ceremony_opens_one_session_however_many_answer_at_once() {
    for world in [World::new().await, World::in_file().await] {
        let (portal, mut device) = (Portal::confirmed(&world, "10004711").await, Device { counter: None, ..Device::new(1) });
        add(&world.router, &portal.cookie, &mut device).await.ok();
        let begun = begin(&world).await;
        let credential = device.sign(&begun.options);
        let tries = (0..8).map(|_| end(&world, &begun, &credential));
        let pages = futures_util::future::join_all(tries).await;
        assert_eq!(pages.iter().filter(|p| p.status == 200).count(), 1, "{:?}", pages.iter().map(|p| p.status).collect::<Vec<_>>());
        // One registration makes one passkey as well.
        confirm(&world.router, &portal.cookie, &mut device).await.ok();
        let begun = start(&world.router, "/me/security/passkey", Some(&portal.cookie)).await;
        let made = device.create(&begun.options);
        let tries = (0..8).map(|_| finish(&world.router, "/me/security/passkey", Some(&portal.cookie), &begun, &made));
        let pages = futures_util::future::join_all(tries).await;
        assert_eq!(pages.iter().filter(|p| p.status == 200).count(), 1);
        assert_eq!(world.profile(ANA).await.authenticators.len(), 3);
    }
}

/// A key of one account is not added to another, and a key without its holder not at all.
#[tokio::test]
async fn a_registration_is_of_its_account_session_and_key() {
    let (world, _, mut device) = ana().await;
    let liam = Portal::confirmed(&world, "10004712").await;
    const ADD: &str = "/me/security/passkey";
    // Ana's key id, claimed by Liam: the same device makes the same key again.
    add(&world.router, &liam.cookie, &mut Device::new(1)).await.is(422).shows(REFUSED);
    let mut careless = Device { verified: false, ..Device::new(5) };
    add(&world.router, &liam.cookie, &mut careless).await.is(422).shows(REFUSED);
    let mut elsewhere = Device { origin: "https://evil.example".into(), ..Device::new(5) };
    add(&world.router, &liam.cookie, &mut elsewhere).await.is(422).shows(REFUSED);
    // Somebody else's session, also another one of the same account.
    let begun = start(&world.router, ADD, Some(&liam.cookie)).await;
    let made = Device::new(6).create(&begun.options);
    let again = Portal::confirmed(&world, "10004712").await;
    for cookie in [&again.cookie, &Portal::confirmed(&world, "10004713").await.cookie] {
        finish(&world.router, ADD, Some(cookie), &begun, &made).await.is(422);
    }
    finish(&world.router, ADD, Some(&liam.cookie), &begun, &made).await.ok();
    // Ana's passkey confirms nothing of Liam's.
    let begun = start(&world.router, "/me/security/confirm", Some(&again.cookie)).await;
    let key = device.keys[0].clone();
    let credential = device.sign_with(&key, &begun.options);
    finish(&world.router, "/me/security/confirm", Some(&again.cookie), &begun, &credential).await.is(422).shows(REFUSED);
    assert_eq!(world.profile(LIAM).await.authenticators.len(), 3);
}

/// Nothing that protects is changed from a screen that was left open.
#[tokio::test]
async fn an_open_session_is_not_enough() {
    let (world, portal, mut device) = ana().await;
    let before = serde_json::to_string(&world.profile(ANA).await.authenticators).unwrap();
    let id = world.profile(ANA).await.authenticators[0].id.to_string();
    let tries = async |cookie: &str| {
        for (path, fields) in [
            ("/me/security/rename", vec![("authenticator", id.as_str()), ("name", "x")]), ("/me/security/remove", vec![("authenticator", &id), ("sure", "true")]),
            ("/me/security/word", vec![("kind", "pin"), ("word", "6402"), ("again", "6402")]), ("/me/security/codes", vec![]), ("/me/security/totp/new", vec![]),
            ("/me/security/totp/confirm", vec![("code", "000000")]),
        ] {
            let page = pages::post(&world.router, path, Some(cookie), &fields).await;
            page.is(303);
            assert_eq!(page.header("location"), "/me/security?say=confirm", "{path}");
        }
        let page = post(&world.router, "/me/security/passkey/start", Some(cookie), &json!({})).await;
        page.is(303);
    };
    // With a passkey on the account not even a new session is, and the PIN does not stand in for it.
    tries(&portal.cookie).await;
    let new = Portal::enter(&world, "10004711").await;
    new.post("/me/security/confirm", &[("kind", "pin"), ("entry", "4071")]).await.is(404);
    tries(&new.cookie).await;
    // Confirmed, and five minutes later not any more.
    confirm(&world.router, &portal.cookie, &mut device).await.ok();
    portal.get("/me/security").await.ok().shows("Set up an app");
    world.pass(Span::minutes(5));
    tries(&portal.cookie).await;
    // Without a passkey the PIN confirms, for as long.
    let sofia = Portal::enter(&world, "10004714").await;
    tries(&sofia.cookie).await;
    assert_eq!(sofia.confirm("pin", "5093").await, "confirmed");
    world.pass(Span(Span::minutes(5).0 - 1));
    sofia.post("/me/security/totp/new", &[]).await.is(303);
    sofia.get("/me/security/totp").await.ok();
    world.pass(Span(1));
    tries(&sofia.cookie).await;
    // With nothing on file a session of ten minutes does.
    let jonas = Portal::enter(&world, "10004715").await;
    world.pass(Span(Span::minutes(10).0 - 1));
    jonas.post("/me/security/totp/new", &[]).await.is(303);
    jonas.get("/me/security/totp").await.ok();
    world.pass(Span(1));
    tries(&jonas.cookie).await;
    assert_eq!(serde_json::to_string(&world.profile(ANA).await.authenticators).unwrap(), before);
}

/// A session begins with a secret of its own, whatever the browser had before.
#[tokio::test]
async fn a_session_cannot_be_planted() {
    let (world, portal, mut device) = ana().await;
    let planted = format!("cs_me={}", "a".repeat(64));
    let begun = begin(&world).await;
    let credential = device.sign(&begun.options);
    let page = finish(&world.router, SIGN_IN, Some(&format!("{}; {planted}", begun.cookie)), &begun, &credential).await;
    assert_ne!(page.ok().cookie(), planted);
    for part in ["Path=/", "HttpOnly", "SameSite=Strict", "Secure", "Max-Age=3600"] {
        assert!(page.header("set-cookie").contains(part), "{}", page.header("set-cookie"));
    }
    pages::get(&world.router, "/me", Some(&planted)).await.is(303);
    // Signing in again in one browser ends what it had.
    let begun = begin(&world).await;
    let credential = device.sign(&begun.options);
    finish(&world.router, SIGN_IN, Some(&format!("{}; {}", begun.cookie, portal.cookie)), &begun, &credential).await.ok();
    portal.home().await.is(303);
    hides(&world.log().await, &[page.cookie().split_once('=').unwrap().1]);
}

/// JSON that is none, too much of it, and forms.
#[tokio::test]
async fn nonsense_is_refused() {
    let (world, portal, mut device) = ana().await;
    let begun = begin(&world).await;
    let good = device.sign(&begun.options);
    for body in [json!(null), json!([]), json!({ "ceremony": 1, "credential": {} }), json!({ "ceremony": begun.ceremony }), json!({ "ceremony": begun.ceremony, "credential": good, "more": 1 })] {
        post(&world.router, "/me/sign-in/passkey/finish", Some(&begun.cookie), &body).await.is(422);
    }
    for credential in [json!(null), json!("x"), json!({}), json!({ "id": "x", "rawId": "!", "type": "public-key", "response": {} })] {
        let begun = begin(&world).await;
        end(&world, &begun, &credential).await.is(422);
        let begun = start(&world.router, "/me/security/confirm", Some(&portal.cookie)).await;
        finish(&world.router, "/me/security/confirm", Some(&portal.cookie), &begun, &credential).await.is(422);
    }
    for path in ["/me/sign-in/passkey/start", "/me/security/confirm/start"] {
        pages::post(&world.router, path, Some(&portal.cookie), &[("a", "b")]).await.is(422);
    }
    end(&world, &begun, &good).await.ok();
}

pub fn transaction(account: AccountId) -> Transaction {
    Transaction { call: CallId([1; 16]), challenge: ChallengeId([2; 16]), account, action: "change:phone".parse().ok() }
}

/// What the attestor makes of an answer, and how many writes end the ceremony.
pub async fn attested(world: &World, asked: &Transaction, presented: &Secret) -> (bool, usize) {
    let mut docs = Vec::new();
    let found = Passkeys::of(&world.app).unwrap().attest(&world.app.runner, asked, presented, &mut docs).await.unwrap();
    if let Some(found) = &found {
        assert_eq!((found.transaction, found.account), (asked.hash(), asked.account));
    }
    (found.is_some(), docs.len())
}

/// Who signs one transaction signed no other.
#[tokio::test]
async fn an_approval_is_of_one_transaction() {
    let (world, portal, mut device) = ana().await;
    let (asked, session) = (transaction(ANA), binding(&portal.cookie));
    let approve = async |device: &mut Device| {
        let (token, options) = passkeys::begin_approval(&world.app, &asked, &session).await.unwrap();
        (token.expose().to_owned(), device.sign(&options))
    };
    let (token, credential) = approve(&mut device).await;
    let presented = passkeys::presented(&session, &token, &credential);
    for other in [
        Transaction { action: "change:email".parse().ok(), ..asked.clone() }, Transaction { action: None, ..asked.clone() },
        Transaction { call: CallId([9; 16]), ..asked.clone() }, Transaction { challenge: ChallengeId([9; 16]), ..asked.clone() },
        Transaction { account: LIAM, ..asked.clone() },
    ] {
        assert!(!attested(&world, &other, &presented).await.0, "{other:?}");
    }
    // Another session, another purpose, another device.
    assert!(!attested(&world, &asked, &passkeys::presented(b"another", &token, &credential)).await.0);
    let begun = begin(&world).await;
    let signed = device.sign(&begun.options);
    assert!(!attested(&world, &asked, &passkeys::presented(&session, &begun.ceremony, &signed)).await.0);
    let mut stranger = Device::new(7);
    let liam = Portal::confirmed(&world, "10004712").await;
    add(&world.router, &liam.cookie, &mut stranger).await.ok();
    let (other_token, _) = approve(&mut device).await;
    let (_, options) = passkeys::begin_approval(&world.app, &transaction(LIAM), &session).await.unwrap();
    assert!(!attested(&world, &asked, &passkeys::presented(&session, &other_token, &stranger.sign(&options))).await.0);
    for nonsense in ["", "{}", "null", r#"{"ceremony":"x","credential":{}}"#] {
        assert!(!attested(&world, &asked, &nonsense.into()).await.0);
    }
    // The right one, which ends the ceremony with it.
    assert_eq!(attested(&world, &asked, &presented).await, (true, 2));
    let plain = Secret::new(json!({ "ceremony": token, "credential": credential }).to_string());
    assert!(attested(&world, &asked, &plain).await.0);
    world.pass(Span::minutes(5));
    assert!(!attested(&world, &asked, &presented).await.0, "too late");
    // A copy whose count was passed by a sign-in.
    let mut copy = device.clone();
    sign_in(&world.router, &mut device).await.ok();
    let (token, credential) = approve(&mut copy).await;
    assert!(!attested(&world, &asked, &passkeys::presented(&session, &token, &credential)).await.0);
    // Removed meanwhile.
    let (token, credential) = approve(&mut device).await;
    world.edit(ANA, |p| p.authenticators.retain(|a| a.kind != countersign_core::factor::FactorKind::Passkey)).await;
    assert!(!attested(&world, &asked, &passkeys::presented(&session, &token, &credential)).await.0);
    assert!(passkeys::begin_approval(&world.app, &asked, &session).await.is_err());
    assert!(passkeys::begin_approval(&world.app, &transaction(SOFIA), &session).await.is_err());
}

/// Five wrong codes for one key of an app, then none is looked at.
#[tokio::test]
async fn an_app_is_not_confirmed_by_guessing() {
    let world = World::new().await;
    let portal = Portal::confirmed(&world, "10004711").await;
    portal.post("/me/security/totp/new", &[]).await.is(303);
    for n in 0..5 {
        portal.post("/me/security/totp/confirm", &[("code", &format!("00000{n}"))]).await.ok().shows("This is not the code");
    }
    portal.post("/me/security/totp/confirm", &[("code", "000009")]).await.is(422).shows("Too many wrong codes.");
    // Nobody else sees or confirms it.
    let liam = Portal::confirmed(&world, "10004712").await;
    for path in ["/me/security/totp", "/me/security/totp.svg"] {
        liam.get(path).await.is(303);
        pages::get(&world.router, path, None).await.is(303);
    }
    // Words run out as well: each costs two hashes.
    for _ in 0..10 {
        portal.post("/me/security/word", &[("kind", "pin"), ("word", "6402"), ("again", "6402")]).await.is(303);
    }
    portal.post("/me/security/word", &[("kind", "pin"), ("word", "6402"), ("again", "6402")]).await.is(422);
}
