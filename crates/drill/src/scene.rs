//! One drill while it is played: what is done, what happens, and what the attacker has got.
//!
//! An attack is judged by what came of it, never by the words of a refusal: a level that was
//! reached, a change that is on file, a value that stands on a screen or was said, a code in the
//! wrong hands.

use std::collections::BTreeMap;

use countersign_core::{
    account::Profile,
    action::{Decision, Field, Level, Outcome, Role, WayOut},
    call::{Closed, Ending, Event, Queue},
    id::CallId,
    random::Random,
    story::{self, Reader},
    time::Span,
};

use crate::{
    Halt,
    caller::{Caller, Signed},
    desk::Desk,
    people::{Who, changes},
    portal::Portal,
    report::{Side, Step},
    stage::{Letter, Stage},
    wire::{Page, has_word},
};

/// A drill being played.
pub struct Scene {
    /// Where it is played.
    pub stage: Stage,
    /// Its chance: follows from the seed.
    pub dice: Random,
    pub(crate) steps: Vec<Step>,
    pub(crate) got: Vec<String>,
    pub(crate) stops: Vec<String>,
    /// How many events of each call are told already.
    told: BTreeMap<CallId, usize>,
    /// The call that is going on.
    current: Option<CallId>,
    before: BTreeMap<Who, Profile>,
}

impl Scene {
    pub(crate) async fn open(stage: Stage, lot: [u8; 32]) -> Result<Self, Halt> {
        let mut before = BTreeMap::new();
        for who in Who::ALL {
            before.insert(who, stage.profile(who).await?);
        }
        Ok(Self { stage, dice: Random::new(lot), steps: Vec::new(), got: Vec::new(), stops: Vec::new(), told: BTreeMap::new(), current: None, before })
    }

    // ── Telling ──────────────────────────────────────────────────────────────────────────────

    /// What the attacker, or somebody they play with, does. What came of the step before is told first.
    pub async fn does(&mut self, text: impl Into<String>) -> Result<(), Halt> {
        if let Some(call) = self.current {
            self.follow(call).await?;
        }
        self.step(Side::Attack, text.into());
        Ok(())
    }
    /// What the system answers, beside what its record says.
    pub fn sees(&mut self, text: impl Into<String>) { self.step(Side::System, text.into()); }
    fn step(&mut self, side: Side, text: String) { self.steps.push(Step { side, text }); }

    /// The attacker has this.
    pub fn got(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.got.contains(&text) {
            self.step(Side::Loot, text.clone());
            self.got.push(text);
        }
    }

    /// This stood in the way.
    pub fn stop(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.stops.contains(&text) {
            self.stops.push(text);
        }
    }

    // ── Everybody ────────────────────────────────────────────────────────────────────────────

    /// A call from this number.
    pub async fn call(&mut self, from: Option<&str>, signed: Signed) -> Result<Caller, Halt> {
        let how = match signed {
            Signed::Full => ", which their carrier vouches for",
            Signed::Not => "",
            Signed::Broken => ", with a signature that does not hold",
        };
        self.does(format!("Calls from {}{how}.", from.unwrap_or("a withheld number"))).await?;
        let caller = Caller::dial(&self.stage, from, signed).await?;
        self.current = Some(caller.id);
        Ok(caller)
    }

    /// From the greeting to the queue without proving anything, from whatever line.
    pub async fn to_the_queue(&mut self, caller: &mut Caller) -> Result<(), Halt> {
        self.does("Says nothing to the machine and asks for an agent.").await?;
        for _ in 0..8 {
            let Some(call) = self.stage.call(caller.id).await? else { break };
            match call.stage {
                countersign_core::call::Stage::Language | countersign_core::call::Stage::Music => caller.press("1").await?,
                countersign_core::call::Stage::Proving => caller.press("*").await?,
                countersign_core::call::Stage::Waiting | countersign_core::call::Stage::Ended => break,
                _ => caller.press("0").await?,
            }
        }
        // Codes that were asked for on the way go to the customer.
        self.stage.deliver().await?;
        Ok(())
    }

    /// Somebody at the desk takes the call, whichever queue it waits in.
    pub async fn answered(&mut self, caller: &mut Caller) -> Result<Desk, Halt> {
        let risky = self.stage.call(caller.id).await?.is_some_and(|call| call.queue == Some(Queue::Specialists));
        let (name, role) = if risky { ("Sam", Role::Specialist) } else { ("Robin", Role::Agent) };
        self.taken(caller, name, role).await
    }

    /// This person takes the call.
    pub async fn taken(&mut self, caller: &mut Caller, name: &str, role: Role) -> Result<Desk, Halt> {
        let mut desk = Desk::sign_in(&self.stage, name, role).await?;
        if desk.take(caller).await? {
            self.does(format!("{name} ({}) takes the call.", role.name())).await?;
            Ok(desk)
        } else {
            Err(Halt::broken("the desk", format!("{name} could not take the call")))
        }
    }

