//! The desk: an agent who is asked, who guesses, who browses.

use std::collections::BTreeSet;

use countersign_core::{
    action::{Field, Level, Role},
    call::Event,
    claim::ClaimKind,
};

use crate::{
    Door, Drill, Halt,
    caller::{Caller, Signed},
    desk::{Desk, speakable},
    people::{STRANGER, Who},
    scene::{PRIVATE, Scene},
};

/// See the story.
pub(super) const DATA_READ_OUT: Drill = Drill {
    name: "data_read_out",
    story: "A stranger knows Ana’s account number and postal code. “Which address do you have for me? Which e-mail? Which number?”",
    expects: "Until the caller proves something, the desk compares and does not show. Contact data is never marked as something that may be said, at any level.",
    needs: &[Door::Telephone],
    play: |s| Box::pin(read_out(s)),
};

async fn read_out(s: &mut Scene) -> Result<(), Halt> {
    let mut caller = s.call(Some(STRANGER), Signed::Full).await?;
    s.to_the_queue(&mut caller).await?;
    let desk = s.answered(&mut caller).await?;
    s.claims(&desk, Who::Ana, &[ClaimKind::AccountNumber, ClaimKind::PostalCode]).await?;
    s.does("Asks for the address, the e-mail address and the number on file. The agent tries to look at every field.").await?;
    let unsaid: Vec<Field> = PRIVATE.into_iter().filter(|f| !matches!(f, Field::AccountNumber | Field::PostalCode)).collect();
    for page in desk.looks_at_everything().await? {
        s.shown(&page, Who::Ana, &unsaid);
    }
    for field in ["address", "email", "phone"] {
        s.why_not(caller.id, Role::Agent, &format!("view:{field}")).await?;
    }
    s.reached(caller.id, Level::Identified).await?;
    s.said(&caller, Who::Ana, &PRIVATE);
    desk.end().await?;

    s.does("Later Ana herself calls, proves who she is in two ways, and asks the same.").await?;
    let mut caller = s.call(Who::Ana.line(), Signed::Full).await?;
    s.to_the_queue(&mut caller).await?;
    let desk = s.answered(&mut caller).await?;
    s.proves(&desk, &mut caller, Who::Ana, &["pin", "sms_code"], "").await?;
    s.follow(caller.id).await?;
    let may = ["Coming up", "Name", "Orders"];
    for page in desk.looks_at_everything().await? {
        for field in speakable(&page).into_iter().filter(|f| !may.contains(&f.as_str())) {
            s.got(format!("the desk lets an agent read out: {}", field.to_lowercase()));
        }
    }
    for field in ["address", "email", "phone"] {
        let action = format!("speak:{field}");
        let Some(call) = s.stage.call(caller.id).await? else { continue };
        let Ok(parsed) = action.parse() else { continue };
        if s.stage.decide(&call, Role::Agent, &parsed).await?.permits() {
            s.got(format!("policy permits {action}"));
        }
        s.why_not(caller.id, Role::Agent, &action).await?;
    }
    Ok(())
}

/// See the story.
pub(super) const AGENT_FISHING: Drill = Drill {
    name: "agent_fishing",
    story: "An agent with a friend on the line uses the comparison to guess Ana’s e-mail address, over several calls; the twelfth guess is right. Then the agent goes through account numbers to find a customer.",
    expects: "Few comparisons on a call and few on an account and hour, answers that do not tell how near a guess was, few look-ups by one agent in an hour.",
    needs: &[Door::Telephone],
    play: |s| Box::pin(fishing(s)),
};

/// The guess that is right.
const RIGHT: usize = 12;

async fn fishing(s: &mut Scene) -> Result<(), Halt> {
    let right = Who::Ana.says(ClaimKind::Email).unwrap_or_default();
    let near = ["ana.torres@example.org", "ana.torre@example.com", "someone.else@example.net"];
    let mut guesses: Vec<String> = near.map(str::to_owned).into();
    guesses.extend((guesses.len()..RIGHT - 1).map(|n| format!("guess{n}@example.net")));
    guesses.push(right);
    let (mut used, mut answers) = (0, BTreeSet::new());
    let mut robin = Desk::sign_in(&s.stage, "Robin", Role::Agent).await?;
    for _ in 0..4 {
        let mut caller = s.call(Some(STRANGER), Signed::Full).await?;
        s.to_the_queue(&mut caller).await?;
        if !robin.take(&mut caller).await? {
            return Err(Halt::broken("the desk", "Robin could not take the call"));
        }
        s.claims(&robin, Who::Ana, &[ClaimKind::AccountNumber, ClaimKind::PostalCode]).await?;
        s.does("The agent types one guess after the other.").await?;
        while let Some(guess) = guesses.get(used) {
            let before = compared(s, &caller).await?;
            let page = robin.heard("email", guess).await?;
            let after = compared(s, &caller).await?;
            if after.0 == before.0 {
                break; // not looked at: the guess is good for another call
            }
            used += 1;
            if after.1 > before.1 {
                s.got("guessed Ana’s e-mail address");
            } else {
                answers.insert(page.flash());
            }
        }
        s.follow(caller.id).await?;
        robin.end().await?;
    }
    if answers.len() > 1 {
        s.got("the answer to a wrong guess tells how near it was");
    }
    s.sees(format!("{used} guesses were compared."));
    if used < RIGHT {
        s.stop("limit calls.compare_misses, and five misses on one call");
    }

    s.does("The agent tries 260 account numbers in a row; the last one is Chidi’s.").await?;
    let mut refused = 0;
    for n in 0..260_u32 {
        let number = if n == 259 { Who::Chidi.number().to_owned() } else { format!("{}", 20_004_000 + n) };
        let page = robin.post("/desk/call-out", &[("account_number", &number)]).await?;
        if page.status == 303 {
            s.got("found a customer by going through account numbers");
        }
        refused += usize::from(page.text().contains("too many customers"));
    }
    s.sees(format!("{refused} of 260 look-ups were not made."));
    if refused > 0 {
        s.stop("limit calls.agent_claims: too many look-ups by one agent");
    }
    Ok(())
}

