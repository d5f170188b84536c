//! `survey`: field notes in a CSV file. No server, no configuration, no network.

mod ask;
mod book;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{IsTerminal as _, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use countersign_server::clock::system_clock;
use countersign_survey::{Change, Choice, Date, Factor, Grade, Identifier, Item, Note, Reached, Standing, Tally, Verdict, Way, chart, csv, grade, tidy};

pub use self::book::write_whole;
use self::book::Book;
use crate::{
    Failure,
    term::{BAD, DIM, GOOD, STRONG, WARN, good},
};

/// What is done with notes.
#[derive(Args)]
pub struct Survey {
    #[command(subcommand)]
    command: Command,
    /// The file with the notes
    #[arg(long, global = true, default_value = "field-notes.csv")]
    file: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Record a call; asks for everything when no flag is given
    Add(Box<Add>),
    /// All notes with their verdicts
    List,
    /// One note with the reasons for its verdict
    Show {
        /// Its number in the list
        number: usize,
    },
    /// Verdicts and reasons of another file
    Grade {
        /// The file, see docs/field-kit.md
        csv: PathBuf,
    },
    /// Add the notes of another file that are not there yet
    Import {
        /// The file, see docs/field-kit.md
        csv: PathBuf,
    },
    /// All notes on standard output
    Export,
    /// Draw the two charts as SVG
    Charts {
        /// The folder for methods.svg and verdicts.svg; made if need be
        #[arg(long)]
        out: PathBuf,
        /// What the charts say the calls are
        #[arg(long, default_value = "field notes")]
        title: String,
    },
}

/// The flags of `add`. docs/field-kit.md says what each word means.
#[derive(Args, Default)]
struct Add {
    /// The center's name, or a label that stands for it
    #[arg(long)]
    center: Option<String>,
    /// What business it is in
    #[arg(long)]
    industry: Option<String>,
    /// When, as YYYY-MM-DD [default: today, UTC]
    #[arg(long, value_parser = |s: &str| Date::parse(s).map_err(|e| e.to_string()))]
    date: Option<Date>,
    /// How the call came about: inbound, call_me, no_phone [default: inbound]
    #[arg(long, value_parser = word::<Reached>)]
    reached: Option<Reached>,
    /// How the account was found: number, ivr, agent
    #[arg(long, value_delimiter = ',', value_parser = word::<Way>)]
    identified_by: Vec<Way>,
    /// What was asked for that identifies: phone, email, address, name, account, serial, birth, ssn, maiden, order, other
    #[arg(long, value_delimiter = ',', value_parser = word::<Identifier>)]
    identifiers: Vec<Identifier>,
    /// What was asked for that proves: pin, password, verbal_password, sms_code, voice_code, service_code, authenticator_app, app_approval, call_back, passkey, voice_biometrics, backup_code, other
    #[arg(long, value_delimiter = ',', value_parser = word::<Factor>)]
    proofs: Vec<Factor>,
    /// What was told and when, such as address:identified; what: name, address, email, phone, username, account, order, other; when: anyone, identified, authenticated
    #[arg(long, value_delimiter = ',', value_parser = pair::<Item>)]
    given: Vec<(Item, Standing)>,
    /// They asked to which number to send the code
    #[arg(long)]
    asked_number: bool,
    /// They offered what the call was probably about
    #[arg(long)]
    offered: bool,
    /// What could be changed and when, such as password:anyone; what: address, phone, email, password, order, other
    #[arg(long, value_delimiter = ',', value_parser = pair::<Change>)]
    changed: Vec<(Change, Standing)>,
    /// Anything else; nothing about the customer
    #[arg(long)]
    remarks: Option<String>,
}

impl Add {
    fn is_empty(&self) -> bool {
        let Self { center, industry, date, reached, identified_by, identifiers, proofs, given, asked_number, offered, changed, remarks } = self;
        center.is_none() && industry.is_none() && date.is_none() && reached.is_none() && identified_by.is_empty() && identifiers.is_empty()
            && proofs.is_empty() && given.is_empty() && !asked_number && !offered && changed.is_empty() && remarks.is_none()
    }

