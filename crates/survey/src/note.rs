//! What happened on one call.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::words::{Change, Date, Factor, Identifier, Item, Reached, Standing, Way};

/// Longest name of a center or an industry, in characters.
pub const LONGEST_NAME: usize = 120;
/// Longest remarks, in characters.
pub const LONGEST_REMARKS: usize = 2000;

/// One call to a contact center, as whoever made it wrote it down.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// The center's name, or a label that stands for it.
    pub center: String,
    /// What business it is in; may be empty.
    pub industry: String,
    /// When.
    pub date: Date,
    /// How the call came about.
    pub reached: Reached,
    /// How the account was found.
    pub identified_by: BTreeSet<Way>,
    /// What was asked for that identifies.
    pub identifiers: BTreeSet<Identifier>,
    /// What was asked for that proves.
    pub factors: BTreeSet<Factor>,
    /// What was told, each with what the caller was at the earliest time.
    pub given: BTreeMap<Item, Standing>,
    /// The center asked to which number to send a code.
    pub asked_number: bool,
    /// The center offered what the call is probably about, such as an upcoming trip.
    pub offered: bool,
    /// What could be changed, each with what the caller was at the earliest time.
    pub changed: BTreeMap<Change, Standing>,
    /// Whatever else; may have several lines.
    pub remarks: String,
}

/// Something that is wrong with a note.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {text}")]
pub struct Fault {
    /// Which field, by its column in a file.
    pub field: &'static str,
    /// What is wrong and what to do.
    pub text: String,
}

impl Note {
    /// A note of which nothing is known but where and when.
    pub fn new(center: &str, date: Date) -> Self {
        Self {
            center: tidy(center), industry: String::new(), date, reached: Reached::Inbound, identified_by: BTreeSet::new(), identifiers: BTreeSet::new(),
            factors: BTreeSet::new(), given: BTreeMap::new(), asked_number: false, offered: false, changed: BTreeMap::new(), remarks: String::new(),
        }
    }

    /// Notes that something was told. The earliest time counts: later it was known already.
    pub fn give(&mut self, item: Item, to: Standing) { earliest(&mut self.given, item, to); }

    /// Notes that something could be changed. The earliest time counts.
    pub fn change(&mut self, what: Change, by: Standing) { earliest(&mut self.changed, what, by); }

    /// What identified the caller: what was asked for, and the number if it was recognised.
    pub fn known_by(&self) -> BTreeSet<Identifier> {
        let mut known = self.identifiers.clone();
        if self.recognised() {
            known.insert(Identifier::Phone);
        }
        known
    }

    /// The center knew the calling number.
    pub fn recognised(&self) -> bool { self.identified_by.contains(&Way::Number) }

    /// Nothing was asked for, told or changed.
    pub fn is_blank(&self) -> bool {
        self.identified_by.is_empty() && self.identifiers.is_empty() && self.factors.is_empty() && self.given.is_empty()
            && !self.asked_number && !self.offered && self.changed.is_empty()
    }

    /// What is wrong with the note, or contradicts itself. Empty: nothing.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut add = |field, text: &str| faults.push(Fault { field, text: text.to_owned() });
        if self.center.is_empty() {
            add("center", "is missing: write the center's name, or a label that stands for it");
        }
        for (field, text, longest) in [("center", &self.center, LONGEST_NAME), ("industry", &self.industry, LONGEST_NAME), ("remarks", &self.remarks, LONGEST_REMARKS)] {
            let length = text.chars().count();
            if length > longest {
                add(field, &format!("has {length} characters: shorten it to {longest}"));
            }
            if let Some(c) = text.chars().find(|c| is_unsafe(*c) && !(*c == '\n' && field == "remarks")) {
                add(field, &format!("holds the control character U+{:04X}: take it out", u32::from(c)));
            }
        }
        if self.reached == Reached::NoPhone && !self.is_blank() {
            add("reached", "no_phone, yet something was asked, told or changed: write inbound or call_me, or leave the rest empty");
        }
        let asked = self.identified_by.iter().any(|w| *w != Way::Number);
        if asked && self.identifiers.is_empty() && self.factors.is_empty() {
            add("identifiers", "is empty although the caller was asked: name what was asked for");
        }
        if self.factors.is_empty() {
            let late = |(name, standing): (&str, &Standing)| (*standing == Standing::Authenticated).then(|| name.to_owned());
            use crate::words::Choice as _;
            if let Some(name) = self.given.iter().find_map(|(i, s)| late((i.name(), s))) {
                add("given", &format!("{name} was told after a proof, and there is none: name it in proofs, or write {name}:identified"));
            }
            if let Some(name) = self.changed.iter().find_map(|(c, s)| late((c.name(), s))) {
                add("changed", &format!("{name} was changed after a proof, and there is none: name it in proofs, or write {name}:identified"));
            }
        }
        faults
    }
}

fn earliest<K: Ord>(map: &mut BTreeMap<K, Standing>, key: K, standing: Standing) {
    map.entry(key).and_modify(|known| *known = (*known).min(standing)).or_insert(standing);
}

/// A text as it is kept: without space around it, with one kind of line end.
pub fn tidy(text: &str) -> String { text.trim().replace("\r\n", "\n").replace('\r', "\n") }

/// Characters that steer a terminal, break a table, or turn the direction of what follows
/// (Unicode UAX #9 §2: embeddings, overrides and isolates).
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}
