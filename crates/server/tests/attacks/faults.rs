//! Carriers that fail, senders that die, a disk that cannot keep up.

use countersign_core::{call::Event, message::Delivery, time::Span};
use countersign_server::{
    config::{Config, Severity},
    outbox::provider::{Sent, reason},
};
use countersign_store::{Commit, OutboxState};
use serde_json::json;

use crate::common::{
    API_KEY, Setup, World,
    pages::{self, send},
    people::*,
    phone::{Phone, webhook},
};

/// Ana, asked for a texted code that has not gone out.
async fn texted(world: &World) -> Phone {
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "*"]).await.hears("We have just texted a code");
    call
}

async fn fates(world: &World, call: &Phone) -> Vec<Delivery> {
    world.events(call.id).await.into_iter().filter_map(|e| match e {
        Event::Delivered { delivery, .. } => Some(delivery),
        _ => None,
    }).collect()
}

#[tokio::test]
async fn nobody_knows_whether_it_went() {
    for world in [World::new().await, World::in_file().await] {
        let mut call = texted(&world).await;
        world.ground.post.next(Sent::Unknown { reason: reason::NO_ANSWER });
        assert!(world.deliver().await.is_empty());
        assert_eq!(fates(&world, &call).await, [Delivery::Unknown]);
        // Never again, however long one waits.
        for _ in 0..4 {
            world.pass(Span::minutes(1));
            assert!(world.deliver().await.is_empty());
        }
        let tried = world.ground.post.attempts();
        assert_eq!(tried.len(), 1);
        // The challenge is still open: if it did arrive, it counts.
        call.press(&tried[0].code()).await.hears("Thank you, that was accepted.");
    }
}

#[tokio::test]
async fn it_will_not_arrive() {
    let world = World::new().await;
    let mut call = texted(&world).await;
    world.ground.post.next(Sent::Rejected { reason: reason::OPTED_OUT });
    assert!(world.deliver().await.is_empty());
    assert_eq!(fates(&world, &call).await, [Delivery::Failed]);
    // By itself, the machine asks for the next thing, and the telephone hears of it.
    call.listen().await.hears("We are ringing the number on file to give you a code.");
    let code = world.ground.post.attempts()[0].code();
    call.press(&code).await.hears("That was not accepted.");
    let letter = world.letter().await;
    call.press(&letter.code()).await.hears("Thank you, that was accepted.");
    let record = world.app.runner.store.outbox_record(letter.id.0).await.unwrap().unwrap();
    assert!(record.state == OutboxState::Done && record.body.is_empty(), "a code that went is wiped");

    // Asked for by an agent: back to the agent, who sees why.
    let mut robin = world.robin().await;
    call.press("1").await;
    robin.take(&mut call).await;
    robin.prove("sms_code", "change:phone").await.shows("Being sent to the number on file.");
    world.ground.post.next(Sent::Rejected { reason: reason::UNREACHABLE });
    world.deliver().await;
    call.listen().await.hears("You are going back to your agent now.").is_bridged();
    robin.panel().await.shows("Not proved: the message did not arrive.");
}

#[tokio::test]
async fn it_is_tried_again_until_it_goes_and_then_no_more() {
    let world = World::new().await;
    let mut call = texted(&world).await;
    for _ in 0..2 {
        world.ground.post.next(Sent::Retry { after: Span::seconds(2), reason: reason::NO_CONNECTION });
    }
    assert!(world.deliver().await.is_empty());
    assert!(world.deliver().await.is_empty(), "not before its time");
    assert_eq!(world.ground.post.attempts().len(), 1);
    world.pass(Span::seconds(4));
    assert!(world.deliver().await.is_empty());
    assert_eq!(world.ground.post.attempts().len(), 2);
    world.pass(Span::seconds(8));
    let letter = world.letter().await;
    for _ in 0..3 {
        world.pass(Span::minutes(1));
        assert!(world.deliver().await.is_empty());
    }
    let tried = world.ground.post.attempts();
    assert_eq!(tried.len(), 3);
    assert!(tried.iter().all(|t| t.id == letter.id && t.text == letter.text && !t.interrupted), "the same message each time");
    assert_eq!(fates(&world, &call).await, [Delivery::Sent]);
    call.press(&letter.code()).await.hears("Thank you, that was accepted.");
}

