//! Codes that go the wrong way: to a new number, to a stolen line, through a third person.

use countersign_core::{
    action::{Field, Level, Role},
    call::Event,
    claim::ClaimKind,
    factor::FactorKind,
    id::CallId,
    time::Span,
};

use crate::{
    Door, Drill, Halt,
    caller::{Caller, Signed},
    desk::Desk,
    people::{NEW_NUMBER, STRANGER, Who},
    program::Program,
    scene::Scene,
};

/// What one proof is enough for: it goes back to where the money came from.
const ONE_PROOF: [&str; 2] = ["do:cancel_order", "do:request_refund"];
/// What only two proofs open.
const STRONG_FIELDS: [Field; 6] = [Field::AccountNumber, Field::Phone, Field::Email, Field::Address, Field::PostalCode, Field::DateOfBirth];

/// See the story.
pub(super) const TEXT_TO_NEW_NUMBER: Drill = Drill {
    name: "text_to_new_number",
    story: "“I have a new number. Can you send the code there?” The agent is willing, and writes the number wherever a form could take it.",
    expects: "Codes and links go to contacts on file that are past their cooling-off time. No field, route or type takes another destination.",
    needs: &[Door::Telephone],
    play: |s| Box::pin(new_number(s)),
};

async fn new_number(s: &mut Scene) -> Result<(), Halt> {
    let mut caller = s.call(Some(STRANGER), Signed::Full).await?;
    s.to_the_queue(&mut caller).await?;
    let desk = s.answered(&mut caller).await?;
    s.claims(&desk, Who::Ana, &[ClaimKind::AccountNumber, ClaimKind::PostalCode]).await?;
    s.does(format!("Asks for a code to {NEW_NUMBER}. The agent writes that number into every field that a form could have.")).await?;
    let places = ["to", "phone", "number", "value", "destination", "contact", "msisdn"].map(|name| (name, NEW_NUMBER));
    for factor in ["sms_code", "voice_code"] {
        desk.act("prove", &[&[("factors", factor), ("action", "")][..], &places].concat()).await?;
        letters(s).await?;
        desk.act("cancel", &[]).await?;
    }
    desk.post("/desk/call-out", &[&[("account_number", Who::Ana.number())][..], &places].concat()).await?;
    letters(s).await?;
    s.does("The agent writes the new number into the account, and asks for the code again.").await?;
    desk.perform("change:phone", NEW_NUMBER).await?;
    s.follow(caller.id).await?;
    for factor in ["sms_code", "voice_code"] {
        desk.prove(factor, "").await?;
        letters(s).await?;
        desk.act("cancel", &[]).await?;
    }
    s.performed(caller.id, &[]).await?;
    s.unchanged(Who::Ana, &[]).await
}

/// Delivers what waits; whatever goes where Ana had nothing on file is a catch.
async fn letters(s: &mut Scene) -> Result<(), Halt> {
    let letters = s.stage.deliver().await?;
    let known = [Field::Phone, Field::Email].map(|f| Who::Ana.on_file(f).unwrap_or_default());
    for letter in &letters {
        if known.contains(&letter.to) {
            s.sees(format!("A message went to what is on file, by {}.", letter.channel));
            s.stop("every message went to a contact that was on file");
        } else {
            s.got(format!("a message went to {}", letter.to));
        }
    }
    Ok(())
}

/// See the story.
pub(super) const SIM_SWAPPED_PHONE: Drill = Drill {
    name: "sim_swapped_phone",
    story: "A thief has taken over Ana’s number: calls come from it, texts reach it. The thief knows everything that can be known about her. Then the same with Liam, who has an authenticator app.",
    expects: "A text alone is never strong, and two codes to one line are still one thing. Where an app is set up, a text does not stand in for it.",
    needs: &[Door::Telephone],
    play: |s| Box::pin(sim_swap(s)),
};

