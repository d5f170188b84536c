//! Accounts and calls in a special state: frozen, under duress, newly set up by a thief, too risky.

use countersign_core::{
    action::{Field, Level, Role},
    call::{Event, Stage as At},
    claim::ClaimKind,
};

use crate::{
    Door, Drill, Halt,
    caller::Signed,
    desk::Desk,
    people::{STRANGER, Who},
    scene::{PRIVATE, Scene},
    stage::DENIED,
};

/// See the story.
pub(super) const FROZEN_ACCOUNT: Drill = Drill {
    name: "frozen_account",
    story: "Ana froze her account because she did not recognise a call. Whoever it was calls again, from her number, with her PIN and her texts.",
    expects: "While the freeze lasts nothing changes and nothing is shown, whatever is proved. It is ended by a specialist after two proofs, or not at all.",
    needs: &[Door::Telephone, Door::Portal],
    play: |s| Box::pin(frozen(s)),
};

async fn frozen(s: &mut Scene) -> Result<(), Halt> {
    let ana = s.portal(Who::Ana).await?;
    s.does("Ana, signed in, freezes her account.").await?;
    ana.post("/me/freeze", &[]).await?;
    s.settles(Who::Ana).await?;
    if s.stage.profile(Who::Ana).await?.frozen.is_none() {
        return Err(Halt::broken("the portal", "the account is not frozen"));
    }
    let mut caller = s.call(Who::Ana.line(), Signed::Full).await?;
    s.said(&caller, Who::Ana, &PRIVATE);
    s.to_the_queue(&mut caller).await?;
    s.follow(caller.id).await?;
    let desk = s.answered(&mut caller).await?;
    s.does("With a texted code alone: tries every change, and to end the freeze.").await?;
    s.proves(&desk, &mut caller, Who::Ana, &["sms_code"], "").await?;
    desk.tries_everything().await?;
    desk.perform("do:end_freeze", "").await?;
    s.performed(caller.id, &[]).await?;
    s.does("With the PIN as well: tries every change and looks at every field.").await?;
    s.proves(&desk, &mut caller, Who::Ana, &["pin"], "").await?;
    desk.tries_everything().await?;
    for page in desk.looks_at_everything().await? {
        s.shown(&page, Who::Ana, &PRIVATE);
    }
    s.why_not(caller.id, desk.role, "view:name").await?;
    s.performed(caller.id, &[]).await?;
    s.unchanged(Who::Ana, &[]).await
}

/// See the story.
pub(super) const DURESS: Drill = Drill {
    name: "duress",
    story: "Somebody stands beside Sofia and makes her call. She keys the PIN that means so. They listen, and watch the agent’s screen.",
    expects: "Everything looks as usual. What is asked for looks done and is held, nothing is shown that says who or where, and the lead alone is told.",
    needs: &[Door::Telephone],
    play: |s| Box::pin(duress(s)),
};

async fn duress(s: &mut Scene) -> Result<(), Halt> {
    let kim = Desk::sign_in(&s.stage, "Kim", Role::Lead).await?;
    let mut caller = s.call(Who::Sofia.line(), Signed::Full).await?;
    caller.press("2").await?;
    s.does("Keys the PIN that means that she is forced.").await?;
    caller.press(Who::Sofia.duress_pin().unwrap_or_default()).await?;
    s.follow(caller.id).await?;
    let given = s.stage.events(caller.id).await?.iter().any(|r| matches!(r.event, Event::Proved { duress: true, .. }));
    if !given {
        return Err(Halt::NotApplicable("policy does not ask for a PIN first, so its duress word cannot be given".into()));
    }
    s.to_the_queue(&mut caller).await?;
    let desk = s.answered(&mut caller).await?;
    s.does("Keys a texted code, too. Then they want everything: every field, every change.").await?;
    s.proves(&desk, &mut caller, Who::Sofia, &["sms_code"], "change:phone").await?;
    let mut pages = desk.looks_at_everything().await?;
    pages.extend(desk.tries_everything().await?);
    pages.push(desk.get("/desk").await?);
    for page in &pages {
        s.shown(page, Who::Sofia, &PRIVATE);
        if page.text().to_lowercase().contains("duress") {
            s.got("the agent’s screen gives it away");
        }
    }
    s.performed(caller.id, &[]).await?;
    s.unchanged(Who::Sofia, &[]).await?;
    if kim.get("/admin").await?.text().contains("duress") {
        s.sees("The lead’s page says: duress.");
    } else {
        s.got("silence: the lead is not told");
    }
    Ok(())
}

/// See the story.
pub(super) const PORTAL_THIEF: Drill = Drill {
    name: "portal_thief",
    story: "A thief with Jonas’s web password signs in and sets up a PIN of their own: Jonas has nothing on file that could vouch for it. On the phone they add an approval from the same session. Then they try it in a session of Ana’s, who has a PIN.",
    expects: "What a fresh sign-in sets up counts a week later. What is on file already has to confirm first. A session alone is never strong.",
    needs: &[Door::Telephone, Door::Portal],
    play: |s| Box::pin(thief(s)),
};

