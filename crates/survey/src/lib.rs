//! The field kit: notes about calls to contact centers, graded by the rubric of the field study.
//!
//! A pure library: no files, network, clock or randomness. A [`Note`] is what happened on one call;
//! [`grade`] says what that is worth and by which rules; [`csv`] reads and writes notes; [`Tally`] and
//! [`chart`] count and draw them. The same code grades notes that a person took elsewhere and the
//! calls of this installation.

pub mod chart;
pub mod csv;
mod grade;
mod note;
mod tally;
mod words;

pub use grade::{Grade, Reason, Rule, Verdict, grade};
pub use note::{Fault, LONGEST_NAME, LONGEST_REMARKS, Note, tidy};
pub use tally::Tally;
pub use words::{Change, Choice, Date, Factor, Identifier, Item, NoDate, Reached, Standing, Way};
