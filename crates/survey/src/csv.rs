//! Notes as comma-separated values (RFC 4180), with one fixed header.
//!
//! Spreadsheets run what begins with `=`, `+`, `-`, `@` or a tab: such a cell is written with an
//! apostrophe before it, and read without it. Reading is strict, and one broken record never takes
//! the others with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{
    note::{LONGEST_REMARKS, Note, tidy},
    words::{Choice, Date, Reached, Standing},
};

/// The columns, in this order.
pub const COLUMNS: [&str; 12] =
    ["center", "industry", "date", "reached", "identified_by", "identifiers", "proofs", "given", "asked_number", "offered", "changed", "remarks"];

/// Most bytes of one cell as it stands in the file: the longest remarks, every letter of four bytes.
pub const LONGEST_CELL: usize = LONGEST_REMARKS * 4 + 2;

/// Where a file is broken, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Broken {
    /// The line, from 1, as an editor counts.
    pub line: usize,
    /// The character within that line, from 1.
    pub column: usize,
    /// Which column of the table, if one is meant.
    pub field: Option<&'static str>,
    /// What is wrong and what to do.
    pub text: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)?;
        if let Some(field) = self.field {
            write!(f, " ({field})")?;
        }
        write!(f, ": {}", self.text)
    }
}

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Read {
    /// The notes that are whole, each with its line.
    pub notes: Vec<(usize, Note)>,
    /// What is broken.
    pub broken: Vec<Broken>,
}

impl Read {
    /// The notes alone.
    pub fn into_notes(self) -> Vec<Note> { self.notes.into_iter().map(|(_, note)| note).collect() }
}

/// The header, with its line end.
pub fn header() -> String { COLUMNS.join(",") + "\n" }

/// Notes as a file.
pub fn write<'a>(notes: impl IntoIterator<Item = &'a Note>) -> String { notes.into_iter().fold(header(), |out, note| out + &row(note)) }

/// One note as a record, with its line end.
pub fn row(note: &Note) -> String {
    let Note { center, industry, date, reached, identified_by, identifiers, factors, given, asked_number, offered, changed, remarks } = note;
    let yes = |yes: &bool| if *yes { "yes" } else { "no" }.to_owned();
    let cells = [
        center.clone(), industry.clone(), date.to_string(), reached.name().to_owned(), names(identified_by), names(identifiers), names(factors),
        pairs(given), yes(asked_number), yes(offered), pairs(changed), remarks.clone(),
    ];
    cells.iter().map(|cell| encode(cell)).collect::<Vec<_>>().join(",") + "\n"
}

/// Reads a file. The error is one of its first line: without the header nothing of it can be read.
pub fn read(text: &str) -> Result<Read, Broken> {
    // Some programs put a byte-order mark before everything.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut scan = Scan { rest: text, line: 1 };
    let first = scan.record().ok_or_else(|| at(1, format!("the file is empty: the first line has to be {}", COLUMNS.join(","))))??;
    check_header(&first)?;
    let mut out = Read::default();
    while let Some(record) = scan.record() {
        match record.and_then(|cells| note(&cells)) {
            Ok((line, note)) => out.notes.push((line, note)),
            Err(broken) => out.broken.push(broken),
        }
    }
    Ok(out)
}

fn check_header(cells: &[Cell]) -> Result<(), Broken> {
    let found: Vec<&str> = cells.iter().map(|c| c.text.trim()).collect();
    if found == COLUMNS {
        return Ok(());
    }
    let (line, wanted) = (cells.first().map_or(1, |c| c.line), COLUMNS.join(","));
    if let [one] = found.as_slice()
        && let Some((name, mark)) = [(';', "semicolons"), ('\t', "tabs")].into_iter().find(|(mark, _)| one.contains(*mark)).map(|(m, name)| (name, m))
    {
        return Err(at(line, format!("the columns are separated by {name} ({mark:?}): save the file with commas")));
    }
    let wrong = cells.iter().zip(COLUMNS).find(|(cell, column)| cell.text.trim() != *column);
    Err(match wrong {
        Some((cell, column)) => Broken { line, column: cell.column, field: None, text: format!("{:?} stands where {column} belongs: the first line has to be {wanted}", clip(&cell.text)) },
        None => at(line, format!("{} columns where {} belong: the first line has to be {wanted}", found.len(), COLUMNS.len())),
    })
}

fn at(line: usize, text: String) -> Broken { Broken { line, column: 1, field: None, text } }

/// Enough of a text to find it by, with nothing that steers a terminal.
fn clip(text: &str) -> String { text.chars().take(30).filter(|c| !c.is_control()).collect() }

// ── Cells ──────────────────────────────────────────────────────────────────────────────────────

