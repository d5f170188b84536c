//! Logs, metrics, the record and the database file, after calls in which everything happened.

use std::{cell::RefCell, io::Write, sync::Once};

use countersign_server::outbox::provider::{Sent, reason};
use tracing_subscriber::fmt::MakeWriter;

use crate::common::{World, hides, pages, people::*, phone::Phone, portal::Portal};

thread_local! {
    /// What this test's thread logged, once it asked for it.
    static LOGGED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// One log for all tests, because the tracing crate remembers who listens for the whole process;
/// each line goes to the test on whose thread it was written.
struct ByThread;

impl Write for ByThread {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOGGED.with_borrow_mut(|log| if let Some(log) = log { log.extend_from_slice(bytes) });
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
}
impl<'a> MakeWriter<'a> for ByThread {
    type Writer = Self;
    fn make_writer(&'a self) -> Self { Self }
}

fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(ByThread).init());
    LOGGED.set(Some(Vec::new()));
}

/// Everything that can be seen of the calls from outside, and everything that must not be in it.
async fn everything() -> (World, Vec<String>) {
    let world = World::in_file().await;
    let mut secret: Vec<String> = [ANA_PRIVATE.as_slice(), &LIAM_PRIVATE, &TINA_PRIVATE].concat().iter().map(|s| (*s).to_owned()).collect();
    for more in ["purple", "Rhinoceros", "unicorn", "+12025550150", "2025550150", "new@example.com", "1 New Street", "Newtown", "police", "8027", "7318", STRANGER, "2025550199", "Reading lamp", "1111"] {
        secret.push(more.to_owned());
    }
    let (mut robin, mut sam, mut kim) = (world.robin().await, world.sam().await, world.kim().await);
    for name in ["Robin", "Sam", "Kim"] {
        secret.push(people_password(name));
    }

    // A wrong PIN, a right one, a code that is wrong and then right, a change, an undo, a report.
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "1111", "4071", "2"]).await;
    robin.take(&mut call).await;
    robin.prove("sms_code", "change:phone").await.ok();
    call.listen().await;
    world.ground.post.next(Sent::Retry { after: countersign_core::time::Span::seconds(1), reason: reason::BUSY });
    assert!(world.deliver().await.is_empty());
    world.wait(countersign_core::time::Span::seconds(5)).await;
    let code = world.letter().await.code();
    call.press(&code).await;
    secret.push(code);
    robin.reveal("address").await.shows("Juniper Lane");
    robin.change_phone("+12025550150").await.says("Done.");
    robin.perform("change:email", &[("value", "new@example.com")]).await.says("Done.");
    robin.perform("change:address", &[("address", "1 New Street, Newtown"), ("postal_code", "10001")]).await.says("Done.");
    let links: Vec<String> = world.deliver().await.iter().map(|l| l.link()).collect();
    robin.end().await.ok();
    let report = world.letter().await.link();
    pages::post(&world.router, &links[0], None, &[("", ""); 0]).await.ok();
    pages::post(&world.router, &report, None, &[("", ""); 0]).await.ok();
    secret.extend(links.iter().chain([&report]).map(|l| l.rsplit('/').next().unwrap().to_owned()));

    // The portal and its code; a message that is refused; one of which nobody knows.
    let link = Portal::link(&world, "10004712").await;
    secret.push(link.split_once("token=").unwrap().1.to_owned());
    let portal = Portal::enter(&world, "10004712").await;
    let service = portal.code().await;
    portal.home().await.ok();
    secret.extend([service.clone(), portal.cookie.split_once('=').unwrap().1.to_owned(), robin.cookie.split_once('=').unwrap().1.to_owned()]);
    let mut call = world.call(STRANGER).await;
    call.presses(&["1", "1", &service, "1"]).await;
    sam.take(&mut call).await;
    sam.prove("verbal_password", "").await.ok();
    sam.word("purple unicorn").await.says("No match.");
    sam.word(LIAM_WORD).await.says("Match.");
    sam.perform("change:factors", &[("kind", "pin"), ("value", "8027")]).await.says("Done.");
    world.ground.post.next(Sent::Rejected { reason: reason::INVALID_ADDRESS });
    world.ground.post.next(Sent::Unknown { reason: reason::NO_ANSWER });
    world.deliver().await;
    sam.end().await.ok();

    // Somebody who says everything and proves nothing, and an exception with a reason.
    let mut call = Phone::dial(&world, None, "No-TN-Validation").await;
    call.presses(&["1", "2", "10004716", "06804", "1111", "0", "1"]).await;
    kim.take(&mut call).await;
    for (what, value) in [("name", "Tina Bell"), ("email", "tina.bell@example.com"), ("date_of_birth", "1995-02-14"), ("email", "nobody")] {
        kim.heard(what, value).await.ok();
    }
    kim.act("reveal", &[("field", "name"), ("reason", "police asked for it")]).await.shows("Tina Bell");
    kim.act("switch", &[("reason", "police said it is another")]).await.ok();
    call.hang_up().await;
    world.wait(countersign_core::time::Span::hours(1)).await;

    // Requests that go wrong.
    pages::get(&world.router, "/me/enter?token=1111", None).await;
    pages::get(&world.router, "/desk/call/call_1111", Some(&robin.cookie)).await;
    robin.act("perform", &[("action", "change:phone"), ("value", "2025550150")]).await;
    let _ = pages::api(&world.router, "/api/v1/authenticators/check", "wrong key", &serde_json::json!({ "account_number": "10004711", "kind": "totp", "code": "1111" })).await;
    let _ = pages::api(&world.router, "/api/v1/authenticators/check", crate::common::API_KEY, &serde_json::json!({ "account_number": "10004711", "kind": "totp", "code": "1111" })).await;
    (world, secret)
}