async fn sim_swap(s: &mut Scene) -> Result<(), Halt> {
    let mut caller = s.call(Who::Ana.line(), Signed::Full).await?;
    s.to_the_queue(&mut caller).await?;
    let desk = s.answered(&mut caller).await?;
    s.claims(&desk, Who::Ana, &ClaimKind::ALL).await?;
    s.does("Asks for a texted code, then for one that is read out, then for another text; all of them reach the thief.").await?;
    s.proves(&desk, &mut caller, Who::Ana, &["sms_code", "voice_code", "sms_code"], "change:phone").await?;
    s.does("Tries every change and looks at every field.").await?;
    desk.tries_everything().await?;
    for page in desk.looks_at_everything().await? {
        s.shown(&page, Who::Ana, &STRONG_FIELDS);
    }
    s.does("Has the call handed to a specialist, and tries it there.").await?;
    desk.act("hand-over", &[("queue", "specialists")]).await?;
    caller.listen().await?;
    let sam = s.taken(&mut caller, "Sam", Role::Specialist).await?;
    sam.tries_everything().await?;
    s.reached(caller.id, Level::Authenticated).await?;
    s.performed(caller.id, &ONE_PROOF).await?;
    s.unchanged(Who::Ana, &ONE_PROOF).await?;
    sam.end().await?;

    let mut caller = s.call(Who::Liam.line(), Signed::Full).await?;
    s.to_the_queue(&mut caller).await?;
    let desk = s.answered(&mut caller).await?;
    s.claims(&desk, Who::Liam, &ClaimKind::ALL).await?;
    s.does("Asks for a text in the place of Liam’s app.").await?;
    s.proves(&desk, &mut caller, Who::Liam, &["sms_code", "voice_code"], "change:phone").await?;
    s.why_not(caller.id, Role::Agent, "use:sms_code").await?;
    desk.tries_everything().await?;
    s.reached(caller.id, Level::Identified).await?;
    s.performed(caller.id, &[]).await?;
    s.unchanged(Who::Liam, &[]).await
}

/// See the story.
pub(super) const RELAYED_CODE: Drill = Drill {
    name: "relayed_code",
    story: "A fake help desk has Ana on one line and us on the other. It has a code texted to her and talks it out of her; then it asks her to approve something in the portal, and has somebody else try as well.",
    expects: "The text says whose it is, what for, and never to tell it. One relayed code is not strong. An approval takes the code of the call, in the session of this very customer, and the page says from where the call comes.",
    needs: &[Door::Telephone, Door::Portal],
    play: |s| Box::pin(relayed(s)),
};

async fn relayed(s: &mut Scene) -> Result<(), Halt> {
    let (ana, tina) = (s.portal(Who::Ana).await?, s.portal(Who::Tina).await?);
    let mut caller = s.call(Some(STRANGER), Signed::Full).await?;
    s.to_the_queue(&mut caller).await?;
    let desk = s.answered(&mut caller).await?;
    s.claims(&desk, Who::Ana, &[ClaimKind::AccountNumber, ClaimKind::PostalCode]).await?;
    s.does("Has a code texted to Ana, “to change your phone”.").await?;
    desk.prove("sms_code", "change:phone").await?;
    caller.listen().await?;
    let letters = s.stage.deliver().await?;
    if let (Some(letter), Some(code)) = (letters.last(), s.code_in(&letters, Who::Ana)) {
        let company = s.stage.setting().company.clone();
        s.sees(format!("The text reads: {}", letter.text));
        for (what, words) in [
            ("whose it is", company.name.as_str()), ("whom to call", company.fraud_line.as_str()), ("what it is for", "change your phone"), ("never to say it", "never ask you to say it"),
        ] {
            // What GSM-7 lacks is written in other letters.
            if words.is_ascii() && !letter.text.contains(words) {
                s.got(format!("a text that does not say {what}"));
            }
        }
        s.does("Ana reads the code out all the same, and the fake help desk keys it.").await?;
        caller.press(&code).await?;
        s.follow(caller.id).await?;
    }
    desk.act("cancel", &[]).await?;
    s.does("With that, tries every change.").await?;
    desk.tries_everything().await?;
    s.reached(caller.id, Level::Authenticated).await?;
    s.performed(caller.id, &ONE_PROOF).await?;
    s.unchanged(Who::Ana, &ONE_PROOF).await?;

    s.does("Has the agent ask Ana for an approval in the portal. The code of the call is on the agent’s screen.").await?;
    let page = desk.prove("approval", "change:phone").await?;
    let (Some(code), Some(challenge)) = (page.given(), ana.asked().await?) else {
        s.follow(caller.id).await?;
        s.sees("No approval can be asked for under these policies.");
        return Ok(());
    };
    let live = ana.get("/me/live").await?;
    if live.text().contains("not on your file") {
        s.sees("Ana’s page says that the call comes from a number that is not on her file.");
    } else {
        s.got("an approval page that does not say that the number is a stranger’s");
    }
    if live.holds(&code) {
        s.got("the code of the call on the page where it is to be typed");
    }
    s.does("Tina, an accomplice, answers Ana’s request with the right code, in her own session.").await?;
    tina.answer(&challenge, "type", &code).await?;
    approved(s, caller.id, "somebody else’s session approved it").await?;
    s.does("Ana presses without a code, and with one she makes up.").await?;
    let made_up = if code == "123456" { "654321" } else { "123456" };
    for typed in ["", made_up] {
        ana.answer(&challenge, "type", typed).await?;
    }
    approved(s, caller.id, "an approval without the code of the call").await?;
    s.does("Ana says: I am not on the phone.").await?;
    ana.answer(&challenge, "not-me", "").await?;
    s.follow(caller.id).await?;
    desk.tries_everything().await?;
    if s.stage.call(caller.id).await?.is_some_and(|call| call.level > Level::Identified) {
        s.got("assurance that outlives “I am not on the phone”");
    }
    s.performed(caller.id, &ONE_PROOF).await?;
    s.unchanged(Who::Ana, &ONE_PROOF).await
}

