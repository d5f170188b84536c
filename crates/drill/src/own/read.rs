//! Reading such a file. Every mistake is told with its line, and says what to write instead.

use std::fmt;

use countersign_core::{
    action::{Action, Field, Level, Role, Verb},
    claim::ClaimKind,
    factor::FactorKind,
    secret::E164,
    time::Span,
};
use serde::Deserialize;
use toml::Spanned;

use super::{Expected, Known, Line, Move, Never, OwnDrill, Said};
use crate::{attacks, people::Who};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    drill: Vec<Spanned<Written>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Spanned<String>,
    story: String,
    attacks: Spanned<String>,
    line: Spanned<String>,
    #[serde(default)]
    knows: Vec<Spanned<String>>,
    steps: Vec<Spanned<String>>,
    must_not: Vec<Spanned<String>>,
}

/// Something that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// In which line, from 1.
    pub line: usize,
    /// What is wrong, and what to write.
    pub text: String,
}

/// Everything that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes {
    /// The file's name.
    pub file: String,
    /// In the order of the lines.
    pub all: Vec<Mistake>,
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, mistake) in self.all.iter().enumerate() {
            let end = if n + 1 < self.all.len() { "\n" } else { "" };
            write!(f, "{}:{}: {}{end}", self.file, mistake.line, mistake.text)?;
        }
        Ok(())
    }
}

const LINES: &str = "own (the victim’s telephone), spoofed (shows their number), withheld, or a number such as +12025550199";
const KNOWN: &str = "number, account_number, email, name, date_of_birth, postal_code, order_number, address, details (all of these), pin, duress_pin, verbal_password, app, texts or portal";
const MOVES: &str = "call, hang up, key, type code, agent, specialist, lead, claim, compare, look, ask, prove, say, perform, approve, wait or expect";

/// Reads the text of a file; `file` is its name in messages.
pub fn read(file: &str, text: &str) -> Result<Vec<OwnDrill>, Mistakes> {
    let line = |at: usize| text.get(..at).unwrap_or(text).matches('\n').count() + 1;
    let whole: File = toml::from_str(text).map_err(|e| {
        let line = e.span().map_or(1, |span| line(span.start));
        Mistakes { file: file.into(), all: vec![Mistake { line, text: e.message().trim().replace('\n', " ") }] }
    })?;
    let mut reader = Reader { line: &line, mistakes: Vec::new() };
    let drills: Vec<OwnDrill> = whole.drill.into_iter().filter_map(|d| reader.drill(d)).collect();
    if drills.is_empty() && reader.mistakes.is_empty() {
        reader.mistakes.push(Mistake { line: 1, text: "there is no drill here: begin one with [[drill]]".into() });
    }
    for (n, drill) in drills.iter().enumerate() {
        if drills.iter().take(n).any(|d| d.name == drill.name) {
            let at = drill.moves.first().map_or(1, |(line, _)| *line);
            reader.mistakes.push(Mistake { line: at, text: format!("there are two drills named {}: give one of them another name", drill.name) });
        }
    }
    if reader.mistakes.is_empty() {
        return Ok(drills);
    }
    reader.mistakes.sort_by_key(|m| m.line);
    Err(Mistakes { file: file.into(), all: reader.mistakes })
}

struct Reader<'a> {
    line: &'a dyn Fn(usize) -> usize,
    mistakes: Vec<Mistake>,
}

type Read<T> = Result<T, String>;

impl Reader<'_> {
    /// What came of reading one value; a mistake is noted with its line.
    fn at<T>(&mut self, value: &Spanned<String>, read: impl FnOnce(&str) -> Read<T>) -> Option<T> {
        match read(value.get_ref().trim()) {
            Ok(value) => Some(value),
            Err(text) => {
                self.mistakes.push(Mistake { line: (self.line)(value.span().start), text });
                None
            }
        }
    }

    fn drill(&mut self, written: Spanned<Written>) -> Option<OwnDrill> {
        let w = written.into_inner();
        let name = self.at(&w.name, name);
        let victim = self.at(&w.attacks, |id| {
            let all = Who::ALL.map(Who::id).join(", ");
            Who::parse(id).ok_or_else(|| format!("nobody in the cast is called {id:?}: write {all}"))
        });
        let line = self.at(&w.line, |text| line_of(text, victim));
        let mut knows = Vec::new();
        for known in &w.knows {
            knows.extend(self.at(known, known_of).into_iter().flatten());
        }
        let mut moves = Vec::new();
        let mut asked = false;
        for step in &w.steps {
            let at = (self.line)(step.span().start);
            let read = self.at(step, |text| move_of(text, &knows, asked));
            // Also if that step is a mistake of its own: what follows is then none.
            asked |= ["ask", "perform", "look"].iter().any(|verb| step.get_ref().trim_start().starts_with(verb));
            if let Some(step) = read {
                moves.push((at, step));
            }
        }
        if let Some(first) = w.steps.first()
            && !moves.iter().any(|(_, step)| *step == Move::Call)
        {
            self.at::<()>(first, |_| Err("nobody calls in this drill: begin the steps with \"call\"".into()));
        }
        let mut must_not = Vec::new();
        for never in &w.must_not {
            must_not.extend(self.at(never, never_of));
        }
        if w.must_not.is_empty() {
            self.at::<()>(&w.name, |_| Err("must_not is empty, so nothing could get through: write for example must_not = [\"level:strong\"]".into()));
        }
        Some(OwnDrill { name: name?, story: w.story, victim: victim?, line: line?, knows, moves, must_not })
    }
}

