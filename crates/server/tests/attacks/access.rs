//! Who may call which route: every one of them, without what it asks for.

use std::collections::BTreeSet;

use axum::http::{Method, header};
use serde_json::json;

use crate::common::{
    API_KEY, Setup, World,
    pages::{self, FORM, own, send},
    portal::Portal,
    routes::{ROUTES, VERBS, Who, example, in_sources, verbs_in_source},
};

/// A route that is not in the list has no test of who may call it.
#[test]
fn every_route_is_in_the_list() {
    let listed: BTreeSet<(String, String)> = ROUTES.iter().map(|(m, p, _)| ((*m).to_owned(), (*p).to_owned())).collect();
    assert_eq!(listed.len(), ROUTES.len(), "each once");
    assert_eq!(listed, in_sources());
    assert_eq!(VERBS.to_vec(), verbs_in_source(), "and every verb of a call");
}

fn method(name: &str) -> Method { name.parse().unwrap() }

#[tokio::test]
async fn nobody_gets_in_without_what_a_route_asks_for() {
    let world = World::new().await;
    for (verb, path, who) in ROUTES {
        let path = example(path);
        let page = send(&world.router, own(method(verb), &path, None, FORM, "")).await;
        let status = page.status.as_u16();
        match who {
            // There is no log yet.
            Who::Anybody if path.starts_with("/log/") && !path.ends_with("keys") => assert_eq!(status, 404, "{verb} {path}"),
            Who::Anybody => assert_eq!(status, 200, "{verb} {path}"),
            Who::OwnPage => assert!([303, 422].contains(&status), "{verb} {path}: {status}"),
            Who::Desk | Who::Admin | Who::Lead => {
                assert_eq!(status, 303, "{verb} {path}");
                assert_eq!(page.header("location"), "/desk/sign-in", "{verb} {path}");
            }
            Who::Portal => {
                assert_eq!(status, 303, "{verb} {path}");
                assert_eq!(page.header("location"), "/me/sign-in", "{verb} {path}");
            }
            Who::Link => assert_eq!(status, 422, "{verb} {path}"),
            Who::Program => assert_eq!(status, 401, "{verb} {path}"),
            Who::Twilio | Who::Line => assert_eq!(status, 403, "{verb} {path}"),
            // None is configured here.
            Who::Provider | Who::Switch => assert_eq!(status, 404, "{verb} {path}"),
            // The demo is not mounted: not even its paths are known.
            Who::Demo => assert_eq!(status, 404, "{verb} {path}"),
        }
    }
    assert_eq!(world.log().await, "", "nothing is on record");
}

