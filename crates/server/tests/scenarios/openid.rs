//! A program that has the caller on its own line asks for a proof, and gets tokens.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
};

use countersign_core::{
    account::{Authenticator, Material, PushSubscription},
    call::{Approval, Ending, Event, Input, Stage},
    factor::FactorKind,
    id::AuthenticatorId,
    time::{Span, Timestamp},
};
use countersign_server::oauth::{asked, clients::{ClientSettings, Delivery}};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use serde_json::{Value, json};

use crate::common::{
    Setup, URL, World,
    openid::{CIBA, NOTICE_TOKEN, Program, Taken, settings},
    pages,
    people::{ANA, ANA_LINE, ANA_MAIL, LIAM, SOFIA},
    portal::Portal,
};

/// Ana was in the portal lately: she can be asked there.
async fn world() -> World {
    let world = World::new().await;
    signed_in_lately(&world).await;
    world
}

async fn signed_in_lately(world: &World) {
    for account in [ANA, LIAM, SOFIA] {
        let now = world.now();
        world.edit(account, |p| p.portal = Some(now - Span::days(1))).await;
    }
}

async fn key(world: &World) -> DecodingKey {
    let set: JwkSet = serde_json::from_str(&pages::get(&world.router, "/oauth/jwks", None).await.ok().body).unwrap();
    assert_eq!(set.keys.len(), 1);
    DecodingKey::from_jwk(&set.keys[0]).unwrap()
}

/// What a token says, after its signature held.
async fn read(world: &World, token: &Value, typ: &str) -> Value {
    let mut validation = Validation::new(Algorithm::ES256);
    (validation.validate_exp, validation.validate_aud) = (false, false);
    let token = jsonwebtoken::decode::<Value>(token.as_str().unwrap(), &key(world).await, &validation).unwrap();
    assert_eq!(token.header.typ.as_deref(), Some(typ));
    token.claims
}

#[tokio::test]
async fn the_provider_says_what_it_can() {
    let world = world().await;
    let page = pages::get(&world.router, "/.well-known/openid-configuration", None).await;
    let it = page.ok().json();
    assert_eq!(it["issuer"], URL);
    for (name, path) in [("token_endpoint", "/oauth/token"), ("backchannel_authentication_endpoint", "/oauth/bc-authorize"), ("device_authorization_endpoint", "/oauth/device_authorization"), ("jwks_uri", "/oauth/jwks")] {
        assert_eq!(it[name], format!("{URL}{path}"));
    }
    assert_eq!(it["backchannel_token_delivery_modes_supported"], json!(["poll", "ping"]));
    assert_eq!(it["token_endpoint_auth_signing_alg_values_supported"], json!(["ES256", "EdDSA", "PS256", "RS256"]));
    // Two servers that make the key at one time end with one.
    let (a, b) = (world.sibling().await, world.sibling().await);
    let (a, b) = tokio::join!(pages::get(&a.router, "/oauth/jwks", None), pages::get(&b.router, "/oauth/jwks", None));
    assert_eq!(a.body, b.body);
    assert!(!a.body.contains("\"d\""), "the private half stays here");
    let kid = a.json()["keys"][0]["kid"].clone();
    let world = world.restart().await;
    assert_eq!(pages::get(&world.router, "/oauth/jwks", None).await.json()["keys"][0]["kid"], kid);
}

#[tokio::test]
async fn without_clients_there_is_no_provider() {
    let world = World::with(Setup { openid: Vec::new(), ..Setup::default() }).await;
    for path in ["/.well-known/openid-configuration", "/oauth/jwks"] {
        pages::get(&world.router, path, None).await.is(404);
    }
    Program::till(&world).authorize(&[("login_hint", "10004711")]).await.is(404);
}