fn name(text: &str) -> Read<String> {
    let shape = (1..=60).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !shape {
        return Err(format!("{text:?} is no name: write lower-case letters, digits and underscores, at most 60"));
    }
    if attacks::named(text).is_some() {
        return Err(format!("{text} is the name of a shipped drill: choose another one"));
    }
    Ok(text.into())
}

fn line_of(text: &str, victim: Option<Who>) -> Read<Line> {
    let line = match text {
        "own" => Line::Own,
        "spoofed" => Line::Spoofed,
        "withheld" => Line::Withheld,
        number => Line::Number(E164::parse(number).map_err(|_| format!("{text:?} is no line: write {LINES}"))?.expose().to_owned()),
    };
    match victim {
        Some(who) if who.line().is_none() && matches!(line, Line::Own | Line::Spoofed) => Err(format!("{} has no telephone: write withheld or a number", who.id())),
        _ => Ok(line),
    }
}

fn known_of(text: &str) -> Read<Vec<Known>> {
    if text == "details" {
        return Ok(ClaimKind::ALL.into_iter().map(Known::Claim).chain([Known::Address]).collect());
    }
    one_known(text).map(|known| vec![known]).ok_or_else(|| format!("{text:?} is nothing that can be known: write {KNOWN}"))
}

fn one_known(text: &str) -> Option<Known> {
    Some(match text {
        "address" => Known::Address,
        "pin" => Known::Pin,
        "duress_pin" => Known::DuressPin,
        "verbal_password" => Known::VerbalPassword,
        "app" => Known::App,
        "texts" => Known::Texts,
        "portal" => Known::Portal,
        other => Known::Claim(ClaimKind::parse(other)?),
    })
}

fn move_of(text: &str, knows: &[Known], asked: bool) -> Read<Move> {
    let (verb, rest) = text.split_once(' ').map_or((text, ""), |(verb, rest)| (verb, rest.trim()));
    let bare = |step: Move| if rest.is_empty() { Ok(step) } else { Err(format!("{verb:?} stands alone: take {rest:?} away")) };
    match verb {
        "call" => bare(Move::Call),
        "hang" if rest == "up" => Ok(Move::HangUp),
        "agent" => bare(Move::Take(Role::Agent)),
        "specialist" => bare(Move::Take(Role::Specialist)),
        "lead" => bare(Move::Take(Role::Lead)),
        "approve" => {
            has(knows, Known::Portal, "portal")?;
            bare(Move::Approve)
        }
        "type" if rest == "code" => {
            has(knows, Known::Texts, "texts")?;
            Ok(Move::TypeCode)
        }
        "key" => key(rest, knows),
        "claim" => {
            let (what, value) = halves(rest);
            let kind = ClaimKind::parse(what).ok_or_else(|| format!("{what:?} is no claim: write number, account_number, email, name, date_of_birth, postal_code or order_number"))?;
            Ok(Move::Claim(kind, said(value, Known::Claim(kind), what, knows)?))
        }
        "compare" => {
            let (what, value) = halves(rest);
            let (field, known) = compared(what).ok_or_else(|| format!("{what:?} cannot be compared: write number, email, name, address, postal_code, date_of_birth, account_number or order_number"))?;
            Ok(Move::Compare(field, said(value, known, what, knows)?))
        }
        "look" => Ok(Move::Look(field(rest)?)),
        "ask" => Ok(Move::Ask(action(rest)?)),
        "prove" => prove(rest),
        "say" if rest == "verbal_password" => {
            has(knows, Known::VerbalPassword, "verbal_password")?;
            Ok(Move::Say(Said::Known(Known::VerbalPassword)))
        }
        "say" if !rest.is_empty() => Ok(Move::Say(Said::Text(rest.into()))),
        "perform" => perform(rest),
        "wait" => Ok(Move::Wait(span(rest)?)),
        "expect" => expect(rest, asked).map(Move::Expect),
        _ => Err(format!("{text:?} is no step: begin with {MOVES}")),
    }
}

/// What stands before and behind an equals sign.
fn halves(text: &str) -> (&str, Option<&str>) { text.split_once('=').map_or((text.trim(), None), |(what, value)| (what.trim(), Some(value.trim()))) }

fn has(knows: &[Known], known: Known, name: &str) -> Read<()> {
    if knows.contains(&known) { Ok(()) } else { Err(format!("the caller does not have {name:?}: add it to knows, or write a value that they make up")) }
}

fn said(value: Option<&str>, known: Known, name: &str, knows: &[Known]) -> Read<Said> {
    match value {
        Some("") => Err(format!("behind {name} = there has to be a value")),
        Some(text) => Ok(Said::Text(text.into())),
        None => has(knows, known, name).map(|()| Said::Known(known)),
    }
}

