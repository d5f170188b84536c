//! Another website that makes a signed-in browser send something.

use axum::http::{Method, Request, header};
use countersign_core::{call::Event, time::Span};

use crate::common::{
    Setup, World,
    pages::{FORM, form, send},
    people::*,
    portal::Portal,
    routes::{ROUTES, VERBS, Who, example},
};

/// Where a request says that it comes from, when it comes from elsewhere or does not say.
const FOREIGN: [&[(&str, &str)]; 8] = [
    &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")],
    &[("sec-fetch-site", "cross-site"), ("origin", "https://calls.example.com")],
    &[("sec-fetch-site", "same-site"), ("origin", "https://www.example.com")],
    &[("sec-fetch-site", "none")],
    &[("origin", "https://evil.example")],
    &[("origin", "null")],
    &[("referer", "https://calls.example.com/desk")],
    &[],
];

fn foreign(path: &str, cookie: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Request<axum::body::Body> {
    let mut request = Request::builder().method(Method::POST).uri(path).header(header::HOST, "calls.example.com")
        .header(header::COOKIE, cookie).header(header::CONTENT_TYPE, FORM).header("hx-request", "true");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(form(fields).into()).unwrap()
}

#[tokio::test]
async fn nothing_is_done_for_another_website() {
    let world = World::with(Setup { demo: true, ..Setup::default() }).await;
    let (mut sam, portal) = (world.kim().await, Portal::enter(&world, "10004711").await);
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    sam.take(&mut call).await;
    let cookies = format!("{}; {}", sam.cookie, portal.cookie);
    let before = world.log().await;
    let mut paths: Vec<String> = ROUTES.iter().filter(|(method, _, who)| *method == "POST" && !matches!(who, Who::Twilio | Who::Line | Who::Program)).map(|(_, path, _)| example(path)).collect();
    paths.extend(VERBS.iter().map(|verb| format!("/desk/call/{}/{verb}", call.id)));
    paths.push(format!("/admin/agents/{}/sign-out", sam.id));
    assert!(paths.len() > 24);
    let fields = [("action", "do:request_refund"), ("factors", "pin"), ("what", "email"), ("value", "x@example.com"), ("queue", "agents"), ("reason", "a reason that is long"), ("field", "name")];
    for path in &paths {
        for headers in FOREIGN {
            let page = send(&world.router, foreign(path, &cookies, headers, &fields)).await;
            page.is(403).shows("This request came from another website and was not carried out.").lacks("Ana").hides(&ANA_PRIVATE);
        }
    }
    assert_eq!(world.log().await, before);
    assert!(world.profile(ANA).await.frozen.is_none());
    sam.panel().await.ok();
    portal.home().await.ok();

    // From our own page the same is done. A browser that is too old to say so names the origin.
    for headers in [&[("sec-fetch-site", "same-origin")][..], &[("origin", "https://calls.example.com")]] {
        let path = format!("/desk/call/{}/perform", call.id);
        send(&world.router, foreign(&path, &sam.cookie, headers, &fields)).await.ok().says("Done.");
    }
    assert_eq!(world.events(call.id).await.iter().filter(|e| matches!(e, Event::Performed { .. })).count(), 2);
}

/// Nothing that changes something answers to a GET, whatever it claims to be.
#[tokio::test]
async fn looking_changes_nothing() {
    let world = World::new().await;
    let (mut robin, portal) = (world.robin().await, Portal::enter(&world, "10004711").await);
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    robin.take(&mut call).await;
    let before = world.log().await;
    for (_, path, _) in ROUTES.iter().filter(|(method, path, _)| *method == "POST" && !path.contains("{token}") && *path != "/desk/sign-in") {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::PATCH] {
            let mut request = crate::common::pages::own(method.clone(), &example(path), Some(&format!("{}; {}", robin.cookie, portal.cookie)), FORM, form(&[("_method", "POST")]));
            request.headers_mut().insert("x-http-method-override", "POST".parse().unwrap());
            let status = send(&world.router, request).await.status;
            // A page of the same address may be looked at; that it does nothing is seen below.
            let page = ROUTES.iter().any(|(m, p, _)| *m == "GET" && p == path) && matches!(method, Method::GET | Method::HEAD);
            assert!(status == 405 || status == 404 || (page && status == 200), "{method} {path}: {status}");
        }
    }
    for verb in VERBS {
        let page = robin.get(&format!("/desk/call/{}/{verb}?action=do:request_refund&field=name", call.id)).await;
        assert_eq!(page.status, 405, "{verb}");
    }
    assert_eq!(world.log().await, before);
    world.pass(Span::seconds(1));
}

/// Nobody who follows a link to us, or signs in, ends up somewhere else.
#[tokio::test]
async fn no_address_sends_a_visitor_elsewhere() {
    const NAMES: [&str; 12] = ["next", "return_to", "returnTo", "redirect", "redirect_uri", "url", "continue", "to", "say", "done", "state", "iss"];
    let world = World::with(Setup { demo: true, ..Setup::default() }).await;
    let (mut kim, portal) = (world.kim().await, Portal::enter(&world, "10004711").await);
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    kim.take(&mut call).await;
    let mut sent = 0;
    for elsewhere in ["https://evil.example/", "//evil.example/", "/\\evil.example", "https:evil.example", "javascript:alert(1)"] {
        let fields = NAMES.map(|name| (name, elsewhere));
        for (verb, path, _) in ROUTES.iter().filter(|(_, path, who)| *who != Who::Twilio && !path.ends_with("/sign-out") && !path.ends_with("/events")) {
            for cookie in [Some(format!("{}; {}", kim.cookie, portal.cookie)), None] {
                let method: Method = verb.parse().unwrap();
                let at = format!("{}?{}", example(path), form(&fields));
                let mut request = crate::common::pages::own(method, &at, cookie.as_deref(), FORM, if *verb == "POST" { form(&fields) } else { String::new() });
                // A proxy that passes on what it was told must not lead away either.
                for name in ["x-forwarded-host", "x-original-url", "forwarded"] {
                    request.headers_mut().insert(name, "evil.example".parse().unwrap());
                }
                let page = send(&world.router, request).await;
                let to = page.header("location");
                sent += usize::from(!to.is_empty());
                assert!(to.is_empty() || (to.starts_with('/') && !to.starts_with("//") && !to.contains("evil") && !to.contains('\\')), "{verb} {path} leads to {to}");
                assert_eq!(page.header("refresh"), "", "{verb} {path}");
                assert!(!page.body.contains("evil.example"), "{verb} {path} repeats it");
            }
        }
    }
    assert!(sent > 100, "only {sent} answers sent anybody anywhere");
}
