//! What holds for every note.

use std::collections::{BTreeMap, BTreeSet};

use countersign_survey::{Change, Choice, Date, Factor, Identifier, Item, Note, Reached, Standing, Tally, Verdict, Way, chart, csv, grade, tidy};
use proptest::{collection, prelude::*};

fn any<T: Choice>() -> impl Strategy<Value = T> { proptest::sample::select(T::all()) }

fn some<T: Choice>() -> impl Strategy<Value = BTreeSet<T>> { collection::btree_set(any::<T>(), 0..4) }

fn told<T: Choice>() -> impl Strategy<Value = BTreeMap<T, Standing>> { collection::btree_map(any::<T>(), any::<Standing>(), 0..3) }

/// Texts that a person or an attacker writes.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~äß航\n]{0,60}",
        proptest::sample::select(vec!["=1+1", "+49", "-", "@x", "'=1", "''", "\"", "\"\"", ",", ";", "a\nb", " = ", "\u{feff}x"]).prop_map(str::to_owned),
    ]
}

fn notes() -> impl Strategy<Value = Note> {
    let words = (any::<Reached>(), some::<Way>(), some::<Identifier>(), some::<Factor>(), told::<Item>(), told::<Change>());
    ((1u16..=9999, 1u8..=12, 1u8..=28), text(), text(), text(), words, proptest::bool::ANY, proptest::bool::ANY).prop_map(
        |((y, m, d), center, industry, remarks, (reached, identified_by, identifiers, factors, given, changed), asked_number, offered)| {
            let center = format!("A {}", center.replace('\n', " "));
            Note {
                reached, identified_by, identifiers, factors, given, asked_number, offered, changed,
                industry: tidy(&industry.replace('\n', " ")), remarks: tidy(&remarks), ..Note::new(&center, Date::new(y, m, d).unwrap())
            }
        },
    )
}

fn rank(note: &Note) -> Option<Verdict> { grade(note).verdict }

proptest! {
    /// What is written is read again as it was; what may not be in a file is refused, and not changed.
    #[test]
    fn files_come_back(notes in collection::vec(notes(), 0..5)) {
        let read = csv::read(&csv::write(&notes)).unwrap();
        let (whole, faulty): (Vec<_>, Vec<_>) = notes.into_iter().partition(|n| n.faults().is_empty());
        prop_assert_eq!(read.broken.len(), faulty.len());
        prop_assert_eq!(read.into_notes(), whole);
    }

    /// Nothing that a file can hold makes the reader fail, and each record is one thing or the other.
    #[test]
    fn no_file_breaks_the_reader(text in "(,|\"|\n|\r|=|;|:|a|name|anyone|2026-03-02|inbound|\u{feff}|ü){0,80}") {
        let _ = csv::read(&text);
        let read = csv::read(&(csv::header() + &text)).unwrap();
        for broken in &read.broken {
            prop_assert!(broken.line >= 2 && broken.column >= 1 && !broken.text.is_empty());
        }
    }

    /// To have told more never improves a verdict, nor does telling it earlier.
    #[test]
    fn telling_more_never_helps(note in notes(), item in any::<Item>(), standing in any::<Standing>()) {
        let mut more = note.clone();
        more.give(item, standing);
        prop_assert!(rank(&more) >= rank(&note));
        let mut earlier = more.clone();
        earlier.give(item, Standing::Anyone);
        prop_assert!(rank(&earlier) >= rank(&more));
    }

    /// To let more be changed never improves a verdict of a note that has one.
    #[test]
    fn changing_more_never_helps(note in notes(), what in any::<Change>(), standing in any::<Standing>()) {
        let mut more = note.clone();
        more.change(what, standing);
        prop_assert!(rank(&more) >= rank(&note));
    }

    /// To ask for one more proof never makes it worse, and one more identifier only if it is an SSN.
    #[test]
    fn asking_more_never_hurts(note in notes(), factor in any::<Factor>(), identifier in any::<Identifier>()) {
        prop_assume!(!note.is_blank());
        let mut proved = note.clone();
        proved.factors.insert(factor);
        prop_assert!(rank(&proved) <= rank(&note));
        let mut known = note.clone();
        known.identifiers.insert(identifier);
        prop_assert!(rank(&known) <= rank(&note) || identifier == Identifier::Ssn, "{:?} to {:?}", grade(&note), grade(&known));
    }

    /// No number of identifiers is worth a secret.
    #[test]
    fn identifiers_are_never_good(note in notes()) {
        let mut claimed = note;
        claimed.factors.clear();
        claimed.identifiers = Identifier::all().iter().copied().collect();
        prop_assert!(rank(&claimed) > Some(Verdict::Good));
    }

    /// One grade for one note, whatever it is called; the worst reason is the verdict.
    #[test]
    fn a_grade_is_its_worst_reason(note in notes()) {
        let graded = grade(&note);
        prop_assert_eq!(graded.verdict, graded.reasons.iter().filter_map(|r| r.rule.verdict()).max());
        prop_assert!(!graded.reasons.is_empty());
        let mut other = note.clone();
        (other.center, other.industry, other.remarks) = ("B".into(), String::new(), String::new());
        prop_assert_eq!(grade(&other), graded);
        let stored: Note = serde_json::from_str(&serde_json::to_string(&note).unwrap()).unwrap();
        prop_assert_eq!(stored, note);
    }

    #[test]
    fn charts_are_xml(notes in collection::vec(notes(), 0..6), of in text()) {
        let tally = Tally::of(&notes);
        for svg in [chart::methods(&tally, &of), chart::verdicts(&tally, &of)] {
            prop_assert!(roxmltree::Document::parse(&svg).is_ok());
        }
    }
}