async fn approved(s: &mut Scene, call: CallId, how: &str) -> Result<(), Halt> {
    let proved = s.stage.events(call).await?.iter().any(|r| matches!(r.event, Event::Proved { kind: FactorKind::Approval, .. }));
    if proved {
        s.got(how);
    }
    Ok(())
}

/// See the story.
pub(super) const PUSH_BOMBING: Drill = Drill {
    name: "push_bombing",
    story: "Somebody has Ana asked for approvals again and again, from one line, from many, and through a program, until she gives in. She says “I am not on the phone”, and they go on.",
    expects: "At most five requests in a quarter of an hour from one line and twenty in an hour from everywhere. After “not me” none from that line for a day.",
    needs: &[Door::Telephone, Door::Portal],
    play: |s| Box::pin(bombing(s)),
};

/// What a person bears from one line, and from all.
const FROM_ONE_LINE: usize = 5;
const FROM_EVERYWHERE: usize = 20;

async fn bombing(s: &mut Scene) -> Result<(), Halt> {
    let ana = s.portal(Who::Ana).await?;
    let mut robin = Desk::sign_in(&s.stage, "Robin", Role::Agent).await?;
    let mut total = 0;
    for line in 0..6 {
        let from = format!("+1202555018{line}");
        let caller = bomber(s, &mut robin, &from).await?;
        let asked = asks(&robin, 12).await?;
        s.sees(format!("{asked} of 12 requests from {from} reached Ana."));
        s.follow(caller.id).await?;
        if asked > FROM_ONE_LINE {
            s.got(format!("{asked} requests in a row from one line"));
        } else if asked < 12 {
            s.stop("limit calls.approvals: no more requests from this line");
        }
        total += asked;
        robin.end().await?;
    }
    if total == 0 {
        return Err(Halt::NotApplicable("no approval can be asked for under these policies".into()));
    }
    if total > FROM_EVERYWHERE {
        s.got(format!("{total} requests within an hour"));
    }
    s.waits(Span::hours(2), "until requests can be made again").await?;
    if s.stage.setting().has(Door::Programs) {
        programmed(s).await?;
        s.waits(Span::hours(2), "until requests can be made again").await?;
    }
    let ana = if ana.asked().await?.is_none() { s.portal(Who::Ana).await? } else { ana };
    let mut robin = Desk::sign_in(&s.stage, "Robin", Role::Agent).await?;
    let caller = bomber(s, &mut robin, STRANGER).await?;
    robin.prove("approval", "").await?;
    if let Some(challenge) = ana.asked().await? {
        s.does("Ana says: I am not on the phone.").await?;
        ana.answer(&challenge, "not-me", "").await?;
    }
    s.follow(caller.id).await?;
    robin.end().await?;
    s.waits(Span::hours(5), "and tries again from the same line").await?;
    let mut sam = Desk::sign_in(&s.stage, "Sam", Role::Specialist).await?;
    let caller = bomber(s, &mut sam, STRANGER).await?;
    if asks(&sam, 3).await? > 0 {
        s.got("asked again from a line that Ana had disowned");
    }
    s.follow(caller.id).await
}

