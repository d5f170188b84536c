//! Playing a drill of one's own: the same actors, the same doors, the same way of judging.

use countersign_core::{
    action::{Field, Level, Role},
    call::Event,
};

use super::{Expected, Known, Line, Move, Never, OwnDrill, Said};
use crate::{
    Halt,
    caller::{Caller, Signed},
    desk::Desk,
    people::{liam_app, totp},
    portal::Portal,
    scene::Scene,
    wire::Page,
};

/// Plays it to its end, or until the attacker has what they must not have.
pub async fn play(drill: &OwnDrill, s: &mut Scene) -> Result<(), Halt> {
    let mut player = Player { drill, call: None, desk: None, portal: None, code: None, permitted: None, given: None };
    if drill.knows.contains(&Known::Portal) {
        player.portal = Some(s.portal(drill.victim).await?);
    }
    for (line, step) in &drill.moves {
        player.step(s, *line, step).await?;
        player.judge(s).await?;
    }
    s.unchanged(drill.victim, &player.allowed()).await?;
    s.stop("nothing of what must not happen happened");
    Ok(())
}

struct Player<'a> {
    drill: &'a OwnDrill,
    call: Option<Caller>,
    desk: Option<Desk>,
    portal: Option<Portal>,
    /// The code of the last message that reached the victim's telephone.
    code: Option<String>,
    /// Whether the last thing that was asked for is permitted, was done or was shown.
    permitted: Option<bool>,
    /// The code that the agent reads out.
    given: Option<String>,
}