    fn note(self, today: Date) -> Result<Note, Failure> {
        let center = self.center.ok_or("--center is missing: write the center's name, or a label that stands for it")?;
        let mut note = Note::new(&center, self.date.unwrap_or(today));
        note.industry = tidy(&self.industry.unwrap_or_default());
        note.reached = self.reached.unwrap_or(Reached::Inbound);
        note.identified_by = self.identified_by.into_iter().collect();
        note.identifiers = self.identifiers.into_iter().collect();
        note.factors = self.proofs.into_iter().collect();
        self.given.into_iter().for_each(|(item, standing)| note.give(item, standing));
        self.changed.into_iter().for_each(|(what, standing)| note.change(what, standing));
        (note.asked_number, note.offered) = (self.asked_number, self.offered);
        note.remarks = tidy(&self.remarks.unwrap_or_default());
        Ok(note)
    }
}

fn word<T: Choice>(name: &str) -> Result<T, String> { T::parse(name.trim()).ok_or_else(|| format!("write one of {}", offer::<T>())) }

fn pair<T: Choice>(text: &str) -> Result<(T, Standing), String> {
    let (what, standing) = text.split_once(':').ok_or_else(|| format!("write one of {}, a colon, and one of {}", offer::<T>(), offer::<Standing>()))?;
    Ok((word(what)?, word(standing)?))
}

fn offer<T: Choice>() -> String { T::all().iter().map(|w| w.name()).collect::<Vec<_>>().join(", ") }

/// `survey`.
pub fn run(survey: Survey) -> Result<ExitCode, Failure> {
    let Survey { command, file } = survey;
    let mut out = anstream::stdout();
    match command {
        Command::Add(add) => {
            let today = today()?;
            let note = if !add.is_empty() {
                add.note(today)?
            } else if std::io::stdin().is_terminal() {
                ask::note(&mut std::io::stdin().lock(), &mut out, today)?
            } else {
                return Err("say with flags what happened (countersign survey add --help lists them), or run it on a terminal".into());
            };
            add_note(&file, &note, &mut out)
        }
        Command::List => {
            let book = Book::open(&file)?;
            list(&book, &mut out)?;
            book.close()
        }
        Command::Show { number } => {
            let book = Book::open(&file)?;
            let notes = book.notes();
            let note = number.checked_sub(1).and_then(|i| notes.get(i)).ok_or_else(|| format!("there is no note {number}: {} has {}", file.display(), notes.len()))?;
            show(note, &mut out)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Grade { csv } => {
            let book = Book::open(&csv)?;
            grades(&book, &mut out)?;
            book.close()
        }
        Command::Import { csv } => import(&file, &csv),
        Command::Export => {
            let book = Book::open(&file)?;
            // As it is, for a file or a program: no colour has a place in it.
            std::io::stdout().write_all(csv::write(book.notes()).as_bytes())?;
            book.close()
        }
        Command::Charts { out: folder, title } => {
            let book = Book::open(&file)?;
            let tally = Tally::of(book.notes());
            std::fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
            for (name, svg) in [("methods.svg", chart::methods(&tally, &title)), ("verdicts.svg", chart::verdicts(&tally, &title))] {
                write_whole(&folder.join(name), &svg)?;
            }
            good(&format!("methods.svg and verdicts.svg are in {}.", folder.display()));
            book.close()
        }
    }
}

fn today() -> Result<Date, Failure> {
    let now = system_clock().to_string();
    Ok(Date::parse(now.get(..10).unwrap_or_default())?)
}

fn add_note(file: &Path, note: &Note, out: &mut impl Write) -> Result<ExitCode, Failure> {
    if let Some(fault) = note.faults().into_iter().next() {
        return Err(format!("{fault}. Nothing was written").into());
    }
    let book = Book::open_or_new(file)?;
    let number = book.notes().len() + 1;
    book.append([note])?;
    let graded = grade(note);
    writeln!(out, "{GOOD}✓{GOOD:#} Note {number} is in {}: {}.", file.display(), painted(&graded, 0))?;
    reasons(&graded, out)?;
    book.close()
}

fn import(file: &Path, from: &Path) -> Result<ExitCode, Failure> {
    let (book, other) = (Book::open_or_new(file)?, Book::open(from)?);
    let mut known: BTreeSet<&Note> = book.notes().into_iter().collect();
    let (mut fresh, mut there) = (Vec::new(), 0);
    for note in other.notes() {
        if known.insert(note) { fresh.push(note) } else { there += 1 }
    }
    if !fresh.is_empty() {
        book.append(fresh.iter().copied())?;
    }
    good(&format!("{} added to {}, {there} were there already.", count(fresh.len()), file.display()));
    book.close()?;
    other.close()
}

fn count(n: usize) -> String { if n == 1 { "1 note".into() } else { format!("{n} notes") } }

/// The verdict in its colour, filled up to `width` characters.
fn painted(graded: &Grade, width: usize) -> String {
    let style = match graded.verdict {
        Some(Verdict::Good) => GOOD,
        Some(Verdict::Okay) => STRONG,
        Some(Verdict::Bad) => WARN,
        Some(Verdict::OhNo) => BAD,
        None => DIM,
    };
    format!("{style}{:width$}{style:#}", graded.words())
}

fn reasons(graded: &Grade, out: &mut impl Write) -> std::io::Result<()> {
    for reason in &graded.reasons {
        let verdict = reason.rule.verdict().map_or("", Choice::words);
        writeln!(out, "  {DIM}{verdict:5}{DIM:#} {} {DIM}[{}]{DIM:#}", reason.text, reason.rule.name())?;
    }
    Ok(())
}

/// At most `most` characters, and blanks up to `width` of them.
fn cell(text: &str, width: usize) -> String {
    let short = if text.chars().count() > width { text.chars().take(width.saturating_sub(1)).chain(['…']).collect() } else { text.to_owned() };
    format!("{short:width$}")
}

/// The widest of these texts, within bounds.
fn widest<'a>(texts: impl Iterator<Item = &'a str>, least: usize) -> usize { texts.map(|t| t.chars().count()).max().unwrap_or(0).clamp(least, 36) }

fn list(book: &Book, out: &mut impl Write) -> std::io::Result<()> {
    let notes = book.notes();
    if notes.is_empty() {
        return writeln!(out, "No notes yet: countersign survey add records one.");
    }
    let (center, industry) = (widest(notes.iter().map(|n| n.center.as_str()), 6), widest(notes.iter().map(|n| n.industry.as_str()), 8));
    writeln!(out, "{STRONG}{:>4}  {:10}  {}  {}  verdict{STRONG:#}", "", "date", cell("center", center), cell("industry", industry))?;
    for (i, note) in notes.iter().enumerate() {
        writeln!(out, "{:>4}  {}  {}  {}  {}", i + 1, note.date, cell(&note.center, center), cell(&note.industry, industry), painted(&grade(note), 0))?;
    }
    let tally = Tally::of(notes);
    writeln!(out, "\n{}", chart::verdicts_in_words(&tally))
}

fn grades(book: &Book, out: &mut impl Write) -> std::io::Result<()> {
    let center = widest(book.notes().iter().map(|n| n.center.as_str()), 6);
    writeln!(out, "{STRONG}{:>5}  {}  {:10}  because{STRONG:#}", "line", cell("center", center), "verdict")?;
    for (line, note) in &book.read.notes {
        let graded = grade(note);
        let mut because: Vec<&str> = graded.deciding().map(|r| r.rule.words()).collect();
        because.dedup();
        writeln!(out, "{line:>5}  {}  {}  {}", cell(&note.center, center), painted(&graded, 10), because.join("; "))?;
    }
    writeln!(out, "\n{}", chart::verdicts_in_words(&Tally::of(book.notes())))
}

fn show(note: &Note, out: &mut impl Write) -> std::io::Result<()> {
    fn all<T: Choice>(words: impl IntoIterator<Item = T>) -> String {
        let words: Vec<&str> = words.into_iter().map(|w| w.words()).collect();
        if words.is_empty() { "nothing".into() } else { words.join(", ") }
    }
    fn when<T: Choice>(words: &BTreeMap<T, Standing>) -> String {
        let words: Vec<String> = words.iter().map(|(w, s)| format!("{} {}", w.words(), s.words())).collect();
        if words.is_empty() { "nothing".into() } else { words.join(", ") }
    }
    let Note { center, industry, date, reached, identified_by, identifiers, factors, given, asked_number, offered, changed, remarks } = note;
    let yes = |yes: &bool| if *yes { "yes" } else { "no" }.to_owned();
    let business = if industry.is_empty() { String::new() } else { format!(" ({industry})") };
    writeln!(out, "{STRONG}{center}{STRONG:#}{business}, {date}")?;
    for (name, text) in [
        ("reached", reached.words().to_owned()), ("identified", all(identified_by.iter().copied())), ("identifiers", all(identifiers.iter().copied())),
        ("proofs", all(factors.iter().copied())), ("told", when(given)), ("asked where to text", yes(asked_number)), ("offered actions", yes(offered)),
        ("could be changed", when(changed)),
    ] {
        writeln!(out, "  {name:19}  {text}")?;
    }
    for (i, line) in remarks.lines().enumerate() {
        writeln!(out, "  {:19}  {line}", if i == 0 { "remarks" } else { "" })?;
    }
    let graded = grade(note);
    writeln!(out, "\n{}", painted(&graded, 0))?;
    reasons(&graded, out)
}
