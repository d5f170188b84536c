//! Waking devices: what comes at a browser's push service, and what somebody who is signed in could
//! make of a server that sends to addresses out of browsers.

use axum::http::Method;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use countersign_core::{account::Profile, time::Span};
use serde_json::{Value, json};

use crate::common::{
    URL, World,
    browser::Browser,
    desk::Desk,
    has_word,
    pages::{self, Page, own, send},
    people::*,
    phone::Phone,
    portal::Portal,
};

async fn put(portal: &Portal, path: &str, body: impl Into<axum::body::Body>) -> Page {
    send(&portal.router, own(Method::POST, path, Some(&portal.cookie), "application/json", body)).await
}

async fn subscribe(portal: &Portal, json: &Value) -> Page { put(portal, "/me/push/subscribe", json.to_string()).await }

fn endpoints(profile: &Profile) -> Vec<&str> { profile.push.iter().map(|p| p.endpoint.expose()).collect() }

/// Ana is on the phone, and Robin asks for her approval in the portal.
async fn asked(world: &World) -> (Desk, Phone) {
    let mut robin = world.robin().await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["2", "4071", "1"]).await;
    robin.take(&mut call).await;
    robin.prove("approval", "change:address").await.ok();
    (robin, call)
}

#[tokio::test]
async fn a_device_is_woken_and_reads_nothing_personal() {
    let world = World::new().await;
    let (browser, portal) = (Browser::start().await, Portal::enter(&world, "10004711").await);
    subscribe(&portal, &browser.json()).await.is(204);
    let key: Value = serde_json::from_str(&portal.get("/me/push/key").await.ok().body).unwrap();
    let (_, call) = asked(&world).await;
    world.outbox.flush().await.unwrap();

    let knocks = browser.take();
    assert_eq!(knocks.len(), 1);
    let knock = &knocks[0];
    assert_eq!(knock.path, "/push/a-long-name");
    let challenge = world.app.runner.call(call.id).await.unwrap().unwrap().call.challenge.unwrap();
    assert_eq!(browser.open(knock), json!({ "v": 1, "what": "approval", "request": challenge.id }));
    let header = |name: &str| knock.headers[name].to_str().unwrap().to_owned();
    assert_eq!((header("content-encoding"), header("urgency"), header("ttl")), ("aes128gcm".into(), "high".into(), "300".into()));
    let topic = header("topic");
    assert!(topic.len() == 32 && topic.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{topic}");
    let (sender, claims) = browser.sender(knock);
    assert_eq!(key["key"], sender.as_str());
    assert_eq!(claims, json!({ "aud": browser.origin, "exp": (world.now() + Span::hours(12)).unix(), "sub": URL }));
    let all = format!("{knock:?} {}", browser.open(knock));
    for private in ANA_PRIVATE {
        assert!(!has_word(&all, private), "{private}");
    }

    // Once is enough.
    world.outbox.flush().await.unwrap();
    assert!(browser.take().is_empty());
    world.log().await.split('\n').for_each(|line| assert!(!line.contains("a-long-name") && !line.contains(&browser.public()), "{line}"));
}

#[tokio::test]
async fn nobody_is_woken_for_a_request_that_is_over() {
    let world = World::new().await;
    let (browser, portal) = (Browser::start().await, Portal::enter(&world, "10004711").await);
    subscribe(&portal, &browser.json()).await.is(204);
    let (robin, mut call) = asked(&world).await;
    robin.act("cancel", &[]).await.ok();
    world.outbox.flush().await.unwrap();
    assert!(browser.take().is_empty(), "the agent took it back");

    robin.prove("approval", "change:address").await.ok();
    world.pass(Span::minutes(6));
    world.outbox.flush().await.unwrap();
    assert!(browser.take().is_empty(), "its time is over");
    call.hang_up().await;
}

#[tokio::test]
async fn a_subscription_that_is_over_is_forgotten_and_others_stay() {
    for status in [404, 410] {
        let world = World::new().await;
        let (gone, here) = (Browser::start().await, Browser::start().await);
        let portal = Portal::enter(&world, "10004711").await;
        subscribe(&portal, &gone.json()).await.is(204);
        subscribe(&portal, &here.json()).await.is(204);
        gone.answers(status, &[]);
        asked(&world).await;
        world.outbox.flush().await.unwrap();
        assert_eq!((gone.take().len(), here.take().len()), (1, 1));
        assert_eq!(endpoints(&world.profile(ANA).await), [here.endpoint()]);
        portal.home().await.shows("A device is not woken any more.");
    }
}

#[tokio::test]
async fn a_busy_push_service_is_asked_again_and_a_woken_one_is_not() {
    let world = World::new().await;
    let browser = Browser::start().await;
    let portal = Portal::enter(&world, "10004711").await;
    subscribe(&portal, &browser.json()).await.is(204);
    browser.answers(429, &[("retry-after", "7")]);
    asked(&world).await;
    world.outbox.flush().await.unwrap();
    world.pass(Span::seconds(6));
    world.outbox.flush().await.unwrap();
    assert_eq!(browser.take().len(), 1);
    world.pass(Span::seconds(1));
    browser.answers(201, &[]);
    world.outbox.flush().await.unwrap();
    let second = browser.take();
    assert_eq!(second[0].headers["ttl"], "293", "what is left of the request");
    // Refused for good: no more knocks, and the subscription stays for another day.
    browser.answers(413, &[]);
    world.pass(Span::minutes(30));
    world.outbox.flush().await.unwrap();
    assert!(browser.take().is_empty());
    assert_eq!(world.profile(ANA).await.push.len(), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let world = World::new().await;
    let (browser, inside) = (Browser::start().await, Browser::start().await);
    let portal = Portal::enter(&world, "10004711").await;
    subscribe(&portal, &browser.json()).await.is(204);
    for status in [301, 302, 307, 308] {
        browser.answers(status, &[("location", &format!("{}/inside", inside.origin))]);
        let (robin, _) = asked(&world).await;
        world.outbox.flush().await.unwrap();
        assert_eq!((browser.take().len(), inside.take().len()), (1, 0), "{status}");
        robin.end().await.ok();
        world.pass(Span::hours(1));
    }
}

/// Server-side request forgery: the list of `push::address` once more, through the door.
#[tokio::test]
async fn only_push_services_are_taken() {
    let world = World::new().await;
    let (browser, portal) = (Browser::start().await, Portal::enter(&world, "10004711").await);
    for bad in [
        "http://fcm.googleapis.com/x", "https://fcm.googleapis.com.evil.com/x", "https://fcm.googleapis.com:8443/x", "https://user@fcm.googleapis.com/x", "https://evil.example/x",
        "https://169.254.169.254/latest", "http://169.254.169.254/latest", "https://127.0.0.1/x", "https://localhost/x", "https://[::1]/x", "https://10.0.0.1/x", "https://metadata.google.internal/",
        "http://10.0.0.1/x", "file:///etc/passwd", "gopher://127.0.0.1/", "javascript:alert(1)", "", "fcm.googleapis.com", "https://fcm.googleapis.com/x#y", "http://127.0.0.1.evil.example/",
    ] {
        let page = subscribe(&portal, &browser.json_at(bad)).await;
        page.is(422).shows("push service is not one that we send to");
        assert!(bad.is_empty() || !page.body.contains(bad), "{bad} is not told back");
    }
    assert!(world.profile(ANA).await.push.is_empty());
    // What got on file in another way is not called either.
    world.edit(ANA, |p| p.push.push(browser.on_file("http://169.254.169.254/latest"))).await;
    asked(&world).await;
    world.outbox.flush().await.unwrap();
    subscribe(&portal, &browser.json_at("https://fcm.googleapis.com/fcm/send/x")).await.is(204);
}

#[tokio::test]
async fn keys_that_are_none_are_not_taken() {
    let world = World::new().await;
    let (browser, portal) = (Browser::start().await, Portal::enter(&world, "10004711").await);
    let good = browser.json();
    let with = |name: &str, value: Value| {
        let mut json = good.clone();
        json["keys"][name] = value;
        json
    };
    let off_the_curve = BASE64_URL_SAFE_NO_PAD.encode([&[4_u8][..], &[1; 64]].concat());
    for bad in [
        with("p256dh", json!("")), with("p256dh", json!("A".repeat(20_000))), with("p256dh", json!(off_the_curve)), with("p256dh", json!("<script>")), with("p256dh", Value::Null), with("p256dh", json!(7)),
        with("auth", json!("")), with("auth", json!("AAAA")), with("auth", json!("A".repeat(20_000))), with("auth", json!(["x"])), json!({ "endpoint": browser.endpoint() }), json!([]), json!("x"), Value::Null,
    ] {
        subscribe(&portal, &bad).await.is(422);
    }
    put(&portal, "/me/push/subscribe", "not json").await.is(422);
    put(&portal, "/me/push/subscribe", "[".repeat(10_000)).await.is(422);
    put(&portal, "/me/push/subscribe", vec![b' '; 40_000]).await.is(413);
    assert!(world.profile(ANA).await.push.is_empty());
}

#[tokio::test]
async fn five_devices_are_enough_and_the_oldest_makes_room() {
    let world = World::new().await;
    let (browser, portal) = (Browser::start().await, Portal::enter(&world, "10004711").await);
    let at = |n: u32| format!("{}/{n}", browser.origin);
    for n in 1..=7 {
        subscribe(&portal, &browser.json_at(&at(n))).await.is(204);
    }
    assert_eq!(endpoints(&world.profile(ANA).await), [at(3), at(4), at(5), at(6), at(7)]);
    // The same again is no news, and no second entry.
    let before = world.log().await;
    subscribe(&portal, &browser.json_at(&at(5))).await.is(204);
    assert_eq!(world.log().await, before);
    assert_eq!(world.profile(ANA).await.push.len(), 5);
    portal.home().await.shows("A device was set up to wake when we ask for your approval.");
    let known: Value = serde_json::from_str(&portal.get("/me/push/key").await.body).unwrap();
    assert_eq!(known["devices"].as_array().unwrap().len(), 5);
    portal.get("/me/push/key").await.lacks(&browser.origin);
}

#[tokio::test]
async fn nobody_takes_away_what_is_another_s() {
    let world = World::new().await;
    let browser = Browser::start().await;
    let (ana, liam) = (Portal::enter(&world, "10004711").await, Portal::enter(&world, "10004712").await);
    subscribe(&ana, &browser.json()).await.is(204);
    let body = json!({ "endpoint": browser.endpoint() }).to_string();
    // The answer is the same whether it was there or not.
    put(&liam, "/me/push/unsubscribe", body.clone()).await.is(204);
    put(&liam, "/me/push/unsubscribe", json!({ "endpoint": "https://nowhere.example/" }).to_string()).await.is(204);
    assert_eq!(endpoints(&world.profile(ANA).await), [browser.endpoint()]);
    assert!(!liam.get("/me/push/key").await.body.contains("devices\":[\""));
    let nobody = Portal { router: world.router.clone(), cookie: format!("cs_me={}", "0".repeat(64)) };
    for path in ["/me/push/subscribe", "/me/push/unsubscribe"] {
        put(&nobody, path, browser.json().to_string()).await.is(303);
    }
    put(&ana, "/me/push/unsubscribe", body).await.is(204);
    assert!(world.profile(ANA).await.push.is_empty());
}

#[tokio::test]
async fn the_key_outlives_a_restart_and_is_sealed() {
    let world = World::in_file().await;
    let key = |world: &World| {
        let world = world.clone();
        async move {
            let portal = Portal::enter(&world, "10004711").await;
            serde_json::from_str::<Value>(&portal.get("/me/push/key").await.ok().body).unwrap()["key"].as_str().unwrap().to_owned()
        }
    };
    let before = key(&world).await;
    assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(&before).unwrap().len(), 65);
    let sibling = world.sibling().await;
    assert_eq!(key(&sibling).await, before);
    drop(sibling);
    let doc = world.app.runner.store.doc("vapid", b"key").await.unwrap().unwrap();
    assert!(!doc.body.windows(7).any(|w| w == b"private"));
    let world = world.restart().await;
    assert_eq!(key(&world).await, before);
}

#[tokio::test]
async fn the_portal_can_be_installed_and_its_worker_keeps_nothing() {
    let world = World::new().await;
    let page = pages::get(&world.router, "/sw.js", None).await;
    page.ok();
    assert_eq!((page.header("content-type"), page.header("service-worker-allowed"), page.header("cache-control")), ("text/javascript; charset=utf-8", "/", "no-store"));
    for word in ["caches", "\"fetch\"", "importScripts", "http://", "https://"] {
        assert!(!page.body.contains(word), "{word}");
    }
    let page = pages::get(&world.router, "/portal.webmanifest", None).await;
    page.ok();
    assert_eq!(page.header("content-type"), "application/manifest+json");
    let manifest: Value = serde_json::from_str(&page.body).unwrap();
    assert_eq!((manifest["name"].as_str(), manifest["start_url"].as_str()), (Some("Juniper & Co"), Some("/me")));
    for icon in manifest["icons"].as_array().unwrap() {
        let file = pages::get(&world.router, icon["src"].as_str().unwrap(), None).await;
        assert_eq!(file.ok().header("content-type"), icon["type"].as_str().unwrap());
    }
    Portal::enter(&world, "10004711").await.home().await.shows(r#"<link rel="manifest" href="/portal.webmanifest">"#);
}
