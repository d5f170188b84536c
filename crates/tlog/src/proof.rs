//! Proofs that can be kept (C2SP `tlog-proof`): an entry is in a log that witnesses have seen.

use crate::checkpoint::Checkpoint;
use crate::note::{Note, Verifier};
use crate::tree::{Hash, includes, leaf};
use crate::{Malformed, base64, decimal, hash};

const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// One hash for each level of the tree at most.
const STEPS: usize = 64;

/// A proof for one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The number of the entry: 0 is the first.
    pub index: u64,
    /// From the entry to the root.
    pub path: Vec<Hash>,
    /// The signed head of the log.
    pub checkpoint: Note,
}

/// Why a proof proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproved {
    /// The head is no checkpoint.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The head is that of another log.
    #[error("the checkpoint is that of {0}")]
    OtherLog(String),
    /// Nobody who is trusted has signed the head.
    #[error("no key that is trusted has signed the checkpoint")]
    NotSigned,
    /// Fewer witnesses than wanted have seen the head.
    #[error("{seen} of the {wanted} witnesses that are wanted have seen the checkpoint")]
    NotWitnessed {
        /// How many have.
        seen: usize,
        /// How many are wanted.
        wanted: usize,
    },
    /// The entry is not the one that the log holds.
    #[error("this is not what the log holds as entry {0}")]
    NotIncluded(u64),
}

/// Whose word counts.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The log.
    pub origin: String,
    /// Keys of the log, old ones included.
    pub keys: Vec<Verifier>,
    /// Keys of witnesses.
    pub witnesses: Vec<Verifier>,
    /// How many of them must have seen it.
    pub quorum: usize,
}

impl Trust {
    /// The checkpoint in a note, if it is to be believed.
    ///
    /// # Errors
    /// Why not.
    pub fn checkpoint(&self, note: &Note) -> Result<Checkpoint, Unproved> {
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin != self.origin {
            return Err(Unproved::OtherLog(checkpoint.origin));
        }
        if !self.keys.iter().any(|key| note.signed_by(key).is_some()) {
            return Err(Unproved::NotSigned);
        }
        let seen = self.witnesses.iter().filter(|key| note.signed_by(key).is_some());
        let (seen, wanted) = (seen.count(), self.quorum);
        if seen < wanted {
            return Err(Unproved::NotWitnessed { seen, wanted });
        }
        Ok(checkpoint)
    }
}

impl Proof {
    /// The proof as it is kept.
    #[must_use]
    pub fn written(&self) -> String {
        let mut text = format!("{HEADER}\nindex {}\n", self.index);
        for step in &self.path {
            text.push_str(&base64(step));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint.written());
        text
    }

    /// Reads a proof. Extra data is allowed and means nothing here.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let bad = Malformed::Proof;
        let (head, note) = text.split_once("\n\n").ok_or(bad("there is no checkpoint"))?;
        let mut lines = head.lines();
        if lines.next() != Some(HEADER) {
            return Err(bad("it does not begin with c2sp.org/tlog-proof@v1"));
        }
        let mut next = lines.next();
        if next.is_some_and(|line| line.starts_with("extra ")) {
            next = lines.next();
        }
        let index = next.and_then(|line| decimal(line.strip_prefix("index ")?));
        let path: Vec<Hash> = lines
            .map(|line| hash(line).ok_or(bad("a line of the path is no hash")))
            .collect::<Result<_, _>>()?;
        if path.len() > STEPS {
            return Err(bad("the path is too long"));
        }
        Ok(Self {
            index: index.ok_or(bad("the index is no number"))?,
            path,
            checkpoint: Note::parse(note)?,
        })
    }

    /// Checks that the log holds this entry.
    ///
    /// # Errors
    /// Why it is not proved.
    pub fn check(&self, entry: &[u8], trust: &Trust) -> Result<Checkpoint, Unproved> {
        let checkpoint = trust.checkpoint(&self.checkpoint)?;
        let (root, size) = (&checkpoint.root, checkpoint.size);
        if !includes(root, size, self.index, leaf(entry), &self.path) {
            return Err(Unproved::NotIncluded(self.index));
        }
        Ok(checkpoint)
    }
}
