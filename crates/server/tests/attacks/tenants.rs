//! Several companies in one process: somebody of one tries every door of another.

use axum::{body::{Body, BodyDataStream}, http::{Method, Request, StatusCode, header}};
use countersign_core::{action::Role, time::Span};
use countersign_server::telephony::twilio::signature::sign;
use countersign_store::{Commit, DocWrite, Expect};
use futures_util::StreamExt;
use serde_json::json;
use tower::ServiceExt;

use crate::common::{
    lines,
    pages::{FORM, Page, form, own, send},
    people::*,
    phone::webhook_of,
    portal::Portal,
    routes::{ROUTES, VERBS, Who},
    street::{MAPLE, MARK, Street, at},
};

/// Everything that Maple knows and Juniper does not: ids, cookies, keys, links.
struct Loot {
    call: String,
    agent: String,
    note: String,
    challenge: String,
    undo: String,
    not_me: String,
    enter: String,
    cookies: Vec<String>,
}

/// A day at Maple: a call that waits, one on which something was changed, a customer signed in who is
/// asked for an approval, people at its own desk.
async fn a_day_at(street: &Street) -> Loot {
    let maple = &street.maple;
    let (kim, mut robin) = (maple.kim().await, maple.robin().await);
    let portal = Portal::confirmed(maple, "10004711").await;
    kim.post("/admin/survey", &[("command", "00000000000000000000000000000001"), ("center", "Example Air"), ("date", "2026-05-30"), ("reached", "inbound")]).await.is(303);
    let note = kim.get("/admin/survey").await;
    let note = note.body.split('/').find(|part| part.len() == 48 && part.bytes().all(|b| b.is_ascii_hexdigit())).unwrap().to_owned();

    let mut changed = maple.call(TINA_LINE).await;
    changed.presses(&["2", "7318", "1"]).await;
    robin.take(&mut changed).await;
    let page = robin.request("change:phone").await;
    page.ok();
    maple.edit(TINA, |profile| profile.never_sms = false).await;
    robin.prove("sms_code", "change:phone").await.ok();
    let code = maple.letter().await.code();
    changed.listen().await.press(&code).await;
    robin.change_phone("+12025550150").await.says("Done.");
    robin.end().await;
    let letters = maple.deliver().await;
    let link = |part: &str| letters.iter().map(|letter| letter.text.clone()).find_map(|text| {
        let (_, rest) = text.split_once(part)?;
        Some(rest.chars().take_while(char::is_ascii_alphanumeric).collect::<String>())
    }).unwrap_or_else(|| panic!("no {part} in {letters:?}"));
    let (undo, not_me) = (link("/undo/"), link("/not-me/"));

    let mut asked = maple.call(ANA_LINE).await;
    asked.presses(&["2", "4071", "1"]).await;
    robin.take(&mut asked).await;
    robin.prove("approval", "change:phone").await.ok();
    let challenge = portal.asked().await.unwrap();

    maple.call(TINA_LINE).await.presses(&["2", "7318", "1"]).await;
    Loot {
        call: asked.id.to_string(), agent: robin.id.to_string(), note, challenge, undo, not_me, enter: Portal::link(maple, "10004712").await,
        cookies: vec![robin.cookie.clone(), kim.cookie.clone(), portal.cookie.clone(), portal.cookie.replace("cs_me=", "cs_desk="), kim.cookie.replace("cs_desk=", "cs_me=")],
    }
}

fn filled(path: &str, verb: &str, loot: &Loot) -> String {
    let token = if path.starts_with("/undo") { &loot.undo } else { &loot.not_me };
    path.replace("/survey/{id}", &format!("/survey/{}", loot.note)).replace("/agents/{id}", &format!("/agents/{}", loot.agent))
        .replace("{*path}", "base.css").replace("{id}", &loot.call).replace("{call}", &loot.call).replace("{agent}", &loot.agent)
        .replace("{token}", token).replace("{challenge}", &loot.challenge).replace("{verb}", verb).replace("{person}", "ana").replace("{name}", "Robin")
        .replace("/me/enter", &loot.enter)
}