#[tokio::test]
async fn a_caller_on_another_line_proves_who_they_are() {
    let world = world().await;
    let till = Program::till(&world);
    let asked_for = till.ask_with(&[("login_hint", "10004711"), ("binding_message", "Refund of 20 €, till 4")]).await;
    assert_eq!((asked_for.answer["expires_in"].as_i64(), asked_for.answer["interval"].as_i64()), (Some(300), Some(5)));
    assert_eq!(asked_for.answer["approval_code"].as_str().unwrap().len(), 6);
    let view = asked(&world.app.runner, asked_for.call).await.unwrap().unwrap();
    assert_eq!((view.client_name.as_str(), view.binding_message.as_deref()), ("The till", Some("Refund of 20 €, till 4")));
    till.poll(&asked_for).await.fails(400, "authorization_pending");
    world.pass(Span::seconds(5));
    asked_for.typed(&world, ANA).await;
    let proved_at = world.now();
    world.pass(Span::seconds(2));
    let page = till.poll(&asked_for).await;
    let tokens = page.ok().json();
    assert_eq!((tokens["token_type"].as_str(), tokens["expires_in"].as_i64(), tokens["scope"].as_str()), (Some("Bearer"), Some(300), Some("openid")));
    let id = read(&world, &tokens["id_token"], "JWT").await;
    assert_eq!((id["iss"].as_str(), id["aud"].as_str(), id["sub"].as_str()), (Some(URL), Some("till"), Some(ANA.to_string().as_str())));
    assert_eq!((id["acr"].as_str(), &id["amr"], id["auth_time"].as_i64()), (Some("urn:countersign:acr:authenticated"), &json!(["mca"]), Some(proved_at.unix())));
    assert_eq!(id["exp"].as_i64().unwrap() - id["iat"].as_i64().unwrap(), 300);
    let access = read(&world, &tokens["access_token"], "at+jwt").await;
    assert_eq!((access["aud"].as_str(), access["client_id"].as_str(), access["acr"].clone()), (Some(URL), Some("till"), id["acr"].clone()));
    // Once, and the call has ended with it.
    till.poll(&asked_for).await.fails(400, "invalid_grant");
    assert!(matches!(world.events(asked_for.call).await.last(), Some(Event::Ended { ending: Ending::Collected })));
    assert_eq!(asked(&world.app.runner, asked_for.call).await.unwrap(), None);
}

#[tokio::test]
async fn a_customer_is_named_in_many_ways() {
    let world = world().await;
    let till = Program::till(&world);
    for hint in ["10004711", ANA_LINE, "tel:+1-202-555-0142", ANA_MAIL, "mailto:Ana.Torres@example.com"] {
        let taken = till.ask_with(&[("login_hint", hint)]).await;
        assert!(world.events(taken.call).await.iter().any(|e| matches!(e, Event::Identified { account: ANA, .. })), "{hint}");
        // Who asks again and again is refused at some time: a quarter of an hour is between two.
        world.wait(Span::minutes(16)).await;
    }
    let first = till.ask("10004711").await;
    first.typed(&world, ANA).await;
    let token = till.poll(&first).await.ok().json()["id_token"].as_str().unwrap().to_owned();
    // An old token still says who is meant.
    world.wait(Span::days(40)).await;
    let taken = till.ask_with(&[("id_token_hint", &token)]).await;
    assert!(world.events(taken.call).await.iter().any(|e| matches!(e, Event::Identified { account: ANA, .. })));
}

#[tokio::test]
async fn no_is_no() {
    let world = world().await;
    let till = Program::till(&world);
    for reply in [Approval::Declined, Approval::NotMe] {
        let taken = till.ask("10004711").await;
        taken.answered(&world, ANA, reply).await;
        // As often as it asks.
        for _ in 0..2 {
            till.poll(&taken).await.fails(400, "access_denied");
        }
        assert_eq!(taken.stage(&world).await, Stage::Ended);
    }
    // Somebody who was not on the phone is not asked again by this program today.
    till.authorize(&[("login_hint", "10004711")]).await.fails(403, "access_denied");
    Program { id: "other", ..till }.ask("10004711").await;
}

#[tokio::test]
async fn nobody_answers() {
    let world = world().await;
    let till = Program::till(&world);
    let (long, short) = (till.ask("10004711").await, till.ask_with(&[("login_hint", "10004712"), ("requested_expiry", "60")]).await);
    assert_eq!(short.answer["expires_in"].as_i64(), Some(60));
    world.pass(Span::seconds(61));
    till.poll(&short).await.fails(400, "expired_token");
    till.poll(&long).await.fails(400, "authorization_pending");
    // The portal's question is over at the same time.
    assert_eq!(short.stage(&world).await, Stage::Ended);
    world.pass(Span::minutes(4));
    till.poll(&long).await.fails(400, "expired_token");
    // Typed in the last second; the program asks at its interval, a little later.
    let last = till.ask_with(&[("login_hint", "10004712"), ("requested_expiry", "60")]).await;
    world.pass(Span(Span::seconds(60).0 - 1));
    last.typed(&world, LIAM).await;
    world.pass(Span::seconds(5));
    till.poll(&last).await.ok();
    // An approval that nobody fetched is worth nothing later.
    let late = till.ask("10004714").await;
    late.typed(&world, SOFIA).await;
    world.wait(Span::minutes(4)).await;
    till.poll(&late).await.fails(400, "expired_token");
}

