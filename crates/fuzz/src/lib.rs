//! Throws broken input at every parser that strangers reach: `cargo xtask fuzz`.
//!
//! A [`Target`] is a parser with valid samples and with what has to hold whatever comes in: it never
//! panics, it takes no longer than [`TIME`], and its own property, such as "what was read and written is
//! read as the same" or "what was changed does not verify". Samples are changed byte by byte and word by
//! word with randomness that follows from a seed ([`mutate`]), so that every find can be found again.
//!
//! What fails is kept in `corpus/<target>`, and the normal tests play it back from then on. They also
//! run a short slice of every target with a fixed seed. There is no coverage feedback: that takes a
//! nightly toolchain. See docs/fuzzing.md.

pub mod drive;
mod house;
pub mod mutate;
pub mod targets;

use std::{path::PathBuf, time::Duration};

/// The longest that one input may take. Far above what any needs, on a busy machine and with a server
/// to be built for it: this is about input that makes a parser work without end.
pub const TIME: Duration = Duration::from_secs(30);

/// Something that strangers' bytes reach.
pub struct Target {
    /// Its name, and that of its folder.
    pub name: &'static str,
    /// What is tried, in a line.
    pub what: &'static str,
    /// Valid samples.
    pub seeds: Vec<Vec<u8>>,
    /// Words of its language, put in at random places.
    pub words: &'static [&'static str],
    /// Inputs in the normal tests.
    pub slice: u32,
    /// Takes an input; what does not hold is an error.
    pub check: Tried,
}

/// Says what does not hold of an input.
pub type Tried = Box<dyn FnMut(&[u8]) -> Result<(), String>>;

impl Target {
    /// Whether the valid samples are as valid as they are meant to be is part of each check: a sample
    /// that nothing takes finds nothing.
    fn of(name: &'static str, what: &'static str, words: &'static [&'static str], slice: u32, seeds: &[&str], check: impl FnMut(&[u8]) -> Result<(), String> + 'static) -> Self {
        Self { name, what, seeds: seeds.iter().map(|s| s.as_bytes().to_vec()).collect(), words, slice, check: Box::new(check) }
    }
}

/// Where failing inputs are kept.
#[must_use]
pub fn corpus() -> PathBuf { PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus") }

/// An error unless it is so.
pub(crate) fn holds(so: bool, what: &str) -> Result<(), String> { if so { Ok(()) } else { Err(what.to_owned()) } }
