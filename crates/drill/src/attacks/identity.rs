//! Whose account it is: misheard, spoofed, switched, or somebody else's.

use countersign_core::{
    account::Profile,
    action::{Field, Level, Role},
    claim::ClaimKind,
};

use crate::{
    Door, Drill, Halt,
    caller::Signed,
    people::Who,
    scene::{PRIVATE, Scene},
};

/// See the story.
pub(super) const WRONG_ACCOUNT_OPENED: Drill = Drill {
    name: "wrong_account_opened",
    story: "Tina says her e-mail address, and the agent hears Dina’s. The agent works on with whatever account that opens, reads data out and overwrites it.",
    expects: "A look-alike does not count, two things must agree on one account, and nothing is shown or changed for what was only said.",
    needs: &[Door::Telephone],
    play: |s| Box::pin(wrong_account(s)),
};

async fn wrong_account(s: &mut Scene) -> Result<(), Halt> {
    let mut caller = s.call(None, Signed::Not).await?;
    s.to_the_queue(&mut caller).await?;
    let desk = s.answered(&mut caller).await?;
    s.does("Tina says tina.bell@example.com. The agent hears, and notes, dina.bell@example.com.").await?;
    let misheard = Who::Dina.says(ClaimKind::Email).unwrap_or_default();
    desk.heard("email", &misheard).await?;
    s.does("The agent notes the name: Tina Bell.").await?;
    desk.heard("name", "Tina Bell").await?;
    if opened(s, &caller).await? == Some(Who::Dina) {
        s.got("Dina’s account was opened for Tina");
    }
    for (who, what) in [(Who::Dina, "whatever is open"), (Who::Tina, "Tina’s own account, said again and heard right")] {
        if who == Who::Tina {
            s.claims(&desk, Who::Tina, &[ClaimKind::Email, ClaimKind::PostalCode, ClaimKind::DateOfBirth]).await?;
        }
        s.does(format!("The agent looks at every field and tries every change of {what}.")).await?;
        for page in desk.looks_at_everything().await? {
            s.shown(&page, who, &PRIVATE);
        }
        desk.tries_everything().await?;
        s.unchanged(who, &[]).await?;
    }
    s.why_not(caller.id, Role::Agent, "view:phone").await?;
    s.performed(caller.id, &[]).await
}

/// Whose account is open on a call.
async fn opened(s: &Scene, caller: &crate::caller::Caller) -> Result<Option<Who>, Halt> {
    let call = s.stage.call(caller.id).await?;
    let account = call.filter(|call| call.opened()).and_then(|call| call.subject);
    Ok(Who::ALL.into_iter().find(|who| Some(who.account()) == account))
}

/// See the story.
pub(super) const SPOOFED_NUMBER: Drill = Drill {
    name: "spoofed_number",
    story: "A stranger shows Ana’s telephone number and has nothing else. They guess her PIN, then lean on the agent.",
    expects: "A number is a claim: the call is identified at most, nothing is said or shown that says who or where, nothing is done.",
    needs: &[Door::Telephone],
    play: |s| Box::pin(spoofed(s)),
};

async fn spoofed(s: &mut Scene) -> Result<(), Halt> {
    for signed in [Signed::Not, Signed::Full] {
        let mut caller = s.call(Who::Ana.line(), signed).await?;
        s.said(&caller, Who::Ana, &PRIVATE);
        caller.press("1").await?;
        s.said(&caller, Who::Ana, &PRIVATE);
        s.does("Guesses the PIN twice.").await?;
        for _ in 0..2 {
            let guess = s.dice.digits(4);
            if Some(guess.expose()) != Who::Ana.pin() {
                caller.press(guess.expose()).await?;
            }
            s.said(&caller, Who::Ana, &PRIVATE);
        }
        s.to_the_queue(&mut caller).await?;
        s.follow(caller.id).await?;
        if caller.is_cut() {
            continue;
        }
        let desk = s.answered(&mut caller).await?;
        s.does("Asks the agent for everything.").await?;
        for page in desk.looks_at_everything().await? {
            s.shown(&page, Who::Ana, &PRIVATE);
        }
        desk.tries_everything().await?;
        s.why_not(caller.id, Role::Agent, "view:name").await?;
        s.reached(caller.id, Level::Identified).await?;
        s.performed(caller.id, &[]).await?;
        desk.end().await?;
    }
    s.unchanged(Who::Ana, &[]).await
}

/// See the story.
pub(super) const ACCOUNT_SWITCH: Drill = Drill {
    name: "account_switch",
    story: "Tina proves that she is Tina, and in mid call talks the agent over to Ana’s account: she knows Ana’s numbers and dates.",
    expects: "The account of a call stays. To give it up takes a written reason, tells the lead, and starts from nothing.",
    needs: &[Door::Telephone],
    play: |s| Box::pin(switched(s)),
};