#[tokio::test]
async fn who_asks_too_often_waits_longer() {
    let world = world().await;
    let till = Program::till(&world);
    let taken = till.ask("10004711").await;
    till.poll(&taken).await.fails(400, "authorization_pending");
    world.pass(Span::seconds(4));
    till.poll(&taken).await.fails(400, "slow_down");
    world.pass(Span::seconds(6));
    // Ten seconds now; another server and a restart know it as well.
    let world = world.restart().await;
    let till = Program::till(&world);
    till.poll(&taken).await.fails(400, "slow_down");
    world.pass(Span::seconds(15));
    till.poll(&taken).await.fails(400, "authorization_pending");
    // An answer is given at once.
    taken.typed(&world, ANA).await;
    till.poll(&taken).await.ok();
}

#[tokio::test]
async fn a_passkey_is_asked_for_when_strong_is_wanted() {
    let world = world().await;
    let till = Program::till(&world);
    let strong = ("acr_values", "urn:countersign:acr:strong urn:countersign:acr:authenticated");
    // Without a passkey the code that travels, and the token says what came of it.
    let plain = till.ask_with(&[("login_hint", "10004711"), strong]).await;
    plain.typed(&world, ANA).await;
    let tokens = till.poll(&plain).await.ok().json();
    assert_eq!(read(&world, &tokens["id_token"], "JWT").await["acr"], "urn:countersign:acr:authenticated");
    world.edit(ANA, |p| p.authenticators.push(Authenticator {
        id: AuthenticatorId([0x55; 16]), kind: FactorKind::Passkey,
        material: Material::Passkey { name: "Phone".into(), credential: "none".into(), added: Timestamp(0) },
        added: Timestamp(0), usable_from: Timestamp(0),
    })).await;
    let signed = till.ask_with(&[("login_hint", "10004711"), strong]).await;
    assert_eq!(signed.answer.get("approval_code"), None, "there is nothing to type");
    let challenged = world.events(signed.call).await.into_iter().find_map(|e| if let Event::Challenged { challenge } = e { Some(challenge.kind) } else { None });
    assert_eq!(challenged, Some(FactorKind::Passkey));
}

#[tokio::test]
async fn the_customers_pin_keeps_strangers_from_asking() {
    let world = world().await;
    let bank = Program { world: &world, id: "bank" };
    bank.authorize(&[("login_hint", "10004711")]).await.fails(400, "missing_user_code");
    bank.authorize(&[("login_hint", "10004711"), ("user_code", "4072")]).await.fails(400, "invalid_user_code");
    bank.ask_with(&[("login_hint", "10004711"), ("user_code", "4071")]).await;
    // Liam has no PIN: he looks like somebody with another one.
    bank.authorize(&[("login_hint", "10004712")]).await.fails(400, "missing_user_code");
    bank.authorize(&[("login_hint", "10004712"), ("user_code", "4071")]).await.fails(400, "invalid_user_code");
    // Sofía is being forced: it looks as ever until the end, and the lead knows.
    let forced = bank.ask_with(&[("login_hint", "10004714"), ("user_code", "5099")]).await;
    bank.poll(&forced).await.fails(400, "authorization_pending");
    forced.typed(&world, SOFIA).await;
    // However often it is asked: a request that was declined answers no other way.
    bank.poll(&forced).await.fails(400, "access_denied");
    bank.poll(&forced).await.fails(400, "access_denied");
    world.kim().await.get("/admin").await.ok().shows("duress");
}

#[tokio::test]
async fn a_frozen_account_gets_no_tokens() {
    let world = world().await;
    let till = Program::till(&world);
    let before = till.ask("10004711").await;
    before.typed(&world, ANA).await;
    let now = world.now();
    world.edit(ANA, |p| p.frozen = Some(now)).await;
    till.authorize(&[("login_hint", "10004711")]).await.fails(403, "access_denied");
    till.poll(&before).await.fails(400, "access_denied");
}

