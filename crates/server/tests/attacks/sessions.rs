//! Signing in, staying signed in, and not any more.

use axum::http::{Method, header};
use countersign_core::{action::Role, secret::Secret, time::Span};

use crate::common::{
    World,
    pages::{self, FORM, form, own, send},
    people,
    portal::Portal,
};

async fn try_to(world: &World, name: &str, password: &str, code: &str) -> pages::Page {
    pages::post(&world.router, "/desk/sign-in", None, &[("name", name), ("password", password), ("code", code)]).await
}

#[tokio::test]
async fn a_session_is_new_private_and_ends() {
    let world = World::new().await;
    world.app.agents.add("Vera", Role::Agent, &people::password("Vera")).await.unwrap();
    let mut robin = world.robin().await;
    // A cookie that somebody planted before is not taken over.
    let planted = format!("cs_desk={}", "a".repeat(64));
    world.pass(Span::seconds(60));
    let (password, code) = (people::password("Robin"), world.agent_code("Robin"));
    let fields = form(&[("name", "Robin"), ("password", password.expose()), ("code", code.expose())]);
    let page = send(&world.router, own(Method::POST, "/desk/sign-in", Some(&planted), FORM, fields)).await;
    page.is(303);
    let set = page.header("set-cookie").to_owned();
    for part in ["Path=/", "HttpOnly", "SameSite=Strict", "Secure", "Max-Age=43200"] {
        assert!(set.contains(part), "{set}");
    }
    assert_ne!(page.cookie(), planted);
    assert_ne!(page.cookie(), robin.cookie, "two sessions are two secrets");
    pages::get(&world.router, "/desk", Some(&planted)).await.is(303);
    // The server cannot tell it to anybody: what is stored is a hash.
    let kept = world.app.runner.store.docs("session", None, 10).await.unwrap();
    let token = page.cookie().split_once('=').unwrap().1.to_owned();
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|(id, doc)| !hex::encode(id).contains(&token) && !String::from_utf8_lossy(&doc.body).contains(&token)));

    // After a shift it is over.
    world.pass(Span(Span::hours(12).0 - 61_000));
    robin.get("/desk").await.ok();
    world.pass(Span::seconds(61));
    for path in ["/desk", "/desk/list"] {
        let page = robin.get(path).await;
        page.is(303);
        assert_eq!(page.header("location"), "/desk/sign-in");
    }
    // Signing out ends one session, here and at once.
    robin = world.robin().await;
    let other = world.robin().await;
    robin.get("/desk").await.ok();
    let page = pages::post(&world.router, "/desk/sign-out", Some(&robin.cookie), &[("", ""); 0]).await;
    page.is(303);
    assert!(page.header("set-cookie").contains("Max-Age=0"));
    robin.get("/desk").await.is(303);
    other.get("/desk").await.ok();
    // A lead ends them all.
    let kim = world.kim().await;
    pages::post(&world.router, &format!("/admin/agents/{}/sign-out", other.id), Some(&kim.cookie), &[("", ""); 0]).await.is(303);
    other.get("/desk").await.is(303);
    kim.get("/admin").await.ok();
}

#[tokio::test]
async fn signing_in_takes_all_three() {
    let world = World::new().await;
    world.robin().await;
    world.pass(Span::seconds(60));
    let (password, code) = (people::password("Robin"), world.agent_code("Robin"));
    let wrong_code = if code.expose() == "123456" { "123457" } else { "123456" };
    let mut answers = Vec::new();
    for (name, password, code) in [
        ("Robin", password.expose(), wrong_code), ("Robin", "another long password", code.expose()), ("Nobody", password.expose(), code.expose()), ("Robin", "x", "y"),
    ] {
        let page = try_to(&world, name, password, code).await;
        page.is(422).shows("Name, password or code is wrong, or there were too many tries").lacks("Nobody").hides(&[password]);
        assert_eq!(page.header("set-cookie"), "");
        answers.push(page.body);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "nobody learns which of the three was wrong, or who works here");
    for (name, password, code) in [("", "", ""), ("Robin", "", ""), ("Robin", password.expose(), "")] {
        try_to(&world, name, password, code).await.is(422).shows("Write name, password and the code from your app.");
    }
    try_to(&world, "Robin", password.expose(), code.expose()).await.is(303);
    // The same code again, although everything is right.
    try_to(&world, "Robin", password.expose(), code.expose()).await.is(422);
    world.pass(Span::seconds(30));
    // Names are written as people write them.
    try_to(&world, " robin ", password.expose(), world.agent_code("Robin").expose()).await.is(303);
}