async fn thief(s: &mut Scene) -> Result<(), Halt> {
    let jonas = s.portal(Who::Jonas).await?;
    s.does("Signed in as Jonas, sets up the PIN 6402.").await?;
    jonas.post("/me/security/word", &[("kind", "pin"), ("word", "6402"), ("again", "6402"), ("duress", "")]).await?;
    let told = s.stage.deliver().await?;
    s.sees(format!("{} messages tell Jonas at what is on file.", told.len()));
    if s.stage.profile(Who::Jonas).await?.authenticators.is_empty() {
        s.stop("the portal: nothing was set up");
    }
    let mut caller = s.call(Some(STRANGER), Signed::Full).await?;
    s.to_the_queue(&mut caller).await?;
    let desk = s.answered(&mut caller).await?;
    s.claims(&desk, Who::Jonas, &[ClaimKind::AccountNumber, ClaimKind::PostalCode]).await?;
    s.does("Is asked for the new PIN, and then for an approval, which the thief’s own session gives.").await?;
    desk.prove("pin", "change:phone").await?;
    caller.listen().await?;
    if s.stage.call(caller.id).await?.is_some_and(|call| call.challenge.is_some()) {
        caller.press("6402").await?;
        desk.act("cancel", &[]).await?;
    } else {
        s.stop("the cooling-off time (calls.cooling_off): what nothing vouched for does not count yet");
    }
    let code = desk.prove("approval", "change:phone").await?.given().unwrap_or_default();
    if let Some(challenge) = jonas.asked().await? {
        jonas.answer(&challenge, "type", &code).await?;
    }
    s.follow(caller.id).await?;
    desk.tries_everything().await?;
    let one_proof = ["do:cancel_order", "do:request_refund"];
    s.reached(caller.id, Level::Authenticated).await?;
    s.performed(caller.id, &one_proof).await?;
    s.unchanged(Who::Jonas, &["change:factors", "do:cancel_order"]).await?;
    desk.end().await?;

    s.does("Signed in as Ana, tries to set up a PIN, a list of codes, and to switch her protection off.").await?;
    let ana = s.portal(Who::Ana).await?;
    ana.post("/me/security/word", &[("kind", "pin"), ("word", "6402"), ("again", "6402"), ("duress", "")]).await?;
    ana.post("/me/security/codes", &[]).await?;
    ana.post("/me/security/totp/new", &[]).await?;
    let pin = s.stage.profile(Who::Ana).await?.authenticators.first().map(|a| a.id.to_string()).unwrap_or_default();
    ana.post("/me/security/remove", &[("authenticator", &pin), ("sure", "true")]).await?;
    s.unchanged(Who::Ana, &[]).await
}

/// See the story.
pub(super) const TOO_RISKY: Drill = Drill {
    name: "too_risky",
    story: "Calls that nobody should take as usual: from a number on the deny list, with a signature that does not hold and a PIN guessed wrong, and with a broken signature by somebody who can prove everything.",
    expects: "The riskiest calls end before an agent answers, risky ones reach a specialist only, and above a score nothing changes at all.",
    needs: &[Door::Telephone],
    play: |s| Box::pin(risky(s)),
};

async fn risky(s: &mut Scene) -> Result<(), Halt> {
    let mut caller = s.call(Some(DENIED), Signed::Full).await?;
    s.to_the_queue(&mut caller).await?;
    s.follow(caller.id).await?;
    if s.stage.call(caller.id).await?.is_some_and(|call| call.stage != At::Ended) {
        s.got("a number on the deny list was served");
    }

    let mut caller = s.call(Who::Ana.line(), Signed::Broken).await?;
    caller.press("2").await?;
    s.does("Guesses the PIN three times.").await?;
    for guess in ["0000", "1111", "2222"] {
        caller.press(guess).await?;
    }
    s.to_the_queue(&mut caller).await?;
    s.follow(caller.id).await?;
    let mut robin = Desk::sign_in(&s.stage, "Robin", Role::Agent).await?;
    if robin.take(&mut caller).await? {
        s.got("an agent took a call that was too risky for anybody");
    }

    let mut caller = s.call(Who::Tina.line(), Signed::Broken).await?;
    s.to_the_queue(&mut caller).await?;
    s.follow(caller.id).await?;
    if robin.take(&mut caller).await? {
        s.got("an agent took a risky call that is for specialists");
        return Ok(());
    }
    s.sees("Robin, an agent, cannot take it.");
    let sam = s.taken(&mut caller, "Sam", Role::Specialist).await?;
    s.does("Says two things that fit nobody, then proves with Tina’s PIN and texts, and tries every change.").await?;
    for (what, value) in [("email", "nobody@example.net"), ("name", "Nobody Here")] {
        sam.heard(what, value).await?;
    }
    s.proves(&sam, &mut caller, Who::Tina, &["pin", "sms_code"], "change:phone").await?;
    sam.tries_everything().await?;
    for page in sam.looks_at_everything().await? {
        s.shown(&page, Who::Tina, &[Field::DateOfBirth]);
    }
    s.performed(caller.id, &[]).await?;
    s.unchanged(Who::Tina, &[]).await
}
