//! Programs that are not who they say, ask too much, or come twice.

use countersign_core::{
    call::{Approval, Event},
    time::Span,
};
use countersign_server::oauth::clients::ClientSettings;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::common::{
    Setup, URL, World,
    openid::{CIBA, DEVICE, NOTICE_TOKEN, Program, TILL_SECRET, assertion, bot_key, other_key, settings},
    pages::{self, FORM, own, send},
    people::{ANA, ANA_PRIVATE, JONAS, LIAM},
};

async fn world() -> World {
    let world = World::new().await;
    for account in [ANA, LIAM] {
        let now = world.now();
        world.edit(account, |p| p.portal = Some(now - Span::days(1))).await;
    }
    world
}

const ASK: [(&str, &str); 2] = [("scope", "openid"), ("login_hint", "10004711")];

#[tokio::test]
async fn a_program_says_who_it_is_in_one_way() {
    let world = world().await;
    let till = Program::till(&world);
    let post = |id, secret| [("client_id", id), ("client_secret", secret), ASK[0], ASK[1]];
    let path = "/oauth/bc-authorize";
    till.bare(path, &post("till", TILL_SECRET)).await.ok();
    for (id, secret) in [("till", "wrong"), ("nobody", TILL_SECRET), ("bot", TILL_SECRET), ("TILL", TILL_SECRET), ("", TILL_SECRET)] {
        let page = till.bare(path, &post(id, secret)).await;
        page.fails(401, "invalid_client");
        assert!(page.header("www-authenticate").starts_with("Basic "));
    }
    till.bare(path, &ASK).await.fails(401, "invalid_client");
    Program { id: "bot", ..till }.post(path, &ASK).await.fails(401, "invalid_client");
    // Two ways at once.
    till.post(path, &[("client_id", "till"), ("client_secret", TILL_SECRET), ASK[0], ASK[1]]).await.fails(400, "invalid_request");
    till.post(path, &[("client_id", "other"), ASK[0], ASK[1]]).await.fails(401, "invalid_client");
    // A parameter that is there twice, another kind of body, a cookie instead of a secret.
    till.post(path, &[ASK[0], ASK[1], ASK[1]]).await.fails(400, "invalid_request");
    let json = own(axum::http::Method::POST, path, None, "application/json", json!({ "client_id": "till" }).to_string());
    send(&world.router, json).await.fails(400, "invalid_request");
    let desk = world.robin().await;
    pages::post(&world.router, path, Some(&desk.cookie), &ASK).await.fails(401, "invalid_client");
}

