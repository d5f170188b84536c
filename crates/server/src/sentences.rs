//! What the records of calls on the line say, as sentences. An agent's panel shows them after every
//! command, and a record only grows: what was read once is kept until the call ends, and what came since
//! is read alone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use countersign_core::{
    call::{Call, Recorded, Stage},
    id::CallId,
    story::{self, Reader},
};

use crate::{
    pages::StoryLine,
    runner::{RunError, Runner},
};

/// Most records that are kept. Only calls that somebody looks at have one.
const MOST: usize = 4096;

type Kept = HashMap<(CallId, Reader), Arc<Vec<StoryLine>>>;

/// Sentences by call and reader, with agents' ids in place of their names.
#[derive(Default)]
pub(crate) struct Sentences(Mutex<Kept>);

impl Sentences {
    fn kept(&self) -> MutexGuard<'_, Kept> { self.0.lock().unwrap_or_else(PoisonError::into_inner) }

    pub(crate) fn forget(&self, id: CallId) {
        for reader in [Reader::Lead, Reader::Anyone] {
            self.kept().remove(&(id, reader));
        }
    }
}

/// A sentence for each event.
pub(crate) fn of(events: &[Recorded], reader: Reader) -> Vec<StoryLine> {
    events.iter().map(|recorded| StoryLine { at: recorded.at, text: story::sentence(&recorded.event, reader) }).collect()
}

impl Runner {
    /// A sentence for each event of a call, with agents' ids in place of their names.
    ///
    /// # Errors
    /// The store does not answer, or holds an event that cannot be read.
    pub async fn sentences(&self, call: &Call, reader: Reader) -> Result<Arc<Vec<StoryLine>>, RunError> {
        let kept = &self.calls.sentences;
        // Events of a call that has ended may be redacted: they are always read.
        let over = call.stage == Stage::Ended;
        let known = if over { None } else { kept.kept().get(&(call.id, reader)).cloned() };
        let mut lines = known.unwrap_or_default();
        let n = lines.len() as u64;
        if n < call.n {
            let fresh = self.events_after(call.id, n).await?;
            Arc::make_mut(&mut lines).extend(of(&fresh, reader));
            if !over {
                let mut kept = kept.kept();
                if kept.len() >= MOST {
                    kept.clear();
                }
                kept.insert((call.id, reader), lines.clone());
            }
        }
        Ok(lines)
    }
}