/// A request with everything that somebody of Maple could put into it.
fn armed(method: &str, path: &str, cookie: &str) -> Request<Body> {
    let fields = [
        ("account_number", "10004711"), ("code", "123456"), ("answer", "yes"), ("entry", "4071"), ("kind", "pin"), ("version", "x"), ("line", "+12025550142"),
        ("login_hint", "10004711"), ("scope", "openid"), ("client_id", "maple-till"), ("client_secret", crate::common::openid::TILL_SECRET),
        ("grant_type", "urn:openid:params:grant-type:ciba"), ("what", "name"), ("value", "Ana Torres"), ("field", "name"), ("action", "change:phone"), ("factors", "pin"),
        ("queue", "agents"), ("reason", "x"), ("word", "x"),
    ];
    let json = path.starts_with("/api/") || path.contains("/passkey/") || path.contains("/push/") || path.contains("/confirm/");
    let (kind, body) = if json { ("application/json", json!({ "account_number": "10004711", "kind": "totp", "code": "123456" }).to_string()) } else { (FORM, form(&fields)) };
    let mut request = own(method.parse::<Method>().unwrap(), path, Some(cookie), kind, if method == "GET" { String::new() } else { body });
    if path.starts_with("/api/") {
        request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {}", MAPLE.api_key).parse().unwrap());
    }
    request
}

/// What an answer says, without what is new in every answer.
/// A stream of events, read as it comes.
struct Frames {
    body: BodyDataStream,
}

impl Frames {
    fn new(body: Body) -> Self { Self { body: body.into_data_stream() } }

    /// What came until these words.
    async fn until(&mut self, words: &str) -> String {
        let mut told = String::new();
        while !told.contains(words) {
            told.push_str(std::str::from_utf8(&self.body.next().await.expect("more").unwrap()).unwrap());
        }
        told
    }

    /// What came until its end.
    async fn rest(mut self) -> String {
        let mut told = String::new();
        while let Some(more) = self.body.next().await {
            told.push_str(std::str::from_utf8(&more.unwrap()).unwrap());
        }
        told
    }
}

fn told(page: &Page) -> (StatusCode, String) { (page.status, page.header("location").to_owned()) }

