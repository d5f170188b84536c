//! A transparency log as C2SP describes it: anybody who keeps a checkpoint can tell later whether the
//! log has changed what it held then.
//!
//! Pure: no files, no network, no clock. [`tree`] hashes and proves (RFC 6962 §2.1), [`tile`] says how
//! a log is laid out (`tlog-tiles`), [`note`] signs and checks (`signed-note`), [`checkpoint`] is what
//! is signed (`tlog-checkpoint`), [`cosign`] what a witness adds (`tlog-cosignature`, `tlog-witness`),
//! [`proof`] a proof for one entry that can be kept (`tlog-proof`).

pub mod checkpoint;
pub mod cosign;
pub mod note;
pub mod proof;
pub mod tile;
pub mod tree;

pub use checkpoint::Checkpoint;
pub use note::{Note, Signer, Verifier};
pub use proof::Proof;
pub use tree::{Frontier, Hash};

/// What stands in a text of this family is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A key.
    #[error("not a key as NAME+HASH+KEY: {0}")]
    Key(&'static str),
    /// A signed note.
    #[error("not a signed note: {0}")]
    Note(&'static str),
    /// A checkpoint.
    #[error("not a checkpoint: {0}")]
    Checkpoint(&'static str),
    /// A proof.
    #[error("not a proof: {0}")]
    Proof(&'static str),
    /// A request to a witness.
    #[error("not a request to a witness: {0}")]
    Request(&'static str),
    /// A bundle of entries.
    #[error("not a bundle of entries: {0}")]
    Bundle(&'static str),
}

/// Decimal digits without a sign or leading zeros, as everywhere in these formats.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = text == "0" || !text.starts_with('0');
    (digits && plain).then(|| text.parse().ok()).flatten()
}

/// A hash in base 64.
pub(crate) fn hash(text: &str) -> Option<Hash> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// Base 64 with padding (RFC 4648 §4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}
