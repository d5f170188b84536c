//! Lines that nobody answers, by decision of a lead. Beside `deny_numbers` of the configuration. What is
//! kept is the keyed hash of the number, who listed it and when; every change is on record.

use countersign_core::{
    id::{AgentId, CallId},
    secret::Blind,
    time::Timestamp,
};
use countersign_store::{Commit, CommitError, DocWrite, Expect, Stream};
use serde::{Deserialize, Serialize};

use crate::{
    record,
    runner::{RunError, Runner},
};

/// The kind of the entries, and of the stream that tells of them.
pub const DENY: &str = "deny";

/// One line that nobody answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Listed {
    /// Who listed it.
    pub by: AgentId,
    /// When.
    pub at: Timestamp,
    /// Because of which call, if it was one.
    #[serde(default)]
    pub call: Option<CallId>,
}

/// What happened to the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum DenyEvent {
    /// A line came onto it.
    Listed {
        /// Who did it.
        by: AgentId,
        /// Because of which call, if it was one.
        call: Option<CallId>,
    },
    /// A line went.
    Unlisted {
        /// Who did it.
        by: AgentId,
    },
}

/// Whether nobody answers this line.
pub async fn is_listed(runner: &Runner, line: Blind) -> Result<bool, RunError> { Ok(runner.store.doc(DENY, &line.0).await?.is_some()) }

/// Every entry, in no order that means anything.
pub async fn all(runner: &Runner) -> Result<Vec<(Blind, Listed)>, RunError> {
    let mut out = Vec::new();
    for (id, doc) in runner.store.docs(DENY, None, 1000).await? {
        if let Ok(line) = <[u8; 16]>::try_from(id.as_slice()) {
            out.push((Blind(line), serde_json::from_slice(&doc.body)?));
        }
    }
    Ok(out)
}

/// Puts a line on the list. Nothing happens if it is there.
pub async fn list(runner: &Runner, line: Blind, by: AgentId, call: Option<CallId>) -> Result<(), RunError> {
    let body = serde_json::to_vec(&Listed { by, at: runner.now(), call })?;
    let doc = DocWrite::Put { kind: DENY, id: line.0.to_vec(), expected: Expect::New, body, due: None };
    write(runner, line, doc, &DenyEvent::Listed { by, call }, false).await
}

/// Takes a line off it. Nothing happens if it is not there.
pub async fn unlist(runner: &Runner, line: Blind, by: AgentId) -> Result<(), RunError> {
    let doc = DocWrite::Delete { kind: DENY, id: line.0.to_vec() };
    write(runner, line, doc, &DenyEvent::Unlisted { by }, true).await
}

async fn write(runner: &Runner, line: Blind, doc: DocWrite, event: &DenyEvent, listed: bool) -> Result<(), RunError> {
    let now = runner.now();
    // Two leads at once: the second finds it done.
    for _ in 0..4 {
        if is_listed(runner, line).await? != listed {
            return Ok(());
        }
        let events = runner.store.count(Stream { kind: DENY, id: line.0 }).await?;
        let appends = vec![record::append(DENY, line.0, events, now, event)?];
        match runner.store.commit(Commit { now: now.0, docs: vec![doc.clone()], appends, ..Commit::default() }).await {
            Ok(_) => return Ok(()),
            Err(CommitError::Conflict) => {}
            Err(CommitError::Busy | CommitError::Closed) => return Err(RunError::Busy),
            Err(e) => return Err(RunError::Store(e.to_string())),
        }
    }
    Err(RunError::Busy)
}
