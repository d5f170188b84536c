//! Markup and other nonsense in what customers and agents can write, and headers that keep pages apart.

use axum::http::Method;
use countersign_core::{account::ContactKind, call::Call, factor::FactorKind, id::AccountId, message::Change};
use countersign_server::directory::{check_change, mailbox};

use crate::common::{
    START, World,
    pages::{self, FORM, Page, own, send},
    people::*,
    portal::Portal,
    routes::{ROUTES, example},
};

const SCRIPT: &str = "<script>alert(1)</script>";
const IMAGE: &str = "\"><img src=x onerror=alert(2)>";
const QUOTE: &str = "' onfocus='alert(3)' autofocus='";
const TEMPLATE: &str = "{{7*7}}${7*7}<%= 7*7 %>";

/// Nothing of it is markup, and all of it is on the page as text.
#[track_caller]
fn harmless(page: &Page) {
    for bad in ["<script>alert", "<img src=x", "' onfocus='", "\"><img", "javascript:alert"] {
        assert!(!page.body.contains(bad), "{bad} in\n{}", page.body);
    }
}

#[tokio::test]
async fn what_customers_are_called_is_text() {
    let world = World::new().await;
    let id = AccountId([0x66; 16]);
    let mut profile = Somebody::new(id, "10004666", &format!("Mallory {SCRIPT}{QUOTE}")).at(&format!("1 Hack Street {IMAGE}"), "66666", "1990-01-01")
        .contact(ContactKind::Mobile, "+12025550166", START).contact(ContactKind::Email, "m\"><script>alert(1)</script>@example.com", START)
        .word(FactorKind::Pin, "6402", None).order(START).0;
    profile.orders[0].what = format!("Lamp {SCRIPT}{TEMPLATE}").as_str().into();
    profile.orders[0].number = format!("9{IMAGE}").as_str().into();
    profile.orders[0].status = format!("shipped{SCRIPT}");
    world.add(&profile).await;
    let mut sam = world.sam().await;
    let mut call = world.call("+12025550166").await;
    call.press("*").await;
    let code = world.letter().await.code();
    call.presses(&[&code, "1"]).await;
    harmless(&sam.take(&mut call).await);
    sam.prove("pin", "change:address").await.ok();
    call.listen().await.press("6402").await;
    for field in ["name", "orders", "address", "email", "phone", "account_number"] {
        let page = sam.reveal(field).await;
        harmless(&page);
    }
    let page = sam.page().await;
    harmless(&page);
    page.shows(SCRIPT).shows(IMAGE).shows(TEMPLATE);
    assert!(!page.body.contains("49"), "no template runs on it");
    let portal = Portal::enter(&world, "10004666").await.home().await;
    harmless(&portal.clone());
    portal.shows(SCRIPT);
    // Into TwiML nothing of it gets at all.
    call.hears_nothing_of(&["Mallory"]);
    assert!(!call.twiml.contains("alert"));
}