#[tokio::test]
async fn a_device_finds_out_whose_it_is() {
    let world = world().await;
    let kiosk = Program { world: &world, id: "kiosk" };
    let taken = kiosk.device().await;
    let code = taken.answer["user_code"].as_str().unwrap();
    assert_eq!((code.len(), &code[4..5]), (9, "-"));
    assert_eq!(taken.answer["verification_uri"], format!("{URL}/me/code"));
    assert_eq!(taken.answer["verification_uri_complete"], format!("{URL}/me/code?user_code={code}"));
    assert_eq!(asked(&world.app.runner, taken.call).await.unwrap().unwrap().client_name, "The kiosk");
    kiosk.poll_device(&taken).await.fails(400, "authorization_pending");
    kiosk.poll_device(&taken).await.fails(400, "slow_down");
    taken.linked(&world, ANA).await;
    let tokens = kiosk.poll_device(&taken).await.ok().json();
    let id = read(&world, &tokens["id_token"], "JWT").await;
    assert_eq!((id["sub"].as_str(), id["aud"].as_str()), (Some(ANA.to_string().as_str()), Some("kiosk")));
    kiosk.poll_device(&taken).await.fails(400, "invalid_grant");
    // Nobody types it.
    let late = kiosk.device().await;
    world.wait(Span::minutes(5)).await;
    kiosk.poll_device(&late).await.fails(400, "expired_token");
    // The other grant is not the kiosk's.
    kiosk.authorize(&[("login_hint", "10004711")]).await.fails(400, "unauthorized_client");
}

/// Through the portal's own pages: the customer reads who asks and what for, types, and confirms.
#[tokio::test]
async fn the_portal_shows_who_asks_and_takes_the_answer() {
    let world = world().await;
    let till = Program::till(&world);
    let taken = till.ask_with(&[("login_hint", "10004711"), ("binding_message", "Refund of <20 €>, till 4")]).await;
    let portal = Portal::enter(&world, "10004711").await;
    portal.home().await.ok().shows("on a line of The till").shows("Refund of <20 €>, till 4");
    let challenge = taken.challenge(&world).await;
    portal.post(&format!("/me/approvals/{challenge}/type"), &[("code", taken.answer["approval_code"].as_str().unwrap())]).await.is(303);
    till.poll(&taken).await.ok();
    let no = till.ask("10004711").await;
    portal.post(&format!("/me/approvals/{}/not-me", no.challenge(&world).await), &[]).await.is(303);
    till.poll(&no).await.fails(400, "access_denied");
    let kiosk = Program { world: &world, id: "kiosk" };
    let device = kiosk.device().await;
    let code = device.answer["user_code"].as_str().unwrap();
    let complete = device.answer["verification_uri_complete"].as_str().unwrap();
    portal.get(complete.strip_prefix(URL).unwrap()).await.ok().shows(code);
    portal.post("/me/code", &[("code", code)]).await.ok().shows("The kiosk");
    portal.post("/me/code/confirm", &[("code", code), ("answer", "yes")]).await.is(303);
    kiosk.poll_device(&device).await.ok();
}

// ── Ping ───────────────────────────────────────────────────────────────────────────────────────

/// The program's own server: it answers with these, then with 204.
struct Center {
    address: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Center {
    fn start(answers: Vec<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/told", listener.local_addr().unwrap());
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let notes = heard.clone();
        std::thread::spawn(move || {
            let mut answers = answers.into_iter();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (mut all, mut part) = (Vec::new(), [0; 4096]);
                while !String::from_utf8_lossy(&all).contains("\"}") {
                    let n = stream.read(&mut part).unwrap();
                    assert!(n > 0);
                    all.extend_from_slice(&part[..n]);
                }
                notes.lock().unwrap().push(String::from_utf8_lossy(&all).into_owned());
                let status = answers.next().unwrap_or("204 No Content");
                write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            }
        });
        Self { address, heard }
    }
    fn heard(&self) -> Vec<String> { self.heard.lock().unwrap().clone() }
}

async fn with_center(answers: Vec<&'static str>) -> (World, Center) {
    let center = Center::start(answers);
    let client = ClientSettings { delivery: Delivery::Ping, notification_endpoint: Some(center.address.clone()), ..settings("center", "The center") };
    let world = World::with(Setup { openid: vec![client], ..Setup::default() }).await;
    signed_in_lately(&world).await;
    (world, center)
}