/// Whether a spreadsheet would run a cell, leaving aside apostrophes that were put before it. The
/// wide forms are taken for the narrow ones by some of them.
fn is_run(cell: &str) -> bool { cell.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) }

/// A cell as it is written.
fn encode(cell: &str) -> String {
    let cell = if is_run(cell) { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\n', '\r']) || cell.starts_with(' ') || cell.ends_with(' ') { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

/// A cell as it was before it was written.
fn decode(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(rest) if is_run(rest) => rest,
        _ => cell,
    }
}

fn names<T: Choice>(words: &BTreeSet<T>) -> String { words.iter().map(|w| w.name()).collect::<Vec<_>>().join(";") }

fn pairs<T: Choice>(words: &BTreeMap<T, Standing>) -> String { words.iter().map(|(w, s)| format!("{}:{}", w.name(), s.name())).collect::<Vec<_>>().join(";") }

// ── Records ────────────────────────────────────────────────────────────────────────────────────

struct Cell {
    text: String,
    line: usize,
    column: usize,
}

struct Scan<'a> {
    rest: &'a str,
    line: usize,
}

impl Scan<'_> {
    /// The next record that is not an empty line. After a broken one it goes on with the next line,
    /// so that an open quotation mark does not swallow what follows.
    fn record(&mut self) -> Option<Result<Vec<Cell>, Broken>> {
        while let Some(rest) = self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix(['\n', '\r'])) {
            (self.rest, self.line) = (rest, self.line + 1);
        }
        if self.rest.is_empty() {
            return None;
        }
        let start = (self.rest, self.line);
        let result = self.cells();
        if result.is_err() {
            let (text, line) = start;
            let end = text.find(['\n', '\r']).unwrap_or(text.len());
            (self.rest, self.line) = (text.get(end..).unwrap_or_default(), line);
        }
        Some(result)
    }

    fn cells(&mut self) -> Result<Vec<Cell>, Broken> {
        let (mut cells, mut column) = (Vec::new(), 1);
        loop {
            if cells.len() == COLUMNS.len() + 20 {
                return Err(at(self.line, format!("more than {} cells: {} belong there; put quotation marks around a cell with commas", cells.len(), COLUMNS.len())));
            }
            let (line, from) = (self.line, column);
            let text = if self.rest.starts_with('"') { self.quoted(&mut column)? } else { self.bare(&mut column)? };
            cells.push(Cell { text, line, column: from });
            let mut after = self.rest.chars();
            match after.next() {
                Some(',') => {
                    self.rest = after.as_str();
                    column += 1;
                }
                // The line end belongs to nobody: empty lines are skipped anyway.
                Some('\n' | '\r') | None => return Ok(cells),
                Some(c) if line == self.line => return Err(Broken { line, column, field: None, text: format!("{c:?} after a closing quotation mark: write two marks for one inside of a cell, or put a comma") }),
                // Most likely the mark that opened it is the one too many.
                Some(_) => return Err(Broken { line, column: from, field: None, text: format!("a quotation mark opens here and is closed in line {} in the middle of something: close it, or take it out", self.line) }),
            }
        }
    }

    fn bare(&mut self, column: &mut usize) -> Result<String, Broken> {
        let end = self.rest.find([',', '\n', '\r']).unwrap_or(self.rest.len());
        let (cell, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        if let Some(place) = cell.chars().position(|c| c == '"') {
            return Err(Broken { line: self.line, column: *column + place, field: None, text: "a quotation mark in the middle of a cell: put marks around the whole cell, and write two for one inside".into() });
        }
        if cell.len() > LONGEST_CELL {
            return Err(too_long(self.line, *column));
        }
        *column += cell.chars().count();
        self.rest = rest;
        Ok(cell.to_owned())
    }

    fn quoted(&mut self, column: &mut usize) -> Result<String, Broken> {
        let (line, from) = (self.line, *column);
        let mut chars = self.rest.chars();
        chars.next();
        *column += 1;
        let mut text = String::new();
        loop {
            if text.len() > LONGEST_CELL {
                return Err(too_long(line, from));
            }
            match chars.next() {
                Some('"') => {
                    *column += 1;
                    if !chars.as_str().starts_with('"') {
                        self.rest = chars.as_str();
                        return Ok(text);
                    }
                    chars.next();
                    *column += 1;
                    text.push('"');
                }
                Some(c) => {
                    text.push(c);
                    *column += 1;
                    // The line end of old Macs, of Windows, or of everybody else.
                    if c == '\n' || (c == '\r' && !chars.as_str().starts_with('\n')) {
                        self.line += 1;
                        *column = 1;
                    }
                }
                None => return Err(Broken { line, column: from, field: None, text: "a quotation mark opens here and is never closed: close it, or take it out".into() }),
            }
        }
    }
}

