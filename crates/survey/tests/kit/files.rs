//! Files: what is written is read again, what is broken is told, what is meant to harm does not.

use countersign_survey::{Choice, Identifier, Item, Note, Standing, csv};

use crate::{day, note};

fn file(rows: &str) -> String { csv::header() + rows }

/// What is said about the first broken record.
#[track_caller]
fn said(rows: &str) -> String { csv::read(&file(rows)).unwrap().broken.first().unwrap_or_else(|| panic!("{rows:?} is taken")).to_string() }

const GOOD: &str = "Example Air,travel,2026-03-02,inbound,number,name,,,no,no,,\n";

#[test]
fn mistakes_are_told_with_their_place_and_what_to_do() {
    for (row, place) in [
        (",travel,2026-03-02,inbound,,,,,,,,", "line 2, column 1 (center): is missing: write the center's name"),
        ("A,travel,2.3.2026,inbound,,,,,,,,", "line 2, column 10 (date): write a day that exists as YYYY-MM-DD"),
        ("A,travel,2026-02-30,inbound,,,,,,,,", "line 2, column 10 (date): write a day that exists"),
        ("A,,2026-03-02,phone,,,,,,,,", "line 2, column 15 (reached): \"phone\" is none of inbound, call_me, no_phone"),
        ("A,,2026-03-02,inbound,agent,shoe size,,,,,,", "line 2, column 29 (identifiers): \"shoe size\" is none of phone, email"),
        ("A,,2026-03-02,inbound,agent,,,,,,,", "line 2, column 29 (identifiers): is empty although the caller was asked"),
        ("A,,2026-03-02,inbound,,,,address,,,,", "line 2, column 26 (given): \"address\" is not understood: write name, address"),
        ("A,,2026-03-02,inbound,,,,address:authenticated,,,,", "line 2, column 26 (given): address was told after a proof, and there is none"),
        ("A,,2026-03-02,inbound,number,,,name:anyone;name:identified,,,,", "line 2, column 32 (given): name stands there twice"),
        ("A,,2026-03-02,inbound,,,,,maybe,,,", "line 2, column 27 (asked_number): \"maybe\" is neither yes nor no"),
        ("A,,2026-03-02,no_phone,,name,,,,,,", "line 2, column 15 (reached): no_phone, yet something was asked"),
        ("A,,2026-03-02,inbound", "line 2, column 1: 4 cells where 12 belong"),
        ("A,,2026-03-02,inbound,,,,,,,,,", "line 2, column 1: 13 cells where 12 belong"),
        ("A \"b\",,2026-03-02,inbound,,,,,,,,", "line 2, column 3: a quotation mark in the middle of a cell"),
        ("\"A\"b,,2026-03-02,inbound,,,,,,,,", "line 2, column 4: 'b' after a closing quotation mark"),
        ("A,,2026-03-02,inbound,,,,,,,,\"open", "line 2, column 30: a quotation mark opens here and is never closed"),
        ("A,,2026-03-02,inbound,,,,,,,,\u{1b}[31m", "line 2, column 30 (remarks): holds the control character U+001B"),
        ("\u{202e}A,,2026-03-02,inbound,,,,,,,,", "line 2, column 1 (center): holds the control character U+202E"),
    ] {
        let text = said(row);
        assert!(text.starts_with(place), "{text}\nnot {place}");
    }
    // An error carries nothing that would steer the terminal it is shown on.
    assert!(!said("A,,2026-03-02,\u{1b}[31m\u{7},,,,,,,,").contains('\u{1b}'));
}

#[test]
fn a_broken_line_does_not_take_the_others_with_it() {
    let text = file(&format!("{GOOD}A,\"open,2026-03-02,inbound\n{GOOD}B,x\n{GOOD}\"C\"d,,\n\n{GOOD}E,,2026-03-02,inbound,,,,,,,,\"never closed\n{GOOD}"));
    let read = csv::read(&text).unwrap();
    let lines: Vec<usize> = read.notes.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 4, 6, 9, 11]);
    assert_eq!(read.broken.iter().map(|b| b.line).collect::<Vec<_>>(), [3, 5, 7, 10]);
    // Lines are those of an editor, inside of quotation marks and for every kind of line end.
    for end in ["\n", "\r\n", "\r"] {
        let text = file("A,,2026-03-02,inbound,,,,,,,,\"one\ntwo\"\n\nB,,never,inbound,,,,,,,,\n").replace('\n', end);
        let read = csv::read(&text).unwrap();
        assert_eq!((read.notes[0].1.remarks.as_str(), read.broken[0].line), ("one\ntwo", 5), "{end:?}");
    }
}