fn people_password(name: &str) -> String { password(name).expose().to_owned() }

#[tokio::test]
async fn nothing_personal_is_left_behind() {
    listen();
    let (world, secret) = everything().await;
    let secret: Vec<&str> = secret.iter().map(String::as_str).collect();
    let log = String::from_utf8(LOGGED.take().unwrap()).unwrap();
    assert!(log.contains("a message was refused") && log.contains("nobody knows whether a message went"), "the log was captured: {log}");
    hides(&log, &secret);
    let record = world.log().await;
    assert!(record.lines().count() > 80);
    hides(&record, &secret);
    hides(&world.metrics().await, &secret);

    // The database file, as whoever steals it reads it. Short words may stand in it by chance.
    world.app.runner.store.close().await;
    for end in ["", "-wal"] {
        let mut path = world.file().into_os_string();
        path.push(end);
        let Ok(bytes) = std::fs::read(path) else { continue };
        for word in secret.iter().filter(|w| w.len() >= 7) {
            assert!(!bytes.windows(word.len()).any(|w| w == word.as_bytes()), "{word} is in the database{end}");
        }
    }
}

/// What the operator's page and the agents' lists show of all that.
#[tokio::test]
async fn administrators_see_no_customer() {
    let (world, _) = everything().await;
    let private: Vec<&str> = [ANA_PRIVATE.as_slice(), &LIAM_PRIVATE, &TINA_PRIVATE].concat();
    let (alex, kim) = (world.agent("Alex", countersign_core::action::Role::Admin).await, world.kim().await);
    for desk in [&alex, &kim] {
        let page = desk.get("/admin").await;
        page.ok().hides(&private);
        let calls: Vec<String> = page.body.split("/admin/calls/").skip(1).map(|part| part.split('"').next().unwrap().to_owned()).collect();
        assert!(calls.len() >= 3);
        for call in calls {
            desk.get(&format!("/admin/calls/{call}")).await.ok().hides(&private).hides(&["police", "+12025550150", "new@example.com"]);
        }
        desk.get("/admin/policy").await.ok().shows("change_when_strong");
    }
}

/// A customer finds in the portal what was done about their own account, and nothing about
/// anybody else whom the same call was about.
#[tokio::test]
async fn the_portal_tells_only_ones_own_story() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    // From Ana's number, but about Tina: the number is set aside.
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "0", "1"]).await;
    robin.take(&mut call).await;
    robin.heard("account_number", "10004716").await.ok();
    robin.heard("postal_code", "06804").await.says("Two things agree");
    robin.prove("pin", "").await.ok();
    call.listen().await.press("7318").await;
    robin.perform("do:request_refund", &[]).await.says("Done.");
    let ana = Portal::enter(&world, "10004711").await.home().await;
    ana.ok().shows("A call came in.").lacks("refund").lacks("The caller proved").lacks("fits your account");
    let tina = Portal::enter(&world, "10004716").await.home().await;
    tina.ok().shows("A refund was requested, by Robin.").shows("The caller proved to be you: PIN.").shows("What the caller said fits your account.");
    // The account that was opened by mistake, and the right one.
    robin.act("switch", &[("reason", "the caller says this is not hers")]).await.ok();
    for (what, value) in [("account_number", "10004713"), ("postal_code", "14770")] {
        robin.heard(what, value).await.ok();
    }
    robin.heard("date_of_birth", "1948-05-02").await.ok();
    robin.prove("pin", "").await.ok();
    call.listen().await.press("8264").await;
    robin.reveal("orders").await.shows("Reading lamp");
    let tina = Portal::enter(&world, "10004716").await.home().await;
    tina.ok().shows("A refund was requested, by Robin.").lacks("looked at your orders");
    let chidi = Portal::enter(&world, "10004713").await.home().await;
    chidi.ok().shows("looked at your orders").lacks("refund");
    for page in [&ana, &tina, &chidi] {
        page.lacks("acct_").lacks("chal_").lacks("msg_").lacks("agent_");
    }
}