    /// The agent notes what the caller says of themselves, one claim after the other.
    pub async fn claims(&mut self, desk: &Desk, who: Who, kinds: &[countersign_core::claim::ClaimKind]) -> Result<(), Halt> {
        let names: Vec<&str> = kinds.iter().map(|k| k.name()).collect();
        self.does(format!("Says of themselves what is true of {}: {}.", who.first(), names.join(", ").replace('_', " "))).await?;
        for kind in kinds {
            if let Some(value) = who.says(*kind) {
                desk.heard(kind.name(), &value).await?;
            }
        }
        Ok(())
    }

    /// The customer, signed in to the portal.
    pub async fn portal(&mut self, who: Who) -> Result<Portal, Halt> { Portal::enter(&self.stage, who).await }

    /// The code of the last message that went to somebody's telephone, if one did.
    pub fn code_in(&self, letters: &[Letter], who: Who) -> Option<String> {
        let digits = usize::from(self.stage.setting().params.code_digits);
        letters.iter().rev().filter(|l| Some(l.to.as_str()) == who.line()).find_map(|l| l.code(digits))
    }

    /// The caller proves with what they hold: asked by the agent for these factors one by one, each
    /// keyed with what is at hand. `pin`: the one they know; texts to the line of `who` reach them.
    pub async fn proves(&mut self, desk: &Desk, caller: &mut Caller, who: Who, factors: &[&str], action: &str) -> Result<(), Halt> {
        for factor in factors {
            desk.prove(factor, action).await?;
            caller.listen().await?;
            let letters = self.stage.deliver().await?;
            let entry = match *factor {
                "pin" => who.pin().map(str::to_owned),
                "totp" => Some(crate::people::totp(&crate::people::liam_app(), self.stage.now())),
                "sms_code" | "voice_code" => self.code_in(&letters, who),
                "verbal_password" => {
                    desk.word(who.word().unwrap_or_default()).await?;
                    None
                }
                _ => None,
            };
            if let Some(entry) = entry {
                caller.press(&entry).await?;
            }
            // What could not be asked or answered is not left open.
            if self.stage.call(caller.id).await?.is_some_and(|call| call.challenge.is_some()) {
                desk.act("cancel", &[]).await?;
            }
        }
        Ok(())
    }

    /// Time passes.
    pub async fn waits(&mut self, span: Span, why: &str) -> Result<(), Halt> {
        self.does(format!("Waits {}: {why}.", spelled(span))).await?;
        self.stage.wait(span).await
    }

    // ── Judging ──────────────────────────────────────────────────────────────────────────────

    /// Reads what is new in the record of a call: tells it, and notes what stood in the way.
    pub async fn follow(&mut self, call: CallId) -> Result<(), Halt> {
        let events = self.stage.events(call).await?;
        let told = self.told.insert(call, events.len()).unwrap_or(0);
        for recorded in events.iter().skip(told) {
            // Guesses by the hundred are one thing that happens.
            let text = tidy(&self.stage.named(story::sentence(&recorded.event, Reader::Lead)));
            if self.steps.last().is_none_or(|last| last.text != text) {
                self.step(Side::System, text);
            }
            if let Some(stop) = defence(&recorded.event) {
                self.stop(stop);
            }
        }
        Ok(())
    }

    /// The level that a call reached at most. More than `allowed` is a catch.
    pub async fn reached(&mut self, call: CallId, allowed: Level) -> Result<Level, Halt> {
        self.follow(call).await?;
        let events = self.stage.events(call).await?;
        let top = events.iter().filter_map(|r| match &r.event {
            Event::LevelChanged { level, .. } => Some(*level),
            _ => None,
        }).max().unwrap_or_default();
        if top > allowed {
            self.got(format!("the call reached {top}"));
        }
        Ok(top)
    }

    /// What was carried out on a call; all but `allowed` is a catch. What only looks carried out and
    /// waits for review is none.
    pub async fn performed(&mut self, call: CallId, allowed: &[&str]) -> Result<(), Halt> {
        self.follow(call).await?;
        for recorded in self.stage.events(call).await? {
            if let Event::Performed { action, held: false, .. } = recorded.event
                && !allowed.contains(&action.to_string().as_str())
            {
                self.got(format!("{action} was carried out"));
            }
        }
        Ok(())
    }

    /// What is on file of somebody is what was on file before, but for `allowed`.
    pub async fn unchanged(&mut self, who: Who, allowed: &[&str]) -> Result<(), Halt> {
        let after = self.stage.profile(who).await?;
        let changed = self.before.get(&who).map(|before| changes(before, &after)).unwrap_or_default();
        for action in changed.into_iter().filter(|action| !allowed.contains(action)) {
            self.got(format!("{action}: it is on {}’s file", who.first()));
        }
        Ok(())
    }

