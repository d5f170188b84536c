//! The readers: each with a connection of its own that cannot write.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::crew::Ready;
use super::open;
use super::rows::Reader;
use crate::error::Fault;
use crate::queue::Queue;
use crate::rows::Reads;

/// Asks, and answers whoever waits.
pub(super) type Question = Box<dyn FnOnce(&mut dyn Reads) + Send>;

pub(super) fn run(path: &Path, queue: &Queue<Question>, ready: &Ready) -> Result<(), Fault> {
    let conn = open::reader(path)?;
    let mut rows = Reader::prepare(&conn)?;
    ready.tell();
    let mut questions = Vec::with_capacity(1);
    while queue.take(1, &mut questions) {
        for question in questions.drain(..) {
            // Whoever asked has lost the sender and knows; the others need this thread. A statement
            // that was interrupted is reset with its guard.
            let _ = catch_unwind(AssertUnwindSafe(|| question(&mut rows)));
        }
    }
    Ok(())
}
