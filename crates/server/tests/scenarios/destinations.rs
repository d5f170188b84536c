//! `which_number_to_text`: there is no place where anybody could say where a code goes.

use std::collections::BTreeSet;

use axum::http::Method;
use countersign_core::{
    call::{Ask, Command},
    message::{Body, Change, Message, OnFile},
};
use serde_json::json;

use crate::common::{
    API_KEY, Setup, World,
    pages::{self, FORM, form, own, send},
    people::*,
    phone::webhook,
    portal::Portal,
    routes::{ROUTES, VERBS, Who, example},
};

/// What a caller, or an agent under pressure, would like to write somewhere.
const ELSEWHERE: &str = "+12025550166";
const NAMES: [&str; 22] = [
    "to", "To", "phone", "number", "destination", "dest", "contact", "contact_id", "recipient", "send_to", "sms_to", "mobile", "msisdn", "email",
    "address", "channel", "callback", "From", "Called", "ForwardedFrom", "phone_number", "override",
];

fn extras(known: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = known.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    all.extend(NAMES.iter().filter(|n| !known.iter().any(|(k, _)| k == *n)).map(|n| ((*n).to_owned(), ELSEWHERE.to_owned())));
    all
}

#[tokio::test]
async fn which_number_to_text() {
    let world = World::with(Setup { demo: true, ..Setup::default() }).await;
    let (mut kim, portal) = (world.kim().await, Portal::enter(&world, "10004711").await);

    // On the telephone: codes by text and by voice, with every field that a webhook could bring.
    let mut sent = 0;
    let mut call = world.call(ANA_LINE).await;
    call.press("1").await;
    for keys in ["*", "*"] {
        let path = call.action();
        let mut fields = call.fields(&[("Digits", keys)]);
        fields.extend(extras(&[]).into_iter().filter(|(n, _)| !["To", "From"].contains(&n.as_str())));
        call.twiml = send(&world.router, webhook(&path, &fields)).await.ok().body.clone();
        sent += world.deliver().await.len();
    }
    call.press("0").await.press("1").await;

    // At the desk: every verb, with every field.
    kim.call = call.id;
    for verb in VERBS.into_iter().filter(|v| *v != "end" && *v != "hand-over" && *v != "switch") {
        for known in [&[("factors", "sms_code"), ("action", "change:phone")][..], &[("factors", "voice_code")], &[("what", "email"), ("value", ELSEWHERE), ("action", "change:password"), ("field", "phone")]] {
            let fields = extras(known);
            let fields: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let page = kim.act(verb, &fields).await;
            assert!(page.status.is_success(), "{verb}: {}", page.status);
            sent += world.deliver().await.len();
            if verb == "prove" {
                kim.act("cancel", &[]).await.ok();
            }
        }
    }
    // Every other route that takes something.
    for (method, path, who) in ROUTES {
        if method != "POST" {
            continue;
        }
        let path = example(path);
        let cookie = format!("{}; {}", kim.cookie, portal.cookie);
        let fields = extras(&[]);
        if who == Who::Twilio {
            let twilio: Vec<(String, String)> = call.fields(&[]).into_iter().chain(fields.into_iter().filter(|(n, _)| !["To", "From"].contains(&n.as_str()))).collect();
            send(&world.router, webhook(&path, &twilio)).await;
            continue;
        }
        if path.ends_with("sign-out") || path == "/me/freeze" {
            continue;
        }
        send(&world.router, own(Method::POST, &path, Some(&cookie), FORM, form(&fields))).await;
        let object: serde_json::Map<_, _> = fields.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        send(&world.router, own(Method::POST, &path, Some(&cookie), "application/json", json!(object).to_string())).await;
    }
    sent += world.deliver().await.len();
    assert!(sent >= 4, "codes were sent at all");
    let places: BTreeSet<String> = world.ground.post.attempts().into_iter().map(|l| l.to).collect();
    let on_file: BTreeSet<String> = [ANA_LINE, ANA_MAIL].map(str::to_owned).into();
    assert!(places.is_subset(&on_file), "{places:?}");
    assert!(places.contains(ANA_LINE));
    assert!(!world.log().await.contains(&ELSEWHERE[1..]));
}

/// Programs are told that there is no such field, before anything is done.
#[tokio::test]
async fn unknown_fields_of_programs_are_refused() {
    let world = World::with(Setup { demo: true, ..Setup::default() }).await;
    let handset = async |path: &str, body: serde_json::Value| {
        let page = send(&world.router, own(Method::POST, path, None, "application/json", body.to_string())).await;
        assert!(page.status.is_client_error(), "{path}: {} {}", page.status, page.body);
    };
    for name in NAMES {
        let mut body = json!({ "account_number": "10004711" });
        body[name] = json!(ELSEWHERE);
        pages::api(&world.router, "/api/v1/portal-sessions", API_KEY, &body).await.is(422).shows("unknown field");
        let mut body = json!({ "account_number": "10004712", "kind": "totp", "code": liam_code(world.now()) });
        body[name] = json!(ELSEWHERE);
        pages::api(&world.router, "/api/v1/authenticators/check", API_KEY, &body).await.is(422).shows("unknown field");
        if name == "number" {
            continue; // the number that a handset calls from
        }
        handset("/handset/calls", json!({ "number": ANA_LINE, name: ELSEWHERE })).await;
        let call = example("/handset/calls/{id}");
        handset(&format!("{call}/keys"), json!({ "keys": "1", "command": "a", name: ELSEWHERE })).await;
        handset(&format!("{call}/silence"), json!({ "command": "a", name: ELSEWHERE })).await;
    }
    assert!(world.log().await.lines().all(|l| l.starts_with("agent ")), "nothing happened");
}