#[test]
fn the_header_is_fixed() {
    let good = csv::header();
    for (text, place) in [
        (String::new(), "line 1, column 1: the file is empty"),
        ("\n\r\n".into(), "line 1, column 1: the file is empty"),
        (GOOD.into(), "line 1, column 1: \"Example Air\" stands where center belongs"),
        (good.replace(',', ";"), "line 1, column 1: the columns are separated by semicolons"),
        (good.replace(',', "\t"), "line 1, column 1: the columns are separated by tabs"),
        (good.replace(",remarks", ""), "line 1, column 1: 11 columns where 12 belong"),
        (good.replace("remarks", "remarks,more"), "line 1, column 1: 13 columns where 12 belong"),
        (good.replace("industry", "Industry"), "line 1, column 8: \"Industry\" stands where industry belongs"),
        ("<script>alert(1)</script>".into(), "line 1, column 1: \"<script>"),
    ] {
        let said = csv::read(&text).unwrap_err().to_string();
        assert!(said.starts_with(place), "{said}\nnot {place}");
        assert!(said.len() < 400, "an error is short: {said}");
    }
    // A byte-order mark and space around names are no reason to refuse.
    assert_eq!(csv::read(&format!("\u{feff}{}{GOOD}", good.replace(',', " , "))).unwrap().notes.len(), 1);
}

#[test]
fn formulas_stay_text() {
    let nasty = ["=HYPERLINK(\"http://example.com\",\"x\")", "+1 202 555 0142", "-2+3", "@SUM(1)", "=cmd|' /C calc'!A0", "'=1", "＝1+1"];
    for text in nasty {
        let mut note = Note::new(text, day());
        (note.industry, note.remarks) = (text.into(), format!("{text}\n{text}"));
        let written = csv::row(&note);
        for cell in written.split(',').filter(|c| !c.is_empty()) {
            assert!(!cell.trim_start_matches('"').starts_with(['=', '+', '-', '@', '\t', '＝']), "{written}");
        }
        let read = csv::read(&file(&written)).unwrap();
        assert_eq!(read.notes, [(2, note)]);
    }
}

#[test]
fn quotes_commas_and_line_ends_come_back() {
    let mut note = note(&[("identifiers", "name;order"), ("identified_by", "agent"), ("given", "order:identified"), ("asked_number", "yes"), ("offered", "yes")]);
    note.center = "Example \"Air\", Inc. ü 航空".into();
    note.remarks = "first\n\n\"second\", third;\n'last'".into();
    let read = csv::read(&csv::write([&note, &note])).unwrap();
    assert_eq!(read.broken, []);
    assert_eq!(read.into_notes(), [note.clone(), note]);
}

#[test]
fn huge_cells_are_refused_quickly() {
    let big = "x".repeat(1 << 20);
    for row in [format!("{big},,2026-03-02,inbound,,,,,,,,"), format!("\"{big}\",,2026-03-02,inbound,,,,,,,,"), format!("A,,2026-03-02,inbound,,,,,,,,\"{big}")] {
        assert!(said(&row).contains("is longer than 2000 characters"), "{}", &said(&row));
    }
    assert!(said(&format!("{},,2026-03-02,inbound,,,,,,,,", "x".repeat(121))).contains("has 121 characters: shorten it to 120"));
    assert!(said(&",".repeat(1 << 20)).contains("cells: 12 belong there"));
    // Many open quotation marks: each looks ahead no further than one cell is long.
    let text = file(&"\"open\n".repeat(20_000));
    assert_eq!(csv::read(&text).unwrap().broken.len(), 20_000);
    // The longest that is allowed is read.
    let mut long = Note::new("A", day());
    long.remarks = "\"".repeat(2000);
    assert_eq!(csv::read(&csv::write([&long])).unwrap().into_notes(), [long.clone()]);
    long.remarks = "𝕏".repeat(2000);
    assert_eq!(csv::read(&csv::write([&long])).unwrap().into_notes(), [long]);
}

#[test]
fn the_example_in_the_documents_is_whole() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/field-notes.example.csv")).unwrap();
    let read = csv::read(&text).unwrap();
    assert_eq!(read.broken, []);
    let notes = read.into_notes();
    assert_eq!(csv::write(&notes), text, "it is as we would write it");
    let verdicts: std::collections::BTreeSet<_> = notes.iter().map(|n| countersign_survey::grade(n).verdict).collect();
    assert_eq!(verdicts.len(), 5, "every verdict, and one without");
}

#[test]
fn the_earliest_time_counts() {
    let mut note = note(&[("proofs", "pin")]);
    note.give(Item::Name, Standing::Authenticated);
    note.give(Item::Name, Standing::Anyone);
    note.give(Item::Name, Standing::Identified);
    assert_eq!(note.given.get(&Item::Name), Some(&Standing::Anyone));
    assert!(note.known_by().is_empty());
    assert_eq!(Identifier::parse("Phone"), None);
}