fn too_long(line: usize, column: usize) -> Broken {
    Broken { line, column, field: None, text: format!("the cell is longer than {LONGEST_REMARKS} characters: shorten it, or close its quotation mark") }
}

// ── Notes ──────────────────────────────────────────────────────────────────────────────────────

fn note(cells: &[Cell]) -> Result<(usize, Note), Broken> {
    let line = cells.first().map_or(1, |c| c.line);
    let row: &[Cell; 12] = cells.try_into().map_err(|_| {
        at(line, format!("{} where {} belong: put quotation marks around a cell with commas, and leave no column out", if cells.len() == 1 { "1 cell".into() } else { format!("{} cells", cells.len()) }, COLUMNS.len()))
    })?;
    let [center, industry, date, reached, identified_by, identifiers, proofs, given, asked_number, offered, changed, remarks] = row;
    let date = Date::parse(decode(date.text.trim())).map_err(|e| broken(date, "date", e.to_string()))?;
    let note = Note {
        reached: one::<Reached>(reached, "reached")?,
        industry: tidy(decode(industry.text.trim())),
        identified_by: many(identified_by, "identified_by")?,
        identifiers: many(identifiers, "identifiers")?,
        factors: many(proofs, "proofs")?,
        given: paired(given, "given")?,
        asked_number: yes(asked_number, "asked_number")?,
        offered: yes(offered, "offered")?,
        changed: paired(changed, "changed")?,
        remarks: tidy(decode(remarks.text.trim())),
        ..Note::new(decode(center.text.trim()), date)
    };
    match note.faults().into_iter().next() {
        Some(fault) => {
            let place = COLUMNS.iter().position(|c| *c == fault.field).and_then(|i| cells.get(i));
            Err(Broken { line: place.map_or(line, |c| c.line), column: place.map_or(1, |c| c.column), field: Some(fault.field), text: fault.text })
        }
        None => Ok((line, note)),
    }
}

fn broken(cell: &Cell, field: &'static str, text: String) -> Broken { Broken { line: cell.line, column: cell.column, field: Some(field), text } }

fn offer<T: Choice>() -> String { T::all().iter().map(|w| w.name()).collect::<Vec<_>>().join(", ") }

fn one<T: Choice>(cell: &Cell, field: &'static str) -> Result<T, Broken> {
    let name = cell.text.trim();
    T::parse(name).ok_or_else(|| broken(cell, field, format!("{:?} is none of {}", clip(name), offer::<T>())))
}

fn many<T: Choice>(cell: &Cell, field: &'static str) -> Result<BTreeSet<T>, Broken> {
    words(&cell.text).map(|name| T::parse(name).ok_or_else(|| broken(cell, field, format!("{:?} is none of {}: separate several with semicolons", clip(name), offer::<T>())))).collect()
}

fn paired<T: Choice>(cell: &Cell, field: &'static str) -> Result<BTreeMap<T, Standing>, Broken> {
    let mut out = BTreeMap::new();
    for pair in words(&cell.text) {
        let parsed = pair.split_once(':').and_then(|(what, standing)| Some((T::parse(what.trim())?, Standing::parse(standing.trim())?)));
        let (what, standing) = parsed.ok_or_else(|| {
            broken(cell, field, format!("{:?} is not understood: write {}, then a colon, then {}; separate several with semicolons", clip(pair), offer::<T>(), offer::<Standing>()))
        })?;
        if out.insert(what, standing).is_some() {
            return Err(broken(cell, field, format!("{} stands there twice: keep the earliest", what.name())));
        }
    }
    Ok(out)
}

fn words(text: &str) -> impl Iterator<Item = &str> { text.split(';').map(str::trim).filter(|w| !w.is_empty()) }

fn yes(cell: &Cell, field: &'static str) -> Result<bool, Broken> {
    match cell.text.trim() {
        "yes" => Ok(true),
        "no" | "" => Ok(false),
        other => Err(broken(cell, field, format!("{:?} is neither yes nor no", clip(other)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_would_run_is_defused_and_comes_back() {
        for cell in ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "'=1", "''=1", "'", "'quoted'", "''", "＝1", "\r=1", "=\"a\",\"b\"\n=2", "", "plain", " =1", "’=1"] {
            let written = encode(cell);
            let bare = written.trim_matches('"').replace("\"\"", "\"");
            assert!(!bare.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝']), "{written:?}");
            assert_eq!(decode(&bare), cell, "{written:?}");
        }
        // What a person wrote without an apostrophe is taken as it is.
        assert_eq!(decode("=1+1"), "=1+1");
    }
}