/// Every route of a company, with the cookies, keys, signatures, ids and links of another: nothing is
/// told but what a stranger is told, and nothing moves in either record. At the other company's own
/// door the same requests are answered, so that this could fail.
#[tokio::test]
async fn nothing_of_one_company_opens_another() {
    let street = Street::new().await;
    let loot = a_day_at(&street).await;
    let (juniper, maple) = (&street.juniper, &street.maple);
    // Juniper has a customer on the line as well, signed in, with a request for approval.
    let mut own_robin = juniper.robin().await;
    let mut call = juniper.call(ANA_LINE).await;
    call.presses(&["2", "4071", "1"]).await;
    own_robin.take(&mut call).await;
    let before = (juniper.log().await, maple.log().await);
    let mut tried = 0;
    let mut worked = std::collections::BTreeSet::new();
    for (method, route, who) in ROUTES.iter().filter(|(_, _, who)| *who != Who::Demo) {
        let verbs: &[&str] = if route.contains("{verb}") { &VERBS } else { &[""] };
        for verb in verbs {
            let path = filled(route, verb, &loot);
            let stranger = send(&juniper.router, armed(method, &path, "cs_desk=none")).await;
            for cookie in &loot.cookies {
                if path == "/desk/events" || path == "/me/events" {
                    continue;
                }
                let page = send(&juniper.router, armed(method, &path, cookie)).await;
                assert_eq!(told(&page), told(&stranger), "{method} {path} with {cookie}");
                page.lacks(MARK).lacks("Maple");
                assert_eq!(page.header("set-cookie").contains("cs_me="), stranger.header("set-cookie").contains("cs_me="), "{method} {path}");
                tried += 1;
            }
            // Media streams are opened by GET, and their address is signed with the scheme of WebSockets.
            if *who == Who::Twilio && *method == "GET" {
                for url in [MAPLE.url, crate::common::URL] {
                    let signature = sign(&MAPLE.token.into(), &format!("{}{path}", url.replacen("https", "wss", 1)), &[]);
                    let request = Request::get(&*path).header("x-twilio-signature", signature).body(Body::empty()).unwrap();
                    send(&juniper.router, request).await.is(403);
                }
            } else if *who == Who::Twilio {
                let fields: Vec<(String, String)> = call.fields(&[("Digits", "1")]);
                // Signed for Maple's address and with Maple's token, for Juniper's address with Maple's token.
                for house in [MAPLE, crate::common::House { url: crate::common::URL, ..MAPLE }] {
                    send(&juniper.router, webhook_of(&house, &path, &fields)).await.is(403);
                }
            }
            if *who == Who::Line {
                for request in lines::everything(&MAPLE, &path, maple) {
                    send(&juniper.router, request).await.is(403);
                }
            }
        }
    }
    assert_eq!((juniper.log().await, maple.log().await), before, "nothing moved");
    assert!(tried > 500, "{tried}");
    // The same at home.
    for (method, route, _) in ROUTES.iter().filter(|(_, _, who)| *who != Who::Demo) {
        let path = filled(route, "request", &loot);
        if path.ends_with("/events") {
            continue;
        }
        let stranger = told(&send(&juniper.router, armed(method, &path, "cs_desk=none")).await);
        for cookie in &loot.cookies {
            if told(&send(&maple.router, armed(method, &path, cookie)).await) != stranger {
                worked.insert((*method, *route));
            }
        }
    }
    assert!(worked.len() > 60, "at their own door most of these are answered: {} of {}\n{worked:?}", worked.len(), ROUTES.len());
    assert_ne!(maple.log().await, before.1);
    assert_eq!(juniper.log().await, before.0, "and Juniper has nothing to do with it");
}

/// A company that an agent does not serve is not there for them.
#[tokio::test]
async fn an_agent_meets_only_the_companies_they_serve() {
    let street = Street::new().await;
    let loot = a_day_at(&street).await;
    let ola = street.agent("Ola", &[("juniper", Role::Specialist)]).await;
    street.juniper.call(ANA_LINE).await.presses(&["2", "4071", "1"]).await;
    let before = street.maple.log().await;
    for path in ["/desk", "/desk/list"] {
        ola.get(path).await.ok().shows("Juniper & Co").lacks("Maple").lacks(&loot.call);
    }
    let nowhere = "call_00000000000000000000000000000001";
    for path in ["", "/panel"] {
        let theirs = ola.get(&format!("/desk/call/{}{path}", loot.call)).await;
        theirs.is(404);
        assert_eq!(theirs.body, ola.get(&format!("/desk/call/{nowhere}{path}")).await.body, "not even that there is such a call");
    }
    for verb in VERBS {
        let fields = [("what", "name"), ("value", "Ana Torres"), ("action", "change:phone"), ("factors", "pin"), ("queue", "agents"), ("reason", "x"), ("word", "x"), ("field", "name"), ("account_number", "10004711")];
        ola.act_on(loot.call.parse().unwrap(), verb, &fields).await.is(404);
    }
    ola.post("/desk/call-out", &[("account_number", "10004711"), ("company", "maple")]).await.is(404);
    ola.post("/desk/call-out", &[("account_number", "10004711"), ("company", "Juniper")]).await.is(404);
    assert_eq!(street.maple.log().await, before);
    // Sessions of the desk are none at a company's own door, and the other way round.
    for world in [&street.juniper, &street.maple] {
        for path in ["/desk", "/admin", "/desk/list", "/me"] {
            send(&world.router, own(Method::GET, path, Some(&ola.cookie), FORM, "")).await.is(303);
        }
    }
    for cookie in &loot.cookies {
        send(&street.desk.router, own(Method::GET, "/desk/list", Some(cookie), FORM, "")).await.is(303);
    }
    // Nor does serving a company as specialist make somebody of its own people.
    assert!(street.desk.app.agents.assign("Ola", "juniper", Some(Role::Lead)).await.is_err());
    assert!(street.desk.app.agents.assign("Ola", "juniper", Some(Role::Admin)).await.is_err());
    ola.get("/admin").await.is(404);
}

