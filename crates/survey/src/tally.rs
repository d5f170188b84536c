//! What charts and summaries count.

use crate::{
    grade::{Verdict, grade},
    note::Note,
    words::{Choice, Factor, Identifier, Way},
};

/// Counts over notes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many notes.
    pub notes: usize,
    /// How accounts were found, in the order of [`Way`].
    pub ways: Vec<(Way, usize)>,
    /// What identified, most often first; what never did is left out. A recognised calling number
    /// counts as the phone number.
    pub identifiers: Vec<(Identifier, usize)>,
    /// What proved, most often first; what never did is left out.
    pub factors: Vec<(Factor, usize)>,
    /// Verdicts, best first, all four.
    pub verdicts: Vec<(Verdict, usize)>,
    /// Notes that cannot be graded.
    pub ungraded: usize,
}

impl Tally {
    /// Counts notes.
    pub fn of<'a>(notes: impl IntoIterator<Item = &'a Note>) -> Self {
        let (mut ways, mut identifiers, mut factors, mut verdicts) = (zeros(), zeros(), zeros(), zeros());
        let (mut n, mut ungraded) = (0, 0);
        for note in notes {
            n += 1;
            count(&mut ways, note.identified_by.iter());
            count(&mut identifiers, note.known_by().iter());
            count(&mut factors, note.factors.iter());
            match grade(note).verdict {
                Some(verdict) => count(&mut verdicts, [&verdict].into_iter()),
                None => ungraded += 1,
            }
        }
        Self { notes: n, ways, identifiers: ranked(identifiers), factors: ranked(factors), verdicts, ungraded }
    }

    /// How many notes have a verdict.
    pub fn graded(&self) -> usize { self.notes - self.ungraded }

    /// How many notes have this verdict.
    pub fn of_verdict(&self, verdict: Verdict) -> usize { self.verdicts.iter().find(|(v, _)| *v == verdict).map_or(0, |(_, n)| *n) }
}

fn zeros<T: Choice>() -> Vec<(T, usize)> { T::all().iter().map(|w| (*w, 0)).collect() }

fn count<'a, T: Choice>(counts: &mut [(T, usize)], words: impl Iterator<Item = &'a T>) {
    for word in words {
        if let Some((_, n)) = counts.iter_mut().find(|(known, _)| known == word) {
            *n += 1;
        }
    }
}

/// Most often first, and in the order of the vocabulary where it is the same.
fn ranked<T: Choice>(mut counts: Vec<(T, usize)>) -> Vec<(T, usize)> {
    counts.retain(|(_, n)| *n > 0);
    counts.sort_by_key(|(word, n)| (std::cmp::Reverse(*n), *word));
    counts
}
