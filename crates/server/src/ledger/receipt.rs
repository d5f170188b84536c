//! Receipts: what happened on a call, with proofs that it is in the log, to be kept by the company or
//! the customer and checked without us.

use countersign_core::{call::{Event, Recorded}, id::CallId, story::{self, Reader}};
use countersign_store::Stream;
use countersign_tlog::{Proof, proof::Trust, tree};
use serde::{Deserialize, Serialize};

use super::{Entry, LedgerError, Read, Salt, entry::{SALT, salt_id}, head, public_keys, verify::Exported};
use crate::{record, runner::Runner};

const FORMAT: &str = "countersign-receipt/1";

/// A receipt of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// What this is.
    pub format: String,
    /// Which call.
    pub call: CallId,
    /// Which log.
    pub log: String,
    /// Its keys, for orientation: whoever checks uses the key that they were given.
    pub keys: Vec<String>,
    /// The events, each with its salt and its proof.
    pub events: Vec<Receipted>,
}

/// One event of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipted {
    /// What happened.
    pub event: Exported,
    /// That it is in the log (C2SP `tlog-proof`).
    pub proof: String,
}

/// What is wrong with a receipt.
#[derive(Debug, thiserror::Error)]
pub enum Unreceipted {
    /// It is none.
    #[error("this is not a receipt of a call: {0}")]
    Format(String),
    /// It holds nothing.
    #[error("there is no event in it")]
    Empty,
    /// An event is not what the log holds.
    #[error("event {seq} is not proved: {why}")]
    Event {
        /// Which.
        seq: u64,
        /// Why.
        why: String,
    },
}

/// Makes a receipt. `None`: there is no such call.
///
/// # Errors
/// The end of the call is not in the log yet: a second later it is.
pub async fn of(runner: &Runner, call: CallId) -> Result<Option<Receipt>, LedgerError> {
    let stream = Stream { kind: record::CALL, id: call.0 };
    let events = runner.store.events(stream).await?;
    let Some(last) = events.last() else { return Ok(None) };
    let head = head(&runner.store).await?;
    let Some(note) = head.note.filter(|_| last.seq <= head.size) else {
        return Err(LedgerError::NotYet);
    };
    let id = salt_id(record::CALL, &call.0);
    let salt = runner.store.doc(SALT, &id).await?.ok_or(LedgerError::Destroyed)?;
    let salt: Salt = runner.vault.unseal(SALT, &id, &salt.body)?;
    if events.iter().any(|event| salt.of(event.seq).is_none()) {
        return Err(LedgerError::Destroyed);
    }
    let leaves: Vec<u64> = events.iter().map(|event| event.seq - 1).collect();
    let read = Read::around(&runner.store, &leaves, head.size).await?;
    let mut receipted = Vec::new();
    for event in &events {
        let index = event.seq - 1;
        let path = tree::inclusion(&read.nodes(), index, head.size).ok_or_else(|| LedgerError::Damaged("a tile is missing".into()))?;
        let entry = Entry { seq: event.seq, kind: record::CALL, id: &call.0, n: event.n, at: event.at, body: &event.body };
        let proof = Proof { index, path, checkpoint: note.clone() };
        receipted.push(Receipted { event: Exported::new(entry, Some(&salt)), proof: proof.written() });
    }
    let keys = public_keys(runner).await?.iter().map(ToString::to_string).collect();
    let log = note.text().lines().next().unwrap_or_default().to_owned();
    Ok(Some(Receipt { format: FORMAT.into(), call, log, keys, events: receipted }))
}

/// Whether events of this kind stand in the customer's part.
pub(crate) fn is_for_customer(event: &Event) -> bool {
    matches!(event, Event::Started { .. } | Event::LanguageChosen { .. } | Event::Challenged { .. } | Event::Accepted { .. } | Event::HandedOver { .. } | Event::Ended { .. })
}

impl Receipt {
    /// Reads a receipt.
    pub fn parse(text: &str) -> Result<Self, Unreceipted> {
        let receipt: Self = serde_json::from_str(text).map_err(|e| Unreceipted::Format(e.to_string()))?;
        if receipt.format != FORMAT {
            return Err(Unreceipted::Format(format!("its format is {}", receipt.format)));
        }
        Ok(receipt)
    }

    /// The part of it that may go to the customer: that there was a call, what was asked of them, who had
    /// it, and how it ended. By kinds of events, never by what stands in one: whether an event is there
    /// must not tell whoever stands behind the customer that an emergency word was used.
    #[must_use]
    pub fn for_customer(self) -> Self {
        let shown = |receipted: &Receipted| Event::decode(&receipted.event.body).is_ok_and(|recorded| is_for_customer(&recorded.event));
        Self { events: self.events.into_iter().filter(shown).collect(), ..self }
    }

    /// Checks every event; returns the story that is proved, oldest first.
    pub fn check(&self, trust: &Trust) -> Result<Vec<(Recorded, String)>, Unreceipted> {
        let mut story = Vec::new();
        for Receipted { event, proof } in &self.events {
            let fault = |why: String| Unreceipted::Event { seq: event.seq, why };
            if event.kind != record::CALL || event.stream != hex::encode(self.call.0) {
                return Err(fault("it belongs to something else than this call".into()));
            }
            let leaf = event.leaf().ok_or_else(|| fault("it has no salt".into()))?;
            let proof = Proof::parse(proof).map_err(|e| fault(e.to_string()))?;
            if proof.index.checked_add(1) != Some(event.seq) {
                return Err(fault(format!("its proof is for event {}", proof.index.saturating_add(1))));
            }
            proof.check(&leaf, trust).map_err(|e| fault(e.to_string()))?;
            let recorded = Event::decode(&event.body).map_err(|e| fault(format!("it was written by a newer release: {e}")))?;
            let sentence = story::sentence(&recorded.event, Reader::Lead);
            story.push((recorded, sentence));
        }
        if story.is_empty() { Err(Unreceipted::Empty) } else { Ok(story) }
    }
}
