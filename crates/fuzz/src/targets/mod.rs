//! The targets: everything that reads what strangers send.

mod keys;
mod lines;
mod log;
mod sip;
mod sound;
mod stir;
mod text;
mod web;

use crate::Target;

/// All of them.
#[must_use]
pub fn all() -> Vec<Target> { [sip::targets(), stir::targets(), web::targets(), lines::targets(), keys::targets(), log::targets(), sound::targets(), text::targets()].into_iter().flatten().collect() }

/// A target that breaks at every quotation mark, to try the driver with.
#[doc(hidden)]
#[must_use]
pub fn broken() -> Target {
    Target::of("broken", "a parser that is none", &[], 0, &["a word"], |input| {
        // Dividing by zero is a panic without a word for it.
        let quotes = input.iter().filter(|byte| **byte == b'"').count();
        let _ = 1_usize.div_euclid(usize::from(quotes == 0));
        Ok(())
    })
}
