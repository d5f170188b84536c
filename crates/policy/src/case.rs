//! One question to policy, in the words of the reviewed tables in `policies/cases`: what the lint,
//! the proofs and the tables say of a caller is the same line, and can be asked again.

use std::fmt::Write;

use countersign_core::{
    action::{Action, Actor, Decision, DelegateFacts, Facts, Level, Outcome, Policy, Request, WayOut},
    claim::ClaimKind,
    factor::FactorKind,
    id::AgentId,
    voice::Likeness,
};

use crate::{Engine, eval::Who};

/// Who asks for what, in which situation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Who acts.
    pub who: Who,
    /// What for.
    pub action: Action,
    /// In which situation.
    pub facts: Facts,
}

/// An ordinary caller whose account is open, with proofs that fit the level: a texted code for
/// authenticated, an app code and a PIN for strong.
pub fn ordinary(level: Level) -> Facts {
    let proofs = match level {
        Level::Anonymous | Level::Identified => vec![],
        Level::Authenticated => vec![FactorKind::SmsCode],
        Level::Strong => vec![FactorKind::Totp, FactorKind::Pin],
    };
    Facts {
        level, opened: true, claims: vec![], proofs, risk: 0, frozen: false, phone_lock: false, duress: false, delegate: None,
        stronger_set_up: false, with_reason: false, voice: Likeness::NotCompared,
    }
}

/// The facts that a line means. The error says which word is not understood, and what is.
pub fn facts_of(level: &str, words: &str) -> Result<Facts, String> {
    let level = Level::ALL.into_iter().find(|l| l.name() == level)
        .ok_or_else(|| format!("`{level}` is no level: write anonymous, identified, authenticated or strong"))?;
    let mut facts = ordinary(level);
    let delegate = |kind: &str, covers| Some(DelegateFacts { kind: if kind.is_empty() { "guardian".into() } else { kind.into() }, covers });
    for word in words.split_whitespace() {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "closed" => facts.opened = false,
            "claims" if value == "all" => facts.claims = ClaimKind::ALL.to_vec(),
            "claims" => facts.claims = listed(value, ClaimKind::parse, "claim")?,
            "proofs" => facts.proofs = listed(value, FactorKind::parse, "factor")?,
            "risk" => facts.risk = value.parse().map_err(|_| format!("`{value}` is no risk score: write 0 to 100"))?,
            "frozen" => facts.frozen = true,
            "phone-lock" => facts.phone_lock = true,
            "duress" => facts.duress = true,
            "delegate" => facts.delegate = delegate(value, false),
            "delegate-covered" => facts.delegate = delegate(value, true),
            "stronger-set-up" => facts.stronger_set_up = true,
            "with-reason" => facts.with_reason = true,
            "voice" => facts.voice = Likeness::parse(value).ok_or_else(|| format!("`{value}` is nothing that a voice can be: write voice=alike, voice=not_alike or voice=not_compared"))?,
            _ => {
                return Err(format!(
                    "`{word}` is no fact: known are closed, claims=, proofs=, risk=, frozen, phone-lock, duress, delegate, delegate-covered, stronger-set-up, with-reason, voice="
                ));
            }
        }
    }
    Ok(facts)
}

fn listed<T>(value: &str, parse: impl Fn(&str) -> Option<T>, what: &str) -> Result<Vec<T>, String> {
    value.split('+').filter(|name| !name.is_empty()).map(|name| parse(name).ok_or_else(|| format!("`{name}` is no kind of {what}"))).collect()
}

/// The level and the words that mean these facts: what is not ordinary for the level.
pub fn words_of(facts: &Facts) -> (Level, String) {
    let plain = ordinary(facts.level);
    let mut words: Vec<String> = Vec::new();
    let mut flag = |on: bool, word: &str| if on { words.push(word.to_owned()) };
    flag(!facts.opened, "closed");
    flag(facts.frozen, "frozen");
    flag(facts.phone_lock, "phone-lock");
    flag(facts.duress, "duress");
    flag(facts.stronger_set_up, "stronger-set-up");
    flag(facts.with_reason, "with-reason");
    if let Some(delegate) = &facts.delegate {
        let name = if delegate.covers { "delegate-covered" } else { "delegate" };
        words.push(if delegate.kind == "guardian" { name.to_owned() } else { format!("{name}={}", delegate.kind) });
    }
    if facts.risk != 0 {
        words.push(format!("risk={}", facts.risk));
    }
    if facts.voice != plain.voice {
        words.push(format!("voice={}", facts.voice.name()));
    }
    if facts.proofs != plain.proofs {
        words.push(format!("proofs={}", facts.proofs.iter().map(|k| k.name()).collect::<Vec<_>>().join("+")));
    }
    if !facts.claims.is_empty() {
        let all = ClaimKind::ALL.iter().all(|kind| facts.claims.contains(kind));
        words.push(if all { "claims=all".to_owned() } else { format!("claims={}", facts.claims.iter().map(|k| k.name()).collect::<Vec<_>>().join("+")) });
    }
    (facts.level, words.join(" "))
}