async fn asked_by_center(world: &World) -> Taken {
    Program { world, id: "center" }.ask_with(&[("login_hint", "10004711"), ("client_notification_token", NOTICE_TOKEN)]).await
}

#[tokio::test]
async fn the_program_is_told_once_that_there_is_a_decision() {
    let (world, center) = with_center(vec!["500 Oh no"]).await;
    let taken = asked_by_center(&world).await;
    world.deliver().await;
    assert_eq!(center.heard().len(), 0, "nothing is decided");
    taken.typed(&world, ANA).await;
    world.deliver().await;
    assert_eq!(center.heard().len(), 1, "it failed, and will be told again");
    // A restart loses nothing.
    let world = world.restart().await;
    for _ in 0..5 {
        world.pass(Span::seconds(10));
        world.deliver().await;
    }
    let heard = center.heard();
    assert_eq!(heard.len(), 2, "{heard:#?}");
    for request in &heard {
        let lower = request.to_lowercase();
        assert!(request.starts_with("POST /told HTTP/1.1\r\n") && lower.contains("content-type: application/json"), "{request}");
        assert!(request.contains(&format!("Bearer {NOTICE_TOKEN}")), "{request}");
        assert_eq!(request.split("\r\n\r\n").nth(1).unwrap(), json!({ "auth_req_id": taken.name }).to_string());
    }
    let program = Program { world: &world, id: "center" };
    let tokens = program.poll(&taken).await.ok().json();
    assert_eq!(read(&world, &tokens["id_token"], "JWT").await["urn:openid:params:jwt:claim:auth_req_id"], taken.name);
}

#[tokio::test]
async fn it_is_told_of_a_no_and_of_silence_as_well() {
    let (world, center) = with_center(Vec::new()).await;
    let program = Program { world: &world, id: "center" };
    let no = asked_by_center(&world).await;
    no.answered(&world, ANA, Approval::Declined).await;
    world.deliver().await;
    program.poll(&no).await.fails(400, "access_denied");
    let silence = asked_by_center(&world).await;
    world.wait(Span::minutes(5)).await;
    world.deliver().await;
    program.poll(&silence).await.fails(400, "expired_token");
    world.deliver().await;
    assert_eq!(center.heard().len(), 2);
}

#[tokio::test]
async fn a_program_that_refuses_a_notice_is_left_alone() {
    for status in ["401 Unauthorized", "307 Temporary Redirect"] {
        let (world, center) = with_center(vec![status]).await;
        let taken = asked_by_center(&world).await;
        taken.typed(&world, ANA).await;
        for _ in 0..3 {
            world.deliver().await;
            world.pass(Span::seconds(30));
        }
        assert_eq!(center.heard().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_notice_needs_a_word_of_the_program() {
    let (world, _) = with_center(Vec::new()).await;
    let program = Program { world: &world, id: "center" };
    program.authorize(&[("login_hint", "10004711")]).await.fails(400, "invalid_request");
    for bad in ["short", &"a".repeat(40), &"x1y2z3".repeat(200), "with spaces in the middle of it", "naïve-naïve-naïve-naïve-naïve"] {
        program.authorize(&[("login_hint", "10004711"), ("client_notification_token", bad)]).await.fails(400, "invalid_request");
    }
    assert_eq!(world.log().await, "", "nobody was asked");
}

/// Somebody's devices are woken as for any approval, and the story reads as one.
#[tokio::test]
async fn the_record_tells_who_asked() {
    let world = world().await;
    world.edit(ANA, |p| p.push.push(PushSubscription { endpoint: "https://push.example.com/1".into(), p256dh: "AA".into(), auth: "AA".into(), added: Timestamp(0) })).await;
    let till = Program::till(&world);
    let taken = till.ask("10004711").await;
    let (first, events) = (world.events(taken.call).await.into_iter().next(), world.events(taken.call).await);
    assert!(matches!(first, Some(Event::Started { origin: countersign_core::call::Origin::Client(name), .. }) if name == "till"), "{events:#?}");
    // Nobody but a program collects, and nobody keys anything.
    let keyed = world.app.runner.run(taken.call, "keys".into(), || Input::Keys("1".into())).await;
    assert!(keyed.is_ok() || keyed.is_err());
    till.token(CIBA, "auth_req_id", &taken.name).await.fails(400, "authorization_pending");
}
