//! What policy has to hold, asked through the desk.

use countersign_core::{action::{Level, Role}, claim::ClaimKind};
use countersign_policy::{Severity, lint};

use crate::{
    Door, Drill, Halt,
    caller::Signed,
    people::{STRANGER, Who},
    scene::Scene,
};

/// See the story.
pub(super) const PASSWORD_BY_PHONE_NUMBER: Drill = Drill {
    name: "password_by_phone_number",
    story: "A caller shows Ana’s number, knows every detail about her, and wants a new web password, at an agent, a specialist and a lead.",
    expects: "No number of details is a proof: every change is refused, in every role, with and without a written reason.",
    needs: &[Door::Telephone],
    play: |s| Box::pin(password(s)),
};

async fn password(s: &mut Scene) -> Result<(), Halt> {
    for (name, role) in [("Robin", Role::Agent), ("Sam", Role::Specialist), ("Kim", Role::Lead)] {
        let mut caller = s.call(Who::Ana.line(), Signed::Full).await?;
        s.to_the_queue(&mut caller).await?;
        let desk = s.taken(&mut caller, name, role).await?;
        s.claims(&desk, Who::Ana, &ClaimKind::ALL).await?;
        s.does("Wants a new web password, then everything else; the second time with a written reason.").await?;
        desk.request("change:password").await?;
        desk.tries_everything().await?;
        s.reached(caller.id, Level::Identified).await?;
        s.performed(caller.id, &[]).await?;
        if s.stage.deliver().await?.iter().any(|letter| letter.text.contains("/undo/") || letter.text.contains("password")) {
            s.got("a message about a changed password");
        }
        desk.end().await?;
    }
    s.unchanged(Who::Ana, &[]).await
}

/// See the story.
pub(super) const SSN_AS_PROOF: Drill = Drill {
    name: "ssn_as_proof",
    story: "A policy takes what many people know for a proof: a social-security number, a date of birth, the number that calls. And a caller offers such things in the place of a proof.",
    expects: "The lint finds no such policy among those in force, and refuses one that is added. No such factor can be asked for.",
    needs: &[],
    play: |s| Box::pin(ssn(s)),
};

/// Policies that must not be taken into use, and what they take for a proof.
const PLANTED: [(&str, &str); 4] = [
    ("an SSN", r#"@id("planted") @reason("planted") permit (principal, action == Countersign::Action::"reach:authenticated", resource) when { context.proofs.contains("ssn") };"#),
    ("a date of birth", r#"@id("planted") @reason("planted") permit (principal, action == Countersign::Action::"reach:authenticated", resource) when { context.claims.contains("date_of_birth") };"#),
    ("the calling number", r#"@id("planted") @reason("planted") permit (principal, action == Countersign::Action::"change:phone", resource) when { context.claims.contains("number") };"#),
    ("being identified", r#"@id("planted") @reason("planted") permit (principal, action == Countersign::Action::"change:phone", resource) when { context.level >= 1 };"#),
];

async fn ssn(s: &mut Scene) -> Result<(), Halt> {
    let sources = s.stage.setting().sources.clone();
    s.does("Reads the policies in force as the lint does.").await?;
    for finding in lint::check(&sources.schema, &sources.files).into_iter().filter(|f| f.severity == Severity::Error) {
        s.got(format!("{}:{} {}", finding.file, finding.line, finding.message));
    }
    for (what, text) in PLANTED {
        s.does(format!("Adds a policy that takes {what} for a proof.")).await?;
        let mut files = sources.files.clone();
        files.push(("planted.cedar".into(), text.into()));
        let findings = lint::check(&sources.schema, &files);
        match findings.into_iter().find(|f| f.file == "planted.cedar" && f.severity == Severity::Error) {
            Some(finding) => {
                s.sees(format!("The lint refuses it: {}", finding.message));
                s.stop("the policy lint: such a policy set is not taken into use");
            }
            None => s.got(format!("a policy set that takes {what} for a proof")),
        }
    }
    if !s.stage.setting().has(Door::Telephone) {
        return Ok(());
    }
    let mut caller = s.call(Some(STRANGER), Signed::Full).await?;
    s.to_the_queue(&mut caller).await?;
    let desk = s.answered(&mut caller).await?;
    s.claims(&desk, Who::Ana, &ClaimKind::ALL).await?;
    s.does("Offers an SSN, a date of birth and an account number as proofs.").await?;
    for factor in ["ssn", "last4_ssn", "date_of_birth", "account_number", "number"] {
        desk.prove(factor, "change:phone").await?;
        desk.word("078-05-1120").await?;
    }
    desk.tries_everything().await?;
    s.reached(caller.id, Level::Identified).await?;
    s.performed(caller.id, &[]).await?;
    s.unchanged(Who::Ana, &[]).await
}

/// See the story.
pub(super) const ONLINE_ONLY: Drill = Drill {
    name: "online_only",
    story: "Somebody who can prove everything as Ana, under pressure or for money, has her account closed and a parcel redirected by phone.",
    expects: "These are never done by phone, whoever calls: the customer gets the way, at the contact on file.",
    needs: &[Door::Telephone],
    play: |s| Box::pin(online(s)),
};

async fn online(s: &mut Scene) -> Result<(), Halt> {
    let mut caller = s.call(Who::Ana.line(), Signed::Full).await?;
    s.to_the_queue(&mut caller).await?;
    let desk = s.answered(&mut caller).await?;
    s.does("Proves with the PIN and a texted code.").await?;
    s.proves(&desk, &mut caller, Who::Ana, &["pin", "sms_code"], "do:close_account").await?;
    let mut desks = vec![desk];
    for (name, role) in [("Sam", Role::Specialist), ("Kim", Role::Lead)] {
        for action in ["do:close_account", "do:redirect_parcel"] {
            let Some(desk) = desks.last() else { continue };
            s.does(format!("{} is asked for {action}.", desk.name)).await?;
            desk.request(action).await?;
            desk.perform(action, "").await?;
            desk.act("perform", &[("action", action), ("reason", "the caller is in a great hurry")]).await?;
        }
        s.follow(caller.id).await?;
        if let Some(desk) = desks.last() {
            desk.act("hand-over", &[("queue", "specialists")]).await?;
        }
        caller.listen().await?;
        desks.push(s.taken(&mut caller, name, role).await?);
    }
    if let Some(kim) = desks.last() {
        kim.act("perform", &[("action", "do:close_account"), ("reason", "the lead says that it is all right")]).await?;
    }
    s.performed(caller.id, &[]).await?;
    let known = [countersign_core::action::Field::Phone, countersign_core::action::Field::Email].map(|f| Who::Ana.on_file(f).unwrap_or_default());
    for letter in s.stage.deliver().await? {
        if !known.contains(&letter.to) {
            s.got(format!("the way went to {}", letter.to));
        }
    }
    s.unchanged(Who::Ana, &[]).await
}