#[tokio::test]
async fn it_is_given_up_at_last() {
    for (why, fate) in [(reason::BUSY, Delivery::Failed), (reason::NO_ANSWER, Delivery::Unknown)] {
        let world = World::new().await;
        let mut robin = world.robin().await;
        let mut call = world.call(ANA_LINE).await;
        call.presses(&["1", "4071", "1"]).await;
        robin.take(&mut call).await;
        robin.perform("do:request_refund", &[]).await.says("Done.");
        robin.end().await.ok();
        for _ in 0..20 {
            world.ground.post.next(Sent::Retry { after: Span::seconds(1), reason: why });
        }
        for _ in 0..20 {
            assert!(world.deliver().await.is_empty());
            world.pass(Span::minutes(31));
        }
        assert_eq!(world.ground.post.attempts().len(), 6);
        assert_eq!(fates(&world, &call).await, [fate]);
    }
}

/// A sender dies after it took a message: when its lease has run out, another one looks at it, and
/// knows that it may have gone.
#[tokio::test]
async fn a_sender_dies() {
    for drops_repeats in [false, true] {
        let world = World::in_file().await;
        let mut call = texted(&world).await;
        let now = world.now().0;
        let taken = world.app.runner.store.outbox_take(now, now + Span::minutes(2).0, 50).await.unwrap();
        assert_eq!(taken.len(), 1);
        drop(taken);
        let world = world.restart().await;
        let mut call = { call.router = world.router.clone(); call };
        assert!(world.deliver().await.is_empty(), "it is leased");
        world.pass(Span::minutes(2));
        if drops_repeats {
            world.ground.post.next(Sent::Accepted { reference: None });
        }
        let sent = world.deliver().await;
        assert_eq!(sent.len(), usize::from(drops_repeats));
        let tried = world.ground.post.attempts();
        assert!(tried.len() == 1 && tried[0].interrupted);
        assert_eq!(fates(&world, &call).await, [if drops_repeats { Delivery::Sent } else { Delivery::Unknown }]);
        world.pass(Span::minutes(2));
        assert!(world.deliver().await.is_empty());
        call.press(&tried[0].code()).await.hears("Thank you, that was accepted.");
    }
}