/// What is on file as an address can be mailed to, and is nothing else besides.
#[test]
fn an_e_mail_address_that_is_none_is_not_taken() {
    for good in ["ana@example.com", "o'brien+shop@mail.example.com", "  ana@example.com\n"] {
        let kept = mailbox(&good.into()).unwrap();
        assert_eq!(kept.expose(), good.trim());
        assert!(check_change(&Change::Email(kept)).is_ok());
    }
    for bad in [
        "evil\"><script>@x.example", "a@b.example\r\nBcc: x@y.example", "a@b.example,c@d.example", "a b@x.example", "\"a b\"@x.example", "Ana <a@b.example>",
        "a@b@c.example", "a@[192.0.2.1]", "a@b", "@b.example", "a@b.example;", "a\0@b.example", "a\u{202e}@b..example", "", "a@b.example\tx",
    ] {
        assert!(check_change(&Change::Email(bad.into())).is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn what_agents_type_is_text() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    robin.take(&mut call).await;
    for nasty in [SCRIPT, IMAGE, QUOTE, TEMPLATE, "\u{0}\u{1b}[31m", "\u{202e}", "x".repeat(499).as_str()] {
        for (verb, fields) in [
            ("heard", vec![("what", nasty), ("value", nasty)]), ("heard", vec![("what", "email"), ("value", nasty)]), ("reveal", vec![("field", nasty)]),
            ("reveal", vec![("field", "address"), ("reason", nasty)]), ("request", vec![("action", nasty)]), ("request", vec![("action", "do:<b>")]),
            ("prove", vec![("factors", nasty), ("action", nasty)]), ("perform", vec![("action", nasty), ("value", nasty)]), ("perform", vec![("action", "change:email"), ("value", nasty)]),
            ("word", vec![("word", nasty)]), ("speak-for", vec![("account_number", nasty)]), ("switch", vec![("reason", "short")]), ("hand-over", vec![("queue", nasty)]),
        ] {
            let page = robin.act(verb, &fields).await;
            harmless(&page);
            assert!(page.status.as_u16() < 500, "{verb} {fields:?}: {}", page.status);
        }
    }
    robin.act("heard", &[("what", "email"), ("value", &"x".repeat(501))]).await.says("longer than 500 characters");
    let path = format!("/desk/call/{}/{}", call.id, "%3Cscript%3E");
    send(&world.router, own(Method::POST, &path, Some(&robin.cookie), FORM, "")).await.is(404).lacks("<script>");
    pages::get(&world.router, "/%3Cscript%3Ealert(1)%3C/script%3E", None).await.is(404).lacks("<script>alert");
    harmless(&pages::post(&world.router, "/desk/sign-in", None, &[("name", SCRIPT), ("password", IMAGE), ("code", QUOTE)]).await);
    assert_eq!(world.profile(ANA).await.events, 0);
    // What is asked about is kept for ever: only what has the spelling of an action gets there.
    let log = world.log().await;
    assert!(!log.contains("alert") && !log.contains('\u{1b}') && !log.contains("7*7"));
    let live = world.app.runner.call(call.id).await.unwrap().unwrap().call;
    let folded = Call::fold(call.id, &world.app.runner.events(call.id).await.unwrap());
    assert_eq!(live, folded);
}

/// Every answer of every route, whatever its status.
#[tokio::test]
async fn every_page_keeps_to_itself() {
    let world = World::new().await;
    let (kim, portal) = (world.kim().await, Portal::enter(&world, "10004711").await);
    let cookies = format!("{}; {}", kim.cookie, portal.cookie);
    let mut seen = std::collections::BTreeSet::new();
    for (verb, path, _) in ROUTES {
        // An open stream never ends by itself.
        if path == "/desk/events" || path == "/me/events" || path.ends_with("sign-out") {
            continue;
        }
        for cookie in [None, Some(cookies.as_str())] {
            let path = example(path);
            let page = send(&world.router, own(verb.parse().unwrap(), &path, cookie, FORM, "")).await;
            seen.insert(page.status.as_u16());
            assert_eq!(page.header("content-security-policy"), "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'", "{path}");
            assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(page.header("x-frame-options"), "DENY", "{path}");
            assert_eq!(page.header("referrer-policy"), "same-origin", "{path}: addresses hold tokens");
            assert_eq!(page.header("cross-origin-opener-policy"), "same-origin", "{path}");
            assert_eq!(page.header("permissions-policy"), "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()", "{path}");
            assert_eq!(page.header("strict-transport-security"), "max-age=31536000", "{path}: it is reached over TLS alone");
            let cache = page.header("cache-control");
            assert_eq!(cache, if path.starts_with("/assets/") { "public, max-age=300" } else { "no-store" }, "{path}");
            // No inline script, style or handler that the policy would have to allow.
            if page.header("content-type").starts_with("text/html") {
                for inline in ["<script>", "<style", " style=\"", " onclick=", " onload=", "javascript:"] {
                    assert!(!page.body.contains(inline), "{inline} in {path}");
                }
            }
            assert!(page.header("access-control-allow-origin").is_empty() && page.header("server").is_empty(), "{path}");
        }
    }
    for status in [200, 303, 401, 403, 404, 422] {
        assert!(seen.contains(&status), "{status} was never seen: {seen:?}");
    }
    let huge = own(Method::POST, "/desk/sign-in", None, FORM, format!("a={}", "x".repeat(40_000)));
    let page = send(&world.router, huge).await;
    page.is(413);
    assert_eq!(page.header("x-frame-options"), "DENY");
}

/// Whoever reads in a browser gets a page of the company that was asked, with a way on that is theirs;
/// also what was turned away before any handler saw it. Programs keep the plain answer.
#[tokio::test]
async fn an_error_is_a_page_of_the_company_that_was_asked() {
    let world = World::new().await;
    let kim = world.kim().await;
    let browser = |mut request: axum::http::Request<axum::body::Body>| {
        request.headers_mut().insert("accept", "text/html,application/xhtml+xml,*/*;q=0.8".parse().unwrap());
        request
    };
    let company = askama_escaped(world.app.company());
    let none = "<a class=\"button\"";
    for (verb, path, kind, body, status, onward) in [
        (Method::GET, "/nowhere", FORM, String::new(), 404, None),
        (Method::GET, "/undo/0123", FORM, String::new(), 422, Some("/me")),
        (Method::GET, "/admin/calls/rubbish", FORM, String::new(), 400, Some("/desk")),
        (Method::GET, "/desk/sign-out", FORM, String::new(), 405, Some("/desk")),
        (Method::POST, "/desk/sign-in", FORM, format!("a={}", "x".repeat(40_000)), 413, Some("/desk")),
        (Method::POST, "/desk/sign-in", "text/plain", "a=b".into(), 415, Some("/desk")),
    ] {
        let page = send(&world.router, browser(own(verb.clone(), path, Some(&kim.cookie), kind, body.clone()))).await;
        page.is(status);
        assert!(page.header("content-type").starts_with("text/html"), "{path}");
        assert!(page.body.contains(&company), "{path} is headed with the company:\n{}", page.body);
        assert!(!page.body.contains("href=\"/\""), "{path}: nothing is at / without the demo");
        match onward {
            Some(to) => assert!(page.body.contains(&format!("{none} href=\"{to}\"")), "{path}"),
            None => assert!(!page.body.contains(none), "{path}"),
        }
        if status == 405 {
            assert_eq!(page.header("allow"), "POST");
        }
        if matches!(status, 400 | 405 | 413 | 415) {
            let plain = send(&world.router, own(verb, path, Some(&kim.cookie), kind, body)).await;
            plain.is(status);
            assert!(!plain.header("content-type").starts_with("text/html"), "{path}: a program keeps the plain answer");
        }
    }
    // Nor do webhooks and the API get pages, whatever they say that they accept.
    for (path, kind) in [("/twilio/voice", "text/plain"), ("/api/v1/portal-sessions", FORM)] {
        let page = send(&world.router, browser(own(Method::POST, path, None, kind, "a=b"))).await;
        assert!(page.status.is_client_error() && !page.header("content-type").starts_with("text/html"), "{path}: {} {}", page.status, page.body);
    }
}

fn askama_escaped(text: &str) -> String { text.replace('&', "&#38;") }

/// A reason is as long as any other note; more is refused, and nothing is marked.
#[tokio::test]
async fn a_reason_for_fraud_has_an_end() {
    let world = World::new().await;
    let kim = world.kim().await;
    let call = world.call("+12025550142").await;
    let to = format!("/admin/calls/{}/fraud", call.id);
    let mark = |n: usize| own(Method::POST, &to, Some(&kim.cookie), FORM, format!("reason={}", "x".repeat(n)));
    send(&world.router, mark(501)).await.is(422).shows("longer than 500 characters");
    assert!(!world.tells(call.id, "marked this call as FRAUD").await);
    send(&world.router, mark(500)).await.is(303);
    assert!(world.tells(call.id, "marked this call as FRAUD").await);
}
