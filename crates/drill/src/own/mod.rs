//! Drills of one's own, in a small file: who calls, what they know, what they do, and what must not
//! happen. See docs/drills.md.

mod play;
mod read;

use countersign_core::{
    action::{Action, Field, Level, Role},
    claim::ClaimKind,
    factor::FactorKind,
    time::Span,
};

pub use self::{play::play, read::{Mistake, Mistakes, read}};
use crate::{Door, people::Who};

/// A drill that somebody wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnDrill {
    /// Its name: lower-case letters, digits and underscores.
    pub name: String,
    /// What the attacker is up to.
    pub story: String,
    pub(crate) victim: Who,
    pub(crate) line: Line,
    pub(crate) knows: Vec<Known>,
    pub(crate) moves: Vec<(usize, Move)>,
    pub(crate) must_not: Vec<Never>,
}

impl OwnDrill {
    /// What must not happen, in a sentence.
    pub fn expects(&self) -> String { format!("None of this happens: {}.", self.must_not.iter().map(Never::text).collect::<Vec<_>>().join(", ")) }

    /// The doors without which it cannot be played.
    pub fn needs(&self) -> Vec<Door> {
        let portal = self.knows.contains(&Known::Portal).then_some(Door::Portal);
        [Door::Telephone].into_iter().chain(portal).collect()
    }
}

/// From where the attacker calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// The victim's own telephone, vouched for by its carrier.
    Own,
    /// The victim's number, shown by somebody else.
    Spoofed,
    /// No number.
    Withheld,
    /// This number.
    Number(String),
}

/// What the attacker knows or holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// A detail that identifies.
    Claim(ClaimKind),
    /// The postal address.
    Address,
    Pin,
    DuressPin,
    VerbalPassword,
    /// The authenticator app.
    App,
    /// What is texted or read out to the number on file.
    Texts,
    /// A session in the portal.
    Portal,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Move {
    Call,
    HangUp,
    Key(Said),
    TypeCode,
    Take(Role),
    Claim(ClaimKind, Said),
    Compare(&'static str, Said),
    Look(Field),
    Ask(Action),
    Prove(Vec<FactorKind>, Option<Action>),
    Say(Said),
    Perform(Action, String),
    Approve,
    Wait(Span),
    Expect(Expected),
}

/// Something said or keyed: what is on file and known, or a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Known(Known),
    Text(String),
}

/// What a drill expects at this point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Refused,
    Permitted,
    AtMost(Level),
    AtLeast(Level),
}

/// What must not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Never {
    /// It is carried out.
    Done(Action),
    /// The call reaches this.
    Reached(Level),
    /// A value of it is on a screen, or said to the caller.
    Shown(Field),
}

impl Never {
    fn text(&self) -> String {
        match self {
            Self::Done(action) => action.to_string(),
            Self::Reached(level) => format!("level:{level}"),
            Self::Shown(field) => format!("shows:{}", field.name()),
        }
    }
}
