//! A note, question by question.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, Write},
};

use countersign_survey::{Change, Choice, Date, Factor, Identifier, Item, Note, Reached, Standing, Way, tidy};

use super::{offer, pair, word};
use crate::{
    Failure,
    term::{BAD, DIM, STRONG},
};

/// Asks for everything. Enter takes what stands in brackets; a wrong answer is asked for again.
pub fn note(input: &mut impl BufRead, out: &mut impl Write, today: Date) -> Result<Note, Failure> {
    let mut talk = Talk { input, out };
    writeln!(talk.out, "{DIM}Enter takes what stands in brackets. Several answers are separated by commas. Write nothing about the customer.{DIM:#}")?;
    loop {
        let note = talk.note(today)?;
        let faults = note.faults();
        if faults.is_empty() {
            return Ok(note);
        }
        for fault in faults {
            writeln!(talk.out, "{BAD}{fault}{BAD:#}")?;
        }
        writeln!(talk.out, "Once more, please.")?;
    }
}

struct Talk<'a, I, O> {
    input: &'a mut I,
    out: &'a mut O,
}

impl<I: BufRead, O: Write> Talk<'_, I, O> {
    fn note(&mut self, today: Date) -> Result<Note, Failure> {
        let center = self.ask("Center", "", |t| if t.is_empty() { Err("write its name, or a label that stands for it".into()) } else { Ok(t.to_owned()) })?;
        let industry = self.ask("Industry", "", |t| Ok(t.to_owned()))?;
        let date = self.ask("Date", &today.to_string(), |t| Date::parse(t).map_err(|e| e.to_string()))?;
        let reached = self.ask(&format!("Reached ({})", offer::<Reached>()), Reached::Inbound.name(), word::<Reached>)?;
        let note = Note { industry: tidy(&industry), reached, ..Note::new(&center, date) };
        if reached == Reached::NoPhone {
            return Ok(Note { remarks: self.remarks()?, ..note });
        }
        Ok(Note {
            identified_by: self.many::<Way>("Identified how")?,
            identifiers: self.many::<Identifier>("Asked for, to identify")?,
            factors: self.many::<Factor>("Asked for, to prove")?,
            given: self.pairs::<Item>("Told to the caller")?,
            asked_number: self.yes("Asked to which number to send the code")?,
            offered: self.yes("Offered what the call is probably about")?,
            changed: self.pairs::<Change>("Could be changed")?,
            remarks: self.remarks()?,
            ..note
        })
    }

    fn ask<T>(&mut self, question: &str, default: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Failure> {
        loop {
            let shown = if default.is_empty() { "nothing" } else { default };
            write!(self.out, "{STRONG}{question}{STRONG:#} [{shown}]: ")?;
            self.out.flush()?;
            let mut line = String::new();
            if self.input.read_line(&mut line)? == 0 {
                return Err("the input ended before the note was whole: nothing was written".into());
            }
            let text = line.trim();
            match parse(if text.is_empty() { default } else { text }) {
                Ok(answer) => return Ok(answer),
                Err(why) => writeln!(self.out, "  {BAD}{why}{BAD:#}")?,
            }
        }
    }

    fn remarks(&mut self) -> Result<String, Failure> { self.ask("Remarks", "", |t| Ok(tidy(t))) }

    fn yes(&mut self, question: &str) -> Result<bool, Failure> {
        self.ask(&format!("{question} (yes, no)"), "no", |t| match t {
            "yes" | "y" => Ok(true),
            "no" | "n" => Ok(false),
            _ => Err("write yes or no".into()),
        })
    }

    fn many<T: Choice>(&mut self, question: &str) -> Result<BTreeSet<T>, Failure> {
        self.ask(&format!("{question} ({})", offer::<T>()), "", |t| parts(t).map(word::<T>).collect())
    }

    fn pairs<T: Choice>(&mut self, question: &str) -> Result<BTreeMap<T, Standing>, Failure> {
        let question = format!("{question} ({}; each with :anyone, :identified or :authenticated)", offer::<T>());
        self.ask(&question, "", |t| parts(t).map(pair::<T>).collect())
    }
}

fn parts(text: &str) -> impl Iterator<Item = &str> { text.split([',', ';']).map(str::trim).filter(|p| !p.is_empty()) }