/// An outcome in a table.
pub fn outcome_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Permit => "permit".into(),
        Outcome::StepUp { to } => format!("step up to {to}"),
        Outcome::Refuse { way_out: WayOut::None } => "refuse".into(),
        Outcome::Refuse { way_out: WayOut::Online } => "refuse, online".into(),
        Outcome::Refuse { way_out: WayOut::Specialist } => "refuse, specialist".into(),
        Outcome::Refuse { way_out: WayOut::Held } => "refuse, held".into(),
    }
}

impl Question {
    /// Asks it.
    pub fn ask(&self, engine: &Engine) -> Decision {
        engine.decide(&Request { actor: self.who.actor(), action: &self.action, facts: &self.facts })
    }

    /// The same as Cedar is asked, for whoever evaluates policies that are not the engine's own.
    /// `None`: the engine does not know the action.
    pub fn request(&self, engine: &Engine) -> Option<(cedar_policy::Request, cedar_policy::Entities)> { engine.request(self.who, &self.action, &self.facts) }

    /// The line of a table, with the answer that these policies give.
    pub fn line(&self, decision: &Decision) -> String {
        let (level, words) = words_of(&self.facts);
        format!("{} | {} | {level} | {words} | {} | {}", self.action, self.who.name(), outcome_words(&decision.outcome), decision.policies.join(" "))
    }

    /// What is asked, as a person says it: "a specialist, for a caller who proved nothing, …".
    pub fn sentence(&self) -> String {
        let facts = &self.facts;
        let who = match self.who {
            Who::SelfService => "the machine alone",
            Who::Desk(role) => match role.name() {
                "agent" => "an agent",
                "specialist" => "a specialist",
                "lead" => "a lead",
                _ => "an administrator",
            },
        };
        let mut out = format!("{who}, for a caller at level {}", facts.level);
        let proved: Vec<&str> = facts.proofs.iter().map(|k| k.name()).collect();
        match proved.as_slice() {
            [] => out.push_str(" who proved nothing"),
            some => {
            let _ = write!(out, " who proved {}", some.join(" and "));
        }
        }
        let mut also: Vec<String> = Vec::new();
        if !facts.claims.is_empty() {
            also.push(format!("{} fit the account", facts.claims.iter().map(|k| k.name().replace('_', " ")).collect::<Vec<_>>().join(", ")));
        }
        let mut flag = |on: bool, text: &str| if on { also.push(text.to_owned()) };
        flag(!facts.opened, "the account is not open");
        flag(facts.frozen, "the account is frozen");
        flag(facts.phone_lock, "the customer locked the phone");
        flag(facts.duress, "the duress word was given");
        flag(facts.stronger_set_up, "something stronger is set up");
        flag(facts.with_reason, "a reason was written down");
        flag(facts.voice == Likeness::Alike, "the voice is alike");
        flag(facts.voice == Likeness::NotAlike, "the voice is not alike");
        if let Some(delegate) = &facts.delegate {
            let covers = if delegate.covers { "covers this" } else { "does not cover this" };
            also.push(format!("the caller speaks for the customer as {}, and that {covers}", delegate.kind.replace('_', " ")));
        }
        if facts.risk > 0 {
            also.push(format!("the risk is {}", facts.risk));
        }
        if !also.is_empty() {
            let _ = write!(out, ", while {}", also.join(", "));
        }
        out
    }
}

impl Who {
    /// The same as the engine is asked: which agent it is makes no difference to policy.
    pub fn actor(self) -> Actor {
        match self {
            Self::SelfService => Actor::SelfService,
            Self::Desk(role) => Actor::Agent { id: AgentId([0; 16]), role },
        }
    }
}

/// A line of a table that does not get the answer that stands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    /// Which line, from 1.
    pub line: usize,
    /// What stands there, or why it cannot be asked.
    pub text: String,
    /// What the policies say; empty if it cannot be asked.
    pub right: String,
}