/// Calls of all companies in one queue; each is answered by its own company's rules, on its own record.
#[tokio::test]
async fn one_desk_takes_the_calls_of_several_companies() {
    let street = Street::new().await;
    let mut uma = street.agent("Uma", &[("juniper", Role::Agent), ("maple", Role::Agent)]).await;
    let (mut ana, mut tina) = (street.juniper.call(ANA_LINE).await, street.maple.call(TINA_LINE).await);
    ana.presses(&["2", "4071", "1"]).await;
    tina.presses(&["2", "7318", "1"]).await;
    uma.queue().await.ok().shows("Juniper & Co").shows("Maple Telecom");
    let (juniper, maple) = (street.juniper.log().await, street.maple.log().await);
    uma.take(&mut tina).await.shows("You answer for").shows("Maple Telecom").lacks("Juniper");
    uma.reveal("name").await.ok().shows(MARK);
    assert_eq!(street.juniper.log().await, juniper, "Juniper's record knows nothing of it");
    assert_ne!(street.maple.log().await, maple);
    assert!(street.maple.tells(tina.id, "looked at").await || !street.maple.story(tina.id).await.is_empty());
    // Maple's own lead reads who it was; Juniper's sees that Uma could.
    street.maple.kim().await.get(&format!("/admin/calls/{}", tina.id)).await.ok().shows("Uma");
    street.juniper.kim().await.get("/admin").await.ok().shows("Uma").shows("of the shared desk").lacks(MARK);
    uma.end().await;
    uma.take(&mut ana).await.shows("Juniper & Co").lacks(MARK);
    // What the desk takes away is gone with the next click, in mid call.
    street.desk.app.agents.assign("Uma", "juniper", None).await.unwrap();
    uma.act("request", &[("action", "change:phone")]).await.is(404);
    uma.panel().await.is(404);
    uma.queue().await.ok().lacks("Juniper");
}

/// A page that was open stops hearing of a company with the desk's word, and of all with the session's end.
#[tokio::test]
async fn an_open_page_hears_no_more_of_a_company_that_its_agent_has_left() {
    let street = Street::new().await;
    let uma = street.agent("Uma", &[("juniper", Role::Agent), ("maple", Role::Agent)]).await;
    let request = own(Method::GET, "/desk/events", Some(&uma.cookie), FORM, "");
    let response = street.desk.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut heard = Frames::new(response.into_body());
    let tina = street.maple.call(TINA_LINE).await;
    heard.until(&tina.id.to_string()).await;
    street.desk.app.agents.assign("Uma", "maple", None).await.unwrap();
    street.desk.pass(Span::seconds(6));
    let liam = street.maple.call(LIAM_LINE).await;
    let ana = street.juniper.call(ANA_LINE).await;
    let told = heard.until(&ana.id.to_string()).await;
    assert!(!told.contains(&liam.id.to_string()), "{told}");
    uma.post("/desk/sign-out", &[]).await.is(303);
    street.desk.pass(Span::seconds(6));
    let late = street.juniper.call(LIAM_LINE).await;
    let told = heard.rest().await;
    assert!(!told.contains(&late.id.to_string()), "{told}");
}

