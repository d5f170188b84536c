//! One-time codes checked for other systems of the company.

use countersign_core::factor::hotp;
use serde_json::json;

use crate::common::{API_KEY, World, hides, pages::{self, Page}, people::*};

async fn check(world: &World, number: &str, kind: &str, code: &str) -> Page {
    pages::api(&world.router, "/api/v1/authenticators/check", API_KEY, &json!({ "account_number": number, "kind": kind, "code": code })).await
}

async fn accepted(world: &World, number: &str, kind: &str, code: &str) -> bool {
    let page = check(world, number, kind, code).await;
    page.ok();
    let answer: serde_json::Value = serde_json::from_str(&page.body).unwrap();
    assert_eq!(answer.as_object().unwrap().len(), 1, "nothing but yes or no");
    answer["accepted"].as_bool().unwrap()
}

fn code(counter: u64) -> String { hotp(&hanna_token(), counter).unwrap().expose().to_owned() }

#[tokio::test]
async fn a_token_code_counts_once() {
    let world = World::new().await;
    assert!(accepted(&world, "10004718", "hotp", &code(3)).await, "a token may have run ahead");
    for counter in 0..=3 {
        assert!(!accepted(&world, "10004718", "hotp", &code(counter)).await, "{counter}");
    }
    assert!(accepted(&world, "10004718", "hotp", &code(4)).await);
    assert!(!accepted(&world, "10004718", "hotp", &code(16)).await, "too far ahead");
    // What was spent here is spent on the telephone.
    let mut call = world.call(HANNA_LINE).await;
    call.hears("Please enter the code from your security token.").press(&code(4)).await.hears("That was not accepted.");
    call.press(&code(5)).await.hears("Thank you, that was accepted.");
    // And the other way round.
    assert!(!accepted(&world, "10004718", "hotp", &code(5)).await);
    assert!(accepted(&world, "10004718", "hotp", &code(6)).await);
    let log = world.log().await;
    assert_eq!(log.lines().filter(|l| l.starts_with("check ")).count(), 9, "every check is on record");
    for counter in 0..=6 {
        hides(&log, &[&code(counter)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_code_checked_many_times_at_once() {
    for world in [World::new().await, World::in_file().await] {
        let other = world.sibling().await;
        let mut all = Vec::new();
        for n in 0..12 {
            let world = if n % 2 == 0 { world.clone() } else { other.clone() };
            // A clash is told as one, and may be tried again; it is never a second yes.
            all.push(tokio::spawn(async move { check(&world, "10004718", "hotp", &code(0)).await }));
        }
        let mut yes = 0;
        for one in all {
            let page = one.await.unwrap();
            assert!([200, 503].contains(&page.status.as_u16()), "{}", page.body);
            yes += usize::from(page.body.contains("true"));
        }
        assert_eq!(yes, 1);
    }
}

#[tokio::test]
async fn wrong_codes_are_counted_and_every_no_is_the_same() {
    let world = World::new().await;
    let wrong = check(&world, "10004718", "hotp", "000000").await;
    for (number, kind, code) in [("10009999", "hotp", "000000"), ("10004711", "totp", "000000"), ("10004718", "totp", "000000"), ("", "hotp", ""), ("10004718", "hotp", "x")] {
        let page = check(&world, number, kind, code).await;
        assert_eq!((page.status, &page.body), (wrong.status, &wrong.body), "{number} {kind}");
    }
    // Two were judged; three more, and not even the right one is.
    for _ in 0..3 {
        assert!(!accepted(&world, "10004718", "hotp", "000001").await);
    }
    assert!(!accepted(&world, "10004718", "hotp", &code(0)).await);
    // On the telephone it still counts: another line, another count.
    world.call(HANNA_LINE).await.press(&code(0)).await.hears("Thank you, that was accepted.");
    for kind in ["pin", "sms_code", "voice_code", "service_code", "verbal_password"] {
        check(&world, "10004711", kind, "4071").await.is(422).shows("only totp and hotp");
    }
    check(&world, "10004711", "ssn", "4071").await.is(422).shows("invalid_body").hides(&["4071"]);
}

/// What a program is told when something is wrong: a code it can read, and whether to try again.
#[tokio::test]
async fn errors_are_for_programs() {
    let world = World::new().await;
    for (body, status) in [(json!({}), 422), (json!([]), 422), (json!({ "account_number": 7 }), 422), (json!({ "account_number": "10009999" }), 404)] {
        let page = pages::api(&world.router, "/api/v1/portal-sessions", API_KEY, &body).await;
        page.is(status);
        let answer: serde_json::Value = serde_json::from_str(&page.body).unwrap();
        assert!(answer["code"].is_string() && answer["message"].is_string() && answer["may_retry"] == json!(false), "{answer}");
    }
    world.app.runner.store.close().await;
    let page = pages::api(&world.router, "/api/v1/portal-sessions", API_KEY, &json!({ "account_number": "10004711" })).await;
    assert!(page.status.is_server_error());
    let answer: serde_json::Value = serde_json::from_str(&page.body).unwrap();
    assert!(answer["code"].is_string());
}
