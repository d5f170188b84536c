//! The field kit from outside: the rubric row by row, files that are broken or meant to harm, charts,
//! and properties over any note.
#![allow(
    clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing,
    reason = "the helpers of this test crate are outside of #[test] functions, where clippy.toml does not reach"
)]

mod charts;
mod files;
mod properties;
mod rubric;

use countersign_survey::{Choice, Date, Note, csv};

/// A note as a line of a file has it, without its center and date.
#[track_caller]
pub fn note(cells: &[(&str, &str)]) -> Note {
    let mut row: Vec<String> = csv::COLUMNS.iter().map(|c| match *c { "center" => "Example Air", "date" => "2026-03-02", "reached" => "inbound", _ => "" }.to_owned()).collect();
    for (column, cell) in cells {
        row[csv::COLUMNS.iter().position(|c| c == column).unwrap()] = format!("\"{cell}\"");
    }
    let read = csv::read(&format!("{}{}\n", csv::header(), row.join(","))).unwrap();
    assert_eq!(read.broken, [], "{cells:?}");
    read.notes[0].1.clone()
}

pub fn day() -> Date { Date::parse("2026-03-02").unwrap() }

pub fn names<T: Choice>(words: impl IntoIterator<Item = T>) -> String { words.into_iter().map(|w| w.name()).collect::<Vec<_>>().join(" ") }
