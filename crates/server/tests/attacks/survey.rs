//! Field notes that are meant to harm, by whoever may write them and whoever may not.

use axum::http::Method;
use countersign_core::action::Role;
use countersign_survey::csv;

use crate::common::{
    World, hides,
    desk::Desk,
    pages::{self, FORM, Page, form, own, send},
    people::*,
    portal::Portal,
};

const NOTE: [(&str, &str); 4] = [("command", "00000000000000000000000000000001"), ("center", "Example Air"), ("date", "2026-05-30"), ("reached", "inbound")];
const PATHS: [&str; 4] = ["/admin/survey", "/admin/survey/export.csv", "/admin/survey/methods.svg", "/admin/survey/verdicts.svg"];

async fn post(desk: &Desk, path: &str, fields: &[(&str, &str)]) -> Page { pages::post(&desk.router, path, Some(&desk.cookie), fields).await }

async fn import(desk: &Desk, text: &str) -> Page { post(desk, "/admin/survey/import", &[("csv", text)]).await }

async fn count(kim: &Desk) -> usize { csv::read(&kim.get("/admin/survey/export.csv").await.body).unwrap().notes.len() }

/// The lead, and nobody else: not even the administrator learns that there is something.
#[tokio::test]
async fn notes_are_the_leads() {
    let world = World::new().await;
    let kim = world.kim().await;
    post(&kim, "/admin/survey", &NOTE).await.is(303);
    let page = kim.get("/admin/survey").await;
    let remove = page.body.split("action=\"").find(|p| p.contains("/remove\"")).unwrap().split('"').next().unwrap().to_owned();
    for (name, role) in [("Robin", Role::Agent), ("Sam", Role::Specialist), ("Alex", Role::Admin)] {
        let desk = world.agent(name, role).await;
        for path in PATHS {
            desk.get(path).await.is(404).lacks("Example Air");
        }
        for path in ["/admin/survey", "/admin/survey/import", &remove] {
            post(&desk, path, &NOTE).await.is(404);
        }
        if role == Role::Admin {
            desk.get("/admin").await.ok().lacks("/admin/survey");
        }
    }
    let portal = Portal::enter(&world, "10004711").await;
    for path in PATHS {
        portal.get(path).await.is(303).lacks("Example Air");
    }
    // A large body is nobody's who has not said who they are.
    let huge = own(Method::POST, "/admin/survey/import", None, FORM, format!("csv={}", "x".repeat(1 << 20)));
    send(&world.router, huge).await.is(303);
    assert_eq!(count(&kim).await, 1);
}

#[tokio::test]
async fn another_website_writes_no_notes() {
    let world = World::new().await;
    let kim = world.kim().await;
    for path in ["/admin/survey", "/admin/survey/import", &format!("/admin/survey/{}/remove", "0".repeat(48))] {
        for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example"), ("origin", "null")] {
            let mut request = own(Method::POST, path, Some(&kim.cookie), FORM, form(&NOTE));
            request.headers_mut().remove("sec-fetch-site");
            request.headers_mut().insert(name, value.parse().unwrap());
            send(&world.router, request).await.is(403);
        }
    }
    assert_eq!(count(&kim).await, 0);
}

#[tokio::test]
async fn what_is_noted_is_text() {
    let world = World::new().await;
    let kim = world.kim().await;
    for nasty in ["<script>alert(1)</script>", "\"><img src=x onerror=alert(2)>", "' onfocus='alert(3)' autofocus='", "</textarea><script>alert(4)</script>", "{{7*7}}", "=cmd|' /C calc'!A0"] {
        let row = csv::row(&countersign_survey::Note { industry: nasty.into(), remarks: nasty.into(), ..countersign_survey::Note::new(nasty, Default::default()) });
        import(&kim, &(csv::header() + &row)).await.is(303);
        // And where it is shown because it was refused.
        for page in [
            import(&kim, &format!("{}{nasty}\n", csv::header())).await, import(&kim, nasty).await,
            post(&kim, "/admin/survey", &[NOTE[0], ("center", nasty), ("industry", nasty), ("date", nasty), ("remarks", nasty)]).await,
        ] {
            page.is(422);
            harmless(&page);
        }
        for fields in [vec![NOTE[0], ("reached", nasty)], vec![NOTE[0], ("way", nasty)], vec![NOTE[0], ("given-name", nasty)], vec![NOTE[0], (nasty, "1")], vec![("command", nasty), NOTE[1], NOTE[2], NOTE[3]]] {
            let page = post(&kim, "/admin/survey", &fields).await;
            page.is(422).lacks(nasty);
        }
    }
    let page = kim.get("/admin/survey").await;
    page.ok().shows("<script>alert(1)</script>").shows("{{7*7}}");
    harmless(&page);
    for path in ["methods", "verdicts"] {
        let page = kim.get(&format!("/admin/survey/{path}.svg")).await;
        harmless(&page);
    }
    // A spreadsheet that opens the export runs nothing.
    let file = kim.get("/admin/survey/export.csv").await;
    assert!(file.body.lines().all(|l| l.split(',').all(|c| !c.trim_start_matches('"').starts_with(['=', '@', '+']))), "{}", file.body);
    assert!(file.body.contains("'=cmd"));
    kim.get("/admin/survey?say=%3Cscript%3Ealert(1)&n=1").await.ok().lacks("<script>alert(1)&");
    kim.get("/admin/survey?n=x").await.is(400);
}