    /// What is on file now is what counts from here on.
    pub async fn settles(&mut self, who: Who) -> Result<(), Halt> {
        self.before.insert(who, self.stage.profile(who).await?);
        Ok(())
    }

    /// Whether fields of somebody stand on a page.
    pub fn shown(&mut self, page: &Page, who: Who, fields: &[Field]) { self.values(&page.text(), who, fields, "is on the screen"); }

    /// Whether fields of somebody were said to the caller.
    pub fn said(&mut self, caller: &Caller, who: Who, fields: &[Field]) { self.values(&caller.words(), who, fields, "was said to the caller"); }

    fn values(&mut self, text: &str, who: Who, fields: &[Field], how: &str) {
        for field in fields {
            if who.on_file(*field).is_some_and(|value| has_word(text, &value)) {
                self.got(format!("{}’s {} {how}", who.first(), field.name().replace('_', " ")));
            }
        }
    }

    /// Asks policy why something is not possible on this call, for the report.
    pub async fn why_not(&mut self, call: CallId, role: Role, action: &str) -> Result<(), Halt> {
        let (Some(call), Ok(parsed)) = (self.stage.call(call).await?, action.parse()) else { return Ok(()) };
        let decision = self.stage.decide(&call, role, &parsed).await?;
        if let Some(stop) = refusal(action, &decision) {
            self.stop(stop);
        }
        Ok(())
    }
}

/// Every field that says who or where somebody is, and their orders.
pub const PRIVATE: [Field; 8] = [
    Field::Name, Field::AccountNumber, Field::Orders, Field::Phone, Field::Email, Field::Address, Field::PostalCode, Field::DateOfBirth,
];

/// A sentence of the record without the ids of what happens once: they tell a reader nothing.
fn tidy(text: &str) -> String {
    let is_id = |word: &str| word.split_once('_').is_some_and(|(kind, digits)| !kind.is_empty() && digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
    let words = text.split(' ').filter(|word| !is_id(word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_')) || word.contains('’'));
    let mut out = words.collect::<Vec<_>>().join(" ");
    if !out.ends_with(['.', '!', '?']) {
        out.push('.');
    }
    out.replace(" (reason:.", ".")
}

fn spelled(span: Span) -> String {
    let minutes = span.0 / 60_000;
    match minutes {
        0 => format!("{} seconds", span.0 / 1000),
        1 => "a minute".into(),
        m if m % 1440 == 0 => format!("{} days", m / 1440),
        m => format!("{m} minutes"),
    }
}

/// What an event says of a defence that held.
fn defence(event: &Event) -> Option<String> {
    Some(match event {
        Event::Decided { action, decision, .. } => return refusal(&action.to_string(), decision),
        Event::Claimed { claim } if claim.look_alike => "event claimed: a look-alike does not count".into(),
        Event::Contradicted { .. } => "event contradicted: the account of the call stays".into(),
        Event::ChallengeClosed { why: Closed::Exhausted, .. } => "limit calls.tries: no tries left on this challenge".into(),
        Event::ChallengeClosed { why: Closed::Throttled, .. } => "limit calls.throttle: too many wrong entries lately".into(),
        Event::ChallengeClosed { why: Closed::Disowned, .. } => "event disowned: the customer is not on the phone".into(),
        Event::FactorUnavailable { kind } => format!("event factor_unavailable: {kind} is not asked for any more"),
        Event::ServiceCodeThrottled => "limit calls.throttle: no service codes are taken from this line".into(),
        Event::CompareThrottled { .. } => "limit calls.compare_misses: too many comparisons for this account".into(),
        Event::SpeakRefused { .. } => "event speak_refused: no delegation".into(),
        Event::Queued { queue: Queue::Specialists, because } if !because.is_empty() => format!("event queued: to a specialist, because of {}", because.join(", ")),
        Event::Ended { ending: Ending::Risk } => "event ended: too risky for anybody to take".into(),
        Event::Performed { action, held: true, .. } => format!("event performed: {action} only looks done, and is held"),
        _ => return None,
    })
}

/// What a refusal is called in a report.
pub fn refusal(action: &str, decision: &Decision) -> Option<String> {
    let how = match decision.outcome {
        Outcome::Permit => return None,
        Outcome::StepUp { to } => format!("{action} needs {to}"),
        Outcome::Refuse { way_out: WayOut::Online } => format!("{action} is done online only"),
        Outcome::Refuse { way_out: WayOut::Specialist } => format!("{action} is for specialists"),
        Outcome::Refuse { way_out: WayOut::Held } => format!("{action} is held"),
        Outcome::Refuse { way_out: WayOut::None } => format!("{action} is refused"),
    };
    let by = decision.policies.join(", ");
    Some(if by.is_empty() { format!("no policy permits it: {how}") } else { format!("policy {by}: {how}") })
}