#[tokio::test]
async fn guessing_passwords_is_limited() {
    let world = World::new().await;
    world.robin().await;
    for n in 0..5 {
        try_to(&world, "Robin", &format!("wrong password {n}"), "000000").await.is(422);
    }
    world.pass(Span::seconds(60));
    let (password, code) = (people::password("Robin"), world.agent_code("Robin"));
    try_to(&world, "Robin", password.expose(), code.expose()).await.is(422);
    // From elsewhere Robin can still work: a stranger locks nobody out.
    let fields = form(&[("name", "Robin"), ("password", password.expose()), ("code", code.expose())]);
    let mut request = own(Method::POST, "/desk/sign-in", None, FORM, fields);
    request.extensions_mut().insert(axum::extract::ConnectInfo(std::net::SocketAddr::from(([198, 51, 100, 4], 1))));
    send(&world.router, request).await.is(303);
    world.pass(Span::minutes(15));
    try_to(&world, "Robin", password.expose(), world.agent_code("Robin").expose()).await.is(303);
}

/// A hundred attempts at once: five are judged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_sign_ins_are_counted() {
    let world = World::new().await;
    world.robin().await;
    let mut all = Vec::new();
    for n in 0..24 {
        let world = world.clone();
        all.push(tokio::spawn(async move { try_to(&world, "Robin", &format!("wrong password {n}"), "000000").await.status.as_u16() }));
    }
    for one in all {
        assert_eq!(one.await.unwrap(), 422);
    }
    let attempts = world.app.runner.store.attempts("sign-in/robin/192.0.2.7").await.unwrap();
    assert_eq!(attempts.count, 5);
}

#[tokio::test]
async fn cookies_of_every_shape_are_refused_quietly() {
    let world = World::new().await;
    let robin = world.robin().await;
    let token = robin.cookie.split_once('=').unwrap().1.to_owned();
    let upper = token.to_uppercase();
    for cookie in [
        "cs_desk=".to_owned(), "cs_desk".into(), format!("cs_desk={}", &token[1..]), format!("cs_desk={token}0"), format!("cs_desk={upper}"), format!("CS_DESK={token}"),
        format!("x=cs_desk={token}"), format!("cs_desk=\"{token}\""), format!("cs_desk={}", "0".repeat(64)), format!("cs_desk={}", "é".repeat(32)),
    ] {
        let request = axum::http::Request::get("/desk").header(header::COOKIE, header::HeaderValue::from_bytes(cookie.as_bytes()).unwrap());
        send(&world.router, request.body(axum::body::Body::empty()).unwrap()).await.is(303);
    }
    pages::get(&world.router, "/desk", Some(&format!("a=b; cs_desk={token}; c=d"))).await.ok();
}

#[tokio::test]
async fn a_portal_session_ends() {
    let world = World::new().await;
    let portal = Portal::enter(&world, "10004711").await;
    portal.home().await.ok().shows("Ana Torres");
    world.pass(Span(Span::hours(1).0 - 1000));
    portal.home().await.ok();
    world.pass(Span::seconds(1));
    let page = portal.home().await;
    page.is(303).hides(&people::ANA_PRIVATE);
    assert_eq!(page.header("location"), "/me/sign-in");
    portal.get("/me/service-code").await.is(303);
    portal.post("/me/freeze", &[]).await.is(303);
    let portal = Portal::enter(&world, "10004711").await;
    portal.post("/me/sign-out", &[]).await.is(303);
    portal.home().await.is(303);
    assert!(world.profile(people::ANA).await.frozen.is_none());
}

/// Names and passwords that are none.
#[tokio::test]
async fn only_good_names_and_passwords_are_added() {
    let world = World::new().await;
    let good = people::password("x");
    for name in ["", "x", "a b", "<b>", "Robin\n", "x".repeat(41).as_str(), "a/b", "Robin\u{202e}"] {
        assert!(world.app.agents.add(name, Role::Agent, &good).await.is_err(), "{name:?}");
    }
    assert!(world.app.agents.add("Robin", Role::Agent, &Secret::new("elevenchars")).await.is_err());
    world.app.agents.add("Robin", Role::Agent, &good).await.unwrap();
    assert!(world.app.agents.add("robin", Role::Lead, &good).await.is_err(), "nobody takes a colleague's name in other letters");
}