/// Asks every line of a table: how many were asked, and those that have another answer.
pub fn replay(engine: &Engine, table: &str) -> (usize, Vec<Miss>) {
    let (mut asked, mut misses) = (0, Vec::new());
    for (number, line) in table.lines().enumerate() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [action, who, level, facts, outcome, policies] = cells.as_slice() else { continue };
        if *action == "action" || line.trim_start().starts_with('#') {
            continue;
        }
        asked += 1;
        match answers(engine, action, who, level, facts) {
            Err(why) => misses.push(Miss { line: number + 1, text: format!("{line}  ({why})"), right: String::new() }),
            Ok(answers) => match answers.as_slice() {
                [(right, by)] if right == outcome && by == policies => {}
                several => {
                    let right = several.iter().map(|(right, by)| format!("{right} | {by}")).collect::<Vec<_>>().join("  or  ");
                    misses.push(Miss { line: number + 1, text: line.to_owned(), right });
                }
            },
        }
    }
    (asked, misses)
}

/// The different answers for everybody and everything that a line names: one, if the line is right.
pub fn answers(engine: &Engine, action: &str, who: &str, level: &str, facts: &str) -> Result<Vec<(String, String)>, String> {
    let facts = facts_of(level, facts)?;
    let people = people(who)?;
    let fits = |name: &str| action.strip_suffix('*').map_or_else(|| name == action, |verb| name.starts_with(verb));
    let mut out: Vec<(String, String)> = Vec::new();
    for action in engine.actions().filter(|a| fits(&a.to_string())) {
        for who in &people {
            let question = Question { who: *who, action: action.clone(), facts: facts.clone() };
            let decision = question.ask(engine);
            let answer = (outcome_words(&decision.outcome), decision.policies.join(" "));
            if !out.contains(&answer) {
                out.push(answer);
            }
        }
    }
    if out.is_empty() { Err(format!("there is no action `{action}`")) } else { Ok(out) }
}

fn people(who: &str) -> Result<Vec<Who>, String> {
    let named = |names: &[&str]| Who::ALL.into_iter().filter(|w| names.contains(&w.name())).collect::<Vec<_>>();
    let found = match who {
        "desk" => named(&["agent", "specialist", "lead"]),
        "all" => named(&["self-service", "agent", "specialist", "lead"]),
        one => named(&[one]),
    };
    if found.is_empty() { Err(format!("`{who}` is nobody: write self-service, agent, specialist, lead, admin, desk or all")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_facts_are_two_spellings() {
        for (level, words) in [
            ("anonymous", ""), ("identified", "closed claims=all"), ("identified", "claims=number+email"), ("authenticated", "proofs=pin risk=60"),
            ("strong", "frozen phone-lock duress"), ("strong", "delegate-covered=assistant stronger-set-up"), ("authenticated", "with-reason delegate proofs="), ("strong", "voice=not_alike"), ("identified", "voice=alike"),
        ] {
            let facts = facts_of(level, words).unwrap();
            let (level, words) = words_of(&facts);
            assert_eq!(facts_of(level.name(), &words).unwrap(), facts, "{level} {words}");
        }
        assert!(facts_of("sure", "").unwrap_err().contains("`sure` is no level"));
        assert!(facts_of("strong", "proofs=ssn").unwrap_err().contains("`ssn` is no kind of factor"));
        assert!(facts_of("strong", "voice=nice").unwrap_err().contains("`nice` is nothing"));
        assert!(facts_of("strong", "rich").unwrap_err().contains("`rich` is no fact"));
    }

    #[test]
    fn a_line_that_is_wrong_is_told_with_its_answer() {
        let engine = Engine::shipped();
        let table = "action | who | caller | facts | outcome | policies\n# a remark | that | has | as | many | cells\n\
            change:phone | agent | identified | | permit | change_when_strong\nchange:phone | agent | strong | | permit | change_when_strong\n\
            eat:cake | agent | strong | | permit |\nchange:phone | everybody | strong | | permit |\n";
        let (asked, misses) = replay(&engine, table);
        assert_eq!((asked, misses.len()), (4, 3));
        assert_eq!((misses[0].line, misses[0].right.as_str()), (3, "step up to strong | change_when_strong"));
        assert!(misses[1].text.contains("there is no action `eat:cake`"));
        assert!(misses[2].text.contains("`everybody` is nobody"));
    }
}