async fn switched(s: &mut Scene) -> Result<(), Halt> {
    let mut caller = s.call(Who::Tina.line(), Signed::Full).await?;
    s.to_the_queue(&mut caller).await?;
    let desk = s.answered(&mut caller).await?;
    s.does("Proves with her own PIN and telephone that she is Tina.").await?;
    s.proves(&desk, &mut caller, Who::Tina, &["pin", "sms_code"], "").await?;
    s.follow(caller.id).await?;
    let level = |call: Option<countersign_core::call::Call>| call.map(|c| (c.subject, c.level)).unwrap_or_default();
    if level(s.stage.call(caller.id).await?).1 < Level::Authenticated {
        return Err(Halt::NotApplicable("policy lets neither a PIN nor a texted code prove: there is no assurance to carry over".into()));
    }
    let known = [ClaimKind::AccountNumber, ClaimKind::PostalCode, ClaimKind::DateOfBirth, ClaimKind::Email, ClaimKind::Name];
    // A few misses are all that a call has: the rest is for afterwards.
    s.claims(&desk, Who::Ana, &[ClaimKind::AccountNumber, ClaimKind::PostalCode]).await?;
    let moved = |s: &mut Scene, (subject, level): (Option<countersign_core::id::AccountId>, Level)| {
        if subject == Some(Who::Ana.account()) && level > Level::Identified {
            s.got(format!("Ana’s account is open at {level}, proved by Tina"));
        }
    };
    let now = level(s.stage.call(caller.id).await?);
    moved(s, now);
    s.does("Has the agent press “Wrong account”, and says Ana’s details once more.").await?;
    desk.act("switch", &[("reason", "oops")]).await?;
    desk.act("switch", &[("reason", "the caller says that it is another account")]).await?;
    s.claims(&desk, Who::Ana, &known).await?;
    s.proves(&desk, &mut caller, Who::Tina, &["pin"], "").await?;
    let now = level(s.stage.call(caller.id).await?);
    moved(s, now);
    for page in desk.looks_at_everything().await? {
        s.shown(&page, Who::Ana, &PRIVATE);
    }
    desk.tries_everything().await?;
    s.follow(caller.id).await?;
    if now.1 <= Level::Identified {
        s.stop("event switched: claims, proofs and level went with the account");
    }
    s.performed(caller.id, &[]).await?;
    s.unchanged(Who::Tina, &[]).await?;
    s.unchanged(Who::Ana, &[]).await
}

/// See the story.
pub(super) const DELEGATE_OVERREACH: Drill = Drill {
    name: "delegate_overreach",
    story: "Liam may look at Chidi’s orders and cancel them. Strongly authenticated, he wants more: Chidi’s address, Chidi’s telephone, Chidi’s PIN. Then he tries it with Ana, who never let him.",
    expects: "A delegate gets what the delegation names and no more, whatever they prove about themselves.",
    needs: &[Door::Telephone],
    play: |s| Box::pin(overreach(s)),
};

async fn overreach(s: &mut Scene) -> Result<(), Halt> {
    let mut caller = s.call(Who::Liam.line(), Signed::Full).await?;
    s.to_the_queue(&mut caller).await?;
    let desk = s.answered(&mut caller).await?;
    s.does("Liam proves with his app and his verbal password.").await?;
    s.proves(&desk, &mut caller, Who::Liam, &["totp", "verbal_password"], "").await?;
    s.follow(caller.id).await?;
    for who in [Who::Ana, Who::Chidi] {
        s.does(format!("Wants to speak for {}.", who.first())).await?;
        desk.act("speak-for", &[("account_number", who.number())]).await?;
        s.follow(caller.id).await?;
        let subject = s.stage.call(caller.id).await?.and_then(|call| call.subject);
        if who == Who::Ana && subject == Some(who.account()) {
            s.got("speaks for Ana without her permission");
        }
        if who == Who::Chidi && subject != Some(who.account()) {
            return Err(Halt::NotApplicable("Liam cannot prove enough to speak for anybody under these policies".into()));
        }
    }
    s.does("Looks at everything of Chidi’s, and tries every change.").await?;
    let hidden: Vec<Field> = PRIVATE.into_iter().filter(|f| !matches!(f, Field::Name | Field::Orders)).collect();
    for page in desk.looks_at_everything().await? {
        s.shown(&page, Who::Chidi, &hidden);
    }
    desk.tries_everything().await?;
    let allowed = permitted(&s.stage.profile(Who::Chidi).await?);
    let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
    s.performed(caller.id, &allowed).await?;
    s.unchanged(Who::Chidi, &allowed).await
}

/// What somebody permits the one who speaks for them.
fn permitted(profile: &Profile) -> Vec<String> { profile.delegations.iter().flat_map(|d| &d.actions).map(ToString::to_string).collect() }
