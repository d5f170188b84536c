//! Calling many centers and taking notes; and the same rubric for our own calls.

use countersign_core::{action::Role, time::Span};
use countersign_survey::{Choice, Rule, csv, grade};

use crate::common::{World, desk::Desk, hides, pages::{self, Page}, people::*};

const EXAMPLE: &str = include_str!("../../../../docs/field-notes.example.csv");

/// A form as the page sends it: with the name of its command, and with what is not filled in.
pub async fn record(kim: &Desk, fields: &[(&str, &str)]) -> Page {
    let page = kim.get("/admin/survey").await;
    let command = page.body.split("name=\"command\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let mut all = vec![("command", command.as_str()), ("date", "2026-05-30"), ("reached", "inbound"), ("industry", ""), ("remarks", ""), ("given-name", ""), ("changed-email", "")];
    all.retain(|(name, _)| !fields.iter().any(|(n, _)| n == name));
    all.extend(fields);
    pages::post(&kim.router, "/admin/survey", Some(&kim.cookie), &all).await
}

#[tokio::test]
async fn field_notes() {
    let world = World::in_file().await;
    let kim = world.kim().await;
    kim.get("/admin").await.ok().shows("/admin/survey");
    kim.get("/admin/survey").await.ok().shows("No notes yet.").shows("0 calls.").shows("2026-06-01");

    // A call is recorded, and graded with reasons.
    let fields = [("center", "Example Power"), ("industry", "utility"), ("way", "number"), ("given-address", "identified"), ("offered", "yes"), ("remarks", "Read \"12 …\"\r\nand asked if that is right.")];
    let page = record(&kim, &fields).await;
    page.is(303);
    assert_eq!(page.header("location"), "/admin/survey?say=recorded");
    let page = kim.get("/admin/survey?say=recorded").await;
    page.ok().shows("The note is recorded.").shows("Example Power").shows("utility").shows("2026-05-30");
    page.shows(r#"<span class="chip bad">oh no</span>"#).shows("Told to somebody who had proved nothing: address.").shows("The calling number was recognised.").shows("and asked if that is right.");
    page.shows("1 call. good 0, okay 0, bad 0, oh no 1; not graded 0.");

    // Several answers of one kind, and what contradicts itself: nothing is lost of what was typed.
    let many = [("center", "Example Bank"), ("way", "ivr"), ("identifier", "account"), ("identifier", "birth"), ("changed-address", "authenticated"), ("remarks", "Half of it.")];
    let page = record(&kim, &many).await;
    page.is(422).shows("Not recorded yet.").shows("changed: address was changed after a proof, and there is none").shows("Half of it.");
    page.shows(r#"name="identifier" value="birth" checked"#).shows(r#"value="authenticated" selected"#).shows(r#"name="center" value="Example Bank""#);
    world.pass(Span::seconds(1));
    let mut whole = many.to_vec();
    whole.extend([("factor", "pin"), ("factor", "sms_code")]);
    record(&kim, &whole).await.is(303);
    kim.get("/admin/survey").await.shows(r#"<span class="chip good">good</span>"#).shows("Asked for: PIN, SMS code.");

    world.pass(Span::seconds(1));
    // The file goes out, and comes in again: what is there is not taken twice.
    let page = kim.get("/admin/survey/export.csv").await;
    assert_eq!((page.header("content-type"), page.header("content-disposition")), ("text/csv; charset=utf-8", "attachment; filename=\"field-notes.csv\""));
    let notes = csv::read(&page.body).unwrap().into_notes();
    assert_eq!(notes.iter().map(|n| n.center.as_str()).collect::<Vec<_>>(), ["Example Bank", "Example Power"]);
    assert_eq!(notes[1].remarks, "Read \"12 …\"\nand asked if that is right.");
    // A text field sends its lines with CR and LF.
    let pasted = EXAMPLE.replace('\n', "\r\n") + &csv::row(&notes[0]);
    let imported = pages::post(&kim.router, "/admin/survey/import", Some(&kim.cookie), &[("csv", pasted.as_str())]).await;
    assert_eq!(imported.header("location"), "/admin/survey?say=imported&n=11&known=1");
    kim.get(imported.header("location")).await.ok().shows("Taken in: 11. There already: 1.").shows("13 calls. good 4, okay 2, bad 2, oh no 4; not graded 1.");
    pages::post(&kim.router, "/admin/survey/import", Some(&kim.cookie), &[("csv", pasted.as_str())]).await.is(303);
    let all = csv::read(&kim.get("/admin/survey/export.csv").await.body).unwrap().into_notes();
    assert_eq!(all.len(), 13);
    let example = csv::read(EXAMPLE).unwrap().into_notes();
    assert_eq!(all[..11], example[..], "in the order of the file");

    // The charts say the same as the page.
    for (name, text) in [("methods", "phone number 8"), ("verdicts", "good 4, okay 2, bad 2, oh no 4; not graded 1")] {
        let page = kim.get(&format!("/admin/survey/{name}.svg")).await;
        page.ok().shows(text);
        assert_eq!(page.header("content-type"), "image/svg+xml");
        assert_eq!(page.header("content-security-policy").split(';').next(), Some("default-src 'self'"));
    }

    // A note goes, and a restart keeps the rest.
    let page = kim.get("/admin/survey").await;
    let at = page.body.find("Remove the note on Example Power").unwrap();
    let to = page.body[at..].split("action=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(pages::post::<&str, &str>(&kim.router, &to, Some(&kim.cookie), &[]).await.header("location"), "/admin/survey?say=removed");
    pages::post::<&str, &str>(&kim.router, &to, Some(&kim.cookie), &[]).await.is(404);
    kim.get("/admin/survey").await.shows("12 calls.");
    let file = world.file();
    let world = world.restart().await;
    let kim = world.kim().await;
    kim.get("/admin/survey").await.shows("12 calls.");
    // Sealed, as everything is that somebody wrote.
    world.app.runner.store.close().await;
    let bytes = std::fs::read(&file).unwrap();
    hides(&String::from_utf8_lossy(&bytes), &["Outfitters", "Telecom"]);
}

/// A row of the rubric for each call of ours, and how the factors fared.
#[tokio::test]
async fn our_own_calls_are_graded_by_the_same_rubric() {
    let world = World::new().await;
    let (mut robin, kim) = (world.robin().await, world.kim().await);
    kim.get("/admin/grade").await.ok().shows("No call has ended yet.").shows("0 calls.");

    // One that passes and steps up: PIN after a wrong entry, then a text; the address is changed.
    let mut call = world.call(ANA_LINE).await;
    world.pass(Span::seconds(3));
    call.press("1").await;
    world.pass(Span::seconds(9));
    call.presses(&["0000", "4071", "1"]).await;
    robin.take(&mut call).await;
    robin.prove("sms_code", "change:address").await;
    let code = world.letter().await.code();
    world.pass(Span::seconds(21));
    call.listen().await.press(&code).await;
    robin.reveal("name").await.ok();
    robin.perform("change:address", &[("address", "1 New Street, Springfield"), ("postal_code", "20501")]).await.says("Done.");
    let good = call.id;
    // Not before it is over.
    kim.get("/admin/grade").await.shows("0 calls.");
    robin.end().await.ok();

    // One who is recognised, offered the delivery, and talks to an agent; nothing is let through.
    let mut call = world.call(ANA_LINE).await;
    call.presses(&["1", "0", "1"]).await;
    robin.take(&mut call).await;
    robin.reveal("address").await.says("not permitted now");
    robin.perform("change:phone", &[("value", "+12025550150")]).await.says("Not permitted now");
    robin.end().await.ok();

    // One who hangs up: no grade.
    let mut call = world.call(LIAM_LINE).await;
    call.hang_up().await;

    let page = kim.get("/admin/grade").await;
    page.ok().shows("3 calls. good 1, okay 1, bad 0, oh no 0; not graded 1.").shows(&format!("/admin/calls/{good}"));
    page.shows("Asked for: PIN, SMS code.").shows("Nothing was asked, told or changed.").hides(&ANA_PRIVATE);
    let cells = |factor: &str| -> String {
        let table = page.body.split("<h2 id=\"factors-title\">").nth(1).unwrap();
        let row = table.split(&format!("<th scope=\"row\">{factor}</th>")).nth(1).unwrap().split("</tr>").next().unwrap();
        row.split('>').filter_map(|part| part.split('<').next()).map(str::trim).filter(|t| !t.is_empty()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(cells("PIN"), "2 1 50 % 0:09 0 1");
    assert_eq!(cells("texted code"), "1 1 100 % 0:21 0 0");
    assert_eq!(cells("app code"), "1 0 0 % none 0 0");
    for name in ["methods", "verdicts"] {
        kim.get(&format!("/admin/grade/{name}.svg")).await.ok().shows("our own calls").shows("3 calls").hides(&ANA_PRIVATE);
    }
    kim.get("/admin").await.ok().shows("50 %");

    // The next one is added to what was read before.
    let mut call = world.call(STRANGER).await;
    call.hang_up().await;
    kim.get("/admin/grade").await.shows("4 calls. good 1, okay 1, bad 0, oh no 0; not graded 2.");
    let alex = world.agent("Alex", Role::Admin).await;
    alex.get("/admin/grade").await.ok().shows("4 calls.").hides(&ANA_PRIVATE);
}

/// No call of ours asks where to send a code, and the rubric would see it.
#[test]
fn the_rubric_knows_what_we_do_not_do() {
    let notes = csv::read(EXAMPLE).unwrap().into_notes();
    let rules: Vec<&str> = notes.iter().flat_map(|n| grade(n).reasons).map(|r| r.rule.name()).collect();
    assert!(rules.contains(&Rule::AsksWhichNumber.name()) && rules.contains(&Rule::AsksSsn.name()));
}