/// No field of a command carries a destination. Taken apart one by one: a new field or a new command
/// does not compile until somebody thinks about it here.
#[test]
fn no_command_carries_a_destination() {
    fn destination(command: &Command) -> Option<&str> {
        match command {
            Command::Accept | Command::CancelChallenge | Command::OpenLink | Command::End => None,
            Command::EnrolVoice | Command::CompareVoice | Command::RemoveVoice => None,
            Command::Claim { kind: _, value: _ } | Command::Compare { field: _, value: _ } | Command::Reveal { field: _, reason: _ } => None,
            Command::Request { action: _ } | Command::Prove { action: _, factors: _ } | Command::Word(_) => None,
            // The one place where a new number is written. It becomes a contact that cools off.
            Command::Perform { change, reason: _ } => match change {
                Change::Phone(_) | Change::Email(_) | Change::Address { address: _, postal_code: _ } | Change::Password | Change::Word { kind: _, word: _ } => None,
                Change::RemoveFactor(_) | Change::CancelOrder | Change::Business(_) | Change::EndFreeze | Change::Voice(_) | Change::NoVoice => None,
            },
            Command::SpeakFor { account_number: _ } | Command::Switch { reason: _ } | Command::HandOver { queue: _ } => None,
        }
    }
    fn goes_to(message: &Message) -> OnFile {
        let Message { id: _, to: OnFile { account, contact }, lang: _, body } = message;
        match body {
            Body::Code { code: _, challenge: _, kind: _, action: _ } | Body::Changed { action: _, undo: _ } => {}
            Body::Summary { actions: _, report: _ } | Body::Online { action: _ } => {}
            Body::Ring { call: _ } | Body::ChangedOnline { action: _, report: _ } => {}
        }
        OnFile { account: *account, contact: *contact }
    }
    fn asks(ask: &Ask) -> Option<&str> {
        match ask {
            Ask::Find { claim: _, purpose: _ } | Ask::Compare { account: _, field: _, value: _ } => None,
            Ask::Verify { account: _, authenticator: _, kind: _, presented: _ } | Ask::Redeem { code: _ } => None,
            Ask::VoiceTake { call: _, account: _, taken: _, held: _, until: _, sound: _ } | Ask::VoiceCompare { call: _, account: _, learn: _, sound: _ }
            | Ask::VoiceDigits { call: _, account: _, row: _, learning: _, seed: _, sound: _ } => None,
            Ask::Attest { transaction: _, kind: _, presented: _ } | Ask::History { number: _, account: _, started: _, dialled: _ } => None,
        }
    }
    assert_eq!(destination(&Command::Accept), None);
    let _ = (goes_to as fn(&Message) -> OnFile, asks as fn(&Ask) -> Option<&str>);
}

/// What the desk's page lets an agent write, at every level: nothing named like a destination, and
/// where something is written it is for what stands beside it.
#[tokio::test]
async fn no_page_asks_where_to() {
    let world = World::new().await;
    let mut sam = world.sam().await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "0", "1"]).await;
    let mut names = BTreeSet::new();
    let mut look = |body: &str| {
        for tag in ["<input ", "<select ", "<textarea ", "<button "] {
            for part in body.split(tag).skip(1) {
                let attributes = part.split('>').next().unwrap();
                if let Some((_, rest)) = attributes.split_once(" name=\"").or_else(|| attributes.strip_prefix("name=\"").map(|r| ("", r))) {
                    names.insert(rest.split('"').next().unwrap().to_owned());
                }
            }
        }
    };
    look(&sam.take(&mut call).await.body);
    for (factor, keys) in [("pin", "4071"), ("sms_code", "")] {
        look(&sam.prove(factor, "change:phone").await.body);
        let letters = world.deliver().await;
        let keys = letters.first().map_or(keys.to_owned(), |l| l.code());
        call.listen().await.press(&keys).await;
        look(&sam.panel().await.body);
    }
    let expected = ["action", "account_number", "address", "factors", "field", "kind", "postal_code", "queue", "reason", "value", "what", "word"];
    let expected: BTreeSet<String> = expected.map(str::to_owned).into();
    assert!(names.is_subset(&expected), "{names:?}");
    let page = sam.panel().await;
    page.lacks("Where").lacks("which number").shows("The new one gets no codes until its cooling-off time is over.");
}