impl Player<'_> {
    /// Changes that the drill does not forbid.
    fn allowed(&self) -> Vec<&'static str> {
        let all = ["change:phone", "change:email", "change:address", "change:factors", "do:cancel_order", "do:end_freeze"];
        all.into_iter().filter(|action| !self.drill.must_not.iter().any(|n| matches!(n, Never::Done(a) if a.to_string() == *action))).collect()
    }

    fn known(&self, s: &Scene, said: &Said) -> String {
        let who = self.drill.victim;
        match said {
            Said::Text(text) => text.clone(),
            Said::Known(Known::Claim(kind)) => who.says(*kind).unwrap_or_default(),
            Said::Known(Known::Address) => who.on_file(Field::Address).unwrap_or_default(),
            Said::Known(Known::Pin) => who.pin().unwrap_or_default().into(),
            Said::Known(Known::DuressPin) => who.duress_pin().unwrap_or_default().into(),
            Said::Known(Known::VerbalPassword) => who.word().unwrap_or_default().into(),
            Said::Known(Known::App) => totp(&liam_app(), s.stage.now()),
            Said::Known(Known::Texts | Known::Portal) => String::new(),
        }
    }

    /// The call, if there is one.
    fn caller(&mut self, line: usize) -> Result<&mut Caller, Halt> {
        self.call.as_mut().ok_or_else(|| Halt::Broken(format!("line {line}: nobody is on the line: write \"call\" before this")))
    }

    /// Whoever has the call, if anybody does: without one, what is said is heard by nobody.
    fn heard(&self, s: &mut Scene) -> Option<Desk> {
        if self.desk.is_none() {
            s.sees("Nobody at the desk has the call: nothing happens.");
        }
        self.desk.clone()
    }

    async fn step(&mut self, s: &mut Scene, line: usize, step: &Move) -> Result<(), Halt> {
        match step {
            Move::Call => self.dial(s).await?,
            Move::HangUp => {
                s.does("Hangs up.").await?;
                self.caller(line)?.hang_up().await?;
                self.desk = None;
            }
            Move::Key(said) => {
                let keys = self.known(s, said);
                s.does(format!("Keys {keys}.")).await?;
                self.caller(line)?.press(&keys).await?;
                self.heard_words(s)?;
            }
            Move::TypeCode => self.type_code(s, line).await?,
            Move::Take(role) => self.take(s, line, *role).await?,
            Move::Wait(span) => s.waits(*span, "as the drill says").await?,
            Move::Expect(expected) => self.expect(s, line, *expected).await?,
            Move::Approve => self.approve(s).await?,
            Move::Claim(kind, said) => {
                let value = self.known(s, said);
                s.does(format!("Says: {} is {value}.", kind.name().replace('_', " "))).await?;
                if let Some(desk) = self.heard(s) {
                    let page = desk.heard(kind.name(), &value).await?;
                    self.seen(s, &page);
                }
            }
            Move::Compare(what, said) => {
                let value = self.known(s, said);
                s.does(format!("Says for comparison: {} is {value}.", what.replace('_', " "))).await?;
                if let Some(desk) = self.heard(s) {
                    let page = desk.heard(what, &value).await?;
                    self.seen(s, &page);
                }
            }
            _ => self.desk_step(s, step).await?,
        }
        let letters = s.stage.deliver().await?;
        if let Some(code) = s.code_in(&letters, self.drill.victim) {
            self.code = Some(code);
        }
        Ok(())
    }

    async fn dial(&mut self, s: &mut Scene) -> Result<(), Halt> {
        let who = self.drill.victim;
        let (from, signed) = match &self.drill.line {
            Line::Own => (who.line(), Signed::Full),
            Line::Spoofed => (who.line(), Signed::Not),
            Line::Withheld => (None, Signed::Not),
            Line::Number(number) => (Some(number.as_str()), Signed::Not),
        };
        self.call = Some(s.call(from, signed).await?);
        self.desk = None;
        self.heard_words(s)
    }

    async fn type_code(&mut self, s: &mut Scene, line: usize) -> Result<(), Halt> {
        let Some(code) = self.code.clone() else {
            s.sees("No code was sent.");
            return Ok(());
        };
        s.does("Reads the message that was sent, and keys its code.").await?;
        self.caller(line)?.press(&code).await?;
        self.heard_words(s)
    }

    async fn take(&mut self, s: &mut Scene, line: usize, role: Role) -> Result<(), Halt> {
        let name = match role {
            Role::Agent => "Robin",
            Role::Specialist => "Sam",
            Role::Lead | Role::Admin => "Kim",
        };
        // Somebody who has it hands it over.
        if let Some(desk) = self.desk.take() {
            desk.act("hand-over", &[("queue", if role == Role::Agent { "agents" } else { "specialists" })]).await?;
            self.caller(line)?.listen().await?;
        }
        let mut caller = self.caller(line)?.clone();
        s.to_the_queue(&mut caller).await?;
        let mut desk = Desk::sign_in(&s.stage, name, role).await?;
        if desk.take(&mut caller).await? {
            s.does(format!("{name} ({}) takes the call.", role.name())).await?;
            self.desk = Some(desk);
        } else {
            s.does(format!("{name} ({}) cannot take the call.", role.name())).await?;
            s.stop("the queue: somebody with this role does not get the call");
        }
        self.call = Some(caller);
        Ok(())
    }

    /// What is done at the desk.
    async fn desk_step(&mut self, s: &mut Scene, step: &Move) -> Result<(), Halt> {
        let text = match step {
            Move::Look(field) => format!("Wants to hear: {}.", field.name().replace('_', " ")),
            Move::Ask(action) => format!("Asks for {action}."),
            Move::Prove(factors, _) => format!("Is asked for {}.", factors.iter().map(|f| f.name().replace('_', " ")).collect::<Vec<_>>().join(", then ")),
            Move::Say(_) => "Says a word.".into(),
            Move::Perform(action, _) => format!("Wants {action} carried out."),
            _ => String::new(),
        };
        s.does(text).await?;
        let Some(desk) = self.heard(s) else { return Ok(()) };
        let before = s.stage.events(desk.call).await?.len();
        let page = match step {
            Move::Look(field) => desk.reveal(*field).await?,
            Move::Ask(action) => desk.request(&action.to_string()).await?,
            Move::Prove(factors, action) => {
                let factors = factors.iter().map(|f| f.name()).collect::<Vec<_>>().join(",");
                let page = desk.prove(&factors, &action.as_ref().map(ToString::to_string).unwrap_or_default()).await?;
                self.given = page.given();
                if let Some(caller) = &mut self.call {
                    caller.listen().await?;
                }
                page
            }
            Move::Say(said) => desk.word(&self.known(s, said)).await?,
            Move::Perform(action, value) => desk.perform(&action.to_string(), value).await?,
            _ => return Ok(()),
        };
        let events = s.stage.events(desk.call).await?;
        if matches!(step, Move::Look(_) | Move::Ask(_) | Move::Perform(..)) {
            let happened = events.iter().skip(before).any(|r| match (&r.event, step) {
                (Event::Revealed { .. }, Move::Look(_)) | (Event::Performed { held: false, .. }, Move::Perform(..)) => true,
                (Event::Decided { decision, .. }, Move::Ask(_)) => decision.permits(),
                _ => false,
            });
            self.permitted = Some(happened);
        }
        if let (Move::Look(field), Some(false)) = (step, self.permitted) {
            s.why_not(desk.call, desk.role, &format!("view:{}", field.name())).await?;
        }
        self.seen(s, &page);
        Ok(())
    }

    async fn approve(&mut self, s: &mut Scene) -> Result<(), Halt> {
        let (Some(portal), code) = (&self.portal, self.given.clone().unwrap_or_default()) else { return Ok(()) };
        s.does("Types the code of the call in the portal.").await?;
        match portal.asked().await? {
            Some(challenge) => {
                let came = portal.answer(&challenge, "type", &code).await?;
                s.sees(format!("The portal says: {}.", came.replace('-', " ")));
            }
            None => s.sees("The portal asks for nothing."),
        }
        Ok(())
    }

    async fn expect(&mut self, s: &mut Scene, line: usize, expected: Expected) -> Result<(), Halt> {
        let level = match &self.call {
            Some(caller) => s.stage.call(caller.id).await?.map(|call| call.level).unwrap_or_default(),
            None => Level::Anonymous,
        };
        match expected {
            Expected::Refused if self.permitted == Some(true) => s.got(format!("line {line}: it is permitted, and was expected to be refused")),
            Expected::AtMost(most) if level > most => s.got(format!("line {line}: the call is at {level}, and was expected at {most} at most")),
            // The attack did not come as far as the drill means it to: then it says nothing.
            Expected::Permitted if self.permitted != Some(true) => return Err(Halt::Broken(format!("line {line}: it is refused, and was expected to be permitted"))),
            Expected::AtLeast(least) if level < least => return Err(Halt::Broken(format!("line {line}: the call is at {level}, and was expected at {least} at least"))),
            _ => {}
        }
        Ok(())
    }

    // ── Judging ──────────────────────────────────────────────────────────────────────────────

    fn watched(&self) -> Vec<Field> {
        self.drill.must_not.iter().filter_map(|n| match n {
            Never::Shown(field) => Some(*field),
            _ => None,
        }).collect()
    }

    fn seen(&self, s: &mut Scene, page: &Page) {
        if !page.flash().is_empty() {
            s.sees(format!("The desk says: {}", page.flash()));
        }
        s.shown(page, self.drill.victim, &self.watched());
    }

    fn heard_words(&self, s: &mut Scene) -> Result<(), Halt> {
        if let Some(caller) = &self.call {
            s.said(caller, self.drill.victim, &self.watched());
        }
        Ok(())
    }

    async fn judge(&self, s: &mut Scene) -> Result<(), Halt> {
        let Some(caller) = &self.call else { return Ok(()) };
        s.follow(caller.id).await?;
        let events = s.stage.events(caller.id).await?;
        for never in &self.drill.must_not {
            let happened = events.iter().any(|r| match (never, &r.event) {
                (Never::Done(action), Event::Performed { action: done, held: false, .. }) => action == done,
                (Never::Reached(level), Event::LevelChanged { level: reached, .. }) => reached >= level,
                _ => false,
            });
            if happened {
                s.got(match never {
                    Never::Done(action) => format!("{action} was carried out"),
                    Never::Reached(level) => format!("the call reached {level}"),
                    Never::Shown(_) => continue,
                });
            }
        }
        Ok(())
    }
}