/// A cookie of the portal opens no desk, and the other way round; an agent is no lead.
#[tokio::test]
async fn one_door_does_not_open_another() {
    let world = World::new().await;
    let (robin, portal) = (world.robin().await, Portal::enter(&world, "10004711").await);
    let swapped = [portal.cookie.replace("cs_me=", "cs_desk="), robin.cookie.replace("cs_desk=", "cs_me=")];
    for (verb, path, who) in ROUTES {
        let path = example(path);
        let with = async |cookie: &str| send(&world.router, own(method(verb), &path, Some(cookie), FORM, "")).await;
        match who {
            Who::Desk | Who::Admin | Who::Lead => {
                assert_eq!(with(&portal.cookie).await.status, 303, "{verb} {path}");
                assert_eq!(with(&swapped[0]).await.status, 303, "{verb} {path}");
            }
            Who::Portal => {
                for cookie in [&robin.cookie, &swapped[1]] {
                    let page = with(cookie).await;
                    page.is(303);
                    assert_eq!(page.header("location"), "/me/sign-in", "{verb} {path}");
                }
            }
            _ => {}
        }
        // For an agent there is no admin page; not even that there is one is told.
        if matches!(who, Who::Admin | Who::Lead) {
            with(&robin.cookie).await.is(404);
        }
        if who == Who::Program {
            let mut request = own(method(verb), &path, Some(&robin.cookie), "application/json", json!({ "account_number": "10004711" }).to_string());
            request.headers_mut().insert(header::AUTHORIZATION, robin.cookie.replace("cs_desk=", "Bearer ").parse().unwrap());
            send(&world.router, request).await.is(401);
        }
    }
    // An administrator runs the installation and sees no customer.
    let alex = world.agent("Alex", countersign_core::action::Role::Admin).await;
    let page = alex.get("/desk").await;
    page.is(303);
    assert_eq!(page.header("location"), "/admin");
    alex.get("/admin").await.ok().shows("No alerts.");
    // What agents and callers did is the lead's business.
    for (verb, path, _) in ROUTES.iter().filter(|(_, _, who)| *who == Who::Lead) {
        send(&world.router, own(method(verb), &example(path), Some(&alex.cookie), FORM, "")).await.is(404);
    }
    let mut call = world.call(crate::common::people::ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    for path in [format!("/desk/call/{}", call.id), format!("/desk/call/{}/panel", call.id)] {
        alex.get(&path).await.is(404);
    }
}

#[tokio::test]
async fn the_demo_is_only_in_the_demo() {
    let (demo, real) = (World::with(Setup { demo: true, ..Setup::default() }).await, World::new().await);
    for (verb, path, _) in ROUTES.iter().filter(|(_, _, who)| *who == Who::Demo) {
        let path = example(path);
        let real = send(&real.router, own(method(verb), &path, None, "application/json", "{}")).await;
        real.is(404).shows("Nothing here");
        if !path.ends_with("events") {
            let there = send(&demo.router, own(method(verb), &path, None, "application/json", "{}")).await;
            assert!(there.status != 405 && (there.status != 404 || path.contains("/demo/sign-in/") || path.contains("/calls/") || path.contains("/microphone/")), "{verb} {path}: {}", there.status);
        }
    }
    pages::get(&demo.router, "/", None).await.ok().shows("Demo on this machine only");
    let robin = real.robin().await;
    robin.get("/desk").await.ok().lacks("Demo on this machine only").lacks("/handset");
}

#[tokio::test]
async fn health_is_what_it_says() {
    let world = World::in_file().await;
    pages::get(&world.router, "/healthz", None).await.ok().shows("ok");
    pages::get(&world.router, "/readyz", None).await.ok().shows("ready");
    let metrics = pages::get(&world.router, "/metrics", None).await;
    assert!(metrics.header("content-type").starts_with("application/openmetrics-text"));
    metrics.shows("# EOF").shows("countersign_live_calls 0");
    pages::get(&world.router, "/assets/../Cargo.toml", None).await.is(404);
    pages::get(&world.router, "/assets/%2e%2e/Cargo.toml", None).await.is(404);
    pages::get(&world.router, "/nowhere", None).await.is(404).shows("Nothing here");
    pages::get(&world.router, "/desk/call/call_x", None).await.is(400);
    // Without its store it is alive and not ready.
    world.app.runner.store.close().await;
    pages::get(&world.router, "/healthz", None).await.ok();
    let page = pages::get(&world.router, "/readyz", None).await;
    page.is(503).lacks("sqlite").lacks("record.db");
}

/// Programs: a key, or nothing.
#[tokio::test]
async fn a_program_needs_its_key() {
    let world = World::new().await;
    let body = json!({ "account_number": "10004711" });
    for key in ["", " ", "x", &API_KEY[1..], &API_KEY.to_uppercase(), &format!("{API_KEY} "), "Bearer"] {
        pages::api(&world.router, "/api/v1/portal-sessions", key, &body).await.is(401).lacks("url");
    }
    for header_value in [API_KEY.to_owned(), format!("Basic {API_KEY}"), format!("bearer {API_KEY}")] {
        let mut request = own(Method::POST, "/api/v1/portal-sessions", None, "application/json", body.to_string());
        request.headers_mut().insert(header::AUTHORIZATION, header_value.parse().unwrap());
        send(&world.router, request).await.is(401);
    }
    // The hash of the key, read from somebody's configuration, is no key.
    use sha2::Digest;
    pages::api(&world.router, "/api/v1/portal-sessions", &hex::encode(sha2::Sha256::digest(API_KEY)), &body).await.is(401);
    pages::api(&world.router, "/api/v1/portal-sessions", API_KEY, &body).await.is(201);
}