/// Two senders at once: each message goes once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_senders_send_once() {
    let world = World::in_file().await;
    let other = world.sibling().await;
    let mut calls = Vec::new();
    for line in [ANA_LINE, TINA_LINE, JONAS_LINE, SOFIA_LINE] {
        let mut call = world.call(line).await;
        call.press(if line == ANA_LINE || line == JONAS_LINE { "1" } else { "*" }).await;
        if line == ANA_LINE {
            call.press("*").await;
        }
        calls.push(call);
    }
    let (a, b) = tokio::join!(world.outbox.flush(), other.outbox.flush());
    let waited = a.unwrap() + b.unwrap();
    assert_eq!((waited, world.ground.post.attempts().len()), (4, 4));
    let mut ids: Vec<_> = world.ground.post.attempts().iter().map(|l| l.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

/// The number was replaced while a code was on its way: it does not go there any more.
#[tokio::test]
async fn a_code_does_not_go_to_a_number_that_was_replaced() {
    let world = World::new().await;
    let call = texted(&world).await;
    world.edit(ANA, |p| p.contacts[0].retired = Some(p.contacts[0].usable_from)).await;
    assert!(world.deliver().await.is_empty());
    assert!(world.ground.post.attempts().is_empty());
    assert_eq!(fates(&world, &call).await, [Delivery::Failed]);
}

/// The disk cannot keep up: "try again in a moment", and nothing half done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_store_says_so() {
    // Short, but long enough for what one request reads at the same time.
    const QUEUE: usize = 4;
    let world = World::with(Setup { file: true, queue: QUEUE, ..Setup::default() }).await;
    let mut robin = world.robin().await;
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "4071", "1"]).await;
    robin.take(&mut call).await;
    let mut other = world.call(TINA_LINE).await;
    let before = world.log().await;

    // Somebody else holds the file; one commit waits for it, and others until the queue is full.
    let lock = rusqlite::Connection::open(world.file()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut waiting = Vec::new();
    let mut commits = 0;
    while world.app.runner.store.queued() < QUEUE {
        let store = world.app.runner.store.clone();
        commits += 1;
        let commit = Commit { now: world.now().0, command: Some(format!("waits/{commits}")), ..Commit::default() };
        waiting.push(tokio::spawn(async move { store.commit(commit).await }));
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let (path, fields) = (other.action(), other.fields(&[("Digits", "7318")]));
    let step = send(&world.router, webhook(&path, &fields)).await;
    let ring = send(&world.router, webhook("/twilio/voice", &Phone::new(&world, Some(LIAM_LINE), "TN-Validation-Passed-A").fields(&[]))).await;
    let desk = robin.perform("do:request_refund", &[]).await;
    let api = pages::api(&world.router, "/api/v1/portal-sessions", API_KEY, &json!({ "account_number": "10004711" })).await;
    let sign_out = pages::post(&world.router, "/desk/sign-out", Some(&robin.cookie), &[("", ""); 0]).await;
    for (page, what) in [(&step, "step"), (&ring, "ring"), (&desk, "desk"), (&api, "api"), (&sign_out, "sign-out")] {
        assert_eq!((page.status.as_u16(), page.header("retry-after")), (503, "1"), "{what}: {}", page.body);
    }
    assert!(api.body.contains("\"may_retry\":true"), "{}", api.body);
    // Reading goes on.
    robin.panel().await.ok();
    pages::get(&world.router, "/readyz", None).await.is(503);

    lock.execute_batch("ROLLBACK").unwrap();
    for one in waiting {
        one.await.unwrap().unwrap();
    }
    assert_eq!(world.log().await, before, "nothing was half done");
    // The same webhook once more, as Twilio does: now it is taken.
    let step = send(&world.router, webhook(&path, &fields)).await;
    step.ok().shows("Thank you, that was accepted.");
    other.twiml = step.body;
    other.press("1").await;
    robin.perform("do:request_refund", &[]).await.says("Done.");
    pages::get(&world.router, "/readyz", None).await.ok();
}

/// The store is gone in the middle of a call; after the restart the call goes on.
#[tokio::test]
async fn a_store_that_is_gone() {
    let world = World::in_file().await;
    let mut call = world.call(ANA_LINE).await;
    call.press("1").await;
    let n = world.events(call.id).await.len();
    world.app.runner.store.close().await;
    let (path, fields) = (call.action(), call.fields(&[("Digits", "4071")]));
    let page = send(&world.router, webhook(&path, &fields)).await;
    assert!(page.status.is_server_error() && !page.body.contains("accepted"), "{}", page.status);
    let world = world.restart().await;
    let mut call = call.at(&world);
    assert_eq!(world.events(call.id).await.len(), n);
    call.press("4071").await.hears("Thank you, that was accepted.");
}

/// What serving would refuse, the doctor names: a key file that holds no key, an account that is none.
#[test]
fn the_doctor_names_a_key_that_is_none_and_an_account_that_is_none() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("doctor-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let missing = |key: &str, sid: &str| {
        std::fs::write(folder.join("countersign.key"), key).unwrap();
        let text = format!(
            "[company]\nname = \"Hearth & Home\"\nfraud_line = \"+1 202 555 0100\"\n[listen]\naddress = \"127.0.0.1:8443\"\npublic_url = \"https://calls.example.com\"\n\
             [store]\npath = {:?}\n[keys]\nfile = {:?}\n[twilio]\naccount_sid = {sid:?}\nfrom = \"+12025550100\"\n",
            folder.join("record.db"), folder.join("countersign.key"),
        );
        std::fs::write(folder.join("countersign.toml"), text).unwrap();
        let found = Config::read(&folder.join("countersign.toml")).unwrap().examine();
        let found: Vec<String> = found.into_iter().filter(|f| f.severity == Severity::Missing).map(|f| f.setting).collect();
        ["keys.file", "twilio.account_sid"].map(|setting| found.iter().any(|f| f == setting))
    };
    let (key, sid) = ("0f".repeat(32), format!("AC{}", "0".repeat(32)));
    assert_eq!(missing(&key, &sid), [false, false]);
    assert_eq!(missing(&format!("{key}\n"), &sid), [false, false]);
    for bad in ["zz\n", "", "0f0f", &format!("{key}0f")] {
        assert_eq!(missing(bad, &sid), [true, false], "{bad:?}");
    }
    for bad in ["AB0123", "", &sid.replace('0', "x"), &sid.replace("AC", "SK")] {
        assert_eq!(missing(&key, bad), [false, true], "{bad:?}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}