#[track_caller]
fn harmless(page: &Page) {
    for bad in ["<script>alert", "<img src=x", "' onfocus='"] {
        assert!(!page.body.contains(bad), "{bad} in\n{}", page.body);
    }
}

#[tokio::test]
async fn broken_and_huge_files_change_nothing() {
    let world = World::new().await;
    let kim = world.kim().await;
    let good = csv::header() + "Example Air,travel,2026-03-02,inbound,number,,,,no,yes,,\n";
    let broken = good.clone() + "Example Bank,finance,never,inbound,,,,,,,,\n\"open,\n";
    let page = import(&kim, &broken).await;
    page.is(422).shows("line 3, column 22 (date): write a day that exists as YYYY-MM-DD").shows("line 4, column 1: a quotation mark opens here").shows("Nothing was taken in.").shows("Example Bank,finance,never");
    for (text, said) in [
        ("", "the file is empty"), ("a,b", "stands where center belongs"), ("\u{feff}", "the file is empty"), (&good.replace(',', ";"), "separated by semicolons"),
        (&format!("{good}{},,2026-03-02,inbound,,,,,,,,\n", "x".repeat(200_000)), "is longer than 2000 characters"), (&format!("{good}{}", "x\n".repeat(5000)), "4980 more mistakes are not shown."),
        (&format!("{good}\u{202e}A,,2026-03-02,inbound,,,,,,,,\n"), "control character U+202E"), (&format!("{good}A\u{0}B,,2026-03-02,inbound,,,,,,,,\n"), "control character U+0000"),
    ] {
        import(&kim, text).await.is(422).shows(said);
    }
    import(&kim, &"x".repeat(3 << 20)).await.is(422).shows("at most 2 MiB");
    post(&kim, "/admin/survey/import", &[("csv", good.as_str()), ("csv", good.as_str())]).await.is(422);
    post(&kim, "/admin/survey/import", &[("file", good.as_str())]).await.is(422);
    send(&world.router, own(Method::POST, "/admin/survey/import", Some(&kim.cookie), "application/json", "{}")).await.is(422);
    assert_eq!(count(&kim).await, 0);
    // Nothing beside the route became larger.
    let huge = own(Method::POST, "/desk/sign-in", None, FORM, format!("a={}", "x".repeat(40_000)));
    send(&world.router, huge).await.is(413);
    for id in ["0", "zz", &"0".repeat(48), &"f".repeat(4000), "..%2f..", "%00"] {
        post(&kim, &format!("/admin/survey/{id}/remove"), &[]).await.is(404);
    }
    // Nothing of another kind can be removed under its name.
    let agent = hex::encode(kim.id.0);
    post(&kim, &format!("/admin/survey/{agent}/remove"), &[]).await.is(404);
    kim.get("/desk").await.ok();
}

#[tokio::test]
async fn notes_have_an_end_and_one_command_is_one_note() {
    let world = World::new().await;
    let kim = world.kim().await;
    // The same form sent twice, or a hundred times at once, is one note.
    let sends = (0..20).map(|_| { let kim = kim.clone(); tokio::spawn(async move { post(&kim, "/admin/survey", &NOTE).await.status.as_u16() }) });
    for sent in sends.collect::<Vec<_>>() {
        assert_eq!(sent.await.unwrap(), 303);
    }
    assert_eq!(count(&kim).await, 1);
    let rows: String = (0..4999).map(|i| format!("Center {i},,2026-03-02,inbound,number,,,,no,no,,\n")).collect();
    import(&kim, &(csv::header() + &rows)).await.is(303);
    assert_eq!(count(&kim).await, 5000);
    post(&kim, "/admin/survey", &[("command", "00000000000000000000000000000002"), NOTE[1], NOTE[2], NOTE[3]]).await.is(422).shows("5000 notes are kept at most");
    import(&kim, &(csv::header() + "One more,,2026-03-02,inbound,,,,,,,,\n")).await.is(422).shows("5000 are there");
    let page = kim.get("/admin/survey").await;
    page.ok().shows("5,000 calls.").shows("The latest 200 of 5000.");
    assert!(page.body.len() < 600_000, "a page has an end");
}

/// Whoever reads our grade learns nothing of a customer, and nothing of duress.
#[tokio::test]
async fn our_grade_tells_nobody_of_duress() {
    let mut pages = Vec::new();
    for pin in ["5093", "5099"] {
        let world = World::new().await;
        let mut robin = world.robin().await;
        let alex = world.agent("Alex", Role::Admin).await;
        let mut call = world.call(SOFIA_LINE).await;
        call.presses(&[pin, "1"]).await;
        robin.take(&mut call).await;
        robin.perform("do:request_refund", &[]).await.ok();
        robin.end().await.ok();
        let page = alex.get("/admin/grade").await;
        page.ok().lacks("duress").lacks("held");
        hides(&page.body, &["Sofía", "Ruiz", SOFIA_LINE]);
        pages.push(page.body);
    }
    assert_eq!(pages[0], pages[1], "with either PIN the same page");
}