/// How many comparisons were made on a call, and how many matched.
async fn compared(s: &Scene, caller: &Caller) -> Result<(usize, usize), Halt> {
    let events = s.stage.events(caller.id).await?;
    let all: Vec<bool> = events.iter().filter_map(|r| match r.event {
        Event::Compared { field: Field::Email, matched, .. } => Some(matched),
        _ => None,
    }).collect();
    Ok((all.len(), all.iter().filter(|m| **m).count()))
}

/// See the story.
pub(super) const INSIDER_BROWSING: Drill = Drill {
    name: "insider_browsing",
    story: "Ana has proved who she is, and Robin works on her call. Colleagues who do not have the call open it by its id, send its forms, and look around. One of them takes another customer’s call and browses.",
    expects: "A call that somebody else has shows nothing and moves for nobody. An account opens fields only as far as its caller proved.",
    needs: &[Door::Telephone],
    play: |s| Box::pin(browsing(s)),
};

const VERBS: [(&str, &[(&str, &str)]); 12] = [
    ("accept", &[]), ("heard", &[("what", "email"), ("value", "ana.torres@example.com")]), ("reveal", &[("field", "name")]),
    ("reveal", &[("field", "address"), ("reason", "I want to know where she lives")]), ("request", &[("action", "change:phone")]), ("prove", &[("factors", "sms_code")]),
    ("word", &[("word", "x")]), ("cancel", &[]), ("perform", &[("action", "do:request_refund")]), ("speak-for", &[("account_number", "10004713")]),
    ("switch", &[("reason", "I want this call for myself")]), ("end", &[]),
];

async fn browsing(s: &mut Scene) -> Result<(), Halt> {
    let mut caller = s.call(Who::Ana.line(), Signed::Full).await?;
    s.to_the_queue(&mut caller).await?;
    let robin = s.answered(&mut caller).await?;
    s.proves(&robin, &mut caller, Who::Ana, &["pin"], "").await?;
    robin.reveal(Field::Name).await?;
    s.follow(caller.id).await?;
    let before = s.stage.events(caller.id).await?.len();
    for (name, role) in [("Ola", Role::Agent), ("Sam", Role::Specialist), ("Kim", Role::Lead), ("Alex", Role::Admin)] {
        let mut other = Desk::sign_in(&s.stage, name, role).await?;
        other.call = caller.id;
        s.does(format!("{name} ({}) opens the call by its id, sends {} forms for it, and looks at every list.", role.name(), VERBS.len())).await?;
        let mut pages = Vec::new();
        for (verb, fields) in VERBS {
            pages.push(other.act(verb, fields).await?);
        }
        for path in [
            format!("/desk/call/{}", caller.id), format!("/desk/call/{}/panel", caller.id), "/desk".into(), "/desk/list".into(), "/admin".into(),
            format!("/admin/calls/{}", caller.id), "/me".into(), "/me/security".into(),
        ] {
            pages.push(other.get(&path).await?);
        }
        for page in pages {
            s.shown(&page, Who::Ana, &PRIVATE);
        }
    }
    if s.stage.events(caller.id).await?.len() == before {
        s.stop("the desk’s view: whoever does not have a call sees nothing of it and moves nothing");
    } else {
        s.got("moved a call that somebody else has");
    }
    s.follow(caller.id).await?;

    s.does("Nobody at all, without a session, asks for the same pages.").await?;
    let nobody = robin.signed_out();
    for page in [nobody.panel().await?, nobody.get("/desk").await?, nobody.get("/admin").await?, nobody.reveal(Field::Name).await?] {
        s.shown(&page, Who::Ana, &PRIVATE);
    }

    s.does("Tina calls and proves nothing. Ola looks at the waiting call, takes it, and looks at every field.").await?;
    let mut caller = s.call(Who::Tina.line(), Signed::Full).await?;
    s.to_the_queue(&mut caller).await?;
    let mut ola = Desk::sign_in(&s.stage, "Ola", Role::Agent).await?;
    ola.call = caller.id;
    let page = ola.panel().await?;
    s.shown(&page, Who::Tina, &PRIVATE);
    if ola.take(&mut caller).await? {
        for page in ola.looks_at_everything().await? {
            s.shown(&page, Who::Tina, &PRIVATE);
        }
        for field in ["name", "address"] {
            s.why_not(caller.id, Role::Agent, &format!("view:{field}")).await?;
        }
    }
    s.reached(caller.id, Level::Identified).await?;
    Ok(())
}
