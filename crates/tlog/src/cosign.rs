//! What a log asks a witness, and how a witness decides (C2SP `tlog-witness`).

use crate::checkpoint::Checkpoint;
use crate::note::{Kind, Note, Signer, Verifier};
use crate::tree::{Hash, is_consistent};
use crate::{Malformed, base64, decimal, hash};

/// The longest proof: one hash for each level, twice.
const STEPS: usize = 130;

/// `POST /add-checkpoint`: a new checkpoint, and that it continues the one the witness knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// How large the log was when the witness last saw it.
    pub old: u64,
    /// The proof of consistency.
    pub proof: Vec<Hash>,
    /// The new checkpoint, signed by the log.
    pub checkpoint: Note,
}

impl Request {
    /// The body of the request.
    #[must_use]
    pub fn written(&self) -> String {
        let mut body = format!("old {}\n", self.old);
        for step in &self.proof {
            body.push_str(&base64(step));
            body.push('\n');
        }
        body.push('\n');
        body.push_str(&self.checkpoint.written());
        body
    }

    /// Reads a body.
    ///
    /// # Errors
    /// It is no request.
    pub fn parse(body: &str) -> Result<Self, Malformed> {
        let bad = Malformed::Request;
        let (head, note) = body.split_once("\n\n").ok_or(bad("there is no checkpoint"))?;
        let mut lines = head.lines();
        let old = lines.next().and_then(|line| decimal(line.strip_prefix("old ")?));
        let old = old.ok_or(bad("it does not begin with `old` and a size"))?;
        let proof: Vec<Hash> = lines
            .map(|line| hash(line).ok_or(bad("a line of the proof is no hash")))
            .collect::<Result<_, _>>()?;
        if proof.len() > STEPS {
            return Err(bad("the proof is too long"));
        }
        Ok(Self {
            old,
            proof,
            checkpoint: Note::parse(note)?,
        })
    }
}

/// Why a witness does not sign, with the status of its answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// 400: the old size is above the new one.
    #[error("the old size is above the new one")]
    Backwards,
    /// 403.
    #[error("no key of the log that is known here has signed this")]
    NotSigned,
    /// 404.
    #[error("this log is not known here")]
    Unknown,
    /// 409: the witness has seen another size, or another root of the same size.
    #[error("the last checkpoint seen here has size {0}")]
    Conflict(u64),
    /// 422.
    #[error("the proof does not show that this log continues what was seen here")]
    NotConsistent,
}

impl Refusal {
    /// The status of HTTP.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::Backwards => 400,
            Self::NotSigned => 403,
            Self::Unknown => 404,
            Self::Conflict(_) => 409,
            Self::NotConsistent => 422,
        }
    }
}

/// A log as a witness knows it.
#[derive(Clone, Debug)]
pub struct Witnessed {
    /// Its origin.
    pub origin: String,
    /// Keys that may sign for it.
    pub keys: Vec<Verifier>,
    /// The last checkpoint that was signed; size 0: none.
    pub latest: (u64, Hash),
}

/// Decides about a request. What comes out is to be kept, durably, *before* the answer is given: a
/// witness that forgets signs two histories.
///
/// # Errors
/// Why not.
pub fn witness(known: &[Witnessed], request: &Request) -> Result<Checkpoint, Refusal> {
    let checkpoint = Checkpoint::parse(request.checkpoint.text())?;
    let of_origin = |log: &&Witnessed| log.origin == checkpoint.origin;
    let log = known.iter().find(of_origin).ok_or(Refusal::Unknown)?;
    let signs = |key: &&Verifier| key.kind() == Kind::Note && request.checkpoint.signed_by(key).is_some();
    log.keys.iter().find(signs).ok_or(Refusal::NotSigned)?;
    if request.old > checkpoint.size {
        return Err(Refusal::Backwards);
    }
    let (size, root) = log.latest;
    if request.old != size || (checkpoint.size == size && checkpoint.root != root) {
        return Err(Refusal::Conflict(size));
    }
    let new = (checkpoint.size, &checkpoint.root);
    if !is_consistent((size, &root), new, &request.proof) {
        return Err(Refusal::NotConsistent);
    }
    Ok(checkpoint)
}

/// The signature line of a witness for a checkpoint that it has decided about and kept.
#[must_use]
pub fn cosignature(signer: &Signer, checkpoint: &Note, seconds: u64) -> String {
    signer.cosign(checkpoint.text(), seconds)
}