/// One customer of two companies is two customers.
#[tokio::test]
async fn what_happens_at_one_company_counts_at_that_company() {
    let street = Street::new().await;
    let (mut there, mut here) = (street.maple.call(ANA_LINE).await, street.juniper.call(ANA_LINE).await);
    assert_ne!(there.id, here.id);
    // Somebody tries Ana's PIN at Maple until it is closed there.
    there.press("2").await;
    for _ in 0..5 {
        if there.twiml.contains("action=") {
            there.press("0000").await;
        }
    }
    here.presses(&["2", "4071", "1"]).await;
    here.hears("You will not have to repeat anything you entered");
    assert!(!street.maple.story(there.id).await.iter().any(|line| line.contains("Proved")));
    // Frozen there, not here.
    Portal::confirmed(&street.maple, "10004712").await.post("/me/freeze", &[]).await.is(303);
    assert!(street.maple.profile(LIAM).await.frozen.is_some());
    assert!(street.juniper.profile(LIAM).await.frozen.is_none());
    // A number is known under another name in each record: two that are laid side by side match nowhere.
    let blind = |world: &crate::common::World| world.app.runner.vault.index.blind("number", ANA_LINE).0;
    assert_ne!(blind(&street.juniper), blind(&street.maple));
}

/// What one company sealed is nothing in another's record.
#[tokio::test]
async fn a_row_that_is_carried_over_does_not_open() {
    let street = Street::new().await;
    let (juniper, maple) = (&street.juniper.app.runner, &street.maple.app.runner);
    let theirs = maple.store.doc("account", &ANA.0).await.unwrap().unwrap();
    let ours = juniper.store.doc("account", &ANA.0).await.unwrap().unwrap();
    let swap = DocWrite::Put { kind: "account", id: ANA.0.to_vec(), expected: Expect::Version(ours.version), body: theirs.body, due: None };
    juniper.store.commit(Commit { now: street.juniper.now().0, docs: vec![swap], ..Commit::default() }).await.unwrap();
    juniper.directory.forget(ANA);
    assert!(juniper.directory.load(ANA).await.is_err(), "sealed with another company's key");
}

/// A request that names nobody, or two, is nobody's.
#[tokio::test]
async fn a_host_that_nobody_has_is_answered_by_nobody() {
    let street = Street::new().await;
    for host in ["calls.example.org", "", "calls.maple.example:8443", "calls.maple.example.", "maple", "calls.example.com, calls.maple.example", "127.0.0.1"] {
        let page = send(&at(&street.front, &format!("https://{host}")), own(Method::GET, "/desk/sign-in", None, FORM, "")).await;
        page.is(421).lacks("Juniper").lacks("Maple").lacks("Northdesk");
    }
    let two = Request::get("/desk/sign-in").header(header::HOST, "calls.example.com").header(header::HOST, "calls.maple.example");
    send(&street.front, two.body(Body::empty()).unwrap()).await.is(421);
    let none = Request::get("/desk/sign-in").header("x-forwarded-host", "calls.example.com");
    send(&street.front, none.body(Body::empty()).unwrap()).await.is(421);
    // Whoever watches the process needs no company's name.
    for (path, says) in [("/healthz", "ok"), ("/readyz", "ready")] {
        send(&street.front, Request::get(path).header(header::HOST, "10.0.0.7:8080").body(Body::empty()).unwrap()).await.ok().shows(says);
    }
    send(&street.front, Request::get("/metrics").header(header::HOST, "10.0.0.7:8080").body(Body::empty()).unwrap()).await.is(421);
    // Each company under its own name.
    for (world, name) in [(&street.juniper, "Juniper & Co"), (&street.maple, "Maple Telecom"), (&street.desk, "Northdesk")] {
        send(&world.router, own(Method::GET, "/desk/sign-in", None, FORM, "")).await.ok().shows(name);
    }
    street.maple.app.runner.store.close().await;
    send(&street.front, Request::get("/readyz").header(header::HOST, "10.0.0.7:8080").body(Body::empty()).unwrap()).await.is(503);
}
