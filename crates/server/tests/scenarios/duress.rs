//! A caller who is being forced says so with another PIN. Nobody near them may notice, and nobody
//! but the lead may know.

use crate::common::{World, desk::Desk, hides, pages::Page, people::*, phone::Phone};

const NEW: &str = "+12025550150";

/// What an agent could notice: the page without ids, which differ from call to call, and without the
/// card of fields, which may show less.
fn noticed(page: &Page) -> String {
    let body = &page.body;
    let at = body.find(r#"<section class="card fields""#).unwrap_or(body.len());
    let end = body[at..].find("</section>").map_or(body.len(), |n| at + n);
    let text = format!("{}{}", &body[..at], &body[end..]);
    let mut out = String::new();
    let mut run = String::new();
    for c in text.chars().chain(Some(' ')) {
        if c.is_ascii_hexdigit() && !c.is_ascii_uppercase() {
            run.push(c);
        } else {
            if run.len() >= 6 { out.push('#') } else { out.push_str(&run) }
            run.clear();
            out.push(c);
        }
    }
    out
}

struct Played {
    world: World,
    call: Phone,
    robin: Desk,
    /// What the agent could notice, step by step.
    pages: Vec<String>,
    /// What the caller heard.
    heard: Vec<String>,
}

/// The same call with either PIN, up to the change.
async fn play(pin: &str) -> Played {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let (mut pages, mut heard) = (Vec::new(), Vec::new());
    let mut call = world.call(SOFIA_LINE).await;
    for keys in [pin, "1"] {
        call.press(keys).await;
        heard.push(call.words());
    }
    let page = robin.take(&mut call).await;
    assert_eq!(page.level(), "authenticated", "it looks accepted");
    pages.push(noticed(&page));
    pages.push(noticed(&robin.request("change:phone").await));
    pages.push(noticed(&robin.prove("sms_code", "change:phone").await));
    call.listen().await;
    heard.push(call.words());
    let code = world.letter().await.code();
    pages.push(noticed(&robin.panel().await));
    call.press(&code).await;
    heard.push(call.words());
    pages.push(noticed(&robin.panel().await));
    let page = robin.change_phone(NEW).await;
    page.says("Done. The customer is told at the contact that was on file.");
    pages.push(noticed(&page));
    let page = robin.perform("do:request_refund", &[]).await;
    page.says("Done.");
    pages.push(noticed(&page));
    pages.push(noticed(&robin.request("do:close_account").await));
    Played { world, call, robin, pages, heard }
}

#[tokio::test]
async fn a_caller_under_duress() {
    let calm = play("5093").await;
    let mut forced = play("5099").await;
    assert_eq!(forced.heard, calm.heard, "whoever stands beside the caller hears nothing odd");
    for (step, (forced, calm)) in forced.pages.iter().zip(&calm.pages).enumerate() {
        assert_eq!(forced, calm, "step {step}");
    }
    let world = &forced.world;

    // Nothing was done, and nobody is told that something was.
    assert_eq!(calm.world.profile(SOFIA).await.field(countersign_core::action::Field::Phone), [NEW]);
    let untouched = world.profile(SOFIA).await;
    assert_eq!(untouched.field(countersign_core::action::Field::Phone), [SOFIA_LINE]);
    assert_eq!((untouched.events, untouched.changed), (0, None));
    forced.robin.end().await.ok();
    forced.call.listen().await.is_cut();
    let told = |letters: &[crate::common::post::Letter]| letters.iter().filter(|l| l.text.contains("/undo/") || l.text.contains("/not-me/") || l.text.contains("cambi")).count();
    let sent = world.deliver().await;
    assert_eq!(told(&sent), 0, "{sent:#?}");
    assert!(told(&calm.world.deliver().await) > 0);

    // Nothing is shown to whoever looks over somebody's shoulder.
    for field in ["name", "orders", "phone", "address"] {
        forced.robin.reveal(field).await.hides(&["Sofía", "Ruiz", "Calle Olmo", SOFIA_LINE]);
    }

    // The lead knows at once; the agent's own record of the call does not say it.
    let kim = world.kim().await;
    kim.get("/admin").await.shows("duress");
    kim.get(&format!("/admin/calls/{}", forced.call.id)).await.shows("It was the DURESS word.").shows("HELD for review");
    forced.robin.page().await.lacks("uress").lacks("DURESS").lacks("HELD").lacks("held for review");
    let alex = world.agent("Alex", countersign_core::action::Role::Admin).await;
    alex.get("/admin").await.lacks("uress");
    alex.get(&format!("/admin/calls/{}", forced.call.id)).await.lacks("DURESS").lacks("HELD");
    hides(&world.log().await, &["5099", "5093", NEW]);
}

/// While the call is live the lead sees it on the list and in the panel, and may step in.
#[tokio::test]
async fn the_lead_sees_duress_in_time() {
    let forced = play("5099").await;
    let mut kim = forced.world.kim().await;
    kim.queue().await.shows("duress");
    kim.call = forced.call.id;
    kim.panel().await.shows("Duress word.").shows("The caller may be under threat.").hides(&["Sofía", "Ruiz", SOFIA_LINE]);
    let ola = forced.world.agent("Ola", countersign_core::action::Role::Agent).await;
    ola.queue().await.lacks("duress");
    // Also after a hand-over only to the lead.
    forced.robin.hand_over("specialists").await.ok();
    let mut sam = forced.world.sam().await;
    let mut call = forced.call.clone();
    call.listen().await;
    sam.take(&mut call).await.lacks("uress");
    // The customer's own portal does not tell it either: it may be open beside whoever forces them.
    let portal = crate::common::portal::Portal::enter(&forced.world, "10004714").await;
    portal.home().await.lacks("uress").lacks("DURESS").lacks("HELD").lacks("held");
}