fn key(rest: &str, knows: &[Known]) -> Read<Move> {
    if !rest.is_empty() && rest.len() <= 32 && rest.bytes().all(|b| b.is_ascii_digit() || b == b'*' || b == b'#') {
        return Ok(Move::Key(Said::Text(rest.trim_end_matches('#').into())));
    }
    let known = one_known(rest).filter(|k| matches!(k, Known::Pin | Known::DuressPin | Known::App | Known::Claim(ClaimKind::AccountNumber | ClaimKind::PostalCode)));
    let known = known.ok_or_else(|| format!("{rest:?} cannot be keyed: write digits, * or one of pin, duress_pin, app, account_number, postal_code"))?;
    has(knows, known, rest).map(|()| Move::Key(Said::Known(known)))
}

fn compared(what: &str) -> Option<(&'static str, Known)> {
    if what == "address" {
        return Some(("address", Known::Address));
    }
    ClaimKind::parse(what).map(|kind| (kind.name(), Known::Claim(kind)))
}

fn field(text: &str) -> Read<Field> {
    Field::parse(text).ok_or_else(|| format!("{text:?} is no field: write one of {}", Field::ALL.map(Field::name).join(", ")))
}

fn action(text: &str) -> Read<Action> {
    let parsed: Option<Action> = text.parse().ok();
    parsed.filter(|a| matches!(a.verb, Verb::Change | Verb::Do))
        .ok_or_else(|| format!("{text:?} is nothing that can be done: write an action such as change:phone or do:cancel_order"))
}

fn prove(rest: &str) -> Read<Move> {
    let (factors, what) = rest.split_once(" for ").map_or((rest, None), |(factors, what)| (factors, Some(what)));
    let all = FactorKind::ALL.map(FactorKind::name).join(", ");
    let parse = |name: &str| FactorKind::parse(name.trim()).ok_or_else(|| format!("{:?} is no factor: write one of {all}", name.trim()));
    let factors = factors.split(',').map(parse).collect::<Read<Vec<_>>>()?;
    Ok(Move::Prove(factors, what.map(|text| action(text.trim())).transpose()?))
}

fn perform(rest: &str) -> Read<Move> {
    let (what, value) = halves(rest);
    let action = action(what)?;
    let needs = ["change:phone", "change:email", "change:address", "change:factors"].contains(&what);
    match value {
        None | Some("") if needs => Err(format!("{what} needs a value: write perform {what} = …")),
        value => Ok(Move::Perform(action, value.unwrap_or_default().into())),
    }
}

fn span(text: &str) -> Read<Span> {
    let wrong = || format!("{text:?} is no time: write for example 15 minutes, 2 hours or 3 days");
    let (n, unit) = text.split_once(' ').ok_or_else(wrong)?;
    let n: i64 = n.parse().ok().filter(|n| (1..=10_000).contains(n)).ok_or_else(wrong)?;
    match unit.trim().trim_end_matches('s') {
        "second" => Ok(Span::seconds(n)),
        "minute" => Ok(Span::minutes(n)),
        "hour" => Ok(Span::hours(n)),
        "day" => Ok(Span::days(n)),
        _ => Err(wrong()),
    }
}

fn expect(rest: &str, asked: bool) -> Read<Expected> {
    let wrong = || format!("{rest:?} cannot be expected: write refused, permitted, level <= identified or level >= authenticated");
    if let "refused" | "permitted" = rest {
        if !asked {
            return Err("nothing was asked for yet: write ask, perform or look before this".into());
        }
        return Ok(if rest == "refused" { Expected::Refused } else { Expected::Permitted });
    }
    let sides = rest.strip_prefix("level").map(str::trim).ok_or_else(wrong)?;
    let at_most = sides.strip_prefix("<=").or_else(|| sides.strip_prefix('≤'));
    let at_least = sides.strip_prefix(">=").or_else(|| sides.strip_prefix('≥'));
    match (at_most, at_least) {
        (Some(text), _) => level(text.trim()).map(Expected::AtMost),
        (None, Some(text)) => level(text.trim()).map(Expected::AtLeast),
        (None, None) => Err(wrong()),
    }
}

fn level(text: &str) -> Read<Level> {
    Level::ALL.into_iter().find(|l| l.name() == text).ok_or_else(|| format!("{text:?} is no level: write anonymous, identified, authenticated or strong"))
}

fn never_of(text: &str) -> Read<Never> {
    if let Some(rest) = text.strip_prefix("level:") {
        return match level(rest)? {
            Level::Anonymous => Err("every call is anonymous at first: write level:identified, level:authenticated or level:strong".into()),
            level => Ok(Never::Reached(level)),
        };
    }
    match text.strip_prefix("shows:") {
        Some("upcoming") => Err("upcoming says nothing about who or where, so it cannot be looked for: write another field".into()),
        Some(rest) => field(rest).map(Never::Shown),
        None => action(text).map(Never::Done).map_err(|_| format!("{text:?} is nothing that must not happen: write an action (change:phone), level:strong or shows:address")),
    }
}