/// A call about Ana from this line, at this desk.
async fn bomber(s: &mut Scene, desk: &mut Desk, from: &str) -> Result<Caller, Halt> {
    let mut caller = s.call(Some(from), Signed::Full).await?;
    s.to_the_queue(&mut caller).await?;
    if !desk.take(&mut caller).await? {
        return Err(Halt::broken("the desk", "the call could not be taken"));
    }
    s.claims(desk, Who::Ana, &[ClaimKind::AccountNumber, ClaimKind::PostalCode]).await?;
    Ok(caller)
}

/// Asks for an approval so many times, and calls each off. How many reached the customer.
async fn asks(desk: &Desk, times: usize) -> Result<usize, Halt> {
    let mut asked = 0;
    for _ in 0..times {
        if desk.prove("approval", "").await?.given().is_some() {
            asked += 1;
            desk.act("cancel", &[]).await?;
        }
    }
    Ok(asked)
}

/// The same through a program with a line of its own (OpenID CIBA).
async fn programmed(s: &mut Scene) -> Result<(), Halt> {
    let program = Program::of(&s.stage)?;
    s.does("A program asks for Ana twelve times.").await?;
    let mut taken = Vec::new();
    for _ in 0..12 {
        taken.extend(program.ask(Who::Ana.number()).await?.1);
    }
    s.sees(format!("{} of 12 requests were taken.", taken.len()));
    if taken.len() > FROM_ONE_LINE {
        s.got(format!("{} requests in a row by one program", taken.len()));
    }
    for name in &taken {
        if program.token(name).await? {
            s.got("a token that nobody approved");
        }
    }
    Ok(())
}

/// See the story.
pub(super) const BACKUP_CODE_REUSE: Drill = Drill {
    name: "backup_code_reuse",
    story: "Ana uses a code of her printed list on a call. Somebody who saw it uses it again.",
    expects: "Each code of the list is good once.",
    needs: &[Door::Telephone, Door::Portal],
    play: |s| Box::pin(reuse(s)),
};

async fn reuse(s: &mut Scene) -> Result<(), Halt> {
    let ana = s.portal(Who::Ana).await?;
    ana.confirm("pin", Who::Ana.pin().unwrap_or_default()).await?;
    let page = ana.post("/me/security/codes", &[]).await?;
    let list = page.after("<ol class=\"paper\">").and_then(|rest| crate::wire::between(rest, "<li>", "</li>"));
    let code: String = list.unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
    if code.is_empty() {
        return Err(Halt::broken("the portal", format!("no list of codes was given out: {}", page.status)));
    }
    s.does("Ana prints a list of codes, calls, and keys the first.").await?;
    let mut caller = s.call(Who::Ana.line(), Signed::Full).await?;
    s.to_the_queue(&mut caller).await?;
    let desk = s.answered(&mut caller).await?;
    desk.prove("backup_code", "").await?;
    caller.listen().await?;
    caller.press(&code).await?;
    s.follow(caller.id).await?;
    if s.stage.call(caller.id).await?.is_none_or(|call| call.proofs.is_empty()) {
        return Err(Halt::NotApplicable("policy does not let a code of a printed list prove".into()));
    }
    desk.end().await?;
    s.does("Somebody else has seen it, and calls as Ana.").await?;
    let mut caller = s.call(Some(STRANGER), Signed::Full).await?;
    s.to_the_queue(&mut caller).await?;
    let desk = s.answered(&mut caller).await?;
    s.claims(&desk, Who::Ana, &[ClaimKind::AccountNumber, ClaimKind::PostalCode]).await?;
    desk.prove("backup_code", "").await?;
    caller.listen().await?;
    caller.press(&code).await?;
    if s.stage.call(caller.id).await?.is_some_and(|call| call.proofs.is_empty()) {
        s.stop("the code was spent with its first use");
    }
    for _ in 0..2 {
        caller.press(&code).await?;
    }
    s.reached(caller.id, Level::Identified).await?;
    Ok(())
}