#[tokio::test]
async fn a_signed_statement_is_for_us_for_now_and_for_once() {
    let world = world().await;
    let bot = Program { world: &world, id: "bot" };
    let path = "/oauth/device_authorization";
    let good = assertion(&world, bot_key(), |_, _| ());
    bot.signed(path, &[], &good).await.ok();
    bot.signed(path, &[], &good).await.fails(401, "invalid_client");
    for audience in [json!(format!("{URL}/oauth/token")), json!(format!("{URL}/oauth/bc-authorize")), json!([URL])] {
        bot.signed(path, &[("client_id", "bot")], &assertion(&world, bot_key(), |c, _| c["aud"] = audience)).await.ok();
    }
    let now = world.now().unix();
    type Change = (&'static str, Box<dyn Fn(&mut Value)>);
    let bad: Vec<Change> = vec![
        ("over", Box::new(move |c| c["exp"] = json!(now - 31))),
        ("no end", Box::new(|c| drop(c.as_object_mut().unwrap().remove("exp")))),
        ("too long", Box::new(move |c| c["exp"] = json!(now + 600))),
        ("not yet made", Box::new(move |c| c["iat"] = json!(now + 120))),
        ("not yet valid", Box::new(move |c| c["nbf"] = json!(now + 120))),
        ("a strange end", Box::new(|c| c["exp"] = json!("soon"))),
        ("for somebody else", Box::new(|c| c["aud"] = json!("https://other.example.com"))),
        ("for others too", Box::new(|c| c["aud"] = json!([URL, "https://other.example.com"]))),
        ("for nobody", Box::new(|c| drop(c.as_object_mut().unwrap().remove("aud")))),
        ("for no list", Box::new(|c| c["aud"] = json!([]))),
        ("no name", Box::new(|c| drop(c.as_object_mut().unwrap().remove("jti")))),
        ("another issuer", Box::new(|c| c["iss"] = json!("till"))),
        ("about another", Box::new(|c| c["sub"] = json!("till"))),
    ];
    for (what, change) in bad {
        let page = bot.signed(path, &[], &assertion(&world, bot_key(), |c, _| change(c))).await;
        assert_eq!(page.status, 401, "{what}: {}", page.body);
    }
    // Somebody else's key, a key in the header, a name of another.
    bot.signed(path, &[], &assertion(&world, other_key(), |_, _| ())).await.fails(401, "invalid_client");
    bot.signed(path, &[], &assertion(&world, other_key(), |_, h| h.jwk = Some(other_key().public.clone()))).await.fails(401, "invalid_client");
    bot.signed(path, &[("client_id", "till")], &assertion(&world, bot_key(), |_, _| ())).await.fails(401, "invalid_client");
    bot.signed(path, &[], &assertion(&world, bot_key(), |_, h| h.kid = Some("another".into()))).await.fails(401, "invalid_client");
    bot.signed(path, &[], &assertion(&world, bot_key(), |_, h| h.crit = Some(vec!["b64".into()]))).await.fails(401, "invalid_client");
    let wrong_type = [("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"), ("client_assertion", &assertion(&world, bot_key(), |_, _| ()))];
    bot.bare(path, &wrong_type).await.fails(400, "invalid_request");
}

/// The public key as a shared secret, and no signature at all (RFC 8725 §2.1).
#[tokio::test]
async fn a_public_key_is_no_secret_and_nothing_is_no_signature() {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let world = world().await;
    let bot = Program { world: &world, id: "bot" };
    let (path, now) = ("/oauth/device_authorization", world.now().unix());
    let claims = json!({ "iss": "bot", "sub": "bot", "aud": URL, "exp": now + 60, "jti": "1" });
    let public = serde_json::to_string(&bot_key().public).unwrap();
    for secret in [public.as_str(), TILL_SECRET, ""] {
        let forged = jsonwebtoken::encode(&Header { kid: Some("bot-1".into()), ..Header::new(Algorithm::HS256) }, &claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap();
        bot.signed(path, &[], &forged).await.fails(401, "invalid_client");
    }
    let part = |v: Value| URL_SAFE_NO_PAD.encode(v.to_string());
    for alg in ["none", "None", "", "ES256"] {
        for signature in ["", "AA"] {
            let forged = format!("{}.{}.{signature}", part(json!({ "alg": alg, "kid": "bot-1" })), part(claims.clone()));
            bot.signed(path, &[], &forged).await.fails(401, "invalid_client");
        }
    }
    for junk in ["", ".", "..", "a.b.c", &"x".repeat(20_000)] {
        let page = bot.signed(path, &[], junk).await;
        assert!([400, 401].contains(&page.status.as_u16()), "{junk}: {}", page.body);
    }
}

#[tokio::test]
async fn every_parameter_is_looked_at() {
    let world = world().await;
    let till = Program::till(&world);
    let path = "/oauth/bc-authorize";
    till.post(path, &[("login_hint", "10004711")]).await.fails(400, "invalid_scope");
    till.post(path, &[("scope", "email openidx"), ("login_hint", "10004711")]).await.fails(400, "invalid_scope");
    till.authorize(&[]).await.fails(400, "invalid_request");
    till.authorize(&[("login_hint", "10004711"), ("id_token_hint", "x")]).await.fails(400, "invalid_request");
    till.authorize(&[("login_hint", "10004711"), ("request", "e30.e30.")]).await.fails(400, "invalid_request");
    till.authorize(&[("login_hint", "10004711"), ("requested_expiry", "-1")]).await.fails(400, "invalid_request");
    for message in ["x".repeat(201), "two\nlines".into(), "turned \u{202e}around".into()] {
        till.authorize(&[("login_hint", "10004711"), ("binding_message", &message)]).await.fails(400, "invalid_binding_message");
    }
    assert_eq!(world.log().await, "", "nobody was asked");
    // Nobody; somebody who never signs in to the portal.
    till.authorize(&[("login_hint", "99999999")]).await.fails(400, "unknown_user_id");
    till.authorize(&[("login_hint", "not an account")]).await.fails(400, "unknown_user_id");
    till.authorize(&[("login_hint", "10004715")]).await.fails(403, "access_denied");
    let taken = till.ask("10004711").await;
    for (grant, name, value, error) in [
        ("authorization_code", "code", "x", "unsupported_grant_type"),
        ("", "auth_req_id", &taken.name, "invalid_request"),
        (CIBA, "device_code", &taken.name, "invalid_request"),
        (CIBA, "auth_req_id", "nothing", "invalid_grant"),
        (DEVICE, "device_code", &taken.name, "invalid_grant"),
    ] {
        till.token(grant, name, value).await.fails(400, error);
    }
    // Every one who was named is on record with the program that named them.
    let names = world.log().await.matches("\"type\":\"started\"").count();
    assert_eq!(names, 4);
    let _ = JONAS;
}

#[tokio::test]
async fn a_signed_hint_is_the_programs_own_and_in_time() {
    let world = world().await;
    let bot = Program { world: &world, id: "bot" };
    let now = world.now().unix();
    let hint = |change: &dyn Fn(&mut Value)| assertion(&world, bot_key(), |c, _| {
        c["login_hint"] = json!("10004711");
        change(c);
    });
    let ask = async |token: String| bot.signed("/oauth/bc-authorize", &[("scope", "openid"), ("login_hint_token", &token)], &assertion(&world, bot_key(), |_, _| ())).await;
    ask(hint(&|_| ())).await.ok();
    ask(hint(&|c| {
        c.as_object_mut().unwrap().remove("login_hint");
        c["sub_id"] = json!({ "format": "email", "email": "liam.okafor@example.com" });
    })).await.ok();
    ask(hint(&|c| c["exp"] = json!(now - 1))).await.fails(400, "expired_login_hint_token");
    ask(hint(&|c| c["aud"] = json!("https://other.example.com"))).await.fails(400, "invalid_request");
    ask(hint(&|c| c["iss"] = json!("till"))).await.fails(400, "invalid_request");
    ask(hint(&|c| c["login_hint"] = json!(4711))).await.fails(400, "invalid_request");
    ask(assertion(&world, other_key(), |c, _| c["login_hint"] = json!("10004711"))).await.fails(400, "invalid_request");
    ask("10004711".into()).await.fails(400, "invalid_request");
    // Who has no key cannot sign.
    Program::till(&world).authorize(&[("login_hint_token", &hint(&|_| ()))]).await.fails(400, "invalid_request");
}

#[tokio::test]
async fn tokens_are_given_once_however_many_ask() {
    let world = world().await;
    let till = Program::till(&world);
    let taken = till.ask("10004711").await;
    taken.typed(&world, ANA).await;
    let other = world.sibling().await;
    let pages = futures_util::future::join_all((0..24).map(|i| {
        let (world, taken) = (if i % 2 == 0 { &world } else { &other }, &taken);
        async move { Program::till(world).poll(taken).await }
    })).await;
    let given: Vec<_> = pages.iter().filter(|p| p.status == 200).collect();
    assert_eq!(given.len(), 1, "{pages:#?}");
    assert!(pages.iter().filter(|p| p.status != 200).all(|p| [400, 503].contains(&p.status.as_u16())));
}

#[tokio::test]
async fn a_request_is_its_own_programs() {
    let world = world().await;
    let (till, other) = (Program::till(&world), Program { world: &world, id: "other" });
    let taken = till.ask("10004711").await;
    other.poll(&taken).await.fails(400, "invalid_grant");
    taken.typed(&world, ANA).await;
    other.poll(&taken).await.fails(400, "invalid_grant");
    let tokens = till.poll(&taken).await.ok().json();
    let (id, access) = (tokens["id_token"].as_str().unwrap(), tokens["access_token"].as_str().unwrap());
    // A token of one program names nobody to another, and an access token is no ID token.
    other.authorize(&[("id_token_hint", id)]).await.fails(400, "invalid_request");
    till.authorize(&[("id_token_hint", access)]).await.fails(400, "invalid_request");
    let (head, signature) = id.rsplit_once('.').unwrap();
    till.authorize(&[("id_token_hint", &format!("{head}.{}", signature.chars().rev().collect::<String>()))]).await.fails(400, "invalid_request");
    till.authorize(&[("id_token_hint", id)]).await.ok();
}

#[tokio::test]
async fn a_program_cannot_find_out_who_is_a_customer() {
    let clients = vec![ClientSettings { unknown_per_hour: 5, ..settings("till", "The till") }, settings("other", "The other till")];
    let world = World::with(Setup { openid: clients, ..Setup::default() }).await;
    let now = world.now();
    world.edit(ANA, |p| p.portal = Some(now)).await;
    let till = Program::till(&world);
    for n in 0..5 {
        till.authorize(&[("login_hint", &format!("9999000{n}"))]).await.fails(400, "unknown_user_id");
    }
    // From now on those who are customers look like those who are not.
    till.authorize(&[("login_hint", "99990009")]).await.fails(403, "access_denied");
    till.authorize(&[("login_hint", "10004711")]).await.fails(403, "access_denied");
    Program { id: "other", ..till }.ask("10004711").await;
    world.pass(Span::hours(1));
    till.ask("10004711").await;
    assert_eq!(world.log().await.matches("\"type\":\"started\"").count(), 7, "all that was asked is on record");
}

#[tokio::test]
async fn a_tired_customer_is_left_in_peace() {
    let world = world().await;
    let till = Program::till(&world);
    for _ in 0..4 {
        let taken = till.ask("10004711").await;
        taken.answered(&world, ANA, Approval::Declined).await;
    }
    till.authorize(&[("login_hint", "10004711")]).await.fails(403, "access_denied");
}

#[tokio::test]
async fn a_program_that_floods_is_not_heard() {
    let world = World::with(Setup { openid: vec![ClientSettings { requests_per_hour: 3, ..settings("till", "The till") }], ..Setup::default() }).await;
    let till = Program::till(&world);
    for _ in 0..3 {
        till.device().await;
    }
    till.post("/oauth/device_authorization", &[]).await.fails(403, "access_denied");
}

#[tokio::test]
async fn wrong_codes_and_other_customers_approve_nothing() {
    let world = world().await;
    let till = Program::till(&world);
    let taken = till.ask("10004711").await;
    let challenge = taken.challenge(&world).await;
    let code = taken.answer["approval_code"].as_str().unwrap();
    // Liam types Ana's code.
    let input = || countersign_core::call::Input::Approval { account: LIAM, challenge, reply: Approval::Typed(code.into()) };
    assert!(world.app.runner.run(taken.call, "liam".into(), input).await.is_err());
    let wrong = if code == "000000" { "000001" } else { "000000" };
    for _ in 0..3 {
        taken.answered(&world, ANA, Approval::Typed(wrong.into())).await;
    }
    till.poll(&taken).await.fails(400, "access_denied");
    assert!(!world.events(taken.call).await.iter().any(|e| matches!(e, Event::Proved { .. })));
}

#[tokio::test]
async fn user_codes_are_guessed_as_seldom_as_any_pin() {
    let world = world().await;
    let bank = Program { world: &world, id: "bank" };
    for _ in 0..5 {
        bank.authorize(&[("login_hint", "10004711"), ("user_code", "1357")]).await.fails(400, "invalid_user_code");
    }
    // Now a right one looks like a wrong one, for this program alone.
    bank.authorize(&[("login_hint", "10004711"), ("user_code", "4071")]).await.fails(400, "invalid_user_code");
    Program { id: "till", ..bank }.ask_with(&[("login_hint", "10004711"), ("user_code", "4071")]).await;
}

/// Nothing that opens anything stands in the log, the events or an error.
#[tokio::test]
async fn nothing_private_is_written_down() {
    let center = ClientSettings {
        delivery: countersign_server::oauth::clients::Delivery::Ping, notification_endpoint: Some("http://127.0.0.1:9/told".into()), ..settings("center", "The center")
    };
    let world = World::with(Setup { openid: vec![center], file: true, ..Setup::default() }).await;
    let now = world.now();
    world.edit(ANA, |p| p.portal = Some(now)).await;
    let program = Program { world: &world, id: "center" };
    let taken = program.ask_with(&[("login_hint", "10004711"), ("client_notification_token", NOTICE_TOKEN), ("binding_message", "Marmalade for Ana")]).await;
    let code = taken.answer["approval_code"].as_str().unwrap().to_owned();
    taken.typed(&world, ANA).await;
    world.deliver().await;
    let log = world.log().await;
    for secret in [taken.name.as_str(), NOTICE_TOKEN, "Marmalade", code.as_str(), TILL_SECRET] {
        assert!(!log.contains(secret), "{secret} is in an event");
    }
    crate::common::hides(&log, &ANA_PRIVATE);
    let files: Vec<u8> = ["", "-wal"].iter().filter_map(|end| std::fs::read(format!("{}{end}", world.file().display())).ok()).flatten().collect();
    let stored = String::from_utf8_lossy(&files);
    for secret in [taken.name.as_str(), NOTICE_TOKEN, "Marmalade", TILL_SECRET] {
        assert!(!stored.contains(secret), "{secret} is in the file");
    }
    // The browser's own page cannot be made to ask: there is nothing that it would send along.
    let page = pages::post(&world.router, "/oauth/bc-authorize", None, &ASK).await;
    page.fails(401, "invalid_client");
    assert!(!page.headers.contains_key("access-control-allow-origin"));
    let _ = FORM;
}
