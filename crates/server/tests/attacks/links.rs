//! Links that notices and the company's own site carry.

use countersign_core::time::Span;

use crate::common::{
    START, World, hides,
    pages::{self, send},
    people::*,
    portal::Portal,
};

const NOTHING: [(&str, &str); 0] = [];

#[tokio::test]
async fn an_entry_link_opens_the_portal_once() {
    let world = World::new().await;
    let link = Portal::link(&world, "10004711").await;
    let head = axum::http::Request::head(&link).body(axum::body::Body::empty()).unwrap();
    let head = send(&world.router, head).await;
    assert_eq!((head.status.as_u16(), head.header("set-cookie")), (200, ""), "who only asks whether it is there does not spend it");
    let page = pages::get(&world.router, &link, None).await;
    page.ok();
    let set = page.header("set-cookie").to_owned();
    for part in ["HttpOnly", "Secure", "SameSite=", "Max-Age=3600"] {
        assert!(set.contains(part), "{set}");
    }
    pages::get(&world.router, "/me", Some(&page.cookie())).await.ok().shows("Ana Torres");
    for _ in 0..2 {
        let again = pages::get(&world.router, &link, None).await;
        again.is(422).shows("This link was used or is too old.");
        assert_eq!(again.header("set-cookie"), "");
    }
    // Two minutes, and it is too old.
    let link = Portal::link(&world, "10004711").await;
    world.pass(Span::minutes(2));
    pages::get(&world.router, &link, None).await.is(422);
    // Guesses, and links of another kind.
    for token in ["", "x", &"0".repeat(64), "../me", "%00"] {
        pages::get(&world.router, &format!("/me/enter?token={token}"), None).await.is(422);
    }
    pages::get(&world.router, "/me/enter", None).await.is(422);
    let token = Portal::link(&world, "10004711").await.split_once("token=").unwrap().1.to_owned();
    for path in ["/undo/", "/not-me/"] {
        pages::get(&world.router, &format!("{path}{token}"), None).await.is(422);
        pages::post(&world.router, &format!("{path}{token}"), None, &NOTHING).await.is(422);
    }
    assert!(world.profile(ANA).await.frozen.is_none());
    hides(&world.log().await, &[&token]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_link_opened_ten_times_at_once() {
    let world = World::in_file().await;
    let other = world.sibling().await;
    let link = Portal::link(&world, "10004711").await;
    let mut all = Vec::new();
    for n in 0..10 {
        let (router, link) = (if n % 2 == 0 { world.router.clone() } else { other.router.clone() }, link.clone());
        all.push(tokio::spawn(async move { pages::get(&router, &link, None).await.status.as_u16() }));
    }
    let mut opened = 0;
    for one in all {
        match one.await.unwrap() {
            200 => opened += 1,
            status => assert_eq!(status, 422),
        }
    }
    assert_eq!(opened, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undo_and_report_work_once_and_for_their_own_account() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    robin.take(&mut call).await;
    robin.prove("sms_code", "change:address").await.ok();
    call.listen().await;
    let code = world.letter().await.code();
    call.press(&code).await;
    robin.perform("change:address", &[("address", "1 New Street, Newtown"), ("postal_code", "10001")]).await.says("Done.");
    let undo = world.deliver().await[0].link();
    robin.end().await.ok();
    let report = world.letter().await.link();

    // Guesses do nothing and tell nothing.
    for link in [&undo, &report] {
        let (path, token) = link.rsplit_once('/').unwrap();
        assert_eq!(token.len(), 64);
        let mut near = token.to_owned();
        near.replace_range(63.., if token.ends_with('0') { "1" } else { "0" });
        for guess in [near.as_str(), "0", &token[..63], &token.to_uppercase(), "%2e%2e%2f", "' or 1=1 --"] {
            let guess = percent_encoding::utf8_percent_encode(guess, percent_encoding::NON_ALPHANUMERIC).to_string();
            let page = pages::post(&world.router, &format!("{path}/{guess}"), None, &NOTHING).await;
            page.is(422).shows("This link was used, or its time is over.").hides(&ANA_PRIVATE);
        }
    }
    assert_eq!(world.profile(ANA).await.address.expose(), "1 New Street, Newtown");

    // Ten presses of one button at once: it happens once.
    for (link, check) in [(&undo, "undone"), (&report, "frozen")] {
        let mut all = Vec::new();
        for _ in 0..10 {
            let (world, link) = (world.clone(), link.clone());
            all.push(tokio::spawn(async move { pages::post(&world.router, &link, None, &NOTHING).await.status.as_u16() }));
        }
        let mut done = 0;
        for one in all {
            match one.await.unwrap() {
                200 => done += 1,
                status => assert_eq!(status, 422),
            }
        }
        assert_eq!(done, 1, "{check}");
        let times = world.log().await.lines().filter(|l| l.starts_with("account ") && l.contains(&format!("\"type\":\"{check}\""))).count();
        assert_eq!(times, 1, "{check}");
    }
    let after = world.profile(ANA).await;
    assert_eq!(after.address.expose(), "12 Juniper Lane, Springfield");
    assert!(after.frozen.is_some());
    for account in [LIAM, TINA, CHIDI] {
        assert!(world.profile(account).await.frozen.is_none());
    }
    hides(&world.log().await, &[undo.rsplit('/').next().unwrap(), report.rsplit('/').next().unwrap()]);
}

/// Whichever of two changes is undone first, in the end everything is as it was.
#[tokio::test]
async fn undoing_two_changes() {
    for order in [[0, 1], [1, 0]] {
        let world = World::new().await;
        let mut robin = world.robin().await;
        let mut call = world.call(ANA_LINE).await;
        call.presses(&["1", "4071", "1"]).await;
        robin.take(&mut call).await;
        robin.prove("sms_code", "change:phone").await.ok();
        call.listen().await;
        let code = world.letter().await.code();
        call.press(&code).await;
        let mut links = Vec::new();
        for new in ["+12025550150", "+12025550151"] {
            robin.change_phone(new).await.says("Done.");
            let told = world.deliver().await;
            assert!(told.iter().any(|l| l.to == ANA_LINE || l.to == ANA_MAIL) && told.iter().all(|l| !l.to.starts_with("+1202555015")), "{told:#?}");
            links.push(told[0].link());
        }
        for n in order {
            pages::post(&world.router, &links[n], None, &NOTHING).await.ok();
        }
        let after = world.profile(ANA).await;
        assert_eq!(after.field(countersign_core::action::Field::Phone), [ANA_LINE], "{order:?}");
        assert!(after.contacts.iter().find(|c| c.value.expose() == ANA_LINE).unwrap().usable_from <= START);
        world.call(ANA_LINE).await.hears("We know the number");
        for new in ["+12025550150", "+12025550151"] {
            world.call(new).await.hears("For English");
        }
    }
}

/// Links are for people who press buttons: nothing that merely fetches them changes anything.
#[tokio::test]
async fn scanners_press_no_buttons() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    robin.take(&mut call).await;
    robin.perform("do:request_refund", &[]).await.says("Done.");
    robin.end().await.ok();
    let link = world.letter().await.link();
    for method in [axum::http::Method::GET, axum::http::Method::HEAD, axum::http::Method::OPTIONS] {
        let request = axum::http::Request::builder().method(method).uri(&link).body(axum::body::Body::empty()).unwrap();
        send(&world.router, request).await;
    }
    // A POST that a scanner makes up does not come from our page.
    let request = axum::http::Request::post(&link).body(axum::body::Body::empty()).unwrap();
    send(&world.router, request).await.is(403);
    assert!(world.profile(ANA).await.frozen.is_none());
    pages::post(&world.router, &link, None, &NOTHING).await.ok();
    assert!(world.profile(ANA).await.frozen.is_some());
}
